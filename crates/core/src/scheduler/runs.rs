//! The life of one run.
//!
//! `waiting → starting → running → finished`, from starting and running to `backing-off` where another attempt follows, from
//! starting to `gated` where a gate of it is closed, from these to waiting again, and from all of them to `stopping` and from
//! there to finished.
//! [`State::step`] says for every state and every input what follows; the scheduler does it, by records. A finished run is
//! no longer here.

use std::sync::Arc;

use crate::dependency::Cause;
use crate::event::Origin;
use crate::gates::Closed;
use crate::overrides::Overrides;
use crate::policy::{Codes, Holding, Policies};
use crate::process::caps::memory_text;
use crate::run::{AttemptEnd, AttemptKey, Exit, Outcome, RunKey, Stopped, TraceId, Trigger};
use crate::snapshot::{RunImage, Stage};
use crate::task::TaskName;
use crate::time::Timestamp;

use super::pools::{Shares, Standing};

/// One run that has not ended.
pub(super) struct Run {
    pub(super) name: TaskName,
    pub(super) trigger: Trigger,
    pub(super) fire_time: Option<Timestamp>,
    pub(super) created_at: Timestamp,
    pub(super) trace_id: TraceId,
    /// The attempt it is at, or that comes next, from 1.
    pub(super) attempt: u32,
    /// When its first attempt started, or could not.
    pub(super) started_at: Option<Timestamp>,
    /// The policies that its task had, once that was removed; until then its task says.
    pub(super) terms: Option<Arc<Policies>>,
    /// What it shares with runs of other tasks.
    pub(super) shares: Option<Arc<Shares>>,
    /// What that is where its task has been changed since.
    pub(super) keeps: Option<Holding>,
    /// What it is given beside what its task says.
    pub(super) overrides: Option<Arc<Overrides>>,
    /// What is known of its gate, once that was found closed.
    pub(super) gate: Option<Closed>,
    /// Where it stands among the others.
    pub(super) standing: Standing,
    /// The run whose end triggered it.
    pub(super) cause: Option<Cause>,
    /// Whether its end triggers nothing.
    pub(super) muted: bool,
    /// When its deadline is, while it waits between attempts.
    pub(super) expires: Option<Timestamp>,
    pub(super) state: State,
}

/// Where a run stands.
pub(super) enum State {
    /// It has no place yet. The scheduler moves it when a run ends. After a crash it waits again.
    Waiting,
    /// It has a place. The runner moves it: its process starts, or cannot. After a crash the runner's inventory tells
    /// whether it was started; if the runner ended too, its fate is unknown.
    Starting(Told),
    /// Its process runs. The runner moves it when that ends. A crash of the daemon is nothing to it; if the runner ended
    /// under it, its fate is unknown.
    Running(Process),
    /// An attempt did not succeed, and another follows. The scheduler moves it when that is due, after a crash as well.
    BackingOff {
        /// When it is.
        until: Timestamp,
    },
    /// A gate of it was closed. The scheduler moves it when that is to be looked at again, after a crash as well.
    Gated {
        /// When it is.
        until: Timestamp,
    },
    /// A stop was decided. The runner moves it when the process is gone; without a process it ends at once. After a
    /// crash the runner is told again.
    Stopping {
        /// Why.
        reason: String,
        /// Where it stood.
        of: Halted,
    },
}

/// Where a run stood when its stop was decided; its process may yet turn out to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halted {
    Waiting,
    Starting(Told),
    Running(Process),
}

/// Whether the runner was told to start a run. Known to one life of the daemon only, no part of the recorded state: a
/// run that is loaded counts as told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// No: the record that lets it start is not durable yet.
    Unrecorded,
    /// No: it may start, but no runner was there.
    Owed,
    /// Yes, or an earlier life may have.
    Yes,
}

/// The process of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) attempt: u32,
    pub(super) pid: u32,
    pub(super) started_at: Timestamp,
}

