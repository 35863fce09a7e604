//! Lives of the daemon and of the runner that end at bad moments.

use super::*;
use crate::run::Trigger;

/// A task that is due each minute, and the start of its first run, whose record is not durable.
pub(super) fn unrecorded() -> (Rig, TaskId, Origin) {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", every(MINUTE)));
    rig.pass(MINUTE - 1);
    rig.effects.clear();
    rig.prompt = false;
    rig.go(MINUTE);
    let origin = rig.start();
    (rig, id, origin)
}

#[test]
fn a_run_that_was_started_and_not_recorded_is_adopted() {
    let (rig, id, origin) = unrecorded();
    let mut rig = rig.restart();
    rig.now = at(MINUTE + 1000);
    assert!(rig.core.run(origin.attempt.run).is_none());
    rig.attach(1, vec![live(&origin)]);
    assert_eq!(rig.starts(), [], "it runs already");
    let run = rig.core.run(origin.attempt.run).unwrap();
    assert_eq!(
        (run.state, run.pid, run.origin.trace_id),
        ("running", Some(7), origin.trace_id)
    );
    assert_eq!(rig.core.task(id).unwrap().mark, at(MINUTE));
}

#[test]
fn an_end_that_was_not_recorded_is_taken_from_the_runner() {
    let (rig, _, origin) = unrecorded();
    let mut rig = rig.restart();
    rig.now = at(MINUTE + 1000);
    rig.attach_with(2, Vec::new(), vec![(origin.clone(), ended(Exit::Code(0)))]);
    let effects = rig.effects.clone();
    assert_eq!(rig.outcomes(), [(origin.attempt.run, Outcome::Succeeded, None)]);
    rig.effects = effects;
    assert_eq!(rig.forgotten(), [origin.attempt]);
}

#[test]
fn a_firing_a_living_runner_does_not_know_was_not_started() {
    let (rig, _, _) = unrecorded();
    let mut rig = rig.restart();
    rig.now = at(MINUTE + 20_000);
    rig.attach(1, Vec::new());
    let origin = rig.start();
    assert_eq!((origin.fire_time, origin.trigger), (Some(at(MINUTE)), Trigger::CatchUp));
}

#[test]
fn the_latest_is_caught_up_also_when_an_older_one_lies_inside_the_old_horizon() {
    let (rig, _, _) = unrecorded();
    let mut rig = rig.restart();
    rig.now = at(4 * MINUTE + 20_000);
    rig.attach(1, Vec::new());
    let effects = rig.effects.clone();
    let origin = rig.start();
    assert_eq!(
        (origin.fire_time, origin.trigger),
        (Some(at(4 * MINUTE)), Trigger::CatchUp)
    );
    rig.effects = effects;
    let why = "taskd was not running".to_owned();
    assert_eq!(rig.passed(), [(Passing::Missed, MINUTE, 3 * MINUTE, 3, why)]);
}

#[test]
fn a_firing_lost_with_its_runner_is_unknown() {
    let (rig, _, _) = unrecorded();
    for back in [0, 30_000] {
        let mut rig = rig.restart();
        rig.now = at(MINUTE + 20_000 - back);
        rig.attach(2, Vec::new());
        let why = "taskd and its runner ended before it was recorded".to_owned();
        assert_eq!(rig.passed(), [(Passing::Unknown, MINUTE, MINUTE, 1, why)]);
        rig.pass(MINUTE + 30_000);
        assert_eq!(rig.starts(), [], "the clock set back by {back} ms");
    }
}

#[test]
fn nothing_is_unknown_after_an_orderly_stop() {
    let mut rig = Rig::new();
    rig.add(definition("a", every(MINUTE)));
    rig.pass(MINUTE - 1);
    rig.tell(Event::Closing);
    rig.go(MINUTE);
    assert_eq!(rig.starts(), [], "what is due now is left to the next life");
    let mut rig = rig.restart();
    rig.now = at(MINUTE + 1000);
    rig.attach(2, Vec::new());
    assert_eq!(rig.start().fire_time, Some(at(MINUTE)));
}

#[test]
fn no_decision_is_taken_about_a_task_that_may_have_an_unrecorded_run() {
    let (rig, id, origin) = unrecorded();
    let mut rig = rig.restart();
    rig.now = at(MINUTE + 1000);
    let command = switch(&[id], false);
    assert_eq!(rig.apply(command.clone()), Err(Refusal::NoRunner));
    rig.attach(1, vec![live(&origin)]);
    rig.apply(command).unwrap();
}

