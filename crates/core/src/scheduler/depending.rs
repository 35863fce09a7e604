//! Dependencies: what follows when a run ends on which others depend.
//!
//! An end is told to the tasks that come after its task, and to no others. Of each of those that a task comes after it keeps
//! the newest end that it waits for, a *latch*; an end of another kind takes that away. With all latches set, or with one where
//! any is enough, the task is *owed* a run and the latches are spent. All of that is recorded with the end. A run or a skip
//! settles what is owed, later where it cannot be at once, in another life as well.

use std::collections::{BTreeMap, VecDeque};

use crate::dependency::{Cause, EndKind};
use crate::record::Record;
use crate::requirement::has_run;
use crate::run::{AttemptEnd, Outcome, Passing, RunKey, TraceId, Trigger};
use crate::schedule::Passed;
use crate::task::{TaskId, TaskName};
use crate::time::Timestamp;

use super::Scheduler;
use super::admission::Admission;
use super::naming::Naming;
use super::runs::Run;
use super::tasks::Task;

/// Most runs that a task may be owed: what comes to be owed while none can be created.
const OWED_MAX: usize = 16;

/// A run that a task is owed.
#[derive(Clone)]
struct Owed {
    cause: Cause,
    trace_id: TraceId,
}

/// Who comes after whom, and what of that has ended. Tasks without either are not in it.
#[derive(Default)]
pub(super) struct Dependencies {
    /// The tasks that come after those of a name.
    pub(super) downstream: Naming,
    /// By task and the task that it comes after: the number of the run that ended, and which ends are followed.
    latches: BTreeMap<(TaskId, TaskId), (u64, EndKind)>,
    /// In the order in which they came to be owed; none is empty.
    owed: BTreeMap<TaskId, VecDeque<Owed>>,
}

impl Dependencies {
    pub(super) fn unlatch(&mut self, task: TaskId, upstream: TaskId) {
        self.latches.remove(&(task, upstream));
    }

    /// The ends that a task keeps.
    pub(super) fn latches_of(&self, task: TaskId) -> impl Iterator<Item = RunKey> + '_ {
        let theirs = (task, TaskId(0))..=(task, TaskId(u64::MAX));
        let run = |((_, upstream), (n, _)): (&(TaskId, TaskId), &(u64, EndKind))| RunKey { task: *upstream, n: *n };
        self.latches.range(theirs).map(run)
    }

    /// What a task has kept holds no more.
    pub(super) fn unlatch_all(&mut self, task: TaskId) {
        let theirs: Vec<RunKey> = self.latches_of(task).collect();
        for end in theirs {
            self.unlatch(task, end.task);
        }
    }

    /// A task is owed a run: one for each end, whatever was told of it before.
    pub(super) fn owe(&mut self, task: TaskId, cause: Cause, trace_id: TraceId) {
        self.settle(task, cause.run);
        self.owed.entry(task).or_default().push_back(Owed { cause, trace_id });
    }

    /// What a task is owed for an end is settled.
    pub(super) fn settle(&mut self, task: TaskId, end: RunKey) {
        if let Some(owed) = self.owed.get_mut(&task) {
            owed.retain(|owed| owed.cause.run != end);
            if owed.is_empty() {
                self.owed.remove(&task);
            }
        }
    }

    /// All latches, in the order of [`Rest::latches`](crate::snapshot::Rest::latches).
    pub(super) fn latches(&self) -> impl Iterator<Item = (TaskId, RunKey, EndKind)> + '_ {
        let latch = |((task, upstream), (n, on)): (&(TaskId, TaskId), &(u64, EndKind))| {
            let end = RunKey { task: *upstream, n: *n };
            (*task, end, *on)
        };
        self.latches.iter().map(latch)
    }

    /// All that is owed, in the order of [`Rest::owed`](crate::snapshot::Rest::owed).
    pub(super) fn owed(&self) -> impl Iterator<Item = (TaskId, Cause, TraceId)> + '_ {
        let each = |(task, owed): (&TaskId, &VecDeque<Owed>)| {
            let (task, owed) = (*task, owed.clone());
            owed.into_iter().map(move |owed| (task, owed.cause, owed.trace_id))
        };
        self.owed.iter().flat_map(each)
    }
}

impl Scheduler {
    /// A task is there, or has another schedule.
    pub(super) fn link(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.get(id) {
            self.dependencies.downstream.link(id, task.owner, followed(task));
            self.requirements.requiring.link(id, task.owner, required(task));
        }
    }