/// What a run hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// The record that lets it start is durable.
    Cleared,
    /// The decision to stop it is durable.
    StopDecided,
    /// The runner says that its process started.
    Started,
    /// A runner that was just attached has it, with a process or about to spawn one, stopping it or not.
    Listed { spawned: bool, stopping: bool },
    /// A runner that was just attached does not have it. `same` is whether it is the life of the runner that was
    /// attached before, which would know it if it had been told.
    Absent { same: bool },
    /// The runner says how it ended.
    Ended,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Record that its process runs.
    pub(super) note_start: bool,
    /// What to do.
    pub(super) act: Act,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Nothing,
    /// Have the runner start it.
    Start,
    /// Have the runner stop it.
    Stop,
    /// Record its end as the runner tells it.
    Finish,
    /// Record that it was cancelled before it had a process.
    Cancel,
    /// Record that nobody knows how it ended.
    Lose,
}

impl Act {
    const fn step(self) -> Step {
        Step {
            note_start: false,
            act: self,
        }
    }

    const fn noting_start(self, note_start: bool) -> Step {
        Step { note_start, act: self }
    }
}

impl State {
    /// What follows from an input.
    pub(super) fn step(&self, input: Input) -> Step {
        match self {
            State::Waiting => match input {
                Input::Cleared | Input::StopDecided | Input::Absent { .. } => Act::Nothing.step(),
                // The runner was never told of it; should it know it all the same, what it says is true.
                Input::Started => Act::Nothing.noting_start(true),
                Input::Listed { spawned, stopping: _ } => Act::Nothing.noting_start(spawned),
                Input::Ended => Act::Finish.step(),
            },
            State::Starting(told) => match input {
                Input::Cleared => Act::Start.step(),
                Input::StopDecided => Act::Nothing.step(),
                Input::Started => Act::Nothing.noting_start(true),
                Input::Listed { spawned, stopping: _ } => Act::Nothing.noting_start(spawned),
                Input::Absent { same } => match told {
                    Told::Unrecorded => Act::Nothing.step(),
                    Told::Owed => Act::Start.step(),
                    Told::Yes if same => Act::Start.step(),
                    Told::Yes => Act::Lose.step(),
                },
                Input::Ended => Act::Finish.step(),
            },
            State::Running(_) => match input {
                Input::Cleared | Input::StopDecided | Input::Started | Input::Listed { .. } => Act::Nothing.step(),
                Input::Absent { .. } => Act::Lose.step(),
                Input::Ended => Act::Finish.step(),
            },
            // Its last attempt is over, and the runner has not been told of another.
            State::BackingOff { until: _ } => match input {
                Input::Cleared
                | Input::StopDecided
                | Input::Started
                | Input::Listed { .. }
                | Input::Absent { .. }
                | Input::Ended => Act::Nothing.step(),
            },
            State::Gated { until: _ } => match input {
                Input::Cleared | Input::StopDecided | Input::Absent { .. } => Act::Nothing.step(),
                // As of one that waits: the runner was not told to look again.
                Input::Started => Act::Nothing.noting_start(true),
                Input::Listed { spawned, stopping: _ } => Act::Nothing.noting_start(spawned),
                // It has told so before, and was not heard to the end: it may forget that.
                Input::Ended => Act::Finish.step(),
            },
            State::Stopping { reason: _, of } => of.step(input),
        }
    }

    /// As the store keeps it.
    pub(super) fn stage(&self) -> Stage {
        match self {
            State::Waiting => Stage::Waiting,
            State::Starting(_) => Stage::Starting,
            State::Running(process) => process.stage(),
            State::BackingOff { until } => Stage::BackingOff { until: *until },
            State::Gated { until } => Stage::Gated { until: *until },
            State::Stopping { reason: _, of } => match of {
                Halted::Waiting => Stage::Waiting,
                Halted::Starting(_) => Stage::Starting,
                Halted::Running(process) => process.stage(),
            },
        }
    }

    /// Why it is being stopped, if it is.
    pub(super) fn stopping(&self) -> Option<&str> {
        match self {
            State::Stopping { reason, of: _ } => Some(reason),
            State::Waiting
            | State::Starting(_)
            | State::Running(_)
            | State::BackingOff { .. }
            | State::Gated { .. } => None,
        }
    }

    /// When its next attempt is due or its gate is looked at again, while it waits for that.
    pub(super) fn rests_until(&self) -> Option<Timestamp> {
        match self {
            State::BackingOff { until } | State::Gated { until } => Some(*until),
            State::Waiting | State::Starting(_) | State::Running(_) | State::Stopping { .. } => None,
        }
    }

