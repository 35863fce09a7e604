//! Requirements: tasks whose last run must have succeeded, maybe not too long ago, for another to start when it is due.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::dependency::EndKind;
use crate::run::{AttemptEnd, Exit, Outcome};
use crate::schedule::{DurationError, format_duration, parse_interval};
use crate::task::{NameError, TaskName};
use crate::time::Timestamp;

/// Most tasks that one requires.
pub const REQUIRED_MAX: usize = 64;

/// One task that another requires.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Requirement {
    /// Its name; it is of the same owner.
    pub task: TaskName,
    /// For how many milliseconds after its end a success counts; `None` for any time.
    pub within_ms: Option<NonZeroU64>,
}

/// Why a text names no task that another may require.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequirementError {
    /// What stands before the colon is no name.
    #[error("{0}")]
    Name(#[from] NameError),
    /// What stands behind the colon is no length of time.
    #[error("{}", .error.problem())]
    Within {
        /// What is wrong with it, in columns of its own.
        error: DurationError,
        /// Its first column in the whole text.
        from: usize,
    },
}

impl RequirementError {
    /// Which characters are wrong, where that can be told.
    #[must_use]
    pub fn span(&self) -> Option<Range<usize>> {
        match self {
            RequirementError::Name(NameError::BadCharacter { column, .. }) => Some(*column..*column + 1),
            RequirementError::Name(NameError::Empty | NameError::TooLong(_)) => None,
            RequirementError::Within { error, from } => {
                let (start, end) = error.span;
                (start < end).then_some(from + start..from + end)
            }
        }
    }

    /// What to write instead.
    #[must_use]
    pub fn cure(&self) -> String {
        match self {
            RequirementError::Name(_) => "write the name of a task, as in backup or backup:26h".to_owned(),
            RequirementError::Within { error, from: _ } => {
                let cure = error.cure();
                cure.unwrap_or_else(|| "write how old a success may be, as in backup:26h".to_owned())
            }
        }
    }
}

impl Requirement {
    /// Reads `TASK` or `TASK:DURATION`.
    ///
    /// # Errors
    /// [`RequirementError`] says what is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, RequirementError> {
        let Some((name, within)) = text.split_once(':') else {
            let task = TaskName::parse(text)?;
            return Ok(Requirement { task, within_ms: None });
        };
        let task = TaskName::parse(name)?;
        let from = name.chars().count() + 1;
        let within = parse_interval(within).map_err(|error| RequirementError::Within { error, from })?;
        let within_ms = NonZeroU64::new(u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
        Ok(Requirement { task, within_ms })
    }

    /// For how long after its end a success counts; `None` for any time.
    #[must_use]
    pub fn within(&self) -> Option<Duration> {
        self.within_ms.map(|ms| Duration::from_millis(ms.get()))
    }

    /// Why this does not hold at an instant, when the last run of the task ended so; `None` where it does. An end that lies
    /// further ahead of the clock than `clock_back` has no age.
    #[must_use]
    pub fn unmet(&self, last: Option<LastEnd>, now: Timestamp, clock_back: Duration) -> Option<String> {
        let Requirement { task, within_ms: _ } = self;
        let Some(LastEnd { outcome, at }) = last else {
            return Some(format!("requires {task}: it has not run"));
        };
        let how = match outcome {
            Outcome::Succeeded => {
                let within = self.within()?;
                let length = format_duration(within);
                if at.since(now) > clock_back {
                    return Some(format!(
                        "requires {task} within {length}: its last run ended at {at}, which is ahead of the clock"
                    ));
                }
                return (now.since(at) > within).then(|| {
                    format!("requires {task} within {length}: its last run succeeded at {at}, longer ago than that")
                });
            }
            Outcome::Failed => "failed",
            Outcome::TimedOut => "timed out",
            Outcome::Cancelled => "was cancelled",
            Outcome::SpawnFailed => "could not be started",
            // Neither is an end of a run that a task has had.
            Outcome::Missed | Outcome::Skipped => "did not run",
            Outcome::Unknown => "ended in a way that nobody knows, recorded",
        };
        Some(format!("requires {task}: its last run {how} at {at}"))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.within() {
            None => write!(f, "{}", self.task),
            Some(within) => write!(f, "{}:{}", self.task, format_duration(within)),
        }
    }
}

