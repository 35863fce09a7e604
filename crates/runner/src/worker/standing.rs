//! What the runner is known by and told of: the socket that daemons come to, and whether attempts have control groups.

use rustix::event::epoll::{self, EventData, EventFlags};

use taskd_wire::codec::{Rec, Tail};
use taskd_wire::runner::FromRunner;

use super::{LISTENER, RETRY, Worker};
use crate::clock;
use crate::notify::complain;

impl Worker {
    pub(super) fn watch_listener(&self) -> rustix::io::Result<()> {
        let data = EventData::new_u64(LISTENER);
        let flags = EventFlags::IN | EventFlags::ET;
        epoll::add(self.waiting.talk(), self.server.listener(), data, flags)
    }

    /// Says it to the daemon where attempts get control groups no more, or again. The end of an inventory without one is that to a
    /// daemon of an earlier version.
    pub(super) fn tell_of_groups(&mut self) {
        let Some(groups) = &self.groups else { return };
        if groups.work() != self.info.cgroups.0.is_some() {
            self.info.cgroups = Tail(groups.said());
            self.server.say(&FromRunner::InventoryEnd(Rec(self.info.clone())));
        }
    }

    /// Something has happened to the names that the runner is known by.
    pub(super) fn look_at_names(&mut self) {
        let anew = self.standing.look();
        if self.standing.is_lacking() {
            self.retry_soon();
        }
        let Some(listener) = anew else { return };
        // Who had connected by the old name is taken in.
        self.accept();
        self.server.listen_at(listener);
        if let Err(error) = self.watch_listener() {
            complain(format_args!("the new socket cannot be watched: {error}"));
        }
    }

    pub(super) fn accept(&mut self) {
        if !self.server.accept(self.waiting.talk(), clock::steady()) {
            self.retry_soon();
        }
    }

    pub(super) fn retry_soon(&mut self) {
        self.retry_at.get_or_insert(clock::steady() + RETRY);
    }

    /// Tries again what is told only once that it can be done. The rest is tried with everything that happens.
    pub(super) fn try_again(&mut self) {
        if self.retry_at.is_some_and(|at| at <= clock::steady()) {
            self.retry_at = None;
            self.accept();
            if self.standing.is_lacking() {
                self.look_at_names();
            }
        }
    }
}
