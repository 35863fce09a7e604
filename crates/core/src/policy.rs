//! Policies: what happens when a task's life does not go as planned.

use std::num::NonZeroU64;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::words::words;

mod concurrency;
mod output;
mod retry;
mod sharing;

pub use concurrency::{AT_ONCE_MAX, Concurrency, ConcurrencyError, QUEUE, QUEUE_MAX};
pub use output::{History, KEEP_FOR_MAX_MS, KEEP_RUNS_MAX, OUTPUT_MAX, OUTPUT_MIN, OutputKind, OutputPolicy};
pub use retry::{BACKOFF_MAX, Backoff, Codes, RETRIES_MAX, Retry, RetryOn};
pub use sharing::{Holding, LOCKS_MAX, POOL_MAX, PRIORITY_MAX, Pool, PoolName, Sharing};

/// Default of [`Misfire::Once`]: how late a missed fire time may still be run.
pub const MISFIRE_WITHIN: Duration = Duration::from_secs(60 * 60);

/// The same in milliseconds.
const MISFIRE_WITHIN_MS: NonZeroU64 = NonZeroU64::new(MISFIRE_WITHIN.as_millis() as u64).expect("an hour is not 0");

/// Longest grace that may be chosen.
pub const GRACE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The policies of one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Policies {
    /// What becomes of a fire time while a run is in progress.
    #[serde(default)]
    pub concurrency: Concurrency,
    /// What becomes of fire times that passed without a start.
    #[serde(default)]
    pub misfire: Misfire,
    /// How long runs may take, and how they are stopped.
    #[serde(default, skip_serializing_if = "TimeLimits::is_default")]
    pub time: TimeLimits,
    /// Whether another attempt follows one that did not succeed.
    #[serde(default, skip_serializing_if = "Retry::is_default")]
    pub retry: Retry,
    /// The exit codes that are a success.
    #[serde(default = "success", skip_serializing_if = "Codes::is_success")]
    pub success: Codes,
    /// What becomes of processes that an attempt leaves behind.
    #[serde(default, skip_serializing_if = "Leftover::is_default")]
    pub leftover: Leftover,
    /// Milliseconds that a run waits for a gate that is closed; `None` for none: it is skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate_wait_ms: Option<NonZeroU64>,
}

fn success() -> Codes {
    Codes::SUCCESS
}

impl Default for Policies {
    fn default() -> Self {
        Policies {
            concurrency: Concurrency::default(),
            misfire: Misfire::default(),
            time: TimeLimits::default(),
            retry: Retry::default(),
            success: Codes::SUCCESS,
            leftover: Leftover::default(),
            gate_wait_ms: None,
        }
    }
}

/// How long runs may take, and how they are stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeLimits {
    /// Milliseconds that an attempt may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<NonZeroU64>,
    /// Milliseconds that a run may take with all its attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<NonZeroU64>,
    /// Milliseconds between the signal that asks a run to end and KILL; `None` for what holds for all tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
    /// Which signal that is.
    #[serde(default, skip_serializing_if = "StopSignal::is_default")]
    pub signal: StopSignal,
}

impl TimeLimits {
    /// How much time a run has between the signal that asks it to end and KILL, where that was chosen.
    #[must_use]
    pub fn grace(&self) -> Option<Duration> {
        self.grace_ms.map(Duration::from_millis)
    }

    fn is_default(&self) -> bool {
        *self == TimeLimits::default()
    }
}

words! {
    /// A signal that asks a process to end.
    #[derive(Default)]
    StopSignal {
        /// Hang up.
        Hup = "HUP",
        /// As from a terminal's Ctrl-C.
        Int = "INT",
        /// As from a terminal's Ctrl-\\: it leaves a core.
        Quit = "QUIT",
        /// Abort: it leaves a core.
        Abrt = "ABRT",
        /// For programs to give a meaning to.
        Usr1 = "USR1",
        /// For programs to give a meaning to.
        Usr2 = "USR2",
        /// As from a timer.
        Alrm = "ALRM",
        /// Terminate.
        #[default]
        Term = "TERM",
        /// As from a window that has changed: what some servers take for a wish to end gracefully.
        Winch = "WINCH",
    }
}

impl StopSignal {
    fn is_default(&self) -> bool {
        *self == StopSignal::default()
    }
}

words! {
    /// What becomes of processes that an attempt leaves behind when its first process ends by itself.
    #[derive(Default)]
    Leftover {
        /// They are killed.
        #[default]
        Kill = "kill",
        /// They go on, at most until the runner ends.
        Leave = "leave",
    }
}

impl Leftover {
    fn is_default(&self) -> bool {
        *self == Leftover::default()
    }
}

/// What becomes of fire times that passed without a start: daemon down, machine asleep, store or runner away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Misfire {
    /// They are recorded as missed.
    Skip,
    /// The latest of them is run if it is no older than this; the rest are recorded as missed.
    Once {
        /// Milliseconds.
        within_ms: NonZeroU64,
    },
    /// They are run one after the other, behind live firings, as many as a backlog holds: the latest. The rest are recorded as
    /// missed.
    All {
        /// Milliseconds, for those that are older; `None` for however late.
        within_ms: Option<NonZeroU64>,
    },
}

impl Default for Misfire {
    fn default() -> Self {
        Misfire::Once {
            within_ms: MISFIRE_WITHIN_MS,
        }
    }
}
