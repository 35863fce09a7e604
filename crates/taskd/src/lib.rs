//! The daemon `taskd`.
//!
//! # Theory of operation
//!
//! Two threads of control matter. The *engine* (its own thread) owns the [`Scheduler`](taskd_core::scheduler::Scheduler),
//! the pure core that decides everything, and does what it wants done: records go to the store's writer thread, starts
//! and stops to the runner, notices to the daemon log. The *server* (a small runtime of its own, so that encoding a long
//! list never delays a start) speaks with clients: it checks what they send, turns it into commands for the engine's
//! mailbox, and reads history from the store by connections of its own.
//!
//! What is acknowledged is durable: an answer to a change is given by the engine after the store has said so. What runs
//! belongs to the runner, another process, so that this one may end at any moment: at the next start the engine takes
//! the runner's inventory, and the core compares it with what was recorded. A runner of another program than this one
//! is replaced when it has nothing, and ends what it has beside a new one when it has something.
//!
//! Order of start: state directory (lock), store, daemon log, socket, core, runner. The socket answers before the runner
//! is there; systemd is told that the daemon is ready when both are.

mod accept;
mod args;
mod clock;
mod config;
mod describe;
mod engine;
mod log;
mod notify;
mod paths;
mod powers;
mod press;
mod program;
mod readers;
mod refusal;
mod run;
mod server;
mod signals;
#[cfg(test)]
mod testing;
mod why;
mod zoneinfo;

pub use run::main;

/// What can be typed, for the manual page.
#[must_use]
pub fn command() -> clap::Command {
    <args::Args as clap::CommandFactory>::command()
}
