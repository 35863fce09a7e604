//! Reading what runs write, as it comes and at their end.
//!
//! All pipes are watched by one epoll instance, which the loop watches in turn: so any number of busy pipes is one event
//! there, and a few of them are read in each turn.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::clock;
use crate::notify::complain;
use crate::output::Stream;
use crate::roster::{Attempt, Roster};

/// Pipes read between two looks at everything else, so that noisy runs do not hold up a start.
const PER_TURN: usize = 8;

/// Bytes read from a pipe at once: what a pipe holds.
const READ: usize = 64 * 1024;

/// What the numbers of pipes have in common that nobody's output comes through any more.
const LEFT: u64 = 1 << 63;

/// The part of all descriptors that may be open which such pipes take.
const LEFT_SHARE: u64 = 16;

/// How many of them there are at most under this limit of open files.
pub(crate) fn files_left(files: u64) -> u64 {
    files / LEFT_SHARE
}

/// How long the rest of a line is waited for before its beginning is written.
const LINE_WITHIN: Duration = Duration::from_millis(100);

/// Our end of a pipe. It does not block.
#[derive(Debug)]
pub(crate) struct Pipe {
    file: File,
    watched: bool,
}

impl From<File> for Pipe {
    fn from(file: File) -> Self {
        Pipe { file, watched: false }
    }
}

/// What it takes to read all pipes.
pub(crate) struct Pipes {
    epoll: OwnedFd,
    events: Vec<Event>,
    buffer: Box<[u8]>,
    batch: Vec<u8>,
    /// Attempts that hold back the beginning of a line, and until when.
    partial: VecDeque<(Instant, u64)>,
    /// Pipes of runs that have ended, to which what goes on may write. It would end over it if nobody took that in.
    left: BTreeMap<u64, File>,
    left_max: u64,
}

impl Pipes {
    /// Under this limit of open files.
    pub(crate) fn new(files: u64) -> io::Result<Self> {
        Ok(Pipes {
            left: BTreeMap::new(),
            left_max: files_left(files),
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(PER_TURN),
            buffer: vec![0; READ].into_boxed_slice(),
            batch: Vec::new(),
            partial: VecDeque::new(),
        })
    }

    /// Begins to watch the pipes of an attempt. If it cannot, that is to be tried again: the attempt stops for a full
    /// pipe until then.
    pub(crate) fn watch(&self, id: u64, attempt: &mut Attempt) -> bool {
        let mut all = true;
        for (stream, number) in [(Stream::Stdout, id << 1), (Stream::Stderr, id << 1 | 1)] {
            let Some(pipe) = attempt.pipe(stream).as_mut().filter(|pipe| !pipe.watched) else {
                continue;
            };
            match epoll::add(&self.epoll, &pipe.file, EventData::new_u64(number), EventFlags::IN) {
                Ok(()) => pipe.watched = true,
                Err(errno) => {
                    complain(format_args!("cannot watch a pipe: {errno}"));
                    all = false;
                }
            }
        }
        all
    }

