//! Pauses.

use super::*;
use crate::pause::PauseScope;

fn pause(scope: PauseScope, until: Option<u64>) -> Command {
    Command::Pause {
        scopes: vec![scope],
        until: until.map(at),
        by: "uid 1000".to_owned(),
        note: Some("moving house".to_owned()),
    }
}

fn resume(scope: PauseScope) -> Command {
    Command::Resume {
        scopes: vec![scope],
        by: "uid 1000".to_owned(),
    }
}

const WHY: &str = "the task was paused by uid 1000: moving house";

#[test]
fn paused_fire_times_are_skipped_and_owe_no_catch_up() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", every(MINUTE)));
    rig.pass(90_000);
    let origin = rig.start();
    rig.started(&origin);
    rig.ended(&origin, ended(Exit::Code(0)));
    rig.apply(pause(PauseScope::Task(id), Some(4 * MINUTE))).unwrap();
    assert_eq!(
        rig.core.task(id).unwrap().next,
        Some(at(4 * MINUTE)),
        "it ends by itself"
    );
    rig.effects.clear();
    rig.pass(4 * MINUTE - 1);
    let skipped = |n: u64| (Passing::Skipped, n * MINUTE, n * MINUTE, 1, WHY.to_owned());
    assert_eq!(rig.passed(), [skipped(2), skipped(3)]);
    rig.pass(4 * MINUTE);
    assert_eq!(rig.start().fire_time, Some(at(4 * MINUTE)), "the end is not in it");
}

#[test]
fn a_pause_survives_a_life_and_is_told_apart_from_what_was_missed() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", every(MINUTE)));
    rig.pass(30_000);
    rig.apply(pause(PauseScope::Task(id), Some(10 * MINUTE))).unwrap();
    let mut next = rig.restart();
    next.now = at(30 * MINUTE);
    next.attach(1, Vec::new());
    assert_eq!(
        next.passed(),
        [
            (Passing::Skipped, MINUTE, 9 * MINUTE, 9, WHY.to_owned()),
            (
                Passing::Missed,
                10 * MINUTE,
                29 * MINUTE,
                20,
                "taskd was not running".to_owned()
            ),
        ]
    );
}

#[test]
fn what_was_due_before_a_pause_is_caught_up_in_it() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", every(MINUTE)));
    rig.tell(Event::RunnerLost);
    rig.go(90_000);
    rig.apply(pause(PauseScope::Task(id), None)).unwrap();
    rig.effects.clear();
    rig.go(150_000);
    rig.attach(1, Vec::new());
    let fire_times = rig.effects.iter().filter_map(|effect| match effect {
        Effect::Start { origin, .. } => Some(origin.fire_time),
        _ => None,
    });
    assert_eq!(fire_times.collect::<Vec<_>>(), [Some(at(MINUTE))]);
}

#[test]
fn a_pause_of_all_is_one_of_tasks_to_come() {
    let mut rig = Rig::new();
    rig.apply(pause(PauseScope::All, None)).unwrap();
    let id = rig.add(definition("a", every(MINUTE)));
    assert_eq!(rig.core.task(id).unwrap().next, None, "nobody knows when it ends");
    rig.pass(3 * MINUTE);
    assert_eq!(rig.starts(), []);
    rig.apply(resume(PauseScope::All)).unwrap();
    rig.pass(4 * MINUTE);
    assert_eq!(rig.start().fire_time, Some(at(4 * MINUTE)));
}

#[test]
fn nothing_starts_while_a_pause_of_all_is_being_decided() {
    let mut rig = Rig::new();
    rig.add(definition("a", every(MINUTE)));
    rig.pass(MINUTE - 1);
    rig.prompt = false;
    rig.apply(pause(PauseScope::All, None)).unwrap();
    rig.go(MINUTE);
    assert_eq!(rig.starts(), []);
    rig.refuse();
    assert_eq!(rig.start().fire_time, Some(at(MINUTE)), "it was not paused after all");
}

#[test]
fn a_pause_outlasts_a_clock_that_is_set_back_behind_its_beginning() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", every(HOUR)));
    rig.pass(20 * HOUR + 1);
    let origin = rig.start();
    rig.started(&origin);
    rig.ended(&origin, ended(Exit::Code(0)));
    rig.apply(pause(PauseScope::Task(id), None)).unwrap();
    rig.effects.clear();
    rig.now = at(10 * HOUR + 1);
    rig.tell(Event::ClockStepped);
    assert_eq!(rig.core.task(id).unwrap().next, None);
    rig.pass(12 * HOUR);
    assert_eq!(rig.starts(), []);
}

#[test]
fn what_was_due_long_before_a_pause_is_none_of_it_though_the_clock_was_set_back() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", every(HOUR)));
    rig.prompt = false;
    rig.tell(Event::RunnerLost);
    rig.go(2 * HOUR + 1_000);
    rig.prompt = true;
    rig.store();
    rig.apply(pause(PauseScope::Task(id), None)).unwrap();
    let mut next = rig.restart();
    next.now = at(2 * HOUR + 500);
    next.attach(1, Vec::new());
    let passed = next.passed();
    assert!(
        passed.iter().all(|(.., reason)| !reason.contains("paused")),
        "{passed:?}"
    );
    next.pass(3 * HOUR);
    let reasons: Vec<_> = next
        .passed()
        .into_iter()
        .map(|(_, first, .., reason)| (first, reason))
        .collect();
    assert_eq!(
        reasons,
        [(3 * HOUR, "the task was paused by uid 1000: moving house".to_owned())]
    );
}

