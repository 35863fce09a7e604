//! What is made up for one by one.

use super::*;
use crate::policy::Concurrency;
use crate::run::Trigger;

fn all(within_hours: Option<u64>) -> Policies {
    Policies {
        misfire: Misfire::All {
            within_ms: within_hours.map(|hours| (hours * HOUR).try_into().unwrap()),
        },
        ..Policies::default()
    }
}

fn task(policies: Policies) -> Definition {
    Definition {
        policies,
        ..definition("a", every(MINUTE))
    }
}

fn ms(at: Option<Timestamp>) -> u64 {
    (at.unwrap().as_millis() - super::at(0).as_millis()) as u64
}

/// A rig whose daemon was down from the first half minute until then.
fn down_until(policies: Policies, until: u64) -> (Rig, TaskId) {
    let mut rig = Rig::new();
    let id = rig.add(task(policies));
    rig.pass(30_000);
    let mut next = rig.restart();
    next.now = at(until);
    next.attach(1, Vec::new());
    (next, id)
}

/// Runs what starts until nothing does, and tells for which minutes, and why.
fn run_out(rig: &mut Rig) -> Vec<(u64, Trigger)> {
    let mut ran = Vec::new();
    loop {
        let starts = rig.starts();
        assert!(starts.len() <= 1, "{starts:?}");
        let Some(origin) = starts.into_iter().next() else {
            return ran;
        };
        ran.push((ms(origin.fire_time) / MINUTE, origin.trigger));
        rig.started(&origin);
        rig.ended(&origin, ended(Exit::Code(0)));
    }
}

#[test]
fn all_that_were_missed_are_run_in_order() {
    let (mut rig, _) = down_until(all(None), 4 * MINUTE + 30_000);
    assert_eq!(rig.core.counts().waiting, 3, "one is being started");
    let caught_up = |minute| (minute, Trigger::CatchUp);
    assert_eq!(run_out(&mut rig), [1, 2, 3, 4].map(caught_up));
}

#[test]
fn what_is_not_late_is_live_and_goes_first() {
    let (mut rig, _) = down_until(all(None), 3 * MINUTE + 1000);
    assert_eq!(
        run_out(&mut rig),
        [(3, Trigger::Schedule), (1, Trigger::CatchUp), (2, Trigger::CatchUp)]
    );
}

#[test]
fn a_live_firing_waits_for_the_one_in_progress_and_for_no_other() {
    let (mut rig, id) = down_until(all(None), 3 * MINUTE + 30_000);
    let first = rig.start();
    rig.started(&first);
    rig.pass(4 * MINUTE);
    let live = rig.core.run(RunKey { task: id, n: 4 }).unwrap();
    assert_eq!((live.state, live.origin.trigger), ("waiting", Trigger::Schedule));
    rig.pass(5 * MINUTE);
    let why = "run a/1 is still running".to_owned();
    assert_eq!(
        rig.passed(),
        [(Passing::Skipped, 5 * MINUTE, 5 * MINUTE, 1, why)],
        "one may wait, not two"
    );
    rig.ended(&first, ended(Exit::Code(0)));
    assert_eq!(
        run_out(&mut rig),
        [(4, Trigger::Schedule), (2, Trigger::CatchUp), (3, Trigger::CatchUp)]
    );
}

#[test]
fn what_a_backlog_cannot_hold_is_missed_and_that_is_what_is_oldest() {
    let (mut rig, _) = down_until(all(None), 150 * MINUTE + 30_000);
    let why = "the backlog of 100 runs was full".to_owned();
    let cut = rig.effects.iter().find_map(|effect| match effect {
        Effect::Record { records, .. } => records.iter().find_map(|record| match record {
            Record::Passed { count, reason, .. } => Some((*count, reason.clone())),
            _ => None,
        }),
        _ => None,
    });
    assert_eq!(cut, Some((50, why)));
    let ran = run_out(&mut rig);
    assert_eq!((ran.len(), ran[0].0, ran[99].0), (100, 51, 150));
}

#[test]
fn a_backlog_is_bounded_over_several_gaps_and_survives_a_life() {
    let (mut rig, id) = down_until(all(None), 60 * MINUTE + 30_000);
    rig.effects.clear();
    assert_eq!(rig.core.backlog(id), 59);
    let mut next = rig.restart();
    next.now = at(160 * MINUTE + 30_000);
    next.attach(2, Vec::new());
    // One more of the first gap is being started by then.
    assert_eq!(next.core.backlog(id), 100);
    let missed: u64 = next.passed().iter().map(|(_, _, _, count, _)| *count).sum();
    assert_eq!(missed, 100 - 42);
}

#[test]
fn what_is_too_old_for_it_is_missed() {
    let (mut rig, _) = down_until(all(Some(1)), 90 * MINUTE + 30_000);
    let ran = {
        let missed = rig.effects.iter().any(|effect| {
            match effect {
            Effect::Record { records, .. } => records.iter().any(|record| {
                matches!(record, Record::Passed { count: 30, reason, .. } if reason == "taskd was not running")
            }),
            _ => false,
        }
        });
        assert!(missed, "{:?}", rig.effects);
        run_out(&mut rig)
    };
    assert_eq!((ran.len(), ran[0].0), (60, 31));
}

