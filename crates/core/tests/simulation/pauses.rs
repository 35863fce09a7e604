//! What is paused has no runs, and nothing else is told to be.

use std::collections::{BTreeMap, BTreeSet};

use taskd_core::pause::{Pause, PauseScope};
use taskd_core::record::Record;
use taskd_core::run::{Passing, Trigger};
use taskd_core::task::TaskId;
use taskd_core::time::Timestamp;

/// Checks a record against what was decided before it. What was told while a change of a pause was on its way may be told by
/// what was before.
pub fn check(
    record: &Record,
    pauses: &mut BTreeMap<PauseScope, Pause>,
    before_changes: &BTreeSet<(TaskId, Timestamp)>,
    before: &BTreeMap<(PauseScope, Timestamp), BTreeSet<u128>>,
) {
    let bearing = |pauses: &BTreeMap<PauseScope, Pause>, task| {
        let scopes = [PauseScope::Task(task), PauseScope::All];
        scopes
            .map(|scope| Some((scope, pauses.get(&scope)?.clone())))
            .into_iter()
            .flatten()
    };
    match record {
        Record::Paused { scope, pause, .. } => {
            pauses.insert(*scope, pause.clone());
        }
        Record::Resumed { scope, at, .. } => {
            let pause = pauses.get_mut(scope).expect("only what is paused is resumed");
            assert!(!pause.is_over(*at), "a pause ends twice");
            pause.end(*at);
        }
        Record::RunCreated {
            run,
            fire_time,
            trigger,
            trace_id,
            ..
        } => {
            let fire_time = fire_time.filter(|_| *trigger != Trigger::Backfill);
            let was_there = |scope, pause: &Pause| {
                let before = before.get(&(scope, pause.since));
                before.is_some_and(|before| before.contains(&trace_id.0))
            };
            let held = fire_time.is_some_and(|at| {
                bearing(pauses, run.task).any(|(scope, pause)| pause.covers(at) && !was_there(scope, &pause))
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
                // Where the clock was set back, a pause may bear on times before it began.
                let may_bear: Vec<_> = bearing(pauses, *task)
                    .filter(|(_, pause)| !pause.is_over(*at))
                    .collect();
                let told = may_bear.iter().any(|(scope, pause)| pause.reason(*scope) == *reason);
                let is_so = told == reason.contains("paused") || before_changes.contains(&(*task, *first));
                assert!(is_so, "{record:?} is of no pause");
                // What a new life finds out about the one before stays so, though a pause was on its way meanwhile.
                let found = *passing == Passing::Unknown || reason.ends_with("ended before it was recorded");
                let held = may_bear.iter().any(|(_, pause)| pause.covers(*at)) && !found;
                assert!(
                    !held || told && *passing == Passing::Skipped,
                    "{record:?} is of a pause"
                );
            }
        }
        _ => {}
    }
}
