//! Pruning: history and output stay within their limits.
//!
//! It is done by the writer between commits, at most [`CHUNK`] rows and [`TASKS`] tasks at a time, so that no commit
//! waits long for it: a task's history when it may be too much, everything's age at most once an hour, the output of all tasks
//! when that grew. A task may say itself how many of its runs are kept, and for how long. A daemon without commits is not woken. "Now" is the latest instant that records told.
//!
//! Output files are removed before the rows that name them: a crash between the two leaves rows without files, which
//! the next pruning finds, and no files without rows.

mod quiet;

mod spare;

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::time::Duration;

use rusqlite::{Row, params};
use taskd_core::policy::{History, RETRIES_MAX};
use taskd_core::run::{AttemptKey, RunKey};
use taskd_core::task::TaskId;
use taskd_core::time::Timestamp;

use self::spare::spare;
use crate::apply::{Tally, plausible};
use crate::columns::{bits, number, optional_number, unsigned};
use crate::error::Fault;
use crate::histories::{self, Own};
use crate::session::{Durability, Session};
use quiet::{Quiet, Until};

/// Most rows pruned in one transaction.
const CHUNK: usize = 200;
/// Most attempts whose files are removed in one transaction, but for those of one run.
const FILES: u32 = 400;
/// Most runs whose output is counted in one step.
const COUNTED: usize = 1_000;
/// Most tasks looked at in one step: each takes as long as a few rows.
const TASKS: usize = 100;
/// Most attempts of one run whose files are asked to be removed.
const ATTEMPTS_MAX: u32 = RETRIES_MAX + 1;
/// Between two looks at everything's age.
const SWEEP_EVERY: Duration = Duration::from_secs(60 * 60);

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Runs of a task, the newest; also the most spans of a task's ledger.
    pub history_runs: u64,
    /// Age of a run since it ended, of a span since its last fire time, of a removed task since its removal.
    pub history_age: Duration,
    /// Bytes of output of all runs together.
    pub output_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            history_runs: 1_000,
            history_age: Duration::from_secs(90 * 24 * 60 * 60),
            output_bytes: 2 << 30,
        }
    }
}

/// Removes the output of attempts. It is called on the writer's thread; what is not there is no error.
pub type RemoveOutput = Box<dyn Fn(&[AttemptKey]) + Send>;

/// Where a look at everything's age stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sweep {
    Idle,
    /// The runs of tasks that say themselves how long these are kept.
    Own {
        after: i64,
    },
    Runs {
        after: i64,
    },
    Spans {
        after: i64,
    },
    Tasks,
}

/// The bytes of output that are kept, counted row by row. `meta.output_bytes` is a single number, and with one wrong bit
/// in it all output would have to go.
struct Counted {
    /// Runs up to this `id` have been counted: all, once it is `None`.
    through: Option<i64>,
    bytes: i64,
}

impl Counted {
    fn note(&mut self, tally: &Tally) {
        for &(run, change) in &tally.output {
            if self.through.is_none_or(|through| run <= through) {
                self.bytes = self.bytes.saturating_add(change);
            }
        }
    }
}

/// Knows what may have to be pruned.
pub(crate) struct Pruner {
    limits: Limits,
    remove_output: Option<RemoveOutput>,
    /// Tasks that may have runs too many, or too old.
    more_runs: BTreeSet<TaskId>,
    quiet: Quiet,
    more_spans: BTreeSet<TaskId>,
    output_grown: bool,
    counted: Counted,
    sweep: Sweep,
    now: Option<Timestamp>,
    swept_at: Option<Timestamp>,
    /// The last step failed: the next commit that holds tries again.
    stalled: bool,
}

impl Pruner {
    pub(crate) fn new(limits: Limits, remove_output: Option<RemoveOutput>) -> Self {
        Pruner {
            limits,
            remove_output,
            more_runs: BTreeSet::new(),
            quiet: Quiet::default(),
            more_spans: BTreeSet::new(),
            output_grown: true,
            counted: Counted {
                through: Some(i64::MIN),
                bytes: 0,
            },
            sweep: Sweep::Idle,
            now: None,
            swept_at: None,
            stalled: true,
        }
    }

