//! Concurrency: what becomes of a new run while others of its task are in progress.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// How many runs of a task wait where nothing else was chosen.
pub const QUEUE: NonZeroU32 = NonZeroU32::new(16).expect("it is not 0");

/// Most runs of a task that may be chosen to wait.
pub const QUEUE_MAX: u32 = 1_000;

/// Most runs of a task that may be chosen to go side by side.
pub const AT_ONCE_MAX: u32 = 10_000;

/// What becomes of a fire time, or of a run that is asked for, while others of the task are in progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Concurrency {
    /// It is skipped, and the skip is recorded.
    #[default]
    Forbid,
    /// Runs go side by side; what is more is skipped.
    Allow {
        /// How many at most; `None` for as many as there are places.
        at_once: Option<NonZeroU32>,
    },
    /// Runs go one after the other; what is more than may wait is skipped.
    Queue {
        /// How many wait at most.
        waiting: NonZeroU32,
    },
    /// The earlier runs are cancelled, and the new one begins when they have ended.
    Replace,
}

/// Why a text is no policy of concurrency.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConcurrencyError {
    /// It is none of the words.
    #[error("this is neither forbid, allow, queue nor replace")]
    Word,
    /// It is no number, or one that is out of range.
    #[error("this is no number from 1 to {most}")]
    Number {
        /// The greatest number that may stand there.
        most: u32,
        /// Where it stands, in characters from 0.
        span: Range<usize>,
    },
    /// A number stands where none may.
    #[error("{word} takes no number")]
    NoNumber {
        /// The word before it.
        word: &'static str,
        /// Where it stands, in characters from 0.
        span: Range<usize>,
    },
}

impl ConcurrencyError {
    /// Where it is wrong, in characters from 0; `None` for all of it.
    #[must_use]
    pub fn span(&self) -> Option<Range<usize>> {
        match self {
            ConcurrencyError::Word => None,
            ConcurrencyError::Number { span, .. } | ConcurrencyError::NoNumber { span, .. } => Some(span.clone()),
        }
    }

    /// What to write instead.
    #[must_use]
    pub fn cure(&self) -> &'static str {
        "write forbid, allow, allow:N, queue, queue:N or replace"
    }
}

/// As it is typed.
impl fmt::Display for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Concurrency::Forbid => f.write_str("forbid"),
            Concurrency::Allow { at_once: None } => f.write_str("allow"),
            Concurrency::Allow { at_once: Some(most) } => write!(f, "allow:{most}"),
            Concurrency::Queue { waiting } if *waiting == QUEUE => f.write_str("queue"),
            Concurrency::Queue { waiting } => write!(f, "queue:{waiting}"),
            Concurrency::Replace => f.write_str("replace"),
        }
    }
}

impl Concurrency {
    /// Reads what was typed: `forbid`, `allow`, `allow:N`, `queue`, `queue:N` or `replace`.
    ///
    /// # Errors
    /// [`ConcurrencyError`] says what is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, ConcurrencyError> {
        let (word, number) = match text.split_once(':') {
            Some((word, number)) => (word, Some(number)),
            None => (text, None),
        };
        let before = word.chars().count() + 1;
        let span = |number: &str| before..before + number.chars().count().max(1);
        let read = |number: &str, most: u32| {
            // Of what is accepted there is one way to write it.
            let plain = number.bytes().all(|byte| byte.is_ascii_digit());
            let parsed = number.parse::<NonZeroU32>().ok();
            parsed
                .filter(|parsed| plain && parsed.get() <= most)
                .ok_or_else(|| ConcurrencyError::Number {
                    most,
                    span: span(number),
                })
        };
        let alone = |word, policy| match number {
            None => Ok(policy),
            Some(number) => Err(ConcurrencyError::NoNumber {
                word,
                span: span(number),
            }),
        };
        match word {
            "forbid" => alone("forbid", Concurrency::Forbid),
            "replace" => alone("replace", Concurrency::Replace),
            "allow" => {
                let at_once = number.map(|number| read(number, AT_ONCE_MAX)).transpose()?;
                Ok(Concurrency::Allow { at_once })
            }
            "queue" => {
                let waiting = number.map_or(Ok(QUEUE), |number| read(number, QUEUE_MAX))?;
                Ok(Concurrency::Queue { waiting })
            }
            _ => Err(ConcurrencyError::Word),
        }
    }

    /// How many runs may go side by side; `None` for any number.
    #[must_use]
    pub fn at_once(&self) -> Option<NonZeroU32> {
        match self {
            Concurrency::Forbid | Concurrency::Queue { .. } | Concurrency::Replace => Some(NonZeroU32::MIN),
            Concurrency::Allow { at_once } => *at_once,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for text in [
            "forbid",
            "allow",
            "allow:1",
            "allow:10000",
            "queue",
            "queue:1000",
            "replace",
        ] {
            assert_eq!(
                Concurrency::parse(text).map(|policy| policy.to_string()).as_deref(),
                Ok(text)
            );
        }
        assert_eq!(Concurrency::parse("queue:16"), Concurrency::parse("queue"));
    }

    #[test]
    fn what_is_wrong_is_pointed_at() {
        let span = |text| Concurrency::parse(text).expect_err("it is wrong").span();
        for (text, at) in [
            ("allow:0", 6..7),
            ("allow:10001", 6..11),
            ("queue:", 6..7),
            ("queue:+3", 6..8),
        ] {
            assert_eq!(span(text), Some(at), "{text}");
        }
        assert_eq!(span("forbid:2"), Some(7..8));
        assert_eq!(span("replace:ü"), Some(8..9));
        assert_eq!(span("Forbid"), None);
    }
}
