//! Records: the facts that make up the state. Replaying them in order gives the live state.
//!
//! A *decision* (what a user asked for) becomes state only once it is durable; until then its task is reserved.
//! A *fact* (what happened in the world) is state at once, since it cannot be refused, and is written until it holds.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::calendar::{CalendarName, Kept};
use crate::dependency::{Cause, EndKind};
use crate::gates::Closed;
use crate::overrides::Overrides;
use crate::pause::{Pause, PauseScope};
use crate::policy::{Holding, Pool};
use crate::run::{AttemptEnd, AttemptKey, Outcome, Passing, RunKey, TraceId, Trigger};
use crate::task::{Definition, ImportId, Owner, TaskId};
use crate::time::{Boot, Timestamp};

/// One fact.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A task was accepted. Its mark is `at`.
    TaskAdded {
        /// Its id.
        id: TaskId,
        /// Its owner.
        owner: Owner,
        /// When.
        at: Timestamp,
        /// Its definition.
        definition: Arc<Definition>,
    },
    /// An import began. Tasks that are added with ids from its own to `last` are *staged*: nobody sees them and none
    /// starts before the import has ended.
    ImportBegun {
        /// Which.
        import: ImportId,
        /// The last id it may give.
        last: TaskId,
        /// The owner of its tasks.
        owner: Owner,
    },
    /// An import has all its tasks: from here on they are like any other.
    ImportEnded {
        /// Which.
        import: ImportId,
    },
    /// The staged tasks of an import from this id on are gone, and with the first of its ids the import.
    ImportDropped {
        /// Which.
        import: ImportId,
        /// The first id that is gone.
        from: TaskId,
    },
    /// A task's definition changed.
    TaskChanged {
        /// Which.
        id: TaskId,
        /// When.
        at: Timestamp,
        /// The whole new definition.
        definition: Arc<Definition>,
        /// The new mark, when the schedule changed or the task was enabled: what came before owes nothing.
        mark: Option<Timestamp>,
        /// Who changed it, such as "uid 1000".
        by: String,
    },
    /// A task was enabled or disabled, and nothing else of it changed.
    TaskSwitched {
        /// Which.
        id: TaskId,
        /// When.
        at: Timestamp,
        /// Whether fire times start runs from now on.
        enabled: bool,
        /// The new mark, when it was enabled: what came before owes nothing.
        mark: Option<Timestamp>,
        /// Who did it, such as "uid 1000".
        by: String,
    },
    /// A pause was decided, in place of an earlier one of the same scope.
    Paused {
        /// What is paused.
        scope: PauseScope,
        /// When it was decided.
        at: Timestamp,
        /// From when to when, by whom and why.
        pause: Pause,
    },
    /// A pause was ended before its time.
    Resumed {
        /// What is not paused any more.
        scope: PauseScope,
        /// When.
        at: Timestamp,
        /// By whom, such as "uid 1000".
        by: String,
    },
    /// A calendar was set, in place of an earlier one of its name.
    CalendarSet {
        /// Its name.
        name: CalendarName,
        /// What it is.
        calendar: Arc<Kept>,
        /// When.
        at: Timestamp,
        /// By whom, such as "uid 1000".
        by: String,
    },
    /// A calendar was removed.
    CalendarRemoved {
        /// Its name.
        name: CalendarName,
    },
    /// The limit of a group or lock was set, or taken back.
    PoolSet {
        /// Whose.
        owner: Owner,
        /// Which.
        pool: Pool,
        /// How many runs it holds; `None` for what it holds where nothing is set.
        limit: Option<NonZeroU32>,
        /// When.
        at: Timestamp,
        /// By whom, such as "uid 1000".
        by: String,
    },
    /// A life of the daemon began.
    LifeBegan {
        /// When.
        at: Timestamp,
    },
    /// A life of the daemon came to its end in order. One that is killed leaves no such record.
    LifeEnded {
        /// When.
        at: Timestamp,
    },
    /// A task was removed. Its history stays.
    TaskRemoved {
        /// Which.
        id: TaskId,
        /// When.
        at: Timestamp,
    },
    /// Firings up to here may have started before their record is durable; none beyond has. It is drawn back by an orderly
    /// stop, and when the clock turns out to have been far ahead.
    Horizon {
        /// Up to and with this instant.
        until: Timestamp,
        /// The boot in which that was written, where it is known: it says whether the clock was set back since.
        boot: Option<Boot>,
    },
    /// A runner was attached: runs in progress from here on belong to this life of it.
    RunnerAttached {
        /// The runner's own random number.
        instance: u64,
    },
    /// A run exists. With a fire time, the task's mark is that. Its first state is waiting or starting.
    RunCreated {
        /// Which.
        run: RunKey,
        /// Why.
        trigger: Trigger,
        /// The fire time it is for.
        fire_time: Option<Timestamp>,
        /// When.
        at: Timestamp,
        /// Its trace id.
        trace_id: TraceId,
        /// Whether it waits for a place.
        waiting: bool,
        /// The run whose end triggered it, which it was owed for.
        cause: Option<Cause>,
        /// What it is given beside what its task says.
        overrides: Option<Arc<Overrides>>,
    },
    /// A waiting run got its place and is starting.
    RunAdmitted {
        /// Which.
        run: RunKey,
        /// When.
        at: Timestamp,
    },
    /// The definition of a run's task is about to change or to go, and the run keeps what it took until it waits again or ends.
    RunKeeps {
        /// Which.
        run: RunKey,
        /// What that is.
        holding: Holding,
    },
    /// The run and all that follows from it is being cancelled: its end triggers nothing.
    RunMuted {
        /// Which.
        run: RunKey,
    },
    /// An attempt's process started.
    AttemptStarted {
        /// Which.
        attempt: AttemptKey,
        /// Its process id.
        pid: u32,
        /// When.
        at: Timestamp,
    },
    /// A stop of the run was decided.
    RunStopping {
        /// Which.
        run: RunKey,
        /// When.
        at: Timestamp,
        /// Why, such as "cancelled by uid 1000".
        reason: String,
    },
    /// A run ended.
    RunFinished {
        /// Which.
        run: RunKey,
        /// When.
        at: Timestamp,
        /// How.
        outcome: Outcome,
        /// Why, where the outcome alone does not say.
        reason: Option<String>,
        /// What the runner said of its last attempt; `None` when nobody knows.
        end: Option<AttemptEnd>,
    },
    /// An attempt ended, and another follows.
    AttemptEnded {
        /// Which.
        attempt: AttemptKey,
        /// When.
        at: Timestamp,
        /// How.
        outcome: Outcome,
        /// Why, where the outcome alone does not say.
        reason: Option<String>,
        /// What the runner said of it; `None` when nobody knows.
        end: Option<AttemptEnd>,
        /// When the next is due.
        retry_at: Timestamp,
    },
    /// A gate of a run was found closed, and is looked at again.
    GateClosed {
        /// Which run.
        run: RunKey,
        /// When.
        at: Timestamp,
        /// Which gate, and until when it is.
        gate: Closed,
        /// When it is looked at again.
        look_at: Timestamp,
    },
    /// The next attempt of a run is due, or the next look at its gate: the run waits for a place.
    RetryDue {
        /// Which.
        run: RunKey,
        /// When.
        at: Timestamp,
    },
    /// Fire times of a task passed without a run. Its mark is `last`.
    Passed {
        /// The task.
        task: TaskId,
        /// The first of them.
        first: Timestamp,
        /// The last of them.
        last: Timestamp,
        /// How many.
        count: u64,
        /// What became of them.
        passing: Passing,
        /// Why.
        reason: String,
    },
    /// Runs of a task that nobody heard of again may have had numbers up to this one, which none gets a second time.
    NumbersLost {
        /// The task.
        task: TaskId,
        /// The last of these numbers.
        last: u64,
    },
    /// The clock was set back behind the beginning of a pause, which goes on from now.
    PauseBegins {
        /// Of what.
        scope: PauseScope,
        /// What was due by then is not held up by it.
        since: Timestamp,
    },
    /// A task that is due after a boot has no run for one. Its mark stays: this is none of its fire times.
    BootSkipped {
        /// The task.
        task: TaskId,
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
    },
    /// A run of one of the tasks that a task comes after has ended as it should, and the task still waits for those of others.
    Latched {
        /// The task.
        task: TaskId,
        /// The run that ended, in place of an earlier one of its task.
        end: RunKey,
        /// Which ends of that task it follows. Where it follows others by now, this one is none.
        on: EndKind,
    },
    /// A run of one of the tasks that a task comes after has ended otherwise: what was kept of an earlier one holds no more.
    Unlatched {
        /// The task.
        task: TaskId,
        /// The task whose run ended.
        upstream: TaskId,
    },
    /// All that a task comes after has ended: it is owed a run, and what was kept of the ends is spent.
    Owed {
        /// The task.
        task: TaskId,
        /// The run whose end was the last that it took.
        cause: Cause,
        /// The trace id of that run, which goes on.
        trace_id: TraceId,
    },
    /// A task that was owed a run after the end of another has none for it.
    DependencySkipped {
        /// The task.
        task: TaskId,
        /// When.
        at: Timestamp,
        /// The run whose end it was.
        end: RunKey,
        /// Why.
        reason: String,
    },
    /// A task with a count has had so many runs by its schedule.
    Fired {
        /// The task.
        task: TaskId,
        /// How many.
        count: u64,
    },
    /// The machine has booted, and what is due for that has its runs.
    Booted {
        /// Its id of this boot.
        boot: u128,
    },
    /// A task's mark was set back, since the clock was.
    MarkReset {
        /// The task.
        task: TaskId,
        /// The new mark.
        mark: Timestamp,
    },
}

