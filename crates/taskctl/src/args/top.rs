//! `top`: what goes on now.

use clap::Args;

/// Watches what runs and waits.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taskctl top
  taskctl top --interval 500ms
  taskctl top --once
  taskctl top --json | jq -c '.runs[] | [.run, .cpu_percent]'

CPU is that of one processor since the refresh before, so two busy processes are 200%; - is unknown, as for a run that has
only begun, or where the runner is of an earlier version.

With --json: {at, connected, running, waiting, runs: [{run, state, attempt, pid, started_at, elapsed_ms, cpu_percent, cpu_us,
memory_bytes, processes, waits_for, retry_at}], more}, a line for each refresh; more is how many runs are not told of.")]
pub struct TopArgs {
    /// How long from one refresh to the next, 100ms or more
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    pub interval: String,
    /// Print how it is once
    #[arg(long)]
    pub once: bool,
}
