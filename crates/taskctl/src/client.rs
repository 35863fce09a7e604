//! One connection to the daemon: hello, frames, requests and their answers. Blocking, for a command line has nothing
//! else to do; a verb that watches polls [`Client::fd`] beside its own files.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use taskd_wire::basic::{Answer, Ask, Basic};
use taskd_wire::client::{Request, Response};
use taskd_wire::codec::{Rec, decode};
use taskd_wire::definition::TaskSpec;
use taskd_wire::frame::{FrameReader, Payload, put_basic, put_message, read_payload};
use taskd_wire::hello::{Hello, HelloReader, Mismatch, agree, capability};

use crate::clock;
use crate::error::{Exit, Failure, NO_RUNNER, said};
use crate::places::Places;

/// A connection.
pub struct Client {
    stream: UnixStream,
    frames: FrameReader,
    socket: PathBuf,
    theirs: Hello,
    agreed: Result<u16, Mismatch>,
    patience: Patience,
}

/// How long a daemon that says nothing is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// So long from each thing that it says.
    Silence(Duration),
    /// Until this instant, whatever it says.
    Until(Instant),
}

/// The silence after which a daemon is given up: it answers every request but the last of an import at once.
const SILENCE: Duration = Duration::from_secs(60);

/// The silence after which one is given up that has not even said its hello, which none has to think about.
const GREETING: Duration = Duration::from_secs(10);

/// How long a runner is waited for that is on its way, and between two questions whether it is there.
const RUNNER_WITHIN: Duration = Duration::from_secs(5);
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// How long a connection may take when the time is up: a socket without a limit waits for ever.
const AT_LEAST: Duration = Duration::from_millis(1);

/// What a call of the client gives.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Bytes read at once.
const CHUNK: usize = 64 << 10;

impl Client {
    /// Connects to the first daemon that answers. That it speaks no protocol of ours is found out later, by
    /// [`request`](Self::request): protocol 0 works all the same.
    pub fn connect(places: &Places) -> Result<Client> {
        Self::connect_with(places, Patience::default())
    }

    /// As [`connect`](Self::connect), with more or less patience, now and afterwards.
    pub fn connect_with(places: &Places, patience: Patience) -> Result<Client> {
        let sockets = places.sockets();
        let mut denied = None;
        for socket in &sockets {
            match reach(socket, patience) {
                Ok(stream) => return Self::greet(stream, socket, patience),
                Err(error) if is_absent(&error) => {}
                Err(error) if is_timeout(&error) => return Err(lost(socket, &error)),
                Err(error) => denied = denied.or(Some(Failure::file("connect to", socket, &error))),
            }
        }
        Err(denied.unwrap_or_else(|| nobody(&sockets)))
    }

