//! Reading definitions, and what is known of the whole. History is read in [`history`](crate::history).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use taskd_core::run::Outcome;
use taskd_core::task::{Owner, TaskId, TaskName};
use taskd_core::time::Timestamp;

use crate::columns::{
    DEFINITION, OUTLINE, OutlineReader, StoredTask, bits, definition_bytes, instant, stored_task, text, unsigned, word,
};
use crate::connection;
use crate::error::{Fault, ReadError};
use crate::histories::{self, Own};

/// Opens readers; cheap to clone and to hand to other threads.
#[derive(Clone, Debug)]
pub struct Readers {
    pub(crate) file: Arc<Path>,
}

impl Readers {
    /// Bytes on disk: the database and its log.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        let mut log = self.file.as_os_str().to_owned();
        log.push("-wal");
        [self.file.to_path_buf(), PathBuf::from(log)]
            .iter()
            .filter_map(|file| std::fs::metadata(file).ok())
            .map(|found| found.len())
            .sum()
    }

    /// Opens a reader.
    ///
    /// # Errors
    /// When the database cannot be opened.
    pub fn open(&self) -> Result<Reader, ReadError> {
        let db = connection::reader(&self.file).map_err(|fault| fault.read(&self.file))?;
        Ok(Reader {
            db,
            file: Arc::clone(&self.file),
        })
    }
}

/// The run of a task that finished last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastFinished {
    /// Its number.
    pub n: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// When.
    pub finished_at: Timestamp,
}

/// Reads by a connection of its own, without waiting for the writer. Each call sees what is committed when it begins.
#[derive(Debug)]
pub struct Reader {
    pub(crate) db: Connection,
    pub(crate) file: Arc<Path>,
}

impl Reader {
    /// The definition of a task, also of a removed one as long as its history is kept.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn definition(&self, id: TaskId) -> Result<Option<StoredTask>, ReadError> {
        Ok(self.definitions(&[id])?.pop().map(|(_, task)| task))
    }

    /// The definitions of these tasks, in this order, without those that are not there.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn definitions(&self, ids: &[TaskId]) -> Result<Vec<(TaskId, StoredTask)>, ReadError> {
        Ok(self.first_definitions(ids, usize::MAX)?.0)
    }

    /// The same, but of the first of them only that have `bytes` together; the last of these may go beyond. Gives back
    /// whether any were left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn first_definitions(
        &self,
        ids: &[TaskId],
        bytes: usize,
    ) -> Result<(Vec<(TaskId, StoredTask)>, bool), ReadError> {
        self.told(|db| {
            let mut statement =
                db.prepare_cached(&format!("SELECT {OUTLINE}, {DEFINITION} FROM tasks t WHERE id = ?1"))?;
            let mut outlines = OutlineReader::default();
            let (mut found, mut read) = (Vec::new(), 0_usize);
            for id in ids {
                if read >= bytes {
                    return Ok((found, true));
                }
                let mut rows = statement.query([bits(id.0)])?;
                if let Some(row) = rows.next()? {
                    read = read.saturating_add(definition_bytes(row)?);
                    found.push(stored_task(&mut outlines, row)?);
                }
            }
            Ok((found, false))
        })
    }

    /// The run of each task that finished last, in this order; `None` where none has, or the task was removed.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn last_finished(&self, ids: &[TaskId]) -> Result<Vec<Option<LastFinished>>, ReadError> {
        self.told(|db| {
            let mut statement = db.prepare_cached(
                "SELECT last_n, last_outcome, last_finished_at FROM marks WHERE task = ?1 AND last_n IS NOT NULL",
            )?;
            let mut found = Vec::with_capacity(ids.len());
            for id in ids {
                let mut rows = statement.query([bits(id.0)])?;
                found.push(match rows.next()? {
                    None => None,
                    Some(row) => Some(LastFinished {
                        n: unsigned(row, 0)?,
                        outcome: word(row, 1, Outcome::from_word)?,
                        finished_at: instant(row, 2)?,
                    }),
                });
            }
            Ok(found)
        })
    }

    /// The task of this name that was removed last, as long as its history is kept.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn resolve_removed(&self, owner: Owner, name: &TaskName) -> Result<Option<TaskId>, ReadError> {
        self.told(|db| {
            let id: Option<i64> = db
                .prepare_cached(
                    "SELECT id FROM tasks WHERE owner = ?1 AND name = ?2 AND removed_at IS NOT NULL
                     ORDER BY id DESC LIMIT 1",
                )?
                .query_row(params![owner.0, name.as_str()], |row| row.get(0))
                .optional()?;
            Ok(id.map(|id| TaskId(id.cast_unsigned())))
        })
    }

    /// Checks everything: each page, each index, each definition, each sum. Takes seconds for each GiB. What it finds
    /// is returned, one sentence each; an empty list is a sound database.
    ///
    /// # Errors
    /// When the check itself cannot be done.
    pub fn check(&self) -> Result<Vec<String>, ReadError> {
        self.told(|db| {
            connection::set_large(db, true)?;
            let problems = check(db);
            connection::set_large(db, false)?;
            problems
        })
    }

    /// Reads in one transaction: of one moment, and without taking and giving back the lock for every statement.
    pub(crate) fn told<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, ReadError> {
        let told = || {
            self.db.prepare_cached("BEGIN")?.execute([])?;
            let told = read(&self.db);
            // Some errors end it by themselves. Nothing was written that could be lost.
            if !self.db.is_autocommit() {
                let ended = self.db.prepare_cached("ROLLBACK").and_then(|mut end| end.execute([]));
                if told.is_ok() {
                    ended?;
                }
            }
            told
        };
        told().map_err(|fault: Fault| fault.read(&self.file))
    }
}

fn check(db: &Connection) -> Result<Vec<String>, Fault> {
    let mut problems = Vec::new();
    let mut statement = db.prepare("PRAGMA integrity_check(20)")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let line = text(row, 0)?;
        if line != "ok" {
            problems.push(line.to_owned());
        }
    }
    if !problems.is_empty() {
        // Nothing that is read from here on would add to it.
        return Ok(problems);
    }
    let mut statement = db.prepare(&format!("SELECT {OUTLINE}, {DEFINITION} FROM tasks t"))?;
    let mut rows = statement.query([])?;
    let mut outlines = OutlineReader::default();
    while let Some(row) = rows.next()? {
        match stored_task(&mut outlines, row) {
            Ok((id, stored)) if histories::of(db, id)? != Own::Says(stored.definition.history) => {
                problems.push(format!(
                    "task {}: how much is kept of its history is not what its definition says",
                    id.0
                ));
            }
            Ok(_) => {}
            Err(fault) => problems.push(fault.to_string()),
        }
    }
    for (what, stored, counted) in [
        (
            "number of tasks",
            "SELECT tasks FROM meta",
            "SELECT count(*) FROM tasks t JOIN marks m ON m.task = t.id WHERE removed_at IS NULL",
        ),
        (
            "number of marks",
            "SELECT tasks FROM meta",
            "SELECT count(*) FROM marks",
        ),
        (
            "sum of kept output",
            "SELECT output_bytes FROM meta",
            "SELECT coalesce(sum(output_kept), 0) FROM runs",
        ),
    ] {
        let stored: i64 = db.query_row(stored, [], |row| row.get(0))?;
        let counted: i64 = db.query_row(counted, [], |row| row.get(0))?;
        if stored != counted {
            problems.push(format!("the {what} is {counted}, and should be {stored}"));
        }
    }
    Ok(problems)
}
