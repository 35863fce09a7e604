//! Output that the daemon has compressed, after its run was over.
//!
//! It is unpacked while it is read, and nowhere put down: it may be of any size, and it may be secret.

use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use super::source::open_regular;
use super::tail::Last;

/// What the names of such files end with, behind the name of what they hold.
const EXTENSION: &str = "zst";

/// More than the lines of any output take: 64 GiB of it, eight times as many on disk.
const PLAIN_MAX: u64 = 512 << 30;

/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// Where a file was before it was compressed; itself, if it is not.
pub fn plain(path: PathBuf) -> PathBuf {
    if path.extension().is_some_and(|extension| extension == EXTENSION) {
        path.with_extension("")
    } else {
        path
    }
}

/// Where a file is when it is compressed.
pub fn packed(path: &Path) -> PathBuf {
    let mut place = path.to_owned().into_os_string();
    place.push(".");
    place.push(EXTENSION);
    PathBuf::from(place)
}

/// What a file held that has been compressed.
pub struct Packed {
    file: File,
    unpack: zstd::Decoder<'static, BufReader<File>>,
    /// What was unpacked and may be asked for again.
    window: Vec<u8>,
    /// Where that begins.
    at: u64,
    is_over: bool,
    most: u64,
}

impl Packed {
    /// Opens it by where it was before.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = open_regular(&packed(path))?;
        let unpack = zstd::Decoder::new(file.try_clone()?)?;
        Ok(Packed {
            file,
            unpack,
            window: Vec::new(),
            at: 0,
            is_over: false,
            most: PLAIN_MAX,
        })
    }

    /// What the system knows of the compressed file.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// Where it ends, once it was read to its end.
    pub fn end(&self) -> Option<u64> {
        self.is_over.then_some(self.at + self.window.len() as u64)
    }

    /// Reads from an offset on. What is before that is not kept.
    pub fn read_at(&mut self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset < self.at {
            self.begin_again()?;
        }
        loop {
            let before = usize::try_from(offset - self.at).unwrap_or(usize::MAX);
            let passed = before.min(self.window.len());
            self.window.drain(..passed);
            self.at += passed as u64;
            if self.is_over || (self.at == offset && self.window.len() >= bytes.len()) {
                break;
            }
            self.unpack_more()?;
        }
        let length = if self.at == offset {
            bytes.len().min(self.window.len())
        } else {
            0
        };
        bytes[..length].copy_from_slice(&self.window[..length]);
        Ok(length)
    }

    /// The last `count` lines. It is read twice: once to know how many there are.
    pub fn last_lines(&mut self, count: usize) -> io::Result<Last> {
        let (mut lines, mut last, mut end) = (0_u64, b'\n', 0);
        self.each(|chunk| {
            lines += newlines(chunk);
            last = *chunk.last().unwrap_or(&last);
            end += chunk.len() as u64;
            true
        })?;
        lines += u64::from(last != b'\n');
        let wanted = lines.min(count as u64);
        let mut passed = lines - wanted;
        let mut offset = 0;
        if wanted == 0 {
            offset = end;
        } else if passed > 0 {
            self.each(|chunk| {
                for byte in chunk {
                    offset += 1;
                    passed -= u64::from(*byte == b'\n');
                    if passed == 0 {
                        return false;
                    }
                }
                true
            })?;
        }
        Ok(Last {
            offset,
            count: usize::try_from(wanted).unwrap_or(count),
        })
    }

    /// Gives all of it from its beginning, until that is enough.
    fn each(&mut self, mut take: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK];
        let mut offset = 0;
        loop {
            let length = self.read_at(&mut chunk, offset)?;
            if length == 0 || !take(&chunk[..length]) {
                return Ok(());
            }
            offset += length as u64;
        }
    }

    fn unpack_more(&mut self) -> io::Result<()> {
        let before = self.window.len();
        self.window.resize(before + CHUNK, 0);
        let read = self.unpack.read(&mut self.window[before..]);
        self.window.truncate(before + *read.as_ref().unwrap_or(&0));
        self.is_over = read? == 0;
        if self.at + self.window.len() as u64 > self.most {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it holds more than any output",
            ));
        }
        Ok(())
    }

    fn begin_again(&mut self) -> io::Result<()> {
        self.file.rewind()?;
        self.unpack = zstd::Decoder::new(self.file.try_clone()?)?;
        self.window.clear();
        (self.at, self.is_over) = (0, false);
        Ok(())
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("1.1.jsonl");
        let bytes = zstd::encode_all(text, 3).expect("room");
        std::fs::write(packed(&path), &bytes).expect("room");
        (dir, path)
    }

    fn all(file: &mut Packed) -> Vec<u8> {
        let mut text = Vec::new();
        file.each(|chunk| {
            text.extend_from_slice(chunk);
            true
        })
        .expect("it is whole");
        text
    }

    #[test]
    fn what_was_compressed_is_read_as_it_was() {
        let missing = Packed::open(Path::new("/nowhere/1.1.jsonl"))
            .err()
            .expect("it is not there");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        let text: String = (0..100_000).map(|n| format!("line {n}\n")).collect();
        let (_dir, path) = with(text.as_bytes());
        let mut file = Packed::open(&path).expect("it is there");
        for _ in 0..2 {
            assert!(all(&mut file) == text.as_bytes());
        }
        let mut some = [0; 10];
        for offset in [500_000, 500_003, 7, text.len() - 3, text.len(), text.len() + 9] {
            let read = file.read_at(&mut some, offset as u64).expect("it is whole");
            let rest = text.as_bytes().get(offset..).unwrap_or_default();
            assert_eq!(some[..read], rest[..rest.len().min(10)], "{offset}");
        }
        assert_eq!(file.end(), Some(text.len() as u64));
        assert_eq!(plain(packed(&path)), path);
        assert_eq!(plain(path.clone()), path);
    }

    #[test]
    fn half_of_it_is_no_output() {
        let (_dir, path) = with("line\n".repeat(100_000).as_bytes());
        let bytes = std::fs::read(packed(&path)).expect("it is there");
        std::fs::write(packed(&path), &bytes[..bytes.len() / 2]).expect("room");
        let mut file = Packed::open(&path).expect("it is there");
        assert!(file.each(|_| true).is_err());
    }

    #[test]
    fn the_last_lines_are_those_of_the_plain_file() {
        for text in ["a\nb\nc\n", "a\nb\nc", "a\nb\n", "", "\n\n\n", "one"] {
            let (_dir, path) = with(text.as_bytes());
            let plain = tempfile::tempfile().expect("a file");
            std::os::unix::fs::FileExt::write_all_at(&plain, text.as_bytes(), 0).expect("room");
            for count in 0..5 {
                let mut file = Packed::open(&path).expect("it is there");
                let expected = crate::output::tail::last_lines(&plain, count).expect("it can be read");
                assert_eq!(
                    file.last_lines(count).expect("it is whole"),
                    expected,
                    "{text:?} {count}"
                );
            }
        }
    }

    #[test]
    fn it_is_unpacked_piece_by_piece_and_not_beyond_a_bound() {
        let (_dir, path) = with(&vec![0; 64 << 20]);
        let mut file = Packed::open(&path).expect("it is there");
        file.each(|_| true).expect("it is whole");
        assert!(file.window.capacity() < 1 << 20, "{}", file.window.capacity());
        let mut file = Packed::open(&path).expect("it is there");
        file.most = 32 << 20;
        assert_eq!(
            file.each(|_| true).expect_err("more").kind(),
            io::ErrorKind::InvalidData
        );
    }
}
