//! The socket: made with its final mode, and taken away in the end if it is still this daemon's.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use taskd_runner::{NameWatch, listen_at, named};
use taskd_wire::runner::FileId;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

/// How long it takes until a socket that could not be made anew is tried again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// A socket that this process listens at. Dropping it takes it away.
///
/// A file beside it is locked as long, and stays: it alone decides between two daemons that begin, or end and begin, at
/// one time. Looking whether somebody answers and then removing a socket would remove that of another.
pub(crate) struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// What was made.
    made: FileId,
    _lock: File,
}

impl Socket {
    /// Makes the socket, which only its owner may use. One left behind is replaced.
    ///
    /// # Errors
    /// What the system says, or that another daemon answers there.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        let lock = lock(path)?;
        let (listener, made) = listen(path)?;
        Ok(Socket {
            listener,
            path: path.to_owned(),
            made,
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

    /// Makes it anew as often as somebody takes its name away, as those do who clean up directories, and hands over what listens
    /// then. Never ends.
    pub(crate) async fn keep(&mut self, anew: &mpsc::Sender<tokio::net::UnixListener>) -> Infallible {
        let watch = match Self::watch() {
            Ok(watch) => watch,
            Err(error) => {
                tracing::warn!(error = %error, "it will not be noticed when the socket is taken away");
                return std::future::pending().await;
            }
        };
        loop {
            if !self.is_there() {
                match self.bind_again() {
                    Ok(listener) => {
                        tracing::warn!(socket = %self.path.display(), "the socket was taken away, and is made anew");
                        // Nobody takes it while the daemon ends.
                        let _ = anew.send(listener).await;
                    }
                    Err(error) => {
                        tracing::error!(error = %error, socket = %self.path.display(), "the socket was taken away");
                    }
                }
            }
            // Where there is none it is looked for again.
            let _ = watch.get_ref().add(&self.path);
            let told = watch.readable();
            let ready = if self.is_there() {
                told.await
            } else {
                match tokio::time::timeout(LOOK_AGAIN, told).await {
                    Ok(ready) => ready,
                    Err(_) => continue,
                }
            };
            let Ok(mut ready) = ready else {
                return std::future::pending().await;
            };
            watch.get_ref().take();
            ready.clear_ready();
        }
    }

    fn watch() -> io::Result<AsyncFd<NameWatch>> {
        #[expect(
            deprecated,
            reason = "an owned descriptor that nobody replaces; the successor is an unsafe function"
        )]
        AsyncFd::new(NameWatch::new()?)
    }

    fn is_there(&self) -> bool {
        named(&self.path).is_ok_and(|found| found == self.made)
    }

    fn bind_again(&mut self) -> io::Result<tokio::net::UnixListener> {
        (self.listener, self.made) = listen(&self.path)?;
        self.listener()
    }
}

/// Listens at a socket of this name, in place of one that was left behind.
fn listen(path: &Path) -> io::Result<(UnixListener, FileId)> {
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
    let listener = listen_at(path)?;
    Ok((listener, named(path)?))
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Still open, so that nobody takes it for one left behind.
        if self.is_there() {
            // The next daemon replaces what cannot be removed.
            let _ = std::fs::remove_file(&self.path);
        }
    }
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
    use std::os::unix::fs::MetadataExt as _;

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

    #[tokio::test]
    async fn one_that_is_taken_away_is_made_anew() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("taskd.sock");
        let mut socket = Socket::bind(&path).expect("nobody answers");
        let (anew, mut listeners) = mpsc::channel::<tokio::net::UnixListener>(1);
        let take_away_twice = async {
            for _ in 0..2 {
                std::fs::remove_file(&path).expect("it is there");
                let listener = listeners.recv().await.expect("it is kept");
                let (_client, accepted) = tokio::join!(tokio::net::UnixStream::connect(&path), listener.accept());
                accepted.expect("somebody has come");
            }
        };
        tokio::select! {
            never = socket.keep(&anew) => match never {},
            () = take_away_twice => {}
        }
        drop(socket);
        assert!(!path.exists());
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
