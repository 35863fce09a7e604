//! The actions of tasks that may start soon, at hand, so that a start reads nothing from the disk.

use std::collections::HashMap;
use std::sync::Arc;

use taskd_core::task::{Definition, TaskId};
use taskd_store::{ReadError, Reader};

/// How many actions a generation holds. Two generations are kept.
const GENERATION: usize = 8192;

/// Definitions read from the store, the lately used ones kept.
pub(super) struct Actions {
    reader: Reader,
    young: HashMap<TaskId, Arc<Definition>>,
    old: HashMap<TaskId, Arc<Definition>>,
}

impl Actions {
    pub(super) fn new(reader: Reader) -> Self {
        Actions {
            reader,
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    /// Reads what is not at hand yet.
    pub(super) fn prepare(&mut self, ids: &[TaskId]) -> Result<(), ReadError> {
        let missing: Vec<TaskId> = ids.iter().copied().filter(|id| self.at_hand(*id).is_none()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        for (id, task) in self.reader.definitions(&missing)? {
            self.keep(id, Arc::new(task.definition));
        }
        Ok(())
    }

    /// The definition of a task; `None` when the store has none.
    pub(super) fn get(&mut self, id: TaskId) -> Result<Option<Arc<Definition>>, ReadError> {
        if let Some(found) = self.at_hand(id) {
            return Ok(Some(found));
        }
        self.prepare(&[id])?;
        Ok(self.at_hand(id))
    }

    /// The definition has changed.
    pub(super) fn forget(&mut self, id: TaskId) {
        self.young.remove(&id);
        self.old.remove(&id);
    }

    fn at_hand(&mut self, id: TaskId) -> Option<Arc<Definition>> {
        if let Some(found) = self.young.get(&id) {
            return Some(Arc::clone(found));
        }
        let found = self.old.remove(&id)?;
        self.keep(id, Arc::clone(&found));
        Some(found)
    }

    fn keep(&mut self, id: TaskId, definition: Arc<Definition>) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, definition);
    }
}
