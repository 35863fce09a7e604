//! What output is read from: a file as it was written, or one that the daemon has compressed.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{OFlags, SeekFrom, seek};

use super::pressed::Packed;
use super::tail::{Last, last_lines};

/// Opens a file of output. A command may have put something else in its place, such as a link to where it may not read itself
/// or a pipe that nobody writes.
pub(super) fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    Ok(file)
}

/// An open file that is read by offsets. Where it is compressed they should only grow: going back is to begin again.
pub enum Source {
    /// As it was written. It may still grow, and have a hole.
    Plain(File),
    /// Unpacked while it is read: complete, and without holes.
    Packed(Packed),
}

impl Source {
    /// What was written at this path, or what became of that.
    pub fn open(path: &Path) -> io::Result<Self> {
        match open_regular(path) {
            Ok(file) => Ok(Source::Plain(file)),
            // It is compressed before the plain one goes.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Source::Packed(Packed::open(path)?)),
            Err(error) => Err(error),
        }
    }

    /// What the system knows of the file itself.
    pub fn metadata(&self) -> io::Result<Metadata> {
        match self {
            Source::Plain(file) => file.metadata(),
            Source::Packed(packed) => packed.metadata(),
        }
    }

    /// Where it ends by now; nothing where it has not been read that far.
    pub fn end(&self) -> io::Result<Option<u64>> {
        match self {
            Source::Plain(file) => Ok(Some(file.metadata()?.len())),
            Source::Packed(packed) => Ok(packed.end()),
        }
    }

    /// Reads what is there from an offset on. Nothing is the end.
    pub fn read_at(&mut self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Source::Plain(file) => file.read_at(bytes, offset),
            Source::Packed(packed) => packed.read_at(bytes, offset),
        }
    }

    /// Where the next byte that has space on disk is.
    pub fn next_data(&self, offset: u64) -> u64 {
        match self {
            // A system that knows of no holes has none, and so has one that says nothing.
            Source::Plain(file) => seek(file, SeekFrom::Data(offset)).unwrap_or(offset).max(offset),
            Source::Packed(_) => offset,
        }
    }

    /// Where the next hole is; nothing where there is none.
    pub fn next_hole(&self, offset: u64) -> Option<u64> {
        match self {
            Source::Plain(file) => seek(file, SeekFrom::Hole(offset)).ok(),
            Source::Packed(_) => None,
        }
    }

    /// The last `count` lines, as [`last_lines`].
    pub fn last_lines(&mut self, count: usize) -> io::Result<Last> {
        match self {
            Source::Plain(file) => last_lines(file, count),
            Source::Packed(packed) => packed.last_lines(count),
        }
    }
}
