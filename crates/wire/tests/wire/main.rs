//! What the crate promises of its bytes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod definition_json;
mod evolution;
mod golden;
mod handshake;
mod hostile;
mod properties;
mod samples;
