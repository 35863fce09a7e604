//! What is late: many at once, a slow store, a stop at a bad moment; and the reasons that are told.

use super::*;
use crate::command::WhileRunning;

#[test]
fn a_night_of_a_thousand_tasks_is_dealt_with_in_turns() {
    let limits = Limits {
        running: 5_000,
        ..Limits::default()
    };
    let mut rig = Rig::limited(limits);
    for n in 0..1_200 {
        rig.add(definition(&format!("t{n}"), every(HOUR)));
    }
    rig.now = at(HOUR - 1000);
    rig.tell(Event::Tick);
    rig.effects.clear();
    rig.prompt = false;
    let mut turns = Vec::new();
    rig.now = at(HOUR);
    while rig.core.next_wakeup().is_some_and(|wakeup| wakeup <= rig.now) {
        rig.tell(Event::Tick);
        turns.push(rig.starts().len());
    }
    assert_eq!(turns, [500, 500, 200]);
}

#[test]
fn a_store_that_takes_long_holds_starts_up_and_does_not_stop_them() {
    let mut rig = Rig::new();
    rig.add(definition("a", every(10 * MINUTE)));
    rig.prompt = false;
    let mut started = 0;
    for step in 0..HOUR / 6_000 {
        rig.now = at(step * 6_000);
        if rig.sent.is_empty() {
            rig.tell(Event::Tick);
        } else {
            // Every commit takes six seconds, longer than the horizon goes ahead.
            let (ticket, _) = rig.sent.remove(0);
            let (_, records) = rig.batches.remove(0);
            rig.disk.extend(records);
            rig.tell(Event::Durable(ticket));
        }
        for origin in rig.starts() {
            started += 1;
            rig.ended(&origin, ended(Exit::Code(0)));
        }
    }
    assert!(started >= 4, "{started} of 5 started");
}

#[test]
fn a_stall_of_the_store_is_told_as_such_however_long_it_was() {
    let mut rig = Rig::new();
    rig.add(definition("a", every(MINUTE)));
    rig.prompt = false;
    rig.go(MINUTE - 2_000);
    rig.go(30 * MINUTE + 30_000);
    rig.effects.clear();
    rig.prompt = true;
    rig.store();
    let missed = [(
        Passing::Missed,
        MINUTE,
        29 * MINUTE,
        29,
        "the store took no changes".to_owned(),
    )];
    assert_eq!(rig.passed(), missed);
}

#[test]
fn what_an_orderly_stop_left_undone_is_no_secret() {
    // The runner is lost while something is due.
    let mut rig = Rig::new();
    rig.add(definition("a", every(MINUTE)));
    rig.go(MINUTE - 2_000);
    rig.tell(Event::RunnerLost);
    rig.go(MINUTE + 1_000);
    rig.tell(Event::Closing);
    caught_up(&rig);

    // The horizon is still on its way to the store.
    let mut rig = Rig::new();
    rig.add(definition("a", every(MINUTE)));
    rig.prompt = false;
    rig.go(MINUTE - 2_000);
    rig.go(MINUTE + 1_000);
    rig.tell(Event::Closing);
    rig.store();
    caught_up(&rig);
}

/// The next life knows that the fire time of the first minute was not started, also with another runner.
#[track_caller]
fn caught_up(rig: &Rig) {
    let mut next = rig.restart();
    next.now = at(MINUTE + 3_000);
    next.attach(2, Vec::new());
    assert_eq!(next.start().fire_time, Some(at(MINUTE)));
}

#[test]
fn a_reason_survives_a_clock_that_is_put_right() {
    let rig = Rig::new();
    let mut rig = rig.restart();
    rig.now = at(100 * HOUR);
    rig.tell(Event::ClockStepped);
    rig.attach(1, Vec::new());
    rig.now = at(0);
    rig.tell(Event::ClockStepped);
    rig.add(definition("a", every(MINUTE)));
    rig.effects.clear();
    rig.go(5 * HOUR);
    let reasons: Vec<String> = rig.passed().into_iter().map(|(.., reason)| reason).collect();
    assert_eq!(reasons, ["the machine was asleep or busy"]);
}

