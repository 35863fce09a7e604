//! What `taskctl` and `taskd` say to each other at protocol 1. Each request has one answer, in order, but for
//! [`Request::Watch`], which is answered by updates until [`Response::WatchEnd`].
//! Instants are milliseconds since the epoch, UTC. Variants and the fields of [`Rec`] structs only append.

mod attempts;
mod count;
mod daemon;
mod dependencies;
mod firings;
mod overrides;
mod pools;
mod top;

use bincode::{Decode, Encode};

use crate::codec::{Rec, Tail};
use crate::definition::{TaskPatch, TaskSpec};
use crate::refusal::Refusal;
pub use attempts::AttemptInfo;
pub use count::{Bucket, ClockChange, Counted};
pub use daemon::{Restarting, RunnerStatus, Status};
pub use dependencies::{Graph, GraphTask, RequirementInfo, UpstreamInfo};
pub use firings::{Backfilled, CalendarDetail, CalendarInfo, Change, Fate, Pause, Why};
pub use overrides::{Overridden, Overrides};
pub use pools::{PoolInfo, PoolKind};
pub use top::{LiveUsage, Top, TopRun};

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Request {
    /// Accept a new task. Answered by [`Response::Accepted`] once it is durable.
    Add(Rec<TaskSpec>),
    /// Change fields of a task in place. Answered by [`Response::Accepted`].
    Edit {
        /// The task.
        name: String,
        /// What changes.
        patch: Rec<TaskPatch>,
    },
    /// Remove tasks, all or none. Answered by [`Response::Done`].
    Remove {
        /// Names or patterns with `*` and `?`.
        names: Vec<String>,
        /// What becomes of runs in progress.
        running: WhileRunning,
    },
    /// Let fire times start runs again. Answered by [`Response::Done`].
    Enable {
        /// Names or patterns.
        names: Vec<String>,
    },
    /// Let fire times pass. Answered by [`Response::Done`].
    Disable {
        /// Names or patterns.
        names: Vec<String>,
    },
    /// Start a run of each task now. Answered by [`Response::RunsStarted`] once durable.
    Run {
        /// Names or patterns.
        names: Vec<String>,
    },
    /// Stop runs: TERM, grace, KILL. Answered by [`Response::Done`] with the runs that are being stopped.
    Cancel {
        /// Runs as `TASK/N`, or tasks, whose run in progress is meant.
        runs: Vec<String>,
    },
    /// A page of tasks in the order of their names. Answered by [`Response::Tasks`].
    List {
        /// Names or patterns; empty is all.
        names: Vec<String>,
        /// Only names after this one.
        after: Option<String>,
        /// At most so many; the daemon may give fewer.
        limit: u32,
    },
    /// All of one task. Answered by [`Response::Task`].
    Show {
        /// The task.
        name: String,
    },
    /// A page of runs, newest first. Answered by [`Response::Runs`].
    Runs {
        /// Which.
        filter: Rec<RunFilter>,
        /// The cursor of the page before.
        before: Option<u64>,
        /// At most so many; the daemon may give fewer.
        limit: u32,
    },
    /// The coming fire times of tasks. Answered by [`Response::Next`].
    Next {
        /// Names or patterns; empty is all tasks that have one.
        names: Vec<String>,
        /// How many for each.
        n: u32,
    },
    /// How the daemon is. Answered by [`Response::Status`].
    Status,
    /// Where the output of a run is. Answered by [`Response::Output`].
    Output {
        /// A run as `TASK/N`, or a task: its run under way is meant, else the newest that started.
        target: String,
    },
    /// Tell of these runs until each has ended. Answered by [`Response::Update`]s, the first of them at once, one a
    /// run, with its present state; then [`Response::WatchEnd`].
    Watch {
        /// Runs as `TASK/N`.
        runs: Vec<String>,
    },
    /// A page of definitions in the order of their names. Answered by [`Response::Definitions`].
    Export {
        /// Names or patterns; empty is all.
        names: Vec<String>,
        /// Only names after this one.
        after: Option<String>,
        /// At most so many; the daemon may give fewer.
        limit: u32,
    },
    /// More definitions for the import of this connection. Answered by [`Response::Done`] (empty) or a refusal,
    /// which ends the import.
    ImportMore {
        /// The next definitions.
        tasks: Vec<Rec<TaskSpec>>,
        /// The lines they stood on, one for each, from 1.
        lines: Vec<u64>,
    },
    /// Accept all definitions of the import of this connection, or none. Answered by [`Response::Imported`].
    ImportEnd,
    /// Have fire times skipped for a time. Answered by [`Response::Done`], without names where all are meant.
    Pause {
        /// Names or patterns; empty is all tasks, those to come as well.
        names: Vec<String>,
        /// The first instant after the pause; `None` until it is ended.
        until_ms: Option<i64>,
        /// Why, for people.
        note: Option<String>,
    },
    /// End pauses. Answered by [`Response::Done`], without names where all are meant.
    Resume {
        /// Names or patterns; empty ends the pause of all tasks.
        names: Vec<String>,
    },
    /// What became of a fire time, or what will. Answered by [`Response::Why`].
    Why {
        /// The task.
        name: String,
        /// The first instant that may be meant; `None` for the last fire time and the next.
        from_ms: Option<i64>,
        /// The last instant that may be meant.
        until_ms: Option<i64>,
    },
    /// What may surprise in the schedules of a page of tasks, in the order of their names. Answered by
    /// [`Response::Findings`].
    Lint {
        /// Names or patterns; empty is all.
        names: Vec<String>,
        /// Only names after this one.
        after: Option<String>,
        /// At most so many; the daemon may give fewer.
        limit: u32,
    },
    /// Create runs for all fire times of a span that is over, in order, behind live firings. Answered by
    /// [`Response::Backfill`].
    Backfill {
        /// The task.
        name: String,
        /// The first instant of the span.
        from_ms: i64,
        /// The last instant of the span.
        until_ms: i64,
        /// Only tell which they would be.
        dry_run: bool,
    },
    /// Set a calendar, in place of an earlier one of its name. Answered by [`Response::Done`].
    CalendarAdd {
        /// Its name.
        name: String,
        /// What it covers, in JSON.
        body: String,
        /// The zone it is read in for tasks that have none; without one, the daemon's own.
        tz: Option<String>,
        /// Names or patterns of tasks that do not fire in what it covers.
        freeze: Vec<String>,
    },
    /// All calendars. Answered by [`Response::Calendars`].
    CalendarList,
    /// One calendar. Answered by [`Response::Calendar`].
    CalendarShow {
        /// Its name.
        name: String,
    },
    /// Remove calendars that no task uses, all or none. Answered by [`Response::Done`].
    CalendarRemove {
        /// Their names.
        names: Vec<String>,
    },
    /// How many fire times tasks have by buckets of time. Answered by [`Response::Counted`].
    Count {
        /// Names or patterns; empty is all.
        names: Vec<String>,
        /// Ascending. A bucket reaches from one of them to before the next; so there is one less.
        bounds_ms: Vec<i64>,
        /// Whether buckets name the tasks.
        named: bool,
    },
    /// Set how many runs groups or locks hold, or take that back. Answered by [`Response::Done`].
    PoolSet {
        /// Which kind they are of.
        kind: PoolKind,
        /// Their names.
        names: Vec<String>,
        /// How many; `None` for what holds where nothing is set.
        limit: Option<u32>,
    },
    /// All groups or locks. Answered by [`Response::Pools`].
    PoolList {
        /// Which.
        kind: PoolKind,
    },
    /// End in order, but for the runner and what runs, and become the program that is installed now. Answered by
    /// [`Response::Restarting`] before the connection ends.
    RestartDaemon,
    /// Stop runs and what follows from them. Answered by [`Response::Done`] with the runs that are being stopped.
    CancelFollowing {
        /// Runs as `TASK/N`, which may have ended, or tasks, whose runs in progress are meant, else the newest.
        runs: Vec<String>,
    },
    /// Which tasks come after which. Answered by [`Response::Graph`].
    Graph {
        /// Only those that hang together with this one.
        task: Option<String>,
        /// How the runs stand that have the trace id of this one, `TASK/N`.
        run: Option<String>,
    },
    /// Start a run of each task now, and give them something. Answered as [`Request::Run`] is.
    RunWith {
        /// Names or patterns.
        names: Vec<String>,
        /// What they are given.
        overrides: Rec<Overrides>,
    },
    /// The runs in progress and what they use now. Answered by [`Response::Top`].
    Top,
}