    /// Whether it has no place: of a run that has started, it waits for another attempt.
    pub(super) fn is_between_attempts(&self) -> bool {
        match self {
            State::Waiting | State::BackingOff { .. } | State::Gated { .. } => true,
            State::Starting(_) | State::Running(_) | State::Stopping { .. } => false,
        }
    }

    /// Its process, if it has one.
    pub(super) fn process(&self) -> Option<Process> {
        match self {
            State::Running(process)
            | State::Stopping {
                reason: _,
                of: Halted::Running(process),
            } => Some(*process),
            State::Waiting
            | State::Starting(_)
            | State::BackingOff { .. }
            | State::Gated { .. }
            | State::Stopping {
                reason: _,
                of: Halted::Waiting | Halted::Starting(_),
            } => None,
        }
    }

    /// Notes whether the runner was told to start it.
    pub(super) fn set_told(&mut self, new: Told) {
        match self {
            State::Starting(told)
            | State::Stopping {
                reason: _,
                of: Halted::Starting(told),
            } => *told = new,
            State::Waiting
            | State::Running(_)
            | State::BackingOff { .. }
            | State::Gated { .. }
            | State::Stopping {
                reason: _,
                of: Halted::Waiting | Halted::Running(_),
            } => {}
        }
    }

    /// The word people know it by.
    pub(super) fn word(&self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Starting(_) => "starting",
            State::Running(_) => "running",
            State::BackingOff { .. } => "backing-off",
            State::Gated { .. } => "gated",
            State::Stopping { .. } => "stopping",
        }
    }

    /// Whether it waits: for a place, a gate, or its next attempt.
    pub(super) fn waits(&self) -> bool {
        match self {
            State::Waiting | State::Gated { .. } | State::BackingOff { .. } => true,
            State::Starting(_) | State::Running(_) | State::Stopping { .. } => false,
        }
    }
}

impl Halted {
    /// What follows from an input when a stop was decided.
    fn step(self, input: Input) -> Step {
        match self {
            Halted::Waiting => match input {
                Input::Cleared => Act::Nothing.step(),
                Input::StopDecided | Input::Absent { .. } => Act::Cancel.step(),
                Input::Started => Act::Stop.noting_start(true),
                Input::Listed { spawned, stopping } => stop_unless(stopping).noting_start(spawned),
                Input::Ended => Act::Finish.step(),
            },
            Halted::Starting(told) => match input {
                Input::Cleared => Act::Cancel.step(),
                Input::StopDecided => match told {
                    Told::Unrecorded | Told::Owed => Act::Cancel.step(),
                    Told::Yes => Act::Stop.step(),
                },
                // The runner was told to stop it right after it was told to start it, or hears it when it is attached.
                Input::Started => Act::Nothing.noting_start(true),
                Input::Listed { spawned, stopping } => stop_unless(stopping).noting_start(spawned),
                Input::Absent { same } => match told {
                    Told::Unrecorded | Told::Owed => Act::Cancel.step(),
                    Told::Yes if same => Act::Cancel.step(),
                    Told::Yes => Act::Lose.step(),
                },
                Input::Ended => Act::Finish.step(),
            },
            Halted::Running(_) => match input {
                Input::Cleared | Input::Started => Act::Nothing.step(),
                Input::StopDecided => Act::Stop.step(),
                Input::Listed { spawned: _, stopping } => stop_unless(stopping).step(),
                Input::Absent { .. } => Act::Lose.step(),
                Input::Ended => Act::Finish.step(),
            },
        }
    }
}

const fn stop_unless(stopping: bool) -> Act {
    if stopping { Act::Nothing } else { Act::Stop }
}

impl Process {
    fn stage(self) -> Stage {
        Stage::Running {
            pid: self.pid,
            started_at: self.started_at,
        }
    }
}

