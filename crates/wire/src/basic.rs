//! Protocol 0: the few things that every version understands of every other. Its bytes are frozen for ever.
//!
//! It is spoken on the client socket, whether or not the hellos found a common protocol, so that a new `taskctl` can
//! ask an old `taskd` what it is and stop it. A payload is [`KIND_BASIC`], a code, and the fields of the code:
//!
//! | code | ask | code | answer |
//! |---|---|---|---|
//! | 1 | ping | 129 | pong |
//! | 2 | version | 130 | version: length byte and printable ASCII |
//! | 3 | status in brief | 131 | pid `u32`, started `i64` in ms since the epoch, tasks `u64`, running `u64`, little-endian |
//! | 4 | stop | 132 | stopping |
//! | up to 127 | not defined, any fields | 255 | unsupported |

use crate::frame::KIND_BASIC;
use crate::text;

const PING: u8 = 1;
const VERSION: u8 = 2;
const STATUS_BRIEF: u8 = 3;
const STOP: u8 = 4;
const LAST_ASK: u8 = 127;
const PONG: u8 = 129;
const VERSION_IS: u8 = 130;
const STATUS_BRIEF_IS: u8 = 131;
const STOPPING: u8 = 132;
const UNSUPPORTED: u8 = 255;

/// A message of protocol 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basic {
    /// From a client.
    Ask(Ask),
    /// From the daemon.
    Answer(Answer),
}

/// What a client asks at protocol 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Whether someone is there. Answered by [`Answer::Pong`].
    Ping,
    /// The version of the program. Answered by [`Answer::Version`].
    Version,
    /// A few numbers. Answered by [`Answer::StatusBrief`].
    StatusBrief,
    /// To stop in an orderly way. Answered by [`Answer::Stopping`].
    Stop,
    /// An ask this version does not know. Answered by [`Answer::Unsupported`]. It cannot be sent: its fields are not
    /// known, and it encodes as its code alone.
    Unknown(u8),
}

/// What the daemon answers at protocol 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is there.
    Pong,
    /// The version of the program.
    Version {
        /// As its package says it, such as `1.2.3`.
        text: String,
    },
    /// A few numbers.
    StatusBrief {
        /// Process id of the daemon.
        pid: u32,
        /// When it started, milliseconds since the epoch.
        started_ms: i64,
        /// How many tasks it has.
        tasks: u64,
        /// How many runs are in progress.
        running: u64,
    },
    /// It is stopping.
    Stopping,
    /// It does not know or does not allow what was asked.
    Unsupported,
}

/// Why bytes are no message of protocol 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BasicError {
    /// The message is cut short.
    #[error("basic message is cut short")]
    Truncated,
    /// Bytes follow the message.
    #[error("{0} bytes after the end of a basic message")]
    Trailing(usize),
    /// An answer that does not exist.
    #[error("unknown basic answer {0}")]
    UnknownAnswer(u8),
    /// A text is not printable ASCII.
    #[error("text of a basic message is not printable")]
    Text,
}

impl Basic {
    /// The whole payload, from [`KIND_BASIC`] on.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![KIND_BASIC];
        match self {
            Basic::Ask(ask) => out.push(ask.code()),
            Basic::Answer(Answer::Pong) => out.push(PONG),
            Basic::Answer(Answer::Version { text }) => {
                out.push(VERSION_IS);
                text::put(&mut out, text);
            }
            Basic::Answer(Answer::StatusBrief {
                pid,
                started_ms,
                tasks,
                running,
            }) => {
                out.push(STATUS_BRIEF_IS);
                out.extend_from_slice(&pid.to_le_bytes());
                out.extend_from_slice(&started_ms.to_le_bytes());
                out.extend_from_slice(&tasks.to_le_bytes());
                out.extend_from_slice(&running.to_le_bytes());
            }
            Basic::Answer(Answer::Stopping) => out.push(STOPPING),
            Basic::Answer(Answer::Unsupported) => out.push(UNSUPPORTED),
        }
        out
    }

    /// The message after [`KIND_BASIC`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<Basic, BasicError> {
        let (&code, mut rest) = bytes.split_first().ok_or(BasicError::Truncated)?;
        let message = match code {
            PING => Basic::Ask(Ask::Ping),
            VERSION => Basic::Ask(Ask::Version),
            STATUS_BRIEF => Basic::Ask(Ask::StatusBrief),
            STOP => Basic::Ask(Ask::Stop),
            0..=LAST_ASK => return Ok(Basic::Ask(Ask::Unknown(code))),
            PONG => Basic::Answer(Answer::Pong),
            VERSION_IS => {
                let (text, after) = text::take(rest)
                    .map_err(|text::NotPrintable| BasicError::Text)?
                    .ok_or(BasicError::Truncated)?;
                rest = after;
                Basic::Answer(Answer::Version { text })
            }
            STATUS_BRIEF_IS => Basic::Answer(Answer::StatusBrief {
                pid: u32::from_le_bytes(take(&mut rest)?),
                started_ms: i64::from_le_bytes(take(&mut rest)?),
                tasks: u64::from_le_bytes(take(&mut rest)?),
                running: u64::from_le_bytes(take(&mut rest)?),
            }),
            STOPPING => Basic::Answer(Answer::Stopping),
            UNSUPPORTED => Basic::Answer(Answer::Unsupported),
            128..UNSUPPORTED => return Err(BasicError::UnknownAnswer(code)),
        };
        match rest.len() {
            0 => Ok(message),
            extra => Err(BasicError::Trailing(extra)),
        }
    }
}

impl Ask {
    fn code(self) -> u8 {
        match self {
            Ask::Ping => PING,
            Ask::Version => VERSION,
            Ask::StatusBrief => STATUS_BRIEF,
            Ask::Stop => STOP,
            Ask::Unknown(code) => code,
        }
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], BasicError> {
    let (head, rest) = bytes.split_first_chunk::<N>().ok_or(BasicError::Truncated)?;
    *bytes = rest;
    Ok(*head)
}
