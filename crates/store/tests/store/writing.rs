//! Commits: in groups, in order, each answered once, each refused alone.

use std::sync::mpsc::channel;

use taskd_core::record::Record;
use taskd_core::run::{Outcome, Passing, TraceId, Trigger};
use taskd_core::task::TaskId;
use taskd_store::{Batch, Kind, Options, State, Store};

use crate::scene::{
    DEADLINE, added, added_for, at, commit, created, definition, finished, hand_over, key, load, open, run_started,
    started, whole_run,
};

#[test]
fn one_bad_batch_refuses_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).store;
    let writer = store.writer();
    let (sender, answers) = channel();
    for id in 1..=600_u64 {
        // Every seventh takes a name that is taken.
        let name = if id.is_multiple_of(7) {
            "task-1".to_owned()
        } else {
            format!("task-{id}")
        };
        let sender = sender.clone();
        hand_over(&writer, vec![added(id, &name, 1)], move |result| {
            sender.send((id, result)).unwrap()
        });
    }
    for expected in 1..=600_u64 {
        let (id, result) = answers.recv_timeout(DEADLINE).unwrap();
        assert_eq!(id, expected, "answers come in order");
        assert_eq!(result.is_err(), id.is_multiple_of(7), "{id}: {result:?}");
        if let Err(error) = result {
            assert_eq!(error.kind, Kind::Other);
            assert!(error.text.contains("store.db"), "{error}");
        }
    }
    store.close().unwrap();
    let (_store, snapshot) = load(Options::new(dir.path())).unwrap();
    assert_eq!(snapshot.tasks.len(), 600 - 600 / 7);
}

#[test]
fn a_fact_that_cannot_be_written_holds_back_its_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).store;
    let writer = store.writer();
    commit(&writer, vec![added(1, "a", 1)]).unwrap();
    let early = finished(1, 1, 9, Outcome::Succeeded, 0);
    let batches = [
        (
            0,
            true,
            Record::Horizon {
                until: at(5),
                boot: None,
            },
            true,
        ),
        (0, false, added(2, "a", 1), false),
        (
            0,
            true,
            Record::Horizon {
                until: at(6),
                boot: None,
            },
            true,
        ),
        (0, true, early.clone(), false),
        (
            0,
            true,
            Record::Horizon {
                until: at(7),
                boot: None,
            },
            false,
        ),
        (0, false, added(3, "c", 1), false),
        (1, true, created(1, 1, 8), true),
        (0, false, added(4, "d", 1), false),
        (1, true, early, true),
    ];
    let (sender, answers) = channel();
    for (index, (epoch, fact, record, _)) in batches.iter().enumerate() {
        let sender = sender.clone();
        writer.commit(Batch {
            records: vec![record.clone()],
            epoch: *epoch,
            fact: *fact,
            done: Box::new(move |result| sender.send((index, result)).unwrap()),
        });
    }
    for _ in &batches {
        let (index, result) = answers.recv_timeout(DEADLINE).unwrap();
        let (_, _, record, holds) = &batches[index];
        assert_eq!(result.is_ok(), *holds, "{index}: {result:?}");
        if let Err(refused) = result {
            assert_eq!(&refused.records, std::slice::from_ref(record));
        }
    }
    store.close().unwrap();
    let (_store, snapshot) = load(Options::new(dir.path())).unwrap();
    assert_eq!(snapshot.rest.header.horizon, at(6));
    assert_eq!(snapshot.tasks.len(), 1);
    assert!(snapshot.rest.runs.is_empty());
}

#[test]
fn another_program_that_holds_the_database_is_not_waited_for_with_each_batch() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).store;
    let writer = store.writer();
    commit(&writer, vec![added(1, "a", 1)]).unwrap();
    let other = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = started();
    let (sender, answers) = channel();
    for id in 2..=100_u64 {
        let sender = sender.clone();
        hand_over(&writer, vec![added(id, &format!("task-{id}"), 1)], move |result| {
            sender.send((id, result)).unwrap()
        });
    }
    for expected in 2..=100_u64 {
        let (id, result) = answers.recv_timeout(DEADLINE).unwrap();
        assert_eq!(id, expected, "answers come in order");
        assert!(result.unwrap_err().text.contains("locked"));
    }
    // One wait for each would be more than a minute and a half; a group waits twice.
    assert!(begun.elapsed() < DEADLINE / 2, "{:?}", begun.elapsed());
    other.execute_batch("ROLLBACK").unwrap();
    commit(&writer, vec![added(2, "b", 1)]).unwrap();
}

