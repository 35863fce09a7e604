//! The socket that daemons come to, and what becomes of it when its name is taken away.

use rustix::event::epoll::{self, EventData, EventFlags};

use super::{LISTENER, Worker};
use crate::notify::complain;

impl Worker {
    pub(super) fn watch_listener(&self) -> rustix::io::Result<()> {
        let data = EventData::new_u64(LISTENER);
        let flags = EventFlags::IN | EventFlags::ET;
        epoll::add(self.waiting.talk(), self.server.listener(), data, flags)
    }

    /// Something has happened to the names that the runner is known by.
    pub(super) fn look_at_names(&mut self) {
        let Some(listener) = self.standing.look() else { return };
        // Who had connected by the old name is taken in.
        self.accept();
        self.server.listen_at(listener);
        if let Err(error) = self.watch_listener() {
            complain(format_args!("the new socket cannot be watched: {error}"));
        }
    }
}
