//! `add`, `edit`, `export`, `import`: verbs that carry definitions.

use clap::{ArgGroup, Args, ValueEnum, ValueHint};
use clap_complete::engine::ArgValueCompleter;

use super::gates::GateArgs;
use crate::completion;

/// When a task is due, as typed.
#[derive(Debug, Default, Args)]
pub struct ScheduleArgs {
    /// Cron expression: minute hour day-of-month month day-of-week; with six fields seconds come first
    #[arg(long, value_name = "EXPR", help_heading = "Schedule", allow_hyphen_values = true)]
    pub cron: Vec<String>,
    /// Time between fire times, such as 90s, 15m, 1h30m
    #[arg(long, value_name = "DURATION", help_heading = "Schedule")]
    pub every: Vec<String>,
    /// Once, at a local time such as 2026-12-01T09:00, or an instant in RFC 3339
    #[arg(long, value_name = "TIME", help_heading = "Schedule")]
    pub at: Vec<String>,
    /// Once, so long from now, such as 20m
    #[arg(long = "in", value_name = "DURATION", help_heading = "Schedule")]
    pub delay: Option<String>,
    /// Once after each boot of the machine
    #[arg(long, help_heading = "Schedule")]
    pub boot: bool,
    /// When a run of each of these tasks has succeeded since it was last triggered; with TASK:failed or TASK:finished, when one
    /// has ended so; several as A,B
    #[arg(long, value_name = "TASK", value_delimiter = ',', help_heading = "Schedule", add = ArgValueCompleter::new(completion::tasks))]
    pub after: Vec<String>,
    /// When a run of any of these tasks has succeeded, or ended as said with TASK:failed or TASK:finished
    #[arg(long, value_name = "TASK", value_delimiter = ',', conflicts_with = "after", help_heading = "Schedule", add = ArgValueCompleter::new(completion::tasks))]
    pub after_any: Vec<String>,
    /// Only when asked for, with `taskctl run`
    #[arg(long, conflicts_with_all = ["cron", "every", "at", "delay", "boot", "after", "after_any"], help_heading = "Schedule")]
    pub manual: bool,
    /// Time zone of --cron or --at, such as Europe/Berlin (default: the daemon's own)
    #[arg(long, value_name = "ZONE", help_heading = "Schedule", add = ArgValueCompleter::new(completion::zones))]
    pub tz: Option<String>,
    /// What becomes of times of --cron that clocks skip: run at once after the gap, or skip (default: run for times of day)
    #[arg(long, value_name = "WHAT", help_heading = "Schedule")]
    pub dst_gap: Option<Gap>,
    /// Which of two counts where clocks show a time of --cron twice (default: the first for times of day, else both)
    #[arg(long, value_name = "WHICH", help_heading = "Schedule")]
    pub dst_overlap: Option<Overlap>,
    /// Move fire times by up to this much, each task by an offset of its own that stays; 0s for none
    #[arg(long, value_name = "DURATION", help_heading = "Schedule")]
    pub jitter: Option<String>,
    /// No fire time before this time, by the schedule, before jitter or a calendar moves it; '' for no bound
    #[arg(long, value_name = "TIME", help_heading = "Schedule")]
    pub start: Option<String>,
    /// No fire time after this time, by the schedule, before jitter or a calendar moves it; '' for no bound
    #[arg(long, value_name = "TIME", help_heading = "Schedule")]
    pub end: Option<String>,
    /// Skip fire times in what a calendar covers; with NAME=only all others; with NAME=next or =previous have them on the
    /// nearest day that is not covered; may be given many times; '' for none
    #[arg(long, value_name = "NAME", help_heading = "Schedule")]
    pub calendar: Vec<String>,
    /// Skip what falls due unless the last run of each of these tasks succeeded, with TASK:26h not longer ago than that;
    /// several as A,B; `run` starts it all the same; '' for none
    #[arg(long, value_name = "TASK[:DURATION]", value_delimiter = ',', help_heading = "Schedule", add = ArgValueCompleter::new(completion::tasks))]
    pub require: Vec<String>,
    /// Disable the task after so many runs by its schedule; 0 for never
    #[arg(long, value_name = "N", help_heading = "Schedule")]
    pub count: Option<u64>,
}

/// What becomes of local times that clocks skip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Gap {
    /// As `run` for times of day, else as `skip`
    Auto,
    /// Once, right after the gap
    Run,
    /// Not at all
    Skip,
}

/// Which of two counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Overlap {
    /// As `first` for times of day, else as `both`
    Auto,
    /// The first time
    First,
    /// The second time
    Second,
    /// Both times
    Both,
}

