//! The engine: one thread of control that owns the core.
//!
//! It waits for four things (the timer, the mailbox, the runner, the store), tells the core what happened, and does
//! what the core wants done. Every decision is the core's; every wait is here. Each arm of the loop ends in the same
//! [`Driver::pump`], so nothing the core wants is left undone while the engine sleeps.

mod actions;
mod attach;
mod link;
mod mailbox;
mod notices;
mod pace;
mod records;
mod runner;
mod runners;
mod spoken;
mod startable;
mod stop;
#[cfg(test)]
mod testing;
mod usage;
mod wakeup;
mod watch;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::time::Duration;

use taskd_core::command::{Accepted, Command, Refusal as CoreRefusal, Reply, Ticket};
use taskd_core::effect::Effect;
use taskd_core::event::Event;
use taskd_core::record::Record;
use taskd_core::run::AttemptKey;
use taskd_core::scheduler::{Limits, Scheduler};
use taskd_core::task::TaskId;
use taskd_core::time::Boot;
use taskd_store::{Reader, Writer};
use taskd_wire::refusal::Refusal;
use taskd_wire::runner::ToRunner;
use tokio::sync::mpsc;

use self::attach::Attached;
pub(crate) use self::attach::{Keeper, Whereabouts};
use self::link::LinkError;
use self::mailbox::{Build, Changed, Mail};
pub(crate) use self::mailbox::{Condition, Engine};
use self::pace::Pace;
use self::records::{Records, Stored};
use self::runners::Runner;
pub(crate) use self::runners::Seen;
pub(crate) use self::stop::Ending;
use self::stop::Stop;
pub(crate) use self::usage::Sample;
use self::wakeup::{Wakeup, Woken};
pub(crate) use self::watch::Told;
use self::watch::Watchers;
use crate::clock;
use crate::config::Config;
use crate::notify::Notify;
use crate::press::Press;
use crate::refusal;

/// Most messages taken in before what they caused is carried out.
const BATCH: usize = 256;

/// How long the mailbox may be worked through before what is due, the runner and the store have their turn.
const TURN: Duration = Duration::from_millis(1);

/// What the service manager shows of a daemon that serves.
const RUNNING: &str = "running tasks";

/// What the engine works with.
pub(crate) struct Parts {
    pub(crate) core: Scheduler,
    pub(crate) writer: Writer,
    pub(crate) press: Press,
    pub(crate) reader: Reader,
    pub(crate) runner: Whereabouts,
    pub(crate) config: Config,
    pub(crate) notify: Notify,
    /// The boot of the machine, by its id, where that is known.
    pub(crate) boot: Option<u128>,
}

/// An engine not yet running, and the way to it.
pub(crate) fn prepare(parts: Parts) -> (Engine, impl FnOnce() -> io::Result<Ending> + Send) {
    let (engine, mailbox) = Engine::channel();
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async move { Driver::new(parts, mailbox)?.run().await })
    };
    (engine, run)
}

/// A change whose records are on their way to the store.
struct Pending {
    reply: Reply,
    done: Changed,
    /// The task whose action may be another once it is durable.
    edited: Option<TaskId>,
}

/// A change that waits for an earlier one to be durable.
struct Waiting {
    build: Build,
    done: Changed,
}

