//! Calendars: one row each, read whole when the daemon starts.

use std::sync::Arc;

use rusqlite::{Connection, params};
use taskd_core::calendar::{CalendarName, Kept};
use taskd_core::task::TaskName;
use taskd_core::time::Timestamp;

use crate::columns::{calendar_sum, instant, number, text};
use crate::error::{Fault, ReadError};
use crate::reader::Reader;

/// A calendar takes the place of an earlier one of its name.
pub(crate) fn set(db: &Connection, name: &CalendarName, calendar: &Kept, at: Timestamp, by: &str) -> Result<(), Fault> {
    let body = serde_json::to_string(calendar)
        .map_err(|error| Fault::Unfit(format!("the calendar {name} is no JSON: {error}")))?;
    db.prepare_cached(
        "INSERT OR REPLACE INTO calendars (name, body, changed_at, who, sum) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        name.as_str(),
        body,
        at.as_millis(),
        by,
        calendar_sum(name.as_str(), &body)
    ])?;
    Ok(())
}

/// A calendar goes.
pub(crate) fn removed(db: &Connection, name: &CalendarName) -> Result<(), Fault> {
    db.prepare_cached("DELETE FROM calendars WHERE name = ?1")?
        .execute([name.as_str()])?;
    Ok(())
}

/// All calendars, in the order of their names.
pub(crate) fn all(db: &Connection) -> Result<Vec<(CalendarName, Arc<Kept>)>, Fault> {
    let mut statement = db.prepare("SELECT name, body, sum FROM calendars ORDER BY name")?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (name, body) = (text(row, 0)?, text(row, 1)?);
        let damaged = |what: &str| Fault::Damaged(format!("calendar {name:?}: {what}"));
        if calendar_sum(name, body) != number(row, 2)? {
            return Err(damaged("it does not agree with its sum"));
        }
        let kept = serde_json::from_str(body).map_err(|error| damaged(&format!("it cannot be read: {error}")))?;
        let name = TaskName::parse(name).map_err(|error| damaged(&format!("its name is refused: {error}")))?;
        found.push((name, Arc::new(kept)));
    }
    Ok(found)
}

impl Reader {
    /// When calendars were set last, and by whom, in the order of their names.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn calendars_set(&self) -> Result<Vec<(String, Timestamp, String)>, ReadError> {
        self.told(|db| {
            let mut statement = db.prepare_cached("SELECT name, changed_at, who FROM calendars ORDER BY name")?;
            let mut rows = statement.query([])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push((text(row, 0)?.to_owned(), instant(row, 1)?, text(row, 2)?.to_owned()));
            }
            Ok(found)
        })
    }
}