/// What becomes of fire times that were missed, as typed.
#[derive(Debug, Default, Args)]
pub struct MisfireArgs {
    /// What becomes of fire times that are more than ten seconds late: the daemon was down, the machine slept (default: once)
    #[arg(long, value_name = "WHAT", help_heading = "Missed fire times")]
    pub misfire: Option<Misfire>,
    /// How late they may still be run, more than 10s (default: 1h; however late with `all`)
    #[arg(long, value_name = "DURATION", help_heading = "Missed fire times")]
    pub misfire_within: Option<String>,
}

/// What becomes of fire times that were missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Misfire {
    /// The latest of them is run, if it is not too late for it
    Once,
    /// All of them are run, one after the other, the latest hundred at most
    All,
    /// None of them is run
    Skip,
}

/// How long runs may take, and how they are stopped, as typed.
#[derive(Debug, Default, Args)]
pub struct LimitArgs {
    /// Stop an attempt that takes longer
    #[arg(long, value_name = "DURATION", help_heading = "Time limits")]
    pub timeout: Option<String>,
    /// Stop a run that takes longer with all its attempts
    #[arg(long, value_name = "DURATION", help_heading = "Time limits")]
    pub deadline: Option<String>,
    /// Time between the signal that asks a run to end and KILL, for whatever reason it is stopped (default: 10s)
    #[arg(long, value_name = "DURATION", help_heading = "Time limits")]
    pub grace: Option<String>,
    /// The signal that asks it to end, such as INT (default: TERM)
    #[arg(long, value_name = "SIGNAL", help_heading = "Time limits")]
    pub kill_signal: Option<String>,
    /// What becomes of background processes that are left when the command ends by itself (default: kill)
    #[arg(long, value_name = "WHAT", help_heading = "Time limits")]
    pub on_leftover: Option<Leftover>,
}

/// What becomes of background processes that are left when the command ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Leftover {
    /// They are killed
    Kill,
    /// They go on with no output kept, until the runner ends; a stop of the run still ends all of them
    Leave,
}

/// A factor in hundredths.
fn percent(typed: &str) -> Result<u32, &'static str> {
    let factor = typed
        .parse::<f64>()
        .ok()
        .filter(|factor| (1.0..=100.0).contains(factor));
    factor
        .map(|factor| (factor * 100.0).round() as u32)
        .ok_or("it is a number from 1 to 100")
}

fn times(text: &str) -> Result<u32, &'static str> {
    text.trim().parse().map_err(|_| "it is a whole number, and 0 for none")
}

/// Whether another attempt follows one that did not succeed, as typed.
#[derive(Debug, Default, Args)]
pub struct RetryArgs {
    /// How often another attempt follows one that did not succeed (default: 0)
    #[arg(long, value_name = "N", value_parser = times, help_heading = "Retries")]
    pub retries: Option<u32>,
    /// How long each waits: the first, and the longest (default: 1s..5m)
    #[arg(long, value_name = "INITIAL..MAX", help_heading = "Retries")]
    pub backoff: Option<String>,
    /// By how much the wait grows from one to the next (default: 2)
    #[arg(long, value_name = "FACTOR", value_parser = percent, help_heading = "Retries")]
    pub backoff_factor: Option<u32>,
    /// Wait for a random part of it only
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "Retries")]
    pub backoff_jitter: Option<bool>,
    /// After what: failed, timed-out, spawn-failed, unknown, exit:CODE (default: failed,timed-out)
    #[arg(long, value_name = "WHAT", value_delimiter = ',', help_heading = "Retries")]
    pub retry_on: Vec<String>,
    /// Exit codes that are a success (default: 0)
    #[arg(long, value_name = "CODE", value_delimiter = ',', help_heading = "Retries")]
    pub success_codes: Vec<String>,
}

/// What becomes of a new run while others are in progress, as typed.
#[derive(Debug, Default, Args)]
pub struct SharingArgs {
    /// What becomes of a new run while one is in progress: forbid skips it, allow or allow:N lets N go side by side, queue or
    /// queue:N has up to N wait, replace cancels the earlier one (default: forbid)
    #[arg(long, value_name = "WHAT", help_heading = "Concurrency")]
    pub concurrency: Option<String>,
    /// Put it into a group, whose limit holds for the runs of all its tasks: `taskctl group`
    #[arg(long, value_name = "NAME", help_heading = "Concurrency")]
    pub group: Option<String>,
    /// Of several runs that wait for the same, let the one with the highest go first, -1000 to 1000 (default: 0)
    #[arg(long, value_name = "N", help_heading = "Concurrency")]
    pub priority: Option<i16>,
    /// Have each run hold a lock, and wait while another run holds it; may be given many times: `taskctl lock`
    #[arg(long, value_name = "NAME", help_heading = "Concurrency")]
    pub lock: Vec<String>,
}

