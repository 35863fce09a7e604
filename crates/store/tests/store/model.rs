//! A small model of the state: what records make of it, written again without tables; and a maker of records.

mod dependencies;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use proptest::prelude::*;
use taskd_core::calendar::{CalendarName, Kept};
use taskd_core::dependency::{Cause, EndKind};
use taskd_core::pause::{Pause, PauseScope};
use taskd_core::policy::{Holding, Pool};
use taskd_core::record::Record;
use taskd_core::run::{AttemptEnd, AttemptKey, Exit, Outcome, Passing, RunKey, TraceId, Trigger, Usage};
use taskd_core::snapshot::{Header, Rest, RunImage, Snapshot, Stage, TaskImage};
use taskd_core::task::{Owner, TaskId};
use taskd_core::time::Timestamp;

use crate::scene::{after, at, calendar, closed, name, overrides, sharing, varied};

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
                self.tasks.remove(id);
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
            Record::Horizon { until } => self.header.horizon = *until,
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

    /// The next record, if this step fits the state.
    fn make(&self, step: &Step, now: Timestamp) -> Option<Record> {
        let task = |any: usize| self.tasks.keys().nth(any % self.tasks.len().max(1)).copied();
        let run = |wanted: fn(&Stage) -> bool| {
            let fit: Vec<_> = self.runs.values().filter(|run| wanted(&run.stage)).collect();
            (!fit.is_empty()).then(|| fit[step.pick % fit.len()].key)
        };
        let scope = |any: usize| match any.is_multiple_of(4) {
            true => Some(PauseScope::All),
            false => task(any).map(PauseScope::Task),
        };
        let value = step.value;
        Some(match step.kind {
            0 | 1 => {
                let id = self.header.last_task + 1 + u64::from(value % 2);
                Record::TaskAdded {
                    id: TaskId(id),
                    owner: Owner(value % 2),
                    at: now,
                    definition: Arc::new(varied(&format!("task-{id}"), value)),
                }
            }
            2 => {
                let id = task(step.pick)?;
                let definition = Arc::new(varied(&format!("task-{}", id.0), value));
                let other_times = self.tasks[&id].outline.when != definition.when;
                Record::TaskChanged {
                    id,
                    at: now,
                    definition,
                    mark: (other_times || value.is_multiple_of(2)).then_some(now),
                    by: ME.to_owned(),
                }
            }
            3 => Record::TaskRemoved {
                id: task(step.pick)?,
                at: now,
            },
            4 => Record::Horizon {
                until: now.plus(std::time::Duration::from_secs(5)),
            },
            5 => Record::RunnerAttached {
                instance: u64::from(value) << 33 | 1 << 63,
            },
            6 | 7 => {
                let task = task(step.pick)?;
                Record::RunCreated {
                    run: RunKey {
                        task,
                        n: self.newest.get(&task).copied().unwrap_or(0) + 1,
                    },
                    trigger: Trigger::ALL[step.pick % Trigger::ALL.len()],
                    fire_time: (!value.is_multiple_of(3)).then_some(now),
                    at: now,
                    trace_id: TraceId(u128::from(value) << 90 | 1),
                    waiting: value.is_multiple_of(2),
                    cause: self.cause(step).filter(|_| value % 4 == 1),
                    overrides: value.is_multiple_of(5).then(|| Arc::new(overrides(value))),
                }
            }
            8 => Record::RunAdmitted {
                run: run(|stage| *stage == Stage::Waiting)?,
                at: now,
            },
            9 => Record::AttemptStarted {
                attempt: AttemptKey {
                    run: run(|stage| *stage == Stage::Starting)?,
                    attempt: self.runs[&run(|stage| *stage == Stage::Starting)?].attempt,
                },
                pid: value,
                at: now,
            },
            10 => Record::RunStopping {
                run: run(|_| true)?,
                at: now,
                reason: format!("cancelled by uid {value}"),
            },
            11 | 12 => {
                let outcome = Outcome::ALL[step.pick % Outcome::ALL.len()];
                Record::RunFinished {
                    run: run(|_| true)?,
                    at: now,
                    outcome,
                    reason: value.is_multiple_of(2).then(|| "exit code 1".to_owned()),
                    end: (outcome != Outcome::Unknown && !value.is_multiple_of(5)).then(|| AttemptEnd {
                        started_at: now,
                        pid: value % 4,
                        finished_at: now,
                        exit: match value % 4 {
                            0 => Exit::Code(1),
                            1 => Exit::Signal(9),
                            2 => Exit::OverMemory { cap: 1 << 20 },
                            _ => Exit::SpawnFailed {
                                errno: 2,
                                what: "exec".to_owned(),
                            },
                        },
                        stopped: None,
                        usage: Usage {
                            output_bytes: u64::from(value),
                            output_kept: value.is_multiple_of(2).then(|| u64::from(value) + 1),
                            ..Usage::default()
                        },
                    }),
                }
            }
            13 => Record::Passed {
                task: task(step.pick)?,
                first: now,
                last: at(now.as_millis() + 1),
                count: 2,
                passing: Passing::ALL[step.pick % Passing::ALL.len()],
                reason: "taskd was not running".to_owned(),
            },
            14 => Record::MarkReset {
                task: task(step.pick)?,
                mark: at(now.as_millis() - 10),
            },
            15 => Record::TaskSwitched {
                id: task(step.pick)?,
                at: now,
                enabled: value.is_multiple_of(2),
                mark: value.is_multiple_of(2).then_some(now),
                by: ME.to_owned(),
            },
            16 => Record::Paused {
                scope: scope(step.pick)?,
                at: now,
                pause: Pause {
                    since: now,
                    until: value
                        .is_multiple_of(2)
                        .then(|| at(now.as_millis() + i64::from(value % 20_000))),
                    by: ME.to_owned(),
                    note: value.is_multiple_of(3).then(|| format!("note {value}")),
                },
            },
            17 => Record::Resumed {
                scope: scope(step.pick)?,
                at: now,
                by: ME.to_owned(),
            },
            18 => Record::LifeBegan { at: now },
            19 => Record::Fired {
                task: task(step.pick)?,
                count: 1 + u64::from(value % 9),
            },
            21 => Record::CalendarSet {
                name: name(&format!("calendar-{}", value % 3)),
                calendar: Arc::new(calendar(value)),
                at: now,
                by: ME.to_owned(),
            },
            22 => Record::CalendarRemoved {
                name: name(&format!("calendar-{}", value % 3)),
            },
            28 => Record::PoolSet {
                owner: ME_OWNER,
                pool: match value % 3 {
                    0 => Pool::Lock(name("l")),
                    group => Pool::Group(name(&format!("g{group}"))),
                },
                limit: NonZeroU32::new(value % 4),
                at: now,
                by: ME.to_owned(),
            },
            29 => Record::RunKeeps {
                run: run(|stage| matches!(stage, Stage::Starting | Stage::Running { .. }))?,
                holding: Holding {
                    owner: ME_OWNER,
                    sharing: sharing(value),
                },
            },
            20 => Record::Booted {
                boot: u128::from(value) << 77 | 5,
            },
            25 => Record::PauseBegins {
                scope: scope(step.pick)?,
                since: at(now.as_millis() - 10),
            },
            26 => {
                let key = run(|stage| matches!(stage, Stage::Running { .. }))?;
                Record::AttemptEnded {
                    attempt: AttemptKey {
                        run: key,
                        attempt: self.runs[&key].attempt,
                    },
                    at: now,
                    outcome: Outcome::Failed,
                    reason: Some("exit code 3".to_owned()),
                    end: value.is_multiple_of(3).then(|| AttemptEnd {
                        started_at: now,
                        pid: value,
                        finished_at: now,
                        exit: Exit::Code(3),
                        stopped: None,
                        usage: Usage {
                            output_bytes: u64::from(value),
                            ..Usage::default()
                        },
                    }),
                    retry_at: at(now.as_millis() + i64::from(value % 1_000)),
                }
            }
            27 => Record::RetryDue {
                run: run(|stage| matches!(stage, Stage::BackingOff { .. } | Stage::Gated { .. }))?,
                at: now,
            },
            36 => closed(run(|stage| matches!(stage, Stage::Starting))?, now.as_millis(), value),
            24 => Record::BootSkipped {
                task: task(step.pick)?,
                at: now,
                reason: "after a boot: paused".to_owned(),
            },
            30 => match self.followed(step.pick) {
                Some((task, upstream, on)) => Record::Latched {
                    task,
                    end: RunKey {
                        task: upstream,
                        n: u64::from(value % 2),
                    },
                    on,
                },
                None => {
                    let id = task(step.pick)?;
                    Record::TaskChanged {
                        id,
                        at: now,
                        definition: Arc::new(after(&format!("task-{}", id.0), value)),
                        mark: Some(now),
                        by: ME.to_owned(),
                    }
                }
            },
            31 => Record::Unlatched {
                task: task(step.pick)?,
                upstream: self.cause(step)?.run.task,
            },
            32 | 33 => Record::Owed {
                task: task(step.pick)?,
                cause: self.cause(step)?,
                trace_id: TraceId(u128::from(value) << 70 | 3),
            },
            34 => Record::DependencySkipped {
                task: task(step.pick)?,
                at: now,
                end: self.cause(step)?.run,
                reason: "after a/1: it is disabled".to_owned(),
            },
            35 => Record::RunMuted { run: run(|_| true)? },
            _ => Record::LifeEnded { at: now },
        })
    }
}

/// What happens next; read against the state so far.
#[derive(Clone, Debug)]
pub struct Step {
    kind: u8,
    pick: usize,
    value: u32,
    /// Whether a batch ends here.
    pub ends: bool,
}

pub fn steps(length: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = (0_u8..38, 0_usize..64, any::<u32>(), any::<bool>()).prop_map(|(kind, pick, value, ends)| Step {
        kind,
        pick,
        value,
        ends,
    });
    prop::collection::vec(step, 0..length)
}

/// Batches of records that could have happened.
pub fn batches(steps: &[Step]) -> Vec<Vec<Record>> {
    let mut model = Model::default();
    let mut batches = vec![Vec::new()];
    let mut now = at(1_790_000_000_000);
    for step in steps {
        now = at(now.as_millis() + i64::from(step.value % 5_000) + 2);
        let Some(record) = model.make(step, now) else { continue };
        model.evolve(&record);
        batches.last_mut().expect("there is always one").push(record);
        if step.ends {
            batches.push(Vec::new());
        }
    }
    batches.retain(|batch| !batch.is_empty());
    batches
}
