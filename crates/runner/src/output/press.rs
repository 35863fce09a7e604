//! Compression of output that is complete. It is the daemon that asks for it, when it knows that a run is over.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{SeekFrom, seek};
use taskd_wire::runner::AttemptKey;

use super::{keep, plain_paths};

/// How hard is tried: the default of the format, some hundred MiB a second.
const LEVEL: i32 = 3;

/// The beginning of a large file is tried first: what does not get smaller is not read to its end again by each life.
const TRIED: u64 = 256 * 1024;

/// What the name of a compressed file ends with, behind the name of what it holds.
const EXTENSION: &str = "zst";

/// Where a file is when it is compressed.
pub(super) fn compressed(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(".");
    name.push(EXTENSION);
    PathBuf::from(name)
}

/// Compresses the output of an attempt that is over, if it has more than `threshold` bytes and gets smaller by it. Says
/// whether it did. One with a hole could not be put together when it was complete, and one that is written to meanwhile is
/// not complete: they stay as they are.
///
/// The new file is whole before it gets its name, and only then the old one goes; so whenever this ends there is a whole one,
/// and who reads the old one can read it to its end. If the old one is removed meanwhile, so is the new one.
///
/// # Errors
/// When it cannot be read or written. Then it is as it was.
pub fn compress_output(state_dir: &Path, key: &AttemptKey, threshold: u64) -> io::Result<bool> {
    for path in plain_paths(state_dir, key) {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if file.metadata()?.len() > threshold {
            return compress(file, &path);
        }
    }
    Ok(false)
}

fn compress(old: File, path: &Path) -> io::Result<bool> {
    let found = old.metadata()?;
    if has_hole(&old, found.len()) || !gets_smaller(&old)? {
        return Ok(false);
    }
    let place = compressed(path);
    let temporary = keep::temporary(&place);
    let write = || -> io::Result<u64> {
        // Not the directories above: where they are gone, so is what was to be compressed.
        let mut encoder = zstd::Encoder::new(keep::create_here(&temporary)?, LEVEL)?;
        encoder.include_checksum(true)?;
        io::copy(&mut (&old).take(found.len()), &mut encoder)?;
        let mut new = encoder.finish()?;
        new.flush()?;
        new.set_modified(found.modified()?)?;
        new.sync_data()?;
        Ok(new.metadata()?.len())
    };
    let size = write().inspect_err(|_| keep::discard(&temporary))?;
    if size >= found.len() || !keep::is_unchanged(&old, &found)? {
        keep::discard(&temporary);
        return Ok(false);
    }
    fs::rename(&temporary, &place).inspect_err(|_| keep::discard(&temporary))?;
    if let Some(directory) = path.parent() {
        // The new name is there before the old one goes, whatever happens to the machine.
        File::open(directory)?.sync_all()?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // It was pruned meanwhile.
            keep::discard(&place);
            Ok(false)
        }
        result => result.map(|()| true),
    }
}

fn has_hole(file: &File, size: u64) -> bool {
    // A system that knows of no holes has none.
    seek(file, SeekFrom::Hole(0)).is_ok_and(|hole| hole < size)
}

