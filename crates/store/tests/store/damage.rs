//! A store cut at any byte, or with any bit turned, opens as it once was or is refused with the file and a reason.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;

use taskd_core::record::Record;
use taskd_core::run::{Outcome, Passing};
use taskd_core::snapshot::Snapshot;
use taskd_core::task::{Definition, TaskId};
use taskd_store::{Kind, OpenError, Options, RunQuery};
use tempfile::TempDir;

use crate::model::Model;
use crate::scene::{added_for, at, commit, created, finished, load, open, varied, whole_run};

/// A small generator; the same places are damaged each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn batches() -> Vec<Vec<Record>> {
    let mut batches = Vec::new();
    for id in 1..=60_u64 {
        let now = 1_000 * i64::try_from(id).unwrap();
        let small = u32::try_from(id).unwrap();
        let mut batch = vec![added_for(id, small % 2, now, varied(&format!("task-{id}"), small * 11))];
        match id % 4 {
            0 => batch.extend(whole_run(id, 1, now, Outcome::Failed, 100)),
            1 => batch.push(created(id, 1, now)),
            2 => batch.push(Record::Passed {
                task: TaskId(id),
                first: at(now),
                last: at(now + 5),
                count: 3,
                passing: Passing::Missed,
                reason: "the machine was asleep".to_owned(),
            }),
            _ => batch.push(Record::Horizon {
                until: at(now),
                boot: None,
            }),
        }
        batches.push(batch);
        if id % 8 == 1 {
            batches.push(vec![finished(id, 1, now + 9, Outcome::Succeeded, 50)]);
        }
    }
    batches
}

/// A store as a crash leaves it: the first half in the database, the second in the log.
struct Left {
    dir: TempDir,
    states: Vec<Snapshot>,
}

impl Left {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let batches = batches();
        let live = dir.path().join("live");
        let (early, late) = batches.split_at(batches.len() / 2);
        for (part, close) in [(early, true), (late, false)] {
            let store = open(&live).store;
            let writer = store.writer();
            for batch in part {
                commit(&writer, batch.clone()).unwrap();
            }
            if close {
                store.close().unwrap();
                continue;
            }
            // By another process: closing a file here would take SQLite's locks away.
            for name in ["store.db", "store.db-wal", "store.exists"] {
                let copied = Command::new("cp")
                    .arg(live.join(name))
                    .arg(dir.path())
                    .status()
                    .unwrap();
                assert!(copied.success());
            }
        }
        let states = (batches.len() / 2..=batches.len())
            .map(|count| Model::replay(batches[..count].iter().flatten()).snapshot())
            .collect();
        Left { dir, states }
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.dir.path().join(name)).unwrap()
    }
}

/// A directory with these contents, and what loading it gives.
fn load_of(database: &[u8], log: Option<&[u8]>) -> (TempDir, Result<Snapshot, OpenError>) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("store.db"), database).unwrap();
    fs::write(dir.path().join("store.exists"), "").unwrap();
    if let Some(log) = log {
        fs::write(dir.path().join("store.db-wal"), log).unwrap();
    }
    let loaded = load(Options::new(dir.path())).map(|(_, snapshot)| snapshot);
    (dir, loaded)
}

/// The refusal names the file and says how to go on.
fn assert_refused(error: &OpenError, dir: &Path, what: &str) {
    let text = error.to_string();
    let file: PathBuf = dir.join("store.db");
    assert!(text.contains(&*file.to_string_lossy()), "{what}: {text}");
    assert!(
        !matches!(error, OpenError::Locked { .. } | OpenError::Io { .. }),
        "{what}: {text}"
    );
    if matches!(error, OpenError::Corrupt { .. } | OpenError::Missing { .. }) {
        assert!(text.contains("To restore"), "{what}: {text}");
    }
}

#[test]
fn a_log_cut_at_any_byte_gives_a_state_that_was() {
    let left = Left::new();
    let (database, log) = (left.bytes("store.db"), left.bytes("store.db-wal"));
    let length = log.len();
    let mut random = Random(7);
    let mut cuts: Vec<usize> = vec![0, 1, 31, 32, 33, length - 1, length];
    for frame in 0..(length - 32) / 4120 {
        cuts.push(32 + frame * 4120);
        cuts.push(32 + frame * 4120 + usize::try_from(1 + random.below(4118)).unwrap());
    }
    cuts.sort_unstable();
    let mut reached = 0;
    for cut in cuts {
        let (_dir, loaded) = load_of(&database, Some(&log[..cut]));
        let loaded = loaded.unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        let state = left.states[reached..].iter().position(|state| *state == loaded);
        reached += state.unwrap_or_else(|| panic!("cut at {cut}: no state that was, after state {reached}"));
    }
    assert_eq!(reached, left.states.len() - 1, "the whole log gives the last state");
}

