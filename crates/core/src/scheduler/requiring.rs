//! Requirements: how the last run of each task ended, and what that means for those that require it.
//!
//! The last end of every task that has run is kept, whether another requires it or not: one that comes to be required has it
//! at hand, whatever ends while that is decided. It changes with the record of the end alone, and is loaded with the task.
//!
//! A firing is held by what is required at the moment it is dealt with, before anything else of its task is touched; a run
//! that exists is not, nor is one that a user asks for.

use crate::requirement::{LastEnd, Requirement};
use crate::task::TaskId;
use crate::time::Timestamp;

use super::Scheduler;
use super::naming::Naming;
use super::table::Table;
use super::tasks::Task;

/// Who requires whom, and how those that have run had ended last.
#[derive(Default)]
pub(super) struct Requirements {
    /// The tasks that require those of a name.
    pub(super) requiring: Naming,
    ends: Table<LastEnd>,
}

impl Requirements {
    /// A run of a task has ended.
    pub(super) fn ended(&mut self, task: TaskId, end: LastEnd) {
        self.ends.insert(task, end);
    }

    /// How the last run of a task had ended.
    pub(super) fn last(&self, task: TaskId) -> Option<LastEnd> {
        self.ends.get(task).copied()
    }

    /// A task is gone.
    pub(super) fn forget(&mut self, task: TaskId) {
        self.ends.remove(task);
    }
}

impl Scheduler {
    /// Why a firing of a task is not to start now, where something that it requires does not hold.
    pub(super) fn holds_back(&self, now: Timestamp, task: &Task) -> Option<String> {
        let mut unmet = self.unmet_of(now, task);
        let (_, first) = unmet.next()?;
        Some(match unmet.count() {
            0 => first,
            1 => format!("{first} (and 1 more does not hold)"),
            more => format!("{first} (and {more} more do not hold)"),
        })
    }

    /// What of that which a task requires does not hold, and why.
    fn unmet_of<'a>(&'a self, now: Timestamp, task: &'a Task) -> impl Iterator<Item = (&'a Requirement, String)> {
        let theirs = self.names.get(&task.owner);
        task.requires().iter().filter_map(move |required| {
            let id = theirs.and_then(|theirs| theirs.get(&required.task));
            let last = id.and_then(|id| self.requirements.last(*id));
            let why = required.unmet(last, now, self.limits.clock_back)?;
            Some((required, why))
        })
    }

    /// How the last run of a task had ended, of those that did run.
    #[must_use]
    pub fn last_end(&self, id: TaskId) -> Option<LastEnd> {
        self.requirements.last(id)
    }

    /// The tasks that require another, in the order of their ids.
    pub fn requiring(&self, id: TaskId) -> impl Iterator<Item = TaskId> + '_ {
        let theirs = self
            .tasks
            .get(id)
            .map(|task| self.requirements.requiring.by(task.owner, &task.name));
        theirs.into_iter().flatten().filter(|id| !self.imports.holds(*id))
    }

    /// What of that which a task requires would not hold at an instant, as it is now, and why.
    pub fn unmet(&self, id: TaskId, now: Timestamp) -> impl Iterator<Item = (&Requirement, String)> {
        let task = self.tasks.get(id).into_iter();
        task.flat_map(move |task| self.unmet_of(now, task))
    }
}
