//! Who waits, and for what: a place among all runs, or first for its turn among those of its task.
//!
//! A run that waits *may be admitted* when no more runs of its task have a place than may go side by side, and none of its
//! task goes before it. Live firings go before what is made up for; among equals the lower number goes first. What may be
//! admitted gets places in the same order, by age.

use std::num::NonZeroU32;

use crate::record::Record;
use crate::run::{RunKey, Trigger};
use crate::task::TaskId;
use crate::time::Timestamp;

use super::Scheduler;
use super::evolve::runs_of;
use super::pending::After;
use super::runs::{Run, State, Told};

/// Where a run stands among those that may be admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    /// Whether it makes up for a fire time that is over.
    makes_up: bool,
    since: Timestamp,
    pub(super) run: RunKey,
}

impl Run {
    /// Whether it makes up for a fire time that is over: it goes behind live firings.
    pub(super) fn makes_up(&self) -> bool {
        match self.trigger {
            Trigger::CatchUp | Trigger::Backfill => true,
            Trigger::Schedule | Trigger::Manual | Trigger::Boot => false,
        }
    }

    pub(super) fn waits(&self) -> bool {
        matches!(self.state, State::Waiting)
    }

    fn turn(&self, run: RunKey) -> Turn {
        Turn {
            makes_up: self.makes_up(),
            since: self.created_at,
            run,
        }
    }
}

impl Scheduler {
    /// Sorts out which of the waiting runs of a task may be admitted, after any of its runs has changed.
    pub(super) fn line_up(&mut self, task: TaskId) {
        let at_once = match self.tasks.get(task) {
            Some(of) => of.policies.concurrency.at_once(),
            // What of it runs on does so by itself.
            None => Some(NonZeroU32::MIN),
        };
        let mut free = at_once.map_or(usize::MAX, |most| usize::try_from(most.get()).unwrap_or(usize::MAX));
        // What is made up for goes in order, one after the other, however many may go side by side.
        let mut makes_up_goes = false;
        let mut turns = Vec::new();
        for (key, run) in self.runs.range(runs_of(task)) {
            if run.waits() {
                turns.push(run.turn(*key));
            } else {
                free = free.saturating_sub(1);
                makes_up_goes |= run.makes_up();
            }
        }
        turns.sort_unstable_by_key(|turn| (turn.makes_up, turn.run));
        for turn in turns {
            let may = free > 0 && !(turn.makes_up && makes_up_goes);
            if may {
                free -= 1;
                makes_up_goes |= turn.makes_up;
                self.lined_up.remove(&turn.run);
                self.waiting.insert(turn);
            } else {
                self.waiting.remove(&turn);
                self.lined_up.insert(turn.run);
            }
        }
    }

    /// Takes a run that no longer waits, or is no longer there, out of the line.
    pub(super) fn leave_line(&mut self, key: RunKey, makes_up: bool, since: Timestamp) {
        self.waiting.remove(&Turn {
            makes_up,
            since,
            run: key,
        });
        self.lined_up.remove(&key);
    }

    /// How many runs of a task wait to make up for a fire time.
    pub(super) fn backlog(&self, task: TaskId) -> usize {
        let runs = self.runs.range(runs_of(task));
        runs.filter(|(_, run)| run.waits() && run.makes_up()).count()
    }

    /// How many runs more may wait to make up for fire times of a task.
    pub(super) fn backlog_room(&self, task: TaskId) -> usize {
        let of_all = self.limits.backlog_of_all.saturating_sub(self.lined_up.len());
        of_all.min(self.limits.backlog.saturating_sub(self.backlog(task)))
    }

    /// Runs that are starting, running or stopping.
    pub(super) fn occupied(&self) -> usize {
        self.runs.len() - self.waiting.len() - self.lined_up.len() - self.retries.len()
    }

    /// Whether a live run may be started now, after `more` others.
    pub(super) fn has_place(&self, more: usize) -> bool {
        let is_first = self.waiting.first().is_none_or(|turn| turn.makes_up);
        is_first && self.occupied() + self.reserved_places + more < self.limits.running
    }

    /// Gives free places to waiting runs. They start when that is durable: nothing says before that they may have.
    pub(super) fn admit(&mut self, now: Timestamp) {
        while self.occupied() + self.reserved_places < self.limits.running {
            // What is being decided about a task might be that its run shall not start.
            let reserved = |run: &RunKey| self.tasks.get(run.task).is_some_and(|task| task.reserved);
            let Some(Turn { run: key, .. }) = self.waiting.iter().find(|turn| !reserved(&turn.run)).copied() else {
                return;
            };
            self.fact(Record::RunAdmitted { run: key, at: now });
            if let Some(run) = self.runs.get_mut(&key) {
                run.state.set_told(Told::Unrecorded);
            }
            self.after.push(After::Start(key));
        }
    }
}
