//! Sharing: what the runs of a task have to wait for because of those of other tasks.

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::task::{Owner, TaskName};

/// The name of a group or lock; it is written as a task's is.
pub type PoolName = TaskName;

/// Most locks of one task.
pub const LOCKS_MAX: usize = 16;

/// The highest priority; the lowest is as far below 0.
pub const PRIORITY_MAX: i16 = 1_000;

/// Most runs that a group or lock may be set to hold.
pub const POOL_MAX: u32 = 100_000;

/// What the runs of a task share with those of others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sharing {
    /// The group it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<PoolName>,
    /// Of several runs that wait for the same, the one with the highest goes first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i16,
    /// The locks that each of its runs holds, in order, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<PoolName>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
fn is_zero(priority: &i16) -> bool {
    *priority == 0
}

impl Sharing {
    /// Whether nothing was chosen.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Sharing::default()
    }

    /// The groups and locks that a run takes a part of.
    pub fn pools(&self) -> impl Iterator<Item = Pool> + '_ {
        let group = self.group.iter().cloned().map(Pool::Group);
        group.chain(self.locks.iter().cloned().map(Pool::Lock))
    }
}

/// What a run took of an owner's groups and locks, whatever becomes of its task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holding {
    /// Whose they are.
    pub owner: Owner,
    /// What was shared then.
    pub sharing: Sharing,
}

/// What holds a number of runs at once, of one owner's tasks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", content = "name", rename_all = "kebab-case")]
pub enum Pool {
    /// A group of tasks; without a limit it holds any number.
    Group(PoolName),
    /// A lock; without a limit it holds one.
    Lock(PoolName),
}

impl Pool {
    /// How many runs it holds where nothing was set; `None` for any number.
    #[must_use]
    pub fn default_limit(&self) -> Option<NonZeroU32> {
        match self {
            Pool::Group(_) => None,
            Pool::Lock(_) => Some(NonZeroU32::MIN),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &PoolName {
        match self {
            Pool::Group(name) | Pool::Lock(name) => name,
        }
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pool::Group(name) => write!(f, "group {name}"),
            Pool::Lock(name) => write!(f, "lock {name}"),
        }
    }
}
