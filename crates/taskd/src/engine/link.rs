//! The connection to the runner: finds one, starts one where that is ours to do, and speaks the protocol with it.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use taskd_wire::codec::{self, Rec};
use taskd_wire::frame::{FrameReader, Payload, put_message, read_payload};
use taskd_wire::hello::{Hello, HelloReader, agree};
use taskd_wire::runner::{FromRunner, RunnerInfo, ToRunner};
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::io::Interest;
use tokio::net::{UnixDatagram, UnixStream};

use crate::clock;

/// How long a runner may take to answer, or to be ready after it was started.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes read from the runner at once.
const READ: usize = 64 * 1024;

/// Bytes sent of what is on its way, from which on their room is used again before all has left.
const SENT_MAX: usize = 1 << 20;

/// How often it is looked whether a runner that was started has ended instead of being ready.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

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
}

/// An attached runner, its inventory taken.
pub(super) struct Link {
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

/// Attaches to the runner, starting one if none answers and that is ours to do. The child is the guard that was
/// started, if one was.
pub(super) async fn attach(place: &Whereabouts) -> Result<(Attached, Option<Started>), LinkError> {
    match UnixStream::connect(&place.socket).await {
        Ok(stream) => Ok((introduce(stream, place).await?, None)),
        Err(source) if !place.start => Err(LinkError::Absent {
            path: place.socket.clone(),
            source,
        }),
        Err(_) => {
            let started = start(place).await?;
            let stream = UnixStream::connect(&place.socket)
                .await
                .map_err(|source| LinkError::Absent {
                    path: place.socket.clone(),
                    source,
                })?;
            Ok((introduce(stream, place).await?, Some(started)))
        }
    }
}

/// The guard of a runner that was just started. Unless it is kept, the runner ends: nobody would know that it is there.
pub(super) struct Started(Option<Child>);

impl Started {
    /// Keeps it running.
    pub(super) fn keep(mut self) -> Child {
        self.0.take().expect("it is taken only here and when dropped")
    }

    /// How it ended, if it has.
    fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.as_mut().map_or(Ok(None), Child::try_wait)
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
    let mut message = [0_u8; 512];
    let until = clock::monotonic() + PATIENCE;
    loop {
        if let Ok(length) = tokio::time::timeout(LOOK_AGAIN, ready.recv(&mut message)).await {
            let mut lines = message[..length?].split(|byte| *byte == b'\n');
            if lines.any(|line| line == b"READY=1") {
                return Ok(started);
            }
        } else if let Some(status) = started.ended()? {
            return Err(LinkError::Ended(status));
        } else if clock::monotonic() >= until {
            return Err(LinkError::NotReady);
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
                    let link = Link {
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
                FromRunner::Started { .. } | FromRunner::Ended(_) => {
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

fn message(payload: &[u8]) -> Result<FromRunner, String> {
    match read_payload(payload).map_err(|error| error.to_string())? {
        Payload::Message(bytes) => codec::decode(bytes).map_err(|error| error.to_string()),
        Payload::Basic(_) => Err("it sent a message of protocol 0".to_owned()),
    }
}

impl Link {
    /// Puts a message on its way. It leaves with the next [`Link::flush`].
    pub(super) fn send(&mut self, message: &ToRunner) -> Result<(), LinkError> {
        put_message(&mut self.out, message).map_err(|error| LinkError::Protocol {
            path: PathBuf::new(),
            problem: error.to_string(),
        })?;
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
        let interest = if self.out.is_empty() {
            Interest::READABLE
        } else {
            Interest::READABLE | Interest::WRITABLE
        };
        self.stream.ready(interest).await?;
        self.flush()?;
        match self.stream.try_read(&mut self.buffer) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(length) => self.frames.push(&self.buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        let mut said = Vec::new();
        let protocol = |problem: String| LinkError::Protocol {
            path: PathBuf::new(),
            problem,
        };
        while let Some(payload) = self.frames.next().map_err(|error| protocol(error.to_string()))? {
            said.push(message(&payload).map_err(protocol)?);
        }
        Ok(said)
    }
}
