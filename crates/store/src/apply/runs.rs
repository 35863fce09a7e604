//! Records of runs.

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{OptionalExtension, params, params_from_iter};
use taskd_core::dependency::Cause;
use taskd_core::overrides::Overrides;
use taskd_core::requirement::LastEnd;
use taskd_core::run::{AttemptEnd, AttemptKey, Exit, Outcome, RunKey, TraceId, Trigger, Usage};
use taskd_core::task::TaskId;
use taskd_core::time::Timestamp;

use super::whole::Started;
use super::{Applier, COUNT_MAX, json, plausible};
use crate::columns::bits;
use crate::dependencies;
use crate::error::Fault;

/// A run as it is created.
pub(super) struct Created<'a> {
    pub(super) run: RunKey,
    pub(super) trigger: Trigger,
    pub(super) fire_time: Option<Timestamp>,
    pub(super) at: Timestamp,
    pub(super) trace_id: TraceId,
    pub(super) waiting: bool,
    pub(super) cause: Option<&'a Cause>,
    pub(super) overrides: Option<&'a Overrides>,
}

impl Created<'_> {
    /// What its row says from the first: `task, n, trigger, fire_time, created_at, trace, cause_task, cause_n, cause_name,
    /// overrides`.
    pub(super) fn columns(&self) -> Result<[ToSqlOutput<'_>; 10], Fault> {
        let whole = |number: i64| ToSqlOutput::from(number);
        let owned = ToSqlOutput::Owned;
        let trace = Value::Blob(self.trace_id.0.to_be_bytes().to_vec());
        let overrides = self.overrides.map(json).transpose()?.map(Value::Text);
        Ok([
            whole(bits(self.run.task.0)),
            whole(bits(self.run.n)),
            self.trigger.word().into(),
            optional(self.fire_time.map(Timestamp::as_millis)),
            whole(self.at.as_millis()),
            owned(trace),
            optional(self.cause.map(|cause| bits(cause.run.task.0))),
            optional(self.cause.map(|cause| bits(cause.run.n))),
            optional(self.cause.map(|cause| cause.name.as_str())),
            owned(overrides.unwrap_or(Value::Null)),
        ])
    }

    /// The fire time up to which its task has been dealt with. What is made up for on request was so before.
    pub(super) fn mark(&self) -> Option<i64> {
        let mark = self.fire_time.filter(|_| self.trigger != Trigger::Backfill);
        mark.map(Timestamp::as_millis)
    }
}

/// How an attempt ended.
pub(super) struct AttemptOver<'a> {
    pub(super) at: Timestamp,
    pub(super) outcome: Outcome,
    pub(super) reason: Option<&'a str>,
    pub(super) end: Option<&'a AttemptEnd>,
}

impl AttemptOver<'_> {
    /// What a row says of it: `finished_at, outcome, reason, exit_code, signal, started_at, pid, max_rss_kib, user_us,
    /// system_us, output_bytes, output_lost, memory_peak_kib, read_bytes, written_bytes, peak_pids`. What was recorded of its
    /// start stands.
    pub(super) fn columns(&self, begun: Begun) -> [ToSqlOutput<'_>; 16] {
        let exit = self.end.map(|end| &end.exit);
        // What is known of its process, if it had one.
        let ran = self.end.filter(|end| end.pid != 0);
        let used = |of: fn(&Usage) -> u64| optional(self.end.map(|end| bits(of(&end.usage))));
        let known = |of: fn(&Usage) -> Option<u64>| optional(self.end.and_then(|end| of(&end.usage)).map(bits));
        [
            self.at.as_millis().into(),
            self.outcome.word().into(),
            optional(self.reason),
            optional(exit.and_then(Exit::code)),
            optional(exit.and_then(Exit::signal)),
            optional(begun.at.or(ran.map(|end| end.started_at.as_millis()))),
            optional(begun.pid.or(ran.map(|end| end.pid.into()))),
            used(|usage| usage.max_rss_kib),
            used(|usage| usage.user_us),
            used(|usage| usage.system_us),
            used(|usage| usage.output_bytes),
            used(|usage| usage.output_lost),
            known(|usage| usage.memory_peak_kib),
            known(|usage| usage.read_bytes),
            known(|usage| usage.written_bytes),
            known(|usage| usage.peak_pids),
        ]
    }
}

