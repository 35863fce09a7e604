//! The actions of tasks that may start soon, at hand, so that a start reads nothing from the disk.

use std::collections::HashMap;
use std::sync::Arc;

use taskd_core::process::Stdin;
use taskd_core::task::{Action, Definition, TaskId};
use taskd_store::{ReadError, Reader};

/// How many actions a generation holds. Two generations are kept.
const GENERATION: usize = 8192;

/// About how many bytes of actions a generation holds.
const GENERATION_BYTES: usize = 16 << 20;

/// How many are read at once.
const READ: usize = 256;

/// Definitions read from the store, the lately used ones kept.
pub(super) struct Actions {
    reader: Reader,
    young: HashMap<TaskId, Arc<Definition>>,
    old: HashMap<TaskId, Arc<Definition>>,
    /// Bytes in the young generation.
    bytes: usize,
}

impl Actions {
    pub(super) fn new(reader: Reader) -> Self {
        Actions {
            reader,
            young: HashMap::new(),
            old: HashMap::new(),
            bytes: 0,
        }
    }

    /// Reads what is not at hand yet.
    pub(super) fn prepare(&mut self, ids: &[TaskId]) -> Result<(), ReadError> {
        let missing: Vec<TaskId> = ids.iter().copied().filter(|id| self.at_hand(*id).is_none()).collect();
        for some in missing.chunks(READ) {
            for (id, task) in self.reader.definitions(some)? {
                self.keep(id, Arc::new(task.definition));
            }
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
        if self.young.len() >= GENERATION || self.bytes >= GENERATION_BYTES {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.bytes += size_of::<Definition>() + text_bytes(&definition);
        self.young.insert(id, definition);
    }
}

/// Bytes of the texts of a definition that may be long.
fn text_bytes(definition: &Definition) -> usize {
    let action: usize = match &definition.action {
        Action::Exec { argv } => argv.iter().map(|text| size_of::<String>() + text.len()).sum(),
        Action::Shell { line } => line.len(),
    };
    let var = |(name, value): &(String, String)| 2 * size_of::<String>() + name.len() + value.len();
    let env: usize = definition.env.iter().map(var).sum();
    let description = definition.description.as_ref().map_or(0, String::len);
    let stdin = match &definition.process.stdin {
        Some(Stdin::Text { text }) => text.len(),
        Some(Stdin::File { .. }) | None => 0,
    };
    let masks: usize = definition.output.mask.iter().map(String::len).sum();
    let only_if = definition.gates.only_if.as_ref().map_or(0, String::len);
    action + env + description + stdin + masks + only_if
}