    /// Reads once from some of the pipes that have something. Says whether there is likely to be as much again at once, so
    /// that whoever writes it must not be let wait.
    pub(crate) fn read_ready(&mut self, roster: &mut Roster) -> bool {
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // An error is an interruption; the pipes are still readable then.
        let _ = epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&now));
        let mut flows = events.len() == PER_TURN;
        for event in &events {
            let number = event.data.u64();
            if number & LEFT != 0 {
                self.drain(number);
                continue;
            }
            let stream = if number & 1 == 0 {
                Stream::Stdout
            } else {
                Stream::Stderr
            };
            let id = number >> 1;
            if let Some(attempt) = roster.get_mut(id) {
                let (length, waits) = self.read(attempt, stream);
                flows |= length >= READ / 2;
                if waits {
                    self.partial.push_back((clock::steady() + LINE_WITHIN, id));
                }
            }
        }
        self.events = events;
        flows
    }

    /// When the beginning of a line is to be written at the latest.
    pub(crate) fn next_flush(&self) -> Option<Instant> {
        self.partial.front().map(|(at, _)| *at)
    }

    /// Writes the beginnings of lines whose rest did not come in time.
    pub(crate) fn flush_partial(&mut self, roster: &mut Roster, now: Instant) {
        while let Some((_, id)) = self.partial.pop_front_if(|(at, _)| *at <= now) {
            // One that has ended has written all it had.
            if let Some(output) = roster.get_mut(id).and_then(|attempt| attempt.output.as_mut()) {
                output.flush(&mut self.batch);
            }
        }
    }

    /// Reads what is in both pipes now and closes them. More may come from a process that holds the other end and got
    /// away; where `leave` says that it may go on, that is taken in for nobody. Says whether the output has to be
    /// [sealed](crate::output::Output::seal).
    pub(crate) fn finish(&mut self, attempt: &mut Attempt, leave: bool) -> bool {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let waiting = match attempt.pipe(stream) {
                Some(pipe) => rustix::io::ioctl_fionread(&pipe.file).unwrap_or(0),
                None => 0,
            };
            let mut left = usize::try_from(waiting).unwrap_or(usize::MAX);
            while left > 0 {
                match self.read(attempt, stream) {
                    (0, _) => break,
                    (length, _) => left = left.saturating_sub(length),
                }
            }
            let left = self.close(attempt, stream).filter(|_| leave);
            if let Some(pipe) = left {
                self.leave(pipe);
            }
        }
        let seal = attempt
            .output
            .as_mut()
            .is_some_and(|output| output.end(&mut self.batch));
        self.batch.clear();
        self.batch.shrink_to(4 * READ);
        seal
    }

    /// Reads once from a pipe into the output; closes it at its end. Gives back how many bytes there were, and what
    /// [`Output::feed`](crate::output::Output::feed) said.
    fn read(&mut self, attempt: &mut Attempt, stream: Stream) -> (usize, bool) {
        let most = attempt.output.as_ref().map_or(READ, |output| output.appetite(READ));
        let Some(pipe) = attempt.pipe(stream) else {
            return (0, false);
        };
        match pipe.file.read(&mut self.buffer[..most]) {
            Ok(length) if length > 0 => {
                let output = attempt.output.as_mut();
                let waits = output.is_some_and(|output| output.feed(stream, &self.buffer[..length], &mut self.batch));
                (length, waits)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => (0, false),
            Ok(_) | Err(_) => {
                drop(self.close(attempt, stream));
                (0, false)
            }
        }
    }

    /// Gives back the pipe, which is not watched any more.
    fn close(&self, attempt: &mut Attempt, stream: Stream) -> Option<File> {
        let pipe = attempt.pipe(stream).take()?;
        if pipe.watched {
            self.forget(&pipe.file);
        }
        Some(pipe.file)
    }

    fn forget(&self, pipe: &File) {
        // Closing alone is not enough: while a child between clone and exec has a copy, it would still be watched.
        let _ = epoll::delete(&self.epoll, pipe);
    }

    /// Takes in for nobody what still comes. The oldest of too many is closed.
    fn leave(&mut self, pipe: File) {
        let number = self.left.last_key_value().map_or(LEFT, |(number, _)| number + 1);
        if epoll::add(&self.epoll, &pipe, EventData::new_u64(number), EventFlags::IN).is_ok() {
            self.left.insert(number, pipe);
        }
        if self.left.len() as u64 > self.left_max
            && let Some((_, oldest)) = self.left.pop_first()
        {
            self.forget(&oldest);
        }
    }

    fn drain(&mut self, number: u64) {
        let Some(mut pipe) = self.left.get(&number) else {
            return;
        };
        match pipe.read(&mut self.buffer) {
            Ok(length) if length > 0 => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Ok(_) | Err(_) => {
                if let Some(pipe) = self.left.remove(&number) {
                    self.forget(&pipe);
                }
            }
        }
    }
}

impl AsFd for Pipes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
