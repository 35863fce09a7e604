//! The connection to a runner, and the protocol that is spoken there.

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream as Socket;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use taskd_wire::codec::{self, Rec};
use taskd_wire::frame::{FrameReader, Payload, put_message, read_payload};
use taskd_wire::hello::{Hello, HelloReader, agree};
use taskd_wire::runner::{FromRunner, RunnerInfo, ToRunner};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;

/// How long a runner may take to answer, or to be ready after it was started.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

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
    /// The service manager did not start it.
    #[error("systemd did not start {unit}: {problem}")]
    Unit {
        /// The unit.
        unit: String,
        /// What it says.
        problem: String,
    },
    /// It was started and could not begin.
    #[error("the runner could not begin: {0}")]
    Refused(String),
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

/// An attached runner, its inventory taken.
pub(super) struct Link {
    /// The socket it was found at.
    path: PathBuf,
    /// Watched for what it says alone: else each message that it takes would wake the engine.
    stream: AsyncFd<Socket>,
    /// The same socket, watched for room, while it has none.
    room: Option<AsyncFd<Socket>>,
    /// The last read may have left something.
    more: bool,
    frames: FrameReader,
    buffer: Box<[u8]>,
    out: Vec<u8>,
    sent: usize,
}

/// A descriptor that is watched for one thing.
fn watched<T: AsRawFd>(fd: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    #[expect(
        deprecated,
        reason = "an owned descriptor that nobody replaces; the successor is an unsafe function"
    )]
    AsyncFd::with_interest(fd, interest)
}

/// A runner, and what it says when it is met.
pub(super) struct Met {
    pub(super) link: Link,
    pub(super) info: RunnerInfo,
    pub(super) live: Vec<taskd_wire::runner::Live>,
    pub(super) ended: Vec<taskd_wire::runner::Ended>,
    /// What lives before it had begun, of which nobody knows the end.
    pub(super) begun: Vec<taskd_wire::runner::Origin>,
}

impl Met {
    /// Whether it has nothing under way and nothing to tell.
    pub(super) fn is_idle(&self) -> bool {
        self.live.is_empty() && self.ended.is_empty()
    }
}

/// Makes the acquaintance of who answers at a socket, and takes the inventory.
pub(super) async fn introduce(stream: UnixStream, socket: &Path, state_dir: &Path) -> Result<Met, LinkError> {
    tokio::time::timeout(PATIENCE, take_inventory(stream, socket, state_dir))
        .await
        .map_err(|_| LinkError::Protocol {
            path: socket.to_owned(),
            problem: format!("no inventory within {} s", PATIENCE.as_secs()),
        })?
}

async fn take_inventory(mut stream: UnixStream, socket: &Path, state_dir: &Path) -> Result<Met, LinkError> {
    let protocol = |problem: String| LinkError::Protocol {
        path: socket.to_owned(),
        problem,
    };
    let uid = stream.peer_cred()?.uid();
    if uid != 0 && uid != rustix::process::geteuid().as_raw() {
        let path = socket.to_owned();
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
    let (mut live, mut ended, mut begun) = (Vec::new(), Vec::new(), Vec::new());
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
                FromRunner::Begun(more) => begun.extend(more.into_iter().map(|Rec(origin)| origin)),
                FromRunner::InventoryEnd(Rec(info)) => {
                    if is_elsewhere(&info, state_dir) {
                        let path = socket.to_owned();
                        return Err(LinkError::Elsewhere { path });
                    }
                    let link = Link {
                        path: socket.to_owned(),
                        stream: watched(stream.into_std()?, Interest::READABLE)?,
                        room: None,
                        more: true,
                        frames,
                        buffer,
                        out: Vec::new(),
                        sent: 0,
                    };
                    return Ok(Met {
                        link,
                        info,
                        live,
                        ended,
                        begun,
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
fn is_elsewhere(info: &RunnerInfo, state_dir: &Path) -> bool {
    let Some(theirs) = info.state_dir.0 else { return false };
    std::fs::metadata(state_dir).is_ok_and(|ours| (ours.dev(), ours.ino()) != (theirs.device, theirs.inode))
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
            match self.stream.get_ref().write(&self.out[self.sent..]) {
                Ok(length) => self.sent += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
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
        self.ready().await?;
        self.flush()?;
        match self.read()? {
            Some(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Some(_) | None => self.said(),
        }
    }

    /// Waits until there may be something to read, or room where there was none.
    async fn ready(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            self.room = None;
            return self.readable().await;
        }
        if self.more {
            tokio::task::consume_budget().await;
            return Ok(());
        }
        let room = match &mut self.room {
            Some(room) => room,
            none => none.insert(watched(self.stream.get_ref().try_clone()?, Interest::WRITABLE)?),
        };
        tokio::select! {
            readable = self.stream.readable() => readable?.clear_ready(),
            // It is told again if what is written then does not fit.
            writable = room.writable() => writable?.clear_ready(),
        }
        Ok(())
    }

    /// Waits until there may be something to read. It is told once of all that came.
    async fn readable(&mut self) -> io::Result<()> {
        if self.more {
            // Others have their turn although this one never waits.
            tokio::task::consume_budget().await;
        } else {
            self.stream.readable().await?.clear_ready();
        }
        Ok(())
    }

    /// What the runner had still said when the connection broke: it may be its last word on the end of a run.
    pub(super) fn last_words(mut self) -> Vec<FromRunner> {
        // `progress` reads only after it has written, so all of it may be unread. A second error adds nothing.
        while let Ok(Some(1..)) = self.read() {}
        self.said().unwrap_or_default()
    }

    /// Waits until the runner is gone. What it says meanwhile it keeps for who attaches next.
    pub(super) async fn ended(&mut self) {
        while self.readable().await.is_ok() {
            let Ok(None | Some(1..)) = self.receive() else {
                return;
            };
        }
    }

    /// Reads what is there now. Gives back how much that is, nothing if there is none.
    fn read(&mut self) -> io::Result<Option<usize>> {
        let received = self.receive()?;
        if let Some(length) = received {
            self.frames.push(&self.buffer[..length]);
        }
        Ok(received)
    }

    fn receive(&mut self) -> io::Result<Option<usize>> {
        let received = match self.stream.get_ref().read(&mut self.buffer) {
            Ok(length) => Some(length),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => return Err(error),
        };
        // A stream that gives less than was asked for has no more, and tells when it has.
        self.more = received == Some(self.buffer.len());
        Ok(received)
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
