//! The one place where the state changes: a record goes in, and what replay gives is what was live. Nothing is decided
//! here, and no effect leaves from here.

use std::num::NonZeroU64;
use std::sync::Arc;

use crate::pause::PauseScope;
use crate::record::Record;
use crate::requirement::LastEnd;
use crate::run::{RunKey, Trigger};
use crate::task::{Label, Outline, Owner, TaskId, When};
use crate::time::Timestamp;

use super::Scheduler;
use super::pools::{PoolKey, Standing};
use super::runs::{Halted, Process, Run, State, Told};
use super::tasks::{Place, Task};

impl Scheduler {
    /// Takes in one record. A record about a run or task that is gone changes nothing: a decision may become durable
    /// after a fact that came later.
    pub(super) fn evolve(&mut self, record: &Record) {
        match record {
            Record::TaskAdded {
                id,
                owner,
                at,
                definition,
            } => {
                self.header.last_task = self.header.last_task.max(id.0);
                self.last_task = self.last_task.max(id.0);
                self.imports.grow(*id);
                self.insert_task(*id, *owner, &definition.outline(), *at);
            }
            Record::ImportBegun { import, last, owner } => self.import_begun(*import, *last, *owner),
            Record::ImportEnded { import } => self.import_ended(*import),
            Record::ImportDropped { import, from } => self.import_dropped(*import, *from),
            Record::TaskChanged {
                id,
                at: _,
                definition,
                mark,
                by: _,
            } => self.change_task(*id, &definition.outline(), *mark),
            Record::TaskSwitched {
                id,
                at: _,
                enabled,
                mark,
                by: _,
            } => self.switch_task(*id, *enabled, *mark),
            Record::TaskRemoved { id, at: _ } => self.remove_task(*id),
            Record::Paused { scope, at: _, pause } => {
                let is_there = match scope {
                    PauseScope::All => true,
                    PauseScope::Task(id) => self.tasks.contains(*id),
                };
                if is_there {
                    self.pauses.insert(*scope, pause.clone());
                }
            }
            Record::Resumed { scope, at, by: _ } => {
                if let Some(pause) = self.pauses.get_mut(scope) {
                    pause.end(*at);
                }
            }
            Record::PauseBegins { scope, since } => {
                if let Some(pause) = self.pauses.get_mut(scope) {
                    pause.since = *since;
                }
            }
            Record::Horizon { until, boot } => {
                self.header.horizon = *until;
                self.header.horizon_boot = *boot;
            }
            Record::NumbersLost { task, last } => {
                if let Some(task) = self.tasks.get_mut(*task) {
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
                    self.dependencies.settle(run.task, cause.run);
                }
                let Some(task) = self.tasks.get_mut(run.task) else {
                    return;
                };
                task.last_run = task.last_run.max(run.n);
                let name = task.name.clone();
                let shares = self.shares_of(run.task);
                let state = if *waiting {
                    State::Waiting
                } else {
                    State::Starting(Told::Yes)
                };
                self.runs.insert(
                    *run,
                    Run {
                        name,
                        trigger: *trigger,
                        fire_time: *fire_time,
                        created_at: *at,
                        trace_id: *trace_id,
                        attempt: 1,
                        started_at: None,
                        terms: None,
                        shares,
                        keeps: None,
                        overrides: overrides.clone(),
                        gate: None,
                        standing: Standing::Apart,
                        cause: cause.clone(),
                        muted: false,
                        expires: None,
                        state,
                    },
                );
                self.line_up(run.task);
                // What is made up for on request was dealt with before.
                if let Some(fire_time) = fire_time
                    && *trigger != Trigger::Backfill
                {
                    self.set_mark(run.task, *fire_time);
                }
            }
            Record::RunMuted { run } => {
                if let Some(run) = self.runs.get_mut(run) {
                    run.muted = true;
                }
            }
            Record::RunKeeps { run, holding } => {
                // Its attempt may have ended since that was decided.
                if let Some(run) = self.runs.get_mut(run).filter(|run| run.standing == Standing::Holds) {
                    run.keeps = Some(holding.clone());
                }
            }
            Record::RunAdmitted { run, at: _ } => self.move_run(*run, |state| match state {
                State::Waiting => State::Starting(Told::Yes),
                State::Stopping {
                    reason,
                    of: Halted::Waiting,
                } => State::Stopping {
                    reason,
                    of: Halted::Starting(Told::Yes),
                },
                State::Starting(_)
                | State::Running(_)
                | State::BackingOff { .. }
                | State::Gated { .. }
                | State::Stopping {
                    reason: _,
                    of: Halted::Starting(_) | Halted::Running(_),
                } => state,
            }),
            Record::AttemptStarted { attempt, pid, at } => {
                let process = Process {
                    attempt: attempt.attempt,
                    pid: *pid,
                    started_at: *at,
                };
                if let Some(run) = self.runs.get_mut(&attempt.run) {
                    run.attempt = attempt.attempt;
                    run.started_at.get_or_insert(*at);
                }
                self.move_run(attempt.run, |state| match state {
                    State::Waiting
                    | State::Starting(_)
                    | State::Running(_)
                    | State::BackingOff { .. }
                    | State::Gated { .. } => State::Running(process),
                    State::Stopping { reason, of: _ } => State::Stopping {
                        reason,
                        of: Halted::Running(process),
                    },
                });
            }
            Record::RunStopping { run, at: _, reason } => self.move_run(*run, |state| {
                let of = match state {
                    State::Waiting | State::BackingOff { .. } | State::Gated { .. } => Halted::Waiting,
                    State::Starting(told) => Halted::Starting(told),
                    State::Running(process) => Halted::Running(process),
                    State::Stopping { reason: _, of } => of,
                };
                State::Stopping {
                    reason: reason.clone(),
                    of,
                }
            }),
            Record::AttemptEnded {
                attempt, at, retry_at, ..
            } => {
                if let Some(run) = self.runs.get_mut(&attempt.run) {
                    run.attempt = attempt.attempt.saturating_add(1);
                    run.started_at.get_or_insert(*at);
                }
                self.move_run(attempt.run, |state| match state {
                    State::Waiting
                    | State::Starting(_)
                    | State::Running(_)
                    | State::BackingOff { .. }
                    | State::Gated { .. } => State::BackingOff { until: *retry_at },
                    State::Stopping { reason, of: _ } => State::Stopping {
                        reason,
                        of: Halted::Waiting,
                    },
                });
            }
            Record::GateClosed {
                run: key,
                at: _,
                gate,
                look_at,
            } => {
                if let Some(run) = self.runs.get_mut(key) {
                    run.gate = Some(gate.clone());
                }
                self.move_run(*key, |state| match state {
                    State::Waiting
                    | State::Starting(_)
                    | State::Running(_)
                    | State::BackingOff { .. }
                    | State::Gated { .. } => State::Gated { until: *look_at },
                    State::Stopping { reason, of: _ } => State::Stopping {
                        reason,
                        of: Halted::Waiting,
                    },
                });
            }
            Record::RetryDue { run, at: _ } => self.move_run(*run, |state| match state {
                State::BackingOff { .. } | State::Gated { .. } => State::Waiting,
                State::Waiting | State::Starting(_) | State::Running(_) | State::Stopping { .. } => state,
            }),
            Record::RunFinished {
                run,
                at,
                outcome,
                reason: _,
                end,
            } => {
                self.stand(*run, Standing::Apart);
                if let Some(ended) = self.runs.remove(run) {
                    self.alone.remove(run);
                    if let Some(task) = self.tasks.get_mut(run.task) {
                        task.last_outcome = Some(*outcome);
                        let began = ended.started_at.is_some();
                        if let Some(end) = LastEnd::of(*outcome, *at, end.as_ref(), began) {
                            self.requirements.ended(run.task, end);
                        }
                    }
                    if let Some(until) = ended.state.rests_until() {
                        self.retries.remove(&(until, *run));
                    }
                    if let Some(at) = ended.expires {
                        self.deadlines.remove(&(at, *run));
                    }
                    self.line_up(run.task);
                }
            }
            Record::Passed { task, last, .. } => self.set_mark(*task, *last),
            Record::MarkReset { task, mark } => self.set_mark(*task, *mark),
            Record::Fired { task, count } => {
                if self.tasks.contains(*task) {
                    self.fired.insert(*task, *count);
                }
            }
            Record::Latched { task, end, on } => self.latch(*task, *end, *on),
            Record::Unlatched { task, upstream } => self.dependencies.unlatch(*task, *upstream),
            Record::Owed { task, cause, trace_id } => {
                self.dependencies.unlatch_all(*task);
                if self.tasks.contains(*task) {
                    self.dependencies.owe(*task, cause.clone(), *trace_id);
                }
            }
            Record::DependencySkipped { task, end, .. } => self.dependencies.settle(*task, *end),
            Record::CalendarSet { name, calendar, .. } => {
                self.schedules.keep_calendar(name.clone(), Arc::clone(calendar));
                self.calendar_changed(name);
            }
            Record::CalendarRemoved { name } => {
                self.schedules.remove_calendar(name);
                self.calendar_changed(name);
            }
            Record::PoolSet { owner, pool, limit, .. } => {
                let (owner, pool) = (*owner, pool.clone());
                self.places.set(PoolKey { owner, pool }, *limit);
            }
            Record::Booted { boot } => self.header.boot = Some(*boot),
            // No decision depends on them; the ledger does.
            Record::LifeBegan { at: _ } | Record::LifeEnded { at: _ } | Record::BootSkipped { .. } => {}
        }
    }

