//! From bytes to records, and from records to JSON lines.

use jiff::Timestamp;

use super::Stream;
use super::keep::Keeper;
use crate::sys;

/// Most bytes of one record. Longer lines are cut.
pub(super) const RECORD_MAX: usize = 16 * 1024;

/// The longest tail of a UTF-8 sequence that can be missing at a cut.
const UTF8_TAIL: usize = 3;

/// Cuts one stream into records. Holds the beginning of a line until the rest of it comes.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    partial: Vec<u8>,
}

impl Splitter {
    /// Takes bytes in and gives whole records. The keeper says before each how long it may be.
    pub(super) fn feed(&mut self, mut bytes: &[u8], keeper: &mut Keeper, mut put: impl FnMut(&mut Keeper, &[u8])) {
        while !bytes.is_empty() {
            if self.partial.is_empty() {
                let Some(length) = first_record(bytes, keeper.record_max()) else {
                    self.partial.extend_from_slice(bytes);
                    return;
                };
                put(keeper, &bytes[..length]);
                bytes = &bytes[length..];
            } else {
                let missing = keeper.record_max().saturating_sub(self.partial.len()).max(1);
                let window = &bytes[..missing.min(bytes.len())];
                let length = sys::find(b'\n', window).map_or(window.len(), |at| at + 1);
                self.partial.extend_from_slice(&window[..length]);
                bytes = &bytes[length..];
                self.drain(keeper, &mut put);
            }
        }
    }

    /// The rest of the line does not come for now: its beginning is a record, up to the last whole character.
    pub(super) fn flush(&mut self, keeper: &mut Keeper, mut put: impl FnMut(&mut Keeper, &[u8])) {
        let length = whole_characters(&self.partial);
        let is_cut = std::str::from_utf8(&self.partial[..length]).is_err_and(|error| error.error_len().is_none());
        if length > 0 && !is_cut {
            put(keeper, &self.partial[..length]);
            self.partial.drain(..length);
        }
    }

    /// The stream has ended: what is left is a record.
    pub(super) fn end(&mut self, keeper: &mut Keeper, mut put: impl FnMut(&mut Keeper, &[u8])) {
        self.drain(keeper, &mut put);
        if !self.partial.is_empty() {
            put(keeper, &self.partial);
            self.partial.clear();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.partial.is_empty()
    }

    /// Gives the whole records of what was held back; more than one if the keeper takes less than before.
    fn drain(&mut self, keeper: &mut Keeper, put: &mut impl FnMut(&mut Keeper, &[u8])) {
        let mut done = 0;
        while let Some(length) = first_record(&self.partial[done..], keeper.record_max()) {
            put(keeper, &self.partial[done..done + length]);
            done += length;
        }
        self.partial.drain(..done);
    }
}

/// The length of the first record, up to its newline or cut at `max`; `None` if more bytes could make it longer.
fn first_record(bytes: &[u8], max: usize) -> Option<usize> {
    let window = &bytes[..max.min(bytes.len())];
    if let Some(at) = sys::find(b'\n', window) {
        return Some(at + 1);
    }
    (!bytes.is_empty() && bytes.len() >= max).then(|| whole_characters(window))
}

/// The length of `bytes` without a UTF-8 sequence that is cut off at its end, unless nothing would be left.
fn whole_characters(bytes: &[u8]) -> usize {
    for back in 1..=UTF8_TAIL.min(bytes.len()) {
        let at = bytes.len() - back;
        let needed = match bytes[at] {
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            // A continuation byte: the sequence begins before it.
            0x80..=0xBF => continue,
            _ => 1,
        };
        return if needed > back && at > 0 { at } else { bytes.len() };
    }
    bytes.len()
}

/// A time as records show it: RFC 3339, nanoseconds, UTC.
pub(super) fn stamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%NZ").to_string()
}

/// Appends a record as a JSON line.
pub(super) fn put_record(out: &mut Vec<u8>, stream: Stream, record: &[u8], time: &str) {
    out.extend_from_slice(b"{\"log\":\"");
    match std::str::from_utf8(record) {
        Ok(text) => {
            put_escaped(out, text);
            out.push(b'"');
        }
        Err(_) => {
            put_escaped(out, &String::from_utf8_lossy(record));
            out.extend_from_slice(b"\",\"raw\":\"");
            put_base64(out, record);
            out.push(b'"');
        }
    }
    out.extend_from_slice(match stream {
        Stream::Stdout => b",\"stream\":\"stdout\",\"time\":\"",
        Stream::Stderr => b",\"stream\":\"stderr\",\"time\":\"",
    });
    out.extend_from_slice(time.as_bytes());
    out.extend_from_slice(b"\"}\n");
}

/// Appends the line that says how many bytes are missing.
pub(super) fn put_gap(out: &mut Vec<u8>, missing: u64, time: &str) {
    let line = format!("{{\"log\":\"\",\"stream\":\"taskd\",\"time\":\"{time}\",\"gap\":{{\"bytes\":{missing}}}}}\n");
    out.extend_from_slice(line.as_bytes());
}

fn put_escaped(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    let mut done = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escape = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..0x20 => b'u',
            _ => continue,
        };
        out.extend_from_slice(&bytes[done..at]);
        done = at + 1;
        out.extend_from_slice(&[b'\\', escape]);
        if escape == b'u' {
            let low = HEX[usize::from(byte & 0xF)];
            out.extend_from_slice(&[b'0', b'0', b'0' + (byte >> 4), low]);
        }
    }
    out.extend_from_slice(&bytes[done..]);
}

fn put_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        let digit = |shift: u32| DIGITS[((word >> shift) & 63) as usize];
        let pad = |present: bool, digit: u8| if present { digit } else { b'=' };
        out.extend_from_slice(&[
            digit(18),
            digit(12),
            pad(chunk.len() > 1, digit(6)),
            pad(chunk.len() > 2, digit(0)),
        ]);
    }
}
