//! What stays of an output: all of it up to the cap, past it the head and the tail.
//!
//! The head is one half of the cap and is never touched again. What follows is the tail: written behind the head as it
//! comes, its oldest part given up in granules, whole records each, once it is over the other half. What was given up
//! is punched out of the file, so that one that is followed can still be followed and the disk holds little more than
//! the cap; where the file system cannot do that, the file is copied without it every now and then. In the end it is
//! copied once more, with a gap line between head and tail.
//!
//! The cap counts bytes of the command. So that a file of empty lines is not seventy times its cap, a record counts
//! for at least a quarter of its JSON.
//!
//! When there is no room, or any other error, what could not be written is counted, and a gap line takes its place as
//! soon as something can be written again. The file ends with a whole line, unless the runner was killed in the middle
//! of one.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::Stream;
use super::earlier::Earlier;
use super::lines::{self, RECORD_MAX};

/// A record counts for at least this part of the bytes it takes in the file.
const JSON_SHARE: u64 = 4;

/// The tail is given up in about so many steps.
const GRANULES: u64 = 256;

/// Bytes given up before a hole is punched: seldom enough to cost nothing, often enough to hold the disk's bound.
pub(super) const PUNCH_MIN: u64 = 64 * 1024;
const PUNCH_MAX: u64 = 1024 * 1024;

/// The daemon removes a directory with the last old output in it, which may be between our making it and its first file.
const DIRECTORY_TRIES: usize = 3;

/// A part of the tail that is given up as a whole.
#[derive(Clone, Copy, Debug, Default)]
struct Granule {
    /// Where it begins in the file.
    at: u64,
    /// Bytes of the command in it.
    bytes: u64,
    /// Bytes that gap lines in it say are missing.
    missing: u64,
    /// What it counts against the cap.
    weight: u64,
}

/// Writes one attempt's file.
#[derive(Debug)]
pub(super) struct Keeper {
    path: PathBuf,
    earlier: Earlier,
    file: Option<File>,
    /// Where the next line goes.
    end: u64,
    head_max: u64,
    tail_max: u64,
    head_weight: u64,
    /// Where the head ends, once it is full.
    head_end: Option<u64>,
    tail: VecDeque<Granule>,
    tail_weight: u64,
    /// Where the part that was given up and still takes room begins.
    dead_from: u64,
    can_punch: bool,
    /// Without holes, how much is to be given up before the file is copied again.
    copy_at: u64,
    /// Bytes of the command given up, and bytes whose gap lines were.
    dropped: u64,
    dropped_missing: u64,
    /// Bytes that could not be written, in all and not yet marked.
    unwritten: u64,
    unmarked: u64,
}

/// What is put back when a batch cannot be written.
#[derive(Debug)]
pub(super) struct Before {
    head_weight: u64,
    head_end: Option<u64>,
    tail_len: usize,
    last: Option<Granule>,
    tail_weight: u64,
    /// Bytes of the command in the batch; see [`Keeper::put`].
    unmarked: u64,
}

impl Keeper {
    pub(super) fn new(path: PathBuf, max: u64, earlier: Earlier) -> Self {
        let head_max = max / 2;
        Keeper {
            path,
            earlier,
            file: None,
            end: 0,
            head_max,
            tail_max: max - head_max,
            head_weight: 0,
            head_end: None,
            tail: VecDeque::new(),
            tail_weight: 0,
            dead_from: 0,
            can_punch: true,
            copy_at: 0,
            dropped: 0,
            dropped_missing: 0,
            unwritten: 0,
            unmarked: 0,
        }
    }

    /// Behaves as on a file system that cannot punch holes.
    #[cfg(test)]
    pub(super) fn without_holes(mut self) -> Self {
        self.can_punch = false;
        self
    }

    /// How long the next record may be: the head is filled to the byte, and the records of a small tail are small.
    pub(super) fn record_max(&self) -> usize {
        let most = if self.head_weight < self.head_max {
            self.head_max - self.head_weight
        } else {
            (self.tail_max / 16).max(64)
        };
        usize::try_from(most).map_or(RECORD_MAX, |most| most.min(RECORD_MAX))
    }

