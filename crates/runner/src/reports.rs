//! What the threads have done, on its way to the loop.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::EventfdFlags;

use taskd_wire::runner::Used;

use crate::output::{Sealed, Watch};
use crate::spawn::{Child, SpawnError};
use crate::sweep::Sought;

/// What a thread has done. `id` is the loop's name for an attempt.
#[derive(Debug)]
pub(crate) enum Report {
    Spawned {
        id: u64,
        child: Child,
        at_ms: i64,
    },
    NotSpawned {
        id: u64,
        error: SpawnError,
        at_ms: i64,
    },
    GateClosed {
        id: u64,
        reading: String,
        at_ms: i64,
    },
    Sought {
        id: u64,
        sought: Sought,
    },
    /// An output was put together.
    Sealed {
        id: u64,
        sealed: Sealed,
    },
    Looked {
        id: u64,
        watch: Watch,
    },
    /// What attempts in progress use.
    Used {
        used: Vec<Used>,
        at_us: u64,
    },
}

/// Those that the loop has not taken yet.
#[derive(Debug)]
pub(crate) struct Reports {
    list: Mutex<Vec<Report>>,
    /// Readable when there are any.
    bell: OwnedFd,
}

impl Reports {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Reports {
            list: Mutex::default(),
            bell: rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    pub(crate) fn push(&self, report: Report) {
        let mut list = lock(&self.list);
        list.push(report);
        if list.len() == 1 {
            self.ring();
        }
    }

    /// Has the loop look how things are.
    pub(crate) fn ring(&self) {
        // Cannot fail: the counter is far from full.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    /// Moves them into `reports`.
    pub(crate) fn take(&self, reports: &mut Vec<Report>) {
        // An error says that the bell did not ring.
        let _ = rustix::io::read(&self.bell, &mut [0_u8; 8]);
        reports.append(&mut lock(&self.list));
    }
}

impl AsFd for Reports {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

/// A panic elsewhere leaves a list or a queue as whole as it was.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
