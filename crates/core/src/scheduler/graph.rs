//! The graph of tasks that come after others or require them, when it is about to change: what is named is there and stays
//! there, and nothing comes after itself or requires what waits for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::command::Refusal;
use crate::record::Record;
use crate::task::{Definition, ImportId, Owner, TaskId, TaskName};

use super::Scheduler;
use super::pending::Batch;
use super::tasks::{NameKey, Task};

/// Most tasks that a refusal names.
const NAMED_MAX: usize = 10;

/// The graph of an owner's tasks as it would be.
pub(super) struct Graph<'a> {
    scheduler: &'a Scheduler,
    owner: Owner,
    /// Definitions that are not there yet, or take the place of the one that is, with their places in the command.
    new: BTreeMap<&'a TaskName, (usize, &'a Definition)>,
    /// The import that is about to end: its tasks are there.
    import: Option<ImportId>,
}

/// How far a task has been followed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Followed {
    /// It is on the path that is being followed.
    Open,
    /// All that it comes after has been.
    Done,
}

impl<'a> Graph<'a> {
    /// With these definitions, in the order of the command.
    pub(super) fn with(
        scheduler: &'a Scheduler,
        owner: Owner,
        definitions: impl Iterator<Item = &'a Definition>,
    ) -> Self {
        let new = definitions
            .enumerate()
            .map(|(index, definition)| (&definition.name, (index, definition)));
        Graph {
            scheduler,
            owner,
            new: new.collect(),
            import: None,
        }
    }

    /// Checks the definitions.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let new = self.new.iter().map(|(name, (index, _))| (*index, (*name).clone()));
        self.check_from(new.collect())
    }

    /// Checks the tasks of an import whose ids reach up to `last`.
    pub(super) fn check_import(
        scheduler: &'a Scheduler,
        owner: Owner,
        import: ImportId,
        last: TaskId,
    ) -> Result<(), Refusal> {
        let graph = Graph {
            scheduler,
            owner,
            new: BTreeMap::new(),
            import: Some(import),
        };
        let staged = (import.0..=last.0).enumerate().filter_map(|(index, id)| {
            let task = scheduler.tasks.get(TaskId(id))?;
            names_of(task).next().map(|_| (index, task.name.clone()))
        });
        graph.check_from(staged.collect())
    }

    /// Follows what each of these comes after or requires. Without a bound on the depth, and so without recursion.
    fn check_from(&self, tasks: Vec<(usize, TaskName)>) -> Result<(), Refusal> {
        let mut followed: HashMap<TaskName, Followed> = HashMap::new();
        for (index, task) in tasks {
            for name in self.upstreams(&task)? {
                if !self.is_there(&name)? {
                    let required = self.is_required(&task, &name)?;
                    return Err(Refusal::NoUpstream { name, required, index });
                }
            }
            if followed.contains_key(&task) {
                continue;
            }
            let mut path = Vec::new();
            let mut next = Some(task.clone());
            loop {
                if let Some(name) = next.take() {
                    followed.insert(name.clone(), Followed::Open);
                    let upstreams = self.upstreams(&name)?;
                    path.push((name, upstreams.into_iter()));
                }
                let Some((name, upstreams)) = path.last_mut() else {
                    break;
                };
                match upstreams.next() {
                    None => {
                        followed.insert(name.clone(), Followed::Done);
                        path.pop();
                    }
                    Some(upstream) => match followed.get(&upstream) {
                        Some(Followed::Done) => {}
                        Some(Followed::Open) => {
                            let path = path.iter().map(|(name, _)| name.clone());
                            let path = cycle(path.collect(), upstream);
                            let before = path.windows(2).find(|pair| pair[1] == task).map(|pair| &pair[0]);
                            let required = match before {
                                Some(before) => self.is_required(&task, before)?,
                                None => false,
                            };
                            return Err(Refusal::Cycle { path, required, index });
                        }
                        None => next = Some(upstream),
                    },
                }
            }
        }
        Ok(())
    }

    /// Whether there is a task of this name, or will be.
    fn is_there(&self, name: &TaskName) -> Result<bool, Refusal> {
        if self.new.contains_key(name) {
            return Ok(true);
        }
        let key = NameKey {
            owner: self.owner,
            name: name.clone(),
        };
        match self.task(name)? {
            Some(_) => Ok(true),
            None if self.scheduler.reserved_names.contains(&key) => Err(Refusal::Busy),
            None => Ok(false),
        }
    }

    /// The task of this name, if there is one. What is being decided about it may make it another.
    fn task(&self, name: &TaskName) -> Result<Option<&'a Task>, Refusal> {
        let theirs = self.scheduler.names.get(&self.owner);
        let Some(id) = theirs.and_then(|theirs| theirs.get(name)).copied() else {
            return Ok(None);
        };
        let imports = &self.scheduler.imports;
        if imports.holds(id) && !self.import.is_some_and(|import| imports.is_of(id, import)) {
            return Ok(None);
        }
        match self.scheduler.tasks.get(id) {
            Some(task) if task.reserved => Err(Refusal::Busy),
            task => Ok(task),
        }
    }

    /// The names of those that a task comes after, then of those that it requires.
    fn upstreams(&self, name: &TaskName) -> Result<Vec<TaskName>, Refusal> {
        Ok(match self.new.get(name) {
            Some((_, definition)) => definition.when.named().cloned().collect(),
            None => self.task(name)?.into_iter().flat_map(names_of).cloned().collect(),
        })
    }

    /// Whether a task that names another requires it, and does not come after it.
    fn is_required(&self, name: &TaskName, upstream: &TaskName) -> Result<bool, Refusal> {
        let upstreams = match self.new.get(name) {
            Some((_, definition)) => definition.when.after(),
            None => self.task(name)?.and_then(Task::after),
        };
        let mut of = upstreams.into_iter().flat_map(|upstreams| &upstreams.of);
        Ok(!of.any(|of| of.task == *upstream))
    }
}

