//! Commands: what a user asks is checked against the state, and becomes a decision on its way to the store, or a refusal
//! that has changed nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::command::{Accepted, Command, Refusal, Reply, WhileRunning};
use crate::overrides::Overrides;
use crate::policy::{Concurrency, Sharing};
use crate::record::Record;
use crate::run::{Passing, RunKey, Trigger};
use crate::task::{Definition, Owner, TaskId, TaskName, When};
use crate::time::Timestamp;

use super::Scheduler;
use super::admission::{Admission, Most};
use super::evolve::runs_of;
use super::fate::Stretch;
use super::graph::Graph;
use super::pending::Reserved;
use super::runs::State;
use super::tasks::{NameKey, Task};

impl Scheduler {
    /// Accepts a command, or refuses it. What is due at `now` comes first.
    ///
    /// # Errors
    /// [`Refusal`] says why nothing will change. [`Refusal::Busy`] passes by itself.
    pub fn apply(&mut self, now: Timestamp, command: Command) -> Result<Accepted, Refusal> {
        self.wake(now);
        self.settle(now);
        self.flush();
        match command {
            Command::Add { owner, definitions } => self.add(now, owner, definitions),
            Command::BeginImport { owner, count } => self.begin_import(owner, count),
            Command::Stage { import, definitions } => self.stage(now, import, definitions),
            Command::EndImport { import } => self.end_import(import),
            Command::DropImport { import } => self.drop_import(import),
            Command::Edit { id, definition, by } => self.edit(now, id, *definition, &by),
            Command::SetEnabled { ids, enabled, by } => self.set_enabled(now, ids, enabled, &by),
            Command::Pause {
                scopes,
                until,
                by,
                note,
            } => self.pause(now, scopes, until, &by, note.as_deref()),
            Command::Resume { scopes, by } => self.resume(now, scopes, &by),
            Command::Remove { ids, running, reason } => self.remove(now, &ids, running, &reason),
            Command::Run { ids, overrides } => self.run_now(now, &ids, overrides.as_ref()),
            Command::SetCalendar { name, calendar, by } => self.set_calendar(now, name, *calendar, &by),
            Command::RemoveCalendars { names } => self.remove_calendars(now, names),
            Command::SetPools {
                owner,
                pools,
                limit,
                by,
            } => self.set_pools(now, owner, pools, limit, &by),
            Command::Backfill { id, from, until } => self.backfill(now, id, from, until),
            Command::CancelFollowing { from, reason } => self.cancel_following(now, &from, &reason),
            Command::Cancel { runs, reason } => self.cancel(now, &runs, &reason),
        }
    }

    fn add(&mut self, now: Timestamp, owner: Owner, definitions: Vec<Definition>) -> Result<Accepted, Refusal> {
        let count = definitions.len() as u64;
        self.check_room(owner, count)?;
        let definitions: Vec<_> = definitions.into_iter().map(Arc::new).collect();
        let names = self.check_new(owner, &definitions)?;
        Graph::with(self, owner, definitions.iter().map(Arc::as_ref)).check()?;
        let first = self.last_task + 1;
        self.last_task += count;
        let ids = (first..=self.last_task).map(TaskId).collect();
        let reserved = Reserved {
            names,
            added: Some((owner, count)),
            ..Reserved::default()
        };
        Ok(self.accept(self.added(now, first, owner, definitions), reserved, Reply::Added(ids)))
    }

    /// Checks that an owner may have so many tasks more.
    pub(super) fn check_room(&self, owner: Owner, count: u64) -> Result<(), Refusal> {
        let limit = if owner == Owner(0) {
            self.limits.tasks_of_root
        } else {
            self.limits.tasks_of_others
        };
        let present = self.names.get(&owner).map_or(0, |theirs| theirs.len() as u64);
        let coming = self.reserved_adds.get(&owner).copied().unwrap_or(0) + self.imports.coming(owner);
        if present + coming + count > limit {
            return Err(Refusal::TooManyTasks { limit });
        }
        Ok(())
    }

    /// Checks new definitions against what is there and against each other. Gives back their names.
    pub(super) fn check_new(&mut self, owner: Owner, definitions: &[Arc<Definition>]) -> Result<Vec<NameKey>, Refusal> {
        let mut names = BTreeSet::new();
        // An expression that is read here is not forgotten before it is read again for its task.
        let mut read = Vec::new();
        for (index, definition) in definitions.iter().enumerate() {
            let name = NameKey {
                owner,
                name: definition.name.clone(),
            };
            self.check_name_free(&name, index)?;
            if !definition.when.calendars().is_empty() {
                // One of them may be on its way out.
                self.all_undecided()?;
            }
            read.extend(self.check_schedule(&definition.when, index)?);
            if let Some(twice) = names.replace(name) {
                return Err(Refusal::NameTaken {
                    name: twice.name,
                    index,
                });
            }
        }
        Ok(names.into_iter().collect())
    }

