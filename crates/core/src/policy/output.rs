//! What is kept of runs: their output, and the runs themselves.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

/// Fewest bytes of output that may be chosen to be kept of an attempt.
pub const OUTPUT_MIN: u64 = 4 << 10;

/// Most bytes of output that may be chosen to be kept of an attempt.
pub const OUTPUT_MAX: u64 = 64 << 30;

/// Most runs that a task may be given to keep.
pub const KEEP_RUNS_MAX: u64 = 1_000_000;

/// The longest time in milliseconds that a task may be given to keep its runs: 36,500 days.
pub const KEEP_FOR_MAX_MS: u64 = 36_500 * 24 * 60 * 60 * 1000;

/// Who writes the output of runs, and where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputKind {
    /// The runner reads it and writes lines with their stream and their time.
    #[default]
    Lines,
    /// The command, into a file of its own.
    File,
    /// Nobody: nothing of it is kept.
    Discard,
}

impl OutputKind {
    fn is_default(&self) -> bool {
        *self == OutputKind::default()
    }
}

/// What becomes of the output of a task's runs. No decision of the core depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputPolicy {
    /// Who writes it where.
    #[serde(default, skip_serializing_if = "OutputKind::is_default")]
    pub kind: OutputKind,
    /// Most bytes kept of an attempt; `None` for what holds for all tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<NonZeroU64>,
    /// Regular expressions of what is hidden before anything is written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mask: Vec<String>,
}

impl OutputPolicy {
    /// Whether nothing was chosen.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == OutputPolicy::default()
    }
}

/// How much is kept of a task's history, where it is not what holds for all tasks. No decision of the core depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// Finished runs, the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<NonZeroU64>,
    /// Milliseconds since a run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<NonZeroU64>,
}

impl History {
    /// Whether nothing was chosen.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == History::default()
    }
}
