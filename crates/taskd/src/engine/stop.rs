//! An orderly stop: nothing new becomes due, what is on its way to the store arrives, a runner of ours ends its runs, and
//! what became of them is durable.

use std::time::Duration;

use taskd_core::event::Event;
use taskd_wire::refusal::Refusal;
use taskd_wire::runner::ToRunner;
use tokio::time::Instant;

use super::{Driver, Waiting};
use crate::clock;

/// How long an orderly stop waits for the store before it goes on, and after the grace for the runner to end.
const SLACK: Duration = Duration::from_secs(5);

/// How far an orderly stop has come.
pub(super) enum Stop {
    /// Nobody asked for one.
    No,
    /// Nothing becomes due any more. What was promised before is awaited, so that the runner hears of every start before
    /// it is told to stop, and a runner that is just being started does not outlive this; until this instant at the
    /// latest.
    Settling { until: Instant },
    /// The runner is stopping its runs, until this instant at the latest.
    Draining { until: Instant },
    /// The engine ends as soon as every fact is durable.
    Ending,
}

/// Waits until a stop has taken too long where it stands.
pub(super) async fn deadline(stop: &Stop) {
    match stop {
        Stop::Settling { until } | Stop::Draining { until } => tokio::time::sleep_until(*until).await,
        Stop::No | Stop::Ending => std::future::pending().await,
    }
}

impl Driver {
    /// Begins to stop. One that is under way goes on as it does, unless it shall be over at once.
    pub(super) fn begin_stop(&mut self, at_once: bool) {
        match self.stop {
            Stop::No => {
                self.condition.stopping = true;
                self.notify.stopping();
                for Waiting { done, .. } in self.busy.drain(..) {
                    done(Err(Refusal::Stopping));
                }
                self.attach_at = None;
                self.core.handle(clock::now(), Event::Closing);
                self.stop = Stop::Settling { until: within(SLACK) };
            }
            Stop::Settling { .. } | Stop::Draining { .. } | Stop::Ending => {}
        }
        match self.stop {
            Stop::Settling { .. } | Stop::Draining { .. } if at_once => {
                self.shut_runner_down(Duration::ZERO, Duration::from_secs(1));
            }
            Stop::No | Stop::Settling { .. } | Stop::Draining { .. } | Stop::Ending => {}
        }
    }

    /// Takes a stop further, where what it waited for has come.
    pub(super) fn advance_stop(&mut self) {
        match self.stop {
            Stop::Settling { .. } => {
                let settled = self.records.settled() || self.records.error().is_some();
                let runner_coming = self.place.start && self.attaches;
                if settled && !runner_coming {
                    self.shut_runner_down(self.config.runner.grace, SLACK);
                }
            }
            Stop::No | Stop::Draining { .. } | Stop::Ending => {}
        }
    }

    /// What was awaited did not come in time.
    pub(super) fn stop_is_late(&mut self) {
        match self.stop {
            Stop::Settling { .. } => {
                tracing::warn!("the store or the runner takes too long; they are not waited for");
                self.shut_runner_down(self.config.runner.grace, SLACK);
            }
            Stop::Draining { .. } => {
                tracing::warn!("the runner did not end in time; it is left to itself");
                self.stop = Stop::Ending;
            }
            Stop::No | Stop::Ending => {}
        }
    }

    /// Has the runner stop its runs and end, if it is ours.
    fn shut_runner_down(&mut self, grace: Duration, slack: Duration) {
        if self.link.is_none() || !self.place.start {
            self.stop = Stop::Ending;
            return;
        }
        // First, since a runner that is found gone by this must not be taken for one to be replaced.
        self.stop = Stop::Draining {
            until: within(grace + slack),
        };
        self.tell_runner(&ToRunner::Shutdown {
            grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX),
        });
        self.flush_runner();
    }

    /// Whether an orderly stop has done all it can.
    pub(super) fn ended(&self) -> bool {
        match self.stop {
            Stop::No | Stop::Settling { .. } | Stop::Draining { .. } => false,
            Stop::Ending => self.records.settled() || self.records.error().is_some(),
        }
    }
}

fn within(length: Duration) -> Instant {
    Instant::from_std(clock::monotonic()) + length
}
