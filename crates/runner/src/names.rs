//! The names of files that a process is found by, and how it is noticed that somebody takes one away.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::Mode;
use rustix::fs::inotify::{self, WatchFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use taskd_wire::runner::FileId;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Listens at a socket of this name, which only this user may use from its first moment. It does not block.
///
/// # Errors
/// What the system says: `EADDRINUSE` where there is something of this name.
pub fn listen_at(path: &Path) -> io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // The file gets what is allowed here, less the mask: unix(7) does not say so, and Linux does it since 2.6.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}

/// What tells a file of this name from all others, not of one that it links to.
///
/// # Errors
/// What the system says.
pub fn named(path: &Path) -> io::Result<FileId> {
    let found = fs::symlink_metadata(path)?;
    Ok(FileId {
        device: found.dev(),
        inode: found.ino(),
    })
}

/// Tells when something happens to the names of files. The descriptor is readable then.
#[derive(Debug)]
pub struct NameWatch(OwnedFd);

impl NameWatch {
    /// One that watches nothing yet.
    ///
    /// # Errors
    /// What the system says: a user may have so many of them (inotify(7)).
    pub fn new() -> io::Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        Ok(NameWatch(inotify::init(flags)?))
    }

    /// Watches the file that has this name now.
    ///
    /// # Errors
    /// What the system says.
    pub fn add(&self, path: &Path) -> io::Result<()> {
        // The last name of a file that is open goes with a change of its attributes.
        let flags = WatchFlags::ATTRIB | WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF | WatchFlags::DONT_FOLLOW;
        inotify::add_watch(&self.0, path, flags)?;
        Ok(())
    }

    /// Takes all that was told.
    pub fn take(&self) {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 1024];
        let mut reader = inotify::Reader::new(&self.0, &mut buffer);
        while reader.next().is_ok() {}
    }
}

impl AsFd for NameWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for NameWatch {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_has_its_final_mode_whatever_the_mask_says() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let _listener = listen_at(&path).expect("a socket");
        let mode = fs::metadata(&path).expect("it is there").mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = listen_at(&path).err().map(|error| error.kind());
        assert_eq!(again, Some(io::ErrorKind::AddrInUse));
    }

    #[test]
    fn a_name_that_goes_is_told_of() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, other) = (dir.path().join("s"), dir.path().join("t"));
        let is_told = |watch: &NameWatch| {
            let mut fds = [rustix::event::PollFd::new(watch, rustix::event::PollFlags::IN)];
            let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
            let ready = rustix::event::poll(&mut fds, Some(&now)).expect("it can be asked");
            watch.take();
            ready > 0
        };
        let _listener = listen_at(&path).expect("a socket");
        let watch = NameWatch::new().expect("there may be another");
        watch.add(&path).expect("it is there");
        assert!(!is_told(&watch));
        fs::rename(&path, &other).expect("it is renamed");
        assert!(is_told(&watch));
        fs::remove_file(&other).expect("it is there");
        assert!(is_told(&watch));
    }
}
