//! The writer: one thread that commits what waits in groups, and answers each batch once its group holds.
//!
//! A group that fails is rolled back and each of its batches tried alone, in order, so that one bad decision refuses no
//! other. What is no batch's fault refuses the rest too: another program that holds the database would be waited for
//! again with each batch, and so would a disk that fails. A fact that cannot be written holds back what comes after it,
//! also what is on its way already: all of its epoch. The thread goes on after every failure: when there is room on the
//! disk again, the next epoch holds. Where many facts come, it sleeps between two groups.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use taskd_core::record::Record;
use taskd_core::run::RunKey;

use crate::apply::{self, OutputSize, Tally, apply};
use crate::checkpoint::Checkpoints;
use crate::error::{CommitError, Fault, Kind};
use crate::inbox::{Ends, Receiver, Sender};
use crate::leftover;
use crate::prune::{Limits, Pruner};
use crate::session::{Durability, Session};

/// Most batches in one transaction.
const GROUP_BATCHES: usize = 1_000;
/// Records in a group from which no further batch is added to it.
const GROUP_RECORDS: usize = 10_000;
/// How long facts wait for more of their kind before they are committed.
const LINGER: Duration = Duration::from_millis(2);
/// How long the thread sleeps after a commit of many records, or during which others came, if there is nothing that cannot
/// wait: a busy daemon pays for fifty commits a second at most, and a quiet one waits for none.
const PACE: Duration = Duration::from_millis(20);
/// Records in a group that are many: those of one run and of what follows it are fewer.
const MANY_RECORDS: usize = 10;
/// How much longer it sleeps when a great many were committed, and nothing that comes holds anybody up: each commit writes
/// whole pages of indexes, which the runs of many tasks share, so the fewer the better.
const MORE_PACE: Duration = Duration::from_millis(30);
/// Records in a group that are a great many: those of a dozen runs.
const GREAT_MANY_RECORDS: usize = 40;
/// Records in a group that get more memory.
const LARGE_RECORDS: usize = 5_000;
/// Facts in a group for which the pruner gets a turn although more wait, so that it keeps up with any load.
const PRUNE_FACTS: usize = 200;
/// Turns it gets as long as nobody waits for an answer: what a group of runs leaves to it, and then the thread may sleep.
const PRUNE_TURNS: usize = 4;

/// Told once, when it is known whether a batch holds. It is called on the writer's thread and must be quick.
pub type Done = Box<dyn FnOnce(Result<(), NotCommitted>) + Send>;

/// A batch that does not hold.
#[derive(Debug)]
pub struct NotCommitted {
    /// Why.
    pub error: CommitError,
    /// Its records, given back.
    pub records: Vec<Record>,
}

/// Records that hold together or not at all.
pub struct Batch {
    /// The records, in order.
    pub records: Vec<Record>,
    /// Counts up whenever a fact was not written and is handed over again.
    pub epoch: u64,
    /// Whether it holds back what comes after: when a fact cannot be written, neither is any later batch of the same
    /// epoch, so that the order of facts holds.
    pub fact: bool,
    /// Told when they are durable or refused.
    pub done: Done,
}

/// Hands batches to the writer's thread. They are written in the order in which they are handed over.
///
/// A refused decision does not hold back those behind it; a refused fact does, until it is handed over again in the
/// next epoch.
#[derive(Clone)]
pub struct Writer {
    requests: Sender,
    file: Arc<Path>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Writer {
    pub(crate) fn new(requests: Sender, file: Arc<Path>) -> Self {
        Writer { requests, file }
    }

    /// Has a batch written. Does not wait; `done` is always called, with a refusal when the store is closed.
    pub fn commit(&self, batch: Batch) {
        let pending = Pending {
            records: batch.records,
            epoch: batch.epoch,
            fact: batch.fact,
            done: Some(batch.done),
            file: Arc::clone(&self.file),
        };
        self.requests.send(Request::Commit(pending));
    }

    /// Has this much kept from now on. What is too old, and output that is too much, goes at once; runs and spans of
    /// which a task has too many go when it gets one more.
    pub fn set_limits(&self, limits: Limits) {
        self.requests.send(Request::Limit(limits));
    }

    /// Has the size on disk of a run's output taken in anew, after it has changed.
    pub fn recount(&self, run: RunKey) {
        // A closed store counts when it is opened again, by what it had: too much, and so on the safe side.
        self.requests.send(Request::Recount(run));
    }
}

/// What the writer's thread is asked.
pub(crate) enum Request {
    Commit(Pending),
    Limit(Limits),
    Recount(RunKey),
    Close,
}

impl Request {
    /// Whether nobody sits before a screen for it.
    pub(crate) fn can_wait(&self) -> bool {
        match self {
            Request::Commit(pending) => pending.fact,
            Request::Recount(_) => true,
            Request::Limit(_) | Request::Close => false,
        }
    }