    fn greet(mut stream: UnixStream, socket: &Path, patience: Patience) -> Result<Client> {
        let peer = rustix::net::sockopt::socket_peercred(&stream).ok();
        // Nothing was asked yet.
        let lost = |error: &io::Error| match error {
            _ if is_end(error) => turned_away(socket),
            _ => match peer
                .map(|peer| peer.pid)
                .filter(|pid| is_timeout(error) && is_stopped(*pid))
            {
                Some(pid) => {
                    lost(socket, error).hint(format!("a signal has stopped it: `kill -CONT {pid}` has it go on"))
                }
                None => lost(socket, error),
            },
        };
        let greeting = patience.at_most(GREETING);
        greeting.arm(&stream).map_err(|e| lost(&e))?;
        let ours = Hello::ours();
        // A daemon that has too many connections says its hello and closes; what it said is still to be read.
        if let Err(error) = stream.write_all(&ours.encode())
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            return Err(lost(&error));
        }
        let mut hellos = HelloReader::new();
        let mut chunk = [0; 1024];
        let theirs = loop {
            let hello = hellos.next().map_err(|error| {
                Failure::new(
                    Exit::Failed,
                    "protocol",
                    format!("what answers at {} is not taskd: {error}", socket.display()),
                )
            })?;
            if let Some(hello) = hello {
                break hello;
            }
            greeting.rearm(&stream).map_err(|e| lost(&e))?;
            match stream.read(&mut chunk) {
                Ok(0) => return Err(turned_away(socket)),
                Ok(n) => hellos.push(&chunk[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(lost(&error)),
            }
        };
        patience.arm(&stream).map_err(|e| lost(&e))?;
        let mut frames = FrameReader::new();
        frames.push(&hellos.into_rest());
        let agreed = agree(&ours, &theirs);
        Ok(Client {
            stream,
            frames,
            socket: socket.to_owned(),
            theirs,
            agreed,
            patience,
        })
    }

    /// Waits longer, or less long, from now on.
    pub fn set_patience(&mut self, patience: Patience) -> Result<()> {
        self.patience = patience;
        patience.arm(&self.stream).map_err(|error| lost(&self.socket, &error))
    }

    /// The socket that answered.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Version of the daemon's program.
    pub fn version(&self) -> &str {
        &self.theirs.version
    }

    /// The protocol agreed on.
    ///
    /// # Errors
    /// Which side is too old for the other.
    pub fn protocol(&self) -> Result<u16> {
        self.agreed.clone().map_err(Failure::from)
    }

    /// To be polled for reading.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Asks and waits for the answer. A refusal is an error, unless it is that the daemon, which has just begun or lost its
    /// runner, has none yet: then it is asked again.
    pub fn request(&mut self, request: &Request) -> Result<Response> {
        let until = clock::monotonic() + RUNNER_WITHIN;
        loop {
            self.send(request)?;
            match self.receive() {
                Err(failure)
                    if failure.code == NO_RUNNER && clock::monotonic() < until && self.has_runner_coming()? =>
                {
                    thread::sleep(ASK_AGAIN);
                }
                answered => return answered,
            }
        }
    }

    /// Whether no try to find or start a runner has failed.
    fn has_runner_coming(&mut self) -> Result<bool> {
        self.send(&Request::Status)?;
        Ok(matches!(self.receive()?, Response::Status(status) if status.0.runner_problem.0.is_none()))
    }

    /// Asks, and leaves the answer to [`receive`](Self::receive).
    pub fn send(&mut self, request: &Request) -> Result<()> {
        self.protocol()?;
        if names_user(request) && self.theirs.caps & capability::USERS == 0 {
            return Err(self.knows_no_users());
        }
        let mut frame = Vec::new();
        put_message(&mut frame, request).map_err(|error| {
            Failure::new(
                Exit::Failed,
                "limit",
                format!("what you ask for is too long to be sent: {error}"),
            )
        })?;
        self.write(&frame)
    }

    /// Waits for the next answer.
    pub fn receive(&mut self) -> Result<Response> {
        loop {
            if let Some(response) = self.received()? {
                return Ok(response);
            }
            if !self.fill()? {
                return Err(closed(&self.socket));
            }
        }
    }

    /// The next answer, if it is here already.
    pub fn received(&mut self) -> Result<Option<Response>> {
        let Some(payload) = self.frames.next().map_err(|error| self.garbled(&error))? else {
            return Ok(None);
        };
        match read_payload(&payload) {
            Ok(Payload::Message(bytes)) => match decode(bytes) {
                Ok(Response::Refused(refusal)) => Err(refusal.into()),
                Ok(response) => Ok(Some(response)),
                Err(error) => Err(self.garbled(&error)),
            },
            Ok(Payload::Basic(_)) => Err(self.garbled(&"an answer of protocol 0 out of place")),
            Err(error) => Err(self.garbled(&error)),
        }
    }

    /// Reads once; whether there was anything before the end.
    pub fn fill(&mut self) -> Result<bool> {
        let mut chunk = [0; CHUNK];
        loop {
            self.patience
                .rearm(&self.stream)
                .map_err(|error| lost(&self.socket, &error))?;
            match self.stream.read(&mut chunk) {
                Ok(n) => {
                    self.frames.push(&chunk[..n]);
                    return Ok(n > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(lost(&self.socket, &error)),
            }
        }
    }

    /// Asks at protocol 0, which daemons of every version answer.
    pub fn basic(&mut self, ask: Ask) -> Result<Answer> {
        let mut frame = Vec::new();
        put_basic(&mut frame, &Basic::Ask(ask));
        self.write(&frame)?;
        loop {
            if let Some(payload) = self.frames.next().map_err(|error| self.garbled(&error))? {
                return match read_payload(&payload) {
                    Ok(Payload::Basic(Basic::Answer(answer))) => Ok(answer),
                    Ok(_) => Err(self.garbled(&"no answer of protocol 0")),
                    Err(error) => Err(self.garbled(&error)),
                };
            }
            if !self.fill()? {
                return Err(closed(&self.socket));
            }
        }
    }

    /// It would pass over the user, and run the command as its own.
    fn knows_no_users(&self) -> Failure {
        let message = format!("taskd {} is too old for --user", self.version());
        Failure::new(Exit::Versions, "versions", message).hint("upgrade taskd, then restart it")
    }

    /// An answer that does not belong to the request.
    pub fn unexpected(&self) -> Failure {
        self.garbled(&"an answer to another question")
    }

    fn write(&mut self, frame: &[u8]) -> Result<()> {
        let armed = self.patience.rearm(&self.stream);
        match armed.and_then(|()| self.stream.write_all(frame)) {
            Ok(()) => Ok(()),
            // What it said before it closed tells more than that it closed.
            Err(error) if is_end(&error) => {
                let mut refused = self.received();
                while let (Ok(None), Ok(true)) = (&refused, self.fill()) {
                    refused = self.received();
                }
                Err(refused.err().unwrap_or_else(|| closed(&self.socket)))
            }
            Err(error) => Err(lost(&self.socket, &error)),
        }
    }

    fn garbled(&self, what: &dyn std::fmt::Display) -> Failure {
        let message = format!(
            "taskd {} said what this taskctl does not understand: {what}",
            self.theirs.version
        );
        Failure::new(Exit::Failed, "protocol", message).hint("if versions differ, upgrade the older of the two")
    }
}

impl Default for Patience {
    fn default() -> Self {
        Patience::Silence(SILENCE)
    }
}

impl Patience {
    /// What is left of it.
    ///
    /// # Errors
    /// [`TimedOut`](io::ErrorKind::TimedOut), if nothing is.
    fn left(self) -> io::Result<Duration> {
        let left = match self {
            Patience::Silence(length) => length,
            Patience::Until(deadline) => deadline.saturating_duration_since(clock::monotonic()),
        };
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(left)
    }

    /// The same, with no more than so much silence.
    fn at_most(self, silence: Duration) -> Self {
        match self {
            Patience::Silence(length) => Patience::Silence(length.min(silence)),
            Patience::Until(_) => self,
        }
    }

    /// Has the socket give up in time.
    fn arm(self, stream: &UnixStream) -> io::Result<()> {
        let left = Some(self.left()?);
        stream.set_read_timeout(left)?;
        stream.set_write_timeout(left)
    }

    /// As [`arm`](Self::arm), for a socket that was armed before.
    fn rearm(self, stream: &UnixStream) -> io::Result<()> {
        match self {
            Patience::Silence(_) => Ok(()),
            Patience::Until(_) => self.arm(stream),
        }
    }
}

/// Connects. A daemon that accepts nobody makes even this wait once enough others wait already.
fn reach(socket: &Path, patience: Patience) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(socket)?;
    let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    loop {
        // Whether anybody listens there can be told at once.
        let left = patience.left().unwrap_or(AT_LEAST);
        set_socket_timeout(&fd, Timeout::Send, Some(left))?;
        match rustix::net::connect(&fd, &address) {
            Ok(()) => return Ok(fd.into()),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Calls `give` with each page of an answer, as long as it says where the next one begins.
pub fn pages<Cursor: Clone + PartialEq>(
    client: &mut Client,
    mut ask: impl FnMut(Option<Cursor>) -> Request,
    mut give: impl FnMut(&mut Client, Response) -> Result<Option<Cursor>, crate::error::Error>,
) -> Result<(), crate::error::Error> {
    let mut cursor = None;
    loop {
        let response = client.request(&ask(cursor.clone()))?;
        match give(client, response)? {
            None => return Ok(()),
            next if next == cursor => return Err(client.garbled(&"a page that comes after itself").into()),
            next => cursor = next,
        }
    }
}

/// The other side has closed the connection.
fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// Nobody listens there.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory
    )
}

/// Whether a failure means that the daemon went away, so that a new connection may find it again.
pub fn is_lost(failure: &Failure) -> bool {
    failure.exit == Exit::NoDaemon
}

/// Whether a failure means that a daemon is there and does not answer.
pub fn is_silent(failure: &Failure) -> bool {
    failure.exit == Exit::NoDaemon && failure.code == SILENT
}

/// The word for a daemon that does not answer.
const SILENT: &str = "timeout";

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn nobody(sockets: &[PathBuf]) -> Failure {
    let tried: Vec<String> = sockets.iter().map(|socket| socket.display().to_string()).collect();
    Failure::new(
        Exit::NoDaemon,
        "no-daemon",
        format!("no daemon answers at {}", crate::error::either(&tried)),
    )
    .hint("`taskctl start` starts one of your own")
}

fn closed(socket: &Path) -> Failure {
    Failure::new(
        Exit::NoDaemon,
        "connection-lost",
        format!("the daemon at {} closed the connection", socket.display()),
    )
    .hint("what was asked for may have been done or not; `taskctl status` shows whether it is back")
}

/// It did so before it said anything.
fn turned_away(socket: &Path) -> Failure {
    Failure::new(
        Exit::NoDaemon,
        "connection-lost",
        format!(
            "the daemon at {} closed the connection before it said anything",
            socket.display()
        ),
    )
    .hint("nothing was done; it may be ending, or have more connections of yours than limits.connections allows")
}

fn lost(socket: &Path, error: &io::Error) -> Failure {
    match error {
        _ if is_end(error) => closed(socket),
        _ if is_timeout(error) => Failure::new(
            Exit::NoDaemon,
            SILENT,
            format!("the daemon at {} does not answer", socket.display()),
        )
        .hint("it may be suspended or very busy, and may still do what was asked when it goes on"),
        _ => Failure::new(
            Exit::NoDaemon,
            "connection-lost",
            format!("the connection to {} broke: {}", socket.display(), said(error)),
        ),
    }
}

/// Whether a signal has stopped a process, as far as can be seen.
fn is_stopped(pid: rustix::process::Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    // The name in parentheses may hold anything; what follows it is the state, see proc_pid_stat(5).
    stat.rsplit_once(") ")
        .is_some_and(|(_, state)| state.starts_with(['T', 't']))
}

/// Whether a task is to run as a user.
fn names_user(request: &Request) -> bool {
    let names = |spec: &Rec<TaskSpec>| spec.process.user.0.is_some();
    match request {
        Request::Add(spec) => names(spec),
        Request::Edit { patch, .. } => matches!(patch.process.user.0, Some(Some(_))),
        Request::ImportMore { tasks, .. } => tasks.iter().any(names),
        // No other has a definition.
        _ => false,
    }
}

#[cfg(test)]
mod tests;
