//! Output that the command writes into its file itself: nobody reads it on the way.
//!
//! While it runs, the file is looked at now and then. What lies between head and tail by then is punched out of it, so that the
//! disk holds the cap and what was written since the last look, where the file system makes holes. In the end head and tail
//! are copied to a smaller file, with a line between them that says how much is missing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::FallocateFlags;

use super::keep::{self, PUNCH_MIN};

/// Between two looks at a file that grows.
const LOOK_FIRST: Duration = Duration::from_secs(1);

/// Between two looks at a file that does not.
const LOOK_LAST: Duration = Duration::from_secs(16);

/// How far from head's end and tail's beginning the end of a line is looked for.
const LINE_WITHIN: usize = 16 * 1024;

/// One attempt's file, which the command writes.
#[derive(Debug)]
pub(crate) struct Raw {
    path: PathBuf,
    file: File,
    head_max: u64,
    tail_max: u64,
    /// Bytes there were at the last look.
    seen: u64,
    /// Where the part between head and tail that still takes room begins.
    dead_from: u64,
    pause: Duration,
    /// When it is looked at next.
    pub(crate) look_at: Instant,
}

/// How an output has ended.
#[derive(Debug, Default)]
pub(crate) struct Over {
    /// Bytes that the command wrote.
    pub(crate) bytes: u64,
    /// Bytes of it that are not kept.
    pub(crate) lost: u64,
    /// What is left to do about that.
    pub(crate) cut: Option<Cut>,
}

/// A file that is to be made smaller.
#[derive(Debug)]
pub(crate) struct Cut {
    raw: Raw,
    head_end: u64,
    tail_at: u64,
    end: u64,
}

impl Raw {
    /// Makes the file at `path`, of which at most `max` bytes are kept, for the command to write at its end.
    pub(crate) fn create(path: PathBuf, max: u64, now: Instant) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW);
        let file = keep::open(&options, &path)?;
        // What a runner left that was killed before it told of this attempt. Not done for nothing: some file systems take a
        // file that was cut for one that takes the place of another, and write it to the disk when it is closed.
        if file.metadata()?.len() > 0 {
            file.set_len(0)?;
        }
        let head_max = max / 2;
        Ok(Raw {
            path,
            file,
            head_max,
            tail_max: max - head_max,
            seen: 0,
            dead_from: head_max,
            pause: LOOK_FIRST,
            look_at: now + LOOK_FIRST,
        })
    }

    /// What the command writes to.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Gives back the room of what lies between head and tail, and says when it is to be looked at again.
    pub(crate) fn look(&mut self, now: Instant) -> Instant {
        let size = self.size();
        self.pause = if size > self.seen {
            LOOK_FIRST
        } else {
            (self.pause * 2).min(LOOK_LAST)
        };
        self.seen = size;
        let dead = size.saturating_sub(self.tail_max).saturating_sub(self.dead_from);
        if dead >= PUNCH_MIN {
            let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // Where holes cannot be made the file is as large as the disk lets it be until the command ends.
            if rustix::fs::fallocate(&self.file, mode, self.dead_from, dead).is_ok() {
                self.dead_from += dead;
            }
        }
        self.look_at = now + self.pause;
        self.look_at
    }

    /// The command has ended. A file that it wrote nothing to is removed.
    pub(crate) fn end(self) -> Over {
        let bytes = self.size();
        if bytes == 0 {
            self.discard();
            return Over::default();
        }
        if bytes <= self.head_max + self.tail_max {
            return Over {
                bytes,
                ..Over::default()
            };
        }
        let (head_end, tail_at) = (self.head_end(), self.tail_at(bytes));
        Over {
            bytes,
            lost: tail_at - head_end,
            cut: Some(Cut {
                raw: self,
                head_end,
                tail_at,
                end: bytes,
            }),
        }
    }

    /// There never was a command that wrote to it.
    pub(crate) fn discard(self) {
        // It only takes a name.
        let _ = fs::remove_file(&self.path);
    }

    fn size(&self) -> u64 {
        // It cannot fail on a file that is open.
        self.file.metadata().map_or(0, |found| found.len())
    }

    /// Where the last whole line of the head ends; where the head does, if that line is long.
    fn head_end(&self) -> u64 {
        let mut last = vec![0; LINE_WITHIN.min(usize::try_from(self.head_max).unwrap_or(LINE_WITHIN))];
        let from = self.head_max - last.len() as u64;
        let newline = match self.file.read_exact_at(&mut last, from) {
            Ok(()) => last.iter().rposition(|byte| *byte == b'\n'),
            Err(_) => None,
        };
        newline.map_or(self.head_max, |at| from + at as u64 + 1)
    }

    /// Where the first whole line of the tail begins; where the tail does, if the one before it is long.
    fn tail_at(&self, end: u64) -> u64 {
        let from = end - self.tail_max;
        let mut first = vec![0; LINE_WITHIN.min(usize::try_from(self.tail_max).unwrap_or(LINE_WITHIN))];
        let newline = match self.file.read_exact_at(&mut first, from) {
            Ok(()) => first.iter().position(|byte| *byte == b'\n'),
            Err(_) => None,
        };
        newline.map_or(from, |at| from + at as u64 + 1)
    }
}

