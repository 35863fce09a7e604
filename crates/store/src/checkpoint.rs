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
/// By how much the log may grow before the writer tries again, when a reader stood in the way; twice as much each time,
/// so that one who reads for hours costs a few waits in all.
const RETRY_BYTES: u64 = 4 << 20;
/// By how much it may grow while the thread takes in the bulk of a log that grew at once, as by an import.
const BULK_BYTES: u64 = 32 << 20;
/// How long the writer waits for a reader that stands in the way. Without any wait readers that come and go, each for a
/// moment, could put it off for ever; those that begin while it waits are not in the way.
const PATIENCE: Duration = Duration::from_millis(10);
/// Bytes before each page in the log.
const FRAME_HEADER: u64 = 24;
/// How long a writer waits at the end.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// Decides after each commit what becomes of the log.
pub(crate) struct Checkpoints {
    log: PathBuf,
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Bytes of a page in the log, with its header.
    frame: u64,
    bounds: Bounds,
}

impl Checkpoints {
    /// Starts the thread, which sleeps until there is work.
    pub(crate) fn start(names: &Names) -> Result<Self, Fault> {
        let db = connection::checkpointer(&names.file)?;
        let page: i64 = db.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let page = page.cast_unsigned();
        let (wake, woken) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || take_in(&db, &woken))
            .map_err(|error| Fault::Unfit(format!("no thread for checkpoints: {error}")))?;
        Ok(Checkpoints {
            log: names.log.clone(),
            wake: Some(wake),
            thread: Some(thread),
            frame: page + FRAME_HEADER,
            bounds: Bounds::new(),
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
        let bytes = log.frames * self.frame;
        match self.bounds.step(bytes, log.waiting * self.frame) {
            Step::Nothing => {}
            Step::TakeIn => self.wake(),
            Step::Truncate if truncate(db, PATIENCE) => self.bounds = Bounds::new(),
            Step::Truncate => self.bounds.put_off(bytes),
        }
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

/// What a checkpoint tells of the log.
struct Log {
    busy: bool,
    /// Pages in it.
    frames: u64,
    /// Those not yet taken in.
    waiting: u64,
}

fn checkpoint(db: &Connection, mode: &str) -> Result<Log, Fault> {
    let (busy, frames, done): (i64, i64, i64) = db
        .prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let frames = u64::try_from(frames).unwrap_or(0);
    let done = u64::try_from(done).unwrap_or(0);
    Ok(Log {
        busy: busy != 0,
        frames,
        waiting: frames.saturating_sub(done),
    })
}

/// What is to be done about the log.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    /// The thread takes it in.
    TakeIn,
    /// The writer takes it in and cuts it down.
    Truncate,
}

/// From where on the log is cut down.
struct Bounds {
    truncate_at: u64,
    retry: u64,
    /// The thread has been left the bulk of a long log.
    bulk_left: bool,
}

impl Bounds {
    fn new() -> Self {
        Bounds {
            truncate_at: TRUNCATE_BYTES,
            retry: RETRY_BYTES,
            bulk_left: false,
        }
    }

    fn step(&mut self, bytes: u64, waiting: u64) -> Step {
        if bytes < TRUNCATE_BYTES {
            *self = Bounds::new();
        }
        if bytes < self.truncate_at {
            return if waiting < PASSIVE_BYTES {
                Step::Nothing
            } else {
                Step::TakeIn
            };
        }
        if waiting > PASSIVE_BYTES && !self.bulk_left {
            self.bulk_left = true;
            self.truncate_at = bytes + BULK_BYTES;
            return Step::TakeIn;
        }
        Step::Truncate
    }

    /// A reader stood in the way of a truncation.
    fn put_off(&mut self, bytes: u64) {
        self.truncate_at = bytes + self.retry;
        self.retry = self.retry.saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use super::{Bounds, Step, TRUNCATE_BYTES};

    const MIB: u64 = 1 << 20;

    /// How often the writer tries while the log grows by a MiB a commit and nobody lets it be cut down.
    fn tries(log: u64, waiting: impl Fn(u64) -> u64) -> u32 {
        let mut bounds = Bounds::new();
        let mut tries = 0;
        for bytes in (1..=log).map(|mib| mib * MIB) {
            if bounds.step(bytes, waiting(bytes)) == Step::Truncate {
                tries += 1;
                bounds.put_off(bytes);
            }
        }
        tries
    }

    #[test]
    fn a_reader_in_the_way_costs_few_waits() {
        assert_eq!(tries(63, |_| 0), 0);
        // Of one that reads from the log, and of one that keeps it from being taken in.
        for waiting in [|_| 0, |bytes| bytes] {
            let tries = tries(8 * 1024, waiting);
            assert!((5..=12).contains(&tries), "{tries}");
        }
    }

    #[test]
    fn a_log_that_was_cut_down_is_cut_down_again_as_early() {
        let mut bounds = Bounds::new();
        bounds.put_off(TRUNCATE_BYTES);
        bounds.put_off(2 * TRUNCATE_BYTES);
        assert_eq!(bounds.step(MIB, 0), Step::Nothing);
        assert_eq!(bounds.step(TRUNCATE_BYTES, 0), Step::Truncate);
    }
}
