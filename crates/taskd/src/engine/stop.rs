//! An orderly stop: nothing new becomes due, what is on its way to the store arrives, a runner of ours ends its runs, and
//! what became of them is durable.

use std::time::Duration;

use taskd_core::event::Event;
use taskd_wire::refusal::Refusal;
use taskd_wire::runner::ToRunner;
use tokio::time::Instant;

use super::{Driver, Keeper, Waiting};
use crate::clock;

/// How long an orderly stop waits for the store before it goes on, and after the grace for the runner to end.
const SLACK: Duration = Duration::from_secs(5);

/// The same when it shall be over at once.
const HURRY: Duration = Duration::from_secs(1);

/// How far an orderly stop has come.
pub(super) enum Stop {
    /// Nobody asked for one.
    No,
    /// Nothing becomes due any more. What was promised before is awaited, so that the runner hears of every start before
    /// it is told to stop, and a runner that is just being started does not outlive this; until this instant at the
    /// latest.
    Settling { until: Instant },
    /// The runner is stopping its runs, until this instant at the latest.
    Draining { until: Instant },
    /// The engine ends as soon as every fact is durable, and at this instant at the latest: the disk may hang.
    Ending { until: Instant },
}

/// Waits until a stop has taken too long where it stands.
pub(super) async fn deadline(stop: &Stop) {
    match stop {
        Stop::Settling { until } | Stop::Draining { until } | Stop::Ending { until } => {
            tokio::time::sleep_until(*until).await;
        }
        Stop::No => std::future::pending().await,
    }
}

/// What follows the end of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The end of the daemon.
    Stop,
    /// Another life of it, to which the runner and its runs are left.
    Restart,
}

impl Driver {
    /// Begins to stop. One that is under way goes on as it does, unless it shall be over at once or was for a restart.
    pub(super) fn begin_stop(&mut self, at_once: bool) {
        let to_restart = std::mem::replace(&mut self.ending, Ending::Stop) == Ending::Restart;
        match self.stop {
            Stop::No => {
                self.notify.stopping();
                if self.attach_at.take().is_some() && self.keeps_runners() {
                    // A runner whose connection broke may be alive, and is ours to stop. None is started for that.
                    self.attach(false);
                }
                self.close();
            }
            Stop::Settling { .. } if to_restart => self.notify.stopping(),
            Stop::Ending { .. } if to_restart => {
                self.notify.stopping();
                self.shut_runners_down(self.config.runner.grace);
            }
            Stop::Settling { .. } | Stop::Draining { .. } | Stop::Ending { .. } => {}
        }
        if !at_once {
            return;
        }
        self.hurried = true;
        match self.stop {
            Stop::Settling { .. } | Stop::Draining { .. } => self.shut_runners_down(Duration::ZERO),
            Stop::Ending { .. } => self.end(),
            Stop::No => {}
        }
    }

    /// Begins to end, for another life of the daemon.
    pub(super) fn begin_restart(&mut self) -> Result<(), Refusal> {
        match self.stop {
            Stop::No => {}
            Stop::Settling { .. } | Stop::Draining { .. } | Stop::Ending { .. } => return Err(Refusal::Stopping),
        }
        if self.ready {
            self.notify.reloading();
        }
        self.attach_at = None;
        self.ending = Ending::Restart;
        self.close();
        Ok(())
    }

    /// Takes nothing new in any more.
    fn close(&mut self) {
        self.condition.stopping = true;
        for Waiting { done, .. } in self.busy.drain(..) {
            done(Err(Refusal::Stopping));
        }
        self.core.handle(clock::now(), Event::Closing);
        self.stop = Stop::Settling { until: within(SLACK) };
    }

    /// Takes a stop further, where what it waited for has come.
    pub(super) fn advance_stop(&mut self) {
        match self.stop {
            Stop::Settling { .. } => {
                let settled = self.records.settled() || self.records.error().is_some();
                let runner_coming = self.keeps_runners() && self.attaches;
                if settled && !runner_coming {
                    self.shut_runners_down(self.config.runner.grace);
                }
            }
            Stop::No | Stop::Draining { .. } | Stop::Ending { .. } => {}
        }
    }

    /// What was awaited did not come in time.
    pub(super) fn stop_is_late(&mut self) {
        match self.stop {
            Stop::Settling { .. } => {
                tracing::warn!("the store or the runner takes too long; they are not waited for");
                self.shut_runners_down(self.config.runner.grace);
            }
            Stop::Draining { .. } => {
                if self.hurried {
                    tracing::warn!("asked twice to stop; the runner is not waited for");
                } else {
                    tracing::warn!("the runner did not end in time; it is left to itself");
                }
                self.end();
            }
            Stop::Ending { .. } => {
                tracing::error!("the store did not take in time what has happened; it is found out at the next start");
            }
            Stop::No => {}
        }
    }

    /// Whether runners are started by this daemon, and stopped with it.
    fn keeps_runners(&self) -> bool {
        self.place.keeper == Keeper::Daemon
    }

