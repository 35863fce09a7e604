//! Fire times.

use super::*;
use crate::run::Trigger;

#[test]
fn a_firing_starts_at_its_time_and_ahead_of_its_record() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", every(MINUTE)));
    assert_eq!(
        rig.core.next_wakeup(),
        Some(at(MINUTE - 2000)),
        "the horizon is put ahead first"
    );
    rig.go(MINUTE - 2000);
    assert_eq!(rig.core.horizon(), at(MINUTE + 5000));
    assert_eq!(rig.core.next_wakeup(), Some(at(MINUTE)));
    rig.prompt = false;
    rig.effects.clear();
    rig.go(MINUTE);
    let order: Vec<_> = rig
        .effects
        .iter()
        .map(|effect| match effect {
            Effect::Record { .. } => "record",
            Effect::Start { .. } => "start",
            Effect::Notice(_) => "notice",
            _ => "other",
        })
        .collect();
    assert_eq!(
        order,
        ["record", "notice", "start"],
        "nothing leaves before the record that explains it"
    );
    let origin = rig.start();
    assert_eq!(origin.fire_time, Some(at(MINUTE)));
    assert_eq!(origin.trigger, Trigger::Schedule);
    assert_eq!(origin.attempt.run, RunKey { task: id, n: 1 });
    assert_eq!(rig.core.next_due(), Some(at(2 * MINUTE)));
}

#[test]
fn nothing_is_written_while_nothing_is_due_soon() {
    let mut rig = Rig::new();
    rig.add(definition("a", every(HOUR)));
    rig.effects.clear();
    for minute in 1..50 {
        rig.go(minute * MINUTE);
    }
    assert_eq!(rig.effects, []);
}

#[test]
fn a_firing_waits_for_the_horizon_to_be_durable() {
    let mut rig = Rig::new();
    rig.add(definition("a", every(MINUTE)));
    rig.prompt = false;
    rig.effects.clear();
    rig.go(MINUTE - 2000);
    assert_eq!(rig.core.next_wakeup(), None, "it waits for the store, not for the time");
    rig.go(MINUTE + 3000);
    assert_eq!(rig.records().len(), 1, "the horizon is asked for once");
    assert_eq!(rig.starts(), []);
    rig.store();
    assert_eq!(rig.start().fire_time, Some(at(MINUTE)));
}

#[test]
fn tasks_that_are_due_soon_are_prepared() {
    let mut rig = Rig::new();
    let a = rig.add(definition("a", every(MINUTE)));
    let b = rig.add(definition("b", once(MINUTE + 3000)));
    rig.add(definition("c", every(HOUR)));
    rig.effects.clear();
    rig.go(MINUTE - 2000);
    assert!(rig.effects.contains(&Effect::Prepare(vec![a, b])));
}

#[test]
fn an_overlap_is_skipped_and_says_which_run_is_in_the_way() {
    let mut rig = Rig::new();
    rig.add(definition("a", every(MINUTE)));
    rig.pass(MINUTE);
    let origin = rig.start();
    rig.pass(2 * MINUTE);
    assert_eq!(
        rig.passed(),
        [(
            Passing::Skipped,
            2 * MINUTE,
            2 * MINUTE,
            1,
            "run a/1 is still running".to_owned()
        )]
    );
    rig.ended(&origin, ended(Exit::Code(0)));
    rig.pass(3 * MINUTE);
    assert_eq!(rig.start().attempt.run.n, 2);
}

#[test]
fn an_overlap_with_a_run_that_waits_says_that_it_waits() {
    let limits = Limits {
        running: 1,
        ..Limits::default()
    };
    let mut rig = Rig::limited(limits);
    rig.add(definition("a", once(MINUTE)));
    rig.add(definition("b", every(MINUTE)));
    rig.pass(MINUTE);
    rig.effects.clear();
    rig.pass(2 * MINUTE);
    let reasons: Vec<String> = rig.passed().into_iter().map(|(.., reason)| reason).collect();
    assert_eq!(reasons, ["run b/1 still waits for a place"]);
}

