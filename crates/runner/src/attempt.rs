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

/// Longer graces are cut, so that no deadline is out of range.
pub(crate) const GRACE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long an attempt may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limit {
    /// From its start; `None` for however long it takes.
    pub(crate) within: Option<Duration>,
    /// Time between the signal that asks it to end and KILL, once that is over.
    pub(crate) grace: Duration,
}

/// Why an attempt was told to end. The first cause stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The daemon, or the end of the runner, wanted it.
    Asked,
    /// Its time was up.
    TimeUp,
}

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
        /// How long the process may take.
        limit: Limit,
    },
    /// The process runs. Its end, a stop or the end of its time moves it on.
    Running {
        /// The process, and the id of its group and session.
        pid: Pid,
        /// When its time is up, and the grace that it has then.
        up_at: Option<(Instant, Duration)>,
    },
    /// Was told to end. Its end moves it on; a deadline makes sure of that.
    Stopping {
        /// The process.
        pid: Pid,
        /// When its group is told without waiting for the look at the others; `None` once it was.
        tell_at: Option<Instant>,
        /// When it is killed; `None` once it was.
        kill_at: Option<Instant>,
        /// Why it was told to end.
        cause: Cause,
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
        /// Why it had been told to end, if it was.
        stopped: Option<Cause>,
    },
    /// The process was reaped, its output is being put together. The thread that does so moves it on.
    Finishing {
        /// Why it had been told to end, if it was.
        stopped: Option<Cause>,
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
        /// Whether what is left goes on, unless it was told to end.
        leave: bool,
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
            State::Spawning { kill_at, limit } => match event {
                Event::Spawned(pid) => match kill_at {
                    None => {
                        let up_at = limit.within.and_then(|within| now.checked_add(within));
                        let state = State::Running {
                            pid,
                            up_at: up_at.map(|at| (at, limit.grace)),
                        };
                        (state, [Some(Action::Announce), up_at.map(Action::WakeAt), None])
                    }
                    Some(at) => {
                        let (state, [first, second, _]) = begin_stop(pid, at, Cause::Asked, now);
                        (state, [Some(Action::Announce), first, second])
                    }
                },
                Event::NotSpawned => (State::Ended, [Some(Action::Report), None, None]),
                Event::Stop { grace } => {
                    let at = kill_at.map_or(now + grace, |earlier| earlier.min(now + grace));
                    let state = State::Spawning {
                        kill_at: Some(at),
                        limit,
                    };
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
            State::Running { pid, up_at } => match event {
                Event::Stop { grace } => begin_stop(pid, now + grace, Cause::Asked, now),
                Event::Deadline => match up_at {
                    Some((at, grace)) if at <= now => begin_stop(pid, now + grace, Cause::TimeUp, now),
                    Some(_) | None => (self, NOTHING),
                },
                Event::Exited { alone: true, .. } | Event::Exited { leave: true, .. } => collect(pid, None),
                Event::Exited {
                    alone: false,
                    leave: false,
                } => kill_rest(pid, None, now),
                Event::Spawned(_) | Event::NotSpawned | Event::OthersTold | Event::Gone | Event::Finished => {
                    (self, NOTHING)
                }
            },
            State::Stopping {
                pid,
                tell_at,
                kill_at,
                cause,
            } => match event {
                Event::Stop { grace } => match kill_at {
                    // A second stop may shorten the grace and never lengthens it.
                    Some(at) if now + grace < at => kill_by(pid, sooner(tell_at, grace, now), now + grace, cause, now),
                    Some(_) | None => (self, NOTHING),
                },
                Event::OthersTold => match (tell_at, kill_at) {
                    (Some(_), Some(at)) => tell_group(pid, at, cause, now),
                    (None, _) | (_, None) => (self, NOTHING),
                },
                Event::Deadline => match (tell_at, kill_at) {
                    (_, Some(at)) if at <= now => kill_by(pid, tell_at, at, cause, now),
                    (Some(tell), Some(at)) if tell <= now => tell_group(pid, at, cause, now),
                    (_, Some(_) | None) => (self, NOTHING),
                },
                Event::Exited { alone: true, .. } => collect(pid, Some(cause)),
                Event::Exited { alone: false, .. } => match kill_at {
                    Some(until) => {
                        let state = State::Emptying {
                            pid,
                            tell_at,
                            killing: false,
                            until,
                            stopped: Some(cause),
                        };
                        (state, [Some(Action::Watch(pid)), None, None])
                    }
                    None => kill_rest(pid, Some(cause), now),
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
                    let cause = stopped.unwrap_or(Cause::Asked);
                    empty_by(pid, sooner(tell_at, grace, now), now + grace, cause, now)
                }
                Event::Deadline if until <= now => {
                    if killing {
                        collect(pid, stopped)
                    } else {
                        kill_rest(pid, stopped, now)
                    }
                }
                Event::OthersTold if tell_at.is_some() => tell_rest(pid, until, stopped.unwrap_or(Cause::Asked), now),
                Event::Deadline if tell_at.is_some_and(|at| at <= now) => {
                    tell_rest(pid, until, stopped.unwrap_or(Cause::Asked), now)
                }
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

    /// Why it was told to end, if it was.
    pub(crate) fn stopping(&self) -> Option<Cause> {
        match self {
            State::Spawning { kill_at, limit: _ } => kill_at.map(|_| Cause::Asked),
            State::Running { .. } | State::Ended => None,
            State::Stopping { cause, .. } => Some(*cause),
            State::Emptying { stopped, .. } | State::Finishing { stopped } => *stopped,
        }
    }

    /// The process, if it runs as far as is known here.
    pub(crate) fn runs(&self) -> Option<Pid> {
        match self {
            State::Running { pid, .. } | State::Stopping { pid, .. } => Some(*pid),
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

fn begin_stop(pid: Pid, at: Instant, cause: Cause, now: Instant) -> (State, Actions) {
    let tell_at = now + LOOK_PATIENCE.min(at.saturating_duration_since(now) / 2);
    let (state, [first, ..]) = kill_by(pid, Some(tell_at), at, cause, now);
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
fn tell_group(pid: Pid, at: Instant, cause: Cause, now: Instant) -> (State, Actions) {
    let (state, [first, ..]) = kill_by(pid, None, at, cause, now);
    (state, [Some(Action::TellGroup(pid)), first, None])
}

/// Sets the deadline of a stop, which may have come.
fn kill_by(pid: Pid, tell_at: Option<Instant>, at: Instant, cause: Cause, now: Instant) -> (State, Actions) {
    if at <= now {
        let state = State::Stopping {
            pid,
            tell_at: None,
            kill_at: None,
            cause,
        };
        return (state, [Some(Action::Kill(pid)), None, None]);
    }
    let kill_at = Some(at);
    let state = State::Stopping {
        pid,
        tell_at,
        kill_at,
        cause,
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

/// The same when only others than the process are left.
fn empty_by(pid: Pid, tell_at: Option<Instant>, at: Instant, cause: Cause, now: Instant) -> (State, Actions) {
    if at <= now {
        return kill_rest(pid, Some(cause), now);
    }
    let state = State::Emptying {
        pid,
        tell_at,
        killing: false,
        until: at,
        stopped: Some(cause),
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

fn tell_rest(pid: Pid, at: Instant, cause: Cause, now: Instant) -> (State, Actions) {
    let (state, [first, ..]) = empty_by(pid, None, at, cause, now);
    (state, [Some(Action::TellGroup(pid)), first, None])
}

fn kill_rest(pid: Pid, stopped: Option<Cause>, now: Instant) -> (State, Actions) {
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

fn collect(pid: Pid, stopped: Option<Cause>) -> (State, Actions) {
    (State::Finishing { stopped }, [Some(Action::Collect(pid)), None, None])
}

#[cfg(test)]
mod tests;
