//! The daemon and its runner are killed at once: what may have started, and what cannot have.

use super::recovery::{next_life, unrecorded};
use super::*;

/// What a runner had begun that was killed with this run, as the next one tells.
fn inventory_after(instance: u64, begun: &[Origin]) -> Event {
    let begun = begun.iter().map(|origin| Begun {
        attempt: origin.attempt,
        trigger: origin.trigger,
        fire_time: origin.fire_time,
        created_at: origin.created_at,
        trace_id: origin.trace_id,
    });
    Event::RunnerAttached(Inventory {
        instance,
        also: vec![1],
        begun: begun.collect(),
        ..Inventory::default()
    })
}

#[test]
fn what_a_killed_runner_had_not_begun_starts_and_what_it_had_is_unknown() {
    let (rig, _, origin) = unrecorded();
    // It had not read that it should.
    let mut next = rig.restart();
    next.now = at(MINUTE + 2000);
    next.tell(inventory_after(2, &[]));
    assert_eq!(next.start().fire_time, Some(at(MINUTE)));
    // It had.
    let mut next = rig.restart();
    next.now = at(MINUTE + 2000);
    next.tell(inventory_after(2, std::slice::from_ref(&origin)));
    let effects = next.effects.clone();
    let why = "the runner ended under it".to_owned();
    let unknown = (origin.attempt.run, Outcome::Unknown, Some(why));
    assert_eq!(next.outcomes(), [unknown]);
    next.effects = effects;
    assert_eq!(next.starts(), []);
    next.pass(2 * MINUTE - 1);
    assert_eq!(next.starts(), [], "nor later");
    let record = next.disk.iter().find_map(|record| match record {
        Record::RunCreated { run, trace_id, .. } if *run == origin.attempt.run => Some(*trace_id),
        _ => None,
    });
    assert_eq!(record, Some(origin.trace_id), "it is known by its own trace id");
    // Told again by the next, it is nothing new.
    let mut again = next.restart();
    again.tell(inventory_after(3, std::slice::from_ref(&origin)));
    assert_eq!(again.outcomes(), []);
}

#[test]
fn a_recorded_run_that_a_killed_runner_had_begun_is_not_started_again() {
    for begun in [false, true] {
        let (mut rig, origin) = next_life(false, false);
        let all = [origin.clone()];
        rig.tell(inventory_after(2, if begun { &all } else { &[] }));
        let effects = rig.effects.clone();
        assert_eq!(rig.starts().len(), usize::from(!begun));
        rig.effects = effects;
        let told = rig.outcomes();
        assert_eq!(told.iter().any(|(_, outcome, _)| *outcome == Outcome::Unknown), begun);
    }
}

#[test]
fn what_begins_after_one_that_was_killed_waits_until_it_is_known_who_is_attached() {
    let (rig, _, _) = unrecorded();
    let mut next = rig.restart();
    next.now = at(MINUTE + 2000);
    next.prompt = false;
    next.tell(inventory_after(2, &[]));
    assert_eq!(next.starts(), [], "a third would be told of this one alone");
    next.store();
    assert_eq!(next.starts().len(), 1);
}

/// A task that is due each second, its start at 57 s, which is not recorded, and the horizon at 60 s. The next life, with another
/// runner, comes so much later, with the clock set by so much, in the same boot or not.
fn lost_at_57(boot: Event, later: u64, set: i64, id: u128) -> (Rig, TaskId) {
    let mut rig = Rig::bare(Limits::default());
    rig.tell(boot);
    rig.attach(1, Vec::new());
    let task = rig.add(definition("a", every(1000)));
    rig.pass(56_999);
    for origin in rig.starts() {
        rig.ended(&origin, ended(Exit::Code(0)));
    }
    rig.effects.clear();
    rig.prompt = false;
    rig.go(57_000);
    assert_eq!((rig.start().attempt.run.n, rig.core.horizon()), (2, at(60_000)));
    let mut next = rig.restart();
    let set_by = |at: Timestamp| Timestamp::from_millis(at.as_millis() + set);
    next.now = set_by(at(57_000 + later));
    next.tell(Event::Booted(Boot { id, at: set_by(at(0)) }));
    next.attach(2, Vec::new());
    (next, task)
}

