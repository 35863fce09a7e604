//! The server: the Unix socket, who may use it, and how many at once. One task a connection; requests of a connection
//! are answered in order.

mod admission;
mod connection;
mod meant;
mod names;
mod socket;
mod verbs;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use taskd_core::Timestamp;
use taskd_core::task::Owner;
use taskd_wire::hello::Hello;
use tokio::net::UnixListener;
use tokio::sync::{Mutex, mpsc, watch};

use self::admission::Admission;
pub(crate) use self::socket::Socket;
use crate::accept::Schedules;
use crate::clock;
use crate::config::Limits;
use crate::engine::Engine;
use crate::log::LogHandle;
use crate::program::Program;
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
    pub(crate) local_zone: std::sync::Mutex<Arc<str>>,
    pub(crate) owner: Owner,
    pub(crate) limits: watch::Receiver<Limits>,
    pub(crate) log: Arc<LogHandle>,
    pub(crate) state_dir: PathBuf,
    pub(crate) started_at: Timestamp,
    /// What this daemon is, and becomes when it begins anew.
    pub(crate) program: Arc<Program>,
    /// Held while the program that is installed now is tried, which ends before this process becomes another.
    pub(crate) trying: Mutex<()>,
    /// Held from reading a definition until its change is durable, so that no edit is built on an outdated one.
    pub(crate) editing: Mutex<()>,
    /// Bytes of the definitions that imports under way have taken in.
    pub(crate) importing: Arc<AtomicU64>,
    /// Held by the import whose definitions are on their way to the engine: of two with common names, the first holds.
    pub(crate) staging: Arc<Mutex<()>>,
    /// Held while fire times are counted.
    pub(crate) counting: Arc<Mutex<()>>,
}

/// How long to wait before another connection is accepted when none could be.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Failures to accept a connection that are no further apart than this are said once.
const SPELL: Duration = Duration::from_secs(60);

/// Ends when no connection is open any more.
pub(crate) struct Drained(mpsc::Receiver<()>);

impl Drained {
    /// Waits for that.
    pub(crate) async fn wait(mut self) {
        // Nobody sends; what is awaited is that the last sender is gone.
        let _ = self.0.recv().await;
    }
}

/// Serves at the listener, and at each that comes in its place, until `stop` changes. Then connections end with the request
/// they are at.
pub(crate) async fn serve(
    mut listener: UnixListener,
    mut anew: mpsc::Receiver<UnixListener>,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) -> Drained {
    let admission = Admission::default();
    let hello = Arc::new(Hello::ours().encode());
    let (open, drained) = mpsc::channel(1);
    let mut failed = None;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.changed() => return Drained(drained),
            // Who had come by the old name goes first.
            accepted = listener.accept() => accepted,
            Some(other) = anew.recv() => {
                listener = other;
                continue;
            }
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: the next connection that ends makes room.
                let now = clock::monotonic();
                if failed.is_none_or(|last| now - last > SPELL) {
                    tracing::warn!(error = %error, "connections cannot be accepted");
                }
                failed = Some(now);
                tokio::time::sleep(ACCEPT_AGAIN).await;
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
        let (shared, hello, open) = (Arc::clone(&shared), Arc::clone(&hello), open.clone());
        match admission.enter(uid, limit) {
            admission::Entry::Admitted(place) => {
                let stop = stop.clone();
                tokio::spawn(async move {
                    connection::serve(stream, uid, &hello, &shared, stop).await;
                    drop((place, open));
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