/// What becomes of a run in progress when its task is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum WhileRunning {
    /// Nothing is removed.
    Refuse,
    /// The run is stopped.
    Cancel,
    /// The run goes on to its end.
    Keep,
}

/// Which runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct RunFilter {
    /// Names or patterns of tasks, or single runs as `TASK/N`; empty is all.
    pub targets: Vec<String>,
    /// Only these outcomes, as the words of the vocabulary; empty is all.
    pub outcomes: Vec<String>,
    /// Only runs created at or after this instant.
    pub since_ms: Option<i64>,
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[expect(
    clippy::large_enum_variant,
    reason = "one lives at a time, between a connection and its buffer"
)]
pub enum Response {
    /// It was not done, and why.
    Refused(Refusal),
    /// A definition is durable.
    Accepted(Rec<Accepted>),
    /// It is done, for these tasks or runs.
    Done(Vec<String>),
    /// These runs are durable and are being started.
    RunsStarted(Vec<Rec<RunRef>>),
    /// A page of tasks.
    Tasks {
        /// The tasks.
        tasks: Vec<Rec<TaskSummary>>,
        /// Whether names after the last one remain.
        more: bool,
    },
    /// All of one task.
    Task(Box<Rec<TaskDetail>>),
    /// A page of runs.
    Runs {
        /// The runs.
        runs: Vec<Rec<RunInfo>>,
        /// The cursor for the next page; `None` at the end.
        before: Option<u64>,
    },
    /// Coming fire times.
    Next {
        /// Of each task.
        tasks: Vec<Rec<TaskNext>>,
        /// Whether there are more tasks than one answer holds; those that are due later are left out.
        more: bool,
    },
    /// How the daemon is.
    Status(Box<Rec<Status>>),
    /// Where output is.
    Output(Rec<RunOutput>),
    /// A watched run has changed: how it is, and where its output is.
    Update(Box<Rec<RunOutput>>),
    /// Every watched run has ended.
    WatchEnd,
    /// A page of definitions.
    Definitions {
        /// The definitions.
        tasks: Vec<Rec<TaskSpec>>,
        /// Whether names after the last one remain.
        more: bool,
    },
    /// So many definitions were imported.
    Imported(u64),
    /// What became of fire times.
    Why(Box<Rec<Why>>),
    /// A page of tasks with what was found in their schedules.
    Findings {
        /// The tasks, those without findings too.
        tasks: Vec<Rec<TaskFindings>>,
        /// Whether names after the last one remain.
        more: bool,
    },
    /// Runs that make up for fire times of the past, or would.
    Backfill(Vec<Rec<Backfilled>>),
    /// All calendars, in the order of their names.
    Calendars(Vec<Rec<CalendarInfo>>),
    /// One calendar.
    Calendar(Box<Rec<CalendarDetail>>),
    /// Fire times by buckets of time.
    Counted(Box<Rec<Counted>>),
    /// Groups or locks, in the order of their names.
    Pools(Vec<Rec<PoolInfo>>),
    /// The daemon ends to begin anew.
    Restarting(Rec<Restarting>),
    /// Tasks with those that they come after.
    Graph(Box<Rec<Graph>>),
    /// The runs in progress.
    Top(Box<Rec<Top>>),
}

