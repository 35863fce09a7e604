//! Prints records: bytes as the command wrote them, or with times, or as the JSON lines they are.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::base64;
use super::lines::Piece;
use super::record::Record;
use crate::error::Result;
use crate::out::Out;
use crate::render::{bytes, counted};

/// How records are shown.
#[derive(Clone, Default)]
pub struct Style {
    /// The JSON line instead of what it says.
    pub json: bool,
    /// The zone in which each line begins with its time.
    pub timestamps: Option<TimeZone>,
    /// Only what was written then or later.
    pub since: Option<Timestamp>,
    /// stderr lines go to stderr, and so do the marks of gaps.
    pub split: bool,
}

/// What a record came from: which run, and which of its two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Source {
    run: usize,
    stderr: bool,
}

/// Prints the records of one or more runs.
pub struct Printer {
    style: Style,
    /// Stands before each line, one for each run; none for a single run.
    prefixes: Vec<String>,
    /// Whose line is begun and not ended, on stdout and on stderr.
    open: [Option<Source>; 2],
    /// How many gaps of each run were only counted.
    untold: BTreeMap<usize, u64>,
}

/// A line of which neither stream nor time is known, in the shape of those of which they are.
#[derive(Serialize)]
struct Untold<'a> {
    log: Cow<'a, str>,
    stream: Option<&'a str>,
    time: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<String>,
}

impl<'a> Untold<'a> {
    fn of(line: &'a [u8]) -> Self {
        let log = String::from_utf8_lossy(line);
        Untold {
            raw: matches!(log, Cow::Owned(_)).then(|| base64::encode(line)),
            log,
            stream: None,
            time: None,
        }
    }
}

/// Where something is printed.
const STDOUT: usize = 0;
const STDERR: usize = 1;

impl Printer {
    /// For a single run, whose lines get no prefix.
    pub fn new(style: Style) -> Self {
        Printer {
            style,
            prefixes: Vec::new(),
            open: [None; 2],
            untold: BTreeMap::new(),
        }
    }

    /// For several runs, whose lines begin with their names.
    pub fn prefixed(style: Style, prefixes: Vec<String>) -> Self {
        Printer {
            style,
            prefixes,
            open: [None; 2],
            untold: BTreeMap::new(),
        }
    }

    /// Prints what stands in a file of a run.
    pub fn piece(&mut self, run: usize, piece: &Piece<'_>, out: &mut Out, err: &mut Out) -> Result<()> {
        match piece {
            Piece::Hole => self.gap(run, None, out, err),
            Piece::Line(line) => match Record::read(line) {
                Some(record) => self.record(run, line, &record, out, err),
                None => self.gap(run, None, out, err),
            },
        }
    }

    /// Prints a record and, with `json`, the line it was read from.
    pub fn record(&mut self, run: usize, line: &[u8], record: &Record<'_>, out: &mut Out, err: &mut Out) -> Result<()> {
        if self
            .style
            .since
            .is_some_and(|since| record.instant().is_some_and(|at| at < since))
        {
            return Ok(());
        }
        if self.style.json {
            out.bytes(line)?;
            return out.bytes(b"\n");
        }
        if let Some(gap) = record.gap {
            return self.gap(run, Some(gap.bytes), out, err);
        }
        let source = Source {
            run,
            stderr: record.stream == "stderr",
        };
        let time = |zone: &TimeZone| stamp(record, zone);
        self.put(source, &record.bytes(), time, out, err)
    }

