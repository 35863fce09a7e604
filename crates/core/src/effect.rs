//! Effects: what the core wants done. The driver does each at once, in the order they come; the core itself waits
//! for [`Event::Durable`](crate::event::Event::Durable) where something must be durable first.

use std::sync::Arc;
use std::time::Duration;

use crate::command::Ticket;
use crate::event::Origin;
use crate::overrides::Overrides;
use crate::record::Record;
use crate::run::{AttemptKey, Outcome, Passing, RunKey, TraceId, Trigger, Usage};
use crate::task::{TaskId, TaskName};
use crate::time::Timestamp;

/// What is wanted.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Write these records in one transaction, after all earlier ones, then tell
    /// [`Event::Durable`](crate::event::Event::Durable).
    Record {
        /// Its name.
        ticket: Ticket,
        /// What to write.
        records: Vec<Record>,
        /// Whether the store may refuse it. A fact may not be refused: it is tried until it holds.
        weight: Weight,
    },
    /// Have the runner start an attempt. The action stands in the store.
    Start {
        /// Which, and what it belongs to.
        origin: Origin,
        /// What is left of the time that its run may take.
        deadline: Option<Duration>,
        /// How the run of the task that ended last had ended.
        previous: Option<Outcome>,
        /// What the run is given beside what its task says.
        overrides: Option<Arc<Overrides>>,
    },
    /// Have the runner stop an attempt: TERM, grace, KILL.
    Stop {
        /// Which.
        attempt: AttemptKey,
        /// Between TERM and KILL.
        grace: Duration,
    },
    /// The runner may forget this attempt: its end is durable.
    Forget(AttemptKey),
    /// These tasks may start soon: have their actions at hand.
    Prepare(Vec<TaskId>),
    /// Something to tell people, in the daemon log and to watchers.
    Notice(Notice),
}

/// Whether records may be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// What a user asked for: refused when the store cannot take it.
    Decision,
    /// What happened: tried until it holds. It is state already, so later batches must wait for it.
    Fact,
}

/// What people are told.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A run exists; `waiting` for a place, or being started.
    RunCreated {
        /// What it is.
        origin: Origin,
        /// Whether it waits for a place.
        waiting: bool,
    },
    /// A run's process started.
    RunStarted {
        /// What it is.
        origin: Origin,
        /// Its process id.
        pid: u32,
        /// When.
        at: Timestamp,
        /// Whether it was found in a runner's inventory and not started by this daemon.
        adopted: bool,
    },
    /// A run is being stopped.
    RunStopping {
        /// Which.
        run: RunKey,
        /// Its task.
        name: TaskName,
        /// Its trace id.
        trace_id: TraceId,
        /// Why.
        reason: String,
    },
    /// An attempt ended and another follows, and the record of that is durable.
    AttemptEnded {
        /// The run.
        run: RunKey,
        /// Which attempt of it.
        attempt: u32,
        /// Its task.
        name: TaskName,
        /// Its trace id.
        trace_id: TraceId,
        /// How it ended.
        outcome: Outcome,
        /// Why, where the outcome alone does not say.
        reason: Option<String>,
        /// When the next one is due.
        retry_at: Timestamp,
    },
    /// A gate of a run is closed and the run waits for it, and the record of that is durable.
    GateClosed {
        /// The run.
        run: RunKey,
        /// Its task.
        name: TaskName,
        /// Its trace id.
        trace_id: TraceId,
        /// Which gate, and what was read.
        reading: String,
        /// Until when it waits.
        gives_up: Timestamp,
    },
    /// A run ended, and its record is durable.
    RunFinished {
        /// Which.
        run: RunKey,
        /// Its last attempt.
        attempt: u32,
        /// Its task.
        name: TaskName,
        /// Why it existed.
        trigger: Trigger,
        /// Its trace id.
        trace_id: TraceId,
        /// How it ended.
        outcome: Outcome,
        /// Why, where the outcome alone does not say.
        reason: Option<String>,
        /// Exit code, where there is one.
        exit_code: Option<i32>,
        /// Signal, where there is one.
        signal: Option<i32>,
        /// From start to end, where both are known.
        duration: Option<Duration>,
        /// What it used.
        usage: Usage,
    },
    /// Fire times passed without a run.
    Passed {
        /// The task.
        task: TaskId,
        /// Its name.
        name: TaskName,
        /// The first of them.
        first: Timestamp,
        /// The last of them.
        last: Timestamp,
        /// How many.
        count: u64,
        /// What became of them.
        passing: Passing,
        /// Why.
        reason: String,
    },
    /// Marks were set back, since the clock was set back by more than the bound.
    MarksReset {
        /// How many tasks.
        tasks: u64,
        /// The new mark.
        mark: Timestamp,
    },
    /// A task is held: its schedule cannot be read any more.
    Held {
        /// The task.
        name: TaskName,
        /// Why.
        problem: String,
    },
}
