//! What an attempt does about all that can happen to it.

use super::*;
use crate::clock;

const GRACE: Duration = Duration::from_secs(10);
const UNLIMITED: Limit = Limit {
    within: None,
    grace: GRACE,
};
const FRESH: State = State::Spawning {
    kill_at: None,
    limit: UNLIMITED,
};

fn pid() -> Pid {
    rustix::process::getpid()
}

fn running() -> State {
    State::Running {
        pid: pid(),
        up_at: None,
    }
}

fn acts(actions: Actions) -> Vec<Action> {
    actions.into_iter().flatten().collect()
}

#[test]
fn an_attempt_that_nobody_stops_is_announced_collected_and_reported() {
    let now = clock::steady();
    let (state, actions) = FRESH.on(Event::Spawned(pid()), now);
    assert_eq!(acts(actions), [Action::Announce]);
    let (state, actions) = state.on(
        Event::Exited {
            alone: true,
            leave: false,
        },
        now,
    );
    assert_eq!(acts(actions), [Action::Collect(pid())]);
    assert_eq!(state, State::Finishing { stopped: None });
    let (state, actions) = state.on(Event::Finished, now);
    assert_eq!((state, acts(actions)), (State::Ended, vec![Action::Report]));
}

#[test]
fn what_an_attempt_leaves_behind_by_itself_is_killed_at_once() {
    let now = clock::steady();
    let (state, actions) = running().on(
        Event::Exited {
            alone: false,
            leave: false,
        },
        now,
    );
    let last = now + KILL_PATIENCE;
    assert_eq!(acts(actions), [Action::Kill(pid()), Action::WakeAt(last)]);
    assert!(state.stopping().is_none());
    assert_eq!(acts(state.on(Event::Deadline, now).1), []);
    // It does not matter whether anybody says that it was done.
    for (event, at) in [(Event::Gone, now), (Event::Deadline, last)] {
        let (state, actions) = state.on(event, at);
        assert_eq!(acts(actions), [Action::Collect(pid())]);
        assert_eq!(state, State::Finishing { stopped: None });
    }
}

#[test]
fn a_stop_before_the_start_is_not_forgotten() {
    let now = clock::steady();
    let (state, _) = FRESH.on(Event::Stop { grace: GRACE }, now);
    assert_eq!(state.stopping(), Some(Cause::Asked));
    let (state, actions) = state.on(Event::Spawned(pid()), now);
    let kill_at = Some(now + GRACE);
    let tell_at = now + LOOK_PATIENCE;
    assert_eq!(
        state,
        State::Stopping {
            pid: pid(),
            tell_at: Some(tell_at),
            kill_at,
            cause: Cause::Asked
        }
    );
    assert_eq!(
        acts(actions),
        [Action::Announce, Action::TellOthers(pid()), Action::WakeAt(tell_at)]
    );
}

#[test]
fn a_start_that_hangs_is_given_up_when_a_stop_waits_no_longer() {
    let now = clock::steady();
    let last = now + GRACE + START_PATIENCE;
    let (state, actions) = FRESH.on(Event::Stop { grace: GRACE }, now);
    assert_eq!(acts(actions), [Action::WakeAt(last)]);
    assert_eq!(acts(state.on(Event::Deadline, now + GRACE).1), []);
    let (state, actions) = state.on(Event::Deadline, last);
    assert_eq!(
        (state, acts(actions)),
        (State::Ended, vec![Action::GiveUp, Action::Report])
    );
    assert_eq!(
        acts(FRESH.on(Event::Deadline, last).1),
        [],
        "nobody has asked for its end"
    );
}

