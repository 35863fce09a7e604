//! Where output goes: one buffered writer that knows whether it is a terminal, may use colour, and how wide it is.
//! A reader that has gone away is not an error of ours, and every verb ends quietly on it.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::error::{Error, Failure};
use crate::render::one_line;

/// The standard output of a verb.
pub struct Out {
    sink: Box<dyn Write>,
    buffer: Vec<u8>,
    /// Whether a reader that goes away ends the verb.
    outlives_reader: bool,
    /// Whether escape codes may be written.
    pub colour: bool,
    /// Columns of the terminal; `None` where it is none, and nothing need be cut.
    pub width: Option<usize>,
    /// Whether glyphs beyond ASCII may be drawn with.
    pub unicode: bool,
}

/// Written out when the buffer is this long.
const FLUSH_AT: usize = 64 << 10;

/// Columns of a terminal that does not say.
const WIDTH: usize = 80;

impl Out {
    /// The process's standard output.
    pub fn stdout() -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let colour = anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
        Out {
            sink: Box::new(stdout.lock()),
            buffer: Vec::new(),
            outlives_reader: false,
            colour,
            width: is_terminal.then(|| columns().unwrap_or(WIDTH)),
            unicode: is_unicode(|name| std::env::var(name).ok()),
        }
    }

    /// The process's standard error. It is not line-buffered: whoever writes flushes.
    pub fn stderr() -> Self {
        let stderr = io::stderr();
        let is_terminal = stderr.is_terminal();
        let colour = anstream::AutoStream::choice(&stderr) != anstream::ColorChoice::Never;
        Out {
            sink: Box::new(stderr),
            buffer: Vec::new(),
            outlives_reader: false,
            colour,
            width: is_terminal.then(|| columns().unwrap_or(WIDTH)),
            unicode: is_unicode(|name| std::env::var(name).ok()),
        }
    }

    /// Nowhere.
    pub fn nowhere() -> Self {
        Out {
            sink: Box::new(io::sink()),
            buffer: Vec::new(),
            outlives_reader: false,
            colour: false,
            width: None,
            unicode: true,
        }
    }

    /// Some other sink, without colour and of any width.
    #[cfg(test)]
    pub fn to(sink: impl Write + 'static) -> Self {
        Out {
            sink: Box::new(sink),
            buffer: Vec::new(),
            outlives_reader: false,
            colour: false,
            width: None,
            unicode: true,
        }
    }

    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.width.is_some()
    }

    /// Goes on when the reader has gone, and writes nowhere then: for a verb that has more to do than to print.
    pub fn outlive_reader(&mut self) {
        self.outlives_reader = true;
    }

    /// Writes bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= FLUSH_AT {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Writes text.
    pub fn text(&mut self, text: &str) -> Result<(), Error> {
        self.bytes(text.as_bytes())
    }

    /// Writes text and a line end.
    pub fn line(&mut self, text: &str) -> Result<(), Error> {
        self.buffer.extend_from_slice(text.as_bytes());
        self.bytes(b"\n")
    }

    /// Writes a line with text from elsewhere in it, as [`one_line`] has it.
    pub fn said(&mut self, text: &str) -> Result<(), Error> {
        self.line(&one_line(text))
    }

    /// Writes a line that others may read back to the byte, and on a terminal as [`said`](Self::said).
    pub fn exact(&mut self, text: &str) -> Result<(), Error> {
        if self.is_terminal() {
            self.said(text)
        } else {
            self.line(text)
        }
    }

    /// Writes a value as JSON on a line of its own.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Error> {
        // OK because no type of ours has a map with keys that are not strings, the one way this can fail.
        serde_json::to_writer(&mut self.buffer, value).expect("our shapes are always JSON");
        self.bytes(b"\n")
    }

    /// Hands over all that was written.
    pub fn flush(&mut self) -> Result<(), Error> {
        let done = self.sink.write_all(&self.buffer).and_then(|()| self.sink.flush());
        self.buffer.clear();
        match done {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && self.outlives_reader => {
                self.sink = Box::new(io::sink());
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Error::ReaderGone),
            other => other.map_err(|error| Failure::system("write the output", &error).into()),
        }
    }
}

/// Writes a JSON array element by element, so that long lists need no memory. Nothing is written before the first
/// element, so that what fails before it leaves the output empty.
#[derive(Default)]
pub struct JsonArray {
    begun: bool,
}

impl JsonArray {
    /// Adds an element, on a line of its own.
    pub fn element(&mut self, out: &mut Out, value: &impl Serialize) -> Result<(), Error> {
        out.text(if self.begun { ",\n" } else { "[\n" })?;
        self.begun = true;
        // OK for the reason given in `Out::json`.
        serde_json::to_writer(&mut out.buffer, value).expect("our shapes are always JSON");
        Ok(())
    }

    /// Closes it.
    pub fn close(self, out: &mut Out) -> Result<(), Error> {
        out.text(if self.begun { "\n]\n" } else { "[]\n" })
    }
}

/// Columns of the terminal on stdout or stderr, or what `$COLUMNS` says.
fn columns() -> Option<usize> {
    let told = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let asked = || {
        let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout())
            .or_else(|_| rustix::termios::tcgetwinsize(rustix::stdio::stderr()))
            .ok()?;
        (size.ws_col > 0).then_some(usize::from(size.ws_col))
    };
    told.or_else(asked)
}

/// Whether the locale is one of UTF-8. Where none is said, terminals of our time are.
fn is_unicode(variable: impl Fn(&str) -> Option<String>) -> bool {
    let said = |name: &&str| variable(name).filter(|locale| !locale.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(said);
    locale.is_none_or(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Captured;

    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_broken_pipe_is_no_failure() {
        let mut out = Out::to(Gone);
        out.line("x").expect("it is only buffered");
        assert!(matches!(out.flush(), Err(Error::ReaderGone)));
    }

    #[test]
    fn what_outlives_its_reader_goes_on_in_silence() {
        let mut out = Out::to(Gone);
        out.outlive_reader();
        for _ in 0..2 {
            out.line("x").and_then(|()| out.flush()).expect("it goes on");
        }
    }

    #[test]
    fn glyphs_are_drawn_unless_the_locale_is_another() {
        let drawn =
            |set: &[(&str, &str)]| is_unicode(|name| Some(set.iter().find(|(key, _)| *key == name)?.1.to_owned()));
        assert!(
            drawn(&[]) && drawn(&[("LANG", "")]) && drawn(&[("LANG", "de_DE.UTF-8")]) && drawn(&[("LC_ALL", "C.utf8")])
        );
        assert!(!drawn(&[("LANG", "C")]) && !drawn(&[("LANG", "de_DE.ISO-8859-1")]));
        assert!(
            !drawn(&[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")]),
            "the first that is set counts"
        );
    }

    #[test]
    fn an_array_is_valid_json_with_none_one_and_two() {
        for n in 0..3 {
            let captured = Captured::default();
            let mut out = Out::to(captured.clone());
            let mut array = JsonArray::default();
            for i in 0..n {
                array.element(&mut out, &i).expect("memory takes it");
            }
            array.close(&mut out).expect("memory takes it");
            out.flush().expect("memory takes it");
            let read: Vec<i32> = serde_json::from_str(&captured.text()).expect("it is JSON");
            assert_eq!(read, (0..n).collect::<Vec<_>>());
        }
    }
}
