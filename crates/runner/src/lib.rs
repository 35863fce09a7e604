//! What runs: the process that holds the children of `taskd`. It starts what it is told, keeps what they write, stops
//! them when told, and hands over what became of them. It has no schedule, no store and no policy.
//!
//! # Theory of operation
//!
//! A runner is two processes of the same program, and their launchers. The [`guard()`] does nothing but wait: it adopts
//! the orphans of runs, and when the [`worker()`], its child, has ended, it kills everything that is left below it. So a
//! worker that crashes leaves nothing behind, not even what has made itself a session of its own. The worker dies with
//! the guard, and its children with the worker, by the kernel's hand; and a new runner of the same state directory
//! begins by ending what was under way when both were killed (`underway`), and tells the daemon what had begun and of which
//! nobody knows the end. What runs is always known to a living runner.
//!
//! The worker is one loop on one thread, two threads that start children (`spawner`), and one that looks for processes
//! and puts large outputs together (`ender`). The loop waits for none of them, and for nothing but the disks that output
//! and results go to. An attempt's whole life is in `attempt`, a machine of states without any system call; the loop in
//! `worker` turns what happens into its events and its actions into system calls.
//!
//! The *launchers* clone the children in the worker's stead, one for each thread: what the kernel counts as the memory
//! of a child is never less than that of its cloner, and they were forked when the worker was small. They and the
//! children are the worker's own children. A launcher that is killed takes no run with it and is replaced; see
//! `sys::launcher`.
//!
//! * **Start.** A frame comes, the loop hands it to a thread (`spawner`), which makes everything ready (`spawn`) and
//!   has its launcher clone without copying memory. Where many are to be started some go together, and one that hangs does
//!   not keep the others (`spawn::batch`). Errors up to the exec come back as such. Where it has gates these are looked at
//!   before: `worker::gating`.
//! * **Output.** Both pipes are read as they fill and go to one file an attempt, made with the first byte, head and
//!   tail past the cap: see [`output_path`]. A task may have its command write a file itself, or have nothing kept; then
//!   there are no pipes.
//! * **End.** It is the end of the first process. What it leaves behind ends with it: orphans come to the guard, so
//!   while that has none there is nothing to look for; else `sweep` finds them and they are killed while the zombie of
//!   the first process still holds the id of their group. Then what is in the pipes is read and the zombie is reaped.
//!   Who holds the pipe open does not matter. Where a task wants it so what is left goes on, until the runner ends.
//! * **Stop.** TERM to the process group and to what has left it. The attempt is over when all of these have ended, and
//!   what is left when the grace is over is killed; the deadline is the runner's own. What is reported is how the first
//!   process ended. A start that hangs is given up shortly after the grace.
//! * **What belongs to a run** is what is in the control group of its attempt (`cgroups`), has its process group, its
//!   session, its mark in the environment, or a parent that belongs to it. Where no control groups can be made, a process
//!   that has rid itself of all the others is not known to its run; it ends with the runner.
//! * **Results** are kept until the daemon acknowledges them, on disk while no daemon is there (`results`).
//! * **Connections.** The daemon that attaches last is the one (`server`). It is told first what lives and what has
//!   ended, and that is the whole truth: what an earlier connection sent is taken in or dropped before.
//!
//! * **Scarcity.** Without room output is lost, counted and marked; results stay in memory until they can be written.
//!   Starts are refused before descriptors get so few that the runner could not be commanded any more.
//!
//! * **Names.** The lock and the socket are made anew when somebody takes them away (`place`).
//!
//! The state directory holds `runner.lock`, `runner.id`, `runner.live`, `runner.cgroups`, `output/` and
//! `spool/`. One runner at a time works there, or a few beside each other, each with files of its own (`slot`).

mod attempt;
mod cgroups;
mod clock;
mod ender;
mod env_file;
mod gates;
mod guard;
mod inherited;
mod inventory;
mod names;
mod notify;
mod output;
mod pipes;
mod place;
mod procs;
mod reports;
mod results;
mod roster;
mod server;
mod slot;
mod spawn;
mod spawner;
mod sweep;
mod sys;
mod underway;
mod usage;
mod user;
mod worker;

use std::io;
use std::path::PathBuf;

pub use clock::boot_id;
pub use env_file::{ENV_FILE_MAX, EnvFileError, read_env_file};
pub use guard::guard;
pub use inherited::reap_inherited;
pub use names::{NameWatch, listen_at, named};
pub use output::{MASK_BYTES_MAX, MASKS_MAX, MaskError, Masks};
pub use output::{compress_output, find_output, on_disk, output_path, raw_output_path, remove_output};
pub use slot::{NoSlot, Slot};
pub use sys::{close_inherited, close_inherited_on_exec, give_back_memory, hold_signals, read_signals};
pub use user::{NoUser, user_home, user_id};
pub use worker::worker;

/// Where a runner works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The state directory; made if it is not there.
    pub state_dir: PathBuf,
    /// The socket that daemons connect to.
    pub socket: PathBuf,
    /// Which of the runners of the state directory it is.
    pub slot: Slot,
    /// Whether each attempt gets a control group, if they can be made.
    pub cgroups: bool,
}

/// Why a runner cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// Another runner works in the same state directory, and the same slot of it.
    #[error("another runner{} works in {}", said_pid(*holder), path.display())]
    Locked {
        /// The state directory.
        path: PathBuf,
        /// Its process id, where that can be seen.
        holder: Option<u32>,
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

fn said_pid(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

impl RunnerError {
    fn system(what: &'static str, errno: rustix::io::Errno) -> Self {
        RunnerError::System {
            what,
            source: errno.into(),
        }
    }
}
