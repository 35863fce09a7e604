//! What is said of single attempts.

use bincode::{Decode, Encode};

/// An attempt that was followed by another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct AttemptInfo {
    /// Which, from 1.
    pub attempt: u32,
    /// When it started.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub finished_ms: i64,
    /// How it ended.
    pub outcome: String,
    /// Why it ended so, where the outcome alone does not say.
    pub reason: Option<String>,
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Its process id.
    pub pid: Option<u32>,
    /// What it used, as of a run.
    pub max_rss_kib: Option<u64>,
    /// As of a run.
    pub memory_peak_kib: Option<u64>,
    /// As of a run.
    pub user_us: Option<u64>,
    /// As of a run.
    pub system_us: Option<u64>,
    /// As of a run.
    pub read_bytes: Option<u64>,
    /// As of a run.
    pub written_bytes: Option<u64>,
    /// As of a run.
    pub peak_pids: Option<u64>,
    /// As of a run.
    pub output_bytes: Option<u64>,
}
