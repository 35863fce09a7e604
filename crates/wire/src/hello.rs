//! The hello: what both sides say first. Its bytes are frozen for ever, so that any two versions can tell each other
//! what they are.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `TSKD` |
//! | 2 | lowest protocol spoken, little-endian |
//! | 2 | highest protocol spoken, little-endian |
//! | 8 | capability bits, little-endian; unknown bits are ignored |
//! | 1 | length of the version |
//! | 0–255 | version of the program, printable ASCII |
//!
//! Both sides send it at once on connect, and both work out the protocol by [`agree`]. Frames follow without a pause;
//! where no protocol is common, only those of protocol 0 are understood.

use std::fmt;

use crate::text;

/// The first bytes of a hello.
pub const MAGIC: [u8; 4] = *b"TSKD";

/// The lowest protocol this version speaks.
pub const PROTOCOL_MIN: u16 = 1;

/// The highest protocol this version speaks.
pub const PROTOCOL_MAX: u16 = 1;

/// The capability bits of this version. A bit says that a request exists, or that a field of one is known, which the protocol's
/// number does not imply.
pub const CAPABILITIES: u64 = capability::USERS | capability::BEGUN;

/// The bits of [`Hello::caps`].
pub mod capability {
    /// It knows that a task may [run as another user](crate::definition::ProcessSpec::user).
    pub const USERS: u64 = 1;
    /// It knows what a runner tells of [earlier lives](crate::runner::FromRunner::Begun).
    pub const BEGUN: u64 = 1 << 1;
}

/// Most bytes a peer may send before its hello is whole. No hello is so long.
pub const HELLO_MAX: usize = 1 << 10;

const FIXED: usize = 17;
const _: () = assert!(FIXED + text::MAX <= HELLO_MAX);

/// What one side says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The lowest protocol it speaks.
    pub min: u16,
    /// The highest protocol it speaks.
    pub max: u16,
    /// Its capability bits, see [`capability`].
    pub caps: u64,
    /// The version of its program.
    pub version: String,
}

/// Why bytes are no hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// The peer is no part of taskd.
    #[error("the other side does not speak the protocol of taskd")]
    Magic,
    /// The lowest protocol is above the highest.
    #[error("the other side claims protocols {min} to {max}")]
    Range {
        /// The lowest.
        min: u16,
        /// The highest.
        max: u16,
    },
    /// The version is not printable ASCII.
    #[error("the other side's version is not printable")]
    Version,
}

impl Hello {
    /// The hello of this version.
    #[must_use]
    pub fn ours() -> Self {
        Hello {
            min: PROTOCOL_MIN,
            max: PROTOCOL_MAX,
            caps: CAPABILITIES,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Its bytes. Of a version over 255 bytes the rest is left out, and what is not printable ASCII becomes `?`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED + self.version.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.min.to_le_bytes());
        out.extend_from_slice(&self.max.to_le_bytes());
        out.extend_from_slice(&self.caps.to_le_bytes());
        text::put(&mut out, &self.version);
        out
    }

    /// The hello at the head of `bytes` and its length, or `None` when it is not whole.
    fn decode(bytes: &[u8]) -> Result<Option<(Hello, usize)>, HelloError> {
        if bytes.iter().zip(&MAGIC).any(|(got, want)| got != want) {
            return Err(HelloError::Magic);
        }
        let Some((head, rest)) = bytes.split_first_chunk::<{ FIXED - 1 }>() else {
            return Ok(None);
        };
        let [_, _, _, _, min0, min1, max0, max1, caps @ ..] = *head;
        let (min, max) = (u16::from_le_bytes([min0, min1]), u16::from_le_bytes([max0, max1]));
        if min > max {
            return Err(HelloError::Range { min, max });
        }
        match text::take(rest) {
            Ok(None) => Ok(None),
            Ok(Some((version, rest))) => {
                let hello = Hello {
                    min,
                    max,
                    caps: u64::from_le_bytes(caps),
                    version,
                };
                Ok(Some((hello, bytes.len() - rest.len())))
            }
            Err(text::NotPrintable) => Err(HelloError::Version),
        }
    }
}

/// Takes bytes as they come until the hello is whole.
#[derive(Debug, Default)]
pub struct HelloReader {
    buffer: Vec<u8>,
}

impl HelloReader {
    /// With nothing read.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes that came. They may reach beyond the hello: see [`into_rest`](Self::into_rest).
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The hello, once, when it is whole; `None` until more bytes come.
    ///
    /// # Errors
    /// [`HelloError`] at the first byte that is wrong.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator's end is final, `None` here is not"
    )]
    pub fn next(&mut self) -> Result<Option<Hello>, HelloError> {
        let Some((hello, len)) = Hello::decode(&self.buffer)? else {
            return Ok(None);
        };
        self.buffer.drain(..len);
        Ok(Some(hello))
    }

    /// What came after the hello: to be pushed into a [`FrameReader`](crate::frame::FrameReader).
    #[must_use]
    pub fn into_rest(self) -> Vec<u8> {
        self.buffer
    }
}

/// One of the two sides of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This one.
    Ours,
    /// The other one.
    Theirs,
}

/// There is no protocol that both sides speak.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mismatch {
    /// Which side is older, and is to be upgraded.
    pub older: Side,
    /// What this side said.
    pub ours: Hello,
    /// What the other side said.
    pub theirs: Hello,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mismatch { older, ours, theirs } = self;
        let older = match older {
            Side::Ours => "this side",
            Side::Theirs => "the other side",
        };
        write!(
            f,
            "version {} speaks protocols {} to {}, the other side has version {} and speaks {} to {}; {older} is older",
            ours.version, ours.min, ours.max, theirs.version, theirs.min, theirs.max
        )
    }
}

/// The highest protocol that both sides speak. Both sides get the same answer.
///
/// # Errors
/// [`Mismatch`] when there is none; protocol 0 still works.
pub fn agree(ours: &Hello, theirs: &Hello) -> Result<u16, Mismatch> {
    let highest = ours.max.min(theirs.max);
    if highest >= ours.min.max(theirs.min) {
        return Ok(highest);
    }
    // The ranges do not meet, so one lies wholly below the other.
    let older = if ours.max < theirs.max {
        Side::Ours
    } else {
        Side::Theirs
    };
    Err(Mismatch {
        older,
        ours: ours.clone(),
        theirs: theirs.clone(),
    })
}
