//! Calendars: sets of days and of times that tasks keep to or keep clear of.
//!
//! # Theory of operation
//!
//! A calendar is a union of three kinds of entries. [Days](DaySpan) and [rules](Rule) are civil: what they cover depends on the
//! date alone. [Ranges](TimeRange) are of local time, or of instants where an offset from UTC was written.
//!
//! **What clocks show decides.** An instant is covered if the local time that clocks show then, in the zone of the task that
//! asks, is on a covered day or in a covered range of local time, or if the instant itself is in a covered range of instants. So
//! a day is as long as clocks make it, 23 or 25 hours or none at all; a local time that is shown twice is covered both times; one
//! that is skipped covers nothing.
//!
//! **Nothing is stepped through.** Days and ranges are kept sorted and merged, and are found by bisection; rules become a
//! bit mask for each month that is looked at. A search goes from one end of a covered stretch to the next, over the segments
//! of constant offset of a zone, and ends after [`LOOK_AHEAD_DAYS`].

mod day;
mod error;
mod range;
mod recurring;
mod rule;
mod spans;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use day::DaySpan;
pub use error::{CalendarError, EntryError, EntryErrorKind, RangeEnd, RangeError};
pub use range::{Bounds, TimeRange};
pub use rule::Rule;

use crate::schedule::Zone;
use crate::schedule::civil::DAY;
use crate::time::Timestamp;
use recurring::Recurring;
use spans::Spans;

/// Most entries of a calendar, counted as they are given: days and spans of days, ranges, rules.
pub const ENTRIES_MAX: usize = 10_000;
/// How far [`Calendar::change_after`] looks, in days: ten years.
pub const LOOK_AHEAD_DAYS: i64 = 3_653;
/// How far [`Calendar::open_day`] looks, in days.
pub const OPEN_DAY_REACH: i64 = 366;
/// The first day a calendar may name, in days since 1970-01-01.
pub const FIRST_DAY: i64 = 0;
/// The last day a calendar may name, 9999-12-31.
pub const LAST_DAY: i64 = 2_932_896;

/// No instant is so many days away from 1970: no [`Timestamp`] reaches there.
const NO_DAY: u64 = 1 << 40;

/// A calendar's name; it follows the rules for names of tasks.
pub type CalendarName = crate::task::TaskName;

/// A calendar as it is kept under its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// What it covers.
    pub calendar: Calendar,
    /// The zone in which it is read for tasks that have none.
    pub tz: String,
    /// Names or patterns of tasks that do not fire in what it covers, whatever they say themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,
}

/// What a task does with a calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// It keeps clear of what is covered: fire times there are skipped.
    Exclude,
    /// It keeps to what is covered: fire times elsewhere are skipped.
    Only,
    /// Fire times on covered days are those of the next day that is not.
    Next,
    /// Fire times on covered days are those of the last day before that is not.
    Previous,
}

/// The use that a task makes of a calendar.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalendarUse {
    /// Which.
    pub name: CalendarName,
    /// What for.
    pub keep: Keep,
}

/// A part of a calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// A day, or days in a row.
    Days(DaySpan),
    /// A range of time.
    Range(TimeRange),
    /// Days that come again.
    Rule(Rule),
}

/// Which way a day is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Towards later days.
    Next,
    /// Towards earlier days.
    Previous,
}

/// A set of days and times. Never empty, and never of more than [`ENTRIES_MAX`] entries.
///
/// Two calendars are equal when they were made of the same entries, in whatever order and however days and ranges that touch
/// were parted. As JSON and in [TOML](fmt::Display) it has the same form: `days` and `rules` as texts, `ranges` as pairs of
/// texts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Calendar {
    /// Days since 1970-01-01.
    days: Spans,
    /// Local seconds since 1970-01-01T00:00.
    local: Spans,
    /// Seconds since the epoch.
    absolute: Spans,
    /// Sorted, none twice.
    rules: Vec<Rule>,
    /// What the rules mean.
    recurring: Recurring,
}

/// A calendar as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    days: Vec<DaySpan>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ranges: Vec<TimeRange>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rules: Vec<Rule>,
}

impl TryFrom<Written> for Calendar {
    type Error = CalendarError;
    fn try_from(written: Written) -> Result<Self, CalendarError> {
        let days = written.days.into_iter().map(Entry::Days);
        let ranges = written.ranges.into_iter().map(Entry::Range);
        Calendar::new(days.chain(ranges).chain(written.rules.into_iter().map(Entry::Rule)))
    }
}

impl From<Calendar> for Written {
    fn from(calendar: Calendar) -> Self {
        Written {
            days: calendar.days().collect(),
            ranges: calendar.ranges().collect(),
            rules: calendar.rules,
        }
    }
}

impl Calendar {
    /// The union of these entries.
    ///
    /// # Errors
    /// [`CalendarError`] if there are none, or too many.
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Result<Self, CalendarError> {
        let (mut days, mut local, mut absolute, mut rules) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut count = 0;
        for entry in entries {
            count += 1;
            match entry {
                // The rest is counted and not kept.
                _ if count > ENTRIES_MAX => {}
                Entry::Days(span) => days.push((span.first(), span.last() + 1)),
                Entry::Range(TimeRange::Local(span)) => local.push(span.pair()),
                Entry::Range(TimeRange::Absolute(span)) => absolute.push(span.pair()),
                Entry::Rule(rule) => rules.push(rule),
            }
        }
        if count == 0 {
            return Err(CalendarError::Empty);
        }
        if count > ENTRIES_MAX {
            return Err(CalendarError::TooMany { entries: count });
        }
        rules.sort_unstable();
        rules.dedup();
        Ok(Calendar {
            days: Spans::new(days),
            local: Spans::new(local),
            absolute: Spans::new(absolute),
            recurring: Recurring::new(&rules),
            rules,
        })
    }

