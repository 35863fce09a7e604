//! What `taskd` and its runner say to each other at protocol 1. Neither side answers the other: both send as things
//! happen. The daemon opens with [`ToRunner::Attach`]; the runner then sends its inventory and after it events.
//! Instants are milliseconds since the epoch, UTC. Variants and the fields of [`Rec`] structs only append.

use bincode::de::{BorrowDecoder, Decoder};
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{BorrowDecode, Decode, Encode};

use crate::codec::{Rec, Tail};
use crate::definition::{ActionSpec, EnvVar, OutputKind};

/// One attempt of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct AttemptKey {
    /// The task's id.
    pub task: u64,
    /// The run's number in its task.
    pub run: u64,
    /// The attempt, from 1.
    pub attempt: u32,
}

/// What the daemon tells the runner.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ToRunner {
    /// First message of a connection: this daemon takes over, earlier connections end.
    Attach,
    /// Start an attempt.
    Start(Box<Rec<Start>>),
    /// Stop an attempt: TERM to its whole tree, KILL after the grace. Unknown keys are ignored.
    Stop {
        /// Which.
        key: AttemptKey,
        /// Milliseconds between TERM and KILL.
        grace_ms: u64,
    },
    /// The result of this attempt is durable with the daemon; the runner may forget it.
    Forget(AttemptKey),
    /// Stop everything with the grace and end. Results not yet forgotten stay in the spool.
    Shutdown {
        /// Milliseconds between TERM and KILL.
        grace_ms: u64,
    },
    /// Tell what the attempts in progress use now. To be said to a runner that [can](RunnerInfo::can) only; several before an
    /// answer have one.
    Look,
}

/// What is to be started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Start {
    /// Its key.
    pub key: AttemptKey,
    /// The task's name, for `TASKD_TASK`.
    pub task: String,
    /// The trigger, for `TASKD_TRIGGER`.
    pub trigger: String,
    /// The fire time.
    pub fire_time_ms: Option<i64>,
    /// When the run was created, given back in the inventory.
    pub created_ms: i64,
    /// W3C trace id, 16 bytes big-endian.
    pub trace_id: u128,
    /// What to run.
    pub action: ActionSpec,
    /// Working directory; `None` is the runner's home directory.
    pub cwd: Option<String>,
    /// The task's own environment.
    pub env: Vec<EnvVar>,
    /// Most bytes of output kept; head and tail of it when there is more.
    pub output_max: u64,
    /// How long it may take, and how it is stopped.
    pub limits: Tail<TimeLimits>,
    /// Whether processes that are left when the first one ends by itself go on. A stop ends them all the same.
    pub leave: Tail<bool>,
    /// What else its process is given.
    pub process: Tail<Rec<Process>>,
    /// How the run of the task that ended last had ended, for `TASKD_PREVIOUS_OUTCOME`.
    pub previous_outcome: Tail<Option<String>>,
    /// What becomes of its output.
    pub output: Tail<OutputKind>,
    /// Regular expressions of what is hidden in lines before they are written.
    pub masks: Tail<Vec<String>>,
    /// What must hold before it is started, where something must. To be said to a runner that
    /// [can](RunnerInfo::can) only.
    pub gates: Tail<Option<Rec<Gates>>>,
}

/// What must hold before a process is started; else it is not, and [`Ended::gate`] says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Gates {
    /// A line for `/bin/sh -c`, run as the process would be, that must exit with 0.
    pub only_if: Option<String>,
    /// Milliseconds that this may take; then it is killed, with all that came from it.
    pub within_ms: u64,
    /// What the load average of one minute may be, in hundredths.
    pub max_load: Option<u32>,
    /// Bytes of memory that must be available, without pressure on it.
    pub min_memory: Option<u64>,
    /// Whether the machine must not run on battery.
    pub on_ac_power: bool,
}

/// What a process is given beside arguments, variables and a directory; `None` leaves what the runner has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Process {
    /// The permissions that files it makes do not get.
    pub umask: Option<u32>,
    /// The priority for the processor, as `setpriority` takes it.
    pub nice: Option<i32>,
    /// The priority for disks, as `ioprio_set` takes it.
    pub ioprio: Option<i32>,
    /// What is written to `oom_score_adj`.
    pub oom_score_adjust: Option<i32>,
    /// Limits of the system.
    pub limits: Vec<ResourceLimit>,
    /// Whether no program it executes gets more rights than it has.
    pub no_new_privileges: bool,
    /// Whether it has no variables but those of the task and of the run.
    pub clear_env: bool,
    /// Files of variables that are read when it starts; those of [`Start::env`] come after them.
    pub env_files: Vec<EnvFile>,
    /// What it reads from standard input; `None` for nothing.
    pub stdin: Option<Stdin>,
    /// Whether it has `/tmp` and `/var/tmp` for itself, empty when it begins and gone when it has ended.
    pub private_tmp: bool,
    /// The user it runs as, by name or number; `None` for the runner's. To be said to a runner that [can](RunnerInfo::can) become
    /// another only.
    pub user: Tail<Option<String>>,
    /// What all that comes of it may use together. To be said to a runner that [can](RunnerInfo::can) hold to it only.
    pub caps: Tail<Rec<Caps>>,
}

