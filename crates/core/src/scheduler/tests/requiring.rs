//! Tasks that start only where the last run of others succeeded.

use std::sync::Arc;

use super::*;
use crate::dependency::{Upstream, Upstreams};
use crate::requirement::Requirement;
use crate::run::{Stopped, TraceId, Trigger};
use crate::task::Terms;

fn name(text: &str) -> TaskName {
    TaskName::parse(text).unwrap()
}

/// A schedule with what it requires, as in `a:26h`.
fn requiring(when: When, of: &[&str]) -> When {
    When::Termed(Box::new(Terms {
        requires: of.iter().map(|text| Requirement::parse(text).unwrap()).collect(),
        ..Terms::of(when)
    }))
}

fn after(of: &str) -> When {
    When::After(Upstreams {
        of: vec![Upstream::parse(of).unwrap()],
        any: false,
    })
}

fn manual(text: &str) -> Definition {
    definition(text, When::Manual)
}

/// An end at the time that the rig shows.
fn end(rig: &Rig, exit: Exit) -> AttemptEnd {
    AttemptEnd {
        started_at: rig.now,
        finished_at: rig.now,
        ..ended(exit)
    }
}

/// Runs a task by hand to this exit code.
fn run_to(rig: &mut Rig, id: TaskId, code: i32) {
    rig.effects.clear();
    rig.run(id);
    let origin = rig.start();
    rig.started(&origin);
    let end = end(rig, Exit::Code(code));
    rig.ended(&origin, end);
}

/// Ends what runs of a task with success.
fn finish(rig: &mut Rig, origin: &Origin) {
    rig.started(origin);
    let end = end(rig, Exit::Code(0));
    rig.ended(origin, end);
}

/// A rig with a task `a` that is run by hand, and a task `b` that is due each hour and requires it so.
fn hourly(required: &str) -> (Rig, TaskId, TaskId) {
    let mut rig = Rig::new();
    let a = rig.add(manual("a"));
    let b = rig.add(definition("b", requiring(every(HOUR), &[required])));
    (rig, a, b)
}

