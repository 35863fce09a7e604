//! What an earlier life left of imports that did not end: staged tasks, which are removed before anything is loaded.

use rusqlite::{Connection, OptionalExtension};
use taskd_core::record::Record;
use taskd_core::task::{ImportId, TaskId};

use crate::apply::apply;
use crate::error::Fault;
use crate::session::{Durability, Session};

/// Staged tasks removed in one transaction, so that the log stays small.
const CHUNK: u64 = 10_000;

/// Removes the staged tasks of all imports.
pub(crate) fn drop_imports(session: &mut Session) -> Result<(), Fault> {
    while let Some((import, from)) = next(session.db())? {
        session.transaction(Durability::Durable, |db, tally| {
            apply(db, &[Record::ImportDropped { import, from }], tally, None)
        })?;
    }
    Ok(())
}

/// An import, and from where on its tasks are to go next.
fn next(db: &Connection) -> Result<Option<(ImportId, TaskId)>, Fault> {
    let import: Option<(i64, i64)> = db
        .prepare_cached("SELECT first, last FROM imports LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((first, last)) = import else { return Ok(None) };
    let newest: Option<i64> = db
        .prepare_cached("SELECT max(id) FROM tasks WHERE id BETWEEN ?1 AND ?2")?
        .query_row([first, last], |row| row.get(0))?;
    let (first, newest) = (first.cast_unsigned(), newest.map(i64::cast_unsigned));
    let from = newest.map_or(first, |newest| (newest + 1).saturating_sub(CHUNK).max(first));
    Ok(Some((ImportId(first), TaskId(from))))
}
