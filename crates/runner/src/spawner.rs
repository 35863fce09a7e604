//! The threads that start children, so that the loop never waits for it.
//!
//! They live as long as the process: children die with the thread that forked their launchers, which may be one of
//! them.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::clock;
use crate::gates::{self, Sources};
use crate::notify::complain;
use crate::reports::{Report, Reports, lock};
use crate::spawn::{Host, Job, Spawner, Told};
use crate::sys::Launchers;

/// Two threads start children as fast as the kernel can.
const THREADS: usize = 2;

/// More are added when all of them hang, in a file system whose server is away for instance.
pub(crate) const THREADS_MAX: usize = 16;

/// How long no job may have been taken while some wait, before a thread is added.
const HANG: Duration = Duration::from_secs(1);

/// The same before another thread is woken, where one waits.
const HITCH: Duration = Duration::from_millis(10);

/// Jobs that come together for which one thread is woken. To wake a second one, with a launcher of its own, takes longer
/// than to start so many.
const SHARE: usize = 8;

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
    reports: Arc<Reports>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Threads that are ready for a job, or have had one.
    warm: usize,
    /// Threads that wait for a job and were not woken for one. Waking nobody is a system call too.
    idle: usize,
    /// Threads that were woken, and do not run yet.
    woken: usize,
    /// Since when jobs wait and none was taken; nothing while none waits.
    still: Option<Instant>,
}

impl Queue {
    fn push(&mut self, job: Job, now: Instant) {
        self.jobs.push_back(job);
        self.still.get_or_insert(now);
    }

    /// One that was taken and is to be tried again, before all others.
    fn push_again(&mut self, job: Job, now: Instant) {
        self.jobs.push_front(job);
        self.still.get_or_insert(now);
    }

    /// Another one for a thread that has taken so many: the others find as many, if any does not wait for a job.
    fn pop_another(&mut self, taken: usize, now: Instant) -> Option<Job> {
        let may_go_along = self.jobs.front().is_some_and(Job::may_go_along);
        let others = self.warm.saturating_sub(self.idle + 1);
        (may_go_along && (others == 0 || self.jobs.len() > taken))
            .then(|| self.pop(now))
            .flatten()
    }

    fn pop(&mut self, now: Instant) -> Option<Job> {
        let job = self.jobs.pop_front()?;
        self.still = (!self.jobs.is_empty()).then_some(now);
        Some(job)
    }

    fn withdraw(&mut self, id: u64) -> bool {
        let before = self.jobs.len();
        self.jobs.retain(|job| job.id != id);
        if self.jobs.is_empty() {
            self.still = None;
        }
        self.jobs.len() < before
    }

    /// How many threads are to be woken for so many jobs; they are not idle any more then.
    fn wake_for(&mut self, jobs: usize) -> usize {
        let wakes = jobs.div_ceil(SHARE).min(self.idle);
        self.idle -= wakes;
        self.woken += wakes;
        wakes
    }

    /// Whether a thread that waits is to run: it, or any other, was woken.
    fn is_woken(&mut self) -> bool {
        let is_woken = self.woken > 0;
        if is_woken {
            self.woken -= 1;
        }
        is_woken
    }

    /// Whether all threads hang that are awake. Where one more waits it counts as woken, and the caller wakes it.
    fn look(&mut self, now: Instant) -> Look {
        let Some(since) = self.still else {
            return Look::Moving;
        };
        let until = since + self.patience();
        if now < until {
            return Look::Waiting { until };
        }
        // The thread that is woken or added now has as long as the others had.
        self.still = Some(now);
        let wakes = self.wake_for(1) > 0;
        let until = now + self.patience();
        if wakes {
            Look::Hitching { until }
        } else {
            Look::Hanging { until }
        }
    }

    /// How long no job may have been taken while some wait.
    fn patience(&self) -> Duration {
        if self.idle > 0 { HITCH } else { HANG }
    }
}

