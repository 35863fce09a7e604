//! Reading history: runs and spans of the ledger, newest first, in pages.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Row, params};
use serde::Deserialize;
use serde::de::IgnoredAny;
use taskd_core::dependency::Cause;
use taskd_core::policy::RETRIES_MAX;
use taskd_core::run::{Outcome, Passing, RunKey, TraceId, Trigger, Usage};
use taskd_core::task::{Owner, TaskId, TaskName};
use taskd_core::time::Timestamp;

use crate::columns::{
    bits, instant, number, optional_instant, optional_number, optional_text, optional_word, text, trace, unsigned, word,
};
use crate::dependencies;
use crate::error::{Fault, ReadError};
use crate::reader::Reader;

/// Up to so many tasks are looked up each by itself; more are sought along all runs.
const TASKS_EACH: usize = 64;
/// Rows passed over in one call before it returns what it has.
const SCANNED_MAX: u64 = 100_000;
/// How far the clock may have been set back between two runs for the search back to `since` to end at the right one.
const CLOCK_BACK_MS: i64 = 24 * 60 * 60 * 1000;

/// Which runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunQuery {
    /// Of which tasks.
    pub select: Select,
    /// Only those that ended so; empty for all, also those that have not ended.
    pub outcomes: Vec<Outcome>,
    /// Only those created at or after this.
    pub since: Option<Timestamp>,
    /// Only those of tasks of this owner.
    pub owner: Option<Owner>,
}

/// Of which tasks runs are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Select {
    /// All.
    #[default]
    All,
    /// These, removed ones included.
    Tasks(Vec<TaskId>),
    /// Just these runs.
    Runs(Vec<RunKey>),
}

/// Where a page ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor(i64);

impl Cursor {
    /// As a number, to hand to a client.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        self.0.cast_unsigned()
    }

    /// What [`Cursor::to_bits`] gave. Any other number gives some page.
    #[must_use]
    pub fn from_bits(number: u64) -> Self {
        Cursor(number.cast_signed())
    }
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits for a place.
    Waiting,
    /// It is being started.
    Starting,
    /// Its process runs.
    Running,
    /// Another attempt follows, and is not due yet.
    BackingOff,
    /// A gate of it is closed, and is looked at again.
    Gated,
    /// It has been asked to stop, and has not ended.
    Stopping,
    /// It has ended.
    Finished,
}

impl State {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Starting => "starting",
            State::Running => "running",
            State::BackingOff => "backing-off",
            State::Gated => "gated",
            State::Stopping => "stopping",
            State::Finished => "finished",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [
            State::Waiting,
            State::Starting,
            State::Running,
            State::BackingOff,
            State::Gated,
            State::Finished,
        ]
        .into_iter()
        .find(|state| state.word() == word)
    }
}

/// A run as history has it.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRow {
    /// Which.
    pub key: RunKey,
    /// Its task's name.
    pub name: TaskName,
    /// Its task's owner.
    pub owner: Owner,
    /// Why it exists.
    pub trigger: Trigger,
    /// The fire time it is for.
    pub fire_time: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its process started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Where it stands.
    pub state: State,
    /// Why it was asked to stop, if it was.
    pub stopping: Option<String>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Why, where the outcome alone does not say.
    pub reason: Option<String>,
    /// Exit code, where there is one.
    pub exit_code: Option<i32>,
    /// Signal, where there is one.
    pub signal: Option<i32>,
    /// Process id of its newest attempt.
    pub pid: Option<u32>,
    /// Its newest attempt, from 1.
    pub attempt: u32,
    /// When its next attempt is due or its gate is looked at again, while it waits for that.
    pub retry_at: Option<Timestamp>,
    /// Its trace id.
    pub trace_id: TraceId,
    /// What it used, where that is known.
    pub usage: Option<Usage>,
    /// Whether its output was removed to make room.
    pub output_removed: bool,
    /// The run whose end triggered it.
    pub cause: Option<Cause>,
    /// What it was given beside what its task says.
    pub overrides: Option<Overridden>,
}

/// What history tells of the [overrides](taskd_core::overrides::Overrides) of a run: no values.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Overridden {
    /// Its variables.
    #[serde(default)]
    env: Vec<(String, IgnoredAny)>,
    /// Its arguments.
    #[serde(default)]
    args: Vec<IgnoredAny>,
    /// Whether it started whatever the gates of its task said.
    #[serde(default)]
    pub skip_gates: bool,
}

impl Overridden {
    /// The names of its variables.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.env.iter().map(|(name, _)| name.as_str())
    }

    /// How many arguments it was given.
    #[must_use]
    pub fn arguments(&self) -> usize {
        self.args.len()
    }
}