#[test]
fn facts_that_are_refused_together_hold_back_the_newest_of_their_epochs() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).store;
    let writer = store.writer();
    let (sender, answers) = channel();
    let hand_over = |epoch, fact| {
        let sender = sender.clone();
        writer.commit(Batch {
            records: vec![Record::Horizon {
                until: at(5),
                boot: None,
            }],
            epoch,
            fact,
            done: Box::new(move |result| sender.send(result.is_ok()).unwrap()),
        });
    };
    let other = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    for epoch in [2, 1] {
        hand_over(epoch, true);
    }
    for _ in 0..2 {
        assert!(!answers.recv_timeout(DEADLINE).unwrap());
    }
    other.execute_batch("ROLLBACK").unwrap();
    for (epoch, holds) in [(2, false), (3, true)] {
        hand_over(epoch, false);
        assert_eq!(answers.recv_timeout(DEADLINE).unwrap(), holds, "epoch {epoch}");
    }
}

#[test]
fn a_batch_holds_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).store;
    let writer = store.writer();
    commit(&writer, vec![added(1, "a", 1)]).unwrap();
    commit(&writer, vec![added(2, "b", 1), created(1, 1, 5), added(3, "a", 1)]).unwrap_err();
    commit(&writer, vec![added(2, "b", 1)]).unwrap();
    store.close().unwrap();
    let (_store, snapshot) = load(Options::new(dir.path())).unwrap();
    assert_eq!(snapshot.tasks.len(), 2);
    assert_eq!(snapshot.tasks[0].last_run, 0);
    assert!(snapshot.rest.runs.is_empty());
}

#[test]
fn a_record_before_its_time_is_refused_and_one_after_it_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).store;
    let writer = store.writer();
    commit(&writer, vec![added(1, "a", 1)]).unwrap();
    for early in [
        finished(1, 1, 9, Outcome::Succeeded, 0),
        run_started(1, 1, 5),
        Record::RunAdmitted {
            run: key(1, 1),
            at: at(5),
        },
    ] {
        let error = commit(&writer, vec![early]).unwrap_err();
        assert!(error.text.contains("was never created"), "{error}");
    }
    commit(&writer, vec![created(1, 1, 5), finished(1, 1, 9, Outcome::Failed, 0)]).unwrap();
    commit(&writer, vec![finished(1, 1, 20, Outcome::Succeeded, 0)]).unwrap();
    commit(&writer, vec![run_started(1, 1, 30)]).unwrap();
    let run = store.reader().unwrap().run(key(1, 1)).unwrap().unwrap();
    assert_eq!(run.outcome, Some(Outcome::Failed));
    assert_eq!(run.finished_at, Some(at(9)));
}

#[test]
fn a_closed_store_answers_with_a_refusal() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).store;
    let writer = store.writer();
    let before = {
        let (sender, answer) = channel();
        hand_over(&writer, vec![added(1, "a", 1)], move |result| {
            sender.send(result).unwrap()
        });
        answer
    };
    store.close().unwrap();
    before.recv_timeout(DEADLINE).unwrap().unwrap();
    let error = commit(&writer, vec![added(2, "b", 1)]).unwrap_err();
    assert!(error.text.contains("closed"), "{error}");
    assert_eq!(error.kind, Kind::Closed);
    let (_store, snapshot) = load(Options::new(dir.path())).unwrap();
    assert_eq!(snapshot.tasks.len(), 1);
}

#[test]
fn a_thread_that_writes_no_more_is_told_from_a_failure_that_passes() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path());
    options.output_size = Some(Box::new(|_| panic!("a fault of the program")));
    let store = Store::open(options).unwrap().store;
    let writer = store.writer();
    commit(&writer, vec![added(1, "a", 1)]).unwrap();
    for _ in 0..2 {
        let error = commit(&writer, whole_run(1, 1, 50, Outcome::Succeeded, 1)).unwrap_err();
        assert_eq!(error.kind, Kind::Closed, "{error}");
    }
    assert!(store.close().unwrap_err().text.contains("panicked"));
    let (_store, snapshot) = load(Options::new(dir.path())).unwrap();
    assert_eq!(snapshot.tasks.len(), 1);
}

#[test]
fn many_definitions_hold_in_one_batch() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).store;
    let records = (1..=20_000)
        .map(|id| added(id, &format!("task-{}", id * 7919 % 20_011), 1))
        .collect();
    commit(&store.writer(), records).unwrap();
    store.close().unwrap();
    let (_store, snapshot) = load(Options::new(dir.path())).unwrap();
    assert_eq!(snapshot.tasks.len(), 20_000);
    assert_eq!(snapshot.rest.header.last_task, 20_000);
}

