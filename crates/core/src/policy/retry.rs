//! Retries: whether another attempt follows one that did not succeed, and when.

use std::num::NonZeroU64;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::run::{Exit, Outcome};

/// Most retries of one run.
pub const RETRIES_MAX: u32 = 1_000;

/// Longest time between two attempts that may be chosen.
pub const BACKOFF_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Whether another attempt follows one that did not succeed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// How often at most; 0 for never.
    pub times: u32,
    /// How long each waits.
    #[serde(default)]
    pub backoff: Backoff,
    /// After what.
    #[serde(default)]
    pub on: RetryOn,
}

/// How long an attempt waits after the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backoff {
    /// Milliseconds before the first retry.
    pub initial_ms: NonZeroU64,
    /// Milliseconds before any of them, at most.
    pub max_ms: NonZeroU64,
    /// By how many hundredths the wait grows from one to the next: 200 doubles it.
    pub factor_percent: u32,
    /// Whether each waits for a random part of that.
    #[serde(default)]
    pub jitter: bool,
}

impl Default for Backoff {
    fn default() -> Self {
        const SECOND: NonZeroU64 = NonZeroU64::new(1_000).expect("it is not 0");
        const MINUTES: NonZeroU64 = NonZeroU64::new(5 * 60 * 1_000).expect("it is not 0");
        Backoff {
            initial_ms: SECOND,
            max_ms: MINUTES,
            factor_percent: 200,
            jitter: false,
        }
    }
}

impl Backoff {
    /// How long retry `n`, from 1, waits. `dice` is random.
    #[must_use]
    pub fn wait(&self, n: u32, dice: u64) -> Duration {
        // In microseconds, so that the shortest waits grow as well.
        let max = u128::from(self.max_ms.get()) * 1_000;
        let mut us = (u128::from(self.initial_ms.get()) * 1_000).min(max);
        // Growth ends at the greatest, and without growth there is nothing to repeat.
        for _ in 1..n {
            let grown = (us * u128::from(self.factor_percent) / 100).min(max);
            if grown <= us {
                break;
            }
            us = grown;
        }
        let mut ms = us / 1_000;
        if self.jitter {
            ms = ((ms + 1) * u128::from(dice)) >> 64;
        }
        Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))
    }
}

/// After what another attempt follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryOn {
    /// After any failure of its command.
    #[serde(default)]
    pub failed: bool,
    /// When its timeout was over.
    #[serde(default)]
    pub timed_out: bool,
    /// When it could not be started.
    #[serde(default)]
    pub spawn_failed: bool,
    /// When nobody knows how it ended: what it did may be done twice.
    #[serde(default)]
    pub unknown: bool,
    /// After these exit codes.
    #[serde(default, skip_serializing_if = "Codes::is_empty")]
    pub codes: Codes,
}

impl Default for RetryOn {
    fn default() -> Self {
        RetryOn {
            failed: true,
            timed_out: true,
            spawn_failed: false,
            unknown: false,
            codes: Codes::default(),
        }
    }
}

impl Retry {
    /// Whether another attempt follows the one of this number, from 1.
    #[must_use]
    pub fn follows(&self, attempt: u32, outcome: Outcome, exit: Option<&Exit>) -> bool {
        attempt <= self.times
            && match outcome {
                Outcome::Failed => {
                    let is_chosen = |exit: &Exit| matches!(exit, Exit::Code(code) if self.on.codes.has(*code));
                    self.on.failed || exit.is_some_and(is_chosen)
                }
                Outcome::TimedOut => self.on.timed_out,
                Outcome::SpawnFailed => self.on.spawn_failed,
                Outcome::Unknown => self.on.unknown,
                Outcome::Succeeded | Outcome::Cancelled | Outcome::Missed | Outcome::Skipped => false,
            }
    }

    pub(super) fn is_default(&self) -> bool {
        *self == Retry::default()
    }
}

/// A set of exit codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<u8>", into = "Vec<u8>")]
pub struct Codes([u64; 4]);

impl Codes {
    /// The set of 0 alone: what is a success unless a task says otherwise.
    pub const SUCCESS: Codes = Codes([1, 0, 0, 0]);