/// Fire times of a task that passed without a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first of them.
    pub first: Timestamp,
    /// The last of them.
    pub last: Timestamp,
    /// How many.
    pub count: u64,
    /// What became of them.
    pub passing: Passing,
    /// Why.
    pub reason: String,
}

/// What [`run_row`] reads.
pub(crate) const RUN: &str = "SELECT r.id, r.task, r.n, coalesce(t.name, 'task-' || r.task), coalesce(t.owner, 0), \
                   r.\"trigger\", r.fire_time, r.created_at, \
                   coalesce((SELECT coalesce(a.started_at, a.finished_at) FROM attempts a WHERE a.run = r.id ORDER BY a.attempt LIMIT 1), r.started_at), r.finished_at, r.state, r.stopping, r.outcome, r.reason, r.exit_code, r.signal, r.pid, r.attempt, \
                   r.trace, r.max_rss_kib, r.user_us, r.system_us, r.output_bytes, r.output_lost, r.output_removed, \
                   r.started_at IS NULL AND r.attempt > 1 AND coalesce(r.outcome, '') NOT IN ('spawn-failed', 'unknown'), r.retry_at, \
                   r.memory_peak_kib, r.read_bytes, r.written_bytes, r.peak_pids, r.cause_task, r.cause_n, r.cause_name, \
                   r.overrides \
                   FROM runs r LEFT JOIN tasks t ON t.id = r.task";

pub(crate) fn run_row(row: &Row<'_>) -> Result<(i64, RunRow), Fault> {
    let key = RunKey {
        task: TaskId(unsigned(row, 1)?),
        n: unsigned(row, 2)?,
    };
    let damaged = |what: &str| Fault::Damaged(format!("run {} of task {}: {what}", key.n, key.task.0));
    let small = |column: usize| -> Result<Option<i32>, Fault> {
        optional_number(row, column)?
            .map(|number| i32::try_from(number).map_err(|_| damaged("a number is out of range")))
            .transpose()
    };
    let positive = |number: i64| u32::try_from(number).map_err(|_| damaged("a number is out of range"));
    let stopping = optional_text(row, 11)?.map(str::to_owned);
    let state = match word(row, 10, State::from_word)? {
        State::Finished => State::Finished,
        _ if stopping.is_some() => State::Stopping,
        state => state,
    };
    let usage = usage(row, 19, 27)?;
    let run = RunRow {
        key,
        name: TaskName::parse(text(row, 3)?).map_err(|error| damaged(&format!("its name is refused: {error}")))?,
        owner: Owner(positive(number(row, 4)?)?),
        trigger: word(row, 5, Trigger::from_word)?,
        fire_time: optional_instant(row, 6)?,
        created_at: instant(row, 7)?,
        started_at: optional_instant(row, 8)?,
        finished_at: optional_instant(row, 9)?,
        state,
        stopping,
        outcome: optional_word(row, 12, Outcome::from_word)?,
        reason: optional_text(row, 13)?.map(str::to_owned),
        exit_code: small(14)?,
        signal: small(15)?,
        pid: optional_number(row, 16)?.map(positive).transpose()?,
        // The next one has not begun, unless nobody knows.
        attempt: positive(number(row, 17)? - number(row, 25)?)?,
        retry_at: optional_instant(row, 26)?,
        trace_id: trace(row, 18)?,
        usage,
        output_removed: number(row, 24)? != 0,
        cause: dependencies::cause(row, 31)?,
        overrides: optional_text(row, 34)?
            .map(serde_json::from_str)
            .transpose()
            .map_err(|error| damaged(&format!("what it was given cannot be read: {error}")))?,
    };
    Ok((number(row, 0)?, run))
}

/// What was used, of which the first numbers stand from one column on and those that may be unknown from another.
pub(crate) fn usage(row: &Row<'_>, first: usize, counted: usize) -> Result<Option<Usage>, Fault> {
    let Some(max_rss_kib) = optional_number(row, first)? else {
        return Ok(None);
    };
    let known = |column| Ok::<_, Fault>(optional_number(row, column)?.map(i64::cast_unsigned));
    Ok(Some(Usage {
        max_rss_kib: max_rss_kib.cast_unsigned(),
        user_us: unsigned(row, first + 1)?,
        system_us: unsigned(row, first + 2)?,
        output_bytes: unsigned(row, first + 3)?,
        output_lost: unsigned(row, first + 4)?,
        output_kept: None,
        memory_peak_kib: known(counted)?,
        read_bytes: known(counted + 1)?,
        written_bytes: known(counted + 2)?,
        peak_pids: known(counted + 3)?,
    }))
}