impl Run {
    pub(super) fn of_image(image: RunImage) -> (RunKey, Self) {
        let of = match image.stage {
            Stage::Waiting | Stage::BackingOff { .. } | Stage::Gated { .. } => Halted::Waiting,
            Stage::Starting => Halted::Starting(Told::Yes),
            Stage::Running { pid, started_at } => Halted::Running(Process {
                attempt: image.attempt,
                pid,
                started_at,
            }),
        };
        let state = match (image.stopping, of) {
            (Some(reason), of) => State::Stopping { reason, of },
            (None, Halted::Waiting) => match image.stage {
                Stage::BackingOff { until } => State::BackingOff { until },
                Stage::Gated { until } => State::Gated { until },
                Stage::Waiting | Stage::Starting | Stage::Running { .. } => State::Waiting,
            },
            (None, Halted::Starting(told)) => State::Starting(told),
            (None, Halted::Running(process)) => State::Running(process),
        };
        let run = Run {
            name: image.name,
            trigger: image.trigger,
            fire_time: image.fire_time,
            created_at: image.created_at,
            trace_id: image.trace_id,
            attempt: image.attempt,
            started_at: image.started_at,
            terms: image.terms.map(Arc::new),
            shares: image
                .keeps
                .as_ref()
                .map(|keeps| Arc::new(Shares::of(keeps.owner, &keeps.sharing))),
            keeps: image.keeps,
            overrides: image.overrides,
            gate: image.gate,
            standing: Standing::Apart,
            cause: image.cause,
            muted: image.muted,
            expires: None,
            state,
        };
        (image.key, run)
    }

    pub(super) fn image(&self, key: RunKey) -> RunImage {
        RunImage {
            key,
            name: self.name.clone(),
            trigger: self.trigger,
            fire_time: self.fire_time,
            created_at: self.created_at,
            trace_id: self.trace_id,
            attempt: self.attempt,
            started_at: self.started_at,
            stage: self.state.stage(),
            stopping: self.state.stopping().map(str::to_owned),
            keeps: self.keeps.clone(),
            cause: self.cause.clone(),
            muted: self.muted,
            overrides: self.overrides.clone(),
            gate: self.gate.clone(),
            terms: self.terms.as_deref().copied(),
        }
    }

    pub(super) fn origin(&self, run: RunKey) -> Origin {
        Origin {
            attempt: self.attempt(run),
            name: self.name.clone(),
            trigger: self.trigger,
            fire_time: self.fire_time,
            created_at: self.created_at,
            trace_id: self.trace_id,
        }
    }

    /// The attempt it is at.
    pub(super) fn attempt(&self, run: RunKey) -> AttemptKey {
        AttemptKey {
            run,
            attempt: self.attempt,
        }
    }
}

/// The outcome that follows from how an attempt ended, and why, where the outcome alone does not say. `stopping` is why
/// we had it stopped, if we had, and `success` are the exit codes that are one.
pub(super) fn outcome(end: &AttemptEnd, stopping: Option<&str>, success: &Codes) -> (Outcome, Option<String>) {
    let (outcome, reason) = match (&end.exit, end.stopped) {
        (Exit::SpawnFailed { errno, what }, _) => {
            let error = std::io::Error::from_raw_os_error(*errno);
            (Outcome::SpawnFailed, format!("{what}: {error}"))
        }
        (Exit::GateClosed { reading }, _) => (Outcome::Skipped, reading.clone()),
        (Exit::Code(_) | Exit::Signal(_) | Exit::OverMemory { .. }, Some(Stopped::Asked)) => (
            Outcome::Cancelled,
            stopping.unwrap_or("the runner was stopped").to_owned(),
        ),
        (Exit::Code(_) | Exit::Signal(_) | Exit::OverMemory { .. }, Some(Stopped::Timeout)) => {
            (Outcome::TimedOut, "its timeout was over".to_owned())
        }
        (Exit::Code(_) | Exit::Signal(_) | Exit::OverMemory { .. }, Some(Stopped::Deadline)) => {
            (Outcome::TimedOut, "its deadline was over".to_owned())
        }
        (Exit::Code(0), None) if success.has(0) => return (Outcome::Succeeded, None),
        (Exit::Code(code), None) if success.has(*code) => (Outcome::Succeeded, format!("exit code {code}")),
        (Exit::Code(code), None) => (Outcome::Failed, format!("exit code {code}")),
        (Exit::Signal(signal), None) => (Outcome::Failed, format!("signal {signal}")),
        (Exit::OverMemory { cap }, None) => (Outcome::Failed, format!("over --memory-max {}", memory_text(*cap))),
    };
    (outcome, Some(reason))
}

#[cfg(test)]
mod tests;
