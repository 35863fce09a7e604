//! Frames: a length and so many bytes, and what the bytes of a frame are.
//!
//! A frame is its length as a `u32`, little-endian, then the payload. A payload is never empty: its first byte is its
//! kind, [`KIND_BASIC`] or [`KIND_MESSAGE`]. Nothing here reads or writes a socket: bytes in, frames out.

use bincode::Encode;

use crate::basic::{Basic, BasicError};
use crate::codec::{self, CodecError, FRAME_MAX};

/// First byte of a payload of protocol 0, see [`crate::basic`].
pub const KIND_BASIC: u8 = 0;

/// First byte of a payload that holds a message of the protocol the hellos agreed on.
pub const KIND_MESSAGE: u8 = 1;

const HEADER: usize = 4;

/// Buffers larger than this are given back when they have become empty, so that idle connections stay small.
const KEEP: usize = 64 << 10;

/// Why bytes are no frame. The connection can only be closed: where the next frame begins is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame is longer than it may be.
    #[error("frame of {len} bytes is over the limit of {limit}")]
    TooLong {
        /// The length of its payload.
        len: usize,
        /// The most it may be.
        limit: usize,
    },
    /// A frame has no payload.
    #[error("empty frame")]
    Empty,
}

/// Why a message could not be sent, or what came is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// It does not fit a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// It is no message.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// It is no message of protocol 0.
    #[error(transparent)]
    Basic(#[from] BasicError),
    /// The first byte of a payload names no kind.
    #[error("payload of unknown kind {0}")]
    UnknownKind(u8),
}

/// What a frame holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// A message of protocol 0.
    Basic(Basic),
    /// The bytes of a message of the protocol agreed on, for [`codec::decode`].
    Message(&'a [u8]),
}

/// Takes bytes as they come and gives the payloads of whole frames.
///
/// It holds what was pushed and not yet taken, so a caller that takes all frames after each push holds at most one
/// frame and one push. After an error every further call gives the same error.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    /// How much of `buffer` has been taken.
    taken: usize,
}

impl FrameReader {
    /// With nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes that came.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The payload of the next frame, or `None` until more bytes come.
    ///
    /// # Errors
    /// [`FrameError`] as soon as the length is known to be wrong.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator's end is final, `None` here is not"
    )]
    pub fn next(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        let rest = &self.buffer[self.taken..];
        let Some((header, body)) = rest.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        // A length that does not fit `usize` is over any limit.
        let len = usize::try_from(u32::from_le_bytes(*header)).unwrap_or(usize::MAX);
        check(len)?;
        let Some(payload) = body.get(..len) else {
            return Ok(None);
        };
        let payload = payload.to_vec();
        self.taken += HEADER + len;
        if self.taken == self.buffer.len() {
            self.taken = 0;
            self.buffer.clear();
            self.buffer.shrink_to(KEEP);
        }
        Ok(Some(payload))
    }

    /// Whether there are bytes of a frame that is not whole: at the end of a connection, that it was cut off. To be
    /// asked when [`next`](Self::next) has given `None`.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.taken < self.buffer.len()
    }
}

/// Appends a frame to `out`.
///
/// # Errors
/// [`FrameError`] when the payload is empty or over [`FRAME_MAX`]; `out` is as it was.
pub fn put_frame(out: &mut Vec<u8>, payload: &[u8]) -> Result<(), FrameError> {
    check(payload.len())?;
    out.reserve(HEADER + payload.len());
    out.extend_from_slice(&header(payload.len()));
    out.extend_from_slice(payload);
    Ok(())
}

/// Appends a frame with a message of the protocol agreed on.
///
/// # Errors
/// [`CodecError::TooLong`] when it does not fit; `out` is as it was.
pub fn put_message<T: Encode>(out: &mut Vec<u8>, message: &T) -> Result<(), WireError> {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, KIND_MESSAGE]);
    if let Err(error) = codec::encode_onto(out, message) {
        out.truncate(start);
        return Err(error.into());
    }
    let body = start + HEADER;
    let len = header(out.len() - body);
    out[start..body].copy_from_slice(&len);
    Ok(())
}

/// Appends a frame with a message of protocol 0.
pub fn put_basic(out: &mut Vec<u8>, message: &Basic) {
    let payload = message.encode();
    out.extend_from_slice(&header(payload.len()));
    out.extend_from_slice(&payload);
}

/// Tells what the payload of a frame is.
///
/// # Errors
/// [`WireError::UnknownKind`], or [`WireError::Basic`] for a payload of protocol 0 that is none.
pub fn read_payload(payload: &[u8]) -> Result<Payload<'_>, WireError> {
    match payload.split_first() {
        None => Err(FrameError::Empty.into()),
        Some((&KIND_BASIC, rest)) => Ok(Payload::Basic(Basic::decode(rest)?)),
        Some((&KIND_MESSAGE, rest)) => Ok(Payload::Message(rest)),
        Some((&kind, _)) => Err(WireError::UnknownKind(kind)),
    }
}

fn check(len: usize) -> Result<(), FrameError> {
    match len {
        0 => Err(FrameError::Empty),
        len if len > FRAME_MAX => Err(FrameError::TooLong { len, limit: FRAME_MAX }),
        _ => Ok(()),
    }
}

fn header(len: usize) -> [u8; HEADER] {
    u32::try_from(len)
        .expect("a payload is at most FRAME_MAX, which fits 32 bits")
        .to_le_bytes()
}
