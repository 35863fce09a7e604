//! Attempts that were followed by another.

use rusqlite::params;
use taskd_core::run::{Outcome, RunKey, Usage};
use taskd_core::time::Timestamp;

use crate::columns::{bits, instant, number, optional_instant, optional_number, optional_text, word};
use crate::error::{Fault, ReadError};
use crate::history::usage;
use crate::reader::Reader;

/// An attempt that was followed by another, as history has it.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptRow {
    /// Which, from 1.
    pub attempt: u32,
    /// When its process started, if it did.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// How.
    pub outcome: Outcome,
    /// Why, where the outcome alone does not say.
    pub reason: Option<String>,
    /// Exit code, where there is one.
    pub exit_code: Option<i32>,
    /// Signal, where there is one.
    pub signal: Option<i32>,
    /// Its process id.
    pub pid: Option<u32>,
    /// What it used, where that is known.
    pub usage: Option<Usage>,
}

impl Reader {
    /// The attempts of a run that were followed by another, the first one first; of more than `limit` the newest.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn earlier_attempts(&self, key: RunKey, limit: usize) -> Result<Vec<AttemptRow>, ReadError> {
        self.told(|db| {
            let mut statement = db.prepare_cached(
                "SELECT a.attempt, a.started_at, a.finished_at, a.outcome, a.reason, a.exit_code, a.signal, a.pid,
                        a.max_rss_kib, a.user_us, a.system_us, a.output_bytes, a.output_lost,
                        a.memory_peak_kib, a.read_bytes, a.written_bytes, a.peak_pids
                 FROM attempts a JOIN runs r ON r.id = a.run WHERE r.task = ?1 AND r.n = ?2
                 ORDER BY a.attempt DESC LIMIT ?3",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut rows = statement.query(params![bits(key.task.0), bits(key.n), limit])?;
            let mut attempts = Vec::new();
            while let Some(row) = rows.next()? {
                let out_of_range = || {
                    Fault::Damaged(format!(
                        "an attempt of run {} of task {}: a number is out of range",
                        key.n, key.task.0
                    ))
                };
                let small = |column: usize| -> Result<Option<i32>, Fault> {
                    let found = optional_number(row, column)?;
                    found
                        .map(|number| i32::try_from(number).map_err(|_| out_of_range()))
                        .transpose()
                };
                let positive = |number: i64| u32::try_from(number).map_err(|_| out_of_range());
                attempts.push(AttemptRow {
                    attempt: positive(number(row, 0)?)?,
                    started_at: optional_instant(row, 1)?,
                    finished_at: instant(row, 2)?,
                    outcome: word(row, 3, Outcome::from_word)?,
                    reason: optional_text(row, 4)?.map(str::to_owned),
                    exit_code: small(5)?,
                    signal: small(6)?,
                    pid: optional_number(row, 7)?.map(positive).transpose()?,
                    usage: usage(row, 8, 13)?,
                });
            }
            attempts.reverse();
            Ok(attempts)
        })
    }
}
