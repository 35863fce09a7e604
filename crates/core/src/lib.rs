//! stub
pub mod command;
pub mod effect;
pub mod event;
pub mod policy;
pub mod record;
pub mod run;
pub mod schedule;
pub mod scheduler;
pub mod snapshot;
pub mod task;
pub mod time;

pub use time::Timestamp;
