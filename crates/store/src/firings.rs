//! What the ledger has of fire times: the runs for them, and the spans of those without one.

use rusqlite::{OptionalExtension, params};
use taskd_core::task::TaskId;
use taskd_core::time::Timestamp;

use crate::columns::bits;
use crate::error::ReadError;
use crate::history::{RUN, RunRow, SPAN, Span, run_row, span};
use crate::reader::Reader;

impl Reader {
    /// The newest run of a task for a fire time from `from` to `until`, both included.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn run_for(&self, task: TaskId, from: Timestamp, until: Timestamp) -> Result<Option<RunRow>, ReadError> {
        self.told(|db| {
            db.prepare_cached(&format!(
                "{RUN} WHERE r.task = ?1 AND r.fire_time BETWEEN ?2 AND ?3 ORDER BY r.n DESC LIMIT 1"
            ))?
            .query_row(params![bits(task.0), from.as_millis(), until.as_millis()], |row| {
                Ok(run_row(row))
            })
            .optional()?
            .transpose()
            .map(|found| found.map(|(_, run)| run))
        })
    }

    /// The newest span of a task's ledger that overlaps a span of time, both ends included.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn passed_over(&self, task: TaskId, from: Timestamp, until: Timestamp) -> Result<Option<Span>, ReadError> {
        self.told(|db| {
            db.prepare_cached(&format!(
                "{SPAN} WHERE task = ?1 AND last >= ?2 AND first <= ?3 ORDER BY id DESC LIMIT 1"
            ))?
            .query_row(params![bits(task.0), from.as_millis(), until.as_millis()], |row| {
                Ok(span(row))
            })
            .optional()?
            .transpose()
        })
    }
}
