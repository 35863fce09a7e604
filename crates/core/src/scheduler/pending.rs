//! What is on its way to the store, and what waits for it.
//!
//! Records leave in batches, one ticket each. A batch of facts is state already, and what must come after it (a start, a
//! notice, leave to forget) stands with its ticket. A decision is not state yet: the tasks it touches are reserved, which
//! keeps them out of the due queue and refuses every other decision about them, so that whatever becomes durable first,
//! taking the records in the order of the tickets gives the same state.

use std::ops::Range;

use crate::command::Ticket;
use crate::effect::{Effect, Notice, Weight};
use crate::record::Record;
use crate::run::{AttemptKey, Passing, RunKey};
use crate::schedule::Passed;
use crate::task::{ImportId, Owner, TaskId};
use crate::time::{Boot, Timestamp};

use super::Scheduler;
use super::runs::Input;
use super::tasks::NameKey;

/// A batch that is not durable yet.
pub(super) enum Batch {
    /// What happened, and what follows once it is durable.
    Facts(Vec<After>),
    /// What a user asked for.
    Decision { records: Vec<Record>, reserved: Reserved },
}

/// What follows a batch of facts.
pub(super) enum After {
    /// Firings up to here may start, by the clock of this boot.
    Horizon {
        until: Timestamp,
        boot: Option<Boot>,
        asked_at: Timestamp,
    },
    /// Marks are set back; firings may start again.
    Reset,
    /// The runner that is attached may be told to start what has a place.
    Attached,
    /// A run that got its place may start.
    Start(RunKey),
    /// A run that is replaced may be stopped.
    Stop(RunKey),
    /// The runner may forget an attempt.
    Forget(AttemptKey),
    /// People may be told.
    Notice(Box<Notice>),
    /// More staged tasks of an import that is given up may go.
    DropMore(ImportId),
}

/// What no other decision may touch.
#[derive(Default)]
pub(super) struct Reserved {
    pub(super) tasks: Vec<TaskId>,
    pub(super) names: Vec<NameKey>,
    /// Tasks to be added, and whose.
    pub(super) added: Option<(Owner, u64)>,
    /// The import that is continued or ended.
    pub(super) import: Option<ImportId>,
    /// Places for runs to be started.
    pub(super) places: usize,
    /// Every task: nothing falls due before it is decided.
    pub(super) all: bool,
}

impl Scheduler {
    /// Takes a fact: state at once, written with the batch of this call.
    pub(super) fn fact(&mut self, record: Record) {
        self.evolve(&record);
        self.facts.push(record);
    }

    /// Sends the facts of this call to the store, and behind them what need not wait for that.
    pub(super) fn flush(&mut self) {
        let after = std::mem::take(&mut self.after);
        if !self.facts.is_empty() {
            let mut records = std::mem::take(&mut self.facts);
            let glued = std::mem::take(&mut self.glued);
            let mut sent = 0;
            while records.len() > self.limits.batch.get() {
                let length = batch_length(sent, self.limits.batch.get(), &glued).min(records.len());
                if length == records.len() {
                    break;
                }
                let rest = records.split_off(length);
                let batch = std::mem::replace(&mut records, rest);
                self.send(batch, Weight::Fact, Batch::Facts(Vec::new()));
                sent += length;
            }
            self.send(records, Weight::Fact, Batch::Facts(after));
        } else if !after.is_empty() {
            self.after_earlier(after);
        }
        self.effects.append(&mut self.outbox);
    }

    /// Has the facts of this call from one on become durable together.
    pub(super) fn glue(&mut self, from: usize) {
        if self.facts.len() > from + 1 {
            // What was glued of these holds as a part of it.
            self.glued.retain(|range| range.start < from);
            self.glued.push(from..self.facts.len());
        }
    }

    /// What follows facts of earlier calls waits for the last of them.
    fn after_earlier(&mut self, after: Vec<After>) {
        let last = self.pending.values_mut().rev().find_map(|batch| match batch {
            Batch::Facts(waiting) => Some(waiting),
            Batch::Decision { .. } => None,
        });
        match last {
            Some(waiting) => waiting.extend(after),
            None => after.into_iter().for_each(|after| self.follow_fact(after)),
        }
    }