impl Record {
    /// The task that it is about, or the task of its run; none where it is about none, or about many.
    #[must_use]
    pub fn task(&self) -> Option<TaskId> {
        match self {
            Record::TaskAdded { id, .. }
            | Record::TaskChanged { id, .. }
            | Record::TaskSwitched { id, .. }
            | Record::TaskRemoved { id, .. } => Some(*id),
            Record::Passed { task, .. }
            | Record::NumbersLost { task, .. }
            | Record::BootSkipped { task, .. }
            | Record::Latched { task, .. }
            | Record::Unlatched { task, .. }
            | Record::Owed { task, .. }
            | Record::DependencySkipped { task, .. }
            | Record::Fired { task, .. }
            | Record::MarkReset { task, .. } => Some(*task),
            Record::RunCreated { run, .. }
            | Record::RunAdmitted { run, .. }
            | Record::RunKeeps { run, .. }
            | Record::RunMuted { run }
            | Record::RunStopping { run, .. }
            | Record::RunFinished { run, .. }
            | Record::GateClosed { run, .. }
            | Record::RetryDue { run, .. } => Some(run.task),
            Record::AttemptStarted { attempt, .. } | Record::AttemptEnded { attempt, .. } => Some(attempt.run.task),
            Record::Paused { scope, .. } | Record::Resumed { scope, .. } | Record::PauseBegins { scope, .. } => {
                match scope {
                    PauseScope::Task(id) => Some(*id),
                    PauseScope::All => None,
                }
            }
            Record::ImportBegun { .. }
            | Record::ImportEnded { .. }
            | Record::ImportDropped { .. }
            | Record::CalendarSet { .. }
            | Record::CalendarRemoved { .. }
            | Record::PoolSet { .. }
            | Record::LifeBegan { .. }
            | Record::LifeEnded { .. }
            | Record::Horizon { .. }
            | Record::RunnerAttached { .. }
            | Record::Booted { .. } => None,
        }
    }

