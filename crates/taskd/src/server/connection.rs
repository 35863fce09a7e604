//! One connection: hello, then requests and answers until either side ends it.

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use taskd_wire::basic::{Answer, Ask, Basic};
use taskd_wire::client::{Request, Response};
use taskd_wire::codec::{self, CodecError};
use taskd_wire::frame::{FrameReader, Payload, WireError, put_basic, put_message, read_payload};
use taskd_wire::hello::{Hello, HelloReader, agree};
use taskd_wire::refusal::Refusal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::verbs::import::Import;
use super::{Shared, verbs};
use crate::clock;

/// How long a peer may take for its hello.
const HELLO_WITHIN: Duration = Duration::from_secs(5);

/// How long a peer may take to finish a frame it has begun, or to read an answer.
const FRAME_WITHIN: Duration = Duration::from_secs(30);

/// How long to wait before a run is read again that could not be read.
const READ_AGAIN: Duration = Duration::from_millis(500);

/// Bytes read at once.
const READ: usize = 16 * 1024;

/// Why a connection ended before its peer ended it.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("no hello within {} s", HELLO_WITHIN.as_secs())]
    NoHello,
    #[error("{0}")]
    Hello(#[from] taskd_wire::hello::HelloError),
    #[error("half a frame for {} s", FRAME_WITHIN.as_secs())]
    HalfAFrame,
    #[error("an answer was not read for {} s", FRAME_WITHIN.as_secs())]
    NotRead,
    #[error("{0}")]
    Frame(#[from] taskd_wire::frame::FrameError),
    #[error("{0}")]
    Wire(#[from] WireError),
    #[error("the daemon is stopping")]
    Stopping,
}

/// Serves one connection to its end.
pub(super) async fn serve(stream: UnixStream, uid: u32, hello: &[u8], shared: &Shared, stop: watch::Receiver<bool>) {
    let mut connection = Connection {
        stream,
        stop,
        frames: FrameReader::new(),
        out: Vec::new(),
        import: Import::new(&shared.importing),
    };
    if let Err(ended) = connection.talk(uid, hello, shared).await {
        match ended {
            Ended::Io(_) | Ended::Stopping => {}
            _ => tracing::warn!(uid, reason = %ended, "a connection was closed"),
        }
    }
}

/// Tells a peer over the limit that it is, and lets it read that.
pub(super) async fn refuse_full(mut stream: UnixStream, hello: &[u8], limit: usize) {
    let refusal = Response::Refused(Refusal::Limit {
        what: "connections".to_owned(),
        limit: limit as u64,
        actual: limit as u64 + 1,
    });
    let mut out = hello.to_vec();
    if put_message(&mut out, &refusal).is_err() {
        return;
    }
    let farewell = async {
        stream.write_all(&out).await?;
        stream.shutdown().await?;
        // What it sends is read and thrown away until it hangs up, so that it can read the refusal first.
        let mut ignored = [0_u8; 1024];
        while stream.read(&mut ignored).await? > 0 {}
        Ok::<(), io::Error>(())
    };
    // However that ends, the connection does.
    let _ = timeout(HELLO_WITHIN, farewell).await;
}

pub(super) struct Connection {
    stream: UnixStream,
    /// Changes when nothing more is to be asked.
    stop: watch::Receiver<bool>,
    frames: FrameReader,
    out: Vec<u8>,
    pub(super) import: Import,
}

impl Connection {
    async fn talk(&mut self, uid: u32, hello: &[u8], shared: &Shared) -> Result<(), Ended> {
        self.stream.write_all(hello).await?;
        let Some(theirs) = timeout(HELLO_WITHIN, self.hello())
            .await
            .map_err(|_| Ended::NoHello)??
        else {
            return Ok(());
        };
        let protocol = agree(&Hello::ours(), &theirs).ok();
        while let Some(payload) = self.frame().await? {
            // The mode of the socket keeps others away, unless somebody has opened it.
            if uid != shared.owner.0 && uid != 0 {
                self.answer(&Response::Refused(Refusal::NotAllowed {
                    what: "this daemon belongs to another user".to_owned(),
                }))?;
                return self.send().await;
            }
            match read_payload(&payload)? {
                Payload::Basic(Basic::Ask(ask)) => {
                    let answer = basic(ask, shared).await;
                    put_basic(&mut self.out, &Basic::Answer(answer));
                }
                Payload::Basic(Basic::Answer(_)) => put_basic(&mut self.out, &Basic::Answer(Answer::Unsupported)),
                Payload::Message(bytes) if protocol.is_some() => match codec::decode::<Request>(bytes) {
                    Ok(Request::Watch { runs }) => {
                        self.watch(shared, runs).await?;
                    }
                    Ok(request) => {
                        let response = verbs::answer(request, shared, self)
                            .await
                            .unwrap_or_else(Response::Refused);
                        self.answer(&response)?;
                    }
                    Err(error) => {
                        tracing::warn!(uid, reason = %error, "a request was not understood");
                        self.answer(&Response::Refused(Refusal::UnknownRequest))?;
                        self.send().await?;
                        return Ok(());
                    }
                },
                Payload::Message(_) => put_basic(&mut self.out, &Basic::Answer(Answer::Unsupported)),
            }
            self.send().await?;
        }
        Ok(())
    }

    fn answer(&mut self, response: &Response) -> Result<(), Ended> {
        match put_message(&mut self.out, response) {
            Err(WireError::Codec(CodecError::TooLong { len, limit })) => {
                let refusal = Refusal::Limit {
                    what: "frame".to_owned(),
                    limit: limit as u64,
                    actual: len as u64,
                };
                Ok(put_message(&mut self.out, &Response::Refused(refusal))?)
            }
            put => Ok(put?),
        }
    }

    /// Sends updates until every run has ended, or the peer is gone. When the daemon ends first, the connection ends
    /// without a word that would mean that the runs have.
    async fn watch(&mut self, shared: &Shared, runs: Vec<String>) -> Result<(), Ended> {
        let mut updates = match verbs::watch::begin(shared, &runs).await {
            Ok(updates) => updates,
            Err(Refusal::Stopping) => return Err(Ended::Stopping),
            Err(refusal) => return self.answer(&Response::Refused(refusal)),
        };
        let mut open = runs.len();
        loop {
            let told = tokio::select! {
                told = updates.recv() => told,
                // A peer that hangs up, or talks while it is told, ends the watch.
                gone = hung_up(&self.stream) => return Err(Ended::Io(gone)),
            };
            let Some(told) = told else { break };
            open -= usize::from(told.over);
            let update = loop {
                match verbs::watch::update(shared, told).await {
                    // The run goes on all the same, so the watch does too.
                    Err(Refusal::StoreUnavailable { reason }) => {
                        tracing::warn!(reason, "a run that is watched could not be read");
                        tokio::select! {
                            () = tokio::time::sleep(READ_AGAIN) => {}
                            gone = hung_up(&self.stream) => return Err(Ended::Io(gone)),
                        }
                    }
                    Err(Refusal::Stopping) => return Err(Ended::Stopping),
                    Err(refusal) => break Some(Response::Refused(refusal)),
                    Ok(update) => break update,
                }
            };
            if let Some(update) = update {
                self.answer(&update)?;
                self.send().await?;
            }
        }
        // What still goes on was left by an engine that has ended.
        if open > 0 {
            return Err(Ended::Stopping);
        }
        self.answer(&Response::WatchEnd)
    }

    async fn hello(&mut self) -> Result<Option<Hello>, Ended> {
        let mut reader = HelloReader::new();
        let mut buffer = [0_u8; 1024];
        loop {
            let length = self.stream.read(&mut buffer).await?;
            if length == 0 {
                return Ok(None);
            }
            reader.push(&buffer[..length]);
            if let Some(hello) = reader.next()? {
                self.frames.push(&reader.into_rest());
                return Ok(Some(hello));
            }
        }
    }

    /// The next frame; `None` when the peer has hung up, or nothing more is to be asked.
    async fn frame(&mut self) -> Result<Option<Vec<u8>>, Ended> {
        let mut buffer = [0_u8; READ];
        // Set by the first byte of a frame that is not whole.
        let mut until = None;
        loop {
            if let Some(payload) = self.frames.next()? {
                return Ok(Some(payload));
            }
            let length = if self.frames.is_partial() {
                let until = *until.get_or_insert_with(|| Instant::from_std(clock::monotonic()) + FRAME_WITHIN);
                timeout_at(until, self.stream.read(&mut buffer))
                    .await
                    .map_err(|_| Ended::HalfAFrame)??
            } else {
                tokio::select! {
                    length = self.stream.read(&mut buffer) => length?,
                    () = stopped(&mut self.stop) => {
                        // What was asked before the end is answered.
                        if !has_more(&self.stream)? {
                            return Ok(None);
                        }
                        self.stream.read(&mut buffer).await?
                    }
                }
            };
            if length == 0 {
                return Ok(None);
            }
            self.frames.push(&buffer[..length]);
        }
    }

    async fn send(&mut self) -> Result<(), Ended> {
        timeout(FRAME_WITHIN, self.stream.write_all(&self.out))
            .await
            .map_err(|_| Ended::NotRead)??;
        self.out.clear();
        self.out.shrink_to(READ);
        Ok(())
    }
}

/// Waits until nothing more is to be asked.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Who would say so may be gone, which says it too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Whether something was said that is not read yet. The runtime may not know of it yet.
fn has_more(stream: &UnixStream) -> io::Result<bool> {
    let mut asked = [PollFd::new(stream, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok(rustix::event::poll(&mut asked, Some(&now))? > 0)
}

/// Waits until the peer hangs up, or says something. That a socket is said to be readable need not be so.
async fn hung_up(stream: &UnixStream) -> io::Error {
    loop {
        if let Err(error) = stream.readable().await {
            return error;
        }
        match stream.try_read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return error,
            Ok(_) => return io::ErrorKind::ConnectionAborted.into(),
        }
    }
}

async fn basic(ask: Ask, shared: &Shared) -> Answer {
    match ask {
        Ask::Ping => Answer::Pong,
        Ask::Version => Answer::Version {
            text: env!("CARGO_PKG_VERSION").to_owned(),
        },
        Ask::StatusBrief => {
            let counts = shared.engine.look(|state, _| state.counts()).await.unwrap_or_default();
            Answer::StatusBrief {
                pid: std::process::id(),
                started_ms: shared.started_at.as_millis(),
                tasks: counts.tasks as u64,
                running: counts.running as u64,
            }
        }
        Ask::Stop => {
            shared.engine.stop(false).await;
            Answer::Stopping
        }
        Ask::Unknown(_) => Answer::Unsupported,
    }
}

#[cfg(test)]
mod tests;
