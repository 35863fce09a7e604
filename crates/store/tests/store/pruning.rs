//! History and output stay within their limits, at the edge too, and only so.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use taskd_core::policy::{History, RETRIES_MAX};
use taskd_core::record::Record;
use taskd_core::run::{Outcome, Passing};
use taskd_core::task::TaskId;
use taskd_store::{Limits, Options, Reader, RunQuery, Select, Store};
use tempfile::TempDir;

use crate::scene::{added, added_for, at, commit, created, definition, key, open, wait_until, whole_run};

const DAY: i64 = 24 * 60 * 60 * 1000;

fn limits() -> Limits {
    Limits {
        history_runs: 5,
        history_age: Duration::from_secs(90 * 24 * 60 * 60),
        output_bytes: 1_000,
    }
}

/// A store with small limits, and the numbers of runs whose output it had removed.
fn scene() -> (TempDir, Store, Receiver<u64>) {
    let dir = tempfile::tempdir().unwrap();
    let (sender, removed) = channel();
    let mut options = Options::new(dir.path());
    options.limits = limits();
    options.remove_output = Some(Box::new(move |attempts| {
        for attempt in attempts {
            // A test that has seen enough does not listen any more.
            let _ = sender.send(attempt.run.n);
        }
    }));
    let store = Store::open(options).unwrap().store;
    commit(&store.writer(), vec![added(1, "a", 1), added(2, "b", 1)]).unwrap();
    (dir, store, removed)
}

fn numbers(reader: &Reader, task: u64) -> Vec<u64> {
    let query = RunQuery {
        select: Select::Tasks(vec![TaskId(task)]),
        ..RunQuery::default()
    };
    let (page, _) = reader.runs(&query, None, 10_000).unwrap();
    page.iter().rev().map(|run| run.key.n).collect()
}

/// Bytes of output that are kept.
fn kept(dir: &TempDir) -> i64 {
    let db = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
    db.query_row("SELECT output_bytes FROM meta", [], |row| row.get(0))
        .unwrap()
}

#[test]
fn the_defaults_are_those_of_the_manual() {
    let limits = Limits::default();
    assert_eq!(limits.history_runs, 1_000);
    assert_eq!(limits.history_age, Duration::from_secs(90 * 86_400));
    assert_eq!(limits.output_bytes, 2 << 30);
}

#[test]
fn a_task_keeps_its_newest_runs() {
    let (_dir, store, removed) = scene();
    let writer = store.writer();
    let reader = store.reader().unwrap();
    for n in 1..=5 {
        commit(
            &writer,
            whole_run(1, n, 1_000 + i64::try_from(n).unwrap(), Outcome::Succeeded, 1),
        )
        .unwrap();
    }
    commit(&writer, whole_run(2, 1, 2_000, Outcome::Succeeded, 1)).unwrap();
    // The pruner has looked at the sixth by the time a seventh is pruned.
    commit(&writer, whole_run(1, 6, 2_001, Outcome::Succeeded, 1)).unwrap();
    wait_until("the oldest goes", || numbers(&reader, 1).len() == 5);
    assert_eq!(numbers(&reader, 1), [2, 3, 4, 5, 6]);
    assert_eq!(numbers(&reader, 2), [1]);
    assert_eq!(removed.iter().next(), Some(1));
    store.close().unwrap();
    assert_eq!(removed.iter().collect::<Vec<_>>(), Vec::<u64>::new());
}

#[test]
fn many_runs_go_in_small_pieces_and_what_has_not_ended_stays() {
    let (_dir, store, removed) = scene();
    let writer = store.writer();
    let mut records = vec![created(1, 1, 900)];
    for n in 2..=1_000 {
        records.extend(whole_run(1, n, 1_000, Outcome::Failed, 0));
    }
    commit(&writer, records).unwrap();
    let reader = store.reader().unwrap();
    wait_until("all but the newest go", || numbers(&reader, 1).len() == 6);
    assert_eq!(numbers(&reader, 1), [1, 996, 997, 998, 999, 1_000]);
    assert_eq!(reader.run(key(1, 1)).unwrap().unwrap().finished_at, None);
    store.close().unwrap();
    assert_eq!(removed.iter().count(), 994);
}