    /// Has this much kept from now on.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        if limits == self.limits {
            return;
        }
        self.limits = limits;
        self.quiet.forget_all();
        self.stalled = false;
        self.output_grown = true;
        // A sweep under way by the old limits may have passed over what is to go.
        self.swept_at = None;
        self.begin_sweep();
    }

    /// Takes in what a commit came to.
    pub(crate) fn note(&mut self, tally: &Tally) {
        self.stalled = false;
        self.now = tally.latest.or(self.now);
        for task in &tally.other_histories {
            self.quiet.forget(*task);
        }
        self.more_runs.extend(&tally.other_histories);
        let now = self.now;
        let loud = |run: &&RunKey| !now.is_some_and(|now| self.quiet.is_quiet(**run, now));
        self.more_runs
            .extend(tally.ended.iter().filter(loud).map(|run| run.task));
        self.more_spans.extend(&tally.more_spans);
        self.counted.note(tally);
        self.output_grown |= tally.output.iter().any(|(_, change)| *change > 0);
        if self.sweep == Sweep::Idle {
            self.begin_sweep();
        }
    }

    /// Begins to look at everything's age, if that is due.
    fn begin_sweep(&mut self) {
        let Some(now) = self.now else { return };
        // A clock that was set back must not put off the next sweep until it has caught up.
        let due = self
            .swept_at
            .is_none_or(|swept| now.since(swept).max(swept.since(now)) >= SWEEP_EVERY);
        if due {
            self.swept_at = Some(now);
            self.sweep = Sweep::Own { after: i64::MIN };
        }
    }

    /// Whether [`Pruner::step`] has something to look at.
    pub(crate) fn is_pending(&self) -> bool {
        let grown = !self.more_runs.is_empty() || !self.more_spans.is_empty() || self.output_grown;
        !self.stalled && (grown || self.sweep != Sweep::Idle)
    }

    /// Prunes a little.
    pub(crate) fn step(&mut self, session: &mut Session) {
        let done = if !self.more_runs.is_empty() {
            self.prune_runs(session)
        } else if !self.more_spans.is_empty() {
            self.prune_spans(session)
        } else if self.output_grown {
            match self.counted.through {
                Some(after) => self.count(session, after),
                None => self.prune_output(session),
            }
        } else {
            self.sweep(session)
        };
        // A failure is left to the next commit, which meets the same cause and tells it.
        self.stalled = done.is_err();
    }

    /// Before when everything is too old.
    fn cutoff(&self) -> Timestamp {
        self.before(self.limits.history_age)
    }

    fn before(&self, age: Duration) -> Timestamp {
        self.now.map_or(Timestamp::MIN, |now| now.minus(age))
    }

    /// How many runs of a task are kept, and before when they are too old; nothing where nobody knows.
    fn bounds_of(&self, session: &Session, task: TaskId) -> Result<Option<(u64, Timestamp)>, Fault> {
        let History { runs, for_ms } = match histories::of(session.db(), task)? {
            Own::Says(history) => history,
            Own::Unknown => return Ok(None),
        };
        let cutoff = match for_ms {
            Some(ms) => self.before(Duration::from_millis(ms.get())),
            None => self.cutoff(),
        };
        Ok(Some((runs.map_or(self.limits.history_runs, NonZeroU64::get), cutoff)))
    }

    /// Looks at some of these tasks, and gives back what is to go and which of them are done with. `look` says of a task
    /// whether there may be more.
    fn find(
        session: &Session,
        tasks: &BTreeSet<TaskId>,
        look: impl Fn(TaskId, &mut Pruning) -> Result<bool, Fault>,
    ) -> Result<(Pruning, Vec<TaskId>), Fault> {
        session.read(|| {
            let mut pruning = Pruning::default();
            let mut done = Vec::new();
            for &task in tasks.iter().take(TASKS) {
                if look(task, &mut pruning)? {
                    break;
                }
                done.push(task);
            }
            Ok((pruning, done))
        })
    }

    /// Removes what tasks have too much of: their oldest runs.
    fn prune_runs(&mut self, session: &mut Session) -> Result<(), Fault> {
        let (pruning, done) = Self::find(session, &self.more_runs, |task, pruning| {
            self.find_runs(session, task, pruning)
        })?;
        self.carry_out(session, &pruning)?;
        for task in done {
            self.more_runs.remove(&task);
        }
        for (task, until) in pruning.quiet {
            self.quiet.know(task, until);
        }
        Ok(())
    }

    /// Finds the runs of which a task has too many; true if there may be more.
    fn find_runs(&self, session: &Session, task: TaskId, pruning: &mut Pruning) -> Result<bool, Fault> {
        let id = bits(task.0);
        let Some((most, cutoff)) = self.bounds_of(session, task)? else {
            return Ok(false);
        };
        let db = session.db();
        let spare = spare(db, id, most)?;
        let mut statement = db.prepare_cached(&format!("{PRUNED} WHERE task = ?1 ORDER BY n"))?;
        let mut rows = statement.query([id])?;
        let mut oldest = None;
        while let Some(row) = rows.next()? {
            let run = Pruned::read(row)?;
            let Some(finished_at) = run.finished_at else { continue };
            if run.key.n > spare && finished_at >= cutoff.as_millis() {
                oldest = Some(Timestamp::from_millis(finished_at));
                break;
            }
            if pruning.is_full() {
                return Ok(true);
            }
            pruning.runs.push(run);
        }
        // Where runs were too many, one that is still open may be the next of them.
        let n = if spare == 0 { most } else { 0 };
        if let Some(now) = self.now {
            // Without one that is kept nothing is known, and what was known before does not hold.
            let at = oldest.map_or(now, |oldest| oldest.min(now).plus(now.since(cutoff)));
            pruning.quiet.push((task, Until { n, at }));
        }
        Ok(false)
    }

    /// Removes what tasks have too much of: the oldest spans of their ledgers.
    fn prune_spans(&mut self, session: &mut Session) -> Result<(), Fault> {
        let (pruning, done) = Self::find(session, &self.more_spans, |task, pruning| {
            self.find_spans(session, task, pruning)
        })?;
        self.carry_out(session, &pruning)?;
        for task in done {
            self.more_spans.remove(&task);
        }
        Ok(())
    }

    /// Finds the spans of which a task has too many; true if there may be more.
    fn find_spans(&self, session: &Session, task: TaskId, pruning: &mut Pruning) -> Result<bool, Fault> {
        let mut statement = session.db().prepare_cached(
            "SELECT id FROM ledger
             WHERE task = ?1 AND id <= (SELECT id FROM ledger WHERE task = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)
             ORDER BY id",
        )?;
        let mut rows = statement.query(params![bits(task.0), bits(self.limits.history_runs)])?;
        while let Some(row) = rows.next()? {
            if pruning.is_full() {
                return Ok(true);
            }
            pruning.spans.push(number(row, 0)?);
        }
        Ok(false)
    }

    /// Counts output that is kept, a few rows at a time.
    fn count(&mut self, session: &Session, after: i64) -> Result<(), Fault> {
        let mut statement = session.db().prepare_cached(&format!(
            "SELECT id, output_kept FROM runs WHERE output_kept > 0 AND id > ?1 ORDER BY id LIMIT {COUNTED}"
        ))?;
        let mut rows = statement.query([after])?;
        let (mut bytes, mut through, mut seen) = (self.counted.bytes, after, 0);
        while let Some(row) = rows.next()? {
            through = number(row, 0)?;
            bytes = bytes.saturating_add(plausible(number(row, 1)?));
            seen += 1;
        }
        self.counted = Counted {
            through: (seen == COUNTED).then_some(through),
            bytes,
        };
        Ok(())
    }

    /// Removes the oldest output until the rest fits. The runs stay.
    fn prune_output(&mut self, session: &mut Session) -> Result<(), Fault> {
        let limit = i64::try_from(self.limits.output_bytes).unwrap_or(i64::MAX);
        let mut total = self.counted.bytes;
        let mut pruned = Vec::new();
        if total > limit {
            let mut statement = session
                .db()
                .prepare_cached(&format!("{PRUNED} WHERE output_kept > 0 ORDER BY id LIMIT {CHUNK}"))?;
            let mut rows = statement.query([])?;
            let mut files = 0;
            while total > limit
                && files < FILES
                && let Some(row) = rows.next()?
            {
                let run = Pruned::read(row)?;
                total = total.saturating_sub(run.output_kept);
                files += run.files();
                pruned.push(run);
            }
        }
        if pruned.is_empty() {
            self.output_grown = false;
            return Ok(());
        }
        self.remove_files(&pruned);
        let tally = session.transaction(Durability::Lazy, |db, tally| {
            // Of a run that has not ended more is to come.
            let mut update = db.prepare_cached(
                "UPDATE runs SET output_kept = 0, output_removed = finished_at IS NOT NULL WHERE id = ?1",
            )?;
            for run in &pruned {
                update.execute([run.id])?;
                tally.output(run.id, -run.output_kept);
            }
            Ok(())
        })?;
        self.counted.note(&tally);
        self.output_grown = self.counted.bytes > limit;
        Ok(())
    }

    /// Rows are in the order of their creation, so what is old enough stands at the front of each table. A row from after
    /// now was made by a clock that was wrong, and tells nothing of those behind it.
    fn sweep(&mut self, session: &mut Session) -> Result<(), Fault> {
        let Some(now) = self.now.map(Timestamp::as_millis) else {
            return Ok(());
        };
        let cutoff = self.cutoff().as_millis();
        let mut pruning = Pruning::default();
        let mut last = None;
        let mut young = false;
        let next = match self.sweep {
            Sweep::Idle => return Ok(()),
            Sweep::Own { after } => {
                let tasks = histories::with_age(session.db(), after, TASKS)?;
                let last = tasks.last().map(|task| bits(task.0));
                self.more_runs.extend(tasks);
                match last {
                    Some(after) => Sweep::Own { after },
                    None => Sweep::Runs { after: i64::MIN },
                }
            }
            Sweep::Runs { after } => {
                let mut statement = session
                    .db()
                    .prepare_cached(&format!("{PRUNED} WHERE id > ?1 ORDER BY id LIMIT {CHUNK}"))?;
                let mut rows = statement.query([after])?;
                while !young
                    && !pruning.is_full()
                    && let Some(row) = rows.next()?
                {
                    let run = Pruned::read(row)?;
                    young = (cutoff..=now).contains(&run.created_at);
                    last = Some(run.id);
                    let Some(finished_at) = run.finished_at.filter(|at| *at < cutoff) else {
                        continue;
                    };
                    // A task may say that its runs are kept for longer.
                    let bounds = self.bounds_of(session, run.key.task)?;
                    if bounds.is_some_and(|(_, cutoff)| finished_at < cutoff.as_millis()) {
                        pruning.runs.push(run);
                    }
                }
                match last {
                    Some(after) if !young => Sweep::Runs { after },
                    _ => Sweep::Spans { after: i64::MIN },
                }
            }
            Sweep::Spans { after } => {
                let mut statement = session.db().prepare_cached(&format!(
                    "SELECT id, first, last FROM ledger WHERE id > ?1 ORDER BY id LIMIT {CHUNK}"
                ))?;
                let mut rows = statement.query([after])?;
                while !young && let Some(row) = rows.next()? {
                    let id = number(row, 0)?;
                    young = (cutoff..=now).contains(&number(row, 1)?);
                    last = Some(id);
                    if number(row, 2)? < cutoff {
                        pruning.spans.push(id);
                    }
                }
                match last {
                    Some(after) if !young => Sweep::Spans { after },
                    _ => Sweep::Tasks,
                }
            }
            Sweep::Tasks => {
                let mut statement = session.db().prepare_cached(&format!(
                    "SELECT id FROM tasks t WHERE removed_at < ?1 AND NOT EXISTS (SELECT 1 FROM runs WHERE task = t.id)
                        AND NOT EXISTS (SELECT 1 FROM ledger WHERE task = t.id) LIMIT {CHUNK}"
                ))?;
                let mut rows = statement.query([cutoff])?;
                while let Some(row) = rows.next()? {
                    pruning.tasks.push(number(row, 0)?);
                }
                if pruning.tasks.is_empty() {
                    Sweep::Idle
                } else {
                    Sweep::Tasks
                }
            }
        };
        self.carry_out(session, &pruning)?;
        self.sweep = next;
        if next == Sweep::Idle {
            // Time may have gone on meanwhile.
            self.begin_sweep();
        }
        Ok(())
    }

    fn carry_out(&mut self, session: &mut Session, pruning: &Pruning) -> Result<(), Fault> {
        if pruning.len() == 0 {
            return Ok(());
        }
        self.remove_files(&pruning.runs);
        let tally = session.transaction(Durability::Lazy, |db, tally| {
            let mut delete = db.prepare_cached("DELETE FROM runs WHERE id = ?1")?;
            for run in &pruning.runs {
                delete.execute([run.id])?;
                tally.output(run.id, -run.output_kept);
            }
            let mut delete = db.prepare_cached("DELETE FROM ledger WHERE id = ?1")?;
            for span in &pruning.spans {
                delete.execute([span])?;
            }
            let mut delete = db.prepare_cached("DELETE FROM tasks WHERE id = ?1")?;
            let mut forget = db.prepare_cached("DELETE FROM changes WHERE task = ?1")?;
            for task in &pruning.tasks {
                delete.execute([task])?;
                forget.execute([task])?;
            }
            Ok(())
        })?;
        self.counted.note(&tally);
        Ok(())
    }

    fn remove_files(&self, runs: &[Pruned]) {
        let Some(remove_output) = &self.remove_output else {
            return;
        };
        let attempts: Vec<AttemptKey> = runs
            .iter()
            .flat_map(|run| (1..=run.files()).map(|attempt| AttemptKey { run: run.key, attempt }))
            .collect();
        if !attempts.is_empty() {
            remove_output(&attempts);
        }
    }
}

