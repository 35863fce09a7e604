//! What a daemon is told when it attaches: all that lives and all that has ended, in pages that fit a frame.

use taskd_wire::codec::{FRAME_MAX, Rec, Tail};
use taskd_wire::hello::capability;
use taskd_wire::runner::{Ended, FromRunner, Live, Origin, RunnerInfo};

use crate::results::Results;
use crate::roster::Roster;
use crate::server::Server;

/// Bytes of a page, and of one entry in the worst case, without its strings.
const PAGE_BYTES: usize = FRAME_MAX / 2;
const ENTRY_BYTES: usize = 192;

/// Says the whole inventory to the attached daemon.
pub(crate) fn say(roster: &Roster, results: &Results, info: &RunnerInfo, server: &mut Server) {
    let size = |origin: &Origin| ENTRY_BYTES + origin.task.len() + origin.trigger.len();
    let mut page = Page::default();
    server.begin_inventory();
    for attempt in roster.iter() {
        page.make_room(size(&attempt.origin), server);
        page.live.push(Rec(attempt.live()));
    }
    for result in results.iter() {
        page.make_room(size(&result.origin), server);
        page.ended.push(Rec(result.clone()));
    }
    page.say(server);
    let mut info = info.clone();
    if server.knows(capability::BEGUN) {
        info.before = Tail(roster.before().iter().map(|before| before.instance).collect());
        // Those whose ends are in the spool are told above.
        let begun = roster.before().iter().flat_map(|before| before.begun.values());
        let begun: Vec<_> = begun.filter(|origin| !results.contains(&origin.key)).collect();
        for some in begun.chunks(PAGE_BYTES / ENTRY_BYTES) {
            server.say(&FromRunner::Begun(
                some.iter().map(|origin| Rec((*origin).clone())).collect(),
            ));
        }
    }
    server.say(&FromRunner::InventoryEnd(Rec(info)));
    server.allow_waiting();
}

#[derive(Default)]
struct Page {
    live: Vec<Rec<Live>>,
    ended: Vec<Rec<Ended>>,
    bytes: usize,
}

impl Page {
    /// Counts an entry in, and says what there is before it if it does not fit with it.
    fn make_room(&mut self, bytes: usize, server: &mut Server) {
        if self.bytes > 0 && self.bytes + bytes > PAGE_BYTES {
            std::mem::take(self).say(server);
        }
        self.bytes += bytes;
    }

    fn say(self, server: &mut Server) {
        let Page { live, ended, .. } = self;
        server.say(&FromRunner::Inventory { live, ended });
    }
}
