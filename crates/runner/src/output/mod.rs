//! What a command writes, kept in a file of JSON lines.
//!
//! One attempt has one file, `output/<task>/<run>.<attempt>.jsonl` below the state directory, made when the first
//! bytes come. Each line is one record in the shape that container log shippers read:
//!
//! ```json
//! {"log":"hello\n","stream":"stdout","time":"2026-01-02T03:04:05.000000006Z"}
//! ```
//!
//! * `log` has no `\n` at its end when the record is a part of a line: the rest follows in the next record of that
//!   stream, or the command ended without one. Lines longer than 16 KiB are cut so, and a line whose end does not
//!   come for a tenth of a second.
//! * Bytes that are not UTF-8 are shown as well as can be, and `raw` holds them exactly, in base64.
//! * A gap is `{"log":"","stream":"taskd","time":…,"gap":{"bytes":N}}`: so many bytes are missing here.
//!
//! A task may have its output written by the command itself (`--output file`): to `<run>.<attempt>.out`, byte for byte as it
//! comes, stdout and stderr in one, without times. Past the cap it is cut when the command has ended, see [`raw`].
//!
//! When its run is over, a large file may be compressed, to the same name with `.zst` behind it, see [`compress_output`].
//!
//! [`lines`] cuts a stream into records and writes them as JSON, [`keep`] decides what stays.

mod earlier;
mod keep;
mod lines;
mod mask;
mod press;
mod raw;

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use taskd_wire::runner::AttemptKey;

use crate::clock;
use keep::Keeper;
use lines::Splitter;

use mask::Masker;

use earlier::Earlier;
pub(crate) use mask::KnownMasks;
pub use mask::{MASK_BYTES_MAX, MASKS_MAX, MaskError, Masks};
pub use press::compress_output;
pub(crate) use raw::{Cut, Over, Raw, Watch};

/// Where the lines of an attempt are, if it has any.
///
/// While an attempt runs whose output is over its cap, its file has a hole between head and tail that reads as NUL
/// bytes; `SEEK_DATA` skips it. In the end a gap line stands in its place.
#[must_use]
pub fn output_path(state_dir: &Path, key: &AttemptKey) -> PathBuf {
    named(state_dir, key, "jsonl")
}

/// Where the output of an attempt is that writes its file itself. While it runs, the file may have a hole, too.
#[must_use]
pub fn raw_output_path(state_dir: &Path, key: &AttemptKey) -> PathBuf {
    named(state_dir, key, "out")
}

fn named(state_dir: &Path, key: &AttemptKey, extension: &str) -> PathBuf {
    let AttemptKey { task, run, attempt } = key;
    state_dir.join(format!("output/{task}/{run}.{attempt}.{extension}"))
}

/// What the output of an attempt is written to.
fn plain_paths(state_dir: &Path, key: &AttemptKey) -> [PathBuf; 2] {
    [output_path(state_dir, key), raw_output_path(state_dir, key)]
}

/// All that the output of an attempt may be in. What is not compressed comes first: it is whole while the other may be there
/// already.
fn all_paths(state_dir: &Path, key: &AttemptKey) -> [PathBuf; 4] {
    let [lines, raw] = plain_paths(state_dir, key);
    let (pressed, pressed_raw) = (press::compressed(&lines), press::compressed(&raw));
    [lines, raw, pressed, pressed_raw]
}

/// The file that holds the output of an attempt, and what the system knows of it; nothing if there is none.
#[must_use]
pub fn find_output(state_dir: &Path, key: &AttemptKey) -> Option<(PathBuf, Metadata)> {
    all_paths(state_dir, key)
        .into_iter()
        .find_map(|path| fs::metadata(&path).ok().map(|found| (path, found)))
}

