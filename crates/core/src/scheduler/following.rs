//! What follows from a run: the runs of tasks that come after its own, under its trace id. It is cancelled as a whole.

use std::collections::BTreeSet;

use crate::command::{Accepted, Refusal, Reply};
use crate::record::Record;
use crate::run::{RunKey, TraceId};
use crate::task::TaskId;
use crate::time::Timestamp;

use super::Scheduler;
use super::commands::stop;
use super::evolve::runs_of;
use super::pending::Reserved;
use super::runs::{Run, State};

impl Scheduler {
    /// A run and what follows from it, as far as it is in progress.
    #[must_use]
    pub fn following(&self, run: RunKey, trace_id: TraceId) -> Vec<RunKey> {
        let own = self.runs.contains_key(&run).then_some(run);
        let mut found = Vec::from_iter(own);
        let downstream = self.all_downstream(run.task);
        for task in &downstream {
            let theirs = self.runs.range(runs_of(*task));
            let follows = theirs.filter(|(key, of)| of.trace_id == trace_id && **key != run);
            found.extend(follows.map(|(key, _)| *key));
        }
        found.extend(self.following_alone(run, trace_id, downstream));
        found
    }

    /// Those that follow and have outlived their tasks: nothing tells any more after whom those came, but what triggered them.
    fn following_alone(&self, run: RunKey, trace_id: TraceId, downstream: BTreeSet<TaskId>) -> Vec<RunKey> {
        let alone = self.alone.iter().filter_map(|key| self.runs.get_key_value(key));
        let alone: Vec<_> = alone
            .filter(|(key, of)| of.trace_id == trace_id && **key != run)
            .collect();
        let (mut tasks, mut found) = (downstream, BTreeSet::new());
        tasks.insert(run.task);
        loop {
            let causes = |of: &Run| of.cause.as_ref().is_some_and(|cause| tasks.contains(&cause.run.task));
            let next: Vec<RunKey> = alone
                .iter()
                .filter(|(key, of)| !found.contains(*key) && causes(of))
                .map(|(key, _)| **key)
                .collect();
            if next.is_empty() {
                return found.into_iter().collect();
            }
            tasks.extend(next.iter().map(|key| key.task));
            found.extend(next);
        }
    }

    /// The tasks that come after a task, and those that come after them, and so on.
    fn all_downstream(&self, id: TaskId) -> BTreeSet<TaskId> {
        let (mut found, mut rest) = (BTreeSet::new(), vec![id]);
        while let Some(id) = rest.pop() {
            rest.extend(self.downstream(id).filter(|other| found.insert(*other)));
        }
        found
    }

    /// Stops runs and what follows from them. Nothing follows from the ends of these any more: the tasks that would follow are
    /// reserved until that is durable.
    pub(super) fn cancel_following(
        &mut self,
        now: Timestamp,
        from: &[(RunKey, TraceId)],
        reason: &str,
    ) -> Result<Accepted, Refusal> {
        let (mut runs, mut tasks) = (BTreeSet::new(), BTreeSet::new());
        for (run, trace_id) in from {
            let following = self.following(*run, *trace_id);
            let downstream = self.all_downstream(run.task);
            let is_owed = downstream
                .iter()
                .any(|task| self.owes_to(*task, *trace_id).next().is_some());
            if following.is_empty() && !is_owed {
                return Err(Refusal::NotRunning(*run));
            }
            runs.extend(following);
            tasks.extend(downstream);
            tasks.insert(run.task);
        }
        // A run may outlive its task.
        tasks.retain(|task| self.tasks.contains(*task));
        for task in &tasks {
            self.decidable(*task)?;
        }
        let mut records = Vec::new();
        for run in &runs {
            records.push(Record::RunMuted { run: *run });
            let is_stopping = |key| {
                self.runs
                    .get(key)
                    .is_some_and(|run| matches!(run.state, State::Stopping { .. }))
            };
            if !is_stopping(run) || self.unrecorded_stops.contains(run) {
                records.push(stop(now, *run, reason));
            }
        }
        for (_, trace_id) in from {
            for task in &tasks {
                records.extend(self.owes_to(*task, *trace_id).map(|cause| Record::DependencySkipped {
                    task: *task,
                    at: now,
                    end: cause.run,
                    reason: format!("after {cause}: {reason}"),
                }));
            }
        }
        let reserved = Reserved {
            tasks: tasks.into_iter().collect(),
            ..Reserved::default()
        };
        Ok(self.accept(records, reserved, Reply::Done))
    }

    /// The end of a run was to have no consequence, and it may have come before that was durable.
    pub(super) fn follow_muted(&mut self, now: Timestamp, run: RunKey) {
        let downstream: Vec<TaskId> = self.downstream(run.task).collect();
        for task in downstream {
            if let Some(cause) = self.owed_after(task, run) {
                let reason = format!("after {cause}: that run was cancelled with all that follows");
                self.skip_dependent(now, task, run, reason);
            }
            if self.kept_ends(task).any(|end| end == run) {
                let upstream = run.task;
                self.fact(Record::Unlatched { task, upstream });
            }
        }
    }
}
