//! The clock is set, zones come and go.

use super::*;
use crate::scheduler::tasks::Schedules;

#[test]
fn a_step_back_repeats_nothing_up_to_the_bound() {
    for (back, reset) in [(3 * HOUR, false), (3 * HOUR + 1, true)] {
        let mut rig = Rig::new();
        let id = rig.add(definition("a", every(MINUTE)));
        rig.pass(10 * HOUR);
        rig.effects.clear();
        rig.now = at(10 * HOUR - back);
        rig.tell(Event::ClockStepped);
        let told = rig
            .notices()
            .iter()
            .any(|notice| matches!(notice, Notice::MarksReset { tasks: 1, .. }));
        assert_eq!(told, reset, "{back} ms back");
        let mark = if reset { rig.now } else { at(10 * HOUR) };
        assert_eq!(rig.core.task(id).unwrap().mark, mark, "{back} ms back");
    }
}

#[test]
fn a_horizon_that_was_written_by_a_wrong_clock_is_drawn_back() {
    let mut rig = Rig::new();
    rig.add(definition("a", every(MINUTE)));
    rig.pass(MINUTE);
    let origin = rig.start();
    rig.ended(&origin, ended(Exit::Code(0)));
    rig.now = at(1000 * HOUR);
    rig.tell(Event::ClockStepped);
    assert_eq!(rig.core.horizon(), at(1000 * HOUR + 5000));
    let origin = rig.start();
    rig.ended(&origin, ended(Exit::Code(0)));
    rig.now = at(HOUR);
    rig.tell(Event::ClockStepped);
    assert_eq!(rig.core.horizon(), at(HOUR));
    rig.pass(HOUR + MINUTE);
    assert_eq!(rig.start().fire_time, Some(at(HOUR + MINUTE)));
}

#[test]
fn a_firing_waits_until_the_mark_that_was_set_back_is_durable() {
    let mut rig = Rig::new();
    rig.add(definition("a", every(MINUTE)));
    rig.pass(10 * HOUR);
    rig.prompt = false;
    rig.now = at(HOUR);
    rig.tell(Event::ClockStepped);
    rig.effects.clear();
    rig.go(HOUR + MINUTE);
    assert_eq!(rig.starts(), []);
    assert_eq!(rig.core.next_wakeup(), None);
}

#[test]
fn an_instant_that_was_dealt_with_comes_once_whatever_the_clock_says() {
    let mut rig = Rig::new();
    rig.add(definition("a", once(10 * HOUR)));
    rig.pass(10 * HOUR);
    let origin = rig.start();
    rig.ended(&origin, ended(Exit::Code(0)));
    rig.now = at(6 * HOUR);
    rig.tell(Event::ClockStepped);
    rig.effects.clear();
    rig.pass(11 * HOUR);
    assert_eq!(rig.starts(), []);
}

#[test]
fn a_zone_that_is_back_before_the_first_runner_leaves_the_word_to_it() {
    let mut rig = Rig::new();
    rig.add(definition("a", zoned()));
    rig.pass(MINUTE - 1000);
    rig.prompt = false;
    rig.effects.clear();
    rig.go(MINUTE);
    let origin = rig.start();
    let image = Scheduler::replay(catalog(), Limits::default(), [3, 4], rig.disk.clone()).snapshot();
    let none = Catalog::new(Zones::new(TimeZoneDatabase::none()));
    let core = Scheduler::restore(none, Limits::default(), [5, 6], image.tasks.into_iter(), image.rest);
    let mut next = Rig::of(core);
    next.now = at(MINUTE + 500);
    next.tell(Event::ClockStepped);
    next.core.schedules = Schedules::new(catalog());
    next.tell(Event::ZonesChanged);
    next.attach(1, vec![live(&origin)]);
    let about = |record: &&Record| matches!(record, Record::Passed { .. } | Record::RunCreated { .. });
    let accounts: Vec<&Record> = next.disk.iter().filter(about).collect();
    assert!(
        matches!(accounts.as_slice(), [Record::RunCreated { .. }]),
        "{accounts:?}"
    );
}

#[test]
fn a_mark_far_ahead_is_found_by_the_next_life() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", every(MINUTE)));
    rig.pass(10 * HOUR);
    let mut rig = rig.restart();
    rig.now = at(HOUR);
    rig.tell(Event::Tick);
    assert_eq!(rig.core.task(id).unwrap().mark, at(HOUR));
}

#[test]
fn the_horizon_stands_for_what_an_earlier_life_started_until_a_runner_was_asked() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", every(10 * HOUR)));
    rig.pass(10 * HOUR - 1000);
    rig.prompt = false;
    rig.go(10 * HOUR);
    let origin = rig.start();
    assert!(
        !rig.disk
            .iter()
            .any(|record| matches!(record, Record::RunCreated { run, .. } if *run == origin.attempt.run))
    );
    // The clock is set back, and two lives come after that: the first of them meets no runner.
    let mut second = rig.restart();
    second.now = at(HOUR);
    second.tell(Event::ClockStepped);
    let mut third = second.restart();
    third.tell(Event::ClockStepped);
    let refused = third.apply(switch(&[id], false));
    assert_eq!(refused, Err(Refusal::NoRunner), "the run may be there");
    third.attach(1, vec![live(&origin)]);
    assert_eq!(third.core.horizon(), at(HOUR), "now it says nothing any more");
    assert_eq!(third.core.task(id).unwrap().mark, at(HOUR));
}