    /// Has the runners stop their runs and end, if they are ours and not left to the next life.
    fn shut_runners_down(&mut self, grace: Duration) {
        let none = self.runner.is_none() && self.draining.is_empty();
        if none || !self.keeps_runners() || self.ending == Ending::Restart {
            return self.end();
        }
        // First, since a runner that is found gone by this must not be taken for one to be replaced.
        self.stop = Stop::Draining {
            until: within(grace + self.slack()),
        };
        self.tell_runners(&ToRunner::Shutdown {
            grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX),
        });
        self.flush_runners();
    }

    /// Waits for the store alone.
    pub(super) fn end(&mut self) {
        self.stop = Stop::Ending {
            until: within(self.slack()),
        };
    }

    fn slack(&self) -> Duration {
        if self.hurried { HURRY } else { SLACK }
    }

    /// Whether an orderly stop has done all it can.
    pub(super) fn ended(&self) -> bool {
        match self.stop {
            Stop::No | Stop::Settling { .. } | Stop::Draining { .. } => false,
            Stop::Ending { until } => {
                self.records.settled() || self.records.error().is_some() || within(Duration::ZERO) >= until
            }
        }
    }
}

fn within(length: Duration) -> Instant {
    Instant::from_std(clock::monotonic()) + length
}

#[cfg(test)]
mod tests {
    use super::super::Mail;
    use super::super::testing::{Bench, FakeRunner};

    use super::super::Engine;
    use super::super::testing::lines;
    use super::*;

    /// How long an engine takes to end that was told so, by the clock of its timers.
    async fn ends_after<T>(bench: Bench, at_once: bool, hung: T) -> Duration {
        let begun = within(Duration::ZERO);
        let Bench {
            driver, engine, store, ..
        } = bench;
        engine.stop(false).await;
        if at_once {
            engine.stop(true).await;
        }
        let ended = tokio::time::timeout(Duration::from_secs(3600), driver.run()).await;
        let took = begun.elapsed();
        // Before the store, which closes when it is dropped.
        drop((hung, store));
        ended.expect("it ends").expect("in good order");
        took
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_without_a_runner_waits_for_the_store_alone() {
        // The end of this life is on its way there. A runner would have its grace.
        let took = ends_after(Bench::new(false), false, ()).await;
        assert!(took <= 2 * SLACK, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_holds_a_stop_up_for_a_bounded_time_and_a_second_one_for_less() {
        for (at_once, most) in [(false, 2 * SLACK), (true, HURRY)] {
            let mut bench = Bench::new(false);
            let hung = bench.hang_store();
            bench.write_a_fact();
            let took = ends_after(bench, at_once, hung).await;
            assert!(took <= most, "{took:?} with {at_once}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_runner_that_attaches_when_it_is_too_late_starts_nothing() {
        let mut bench = Bench::new(true);
        let _hung = bench.hang_store();
        bench.write_a_fact();
        bench.driver.open(Mail::Stop { at_once: false });
        bench.driver.stop_is_late();
        assert!(matches!(bench.driver.stop, Stop::Ending { .. }));
        bench.driver.attaches = true;
        assert!(!bench.driver.takes_runner());
        assert!(!bench.driver.attaches);
    }

    /// What the runner is told of an engine that is told so once it serves, and what the engine ends for.
    async fn told_by(asks: impl AsyncFnOnce(&Engine)) -> (Vec<ToRunner>, Ending, Vec<String>) {
        let bench = Bench::new(true);
        let runner = FakeRunner::listen(&bench);
        let Bench {
            driver,
            engine,
            store,
            told,
            dir,
        } = bench;
        let mut serving = tokio::spawn(runner.serve_until_gone());
        let driving = async { driver.run().await.expect("in good order") };
        let asking = async {
            while !engine
                .look(|_, condition| condition.runner.is_some())
                .await
                .expect("it is there")
            {
                tokio::task::yield_now().await;
            }
            asks(&engine).await;
        };
        let (ended, ()) = tokio::join!(driving, asking);
        let heard = (&mut serving).await.expect("no panic");
        drop((store, dir));
        (heard, ended, lines(&told))
    }

    #[tokio::test]
    async fn a_restart_leaves_the_runner_alone_and_is_no_stop_to_the_service_manager() {
        let (heard, ended, told) = told_by(async |engine| {
            engine.restart().await.expect("it begins");
            assert_eq!(engine.restart().await, Err(Refusal::Stopping), "once is enough");
        })
        .await;
        assert_eq!((heard, ended), (Vec::new(), Ending::Restart));
        assert_eq!(told, ["READY=1", "RELOADING=1"]);
    }

    #[tokio::test]
    async fn a_stop_on_top_of_a_restart_is_a_stop() {
        let (heard, ended, told) = told_by(async |engine| {
            engine.restart().await.expect("it begins");
            engine.stop(false).await;
        })
        .await;
        assert!(matches!(heard.as_slice(), [ToRunner::Shutdown { .. }]), "{heard:?}");
        assert_eq!(ended, Ending::Stop);
        assert_eq!(told, ["READY=1", "RELOADING=1", "STOPPING=1"]);
    }
}