impl TryFrom<String> for Requirement {
    type Error = RequirementError;
    fn try_from(text: String) -> Result<Self, RequirementError> {
        Requirement::parse(&text)
    }
}

impl From<Requirement> for String {
    fn from(requirement: Requirement) -> String {
        requirement.to_string()
    }
}

/// How the run of a task that ended last had ended, of those that did run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastEnd {
    /// How.
    pub outcome: Outcome,
    /// When.
    pub at: Timestamp,
}

impl LastEnd {
    /// The end of a run, if that is one of its task. `began` is whether an attempt of it was started before, or could not be.
    #[must_use]
    pub fn of(outcome: Outcome, at: Timestamp, end: Option<&AttemptEnd>, began: bool) -> Option<Self> {
        let is_end = EndKind::Finished.meets(outcome) && has_run(outcome, end, began);
        is_end.then_some(LastEnd { outcome, at })
    }
}

/// Whether a run that ended so has run at all: not where it was called off before its first attempt, or its gate was closed.
/// `began` is as for [`LastEnd::of`].
#[must_use]
pub fn has_run(outcome: Outcome, end: Option<&AttemptEnd>, began: bool) -> bool {
    let was_let_in = |end: &AttemptEnd| !matches!(end.exit, Exit::GateClosed { .. });
    end.is_some_and(was_let_in) || began || outcome == Outcome::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second)
    }

    #[test]
    fn what_is_written_is_read_and_shown() {
        for (text, ms) in [
            ("backup", None),
            ("backup:26h", Some(26 * 3_600_000)),
            ("backup:1d12h", Some(36 * 3_600_000)),
            ("a:1s500ms", Some(1_500)),
        ] {
            let read = Requirement::parse(text).unwrap();
            assert_eq!(read.within_ms.map(NonZeroU64::get), ms, "{text}");
            assert_eq!(Requirement::parse(&read.to_string()).unwrap(), read, "{read}");
        }
        assert_eq!(Requirement::parse("a b").unwrap_err().span(), Some(1..2));
        assert_eq!(Requirement::parse("backup:26x").unwrap_err().span(), Some(9..10));
        for text in ["", ":26h", "backup:", "backup:0s", "backup:-1h", "backup:1h:2h"] {
            assert!(Requirement::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_success_holds_for_as_long_as_is_said() {
        let (any, hour) = (Requirement::parse("a").unwrap(), Requirement::parse("a:1h").unwrap());
        let last = Some(LastEnd {
            outcome: Outcome::Succeeded,
            at: at(10_000),
        });
        let back = Duration::from_secs(100);
        assert_eq!(any.unmet(last, at(1_000_000_000), back), None);
        assert_eq!(hour.unmet(last, at(13_600), back), None, "the last instant");
        let too_old = hour.unmet(last, Timestamp::from_millis(13_600_001), back).unwrap();
        assert_eq!(
            too_old,
            "requires a within 1h: its last run succeeded at 1970-01-01T02:46:40Z, longer ago than that"
        );
        // A small step back of the clock is nothing; after a large one nobody knows how long ago it was.
        assert_eq!(hour.unmet(last, at(9_900), back), None);
        let ahead = hour.unmet(last, at(9_899), back).unwrap();
        assert!(ahead.ends_with("which is ahead of the clock"), "{ahead}");
        assert_eq!(any.unmet(last, at(9_000), back), None, "it has no age to be too old by");
    }

    #[test]
    fn each_end_that_is_no_success_is_told_in_words() {
        let required = Requirement::parse("a:1h").unwrap();
        let said = |last| required.unmet(last, at(10), Duration::ZERO).unwrap();
        assert_eq!(said(None), "requires a: it has not run");
        for (outcome, words) in [
            (Outcome::Failed, "failed"),
            (Outcome::TimedOut, "timed out"),
            (Outcome::Cancelled, "was cancelled"),
            (Outcome::SpawnFailed, "could not be started"),
            (Outcome::Unknown, "ended in a way that nobody knows, recorded"),
        ] {
            let last = LastEnd { outcome, at: at(5) };
            let expected = format!("requires a: its last run {words} at 1970-01-01T00:00:05Z");
            assert_eq!(said(Some(last)), expected);
        }
    }
}
