//! A store written by each released version opens, with all that was in it.

use std::fs;
use std::num::NonZeroU32;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use taskd_core::dependency::{Cause, EndKind};
use taskd_core::pause::{Pause, PauseScope};
use taskd_core::policy::History;
use taskd_core::policy::{Holding, Pool};
use taskd_core::record::Record;
use taskd_core::run::{AttemptKey, Outcome, Passing, RunKey, TraceId, Trigger};
use taskd_core::task::{Definition, Owner, TaskId, When};
use taskd_core::time::Boot;
use taskd_store::{Options, RunQuery};

use crate::model::{ME, Model};
use crate::scene::{
    added_for, after, at, calendar, closed, commit, created, created_with, gated, load, name, never_ran, open,
    overrides, requiring, run_started, sharing, sharing_task, varied, whole_run, with_options, with_terms,
};

fn golden(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/v{version}.db"))
}

/// The newest version.
const NEWEST: u32 = 11;

/// What the golden file of a version was made of.
fn records(version: u32) -> Vec<Record> {
    let mut records: Vec<Record> = (1..=8)
        .map(|id| {
            added_for(
                u64::from(id),
                id % 2,
                1_000 * i64::from(id),
                varied(&format!("task-{id}"), id),
            )
        })
        .collect();
    records.extend(whole_run(1, 1, 10_000, Outcome::Succeeded, 40));
    records.extend(whole_run(1, 2, 20_000, Outcome::Failed, 0));
    records.extend([created(2, 1, 30_000), created(3, 1, 31_000), run_started(3, 1, 31_002)]);
    records.push(Record::Passed {
        task: TaskId(3),
        first: at(40_000),
        last: at(42_000),
        count: 3,
        passing: Passing::Skipped,
        reason: "run task-3/1 is still running".to_owned(),
    });
    records.push(Record::TaskRemoved {
        id: TaskId(8),
        at: at(50_000),
    });
    records.push(Record::Horizon {
        until: at(60_000),
        boot: None,
    });
    records.push(Record::RunnerAttached { instance: u64::MAX - 5 });
    if version >= 3 {
        records.push(added_for(9, 0, 65_000, with_options("task-9")));
    }
    if version >= 4 {
        records.extend(told_of_people());
    }
    if version >= 5 {
        records.extend(retried());
    }
    if version >= 6 {
        records.extend(shared());
    }
    if version >= 8 {
        records.push(added_for(14, 0, 76_000, with_own_history()));
    }
    if version >= 9 {
        records.extend(depending());
        records.push(created_with(13, 1, 76_000, overrides(5)));
        records.extend([
            added_for(17, 0, 76_900, gated("task-17")),
            created(17, 1, 77_000),
            closed(RunKey { task: TaskId(17), n: 1 }, 77_100, 7),
        ]);
    }
    if version >= 10 {
        records.push(added_for(18, 1, 78_000, requiring("task-18", 5)));
        records.extend(whole_run(18, 1, 78_100, Outcome::Succeeded, 0));
        records.extend(never_ran(18, 2, 78_200, Outcome::Skipped));
        records.extend(never_ran(18, 3, 78_300, Outcome::Cancelled));
    }
    if version >= 11 {
        records.push(Record::Horizon {
            until: at(79_000),
            boot: Some(Boot {
                id: u128::MAX - 11,
                at: at(-5_000),
            }),
        });
        records.push(Record::NumbersLost {
            task: TaskId(18),
            last: 8,
        });
    }
    records
}

/// Tasks that come after others: what they keep and are owed, and a run of one.
fn depending() -> Vec<Record> {
    let end = |n| RunKey { task: TaskId(1), n };
    let cause = |n| Cause {
        run: end(n),
        name: name("task-1"),
    };
    let owed = |n| Record::Owed {
        task: TaskId(15),
        cause: cause(n),
        trace_id: TraceId(u128::MAX - u128::from(n)),
    };
    vec![
        added_for(15, 1, 76_000, after("task-15", 1)),
        added_for(16, 1, 76_000, after("task-16", 6)),
        owed(1),
        owed(2),
        Record::RunCreated {
            run: RunKey { task: TaskId(15), n: 1 },
            trigger: Trigger::Dependency,
            fire_time: None,
            at: at(76_100),
            trace_id: TraceId(u128::MAX - 1),
            waiting: true,
            cause: Some(cause(1)),
            overrides: None,
        },
        Record::RunMuted {
            run: RunKey { task: TaskId(15), n: 1 },
        },
        Record::Latched {
            task: TaskId(16),
            end: end(2),
            on: EndKind::Finished,
        },
    ]
}