    fn insert_task(&mut self, id: TaskId, owner: Owner, outline: &Outline, mark: Timestamp) {
        let reading = self.schedules.read(&outline.when);
        let held = reading.problem.is_some();
        if let Some(problem) = reading.problem {
            self.problems.insert(id, problem);
        }
        self.label(id, &outline.labels);
        self.share(id, owner, &outline.sharing);
        let task = Task {
            // Its own, so that what lives as long as the task lies together, and the definition can go whole.
            name: outline.name.detached(),
            written: reading.written,
            next: reading.schedule.next_after(mark).unwrap_or(Timestamp::MAX),
            schedule: reading.schedule,
            mark,
            last_run: 0,
            last_outcome: None,
            policies: self.schedules.policies(&outline.policies),
            owner,
            enabled: outline.enabled,
            reserved: false,
            place: Place::Out.held(held),
        };
        self.names.entry(owner).or_default().insert(task.name.clone(), id);
        if task.at_boot() {
            self.boots.insert(id);
        }
        self.tasks.insert(id, task);
        self.link(id);
        self.queue(id);
    }

    fn change_task(&mut self, id: TaskId, outline: &Outline, mark: Option<Timestamp>) {
        self.unqueue(id);
        let Some(task) = self.tasks.get_mut(id) else { return };
        if task.name != outline.name {
            let theirs = self.names.entry(task.owner).or_default();
            theirs.remove(&task.name);
            theirs.insert(outline.name.clone(), id);
            task.name = outline.name.clone();
            // A run goes by the name its task has now.
            for (_, run) in self.runs.range_mut(runs_of(id)) {
                run.name = task.name.clone();
            }
        }
        if outline.enabled && !task.enabled || outline.when.count().map(NonZeroU64::get) != task.count() {
            self.fired.remove(&id);
        }
        task.enabled = outline.enabled;
        task.policies = self.schedules.policies(&outline.policies);
        if let Some(mark) = mark {
            task.mark = mark;
            self.dependencies.unlatch_all(id);
        }
        self.label(id, &outline.labels);
        self.read_anew(id, &outline.when);
        if let Some(owner) = self.tasks.get(id).map(|task| task.owner) {
            self.share(id, owner, &outline.sharing);
        }
        // More of its runs may go side by side.
        self.line_up(id);
    }

