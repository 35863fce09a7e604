//! What must hold before runs start, as typed.

use clap::Args;

/// What must hold before runs start, as typed.
#[derive(Debug, Default, Args)]
pub struct GateArgs {
    /// Start a run only if this line for `sh -c`, run right before as the command would be and for 30s at most, exits with 0;
    /// '' for none
    #[arg(long, value_name = "LINE", help_heading = "Gates", allow_hyphen_values = true)]
    pub only_if: Option<String>,
    /// Start a run only while the load average of the last minute is no more than this, such as 4 or 2.5; '' for any
    #[arg(long, value_name = "N", help_heading = "Gates")]
    pub max_load: Option<String>,
    /// Start a run only while so much memory is available, such as 512M or 2G, and the kernel tells of no pressure on it; ''
    /// for any
    #[arg(long, value_name = "SIZE", help_heading = "Gates")]
    pub min_memory: Option<String>,
    /// Start a run only while the machine does not run on battery
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "Gates")]
    pub on_ac_power: Option<bool>,
    /// How long a run waits for a closed gate to open before it is skipped; '' to have it skipped at once, which is the default
    #[arg(long, value_name = "DURATION", help_heading = "Gates")]
    pub gate_wait: Option<String>,
}
