//! Reading: definitions in pages, runs newest first by every selection, the same as looking at each.

use taskd_core::record::Record;
use taskd_core::run::{AttemptKey, Outcome, RunKey};
use taskd_core::task::{Owner, TaskId};
use taskd_store::{Reader, RunQuery, RunRow, Select, State, Store};
use tempfile::TempDir;

use crate::scene::{
    added_for, at, commit, created, created_with, definition, finished, key, name, open, overrides, run_started,
    whole_run,
};

/// 100 tasks of two owners, with four runs each, of which every third failed; the last ones have not ended.
fn scene() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).store;
    let mut records: Vec<Record> = (1..=100)
        .map(|id| {
            added_for(
                id,
                u32::try_from(id % 2).unwrap(),
                1,
                definition(&format!("task-{id:03}")),
            )
        })
        .collect();
    let mut ms = 1_000;
    for n in 1..=3 {
        for task in 1..=100 {
            ms += 10;
            let outcome = if (task + n) % 3 == 0 {
                Outcome::Failed
            } else {
                Outcome::Succeeded
            };
            records.extend(whole_run(task, n, ms, outcome, 0));
        }
    }
    for task in 1..=100 {
        ms += 10;
        records.push(created(task, 4, ms));
        if task % 2 == 0 {
            records.push(run_started(task, 4, ms + 1));
        }
    }
    commit(&store.writer(), records).unwrap();
    (dir, store)
}

fn all_pages(reader: &Reader, query: &RunQuery, limit: usize) -> Vec<RunRow> {
    let mut all = Vec::new();
    let mut before = None;
    loop {
        let (page, next) = reader.runs(query, before, limit).unwrap();
        assert!(page.len() <= limit);
        all.extend(page);
        match next {
            None => return all,
            next => before = next,
        }
    }
}

#[test]
fn pages_together_are_what_was_asked_for() {
    let (_dir, store) = scene();
    let reader = store.reader().unwrap();
    let everything = all_pages(&reader, &RunQuery::default(), 1_000);
    assert_eq!(everything.len(), 400);
    assert!(everything.is_sorted_by_key(|run| std::cmp::Reverse(run.created_at)));

    let few: Vec<TaskId> = vec![TaskId(3), TaskId(77), TaskId(500)];
    let many: Vec<TaskId> = (10..90).map(TaskId).collect();
    let keys: Vec<RunKey> = vec![key(5, 1), key(99, 3), key(5, 9), key(6, 4)];
    for select in [Select::All, Select::Tasks(few), Select::Tasks(many), Select::Runs(keys)] {
        for outcomes in [vec![], vec![Outcome::Failed], vec![Outcome::Failed, Outcome::Succeeded]] {
            for since in [None, Some(at(2_500))] {
                for owner in [None, Some(Owner(1))] {
                    let query = RunQuery {
                        select: select.clone(),
                        outcomes: outcomes.clone(),
                        since,
                        owner,
                    };
                    let expected: Vec<RunRow> = everything
                        .iter()
                        .filter(|run| match &select {
                            Select::All => true,
                            Select::Tasks(tasks) => tasks.contains(&run.key.task),
                            Select::Runs(keys) => keys.contains(&run.key),
                        })
                        .filter(|run| outcomes.is_empty() || run.outcome.is_some_and(|o| outcomes.contains(&o)))
                        .filter(|run| since.is_none_or(|since| run.created_at >= since))
                        .filter(|run| owner.is_none_or(|owner| run.owner == owner))
                        .cloned()
                        .collect();
                    for limit in [1, 7, 1_000] {
                        assert_eq!(all_pages(&reader, &query, limit), expected, "{query:?} by {limit}");
                    }
                }
            }
        }
    }
}

/// As after a backup was put back: numbers are given again below those that a runner hands over.
#[test]
fn pages_of_a_task_miss_no_run_whose_number_is_not_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).store;
    commit(&store.writer(), vec![added_for(1, 0, 1, definition("a"))]).unwrap();
    for (n, ms) in [(8, 10), (7, 20), (6, 30), (9, 40)] {
        commit(&store.writer(), vec![created(1, n, ms)]).unwrap();
    }
    let reader = store.reader().unwrap();
    let query = RunQuery {
        select: Select::Tasks(vec![TaskId(1)]),
        ..RunQuery::default()
    };
    for limit in [1, 2, 9] {
        let numbers: Vec<u64> = all_pages(&reader, &query, limit).iter().map(|run| run.key.n).collect();
        assert_eq!(numbers, [9, 6, 7, 8], "by {limit}");
    }
}

