//! Fire times: what starts, what is passed over and why, and how far ahead the store must know.

use std::ops::Bound;
use std::time::Duration;

use crate::effect::{Effect, Notice};
use crate::policy::Misfire;
use crate::record::Record;
use crate::run::{Passing, RunKey, Trigger};
use crate::schedule::Passed;
use crate::task::TaskId;
use crate::time::{Boot, Timestamp};

use super::Scheduler;
use super::admission::Admission;
use super::fate::Stretch;
use super::pending::After;
use super::runs::Input;
use super::tasks::Task;

/// Most tasks dealt with in one call. After a night of sleep all of a million are due: the others come with the next
/// call, which is wanted at once.
const FIRED_AT_ONCE: usize = 500;

/// The furthest that a slow store makes the horizon go ahead.
pub(super) const HORIZON_MAX: Duration = Duration::from_secs(10 * 60);

/// How far two readings of when the machine was booted may lie apart with no step of the clock between them.
const BOOT_EXACT_TO: Duration = Duration::from_millis(10);

/// Most tasks named in one [`Effect::Prepare`].
const PREPARE_MAX: usize = 4096;

/// Most tasks that fall due in one rest.
const RESTED_AT_ONCE: usize = 64;

/// The unit in which instants are told apart.
pub(super) const INSTANT: Duration = Duration::from_millis(1);

impl Scheduler {
    /// Deals with tasks that are due, as far as the durable horizon allows.
    pub(super) fn fire_due(&mut self, now: Timestamp) {
        if !self.may_fire() {
            return;
        }
        let is_due = self.due.first().is_some_and(|(at, _)| *at <= now);
        // After a sleep or a stop more than one fire time may have passed, and the latest is the one to start.
        self.life.behind = is_due && self.durable_horizon < now;
        if self.life.behind {
            return;
        }
        for _ in 0..FIRED_AT_ONCE {
            let Some((at, id)) = self.due.first().copied().filter(|(at, _)| *at <= now) else {
                return;
            };
            if self.imports.set_aside(id) {
                self.unqueue(id);
            } else {
                self.fire(now, id, at);
            }
        }
    }

    /// Until when what falls due may be left, to be dealt with together: `until` at most, and no longer than till a task is due
    /// that would have another fire time by then, of which only the later one would start.
    #[must_use]
    pub fn rest_until(&self, until: Timestamp) -> Timestamp {
        let falls_due = self.due.iter().take_while(|(at, _)| *at < until);
        for (before, (at, id)) in falls_due.enumerate() {
            let next = self.tasks.get(*id).and_then(|task| task.schedule.next_after(*at));
            if before >= RESTED_AT_ONCE || next.is_some_and(|next| next <= until) {
                return *at;
            }
        }
        until
    }

    /// Whether nothing is on its way to the store that says what becomes of all tasks.
    pub(super) fn may_fire(&self) -> bool {
        self.life.resets == 0 && self.reserved_all == 0
    }

    /// Deals with the fire times of one task up to `now`: at most the latest is started, the others are passed over.
    fn fire(&mut self, now: Timestamp, id: TaskId, at: Timestamp) {
        let Some(task) = self.tasks.get(id) else { return };
        let mut stretches: Vec<_> = self.stretches(id, task, task.mark, now).collect();
        if stretches.is_empty() {
            // It is in the queue for a time that its schedule does not have: it goes, whatever that is.
            stretches.push(Stretch::single(at));
        }
        if let Some(within) = self.runs_all(id) {
            return self.fire_all(now, id, within, stretches);
        }
        let latest = stretches.iter().rposition(|stretch| stretch.suppressed.is_none());
        for (index, Stretch { passed, suppressed }) in stretches.into_iter().enumerate() {
            match suppressed {
                Some(reason) => self.pass(id, passed, Passing::Skipped, reason),
                None if Some(index) == latest => {
                    self.fire_latest(now, id, passed);
                    if self.tasks.get(id).is_none_or(|task| !task.enabled) {
                        // It was the last that it may have, and what remained is settled.
                        return;
                    }
                }
                None => {
                    let reason = self.why_missed(passed.last).to_owned();
                    self.pass(id, passed, Passing::Missed, reason);
                }
            }
        }
    }

