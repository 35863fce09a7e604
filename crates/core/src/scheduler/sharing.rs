//! What the runs of tasks share with those of others: groups and locks, and their limits.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use crate::command::{Accepted, Refusal, Reply};
use crate::policy::{Holding, Pool, Sharing};
use crate::record::Record;
use crate::run::RunKey;
use crate::task::{Owner, TaskId};
use crate::time::Timestamp;

use super::Scheduler;
use super::evolve::runs_of;
use super::pending::{Batch, Reserved};
use super::pools::{PoolKey, Shares, Standing};
use super::runs::Run;

/// What the runs of one task share.
pub(super) struct Shared {
    sharing: Sharing,
    shares: Arc<Shares>,
}

/// A group or lock, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolView {
    /// Which.
    pub pool: Pool,
    /// How many runs it holds; `None` for any number.
    pub limit: Option<NonZeroU32>,
    /// Whether that was set.
    pub is_set: bool,
    /// How many tasks take part in it.
    pub tasks: usize,
    /// How many runs hold a part of it.
    pub running: usize,
    /// How many runs wait for it.
    pub waiting: usize,
}

impl Scheduler {
    /// What the runs of a task share from now on.
    pub(super) fn share(&mut self, id: TaskId, owner: Owner, sharing: &Sharing) {
        let old = self.sharing.get(&id);
        if old.map_or_else(|| sharing.is_default(), |old| old.sharing == *sharing) {
            return;
        }
        self.share_nothing(id);
        if !sharing.is_default() {
            let shares = Arc::new(Shares::of(owner, sharing));
            self.places.join(&shares.pools);
            let sharing = sharing.clone();
            self.sharing.insert(id, Shared { sharing, shares });
        }
        let shares = self.shares_of(id);
        let runs = self.runs.range(runs_of(id)).filter(|(_, run)| run.keeps.is_none());
        let keys: Vec<RunKey> = runs.map(|(key, _)| *key).collect();
        for key in keys {
            // Where it stands is known by what it shared.
            self.stand(key, Standing::Apart);
            if let Some(run) = self.runs.get_mut(&key) {
                run.shares = shares.clone();
            }
        }
    }

    /// What other runs than those there are of a task share is over.
    pub(super) fn share_nothing(&mut self, id: TaskId) {
        if let Some(shared) = self.sharing.remove(&id) {
            self.places.part(&shared.shares.pools);
        }
    }

    /// The records by which runs of a task keep what they took when it is changed to share something else, or removed.
    pub(super) fn keep_shares(&self, id: TaskId, new: &Sharing) -> Vec<Record> {
        let sharing = self.sharing_of(id);
        if sharing == *new {
            return Vec::new();
        }
        let Some(owner) = self.tasks.get(id).map(|task| task.owner) else {
            return Vec::new();
        };
        let holds = |run: &Run| run.standing == Standing::Holds && run.keeps.is_none();
        let runs = self.runs.range(runs_of(id)).filter(|(_, run)| holds(run));
        let keeps = |(key, _): (&RunKey, &Run)| Record::RunKeeps {
            run: *key,
            holding: Holding {
                owner,
                sharing: sharing.clone(),
            },
        };
        runs.map(keeps).collect()
    }

    pub(super) fn sharing_of(&self, id: TaskId) -> Sharing {
        self.sharing
            .get(&id)
            .map_or_else(Sharing::default, |shared| shared.sharing.clone())
    }

    /// What a run of a task shares, if anything.
    pub(super) fn shares_of(&self, id: TaskId) -> Option<Arc<Shares>> {
        self.sharing.get(&id).map(|shared| Arc::clone(&shared.shares))
    }

    pub(super) fn limits_of_pools(&self) -> impl Iterator<Item = (Owner, Pool, NonZeroU32)> + '_ {
        let limits = self.places.limits().iter();
        limits.map(|(key, limit)| (key.owner, key.pool.clone(), *limit))
    }

    pub(super) fn set_pools(
        &mut self,
        now: Timestamp,
        owner: Owner,
        pools: Vec<Pool>,
        limit: Option<NonZeroU32>,
        by: &str,
    ) -> Result<Accepted, Refusal> {
        let mut records = Vec::new();
        let set = self.places.limits().keys();
        let mut there = set.filter(|key| key.owner == owner).count() + self.limits_coming(owner);
        let pools: BTreeSet<Pool> = pools.into_iter().collect();
        let mut adds = false;
        for pool in pools {
            let is_set = self.places.limits().contains_key(&PoolKey {
                owner,
                pool: pool.clone(),
            });
            if limit.is_none() && !is_set {
                return Err(Refusal::NoPool(pool));
            }
            adds |= !is_set;
            there += usize::from(!is_set);
            records.push(Record::PoolSet {
                owner,
                pool,
                limit,
                at: now,
                by: by.to_owned(),
            });
        }
        if limit.is_some() && adds && there > self.limits.pools {
            return Err(Refusal::TooManyPools {
                limit: self.limits.pools,
            });
        }
        Ok(self.accept(records, Reserved::default(), Reply::Done))
    }

    /// How many limits an owner has more when what is on its way is durable, at most.
    fn limits_coming(&self, owner: Owner) -> usize {
        let decisions = self.pending.values().filter_map(|batch| match batch {
            Batch::Decision { records, .. } => Some(records),
            Batch::Facts(_) => None,
        });
        let sets =
            |record: &&Record| matches!(record, Record::PoolSet { owner: of, limit: Some(_), .. } if *of == owner);
        decisions.flatten().filter(sets).count()
    }

    /// How many staged tasks take part in a group or lock.
    fn staged_members(&self, key: &PoolKey) -> usize {
        if self.imports.staged() == 0 {
            return 0;
        }
        let staged = self.sharing.iter().filter(|(id, _)| self.imports.holds(**id));
        staged.filter(|(_, shared)| shared.shares.pools.contains(key)).count()
    }

    /// The groups and locks of an owner: those with a limit that was set, and those that tasks or runs take part in.
    #[must_use]
    pub fn pools(&self, owner: Owner) -> Vec<PoolView> {
        let theirs = self.places.all().into_iter().filter(|key| key.owner == owner);
        let view = |key: &PoolKey| {
            let (running, waiting) = self.places.used(key);
            PoolView {
                pool: key.pool.clone(),
                limit: self.places.limit(key),
                is_set: self.places.limits().contains_key(key),
                tasks: self.places.members(key) - self.staged_members(key),
                running,
                waiting,
            }
        };
        let is_known = |view: &PoolView| view.is_set || view.tasks + view.running + view.waiting > 0;
        theirs.map(view).filter(is_known).collect()
    }
}
