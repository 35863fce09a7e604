//! What is told of fire times: what keeps them from starting, and what became of them.

use bincode::{Decode, Encode};

use super::{Passed, RunInfo};
use crate::codec::Rec;

/// A fire time of the past that is made up for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Backfilled {
    /// The fire time.
    pub at_ms: i64,
    /// Its run; `None` where it was only asked about.
    pub run: Option<String>,
}

/// A calendar in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct CalendarInfo {
    /// Its name.
    pub name: String,
    /// The zone it is read in for tasks that have none.
    pub tz: String,
    /// Names or patterns of tasks that do not fire in what it covers.
    pub freeze: Vec<String>,
    /// How many days and spans of days it has.
    pub days: u64,
    /// How many ranges of time.
    pub ranges: u64,
    /// Its rules.
    pub rules: Vec<String>,
    /// How many tasks use it.
    pub tasks: u64,
    /// When it was set.
    pub changed_ms: Option<i64>,
    /// By whom, such as "uid 1000".
    pub by: Option<String>,
}

/// One calendar.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct CalendarDetail {
    /// As in a list.
    pub info: Rec<CalendarInfo>,
    /// What it covers, in JSON.
    pub body: String,
    /// The first of the tasks that use it, by name.
    pub users: Vec<String>,
}

/// A pause that is not over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Pause {
    /// Whether all tasks are paused.
    pub all: bool,
    /// When it was decided.
    pub since_ms: i64,
    /// The first instant after it; `None` until it is ended.
    pub until_ms: Option<i64>,
    /// Who decided it, such as "uid 1000".
    pub by: String,
    /// Why.
    pub note: Option<String>,
}

/// What became of fire times of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Why {
    /// The task.
    pub name: String,
    /// The zone of its schedule, where it has one.
    pub tz: Option<String>,
    /// One for the time that was asked about; else the last fire time dealt with and the next, where there are any.
    pub fates: Vec<Rec<Fate>>,
    /// Whether it is due after each boot of the machine.
    pub at_boot: bool,
    /// The tasks that it comes after, in a few words.
    pub after: Option<String>,
}

/// What became of one fire time, or will.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Fate {
    /// The fire time, or the time that was asked about.
    pub at_ms: i64,
    /// `ran` (see `run`), `skipped`, `missed`, `unknown` (see `passed`), `due` (it is being dealt with), `planned`,
    /// `paused` and `suppressed` (it will be skipped), `disabled`, `will-not-start` (it is to come, and the task is
    /// disabled), `held`, `no-fire-time`, `not-yet-added` or `forgotten`.
    pub verdict: String,
    /// The run for it.
    pub run: Option<Box<Rec<RunInfo>>>,
    /// The ledger's entry that holds it.
    pub passed: Option<Box<Rec<Passed>>>,
    /// Who disabled the task, who paused it, and until when.
    pub change: Option<Box<Rec<Change>>>,
    /// When the daemon was down, if that is why: from and until.
    pub down_ms: Option<(i64, i64)>,
    /// The fire time before it.
    pub before_ms: Option<i64>,
    /// The fire time after it.
    pub after_ms: Option<i64>,
    /// Why the task is held.
    pub held: Option<String>,
    /// Why a fire time to come will be skipped.
    pub reason: Option<String>,
    /// The time that the expression has for it, where terms move it, or of one that was asked about.
    pub moved_from_ms: Option<i64>,
    /// Where that goes, where it was asked about and is no fire time.
    pub moved_to_ms: Option<i64>,
    /// By what.
    pub moved_by: Option<String>,
    /// What changes of the clock do to it.
    pub clock: Option<String>,
}

/// What somebody changed of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Change {
    /// `added`, `disabled`, `paused` or `all-paused`.
    pub kind: String,
    /// When.
    pub at_ms: i64,
    /// Until when it held, where that is known.
    pub until_ms: Option<i64>,
    /// Who made it, such as "uid 1000".
    pub by: Option<String>,
    /// Why.
    pub note: Option<String>,
}
