//! The runner: what it tells, and what follows when another life of the daemon or of the runner begins.
//!
//! An inventory is the whole truth, of all runners together where there are several, and of those that were killed where they
//! have left what they knew. What it names and we do not know was started by an earlier life of the daemon that ended before it
//! could record it: it is adopted, with what the start said of it. What we know and it does not name was never started, if this
//! is the same life of the runner, or one to which that has left what it knew; if it is another, nobody knows.
//!
//! Nothing starts in a runner before it is durable that it is attached: else, after its death and that of the daemon at once,
//! the one that was recorded before would be taken for the whole truth. And where another is beside it, it is not taken for
//! the one that would know before all that the other was about to spawn is recorded.

use std::collections::BTreeSet;

use crate::effect::{Effect, Notice};
use crate::event::{Begun, Inventory, Live, Origin};
use crate::record::Record;
use crate::run::{AttemptEnd, AttemptKey, Exit, Outcome, Passing, RunKey, Trigger};
use crate::schedule::Passed;
use crate::time::Timestamp;

use super::Scheduler;
use super::firing::{HORIZON_MAX, INSTANT};
use super::pending::After;
use super::runs::{Act, Input, Process, Run, State, Told};

/// Recorded in place of the runner that is attached while no single one knows all that may have been started; none has this
/// number, which they draw at random.
const NOBODY: u64 = 0;

impl Scheduler {
    /// A runner is attached.
    pub(super) fn attach(&mut self, now: Timestamp, inventory: Inventory) {
        let Inventory {
            instance,
            also,
            begun,
            lost,
            live,
            ended,
        } = inventory;
        let lost: BTreeSet<AttemptKey> = lost
            .into_iter()
            .chain(begun.iter().map(|begun| begun.attempt))
            .chain(std::mem::take(&mut self.life.doubtful))
            .collect();
        // Of a task that was removed there is none which is not recorded.
        let begun: Vec<Origin> = begun.into_iter().filter_map(|begun| self.origin_of(begun)).collect();
        // All that may have been started was by the one that was told last, or by those that were beside it.
        let recorded = self.header.runner == Some(instance);
        let was_told_last = |runner: u64| runner == instance || also.contains(&runner);
        let same = [self.header.runner, self.life.runner]
            .into_iter()
            .flatten()
            .any(was_told_last);
        let first = self.life.runner.replace(instance).is_none();
        self.life.attached = true;
        if let Some(since) = self.life.alone_since.take() {
            self.life.alone = Some((since, now));
        }
        let is_alone = recorded || also.is_empty();
        let withholds = !recorded && self.header.runner.is_some();
        if withholds {
            // Should it end with this life, what it had started would be taken for what the recorded one never heard of.
            self.life.withheld += 1;
        }
        let (stale, ended): (Vec<_>, Vec<_>) = ended.into_iter().partition(|(of, end)| self.is_stale(of, end));
        self.after
            .extend(stale.into_iter().map(|(origin, _)| After::Forget(origin.attempt)));
        self.adopt_unrecorded(now, &live, &ended, &begun, same);
        let mut ours: BTreeSet<AttemptKey> = self.runs.iter().map(|(key, run)| run.attempt(*key)).collect();
        for origin in live
            .iter()
            .map(|live| &live.origin)
            .chain(ended.iter().map(|(origin, _)| origin))
        {
            ours.remove(&origin.attempt);
        }
        for (origin, end) in ended {
            self.ended(now, origin, end);
        }
        for live in live {
            if !is_alone && live.pid == 0 {
                self.life.unsettled.insert(live.origin.attempt);
            }
            self.listed(now, &live);
        }
        for attempt in ours {
            self.absent(now, attempt.run, same && !lost.contains(&attempt), first);
        }
        let far_back = std::mem::take(&mut self.life.far_back);
        if first && !same {
            // What lies behind a clock that was set back so far comes again.
            let until = if far_back { now } else { self.latest_shown(now) };
            self.give_up_unrecorded(now, until.min(self.header.horizon));
        }
        if far_back {
            self.draw_horizon_back(now, now);
        } else if first {
            self.affirm_horizon(now);
        }
        // Last: a life that knows of the new runner asks no more what the old one took with it.
        if !recorded {
            let instance = if self.life.unsettled.is_empty() {
                instance
            } else {
                NOBODY
            };
            self.fact(Record::RunnerAttached { instance });
        }
        if withholds {
            self.after.push(After::Attached);
        }
    }

    /// It is durable who is attached: what was withheld from it starts.
    pub(super) fn release_starts(&mut self, now: Timestamp) {
        self.life.withheld -= 1;
        let is_owed = |run: &Run| matches!(run.state, State::Starting(Told::Owed));
        let owed = self.runs.iter().filter(|(_, run)| is_owed(run));
        let owed: Vec<RunKey> = owed.map(|(key, _)| *key).collect();
        for key in owed {
            self.start(now, key);
        }
    }