    fn edit(&mut self, now: Timestamp, id: TaskId, definition: Definition, by: &str) -> Result<Accepted, Refusal> {
        let task = self.decidable(id)?;
        // Other calendars may freeze it under another name or label.
        let is_meant_otherwise = task.name != definition.name || *self.labels_of(id) != definition.labels;
        let mut reserved = Reserved {
            tasks: vec![id],
            ..Reserved::default()
        };
        if task.name != definition.name {
            let name = NameKey {
                owner: task.owner,
                name: definition.name.clone(),
            };
            self.check_name_free(&name, 0)?;
            self.check_unnamed(id, &BTreeSet::new())?;
            reserved.names.push(name);
        }
        let is_renamed = task.name != definition.name;
        let when = &definition.when;
        let names_others = when.after() != task.after() || when.requires() != task.requires();
        if when.named().next().is_some() && (is_renamed || names_others) {
            let required = when.requires().iter().any(|requirement| requirement.task == task.name);
            if is_renamed && when.named().any(|named| *named == task.name) {
                // Its old name goes.
                let name = task.name.clone();
                return Err(Refusal::NoUpstream {
                    name,
                    required,
                    index: 0,
                });
            }
            Graph::with(self, task.owner, std::iter::once(&definition)).check()?;
        }
        // One that is held may still be given another name or command.
        if task.when() != definition.when {
            self.check_schedule(&definition.when, 0)?;
        }
        if is_meant_otherwise {
            self.settle_fate(now, id);
        }
        let behind = is_renamed.then(|| self.outlived().remove(&definition.name)).flatten();
        let behind = behind.filter(|last| self.tasks.get(id).is_some_and(|task| *last > task.last_run));
        let mut records = Vec::new();
        self.change(now, id, definition, by, &mut records);
        records.extend(behind.map(|last| Record::NumbersLost { task: id, last }));
        Ok(self.accept(records, reserved, Reply::Done))
    }

    /// The records of new tasks with ids from `first` on.
    pub(super) fn added(
        &self,
        at: Timestamp,
        first: u64,
        owner: Owner,
        definitions: Vec<Arc<Definition>>,
    ) -> Vec<Record> {
        let outlived = self.outlived();
        let mut records = Vec::with_capacity(definitions.len());
        for (id, definition) in (first..).map(TaskId).zip(definitions) {
            let last = outlived.get(&definition.name).copied();
            records.push(Record::TaskAdded {
                id,
                owner,
                at,
                definition,
            });
            records.extend(last.map(|last| Record::NumbersLost { task: id, last }));
        }
        records
    }

    /// The newest runs that go on without their tasks, by the names of those: whoever gets one counts on behind them, so that
    /// `TASK/N` is one run.
    fn outlived(&self) -> BTreeMap<TaskName, u64> {
        let mut outlived = BTreeMap::new();
        for (key, run) in self.alone.iter().filter_map(|key| self.runs.get_key_value(key)) {
            let last = outlived.entry(run.name.clone()).or_insert(key.n);
            *last = key.n.max(*last);
        }
        outlived
    }

    fn set_enabled(&mut self, now: Timestamp, ids: Vec<TaskId>, enabled: bool, by: &str) -> Result<Accepted, Refusal> {
        let mut seen = BTreeSet::new();
        let mut reserved = Reserved::default();
        let mut records = Vec::new();
        for (index, id) in ids.into_iter().enumerate() {
            let task = self.decidable(id)?;
            if task.enabled == enabled || !seen.insert(id) {
                continue;
            }
            if enabled {
                let when = task.when();
                self.check_schedule(&when, index)?;
            }
            let Some(task) = self.tasks.get(id) else { continue };
            let mark = enabled.then(|| self.mark_of_enabled(now, task));
            if !enabled {
                records.extend(self.debts(now, id, task, "disabled"));
            }
            records.push(Record::TaskSwitched {
                id,
                at: now,
                enabled,
                mark,
                by: by.to_owned(),
            });
            reserved.tasks.push(id);
        }
        Ok(self.accept(records, reserved, Reply::Done))
    }

