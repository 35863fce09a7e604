//! Output that the command writes into its file itself: nobody reads it on the way.
//!
//! While it runs, the file is looked at now and then. What lies between head and tail by then is punched out of it, so that the
//! disk holds the cap and what was written since the last look, where the file system makes holes. In the end head and tail
//! are copied to a smaller file, with a line between them that says how much is missing.
//!
//! Whatever may wait for a write of the command, or takes long, is no work for the loop: it only asks for the size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::FallocateFlags;

use super::Sealed;
use super::earlier::Earlier;
use super::keep::{self, PUNCH_MIN};

/// Between two looks at a file that grows.
const LOOK_FIRST: Duration = Duration::from_secs(1);

/// Between two looks at a file that does not.
const LOOK_LAST: Duration = Duration::from_secs(4);

/// What is punched at once: the command cannot write meanwhile.
const PUNCH_MAX: u64 = 64 << 20;

/// Holes begin and end with a block, so that no part of one is left that reads as zeros.
const BLOCK: u64 = 4096;

/// How far from head's end and tail's beginning the end of a line is looked for.
const LINE_WITHIN: usize = 16 * 1024;

/// One attempt's file, which the command writes.
#[derive(Debug)]
pub(crate) struct Raw {
    path: PathBuf,
    file: Arc<File>,
    bounds: Bounds,
    /// What its last look has seen; with another thread while that looks.
    watch: Option<Watch>,
    /// When it is looked at next.
    pub(crate) look_at: Instant,
}

/// Bytes that are kept.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    head: u64,
    tail: u64,
}

/// Looks at a file.
#[derive(Debug)]
pub(crate) struct Watch {
    file: Arc<File>,
    bounds: Bounds,
    /// Bytes there were at the last look.
    seen: u64,
    /// Bytes that the command took away again.
    emptied: u64,
    /// Where the part between head and tail that still takes room begins.
    dead_from: u64,
    pause: Duration,
}

/// How an output has ended.
#[derive(Debug, Default)]
pub(crate) struct Over {
    /// Bytes that the command wrote.
    pub(crate) bytes: u64,
    /// Bytes of it that are not kept, besides those of the cut.
    pub(crate) lost: u64,
    /// Bytes that the file takes on disk, if they are known.
    pub(crate) kept: Option<u64>,
    /// What is left to do.
    pub(crate) cut: Option<Cut>,
}

/// A file that is to be made smaller.
#[derive(Debug)]
pub(crate) struct Cut {
    path: PathBuf,
    file: Arc<File>,
    bounds: Bounds,
    end: u64,
    /// Bytes that were punched out of it.
    punched: u64,
}

impl Raw {
    /// Makes the file at `path`, of which at most `max` bytes are kept, for the command to write at its end.
    pub(super) fn create(path: PathBuf, max: u64, earlier: &Earlier, now: Instant) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options
            .append(true)
            .create(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW);
        let file = match keep::open(&options, &path) {
            // What a runner left that was killed before it told of this attempt.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let file = keep::open(options.create_new(false), &path)?;
                file.set_len(0)?;
                file
            }
            made => made?,
        };
        let file = Arc::new(file);
        earlier.remove_others(&path);
        let bounds = Bounds {
            head: max / 2,
            tail: max - max / 2,
        };
        Ok(Raw {
            path,
            watch: Some(Watch::new(Arc::clone(&file), bounds)),
            file,
            bounds,
            look_at: now + LOOK_FIRST,
        })
    }

    /// What the command writes to.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Hands over who [looks](Watch::look) at it, unless that looks already.
    pub(crate) fn begin_look(&mut self) -> Option<Watch> {
        self.watch.take()
    }

    /// Takes that back, and says when it is to look again.
    pub(crate) fn end_look(&mut self, watch: Watch, now: Instant) -> Instant {
        self.look_at = now + watch.pause;
        self.watch = Some(watch);
        self.look_at
    }

    /// The command has ended. A file that it wrote nothing to is removed.
    pub(crate) fn end(self) -> Over {
        let Ok(found) = self.file.metadata() else {
            // It cannot fail on a file that is open; what is in it stays.
            return Over::default();
        };
        let size = found.len();
        let lost = self.watch.as_ref().map_or(0, |watch| watch.emptied_by(size));
        let bytes = size + lost;
        if size <= self.bounds.head + self.bounds.tail {
            let kept = Some(super::on_disk(&found));
            if size == 0 {
                self.discard();
            }
            let cut = None;
            return Over { bytes, lost, kept, cut };
        }
        let cut = Cut {
            punched: self.watch.as_ref().map_or(0, Watch::punched),
            path: self.path,
            file: self.file,
            bounds: self.bounds,
            end: size,
        };
        Over {
            bytes,
            lost,
            kept: None,
            cut: Some(cut),
        }
    }

    /// There never was a command that wrote to it.
    pub(crate) fn discard(self) {
        keep::discard(&self.path);
    }
}

