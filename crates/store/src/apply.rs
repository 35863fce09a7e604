//! A record becomes rows. Loading the rows gives what replaying the records gives.

use rusqlite::{CachedStatement, Connection, params};
use serde::Serialize;
use taskd_core::record::Record;
use taskd_core::run::{AttemptKey, Passing, RunKey};
use taskd_core::task::TaskId;
use taskd_core::time::{Boot, Timestamp};

use crate::calendars;
use crate::changes;
use crate::columns::bits;
use crate::dependencies;
use crate::error::Fault;
use crate::pools;

mod ledger;
mod recount;
mod runs;
mod tasks;
mod whole;

use runs::{AttemptOver, Created};
use whole::Plan;

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
    horizon: Option<(Timestamp, Option<Boot>)>,
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
        let horizon_boot = self.horizon.and_then(|(_, boot)| boot);
        db.prepare_cached(&format!(
            "UPDATE meta SET commits = commits % {COMMITS_MAX} + 1, tasks = tasks + ?1,
                    output_bytes = max(min(output_bytes, {SUM_MAX}), -{SUM_MAX}) + ?2,
                    last_task = max(last_task, ?3), horizon = coalesce(?4, horizon), runner = coalesce(?5, runner),
                    latest = coalesce(?6, latest), boot = coalesce(?7, boot),
                    horizon_boot = iif(?4 IS NULL, horizon_boot, ?8),
                    horizon_boot_at = iif(?4 IS NULL, horizon_boot_at, ?9)",
        ))?
        .execute(params![
            self.tasks,
            output.clamp(-SUM_MAX, SUM_MAX),
            bits(self.last_task),
            self.horizon.map(|(until, _)| until.as_millis()),
            self.runner.map(bits),
            self.latest.map(Timestamp::as_millis),
            self.boot.map(u128::to_be_bytes),
            horizon_boot.map(|boot| boot.id.to_be_bytes()),
            horizon_boot.map(|boot| boot.at.as_millis()),
        ])?;
        Ok(())
    }
}

/// Writes records into the transaction that is open on `db`. A run that begins and ends in them is one row at once.
pub(crate) fn apply<'a>(
    db: &Connection,
    records: impl Iterator<Item = &'a Record> + Clone,
    tally: &mut Tally,
    output_size: Option<&OutputSize>,
) -> Result<(), Fault> {
    let plan = Plan::of(records.clone());
    let mut applier = Applier {
        db,
        statements: Vec::new(),
        tally,
        output_size,
        plan,
    };
    records
        .enumerate()
        .try_for_each(|(place, record)| applier.record(place, record))
}

/// A size of output as it can have been written.
pub(crate) fn plausible(kept: i64) -> i64 {
    kept.clamp(0, bits(COUNT_MAX))
}

fn json(value: &impl Serialize) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| Fault::Unfit(format!("what is kept of a run is no JSON: {error}")))
}

struct Applier<'a> {
    db: &'a Connection,
    /// Those that were needed, by their texts: the next record mostly needs the same.
    statements: Vec<(&'static str, CachedStatement<'a>)>,
    tally: &'a mut Tally,
    output_size: Option<&'a OutputSize>,
    plan: Plan<'a>,
}

impl<'a> Applier<'a> {
    fn sql(&mut self, sql: &'static str) -> Result<&mut CachedStatement<'a>, Fault> {
        // To compare where the texts are is enough: one that is in two places is prepared twice.
        let known = self.statements.iter().position(|(text, _)| std::ptr::eq(*text, sql));
        let place = match known {
            Some(place) => place,
            None => {
                self.statements.push((sql, self.db.prepare_cached(sql)?));
                self.statements.len() - 1
            }
        };
        Ok(&mut self.statements[place].1)
    }

    fn record(&mut self, place: usize, record: &Record) -> Result<(), Fault> {
        if self.plan.is_told(place) {
            return Ok(());
        }
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
            Record::NumbersLost { task, last } => self.numbers_lost(*task, *last),
            Record::Horizon { until, boot } => {
                self.tally.horizon = Some((*until, *boot));
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
                let created = Created {
                    run: *run,
                    trigger: *trigger,
                    fire_time: *fire_time,
                    at: *at,
                    trace_id: *trace_id,
                    waiting: *waiting,
                    cause: cause.as_ref(),
                    overrides: overrides.as_deref(),
                };
                let Some(whole) = self.plan.take_whole(place) else {
                    return self.run_created(&created);
                };
                if self.insert_whole(&created, &whole)? {
                    return Ok(());
                }
                self.plan.part(&whole);
                self.run_created(&created)
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
            Record::AttemptStarted { attempt, pid, at } => self.attempt_started(*attempt, *pid, *at),
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
                self.run_finished(*run, &ended, self.plan.start(place))
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
}
