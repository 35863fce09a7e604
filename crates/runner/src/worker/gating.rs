//! Gates: what must hold before the process of an attempt is started.
//!
//! What is only read is read by the thread that starts children. A command is a child of its own, with all that holds for
//! children: the attempt lives through it first, and then once more, through what it is for. Nobody is told of the first
//! unless its gate is closed.

use std::time::Duration;

use taskd_wire::codec::Tail;
use taskd_wire::definition::{ActionSpec, OutputKind};
use taskd_wire::runner::{End, Start};

use super::Worker;
use crate::attempt::{Cause, Limit, State};
use crate::cgroups::Counted;
use crate::clock;
use crate::roster::{Attempt, Gating};
use crate::spawn::Job;
use crate::sys::Reaped;

/// What failed of an attempt whose gate was closed.
const GATE: &str = "gate";

/// What an attempt has come to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Over {
    /// The command of its gate has ended and the gate is open: its own process is being started.
    Gate,
    /// All of it.
    All {
        /// Why it had been told to end, if it was.
        stopped: Option<Cause>,
    },
}

impl Worker {
    /// Has the process of an attempt started, or first the command of its gate.
    pub(super) fn submit(&mut self, id: u64, mut start: Box<Start>) {
        let only_if = start.gates.0.as_mut().and_then(|gates| gates.0.only_if.take());
        let Some(line) = only_if else {
            return self.starts.push(Job::new(id, start));
        };
        let mut gate = start.clone();
        gate.action = ActionSpec::Shell { line };
        gate.process.0.0.stdin = None;
        // Nobody reads what it writes.
        (gate.output, gate.masks) = (Tail(OutputKind::Discard), Tail(Vec::new()));
        // What else there is to look at is looked at before.
        let within = start.gates.0.take().map_or(0, |gates| gates.0.within_ms);
        let within = Duration::from_millis(within);
        if let Some(attempt) = self.roster.get_mut(id) {
            // What it leaves behind must not go on beside what comes then.
            attempt.leave = false;
            attempt.output = None;
            attempt.state = State::Spawning {
                kill_at: None,
                limit: Limit {
                    within: Some(within),
                    grace: Duration::ZERO,
                },
            };
            attempt.gating = Some(Gating {
                start,
                within,
                stopped: false,
            });
        }
        self.starts.push(Job::new(id, gate));
    }

    /// Hands the starts that were taken in over to the threads, once the next life would know of them.
    pub(super) fn hand_over(&mut self) {
        self.roster.free(self.results.freed());
        self.roster.keep_underway();
        if !self.starts.is_empty() {
            self.spawners.submit(&mut self.starts);
        }
    }

    /// A gate that is only read is closed.
    pub(super) fn gate_closed(&mut self, id: u64, reading: String, at_ms: i64) {
        if let Some(attempt) = self.roster.get_mut(id) {
            attempt.gating = None;
            attempt.started_ms = at_ms;
            attempt.finished_ms = clock::wall_ms();
            close(attempt, reading);
        }
    }

    /// What an attempt has come to that is over, and was told to end for a cause, if it was.
    pub(super) fn over(&mut self, id: u64, stopped: Option<Cause>) -> Over {
        let takes_starts = self.closing.takes_starts();
        let Some(attempt) = self.roster.get_mut(id) else {
            return Over::All { stopped };
        };
        let Some(gating) = attempt.gating.take() else {
            return Over::All { stopped };
        };
        let has_run = attempt.pid.take().is_some();
        (attempt.started_ms, attempt.reaped) = (attempt.finished_ms, Reaped::default());
        attempt.counted = Counted::default();
        // A command that could not be started says itself why.
        if !has_run {
            return Over::All { stopped };
        }
        let asked = gating.stopped || stopped == Some(Cause::Asked) || !takes_starts;
        let reading = match (&attempt.end, stopped) {
            _ if asked => "its gate was not looked at to the end".to_owned(),
            (_, Some(Cause::TimeUp)) => format!("only-if took longer than {} s", gating.within.as_secs_f32()),
            (End::Exited(0), _) => {
                attempt.begin_anew(&gating.start, &self.outputs);
                self.starts.push(Job::new(id, gating.start));
                return Over::Gate;
            }
            (End::Exited(code), _) => format!("only-if exited with {code}"),
            (End::Signalled(signal), _) => format!("only-if was ended by signal {signal}"),
            // It had a process.
            (End::SpawnFailed { what, .. }, _) => format!("only-if failed: {what}"),
        };
        close(attempt, reading);
        Over::All {
            stopped: asked.then_some(Cause::Asked),
        }
    }
}

fn close(attempt: &mut Attempt, reading: String) {
    attempt.end = End::SpawnFailed {
        errno: libc::ECANCELED,
        what: GATE.to_owned(),
    };
    attempt.closed = Some(reading);
}
