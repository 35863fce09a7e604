//! The life of an attempt: a machine of states and events without a clock, a process or a file.
//!
//! ```text
//! Spawning ──▶ Running ──▶ Stopping ──▶ Emptying ──▶ Finishing ──▶ Ended
//!     │           ├────────────│──────────▲  ▲           ▲           ▲
//!     │           │            └─────────────│───────────┤           │
//!     │           └──────────────────────────┘───────────┘           │
//!     └──────────────────────────────────────────────────────────────┘
//! ```

use std::time::{Duration, Instant};

use rustix::process::Pid;

/// How much longer than its grace a stop waits for a start. One that does not hang takes a moment only, and what was
/// started is better stopped than given up.
const START_PATIENCE: Duration = Duration::from_secs(1);

/// How long the look for those that are not in the group may hold up the TERM to the group, and half of the grace at most:
/// who is to end in time must have some left. A look takes a moment only, unless it hangs.
const LOOK_PATIENCE: Duration = Duration::from_secs(1);

/// How long killing may take. Processes that cannot be looked at, for what they wait for does not come, hold up nobody.
pub(crate) const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Where an attempt stands.
///
/// If the runner is killed, what is not `Ended` is killed with it and nothing is known of it any more; the daemon
/// finds the key missing in the inventory of the next runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Waits for a spawner thread or is in its hands. The thread's report moves it on, or the deadline of a stop if the
    /// start hangs.
    Spawning {
        /// Of a stop that came meanwhile, when its grace is over; begun as soon as there is a process to stop.
        kill_at: Option<Instant>,
    },
    /// The process runs. Its end or a stop moves it on.
    Running {
        /// The process, and the id of its group and session.
        pid: Pid,
    },
    /// Was told to end. Its end moves it on; a deadline makes sure of that.
    Stopping {
        /// The process.
        pid: Pid,
        /// When its group is told without waiting for the look at the others; `None` once it was.
        tell_at: Option<Instant>,
        /// When it is killed; `None` once it was.
        kill_at: Option<Instant>,
    },
    /// The process has ended, and is not reaped so that its id stays its own; others that came from it may live. That
    /// these are gone moves it on, or a deadline.
    Emptying {
        /// The process.
        pid: Pid,
        /// As in `Stopping`: others may be in the group.
        tell_at: Option<Instant>,
        /// Whether they are being killed.
        killing: bool,
        /// Before that, when they are; then, when it is no longer waited for.
        until: Instant,
        /// Whether it had been told to end.
        stopped: bool,
    },
    /// The process was reaped, its output is being put together. The thread that does so moves it on.
    Finishing {
        /// Whether it had been told to end.
        stopped: bool,
    },
    /// Over. Nothing moves it on; the result is kept elsewhere.
    Ended,
}

/// What can happen to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A process was started.
    Spawned(Pid),
    /// No process could be started.
    NotSpawned,
    /// The daemon, or the end of the runner, wants it stopped.
    Stop {
        /// Time between TERM and KILL.
        grace: Duration,
    },
    /// Those that came from the process and have left its group were looked for and asked to end.
    OthersTold,
    /// A deadline came, not necessarily the one in force.
    Deadline,
    /// The process has ended.
    Exited {
        /// Whether it is certain that nothing is left of it.
        alone: bool,
    },
    /// Since the process has ended nothing else of it was found alive, or what was found was killed.
    Gone,
    /// What had to be done after its end is done.
    Finished,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Tell the daemon that it started.
    Announce,
    /// Ask what came from the process and has left its group to end, and come back with [`Event::OthersTold`].
    TellOthers(Pid),
    /// Ask the process and its group to end.
    TellGroup(Pid),
    /// Make them. [`Event::Gone`] follows if the process has ended.
    Kill(Pid),
    /// Come back with [`Event::Gone`] when nothing that came from the process lives.
    Watch(Pid),
    /// Come back with [`Event::Deadline`] then.
    WakeAt(Instant),
    /// Read what it wrote last and reap the process.
    Collect(Pid),
    /// Its result is that it could not be started in time.
    GiveUp,
    /// Keep the result and tell the daemon.
    Report,
}

/// At most three things are to be done about an event.
pub(crate) type Actions = [Option<Action>; 3];

const NOTHING: Actions = [None; 3];

