//! Commands: what a user asks of the core, what it answers, and why it refuses.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use crate::calendar::{CalendarName, Kept};
use crate::overrides::Overrides;
use crate::pause::PauseScope;
use crate::policy::Pool;
use crate::run::{RunKey, TraceId};
use crate::task::{Definition, ImportId, Owner, TaskId, TaskName};
use crate::time::Timestamp;

/// What is asked. Names are resolved to ids before, through the getters of the scheduler.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Accept new tasks, all or none.
    Add {
        /// Whose.
        owner: Owner,
        /// What they are; schedules are checked here.
        definitions: Vec<Definition>,
    },
    /// Begin to take in so many tasks that doing it at once would hold up everything else. The answer names the import.
    BeginImport {
        /// Whose.
        owner: Owner,
        /// How many there will be.
        count: NonZeroU64,
    },
    /// Stage a part of an import: it is checked and written, and does not show yet. Several may be on their way.
    Stage {
        /// Which import.
        import: ImportId,
        /// What the tasks are; schedules are checked here.
        definitions: Vec<Arc<Definition>>,
    },
    /// All parts are staged: from now on their tasks are like any other, all at once.
    EndImport {
        /// Which.
        import: ImportId,
    },
    /// Give an import up: nothing of it stays. Its names are free a little later.
    DropImport {
        /// Which.
        import: ImportId,
    },
    /// Replace a task's definition in place. A run in progress is not touched.
    Edit {
        /// Which.
        id: TaskId,
        /// The whole new definition.
        definition: Box<Definition>,
        /// Who asks, for the record.
        by: String,
    },
    /// Enable or disable tasks, all or none.
    SetEnabled {
        /// Which.
        ids: Vec<TaskId>,
        /// Whether fire times start runs from now on.
        enabled: bool,
        /// Who asks, for the record.
        by: String,
    },
    /// Pause tasks, all or none. One that is paused already is paused as asked now.
    Pause {
        /// What.
        scopes: Vec<PauseScope>,
        /// The first instant after the pause; `None` until somebody ends it.
        until: Option<Timestamp>,
        /// Who asks, for the record.
        by: String,
        /// Why, for people.
        note: Option<String>,
    },
    /// End pauses, all or none. What is not paused stays as it is.
    Resume {
        /// Of what.
        scopes: Vec<PauseScope>,
        /// Who asks, for the record.
        by: String,
    },
    /// Remove tasks, all or none.
    Remove {
        /// Which.
        ids: Vec<TaskId>,
        /// What becomes of runs in progress.
        running: WhileRunning,
        /// Why, for the record of a stopped run.
        reason: String,
    },
    /// Start a run of each task now, all or none.
    Run {
        /// Which.
        ids: Vec<TaskId>,
        /// What the runs are given beside what their tasks say.
        overrides: Option<Arc<Overrides>>,
    },
    /// Set a calendar, in place of an earlier one of its name.
    SetCalendar {
        /// Its name.
        name: CalendarName,
        /// What it is.
        calendar: Box<Kept>,
        /// Who asks, for the record.
        by: String,
    },
    /// Remove calendars that no task uses, all or none.
    RemoveCalendars {
        /// Which.
        names: Vec<CalendarName>,
    },
    /// Set the limits of groups or locks, or take them back.
    SetPools {
        /// Whose.
        owner: Owner,
        /// Which.
        pools: Vec<Pool>,
        /// How many runs each holds; `None` for what it holds where nothing is set.
        limit: Option<NonZeroU32>,
        /// Who asks, for the record.
        by: String,
    },
    /// Create runs for all fire times of a span that is over, in order.
    Backfill {
        /// Of which task.
        id: TaskId,
        /// The first instant of the span.
        from: Timestamp,
        /// The last instant of the span; what is not over by now is left out.
        until: Timestamp,
    },
    /// Stop runs and what follows from them, all or none: the runs in progress of tasks that come after theirs, under the same
    /// trace id. Nothing is triggered by the ends of these.
    CancelFollowing {
        /// Which, with their trace ids; they may have ended.
        from: Vec<(RunKey, TraceId)>,
        /// Why, for the record.
        reason: String,
    },
    /// Stop runs, all or none.
    Cancel {
        /// Which.
        runs: Vec<RunKey>,
        /// Why, for the record.
        reason: String,
    },
}

/// What becomes of a run in progress when its task is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhileRunning {
    /// Nothing is removed.
    Refuse,
    /// The run is stopped.
    Cancel,
    /// The run goes on to its end.
    Keep,
}

