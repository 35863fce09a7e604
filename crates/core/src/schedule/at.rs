//! From what people write for a single instant to that instant.

use std::fmt;
use std::sync::Arc;

use jiff::civil::DateTime;
use jiff::fmt::temporal::{Pieces, PiecesOffset, TimeZoneAnnotationKind};

use super::civil::{DAY, WEEKDAYS, date_from_days, days_from_date, days_in_month, weekday};
use super::walk::END;
use super::zone::{REACH, TABLE_START, UnknownZone, Zone, Zones};
use crate::time::Timestamp;

/// Most bytes of an instant's text; a longer one is refused before it is looked at.
const TEXT_MAX: usize = 256;

/// The instants a local time stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalTime {
    /// Clocks show it once.
    Unique(Timestamp),
    /// Clocks skip it.
    Gap {
        /// The first instant after the skipped times.
        end: Timestamp,
    },
    /// Clocks show it twice.
    Overlap {
        /// The first time.
        first: Timestamp,
        /// The last time.
        second: Timestamp,
    },
}

/// What had to be decided to resolve a local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Nothing.
    Unique,
    /// The local time is skipped: the first instant after the gap is taken.
    Gap,
    /// The local time comes twice: the first pass is taken.
    Overlap,
}

/// An instant, and how it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The instant.
    pub at: Timestamp,
    /// What had to be decided.
    pub kind: Resolution,
    /// The zone whose local time was meant; `None` where an offset from UTC was written instead.
    pub zone: Option<Arc<Zone>>,
}

impl Resolved {
    /// The same, if it is later than `now`.
    ///
    /// # Errors
    /// [`AtErrorKind::InThePast`] if it is not.
    pub fn later_than(self, now: Timestamp) -> Result<Self, AtError> {
        if self.at > now {
            return Ok(self);
        }
        Err(AtError {
            kind: AtErrorKind::InThePast { at: self.at },
            span: (0, 0),
        })
    }
}

/// Why a text is no instant. [`fmt::Display`] gives the problem and the cure in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtError {
    /// What is wrong.
    pub kind: AtErrorKind,
    /// From which column to before which, in characters from 0; an empty span means the whole.
    pub span: (usize, usize),
}

/// The kinds of [`AtError`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AtErrorKind {
    /// Nothing but blanks.
    Empty,
    /// Not in a form that is read.
    NotATime,
    /// A day without a time.
    NoTime,
    /// An hour, minute or second that no day has.
    NoSuchTime,
    /// A day that the calendar does not have.
    NoSuchDate,
    /// Before the year 1800, or on the last day of the year 9999.
    OutOfRange,
    /// The zone is not known.
    Zone(UnknownZone),
    /// The offset written is not the one the zone has then.
    OffsetDisagrees {
        /// The offset written, in seconds.
        written: i32,
        /// The zone written.
        zone: String,
        /// The offset the zone has, in seconds.
        actual: i32,
    },
    /// The instant is not later than now.
    InThePast {
        /// The instant.
        at: Timestamp,
    },
}

impl AtError {
    /// What is wrong, as a sentence without an end mark.
    #[must_use]
    pub fn problem(&self) -> String {
        match &self.kind {
            AtErrorKind::Empty => "a time is missing".to_owned(),
            AtErrorKind::NotATime => "this is not a time".to_owned(),
            AtErrorKind::NoTime => "the time of day is missing".to_owned(),
            AtErrorKind::NoSuchTime => "no day has this time".to_owned(),
            AtErrorKind::NoSuchDate => "the calendar has no such day".to_owned(),
            AtErrorKind::OutOfRange => "only times from the year 1800 until 9999-12-30T22:00Z can be used".to_owned(),
            AtErrorKind::Zone(unknown) => unknown.to_string(),
            AtErrorKind::OffsetDisagrees { written, zone, actual } => {
                let (written, actual) = (display_offset(*written), display_offset(*actual));
                format!("the offset is {written}, but {zone} has {actual} then")
            }
            AtErrorKind::InThePast { at } => format!("{at} is in the past"),
        }
    }