/// The names of those that a task comes after or requires.
fn names_of(task: &Task) -> impl Iterator<Item = &TaskName> {
    task.written.iter().flat_map(|written| written.named())
}

/// The cycle that the last of a path closes by coming after one that is on it, from the first to the last and to the first again.
fn cycle(mut path: Vec<TaskName>, closed_by: TaskName) -> Vec<TaskName> {
    let begin = path.iter().position(|name| *name == closed_by).unwrap_or(0);
    let mut cycle = path.split_off(begin);
    cycle.push(closed_by);
    cycle.reverse();
    cycle
}

impl Scheduler {
    /// Refuses that the name of a task goes which others come after or require, unless they go as well.
    pub(super) fn check_unnamed(&self, id: TaskId, going: &BTreeSet<TaskId>) -> Result<(), Refusal> {
        let Some(task) = self.tasks.get(id) else {
            return Ok(());
        };
        let mut by = Vec::new();
        let namers = self.dependencies.downstream.by(task.owner, &task.name);
        let namers = namers.chain(self.requirements.requiring.by(task.owner, &task.name));
        for other in namers.collect::<BTreeSet<TaskId>>() {
            if going.contains(&other) {
                continue;
            }
            if !self.imports.holds(other) {
                by.extend(self.tasks.get(other).map(|other| other.name.clone()));
            } else if self.is_import_ending() {
                return Err(Refusal::Busy);
            }
        }
        if !by.is_empty() {
            let more = by.len().saturating_sub(NAMED_MAX);
            by.truncate(NAMED_MAX);
            let name = task.name.clone();
            return Err(Refusal::StillNamed { name, by, more });
        }
        match self.is_coming_to_be_named(task.owner, &task.name) {
            true => Err(Refusal::Busy),
            false => Ok(()),
        }
    }

    /// Whether a definition that comes after a task of this name or requires it is on its way to the store.
    fn is_coming_to_be_named(&self, owner: Owner, name: &TaskName) -> bool {
        self.decisions().any(|record| {
            let (of, definition) = if let Record::TaskAdded { owner, definition, .. } = record {
                (Some(*owner), definition)
            } else if let Record::TaskChanged { id, definition, .. } = record {
                (self.tasks.get(*id).map(|task| task.owner), definition)
            } else {
                return false;
            };
            of == Some(owner) && definition.when.named().any(|named| named == name)
        })
    }

    fn is_import_ending(&self) -> bool {
        self.decisions()
            .any(|record| matches!(record, Record::ImportEnded { .. }))
    }

    fn decisions(&self) -> impl Iterator<Item = &Record> {
        let records = self.pending.values().filter_map(|batch| match batch {
            Batch::Decision { records, .. } => Some(records),
            Batch::Facts(_) => None,
        });
        records.flatten()
    }
}
