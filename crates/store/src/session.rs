//! Transactions of the one connection that writes, and what a failed COMMIT means.
//!
//! A COMMIT that fails leaves it open whether the disk has the transaction. As long as this process lives, it has not:
//! SQLite takes the pages back, and the next transaction is written over them. That is not taken on trust: each
//! transaction counts up `meta.commits`, which is read after a failure. If it has gone up, the transaction holds and is
//! answered as such; if not, its records may be tried again and cannot come twice. If the process dies instead, the
//! transaction may turn out to hold when the log is read again; whoever would have tried again died with it, and the
//! state loaded has the records.
//!
//! A sync that fails is told once: the next one may succeed although what the first left unwritten is lost. That may be
//! a lazy transaction before the one that failed, and behind a hole in the log nothing is read again. So after such a
//! failure all of the log is taken into the database, and begun anew, before anything more is answered.

use rusqlite::Connection;

use crate::apply::{Tally, next_commits};
use crate::checkpoint;
use crate::connection::{self, WRITER_CACHE, WRITER_CACHE_LARGE};
use crate::error::{Fault, Kind};

/// Whether a transaction is on the disk when it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It is.
    Durable,
    /// It is with the next that is: for what may be done again.
    Lazy,
}

/// The connection that writes.
pub(crate) struct Session {
    db: Connection,
    /// Transactions that hold, as `meta.commits` has it.
    commits: i64,
    durability: Durability,
    /// A sync of the log failed: what it holds may not be on the disk, and no later sync would tell.
    log_in_doubt: bool,
}

impl Session {
    /// Takes over a connection.
    pub(crate) fn new(db: Connection) -> Result<Self, Fault> {
        let mut session = Session {
            db,
            commits: 0,
            durability: Durability::Durable,
            log_in_doubt: false,
        };
        session.commits = session.read_commits()?;
        Ok(session)
    }

    /// The connection, to read by.
    pub(crate) fn db(&self) -> &Connection {
        &self.db
    }

    /// Runs one transaction. If this fails, nothing of it holds.
    pub(crate) fn transaction(
        &mut self,
        durability: Durability,
        body: impl FnOnce(&Connection, &mut Tally) -> Result<(), Fault>,
    ) -> Result<Tally, Fault> {
        self.begin(durability)?;
        let mut tally = Tally::default();
        let done = body(&self.db, &mut tally).and_then(|()| tally.write(&self.db));
        if let Err(fault) = done {
            self.roll_back();
            return Err(fault);
        }
        let committed = self.execute("COMMIT");
        self.settle(committed)?;
        Ok(tally)
    }

    fn begin(&mut self, durability: Durability) -> Result<(), Fault> {
        // The last ROLLBACK may have failed.
        self.roll_back();
        if self.log_in_doubt {
            checkpoint::all(&self.db)?;
            self.log_in_doubt = false;
        }
        self.set_durability(durability)?;
        self.execute("BEGIN IMMEDIATE")
    }

    /// Finds out whether the transaction holds after all when its COMMIT failed.
    fn settle(&mut self, committed: Result<(), Fault>) -> Result<(), Fault> {
        if let Err(fault) = committed {
            self.log_in_doubt |= fault.kind() == Kind::Io;
            self.roll_back();
            let holds = self.db.is_autocommit()
                && self
                    .read_commits()
                    .is_ok_and(|commits| commits == next_commits(self.commits));
            if !holds {
                return Err(fault);
            }
        }
        self.commits = next_commits(self.commits);
        Ok(())
    }

    /// Gives a transaction of many records the memory it needs, and takes it back.
    pub(crate) fn set_large(&self, large: bool) {
        let (size, then) = if large {
            (WRITER_CACHE_LARGE, "")
        } else {
            (WRITER_CACHE, "PRAGMA shrink_memory;")
        };
        // With less memory it is slower, and no less right.
        let _ = self.db.execute_batch(&format!("PRAGMA cache_size = -{size};{then}"));
    }

    /// Ends the connection; as the last one it may take the log into the database and remove it.
    pub(crate) fn close(self, take_in: bool) -> Result<(), Fault> {
        if take_in {
            connection::take_in_at_close(&self.db)?;
        }
        self.db.close().map_err(|(_, error)| error.into())
    }

