//! The socket, and the connections of daemons.
//!
//! One connection is attached and speaks; the others are being introduced, for at most five seconds. The one that
//! attaches last is the one that counts: the one before is closed and what it sent but was not yet read is dropped.
//! Whatever a peer does wrong ends its own connection and nothing else.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};
use taskd_wire::codec;
use taskd_wire::frame::{FrameReader, Payload, put_message, read_payload};
use taskd_wire::hello::{Hello, HelloReader, agree};
use taskd_wire::runner::{FromRunner, ToRunner};

use crate::notify::complain;
use crate::sys;

/// How long a peer may take to say hello and attach.
const INTRODUCTION: Duration = Duration::from_secs(5);

/// Connections being introduced at once; the oldest gives way.
const NEWCOMERS_MAX: usize = 64;

/// Bytes that a daemon may leave unread, on top of its inventory.
const OUT_MAX: usize = 8 * 1024 * 1024;

/// Bytes taken from one connection before others have their turn.
const TURN_MAX: usize = 1024 * 1024;

/// What a connection has come to.
#[derive(Debug)]
pub(crate) enum Received {
    /// A daemon has attached and wants its inventory.
    Attached,
    /// The attached daemon says something.
    Message(ToRunner),
    /// The attached daemon is gone.
    Lost,
}

/// All connections.
#[derive(Debug)]
pub(crate) struct Server {
    listener: UnixListener,
    connections: BTreeMap<u64, Connection>,
    attached: Option<u64>,
    /// It has not been said the inventory, which what happens meanwhile will be a part of.
    is_new: bool,
    next: u64,
    buffer: Box<[u8]>,
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    phase: Phase,
    out: Vec<u8>,
    /// How much of `out` is sent.
    sent: usize,
    /// The most that may be waiting in `out`.
    out_max: usize,
    /// Whether epoll tells when it can be written to.
    watches_room: bool,
    /// What the peer knows, see [`capability`](taskd_wire::hello::capability).
    caps: u64,
}

#[derive(Debug)]
enum Phase {
    /// Its hello is not whole.
    Hello { reader: HelloReader, until: Instant },
    /// It has said hello, and has not attached.
    Greeted { frames: FrameReader, until: Instant },
    /// It is the daemon.
    Attached { frames: FrameReader },
}

/// A connection is over: closed by the peer, broken, or ended for what the peer did.
struct Over;

impl From<io::Error> for Over {
    fn from(_: io::Error) -> Self {
        Over
    }
}

impl Server {
    /// `listener` must not block.
    pub(crate) fn new(listener: UnixListener, first: u64) -> Self {
        Server {
            listener,
            connections: BTreeMap::new(),
            attached: None,
            is_new: false,
            next: first,
            buffer: vec![0; 64 * 1024].into_boxed_slice(),
        }
    }

    pub(crate) fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Listens there from now on.
    pub(crate) fn listen_at(&mut self, listener: UnixListener) {
        self.listener = listener;
    }

    /// Whether a daemon is there to take results.
    pub(crate) fn is_attached(&self) -> bool {
        self.attached.is_some()
    }

