//! Pauses as users ask for them.

use crate::command::{Accepted, Refusal, Reply};
use crate::pause::{Pause, PauseScope};
use crate::record::Record;
use crate::run::Passing;
use crate::task::TaskId;
use crate::time::Timestamp;

use super::Scheduler;
use super::fate::Stretch;
use super::pending::Reserved;
use super::tasks::Task;

impl Scheduler {
    pub(super) fn pause(
        &mut self,
        now: Timestamp,
        scopes: Vec<PauseScope>,
        until: Option<Timestamp>,
        by: &str,
        note: Option<&str>,
    ) -> Result<Accepted, Refusal> {
        let reserved = self.reserve_scopes(&scopes)?;
        let mut records = Vec::new();
        for scope in scopes {
            let since = self.paused_since(now, scope);
            if since == now && self.pauses.contains_key(&scope) {
                // What the pause before held up, and nobody has dealt with.
                match scope {
                    PauseScope::Task(id) => self.settle_fate(now, id),
                    PauseScope::All => self.settle_fates(now),
                }
            }
            records.push(Record::Paused {
                scope,
                at: now,
                pause: Pause {
                    since,
                    until,
                    by: by.to_owned(),
                    note: note.map(str::to_owned),
                },
            });
        }
        Ok(self.accept(records, reserved, Reply::Done))
    }

    /// Deals with fire times of a task that are over, as far as the present pauses and calendars suppress some of them: others
    /// are about to take their place.
    pub(super) fn settle_fate(&mut self, now: Timestamp, id: TaskId) {
        let is_due = |task: &&Task| task.due().is_some_and(|due| due <= now) && !self.imports.holds(id);
        let Some(task) = self.tasks.get(id).filter(is_due) else {
            return;
        };
        let mut stretches: Vec<_> = self.stretches(id, task, task.mark, now).collect();
        let last = stretches.iter().rposition(|stretch| stretch.suppressed.is_some());
        stretches.truncate(last.map_or(0, |last| last + 1));
        for Stretch { passed, suppressed } in stretches {
            match suppressed {
                Some(why) => self.pass(id, passed, Passing::Skipped, why),
                None => self.pass(id, passed, Passing::Missed, self.why_missed(passed.last).to_owned()),
            }
        }
        // Ahead of what is decided.
        self.flush();
    }

    /// The same of all tasks.
    pub(super) fn settle_fates(&mut self, now: Timestamp) {
        let over = ..=(now, TaskId(u64::MAX));
        let due: Vec<TaskId> = self.due.range(over).map(|(_, id)| *id).collect();
        for id in due {
            self.settle_fate(now, id);
        }
    }

    /// A clock that was set back behind the beginning of a pause has not come to it again, and the pause goes on all the same.
    pub(super) fn begin_pauses_anew(&mut self, now: Timestamp) {
        let scopes: Vec<PauseScope> = self.pauses.keys().copied().collect();
        for scope in scopes {
            self.begin_pause_anew(now, scope);
        }
    }

    /// The same of one pause. While a decision about it is on its way, that comes first.
    pub(super) fn begin_pause_anew(&mut self, now: Timestamp, scope: PauseScope) {
        let is_ahead = |pause: &Pause| pause.since > now && !pause.is_over(now);
        let is_decided = match scope {
            PauseScope::All => self.reserved_all == 0,
            PauseScope::Task(id) => self.tasks.get(id).is_some_and(|task| !task.reserved),
        };
        if is_decided && self.pauses.get(&scope).is_some_and(is_ahead) {
            self.fact(Record::PauseBegins { scope, since: now });
        }
    }

    /// A pause that goes on under another name covers what it covered.
    fn paused_since(&self, now: Timestamp, scope: PauseScope) -> Timestamp {
        match self.pauses.get(&scope) {
            Some(pause) if !pause.is_over(now) => pause.since.min(now),
            Some(_) | None => now,
        }
    }

    pub(super) fn resume(&mut self, now: Timestamp, scopes: Vec<PauseScope>, by: &str) -> Result<Accepted, Refusal> {
        if scopes.contains(&PauseScope::All) {
            self.all_decidable()?;
        }
        let is_paused = |scope: &PauseScope| self.pauses.get(scope).is_some_and(|pause| !pause.is_over(now));
        let scopes: Vec<_> = scopes.into_iter().filter(is_paused).collect();
        let reserved = self.reserve_scopes(&scopes)?;
        let resumed = |scope| Record::Resumed {
            scope,
            at: now,
            by: by.to_owned(),
        };
        let records = scopes.into_iter().map(resumed).collect();
        Ok(self.accept(records, reserved, Reply::Done))
    }

    /// A task waits for the decision about it.
    fn reserve_scopes(&self, scopes: &[PauseScope]) -> Result<Reserved, Refusal> {
        let mut reserved = Reserved::default();
        for scope in scopes {
            match scope {
                PauseScope::All => {
                    self.all_decidable()?;
                    reserved.all = true;
                }
                PauseScope::Task(id) => {
                    self.decidable(*id)?;
                    reserved.tasks.push(*id);
                }
            }
        }
        Ok(reserved)
    }
}