/// What [`span`] reads.
pub(crate) const SPAN: &str = "SELECT first, last, count, passing, reason FROM ledger";

pub(crate) fn span(row: &Row<'_>) -> Result<Span, Fault> {
    Ok(Span {
        first: instant(row, 0)?,
        last: instant(row, 1)?,
        count: unsigned(row, 2)?,
        passing: word(row, 3, Passing::from_word)?,
        reason: text(row, 4)?.to_owned(),
    })
}

impl RunQuery {
    fn admits(&self, run: &RunRow) -> bool {
        (self.outcomes.is_empty() || run.outcome.is_some_and(|outcome| self.outcomes.contains(&outcome)))
            && self.since.is_none_or(|since| run.created_at >= since)
            && self.owner.is_none_or(|owner| run.owner == owner)
    }

    /// Whether an index of its own leads to the outcomes asked for.
    fn is_bad_only(&self) -> bool {
        !self.outcomes.is_empty() && !self.outcomes.contains(&Outcome::Succeeded)
    }
}

/// A page on its way.
type Page = BTreeMap<i64, RunRow>;

/// A run that has ended and whose output is large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LargeOutput {
    /// Its row, for the next page.
    pub row: i64,
    /// The run.
    pub run: RunKey,
    /// How many attempts it had.
    pub attempts: u32,
    /// Bytes that its output is counted for.
    pub kept: u64,
}

impl Reader {
    /// A page of runs, newest first, at most `limit`, and where to go on. A page may be shorter than `limit`, even empty,
    /// and have a next one: a search that passes over many rows is cut up.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn runs(
        &self,
        query: &RunQuery,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<(Vec<RunRow>, Option<Cursor>), ReadError> {
        if limit == 0 {
            return Ok((Vec::new(), before));
        }
        let before = before.map_or(i64::MAX, |cursor| cursor.0);
        let (page, next) = match &query.select {
            Select::Runs(keys) => self.runs_of_keys(query, keys, before, limit)?,
            Select::Tasks(tasks) if tasks.len() <= TASKS_EACH => self.runs_of_each(query, tasks, before, limit)?,
            Select::Tasks(tasks) => {
                let tasks = tasks.iter().copied().collect();
                self.runs_along(query, Some(&tasks), before, limit)?
            }
            Select::All => self.runs_along(query, None, before, limit)?,
        };
        Ok((page.into_values().rev().collect(), next.map(Cursor)))
    }