/// What becomes of the fire time at an hour: the start, or why there is none. What starts succeeds at once.
fn fate(rig: &mut Rig, hour: u64) -> Result<(), String> {
    rig.pass(hour * HOUR - 1);
    rig.effects.clear();
    rig.pass(hour * HOUR);
    let effects = rig.effects.clone();
    let starts = rig.starts();
    rig.effects = effects;
    let passed = rig.passed();
    match (starts.as_slice(), passed.as_slice()) {
        ([origin], []) => {
            assert_eq!((origin.name.as_str(), origin.fire_time), ("b", Some(at(hour * HOUR))));
            finish(rig, origin);
            Ok(())
        }
        ([], [(Passing::Skipped, first, last, 1, reason)]) => {
            assert_eq!((*first, *last), (hour * HOUR, hour * HOUR));
            Err(reason.clone())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_fire_time_is_skipped_until_what_is_required_has_succeeded() {
    let (mut rig, a, b) = hourly("a");
    assert_eq!(fate(&mut rig, 1).unwrap_err(), "requires a: it has not run");
    run_to(&mut rig, a, 3);
    let failed = fate(&mut rig, 2).unwrap_err();
    assert_eq!(failed, format!("requires a: its last run failed at {}", at(HOUR)));
    assert_eq!(rig.core.task(b).unwrap().last_run, 0, "a skip is no run");
    run_to(&mut rig, a, 0);
    for hour in 3..50 {
        assert_eq!(fate(&mut rig, hour), Ok(()), "however long ago");
    }
    run_to(&mut rig, a, 1);
    assert!(fate(&mut rig, 50).is_err(), "the last one counts, and no earlier one");
}

#[test]
fn a_success_that_is_too_old_counts_no_more() {
    let (mut rig, a, _) = hourly("a:2h");
    run_to(&mut rig, a, 0);
    assert_eq!(fate(&mut rig, 1), Ok(()));
    assert_eq!(fate(&mut rig, 2), Ok(()), "the last instant");
    let old = fate(&mut rig, 3).unwrap_err();
    let began = at(0);
    assert_eq!(
        old,
        format!("requires a within 2h: its last run succeeded at {began}, longer ago than that")
    );
    run_to(&mut rig, a, 0);
    assert_eq!(fate(&mut rig, 4), Ok(()));
}

#[test]
fn a_run_counts_when_it_has_ended_and_one_that_did_not_run_never() {
    let (mut rig, a, _) = hourly("a");
    run_to(&mut rig, a, 0);
    rig.effects.clear();
    let run = rig.run(a);
    let origin = rig.start();
    assert_eq!(fate(&mut rig, 1), Ok(()), "the one before it counts while it runs");
    // Its gate is closed.
    rig.ended(
        &origin,
        AttemptEnd {
            pid: 0,
            ..ended(Exit::GateClosed {
                reading: "on battery".to_owned(),
            })
        },
    );
    assert!(rig.core.run(run).is_none());
    assert_eq!(fate(&mut rig, 2), Ok(()), "it did not run");
    // One that was cancelled in the middle did.
    rig.effects.clear();
    let run = rig.run(a);
    let origin = rig.start();
    rig.started(&origin);
    rig.apply(cancel(run)).unwrap();
    let stopped = AttemptEnd {
        stopped: Some(Stopped::Asked),
        ..end(&rig, Exit::Signal(15))
    };
    rig.ended(&origin, stopped);
    let cancelled = fate(&mut rig, 3).unwrap_err();
    assert!(
        cancelled.starts_with("requires a: its last run was cancelled at "),
        "{cancelled}"
    );
}

#[test]
fn a_run_that_was_called_off_while_it_waited_is_none() {
    let mut rig = Rig::limited(Limits {
        running: 1,
        ..Limits::default()
    });
    let (a, busy) = (rig.add(manual("a")), rig.add(manual("busy")));
    run_to(&mut rig, a, 0);
    rig.add(definition("b", requiring(every(HOUR), &["a"])));
    rig.effects.clear();
    rig.run(busy);
    let origin = rig.start();
    let waits = rig.run(a);
    rig.apply(cancel(waits)).unwrap();
    assert!(rig.core.run(waits).is_none());
    finish(&mut rig, &origin);
    assert_eq!(fate(&mut rig, 1), Ok(()));
}

#[test]
fn an_end_that_nobody_knows_is_no_success() {
    let (mut rig, a, _) = hourly("a");
    run_to(&mut rig, a, 0);
    rig.effects.clear();
    rig.run(a);
    let origin = rig.start();
    rig.started(&origin);
    rig.tell(Event::RunnerLost);
    rig.attach(2, Vec::new());
    let unknown = fate(&mut rig, 1).unwrap_err();
    let began = at(0);
    assert_eq!(
        unknown,
        format!("requires a: its last run ended in a way that nobody knows, recorded at {began}")
    );
}

#[test]
fn all_that_is_required_must_hold() {
    let mut rig = Rig::new();
    let (a, c) = (rig.add(manual("a")), rig.add(manual("c")));
    rig.add(manual("d"));
    rig.add(definition("b", requiring(every(HOUR), &["a", "c", "d"])));
    let none = fate(&mut rig, 1).unwrap_err();
    assert_eq!(none, "requires a: it has not run (and 2 more do not hold)");
    run_to(&mut rig, a, 0);
    assert_eq!(
        fate(&mut rig, 2).unwrap_err(),
        "requires c: it has not run (and 1 more does not hold)"
    );
    run_to(&mut rig, c, 0);
    assert_eq!(fate(&mut rig, 3).unwrap_err(), "requires d: it has not run");
}

#[test]
fn a_run_that_is_asked_for_and_one_that_exists_are_not_held() {
    let (mut rig, a, b) = hourly("a");
    assert!(fate(&mut rig, 1).is_err());
    rig.effects.clear();
    rig.run(b);
    let origin = rig.start();
    finish(&mut rig, &origin);
    let backfill = Command::Backfill {
        id: b,
        from: at(HOUR),
        until: at(HOUR),
    };
    rig.effects.clear();
    rig.apply(backfill).unwrap();
    let origin = rig.start();
    assert_eq!((origin.attempt.run.n, origin.trigger), (2, Trigger::Backfill));
    finish(&mut rig, &origin);
    // One that waits for its place starts whatever happens meanwhile.
    run_to(&mut rig, a, 0);
    let mut queues = definition("q", requiring(every(HOUR), &["a"]));
    queues.policies.concurrency = crate::policy::Concurrency::Queue {
        waiting: const { std::num::NonZeroU32::new(4).unwrap() },
    };
    let q = rig.add(queues);
    rig.effects.clear();
    rig.run(q);
    let first = rig.start();
    rig.pass(2 * HOUR);
    rig.effects.clear();
    assert_eq!(rig.core.runs_of(q).count(), 2);
    run_to(&mut rig, a, 1);
    rig.effects.clear();
    finish(&mut rig, &first);
    assert_eq!(rig.start().attempt.run, RunKey { task: q, n: 2 });
}

#[test]
fn a_skip_replaces_no_run() {
    let (mut rig, a, _) = hourly("a");
    run_to(&mut rig, a, 1);
    let mut replaces = definition("r", requiring(every(HOUR), &["a"]));
    replaces.policies.concurrency = crate::policy::Concurrency::Replace;
    let r = rig.add(replaces);
    rig.effects.clear();
    rig.run(r);
    let origin = rig.start();
    rig.started(&origin);
    rig.pass(HOUR);
    assert_eq!(rig.stops(), []);
    assert_eq!(rig.core.runs_of(r).collect::<Vec<_>>(), [origin.attempt.run]);
}

#[test]
fn what_is_made_up_for_is_held_too() {
    for (misfire, count) in [
        (
            Misfire::Once {
                within_ms: (9 * HOUR).try_into().unwrap(),
            },
            1,
        ),
        (Misfire::All { within_ms: None }, 3),
    ] {
        let mut rig = Rig::new();
        let a = rig.add(manual("a"));
        let mut task = definition("b", requiring(every(HOUR), &["a:2h"]));
        task.policies.misfire = misfire;
        let b = rig.add(task);
        run_to(&mut rig, a, 0);
        let down = |until| {
            let mut next = rig.restart();
            next.now = at(until);
            next.attach(1, Vec::new());
            next
        };
        // The fire time had it, and what counts is the moment at which it would start.
        let mut late = down(3 * HOUR + 30 * MINUTE);
        let passed = late.passed();
        let skipped = passed.iter().filter(|(passing, ..)| *passing == Passing::Skipped);
        assert_eq!(skipped.map(|(.., count, _)| count).sum::<u64>(), count, "{passed:?}");
        assert!(
            passed.last().unwrap().4.starts_with("requires a within 2h: "),
            "{passed:?}"
        );
        assert_eq!(late.core.task(b).unwrap().last_run, 0);
        let mut in_time = down(HOUR + 30 * MINUTE);
        assert_eq!(in_time.start().trigger, Trigger::CatchUp);
    }
}

#[test]
fn a_boot_and_the_end_of_another_are_held_too() {
    let mut rig = Rig::new();
    let (a, c) = (rig.add(manual("a")), rig.add(manual("c")));
    let boots = rig.add(definition("boots", requiring(When::Boot, &["a"])));
    let follows = rig.add(definition("follows", requiring(after("c"), &["a"])));
    let skipped = |rig: &mut Rig| {
        let reason = |record| match record {
            Record::BootSkipped { task, reason, .. } | Record::DependencySkipped { task, reason, .. } => {
                Some((task, reason))
            }
            _ => None,
        };
        rig.records().into_iter().filter_map(reason).collect::<Vec<_>>()
    };
    rig.tell(booted(7));
    let why = "after a boot: requires a: it has not run".to_owned();
    assert_eq!(skipped(&mut rig), [(boots, why)]);
    run_to(&mut rig, c, 0);
    let why = "after c/1: requires a: it has not run".to_owned();
    assert_eq!(skipped(&mut rig), [(follows, why)]);
    assert!(rig.core.snapshot().rest.owed.is_empty(), "it is settled");
    run_to(&mut rig, a, 0);
    rig.effects.clear();
    rig.tell(booted(8));
    let origin = rig.start();
    assert_eq!(origin.attempt.run.task, boots);
    finish(&mut rig, &origin);
    run_to(&mut rig, c, 0);
    assert_eq!(rig.start().attempt.run.task, follows);
}

#[test]
fn what_is_required_for_the_first_time_has_its_last_end_at_hand() {
    let mut rig = Rig::new();
    let (a, x) = (rig.add(manual("a")), rig.add(manual("x")));
    run_to(&mut rig, a, 0);
    // Ends that come while it is decided count as well, in this life and in the next.
    rig.effects.clear();
    rig.run(x);
    let origin = rig.start();
    rig.started(&origin);
    rig.prompt = false;
    let definitions = vec![definition("b", requiring(every(HOUR), &["a", "x"]))];
    rig.apply(Command::Add { owner: ME, definitions }).unwrap();
    let failed = end(&rig, Exit::Code(1));
    rig.ended(&origin, failed);
    rig.store();
    rig.prompt = true;
    let mut next = rig.restart();
    next.attach(1, Vec::new());
    for rig in [&mut rig, &mut next] {
        let failed = fate(rig, 1).unwrap_err();
        assert_eq!(failed, format!("requires x: its last run failed at {}", at(0)));
    }
}

#[test]
fn the_last_end_is_known_to_the_next_life_and_taken_from_the_runner_first() {
    let (mut rig, a, _) = hourly("a");
    run_to(&mut rig, a, 0);
    rig.effects.clear();
    rig.run(a);
    let origin = rig.start();
    rig.started(&origin);
    rig.pass(30 * MINUTE);
    let next = |ended| {
        let mut next = rig.restart();
        next.now = at(HOUR + 30 * MINUTE);
        next.attach_with(1, Vec::new(), ended);
        next
    };
    let live = vec![live(&origin)];
    let mut still_runs = rig.restart();
    still_runs.attach(1, live);
    assert_eq!(fate(&mut still_runs, 1), Ok(()), "the end before it");
    // It ended while no daemon was there, before the fire time was dealt with.
    let failed = AttemptEnd {
        finished_at: at(31 * MINUTE),
        ..ended(Exit::Code(1))
    };
    let mut ended_meanwhile = next(vec![(origin.clone(), failed)]);
    let passed = ended_meanwhile.passed();
    let reason = format!("requires a: its last run failed at {}", at(31 * MINUTE));
    assert_eq!(passed, [(Passing::Skipped, HOUR, HOUR, 1, reason)]);
}

#[test]
fn a_clock_that_was_far_ahead_leaves_no_success_that_is_never_too_old() {
    let (mut rig, a, _) = hourly("a:2h");
    rig.now = at(1000 * HOUR);
    run_to(&mut rig, a, 0);
    rig.now = at(1);
    rig.tell(Event::ClockStepped);
    rig.pass(HOUR - 1);
    rig.effects.clear();
    rig.pass(HOUR);
    let passed = rig.passed();
    assert!(passed[0].4.ends_with("which is ahead of the clock"), "{passed:?}");
}

#[test]
fn a_cycle_of_what_comes_after_and_what_is_required_is_refused_with_its_path() {
    let mut rig = Rig::new();
    let a = rig.add(manual("a"));
    rig.add(definition("b", after("a")));
    rig.add(definition("c", requiring(every(HOUR), &["b"])));
    let refused = rig
        .apply(edit(a, definition("a", requiring(every(HOUR), &["c:1h"]))))
        .unwrap_err();
    let path = ["a", "b", "c", "a"].map(name).to_vec();
    assert_eq!(
        refused,
        Refusal::Cycle {
            path,
            required: true,
            index: 0
        }
    );
    let refused = rig.apply(edit(a, definition("a", after("c")))).unwrap_err();
    assert!(matches!(refused, Refusal::Cycle { required: false, .. }));
    let own = rig
        .apply(edit(a, definition("a", requiring(every(HOUR), &["a"]))))
        .unwrap_err();
    let path = vec![name("a"), name("a")];
    assert_eq!(
        own,
        Refusal::Cycle {
            path,
            required: true,
            index: 0
        }
    );
}

#[test]
fn what_is_required_is_there_and_stays() {
    let mut rig = Rig::new();
    let definitions = vec![definition("b", requiring(every(HOUR), &["a"]))];
    let add = Command::Add { owner: ME, definitions };
    let gone = Refusal::NoUpstream {
        name: name("a"),
        required: true,
        index: 0,
    };
    assert_eq!(rig.apply(add.clone()).unwrap_err(), gone);
    let a = rig.add(manual("a"));
    rig.prompt = false;
    rig.apply(add).unwrap();
    let remove = |ids: &[TaskId]| Command::Remove {
        ids: ids.to_vec(),
        running: WhileRunning::Refuse,
        reason: "removed".to_owned(),
    };
    assert_eq!(
        rig.apply(remove(&[a])).unwrap_err(),
        Refusal::Busy,
        "it is coming to be named"
    );
    rig.store();
    rig.prompt = true;
    let named = Refusal::StillNamed {
        name: name("a"),
        by: vec![name("b")],
        more: 0,
    };
    assert_eq!(rig.apply(remove(&[a])).unwrap_err(), named);
    assert_eq!(rig.apply(edit(a, manual("other"))).unwrap_err(), named);
    // Without the requirement it may go, and what is known of its end goes with it.
    let b = TaskId(a.0 + 1);
    run_to(&mut rig, a, 0);
    rig.apply(edit(b, definition("b", every(HOUR)))).unwrap();
    rig.apply(remove(&[a])).unwrap();
    assert_eq!(rig.core.last_end(a), None);
    let anew = rig.add(manual("a"));
    assert_eq!(
        rig.core.last_end(anew),
        None,
        "another task of the same name has not run"
    );
}

#[test]
fn tasks_of_others_are_not_meant() {
    let mut rig = Rig::new();
    let theirs = Owner(ME.0 + 1);
    let definitions = vec![manual("a")];
    rig.apply(Command::Add {
        owner: theirs,
        definitions,
    })
    .unwrap();
    let definitions = vec![definition("b", requiring(every(HOUR), &["a"]))];
    let refused = rig.apply(Command::Add { owner: ME, definitions }).unwrap_err();
    assert!(matches!(refused, Refusal::NoUpstream { .. }));
}

#[test]
fn the_tasks_of_an_import_require_each_other_in_any_order() {
    let mut rig = Rig::new();
    let count = const { std::num::NonZeroU64::new(2).unwrap() };
    let accepted = rig.apply(Command::BeginImport { owner: ME, count }).unwrap();
    let Reply::Importing(import) = accepted.reply else {
        panic!("{accepted:?}")
    };
    for part in [definition("b", requiring(every(HOUR), &["a"])), manual("a")] {
        let definitions = vec![Arc::new(part)];
        rig.apply(Command::Stage { import, definitions }).unwrap();
    }
    rig.apply(Command::EndImport { import }).unwrap();
    run_to(&mut rig, TaskId(import.0 + 1), 0);
    assert_eq!(fate(&mut rig, 1), Ok(()));
}

#[test]
fn only_what_a_run_follows_decides_its_trace_id() {
    let (mut rig, a, _) = hourly("a");
    run_to(&mut rig, a, 0);
    let of_a: Vec<TraceId> = rig
        .disk
        .iter()
        .filter_map(|record| match record {
            Record::RunCreated { trace_id, .. } => Some(*trace_id),
            _ => None,
        })
        .collect();
    rig.effects.clear();
    rig.pass(HOUR);
    assert!(
        !of_a.contains(&rig.start().trace_id),
        "nothing triggered it but the clock"
    );
}
