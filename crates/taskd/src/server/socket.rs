//! The socket: made with its final mode, and taken away in the end if it is still this daemon's.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// A socket that this process listens at. Dropping it takes it away.
///
/// A file beside it is locked as long, and stays: it alone decides between two daemons that begin, or end and begin, at
/// one time. Looking whether somebody answers and then removing a socket would remove that of another.
pub(crate) struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of what was made.
    made: (u64, u64),
    _lock: File,
}

impl Socket {
    /// Makes the socket, which only its owner may use. One left behind is replaced.
    ///
    /// # Errors
    /// What the system says, or that another daemon answers there.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        let lock = lock(path)?;
        match std::fs::symlink_metadata(path) {
            Ok(found) => {
                if !found.file_type().is_socket() {
                    return Err(io::Error::new(
                        io::ErrorKind::AlreadyExists,
                        "something that is no socket stands in its place",
                    ));
                }
                // It need not be a daemon that knows of the lock.
                if UnixStream::connect(path).is_ok() {
                    return Err(another());
                }
                std::fs::remove_file(path)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        // The mask holds for the whole process; nothing else makes files while the daemon starts.
        let before = rustix::process::umask(Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(path);
        rustix::process::umask(before);
        let listener = listener?;
        listener.set_nonblocking(true)?;
        Ok(Socket {
            listener,
            path: path.to_owned(),
            made: identity(path)?,
            _lock: lock,
        })
    }

    /// To accept connections by, in the runtime of the caller.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn listener(&self) -> io::Result<tokio::net::UnixListener> {
        tokio::net::UnixListener::from_std(self.listener.try_clone()?)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Still open, so that nobody takes it for one left behind.
        if identity(&self.path).is_ok_and(|found| found == self.made) {
            // The next daemon replaces what cannot be removed.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = std::fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

fn lock(path: &Path) -> io::Result<File> {
    let mut name = OsString::from(path);
    name.push(".lock");
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(Path::new(&name), flags, Mode::from_raw_mode(0o600))?);
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(another()),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

fn another() -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, "another daemon answers there")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("taskd.sock");
        drop(UnixListener::bind(&path).expect("a socket"));
        let socket = Socket::bind(&path).expect("nobody answers");
        let mode = std::fs::metadata(&path).expect("it is there").mode();
        assert_eq!(mode & 0o777, 0o600);
        let refused = Socket::bind(&path).err().map(|error| error.kind());
        assert_eq!(refused, Some(io::ErrorKind::AddrInUse));
        drop(socket);
        assert!(!path.exists());
        assert!(Socket::bind(&path).is_ok(), "the lock was left behind");
    }

    #[test]
    fn a_daemon_that_begins_to_listen_is_not_overtaken() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("taskd.sock");
        let _socket = Socket::bind(&path).expect("nobody answers");
        // As it is for one that has taken away what was left behind and not bound yet.
        std::fs::remove_file(&path).expect("it is there");
        let refused = Socket::bind(&path).err().map(|error| error.kind());
        assert_eq!(refused, Some(io::ErrorKind::AddrInUse));
    }

    #[test]
    fn the_socket_of_another_is_not_taken_away() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("taskd.sock");
        let socket = Socket::bind(&path).expect("nobody answers");
        std::fs::remove_file(&path).expect("it is there");
        let _other = UnixListener::bind(&path).expect("a socket");
        drop(socket);
        assert!(path.exists());
    }
}
