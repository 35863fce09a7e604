//! Attempts that follow one that did not succeed.

use std::num::NonZeroU64;
use std::sync::Arc;

use super::*;
use crate::overrides::Overrides;
use crate::policy::{Retry, TimeLimits};
use crate::run::Stopped;
use crate::scheduler::Counts;

const SECOND: u64 = 1_000;

/// A manual task that is tried so often again.
fn tried(times: u32) -> Definition {
    Definition {
        policies: Policies {
            retry: Retry {
                times,
                ..Retry::default()
            },
            ..Policies::default()
        },
        ..definition("a", When::Manual)
    }
}

/// Starts a run of it.
fn begin(rig: &mut Rig, definition: Definition) -> (TaskId, Origin) {
    let id = rig.add(definition);
    rig.run(id);
    let origin = rig.start();
    rig.started(&origin);
    (id, origin)
}

#[test]
fn attempts_follow_each_other_ever_later_and_the_last_one_is_the_end() {
    let mut rig = Rig::new();
    let (id, first) = begin(&mut rig, tried(2));
    fail(&mut rig, &first, Exit::Code(3));
    let view = rig.core.run(first.attempt.run).unwrap();
    assert_eq!((view.state, view.retry_at), ("backing-off", Some(at(SECOND))));
    assert_eq!(rig.core.next_wakeup(), Some(at(SECOND)));
    assert_eq!(
        rig.apply(Command::Run {
            ids: vec![id],
            overrides: None
        }),
        Err(Refusal::StillRunning {
            name: TaskName::parse("a").unwrap(),
            run: first.attempt.run,
        })
    );
    rig.go(SECOND - 1);
    assert_eq!(rig.starts(), []);
    rig.go(SECOND);
    let second = rig.start();
    assert_eq!((second.attempt.run, second.attempt.attempt), (first.attempt.run, 2));
    assert_eq!(second.trace_id, first.trace_id);
    rig.started(&second);
    rig.effects.clear();
    fail(&mut rig, &second, Exit::Signal(11));
    rig.go(3 * SECOND);
    let third = rig.start();
    assert_eq!(third.attempt.attempt, 3);
    rig.started(&third);
    rig.effects.clear();
    fail(&mut rig, &third, Exit::Code(4));
    let reason = Some("exit code 4".to_owned());
    assert_eq!(rig.outcomes(), [(first.attempt.run, Outcome::Failed, reason)]);
    assert_eq!(
        rig.core.counts(),
        Counts {
            tasks: 1,
            running: 0,
            waiting: 0
        }
    );
}

#[test]
fn each_attempt_is_given_what_was_asked_for_its_run_in_this_life_and_the_next() {
    let mut rig = Rig::new();
    let id = rig.add(tried(2));
    let given = Arc::new(Overrides {
        env: vec![("A".to_owned(), "1".to_owned())],
        args: vec!["b".to_owned()],
        skip_gates: true,
    });
    rig.apply(Command::Run {
        ids: vec![id],
        overrides: Some(Arc::clone(&given)),
    })
    .unwrap();
    let starts = |rig: &mut Rig| -> Vec<(Origin, Option<Arc<Overrides>>)> {
        let start = |effect| match effect {
            Effect::Start { origin, overrides, .. } => Some((origin, overrides)),
            _ => None,
        };
        std::mem::take(&mut rig.effects).into_iter().filter_map(start).collect()
    };
    let (first, with) = starts(&mut rig).remove(0);
    assert_eq!(with.as_ref(), Some(&given));
    rig.started(&first);
    fail(&mut rig, &first, Exit::Code(1));
    let mut rig = rig.restart();
    rig.attach(1, Vec::new());
    rig.go(SECOND);
    let (second, with) = starts(&mut rig).remove(0);
    assert_eq!((second.attempt.attempt, with), (2, Some(given)));
    rig.started(&second);
    rig.ended(&second, ended(Exit::Code(0)));
    rig.run(id);
    assert_eq!(starts(&mut rig).remove(0).1, None, "the next run is as the task says");
}

#[test]
fn a_success_is_the_end_and_so_is_a_cancellation() {
    let mut rig = Rig::new();
    let (_, origin) = begin(&mut rig, tried(5));
    rig.effects.clear();
    fail(&mut rig, &origin, Exit::Code(0));
    assert_eq!(rig.outcomes(), [(origin.attempt.run, Outcome::Succeeded, None)]);
    let mut rig = Rig::new();
    let (_, origin) = begin(&mut rig, tried(5));
    rig.apply(cancel(origin.attempt.run)).unwrap();
    rig.effects.clear();
    let mut end = ended(Exit::Signal(15));
    end.stopped = Some(Stopped::Asked);
    rig.ended(&origin, end);
    assert_eq!(rig.outcomes()[0].1, Outcome::Cancelled);
}