/// Removes the output of an attempt, if it has any, and what a runner left that was killed while it put it together.
///
/// # Errors
/// When it is there and cannot be removed.
pub fn remove_output(state_dir: &Path, key: &AttemptKey) -> io::Result<()> {
    let paths = all_paths(state_dir, key);
    for path in paths.iter().map(|path| keep::temporary(path)).chain(paths.clone()) {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    if let Some(directory) = paths[0].parent() {
        // It stays as long as it holds the output of another attempt.
        let _ = fs::remove_dir(directory);
    }
    Ok(())
}

/// Where the output of attempts goes.
#[derive(Clone, Debug)]
pub(crate) struct Outputs {
    state_dir: PathBuf,
    earlier: Earlier,
}

impl Outputs {
    pub(crate) fn in_dir(state_dir: PathBuf) -> Self {
        let earlier = Earlier::default();
        Outputs { state_dir, earlier }
    }

    /// Another daemon may have another state directory, put in the place of the one before.
    pub(crate) fn look_again(&self) {
        self.earlier.look_again();
    }

    /// What an attempt writes as lines, of which at most `max` bytes are kept.
    pub(crate) fn lines(&self, key: &AttemptKey, max: u64) -> Output {
        Output::new(output_path(&self.state_dir, key), max, self.earlier.clone())
    }

    /// The file that an attempt writes itself, of which at most `max` bytes are kept. With its path where there is none.
    pub(crate) fn raw(&self, key: &AttemptKey, max: u64, now: Instant) -> Result<Raw, (io::Error, PathBuf)> {
        let path = raw_output_path(&self.state_dir, key);
        Raw::create(path.clone(), max, &self.earlier, now).map_err(|error| (error, path))
    }
}

/// An output that was put together.
#[derive(Debug)]
pub(crate) struct Sealed {
    /// Bytes of it that are not kept, besides those that were counted before.
    pub(crate) lost: u64,
    /// Bytes that its file takes on disk; nothing where the system does not tell.
    pub(crate) kept: Option<u64>,
}

/// Bytes that a file takes on disk: less than it is long where it has holes. Some file systems take more in advance and give
/// that back when it is closed; it does not count.
#[must_use]
pub fn on_disk(found: &Metadata) -> u64 {
    /// What `st_blocks` counts, whatever the blocks of the file system are; see stat(2).
    const BLOCK: u64 = 512;

    let whole_blocks = found.len().checked_next_multiple_of(found.blksize().max(1));
    found
        .blocks()
        .saturating_mul(BLOCK)
        .min(whole_blocks.unwrap_or(u64::MAX))
}

/// One of the two streams of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// The output of one attempt.
#[derive(Debug)]
pub(crate) struct Output {
    keeper: Keeper,
    mask: Option<Masker>,
    stdout: Splitter,
    stderr: Splitter,
    bytes: u64,
    /// The beginning of a line is to be [flushed](Self::flush).
    waits: bool,
    /// JSON bytes per byte of the command, last time.
    growth: usize,
}

impl Output {
    /// Output at `path` of which at most `max` bytes are kept.
    fn new(path: PathBuf, max: u64, earlier: Earlier) -> Self {
        Output {
            keeper: Keeper::new(path, max, earlier),
            mask: None,
            stdout: Splitter::default(),
            stderr: Splitter::default(),
            bytes: 0,
            waits: false,
            growth: 1,
        }
    }

    /// Hides from here on what these match.
    pub(crate) fn hide(&mut self, masks: Arc<Masks>) {
        self.mask = Some(Masker::new(masks));
    }

    /// Takes in what was read from a stream. `batch` is memory to work in, the same for all outputs. Says whether the
    /// beginning of a line is held back that is to be [flushed](Self::flush) after a while, unless that was said before.
    pub(crate) fn feed(&mut self, stream: Stream, bytes: &[u8], batch: &mut Vec<u8>) -> bool {
        let bytes = match &mut self.mask {
            Some(mask) => {
                mask.feed(stream, bytes);
                mask.out.as_slice()
            }
            None => bytes,
        };
        self.bytes += bytes.len() as u64;
        let time = lines::stamp(clock::wall());
        let splitter = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let before = self.keeper.begin(batch, &time);
        splitter.feed(bytes, &mut self.keeper, |keeper, record| {
            keeper.put(batch, stream, record, &time);
        });
        self.keeper.commit(before, batch);
        self.growth = batch.len() / bytes.len().max(1);
        if let Some(mask) = &mut self.mask {
            mask.written();
        }
        let waits = !self.stdout.is_empty() || !self.stderr.is_empty();
        waits && !std::mem::replace(&mut self.waits, waits)
    }

    /// Writes the beginnings of lines that were held back, for those who follow: a prompt, or the dots of a progress.
    pub(crate) fn flush(&mut self, batch: &mut Vec<u8>) {
        self.waits = false;
        let time = lines::stamp(clock::wall());
        let before = self.keeper.begin(batch, &time);
        for (splitter, stream) in [(&mut self.stdout, Stream::Stdout), (&mut self.stderr, Stream::Stderr)] {
            splitter.flush(&mut self.keeper, |keeper, record| {
                keeper.put(batch, stream, record, &time);
            });
        }
        self.keeper.commit(before, batch);
    }

    /// How much should be read at once of what could be `most`: less of what takes much work, such as empty lines.
    pub(crate) fn appetite(&self, most: usize) -> usize {
        let most = self.mask.as_ref().map_or(most, |mask| mask.appetite().min(most));
        most / (self.growth / 4).max(1)
    }

    /// Takes in the ends of both streams. Says whether [`seal`](Self::seal) has anything to do.
    pub(crate) fn end(&mut self, batch: &mut Vec<u8>) -> bool {
        let masked = self.mask.as_ref().is_some_and(Masker::holds);
        let pending = masked || !self.stdout.is_empty() || !self.stderr.is_empty();
        if pending || self.keeper.has_unmarked_loss() {
            let time = lines::stamp(clock::wall());
            let before = self.keeper.begin(batch, &time);
            for (splitter, stream) in [(&mut self.stdout, Stream::Stdout), (&mut self.stderr, Stream::Stderr)] {
                let mut put = |keeper: &mut Keeper, record: &[u8]| keeper.put(batch, stream, record, &time);
                if let Some(mask) = &mut self.mask {
                    mask.end(stream);
                    self.bytes += mask.out.len() as u64;
                    splitter.feed(&mask.out, &mut self.keeper, &mut put);
                }
                splitter.end(&mut self.keeper, &mut put);
            }
            self.keeper.commit(before, batch);
        }
        self.keeper.has_gap()
    }

    /// Puts head, gap and tail together. Copies up to the cap, so it is no work for the loop.
    pub(crate) fn seal(mut self) -> Sealed {
        self.keeper.seal(&lines::stamp(clock::wall()));
        let kept = self.kept();
        Sealed { lost: 0, kept }
    }

    /// Bytes that the command wrote, as they are after what is masked was replaced.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of it that are not kept.
    pub(crate) fn lost(&self) -> u64 {
        self.keeper.lost()
    }

    /// Bytes that its file takes on disk; nothing where the system does not tell.
    pub(crate) fn kept(&self) -> Option<u64> {
        self.keeper.on_disk()
    }
}

#[cfg(test)]
mod tests;