#[test]
fn what_the_clock_had_not_come_to_is_not_lost_with_a_runner() {
    for (boot, later, set, id, last) in [
        (booted(7), 400, 0, 7, 57_000),
        (booted(7), 1400, 0, 7, 58_000),
        // Set back by two seconds, it may have come to 59.4 s before.
        (booted(7), 2400, -2000, 7, 59_000),
        (booted(7), 400, 1000, 7, 58_000),
        // Nobody knows what it was set by.
        (booted(7), 400, 0, 8, 60_000),
        (Event::Tick, 400, 0, 7, 60_000),
    ] {
        let case = format!("{later} ms later, set by {set} ms, boot {id}");
        let (mut rig, _) = lost_at_57(boot, later, set, id);
        let why = "taskd and its runner ended before it was recorded".to_owned();
        let mut next = 57_000;
        for (passing, first, last, count, reason) in rig.passed() {
            assert_eq!(
                (passing, first, reason),
                (Passing::Unknown, next, why.clone()),
                "{case}"
            );
            next += 1000 * count;
            assert_eq!(last + 1000, next, "{case}");
        }
        assert_eq!(next, last + 1000, "{case}");
        rig.pass(last + 1000);
        assert_eq!(rig.start().fire_time, Some(at(last + 1000)), "{case}");
    }
}

#[test]
fn no_number_of_a_run_that_may_have_been_is_given_again() {
    let (mut rig, task) = lost_at_57(booted(7), 1400, 0, 7);
    // Those at 57 s and at 58 s.
    assert_eq!(rig.core.task(task).unwrap().last_run, 3);
    assert_eq!(rig.restart().core.task(task).unwrap().last_run, 3);
    rig.pass(59_000);
    assert_eq!(rig.start().attempt.run.n, 4);
}

#[test]
fn what_starts_by_a_clock_that_was_set_ahead_waits_until_that_is_durable() {
    // With the life, and within it.
    for (with_life, within) in [(1000, 0), (0, 1000)] {
        let (mut rig, _) = lost_at_57(booted(7), 400, with_life, 7);
        rig.effects.clear();
        rig.prompt = false;
        let ahead = with_life.cast_unsigned() + within;
        rig.now = at(58_000 + ahead);
        let boot = Boot { id: 7, at: at(ahead) };
        rig.tell(Event::Booted(boot));
        rig.tell(Event::ClockStepped);
        let mut starts = rig.starts();
        assert_eq!(starts.len(), usize::from(within == 0), "{within} ms ahead");
        rig.effects.clear();
        rig.store();
        starts.append(&mut rig.starts());
        assert_eq!((starts.len(), starts[0].fire_time), (1, Some(at(59_000))));
        // Nothing of that is recorded, and the clock is as it was before.
        let mut next = rig.restart();
        next.now = at(58_300);
        next.tell(booted(7));
        next.attach(3, Vec::new());
        next.effects.clear();
        next.pass(59_500);
        assert_eq!(next.starts(), []);
    }
}

#[test]
fn an_earlier_horizon_on_its_way_does_not_stand_for_one_by_the_clock_that_was_set() {
    let mut rig = Rig::bare(Limits::default());
    rig.tell(booted(7));
    rig.attach(1, Vec::new());
    rig.add(definition("a", every(1000)));
    let end_all = |rig: &mut Rig| {
        for origin in rig.starts() {
            rig.ended(&origin, ended(Exit::Code(0)));
        }
    };
    for second in 1..=5 {
        rig.pass(second * 1000);
        end_all(&mut rig);
    }
    rig.prompt = false;
    rig.pass(6_000);
    end_all(&mut rig);
    // The clock is set ahead while an extension is on its way.
    rig.now = at(8_600);
    rig.tell(Event::Booted(Boot { id: 7, at: at(2_500) }));
    rig.tell(Event::ClockStepped);
    rig.effects.clear();
    while rig.batches.len() > 1 {
        let (ticket, _) = rig.sent.remove(0);
        let (_, records) = rig.batches.remove(0);
        rig.disk.extend(records);
        rig.tell(Event::Durable(ticket));
    }
    assert_eq!(rig.starts(), [], "what is durable is by the clock as it was");
    rig.store();
    assert_eq!(rig.starts().len(), 1);
}

#[test]
fn what_starts_behind_a_horizon_by_another_clock_waits_for_one_by_this() {
    for beyond in [0, 10] {
        let mut rig = Rig::bare(Limits::default());
        rig.tell(booted(7));
        rig.attach(1, Vec::new());
        rig.add(definition("a", every(1000)));
        rig.pass(2000);
        rig.prompt = false;
        let horizon = rig.core.horizon();
        rig.now = horizon.plus(Duration::from_millis(beyond));
        let ahead = rig.now.since(at(2000)).as_millis() as u64;
        rig.tell(Event::Booted(Boot { id: 7, at: at(ahead) }));
        rig.effects.clear();
        rig.tell(Event::ClockStepped);
        if beyond > 0 {
            // Back within it, and still ahead of what it was.
            rig.now = at(5_000);
            rig.tell(Event::Booted(Boot { id: 7, at: at(3_000) }));
            rig.tell(Event::ClockStepped);
        }
        rig.tell(Event::Tick);
        assert_eq!(rig.starts(), [], "{beyond} ms beyond it");
    }
}