    /// Sends a decision to the store, and reserves what it touches.
    pub(super) fn decide(&mut self, records: Vec<Record>, reserved: Reserved) -> Ticket {
        for id in &reserved.tasks {
            self.unqueue(*id);
            if let Some(task) = self.tasks.get_mut(*id) {
                task.reserved = true;
            }
        }
        self.reserved_names.extend(reserved.names.iter().cloned());
        if let Some((owner, count)) = reserved.added {
            *self.reserved_adds.entry(owner).or_default() += count;
        }
        if let Some(import) = reserved.import {
            self.imports.reserve(import);
        }
        self.reserved_places += reserved.places;
        self.reserved_all += usize::from(reserved.all);
        let batch = Batch::Decision {
            records: records.clone(),
            reserved,
        };
        self.send(records, Weight::Decision, batch)
    }

    fn send(&mut self, records: Vec<Record>, weight: Weight, batch: Batch) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.pending.insert(ticket, batch);
        self.effects.push_back(Effect::Record {
            ticket,
            records,
            weight,
        });
        ticket
    }

    /// The records of a ticket are durable.
    pub(super) fn durable(&mut self, now: Timestamp, ticket: Ticket) {
        match self.pending.remove(&ticket) {
            Some(Batch::Facts(after)) => {
                for after in after {
                    match after {
                        After::Horizon { until, boot, asked_at } => self.horizon_durable(now, until, boot, asked_at),
                        After::Reset => self.life.resets -= 1,
                        After::Attached => self.release_starts(now),
                        After::Start(run) => self.drive(now, run, Input::Cleared),
                        After::Stop(run) => {
                            self.unrecorded_stops.remove(&run);
                            self.drive(now, run, Input::StopDecided);
                        }
                        After::DropMore(import) => self.drop_more(import),
                        After::Forget(_) | After::Notice(_) => self.follow_fact(after),
                    }
                }
            }
            Some(Batch::Decision { records, reserved }) => {
                for record in &records {
                    // A task that is removed by a later one of them still has its name.
                    self.notice_passed(record);
                }
                let spent = self.latches_before(&records);
                for record in &records {
                    self.evolve(record);
                }
                spent.into_iter().for_each(|record| self.fact(record));
                self.release(&reserved);
                for record in &records {
                    self.follow_decision(now, record);
                }
                self.clamp_marks(now, &reserved.tasks);
            }
            None => {}
        }
    }

    /// The store refused the records of a ticket. Facts cannot be refused: they stay until they hold.
    pub(super) fn refused(&mut self, now: Timestamp, ticket: Ticket) {
        match self.pending.remove(&ticket) {
            Some(Batch::Decision { records: _, reserved }) => {
                self.release(&reserved);
                self.clamp_marks(now, &reserved.tasks);
            }
            Some(facts @ Batch::Facts(_)) => {
                self.pending.insert(ticket, facts);
            }
            None => {}
        }
    }

    fn release(&mut self, reserved: &Reserved) {
        for id in &reserved.tasks {
            if let Some(task) = self.tasks.get_mut(*id) {
                task.reserved = false;
            }
            self.queue(*id);
        }
        for name in &reserved.names {
            self.reserved_names.remove(name);
        }
        if let Some((owner, count)) = reserved.added
            && let Some(adds) = self.reserved_adds.get_mut(&owner)
        {
            *adds -= count;
            if *adds == 0 {
                self.reserved_adds.remove(&owner);
            }
        }
        if let Some(import) = reserved.import {
            self.imports.release(import);
        }
        self.reserved_places -= reserved.places;
        self.reserved_all -= usize::from(reserved.all);
    }

    fn follow_fact(&mut self, after: After) {
        match after {
            After::Forget(attempt) => self.outbox.push_back(Effect::Forget(attempt)),
            After::Notice(notice) => self.outbox.push_back(Effect::Notice(*notice)),
            // These come with a record of their own, never behind an earlier one.
            After::Horizon { .. }
            | After::Reset
            | After::Attached
            | After::Start(_)
            | After::Stop(_)
            | After::DropMore(_) => {}
        }
    }

    /// What follows a record of a decision that has become state.
    fn follow_decision(&mut self, now: Timestamp, record: &Record) {
        match record {
            Record::TaskAdded { id, .. } => {
                self.clamp_marks(now, &[*id]);
                self.notice_held(*id);
            }
            Record::TaskChanged { id, .. } | Record::TaskSwitched { id, .. } => self.notice_held(*id),
            Record::RunCreated { run, waiting, .. } => {
                if let Some(created) = self.runs.get(run) {
                    let notice = Notice::RunCreated {
                        origin: created.origin(*run),
                        waiting: *waiting,
                    };
                    self.outbox.push_back(Effect::Notice(notice));
                    if !waiting {
                        self.drive(now, *run, Input::Cleared);
                    }
                }
            }
            Record::RunStopping { run, at: _, reason } => {
                if let Some(stopping) = self.runs.get(run) {
                    let notice = Notice::RunStopping {
                        run: *run,
                        name: stopping.name.clone(),
                        trace_id: stopping.trace_id,
                        reason: reason.clone(),
                    };
                    self.outbox.push_back(Effect::Notice(notice));
                    self.drive(now, *run, Input::StopDecided);
                }
            }
            Record::Paused { scope, .. } | Record::Resumed { scope, .. } => self.begin_pause_anew(now, *scope),
            Record::TaskRemoved { id, at: _ } => self.drop_retries(now, *id),
            Record::RunMuted { run } => self.follow_muted(now, *run),
            Record::CalendarSet { .. }
            | Record::CalendarRemoved { .. }
            | Record::Passed { .. }
            | Record::PoolSet { .. }
            | Record::NumbersLost { .. }
            | Record::RunKeeps { .. }
            | Record::DependencySkipped { .. }
            | Record::ImportBegun { .. }
            | Record::ImportEnded { .. } => {}
            // No decision holds these.
            Record::Horizon { .. }
            | Record::Fired { .. }
            | Record::Booted { .. }
            | Record::BootSkipped { .. }
            | Record::PauseBegins { .. }
            | Record::LifeBegan { .. }
            | Record::LifeEnded { .. }
            | Record::RunnerAttached { .. }
            | Record::RunAdmitted { .. }
            | Record::AttemptStarted { .. }
            | Record::AttemptEnded { .. }
            | Record::RetryDue { .. }
            | Record::GateClosed { .. }
            | Record::RunFinished { .. }
            | Record::MarkReset { .. }
            | Record::Latched { .. }
            | Record::Unlatched { .. }
            | Record::Owed { .. }
            | Record::ImportDropped { .. } => {}
        }
    }

    fn horizon_durable(&mut self, now: Timestamp, until: Timestamp, boot: Option<Boot>, asked_at: Timestamp) {
        // One by another clock is on its way no more, or the next is.
        if boot == self.header.horizon_boot {
            self.durable_horizon = until.min(self.header.horizon);
        }
        self.life.slowness = now.since(asked_at);
        // A stall that outlasts one extension is told by the next as well.
        let from = self.life.stall.filter(|(_, to)| asked_at <= *to).map(|(from, _)| from);
        self.life.stall = Some((from.unwrap_or(asked_at), now));
    }

    /// Tells that a task is held, if it is.
    pub(super) fn notice_held(&mut self, id: TaskId) {
        if let (Some(task), Some(problem)) = (self.tasks.get(id), self.problems.get(&id)) {
            self.outbox.push_back(Effect::Notice(Notice::Held {
                name: task.name.clone(),
                problem: problem.clone(),
            }));
        }
    }

    /// Tells of a record of fire times that passed.
    pub(super) fn notice_passed(&mut self, record: &Record) {
        if let Record::Passed {
            task,
            first,
            last,
            count,
            passing,
            reason,
        } = record
        {
            let (first, last, count) = (*first, *last, *count);
            self.notice_span(*task, Passed { first, last, count }, *passing, reason.clone());
        }
    }

    /// Tells of what passed without a run.
    pub(super) fn notice_span(&mut self, task: TaskId, passed: Passed, passing: Passing, reason: String) {
        if let Some(of) = self.tasks.get(task) {
            self.outbox.push_back(Effect::Notice(Notice::Passed {
                task,
                name: of.name.clone(),
                first: passed.first,
                last: passed.last,
                count: passed.count,
                passing,
                reason,
            }));
        }
    }
}

/// How many facts go into the batch that begins with the fact `from`: `most`, or as many as it takes not to part what is
/// glued.
fn batch_length(from: usize, most: usize, glued: &[Range<usize>]) -> usize {
    let end = from + most;
    match glued.iter().find(|range| range.start < end && end < range.end) {
        None => most,
        Some(range) if range.start > from => range.start - from,
        Some(range) => range.end - from,
    }
}

#[cfg(test)]
mod tests {
    use super::batch_length;

    #[test]
    fn a_batch_parts_nothing_that_is_glued() {
        let glued = [2..5, 8..20];
        assert_eq!(batch_length(0, 2, &glued), 2);
        assert_eq!(batch_length(0, 3, &glued), 2, "it ends before");
        assert_eq!(batch_length(2, 2, &glued), 3, "what is longer than a batch goes whole");
        assert_eq!(batch_length(5, 3, &glued), 3);
        assert_eq!(batch_length(8, 3, &glued), 12);
        assert_eq!(batch_length(20, 3, &glued), 3);
    }
}