impl Watch {
    fn new(file: Arc<File>, bounds: Bounds) -> Self {
        Watch {
            file,
            bounds,
            seen: 0,
            emptied: 0,
            dead_from: bounds.dead_from(),
            pause: LOOK_FIRST,
        }
    }

    /// Gives back the room of what lies between head and tail. It may wait for what the command writes.
    pub(crate) fn look(&mut self) {
        let Ok(found) = self.file.metadata() else { return };
        let size = found.len();
        if size < self.seen {
            // The command has emptied its file, as `> /dev/stderr` in a script does.
            self.emptied = self.emptied_by(size);
            self.dead_from = self.bounds.dead_from();
        }
        self.pause = if size > self.seen {
            LOOK_FIRST
        } else {
            (self.pause * 2).min(LOOK_LAST)
        };
        self.seen = size;
        let dead_to = size.saturating_sub(self.bounds.tail) / BLOCK * BLOCK;
        if dead_to.saturating_sub(self.dead_from) < PUNCH_MIN {
            return;
        }
        let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        while self.dead_from < dead_to {
            let length = (dead_to - self.dead_from).min(PUNCH_MAX);
            // Where holes cannot be made the file is as large as the disk lets it be until the command ends.
            if rustix::fs::fallocate(&self.file, mode, self.dead_from, length).is_err() {
                return;
            }
            self.dead_from += length;
        }
    }

    /// Bytes that the command has taken away again, where so many are left.
    fn emptied_by(&self, size: u64) -> u64 {
        self.emptied + self.seen.saturating_sub(size)
    }

    fn punched(&self) -> u64 {
        self.dead_from - self.bounds.dead_from()
    }
}

impl Bounds {
    /// Where the first whole block behind the head begins.
    fn dead_from(self) -> u64 {
        self.head.next_multiple_of(BLOCK)
    }
}

impl Cut {
    /// Puts head and tail together, and says how many bytes are lost. If there is no room for the copy, or if somebody who got
    /// away still writes, the file stays as it is, with a hole for a gap.
    pub(crate) fn seal(self) -> Sealed {
        let temporary = keep::temporary(&self.path);
        let lost = self.copy(&temporary).unwrap_or_else(|_| {
            // It only takes room.
            let _ = fs::remove_file(&temporary);
            self.punched
        });
        let kept = fs::metadata(&self.path).ok().map(|found| super::on_disk(&found));
        Sealed { lost, kept }
    }

    fn copy(&self, temporary: &Path) -> io::Result<u64> {
        // Opened for itself: where the command's own is read is moved by all that have it.
        let old = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&self.path)?;
        let before = old.metadata()?;
        let ours = self.file.metadata()?;
        if (before.dev(), before.ino(), before.len()) != (ours.dev(), ours.ino(), self.end) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let (head_end, tail_at) = (self.head_end(&old), self.tail_at(&old));
        let mut new = keep::create(temporary)?;
        copy_part(&old, 0..head_end, &mut new)?;
        let lost = tail_at - head_end;
        new.write_all(format!("\n[taskd: {lost} bytes of output were not kept here]\n").as_bytes())?;
        copy_part(&old, tail_at..self.end, &mut new)?;
        if !keep::is_unchanged(&old, &before)? {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        fs::rename(temporary, &self.path)?;
        Ok(lost)
    }

