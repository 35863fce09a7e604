//! Connections to the database, each for one purpose and with no more memory than that needs.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::Fault;

/// Memory for pages, in KiB, of the writer. A large batch gets [`WRITER_CACHE_LARGE`].
pub(crate) const WRITER_CACHE: u32 = 2048;
/// Memory for pages, in KiB, of the writer in a large batch, whose index pages would be read again and again.
pub(crate) const WRITER_CACHE_LARGE: u32 = 32 * 1024;
/// Memory for pages, in KiB, of a reader.
const READER_CACHE: u32 = 512;
/// Memory for pages, in KiB, of a reader that checks everything.
const READER_CACHE_LARGE: u32 = 64 * 1024;
/// How long a reader waits for another program that holds the database, such as a `sqlite3` shell in a transaction.
const BUSY: Duration = Duration::from_secs(5);
/// How long the writer waits for it: all that is to be durable waits too.
pub(crate) const WRITER_BUSY: Duration = Duration::from_secs(1);
/// What the log is cut down to when it starts anew.
const LOG_KEPT_BYTES: u64 = 16 << 20;

/// The connection that writes; there is one.
pub(crate) fn writer(file: &Path) -> Result<Connection, Fault> {
    let db = open(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // A file that is refused stays as it is.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    db.busy_timeout(WRITER_BUSY)?;
    db.set_prepared_statement_cache_capacity(64);
    db.execute_batch(&format!(
        "PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = {LOG_KEPT_BYTES};
         PRAGMA cache_size = -{WRITER_CACHE};
         PRAGMA temp_store = MEMORY;"
    ))?;
    Ok(db)
}

/// Has the database written by way of a log, as it then is for ever.
pub(crate) fn keep_log(db: &Connection) -> Result<(), Fault> {
    let mode: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(Fault::Unfit(format!(
            "its file system allows no write-ahead log (journal mode {mode})"
        )));
    }
    Ok(())
}

/// Has the log taken in, and removed, when the last connection ends.
pub(crate) fn take_in_at_close(db: &Connection) -> Result<(), Fault> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(())
}

/// A connection that checkpoints and nothing else.
pub(crate) fn checkpointer(file: &Path) -> Result<Connection, Fault> {
    let db = open(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    db.execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -64;")?;
    Ok(db)
}

/// A connection that only reads.
pub(crate) fn reader(file: &Path) -> Result<Connection, Fault> {
    let db = open(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    db.set_prepared_statement_cache_capacity(32);
    db.execute_batch(&format!(
        "PRAGMA cache_size = -{READER_CACHE}; PRAGMA temp_store = MEMORY; PRAGMA query_only = ON;"
    ))?;
    Ok(db)
}

/// Gives a reader the memory to go through everything, whose index pages would be read again and again; or takes it
/// back.
pub(crate) fn set_large(db: &Connection, large: bool) -> Result<(), Fault> {
    let size = if large { READER_CACHE_LARGE } else { READER_CACHE };
    db.execute_batch(&format!("PRAGMA cache_size = -{size}; PRAGMA shrink_memory;"))?;
    Ok(())
}

fn open(file: &Path, access: OpenFlags) -> Result<Connection, Fault> {
    let db = Connection::open_with_flags(file, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(BUSY)?;
    // Otherwise a statement is compiled anew with each value that it is asked with, in case another plan suits that one.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    db.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;")?;
    Ok(db)
}
