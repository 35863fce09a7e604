//! Messages to bytes and back: bincode behind one door, with every limit set.
//!
//! # What a decode may cost
//!
//! Bytes from a peer are hostile until proven otherwise, so [`decode`] holds to bounds that do not depend on them:
//!
//! * The input is at most [`MESSAGE_MAX`] bytes, and all of it must be used.
//! * A list is given room for the number of elements it claims before any is read. bincode counts that room (elements
//!   times their size in memory) against a limit, here [`DECODE_MAX`], and refuses before it allocates. So a list that
//!   claims 2^40 elements costs nothing, and one that lies within the limit costs untouched address space until the
//!   missing elements are noticed. A [`Rec`] is given [`FACTOR`] times its bytes of that limit, for itself and the
//!   records in it, so nesting adds nothing.
//! * What has been read takes at most [`FACTOR`] times its encoded size, for the element of a list with the worst ratio is
//!   an empty `String`: 24 bytes in memory for one on the wire. A frame of 1 MiB of them thus decodes to 24 MiB and not
//!   more. [`DECODE_MAX`] is that factor times the longest message, hence whatever [`encode`] lets pass, [`decode`]
//!   accepts. A test computes the factor for every type that is an element of a list.
//! * No message type contains itself, so the stack is bounded by the types; no element of a list has size zero on the
//!   wire, so the number of steps is bounded by the input.
//!
//! # How messages grow
//!
//! Enums gain variants at their end, and a receiver that does not know one fails with [`CodecError::UnknownVariant`].
//! Structs that may gain fields are said inside a [`Rec`] wherever they stand, in another struct too, and the fields that
//! are added later are [`Tail`]s.

use std::ops::Deref;

use bincode::config::{Configuration, Limit};
use bincode::de::read::{Reader, SliceReader};
use bincode::de::{BorrowDecoder, Decoder, DecoderImpl};
use bincode::enc::write::{SizeWriter, Writer};
use bincode::enc::{Encoder, EncoderImpl};
use bincode::error::{DecodeError, EncodeError};
use bincode::{BorrowDecode, Decode, Encode, config};
use serde::{Deserialize, Serialize};

/// Most bytes in the payload of one frame, either way.
pub const FRAME_MAX: usize = 1 << 20;

/// Most bytes of one encoded message: a frame's payload less its kind.
pub const MESSAGE_MAX: usize = FRAME_MAX - 1;

/// Most bytes of memory that a byte on the wire may become.
pub const FACTOR: usize = 32;

/// Most bytes of memory that lists may claim while a message is decoded.
pub const DECODE_MAX: usize = FACTOR * FRAME_MAX;

type Config = Configuration<config::LittleEndian, config::Varint, Limit<DECODE_MAX>>;

const CONFIG: Config = config::standard().with_limit::<DECODE_MAX>();

/// Why a message could not be encoded or decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The message is longer than a frame can carry.
    #[error("message of {len} bytes is over the limit of {limit}")]
    TooLong {
        /// Its length.
        len: usize,
        /// The most it may be.
        limit: usize,
    },
    /// The bytes end before the message does.
    #[error("message is cut short")]
    Truncated,
    /// The message ends before the bytes do.
    #[error("{extra} bytes after the end of the message")]
    Trailing {
        /// How many bytes are left over.
        extra: usize,
    },
    /// A list claims more elements than any message may hold.
    #[error("message claims more memory than the limit of {DECODE_MAX} bytes")]
    OverLimit,
    /// A variant that this version does not know, most likely of a later one.
    #[error("{of} has no variant {variant}")]
    UnknownVariant {
        /// The enum.
        of: &'static str,
        /// The variant's number.
        variant: u32,
    },
    /// The bytes are no such message.
    #[error("malformed message: {0}")]
    Malformed(String),
}

impl From<DecodeError> for CodecError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::UnexpectedEnd { .. } => CodecError::Truncated,
            DecodeError::LimitExceeded | DecodeError::OutsideUsizeRange(_) => CodecError::OverLimit,
            DecodeError::UnexpectedVariant { type_name, found, .. } => CodecError::UnknownVariant {
                of: type_name,
                variant: found,
            },
            other => CodecError::Malformed(other.to_string()),
        }
    }
}

/// The bytes of a message, at most [`MESSAGE_MAX`].
///
/// # Errors
/// [`CodecError::TooLong`] when there would be more.
pub fn encode<T: Encode>(message: &T) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    encode_onto(&mut out, message)?;
    Ok(out)
}

