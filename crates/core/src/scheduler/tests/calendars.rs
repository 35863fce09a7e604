//! Calendars that tasks keep to or keep clear of.

use super::*;
use crate::calendar::{Calendar, CalendarName, CalendarUse, Entry, Keep, Kept, TimeRange};
use crate::task::Terms;

fn name() -> CalendarName {
    TaskName::parse("closed").unwrap()
}

/// Covers the third to the fifth minute.
fn kept(freeze: &[&str]) -> Kept {
    let range = TimeRange::absolute(at(3 * MINUTE), at(6 * MINUTE)).unwrap();
    Kept {
        calendar: Calendar::new([Entry::Range(range)]).unwrap(),
        tz: "UTC".to_owned(),
        freeze: freeze.iter().map(|pattern| (*pattern).to_owned()).collect(),
    }
}

fn set(rig: &mut Rig, kept: Kept) {
    rig.apply(Command::SetCalendar {
        name: name(),
        calendar: Box::new(kept),
        by: "uid 1000".to_owned(),
    })
    .unwrap();
}

fn keeping(keep: Keep) -> When {
    When::Termed(Box::new(Terms {
        calendars: vec![CalendarUse { name: name(), keep }],
        ..Terms::of(every(MINUTE))
    }))
}

/// The minutes for which runs start until then.
fn ran(rig: &mut Rig, until: u64) -> Vec<u64> {
    let mut ran = Vec::new();
    for minute in 1..=until {
        rig.pass(minute * MINUTE);
        for origin in rig.starts() {
            rig.started(&origin);
            ran.push((origin.fire_time.unwrap().as_millis() - at(0).as_millis()) as u64 / MINUTE);
            rig.ended(&origin, ended(Exit::Code(0)));
        }
    }
    ran
}

#[test]
fn what_is_excluded_is_skipped_and_recorded() {
    let mut rig = Rig::new();
    set(&mut rig, kept(&[]));
    let id = rig.add(definition("a", keeping(Keep::Exclude)));
    rig.pass(2 * MINUTE);
    assert_eq!(rig.core.task(id).unwrap().next, Some(at(6 * MINUTE)));
    let why = rig.core.suppressed(id, at(3 * MINUTE));
    assert_eq!(why.as_deref(), Some("calendar closed excludes it"));
    let mut next = rig.restart();
    next.now = at(8 * MINUTE);
    next.attach(1, Vec::new());
    let spans: Vec<_> = next
        .passed()
        .into_iter()
        .map(|(passing, first, last, count, _)| (passing, first / MINUTE, last / MINUTE, count))
        .collect();
    assert_eq!(spans[..2], [(Passing::Skipped, 3, 5, 3), (Passing::Missed, 6, 7, 2)]);
}

#[test]
fn a_task_keeps_to_what_is_included() {
    let mut rig = Rig::new();
    set(&mut rig, kept(&[]));
    rig.add(definition("a", keeping(Keep::Only)));
    assert_eq!(ran(&mut rig, 8), [3, 4, 5]);
}

#[test]
fn a_calendar_freezes_tasks_by_their_names() {
    let mut rig = Rig::new();
    set(&mut rig, kept(&["prod-*"]));
    rig.add(definition("prod-a", every(MINUTE)));
    assert_eq!(ran(&mut rig, 7), [1, 2, 6, 7]);
    let mut rig = Rig::new();
    set(&mut rig, kept(&["prod-*"]));
    rig.add(definition("test-a", every(MINUTE)));
    assert_eq!(ran(&mut rig, 4), [1, 2, 3, 4]);
}

#[test]
fn a_calendar_freezes_tasks_by_their_labels() {
    let labelled = |labels: &[&str]| Definition {
        labels: labels.iter().map(|label| TaskName::parse(label).unwrap()).collect(),
        ..definition("a", every(MINUTE))
    };
    let mut rig = Rig::new();
    set(&mut rig, kept(&["label:prod*"]));
    rig.add(labelled(&["db", "production"]));
    assert_eq!(ran(&mut rig, 7), [1, 2, 6, 7]);
    let mut rig = Rig::new();
    set(&mut rig, kept(&["label:prod*"]));
    let id = rig.add(labelled(&["db", "production"]));
    assert_eq!(ran(&mut rig, 3), [1, 2]);
    rig.apply(edit(id, labelled(&["db"]))).unwrap();
    let snapshot = rig.core.snapshot();
    assert_eq!(snapshot.tasks[0].outline.labels, labelled(&["db"]).labels);
    let mut next = rig.restart();
    next.attach(1, Vec::new());
    next.pass(4 * MINUTE);
    assert_eq!(next.starts().len(), 1, "without the label it is not frozen");
}

#[test]
fn no_calendar_is_set_while_an_earlier_life_may_have_started_what_is_due() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", every(MINUTE)));
    rig.pass(MINUTE - 1_000);
    rig.prompt = false;
    rig.go(MINUTE);
    assert_eq!(rig.starts().len(), 1);
    // Start and runner are lost, and nothing tells of either.
    let mut next = rig.restart();
    next.now = at(MINUTE + 1_000);
    next.go(MINUTE + 1_000);
    let freeze = || Command::SetCalendar {
        name: name(),
        calendar: Box::new(Kept {
            calendar: Calendar::new([Entry::Range(TimeRange::absolute(at(0), at(HOUR)).unwrap())]).unwrap(),
            ..kept(&["*"])
        }),
        by: "uid 1000".to_owned(),
    };
    assert_eq!(next.apply(freeze()), Err(Refusal::NoRunner));
    next.attach(2, Vec::new());
    let told: Vec<_> = next
        .passed()
        .into_iter()
        .map(|(passing, first, ..)| (passing, first))
        .collect();
    assert_eq!(told, [(Passing::Unknown, MINUTE)]);
    next.apply(freeze()).unwrap();
    assert_eq!(next.core.task(id).unwrap().mark, at(MINUTE));
}

