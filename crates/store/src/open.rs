//! Opening: the directory, the lock, the first making of the database, and the checks before anything is believed.
//!
//! A database is made whole under another name and renamed, so a `store.db` that is short of a header is damage and
//! never a fresh start. The mark `store.exists` is made after it: a directory with the mark and without the database
//! lost it. Files are looked at before SQLite opens them and not after: closing a descriptor of our own would
//! release SQLite's locks. Nothing is written to a database before the checks have passed, and it has no mark until then.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::error::{Fault, OpenError};
use crate::lock::Lock;
use crate::{checkpoint, connection, schema};

/// Largest database, in bytes, that is checked page by page at every opening (about a second for each GiB). In a
/// larger one a damaged page is found when it is read: all of the tasks at opening, history when it is asked for.
pub(crate) const CHECKED_BYTES: u64 = 128 << 20;

/// The first bytes of every SQLite database.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// The names in a state directory.
pub(crate) struct Names {
    pub(crate) dir: PathBuf,
    pub(crate) file: PathBuf,
    pub(crate) log: PathBuf,
    mark: PathBuf,
}

impl Names {
    pub(crate) fn of(dir: &Path) -> Self {
        Names {
            dir: dir.to_owned(),
            file: dir.join("store.db"),
            log: dir.join("store.db-wal"),
            mark: dir.join("store.exists"),
        }
    }
}

/// A database that has passed the checks, and the lock that makes it ours; dropped in this order.
pub(crate) struct Checked {
    pub(crate) db: Connection,
    pub(crate) lock: Lock,
}

/// Opens the database of a directory for writing, making it if there never was one.
pub(crate) fn open(names: &Names) -> Result<Checked, OpenError> {
    make_dir(&names.dir)?;
    let lock = Lock::take(&names.dir)?;
    if !names.mark.exists() {
        sync_parents(&names.dir)?;
    }
    match fs::symlink_metadata(&names.file) {
        Ok(found) => {
            check_plain(names, &found)?;
            check_header(names, found.len())?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if let Some(beside) = [&names.mark, &names.log].into_iter().find(|path| path.exists()) {
                return Err(OpenError::Missing {
                    file: names.file.clone(),
                    beside: beside.clone(),
                });
            }
            create(names)?;
        }
        Err(source) => return Err(io(&names.file, "read")(source)),
    }
    let db = connection::writer(&names.file).map_err(|fault| fault.open(&names.file, "header"))?;
    check(names, &db)?;
    connection::keep_log(&db).map_err(|fault| fault.open(&names.file, "header"))?;
    make_mark(names)?;
    schema::migrate(&db).map_err(|fault| fault.open(&names.file, "schema"))?;
    Ok(Checked { db, lock })
}

fn io<'a>(path: &'a Path, doing: &'static str) -> impl FnOnce(std::io::Error) -> OpenError + 'a {
    move |source| OpenError::Io {
        path: path.to_owned(),
        doing,
        source,
    }
}

fn make_dir(dir: &Path) -> Result<(), OpenError> {
    if dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(io(dir, "create"))
}

/// Makes the name of a directory durable, and the names of those above it up to the root of its file system: any of
/// them may have been made a moment ago, also by whoever started this program.
fn sync_parents(dir: &Path) -> Result<(), OpenError> {
    let dir = fs::canonicalize(dir).map_err(io(dir, "find"))?;
    let device = fs::metadata(&dir).map_err(io(&dir, "read"))?.dev();
    for parent in dir.ancestors().skip(1) {
        let opened = match File::open(parent) {
            Ok(opened) => opened,
            // Others made what we may not read.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => continue,
            Err(source) => return Err(io(parent, "open")(source)),
        };
        if opened.metadata().map_err(io(parent, "read"))?.dev() != device {
            break;
        }
        opened.sync_all().map_err(io(parent, "sync"))?;
    }
    Ok(())
}

fn sync_dir(dir: &Path) -> Result<(), OpenError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io(dir, "sync"))
}

fn make_mark(names: &Names) -> Result<(), OpenError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&names.mark)
        .map_err(io(&names.mark, "create"))?;
    // Also where it was there: who made it may have died before this.
    sync_dir(&names.dir)
}

