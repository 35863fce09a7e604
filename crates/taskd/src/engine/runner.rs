//! The engine's side of the runner: what it says becomes events, what the core wants of it becomes messages.

use std::collections::HashSet;
use std::time::Duration;

use taskd_core::Timestamp;
use taskd_core::event::{Event, Inventory, Origin};
use taskd_core::overrides::Overrides;
use taskd_core::run::{AttemptKey, Outcome};
use taskd_wire::codec::{Rec, Tail};
use taskd_wire::runner::{self as wire, FromRunner, ToRunner};

use super::Driver;
use super::attach::{self, Attached, Started};
use super::link::{LinkError, Met};
use super::runners::{Runner, Seen, Which};
use super::spoken::{core_begun, core_ended, core_key, core_live, wire_key, wire_start};
use super::stop::Stop;
use crate::clock;

/// The first wait before another try to attach.
pub(super) const PATIENCE_FIRST: Duration = Duration::from_millis(50);

/// The longest wait before another try to attach.
const PATIENCE_LAST: Duration = Duration::from_secs(5);

/// Bytes of messages after which they are sent without waiting for more.
const SEND_AT: usize = 32 * 1024;

/// Waits until the next try to attach is to begin; for ever when none is.
pub(super) async fn attach_due(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Driver {
    /// Tries to attach to a runner, after a while.
    pub(super) fn attach_after(&mut self, wait: Duration) {
        self.attach_at = Some(tokio::time::Instant::from_std(clock::monotonic()) + wait);
    }

    /// Tries to attach to the runners; to start one is ours only if it `may_start`.
    pub(super) fn attach(&mut self, may_start: bool) {
        self.attach_at = None;
        self.attaches = true;
        let (place, attaching) = (self.place.clone(), self.attaching.clone());
        tokio::spawn(async move {
            // The engine may have ended; then nobody needs a runner, and one that was just started ends.
            let _ = attaching.send(attach::attach(&place, may_start).await);
        });
    }

    pub(super) fn runner_attached(&mut self, result: Result<Attached, LinkError>) {
        self.attaches = false;
        match result {
            Ok(attached) => self.take_attached(attached),
            Err(error) => {
                self.condition.runner_problem = Some(error.to_string());
                if matches!(self.stop, Stop::No) {
                    tracing::warn!(error = %error, "no runner is attached");
                    let wait = self.patience;
                    self.patience = (wait * 2).min(PATIENCE_LAST);
                    self.attach_after(wait);
                }
            }
        }
    }

    fn take_attached(&mut self, attached: Attached) {
        let Attached {
            current,
            draining,
            idle,
            started,
        } = attached;
        self.patience = PATIENCE_FIRST;
        let mut inventory = Inventory {
            instance: current.info.instance,
            also: idle,
            begun: Vec::new(),
            lost: std::mem::take(&mut self.lost),
            live: Vec::new(),
            ended: Vec::new(),
        };
        self.condition.cgroups = current.info.cgroups.0.clone();
        let started = started.map(Started::keep);
        tracing::info!(
            pid = current.info.pid,
            version = current.info.version,
            live = current.live.len(),
            ended = current.ended.len(),
            started = started.is_some(),
            "a runner is attached"
        );
        let (seen, mut runner) = take_met(current, &mut inventory);
        runner.guard = started;
        self.condition.runner = Some(seen);
        self.condition.runner_problem = None;
        self.runner = Some(runner);
        self.condition.draining.clear();
        for met in draining {
            tracing::info!(
                pid = met.info.pid,
                version = met.info.version,
                live = met.live.len(),
                ended = met.ended.len(),
                "a runner of another program goes on beside it until what it has is over"
            );
            inventory.also.push(met.info.instance);
            let (seen, runner) = take_met(met, &mut inventory);
            self.condition.draining.push(seen);
            self.draining.push(runner);
        }
        // What may have started is judged by the clock: it may have been set since, and that not have been heard.
        self.clock_stepped();
        self.core.handle(clock::now(), Event::RunnerAttached(inventory));
        self.core.handle(clock::now(), Event::Tick);
        self.is_ready();
    }

    pub(super) fn runner_said(&mut self, which: Which, said: Result<Vec<FromRunner>, LinkError>) {
        match said {
            Ok(messages) => self.take_in(which, messages),
            Err(error) => self.runner_lost(which, &error),
        }
    }

    /// Nothing where it is not there any more.
    pub(super) fn runner_at(&mut self, which: Which) -> Option<&mut Runner> {
        match which {
            Which::Current => self.runner.as_mut(),
            Which::Draining(index) => self.draining.get_mut(index),
            Which::Gone => None,
        }
    }

    /// Brings up to date what is told of how many attempts each runner has.
    pub(super) fn count_attempts(&mut self) {
        if let (Some(seen), Some(runner)) = (&mut self.condition.runner, &self.runner) {
            seen.running = runner.live.len();
        }
        for (seen, runner) in self.condition.draining.iter_mut().zip(&self.draining) {
            seen.running = runner.live.len();
        }
    }

    fn take_in(&mut self, which: Which, messages: Vec<FromRunner>) {
        let now = clock::now();
        let mut events = Vec::with_capacity(messages.len());
        for message in messages {
            match message {
                FromRunner::Started { key, pid, at_ms } => events.push(Event::Started {
                    attempt: core_key(key),
                    pid,
                    at: Timestamp::from_millis(at_ms),
                }),
                FromRunner::Ended(ended) => {
                    let attempt = core_key(ended.0.origin.key);
                    let knows = core_ended(ended.0);
                    if let Some(runner) = self.runner_at(which) {
                        runner.live.remove(&attempt);
                        if knows.is_some() {
                            runner.owed.insert(attempt);
                        }
                    }
                    if let Some((origin, end)) = knows {
                        events.push(Event::Ended { origin, end });
                    }
                }
                FromRunner::Used { at_us, used, is_last } => self.usage_said(which, at_us, used, is_last),
                FromRunner::InventoryEnd(info) if info.0.closing.0 && which != Which::Current => {
                    tracing::info!(pid = info.0.pid, "a runner of another program is about to end");
                }
                FromRunner::InventoryEnd(info) if info.0.closing.0 => {
                    // It goes on telling of its runs until it is gone; what is due meanwhile waits for the next.
                    tracing::info!("the runner is about to end");
                    self.condition.runner = None;
                    self.condition.cgroups = None;
                    events.push(Event::RunnerLost);
                }
                FromRunner::InventoryEnd(info) if which == Which::Current => {
                    let now = info.0.cgroups.0;
                    match &now {
                        Some(_) => tracing::info!("attempts have control groups again"),
                        None => tracing::warn!("attempts have no control groups: the runner can make none"),
                    }
                    self.condition.cgroups = now;
                }
                FromRunner::Inventory { .. } | FromRunner::InventoryEnd(_) | FromRunner::Begun(_) => {
                    tracing::warn!("the runner sent a second inventory, which is ignored");
                }
            }
        }
        self.core.handle_all(now, events);
    }

    fn runner_lost(&mut self, which: Which, error: &LinkError) {
        match which {
            Which::Current => self.current_lost(error),
            Which::Draining(index) => self.draining_lost(index, error),
            Which::Gone => {}
        }
        self.usage_settled();
    }

    fn current_lost(&mut self, error: &LinkError) {
        self.lose_current();
        match self.stop {
            Stop::No => {
                tracing::warn!(error = %error, "the runner is gone");
                self.meet_anew();
            }
            Stop::Settling { .. } | Stop::Draining { .. } | Stop::Ending { .. } => self.end_without_runners(),
        }
    }

    /// There is no runner any more that is told to start what is due: that first, so that nothing which follows from its
    /// last words is started with it.
    fn lose_current(&mut self) {
        self.condition.runner = None;
        self.condition.cgroups = None;
        self.core.handle(clock::now(), Event::RunnerLost);
        if let Some(runner) = self.runner.take() {
            self.take_in(Which::Gone, runner.last_words());
        }
    }

    fn draining_lost(&mut self, index: usize, error: &LinkError) {
        let mut runner = self.draining.remove(index);
        let seen = self.condition.draining.remove(index);
        let attempts = std::mem::take(&mut runner.live);
        let was_done = runner.is_drained();
        // What it says at last is of attempts that it had, which it may yet say have ended.
        let last_words = runner.last_words();
        let ended: HashSet<AttemptKey> = last_words.iter().filter_map(ended_attempt).collect();
        let lost: Vec<AttemptKey> = attempts.difference(&ended).copied().collect();
        match self.stop {
            Stop::No if lost.is_empty() => {
                self.take_in(Which::Gone, last_words);
                tracing::info!(
                    pid = seen.pid,
                    version = seen.version,
                    drained = was_done,
                    "a runner of another program has ended"
                );
            }
            Stop::No => {
                tracing::warn!(error = %error, pid = seen.pid, lost = lost.len(), "a runner of another program is gone");
                self.lost.extend(lost);
                self.lose_current();
                self.take_in(Which::Gone, last_words);
                self.meet_anew();
            }
            Stop::Settling { .. } | Stop::Draining { .. } | Stop::Ending { .. } => {
                self.take_in(Which::Gone, last_words);
                self.end_without_runners();
            }
        }
    }

    /// Attaches to all runners anew, since only the inventories of all of them are the whole truth.
    fn meet_anew(&mut self) {
        self.condition.draining.clear();
        for runner in std::mem::take(&mut self.draining) {
            self.take_in(Which::Gone, runner.last_words());
        }
        self.attach_after(Duration::ZERO);
    }

    /// Takes a stop further that waited for runners, if that was the last.
    fn end_without_runners(&mut self) {
        if self.runner.is_none() && self.draining.is_empty() {
            self.end();
        }
    }

    /// Tells those that end what they have to end, once it is over.
    pub(super) fn end_drained(&mut self) {
        for runner in &mut self.draining {
            if runner.is_drained() && !std::mem::replace(&mut runner.is_told_to_end, true) {
                // Where it cannot be told, it is lost, which the next flush finds.
                let _ = runner.link.send(&ToRunner::Shutdown { grace_ms: 0 });
            }
        }
    }

    /// Sends the runner that starts what is due a message, if there is one.
    pub(super) fn tell_runner(&mut self, message: &ToRunner) {
        self.tell(Which::Current, message);
    }

    /// Sends all runners a message. One of an attempt that a runner does not have is nothing to it.
    pub(super) fn tell_runners(&mut self, message: &ToRunner) {
        for index in (0..self.draining.len()).rev() {
            self.tell(Which::Draining(index), message);
        }
        self.tell(Which::Current, message);
    }

    fn tell(&mut self, which: Which, message: &ToRunner) {
        let Some(runner) = self.runner_at(which) else { return };
        if let Err(error) = runner.link.send(message) {
            self.runner_lost(which, &error);
        }
    }

    /// The results of an attempt are durable.
    pub(super) fn forget(&mut self, attempt: AttemptKey) {
        self.tell_runners(&ToRunner::Forget(wire_key(attempt)));
        for runner in self.draining.iter_mut().chain(&mut self.runner) {
            runner.owed.remove(&attempt);
        }
    }

    pub(super) fn flush_runners(&mut self) {
        for index in (0..self.draining.len()).rev() {
            self.flush(Which::Draining(index));
        }
        self.flush(Which::Current);
    }

    fn flush(&mut self, which: Which) {
        let Some(runner) = self.runner_at(which) else { return };
        if let Err(error) = runner.link.flush() {
            self.runner_lost(which, &error);
        }
    }

    /// Has the runner start an attempt.
    pub(super) fn start(
        &mut self,
        origin: Origin,
        deadline: Option<Duration>,
        previous: Option<Outcome>,
        overrides: Option<&Overrides>,
    ) {
        let (definition, gates) = match self.startable(&origin, overrides) {
            Ok(startable) => startable,
            Err(problem) => return self.cannot_start(origin, &problem),
        };
        if let Some(runner) = &mut self.runner {
            runner.live.insert(origin.attempt);
        }
        let start = wire::Start {
            previous_outcome: Tail(previous.map(|outcome| outcome.word().to_owned())),
            gates: Tail(gates.map(Rec)),
            ..wire_start(&origin, deadline, &definition, overrides, &self.config)
        };
        self.tell_runner(&ToRunner::Start(Box::new(Rec(start))));
        let waiting = self.runner.as_ref().map(|runner| runner.link.waiting());
        if waiting.is_some_and(|waiting| waiting >= SEND_AT) {
            self.flush(Which::Current);
        }
    }
}

/// Puts what a runner says when it is met into the inventory of all.
fn take_met(met: Met, inventory: &mut Inventory) -> (Seen, Runner) {
    let Met {
        link,
        info,
        live,
        ended,
        begun,
    } = met;
    // Where one of them is not understood, nobody knows what they were.
    if let Some(begun) = begun.into_iter().map(core_begun).collect::<Option<Vec<_>>>() {
        inventory.also.extend(&info.before.0);
        inventory.begun.extend(begun);
    }
    let (mut held, mut owed) = (HashSet::new(), HashSet::new());
    for live in live.into_iter().filter_map(core_live) {
        held.insert(live.origin.attempt);
        inventory.live.push(live);
    }
    for (origin, end) in ended.into_iter().filter_map(core_ended) {
        owed.insert(origin.attempt);
        inventory.ended.push((origin, end));
    }
    let seen = Seen {
        pid: info.pid,
        version: info.version,
        running: held.len(),
    };
    let runner = Runner {
        link,
        can: info.can.0,
        is_asked: false,
        live: held,
        owed,
        is_told_to_end: false,
        guard: None,
    };
    (seen, runner)
}

/// The attempt of which this tells the end.
fn ended_attempt(message: &FromRunner) -> Option<AttemptKey> {
    match message {
        FromRunner::Ended(ended) => Some(core_key(ended.0.origin.key)),
        FromRunner::Started { .. }
        | FromRunner::Inventory { .. }
        | FromRunner::InventoryEnd(_)
        | FromRunner::Begun(_)
        | FromRunner::Used { .. } => None,
    }
}
