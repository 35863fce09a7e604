//! Where runs stand that have not ended, and what they hold or wait for: a place among all runs, and a part of their groups
//! and locks.
//!
//! A run is in one of these places only, so that nothing here costs more for more waiting runs: one that waits for a group
//! or lock is looked at again when that has room.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use crate::policy::{Pool, Sharing};
use crate::run::RunKey;
use crate::task::Owner;
use crate::time::Timestamp;

/// A group or lock of an owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PoolKey {
    pub(super) owner: Owner,
    pub(super) pool: Pool,
}

/// Where a run stands among those that wait for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    /// Whether it makes up for a fire time that is over.
    pub(super) makes_up: bool,
    pub(super) priority: Reverse<i16>,
    pub(super) since: Timestamp,
    pub(super) run: RunKey,
}

/// What a run shares with those of other tasks.
#[derive(Debug)]
pub(super) struct Shares {
    pub(super) pools: Box<[PoolKey]>,
    pub(super) priority: i16,
}

impl Shares {
    pub(super) fn of(owner: Owner, sharing: &Sharing) -> Self {
        Shares {
            pools: sharing.pools().map(|pool| PoolKey { owner, pool }).collect(),
            priority: sharing.priority,
        }
    }
}

/// Where a run stands; it follows from its state and from those of other runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It holds nothing and waits for no run: it is between two attempts, or about to go.
    Apart,
    /// It has a place, and its part of its groups and locks.
    Holds,
    /// It waits for others of its task.
    LinedUp,
    /// It waits for a place.
    Ready,
    /// It waits for room in a group or lock.
    Blocked(PoolKey),
}

/// All places.
#[derive(Default)]
pub(super) struct Places {
    held: usize,
    /// Runs that wait for a place, in the order in which they get it.
    ready: BTreeSet<Turn>,
    lined_up: BTreeSet<RunKey>,
    blocked: usize,
    /// How many tasks take part in groups and locks.
    members: BTreeMap<PoolKey, usize>,
    /// The limits that were set.
    limits: BTreeMap<PoolKey, NonZeroU32>,
    /// What is held of groups and locks, or waited for.
    pools: BTreeMap<PoolKey, Used>,
    /// The first that waits for each group or lock that has room.
    heads: BTreeSet<(Turn, PoolKey)>,
}

#[derive(Default)]
struct Used {
    by: usize,
    blocked: BTreeSet<Turn>,
    /// Where it stands among the heads.
    head: Option<Turn>,
}

impl Places {
    /// Runs that have a place.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Runs that wait.
    pub(super) fn waiting(&self) -> usize {
        self.ready.len() + self.lined_up.len() + self.blocked
    }

    /// Runs that wait for others of their task.
    pub(super) fn lined_up(&self) -> usize {
        self.lined_up.len()
    }

    /// The run that goes next, if one waits that is not kept back; whether it may is another question.
    pub(super) fn first(&self, is_kept_back: impl Fn(&RunKey) -> bool) -> Option<RunKey> {
        let ready = self.ready.iter().find(|turn| !is_kept_back(&turn.run));
        let free = |turn: &&Turn| !is_kept_back(&turn.run);
        // Behind one that is kept back others may go.
        let behind = |key: &PoolKey| self.pools.get(key).and_then(|used| used.blocked.iter().find(free));
        let mut heads = self.heads.iter();
        let head = heads.find_map(|(turn, key)| Some(turn).filter(free).or_else(|| behind(key)));
        ready.into_iter().chain(head).min().map(|turn| turn.run)
    }

    /// Whether no live run waits for a place.
    pub(super) fn none_waits(&self) -> bool {
        let head = self.heads.first().map(|(turn, _)| turn);
        self.ready.first().into_iter().chain(head).all(|turn| turn.makes_up)
    }