    /// Deals with fire times that are owed, the last of them being the latest there is.
    fn fire_latest(&mut self, now: Timestamp, id: TaskId, passed: Passed) {
        let Some(task) = self.tasks.get(id) else { return };
        let latest = passed.last;
        let Some(trigger) = self.trigger(task, now.since(latest)) else {
            let reason = self.why_missed(latest).to_owned();
            return self.pass(id, passed, Passing::Missed, reason);
        };
        if passed.first < latest
            && let Some(earlier) = task.schedule.passed(task.mark, latest.minus(INSTANT))
        {
            let reason = self.why_missed(earlier.last).to_owned();
            self.pass(id, earlier, Passing::Missed, reason);
        }
        self.fire_one(now, id, trigger, latest);
    }

    /// Deals with a fire time that is not late.
    pub(super) fn fire_live(&mut self, now: Timestamp, id: TaskId, fire_time: Timestamp) {
        self.fire_one(now, id, Trigger::Schedule, fire_time);
    }

    fn fire_one(&mut self, now: Timestamp, id: TaskId, trigger: Trigger, fire_time: Timestamp) {
        if let Some(reason) = self.tasks.get(id).and_then(|task| self.holds_back(now, task)) {
            return self.pass(id, Passed::single(fire_time), Passing::Skipped, reason);
        }
        match self.admission(id, trigger) {
            Admission::Go => self.create(now, id, trigger, fire_time, !self.has_place(id, 0)),
            // What makes up for the past does not cost a live firing: that goes next.
            Admission::Wait { .. } => self.create(now, id, trigger, fire_time, true),
            Admission::Replace(runs) => {
                // Without the one, nobody would know what the others were stopped for.
                let glued = self.facts.len();
                self.replace(now, id, &runs);
                self.create(now, id, trigger, fire_time, true);
                self.glue(glued);
            }
            Admission::Skip { reason, .. } => self.pass(id, Passed::single(fire_time), Passing::Skipped, reason),
        }
    }

    /// Why a fire time that is dealt with so late still starts; `None` when it does not.
    pub(super) fn trigger(&self, task: &Task, lateness: Duration) -> Option<Trigger> {
        if lateness <= self.limits.late {
            return Some(Trigger::Schedule);
        }
        let in_time = match task.policies.misfire {
            Misfire::Skip => false,
            // An instant is not one of many: without it the task would never run.
            Misfire::Once { .. } | Misfire::All { .. } if task.is_once() => true,
            Misfire::Once { within_ms } => lateness <= Duration::from_millis(within_ms.get()),
            Misfire::All { within_ms } => {
                within_ms.is_none_or(|within| lateness <= Duration::from_millis(within.get()))
            }
        };
        in_time.then_some(Trigger::CatchUp)
    }

    /// Creates the run of a firing, which waits or starts. It starts ahead of its record, since the horizon says that it may
    /// have.
    pub(super) fn create(&mut self, now: Timestamp, id: TaskId, trigger: Trigger, fire_time: Timestamp, waiting: bool) {
        let Some(task) = self.tasks.get(id) else { return };
        let run = RunKey {
            task: id,
            n: task.last_run + 1,
        };
        let trace_id = self.traces.draw();
        let glued = self.facts.len();
        self.fact(Record::RunCreated {
            run,
            trigger,
            fire_time: Some(fire_time),
            at: now,
            trace_id,
            waiting,
            cause: None,
            overrides: None,
        });
        self.notice_created(run, waiting);
        self.count_firing(now, id);
        self.glue(glued);
        if !waiting {
            self.drive(now, run, Input::Cleared);
        }
    }

    pub(super) fn notice_created(&mut self, run: RunKey, waiting: bool) {
        if let Some(created) = self.runs.get(&run) {
            let origin = created.origin(run);
            self.outbox
                .push_back(Effect::Notice(Notice::RunCreated { origin, waiting }));
        }
    }