#[test]
fn what_is_old_goes_with_the_commits_of_others() {
    let (_dir, store, _removed) = scene();
    let writer = store.writer();
    let reader = store.reader().unwrap();
    let passed = |first: i64, reason: &str| Record::Passed {
        task: TaskId(1),
        first: at(first),
        last: at(first + 1),
        count: 2,
        passing: Passing::Missed,
        reason: reason.to_owned(),
    };
    // The last of the runs is as old as may be; a span is as old as its last fire time.
    for (n, ms, span) in [
        (1, DAY, DAY + 5),
        (2, 10 * DAY - 1, 9 * DAY),
        (3, 10 * DAY, 10 * DAY - 1),
    ] {
        commit(&writer, whole_run(1, n, ms, Outcome::Succeeded, 1)).unwrap();
        commit(&writer, vec![passed(span, &n.to_string())]).unwrap();
    }
    // Task 2 has nothing to do with it; its commit is a hundred days after the first.
    commit(&writer, vec![added(3, "c", 100 * DAY)]).unwrap();
    wait_until("the first two go", || numbers(&reader, 1) == [3]);
    wait_until("their spans go", || reader.passed(TaskId(1), 9).unwrap().len() == 1);
    assert_eq!(reader.check().unwrap(), Vec::<String>::new());
}

#[test]
fn what_a_wrong_clock_made_keeps_nothing_that_is_old() {
    let (_dir, store, _removed) = scene();
    let writer = store.writer();
    let reader = store.reader().unwrap();
    let passed = |first: i64| Record::Passed {
        task: TaskId(1),
        first: at(first),
        last: at(first),
        count: 1,
        passing: Passing::Missed,
        reason: first.to_string(),
    };
    for (n, ms) in [(1, 9_000 * DAY), (2, 10 * DAY)] {
        commit(&writer, whole_run(1, n, ms, Outcome::Succeeded, 1)).unwrap();
        commit(&writer, vec![passed(ms)]).unwrap();
    }
    commit(&writer, vec![added(3, "c", 200 * DAY)]).unwrap();
    wait_until("the old run goes", || numbers(&reader, 1) == [1]);
    wait_until("the old span goes", || reader.passed(TaskId(1), 9).unwrap().len() == 1);
}

#[test]
fn a_removed_task_goes_with_its_history() {
    let (_dir, store, _removed) = scene();
    let writer = store.writer();
    let reader = store.reader().unwrap();
    commit(&writer, whole_run(1, 1, 10 * DAY, Outcome::Succeeded, 1)).unwrap();
    commit(
        &writer,
        vec![Record::TaskRemoved {
            id: TaskId(1),
            at: at(11 * DAY),
        }],
    )
    .unwrap();
    commit(&writer, vec![added(3, "c", 50 * DAY)]).unwrap();
    assert_eq!(
        reader.definition(TaskId(1)).unwrap().unwrap().definition,
        definition("a")
    );
    commit(&writer, vec![added(4, "d", 102 * DAY)]).unwrap();
    wait_until("it goes", || reader.definition(TaskId(1)).unwrap().is_none());
    assert_eq!(numbers(&reader, 1), Vec::<u64>::new());
    assert!(reader.definition(TaskId(2)).unwrap().is_some());
    assert_eq!(reader.check().unwrap(), Vec::<String>::new());
}

