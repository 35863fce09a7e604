//! The daemon's own log: JSON lines in a file that is rotated to `.1`, `.2` and so on, shown to people as one line of
//! words each.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::lines::{Lines, Piece};
use crate::render::one_line;
use crate::render::table::Tone;

/// The log, read from some point on, over rotations.
pub struct DaemonLog {
    path: PathBuf,
    /// Files to be read, oldest first; the last is the one that was in place when it was last looked.
    files: VecDeque<Lines>,
}

impl DaemonLog {
    /// Opens the file in place, and as many of those it was rotated to as may hold lines since an instant, or the last
    /// lines.
    pub fn open(path: &Path, since: Option<Timestamp>, tail: Option<usize>) -> io::Result<Self> {
        let mut wanted = tail;
        let is_last = |lines: &mut Lines| -> io::Result<bool> {
            let begins_earlier = match since {
                Some(since) => first_instant(lines)?.is_some_and(|first| first < since),
                None => false,
            };
            let Some(count) = &mut wanted else {
                return Ok(since.is_none() || begins_earlier);
            };
            let last = lines.last(*count)?;
            lines.start_at(last.offset);
            *count -= last.count;
            Ok(*count == 0 || begins_earlier)
        };
        let files = newest_first(path, is_last)?;
        if files.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(DaemonLog {
            path: path.to_owned(),
            files: files.into_iter().rev().collect(),
        })
    }

    /// Gives all whole lines that have come.
    pub fn read(&mut self, mut give: impl FnMut(&[u8])) -> io::Result<()> {
        let mut read = |lines: &mut Lines| {
            lines.read::<io::Error>(|piece| {
                if let Piece::Line(line) = piece {
                    give(line);
                }
                Ok(())
            })
        };
        loop {
            while self.files.len() > 1
                && let Some(mut lines) = self.files.pop_front()
            {
                read(&mut lines)?;
            }
            let Some(present) = self.files.front_mut() else {
                return Ok(());
            };
            // Nothing comes to a file that was rotated, so it is read to its end after that is known.
            let replaced = present.is_replaced();
            read(present)?;
            if !replaced {
                return Ok(());
            }
            let known = present.identity()?;
            let newer = newest_first(&self.path, |lines| Ok(lines.identity()? == known))?;
            // One that was cut short in its place is all new.
            let cut = present.is_cut();
            let is_new = |lines: &Lines| cut || lines.identity().is_ok_and(|identity| identity != known);
            let files: VecDeque<Lines> = newer.into_iter().rev().filter(is_new).collect();
            if files.is_empty() {
                return Ok(());
            }
            self.files = files;
        }
    }

    /// Whether nothing has come since it was read to its end.
    pub fn is_settled(&self) -> bool {
        let Some(present) = self.files.back() else { return true };
        !present.is_replaced() && present.is_read()
    }
}

