//! Records on their way to the store, in the order of their tickets.
//!
//! When a fact cannot be written, the store takes nothing of the same *epoch* after it, so the order holds; what it
//! gave back is kept here and tried again: the first alone, and when that holds, all the rest.

use std::collections::VecDeque;
use std::time::Duration;

use taskd_core::command::Ticket;
use taskd_core::effect::Weight;
use taskd_core::record::Record;
use taskd_store::{Batch, CommitError, Kind, NotCommitted, Writer};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::clock;

/// How long to wait before a fact that could not be written is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// What the store said of one batch.
pub(super) struct Stored {
    ticket: Ticket,
    weight: Weight,
    epoch: u64,
    result: Result<(), NotCommitted>,
}

/// What that means.
pub(super) enum Settled {
    /// It is durable.
    Durable(Ticket),
    /// It never will be.
    Refused {
        /// Which.
        ticket: Ticket,
        /// Why.
        reason: String,
    },
    /// It will be tried again.
    Later,
}

/// The way to the store.
pub(super) struct Records {
    writer: Writer,
    told: mpsc::UnboundedSender<Stored>,
    epoch: u64,
    /// Batches the store has and has not answered.
    in_flight: usize,
    /// Facts that could not be written, oldest first.
    held: VecDeque<(Ticket, Vec<Record>)>,
    trouble: Option<Trouble>,
    /// What the store said when its thread was gone.
    closed: Option<String>,
}

struct Trouble {
    reason: String,
    /// When the oldest is tried again; `None` while it is being tried.
    retry_at: Option<Instant>,
}

impl Records {
    pub(super) fn new(writer: Writer) -> (Self, mpsc::UnboundedReceiver<Stored>) {
        let (told, stored) = mpsc::unbounded_channel();
        let records = Records {
            writer,
            told,
            epoch: 0,
            in_flight: 0,
            held: VecDeque::new(),
            trouble: None,
            closed: None,
        };
        (records, stored)
    }

    /// Says what is given up when the engine ends before the store took it.
    pub(super) fn tell_held(&self) {
        if !self.held.is_empty() {
            tracing::error!(
                held = self.held.len(),
                error = self.error().unwrap_or_default(),
                "ending before the store took what has happened; the ends of runs are asked of the runner again"
            );
        }
    }

    /// Has the store keep so much from now on.
    pub(super) fn set_limits(&self, limits: taskd_store::Limits) {
        self.writer.set_limits(limits);
    }

    /// Why the store takes nothing now, if so.
    pub(super) fn error(&self) -> Option<&str> {
        self.trouble.as_ref().map(|trouble| trouble.reason.as_str())
    }

    /// What the store said, if it will never take anything again: nobody closes it while there is an engine, so its thread
    /// has panicked.
    pub(super) fn closed(&self) -> Option<&str> {
        self.closed.as_deref()
    }

    /// Whether everything written is answered and nothing is held.
    pub(super) fn settled(&self) -> bool {
        self.in_flight == 0 && self.held.is_empty()
    }

    /// Sends a batch to the store, or behind what is held.
    pub(super) fn write(&mut self, ticket: Ticket, records: Vec<Record>, weight: Weight) {
        if self.trouble.is_none() {
            return self.submit(ticket, records, weight);
        }
        match weight {
            Weight::Fact => self.held.push_back((ticket, records)),
            Weight::Decision => {
                let reason = self.error().unwrap_or_default().to_owned();
                self.in_flight += 1;
                // The receiver lives as long as this does.
                let _ = self.told.send(Stored {
                    ticket,
                    weight,
                    epoch: self.epoch,
                    result: Err(NotCommitted {
                        error: CommitError {
                            kind: Kind::Other,
                            text: reason,
                        },
                        records,
                    }),
                });
            }
        }
    }

    fn submit(&mut self, ticket: Ticket, records: Vec<Record>, weight: Weight) {
        self.in_flight += 1;
        let (told, epoch) = (self.told.clone(), self.epoch);
        self.writer.commit(Batch {
            records,
            epoch,
            fact: weight == Weight::Fact,
            done: Box::new(move |result| {
                // The engine may have ended; then nobody needs to know.
                let _ = told.send(Stored {
                    ticket,
                    weight,
                    epoch,
                    result,
                });
            }),
        });
    }

    /// Takes in what the store said.
    pub(super) fn settle(&mut self, stored: Stored) -> Settled {
        self.in_flight -= 1;
        let ticket = stored.ticket;
        if let Err(refused) = &stored.result
            && refused.error.kind == Kind::Closed
        {
            self.closed = Some(refused.error.to_string());
        }
        match (stored.result, stored.weight) {
            (Ok(()), _) => {
                self.hold_off_is_over(stored.epoch);
                Settled::Durable(ticket)
            }
            (Err(NotCommitted { error, .. }), Weight::Decision) => Settled::Refused {
                ticket,
                reason: error.to_string(),
            },
            (Err(NotCommitted { error, records }), Weight::Fact) => {
                self.hold(stored.epoch, ticket, records, &error);
                Settled::Later
            }
        }
    }

    fn hold(&mut self, epoch: u64, ticket: Ticket, records: Vec<Record>, error: &CommitError) {
        if self.trouble.is_none() {
            tracing::error!(error = %error, "the store takes no changes; what happens is kept in memory until it does");
        }
        self.epoch = self.epoch.max(epoch + 1);
        let place = self.held.partition_point(|(earlier, _)| *earlier < ticket);
        self.held.insert(place, (ticket, records));
        self.trouble = Some(Trouble {
            reason: error.to_string(),
            retry_at: Some(Instant::from_std(clock::monotonic()) + RETRY_AFTER),
        });
    }

    /// A batch of this epoch holds: if it was the one tried again, the rest follows.
    fn hold_off_is_over(&mut self, epoch: u64) {
        if self.trouble.is_none() || epoch != self.epoch {
            return;
        }
        self.trouble = None;
        tracing::info!(held = self.held.len(), "the store takes changes again");
        for (ticket, records) in std::mem::take(&mut self.held) {
            self.submit(ticket, records, Weight::Fact);
        }
    }

    /// Waits until it is time to try again; for ever when nothing is held.
    pub(super) async fn retry_due(&self) {
        match self.trouble.as_ref().and_then(|trouble| trouble.retry_at) {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Tries the oldest again.
    pub(super) fn retry(&mut self) {
        if let Some(trouble) = &mut self.trouble {
            trouble.retry_at = None;
        }
        match self.held.pop_front() {
            Some((ticket, records)) => self.submit(ticket, records, Weight::Fact),
            None => self.trouble = None,
        }
    }
}

#[cfg(test)]
mod tests;
