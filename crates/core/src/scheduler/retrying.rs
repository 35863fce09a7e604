//! What follows when an attempt has ended: another one after a while, or the end of its run.

use std::time::Duration;

use crate::effect::Notice;
use crate::gates::LOOK_LAST;
use crate::record::Record;
use crate::run::{AttemptEnd, Outcome, RunKey, Stopped};
use crate::task::TaskId;
use crate::time::Timestamp;

use super::Scheduler;
use super::evolve::runs_of;
use super::pending::After;
use super::runs::{Run, State};

/// Why a run has ended that waited for another attempt.
const OVER: &str = "its deadline was over before its next attempt";

/// What follows an attempt that has ended.
enum Next {
    /// Another one, at this time.
    At(Timestamp),
    /// The end of its run.
    Nothing,
    /// The same, though another one would follow, for this reason.
    NoMore(&'static str),
}

impl Scheduler {
    /// Records the end of an attempt: the run goes on with another one, or has ended with it.
    pub(super) fn conclude(
        &mut self,
        now: Timestamp,
        at: Timestamp,
        key: RunKey,
        outcome: Outcome,
        reason: Option<String>,
        end: Option<AttemptEnd>,
    ) {
        match self.next_attempt(now, at, key, outcome, end.as_ref()) {
            Next::At(retry_at) => self.back_off(at, key, outcome, reason, end, retry_at),
            Next::Nothing => self.finish(at, key, outcome, reason, end),
            Next::NoMore(why) => {
                let reason = reason.map_or_else(|| why.to_owned(), |reason| format!("{reason}; {why}"));
                self.finish(at, key, outcome, Some(reason), end);
            }
        }
    }

    /// What follows an attempt of a run that ended so.
    fn next_attempt(
        &mut self,
        now: Timestamp,
        at: Timestamp,
        key: RunKey,
        outcome: Outcome,
        end: Option<&AttemptEnd>,
    ) -> Next {
        let policies = self.terms(key).copied();
        let Some((run, policies)) = self.runs.get(&key).zip(policies) else {
            return Next::Nothing;
        };
        // The runner counts a deadline by a clock that nobody sets.
        let is_over = end.is_some_and(|end| end.stopped == Some(Stopped::Deadline));
        let follows = policies.retry.follows(run.attempt, outcome, end.map(|end| &end.exit));
        if matches!(run.state, State::Stopping { .. }) || is_over || !follows {
            return Next::Nothing;
        }
        if !self.tasks.contains(key.task) {
            return Next::NoMore("its task was removed, and no other attempt follows");
        }
        // The half of a random number that is random on its own.
        let dice = u64::try_from(self.traces.draw().0 >> 64).unwrap_or(0);
        // A clock that was set back since does not make it wait longer.
        let retry_at = at.min(now).plus(policies.retry.backoff.wait(run.attempt, dice));
        let ends = policies.time.deadline_ms.zip(run.started_at.or(Some(at)));
        let in_time = ends.is_none_or(|(deadline, began)| retry_at < began.plus(Duration::from_millis(deadline.get())));
        if in_time {
            Next::At(retry_at)
        } else {
            Next::NoMore("its deadline leaves no time for another attempt")
        }
    }

    fn back_off(
        &mut self,
        at: Timestamp,
        key: RunKey,
        outcome: Outcome,
        reason: Option<String>,
        end: Option<AttemptEnd>,
        retry_at: Timestamp,
    ) {
        let Some(run) = self.runs.get(&key) else { return };
        let attempt = run.attempt(key);
        self.after.push(After::Notice(Box::new(Notice::AttemptEnded {
            run: key,
            attempt: attempt.attempt,
            name: run.name.clone(),
            trace_id: run.trace_id,
            outcome,
            reason: reason.clone(),
            retry_at,
        })));
        if end.is_some() {
            self.after.push(After::Forget(attempt));
        }
        self.fact(Record::AttemptEnded {
            attempt,
            at,
            outcome,
            reason,
            end,
            retry_at,
        });
    }

    /// Has the attempts wait for a place that are due, and the runs whose gates are to be looked at.
    pub(super) fn retry_due(&mut self, now: Timestamp) {
        while let Some((_, run)) = self.retries.first().copied().filter(|(until, _)| *until <= now) {
            self.fact(Record::RetryDue { run, at: now });
        }
    }

    /// Ends the runs whose deadline comes while they wait for another attempt: for its time, for its gate or for a place.
    pub(super) fn end_overdue(&mut self, now: Timestamp) {
        while let Some((_, run)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.finish(now, run, Outcome::TimedOut, Some(OVER.to_owned()), None);
        }
    }

    /// Where the clock was set back, no attempt waits longer than the longest wait of its task, and no gate for longer than
    /// from one look to the next.
    pub(super) fn clamp_retries(&mut self, now: Timestamp) {
        let longest = |key: &RunKey| {
            let task = self.tasks.get(key.task);
            let is_gated = |run: &Run| matches!(run.state, State::Gated { .. });
            if self.runs.get(key).is_some_and(is_gated) {
                return LOOK_LAST;
            }
            task.map_or(Duration::ZERO, |task| {
                Duration::from_millis(task.policies.retry.backoff.max_ms.get())
            })
        };
        let far: Vec<RunKey> = self
            .retries
            .iter()
            .filter(|(until, key)| until.since(now) > longest(key))
            .map(|(_, key)| *key)
            .collect();
        for run in far {
            self.fact(Record::RetryDue { run, at: now });
        }
    }

    /// Ends the runs of a removed task that wait, for another attempt, for its gate or for its place: what it would do went with the task.
    pub(super) fn drop_retries(&mut self, now: Timestamp, id: TaskId) {
        let theirs = self.runs.range(runs_of(id));
        let waits = |(_, run): &(&RunKey, &Run)| {
            matches!(
                run.state,
                State::BackingOff { .. } | State::Gated { .. } | State::Waiting
            )
        };
        let keys: Vec<RunKey> = theirs.filter(waits).map(|(key, _)| *key).collect();
        for key in keys {
            let reason = Some("its task was removed before its next attempt".to_owned());
            self.finish(now, key, Outcome::Cancelled, reason, None);
        }
    }

    /// Why an attempt cannot start any more, of a run that has this much time left.
    pub(super) fn hindrance(&self, key: RunKey, left: Option<Duration>) -> Option<(Outcome, &'static str)> {
        if !self.tasks.contains(key.task) {
            // What it would do went with its task.
            Some((Outcome::Cancelled, "its task was removed before it started"))
        } else if left.is_some_and(|left| left.is_zero()) {
            Some((Outcome::TimedOut, OVER))
        } else {
            None
        }
    }

    /// What is left of the time that a run may take with all its attempts, where that is bounded.
    pub(super) fn deadline_left(&self, now: Timestamp, key: RunKey) -> Option<Duration> {
        let deadline = self.tasks.get(key.task)?.policies.time.deadline_ms?;
        let began = self.runs.get(&key)?.started_at;
        let taken = began.map_or(Duration::ZERO, |began| now.since(began));
        Some(Duration::from_millis(deadline.get()).saturating_sub(taken))
    }
}
