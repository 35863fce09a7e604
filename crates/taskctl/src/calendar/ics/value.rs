//! Dates, times and lengths of iCalendar (RFC 5545, section 3.3).

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use taskd_core::Timestamp;

use super::super::fault::{Fault, FaultKind, brief};
use super::lines::Property;
use super::zones::ZoneBook;

/// A day or a time, as it is written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum When {
    Date(Date),
    /// The time that clocks show, wherever they are.
    Floating(DateTime),
    /// The time in a zone.
    Zoned(DateTime, TimeZone),
}

impl When {
    pub fn date(&self) -> Date {
        match self {
            When::Date(date) => *date,
            When::Floating(time) | When::Zoned(time, _) => time.date(),
        }
    }

    /// The time as written; midnight of a day.
    pub fn time(&self) -> DateTime {
        match self {
            When::Date(date) => date.at(0, 0, 0, 0),
            When::Floating(time) | When::Zoned(time, _) => *time,
        }
    }

    /// The same kind of value at another date or time.
    pub fn moved(&self, to: DateTime) -> When {
        match self {
            When::Date(_) => When::Date(to.date()),
            When::Floating(_) => When::Floating(to),
            When::Zoned(_, zone) => When::Zoned(to, zone.clone()),
        }
    }

    pub fn is_date(&self) -> bool {
        matches!(self, When::Date(_))
    }
}

/// The instant of a local time. One that is skipped is read with the offset before the gap, one that comes twice is the first.
pub(super) fn instant(time: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let at = zone.to_ambiguous_timestamp(time).compatible().ok()?;
    Some(Timestamp::from_jiff(at))
}

/// The first value of a property.
pub(super) fn when(property: &Property, zones: &mut ZoneBook) -> Result<When, Fault> {
    one(property, property.value(), zones)
}

/// All values of a property, separated by commas; of periods, their start and what stands behind it.
pub(super) fn list<'a>(property: &'a Property, zones: &mut ZoneBook) -> Result<Vec<(When, Option<&'a str>)>, Fault> {
    let parts = property.value().split(',').filter(|part| !part.trim().is_empty());
    parts
        .map(|part| {
            let (start, end) = match part.split_once('/') {
                Some((start, end)) => (start, Some(end)),
                None => (part, None),
            };
            Ok((one(property, start, zones)?, end))
        })
        .collect()
}

/// A value of a property, in the zone that the property names.
pub(super) fn one(property: &Property, text: &str, zones: &mut ZoneBook) -> Result<When, Fault> {
    let dated = property
        .param("VALUE")
        .is_some_and(|kind| kind.eq_ignore_ascii_case("DATE"));
    // Some programs write a time in spite of VALUE=DATE, and some leave it out.
    let text = match text.trim().split_at_checked(8) {
        Some((date, _)) if dated => date,
        _ => text,
    };
    match (plain(property, text)?, property.param("TZID")) {
        (When::Floating(time), Some(name)) => Ok(When::Zoned(time, zones.find(name, property)?)),
        (when, _) => Ok(when),
    }
}

/// A value without parameters: a day, a time, or with `Z` a time of UTC.
pub(super) fn plain(property: &Property, text: &str) -> Result<When, Fault> {
    let text = text.trim();
    let bad = |wanted| {
        let value = brief(text);
        property.fault(FaultKind::BadValue { value, wanted })
    };
    if text.len() == 8 {
        return date(text).map(When::Date).ok_or_else(|| bad("date"));
    }
    match text.strip_suffix(['Z', 'z']) {
        Some(local) => date_time(local).map(|time| When::Zoned(time, TimeZone::UTC)),
        None => date_time(text).map(When::Floating),
    }
    .ok_or_else(|| bad("time"))
}

/// `20261224`
pub(super) fn date(text: &str) -> Option<Date> {
    if text.len() != 8 {
        return None;
    }
    let (year, month, day) = (number(text, 0, 4)?, number(text, 4, 6)?, number(text, 6, 8)?);
    // The casts are of numbers of at most four digits.
    Date::new(year as i16, month as i8, day as i8).ok()
}

/// `20261224T120000`; a leap second is the second before it.
pub(super) fn date_time(text: &str) -> Option<DateTime> {
    let (day, time) = text.split_once(['T', 't'])?;
    if time.len() != 6 {
        return None;
    }
    let (hour, minute, second) = (number(time, 0, 2)?, number(time, 2, 4)?, number(time, 4, 6)?);
    let second = if second == 60 { 59 } else { second };
    let time = Time::new(hour as i8, minute as i8, second as i8, 0).ok()?;
    Some(date(day)?.to_datetime(time))
}

/// Digits at these places and nothing else.
fn number(text: &str, from: usize, to: usize) -> Option<i32> {
    let digits = text.get(from..to)?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// A length: days of the calendar, then seconds. Neither is negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Length {
    pub days: i64,
    pub seconds: i64,
}

impl Length {
    /// `P1DT2H`, `P2W`.
    pub fn parse(text: &str) -> Option<Length> {
        let mut rest = text.strip_prefix('+').unwrap_or(text).strip_prefix(['P', 'p'])?;
        let mut length = Length::default();
        let (mut timed, mut parts) = (false, 0);
        while !rest.is_empty() {
            if let Some(time) = rest.strip_prefix(['T', 't']).filter(|_| !timed) {
                (timed, rest) = (true, time);
                continue;
            }
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            // Nine digits of weeks are more than any calendar has, and do not overflow.
            let number: i64 = rest.get(..digits).filter(|text| text.len() <= 9)?.parse().ok()?;
            match (timed, rest.as_bytes()[digits].to_ascii_uppercase()) {
                (false, b'W') => length.days += 7 * number,
                (false, b'D') => length.days += number,
                (true, b'H') => length.seconds += 3600 * number,
                (true, b'M') => length.seconds += 60 * number,
                (true, b'S') => length.seconds += number,
                _ => return None,
            }
            parts += 1;
            rest = &rest[digits + 1..];
        }
        (1..=8).contains(&parts).then_some(length)
    }

    pub fn is_zero(self) -> bool {
        self == Length::default()
    }
}
