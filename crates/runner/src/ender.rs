//! The threads that do what ends take, so that the loop never waits for it, and no start that hangs holds it up: one looks
//! for what is left of attempts, one puts large outputs together, one makes room in those that grow. None holds up another.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use crate::output::{Cut, Output, Watch};
use crate::reports::{Report, Reports, lock};
use crate::sweep::{Search, Seek};

/// The loop's side of the threads.
#[derive(Debug)]
pub(crate) struct Ender {
    seeks: Arc<Queue<(u64, Seek)>>,
    seals: Arc<Queue<(u64, Unsealed)>>,
    looks: Arc<Queue<(u64, Watch)>>,
}

/// An output that is over its cap.
#[derive(Debug)]
pub(crate) enum Unsealed {
    Lines(Box<Output>),
    Raw(Cut),
}

/// What waits for one of them.
#[derive(Debug)]
struct Queue<T> {
    waiting: Mutex<VecDeque<T>>,
    ready: Condvar,
}

impl<T> Queue<T> {
    fn new() -> Arc<Self> {
        Arc::new(Queue {
            waiting: Mutex::default(),
            ready: Condvar::new(),
        })
    }

    fn push(&self, work: T) {
        lock(&self.waiting).push_back(work);
        self.ready.notify_one();
    }

    /// Takes all that waits, once there is something.
    fn take(&self) -> VecDeque<T> {
        let mut waiting = lock(&self.waiting);
        while waiting.is_empty() {
            waiting = self.ready.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::take(&mut waiting)
    }
}

impl Ender {
    /// Starts the threads. All signals must be blocked already.
    pub(crate) fn start(search: Search, reports: Arc<Reports>) -> io::Result<Self> {
        let (seeks, seals, looks) = (Queue::new(), Queue::new(), Queue::new());
        let (to_seek, to_seal, to_look) = (Arc::clone(&seeks), Arc::clone(&seals), Arc::clone(&looks));
        let (seal_reports, look_reports) = (Arc::clone(&reports), Arc::clone(&reports));
        start_thread("ender", move || seek_all(&to_seek, &search, &reports))?;
        start_thread("sealer", move || seal_all(&to_seal, &seal_reports))?;
        start_thread("looker", move || look_all(&to_look, &look_reports))?;
        Ok(Ender { seeks, seals, looks })
    }

    /// Has it look for the processes of an attempt. [`Report::Sought`] follows.
    pub(crate) fn seek(&self, id: u64, seek: Seek) {
        self.seeks.push((id, seek));
    }

    /// Has it put together an output that is over its cap. [`Report::Sealed`] follows.
    pub(crate) fn seal(&self, id: u64, output: Unsealed) {
        self.seals.push((id, output));
    }

    /// Has it make room in a file that may have grown. [`Report::Looked`] follows.
    pub(crate) fn look(&self, id: u64, watch: Watch) {
        self.looks.push((id, watch));
    }
}

fn start_thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(256 * 1024)
        .spawn(work)
        .map(drop)
}

fn seek_all(queue: &Queue<(u64, Seek)>, search: &Search, reports: &Reports) {
    loop {
        // One look at all processes is enough for any number of attempts.
        let (ids, seeks): (Vec<u64>, Vec<Seek>) = queue.take().into_iter().unzip();
        for (id, sought) in ids.into_iter().zip(search.seek(&seeks)) {
            reports.push(Report::Sought { id, sought });
        }
    }
}

fn seal_all(queue: &Queue<(u64, Unsealed)>, reports: &Reports) {
    loop {
        for (id, output) in queue.take() {
            let sealed = match output {
                Unsealed::Lines(output) => output.seal(),
                Unsealed::Raw(cut) => cut.seal(),
            };
            reports.push(Report::Sealed { id, sealed });
        }
    }
}

fn look_all(queue: &Queue<(u64, Watch)>, reports: &Reports) {
    loop {
        for (id, mut watch) in queue.take() {
            watch.look();
            reports.push(Report::Looked { id, watch });
        }
    }
}
