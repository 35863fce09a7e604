//! Runs of which one transaction tells more than one thing. Most runs are short, and transactions are few where there are
//! many of them: a run that begins and ends in one is written as the one row that it comes to, and not first as one that is
//! created, then as one that runs and then as one that has ended, with the indexes of each; and of one that was created
//! before, the start is written with the end.
//!
//! Where anything else of the same task comes between, each record is written by itself.

use std::collections::HashMap;

use rusqlite::{params, params_from_iter};
use taskd_core::record::Record;
use taskd_core::requirement::LastEnd;
use taskd_core::run::{AttemptKey, RunKey};
use taskd_core::task::TaskId;
use taskd_core::time::Timestamp;

use super::Applier;
use super::runs::{AttemptOver, Begun, Created};
use crate::columns::bits;
use crate::dependencies;
use crate::error::Fault;

/// What becomes of each of some records, which are known by their places.
pub(super) struct Plan<'a> {
    fates: Vec<Fate<'a>>,
}

enum Fate<'a> {
    /// It is written by itself.
    Alone,
    /// It creates a run of which all is told.
    Whole(Box<Whole<'a>>),
    /// It ends a run of which this is the start.
    End(Started),
    /// It is told with another of its run.
    Told,
}

/// How a run goes on that was created.
pub(super) struct Whole<'a> {
    started: Option<Started>,
    over: AttemptOver<'a>,
    /// The place of its end.
    place: usize,
}

/// That an attempt started.
#[derive(Clone, Copy)]
pub(super) struct Started {
    pub(super) attempt: u32,
    pub(super) pid: u32,
    pub(super) at: Timestamp,
    place: usize,
}

/// A run that has not ended so far.
#[derive(Clone, Copy)]
struct Open {
    run: RunKey,
    /// The place of its creation, if that is told.
    created: Option<usize>,
    started: Option<Started>,
}

impl<'a> Plan<'a> {
    pub(super) fn of(records: impl Iterator<Item = &'a Record>) -> Self {
        let mut plan = Plan { fates: Vec::new() };
        let mut open: HashMap<TaskId, Open> = HashMap::new();
        for (place, record) in records.enumerate() {
            plan.fates.push(Fate::Alone);
            if let Some(task) = record.task() {
                let before = open.remove(&task);
                if let Some(after) = plan.follow(before, record, place) {
                    open.insert(task, after);
                }
            }
        }
        plan
    }

    /// The run of a task that is open after one more record of that.
    fn follow(&mut self, open: Option<Open>, record: &'a Record, place: usize) -> Option<Open> {
        match record {
            Record::RunCreated { run, .. } => Some(Open {
                run: *run,
                created: Some(place),
                started: None,
            }),
            Record::AttemptStarted { attempt, pid, at } => {
                let AttemptKey { run, attempt } = *attempt;
                let (pid, at) = (*pid, *at);
                let is_first = |open: &Open| open.run == run && attempt == 1;
                Some(Open {
                    run,
                    created: open.filter(is_first).and_then(|open| open.created),
                    started: Some(Started {
                        attempt,
                        pid,
                        at,
                        place,
                    }),
                })
            }
            Record::RunFinished {
                run,
                at,
                outcome,
                reason,
                end,
            } => {
                let Open { created, started, .. } = open.filter(|open| open.run == *run)?;
                if let Some(created) = created {
                    let over = AttemptOver {
                        at: *at,
                        outcome: *outcome,
                        reason: reason.as_deref(),
                        end: end.as_ref(),
                    };
                    self.fates[created] = Fate::Whole(Box::new(Whole { started, over, place }));
                    self.fates[place] = Fate::Told;
                } else if let Some(started) = started {
                    self.fates[place] = Fate::End(started);
                }
                if let Some(started) = started {
                    self.fates[started.place] = Fate::Told;
                }
                None
            }
            // It comes between.
            _ => None,
        }
    }

    /// Whether this record is told with another.
    pub(super) fn is_told(&self, place: usize) -> bool {
        matches!(self.fates[place], Fate::Told)
    }

    /// How the run goes on that this record creates, if all of that is told.
    pub(super) fn take_whole(&mut self, place: usize) -> Option<Box<Whole<'a>>> {
        match std::mem::replace(&mut self.fates[place], Fate::Alone) {
            Fate::Whole(whole) => Some(whole),
            Fate::Alone | Fate::End(_) | Fate::Told => None,
        }
    }

    /// The start that is told with this record.
    pub(super) fn start(&self, place: usize) -> Option<Started> {
        match &self.fates[place] {
            Fate::End(started) => Some(*started),
            Fate::Alone | Fate::Whole(_) | Fate::Told => None,
        }
    }

    /// Has what comes after the creation of a run written without that.
    pub(super) fn part(&mut self, whole: &Whole<'_>) {
        self.fates[whole.place] = whole.started.map_or(Fate::Alone, Fate::End);
    }
}

impl Applier<'_> {
    /// Writes a run from its beginning to its end. False, with nothing written, if there is a run of its key.
    pub(super) fn insert_whole(&mut self, created: &Created<'_>, whole: &Whole<'_>) -> Result<bool, Fault> {
        let (run, Whole { started, over, .. }) = (created.run, whole);
        let kept = bits(self.kept(AttemptKey { run, attempt: 1 }, over));
        let ended = over.columns(started.map_or_else(Begun::default, Begun::from));
        let inserted = self
            .sql(
                "INSERT INTO runs (task, n, \"trigger\", fire_time, created_at, trace, cause_task, cause_n, cause_name,
                                   overrides, output_kept, finished_at, outcome, reason, exit_code, signal, started_at,
                                   pid, max_rss_kib, user_us, system_us, output_bytes, output_lost, memory_peak_kib,
                                   read_bytes, written_bytes, peak_pids, state, attempt, output_removed)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21,
                         ?22, ?23, ?24, ?25, ?26, ?27, 'finished', 1, 0) ON CONFLICT (task, n) DO NOTHING",
            )?
            .execute(params_from_iter(
                created.columns()?.iter().chain([&kept.into()]).chain(&ended),
            ))?;
        if inserted == 0 {
            return Ok(false);
        }
        let id = self.db.last_insert_rowid();
        if let Some(cause) = created.cause {
            dependencies::settled(self.db, run.task, cause.run)?;
        }
        let has_run = LastEnd::of(over.outcome, over.at, over.end, started.is_some()).is_some();
        self.sql(
            "UPDATE marks SET last_run = max(last_run, ?2), mark = coalesce(?3, mark), last_n = ?2, last_outcome = ?4,
                    last_finished_at = ?5, ran_outcome = iif(?6, ?4, ran_outcome), ran_at = iif(?6, ?5, ran_at)
             WHERE task = ?1",
        )?
        .execute(params![
            bits(run.task.0),
            bits(run.n),
            created.mark(),
            over.outcome.word(),
            over.at.as_millis(),
            has_run,
        ])?;
        let instants = [Some(created.at), started.map(|started| started.at), Some(over.at)];
        instants.into_iter().flatten().for_each(|at| self.tally.seen(at));
        self.tally.output(id, kept);
        self.tally.ended.push(run);
        Ok(true)
    }
}
