//! Calendars as iCalendar files (RFC 5545).
//!
//! Events become entries: whole days are days, times with a zone or of UTC are ranges of instants, and times without are
//! ranges of local time. What repeats is written out, from a year ago until ten years from now.
//!
//! What counts: an event that was cancelled does not, nor does the occurrence that a cancelled one stands for. An event with
//! times that is marked as free (`TRANSP:TRANSPARENT`) does not either, but a whole day does, for public holidays are published
//! that way. Tasks, journals, free-busy times and alarms are passed over.
//!
//! A file that is not understood is refused, not read in part: a day that is missing in a calendar is found out too late.

mod event;
mod expand;
mod lines;
mod recur;
#[cfg(test)]
mod tests;
mod value;
mod windows;
mod zones;

use std::collections::HashMap;

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use taskd_core::Timestamp;
use taskd_core::calendar::{Calendar, CalendarError, ENTRIES_MAX, Entry, LOOK_AHEAD_DAYS, TimeRange};

use self::event::{Event, Replaced, Window, cover};
use self::expand::{Budget, WORK_MAX};
use self::lines::{Line, Lines};
use self::zones::{Description, Observance, ZoneBook};
use super::fault::{Fault, FaultKind, brief};
use super::{Note, Reading};

/// How a file begins.
pub(super) const OPENING: &[u8] = b"BEGIN:VCALENDAR";
/// Days that are past and still looked at.
const LOOK_BACK_DAYS: i64 = 366;
/// Most components inside each other.
const DEPTH_MAX: usize = 16;

/// Reads a file.
pub(super) fn read(bytes: &[u8], now: Timestamp, zones: &dyn Fn(&str) -> Option<TimeZone>) -> Result<Reading, Fault> {
    let file = File::read(bytes)?;
    let now = now.to_jiff();
    let today = TimeZone::UTC.to_datetime(now).date();
    let window = Window {
        from: today.checked_sub(LOOK_BACK_DAYS.days()).unwrap_or(Date::MIN),
        until: today.checked_add(LOOK_AHEAD_DAYS.days()).unwrap_or(Date::MAX),
    };
    let mut zones = ZoneBook::new(zones, now, file.zones);
    let mut budget = Budget(WORK_MAX);
    let mut found = Found::default();
    let mut counts = Counts::default();
    let mut replaced: HashMap<&str, Replaced<'_>> = HashMap::new();
    for event in &file.events {
        if let (Some(uid), Some(occurrence)) = (&event.uid, &event.instead_of) {
            if occurrence.param("RANGE").is_some() {
                let what = "a change of all later occurrences (RANGE=THISANDFUTURE)";
                return Err(occurrence.line_fault(FaultKind::Unsupported { what }));
            }
            replaced.entry(uid.value()).or_default().written.push(occurrence);
        }
    }
    for event in &file.events {
        let uid = event.uid.as_ref().filter(|_| event.instead_of.is_none());
        let replaced = uid.and_then(|uid| replaced.get_mut(uid.value()));
        let covered = cover(event, replaced, window, &mut zones, &mut budget)?;
        let counted = [
            (event.cancelled, &mut counts.cancelled),
            (covered.free, &mut counts.free),
            (covered.instant, &mut counts.instants),
            (covered.past, &mut counts.past),
        ];
        if let Some((_, count)) = counted.into_iter().find(|(is, _)| *is) {
            *count += 1;
            continue;
        }
        counts.goes_on |= covered.goes_on;
        found.add(covered.entries);
    }
    counts.others = file.others;
    let cut = found.finish();
    let calendar = Calendar::new(found.entries.into_iter().map(|(_, entry)| entry)).map_err(|error| match error {
        CalendarError::Empty => FaultKind::NoEvents.nowhere(),
        CalendarError::TooMany { .. } => FaultKind::Calendar(error).nowhere(),
    })?;
    Ok(Reading {
        calendar,
        notes: counts.notes(window.until, cut),
    })
}

/// How many events were left out, and why.
#[derive(Default)]
struct Counts {
    past: usize,
    cancelled: usize,
    free: usize,
    instants: usize,
    others: usize,
    goes_on: bool,
}

impl Counts {
    fn notes(&self, until: Date, cut: Option<Note>) -> Vec<Note> {
        let counted = [
            (self.past, Note::Past(self.past)),
            (self.cancelled, Note::Cancelled(self.cancelled)),
            (self.free, Note::Free(self.free)),
            (self.instants, Note::Instants(self.instants)),
            (self.others, Note::Others(self.others)),
            (usize::from(self.goes_on), Note::Repeats { until }),
        ];
        let counted = counted.into_iter().filter(|(count, _)| *count > 0);
        counted.map(|(_, note)| note).chain(cut).collect()
    }
}

/// The earliest entries that were found, each with the second it begins, of local time or of UTC.
#[derive(Default)]
struct Found {
    entries: Vec<(i64, Entry)>,
    dropped: usize,
    /// The second that the earliest of those dropped begins.
    dropped_from: Option<i64>,
}

