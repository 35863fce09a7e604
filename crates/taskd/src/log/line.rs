//! Events as lines: JSON for the file, a short text for people.

use std::cell::RefCell;
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
const TIME: Range<usize> = HEAD.len()..HEAD.len() + "2026-11-23T12:00:00.000Z".len();

/// Most bytes of one text in a line. What is longer is cut: a log that is bounded by lines would have no bound else.
const TEXT_MAX: usize = 8 * 1024;

/// Most bytes of room that are kept for the next line.
const ROOM_KEPT: usize = 16 * 1024;

thread_local! {
    /// Room for the next line of this thread.
    static FIELDS: RefCell<Fields> = RefCell::default();
    /// When its last line was.
    static STAMP: RefCell<Stamp> = RefCell::default();
}

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
        // What is said while this is put together has new ones.
        let mut fields = FIELDS.try_with(RefCell::take).unwrap_or_default();
        let mut stamp = STAMP.try_with(RefCell::take).unwrap_or_default();
        fields.begin(self.echo.is_some());
        stamp.set((self.clock)());
        let level = *event.metadata().level();
        event.record(&mut fields);
        if level >= Level::DEBUG {
            fields.text("target", event.metadata().target());
        }
        let Fields {
            message,
            json,
            plain,
            line,
            ..
        } = &mut fields;
        for part in [HEAD, &stamp.text, r#"","level":""#, word(level), r#"","msg":"#] {
            line.push_str(part);
        }
        json_text(line, message);
        line.push_str(json);
        line.push_str("}\n");
        // What goes wrong is in the file although the machine may go down over it.
        let urgent = level <= Level::WARN;
        self.file.push(line.as_bytes(), urgent);
        if let Some((echo, queue)) = &self.echo {
            let line = echo.line(level, &stamp.text, message, plain.as_deref().unwrap_or_default());
            queue.push(line.as_bytes(), urgent);
        }
        // At the end of a thread there is no next one.
        let _ = STAMP.try_with(|last| last.replace(stamp));
        if fields.room() <= ROOM_KEPT {
            let _ = FIELDS.try_with(|last| last.replace(fields));
        }
    }
}

/// The line that tells of lost ones, with the time of the line `after` it.
pub(super) fn loss(after: &[u8], lost: u64, why: &str) -> Vec<u8> {
    let stamp = after.get(TIME).and_then(|stamp| std::str::from_utf8(stamp).ok());
    let mut line = format!(
        r#"{HEAD}{}","level":"warn","msg":"lines of this log were lost","lost":{lost},"error":"#,
        stamp.unwrap_or_default()
    );
    json_text(&mut line, why);
    line.push_str("}\n");
    line.into_bytes()
}

/// A time as the lines have it: `2026-11-23T12:00:00.000Z`.
#[derive(Default)]
struct Stamp {
    text: String,
    /// The second that the text is of, since the epoch.
    second: Option<i64>,
}

impl Stamp {
    /// Of many lines a second, only the milliseconds are written anew.
    fn set(&mut self, now_ms: i64) {
        const PRINTER: jiff::fmt::temporal::DateTimePrinter =
            jiff::fmt::temporal::DateTimePrinter::new().precision(Some(3));

        let (second, ms) = (now_ms.div_euclid(1000), now_ms.rem_euclid(1000));
        if self.second == Some(second) {
            self.text.truncate(self.text.len() - "000Z".len());
            // Writing to a string does not fail.
            let _ = write!(self.text, "{ms:03}Z");
            return;
        }
        let now = jiff::Timestamp::from_millisecond(now_ms);
        self.second = now.is_ok().then_some(second);
        self.text.clear();
        let _ = PRINTER.print_timestamp(&now.unwrap_or(jiff::Timestamp::UNIX_EPOCH), &mut self.text);
    }
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

/// The fields of an event, in both forms, and the line that they go into.
#[derive(Default)]
struct Fields {
    message: String,
    /// `,"name":value` for each.
    json: String,
    /// ` name=value` for each, where people read it.
    plain: Option<String>,
    line: String,
    /// A value that is not yet in its form.
    value: String,
}

impl Fields {
    fn begin(&mut self, is_plain: bool) {
        if self.plain.is_some() != is_plain {
            self.plain = is_plain.then(String::new);
        }
        let Fields {
            message,
            json,
            plain,
            line,
            value: _,
        } = self;
        for text in [message, json, line].into_iter().chain(plain) {
            text.clear();
        }
    }

    /// Bytes that its texts may grow to as they are.
    fn room(&self) -> usize {
        let texts = [&self.message, &self.json, &self.line, &self.value];
        texts.into_iter().chain(&self.plain).map(String::capacity).sum()
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
        if field.name() == "message" {
            self.message.clear();
            let _ = write!(self.message, "{value:?}");
            return;
        }
        let mut text = std::mem::take(&mut self.value);
        text.clear();
        let _ = write!(text, "{value:?}");
        self.text(field.name(), &text);
        self.value = text;
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

#[cfg(test)]
mod tests {
    use super::Stamp;

    #[test]
    fn a_time_is_the_same_whatever_was_told_before() {
        let of = |now_ms: i64| {
            let mut stamp = Stamp::default();
            stamp.set(now_ms);
            stamp.text
        };
        assert_eq!(of(1_795_824_000_007), "2026-11-28T00:00:00.007Z");
        let mut stamp = Stamp::default();
        let years = 8_000 * 365 * 86_400_000;
        for now_ms in [
            0,
            7,
            999,
            1_000,
            1_001,
            -1,
            -999,
            -1_000,
            -1_001,
            i64::MAX,
            5,
            i64::MIN,
            years,
            years + 1,
        ] {
            stamp.set(now_ms);
            assert_eq!(stamp.text, of(now_ms), "{now_ms}");
        }
    }
}
