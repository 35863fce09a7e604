//! A small model of the state: what records make of it, written again without tables.

mod dependencies;
mod maker;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use taskd_core::calendar::{CalendarName, Kept};
use taskd_core::dependency::{Cause, EndKind};
use taskd_core::pause::{Pause, PauseScope};
use taskd_core::policy::Pool;
use taskd_core::record::Record;
use taskd_core::run::{RunKey, TraceId, Trigger};
use taskd_core::snapshot::{Header, Rest, RunImage, Snapshot, Stage, TaskImage};
use taskd_core::task::{Owner, TaskId};
use taskd_core::time::Timestamp;

pub use maker::{Step, batches, steps};

/// Who changes things.
pub const ME: &str = "uid 1000";

const ME_OWNER: Owner = Owner(1000);

/// The state that records make.
#[derive(Clone, Default)]
pub struct Model {
    header: Header,
    tasks: BTreeMap<TaskId, TaskImage>,
    names: BTreeMap<TaskId, taskd_core::task::TaskName>,
    newest: BTreeMap<TaskId, u64>,
    runs: BTreeMap<RunKey, RunImage>,
    pauses: BTreeMap<PauseScope, Pause>,
    calendars: BTreeMap<CalendarName, Arc<Kept>>,
    pools: BTreeMap<(Owner, Pool), NonZeroU32>,
    fired: BTreeMap<TaskId, u64>,
    latches: BTreeMap<(TaskId, TaskId), (u64, EndKind)>,
    owed: Vec<(TaskId, Cause, TraceId)>,
}