    /// Takes in who has connected. False if somebody is left waiting for whom there is no room.
    pub(crate) fn accept(&mut self, epoll: &OwnedFd, now: Instant) -> bool {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.introduce(stream, epoll, now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Out of descriptors, most likely. The listener is watched for edges and will not tell again.
                    complain(format_args!("cannot take in a connection: {error}"));
                    return false;
                }
            }
        }
    }

    fn introduce(&mut self, stream: UnixStream, epoll: &OwnedFd, now: Instant) {
        let trusted = match sys::peer_uid(stream.as_fd()) {
            Ok(uid) => uid == 0 || uid == rustix::process::geteuid().as_raw(),
            Err(_) => false,
        };
        let id = self.next;
        let watched = || {
            stream.set_nonblocking(true)?;
            let data = EventData::new_u64(id);
            io::Result::Ok(epoll::add(epoll, &stream, data, EventFlags::IN)?)
        };
        if !trusted || watched().is_err() {
            return;
        }
        self.next += 1;
        let mut connection = Connection {
            stream,
            phase: Phase::Hello {
                reader: HelloReader::new(),
                until: now + INTRODUCTION,
            },
            out: Hello::ours().encode(),
            sent: 0,
            out_max: OUT_MAX,
            watches_room: false,
            caps: 0,
        };
        if connection.flush(id, epoll).is_err() {
            return;
        }
        self.connections.insert(id, connection);
        let newcomers = self.connections.len() - usize::from(self.is_attached());
        if newcomers > NEWCOMERS_MAX {
            let oldest = self.connections.keys().find(|id| Some(**id) != self.attached);
            if let Some(oldest) = oldest.copied() {
                self.forget(oldest, epoll);
            }
        }
    }

    /// Takes in what a connection has to say. An id that is no more is ignored.
    pub(crate) fn ready(&mut self, id: u64, epoll: &OwnedFd, received: &mut Vec<Received>) {
        let mut taken = 0;
        while taken < TURN_MAX {
            let Some(connection) = self.connections.get_mut(&id) else {
                return;
            };
            let length = match connection.stream.read(&mut self.buffer) {
                Ok(0) => return self.close(id, epoll, received),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return self.close(id, epoll, received),
            };
            taken += length;
            let before = received.len();
            let result = connection.take(&self.buffer[..length], received);
            let attached = matches!(received.get(before), Some(Received::Attached));
            if attached && self.attached != Some(id) {
                self.is_new = true;
                if let Some(superseded) = self.attached.replace(id) {
                    self.forget(superseded, epoll);
                    // What it has said is taken in; what it has asked for, nobody would hear but its successor.
                    let earlier = received
                        .drain(..before)
                        .filter(|received| !matches!(received, Received::Attached));
                    let earlier: Vec<Received> = earlier.collect();
                    received.splice(..0, earlier);
                }
            }
            if let Err(Over) = result {
                return self.close(id, epoll, received);
            }
            if length < self.buffer.len() {
                break;
            }
        }
        // What is said to the daemon leaves with the next flush; there may be room for it now.
        let has_room = |connection: &Connection| connection.watches_room || connection.until().is_some();
        if self.connections.get(&id).is_some_and(has_room) {
            self.flush_one(id, epoll, received);
        }
    }

    fn close(&mut self, id: u64, epoll: &OwnedFd, received: &mut Vec<Received>) {
        self.forget(id, epoll);
        if self.attached == Some(id) {
            self.attached = None;
            received.push(Received::Lost);
        }
    }

    /// Closes a connection in such a way that it is over even if a child between clone and exec still has a copy.
    fn forget(&mut self, id: u64, epoll: &OwnedFd) {
        if let Some(connection) = self.connections.remove(&id) {
            // They can fail for a connection that the peer has broken; it is closed in any case.
            let _ = epoll::delete(epoll, &connection.stream);
            let _ = connection.stream.shutdown(Shutdown::Both);
        }
    }

    /// Says something to the attached daemon, if there is one. Sent with the next [`flush`](Self::flush).
    pub(crate) fn say(&mut self, message: &FromRunner) {
        if !self.is_new {
            self.put(message);
        }
    }

    /// Whether the attached daemon knows this.
    pub(crate) fn knows(&self, capability: u64) -> bool {
        let connection = self.attached.and_then(|id| self.connections.get(&id));
        connection.is_some_and(|connection| connection.caps & capability != 0)
    }

    /// What is said from now on belongs to the inventory or comes after it.
    pub(crate) fn begin_inventory(&mut self) {
        self.is_new = false;
    }

    fn put(&mut self, message: &FromRunner) {
        if let Some(connection) = self.attached.and_then(|id| self.connections.get_mut(&id))
            && let Err(error) = put_message(&mut connection.out, message)
        {
            complain(format_args!("a message does not fit a frame: {error}"));
        }
    }

    /// The inventory was said: what is waiting now does not count against the daemon.
    pub(crate) fn allow_waiting(&mut self) {
        if let Some(connection) = self.attached.and_then(|id| self.connections.get_mut(&id)) {
            connection.out_max = connection.waiting() + OUT_MAX;
        }
    }

    /// Sends what was said.
    pub(crate) fn flush(&mut self, epoll: &OwnedFd, received: &mut Vec<Received>) {
        if let Some(id) = self.attached {
            self.flush_one(id, epoll, received);
        }
    }

    /// Whether the attached daemon has been sent all that was said.
    pub(crate) fn is_flushed(&self) -> bool {
        self.attached
            .and_then(|id| self.connections.get(&id))
            .is_none_or(|connection| connection.waiting() == 0)
    }

    /// Whether something was said that a flush would send.
    pub(crate) fn may_flush(&self) -> bool {
        let connection = self.attached.and_then(|id| self.connections.get(&id));
        connection.is_some_and(|connection| connection.waiting() > 0 && !connection.watches_room)
    }

    fn flush_one(&mut self, id: u64, epoll: &OwnedFd, received: &mut Vec<Received>) {
        if let Some(connection) = self.connections.get_mut(&id)
            && let Err(Over) = connection.flush(id, epoll)
        {
            self.close(id, epoll, received);
        }
    }

    /// Closes connections that took too long to say who they are.
    pub(crate) fn expire(&mut self, epoll: &OwnedFd, now: Instant) {
        let late = |connection: &Connection| connection.until().is_some_and(|until| until <= now);
        while let Some((id, _)) = self.connections.iter().find(|(_, connection)| late(connection)) {
            self.forget(*id, epoll);
        }
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.connections.values().filter_map(Connection::until).min()
    }
}