    /// Whether it can wait, but something that is due waits for it.
    pub(crate) fn holds_up(&self) -> bool {
        match self {
            Request::Commit(pending) => pending.records.iter().any(Record::holds_up),
            Request::Recount(_) | Request::Limit(_) | Request::Close => false,
        }
    }
}

/// A batch on its way; answered exactly once, at the latest when dropped.
pub(crate) struct Pending {
    records: Vec<Record>,
    epoch: u64,
    fact: bool,
    done: Option<Done>,
    file: Arc<Path>,
}

impl Pending {
    fn hold(mut self) {
        if let Some(done) = self.done.take() {
            done(Ok(()));
        }
    }

    fn refuse(mut self, error: CommitError) {
        self.give_back(error);
    }

    fn give_back(&mut self, error: CommitError) {
        if let Some(done) = self.done.take() {
            let records = std::mem::take(&mut self.records);
            done(Err(NotCommitted { error, records }));
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.give_back(CommitError {
            kind: Kind::Closed,
            text: format!("{}: the store is closed", self.file.display()),
        });
    }
}

/// The fact that could not be written last: what comes after it in the same epoch is refused for the same reason.
pub(crate) struct Held {
    epoch: u64,
    error: CommitError,
}

/// What runs on the writer's thread.
pub(crate) struct Committer {
    pub(crate) session: Session,
    pub(crate) file: Arc<Path>,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) pruner: Pruner,
    pub(crate) output_size: Option<Box<OutputSize>>,
    pub(crate) held: Option<Held>,
    /// There are staged tasks of an earlier life.
    pub(crate) leftover: bool,
    /// What was read of the database was refused.
    pub(crate) refused: Arc<AtomicBool>,
}

impl Committer {
    /// Works until told to close.
    pub(crate) fn run(mut self, requests: &Receiver) -> Result<(), CommitError> {
        let mut open = true;
        while open {
            let first = if self.pruner.is_pending() {
                let Some(request) = requests.take() else {
                    self.prune();
                    continue;
                };
                request
            } else {
                requests.wait()
            };
            let Gathered {
                group,
                limits,
                records,
                recounts,
                close,
            } = gather(first, requests);
            open = !close;
            if let Some(limits) = limits {
                self.pruner.set_limits(limits);
            }
            let facts = group.iter().filter(|pending| pending.fact);
            let turns = 1 + facts.map(|pending| pending.records.len()).sum::<usize>() / PRUNE_FACTS;
            let is_full = is_full(group.len(), records);
            if !group.is_empty() {
                self.commit_group(group);
            }
            for run in recounts {
                self.recount(run);
            }
            let mut turn = 0;
            while self.pruner.is_pending() && (turn < turns || turn < PRUNE_TURNS && !requests.is_urgent()) {
                self.prune();
                turn += 1;
            }
            let is_busy = records >= MANY_RECORDS || requests.is_waited_for();
            if open && is_busy && !is_full && !self.pruner.is_pending() {
                requests.linger(PACE, Ends::Urgent);
                if records >= GREAT_MANY_RECORDS {
                    requests.linger(MORE_PACE, Ends::HoldsUp);
                }
            }
        }
        let Committer {
            session,
            file,
            checkpoints,
            refused,
            ..
        } = self;
        // A database that is refused is left as it is, its log beside it.
        let take_in = !refused.load(Ordering::Acquire);
        if take_in {
            checkpoints.finish(session.db());
        } else {
            drop(checkpoints);
        }
        session.close(take_in).map_err(|fault| fault.commit(&file))
    }

    /// What fails here is a count that stays too large.
    fn recount(&mut self, run: RunKey) {
        let Some(size) = self.output_size.as_deref() else {
            return;
        };
        let counted = self
            .session
            .transaction(Durability::Lazy, |db, tally| apply::recount(db, run, tally, size));
        if let Ok(tally) = counted {
            self.pruner.note(&tally);
        }
        self.checkpoints.after_commit(self.session.db());
    }

    fn prune(&mut self) {
        self.pruner.step(&mut self.session);
        self.checkpoints.after_commit(self.session.db());
    }

