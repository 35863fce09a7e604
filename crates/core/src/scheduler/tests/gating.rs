//! Runs whose gate the runner finds closed.

use std::num::NonZeroU64;

use super::*;
use crate::command::WhileRunning;
use crate::policy::{Concurrency, Retry};
use crate::run::Stopped;
use crate::scheduler::WaitsFor;

const SECOND: u64 = 1_000;

/// A manual task whose runs wait so long for a gate.
fn gated(wait_ms: u64) -> Definition {
    Definition {
        policies: Policies {
            gate_wait_ms: NonZeroU64::new(wait_ms),
            retry: Retry {
                times: 3,
                ..Retry::default()
            },
            ..Policies::default()
        },
        ..definition("a", When::Manual)
    }
}

fn begin(rig: &mut Rig, definition: Definition) -> (TaskId, Origin) {
    let id = rig.add(definition);
    rig.run(id);
    let origin = rig.start();
    (id, origin)
}

/// The runner finds a gate closed, at the time of the rig.
fn close(rig: &mut Rig, origin: &Origin) {
    closed_with(rig, origin, None);
}

fn closed_with(rig: &mut Rig, origin: &Origin, stopped: Option<Stopped>) {
    let end = AttemptEnd {
        started_at: rig.now,
        finished_at: rig.now,
        pid: 0,
        stopped,
        ..ended(Exit::GateClosed {
            reading: "load 9 is over 4".to_owned(),
        })
    };
    rig.ended(origin, end);
}

fn state(rig: &Rig, origin: &Origin) -> &'static str {
    rig.core.run(origin.attempt.run).expect("it has not ended").state
}

fn skipped(origin: &Origin) -> [(RunKey, Outcome, Option<String>); 1] {
    [(
        origin.attempt.run,
        Outcome::Skipped,
        Some("load 9 is over 4".to_owned()),
    )]
}

#[test]
fn without_a_wait_a_closed_gate_is_a_skip_and_no_failure() {
    let mut rig = Rig::new();
    let (_, origin) = begin(&mut rig, gated(0));
    close(&mut rig, &origin);
    // It would have retries.
    assert_eq!(rig.outcomes(), skipped(&origin));
    assert_eq!(rig.core.active_runs().count(), 0);
    assert_eq!(rig.core.next_wakeup(), None);
}

#[test]
fn a_gate_is_looked_at_ever_later_and_given_up_in_time() {
    let mut rig = Rig::new();
    let (_, first) = begin(&mut rig, gated(20 * SECOND));
    let mut looks = Vec::new();
    let mut origin = first.clone();
    loop {
        rig.effects.clear();
        close(&mut rig, &origin);
        let Some(view) = rig.core.run(first.attempt.run) else {
            break;
        };
        assert_eq!((view.state, view.gate_until), ("gated", Some(at(20 * SECOND))));
        let reading = "load 9 is over 4".to_owned();
        assert_eq!(view.waits_for, Some(WaitsFor::Gate { reading }));
        assert_eq!(view.started_at, None);
        let look_at = view.retry_at.expect("it is looked at again");
        assert_eq!(rig.core.next_wakeup(), Some(look_at), "nothing is done meanwhile");
        looks.push(look_at.since(at(0)).as_secs());
        // The runner may forget the first look before it is asked for the second, by the same key.
        assert_eq!(rig.forgotten(), [first.attempt]);
        rig.now = look_at;
        rig.tell(Event::Tick);
        origin = rig.start();
        assert_eq!(origin, first);
    }
    assert_eq!(looks, [1, 3, 7, 15, 20]);
    assert_eq!(rig.outcomes(), skipped(&first));
}

#[test]
fn a_gate_that_opens_lets_the_run_in_and_its_retries_are_its_own() {
    let mut rig = Rig::new();
    let (_, origin) = begin(&mut rig, gated(60 * SECOND));
    close(&mut rig, &origin);
    rig.go(SECOND);
    let again = rig.start();
    assert_eq!(again.attempt.attempt, 1);
    rig.started(&again);
    let view = rig.core.run(again.attempt.run).expect("it runs");
    assert_eq!((view.state, view.waits_for, view.gate_until), ("running", None, None));
    let end = AttemptEnd {
        finished_at: rig.now,
        ..ended(Exit::Code(1))
    };
    rig.ended(&again, end);
    assert_eq!(state(&rig, &again), "backing-off");
}

