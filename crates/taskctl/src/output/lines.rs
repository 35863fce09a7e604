//! Reads whole lines from a file that may still grow and may have a hole.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::pressed;
use super::source::Source;
use super::tail::Last;

/// What a file holds, piece by piece.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A line without its end.
    Line(&'a [u8]),
    /// The file has a hole here. What is left of lines that it cuts is not given.
    Hole,
}

/// A file being read.
pub struct Lines {
    file: Source,
    path: PathBuf,
    offset: u64,
    carry: Vec<u8>,
    in_hole: bool,
}

/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// No line is longer that was written by a runner or a daemon.
const LINE_MAX: usize = 4 << 20;

impl Lines {
    /// Opens a file, to be read from its beginning.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Lines::of(File::open(path)?, path))
    }

    /// Opens a file, or what became of it when it was compressed.
    pub fn open_either(path: &Path) -> io::Result<Self> {
        Ok(Lines::from(Source::open(path)?, path))
    }

    /// Of an open file that this path leads to, or led to.
    pub fn of(file: File, path: &Path) -> Self {
        Lines::from(Source::Plain(file), path)
    }

    fn from(file: Source, path: &Path) -> Self {
        Lines {
            file,
            path: path.to_owned(),
            offset: 0,
            carry: Vec::new(),
            in_hole: false,
        }
    }

    /// Says that this path leads to the file, or will lead to the one that takes its place.
    pub fn named(self, path: &Path) -> Self {
        Lines {
            path: path.to_owned(),
            ..self
        }
    }

    /// Device and inode.
    pub fn identity(&self) -> io::Result<(u64, u64)> {
        let meta = self.file.metadata()?;
        Ok((meta.dev(), meta.ino()))
    }

    /// The last `count` lines.
    pub fn last(&mut self, count: usize) -> io::Result<Last> {
        self.file.last_lines(count)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads its beginning, wherever it is read otherwise.
    pub fn head(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(bytes, 0)
    }

    /// Whether it was read to its present end.
    pub fn is_read(&self) -> bool {
        let end = self.file.end().ok().flatten();
        end.is_none_or(|end| end == self.offset)
    }

    /// Goes on from this byte, which begins a line.
    pub fn start_at(&mut self, offset: u64) {
        self.offset = offset;
        self.carry.clear();
        self.in_hole = false;
    }

    /// Whether the path now names another file, or leads to one that was compressed, or this one has become shorter than what
    /// was read.
    pub fn is_replaced(&self) -> bool {
        let Source::Plain(file) = &self.file else {
            return false;
        };
        let there = match std::fs::metadata(&self.path) {
            Ok(there) => there,
            // It may have taken the place of this one before it was compressed itself.
            Err(error) => return error.kind() == io::ErrorKind::NotFound && pressed::packed(&self.path).exists(),
        };
        let Ok(here) = file.metadata() else { return false };
        (there.dev(), there.ino()) != (here.dev(), here.ino()) || here.len() < self.offset
    }

    /// Whether this file has become shorter than what was read.
    pub fn is_cut(&self) -> bool {
        let Source::Plain(file) = &self.file else {
            return false;
        };
        file.metadata().is_ok_and(|meta| meta.len() < self.offset)
    }

    /// Gives all whole lines up to the present end of the file. The beginning of a line that is not whole is kept.
    pub fn read<E: From<io::Error>>(&mut self, mut give: impl FnMut(Piece<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut chunk = vec![0; CHUNK];
        loop {
            let n = match self.file.read_at(&mut chunk, self.offset) {
                Ok(0) => return Ok(()),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            self.offset += n as u64;
            self.take(&chunk[..n], &mut give)?;
            if self.in_hole && chunk[..n].iter().all(|&b| b == 0) {
                self.skip_hole();
            }
        }
    }

    fn take<E>(&mut self, mut bytes: &[u8], give: &mut impl FnMut(Piece<'_>) -> Result<(), E>) -> Result<(), E> {
        while !bytes.is_empty() {
            if self.in_hole {
                let Some(data) = bytes.iter().position(|&b| b != 0) else {
                    return Ok(());
                };
                bytes = &bytes[data..];
                if bytes[0] == b'{' {
                    self.in_hole = false;
                    continue;
                }
                // The hole ends within a line, whose rest is of no use.
                let Some(end) = bytes.iter().position(|&b| b == b'\n' || b == 0) else {
                    return Ok(());
                };
                if bytes[end] == 0 {
                    bytes = &bytes[end..];
                    continue;
                }
                self.in_hole = false;
                bytes = &bytes[end + 1..];
                continue;
            }
            let Some(end) = bytes.iter().position(|&b| b == b'\n' || b == 0) else {
                if self.carry.len() + bytes.len() > LINE_MAX {
                    // Nothing that was written as lines has such a one.
                    self.carry.clear();
                    self.in_hole = true;
                    return give(Piece::Hole);
                }
                self.carry.extend_from_slice(bytes);
                return Ok(());
            };
            if bytes[end] == 0 {
                self.carry.clear();
                self.in_hole = true;
                bytes = &bytes[end..];
                give(Piece::Hole)?;
                continue;
            }
            if self.carry.is_empty() {
                give(Piece::Line(&bytes[..end]))?;
            } else {
                self.carry.extend_from_slice(&bytes[..end]);
                give(Piece::Line(&self.carry))?;
                self.carry.clear();
            }
            bytes = &bytes[end + 1..];
        }
        Ok(())
    }

    /// Goes to the next byte that has space on disk: a hole may be of any size and is not worth reading.
    fn skip_hole(&mut self) {
        self.offset = self.file.next_data(self.offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    fn read(lines: &mut Lines) -> Vec<String> {
        let mut got = Vec::new();
        let done: io::Result<()> = lines.read(|piece| {
            got.push(match piece {
                Piece::Line(line) => String::from_utf8_lossy(line).into_owned(),
                Piece::Hole => "<hole>".to_owned(),
            });
            Ok(())
        });
        done.expect("the file can be read");
        got
    }

    #[test]
    fn a_line_is_given_when_it_is_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("f");
        let mut file = File::create(&path).expect("a file");
        write!(file, "one\ntw").expect("room");
        let mut lines = Lines::open(&path).expect("it is there");
        assert_eq!(read(&mut lines), ["one"]);
        write!(file, "o\n\nthree\n").expect("room");
        assert_eq!(read(&mut lines), ["two", "", "three"]);
        assert_eq!(read(&mut lines), [""; 0]);
    }

    #[test]
    fn a_line_longer_than_a_chunk_is_one_line() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("f");
        let long = "x".repeat(3 * CHUNK + 17);
        std::fs::write(&path, format!("{long}\nend\n")).expect("room");
        assert_eq!(
            read(&mut Lines::open(&path).expect("it is there")),
            [long.as_str(), "end"]
        );
    }

    #[test]
    fn a_hole_is_passed_over_with_the_torn_lines_beside_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("f");
        let file = File::create(&path).expect("a file");
        file.write_all_at(b"head\ntorn he", 0).expect("room");
        // Sparse, and so large that reading it would be noticed.
        let tail = 1 << 40;
        file.write_all_at(b"re torn\ntail\n", tail + 5).expect("room");
        let mut lines = Lines::open(&path).expect("it is there");
        assert_eq!(read(&mut lines), ["head", "<hole>", "tail"]);
        file.write_all_at(b"more\n", tail + 18).expect("room");
        assert_eq!(read(&mut lines), ["more"]);
    }

    #[test]
    fn a_hole_at_the_end_of_what_is_there_is_one_hole() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("f");
        let file = File::create(&path).expect("a file");
        file.write_all_at(b"head\n\0\0\0", 0).expect("room");
        let mut lines = Lines::open(&path).expect("it is there");
        assert_eq!(read(&mut lines), ["head", "<hole>"]);
        file.write_all_at(b"\0\0orn\nnext\n", 8).expect("room");
        assert_eq!(read(&mut lines), ["next"]);
    }

    #[test]
    fn a_file_put_in_its_place_is_noticed() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, other) = (dir.path().join("f"), dir.path().join("g"));
        std::fs::write(&path, "a\n").expect("room");
        let lines = Lines::open(&path).expect("it is there");
        assert!(!lines.is_replaced());
        std::fs::write(&other, "b\n").expect("room");
        std::fs::rename(&other, &path).expect("the same directory");
        assert!(lines.is_replaced());
    }

    #[test]
    fn a_file_that_was_replaced_and_then_compressed_is_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("f");
        std::fs::write(&path, "one\n").expect("room");
        let mut lines = Lines::open_either(&path).expect("it is there");
        assert_eq!(read(&mut lines), ["one"]);
        std::fs::remove_file(&path).expect("it is there");
        assert!(!lines.is_replaced(), "it was only removed");
        let bytes = zstd::encode_all(&b"one\ntwo\n"[..], 3).expect("room");
        std::fs::write(pressed::packed(&path), bytes).expect("room");
        assert!(lines.is_replaced());
        let mut lines = Lines::open_either(&path).expect("it is there");
        assert_eq!(read(&mut lines), ["one", "two"]);
        assert!(!lines.is_replaced());
    }

    #[test]
    fn a_line_without_end_takes_no_memory_without_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("f");
        std::fs::write(&path, "x".repeat(3 * LINE_MAX) + "\n{}\n").expect("room");
        let mut lines = Lines::open(&path).expect("it is there");
        assert_eq!(read(&mut lines), ["<hole>", "{}"]);
        assert!(lines.carry.capacity() <= 2 * LINE_MAX);
    }
}