/// What the processes of an attempt may use together; `None` for as much as there is. What cannot be held to is not started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Caps {
    /// Bytes of memory at once.
    pub memory_bytes: Option<u64>,
    /// Processor time, in hundredths of a core.
    pub cpu_percent: Option<u32>,
    /// Processes and threads at once.
    pub pids: Option<u32>,
}

/// What a process reads from its standard input.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Stdin {
    /// This.
    Text(String),
    /// What the file at this path has.
    File(String),
}

/// A file of variables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct EnvFile {
    /// Where it is.
    pub path: String,
    /// Whether it need not be there.
    pub optional: bool,
}

/// A limit of the system; `None` is unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct ResourceLimit {
    /// Of what, as `nofile` for `RLIMIT_NOFILE`.
    pub name: String,
    /// What holds.
    pub soft: Option<u64>,
    /// Up to where the process may raise that.
    pub hard: Option<u64>,
}

/// How long an attempt may take, and how it is stopped. The runner sees to that, whether a daemon is there or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct TimeLimits {
    /// Milliseconds this attempt may take.
    pub timeout_ms: Option<u64>,
    /// Milliseconds that are left for its run.
    pub deadline_ms: Option<u64>,
    /// Milliseconds between the signal that asks it to end and KILL, once the time is up.
    pub grace_ms: u64,
    /// The number of the signal that asks it to end; 0 for TERM.
    pub signal: i32,
}

/// Which time limit was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum TimeUp {
    /// That of the attempt.
    Timeout,
    /// That of its run.
    Deadline,
}

/// What the runner tells the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum FromRunner {
    /// A part of the inventory: attempts that live, and results not yet forgotten.
    Inventory {
        /// Attempts in progress.
        live: Vec<Rec<Live>>,
        /// Attempts that ended.
        ended: Vec<Rec<Ended>>,
    },
    /// The inventory is whole: what it did not name, this runner does not know. Said again, it tells that the runner has
    /// become [`closing`](RunnerInfo::closing).
    InventoryEnd(Rec<RunnerInfo>),
    /// An attempt started.
    Started {
        /// Which.
        key: AttemptKey,
        /// Its process id.
        pid: u32,
        /// When.
        at_ms: i64,
    },
    /// An attempt ended, or could not start.
    Ended(Box<Rec<Ended>>),
    /// A part of what attempts in progress use, since that was asked for.
    Used {
        /// When it was looked at, by a clock that nobody sets, in microseconds.
        at_us: u64,
        /// By attempts.
        used: Vec<Rec<Used>>,
        /// Whether it is the last part.
        is_last: bool,
    },
    /// A part of the inventory: attempts that [earlier lives](RunnerInfo::before) had begun and of which no end is known. Their
    /// tasks have no names here. Said to those alone that [know it](crate::hello::capability::BEGUN).
    Begun(Vec<Rec<Origin>>),
}

/// What an attempt in progress uses with all that has come from it, `None` where nobody counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Used {
    /// Which.
    pub key: AttemptKey,
    /// CPU time since it started, microseconds.
    pub cpu_us: Option<u64>,
    /// Memory in use, bytes.
    pub memory_bytes: Option<u64>,
    /// How many processes there are.
    pub processes: Option<u64>,
}

/// The runner itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct RunnerInfo {
    /// Drawn at random when the runner started: tells one life of a runner from another.
    pub instance: u64,
    /// Its process id.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// When it started.
    pub started_ms: i64,
    /// Whether it is about to end: it starts nothing more.
    pub closing: Tail<bool>,
    /// The directory it works in.
    pub state_dir: Tail<Option<FileId>>,
    /// Where each attempt has a control group of its own: the controllers of these, `cpu`, `io`, `memory`, `pids`. `None`
    /// where attempts are held by their process groups and marks alone.
    pub cgroups: Tail<Option<Vec<String>>>,
    /// What it knows of that a runner of an earlier version does not, a bit each: [`can`].
    pub can: Tail<u64>,
    /// The file that it executes. One that was installed later in its place is another.
    pub program: Tail<Option<FileId>>,
    /// Lives of which all that they had begun was told: it is in this inventory, or was acknowledged.
    pub before: Tail<Vec<u64>>,
}

/// The words for triggers that a runner can keep for the next life, by their places in this list.
pub const TRIGGERS: [&str; 6] = ["schedule", "catch-up", "manual", "boot", "dependency", "backfill"];

