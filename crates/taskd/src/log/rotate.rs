//! The log file and those it is rotated to: bounded in size and number, made anew when somebody takes it away, and
//! never left with half a line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::OFlags;

use super::line;
use super::queue::Sink;
use crate::config::LogConfig;

/// Who may read the log besides its owner: nobody, as it names commands and hosts.
const MODE: u32 = 0o600;

/// A UTC day as in the lines: `2026-11-23`.
type Day = [u8; 10];

/// How much there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Files in all, the one being written included; at least 1.
    pub(super) files: u32,
    pub(super) file_bytes: u64,
}

impl Bounds {
    pub(super) fn of(config: &LogConfig) -> Bounds {
        Bounds {
            files: config.files.max(1),
            file_bytes: config.file_bytes,
        }
    }
}

/// What the rest of the daemon wants from the writer, which runs in a thread of its own.
#[derive(Debug)]
pub(super) struct Wishes {
    bounds: Mutex<Bounds>,
    renewed: AtomicBool,
}

impl Wishes {
    pub(super) fn new(bounds: Bounds) -> Wishes {
        Wishes {
            bounds: Mutex::new(bounds),
            renewed: AtomicBool::new(false),
        }
    }

    /// New bounds, and a look whether the file is still in its place, before the next line.
    pub(super) fn renew(&self, bounds: Bounds) {
        *self.bounds.lock().unwrap_or_else(PoisonError::into_inner) = bounds;
        self.renewed.store(true, Ordering::Release);
    }

    fn take(&self) -> Option<Bounds> {
        self.renewed
            .swap(false, Ordering::Acquire)
            .then(|| *self.bounds.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The way of bytes into the file: `write(2)`, or in tests a disk that is full when the test says so.
type WriteSome = Box<dyn FnMut(&mut File, &[u8]) -> io::Result<usize> + Send>;

/// The file that is written now.
struct Current {
    file: File,
    /// Device and inode: whether the path still leads here.
    identity: (u64, u64),
    bytes: u64,
    /// The day of its lines. `None` in an empty file.
    day: Option<Day>,
    /// Whether it ends within a line.
    torn: bool,
}

/// The log file, and its rotation.
pub(super) struct Rotating {
    path: PathBuf,
    wishes: Arc<Wishes>,
    bounds: Bounds,
    /// `None` after the file could not be opened; each line tries again.
    current: Option<Current>,
    /// Whether to see if the file is still in its place before the next line.
    doubt: bool,
    write_some: WriteSome,
}

impl Rotating {
    /// Opens the file at `path`, and makes it if need be.
    pub(super) fn open(path: PathBuf, wishes: Arc<Wishes>) -> io::Result<Rotating> {
        let bounds = *wishes.bounds.lock().unwrap_or_else(PoisonError::into_inner);
        let mut log = Rotating {
            path,
            wishes,
            bounds,
            current: None,
            doubt: false,
            write_some: Box::new(|file, bytes| file.write(bytes)),
        };
        log.reopen()?;
        log.remove_beyond_bound();
        Ok(log)
    }

    fn reopen(&mut self) -> io::Result<&mut Current> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(MODE)
            // Neither where a link leads, nor into a pipe that nobody reads.
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32)
            .open(&self.path)?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
        }
        let bytes = found.len();
        let mut head = [0; line::DAY.end];
        let day = match file.read_exact_at(&mut head, 0) {
            Ok(()) => day_of(&head),
            Err(_) => None,
        };
        let mut last = [b'\n'];
        if bytes > 0 {
            file.read_exact_at(&mut last, bytes - 1)?;
        }
        Ok(self.current.insert(Current {
            file,
            identity: (found.dev(), found.ino()),
            bytes,
            day,
            torn: last != [b'\n'],
        }))
    }

    fn in_place(&self) -> bool {
        match (&self.current, fs::symlink_metadata(&self.path)) {
            (Some(current), Ok(found)) => current.identity == (found.dev(), found.ino()),
            (_, Ok(_) | Err(_)) => false,
        }
    }