    fn commit_group(&mut self, group: Vec<Pending>) {
        let large = group.iter().map(|pending| pending.records.len()).sum::<usize>() > LARGE_RECORDS;
        if large {
            self.session.set_large(true);
        }
        let (group, late): (Vec<_>, Vec<_>) = group.into_iter().partition(|pending| !self.is_held(pending));
        // All that is late is of the epoch of the fact that failed.
        for pending in late {
            self.refuse_held(pending);
        }
        match self.write(&group) {
            Ok(()) => group.into_iter().for_each(Pending::hold),
            Err(fault) if group.len() == 1 => self.refuse_all(group, &fault),
            Err(_) => self.write_each(group),
        }
        if large {
            self.session.set_large(false);
        }
        self.checkpoints.after_commit(self.session.db());
    }

    /// A small batch may find room where the group found none; once one has not, the others are not tried.
    fn write_each(&mut self, group: Vec<Pending>) {
        let mut group = group.into_iter();
        while let Some(pending) = group.next() {
            if self.is_held(&pending) {
                self.refuse_held(pending);
                continue;
            }
            match self.write(std::slice::from_ref(&pending)) {
                Ok(()) => pending.hold(),
                Err(fault) if fault.is_of_records() => self.refuse(pending, fault.commit(&self.file)),
                Err(fault) => {
                    self.refuse(pending, fault.commit(&self.file));
                    self.refuse_all(group.by_ref(), &fault);
                }
            }
        }
    }

    fn refuse_all(&mut self, group: impl IntoIterator<Item = Pending>, fault: &Fault) {
        let error = fault.commit(&self.file);
        for pending in group {
            self.refuse(pending, error.clone());
        }
    }

    fn is_held(&self, pending: &Pending) -> bool {
        self.held.as_ref().is_some_and(|held| pending.epoch <= held.epoch)
    }

    fn refuse_held(&self, pending: Pending) {
        if let Some(held) = &self.held {
            pending.refuse(held.error.clone());
        }
    }

    fn refuse(&mut self, pending: Pending, error: CommitError) {
        if pending.fact && !self.is_held(&pending) {
            self.held = Some(Held {
                epoch: pending.epoch,
                error: error.clone(),
            });
        }
        pending.refuse(error);
    }

    fn write(&mut self, group: &[Pending]) -> Result<(), Fault> {
        if group.iter().all(|pending| pending.records.is_empty()) {
            return Ok(());
        }
        // Their names are in the way of a decision, and of no fact.
        if self.leftover && group.iter().any(|pending| !pending.fact) {
            leftover::drop_imports(&mut self.session)?;
            self.leftover = false;
        }
        let output_size = self.output_size.as_deref();
        let tally: Tally = self.session.transaction(Durability::Durable, |db, tally| {
            let records = group.iter().flat_map(|pending| &pending.records);
            apply(db, records, tally, output_size)
        })?;
        self.pruner.note(&tally);
        Ok(())
    }
}

/// What the writer does next.
#[derive(Default)]
struct Gathered {
    group: Vec<Pending>,
    /// How many records the group has.
    records: usize,
    limits: Option<Limits>,
    recounts: Vec<RunKey>,
    /// The store is to be closed.
    close: bool,
}

/// Takes what waits, up to the size of a group. Facts alone wait a little for more: a burst of runs then costs a few
/// commits and not one each.
fn gather(first: Request, requests: &Receiver) -> Gathered {
    let mut gathered = Gathered::default();
    let full = gathered.take_in(first, requests);
    if !full && gathered.is_facts() {
        requests.linger(LINGER, Ends::Urgent);
        if let Some(next) = requests.take() {
            gathered.take_in(next, requests);
        }
    }
    gathered
}

/// Whether a group of so many batches and records is to be committed before more is added.
fn is_full(batches: usize, records: usize) -> bool {
    batches >= GROUP_BATCHES || records >= GROUP_RECORDS
}

impl Gathered {
    /// Takes this and what waits behind it. Whether nothing more is to be added.
    fn take_in(&mut self, first: Request, requests: &Receiver) -> bool {
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                Request::Close => {
                    self.close = true;
                    return true;
                }
                Request::Limit(limits) => self.limits = Some(limits),
                Request::Recount(run) => self.recounts.push(run),
                Request::Commit(pending) => {
                    self.records += pending.records.len();
                    self.group.push(pending);
                }
            }
            if is_full(self.group.len(), self.records) {
                return true;
            }
            next = requests.take();
        }
        false
    }

    fn is_facts(&self) -> bool {
        self.limits.is_none() && self.group.iter().all(|pending| pending.fact)
    }
}
