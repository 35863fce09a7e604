//! Groups and locks: what runs of several tasks share.

use bincode::{Decode, Encode};

/// What holds a number of runs at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub enum PoolKind {
    /// A group of tasks: any number of runs where nothing is set.
    #[default]
    Group,
    /// A lock: one run where nothing is set.
    Lock,
}

impl PoolKind {
    /// The word people know it by.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            PoolKind::Group => "group",
            PoolKind::Lock => "lock",
        }
    }
}

/// A group or lock, as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct PoolInfo {
    /// Its name.
    pub name: String,
    /// How many runs it holds; `None` for any number.
    pub limit: Option<u32>,
    /// Whether that was set.
    pub is_set: bool,
    /// How many tasks take part in it.
    pub tasks: u64,
    /// How many runs hold a part of it.
    pub running: u64,
    /// How many runs wait for it.
    pub waiting: u64,
}