impl Connection {
    fn until(&self) -> Option<Instant> {
        match self.phase {
            Phase::Hello { until, .. } | Phase::Greeted { until, .. } => Some(until),
            Phase::Attached { .. } => None,
        }
    }

    fn waiting(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Takes in bytes that came.
    fn take(&mut self, bytes: &[u8], received: &mut Vec<Received>) -> Result<(), Over> {
        match &mut self.phase {
            Phase::Hello { reader, until } => {
                reader.push(bytes);
                let Some(theirs) = reader.next().map_err(|_| Over)? else {
                    return Ok(());
                };
                // A daemon of another protocol reads our hello and tells its user which side is older.
                agree(&Hello::ours(), &theirs).map_err(|_| Over)?;
                self.caps = theirs.caps;
                let mut frames = FrameReader::new();
                frames.push(&std::mem::take(reader).into_rest());
                self.phase = Phase::Greeted { frames, until: *until };
            }
            Phase::Greeted { frames, .. } | Phase::Attached { frames } => frames.push(bytes),
        }
        self.take_frames(received)
    }

    fn take_frames(&mut self, received: &mut Vec<Received>) -> Result<(), Over> {
        loop {
            let (Phase::Greeted { frames, .. } | Phase::Attached { frames }) = &mut self.phase else {
                return Ok(());
            };
            let Some(payload) = frames.next().map_err(|_| Over)? else {
                return Ok(());
            };
            let Payload::Message(bytes) = read_payload(&payload).map_err(|_| Over)? else {
                // Protocol 0 is for clients of the daemon.
                return Err(Over);
            };
            let message = codec::decode::<ToRunner>(bytes).map_err(|_| Over)?;
            match (message, &mut self.phase) {
                (ToRunner::Attach, Phase::Greeted { frames, .. }) => {
                    let frames = std::mem::take(frames);
                    self.phase = Phase::Attached { frames };
                    received.push(Received::Attached);
                }
                (ToRunner::Attach, Phase::Attached { .. }) => received.push(Received::Attached),
                (message, Phase::Attached { .. }) => received.push(Received::Message(message)),
                (_, Phase::Greeted { .. } | Phase::Hello { .. }) => return Err(Over),
            }
        }
    }

    fn flush(&mut self, id: u64, epoll: &OwnedFd) -> Result<(), Over> {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(length) => self.sent += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        if self.sent == self.out.len() {
            self.out.clear();
            self.out.shrink_to(64 * 1024);
            self.sent = 0;
            self.out_max = OUT_MAX;
        } else if self.sent > OUT_MAX {
            self.out.drain(..self.sent);
            self.sent = 0;
        }
        if self.waiting() > self.out_max {
            complain(format_args!("the daemon does not read; its connection is closed"));
            return Err(Over);
        }
        let wants_room = self.waiting() > 0;
        if wants_room != self.watches_room {
            let flags = if wants_room {
                EventFlags::IN | EventFlags::OUT
            } else {
                EventFlags::IN
            };
            epoll::modify(epoll, &self.stream, EventData::new_u64(id), flags).map_err(|_| Over)?;
            self.watches_room = wants_room;
        }
        Ok(())
    }
}
