//! The promises of the store, each held by a test that would fail without it.

#![expect(clippy::unwrap_used, reason = "what fails in the scene of a test fails the test")]

mod changes;
mod crash;
mod damage;
mod durable;
mod full;
mod golden;
mod history;
mod imports;
mod load;
mod model;
mod opening;
mod pruning;
mod scene;
mod whole;
mod writing;
