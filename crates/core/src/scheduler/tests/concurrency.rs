//! Several runs of one task: side by side, one after the other, or one in place of the other.

use std::num::NonZeroU32;

use super::*;
use crate::policy::Concurrency;

const SECOND: u64 = 1_000;

fn by(policy: &str, name: &str, when: When) -> Definition {
    Definition {
        policies: Policies {
            concurrency: Concurrency::parse(policy).unwrap(),
            ..Policies::default()
        },
        ..definition(name, when)
    }
}

fn numbers(origins: &[Origin]) -> Vec<u64> {
    origins.iter().map(|origin| origin.attempt.run.n).collect()
}

/// Lets seconds pass, and gives back what was started meanwhile.
fn go(rig: &mut Rig, seconds: impl Iterator<Item = u64>) -> Vec<Origin> {
    let mut started = Vec::new();
    for second in seconds {
        rig.pass(second * SECOND);
        let new: Vec<Origin> = rig
            .effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Start { origin, .. } => Some(origin.clone()),
                _ => None,
            })
            .skip(started.len())
            .collect();
        new.iter().for_each(|origin| rig.started(origin));
        started.extend(new);
    }
    started
}

/// An end at the time of the rig.
fn end(rig: &mut Rig, origin: &Origin, exit: Exit, stopped: Option<crate::run::Stopped>) {
    let end = AttemptEnd {
        started_at: rig.now,
        finished_at: rig.now,
        stopped,
        ..ended(exit)
    };
    rig.ended(origin, end);
}

#[test]
fn side_by_side_go_as_many_as_may_and_what_is_more_is_skipped() {
    let mut rig = Rig::new();
    rig.add(by("allow:2", "a", every(SECOND)));
    let started = go(&mut rig, 1..=3);
    assert_eq!(numbers(&started), [1, 2]);
    let reason = "2 runs of it are in progress, and no more may be".to_owned();
    assert_eq!(rig.passed(), [(Passing::Skipped, 3 * SECOND, 3 * SECOND, 1, reason)]);
    end(&mut rig, &started[0], Exit::Code(0), None);
    assert_eq!(numbers(&go(&mut rig, 4..=4)), [3]);
}

#[test]
fn without_a_number_as_many_go_as_there_are_places_and_a_few_wait() {
    let mut rig = Rig::limited(Limits {
        running: 3,
        ..Limits::default()
    });
    let id = rig.add(by("allow", "a", When::Manual));
    for _ in 0..3 + crate::policy::QUEUE.get() {
        rig.run(id);
    }
    assert_eq!((rig.core.counts().running, rig.core.counts().waiting), (3, 16));
    let busy = rig.core.busy_runs(ME, 5);
    assert_eq!((busy.running, busy.waiting), (3, 16));
    let waits: Vec<bool> = busy.runs.iter().map(|run| run.state == "waiting").collect();
    assert_eq!(
        waits,
        [false, false, false, true, true],
        "those with a process come first"
    );
    assert_eq!(rig.core.busy_runs(Owner(1), 5).running, 0, "they are somebody else's");
    let name = TaskName::parse("a").unwrap();
    let refused = rig.apply(Command::Run {
        ids: vec![id],
        overrides: None,
    });
    assert_eq!(
        refused,
        Err(Refusal::TooManyRuns {
            name,
            limit: 16,
            waiting: true
        })
    );
}

#[test]
fn who_asks_for_one_run_too_many_is_told_which_are_counted() {
    for (policy, limit, waiting) in [("queue:1", 1, true), ("allow:2", 2, false)] {
        let mut rig = Rig::new();
        let id = rig.add(by(policy, "a", When::Manual));
        rig.run(id);
        rig.run(id);
        let refused = rig.apply(Command::Run {
            ids: vec![id],
            overrides: None,
        });
        let name = TaskName::parse("a").unwrap();
        assert_eq!(refused, Err(Refusal::TooManyRuns { name, limit, waiting }), "{policy}");
    }
}

#[test]
fn a_queue_goes_in_order_and_what_it_does_not_hold_is_skipped() {
    let mut rig = Rig::new();
    rig.add(by("queue:2", "a", every(SECOND)));
    let first = go(&mut rig, 1..=5);
    assert_eq!(numbers(&first), [1]);
    let reason = "2 runs of it wait, and no more may".to_owned();
    assert_eq!(
        rig.passed(),
        [
            (Passing::Skipped, 4 * SECOND, 4 * SECOND, 1, reason.clone()),
            (Passing::Skipped, 5 * SECOND, 5 * SECOND, 1, reason),
        ]
    );
    end(&mut rig, &first[0], Exit::Code(1), None);
    let second = rig.start();
    assert_eq!((second.attempt.run.n, second.fire_time), (2, Some(at(2 * SECOND))));
    rig.started(&second);
    // After a restart the queue is what it was.
    let mut rig = rig.restart();
    rig.attach(
        1,
        vec![Live {
            origin: second.clone(),
            pid: 7,
            started_at: rig.now,
            stopping: false,
        }],
    );
    assert_eq!(rig.starts(), []);
    end(&mut rig, &second, Exit::Code(0), None);
    assert_eq!(rig.start().attempt.run.n, 3);
}