#[test]
fn a_run_between_two_attempts_takes_no_place_and_can_be_cancelled() {
    let mut rig = Rig::limited(Limits {
        running: 1,
        ..Limits::default()
    });
    let (_, origin) = begin(&mut rig, tried(5));
    fail(&mut rig, &origin, Exit::Code(1));
    assert_eq!(rig.core.counts().running, 0);
    let other = rig.add(definition("b", When::Manual));
    rig.run(other);
    let busy = rig.start();
    rig.started(&busy);
    rig.go(SECOND);
    assert_eq!(
        (rig.starts(), rig.core.counts().waiting),
        (vec![], 1),
        "it waits for a place"
    );
    rig.ended(&busy, ended(Exit::Code(0)));
    let second = rig.start();
    assert_eq!(second.attempt.attempt, 2);
    rig.started(&second);
    fail(&mut rig, &second, Exit::Code(1));
    rig.effects.clear();
    rig.apply(cancel(origin.attempt.run)).unwrap();
    assert_eq!(
        rig.outcomes(),
        [(
            origin.attempt.run,
            Outcome::Cancelled,
            Some("cancelled by uid 1000".to_owned())
        )]
    );
    rig.go(60 * SECOND);
    assert_eq!(rig.starts(), []);
}

#[test]
fn a_pending_attempt_survives_a_life_and_starts_when_it_is_due() {
    let mut rig = Rig::new();
    let (_, origin) = begin(&mut rig, tried(2));
    fail(&mut rig, &origin, Exit::Code(1));
    let mut next = rig.restart();
    next.attach(1, Vec::new());
    assert_eq!(next.starts(), []);
    next.go(SECOND);
    let second = next.start();
    assert_eq!(
        second.attempt,
        AttemptKey {
            run: origin.attempt.run,
            attempt: 2
        }
    );
    // Killed here, its start is unrecorded: the runner knows.
    let mut last = next.restart();
    last.attach(1, vec![live(&second)]);
    assert_eq!((last.starts(), last.stops()), (vec![], vec![]));
    assert_eq!(last.core.run(origin.attempt.run).unwrap().state, "running");
    let mut late = rig.restart();
    late.now = at(60 * SECOND);
    late.attach(1, Vec::new());
    assert_eq!(late.start().attempt.attempt, 2, "it was due meanwhile");
}

#[test]
fn the_end_of_an_earlier_attempt_is_news_once() {
    let mut rig = Rig::new();
    let (_, origin) = begin(&mut rig, tried(2));
    fail(&mut rig, &origin, Exit::Code(1));
    rig.go(SECOND);
    let second = rig.start();
    rig.started(&second);
    rig.effects.clear();
    // The runner had not heard that it may forget it.
    rig.ended(&origin, ended(Exit::Code(1)));
    assert_eq!(rig.effects, [Effect::Forget(origin.attempt)]);
    assert_eq!(rig.core.run(origin.attempt.run).unwrap().state, "running");
}

#[test]
fn no_attempt_begins_after_the_deadline_and_each_has_what_is_left_of_it() {
    let mut task = tried(10);
    task.policies.time = TimeLimits {
        deadline_ms: NonZeroU64::new(4_000),
        ..TimeLimits::default()
    };
    let mut rig = Rig::new();
    let (_, first) = begin(&mut rig, task);
    rig.go(SECOND);
    fail(&mut rig, &first, Exit::Code(1));
    rig.effects.clear();
    rig.go(2 * SECOND);
    let left = rig.effects.iter().find_map(|effect| match effect {
        Effect::Start { deadline, .. } => *deadline,
        _ => None,
    });
    assert_eq!(left, Some(Duration::from_secs(2)));
    let second = rig.start();
    rig.started(&second);
    rig.effects.clear();
    // The next would begin at its deadline.
    fail(&mut rig, &second, Exit::Code(1));
    let reason = Some("exit code 1; its deadline leaves no time for another attempt".to_owned());
    assert_eq!(rig.outcomes(), [(second.attempt.run, Outcome::Failed, reason)]);
}

#[test]
fn a_clock_that_is_set_back_makes_no_attempt_wait_for_hours() {
    let mut rig = Rig::new();
    rig.now = at(5 * HOUR);
    let (_, origin) = begin(&mut rig, tried(2));
    fail(&mut rig, &origin, Exit::Code(1));
    rig.effects.clear();
    rig.now = at(HOUR);
    rig.tell(Event::ClockStepped);
    assert_eq!(rig.start().attempt.attempt, 2);
}

