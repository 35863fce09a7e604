//! The connection to the runner: finds one, starts one where that is ours to do, and speaks the protocol with it.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal};
use taskd_wire::codec::{self, Rec};
use taskd_wire::frame::{FrameReader, Payload, put_message, read_payload};
use taskd_wire::hello::{Hello, HelloReader, agree};
use taskd_wire::runner::{FromRunner, RunnerInfo, ToRunner};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::{UnixDatagram, UnixStream};

use crate::config::Cgroups;

/// How long a runner may take to answer, or to be ready after it was started.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes read from the runner at once.
const READ: usize = 64 * 1024;

/// Bytes sent of what is on its way, from which on their room is used again before all has left.
const SENT_MAX: usize = 1 << 20;

/// Most bytes waiting for a runner that does not read; a thousand starts with large environments fit.
const OUT_MAX: usize = 256 << 20;

/// Why there is no runner.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// Nobody answers at the socket.
    #[error("no runner answers at {path}: {source}")]
    Absent {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The runner could not be started.
    #[error("the runner could not be started: {0}")]
    Start(io::Error),
    /// It was started and did not become ready.
    #[error("the runner was started and did not become ready within {} s", PATIENCE.as_secs())]
    NotReady,
    /// It was started and ended at once.
    #[error("the runner was started and ended ({0}) before it was ready")]
    Ended(ExitStatus),
    /// Who answers there is another user, and would be told what tasks keep to themselves.
    #[error("the runner at {path} belongs to user {uid}")]
    Stranger {
        /// The socket.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// It works for somebody else.
    #[error("the runner at {path} works in another state directory")]
    Elsewhere {
        /// The socket.
        path: PathBuf,
    },
    /// It answered with something else than the protocol.
    #[error("the runner at {path} does not speak this protocol: {problem}")]
    Protocol {
        /// The socket.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The connection broke.
    #[error("the connection to the runner broke: {0}")]
    Io(#[from] io::Error),
}

/// Where the runner is and whether it is ours to start.
#[derive(Clone, Debug)]
pub(crate) struct Whereabouts {
    /// Its socket.
    pub(crate) socket: PathBuf,
    /// The state directory it writes output below.
    pub(crate) state_dir: PathBuf,
    /// Whether to start one when none answers.
    pub(crate) start: bool,
    /// Whether the one that is started gives its runs control groups.
    pub(crate) cgroups: Cgroups,
}

/// An attached runner, its inventory taken.
pub(super) struct Link {
    /// The socket it was found at.
    path: PathBuf,
    stream: UnixStream,
    frames: FrameReader,
    buffer: Box<[u8]>,
    out: Vec<u8>,
    sent: usize,
}

/// What a runner says when it is attached.
pub(super) struct Attached {
    pub(super) link: Link,
    pub(super) info: RunnerInfo,
    pub(super) live: Vec<taskd_wire::runner::Live>,
    pub(super) ended: Vec<taskd_wire::runner::Ended>,
}

/// Attaches to the runner, starting one if none answers and that is ours to do. One that is about to end is waited for,
/// since what it is told to start would not be started. The child is the guard that was started, if one was.
pub(super) async fn attach(place: &Whereabouts) -> Result<(Attached, Option<Started>), LinkError> {
    let mut is_told = false;
    loop {
        let (stream, started) = match UnixStream::connect(&place.socket).await {
            Ok(stream) => (stream, None),
            Err(source) if !place.start => return Err(absent(place, source)),
            Err(_) => {
                let started = start(place).await?;
                let stream = UnixStream::connect(&place.socket).await;
                (stream.map_err(|source| absent(place, source))?, Some(started))
            }
        };
        let mut attached = introduce(stream, place).await?;
        if !attached.info.closing.0 {
            return Ok((attached, started));
        }
        if !std::mem::replace(&mut is_told, true) {
            tracing::info!("waiting for a runner that is about to end");
        }
        attached.link.ended().await;
    }
}

fn absent(place: &Whereabouts, source: io::Error) -> LinkError {
    LinkError::Absent {
        path: place.socket.clone(),
        source,
    }
}

/// The guard of a runner that was just started. Unless it is kept, the runner ends: nobody would know that it is there.
pub(super) struct Started(Option<Child>);

impl Started {
    /// Keeps it running.
    pub(super) fn keep(mut self) -> Child {
        self.0.take().expect("it is taken only here and when dropped")
    }

    /// Waits until it has ended.
    async fn ended(&mut self) -> io::Result<ExitStatus> {
        let guard = self.0.as_mut().expect("it is taken only when kept and when dropped");
        let handle = rustix::process::pidfd_open(Pid::from_child(guard), PidfdFlags::empty())?;
        #[expect(
            deprecated,
            reason = "an owned descriptor that nobody replaces; the successor is an unsafe function"
        )]
        let handle = AsyncFd::with_interest(handle, Interest::READABLE)?;
        // It is readable once, when the process has ended.
        let _ended = handle.readable().await?;
        guard.wait()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let Some(mut guard) = self.0.take() else { return };
        // Not reaped, so the id is its own.
        if matches!(guard.try_wait(), Ok(None)) {
            let _ = rustix::process::kill_process(Pid::from_child(&guard), Signal::TERM);
            reap(guard);
        }
    }
}

/// Takes the exit status of a process when it ends, on a thread of its own, so that no zombie stays.
pub(super) fn reap(mut process: Child) {
    let reaper = std::thread::Builder::new().name("reaper".into());
    if let Err(error) = reaper.spawn(move || process.wait()) {
        tracing::warn!(error = %error, "no thread could be made to reap the runner");
    }
}

/// Starts a runner and waits until it says that it serves.
async fn start(place: &Whereabouts) -> Result<Started, LinkError> {
    // Beside the runner's socket and with a name no longer than usual there, so that it is not too long for a socket.
    let notify_path = place.socket.with_file_name(format!("r.{}", std::process::id()));
    // Left behind by a daemon of the same process id that was killed in the middle of this.
    let _ = std::fs::remove_file(&notify_path);
    let ready = UnixDatagram::bind(&notify_path).map_err(LinkError::Start)?;
    let spawned = Command::new("/proc/self/exe")
        .arg0("taskd")
        .arg("runner")
        .arg("--state-dir")
        .arg(&place.state_dir)
        .arg("--socket")
        .arg(&place.socket)
        .args(match place.cgroups {
            Cgroups::Auto => None,
            Cgroups::Off => Some("--no-cgroups"),
        })
        .env("NOTIFY_SOCKET", &notify_path)
        .env_remove("WATCHDOG_USEC")
        .env_remove("WATCHDOG_PID")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        // Its own group, so that a Ctrl-C meant for the daemon does not reach it.
        .process_group(0)
        .spawn();
    let outcome = match spawned {
        Ok(child) => wait_ready(&ready, Started(Some(child))).await,
        Err(error) => Err(LinkError::Start(error)),
    };
    // Only a name; nobody else uses it.
    let _ = std::fs::remove_file(&notify_path);
    outcome
}

async fn wait_ready(ready: &UnixDatagram, mut started: Started) -> Result<Started, LinkError> {
    let said = tokio::time::timeout(PATIENCE, async {
        tokio::select! {
            // First, for one that is ready and ends at once was ready.
            biased;
            result = said_ready(ready) => result.map(|()| None),
            status = started.ended() => status.map(Some),
        }
    });
    match said.await {
        Ok(Ok(None)) => Ok(started),
        Ok(Ok(Some(status))) => Err(LinkError::Ended(status)),
        Ok(Err(error)) => Err(LinkError::Io(error)),
        Err(_) => Err(LinkError::NotReady),
    }
}

async fn said_ready(ready: &UnixDatagram) -> io::Result<()> {
    let mut message = [0_u8; 512];
    loop {
        let length = ready.recv(&mut message).await?;
        if message[..length]
            .split(|byte| *byte == b'\n')
            .any(|line| line == b"READY=1")
        {
            return Ok(());
        }
    }
}

async fn introduce(stream: UnixStream, place: &Whereabouts) -> Result<Attached, LinkError> {
    tokio::time::timeout(PATIENCE, take_inventory(stream, place))
        .await
        .map_err(|_| LinkError::Protocol {
            path: place.socket.clone(),
            problem: format!("no inventory within {} s", PATIENCE.as_secs()),
        })?
}

async fn take_inventory(mut stream: UnixStream, place: &Whereabouts) -> Result<Attached, LinkError> {
    let protocol = |problem: String| LinkError::Protocol {
        path: place.socket.clone(),
        problem,
    };
    let uid = stream.peer_cred()?.uid();
    if uid != 0 && uid != rustix::process::geteuid().as_raw() {
        let path = place.socket.clone();
        return Err(LinkError::Stranger { path, uid });
    }
    let ours = Hello::ours();
    stream.write_all(&ours.encode()).await?;
    let mut hellos = HelloReader::new();
    let mut buffer = vec![0_u8; READ].into_boxed_slice();
    let theirs = loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Err(protocol("it hung up before its hello".to_owned()));
        }
        hellos.push(&buffer[..length]);
        if let Some(hello) = hellos.next().map_err(|error| protocol(error.to_string()))? {
            break hello;
        }
    };
    agree(&ours, &theirs).map_err(|mismatch| protocol(mismatch.to_string()))?;
    let mut frames = FrameReader::new();
    frames.push(&hellos.into_rest());
    let mut out = Vec::new();
    put_message(&mut out, &ToRunner::Attach).map_err(|error| protocol(error.to_string()))?;
    stream.write_all(&out).await?;
    let (mut live, mut ended) = (Vec::new(), Vec::new());
    loop {
        while let Some(payload) = frames.next().map_err(|error| protocol(error.to_string()))? {
            match message(&payload).map_err(protocol)? {
                FromRunner::Inventory {
                    live: more_live,
                    ended: more_ended,
                } => {
                    live.extend(more_live.into_iter().map(|Rec(live)| live));
                    ended.extend(more_ended.into_iter().map(|Rec(ended)| ended));
                }
                FromRunner::InventoryEnd(Rec(info)) => {
                    if is_elsewhere(&info, place) {
                        let path = place.socket.clone();
                        return Err(LinkError::Elsewhere { path });
                    }
                    let link = Link {
                        path: place.socket.clone(),
                        stream,
                        frames,
                        buffer,
                        out: Vec::new(),
                        sent: 0,
                    };
                    return Ok(Attached {
                        link,
                        info,
                        live,
                        ended,
                    });
                }
                FromRunner::Started { .. } | FromRunner::Ended(_) | FromRunner::Used { .. } => {
                    return Err(protocol("it told of runs before its inventory".to_owned()));
                }
            }
        }
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Err(protocol("it hung up before its inventory was whole".to_owned()));
        }
        frames.push(&buffer[..length]);
    }
}

