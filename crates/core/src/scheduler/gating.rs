//! What follows when the runner has found a gate of a run closed: it waits and the gate is looked at again, or it is skipped.
//!
//! A run that waits for its gate holds no place, group or lock, and counts among the runs of its task. When it is time to
//! look, it waits for a place as any other, and is started as any other: the look is a part of that.

use std::time::Duration;

use crate::effect::Notice;
use crate::gates::{self, Closed};
use crate::record::Record;
use crate::run::{AttemptEnd, Outcome, RunKey, Stopped};
use crate::time::Timestamp;

use super::Scheduler;
use super::pending::After;
use super::runs::State;

impl Scheduler {
    /// The runner found a gate closed.
    pub(super) fn gate_closed(&mut self, now: Timestamp, key: RunKey, reading: String, end: AttemptEnd) {
        let Some(run) = self.runs.get(&key) else { return };
        let at = end.finished_at;
        match &run.state {
            // Heard before, in another life of the daemon, and recorded.
            State::Waiting | State::Gated { .. } | State::BackingOff { .. } => {
                self.after.push(After::Forget(run.attempt(key)));
            }
            State::Stopping { reason, of: _ } => {
                let reason = reason.clone();
                self.finish(at, key, Outcome::Cancelled, Some(reason), Some(end));
            }
            State::Starting(_) | State::Running(_) => self.turned_away(now, key, reading, end),
        }
    }

    fn turned_away(&mut self, now: Timestamp, key: RunKey, reading: String, end: AttemptEnd) {
        let (Some(run), at) = (self.runs.get(&key), end.finished_at) else {
            return;
        };
        let Some(task) = self.tasks.get(key.task) else {
            let reason = "its task was removed before it started".to_owned();
            return self.finish(at, key, Outcome::Cancelled, Some(reason), Some(end));
        };
        let wait = task.policies.gate_wait_ms.map(|ms| Duration::from_millis(ms.get()));
        let earlier = run.gate.as_ref();
        // A clock that was set back since does not make it wait longer, nor does an edit.
        let began = at.min(now);
        let gives_up = wait.map(|wait| {
            let anew = began.plus(wait);
            earlier.map_or(anew, |gate| gate.gives_up.min(anew))
        });
        match gives_up {
            Some(gives_up) if now < gives_up => {
                let looks = earlier.map_or(0, |gate| gate.looks).saturating_add(1);
                let look_at = began.plus(gates::until_next_look(looks)).min(gives_up);
                let attempt = run.attempt(key);
                if earlier.is_none() {
                    self.after.push(After::Notice(Box::new(Notice::GateClosed {
                        run: key,
                        name: run.name.clone(),
                        trace_id: run.trace_id,
                        reading: reading.clone(),
                        gives_up,
                    })));
                }
                self.after.push(After::Forget(attempt));
                self.fact(Record::GateClosed {
                    run: key,
                    at,
                    gate: Closed {
                        looks,
                        reading,
                        gives_up,
                    },
                    look_at,
                });
            }
            // No gate was read to its end.
            None if end.stopped == Some(Stopped::Asked) => {
                let reason = "the runner was stopped".to_owned();
                self.finish(at, key, Outcome::Cancelled, Some(reason), Some(end));
            }
            Some(_) | None => self.finish(at, key, Outcome::Skipped, Some(reading), Some(end)),
        }
    }
}