    /// Begins a batch, with a gap line if something before it could not be written.
    pub(super) fn begin(&mut self, batch: &mut Vec<u8>, time: &str) -> Before {
        batch.clear();
        let before = Before {
            head_weight: self.head_weight,
            head_end: self.head_end,
            tail_len: self.tail.len(),
            last: self.tail.back().copied(),
            tail_weight: self.tail_weight,
            unmarked: self.unmarked,
        };
        if self.unmarked > 0 {
            lines::put_gap(batch, self.unmarked, time);
            if self.head_end.is_some() {
                self.tail.push_back(Granule {
                    at: self.end,
                    missing: self.unmarked,
                    ..Granule::default()
                });
            }
            self.unmarked = 0;
        }
        before
    }

    /// Adds a record to the batch. Until the batch is written its bytes count as unmarked.
    pub(super) fn put(&mut self, batch: &mut Vec<u8>, stream: Stream, record: &[u8], time: &str) {
        let start = batch.len();
        lines::put_record(batch, stream, record, time);
        let bytes = record.len() as u64;
        let weight = bytes.max((batch.len() - start) as u64 / JSON_SHARE);
        self.unmarked += bytes;
        if self.head_end.is_none() && self.head_weight < self.head_max {
            self.head_weight += weight;
            return;
        }
        let at = self.end + start as u64;
        self.head_end.get_or_insert(at);
        self.tail_weight += weight;
        let granule_max = self.tail_max / GRANULES;
        match self.tail.back_mut() {
            Some(granule) if granule.weight + weight <= granule_max => {
                granule.bytes += bytes;
                granule.weight += weight;
            }
            Some(_) | None => self.tail.push_back(Granule {
                at,
                bytes,
                missing: 0,
                weight,
            }),
        }
    }

    /// Writes the batch. What cannot be written is counted as lost, and the file stays as it was.
    pub(super) fn commit(&mut self, before: Before, batch: &[u8]) {
        if batch.is_empty() {
            return;
        }
        if self.write(batch).is_err() {
            // Why does not matter: the run goes on, the loss is counted and will be marked. `unmarked` holds the
            // bytes of this batch, and what an unwritten gap line said is still to be said.
            self.unwritten += self.unmarked;
            self.unmarked += before.unmarked;
            self.head_weight = before.head_weight;
            self.head_end = before.head_end;
            self.tail.truncate(before.tail_len);
            if let (Some(granule), Some(last)) = (self.tail.back_mut(), before.last) {
                *granule = last;
            }
            self.tail_weight = before.tail_weight;
            return;
        }
        self.end += batch.len() as u64;
        self.unmarked = 0;
        if before.head_end.is_none()
            && let Some(head_end) = self.head_end
        {
            self.dead_from = head_end;
        }
        self.give_up_oldest();
    }

    pub(super) fn has_unmarked_loss(&self) -> bool {
        self.unmarked > 0
    }

    /// Whether something between head and tail was given up.
    pub(super) fn has_gap(&self) -> bool {
        self.dropped > 0
    }

    /// Bytes of the command that are not in the file.
    pub(super) fn lost(&self) -> u64 {
        self.dropped + self.unwritten
    }

    /// Bytes that the file takes on disk; nothing where the system does not tell.
    pub(super) fn on_disk(&self) -> Option<u64> {
        match &self.file {
            Some(file) => file.metadata().ok().map(|found| super::on_disk(&found)),
            None => Some(0),
        }
    }

    /// Puts a gap line in the place of what was given up.
    pub(super) fn seal(&mut self, time: &str) {
        if self.has_gap() {
            // Without room for the copy the file stays as it is, with a hole for a gap.
            let _ = self.compact(time);
        }
    }