    /// Counts a run by schedule, where that is bounded. The last that may be disables the task.
    pub(super) fn count_firing(&mut self, now: Timestamp, id: TaskId) {
        let Some(limit) = self.tasks.get(id).and_then(Task::count) else {
            return;
        };
        let count = self.fired.get(&id).copied().unwrap_or(0) + 1;
        self.fact(Record::Fired { task: id, count });
        if count >= limit {
            let Some(task) = self.tasks.get(id) else { return };
            for debt in self.debts(now, id, task, "disabled") {
                self.notice_passed(&debt);
                self.fact(debt);
            }
            self.fact(Record::TaskSwitched {
                id,
                at: now,
                enabled: false,
                mark: None,
                by: format!("its count of {limit}"),
            });
        }
    }

    /// Records fire times that have no run.
    pub(super) fn pass(&mut self, task: TaskId, passed: Passed, passing: Passing, reason: String) {
        let record = Record::Passed {
            task,
            first: passed.first,
            last: passed.last,
            count: passed.count,
            passing,
            reason,
        };
        self.notice_passed(&record);
        self.fact(record);
    }

    /// Records all fire times of a task up to `until`: what was to start is `passing`, for this reason. Tells how many that were.
    pub(super) fn pass_all(&mut self, id: TaskId, until: Timestamp, passing: Passing, reason: &str) -> u64 {
        let Some(task) = self.tasks.get(id) else { return 0 };
        let stretches: Vec<_> = self.stretches(id, task, task.mark, until).collect();
        let mut count = 0;
        for Stretch { passed, suppressed } in stretches {
            match suppressed {
                Some(why) => self.pass(id, passed, Passing::Skipped, why),
                None => {
                    count += passed.count;
                    self.pass(id, passed, passing, reason.to_owned());
                }
            }
        }
        count
    }