/// The answer to `add` and `edit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Accepted {
    /// The task's name.
    pub name: String,
    /// The task's id.
    pub id: u64,
    /// Its next three fire times.
    pub next_ms: Vec<i64>,
    /// The zone of its schedule, where it has one.
    pub tz: Option<String>,
    /// Remarks about the schedule a user would want to hear.
    pub warnings: Vec<String>,
    /// Where it has no fire time to come, why.
    pub idle: Option<String>,
}

/// A run by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct RunRef {
    /// `TASK/N`.
    pub run: String,
    /// W3C trace id, 32 hex digits.
    pub trace_id: String,
    /// What it waits for, where it has not begun.
    pub waits_for: Tail<Option<String>>,
}

/// One task in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct TaskSummary {
    /// Its definition.
    pub spec: Rec<TaskSpec>,
    /// Its id.
    pub id: u64,
    /// The user it belongs to.
    pub owner: u32,
    /// The zone its schedule is read in, where it has one.
    pub tz: Option<String>,
    /// Its next fire time.
    pub next_ms: Option<i64>,
    /// Its newest finished run.
    pub last: Option<Rec<LastRun>>,
    /// Its runs in progress, by number.
    pub running: Vec<u64>,
    /// Why it is held, where it is.
    pub held: Option<String>,
    /// Its pause, or that of all tasks.
    pub paused: Option<Rec<Pause>>,
}

/// The newest finished run of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct LastRun {
    /// `TASK/N`.
    pub run: String,
    /// How it ended.
    pub outcome: String,
    /// When it ended.
    pub finished_ms: i64,
}

/// All of one task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct TaskDetail {
    /// As in a list.
    pub summary: Rec<TaskSummary>,
    /// When it was accepted.
    pub created_ms: i64,
    /// When its definition last changed.
    pub changed_ms: i64,
    /// Its next three fire times.
    pub next_ms: Vec<i64>,
    /// The last fire time dealt with.
    pub mark_ms: Option<i64>,
    /// How many runs it has had.
    pub runs: u64,
    /// Its newest ledger entries without a run, newest first.
    pub passed: Vec<Rec<Passed>>,
    /// Remarks about its schedule a user would want to hear.
    pub warnings: Vec<String>,
    /// The tasks that it comes after, and what it has of their ends.
    pub upstreams: Vec<Rec<UpstreamInfo>>,
    /// Tasks that come after it, the first hundred in the order of their names.
    pub downstream: Vec<String>,
    /// The tasks that it requires, and how their last runs ended.
    pub requires: Tail<Vec<Rec<RequirementInfo>>>,
    /// Tasks that require it, the first hundred in the order of their names.
    pub required_by: Tail<Vec<String>>,
}