/// Groups and locks, and a run that keeps what it took.
fn shared() -> Vec<Record> {
    let set = |pool, limit| Record::PoolSet {
        owner: Owner(1),
        pool,
        limit: NonZeroU32::new(limit),
        at: at(75_100),
        by: ME.to_owned(),
    };
    vec![
        added_for(13, 1, 75_000, sharing_task("task-13", 5)),
        set(Pool::Group(name("db")), 2),
        set(Pool::Lock(name("lock-0")), 3),
        set(Pool::Lock(name("gone")), 9),
        set(Pool::Lock(name("gone")), 0),
        Record::RunKeeps {
            run: RunKey { task: TaskId(3), n: 1 },
            holding: Holding {
                owner: Owner(1),
                sharing: sharing(4),
            },
        },
    ]
}

/// A task that says how much is kept of its history.
fn with_own_history() -> Definition {
    let mut task = varied("task-14", 14);
    task.history = History {
        runs: NonZeroU64::new(7),
        for_ms: NonZeroU64::new(86_400_000),
    };
    task
}

/// Runs with more than one attempt: one that waits for its third, and one that has ended with its second.
fn retried() -> Vec<Record> {
    let ended = |n, attempt, ms| Record::AttemptEnded {
        attempt: AttemptKey {
            run: RunKey { task: TaskId(2), n },
            attempt,
        },
        at: at(ms),
        outcome: Outcome::Failed,
        reason: Some("exit code 3".to_owned()),
        end: None,
        retry_at: at(ms + 1_000),
    };
    let due = |n, ms| Record::RetryDue {
        run: RunKey { task: TaskId(2), n },
        at: at(ms),
    };
    let admitted = |n, ms| Record::RunAdmitted {
        run: RunKey { task: TaskId(2), n },
        at: at(ms),
    };
    let started = |n, attempt, ms| Record::AttemptStarted {
        attempt: AttemptKey {
            run: RunKey { task: TaskId(2), n },
            attempt,
        },
        pid: 7,
        at: at(ms),
    };
    let run = |n, ms| {
        vec![
            created(2, n, ms),
            started(n, 1, ms + 1),
            ended(n, 1, ms + 2),
            due(n, ms + 1_002),
        ]
    };
    let mut records = run(2, 70_000);
    records.extend([admitted(2, 71_003), started(2, 2, 71_004), ended(2, 2, 71_005)]);
    records.extend(run(3, 72_000));
    records.extend([admitted(3, 73_003), started(3, 2, 73_004)]);
    records.push(Record::RunFinished {
        run: RunKey { task: TaskId(2), n: 3 },
        at: at(73_005),
        outcome: Outcome::Succeeded,
        reason: None,
        end: None,
    });
    records
}

/// What the ledger tells of people and of the daemon.
fn told_of_people() -> Vec<Record> {
    let pause = |until| Pause {
        since: at(66_000),
        until,
        by: ME.to_owned(),
        note: Some("moving house".to_owned()),
    };
    let mut changed = varied("task-7", 7);
    changed.when = When::Manual;
    vec![
        Record::LifeBegan { at: at(65_500) },
        Record::Paused {
            scope: PauseScope::All,
            at: at(66_000),
            pause: pause(Some(at(90_000))),
        },
        Record::Paused {
            scope: PauseScope::Task(TaskId(1)),
            at: at(66_000),
            pause: pause(None),
        },
        Record::Resumed {
            scope: PauseScope::All,
            at: at(67_000),
            by: ME.to_owned(),
        },
        Record::TaskSwitched {
            id: TaskId(2),
            at: at(68_000),
            enabled: true,
            mark: Some(at(68_000)),
            by: ME.to_owned(),
        },
        Record::TaskChanged {
            id: TaskId(7),
            at: at(69_000),
            definition: Arc::new(changed),
            mark: Some(at(69_000)),
            by: ME.to_owned(),
        },
        Record::LifeEnded { at: at(69_500) },
        added_for(11, 0, 69_600, with_terms("task-11")),
        added_for(12, 0, 69_700, {
            let mut boot = varied("task-12", 5);
            boot.when = When::Boot;
            boot
        }),
        Record::Fired {
            task: TaskId(11),
            count: 2,
        },
        Record::Booted { boot: u128::MAX - 9 },
        Record::CalendarSet {
            name: name("calendar-1"),
            calendar: Arc::new(calendar(5)),
            at: at(69_800),
            by: ME.to_owned(),
        },
    ]
}