    /// Prints what a run wrote of which neither stream nor time is known.
    pub fn bytes(&mut self, run: usize, bytes: &[u8], out: &mut Out, err: &mut Out) -> Result<()> {
        if !self.style.json && !self.is_marked() {
            let source = Source { run, stderr: false };
            return self.put(source, bytes, |_| String::new(), out, err);
        }
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.style.json {
                out.json(&Untold::of(line))?;
            } else {
                let source = Source { run, stderr: false };
                self.put(source, line, |_| String::new(), out, err)?;
            }
        }
        Ok(())
    }

    /// Whether all that was written up to an instant is older than what is wanted.
    pub fn is_before_all(&self, written: SystemTime) -> bool {
        let written = Timestamp::try_from(written).ok();
        self.style.since.zip(written).is_some_and(|(since, at)| at < since)
    }

    fn put(
        &mut self,
        source: Source,
        bytes: &[u8],
        time: impl Fn(&TimeZone) -> String,
        out: &mut Out,
        err: &mut Out,
    ) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let (sink, out) = if self.style.split && source.stderr {
            (STDERR, err)
        } else {
            (STDOUT, out)
        };
        let goes_on = self.open[sink] == Some(source);
        if !goes_on && self.is_marked() {
            self.end_line(sink, out)?;
            let mut head = String::new();
            if let Some(prefix) = self.prefixes.get(source.run) {
                head.push_str(prefix);
            }
            if let Some(zone) = &self.style.timestamps {
                head.push_str(&time(zone));
            }
            out.text(&head)?;
        }
        out.bytes(bytes)?;
        self.open[sink] = (bytes.last() != Some(&b'\n')).then_some(source);
        Ok(())
    }

    /// Whether lines begin with something.
    fn is_marked(&self) -> bool {
        self.style.timestamps.is_some() || !self.prefixes.is_empty()
    }

    fn end_line(&mut self, sink: usize, out: &mut Out) -> Result<()> {
        if self.open[sink].take().is_some() {
            out.bytes(b"\n")?;
        }
        Ok(())
    }

    /// The mark is no output of the run: where its streams are told apart, it goes where remarks go.
    fn gap(&mut self, run: usize, missing: Option<u64>, out: &mut Out, err: &mut Out) -> Result<()> {
        if self.style.json {
            // The shape of a gap line, of which neither time nor size is known.
            return out.line(r#"{"log":"","stream":"taskd","time":null,"gap":{"bytes":null}}"#);
        }
        // Apart from what is missing a mark tells no place. Who follows a run that writes faster than is read meets thousands.
        if self.style.split {
            if let Some(more) = self.untold.get_mut(&run) {
                *more += 1;
                return Ok(());
            }
            self.untold.insert(run, 0);
        }
        // What comes after it is another line. Alone on stdout, though, it is byte for byte what the run wrote.
        if self.is_marked() || !self.style.split {
            self.end_line(STDOUT, out)?;
        }
        self.end_line(STDERR, err)?;
        let out = if self.style.split { err } else { out };
        let missing = missing.map_or_else(|| "some output".to_owned(), |n| format!("{} of output", bytes(n)));
        let prefix = self.prefixes.get(run).map_or("", String::as_str);
        out.line(&format!("{prefix}[taskd: {missing} was not kept here]"))
    }

    /// Whether a line is begun and not ended.
    pub fn is_in_line(&self) -> bool {
        self.open.iter().any(Option::is_some)
    }

    /// Ends lines that were begun, where lines begin with something, and tells of the gaps that were only counted.
    pub fn end(&mut self, out: &mut Out, err: &mut Out) -> Result<()> {
        if self.is_marked() {
            self.end_line(STDOUT, out)?;
            self.end_line(STDERR, err)?;
        }
        for (run, more) in std::mem::take(&mut self.untold) {
            if more > 0 {
                self.end_line(STDERR, err)?;
                let prefix = self.prefixes.get(run).map_or("", String::as_str);
                let places = counted(more, "other place");
                err.line(&format!("{prefix}[taskd: nor was output kept in {places}]"))?;
            }
        }
        Ok(())
    }
}

