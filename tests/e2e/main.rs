//! End to end: the real programs, a real store, real processes. One file a verb or promise.
// A definition written in full has more fields than `json!` takes with the usual limit.
#![recursion_limit = "256"]

mod chaos;
mod daemon_log;
mod delegated;
mod disk_full;
mod durable;
mod each_second;
mod environment;
mod harness;
mod ledger;
mod limits;
mod man;
mod older;
mod output;
mod runner;
mod signals;
mod speed;
mod stop;
mod survive;
mod upgrade;
mod vectors;
mod verbs;
mod wire;
mod zones;