/// Makes the database whole under another name, and gives it its own.
fn create(names: &Names) -> Result<(), OpenError> {
    let new = names.dir.join("store.db.new");
    for leftover in [
        "store.db.new",
        "store.db.new-wal",
        "store.db.new-shm",
        "store.db.new-journal",
    ] {
        match fs::remove_file(names.dir.join(leftover)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(&new, "remove")(error)),
            _ => {}
        }
    }
    // SQLite gives its other files the mode of this one.
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .map_err(io(&new, "create"))?;
    connection::writer(&new)
        .and_then(|db| {
            connection::keep_log(&db)?;
            connection::take_in_at_close(&db)?;
            schema::migrate(&db)?;
            // Closing does the same, and does not tell when it could not be written or synced.
            checkpoint::all(&db)?;
            Ok(db.close().map_err(|(_, error)| error)?)
        })
        .map_err(|fault| fault.open(&new, "schema"))?;
    fs::rename(&new, &names.file).map_err(io(&new, "rename"))?;
    sync_dir(&names.dir)
}

/// The lock is one of the directory, so the database must be of this directory alone.
fn check_plain(names: &Names, found: &Metadata) -> Result<(), OpenError> {
    let what = if found.is_symlink() {
        "a symbolic link"
    } else if !found.is_file() {
        "not a file"
    } else if found.nlink() > 1 {
        "a file with a second name elsewhere"
    } else {
        return Ok(());
    };
    Err(OpenError::NotPlain {
        file: names.file.clone(),
        what,
    })
}

/// Looks at the file as it lies on disk.
fn check_header(names: &Names, length: u64) -> Result<(), OpenError> {
    let corrupt = |check, problem: String| OpenError::Corrupt {
        file: names.file.clone(),
        check,
        problem,
    };
    let mut header = [0; 100];
    if length < header.len() as u64 {
        return Err(corrupt(
            "length",
            format!("it has {length} bytes, less than any database"),
        ));
    }
    File::open(&names.file)
        .and_then(|mut file| file.read_exact(&mut header))
        .map_err(io(&names.file, "read"))?;
    if !header.starts_with(MAGIC) {
        return Err(corrupt("header", "it does not begin as a database does".to_owned()));
    }
    let long = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let page = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        size if size >= 512 && size.is_power_of_two() => u64::from(size),
        size => return Err(corrupt("header", format!("a page cannot have {size} bytes"))),
    };
    // What a crash cut short stands in the log; without a log the file must be whole.
    let log = fs::metadata(&names.log).map_or(0, |log| log.len());
    if log > 0 {
        return Ok(());
    }
    check_identity(names, long(68).cast_signed(), long(60).cast_signed())?;
    let pages = u64::from(long(28));
    let expected = pages * page;
    if long(24) == long(92) && pages > 0 && length != expected {
        return Err(corrupt(
            "length",
            format!("it has {length} bytes, and should have {expected}"),
        ));
    }
    Ok(())
}

/// Whose database it is, and of which version.
fn check_identity(names: &Names, application: i32, version: i32) -> Result<(), OpenError> {
    let file = names.file.clone();
    if application != schema::APPLICATION_ID {
        return Err(OpenError::Foreign { file });
    }
    let found = i64::from(version);
    if found > schema::VERSION {
        return Err(OpenError::Newer {
            file,
            found,
            known: schema::VERSION,
        });
    }
    if found < 1 {
        return Err(OpenError::Corrupt {
            file,
            check: "header",
            problem: format!("its schema version is {found}"),
        });
    }
    Ok(())
}

/// Looks at the database through SQLite, which has taken in the log.
fn check(names: &Names, db: &Connection) -> Result<(), OpenError> {
    let file = &names.file;
    let checked = |check| move |error: rusqlite::Error| Fault::from(error).open(file, check);
    let (application, version) = db
        .query_row(
            "SELECT application_id, user_version FROM pragma_application_id, pragma_user_version",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .map_err(checked("header"))?;
    check_identity(names, application, version)?;
    let size: i64 = db
        .query_row(
            "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
            [],
            |row| row.get(0),
        )
        .map_err(checked("header"))?;
    if size.cast_unsigned() > CHECKED_BYTES {
        return Ok(());
    }
    let problem: String = db
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(checked("quick_check"))?;
    if problem == "ok" {
        return Ok(());
    }
    Err(OpenError::Corrupt {
        file: file.clone(),
        check: "quick_check",
        problem,
    })
}