/// Whether the runner works in another state directory than ours: it would write where nobody looks, and its runs are not
/// ours to know. Directories are told apart by their numbers, since their names may differ where each has a view of its
/// own of the file systems. A runner of an earlier version does not say.
fn is_elsewhere(info: &RunnerInfo, place: &Whereabouts) -> bool {
    let Some(theirs) = info.state_dir.0 else { return false };
    std::fs::metadata(&place.state_dir).is_ok_and(|ours| (ours.dev(), ours.ino()) != (theirs.device, theirs.inode))
}

fn message(payload: &[u8]) -> Result<FromRunner, String> {
    match read_payload(payload).map_err(|error| error.to_string())? {
        Payload::Message(bytes) => codec::decode(bytes).map_err(|error| error.to_string()),
        Payload::Basic(_) => Err("it sent a message of protocol 0".to_owned()),
    }
}

impl Link {
    fn protocol(&self, problem: String) -> LinkError {
        LinkError::Protocol {
            path: self.path.clone(),
            problem,
        }
    }

    /// Puts a message on its way. It leaves with the next [`Link::flush`].
    pub(super) fn send(&mut self, message: &ToRunner) -> Result<(), LinkError> {
        put_message(&mut self.out, message).map_err(|error| self.protocol(error.to_string()))?;
        if self.out.len() - self.sent > OUT_MAX {
            return Err(LinkError::Io(io::Error::other("it does not read what it is sent")));
        }
        Ok(())
    }

