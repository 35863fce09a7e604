//! What taskd keeps: definitions, marks, runs and the ledger, in one SQLite database.
//!
//! # Theory of operation
//!
//! The core changes only through [records](taskd_core::record). A batch of records is one transaction over ordinary
//! tables, and loading the tables gives the state that replaying all records gives. People may look inside with
//! `sqlite3 store.db`, also while the daemon runs.
//!
//! [`Store::open`] takes the lock of the state directory, checks what lies there, and gives the state to load. A store
//! that is damaged, of a newer version, or lost is refused with the file and the cure; it is never taken for a new one.
//!
//! [`Store::writer`] gives a handle to the one thread that writes. It commits what waits in groups, with one wait for the
//! disk a group, and answers a batch once that is durable. A failure refuses the batch and nothing else; it is never
//! half there, and handing it over again never makes it hold twice (see the module `session`).
//!
//! [`Store::reader`] gives connections that read beside the writer: definitions, history in pages by key, the ledger.
//!
//! After a commit, and only then, the writer may prune history and output to their [`Limits`], a few rows at a time,
//! and has the log taken into the database. An idle daemon is never woken by its store, and no time that is kept is read
//! from a clock here: it is what the records tell.
//!
//! # What damage is found, and when
//!
//! At opening: a database that is missing, short, of another program, or (up to 128 MiB) damaged in the structure of any
//! page; of any size, a task whose columns are not what was written, and a missing task. On reading a definition: one that
//! is not what was written. On reading history: a page damaged in its structure. A log that was cut or damaged gives
//! the state of its last whole transaction, as after a crash. What has no sum is the value of a single number in marks,
//! runs, ledger and what is not of one task; it refuses no commit. [`Reader::check`] looks at everything.
//!
//! # Where attempts are
//!
//! Most runs have one attempt, and what is known of the newest stands in the run's row: half the writes. Those before it, which
//! another one followed, are in a table of their own.

mod apply;
mod attempts;
mod calendars;
mod changes;
mod checkpoint;
mod columns;
mod connection;
mod dependencies;
mod error;
mod firings;
mod histories;
mod history;
mod inbox;
mod leftover;
mod load;
mod lock;
mod open;
mod pools;
mod prune;
mod reader;
mod schema;
mod session;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle};

use taskd_core::run::AttemptKey;
use taskd_core::snapshot::Rest;

pub use attempts::AttemptRow;
pub use changes::{CHANGES_MAX, Change, ChangeKind, LIVES_MAX, Lifetime};
pub use columns::StoredTask;
pub use error::{CommitError, Kind, OpenError, ReadError};
pub use history::{Cursor, LargeOutput, Overridden, RunQuery, RunRow, Select, Span, State};
pub use load::Tasks;
pub use prune::{Limits, RemoveOutput};
pub use reader::{LastFinished, Reader, Readers};
pub use writer::{Batch, Done, NotCommitted, Writer};

use checkpoint::Checkpoints;
use error::Fault;
use lock::Lock;
use open::Names;
use prune::Pruner;
use session::Session;
use writer::{Committer, Request};

/// Tells how many bytes the output of an attempt takes on disk. It is called on the writer's thread.
pub type OutputSize = Box<dyn Fn(AttemptKey) -> Option<u64> + Send>;

/// What a store is opened with.
pub struct Options {
    /// The state directory. It is made, for its owner alone, if it is not there.
    pub dir: PathBuf,
    /// How much is kept.
    pub limits: Limits,
    /// Removes the output of runs that are pruned; `None` leaves it.
    pub remove_output: Option<RemoveOutput>,
    /// Tells the size of output on disk; `None` takes the bytes the command wrote, less those that were not kept.
    pub output_size: Option<OutputSize>,
}

impl Options {
    /// The defaults for a state directory.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Options {
            dir: dir.into(),
            limits: Limits::default(),
            remove_output: None,
            output_size: None,
        }
    }
}

/// A store that was opened, and the state it holds.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// The tasks, to be read by `&mut`; what was made of them may be believed once [`Tasks::finish`] says so.
    pub tasks: Tasks,
    /// The state but for the tasks.
    pub rest: Rest,
}

/// An open store. While it lives, no other process opens the same state directory.
#[derive(Debug)]
pub struct Store {
    requests: inbox::Sender,
    file: Arc<Path>,
    thread: Option<JoinHandle<Result<(), CommitError>>>,
    _lock: Lock,
}

impl Store {
    /// Opens the store of a state directory, and makes it if there never was one.
    ///
    /// # Errors
    /// [`OpenError`] names the file, what is wrong with it, and what to do.
    pub fn open(options: Options) -> Result<Opened, OpenError> {
        let names = Names::of(&options.dir);
        let checked = open::open(&names)?;
        let file: Arc<Path> = names.file.as_path().into();
        let mut session = Session::new(checked.db).map_err(|fault| fault.open(&file, "reading the state"))?;
        let leftover = match leftover::drop_imports(&mut session) {
            Ok(()) => false,
            Err(fault) if fault.commit(&file).kind == Kind::Full => true,
            Err(fault) => return Err(fault.open(&file, "removing an unfinished import")),
        };
        let refused = Arc::new(AtomicBool::new(false));
        let loaded = connection::reader(&file)
            .and_then(|db| load::load(db, names.file.clone(), Arc::clone(&refused)))
            .map_err(|fault| fault.open(&file, "reading the state"))?;
        let started = |fault: Fault| fault.open(&file, "start");
        let committer = Committer {
            session,
            file: Arc::clone(&file),
            checkpoints: Checkpoints::start(&names).map_err(started)?,
            pruner: Pruner::new(options.limits, options.remove_output),
            output_size: options.output_size,
            held: None,
            leftover,
            refused,
        };
        let (requests, received) = inbox::inbox();
        let thread = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || committer.run(&received))
            .map_err(|error| started(Fault::Unfit(format!("no thread to write: {error}"))))?;
        Ok(Opened {
            store: Store {
                requests,
                file,
                thread: Some(thread),
                _lock: checked.lock,
            },
            tasks: loaded.tasks,
            rest: loaded.rest,
        })
    }

    /// A handle to the thread that writes.
    #[must_use]
    pub fn writer(&self) -> Writer {
        Writer::new(self.requests.clone(), Arc::clone(&self.file))
    }

    /// What opens readers on other threads.
    #[must_use]
    pub fn readers(&self) -> Readers {
        Readers {
            file: Arc::clone(&self.file),
        }
    }

    /// A connection that reads.
    ///
    /// # Errors
    /// When the database cannot be opened.
    pub fn reader(&self) -> Result<Reader, ReadError> {
        self.readers().open()
    }

    /// Writes and answers what was handed over before, refuses what comes after, takes the log into the database, and
    /// gives the directory free.
    ///
    /// # Errors
    /// When the database cannot be closed in good order; every answer given still holds.
    pub fn close(mut self) -> Result<(), CommitError> {
        self.stop()
    }

    fn stop(&mut self) -> Result<(), CommitError> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        // A thread that has ended already has nothing left to close.
        self.requests.send(Request::Close);
        thread.join().unwrap_or_else(|_| {
            Err(CommitError {
                kind: Kind::Closed,
                text: format!("{}: the thread that writes has panicked", self.file.display()),
            })
        })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Whoever wants to know calls `close`.
        let _ = self.stop();
    }
}
