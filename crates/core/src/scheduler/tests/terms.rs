//! What bounds and moves fire times, and boots of the machine.

use std::num::NonZeroU64;

use super::*;
use crate::pause::PauseScope;
use crate::run::Trigger;
use crate::task::Terms;

fn counted(count: u64) -> When {
    When::Termed(Box::new(Terms {
        count: NonZeroU64::new(count),
        ..Terms::of(every(MINUTE))
    }))
}

fn finish(rig: &mut Rig, origin: &Origin) {
    rig.started(origin);
    rig.ended(origin, ended(Exit::Code(0)));
}

#[test]
fn after_so_many_runs_a_task_is_disabled_and_enabling_counts_anew() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", counted(2)));
    rig.pass(MINUTE);
    let origin = rig.start();
    finish(&mut rig, &origin);
    assert!(rig.core.task(id).unwrap().enabled);
    rig.effects.clear();
    rig.pass(2 * MINUTE);
    let switched = rig.effects.iter().any(|effect| match effect {
        Effect::Record { records, .. } => records
            .iter()
            .any(|record| matches!(record, Record::TaskSwitched { enabled: false, by, .. } if by == "its count of 2")),
        _ => false,
    });
    assert!(switched, "{:?}", rig.effects);
    let origin = rig.start();
    finish(&mut rig, &origin);
    assert_eq!(rig.core.task(id).unwrap().next, None);
    let mut next = rig.restart();
    next.attach(1, Vec::new());
    next.pass(10 * MINUTE);
    assert_eq!(next.starts(), []);
    next.apply(switch(&[id], true)).unwrap();
    next.pass(11 * MINUTE);
    assert_eq!(next.starts().len(), 1);
    assert!(next.core.task(id).unwrap().enabled, "the first of two");
}

#[test]
fn only_runs_count_and_only_those_by_schedule() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", counted(2)));
    let run = rig.run(id);
    let manual = rig.start();
    assert_eq!(manual.attempt.run, run);
    rig.started(&manual);
    rig.pass(3 * MINUTE);
    assert_eq!(rig.passed().len(), 3, "skipped, since the manual run is in the way");
    rig.ended(&manual, ended(Exit::Code(0)));
    rig.pass(4 * MINUTE);
    assert!(rig.core.task(id).unwrap().enabled);
}

#[test]
fn a_run_that_was_not_recorded_counts_once_it_is_adopted() {
    let mut rig = Rig::new();
    rig.add(definition("a", counted(1)));
    rig.pass(MINUTE - 1000);
    rig.prompt = false;
    rig.effects.clear();
    rig.go(MINUTE);
    let origin = rig.start();
    let mut next = rig.restart();
    next.now = at(MINUTE + 500);
    next.attach(1, vec![live(&origin)]);
    assert!(!next.core.task(origin.attempt.run.task).unwrap().enabled);
}

#[test]
fn a_boot_starts_what_is_due_for_it_once() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", When::Boot));
    rig.add(Definition {
        enabled: false,
        ..definition("off", When::Boot)
    });
    rig.tell(booted(7));
    let origin = rig.start();
    assert_eq!(
        (origin.attempt.run.task, origin.trigger, origin.fire_time),
        (id, Trigger::Boot, None)
    );
    finish(&mut rig, &origin);
    rig.effects.clear();
    rig.tell(booted(7));
    assert_eq!(rig.starts(), []);
    let mut again = rig.restart();
    again.attach(1, Vec::new());
    again.tell(booted(7));
    assert_eq!(
        again.starts(),
        [],
        "the daemon was started anew, and the machine was not"
    );
    let mut next = again.restart();
    next.tell(booted(8));
    assert_eq!(next.starts(), [], "a runner is wanted first");
    next.attach(2, Vec::new());
    assert_eq!(next.start().attempt.run, RunKey { task: id, n: 2 });
}

#[test]
fn a_boot_without_a_run_is_in_the_ledger_and_owes_nothing() {
    let mut rig = Rig::new();
    let of = vec![When::Boot, every(HOUR)];
    let id = rig.add(definition("a", When::Termed(Box::new(Terms::of_all(of)))));
    rig.apply(Command::Run {
        ids: vec![id],
        overrides: None,
    })
    .unwrap();
    let origin = rig.start();
    rig.effects.clear();
    let skipped = |rig: &mut Rig| -> Vec<_> {
        let reason = |record| match record {
            Record::BootSkipped { task, at, reason } => Some((task, at, reason)),
            _ => None,
        };
        rig.records().into_iter().filter_map(reason).collect()
    };
    rig.tell(booted(7));
    let reason = "after a boot: run a/1 is still running".to_owned();
    assert_eq!(skipped(&mut rig), [(id, rig.now, reason)]);
    finish(&mut rig, &origin);
    rig.apply(Command::Pause {
        scopes: vec![PauseScope::All],
        until: None,
        by: "uid 1000".to_owned(),
        note: None,
    })
    .unwrap();
    rig.now = rig.now.plus(Duration::from_millis(MINUTE));
    rig.effects.clear();
    rig.tell(booted(8));
    let reason = "after a boot: all tasks were paused by uid 1000".to_owned();
    assert_eq!(skipped(&mut rig), [(id, rig.now, reason)]);
    assert_eq!(
        rig.core.task(id).unwrap().mark,
        at(0),
        "a boot is none of its fire times"
    );
    rig.tell(booted(8));
    assert_eq!(skipped(&mut rig), []);
}