#[test]
fn a_wait_is_told_of_once() {
    let mut rig = Rig::new();
    let (_, origin) = begin(&mut rig, gated(60 * SECOND));
    let told = |rig: &mut Rig| {
        let is_it = |notice: &Notice| matches!(notice, Notice::GateClosed { .. });
        rig.notices().iter().filter(|notice| is_it(notice)).count()
    };
    close(&mut rig, &origin);
    assert_eq!(told(&mut rig), 1);
    rig.go(SECOND);
    close(&mut rig, &origin);
    assert_eq!(told(&mut rig), 0);
}

#[test]
fn while_it_waits_it_takes_no_place_and_counts_among_the_runs_of_its_task() {
    let mut rig = Rig::limited(Limits {
        running: 1,
        ..Limits::default()
    });
    let (id, origin) = begin(&mut rig, gated(60 * SECOND));
    close(&mut rig, &origin);
    let other = rig.add(definition("b", When::Manual));
    rig.run(other);
    let busy = rig.start();
    rig.started(&busy);
    let refused = rig.apply(Command::Run {
        ids: vec![id],
        overrides: None,
    });
    assert!(matches!(refused, Err(Refusal::StillRunning { .. })), "{refused:?}");
    // It is time to look, and there is no place to look from.
    rig.go(SECOND);
    assert_eq!((state(&rig, &origin), rig.starts()), ("waiting", vec![]));
    rig.ended(&busy, ended(Exit::Code(0)));
    assert_eq!(rig.start(), origin);
}

#[test]
fn a_run_that_waits_for_its_gate_can_be_cancelled_and_replaced() {
    let mut rig = Rig::new();
    let (_, origin) = begin(&mut rig, gated(60 * SECOND));
    close(&mut rig, &origin);
    rig.apply(cancel(origin.attempt.run)).unwrap();
    assert_eq!(rig.outcomes()[0].1, Outcome::Cancelled);
    assert_eq!(rig.core.next_wakeup(), None);

    let mut rig = Rig::new();
    let mut definition = gated(60 * SECOND);
    definition.policies.concurrency = Concurrency::Replace;
    let (id, origin) = begin(&mut rig, definition);
    close(&mut rig, &origin);
    rig.run(id);
    let next = rig.start();
    assert_eq!(next.attempt.run.n, 2);
    assert!(rig.core.run(origin.attempt.run).is_none());
}

#[test]
fn a_stop_while_the_gate_is_looked_at_is_a_cancellation() {
    let mut rig = Rig::new();
    let (_, origin) = begin(&mut rig, gated(60 * SECOND));
    rig.apply(cancel(origin.attempt.run)).unwrap();
    assert_eq!(rig.stops(), [origin.attempt]);
    closed_with(&mut rig, &origin, Some(Stopped::Asked));
    let told = rig.outcomes();
    assert_eq!((told.len(), told[0].1), (1, Outcome::Cancelled));
}

#[test]
fn a_look_that_the_end_of_the_runner_breaks_off_is_no_skip() {
    let mut rig = Rig::new();
    let (_, origin) = begin(&mut rig, gated(60 * SECOND));
    closed_with(&mut rig, &origin, Some(Stopped::Asked));
    assert_eq!(state(&rig, &origin), "gated");
    let mut rig = Rig::new();
    let (_, origin) = begin(&mut rig, gated(0));
    closed_with(&mut rig, &origin, Some(Stopped::Asked));
    assert_eq!(rig.outcomes()[0].1, Outcome::Cancelled);
}

#[test]
fn a_removed_task_has_nothing_wait_for_its_gate() {
    for running in [WhileRunning::Cancel, WhileRunning::Keep] {
        let mut rig = Rig::new();
        let (id, origin) = begin(&mut rig, gated(60 * SECOND));
        close(&mut rig, &origin);
        rig.effects.clear();
        rig.apply(Command::Remove {
            ids: vec![id],
            running,
            reason: "removed".to_owned(),
        })
        .unwrap();
        assert_eq!(rig.outcomes()[0].1, Outcome::Cancelled);
    }
    // One that is being looked at ends when the runner has done so.
    let mut rig = Rig::new();
    let (id, origin) = begin(&mut rig, gated(60 * SECOND));
    rig.apply(Command::Remove {
        ids: vec![id],
        running: WhileRunning::Keep,
        reason: "removed".to_owned(),
    })
    .unwrap();
    close(&mut rig, &origin);
    assert_eq!(rig.outcomes()[0].1, Outcome::Cancelled);
}

