//! Who waits, and for what: first for its turn among the runs of its task, then for a place among all runs and for room in
//! its groups and locks.
//!
//! A run that waits *may be admitted* when no more runs of its task have a place than may go side by side, and none of its
//! task goes before it. What has had its turn goes on before all else, live firings go before what is made up for, and among
//! equals the lower number goes first. What may be admitted gets places in the same order, by priority and age; what finds a
//! group or lock full waits for that alone.

use std::cmp::Reverse;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::record::Record;
use crate::run::{RunKey, Trigger};
use crate::task::TaskId;
use crate::time::Timestamp;

use super::Scheduler;
use super::evolve::runs_of;
use super::pending::After;
use super::pools::{PoolKey, Standing, Turn};
use super::runs::{Halted, Run, State, Told};

impl Run {
    /// Whether it makes up for a fire time that is over: it goes behind live firings.
    pub(super) fn makes_up(&self) -> bool {
        match self.trigger {
            Trigger::CatchUp | Trigger::Backfill => true,
            Trigger::Schedule | Trigger::Manual | Trigger::Boot | Trigger::Dependency => false,
        }
    }

    pub(super) fn waits(&self) -> bool {
        matches!(self.state, State::Waiting)
    }

    /// Whether it has had a place, and gave it back until its next attempt, or until its gate is looked at again: what came
    /// since has waited for it, and goes on to.
    pub(super) fn had_its_turn(&self) -> bool {
        self.attempt > 1 || self.gate.is_some()
    }

    fn pools(&self) -> &[PoolKey] {
        self.shares.as_ref().map_or(&[], |shares| &shares.pools)
    }

    fn turn(&self, run: RunKey) -> Turn {
        Turn {
            makes_up: self.makes_up() && !self.had_its_turn(),
            priority: Reverse(self.shares.as_ref().map_or(0, |shares| shares.priority)),
            since: self.created_at,
            run,
        }
    }
}

impl Scheduler {
    /// Sorts out which of the waiting runs of a task may be admitted, and until when, after any of its runs or its policies
    /// have changed.
    pub(super) fn line_up(&mut self, task: TaskId) {
        let policies = self.tasks.get(task).map(|of| &of.policies);
        let deadline = policies.and_then(|policies| policies.time.deadline_ms);
        let at_once = match self.tasks.get(task) {
            Some(of) => of.policies.concurrency.at_once(),
            // What of it runs on does so by itself.
            None => Some(NonZeroU32::MIN),
        };
        let mut free = at_once.map_or(usize::MAX, |most| usize::try_from(most.get()).unwrap_or(usize::MAX));
        // What is made up for goes in order, one after the other, however many may go side by side.
        let mut makes_up_goes = false;
        let (mut waiting, mut moved) = (Vec::new(), Vec::new());
        for (key, run) in self.runs.range_mut(runs_of(task)) {
            let ends = deadline.zip(run.started_at.filter(|_| run.state.is_between_attempts()));
            let ends = ends.map(|(deadline, began)| began.plus(Duration::from_millis(deadline.get())));
            if run.expires != ends {
                if let Some(at) = std::mem::replace(&mut run.expires, ends) {
                    self.deadlines.remove(&(at, *key));
                }
                self.deadlines.extend(ends.map(|at| (at, *key)));
            }
            let stands = match run.state {
                State::Waiting => {
                    waiting.push((!run.had_its_turn(), run.makes_up(), *key));
                    continue;
                }
                State::Starting(_) | State::Running(_) => Standing::Holds,
                State::BackingOff { .. } | State::Gated { .. } => Standing::Apart,
                State::Stopping { reason: _, of } => match of {
                    Halted::Waiting => Standing::Apart,
                    Halted::Starting(_) | Halted::Running(_) => Standing::Holds,
                },
            };
            free = free.saturating_sub(1);
            makes_up_goes |= run.makes_up();
            if run.standing != stands {
                moved.push((*key, stands));
            }
        }
        for (key, stands) in moved {
            self.stand(key, stands);
        }
        waiting.sort_unstable();
        for (_, makes_up, key) in waiting {
            let may = free > 0 && !(makes_up && makes_up_goes);
            if !may {
                self.stand(key, Standing::LinedUp);
                continue;
            }
            free -= 1;
            makes_up_goes |= makes_up;
            let waits = |run: &Run| matches!(run.standing, Standing::Ready | Standing::Blocked(_));
            if !self.runs.get(&key).is_some_and(waits) {
                self.stand(key, Standing::Ready);
            }
        }
    }

    /// Has a run stand elsewhere.
    pub(super) fn stand(&mut self, key: RunKey, to: Standing) {
        let Some(run) = self.runs.get_mut(&key) else { return };
        if run.standing != to {
            let from = std::mem::replace(&mut run.standing, to);
            self.places.moved(run.turn(key), run.pools(), &from, &run.standing);
        }
    }

    /// How many runs of a task wait to make up for a fire time.
    pub(super) fn backlog(&self, task: TaskId) -> usize {
        let runs = self.runs.range(runs_of(task));
        runs.filter(|(_, run)| run.waits() && run.makes_up()).count()
    }

    /// How many runs more may wait to make up for fire times of a task.
    pub(super) fn backlog_room(&self, task: TaskId) -> usize {
        let of_all = self.limits.backlog_of_all.saturating_sub(self.places.lined_up());
        of_all.min(self.limits.backlog.saturating_sub(self.backlog(task)))
    }

    /// Runs that are starting, running or stopping.
    pub(super) fn occupied(&self) -> usize {
        self.places.held()
    }

    /// Whether a live run of a task may be started at once, after `more` others. Where something is shared it may not: of
    /// what is due at one instant the highest priority goes first.
    pub(super) fn has_place(&self, task: TaskId, more: usize) -> bool {
        let is_free = self.places.none_waits() && self.occupied() + self.reserved_places + more < self.limits.running;
        is_free && !self.sharing.contains_key(&task)
    }

    /// Gives free places to waiting runs. They start when that is durable: nothing says before that they may have.
    pub(super) fn admit(&mut self, now: Timestamp) {
        // What is being decided about a task might be that its run shall not start.
        let reserved = |this: &Self, run: &RunKey| this.tasks.get(run.task).is_some_and(|task| task.reserved);
        while self.occupied() + self.reserved_places < self.limits.running {
            let Some(key) = self.places.first(|run| reserved(self, run)) else {
                return;
            };
            let Some(run) = self.runs.get(&key) else { return };
            if let Some(full) = self.places.full(run.pools()) {
                let full = full.clone();
                self.stand(key, Standing::Blocked(full));
                continue;
            }
            self.fact(Record::RunAdmitted { run: key, at: now });
            if let Some(run) = self.runs.get_mut(&key) {
                run.state.set_told(Told::Unrecorded);
            }
            self.after.push(After::Start(key));
        }
    }
}
