//! A task's definition as it is said, on the wire and in the JSON lines of `export` and `import`.

mod gates;

use bincode::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize};

use crate::codec::{Rec, Tail};
pub use gates::{GatesPatch, GatesSpec};

/// What `taskctl add` says of one task: everything a user may choose, as typed and not yet checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSpec {
    /// The task's name; empty asks the daemon to make one from the command.
    #[serde(default)]
    pub name: String,
    /// When it is due.
    pub schedule: ScheduleSpec,
    /// What a run does.
    pub action: ActionSpec,
    /// Working directory of a run, absolute; `None` is the home of the owner.
    #[serde(default)]
    pub cwd: Option<String>,
    /// Environment added to what every run gets.
    #[serde(default)]
    pub env: Vec<EnvVar>,
    /// A note for people.
    #[serde(default)]
    pub description: Option<String>,
    /// Whether fire times start runs.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// What becomes of fire times that passed without a start.
    #[serde(default)]
    pub misfire: MisfireSpec,
    /// How many milliseconds late a fire time may still be run; `None` for an hour with [`MisfireSpec::Once`], and for however
    /// late with [`MisfireSpec::All`].
    #[serde(default)]
    pub misfire_within_ms: Option<u64>,
    /// What becomes of local times of a cron expression that clocks skip.
    #[serde(default)]
    pub dst_gap: DstGap,
    /// What becomes of local times of a cron expression that clocks show twice.
    #[serde(default)]
    pub dst_overlap: DstOverlap,
    /// Further schedules; a fire time that several of them have is one.
    #[serde(default)]
    pub also: Vec<Rec<ScheduleSpec>>,
    /// By up to how many milliseconds fire times are moved, by an offset that is the task's own.
    #[serde(default)]
    pub jitter_ms: u64,
    /// No fire time is earlier: an instant or a local time, as of [`ScheduleSpec::At`].
    #[serde(default)]
    pub start: Option<String>,
    /// No fire time is later.
    #[serde(default)]
    pub end: Option<String>,
    /// After so many runs by its schedule the task is disabled.
    #[serde(default)]
    pub count: Option<u64>,
    /// The calendars that fire times keep to or keep clear of.
    #[serde(default)]
    pub calendars: Vec<CalendarUse>,
    /// What it is grouped by.
    #[serde(default)]
    pub labels: Vec<String>,
    /// How many milliseconds an attempt may take.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// How many milliseconds a run may take with all its attempts.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
    /// Milliseconds between the signal that asks a run to end and KILL; `None` for what the daemon has for all.
    #[serde(default)]
    pub grace_ms: Option<u64>,
    /// The name of that signal, such as `INT`; `None` for TERM.
    #[serde(default)]
    pub kill_signal: Option<String>,
    /// How often another attempt follows one that did not succeed, at most.
    #[serde(default)]
    pub retries: u32,
    /// How long each waits; `None` for 1 s, doubled each time, up to 5 min.
    #[serde(default)]
    pub backoff: Option<BackoffSpec>,
    /// After what: `failed`, `timed-out`, `spawn-failed`, `unknown` or `exit:CODE`; `None` for failed and timed-out.
    #[serde(default)]
    pub retry_on: Option<Vec<String>>,
    /// The exit codes that are a success; `None` for 0.
    #[serde(default)]
    pub success_codes: Option<Vec<u32>>,
    /// What becomes of a new run while others are in progress: `allow`, `allow:N`, `queue`, `queue:N` or `replace`; `None`
    /// for `forbid`.
    #[serde(default)]
    pub concurrency: Option<String>,
    /// The group it is in.
    #[serde(default)]
    pub group: Option<String>,
    /// Of several runs that wait for the same, the one with the highest goes first.
    #[serde(default)]
    pub priority: i16,
    /// The locks that each of its runs holds.
    #[serde(default)]
    pub locks: Vec<String>,
    /// What becomes of processes that an attempt leaves behind.
    #[serde(default)]
    pub on_leftover: OnLeftover,
    /// What its processes are given beside arguments, variables and a directory.
    #[serde(default)]
    pub process: Rec<ProcessSpec>,
    /// Most bytes of output kept of an attempt, head and tail; `None` for what the daemon has for all.
    pub output_max: Option<u64>,
    /// How many finished runs are kept; `None` for what the daemon has for all.
    pub keep_runs: Option<u64>,
    /// For how many milliseconds after their end runs are kept; `None` for what the daemon has for all.
    pub keep_for_ms: Option<u64>,
    /// What becomes of what runs write.
    #[serde(default)]
    pub output: OutputKind,
    /// Regular expressions of what is hidden in the output before it is written.
    #[serde(default)]
    pub mask: Vec<String>,
    /// What must hold before its runs start.
    #[serde(default)]
    pub gates: Rec<GatesSpec>,
    /// The tasks whose last run must have succeeded for it to start when it is due, each as `TASK` or `TASK:DURATION`.
    #[serde(default)]
    pub requires: Tail<Vec<String>>,
}

