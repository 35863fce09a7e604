//! Tasks that come after others: which they name, and what must follow from each end.

use std::collections::{BTreeMap, BTreeSet};

use taskd_core::dependency::{EndKind, Upstream, Upstreams};
use taskd_core::record::Record;
use taskd_core::run::{AttemptEnd, Exit, Outcome, RunKey, TraceId, Trigger};
use taskd_core::task::{TaskId, TaskName, When};

use crate::world::{Daemon, World};

/// Some of the tasks there are, and maybe one that is to come.
pub fn after(world: &mut World) -> When {
    let mut names: Vec<TaskName> = world.definitions.values().map(|of| of.name.clone()).collect();
    names.push(TaskName::parse(&format!("task-{}", world.names + 1)).unwrap());
    let mut of: BTreeMap<TaskName, EndKind> = BTreeMap::new();
    for _ in 0..=world.dice.below(3) {
        let name = world.dice.pick(&names).unwrap().clone();
        of.insert(name, *world.dice.pick(EndKind::ALL).unwrap());
    }
    When::After(Upstreams {
        of: of.into_iter().map(|(task, on)| Upstream { task, on }).collect(),
        any: world.dice.chance(400),
    })
}

/// A batch of records leaves a scheduler: with each end goes what follows from it.
pub fn emitted(daemon: &Daemon, records: &[Record]) {
    for record in records {
        let Record::RunFinished { run, outcome, end, .. } = record else {
            continue;
        };
        let Some((name, _)) = daemon.known.tasks.get(&run.task) else {
            continue;
        };
        for (id, (_, when)) in &daemon.known.tasks {
            let Some(upstreams) = when.after().filter(|_| daemon.core.task(*id).is_some()) else {
                continue;
            };
            let Some(upstream) = upstreams.of.iter().find(|upstream| upstream.task == *name) else {
                continue;
            };
            let follows = records.iter().any(|record| match record {
                Record::Owed { task, cause, .. } => task == id && cause.run == *run,
                Record::Latched { task, end, .. } => task == id && end == run,
                Record::DependencySkipped { task, end, .. } => task == id && end == run,
                _ => false,
            });
            let was_let_in = |end: &AttemptEnd| !matches!(end.exit, Exit::GateClosed { .. });
            let has_run = end.as_ref().is_some_and(was_let_in) || *outcome == Outcome::Unknown;
            let meets = upstream.on.meets(*outcome) && !daemon.known.muted.contains(run);
            assert!(
                meets || !follows,
                "{run:?} ends as {outcome}, and {id:?} follows {upstream}"
            );
            assert!(
                follows || !meets || !has_run,
                "{run:?} ends as {outcome}, and nothing follows for {id:?}, which comes after {upstream}"
            );
            let is_enough = upstreams.any || upstreams.of.len() == 1;
            let is_kept = records
                .iter()
                .any(|record| matches!(record, Record::Latched { task, end, .. } if task == id && end == run));
            assert!(!is_enough || !is_kept, "{id:?} waits for more than {run:?}");
        }
    }
}

/// Of all that was ever made durable: each run that was owed came once, or was skipped, after an end and with its trace id.
pub fn check(disk: &[Record]) {
    let mut traces: BTreeMap<RunKey, TraceId> = BTreeMap::new();
    let mut finished: BTreeMap<RunKey, Outcome> = BTreeMap::new();
    let (mut owed, mut settled, mut removed) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    let mut settle = |owed: &mut BTreeMap<(TaskId, RunKey), TraceId>, task: TaskId, end: RunKey| {
        assert!(
            settled.insert((task, end)),
            "what {task:?} is owed after {end:?} is settled twice"
        );
        owed.remove(&(task, end))
    };
    for record in disk {
        match record {
            Record::RunCreated {
                run,
                trigger,
                trace_id,
                cause,
                ..
            } => {
                traces.insert(*run, *trace_id);
                assert_eq!(*trigger == Trigger::Dependency, cause.is_some(), "{record:?}");
                if let Some(cause) = cause {
                    let trace = settle(&mut owed, run.task, cause.run);
                    assert_eq!(trace, Some(*trace_id), "{run:?} is not owed, or has another trace id");
                }
            }
            Record::RunFinished { run, outcome, .. } => {
                finished.insert(*run, *outcome);
            }
            Record::Owed { task, cause, trace_id } => {
                assert!(
                    finished.contains_key(&cause.run),
                    "{task:?} is owed a run before {cause} ended"
                );
                assert_eq!(traces.get(&cause.run), Some(trace_id), "{cause} has another trace id");
                // What was decided first is on the disk first.
                if removed.contains(task) {
                    continue;
                }
                let twice = owed.insert((*task, cause.run), *trace_id);
                assert!(twice.is_none(), "{task:?} is owed two runs after {cause}");
            }
            Record::DependencySkipped { task, end, .. } => {
                settle(&mut owed, *task, *end);
            }
            Record::TaskRemoved { id, .. } => {
                removed.insert(*id);
                owed.retain(|(task, _), _| task != id);
            }
            _ => {}
        }
    }
    assert!(owed.is_empty(), "runs are still owed: {owed:?}");
}
