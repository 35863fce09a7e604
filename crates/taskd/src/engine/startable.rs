//! What the runner is not even told to start, since it cannot be, or since this runner would not start it as it is meant.

use std::sync::Arc;

use taskd_core::event::{Event, Origin};
use taskd_core::overrides::Overrides;
use taskd_core::policy::{OutputKind, OutputPolicy};
use taskd_core::process::caps::Caps;
use taskd_core::run::{AttemptEnd, Exit, Usage};
use taskd_core::task::Definition;
use taskd_store::ReadError;
use taskd_wire::runner::{Gates, can};

use super::Driver;
use super::spoken::gates;
use crate::clock;

/// `EIO`, for a start whose definition could not be read.
const EIO: i32 = 5;

/// `EOPNOTSUPP`, for a start that this runner does not know how to make.
const EOPNOTSUPP: i32 = 95;

impl Driver {
    /// What an attempt does and what is to be looked at before, if the runner that is there can do it.
    pub(super) fn startable(
        &mut self,
        origin: &Origin,
        overrides: Option<&Overrides>,
    ) -> Result<(Arc<Definition>, Option<Gates>), Unstartable> {
        let task = origin.attempt.run.task;
        let definition = self.actions.get(task)?.ok_or(Unstartable::NoTask)?;
        if hides(&definition.output) && self.cannot(can::OUTPUTS) {
            return Err(Unstartable::NoOutputs);
        }
        // It would not know that there is a user, and start it as its own.
        if definition.process.user.is_some() && self.cannot(can::USERS) {
            return Err(Unstartable::NoUsers);
        }
        // Nor of a cap.
        if let Some(cap) = first_cap(&definition.process.caps)
            && self.cannot(can::CAPS)
        {
            return Err(Unstartable::NoCaps { cap });
        }
        let gates = gates(origin, &definition, overrides);
        if gates.is_some() && self.cannot(can::GATES) {
            return Err(Unstartable::NoGates);
        }
        Ok((definition, gates))
    }

    /// Whether the runner that is told to start what is due lacks this.
    fn cannot(&self, bit: u64) -> bool {
        self.runner.as_ref().is_some_and(|runner| runner.can & bit == 0)
    }

    pub(super) fn cannot_start(&mut self, origin: Origin, problem: &Unstartable) {
        tracing::error!(
            task = origin.name.as_str(),
            run = origin.attempt.run.n,
            attempt = origin.attempt.attempt,
            trace_id = %origin.trace_id,
            error = %problem,
            "a run cannot be started"
        );
        let now = clock::now();
        let end = AttemptEnd {
            started_at: now,
            pid: 0,
            finished_at: now,
            exit: problem.exit(),
            stopped: None,
            usage: Usage::default(),
        };
        self.core.handle(now, Event::Ended { origin, end });
    }
}

/// Why the runner is not even told to start something.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unstartable {
    /// The task is gone from where it should be.
    #[error("the store has no such task")]
    NoTask,
    /// The store cannot be read.
    #[error("the action could not be read: {0}")]
    Store(#[from] ReadError),
    /// The runner does not know what is to be hidden.
    #[error("the runner is of an earlier version that hides nothing")]
    NoOutputs,
    /// The runner does not know of users.
    #[error("--user: the runner is of an earlier version that knows no users")]
    NoUsers,
    /// The runner does not know of gates.
    #[error("the runner is of an earlier version that knows no gates")]
    NoGates,
    /// The runner does not know of caps.
    #[error("--{cap}: the runner is of an earlier version that knows no caps")]
    NoCaps {
        /// The option of the first one.
        cap: &'static str,
    },
}

impl Unstartable {
    /// As the end of an attempt, in the words that the runner has for such.
    fn exit(&self) -> Exit {
        match self {
            Unstartable::NoTask | Unstartable::Store(_) => Exit::SpawnFailed {
                errno: EIO,
                what: "reading the definition".to_owned(),
            },
            Unstartable::NoOutputs => Exit::SpawnFailed {
                errno: EOPNOTSUPP,
                what: "the runner is an older one, which would keep what is to be hidden; restart it".to_owned(),
            },
            Unstartable::NoUsers => Exit::SpawnFailed {
                errno: EOPNOTSUPP,
                what: "users, of which the runner, of an earlier version, knows nothing: restart it".to_owned(),
            },
            Unstartable::NoGates => Exit::SpawnFailed {
                errno: EOPNOTSUPP,
                what: "gates, which a runner of an earlier version knows nothing of".to_owned(),
            },
            Unstartable::NoCaps { cap } => Exit::SpawnFailed {
                errno: EOPNOTSUPP,
                what: format!("{cap}, the runner is of an earlier version that knows no caps: restart it"),
            },
        }
    }
}

/// Whether something a command writes must not be kept.
fn hides(output: &OutputPolicy) -> bool {
    match output.kind {
        OutputKind::Discard => true,
        OutputKind::Lines | OutputKind::File => !output.mask.is_empty(),
    }
}

/// The option of the first cap there is.
fn first_cap(caps: &Caps) -> Option<&'static str> {
    let Caps { memory, cpu, pids } = caps;
    let options = [
        memory.map(|_| "memory-max"),
        cpu.map(|_| "cpu-max"),
        pids.map(|_| "pids-max"),
    ];
    options.into_iter().flatten().next()
}
