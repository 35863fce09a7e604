use std::sync::{Arc, Mutex};

use taskd_core::run::RunKey;
use taskd_core::task::TaskId;
use taskd_core::time::Timestamp;

use super::{COUNTED, Limits, Pruner, TASKS};
use crate::apply::Tally;
use crate::schema;
use crate::session::{Durability, Session};

fn session() -> Session {
    let db = rusqlite::Connection::open_in_memory().unwrap();
    schema::migrate(&db).unwrap();
    Session::new(db).unwrap()
}

/// A store of one task with runs from 1 on, which ended at `finished_at` with so much output kept.
fn with_runs(runs: &[(i64, i64)]) -> Session {
    let session = session();
    let mut n = 0;
    for (finished_at, kept) in runs {
        n += 1;
        session
            .db()
            .execute(
                "INSERT INTO runs (task, n, \"trigger\", created_at, finished_at, state, attempt, trace, output_kept,
                                   output_removed)
                 VALUES (1, ?1, 'schedule', ?2, ?2, 'finished', 1, x'', ?3, 0)",
                [n, *finished_at, *kept],
            )
            .unwrap();
    }
    session
        .db()
        .execute("INSERT INTO marks (task, mark, last_run) VALUES (1, 0, ?1)", [n])
        .unwrap();
    session
        .db()
        .execute_batch("UPDATE meta SET output_bytes = (SELECT sum(output_kept) FROM runs WHERE output_kept > 0)")
        .unwrap();
    session
}

fn small() -> Pruner {
    let limits = Limits {
        history_runs: 5,
        output_bytes: 1_000,
        ..Limits::default()
    };
    Pruner::new(limits, None)
}

fn tally(latest: i64) -> Tally {
    let mut tally = Tally::default();
    tally.latest = Some(Timestamp::from_millis(latest));
    tally.other_histories.push(TaskId(1));
    tally
}

/// Prunes all there is to prune after a commit, and tells the numbers of the runs that are left, and of those with output.
fn prune(pruner: &mut Pruner, session: &mut Session, tally: &Tally) -> (Vec<i64>, Vec<i64>) {
    pruner.note(tally);
    left(pruner, session)
}

