//! Follows the output of runs: the files of each, attempt by attempt, as they grow and until the run has ended.
//!
//! What grows is told by inotify. A file that is not there yet is awaited in the nearest directory that is. The file
//! of a run in progress is read through one descriptor to its end, for the runner may put another in its place when
//! the run ends: of that one, only what was written after the last line shown is new.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::inotify;

use super::lines::{Lines, Piece};
use super::printer::Printer;
use super::record::Record;
use super::tail::offset_of_last;
use crate::error::{Error, Failure, Result};
use crate::out::Out;

/// Tells when one of a set of files or directories changes.
pub struct Changes {
    fd: OwnedFd,
    /// The system gives no more watches; the caller looks again from time to time.
    short: bool,
}

impl Changes {
    /// With nothing watched.
    pub fn new() -> Result<Self> {
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
            .map_err(|errno| Failure::system("watch files", &errno.into()))?;
        Ok(Changes { fd, short: false })
    }

    /// To be polled for reading.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether some change may go untold.
    pub fn is_short(&self) -> bool {
        self.short
    }

    /// Watches a file that grows.
    pub fn watch_file(&mut self, path: &Path) {
        let flags = inotify::WatchFlags::MODIFY | inotify::WatchFlags::MOVE_SELF | inotify::WatchFlags::DELETE_SELF;
        self.add(path, flags);
    }

    /// Watches for a file to appear: in its directory, or in the nearest one above that is there.
    pub fn await_file(&mut self, path: &Path) {
        let flags = inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::ONLYDIR;
        for dir in path.ancestors().skip(1) {
            if self.add(dir, flags) {
                return;
            }
        }
    }

    fn add(&mut self, path: &Path, flags: inotify::WatchFlags) -> bool {
        match inotify::add_watch(&self.fd, path, flags) {
            Ok(_) => true,
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => false,
            Err(_) => {
                self.short = true;
                false
            }
        }
    }

    /// Takes all that was told.
    pub fn clear(&self) {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.fd, &mut buffer);
        while reader.next().is_ok() {}
    }
}

/// One run whose output is printed.
pub struct Followed {
    /// The output file of each attempt so far.
    pub files: Vec<PathBuf>,
    /// Which of them is being read.
    at: usize,
    lines: Option<Lines>,
    /// When the last line shown was written.
    last: Option<Timestamp>,
    /// Print only the last lines of what is there at first.
    tail: Option<usize>,
}

impl Followed {
    /// From the beginning, or from the last `tail` lines of the newest attempt.
    pub fn new(files: Vec<PathBuf>, tail: Option<usize>) -> Self {
        let at = if tail.is_some() {
            files.len().saturating_sub(1)
        } else {
            0
        };
        Followed {
            files,
            at,
            lines: None,
            last: None,
            tail,
        }
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
    ) -> Result<()> {
        let mut changes = changes;
        while let Some(path) = self.files.get(self.at).cloned() {
            // Whether this attempt is over must be known before its file is read to the end.
            let over = ended || self.at + 1 < self.files.len();
            if self.lines.is_none() && !self.open(&path, changes.as_deref_mut())? && !over {
                return Ok(());
            }
            self.read(run, None, printer, out, err)?;
            if !over {
                return Ok(());
            }
            self.settle(run, &path, printer, out, err)?;
            self.at += 1;
            self.lines = None;
            self.last = None;
        }
        Ok(())
    }

    /// Opens the file, if it is there.
    fn open(&mut self, path: &Path, changes: Option<&mut Changes>) -> Result<bool> {
        let mut changes = changes;
        // A second look after the watch was set: the file may have come in between.
        for _ in 0..2 {
            match Lines::open(path) {
                Ok(mut lines) => {
                    if let Some(count) = self.tail.take() {
                        lines.start_at(offset_of_last(lines.file(), count).map_err(|e| unreadable(path, &e))?);
                    }
                    if let Some(changes) = changes {
                        changes.watch_file(path);
                    }
                    self.lines = Some(lines);
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => match changes.as_deref_mut() {
                    Some(changes) => changes.await_file(path),
                    None => return Ok(false),
                },
                Err(error) => return Err(unreadable(path, &error).into()),
            }
        }
        Ok(false)
    }

    /// After the end of an attempt: of a file that was put in place of the one read, what is new is printed.
    fn settle(&mut self, run: usize, path: &Path, printer: &mut Printer, out: &mut Out, err: &mut Out) -> Result<()> {
        let replaced = self.lines.as_ref().is_some_and(Lines::is_replaced);
        if replaced {
            self.lines = None;
            let after = self.last;
            self.open(path, None)?;
            self.read(run, after, printer, out, err)?;
        }
        Ok(())
    }

    fn read(
        &mut self,
        run: usize,
        after: Option<Timestamp>,
        printer: &mut Printer,
        out: &mut Out,
        err: &mut Out,
    ) -> Result<()> {
        let Some(lines) = &mut self.lines else { return Ok(()) };
        let last = &mut self.last;
        let path = lines.path().to_owned();
        // A gap line is written when the run ends, and tells of what lies before the lines behind it: with `after`, it
        // is only of interest if one of those is new.
        let mut gap: Option<Vec<u8>> = None;
        let done = lines.read::<Stop>(|piece| {
            if let Piece::Line(line) = &piece
                && let Some(record) = Record::read(line)
            {
                let at = record.instant();
                if after.is_some() && record.gap.is_some() {
                    gap = Some(line.to_vec());
                    return Ok(());
                }
                if after.is_some() && at <= after {
                    return Ok(());
                }
                if let Some(gap) = gap.take() {
                    printer
                        .piece(run, &Piece::Line(&gap), out, err)
                        .map_err(Stop::Printing)?;
                }
                *last = at.or(*last);
                return printer.record(run, line, &record, out, err).map_err(Stop::Printing);
            }
            printer.piece(run, &piece, out, err).map_err(Stop::Printing)
        });
        match done {
            Ok(()) => Ok(()),
            Err(Stop::Printing(error)) => Err(error),
            Err(Stop::Reading(error)) => Err(unreadable(&path, &error).into()),
        }
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

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::file("read", path, error);
    if error.kind() == io::ErrorKind::PermissionDenied {
        return failure.hint("output can be read by the user the daemon runs as; try it as that user or as root");
    }
    failure
}

#[cfg(test)]
mod tests;
