//! The state directory, the lock on it, what it is known by, and the socket.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use taskd_wire::runner::FileId;

use crate::names::{NameWatch, listen_at, named};
use crate::notify::complain;
use crate::procs;
use crate::{Options, RunnerError, Slot};

/// Where a runner works. While this lives no other runner works in the same slot.
#[derive(Debug)]
pub(crate) struct Place {
    /// Absolute and free of links.
    pub(crate) state_dir: PathBuf,
    /// By which daemons know whether this is their state directory.
    pub(crate) directory: FileId,
    /// Drawn when the slot of the directory was first used, so that no other has the same, whatever it is called where
    /// another runner lives.
    pub(crate) state: u64,
    pub(crate) slot: Slot,
    socket: PathBuf,
    lock: File,
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
        let lock = lock(&state_dir, slot, PATIENCE)?;
        let directory = file_id(&state_dir).map_err(|source| RunnerError::Directory {
            path: state_dir.clone(),
            source,
        })?;
        Ok(Place {
            directory,
            state: state_id(&slot.file(&state_dir, "id"))?,
            slot,
            lock,
            socket: folder.join(name),
            state_dir,
        })
    }

    /// The slots that nobody works in any more, though somebody has: what was left there is this runner's to see to.
    /// Nobody else takes one of them while this lives.
    pub(crate) fn abandoned(&self) -> Vec<Abandoned> {
        let others = Slot::all().filter(|slot| *slot != self.slot);
        others
            .filter_map(|slot| Abandoned::take(&self.state_dir, slot))
            .collect()
    }

    /// Locks the state directory anew, where somebody has taken away the name of the lock.
    fn lock_again(&mut self) -> Result<(), RunnerError> {
        let path = self.slot.file(&self.state_dir, "lock");
        if !is_named(&path, &self.lock) {
            self.lock = lock(&self.state_dir, self.slot, Duration::ZERO)?;
            complain(format_args!("{} was taken away, and is made anew", path.display()));
        }
        Ok(())
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
        let listener = listen_at(&self.socket).map_err(failed)?;
        let file = SocketFile {
            made: named(&self.socket).map_err(failed)?,
            path: self.socket.clone(),
        };
        Ok((listener, file))
    }
}

/// A place that is known by its names, its lock and its socket. Where somebody takes one away, as those do who clean up
/// directories, it is made anew: else another runner would begin to work beside this one, and no daemon would find it.
#[derive(Debug)]
pub(crate) struct Standing {
    place: Place,
    socket: SocketFile,
    /// `None` where the system has no room for one.
    watch: Option<NameWatch>,
    /// What was taken away and could not be made anew, if that was said.
    is_lacking: bool,
}

impl Standing {
    /// Of a place that listens at this socket.
    pub(crate) fn new(place: Place, socket: SocketFile) -> Self {
        let watch = NameWatch::new().inspect_err(|error| {
            complain(format_args!(
                "it will not be noticed when files of the runner are taken away: {error}"
            ));
        });
        let mut standing = Standing {
            place,
            socket,
            watch: watch.ok(),
            is_lacking: false,
        };
        standing.watch_names();
        standing
    }