#[test]
fn a_run_is_told_whole() {
    let (_dir, store) = scene();
    let reader = store.reader().unwrap();
    let run = reader.run(key(2, 1)).unwrap().unwrap();
    assert_eq!(run.name, name("task-002"));
    assert_eq!(run.state, State::Finished);
    assert_eq!(run.outcome, Some(Outcome::Failed));
    assert_eq!(run.exit_code, Some(3));
    assert_eq!(run.reason.as_deref(), Some("exit code 3"));
    assert_eq!(run.pid, Some(4711));
    assert_eq!(run.attempt, 1);
    let usage = run.usage.unwrap();
    assert_eq!((usage.max_rss_kib, usage.memory_peak_kib), (2048, Some(4096)));
    assert_eq!((usage.read_bytes, usage.written_bytes), (Some(1 << 40), None));
    assert_eq!(usage.peak_pids, Some(3));
    assert_eq!(run.fire_time, Some(run.created_at));
    assert_eq!(reader.run(key(2, 9)).unwrap(), None);
    assert_eq!(reader.run(key(2, 4)).unwrap().unwrap().state, State::Running);
    assert_eq!(reader.run(key(3, 4)).unwrap().unwrap().state, State::Starting);
    commit(
        &store.writer(),
        vec![Record::RunStopping {
            run: key(3, 4),
            at: at(9_999),
            reason: "cancelled by uid 1000".to_owned(),
        }],
    )
    .unwrap();
    let run = reader.run(key(3, 4)).unwrap().unwrap();
    assert_eq!(
        (run.state, run.stopping.as_deref()),
        (State::Stopping, Some("cancelled by uid 1000"))
    );
    assert_eq!(reader.newest_started(TaskId(2)).unwrap(), Some(key(2, 4)));
    assert_eq!(reader.newest_started(TaskId(3)).unwrap(), Some(key(3, 3)));
    assert_eq!(reader.newest_started(TaskId(500)).unwrap(), None);
}

#[test]
fn the_last_end_of_each_task_is_at_hand() {
    let (_dir, store) = scene();
    commit(&store.writer(), vec![finished(2, 4, 99_000, Outcome::Cancelled, 0)]).unwrap();
    let reader = store.reader().unwrap();
    let found = reader.last_finished(&[TaskId(2), TaskId(500), TaskId(3)]).unwrap();
    let last = found[0].unwrap();
    assert_eq!(
        (last.n, last.outcome, last.finished_at),
        (4, Outcome::Cancelled, at(99_000))
    );
    assert_eq!(found[1], None);
    assert_eq!(found[2].unwrap().n, 3);
}

#[test]
fn definitions_come_in_the_order_asked() {
    let (_dir, store) = scene();
    let reader = store.reader().unwrap();
    let (first, cut) = reader
        .first_definitions(&[TaskId(9), TaskId(500), TaskId(2)], 1)
        .unwrap();
    assert_eq!(
        (first.len(), first[0].0, cut),
        (1, TaskId(9), true),
        "no more than was asked for"
    );
    assert!(!reader.first_definitions(&[TaskId(9), TaskId(2)], 1 << 20).unwrap().1);
    let found = reader.definitions(&[TaskId(9), TaskId(500), TaskId(2)]).unwrap();
    assert_eq!(found.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [9, 2]);
    assert_eq!(found[0].1.definition, definition("task-009"));
}

#[test]
fn a_removed_task_is_found_by_its_last_name() {
    let (_dir, store) = scene();
    let writer = store.writer();
    for (id, ms) in [(3, 50_000), (201, 50_020)] {
        if id > 200 {
            commit(&writer, vec![added_for(id, 1, ms - 5, definition("task-003"))]).unwrap();
        }
        commit(
            &writer,
            vec![Record::TaskRemoved {
                id: TaskId(id),
                at: at(ms),
            }],
        )
        .unwrap();
    }
    let reader = store.reader().unwrap();
    assert_eq!(
        reader.resolve_removed(Owner(1), &name("task-003")).unwrap(),
        Some(TaskId(201))
    );
    assert_eq!(reader.resolve_removed(Owner(0), &name("task-003")).unwrap(), None);
    assert_eq!(reader.resolve_removed(Owner(1), &name("task-005")).unwrap(), None);
    assert_eq!(
        reader.definition(TaskId(3)).unwrap().unwrap().definition,
        definition("task-003")
    );
    let query = RunQuery {
        select: Select::Tasks(vec![TaskId(3)]),
        ..RunQuery::default()
    };
    assert_eq!(reader.runs(&query, None, 10).unwrap().0.len(), 4);
}

