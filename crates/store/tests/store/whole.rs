//! What records come to does not depend on which of them are written together.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use rusqlite::Connection;
use rusqlite::types::Value;
use taskd_core::dependency::Cause;
use taskd_core::record::Record;
use taskd_core::run::{AttemptKey, Outcome, TraceId, Trigger};
use taskd_store::Limits;

use crate::model::{batches, steps};
use crate::scene::{
    added, at, closed, commit, created, finished, key, name, never_ran, open, overrides, run_started, whole_run,
};

/// All that is in the tables, but for how many transactions it took.
fn rows(dir: &Path) -> Vec<String> {
    let db = Connection::open(dir.join("store.db")).unwrap();
    db.execute_batch("UPDATE meta SET commits = 0").unwrap();
    let mut tables = db
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name")
        .unwrap();
    let tables: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().flatten().collect();
    assert!(tables.contains(&"runs".to_owned()) && tables.contains(&"marks".to_owned()));
    let mut all = Vec::new();
    for table in tables {
        let mut statement = db.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2")).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values: Vec<Value> = (0..columns).map(|column| row.get(column).unwrap()).collect();
            all.push(format!("{table}: {values:?}"));
        }
    }
    all
}

/// What a store has in the end that is given these batches.
fn written<'a>(batches: impl IntoIterator<Item = &'a [Record]>) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).store;
    // What is removed depends on when that is looked for.
    store.writer().set_limits(Limits {
        output_bytes: u64::MAX,
        ..Limits::default()
    });
    for batch in batches {
        commit(&store.writer(), batch.to_vec()).unwrap();
    }
    assert_eq!(store.reader().unwrap().check().unwrap(), Vec::<String>::new());
    store.close().unwrap();
    rows(dir.path())
}

fn followed(task: u64, n: u64, ms: i64) -> Record {
    let cause = Cause {
        run: key(1, 1),
        name: name("a"),
    };
    Record::RunCreated {
        run: key(task, n),
        trigger: Trigger::Dependency,
        fire_time: None,
        at: at(ms),
        trace_id: TraceId(5),
        waiting: true,
        cause: Some(cause),
        overrides: Some(Arc::new(overrides(4))),
    }
}

