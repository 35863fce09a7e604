//! The tables, and how those of an earlier version become those of today.

use rusqlite::Connection;

use crate::error::Fault;

/// `PRAGMA application_id`: "tskd".
pub(crate) const APPLICATION_ID: i32 = 0x7473_6b64;

/// Step `n` (from 0) makes version `n + 1` of version `n`. A released step never changes; a new version appends one,
/// and a store written by each released version is kept in `tests/golden`.
const MIGRATIONS: &[&str] = &[
    include_str!("schema/v1.sql"),
    include_str!("schema/v2.sql"),
    include_str!("schema/v3.sql"),
    include_str!("schema/v4.sql"),
    include_str!("schema/v5.sql"),
    include_str!("schema/v6.sql"),
    include_str!("schema/v7.sql"),
    include_str!("schema/v8.sql"),
    include_str!("schema/v9.sql"),
    include_str!("schema/v10.sql"),
    include_str!("schema/v11.sql"),
];

/// The newest version.
pub(crate) const VERSION: i64 = MIGRATIONS.len() as i64;

/// The version of a database.
pub(crate) fn version(db: &Connection) -> Result<i64, Fault> {
    Ok(db.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

/// Brings a database up to [`VERSION`], one transaction a step.
pub(crate) fn migrate(db: &Connection) -> Result<(), Fault> {
    let found = usize::try_from(version(db)?).map_err(|_| Fault::Damaged("its version is negative".to_owned()))?;
    for (step, sql) in MIGRATIONS.iter().enumerate().skip(found) {
        db.execute_batch(&format!(
            "BEGIN IMMEDIATE;\n{sql}\nPRAGMA user_version = {};\nPRAGMA application_id = {APPLICATION_ID};\nCOMMIT;",
            step + 1
        ))?;
    }
    Ok(())
}
