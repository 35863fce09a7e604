//! The tz database on disk: tells when it has changed, so that nobody has to.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, WatchFlags};
use tokio::io::unix::AsyncFd;

/// Where it is looked for after `$TZDIR`, as the library that reads it does.
const PLACES: [&str; 3] = ["/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo"];

/// How deep its directories are watched, and how many of them.
const DEPTH: u32 = 3;
const DIRECTORIES: usize = 200;

/// An upgrade replaces hundreds of files: it is over when none has changed for so long.
const QUIET: Duration = Duration::from_secs(1);

/// A watch on the tz database.
pub(crate) struct Zoneinfo {
    root: Option<PathBuf>,
    changes: Option<AsyncFd<OwnedFd>>,
    /// It has changed, and that was not told yet.
    changed: bool,
}

impl Zoneinfo {
    /// Begins to watch. Where that cannot be done, changes are told by nothing but a reload.
    pub(crate) fn watched() -> Self {
        let named = std::env::var_os("TZDIR").map(PathBuf::from);
        let places = named.into_iter().chain(PLACES.iter().map(PathBuf::from));
        let root = places.into_iter().find(|place| place.is_dir());
        let changes = match root.as_deref().map(begin) {
            Some(Err(error)) => {
                tracing::warn!(%error, "the tz database cannot be watched; a reload reads it anew");
                None
            }
            Some(Ok(changes)) => Some(changes),
            None => None,
        };
        Zoneinfo {
            root,
            changes,
            changed: false,
        }
    }

    /// Waits until it has changed and has come to rest. Nothing is lost when this is given up.
    pub(crate) async fn changed(&mut self) {
        let (Some(root), Some(changes)) = (&self.root, &self.changes) else {
            return std::future::pending().await;
        };
        while !self.changed {
            self.changed = told(changes).await;
        }
        while tokio::time::timeout(QUIET, told(changes)).await.is_ok() {}
        // Directories may have come.
        watch(changes.get_ref(), root, DEPTH, &mut 0);
        self.changed = false;
    }
}

fn begin(root: &Path) -> io::Result<AsyncFd<OwnedFd>> {
    let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    watch(&fd, root, DEPTH, &mut 0);
    #[expect(
        deprecated,
        reason = "an owned descriptor that nobody replaces; the successor is an unsafe function"
    )]
    AsyncFd::new(fd)
}

/// Watches a directory and those in it. One that cannot be watched is left out: others of an upgrade tell of it.
fn watch(fd: &OwnedFd, dir: &Path, depth: u32, watched: &mut usize) {
    let flags = WatchFlags::CLOSE_WRITE | WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVED_TO;
    let flags = flags | WatchFlags::MOVED_FROM | WatchFlags::ONLYDIR;
    if *watched >= DIRECTORIES || inotify::add_watch(fd, dir, flags).is_err() {
        return;
    }
    *watched += 1;
    if depth == 0 {
        return;
    }
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        // A link leads to what is watched by its own name, or round in circles.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            watch(fd, &entry.path(), depth - 1, watched);
        }
    }
}

/// Waits until something is told, and takes all that was. Whether there was anything.
async fn told(changes: &AsyncFd<OwnedFd>) -> bool {
    let Ok(mut ready) = changes.readable().await else {
        return std::future::pending().await;
    };
    let mut any = false;
    let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
    let mut reader = inotify::Reader::new(changes.get_ref(), &mut buffer);
    while reader.next().is_ok() {
        any = true;
    }
    ready.clear_ready();
    any
}
