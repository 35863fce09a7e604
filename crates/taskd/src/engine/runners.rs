//! The runners that are attached: one that is told to start what is due, and those beside it that end what they have.

use std::collections::HashSet;
use std::pin::Pin;
use std::process::Child;
use std::task::Poll;

use taskd_core::run::AttemptKey;
use taskd_wire::runner::FromRunner;

use super::attach;
use super::link::{Link, LinkError};

/// An attached runner.
pub(super) struct Runner {
    pub(super) link: Link,
    /// What it can do that one of an earlier version cannot: [`can`](taskd_wire::runner::can).
    pub(super) can: u64,
    /// Whether it was asked what its attempts use, and has not answered.
    pub(super) is_asked: bool,
    /// What it has under way, as far as it was told or has said so.
    pub(super) live: HashSet<AttemptKey>,
    /// What it said has ended, and was not told to forget.
    pub(super) owed: HashSet<AttemptKey>,
    /// Whether it was told to end.
    pub(super) is_told_to_end: bool,
    /// The guard of one that this life of the daemon started, to be reaped.
    pub(super) guard: Option<Child>,
}

impl Runner {
    /// Whether all that it had is over, and was taken in.
    pub(super) fn is_drained(&self) -> bool {
        self.live.is_empty() && self.owed.is_empty()
    }

    /// It is gone: the exit status of its guard is taken, so that no zombie stays. Gives back what it had still said.
    pub(super) fn last_words(self) -> Vec<FromRunner> {
        if let Some(guard) = self.guard {
            // It ends within moments of its worker.
            attach::reap(guard);
        }
        self.link.last_words()
    }
}

/// Which of the attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// The one that is told to start what is due.
    Current,
    /// The one with this place among those that only end what they have.
    Draining(usize),
    /// One that was just lost.
    Gone,
}

/// How a runner is, as `status` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) pid: u32,
    pub(crate) version: String,
    /// How many attempts it has.
    pub(crate) running: usize,
}

/// Waits for one of the runners to say something; for ever without any.
pub(super) async fn said(
    current: &mut Option<Runner>,
    draining: &mut [Runner],
) -> (Which, Result<Vec<FromRunner>, LinkError>) {
    if draining.is_empty() {
        return match current {
            Some(runner) => (Which::Current, runner.link.progress().await),
            None => std::future::pending().await,
        };
    }
    let current = current.iter_mut().map(|runner| (Which::Current, runner));
    let beside = draining.iter_mut().enumerate();
    let beside = beside.map(|(index, runner)| (Which::Draining(index), runner));
    let mut all: Vec<_> = current
        .chain(beside)
        .map(|(which, runner)| (which, Box::pin(runner.link.progress())))
        .collect();
    std::future::poll_fn(|context| {
        for (which, said) in &mut all {
            if let Poll::Ready(said) = Pin::new(said).poll(context) {
                return Poll::Ready((*which, said));
            }
        }
        Poll::Pending
    })
    .await
}