    /// What a runner beside the attached one was about to spawn is spawned, or will not be. After the last of them that one
    /// alone knows all that may have been started and is not recorded.
    pub(super) fn settle_attempt(&mut self, attempt: AttemptKey) {
        if self.life.unsettled.remove(&attempt)
            && self.life.unsettled.is_empty()
            && let Some(instance) = self.life.runner
        {
            self.fact(Record::RunnerAttached { instance });
        }
    }

    /// The runner is gone.
    pub(super) fn lose_runner(&mut self, now: Timestamp) {
        // What one beside it was about to spawn is lost where no runner is met that has it.
        let unsettled = std::mem::take(&mut self.life.unsettled);
        self.life.doubtful.extend(unsettled);
        if self.life.attached {
            self.life.attached = false;
            self.life.alone_since = Some(now);
        }
    }

    /// A run has a process.
    pub(super) fn started(&mut self, now: Timestamp, key: RunKey, process: Process, input: Input) {
        // Of an earlier attempt nothing is news.
        let Some(run) = self.runs.get(&key).filter(|run| run.attempt <= process.attempt) else {
            return;
        };
        let step = run.state.step(input);
        if step.note_start {
            self.note_start(key, process, false);
        }
        self.act(now, key, step.act, None);
    }

    /// An attempt ended, or could not start.
    pub(super) fn ended(&mut self, now: Timestamp, origin: Origin, end: AttemptEnd) {
        let key = origin.attempt.run;
        if self.is_unrecorded(&origin) {
            self.adopt(now, &origin, true);
        }
        let Some(run) = self.runs.get(&key).filter(|run| run.attempt <= origin.attempt.attempt) else {
            // Its end is recorded, if not durable yet.
            self.after.push(After::Forget(origin.attempt));
            return;
        };
        let step = run.state.step(Input::Ended);
        if run.state.process().is_none() && end.pid != 0 {
            let process = Process {
                attempt: origin.attempt.attempt,
                pid: end.pid,
                started_at: end.started_at,
            };
            self.note_start(key, process, false);
        }
        self.act(now, key, step.act, Some(end));
    }

    /// A runner that was just attached has this run.
    fn listed(&mut self, now: Timestamp, live: &Live) {
        let AttemptKey { run: key, attempt } = live.origin.attempt;
        let Some(run) = self.runs.get_mut(&key).filter(|run| run.attempt <= attempt) else {
            return self.stop_lost(live);
        };
        run.state.set_told(Told::Yes);
        let step = run.state.step(Input::Listed {
            spawned: live.pid != 0,
            stopping: live.stopping,
        });
        if step.note_start {
            let process = Process {
                attempt,
                pid: live.pid,
                started_at: live.started_at,
            };
            self.note_start(key, process, true);
        }
        self.act(now, key, step.act, None);
    }

    /// Whether a runner tells of a look at a gate, as it was kept by one that ended, after a later look has found it open: that
    /// is of the same attempt, and another runner may have started it.
    fn is_stale(&self, origin: &Origin, end: &AttemptEnd) -> bool {
        let attempt = origin.attempt;
        let run = self.runs.get(&attempt.run);
        let process = run.and_then(|run| run.state.process());
        matches!(end.exit, Exit::GateClosed { .. }) && process.is_some_and(|of| of.attempt == attempt.attempt)
    }

    /// A runner lives that was lost, with a run that was recorded as ended without it. Nobody waits for it any more, and it
    /// must not run beside the next.
    fn stop_lost(&mut self, live: &Live) {
        if live.stopping {
            return;
        }
        let attempt = live.origin.attempt;
        self.outbox.push_back(Effect::Notice(Notice::RunStopping {
            run: attempt.run,
            name: live.origin.name.clone(),
            trace_id: live.origin.trace_id,
            reason: "it was recorded as ended while its runner was away".to_owned(),
        }));
        self.outbox.push_back(Effect::Stop {
            attempt,
            grace: self.grace(attempt.run),
        });
    }

    /// A runner that was just attached does not have this run. `first` is whether it is the first of this life.
    fn absent(&mut self, now: Timestamp, key: RunKey, same: bool, first: bool) {
        let input = Input::Absent { same };
        let Some(run) = self.runs.get(&key) else { return };
        let starts = first && matches!(run.state.step(input).act, Act::Start);
        // What an earlier life was to start is as late now as a fire time that nobody dealt with.
        if starts
            && run.attempt == 1
            // One that was turned away by its gate began in time.
            && run.gate.is_none()
            && let Some(fire_time) = run.fire_time
            && run.trigger != Trigger::Backfill
            && let Some(task) = self.tasks.get(key.task)
            && self.trigger(task, now.since(fire_time)).is_none()
        {
            let reason = format!("it had not started, and {}", self.why_missed(fire_time));
            return self.finish(now, key, Outcome::Missed, Some(reason), None);
        }
        self.drive(now, key, input);
    }