    fn write(&mut self, batch: &[u8]) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => {
                let file = create(&self.path)?;
                self.earlier.remove_others(&self.path);
                self.file.insert(file)
            }
        };
        file.write_all_at(batch, self.end).inspect_err(|_| {
            // A part may be in the file. If it cannot be cut off, the next batch is written over it.
            let _ = file.set_len(self.end);
        })
    }

    fn give_up_oldest(&mut self) {
        while self.tail_weight > self.tail_max
            && let Some(granule) = self.tail.pop_front()
        {
            self.tail_weight -= granule.weight;
            self.dropped += granule.bytes;
            self.dropped_missing += granule.missing;
        }
        let tail_at = self.tail_at();
        let dead = tail_at.saturating_sub(self.dead_from);
        if self.dropped == 0 || dead < (self.tail_max / 8).clamp(PUNCH_MIN, PUNCH_MAX) {
            return;
        }
        if self.can_punch
            && let Some(file) = &self.file
        {
            let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            match rustix::fs::fallocate(file, mode, self.dead_from, dead) {
                Ok(()) => self.dead_from = tail_at,
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.can_punch = false,
                // Punched again with the next part.
                Err(_) => {}
            }
        } else if dead >= (self.end - tail_at).max(self.copy_at) {
            // Head and tail are copied, so it is done seldom: not before as much was given up as the tail takes. If it
            // fails there is no room to do better, and it is tried again when as much again was given up.
            let copied = self.compact(&lines::stamp(crate::clock::wall()));
            self.copy_at = if copied.is_ok() { 0 } else { dead * 2 };
        }
    }

    /// Where the tail begins; the end if nothing of it is left.
    fn tail_at(&self) -> u64 {
        self.tail.front().map_or(self.end, |granule| granule.at)
    }

    /// Writes head, gap line and tail to a new file and puts it in place of the old one.
    fn compact(&mut self, time: &str) -> io::Result<()> {
        let (Some(mut old), Some(head_end)) = (self.file.as_ref(), self.head_end) else {
            return Ok(());
        };
        let temporary = temporary(&self.path);
        let tail_at = self.tail_at();
        let mut gap = Vec::new();
        lines::put_gap(&mut gap, self.dropped + self.dropped_missing, time);
        let mut copy = |mut new: &File| {
            old.seek(SeekFrom::Start(0))?;
            io::copy(&mut old.take(head_end), &mut new)?;
            new.write_all(&gap)?;
            old.seek(SeekFrom::Start(tail_at))?;
            io::copy(&mut old.take(self.end - tail_at), &mut new)?;
            fs::rename(&temporary, &self.path)
        };
        let new = create(&temporary)?;
        if let Err(error) = copy(&new) {
            // It only takes room.
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        self.file = Some(new);
        self.dead_from = head_end + gap.len() as u64;
        let moved = tail_at - self.dead_from.min(tail_at);
        let grown = self.dead_from.saturating_sub(tail_at);
        for granule in &mut self.tail {
            granule.at = granule.at + grown - moved;
        }
        self.end = self.end + grown - moved;
        Ok(())
    }
}

/// Where the output at `path` is put together.
pub(super) fn temporary(path: &Path) -> PathBuf {
    let mut temporary = path.to_owned().into_os_string();
    temporary.push(".tmp");
    PathBuf::from(temporary)
}

/// Whether a file is as it was.
pub(super) fn is_unchanged(file: &File, before: &Metadata) -> io::Result<bool> {
    let now = file.metadata()?;
    Ok(now.len() == before.len() && now.modified()? == before.modified()?)
}

/// Removes a file that is of no use, and its directory if that is empty then.
pub(super) fn discard(path: &Path) {
    // They only take a name.
    let _ = fs::remove_file(path);
    if let Some(directory) = path.parent() {
        let _ = fs::remove_dir(directory);
    }
}

/// Makes a file, and the directories above it, that only this user can read.
pub(super) fn create(path: &Path) -> io::Result<File> {
    open(&new_file(), path)
}

/// Makes such a file where its directory is.
pub(super) fn create_here(path: &Path) -> io::Result<File> {
    new_file().open(path)
}

fn new_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW);
    options
}

/// Opens a file, and makes the directories above it.
pub(super) fn open(options: &OpenOptions, path: &Path) -> io::Result<File> {
    let mut tries = 0;
    loop {
        match options.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries < DIRECTORY_TRIES => {
                tries += 1;
                if let Some(directory) = path.parent() {
                    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
                }
            }
            result => return result,
        }
    }
}