    /// Reads several things as they are at one moment. That is faster, too: each look of its own takes locks of its own.
    pub(crate) fn read<T>(&self, read: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        self.execute("BEGIN")?;
        let result = read();
        // Nothing was changed. If this fails the next BEGIN fails too, and says why.
        let _ = self.execute("ROLLBACK");
        result
    }

    fn set_durability(&mut self, durability: Durability) -> Result<(), Fault> {
        if self.durability != durability {
            self.db.execute_batch(match durability {
                Durability::Durable => "PRAGMA synchronous = FULL",
                Durability::Lazy => "PRAGMA synchronous = NORMAL",
            })?;
            self.durability = durability;
        }
        Ok(())
    }

    fn execute(&self, sql: &str) -> Result<(), Fault> {
        self.db.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    /// A full disk may have ended the transaction already.
    fn roll_back(&self) {
        if !self.db.is_autocommit() {
            // If this fails the next BEGIN fails too, and says why.
            let _ = self.db.execute_batch("ROLLBACK");
        }
    }

    fn read_commits(&self) -> Result<i64, Fault> {
        Ok(self
            .db
            .prepare_cached("SELECT commits FROM meta")?
            .query_row([], |row| row.get(0))?)
    }
}

#[cfg(test)]
mod tests {
    use super::{Durability, Session};
    use crate::error::Fault;
    use crate::schema;

    fn session() -> Session {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        schema::migrate(&db).unwrap();
        Session::new(db).unwrap()
    }

    fn failed() -> Fault {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR);
        rusqlite::Error::SqliteFailure(code, None).into()
    }

    #[test]
    fn a_commit_that_fails_and_holds_is_one_that_holds() {
        let mut session = session();
        for (last, holds) in [("COMMIT", true), ("ROLLBACK", false), ("COMMIT", true)] {
            session.begin(Durability::Durable).unwrap();
            session.execute("UPDATE meta SET commits = commits + 1").unwrap();
            session.execute(last).unwrap();
            assert_eq!(session.settle(Err(failed())).is_ok(), holds, "{last}");
        }
        // It still knows how many there are.
        session.begin(Durability::Durable).unwrap();
        assert!(session.settle(Err(failed())).is_err());
    }

    #[test]
    fn a_count_of_commits_at_its_end_refuses_none() {
        for count in [i64::MAX, i64::MIN, 1 << 62] {
            let db = rusqlite::Connection::open_in_memory().unwrap();
            schema::migrate(&db).unwrap();
            db.execute("UPDATE meta SET commits = ?1", [count]).unwrap();
            let mut session = Session::new(db).unwrap();
            for _ in 0..3 {
                session.transaction(Durability::Durable, |_, _| Ok(())).unwrap();
                assert_eq!(session.read_commits().unwrap(), session.commits);
            }
        }
    }

    #[test]
    fn a_transaction_that_was_left_open_is_not_joined() {
        let mut session = session();
        session.execute("BEGIN").unwrap();
        session.execute("UPDATE meta SET last_task = 7").unwrap();
        session.transaction(Durability::Durable, |_, _| Ok(())).unwrap();
        let last: i64 = session
            .db()
            .query_row("SELECT last_task FROM meta", [], |row| row.get(0))
            .unwrap();
        assert_eq!(last, 0);
    }

    #[test]
    fn a_commit_that_fails_is_taken_back_and_the_next_one_holds() {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        schema::migrate(&db).unwrap();
        // Only COMMIT finds what breaks this rule.
        db.execute_batch(
            "PRAGMA foreign_keys = ON; CREATE TABLE late (task REFERENCES tasks (id) DEFERRABLE INITIALLY DEFERRED)",
        )
        .unwrap();
        let mut session = Session::new(db).unwrap();
        for round in 1..=3 {
            let broken = session.transaction(Durability::Durable, |db, _| {
                db.execute_batch("INSERT INTO late VALUES (7)")?;
                Ok(())
            });
            assert!(broken.is_err());
            session
                .transaction(Durability::Lazy, |db, _| {
                    db.execute_batch("INSERT INTO late VALUES (NULL)")?;
                    Ok(())
                })
                .unwrap();
            assert_eq!(session.read_commits().unwrap(), round);
            let rows: i64 = session
                .db()
                .query_row("SELECT count(*) FROM late", [], |row| row.get(0))
                .unwrap();
            assert_eq!(rows, round);
        }
    }
}
