//! Who is told when a run changes.

use std::collections::{HashMap, HashSet};

use taskd_core::run::RunKey;
use tokio::sync::mpsc::UnboundedSender;

/// Watchers by run. A sink is dropped when the last of its runs has ended or its receiver is gone.
#[derive(Default)]
pub(super) struct Watchers {
    by_run: HashMap<RunKey, Vec<UnboundedSender<RunKey>>>,
    /// Runs whose end is not durable yet: nobody can read yet how they ended.
    ending: HashSet<RunKey>,
}

impl Watchers {
    /// Tells `sink` of `run` from now on, and once at once.
    pub(super) fn add(&mut self, run: RunKey, in_progress: bool, sink: &UnboundedSender<RunKey>) {
        // Its receiver may be gone already; then it is dropped at the next change.
        let _ = sink.send(run);
        if in_progress || self.ending.contains(&run) {
            let sinks = self.by_run.entry(run).or_default();
            // A run may go on for months while watchers come and go.
            sinks.retain(|sink| !sink.is_closed());
            sinks.push(sink.clone());
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

    /// The end of the run is on its way to the store.
    pub(super) fn ending(&mut self, run: RunKey) {
        self.ending.insert(run);
    }

    /// The run has ended, and its end is durable.
    pub(super) fn ended(&mut self, run: RunKey) {
        self.ending.remove(&run);
        for sink in self.by_run.remove(&run).unwrap_or_default() {
            let _ = sink.send(run);
        }
    }
}

#[cfg(test)]
mod tests {
    use taskd_core::task::TaskId;
    use tokio::sync::mpsc;

    use super::*;

    const RUN: RunKey = RunKey { task: TaskId(1), n: 1 };

    fn heard(updates: &mut mpsc::UnboundedReceiver<RunKey>) -> usize {
        std::iter::from_fn(|| updates.try_recv().ok()).count()
    }

    #[test]
    fn who_comes_while_the_end_is_not_durable_is_told_when_it_is() {
        let mut watchers = Watchers::default();
        let (sink, mut updates) = mpsc::unbounded_channel();
        watchers.ending(RUN);
        // The scheduler has no such run any more.
        watchers.add(RUN, false, &sink);
        drop(sink);
        assert_eq!(heard(&mut updates), 1);
        assert!(!updates.is_closed(), "the watch was over before the end could be read");
        watchers.ended(RUN);
        assert_eq!(heard(&mut updates), 1);
        assert!(updates.is_closed());
        assert!(watchers.ending.is_empty());
    }

    #[test]
    fn watchers_that_left_are_forgotten_while_a_run_goes_on() {
        let mut watchers = Watchers::default();
        for _ in 0..100 {
            let (sink, _) = mpsc::unbounded_channel();
            watchers.add(RUN, true, &sink);
        }
        assert!(watchers.by_run[&RUN].len() <= 1);
    }
}