#[test]
fn a_stop_kills_when_its_grace_is_over_and_not_before() {
    let now = clock::steady();
    let (state, _) = running().on(Event::Stop { grace: GRACE }, now);
    let (state, _) = state.on(Event::OthersTold, now);
    let (state, actions) = state.on(Event::Deadline, now + GRACE / 2);
    assert_eq!(acts(actions), []);
    let (state, actions) = state.on(Event::Deadline, now + GRACE);
    assert_eq!(acts(actions), [Action::Kill(pid())]);
    assert!(state.is_killed());
    let (state, actions) = state.on(Event::Deadline, now + GRACE);
    assert_eq!(acts(actions), [], "killed once");
    let (state, actions) = state.on(
        Event::Exited {
            alone: true,
            leave: false,
        },
        now,
    );
    assert!(!state.is_killed());
    assert_eq!(acts(actions), [Action::Collect(pid())]);
    assert_eq!(
        state,
        State::Finishing {
            stopped: Some(Cause::Asked)
        }
    );
}

#[test]
fn the_group_is_told_once_and_waits_neither_long_nor_half_of_the_grace_for_the_look_at_the_others() {
    let now = clock::steady();
    for (grace, patience) in [(GRACE, LOOK_PATIENCE), (LOOK_PATIENCE / 2, LOOK_PATIENCE / 4)] {
        let (stopping, actions) = running().on(Event::Stop { grace }, now);
        assert_eq!(
            acts(actions),
            [Action::TellOthers(pid()), Action::WakeAt(now + patience)]
        );
        // The process may end meanwhile, and others in its group live.
        let (emptying, _) = stopping.on(
            Event::Exited {
                alone: false,
                leave: false,
            },
            now,
        );
        for state in [stopping, emptying] {
            for (event, at) in [(Event::OthersTold, now), (Event::Deadline, now + patience)] {
                let (state, actions) = state.on(event, at);
                assert_eq!(acts(actions), [Action::TellGroup(pid()), Action::WakeAt(now + grace)]);
                assert_eq!(acts(state.on(Event::OthersTold, at).1), []);
                assert_eq!(acts(state.on(Event::Deadline, at).1), []);
            }
            let (state, _) = state.on(Event::Deadline, now + grace);
            assert_eq!(acts(state.on(Event::OthersTold, now + grace).1), [], "it was killed");
        }
    }
}

#[test]
fn the_grace_holds_for_what_outlives_the_process() {
    let now = clock::steady();
    let (state, _) = running().on(Event::Stop { grace: GRACE }, now);
    let (state, _) = state.on(Event::OthersTold, now);
    let (state, actions) = state.on(
        Event::Exited {
            alone: false,
            leave: false,
        },
        now,
    );
    assert_eq!(acts(actions), [Action::Watch(pid())]);
    assert_eq!(acts(state.on(Event::Deadline, now + GRACE / 2).1), []);
    assert_eq!(acts(state.on(Event::Gone, now).1), [Action::Collect(pid())]);
    let (killed, actions) = state.on(Event::Deadline, now + GRACE);
    let last = now + GRACE + KILL_PATIENCE;
    assert_eq!(acts(actions), [Action::Kill(pid()), Action::WakeAt(last)]);
    assert_eq!(acts(killed.on(Event::Deadline, now + GRACE).1), [], "killed once");
    let (state, actions) = killed.on(Event::Gone, now);
    assert_eq!(acts(actions), [Action::Collect(pid())]);
    assert_eq!(
        state,
        State::Finishing {
            stopped: Some(Cause::Asked)
        }
    );
}