    fn note_start(&mut self, key: RunKey, process: Process, adopted: bool) {
        let Some(run) = self.runs.get(&key) else { return };
        let origin = run.origin(key);
        self.fact(Record::AttemptStarted {
            attempt: AttemptKey {
                run: key,
                attempt: process.attempt,
            },
            pid: process.pid,
            at: process.started_at,
        });
        self.outbox.push_back(Effect::Notice(Notice::RunStarted {
            origin,
            pid: process.pid,
            at: process.started_at,
            adopted,
        }));
    }

    /// Adopts what no record tells of.
    fn adopt_unrecorded(
        &mut self,
        now: Timestamp,
        live: &[Live],
        ended: &[(Origin, AttemptEnd)],
        begun: &[Origin],
        same: bool,
    ) {
        let live = live.iter().map(|live| &live.origin);
        let ended = ended.iter().map(|(origin, _)| origin);
        let mut origins: Vec<_> = live.chain(ended).chain(begun).collect();
        // In the order in which they were created, so that each finds the mark where the one before it left it.
        origins.sort_by_key(|origin| origin.attempt);
        for origin in origins {
            if self.is_unrecorded(origin) {
                self.adopt(now, origin, same);
            }
        }
    }

    fn origin_of(&self, begun: Begun) -> Option<Origin> {
        let name = self.tasks.get(begun.attempt.run.task)?.name.clone();
        let Begun {
            attempt,
            trigger,
            fire_time,
            created_at,
            trace_id,
        } = begun;
        Some(Origin {
            attempt,
            name,
            trigger,
            fire_time,
            created_at,
            trace_id,
        })
    }

    /// Whether no record tells of a run. All of a removed task are recorded, since a task is not removed while it may have
    /// an unrecorded run.
    fn is_unrecorded(&self, origin: &Origin) -> bool {
        let run = origin.attempt.run;
        self.tasks.get(run.task).is_some_and(|task| run.n > task.last_run)
    }

    /// Records a run that an earlier life started and did not record.
    fn adopt(&mut self, now: Timestamp, origin: &Origin, same: bool) {
        let run = origin.attempt.run;
        let Some(task) = self.tasks.get(run.task) else { return };
        if let Some(fire_time) = origin.fire_time
            && task.due().is_some()
            && origin.trigger != Trigger::Backfill
        {
            // The earlier life passed over them, for a reason that was lost with it.
            let (passing, reason) = if same {
                (Passing::Missed, "taskd ended before it was recorded")
            } else {
                (Passing::Unknown, LOST_WITH_BOTH)
            };
            self.pass_all(run.task, fire_time.minus(INSTANT), passing, reason);
        }
        let glued = self.facts.len();
        self.fact(Record::RunCreated {
            run,
            trigger: origin.trigger,
            fire_time: origin.fire_time,
            at: origin.created_at,
            trace_id: origin.trace_id,
            waiting: false,
            cause: None,
            overrides: None,
        });
        if origin.fire_time.is_some() && origin.trigger != Trigger::Backfill {
            self.count_firing(now, run.task);
        }
        self.glue(glued);
        self.clamp_marks(now, &[run.task]);
        self.outbox.push_back(Effect::Notice(Notice::RunCreated {
            origin: origin.clone(),
            waiting: false,
        }));
    }

    /// Fire times inside the horizon that have no run may have been started by an earlier life, in a runner that is gone, as far
    /// as its clock can have come. That holds for those still to come as well, where the clock was set back since.
    fn give_up_unrecorded(&mut self, now: Timestamp, until: Timestamp) {
        while let Some((at, id)) = self.due.first().copied().filter(|(at, _)| *at <= until) {
            // It was added by this life.
            if self.imports.set_aside(id) {
                self.unqueue(id);
                continue;
            }
            let Some(task) = self.tasks.get(id) else { return };
            let last = task.last_run;
            // Of those that had passed before the last of the horizon was said, few have made up for the others.
            let recent = task.schedule.passed(until.minus(HORIZON_MAX), until);
            let most = recent.map_or(0, |recent| recent.count) + self.limits.backlog as u64 + 1;
            let glued = self.facts.len();
            let lost = if at <= now {
                self.pass_all(id, until.min(now), Passing::Unknown, LOST_WITH_BOTH)
            } else {
                // What becomes of those to come may yet be decided otherwise.
                let passed = task.schedule.passed(task.mark, until);
                let passed = passed.unwrap_or(Passed::single(at));
                self.pass(id, passed, Passing::Unknown, LOST_WITH_BOTH.to_owned());
                passed.count
            };
            if lost > 0 {
                let last = last.saturating_add(lost.min(most));
                self.fact(Record::NumbersLost { task: id, last });
            }
            // A crash between them would leave the numbers to be given again.
            self.glue(glued);
        }
    }
}

/// Why a fire time inside the horizon is unknown.
const LOST_WITH_BOTH: &str = "taskd and its runner ended before it was recorded";