/// The file in place, if there is one, and those it was rotated to, up to the first that is the last wanted. They are
/// opened from the newest: a rotation meanwhile gives one of them twice, which is left out, and none is missed.
fn newest_first(path: &Path, mut is_last: impl FnMut(&mut Lines) -> io::Result<bool>) -> io::Result<Vec<Lines>> {
    let mut files: Vec<Lines> = Vec::new();
    let mut seen = Vec::new();
    for number in 0.. {
        let mut name = path.to_owned().into_os_string();
        if number > 0 {
            name.push(format!(".{number}"));
        }
        let mut lines = match Lines::open(Path::new(&name)) {
            Ok(lines) => lines.named(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound && number == 0 => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        };
        let identity = lines.identity()?;
        if seen.contains(&identity) {
            continue;
        }
        seen.push(identity);
        let last = is_last(&mut lines)?;
        files.push(lines);
        if last {
            break;
        }
    }
    Ok(files)
}

/// When the first line was written; reads no further.
fn first_instant(lines: &mut Lines) -> io::Result<Option<Timestamp>> {
    let mut head = [0; 64 << 10];
    let n = lines.head(&mut head)?;
    let line = head[..n].split(|&byte| byte == b'\n').next();
    Ok(line.and_then(instant))
}

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

    fn line(n: u32) -> String {
        format!("{{\"ts\":\"2026-11-23T10:00:{n:02}Z\",\"level\":\"INFO\",\"msg\":\"{n}\"}}\n")
    }

    /// A log that is rotated as the daemon does it.
    struct Rotated(tempfile::TempDir);

    impl Rotated {
        fn new() -> Self {
            Rotated(tempfile::tempdir().expect("a directory"))
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("taskd.log")
        }

        fn write(&self, n: u32) {
            let options = std::fs::OpenOptions::new().create(true).append(true).open(self.path());
            std::io::Write::write_all(&mut options.expect("room"), line(n).as_bytes()).expect("room");
        }

        fn rotate(&self) {
            let numbered = |n: u32| self.0.path().join(format!("taskd.log.{n}"));
            for n in (1..9).rev().filter(|&n| numbered(n).exists()) {
                std::fs::rename(numbered(n), numbered(n + 1)).expect("the same directory");
            }
            std::fs::rename(self.path(), numbered(1)).expect("the same directory");
        }
    }

    fn read(log: &mut DaemonLog) -> Vec<u32> {
        let mut messages = Vec::new();
        log.read(|line| {
            let line: Value = serde_json::from_slice(line).expect("JSON");
            messages.push(
                line["msg"]
                    .as_str()
                    .and_then(|text| text.parse().ok())
                    .expect("a number"),
            );
        })
        .expect("it can be read");
        messages
    }

    #[test]
    fn no_line_is_lost_over_rotations() {
        let rotated = Rotated::new();
        rotated.write(1);
        let mut log = DaemonLog::open(&rotated.path(), None, None).expect("it is there");
        assert_eq!(read(&mut log), [1]);
        // Lines before the rotation, a whole file between two, and lines after them.
        rotated.write(2);
        rotated.rotate();
        rotated.write(3);
        rotated.write(4);
        rotated.rotate();
        rotated.write(5);
        assert!(!log.is_settled());
        assert_eq!(read(&mut log), [2, 3, 4, 5]);
        assert!(log.is_settled());
    }

    #[test]
    fn while_no_file_is_in_place_there_is_nothing_to_do() {
        let rotated = Rotated::new();
        rotated.write(1);
        let mut log = DaemonLog::open(&rotated.path(), None, None).expect("it is there");
        assert_eq!(read(&mut log), [1]);
        rotated.rotate();
        assert!(log.is_settled(), "it is looked at again and again");
        assert_eq!(read(&mut log), [0; 0]);
        rotated.write(2);
        assert!(!log.is_settled());
        assert_eq!(read(&mut log), [2]);
    }

    #[test]
    fn the_last_lines_and_those_since_an_instant_may_be_in_rotated_files() {
        let rotated = Rotated::new();
        for n in [1, 2, 3, 4, 5] {
            rotated.write(n);
            if n % 2 == 0 {
                rotated.rotate();
            }
        }
        let open = |since: Option<&str>, tail| {
            let since = since.map(|text| text.parse().expect("an instant"));
            read(&mut DaemonLog::open(&rotated.path(), since, tail).expect("it is there"))
        };
        assert_eq!(open(None, None), [5]);
        assert_eq!(open(None, Some(2)), [4, 5]);
        assert_eq!(open(None, Some(4)), [2, 3, 4, 5]);
        assert_eq!(open(None, Some(99)), [1, 2, 3, 4, 5]);
        assert_eq!(open(None, Some(0)), [0; 0]);
        // Whole files; which of their lines are too old is told by each.
        assert_eq!(open(Some("2026-11-23T10:00:04Z"), None), [3, 4, 5]);
        assert_eq!(open(Some("2026-11-23T10:00:00Z"), None), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_log_cut_short_in_its_place_is_read_anew() {
        let rotated = Rotated::new();
        rotated.write(1);
        rotated.write(2);
        let mut log = DaemonLog::open(&rotated.path(), None, None).expect("it is there");
        read(&mut log);
        std::fs::write(rotated.path(), line(3)).expect("room");
        assert_eq!(read(&mut log), [3]);
    }
}
