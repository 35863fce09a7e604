//! The thread that does what ends take, so that the loop never waits for it, and no start that hangs holds it up: looking
//! for what is left of attempts, and putting large outputs together.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use crate::output::Output;
use crate::reports::{Report, Reports, lock};
use crate::sweep::{Search, Seek};

/// The loop's side of the thread.
#[derive(Debug)]
pub(crate) struct Ender {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
    reports: Arc<Reports>,
}

#[derive(Debug, Default)]
struct Queue {
    seeks: Vec<(u64, Seek)>,
    seals: VecDeque<(u64, Box<Output>)>,
}

/// What the thread does next.
enum Work {
    /// One look at all processes is enough for any number of attempts.
    Seek(Vec<(u64, Seek)>),
    Seal(u64, Box<Output>),
}

impl Ender {
    /// Starts the thread. All signals must be blocked already.
    pub(crate) fn start(search: Search, reports: Arc<Reports>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            ready: Condvar::new(),
            reports,
        });
        let theirs = Arc::clone(&shared);
        thread::Builder::new()
            .name("ender".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || work(&theirs, &search))?;
        Ok(Ender { shared })
    }

    /// Has it look for the processes of an attempt. [`Report::Sought`] follows.
    pub(crate) fn seek(&self, id: u64, seek: Seek) {
        lock(&self.shared.queue).seeks.push((id, seek));
        self.shared.ready.notify_one();
    }

    /// Has it put together an output that is over its cap. [`Report::Finished`] follows.
    pub(crate) fn seal(&self, id: u64, output: Output) {
        lock(&self.shared.queue).seals.push_back((id, Box::new(output)));
        self.shared.ready.notify_one();
    }
}

fn work(shared: &Shared, search: &Search) {
    loop {
        match next(shared) {
            Work::Seek(seeks) => {
                let (ids, seeks): (Vec<u64>, Vec<Seek>) = seeks.into_iter().unzip();
                for (id, sought) in ids.into_iter().zip(search.seek(&seeks)) {
                    shared.reports.push(Report::Sought { id, sought });
                }
            }
            Work::Seal(id, output) => {
                output.seal();
                shared.reports.push(Report::Finished { id });
            }
        }
    }
}

/// Processes go before files: they may be doing something.
fn next(shared: &Shared) -> Work {
    let mut queue = lock(&shared.queue);
    loop {
        if !queue.seeks.is_empty() {
            return Work::Seek(std::mem::take(&mut queue.seeks));
        }
        if let Some((id, output)) = queue.seals.pop_front() {
            return Work::Seal(id, output);
        }
        queue = shared.ready.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
}
