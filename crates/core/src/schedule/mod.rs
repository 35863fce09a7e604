//! When tasks are due: cron expressions in zones, grids of elapsed time, single instants.
//!
//! # Theory of operation
//!
//! A cron expression is read three times, each time for one thing. `dialect` checks every character against the dialect and knows
//! the field, the column and the cure of each error; it rewrites the expression so that nothing is left to guess. croner parses
//! what was rewritten. `cron` reads croner's fields into bit masks of some 50 bytes, which all tasks with the same expression share
//! through the [`Catalog`].
//!
//! A search never steps. `Cron` finds the next matching local time with bit operations on civil time alone, as if no clock
//! were ever changed. `walk` lays that over the segments of constant offset of a [`Zone`], and decides by the [`DstRule`] what
//! becomes of local times that are skipped or shown twice. The fire times of a schedule are a fixed set of instants: what
//! [`Schedule::next_after`] answers for one instant never depends on what was asked before. Fire times of cron expressions
//! are whole seconds from 1800 to 9999. What passed is not searched for but counted, segment by segment and month by month.
//!
//! Nothing here reads a clock. The tz database is the one handed to [`Zones::new`], and only [`Zones::get`] reads from it.

mod at;
mod buckets;
mod catalog;
pub(crate) mod civil;
mod cron;
mod dialect;
mod duration;
mod error;
mod findings;
pub(crate) mod nearest;
mod shift;
mod terms;
mod walk;
mod written;
mod zone;

use std::sync::Arc;
use std::time::Duration;

pub use at::{AtError, AtErrorKind, LocalTime, Resolution, Resolved, local_time, resolve_at};
pub use buckets::{Buckets, Counting, Stretches};
pub use catalog::{Catalog, ScheduleError};
pub use cron::Cron;
pub use dialect::EXPRESSION_MAX;
pub use duration::{
    DURATION_MAX, DurationError, DurationErrorKind, every_word, format_duration, is_reboot_word, parse_duration,
    parse_interval,
};
pub use error::{CronError, CronErrorKind, CronField};
pub(crate) use findings::same_minute;
pub use findings::{ClockChange, Finding, FindingCode, clock_changes, findings};
pub use shift::Shift;
pub use terms::{Keeping, Termed, jitter_offset};
pub use walk::{DstRule, Gap, Overlap};
pub use zone::{UnknownZone, Zone, Zones};

use crate::time::Timestamp;

/// When a task is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// At the local times a cron expression matches.
    Cron {
        /// The expression.
        cron: Arc<Cron>,
        /// The zone whose local time is meant.
        zone: Arc<Zone>,
        /// What happens to skipped and repeated local times.
        rule: DstRule,
    },
    /// At `anchor` + n × `interval` in elapsed time, before the anchor as well as after it: a clock that is set back has not
    /// come to the instant of acceptance again, and intervals pass all the same.
    Every {
        /// The instant of acceptance. A mark at it leaves it behind, so a new task is first due one interval later.
        anchor: Timestamp,
        /// At least one millisecond; [`parse_interval`] sees to that.
        interval: Duration,
    },
    /// Once.
    At(Timestamp),
    /// At what several schedules say, within a window, moved by an offset.
    Termed(Arc<Termed>),
    /// Never by itself.
    Manual,
}

/// The fire times of a span of time: see [`Schedule::passed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The earliest.
    pub first: Timestamp,
    /// The latest.
    pub last: Timestamp,
    /// How many there are.
    pub count: u64,
}

impl Passed {
    /// One fire time.
    #[must_use]
    pub fn single(at: Timestamp) -> Self {
        Passed {
            first: at,
            last: at,
            count: 1,
        }
    }
}

impl Schedule {
    /// The zone it is read in, where it has one.
    #[must_use]
    pub fn zone(&self) -> Option<&Arc<Zone>> {
        match self {
            Schedule::Cron { zone, .. } => Some(zone),
            Schedule::Termed(termed) => termed.of.iter().find_map(Schedule::zone),
            Schedule::Every { .. } | Schedule::At(_) | Schedule::Manual => None,
        }
    }

    /// The time that a fire time has by its expression, where terms move it to another.
    #[must_use]
    pub fn comes_from(&self, at: Timestamp) -> Option<Timestamp> {
        match self {
            Schedule::Termed(termed) => termed.comes_from(at).filter(|from| *from != at),
            Schedule::Cron { .. } | Schedule::Every { .. } | Schedule::At(_) | Schedule::Manual => None,
        }
    }