/// How runs have ended.
fn ends(rig: &mut Rig) -> Vec<Outcome> {
    rig.outcomes().into_iter().map(|(_, outcome, _)| outcome).collect()
}

/// A task that is tried ten times more, in four seconds altogether.
fn bounded() -> Definition {
    let mut task = tried(10);
    task.policies.time.deadline_ms = NonZeroU64::new(4_000);
    task
}

#[test]
fn what_its_deadline_stopped_is_not_tried_again_whatever_the_clock_says() {
    let mut rig = Rig::new();
    rig.now = at(5 * HOUR);
    let (_, origin) = begin(&mut rig, bounded());
    rig.now = at(4 * HOUR);
    let end = AttemptEnd {
        started_at: rig.now,
        finished_at: rig.now,
        stopped: Some(Stopped::Deadline),
        ..ended(Exit::Signal(15))
    };
    rig.ended(&origin, end);
    assert_eq!(ends(&mut rig), [Outcome::TimedOut]);
}

#[test]
fn a_deadline_bounds_attempts_that_cannot_start() {
    let mut task = bounded();
    task.policies.retry.on.spawn_failed = true;
    let mut rig = Rig::new();
    let id = rig.add(task);
    rig.run(id);
    let (mut tries, mut told) = (0, Vec::new());
    while told.is_empty() {
        let origin = rig.start();
        rig.effects.clear();
        let end = AttemptEnd {
            pid: 0,
            started_at: rig.now,
            finished_at: rig.now,
            ..ended(Exit::SpawnFailed {
                errno: 2,
                what: "true".to_owned(),
            })
        };
        rig.ended(&origin, end);
        tries += 1;
        told = ends(&mut rig);
        if let Some(due) = rig.core.next_wakeup() {
            rig.now = due;
            rig.tell(Event::Tick);
        }
    }
    // After 0, 1 and 3 s; the next would be after 7.
    assert_eq!((tries, told), (3, vec![Outcome::SpawnFailed]));
}

#[test]
fn an_attempt_whose_deadline_came_meanwhile_does_not_start() {
    let mut rig = Rig::new();
    let (_, origin) = begin(&mut rig, bounded());
    fail(&mut rig, &origin, Exit::Code(1));
    rig.effects.clear();
    rig.go(HOUR);
    assert!(!rig.effects.iter().any(|effect| matches!(effect, Effect::Start { .. })));
    assert_eq!(ends(&mut rig), [Outcome::TimedOut]);
}

/// The same, which needs a lock that another task has got between its attempts, and the run of that.
fn locked_out() -> (Rig, TaskId, Origin, Origin) {
    let locked = |mut task: Definition| {
        task.sharing.locks = [TaskName::parse("l").unwrap()].into();
        task
    };
    let mut rig = Rig::new();
    let holder = rig.add(locked(definition("holder", When::Manual)));
    let (id, origin) = begin(&mut rig, locked(bounded()));
    fail(&mut rig, &origin, Exit::Code(1));
    rig.run(holder);
    let held = rig.starts().pop().unwrap();
    rig.started(&held);
    rig.effects.clear();
    rig.go(2 * SECOND);
    assert_eq!(rig.core.run(origin.attempt.run).unwrap().state, "waiting");
    (rig, id, origin, held)
}

fn over(origin: &Origin) -> (RunKey, Outcome, Option<String>) {
    let reason = "its deadline was over before its next attempt";
    (origin.attempt.run, Outcome::TimedOut, Some(reason.to_owned()))
}

#[test]
fn a_deadline_ends_what_waits_for_a_place_between_attempts() {
    let (mut rig, id, origin, _) = locked_out();
    assert_eq!(rig.core.next_wakeup(), Some(at(4 * SECOND)));
    rig.go(4 * SECOND - 1);
    assert_eq!(rig.outcomes(), []);
    rig.go(4 * SECOND);
    assert_eq!(rig.outcomes(), [over(&origin)]);
    assert_eq!(rig.core.next_wakeup(), None);
    // One that waits for its first attempt has all its time ahead.
    rig.effects.clear();
    rig.run(id);
    rig.go(HOUR);
    assert_eq!(rig.outcomes(), []);
}

#[test]
fn a_deadline_ends_what_waits_for_a_place_while_no_runner_is_there() {
    let (mut rig, _, origin, _) = locked_out();
    rig.tell(Event::RunnerLost);
    rig.effects.clear();
    assert_eq!(rig.core.next_wakeup(), Some(at(4 * SECOND)));
    rig.go(4 * SECOND);
    assert_eq!(rig.outcomes(), [over(&origin)]);
    assert_eq!(rig.core.next_wakeup(), None);
}

