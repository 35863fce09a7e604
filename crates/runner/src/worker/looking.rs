//! What attempts in progress use, for who asks.

use std::sync::Arc;

use taskd_wire::runner::Used;

use super::Worker;
use crate::clock;
use crate::notify::complain;
use crate::usage::{self, Looked};

/// How far a look has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Looking {
    /// Whether a thread is at it.
    is_under_way: bool,
    /// Whether the daemon that is attached has asked. One that has not may be of a version that does not know the answer.
    pub(super) is_wanted: bool,
}

impl Worker {
    /// Has attempts looked at, unless they are being.
    pub(super) fn look(&mut self) {
        self.looking.is_wanted = true;
        if self.looking.is_under_way {
            return;
        }
        let attempts = self.roster.iter().filter_map(|attempt| {
            Some(Looked {
                key: attempt.origin.key,
                first: attempt.pid?,
                group: attempt.group.as_ref().map(|group| group.same()),
            })
        });
        match usage::look(attempts.collect(), self.groups.clone(), Arc::clone(&self.done)) {
            Ok(()) => self.looking.is_under_way = true,
            Err(error) => {
                complain(format_args!("cannot look at what runs use: {error}"));
                self.looked(Vec::new(), clock::steady_us());
            }
        }
    }

    /// Tells what was found of attempts that are still in progress.
    pub(super) fn looked(&mut self, mut used: Vec<Used>, at_us: u64) {
        self.looking.is_under_way = false;
        if std::mem::take(&mut self.looking.is_wanted) {
            used.retain(|used| self.roster.id_of(&used.key).is_some());
            for message in usage::said(used, at_us) {
                self.server.say(&message);
            }
        }
    }
}