/// What the processes of a task are given; `None` leaves what the runner has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessSpec {
    /// The permissions that files it makes do not get, in octal digits.
    #[serde(default)]
    pub umask: Option<String>,
    /// The priority for the processor, from -20, which comes first, to 19.
    #[serde(default)]
    pub nice: Option<i32>,
    /// The priority for disks: `idle`, `best-effort:0` to `:7` or `realtime:0` to `:7`.
    #[serde(default)]
    pub ionice: Option<String>,
    /// How soon it is killed when memory is short, from -1000, never, to 1000.
    #[serde(default)]
    pub oom_score_adjust: Option<i32>,
    /// Limits of the system, each as `NAME=SOFT` or `NAME=SOFT:HARD`.
    #[serde(default)]
    pub limits: Vec<String>,
    /// Whether no program it executes gets more rights than it has.
    #[serde(default)]
    pub no_new_privileges: bool,
    /// Whether it has no variables but those of the task and of the run.
    #[serde(default)]
    pub clear_env: bool,
    /// Files of variables, absolute, each with `-` before it where it need not be there.
    #[serde(default)]
    pub env_files: Vec<String>,
    /// What it reads from standard input: a text, or an absolute path behind `@`; `@@` begins a text that begins with `@`.
    #[serde(default)]
    pub stdin: Option<String>,
    /// Whether it has `/tmp` and `/var/tmp` for itself.
    #[serde(default)]
    pub private_tmp: bool,
    /// The user it runs as, by name or number; `None` for the daemon's.
    #[serde(default)]
    pub user: Tail<Option<String>>,
    /// How much memory all of them may use at once: bytes, or with K, M, G or T behind it.
    #[serde(default)]
    pub memory_max: Tail<Option<String>>,
    /// How much processor time they may use: `50%` of one core, or `2-cores`.
    #[serde(default)]
    pub cpu_max: Tail<Option<String>>,
    /// How many processes and threads there may be of them at once.
    #[serde(default)]
    pub pids_max: Tail<Option<u32>>,
}

/// What becomes of what a run writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputKind {
    /// The runner reads it and keeps each line with its stream and its time.
    #[default]
    Lines,
    /// The command writes it into a file itself.
    File,
    /// Nothing is kept.
    Discard,
}

/// How long an attempt waits after the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackoffSpec {
    /// Milliseconds before the first.
    pub initial_ms: u64,
    /// Milliseconds before any, at most.
    pub max_ms: u64,
    /// By how many hundredths it grows from one to the next: 200 doubles it.
    pub factor_percent: u32,
    /// Whether each waits for a random part of that.
    #[serde(default)]
    pub jitter: bool,
}

/// The use that a task makes of a calendar.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalendarUse {
    /// Its name.
    pub name: String,
    /// What for.
    #[serde(default)]
    pub keep: CalendarKeep,
}

/// What a task does with a calendar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CalendarKeep {
    /// Fire times in what it covers are skipped.
    #[default]
    Exclude,
    /// Fire times in what it does not cover are skipped.
    Only,
    /// Fire times on covered days are those of the next day that is not.
    Next,
    /// Fire times on covered days are those of the last day before that is not.
    Previous,
}

/// What becomes of fire times that passed without a start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MisfireSpec {
    /// The latest is run, if it is not too late for it.
    #[default]
    Once,
    /// None is run.
    Skip,
    /// All are run one after the other, behind live firings, if they are not too late for it.
    All,
}

/// What becomes of processes that an attempt leaves behind when its first process ends by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnLeftover {
    /// They are killed.
    #[default]
    Kill,
    /// They go on, at most until the runner ends.
    Leave,
}

/// What becomes of local times that clocks skip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DstGap {
    /// As `Run` for an expression that names times of day, else as `Skip`.
    #[default]
    Auto,
    /// They fire once, at the first instant after the gap.
    Run,
    /// They do not fire.
    Skip,
}