#[test]
fn lateness_decides_between_firing_catch_up_and_missed() {
    let late = 10_000;
    let within = HOUR;
    for (lateness, expected) in [
        (0, Some(Trigger::Schedule)),
        (late, Some(Trigger::Schedule)),
        (late + 1, Some(Trigger::CatchUp)),
        (within, Some(Trigger::CatchUp)),
        (within + 1, None),
    ] {
        let mut rig = Rig::new();
        rig.add(definition("a", every(24 * HOUR)));
        rig.go(24 * HOUR - 2000);
        rig.effects.clear();
        rig.go(24 * HOUR + lateness);
        let effects = rig.effects.clone();
        let starts = rig.starts();
        assert_eq!(
            starts.first().map(|origin| origin.trigger),
            expected,
            "{lateness} ms late"
        );
        rig.effects = effects;
        let missed = (
            Passing::Missed,
            24 * HOUR,
            24 * HOUR,
            1,
            "the machine was asleep or busy".to_owned(),
        );
        let expected = if starts.is_empty() { vec![missed] } else { Vec::new() };
        assert_eq!(rig.passed(), expected, "{lateness} ms late");
    }
}

#[test]
fn of_many_misfires_the_latest_runs_and_the_others_are_counted() {
    let mut rig = Rig::new();
    rig.add(definition("a", every(MINUTE)));
    rig.go(10 * MINUTE + 30_000);
    let effects = rig.effects.clone();
    let origin = rig.start();
    assert_eq!(
        (origin.fire_time, origin.trigger),
        (Some(at(10 * MINUTE)), Trigger::CatchUp)
    );
    rig.effects = effects;
    let why = "the machine was asleep or busy".to_owned();
    assert_eq!(rig.passed(), [(Passing::Missed, MINUTE, 9 * MINUTE, 9, why)]);
}

#[test]
fn an_overdue_instant_runs_once_however_late() {
    let mut rig = Rig::new();
    rig.add(definition("a", once(MINUTE)));
    rig.go(1000 * HOUR);
    assert_eq!(rig.start().trigger, Trigger::CatchUp);
    rig.go(2000 * HOUR);
    assert_eq!(rig.starts(), []);
    assert_eq!(rig.core.next_due(), None);
}

#[test]
fn a_policy_says_how_late_a_misfire_may_run() {
    let mut rig = Rig::new();
    let mut patient = definition("a", every(24 * HOUR));
    patient.policies = within(5);
    rig.add(patient);
    rig.go(29 * HOUR);
    assert_eq!(rig.start().trigger, Trigger::CatchUp);
}

#[test]
fn what_was_missed_can_be_let_be() {
    let skip = Policies {
        misfire: Misfire::Skip,
        ..Policies::default()
    };
    let mut rig = Rig::new();
    for (name, when) in [("a", every(MINUTE)), ("b", once(MINUTE))] {
        let mut task = definition(name, when);
        task.policies = skip;
        rig.add(task);
    }
    rig.go(2 * MINUTE + 11_000);
    let effects = rig.effects.clone();
    assert_eq!(rig.starts(), []);
    rig.effects = effects;
    let missed: Vec<u64> = rig.passed().into_iter().map(|(.., count, _)| count).collect();
    assert_eq!(missed, [2, 1]);
    // One that is only late is no misfire.
    rig.go(3 * MINUTE + 9_000);
    assert_eq!(rig.start().trigger, Trigger::Schedule);
}

#[test]
fn a_task_has_a_rule_of_its_own_for_the_change_of_the_clock() {
    // 2027-03-28 in Berlin: 02:30 is skipped, the clock shows 03:00 at 01:00 UTC.
    let night = Timestamp::from_second(1_806_192_000);
    let hours = |n: u64| Duration::from_millis(n * HOUR);
    for (gap, fires) in [(Gap::Auto, true), (Gap::Run, true), (Gap::Skip, false)] {
        let mut rig = Rig::new();
        rig.now = night.minus(hours(12));
        let dst = DstRule {
            gap,
            ..DstRule::default()
        };
        rig.add(definition(
            "a",
            When::Cron {
                expr: "30 2 * * *".to_owned(),
                tz: "Europe/Berlin".to_owned(),
                dst,
            },
        ));
        let expected = if fires { hours(1) } else { hours(24) + hours(1) / 2 };
        assert_eq!(rig.core.next_due(), Some(night.plus(expected)), "{gap:?}");
    }
}