#[test]
fn a_deadline_ends_what_waits_for_a_place_in_another_life_and_after_an_edit() {
    let (rig, id, origin, held) = locked_out();
    let mut next = rig.restart();
    next.now = at(3 * SECOND);
    next.attach(1, vec![live(&held)]);
    next.effects.clear();
    assert_eq!(next.core.next_wakeup(), Some(at(4 * SECOND)));
    let mut shorter = bounded();
    shorter.policies.time.deadline_ms = NonZeroU64::new(3_500);
    shorter.sharing.locks = [TaskName::parse("l").unwrap()].into();
    next.apply(edit(id, shorter)).unwrap();
    assert_eq!(next.core.next_wakeup(), Some(at(3_500)));
    next.go(3_500);
    assert_eq!(next.outcomes(), [over(&origin)]);
}

#[test]
fn a_task_that_is_removed_while_an_attempt_ends_has_no_other_and_its_exit_codes_count() {
    for (code, outcome) in [(1, Outcome::Succeeded), (2, Outcome::Cancelled)] {
        let mut task = tried(1);
        task.policies.success = [0, 1].into_iter().collect();
        let mut rig = Rig::new();
        let (id, origin) = begin(&mut rig, task);
        rig.core.apply(rig.now, remove_keeping(id)).unwrap();
        // The end comes before the removal is durable, or, where it is a success, after.
        if outcome == Outcome::Succeeded {
            rig.pump();
        }
        fail(&mut rig, &origin, Exit::Code(code));
        assert_eq!(ends(&mut rig), [outcome]);
        assert!(rig.core.run(origin.attempt.run).is_none());
    }
}

#[test]
fn a_run_whose_task_was_removed_has_no_other_attempt_and_says_so() {
    let mut rig = Rig::new();
    let (id, origin) = begin(&mut rig, tried(3));
    rig.apply(remove_keeping(id)).unwrap();
    fail(&mut rig, &origin, Exit::Code(1));
    let reason = "exit code 1; its task was removed, and no other attempt follows";
    let expected = (origin.attempt.run, Outcome::Failed, Some(reason.to_owned()));
    assert_eq!(rig.outcomes(), [expected]);
}

#[test]
fn a_run_that_goes_on_without_its_task_has_its_grace_and_its_exit_codes_in_another_life_too() {
    let mut task = tried(0);
    task.policies.success = [3].into_iter().collect();
    task.policies.time.grace_ms = Some(77);
    let mut rig = Rig::new();
    let (id, origin) = begin(&mut rig, task);
    rig.apply(remove_keeping(id)).unwrap();
    let mut next = rig.restart();
    next.attach(1, vec![live(&origin)]);
    next.effects.clear();
    let stop = Command::Cancel {
        runs: vec![origin.attempt.run],
        reason: "enough".to_owned(),
    };
    next.apply(stop).unwrap();
    let graces = next.effects.iter().filter_map(|effect| match effect {
        Effect::Stop { grace, .. } => Some(*grace),
        _ => None,
    });
    assert_eq!(graces.collect::<Vec<_>>(), [Duration::from_millis(77)]);
    rig.effects.clear();
    fail(&mut rig, &origin, Exit::Code(3));
    assert_eq!(ends(&mut rig), [Outcome::Succeeded]);
}

#[test]
fn what_gets_the_name_of_a_task_whose_run_goes_on_counts_on_behind_that() {
    let mut rig = Rig::new();
    let (id, origin) = begin(&mut rig, tried(0));
    rig.apply(remove_keeping(id)).unwrap();
    let again = rig.add(tried(0));
    let other = rig.add(Definition {
        name: TaskName::parse("b").unwrap(),
        ..tried(0)
    });
    let renamed = rig.add(Definition {
        name: TaskName::parse("c").unwrap(),
        ..tried(0)
    });
    rig.run(renamed);
    let of_c = rig.start();
    rig.started(&of_c);
    rig.ended(&of_c, ended(Exit::Code(0)));
    let mut next = rig.restart();
    next.attach(1, vec![live(&origin)]);
    next.effects.clear();
    assert_eq!(next.core.alone("a", origin.attempt.run.n), Some(origin.attempt.run));
    next.run(again);
    next.run(other);
    let runs: Vec<u64> = next.starts().iter().map(|origin| origin.attempt.run.n).collect();
    assert_eq!(runs, [origin.attempt.run.n + 1, 1]);
    assert_eq!(next.core.busy_runs(ME, 10).runs.len(), 3);
}
