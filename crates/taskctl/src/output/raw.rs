//! Output that a run wrote into its file itself: bytes, without streams and times.
//!
//! While the run goes on the file may have a hole between head and tail. When the run has ended, a smaller file may take its
//! place; the one that is open stays as it was, so it is read to its end and no other is needed.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::source::Source;
use super::tail::Last;

/// What the names of such files end with.
const EXTENSION: &str = "out";

/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// What a file holds, piece by piece.
#[derive(Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Bytes as they were written.
    Bytes(&'a [u8]),
    /// The file has a hole here.
    Hole,
}

/// Where the output of an attempt is, if it is of this kind, by where it is if it is lines.
pub fn beside(path: &Path) -> PathBuf {
    path.with_extension(EXTENSION)
}

/// Whether a file is of this kind.
pub fn is_raw(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == EXTENSION)
}

/// A file being read.
pub struct RawFile {
    file: Source,
    path: PathBuf,
    offset: u64,
}

impl RawFile {
    /// Opens a file, or what became of it when it was compressed, to be read from its beginning.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(RawFile {
            file: Source::open(path)?,
            path: path.to_owned(),
            offset: 0,
        })
    }

    /// When it was written last.
    pub fn modified(&self) -> io::Result<SystemTime> {
        self.file.metadata()?.modified()
    }

    /// The last `count` lines.
    pub fn last(&mut self, count: usize) -> io::Result<Last> {
        self.file.last_lines(count)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Goes on from this byte.
    pub fn start_at(&mut self, offset: u64) {
        self.offset = offset;
    }

    /// Gives all there is up to the present end of the file.
    pub fn read<E: From<io::Error>>(&mut self, mut give: impl FnMut(Part<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut chunk = vec![0; CHUNK];
        loop {
            let end = self.file.end()?;
            if end.is_some_and(|end| self.offset >= end) {
                return Ok(());
            }
            let data = self.file.next_data(self.offset);
            if data > self.offset {
                self.offset = data;
                give(Part::Hole)?;
            }
            match self.file.read_at(&mut chunk, self.offset) {
                Ok(0) => return Ok(()),
                Ok(n) => {
                    // Asked for afterwards: what was made a hole meanwhile was read as zeros.
                    let hole = self.file.next_hole(self.offset).unwrap_or(u64::MAX);
                    let n = n.min(usize::try_from(hole.saturating_sub(self.offset)).unwrap_or(n));
                    // Where more follows, what is given ends with a line, so that none is cut that is not long.
                    let more = end.is_none_or(|end| self.offset + (n as u64) < end);
                    let line = chunk[..n].iter().rposition(|byte| *byte == b'\n').filter(|_| more);
                    let n = line.map_or(n, |at| at + 1);
                    if n > 0 {
                        self.offset += n as u64;
                        give(Part::Bytes(&chunk[..n]))?;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    fn read(raw: &mut RawFile) -> Vec<u8> {
        let mut got = Vec::new();
        let done: io::Result<()> = raw.read(|part| {
            match part {
                Part::Bytes(bytes) => got.extend_from_slice(bytes),
                Part::Hole => got.extend_from_slice(b"<hole>"),
            }
            Ok(())
        });
        done.expect("the file can be read");
        got
    }

    #[test]
    fn bytes_come_as_they_are_written_zeros_too() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("1.1.out");
        let mut file = File::create(&path).expect("a file");
        file.write_all(b"one\0two").expect("room");
        let mut raw = RawFile::open(&path).expect("it is there");
        assert_eq!(read(&mut raw), b"one\0two");
        assert_eq!(read(&mut raw), b"");
        file.write_all(&vec![0; 3 * CHUNK]).expect("room");
        assert_eq!(read(&mut raw), vec![0; 3 * CHUNK]);
    }

    #[test]
    fn lines_are_given_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("1.1.out");
        let text: String = (0..30_000).map(|n| format!("line {n}\n")).collect();
        std::fs::write(&path, &text).expect("room");
        let mut parts = Vec::new();
        let mut raw = RawFile::open(&path).expect("it is there");
        let done: io::Result<()> = raw.read(|part| {
            if let Part::Bytes(bytes) = part {
                parts.push(bytes.to_vec());
            }
            Ok(())
        });
        done.expect("the file can be read");
        assert!(parts.len() > 2 && parts.iter().all(|part| part.ends_with(b"\n")));
        assert_eq!(parts.concat(), text.as_bytes());
    }

    #[test]
    fn a_hole_is_passed_over() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("1.1.out");
        let file = File::create(&path).expect("a file");
        let whole = [b'h'; 4096];
        file.write_all_at(&whole, 0).expect("room");
        file.write_all_at(b"tail", 1 << 40).expect("room");
        let got = read(&mut RawFile::open(&path).expect("it is there"));
        assert_eq!(got, [&whole[..], b"<hole>tail"].concat());
    }
}
