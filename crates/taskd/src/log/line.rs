//! Events as lines: JSON for the file, a short text for people.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::ops::Range;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::echo::Echo;
use super::queue::Queue;

/// Every line of the file begins with this, and then the time.
const HEAD: &str = r#"{"ts":""#;
/// Where the day stands in a line of the file.
pub(super) const DAY: Range<usize> = HEAD.len()..HEAD.len() + "2026-11-23".len();
/// Where the time stands.
const STAMP: Range<usize> = HEAD.len()..HEAD.len() + "2026-11-23T12:00:00.000Z".len();

/// Most bytes of one text in a line. What is longer is cut: a log that is bounded by lines would have no bound else.
const TEXT_MAX: usize = 8 * 1024;

/// Bytes that the fields of most lines fit into.
const ROOM: usize = 256;

/// The layer that makes lines of events and queues them.
pub(super) struct Lines {
    clock: fn() -> i64,
    file: Queue,
    echo: Option<(Echo, Queue)>,
}

impl Lines {
    pub(super) fn new(clock: fn() -> i64, file: Queue, echo: Option<(Echo, Queue)>) -> Lines {
        Lines { clock, file, echo }
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let stamp = stamp((self.clock)());
        let level = *event.metadata().level();
        let mut fields = Fields::new(self.echo.is_some());
        event.record(&mut fields);
        if level >= Level::DEBUG {
            fields.text("target", event.metadata().target());
        }
        let mut line = String::with_capacity(128 + fields.message.len() + fields.json.len());
        line.push_str(HEAD);
        line.push_str(&stamp);
        line.push_str(r#"","level":""#);
        line.push_str(word(level));
        line.push_str(r#"","msg":"#);
        json_text(&mut line, &fields.message);
        line.push_str(&fields.json);
        line.push_str("}\n");
        // What goes wrong is in the file although the machine may go down over it.
        let urgent = level <= Level::WARN;
        self.file.push(line.as_bytes(), urgent);
        if let Some((echo, queue)) = &self.echo {
            let line = echo.line(
                level,
                &stamp,
                &fields.message,
                fields.plain.as_deref().unwrap_or_default(),
            );
            queue.push(line.as_bytes(), urgent);
        }
    }
}

/// The line that tells of lost ones, with the time of the line `after` it.
pub(super) fn loss(after: &[u8], lost: u64, why: &str) -> Vec<u8> {
    let stamp = after.get(STAMP).and_then(|stamp| std::str::from_utf8(stamp).ok());
    let mut line = format!(
        r#"{HEAD}{}","level":"warn","msg":"lines of this log were lost","lost":{lost},"error":"#,
        stamp.unwrap_or_default()
    );
    json_text(&mut line, why);
    line.push_str("}\n");
    line.into_bytes()
}

/// `2026-11-23T12:00:00.000Z`
fn stamp(now_ms: i64) -> String {
    const PRINTER: jiff::fmt::temporal::DateTimePrinter =
        jiff::fmt::temporal::DateTimePrinter::new().precision(Some(3));
    let now = jiff::Timestamp::from_millisecond(now_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    PRINTER.timestamp_to_string(&now)
}

fn word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// The fields of an event, in both forms.
struct Fields {
    message: String,
    /// `,"name":value` for each.
    json: String,
    /// ` name=value` for each, where people read it.
    plain: Option<String>,
}

impl Fields {
    fn new(is_plain: bool) -> Self {
        Fields {
            message: String::new(),
            json: String::with_capacity(ROOM),
            plain: is_plain.then(|| String::with_capacity(ROOM)),
        }
    }

    /// Appends the names, and leaves the values to the caller.
    fn name(&mut self, name: &str) {
        // The fields that every line has are not to be there twice.
        let taken = matches!(name, "ts" | "level" | "msg") || (name == "target" && self.json.contains(r#","target":"#));
        let mark = if taken { "_" } else { "" };
        for part in [",\"", name, mark, "\":"] {
            self.json.push_str(part);
        }
        if let Some(plain) = &mut self.plain {
            for part in [" ", name, "="] {
                plain.push_str(part);
            }
        }
    }

    fn bare(&mut self, field: &Field, value: impl fmt::Display) {
        self.name(field.name());
        // Writing to a string does not fail.
        let _ = write!(self.json, "{value}");
        if let Some(plain) = &mut self.plain {
            let _ = write!(plain, "{value}");
        }
    }

    fn text(&mut self, name: &str, text: &str) {
        if name == "message" {
            text.clone_into(&mut self.message);
            return;
        }
        self.name(name);
        json_text(&mut self.json, text);
        if let Some(plain) = &mut self.plain {
            if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c == '"' || c == '=' || harmful(c)) {
                json_text(plain, text);
            } else {
                plain.push_str(cut(text).0);
            }
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.bare(field, value);
        } else {
            self.text(field.name(), &value.to_string());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.text(field.name(), &value.to_string());
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.text(field.name(), &value.to_string());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            let _ = write!(text, ": {error}");
            cause = error.source();
        }
        self.text(field.name(), &text);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field.name(), &format!("{value:?}"));
    }
}

/// The text as far as it is kept, and whether that is all of it.
fn cut(text: &str) -> (&str, bool) {
    if text.len() <= TEXT_MAX {
        return (text, true);
    }
    (&text[..text.floor_char_boundary(TEXT_MAX)], false)
}

/// Whether a terminal might obey the character, or show a text in another order than it is in.
fn harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

/// Appends the text as a JSON string with nothing harmful in it.
fn json_text(out: &mut String, text: &str) {
    let (kept, whole) = cut(text);
    out.push('"');
    if kept
        .bytes()
        .all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'))
    {
        // As most texts are, and much quicker.
        out.push_str(kept);
    } else {
        escape(out, kept);
    }
    if !whole {
        out.push('…');
    }
    out.push('"');
}

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // All of these are in the basic plane, so that one escape is enough.
            c if harmful(c) => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

/// Appends the text with what is harmful in it escaped.
pub(super) fn plain_text(out: &mut String, text: &str) {
    let (kept, whole) = cut(text);
    for c in kept.chars() {
        if harmful(c) {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    if !whole {
        out.push('…');
    }
}