    /// The mark of a task that is enabled: what came before owes nothing.
    fn mark_of_enabled(&self, now: Timestamp, task: &Task) -> Timestamp {
        // After a small step back of the clock the mark is ahead, and what it says was dealt with.
        let ahead = task.mark > now && task.mark <= now.plus(self.limits.clock_back);
        if ahead { task.mark } else { now }
    }

    /// The records of a new definition, and of what the old one still owed.
    fn change(&self, now: Timestamp, id: TaskId, definition: Definition, by: &str, records: &mut Vec<Record>) {
        let Some(task) = self.tasks.get(id) else { return };
        let other_times = task.when() != definition.when;
        let mark = if other_times {
            Some(now)
        } else if definition.enabled && !task.enabled {
            Some(self.mark_of_enabled(now, task))
        } else {
            None
        };
        if other_times || !definition.enabled {
            let how = if other_times { "changed" } else { "disabled" };
            records.extend(self.debts(now, id, task, how));
        }
        records.extend(self.keep_shares(id, &definition.sharing));
        records.push(Record::TaskChanged {
            id,
            at: now,
            definition: Arc::new(definition),
            mark,
            by: by.to_owned(),
        });
    }

    /// Fire times of a task that passed and were not dealt with yet, when they never will be.
    pub(super) fn debts(&self, now: Timestamp, id: TaskId, task: &Task, how: &str) -> Vec<Record> {
        if task.due().is_none_or(|due| due > now) {
            return Vec::new();
        }
        let record = |Stretch { passed, suppressed }: Stretch| {
            let (passing, reason) = match suppressed {
                Some(reason) => (Passing::Skipped, reason),
                None if now.since(passed.last) <= self.limits.late => {
                    (Passing::Missed, format!("the task was {how} before it could start"))
                }
                None => (Passing::Missed, self.why_missed(passed.last).to_owned()),
            };
            Record::Passed {
                task: id,
                first: passed.first,
                last: passed.last,
                count: passed.count,
                passing,
                reason,
            }
        };
        self.stretches(id, task, task.mark, now).map(record).collect()
    }

    fn remove(
        &mut self,
        now: Timestamp,
        ids: &[TaskId],
        running: WhileRunning,
        reason: &str,
    ) -> Result<Accepted, Refusal> {
        let ids: BTreeSet<_> = ids.iter().copied().collect();
        let mut records = Vec::new();
        for id in &ids {
            let task = self.decidable(*id)?;
            for (key, run) in self.runs.range(runs_of(*id)) {
                let stopped = match running {
                    WhileRunning::Refuse => {
                        return Err(Refusal::StillRunning {
                            name: task.name.clone(),
                            run: *key,
                        });
                    }
                    WhileRunning::Cancel => !matches!(run.state, State::Stopping { .. }),
                    // What has not begun cannot begin without its definition.
                    WhileRunning::Keep => {
                        matches!(
                            run.state,
                            State::Waiting | State::BackingOff { .. } | State::Gated { .. }
                        )
                    }
                };
                if stopped {
                    records.push(stop(now, *key, reason));
                }
            }
            self.check_unnamed(*id, &ids)?;
            records.extend(self.debts(now, *id, task, "removed"));
            records.extend(self.unsettled(now, *id));
            records.extend(self.keep_shares(*id, &Sharing::default()));
            records.push(Record::TaskRemoved { id: *id, at: now });
        }
        let reserved = Reserved {
            tasks: ids.into_iter().collect(),
            ..Reserved::default()
        };
        Ok(self.accept(records, reserved, Reply::Done))
    }

