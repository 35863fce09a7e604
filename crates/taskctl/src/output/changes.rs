//! Tells when files grow, come, or are replaced, by inotify.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify;

use crate::error::{Failure, Result};

/// Tells when one of a set of files or directories changes.
pub struct Changes {
    fd: OwnedFd,
    /// The system gives no more watches; the caller looks again from time to time.
    short: bool,
}

impl Changes {
    /// With nothing watched.
    pub fn new() -> Result<Self> {
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
            .map_err(|errno| Failure::system("watch files", &errno.into()))?;
        Ok(Changes { fd, short: false })
    }

    /// To be polled for reading.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether some change may go untold.
    pub fn is_short(&self) -> bool {
        self.short
    }

    /// Watches a file that grows, and may be replaced: its last name is taken away by a rename over it, which changes
    /// its attributes.
    pub fn watch_file(&mut self, path: &Path) {
        use inotify::WatchFlags as Flags;
        self.add(
            path,
            Flags::MODIFY | Flags::ATTRIB | Flags::MOVE_SELF | Flags::DELETE_SELF,
        );
    }

    /// Watches for a file to appear: in its directory, or in the nearest one above that is there.
    pub fn await_file(&mut self, path: &Path) {
        let flags = inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::ONLYDIR;
        let mut watched = None;
        loop {
            let dir = path.ancestors().skip(1).find(|dir| self.add(dir, flags));
            // A nearer one may have come before the watch on this one was set.
            if dir.is_none() || dir == path.parent() || dir == watched {
                return;
            }
            watched = dir;
        }
    }

    fn add(&mut self, path: &Path, flags: inotify::WatchFlags) -> bool {
        // The parent of a bare name has none.
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        match inotify::add_watch(&self.fd, path, flags) {
            Ok(_) => true,
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => false,
            Err(_) => {
                self.short = true;
                false
            }
        }
    }

    /// Takes all that was told; whether there was anything.
    pub fn clear(&self) -> bool {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.fd, &mut buffer);
        let mut any = false;
        while reader.next().is_ok() {
            any = true;
        }
        any
    }
}
