//! What is paused has no runs, and nothing else is told to be.

use std::collections::{BTreeMap, BTreeSet};

use taskd_core::pause::{Pause, PauseScope};
use taskd_core::record::Record;
use taskd_core::run::{Passing, Trigger};
use taskd_core::task::{ImportId, TaskId};
use taskd_core::time::Timestamp;

/// Pauses as they were decided, the newest last: one that is over holds for the times that it covered.
#[derive(Default)]
pub struct History {
    pauses: BTreeMap<PauseScope, Vec<Decided>>,
    /// The first and the last task of each import under way: they are not dealt with before another pause takes its place.
    staged: BTreeMap<ImportId, TaskId>,
}

struct Decided {
    at: Timestamp,
    pause: Pause,
    /// For these tasks it is forgotten.
    forgotten: BTreeSet<TaskId>,
}

impl History {
    /// The pauses that bear on a task.
    fn bearing(&self, task: TaskId) -> impl Iterator<Item = (PauseScope, &Decided)> {
        let scopes = [PauseScope::Task(task), PauseScope::All];
        let of = |scope| {
            self.pauses
                .get(&scope)
                .into_iter()
                .flatten()
                .map(move |decided| (scope, decided))
        };
        let bears = move |(_, decided): &(PauseScope, &Decided)| !decided.forgotten.contains(&task);
        scopes.into_iter().flat_map(of).filter(bears)
    }

    fn newest(&mut self, scope: &PauseScope) -> &mut Pause {
        let decided = self.pauses.get_mut(scope).and_then(|all| all.last_mut());
        &mut decided.expect("only what is paused is changed").pause
    }

    /// Checks a record against what was decided before it. What was told while a change of a pause was on its way may be told
    /// by what was before.
    pub fn check(
        &mut self,
        record: &Record,
        before_changes: &BTreeSet<(TaskId, Timestamp)>,
        undecided: &BTreeMap<(PauseScope, Timestamp), BTreeSet<TaskId>>,
        before: &BTreeMap<(PauseScope, Timestamp), BTreeSet<u128>>,
    ) {
        match record {
            Record::Paused { scope, at, pause } => {
                let (at, pause) = (*at, pause.clone());
                let all = self.pauses.entry(*scope).or_default();
                // One that was going on goes on in it.
                all.pop_if(|earlier| !earlier.pause.is_over(at));
                for earlier in all.iter_mut() {
                    let forgotten = &mut earlier.forgotten;
                    forgotten.extend(undecided.get(&(*scope, at)).into_iter().flatten());
                    let staged = self.staged.iter();
                    forgotten.extend(staged.flat_map(|(first, last)| (first.0..=last.0).map(TaskId)));
                }
                let forgotten = BTreeSet::new();
                all.push(Decided { at, pause, forgotten });
            }
            Record::Resumed { scope, at, .. } => {
                let pause = self.newest(scope);
                assert!(!pause.is_over(*at), "a pause ends twice");
                pause.end(*at);
            }
            Record::PauseBegins { scope, since } => {
                let pause = self.newest(scope);
                assert!(*since < pause.since, "a pause begins later than it did");
                pause.since = *since;
            }
            Record::ImportBegun { import, last, .. } => {
                self.staged.insert(*import, *last);
            }
            Record::ImportEnded { import } => {
                self.staged.remove(import);
            }
            Record::ImportDropped { import, from } if from.0 == import.0 => {
                self.staged.remove(import);
            }
            // Where the clock was set back far, times come again that an earlier pause covered.
            Record::MarkReset { .. } => {
                for all in self.pauses.values_mut() {
                    all.drain(..all.len().saturating_sub(1));
                }
            }
            Record::RunCreated {
                run,
                fire_time,
                trigger,
                trace_id,
                ..
            } => {
                let fire_time = fire_time.filter(|_| *trigger != Trigger::Backfill);
                let was_there = |scope, decided: &Decided| {
                    // By then, or by when the clock was set back behind its beginning.
                    let mut times = [decided.at, decided.pause.since].into_iter();
                    times.any(|at| {
                        let before = before.get(&(scope, at));
                        before.is_some_and(|before| before.contains(&trace_id.0))
                    })
                };
                let held = fire_time.is_some_and(|at| {
                    self.bearing(run.task)
                        .any(|(scope, decided)| decided.pause.covers(at) && !was_there(scope, decided))
                });
                assert!(!held, "{run:?} is for a fire time in a pause");
            }
            Record::Passed {
                task,
                first,
                last,
                passing,
                reason,
                ..
            } => {
                for at in [first, last] {
                    let held = || self.bearing(*task).filter(|(_, decided)| decided.pause.covers(*at));
                    let told = held().any(|(scope, decided)| decided.pause.reason(scope) == *reason);
                    let is_so = told == reason.contains("paused") || before_changes.contains(&(*task, *first));
                    assert!(is_so, "{record:?} is of no pause");
                    // What a new life finds out about the one before stays so, though a pause was on its way meanwhile.
                    let found = *passing == Passing::Unknown || reason.ends_with("ended before it was recorded");
                    assert!(
                        held().next().is_none() || found || told && *passing == Passing::Skipped,
                        "{record:?} is of a pause"
                    );
                }
            }
            _ => {}
        }
    }
}
