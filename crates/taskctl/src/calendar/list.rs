//! Calendars as TOML lists.
//!
//! ```toml
//! days = ["2026-12-24", "2026-12-27..2026-12-31", 2027-01-01]
//! ranges = [{ from = "2026-12-24T12:00", to = "2026-12-27T00:00" }]
//! rules = ["weekends", "easter+1", "1st mon", "last mon may", "12-25"]
//! ```
//!
//! A day or an end of a range can be a date or time of TOML as well as a text. A range with offsets from UTC is of instants,
//! one without is of local time.

use std::fmt;
use std::ops::Range;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use taskd_core::calendar::{Calendar, DaySpan, Entry, EntryError, RangeEnd, Rule, TimeRange};
use toml::Spanned;
use toml::value::Datetime;

use super::fault::{Fault, FaultKind};

/// A list as it is written.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    days: Vec<Spanned<Text>>,
    #[serde(default)]
    ranges: Vec<Ends>,
    #[serde(default)]
    rules: Vec<Spanned<String>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Ends {
    from: Spanned<Text>,
    to: Spanned<Text>,
}

/// A text, or a date or time of TOML.
enum Text {
    Quoted(String),
    Plain(Datetime),
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        struct Seen;
        impl<'de> Visitor<'de> for Seen {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a day or a time such as \"2026-12-24\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text::Quoted(text.to_owned()))
            }

            // Dates of TOML come as a map with a key of the reader's own.
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Text, A::Error> {
                Datetime::deserialize(MapAccessDeserializer::new(map)).map(Text::Plain)
            }
        }
        deserializer.deserialize_any(Seen)
    }
}

impl Text {
    fn text(&self) -> String {
        match self {
            Text::Quoted(text) => text.clone(),
            Text::Plain(time) => time.to_string(),
        }
    }
}

/// Reads a list.
pub(super) fn read(bytes: &[u8]) -> Result<Calendar, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        at(&valid, valid.len()..valid.len(), FaultKind::NotUtf8)
    })?;
    let list: List = toml::from_str(text).map_err(|error| of_toml(text, &error))?;
    let mut entries = Vec::new();
    for days in &list.days {
        let value = days.get_ref().text();
        let parsed = DaySpan::parse(&value).map_err(|error| of_entry(text, days.span(), &value, error))?;
        entries.push(Entry::Days(parsed));
    }
    for Ends { from, to } in &list.ranges {
        let (start, stop) = (from.get_ref().text(), to.get_ref().text());
        let parsed = TimeRange::parse(&start, &stop).map_err(|error| match error.end {
            RangeEnd::From => of_entry(text, from.span(), &start, error.error),
            RangeEnd::To => of_entry(text, to.span(), &stop, error.error),
        })?;
        entries.push(Entry::Range(parsed));
    }
    for rule in &list.rules {
        let value = rule.get_ref();
        let parsed = Rule::parse(value).map_err(|error| of_entry(text, rule.span(), value, error))?;
        entries.push(Entry::Rule(parsed));
    }
    Calendar::new(entries).map_err(|error| FaultKind::Calendar(error).nowhere())
}

/// An error in a value that stands at these bytes of the file.
fn of_entry(text: &str, span: Range<usize>, value: &str, error: EntryError) -> Fault {
    let written = text.get(span.clone()).unwrap_or("");
    let quote = written.starts_with(['"', '\'']);
    // With escapes in it, columns of the value are not those of the file.
    let plain = written.trim_matches(['"', '\'']) == value;
    let fault = at(text, span, FaultKind::Entry(error.kind));
    match fault.place {
        Some(mut place) if plain => {
            let (from, to) = error.span;
            place.at = (place.at.0 + usize::from(quote) + from, (to - from).max(1));
            Fault {
                place: Some(place),
                ..fault
            }
        }
        _ => fault,
    }
}

fn of_toml(text: &str, error: &toml::de::Error) -> Fault {
    // It may quote what the file says.
    let message = error.message().replace('\n', ", ");
    let message: String = message.chars().filter(|c| !c.is_control()).collect();
    let (message, cure) = match message.strip_prefix("unknown field `") {
        Some(rest) => {
            let (key, known) = rest.split_once('`').unwrap_or((rest, ""));
            let names: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
            let keys = names.join(", ");
            (
                format!("there is no key `{key}` here"),
                Some(format!("the keys here are {keys}")),
            )
        }
        None => (message, None),
    };
    let span = error.span().unwrap_or(0..0);
    at(text, span, FaultKind::Toml { message, cure })
}

/// A fault at these bytes of the file.
fn at(text: &str, span: Range<usize>, kind: FaultKind) -> Fault {
    let start = text.floor_char_boundary(span.start);
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let line = text[..line_start].matches('\n').count() + 1;
    let meant = text.get(start..span.end.min(line_end)).unwrap_or("");
    let columns = (text[line_start..start].chars().count(), meant.chars().count().max(1));
    kind.at(line, text[line_start..line_end].trim_end_matches('\r'), columns)
}
