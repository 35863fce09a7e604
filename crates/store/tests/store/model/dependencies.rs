//! What tasks keep of the ends of others and are owed.

use taskd_core::dependency::{Cause, EndKind};
use taskd_core::requirement::LastEnd;
use taskd_core::run::{AttemptEnd, Outcome, RunKey, TraceId};
use taskd_core::snapshot::TaskImage;
use taskd_core::task::TaskId;
use taskd_core::time::Timestamp;

use super::{Model, Step};

impl Model {
    pub(super) fn latches_by_task(&self) -> Vec<(TaskId, RunKey, EndKind)> {
        let latches = self.latches.iter();
        let key = |task, n| RunKey { task, n };
        latches
            .map(|((task, of), (n, on))| (*task, key(*of, *n), *on))
            .collect()
    }

    pub(super) fn owed_by_task(&self) -> Vec<(TaskId, Cause, TraceId)> {
        let mut owed = self.owed.clone();
        owed.sort_by_key(|(task, ..)| *task);
        owed
    }

    /// A task with a new mark keeps no ends.
    pub(super) fn begin_anew(&mut self, id: TaskId, mark: Option<Timestamp>) {
        if mark.is_some() {
            self.latches.retain(|(task, _), _| *task != id);
        }
    }

    /// A run ends, and with it, if it did run, the last of its task.
    pub(super) fn finish(&mut self, run: RunKey, at: Timestamp, outcome: Outcome, end: Option<&AttemptEnd>) {
        if let Some(ended) = self.runs.remove(&run)
            && let Some(task) = self.tasks.get_mut(&run.task)
        {
            task.last_outcome = Some(outcome);
            let last_end = LastEnd::of(outcome, at, end, ended.started_at.is_some());
            task.last_end = last_end.or(task.last_end);
        }
    }

    pub(super) fn settle(&mut self, id: TaskId, end: RunKey) {
        self.owed.retain(|(task, cause, _)| (*task, cause.run) != (id, end));
    }

    /// A task, one that it comes after, and which ends of that it follows.
    pub(super) fn followed(&self, pick: usize) -> Option<(TaskId, TaskId, EndKind)> {
        let mut followed = Vec::new();
        for task in self.tasks.values() {
            for upstream in task
                .outline
                .when
                .after()
                .into_iter()
                .flat_map(|upstreams| &upstreams.of)
            {
                let is_meant = |of: &&TaskImage| of.owner == task.owner && of.outline.name == upstream.task;
                let found = self.tasks.values().find(is_meant);
                followed.extend(found.map(|of| (task.id, of.id, upstream.on)));
            }
        }
        (!followed.is_empty()).then(|| followed[pick % followed.len()])
    }

    /// A run whose end another may follow: one of few, so that they meet.
    pub(super) fn cause(&self, step: &Step) -> Option<Cause> {
        let task = self
            .tasks
            .keys()
            .nth(step.value as usize / 3 % self.tasks.len().max(1))?;
        let n = u64::from(step.value % 2);
        Some(Cause {
            run: RunKey { task: *task, n },
            name: self.names[task].clone(),
        })
    }
}