#[test]
fn a_start_that_was_lost_for_longer_than_the_policy_allows_is_missed() {
    for (hours, starts) in [(30, true), (1, false)] {
        let mut rig = Rig::new();
        let mut daily = definition("a", every(24 * HOUR));
        daily.policies = within(hours);
        rig.add(daily);
        rig.pass(24 * HOUR);
        let origin = rig.start();
        // The link broke with the start in it, and the daemon with the link.
        let mut next = rig.restart();
        next.now = at(47 * HOUR);
        next.attach(1, Vec::new());
        let effects = next.effects.clone();
        assert_eq!(next.starts().len(), usize::from(starts), "within {hours} h");
        next.effects = effects;
        let outcomes = next.outcomes();
        let missed = outcomes
            .iter()
            .find(|(run, outcome, _)| *run == origin.attempt.run && *outcome == Outcome::Missed);
        let reason = missed.map(|(.., reason)| reason.as_deref());
        let expected = (!starts).then_some(Some("it had not started, and taskd was not running"));
        assert_eq!(reason, expected, "{outcomes:?}");
    }
}

#[test]
fn a_run_that_comes_back_after_it_was_given_up_is_stopped() {
    let mut rig = Rig::new();
    rig.add(definition("a", every(MINUTE)));
    rig.pass(MINUTE);
    let origin = rig.start();
    rig.started(&origin);
    rig.tell(Event::RunnerLost);
    rig.attach(2, Vec::new());
    rig.tell(Event::RunnerLost);
    rig.effects.clear();
    rig.attach(1, vec![live(&origin)]);
    assert_eq!(rig.stops(), [origin.attempt]);
}

#[test]
fn a_crash_amid_what_is_given_up_starts_nothing_twice() {
    let mut rig = Rig::new();
    rig.add(definition("a", every(MINUTE)));
    rig.pass(MINUTE - 1);
    rig.effects.clear();
    rig.prompt = false;
    rig.go(MINUTE);
    assert_eq!(rig.starts().len(), 1);
    // The machine went down with the start unrecorded; the next life gives it up, a fact a batch, and is killed as well.
    let mut next = rig.restart();
    next.core.set_limits(Limits {
        batch: std::num::NonZeroUsize::MIN,
        ..Limits::default()
    });
    next.now = at(MINUTE + 1_000);
    next.prompt = false;
    next.attach(2, Vec::new());
    assert!(next.sent.len() > 1, "it is one batch");
    let (_, records) = next.batches.remove(0);
    next.disk.extend(records);
    let mut last = next.restart();
    last.now = at(MINUTE + 2_000);
    last.attach(2, Vec::new());
    assert_eq!(last.starts(), []);
}

#[test]
fn a_crash_of_the_runner_gives_up_nothing_that_is_due() {
    let mut rig = Rig::new();
    rig.add(definition("a", every(MINUTE)));
    rig.go(MINUTE - 2_000);
    rig.tell(Event::RunnerLost);
    rig.go(MINUTE + 1_000);
    rig.effects.clear();
    rig.attach(2, Vec::new());
    assert_eq!(rig.start().fire_time, Some(at(MINUTE)));
}

#[test]
fn a_waiting_run_does_not_start_without_its_task() {
    let mut rig = Rig::limited(Limits {
        running: 1,
        ..Limits::default()
    });
    let first = rig.add(definition("a", When::Manual));
    let second = rig.add(definition("b", When::Manual));
    rig.run(first);
    let origin = rig.start();
    rig.run(second);
    rig.prompt = false;
    let remove = Command::Remove {
        ids: vec![second],
        running: WhileRunning::Keep,
        reason: "its task was removed".to_owned(),
    };
    rig.apply(remove).unwrap();
    rig.ended(&origin, ended(Exit::Code(0)));
    rig.prompt = true;
    rig.store();
    let effects = rig.effects.clone();
    assert_eq!(rig.starts(), []);
    rig.effects = effects;
    let outcomes: Vec<Outcome> = rig.outcomes().into_iter().map(|(_, outcome, _)| outcome).collect();
    assert_eq!(outcomes, [Outcome::Succeeded, Outcome::Cancelled]);
}
