//! What people changed, and when the daemon ran.

use taskd_core::pause::{Pause, PauseScope};
use taskd_core::record::Record;
use taskd_core::task::{TaskId, When};
use taskd_store::{CHANGES_MAX, ChangeKind, LIVES_MAX, Lifetime, Options};

use crate::model::ME;
use crate::scene::{added, at, commit, load, open, varied};

fn changed(id: u64, ms: i64, definition: taskd_core::task::Definition) -> Record {
    Record::TaskChanged {
        id: TaskId(id),
        at: at(ms),
        definition: definition.into(),
        mark: None,
        by: ME.to_owned(),
    }
}

#[test]
fn every_change_says_who_and_what_was_before() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).store;
    let (writer, reader) = (store.writer(), store.reader().unwrap());
    commit(&writer, vec![added(1, "a", 1_000), added(2, "b", 1_000)]).unwrap();
    let before = reader.definition(TaskId(1)).unwrap().unwrap().definition;
    let mut note = before.clone();
    note.description = Some("other".to_owned());
    let mut manual = note.clone();
    manual.when = When::Manual;
    manual.enabled = !note.enabled;
    assert_ne!(before.when, When::Manual);
    let pause = Pause {
        since: at(4_000),
        until: Some(at(9_000)),
        by: ME.to_owned(),
        note: Some("why".to_owned()),
    };
    let switched = |id, enabled| Record::TaskSwitched {
        id: TaskId(id),
        at: at(5_000),
        enabled,
        mark: None,
        by: ME.to_owned(),
    };
    let records = vec![
        changed(1, 2_000, note),
        changed(1, 3_000, manual.clone()),
        Record::Paused {
            scope: PauseScope::All,
            at: at(4_000),
            pause,
        },
        switched(1, !manual.enabled),
        switched(2, false),
    ];
    commit(&writer, records).unwrap();
    let told = reader.changes(TaskId(1)).unwrap();
    let kinds: Vec<_> = told
        .iter()
        .rev()
        .map(|change| (change.at.as_millis(), change.kind))
        .collect();
    let (on, off) = (ChangeKind::Enabled, ChangeKind::Disabled);
    let (second, third) = if manual.enabled { (on, off) } else { (off, on) };
    assert_eq!(
        kinds,
        [
            (2_000, ChangeKind::Changed),
            (3_000, second),
            (3_000, ChangeKind::Rescheduled),
            (4_000, ChangeKind::Paused),
            (5_000, third),
        ]
    );
    assert!(told.iter().all(|change| change.by == ME));
    assert_eq!(told[2].schedule, Some(before.when), "what it was until then");
    assert_eq!((told[1].scope, told[1].until), (PauseScope::All, Some(at(9_000))));
    assert_eq!(told[1].note.as_deref(), Some("why"));
}

#[test]
fn the_changes_of_one_task_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).store;
    let writer = store.writer();
    commit(&writer, vec![added(1, "a", 1_000), added(2, "b", 1_000)]).unwrap();
    commit(&writer, vec![changed(2, 1_500, varied("b", 5))]).unwrap();
    let more = i64::from(CHANGES_MAX) + 10;
    let changes = (0..more).map(|n| changed(1, 2_000 + n, varied("a", 1))).collect();
    commit(&writer, changes).unwrap();
    let reader = store.reader().unwrap();
    let told = reader.changes(TaskId(1)).unwrap();
    assert_eq!(told.len(), CHANGES_MAX as usize);
    assert_eq!(told[0].at, at(2_000 + more - 1), "the newest are kept");
    assert_eq!(reader.changes(TaskId(2)).unwrap().len(), 1);
}

#[test]
fn a_life_that_was_killed_ended_with_the_last_that_is_known_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).store;
    let writer = store.writer();
    commit(&writer, vec![Record::LifeBegan { at: at(1_000) }]).unwrap();
    commit(&writer, vec![added(1, "a", 2_000)]).unwrap();
    commit(&writer, vec![Record::LifeBegan { at: at(5_000) }]).unwrap();
    commit(&writer, vec![Record::LifeEnded { at: at(6_000) }]).unwrap();
    commit(&writer, vec![Record::LifeBegan { at: at(9_000) }]).unwrap();
    let life = |began, ended: Option<i64>| Lifetime {
        began: at(began),
        ended: ended.map(at),
    };
    let told = store.reader().unwrap().lives().unwrap();
    assert_eq!(
        told,
        [life(9_000, None), life(5_000, Some(6_000)), life(1_000, Some(2_000))]
    );
    let more = (0..i64::from(LIVES_MAX) + 5).map(|n| Record::LifeBegan { at: at(10_000 + n) });
    commit(&writer, more.collect()).unwrap();
    assert_eq!(store.reader().unwrap().lives().unwrap().len(), LIVES_MAX as usize);
}

#[test]
fn a_pause_that_was_not_written_so_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).store;
    let pause = Pause {
        since: at(1_000),
        until: None,
        by: ME.to_owned(),
        note: None,
    };
    let scope = PauseScope::All;
    commit(
        &store.writer(),
        vec![Record::Paused {
            scope,
            at: at(1_000),
            pause,
        }],
    )
    .unwrap();
    store.close().unwrap();
    let db = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
    db.execute_batch("UPDATE pauses SET until = 5000").unwrap();
    drop(db);
    let error = load(Options::new(dir.path())).unwrap_err().to_string();
    assert!(error.contains("pause"), "{error}");
}
