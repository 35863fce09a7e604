//! The limits of groups and locks: one row each, read whole when the daemon starts.

use std::num::NonZeroU32;

use rusqlite::{Connection, params};
use taskd_core::policy::Pool;
use taskd_core::task::{Owner, TaskName};
use taskd_core::time::Timestamp;

use crate::columns::{number, pool_sum, text};
use crate::error::Fault;

fn kind(pool: &Pool) -> &'static str {
    match pool {
        Pool::Group(_) => "group",
        Pool::Lock(_) => "lock",
    }
}

/// A limit takes the place of an earlier one, or is taken back.
pub(crate) fn set(
    db: &Connection,
    owner: Owner,
    pool: &Pool,
    limit: Option<NonZeroU32>,
    at: Timestamp,
    by: &str,
) -> Result<(), Fault> {
    let (kind, name) = (kind(pool), pool.name().as_str());
    match limit {
        Some(limit) => db
            .prepare_cached(
                "INSERT OR REPLACE INTO pools (owner, kind, name, most, changed_at, who, sum)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                owner.0,
                kind,
                name,
                limit.get(),
                at.as_millis(),
                by,
                pool_sum(owner, kind, name, i64::from(limit.get()))
            ])?,
        None => db
            .prepare_cached("DELETE FROM pools WHERE owner = ?1 AND kind = ?2 AND name = ?3")?
            .execute(params![owner.0, kind, name])?,
    };
    Ok(())
}

/// All limits, in the order of their owners and names.
pub(crate) fn all(db: &Connection) -> Result<Vec<(Owner, Pool, NonZeroU32)>, Fault> {
    let mut statement = db.prepare("SELECT owner, kind, name, most, sum FROM pools ORDER BY owner, kind, name")?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (kind, name, most) = (text(row, 1)?, text(row, 2)?, number(row, 3)?);
        let damaged = |what: &str| Fault::Damaged(format!("the limit of {kind} {name:?}: {what}"));
        let owner = u32::try_from(number(row, 0)?).map_err(|_| damaged("its owner is no uid"))?;
        if pool_sum(Owner(owner), kind, name, most) != number(row, 4)? {
            return Err(damaged("it does not agree with its sum"));
        }
        let most = u32::try_from(most).ok().and_then(NonZeroU32::new);
        let most = most.ok_or_else(|| damaged("it is no limit"))?;
        let parsed = TaskName::parse(name).map_err(|error| damaged(&format!("its name is refused: {error}")))?;
        let pool = match kind {
            "group" => Pool::Group(parsed),
            "lock" => Pool::Lock(parsed),
            _ => return Err(damaged("it is of no known kind")),
        };
        found.push((Owner(owner), pool, most));
    }
    Ok(found)
}