#[test]
fn the_log_does_not_grow_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).store;
    let writer = store.writer();
    let log = || std::fs::metadata(dir.path().join("store.db-wal")).unwrap().len();
    // Far more than the log may have, and what is in it sooner or later is in the database, however slow the disk.
    let (mut id, mut written) = (0, 0);
    while written < 100 << 20 || log() > written / 2 {
        assert!(written < 1 << 30, "log {} of {written}", log());
        written += 500 * 7_000;
        let records = (0..500)
            .map(|_| {
                id += 1;
                let mut task = definition(&format!("task-{id}"));
                task.description = Some("x".repeat(7_000));
                added_for(id, 0, 1, task)
            })
            .collect();
        commit(&writer, records).unwrap();
    }
}

fn passed(first: i64, last: i64, passing: Passing, reason: &str) -> Record {
    Record::Passed {
        task: TaskId(1),
        first: at(first),
        last: at(last),
        count: 2,
        passing,
        reason: reason.to_owned(),
    }
}

#[test]
fn consecutive_passings_of_one_kind_are_one_span() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).store;
    let writer = store.writer();
    commit(&writer, vec![added(1, "a", 1)]).unwrap();
    for record in [
        passed(10, 20, Passing::Skipped, "run a/1 is still running"),
        passed(30, 40, Passing::Skipped, "run a/1 is still running"),
        passed(50, 60, Passing::Skipped, "run a/2 is still running"),
        passed(70, 80, Passing::Missed, "taskd was not running"),
        created(1, 1, 90),
        passed(100, 110, Passing::Missed, "taskd was not running"),
        passed(120, 130, Passing::Missed, "taskd was not running"),
    ] {
        commit(&writer, vec![record]).unwrap();
    }
    let reader = store.reader().unwrap();
    let spans: Vec<_> = reader
        .passed(TaskId(1), 10)
        .unwrap()
        .into_iter()
        .map(|span| (span.first.as_millis(), span.last.as_millis(), span.count, span.passing))
        .collect();
    assert_eq!(
        spans,
        [
            (100, 130, 4, Passing::Missed),
            (70, 80, 2, Passing::Missed),
            (50, 60, 2, Passing::Skipped),
            (10, 40, 4, Passing::Skipped),
        ]
    );
    assert_eq!(reader.passed(TaskId(1), 1).unwrap().len(), 1);
}

#[test]
fn a_run_with_a_key_that_was_given_before_takes_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).store;
    let writer = store.writer();
    let reader = store.reader().unwrap();
    // The runner hands over a run of a task that the backup put back does not have.
    commit(&writer, whole_run(1, 1, 50, Outcome::Failed, 300)).unwrap();
    assert_eq!(reader.run(key(1, 1)).unwrap().unwrap().name.as_str(), "task-1");
    commit(&writer, vec![added(1, "a", 60)]).unwrap();
    let again = Record::RunCreated {
        run: key(1, 1),
        trigger: Trigger::Manual,
        fire_time: None,
        at: at(70),
        trace_id: TraceId(99),
        waiting: true,
        cause: None,
        overrides: None,
    };
    // A second time it changes nothing.
    for _ in 0..2 {
        commit(&writer, vec![again.clone()]).unwrap();
        let run = reader.run(key(1, 1)).unwrap().unwrap();
        assert_eq!(
            (run.trace_id, run.state, run.outcome),
            (TraceId(99), State::Waiting, None)
        );
    }
    commit(&writer, vec![finished(1, 1, 80, Outcome::Cancelled, 10)]).unwrap();
    commit(&writer, vec![again]).unwrap();
    assert_eq!(
        reader.run(key(1, 1)).unwrap().unwrap().outcome,
        Some(Outcome::Cancelled)
    );
    assert_eq!(reader.check().unwrap(), Vec::<String>::new());
}

#[test]
fn numbers_beyond_all_measure_are_kept_in_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).store;
    let writer = store.writer();
    commit(&writer, vec![added(1, "a", 1)]).unwrap();
    for n in 1..=3 {
        let end = finished(1, n, 80, Outcome::Succeeded, u64::MAX - 7);
        commit(&writer, vec![created(1, n, 70), end]).unwrap();
        let first = 100 * i64::try_from(n).unwrap();
        let mut record = passed(first, first + 1, Passing::Missed, "taskd was not running");
        if let Record::Passed { count, .. } = &mut record {
            *count = u64::MAX;
        }
        commit(&writer, vec![record]).unwrap();
    }
    assert_eq!(store.reader().unwrap().check().unwrap(), Vec::<String>::new());
}