#[test]
fn the_oldest_output_of_all_goes_first_and_its_runs_stay() {
    let (dir, store, removed) = scene();
    let writer = store.writer();
    let reader = store.reader().unwrap();
    for (task, n) in [(1, 1), (2, 2), (1, 3), (2, 4)] {
        commit(
            &writer,
            whole_run(task, n, 1_000 + i64::try_from(n).unwrap(), Outcome::Succeeded, 250),
        )
        .unwrap();
    }
    assert_eq!(kept(&dir), 1_000);
    commit(&writer, whole_run(1, 5, 1_010, Outcome::Succeeded, 251)).unwrap();
    wait_until("output goes", || kept(&dir) <= 1_000);
    assert_eq!(kept(&dir), 751);
    assert!(reader.run(key(1, 1)).unwrap().unwrap().output_removed);
    assert!(reader.run(key(2, 2)).unwrap().unwrap().output_removed);
    assert!(!reader.run(key(1, 3)).unwrap().unwrap().output_removed);
    store.close().unwrap();
    assert_eq!(removed.iter().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn new_limits_hold_at_once() {
    let (_dir, store, _removed) = scene();
    let writer = store.writer();
    let reader = store.reader().unwrap();
    for (n, ms) in [(1, 10 * DAY), (2, 20 * DAY)] {
        commit(&writer, whole_run(1, n, ms, Outcome::Succeeded, 400)).unwrap();
    }
    // No commit follows.
    writer.set_limits(Limits {
        output_bytes: 500,
        ..limits()
    });
    let output_of = |n| !reader.run(key(1, n)).unwrap().unwrap().output_removed;
    wait_until("output goes", || !output_of(1));
    assert!(output_of(2));
    writer.set_limits(Limits {
        history_age: Duration::from_secs(5 * 86_400),
        ..limits()
    });
    wait_until("the old run goes", || numbers(&reader, 1) == [2]);
    writer.set_limits(Limits {
        history_runs: 1,
        ..limits()
    });
    commit(&writer, whole_run(1, 3, 21 * DAY, Outcome::Succeeded, 1)).unwrap();
    wait_until("all but the newest go", || numbers(&reader, 1) == [3]);
}

#[test]
fn a_size_on_disk_counts_where_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path());
    options.output_size = Some(Box::new(|attempt| {
        (attempt.run.n == 1 && attempt.attempt == 1).then_some(5_000)
    }));
    let store = Store::open(options).unwrap().store;
    commit(&store.writer(), vec![added(1, "a", 1)]).unwrap();
    for n in 1..=2 {
        commit(&store.writer(), whole_run(1, n, 1_000, Outcome::Succeeded, 40)).unwrap();
    }
    assert_eq!(kept(&dir), 5_040);
    // What the runner tells need not be looked up.
    let mut records = whole_run(2, 1, 1_000, Outcome::Succeeded, 40);
    records.iter_mut().for_each(|record| {
        if let Record::RunFinished { end: Some(end), .. } = record {
            end.usage.output_kept = Some(700);
        }
    });
    commit(&store.writer(), vec![added(2, "b", 1)]).unwrap();
    commit(&store.writer(), records).unwrap();
    assert_eq!(kept(&dir), 5_740);
    // Of one that was lost nobody tells.
    commit(&store.writer(), vec![added(3, "c", 1)]).unwrap();
    let mut records = whole_run(3, 1, 1_000, Outcome::Unknown, 0);
    records.iter_mut().for_each(|record| {
        if let Record::RunFinished { end, .. } = record {
            *end = None;
        }
    });
    commit(&store.writer(), records).unwrap();
    assert_eq!(kept(&dir), 10_740);
}

#[test]
fn a_ledger_has_as_many_spans_as_a_history_has_runs() {
    let (_dir, store, _removed) = scene();
    let writer = store.writer();
    for n in 0..20 {
        let span = Record::Passed {
            task: TaskId(1),
            first: at(1_000 + n),
            last: at(1_000 + n),
            count: 1,
            passing: Passing::Skipped,
            reason: format!("run a/{n} is still running"),
        };
        commit(&writer, vec![span]).unwrap();
    }
    let reader = store.reader().unwrap();
    wait_until("the oldest go", || reader.passed(TaskId(1), 100).unwrap().len() == 5);
    assert_eq!(reader.passed(TaskId(1), 1).unwrap()[0].first, at(1_019));
}

