//! `pause`, `resume`, `why`, `backfill`: verbs about fire times that do not start, or did not.

use clap::{ArgGroup, Args};
use clap_complete::engine::ArgValueCompleter;

use crate::completion;

/// Pauses tasks.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").required(true).args(["names", "all"]),
    after_help = "\
Fire times in a pause are skipped, are in the ledger with that reason, and are
not made up for. A pause ends by itself, also while the daemon is down; of a
task that is paused already it takes the place of the earlier one. A run in
progress goes on; `taskctl run` still works.

Examples:
  taskctl pause backup --until 18:00 --note 'disk is being replaced'
  taskctl pause 'sync-*' --until 2h
  taskctl pause --all --until '2027-01-02T08:00'"
)]
pub struct PauseArgs {
    /// Names, patterns with * and ?, or label:WORD
    #[arg(value_name = "TASK", add = ArgValueCompleter::new(completion::tasks))]
    pub names: Vec<String>,
    /// All tasks, those to come as well
    #[arg(long)]
    pub all: bool,
    /// When it ends: a time, or so long from now (default: with `taskctl resume`)
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Why, for people
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
}

/// Ends pauses.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").required(true).args(["names", "all"]),
    after_help = "\
A pause of all tasks ends with --all only; a task that is paused by itself too
stays so.

Examples:
  taskctl resume backup
  taskctl resume --all"
)]
pub struct ResumeArgs {
    /// Names, patterns with * and ?, or label:WORD
    #[arg(value_name = "TASK", add = ArgValueCompleter::new(completion::tasks))]
    pub names: Vec<String>,
    /// The pause of all tasks
    #[arg(long)]
    pub all: bool,
}

/// Says what became of a fire time.
#[derive(Debug, Args)]
#[command(after_help = "\
A time without seconds means any of that minute; a time of day alone is one of
today. Exit code 4 where the task has no fire time then.

Examples:
  taskctl why backup
  taskctl why backup 02:30
  taskctl why backup '2026-11-24 02:30' --json

With --json: [{at, verdict, run, passed, change, down, before, after, held, reason,
moved_from, moved_to, moved_by, clock}].")]
pub struct WhyArgs {
    /// The task
    #[arg(value_name = "TASK", add = ArgValueCompleter::new(completion::tasks))]
    pub task: String,
    /// The time in question (default: the last fire time, and the next)
    #[arg(value_name = "TIME")]
    pub time: Option<String>,
}

/// Makes up for fire times of the past.
#[derive(Debug, Args)]
#[command(after_help = "\
Both ends belong to the span; what is not over yet is left out. The runs go one
after the other, oldest first, behind live firings; each has its own
TASKD_FIRE_TIME, and the trigger `backfill`. `taskctl runs` shows those that
wait, `taskctl cancel TASK` stops all of them.

Examples:
  taskctl backfill report --from 2026-11-01T00:00 --to 2026-11-07T23:59
  taskctl backfill report --from 3d --to 1d --dry-run

With --json: [{at, run}].")]
pub struct BackfillArgs {
    /// The task
    #[arg(value_name = "TASK", add = ArgValueCompleter::new(completion::tasks))]
    pub task: String,
    /// Where the span begins: a time, or so long ago
    #[arg(long, value_name = "TIME")]
    pub from: String,
    /// Where it ends: a time, or so long ago
    #[arg(long, value_name = "TIME")]
    pub to: String,
    /// Only show which fire times it has
    #[arg(long)]
    pub dry_run: bool,
}
