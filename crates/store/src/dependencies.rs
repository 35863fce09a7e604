//! What tasks keep of the ends of those they come after, and the runs that they are owed.

use rusqlite::{Connection, Row, params};
use taskd_core::dependency::{Cause, EndKind};
use taskd_core::run::{RunKey, TraceId};
use taskd_core::task::{TaskId, TaskName};

use crate::columns::{bits, optional_number, text, trace, unsigned, word};
use crate::error::Fault;

/// A task keeps an end, in place of an earlier one. A removed task has no mark any more, and keeps none.
pub(crate) fn latched(db: &Connection, task: TaskId, end: RunKey, on: EndKind) -> Result<(), Fault> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO latches (task, upstream, n, ends) SELECT task, ?2, ?3, ?4 FROM marks WHERE task = ?1",
    )?
    .execute(params![bits(task.0), bits(end.task.0), bits(end.n), on.word()])?;
    Ok(())
}

/// What a task keeps of another holds no more.
pub(crate) fn unlatched(db: &Connection, task: TaskId, upstream: TaskId) -> Result<(), Fault> {
    db.prepare_cached("DELETE FROM latches WHERE task = ?1 AND upstream = ?2")?
        .execute([bits(task.0), bits(upstream.0)])?;
    Ok(())
}

/// What a task keeps holds no more.
pub(crate) fn unlatched_all(db: &Connection, task: TaskId) -> Result<(), Fault> {
    db.prepare_cached("DELETE FROM latches WHERE task = ?1")?
        .execute([bits(task.0)])?;
    Ok(())
}

/// A task is owed a run, and what it kept is spent.
pub(crate) fn owed(db: &Connection, task: TaskId, cause: &Cause, trace_id: TraceId) -> Result<(), Fault> {
    unlatched_all(db, task)?;
    db.prepare_cached(
        "INSERT OR REPLACE INTO owed (task, upstream, n, name, trace) SELECT task, ?2, ?3, ?4, ?5 FROM marks WHERE task = ?1",
    )?
    .execute(params![
        bits(task.0),
        bits(cause.run.task.0),
        bits(cause.run.n),
        cause.name.as_str(),
        trace_id.0.to_be_bytes(),
    ])?;
    Ok(())
}

/// What a task is owed after an end is settled.
pub(crate) fn settled(db: &Connection, task: TaskId, end: RunKey) -> Result<(), Fault> {
    db.prepare_cached("DELETE FROM owed WHERE task = ?1 AND upstream = ?2 AND n = ?3")?
        .execute([bits(task.0), bits(end.task.0), bits(end.n)])?;
    Ok(())
}

/// A task is gone: others keep none of its ends, and it keeps and is owed nothing.
pub(crate) fn removed(db: &Connection, task: TaskId) -> Result<(), Fault> {
    db.prepare_cached("DELETE FROM latches WHERE task = ?1 OR upstream = ?1")?
        .execute([bits(task.0)])?;
    db.prepare_cached("DELETE FROM owed WHERE task = ?1")?
        .execute([bits(task.0)])?;
    Ok(())
}

/// The end of a run triggers nothing.
pub(crate) fn muted(db: &Connection, run: RunKey) -> Result<(), Fault> {
    db.prepare_cached("UPDATE runs SET muted = 1 WHERE task = ?1 AND n = ?2 AND finished_at IS NULL")?
        .execute([bits(run.task.0), bits(run.n)])?;
    Ok(())
}

/// All ends that are kept, in the order of the tasks and of those they come after.
pub(crate) fn latches(db: &Connection) -> Result<Vec<(TaskId, RunKey, EndKind)>, Fault> {
    let mut statement = db.prepare("SELECT task, upstream, n, ends FROM latches ORDER BY task, upstream")?;
    let mut rows = statement.query([])?;
    let mut latches = Vec::new();
    while let Some(row) = rows.next()? {
        let end = RunKey {
            task: TaskId(unsigned(row, 1)?),
            n: unsigned(row, 2)?,
        };
        latches.push((TaskId(unsigned(row, 0)?), end, word(row, 3, EndKind::from_word)?));
    }
    Ok(latches)
}

/// All runs that are owed, in the order of the tasks, each in the order in which they came to be owed.
pub(crate) fn all_owed(db: &Connection) -> Result<Vec<(TaskId, Cause, TraceId)>, Fault> {
    let mut statement = db.prepare("SELECT task, upstream, n, name, trace FROM owed ORDER BY task, id")?;
    let mut rows = statement.query([])?;
    let mut owed = Vec::new();
    while let Some(row) = rows.next()? {
        let task = TaskId(unsigned(row, 0)?);
        let damaged = || Fault::Damaged(format!("what task {} is owed has no cause", task.0));
        owed.push((task, cause(row, 1)?.ok_or_else(damaged)?, trace(row, 4)?));
    }
    Ok(owed)
}

/// The run whose end triggered another: its task, its number and that task's name, from one column on.
pub(crate) fn cause(row: &Row<'_>, first: usize) -> Result<Option<Cause>, Fault> {
    let Some(task) = optional_number(row, first)? else {
        return Ok(None);
    };
    let run = RunKey {
        task: TaskId(task.cast_unsigned()),
        n: unsigned(row, first + 1)?,
    };
    let name = TaskName::parse(text(row, first + 2)?)
        .map_err(|error| Fault::Damaged(format!("the name of the cause of a run is refused: {error}")))?;
    Ok(Some(Cause { run, name }))
}