/// What a look at the queue says, and when to look again.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// No job waits.
    Moving,
    /// Jobs wait, but not for long.
    Waiting { until: Instant },
    /// Jobs wait for whoever is awake; one more is.
    Hitching { until: Instant },
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
    pub(crate) fn start(host: Host, launchers: Launchers, reports: Arc<Reports>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            host,
            launchers,
            queue: Mutex::default(),
            ready: Condvar::new(),
            reports,
        });
        let mut spawners = Spawners { shared, threads: 0 };
        for _ in 0..THREADS {
            spawners.add_thread()?;
        }
        // What serves has its launchers, and nothing of their making is still open.
        let mut queue = lock(&spawners.shared.queue);
        while queue.warm < THREADS {
            queue = spawners
                .shared
                .ready
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        drop(queue);
        Ok(spawners)
    }

    fn add_thread(&mut self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        thread::Builder::new()
            .name(format!("spawner-{}", self.threads + 1))
            .stack_size(256 * 1024)
            .spawn(move || work(&shared))?;
        self.threads += 1;
        Ok(())
    }

    /// Wakes or adds a thread if those that are awake hang. Gives back when to look again.
    pub(crate) fn relieve(&mut self, now: Instant) -> Option<Instant> {
        let mut queue = lock(&self.shared.queue);
        if self.threads >= THREADS_MAX && queue.idle == 0 {
            return None;
        }
        let look = queue.look(now);
        drop(queue);
        match look {
            Look::Moving => None,
            Look::Waiting { until } => Some(until),
            Look::Hitching { until } => {
                self.shared.ready.notify_one();
                Some(until)
            }
            Look::Hanging { until } => {
                complain(format_args!("starting children hangs; trying with one more thread"));
                if let Err(error) = self.add_thread() {
                    complain(format_args!("cannot add a thread: {error}"));
                }
                Some(until)
            }
        }
    }

    /// Hands over starts, of which none is left. [`Report::Spawned`], [`Report::NotSpawned`] or [`Report::GateClosed`]
    /// follows for each.
    pub(crate) fn submit(&self, jobs: &mut Vec<Job>) {
        let now = clock::steady();
        self.shared
            .put(|queue| jobs.drain(..).for_each(|job| queue.push(job, now)));
    }

    /// Takes a start back, unless a thread has taken it, whose report follows then. Gives back whether it did.
    pub(crate) fn withdraw(&self, id: u64) -> bool {
        lock(&self.shared.queue).withdraw(id)
    }

    /// Whether this child, which has ended, was a launcher. The thread that had it gets another when it needs one.
    pub(crate) fn have_lost(&self, pid: Pid) -> bool {
        self.shared.launchers.has_lost(pid)
    }
}

impl Shared {
    /// Puts jobs into the queue and wakes as many threads as they are worth, as far as some wait.
    fn put(&self, put: impl FnOnce(&mut Queue)) {
        let mut queue = lock(&self.queue);
        let before = queue.jobs.len();
        put(&mut queue);
        let jobs = queue.jobs.len() - before;
        let woken = queue.wake_for(jobs);
        drop(queue);
        (0..woken).for_each(|_| self.ready.notify_one());
    }
}

fn work(shared: &Shared) {
    let Some(launcher) = shared.launchers.for_thread() else {
        // Not possible: there is one for each of the threads.
        return;
    };
    let mut spawner = Spawner::new(&shared.host, launcher);
    let sources = Sources::default();
    spawner.warm_up();
    lock(&shared.queue).warm += 1;
    shared.ready.notify_all();
    loop {
        let job = next_job(shared);
        let mut taken = 0;
        let mut next = Some(job);
        while let Some(job) = next {
            taken += 1;
            if let Some(report) = prepare(&mut spawner, &sources, job) {
                shared.reports.push(report);
            }
            next = spawner
                .has_room()
                .then(|| lock(&shared.queue).pop_another(taken, clock::steady()))
                .flatten();
        }
        let at_ms = clock::wall_ms();
        spawner.launch(&mut |told| match told {
            Told::Started { id, child } => shared.reports.push(Report::Spawned { id, child, at_ms }),
            Told::Failed { id, error } => shared.reports.push(Report::NotSpawned { id, error, at_ms }),
            Told::NotBegun(job) => {
                shared.put(|queue| queue.push_again(job, clock::steady()));
                // If all threads hang, the loop is to add one in time.
                shared.reports.ring();
            }
        });
    }
}