    fn switch_task(&mut self, id: TaskId, enabled: bool, mark: Option<Timestamp>) {
        self.unqueue(id);
        let Some(task) = self.tasks.get_mut(id) else { return };
        if enabled {
            self.fired.remove(&id);
        }
        task.enabled = enabled;
        if let Some(mark) = mark {
            task.mark = mark;
            self.dependencies.unlatch_all(id);
        }
        let when = task.when();
        self.read_anew(id, &when);
    }

    /// Tells a task by these labels from now on.
    pub(super) fn label(&mut self, id: TaskId, labels: &[Label]) {
        match labels {
            [] => self.labels.remove(&id),
            [..] => self.labels.insert(id, labels.into()),
        };
    }

    /// Reads the schedule of a task again.
    pub(super) fn read_anew(&mut self, id: TaskId, when: &When) {
        self.unqueue(id);
        self.unlink(id);
        let Some(task) = self.tasks.get_mut(id) else { return };
        let reading = self.schedules.read(when);
        task.place = task.place.held(reading.problem.is_some());
        match reading.problem {
            Some(problem) => self.problems.insert(id, problem),
            None => self.problems.remove(&id),
        };
        task.written = reading.written;
        task.schedule = reading.schedule;
        task.next = task.schedule.next_after(task.mark).unwrap_or(Timestamp::MAX);
        if task.at_boot() {
            self.boots.insert(id);
        } else {
            self.boots.remove(&id);
        }
        self.link(id);
        self.queue(id);
    }