    /// One run.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn run(&self, key: RunKey) -> Result<Option<RunRow>, ReadError> {
        Ok(self.find(key)?.map(|(_, run)| run))
    }

    /// Runs that have ended and whose output takes more than so many bytes, the newest before a row first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn large_outputs(&self, bytes: u64, before: i64, limit: usize) -> Result<Vec<LargeOutput>, ReadError> {
        self.told(|db| {
            let mut statement = db.prepare_cached(
                "SELECT id, task, n, attempt, output_kept FROM runs
                 WHERE output_kept > 0 AND id < ?1 AND output_kept > ?2 AND finished_at IS NOT NULL ORDER BY id DESC LIMIT ?3",
            )?;
            let least = i64::try_from(bytes).unwrap_or(i64::MAX);
            let mut rows = statement.query([before, least, i64::try_from(limit).unwrap_or(i64::MAX)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(LargeOutput {
                    row: number(row, 0)?,
                    run: RunKey {
                        task: TaskId(unsigned(row, 1)?),
                        n: unsigned(row, 2)?,
                    },
                    attempts: u32::try_from(number(row, 3)?).unwrap_or(u32::MAX).min(RETRIES_MAX + 1),
                    kept: unsigned(row, 4)?,
                });
            }
            Ok(found)
        })
    }

    /// The newest run of a task under a trace id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn newest_of_trace(&self, task: TaskId, trace_id: TraceId) -> Result<Option<RunRow>, ReadError> {
        self.told(|db| {
            let mut statement = db.prepare_cached(&format!(
                "{RUN} WHERE r.task = ?1 AND r.trace = ?2 ORDER BY r.n DESC LIMIT 1"
            ))?;
            let mut rows = statement.query(params![bits(task.0), trace_id.0.to_be_bytes()])?;
            Ok(rows.next()?.map(run_row).transpose()?.map(|(_, run)| run))
        })
    }

    /// The newest run of a task whose process started.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn newest_started(&self, task: TaskId) -> Result<Option<RunKey>, ReadError> {
        self.told(|db| {
            let mut statement = db.prepare_cached(
                "SELECT n FROM runs WHERE task = ?1 AND (started_at IS NOT NULL OR attempt > 1) ORDER BY n DESC LIMIT 1",
            )?;
            let mut rows = statement.query([bits(task.0)])?;
            match rows.next()? {
                None => Ok(None),
                Some(row) => Ok(Some(RunKey {
                    task,
                    n: unsigned(row, 0)?,
                })),
            }
        })
    }

    /// Spans of a task's ledger, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn passed(&self, task: TaskId, limit: usize) -> Result<Vec<Span>, ReadError> {
        self.told(|db| {
            let mut statement = db.prepare_cached(&format!("{SPAN} WHERE task = ?1 ORDER BY id DESC LIMIT ?2"))?;
            let mut rows = statement.query([bits(task.0), i64::try_from(limit).unwrap_or(i64::MAX)])?;
            let mut spans = Vec::new();
            while let Some(row) = rows.next()? {
                spans.push(span(row)?);
            }
            Ok(spans)
        })
    }

    fn find(&self, key: RunKey) -> Result<Option<(i64, RunRow)>, ReadError> {
        self.told(|db| {
            let mut statement = db.prepare_cached(&format!("{RUN} WHERE r.task = ?1 AND r.n = ?2"))?;
            let mut rows = statement.query(params![bits(key.task.0), bits(key.n)])?;
            rows.next()?.map(run_row).transpose()
        })
    }

    fn runs_of_keys(
        &self,
        query: &RunQuery,
        keys: &[RunKey],
        before: i64,
        limit: usize,
    ) -> Result<(Page, Option<i64>), ReadError> {
        let mut page = Page::new();
        for key in keys {
            if let Some((id, run)) = self.find(*key)?
                && id < before
                && query.admits(&run)
            {
                page.insert(id, run);
            }
        }
        Ok(cut(page, limit))
    }

    /// Each task has an index to its runs. It is in the order of their numbers, which after a backup was put back need not
    /// be that of their creation, by which pages are made.
    fn runs_of_each(
        &self,
        query: &RunQuery,
        tasks: &[TaskId],
        before: i64,
        limit: usize,
    ) -> Result<(Page, Option<i64>), ReadError> {
        self.told(|db| {
            let mut statement = db.prepare_cached(&format!(
                "{RUN} WHERE r.id IN (SELECT id FROM runs WHERE task = ?1 AND id < ?2) ORDER BY r.id DESC"
            ))?;
            let mut page = Page::new();
            for task in tasks {
                let mut rows = statement.query(params![bits(task.0), before])?;
                let mut taken = 0;
                // One more than asked for tells whether there is a next page.
                while taken <= limit
                    && let Some(row) = rows.next()?
                {
                    let (id, run) = run_row(row)?;
                    if query.admits(&run) {
                        taken += 1;
                        page.insert(id, run);
                    }
                }
            }
            Ok(cut(page, limit))
        })
    }

    /// Goes along the runs of all tasks.
    fn runs_along(
        &self,
        query: &RunQuery,
        tasks: Option<&BTreeSet<TaskId>>,
        before: i64,
        limit: usize,
    ) -> Result<(Page, Option<i64>), ReadError> {
        self.told(|db| {
            let bad = if query.is_bad_only() {
                " AND r.outcome <> 'succeeded'"
            } else {
                ""
            };
            let oldest = query
                .since
                .map_or(i64::MIN, |since| since.as_millis().saturating_sub(CLOCK_BACK_MS));
            let mut statement = db.prepare_cached(&format!("{RUN} WHERE r.id < ?1{bad} ORDER BY r.id DESC"))?;
            let mut rows = statement.query([before])?;
            let mut page = Page::new();
            let mut scanned = 0_u64;
            let mut last = None;
            while let Some(row) = rows.next()? {
                if page.len() == limit || scanned == SCANNED_MAX {
                    return Ok((page, last));
                }
                if number(row, 7)? < oldest {
                    return Ok((page, None));
                }
                scanned += 1;
                last = Some(number(row, 0)?);
                if tasks.is_some_and(|tasks| unsigned(row, 1).is_ok_and(|task| !tasks.contains(&TaskId(task)))) {
                    continue;
                }
                let (id, run) = run_row(row)?;
                if query.admits(&run) {
                    page.insert(id, run);
                }
            }
            Ok((page, None))
        })
    }
}

/// The newest of what was found, and where to go on if that is not all.
fn cut(mut page: Page, limit: usize) -> (Page, Option<i64>) {
    if page.len() <= limit {
        return (page, None);
    }
    let mut last = None;
    let mut newest = Page::new();
    while newest.len() < limit
        && let Some((id, run)) = page.pop_last()
    {
        last = Some(id);
        newest.insert(id, run);
    }
    (newest, last)
}