    /// The file for a line of so many bytes and that day, after what is due before it.
    fn prepare(&mut self, bytes: u64, day: Option<Day>) -> io::Result<()> {
        if let Some(bounds) = self.wishes.take() {
            self.bounds = bounds;
            self.doubt = true;
            self.remove_beyond_bound();
        }
        if std::mem::take(&mut self.doubt) && !self.in_place() {
            self.current = None;
        }
        let Bounds { file_bytes, .. } = self.bounds;
        let current = match &mut self.current {
            Some(current) => current,
            None => self.reopen()?,
        };
        // Lines of an earlier day, after the clock was set back, go on in the same file: a clock that is corrected to
        // and fro would use up all files.
        let another_day = matches!((current.day, day), (Some(old), Some(new)) if new > old);
        let full = current.bytes + bytes > file_bytes;
        if current.bytes > 0 && (full || another_day) {
            let overfull = current.bytes + bytes > file_bytes.saturating_mul(2);
            match self.rotate() {
                Ok(()) => {}
                // Better a file that is too long than lines lost, up to a point.
                Err(_) if self.current.is_some() && !overfull => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        if self.in_place() {
            self.remove_beyond_bound();
            if self.bounds.files == 1 {
                fs::remove_file(&self.path)?;
            } else {
                self.shift()?;
            }
        }
        self.current = None;
        self.reopen().map(|_| ())
    }

    /// Renames each file to the next number, the log itself to number 1; the last is replaced.
    fn shift(&self) -> io::Result<()> {
        let last = self.bounds.files - 1;
        // Up to the first number that is free: if the last rename fails, trying again moves nothing twice.
        let free = (1..last)
            .find(|number| fs::symlink_metadata(self.numbered(*number)).is_err())
            .unwrap_or(last);
        for number in (1..free).rev() {
            fs::rename(self.numbered(number), self.numbered(number + 1))?;
        }
        fs::rename(&self.path, self.numbered(1))
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    /// Removes files whose number is too high, left from before the bound was lowered. Only names that are exactly the
    /// log's own: a directory may hold other things.
    fn remove_beyond_bound(&self) {
        let (Some(dir), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return;
        };
        let prefix = format!("{}.", name.to_string_lossy());
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let number = entry
                .file_name()
                .to_str()
                .and_then(|name| name.strip_prefix(&prefix))
                .filter(|digits| !digits.starts_with(['0', '+']))
                .and_then(|digits| digits.parse::<u32>().ok());
            if number.is_some_and(|number| number >= self.bounds.files) {
                // One that cannot be removed is tried again at the next rotation.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(current) = &mut self.current else {
            return Err(io::Error::new(ErrorKind::NotFound, "the log file is not open"));
        };
        if current.torn {
            append(current, &mut self.write_some, b"\n")?;
            current.torn = false;
        }
        append(current, &mut self.write_some, bytes)
    }
}

/// Appends all of `bytes`. On failure takes back what was written of them, so that the next line begins one.
fn append(current: &mut Current, write_some: &mut WriteSome, bytes: &[u8]) -> io::Result<()> {
    let mut written = 0;
    let error = loop {
        if written == bytes.len() {
            current.bytes += written as u64;
            return Ok(());
        }
        match write_some(&mut current.file, &bytes[written..]) {
            Ok(0) => break ErrorKind::WriteZero.into(),
            Ok(some) => written += some,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => break error,
        }
    };
    if written > 0 {
        let end = current.bytes + written as u64;
        // Only what is ours: if somebody else appends too, cutting would take their lines.
        let ours = current.file.metadata().is_ok_and(|found| found.len() == end);
        if !(ours && current.file.set_len(current.bytes).is_ok()) {
            current.bytes = end;
            current.torn = true;
        }
    }
    Err(error)
}

impl Sink for Rotating {
    fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        let day = day_of(line);
        self.prepare(line.len() as u64, day)?;
        self.append(line)?;
        if let Some(current) = &mut self.current {
            current.day = day.or(current.day);
        }
        Ok(())
    }

    fn write_at_once(&mut self, lines: &[u8]) -> usize {
        let mut each = lines.split_inclusive(|byte| *byte == b'\n');
        let first = each.next().unwrap_or_default();
        let day = day_of(first);
        if self.prepare(first.len() as u64, day).is_err() {
            return 0;
        }
        let file_bytes = self.bounds.file_bytes;
        let Some(current) = self.current.as_mut().filter(|current| !current.torn) else {
            return 0;
        };
        // What is due before a later line, that line sees to.
        let before = current.bytes;
        if before + lines.len() as u64 > file_bytes || each.any(|line| day_of(line) != day) {
            return 0;
        }
        current.day = day.or(current.day);
        if append(current, &mut self.write_some, lines).is_ok() {
            return lines.len();
        }
        // What could not be taken back: it may end within a line, which is written once more.
        let begun = usize::try_from(current.bytes - before).unwrap_or(0);
        let end = lines[..begun.min(lines.len())].iter().rposition(|byte| *byte == b'\n');
        end.map_or(0, |end| end + 1)
    }

    fn loss(&self, after: &[u8], lost: u64, why: &str) -> Vec<u8> {
        line::loss(after, lost, why)
    }

    fn idle(&mut self) {
        self.doubt = true;
    }
}

fn day_of(line: &[u8]) -> Option<Day> {
    let day: Day = line.get(line::DAY)?.try_into().ok()?;
    let shaped = day.iter().enumerate().all(|(at, byte)| match at {
        4 | 7 => *byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    shaped.then_some(day)
}

#[cfg(test)]
mod tests;