#[test]
fn an_open_with_too_much_output_is_put_right_by_the_first_commit() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).store;
    commit(&store.writer(), vec![added(1, "a", 1)]).unwrap();
    commit(&store.writer(), whole_run(1, 1, 1_000, Outcome::Succeeded, 4_000)).unwrap();
    store.close().unwrap();
    let mut options = Options::new(dir.path());
    options.limits = limits();
    let store = Store::open(options).unwrap().store;
    commit(&store.writer(), vec![added(2, "b", 2_000)]).unwrap();
    let reader = store.reader().unwrap();
    wait_until("output goes", || kept(&dir) == 0);
    assert_eq!(numbers(&reader, 1), [1]);
}

/// Task 3, which says how much is kept of its history.
fn keeps(store: &Store, runs: Option<u64>, days: Option<u64>) {
    let mut own = definition("own");
    own.history = History {
        runs: runs.and_then(NonZeroU64::new),
        for_ms: days.and_then(|days| NonZeroU64::new(days * 86_400_000)),
    };
    commit(&store.writer(), vec![added_for(3, 0, 1, own)]).unwrap();
}

#[test]
fn a_task_may_keep_more_runs_or_fewer_than_others() {
    let (_dir, store, _removed) = scene();
    keeps(&store, Some(2), None);
    let writer = store.writer();
    let reader = store.reader().unwrap();
    for n in 1..=4 {
        commit(
            &writer,
            whole_run(3, n, 1_000 + i64::try_from(n).unwrap(), Outcome::Succeeded, 1),
        )
        .unwrap();
        commit(
            &writer,
            whole_run(1, n, 1_000 + i64::try_from(n).unwrap(), Outcome::Succeeded, 1),
        )
        .unwrap();
    }
    wait_until("all but two go", || numbers(&reader, 3) == [3, 4]);
    assert_eq!(numbers(&reader, 1), [1, 2, 3, 4]);
    let mut fewer = definition("own");
    fewer.history.runs = NonZeroU64::new(1);
    let changed = Record::TaskChanged {
        id: TaskId(3),
        at: at(2_000),
        definition: Arc::new(fewer),
        mark: None,
        by: "uid 1000".to_owned(),
    };
    commit(&writer, vec![changed]).unwrap();
    wait_until("a change holds at once", || numbers(&reader, 3) == [4]);
    assert_eq!(reader.check().unwrap(), Vec::<String>::new());
    keeps_more();
}

