//! Events as they are written, and what they cover.

use std::collections::HashSet;
use std::ops::ControlFlow;

use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, ToSpan};
use taskd_core::Timestamp;
use taskd_core::calendar::{DaySpan, Entry, EntryErrorKind, TimeRange};

use super::super::fault::{Fault, FaultKind, brief};
use super::expand::{Budget, expand};
use super::lines::{Line, Property};
use super::recur::Recurrence;
use super::value::{self, Length, When, instant};
use super::zones::ZoneBook;

/// A `VEVENT` as it is written: the properties that decide what it covers.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// The line it begins with.
    pub begin: Line,
    pub uid: Option<Property>,
    pub start: Option<Property>,
    end: Option<Property>,
    duration: Option<Property>,
    rule: Option<Property>,
    added: Vec<Property>,
    excluded: Vec<Property>,
    /// Of which occurrence of another event this is the new form.
    pub instead_of: Option<Property>,
    pub cancelled: bool,
    pub free: bool,
    /// Outlook's word for a day that is written with times.
    all_day: bool,
}

impl Event {
    pub fn new(begin: Line) -> Self {
        Event {
            begin,
            uid: None,
            start: None,
            end: None,
            duration: None,
            rule: None,
            added: Vec::new(),
            excluded: Vec::new(),
            instead_of: None,
            cancelled: false,
            free: false,
            all_day: false,
        }
    }

    /// Takes a line of the event in.
    pub fn take(&mut self, line: Line) -> Result<(), Fault> {
        let name = line.name()?.to_ascii_uppercase();
        let (name, place) = match name.as_str() {
            "UID" => ("UID", &mut self.uid),
            "DTSTART" => ("DTSTART", &mut self.start),
            "DTEND" => ("DTEND", &mut self.end),
            "DURATION" => ("DURATION", &mut self.duration),
            "RRULE" if self.rule.is_some() => {
                let what = "an event with two recurrence rules";
                return Err(line.fault(FaultKind::Unsupported { what }));
            }
            "RRULE" => ("RRULE", &mut self.rule),
            "RECURRENCE-ID" => ("RECURRENCE-ID", &mut self.instead_of),
            "EXRULE" => {
                let what = "a rule for exceptions (EXRULE)";
                return Err(line.fault(FaultKind::Unsupported { what }));
            }
            "RDATE" => return line.property().map(|property| self.added.push(property)),
            "EXDATE" => return line.property().map(|property| self.excluded.push(property)),
            "STATUS" => {
                self.cancelled = line.property()?.value().eq_ignore_ascii_case("CANCELLED");
                return Ok(());
            }
            "TRANSP" => {
                self.free = line.property()?.value().eq_ignore_ascii_case("TRANSPARENT");
                return Ok(());
            }
            "X-MICROSOFT-CDO-ALLDAYEVENT" => {
                self.all_day = line.property()?.value().eq_ignore_ascii_case("TRUE");
                return Ok(());
            }
            _ => return Ok(()),
        };
        if place.is_some() {
            return Err(line.fault(FaultKind::Twice { property: name }));
        }
        *place = Some(line.property()?);
        Ok(())
    }

    /// When it starts and how long it is.
    fn span(&self, zones: &mut ZoneBook) -> Result<(When, Length, Exactness), Fault> {
        let Some(property) = &self.start else {
            return Err(self.begin.fault(FaultKind::NoStart));
        };
        let start = value::when(property, zones)?;
        if let (Some(_), Some(duration)) = (&self.end, &self.duration) {
            return Err(duration.line_fault(FaultKind::TwoEnds));
        }
        if let Some(property) = &self.end {
            let end = value::when(property, zones)?;
            let midnights = [&start, &end]
                .iter()
                .all(|when| when.time() == when.date().at(0, 0, 0, 0));
            if self.all_day && !start.is_date() && midnights && end.date() > start.date() {
                let length = days_until(start.date(), end.date());
                return Ok((When::Date(start.date()), length, Exactness::Nominal));
            }
            let (length, exactness) = until(&start, &end).map_err(|kind| property.line_fault(kind))?;
            return Ok((start, length, exactness));
        }
        let length = match &self.duration {
            Some(property) => length(property, property.value())?,
            None if start.is_date() => Length { days: 1, seconds: 0 },
            None => Length::default(),
        };
        if start.is_date() && length.seconds > 0 {
            let property = self.duration.as_ref().unwrap_or(property);
            return Err(property.line_fault(FaultKind::MixedEnds));
        }
        Ok((start, length, Exactness::Nominal))
    }
}