#[test]
fn nothing_starts_before_a_runner_is_attached() {
    let mut rig = Rig::bare(Limits::default());
    rig.add(definition("a", every(MINUTE)));
    rig.go(MINUTE);
    assert_eq!(rig.core.next_wakeup(), None);
    assert_eq!(rig.starts(), []);
    rig.now = at(3 * MINUTE + 30_000);
    rig.attach(1, Vec::new());
    let effects = rig.effects.clone();
    assert_eq!(rig.start().fire_time, Some(at(3 * MINUTE)));
    rig.effects = effects;
    let why = "the runner was away".to_owned();
    assert_eq!(rig.passed(), [(Passing::Missed, MINUTE, 2 * MINUTE, 2, why)]);
}

#[test]
fn what_passed_between_two_lives_says_so() {
    let mut rig = Rig::new();
    rig.add(definition("a", every(MINUTE)));
    let mut rig = rig.restart();
    rig.now = at(2 * MINUTE + 30_000);
    rig.attach(1, Vec::new());
    let why = "taskd was not running".to_owned();
    assert_eq!(rig.passed(), [(Passing::Missed, MINUTE, MINUTE, 1, why)]);
}

/// A manual run in this state, durable, and the life after it.
pub(super) fn next_life(started: bool, stopping: bool) -> (Rig, Origin) {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", When::Manual));
    let run = rig.run(id);
    let origin = rig.start();
    if started {
        rig.started(&origin);
    }
    if stopping {
        rig.apply(cancel(run)).unwrap();
    }
    (rig.restart(), origin)
}

#[test]
fn a_recorded_run_the_runner_does_not_know() {
    let unknown = (Outcome::Unknown, "the runner ended under it");
    let cancelled = (Outcome::Cancelled, "cancelled by uid 1000");
    for (started, stopping, same, expected) in [
        (false, false, true, None),
        (false, false, false, Some(unknown)),
        (true, false, true, Some(unknown)),
        (true, false, false, Some(unknown)),
        (false, true, true, Some(cancelled)),
        (false, true, false, Some(unknown)),
        (true, true, true, Some(unknown)),
        (true, true, false, Some(unknown)),
    ] {
        let case = format!("started {started}, stopping {stopping}, same runner {same}");
        let (mut rig, origin) = next_life(started, stopping);
        rig.attach(if same { 1 } else { 2 }, Vec::new());
        let effects = rig.effects.clone();
        let expected: Vec<_> = expected
            .map(|(outcome, why)| (origin.attempt.run, outcome, Some(why.to_owned())))
            .into_iter()
            .collect();
        assert_eq!(rig.outcomes(), expected, "{case}");
        rig.effects = effects;
        assert_eq!(rig.starts().len(), usize::from(expected.is_empty()), "{case}");
    }
}

#[test]
fn what_a_runner_beside_the_next_one_does_not_know_was_not_started() {
    let (mut rig, origin) = next_life(false, false);
    let inventory = |instance, also| Inventory {
        instance,
        also,
        ..Inventory::default()
    };
    rig.tell(Event::RunnerAttached(inventory(2, vec![1])));
    assert_eq!(rig.start(), origin, "it is told to the next one");
    // From then on it is that one's word that counts.
    let mut rig = rig.restart();
    rig.tell(Event::RunnerAttached(inventory(3, vec![1])));
    let why = "the runner ended under it".to_owned();
    assert_eq!(rig.outcomes(), [(origin.attempt.run, Outcome::Unknown, Some(why))]);
}

#[test]
fn a_firing_that_a_runner_beside_the_next_one_does_not_know_was_not_started() {
    let (rig, _, _) = unrecorded();
    let mut rig = rig.restart();
    rig.now = at(MINUTE + 20_000);
    rig.tell(Event::RunnerAttached(Inventory {
        instance: 2,
        also: vec![1],
        ..Inventory::default()
    }));
    let origin = rig.start();
    assert_eq!((origin.fire_time, origin.trigger), (Some(at(MINUTE)), Trigger::CatchUp));
}