fn keeps_more() {
    let (_dir, store, _removed) = scene();
    keeps(&store, Some(7), None);
    let writer = store.writer();
    let reader = store.reader().unwrap();
    for n in 1..=9 {
        commit(
            &writer,
            whole_run(3, n, 1_000 + i64::try_from(n).unwrap(), Outcome::Succeeded, 1),
        )
        .unwrap();
    }
    wait_until("the oldest go", || numbers(&reader, 3) == [3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn a_task_may_keep_its_runs_for_longer_or_shorter_than_others() {
    for (days, left) in [(1, &[][..]), (200, &[1, 2][..])] {
        let (_dir, store, _removed) = scene();
        keeps(&store, None, Some(days));
        let writer = store.writer();
        let reader = store.reader().unwrap();
        commit(&writer, whole_run(3, 1, 10 * DAY, Outcome::Succeeded, 1)).unwrap();
        commit(&writer, whole_run(1, 1, 10 * DAY, Outcome::Succeeded, 1)).unwrap();
        commit(&writer, whole_run(3, 2, 108 * DAY, Outcome::Succeeded, 1)).unwrap();
        // Another task's commit is what tells that it is late.
        commit(&writer, vec![added(4, "d", 110 * DAY)]).unwrap();
        wait_until("the others' go", || numbers(&reader, 1).is_empty());
        wait_until("its own are as it says", || numbers(&reader, 3) == left);
    }
}

#[test]
fn what_cannot_be_believed_of_a_task_prunes_nothing_of_it() {
    let (dir, store, _removed) = scene();
    keeps(&store, Some(50), None);
    let writer = store.writer();
    let reader = store.reader().unwrap();
    rusqlite::Connection::open(dir.path().join("store.db"))
        .unwrap()
        .execute_batch("UPDATE histories SET runs = 1")
        .unwrap();
    for n in 1..=9 {
        commit(
            &writer,
            whole_run(3, n, 1_000 + i64::try_from(n).unwrap(), Outcome::Succeeded, 1),
        )
        .unwrap();
        commit(
            &writer,
            whole_run(1, n, 1_000 + i64::try_from(n).unwrap(), Outcome::Succeeded, 1),
        )
        .unwrap();
    }
    wait_until("the others' go", || numbers(&reader, 1).len() == 5);
    assert_eq!(numbers(&reader, 3).len(), 9);
    let problems = reader.check().unwrap();
    assert!(
        problems.len() == 1 && problems[0].starts_with("task 3: how much is kept"),
        "{problems:?}"
    );
}

#[test]
fn a_size_that_has_changed_is_counted_anew() {
    let dir = tempfile::tempdir().unwrap();
    let size = Arc::new(AtomicU64::new(5_000));
    let told = Arc::clone(&size);
    let mut options = Options::new(dir.path());
    options.output_size = Some(Box::new(move |attempt| {
        (attempt.run.n <= 2).then(|| told.load(Ordering::Relaxed))
    }));
    let store = Store::open(options).unwrap().store;
    let writer = store.writer();
    let reader = store.reader().unwrap();
    commit(&writer, vec![added(1, "a", 1), created(1, 3, 1_000)]).unwrap();
    for n in 1..=2 {
        commit(&writer, whole_run(1, n, 1_000, Outcome::Succeeded, 40)).unwrap();
    }
    assert_eq!(kept(&dir), 10_000);
    let large = reader.large_outputs(4_999, i64::MAX, 10).unwrap();
    assert_eq!(large.iter().map(|large| large.run.n).collect::<Vec<_>>(), [2, 1]);
    assert_eq!((large[0].attempts, large[0].kept), (1, 5_000));
    assert_eq!(reader.large_outputs(4_999, large[0].row, 10).unwrap().len(), 1);
    assert_eq!(reader.large_outputs(5_000, i64::MAX, 10).unwrap(), []);
    size.store(300, Ordering::Relaxed);
    // One that has not ended, and one that is not there, stay as they are.
    for n in [1, 3, 4] {
        writer.recount(key(1, n));
    }
    wait_until("it is counted", || kept(&dir) == 5_300);
    assert_eq!(reader.check().unwrap(), Vec::<String>::new());
}

#[test]
fn a_number_of_attempts_that_cannot_be_is_not_gone_through() {
    let dir = tempfile::tempdir().unwrap();
    let asked = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&asked);
    let mut options = Options::new(dir.path());
    options.output_size = Some(Box::new(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Some(7)
    }));
    let store = Store::open(options).unwrap().store;
    let writer = store.writer();
    commit(&writer, vec![added(1, "a", 1)]).unwrap();
    commit(&writer, whole_run(1, 1, 1_000, Outcome::Succeeded, 40)).unwrap();
    for attempts in [4_000_000_000_i64, 9_000_000_000] {
        rusqlite::Connection::open(dir.path().join("store.db"))
            .unwrap()
            .execute("UPDATE runs SET attempt = ?1", [attempts])
            .unwrap();
        let large = store.reader().unwrap().large_outputs(0, i64::MAX, 10).unwrap();
        assert_eq!(large[0].attempts, RETRIES_MAX + 1);
        asked.store(0, Ordering::Relaxed);
        writer.recount(key(1, 1));
        wait_until("it is counted", || {
            asked.load(Ordering::Relaxed) == u64::from(RETRIES_MAX) + 1
        });
    }
}
