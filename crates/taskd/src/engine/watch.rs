//! Who is told when a run changes.

use std::collections::HashMap;

use taskd_core::run::RunKey;
use tokio::sync::mpsc::UnboundedSender;

/// Watchers by run. A sink is dropped when the last of its runs has ended or its receiver is gone.
#[derive(Default)]
pub(super) struct Watchers {
    by_run: HashMap<RunKey, Vec<UnboundedSender<RunKey>>>,
}

impl Watchers {
    /// Tells `sink` of `run` from now on, and once at once.
    pub(super) fn add(&mut self, run: RunKey, in_progress: bool, sink: &UnboundedSender<RunKey>) {
        // Its receiver may be gone already; then it is dropped at the next change.
        let _ = sink.send(run);
        if in_progress {
            self.by_run.entry(run).or_default().push(sink.clone());
        }
    }

    /// The run has changed.
    pub(super) fn changed(&mut self, run: RunKey) {
        if let Some(sinks) = self.by_run.get_mut(&run) {
            sinks.retain(|sink| sink.send(run).is_ok());
            if sinks.is_empty() {
                self.by_run.remove(&run);
            }
        }
    }

    /// The run has ended.
    pub(super) fn ended(&mut self, run: RunKey) {
        for sink in self.by_run.remove(&run).unwrap_or_default() {
            let _ = sink.send(run);
        }
    }
}