    /// The first of these groups and locks that has no room.
    pub(super) fn full<'a>(&self, pools: &'a [PoolKey]) -> Option<&'a PoolKey> {
        pools.iter().find(|key| !self.has_room(key))
    }

    /// How many runs a group or lock holds; `None` for any number.
    pub(super) fn limit(&self, key: &PoolKey) -> Option<NonZeroU32> {
        self.limits.get(key).copied().or_else(|| key.pool.default_limit())
    }

    /// Those that were set.
    pub(super) fn limits(&self) -> &BTreeMap<PoolKey, NonZeroU32> {
        &self.limits
    }

    /// A task takes part in these.
    pub(super) fn join(&mut self, pools: &[PoolKey]) {
        for key in pools {
            *self.members.entry(key.clone()).or_default() += 1;
        }
    }

    /// A task no longer takes part in these.
    pub(super) fn part(&mut self, pools: &[PoolKey]) {
        for key in pools {
            if let Some(members) = self.members.get_mut(key) {
                *members -= 1;
                if *members == 0 {
                    self.members.remove(key);
                }
            }
        }
    }

    /// The groups and locks that have members, a limit that was set, or runs.
    pub(super) fn all(&self) -> BTreeSet<&PoolKey> {
        let named = self.members.keys().chain(self.limits.keys());
        named.chain(self.pools.keys()).collect()
    }

    /// How many tasks take part in a group or lock.
    pub(super) fn members(&self, key: &PoolKey) -> usize {
        self.members.get(key).copied().unwrap_or(0)
    }

    /// How many runs hold a group or lock, and how many wait for it.
    pub(super) fn used(&self, key: &PoolKey) -> (usize, usize) {
        self.pools.get(key).map_or((0, 0), |used| (used.by, used.blocked.len()))
    }

    fn has_room(&self, key: &PoolKey) -> bool {
        let by = self.pools.get(key).map_or(0, |used| used.by);
        let limit = self
            .limit(key)
            .map(|limit| usize::try_from(limit.get()).unwrap_or(usize::MAX));
        limit.is_none_or(|limit| by < limit)
    }

    /// Sets a limit, or takes it back.
    pub(super) fn set(&mut self, key: PoolKey, limit: Option<NonZeroU32>) {
        match limit {
            Some(limit) => self.limits.insert(key.clone(), limit),
            None => self.limits.remove(&key),
        };
        self.offer(&key);
    }

    /// A run that takes parts of these stands elsewhere from now on.
    pub(super) fn moved(&mut self, turn: Turn, pools: &[PoolKey], from: &Standing, to: &Standing) {
        match from {
            Standing::Apart => {}
            Standing::Holds => {
                self.held -= 1;
                for key in pools {
                    if let Some(used) = self.pools.get_mut(key) {
                        used.by -= 1;
                    }
                    self.offer(key);
                }
            }
            Standing::LinedUp => {
                self.lined_up.remove(&turn.run);
            }
            Standing::Ready => {
                self.ready.remove(&turn);
            }
            Standing::Blocked(key) => {
                self.blocked -= 1;
                if let Some(used) = self.pools.get_mut(key) {
                    used.blocked.remove(&turn);
                }
                self.offer(key);
            }
        }
        match to {
            Standing::Apart => {}
            Standing::Holds => {
                self.held += 1;
                for key in pools {
                    self.pools.entry(key.clone()).or_default().by += 1;
                    self.offer(key);
                }
            }
            Standing::LinedUp => {
                self.lined_up.insert(turn.run);
            }
            Standing::Ready => {
                self.ready.insert(turn);
            }
            Standing::Blocked(key) => {
                self.blocked += 1;
                self.pools.entry(key.clone()).or_default().blocked.insert(turn);
                self.offer(key);
            }
        }
    }

    /// Puts the first that waits for a group or lock among the heads, if there is room for it.
    fn offer(&mut self, key: &PoolKey) {
        let has_room = self.has_room(key);
        let Some(used) = self.pools.get_mut(key) else { return };
        let head = used.blocked.first().copied().filter(|_| has_room);
        if head != used.head {
            if let Some(old) = std::mem::replace(&mut used.head, head) {
                self.heads.remove(&(old, key.clone()));
            }
            if let Some(new) = head {
                self.heads.insert((new, key.clone()));
            }
        }
        if used.by == 0 && used.blocked.is_empty() {
            self.pools.remove(key);
        }
    }
}
