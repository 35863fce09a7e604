//! The state as tables: what the store loads at start, equal to what replaying every record would give.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::calendar::{CalendarName, Kept};
use crate::dependency::{Cause, EndKind};
use crate::gates::Closed;
use crate::overrides::Overrides;
use crate::pause::{Pause, PauseScope};
use crate::policy::{Holding, Policies, Pool};
use crate::requirement::LastEnd;
use crate::run::{Outcome, RunKey, TraceId, Trigger};
use crate::task::{Outline, Owner, TaskId, TaskName};
use crate::time::{Boot, Timestamp};

/// What is not of one task or run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Firings up to here may have started.
    pub horizon: Timestamp,
    /// The boot in which that was said, where it is known.
    pub horizon_boot: Option<Boot>,
    /// The runner's life that was last attached.
    pub runner: Option<u64>,
    /// The highest task id ever given, 0 if none.
    pub last_task: u64,
    /// The boot of the machine that was last heard of, by its id.
    pub boot: Option<u128>,
}

impl Default for Header {
    fn default() -> Self {
        Header {
            horizon: Timestamp::MIN,
            horizon_boot: None,
            runner: None,
            last_task: 0,
            boot: None,
        }
    }
}

/// One task that is not removed.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskImage {
    /// Its id.
    pub id: TaskId,
    /// Its owner.
    pub owner: Owner,
    /// The part of its definition that decisions need.
    pub outline: Outline,
    /// The last fire time dealt with.
    pub mark: Timestamp,
    /// The number of its newest run, 0 if none.
    pub last_run: u64,
    /// How the run that ended last had ended.
    pub last_outcome: Option<Outcome>,
    /// How the run that ended last of those that did run had ended.
    pub last_end: Option<LastEnd>,
}

/// One run that has not ended. Its task may have been removed.
#[derive(Clone, Debug, PartialEq)]
pub struct RunImage {
    /// Which.
    pub key: RunKey,
    /// Its task's name as it is now, or was last.
    pub name: TaskName,
    /// Why it exists.
    pub trigger: Trigger,
    /// The fire time it is for.
    pub fire_time: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Its trace id.
    pub trace_id: TraceId,
    /// The attempt it is at, or that comes next, from 1.
    pub attempt: u32,
    /// When its first attempt started, or could not.
    pub started_at: Option<Timestamp>,
    /// Where it stands.
    pub stage: Stage,
    /// Why it is being stopped, if it is.
    pub stopping: Option<String>,
    /// What it took of groups and locks, where its task has been changed since.
    pub keeps: Option<Holding>,
    /// The run whose end triggered it.
    pub cause: Option<Cause>,
    /// Whether its end triggers nothing.
    pub muted: bool,
    /// The policies that its task had, where that was removed.
    pub terms: Option<Policies>,
    /// What it is given beside what its task says.
    pub overrides: Option<Arc<Overrides>>,
    /// What is known of its gate, where that was found closed.
    pub gate: Option<Closed>,
}

/// How far a run that has not ended has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It waits for a place.
    Waiting,
    /// The runner was or will be told to start it.
    Starting,
    /// Its attempt's process runs.
    Running {
        /// Process id.
        pid: u32,
        /// When the attempt started.
        started_at: Timestamp,
    },
    /// Another attempt follows.
    BackingOff {
        /// When it is due.
        until: Timestamp,
    },
    /// A gate of it is closed.
    Gated {
        /// When that is looked at again.
        until: Timestamp,
    },
}

/// The state but for its tasks, of which there may be many.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rest {
    /// What is not of one task or run.
    pub header: Header,
    /// Runs that have not ended, in the order of their keys.
    pub runs: Vec<RunImage>,
    /// Pauses, those that are over included until another takes their place, in the order of their scopes.
    pub pauses: Vec<(PauseScope, Pause)>,
    /// Calendars, in the order of their names.
    pub calendars: Vec<(CalendarName, Arc<Kept>)>,
    /// The limits of groups and locks that were set, in their order.
    pub pools: Vec<(Owner, Pool, NonZeroU32)>,
    /// How many runs tasks with a count have had by their schedule, in the order of their ids; none with 0.
    pub fired: Vec<(TaskId, u64)>,
    /// The newest ends that tasks keep of those they come after, until they have all: in the order of the tasks and of those.
    pub latches: Vec<(TaskId, RunKey, EndKind)>,
    /// The runs that tasks are owed after such ends, with the trace ids that go on: in the order of the tasks, each in the
    /// order in which they came to be owed.
    pub owed: Vec<(TaskId, Cause, TraceId)>,
}

/// The whole state, for tests that compare.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Tasks in the order of their ids.
    pub tasks: Vec<TaskImage>,
    /// What is not a task.
    pub rest: Rest,
}