#[test]
fn numbers_that_are_lost_become_durable_with_what_is_told_of_them() {
    let (rig, _) = lost_at_57(booted(7), 400, 0, 7);
    let is_passed = |record: &Record| {
        matches!(
            record,
            Record::Passed {
                passing: Passing::Unknown,
                ..
            }
        )
    };
    let disk = &rig.disk;
    let at = disk.iter().position(is_passed).expect("one is unknown");
    let image = Scheduler::replay(catalog(), Limits::default(), [3, 4], disk[..at].to_vec()).snapshot();
    let limits = Limits {
        batch: std::num::NonZeroUsize::MIN,
        ..Limits::default()
    };
    let core = Scheduler::restore(catalog(), limits, [5, 6], image.tasks.into_iter(), image.rest);
    let mut next = Rig::of(core);
    (next.now, next.prompt) = (super::at(57_400), false);
    next.tell(booted(7));
    next.attach(3, Vec::new());
    let mut batches = next.batches.iter().filter(|(_, batch)| batch.iter().any(is_passed));
    let (_, batch) = batches.next().expect("it is told");
    assert!(
        batch.iter().any(|record| matches!(record, Record::NumbersLost { .. })),
        "{batch:?}"
    );
}

#[test]
fn a_long_sleep_before_both_were_killed_takes_few_numbers() {
    let mut rig = Rig::bare(Limits::default());
    rig.tell(booted(7));
    rig.attach(1, Vec::new());
    let task = rig.add(definition("a", every(1000)));
    rig.pass(5_000);
    let before = rig.core.task(task).unwrap().last_run;
    rig.now = at(8 * HOUR);
    rig.prompt = false;
    rig.tell(Event::Tick);
    let is_horizon = |record: &Record| matches!(record, Record::Horizon { .. });
    let horizon = rig.batches.iter().position(|(_, batch)| batch.iter().any(is_horizon));
    for (_, records) in rig.batches.drain(..=horizon.expect("it is put ahead")) {
        rig.disk.extend(records);
    }
    let mut next = rig.restart();
    next.now = at(8 * HOUR + 500);
    next.tell(booted(7));
    next.attach(2, Vec::new());
    let lost = next.core.task(task).unwrap().last_run - before;
    assert!((1..1000).contains(&lost), "{lost}");
}

#[test]
fn a_begun_run_of_a_task_that_was_removed_is_unknown() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", When::Manual));
    rig.run(id);
    let origin = rig.start();
    let ids = vec![id];
    rig.apply(Command::Remove {
        ids,
        running: WhileRunning::Keep,
        reason: "removed".to_owned(),
    })
    .unwrap();
    let mut next = rig.restart();
    next.tell(inventory_after(2, std::slice::from_ref(&origin)));
    assert_eq!(next.outcomes()[0].1, Outcome::Unknown);
}

#[test]
fn what_one_beside_is_about_to_spawn_keeps_nothing_else_from_being_known() {
    for (instance, also) in [(2, vec![1]), (3, vec![1, 2])] {
        let (mut rig, origin) = next_life(false, false);
        let other = rig.add(definition("b", When::Manual));
        let beside = || Inventory {
            instance: 2,
            also: vec![1],
            live: vec![Live {
                pid: 0,
                ..live(&origin)
            }],
            ..Inventory::default()
        };
        rig.tell(Event::RunnerAttached(beside()));
        rig.effects.clear();
        rig.run(other);
        let start = rig.start();
        rig.tell(Event::RunnerLost);
        rig.effects.clear();
        // The other one is still there, and what this one had begun is known: nothing.
        rig.tell(Event::RunnerAttached(Inventory {
            instance,
            also,
            ..beside()
        }));
        assert_eq!(rig.start(), start, "by runner {instance}");
    }
}

#[test]
fn nothing_starts_in_a_runner_before_it_is_durable_that_it_is_attached() {
    let mut rig = Rig::new();
    rig.add(definition("a", every(MINUTE)));
    let of = |instance, also: &[u64]| {
        Event::RunnerAttached(Inventory {
            instance,
            also: also.to_vec(),
            ..Inventory::default()
        })
    };
    rig.tell(of(2, &[1]));
    rig.pass(MINUTE - 1);
    // Of the two the older one goes on, for no other can be started, and nothing becomes durable any more.
    rig.prompt = false;
    rig.tell(Event::RunnerLost);
    rig.tell(of(1, &[]));
    rig.effects.clear();
    rig.go(MINUTE);
    assert_eq!(rig.starts(), []);
    // All are killed, and only the newer one has left what it knew: so none was started.
    let mut next = rig.restart();
    next.now = at(MINUTE + 2000);
    next.tell(of(3, &[2]));
    assert_eq!(next.start().fire_time, Some(at(MINUTE)));
}