/// `2026-11-23T11:00:00.123+01:00 `
fn stamp(record: &Record<'_>, zone: &TimeZone) -> String {
    match record.instant() {
        Some(at) => format!("{:.3} ", at.display_with_offset(zone.to_offset(at))),
        None => format!("{} ", record.time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Captured;

    fn line(log: &str, stream: &str) -> String {
        format!(
            r#"{{"log":{},"stream":"{stream}","time":"2026-11-23T10:00:00.123456789Z"}}"#,
            serde_json::json!(log)
        )
    }

    fn shown(mut printer: Printer, lines: &[(usize, String)]) -> (String, String) {
        let (stdout, stderr) = (Captured::default(), Captured::default());
        let (mut out, mut err) = (Out::to(stdout.clone()), Out::to(stderr.clone()));
        for (run, line) in lines {
            printer
                .piece(*run, &Piece::Line(line.as_bytes()), &mut out, &mut err)
                .expect("memory takes it");
        }
        printer
            .end(&mut out, &mut err)
            .and_then(|()| out.flush())
            .and_then(|()| err.flush())
            .expect("memory takes it");
        (stdout.text(), stderr.text())
    }

    #[test]
    fn bytes_come_out_as_they_went_in() {
        let lines = [
            (0, line("a", "stdout")),
            (0, line("E\n", "stderr")),
            (0, line("b\n", "stdout")),
            (0, line("c", "stdout")),
        ];
        assert_eq!(shown(Printer::new(Style::default()), &lines).0, "aE\nb\nc");
    }

    #[test]
    fn streams_can_be_kept_apart() {
        let style = Style {
            split: true,
            ..Style::default()
        };
        let lines = [(0, line("a\n", "stdout")), (0, line("E\n", "stderr"))];
        assert_eq!(shown(Printer::new(style), &lines), ("a\n".into(), "E\n".into()));
    }

    #[test]
    fn times_stand_at_the_beginning_of_lines_only() {
        let style = Style {
            timestamps: Some(TimeZone::UTC),
            ..Style::default()
        };
        let lines = [
            (0, line("a", "stdout")),
            (0, line("b\n", "stdout")),
            (0, line("c", "stderr")),
            (0, line("d\n", "stdout")),
        ];
        let stamp = "2026-11-23T10:00:00.123+00:00";
        assert_eq!(
            shown(Printer::new(style), &lines).0,
            format!("{stamp} ab\n{stamp} c\n{stamp} d\n")
        );
    }

    #[test]
    fn several_runs_do_not_share_a_line() {
        let printer = Printer::prefixed(Style::default(), vec!["x | ".into(), "y | ".into()]);
        let lines = [
            (0, line("a", "stdout")),
            (1, line("b\n", "stdout")),
            (0, line("c\n", "stdout")),
        ];
        assert_eq!(shown(printer, &lines).0, "x | a\ny | b\nx | c\n");
    }

    #[test]
    fn a_gap_is_marked() {
        let gap = r#"{"log":"","stream":"taskd","time":"2026-11-23T10:00:00Z","gap":{"bytes":2048}}"#.to_owned();
        let lines = [(0, line("a", "stdout")), (0, gap.clone()), (0, line("b\n", "stdout"))];
        assert_eq!(
            shown(Printer::new(Style::default()), &lines).0,
            "a\n[taskd: 2.0 KiB of output was not kept here]\nb\n"
        );
        let json = Style {
            json: true,
            ..Style::default()
        };
        assert_eq!(shown(Printer::new(json), &[(0, gap.clone())]).0, format!("{gap}\n"));
        let split = Style {
            split: true,
            ..Style::default()
        };
        let mark = "[taskd: 2.0 KiB of output was not kept here]\n".to_owned();
        assert_eq!(
            shown(Printer::new(split.clone()), &lines),
            ("ab\n".to_owned(), mark.clone())
        );
        let lines = [&lines[..], &lines[..], &lines[..]].concat();
        let marks = mark + "[taskd: nor was output kept in 2 other places]\n";
        assert_eq!(shown(Printer::new(split), &lines), ("ab\nab\nab\n".to_owned(), marks));
    }

    #[test]
    fn streams_of_several_runs_that_are_kept_apart_keep_their_lines() {
        let style = Style {
            split: true,
            ..Style::default()
        };
        let gap = r#"{"log":"","stream":"taskd","time":"2026-11-23T10:00:00Z","gap":{"bytes":2048}}"#.to_owned();
        let lines = [
            (0, line("a", "stdout")),
            (0, line("E", "stderr")),
            (0, line("b\n", "stdout")),
            (1, line("c", "stdout")),
            (1, gap),
            (1, line("d\n", "stdout")),
            (0, line("F", "stderr")),
        ];
        let printer = Printer::prefixed(style, vec!["x | ".into(), "y | ".into()]);
        let mark = "y | [taskd: 2.0 KiB of output was not kept here]";
        let expected = ("x | ab\ny | c\ny | d\n".to_owned(), format!("x | E\n{mark}\nx | F\n"));
        assert_eq!(shown(printer, &lines), expected);
    }

    #[test]
    fn a_hole_is_a_gap_in_json_too() {
        let style = Style {
            json: true,
            ..Style::default()
        };
        let captured = Captured::default();
        let mut out = Out::to(captured.clone());
        Printer::new(style)
            .piece(0, &Piece::Hole, &mut out, &mut Out::nowhere())
            .and_then(|()| out.flush())
            .expect("memory takes it");
        let line: serde_json::Value = serde_json::from_str(&captured.text()).expect("JSON");
        let gap = serde_json::json!({ "log": "", "stream": "taskd", "time": null, "gap": { "bytes": null } });
        assert_eq!(line, gap);
    }

    #[test]
    fn since_leaves_out_what_is_older() {
        let style = Style {
            since: Some("2026-11-23T10:00:01Z".parse().expect("an instant")),
            ..Style::default()
        };
        let new = line("new\n", "stdout").replace("10:00:00", "10:00:01");
        assert_eq!(
            shown(Printer::new(style), &[(0, line("old\n", "stdout")), (0, new)]).0,
            "new\n"
        );
    }
}