impl State {
    /// Takes an event in. Events that mean nothing to a state leave it as it is: stops and deadlines may come late.
    pub(crate) fn on(self, event: Event, now: Instant) -> (State, Actions) {
        match self {
            State::Spawning { kill_at } => match event {
                Event::Spawned(pid) => match kill_at {
                    None => (State::Running { pid }, [Some(Action::Announce), None, None]),
                    Some(at) => {
                        let (state, [first, second, _]) = begin_stop(pid, at, now);
                        (state, [Some(Action::Announce), first, second])
                    }
                },
                Event::NotSpawned => (State::Ended, [Some(Action::Report), None, None]),
                Event::Stop { grace } => {
                    let at = kill_at.map_or(now + grace, |earlier| earlier.min(now + grace));
                    let state = State::Spawning { kill_at: Some(at) };
                    (state, [Some(Action::WakeAt(at + START_PATIENCE)), None, None])
                }
                Event::Deadline => match kill_at {
                    Some(at) if at + START_PATIENCE <= now => {
                        (State::Ended, [Some(Action::GiveUp), Some(Action::Report), None])
                    }
                    Some(_) | None => (self, NOTHING),
                },
                Event::OthersTold | Event::Exited { .. } | Event::Gone | Event::Finished => (self, NOTHING),
            },
            State::Running { pid } => match event {
                Event::Stop { grace } => begin_stop(pid, now + grace, now),
                Event::Exited { alone: true } => collect(pid, false),
                Event::Exited { alone: false } => kill_rest(pid, false, now),
                Event::Spawned(_)
                | Event::NotSpawned
                | Event::OthersTold
                | Event::Deadline
                | Event::Gone
                | Event::Finished => (self, NOTHING),
            },
            State::Stopping { pid, tell_at, kill_at } => match event {
                Event::Stop { grace } => match kill_at {
                    // A second stop may shorten the grace and never lengthens it.
                    Some(at) if now + grace < at => kill_by(pid, sooner(tell_at, grace, now), now + grace, now),
                    Some(_) | None => (self, NOTHING),
                },
                Event::OthersTold => match (tell_at, kill_at) {
                    (Some(_), Some(at)) => tell_group(pid, at, now),
                    (None, _) | (_, None) => (self, NOTHING),
                },
                Event::Deadline => match (tell_at, kill_at) {
                    (_, Some(at)) if at <= now => kill_by(pid, tell_at, at, now),
                    (Some(tell), Some(at)) if tell <= now => tell_group(pid, at, now),
                    (_, Some(_) | None) => (self, NOTHING),
                },
                Event::Exited { alone: true } => collect(pid, true),
                Event::Exited { alone: false } => match kill_at {
                    Some(until) => {
                        let state = State::Emptying {
                            pid,
                            tell_at,
                            killing: false,
                            until,
                            stopped: true,
                        };
                        (state, [Some(Action::Watch(pid)), None, None])
                    }
                    None => kill_rest(pid, true, now),
                },
                Event::Spawned(_) | Event::NotSpawned | Event::Gone | Event::Finished => (self, NOTHING),
            },
            State::Emptying {
                pid,
                tell_at,
                killing,
                until,
                stopped,
            } => match event {
                Event::Stop { grace } if !killing && now + grace < until => {
                    empty_by(pid, sooner(tell_at, grace, now), now + grace, now)
                }
                Event::Deadline if until <= now => {
                    if killing {
                        collect(pid, stopped)
                    } else {
                        kill_rest(pid, stopped, now)
                    }
                }
                Event::OthersTold if tell_at.is_some() => tell_rest(pid, until, now),
                Event::Deadline if tell_at.is_some_and(|at| at <= now) => tell_rest(pid, until, now),
                Event::Gone => collect(pid, stopped),
                Event::Stop { .. }
                | Event::OthersTold
                | Event::Deadline
                | Event::Spawned(_)
                | Event::NotSpawned
                | Event::Exited { .. }
                | Event::Finished => (self, NOTHING),
            },
            State::Finishing { .. } => match event {
                Event::Finished => (State::Ended, [Some(Action::Report), None, None]),
                Event::Spawned(_)
                | Event::NotSpawned
                | Event::Stop { .. }
                | Event::OthersTold
                | Event::Deadline
                | Event::Exited { .. }
                | Event::Gone => (self, NOTHING),
            },
            State::Ended => match event {
                Event::Spawned(_)
                | Event::NotSpawned
                | Event::Stop { .. }
                | Event::OthersTold
                | Event::Deadline
                | Event::Exited { .. }
                | Event::Gone
                | Event::Finished => (self, NOTHING),
            },
        }
    }

    /// Whether it was told to end.
    pub(crate) fn is_stopping(&self) -> bool {
        match self {
            State::Spawning { kill_at } => kill_at.is_some(),
            State::Running { .. } | State::Ended => false,
            State::Stopping { .. } => true,
            State::Emptying { stopped, .. } | State::Finishing { stopped } => *stopped,
        }
    }

