//! What is shown on a terminal: it fits, and nothing in it is obeyed, whatever the daemon says.

use taskd_wire::client::{
    Accepted, Finding, LastRun, Request, Response, RunInfo, RunOutput, RunRef, Status, TaskFindings, TaskNext,
};
use taskd_wire::codec::Rec;
use taskd_wire::refusal::Refusal;
use unicode_width::UnicodeWidthStr as _;

use super::{ms, task};
use crate::testing::FakeDaemon;

/// Many answers to one question would not be believed.
fn daemon(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> FakeDaemon {
    FakeDaemon::new(move |request| answer(&request))
}

#[test]
fn tables_fit_80_columns() {
    let daemon = daemon(|request| match request {
        Request::List { .. } => {
            let mut long = task("a-task-with-a-name-of-forty-characters-");
            long.last = Some(Rec(LastRun {
                run: "x/1".into(),
                outcome: "spawn-failed".into(),
                finished_ms: ms("2026-11-23T09:00:00Z"),
            }));
            long.running = vec![7];
            Response::Tasks {
                tasks: vec![Rec(task("backup")), Rec(long)],
                more: false,
            }
        }
        Request::Runs { .. } => {
            let run = RunInfo {
                run: "nightly-backup-of-everything/1042".into(),
                state: "finished".into(),
                outcome: Some("failed".into()),
                exit_code: Some(3),
                trigger: "schedule".into(),
                reason: Some("the reason is a long one".into()),
                started_ms: Some(ms("2026-11-23T09:00:00Z")),
                duration_ms: Some(200_000),
                ..RunInfo::default()
            };
            Response::Runs {
                runs: vec![Rec(run)],
                before: None,
            }
        }
        Request::Next { .. } => Response::Next {
            tasks: vec![Rec(TaskNext {
                name: "backup".into(),
                tz: Some("Asia/Tokyo".into()),
                at_ms: vec![ms("2027-03-28T05:00:00Z")],
                more: false,
            })],
            more: false,
        },
        other => panic!("{other:?}"),
    });
    for (line, kept) in [
        (&["list"][..], &["NAME", "STATE", "SCHEDULE", "NEXT", "LAST"][..]),
        (&["runs"], &["RUN", "OUTCOME", "STARTED", "TOOK", "REASON"]),
        (&["next"], &["AT", "TASK"]),
    ] {
        let shown = daemon.taskctl_at(80, line).out;
        for row in shown.lines() {
            assert!(row.width() <= 80, "{} columns: {row}", row.width());
        }
        let heads: Vec<&str> = shown.lines().next().expect("it has heads").split_whitespace().collect();
        for head in kept {
            assert!(heads.contains(head), "no {head}: {shown}");
        }
    }
    assert!(daemon.taskctl(&["list"]).out.contains("IN ITS ZONE"));
}

#[test]
fn nothing_that_a_daemon_says_steers_the_terminal() {
    const EVIL: &str = "a\u{1b}[2J\u{202e}";
    let daemon = daemon(|request| match request {
        Request::Add(_) => Response::Accepted(Rec(Accepted {
            name: EVIL.into(),
            warnings: vec![EVIL.into()],
            ..Accepted::default()
        })),
        Request::Run { .. } => Response::RunsStarted(vec![Rec(RunRef {
            run: EVIL.into(),
            trace_id: EVIL.into(),
            ..RunRef::default()
        })]),
        Request::Enable { .. } | Request::Remove { .. } | Request::Cancel { .. } => Response::Done(vec![EVIL.into()]),
        Request::Status => Response::Status(Box::new(Rec(Status {
            version: EVIL.into(),
            state_dir: EVIL.into(),
            log: EVIL.into(),
            store_error: Some(EVIL.into()),
            ..Status::default()
        }))),
        Request::Output { .. } => Response::Output(Rec(RunOutput {
            info: Rec(RunInfo {
                run: EVIL.into(),
                ..RunInfo::default()
            }),
            files: vec![EVIL.into()],
            ..RunOutput::default()
        })),
        Request::Lint { .. } => Response::Findings {
            tasks: vec![Rec(TaskFindings {
                name: EVIL.into(),
                findings: vec![Rec(Finding {
                    code: EVIL.into(),
                    message: EVIL.into(),
                    suggestion: Some(EVIL.into()),
                })],
            })],
            more: false,
        },
        Request::Disable { .. } => Response::Refused(Refusal::BadField {
            field: EVIL.into(),
            text: EVIL.into(),
            at: Some((1, 1)),
            problem: EVIL.into(),
            cure: Some(EVIL.into()),
        }),
        other => panic!("{other:?}"),
    });
    for line in [
        &["add", "--manual", "--", "true"][..],
        &["run", "a"],
        &["enable", "a"],
        &["remove", "a"],
        &["cancel", "a"],
        &["status"],
        &["logs", "a", "--path"],
        &["lint"],
        &["disable", "a"],
    ] {
        let ran = daemon.taskctl_at(80, line);
        let failed = ran.failure.map(|failure| failure.human(false)).unwrap_or_default();
        let said = ran.out + &ran.err + &failed;
        assert!(said.contains("a\u{fffd}[2J\u{fffd}"), "{line:?}: {said:?}");
        assert!(!said.contains(['\u{1b}', '\u{202e}']), "{line:?}: {said:?}");
    }
}

#[test]
fn numbers_without_measure_end_in_no_panic() {
    let daemon = daemon(|_| Response::Runs {
        runs: vec![Rec(RunInfo {
            run: "a/1".into(),
            max_rss_kib: Some(u64::MAX),
            user_us: Some(u64::MAX),
            system_us: Some(u64::MAX),
            lateness_ms: Some(i64::MIN),
            fire_time_ms: Some(i64::MAX),
            started_ms: Some(i64::MIN),
            ..RunInfo::default()
        })],
        before: None,
    });
    assert_eq!(daemon.taskctl(&["runs", "--wide"]).code, 0);
}

#[test]
fn a_list_that_does_not_get_on_ends() {
    let daemon = daemon(|request| match request {
        Request::List { .. } => Response::Tasks {
            tasks: vec![Rec(task("a"))],
            more: true,
        },
        Request::Runs { .. } => Response::Runs {
            runs: vec![Rec(RunInfo::default())],
            before: Some(1),
        },
        other => panic!("{other:?}"),
    });
    for line in [&["list"][..], &["runs", "--limit", "0"]] {
        let failure = daemon.taskctl(line).failure.expect("it is given up");
        assert_eq!(failure.code, "protocol", "{line:?}");
    }
}

#[test]
fn next_says_when_one_answer_does_not_hold_all() {
    let next = |name: &str, at: &[&str], more| {
        Rec(TaskNext {
            name: name.into(),
            tz: None,
            at_ms: at.iter().map(|at| ms(at)).collect(),
            more,
        })
    };
    let cut_at = |line: &[&str], tasks: Vec<Rec<TaskNext>>, more| {
        let daemon = daemon(move |_| Response::Next {
            tasks: tasks.clone(),
            more,
        });
        let ran = daemon.taskctl(line);
        let json = daemon.taskctl(&[line, &["--json"]].concat());
        if !json.err.is_empty() {
            let warning: serde_json::Value = serde_json::from_str(&json.err).expect("JSON");
            assert_eq!(warning["code"], "cut-short");
        }
        assert_eq!((ran.code, json.code), (0, 0));
        assert_eq!(ran.err.is_empty(), json.err.is_empty(), "{} {}", ran.err, json.err);
        ran.err.contains("more fire times")
    };
    let (one, two, three) = ("2026-11-23T11:00:00Z", "2026-11-23T12:00:00Z", "2026-11-23T13:00:00Z");
    assert!(
        cut_at(&["next"], vec![next("a", &[one], false)], true),
        "tasks are missing"
    );
    assert!(!cut_at(&["next"], vec![next("a", &[one], false)], false));
    assert!(
        cut_at(&["next", "a"], vec![next("a", &[one], true)], false),
        "times are missing"
    );
    // The two soonest are there, whatever comes after them.
    let tasks = vec![next("a", &[one, three], true), next("b", &[two], false)];
    assert!(!cut_at(&["next", "-n", "2"], tasks, true));
    // After one, a may have another before two.
    let tasks = vec![next("a", &[one], true), next("b", &[two], false)];
    assert!(cut_at(&["next", "-n", "2"], tasks, false));
}
