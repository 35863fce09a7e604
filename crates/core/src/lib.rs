//! What taskd decides: schedules, policies and run states. Pure: no clock, no threads, no output, and no input but zone files.
//!
//! # Theory of operation
//!
//! A [`Scheduler`](scheduler::Scheduler) holds what must be known of every task and of every run that has not ended. A
//! driver tells it what users ask ([`Command`](command::Command)) and what happens ([`Event`](event::Event)), each with the
//! time, and does what it wants done ([`Effect`](effect::Effect)). The driver waits until
//! [`next_wakeup`](scheduler::Scheduler::next_wakeup) and never polls.
//!
//! ```text
//!  users ── Command ──▶ ┌───────────┐ ── Record ──▶ store ── Durable ──┐
//!                       │ Scheduler │                                  │
//!  clock ── Tick ─────▶ │           │ ── Start, Stop, Forget ──▶ runner│
//!  runner ─ Ended, … ─▶ └───────────┘ ── Notice ──▶ people             │
//!                             ▲────────────────────────────────────────┘
//! ```
//!
//! **State changes only through records.** A [`Record`](record::Record) is one fact; one function takes it in. Replaying the
//! records in order gives the live state, and the tables of a store ([`snapshot`]) are a shorter way to say the same. What a
//! user asked for (a *decision*) is state once it is durable: until then it may be refused, and what it touches is reserved.
//! What happened (a *fact*) is state at once.
//!
//! **A firing starts at most once.** Before the clock comes to a fire time, the store holds the *horizon*: firings up to
//! there may have started. So a start needs no write of its own in its way; its record follows. After a crash the runner is
//! asked first. What it names and we do not know is adopted. What a living runner does not name was not started, nor what one
//! that was killed has not left to the next. With that gone as well, as after a crash of the machine, a fire time inside the
//! horizon without a record is *unknown*, and not repeated, nor is the number of the run that it may have had. One that the clock
//! has yet to come to, and was not set back from, was not started.
//!
//! **Every fire time is accounted for.** Each task has a *mark*, the last fire time dealt with. A fire time ends in a run, or
//! in a record that it was skipped, missed or is unknown, and that record moves the mark. A change of a task first settles
//! what the old schedule still owed.
//!
//! **A run belongs to the runner.** Its end is what the runner tells. The runner keeps each result until it may forget it,
//! which is when the end is durable here.
//!
//! # Where to look
//!
//! | module | holds |
//! |---|---|
//! | [`schedule`] | cron expressions, zones, grids of elapsed time: when a task is due |
//! | [`task`], [`policy`], [`process`], [`pause`], [`run`], [`overrides`], [`gates`] | what tasks and runs are |
//! | [`calendar`] | sets of days and times that tasks keep to or keep clear of |
//! | [`dependency`] | which tasks another comes after |
//! | [`command`], [`event`] | what goes into the scheduler |
//! | [`record`], [`effect`] | what comes out of it |
//! | [`scheduler`] | the state machine between them |
//! | [`snapshot`] | its state as tables |
//! | [`time`], [`size`] | instants, numbers of bytes |

pub mod calendar;
pub mod command;
pub mod dependency;
pub mod effect;
pub mod event;
pub mod gates;
pub mod overrides;
pub mod pattern;
pub mod pause;
pub mod policy;
pub mod process;
pub mod record;
pub mod requirement;
pub mod run;
pub mod schedule;
pub mod scheduler;
pub mod size;
pub mod snapshot;
pub mod task;
pub mod time;
mod words;

pub use time::{Boot, Timestamp};