    /// The process, if it runs as far as is known here.
    pub(crate) fn runs(&self) -> Option<Pid> {
        match self {
            State::Running { pid } | State::Stopping { pid, .. } => Some(*pid),
            State::Spawning { .. } | State::Emptying { .. } | State::Finishing { .. } | State::Ended => None,
        }
    }

    /// Whether the process was killed and has not ended, as far as is known here.
    pub(crate) fn is_killed(&self) -> bool {
        match self {
            State::Stopping { kill_at, .. } => kill_at.is_none(),
            State::Spawning { .. }
            | State::Running { .. }
            | State::Emptying { .. }
            | State::Finishing { .. }
            | State::Ended => false,
        }
    }

    /// Whether the process has ended and is not reaped.
    pub(crate) fn is_emptying(&self) -> bool {
        match self {
            State::Emptying { .. } => true,
            State::Spawning { .. }
            | State::Running { .. }
            | State::Stopping { .. }
            | State::Finishing { .. }
            | State::Ended => false,
        }
    }
}

fn begin_stop(pid: Pid, at: Instant, now: Instant) -> (State, Actions) {
    let tell_at = now + LOOK_PATIENCE.min(at.saturating_duration_since(now) / 2);
    let (state, [first, ..]) = kill_by(pid, Some(tell_at), at, now);
    if at <= now {
        return (state, [first, None, None]);
    }
    (state, [Some(Action::TellOthers(pid)), first, None])
}

/// When the group is told, if the grace has become this.
fn sooner(tell_at: Option<Instant>, grace: Duration, now: Instant) -> Option<Instant> {
    tell_at.map(|at| at.min(now + grace / 2))
}

/// Tells the group, which has until then.
fn tell_group(pid: Pid, at: Instant, now: Instant) -> (State, Actions) {
    let (state, [first, ..]) = kill_by(pid, None, at, now);
    (state, [Some(Action::TellGroup(pid)), first, None])
}

/// Sets the deadline of a stop, which may have come.
fn kill_by(pid: Pid, tell_at: Option<Instant>, at: Instant, now: Instant) -> (State, Actions) {
    if at <= now {
        let state = State::Stopping {
            pid,
            tell_at: None,
            kill_at: None,
        };
        return (state, [Some(Action::Kill(pid)), None, None]);
    }
    let kill_at = Some(at);
    let state = State::Stopping { pid, tell_at, kill_at };
    (
        state,
        [
            Some(Action::WakeAt(tell_at.map_or(at, |tell| tell.min(at)))),
            None,
            None,
        ],
    )
}

/// The same when only others than the process are left.
fn empty_by(pid: Pid, tell_at: Option<Instant>, at: Instant, now: Instant) -> (State, Actions) {
    if at <= now {
        return kill_rest(pid, true, now);
    }
    let state = State::Emptying {
        pid,
        tell_at,
        killing: false,
        until: at,
        stopped: true,
    };
    (
        state,
        [
            Some(Action::WakeAt(tell_at.map_or(at, |tell| tell.min(at)))),
            None,
            None,
        ],
    )
}

fn tell_rest(pid: Pid, at: Instant, now: Instant) -> (State, Actions) {
    let (state, [first, ..]) = empty_by(pid, None, at, now);
    (state, [Some(Action::TellGroup(pid)), first, None])
}

fn kill_rest(pid: Pid, stopped: bool, now: Instant) -> (State, Actions) {
    let until = now + KILL_PATIENCE;
    let state = State::Emptying {
        pid,
        tell_at: None,
        killing: true,
        until,
        stopped,
    };
    (state, [Some(Action::Kill(pid)), Some(Action::WakeAt(until)), None])
}

