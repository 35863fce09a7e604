//! What people changed of tasks and when the daemon ran: what the ledger needs to say why.

use rusqlite::{Connection, OptionalExtension, Row, params};
use taskd_core::pause::{Pause, PauseScope};
use taskd_core::task::{TaskId, When};
use taskd_core::time::Timestamp;

use crate::columns::{bits, instant, number, optional_instant, optional_text, pause_sum, text, unsigned, word};
use crate::error::{Fault, ReadError};
use crate::reader::Reader;

/// Most changes that are kept of one task, the newest.
pub const CHANGES_MAX: u32 = 1_000;
/// Most lives of the daemon that are kept, the newest.
pub const LIVES_MAX: u32 = 1_000;

/// What a change was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// Something of the definition that is not its schedule.
    Changed,
    /// The schedule, and maybe more.
    Rescheduled,
    /// Fire times started runs from then on.
    Enabled,
    /// They did not from then on.
    Disabled,
    /// A pause began.
    Paused,
    /// It was ended before its time.
    Resumed,
}

impl ChangeKind {
    /// Every one of them.
    pub const ALL: [ChangeKind; 6] = [
        ChangeKind::Changed,
        ChangeKind::Rescheduled,
        ChangeKind::Enabled,
        ChangeKind::Disabled,
        ChangeKind::Paused,
        ChangeKind::Resumed,
    ];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            ChangeKind::Changed => "changed",
            ChangeKind::Rescheduled => "rescheduled",
            ChangeKind::Enabled => "enabled",
            ChangeKind::Disabled => "disabled",
            ChangeKind::Paused => "paused",
            ChangeKind::Resumed => "resumed",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        ChangeKind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Of what.
    pub scope: PauseScope,
    /// When.
    pub at: Timestamp,
    /// What it was.
    pub kind: ChangeKind,
    /// Who made it, such as "uid 1000".
    pub by: String,
    /// Of a pause, the first instant after it.
    pub until: Option<Timestamp>,
    /// Of a pause, why.
    pub note: Option<String>,
    /// Of another schedule, what it was until then.
    pub schedule: Option<When>,
}

/// A life of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// When it began.
    pub began: Timestamp,
    /// When it ended: where it was killed, the last that was recorded of it. `None` for the one that goes on.
    pub ended: Option<Timestamp>,
}

/// Keeps a change, and the newest [`CHANGES_MAX`] of its task.
pub(crate) fn keep(db: &Connection, change: &Change) -> Result<(), Fault> {
    let Change {
        scope,
        at,
        kind,
        by,
        until,
        note,
        schedule,
    } = change;
    let schedule = schedule.as_ref().map(serde_json::to_string).transpose();
    let schedule = schedule.map_err(|error| Fault::Unfit(format!("a schedule is no JSON: {error}")))?;
    db.prepare_cached(
        "INSERT INTO changes (task, at, kind, who, until, note, schedule) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        row_of(*scope),
        at.as_millis(),
        kind.word(),
        by,
        until.map(Timestamp::as_millis),
        note,
        schedule,
    ])?;
    db.prepare_cached(
        "DELETE FROM changes WHERE task = ?1
            AND id <= (SELECT id FROM changes WHERE task = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
    )?
    .execute(params![row_of(*scope), CHANGES_MAX])?;
    Ok(())
}

/// A pause takes the place of an earlier one.
pub(crate) fn paused(db: &Connection, scope: PauseScope, pause: &Pause, at: Timestamp) -> Result<(), Fault> {
    write_pause(db, scope, pause)?;
    keep(
        db,
        &Change {
            scope,
            at,
            kind: ChangeKind::Paused,
            by: pause.by.clone(),
            until: pause.until,
            note: pause.note.clone(),
            schedule: None,
        },
    )
}

/// A pause begins at another time: the clock was set back behind its beginning.
pub(crate) fn pause_begins(db: &Connection, scope: PauseScope, since: Timestamp) -> Result<(), Fault> {
    if let Some(mut pause) = pause_of(db, scope)? {
        pause.since = since;
        write_pause(db, scope, &pause)?;
    }
    Ok(())
}

fn pause_of(db: &Connection, scope: PauseScope) -> Result<Option<Pause>, Fault> {
    let found = db
        .prepare_cached(&format!("{PAUSES} WHERE task = ?1"))?
        .query_row([row_of(scope)], |row| Ok(pause(row)))
        .optional()?;
    Ok(found.transpose()?.map(|(_, pause)| pause))
}

