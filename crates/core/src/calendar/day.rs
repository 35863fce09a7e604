//! Civil days.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::error::{EntryError, EntryErrorKind};
use super::{FIRST_DAY, LAST_DAY};
use crate::schedule::civil::{date_from_days, days_from_date, days_in_month};

/// A civil day, or days in a row: `2026-12-24`, `2026-12-24..2026-12-26`. Both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DaySpan {
    first: i64,
    last: i64,
}

impl DaySpan {
    /// The days from `first` to `last`, in days since 1970-01-01.
    ///
    /// # Errors
    /// [`EntryErrorKind::Backwards`], and [`EntryErrorKind::OutOfRange`] before 1970 and after 9999.
    pub fn new(first: i64, last: i64) -> Result<Self, EntryErrorKind> {
        if first < FIRST_DAY || last > LAST_DAY {
            return Err(EntryErrorKind::OutOfRange);
        }
        if last < first {
            return Err(EntryErrorKind::Backwards);
        }
        Ok(DaySpan { first, last })
    }

    /// How many days it has, one at least.
    #[must_use]
    pub fn length(&self) -> u64 {
        (self.last - self.first).unsigned_abs() + 1
    }

    /// The days from one date to another.
    ///
    /// # Errors
    /// As [`DaySpan::new`].
    pub fn of_dates(first: Date, last: Date) -> Result<Self, EntryErrorKind> {
        DaySpan::new(day_of(first), day_of(last))
    }

    /// Reads a day or a span of days.
    ///
    /// # Errors
    /// [`EntryError`] says what is wrong, where, and how to put it right.
    pub fn parse(text: &str) -> Result<Self, EntryError> {
        let (first, rest) = match text.split_once("..") {
            Some((first, last)) => (first, Some(last)),
            None => (text, None),
        };
        let from = parse_date(first).map_err(|error| error.inside(text, first))?;
        let to = match rest {
            Some(last) => parse_date(last).map_err(|error| error.inside(text, last))?,
            None => from,
        };
        DaySpan::new(from, to).map_err(|kind| EntryError::whole(kind, text))
    }

    pub(super) fn of_bounds((first, end): (i64, i64)) -> Self {
        DaySpan { first, last: end - 1 }
    }

    /// The first day, in days since 1970-01-01.
    #[must_use]
    pub fn first(self) -> i64 {
        self.first
    }

    /// The last day, in days since 1970-01-01.
    #[must_use]
    pub fn last(self) -> i64 {
        self.last
    }
}

impl fmt::Display for DaySpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display_date(f, self.first)?;
        if self.last > self.first {
            f.write_str("..")?;
            display_date(f, self.last)?;
        }
        Ok(())
    }
}

impl FromStr for DaySpan {
    type Err = EntryError;
    fn from_str(text: &str) -> Result<Self, EntryError> {
        DaySpan::parse(text)
    }
}

impl TryFrom<String> for DaySpan {
    type Error = EntryError;
    fn try_from(text: String) -> Result<Self, EntryError> {
        DaySpan::parse(&text)
    }
}

impl From<DaySpan> for String {
    fn from(days: DaySpan) -> String {
        days.to_string()
    }
}

/// A date in days since 1970-01-01.
pub(super) fn day_of(date: Date) -> i64 {
    // The casts are of a month and a day.
    days_from_date(i64::from(date.year()), date.month() as u32, date.day() as u32)
}

pub(super) fn display_date(f: &mut fmt::Formatter<'_>, day: i64) -> fmt::Result {
    let (year, month, day) = date_from_days(day);
    write!(f, "{year:04}-{month:02}-{day:02}")
}

/// `2026-12-24`, as days since 1970-01-01. Blanks around it do not count.
pub(super) fn parse_date(text: &str) -> Result<i64, EntryError> {
    let trimmed = text.trim();
    let refuse = |kind| Err(EntryError::whole(kind, trimmed).inside(text, trimmed));
    if trimmed.is_empty() {
        return Err(EntryError::whole(EntryErrorKind::Empty, text));
    }
    let mut parts = trimmed.split('-').map(digits);
    let (Some(Some((4, year))), Some(Some((2, month))), Some(Some((2, day))), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        let time = trimmed.get(10..).is_some_and(|rest| rest.starts_with(['T', 't', ' ']));
        return refuse(if time && trimmed.get(..4).and_then(digits).is_some() {
            EntryErrorKind::TimeInDays
        } else {
            EntryErrorKind::NotADay
        });
    };
    if !(1..=12).contains(&month) || day == 0 || day > days_in_month(i64::from(year), month) {
        return refuse(EntryErrorKind::NoSuchDate);
    }
    let day = days_from_date(i64::from(year), month, day);
    if !(FIRST_DAY..=LAST_DAY).contains(&day) {
        return refuse(EntryErrorKind::OutOfRange);
    }
    Ok(day)
}

/// Nothing but digits, four at most: how many, and the number.
pub(super) fn digits(text: &str) -> Option<(usize, u32)> {
    let plain = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = || {
        text.bytes()
            .fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))
    };
    plain.then(|| (text.len(), number()))
}