#[test]
fn an_edit_lets_it_wait_no_longer_than_it_would_have() {
    let mut rig = Rig::new();
    let (id, origin) = begin(&mut rig, gated(60 * SECOND));
    close(&mut rig, &origin);
    let edit = |wait_ms| Command::Edit {
        id,
        definition: Box::new(gated(wait_ms)),
        by: "uid 1000".to_owned(),
    };
    rig.apply(edit(600 * SECOND)).unwrap();
    rig.go(SECOND);
    close(&mut rig, &origin);
    let until = |rig: &Rig| rig.core.run(origin.attempt.run).and_then(|view| view.gate_until);
    assert_eq!(until(&rig), Some(at(60 * SECOND)));
    rig.apply(edit(10 * SECOND)).unwrap();
    rig.pass(3 * SECOND);
    close(&mut rig, &origin);
    assert_eq!(until(&rig), Some(at(13 * SECOND)));
    rig.apply(edit(0)).unwrap();
    rig.pass(7 * SECOND);
    rig.effects.clear();
    close(&mut rig, &origin);
    assert_eq!(rig.outcomes(), skipped(&origin));
}

#[test]
fn the_wait_survives_the_daemon_and_its_end_stays_what_it_was() {
    let mut rig = Rig::new();
    let (_, origin) = begin(&mut rig, gated(60 * SECOND));
    close(&mut rig, &origin);
    rig.now = at(30 * SECOND);
    let mut rig = rig.restart();
    let view = rig.core.run(origin.attempt.run).expect("it waits");
    assert_eq!((view.state, view.gate_until), ("gated", Some(at(60 * SECOND))));
    // Its result is told again, since nobody had let the runner forget it.
    let end = ended(Exit::GateClosed {
        reading: "load 9 is over 4".to_owned(),
    });
    rig.attach_with(1, Vec::new(), vec![(origin.clone(), end)]);
    let sent = std::mem::take(&mut rig.effects)
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Forget(attempt) => Some((false, attempt)),
            Effect::Start { origin, .. } => Some((true, origin.attempt)),
            _ => None,
        });
    // It knows of no end by the key that it is asked for again.
    assert_eq!(
        sent.collect::<Vec<_>>(),
        [(false, origin.attempt), (true, origin.attempt)]
    );
    rig.go(61 * SECOND);
    close(&mut rig, &origin);
    assert_eq!(rig.outcomes(), skipped(&origin));
}

#[test]
fn a_runner_that_is_lost_while_it_looks_leaves_the_fate_unknown() {
    let mut rig = Rig::new();
    let (_, origin) = begin(&mut rig, gated(60 * SECOND));
    rig.tell(Event::RunnerLost);
    rig.attach(2, Vec::new());
    assert_eq!(rig.outcomes()[0].1, Outcome::Unknown);
    let mut rig = Rig::new();
    let (_, waits) = begin(&mut rig, gated(60 * SECOND));
    assert_eq!(origin.attempt, waits.attempt);
    close(&mut rig, &waits);
    rig.tell(Event::RunnerLost);
    rig.attach(2, Vec::new());
    assert_eq!(state(&rig, &waits), "gated", "nobody looked");
    rig.go(SECOND);
    assert_eq!(rig.start(), waits);
}

#[test]
fn a_clock_that_is_set_back_makes_no_wait_longer() {
    let mut rig = Rig::new();
    rig.now = at(3_600 * SECOND);
    let (_, origin) = begin(&mut rig, gated(60 * SECOND));
    close(&mut rig, &origin);
    rig.now = at(0);
    rig.tell(Event::ClockStepped);
    assert_eq!(rig.start(), origin, "it is looked at at once");
    close(&mut rig, &origin);
    let view = rig.core.run(origin.attempt.run).expect("it waits");
    assert_eq!(view.gate_until, Some(at(60 * SECOND)));
}

#[test]
fn the_firing_of_a_run_that_waits_is_not_missed_however_long_it_takes() {
    let mut rig = Rig::new();
    let every = When::Every {
        interval_ms: 3_600 * SECOND,
        anchor: at(0),
    };
    let definition = Definition {
        when: every,
        ..gated(1_800 * SECOND)
    };
    rig.add(definition);
    rig.pass(3_600 * SECOND);
    let origin = rig.start();
    assert!(origin.fire_time.is_some());
    close(&mut rig, &origin);
    // It was let go to look again, and the daemon was killed before the runner heard of it.
    rig.pass(3_601 * SECOND);
    rig.now = at(5_000 * SECOND);
    let mut rig = rig.restart();
    rig.attach(1, Vec::new());
    assert_eq!(rig.start(), origin);
}
