//! The life of an attempt: a machine of states and events without a clock, a process or a file.
//!
//! ```text
//! Spawning ──▶ Running ──▶ Stopping ──▶ Finishing ──▶ Ended
//!     │           └───────────────────────▲             ▲
//!     └─────────────────────────────────────────────────┘
//! ```

use std::time::{Duration, Instant};

use rustix::process::Pid;

/// Where an attempt stands.
///
/// If the runner is killed, what is not `Ended` is killed with it and nothing is known of it any more; the daemon
/// finds the key missing in the inventory of the next runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Waits for a spawner thread or is in its hands. The thread's report moves it on.
    Spawning {
        /// A stop that came meanwhile, with its grace; begun as soon as there is a process to stop.
        stop: Option<Duration>,
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
        /// When it is killed; `None` once it was.
        kill_at: Option<Instant>,
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
    /// A deadline came, not necessarily the one in force.
    Deadline,
    /// The process has ended.
    Exited,
    /// What had to be done after its end is done.
    Finished,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Tell the daemon that it started.
    Announce,
    /// Ask the process and its group to end.
    Terminate(Pid),
    /// Make them.
    Kill(Pid),
    /// Come back with [`Event::Deadline`] then.
    WakeAt(Instant),
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
            State::Spawning { stop } => match event {
                Event::Spawned(pid) => match stop {
                    None => (State::Running { pid }, [Some(Action::Announce), None, None]),
                    Some(grace) => {
                        let (state, [first, second, _]) = begin_stop(pid, grace, now);
                        (state, [Some(Action::Announce), first, second])
                    }
                },
                Event::NotSpawned => (State::Ended, [Some(Action::Report), None, None]),
                Event::Stop { grace } => {
                    let stop = Some(stop.map_or(grace, |earlier| earlier.min(grace)));
                    (State::Spawning { stop }, NOTHING)
                }
                Event::Deadline | Event::Exited | Event::Finished => (self, NOTHING),
            },
            State::Running { pid } => match event {
                Event::Stop { grace } => begin_stop(pid, grace, now),
                Event::Exited => (State::Finishing { stopped: false }, NOTHING),
                Event::Spawned(_) | Event::NotSpawned | Event::Deadline | Event::Finished => (self, NOTHING),
            },
            State::Stopping { pid, kill_at } => match event {
                Event::Stop { grace } => match kill_at {
                    // A second stop may shorten the grace and never lengthens it.
                    Some(at) if now + grace < at => tighten(pid, grace, now),
                    Some(_) | None => (self, NOTHING),
                },
                Event::Deadline => match kill_at {
                    Some(at) if at <= now => (
                        State::Stopping { pid, kill_at: None },
                        [Some(Action::Kill(pid)), None, None],
                    ),
                    Some(_) | None => (self, NOTHING),
                },
                Event::Exited => (State::Finishing { stopped: true }, NOTHING),
                Event::Spawned(_) | Event::NotSpawned | Event::Finished => (self, NOTHING),
            },
            State::Finishing { .. } => match event {
                Event::Finished => (State::Ended, [Some(Action::Report), None, None]),
                Event::Spawned(_) | Event::NotSpawned | Event::Stop { .. } | Event::Deadline | Event::Exited => {
                    (self, NOTHING)
                }
            },
            State::Ended => match event {
                Event::Spawned(_)
                | Event::NotSpawned
                | Event::Stop { .. }
                | Event::Deadline
                | Event::Exited
                | Event::Finished => (self, NOTHING),
            },
        }
    }

    /// Whether it was told to end.
    pub(crate) fn is_stopping(&self) -> bool {
        match self {
            State::Spawning { stop } => stop.is_some(),
            State::Running { .. } | State::Ended => false,
            State::Stopping { .. } => true,
            State::Finishing { stopped } => *stopped,
        }
    }
}

fn begin_stop(pid: Pid, grace: Duration, now: Instant) -> (State, Actions) {
    if grace.is_zero() {
        return tighten(pid, grace, now);
    }
    let (state, [wake, ..]) = tighten(pid, grace, now);
    (state, [Some(Action::Terminate(pid)), wake, None])
}

/// Sets the deadline of a stop; without any grace it has come.
fn tighten(pid: Pid, grace: Duration, now: Instant) -> (State, Actions) {
    if grace.is_zero() {
        let state = State::Stopping { pid, kill_at: None };
        return (state, [Some(Action::Kill(pid)), None, None]);
    }
    let at = now + grace;
    let state = State::Stopping { pid, kill_at: Some(at) };
    (state, [Some(Action::WakeAt(at)), None, None])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const GRACE: Duration = Duration::from_secs(10);

    fn pid() -> Pid {
        rustix::process::getpid()
    }

    fn acts(actions: Actions) -> Vec<Action> {
        actions.into_iter().flatten().collect()
    }

    #[test]
    fn an_attempt_that_nobody_stops_is_announced_and_reported() {
        let now = clock::steady();
        let (state, actions) = State::Spawning { stop: None }.on(Event::Spawned(pid()), now);
        assert_eq!(acts(actions), [Action::Announce]);
        let (state, actions) = state.on(Event::Exited, now);
        assert_eq!((state, acts(actions)), (State::Finishing { stopped: false }, vec![]));
        let (state, actions) = state.on(Event::Finished, now);
        assert_eq!((state, acts(actions)), (State::Ended, vec![Action::Report]));
    }

    #[test]
    fn a_stop_before_the_start_is_not_forgotten() {
        let now = clock::steady();
        let (state, _) = State::Spawning { stop: None }.on(Event::Stop { grace: GRACE }, now);
        assert!(state.is_stopping());
        let (state, actions) = state.on(Event::Spawned(pid()), now);
        let kill_at = Some(now + GRACE);
        assert_eq!(state, State::Stopping { pid: pid(), kill_at });
        assert_eq!(
            acts(actions),
            [Action::Announce, Action::Terminate(pid()), Action::WakeAt(now + GRACE)]
        );
    }

    #[test]
    fn a_stop_kills_when_its_grace_is_over_and_not_before() {
        let now = clock::steady();
        let (state, _) = State::Running { pid: pid() }.on(Event::Stop { grace: GRACE }, now);
        let (state, actions) = state.on(Event::Deadline, now + GRACE / 2);
        assert_eq!(acts(actions), []);
        let (state, actions) = state.on(Event::Deadline, now + GRACE);
        assert_eq!(acts(actions), [Action::Kill(pid())]);
        let (state, actions) = state.on(Event::Deadline, now + GRACE);
        assert_eq!(acts(actions), [], "killed once");
        assert_eq!(state.on(Event::Exited, now).0, State::Finishing { stopped: true });
    }

    #[test]
    fn a_second_stop_shortens_the_grace_and_never_lengthens_it() {
        let now = clock::steady();
        let (state, _) = State::Running { pid: pid() }.on(Event::Stop { grace: GRACE }, now);
        let (longer, actions) = state.on(Event::Stop { grace: GRACE * 2 }, now);
        assert_eq!((longer, acts(actions)), (state, vec![]));
        let (shorter, actions) = state.on(Event::Stop { grace: GRACE / 2 }, now);
        assert_eq!(acts(actions), [Action::WakeAt(now + GRACE / 2)]);
        let (_, actions) = shorter.on(Event::Stop { grace: Duration::ZERO }, now);
        assert_eq!(acts(actions), [Action::Kill(pid())]);
    }
}
