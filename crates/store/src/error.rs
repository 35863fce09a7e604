//! What can go wrong: at the opening of a store, at a commit, at a reading.

use std::fmt;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use rusqlite::types::FromSqlError;

/// Why a store was not opened. Nothing that it held was changed, and a database that is not ours, or whose header, length
/// or pages are damaged, was not written to; the lock and SQLite's index of the log may lie beside it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{dir} is in use by another taskd{}", holder(*pid))]
    Locked {
        /// The state directory.
        dir: PathBuf,
        /// The process that has it, if it said so.
        pid: Option<u32>,
    },
    /// A file or directory could not be made, read or written.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What was tried, such as "create".
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The directory had a store, and its database is gone.
    #[error("{file} is missing, although {beside} shows that there was one; {}", restore(file))]
    Missing {
        /// The database.
        file: PathBuf,
        /// What shows it.
        beside: PathBuf,
    },
    /// A check failed.
    #[error("{file} is damaged ({check}: {problem}); {}", restore(file))]
    Corrupt {
        /// The database.
        file: PathBuf,
        /// The check that failed.
        check: &'static str,
        /// What it found.
        problem: String,
    },
    /// The database is not a file of this directory alone, so that another process could have it too.
    #[error("{file} is {what}, and must be a file of its own: put the database itself there, or name its directory")]
    NotPlain {
        /// The database.
        file: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The file is a sound database of another program.
    #[error("{file} is a database, but not one of taskd; choose another state directory")]
    Foreign {
        /// The database.
        file: PathBuf,
    },
    /// A newer program wrote it.
    #[error("{file} has schema version {found}, and this taskd knows versions up to {known}: upgrade taskd")]
    Newer {
        /// The database.
        file: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// The database did not answer, for a reason that is no damage.
    #[error("cannot use {file}: {text}")]
    Unusable {
        /// The database.
        file: PathBuf,
        /// Of what kind.
        kind: Kind,
        /// What SQLite said.
        text: String,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| {
        format!(" (process {pid}); if it answers at no socket any more, `kill {pid}` stops it in good order")
    })
}

fn restore(file: &Path) -> String {
    let file = file.display();
    format!(
        "it was left as it is. To restore, move {file}, {file}-wal and {file}-shm away and put a backup in the place of \
         {file} (a backup is made with: sqlite3 {file} \"VACUUM INTO 'copy.db'\"); what can still be read of a damaged \
         file is shown by: sqlite3 {file} .recover"
    )
}

/// What sort of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No room on the disk.
    Full,
    /// The disk failed.
    Io,
    /// The database is damaged.
    Corrupt,
    /// The store takes nothing more: it was closed, or the thread that writes has ended by a fault of its own. Only
    /// opening it again helps.
    Closed,
    /// Anything else: the records do not fit what is stored, another program holds the database, …
    Other,
}

/// Why a batch was refused. None of its records holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct CommitError {
    /// Of what kind.
    pub kind: Kind,
    /// What happened, with the file.
    pub text: String,
}

/// Why something could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ReadError {
    /// Of what kind.
    pub kind: Kind,
    /// What happened, with the file.
    pub text: String,
}

/// A failure on the way, before it is known to whom it is told.
#[derive(Debug)]
pub(crate) enum Fault {
    /// SQLite failed.
    Sqlite(rusqlite::Error),
    /// What was read is not what was written.
    Damaged(String),
    /// A record does not fit what is stored.
    Unfit(String),
}

impl Fault {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Fault::Damaged(_) => Kind::Corrupt,
            Fault::Unfit(_) => Kind::Other,
            Fault::Sqlite(rusqlite::Error::SqliteFailure(error, _)) => match error.code {
                ErrorCode::DiskFull => Kind::Full,
                ErrorCode::SystemIoFailure if error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE => Kind::Full,
                ErrorCode::SystemIoFailure => Kind::Io,
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Kind::Corrupt,
                _ => Kind::Other,
            },
            Fault::Sqlite(
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::Utf8Error(..)
                // Our statements fit our tables: where one cannot be prepared, the tables are not those we made.
                | rusqlite::Error::SqlInputError { .. },
            ) => Kind::Corrupt,
            Fault::Sqlite(_) => Kind::Other,
        }
    }

    /// Whether the records themselves are refused, so that others may hold.
    pub(crate) fn is_of_records(&self) -> bool {
        match self {
            Fault::Unfit(_) => true,
            Fault::Damaged(_) => false,
            Fault::Sqlite(rusqlite::Error::SqliteFailure(error, _)) => matches!(
                error.code,
                ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig
            ),
            Fault::Sqlite(rusqlite::Error::ToSqlConversionFailure(_)) => true,
            Fault::Sqlite(_) => false,
        }
    }

    pub(crate) fn commit(&self, file: &Path) -> CommitError {
        CommitError {
            kind: self.kind(),
            text: format!("{}: {self}", file.display()),
        }
    }

    pub(crate) fn read(&self, file: &Path) -> ReadError {
        ReadError {
            kind: self.kind(),
            text: format!("{}: {self}", file.display()),
        }
    }

    pub(crate) fn open(&self, file: &Path, check: &'static str) -> OpenError {
        let file = file.to_owned();
        match self.kind() {
            Kind::Corrupt => OpenError::Corrupt {
                file,
                check,
                problem: self.to_string(),
            },
            kind => OpenError::Unusable {
                file,
                kind,
                text: self.to_string(),
            },
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Sqlite(error @ rusqlite::Error::SqliteFailure(code, _)) => {
                let number = code.extended_code;
                match self.kind() {
                    // Where it hits the index of the log, SQLite calls it an error of the disk.
                    Kind::Full => write!(f, "there is no room left on its disk (SQLite code {number})"),
                    // SQLite does not tell the two apart.
                    Kind::Io if number == rusqlite::ffi::SQLITE_IOERR_WRITE => write!(
                        f,
                        "it cannot be written: a disk quota is used up, or the disk fails (SQLite code {number})"
                    ),
                    _ => write!(f, "{error} (SQLite code {number})"),
                }
            }
            Fault::Sqlite(error) => error.fmt(f),
            Fault::Damaged(what) | Fault::Unfit(what) => f.write_str(what),
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Fault::Sqlite(error)
    }
}

impl From<FromSqlError> for Fault {
    fn from(error: FromSqlError) -> Self {
        Fault::Damaged(format!("a value is of the wrong type: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::{Fault, Kind};

    #[test]
    fn want_of_room_is_told_in_words() {
        for (code, kind, words) in [
            (ffi::SQLITE_FULL, Kind::Full, "no room left"),
            (ffi::SQLITE_IOERR_SHMSIZE, Kind::Full, "no room left"),
            (ffi::SQLITE_IOERR_WRITE, Kind::Io, "quota"),
            (ffi::SQLITE_IOERR_READ, Kind::Io, "disk I/O error"),
        ] {
            let fault = Fault::Sqlite(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
            assert_eq!(fault.kind(), kind);
            let text = fault.to_string();
            assert!(text.contains(words) && text.contains(&code.to_string()), "{text}");
        }
    }
}
