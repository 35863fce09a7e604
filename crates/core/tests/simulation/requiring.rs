//! Tasks that require others: which they name, and what keeps them from starting.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::time::Duration;

use taskd_core::Timestamp;
use taskd_core::record::Record;
use taskd_core::requirement::Requirement;
use taskd_core::run::{Exit, Outcome, RunKey, Trigger};
use taskd_core::scheduler::Limits;
use taskd_core::task::{TaskId, TaskName};

use crate::checks::Spawned;
use crate::users::OWNER;
use crate::world::{Daemon, World};

/// Some of the tasks there are, and maybe one that is to come.
pub fn some(world: &mut World) -> Vec<Requirement> {
    let mut names: Vec<TaskName> = world.definitions.values().map(|of| of.name.clone()).collect();
    names.push(TaskName::parse(&format!("task-{}", world.names + 1)).unwrap());
    let mut of: BTreeMap<TaskName, Option<NonZeroU64>> = BTreeMap::new();
    for _ in 0..=world.dice.below(2) {
        let name = world.dice.pick(&names).unwrap().clone();
        let length = world
            .dice
            .length(Duration::from_secs(1), Duration::from_secs(100 * 3600));
        let within = NonZeroU64::new(length.as_millis() as u64).filter(|_| world.dice.chance(500));
        of.insert(name, within);
    }
    let each = of.into_iter();
    each.map(|(task, within_ms)| Requirement { task, within_ms }).collect()
}

/// How the last run of each task ended, told anew from the records of one life of the daemon and of those before it.
#[derive(Default)]
pub struct Ends {
    began: BTreeSet<RunKey>,
    last: BTreeMap<TaskId, (Outcome, Timestamp)>,
}

impl Ends {
    pub fn learn(&mut self, record: &Record) {
        match record {
            Record::AttemptStarted { attempt, .. } | Record::AttemptEnded { attempt, .. } => {
                self.began.insert(attempt.run);
            }
            Record::RunFinished {
                run, at, outcome, end, ..
            } => {
                let exit = end.as_ref().map(|end| &end.exit);
                let has_exit = exit.is_some_and(|exit| !matches!(exit, Exit::GateClosed { .. }));
                let ran = self.began.remove(run) || has_exit || *outcome == Outcome::Unknown;
                if ran && !matches!(outcome, Outcome::Skipped | Outcome::Missed) {
                    self.last.insert(run.task, (*outcome, *at));
                }
            }
            _ => {}
        }
    }

    fn holds(&self, task: TaskId, within_ms: Option<NonZeroU64>, now: Timestamp) -> bool {
        let Some((Outcome::Succeeded, at)) = self.last.get(&task) else {
            return false;
        };
        within_ms.is_none_or(|ms| {
            let ahead = at.since(now);
            now.since(*at) <= Duration::from_millis(ms.get()) && ahead <= Limits::default().clock_back
        })
    }
}

/// A batch of records leaves a scheduler: nothing starts without what it requires, and nothing is held that has it.
pub fn emitted(daemon: &mut Daemon, spawned: &Spawned, now: Timestamp, records: &[Record]) {
    for record in records {
        let (task, starts) = match record {
            // What an earlier life had decided is only taken in.
            Record::RunCreated { run, trace_id, .. } if spawned.has_seen(*trace_id) => (run.task, None),
            Record::RunCreated { run, trigger, .. } => match trigger {
                Trigger::Manual | Trigger::Backfill => (run.task, None),
                Trigger::Schedule | Trigger::CatchUp | Trigger::Boot | Trigger::Dependency => (run.task, Some(true)),
            },
            Record::Passed { task, reason, .. }
            | Record::BootSkipped { task, reason, .. }
            | Record::DependencySkipped { task, reason, .. }
                if reason.starts_with("requires ") || reason.contains(": requires ") =>
            {
                (*task, Some(false))
            }
            _ => {
                daemon.ends.learn(record);
                continue;
            }
        };
        let (Some(starts), Some((_, when))) = (starts, daemon.known.tasks.get(&task)) else {
            continue;
        };
        let unmet = when.requires().iter().find(|required| {
            let id = daemon.core.find(OWNER, &required.task);
            id.is_none_or(|id| !daemon.ends.holds(id, required.within_ms, now))
        });
        assert_eq!(
            starts,
            unmet.is_none(),
            "{record:?} at {now}, of a task that requires {:?}; {unmet:?} does not hold",
            when.requires()
        );
    }
}