#[test]
fn a_run_for_a_boot_starts_when_that_is_durable() {
    let mut rig = Rig::new();
    rig.add(definition("a", When::Boot));
    rig.prompt = false;
    rig.tell(booted(7));
    assert_eq!(rig.starts(), []);
    // Killed here, the next life of the same boot would give it its run.
    let mut next = rig.restart();
    next.attach(1, Vec::new());
    next.tell(booted(7));
    assert_eq!(next.starts().len(), 1);
    rig.store();
    assert_eq!(rig.starts().len(), 1);
}

#[test]
fn a_task_that_is_added_after_the_boot_waits_for_the_next() {
    let mut rig = Rig::new();
    rig.tell(booted(7));
    rig.add(definition("a", When::Boot));
    rig.pass(HOUR);
    assert_eq!(rig.starts(), []);
    assert_eq!(rig.core.next_wakeup(), None, "nothing is due by the clock");
}

#[test]
fn several_schedules_are_one_task() {
    let mut rig = Rig::new();
    let of = vec![every(2 * MINUTE), every(3 * MINUTE), When::Boot];
    let terms = Terms {
        of,
        end: Some(at(4 * MINUTE)),
        ..Terms::of(When::Boot)
    };
    rig.add(definition("a", When::Termed(Box::new(terms))));
    rig.tell(booted(7));
    let origin = rig.start();
    assert_eq!(origin.trigger, Trigger::Boot);
    finish(&mut rig, &origin);
    let mut times = Vec::new();
    for minute in 1..10 {
        rig.pass(minute * MINUTE);
        for origin in rig.starts() {
            finish(&mut rig, &origin);
            times.extend(origin.fire_time);
        }
    }
    assert_eq!(times, [at(2 * MINUTE), at(3 * MINUTE), at(4 * MINUTE)]);
}

#[test]
fn several_instants_come_once_whatever_the_clock_says() {
    let mut rig = Rig::new();
    let of = vec![once(10 * HOUR), once(11 * HOUR)];
    let terms = Terms {
        of,
        ..Terms::of(When::Boot)
    };
    rig.add(definition("a", When::Termed(Box::new(terms))));
    let mut ran = Vec::new();
    for hour in (1..=20).chain(7..=12) {
        if hour == 7 && ran.len() == 2 {
            rig.now = at(7 * HOUR);
            rig.tell(Event::ClockStepped);
        }
        rig.pass(hour * HOUR);
        for origin in rig.starts() {
            finish(&mut rig, &origin);
            ran.push(origin.fire_time.unwrap());
        }
    }
    assert_eq!(ran, [at(10 * HOUR), at(11 * HOUR)]);
}

#[test]
fn an_overdue_instant_runs_however_late_though_a_boot_is_another_time() {
    let mut rig = Rig::new();
    let terms = Terms {
        of: vec![When::Boot, once(HOUR)],
        ..Terms::of(When::Boot)
    };
    rig.add(definition("a", When::Termed(Box::new(terms))));
    rig.pass(1000);
    let mut next = rig.restart();
    next.now = at(5 * HOUR);
    next.attach(2, Vec::new());
    assert_eq!(next.start().fire_time, Some(at(HOUR)));
}

#[test]
fn no_more_fire_times_come_than_there_are_runs_left() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", counted(3)));
    let coming = |rig: &Rig| rig.core.coming(id, rig.now).take(10).count();
    assert_eq!(coming(&rig), 3);
    rig.pass(MINUTE);
    let origin = rig.start();
    finish(&mut rig, &origin);
    assert_eq!(coming(&rig), 2);
    rig.core.set_limits(Limits {
        running: 0,
        ..Limits::default()
    });
    rig.tell(Event::RunnerLost);
    rig.go(2 * MINUTE + 1);
    let all: Vec<_> = rig.core.coming(id, rig.now).collect();
    assert_eq!(all, [at(2 * MINUTE), at(3 * MINUTE)], "one is overdue");
}

#[test]
fn what_fell_due_before_a_boot_was_seen_goes_first() {
    let mut rig = Rig::new();
    let of = vec![When::Boot, every(HOUR)];
    let id = rig.add(definition("a", When::Termed(Box::new(Terms::of_all(of)))));
    rig.pass(30 * MINUTE);
    let mut next = rig.restart();
    next.now = at(2 * HOUR + 30 * MINUTE);
    next.tell(booted(7));
    next.attach(2, Vec::new());
    let told: Vec<_> = next
        .records()
        .into_iter()
        .filter_map(|record| match record {
            Record::RunCreated { trigger, .. } => Some(trigger.word().to_owned()),
            Record::BootSkipped { task, reason, .. } => {
                assert_eq!(task, id);
                Some(reason)
            }
            _ => None,
        })
        .collect();
    assert_eq!(told, ["catch-up", "after a boot: run a/1 is still running"]);
}

#[test]
fn a_boot_that_finds_a_task_held_is_in_the_ledger() {
    let mut rig = Rig::new();
    let gone = |expr: &str| When::Cron {
        expr: expr.to_owned(),
        tz: "Mars/Olympus".to_owned(),
        dst: DstRule::default(),
    };
    rig.disk.push(Record::TaskAdded {
        id: TaskId(1),
        owner: ME,
        at: at(0),
        definition: std::sync::Arc::new(definition(
            "a",
            When::Termed(Box::new(Terms::of_all(vec![When::Boot, gone("0 * * * *")]))),
        )),
    });
    let mut next = rig.restart();
    next.tell(booted(7));
    next.attach(1, Vec::new());
    let is_told =
        |record: Record| matches!(record, Record::BootSkipped { reason, .. } if reason.contains("Mars/Olympus"));
    assert!(next.records().into_iter().any(is_told));
}