fn collect(pid: Pid, stopped: bool) -> (State, Actions) {
    (State::Finishing { stopped }, [Some(Action::Collect(pid)), None, None])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const GRACE: Duration = Duration::from_secs(10);
    const FRESH: State = State::Spawning { kill_at: None };

    fn pid() -> Pid {
        rustix::process::getpid()
    }

    fn acts(actions: Actions) -> Vec<Action> {
        actions.into_iter().flatten().collect()
    }

    #[test]
    fn an_attempt_that_nobody_stops_is_announced_collected_and_reported() {
        let now = clock::steady();
        let (state, actions) = FRESH.on(Event::Spawned(pid()), now);
        assert_eq!(acts(actions), [Action::Announce]);
        let (state, actions) = state.on(Event::Exited { alone: true }, now);
        assert_eq!(acts(actions), [Action::Collect(pid())]);
        assert_eq!(state, State::Finishing { stopped: false });
        let (state, actions) = state.on(Event::Finished, now);
        assert_eq!((state, acts(actions)), (State::Ended, vec![Action::Report]));
    }

    #[test]
    fn what_an_attempt_leaves_behind_by_itself_is_killed_at_once() {
        let now = clock::steady();
        let (state, actions) = State::Running { pid: pid() }.on(Event::Exited { alone: false }, now);
        let last = now + KILL_PATIENCE;
        assert_eq!(acts(actions), [Action::Kill(pid()), Action::WakeAt(last)]);
        assert!(!state.is_stopping());
        assert_eq!(acts(state.on(Event::Deadline, now).1), []);
        // It does not matter whether anybody says that it was done.
        for (event, at) in [(Event::Gone, now), (Event::Deadline, last)] {
            let (state, actions) = state.on(event, at);
            assert_eq!(acts(actions), [Action::Collect(pid())]);
            assert_eq!(state, State::Finishing { stopped: false });
        }
    }

    #[test]
    fn a_stop_before_the_start_is_not_forgotten() {
        let now = clock::steady();
        let (state, _) = FRESH.on(Event::Stop { grace: GRACE }, now);
        assert!(state.is_stopping());
        let (state, actions) = state.on(Event::Spawned(pid()), now);
        let kill_at = Some(now + GRACE);
        let tell_at = now + LOOK_PATIENCE;
        assert_eq!(
            state,
            State::Stopping {
                pid: pid(),
                tell_at: Some(tell_at),
                kill_at
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
        let (state, _) = State::Running { pid: pid() }.on(Event::Stop { grace: GRACE }, now);
        let (state, _) = state.on(Event::OthersTold, now);
        let (state, actions) = state.on(Event::Deadline, now + GRACE / 2);
        assert_eq!(acts(actions), []);
        let (state, actions) = state.on(Event::Deadline, now + GRACE);
        assert_eq!(acts(actions), [Action::Kill(pid())]);
        assert!(state.is_killed());
        let (state, actions) = state.on(Event::Deadline, now + GRACE);
        assert_eq!(acts(actions), [], "killed once");
        let (state, actions) = state.on(Event::Exited { alone: true }, now);
        assert!(!state.is_killed());
        assert_eq!(acts(actions), [Action::Collect(pid())]);
        assert_eq!(state, State::Finishing { stopped: true });
    }

    #[test]
    fn the_group_is_told_once_and_waits_neither_long_nor_half_of_the_grace_for_the_look_at_the_others() {
        let now = clock::steady();
        for (grace, patience) in [(GRACE, LOOK_PATIENCE), (LOOK_PATIENCE / 2, LOOK_PATIENCE / 4)] {
            let (stopping, actions) = State::Running { pid: pid() }.on(Event::Stop { grace }, now);
            assert_eq!(
                acts(actions),
                [Action::TellOthers(pid()), Action::WakeAt(now + patience)]
            );
            // The process may end meanwhile, and others in its group live.
            let (emptying, _) = stopping.on(Event::Exited { alone: false }, now);
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
        let (state, _) = State::Running { pid: pid() }.on(Event::Stop { grace: GRACE }, now);
        let (state, _) = state.on(Event::OthersTold, now);
        let (state, actions) = state.on(Event::Exited { alone: false }, now);
        assert_eq!(acts(actions), [Action::Watch(pid())]);
        assert_eq!(acts(state.on(Event::Deadline, now + GRACE / 2).1), []);
        assert_eq!(acts(state.on(Event::Gone, now).1), [Action::Collect(pid())]);
        let (killed, actions) = state.on(Event::Deadline, now + GRACE);
        let last = now + GRACE + KILL_PATIENCE;
        assert_eq!(acts(actions), [Action::Kill(pid()), Action::WakeAt(last)]);
        assert_eq!(acts(killed.on(Event::Deadline, now + GRACE).1), [], "killed once");
        let (state, actions) = killed.on(Event::Gone, now);
        assert_eq!(acts(actions), [Action::Collect(pid())]);
        assert_eq!(state, State::Finishing { stopped: true });
    }

    #[test]
    fn a_second_stop_shortens_the_grace_and_never_lengthens_it() {
        let now = clock::steady();
        let (stopping, _) = State::Running { pid: pid() }.on(Event::Stop { grace: GRACE }, now);
        let (emptying, _) = stopping.on(Event::Exited { alone: false }, now);
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
}
