//! A maker of records that could have happened.

use std::num::NonZeroU32;
use std::sync::Arc;

use proptest::prelude::*;
use taskd_core::pause::{Pause, PauseScope};
use taskd_core::policy::{Holding, Pool};
use taskd_core::record::Record;
use taskd_core::run::{AttemptEnd, AttemptKey, Exit, Outcome, Passing, RunKey, TraceId, Trigger, Usage};
use taskd_core::snapshot::Stage;
use taskd_core::task::{Owner, TaskId};
use taskd_core::time::{Boot, Timestamp};

use super::{ME, ME_OWNER, Model};
use crate::scene::{after, at, calendar, closed, name, overrides, sharing, varied};

impl Model {
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
                boot: (!value.is_multiple_of(3)).then(|| Boot {
                    id: u128::from(value) << 70 | 3,
                    at: at(-i64::from(value)),
                }),
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
            38 => {
                let task = task(step.pick)?;
                let newest = self.newest.get(&task).copied().unwrap_or(0);
                Record::NumbersLost {
                    task,
                    last: newest + u64::from(value % 3),
                }
            }
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
    pub(super) value: u32,
    /// Whether a batch ends here.
    pub ends: bool,
}

pub fn steps(length: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = (0_u8..39, 0_usize..64, any::<u32>(), any::<bool>()).prop_map(|(kind, pick, value, ends)| Step {
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
