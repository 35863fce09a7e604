//! What is known of one life of the daemon, and of no other.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::run::AttemptKey;
use crate::time::{Boot, Timestamp};

/// What is known of this life of the daemon only.
#[derive(Default)]
pub(super) struct Life {
    /// When it first heard of the time.
    pub(super) since: Option<Timestamp>,
    /// Whether a runner is attached.
    pub(super) attached: bool,
    /// The one that is attached, or was last; `None` before the first.
    pub(super) runner: Option<u64>,
    /// How many records of who is attached are not durable yet before which that one starts nothing.
    pub(super) withheld: usize,
    /// Attempts that a runner beside that one may be about to spawn, which only that knows.
    pub(super) unsettled: BTreeSet<AttemptKey>,
    /// Those of one beside a runner that was lost, until the next is attached.
    pub(super) doubtful: BTreeSet<AttemptKey>,
    /// The horizon that an earlier life left.
    pub(super) inherited: Option<Timestamp>,
    /// Whether the daemon is stopping: nothing new becomes due.
    pub(super) closing: bool,
    /// Since when no runner is attached, while that is so.
    pub(super) alone_since: Option<Timestamp>,
    /// The last time no runner was attached, once it is over.
    pub(super) alone: Option<(Timestamp, Timestamp)>,
    /// How many batches that set marks back are not durable yet.
    pub(super) resets: usize,
    /// The clock was set back so far that the horizon is to be drawn back, once the first runner has said what an earlier
    /// life started: until then it stands for that.
    pub(super) far_back: bool,
    /// Something is due, and the durable horizon is in the past: nothing starts before it is ahead again.
    pub(super) behind: bool,
    /// The boot of the machine, by the clock as it stands, where it is known.
    pub(super) boot: Option<Boot>,
    /// The id of that boot, until what is due for it has its runs.
    pub(super) booted: Option<u128>,
    /// When the last extension of the horizon was on its way, with those before it that left no time between.
    pub(super) stall: Option<(Timestamp, Timestamp)>,
    /// How long the last extension of the horizon took to be durable.
    pub(super) slowness: Duration,
    /// The last time it was told.
    pub(super) told: Option<Timestamp>,
}

impl Life {
    /// Takes in the time. Where the clock was set back, what this life remembers of earlier times goes back with it, for
    /// reasons are told by the clock as it is. Whether it may have been set back.
    pub(super) fn hear(&mut self, now: Timestamp) -> bool {
        let is_first = self.told.is_none();
        let back = self.told.replace(now).map_or(Duration::ZERO, |told| told.since(now));
        if back.is_zero() {
            return is_first;
        }
        let set_back = |at: &mut Timestamp| *at = at.minus(back);
        let spans = [&mut self.alone, &mut self.stall].into_iter().flatten();
        let (froms, tos): (Vec<_>, Vec<_>) = spans.map(|(from, to)| (from, to)).unzip();
        let instants = [&mut self.since, &mut self.alone_since].into_iter().flatten();
        instants.chain(froms).chain(tos).for_each(set_back);
        true
    }
}