    /// The first time between two instants that its expression has and terms move, and the fire time that it becomes, if it
    /// becomes one.
    #[must_use]
    pub fn goes_to(&self, from: Timestamp, until: Timestamp) -> Option<(Timestamp, Option<Timestamp>)> {
        match self {
            Schedule::Termed(termed) => termed.goes_to(from, until).filter(|(at, to)| *to != Some(*at)),
            Schedule::Cron { .. } | Schedule::Every { .. } | Schedule::At(_) | Schedule::Manual => None,
        }
    }

    /// What moves its fire times, in words; `None` where nothing does.
    #[must_use]
    pub fn moved_by(&self) -> Option<String> {
        let Schedule::Termed(termed) = self else { return None };
        let jitter = (!termed.offset.is_zero()).then(|| "its jitter".to_owned());
        let calendars = termed
            .shift
            .as_ref()
            .map(|_| "a calendar that covers its day".to_owned());
        let both: Vec<String> = calendars.into_iter().chain(jitter).collect();
        (!both.is_empty()).then(|| both.join(" and "))
    }

    /// At most so many fire times are on one day, changes of the clock aside; `None` where that is not known by the schedule
    /// alone.
    #[must_use]
    pub fn times_of_day(&self) -> Option<u64> {
        match self {
            Schedule::Cron { cron, .. } => Some(cron.times_of_day()),
            Schedule::At(_) => Some(1),
            Schedule::Manual => Some(0),
            Schedule::Termed(termed) => termed.of.iter().map(Schedule::times_of_day).sum(),
            Schedule::Every { .. } => None,
        }
    }

    /// The calendars that its fire times keep to or keep clear of.
    #[must_use]
    pub fn keeps(&self) -> &[Keeping] {
        match self {
            Schedule::Termed(termed) => &termed.keeps,
            Schedule::Cron { .. } | Schedule::Every { .. } | Schedule::At(_) | Schedule::Manual => &[],
        }
    }

    /// Why its calendars suppress a fire time, if they do, and the first instant at which that may be otherwise.
    #[must_use]
    pub fn suppressed(&self, at: Timestamp) -> (Option<String>, Timestamp) {
        let mut fate = (None, Timestamp::MAX);
        for (reason, change) in self.keeps().iter().map(|keeping| keeping.fate(at)) {
            fate = (fate.0.or(reason), fate.1.min(change));
        }
        fate
    }

    /// The first fire time strictly later than `after`.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Schedule::Cron { cron, zone, rule } => cron.next_after_by(zone, *rule, after),
            Schedule::Every { anchor, interval } => {
                grid_point(*anchor, *interval, grid_index(*anchor, *interval, after) + 1)
            }
            Schedule::At(at) => (*at > after).then_some(*at),
            Schedule::Termed(termed) => termed.next_after(after),
            Schedule::Manual => None,
        }
    }

    /// The fire times later than `after` and not later than `until`, or `None` if there are none. None is searched for but the
    /// first: what passed in years is counted in microseconds.
    #[must_use]
    pub fn passed(&self, after: Timestamp, until: Timestamp) -> Option<Passed> {
        let first = self.next_after(after).filter(|first| *first <= until)?;
        self.passed_from(first, until)
    }

    /// The same from `first` on, which is one of them and not later than `until`.
    fn passed_from(&self, first: Timestamp, until: Timestamp) -> Option<Passed> {
        let (count, last) = match self {
            Schedule::Cron { cron, zone, rule } => {
                let (count, last) = walk::count(cron, zone, *rule, first.as_second(), until.as_second());
                (count, Timestamp::from_second(last))
            }
            Schedule::Every { anchor, interval } => {
                let index = |at| grid_index(*anchor, *interval, at);
                let count = u64::try_from(index(until) - index(first) + 1).unwrap_or(u64::MAX);
                (count, grid_point(*anchor, *interval, index(until))?)
            }
            Schedule::Termed(termed) => return termed.passed_from(first, until),
            Schedule::At(_) | Schedule::Manual => (1, first),
        };
        Some(Passed { first, last, count })
    }
}

/// The index of the last grid point not later than `at`; the anchor has index 0.
fn grid_index(anchor: Timestamp, interval: Duration, at: Timestamp) -> i128 {
    let elapsed = i128::from(at.as_millis()) - i128::from(anchor.as_millis());
    elapsed.div_euclid(interval_millis(interval))
}

fn grid_point(anchor: Timestamp, interval: Duration, index: i128) -> Option<Timestamp> {
    let millis = interval_millis(interval)
        .checked_mul(index)?
        .checked_add(i128::from(anchor.as_millis()))?;
    i64::try_from(millis).ok().map(Timestamp::from_millis)
}

fn interval_millis(interval: Duration) -> i128 {
    i128::try_from(interval.as_millis()).unwrap_or(i128::MAX).max(1)
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
