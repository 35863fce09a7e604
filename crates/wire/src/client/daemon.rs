//! What is said of the daemon itself.

use bincode::{Decode, Encode};

use super::Pause;
use crate::codec::{Rec, Tail};

/// How the daemon is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// The protocol of this connection.
    pub protocol: u16,
    /// Process id.
    pub pid: u32,
    /// When it started.
    pub started_ms: i64,
    /// How many tasks there are.
    pub tasks: u64,
    /// How many runs are in progress.
    pub running: u64,
    /// How many runs wait for a place.
    pub waiting: u64,
    /// The soonest fire time.
    pub next_ms: Option<i64>,
    /// The runner's process id, while it is there.
    pub runner_pid: Option<u32>,
    /// The runner's version.
    pub runner_version: Option<String>,
    /// Bytes of the store.
    pub store_bytes: u64,
    /// Up to here firings may have started.
    pub horizon_ms: Option<i64>,
    /// Why the store takes no changes now.
    pub store_error: Option<String>,
    /// The daemon log in use.
    pub log: String,
    /// The state directory.
    pub state_dir: String,
    /// Lines the daemon log could not take.
    pub log_lost: u64,
    /// The pause of all tasks.
    pub paused: Option<Rec<Pause>>,
    /// Where each attempt has a control group of its own: the controllers of these. `None` where attempts have none, and
    /// while no runner is there.
    pub cgroups: Option<Vec<String>>,
    /// Every runner that is there: the one that starts what is due first, then those that only end what they have.
    pub runners: Tail<Vec<Rec<RunnerStatus>>>,
    /// Why no runner is there, once that is known.
    pub runner_problem: Tail<Option<String>>,
}

/// A runner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct RunnerStatus {
    /// Its process id.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// How many attempts it has.
    pub running: u64,
    /// Whether it only ends what it has, since it is of another program than the daemon.
    pub draining: bool,
    /// Whether a signal has stopped it: until it goes on, nothing starts there and no limit of time holds.
    pub stopped: Tail<bool>,
}

/// A daemon that begins anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Restarting {
    /// Its process id, which it keeps.
    pub pid: u32,
    /// The version of the program that it becomes.
    pub version: String,
}