#[test]
fn decisions_about_all_come_one_after_the_other() {
    let mut rig = Rig::new();
    rig.add(definition("a", every(MINUTE)));
    rig.pass(MINUTE - 100);
    rig.prompt = false;
    rig.apply(pause(PauseScope::All, None)).unwrap();
    assert_eq!(rig.apply(resume(PauseScope::All)), Err(Refusal::Busy));
    rig.go(MINUTE + 10);
    assert_eq!(rig.apply(pause(PauseScope::All, None)), Err(Refusal::Busy));
    rig.prompt = true;
    rig.store();
    rig.go(MINUTE + 20);
    assert_eq!(rig.starts(), []);
}

#[test]
fn what_a_pause_held_up_is_skipped_for_it_though_another_takes_its_place() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", every(MINUTE)));
    rig.pass(30_000);
    rig.apply(pause(PauseScope::Task(id), Some(3 * MINUTE))).unwrap();
    rig.tell(Event::RunnerLost);
    rig.now = at(3 * MINUTE);
    rig.effects.clear();
    rig.apply(pause(PauseScope::Task(id), None)).unwrap();
    assert_eq!(
        rig.passed(),
        [(Passing::Skipped, MINUTE, 2 * MINUTE, 2, WHY.to_owned())]
    );
}

#[test]
fn a_task_that_is_removed_takes_its_pause_with_it() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", every(HOUR)));
    rig.apply(pause(PauseScope::Task(id), None)).unwrap();
    assert_eq!(rig.core.snapshot().rest.pauses.len(), 1);
    let (ids, running, reason) = (vec![id], WhileRunning::Refuse, String::new());
    rig.apply(Command::Remove { ids, running, reason }).unwrap();
    assert_eq!(rig.core.snapshot().rest.pauses, []);
}

#[test]
fn what_is_not_paused_is_not_resumed() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", every(HOUR)));
    assert_eq!(rig.apply(resume(PauseScope::Task(id))).unwrap().ticket, None);
    rig.apply(pause(PauseScope::Task(id), Some(MINUTE))).unwrap();
    rig.go(MINUTE);
    assert_eq!(rig.core.pause_of(id, rig.now), None);
    assert_eq!(
        rig.apply(resume(PauseScope::Task(id))).unwrap().ticket,
        None,
        "it is over"
    );
}

/// A task that is due each minute and whose missed fire times are all run.
fn patient() -> Definition {
    Definition {
        policies: Policies {
            misfire: Misfire::All { within_ms: None },
            ..Policies::default()
        },
        ..definition("a", every(MINUTE))
    }
}

/// What passed without a run, as first and last minute, and the minutes that runs were created for.
fn told(rig: &mut Rig) -> (Vec<(Passing, u64, u64)>, Vec<u64>) {
    let (mut passed, mut created) = (Vec::new(), Vec::new());
    let minute = |at: Timestamp| (at.as_millis() - super::at(0).as_millis()) as u64 / MINUTE;
    for record in rig.records() {
        match record {
            Record::Passed {
                passing, first, last, ..
            } => passed.push((passing, minute(first), minute(last))),
            Record::RunCreated { fire_time, .. } => created.extend(fire_time.map(minute)),
            _ => {}
        }
    }
    (passed, created)
}

#[test]
fn what_a_pause_held_up_is_no_debt_of_the_one_that_takes_its_place() {
    for of_all in [true, false] {
        let mut rig = Rig::new();
        let id = rig.add(patient());
        let scope = if of_all { PauseScope::All } else { PauseScope::Task(id) };
        // The first minute is owed, and nobody has dealt with it.
        rig.pass(30_000);
        rig.tell(Event::RunnerLost);
        rig.now = at(MINUTE + 30_000);
        rig.apply(pause(scope, Some(10 * MINUTE))).unwrap();
        rig.now = at(12 * MINUTE + 30_000);
        rig.effects.clear();
        rig.apply(pause(scope, Some(HOUR))).unwrap();
        rig.attach(1, Vec::new());
        let (passed, created) = told(&mut rig);
        assert_eq!(passed, [(Passing::Missed, 1, 1), (Passing::Skipped, 2, 9)]);
        assert_eq!(created, [10, 11, 12]);
    }
}

#[test]
fn a_pause_goes_on_in_the_next_life_where_the_clock_was_set_back_behind_its_beginning() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", every(10 * MINUTE)));
    rig.pass(10 * HOUR + 30_000);
    let origin = rig.start();
    rig.started(&origin);
    rig.ended(&origin, ended(Exit::Code(0)));
    rig.apply(pause(PauseScope::Task(id), None)).unwrap();
    rig.now = at(5 * HOUR + 30_000);
    rig.tell(Event::ClockStepped);
    rig.pass(5 * HOUR + 25 * MINUTE);
    let mut next = rig.restart();
    next.now = at(5 * HOUR + 35 * MINUTE);
    next.attach(1, Vec::new());
    let (passed, created) = told(&mut next);
    let last = 5 * 60 + 30;
    assert_eq!((passed, created), (vec![(Passing::Skipped, last, last)], vec![]));
}

#[test]
fn all_are_not_paused_while_an_earlier_life_may_have_started_what_is_due() {
    let mut rig = Rig::new();
    rig.add(definition("a", every(MINUTE)));
    rig.pass(MINUTE - 1_000);
    rig.prompt = false;
    rig.go(MINUTE);
    assert_eq!(rig.starts().len(), 1);
    // Start and runner are lost, and the clock is set back.
    let mut next = rig.restart();
    next.now = at(MINUTE - 20_000);
    next.tell(Event::Tick);
    assert_eq!(next.apply(pause(PauseScope::All, None)), Err(Refusal::NoRunner));
    next.attach(2, Vec::new());
    next.apply(pause(PauseScope::All, None)).unwrap();
    let (passed, _) = told(&mut next);
    assert_eq!(passed, [(Passing::Unknown, 1, 1)]);
}
