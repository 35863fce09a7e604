//! Runs: their names, why they exist, how they end.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::task::TaskId;
use crate::time::Timestamp;
use crate::words::words;

/// One run: the `N`th of its task, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunKey {
    /// The task.
    pub task: TaskId,
    /// The number.
    pub n: u64,
}

/// One process of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptKey {
    /// The run.
    pub run: RunKey,
    /// The attempt, from 1.
    pub attempt: u32,
}

/// W3C trace id, never zero; shown as 32 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TraceId(pub u128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

words! {
    /// Why a run exists.
    Trigger {
        /// Its fire time came.
        Schedule = "schedule",
        /// A user asked.
        Manual = "manual",
        /// Its fire time had passed without a start.
        CatchUp = "catch-up",
        /// The machine has booted.
        Boot = "boot",
        /// A user asked for a fire time of the past.
        Backfill = "backfill",
        /// Runs of the tasks that its task comes after have ended.
        Dependency = "dependency",
    }
}

words! {
    /// How a run ended.
    Outcome {
        /// Exit code 0.
        Succeeded = "succeeded",
        /// Another exit code, or a signal nobody of ours sent.
        Failed = "failed",
        /// Its time was up.
        TimedOut = "timed-out",
        /// It was stopped on request.
        Cancelled = "cancelled",
        /// Its process could not be started.
        SpawnFailed = "spawn-failed",
        /// It was to start, did not, and was too late to when it could.
        Missed = "missed",
        /// A gate of it was closed.
        Skipped = "skipped",
        /// Its fate is not known: the runner or the machine ended under it.
        Unknown = "unknown",
    }
}

words! {
    /// What became of fire times that have no run.
    Passing {
        /// A policy or a limit kept them from starting.
        Skipped = "skipped",
        /// They passed while nothing could be started.
        Missed = "missed",
        /// They may or may not have started: the machine ended inside the horizon.
        Unknown = "unknown",
    }
}

/// How the process of an attempt ended, as the runner saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It could not be started.
    SpawnFailed {
        /// The system's error number.
        errno: i32,
        /// What failed: `exec`, `chdir`, …
        what: String,
    },
    /// It was not started, since a gate of it was closed.
    GateClosed {
        /// Which, and what was read: a sentence.
        reading: String,
    },
    /// The system killed it with all that came from it, since they needed more memory than they may have together.
    OverMemory {
        /// How many bytes that is.
        cap: u64,
    },
}

/// The signal by which the system kills for memory.
const SIGKILL: i32 = 9;

impl Exit {
    /// Its exit code, if it exited.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        match self {
            Exit::Code(code) => Some(*code),
            Exit::Signal(_) | Exit::SpawnFailed { .. } | Exit::GateClosed { .. } | Exit::OverMemory { .. } => None,
        }
    }

    /// The signal that ended it, if one did.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        match self {
            Exit::Signal(signal) => Some(*signal),
            Exit::OverMemory { .. } => Some(SIGKILL),
            Exit::Code(_) | Exit::SpawnFailed { .. } | Exit::GateClosed { .. } => None,
        }
    }
}

/// Why an attempt was told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stopped {
    /// A stop was asked for.
    Asked,
    /// The time limit of an attempt was over.
    Timeout,
    /// The time limit of its run was over.
    Deadline,
}

/// What an attempt used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Largest resident size of a single process, KiB.
    pub max_rss_kib: u64,
    /// CPU time in user mode, microseconds.
    pub user_us: u64,
    /// CPU time in the kernel, microseconds.
    pub system_us: u64,
    /// Bytes of output written by the command.
    pub output_bytes: u64,
    /// Bytes of output that were not kept.
    pub output_lost: u64,
    /// Bytes that the output takes on disk, where the runner tells.
    #[serde(default)]
    pub output_kept: Option<u64>,
    /// The most memory that its processes had in use at once, that of cached files included, KiB. Like what follows `None`
    /// where nobody counts it.
    #[serde(default)]
    pub memory_peak_kib: Option<u64>,
    /// Bytes its processes read from devices.
    #[serde(default)]
    pub read_bytes: Option<u64>,
    /// Bytes its processes wrote to devices.
    #[serde(default)]
    pub written_bytes: Option<u64>,
    /// The most processes and threads at once.
    #[serde(default)]
    pub peak_pids: Option<u64>,
}

/// What the runner says of an attempt that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptEnd {
    /// When it started, or when that was tried.
    pub started_at: Timestamp,
    /// Its process id; 0 when it never started.
    pub pid: u32,
    /// When it ended.
    pub finished_at: Timestamp,
    /// How.
    pub exit: Exit,
    /// Why it had been told to end, if it was.
    pub stopped: Option<Stopped>,
    /// What it used.
    pub usage: Usage,
}