    /// Readable when something has happened to a name.
    pub(crate) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(NameWatch::as_fd)
    }

    fn watch_names(&mut self) {
        let Some(watch) = &self.watch else { return };
        for path in [&self.place.slot.file(&self.place.state_dir, "lock"), &self.socket.path] {
            if watch.add(path).is_err() {
                // It is gone already.
                self.is_lacking = true;
            }
        }
    }

    /// Makes anew what was taken away. What listens from now on, where that is another.
    pub(crate) fn look(&mut self) -> Option<UnixListener> {
        if let Some(watch) = &self.watch {
            watch.take();
        }
        let looked = self.look_again();
        match &looked {
            Err(error) if !self.is_lacking => {
                complain(format_args!("what was taken away cannot be made anew: {error}"));
            }
            Ok(_) | Err(_) => {}
        }
        self.is_lacking = looked.is_err();
        self.watch_names();
        looked.unwrap_or_default()
    }

    /// Whether something was taken away that could not be made anew: it is to be looked again.
    pub(crate) fn is_lacking(&self) -> bool {
        self.is_lacking
    }

    fn look_again(&mut self) -> Result<Option<UnixListener>, RunnerError> {
        // Where the directory itself has gone, what is called so now is another's.
        if !file_id(&self.place.state_dir).is_ok_and(|found| found == self.place.directory) {
            return Ok(None);
        }
        self.place.lock_again()?;
        if self.socket.is_there() {
            return Ok(None);
        }
        let (listener, socket) = self.place.listen()?;
        complain(format_args!(
            "{} was taken away, and is made anew",
            socket.path.display()
        ));
        self.socket = socket;
        Ok(Some(listener))
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
        let mut left = PATIENCE;
        while let Err(error) = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            // Whom nobody knows has just let go of it, or lives in another PID namespace.
            let is_going = || holder(&lock).map_or(left == PATIENCE, procs::is_ending);
            if error != Errno::WOULDBLOCK || left.is_zero() || !is_going() {
                return None;
            }
            thread::sleep(PAUSE);
            left = left.saturating_sub(PAUSE);
        }
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
pub(crate) struct SocketFile {
    path: PathBuf,
    made: FileId,
}

impl SocketFile {
    fn is_there(&self) -> bool {
        named(&self.path).is_ok_and(|found| found == self.made)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_there() {
            // Only a courtesy to whoever would knock: the next runner replaces it.
            let _ = fs::remove_file(&self.path);
        }
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

/// A runner that was just killed holds its lock until the kernel has taken it apart.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two looks at such a lock.
const PAUSE: Duration = Duration::from_millis(20);

fn lock(state_dir: &Path, slot: Slot, patience: Duration) -> Result<File, RunnerError> {
    let path = slot.file(state_dir, "lock");
    let failed = |source: io::Error| RunnerError::Directory {
        path: path.clone(),
        source,
    };
    let mut left = patience;
    loop {
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(failed)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if is_named(&path, &file) => return Ok(file),
            // What was locked has lost its name meanwhile.
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) if left.is_zero() => {
                return Err(RunnerError::Locked {
                    path: state_dir.to_owned(),
                    holder: holder(&file),
                });
            }
            Err(Errno::WOULDBLOCK) => {
                thread::sleep(PAUSE);
                left = left.saturating_sub(PAUSE);
            }
            Err(error) => return Err(failed(error.into())),
        }
    }
}

/// Whether this is the name of that file.
fn is_named(path: &Path, file: &File) -> bool {
    let Ok(made) = file.metadata() else { return false };
    named(path).is_ok_and(|found| (found.device, found.inode) == (made.dev(), made.ino()))
}

/// The lock of this name, if nobody has it.
pub(crate) fn held(path: &Path) -> Option<File> {
    let lock = OpenOptions::new().write(true).open(path).ok()?;
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(lock)
}

/// The process that holds the lock of a file, if proc_locks(5) says so. Not where that is in another PID namespace.
fn holder(file: &File) -> Option<u32> {
    let inode = format!(":{}", file.metadata().ok()?.ino());
    let locks = BufReader::new(File::open("/proc/locks").ok()?);
    locks.lines().map_while(Result::ok).find_map(|line| {
        // `1: FLOCK ADVISORY WRITE 4711 fe:01:1234 0 EOF`. Its device is not always what stat(2) says.
        let mut words = line.split_ascii_whitespace().skip(1);
        let kind = words.next()?;
        let (pid, of) = (words.nth(2)?, words.next()?);
        (kind == "FLOCK" && of.ends_with(&inode)).then_some(pid)?.parse().ok()
    })
}
