//! What others may ask of the engine, and the handle they ask through.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use taskd_core::Timestamp;
use taskd_core::command::{Command, Reply};
use taskd_core::run::RunKey;
use taskd_core::scheduler::Scheduler;
use taskd_wire::refusal::Refusal;
use tokio::sync::{mpsc, oneshot};

use super::runners::Seen;
use super::usage::{Asker, Sample};
use super::watch::Told;
use crate::config::Config;

/// How many messages may wait for the engine; those who send more wait themselves.
const MAILBOX: usize = 1024;

/// Makes the command of a change from the state as it is when the change is applied. Called again when an earlier
/// change of the same task is still on its way to the store.
pub(crate) type Build = Box<dyn FnMut(&Scheduler, Timestamp) -> Result<Command, Refusal> + Send>;

/// Told once: what became of a change, with the state right after.
pub(crate) type Changed = Box<dyn FnOnce(Result<(&Scheduler, &Reply), Refusal>) + Send>;

/// Reads the state.
type Look = Box<dyn FnOnce(&Scheduler, &Condition) + Send>;

/// One message.
pub(super) enum Mail {
    /// Read the state.
    Look(Look),
    /// Change the state.
    Change {
        /// Makes the command.
        build: Build,
        /// Told when it is durable, or refused.
        done: Changed,
    },
    /// Tell of these runs as they change.
    Watch {
        /// Which.
        runs: Vec<RunKey>,
        /// Told each time; dropped by the engine when all of them have ended.
        sink: mpsc::UnboundedSender<Told>,
    },
    /// Tell what runs in progress use.
    Usage(Asker),
    /// Work by this configuration from now on.
    Reload(Box<Config>),
    /// The tz database has changed.
    ZonesChanged,
    /// Stop in order. `at_once` leaves no grace.
    Stop {
        /// Whether runs get no grace.
        at_once: bool,
    },
    /// End in order, and leave the runner and its runs to the daemon that follows at once.
    Restart {
        /// Told when that has begun, or that the engine is stopping already.
        begun: oneshot::Sender<Result<(), Refusal>>,
    },
}

/// How the engine is, beside the scheduler's own state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Condition {
    /// The runner that is told to start what is due, while it is there.
    pub(crate) runner: Option<Seen>,
    /// Why there is none, where one was looked for since.
    pub(crate) runner_problem: Option<String>,
    /// Those beside it, of other programs, which end what they have.
    pub(crate) draining: Vec<Seen>,
    /// The controllers of the control groups that the runner gives its attempts, if it does.
    pub(crate) cgroups: Option<Vec<String>>,
    /// Why the store takes no changes now.
    pub(crate) store_error: Option<String>,
    /// Whether the engine is stopping.
    pub(crate) stopping: bool,
}

/// The way to the engine.
#[derive(Clone)]
pub(crate) struct Engine {
    mail: mpsc::Sender<Mail>,
    /// Whether it was asked to stop.
    to_stop: Arc<AtomicBool>,
}

impl Engine {
    /// A handle and the mailbox behind it.
    pub(super) fn channel() -> (Engine, mpsc::Receiver<Mail>) {
        let (mail, mailbox) = mpsc::channel(MAILBOX);
        let to_stop = Arc::default();
        (Engine { mail, to_stop }, mailbox)
    }

    /// Reads something from the state.
    ///
    /// # Errors
    /// [`Refusal::Stopping`] when the engine has ended.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Scheduler, &Condition) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        let look = Box::new(move |state: &Scheduler, condition: &Condition| {
            // The asker may have gone; then nobody needs the answer.
            let _ = answer.send(read(state, condition));
        });
        self.mail.send(Mail::Look(look)).await.map_err(|_| Refusal::Stopping)?;
        answered.await.map_err(|_| Refusal::Stopping)
    }

    /// Makes a change and, once it is durable, reads something from the state right after.
    ///
    /// # Errors
    /// Why it was refused; nothing has changed then.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        build: impl FnMut(&Scheduler, Timestamp) -> Result<Command, Refusal> + Send + 'static,
        read: impl FnOnce(&Scheduler, &Reply) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        let done: Changed = Box::new(move |result| {
            let _ = answer.send(result.map(|(state, reply)| read(state, reply)));
        });
        let build = Box::new(build);
        self.mail
            .send(Mail::Change { build, done })
            .await
            .map_err(|_| Refusal::Stopping)?;
        answered.await.map_err(|_| Refusal::Stopping)?
    }

    /// Is told of these runs each time one changes; ends when all have ended.
    ///
    /// # Errors
    /// [`Refusal::Stopping`] when the engine has ended.
    pub(crate) async fn watch(&self, runs: Vec<RunKey>) -> Result<mpsc::UnboundedReceiver<Told>, Refusal> {
        let (sink, updates) = mpsc::unbounded_channel();
        self.mail
            .send(Mail::Watch { runs, sink })
            .await
            .map_err(|_| Refusal::Stopping)?;
        Ok(updates)
    }

    /// What runs in progress use; nothing where there is no runner that tells.
    ///
    /// # Errors
    /// [`Refusal::Stopping`] when the engine has ended.
    pub(crate) async fn usage(&self) -> Result<Option<Arc<Sample>>, Refusal> {
        let (asker, answered) = oneshot::channel();
        self.mail
            .send(Mail::Usage(asker))
            .await
            .map_err(|_| Refusal::Stopping)?;
        answered.await.map_err(|_| Refusal::Stopping)
    }

    /// Works by another configuration from now on.
    pub(crate) async fn reload(&self, config: Config) {
        // An engine that has ended needs none.
        let _ = self.mail.send(Mail::Reload(Box::new(config))).await;
    }

    /// Reads every schedule anew.
    pub(crate) async fn zones_changed(&self) {
        // An engine that has ended needs none.
        let _ = self.mail.send(Mail::ZonesChanged).await;
    }

    /// Stops in order.
    pub(crate) async fn stop(&self, at_once: bool) {
        self.to_stop.store(true, Ordering::Relaxed);
        // An engine that has ended has stopped.
        let _ = self.mail.send(Mail::Stop { at_once }).await;
    }

    /// Whether it was asked to stop, also when it ended before it heard of that.
    pub(crate) fn is_to_stop(&self) -> bool {
        self.to_stop.load(Ordering::Relaxed)
    }

    /// Ends in order, for the daemon to begin anew: the runner and its runs are left alone.
    ///
    /// # Errors
    /// [`Refusal::Stopping`] when it is stopping already.
    pub(crate) async fn restart(&self) -> Result<(), Refusal> {
        let (begun, has_begun) = oneshot::channel();
        self.mail
            .send(Mail::Restart { begun })
            .await
            .map_err(|_| Refusal::Stopping)?;
        has_begun.await.map_err(|_| Refusal::Stopping)?
    }
}

#[cfg(test)]
impl Engine {
    /// One that only lets its state be read, and counts how often.
    pub(crate) fn of_state(state: Scheduler) -> (Engine, Looks) {
        let (engine, mut mailbox) = Engine::channel();
        let looks = Looks::default();
        let count = looks.clone();
        tokio::spawn(async move {
            while let Some(mail) = mailbox.recv().await {
                let Mail::Look(read) = mail else { continue };
                count.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                read(&state, &Condition::default());
            }
        });
        (engine, looks)
    }
}

/// How often an engine was looked into.
#[cfg(test)]
#[derive(Clone, Default)]
pub(crate) struct Looks(std::sync::Arc<std::sync::atomic::AtomicUsize>);

#[cfg(test)]
impl Looks {
    pub(crate) fn get(&self) -> usize {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}