fn left(pruner: &mut Pruner, session: &mut Session) -> (Vec<i64>, Vec<i64>) {
    while pruner.is_pending() {
        pruner.step(session);
    }
    let numbers = |condition| {
        let mut statement = session
            .db()
            .prepare(&format!("SELECT n FROM runs WHERE {condition} ORDER BY id"))
            .unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    (numbers("true"), numbers("output_removed = 0"))
}

#[test]
fn one_wrong_number_does_not_have_everything_removed() {
    let all: Vec<i64> = (1..=4).collect();
    for damage in [
        "UPDATE meta SET output_bytes = output_bytes | (1 << 40)",
        "UPDATE meta SET output_bytes = output_bytes | (1 << 63)",
        "UPDATE meta SET output_bytes = 9223372036854775807",
        "UPDATE runs SET output_kept = 1 << 63 WHERE n = 1",
        "UPDATE marks SET last_run = last_run | (1 << 40)",
        "UPDATE marks SET last_run = 1 << 63",
    ] {
        let mut session = with_runs(&[(10, 250); 4]);
        session.db().execute_batch(damage).unwrap();
        let left = prune(&mut small(), &mut session, &tally(20));
        assert_eq!(left, (all.clone(), all.clone()), "{damage}");
        // No number stands in the way of a commit either.
        session
            .transaction(Durability::Durable, |_, tally| {
                tally.output(1, 1 << 50);
                Ok(())
            })
            .unwrap_or_else(|fault| panic!("{damage}: {fault}"));
    }
    let mut session = with_runs(&[(10, 250); 4]);
    session
        .db()
        .execute_batch("UPDATE runs SET n = n | (1 << 40) WHERE n = 4")
        .unwrap();
    let (left, _) = prune(&mut small(), &mut session, &tally(20));
    assert_eq!(left.len(), 4);
}

/// A commit in which a run of task 1 ended.
fn ended(n: u64, at: i64) -> Tally {
    let task = TaskId(1);
    let mut tally = Tally::default();
    tally.latest = Some(Timestamp::from_millis(at));
    tally.ended.push(RunKey { task, n });
    tally
}

#[test]
fn a_task_is_looked_at_when_it_may_have_a_run_too_many() {
    let age = i64::try_from(Limits::default().history_age.as_millis()).unwrap();
    let mut session = with_runs(&[(10, 1), (20, 1), (30, 1)]);
    let mut pruner = small();
    prune(&mut pruner, &mut session, &ended(3, 30));
    let looks = |pruner: &mut Pruner, tally: &Tally| {
        pruner.note(tally);
        !pruner.more_runs.is_empty()
    };
    assert!(!looks(&mut pruner, &ended(4, 40)) && !looks(&mut pruner, &ended(5, 50)));
    // The first of its runs ended at 10.
    assert!(!looks(&mut pruner, &ended(5, 10 + age - 1)) && looks(&mut pruner, &ended(5, 10 + age)));
    pruner.more_runs.clear();
    assert!(looks(&mut pruner, &ended(6, 60)));
    left(&mut pruner, &mut session);
    assert!(!looks(&mut pruner, &ended(4, 60)), "it is known again");
    assert!(looks(&mut pruner, &tally(60)), "other bounds");
    pruner.more_runs.clear();
    assert!(looks(&mut pruner, &ended(4, 60)), "nobody has looked since");
    left(&mut pruner, &mut session);
    pruner.set_limits(Limits {
        history_runs: 2,
        ..Limits::default()
    });
    assert!(looks(&mut pruner, &ended(4, 60)));
    assert_eq!(left(&mut pruner, &mut session).0, [2, 3]);
}

#[test]
fn a_run_that_goes_on_while_many_end_goes_when_it_ends() {
    let mut session = with_runs(&[(10, 1); 9]);
    let open = |is_open: bool| if is_open { "NULL" } else { "90" };
    let set = |session: &Session, is_open| {
        let sql = format!("UPDATE runs SET finished_at = {} WHERE n = 1", open(is_open));
        session.db().execute_batch(&sql).unwrap();
    };
    set(&session, true);
    let mut pruner = small();
    assert_eq!(prune(&mut pruner, &mut session, &ended(9, 80)).0, [1, 5, 6, 7, 8, 9]);
    set(&session, false);
    assert_eq!(prune(&mut pruner, &mut session, &ended(1, 90)).0, [5, 6, 7, 8, 9]);
}

#[test]
fn what_was_known_of_a_task_does_not_outlive_the_runs_that_told_it() {
    let mut session = with_runs(&[(10, 1); 11]);
    let change = |session: &Session, sql: &str| session.db().execute_batch(sql).unwrap();
    change(&session, "UPDATE runs SET finished_at = NULL WHERE n <> 5");
    change(&session, "UPDATE marks SET last_run = 5");
    let mut pruner = small();
    assert_eq!(prune(&mut pruner, &mut session, &ended(5, 10)).0.len(), 11);
    change(&session, "UPDATE marks SET last_run = 11");
    change(&session, "UPDATE runs SET finished_at = 20 WHERE n = 6");
    let left = prune(&mut pruner, &mut session, &ended(6, 20)).0;
    assert_eq!(left, [1, 2, 3, 4, 7, 8, 9, 10, 11], "none that is kept has ended");
    change(&session, "UPDATE runs SET finished_at = 30 WHERE n = 1");
    assert_eq!(prune(&mut pruner, &mut session, &ended(1, 30)).0, left[1..]);
}

#[test]
fn new_limits_are_looked_at_when_nothing_else_is() {
    let new = Limits {
        output_bytes: 500,
        ..Limits::default()
    };
    for settled in [true, false] {
        let mut session = with_runs(&[(10, 250); 4]);
        let mut pruner = small();
        if settled {
            prune(&mut pruner, &mut session, &tally(20));
        }
        assert!(!pruner.is_pending());
        pruner.set_limits(new);
        assert_eq!(left(&mut pruner, &mut session).1, [3, 4]);
    }
}

#[test]
fn a_run_whose_output_has_no_size_goes_as_any_other() {
    let mut session = with_runs(&[(10, 1); 6]);
    session
        .db()
        .execute_batch("UPDATE runs SET output_kept = 1 << 63 WHERE n = 1")
        .unwrap();
    let left = prune(&mut small(), &mut session, &tally(20));
    assert_eq!(left.0, (2..=6).collect::<Vec<_>>());
}

#[test]
fn output_that_changes_while_it_is_counted_is_counted_once() {
    let mut session = with_runs(&[(10, 1); 2 * COUNTED + 7]);
    let mut pruner = Pruner::new(Limits::default(), None);
    let mut tally = Tally::default();
    pruner.note(&tally);
    for _ in 0..2 {
        pruner.step(&mut session);
    }
    for run in [1, i64::try_from(2 * COUNTED + 1).unwrap()] {
        session
            .db()
            .execute("UPDATE runs SET output_kept = 101 WHERE id = ?1", [run])
            .unwrap();
        tally.output(run, 100);
    }
    pruner.note(&tally);
    while pruner.is_pending() {
        pruner.step(&mut session);
    }
    assert_eq!(pruner.counted.through, None);
    assert_eq!(pruner.counted.bytes, i64::try_from(2 * COUNTED + 207).unwrap());
}

#[test]
fn a_step_looks_at_a_few_tasks_however_many_grew() {
    let mut session = session();
    let mut pruner = Pruner::new(Limits::default(), None);
    let mut tally = Tally::default();
    tally.other_histories.extend((1..=250).map(TaskId));
    tally.more_spans.extend((1..=1_000).map(TaskId));
    pruner.note(&tally);
    let left = |pruner: &Pruner| (pruner.more_runs.len(), pruner.more_spans.len());
    for expected in [(150, 1_000), (50, 1_000), (0, 1_000), (0, 900)] {
        pruner.step(&mut session);
        assert_eq!(left(&pruner), expected, "{TASKS} at once");
    }
    while pruner.is_pending() {
        pruner.step(&mut session);
    }
    assert_eq!(left(&pruner), (0, 0));
}

#[test]
fn an_attempt_that_runs_keeps_its_file_and_none_outlives_its_run() {
    let mut session = with_runs(&[(1, 2_000)]);
    let at = |session: &Session, what: &str| session.db().execute_batch(&format!("UPDATE runs SET {what}")).unwrap();
    at(&session, "finished_at = NULL, state = 'running', attempt = 2");
    let removed = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&removed);
    let mut pruner = Pruner {
        remove_output: Some(Box::new(move |attempts| {
            let mut removed = noted.lock().unwrap();
            removed.extend(attempts.iter().map(|attempt| attempt.attempt));
        })),
        ..small()
    };
    assert_eq!(prune(&mut pruner, &mut session, &tally(1)), (vec![1], vec![1]));
    assert_eq!(*removed.lock().unwrap(), [1]);
    // The last attempt wrote nothing, and the one before it what is not told by the row of the run.
    at(
        &session,
        "finished_at = 1, state = 'finished', attempt = 3, output_bytes = 0",
    );
    removed.lock().unwrap().clear();
    pruner.limits.history_runs = 0;
    assert_eq!(prune(&mut pruner, &mut session, &tally(2)), (vec![], vec![]));
    assert_eq!(*removed.lock().unwrap(), [1, 2, 3]);
}

#[test]
fn numbers_that_were_lost_cost_no_history() {
    let mut session = with_runs(&[(10, 1); 5]);
    let change = |sql| session.db().execute_batch(sql).unwrap();
    change("UPDATE runs SET n = 9 WHERE n = 5");
    change("UPDATE marks SET last_run = 9, gaps = 1");
    assert_eq!(prune(&mut small(), &mut session, &ended(9, 20)).0, [1, 2, 3, 4, 9]);
}
