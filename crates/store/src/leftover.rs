//! What an earlier life left of imports that did not end: staged tasks, which are removed before anything is loaded. On
//! a disk without room they cannot be: then they are left out of what is loaded, and go before the next change.

use rusqlite::{Connection, OptionalExtension};
use taskd_core::record::Record;
use taskd_core::task::{ImportId, TaskId};

use crate::apply::apply;
use crate::columns::import_sum;
use crate::error::Fault;
use crate::session::{Durability, Session};

/// Staged tasks removed in one transaction.
const CHUNK: u64 = 10_000;

/// The condition by which a task `t` is none of them.
pub(crate) const NOT_STAGED: &str = "NOT EXISTS (SELECT 1 FROM imports i WHERE t.id BETWEEN i.first AND i.last)";

/// How many of them there are.
pub(crate) fn count(db: &Connection) -> Result<u64, Fault> {
    let count: i64 = db.query_row(
        "SELECT count(*) FROM imports i JOIN tasks t ON t.id BETWEEN i.first AND i.last",
        [],
        |row| row.get(0),
    )?;
    Ok(count.cast_unsigned())
}

/// Removes the staged tasks of all imports.
pub(crate) fn drop_imports(session: &mut Session) -> Result<(), Fault> {
    while let Some((import, from)) = next(session.db())? {
        session.transaction(Durability::Durable, |db, tally| {
            apply(db, [Record::ImportDropped { import, from }].iter(), tally, None)
        })?;
    }
    Ok(())
}

/// An import, and from where on its tasks are to go next.
fn next(db: &Connection) -> Result<Option<(ImportId, TaskId)>, Fault> {
    let import: Option<(i64, i64, i64)> = db
        .prepare_cached("SELECT first, last, sum FROM imports LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((first, last, sum)) = import else {
        return Ok(None);
    };
    if import_sum(first.cast_unsigned(), last.cast_unsigned()) != sum {
        return Err(Fault::Damaged(format!("import {first} is not what was written")));
    }
    let newest: Option<i64> = db
        .prepare_cached("SELECT max(id) FROM tasks WHERE id BETWEEN ?1 AND ?2")?
        .query_row([first, last], |row| row.get(0))?;
    let (first, newest) = (first.cast_unsigned(), newest.map(i64::cast_unsigned));
    let from = newest.map_or(first, |newest| (newest + 1).saturating_sub(CHUNK).max(first));
    Ok(Some((ImportId(first), TaskId(from))))
}
