//! What one life of the daemon knows to be durable, and may act on.

use std::collections::{BTreeMap, BTreeSet};

use taskd_core::Timestamp;
use taskd_core::effect::{Effect, Notice};
use taskd_core::policy::{Concurrency, Pool};
use taskd_core::record::Record;
use taskd_core::run::{AttemptKey, RunKey, Trigger};
use taskd_core::task::{TaskId, TaskName, When};

/// What a life of the daemon knows to be durable: the ground every effect must stand on.
#[derive(Default)]
pub struct Known {
    horizon: Option<Timestamp>,
    created: BTreeSet<RunKey>,
    waiting: BTreeSet<RunKey>,
    stopping: BTreeSet<RunKey>,
    finished: BTreeSet<RunKey>,
    /// Numbers of runs that were lost up to the last one, by task.
    lost: BTreeMap<TaskId, u64>,
    /// Those whose ends trigger nothing.
    pub muted: BTreeSet<RunKey>,
    /// Attempts that another one follows.
    ended: BTreeSet<AttemptKey>,
    /// What tasks do with several runs.
    pub concurrency: BTreeMap<TaskId, Concurrency>,
    /// Their names and schedules.
    pub tasks: BTreeMap<TaskId, (TaskName, When)>,
    /// What they share with others.
    pub pools: BTreeMap<TaskId, Vec<Pool>>,
}

impl Known {
    pub fn learn(&mut self, record: &Record) {
        match record {
            Record::Horizon { until, .. } => self.horizon = Some(*until),
            Record::TaskAdded { id, definition, .. } | Record::TaskChanged { id, definition, .. } => {
                self.concurrency.insert(*id, definition.policies.concurrency);
                self.tasks
                    .insert(*id, (definition.name.clone(), definition.when.clone()));
                self.pools.insert(*id, definition.sharing.pools().collect());
            }
            Record::TaskRemoved { id, .. } => {
                self.tasks.remove(id);
            }
            Record::RunCreated { run, waiting, .. } => {
                self.created.insert(*run);
                if *waiting {
                    self.waiting.insert(*run);
                }
            }
            Record::RunAdmitted { run, .. } => {
                self.waiting.remove(run);
            }
            Record::RunStopping { run, .. } => {
                self.stopping.insert(*run);
            }
            Record::RunMuted { run } => {
                self.muted.insert(*run);
            }
            Record::NumbersLost { task, last } => {
                self.lost.insert(*task, *last);
            }
            Record::RunFinished { run, .. } => {
                self.finished.insert(*run);
            }
            Record::AttemptEnded { attempt, .. } => {
                self.ended.insert(*attempt);
                // The next one is admitted anew.
                self.waiting.insert(attempt.run);
            }
            Record::GateClosed { run, .. } => {
                // Gates are those of the first attempt, and the next look at them is admitted anew.
                self.ended.insert(AttemptKey { run: *run, attempt: 1 });
                self.waiting.insert(*run);
            }
            _ => {}
        }
    }

    /// Nothing is done or said before what explains it is durable; a start inside the horizon may run ahead of its record.
    pub fn check(&self, effect: &Effect, sent: &BTreeSet<RunKey>) {
        match effect {
            Effect::Start { origin, .. } => {
                let run = origin.attempt.run;
                let ahead = origin.trigger != Trigger::Manual
                    && sent.contains(&run)
                    && origin.fire_time.is_some_and(|at| Some(at) <= self.horizon);
                assert!(
                    self.created.contains(&run) || ahead,
                    "{run:?} starts before it may: {origin:?}"
                );
                assert!(!self.waiting.contains(&run), "{run:?} starts before it is admitted");
                assert!(!self.finished.contains(&run), "{run:?} starts after its end");
            }
            Effect::Stop { attempt, .. } => {
                assert!(
                    self.stopping.contains(&attempt.run),
                    "{attempt:?} is stopped before that is durable"
                );
            }
            Effect::Forget(attempt) => {
                // Of what was told as unknown nothing is taken in any more.
                let RunKey { task, n } = attempt.run;
                let lost = self.lost.get(&task).is_some_and(|last| n <= *last) && !self.created.contains(&attempt.run);
                assert!(
                    lost || self.finished.contains(&attempt.run) || self.ended.contains(attempt),
                    "{attempt:?} is forgotten before its end is durable"
                );
            }
            Effect::Notice(Notice::AttemptEnded { run, attempt, .. }) => {
                let key = AttemptKey {
                    run: *run,
                    attempt: *attempt,
                };
                assert!(
                    self.ended.contains(&key),
                    "the end of {key:?} is told before it is durable"
                );
            }
            Effect::Notice(Notice::RunFinished { run, .. }) => {
                assert!(
                    self.finished.contains(run),
                    "the end of {run:?} is told before it is durable"
                );
            }
            Effect::Record { .. } | Effect::Prepare(_) | Effect::Notice(_) => {}
        }
    }
}