    /// Why a fire time was missed, as far as this life can tell.
    pub(super) fn why_missed(&self, at: Timestamp) -> &'static str {
        let during = |span: Option<(Timestamp, Timestamp)>| span.is_some_and(|(from, to)| from <= at && at <= to);
        if self.life.since.is_some_and(|since| at < since) {
            "taskd was not running"
        } else if self.life.alone_since.is_some_and(|since| at >= since) || during(self.life.alone) {
            "the runner was away"
        } else if during(self.life.stall) {
            "the store took no changes"
        } else {
            "the machine was asleep or busy"
        }
    }

    /// The earliest fire time that may not start yet, unless an extension of the horizon is on its way.
    pub(super) fn first_beyond_horizon(&self) -> Option<Timestamp> {
        if self.header.horizon > self.durable_horizon {
            return None;
        }
        let beyond = Bound::Excluded((self.durable_horizon, TaskId(u64::MAX)));
        self.due.range((beyond, Bound::Unbounded)).next().map(|(at, _)| *at)
    }

    /// Puts the horizon ahead when something beyond it is due soon. With nothing due soon nothing is written.
    pub(super) fn extend_horizon(&mut self, now: Timestamp) {
        if self.header.horizon > self.durable_horizon {
            return;
        }
        let soon = now.plus(self.limits.horizon_lead);
        let beyond = self.first_beyond_horizon().filter(|at| *at <= soon);
        let Some(at) = self.life.behind.then_some(now).or(beyond) else {
            return;
        };
        // What is durable only when the clock has passed it would never let anything start.
        let ahead = self.limits.horizon_ahead.max((self.life.slowness * 2).min(HORIZON_MAX));
        let until = now.max(at).plus(ahead);
        let coming = ..=(until, TaskId(u64::MAX));
        let tasks = self.due.range(coming).map(|(_, id)| *id).take(PREPARE_MAX).collect();
        self.promise(now, until);
        self.outbox.push_back(Effect::Prepare(tasks));
    }

    /// Sets marks back that are so far ahead of the clock that their tasks would not fire for hours, and the horizon, which
    /// says up to when they may have.
    pub(super) fn clamp_all_marks(&mut self, now: Timestamp) {
        let bound = now.plus(self.limits.clock_back);
        let ahead: Vec<_> = self
            .tasks
            .iter()
            .filter(|(_, task)| is_ahead(task, bound))
            .map(|(id, _)| id)
            .collect();
        // It is that far ahead of the latest time the clock has shown.
        let lead = self.limits.horizon_lead + self.limits.horizon_ahead;
        let is_far = !ahead.is_empty() || self.header.horizon > bound.plus(lead);
        if is_far && self.header.horizon > now {
            if self.may_have_started() {
                self.life.far_back = true;
            } else {
                self.draw_horizon_back(now, now);
            }
        }
        self.clamp_marks(now, &ahead);
    }

    /// Takes back what the horizon promises of times after `until`, at which nothing was started.
    pub(super) fn draw_horizon_back(&mut self, now: Timestamp, until: Timestamp) {
        self.durable_horizon = self.durable_horizon.min(until);
        self.promise(now, until);
    }

    /// Has it written anew in which boot the horizon was said, where the clock was set ahead since, or may have been: what starts
    /// within it from now on starts by another clock.
    pub(super) fn affirm_horizon(&mut self, now: Timestamp) {
        let is_as_it_was = |said: Boot, boot: Boot| said.id == boot.id && boot.at <= said.at.plus(BOOT_EXACT_TO);
        // One that says nothing of the clock is believed whatever that shows.
        let said = self.header.horizon_boot;
        let stands = said.is_none_or(|said| self.life.boot.is_some_and(|boot| is_as_it_was(said, boot)));
        if !stands {
            self.durable_horizon = Timestamp::MIN;
            self.promise(now, self.header.horizon);
        }
    }

    fn promise(&mut self, now: Timestamp, until: Timestamp) {
        let boot = self.life.boot;
        self.fact(Record::Horizon { until, boot });
        self.after.push(After::Horizon {
            until,
            boot,
            asked_at: now,
        });
    }

    /// The latest time that the clock can have shown to the life that said the horizon: where it was not set back since, that is
    /// now.
    pub(super) fn latest_shown(&self, now: Timestamp) -> Timestamp {
        let both = self.header.horizon_boot.zip(self.life.boot);
        both.filter(|(said, boot)| said.id == boot.id)
            .map_or(Timestamp::MAX, |(said, boot)| {
                now.plus(said.at.since(boot.at)).plus(2 * BOOT_EXACT_TO)
            })
    }

    /// Sets back the marks of these tasks that are too far ahead. One that is reserved comes when its decision is settled, since that may set its mark. A
    /// firing after a mark that was set back waits until that is durable: the next life takes what may have started from
    /// the mark and the horizon.
    pub(super) fn clamp_marks(&mut self, now: Timestamp, ids: &[TaskId]) {
        let bound = now.plus(self.limits.clock_back);
        let mut reset = 0;
        for id in ids {
            if self
                .tasks
                .get(*id)
                .is_some_and(|task| is_ahead(task, bound) && !task.reserved)
            {
                self.fact(Record::MarkReset { task: *id, mark: now });
                reset += 1;
            }
        }
        if reset > 0 {
            self.life.resets += 1;
            self.after.push(After::Reset);
            self.outbox.push_back(Effect::Notice(Notice::MarksReset {
                tasks: reset,
                mark: now,
            }));
        }
    }

    /// Reads every schedule anew, since the tz database has changed.
    pub(super) fn read_all_anew(&mut self, now: Timestamp) {
        self.schedules.reset();
        let zoned: Vec<_> = self
            .tasks
            .iter()
            .filter(|(_, task)| task.written.is_some())
            .map(|(id, task)| (id, task.when(), self.problems.get(&id).cloned()))
            .collect();
        for (id, when, problem) in zoned {
            self.read_anew(id, &when);
            let Some(task) = self.tasks.get(id) else { continue };
            match (problem, task.place.is_held()) {
                (None, true) => self.notice_held(id),
                // Before the first runner of a life is asked, an earlier one may have started them.
                (Some(problem), false) if task.due().is_some() && !task.reserved && !self.may_have_started() => {
                    let until = now.minus(INSTANT);
                    self.pass_all(id, until, Passing::Missed, &format!("it was held: {problem}"));
                }
                (Some(_), true | false) | (None, false) => {}
            }
        }
    }
}

/// Whether a mark is so far ahead that it is set back. An instant that was dealt with comes once, whatever the clock says.
fn is_ahead(task: &Task, bound: Timestamp) -> bool {
    let is_over = task.is_once() && task.next == Timestamp::MAX;
    task.mark > bound && !is_over
}
