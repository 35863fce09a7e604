//! Events on standard error: a line for a person, or for the journal.

use std::fmt::Write as _;
use std::io::{self, Write};

use rustix::fd::AsFd;
use tracing::Level;

use super::line::plain_text;
use super::queue::Sink;

/// How events appear on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// Not at all.
    Off,
    /// `2026-11-23T12:00:00.000Z INFO run finished task=backup`, without colour.
    Plain,
    /// `<6>run finished task=backup`: the journal knows the time and reads the priority.
    Journal,
}

impl Echo {
    /// As suits what standard error is: nothing into `/dev/null` or a file, where the log itself would only stand twice,
    /// and the journal's form if `$JOURNAL_STREAM` says that it is the journal's.
    #[must_use]
    pub fn from_env() -> Echo {
        let (stderr, null) = match (rustix::fs::fstat(io::stderr().as_fd()), rustix::fs::stat("/dev/null")) {
            (Ok(stderr), Ok(null)) => (stderr, null),
            (Ok(_) | Err(_), Ok(_) | Err(_)) => return Echo::Plain,
        };
        let identity = |found: &rustix::fs::Stat| (found.st_dev, found.st_ino);
        let kind = rustix::fs::FileType::from_raw_mode(stderr.st_mode);
        if identity(&stderr) == identity(&null) || kind == rustix::fs::FileType::RegularFile {
            return Echo::Off;
        }
        Echo::suiting(std::env::var("JOURNAL_STREAM").ok().as_deref(), identity(&stderr))
    }

    /// The variable outlives a redirection, so it must name the very stream.
    fn suiting(journal: Option<&str>, identity: (u64, u64)) -> Echo {
        let named = journal
            .and_then(|value| value.split_once(':'))
            .and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)));
        if named == Some(identity) {
            Echo::Journal
        } else {
            Echo::Plain
        }
    }

    /// The line for an event; `fields` has nothing harmful in it.
    pub(super) fn line(self, level: Level, stamp: &str, message: &str, fields: &str) -> String {
        let mut line = String::with_capacity(48 + message.len() + fields.len());
        // Writing to a string does not fail.
        let _ = match self {
            Echo::Off => Ok(()),
            Echo::Plain => write!(line, "{stamp} {level:<5} "),
            Echo::Journal => write!(line, "<{}>", priority(level)),
        };
        plain_text(&mut line, message);
        line.push_str(fields);
        line.push('\n');
        line
    }

    pub(super) fn sink(self, out: impl Write + Send + 'static) -> impl Sink {
        Stream { echo: self, out }
    }
}

/// The priorities of syslog.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

struct Stream<W> {
    echo: Echo,
    out: W,
}

impl<W: Write + Send + 'static> Sink for Stream<W> {
    fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        self.out.write_all(line)
    }

    fn loss(&self, after: &[u8], lost: u64, why: &str) -> Vec<u8> {
        let stamp = after.split(|byte| *byte == b' ').next().unwrap_or_default();
        let message = format!("{lost} lines are missing here; the log file may have them: {why}");
        self.echo
            .line(Level::WARN, &String::from_utf8_lossy(stamp), &message, "")
            .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_known_by_the_very_stream() {
        for (variable, echo) in [
            (None, Echo::Plain),
            (Some("8:9"), Echo::Journal),
            (Some("8:10"), Echo::Plain),
            (Some("nonsense"), Echo::Plain),
            (Some("8:"), Echo::Plain),
        ] {
            assert_eq!(Echo::suiting(variable, (8, 9)), echo, "{variable:?}");
        }
    }

    #[test]
    fn lines_are_short_and_harmless() {
        let stamp = "2026-11-23T12:00:00.000Z";
        assert_eq!(
            Echo::Plain.line(Level::WARN, stamp, "run \u{1b}[31m failed\nfaked", " task=b"),
            "2026-11-23T12:00:00.000Z WARN  run \\u001b[31m failed\\u000afaked task=b\n"
        );
        assert_eq!(Echo::Journal.line(Level::INFO, stamp, "ready", ""), "<6>ready\n");
        assert_eq!(Echo::Journal.line(Level::ERROR, stamp, "bad", ""), "<3>bad\n");
    }

    #[test]
    fn a_gap_is_told() {
        let stream = Echo::Plain.sink(Vec::new());
        let line = String::from_utf8(stream.loss(b"2026-11-23T12:00:00.000Z INFO  x\n", 7, "why")).unwrap();
        assert!(
            line.starts_with("2026-11-23T12:00:00.000Z WARN  7 lines are missing"),
            "{line}"
        );
    }
}