impl Model {
    pub fn replay<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut model = Model::default();
        records.into_iter().for_each(|record| model.evolve(record));
        model
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            tasks: self.tasks.values().cloned().collect(),
            rest: Rest {
                header: self.header,
                runs: self.runs.values().cloned().collect(),
                pauses: self.pauses.clone().into_iter().collect(),
                calendars: self.calendars.clone().into_iter().collect(),
                pools: self
                    .pools
                    .iter()
                    .map(|((owner, pool), limit)| (*owner, pool.clone(), *limit))
                    .collect(),
                fired: self.fired.clone().into_iter().collect(),
                latches: self.latches_by_task(),
                owed: self.owed_by_task(),
            },
        }
    }

    fn mark(&mut self, id: TaskId, mark: Timestamp) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.mark = mark;
        }
    }

    pub fn evolve(&mut self, record: &Record) {
        match record {
            Record::TaskAdded {
                id,
                owner,
                at,
                definition,
            } => {
                self.header.last_task = self.header.last_task.max(id.0);
                self.names.insert(*id, definition.name.clone());
                self.tasks.insert(
                    *id,
                    TaskImage {
                        id: *id,
                        owner: *owner,
                        outline: definition.outline(),
                        mark: *at,
                        last_run: 0,
                        last_outcome: None,
                        last_end: None,
                    },
                );
            }
            // The maker of records makes none of these.
            Record::ImportBegun { .. } | Record::ImportEnded { .. } | Record::ImportDropped { .. } => {}
            Record::TaskChanged {
                id, definition, mark, ..
            } => {
                self.begin_anew(*id, *mark);
                self.names.insert(*id, definition.name.clone());
                for run in self.runs.values_mut().filter(|run| run.key.task == *id) {
                    run.name = definition.name.clone();
                }
                if let Some(task) = self.tasks.get_mut(id) {
                    let other_count = task.outline.when.count() != definition.when.count();
                    if other_count || definition.enabled && !task.outline.enabled {
                        self.fired.remove(id);
                    }
                    task.outline = definition.outline();
                    task.mark = mark.unwrap_or(task.mark);
                }
            }
            Record::TaskSwitched { id, enabled, mark, .. } => {
                self.begin_anew(*id, *mark);
                if let Some(task) = self.tasks.get_mut(id) {
                    if *enabled {
                        self.fired.remove(id);
                    }
                    task.outline.enabled = *enabled;
                    task.mark = mark.unwrap_or(task.mark);
                }
            }
            Record::TaskRemoved { id, .. } => {
                if let Some(task) = self.tasks.remove(id) {
                    for run in self.runs.values_mut().filter(|run| run.key.task == *id) {
                        run.terms = Some(task.outline.policies);
                    }
                }
                self.pauses.remove(&PauseScope::Task(*id));
                self.fired.remove(id);
                self.latches.retain(|(task, of), _| task != id && of != id);
                self.owed.retain(|(task, ..)| task != id);
            }
            Record::Paused { scope, pause, .. } => {
                self.pauses.insert(*scope, pause.clone());
            }
            Record::Resumed { scope, at, .. } => {
                if let Some(pause) = self.pauses.get_mut(scope) {
                    pause.end(*at);
                }
            }
            Record::LifeBegan { .. } | Record::LifeEnded { .. } => {}
            Record::Horizon { until, boot } => {
                self.header.horizon = *until;
                self.header.horizon_boot = *boot;
            }
            Record::NumbersLost { task, last } => {
                let newest = self.newest.entry(*task).or_default();
                *newest = (*newest).max(*last);
                if let Some(task) = self.tasks.get_mut(task) {
                    task.last_run = task.last_run.max(*last);
                }
            }
            Record::RunnerAttached { instance } => self.header.runner = Some(*instance),
            Record::RunCreated {
                run,
                trigger,
                fire_time,
                at,
                trace_id,
                waiting,
                cause,
                overrides,
            } => {
                if let Some(cause) = cause {
                    self.settle(run.task, cause.run);
                }
                self.newest.insert(run.task, run.n);
                if let Some(task) = self.tasks.get_mut(&run.task) {
                    task.last_run = task.last_run.max(run.n);
                    if *trigger != Trigger::Backfill {
                        task.mark = fire_time.unwrap_or(task.mark);
                    }
                }
                self.runs.insert(
                    *run,
                    RunImage {
                        key: *run,
                        name: self.names[&run.task].clone(),
                        trigger: *trigger,
                        fire_time: *fire_time,
                        created_at: *at,
                        trace_id: *trace_id,
                        attempt: 1,
                        started_at: None,
                        stage: if *waiting { Stage::Waiting } else { Stage::Starting },
                        stopping: None,
                        keeps: None,
                        cause: cause.clone(),
                        muted: false,
                        overrides: overrides.clone(),
                        gate: None,
                        terms: None,
                    },
                );
            }
            Record::RunAdmitted { run, .. } => {
                if let Some(run) = self.runs.get_mut(run) {
                    run.stage = Stage::Starting;
                }
            }
            Record::RunKeeps { run, holding } => {
                if let Some(run) = self.runs.get_mut(run)
                    && matches!(run.stage, Stage::Starting | Stage::Running { .. })
                {
                    run.keeps = Some(holding.clone());
                }
            }
            Record::PoolSet { owner, pool, limit, .. } => {
                let key = (*owner, pool.clone());
                match limit {
                    Some(limit) => self.pools.insert(key, *limit),
                    None => self.pools.remove(&key),
                };
            }
            Record::AttemptStarted { attempt, pid, at } => {
                if let Some(run) = self.runs.get_mut(&attempt.run) {
                    run.attempt = attempt.attempt;
                    run.started_at.get_or_insert(*at);
                    run.stage = Stage::Running {
                        pid: *pid,
                        started_at: *at,
                    };
                }
            }
            Record::AttemptEnded {
                attempt, at, retry_at, ..
            } => {
                if let Some(run) = self.runs.get_mut(&attempt.run) {
                    run.started_at.get_or_insert(*at);
                    run.attempt = attempt.attempt + 1;
                    run.keeps = None;
                    // One that is being stopped has no other attempt.
                    run.stage = match run.stopping {
                        None => Stage::BackingOff { until: *retry_at },
                        Some(_) => Stage::Waiting,
                    };
                }
            }
            Record::GateClosed { run, gate, look_at, .. } => {
                if let Some(run) = self.runs.get_mut(run) {
                    run.gate = Some(gate.clone());
                    run.keeps = None;
                    run.stage = match run.stopping {
                        None => Stage::Gated { until: *look_at },
                        Some(_) => Stage::Waiting,
                    };
                }
            }
            Record::RetryDue { run, .. } => {
                if let Some(run) = self.runs.get_mut(run)
                    && matches!(run.stage, Stage::BackingOff { .. } | Stage::Gated { .. })
                {
                    run.stage = Stage::Waiting;
                }
            }
            Record::RunStopping { run, reason, .. } => {
                if let Some(run) = self.runs.get_mut(run) {
                    run.stopping = Some(reason.clone());
                    if matches!(run.stage, Stage::BackingOff { .. } | Stage::Gated { .. }) {
                        run.stage = Stage::Waiting;
                    }
                }
            }
            Record::RunFinished {
                run, at, outcome, end, ..
            } => self.finish(*run, *at, *outcome, end.as_ref()),
            Record::Passed { task, last, .. } => self.mark(*task, *last),
            Record::MarkReset { task, mark } => self.mark(*task, *mark),
            Record::Fired { task, count } => {
                if self.tasks.contains_key(task) {
                    self.fired.insert(*task, *count);
                }
            }
            Record::Booted { boot } => self.header.boot = Some(*boot),
            Record::BootSkipped { .. } => {}
            Record::RunMuted { run } => {
                if let Some(run) = self.runs.get_mut(run) {
                    run.muted = true;
                }
            }
            Record::Latched { task, end, on } => {
                if self.tasks.contains_key(task) {
                    self.latches.insert((*task, end.task), (end.n, *on));
                }
            }
            Record::Unlatched { task, upstream } => {
                self.latches.remove(&(*task, *upstream));
            }
            Record::Owed { task, cause, trace_id } => {
                self.latches.retain(|(of, _), _| of != task);
                if self.tasks.contains_key(task) {
                    self.settle(*task, cause.run);
                    self.owed.push((*task, cause.clone(), *trace_id));
                }
            }
            Record::DependencySkipped { task, end, .. } => self.settle(*task, *end),
            Record::PauseBegins { scope, since } => {
                if let Some(pause) = self.pauses.get_mut(scope) {
                    pause.since = *since;
                }
            }
            Record::CalendarSet { name, calendar, .. } => {
                self.calendars.insert(name.clone(), Arc::clone(calendar));
            }
            Record::CalendarRemoved { name } => {
                self.calendars.remove(name);
            }
        }
    }
}