    fn run_now(
        &mut self,
        now: Timestamp,
        ids: &[TaskId],
        overrides: Option<&Arc<Overrides>>,
    ) -> Result<Accepted, Refusal> {
        let mut wanted = BTreeSet::new();
        let mut runs = Vec::with_capacity(ids.len());
        let mut records = Vec::with_capacity(ids.len());
        for id in ids {
            let task = self.decidable(*id)?;
            let run = RunKey {
                task: *id,
                n: task.last_run + 1,
            };
            if !wanted.insert(*id) {
                continue;
            }
            let name = task.name.clone();
            let forbids = task.policies.concurrency == Concurrency::Forbid;
            let waits = match self.admission(*id, Trigger::Manual) {
                Admission::Go => false,
                // Nobody who asks for a run waits for a whole backlog, unless that was chosen.
                Admission::Wait { behind: run } if forbids => return Err(Refusal::StillRunning { name, run }),
                Admission::Wait { .. } => true,
                Admission::Replace(replaced) => {
                    let reason = self.replaced(*id).unwrap_or_default();
                    records.extend(replaced.into_iter().map(|run| stop(now, run, &reason)));
                    true
                }
                Admission::Skip { run, most: None, .. } => return Err(Refusal::StillRunning { name, run }),
                Admission::Skip {
                    most: Some(Most { limit, waiting }),
                    ..
                } => return Err(Refusal::TooManyRuns { name, limit, waiting }),
            };
            runs.push((run, waits));
        }
        if !self.life.attached {
            return Err(Refusal::NoRunner);
        }
        let mut reserved = Reserved {
            tasks: wanted.into_iter().collect(),
            ..Reserved::default()
        };
        let mut reply = Vec::with_capacity(runs.len());
        for (run, waits) in runs {
            let waiting = waits || !self.has_place(run.task, reserved.places);
            reserved.places += usize::from(!waiting);
            let trace_id = self.traces.draw();
            records.push(Record::RunCreated {
                run,
                trigger: Trigger::Manual,
                fire_time: None,
                at: now,
                trace_id,
                waiting,
                cause: None,
                overrides: overrides.cloned(),
            });
            reply.push((run, trace_id));
        }
        Ok(self.accept(records, reserved, Reply::Runs(reply)))
    }

    fn cancel(&mut self, now: Timestamp, runs: &[RunKey], reason: &str) -> Result<Accepted, Refusal> {
        let mut records = Vec::new();
        let mut reserved = Reserved::default();
        for key in runs.iter().copied().collect::<BTreeSet<_>>() {
            let run = self.runs.get(&key).ok_or(Refusal::NotRunning(key))?;
            // A run may outlive its task.
            if self.tasks.contains(key.task) {
                self.decidable(key.task)?;
                if reserved.tasks.last() != Some(&key.task) {
                    reserved.tasks.push(key.task);
                }
            }
            // A stop that is on its way might be lost with this life.
            if !matches!(run.state, State::Stopping { .. }) || self.unrecorded_stops.contains(&key) {
                records.push(stop(now, key, reason));
            }
        }
        Ok(self.accept(records, reserved, Reply::Done))
    }

    /// A task that something may be decided about: no other decision about it is on its way, and no earlier life may have
    /// started a run of it that is not recorded.
    pub(super) fn decidable(&self, id: TaskId) -> Result<&Task, Refusal> {
        let shown = self.tasks.get(id).filter(|_| !self.imports.holds(id));
        let task: &Task = shown.ok_or(Refusal::NoTask(id))?;
        if task.reserved || self.reserved_all > 0 {
            return Err(Refusal::Busy);
        }
        if let Some(horizon) = self.life.inherited
            && self.may_have_started()
            && task.enabled
            && (task.place.is_held() || task.due().is_some_and(|due| due <= horizon))
        {
            return Err(Refusal::NoRunner);
        }
        Ok(task)
    }

    fn check_name_free(&self, key: &NameKey, index: usize) -> Result<(), Refusal> {
        let theirs = self.names.get(&key.owner);
        let holder = theirs.and_then(|theirs| theirs.get(&key.name)).copied();
        // A name of an import under way is taken: whoever waited for its end could be waited for himself.
        let goes = |id| self.imports.holds(id) && !self.imports.may_end(id);
        let is_reserved = |id| goes(id) || self.tasks.get(id).is_some_and(|task| task.reserved);
        match holder {
            Some(id) if is_reserved(id) => Err(Refusal::Busy),
            Some(_) => Err(Refusal::NameTaken {
                name: key.name.clone(),
                index,
            }),
            None if self.reserved_names.contains(key) => Err(Refusal::Busy),
            None => Ok(()),
        }
    }

    /// Gives back what keeps the reading of an expression from being forgotten, so that others with the same one need not
    /// read it again.
    fn check_schedule(&mut self, when: &When, index: usize) -> Result<Option<Arc<When>>, Refusal> {
        let reading = self.schedules.read(when);
        match reading.problem {
            None => Ok(reading.written),
            Some(problem) => Err(Refusal::BadSchedule { index, problem }),
        }
    }

    pub(super) fn accept(&mut self, records: Vec<Record>, reserved: Reserved, reply: Reply) -> Accepted {
        let ticket = (!records.is_empty()).then(|| self.decide(records, reserved));
        Accepted { ticket, reply }
    }
}

pub(super) fn stop(at: Timestamp, run: RunKey, reason: &str) -> Record {
    Record::RunStopping {
        run,
        at,
        reason: reason.to_owned(),
    }
}
