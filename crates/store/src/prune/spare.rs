//! Which runs of a task are too many.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::columns::bits;
use crate::error::Fault;

/// The last of the runs that go where `most` of them are kept; 0 for none.
pub(super) fn spare(db: &Connection, task: i64, most: u64) -> Result<u64, Fault> {
    // Both tell the newest run. A wrong one alone, which would make all others too old, is not believed. A removed task has no
    // mark; its runs go by their age.
    let (newest, has_gaps): (Option<i64>, Option<bool>) = db
        .prepare_cached(
            "SELECT min((SELECT max(n) FROM runs WHERE task = ?1), (SELECT last_run FROM marks WHERE task = ?1)),
                    (SELECT gaps FROM marks WHERE task = ?1)",
        )?
        .query_row([task], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let spare = newest.map_or(0, |newest| newest.max(0).cast_unsigned().saturating_sub(most));
    if spare == 0 || has_gaps != Some(true) {
        return Ok(spare);
    }
    // Counted only where it must be, since that takes the longer the more there are.
    let last: Option<i64> = db
        .prepare_cached("SELECT n FROM runs WHERE task = ?1 ORDER BY n DESC LIMIT 1 OFFSET ?2")?
        .query_row(params![task, bits(most)], |row| row.get(0))
        .optional()?;
    Ok(spare.min(last.map_or(0, |last| last.max(0).cast_unsigned())))
}
