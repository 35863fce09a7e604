//! `run`, `cancel`, `logs`, `runs`: verbs about runs.

use clap::{Args, ValueHint};
use clap_complete::engine::ArgValueCompleter;

use crate::completion;

/// Runs tasks now.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taskctl run backup
  taskctl run --wait backup && echo fine
  taskctl run 'nightly-*'
  taskctl run backup --env LEVEL=3 -- --verbose /home    for this run alone

What stands behind -- comes behind the arguments of the task; for a task with --shell it is $1, $2, and so on. Retries of
the run have it too. `taskctl runs TASK/N --wide` says that a run was given something.")]
pub struct RunArgs {
    /// Names, patterns with * and ?, or label:WORD
    #[arg(required = true, value_name = "TASK", add = ArgValueCompleter::new(completion::tasks))]
    pub names: Vec<String>,
    /// Print the output, wait for the end, and exit with the command's exit code
    #[arg(long, short)]
    pub wait: bool,
    /// Environment variable for this run alone; may be given many times
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Start it whatever the gates of the task say
    #[arg(long)]
    pub skip_gates: bool,
    /// Arguments for this run alone, behind those of the task
    #[arg(last = true, value_name = "ARG", value_hint = ValueHint::Other)]
    pub args: Vec<String>,
}

/// Stops runs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taskctl cancel backup/1042
  taskctl cancel backup
  taskctl cancel extract/12 --downstream    and what it has triggered, and so on")]
pub struct CancelArgs {
    /// Runs, such as backup/1042, or tasks
    #[arg(required = true, value_name = "RUN", add = ArgValueCompleter::new(completion::runs))]
    pub runs: Vec<String>,
    /// Stop all that follows from it as well, and have nothing triggered by its end; the run itself may have ended already
    #[arg(long)]
    pub downstream: bool,
}

/// Prints output.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taskctl logs backup
  taskctl logs backup/1042 --timestamps
  taskctl logs -f backup                    follow until the run ends
  taskctl logs backup --since 1h            all its runs of the last hour
  taskctl logs --path backup                where the file is
  taskctl logs --daemon -f                  the log of taskd itself
  taskctl logs --daemon --since 2d          rotated files of it too

With --json: {log, stream, time} a line, with raw (base64) where log could not hold the bytes, and with gap: {bytes}
where output was not kept.")]
pub struct LogsArgs {
    /// A task, or a run such as backup/1042
    #[arg(value_name = "TASK|RUN", conflicts_with = "daemon", add = ArgValueCompleter::new(completion::runs))]
    pub target: Option<String>,
    /// Print what comes, until the run ends
    #[arg(long, short)]
    pub follow: bool,
    /// Only the last N lines, of the newest attempt
    #[arg(long, short = 'n', value_name = "N")]
    pub tail: Option<usize>,
    /// Only lines since then: a time, or how long ago, such as 10m
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Begin each line with the time it was written
    #[arg(long, short, conflicts_with = "json")]
    pub timestamps: bool,
    /// Print the paths of the files instead
    #[arg(long, conflicts_with_all = ["follow", "tail", "since", "timestamps"])]
    pub path: bool,
    /// The log of the daemon itself
    #[arg(long)]
    pub daemon: bool,
}

/// Lists runs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taskctl runs
  taskctl runs backup --outcome failed --since 7d
  taskctl runs --wide --limit 5
  taskctl runs backup/1042 --wide

With --json: [{run, task, trigger, fire_time, started_at, finished_at, state, outcome, exit_code, signal, attempts,
trace_id, duration_ms, lateness_ms, reason, retry_at, created_at, pid, max_rss_kib, user_us, system_us, output_bytes,
memory_peak_kib, read_bytes, written_bytes, peak_pids, earlier_attempts, overrides: {env, more_env, args,
skip_gates}, gate_until}], newest first; env has names of variables, and args is how many there are. What was used is that of the last
attempt, with all its processes, and null where nobody counts it; max_rss_kib is of its largest process alone. Runs that
are named tell of their earlier attempts too. A list that fails on its way leaves the array open.")]
pub struct RunsArgs {
    /// Tasks, patterns with * and ?, label:WORD, or runs such as backup/1042 (default: all)
    #[arg(value_name = "TASK", add = ArgValueCompleter::new(completion::runs))]
    pub targets: Vec<String>,
    /// Only runs that ended so: succeeded, failed, timed-out, cancelled, spawn-failed, missed, skipped, unknown; may be given many times
    #[arg(long, value_name = "OUTCOME", value_delimiter = ',', value_parser = outcomes())]
    pub outcome: Vec<String>,
    /// Only runs created since then: a time, or how long ago, such as 2h
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// At most so many; 0 for all
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    pub limit: usize,
    /// More columns, such as what a run used: MEMORY of its largest process, PEAK of all together, and so on
    #[arg(long, short, conflicts_with = "json")]
    pub wide: bool,
}

fn outcomes() -> clap::builder::PossibleValuesParser {
    taskd_core::run::Outcome::ALL
        .iter()
        .map(|outcome| outcome.word())
        .into()
}
