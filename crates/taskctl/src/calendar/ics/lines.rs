//! The lines of an iCalendar file (RFC 5545, section 3.1).

use super::super::fault::{Fault, FaultKind};

/// A line with what was folded into it.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Where it begins, from 1.
    pub number: usize,
    pub text: String,
}

/// The lines of a file. Bytes are unfolded before they are characters, as a character may be folded.
pub(super) struct Lines<'a> {
    rest: &'a [u8],
    number: usize,
}

impl<'a> Lines<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Lines { rest: bytes, number: 0 }
    }

    fn physical(&mut self) -> &'a [u8] {
        let end = self
            .rest
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or(self.rest.len());
        let line = &self.rest[..end];
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        self.number += 1;
        line.strip_suffix(b"\r").unwrap_or(line)
    }
}

impl Iterator for Lines<'_> {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        let mut bytes = Vec::new();
        while bytes.is_empty() {
            if self.rest.is_empty() {
                return None;
            }
            bytes.extend_from_slice(self.physical());
        }
        let number = self.number;
        // A blank line ends nothing: some programs leave them inside of long texts.
        while matches!(self.rest.first(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            bytes.extend_from_slice(self.physical().get(1..).unwrap_or_default());
        }
        // What is no UTF-8 can only be in texts, which are not looked at.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Some(Line { number, text })
    }
}

impl Line {
    /// What stands before the parameters and the value.
    pub fn name(&self) -> Result<&str, Fault> {
        let end = self.text.find([':', ';']).unwrap_or(0);
        let name = &self.text[..end];
        let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        plain.then_some(name).ok_or_else(|| self.fault(FaultKind::NotAProperty))
    }

    /// The line in its parts.
    pub fn property(self) -> Result<Property, Fault> {
        let mut at = self.name()?.len();
        let mut params = Vec::new();
        while self.text[at..].starts_with(';') {
            let (param, end) = parameter(&self.text, at + 1).ok_or_else(|| self.fault(FaultKind::NotAProperty))?;
            params.push(param);
            at = end;
        }
        if !self.text[at..].starts_with(':') {
            return Err(self.fault(FaultKind::NotAProperty));
        }
        Ok(Property {
            line: self,
            params,
            value: at + 1,
        })
    }

    /// A fault of the whole line.
    pub fn fault(&self, kind: FaultKind) -> Fault {
        kind.at(self.number, &self.text, (0, self.text.chars().count().max(1)))
    }
}

/// A parameter that begins at a byte of the text, and where it ends. Of several values the first counts.
fn parameter(text: &str, start: usize) -> Option<((String, String), usize)> {
    let equals = start + text[start..].find(['=', ':', ';'])?;
    if !text[equals..].starts_with('=') {
        return None;
    }
    let name = text[start..equals].to_ascii_uppercase();
    let mut first = None;
    let mut at = equals + 1;
    loop {
        let rest = &text[at..];
        let (value, end) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let close = quoted.find('"')?;
                (&quoted[..close], at + close + 2)
            }
            None => {
                let end = rest.find([',', ';', ':'])?;
                (&rest[..end], at + end)
            }
        };
        first.get_or_insert_with(|| value.to_owned());
        match text.as_bytes().get(end) {
            Some(b',') => at = end + 1,
            Some(b';' | b':') => return Some(((name, first.unwrap_or_default()), end)),
            _ => return None,
        }
    }
}

/// A property with its parameters.
#[derive(Clone, Debug)]
pub(super) struct Property {
    line: Line,
    params: Vec<(String, String)>,
    /// Where in the line the value begins.
    value: usize,
}

impl Property {
    pub fn value(&self) -> &str {
        self.line.text[self.value..].trim_ascii()
    }

    /// The parameter of this name, in capitals.
    pub fn param(&self, name: &str) -> Option<&str> {
        let (_, value) = self.params.iter().find(|(known, _)| known == name)?;
        Some(value)
    }

    /// A fault of the value.
    pub fn fault(&self, kind: FaultKind) -> Fault {
        let columns = |text: &str| text.chars().count();
        let (before, value) = self.line.text.split_at(self.value);
        kind.at(
            self.line.number,
            &self.line.text,
            (columns(before), columns(value).max(1)),
        )
    }

    /// A fault of the whole line.
    pub fn line_fault(&self, kind: FaultKind) -> Fault {
        self.line.fault(kind)
    }
}