/// The bits of [`RunnerInfo::can`].
pub mod can {
    /// It does what [`Start::output`](super::Start::output) and [`Start::masks`](super::Start::masks) say. One that does not
    /// keeps all as lines.
    pub const OUTPUTS: u64 = 1;
    /// It looks at [gates](super::Start::gates).
    pub const GATES: u64 = 1 << 1;
    /// It holds attempts to their [caps](super::Process::caps), or does not start them.
    pub const CAPS: u64 = 1 << 2;
    /// It tells what attempts in progress use: [`ToRunner::Look`](super::ToRunner::Look).
    pub const USAGE: u64 = 1 << 3;
    /// It runs an attempt as [the user](super::Process::user) that it is to run as, or does not start it.
    pub const USERS: u64 = 1 << 4;
}

/// What tells one file or directory from another on a machine, whatever its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct FileId {
    /// The file system it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

/// An attempt in progress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Live {
    /// What it is, as it was told; `action`, `cwd` and `env` are left empty.
    pub origin: Origin,
    /// Its process id; 0 while it is being spawned.
    pub pid: u32,
    /// When it started.
    pub started_ms: i64,
    /// Whether it is being stopped.
    pub stopping: bool,
}

/// What a start said of the run it belongs to, given back so that a new daemon knows it. It is always said as a
/// [`Rec`] of its fields, since others follow it wherever it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Its key.
    pub key: AttemptKey,
    /// The task's name.
    pub task: String,
    /// The trigger.
    pub trigger: String,
    /// The fire time.
    pub fire_time_ms: Option<i64>,
    /// When the run was created.
    pub created_ms: i64,
    /// W3C trace id.
    pub trace_id: u128,
}

impl Encode for Origin {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        let Origin {
            key,
            task,
            trigger,
            fire_time_ms,
            created_ms,
            trace_id,
        } = self;
        Rec((key, task, trigger, fire_time_ms, created_ms, trace_id)).encode(encoder)
    }
}

impl<C> Decode<C> for Origin {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let Rec((key, task, trigger, fire_time_ms, created_ms, trace_id)) = Rec::decode(decoder)?;
        Ok(Origin {
            key,
            task,
            trigger,
            fire_time_ms,
            created_ms,
            trace_id,
        })
    }
}

impl<'de, C> BorrowDecode<'de, C> for Origin {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Ended {
    /// What it was.
    pub origin: Origin,
    /// Its process id; 0 when it never started.
    pub pid: u32,
    /// When it started; for one that did not, when that was tried.
    pub started_ms: i64,
    /// When it ended.
    pub finished_ms: i64,
    /// How.
    pub end: End,
    /// Whether it was told to end before it did: for a stop that was asked for, or for a time limit.
    pub stopped: bool,
    /// Largest resident size of a single process, KiB.
    pub max_rss_kib: u64,
    /// CPU time in user mode, microseconds.
    pub user_us: u64,
    /// CPU time in the kernel, microseconds.
    pub system_us: u64,
    /// Bytes the command wrote to stdout and stderr.
    pub output_bytes: u64,
    /// Bytes of it that could not be kept, over the cap or for want of room.
    pub output_lost: u64,
    /// Which time limit it was told to end for, before a stop was asked for.
    pub time_up: Tail<Option<TimeUp>>,
    /// What else its whole tree of processes used.
    pub counted: Tail<TreeUsage>,
    /// Where it was not started since a gate was closed: which, and what was read, as a sentence. Its end is
    /// [`End::SpawnFailed`] then.
    pub gate: Tail<Option<String>>,
    /// The cap on its memory, in bytes, where it was killed for needing more.
    pub over_memory: Tail<Option<u64>>,
    /// Bytes that its output takes on disk; `None` from a runner that does not tell.
    pub output_kept: Tail<Option<u64>>,
}

/// What the processes of an attempt used together, `None` where nobody counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct TreeUsage {
    /// The most memory in use at once, that of cached files included, KiB.
    pub memory_peak_kib: Option<u64>,
    /// Bytes read from devices.
    pub read_bytes: Option<u64>,
    /// Bytes written to devices.
    pub written_bytes: Option<u64>,
    /// The most processes and threads at once.
    pub peak_pids: Option<u64>,
}

/// How an attempt's process ended.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum End {
    /// It exited by itself with this code, 0 to 255.
    Exited(i32),
    /// A signal ended it.
    Signalled(i32),
    /// It could not be started.
    SpawnFailed {
        /// The system's error number.
        errno: i32,
        /// What failed: `exec` or `chdir` with the path behind it, `env-file` with that and what is wrong with it, `stdin` with the path of a file, `output` with the file, `limit` with its name, `nice`,
        /// `ionice`, `oom-score-adjust`, `no-new-privileges`, `private-tmp`, `user` with its name and what is wrong with it, `setgroups`, `setresgid`, `setresuid` or
        /// `drop-root` with the name of the user, `memory-max`, `cpu-max` or `pids-max` with what is missing behind it, `mask` when what is to be hidden cannot be, `pipe`, `clone`, `launcher`; `gate` when one was closed, or with the
        /// path of what could not be read for one; `start` when that hung until a stop would
        /// wait no longer; `runner` when it was about to end.
        what: String,
    },
}

impl Default for End {
    fn default() -> Self {
        End::Exited(0)
    }
}
