//! What several events come to that are handled together.

use super::*;
use crate::dependency::{Upstream, Upstreams};
use crate::policy::Concurrency;

fn task(name: &str, when: When, concurrency: &str) -> Definition {
    Definition {
        policies: Policies {
            concurrency: Concurrency::parse(concurrency).unwrap(),
            ..Policies::default()
        },
        ..definition(name, when)
    }
}

fn after_any(names: &[String]) -> When {
    When::After(Upstreams {
        of: names.iter().map(|name| Upstream::parse(name).unwrap()).collect(),
        any: true,
    })
}

fn over(origin: &Origin) -> Event {
    Event::Ended {
        origin: origin.clone(),
        end: ended(Exit::Code(0)),
    }
}

#[test]
fn what_happens_together_leaves_together_and_is_settled_once() {
    let mut rig = Rig::new();
    let ids: Vec<TaskId> = (0..3)
        .map(|n| rig.add(task(&format!("t{n}"), When::Manual, "queue:3")))
        .collect();
    // Two of the first, of which the second waits.
    let runs = [ids[0], ids[1], ids[2], ids[0]].map(|id| rig.run(id));
    let origins = rig.starts();
    assert_eq!(origins.len(), 3);
    rig.prompt = false;
    let started = origins.iter().map(|origin| Event::Started {
        attempt: origin.attempt,
        pid: 7,
        at: rig.now,
    });
    let over = origins.iter().map(|origin| Event::Ended {
        origin: origin.clone(),
        end: ended(Exit::Code(0)),
    });
    let events: Vec<Event> = started.chain(over).collect();
    rig.core.handle_all(rig.now, events);
    rig.pump();
    assert_eq!(rig.sent.len(), 1, "one batch");
    let kinds = rig.records();
    let count = |is: fn(&Record) -> bool| kinds.iter().filter(|record| is(record)).count();
    assert_eq!(count(|record| matches!(record, Record::AttemptStarted { .. })), 3);
    assert_eq!(count(|record| matches!(record, Record::RunFinished { .. })), 3);
    // The place that was free last has the run that waited.
    assert_eq!(
        kinds.last(),
        Some(&Record::RunAdmitted {
            run: runs[3],
            at: rig.now
        })
    );
    rig.store();
    let last = rig.starts();
    assert_eq!(
        last.iter().map(|origin| origin.attempt.run).collect::<Vec<_>>(),
        [runs[3]]
    );
}

/// What so many ends come to for a task that follows each: how many runs it gets, and why it gets no more.
fn followed(ends: usize, concurrency: &str, together: bool) -> (usize, Vec<String>) {
    let mut rig = Rig::new();
    let names: Vec<String> = (0..ends).map(|n| format!("t{n}")).collect();
    let ids: Vec<TaskId> = names
        .iter()
        .map(|name| rig.add(definition(name, When::Manual)))
        .collect();
    rig.add(task("last", after_any(&names), concurrency));
    for id in ids {
        rig.run(id);
    }
    let origins = rig.starts();
    for origin in &origins {
        rig.started(origin);
    }
    rig.effects.clear();
    rig.prompt = false;
    let events = origins.iter().map(over);
    if together {
        rig.core.handle_all(rig.now, events);
    } else {
        events.for_each(|event| rig.core.handle(rig.now, event));
    }
    rig.pump();
    let records = rig.records();
    let created = |record: &&Record| matches!(record, Record::RunCreated { .. });
    let skipped = records.iter().filter_map(|record| match record {
        Record::DependencySkipped { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    (records.iter().filter(created).count(), skipped.collect())
}

#[test]
fn many_ends_at_once_are_followed_as_one_after_the_other() {
    for (ends, concurrency) in [
        (20, "allow"),
        (20, "allow:30"),
        (20, "queue:1000"),
        (17, "queue"),
        (2, "queue:1"),
        (2, "forbid"),
        (2, "replace"),
    ] {
        let one_by_one = followed(ends, concurrency, false);
        assert_eq!(followed(ends, concurrency, true), one_by_one, "{ends} {concurrency}");
        assert_eq!(one_by_one.0 + one_by_one.1.len(), ends);
    }
}

#[test]
fn what_a_lost_runner_said_last_starts_nothing_with_it() {
    let mut rig = Rig::new();
    let first = rig.add(definition("t0", When::Manual));
    rig.add(task("last", after_any(&["t0".to_owned()]), "allow"));
    rig.add(definition("due", every(60_000)));
    rig.run(first);
    let origin = rig.starts().pop().unwrap();
    rig.started(&origin);
    rig.pass(59_000);
    rig.now = at(60_001);
    rig.core.handle_all(rig.now, [Event::RunnerLost, over(&origin)]);
    rig.pump();
    assert_eq!(rig.starts(), []);
    rig.attach(2, Vec::new());
    rig.tell(Event::Tick);
    let mut started: Vec<String> = rig.starts().iter().map(|origin| origin.name.to_string()).collect();
    started.sort();
    assert_eq!(started, ["due", "last"]);
}
