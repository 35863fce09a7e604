//! The end of the runner: all attempts are stopped, and the last results are handed over or kept.

use std::time::{Duration, Instant};

use taskd_wire::codec::{Rec, Tail};
use taskd_wire::runner::FromRunner;

use super::{LINGER, Worker, stop_within};
use crate::attempt::KILL_PATIENCE;
use crate::clock;
use crate::notify::{complain, notify};

/// How far the end of the runner has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Closing {
    /// Nobody asked for it.
    No,
    /// All attempts were told to stop; no new ones are taken.
    Stopping,
    /// There are none left. The daemon may acknowledge the last results until then, and the spool must have them.
    Lingering(Instant),
}

impl Closing {
    /// Whether anything may still be started.
    pub(super) fn takes_starts(self) -> bool {
        match self {
            Closing::No => true,
            Closing::Stopping | Closing::Lingering(_) => false,
        }
    }
}

impl Worker {
    pub(super) fn shut_down(&mut self, grace: Duration) {
        match self.closing {
            Closing::No => {
                notify(self.notify_socket.as_deref(), "STOPPING=1");
                self.closing = Closing::Stopping;
                self.info.closing = Tail(true);
                self.server.say(&FromRunner::InventoryEnd(Rec(self.info.clone())));
            }
            Closing::Stopping | Closing::Lingering(_) => {}
        }
        for id in self.roster.ids() {
            self.step(id, stop_within(grace));
        }
    }

    /// Whether the runner has ended. The last results are with the daemon or in the spool then.
    pub(super) fn is_done(&mut self) -> bool {
        let now = clock::steady();
        if matches!(self.closing, Closing::Stopping) {
            // What cannot be killed has no end that could be told; the next runner does not know it.
            let is_over = self.is_stuck() && self.killed + KILL_PATIENCE <= now;
            if is_over && !self.roster.is_empty() {
                complain(format_args!("{} runs cannot be killed", self.roster.len()));
            }
            if is_over || self.roster.is_empty() {
                self.closing = Closing::Lingering(now + LINGER);
            }
        }
        match self.closing {
            Closing::No | Closing::Stopping => false,
            Closing::Lingering(until) => {
                let acknowledged = self.results.is_empty() && self.server.is_flushed();
                // Results that are nowhere but here are not given up for a disk that is full.
                let kept = self.results.is_empty() || !self.spool_fails;
                kept && (acknowledged || !self.server.is_attached() || now >= until)
            }
        }
    }

    /// Whether all that there is was killed and does not end.
    pub(super) fn is_stuck(&self) -> bool {
        self.roster.iter().all(|attempt| attempt.state.is_killed())
    }
}