#[test]
fn a_calendar_that_is_set_anew_counts_at_once() {
    let mut rig = Rig::new();
    set(&mut rig, kept(&[]));
    let id = rig.add(definition("a", keeping(Keep::Exclude)));
    let later = TimeRange::absolute(at(MINUTE), at(2 * MINUTE)).unwrap();
    set(
        &mut rig,
        Kept {
            calendar: Calendar::new([Entry::Range(later)]).unwrap(),
            ..kept(&[])
        },
    );
    assert_eq!(rig.core.task(id).unwrap().next, Some(at(2 * MINUTE)));
    assert_eq!(ran(&mut rig, 4), [2, 3, 4]);
}

#[test]
fn a_calendar_in_use_stays_and_one_that_is_not_there_is_refused() {
    let mut rig = Rig::new();
    let unknown = rig.apply(Command::Add {
        owner: ME,
        definitions: vec![definition("a", keeping(Keep::Only))],
    });
    let problem = "there is no calendar closed".to_owned();
    assert_eq!(unknown, Err(Refusal::BadSchedule { index: 0, problem }));
    let remove = || Command::RemoveCalendars { names: vec![name()] };
    assert_eq!(rig.apply(remove()), Err(Refusal::NoCalendar(name())));
    set(&mut rig, kept(&[]));
    let id = rig.add(definition("a", keeping(Keep::Only)));
    let task = TaskName::parse("a").unwrap();
    assert_eq!(rig.apply(remove()), Err(Refusal::CalendarInUse { name: name(), task }));
    rig.apply(edit(id, definition("a", every(MINUTE)))).unwrap();
    rig.apply(remove()).unwrap();
    assert_eq!(rig.core.snapshot().rest.calendars, []);
}

#[test]
fn a_calendar_and_a_task_that_comes_to_use_it_wait_for_each_other() {
    let add = || Command::Add {
        owner: ME,
        definitions: vec![definition("a", keeping(Keep::Exclude))],
    };
    let remove = || Command::RemoveCalendars { names: vec![name()] };
    for [first, second] in [[add(), remove()], [remove(), add()]] {
        let mut rig = Rig::new();
        set(&mut rig, kept(&[]));
        rig.prompt = false;
        rig.apply(first).unwrap();
        assert_eq!(rig.apply(second), Err(Refusal::Busy));
    }
}

#[test]
fn a_clock_that_was_decades_off_makes_few_records() {
    let mut rig = Rig::new();
    let weekends = Entry::Rule(crate::calendar::Rule::parse("weekends").unwrap());
    set(
        &mut rig,
        Kept {
            calendar: Calendar::new([weekends]).unwrap(),
            ..kept(&[])
        },
    );
    let id = rig.add(definition("a", keeping(Keep::Exclude)));
    rig.pass(1000);
    rig.effects.clear();
    let ahead = Duration::from_secs(70 * 365 * 24 * 3600);
    rig.now = at(0).plus(ahead);
    rig.tell(Event::ClockStepped);
    rig.tell(Event::Tick);
    let passed = rig.passed();
    assert!(passed.len() < 300, "{} records", passed.len());
    let count: u64 = passed.iter().map(|(_, _, _, count, _)| *count).sum();
    let started = u64::from(rig.core.runs_of(id).next().is_some());
    assert_eq!(count + started, ahead.as_secs() / 60, "and none is left out");
}

#[test]
fn what_was_frozen_is_no_debt_when_it_no_longer_is() {
    let labelled = |labels: &[&str]| Definition {
        labels: labels.iter().map(|label| TaskName::parse(label).unwrap()).collect(),
        policies: Policies {
            misfire: Misfire::All { within_ms: None },
            ..Policies::default()
        },
        ..definition("a", every(MINUTE))
    };
    for change in ["label", "calendar", "name"] {
        let mut rig = Rig::new();
        set(&mut rig, kept(&["label:db", "a"]));
        let mut task = labelled(&["db"]);
        let id = rig.add(task.clone());
        rig.pass(30_000);
        rig.tell(Event::RunnerLost);
        rig.now = at(8 * MINUTE + 30_000);
        rig.effects.clear();
        match change {
            "label" => rig.apply(edit(id, labelled(&[]))).unwrap(),
            "name" => {
                task.name = TaskName::parse("b").unwrap();
                rig.apply(edit(id, task)).unwrap()
            }
            _ => rig.apply(Command::RemoveCalendars { names: vec![name()] }).unwrap(),
        };
        let spans: Vec<_> = rig
            .passed()
            .into_iter()
            .map(|(passing, first, last, ..)| (passing, first / MINUTE, last / MINUTE))
            .collect();
        assert_eq!(
            spans,
            [(Passing::Missed, 1, 2), (Passing::Skipped, 3, 5)],
            "another {change}"
        );
    }
}
