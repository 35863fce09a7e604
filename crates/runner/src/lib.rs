//! What runs: the process that holds the children of `taskd`. It starts what it is told, keeps what they write, stops
//! them when told, and hands over what became of them. It has no schedule, no store and no policy.
//!
//! # Theory of operation
//!
//! A runner is two processes of the same program, and their launchers. The [`guard()`] does nothing but wait: it adopts
//! the orphans of runs, and when the [`worker()`], its child, has ended, it kills everything that is left below it. So a
//! worker that crashes leaves nothing behind, not even what has made itself a session of its own. The worker dies with
//! the guard, and its children with the worker, by the kernel's hand; and a new runner of the same state directory
//! begins by ending what carries the mark of an earlier one. What runs is always known to a living runner.
//!
//! The worker is one loop on one thread, and two threads that start children and do what else takes long. An attempt's
//! whole life is in `attempt`, a machine of states without any system call; the loop in `worker` turns what happens
//! into its events and its actions into system calls.
//!
//! The *launchers* clone the children in the worker's stead, one for each thread: what the kernel counts as the memory
//! of a child is never less than that of its cloner, and they were forked when the worker was small. They and the
//! children are the worker's own children. A launcher that is killed takes no run with it and is replaced; see
//! `sys::launcher`.
//!
//! * **Start.** A frame comes, the loop hands it to a thread (`spawner`), which makes everything ready (`spawn`) and
//!   has its launcher clone without copying memory. Errors up to the exec come back as such.
//! * **Output.** Both pipes are read as they fill and go to one file an attempt, made with the first byte, head and
//!   tail past the cap: see [`output_path`].
//! * **End.** It is the end of the first process. Its process group is killed while its zombie still holds the id, what
//!   is in the pipes is read, the zombie is reaped. Who holds the pipe open does not matter.
//! * **Stop.** TERM to the process group and to what has left it, KILL when the grace is over; the deadline is the
//!   runner's own. After a stop nothing is left of an attempt, wherever it has gone; after an end of its own accord,
//!   what has made itself a session of its own goes on until the runner ends.
//! * **Results** are kept until the daemon acknowledges them, on disk while no daemon is there (`results`).
//! * **Connections.** The daemon that attaches last is the one (`server`). It is told first what lives and what has
//!   ended, and that is the whole truth: what an earlier connection sent is taken in or dropped before.
//!
//! The state directory holds `runner.lock`, `output/` and `spool/`. One runner at a time works there.

mod attempt;
mod clock;
mod guard;
mod inventory;
mod notify;
mod output;
mod pipes;
mod place;
mod results;
mod roster;
mod server;
mod spawn;
mod spawner;
mod sweep;
mod sys;
mod worker;

use std::io;
use std::path::PathBuf;

pub use guard::guard;
pub use output::output_path;
pub use sys::{close_inherited, close_inherited_on_exec, give_back_memory};
pub use worker::worker;

/// Where a runner works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The state directory; made if it is not there.
    pub state_dir: PathBuf,
    /// The socket that daemons connect to.
    pub socket: PathBuf,
}

/// Why a runner cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// Another runner works in the same state directory.
    #[error("another runner works in {}", path.display())]
    Locked {
        /// The state directory.
        path: PathBuf,
    },
    /// A directory cannot be made, read or locked.
    #[error("cannot use {}: {source}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The socket cannot be opened.
    #[error("cannot listen at {}: {source}", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The guard had ended before the worker began.
    #[error("the guard of this worker is gone")]
    Orphaned,
    /// The system refused something that it never should.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl RunnerError {
    fn system(what: &'static str, errno: rustix::io::Errno) -> Self {
        RunnerError::System {
            what,
            source: errno.into(),
        }
    }
}