/// How many bytes [`encode`] would make of a message or a part of one, whatever the limit: for filling pages.
#[must_use]
pub fn encoded_len<T: Encode>(message: &T) -> usize {
    // OK because counting bytes cannot fail, and no type of ours has an `Encode` that can.
    size_of_encoded(message).unwrap_or(usize::MAX)
}

/// The message that these bytes are, all of them.
///
/// # Errors
/// Any [`CodecError`]; none of them has cost more than the bounds at the head of this module.
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > MESSAGE_MAX {
        return Err(CodecError::TooLong {
            len: bytes.len(),
            limit: MESSAGE_MAX,
        });
    }
    let (message, used) = bincode::decode_from_slice(bytes, CONFIG)?;
    match bytes.len() - used {
        0 => Ok(message),
        extra => Err(CodecError::Trailing { extra }),
    }
}

/// Appends a message to `out`; on an error `out` is as it was.
pub(crate) fn encode_onto<T: Encode>(out: &mut Vec<u8>, message: &T) -> Result<(), CodecError> {
    let start = out.len();
    let mut encoder = EncoderImpl::new(Bounded { out, left: MESSAGE_MAX }, CONFIG);
    message.encode(&mut encoder).map_err(|error| {
        out.truncate(start);
        match (error, encoded_len(message)) {
            (_, len) if len > MESSAGE_MAX => CodecError::TooLong {
                len,
                limit: MESSAGE_MAX,
            },
            (error, _) => CodecError::Malformed(error.to_string()),
        }
    })
}

fn size_of_encoded<T: Encode>(message: &T) -> Result<usize, EncodeError> {
    let mut encoder = EncoderImpl::new(SizeWriter::default(), CONFIG);
    message.encode(&mut encoder)?;
    Ok(encoder.into_writer().bytes_written)
}

/// Stops at the limit, so that an answer that is far too long costs no more than one that just fits.
struct Bounded<'a> {
    out: &'a mut Vec<u8>,
    left: usize,
}

impl Writer for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.left = self.left.checked_sub(bytes.len()).ok_or(EncodeError::UnexpectedEnd)?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

/// A struct that may gain fields at its end.
///
/// On the wire it is its length in bytes and then its fields. A receiver that knows fewer fields skips the rest; one
/// that knows more finds them missing, and those it knows as [`Tail`]s take their defaults. It costs one byte up to 250.
/// In JSON it is what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rec<T>(pub T);

impl<T> Deref for Rec<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Encode> Encode for Rec<T> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        // Measured first and written after: cheaper than a buffer for each record of a page.
        (size_of_encoded(&self.0)? as u64).encode(encoder)?;
        self.0.encode(encoder)
    }
}

impl<C, T: Decode<()>> Decode<C> for Rec<T> {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let claimed = u64::decode(decoder)?;
        let len = usize::try_from(claimed).map_err(|_| DecodeError::OutsideUsizeRange(claimed))?;
        // Claimed here once for all that is claimed inside, where counting begins anew. The length is a byte at least, and
        // has claimed its own part.
        let allowed = len.checked_add(1).and_then(|bytes| bytes.checked_mul(FACTOR));
        let claim = allowed.ok_or(DecodeError::LimitExceeded)? - size_of::<u64>();
        decoder.claim_bytes_read(claim)?;
        // The reader is always a slice, for `decode` is the only way in: no bytes to peek at means too few of them.
        let fields = decoder
            .reader()
            .peek_read(len)
            .ok_or(DecodeError::UnexpectedEnd { additional: len })?;
        let mut inner = DecoderImpl::new(SliceReader::new(fields), CONFIG, ());
        inner.claim_bytes_read(DECODE_MAX - claim)?;
        let record = T::decode(&mut inner)?;
        decoder.reader().consume(len);
        Ok(Rec(record))
    }
}

impl<'de, C, T: Decode<()>> BorrowDecode<'de, C> for Rec<T> {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}

/// A field that was added to a struct after its first release: when the sender did not know it, it is the default.
///
/// It may stand only at the end of a struct that is always said inside a [`Rec`]; elsewhere what follows the struct
/// would be taken for the field. In JSON it is what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tail<T>(pub T);

impl<T: Encode> Encode for Tail<T> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.0.encode(encoder)
    }
}

impl<C, T: Decode<C> + Default> Decode<C> for Tail<T> {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        // Missing means nothing at all is left; a field that breaks off in its middle is an error as ever.
        if decoder.reader().peek_read(1).is_none() {
            return Ok(Tail(T::default()));
        }
        T::decode(decoder).map(Tail)
    }
}

impl<'de, C, T: Decode<C> + Default> BorrowDecode<'de, C> for Tail<T> {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}
