//! Tasks of which nothing is to go for a while.
//!
//! A run that ends is one more of its task, and hardly ever one too many. Once a task was looked at it is known up to which
//! run and until when that is so.

use std::collections::HashMap;

use taskd_core::run::RunKey;
use taskd_core::task::TaskId;
use taskd_core::time::Timestamp;

/// Tasks that are remembered at most. Others are looked at again.
const KNOWN_MAX: usize = 1 << 16;

/// How long a task has nothing that is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Until {
    /// The last run with which it has not too many; 0 where that cannot be told.
    pub(super) n: u64,
    /// When the oldest grows too old.
    pub(super) at: Timestamp,
}

/// How long each of them has nothing that is to go.
#[derive(Debug, Default)]
pub(super) struct Quiet(HashMap<TaskId, Until>);

impl Quiet {
    /// Whether nothing is to go of a task although a run of it has ended.
    pub(super) fn is_quiet(&self, ended: RunKey, now: Timestamp) -> bool {
        let until = self.0.get(&ended.task);
        until.is_some_and(|until| ended.n <= until.n && now < until.at)
    }

    pub(super) fn know(&mut self, task: TaskId, until: Until) {
        if self.0.len() >= KNOWN_MAX {
            self.0.clear();
        }
        self.0.insert(task, until);
    }

    /// Something else is to be kept of a task.
    pub(super) fn forget(&mut self, task: TaskId) {
        self.0.remove(&task);
    }

    /// Something else is to be kept of all of them.
    pub(super) fn forget_all(&mut self) {
        self.0.clear();
    }
}
