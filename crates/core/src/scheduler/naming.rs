//! Who names whom: tasks by the names of those that they come after, or require.

use std::collections::{BTreeMap, BTreeSet};

use crate::task::{Owner, TaskId, TaskName};

use super::tasks::NameKey;

/// Tasks by a name that their definitions hold. Names that none holds are not in it.
#[derive(Default)]
pub(super) struct Naming(BTreeMap<NameKey, BTreeSet<TaskId>>);

impl Naming {
    /// The tasks that name this one.
    pub(super) fn by(&self, owner: Owner, name: &TaskName) -> impl Iterator<Item = TaskId> + '_ {
        let key = NameKey {
            owner,
            name: name.clone(),
        };
        self.0.get(&key).into_iter().flatten().copied()
    }

    /// The tasks of an owner that name others, those of the first name first; one that names several comes several times.
    pub(super) fn all(&self, owner: Owner) -> impl Iterator<Item = TaskId> + '_ {
        let theirs = self.0.iter().filter(move |(key, _)| key.owner == owner);
        theirs.flat_map(|(_, tasks)| tasks.iter().copied())
    }

    /// A task names these from now on.
    pub(super) fn link<'a>(&mut self, id: TaskId, owner: Owner, names: impl Iterator<Item = &'a TaskName>) {
        for name in names {
            let name = name.clone();
            self.0.entry(NameKey { owner, name }).or_default().insert(id);
        }
    }

    /// A task names these no more.
    pub(super) fn unlink<'a>(&mut self, id: TaskId, owner: Owner, names: impl Iterator<Item = &'a TaskName>) {
        for name in names {
            let name = name.clone();
            let key = NameKey { owner, name };
            if let Some(theirs) = self.0.get_mut(&key) {
                theirs.remove(&id);
                if theirs.is_empty() {
                    self.0.remove(&key);
                }
            }
        }
    }
}