/// Whether days of a length are days of the calendar, or there are none in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exactness {
    Nominal,
    Exact,
}

fn length(property: &Property, text: &str) -> Result<Length, Fault> {
    Length::parse(text.trim()).ok_or_else(|| {
        let (value, wanted) = (brief(text), "length of time");
        property.fault(FaultKind::BadValue { value, wanted })
    })
}

fn days_until(start: Date, end: Date) -> Length {
    let days = i64::from((end - start).get_days());
    Length { days, seconds: 0 }
}

/// The length between a start and an end of the same kind.
fn until(start: &When, end: &When) -> Result<(Length, Exactness), FaultKind> {
    let length = match (start, end) {
        (When::Date(start), When::Date(end)) if start <= end => {
            // Some programs write the last day, where the day after it is meant.
            let days = days_until(*start, *end).days.max(1);
            return Ok((Length { days, seconds: 0 }, Exactness::Nominal));
        }
        (When::Date(_), When::Date(_)) => return Err(FaultKind::EndsBefore),
        (When::Floating(start), When::Floating(end)) => end.duration_since(*start).as_secs(),
        (When::Zoned(start, start_zone), When::Zoned(end, end_zone)) => {
            let ends = (instant(*start, start_zone), instant(*end, end_zone));
            let (Some(start), Some(end)) = ends else {
                return Err(FaultKind::OutOfRange);
            };
            (end.as_millis() - start.as_millis()) / 1000
        }
        _ => return Err(FaultKind::MixedEnds),
    };
    if length < 0 {
        return Err(FaultKind::EndsBefore);
    }
    let length = Length {
        days: 0,
        seconds: length,
    };
    Ok((length, Exactness::Exact))
}

/// Starts that are not to be, in every form they are written in.
#[derive(Default)]
struct Excluded {
    dates: HashSet<Date>,
    locals: HashSet<DateTime>,
    instants: HashSet<Timestamp>,
}

impl Excluded {
    /// Dates exclude what starts on them, and times what starts just then; days are excluded by either.
    fn add(&mut self, when: &When, of_days: bool) {
        match when {
            _ if of_days => _ = self.dates.insert(when.date()),
            When::Date(date) => _ = self.dates.insert(*date),
            When::Floating(time) => _ = self.locals.insert(*time),
            When::Zoned(time, zone) => self.instants.extend(instant(*time, zone)),
        }
    }

    fn has(&self, when: &When) -> bool {
        let by_instant = || match when {
            When::Zoned(time, zone) => instant(*time, zone).is_some_and(|at| self.instants.contains(&at)),
            When::Date(_) | When::Floating(_) => false,
        };
        self.dates.contains(&when.date()) || self.locals.contains(&when.time()) || by_instant()
    }
}

/// The days that are looked at: from the first until before the second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub from: Date,
    pub until: Date,
}

/// What an event covers.
#[derive(Debug, Default)]
pub(super) struct Covered {
    pub entries: Vec<Entry>,
    /// Whether it repeats after the window.
    pub goes_on: bool,
    /// Whether it leaves its time free.
    pub free: bool,
    /// Whether it has no length.
    pub instant: bool,
    /// Whether all of it is over.
    pub past: bool,
}