/// What goes in one transaction.
#[derive(Default)]
struct Pruning {
    runs: Vec<Pruned>,
    spans: Vec<i64>,
    tasks: Vec<i64>,
    /// Tasks that have nothing more that is to go once these are gone.
    quiet: Vec<(TaskId, Until)>,
}

impl Pruning {
    fn len(&self) -> usize {
        self.runs.len() + self.spans.len() + self.tasks.len()
    }

    fn is_full(&self) -> bool {
        self.len() >= CHUNK || self.runs.iter().map(Pruned::files).sum::<u32>() >= FILES
    }
}

/// Selects what [`Pruned::read`] reads.
const PRUNED: &str = "SELECT id, task, n, attempt, created_at, finished_at, output_kept, output_removed, output_bytes \
                      FROM runs";

/// A run that may go.
struct Pruned {
    id: i64,
    key: RunKey,
    attempt: u32,
    created_at: i64,
    finished_at: Option<i64>,
    output_kept: i64,
    may_have_output: bool,
}

impl Pruned {
    fn read(row: &Row<'_>) -> Result<Self, Fault> {
        Ok(Pruned {
            id: number(row, 0)?,
            key: RunKey {
                task: TaskId(unsigned(row, 1)?),
                n: unsigned(row, 2)?,
            },
            attempt: u32::try_from(number(row, 3)?).unwrap_or(u32::MAX),
            created_at: number(row, 4)?,
            finished_at: optional_number(row, 5)?,
            output_kept: plausible(number(row, 6)?),
            // A run whose end nobody told may have written any amount, and earlier attempts did what they did.
            may_have_output: number(row, 7)? == 0 && (optional_number(row, 8)? != Some(0) || number(row, 3)? > 1),
        })
    }

    /// Of how many attempts output may have to go.
    fn files(&self) -> u32 {
        if self.may_have_output {
            self.ended().min(ATTEMPTS_MAX)
        } else {
            0
        }
    }

    /// How many of its attempts have ended: the last one of a run that has not ended may write.
    fn ended(&self) -> u32 {
        self.attempt - u32::from(self.finished_at.is_none() && self.attempt > 0)
    }
}

#[cfg(test)]
mod tests;
