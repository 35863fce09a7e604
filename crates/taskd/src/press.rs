//! Compresses the output of runs that are over, one after the other, on a thread of low priority.
//!
//! It begins with what earlier lives left: output over the threshold whose run has ended. When it has compressed something, the
//! store is told, so that the bound of all output counts what is on disk.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

use taskd_core::run::{AttemptKey, RunKey};
use taskd_store::{LargeOutput, Reader, Writer};

use crate::run::{output_size, runner_key};

/// Runs of earlier lives that are read at once.
const PAGE: usize = 100;

/// A run that is over.
struct Job {
    run: RunKey,
    attempts: u32,
    threshold: u64,
}

/// Hands over runs whose output may be large.
#[derive(Clone, Debug)]
pub(crate) struct Press(Sender<Job>);

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
        Ok(Press(sender))
    }

    /// A run is over, after so many attempts. Their output is compressed where it has more bytes than the threshold.
    pub(crate) fn is_over(&self, run: RunKey, attempts: u32, threshold: u64) {
        // The thread ends before the process only by a panic, and then output stays as it is.
        let _ = self.0.send(Job {
            run,
            attempts,
            threshold,
        });
    }

    /// One that does nothing.
    #[cfg(test)]
    pub(crate) fn idle() -> Self {
        Press(channel().0)
    }
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
        (1..=attempts)
            .filter_map(|attempt| size(AttemptKey { run, attempt }))
            .sum()
    }

    /// Says whether anything was compressed.
    fn compress(&self, job: &Job) -> bool {
        let mut any = false;
        for attempt in 1..=job.attempts {
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
