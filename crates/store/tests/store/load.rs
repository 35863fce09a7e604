//! Loading gives what replaying gives.

use proptest::prelude::*;
use taskd_core::record::Record;
use taskd_core::run::Outcome;
use taskd_core::schedule::{Catalog, Zones};
use taskd_core::scheduler::{Limits, Scheduler};
use taskd_core::snapshot::Snapshot;
use taskd_store::Options;

use crate::model::{Model, batches, steps};
use crate::scene::{added, commit, load, never_ran, open, whole_run};

/// What the core makes of records; without zones, since no schedule is part of the state.
fn replay(batches: &[Vec<Record>]) -> Snapshot {
    let catalog = Catalog::new(Zones::new(jiff::tz::TimeZoneDatabase::none()));
    Scheduler::replay(catalog, Limits::default(), [1, 2], batches.iter().flatten().cloned()).snapshot()
}

/// The state that is loaded, given to the core.
fn restore(loaded: Snapshot) -> Snapshot {
    let catalog = Catalog::new(Zones::new(jiff::tz::TimeZoneDatabase::none()));
    let Snapshot { tasks, rest } = loaded;
    Scheduler::restore(catalog, Limits::default(), [1, 2], tasks.into_iter(), rest).snapshot()
}

#[test]
fn the_number_of_tasks_is_told_beforehand_and_believed_within_reason() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).store;
    let tasks = (1..=3).map(|id| added(id, &format!("task-{id}"), 1)).collect();
    commit(&store.writer(), tasks).unwrap();
    store.close().unwrap();
    let mut tasks = open(dir.path()).tasks;
    for left in (0..=3).rev() {
        assert_eq!(tasks.size_hint().0, left);
        assert_eq!(tasks.next().is_some(), left > 0);
    }
    tasks.finish().unwrap();
    let db = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
    db.execute_batch("UPDATE meta SET tasks = tasks | (1 << 62)").unwrap();
    drop(db);
    let error = load(Options::new(dir.path())).unwrap_err();
    assert!(error.to_string().contains("number of tasks"), "{error}");
}

#[test]
fn the_last_end_of_a_task_is_that_of_a_run_that_ran() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).store;
    let mut records = vec![added(1, "a", 1)];
    records.extend(whole_run(1, 1, 10, Outcome::Succeeded, 0));
    records.extend(never_ran(1, 2, 20, Outcome::Skipped));
    records.extend(never_ran(1, 3, 30, Outcome::Cancelled));
    let last = |records: &[Record]| Model::replay(records).snapshot().tasks[0].last_end;
    let succeeded = last(&records);
    assert_eq!(succeeded.map(|last| last.outcome), Some(Outcome::Succeeded));
    commit(&store.writer(), records.clone()).unwrap();
    store.close().unwrap();
    let (store, loaded) = load(Options::new(dir.path())).unwrap();
    assert_eq!((loaded.tasks[0].last_end, loaded.tasks[0].last_run), (succeeded, 3));
    // One of which nobody knows more may have run.
    let unknown = never_ran(1, 4, 40, Outcome::Unknown);
    records.extend(unknown.clone());
    commit(&store.writer(), unknown.to_vec()).unwrap();
    store.close().unwrap();
    let (_, loaded) = load(Options::new(dir.path())).unwrap();
    assert_eq!(loaded.tasks[0].last_end, last(&records));
    assert_ne!(loaded.tasks[0].last_end, succeeded);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn loading_gives_the_state_that_the_records_give(steps in steps(120)) {
        let dir = tempfile::tempdir().unwrap();
        let batches = batches(&steps);
        let store = open(dir.path()).store;
        let writer = store.writer();
        let half = batches.len() / 2;
        for batch in &batches[..half] {
            commit(&writer, batch.clone()).unwrap();
        }
        // Also in the middle, as a restart does.
        drop(store);
        let (store, middle) = load(Options::new(dir.path())).unwrap();
        prop_assert_eq!(middle, replay(&batches[..half]));
        let writer = store.writer();
        for batch in &batches[half..] {
            commit(&writer, batch.clone()).unwrap();
        }
        let reader = store.reader().unwrap();
        prop_assert_eq!(reader.check().unwrap(), Vec::<String>::new());
        drop(reader);
        store.close().unwrap();
        let (store, end) = load(Options::new(dir.path())).unwrap();
        prop_assert_eq!(&end, &replay(&batches));
        prop_assert_eq!(&end, &Model::replay(batches.iter().flatten()).snapshot());
        prop_assert_eq!(&end, &restore(end.clone()));
        store.close().unwrap();
    }
}