/// Whether the beginning of a file gets smaller. It is read from its beginning afterwards.
fn gets_smaller(mut file: &File) -> io::Result<bool> {
    file.rewind()?;
    let mut begin = Vec::new();
    file.take(TRIED).read_to_end(&mut begin)?;
    file.rewind()?;
    Ok(zstd::bulk::compress(&begin, LEVEL)?.len() < begin.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{find_output, output_path, raw_output_path, remove_output};

    const KEY: AttemptKey = AttemptKey {
        task: 7,
        run: 1,
        attempt: 1,
    };

    fn with(path: fn(&Path, &AttemptKey) -> PathBuf, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("room");
        let path = path(dir.path(), &KEY);
        fs::create_dir_all(path.parent().expect("a directory")).expect("room");
        fs::write(&path, bytes).expect("room");
        (dir, path)
    }

    #[test]
    fn what_is_over_the_threshold_is_put_in_a_smaller_file_and_found_there() {
        let text = "the same line\n".repeat(10_000);
        for place in [output_path, raw_output_path] {
            let (dir, path) = with(place, text.as_bytes());
            let written = fs::metadata(&path).and_then(|found| found.modified()).expect("a time");
            assert!(!compress_output(dir.path(), &KEY, text.len() as u64).expect("room"));
            assert_eq!(find_output(dir.path(), &KEY).expect("it is there").0, path);
            let mut reader = File::open(&path).expect("it is there");
            assert!(compress_output(dir.path(), &KEY, text.len() as u64 - 1).expect("room"));
            let (found, meta) = find_output(dir.path(), &KEY).expect("it is there");
            assert_eq!(found, compressed(&path));
            assert!(!path.exists() && meta.len() < 1_000);
            assert_eq!(meta.modified().expect("a time"), written);
            let read = zstd::decode_all(File::open(&found).expect("it is there")).expect("it is whole");
            assert_eq!(read, text.as_bytes());
            // Who reads it already reads it whole.
            assert_eq!(io::read_to_string(&mut reader).expect("it is open"), text);
            assert!(!compress_output(dir.path(), &KEY, 0).expect("nothing is to be done"));
            remove_output(dir.path(), &KEY).expect("it is there");
            assert!(!path.parent().expect("a directory").exists());
        }
    }

    #[test]
    fn what_a_crash_left_is_done_again_or_removed() {
        let text = "the same line\n".repeat(10_000);
        let (dir, path) = with(output_path, text.as_bytes());
        fs::write(compressed(&path), b"whole").expect("room");
        fs::write(keep::temporary(&compressed(&path)), b"torn").expect("room");
        // The old one is whole for certain.
        assert_eq!(find_output(dir.path(), &KEY).expect("it is there").0, path);
        assert!(compress_output(dir.path(), &KEY, 0).expect("room"));
        let files = fs::read_dir(path.parent().expect("a directory")).expect("it is there");
        assert_eq!(files.count(), 1);
        fs::write(keep::temporary(&compressed(&path)), b"torn").expect("room");
        remove_output(dir.path(), &KEY).expect("it is there");
        assert!(!path.parent().expect("a directory").exists());
    }

    #[test]
    fn what_gets_no_smaller_stays_as_it_is() {
        let noise: Vec<u8> = (0..10_000_u32)
            .flat_map(|n| {
                (n ^ 0x5bd1_e995)
                    .wrapping_mul(0x9e37_79b9)
                    .rotate_left(n % 31)
                    .to_le_bytes()
            })
            .collect();
        let noise = zstd::encode_all(noise.as_slice(), LEVEL).expect("room");
        let (dir, path) = with(output_path, &noise);
        assert!(!compress_output(dir.path(), &KEY, 0).expect("room"));
        assert_eq!(fs::read(&path).expect("it is there"), noise);
        let files = fs::read_dir(path.parent().expect("a directory")).expect("it is there");
        assert_eq!(files.count(), 1);
    }

    #[test]
    fn a_file_with_a_hole_stays_as_it_is() {
        use std::os::unix::fs::FileExt as _;
        let (dir, path) = with(raw_output_path, &[b'h'; 8192]);
        let file = File::options().write(true).open(&path).expect("it is there");
        file.write_all_at(&[b't'; 8192], 1 << 32).expect("room");
        assert!(!compress_output(dir.path(), &KEY, 0).expect("nothing is to be done"));
        assert_eq!(fs::metadata(&path).expect("it is there").len(), (1 << 32) + 8192);
    }

    #[test]
    fn what_is_written_to_meanwhile_stays() {
        let (dir, path) = with(raw_output_path, &b"line\n".repeat(100_000));
        let mut writer = File::options().append(true).open(&path).expect("it is there");
        let old = File::open(&path).expect("it is there");
        let found = old.metadata().expect("it is open");
        writer.write_all(b"more\n").expect("room");
        assert!(!keep::is_unchanged(&old, &found).expect("it is open"));
        // A process that got away writes on and on.
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    writer.write_all(b"more\n").expect("room");
                }
            });
            let pressed = compress_output(dir.path(), &KEY, 0);
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(!pressed.expect("room"));
        });
        assert!(path.exists());
    }
}