    pub(super) fn remove_task(&mut self, id: TaskId) {
        self.unqueue(id);
        self.unlink(id);
        let Some(task) = self.tasks.remove(id) else { return };
        self.forget_ends(id, &task);
        self.requirements.forget(id);
        for (key, run) in self.runs.range_mut(runs_of(id)) {
            run.terms = Some(Arc::clone(&task.policies));
            self.alone.insert(*key);
        }
        self.problems.remove(&id);
        self.pauses.remove(&PauseScope::Task(id));
        self.fired.remove(&id);
        self.boots.remove(&id);
        self.labels.remove(&id);
        self.share_nothing(id);
        if let Some(theirs) = self.names.get_mut(&task.owner) {
            theirs.remove(&task.name);
            if theirs.is_empty() {
                self.names.remove(&task.owner);
            }
        }
    }

    fn set_mark(&mut self, id: TaskId, mark: Timestamp) {
        self.unqueue(id);
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.mark = mark;
        task.next = task.schedule.next_after(mark).unwrap_or(Timestamp::MAX);
        self.queue(id);
    }

    /// Moves a run on by consuming its state; one that waits stands in the queue for places, others do not.
    fn move_run(&mut self, key: RunKey, to: impl FnOnce(State) -> State) {
        let Some(run) = self.runs.get_mut(&key) else { return };
        if let Some(until) = run.state.rests_until() {
            self.retries.remove(&(until, key));
        }
        run.state = to(std::mem::replace(&mut run.state, State::Waiting));
        if let Some(until) = run.state.rests_until() {
            self.retries.insert((until, key));
        }
        let holds = match run.state {
            State::Starting(_) | State::Running(_) => true,
            State::Waiting | State::BackingOff { .. } | State::Gated { .. } => false,
            State::Stopping { reason: _, of } => of != Halted::Waiting,
        };
        if !holds && run.keeps.take().is_some() {
            self.stand(key, Standing::Apart);
            let shares = self.shares_of(key.task);
            if let Some(run) = self.runs.get_mut(&key) {
                run.shares = shares;
            }
        }
        self.line_up(key.task);
    }

    /// Puts a task into the due queue, if it is due at all. One that is reserved is put there when it no longer is.
    pub(super) fn queue(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.get_mut(id)
            && !task.reserved
            && !task.place.is_queued()
            && let Some(next) = task.due()
        {
            task.place = task.place.queued(true);
            self.due.insert((next, id));
        }
    }

    /// Takes a task out of the due queue.
    pub(super) fn unqueue(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.get_mut(id)
            && task.place.is_queued()
        {
            task.place = task.place.queued(false);
            self.due.remove(&(task.next, id));
        }
    }
}

/// The keys of all runs of a task.
pub(super) fn runs_of(task: TaskId) -> std::ops::RangeInclusive<RunKey> {
    RunKey { task, n: 0 }..=RunKey { task, n: u64::MAX }
}
