//! Ranges of time.

use std::fmt;

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

use super::day::{day_of, digits, display_date, parse_date};
use super::error::{EntryError, EntryErrorKind, RangeEnd, RangeError};
use super::{FIRST_DAY, LAST_DAY};
use crate::schedule::civil::{DAY, display_time};
use crate::time::Timestamp;

/// A range of time in whole seconds, from its start until before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum TimeRange {
    /// Of local time, in the zone of the task that uses it: `2026-12-24T12:00`.
    Local(Bounds),
    /// Of instants: `2026-12-24T12:00+01:00` or `2026-12-24T11:00Z`.
    Absolute(Bounds),
}

/// Seconds since 1970-01-01T00:00, of local time or of UTC; the first is before the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bounds {
    from: i64,
    to: i64,
}

impl Bounds {
    fn new(from: i64, to: i64) -> Result<Self, EntryErrorKind> {
        if from < FIRST_DAY * DAY || to >= (LAST_DAY + 1) * DAY {
            return Err(EntryErrorKind::OutOfRange);
        }
        if to <= from {
            return Err(EntryErrorKind::Backwards);
        }
        Ok(Bounds { from, to })
    }

    /// The first second.
    #[must_use]
    pub fn from(self) -> i64 {
        self.from
    }

    /// The second after the last one.
    #[must_use]
    pub fn to(self) -> i64 {
        self.to
    }

    pub(super) fn pair(self) -> (i64, i64) {
        (self.from, self.to)
    }
}

/// A range as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    from: String,
    to: String,
}

impl TryFrom<Written> for TimeRange {
    type Error = RangeError;
    fn try_from(written: Written) -> Result<Self, RangeError> {
        TimeRange::parse(&written.from, &written.to)
    }
}

impl From<TimeRange> for Written {
    fn from(range: TimeRange) -> Self {
        let (bounds, zulu) = range.parts();
        let written = |second| Moment { second, zulu }.to_string();
        Written {
            from: written(bounds.from),
            to: written(bounds.to),
        }
    }
}

impl TimeRange {
    /// The local time from one time until another; parts of a second do not count.
    ///
    /// # Errors
    /// [`EntryErrorKind::Backwards`] if no second lies between, and [`EntryErrorKind::OutOfRange`] before 1970 and after 9999.
    pub fn local(from: DateTime, to: DateTime) -> Result<Self, EntryErrorKind> {
        Bounds::new(local_second(from), local_second(to)).map(TimeRange::Local)
    }

    /// The time from one instant until another; parts of a second do not count.
    ///
    /// # Errors
    /// As [`TimeRange::local`].
    pub fn absolute(from: Timestamp, to: Timestamp) -> Result<Self, EntryErrorKind> {
        Bounds::new(from.as_second(), to.as_second()).map(TimeRange::Absolute)
    }

    /// Reads both ends of a range: both with an offset from UTC or a `Z`, or both without.
    ///
    /// # Errors
    /// [`RangeError`] says what is wrong, where, and how to put it right.
    pub fn parse(from: &str, to: &str) -> Result<Self, RangeError> {
        let at = |end| move |error| RangeError { end, error };
        let start = parse_moment(from).map_err(at(RangeEnd::From))?;
        let stop = parse_moment(to).map_err(at(RangeEnd::To))?;
        let refuse = |kind| at(RangeEnd::To)(EntryError::whole(kind, to));
        let range = match (start.offset, stop.offset) {
            (None, None) => Bounds::new(start.local, stop.local).map(TimeRange::Local),
            (Some(before), Some(after)) => {
                Bounds::new(start.local - before, stop.local - after).map(TimeRange::Absolute)
            }
            _ => Err(EntryErrorKind::OneOffset),
        };
        range.map_err(refuse)
    }

    pub(super) fn of_local_bounds((from, to): (i64, i64)) -> Self {
        TimeRange::Local(Bounds { from, to })
    }

    pub(super) fn of_absolute_bounds((from, to): (i64, i64)) -> Self {
        TimeRange::Absolute(Bounds { from, to })
    }

    /// The bounds, and whether they are of UTC.
    fn parts(self) -> (Bounds, bool) {
        match self {
            TimeRange::Local(bounds) => (bounds, false),
            TimeRange::Absolute(bounds) => (bounds, true),
        }
    }
}

/// The range as the keys and values of a TOML table.
impl fmt::Display for TimeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = Written::from(*self);
        write!(f, "from = \"{}\", to = \"{}\"", written.from, written.to)
    }
}

/// One end of a range, to be written.
struct Moment {
    second: i64,
    zulu: bool,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display_date(f, self.second.div_euclid(DAY))?;
        let zulu = if self.zulu { "Z" } else { "" };
        write!(f, "T{}{zulu}", display_time(self.second))
    }
}

/// One end of a range, as read: the local second, and the seconds that local time is ahead of UTC.
struct Read {
    local: i64,
    offset: Option<i64>,
}

fn local_second(time: DateTime) -> i64 {
    let second = i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second());
    day_of(time.date()) * DAY + second
}

fn parse_moment(text: &str) -> Result<Read, EntryError> {
    let trimmed = text.trim();
    let refuse = |kind, part: &str| Err(EntryError::whole(kind, part).inside(text, part));
    let split = trimmed.split_at_checked("2026-12-24".len());
    let Some((date, rest)) = split.and_then(|(date, rest)| Some((date, rest.strip_prefix(['T', 't', ' '])?))) else {
        return Err(match parse_date(text) {
            Ok(_) => EntryError::whole(EntryErrorKind::NoTime, trimmed).inside(text, trimmed),
            Err(error) => error.of_a_time(),
        });
    };
    let day = parse_date(date).map_err(|error| error.of_a_time().inside(text, date))?;
    let clock_end = rest.find(['Z', 'z', '+', '-', '[']).unwrap_or(rest.len());
    let (clock, offset) = rest.split_at(clock_end);
    if clock.contains(['.', ',']) {
        return refuse(EntryErrorKind::Fraction, clock);
    }
    let mut parts = clock.split(':').map(digits);
    let (Some(Some((2, hour))), Some(Some((2, minute))), second, None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return refuse(EntryErrorKind::NotATime, trimmed);
    };
    let second = match second {
        None => 0,
        Some(Some((2, second))) => second,
        Some(_) => return refuse(EntryErrorKind::NotATime, trimmed),
    };
    if hour > 23 || minute > 59 || second > 59 {
        return refuse(EntryErrorKind::NoSuchTime, clock);
    }
    let offset = match offset {
        "" => None,
        "Z" | "z" => Some(0),
        named if named.contains('[') => {
            return refuse(EntryErrorKind::NamedZone, &named[named.find('[').unwrap_or(0)..]);
        }
        numeric => match parse_offset(numeric) {
            Some(seconds) => Some(seconds),
            None => return refuse(EntryErrorKind::BadOffset, numeric),
        },
    };
    Ok(Read {
        local: day * DAY + i64::from(hour * 3600 + minute * 60 + second),
        offset,
    })
}

/// `+01:00`, in seconds.
fn parse_offset(text: &str) -> Option<i64> {
    let (sign, rest) = text
        .strip_prefix('-')
        .map_or((1, text.strip_prefix('+')), |rest| (-1, Some(rest)));
    let (hour, minute) = rest?.split_once(':')?;
    let (Some((2, hour @ 0..=23)), Some((2, minute @ 0..=59))) = (digits(hour), digits(minute)) else {
        return None;
    };
    Some(sign * i64::from(hour * 3600 + minute * 60))
}
