//! Follows the output of one run: its files, attempt by attempt, as they grow and until the run has ended.
//!
//! The runner may put another file in the place of one that is followed: at the end of a run, and in the middle of one
//! where the file system makes no holes. The file that was read gets no more then, so it is read to its end; of the
//! new one, only what was written after that is new.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::changes::Changes;
use super::lines::{Lines, Piece};
use super::pressed;
use super::printer::Printer;
use super::raw::{self, Part, RawFile};
use super::record::Record;
use crate::error::{Error, Failure, Result};
use crate::out::Out;

/// One run whose output is printed.
pub struct Followed {
    /// The output file of each attempt so far.
    files: Vec<PathBuf>,
    /// Which of them is being read.
    at: usize,
    lines: Option<Lines>,
    /// It is read instead, where the run writes its file itself.
    raw: Option<RawFile>,
    mark: Mark,
    /// Print only the last lines of what is there at first.
    tail: Option<usize>,
}

/// How far the file of an attempt was read.
#[derive(Default)]
struct Mark {
    /// When the last line read was written.
    last: Option<Timestamp>,
    /// Lines up to this instant were read from a file that stood in the place of this one.
    until: Option<Timestamp>,
    /// A gap line that comes after such lines. What it tells of is missing only if something new comes behind it.
    gap: Option<Vec<u8>>,
    /// The next line stands before those that are wanted, and only tells its time.
    passes: bool,
}

impl Followed {
    /// From the beginning, or from the last `tail` lines of the newest attempt.
    pub fn new(files: Vec<PathBuf>, tail: Option<usize>) -> Self {
        let mut followed = Followed {
            files: Vec::new(),
            at: 0,
            lines: None,
            raw: None,
            mark: Mark::default(),
            tail,
        };
        followed.know(files);
        followed
    }

    /// Takes in which files there are by now.
    pub fn know(&mut self, files: Vec<PathBuf>) {
        if self.files.is_empty() && self.tail.is_some() {
            self.at = files.len().saturating_sub(1);
        }
        // What is compressed is looked for where it was, and beside that.
        self.files = files.into_iter().map(pressed::plain).collect();
    }

    /// How many files are known.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// Prints what has come. With `ended`, the run is over and its files are complete.
    pub fn print(
        &mut self,
        run: usize,
        ended: bool,
        changes: Option<&mut Changes>,
        printer: &mut Printer,
        out: &mut Out,
        err: &mut Out,
    ) -> Result<(), Halt> {
        let mut changes = changes;
        if self.files.is_empty() && changes.is_some() {
            // There is nothing yet, so whatever comes is new.
            self.tail = None;
        }
        while let Some(path) = self.files.get(self.at).cloned() {
            // Whether this attempt is over must be known before its file is read to the end.
            let over = ended || self.at + 1 < self.files.len();
            let is_open = self.lines.is_some() || self.raw.is_some();
            if !is_open && !self.open(&path, changes.as_deref_mut())? && !over {
                return Ok(());
            }
            self.read_raw(run, printer, out, err)?;
            while self.raw.is_none() {
                // Nothing comes to a file that was replaced, so it is read to its end after that is known.
                let replaced = self.lines.as_ref().is_some_and(Lines::is_replaced);
                self.read(run, printer, out, err)?;
                if !replaced {
                    break;
                }
                self.mark.until = self.mark.last;
                self.lines = None;
                self.open(&path, changes.as_deref_mut())?;
            }
            if !over {
                return Ok(());
            }
            self.at += 1;
            self.lines = None;
            self.raw = None;
            self.mark = Mark::default();
        }
        Ok(())
    }

    /// Opens the file, if it is there.
    fn open(&mut self, path: &Path, changes: Option<&mut Changes>) -> Result<bool, Halt> {
        let mut changes = changes;
        // A second look after the watch was set: the file may have come in between.
        for _ in 0..2 {
            let opened = if raw::is_raw(path) {
                Err(io::ErrorKind::NotFound.into())
            } else {
                Lines::open_either(path)
            };
            match opened {
                Ok(mut lines) => {
                    if let Some(count) = self.tail.take() {
                        // One more, to know when that was written: it is not shown.
                        let more = count.saturating_add(1);
                        let last = lines.last(more).map_err(|e| unreadable(path, &e))?;
                        self.mark.passes = last.count == more;
                        lines.start_at(last.offset);
                    }
                    if let Some(changes) = changes {
                        changes.watch_file(path);
                    }
                    self.lines = Some(lines);
                    return Ok(true);
                }
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound && self.open_raw(path, changes.as_deref_mut())? =>
                {
                    return Ok(true);
                }
                Err(error) if is_absent(&error) => match changes.as_deref_mut() {
                    Some(changes) => {
                        changes.await_file(path);
                        // Whatever comes to it is new.
                        self.tail = None;
                    }
                    None => return Ok(false),
                },
                Err(error) => return Err(unreadable(path, &error)),
            }
        }
        Ok(false)
    }

