//! What `taskd`, its runner and `taskctl` say to each other. Bytes in, messages out: no socket, no clock, no thread.
//!
//! # Theory of operation
//!
//! A connection, between `taskctl` and `taskd` or between `taskd` and its runner, goes like this on each side:
//!
//! 1. Send [`Hello::ours`](hello::Hello::ours) at once, and read the other side's with a
//!    [`HelloReader`](hello::HelloReader). The hello is fixed plain bytes that never change, so it can always be read.
//! 2. [`agree`](hello::agree) on the protocol: the highest that both speak. Both sides compute the same number from the
//!    two hellos, so nothing need be sent back. Where there is none, the [`Mismatch`](hello::Mismatch) tells which side
//!    is older, and [protocol 0](basic) still works: ping, version, status in brief, stop.
//! 3. Exchange frames. A [`FrameReader`](frame::FrameReader) takes bytes in pieces of any size, first what the hello
//!    reader had left over, and gives whole payloads; [`read_payload`](frame::read_payload) tells protocol 0 from a
//!    message; [`decode`](codec::decode) makes a message of the bytes. The other way, [`put_message`](frame::put_message)
//!    appends a whole frame to a buffer.
//!
//! Who sends which message type: a client [`Request`](client::Request), the daemon to it
//! [`Response`](client::Response); the daemon to its runner [`ToRunner`](runner::ToRunner), the runner
//! [`FromRunner`](runner::FromRunner).
//!
//! ```
//! use taskd_wire::client::Request;
//! use taskd_wire::codec::decode;
//! use taskd_wire::frame::{FrameReader, Payload, put_message, read_payload};
//! use taskd_wire::hello::{Hello, HelloReader, agree};
//!
//! let mut sent = Hello::ours().encode();
//! put_message(&mut sent, &Request::Status)?;
//!
//! let mut hellos = HelloReader::new();
//! hellos.push(&sent);
//! let theirs = hellos.next()?.expect("the hello is whole");
//! assert_eq!(agree(&Hello::ours(), &theirs)?, 1);
//!
//! let mut frames = FrameReader::new();
//! frames.push(&hellos.into_rest());
//! let payload = frames.next()?.expect("the frame is whole");
//! let Payload::Message(bytes) = read_payload(&payload)? else { panic!("a message") };
//! assert_eq!(decode::<Request>(bytes)?, Request::Status);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is promised
//!
//! * **Hostile bytes cost little.** No input panics or aborts, and what a decode may allocate is bounded: see [`codec`].
//!   A connection whose bytes are wrong is closed; where the next frame would begin is not known.
//! * **Versions understand each other.** The hello and protocol 0 are frozen. Within a protocol, enums gain variants at
//!   their end and [`Rec`](codec::Rec)ords gain [`Tail`](codec::Tail) fields at theirs, so old and new read each other's
//!   lists. A change that is more than that gets a new protocol number. The bytes of every variant are kept in
//!   `tests/golden.txt`, which only ever gains lines.
//! * **bincode stays here.** Nothing outside [`codec`] depends on its format, nothing on disk is written in it, and its
//!   format has other implementations, so it can be replaced without a new protocol.
//! * **Meaning crosses, sentences do not.** A refusal is a [code with data](refusal::Refusal); the sentence is made where
//!   it is read. Instants are `i64` milliseconds since the epoch.
//!
//! [`definition`] is also the shape of the JSON lines that `export` writes and `import` reads.

pub mod basic;
pub mod client;
pub mod codec;
pub mod definition;
pub mod frame;
pub mod hello;
pub mod refusal;
pub mod runner;
mod text;
