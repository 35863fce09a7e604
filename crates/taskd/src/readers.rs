//! Connections to the store for reading, shared by those who ask. Reading blocks, so it is done on threads for that.

use std::sync::{Arc, Mutex, PoisonError};

use taskd_store::{ReadError, Reader};
use taskd_wire::refusal::Refusal;

/// How many idle connections are kept.
const KEPT: usize = 4;

/// A pool of readers.
#[derive(Clone)]
pub(crate) struct Readers {
    store: taskd_store::Readers,
    idle: Arc<Mutex<Vec<Reader>>>,
}

impl Readers {
    pub(crate) fn new(store: taskd_store::Readers) -> Self {
        Readers {
            store,
            idle: Arc::default(),
        }
    }

    /// Bytes of the store on disk. Asks the file system alone, so it may be asked from anywhere.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.store.size_bytes()
    }

    /// Reads something.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`] with what the store said.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let readers = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let idle = readers.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let reader = match idle {
                Some(reader) => reader,
                None => readers.store.open()?,
            };
            let result = read(&reader);
            let mut idle = readers.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if result.is_ok() && idle.len() < KEPT {
                idle.push(reader);
            }
            result
        });
        match done.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Refusal::StoreUnavailable {
                reason: error.to_string(),
            }),
            Err(error) => Err(Refusal::Internal {
                what: format!("a reader ended: {error}"),
            }),
        }
    }
}