/// The occurrences of an event that others stand for, read once for all events of its UID.
#[derive(Default)]
pub(super) struct Replaced<'a> {
    pub written: Vec<&'a Property>,
    of_days: Option<Excluded>,
    of_times: Option<Excluded>,
}

impl Replaced<'_> {
    fn excluded(&mut self, of_days: bool, zones: &mut ZoneBook) -> Result<&Excluded, Fault> {
        let read = match of_days {
            true => &mut self.of_days,
            false => &mut self.of_times,
        };
        if read.is_none() {
            let mut excluded = Excluded::default();
            for property in &self.written {
                excluded.add(&value::when(property, zones)?, of_days);
            }
            *read = Some(excluded);
        }
        Ok(read.get_or_insert_default())
    }
}

/// Finds what an event covers in the window and, where it does not repeat, after it.
pub(super) fn cover(
    event: &Event,
    replaced: Option<&mut Replaced<'_>>,
    window: Window,
    zones: &mut ZoneBook,
    budget: &mut Budget,
) -> Result<Covered, Fault> {
    if event.cancelled {
        return Ok(Covered::default());
    }
    let (start, length, exactness) = event.span(zones)?;
    let mut covered = Covered {
        free: event.free && !start.is_date(),
        ..Covered::default()
    };
    let mut excluded = Excluded::default();
    for property in &event.excluded {
        for (when, _) in value::list(property, zones)? {
            excluded.add(&when, start.is_date());
        }
    }
    let replaced = replaced
        .map(|replaced| replaced.excluded(start.is_date(), zones))
        .transpose()?;
    let mut starts = vec![(start.clone(), length, exactness)];
    if let Some(property) = &event.rule {
        starts.clear();
        covered.goes_on = repeat(property, &start, length, window, budget, |start| {
            starts.push((start, length, exactness));
        })?;
    }
    for property in &event.added {
        for (when, end) in value::list(property, zones)? {
            let (length, exactness) = match end {
                None => (length, exactness),
                Some(end) => period_length(property, &when, end, zones)?,
            };
            starts.push((when, length, exactness));
        }
    }
    if covered.free {
        return Ok(covered);
    }
    covered.instant = !starts.is_empty() && starts.iter().all(|(_, length, _)| length.is_zero());
    let before = starts.len();
    starts.retain(|(start, ..)| !excluded.has(start) && !replaced.is_some_and(|replaced| replaced.has(start)));
    let all_there = starts.len() == before;
    let place = event.rule.as_ref().or(event.start.as_ref());
    for (start, length, exactness) in starts {
        if length.is_zero() {
            continue;
        }
        let entry = entry(&start, length, exactness).map_err(|kind| match place {
            Some(property) => property.line_fault(kind),
            None => event.begin.fault(kind),
        })?;
        covered
            .entries
            .extend(entry.filter(|entry| ends_after(entry, window.from)));
    }
    covered.past = covered.entries.is_empty() && all_there && !covered.goes_on;
    Ok(covered)
}

/// Hands out the starts of an event that repeats, and tells whether there are more after the window.
fn repeat(
    property: &Property,
    start: &When,
    length: Length,
    window: Window,
    budget: &mut Budget,
    mut each: impl FnMut(When),
) -> Result<bool, Fault> {
    let rule = Recurrence::parse(property, start)?;
    // What starts before the window may reach into it.
    let reach = length.days.saturating_add(length.seconds / 86_400 + 2);
    let back = jiff::Span::new().try_days(reach).ok();
    let from = back.and_then(|back| window.from.checked_sub(back).ok());
    let bounds = (from.unwrap_or(Date::MIN), window.until);
    let more = expand(&rule, start.date(), bounds, budget, |date| {
        let occurrence = start.moved(date.to_datetime(start.time().time()));
        if rule.until.as_ref().is_some_and(|until| is_after(&occurrence, until)) {
            return ControlFlow::Break(());
        }
        each(occurrence);
        ControlFlow::Continue(())
    });
    let more = more.map_err(|_| property.line_fault(FaultKind::TooMuch))?;
    Ok(more && rule.until.is_none_or(|until| until.date() >= window.until))
}

