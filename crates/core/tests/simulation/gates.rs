//! Runs that wait for their gate.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use taskd_core::Timestamp;
use taskd_core::gates::{Closed, LOOK_LAST};
use taskd_core::record::Record;
use taskd_core::run::RunKey;
use taskd_core::scheduler::Scheduler;

/// The longest that any task has its runs wait.
pub const WAIT_MAX: Duration = Duration::from_secs(10 * 60);

/// What the records say of gates.
#[derive(Default)]
pub struct Gates {
    /// Runs whose gate was found closed last, and that have not been let go to look again.
    closed: BTreeSet<RunKey>,
    /// Until when each run waits at most.
    gives_up: BTreeMap<RunKey, Timestamp>,
}

impl Gates {
    /// A record leaves a scheduler.
    pub fn emitted(&mut self, record: &Record) {
        match record {
            Record::GateClosed {
                run,
                at,
                gate: Closed { gives_up, .. },
                look_at,
            } => {
                assert!(look_at <= gives_up, "{run:?} would be looked at after it has given up");
                assert!(
                    look_at.since(*at) <= LOOK_LAST,
                    "{run:?} is not looked at for {:?}",
                    look_at.since(*at)
                );
                assert!(
                    gives_up.since(*at) <= WAIT_MAX,
                    "{run:?} would wait for {:?}",
                    gives_up.since(*at)
                );
                self.closed.insert(*run);
                self.gives_up.insert(*run, *gives_up);
            }
            Record::RunAdmitted { run, .. } => {
                self.closed.remove(run);
            }
            _ => {}
        }
    }

    /// A run has a process.
    pub fn started(&self, run: RunKey) {
        assert!(!self.closed.contains(&run), "{run:?} starts while its gate is closed");
    }

    /// Whether the gate of a run was ever closed.
    pub fn was_closed(&self, run: RunKey) -> bool {
        self.gives_up.contains_key(&run)
    }
}

/// What waits for its gate will be looked at, in time and not later than it gives up.
pub fn rests(core: &Scheduler, now: Timestamp) {
    for run in core.active_runs().filter(|run| run.state == "gated") {
        let (look_at, gives_up) = run.retry_at.zip(run.gate_until).expect("it is looked at again");
        assert!(
            now < look_at && look_at <= gives_up,
            "{run:?} was to be looked at, and it is {now}"
        );
        let wakeup = core.next_wakeup();
        assert!(wakeup.is_some_and(|at| at <= look_at), "nothing will wake for {run:?}");
    }
}