/// Prepares a start whose gates are open. Gives back what is to be told where there is nothing to launch.
fn prepare(spawner: &mut Spawner<'_>, sources: &Sources, job: Job) -> Option<Report> {
    let id = job.id;
    let gates = job.start.gates.0.as_ref().map(|gates| &gates.0);
    let closed = gates.map_or(Ok(None), |gates| gates::closed(gates, sources));
    let error = match closed {
        Ok(None) => spawner.add(job).err()?,
        Ok(Some(reading)) => {
            let at_ms = clock::wall_ms();
            return Some(Report::GateClosed { id, reading, at_ms });
        }
        Err(unread) => unread.into(),
    };
    let at_ms = clock::wall_ms();
    Some(Report::NotSpawned { id, error, at_ms })
}

fn next_job(shared: &Shared) -> Job {
    let mut queue = lock(&shared.queue);
    loop {
        if let Some(job) = queue.pop(clock::steady()) {
            return job;
        }
        queue.idle += 1;
        while !queue.is_woken() {
            queue = shared.ready.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(id: u64) -> Job {
        Job::new(id, Box::default())
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
    fn each_thread_that_waits_is_woken_once() {
        let mut queue = Queue::default();
        assert_eq!(queue.wake_for(1), 0, "nobody waits");
        queue.idle = 2;
        assert!(!queue.is_woken(), "for no reason");
        assert_eq!([queue.wake_for(SHARE), queue.wake_for(1)], [1, 1]);
        assert_eq!(queue.wake_for(1), 0, "both are on their way");
        // One that has just become idle goes in the place of one that was woken, which is idle then.
        queue.idle += 1;
        assert!(queue.is_woken() && queue.is_woken() && !queue.is_woken());
        assert_eq!(queue.wake_for(SHARE * 2), 1);
        queue.idle = 3;
        assert_eq!(queue.wake_for(SHARE + 1), 2);
    }

    #[test]
    fn one_that_waits_is_woken_when_those_that_are_awake_take_nothing() {
        let begin = clock::steady();
        let mut queue = Queue {
            warm: 3,
            idle: 2,
            ..Queue::default()
        };
        queue.push(start(1), begin);
        let until = begin + HITCH;
        assert_eq!(queue.look(begin), Look::Waiting { until });
        let (now, until) = (until, until + HITCH);
        assert_eq!(queue.look(now), Look::Hitching { until });
        assert_eq!(queue.look(now), Look::Waiting { until }, "it has time to run");
        let (now, until) = (until, until + HANG);
        assert_eq!(queue.look(now), Look::Hitching { until }, "the last");
        assert_eq!(queue.look(now), Look::Waiting { until });
        assert!(queue.is_woken() && queue.is_woken() && !queue.is_woken());
        assert_eq!(queue.look(until), Look::Hanging { until: until + HANG });
    }

    /// The numbers of the jobs that a thread takes at once.
    fn take(queue: &mut Queue, now: Instant) -> Vec<u64> {
        let mut taken = Vec::from_iter(queue.pop(now));
        while let Some(job) = queue.pop_another(taken.len(), now) {
            taken.push(job);
        }
        taken.iter().map(|job| job.id).collect()
    }

    #[test]
    fn a_thread_leaves_as_many_to_others_as_it_takes() {
        let now = clock::steady();
        let mut queue = Queue {
            warm: 2,
            ..Queue::default()
        };
        (0..9).for_each(|id| queue.push(start(id), now));
        assert_eq!((take(&mut queue, now), queue.jobs.len()), (vec![0, 1, 2, 3, 4], 4));
        queue.idle = 1;
        assert_eq!(take(&mut queue, now), [5, 6, 7, 8], "no other is awake");
    }

    #[test]
    fn what_is_tried_again_comes_first() {
        let now = clock::steady();
        let mut queue = Queue::default();
        (0..2).for_each(|id| queue.push(start(id), now));
        let first = queue.pop(now).expect("it was pushed");
        queue.push_again(first, now);
        assert_eq!(queue.pop(now).map(|job| job.id), Some(0));
        assert_eq!(queue.look(now + HANG), Look::Hanging { until: now + HANG * 2 });
    }

    #[test]
    fn a_job_that_was_withdrawn_is_not_taken() {
        let now = clock::steady();
        let mut queue = Queue::default();
        queue.push(start(1), now);
        queue.push(start(2), now);
        assert!(queue.withdraw(1));
        assert_eq!(queue.pop(now).map(|job| job.id), Some(2));
        assert!(!queue.withdraw(2), "a thread has it");
        queue.push(start(3), now);
        assert!(queue.withdraw(3));
        assert_eq!(queue.look(now + HANG * 2), Look::Moving);
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