#[test]
fn a_run_comes_to_the_same_row_whether_it_is_written_at_once_or_piece_by_piece() {
    let owed = Record::Owed {
        task: key(2, 1).task,
        cause: Cause {
            run: key(1, 1),
            name: name("a"),
        },
        trace_id: TraceId(5),
    };
    let retry = Record::AttemptEnded {
        attempt: AttemptKey {
            run: key(1, 4),
            attempt: 1,
        },
        at: at(45),
        outcome: Outcome::Failed,
        reason: None,
        end: None,
        retry_at: at(50),
    };
    let made_up_for = match created(3, 2, 40) {
        Record::RunCreated {
            run,
            trigger: _,
            fire_time: _,
            at: now,
            trace_id,
            waiting,
            cause,
            overrides,
        } => Record::RunCreated {
            run,
            trigger: Trigger::Backfill,
            fire_time: Some(at(1)),
            at: now,
            trace_id,
            waiting,
            cause,
            overrides,
        },
        other => other,
    };
    let together: Vec<Vec<Record>> = vec![
        // It ran, was not recorded to have started, never did.
        whole_run(1, 1, 10, Outcome::Succeeded, 100),
        vec![created(1, 1, 10), finished(1, 1, 12, Outcome::Failed, 0)],
        never_ran(1, 1, 10, Outcome::Skipped).to_vec(),
        never_ran(1, 1, 10, Outcome::Unknown).to_vec(),
        vec![
            created(1, 1, 10),
            run_started(1, 1, 11),
            never_ran(1, 1, 11, Outcome::Unknown)[1].clone(),
        ],
        // After another, and with something of its own.
        vec![owed, followed(2, 1, 30), finished(2, 1, 33, Outcome::Failed, 5)],
        // What was dealt with stays so.
        vec![
            created(3, 1, 20),
            finished(3, 1, 21, Outcome::Succeeded, 5),
            made_up_for,
            finished(3, 2, 41, Outcome::Failed, 1),
        ],
        // The end of the first is the last, and that of the other was told twice.
        vec![
            created(1, 1, 10),
            created(1, 2, 11),
            created(2, 1, 11),
            finished(1, 2, 20, Outcome::Failed, 9),
            finished(1, 1, 21, Outcome::Succeeded, 9),
            finished(1, 2, 22, Outcome::Failed, 9),
            finished(2, 1, 23, Outcome::Failed, 9),
        ],
        vec![
            created(1, 1, 10),
            finished(1, 1, 12, Outcome::Failed, 4),
            finished(1, 1, 13, Outcome::Succeeded, 8),
        ],
        // It was created before.
        vec![run_started(3, 7, 11), finished(3, 7, 12, Outcome::Failed, 4)],
        vec![
            run_started(3, 7, 11),
            run_started(3, 7, 12),
            finished(3, 7, 22, Outcome::Failed, 4),
            run_started(3, 7, 30),
            finished(3, 7, 31, Outcome::Succeeded, 5),
        ],
        vec![
            run_started(3, 7, 11),
            created(3, 8, 12),
            finished(3, 7, 22, Outcome::Failed, 4),
            run_started(3, 7, 30),
            finished(3, 8, 31, Outcome::Succeeded, 5),
        ],
        vec![
            created(3, 8, 12),
            run_started(3, 7, 13),
            finished(3, 7, 22, Outcome::Failed, 4),
        ],
        vec![
            created(1, 1, 10),
            run_started(1, 1, 11),
            run_started(1, 1, 12),
            finished(1, 1, 22, Outcome::Failed, 4),
        ],
        // It is no first attempt.
        vec![
            created(1, 1, 10),
            Record::AttemptStarted {
                attempt: AttemptKey {
                    run: key(1, 1),
                    attempt: 2,
                },
                pid: 8,
                at: at(11),
            },
            finished(1, 1, 20, Outcome::Failed, 9),
        ],
        // Something else comes between.
        vec![created(1, 4, 40), retry, finished(1, 4, 51, Outcome::Succeeded, 3)],
        vec![
            created(1, 1, 10),
            closed(key(1, 1), 11, 3),
            never_ran(1, 1, 20, Outcome::Skipped)[1].clone(),
        ],
        vec![
            created(1, 1, 10),
            Record::RunMuted { run: key(1, 1) },
            finished(1, 1, 20, Outcome::Cancelled, 2),
        ],
        vec![
            created(1, 1, 10),
            Record::MarkReset {
                task: key(1, 1).task,
                mark: at(3),
            },
            run_started(1, 1, 12),
            finished(1, 1, 20, Outcome::Succeeded, 2),
        ],
        vec![
            created(1, 1, 10),
            Record::TaskRemoved {
                id: key(1, 1).task,
                at: at(11),
            },
            finished(1, 1, 20, Outcome::Succeeded, 2),
        ],
    ];
    for records in together {
        let tasks = [added(1, "a", 1), added(2, "b", 2), added(3, "c", 3), created(3, 7, 4)];
        // A run of the key of another, and one that is there already.
        let before = [
            vec![],
            whole_run(1, 1, 5, Outcome::Failed, 40),
            vec![match created(1, 1, 5) {
                Record::RunCreated {
                    run,
                    trigger,
                    fire_time,
                    at,
                    trace_id: _,
                    waiting,
                    cause,
                    overrides,
                } => Record::RunCreated {
                    run,
                    trigger,
                    fire_time,
                    at,
                    trace_id: TraceId(77),
                    waiting,
                    cause,
                    overrides,
                },
                other => other,
            }],
        ];
        for before in before {
            let first = [&tasks[..], &before].concat();
            let alone: Vec<&[Record]> = records.chunks(1).collect();
            let piece_by_piece = written(std::iter::once(&first[..]).chain(alone));
            assert_eq!(
                written([&first[..], &records]),
                piece_by_piece,
                "{before:?} {records:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn many_batches_come_to_the_same_as_one(steps in steps(200)) {
        let mut batches = batches(&steps);
        // A life that begins ends one before it with the transaction before its own: there is no other at the start.
        for batch in &mut batches {
            batch.retain(|record| !matches!(record, Record::LifeBegan { .. } | Record::LifeEnded { .. }));
        }
        let all: Vec<Record> = batches.iter().flatten().cloned().collect();
        let parts = written(batches.iter().map(Vec::as_slice));
        let whole = if all.is_empty() { written([]) } else { written([all.as_slice()]) };
        prop_assert_eq!(whole, parts);
    }
}