#[test]
fn the_past_is_made_up_for_on_request_and_nothing_is_forgotten_for_that() {
    let mut rig = Rig::new();
    let id = rig.add(task(Policies::default()));
    rig.pass(5 * MINUTE);
    let live = rig.starts();
    assert_eq!(live.len(), 1, "the first goes on");
    rig.started(&live[0]);
    rig.ended(&live[0], ended(Exit::Code(0)));
    let mark = rig.core.task(id).unwrap().mark;
    let (from, until) = (at(0).minus(Duration::from_millis(3 * MINUTE)), at(2 * MINUTE));
    let accepted = rig.apply(Command::Backfill { id, from, until }).unwrap();
    let Reply::Runs(runs) = accepted.reply else {
        panic!("{accepted:?}")
    };
    assert_eq!(runs.len(), 6, "both ends are in it");
    assert_eq!(rig.core.task(id).unwrap().mark, mark);
    assert_eq!(rig.core.task(id).unwrap().next, Some(at(6 * MINUTE)));
    let mut fire_times = Vec::new();
    while let Some(origin) = rig.starts().into_iter().next() {
        assert_eq!(origin.trigger, Trigger::Backfill);
        fire_times.push(origin.fire_time.unwrap());
        rig.started(&origin);
        rig.ended(&origin, ended(Exit::Code(0)));
    }
    let expected: Vec<_> = (-3..=2)
        .map(|minute| Timestamp::from_millis(at(0).as_millis() + minute * 60_000))
        .collect();
    assert_eq!(fire_times, expected);
    let refused = rig.apply(Command::Backfill {
        id,
        from: at(0).minus(Duration::from_secs(3600 * 24)),
        until,
    });
    assert_eq!(refused, Err(Refusal::BacklogFull { room: 100 }));
}

#[test]
fn a_run_by_hand_goes_before_what_waits_and_a_cancelled_one_leaves_the_line() {
    let (mut rig, id) = down_until(all(None), 3 * MINUTE + 30_000);
    let first = rig.start();
    rig.started(&first);
    let refused = rig.apply(Command::Run {
        ids: vec![id],
        overrides: None,
    });
    assert!(matches!(
        refused,
        Err(Refusal::StillRunning {
            run: RunKey { n: 1, .. },
            ..
        })
    ));
    rig.apply(cancel(RunKey { task: id, n: 2 })).unwrap();
    rig.ended(&first, ended(Exit::Code(0)));
    assert_eq!(run_out(&mut rig), [(3, Trigger::CatchUp)]);
}

#[test]
fn what_makes_up_for_the_past_keeps_its_turn_between_its_attempts() {
    let mut policies = all(None);
    policies.retry.times = 1;
    policies.concurrency = Concurrency::Queue {
        waiting: std::num::NonZeroU32::MIN,
    };
    let (mut rig, id) = down_until(policies, 2 * MINUTE + 30_000);
    let first = rig.start();
    rig.started(&first);
    fail(&mut rig, &first, Exit::Code(1));
    rig.effects.clear();
    rig.run(id);
    assert_eq!(rig.starts(), [], "it waits for the turn of the other");
    rig.go(2 * MINUTE + 31_000);
    let again = rig.start();
    assert_eq!(again.attempt.run, first.attempt.run);
    rig.started(&again);
    rig.effects.clear();
    rig.ended(&again, ended(Exit::Code(0)));
    assert_eq!(rig.start().trigger, Trigger::Manual);
}

#[test]
fn what_has_had_its_turn_is_behind_no_live_run_of_another_task() {
    let locked = |mut task: Definition| {
        task.sharing.locks = [TaskName::parse("l").unwrap()].into();
        task
    };
    let mut policies = all(None);
    policies.retry.times = 1;
    let mut rig = Rig::new();
    let a = rig.add(locked(task(policies)));
    let others = ["b", "c"].map(|name| {
        let task = locked(definition(name, When::Manual));
        rig.add(task)
    });
    rig.pass(30_000);
    let mut rig = rig.restart();
    rig.now = at(MINUTE + 30_000);
    rig.attach(1, Vec::new());
    let first = rig.start();
    rig.started(&first);
    fail(&mut rig, &first, Exit::Code(1));
    rig.effects.clear();
    let _ = others.map(|id| rig.run(id));
    let held = rig.start();
    rig.started(&held);
    rig.effects.clear();
    // One live firing waits for it, as for any that is in progress.
    rig.pass(3 * MINUTE);
    let why = "run a/1 still waits for a place".to_owned();
    let skipped = (Passing::Skipped, 3 * MINUTE, 3 * MINUTE, 1, why);
    assert_eq!(rig.passed(), [skipped]);
    rig.effects.clear();
    rig.ended(&held, ended(Exit::Code(0)));
    assert_eq!(rig.start().attempt.run, RunKey { task: a, n: 1 });
}

#[test]
fn what_is_due_and_not_dealt_with_is_not_of_the_past() {
    let mut rig = Rig::new();
    let id = rig.add(task(Policies::default()));
    rig.pass(30_000);
    rig.effects.clear();
    // The machine slept, and the horizon is behind.
    rig.now = at(90_000);
    rig.prompt = false;
    let (from, until) = (at(MINUTE), at(2 * MINUTE));
    rig.apply(Command::Backfill { id, from, until }).unwrap();
    rig.prompt = true;
    rig.store();
    rig.go(90_000);
    assert_eq!(run_out(&mut rig), [(1, Trigger::CatchUp)]);
}