#[test]
fn what_was_not_heard_of_again_is_unknown_only_up_to_a_clock_that_was_set_back_far() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", every(HOUR)));
    rig.pass(10 * HOUR);
    // In between, marks are reset, and the horizon is a few seconds short of being as far.
    let mut next = rig.restart();
    next.now = at(7 * HOUR - 1000);
    next.attach(2, Vec::new());
    assert_eq!(next.core.task(id).unwrap().mark, next.now);
    assert_eq!(next.passed(), []);
    next.pass(7 * HOUR);
    assert_eq!(next.start().fire_time, Some(at(7 * HOUR)));
}

#[test]
fn a_mark_on_its_way_is_set_back_when_it_comes() {
    let mut rig = Rig::new();
    rig.go(10 * HOUR);
    rig.prompt = false;
    let id = rig.add(definition("a", every(MINUTE)));
    rig.now = at(HOUR);
    rig.tell(Event::ClockStepped);
    rig.store();
    assert_eq!(rig.core.task(id).unwrap().mark, at(HOUR));
}

#[test]
fn enabling_after_a_small_step_back_repeats_nothing() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", every(MINUTE)));
    rig.pass(10 * MINUTE);
    rig.now = at(5 * MINUTE);
    rig.tell(Event::ClockStepped);
    rig.apply(switch(&[id], false)).unwrap();
    rig.apply(switch(&[id], true)).unwrap();
    assert_eq!(rig.core.next_due(), Some(at(11 * MINUTE)));
}

fn zoned() -> When {
    When::Cron {
        expr: "* * * * *".to_owned(),
        tz: "Europe/Berlin".to_owned(),
        dst: DstRule::default(),
    }
}

fn without_zones() -> Schedules {
    Schedules::new(Catalog::new(Zones::new(TimeZoneDatabase::none())))
}

#[test]
fn a_task_whose_zone_vanished_is_held_and_never_run_in_utc() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", zoned()));
    rig.core.schedules = without_zones();
    rig.effects.clear();
    rig.tell(Event::ZonesChanged);
    assert!(matches!(rig.notices().as_slice(), [Notice::Held { .. }]));
    let view = rig.core.task(id).unwrap();
    assert!(
        view.held.is_some_and(|problem| problem.contains("Europe/Berlin")),
        "{:?}",
        view.held
    );
    assert_eq!((view.next, view.schedule), (None, None));
    assert_eq!(rig.core.next_due(), None);
    rig.go(10 * MINUTE);
    assert_eq!(rig.starts(), []);
    assert_eq!(
        rig.core.snapshot().tasks[0].outline.when,
        zoned(),
        "its definition stays"
    );

    rig.core.schedules = Schedules::new(catalog());
    rig.tell(Event::ZonesChanged);
    let passed = rig.passed();
    assert!(
        matches!(passed.as_slice(), [(Passing::Missed, .., why)] if why.starts_with("it was held: ") && why.contains("Europe/Berlin"))
    );
    assert!(rig.core.task(id).unwrap().held.is_none());
    assert!(rig.core.next_due().is_some());
}

#[test]
fn what_was_held_at_an_orderly_stop_was_not_started() {
    let mut rig = Rig::new();
    rig.add(definition("a", zoned()));
    rig.add(definition("b", every(MINUTE)));
    rig.core.schedules = without_zones();
    rig.tell(Event::ZonesChanged);
    rig.go(2 * MINUTE);
    for origin in rig.starts() {
        rig.started(&origin);
        rig.ended(&origin, ended(Exit::Code(0)));
    }
    rig.tell(Event::Closing);
    let mut next = rig.restart();
    next.now = at(3 * MINUTE + 30_000);
    // Another life of the runner: what the horizon says may have started is unknown then.
    next.attach(2, Vec::new());
    let passings: Vec<_> = next.passed().into_iter().map(|(passing, ..)| passing).collect();
    assert!(!passings.contains(&Passing::Unknown), "{passings:?}");
}

#[test]
fn a_task_that_cannot_be_read_at_start_is_held() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", zoned()));
    let image = rig.core.snapshot();
    let catalog = Catalog::new(Zones::new(TimeZoneDatabase::none()));
    let core = Scheduler::restore(catalog, Limits::default(), [1, 2], image.tasks.into_iter(), image.rest);
    let mut rig = Rig::of(core);
    rig.tell(Event::Tick);
    assert!(matches!(rig.notices().as_slice(), [Notice::Held { .. }]));
    assert!(rig.core.task(id).unwrap().held.is_some());
    assert_eq!(rig.apply(switch(&[id], true)).unwrap().ticket, None, "it is enabled");
    rig.apply(edit(id, definition("a", every(MINUTE)))).unwrap();
    assert!(rig.core.task(id).unwrap().held.is_none());
}
