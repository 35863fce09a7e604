//! Imports: tasks by the hundred thousand, taken in part by part, so that what is due, and whoever else asks, need not
//! wait for them, and there all at once in the end or not at all.
//!
//! An import has its ids before its tasks: a range that is nobody else's. A part is a decision like an `Add`. Its tasks
//! are in all tables, and what tells that they are staged is their id alone: it lies in the range of an import that has
//! not ended. So they all show at the same moment, however many they are. One that comes due before is set aside until
//! then.
//!
//! An import that is given up loses its tasks part by part as well, the last first. One that a life of the daemon leaves
//! behind is dropped by the store when the next opens it.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use crate::command::{Accepted, Refusal, Reply};
use crate::record::Record;
use crate::task::{Definition, ImportId, Owner, TaskId};
use crate::time::Timestamp;

use super::Scheduler;
use super::graph::Graph;
use super::pending::{After, Reserved};

/// Staged tasks that are dropped at once.
const DROPPED_AT_ONCE: u64 = 1000;

/// An import that has not ended.
pub(super) struct Import {
    owner: Owner,
    /// The last id it may give.
    last: TaskId,
    /// Staged tasks.
    staged: u64,
    /// The id that the next part begins with. Of this life, as all that follows.
    next: u64,
    /// Decisions about it on their way to the store.
    in_flight: usize,
    /// It is given up.
    dropped: bool,
    /// Tasks that came due.
    woken: Vec<TaskId>,
}

/// The imports that have not ended, by the first of their ids.
#[derive(Default)]
pub(super) struct Imports(BTreeMap<ImportId, Import>);

impl Imports {
    fn of(&mut self, id: TaskId) -> Option<&mut Import> {
        let (_, import) = self.0.range_mut(..=ImportId(id.0)).next_back()?;
        (id <= import.last).then_some(import)
    }

    /// Whether a task is staged.
    pub(super) fn holds(&self, id: TaskId) -> bool {
        let before = self.0.range(..=ImportId(id.0)).next_back();
        before.is_some_and(|(_, import)| id <= import.last)
    }

    /// Whether a task is staged, of this import.
    pub(super) fn is_of(&self, id: TaskId, import: ImportId) -> bool {
        let is_within = |import: &Import| id <= import.last;
        id.0 >= import.0 && self.0.get(&import).is_some_and(is_within)
    }

    /// Whether a task is staged, of an import that may still end.
    pub(super) fn may_end(&self, id: TaskId) -> bool {
        let before = self.0.range(..=ImportId(id.0)).next_back();
        before.is_some_and(|(_, import)| id <= import.last && !import.dropped)
    }

    /// A task was staged, if it is of an import.
    pub(super) fn grow(&mut self, id: TaskId) {
        if let Some(import) = self.of(id) {
            import.staged += 1;
            import.next = import.next.max(id.0 + 1);
        }
    }

    /// How many tasks are staged.
    pub(super) fn staged(&self) -> u64 {
        self.0.values().map(|import| import.staged).sum()
    }

    /// How many tasks of an owner are announced and not staged.
    pub(super) fn coming(&self, owner: Owner) -> u64 {
        let theirs = self.0.iter().filter(|(_, import)| import.owner == owner);
        theirs
            .map(|(first, import)| (import.last.0 + 1 - first.0).saturating_sub(import.staged))
            .sum()
    }

    /// Sets a task aside that came due, if it is staged.
    pub(super) fn set_aside(&mut self, id: TaskId) -> bool {
        match self.of(id) {
            Some(import) => {
                import.woken.push(id);
                true
            }
            None => false,
        }
    }

    /// A decision about an import is on its way.
    pub(super) fn reserve(&mut self, id: ImportId) {
        if let Some(import) = self.0.get_mut(&id) {
            import.in_flight += 1;
        }
    }

    /// It has arrived, or was refused.
    pub(super) fn release(&mut self, id: ImportId) {
        if let Some(import) = self.0.get_mut(&id) {
            import.in_flight -= 1;
        }
    }
}

impl Scheduler {
    // Commands.

    pub(super) fn begin_import(&mut self, owner: Owner, count: NonZeroU64) -> Result<Accepted, Refusal> {
        self.check_room(owner, count.get())?;
        let import = ImportId(self.last_task + 1);
        self.last_task += count.get();
        let begun = Record::ImportBegun {
            import,
            last: TaskId(self.last_task),
            owner,
        };
        let reserved = Reserved {
            added: Some((owner, count.get())),
            ..Reserved::default()
        };
        Ok(self.accept(vec![begun], reserved, Reply::Importing(import)))
    }