#[test]
fn every_version_opens() {
    (1..=NEWEST).for_each(opens);
}

fn opens(version: u32) {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(golden(version), dir.path().join("store.db")).unwrap();
    let (store, snapshot) = load(Options::new(dir.path())).unwrap();
    assert_eq!(snapshot, Model::replay(&records(version)).snapshot());
    let reader = store.reader().unwrap();
    assert_eq!(reader.check().unwrap(), Vec::<String>::new());
    for id in 1..=8_u32 {
        let task = reader.definition(TaskId(u64::from(id))).unwrap().unwrap();
        let mut written = varied(&format!("task-{id}"), id);
        if version >= 4 && id == 2 {
            written.enabled = true;
        }
        if version >= 4 && id == 7 {
            written.when = When::Manual;
        }
        assert_eq!(task.definition, written);
    }
    let runs = reader.runs(&RunQuery::default(), None, 20).unwrap().0;
    let more = match version {
        10.. => 6,
        9 => 3,
        _ => 0,
    };
    assert_eq!(runs.len(), if version >= 5 { 6 + more } else { 4 });
    if version >= 9 {
        let task = reader.definition(TaskId(17)).unwrap().unwrap();
        assert_eq!(task.definition, gated("task-17"));
        let causes: Vec<String> = runs
            .iter()
            .filter_map(|run| Some(run.cause.as_ref()?.to_string()))
            .collect();
        assert_eq!(causes, ["task-1/1"]);
    }
    if version >= 10 {
        let task = reader.definition(TaskId(18)).unwrap().unwrap();
        assert_eq!(task.definition, requiring("task-18", 5));
        let last = snapshot.tasks.last().and_then(|task| task.last_end);
        assert_eq!(
            last.map(|last| last.outcome),
            Some(Outcome::Succeeded),
            "the others never ran"
        );
    }
    if version >= 5 {
        let told = |n: usize| {
            (
                runs[more + n].state.word(),
                runs[more + n].attempt,
                runs[more + n].started_at,
                runs[more + n].retry_at,
            )
        };
        assert_eq!(told(0), ("finished", 2, Some(at(72_001)), None));
        assert_eq!(told(1), ("backing-off", 2, Some(at(70_001)), Some(at(72_005))));
    }
    if version >= 8 {
        let task = reader.definition(TaskId(14)).unwrap().unwrap();
        assert_eq!(task.definition, with_own_history());
    }
    assert_eq!(reader.passed(TaskId(3), 10).unwrap().len(), 1);
    assert_eq!(
        reader.resolve_removed(Owner(0), &name("task-8")).unwrap(),
        Some(TaskId(8))
    );
    // It is written to as any other.
    commit(&store.writer(), vec![added_for(20, 0, 70_000, with_options("task-20"))]).unwrap();
}

/// Released tables never change in place: a change is a migration, and a golden file more.
#[test]
fn a_new_store_has_the_tables_of_the_newest_version() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).store.close().unwrap();
    // A copy, since opening may write beside the file.
    let old = dir.path().join("old.db");
    fs::copy(golden(NEWEST), &old).unwrap();
    let tables = |file: &Path| -> Vec<String> {
        let db = rusqlite::Connection::open(file).unwrap();
        let mut statement = db
            .prepare("SELECT coalesce(sql, name) FROM sqlite_schema ORDER BY name")
            .unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    assert_eq!(tables(&dir.path().join("store.db")), tables(&old));
}

#[test]
#[ignore = "writes the golden file; to be run once for each version of the schema, before it is released"]
fn write_the_newest_version() {
    if std::env::var_os("TASKD_STORE_WRITE_GOLDEN").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).store;
    commit(&store.writer(), records(NEWEST)).unwrap();
    store.close().unwrap();
    fs::copy(dir.path().join("store.db"), golden(NEWEST)).unwrap();
}
