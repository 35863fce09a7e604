//! The log (WAL) is taken into the database beside the writer, so that no commit pays for it: passively, by a thread
//! of its own, once enough is in the log. Under constant writes that alone never lets the log start anew, and it
//! would grow without end; so past a bound the writer itself takes in all of it and cuts it down.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;

use crate::connection;
use crate::error::Fault;
use crate::open::Names;

/// Bytes in the log, not yet taken in, from which the thread takes them in.
const PASSIVE_BYTES: u64 = 8 << 20;
/// Bytes in the log from which the writer cuts it down.
const TRUNCATE_BYTES: u64 = 64 << 20;
/// By how much the log may grow before the writer tries again, when a reader stood in the way.
const RETRY_BYTES: u64 = 4 << 20;
/// By how much it may grow while the thread takes in the bulk of a log that grew at once, as by an import.
const BULK_BYTES: u64 = 32 << 20;
/// How long the writer waits for a reader that stands in the way.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long a writer waits at the end.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// Decides after each commit what becomes of the log.
pub(crate) struct Checkpoints {
    log: PathBuf,
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    truncate_at: u64,
    /// The thread has been left the bulk of a long log.
    bulk_left: bool,
}

impl Checkpoints {
    /// Starts the thread, which sleeps until there is work.
    pub(crate) fn start(names: &Names) -> Result<Self, Fault> {
        let db = connection::checkpointer(&names.file)?;
        let (wake, woken) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || take_in(&db, &woken))
            .map_err(|error| Fault::Unfit(format!("no thread for checkpoints: {error}")))?;
        Ok(Checkpoints {
            log: names.log.clone(),
            wake: Some(wake),
            thread: Some(thread),
            truncate_at: TRUNCATE_BYTES,
            bulk_left: false,
        })
    }

    /// To be called after each commit, when it is answered. A failure shows at the next commit, if it matters.
    pub(crate) fn after_commit(&mut self, db: &Connection) {
        // The log's file keeps its length when it starts anew, so its length alone says too much.
        let length = std::fs::metadata(&self.log).map_or(0, |log| log.len());
        if length < PASSIVE_BYTES {
            return;
        }
        let Ok(log) = checkpoint(db, "NOOP") else { return };
        if log.bytes < TRUNCATE_BYTES {
            self.reset();
        }
        if log.bytes < self.truncate_at {
            if log.waiting >= PASSIVE_BYTES {
                self.wake();
            }
        } else if log.waiting > PASSIVE_BYTES && !self.bulk_left {
            self.bulk_left = true;
            self.truncate_at = log.bytes + BULK_BYTES;
            self.wake();
        } else if truncate(db, PATIENCE) {
            self.reset();
        } else {
            self.truncate_at = log.bytes + RETRY_BYTES;
        }
    }

    fn reset(&mut self) {
        self.truncate_at = TRUNCATE_BYTES;
        self.bulk_left = false;
    }

    fn wake(&self) {
        if let Some(wake) = &self.wake {
            // If it has been woken already, that is enough.
            let _ = wake.try_send(());
        }
    }

    /// Ends the thread and takes in what is left.
    pub(crate) fn finish(mut self, db: &Connection) {
        self.stop();
        truncate(db, LAST_PATIENCE);
    }

    fn stop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // It cannot have panicked; if it has, there is nothing to add to what it said.
            let _ = thread.join();
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.stop();
    }
}

fn take_in(db: &Connection, woken: &Receiver<()>) {
    while woken.recv().is_ok() {
        // A failure leaves it in the log, and the next call tries again.
        let _ = checkpoint(db, "PASSIVE");
    }
}

/// Whether the log is empty afterwards.
fn truncate(db: &Connection, patience: Duration) -> bool {
    let done = db
        .busy_timeout(patience)
        .map_err(Fault::from)
        .and_then(|()| checkpoint(db, "TRUNCATE"))
        .is_ok_and(|log| !log.busy);
    // It only fails on a closed connection.
    let _ = db.busy_timeout(connection::WRITER_BUSY);
    done
}

/// Takes in all of the log, which then begins anew.
pub(crate) fn all(db: &Connection) -> Result<(), Fault> {
    if checkpoint(db, "TRUNCATE")?.busy {
        let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        return Err(rusqlite::Error::SqliteFailure(busy, None).into());
    }
    Ok(())
}

struct Log {
    busy: bool,
    bytes: u64,
    waiting: u64,
}

fn checkpoint(db: &Connection, mode: &str) -> Result<Log, Fault> {
    /// Of a page, with its header in the log.
    const FRAME: u64 = 4096 + 24;
    let (busy, frames, done): (i64, i64, i64) = db
        .prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let frames = u64::try_from(frames).unwrap_or(0);
    let done = u64::try_from(done).unwrap_or(0);
    Ok(Log {
        busy: busy != 0,
        bytes: frames * FRAME,
        waiting: frames.saturating_sub(done) * FRAME,
    })
}
