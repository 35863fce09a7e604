//! What is done for a run after each of its steps: the runner is told, or its end is recorded.

use std::time::Duration;

use crate::effect::{Effect, Notice};
use crate::policy::{Codes, Policies};
use crate::record::Record;
use crate::run::{AttemptEnd, Exit, Outcome, RunKey};
use crate::time::Timestamp;

use super::Scheduler;
use super::pending::After;
use super::runs::{self, Act, Input, Told};

impl Scheduler {
    /// Gives an input to a run that has neither process nor end to tell of.
    pub(super) fn drive(&mut self, now: Timestamp, key: RunKey, input: Input) {
        if let Some(run) = self.runs.get(&key) {
            let act = run.state.step(input).act;
            self.act(now, key, act, None);
        }
    }

    /// Does what follows for a run. `end` is what the runner told of its end.
    pub(super) fn act(&mut self, now: Timestamp, key: RunKey, act: Act, end: Option<AttemptEnd>) {
        match act {
            Act::Nothing => {}
            Act::Start => self.start(now, key),
            Act::Stop => self.stop(key),
            Act::Finish => {
                if let Some(end) = end {
                    if let Exit::GateClosed { reading } = &end.exit {
                        let reading = reading.clone();
                        return self.gate_closed(now, key, reading, end);
                    }
                    let Some(run) = self.runs.get(&key) else { return };
                    let success = self.terms(key).map_or(Codes::SUCCESS, |terms| terms.success);
                    let (outcome, reason) = runs::outcome(&end, run.state.stopping(), &success);
                    self.conclude(now, end.finished_at, key, outcome, reason, Some(end));
                }
            }
            Act::Cancel => {
                let reason = self
                    .runs
                    .get(&key)
                    .and_then(|run| run.state.stopping())
                    .map(str::to_owned);
                self.finish(now, key, Outcome::Cancelled, reason, None);
            }
            Act::Lose => {
                let reason = Some("the runner ended under it".to_owned());
                self.conclude(now, now, key, Outcome::Unknown, reason, None);
            }
        }
    }

    /// Has the runner start a run, or notes that this is owed to it.
    pub(super) fn start(&mut self, now: Timestamp, key: RunKey) {
        let (attached, deadline) = (self.may_start(), self.deadline_left(now, key));
        if let Some((outcome, reason)) = self.hindrance(key, deadline) {
            return self.finish(now, key, outcome, Some(reason.to_owned()), None);
        }
        if let Some(run) = self.runs.get_mut(&key) {
            run.state.set_told(if attached { Told::Yes } else { Told::Owed });
            if attached {
                let origin = run.origin(key);
                let overrides = run.overrides.clone();
                let previous = self.tasks.get(key.task).and_then(|task| task.last_outcome);
                self.outbox.push_back(Effect::Start {
                    origin,
                    deadline,
                    previous,
                    overrides,
                });
            }
        }
    }

    /// Whether the runner that is attached may be told to start something.
    fn may_start(&self) -> bool {
        self.life.attached && self.life.withheld == 0
    }

    /// Has the runner stop a run. Without a runner it is told when one is attached.
    fn stop(&mut self, key: RunKey) {
        if let Some(run) = self.runs.get(&key)
            && self.life.attached
            && !self.unrecorded_stops.contains(&key)
        {
            self.outbox.push_back(Effect::Stop {
                attempt: run.attempt(key),
                grace: self.grace(key),
            });
        }
    }

    /// The policies of the task of a run, which may have been removed since.
    pub(super) fn terms(&self, run: RunKey) -> Option<&Policies> {
        let task = self.tasks.get(run.task).map(|task| &*task.policies);
        task.or_else(|| self.runs.get(&run)?.terms.as_deref())
    }

    /// How much time a run has to end by itself when it is stopped.
    pub(super) fn grace(&self, run: RunKey) -> Duration {
        let chosen = self.terms(run).and_then(|terms| terms.time.grace());
        chosen.unwrap_or(self.limits.grace)
    }

    /// Records the end of a run. People are told, and the runner may forget it, when that is durable.
    pub(super) fn finish(
        &mut self,
        at: Timestamp,
        key: RunKey,
        outcome: Outcome,
        reason: Option<String>,
        end: Option<AttemptEnd>,
    ) {
        let Some(run) = self.runs.get(&key) else { return };
        let attempt = run.attempt(key);
        // Of one whose fate nobody knows the next attempt may have begun.
        let is_between = end.is_none() && run.state.process().is_none() && outcome != Outcome::Unknown;
        let begun = if is_between {
            attempt.attempt - 1
        } else {
            attempt.attempt
        };
        let exit = end.as_ref().map(|end| &end.exit);
        let notice = Notice::RunFinished {
            run: key,
            attempt: begun.max(1),
            name: run.name.clone(),
            trigger: run.trigger,
            trace_id: run.trace_id,
            outcome,
            reason: reason.clone(),
            exit_code: exit.and_then(Exit::code),
            signal: exit.and_then(Exit::signal),
            duration: end
                .as_ref()
                .filter(|end| end.pid != 0)
                .map(|end| end.finished_at.since(end.started_at)),
            usage: end.as_ref().map(|end| end.usage).unwrap_or_default(),
        };
        let told = end.is_some();
        let trace_id = run.trace_id;
        let is_followed = Scheduler::is_followed(run, outcome, end.as_ref());
        // What follows from an end is kept with it.
        let glued = self.facts.len();
        self.fact(Record::RunFinished {
            run: key,
            at,
            outcome,
            reason,
            end,
        });
        if is_followed {
            self.tell_downstream(at, key, outcome, trace_id);
        }
        self.glue(glued);
        self.after.push(After::Notice(Box::new(notice)));
        if told {
            self.after.push(After::Forget(attempt));
        }
    }
}
