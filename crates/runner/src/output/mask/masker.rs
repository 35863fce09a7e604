//! Hides what an attempt writes, as it comes.

use std::sync::Arc;
use std::time::Duration;

use super::{MASK, Masks};
use crate::clock;
use crate::output::Stream;
use crate::sys;

/// Bytes of a line from which it is not held back as a whole.
pub(super) const LINE_MAX: usize = 64 * 1024;

/// What of such a line is given on at once.
pub(super) const PART: usize = LINE_MAX / 2;

/// What stays of what was given on, for patterns to see what stands before a match: any character.
const BEFORE: usize = 4;

/// Memory for lines above this is given back when there is nothing in it.
const IDLE_MAX: usize = 4 * 1024;

/// What is read at once, at first. It is more where that is quick, and less where it is not.
const READ_FIRST: usize = 4 * 1024;
const READ_MIN: usize = 64;

/// What the loop may spend with one read.
const QUICK: Duration = Duration::from_micros(500);
const SLOW: Duration = Duration::from_millis(2);

/// Hides what an attempt writes.
#[derive(Debug)]
pub(in crate::output) struct Masker {
    masks: Arc<Masks>,
    /// The lines that go on, of stdout and of stderr.
    lines: [Line; 2],
    found: Vec<(usize, usize)>,
    /// What may be written.
    pub(in crate::output) out: Vec<u8>,
    read: usize,
}

/// A line that goes on.
#[derive(Debug, Default)]
struct Line {
    /// What is held back of it, behind a little that was given on.
    held: Vec<u8>,
    /// Where what is held back begins.
    from: usize,
    /// All that is still to come of it is hidden.
    hides: bool,
}

impl Masker {
    pub(in crate::output) fn new(masks: Arc<Masks>) -> Self {
        Masker {
            masks,
            lines: [Line::default(), Line::default()],
            found: Vec::new(),
            out: Vec::new(),
            read: READ_FIRST,
        }
    }

    /// Takes bytes in. What of them, and of those before, may be written is in `out` then.
    pub(in crate::output) fn feed(&mut self, stream: Stream, mut bytes: &[u8]) {
        let begin = clock::steady();
        self.out.clear();
        let mut line = std::mem::take(self.line_of(stream));
        while let Some(at) = sys::find(b'\n', bytes) {
            let (end, rest) = bytes.split_at(at);
            if line.hides || line.held.is_empty() {
                if !line.hides {
                    self.put(end, 0);
                }
            } else {
                line.held.extend_from_slice(end);
                self.put(&line.held, line.from);
            }
            line.held.clear();
            (line.from, line.hides) = (0, false);
            self.out.push(b'\n');
            bytes = &rest[1..];
        }
        if !line.hides {
            line.held.extend_from_slice(bytes);
            while line.held.len() - line.from >= LINE_MAX {
                self.put_part(&mut line);
            }
        }
        if line.held.is_empty() && line.held.capacity() > IDLE_MAX {
            line.held = Vec::new();
        }
        *self.line_of(stream) = line;
        let took = begin.elapsed();
        if took > SLOW {
            self.read = (self.read / 4).max(READ_MIN);
        } else if took < QUICK {
            self.read = self.read.saturating_mul(2).min(LINE_MAX);
        }
    }

    /// The stream has ended: what was held back of it is in `out` then.
    pub(in crate::output) fn end(&mut self, stream: Stream) {
        self.out.clear();
        let line = std::mem::take(self.line_of(stream));
        self.put(&line.held, line.from);
    }

    /// What is in `out` is written. Its memory is not kept if it is much.
    pub(in crate::output) fn written(&mut self) {
        self.out.clear();
        self.out.shrink_to(IDLE_MAX);
    }

    /// Whether something is held back.
    pub(in crate::output) fn holds(&self) -> bool {
        self.lines.iter().any(|line| line.held.len() > line.from)
    }

    /// How much is to be read at once, so that nothing else waits for long.
    pub(in crate::output) fn appetite(&self) -> usize {
        self.read
    }

    fn line_of(&mut self, stream: Stream) -> &mut Line {
        match stream {
            Stream::Stdout => &mut self.lines[0],
            Stream::Stderr => &mut self.lines[1],
        }
    }

    /// Writes a line, or the end of a long one. All of it is hidden where it cannot be searched with the work that there is.
    fn put(&mut self, line: &[u8], from: usize) {
        match self.masks.find(line, from, true, &mut self.found) {
            Ok(()) => self.put_found(line, from, line.len()),
            Err(_) if from < line.len() => self.out.extend_from_slice(MASK),
            Err(_) => {}
        }
    }

    /// Writes the first part of what is held of a long line, as far as no match goes on behind it. A match that has not ended
    /// where what is held does may be longer, so all that comes of that line is hidden.
    fn put_part(&mut self, line: &mut Line) {
        let Line { held, from, hides } = line;
        if self.masks.find(held, *from, false, &mut self.found).is_err() {
            self.out.extend_from_slice(MASK);
            held.clear();
            (*from, *hides) = (0, true);
            return;
        }
        let part = *from + PART;
        let over = self.found.iter().find(|(begin, end)| *begin < part && part < *end);
        let end = over.map_or(part, |(_, end)| *end);
        self.put_found(held, *from, end);
        *hides = end == held.len();
        let before = end.min(BEFORE);
        held.drain(..end - before);
        *from = before;
        if *hides {
            held.clear();
            *from = 0;
        }
    }

    fn put_found(&mut self, line: &[u8], from: usize, end: usize) {
        let mut done = from;
        for &(begin, over) in self.found.iter().take_while(|(begin, _)| *begin < end) {
            self.out.extend_from_slice(&line[done..begin]);
            self.out.extend_from_slice(MASK);
            done = over;
        }
        self.out.extend_from_slice(&line[done..end]);
    }

    /// What is held back of a stream, in bytes.
    #[cfg(test)]
    pub(super) fn held(&self) -> [usize; 2] {
        [0, 1].map(|at| self.lines[at].held.capacity())
    }
}