/// Fire times that passed without a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Passed {
    /// `skipped`, `missed` or `unknown`.
    pub outcome: String,
    /// The first of them.
    pub first_ms: i64,
    /// The last of them.
    pub last_ms: i64,
    /// How many.
    pub count: u64,
    /// Why.
    pub reason: String,
}

/// One run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct RunInfo {
    /// `TASK/N`.
    pub run: String,
    /// The task's name.
    pub task: String,
    /// Why it exists.
    pub trigger: String,
    /// The fire time it is for.
    pub fire_time_ms: Option<i64>,
    /// When it was created.
    pub created_ms: i64,
    /// When its first attempt started.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub finished_ms: Option<i64>,
    /// `waiting`, `starting`, `running`, `backing-off`, `gated`, `stopping`, `finished`.
    pub state: String,
    /// How it ended.
    pub outcome: Option<String>,
    /// The exit code of its last attempt.
    pub exit_code: Option<i32>,
    /// The signal that ended its last attempt.
    pub signal: Option<i32>,
    /// How many attempts it has had.
    pub attempts: u32,
    /// W3C trace id, 32 hex digits.
    pub trace_id: String,
    /// From start to end.
    pub duration_ms: Option<u64>,
    /// From fire time to start.
    pub lateness_ms: Option<i64>,
    /// When the next attempt is due, while it waits for that.
    pub retry_ms: Option<i64>,
    /// Why it ended so, where the outcome alone does not say.
    pub reason: Option<String>,
    /// Process id of the attempt in progress.
    pub pid: Option<u32>,
    /// Largest resident size of a single process of the attempt, KiB.
    pub max_rss_kib: Option<u64>,
    /// CPU time in user mode, microseconds.
    pub user_us: Option<u64>,
    /// CPU time in the kernel, microseconds.
    pub system_us: Option<u64>,
    /// Bytes of output the command wrote.
    pub output_bytes: Option<u64>,
    /// What it waits for, in words, while it does.
    pub waits_for: Option<String>,
    /// The most memory that the processes of the attempt had in use at once, that of cached files included, KiB. Like
    /// what follows `None` where nobody counts it.
    pub memory_peak_kib: Option<u64>,
    /// Bytes read from devices.
    pub read_bytes: Option<u64>,
    /// Bytes written to devices.
    pub written_bytes: Option<u64>,
    /// The most processes and threads at once.
    pub peak_pids: Option<u64>,
    /// Attempts that were followed by another, the first one first. Only told where runs were asked for by their names, and
    /// of those with very many the newest.
    pub earlier: Vec<Rec<AttemptInfo>>,
    /// The run whose end triggered it, as `TASK/N`.
    pub triggered_by: Option<String>,
    /// What it was given beside what its task says.
    pub overrides: Tail<Option<Rec<Overridden>>>,
    /// Until when it waits for its gate, while it does; [`retry_ms`](RunInfo::retry_ms) is when that is looked at again.
    pub gate_until_ms: Tail<Option<i64>>,
}

/// The coming fire times of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct TaskNext {
    /// The task.
    pub name: String,
    /// The zone of its schedule, where it has one.
    pub tz: Option<String>,
    /// Fire times, soonest first.
    pub at_ms: Vec<i64>,
    /// Whether it has more of those that were asked for than one answer holds.
    pub more: bool,
}

/// What was found in the schedule of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct TaskFindings {
    /// The task.
    pub name: String,
    /// What may surprise.
    pub findings: Vec<Rec<Finding>>,
}

/// Something about a schedule that may surprise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Finding {
    /// A word for scripts.
    pub code: String,
    /// A sentence.
    pub message: String,
    /// A better expression, where there is one.
    pub suggestion: Option<String>,
}

/// Where the output of a run is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct RunOutput {
    /// The run.
    pub info: Rec<RunInfo>,
    /// The output file of each attempt, the first attempt first. A file is there only when there was output.
    pub files: Vec<String>,
    /// Whether its task has nothing kept of what its runs write.
    pub discards: Tail<bool>,
    /// Whether its output was removed to keep within the limits.
    pub removed: Tail<bool>,
    /// Bytes that its last attempt wrote, where nothing of them could be kept.
    pub lost: Tail<u64>,
}