#[test]
fn a_second_stop_shortens_the_grace_and_never_lengthens_it() {
    let now = clock::steady();
    let (stopping, _) = running().on(Event::Stop { grace: GRACE }, now);
    let (emptying, _) = stopping.on(
        Event::Exited {
            alone: false,
            leave: false,
        },
        now,
    );
    for state in [stopping, emptying] {
        let (longer, actions) = state.on(Event::Stop { grace: GRACE * 2 }, now);
        assert_eq!((longer, acts(actions)), (state, vec![]));
        let (_, actions) = state.on(Event::Stop { grace: LOOK_PATIENCE }, now);
        assert_eq!(
            acts(actions),
            [Action::WakeAt(now + LOOK_PATIENCE / 2)],
            "to tell the group"
        );
        let (told, _) = state.on(Event::OthersTold, now);
        let (shorter, actions) = told.on(Event::Stop { grace: GRACE / 2 }, now);
        assert_eq!(acts(actions), [Action::WakeAt(now + GRACE / 2)]);
        let (_, [first, ..]) = shorter.on(Event::Stop { grace: Duration::ZERO }, now);
        assert_eq!(first, Some(Action::Kill(pid())));
    }
}

#[test]
fn an_attempt_whose_time_is_up_is_asked_to_end_and_killed_after_its_grace() {
    let now = clock::steady();
    let limit = Limit {
        within: Some(Duration::from_secs(60)),
        grace: GRACE,
    };
    let fresh = State::Spawning { kill_at: None, limit };
    let (state, actions) = fresh.on(Event::Spawned(pid()), now);
    let up = now + Duration::from_secs(60);
    assert_eq!(acts(actions), [Action::Announce, Action::WakeAt(up)]);
    assert_eq!(acts(state.on(Event::Deadline, now).1), [], "a deadline may come early");
    let (state, actions) = state.on(Event::Deadline, up);
    assert_eq!(
        acts(actions),
        [Action::TellOthers(pid()), Action::WakeAt(up + LOOK_PATIENCE)]
    );
    assert_eq!(state.stopping(), Some(Cause::TimeUp));
    let (state, _) = state.on(Event::OthersTold, up);
    // A stop that comes then may shorten the grace, and the cause stands.
    let (state, actions) = state.on(Event::Stop { grace: GRACE / 2 }, up);
    assert_eq!(acts(actions), [Action::WakeAt(up + GRACE / 2)]);
    let (state, actions) = state.on(Event::Deadline, up + GRACE / 2);
    assert_eq!(acts(actions), [Action::Kill(pid())]);
    let (state, _) = state.on(
        Event::Exited {
            alone: true,
            leave: false,
        },
        up + GRACE / 2,
    );
    let stopped = Some(Cause::TimeUp);
    assert_eq!(state, State::Finishing { stopped });
}

#[test]
fn a_stop_ahead_of_the_time_that_is_up_is_the_cause() {
    let now = clock::steady();
    let limit = Limit {
        within: Some(GRACE),
        grace: GRACE,
    };
    let (state, _) = State::Spawning { kill_at: None, limit }.on(Event::Spawned(pid()), now);
    let (state, _) = state.on(Event::Stop { grace: 3 * GRACE }, now);
    let (state, _) = state.on(Event::OthersTold, now);
    let (state, actions) = state.on(Event::Deadline, now + GRACE);
    assert_eq!((state.stopping(), acts(actions)), (Some(Cause::Asked), vec![]));
}

#[test]
fn a_time_limit_without_end_is_none() {
    let now = clock::steady();
    let limit = Limit {
        within: Some(Duration::MAX),
        grace: GRACE,
    };
    let (state, actions) = State::Spawning { kill_at: None, limit }.on(Event::Spawned(pid()), now);
    assert_eq!((state, acts(actions)), (running(), vec![Action::Announce]));
}

#[test]
fn what_is_left_goes_on_only_where_nothing_was_told_to_end() {
    let now = clock::steady();
    let exited = Event::Exited {
        alone: false,
        leave: true,
    };
    let (state, actions) = running().on(exited, now);
    assert_eq!(state, State::Finishing { stopped: None });
    assert_eq!(actions[0], Some(Action::Collect(pid())));
    let (stopping, _) = running().on(Event::Stop { grace: GRACE }, now);
    let (state, actions) = stopping.on(exited, now);
    assert!(state.is_emptying());
    assert_eq!(actions[0], Some(Action::Watch(pid())));
}