#[test]
fn a_log_with_a_turned_bit_gives_a_state_that_was() {
    let left = Left::new();
    let (database, log) = (left.bytes("store.db"), left.bytes("store.db-wal"));
    let mut random = Random(11);
    for _ in 0..150 {
        let mut log = log.clone();
        let bit = random.below(log.len() as u64 * 8);
        log[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
        let (dir, loaded) = load_of(&database, Some(&log));
        match loaded {
            Ok(loaded) => assert!(left.states.contains(&loaded), "bit {bit}"),
            Err(error) => assert_refused(&error, dir.path(), &format!("bit {bit}")),
        }
    }
}

#[test]
fn a_database_cut_at_any_byte_is_refused_or_whole() {
    let left = Left::new();
    let (database, log) = (left.bytes("store.db"), left.bytes("store.db-wal"));
    let mut random = Random(13);
    let mut cuts: Vec<usize> = vec![0, 1, 15, 16, 99, 100, 101, 4095, database.len() - 1];
    for page in 1..database.len() / 4096 {
        cuts.push(page * 4096);
        cuts.push(page * 4096 + usize::try_from(random.below(4095)).unwrap());
    }
    for cut in cuts {
        let (dir, loaded) = load_of(&database[..cut], None);
        let error = loaded.expect_err("a part is not the whole");
        assert_refused(&error, dir.path(), &format!("cut at {cut}, no log"));
        assert_eq!(
            fs::read(dir.path().join("store.db")).unwrap(),
            database[..cut],
            "it is left as it is"
        );

        let (dir, loaded) = load_of(&database[..cut], Some(&log));
        match loaded {
            Ok(loaded) => assert_eq!(Some(&loaded), left.states.last(), "cut at {cut}"),
            Err(error) => assert_refused(&error, dir.path(), &format!("cut at {cut}")),
        }
    }
}

#[test]
fn a_database_with_a_turned_bit_tells_it_and_never_gives_another_definition() {
    let left = Left::new();
    let database = left.bytes("store.db");
    let (dir, first) = load_of(&database, None);
    let first = first.unwrap();
    assert_eq!(first, left.states[0]);
    let ids: Vec<TaskId> = first.tasks.iter().map(|task| task.id).collect();
    let definitions: Vec<Definition> = {
        let (store, _) = load(Options::new(dir.path())).unwrap();
        let found = store.reader().unwrap().definitions(&ids).unwrap();
        found.into_iter().map(|(_, task)| task.definition).collect()
    };
    let outline = |snapshot: &Snapshot| -> Vec<_> {
        let tasks = snapshot.tasks.iter();
        tasks.map(|task| (task.id, task.owner, task.outline.clone())).collect()
    };

    let mut random = Random(17);
    let (mut refused, mut found_later) = (0, 0);
    for _ in 0..600 {
        let mut database = database.clone();
        let bit = random.below(database.len() as u64 * 8);
        database[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
        let tried = catch_unwind(AssertUnwindSafe(|| {
            let (dir, loaded) = load_of(&database, None);
            match loaded {
                Err(error) => {
                    assert_refused(&error, dir.path(), &format!("bit {bit}"));
                    refused += 1;
                    return;
                }
                Ok(loaded) => assert_eq!(outline(&loaded), outline(&first), "bit {bit}"),
            }
            let (store, _) = load(Options::new(dir.path())).unwrap();
            let reader = store.reader().unwrap();
            for (id, definition) in ids.iter().zip(&definitions) {
                match reader.definition(*id) {
                    Ok(task) => assert_eq!(&task.unwrap().definition, definition, "bit {bit}"),
                    Err(error) => {
                        assert_eq!(error.kind, Kind::Corrupt, "bit {bit}: {error}");
                        assert!(error.text.contains("store.db"), "bit {bit}: {error}");
                        found_later += 1;
                    }
                }
                // Numbers of history have no sum; reading them must not be more than wrong.
                let _ = reader.passed(*id, 10);
            }
            let _ = reader.runs(&RunQuery::default(), None, 100);
            let _ = reader.last_finished(&ids);
        }));
        assert!(tried.is_ok(), "bit {bit} of {}", database.len() * 8);
    }
    assert!(
        refused > 30 && found_later > 0,
        "{refused} refused, {found_later} found later"
    );
}

#[test]
fn a_last_task_below_one_that_is_there_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).store;
    commit(&store.writer(), vec![added_for(5, 0, 1, varied("a", 1))]).unwrap();
    store.close().unwrap();
    for (last, whole) in [(4_i64, false), (5, true), (9, true)] {
        let db = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
        db.execute("UPDATE meta SET last_task = ?1", [last]).unwrap();
        drop(db);
        match load(Options::new(dir.path())) {
            Ok((_, snapshot)) => assert!(whole && snapshot.rest.header.last_task == last.cast_unsigned()),
            Err(error) => {
                assert!(!whole, "{error}");
                assert_refused(&error, dir.path(), "last task");
            }
        }
    }
}

#[test]
fn tables_that_are_not_those_we_made_are_damage() {
    let left = Left::new();
    let (dir, loaded) = load_of(&left.bytes("store.db"), None);
    loaded.unwrap();
    let db = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
    db.execute_batch("PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'kind ', 'kinn ')")
        .unwrap();
    drop(db);
    let error = load(Options::new(dir.path())).unwrap_err();
    assert_refused(&error, dir.path(), "the name of a column");
}