/// What processes are given, as typed.
#[derive(Debug, Default, Args)]
pub struct ProcessArgs {
    /// Run it as this user, with the user's groups and home, where the daemon is root's; '' for the daemon's own, the default
    #[arg(long, value_name = "NAME|UID", help_heading = "Process", value_hint = ValueHint::Username)]
    pub user: Option<String>,
    /// Permissions that files it makes do not get, in octal digits such as 027
    #[arg(long, value_name = "MASK", help_heading = "Process")]
    pub umask: Option<String>,
    /// Priority for the processor, from -20, which comes first and is for root, to 19
    #[arg(long, value_name = "N", help_heading = "Process", allow_hyphen_values = true)]
    pub nice: Option<String>,
    /// Priority for disks: idle, best-effort:0 to best-effort:7, or realtime:0 to realtime:7; 0 comes first
    #[arg(long, value_name = "CLASS", help_heading = "Process")]
    pub ionice: Option<String>,
    /// How soon it is killed when memory is short, from -1000, never, to 1000, first
    #[arg(long, value_name = "N", help_heading = "Process", allow_hyphen_values = true)]
    pub oom_score_adjust: Option<String>,
    /// A limit of the system, such as nofile=1024, core=0:unlimited or as=2G; may be given many times
    #[arg(long, value_name = "NAME=SOFT[:HARD]", help_heading = "Process")]
    pub limit: Vec<String>,
    /// Let no program it executes get more rights than it has, as sudo and other set-user-id programs do
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "Process")]
    pub no_new_privileges: Option<bool>,
    /// Give it /tmp and /var/tmp for itself, in memory, empty when it begins and gone when it has ended; for root
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "Process")]
    pub private_tmp: Option<bool>,
    /// Memory that a run and all it starts may have at once, such as 512M; what needs more is killed; '' for no cap
    #[arg(long, value_name = "SIZE", help_heading = "Process", allow_hyphen_values = true)]
    pub memory_max: Option<String>,
    /// Processor time that they may use: 50% of one core, or 2-cores; what would use more waits; '' for no cap
    #[arg(
        long,
        value_name = "PERCENT|N-cores",
        help_heading = "Process",
        allow_hyphen_values = true
    )]
    pub cpu_max: Option<String>,
    /// Processes and threads that there may be of them at once; what would start more cannot; '' for no cap
    #[arg(long, value_name = "N", help_heading = "Process", allow_hyphen_values = true)]
    pub pids_max: Option<String>,
    /// What it reads from standard input: a text, or a file as @FILE, opened at each start; '' for nothing, which is the default
    #[arg(
        long,
        value_name = "TEXT|@FILE",
        help_heading = "What to run",
        allow_hyphen_values = true
    )]
    pub stdin: Option<String>,
    /// A file of variables, a NAME=VALUE a line, read at each start; `-` before it: it need not be there; may be given many
    /// times, and takes the place of those there were; '' for none
    #[arg(long, value_name = "FILE", help_heading = "What to run", allow_hyphen_values = true, value_hint = ValueHint::FilePath)]
    pub env_file: Vec<String>,
    /// Give its runs no variables but those of --env-file and --env and what says which run it is; PATH neither
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "What to run")]
    pub clear_env: Option<bool>,
}

/// What becomes of what runs write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Each line is kept with its stream and its time
    Lines,
    /// The command writes a file itself, stdout and stderr in one: raw and without times, and nobody reads it on the way
    File,
    /// Nothing is kept
    Discard,
}

