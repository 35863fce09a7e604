//! Compresses the output of runs that are over, one after the other, on a thread of low priority.
//!
//! It begins with what earlier lives left: output over the threshold whose run has ended. When it has compressed something, the
//! store is told, so that the bound of all output counts what is on disk.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

use taskd_core::command::Ticket;
use taskd_core::policy::RETRIES_MAX;
use taskd_core::run::{AttemptKey, RunKey};
use taskd_store::{LargeOutput, Reader, Writer};

use crate::run::{output_size, runner_key};

/// Runs of earlier lives that are read at once.
const PAGE: usize = 100;

/// Most attempts of a run.
const ATTEMPTS_MAX: u32 = RETRIES_MAX + 1;

/// A run that is over.
#[derive(Debug)]
struct Job {
    run: RunKey,
    attempts: u32,
    threshold: u64,
}

/// Hands over runs whose output may be large, when it is durable that they are over: what their output takes then is counted
/// in their rows.
#[derive(Debug)]
pub(crate) struct Press {
    jobs: Sender<Job>,
    /// Runs whose end is not yet on its way to the store.
    fresh: Vec<Job>,
    /// Runs whose end is durable with this ticket.
    waiting: VecDeque<(Ticket, Job)>,
}

impl Press {
    /// Starts the thread. It ends with the process.
    pub(crate) fn start(state_dir: &Path, reader: Reader, writer: Writer, threshold: u64) -> std::io::Result<Self> {
        let (sender, jobs) = channel();
        let work = Work {
            state_dir: state_dir.to_owned(),
            writer,
        };
        std::thread::Builder::new().name("press".into()).spawn(move || {
            be_nice();
            work.all(&jobs, &reader, threshold);
        })?;
        Ok(Press::of(sender))
    }

    fn of(jobs: Sender<Job>) -> Self {
        Press {
            jobs,
            fresh: Vec::new(),
            waiting: VecDeque::new(),
        }
    }

    /// A run is over, after so many attempts. Their output is compressed where it has more bytes than the threshold.
    pub(crate) fn is_over(&mut self, run: RunKey, attempts: u32, threshold: u64) {
        self.fresh.push(Job {
            run,
            attempts,
            threshold,
        });
    }

    /// What happened to them goes to the store, the last of it with this ticket; nothing where there is nothing to store.
    pub(crate) fn written(&mut self, last: Option<Ticket>) {
        for job in self.fresh.drain(..) {
            match last {
                Some(ticket) => self.waiting.push_back((ticket, job)),
                None => hand_over(&self.jobs, job),
            }
        }
    }

    /// All up to this ticket is durable.
    pub(crate) fn durable(&mut self, ticket: Ticket) {
        while let Some((_, job)) = self.waiting.pop_front_if(|(last, _)| *last <= ticket) {
            hand_over(&self.jobs, job);
        }
    }

    /// One that does nothing.
    #[cfg(test)]
    pub(crate) fn idle() -> Self {
        Press::of(channel().0)
    }
}

fn hand_over(jobs: &Sender<Job>, job: Job) {
    // The thread ends before the process only by a panic, and then output stays as it is.
    let _ = jobs.send(job);
}

/// Nothing that runs is to wait for it.
fn be_nice() {
    let thread = rustix::thread::gettid();
    // It only would be less polite.
    let _ = rustix::process::setpriority_process(Some(thread), 19);
}

struct Work {
    state_dir: PathBuf,
    writer: Writer,
}

impl Work {
    fn all(&self, jobs: &Receiver<Job>, reader: &Reader, threshold: u64) {
        let mut before = Some(i64::MAX);
        loop {
            let job = match before {
                None => jobs.recv().map_err(|_| TryRecvError::Disconnected),
                Some(_) => jobs.try_recv(),
            };
            match (job, before) {
                (Ok(job), _) => {
                    self.compress(&job);
                }
                (Err(TryRecvError::Disconnected), _) => return,
                (Err(TryRecvError::Empty), at) => {
                    before = at.and_then(|at| self.catch_up(reader, at, threshold));
                }
            }
        }
    }

    /// Compresses some of what was left, the newest first, and says before which row more may be.
    fn catch_up(&self, reader: &Reader, before: i64, threshold: u64) -> Option<i64> {
        let found = reader.large_outputs(threshold, before, PAGE);
        let found = found
            .inspect_err(|error| tracing::warn!(error = %error, "old output is not looked for"))
            .ok()?;
        for LargeOutput {
            run, attempts, kept, ..
        } in &found
        {
            let (run, attempts) = (*run, *attempts);
            let done = self.compress(&Job {
                run,
                attempts,
                threshold,
            });
            // The daemon may have been killed between the two.
            if !done && self.size_of(run, attempts) < *kept {
                self.writer.recount(run);
            }
        }
        found.last().map(|last| last.row)
    }

    /// Bytes that the output of a run takes on disk.
    fn size_of(&self, run: RunKey, attempts: u32) -> u64 {
        let size = output_size(&self.state_dir);
        (1..=attempts.min(ATTEMPTS_MAX))
            .filter_map(|attempt| size(AttemptKey { run, attempt }))
            .sum()
    }

    /// Says whether anything was compressed.
    fn compress(&self, job: &Job) -> bool {
        let mut any = false;
        for attempt in 1..=job.attempts.min(ATTEMPTS_MAX) {
            let key = runner_key(AttemptKey { run: job.run, attempt });
            match taskd_runner::compress_output(&self.state_dir, &key, job.threshold) {
                Ok(done) => any |= done,
                Err(error) => tracing::warn!(
                    error = %error,
                    run = job.run.n,
                    attempt,
                    "output could not be compressed and stays as it is"
                ),
            }
        }
        if any {
            self.writer.recount(job.run);
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use taskd_core::task::TaskId;

    #[test]
    fn a_run_is_handed_over_when_its_end_is_durable() {
        let (sender, jobs) = channel();
        let mut press = Press::of(sender);
        let run = |n| RunKey { task: TaskId(1), n };
        let taken = || jobs.try_iter().map(|job: Job| job.run.n).collect::<Vec<_>>();
        press.is_over(run(1), 1, 0);
        press.written(Some(Ticket(4)));
        press.is_over(run(2), 1, 0);
        press.written(Some(Ticket(6)));
        press.durable(Ticket(3));
        assert_eq!(taken(), [0; 0]);
        press.durable(Ticket(5));
        assert_eq!(taken(), [1]);
        press.durable(Ticket(6));
        assert_eq!(taken(), [2]);
        press.is_over(run(3), 1, 0);
        press.written(None);
        assert_eq!(taken(), [3]);
    }
}