impl Cut {
    /// Puts head and tail together. Copies up to the cap, so it is no work for the loop.
    pub(crate) fn seal(self) {
        let temporary = keep::temporary(&self.raw.path);
        let copy = || -> io::Result<()> {
            let mut new = keep::create(&temporary)?;
            let mut old = &self.raw.file;
            old.seek(SeekFrom::Start(0))?;
            io::copy(&mut old.take(self.head_end), &mut new)?;
            let missing = self.tail_at - self.head_end;
            new.write_all(format!("\n[taskd: {missing} bytes of output were not kept here]\n").as_bytes())?;
            old.seek(SeekFrom::Start(self.tail_at))?;
            io::copy(&mut old.take(self.end - self.tail_at), &mut new)?;
            fs::rename(&temporary, &self.raw.path)
        };
        if copy().is_err() {
            // Without room for the copy the file stays as it is, with a hole for a gap.
            let _ = fs::remove_file(&temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn raw(max: u64) -> (tempfile::TempDir, PathBuf, Raw) {
        let dir = tempfile::tempdir().expect("room");
        let path = dir.path().join("7/1.1.out");
        let raw = Raw::create(path.clone(), max, clock::steady()).expect("room");
        (dir, path, raw)
    }

    #[test]
    fn a_file_that_nothing_was_written_to_is_not_left() {
        let (_dir, path, raw) = raw(8192);
        assert!(path.exists());
        let over = raw.end();
        assert_eq!((over.bytes, over.lost, path.exists()), (0, 0, false));
    }

    #[test]
    fn what_fits_stays_as_it_was_written() {
        let (_dir, path, raw) = raw(8192);
        raw.file().write_all(&[7; 8192]).expect("room");
        let over = raw.end();
        assert!(over.cut.is_none());
        assert_eq!((over.bytes, over.lost), (8192, 0));
        assert_eq!(fs::read(path).expect("it is there"), [7; 8192]);
    }

    #[test]
    fn past_the_cap_head_and_tail_are_kept_in_whole_lines_and_the_gap_is_counted() {
        let (_dir, path, mut raw) = raw(1 << 20);
        let lines: String = (0..1_000_000).map(|n| format!("{n:09}\n")).collect();
        let now = clock::steady();
        for part in lines.as_bytes().chunks(3_000_000) {
            raw.file().write_all(part).expect("room");
            raw.look(now);
        }
        let over = raw.end();
        assert_eq!(over.bytes, lines.len() as u64);
        over.cut.expect("it is over its cap").seal();
        let kept = fs::read_to_string(path).expect("text");
        let (head, tail) = kept.split_once("\n[taskd: ").expect("a mark");
        let (missing, tail) = tail
            .split_once(" bytes of output were not kept here]\n")
            .expect("a mark");
        let missing: u64 = missing.parse().expect("a number");
        assert_eq!(missing, over.lost);
        assert_eq!(head.len() as u64 + missing + tail.len() as u64, lines.len() as u64);
        assert!(lines.starts_with(head) && head.ends_with('\n') && lines.ends_with(tail));
        assert!(tail.starts_with("000") || tail.starts_with("0009"), "{}", &tail[..20]);
        assert!(head.len() > (1 << 19) - 16 && tail.len() > (1 << 19) - 16);
    }

    #[test]
    fn while_it_grows_the_disk_holds_little_more_than_the_cap() {
        use std::os::unix::fs::MetadataExt as _;
        let (_dir, path, mut raw) = raw(1 << 20);
        for _ in 0..16 {
            raw.file().write_all(&[b'x'; 1 << 20]).expect("room");
            raw.look(clock::steady());
        }
        let found = fs::metadata(path).expect("it is there");
        assert_eq!(found.len(), 16 << 20);
        let holes = found.blocks() * 512 < 3 << 20;
        // On a file system that makes no holes there is nothing to hold.
        let can = rustix::fs::fallocate(
            raw.file(),
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            0,
            4096,
        );
        assert!(holes || can.is_err(), "{} blocks", found.blocks());
    }

    #[test]
    fn one_that_does_not_grow_is_looked_at_seldom() {
        let (_dir, _path, mut raw) = raw(8192);
        let now = clock::steady();
        let pauses: Vec<u64> = (0..6).map(|_| (raw.look(now) - now).as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 16, 16]);
        raw.file().write_all(b"x").expect("room");
        assert_eq!(raw.look(now) - now, LOOK_FIRST);
    }
}
