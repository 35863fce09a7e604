//! The threads that do what may take a while, so that the loop never waits: starting children, putting large outputs
//! together, looking for processes.
//!
//! They live as long as the process: children die with the thread that forked their launchers, which may be one of
//! them.

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
use crate::spawn::{Child, Host, SpawnError, Spawner};
use crate::sweep;
use crate::sys::Launchers;

/// Two threads start children as fast as the kernel can.
const THREADS: usize = 2;

/// More are added when all of them hang, in a file system whose server is away for instance.
pub(crate) const THREADS_MAX: usize = 16;

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
}

struct Shared {
    host: Host,
    launchers: Launchers,
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
    /// Since when jobs wait and none was taken; nothing while none waits.
    still: Option<Instant>,
}

impl Queue {
    /// Starts are done in order; what ends something goes before them.
    fn push(&mut self, job: Job, now: Instant) {
        match job {
            Job::Start { .. } => self.jobs.push_back(job),
            Job::Strays(..) | Job::Finish { .. } => self.jobs.push_front(job),
        }
        self.still.get_or_insert(now);
    }

    fn pop(&mut self, now: Instant) -> Option<Job> {
        let job = self.jobs.pop_front()?;
        self.still = (!self.jobs.is_empty()).then_some(now);
        Some(job)
    }

    /// Whether all threads hang.
    fn look(&mut self, now: Instant) -> Look {
        let Some(since) = self.still else {
            return Look::Moving;
        };
        let until = since + HANG;
        if now < until {
            return Look::Waiting { until };
        }
        // The thread that is added now has as long as the others had.
        self.still = Some(now);
        Look::Hanging { until: now + HANG }
    }
}

/// What a look at the queue says, and when to look again.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// No job waits.
    Moving,
    /// Jobs wait, but not for long.
    Waiting { until: Instant },
    /// Jobs wait, and it has been long since one was taken.
    Hanging { until: Instant },
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl Spawners {
    /// Starts the threads. All signals must be blocked already, and there must be launchers for [`THREADS_MAX`].
    pub(crate) fn start(host: Host, launchers: Launchers) -> io::Result<Self> {
        let bell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared = Arc::new(Shared {
            host,
            launchers,
            queue: Mutex::default(),
            ready: Condvar::new(),
            reports: Mutex::default(),
            bell,
        });
        let mut spawners = Spawners { shared, threads: 0 };
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
        if self.threads >= THREADS_MAX {
            return None;
        }
        let look = lock(&self.shared.queue).look(now);
        match look {
            Look::Moving => None,
            Look::Waiting { until } => Some(until),
            Look::Hanging { until } => {
                complain(format_args!("starting children hangs; trying with one more thread"));
                if let Err(error) = self.add_thread() {
                    complain(format_args!("cannot add a thread: {error}"));
                }
                Some(until)
            }
        }
    }

    /// Hands over a job.
    pub(crate) fn submit(&self, job: Job) {
        let mut queue = lock(&self.shared.queue);
        queue.push(job, clock::steady());
        if queue.idle > 0 {
            drop(queue);
            self.shared.ready.notify_one();
        }
    }

    /// Whether this child, which has ended, was a launcher. The thread that had it gets another when it needs one.
    pub(crate) fn have_lost(&self, pid: Pid) -> bool {
        self.shared.launchers.has_lost(pid)
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
    let Some(launcher) = shared.launchers.for_thread() else {
        // Not possible: there is one for each of the threads.
        return;
    };
    let mut spawner = Spawner::new(&shared.host, launcher);
    loop {
        let report = match next_job(shared) {
            Job::Start { id, start } => {
                let at_ms = clock::wall_ms();
                match spawner.spawn(&start) {
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
        if let Some(job) = queue.pop(clock::steady()) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn start(id: u64) -> Job {
        let start = Box::default();
        Job::Start { id, start }
    }

    #[test]
    fn a_job_that_comes_after_a_long_silence_has_not_waited() {
        let mut now = clock::steady();
        let mut queue = Queue::default();
        for id in 0..8 {
            now += HANG * 2;
            queue.push(start(id), now);
            let until = now + HANG;
            assert_eq!(queue.look(now), Look::Waiting { until });
            assert!(queue.pop(now).is_some());
            assert_eq!(queue.look(now + HANG * 2), Look::Moving);
        }
    }

    #[test]
    fn jobs_of_which_none_is_taken_hang() {
        let begin = clock::steady();
        let at = |tenths: u32| begin + HANG / 10 * tenths;
        let mut queue = Queue::default();
        queue.push(start(1), at(0));
        queue.push(start(2), at(9));
        assert_eq!(queue.look(at(9)), Look::Waiting { until: at(10) });
        assert_eq!(queue.look(at(10)), Look::Hanging { until: at(20) });
        assert_eq!(queue.look(at(19)), Look::Waiting { until: at(20) });
        assert_eq!(queue.look(at(25)), Look::Hanging { until: at(35) });
    }

    #[test]
    fn a_long_queue_that_moves_does_not_hang() {
        let begin = clock::steady();
        let at = |tenths: u32| begin + HANG / 10 * tenths;
        let mut queue = Queue::default();
        for id in 0..5 {
            queue.push(start(id), at(0));
        }
        for tenths in [8, 16, 24, 32] {
            assert!(queue.pop(at(tenths)).is_some());
            let until = at(tenths + 10);
            assert_eq!(queue.look(at(tenths + 1)), Look::Waiting { until });
        }
        assert!(queue.pop(at(40)).is_some());
        assert_eq!(queue.look(at(60)), Look::Moving);
    }
}
