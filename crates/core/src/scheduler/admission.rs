//! What becomes of a new run of a task while others of it are in progress.

use std::num::NonZeroU32;

use crate::effect::Notice;
use crate::policy::{Concurrency, QUEUE};
use crate::record::Record;
use crate::run::{RunKey, Trigger};
use crate::task::TaskId;
use crate::time::Timestamp;

use super::Scheduler;
use super::evolve::runs_of;
use super::pending::After;
use super::runs::{Run, State};

/// What becomes of a run that is about to be created.
pub(super) enum Admission {
    /// Nothing of its task is in its way.
    Go,
    /// It waits until others of its task have ended.
    Wait {
        /// The first of them.
        behind: RunKey,
    },
    /// It waits until these have ended, which are stopped for it.
    Replace(Vec<RunKey>),
    /// It is not created.
    Skip {
        /// The run that is in its way.
        run: RunKey,
        /// What is recorded.
        reason: String,
        /// How many there may be, where that is more than one.
        most: Option<Most>,
    },
}

/// How many runs of a task there may be.
pub(super) struct Most {
    /// So many.
    pub limit: u32,
    /// Whether those alone count that wait.
    pub waiting: bool,
}

/// The runs of a task that are in the way of another one.
#[derive(Default)]
struct InTheWay<'a> {
    /// The first of all of them.
    first: Option<(RunKey, &'a Run)>,
    /// Those that stand for one firing.
    live: Vec<(RunKey, &'a Run)>,
    /// One of many that are made up for one by one: a live firing goes next.
    of_many: usize,
}

impl Scheduler {
    /// What becomes of another run of a task.
    pub(super) fn admission(&self, id: TaskId, trigger: Trigger) -> Admission {
        let Some(task) = self.tasks.get(id) else {
            return Admission::Go;
        };
        let policy = task.policies.concurrency;
        let in_the_way = self.in_the_way(id, trigger, policy);
        let waiting = in_the_way.live.iter().filter(|(_, run)| run.waits()).count();
        let all = in_the_way.live.len() + in_the_way.of_many;
        let first = in_the_way.first.filter(|_| !in_the_way.live.is_empty());
        let full = |(run, _): (RunKey, &Run), most: Most, [one, many]: [&str; 2]| Admission::Skip {
            run,
            reason: match most.limit {
                1 => format!("another run of it {one}"),
                limit => format!("{limit} runs of it {many}"),
            },
            most: Some(most),
        };
        let to_wait = |limit: NonZeroU32| Most {
            limit: limit.get(),
            waiting: true,
        };
        let at_all = |limit: NonZeroU32| Most {
            limit: limit.get(),
            waiting: false,
        };
        match (policy, first) {
            (Concurrency::Forbid, Some((run, of))) => Admission::Skip {
                run,
                reason: format!("run {}/{} {}", task.name, run.n, doing(of)),
                most: None,
            },
            (Concurrency::Queue { waiting: most }, Some(first)) if waiting >= size(most.get()) => full(
                first,
                to_wait(most),
                ["waits, and no more may", "wait, and no more may"],
            ),
            (Concurrency::Allow { at_once: Some(most) }, Some(first)) if in_the_way.live.len() >= size(most.get()) => {
                full(
                    first,
                    at_all(most),
                    [
                        "is in progress, and no more may be",
                        "are in progress, and no more may be",
                    ],
                )
            }
            (Concurrency::Allow { .. }, Some(first)) if waiting >= size(QUEUE.get()) => full(
                first,
                to_wait(QUEUE),
                [
                    "waits for a place, and no more may",
                    "wait for a place, and no more may",
                ],
            ),
            (Concurrency::Replace, Some(_)) => {
                let is_left = |run: &Run| run.state.stopping().is_none();
                let runs = in_the_way.live.iter().filter(|(_, run)| is_left(run));
                Admission::Replace(runs.map(|(key, _)| *key).collect())
            }
            (Concurrency::Forbid | Concurrency::Queue { .. } | Concurrency::Replace, None)
            | (Concurrency::Queue { .. }, Some(_))
            | (Concurrency::Allow { .. }, None | Some(_)) => {
                let is_free = policy.at_once().is_none_or(|most| all < size(most.get()));
                match in_the_way.first {
                    Some((behind, _)) if !is_free => Admission::Wait { behind },
                    Some(_) | None => Admission::Go,
                }
            }
        }
    }

    /// What is in the way of another run for a reason. What waits to make up for the past is not, but for what would do the
    /// same: where one is run for all that were missed, one is enough, and the newest run replaces it.
    fn in_the_way(&self, id: TaskId, trigger: Trigger, policy: Concurrency) -> InTheWay<'_> {
        let runs_all = self.runs_all(id).is_some();
        let is_one_for_all = !runs_all && (trigger == Trigger::CatchUp || policy == Concurrency::Replace);
        let mut found = InTheWay::default();
        for (key, run) in self.runs.range(runs_of(id)) {
            let is_of_many = match run.trigger {
                Trigger::Backfill => true,
                Trigger::CatchUp => runs_all,
                Trigger::Schedule | Trigger::Manual | Trigger::Boot | Trigger::Dependency => false,
            };
            let waits_behind = run.waits() && run.makes_up() && !run.had_its_turn();
            if waits_behind && !(is_one_for_all && run.trigger == Trigger::CatchUp) {
                continue;
            }
            found.first.get_or_insert((*key, run));
            if is_of_many {
                found.of_many += 1;
            } else {
                found.live.push((*key, run));
            }
        }
        found
    }

    /// Stops runs for one that takes their place, which is created next.
    pub(super) fn replace(&mut self, now: Timestamp, id: TaskId, runs: &[RunKey]) {
        let Some(reason) = self.replaced(id) else { return };
        for run in runs {
            let Some(stopped) = self.runs.get(run) else { continue };
            let (name, trace_id) = (stopped.name.clone(), stopped.trace_id);
            self.fact(Record::RunStopping {
                run: *run,
                at: now,
                reason: reason.clone(),
            });
            self.after.push(After::Notice(Box::new(Notice::RunStopping {
                run: *run,
                name,
                trace_id,
                reason: reason.clone(),
            })));
            self.unrecorded_stops.insert(*run);
            self.after.push(After::Stop(*run));
        }
    }

    /// Why runs are stopped for the next one of their task.
    pub(super) fn replaced(&self, id: TaskId) -> Option<String> {
        let task = self.tasks.get(id)?;
        Some(format!("replaced by run {}/{}", task.name, task.last_run + 1))
    }
}

fn doing(run: &Run) -> &'static str {
    match run.state {
        State::Waiting => "still waits for a place",
        State::BackingOff { .. } => "waits for its next attempt",
        State::Gated { .. } => "waits for its gate",
        State::Starting(_) | State::Running(_) | State::Stopping { .. } => "is still running",
    }
}

fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