#[test]
fn a_reader_sees_each_commit_and_tells_the_size() {
    let (_dir, store) = scene();
    let reader = store.reader().unwrap();
    assert!(store.readers().size_bytes() > 4096);
    let writer = store.writer();
    for n in 1..=20 {
        commit(&writer, vec![created(1, 4 + n, 90_000 + i64::try_from(n).unwrap())]).unwrap();
        assert!(reader.run(key(1, 4 + n)).unwrap().is_some());
    }
}

#[test]
fn earlier_attempts_are_told_with_what_they_used() {
    let (_dir, store) = scene();
    let run = key(1, 90);
    let ended = |attempt: u32| {
        let Record::RunFinished {
            end,
            at,
            outcome,
            reason,
            ..
        } = finished(1, 90, 9_000, Outcome::Failed, 40)
        else {
            unreachable!("it makes no other");
        };
        Record::AttemptEnded {
            attempt: AttemptKey { run, attempt },
            at,
            outcome,
            reason,
            end: end.filter(|_| attempt > 1),
            retry_at: at,
        }
    };
    let due = || Record::RetryDue { run, at: at(9_001) };
    commit(
        &store.writer(),
        vec![created(1, 90, 8_000), ended(1), due(), ended(2), due(), ended(3)],
    )
    .unwrap();
    let reader = store.reader().unwrap();
    let told = reader.earlier_attempts(run, 10).unwrap();
    assert_eq!(told.iter().map(|row| row.attempt).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(told[0].usage, None, "it never started");
    let second = &told[1];
    assert_eq!(
        (second.outcome, second.exit_code, second.pid),
        (Outcome::Failed, Some(3), Some(4711))
    );
    assert_eq!(second.finished_at, at(9_000));
    let usage = second.usage.unwrap();
    assert_eq!((usage.max_rss_kib, usage.output_bytes), (2048, 47));
    assert_eq!((usage.memory_peak_kib, usage.peak_pids), (Some(4096), Some(3)));
    assert_eq!((usage.read_bytes, usage.written_bytes), (Some(1 << 40), None));
    let newest = reader.earlier_attempts(run, 2).unwrap();
    assert_eq!(newest.iter().map(|row| row.attempt).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(reader.earlier_attempts(key(1, 91), 2).unwrap(), []);
}

#[test]
fn an_attempt_that_may_have_begun_counts_and_one_that_has_not_does_not() {
    for (n, outcome, attempts) in [(90, Outcome::Unknown, 2), (91, Outcome::Cancelled, 1)] {
        let (_dir, store) = scene();
        let run = key(1, n);
        let ended = Record::AttemptEnded {
            attempt: AttemptKey { run, attempt: 1 },
            at: at(9_000),
            outcome: Outcome::Failed,
            reason: None,
            end: None,
            retry_at: at(9_000),
        };
        let over = Record::RunFinished {
            run,
            at: at(9_001),
            outcome,
            reason: None,
            end: None,
        };
        let records = vec![created(1, n, 8_000), run_started(1, n, 8_001), ended, over];
        commit(&store.writer(), records).unwrap();
        let told = store.reader().unwrap().run(run).unwrap().unwrap();
        assert_eq!(told.attempt, attempts, "{outcome:?}");
    }
}

#[test]
fn history_tells_that_a_run_was_given_something_and_no_value_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).store;
    let records = vec![
        added_for(1, 0, 1, definition("given")),
        created(1, 1, 10),
        created_with(1, 2, 20, overrides(5)),
    ];
    commit(&store.writer(), records).unwrap();
    let reader = store.reader().unwrap();
    let given = |n| reader.run(key(1, n)).unwrap().unwrap().overrides;
    assert_eq!(given(1), None);
    let given = given(2).expect("it was given something");
    assert_eq!(given.names().collect::<Vec<_>>(), ["LEVEL"]);
    assert_eq!(given.arguments(), 2);
    assert!(!format!("{given:?}").contains("secret"), "{given:?}");
}