/// Whether a start comes after the end of its rule, which belongs to it.
fn is_after(start: &When, until: &When) -> bool {
    match (start, until) {
        (_, When::Date(until)) => start.date() > *until,
        (When::Date(start), _) => *start > until.date(),
        (When::Zoned(time, zone), When::Zoned(until, until_zone)) => instant(*time, zone) > instant(*until, until_zone),
        _ => start.time() > until.time(),
    }
}

/// The length of a period that begins with a start: an end, or a length.
fn period_length(
    property: &Property,
    start: &When,
    end: &str,
    zones: &mut ZoneBook,
) -> Result<(Length, Exactness), Fault> {
    if end.trim_start().starts_with(['P', 'p', '+']) {
        return Ok((length(property, end)?, Exactness::Nominal));
    }
    until(start, &value::one(property, end, zones)?).map_err(|kind| property.line_fault(kind))
}

/// What one occurrence covers, if it is in the years that can be used.
fn entry(start: &When, length: Length, exactness: Exactness) -> Result<Option<Entry>, FaultKind> {
    let after = |time: DateTime| {
        let days = jiff::Span::new().try_days(length.days).ok()?;
        let time = time.checked_add(days).ok()?;
        time.checked_add(SignedDuration::from_secs(length.seconds)).ok()
    };
    let epoch = Date::constant(1970, 1, 1);
    let entry = match start {
        When::Date(first) => {
            let end = after(first.at(0, 0, 0, 0)).ok_or(FaultKind::OutOfRange)?.date();
            let last = end.checked_sub(1.day()).map_err(|_| FaultKind::OutOfRange)?;
            if last < epoch {
                return Ok(None);
            }
            DaySpan::of_dates((*first).max(epoch), last).map(Entry::Days)
        }
        When::Floating(from) => {
            let to = after(*from).ok_or(FaultKind::OutOfRange)?;
            if to.date() < epoch {
                return Ok(None);
            }
            TimeRange::local((*from).max(epoch.at(0, 0, 0, 0)), to).map(Entry::Range)
        }
        When::Zoned(time, zone) => {
            let from = instant(*time, zone).ok_or(FaultKind::OutOfRange)?;
            let to = match exactness {
                Exactness::Exact => from.as_second().checked_add(length.seconds),
                // Days of the calendar first, then elapsed time.
                Exactness::Nominal => {
                    let days = jiff::Span::new().try_days(length.days).ok();
                    let moved = days.and_then(|days| time.checked_add(days).ok());
                    moved
                        .and_then(|moved| instant(moved, zone))
                        .and_then(|at| at.as_second().checked_add(length.seconds))
                }
            };
            let to = to.ok_or(FaultKind::OutOfRange)?;
            if to <= 0 {
                return Ok(None);
            }
            let from = from.max(Timestamp::from_second(0));
            TimeRange::absolute(from, Timestamp::from_second(to)).map(Entry::Range)
        }
    };
    match entry {
        Ok(entry) => Ok(Some(entry)),
        // In a gap a nominal length may come to nothing.
        Err(EntryErrorKind::Backwards) => Ok(None),
        Err(_) => Err(FaultKind::OutOfRange),
    }
}

/// Whether some of an entry is not before a day.
fn ends_after(entry: &Entry, from: Date) -> bool {
    let day = i64::from((from - Date::constant(1970, 1, 1)).get_days());
    match entry {
        Entry::Days(span) => span.last() >= day,
        Entry::Range(TimeRange::Local(bounds) | TimeRange::Absolute(bounds)) => bounds.to() > day * 86_400,
        Entry::Rule(_) => true,
    }
}
