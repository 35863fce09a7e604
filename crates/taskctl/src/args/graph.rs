//! `graph`: which tasks come after which, or require them.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use crate::completion;

/// Draws the graph of tasks.
#[derive(Debug, Args)]
#[command(after_help = "\
Each task stands below one that it comes after or requires, with the end it
waits for where that is not a success, the others that it comes after, what it
requires, and how its newest run stands. A dotted line leads to one that only
requires what it stands below; one that stands below several is drawn once.

Examples:
  taskctl graph                       all that come after others or require them
  taskctl graph load                  those that it hangs together with
  taskctl graph --run extract/12      what that run has triggered
  taskctl graph --dot | dot -Tsvg >tasks.svg

With --json: {tasks: [{task, enabled, run, state, any, upstreams: [{task, on,
ended}], requires: [{task, within_ms, outcome, ended_at, holds, reason}]}],
trace_id, more}. A graph holds 1,000 tasks; where there are more,
stderr says so.")]
pub struct GraphArgs {
    /// A task: only what it hangs together with
    #[arg(value_name = "TASK", add = ArgValueCompleter::new(completion::tasks))]
    pub task: Option<String>,
    /// How the runs stand that have the trace id of this one; of a task, its newest
    #[arg(long, value_name = "RUN", add = ArgValueCompleter::new(completion::runs))]
    pub run: Option<String>,
    /// Print it in the language of Graphviz
    #[arg(long, conflicts_with = "json")]
    pub dot: bool,
}
