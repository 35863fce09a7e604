//! The last lines of a file, found from its end, so that the cost does not grow with the file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{SeekFrom, seek};

/// Bytes read at once.
const CHUNK: u64 = 64 << 10;

/// The last lines of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    /// Where they begin.
    pub offset: u64,
    /// How many there are.
    pub count: usize,
}

/// The last `count` lines, or all where there are fewer. A line that is not whole yet counts.
pub fn last_lines(file: &File, count: usize) -> io::Result<Last> {
    let end = file.metadata()?.len();
    if count == 0 || end == 0 {
        return Ok(Last { offset: end, count: 0 });
    }
    let mut chunk = vec![0; CHUNK as usize];
    let mut position = end;
    let mut seen = 0;
    while position > 0 {
        let start = position.saturating_sub(CHUNK);
        let len = usize::try_from(position - start).expect("a chunk fits memory");
        let bytes = &mut chunk[..len];
        file.read_exact_at(bytes, start)?;
        for (i, &byte) in bytes.iter().enumerate().rev() {
            // The end of the last line is not the beginning of another.
            if byte == b'\n' && start + i as u64 + 1 != end {
                seen += 1;
                if seen == count {
                    let offset = start + i as u64 + 1;
                    return Ok(Last { offset, count });
                }
            }
        }
        position = start;
        if bytes.iter().all(|&b| b == 0) {
            position = before_hole(file, position);
        }
    }
    Ok(Last {
        offset: 0,
        count: seen + 1,
    })
}

/// Where the data before the hole at `position` ends: there is at most one hole.
fn before_hole(file: &File, position: u64) -> u64 {
    seek(file, SeekFrom::Hole(0)).map_or(position, |hole| hole.min(position))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(content: &[u8], count: usize) -> String {
        let file = tempfile::tempfile().expect("a file");
        file.write_all_at(content, 0).expect("room");
        let offset = last_lines(&file, count).expect("it can be read").offset;
        String::from_utf8_lossy(&content[usize::try_from(offset).expect("small")..]).into_owned()
    }

    #[test]
    fn the_last_lines_whether_or_not_the_last_is_whole() {
        assert_eq!(last(b"a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(last(b"a\nb\nc", 2), "b\nc");
        assert_eq!(last(b"a\nb\n", 5), "a\nb\n");
        assert_eq!(last(b"", 3), "");
        assert_eq!(last(b"a\n", 0), "");
        assert_eq!(last(b"\n\n\n", 2), "\n\n");
    }

    #[test]
    fn fewer_lines_than_asked_for_are_counted() {
        let count = |content: &[u8], count| {
            let file = tempfile::tempfile().expect("a file");
            file.write_all_at(content, 0).expect("room");
            last_lines(&file, count).expect("it can be read").count
        };
        let counts = [count(b"", 2), count(b"a\n", 2), count(b"a\nb", 2), count(b"a\nb\nc", 2)];
        assert_eq!(counts, [0, 1, 2, 2]);
        assert_eq!(count(b"a\n", 0), 0);
    }

    #[test]
    fn lines_longer_than_a_chunk() {
        let long = "x".repeat(CHUNK as usize * 2 + 1);
        let content = format!("first\n{long}\nlast\n");
        assert_eq!(last(content.as_bytes(), 2), format!("{long}\nlast\n"));
    }

    #[test]
    fn a_hole_costs_nothing() {
        let file = tempfile::tempfile().expect("a file");
        file.write_all_at(b"one\ntwo\n", 0).expect("room");
        file.write_all_at(b"three\n", 1 << 40).expect("room");
        let last = last_lines(&file, 2).expect("it can be read");
        assert_eq!(last, Last { offset: 4, count: 2 });
    }
}
