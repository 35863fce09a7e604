//! The daemon's own log: JSON lines, shown to people as one line of words each.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use crate::render::one_line;
use crate::render::table::Tone;

/// When a line was written, if it says so.
pub fn instant(line: &[u8]) -> Option<Timestamp> {
    let object: Map<String, Value> = serde_json::from_slice(line).ok()?;
    object.get("ts")?.as_str()?.parse().ok()
}

/// A line in words: time, level, message, then the rest as `key=value`. What is no JSON object stays as it is.
pub fn words(line: &[u8], zone: &TimeZone, colour: bool) -> String {
    let Ok(mut object) = serde_json::from_slice::<Map<String, Value>>(line) else {
        return one_line(&String::from_utf8_lossy(line));
    };
    let mut take = |key: &str| object.remove(key).and_then(|value| value.as_str().map(str::to_owned));
    let (ts, level, msg) = (take("ts"), take("level"), take("msg"));
    let mut text = String::new();
    if let Some(ts) = ts {
        match ts.parse::<Timestamp>() {
            Ok(at) => text.push_str(&at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()),
            Err(_) => text.push_str(&one_line(&ts)),
        }
        text.push(' ');
    }
    if let Some(level) = level {
        let level = level.to_lowercase();
        let tone = match level.as_str() {
            "error" | "warn" => Tone::Bad,
            "debug" | "trace" => Tone::Dim,
            _ => Tone::Plain,
        };
        text.push_str(&tone.paint(&format!("{:<5}", one_line(&level)), colour));
        text.push(' ');
    }
    text.push_str(&one_line(&msg.unwrap_or_default()));
    for (key, value) in &object {
        let value = match value {
            Value::String(text) if text.contains([' ', '"', '=']) || text.is_empty() => format!("{text:?}"),
            Value::String(text) => text.clone(),
            Value::Null => continue,
            other => other.to_string(),
        };
        // OK because writing to a string cannot fail.
        let _ = write!(
            text,
            " {}",
            Tone::Dim.paint(&one_line(&format!("{key}={value}")), colour)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_words() {
        let line = br#"{"ts":"2026-11-23T10:00:00.5Z","level":"INFO","msg":"run finished","task":"a","duration_ms":12,"reason":"exit code 3","x":null}"#;
        assert_eq!(
            words(line, &TimeZone::UTC, false),
            "2026-11-23 10:00:00.500 info  run finished duration_ms=12 reason=\"exit code 3\" task=a"
        );
        assert_eq!(words(b"no json \x1b", &TimeZone::UTC, false), "no json \u{fffd}");
        assert_eq!(instant(line), "2026-11-23T10:00:00.5Z".parse().ok());
    }
}
