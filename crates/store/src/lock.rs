//! One daemon for each state directory: a lock on the directory, held while the store is open. It is on the directory
//! itself, since a file in it can be removed and made anew, and then be locked a second time. The file `lock` tells
//! people who has it; it is locked too, for file systems that lock no directory.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use crate::error::OpenError;

/// The lock, released when dropped, also by the death of the process.
#[derive(Debug)]
pub(crate) struct Lock {
    held: [File; 2],
}

impl Drop for Lock {
    fn drop(&mut self) {
        for file in &self.held {
            // A child between fork and exec shares the file, so closing it here need not release the lock. If this
            // fails, the closing does what it can.
            let _ = flock(file, FlockOperation::Unlock);
        }
    }
}

/// How often the lock is tried for, and how long between two tries.
const ATTEMPTS: u32 = 25;
const PAUSE: Duration = Duration::from_millis(20);

fn lock_soon(file: &File) -> rustix::io::Result<()> {
    for _ in 1..ATTEMPTS {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => std::thread::sleep(PAUSE),
            tried => return tried,
        }
    }
    flock(file, FlockOperation::NonBlockingLockExclusive)
}

impl Lock {
    /// Takes the lock of a directory. One that was killed may still be ending; it is not waited for any longer than that takes.
    pub(crate) fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join("lock");
        let failed = |path: &Path, doing| {
            let path = path.to_owned();
            move |source| OpenError::Io { path, doing, source }
        };
        let locked = File::open(dir).map_err(failed(dir, "open"))?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            // What a link leads to is not ours to write to.
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)
            .map_err(failed(&path, "open"))?;
        for (held, path) in [(&locked, dir), (&file, &path)] {
            match lock_soon(held) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    let mut text = String::new();
                    // Whoever has the lock may not have written its number yet; the refusal stands without it.
                    let pid = (&file)
                        .read_to_string(&mut text)
                        .ok()
                        .and_then(|_| text.trim().parse().ok());
                    return Err(OpenError::Locked {
                        dir: dir.to_owned(),
                        pid,
                    });
                }
                // NFS takes locks of files that are open for writing alone, as no directory is.
                Err(Errno::BADF) if path == dir => {}
                Err(error) => return Err(failed(path, "lock")(error.into())),
            }
        }
        // The number is a help for people; on a full disk the lock holds without it.
        let _ = file
            .set_len(0)
            .and_then(|()| (&file).rewind())
            .and_then(|()| writeln!(&file, "{}", std::process::id()));
        Ok(Lock { held: [locked, file] })
    }
}
