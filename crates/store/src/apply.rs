//! A record becomes rows. Loading the rows gives what replaying the records gives.

use rusqlite::{CachedStatement, Connection, OptionalExtension, ToSql, params};
use serde::Serialize;
use taskd_core::record::Record;
use taskd_core::requirement::LastEnd;
use taskd_core::run::{AttemptEnd, AttemptKey, Exit, Outcome, Passing, RunKey, TraceId, Trigger, Usage};
use taskd_core::task::TaskId;
use taskd_core::time::Timestamp;

use crate::calendars;
use crate::changes;
use crate::columns::bits;
use crate::dependencies;
use crate::error::Fault;
use crate::pools;

mod ledger;
mod recount;
mod tasks;

pub(crate) use recount::recount;

/// Tells how many bytes of output of an attempt are on disk.
pub(crate) type OutputSize = dyn Fn(AttemptKey) -> Option<u64> + Send;

/// Largest count that is kept, so that sums of counts are whole numbers too.
pub(crate) const COUNT_MAX: u64 = 1 << 50;
/// Bound of a sum of counts; two of them still make a whole number.
const SUM_MAX: i64 = 1 << 61;
/// From here on `meta.commits` begins anew. Nothing gets there but damage, and that must not have all commits refused.
const COMMITS_MAX: i64 = 1 << 62;

/// What `meta.commits` is after one more.
pub(crate) fn next_commits(commits: i64) -> i64 {
    commits % COMMITS_MAX + 1
}

/// What the records of one transaction come to, beyond their own rows.
#[derive(Default)]
pub(crate) struct Tally {
    tasks: i64,
    /// By how much `runs.output_kept` changes, by `runs.id`.
    pub(crate) output: Vec<(i64, i64)>,
    last_task: u64,
    horizon: Option<Timestamp>,
    runner: Option<u64>,
    boot: Option<u128>,
    /// The latest instant any record tells; the store has no clock of its own.
    pub(crate) latest: Option<Timestamp>,
    /// Runs that have ended.
    pub(crate) ended: Vec<RunKey>,
    /// Tasks that have something else kept of their history.
    pub(crate) other_histories: Vec<TaskId>,
    /// Tasks with one more span in their ledger.
    pub(crate) more_spans: Vec<TaskId>,
}

impl Tally {
    fn seen(&mut self, at: Timestamp) {
        self.latest = self.latest.max(Some(at));
    }

    /// A run keeps more output, or less.
    pub(crate) fn output(&mut self, run: i64, change: i64) {
        if change != 0 {
            self.output.push((run, change));
        }
    }

    /// Writes the row of `meta`. A number in it that is beyond all measure refuses no commit.
    pub(crate) fn write(&self, db: &Connection) -> Result<(), Fault> {
        let output = self
            .output
            .iter()
            .fold(0_i64, |sum, (_, change)| sum.saturating_add(*change));
        db.prepare_cached(&format!(
            "UPDATE meta SET commits = commits % {COMMITS_MAX} + 1, tasks = tasks + ?1,
                    output_bytes = max(min(output_bytes, {SUM_MAX}), -{SUM_MAX}) + ?2,
                    last_task = max(last_task, ?3), horizon = coalesce(?4, horizon), runner = coalesce(?5, runner),
                    latest = coalesce(?6, latest), boot = coalesce(?7, boot)",
        ))?
        .execute(params![
            self.tasks,
            output.clamp(-SUM_MAX, SUM_MAX),
            bits(self.last_task),
            self.horizon.map(Timestamp::as_millis),
            self.runner.map(bits),
            self.latest.map(Timestamp::as_millis),
            self.boot.map(u128::to_be_bytes),
        ])?;
        Ok(())
    }
}

/// Writes records into the transaction that is open on `db`.
pub(crate) fn apply(
    db: &Connection,
    records: &[Record],
    tally: &mut Tally,
    output_size: Option<&OutputSize>,
) -> Result<(), Fault> {
    let mut applier = Applier { db, tally, output_size };
    records.iter().try_for_each(|record| applier.record(record))
}

/// A size of output as it can have been written.
pub(crate) fn plausible(kept: i64) -> i64 {
    kept.clamp(0, bits(COUNT_MAX))
}

/// The row of a run that has not ended.
struct OpenRun {
    id: i64,
    /// The attempt it is at.
    attempt: u32,
    /// Whether an attempt of it was started, or could not be.
    began: bool,
}

