//! Compression of output that is complete. It is the daemon that asks for it, when it knows that a run is over.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use taskd_wire::runner::AttemptKey;

use super::{keep, plain_paths};

/// How hard is tried: the default of the format, some hundred MiB a second.
const LEVEL: i32 = 3;

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
/// whether it did.
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
    let place = compressed(path);
    let temporary = keep::temporary(&place);
    let write = || -> io::Result<u64> {
        // Not the directories above: where they are gone, so is what was to be compressed.
        let mut encoder = zstd::Encoder::new(keep::create_here(&temporary)?, LEVEL)?;
        encoder.include_checksum(true)?;
        io::copy(&mut &old, &mut encoder)?;
        let mut new = encoder.finish()?;
        new.flush()?;
        new.set_modified(found.modified()?)?;
        new.sync_data()?;
        Ok(new.metadata()?.len())
    };
    let size = write().inspect_err(|_| discard(&temporary))?;
    if size >= found.len() {
        discard(&temporary);
        return Ok(false);
    }
    fs::rename(&temporary, &place).inspect_err(|_| discard(&temporary))?;
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // It was pruned meanwhile.
            discard(&place);
            Ok(false)
        }
        result => result.map(|()| true),
    }
}

/// It only takes room.
fn discard(path: &Path) {
    let _ = fs::remove_file(path);
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
}