    /// Its schedule, or all of it, is about to go.
    pub(super) fn unlink(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.get(id) {
            self.dependencies.downstream.unlink(id, task.owner, followed(task));
            self.requirements.requiring.unlink(id, task.owner, required(task));
        }
    }

    /// A task keeps an end, if it still follows such ends: a decision may have changed that meanwhile.
    pub(super) fn latch(&mut self, task: TaskId, end: RunKey, on: EndKind) {
        let (Some(of), Some(ended)) = (self.tasks.get(task), self.tasks.get(end.task)) else {
            return;
        };
        let mut upstreams = of.after().into_iter().flat_map(|upstreams| &upstreams.of);
        if of.owner == ended.owner && upstreams.any(|upstream| upstream.task == ended.name && upstream.on == on) {
            self.dependencies.latches.insert((task, end.task), (end.n, on));
        }
    }

    /// The ends that tasks keep until one of these records, which do not hold for another schedule: where they came to be kept
    /// while the records were on their way, the order of all records is another.
    pub(super) fn latches_before(&self, records: &[Record]) -> Vec<Record> {
        let mut before = Vec::new();
        for record in records {
            if let Record::TaskChanged { id, mark: Some(_), .. } | Record::TaskSwitched { id, mark: Some(_), .. } =
                record
            {
                before.extend(self.dependencies.latches_of(*id).map(|end| Record::Unlatched {
                    task: *id,
                    upstream: end.task,
                }));
            }
        }
        before
    }

    /// A task is gone, and with it what others kept of its ends and what it kept of theirs.
    pub(super) fn forget_ends(&mut self, id: TaskId, task: &Task) {
        let downstream: Vec<TaskId> = self.dependencies.downstream.by(task.owner, &task.name).collect();
        for other in downstream {
            self.dependencies.unlatch(other, id);
        }
        self.dependencies.unlatch_all(id);
        self.dependencies.owed.remove(&id);
    }

    /// Whether others follow the end of a run: not where it was called off before it ran or its gate was closed, nor where all
    /// of them are cancelled.
    pub(super) fn is_followed(run: &Run, outcome: Outcome, end: Option<&AttemptEnd>) -> bool {
        has_run(outcome, end, run.started_at.is_some()) && !run.muted
    }

    /// Tells the tasks that come after that of a run how it ended.
    pub(super) fn tell_downstream(&mut self, at: Timestamp, run: RunKey, outcome: Outcome, trace_id: TraceId) {
        let Some(task) = self.tasks.get(run.task) else { return };
        let cause = Cause {
            run,
            name: task.name.clone(),
        };
        let downstream: Vec<TaskId> = self.dependencies.downstream.by(task.owner, &cause.name).collect();
        for id in downstream {
            // One that is staged sees what ends when it is there.
            if !self.imports.holds(id) {
                self.tell_end(at, id, &cause, outcome, trace_id);
            }
        }
    }

    fn tell_end(&mut self, at: Timestamp, id: TaskId, cause: &Cause, outcome: Outcome, trace_id: TraceId) {
        let Some(upstreams) = self.tasks.get(id).and_then(Task::after) else {
            return;
        };
        let Some(upstream) = upstreams.of.iter().find(|upstream| upstream.task == cause.name) else {
            return;
        };
        let (all, any, on) = (upstreams.of.len(), upstreams.any, upstream.on);
        let of_others = self
            .dependencies
            .latches_of(id)
            .filter(|end| end.task != cause.run.task);
        let of_others = of_others.count();
        let is_kept = self.dependencies.latches.contains_key(&(id, cause.run.task));
        if !on.meets(outcome) {
            if is_kept {
                let upstream = cause.run.task;
                self.fact(Record::Unlatched { task: id, upstream });
            }
        } else if !any && of_others + 1 < all {
            let end = cause.run;
            self.fact(Record::Latched { task: id, end, on });
        } else if self
            .dependencies
            .owed
            .get(&id)
            .is_some_and(|owed| owed.len() >= OWED_MAX)
        {
            let reason = format!("after {cause}: {OWED_MAX} runs of it are owed already");
            self.skip_dependent(at, id, cause.run, reason);
        } else {
            self.fact(Record::Owed {
                task: id,
                cause: cause.clone(),
                trace_id,
            });
        }
    }

