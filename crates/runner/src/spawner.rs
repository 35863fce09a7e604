//! The threads that do what may take a while, so that the loop never waits: starting children, putting large outputs
//! together, looking for processes.
//!
//! They live as long as the process, because children die with the thread that started them.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::EventfdFlags;
use rustix::process::{Pid, Signal};
use taskd_wire::runner::Start;

use crate::clock;
use crate::notify::complain;
use crate::output::Output;
use crate::spawn::{Child, Host, Spawner};
use crate::sweep;
use crate::sys::SpawnError;

/// Two threads start children as fast as the kernel can.
const THREADS: usize = 2;

/// More are added when all of them hang, in a file system whose server is away for instance.
const THREADS_MAX: usize = 16;

/// How long no job may have been taken while some wait, before a thread is added.
const HANG: Duration = Duration::from_secs(1);

/// Work for a thread. `id` is the loop's name for an attempt.
#[derive(Debug)]
pub(crate) enum Job {
    /// Start a child.
    Start { id: u64, start: Box<Start> },
    /// Send a signal to the processes of an attempt that have left its process group.
    Strays(Strays, Signal),
    /// Do what is left after the end of the process.
    Finish {
        id: u64,
        /// An output over its cap.
        seal: Option<Box<Output>>,
        /// Kill what has left the process group.
        strays: Option<Strays>,
    },
}

/// Where to look for the processes of an attempt that have left its process group.
#[derive(Debug)]
pub(crate) struct Strays {
    pub(crate) cookie: String,
    pub(crate) group: Pid,
}

/// What a thread has done.
#[derive(Debug)]
pub(crate) enum Report {
    Spawned { id: u64, child: Child, at_ms: i64 },
    NotSpawned { id: u64, error: SpawnError, at_ms: i64 },
    Finished { id: u64 },
}

/// The loop's side of the threads.
#[derive(Debug)]
pub(crate) struct Spawners {
    shared: Arc<Shared>,
    threads: usize,
    /// Jobs taken when last looked, and when they last became more.
    taken: u64,
    moved: Instant,
}

struct Shared {
    host: Host,
    queue: Mutex<Queue>,
    ready: Condvar,
    reports: Mutex<Vec<Report>>,
    /// Readable when there are reports.
    bell: OwnedFd,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Threads that wait for a job. Waking nobody is a system call too.
    idle: usize,
    /// Jobs that threads have taken.
    taken: u64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl Spawners {
    /// Starts the threads. All signals must be blocked already.
    pub(crate) fn start(host: Host) -> io::Result<Self> {
        let bell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared = Arc::new(Shared {
            host,
            queue: Mutex::default(),
            ready: Condvar::new(),
            reports: Mutex::default(),
            bell,
        });
        let mut spawners = Spawners {
            shared,
            threads: 0,
            taken: 0,
            moved: clock::steady(),
        };
        for _ in 0..THREADS {
            spawners.add_thread()?;
        }
        Ok(spawners)
    }

    fn add_thread(&mut self) -> io::Result<()> {
        self.threads += 1;
        let shared = Arc::clone(&self.shared);
        thread::Builder::new()
            .name(format!("spawner-{}", self.threads))
            .stack_size(256 * 1024)
            .spawn(move || work(&shared))?;
        Ok(())
    }

    /// Adds a thread if all of them hang. Gives back when to look again.
    pub(crate) fn relieve(&mut self, now: Instant) -> Option<Instant> {
        let queue = lock(&self.shared.queue);
        let (taken, waiting) = (queue.taken, !queue.jobs.is_empty());
        drop(queue);
        if taken != self.taken || !waiting {
            self.taken = taken;
            self.moved = now;
        }
        if !waiting || self.threads >= THREADS_MAX {
            return None;
        }
        if now >= self.moved + HANG {
            complain(format_args!("starting children hangs; trying with one more thread"));
            self.moved = now;
            if let Err(error) = self.add_thread() {
                complain(format_args!("cannot add a thread: {error}"));
            }
        }
        Some(self.moved + HANG)
    }

    /// Hands over a job. Starts are done in order; what ends something goes before them.
    pub(crate) fn submit(&self, job: Job) {
        let mut queue = lock(&self.shared.queue);
        match job {
            Job::Start { .. } => queue.jobs.push_back(job),
            Job::Strays(..) | Job::Finish { .. } => queue.jobs.push_front(job),
        }
        if queue.idle > 0 {
            drop(queue);
            self.shared.ready.notify_one();
        }
    }

    /// Moves what has been done into `reports`.
    pub(crate) fn take(&self, reports: &mut Vec<Report>) {
        // An error says that the bell did not ring.
        let _ = rustix::io::read(&self.shared.bell, &mut [0_u8; 8]);
        reports.append(&mut lock(&self.shared.reports));
    }
}

impl AsFd for Spawners {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.bell.as_fd()
    }
}

fn work(shared: &Shared) {
    let mut spawner = Spawner::new();
    loop {
        let report = match next_job(shared) {
            Job::Start { id, start } => {
                let at_ms = clock::wall_ms();
                match spawner.spawn(&shared.host, &start) {
                    Ok(child) => Report::Spawned { id, child, at_ms },
                    Err(error) => Report::NotSpawned { id, error, at_ms },
                }
            }
            Job::Strays(Strays { cookie, group }, signal) => {
                sweep::signal_strays(&cookie, group, signal);
                continue;
            }
            Job::Finish { id, seal, strays } => {
                if let Some(Strays { cookie, group }) = strays {
                    sweep::signal_strays(&cookie, group, Signal::KILL);
                }
                if let Some(output) = seal {
                    output.seal();
                }
                Report::Finished { id }
            }
        };
        let mut reports = lock(&shared.reports);
        reports.push(report);
        if reports.len() == 1 {
            // Cannot fail: the counter is far from full.
            let _ = rustix::io::write(&shared.bell, &1_u64.to_ne_bytes());
        }
    }
}

fn next_job(shared: &Shared) -> Job {
    let mut queue = lock(&shared.queue);
    loop {
        if let Some(job) = queue.jobs.pop_front() {
            queue.taken += 1;
            return job;
        }
        queue.idle += 1;
        queue = shared.ready.wait(queue).unwrap_or_else(PoisonError::into_inner);
        queue.idle -= 1;
    }
}

/// A panic elsewhere leaves a queue as whole as it was.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
