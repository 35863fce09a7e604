//! Loading: what decisions need, read once when the daemon starts.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::vec;

use rusqlite::{Connection, OptionalExtension, Row};
use taskd_core::requirement::LastEnd;
use taskd_core::run::{Outcome, RunKey, Trigger};
use taskd_core::snapshot::{Header, Rest, RunImage, Stage, TaskImage};
use taskd_core::task::{TaskId, TaskName};
use taskd_core::time::{Boot, Timestamp};

use crate::calendars;
use crate::changes;
use crate::columns::{
    OUTLINE, OUTLINE_WIDTH, OutlineReader, instant, number, optional_id, optional_instant, optional_number,
    optional_text, optional_word, text, trace, unsigned, word,
};
use crate::dependencies;
use crate::error::{Fault, OpenError};
use crate::leftover;
use crate::pools;

/// Tasks read at once.
const CHUNK: usize = 1024;

/// Most tasks that are announced: their number comes from the file, and a wrong one must not ask for all memory.
const HINT_MAX: usize = 1 << 20;

/// The tasks of a store in the order of their ids, read in small pieces.
///
/// What cannot be read ends the iteration, and only [`Tasks::finish`] tells it: hand the tasks on by `&mut`, and call
/// that before anything made of them is believed.
#[derive(Debug)]
#[must_use]
pub struct Tasks {
    db: Connection,
    file: PathBuf,
    outlines: Outlines,
    chunk: vec::IntoIter<TaskImage>,
    after: i64,
    seen: u64,
    expected: u64,
    /// The condition by which a row is a task.
    which: &'static str,
    ended: bool,
    fault: Option<Fault>,
    refused: Arc<AtomicBool>,
}

/// Keeps the reader of outlines out of the derived output.
#[derive(Default)]
struct Outlines(OutlineReader);

impl std::fmt::Debug for Outlines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outlines")
    }
}

impl Tasks {
    /// Reads on to the end, and tells whether every task that was stored was read and was as it was written.
    ///
    /// # Errors
    /// What was found; the iteration then ended before its time.
    pub fn finish(mut self) -> Result<(), OpenError> {
        while self.next().is_some() {}
        let error = if let Some(fault) = self.fault {
            fault.open(&self.file, "reading the tasks")
        } else if self.seen != self.expected {
            OpenError::Corrupt {
                file: self.file,
                check: "number of tasks",
                problem: format!("{} of {} were found", self.seen, self.expected),
            }
        } else {
            return Ok(());
        };
        self.refused.store(true, Ordering::Release);
        Err(error)
    }

    fn read_chunk(&mut self) -> Result<Vec<TaskImage>, Fault> {
        // CROSS JOIN keeps the order of the loops: both tables are read from front to back.
        let mut statement = self.db.prepare_cached(&format!(
            "SELECT {OUTLINE}, m.mark, m.last_run, m.last_outcome, m.ran_outcome, m.ran_at FROM tasks t CROSS JOIN marks m ON m.task = t.id
             WHERE t.id > ?1 AND t.removed_at IS NULL AND {} ORDER BY t.id LIMIT {CHUNK}",
            self.which
        ))?;
        let mut rows = statement.query([self.after])?;
        let mut chunk = Vec::with_capacity(CHUNK);
        while let Some(row) = rows.next()? {
            let (id, owner, outline) = self.outlines.0.read(row)?;
            chunk.push(TaskImage {
                id,
                owner,
                outline,
                mark: instant(row, OUTLINE_WIDTH)?,
                last_run: unsigned(row, OUTLINE_WIDTH + 1)?,
                last_outcome: optional_word(row, OUTLINE_WIDTH + 2, Outcome::from_word)?,
                last_end: last_end(row, OUTLINE_WIDTH + 3)?,
            });
        }
        Ok(chunk)
    }
}

