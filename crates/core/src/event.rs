//! Events: what happened in the world, as the driver tells the core.

use crate::command::Ticket;
use crate::run::{AttemptEnd, AttemptKey, TraceId, Trigger};
use crate::task::TaskName;
use crate::time::{Boot, Timestamp};

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Time has passed. May be told at any moment and too often.
    Tick,
    /// The records of this ticket are durable. Told in the order of the tickets, those that were refused left out.
    Durable(Ticket),
    /// The records of this ticket, a decision, will never be durable: the store refused them.
    Refused(Ticket),
    /// A runner is attached, and this is all it knows.
    RunnerAttached(Inventory),
    /// The runner is gone. Nothing can start until the next is attached.
    RunnerLost,
    /// An attempt's process started.
    Started {
        /// Which.
        attempt: AttemptKey,
        /// Its process id.
        pid: u32,
        /// When.
        at: Timestamp,
    },
    /// An attempt ended or could not start.
    Ended {
        /// Which, and what it belongs to.
        origin: Origin,
        /// How.
        end: AttemptEnd,
    },
    /// The clock was set, or the machine woke from sleep. Marks that are now far ahead are set back.
    ClockStepped,
    /// The machine is in this boot: heard at the beginning of each life of the daemon, and anew before
    /// [`Event::ClockStepped`], since that is when it was by the clock.
    Booted(Boot),
    /// The tz database changed: every schedule is read anew.
    ZonesChanged,
    /// The daemon is about to end, in order. Nothing becomes due any more, and the horizon is drawn back, so that the
    /// next life need not hold fire times for unknown that this one knows it has not started.
    Closing,
}

/// All that a runner knows, and those beside it that only end what they have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inventory {
    /// The runner's own random number; tells one life of a runner from another.
    pub instance: u64,
    /// Other lives of which all attempts are named here too: runners beside it, such as were found to have none and were ended,
    /// and such as were killed and have left what they knew.
    pub also: Vec<u64>,
    /// Attempts that lives which were killed had begun, and of which nobody knows the end.
    pub begun: Vec<Begun>,
    /// Attempts that were with one beside it that is gone, before their ends were told.
    pub lost: Vec<AttemptKey>,
    /// Attempts in progress.
    pub live: Vec<Live>,
    /// Attempts that ended and are not yet forgotten.
    pub ended: Vec<(Origin, AttemptEnd)>,
}

/// An attempt that was lost with its runner: what is left of its [`Origin`].
#[derive(Clone, Debug, PartialEq)]
pub struct Begun {
    /// Which.
    pub attempt: AttemptKey,
    /// Why its run exists.
    pub trigger: Trigger,
    /// The fire time it is for.
    pub fire_time: Option<Timestamp>,
    /// When the run was created.
    pub created_at: Timestamp,
    /// Its trace id.
    pub trace_id: TraceId,
}

/// An attempt in progress.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// Which, and what it belongs to.
    pub origin: Origin,
    /// Its process id; 0 while it is being spawned.
    pub pid: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// Whether it is being stopped.
    pub stopping: bool,
}

/// What a start said of its run; a runner gives it back, so that a run whose record was lost in a crash is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// Which attempt.
    pub attempt: AttemptKey,
    /// The task's name then.
    pub name: TaskName,
    /// Why the run exists.
    pub trigger: Trigger,
    /// The fire time it is for.
    pub fire_time: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Its trace id.
    pub trace_id: TraceId,
}
