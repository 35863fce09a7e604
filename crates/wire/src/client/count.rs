//! Fire times counted by buckets of time.

use bincode::{Decode, Encode};

use crate::codec::Rec;

/// How many fire times tasks have in consecutive buckets of time, as they are enabled, paused and scheduled now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Counted {
    /// How many tasks are meant.
    pub tasks: u64,
    /// The zone of the schedule, where one task is meant and it has one.
    pub tz: Option<String>,
    /// How many of them are disabled or held, which do not count.
    pub idle: u64,
    /// How many of them are paused in that time. Fire times in a pause do not count.
    pub paused: u64,
    /// How many of them were left out, since counting them would have taken too long.
    pub left_out: u64,
    /// What each bucket has.
    pub buckets: Vec<Rec<Bucket>>,
    /// What changes of the clock do to fire times of tasks, the earliest first. A task whose fire times are in all hours is
    /// among them only where it is the only one.
    pub clock: Vec<Rec<ClockChange>>,
    /// How many more of those there are.
    pub clock_more: u64,
}

/// The fire times in a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Bucket {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub first_ms: Option<i64>,
    /// The last of them.
    pub last_ms: Option<i64>,
    /// Of how many tasks they are.
    pub tasks: u64,
    /// The names of the first few of these, where names were asked for.
    pub names: Vec<String>,
}

/// What a change of the clock does to fire times of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct ClockChange {
    /// The instant of the change.
    pub at_ms: i64,
    /// The first task of which this is to be said.
    pub task: String,
    /// Of how many others the same is to be said.
    pub others: u64,
    /// What becomes of the fire times, in a sentence.
    pub message: String,
}
