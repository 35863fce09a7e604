//! What must hold before the runs of a task start, as typed.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// The gates of a task; a run starts when all are open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatesSpec {
    /// A line for `sh -c` that must exit with 0.
    #[serde(default)]
    pub only_if: Option<String>,
    /// What the load average of one minute may be, such as `4` or `2.5`.
    #[serde(default)]
    pub max_load: Option<String>,
    /// How much memory must be available: bytes, or a number with K, M, G or T behind it.
    #[serde(default)]
    pub min_memory: Option<String>,
    /// Whether the machine must not run on battery.
    #[serde(default)]
    pub on_ac_power: bool,
    /// Milliseconds that a run waits for a closed gate to open; `None` for none: it is skipped.
    #[serde(default)]
    pub gate_wait_ms: Option<u64>,
}

/// What is changed of them; an inner `None` takes one away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct GatesPatch {
    /// A line that must exit with 0.
    pub only_if: Option<Option<String>>,
    /// What the load average may be.
    pub max_load: Option<Option<String>>,
    /// How much memory must be available.
    pub min_memory: Option<Option<String>>,
    /// Whether the machine must not run on battery.
    pub on_ac_power: Option<bool>,
    /// Milliseconds that a run waits.
    pub gate_wait_ms: Option<Option<u64>>,
}