#[test]
fn past_the_limit_runs_wait_and_are_admitted_in_order() {
    let limits = Limits {
        running: 2,
        ..Limits::default()
    };
    let mut rig = Rig::limited(limits);
    for name in ["a", "b", "c", "d"] {
        rig.add(definition(name, once(MINUTE)));
    }
    rig.pass(MINUTE);
    let started = rig.starts();
    assert_eq!(started.len(), 2);
    assert_eq!((rig.core.counts().running, rig.core.counts().waiting), (2, 2));
    rig.prompt = false;
    rig.ended(&started[0], ended(Exit::Code(0)));
    assert_eq!(rig.starts(), [], "a waiting run starts when its admission is durable");
    assert_eq!(rig.core.counts().running, 2);
    rig.store();
    assert_eq!(rig.start().name.as_str(), "c");
    rig.prompt = true;
    rig.ended(&started[1], ended(Exit::Code(0)));
    assert_eq!(rig.start().name.as_str(), "d");
}

#[test]
fn a_manual_run_on_its_way_holds_its_place() {
    let limits = Limits {
        running: 1,
        ..Limits::default()
    };
    let mut rig = Rig::limited(limits);
    rig.add(definition("a", every(MINUTE)));
    let b = rig.add(definition("b", When::Manual));
    rig.pass(MINUTE - 1000);
    rig.prompt = false;
    rig.run(b);
    rig.go(MINUTE);
    assert_eq!(rig.starts(), []);
    rig.store();
    assert_eq!(rig.start().name.as_str(), "b");
    assert_eq!(rig.core.counts().waiting, 1);
}

#[test]
fn a_firing_is_held_while_a_change_of_its_task_is_on_its_way() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", every(MINUTE)));
    rig.pass(MINUTE - 1000);
    rig.prompt = false;
    rig.apply(edit(id, definition("b", every(MINUTE)))).unwrap();
    rig.go(MINUTE);
    assert_eq!(rig.starts(), []);
    rig.refuse();
    assert_eq!(rig.start().name.as_str(), "a", "the change was refused");
}

#[test]
fn ten_years_of_hours_pass_by_jumping_from_wakeup_to_wakeup() {
    let mut rig = Rig::new();
    rig.add(definition(
        "a",
        When::Cron {
            expr: "0 * * * *".to_owned(),
            tz: "Europe/Berlin".to_owned(),
            dst: DstRule::default(),
        },
    ));
    let (mut runs, years) = (0, 10 * 365 * 24);
    while let Some(wakeup) = rig.core.next_wakeup().filter(|wakeup| *wakeup <= at(years * HOUR)) {
        assert!(wakeup > rig.now, "time stands still at {wakeup}");
        rig.now = wakeup;
        rig.tell(Event::Tick);
        for origin in rig.starts() {
            runs += 1;
            rig.ended(&origin, ended(Exit::Code(0)));
        }
        rig.disk.clear();
    }
    assert_eq!(runs, years);
}

#[test]
fn what_falls_due_is_left_for_a_while_but_no_fire_time_is_lost_over_it() {
    let mut rig = Rig::new();
    assert_eq!(rig.core.rest_until(at(10)), at(10), "nothing is due");
    rig.add(definition("slow", every(1_003)));
    let quick = rig.add(definition("quick", every(7)));
    rig.go(1_000);
    // It is due at 1,001 and 1,008.
    assert_eq!(rig.core.rest_until(at(1_007)), at(1_007));
    assert_eq!(rig.core.rest_until(at(1_008)), at(1_001));
    let (running, reason) = (crate::command::WhileRunning::Cancel, String::new());
    let ids = vec![quick];
    rig.apply(Command::Remove { ids, running, reason }).unwrap();
    assert_eq!(rig.core.rest_until(at(1_010)), at(1_010));
    for n in 0..70 {
        rig.add(definition(&format!("crowd-{n}"), every(2_000 + n)));
    }
    rig.go(3_990);
    assert_eq!(rig.core.rest_until(at(4_010)), at(4_010));
    // At 4,000, 4,002 and so on: 64 of them, the slow one among those, are taken together.
    assert_eq!(rig.core.rest_until(at(4_200)), at(4_126));
}