/// What is kept of runs, as typed.
#[derive(Debug, Default, Args)]
pub struct KeepArgs {
    /// What becomes of what runs write: lines with stream and time, a file that the command writes itself (raw; there
    /// `> /dev/stderr` would empty it, write `>&2`), or discard (default: lines)
    #[arg(long, value_name = "WHAT", help_heading = "What is kept")]
    pub output: Option<Output>,
    /// Most of the output kept of an attempt, such as 64K or 1MiB: past it the first and the last half (default: 16MiB)
    #[arg(long, value_name = "SIZE", help_heading = "What is kept")]
    pub output_max: Option<String>,
    /// Hide what matches this regular expression within a line: *** is written instead, and nothing of it reaches the disk; may
    /// be given many times; '' for none. Lines are then shown once they are whole
    #[arg(
        long,
        value_name = "PATTERN",
        help_heading = "What is kept",
        allow_hyphen_values = true
    )]
    pub mask: Vec<String>,
    /// Finished runs kept with their output, the newest (default: 1000)
    #[arg(long, value_name = "N", help_heading = "What is kept")]
    pub keep_runs: Option<String>,
    /// How long runs are kept with their output after they have ended, such as 30d; looked at every hour (default: 90d)
    #[arg(long, value_name = "DURATION", help_heading = "What is kept")]
    pub keep_for: Option<String>,
}

/// What a run does, as typed.
#[derive(Debug, Default, Args)]
pub struct ActionArgs {
    /// A line for sh -c, instead of a command
    #[arg(
        long,
        value_name = "LINE",
        group = "action",
        help_heading = "What to run",
        allow_hyphen_values = true
    )]
    pub shell: Option<String>,
    /// The program and its arguments, after `--`; no shell reads them
    #[arg(last = true, value_name = "COMMAND", group = "action", num_args = 1.., help_heading = "What to run", value_hint = ValueHint::AnyPath)]
    pub command: Vec<String>,
}

/// Adds a task.
#[derive(Debug, Args)]
#[command(
    override_usage = "taskctl add [OPTIONS] <SCHEDULE> -- <COMMAND>...\n       taskctl add [OPTIONS] <SCHEDULE> --shell <LINE>",
    after_help = "\
Examples:
  taskctl add --name backup --cron '30 2 * * *' --tz Europe/Berlin -- backup -a
  taskctl add --name ping --every 90s --shell 'curl -fsS example.org | tail -1'
  taskctl add --at 2026-12-01T09:00 -- notify-send 'Call Ann'
  taskctl add --cron '30 2 * * *' --dst-gap skip --misfire skip -- tidy-up
  taskctl add --cron '0 9 * * MON-FRI' --cron '0 12 * * SAT' -- report
  taskctl add --boot --cron '0 4 * * *' --jitter 30m -- fetch-mail
  taskctl add --every 5m --end 2026-12-31T18:00 --count 100 -- poll
  taskctl add --cron @hourly --timeout 10m --grace 30s --kill-signal INT -- sync
  taskctl add --every 10m --concurrency queue:3 -- import-mail
  taskctl add --cron @hourly --group db --priority 10 --lock disk -- vacuum
  taskctl add --cron @daily --retries 5 --retry-on exit:75,timed-out -- upload
  taskctl add --cron @hourly --label night --success-codes 0,2 -- scan
  taskctl add --cron @daily --nice 10 --ionice idle --limit as=2G -- index
  taskctl add --after extract,clean:finished -- load
  taskctl add --cron '0 6 * * MON' --require backup:26h,verify -- prune-backups
  taskctl add --cron @daily --memory-max 1G --cpu-max 50% --pids-max 64 -- build
  taskctl add --in 8h --stdin 'Call Ann' -- mail me@example.org
  taskctl add --every 1h --env-file -/etc/sync.env --umask 027 -- sync
  taskctl add --every 1s --output file -- sample-sensors
  taskctl add --cron @daily --mask 'token=\\S+' --mask '[0-9]{16}' -- fetch -v
  taskctl add --every 5s --keep-runs 50 --keep-for 1d --output-max 64KiB -- poll
  taskctl add --cron @daily --only-if 'test -e /mnt' --gate-wait 2h -- sync
  taskctl add --every 1h --max-load 4 --min-memory 2G --on-ac-power -- index
  sudo taskctl add --cron '0 3 * * *' --user www-data -- purge-sessions

