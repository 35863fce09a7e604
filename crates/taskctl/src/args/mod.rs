//! What can be typed: one type per verb, in a file per group of verbs. Types here say how arguments look and what
//! their help says; what they mean is decided in `commands`.

mod calendar;
mod daemon;
mod definition;
mod gates;
mod graph;
mod pausing;
mod pools;
mod runs;
mod tasks;
mod top;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, Args, Command, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub use calendar::{CalendarAddArgs, CalendarArgs, CalendarVerb};
pub use daemon::{
    CompletionsArgs, DemoArgs, DetachArgs, JanitorArgs, RestartDaemonArgs, Shell, StartArgs, StatusArgs, StopArgs,
};
pub use definition::{
    ActionArgs, AddArgs, EditArgs, ExportArgs, Gap, ImportArgs, Leftover, Misfire, MisfireArgs, Output, Overlap,
    ProcessArgs, RetryArgs, ScheduleArgs,
};
pub use gates::GateArgs;
pub use graph::GraphArgs;
pub use pausing::{BackfillArgs, PauseArgs, ResumeArgs, WhyArgs};
pub use pools::{GroupArgs, LockArgs, PoolVerb};
pub use runs::{CancelArgs, LogsArgs, RunArgs, RunsArgs};
pub use tasks::{DisableArgs, EnableArgs, LintArgs, ListArgs, NextArgs, RemoveArgs, ShowArgs};
pub use top::TopArgs;

const AFTER_HELP: &str = "\
A first task, from nothing:
  taskctl start                                        a daemon of your own
  taskctl add --name hello --every 10s -- echo hello   a task, every ten seconds
  taskctl list                                         what is due, and when
  taskctl logs hello                                   what its newest run wrote
  taskctl remove hello

To see one at work, watch `taskctl demo` for twenty seconds.

Exit codes: 0 done; 1 refused or failed; 2 usage; 3 no daemon; 4 not found; 5 not allowed; 6 versions do not fit.";