    /// Opens the file that the run writes itself, if it is there.
    fn open_raw(&mut self, path: &Path, changes: Option<&mut Changes>) -> Result<bool, Halt> {
        let path = raw::beside(path);
        let mut raw = match RawFile::open(&path) {
            Ok(raw) => raw,
            Err(error) if is_absent(&error) => return Ok(false),
            Err(error) => return Err(unreadable(&path, &error)),
        };
        if let Some(count) = self.tail.take() {
            let last = raw.last(count).map_err(|error| unreadable(&path, &error))?;
            raw.start_at(last.offset);
        }
        if let Some(changes) = changes {
            changes.watch_file(&path);
        }
        self.raw = Some(raw);
        Ok(true)
    }

    fn read_raw(&mut self, run: usize, printer: &mut Printer, out: &mut Out, err: &mut Out) -> Result<(), Halt> {
        let Some(raw) = &mut self.raw else { return Ok(()) };
        let written = raw.modified().ok();
        if written.is_some_and(|at| printer.is_before_all(at)) {
            return Ok(());
        }
        let path = raw.path().to_owned();
        let done = raw.read::<Stop>(|part| {
            let shown = match part {
                Part::Bytes(bytes) => printer.bytes(run, bytes, out, err),
                Part::Hole => printer.piece(run, &Piece::Hole, out, err),
            };
            shown.map_err(Stop::Printing)
        });
        stopped(done, &path)
    }

    fn read(&mut self, run: usize, printer: &mut Printer, out: &mut Out, err: &mut Out) -> Result<(), Halt> {
        let Some(lines) = &mut self.lines else { return Ok(()) };
        let path = lines.path().to_owned();
        let mark = &mut self.mark;
        let done = lines.read::<Stop>(|piece| mark.take(&piece, run, printer, out, err).map_err(Stop::Printing));
        stopped(done, &path)
    }
}

impl Mark {
    /// Prints a piece of a file, if it is new.
    fn take(
        &mut self,
        piece: &Piece<'_>,
        run: usize,
        printer: &mut Printer,
        out: &mut Out,
        err: &mut Out,
    ) -> Result<()> {
        let passes = std::mem::take(&mut self.passes);
        let record = match piece {
            Piece::Line(line) => Record::read(line).map(|record| (*line, record)),
            Piece::Hole => None,
        };
        let Some((line, record)) = record else {
            // A file that was put in place of another has no hole before what is new.
            return if passes {
                Ok(())
            } else {
                printer.piece(run, piece, out, err)
            };
        };
        let at = record.instant();
        if let Some(until) = self.until {
            if record.gap.is_some() {
                self.gap = Some(line.to_vec());
                return Ok(());
            }
            if at.is_some_and(|at| at <= until) {
                self.gap = None;
                return Ok(());
            }
            // The clock may be set back later: only the first new line is told by its time.
            self.until = None;
            if let Some(gap) = self.gap.take() {
                printer.piece(run, &Piece::Line(&gap), out, err)?;
            }
        }
        self.last = at.or(self.last);
        if passes {
            return Ok(());
        }
        printer.record(run, line, &record, out, err)
    }
}

/// Why reading a file ended early.
enum Stop {
    Printing(Error),
    Reading(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Reading(error)
    }
}

/// Why output was not printed to its end.
#[derive(Debug)]
pub enum Halt {
    /// It could not be written.
    Writing(Error),
    /// It could not be read.
    Reading(Failure),
}

impl From<Halt> for Error {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Writing(error) => error,
            Halt::Reading(failure) => failure.into(),
        }
    }
}

fn stopped(done: Result<(), Stop>, path: &Path) -> Result<(), Halt> {
    match done {
        Ok(()) => Ok(()),
        Err(Stop::Printing(error)) => Err(Halt::Writing(error)),
        Err(Stop::Reading(error)) => Err(unreadable(path, &error)),
    }
}

/// Whether there is no file, nor a directory that it could be in.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn unreadable(path: &Path, error: &io::Error) -> Halt {
    let failure = Failure::file("read", path, error);
    Halt::Reading(if error.kind() == io::ErrorKind::PermissionDenied {
        failure.hint("output can be read by the user the daemon runs as; try it as that user or as root")
    } else {
        failure
    })
}

#[cfg(test)]
mod tests;