Without --name, a name is made from the command. --cron, --every and --at may be
given many times, and --boot and --after with them: a time that several of them
have is one. What --after triggers carries the trace id of what triggered it on.",
    group = ArgGroup::new("schedule").required(true).multiple(true).args(["cron", "every", "at", "delay", "boot", "after", "after_any", "manual"]),
    group = ArgGroup::new("action").required(true),
)]
pub struct AddArgs {
    /// Name of the task; without one, a name is made from the command
    #[arg(long, short, value_name = "NAME")]
    pub name: Option<String>,
    /// When it is due.
    #[command(flatten)]
    pub schedule: ScheduleArgs,
    /// What it does.
    #[command(flatten)]
    pub action: ActionArgs,
    /// What becomes of fire times that were missed.
    #[command(flatten)]
    pub misfire: MisfireArgs,
    /// How long it may take.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Whether another attempt follows.
    #[command(flatten)]
    pub retry: RetryArgs,
    /// What becomes of a new run while others are in progress.
    #[command(flatten)]
    pub sharing: SharingArgs,
    /// What its processes are given.
    #[command(flatten)]
    pub process: ProcessArgs,
    /// What is kept of it.
    #[command(flatten)]
    pub keep: KeepArgs,
    /// What must hold before its runs start.
    #[command(flatten)]
    pub gates: GateArgs,
    /// Working directory of its runs (default: the owner's home)
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "What to run")]
    pub cwd: Option<String>,
    /// Environment variable for its runs; may be given many times
    #[arg(long, short, value_name = "NAME=VALUE", help_heading = "What to run")]
    pub env: Vec<String>,
    /// A note for people
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// A word to group it by: label:WORD stands for all that have it; may be given many times
    #[arg(long, value_name = "WORD")]
    pub label: Vec<String>,
    /// Add it disabled: fire times pass without a run until `taskctl enable`
    #[arg(long)]
    pub disabled: bool,
}

/// Changes a task.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taskctl edit backup --cron '0 4 * * *'
  taskctl edit backup --tz UTC --description 'moved to UTC'
  taskctl edit backup --dst-overlap both --misfire-within 6h
  taskctl edit backup --jitter 20m --end '' --timeout ''
  taskctl edit backup --retries 3 --backoff 10s..10m --label night
  taskctl edit load --after-any extract,import --require ''
  taskctl edit backup --nice '' --limit nofile=4096 --limit core=
  taskctl edit backup --keep-runs 20 --keep-for '' --output-max ''
  taskctl edit backup --max-load 2.5 --only-if '' --gate-wait 30m
  taskctl edit backup --memory-max 2G --pids-max ''
  taskctl edit ping --name probe --env RETRIES=3 -- /usr/local/bin/probe")]
pub struct EditArgs {
    /// The task to change
    #[arg(value_name = "TASK", add = ArgValueCompleter::new(completion::tasks))]
    pub task: String,
    /// New name
    #[arg(long, short, value_name = "NAME")]
    pub name: Option<String>,
    /// When it is due.
    #[command(flatten)]
    pub schedule: ScheduleArgs,
    /// What it does.
    #[command(flatten)]
    pub action: ActionArgs,
    /// What becomes of fire times that were missed.
    #[command(flatten)]
    pub misfire: MisfireArgs,
    /// How long it may take.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Whether another attempt follows.
    #[command(flatten)]
    pub retry: RetryArgs,
    /// What becomes of a new run while others are in progress.
    #[command(flatten)]
    pub sharing: SharingArgs,
    /// What its processes are given.
    #[command(flatten)]
    pub process: ProcessArgs,
    /// What is kept of it.
    #[command(flatten)]
    pub keep: KeepArgs,
    /// What must hold before its runs start.
    #[command(flatten)]
    pub gates: GateArgs,
    /// New working directory; '' for the owner's home
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "What to run")]
    pub cwd: Option<String>,
    /// Set an environment variable; may be given many times
    #[arg(long, short, value_name = "NAME=VALUE", help_heading = "What to run")]
    pub env: Vec<String>,
    /// Take away an environment variable; may be given many times
    #[arg(long, value_name = "NAME", help_heading = "What to run")]
    pub unset_env: Vec<String>,
    /// New note for people; '' for none
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Give it a label; may be given many times
    #[arg(long, value_name = "WORD")]
    pub label: Vec<String>,
    /// Take away a label; may be given many times
    #[arg(long, value_name = "WORD")]
    pub unset_label: Vec<String>,
    /// Let fire times start runs
    #[arg(long, conflicts_with = "disabled")]
    pub enabled: bool,
    /// Let fire times pass without a run
    #[arg(long)]
    pub disabled: bool,
}

/// Prints definitions.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taskctl export > tasks.jsonl
  taskctl export 'nightly-*' | ssh other taskctl import -")]
pub struct ExportArgs {
    /// Names, patterns with * and ?, or label:WORD (default: all)
    #[arg(value_name = "TASK", add = ArgValueCompleter::new(completion::tasks))]
    pub names: Vec<String>,
}

/// Adds all tasks of a file.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taskctl import tasks.jsonl
  taskctl export backup | sed 's/\"backup\"/\"backup-2\"/' | taskctl import -

A line that `taskctl export` prints shows how a definition is written.")]
pub struct ImportArgs {
    /// The file; - for stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: std::path::PathBuf,
}