#[test]
fn what_was_lost_with_a_runner_beside_the_living_one_is_not_started_again() {
    let (mut rig, origin) = next_life(false, false);
    // It is about to have a process.
    let spawning = Live {
        pid: 0,
        ..live(&origin)
    };
    rig.tell(Event::RunnerAttached(Inventory {
        instance: 2,
        also: vec![1],
        live: vec![spawning],
        ..Inventory::default()
    }));
    rig.tell(Event::RunnerLost);
    rig.effects.clear();
    rig.tell(Event::RunnerAttached(Inventory {
        instance: 2,
        lost: vec![origin.attempt],
        ..Inventory::default()
    }));
    let why = "the runner ended under it".to_owned();
    let effects = rig.effects.clone();
    assert_eq!(rig.outcomes(), [(origin.attempt.run, Outcome::Unknown, Some(why))]);
    rig.effects = effects;
    assert_eq!(rig.starts(), []);
}

/// A runner that is about to spawn what it was told to start is beside another from now on.
fn spawning_beside() -> (Rig, Origin) {
    let (mut rig, origin) = next_life(false, false);
    let spawning = Live {
        pid: 0,
        ..live(&origin)
    };
    rig.tell(Event::RunnerAttached(Inventory {
        instance: 2,
        also: vec![1],
        live: vec![spawning],
        ..Inventory::default()
    }));
    (rig, origin)
}

#[test]
fn what_was_lost_with_a_runner_beside_is_not_started_again_by_a_life_that_meets_only_the_other() {
    let (mut rig, origin) = spawning_beside();
    // All of these end before it is durable that it started.
    rig.prompt = false;
    rig.started(&origin);
    let mut rig = rig.restart();
    rig.attach(2, Vec::new());
    let why = "the runner ended under it".to_owned();
    let effects = rig.effects.clone();
    assert_eq!(rig.outcomes(), [(origin.attempt.run, Outcome::Unknown, Some(why))]);
    rig.effects = effects;
    assert_eq!(rig.starts(), []);
}

#[test]
fn what_one_beside_was_about_to_spawn_is_not_started_again_when_both_runners_are_killed() {
    let (mut rig, origin) = spawning_beside();
    rig.tell(Event::RunnerLost);
    rig.effects.clear();
    // Of the one that was attached it is known what it had begun, and of the other it is not.
    rig.tell(Event::RunnerAttached(Inventory {
        instance: 3,
        also: vec![2],
        ..Inventory::default()
    }));
    let why = "the runner ended under it".to_owned();
    let effects = rig.effects.clone();
    assert_eq!(rig.outcomes(), [(origin.attempt.run, Outcome::Unknown, Some(why))]);
    rig.effects = effects;
    assert_eq!(rig.starts(), []);
}

#[test]
fn once_what_a_runner_beside_was_spawning_has_started_the_other_knows_what_was_not() {
    let (mut rig, origin) = spawning_beside();
    rig.started(&origin);
    let id = rig.add(definition("b", When::Manual));
    rig.run(id);
    let other = rig.start();
    let mut rig = rig.restart();
    rig.attach(2, vec![live(&origin)]);
    assert_eq!(rig.start(), other, "it was told to the one that does not know it");
}

#[test]
fn nothing_starts_in_the_next_runner_before_it_is_durable_that_it_is_the_one() {
    let (mut rig, _) = next_life(true, false);
    let id = rig.add(definition("b", When::Manual));
    rig.prompt = false;
    let inventory = |instance| Inventory {
        instance,
        also: vec![1],
        ..Inventory::default()
    };
    rig.tell(Event::RunnerAttached(inventory(2)));
    rig.sent.clear();
    let at_the_store = std::mem::take(&mut rig.batches);
    let run = rig.run(id);
    for (ticket, _) in std::mem::take(&mut rig.batches) {
        // As durable as may be, but for who is attached.
        rig.tell(Event::Durable(ticket));
    }
    assert_eq!(rig.starts(), [], "another life would ask the one before about it");
    for (ticket, _) in at_the_store {
        rig.tell(Event::Durable(ticket));
    }
    assert_eq!(rig.start().attempt.run, run);
}

#[test]
fn a_look_at_a_gate_that_a_runner_tells_of_again_says_nothing_of_a_process_that_runs() {
    let (mut rig, origin) = next_life(true, false);
    let end = AttemptEnd {
        pid: 0,
        ..ended(Exit::GateClosed {
            reading: "load 9 is over 4".to_owned(),
        })
    };
    rig.attach_with(3, Vec::new(), vec![(origin.clone(), end)]);
    let why = "the runner ended under it".to_owned();
    let effects = rig.effects.clone();
    assert_eq!(rig.outcomes(), [(origin.attempt.run, Outcome::Unknown, Some(why))]);
    rig.effects = effects;
    assert_eq!(rig.forgotten(), [origin.attempt]);
}

