//! One line of an output file.

use std::borrow::Cow;

use serde::Deserialize;

use super::base64;

/// A piece of output as the runner kept it.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Record<'a> {
    /// The text, with its line end where it had one.
    #[serde(borrow)]
    pub log: Cow<'a, str>,
    /// `stdout`, `stderr`, or `taskd` for what the runner says itself.
    #[serde(borrow)]
    pub stream: Cow<'a, str>,
    /// When it was read, RFC 3339.
    #[serde(borrow)]
    pub time: Cow<'a, str>,
    /// The exact bytes in base64, where they are no text.
    #[serde(borrow, default)]
    pub raw: Option<Cow<'a, str>>,
    /// What is missing here.
    #[serde(default)]
    pub gap: Option<Gap>,
}

/// Output that was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Gap {
    /// How many bytes.
    pub bytes: u64,
}

impl<'a> Record<'a> {
    /// Reads a line, with or without its end; `None` for what the runner cannot have written in one piece.
    pub fn read(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// The bytes the command wrote.
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        match self.raw.as_deref().and_then(base64::decode) {
            Some(raw) => Cow::Owned(raw),
            None => Cow::Borrowed(self.log.as_bytes()),
        }
    }

    /// When it was read.
    pub fn instant(&self) -> Option<jiff::Timestamp> {
        self.time.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_bytes_win_over_their_lossy_text() {
        let line = br#"{"log":"a\ufffd\n","stream":"stdout","time":"2026-11-23T10:00:00.000000001Z","raw":"Yf8K"}"#;
        let record = Record::read(line).expect("it is whole");
        assert_eq!(record.bytes().as_ref(), b"a\xff\n");
    }

    #[test]
    fn a_gap_has_a_size_and_no_text() {
        let line = br#"{"log":"","stream":"taskd","time":"2026-11-23T10:00:00Z","gap":{"bytes":99}}"#;
        assert_eq!(Record::read(line).expect("it is whole").gap, Some(Gap { bytes: 99 }));
    }

    #[test]
    fn a_torn_line_is_none_and_an_unknown_field_is_no_matter() {
        assert_eq!(Record::read(br#"og":"x\n","stream":"stdout","time":"t"}"#), None);
        assert!(Record::read(br#"{"log":"x","stream":"stdout","time":"t","later":1}"#).is_some());
    }
}
