//! The daemon log: JSON lines, one event a line, in `taskd.log` of the log directory; and the same events, short, on
//! standard error for the person or the journal that reads there.
//!
//! # Theory of operation
//!
//! ```text
//! tracing event ─▶ Lines (line.rs) ─▶ Queue (queue.rs) ─▶ writer thread ─▶ Rotating (rotate.rs) ─▶ taskd.log
//!                                  └▶ Queue            ─▶ writer thread ─▶ standard error
//! ```
//!
//! The thread that has something to say makes the line and queues it; it never waits for a disk or a terminal. When a
//! queue is full the line is lost, and so it is when the disk is. Neither is silent: lines lost are counted
//! ([`LogHandle::lost`]), and as soon as there is room again a line says how many and why. What is queued when the
//! daemon ends in order is written: dropping the [`LogHandle`] waits for it.
//!
//! A line has the fields `ts` (RFC 3339, milliseconds, UTC), `level`, `msg`, then those of the event, as numbers and
//! booleans where they are; `target` too for `debug` and `trace`. Spans are not used. Characters that a terminal obeys
//! are escaped, in the file as well: people read it with `tail -f`.
//!
//! Files are rotated by size and by day (UTC) of the lines: `taskd.log` becomes `taskd.log.1`, that `taskd.log.2`, and
//! so on up to the number of files there may be. A log file that was removed or renamed is made anew within a line or
//! two, so outside rotation works too, with SIGHUP or without.

mod echo;
mod line;
mod queue;
mod rotate;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tracing::Subscriber;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;

pub use self::echo::Echo;
use self::line::Lines;
use self::queue::{Account, Queue};
use self::rotate::{Bounds, Rotating, Wishes};
use crate::config::LogConfig;

/// Lines that may wait for the disk. A burst of run ends fits many times over; the memory is about 1 MiB when idle.
const QUEUED_LINES: usize = 32_768;
/// Lines that may wait for standard error, which may be a terminal that somebody has stopped.
const QUEUED_ECHOES: usize = 1024;
/// How long the end of the daemon waits for the disk.
const LAST_LINES: Duration = Duration::from_secs(5);
/// How long it waits for whoever reads standard error.
const LAST_ECHOES: Duration = Duration::from_secs(1);

/// How often it is tried to be the only one to write there, and how long between two tries.
const ATTEMPTS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// Where the log goes and by what it is bounded.
#[derive(Clone, Debug)]
pub struct Options {
    /// Level and bounds.
    pub config: LogConfig,
    /// How events appear on standard error.
    pub echo: Echo,
    /// Milliseconds since the epoch, UTC.
    pub clock: fn() -> i64,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be opened for writing.
    #[error("cannot write the daemon log {}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Two that turn over the same files lose lines.
    #[error("another taskd writes its log in {}; give this one a directory of its own with --log-dir", dir.display())]
    Shared {
        /// The directory.
        dir: PathBuf,
    },
    /// The process logs to somewhere else already.
    #[error("the process has a log already")]
    Taken,
}

/// Opens the log in `dir`, which exists, and sends all events of the process there from now on.
///
/// # Errors
/// [`LogError`] when the file cannot be opened, or the process has a log.
pub fn init(dir: &Path, options: Options) -> Result<LogHandle, LogError> {
    let (subscriber, handle) = open(dir, options)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Taken)?;
    Ok(handle)
}

fn open(dir: &Path, options: Options) -> Result<(impl Subscriber + Send + Sync, LogHandle), LogError> {
    let path = dir.join("taskd.log");
    let alone = alone(dir)?;
    let wishes = Arc::new(Wishes::new(Bounds::of(&options.config)));
    let file = Rotating::open(path.clone(), Arc::clone(&wishes)).map_err(|source| LogError::Unwritable {
        path: path.clone(),
        source,
    })?;
    let (file, file_guard) = Queue::new(file, QUEUED_LINES, "log");
    let (echo, echo_guard) = match options.echo {
        Echo::Off => (None, None),
        Echo::Plain | Echo::Journal => {
            let (queue, guard) = Queue::new(options.echo.sink(io::stderr()), QUEUED_ECHOES, "log-stderr");
            (Some(queue), Some(guard))
        }
    };
    let (filter, level) = reload::Layer::new(options.config.level);
    let handle = LogHandle {
        path,
        wishes,
        level,
        account: file.account(),
        echo_account: echo.as_ref().map(Queue::account),
        _guards: (file_guard, echo_guard),
        _alone: alone,
    };
    let lines = Lines::new(options.clock, file, echo.map(|queue| (options.echo, queue)));
    Ok((tracing_subscriber::registry().with(filter).with(lines), handle))
}

/// The open log. Dropping it writes what is queued.
pub struct LogHandle {
    path: PathBuf,
    wishes: Arc<Wishes>,
    level: reload::Handle<LevelFilter, Registry>,
    account: Arc<Account>,
    echo_account: Option<Arc<Account>>,
    // Fields are dropped after `Drop::drop` has waited for the queues; these end the threads.
    _guards: (queue::Guard, Option<queue::Guard>),
    /// Keeps others away; after the last line.
    _alone: Option<File>,
}

/// Takes the directory for this process alone; nothing where the file system knows no locks.
fn alone(dir: &Path) -> Result<Option<File>, LogError> {
    // Where there is no directory, that is told with the file.
    let Ok(directory) = File::open(dir) else {
        return Ok(None);
    };
    for _ in 0..ATTEMPTS {
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(directory)),
            // One that is ending writes its last lines.
            Err(Errno::WOULDBLOCK) => std::thread::sleep(PAUSE),
            Err(_) => return Ok(None),
        }
    }
    Err(LogError::Shared { dir: dir.to_owned() })
}

impl LogHandle {
    /// The file that is written now.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many lines did not reach the file since the daemon started.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.account.lost()
    }

    /// Takes over level and bounds, not the rest, and opens the file again if another stands in its place.
    pub fn reload(&self, options: Options) {
        let Options { config, .. } = options;
        self.wishes.renew(Bounds::of(&config));
        // It fails only when the subscriber is gone, and with it all who could notice.
        let _ = self.level.reload(config.level);
    }

    /// Waits until everything said so far is written or given up, but not for ever.
    pub fn flush(&self) {
        self.account.wait(LAST_LINES);
        if let Some(echo) = &self.echo_account {
            echo.wait(LAST_ECHOES);
        }
    }
}

impl Drop for LogHandle {
    fn drop(&mut self) {
        self.flush();
        self.account.end();
        if let Some(echo) = &self.echo_account {
            echo.end();
        }
    }
}

#[cfg(test)]
mod tests;
