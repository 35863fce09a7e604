//! Opening: one daemon a directory, final modes, and no fresh start where there was a store.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

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
    fs::remove_file(dir.path().join("store.exists")).unwrap_or_default();
    let other = rusqlite::Connection::open(&file).unwrap();
    other.execute_batch("CREATE TABLE notes (text TEXT)").unwrap();
    drop(other);
    let error = Store::open(Options::new(dir.path())).unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
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
                known: 2,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("upgrade taskd"), "{error}");
}