/// What becomes of local times that clocks show twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DstOverlap {
    /// As `First` for an expression that names times of day, else as `Both`.
    #[default]
    Auto,
    /// They fire the first time.
    First,
    /// They fire the second time.
    Second,
    /// They fire both times.
    Both,
}

fn yes() -> bool {
    true
}

/// One environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvVar {
    /// Its name, without `=`.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// When a task is due, as typed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ScheduleSpec {
    /// Only when asked for.
    #[default]
    #[serde(deserialize_with = "no_fields")]
    Manual,
    /// A cron expression in a time zone; without one, the daemon's own.
    Cron {
        /// Five, six or seven fields, or an `@` word.
        expr: String,
        /// A name of the tz database.
        #[serde(default)]
        tz: Option<String>,
    },
    /// Every so many milliseconds from `anchor`.
    Every {
        /// Milliseconds between fire times.
        interval_ms: u64,
        /// Milliseconds since the epoch from which the grid counts; `None` is the instant of acceptance.
        #[serde(default)]
        anchor_ms: Option<i64>,
    },
    /// Once, at a local time or an instant.
    At {
        /// RFC 3339, or a local time such as `2026-12-01T09:00`.
        at: String,
        /// The zone of a local time; without one, the daemon's own.
        #[serde(default)]
        tz: Option<String>,
    },
    /// Once, so many milliseconds after acceptance.
    In {
        /// Milliseconds from acceptance.
        delay_ms: u64,
    },
    /// Once after each boot of the machine.
    #[serde(deserialize_with = "no_fields")]
    Boot,
    /// When runs of other tasks of the same owner have ended.
    After {
        /// The tasks as `TASK` or `TASK:END`, where the end is `succeeded`, `failed` or `finished`.
        of: Vec<String>,
        /// Whether one of them is enough; otherwise it takes all.
        #[serde(default)]
        any: bool,
    },
}

/// `deny_unknown_fields` does not reach a variant without fields, so this holds it to having none.
fn no_fields<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct NoFields {}
    NoFields::deserialize(deserializer).map(|NoFields {}| ())
}

/// What a run does, as typed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ActionSpec {
    /// A program and its arguments, without a shell.
    Exec {
        /// The program, then its arguments.
        argv: Vec<String>,
    },
    /// A line for `/bin/sh -c`.
    Shell {
        /// The line.
        line: String,
    },
}

impl Default for ActionSpec {
    fn default() -> Self {
        ActionSpec::Exec { argv: Vec::new() }
    }
}

/// What of a backoff is changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct BackoffPatch {
    /// Milliseconds before the first, and before any at most.
    pub bounds_ms: Option<(u64, u64)>,
    /// By how many hundredths it grows.
    pub factor_percent: Option<u32>,
    /// Whether each waits for a random part of that.
    pub jitter: Option<bool>,
}

