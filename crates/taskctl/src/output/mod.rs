//! The output of runs, which taskctl reads from the files itself: the daemon only says where they are.
//!
//! A file holds one JSON object a line. The file of a run in progress that has reached its cap has a hole: the runner
//! gives the space between head and tail back to the system, and what is read there is NUL bytes. When such a run ends,
//! the runner puts a smaller file in its place, in which a gap line says how much is missing.

pub mod base64;
pub mod changes;
pub mod daemon_log;
pub mod follow;
pub mod lines;
pub mod pressed;
pub mod printer;
pub mod raw;
pub mod record;
mod source;
pub mod tail;