    /// Bytes on their way that have not left.
    pub(super) fn waiting(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Writes as much as the socket takes now.
    pub(super) fn flush(&mut self) -> Result<(), LinkError> {
        while self.sent < self.out.len() {
            match self.stream.try_write(&self.out[self.sent..]) {
                Ok(length) => self.sent += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        if self.sent == self.out.len() {
            self.out.clear();
            self.out.shrink_to(SENT_MAX);
            self.sent = 0;
        } else if self.sent >= SENT_MAX {
            self.out.drain(..self.sent);
            self.sent = 0;
        }
        Ok(())
    }

    /// Waits until the runner has said something, or takes more of what waits for it, and gives what it has said.
    pub(super) async fn progress(&mut self) -> Result<Vec<FromRunner>, LinkError> {
        // What came right behind the inventory is here already, and the socket may have nothing more for long.
        let said = self.said()?;
        if !said.is_empty() {
            return Ok(said);
        }
        let interest = if self.out.is_empty() {
            Interest::READABLE
        } else {
            Interest::READABLE | Interest::WRITABLE
        };
        self.stream.ready(interest).await?;
        self.flush()?;
        match self.read()? {
            Some(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Some(_) | None => self.said(),
        }
    }

    /// What the runner had still said when the connection broke: it may be its last word on the end of a run.
    pub(super) fn last_words(mut self) -> Vec<FromRunner> {
        // `progress` reads only after it has written, so all of it may be unread. A second error adds nothing.
        while let Ok(Some(1..)) = self.read() {}
        self.said().unwrap_or_default()
    }

    /// Waits until the runner is gone. What it says meanwhile it keeps for who attaches next.
    async fn ended(&mut self) {
        while let Ok(1..) = self.stream.read(&mut self.buffer).await {}
    }

    /// Reads what is there now. Gives back how much that is, nothing if there is none.
    fn read(&mut self) -> io::Result<Option<usize>> {
        match self.stream.try_read(&mut self.buffer) {
            Ok(length) => {
                self.frames.push(&self.buffer[..length]);
                Ok(Some(length))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The messages that are whole.
    fn said(&mut self) -> Result<Vec<FromRunner>, LinkError> {
        let mut said = Vec::new();
        while let Some(payload) = self.frames.next().map_err(|error| self.protocol(error.to_string()))? {
            said.push(message(&payload).map_err(|problem| self.protocol(problem))?);
        }
        Ok(said)
    }
}