/// What a command will have done once its records are durable.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// These tasks exist, in the order asked.
    Added(Vec<TaskId>),
    /// The tasks are changed, staged or removed.
    Done,
    /// This import has begun.
    Importing(ImportId),
    /// These runs exist and will be started.
    Runs(Vec<(RunKey, TraceId)>),
}

/// Names one batch of records on its way to the store; they count up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// An accepted command. The reply may be given once `ticket` is durable; without a ticket, at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// What must be durable first.
    pub ticket: Option<Ticket>,
    /// What to answer then.
    pub reply: Reply,
}

/// Why a command was refused. Nothing has changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// A task or name it touches is being changed by an earlier command that is not durable yet: apply it again after
    /// the next durable ticket.
    #[error("an earlier change of the same task is not durable yet")]
    Busy,
    /// No such task.
    #[error("there is no task {0:?}")]
    NoTask(TaskId),
    /// No such import, or it is not of that many tasks.
    #[error("there is no import {0:?} that this fits")]
    NoImport(ImportId),
    /// No such run in progress.
    #[error("run {0:?} is not in progress")]
    NotRunning(RunKey),
    /// The name is taken. `index` is the place in an `Add` or `Stage`.
    #[error("the name {name} is taken")]
    NameTaken {
        /// The name.
        name: TaskName,
        /// Which definition of the command.
        index: usize,
    },
    /// A definition comes after a task that is not there, or requires it.
    #[error("definition {index} names a task {name}, and there is none")]
    NoUpstream {
        /// The name.
        name: TaskName,
        /// Whether it requires it.
        required: bool,
        /// Which definition of the command.
        index: usize,
    },
    /// A definition would come after itself, by what others come after and require.
    #[error("definition {index} would come after itself: {path:?}")]
    Cycle {
        /// From a task along those that come after it or require it to the same task.
        path: Vec<TaskName>,
        /// Whether the definition requires the one before it there.
        required: bool,
        /// Which definition of the command.
        index: usize,
    },
    /// Other tasks come after the task, or require it.
    #[error("{by:?} and {more} more tasks come after {name} or require it")]
    StillNamed {
        /// The task.
        name: TaskName,
        /// Some of the others.
        by: Vec<TaskName>,
        /// How many more there are.
        more: usize,
    },
    /// The schedule does not hold (a zone that is gone, an expression that never fires).
    #[error("the schedule of definition {index} is refused: {problem}")]
    BadSchedule {
        /// Which definition of the command.
        index: usize,
        /// What is wrong.
        problem: String,
    },
    /// An owner may have so many tasks.
    #[error("an owner may have {limit} tasks")]
    TooManyTasks {
        /// The limit.
        limit: u64,
    },
    /// The task has a run in progress.
    #[error("task {name} has run {run:?} in progress")]
    StillRunning {
        /// Its name.
        name: TaskName,
        /// The run.
        run: RunKey,
    },
    /// The task may have so many runs in progress or waiting, or waiting alone.
    #[error("task {name} has {limit} runs {}, and may have no more", if *waiting { "waiting" } else { "in progress or waiting" })]
    TooManyRuns {
        /// Its name.
        name: TaskName,
        /// The limit.
        limit: u32,
        /// Whether those alone count that wait.
        waiting: bool,
    },
    /// No such calendar.
    #[error("there is no calendar {0}")]
    NoCalendar(CalendarName),
    /// A task uses the calendar.
    #[error("task {task} uses calendar {name}")]
    CalendarInUse {
        /// The calendar.
        name: CalendarName,
        /// One of the tasks.
        task: TaskName,
    },
    /// There may be so many calendars.
    #[error("there may be {limit} calendars")]
    TooManyCalendars {
        /// The limit.
        limit: usize,
    },
    /// So many groups and locks of one owner may have a limit.
    #[error("there may be {limit} groups and locks with a limit")]
    TooManyPools {
        /// The limit.
        limit: usize,
    },
    /// The group or lock has no limit that was set.
    #[error("no limit of {0} was set")]
    NoPool(Pool),
    /// More runs would wait to make up for fire times than there is room for.
    #[error("more runs are asked for than the {room} there is room for")]
    BacklogFull {
        /// How many more may wait.
        room: usize,
    },
    /// No runner is attached that could start a run, or that could tell whether an earlier life of the daemon started one
    /// of the task without recording it: until that is known, nothing is decided about the task.
    #[error("no runner is attached")]
    NoRunner,
}
