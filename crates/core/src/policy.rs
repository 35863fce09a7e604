//! Policies: what happens when a task's life does not go as planned.

use std::num::NonZeroU64;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Default of [`Misfire::Once`]: how late a missed fire time may still be run.
pub const MISFIRE_WITHIN: Duration = Duration::from_secs(60 * 60);

/// The same in milliseconds.
const MISFIRE_WITHIN_MS: NonZeroU64 = NonZeroU64::new(MISFIRE_WITHIN.as_millis() as u64).expect("an hour is not 0");

/// The policies of one task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Policies {
    /// What becomes of a fire time while a run is in progress.
    #[serde(default)]
    pub concurrency: Concurrency,
    /// What becomes of fire times that passed without a start.
    #[serde(default)]
    pub misfire: Misfire,
}

/// What becomes of a fire time while an earlier run of the task is in progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Concurrency {
    /// It is skipped, and the skip is recorded.
    #[default]
    Forbid,
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
