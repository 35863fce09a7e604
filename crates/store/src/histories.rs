//! How much is kept of the history of tasks that say so themselves.
//!
//! Their definitions say it too, but the pruner is not to read a definition whenever a run ends, nor all of them to find the
//! few whose runs grow too old.

use std::num::NonZeroU64;

use rusqlite::{Connection, params};
use taskd_core::policy::History;
use taskd_core::task::TaskId;

use crate::columns::{bits, history_sum, number, optional_number};
use crate::error::Fault;

/// What a task says of its own history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Own {
    /// This; where that is nothing, what holds for all tasks.
    Says(History),
    /// Nobody knows: the row was damaged. What it may have wanted to keep is kept.
    Unknown,
}

/// Takes down what a definition says.
pub(crate) fn set(db: &Connection, task: TaskId, history: History) -> Result<(), Fault> {
    if history.is_default() {
        db.prepare_cached("DELETE FROM histories WHERE task = ?1")?
            .execute([bits(task.0)])?;
        return Ok(());
    }
    let History { runs, for_ms } = history;
    let (runs, age_ms) = (number_of(runs), number_of(for_ms));
    db.prepare_cached("INSERT OR REPLACE INTO histories (task, runs, age_ms, sum) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![
            bits(task.0),
            runs,
            age_ms,
            history_sum(bits(task.0), runs, age_ms)
        ])?;
    Ok(())
}

fn number_of(bound: Option<NonZeroU64>) -> Option<i64> {
    bound.map(|bound| bits(bound.get()))
}

/// What a task says.
pub(crate) fn of(db: &Connection, task: TaskId) -> Result<Own, Fault> {
    let mut statement = db.prepare_cached("SELECT runs, age_ms, sum FROM histories WHERE task = ?1")?;
    let mut rows = statement.query([bits(task.0)])?;
    let Some(row) = rows.next()? else {
        return Ok(Own::Says(History::default()));
    };
    let (runs, age_ms, sum) = (optional_number(row, 0)?, optional_number(row, 1)?, number(row, 2)?);
    if sum != history_sum(bits(task.0), runs, age_ms) {
        return Ok(Own::Unknown);
    }
    let bound = |number: Option<i64>| number.and_then(|number| NonZeroU64::new(number.cast_unsigned()));
    Ok(Own::Says(History {
        runs: bound(runs),
        for_ms: bound(age_ms),
    }))
}

/// Some of the tasks that say how long their runs are kept, in order from after one on.
pub(crate) fn with_age(db: &Connection, after: i64, most: usize) -> Result<Vec<TaskId>, Fault> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT task FROM histories WHERE task > ?1 AND age_ms IS NOT NULL ORDER BY task LIMIT {most}"
    ))?;
    let mut rows = statement.query([after])?;
    let mut tasks = Vec::new();
    while let Some(row) = rows.next()? {
        tasks.push(TaskId(number(row, 0)?.cast_unsigned()));
    }
    Ok(tasks)
}
