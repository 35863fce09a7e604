//! `next --month` and `next --timeline`: what is asked of the daemon, and what is shown of its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use taskd_wire::client::{Bucket, ClockChange, Counted, Request, Response};
use taskd_wire::codec::Rec;
use unicode_width::UnicodeWidthStr as _;

use super::ms;
use crate::testing::FakeDaemon;

/// A daemon that says the same of every bucket.
fn daemon(counted: Counted, bucket: Bucket) -> FakeDaemon {
    FakeDaemon::new(move |request| {
        let Request::Count { bounds_ms, .. } = request else {
            panic!("{request:?}")
        };
        Response::Counted(Box::new(Rec(Counted {
            buckets: vec![Rec(bucket.clone()); bounds_ms.len() - 1],
            ..counted.clone()
        })))
    })
}

#[test]
fn the_only_task_is_asked_about_again_in_its_own_zone() {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let daemon = FakeDaemon::new(move |request| {
        let Request::Count {
            names,
            bounds_ms,
            named,
        } = request
        else {
            panic!("{request:?}")
        };
        assert_eq!((names.len(), named, bounds_ms.len()), (1, false, 32));
        let first = match count.fetch_add(1, Ordering::Relaxed) {
            0 => "2027-02-28T23:00:00Z",
            _ => "2027-02-28T15:00:00Z",
        };
        assert_eq!(bounds_ms[0], ms(first));
        Response::Counted(Box::new(Rec(Counted {
            tasks: 1,
            tz: Some("Asia/Tokyo".into()),
            buckets: vec![Rec(Bucket::default()); 31],
            ..Counted::default()
        })))
    });
    let shown = daemon.taskctl(&["next", "a", "--month", "2027-03"]).out;
    assert!(shown.starts_with("March 2027, Asia/Tokyo\n"), "{shown}");
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[test]
fn without_a_month_it_is_the_present_one_of_the_reader() {
    let two = Counted {
        tasks: 2,
        ..Counted::default()
    };
    let shown = |line: &[&str]| daemon(two.clone(), Bucket::default()).taskctl(line).out;
    assert!(shown(&["next", "--month"]).starts_with("November 2026, Europe/Berlin\n"));
    assert!(shown(&["next", "--timeline"]).starts_with("2026-11-23, Monday, Europe/Berlin\n"));
}

#[test]
fn what_does_not_count_is_said_and_what_is_left_out_is_a_warning() {
    let daemon = daemon(
        Counted {
            tasks: 10,
            idle: 2,
            paused: 1,
            left_out: 3,
            ..Counted::default()
        },
        Bucket::default(),
    );
    let said = daemon.taskctl(&["next", "--month"]).err;
    assert!(said.contains("2 tasks are disabled or held and not counted"), "{said}");
    assert!(said.contains("1 task is paused"), "{said}");
    assert!(
        said.contains("3 tasks would take too long to count: left out"),
        "{said}"
    );
    let said = daemon.taskctl(&["next", "--month", "--json"]).err;
    let warning: serde_json::Value = serde_json::from_str(&said).expect("JSON, and one object");
    assert_eq!(warning["code"], "cut-short");
}

#[test]
fn a_day_of_tasks_fits_80_columns_and_steers_no_terminal() {
    const EVIL: &str = "a\u{1b}[2J\u{202e}";
    let name = |n: usize| format!("{n:0>64}");
    let bucket = Bucket {
        count: 12_345,
        tasks: 1_000,
        names: (0..4).map(name).chain([EVIL.into()]).collect(),
        ..Bucket::default()
    };
    let change = ClockChange {
        at_ms: ms("2027-03-28T01:00:00Z"),
        task: EVIL.into(),
        others: 2,
        message: EVIL.into(),
    };
    let daemon = daemon(
        Counted {
            tasks: 1_000,
            clock: vec![Rec(change)],
            clock_more: 7,
            ..Counted::default()
        },
        bucket,
    );
    for line in [
        &["next", "--timeline", "2027-03-28"][..],
        &["next", "--timeline", "2027-10-31"],
        &["next", "--month", "2027-03"],
    ] {
        let shown = daemon.taskctl_at(80, line).out;
        assert!(shown.lines().all(|line| line.width() <= 80), "{shown}");
        assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown:?}");
        assert!(shown.contains(" and 2 others: "), "{shown}");
        assert!(shown.contains("and 7 more of the kind"), "{shown}");
    }
}

#[test]
fn an_answer_to_another_question_is_not_taken() {
    let daemon = FakeDaemon::new(|_| Response::Counted(Box::default()));
    let failure = daemon.taskctl(&["next", "--month"]).failure.expect("it is refused");
    assert_eq!(failure.code, "protocol");
}

#[test]
fn numbers_without_measure_end_in_no_panic() {
    let bucket = Bucket {
        count: u64::MAX,
        first_ms: Some(i64::MIN),
        last_ms: Some(i64::MAX),
        tasks: u64::MAX,
        names: Vec::new(),
    };
    let of = |tasks| Counted {
        tasks,
        idle: u64::MAX,
        ..Counted::default()
    };
    for bucket in [bucket.clone(), Bucket { count: 1, ..bucket }] {
        for line in [&["next", "--month"][..], &["next", "--timeline"]] {
            let daemon = daemon(of(u64::MAX), bucket.clone());
            assert_eq!(daemon.taskctl(line).code, 0);
            assert_eq!(daemon.taskctl(&[line, &["--json"]].concat()).code, 0);
        }
    }
}