impl Found {
    fn add(&mut self, entries: Vec<Entry>) {
        self.entries
            .extend(entries.into_iter().map(|entry| (begins(&entry), entry)));
        // Not at every addition, so that it costs little; often enough to keep memory bounded.
        if self.entries.len() > 8 * ENTRIES_MAX {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.entries.sort_by_key(|(begins, _)| *begins);
        let mut seen = std::collections::HashSet::new();
        self.entries.retain(|(_, entry)| seen.insert(*entry));
        if let Some((begins, _)) = self.entries.get(ENTRIES_MAX) {
            self.dropped += self.entries.len() - ENTRIES_MAX;
            self.dropped_from = Some(self.dropped_from.map_or(*begins, |known| known.min(*begins)));
            self.entries.truncate(ENTRIES_MAX);
        }
    }

    fn finish(&mut self) -> Option<Note> {
        self.cut();
        let from = self.dropped_from?;
        let date = Date::constant(1970, 1, 1).checked_add(from.div_euclid(86_400).days());
        Some(Note::Cut {
            entries: self.dropped,
            from: date.unwrap_or(Date::MAX),
        })
    }
}

fn begins(entry: &Entry) -> i64 {
    match entry {
        Entry::Days(span) => span.first() * 86_400,
        Entry::Range(TimeRange::Local(bounds) | TimeRange::Absolute(bounds)) => bounds.from(),
        Entry::Rule(_) => 0,
    }
}

/// The components of a file that are looked at.
#[derive(Default)]
struct File {
    events: Vec<Event>,
    zones: Vec<Description>,
    /// How many other things there are.
    others: usize,
}

impl File {
    fn read(bytes: &[u8]) -> Result<File, Fault> {
        let mut file = File::default();
        let mut open: Vec<(String, Line)> = Vec::new();
        for line in Lines::new(bytes) {
            let begins = line
                .text
                .get(..6)
                .is_some_and(|start| start.eq_ignore_ascii_case("BEGIN:"));
            let ends = line
                .text
                .get(..4)
                .is_some_and(|start| start.eq_ignore_ascii_case("END:"));
            if begins {
                let name = line.text[6..].trim().to_ascii_uppercase();
                file.begin(&open, &name, &line)?;
                open.push((name, line));
            } else if ends {
                let found = line.text[4..].trim();
                match open.pop() {
                    Some((wanted, _)) if wanted.eq_ignore_ascii_case(found) => {}
                    Some((wanted, _)) => {
                        let found = brief(found);
                        return Err(line.fault(FaultKind::WrongEnd {
                            found,
                            wanted: brief(&wanted),
                        }));
                    }
                    None => return Err(line.fault(FaultKind::Outside)),
                }
            } else {
                file.take(&open, line)?;
            }
        }
        match open.pop() {
            Some((name, begin)) => Err(begin.fault(FaultKind::CutOff {
                component: brief(&name),
            })),
            None => Ok(file),
        }
    }

    /// A component begins inside of those that are open.
    fn begin(&mut self, open: &[(String, Line)], name: &str, line: &Line) -> Result<(), Fault> {
        if open.len() >= DEPTH_MAX {
            return Err(line.fault(FaultKind::TooDeep));
        }
        match (path(open).as_slice(), name) {
            ([], "VCALENDAR") => {}
            ([], _) => return Err(line.fault(FaultKind::Outside)),
            (["VCALENDAR"], "VEVENT") => self.events.push(Event::new(line.clone())),
            (["VCALENDAR"], "VTIMEZONE") => self.zones.push(Description::default()),
            (["VCALENDAR"], _) => self.others += 1,
            (["VCALENDAR", "VTIMEZONE"], "STANDARD" | "DAYLIGHT") => {
                if let Some(zone) = self.zones.last_mut() {
                    zone.observances.push(Observance {
                        daylight: name == "DAYLIGHT",
                        ..Observance::default()
                    });
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A property stands inside of the components that are open.
    fn take(&mut self, open: &[(String, Line)], line: Line) -> Result<(), Fault> {
        match path(open).as_slice() {
            [] => Err(line.fault(FaultKind::Outside)),
            ["VCALENDAR", "VEVENT"] => match self.events.last_mut() {
                Some(event) => event.take(line),
                None => Ok(()),
            },
            ["VCALENDAR", "VTIMEZONE"] => match self.zones.last_mut() {
                Some(zone) => zone.take(line),
                None => Ok(()),
            },
            ["VCALENDAR", "VTIMEZONE", "STANDARD" | "DAYLIGHT"] => {
                match self.zones.last_mut().and_then(|zone| zone.observances.last_mut()) {
                    Some(observance) => observance.take(line),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

fn path(open: &[(String, Line)]) -> Vec<&str> {
    open.iter().map(|(name, _)| name.as_str()).collect()
}
