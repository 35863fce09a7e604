//! Instants, counted in milliseconds.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One boot of the machine, and when it was by the clock as that stands. To set the clock moves it by as much; to slew it does
/// not, since the time since the boot is slewed with it (clock_gettime(2), adjtimex(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Its id.
    pub id: u128,
    /// When it was: the clock less the time since, exact to a few milliseconds.
    pub at: Timestamp,
}

/// An instant of real time: milliseconds since 1970-01-01T00:00:00Z, without leap seconds. Arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Earlier than any instant that occurs.
    pub const MIN: Timestamp = Timestamp(i64::MIN);
    /// Later than any instant that occurs.
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    /// The instant so many milliseconds after the epoch.
    #[must_use]
    pub const fn from_millis(ms: i64) -> Self {
        Timestamp(ms)
    }

    /// The instant so many seconds after the epoch.
    #[must_use]
    pub const fn from_second(second: i64) -> Self {
        Timestamp(second.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn as_second(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The instant so much later, in whole milliseconds.
    #[must_use]
    pub fn plus(self, length: Duration) -> Self {
        Timestamp(
            self.0
                .saturating_add(i64::try_from(length.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// The instant so much earlier, in whole milliseconds.
    #[must_use]
    pub fn minus(self, length: Duration) -> Self {
        Timestamp(
            self.0
                .saturating_sub(i64::try_from(length.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The same instant for jiff; clamped to the years jiff knows (−9999 to 9999).
    #[must_use]
    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or(if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        })
    }

    /// The millisecond in which jiff's instant lies.
    #[must_use]
    pub fn from_jiff(at: jiff::Timestamp) -> Self {
        Timestamp(i64::try_from(at.as_nanosecond().div_euclid(1_000_000)).unwrap_or(i64::MAX))
    }
}

/// RFC 3339 in UTC, with milliseconds where there are any.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_jiff().fmt(f)
    }
}
