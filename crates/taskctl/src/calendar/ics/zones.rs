//! What the names of zones in an iCalendar file mean.
//!
//! A name is one of the tz database, or has one at its end (`/mozilla.org/20070129_1/Europe/Berlin`), or is a name that
//! Windows has for one. Else the file's own description decides: the name of the tz database in it, or its rule for
//! daylight saving.

use std::collections::HashMap;

use jiff::Timestamp as Instant;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use super::super::fault::{Fault, FaultKind, brief};
use super::lines::{Line, Property};
use super::recur::{Frequency, Recurrence};
use super::value::{self, When};
use super::windows;

/// Most bytes of a name that is looked up.
const NAME_MAX: usize = 255;

/// A `VTIMEZONE` as it is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Description {
    pub id: Option<Property>,
    /// `X-LIC-LOCATION`
    pub location: Option<Property>,
    pub observances: Vec<Observance>,
}

/// A `STANDARD` or `DAYLIGHT` of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Observance {
    pub daylight: bool,
    pub start: Option<Property>,
    pub from: Option<Property>,
    pub to: Option<Property>,
    pub rule: Option<Property>,
    /// Single days on which it begins.
    pub dates: bool,
}

impl Description {
    /// Takes a line of it in.
    pub fn take(&mut self, line: Line) -> Result<(), Fault> {
        match line.name()?.to_ascii_uppercase().as_str() {
            "TZID" => self.id = Some(line.property()?),
            "X-LIC-LOCATION" => self.location = Some(line.property()?),
            _ => {}
        }
        Ok(())
    }
}

impl Observance {
    /// Takes a line of it in.
    pub fn take(&mut self, line: Line) -> Result<(), Fault> {
        match line.name()?.to_ascii_uppercase().as_str() {
            "DTSTART" => self.start = Some(line.property()?),
            "TZOFFSETFROM" => self.from = Some(line.property()?),
            "TZOFFSETTO" => self.to = Some(line.property()?),
            "RRULE" => self.rule = Some(line.property()?),
            "RDATE" => self.dates = true,
            _ => {}
        }
        Ok(())
    }
}

/// The zones of a file.
pub(super) struct ZoneBook<'a> {
    database: &'a dyn Fn(&str) -> Option<TimeZone>,
    described: HashMap<String, Description>,
    known: HashMap<String, TimeZone>,
    now: Instant,
}

impl<'a> ZoneBook<'a> {
    pub fn new(database: &'a dyn Fn(&str) -> Option<TimeZone>, now: Instant, described: Vec<Description>) -> Self {
        let named = described
            .into_iter()
            .filter_map(|zone| Some((zone.id.as_ref()?.value().to_owned(), zone)));
        ZoneBook {
            database,
            described: named.collect(),
            known: HashMap::new(),
            now,
        }
    }

    /// The zone that a property names.
    pub fn find(&mut self, name: &str, property: &Property) -> Result<TimeZone, Fault> {
        if let Some(zone) = self.known.get(name) {
            return Ok(zone.clone());
        }
        let zone = self.resolve(name).map_err(|kind| property.line_fault(kind))?;
        self.known.insert(name.to_owned(), zone.clone());
        Ok(zone)
    }

    fn resolve(&self, name: &str) -> Result<TimeZone, FaultKind> {
        let named = |name: &str| {
            self.in_database(name)
                .or_else(|| self.in_database(windows::zone(name)?))
        };
        let description = self.described.get(name).cloned();
        let location = description.as_ref().and_then(|zone| zone.location.as_ref());
        if let Some(zone) = named(name).or_else(|| named(location?.value())) {
            return Ok(zone);
        }
        let Some(description) = description else {
            return Err(FaultKind::UnknownZone { name: brief(name) });
        };
        self.by_rules(&description)
            .ok_or_else(|| FaultKind::OddZone { name: brief(name) })
    }

    /// A zone of the tz database by its name or by what stands at the end of it.
    fn in_database(&self, name: &str) -> Option<TimeZone> {
        if name.len() > NAME_MAX {
            return None;
        }
        let mut rest = name.trim();
        if !rest.starts_with('/') {
            return (self.database)(rest);
        }
        while let Some((_, end)) = rest.split_once('/') {
            if let Some(zone) = (self.database)(end) {
                return Some(zone);
            }
            rest = end;
        }
        None
    }