    /// Whether a code is in it.
    #[must_use]
    pub fn has(&self, code: i32) -> bool {
        u8::try_from(code).is_ok_and(|code| (self.0[usize::from(code / 64)] >> (code % 64)) & 1 == 1)
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }

    /// Those that are in it, in order.
    pub fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        (0..=u8::MAX).filter(|code| self.has(i32::from(*code)))
    }

    pub(super) fn is_success(&self) -> bool {
        *self == Codes::SUCCESS
    }
}

impl FromIterator<u8> for Codes {
    fn from_iter<I: IntoIterator<Item = u8>>(codes: I) -> Self {
        codes.into_iter().fold(Codes::default(), |mut all, code| {
            all.0[usize::from(code / 64)] |= 1 << (code % 64);
            all
        })
    }
}

impl From<Vec<u8>> for Codes {
    fn from(codes: Vec<u8>) -> Self {
        codes.into_iter().collect()
    }
}

impl From<Codes> for Vec<u8> {
    fn from(codes: Codes) -> Self {
        codes.iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(backoff: &Backoff, n: u32) -> u64 {
        backoff.wait(n, u64::MAX).as_secs()
    }

    #[test]
    fn waits_double_up_to_the_greatest() {
        let backoff = Backoff::default();
        let waits: Vec<u64> = (1..=11).map(|n| seconds(&backoff, n)).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(seconds(&backoff, u32::MAX), 300);
        let steady = Backoff {
            factor_percent: 100,
            ..backoff
        };
        assert_eq!(seconds(&steady, u32::MAX), 1);
        let huge = Backoff {
            max_ms: NonZeroU64::MAX,
            factor_percent: u32::MAX,
            ..backoff
        };
        assert_eq!(huge.wait(9, 0).as_millis(), u128::from(u64::MAX));
        let short = Backoff {
            initial_ms: NonZeroU64::MIN,
            factor_percent: 110,
            ..backoff
        };
        assert_eq!(short.wait(9, 0).as_millis(), 2);
    }

    #[test]
    fn jitter_waits_for_a_part_of_it() {
        let backoff = Backoff {
            jitter: true,
            ..Backoff::default()
        };
        assert_eq!(backoff.wait(3, 0), Duration::ZERO);
        assert_eq!(backoff.wait(3, u64::MAX), Duration::from_secs(4));
        assert_eq!(backoff.wait(3, u64::MAX / 2).as_secs(), 2);
    }

    #[test]
    fn another_attempt_follows_what_was_chosen_and_so_often() {
        let retry = Retry {
            times: 2,
            on: RetryOn {
                failed: false,
                codes: [75].into_iter().collect(),
                ..RetryOn::default()
            },
            ..Retry::default()
        };
        let code = |code| Some(Exit::Code(code));
        for (attempt, outcome, exit, follows) in [
            (1, Outcome::Failed, code(75), true),
            (2, Outcome::Failed, code(75), true),
            (3, Outcome::Failed, code(75), false),
            (1, Outcome::Failed, code(1), false),
            (1, Outcome::Failed, Some(Exit::Signal(9)), false),
            (1, Outcome::TimedOut, Some(Exit::Signal(15)), true),
            (1, Outcome::SpawnFailed, None, false),
            (1, Outcome::Unknown, None, false),
            (1, Outcome::Cancelled, None, false),
            (1, Outcome::Succeeded, code(75), false),
        ] {
            assert_eq!(
                retry.follows(attempt, outcome, exit.as_ref()),
                follows,
                "{attempt} {outcome} {exit:?}"
            );
        }
        assert!(!Retry::default().follows(1, Outcome::Failed, None));
    }

    #[test]
    fn codes_are_a_set_of_bytes() {
        let codes: Codes = [0, 63, 64, 255, 0].into_iter().collect();
        assert_eq!(codes.iter().collect::<Vec<_>>(), [0, 63, 64, 255]);
        assert!(!codes.has(-1) && !codes.has(256) && !codes.has(65));
        let json = serde_json::to_string(&codes).unwrap();
        assert_eq!(json, "[0,63,64,255]");
        assert_eq!(serde_json::from_str::<Codes>(&json).unwrap(), codes);
    }
}
