//! Opening: one daemon a directory, final modes, and no fresh start where there was a store.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rusqlite::config::DbConfig;
use taskd_core::snapshot::Snapshot;
use taskd_store::{OpenError, Options, Store};

use crate::scene::{added, commit, load, open};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_new_store_is_empty_and_private() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("state/taskd");
    let (store, snapshot) = load(Options::new(&dir)).unwrap();
    assert_eq!(snapshot, Snapshot::default());
    commit(&store.writer(), vec![added(1, "a", 1)]).unwrap();
    assert_eq!(mode(&dir), 0o700);
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_second_opener_is_refused_and_told_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(dir.path());
    match Store::open(Options::new(dir.path())) {
        Err(OpenError::Locked { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    drop(opened);
    open(dir.path()).store.close().unwrap();
}

#[test]
fn a_second_opener_is_refused_also_when_the_lock_file_was_removed() {
    let dir = tempfile::tempdir().unwrap();
    let _opened = open(dir.path());
    fs::remove_file(dir.path().join("lock")).unwrap();
    let error = Store::open(Options::new(dir.path())).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
}

#[test]
fn a_database_that_another_directory_may_have_too_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let [own, other] = ["own", "other"].map(|name| parent.path().join(name));
    open(&own).store.close().unwrap();
    fs::create_dir(&other).unwrap();
    let (file, second) = (own.join("store.db"), other.join("store.db"));

    symlink(&file, &second).unwrap();
    let error = Store::open(Options::new(&other)).unwrap_err();
    assert!(matches!(error, OpenError::NotPlain { .. }), "{error}");
    assert!(error.to_string().contains("is a symbolic link"), "{error}");
    drop(open(&own));

    fs::remove_file(&second).unwrap();
    fs::hard_link(&file, &second).unwrap();
    for dir in [&own, &other] {
        let error = Store::open(Options::new(dir)).unwrap_err();
        assert!(matches!(error, OpenError::NotPlain { .. }), "{error}");
    }
    fs::remove_file(&second).unwrap();
    drop(open(&own));
}

#[test]
fn a_link_in_the_place_of_the_lock_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let theirs = dir.path().join("theirs");
    fs::write(&theirs, "text").unwrap();
    symlink(&theirs, dir.path().join("lock")).unwrap();
    let error = Store::open(Options::new(dir.path())).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
    assert_eq!(fs::read_to_string(&theirs).unwrap(), "text");
}

#[test]
fn what_is_written_is_there_after_a_close_in_good_order_and_the_log_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).store;
    commit(&store.writer(), vec![added(1, "a", 1)]).unwrap();
    store.close().unwrap();
    assert!(!dir.path().join("store.db-wal").exists());
    let (_store, snapshot) = load(Options::new(dir.path())).unwrap();
    assert_eq!(snapshot.tasks.len(), 1);
}

#[test]
fn a_lost_database_is_refused_and_not_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let file = dir.path().join("store.db");
    fs::remove_file(&file).unwrap();
    for _ in 0..2 {
        let error = Store::open(Options::new(dir.path())).unwrap_err();
        assert!(matches!(error, OpenError::Missing { .. }), "{error}");
        assert!(error.to_string().contains("store.db is missing"), "{error}");
        assert!(!file.exists());
    }
}

#[test]
fn a_log_without_its_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("store.db-wal"), "x").unwrap();
    let error = Store::open(Options::new(dir.path())).unwrap_err();
    assert!(matches!(error, OpenError::Missing { .. }), "{error}");
}

#[test]
fn an_empty_database_is_refused_also_without_the_mark() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("store.db"), "").unwrap();
    let error = Store::open(Options::new(dir.path())).unwrap_err();
    assert!(matches!(error, OpenError::Corrupt { check: "length", .. }), "{error}");
    assert_eq!(fs::metadata(dir.path().join("store.db")).unwrap().len(), 0);
}

#[test]
fn a_first_start_that_was_cut_off_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    for leftover in ["store.db.new", "store.db.new-wal", "store.db.new-shm"] {
        fs::write(dir.path().join(leftover), "half").unwrap();
    }
    let (_store, snapshot) = load(Options::new(dir.path())).unwrap();
    assert_eq!(snapshot, Snapshot::default());
    assert!(!dir.path().join("store.db.new-wal").exists());
}

#[test]
fn what_is_no_store_of_ours_is_refused_and_left() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("store.db");
    let text = "this is a text, not a database. ".repeat(200);
    fs::write(&file, &text).unwrap();
    let error = Store::open(Options::new(dir.path())).unwrap_err();
    assert!(matches!(error, OpenError::Corrupt { check: "header", .. }), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), text);

    fs::remove_file(&file).unwrap();
    drop(open(dir.path()));
}

#[test]
fn a_database_of_another_program_is_refused_and_left() {
    let dir = tempfile::tempdir().unwrap();
    let [file, log] = ["store.db", "store.db-wal"].map(|name| dir.path().join(name));
    // With a journal of the old kind, and with a log that holds all of it.
    for mode in ["DELETE", "WAL"] {
        let other = rusqlite::Connection::open(&file).unwrap();
        other
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .unwrap();
        other
            .execute_batch(&format!("PRAGMA journal_mode = {mode}; CREATE TABLE notes (text TEXT)"))
            .unwrap();
        drop(other);
        assert_eq!(log.exists(), mode == "WAL");
        let before = [&file, &log].map(|path| fs::read(path).ok());
        let error = Store::open(Options::new(dir.path())).unwrap_err();
        assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
        assert_eq!([&file, &log].map(|path| fs::read(path).ok()), before, "{mode}");

        for name in ["store.db", "store.db-wal", "store.db-shm"] {
            // Not each of them is there.
            let _ = fs::remove_file(dir.path().join(name));
        }
    }
    // It was moved away, and the directory never had a store of ours.
    drop(open(dir.path()));
}

#[test]
fn a_database_that_is_refused_for_a_task_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).store;
    commit(&store.writer(), vec![added(1, "a", 1)]).unwrap();
    store.close().unwrap();
    let [file, log] = ["store.db", "store.db-wal"].map(|name| dir.path().join(name));
    let other = rusqlite::Connection::open(&file).unwrap();
    other
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .unwrap();
    other.execute_batch("UPDATE tasks SET enabled = 0").unwrap();
    drop(other);
    let before = [&file, &log].map(|path| fs::read(path).unwrap());
    for _ in 0..2 {
        let error = load(Options::new(dir.path())).unwrap_err();
        assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
        assert_eq!([&file, &log].map(|path| fs::read(path).unwrap()), before);
    }
}

#[test]
fn a_newer_store_is_refused_with_both_versions() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).store.close().unwrap();
    let newer = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
    newer.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(newer);
    let error = Store::open(Options::new(dir.path())).unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::Newer {
                found: 99,
                known: 11,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("upgrade taskd"), "{error}");
}