    /// The days named, in order; days that touch are one span.
    pub fn days(&self) -> impl Iterator<Item = DaySpan> + '_ {
        self.days.iter().map(DaySpan::of_bounds)
    }

    /// The ranges: those of local time in order, then those of instants in order; ranges that touch are one.
    pub fn ranges(&self) -> impl Iterator<Item = TimeRange> + '_ {
        let local = self.local.iter().map(TimeRange::of_local_bounds);
        local.chain(self.absolute.iter().map(TimeRange::of_absolute_bounds))
    }

    /// The rules, in order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether all of a civil day is covered, given in days since 1970-01-01: by its date, or by a range of local time from midnight to
    /// midnight. Ranges of instants do not count here, as they are of no date before there is a zone.
    #[must_use]
    pub fn covers_day(&self, day: i64) -> bool {
        let midnight = day.saturating_mul(DAY);
        self.names_day(day) || self.local.end_of(midnight).is_some_and(|end| end - midnight >= DAY)
    }

    /// Whether an instant is covered, as clocks show it in this zone.
    #[must_use]
    pub fn covers(&self, zone: &Zone, at: Timestamp) -> bool {
        let second = at.as_second();
        self.covers_second(second, second.saturating_add(i64::from(zone.offset_at(at))))
    }

    /// The first instant after `at` from which on [`Calendar::covers`] has another answer than at `at`; `None` if there is
    /// none within [`LOOK_AHEAD_DAYS`].
    #[must_use]
    pub fn change_after(&self, zone: &Zone, at: Timestamp) -> Option<Timestamp> {
        let mut second = at.as_second();
        let until = second.saturating_add(LOOK_AHEAD_DAYS * DAY);
        let covered = self.covers(zone, at);
        while second < until {
            let segment = zone.segment(second);
            let local = second.saturating_add(segment.offset);
            let local_until = until.min(segment.end).saturating_add(segment.offset);
            let by_clock = |local: i64| local.saturating_sub(segment.offset).min(segment.end);
            second = if covered {
                let clock = self.local_end(local, local_until).map(by_clock);
                // One of them is there, as the second is covered.
                clock.max(self.absolute.end_of(second)).unwrap_or(until)
            } else {
                let clock = by_clock(self.local_start(local, local_until));
                self.absolute
                    .start_after(second)
                    .map_or(clock, |instant| clock.min(instant))
            };
            if second < until && self.covers(zone, Timestamp::from_second(second)) != covered {
                return Some(Timestamp::from_second(second));
            }
        }
        None
    }

    /// The day nearest to `from`, itself included, that is not [covered](Calendar::covers_day); `None` if there is none within
    /// [`OPEN_DAY_REACH`]. A day of which a part is covered is open.
    #[must_use]
    pub fn open_day(&self, from: i64, direction: Direction) -> Option<i64> {
        (0..=OPEN_DAY_REACH)
            .map(|distance| match direction {
                Direction::Next => from.saturating_add(distance),
                Direction::Previous => from.saturating_sub(distance),
            })
            .find(|day| !self.covers_day(*day))
    }

    fn names_day(&self, day: i64) -> bool {
        self.days.end_of(day).is_some() || day.unsigned_abs() < NO_DAY && self.recurring.covers(day)
    }

    fn covers_second(&self, second: i64, local: i64) -> bool {
        self.absolute.end_of(second).is_some()
            || self.local.end_of(local).is_some()
            || self.names_day(local.div_euclid(DAY))
    }

    /// The end of the stretch of covered local time around `local`, or something not before `until` if it reaches there; `None` if
    /// `local` is not covered.
    fn local_end(&self, local: i64, until: i64) -> Option<i64> {
        let last_day = until.div_euclid(DAY).saturating_add(1);
        let mut end = local;
        while end < until {
            let day = end.div_euclid(DAY);
            if let Some(open) = self.days.end_of(day) {
                end = open * DAY;
            } else if let Some(open) = self.local.end_of(end) {
                end = open;
            } else if self.recurring.covers(day) {
                end = self
                    .recurring
                    .next(day + 1, last_day, false)
                    .map_or(until, |open| open * DAY);
            } else {
                break;
            }
        }
        (end > local).then_some(end)
    }

    /// The first covered local time after `local`, which is not covered; `until` if there is none before it.
    fn local_start(&self, local: i64, until: i64) -> i64 {
        let day = local.div_euclid(DAY);
        let named = self.days.start_after(day);
        let last_day = until.div_euclid(DAY).saturating_add(1).min(named.unwrap_or(i64::MAX));
        let by_rule = self.recurring.next(day + 1, last_day, true);
        let by_day = by_rule.or(named).map(|day| day.saturating_mul(DAY));
        let by_range = self.local.start_after(local);
        by_day.into_iter().chain(by_range).fold(until, i64::min)
    }
}

/// The calendar as a TOML list, which can be read back.
impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nothing in these texts needs to be escaped.
        list(f, "days", self.days(), |f, days| write!(f, "\"{days}\""))?;
        list(f, "ranges", self.ranges(), |f, range| write!(f, "{{ {range} }}"))?;
        list(f, "rules", self.rules.iter(), |f, rule| write!(f, "\"{rule}\""))
    }
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    key: &str,
    items: impl Iterator<Item = T>,
    item: impl Fn(&mut fmt::Formatter<'_>, T) -> fmt::Result,
) -> fmt::Result {
    let mut items = items.peekable();
    if items.peek().is_none() {
        return Ok(());
    }
    writeln!(f, "{key} = [")?;
    for each in items {
        f.write_str("    ")?;
        item(f, each)?;
        f.write_str(",\n")?;
    }
    f.write_str("]\n")
}

#[cfg(test)]
mod tests;