#[test]
fn a_new_run_replaces_the_one_in_progress_when_that_has_ended() {
    let mut rig = Rig::new();
    rig.add(by("replace", "a", every(SECOND)));
    let first = go(&mut rig, 1..=1).remove(0);
    rig.effects.clear();
    rig.pass(2 * SECOND);
    assert_eq!(rig.stops(), [first.attempt]);
    // The next one replaces the one that waits; that has nothing to stop.
    rig.pass(3 * SECOND);
    let reason = Some("replaced by run a/3".to_owned());
    let waited = RunKey {
        n: 2,
        ..first.attempt.run
    };
    assert_eq!(rig.outcomes(), [(waited, Outcome::Cancelled, reason)]);
    end(&mut rig, &first, Exit::Signal(15), Some(crate::run::Stopped::Asked));
    let effects = std::mem::take(&mut rig.effects);
    let finished = effects.iter().find_map(|effect| match effect {
        Effect::Record { records, .. } => records.iter().find_map(|record| match record {
            Record::RunFinished {
                run, outcome, reason, ..
            } => Some((*run, *outcome, reason.clone())),
            _ => None,
        }),
        _ => None,
    });
    let reason = Some("replaced by run a/2".to_owned());
    assert_eq!(finished, Some((first.attempt.run, Outcome::Cancelled, reason)));
    rig.effects = effects;
    assert_eq!(rig.start().attempt.run.n, 3);
}

#[test]
fn a_stop_for_a_replacement_waits_until_it_is_durable() {
    let mut rig = Rig::new();
    rig.add(by("replace", "a", every(SECOND)));
    let first = go(&mut rig, 1..=1).remove(0);
    rig.prompt = false;
    rig.effects.clear();
    rig.pass(2 * SECOND);
    let live = Live {
        origin: first.clone(),
        pid: 7,
        started_at: at(SECOND),
        stopping: false,
    };
    rig.attach(1, vec![live]);
    assert_eq!(rig.stops(), []);
    rig.store();
    assert_eq!(rig.stops(), [first.attempt]);
}

#[test]
fn one_that_is_asked_for_replaces_what_is_between_two_attempts() {
    let mut rig = Rig::new();
    let mut definition = by("replace", "a", When::Manual);
    definition.policies.retry.times = 3;
    let id = rig.add(definition);
    rig.run(id);
    let first = rig.start();
    rig.started(&first);
    end(&mut rig, &first, Exit::Code(1), None);
    rig.effects.clear();
    rig.run(id);
    let effects = std::mem::take(&mut rig.effects);
    rig.effects = effects.clone();
    let reason = Some("replaced by run a/2".to_owned());
    assert_eq!(rig.outcomes(), [(first.attempt.run, Outcome::Cancelled, reason)]);
    rig.effects = effects;
    assert_eq!(rig.start().attempt.run.n, 2);
}

#[test]
fn more_places_by_an_edit_start_what_waits() {
    let mut rig = Rig::new();
    let id = rig.add(by("queue", "a", When::Manual));
    for _ in 0..3 {
        rig.run(id);
    }
    assert_eq!(numbers(&rig.starts()), [1]);
    let wider = by("allow:2", "a", When::Manual);
    assert_eq!(wider.policies.concurrency.at_once(), NonZeroU32::new(2));
    rig.apply(Command::Edit {
        id,
        definition: Box::new(wider),
        by: "uid 1000".to_owned(),
    })
    .unwrap();
    assert_eq!(numbers(&rig.starts()), [2]);
}

#[test]
fn a_cancellation_of_what_is_being_replaced_is_answered_when_it_is_durable() {
    let mut rig = Rig::new();
    rig.add(by("replace", "a", every(SECOND)));
    let first = go(&mut rig, 1..=1).remove(0);
    rig.prompt = false;
    rig.pass(2 * SECOND);
    let accepted = rig.apply(cancel(first.attempt.run)).unwrap();
    assert!(accepted.ticket.is_some());
}

#[test]
fn a_replacement_and_what_it_replaces_become_durable_together() {
    let mut rig = Rig::limited(Limits {
        batch: std::num::NonZeroUsize::MIN,
        ..Limits::default()
    });
    rig.add(by("replace", "a", every(SECOND)));
    go(&mut rig, 1..=1);
    rig.effects.clear();
    rig.pass(2 * SECOND);
    let together = rig.effects.iter().any(|effect| match effect {
        Effect::Record { records, .. } => {
            let stops = |record: &Record| matches!(record, Record::RunStopping { .. });
            let creates = |record: &Record| matches!(record, Record::RunCreated { .. });
            records.iter().any(stops) && records.iter().any(creates)
        }
        _ => false,
    });
    assert!(together, "{:?}", rig.effects);
}
