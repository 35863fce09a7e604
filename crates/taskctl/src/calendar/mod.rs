//! Calendars from files: bytes in, a [`Calendar`] out, or a [`Fault`] with its place and a cure.
//!
//! A file is a TOML list (`list`) or an iCalendar file (`ics`); which one is seen from how it begins. What was left out of a
//! file on purpose is told in [`Note`]s. Nothing here reads a file or a clock.

mod fault;
mod ics;
mod list;
#[cfg(test)]
mod tests;

use std::fmt;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use taskd_core::Timestamp;
use taskd_core::calendar::Calendar;

pub use fault::{Fault, FaultKind};

/// Most bytes of a file. Whoever reads it reads no more than one byte past this; what is longer is refused here.
pub const FILE_MAX: usize = 4 << 20;
/// Begins files of editors that mark them as UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The calendar.
    pub calendar: Calendar,
    /// What of the file is not in it.
    pub notes: Vec<Note>,
}

/// Something of a file that is not in its calendar. [`fmt::Display`] says it in a sentence without its end mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// Events that ended more than a year ago.
    Past(usize),
    /// Events that were cancelled.
    Cancelled(usize),
    /// Events with a time that say of themselves that they leave it free. Whole days count all the same: holidays are published so.
    Free(usize),
    /// Events without any length.
    Instants(usize),
    /// Tasks, journal entries and whatever else is no event.
    Others(usize),
    /// Some events repeat for longer than is looked ahead.
    Repeats {
        /// The first day that is not looked at.
        until: Date,
    },
    /// There was more than a calendar may have; the earliest are kept.
    Cut {
        /// How many entries are left out.
        entries: usize,
        /// The day the first of them begins.
        from: Date,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events = |n: &usize| format!("{n} {}", if *n == 1 { "event" } else { "events" });
        match self {
            Note::Past(n) => write!(f, "left out: {} more than a year ago", events(n)),
            Note::Cancelled(n) => write!(
                f,
                "left out: {} that {} cancelled",
                events(n),
                if *n == 1 { "was" } else { "were" }
            ),
            Note::Free(n) => write!(f, "left out: {} marked as free time", events(n)),
            Note::Instants(n) => write!(f, "left out: {} without a length", events(n)),
            Note::Others(n) => write!(
                f,
                "left out: {n} {} no event",
                if *n == 1 { "entry that is" } else { "entries that are" }
            ),
            Note::Repeats { until } => write!(
                f,
                "what repeats is in the calendar until {until}; add the file again before then"
            ),
            Note::Cut { entries, from } => {
                write!(f, "left out: {entries} entries from {from} on, as there are too many")
            }
        }
    }
}

/// Reads a file of either kind. `now` tells which events are past and how far repeated ones are looked for; `zones` finds
/// the zones of the tz database by name.
///
/// # Errors
/// [`Fault`] says what is wrong, where, and how to put it right.
pub fn read(bytes: &[u8], now: Timestamp, zones: &dyn Fn(&str) -> Option<TimeZone>) -> Result<Reading, Fault> {
    if bytes.len() > FILE_MAX {
        return Err(FaultKind::TooLong.nowhere());
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(FaultKind::NotUtf8.nowhere());
    }
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let start = bytes.trim_ascii_start();
    if start.starts_with(b"<") {
        return Err(FaultKind::WebPage.nowhere());
    }
    let ics = start
        .get(..ics::OPENING.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(ics::OPENING));
    if ics {
        return ics::read(bytes, now, zones);
    }
    let calendar = list::read(bytes)?;
    Ok(Reading {
        calendar,
        notes: Vec::new(),
    })
}
