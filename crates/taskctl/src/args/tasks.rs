//! `list`, `show`, `remove`, `enable`, `disable`, `next`, `lint`: verbs about tasks.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::{Gap, Overlap};
use crate::completion;

/// Lists tasks.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taskctl list
  taskctl list 'nightly-*'
  taskctl list --json | jq -r '.[] | select(.last.outcome == \"failed\") | .name'

With --json: [{name, id, owner, enabled, schedule: {kind, expr, tz}, action: {kind, argv}, next, last, running}].
A shell action has its line as the only element of argv. A list that fails on its way leaves the array open.")]
pub struct ListArgs {
    /// Names, patterns with * and ?, or label:WORD (default: all)
    #[arg(value_name = "TASK", add = ArgValueCompleter::new(completion::tasks))]
    pub names: Vec<String>,
}

/// Shows tasks.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taskctl show backup
  taskctl show backup --json | jq .action

With --json: one object for one name; an array for several names or a pattern.")]
pub struct ShowArgs {
    /// Names, patterns with * and ?, or label:WORD
    #[arg(required = true, value_name = "TASK", add = ArgValueCompleter::new(completion::tasks))]
    pub names: Vec<String>,
}

/// Removes tasks.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taskctl remove hello
  taskctl remove a b 'test-*' --cancel")]
pub struct RemoveArgs {
    /// Names, patterns with * and ?, or label:WORD
    #[arg(required = true, value_name = "TASK", add = ArgValueCompleter::new(completion::tasks))]
    pub names: Vec<String>,
    /// Stop runs in progress
    #[arg(long, conflicts_with = "keep_running")]
    pub cancel: bool,
    /// Let runs in progress go on to their end; one that waits for a place or its next attempt is cancelled
    #[arg(long)]
    pub keep_running: bool,
}

/// Enables tasks.
#[derive(Debug, Args)]
#[command(after_help = "\
Fire times that passed while the task was disabled are not made up for.

Example:
  taskctl enable backup")]
pub struct EnableArgs {
    /// Names, patterns with * and ?, or label:WORD
    #[arg(required = true, value_name = "TASK", add = ArgValueCompleter::new(completion::tasks))]
    pub names: Vec<String>,
}

/// Disables tasks.
#[derive(Debug, Args)]
#[command(after_help = "\
A run in progress goes on; `taskctl run` still works.

Example:
  taskctl disable backup 'test-*'")]
pub struct DisableArgs {
    /// Names, patterns with * and ?, or label:WORD
    #[arg(required = true, value_name = "TASK", add = ArgValueCompleter::new(completion::tasks))]
    pub names: Vec<String>,
}

/// Shows fire times.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taskctl next                                            what is due soon
  taskctl next backup -n 10
  taskctl next --cron '0 2 * * *' --tz Europe/Berlin --from 2027-03-27 -n 3
  taskctl next backup --month
  taskctl next --cron '30 2 * * *' --tz Europe/Berlin --month 2027-03
  taskctl next 'nightly-*' --timeline 2027-03-28

One answer holds 1,000 tasks, 1,000 fire times of each and 20,000 in all; where
there are more, that is said on stderr.

--month and --timeline count instead: what the schedules say, of days that have
passed too. A single task is shown in its own time zone, several in yours. Tasks
that are disabled or held do not count, nor do fire times in a pause. A day on
which clocks change is marked with *, and what that does is told beneath. Where
counting would take more than some ten seconds, tasks are left out, and stderr
says how many.

With --json: [{task, at, local, note}]; with --month [{day, count, first, last,
note}]; with --timeline {day, zone, hours: [{hour, count, at}], minutes: [{at,
count, tasks, more}], note}, where minutes are the most crowded, and those in
which more than one task fires.")]
pub struct NextArgs {
    /// Names, patterns with * and ?, or label:WORD (default: all)
    #[arg(value_name = "TASK", conflicts_with = "cron", add = ArgValueCompleter::new(completion::tasks))]
    pub names: Vec<String>,
    /// How many (default: 1 a task; 5 for tasks named and for --cron)
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub n: Option<u32>,
    /// A cron expression instead of tasks
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true)]
    pub cron: Option<String>,
    /// Time zone the expression is read in (default: yours)
    #[arg(long, value_name = "ZONE", requires = "cron", add = ArgValueCompleter::new(completion::zones))]
    pub tz: Option<String>,
    /// Only fire times after this instant or local time (default: now)
    #[arg(long, value_name = "TIME", requires = "cron")]
    pub from: Option<String>,
    /// A calendar month, with how many fire times each day has (default: this month)
    #[arg(long, value_name = "YYYY-MM", conflicts_with_all = ["n", "from", "timeline"])]
    pub month: Option<Option<String>>,
    /// A day, with its crowded hours and minutes, and those in which tasks fire together (default: today)
    #[arg(long, value_name = "YYYY-MM-DD", conflicts_with_all = ["n", "from"])]
    pub timeline: Option<Option<String>>,
    /// What becomes of times that clocks skip, as of `taskctl add`
    #[arg(long, value_name = "WHAT", requires = "cron")]
    pub dst_gap: Option<Gap>,
    /// Which of two counts where clocks show a time twice, as of `taskctl add`
    #[arg(long, value_name = "WHICH", requires = "cron")]
    pub dst_overlap: Option<Overlap>,
}

/// Says what may surprise in schedules.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taskctl lint                                        every task
  taskctl lint backup 'nightly-*'
  taskctl lint --cron '* 2 * * *' --tz Europe/Berlin
  taskctl lint --json | jq -r '.[] | select(.code == \"dst-gap\") | .task'

What is found has a word: never-fires, held, either-day, day-step, leap-years-only, short-months,
uneven-step, large-step, every-second, every-minute, dst-gap and dst-overlap (changes of the clock
in the coming year), same-minute (at a time of day at which five or more other tasks are due too).

Ends with 0 when nothing is found and with 1 when something is, with 2, 3 and 4 as every verb does.

With --json: [{task, code, message, suggestion}].")]
pub struct LintArgs {
    /// Names, patterns with * and ?, or label:WORD (default: all)
    #[arg(value_name = "TASK", conflicts_with = "cron", add = ArgValueCompleter::new(completion::tasks))]
    pub names: Vec<String>,
    /// A cron expression instead of tasks
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true)]
    pub cron: Option<String>,
    /// Time zone the expression is read in (default: yours)
    #[arg(long, value_name = "ZONE", requires = "cron", add = ArgValueCompleter::new(completion::zones))]
    pub tz: Option<String>,
}