/// Schedule commands and see what became of them
#[derive(Debug, Parser)]
#[command(
    name = "taskctl",
    version,
    about = "Schedule commands and see what became of them",
    long_about = "Schedule commands and see what became of them.\n\n\
        taskctl talks to taskd, the daemon that runs tasks when they are due: your own daemon if there is one, \
        else the system's.",
    after_help = AFTER_HELP,
    max_term_width = 110,
    arg_required_else_help = true,
    disable_help_subcommand = false
)]
pub struct Cli {
    /// Options of every verb.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

impl Cli {
    /// Reads what was typed, the name of the program first.
    ///
    /// # Errors
    /// What clap has to say of it, help among it.
    pub fn read(typed: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, clap::Error> {
        let mut command = with_negative_values(Cli::command());
        let matches = command.try_get_matches_from_mut(typed)?;
        Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    }
}

/// The command with `-1` the value of an option it stands behind, for all options: what reads the value knows best what
/// is wrong with it, and no option is called by a digit.
fn with_negative_values(command: Command) -> Command {
    let may_be_negative = |arg: Arg| {
        let is_value = !arg.is_positional() && arg.get_action().takes_values();
        if is_value {
            arg.allow_negative_numbers(true)
        } else {
            arg
        }
    };
    command.mut_args(may_be_negative).mut_subcommands(with_negative_values)
}

/// Options of every verb.
#[derive(Debug, Args)]
pub struct Global {
    /// Socket of the daemon to talk to (default: $TASKD_SOCKET, else your own daemon's, else the system's)
    #[arg(long, global = true, value_name = "PATH", help_heading = "Global options")]
    pub socket: Option<PathBuf>,
    /// Print JSON, and errors as JSON on stderr
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Add a task
    ///
    /// Adds a task. The answer comes when the task is safe on disk, and shows its next three fire times.
    Add(Box<AddArgs>),
    /// List tasks: when each is next due, how it last ended
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Show all there is to know of a task
    Show(ShowArgs),
    /// Change a task in place
    ///
    /// Changes what is given and leaves the rest as it is. History and runs in progress stay.
    ///
    /// A new --cron, --every, --at, --in, --boot, --after or --manual takes the place of all schedules that the task has; --jitter,
    /// --start, --end, --calendar, --require and --count stay. An empty --cwd or --description takes it away. --env sets one variable and keeps the others. A new --cron
    /// keeps the time zone and the --dst rules the task has, unless they are given too.
    Edit(Box<EditArgs>),
    /// Remove tasks
    ///
    /// Removes tasks, all that are named or none. A task that is running is not removed unless you say what becomes
    /// of its run.
    #[command(visible_alias = "rm")]
    Remove(RemoveArgs),
    /// Let fire times start runs again
    Enable(EnableArgs),
    /// Let fire times pass without a run
    Disable(DisableArgs),
    /// Have fire times skipped for a time
    ///
    /// Pauses tasks: their fire times are skipped, until the pause ends by itself or `taskctl resume` ends it.
    Pause(PauseArgs),
    /// End pauses
    Resume(ResumeArgs),
    /// Run tasks now
    ///
    /// Runs tasks now, whatever their schedule says, disabled ones too.
    ///
    /// With --wait, prints what the run writes and ends with its exit code, with 2 also where --success-codes 0,2 makes
    /// that a success; 124 when its time was up, 127 when it could not be started, 128 and the signal when a signal ended it; and 1 when it
    /// was skipped, when nobody knows how it ended, and when it exited with 0 and did not succeed, as one that is
    /// cancelled may. With several tasks, the first that is not 0. The run belongs to the daemon: it goes on if taskctl is
    /// interrupted or the daemon restarts.
    Run(RunArgs),
    /// Run fire times of the past, one after the other
    ///
    /// Creates runs for all fire times of a task in a span that is over, whatever became of them then: a hundred wait at
    /// most.
    Backfill(BackfillArgs),
    /// Stop runs
    ///
    /// Stops runs: TERM to all their processes, KILL to what is left ten seconds later. A task stands for its run in progress.
    Cancel(CancelArgs),
    /// Print what a run wrote
    ///
    /// Prints what a run wrote, byte for byte. A task stands for its run under way, else for the newest that started;
    /// with neither, the newest run of all is meant. With --since, a task stands for all its runs since then.
    Logs(LogsArgs),
    /// List runs, newest first
    Runs(RunsArgs),
    /// Watch what runs and waits, with CPU and memory
    ///
    /// Shows the runs in progress, with what they use together with all they started, and the runs that wait. On a terminal,
    /// refreshes until q is pressed; elsewhere, and with --once, prints how it is once. A restart of the daemon does not end it.
    Top(TopArgs),
    /// Show coming fire times, of tasks or of a cron expression
    ///
    /// Shows coming fire times: of all tasks, soonest first; of the tasks named; or, with --cron, of an expression,
    /// which needs no daemon and prints one RFC 3339 instant a line. With --month or --timeline, shows how many there
    /// are on each day of a month, or in each hour of a day.
    Next(NextArgs),
    /// Say what became of a fire time, and why
    ///
    /// Says what became of a fire time, from the ledger: the run for it, or why there is none; of one to come, whether
    /// it will start.
    Why(WhyArgs),
    /// Say what may surprise in schedules, of tasks or of a cron expression
    ///
    /// Says what may surprise in schedules that are accepted: fire times that come more often, less often or less evenly
    /// than they seem to, coming changes of the clock, many tasks in the same minute. With --cron, of an expression,
    /// which needs no daemon.
    Lint(LintArgs),
    /// Keep sets of days and times that tasks keep to or keep clear of
    Calendar(CalendarArgs),
    /// Keep groups of tasks: how many of their runs go at once
    Group(GroupArgs),
    /// Keep locks: what only one run holds at a time, or a few
    Lock(LockArgs),
    /// Draw which tasks come after which, and how each stands
    ///
    /// Draws the tasks that come after others, with --after, or require them, with --require: each below one that it comes
    /// after or requires, with how its newest run stands; with --run, with the runs under the trace id of one.
    Graph(GraphArgs),
    /// Say how the daemon is
    Status(StatusArgs),
    /// Print definitions, one JSON object a line
    ///
    /// Prints definitions in the order of their names, one JSON object a line, as `taskctl import` reads them.
    Export(ExportArgs),
    /// Add all tasks of an export, or none
    ///
    /// Adds all tasks of a file, or none: the first line that cannot be taken is named, and nothing is changed. One
    /// JSON object a line, as `taskctl export` prints them. Blank lines and lines that begin with # are skipped.
    Import(ImportArgs),
    /// Start a daemon of your own in the background
    ///
    /// Starts taskd in the background, detached from the terminal, and waits until it serves. Where one answers
    /// already, says so and is done.
    Start(StartArgs),
    /// Stop the daemon
    ///
    /// Stops the daemon in good order and waits until it is gone. Works with a daemon of any version.
    ///
    /// A daemon started by hand stops its runs too: TERM, and KILL ten seconds later. Where the runner is a service
    /// of its own, runs go on.
    Stop(StopArgs),
    /// Restart the daemon; what runs goes on
    ///
    /// Restarts the daemon as the program that is installed now, with the arguments and environment it has, and waits until
    /// that serves. What runs goes on, whoever started the daemon, and its process id stays. A program that is not
    /// there, is no taskd, or refuses the configuration is not taken: then the daemon goes on as it is.
    RestartDaemon(RestartDaemonArgs),
    /// Watch a daemon of its own at work for twenty seconds
    ///
    /// Shows a daemon at work: four tasks in a daemon of its own, in a temporary directory, with their output live.
    /// Half-way the daemon is killed; what runs is not harmed. Ends by itself after about twenty seconds, leaves
    /// nothing behind, and exits 0 only if everything it claims has really happened.
    Demo(DemoArgs),
    /// Print the completion script of a shell
    Completions(CompletionsArgs),
    /// Become the leader of a new session, then the given program
    #[command(hide = true)]
    Detach(DetachArgs),
    /// Wait for stdin to close, then clear away a demo
    #[command(hide = true)]
    Janitor(JanitorArgs),
}

#[cfg(test)]
mod tests;