    /// The ends for which a task is owed runs under a trace id.
    pub(super) fn owes_to(&self, task: TaskId, trace_id: TraceId) -> impl Iterator<Item = &Cause> {
        let owed = self.dependencies.owed.get(&task).into_iter().flatten();
        owed.filter(move |owed| owed.trace_id == trace_id)
            .map(|owed| &owed.cause)
    }

    /// The end of a run, if a task is owed one for it.
    pub(super) fn owed_after(&self, task: TaskId, run: RunKey) -> Option<Cause> {
        let mut owed = self.dependencies.owed.get(&task).into_iter().flatten();
        owed.find(|owed| owed.cause.run == run).map(|owed| owed.cause.clone())
    }

    /// Whether a task is owed a run.
    pub(super) fn owes_any(&self) -> bool {
        !self.dependencies.owed.is_empty()
    }

    /// Gives tasks the runs that they are owed, or records why they have none. They start once that is durable.
    pub(super) fn fire_dependent(&mut self, now: Timestamp) {
        if !self.may_fire() {
            return;
        }
        let owing: Vec<TaskId> = self.dependencies.owed.keys().copied().collect();
        for id in owing {
            // What is being decided about a task may be that it shall not start.
            while self.tasks.get(id).is_some_and(|task| !task.reserved)
                && let Some(owed) = self.dependencies.owed.get(&id).and_then(VecDeque::front).cloned()
            {
                self.settle_owed(now, id, owed);
            }
        }
    }

    fn settle_owed(&mut self, now: Timestamp, id: TaskId, owed: Owed) {
        let Owed { cause, trace_id } = owed;
        let Some(task) = self.tasks.get(id) else { return };
        let run = RunKey {
            task: id,
            n: task.last_run + 1,
        };
        let replaced = match self.unclocked(now, id, task, Trigger::Dependency) {
            Ok(replaced) => replaced,
            Err(why) => return self.skip_dependent(now, id, cause.run, format!("after {cause}: {why}")),
        };
        // A run that was stopped for another that is not recorded would have been for nothing.
        let glued = self.facts.len();
        self.replace(now, id, &replaced);
        self.fact(Record::RunCreated {
            run,
            trigger: Trigger::Dependency,
            fire_time: None,
            at: now,
            trace_id,
            waiting: true,
            cause: Some(cause),
            overrides: None,
        });
        self.notice_created(run, true);
        self.count_firing(now, id);
        self.glue(glued);
    }

    /// Which runs a run of a task that no clock triggers takes the place of, or why it is not to be.
    pub(super) fn unclocked(
        &self,
        now: Timestamp,
        id: TaskId,
        task: &Task,
        trigger: Trigger,
    ) -> Result<Vec<RunKey>, String> {
        if !task.enabled {
            return Err("it is disabled".to_owned());
        }
        if let Some(problem) = self.problems.get(&id) {
            return Err(problem.clone());
        }
        if let Some(why) = self.suppression(id, task, now).or_else(|| self.holds_back(now, task)) {
            return Err(why);
        }
        match self.admission(id, trigger) {
            Admission::Skip { reason, .. } => Err(reason),
            Admission::Go | Admission::Wait { .. } => Ok(Vec::new()),
            Admission::Replace(replaced) => Ok(replaced),
        }
    }

    /// The records of what a task is owed that goes before it could be settled.
    pub(super) fn unsettled(&self, now: Timestamp, id: TaskId) -> Vec<Record> {
        let owed = self.dependencies.owed.get(&id).into_iter().flatten();
        let skipped = |Owed { cause, .. }: &Owed| Record::DependencySkipped {
            task: id,
            at: now,
            end: cause.run,
            reason: format!("after {cause}: the task was removed before it could start"),
        };
        owed.map(skipped).collect()
    }

    pub(super) fn skip_dependent(&mut self, at: Timestamp, task: TaskId, end: RunKey, reason: String) {
        self.notice_span(task, Passed::single(at), Passing::Skipped, reason.clone());
        self.fact(Record::DependencySkipped { task, at, end, reason });
    }
}

/// The names of those that a task comes after.
fn followed(task: &Task) -> impl Iterator<Item = &TaskName> {
    let of = task.after().into_iter().flat_map(|upstreams| &upstreams.of);
    of.map(|upstream| &upstream.task)
}

/// The names of those that it requires.
fn required(task: &Task) -> impl Iterator<Item = &TaskName> {
    task.requires().iter().map(|requirement| &requirement.task)
}