    pub(super) fn stage(
        &mut self,
        now: Timestamp,
        id: ImportId,
        definitions: Vec<Arc<Definition>>,
    ) -> Result<Accepted, Refusal> {
        let count = definitions.len() as u64;
        let import = self.imports.0.get(&id).filter(|import| !import.dropped);
        let import = import.ok_or(Refusal::NoImport(id))?;
        let (first, owner) = (import.next, import.owner);
        if first + count > import.last.0 + 1 {
            return Err(Refusal::NoImport(id));
        }
        let names = self.check_new(owner, &definitions)?;
        if let Some(import) = self.imports.0.get_mut(&id) {
            import.next += count;
        }
        let records = self.added(now, first, owner, definitions);
        let reserved = Reserved {
            names,
            import: Some(id),
            ..Reserved::default()
        };
        Ok(self.accept(records, reserved, Reply::Done))
    }

    pub(super) fn end_import(&mut self, id: ImportId) -> Result<Accepted, Refusal> {
        let import = self.settled_import(id)?;
        if import.staged != import.last.0 + 1 - id.0 {
            return Err(Refusal::NoImport(id));
        }
        Graph::check_import(self, import.owner, id, import.last)?;
        let reserved = Reserved {
            import: Some(id),
            ..Reserved::default()
        };
        Ok(self.accept(vec![Record::ImportEnded { import: id }], reserved, Reply::Done))
    }

    pub(super) fn drop_import(&mut self, id: ImportId) -> Result<Accepted, Refusal> {
        self.settled_import(id)?;
        if let Some(import) = self.imports.0.get_mut(&id) {
            import.dropped = true;
        }
        self.drop_more(id);
        self.flush();
        Ok(Accepted {
            ticket: None,
            reply: Reply::Done,
        })
    }

    /// An import about which nothing is on its way.
    fn settled_import(&self, id: ImportId) -> Result<&Import, Refusal> {
        match self.imports.0.get(&id) {
            None => Err(Refusal::NoImport(id)),
            Some(Import { dropped: true, .. }) => Err(Refusal::NoImport(id)),
            Some(Import { in_flight: 1.., .. }) => Err(Refusal::Busy),
            Some(import) => Ok(import),
        }
    }

    /// Drops the last of the staged tasks of an import that is given up, and more when that is durable.
    pub(super) fn drop_more(&mut self, id: ImportId) {
        // The next life finds the rest gone.
        let Some(import) = self.imports.0.get(&id).filter(|_| !self.life.closing) else {
            return;
        };
        let from = import.next.saturating_sub(DROPPED_AT_ONCE).max(id.0);
        self.fact(Record::ImportDropped {
            import: id,
            from: TaskId(from),
        });
        if from > id.0 {
            self.after.push(After::DropMore(id));
        }
    }

    // Records.

    pub(super) fn import_begun(&mut self, id: ImportId, last: TaskId, owner: Owner) {
        self.header.last_task = self.header.last_task.max(last.0);
        self.last_task = self.last_task.max(last.0);
        let import = Import {
            owner,
            last,
            staged: 0,
            next: id.0,
            in_flight: 0,
            dropped: false,
            woken: Vec::new(),
        };
        self.imports.0.insert(id, import);
    }

    pub(super) fn import_ended(&mut self, id: ImportId) {
        let Some(import) = self.imports.0.remove(&id) else {
            return;
        };
        for task in import.woken {
            self.queue(task);
        }
    }

    pub(super) fn import_dropped(&mut self, id: ImportId, from: TaskId) {
        let Some(import) = self.imports.0.get_mut(&id) else {
            return;
        };
        let gone = from.0..import.next;
        import.next = from.0;
        import.woken.retain(|task| *task < from);
        let mut removed = 0;
        for task in gone {
            removed += u64::from(self.tasks.contains(TaskId(task)));
            self.remove_task(TaskId(task));
        }
        if from.0 == id.0 {
            self.imports.0.remove(&id);
        } else if let Some(import) = self.imports.0.get_mut(&id) {
            import.last = TaskId(from.0 - 1);
            import.staged -= removed;
        }
    }
}
