//! Fire times without a run, and how far each task has been dealt with.

use rusqlite::params;
use taskd_core::run::Passing;
use taskd_core::task::TaskId;
use taskd_core::time::Timestamp;

use crate::columns::bits;
use crate::error::Fault;

use super::{Applier, COUNT_MAX};

impl Applier<'_> {
    pub(super) fn passed(
        &mut self,
        task: TaskId,
        first: Timestamp,
        last: Timestamp,
        count: u64,
        passing: Passing,
        reason: &str,
    ) -> Result<(), Fault> {
        let count = count.min(COUNT_MAX);
        let merged = self
            .db
            .prepare_cached(&format!(
                "UPDATE ledger SET last = ?2, count = min(count + ?3, {COUNT_MAX})
                 WHERE id = (SELECT max(id) FROM ledger WHERE task = ?1) AND passing = ?4 AND reason = ?5
                   AND last = (SELECT mark FROM marks WHERE task = ?1) AND last < ?6"
            ))?
            .execute(params![
                bits(task.0),
                last.as_millis(),
                bits(count),
                passing.word(),
                reason,
                first.as_millis()
            ])?;
        if merged == 0 {
            self.span(task, first, last, count, passing, reason)?;
        }
        self.set_mark(task, last)
    }

    pub(super) fn span(
        &mut self,
        task: TaskId,
        first: Timestamp,
        last: Timestamp,
        count: u64,
        passing: Passing,
        reason: &str,
    ) -> Result<(), Fault> {
        self.sql("INSERT INTO ledger (task, first, last, count, passing, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![
                bits(task.0),
                first.as_millis(),
                last.as_millis(),
                bits(count),
                passing.word(),
                reason
            ])?;
        self.tally.more_spans.push(task);
        Ok(())
    }

    /// A removed task has no mark any more.
    pub(super) fn set_mark(&mut self, task: TaskId, mark: Timestamp) -> Result<(), Fault> {
        self.sql("UPDATE marks SET mark = ?2 WHERE task = ?1")?
            .execute(params![bits(task.0), mark.as_millis()])?;
        Ok(())
    }
}
