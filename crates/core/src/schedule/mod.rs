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
//! are whole seconds from 1800 to 9999.
//!
//! Nothing here reads a clock, and the tz database is the one handed to [`Zones::new`].

mod at;
mod catalog;
mod civil;
mod cron;
mod dialect;
mod duration;
mod error;
mod nearest;
mod remarks;
mod walk;
mod zone;

use std::sync::Arc;
use std::time::Duration;

pub use at::{AtError, AtErrorKind, LocalTime, Resolution, Resolved, local_time, resolve_at};
pub use catalog::{Catalog, ScheduleError};
pub use cron::Cron;
pub use dialect::EXPRESSION_MAX;
pub use duration::{DurationError, DurationErrorKind, format_duration, parse_duration, parse_interval};
pub use error::{CronError, CronErrorKind, CronField};
pub use remarks::remarks;
pub use walk::{DstRule, Gap, Overlap};
pub use zone::{UnknownZone, Zone, Zones};

use crate::time::Timestamp;

/// Most fire times [`Schedule::passed`] counts one by one.
pub const PASSED_MAX: u64 = 10_000;

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
    /// How many there are; at least so many where not `exact`.
    pub count: u64,
    /// Whether all were counted.
    pub exact: bool,
}

impl Schedule {
    /// The first fire time strictly later than `after`.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Schedule::Cron { cron, zone, rule } => cron.next_after_by(zone, *rule, after),
            Schedule::Every { anchor, interval } => {
                grid_point(*anchor, *interval, grid_index(*anchor, *interval, after) + 1)
            }
            Schedule::At(at) => (*at > after).then_some(*at),
            Schedule::Manual => None,
        }
    }

    /// The fire times later than `after` and not later than `until`, or `None` if there are none. The work is bounded: past
    /// [`PASSED_MAX`] fire times the count is no longer exact, the first and the last still are.
    #[must_use]
    pub fn passed(&self, after: Timestamp, until: Timestamp) -> Option<Passed> {
        let first = self.next_after(after).filter(|first| *first <= until)?;
        match self {
            Schedule::Cron { .. } => Some(self.count_from(first, until)),
            Schedule::Every { anchor, interval } => {
                let (from, to) = (
                    grid_index(*anchor, *interval, first),
                    grid_index(*anchor, *interval, until),
                );
                let last = grid_point(*anchor, *interval, to)?;
                let count = u64::try_from(to - from + 1).unwrap_or(u64::MAX);
                Some(Passed {
                    first,
                    last,
                    count,
                    exact: true,
                })
            }
            Schedule::At(_) | Schedule::Manual => Some(Passed {
                first,
                last: first,
                count: 1,
                exact: true,
            }),
        }
    }

    fn count_from(&self, first: Timestamp, until: Timestamp) -> Passed {
        let (mut last, mut count) = (first, 1);
        while count < PASSED_MAX {
            match self.next_after(last).filter(|next| *next <= until) {
                Some(next) => (last, count) = (next, count + 1),
                None => {
                    return Passed {
                        first,
                        last,
                        count,
                        exact: true,
                    };
                }
            }
        }
        match self.next_after(last) {
            Some(next) if next <= until => Passed {
                first,
                last: self.last_until(next, until),
                count,
                exact: false,
            },
            _ => Passed {
                first,
                last,
                count,
                exact: true,
            },
        }
    }

    /// The last fire time not later than `until`, given one of them: halves what lies between.
    fn last_until(&self, known: Timestamp, until: Timestamp) -> Timestamp {
        let (mut last, mut none_after) = (known, until);
        while last < none_after {
            let middle = Timestamp::from_millis(last.as_millis() + (none_after.as_millis() - last.as_millis()) / 2);
            match self.next_after(middle).filter(|next| *next <= until) {
                Some(next) => last = next,
                None => none_after = middle,
            }
        }
        last
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
