//! What is going on now.

use bincode::{Decode, Encode};

use crate::codec::Rec;

/// The runs of a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Top {
    /// When.
    pub at_ms: i64,
    /// The same by a clock of the runner's that nobody sets, in microseconds: what was used since an earlier answer was used
    /// in the time between the two. `None` where the runner does not tell what runs use.
    pub measured_us: Option<u64>,
    /// How many of the owner's runs have a process, or are about to.
    pub running: u64,
    /// How many wait: for a place, a gate, or their next attempt.
    pub waiting: u64,
    /// As many of them as fit, those with a process first.
    pub runs: Vec<Rec<TopRun>>,
}

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct TopRun {
    /// The run as `TASK/N`.
    pub run: String,
    /// `waiting`, `starting`, `running`, `backing-off` or `stopping`.
    pub state: String,
    /// The attempt it is at, from 1.
    pub attempt: u32,
    /// Its process id, if it has a process.
    pub pid: Option<u32>,
    /// When it came into being.
    pub created_ms: i64,
    /// When its first attempt started.
    pub started_ms: Option<i64>,
    /// When its next attempt is due, while it waits for that.
    pub retry_ms: Option<i64>,
    /// What it waits for, while it does.
    pub waits_for: Option<String>,
    /// What its attempt uses; `None` where the runner does not tell.
    pub usage: Option<Rec<LiveUsage>>,
}

/// What an attempt in progress uses with all that has come from it; `None` where nobody counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct LiveUsage {
    /// CPU time since it started, microseconds.
    pub cpu_us: Option<u64>,
    /// Memory in use, bytes: that of its control group, else the resident memory of its processes, what they share counted
    /// for each.
    pub memory_bytes: Option<u64>,
    /// How many processes there are.
    pub processes: Option<u64>,
}