    /// Where the last whole line of the head ends; where the head does, if that line is long.
    fn head_end(&self, old: &File) -> u64 {
        let head = self.bounds.head;
        let mut last = vec![0; LINE_WITHIN.min(usize::try_from(head).unwrap_or(LINE_WITHIN))];
        let from = head - last.len() as u64;
        let newline = match old.read_exact_at(&mut last, from) {
            Ok(()) => last.iter().rposition(|byte| *byte == b'\n'),
            Err(_) => None,
        };
        newline.map_or(head, |at| from + at as u64 + 1)
    }

    /// Where the first whole line of the tail begins; where the tail does, if the one before it is long.
    fn tail_at(&self, old: &File) -> u64 {
        let tail = self.bounds.tail;
        let from = self.end - tail;
        let mut first = vec![0; LINE_WITHIN.min(usize::try_from(tail).unwrap_or(LINE_WITHIN))];
        let newline = match old.read_exact_at(&mut first, from) {
            Ok(()) => first.iter().position(|byte| *byte == b'\n'),
            Err(_) => None,
        };
        newline.map_or(from, |at| from + at as u64 + 1)
    }
}

/// Copies just this part.
fn copy_part(mut old: &File, part: std::ops::Range<u64>, new: &mut File) -> io::Result<()> {
    old.seek(SeekFrom::Start(part.start))?;
    let length = part.end - part.start;
    if io::copy(&mut old.take(length), new)? == length {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn raw(max: u64) -> (tempfile::TempDir, PathBuf, Raw) {
        let dir = tempfile::tempdir().expect("room");
        let path = dir.path().join("7/1.1.out");
        let raw = Raw::create(path.clone(), max, &Earlier::default(), clock::steady()).expect("room");
        (dir, path, raw)
    }

    fn look(raw: &mut Raw) -> Instant {
        let mut watch = raw.begin_look().expect("nobody else looks");
        watch.look();
        raw.end_look(watch, clock::steady())
    }

    /// As a shell does it for `> /dev/stdout`.
    fn emptied(path: &Path) -> File {
        File::create(path).expect("it is there")
    }

    #[test]
    fn a_file_that_nothing_was_written_to_is_not_left() {
        let (_dir, path, raw) = raw(8192);
        assert!(path.exists());
        let over = raw.end();
        assert_eq!((over.bytes, over.lost, path.exists()), (0, 0, false));
        assert!(!path.parent().expect("a directory").exists());
    }

    #[test]
    fn what_an_attempt_of_the_same_number_left_is_gone() {
        let (_dir, path, raw) = raw(8192);
        let others = ["1.1.jsonl", "1.1.jsonl.zst", "1.1.out.zst"].map(|name| path.with_file_name(name));
        let leave = |path: &Path| fs::write(path, "old").expect("room");
        leave(&path);
        others.iter().for_each(|path| leave(path));
        drop(raw);
        Raw::create(path.clone(), 8192, &Earlier::default(), clock::steady()).expect("room");
        assert!(others.iter().all(|path| !path.exists()));
        assert_eq!(fs::metadata(&path).expect("it is there").len(), 0);
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
        for part in lines.as_bytes().chunks(3_000_000) {
            raw.file().write_all(part).expect("room");
            look(&mut raw);
        }
        let over = raw.end();
        assert_eq!(over.bytes, lines.len() as u64);
        let Sealed { lost, .. } = over.cut.expect("it is over its cap").seal();
        let kept = fs::read_to_string(path).expect("text");
        let (head, tail) = kept.split_once("\n[taskd: ").expect("a mark");
        let (missing, tail) = tail
            .split_once(" bytes of output were not kept here]\n")
            .expect("a mark");
        let missing: u64 = missing.parse().expect("a number");
        assert_eq!((missing, over.lost), (lost, 0));
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
            look(&mut raw);
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
        let pauses: Vec<u64> = (0..4).map(|_| (look(&mut raw) - now).as_secs()).collect();
        assert_eq!(pauses, [2, 4, 4, 4]);
        raw.file().write_all(b"x").expect("room");
        assert!(look(&mut raw) - now < 2 * LOOK_FIRST);
    }

    #[test]
    fn what_a_leftover_does_with_its_descriptor_moves_nothing() {
        let (_dir, path, raw) = raw(8192);
        let text: String = (0..5000).map(|n| format!("{n:08}\n")).collect();
        let mut file = raw.file();
        file.write_all(text.as_bytes()).expect("room");
        let cut = raw.end().cut.expect("it is over its cap");
        let other = Arc::clone(&cut.file);
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    (&*other).seek(SeekFrom::End(0)).expect("a file");
                }
            });
            let Sealed { lost, .. } = cut.seal();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            let kept = fs::read_to_string(&path).expect("text");
            let mark = format!("\n[taskd: {lost} bytes of output were not kept here]\n");
            let (head, tail) = kept.split_once(&mark).expect("a mark");
            assert!(text.starts_with(head) && text.ends_with(tail));
            assert_eq!(
                head.len() + tail.len() + usize::try_from(lost).expect("small"),
                text.len()
            );
        });
    }

    #[test]
    fn the_command_can_write_its_file_and_not_read_it() {
        let (_dir, _path, raw) = raw(8192);
        let mut file = raw.file();
        assert!(file.read(&mut [0]).is_err());
    }

    #[test]
    fn a_file_that_is_still_written_to_stays_as_it_is() {
        let (_dir, path, raw) = raw(8192);
        raw.file().write_all(&[b'x'; 20_000]).expect("room");
        let cut = raw.end().cut.expect("it is over its cap");
        (&*cut.file).write_all(b"more").expect("room");
        assert_eq!(cut.seal().lost, 0, "nothing was punched");
        assert_eq!(fs::metadata(&path).expect("it is there").len(), 20_004);
        assert!(!keep::temporary(&path).exists());
    }

    #[test]
    fn what_a_command_empties_is_counted_as_lost_and_its_room_is_bounded_again() {
        let (_dir, path, mut raw) = raw(1 << 20);
        let fill = |raw: &mut Raw, mut file: &File| {
            for _ in 0..8 {
                file.write_all(&[b'x'; 1 << 20]).expect("room");
                look(raw);
            }
        };
        let file = raw.file().try_clone().expect("room");
        fill(&mut raw, &file);
        let again = emptied(&path);
        look(&mut raw);
        fill(&mut raw, &again);
        let can = rustix::fs::fallocate(
            raw.file(),
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            1 << 20,
            4096,
        );
        let blocks = fs::metadata(&path).expect("it is there").blocks();
        assert!(blocks * 512 < 3 << 20 || can.is_err(), "{blocks} blocks");
        let over = raw.end();
        assert_eq!((over.bytes, over.lost), (16 << 20, 8 << 20));
        let sealed = over.cut.expect("it is over its cap").seal();
        assert_eq!(sealed.lost, 7 << 20);
    }

    #[test]
    fn holes_are_whole_blocks() {
        use rustix::fs::{SeekFrom, seek};
        let (_dir, _path, mut raw) = raw(10_000);
        raw.file().write_all(&[b'x'; 200_000]).expect("room");
        look(&mut raw);
        let file = File::open(&raw.path).expect("it is there");
        let hole = seek(&file, SeekFrom::Hole(0)).expect("an end");
        let mut read = vec![0; 200_000];
        file.read_exact_at(&mut read, 0).expect("it is there");
        if hole < 200_000 {
            let data = seek(&file, SeekFrom::Data(hole)).expect("a tail");
            assert_eq!((hole, data), (8192, 192_512));
            assert!(read[..8192].iter().chain(&read[192_512..]).all(|byte| *byte == b'x'));
        }
    }
}