/// What `taskctl edit` changes; `None` leaves a field as it is. It says what to do to the definition that is there when
/// the change is made, so that of two edits at one time neither undoes the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct TaskPatch {
    /// A new name.
    pub name: Option<String>,
    /// A new schedule. A cron expression without a zone keeps the zone of the expression that the task has.
    pub schedule: Option<ScheduleSpec>,
    /// A new action.
    pub action: Option<ActionSpec>,
    /// A new working directory; the inner `None` takes it away.
    pub cwd: Option<Option<String>>,
    /// Variables to set, each in its place where the task has it already.
    pub set_env: Vec<EnvVar>,
    /// Variables to take away, before others are set.
    pub unset_env: Vec<String>,
    /// A new note; the inner `None` takes it away.
    pub description: Option<Option<String>>,
    /// Whether fire times start runs.
    pub enabled: Option<bool>,
    /// A new zone for the schedule the task has.
    pub tz: Option<String>,
    /// What becomes of fire times that passed without a start from now on.
    pub misfire: Option<MisfireSpec>,
    /// How many milliseconds late a fire time may still be run.
    pub misfire_within_ms: Option<u64>,
    /// What becomes of local times that clocks skip. A new cron expression keeps what the task has.
    pub dst_gap: Option<DstGap>,
    /// What becomes of local times that clocks show twice. A new cron expression keeps what the task has.
    pub dst_overlap: Option<DstOverlap>,
    /// Further schedules, with [`TaskPatch::schedule`]: both take the place of all that the task has.
    pub also: Vec<Rec<ScheduleSpec>>,
    /// By up to how many milliseconds fire times are moved; 0 for none.
    pub jitter_ms: Option<u64>,
    /// No fire time is earlier; the inner `None` takes the bound away.
    pub start: Option<Option<String>>,
    /// No fire time is later; the inner `None` takes the bound away.
    pub end: Option<Option<String>>,
    /// After so many runs by its schedule the task is disabled; 0 for never.
    pub count: Option<u64>,
    /// All calendars that fire times keep to or keep clear of from now on.
    pub calendars: Option<Vec<CalendarUse>>,
    /// Labels to give it.
    pub set_labels: Vec<String>,
    /// Labels to take away.
    pub unset_labels: Vec<String>,
    /// How many milliseconds an attempt may take; the inner `None` for however long.
    pub timeout_ms: Option<Option<u64>>,
    /// How many milliseconds a run may take; the inner `None` for however long.
    pub deadline_ms: Option<Option<u64>>,
    /// Milliseconds between the signal that asks a run to end and KILL; the inner `None` for what the daemon has for all.
    pub grace_ms: Option<Option<u64>>,
    /// The name of that signal; the inner `None` for TERM.
    pub kill_signal: Option<Option<String>>,
    /// How often another attempt follows one that did not succeed.
    pub retries: Option<u32>,
    /// How long each waits, as far as it is said; all of it `None` leaves it as it is.
    pub backoff: Option<BackoffPatch>,
    /// After what; the inner `None` for failed and timed-out.
    pub retry_on: Option<Option<Vec<String>>>,
    /// The exit codes that are a success; the inner `None` for 0.
    pub success_codes: Option<Option<Vec<u32>>>,
    /// What becomes of a new run while others are in progress; the inner `None` for `forbid`.
    pub concurrency: Option<Option<String>>,
    /// The group it is in; the inner `None` for none.
    pub group: Option<Option<String>>,
    /// Of several runs that wait for the same, the one with the highest goes first.
    pub priority: Option<i16>,
    /// All locks that each of its runs holds from now on.
    pub locks: Option<Vec<String>>,
    /// What becomes of processes that an attempt leaves behind.
    pub on_leftover: Option<OnLeftover>,
    /// What its processes are given.
    pub process: Rec<ProcessPatch>,
    /// Most bytes of output kept of an attempt; the inner `None` for what the daemon has for all.
    pub output_max: Option<Option<u64>>,
    /// How many finished runs are kept; the inner `None` for what the daemon has for all.
    pub keep_runs: Option<Option<u64>>,
    /// For how many milliseconds after their end; the inner `None` for what the daemon has for all.
    pub keep_for_ms: Option<Option<u64>>,
    /// What becomes of what runs write.
    pub output: Option<OutputKind>,
    /// All regular expressions of what is hidden in the output from now on.
    pub mask: Option<Vec<String>>,
    /// What must hold before its runs start.
    pub gates: Rec<GatesPatch>,
    /// All tasks that it requires from now on.
    pub requires: Tail<Option<Vec<String>>>,
}

/// What is changed of what processes are given; an inner `None` for what the runner has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct ProcessPatch {
    /// The permissions that files it makes do not get.
    pub umask: Option<Option<String>>,
    /// The priority for the processor.
    pub nice: Option<Option<i32>>,
    /// The priority for disks.
    pub ionice: Option<Option<String>>,
    /// How soon it is killed when memory is short.
    pub oom_score_adjust: Option<Option<i32>>,
    /// Limits, one after the other: `NAME=SOFT[:HARD]` sets one, `NAME=` takes it away, an empty text takes all away.
    pub limits: Vec<String>,
    /// Whether no program it executes gets more rights than it has.
    pub no_new_privileges: Option<bool>,
    /// Whether it has no variables but those of the task and of the run.
    pub clear_env: Option<bool>,
    /// All files of variables that it has from now on.
    pub env_files: Option<Vec<String>>,
    /// What it reads from standard input.
    pub stdin: Option<Option<String>>,
    /// Whether it has `/tmp` and `/var/tmp` for itself.
    pub private_tmp: Option<bool>,
    /// The user it runs as.
    pub user: Tail<Option<Option<String>>>,
    /// How much memory all of them may use at once.
    pub memory_max: Tail<Option<Option<String>>>,
    /// How much processor time they may use.
    pub cpu_max: Tail<Option<Option<String>>>,
    /// How many processes and threads there may be of them at once.
    pub pids_max: Tail<Option<Option<u32>>>,
}