    /// The zone that the newest rules of a description make, if they are one of each kind, or one offset that does not change.
    fn by_rules(&self, description: &Description) -> Option<TimeZone> {
        let mut newest: [Option<Rule>; 2] = [None, None];
        for observance in &description.observances {
            let rule = Rule::read(observance)?;
            let place = &mut newest[usize::from(observance.daylight)];
            if !rule.is_over(self.now) && place.as_ref().is_none_or(|known| known.start < rule.start) {
                *place = Some(rule);
            }
        }
        match newest {
            [Some(standard), None] if standard.yearly.is_none() => Some(TimeZone::fixed(standard.to)),
            [Some(standard), Some(daylight)] => {
                let name = |rule: &Rule| Some(format!("<{}>{}", label(rule.to), posix_offset(rule.to)));
                let date = |rule: &Rule| rule.yearly.clone();
                let text = format!(
                    "{}{},{},{}",
                    name(&standard)?,
                    name(&daylight)?,
                    date(&daylight)?,
                    date(&standard)?
                );
                TimeZone::posix(&text).ok()
            }
            _ => None,
        }
    }
}

/// An observance that was read.
struct Rule {
    start: DateTime,
    to: Offset,
    until: Option<When>,
    /// The day and time of every year on which it begins, as POSIX writes it.
    yearly: Option<String>,
}

impl Rule {
    fn read(observance: &Observance) -> Option<Rule> {
        let start = value::date_time(observance.start.as_ref()?.value())?;
        let to = offset(observance.to.as_ref()?.value())?;
        offset(observance.from.as_ref()?.value())?;
        let rule = match &observance.rule {
            Some(property) => Some(Recurrence::parse(property, &When::Floating(start)).ok()?),
            None => None,
        };
        if observance.dates && rule.is_none() {
            return None;
        }
        let yearly = match &rule {
            Some(rule) => Some(posix_date(rule, start)?),
            None => None,
        };
        Some(Rule {
            start,
            to,
            until: rule.and_then(|rule| rule.until),
            yearly,
        })
    }

    fn is_over(&self, now: Instant) -> bool {
        let now = TimeZone::UTC.to_datetime(now);
        self.until.as_ref().is_some_and(|until| until.time() < now)
    }
}

/// `+0100`, `-033000`.
fn offset(text: &str) -> Option<Offset> {
    let (sign, digits) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(digits), _) => (1, digits),
        (_, Some(digits)) => (-1, digits),
        (None, None) => return None,
    };
    let plain = matches!(digits.len(), 4 | 6) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let part = |at: usize| digits.get(at..at + 2).map_or(Some(0), |part| part.parse::<i32>().ok());
    let (hour, minute, second) = (part(0)?, part(2)?, part(4)?);
    let seconds = sign * (hour * 3600 + minute * 60 + second);
    Offset::from_seconds(seconds)
        .ok()
        .filter(|_| plain && minute < 60 && second < 60)
}

/// A name of a fixed offset, of the characters POSIX allows.
fn label(offset: Offset) -> String {
    let seconds = offset.seconds();
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.unsigned_abs() / 60;
    format!("{sign}{:02}{:02}", minutes / 60, minutes % 60)
}

/// POSIX counts offsets towards the west.
fn posix_offset(offset: Offset) -> String {
    let seconds = offset.seconds();
    let sign = if seconds > 0 { "-" } else { "" };
    let size = seconds.unsigned_abs();
    format!("{sign}{}:{:02}:{:02}", size / 3600, size / 60 % 60, size % 60)
}

/// `M3.5.0/02:00:00`, for the nth weekday of a month every year.
fn posix_date(rule: &Recurrence, start: DateTime) -> Option<String> {
    let plain = rule.frequency == Frequency::Yearly
        && rule.interval == 1
        && rule.weeks.is_empty()
        && rule.year_days.is_empty()
        && rule.positions.is_empty()
        && rule.count.is_none();
    let months: Vec<i32> = (1..=12).filter(|month| rule.months.has(*month)).collect();
    let ([month], true) = (months.as_slice(), plain) else {
        return None;
    };
    let mut days = rule
        .weekdays
        .iter()
        .enumerate()
        .filter(|(_, (every, nth))| *every || !nth.is_empty());
    let (Some((monday_based, (every, nth))), None) = (days.next(), days.next()) else {
        return None;
    };
    let mut weeks = (1..=5).filter(|week| match every {
        // The seven days of a week of the month, as in BYMONTHDAY=8,9,10,11,12,13,14.
        true => rule.month_days.len() == 7 && (7 * week - 6..=7 * week).all(|day| rule.month_days.has(day)),
        // The fifth is the last.
        false => rule.month_days.is_empty() && nth.only() == Some(if *week == 5 { -1 } else { *week }),
    });
    let (Some(week), None) = (weeks.next(), weeks.next()) else {
        return None;
    };
    let sunday_based = (monday_based + 1) % 7;
    Some(format!("M{month}.{week}.{sunday_based}/{}", start.time()))
}
