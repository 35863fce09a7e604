//! The server: the Unix socket, who may use it, and how many at once. One task a connection; requests of a connection
//! are answered in order.

mod admission;
mod connection;
mod meant;
mod names;
mod verbs;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use taskd_core::Timestamp;

use std::os::unix::net::UnixListener as StdListener;
use taskd_core::task::Owner;
use taskd_wire::hello::Hello;
use tokio::net::UnixListener;
use tokio::sync::{Mutex, watch};

use self::admission::Admission;
use crate::accept::Schedules;
use crate::config::Limits;
use crate::engine::Engine;
use crate::log::LogHandle;
use crate::readers::Readers;

/// Most entries in one page of an answer.
pub(crate) const PAGE_MAX: u32 = 1000;

/// About how many bytes of definitions one page may have: with the rest of an answer it stays below a frame.
pub(crate) const PAGE_BYTES: usize = 512 << 10;

/// What every connection works with.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) readers: Readers,
    pub(crate) schedules: std::sync::Mutex<Schedules>,
    /// The zone of schedules that name none.
    pub(crate) local_zone: String,
    pub(crate) owner: Owner,
    pub(crate) limits: watch::Receiver<Limits>,
    pub(crate) log: Arc<LogHandle>,
    pub(crate) state_dir: PathBuf,
    pub(crate) started_at: Timestamp,
    /// Held from reading a definition until its change is durable, so that no edit is built on an outdated one.
    pub(crate) editing: Mutex<()>,
    /// Bytes of the definitions that imports under way have taken in.
    pub(crate) importing: Arc<AtomicU64>,
}

/// Makes the socket with its final mode. A socket file left behind is replaced: the caller holds the lock of the state
/// directory, so nobody serves there.
///
/// # Errors
/// What the system says.
pub(crate) fn bind(path: &Path) -> io::Result<StdListener> {
    match std::fs::symlink_metadata(path) {
        Ok(found) => {
            use std::os::unix::fs::FileTypeExt as _;
            if !found.file_type().is_socket() {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "something that is no socket stands in its place",
                ));
            }
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io::Error::new(io::ErrorKind::AddrInUse, "another daemon answers there"));
            }
            std::fs::remove_file(path)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // The mask holds for the whole process; nothing else makes files while the daemon starts.
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let listener = StdListener::bind(path);
    rustix::process::umask(before);
    let listener = listener?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves until `stop` changes.
pub(crate) async fn serve(listener: UnixListener, shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let admission = Admission::default();
    let hello = Arc::new(Hello::ours().encode());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: the next connection that ends makes room.
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let uid = match stream.peer_cred() {
            Ok(peer) => peer.uid(),
            Err(error) => {
                tracing::warn!(error = %error, "a peer without credentials was turned away");
                continue;
            }
        };
        let limit = shared.limits.borrow().connections;
        let (shared, hello) = (Arc::clone(&shared), Arc::clone(&hello));
        match admission.enter(uid, limit) {
            admission::Entry::Admitted(place) => {
                tokio::spawn(async move {
                    connection::serve(stream, uid, &hello, &shared).await;
                    drop(place);
                });
            }
            admission::Entry::Full(place) => {
                tracing::warn!(uid, limit, "a connection over the limit was refused");
                tokio::spawn(async move {
                    connection::refuse_full(stream, &hello, limit).await;
                    drop(place);
                });
            }
            admission::Entry::Flooded => drop(stream),
        }
    }
}