/// A pause ends before its time.
pub(crate) fn resumed(db: &Connection, scope: PauseScope, at: Timestamp, by: &str) -> Result<(), Fault> {
    if let Some(mut pause) = pause_of(db, scope)? {
        pause.end(at);
        write_pause(db, scope, &pause)?;
    }
    keep(
        db,
        &Change {
            scope,
            at,
            kind: ChangeKind::Resumed,
            by: by.to_owned(),
            until: None,
            note: None,
            schedule: None,
        },
    )
}

fn write_pause(db: &Connection, scope: PauseScope, pause: &Pause) -> Result<(), Fault> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO pauses (task, since, until, who, note, sum) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        row_of(scope),
        pause.since.as_millis(),
        pause.until.map(Timestamp::as_millis),
        pause.by,
        pause.note,
        pause_sum(row_of(scope), pause),
    ])?;
    Ok(())
}

/// All pauses, as the core takes them.
pub(crate) fn pauses(db: &Connection) -> Result<Vec<(PauseScope, Pause)>, Fault> {
    let mut statement = db.prepare(&format!("{PAUSES} ORDER BY task"))?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(pause(row)?);
    }
    Ok(found)
}

const PAUSES: &str = "SELECT task, since, until, who, note, sum FROM pauses";

fn pause(row: &Row<'_>) -> Result<(PauseScope, Pause), Fault> {
    let pause = Pause {
        since: instant(row, 1)?,
        until: optional_instant(row, 2)?,
        by: text(row, 3)?.to_owned(),
        note: optional_text(row, 4)?.map(str::to_owned),
    };
    let task = number(row, 0)?;
    if pause_sum(task, &pause) != number(row, 5)? {
        return Err(Fault::Damaged(format!(
            "the pause of task {task} is not what was written"
        )));
    }
    Ok((scope_of(row)?, pause))
}

fn row_of(scope: PauseScope) -> i64 {
    match scope {
        PauseScope::All => 0,
        PauseScope::Task(id) => bits(id.0),
    }
}

/// The first column says it.
fn scope_of(row: &Row<'_>) -> Result<PauseScope, Fault> {
    Ok(match unsigned(row, 0)? {
        0 => PauseScope::All,
        id => PauseScope::Task(TaskId(id)),
    })
}

/// A life begins. One that left no end was killed.
pub(crate) fn life_began(db: &Connection, at: Timestamp) -> Result<(), Fault> {
    db.prepare_cached(
        "UPDATE lives SET ended = (SELECT max(coalesce(latest, began), began) FROM meta) WHERE ended IS NULL",
    )?
    .execute([])?;
    db.prepare_cached("INSERT INTO lives (began) VALUES (?1)")?
        .execute([at.as_millis()])?;
    db.prepare_cached("DELETE FROM lives WHERE id <= (SELECT max(id) FROM lives) - ?1")?
        .execute([LIVES_MAX])?;
    Ok(())
}

/// A life ends in order.
pub(crate) fn life_ended(db: &Connection, at: Timestamp) -> Result<(), Fault> {
    db.prepare_cached("UPDATE lives SET ended = ?1 WHERE ended IS NULL")?
        .execute([at.as_millis()])?;
    Ok(())
}

impl Reader {
    /// What was changed of a task and of all tasks, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn changes(&self, task: TaskId) -> Result<Vec<Change>, ReadError> {
        self.told(|db| {
            let mut statement = db.prepare_cached(
                "SELECT task, at, kind, who, until, note, schedule FROM changes WHERE task IN (0, ?1) ORDER BY id DESC",
            )?;
            let mut rows = statement.query([bits(task.0)])?;
            let mut changes = Vec::new();
            while let Some(row) = rows.next()? {
                let schedule = optional_text(row, 6)?.map(serde_json::from_str).transpose();
                changes.push(Change {
                    scope: scope_of(row)?,
                    at: instant(row, 1)?,
                    kind: word(row, 2, ChangeKind::from_word)?,
                    by: text(row, 3)?.to_owned(),
                    until: optional_instant(row, 4)?,
                    note: optional_text(row, 5)?.map(str::to_owned),
                    schedule: schedule
                        .map_err(|error| Fault::Damaged(format!("a schedule that was cannot be read: {error}")))?,
                });
            }
            Ok(changes)
        })
    }

    /// The lives of the daemon, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn lives(&self) -> Result<Vec<Lifetime>, ReadError> {
        self.told(|db| {
            let mut statement = db.prepare_cached("SELECT began, ended FROM lives ORDER BY id DESC")?;
            let mut rows = statement.query([])?;
            let mut lives = Vec::new();
            while let Some(row) = rows.next()? {
                lives.push(Lifetime {
                    began: instant(row, 0)?,
                    ended: optional_instant(row, 1)?,
                });
            }
            Ok(lives)
        })
    }
}