    /// Whether something that is due may have to wait until it is durable: a start, a stop, all firings.
    #[must_use]
    pub fn holds_up(&self) -> bool {
        match self {
            Record::RunAdmitted { .. }
            | Record::RunStopping { .. }
            | Record::Horizon { .. }
            | Record::MarkReset { .. }
            | Record::RunnerAttached { .. } => true,
            Record::TaskAdded { .. }
            | Record::ImportBegun { .. }
            | Record::ImportEnded { .. }
            | Record::ImportDropped { .. }
            | Record::TaskChanged { .. }
            | Record::TaskSwitched { .. }
            | Record::Paused { .. }
            | Record::Resumed { .. }
            | Record::CalendarSet { .. }
            | Record::CalendarRemoved { .. }
            | Record::PoolSet { .. }
            | Record::LifeBegan { .. }
            | Record::LifeEnded { .. }
            | Record::TaskRemoved { .. }
            | Record::RunCreated { .. }
            | Record::RunKeeps { .. }
            | Record::RunMuted { .. }
            | Record::AttemptStarted { .. }
            | Record::RunFinished { .. }
            | Record::AttemptEnded { .. }
            | Record::GateClosed { .. }
            | Record::RetryDue { .. }
            | Record::Passed { .. }
            | Record::NumbersLost { .. }
            | Record::PauseBegins { .. }
            | Record::BootSkipped { .. }
            | Record::Latched { .. }
            | Record::Unlatched { .. }
            | Record::Owed { .. }
            | Record::DependencySkipped { .. }
            | Record::Fired { .. }
            | Record::Booted { .. } => false,
        }
    }
}
