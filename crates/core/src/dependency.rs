//! Dependencies: the tasks that another comes after, and the ends of theirs that it follows.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::run::{Outcome, RunKey};
use crate::task::{NameError, TaskName};
use crate::words::words;

/// Most tasks that one comes after.
pub const UPSTREAMS_MAX: usize = 64;

words! {
    /// Which ends of a task another follows.
    #[derive(Default)]
    EndKind {
        /// Those that succeeded.
        #[default]
        Succeeded = "succeeded",
        /// Those that failed, took too long or could not be started.
        Failed = "failed",
        /// All, also those that were cancelled and those of which nobody knows more.
        Finished = "finished",
    }
}

impl EndKind {
    /// Whether a run that ended so is meant.
    #[must_use]
    pub fn meets(self, outcome: Outcome) -> bool {
        match self {
            EndKind::Succeeded => outcome == Outcome::Succeeded,
            EndKind::Failed => match outcome {
                Outcome::Failed | Outcome::TimedOut | Outcome::SpawnFailed => true,
                Outcome::Succeeded | Outcome::Cancelled | Outcome::Skipped | Outcome::Missed | Outcome::Unknown => {
                    false
                }
            },
            EndKind::Finished => !matches!(outcome, Outcome::Missed | Outcome::Skipped),
        }
    }
}

/// The tasks that one comes after.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstreams {
    /// Which, at least one, each once.
    pub of: Vec<Upstream>,
    /// Whether the end of any of them is enough; otherwise it takes one of each.
    #[serde(default)]
    pub any: bool,
}

/// In a few words.
impl fmt::Display for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of: Vec<String> = self.of.iter().map(Upstream::to_string).collect();
        let any = if self.any && of.len() > 1 { "any of " } else { "" };
        write!(f, "{any}{}", of.join(", "))
    }
}

/// One task that another comes after.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Upstream {
    /// Its name; it is of the same owner.
    pub task: TaskName,
    /// Which of its ends count.
    pub on: EndKind,
}

/// Why a text names no task that another may come after.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// What stands before the colon is no name.
    #[error("{0}")]
    Name(#[from] NameError),
    /// What stands behind the colon is no kind of end.
    #[error("no run ends as {word:?}")]
    End {
        /// What stands there.
        word: String,
        /// Where, in characters.
        span: Range<usize>,
    },
}

impl UpstreamError {
    /// Which characters are wrong, where that can be told.
    #[must_use]
    pub fn span(&self) -> Option<Range<usize>> {
        match self {
            UpstreamError::Name(NameError::BadCharacter { column, .. }) => Some(*column..*column + 1),
            UpstreamError::Name(NameError::Empty | NameError::TooLong(_)) => None,
            UpstreamError::End { span, .. } => Some(span.clone()),
        }
    }

    /// What to write instead.
    #[must_use]
    pub fn cure(&self) -> &'static str {
        match self {
            UpstreamError::Name(_) => "write the name of a task, as in extract or extract:failed",
            UpstreamError::End { .. } => {
                "write :succeeded, :failed or :finished behind the name, or nothing for :succeeded"
            }
        }
    }
}

impl Upstream {
    /// Reads `TASK` or `TASK:END`.
    ///
    /// # Errors
    /// [`UpstreamError`] says what is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, UpstreamError> {
        let (name, end) = match text.split_once(':') {
            Some((name, end)) => (name, Some(end)),
            None => (text, None),
        };
        let task = TaskName::parse(name)?;
        let on = match end {
            None => EndKind::default(),
            Some(word) => EndKind::from_word(word).ok_or_else(|| {
                let from = name.chars().count() + 1;
                UpstreamError::End {
                    word: word.to_owned(),
                    span: from..from + word.chars().count(),
                }
            })?,
        };
        Ok(Upstream { task, on })
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.on {
            EndKind::Succeeded => write!(f, "{}", self.task),
            EndKind::Failed | EndKind::Finished => write!(f, "{}:{}", self.task, self.on),
        }
    }
}

impl TryFrom<String> for Upstream {
    type Error = UpstreamError;
    fn try_from(text: String) -> Result<Self, UpstreamError> {
        Upstream::parse(&text)
    }
}

impl From<Upstream> for String {
    fn from(upstream: Upstream) -> String {
        upstream.to_string()
    }
}

/// The run whose end another follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Which.
    pub run: RunKey,
    /// Its task's name then.
    pub name: TaskName,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.run.n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_shown() {
        for (text, on) in [
            ("extract", EndKind::Succeeded),
            ("extract:failed", EndKind::Failed),
            ("extract:finished", EndKind::Finished),
        ] {
            let read = Upstream::parse(text).unwrap();
            assert_eq!((read.task.as_str(), read.on), ("extract", on));
            assert_eq!(read.to_string(), text);
        }
        let said = Upstream::parse("extract:succeeded").unwrap();
        assert_eq!(said.to_string(), "extract", "what is meant without a word is not said");
        let error = Upstream::parse("extract:done").unwrap_err();
        assert_eq!(
            (error.span(), error.to_string().as_str()),
            (Some(8..12), "no run ends as \"done\"")
        );
        assert_eq!(Upstream::parse("a b").unwrap_err().span(), Some(1..2));
        assert!(Upstream::parse(":failed").is_err());
    }

    #[test]
    fn each_kind_of_end_means_its_outcomes() {
        let meant = |kind: EndKind| {
            let all = Outcome::ALL.iter().filter(|outcome| kind.meets(**outcome));
            all.map(|outcome| outcome.word()).collect::<Vec<_>>()
        };
        assert_eq!(meant(EndKind::Succeeded), ["succeeded"]);
        assert_eq!(meant(EndKind::Failed), ["failed", "timed-out", "spawn-failed"]);
        assert_eq!(
            meant(EndKind::Finished),
            [
                "succeeded",
                "failed",
                "timed-out",
                "cancelled",
                "spawn-failed",
                "unknown"
            ]
        );
    }
}