/// How an attempt ended.
struct AttemptOver<'a> {
    at: Timestamp,
    outcome: Outcome,
    reason: Option<&'a str>,
    end: Option<&'a AttemptEnd>,
}

impl AttemptOver<'_> {
    /// Its exit code, and the signal that ended it.
    fn exit(&self) -> (Option<i32>, Option<i32>) {
        let exit = self.end.map(|end| &end.exit);
        (exit.and_then(Exit::code), exit.and_then(Exit::signal))
    }

    /// What is known of its process, if it had one.
    fn ran(&self) -> Option<&AttemptEnd> {
        self.end.filter(|end| end.pid != 0)
    }

    fn usage(&self) -> Option<Usage> {
        self.end.map(|end| end.usage)
    }
}

fn json(value: &impl Serialize) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| Fault::Unfit(format!("what is kept of a run is no JSON: {error}")))
}

struct Applier<'a> {
    db: &'a Connection,
    tally: &'a mut Tally,
    output_size: Option<&'a OutputSize>,
}

impl Applier<'_> {
    fn sql(&self, sql: &str) -> Result<CachedStatement<'_>, Fault> {
        Ok(self.db.prepare_cached(sql)?)
    }

    fn record(&mut self, record: &Record) -> Result<(), Fault> {
        match record {
            Record::TaskAdded {
                id,
                owner,
                at,
                definition,
            } => self.task_added(*id, *owner, *at, definition),
            Record::ImportBegun { import, last, owner: _ } => self.import_begun(*import, *last),
            Record::ImportEnded { import } => self.import_ended(*import),
            Record::ImportDropped { import, from } => self.import_dropped(*import, *from),
            Record::TaskChanged {
                id,
                at,
                definition,
                mark,
                by,
            } => self.task_changed(*id, *at, definition, *mark, by),
            Record::TaskSwitched {
                id,
                at,
                enabled,
                mark,
                by,
            } => self.task_switched(*id, *at, *enabled, *mark, by),
            Record::Paused { scope, at, pause } => {
                self.tally.seen(*at);
                changes::paused(self.db, *scope, pause, *at)
            }
            Record::Resumed { scope, at, by } => {
                self.tally.seen(*at);
                changes::resumed(self.db, *scope, *at, by)
            }
            Record::LifeBegan { at } => {
                self.tally.seen(*at);
                changes::life_began(self.db, *at)
            }
            Record::LifeEnded { at } => {
                self.tally.seen(*at);
                changes::life_ended(self.db, *at)
            }
            Record::TaskRemoved { id, at } => self.task_removed(*id, *at),
            Record::Horizon { until } => {
                self.tally.horizon = Some(*until);
                Ok(())
            }
            Record::RunnerAttached { instance } => {
                self.tally.runner = Some(*instance);
                Ok(())
            }
            Record::RunCreated {
                run,
                trigger,
                fire_time,
                at,
                trace_id,
                waiting,
                cause,
                overrides,
            } => {
                self.tally.seen(*at);
                let overrides = overrides.as_deref().map(json).transpose()?;
                let columns = params![
                    bits(run.task.0),
                    bits(run.n),
                    trigger.word(),
                    fire_time.map(Timestamp::as_millis),
                    at.as_millis(),
                    if *waiting { "waiting" } else { "starting" },
                    trace_id.0.to_be_bytes(),
                    cause.as_ref().map(|cause| bits(cause.run.task.0)),
                    cause.as_ref().map(|cause| bits(cause.run.n)),
                    cause.as_ref().map(|cause| cause.name.as_str()),
                    overrides,
                ];
                if let Some(cause) = cause {
                    dependencies::settled(self.db, run.task, cause.run)?;
                }
                if !self.insert_run(columns)? && self.remove_other(*run, *trace_id)? {
                    self.insert_run(columns)?;
                }
                // What is made up for on request was dealt with before.
                let mark = fire_time.filter(|_| *trigger != Trigger::Backfill);
                self.sql("UPDATE marks SET last_run = max(last_run, ?2), mark = coalesce(?3, mark) WHERE task = ?1")?
                    .execute(params![bits(run.task.0), bits(run.n), mark.map(Timestamp::as_millis)])?;
                Ok(())
            }
            Record::RunAdmitted { run, at } => {
                self.tally.seen(*at);
                let changed = self
                    .sql("UPDATE runs SET state = 'starting' WHERE task = ?1 AND n = ?2 AND state = 'waiting'")?
                    .execute(params![bits(run.task.0), bits(run.n)])?;
                self.expect_run(*run, changed)
            }
            Record::RunKeeps { run, holding } => {
                self.sql(
                    "UPDATE runs SET keeps = ?3
                     WHERE task = ?1 AND n = ?2 AND finished_at IS NULL AND state IN ('starting', 'running')",
                )?
                .execute(params![bits(run.task.0), bits(run.n), json(holding)?])?;
                Ok(())
            }
            Record::AttemptStarted { attempt, pid, at } => {
                self.tally.seen(*at);
                let changed = self
                    .sql(
                        "UPDATE runs SET state = 'running', attempt = ?3, pid = ?4, started_at = ?5
                         WHERE task = ?1 AND n = ?2 AND finished_at IS NULL",
                    )?
                    .execute(params![
                        bits(attempt.run.task.0),
                        bits(attempt.run.n),
                        attempt.attempt,
                        pid,
                        at.as_millis()
                    ])?;
                self.expect_run(attempt.run, changed)
            }
            Record::RunStopping { run, at, reason } => {
                self.tally.seen(*at);
                let changed = self
                    .sql(
                        "UPDATE runs SET stopping = ?3, retry_at = NULL,
                            state = iif(state IN ('backing-off', 'gated'), 'waiting', state)
                         WHERE task = ?1 AND n = ?2 AND finished_at IS NULL",
                    )?
                    .execute(params![bits(run.task.0), bits(run.n), reason])?;
                self.expect_run(*run, changed)
            }
            Record::RunFinished {
                run,
                at,
                outcome,
                reason,
                end,
            } => {
                let ended = AttemptOver {
                    at: *at,
                    outcome: *outcome,
                    reason: reason.as_deref(),
                    end: end.as_ref(),
                };
                self.run_finished(*run, &ended)
            }
            Record::AttemptEnded {
                attempt,
                at,
                outcome,
                reason,
                end,
                retry_at,
            } => {
                let ended = AttemptOver {
                    at: *at,
                    outcome: *outcome,
                    reason: reason.as_deref(),
                    end: end.as_ref(),
                };
                self.attempt_ended(*attempt, &ended, *retry_at)
            }
            Record::GateClosed { run, at, gate, look_at } => {
                self.tally.seen(*at);
                let changed = self
                    .sql(
                        "UPDATE runs SET gate = ?3, keeps = NULL, state = iif(stopping IS NULL, 'gated', 'waiting'),
                                retry_at = iif(stopping IS NULL, ?4, NULL)
                         WHERE task = ?1 AND n = ?2 AND finished_at IS NULL",
                    )?
                    .execute(params![bits(run.task.0), bits(run.n), json(gate)?, look_at.as_millis()])?;
                self.expect_run(*run, changed)
            }
            Record::RetryDue { run, at } => {
                self.tally.seen(*at);
                let changed = self
                    .sql(
                        "UPDATE runs SET state = 'waiting', retry_at = NULL
                         WHERE task = ?1 AND n = ?2 AND state IN ('backing-off', 'gated')",
                    )?
                    .execute(params![bits(run.task.0), bits(run.n)])?;
                self.expect_run(*run, changed)
            }
            Record::Passed {
                task,
                first,
                last,
                count,
                passing,
                reason,
            } => self.passed(*task, *first, *last, *count, *passing, reason),
            Record::BootSkipped { task, at, reason } => {
                self.tally.seen(*at);
                self.span(*task, *at, *at, 1, Passing::Skipped, reason)
            }
            Record::RunMuted { run } => dependencies::muted(self.db, *run),
            Record::Latched { task, end, on } => dependencies::latched(self.db, *task, *end, *on),
            Record::Unlatched { task, upstream } => dependencies::unlatched(self.db, *task, *upstream),
            Record::Owed { task, cause, trace_id } => dependencies::owed(self.db, *task, cause, *trace_id),
            Record::DependencySkipped { task, at, end, reason } => {
                self.tally.seen(*at);
                dependencies::settled(self.db, *task, *end)?;
                self.span(*task, *at, *at, 1, Passing::Skipped, reason)
            }
            Record::PauseBegins { scope, since } => changes::pause_begins(self.db, *scope, *since),
            Record::MarkReset { task, mark } => self.set_mark(*task, *mark),
            Record::Fired { task, count } => {
                // A removed task has no mark any more, and no count.
                self.sql("INSERT OR REPLACE INTO counts (task, fired) SELECT task, ?2 FROM marks WHERE task = ?1")?
                    .execute([bits(task.0), bits(*count)])?;
                Ok(())
            }
            Record::CalendarSet { name, calendar, at, by } => {
                self.tally.seen(*at);
                calendars::set(self.db, name, calendar, *at, by)
            }
            Record::PoolSet {
                owner,
                pool,
                limit,
                at,
                by,
            } => pools::set(self.db, *owner, pool, *limit, *at, by),
            Record::CalendarRemoved { name } => calendars::removed(self.db, name),
            Record::Booted { boot } => {
                self.tally.boot = Some(*boot);
                Ok(())
            }
        }
    }

    /// False if there is a run of this key.
    fn insert_run(&self, columns: &[&dyn ToSql]) -> Result<bool, Fault> {
        let inserted = self
            .sql(
                "INSERT INTO runs (task, n, \"trigger\", fire_time, created_at, state, attempt, trace, output_kept,
                                   output_removed, cause_task, cause_n, cause_name, overrides)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, 0, 0, ?8, ?9, ?10, ?11) ON CONFLICT (task, n) DO NOTHING",
            )?
            .execute(columns)?;
        Ok(inserted > 0)
    }

    /// Removes a run that has the key of another. After a backup was put back, ids may be given a second time, and a
    /// fact must not be refused for that.
    fn remove_other(&mut self, run: RunKey, trace_id: TraceId) -> Result<bool, Fault> {
        let other = self
            .sql("DELETE FROM runs WHERE task = ?1 AND n = ?2 AND trace <> ?3 RETURNING id, output_kept")?
            .query_row(
                params![bits(run.task.0), bits(run.n), trace_id.0.to_be_bytes()],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        if let Some((id, kept)) = other {
            self.tally.output(id, -plausible(kept));
        }
        Ok(other.is_some())
    }

    fn run_finished(&mut self, run: RunKey, ended: &AttemptOver<'_>) -> Result<(), Fault> {
        self.tally.seen(ended.at);
        let Some(OpenRun { id, attempt, began }) = self.open_run(run)? else {
            return self.expect_run(run, 0);
        };
        let kept = self.kept(AttemptKey { run, attempt }, ended);
        let (exit_code, signal) = ended.exit();
        let (ran, usage) = (ended.ran(), ended.usage());
        self.sql(
            "UPDATE runs SET state = 'finished', finished_at = ?2, outcome = ?3, reason = ?4, exit_code = ?5,
                    signal = ?6, started_at = coalesce(started_at, ?7), pid = coalesce(pid, ?8), max_rss_kib = ?9,
                    user_us = ?10, system_us = ?11, output_bytes = ?12, output_lost = ?13,
                    output_kept = output_kept + ?14, retry_at = NULL, memory_peak_kib = ?15, read_bytes = ?16,
                    written_bytes = ?17, peak_pids = ?18
             WHERE id = ?1",
        )?
        .execute(params![
            id,
            ended.at.as_millis(),
            ended.outcome.word(),
            ended.reason,
            exit_code,
            signal,
            ran.map(|end| end.started_at.as_millis()),
            ran.map(|end| end.pid),
            usage.map(|usage| bits(usage.max_rss_kib)),
            usage.map(|usage| bits(usage.user_us)),
            usage.map(|usage| bits(usage.system_us)),
            usage.map(|usage| bits(usage.output_bytes)),
            usage.map(|usage| bits(usage.output_lost)),
            bits(kept),
            usage.and_then(|usage| usage.memory_peak_kib).map(bits),
            usage.and_then(|usage| usage.read_bytes).map(bits),
            usage.and_then(|usage| usage.written_bytes).map(bits),
            usage.and_then(|usage| usage.peak_pids).map(bits),
        ])?;
        let has_run = LastEnd::of(ended.outcome, ended.at, ended.end, began).is_some();
        self.sql(
            "UPDATE marks SET last_n = ?2, last_outcome = ?3, last_finished_at = ?4,
                    ran_outcome = iif(?5, ?3, ran_outcome), ran_at = iif(?5, ?4, ran_at)
             WHERE task = ?1",
        )?
        .execute(params![
            bits(run.task.0),
            bits(run.n),
            ended.outcome.word(),
            ended.at.as_millis(),
            has_run,
        ])?;
        self.tally.output(id, bits(kept));
        self.tally.ended.push(run);
        Ok(())
    }

    /// Puts what the row of a run tells of an attempt aside, and makes it tell of the next.
    fn attempt_ended(&mut self, key: AttemptKey, ended: &AttemptOver<'_>, retry_at: Timestamp) -> Result<(), Fault> {
        self.tally.seen(ended.at);
        let Some(OpenRun { id, .. }) = self.open_run(key.run)? else {
            return self.expect_run(key.run, 0);
        };
        let kept = self.kept(key, ended);
        let (exit_code, signal) = ended.exit();
        let (ran, usage) = (ended.ran(), ended.usage());
        self.sql(
            "INSERT OR REPLACE INTO attempts (run, attempt, started_at, finished_at, outcome, reason, exit_code, signal,
                    pid, max_rss_kib, user_us, system_us, output_bytes, output_lost, memory_peak_kib, read_bytes,
                    written_bytes, peak_pids)
             SELECT id, ?2, coalesce(started_at, ?7), ?3, ?4, ?5, ?6, ?8, coalesce(pid, ?9), ?10, ?11, ?12, ?13, ?14,
                    ?15, ?16, ?17, ?18
             FROM runs WHERE id = ?1",
        )?
        .execute(params![
            id,
            key.attempt,
            ended.at.as_millis(),
            ended.outcome.word(),
            ended.reason,
            exit_code,
            ran.map(|end| end.started_at.as_millis()),
            signal,
            ran.map(|end| end.pid),
            usage.map(|usage| bits(usage.max_rss_kib)),
            usage.map(|usage| bits(usage.user_us)),
            usage.map(|usage| bits(usage.system_us)),
            usage.map(|usage| bits(usage.output_bytes)),
            usage.map(|usage| bits(usage.output_lost)),
            usage.and_then(|usage| usage.memory_peak_kib).map(bits),
            usage.and_then(|usage| usage.read_bytes).map(bits),
            usage.and_then(|usage| usage.written_bytes).map(bits),
            usage.and_then(|usage| usage.peak_pids).map(bits),
        ])?;
        self.sql(
            "UPDATE runs SET state = iif(stopping IS NULL, 'backing-off', 'waiting'), attempt = ?2,
                    retry_at = iif(stopping IS NULL, ?3, NULL), started_at = NULL, pid = NULL, keeps = NULL,
                    output_kept = output_kept + ?4
             WHERE id = ?1",
        )?
        .execute(params![
            id,
            key.attempt.saturating_add(1),
            retry_at.as_millis(),
            bits(kept)
        ])?;
        self.tally.output(id, bits(kept));
        Ok(())
    }

    /// The row of a run that has not ended.
    fn open_run(&self, run: RunKey) -> Result<Option<OpenRun>, Fault> {
        Ok(self
            .sql(
                "SELECT id, attempt, started_at IS NOT NULL OR attempt > 1 FROM runs
                 WHERE task = ?1 AND n = ?2 AND finished_at IS NULL",
            )?
            .query_row([bits(run.task.0), bits(run.n)], |row| {
                Ok(OpenRun {
                    id: row.get(0)?,
                    attempt: row.get(1)?,
                    began: row.get(2)?,
                })
            })
            .optional()?)
    }

    /// How many bytes the output of an attempt takes on disk.
    fn kept(&self, attempt: AttemptKey, ended: &AttemptOver<'_>) -> u64 {
        let of = |usage: Usage| {
            let told = usage.output_bytes.saturating_sub(usage.output_lost);
            let looked_up = || self.output_size.filter(|_| told > 0)?(attempt);
            usage.output_kept.or_else(looked_up).unwrap_or(told)
        };
        ended.usage().map_or(0, of).min(COUNT_MAX)
    }

    /// Merges with the span before it when that ends at the mark: then nothing lies between the two.
    /// A record about a run that has ended, or is pruned, changes nothing. One about a run that was never created
    /// came before its time, and is refused rather than dropped.
    fn expect_run(&self, run: RunKey, changed: usize) -> Result<(), Fault> {
        if changed > 0 {
            return Ok(());
        }
        let newest: Option<u64> = self
            .sql("SELECT last_run FROM marks WHERE task = ?1")?
            .query_row([bits(run.task.0)], |row| row.get::<_, i64>(0))
            .optional()?
            .map(i64::cast_unsigned);
        match newest {
            Some(newest) if newest < run.n => Err(Fault::Unfit(format!(
                "run {} of task {} was never created",
                run.n, run.task.0
            ))),
            _ => Ok(()),
        }
    }
}
