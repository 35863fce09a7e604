//! Pauses as users ask for them.

use crate::command::{Accepted, Refusal, Reply};
use crate::pause::{Pause, PauseScope};
use crate::record::Record;
use crate::run::Passing;
use crate::time::Timestamp;

use super::Scheduler;
use super::pending::Reserved;

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
            if let PauseScope::Task(id) = scope
                && since == now
                && self.pauses.contains_key(&scope)
                && let Some(task) = self.tasks.get(id)
                && task.due().is_some_and(|due| due <= now)
            {
                // What the pause before held up, and nobody has dealt with.
                let past = self.stretches(id, task, task.mark, now);
                records.extend(
                    past.take_while(|stretch| stretch.suppressed.is_some())
                        .map(|stretch| Record::Passed {
                            task: id,
                            first: stretch.passed.first,
                            last: stretch.passed.last,
                            count: stretch.passed.count,
                            passing: Passing::Skipped,
                            reason: stretch.suppressed.unwrap_or_default(),
                        }),
                );
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