impl Iterator for Tasks {
    type Item = TaskImage;

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.expected.saturating_sub(self.seen)).unwrap_or(usize::MAX);
        (left.min(HINT_MAX), None)
    }

    fn next(&mut self) -> Option<TaskImage> {
        loop {
            if let Some(task) = self.chunk.next() {
                self.after = task.id.0.cast_signed();
                self.seen += 1;
                return Some(task);
            }
            if self.ended {
                return None;
            }
            match self.read_chunk() {
                Ok(chunk) => {
                    self.ended = chunk.len() < CHUNK;
                    self.chunk = chunk.into_iter();
                }
                Err(fault) => {
                    self.ended = true;
                    self.fault = Some(fault);
                }
            }
        }
    }
}

/// What was loaded at once, and the tasks that are yet to be read.
pub(crate) struct Loaded {
    pub(crate) rest: Rest,
    pub(crate) tasks: Tasks,
}

/// Reads the state of one moment; `db` is used for nothing else. `refused` is set when the tasks turn out to be damaged.
pub(crate) fn load(db: Connection, file: PathBuf, refused: Arc<AtomicBool>) -> Result<Loaded, Fault> {
    // One moment for all that follows; the end of the connection ends it.
    db.execute_batch("BEGIN")?;
    let (header, tasks) = header(&db)?;
    let staged = leftover::count(&db)?;
    check_last_task(&db, header.last_task)?;
    let rest = Rest {
        header,
        runs: open_runs(&db)?,
        pauses: changes::pauses(&db)?,
        calendars: calendars::all(&db)?,
        pools: pools::all(&db)?,
        fired: fired(&db)?,
        latches: dependencies::latches(&db)?,
        owed: dependencies::all_owed(&db)?,
    };
    Ok(Loaded {
        rest,
        tasks: Tasks {
            db,
            file,
            outlines: Outlines::default(),
            chunk: Vec::new().into_iter(),
            after: i64::MIN,
            seen: 0,
            expected: tasks.saturating_sub(staged),
            which: if staged > 0 { leftover::NOT_STAGED } else { "true" },
            ended: false,
            fault: None,
            refused,
        },
    })
}

/// How the last run of a task had ended, from one column on.
fn last_end(row: &Row<'_>, first: usize) -> Result<Option<LastEnd>, Fault> {
    let outcome = optional_word(row, first, Outcome::from_word)?;
    let at = optional_instant(row, first + 1)?;
    Ok(outcome.zip(at).map(|(outcome, at)| LastEnd { outcome, at }))
}

fn header(db: &Connection) -> Result<(Header, u64), Fault> {
    db.query_row(
        "SELECT horizon, runner, last_task, tasks, boot, horizon_boot, horizon_boot_at FROM meta",
        [],
        |row| {
            Ok((|| {
                let horizon_boot = optional_id(row, 5)?.zip(optional_instant(row, 6)?);
                let header = Header {
                    horizon: instant(row, 0)?,
                    horizon_boot: horizon_boot.map(|(id, at)| Boot { id, at }),
                    runner: optional_number(row, 1)?.map(i64::cast_unsigned),
                    last_task: unsigned(row, 2)?,
                    boot: optional_id(row, 4)?,
                };
                Ok((header, unsigned(row, 3)?))
            })())
        },
    )
    .optional()?
    .unwrap_or_else(|| Err(Fault::Damaged("its table meta is empty".to_owned())))
}

/// Runs by schedule of tasks that have a count.
fn fired(db: &Connection) -> Result<Vec<(TaskId, u64)>, Fault> {
    let mut statement = db.prepare("SELECT task, fired FROM counts ORDER BY task")?;
    let mut rows = statement.query([])?;
    let mut fired = Vec::new();
    while let Some(row) = rows.next()? {
        fired.push((TaskId(unsigned(row, 0)?), unsigned(row, 1)?));
    }
    Ok(fired)
}

/// An id that is given a second time would be refused, for every task that is added from then on.
fn check_last_task(db: &Connection, last_task: u64) -> Result<(), Fault> {
    let newest: Option<i64> = db.query_row("SELECT max(id) FROM tasks", [], |row| row.get(0))?;
    match newest.map(i64::cast_unsigned) {
        Some(newest) if newest > last_task => Err(Fault::Damaged(format!(
            "the last task is said to be {last_task}, and there is a task {newest}"
        ))),
        _ => Ok(()),
    }
}