fn optional<'a>(value: Option<impl Into<ToSqlOutput<'a>>>) -> ToSqlOutput<'a> {
    value.map_or(ToSqlOutput::Borrowed(ValueRef::Null), Into::into)
}

/// What was recorded of the start of an attempt.
#[derive(Clone, Copy, Default)]
pub(super) struct Begun {
    at: Option<i64>,
    pid: Option<i64>,
}

impl From<Started> for Begun {
    fn from(started: Started) -> Self {
        Begun {
            at: Some(started.at.as_millis()),
            pid: Some(started.pid.into()),
        }
    }
}

/// The row of a run that has not ended.
struct OpenRun {
    id: i64,
    /// The attempt it is at.
    attempt: u32,
    begun: Begun,
}

impl Applier<'_> {
    pub(super) fn run_created(&mut self, created: &Created<'_>) -> Result<(), Fault> {
        let run = created.run;
        self.tally.seen(created.at);
        if let Some(cause) = created.cause {
            dependencies::settled(self.db, run.task, cause.run)?;
        }
        if !self.insert_run(created)? && self.remove_other(run, created.trace_id)? {
            self.insert_run(created)?;
        }
        self.sql("UPDATE marks SET last_run = max(last_run, ?2), mark = coalesce(?3, mark) WHERE task = ?1")?
            .execute(params![bits(run.task.0), bits(run.n), created.mark()])?;
        Ok(())
    }

    pub(super) fn numbers_lost(&mut self, task: TaskId, last: u64) -> Result<(), Fault> {
        self.sql("UPDATE marks SET last_run = max(last_run, ?2), gaps = 1 WHERE task = ?1")?
            .execute(params![bits(task.0), bits(last)])?;
        Ok(())
    }

    /// False if there is a run of this key.
    fn insert_run(&mut self, created: &Created<'_>) -> Result<bool, Fault> {
        let state = if created.waiting { "waiting" } else { "starting" };
        let columns = created.columns()?;
        let inserted = self
            .sql(
                "INSERT INTO runs (task, n, \"trigger\", fire_time, created_at, trace, cause_task, cause_n, cause_name,
                                   overrides, state, attempt, output_kept, output_removed)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 1, 0, 0) ON CONFLICT (task, n) DO NOTHING",
            )?
            .execute(params_from_iter(columns.iter().chain([&state.into()])))?;
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

    pub(super) fn attempt_started(&mut self, key: AttemptKey, pid: u32, at: Timestamp) -> Result<(), Fault> {
        self.tally.seen(at);
        let AttemptKey { run, attempt } = key;
        let changed = self
            .sql(
                "UPDATE runs SET state = 'running', attempt = ?3, pid = ?4, started_at = ?5
                 WHERE task = ?1 AND n = ?2 AND finished_at IS NULL",
            )?
            .execute(params![bits(run.task.0), bits(run.n), attempt, pid, at.as_millis()])?;
        self.expect_run(run, changed)
    }

    /// A run has ended, of which the start that goes before it may be told as well.
    pub(super) fn run_finished(
        &mut self,
        run: RunKey,
        ended: &AttemptOver<'_>,
        started: Option<Started>,
    ) -> Result<(), Fault> {
        self.tally.seen(ended.at);
        if let Some(Started { at, .. }) = started {
            self.tally.seen(at);
        }
        let Some(open) = self.open_run(run)? else {
            return self.expect_run(run, 0);
        };
        let attempt = started.map_or(open.attempt, |started| started.attempt);
        let begun = started.map_or(open.begun, Begun::from);
        let kept = bits(self.kept(AttemptKey { run, attempt }, ended));
        self.sql(
            "UPDATE runs SET state = 'finished', attempt = ?2, output_kept = output_kept + ?3, finished_at = ?4,
                    outcome = ?5, reason = ?6, exit_code = ?7, signal = ?8, started_at = ?9, pid = ?10,
                    max_rss_kib = ?11, user_us = ?12, system_us = ?13, output_bytes = ?14, output_lost = ?15,
                    memory_peak_kib = ?16, read_bytes = ?17, written_bytes = ?18, peak_pids = ?19, retry_at = NULL
             WHERE id = ?1",
        )?
        .execute(params_from_iter(
            [open.id.into(), attempt.into(), kept.into()]
                .iter()
                .chain(&ended.columns(begun)),
        ))?;
        let began = begun.at.is_some() || attempt > 1;
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
        self.tally.output(open.id, kept);
        self.tally.ended.push(run);
        Ok(())
    }

    /// Puts what the row of a run tells of an attempt aside, and makes it tell of the next.
    pub(super) fn attempt_ended(
        &mut self,
        key: AttemptKey,
        ended: &AttemptOver<'_>,
        retry_at: Timestamp,
    ) -> Result<(), Fault> {
        self.tally.seen(ended.at);
        let Some(OpenRun { id, begun, .. }) = self.open_run(key.run)? else {
            return self.expect_run(key.run, 0);
        };
        let kept = bits(self.kept(key, ended));
        self.sql(
            "INSERT OR REPLACE INTO attempts (run, attempt, finished_at, outcome, reason, exit_code, signal, started_at,
                    pid, max_rss_kib, user_us, system_us, output_bytes, output_lost, memory_peak_kib, read_bytes,
                    written_bytes, peak_pids)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
        )?
        .execute(params_from_iter(
            [id.into(), key.attempt.into()].iter().chain(&ended.columns(begun)),
        ))?;
        self.sql(
            "UPDATE runs SET state = iif(stopping IS NULL, 'backing-off', 'waiting'), attempt = ?2,
                    retry_at = iif(stopping IS NULL, ?3, NULL), started_at = NULL, pid = NULL, keeps = NULL,
                    output_kept = output_kept + ?4
             WHERE id = ?1",
        )?
        .execute(params![id, key.attempt.saturating_add(1), retry_at.as_millis(), kept])?;
        self.tally.output(id, kept);
        Ok(())
    }

    /// The row of a run that has not ended.
    fn open_run(&mut self, run: RunKey) -> Result<Option<OpenRun>, Fault> {
        Ok(self
            .sql("SELECT id, attempt, started_at, pid FROM runs WHERE task = ?1 AND n = ?2 AND finished_at IS NULL")?
            .query_row([bits(run.task.0), bits(run.n)], |row| {
                Ok(OpenRun {
                    id: row.get(0)?,
                    attempt: row.get(1)?,
                    begun: Begun {
                        at: row.get(2)?,
                        pid: row.get(3)?,
                    },
                })
            })
            .optional()?)
    }

    /// How many bytes the output of an attempt takes on disk.
    pub(super) fn kept(&self, attempt: AttemptKey, ended: &AttemptOver<'_>) -> u64 {
        let of = |usage: Usage| {
            let told = usage.output_bytes.saturating_sub(usage.output_lost);
            let looked_up = || self.output_size.filter(|_| told > 0)?(attempt);
            usage.output_kept.or_else(looked_up).unwrap_or(told)
        };
        let kept = match (ended.end, ended.outcome) {
            (Some(end), _) => of(end.usage),
            // Nobody tells what it wrote.
            (None, Outcome::Unknown) => self.output_size.and_then(|size| size(attempt)).unwrap_or(0),
            (None, _) => 0,
        };
        kept.min(COUNT_MAX)
    }

    /// A record about a run that has ended, or is pruned, changes nothing. One about a run that was never created
    /// came before its time, and is refused rather than dropped.
    pub(super) fn expect_run(&mut self, run: RunKey, changed: usize) -> Result<(), Fault> {
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
