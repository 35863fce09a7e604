mod faults;
mod published;
mod recurrence;

use jiff::tz::{TimeZone, TimeZoneDatabase};
use taskd_core::Timestamp;

use crate::calendar::{Fault, Reading, read};

/// 2026-11-26T00:00Z
const NOW: Timestamp = Timestamp::from_second(1_795_651_200);

fn database(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}

fn parse(text: &str) -> Result<Reading, Fault> {
    read(text.as_bytes(), NOW, &database)
}

/// A file with these lines in it, which end as the standard wants.
fn file(lines: &str) -> String {
    let lines = lines.trim().lines().map(str::trim_start).collect::<Vec<_>>();
    format!("BEGIN:VCALENDAR\r\n{}\r\nEND:VCALENDAR\r\n", lines.join("\r\n"))
}

/// A file of one event.
fn event(lines: &str) -> String {
    file(&format!("BEGIN:VEVENT\n{}\nEND:VEVENT", lines.trim()))
}

/// What a file covers, each entry as a list in TOML has it.
fn covered(text: &str) -> Vec<String> {
    let calendar = parse(text).unwrap_or_else(|fault| panic!("{fault}\n{text}")).calendar;
    let days = calendar.days().map(|days| days.to_string());
    days.chain(calendar.ranges().map(|range| range.to_string())).collect()
}

fn notes(text: &str) -> Vec<String> {
    let notes = parse(text).unwrap_or_else(|fault| panic!("{fault}")).notes;
    notes.iter().map(ToString::to_string).collect()
}
