//! An import is there whole or not at all, whenever the daemon ends.

use std::path::Path;

use taskd_core::record::Record;
use taskd_core::task::{ImportId, Owner, TaskId};
use taskd_store::{OpenError, Options, Store, Writer};

use crate::scene::{added, commit, load, open};

/// The import under test: ids from 2 to 31.
const IMPORT: ImportId = ImportId(2);
const LAST: u64 = 31;

fn begin(writer: &Writer) {
    let begun = Record::ImportBegun {
        import: IMPORT,
        last: TaskId(LAST),
        owner: Owner(0),
    };
    commit(writer, vec![added(1, "before", 1)]).unwrap();
    commit(writer, vec![begun]).unwrap();
}

/// A store in which an import has begun and staged its first tasks.
fn begun(dir: &Path) -> Store {
    let store = open(dir).store;
    begin(&store.writer());
    stage(&store.writer(), 2..=20);
    store
}

fn stage(writer: &Writer, ids: std::ops::RangeInclusive<u64>) {
    let part = ids.map(|id| added(id, &format!("task-{id}"), 5)).collect();
    commit(writer, part).unwrap();
}

fn ids(options: Options) -> Vec<u64> {
    let (store, snapshot) = load(options).unwrap();
    let reader = store.reader().unwrap();
    assert_eq!(reader.check().unwrap(), Vec::<String>::new());
    assert!(
        snapshot.rest.header.last_task >= LAST,
        "ids of an import are not given again"
    );
    snapshot.tasks.iter().map(|task| task.id.0).collect()
}

#[test]
fn one_that_did_not_end_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let store = begun(dir.path());
    commit(&store.writer(), vec![added(32, "beside", 6)]).unwrap();
    store.close().unwrap();
    assert_eq!(ids(Options::new(dir.path())), [1, 32]);
    // Its names are free.
    let store = open(dir.path()).store;
    commit(&store.writer(), vec![added(33, "task-2", 7)]).unwrap();
    store.close().unwrap();
    assert_eq!(ids(Options::new(dir.path())), [1, 32, 33]);
}

#[test]
fn one_that_ended_is_there_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = begun(dir.path());
    stage(&store.writer(), 21..=LAST);
    commit(&store.writer(), vec![Record::ImportEnded { import: IMPORT }]).unwrap();
    store.close().unwrap();
    assert_eq!(ids(Options::new(dir.path())), (1..=LAST).collect::<Vec<_>>());
}

#[test]
fn one_that_is_given_up_goes_part_by_part() {
    let dir = tempfile::tempdir().unwrap();
    let store = begun(dir.path());
    for from in [15, 9, 2] {
        let from = TaskId(from);
        commit(&store.writer(), vec![Record::ImportDropped { import: IMPORT, from }]).unwrap();
        let check = store.reader().unwrap().check().unwrap();
        assert_eq!(check, Vec::<String>::new());
    }
    commit(&store.writer(), vec![added(32, "task-5", 6)]).unwrap();
    store.close().unwrap();
    assert_eq!(ids(Options::new(dir.path())), [1, 32]);
}

#[test]
fn one_whose_range_is_damaged_is_refused_and_removes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = begun(dir.path());
    commit(&store.writer(), vec![added(32, "beside", 6)]).unwrap();
    store.close().unwrap();
    let db = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
    db.execute_batch("UPDATE imports SET last = last + 32").unwrap();
    let error = load(Options::new(dir.path())).unwrap_err();
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
    let beside: i64 = db
        .query_row("SELECT count(*) FROM tasks WHERE id = 32", [], |row| row.get(0))
        .unwrap();
    assert_eq!(beside, 1);
}
