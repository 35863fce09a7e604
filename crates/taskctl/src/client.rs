//! One connection to the daemon: hello, frames, requests and their answers. Blocking, for a command line has nothing
//! else to do; a verb that watches polls [`Client::fd`] beside its own files.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use taskd_wire::basic::{Answer, Ask, Basic};
use taskd_wire::client::{Request, Response};
use taskd_wire::codec::decode;
use taskd_wire::frame::{FrameReader, Payload, put_basic, put_message, read_payload};
use taskd_wire::hello::{Hello, HelloReader, Mismatch, agree};

use crate::error::{Exit, Failure, said};
use crate::places::Places;

/// A connection.
pub struct Client {
    stream: UnixStream,
    frames: FrameReader,
    socket: PathBuf,
    theirs: Hello,
    agreed: Result<u16, Mismatch>,
}

/// What a call of the client gives.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Bytes read at once.
const CHUNK: usize = 64 << 10;

impl Client {
    /// Connects to the first daemon that answers. That it speaks no protocol of ours is found out later, by
    /// [`request`](Self::request): protocol 0 works all the same.
    pub fn connect(places: &Places) -> Result<Client> {
        Self::connect_within(places, None)
    }

    /// As [`connect`](Self::connect); with a limit for each wait on the socket.
    pub fn connect_within(places: &Places, limit: Option<Duration>) -> Result<Client> {
        let sockets = places.sockets();
        let mut denied = None;
        for socket in &sockets {
            match UnixStream::connect(socket) {
                Ok(stream) => return Self::greet(stream, socket, limit),
                Err(error) if is_absent(&error) => {}
                Err(error) => denied = denied.or(Some(Failure::file("connect to", socket, &error))),
            }
        }
        Err(denied.unwrap_or_else(|| nobody(&sockets)))
    }

    fn greet(mut stream: UnixStream, socket: &Path, limit: Option<Duration>) -> Result<Client> {
        let lost = |error: &io::Error| lost(socket, error);
        stream
            .set_read_timeout(limit)
            .and_then(|()| stream.set_write_timeout(limit))
            .map_err(|e| lost(&e))?;
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
            match stream.read(&mut chunk) {
                Ok(0) => return Err(closed(socket)),
                Ok(n) => hellos.push(&chunk[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(lost(&error)),
            }
        };
        let mut frames = FrameReader::new();
        frames.push(&hellos.into_rest());
        let agreed = agree(&ours, &theirs);
        Ok(Client {
            stream,
            frames,
            socket: socket.to_owned(),
            theirs,
            agreed,
        })
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

    /// Asks and waits for the answer. A refusal is an error.
    pub fn request(&mut self, request: &Request) -> Result<Response> {
        self.send(request)?;
        self.receive()
    }

    /// Asks, and leaves the answer to [`receive`](Self::receive).
    pub fn send(&mut self, request: &Request) -> Result<()> {
        self.protocol()?;
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

    /// An answer that does not belong to the request.
    pub fn unexpected(&self) -> Failure {
        self.garbled(&"an answer to another question")
    }

    fn write(&mut self, frame: &[u8]) -> Result<()> {
        match self.stream.write_all(frame) {
            Ok(()) => Ok(()),
            // What it said before it closed tells more than that it closed.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => match self.received() {
                Err(refused) => Err(refused),
                Ok(_) => Err(closed(&self.socket)),
            },
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

/// Calls `give` with each page of an answer, as long as it says where the next one begins.
pub fn pages<Cursor>(
    client: &mut Client,
    mut ask: impl FnMut(Option<Cursor>) -> Request,
    mut give: impl FnMut(&mut Client, Response) -> Result<Option<Cursor>, crate::error::Error>,
) -> Result<(), crate::error::Error> {
    let mut cursor = None;
    loop {
        let response = client.request(&ask(cursor))?;
        cursor = give(client, response)?;
        if cursor.is_none() {
            return Ok(());
        }
    }
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

fn lost(socket: &Path, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => closed(socket),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Failure::new(
            Exit::NoDaemon,
            "timeout",
            format!("the daemon at {} does not answer", socket.display()),
        ),
        _ => Failure::new(
            Exit::NoDaemon,
            "connection-lost",
            format!("the connection to {} broke: {}", socket.display(), said(error)),
        ),
    }
}