fn open_runs(db: &Connection) -> Result<Vec<RunImage>, Fault> {
    let mut statement = db.prepare(
        "SELECT r.task, r.n, coalesce(t.name, 'task-' || r.task), r.\"trigger\", r.fire_time, r.created_at, r.trace, r.state, r.stopping, r.attempt,
                r.pid, r.started_at, r.retry_at,
                coalesce((SELECT coalesce(a.started_at, a.finished_at) FROM attempts a WHERE a.run = r.id ORDER BY a.attempt LIMIT 1), r.started_at),
                r.keeps, r.cause_task, r.cause_n, r.cause_name, r.muted, r.overrides, r.gate,
                CASE WHEN t.removed_at IS NOT NULL THEN t.policies END
         FROM runs r LEFT JOIN tasks t ON t.id = r.task WHERE r.finished_at IS NULL ORDER BY r.task, r.n",
    )?;
    let mut rows = statement.query([])?;
    let mut runs = Vec::new();
    while let Some(row) = rows.next()? {
        runs.push(run_image(row)?);
    }
    Ok(runs)
}

fn run_image(row: &Row<'_>) -> Result<RunImage, Fault> {
    let key = RunKey {
        task: TaskId(unsigned(row, 0)?),
        n: unsigned(row, 1)?,
    };
    let damaged = |what: &str| Fault::Damaged(format!("run {} of task {}: {what}", key.n, key.task.0));
    let name = TaskName::parse(text(row, 2)?).map_err(|error| damaged(&format!("its name is refused: {error}")))?;
    let stage = match text(row, 7)? {
        "waiting" => Stage::Waiting,
        "starting" => Stage::Starting,
        "backing-off" => Stage::BackingOff {
            until: optional_instant(row, 12)?.ok_or_else(|| damaged("it waits for no time"))?,
        },
        "gated" => Stage::Gated {
            until: optional_instant(row, 12)?.ok_or_else(|| damaged("its gate is not looked at again"))?,
        },
        "running" => Stage::Running {
            pid: optional_number(row, 10)?
                .and_then(|pid| u32::try_from(pid).ok())
                .ok_or_else(|| damaged("it runs without a process id"))?,
            started_at: optional_instant(row, 11)?.ok_or_else(|| damaged("it runs without a start"))?,
        },
        state => return Err(damaged(&format!("{state:?} is no state of a run that has not ended"))),
    };
    Ok(RunImage {
        key,
        name,
        trigger: word(row, 3, Trigger::from_word)?,
        fire_time: optional_number(row, 4)?.map(Timestamp::from_millis),
        created_at: instant(row, 5)?,
        trace_id: trace(row, 6)?,
        attempt: u32::try_from(number(row, 9)?).map_err(|_| damaged("its attempt is no number of one"))?,
        started_at: optional_instant(row, 13)?,
        stage,
        stopping: optional_text(row, 8)?.map(str::to_owned),
        keeps: optional_text(row, 14)?
            .map(serde_json::from_str)
            .transpose()
            .map_err(|error| damaged(&format!("what it keeps cannot be read: {error}")))?,
        cause: dependencies::cause(row, 15)?,
        muted: number(row, 18)? != 0,
        overrides: optional_text(row, 19)?
            .map(serde_json::from_str)
            .transpose()
            .map_err(|error| damaged(&format!("what it is given cannot be read: {error}")))?
            .map(Arc::new),
        gate: optional_text(row, 20)?
            .map(serde_json::from_str)
            .transpose()
            .map_err(|error| damaged(&format!("what is known of its gate cannot be read: {error}")))?,
        terms: optional_text(row, 21)?
            .map(serde_json::from_str)
            .transpose()
            .map_err(|error| damaged(&format!("the policies of its task cannot be read: {error}")))?,
    })
}