struct Driver {
    core: Scheduler,
    condition: Condition,
    mailbox: mpsc::Receiver<Mail>,
    records: Records,
    stored: mpsc::UnboundedReceiver<Stored>,
    pending: HashMap<Ticket, Pending>,
    /// Changes that must wait for earlier ones, first come first.
    busy: VecDeque<Waiting>,
    actions: actions::Actions,
    press: Press,
    watchers: Watchers,
    asked: usage::Asked,
    wakeup: Wakeup,
    pace: Pace,
    place: Whereabouts,
    /// The runner that is told to start what is due.
    runner: Option<Runner>,
    /// Those of other programs that end what they have, in the order of [`Condition::draining`].
    draining: Vec<Runner>,
    /// What was with one of those when it was gone.
    lost: Vec<AttemptKey>,
    attached: mpsc::UnboundedReceiver<Result<Attached, LinkError>>,
    attaching: mpsc::UnboundedSender<Result<Attached, LinkError>>,
    /// Whether a try to attach is under way.
    attaches: bool,
    /// When the next one is to begin.
    attach_at: Option<tokio::time::Instant>,
    /// How long to wait before the next try to attach; doubles while that fails.
    patience: Duration,
    config: Config,
    notify: Notify,
    boot: Option<u128>,
    /// Whether the service manager was told that the daemon is ready.
    ready: bool,
    stop: Stop,
    /// What follows the end.
    ending: Ending,
    /// Whether it was asked twice to stop.
    hurried: bool,
}

impl Driver {
    fn new(parts: Parts, mailbox: mpsc::Receiver<Mail>) -> io::Result<Self> {
        let (records, stored) = Records::new(parts.writer);
        let (attaching, attached) = mpsc::unbounded_channel();
        Ok(Driver {
            core: parts.core,
            condition: Condition::default(),
            mailbox,
            records,
            stored,
            pending: HashMap::new(),
            busy: VecDeque::new(),
            actions: actions::Actions::new(parts.reader),
            press: parts.press,
            watchers: Watchers::default(),
            asked: usage::Asked::default(),
            wakeup: Wakeup::new()?,
            pace: Pace::new(clock::now()),
            place: parts.runner,
            runner: None,
            draining: Vec::new(),
            lost: Vec::new(),
            attached,
            attaching,
            attaches: false,
            attach_at: None,
            patience: runner::PATIENCE_FIRST,
            config: parts.config,
            notify: parts.notify,
            boot: parts.boot,
            ready: false,
            stop: Stop::No,
            ending: Ending::Stop,
            hurried: false,
        })
    }

    /// The clock shows something else than what was last heard of it, or may.
    pub(super) fn clock_stepped(&mut self) {
        let at = clock::booted_at();
        let boot = self.boot.map(|id| Event::Booted(Boot { id, at }));
        let events = boot.into_iter().chain([Event::ClockStepped]);
        self.core.handle_all(clock::now(), events);
    }