#[test]
fn a_run_being_stopped_is_stopped_again_by_the_next_life() {
    let (mut rig, origin) = next_life(true, true);
    rig.attach(1, vec![live(&origin)]);
    assert_eq!(rig.stops(), [origin.attempt]);
    let (mut rig, origin) = next_life(true, true);
    let stopping = Live {
        stopping: true,
        ..live(&origin)
    };
    rig.attach(1, vec![stopping]);
    assert_eq!(rig.stops(), [], "the runner is at it");
}

#[test]
fn an_end_told_twice_is_forgotten_only_when_it_is_durable() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", When::Manual));
    rig.run(id);
    let origin = rig.start();
    rig.prompt = false;
    rig.ended(&origin, ended(Exit::Code(0)));
    rig.tell(Event::RunnerLost);
    rig.attach_with(1, Vec::new(), vec![(origin.clone(), ended(Exit::Code(0)))]);
    assert_eq!(rig.forgotten(), [], "a crash now must find it at the runner");
    rig.store();
    assert_eq!(rig.forgotten(), [origin.attempt; 2]);
    rig.ended(&origin, ended(Exit::Code(0)));
    assert_eq!(rig.forgotten(), [origin.attempt], "nothing is pending any more");
}

#[test]
fn an_end_is_told_when_it_is_durable() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", When::Manual));
    rig.run(id);
    let origin = rig.start();
    rig.prompt = false;
    rig.ended(&origin, ended(Exit::Signal(9)));
    assert_eq!(rig.notices().len(), 1, "only that it started");
    rig.store();
    let notices = rig.notices();
    let [Notice::RunFinished { outcome, signal, .. }] = notices.as_slice() else {
        panic!("{notices:?}");
    };
    assert_eq!((*outcome, *signal), (Outcome::Failed, Some(9)));
}

#[test]
fn a_start_that_failed_says_why() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", When::Manual));
    let run = rig.run(id);
    let origin = rig.start();
    let mut end = ended(Exit::SpawnFailed {
        errno: 2,
        what: "exec".to_owned(),
    });
    end.pid = 0;
    rig.ended(&origin, end);
    let why = Some("exec: No such file or directory (os error 2)".to_owned());
    assert_eq!(rig.outcomes(), [(run, Outcome::SpawnFailed, why)]);
}

#[test]
fn events_told_twice_or_of_unknown_runs_change_nothing() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", When::Manual));
    let run = rig.run(id);
    let origin = rig.start();
    rig.started(&origin);
    let before = rig.core.snapshot();
    rig.started(&origin);
    rig.tell(Event::Durable(Ticket(999)));
    rig.tell(Event::Refused(Ticket(1)));
    let stranger = AttemptKey {
        run: RunKey { task: TaskId(99), n: 1 },
        attempt: 1,
    };
    let at = rig.now;
    rig.tell(Event::Started {
        attempt: stranger,
        pid: 1,
        at,
    });
    assert_eq!(rig.core.snapshot(), before);
    let mut other = origin.clone();
    other.attempt = stranger;
    rig.effects.clear();
    rig.ended(&other, ended(Exit::Code(0)));
    assert_eq!(rig.forgotten(), [stranger]);
    assert!(rig.core.run(run).is_some());
}

#[test]
fn one_run_makes_up_for_all_that_was_missed_however_often() {
    let one = || Limits {
        running: 1,
        ..Limits::default()
    };
    let mut rig = Rig::limited(one());
    let busy = rig.add(definition("busy", When::Manual));
    rig.add(definition("a", every(MINUTE)));
    rig.run(busy);
    let origin = rig.start();
    rig.started(&origin);
    let mut created = 0;
    for life in 1..=3 {
        let mut next = rig.restart();
        next.core.set_limits(one());
        next.now = at(life * 10 * MINUTE + 20_000);
        next.attach(1, vec![live(&origin)]);
        let records = next.records();
        created += records
            .iter()
            .filter(|record| matches!(record, Record::RunCreated { .. }))
            .count();
        if life > 1 {
            let reason = |record: &Record| match record {
                Record::Passed { reason, .. } => Some(reason.clone()),
                _ => None,
            };
            let reasons: Vec<_> = records.iter().filter_map(reason).collect();
            assert_eq!(reasons, ["taskd was not running", "run a/1 still waits for a place"]);
        }
        rig = next;
    }
    assert_eq!(created, 1);
}
