//! Who is told when a run changes.

use std::collections::{HashMap, HashSet};

use taskd_core::run::RunKey;
use tokio::sync::mpsc::UnboundedSender;

/// Tells a watcher of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) run: RunKey,
    /// Whether it has ended and its end is durable: this is the last that is told of it.
    pub(crate) over: bool,
}

/// Watchers by run. A sink is dropped when the last of its runs has ended or its receiver is gone.
#[derive(Default)]
pub(super) struct Watchers {
    by_run: HashMap<RunKey, Vec<UnboundedSender<Told>>>,
    /// Runs whose end is not durable yet: nobody can read yet how they ended.
    ending: HashSet<RunKey>,
}

impl Watchers {
    /// Tells `sink` of `run` from now on, and once at once.
    pub(super) fn add(&mut self, run: RunKey, in_progress: bool, sink: &UnboundedSender<Told>) {
        let over = !in_progress && !self.ending.contains(&run);
        // Its receiver may be gone already; then it is dropped at the next change.
        let _ = sink.send(Told { run, over });
        if !over {
            let sinks = self.by_run.entry(run).or_default();
            // A run may go on for months while watchers come and go.
            sinks.retain(|sink| !sink.is_closed());
            sinks.push(sink.clone());
        }
    }

    /// The run has changed.
    pub(super) fn changed(&mut self, run: RunKey) {
        if let Some(sinks) = self.by_run.get_mut(&run) {
            sinks.retain(|sink| sink.send(Told { run, over: false }).is_ok());
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
            let _ = sink.send(Told { run, over: true });
        }
    }
}

#[cfg(test)]
mod tests {
    use taskd_core::command::Command;
    use taskd_core::event::{Event, Inventory};
    use taskd_core::run::{AttemptEnd, Exit, Usage};
    use taskd_core::task::{Owner, TaskId};
    use tokio::sync::mpsc;

    use super::super::testing::Bench;
    use super::super::{Driver, Mail};
    use super::*;
    use crate::clock;
    use crate::testing::manual;

    const RUN: RunKey = RunKey { task: TaskId(1), n: 1 };

    fn heard(updates: &mut mpsc::UnboundedReceiver<Told>) -> Vec<bool> {
        std::iter::from_fn(|| updates.try_recv().ok())
            .map(|told| told.over)
            .collect()
    }

    #[test]
    fn who_comes_while_the_end_is_not_durable_is_told_when_it_is() {
        let mut watchers = Watchers::default();
        let (sink, mut updates) = mpsc::unbounded_channel();
        watchers.ending(RUN);
        // The scheduler has no such run any more.
        watchers.add(RUN, false, &sink);
        drop(sink);
        assert_eq!(heard(&mut updates), [false]);
        assert!(!updates.is_closed(), "the watch was over before the end could be read");
        watchers.ended(RUN);
        assert_eq!(heard(&mut updates), [true]);
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

    async fn settle(driver: &mut Driver) {
        driver.pump();
        while !driver.records.settled() {
            let stored = driver.stored.recv().await.expect("the store answers");
            driver.was_stored(stored);
            driver.pump();
        }
    }

    #[tokio::test]
    async fn a_run_whose_end_the_engine_has_not_carried_out_is_not_over() {
        // A runner of which the core alone knows.
        let mut bench = Bench::new(false);
        let driver = &mut bench.driver;
        let now = clock::now();
        driver.core.handle(now, Event::RunnerAttached(Inventory::default()));
        let add = Command::Add {
            owner: Owner(1),
            definitions: vec![manual("a")],
        };
        driver.core.apply(now, add).expect("it is accepted");
        settle(driver).await;
        driver
            .core
            .apply(
                now,
                Command::Run {
                    ids: vec![RUN.task],
                    overrides: None,
                },
            )
            .expect("it is accepted");
        settle(driver).await;
        let origin = driver.core.run(RUN).expect("it is running").origin.clone();
        let end = AttemptEnd {
            started_at: now,
            pid: 7,
            finished_at: now,
            exit: Exit::Code(0),
            stopped: None,
            usage: Usage::default(),
        };
        driver.core.handle(now, Event::Ended { origin, end });
        assert!(driver.core.run(RUN).is_none(), "the core knows the end already");

        let (sink, mut updates) = mpsc::unbounded_channel();
        driver.open(Mail::Watch { runs: vec![RUN], sink });
        assert_eq!(heard(&mut updates), [false]);
        settle(driver).await;
        assert_eq!(heard(&mut updates), [true]);
    }
}