    async fn run(mut self) -> io::Result<Ending> {
        self.attach_after(Duration::ZERO);
        let mut watchdog = self.notify.watchdog_interval().map(tokio::time::interval);
        self.clock_stepped();
        loop {
            self.pump();
            self.advance_stop();
            if self.ended() {
                self.records.tell_held();
                return Ok(self.ending);
            }
            if let Some(reason) = self.records.closed() {
                return Err(io::Error::other(reason.to_owned()));
            }
            self.arm()?;
            tokio::select! {
                biased;
                (which, said) = runners::said(&mut self.runner, &mut self.draining) => self.runner_said(which, said),
                Some(stored) = self.stored.recv() => {
                    self.was_stored(stored);
                    for _ in 0..BATCH {
                        let Ok(stored) = self.stored.try_recv() else { break };
                        self.was_stored(stored);
                    }
                    for Waiting { build, done } in std::mem::take(&mut self.busy) {
                        self.change(build, done);
                    }
                }
                // One that was started and is not taken ends by itself.
                Some(result) = self.attached.recv() => if self.takes_runner() {
                    self.runner_attached(result);
                },
                () = runner::attach_due(self.attach_at) => self.attach(true),
                () = self.records.retry_due() => self.records.retry(),
                () = stop::deadline(&self.stop) => self.stop_is_late(),
                () = beat(&mut watchdog) => self.notify.watchdog(),
                woken = self.wakeup.woken() => match woken? {
                    Woken::Due => {
                        let now = clock::now();
                        self.pace.woken(now);
                        self.core.handle(now, Event::Tick);
                        self.pump();
                        // Where so much is due that it takes many turns, those who ask have theirs, and the sockets.
                        self.open_some();
                        tokio::task::yield_now().await;
                    }
                    Woken::ClockStepped => {
                        tracing::info!("the clock was set or the machine resumed");
                        self.clock_stepped();
                        self.core.handle(clock::now(), Event::Tick);
                    }
                },
                // Last, since there may always be more of it.
                mail = self.mailbox.recv() => {
                    let Some(mail) = mail else { return Ok(Ending::Stop) };
                    self.open(mail);
                    self.open_some();
                    // The timer and the sockets are looked at only when this gives way.
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Does all that the core wants done. Starts leave first: a record that goes with one may follow it.
    fn pump(&mut self) {
        let mut batches = Vec::new();
        while let Some(effect) = self.core.poll_effect() {
            match effect {
                Effect::Record {
                    ticket,
                    records,
                    weight,
                } => {
                    for record in &records {
                        if let Record::RunFinished { run, .. } = record {
                            self.watchers.ending(*run);
                        }
                    }
                    batches.push((ticket, records, weight));
                }
                Effect::Start {
                    origin,
                    deadline,
                    previous,
                    overrides,
                } => {
                    self.pace.started();
                    self.start(origin, deadline, previous, overrides.as_deref());
                }
                Effect::Stop { attempt, grace } => self.tell_runners(&ToRunner::Stop {
                    key: spoken::wire_key(attempt),
                    grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX),
                }),
                Effect::Forget(attempt) => self.forget(attempt),
                Effect::Prepare(tasks) => {
                    if let Err(error) = self.actions.prepare(&tasks) {
                        tracing::warn!(error = %error, "actions of tasks that are due soon could not be read");
                    }
                }
                Effect::Notice(notice) => self.notice(notice),
            }
        }
        self.end_drained();
        self.flush_runners();
        self.press.written(batches.last().map(|(ticket, ..)| *ticket));
        for (ticket, records, weight) in batches {
            self.records.write(ticket, records, weight);
        }
    }

    fn arm(&mut self) -> io::Result<()> {
        let at = match self.stop {
            Stop::No => self.core.next_wakeup(),
            Stop::Settling { .. } | Stop::Draining { .. } | Stop::Ending { .. } => None,
        };
        let wake_at = |at| match self.pace.rest_until(at, clock::now()) {
            Some(rest) => self.core.rest_until(rest).max(at),
            None => at,
        };
        self.wakeup.arm(at.map(wake_at))
    }

    /// Takes in what waits in the mailbox, for a turn at most.
    fn open_some(&mut self) {
        let until = clock::monotonic() + TURN;
        for _ in 1..BATCH {
            if clock::monotonic() >= until {
                return;
            }
            let Ok(mail) = self.mailbox.try_recv() else { return };
            self.open(mail);
        }
    }

    fn open(&mut self, mail: Mail) {
        match mail {
            Mail::Look(read) => {
                self.condition.store_error = self.records.error().map(str::to_owned);
                self.count_attempts();
                read(&self.core, &self.condition);
            }
            Mail::Change { build, done } => self.change(build, done),
            Mail::Watch { runs, sink } => {
                // An end that the core knows is known to the watchers too: it is told of when it is durable.
                self.pump();
                for run in runs {
                    self.watchers.add(run, self.core.run(run).is_some(), &sink);
                }
            }
            Mail::Usage(asker) => self.ask_usage(asker),
            Mail::Reload(config) => self.reload(*config),
            Mail::ZonesChanged => self.core.handle(clock::now(), Event::ZonesChanged),
            Mail::Stop { at_once } => self.begin_stop(at_once),
            Mail::Restart { begun } => {
                // Who asked may have gone.
                let _ = begun.send(self.begin_restart());
            }
        }
    }

    fn reload(&mut self, config: Config) {
        // Else it would say that it is ready when it is not, or not any more.
        let told = self.ready && matches!(self.stop, Stop::No);
        if told {
            self.notify.reloading();
        }
        self.core.set_limits(core_limits(&config));
        self.records.set_limits(config.store_limits());
        self.config = config;
        self.core.handle(clock::now(), Event::ZonesChanged);
        if told {
            self.notify.ready(RUNNING);
        }
    }

    /// Whether a runner may still be attached: one that comes when the engine only waits for the store would be told to
    /// start what is due, and by nobody to stop.
    fn takes_runner(&mut self) -> bool {
        let late = matches!(self.stop, Stop::Ending { .. });
        self.attaches &= !late;
        !late
    }

    /// It serves and has a runner.
    fn is_ready(&mut self) {
        if matches!(self.stop, Stop::No) {
            self.ready = true;
            self.notify.ready(RUNNING);
        }
    }

    fn change(&mut self, mut build: Build, done: Changed) {
        if self.condition.stopping {
            return done(Err(Refusal::Stopping));
        }
        let now = clock::now();
        let command = match build(&self.core, now) {
            Ok(command) => command,
            Err(refusal) => return done(Err(refusal)),
        };
        if let (Some(reason), false) = (self.records.error(), is_fact(&command)) {
            return done(Err(Refusal::StoreUnavailable {
                reason: reason.to_owned(),
            }));
        }
        let edited = match &command {
            Command::Edit { id, .. } => Some(*id),
            Command::Add { .. }
            | Command::BeginImport { .. }
            | Command::Stage { .. }
            | Command::EndImport { .. }
            | Command::DropImport { .. }
            | Command::SetEnabled { .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Backfill { .. }
            | Command::SetCalendar { .. }
            | Command::RemoveCalendars { .. }
            | Command::SetPools { .. }
            | Command::Remove { .. }
            | Command::Run { .. }
            | Command::CancelFollowing { .. }
            | Command::Cancel { .. } => None,
        };
        match self.core.apply(now, command) {
            Ok(Accepted { ticket: None, reply }) => done(Ok((&self.core, &reply))),
            Ok(Accepted {
                ticket: Some(ticket),
                reply,
            }) => {
                self.pending.insert(ticket, Pending { reply, done, edited });
            }
            Err(CoreRefusal::Busy) => self.busy.push_back(Waiting { build, done }),
            Err(refused) => done(Err(refusal::of_core(refused, &self.core))),
        }
    }

    fn was_stored(&mut self, stored: Stored) {
        let now = clock::now();
        match self.records.settle(stored) {
            records::Settled::Durable(ticket) => {
                self.press.durable(ticket);
                let pending = self.pending.remove(&ticket);
                let edited = pending.as_ref().and_then(|pending| pending.edited);
                if let Some(id) = edited {
                    self.actions.forget(id);
                }
                self.core.handle(now, Event::Durable(ticket));
                // Their runs may go by another name now.
                for run in edited.into_iter().flat_map(|id| self.core.runs_of(id)) {
                    self.watchers.changed(run);
                }
                if let Some(Pending { reply, done, .. }) = pending {
                    // Who is told that a run is being stopped may rely on it, whatever becomes of this process.
                    self.pump();
                    done(Ok((&self.core, &reply)));
                }
            }
            records::Settled::Refused { ticket, reason } => {
                self.core.handle(now, Event::Refused(ticket));
                if let Some(Pending { done, .. }) = self.pending.remove(&ticket) {
                    done(Err(Refusal::StoreUnavailable { reason }));
                }
            }
            records::Settled::Later => {}
        }
    }
}

/// Whether a command only states what cannot be helped: it is taken in also while the store takes no changes.
fn is_fact(command: &Command) -> bool {
    matches!(command, Command::DropImport { .. })
}

/// The limits of the core that a configuration sets.
pub(crate) fn core_limits(config: &Config) -> Limits {
    Limits {
        running: config.limits.running,
        tasks_of_root: config.limits.tasks_of_root,
        tasks_of_others: config.limits.tasks_of_others,
        grace: config.runner.grace,
        ..Limits::default()
    }
}

/// Waits for the next beat of the watchdog; for ever without one.
async fn beat(watchdog: &mut Option<tokio::time::Interval>) {
    match watchdog {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