    /// How to put it right, where that can be known.
    #[must_use]
    pub fn cure(&self) -> Option<String> {
        match &self.kind {
            AtErrorKind::Empty | AtErrorKind::NotATime => {
                Some("write 09:00, `tomorrow 09:00`, 2026-12-01T09:00 or 2026-12-01T09:00:00+01:00".to_owned())
            }
            AtErrorKind::NoTime => Some("add one, as in `tomorrow 09:00`".to_owned()),
            AtErrorKind::NoSuchTime => Some("write 00:00 to 23:59".to_owned()),
            AtErrorKind::OffsetDisagrees { .. } => Some("leave one of them out".to_owned()),
            AtErrorKind::InThePast { .. } => Some("write a later time, or start it now with `taskctl run`".to_owned()),
            AtErrorKind::NoSuchDate | AtErrorKind::OutOfRange | AtErrorKind::Zone(_) => None,
        }
    }
}

impl fmt::Display for AtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem())?;
        match self.cure() {
            Some(cure) => write!(f, "; {cure}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for AtError {}

fn display_offset(seconds: i32) -> String {
    let (sign, size) = (if seconds < 0 { '-' } else { '+' }, seconds.unsigned_abs());
    format!("{sign}{:02}:{:02}", size / 3600, size / 60 % 60)
}

/// What a local time means in a zone.
#[must_use]
pub fn local_time(civil: DateTime, zone: &Zone) -> LocalTime {
    let (local, millis) = local_millis(civil);
    let shifted = |second: i64| Timestamp::from_millis(second * 1000 + millis);
    match find(local, zone) {
        Found::Shown { first, last } if first == last => LocalTime::Unique(shifted(first)),
        Found::Shown { first, last } => LocalTime::Overlap {
            first: shifted(first),
            second: shifted(last),
        },
        Found::Skipped { end } => LocalTime::Gap {
            end: Timestamp::from_second(end),
        },
    }
}

enum Found {
    Shown { first: i64, last: i64 },
    Skipped { end: i64 },
}

/// When a local second is shown, looking at all segments that can show it.
fn find(local: i64, zone: &Zone) -> Found {
    let (mut shown, mut skipped) = (None, None);
    let mut at = local - REACH;
    while at <= local + REACH {
        let segment = zone.segment(at);
        if (segment.opens()..segment.closes()).contains(&local) {
            let instant = local - segment.offset;
            shown = Some(shown.map_or((instant, instant), |(first, _)| (first, instant)));
        } else if (segment.reached..segment.opens()).contains(&local) {
            skipped = Some(segment.start);
        }
        at = segment.end;
    }
    match shown {
        Some((first, last)) => Found::Shown { first, last },
        // Local time runs through all values, so what no segment shows is skipped between two of them.
        None => Found::Skipped {
            end: skipped.unwrap_or(local),
        },
    }
}

/// When a local second is first shown: a skipped one is the first instant after the gap.
pub(super) fn first_shown(local: i64, zone: &Zone) -> i64 {
    match find(local, zone) {
        Found::Shown { first, .. } => first,
        Found::Skipped { end } => end,
    }
}

fn local_millis(civil: DateTime) -> (i64, i64) {
    // The casts are of a month and a day.
    let days = days_from_date(i64::from(civil.year()), civil.month() as u32, civil.day() as u32);
    let second = i64::from(civil.hour()) * 3600 + i64::from(civil.minute()) * 60 + i64::from(civil.second());
    (days * DAY + second, i64::from(civil.millisecond()))
}

/// Reads an instant.
///
/// Understood are RFC 3339 with an offset, with a zone in brackets, or both; a local time `2026-12-01T09:00`, with a blank for
/// the `T`, with seconds and fractions; a date alone, which means its first instant; and, from `now` on, `09:00`, `today 09:00`,
/// `tomorrow 09:00` and `monday 09:00`. Local times are those of the zone `tz` unless a zone is written. A skipped local time is the
/// first instant after the gap, a repeated one the first pass; an offset decides alone.
///
/// # Errors
/// [`AtError`] says what is wrong, where, and how to put it right. A past instant is an answer:
/// [`Resolved::later_than`] refuses it.
pub fn resolve_at(text: &str, tz: &str, now: Timestamp, zones: &mut Zones) -> Result<Resolved, AtError> {
    let refuse = |kind| AtError { kind, span: (0, 0) };
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(refuse(AtErrorKind::Empty));
    }
    if trimmed.len() > TEXT_MAX {
        return Err(refuse(AtErrorKind::NotATime));
    }
    match Relative::parse(trimmed) {
        Some(Ok(relative)) => {
            let zone = zones.get(tz).map_err(|unknown| refuse(AtErrorKind::Zone(unknown)))?;
            Ok(relative.resolve(now, zone))
        }
        Some(Err(kind)) => Err(refuse(kind)),
        None => absolute(text, trimmed, tz, zones),
    }
}

fn absolute(text: &str, trimmed: &str, tz: &str, zones: &mut Zones) -> Result<Resolved, AtError> {
    let refuse = |kind| AtError { kind, span: (0, 0) };
    let Ok(pieces) = Pieces::parse(trimmed) else {
        return Err(explain(text, trimmed));
    };
    let (named, mut offset) = match pieces.time_zone_annotation().map(|annotation| annotation.kind()) {
        Some(TimeZoneAnnotationKind::Named(name)) => (Some(name.as_str()), None),
        Some(TimeZoneAnnotationKind::Offset(offset)) => (None, Some(offset.seconds())),
        Some(_) => return Err(refuse(AtErrorKind::NotATime)),
        None => (None, None),
    };
    let mut zulu = false;
    match pieces.offset() {
        Some(PiecesOffset::Numeric(written)) => offset = Some(written.offset().seconds()),
        Some(PiecesOffset::Zulu) => zulu = true,
        _ => {}
    }
    let civil = pieces.date().to_datetime(pieces.time().unwrap_or_default());
    let (local, millis) = local_millis(civil);
    let zone = match (named, offset.is_some() || zulu) {
        (None, true) => None,
        (named, _) => Some(zones.get(named.unwrap_or(tz)).map_err(|unknown| {
            let span = named.map_or((0, 0), |name| columns(text, name));
            AtError {
                kind: AtErrorKind::Zone(unknown),
                span,
            }
        })?),
    };
    let resolved = match (offset.or(zulu.then_some(0)), zone) {
        (Some(offset), zone) => {
            let at = Timestamp::from_millis((local - i64::from(offset)) * 1000 + millis);
            if let Some(zone) = zone.as_ref().filter(|zone| !zulu && zone.offset_at(at) != offset) {
                let (zone, actual) = (zone.name().to_owned(), zone.offset_at(at));
                return Err(refuse(AtErrorKind::OffsetDisagrees {
                    written: offset,
                    zone,
                    actual,
                }));
            }
            Resolved {
                at,
                kind: Resolution::Unique,
                zone,
            }
        }
        (None, Some(zone)) => resolve_local(civil, zone),
        (None, None) => return Err(refuse(AtErrorKind::NotATime)),
    };
    // Those of the fire times of cron expressions.
    if !(Timestamp::from_second(TABLE_START)..Timestamp::from_second(END)).contains(&resolved.at) {
        return Err(refuse(AtErrorKind::OutOfRange));
    }
    Ok(resolved)
}

fn resolve_local(civil: DateTime, zone: Arc<Zone>) -> Resolved {
    let (at, kind) = match local_time(civil, &zone) {
        LocalTime::Unique(at) => (at, Resolution::Unique),
        LocalTime::Gap { end } => (end, Resolution::Gap),
        LocalTime::Overlap { first, .. } => (first, Resolution::Overlap),
    };
    Resolved {
        at,
        kind,
        zone: Some(zone),
    }
}

/// Why jiff does not read this: a day or time that does not exist, or something else altogether.
fn explain(text: &str, trimmed: &str) -> AtError {
    let refuse = |kind, span| AtError { kind, span };
    let (date, rest) = trimmed.split_at_checked(10).unwrap_or((trimmed, ""));
    let parts: Vec<Option<u32>> = date.split('-').map(number).collect();
    let dashes = date.find('-') == Some(4) && date.rfind('-') == Some(7);
    let (true, [Some(year), Some(month), Some(day)]) = (dashes, &parts[..]) else {
        return refuse(AtErrorKind::NotATime, (0, 0));
    };
    if !(1..=12).contains(month) || *day == 0 || *day > days_in_month(i64::from(*year), *month) {
        return refuse(AtErrorKind::NoSuchDate, columns(text, date));
    }
    // What the date is not parted from by a blank or a `T` is no time of its day.
    let time = rest.strip_prefix([' ', 'T', 't']).unwrap_or("");
    let part = |from, to| time.get(from..to).and_then(number);
    if part(0, 2).is_some_and(|hour| hour > 23) || part(3, 5).is_some_and(|minute| minute > 59) {
        return refuse(AtErrorKind::NoSuchTime, columns(text, time));
    }
    refuse(AtErrorKind::NotATime, (0, 0))
}

/// Digits as a number, and nothing else.
fn number(digits: &str) -> Option<u32> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// The columns of a part in the text, in characters.
fn columns(text: &str, part: &str) -> (usize, usize) {
    let Some(at) = text.find(part) else {
        return (0, 0);
    };
    let from = text[..at].chars().count();
    (from, from + part.chars().count())
}

/// A time of day, and the days on which it may be meant.
struct Relative {
    day: Day,
    second: i64,
    millis: i64,
}

enum Day {
    /// The next one that is still to come.
    Next,
    Today,
    Tomorrow,
    /// 0 = Sunday.
    Weekday(u32),
}

impl Relative {
    /// `None` if the text is of another form.
    fn parse(text: &str) -> Option<Result<Relative, AtErrorKind>> {
        let (mut day, mut time) = (None, None);
        for word in text.split_ascii_whitespace() {
            if word.contains(':')
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.'))
                && time.is_none()
            {
                time = Some(time_of_day(word)?);
            } else if day.is_none() {
                day = Some(Day::parse(word)?);
            } else {
                return None;
            }
        }
        Some(match time {
            Some(Ok((second, millis))) => Ok(Relative {
                day: day.unwrap_or(Day::Next),
                second,
                millis,
            }),
            Some(Err(kind)) => Err(kind),
            None => Err(AtErrorKind::NoTime),
        })
    }

    fn resolve(&self, now: Timestamp, zone: Arc<Zone>) -> Resolved {
        let local_now = now.as_second() + i64::from(zone.offset_at(now));
        let today = local_now.div_euclid(DAY);
        let on = |day: i64| {
            let (year, month, date) = date_from_days(day);
            let (hour, minute, second) = (self.second / 3600, self.second / 60 % 60, self.second % 60);
            // `now` is an instant of our age, so all of these are in the bounds of jiff's types.
            let date = jiff::civil::Date::new(year as i16, month as i8, date as i8).unwrap_or(jiff::civil::Date::MAX);
            let civil = date.at(hour as i8, minute as i8, second as i8, self.millis as i32 * 1_000_000);
            resolve_local(civil, Arc::clone(&zone))
        };
        match self.day {
            Day::Today => on(today),
            Day::Tomorrow => on(today + 1),
            Day::Next => Some(on(today))
                .filter(|found| found.at > now)
                .unwrap_or_else(|| on(today + 1)),
            Day::Weekday(wanted) => {
                let day = today + i64::from((wanted + 7 - weekday(today)) % 7);
                Some(on(day))
                    .filter(|found| found.at > now)
                    .unwrap_or_else(|| on(day + 7))
            }
        }
    }
}

impl Day {
    fn parse(word: &str) -> Option<Day> {
        let word = word.to_ascii_lowercase();
        match word.as_str() {
            "today" => Some(Day::Today),
            "tomorrow" => Some(Day::Tomorrow),
            _ => {
                let index = WEEKDAYS.iter().position(|name| *name == word || name[..3] == word)?;
                Some(Day::Weekday(index as u32))
            }
        }
    }
}

/// `H:MM`, `HH:MM:SS` or `HH:MM:SS.fff`, as seconds and milliseconds; `None` if it has another form.
fn time_of_day(word: &str) -> Option<Result<(i64, i64), AtErrorKind>> {
    let (clock, fraction) = word.split_once('.').unwrap_or((word, "0"));
    let parts: Vec<&str> = clock.split(':').collect();
    let lengths = parts
        .iter()
        .enumerate()
        .all(|(index, part)| part.len() == 2 || index == 0 && part.len() == 1);
    if !(2..=3).contains(&parts.len())
        || !lengths
        || fraction.is_empty()
        || !fraction.bytes().all(|byte| byte.is_ascii_digit())
        || parts.len() == 2 && word != clock
    {
        return None;
    }
    let mut numbers = [0_i64; 3];
    for (number, part) in numbers.iter_mut().zip(&parts) {
        *number = part.parse().ok()?;
    }
    if numbers[0] > 23 || numbers[1] > 59 || numbers[2] > 59 {
        return Some(Err(AtErrorKind::NoSuchTime));
    }
    let millis = fraction
        .bytes()
        .chain(*b"000")
        .take(3)
        .fold(0, |millis, digit| millis * 10 + i64::from(digit - b'0'));
    Some(Ok((numbers[0] * 3600 + numbers[1] * 60 + numbers[2], millis)))
}

#[cfg(test)]
mod tests;
