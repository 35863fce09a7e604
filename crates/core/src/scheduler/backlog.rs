//! Fire times that are made up for one by one: those that were missed, where the policy is to run all of them, and those of
//! the past that a user asks for.

use std::time::Duration;

use crate::command::{Accepted, Refusal, Reply};
use crate::policy::Misfire;
use crate::record::Record;
use crate::run::{Passing, RunKey, Trigger};
use crate::schedule::{Passed, Schedule};
use crate::task::TaskId;
use crate::time::Timestamp;

use super::Scheduler;
use super::fate::Stretch;
use super::firing::INSTANT;
use super::pending::Reserved;
use super::tasks::Task;

impl Scheduler {
    /// Deals with fire times that passed, of a task whose policy is to run all of them: in order, behind live firings, and no
    /// more than there is room for. The last that is not late is live.
    pub(super) fn fire_all(&mut self, now: Timestamp, id: TaskId, within: Option<Duration>, stretches: Vec<Stretch>) {
        let mut room = self.backlog_room(id);
        let oldest = within.map_or(Timestamp::MIN, |within| now.minus(within));
        let Some(task) = self.tasks.get(id) else { return };
        let owed = stretches.iter().rev().find(|stretch| stretch.suppressed.is_none());
        let live = owed
            .map(|stretch| stretch.passed.last)
            .filter(|last| now.since(*last) <= self.limits.late);
        // From the latest back: what there is no room for is what is oldest.
        let mut kept: Vec<_> = stretches
            .into_iter()
            .rev()
            .map(|stretch| {
                let mut taken = Vec::new();
                if stretch.suppressed.is_none() {
                    let live = live.filter(|live| *live == stretch.passed.last);
                    let last = live.map_or(stretch.passed.last, |live| live.minus(INSTANT));
                    taken = latest(&task.schedule, stretch.passed.first.max(oldest), last, room);
                    room -= taken.len();
                    taken.extend(live);
                }
                (stretch, taken)
            })
            .collect();
        kept.reverse();
        let mark = |this: &Self| this.tasks.get(id).map_or(Timestamp::MAX, |task| task.mark);
        for (Stretch { passed, suppressed }, taken) in kept {
            if let Some(reason) = suppressed {
                self.pass(id, passed, Passing::Skipped, reason);
                continue;
            }
            let until = taken.first().map_or(passed.last, |first| first.minus(INSTANT));
            let left = self
                .tasks
                .get(id)
                .and_then(|task| task.schedule.passed(mark(self), until));
            if let Some(left) = left {
                let reason = match left.last < oldest {
                    true => self.why_missed(left.last).to_owned(),
                    false => format!("the backlog of {} runs was full", self.limits.backlog),
                };
                self.pass(id, left, Passing::Missed, reason);
            }
            for fire_time in taken {
                if Some(fire_time) == live {
                    self.fire_live(now, id, fire_time);
                } else if let Some(reason) = self.tasks.get(id).and_then(|task| self.holds_back(now, task)) {
                    self.pass(id, Passed::single(fire_time), Passing::Skipped, reason);
                } else {
                    self.create(now, id, Trigger::CatchUp, fire_time, true);
                }
                if self.tasks.get(id).is_none_or(|task| !task.enabled) {
                    // It was the last that it may have, and what remained is settled.
                    return;
                }
            }
        }
    }

    /// Creates runs for all fire times of a span that is over.
    pub(super) fn backfill(
        &mut self,
        now: Timestamp,
        id: TaskId,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Accepted, Refusal> {
        let room = self.backlog_room(id);
        let task = self.decidable(id)?;
        let fire_times = past(task, now, from, until, room);
        if fire_times.len() > room {
            return Err(Refusal::BacklogFull { room });
        }
        let first = task.last_run + 1;
        let (mut records, mut runs) = (Vec::new(), Vec::new());
        for (n, fire_time) in (first..).zip(fire_times) {
            let run = RunKey { task: id, n };
            let trace_id = self.traces.draw();
            records.push(Record::RunCreated {
                run,
                trigger: Trigger::Backfill,
                fire_time: Some(fire_time),
                at: now,
                trace_id,
                waiting: true,
                cause: None,
                overrides: None,
            });
            runs.push((run, trace_id));
        }
        let reserved = Reserved {
            tasks: vec![id],
            ..Reserved::default()
        };
        Ok(self.accept(records, reserved, Reply::Runs(runs)))
    }

    /// The fire times of a span that would be run for the past, at most one more than there is room for.
    #[must_use]
    pub fn backfillable(&self, id: TaskId, now: Timestamp, from: Timestamp, until: Timestamp) -> Vec<Timestamp> {
        let task = self.tasks.get(id);
        task.map_or_else(Vec::new, |task| past(task, now, from, until, self.backlog_room(id)))
    }

    /// How late a fire time may be run, where all that were missed are; the inner `None` is for however late.
    pub(super) fn runs_all(&self, id: TaskId) -> Option<Option<Duration>> {
        let task = self.tasks.get(id)?;
        match task.policies.misfire {
            Misfire::All { within_ms } if !task.is_once() => {
                Some(within_ms.map(|within| Duration::from_millis(within.get())))
            }
            Misfire::All { .. } | Misfire::Once { .. } | Misfire::Skip => None,
        }
    }
}

/// The fire times of a span that are over, at most one more than `room`. What is due and not dealt with yet is not over, and
/// what a calendar keeps clear of was none.
fn past(task: &Task, now: Timestamp, from: Timestamp, until: Timestamp, room: usize) -> Vec<Timestamp> {
    let over = if task.due().is_some_and(|due| due <= now) {
        task.mark
    } else {
        now
    };
    let until = until.min(over);
    let (mut found, mut after) = (Vec::new(), from.minus(INSTANT));
    while found.len() <= room
        && let Some(at) = task.schedule.next_after(after).filter(|at| *at <= until)
    {
        let (suppressed, change) = task.schedule.suppressed(at);
        if suppressed.is_some() {
            after = change.minus(INSTANT);
        } else {
            found.push(at);
            after = at;
        }
    }
    found
}

/// The latest fire times from one instant to another, both included, at most `most`, in order.
fn latest(schedule: &Schedule, first: Timestamp, last: Timestamp, most: usize) -> Vec<Timestamp> {
    let most = most as u64;
    let counted = |after: Timestamp| schedule.passed(after, last).map_or(0, |passed| passed.count);
    let mut after = first.minus(INSTANT);
    if counted(after) > most {
        // The earliest instant after which there are no more than that, found by halves.
        let (mut too_early, mut fits) = (after.as_millis(), last.as_millis());
        while fits - too_early > 1 {
            let middle = too_early + (fits - too_early) / 2;
            if counted(Timestamp::from_millis(middle)) > most {
                too_early = middle;
            } else {
                fits = middle;
            }
        }
        after = Timestamp::from_millis(fits);
    }
    let next = |at: &Timestamp| schedule.next_after(*at).filter(|next| *next <= last);
    std::iter::successors(next(&after), next).collect()
}
