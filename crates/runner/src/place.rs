//! The state directory, the lock on it, what it is known by, and the socket.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use taskd_wire::runner::FileId;

use crate::notify::complain;
use crate::{Options, RunnerError, Slot};

/// Where a runner works. While this lives no other runner works in the same slot.
#[derive(Debug)]
pub(crate) struct Place {
    /// Absolute and free of links.
    pub(crate) state_dir: PathBuf,
    /// Drawn when the slot of the directory was first used, so that no other has the same, whatever it is called where
    /// another runner lives.
    pub(crate) state: u64,
    pub(crate) slot: Slot,
    socket: PathBuf,
    _lock: File,
}

impl Place {
    /// Makes the directories if need be and locks the state directory.
    pub(crate) fn take(options: &Options) -> Result<Self, RunnerError> {
        let state_dir = directory(&options.state_dir)?;
        let folder = match options.socket.parent() {
            Some(folder) if folder != Path::new("") => directory(folder)?,
            Some(_) | None => directory(Path::new("."))?,
        };
        let name = options.socket.file_name().ok_or_else(|| RunnerError::Socket {
            path: options.socket.clone(),
            source: io::ErrorKind::InvalidFilename.into(),
        })?;
        let slot = options.slot;
        let lock = lock(&state_dir, slot)?;
        Ok(Place {
            state: state_id(&slot.file(&state_dir, "id"))?,
            slot,
            _lock: lock,
            socket: folder.join(name),
            state_dir,
        })
    }

    /// By which daemons know whether this is their state directory.
    pub(crate) fn directory_id(&self) -> io::Result<FileId> {
        file_id(&self.state_dir)
    }

    /// The slots that nobody works in any more, though somebody has: what was left there is this runner's to see to.
    /// Nobody else takes one of them while this lives.
    pub(crate) fn abandoned(&self) -> Vec<Abandoned> {
        let others = Slot::all().filter(|slot| *slot != self.slot);
        others
            .filter_map(|slot| Abandoned::take(&self.state_dir, slot))
            .collect()
    }

    /// Opens the socket, readable and writable by this user alone from its first moment. A socket that is there already
    /// is taken away if nobody listens at it: the lock says nothing of a runner of another state directory.
    pub(crate) fn listen(&self) -> Result<(UnixListener, SocketFile), RunnerError> {
        let failed = |source| RunnerError::Socket {
            path: self.socket.clone(),
            source,
        };
        match fs::symlink_metadata(&self.socket) {
            Ok(found) if found.file_type().is_socket() && is_dead(&self.socket) => {
                fs::remove_file(&self.socket).map_err(failed)?;
            }
            // Bind says that the name is taken, or creates it.
            Ok(_) | Err(_) => {}
        }
        let mask = rustix::process::umask(Mode::RWXG | Mode::RWXO | Mode::XUSR);
        let listener = UnixListener::bind(&self.socket);
        rustix::process::umask(mask);
        let listener = listener.map_err(failed)?;
        let file = SocketFile(self.socket.clone());
        listener.set_nonblocking(true).map_err(failed)?;
        Ok((listener, file))
    }
}

/// What tells a file from every other on this machine.
pub(crate) fn file_id(path: &Path) -> io::Result<FileId> {
    let found = fs::metadata(path)?;
    Ok(FileId {
        device: found.dev(),
        inode: found.ino(),
    })
}

/// A slot that nobody works in, held so that nobody does.
#[derive(Debug)]
pub(crate) struct Abandoned {
    pub(crate) slot: Slot,
    /// As [`Place::state`].
    pub(crate) state: u64,
    _lock: File,
}

impl Abandoned {
    fn take(state_dir: &Path, slot: Slot) -> Option<Self> {
        let lock = OpenOptions::new().write(true).open(slot.file(state_dir, "lock")).ok()?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;
        Some(Abandoned {
            slot,
            state: kept_id(&slot.file(state_dir, "id"))?,
            _lock: lock,
        })
    }
}

/// Whether a connection to a socket is refused. Only then was its listener closed.
fn is_dead(socket: &Path) -> bool {
    let connect = || {
        // Whoever listens may be too busy to take anybody in.
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let stream = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::connect(&stream, &SocketAddrUnix::new(socket)?)
    };
    connect() == Err(Errno::CONNREFUSED)
}

/// The name of a socket that was opened. It goes with this, which must not outlive the [`Place`].
#[derive(Debug)]
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Only a courtesy to whoever would knock: the next runner replaces it.
        let _ = fs::remove_file(&self.0);
    }
}

fn directory(path: &Path) -> Result<PathBuf, RunnerError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .and_then(|()| path.canonicalize())
        .map_err(|source| RunnerError::Directory {
            path: path.to_owned(),
            source,
        })
}

/// The number kept in `runner.id`. With it goes that of the file itself, so that a copy of the directory is another one.
fn kept_id(path: &Path) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let inode = fs::metadata(path).ok()?.ino();
    Some(u64::from_str_radix(text.trim_end(), 16).ok()? ^ inode)
}

/// That number, drawn if there is none.
fn state_id(path: &Path) -> Result<u64, RunnerError> {
    if let Some(id) = kept_id(path) {
        return Ok(id);
    }
    let drawn = random()?;
    let write = || {
        let temporary = path.with_extension("tmp");
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        options
            .open(&temporary)?
            .write_all(format!("{drawn:016x}\n").as_bytes())?;
        fs::rename(&temporary, path)
    };
    if let Err(error) = write() {
        complain(format_args!(
            "cannot keep {}, so the next runner will not know what this one leaves behind: {error}",
            path.display()
        ));
        return Ok(drawn);
    }
    Ok(kept_id(path).unwrap_or(drawn))
}

/// A number that nobody has drawn before.
pub(crate) fn random() -> Result<u64, RunnerError> {
    let mut bytes = [0_u8; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| RunnerError::system("draw a number", errno))?;
    Ok(u64::from_ne_bytes(bytes))
}

fn lock(state_dir: &Path, slot: Slot) -> Result<File, RunnerError> {
    /// A runner that was just killed holds its lock until the kernel has taken it apart.
    const ATTEMPTS: u32 = 50;
    const PAUSE: Duration = Duration::from_millis(20);

    let path = slot.file(state_dir, "lock");
    let failed = |source: io::Error| RunnerError::Directory {
        path: path.clone(),
        source,
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    for _ in 0..ATTEMPTS {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK) => thread::sleep(PAUSE),
            Err(error) => return Err(failed(error.into())),
        }
    }
    Err(RunnerError::Locked {
        path: state_dir.to_owned(),
    })
}
