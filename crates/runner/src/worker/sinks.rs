//! What attempts write to: pipes that the loop reads, or files that it only looks at.

use super::Worker;
use crate::clock;
use crate::output::{Raw, Watch};
use crate::spawn::Sink;

impl Worker {
    /// Takes in our side of what an attempt writes.
    pub(super) fn take_sink(&mut self, id: u64, sink: Sink) {
        let Some(attempt) = self.roster.get_mut(id) else {
            return sink.discard();
        };
        match sink {
            Sink::Pipes { stdout, stderr, masks } => {
                if let (Some(output), Some(masks)) = (&mut attempt.output, masks) {
                    output.hide(masks);
                }
                attempt.stdout = Some(stdout.into());
                attempt.stderr = Some(stderr.into());
                self.fresh.push(id);
            }
            Sink::File(raw) => {
                self.looks.insert((raw.look_at, id));
                attempt.raw = Some(raw);
            }
            Sink::Null => {}
        }
    }

    pub(super) fn watch_fresh(&mut self) {
        let Worker {
            fresh, roster, pipes, ..
        } = self;
        fresh.retain(|id| roster.get_mut(*id).is_some_and(|attempt| !pipes.watch(*id, attempt)));
        if !self.fresh.is_empty() {
            self.retry_soon();
        }
    }

    /// Has the files looked at whose time it is.
    pub(super) fn take_looks(&mut self) {
        let now = clock::steady();
        while let Some((at, id)) = self.looks.first().copied()
            && at <= now
        {
            self.looks.pop_first();
            let raw = self.roster.get_mut(id).and_then(|attempt| attempt.raw.as_mut());
            if let Some(watch) = raw.and_then(Raw::begin_look) {
                self.ender.look(id, watch);
            }
        }
    }

    /// A file was looked at. If its attempt has ended meanwhile, that has asked for its size itself.
    pub(super) fn take_looked(&mut self, id: u64, watch: Watch) {
        if let Some(raw) = self.roster.get_mut(id).and_then(|attempt| attempt.raw.as_mut()) {
            self.looks.insert((raw.end_look(watch, clock::steady()), id));
        }
    }
}
