//! Pauses: spans of time in which fire times are skipped, and owe no catch-up.

use std::time::Duration;

use crate::task::TaskId;
use crate::time::Timestamp;

/// What a pause is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PauseScope {
    /// Every task, those to come as well.
    All,
    /// One task.
    Task(TaskId),
}

/// A pause. It ends by itself; nothing has to happen for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// When it was decided: what was due by then is not held up by it.
    pub since: Timestamp,
    /// The first instant after it; `None` until somebody ends it.
    pub until: Option<Timestamp>,
    /// Who decided it, such as "uid 1000".
    pub by: String,
    /// Why, for people.
    pub note: Option<String>,
}

impl Pause {
    /// Whether a fire time lies in it.
    #[must_use]
    pub fn covers(&self, at: Timestamp) -> bool {
        self.since < at && self.until.is_none_or(|until| at < until)
    }

    /// The instants between which fire times lie in it: neither of the two does.
    #[must_use]
    pub fn span(&self) -> (Timestamp, Timestamp) {
        (self.since, self.until.unwrap_or(Timestamp::MAX))
    }

    /// Whether nothing after this instant lies in it.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Ends it before its time. What was due by then is held up by it.
    pub fn end(&mut self, at: Timestamp) {
        if !self.is_over(at) {
            self.until = Some(at.plus(Duration::from_millis(1)));
        }
    }

    /// Why a fire time in it did not start.
    #[must_use]
    pub fn reason(&self, scope: PauseScope) -> String {
        let what = match scope {
            PauseScope::All => "all tasks were",
            PauseScope::Task(_) => "the task was",
        };
        let note = self.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
        format!("{what} paused by {}{note}", self.by)
    }
}
