//! Verbs against a daemon that answers as it is told: what is asked, and what is shown.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use taskd_wire::client::{
    Accepted, LastRun, Request, Response, RunInfo, RunRef, Status, TaskDetail, TaskNext, TaskSummary, WhileRunning,
};
use taskd_wire::codec::{Rec, Tail};
use taskd_wire::definition::{ActionSpec, EnvVar, ScheduleSpec, TaskPatch, TaskSpec};
use taskd_wire::hello::Hello;
use taskd_wire::refusal::Refusal;

use crate::places::Places;
use crate::testing::{FakeDaemon, Say, taskctl};

mod counted;
mod shown;

fn ms(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().expect("an instant").as_millisecond()
}

fn task(name: &str) -> TaskSummary {
    TaskSummary {
        spec: Rec(TaskSpec {
            name: name.into(),
            schedule: ScheduleSpec::Cron {
                expr: "0 2 * * *".into(),
                tz: Some("Asia/Tokyo".into()),
            },
            action: ActionSpec::Exec {
                argv: vec!["backup".into()],
            },
            env: vec![EnvVar {
                name: "A".into(),
                value: "1".into(),
            }],
            enabled: true,
            ..TaskSpec::default()
        }),
        id: 1,
        tz: Some("Asia/Tokyo".into()),
        next_ms: Some(ms("2026-11-23T17:00:00Z")),
        ..TaskSummary::default()
    }
}

#[test]
fn add_says_when_it_is_due_in_both_zones() {
    let daemon = FakeDaemon::new(|request| {
        let Request::Add(Rec(spec)) = request else {
            panic!("{request:?}")
        };
        assert_eq!(
            spec.schedule,
            ScheduleSpec::Cron {
                expr: "0 2 * * *".into(),
                tz: Some("Asia/Tokyo".into())
            }
        );
        assert_eq!(
            spec.action,
            ActionSpec::Exec {
                argv: vec!["backup".into(), "--all".into()]
            }
        );
        assert!(spec.name.is_empty() && !spec.enabled);
        Response::Accepted(Rec(Accepted {
            name: "backup".into(),
            id: 7,
            next_ms: vec![ms("2026-11-23T17:00:00Z"), ms("2026-11-24T17:00:00Z")],
            tz: Some("Asia/Tokyo".into()),
            warnings: vec!["clocks change".into()],
            idle: None,
        }))
    });
    let line = [
        "add",
        "--cron",
        "0 2 * * *",
        "--tz",
        "Asia/Tokyo",
        "--disabled",
        "--",
        "backup",
        "--all",
    ];
    assert_eq!(
        daemon.taskctl(&line).out,
        "added backup\n  \
         next: 2026-11-23 18:00:00 +01:00 (2026-11-24 02:00:00 Asia/Tokyo), in 7 h\n        \
         2026-11-24 18:00:00 +01:00 (2026-11-25 02:00:00 Asia/Tokyo), in 1 d 7 h\n  \
         note: clocks change\n"
    );
    let json: serde_json::Value =
        serde_json::from_str(&daemon.taskctl(&[&["--json"], &line[..]].concat()).out).expect("JSON");
    assert_eq!(json["next"][0], "2026-11-23T17:00:00Z");
}

#[test]
fn a_bad_expression_never_reaches_the_daemon() {
    let nowhere = Places::new(Some(std::path::Path::new("/nonexistent/s")), None, false);
    let ran = taskctl(nowhere, &["add", "--cron", "61 * * * *", "--", "true"]);
    assert_eq!(ran.code, 2);
    assert_eq!(ran.failure.expect("it failed").code, "bad-field");
}

#[test]
fn without_a_daemon_the_exit_code_is_3() {
    let nowhere = Places::new(Some(std::path::Path::new("/nonexistent/s")), None, false);
    let ran = taskctl(nowhere, &["list"]);
    assert_eq!(ran.code, 3);
    let text = ran.failure.expect("it failed").human(false);
    assert_eq!(
        text,
        "taskctl: no daemon answers at /nonexistent/s\nhint: `taskctl start` starts one of your own\n"
    );
}

#[test]
fn edit_says_what_is_to_be_done_and_leaves_the_rest_to_the_daemon() {
    let daemon = FakeDaemon::new(|request| {
        let Request::Edit {
            name,
            patch: Rec(patch),
        } = request
        else {
            panic!("{request:?}")
        };
        let expr = "0 4 * * *".into();
        let set = EnvVar {
            name: "B".into(),
            value: "2".into(),
        };
        let expected = TaskPatch {
            schedule: Some(ScheduleSpec::Cron { expr, tz: None }),
            set_env: vec![set],
            unset_env: vec!["A".into()],
            description: Some(None),
            ..TaskPatch::default()
        };
        assert_eq!((name.as_str(), patch), ("backup", expected));
        Response::Accepted(Rec(Accepted {
            name,
            ..Accepted::default()
        }))
    });
    let line = "edit backup --env B=2 --unset-env A --cron";
    let line: Vec<&str> = line.split(' ').chain(["0 4 * * *", "--description", ""]).collect();
    let ran = daemon.taskctl(&line);
    assert!(ran.out.starts_with("changed backup\n"), "{}", ran.out);
    assert_eq!(daemon.taskctl(&["edit", "backup"]).code, 2);
}

#[test]
fn edit_can_change_the_zone_alone() {
    let daemon = FakeDaemon::new(|request| {
        let Request::Edit {
            name,
            patch: Rec(patch),
        } = request
        else {
            panic!("{request:?}")
        };
        assert_eq!((patch.tz.as_deref(), patch.schedule), (Some("UTC"), None));
        Response::Accepted(Rec(Accepted {
            name,
            ..Accepted::default()
        }))
    });
    assert_eq!(daemon.taskctl(&["edit", "backup", "--tz", "UTC"]).code, 0);
}

#[test]
fn list_goes_through_all_pages() {
    let daemon = FakeDaemon::new(|request| {
        let Request::List { names, after, .. } = request else {
            panic!("{request:?}")
        };
        assert_eq!(names, ["b*"]);
        let mut summary = task(if after.is_none() { "backup" } else { "bin" });
        if after.is_none() {
            summary.last = Some(Rec(LastRun {
                run: "backup/1".into(),
                outcome: "failed".into(),
                finished_ms: ms("2026-11-23T09:00:00Z"),
            }));
        } else {
            assert_eq!(after.as_deref(), Some("backup"));
            summary.running = vec![4];
        }
        Response::Tasks {
            tasks: vec![Rec(summary)],
            more: after.is_none(),
        }
    });
    assert_eq!(
        daemon.taskctl(&["list", "b*"]).out,
        [
            "NAME    STATE    SCHEDULE   NEXT                         IN ITS ZONE                     LAST            COMMAND",
            "backup           0 2 * * *  2026-11-23 18:00:00  in 7 h  2026-11-24 02:00:00 Asia/Tokyo  failed 1 h ago  backup",
            "bin     running  0 2 * * *  2026-11-23 18:00:00  in 7 h  2026-11-24 02:00:00 Asia/Tokyo  never           backup",
            "",
        ]
        .join("\n")
    );
    let json: serde_json::Value = serde_json::from_str(&daemon.taskctl(&["list", "b*", "--json"]).out).expect("JSON");
    assert_eq!(
        (&json[0]["name"], &json[1]["running"][0]),
        (&"backup".into(), &"bin/4".into())
    );
}

#[test]
fn show_gives_an_object_for_one_and_an_array_for_many() {
    let daemon = FakeDaemon::new(|request| match request {
        Request::Show { name } => Response::Task(Box::new(Rec(TaskDetail {
            summary: Rec(task(&name)),
            ..TaskDetail::default()
        }))),
        Request::List { .. } => Response::Tasks {
            tasks: vec![Rec(task("a")), Rec(task("b"))],
            more: false,
        },
        other => panic!("{other:?}"),
    });
    let json = |line: &[&str]| serde_json::from_str::<serde_json::Value>(&daemon.taskctl(line).out).expect("JSON");
    assert_eq!(json(&["show", "a", "--json"])["name"], "a");
    assert_eq!(
        json(&["show", "*", "b", "--json"]).as_array().expect("an array").len(),
        2
    );
    let text = daemon.taskctl(&["show", "a"]).out;
    assert!(
        text.contains("\nschedule     0 2 * * *  (Asia/Tokyo)\nif missed    the latest fire time is run\ncommand      backup\nenvironment  A=1\n"),
        "{text}"
    );
}

#[test]
fn remove_says_what_can_be_done_about_a_run() {
    let daemon = FakeDaemon::new(|request| match request {
        Request::Remove {
            running: WhileRunning::Refuse,
            ..
        } => Response::Refused(Refusal::StillRunning {
            name: "a".into(),
            run: "a/1".into(),
        }),
        Request::Remove {
            names,
            running: WhileRunning::Cancel,
        } => Response::Done(names),
        other => panic!("{other:?}"),
    });
    let refused = daemon.taskctl(&["remove", "a"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused
            .failure
            .expect("it failed")
            .hint
            .expect("it has one")
            .contains("--keep-running")
    );
    assert_eq!(
        daemon.taskctl(&["remove", "a", "b", "--cancel"]).out,
        "removed a\nremoved b\n"
    );
    assert_eq!(
        daemon.taskctl(&["remove", "a", "--cancel", "--json"]).out,
        "[{\"name\":\"a\"}]\n"
    );
}

#[test]
fn runs_stop_at_the_limit() {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let daemon = FakeDaemon::new(move |request| {
        let Request::Runs {
            before,
            limit,
            filter: Rec(filter),
        } = request
        else {
            panic!("{request:?}")
        };
        assert_eq!(filter.since_ms, Some(ms("2026-11-23T08:00:00Z")));
        count.fetch_add(1, Ordering::Relaxed);
        let first = before.unwrap_or(100);
        let runs = (0..u64::from(limit.min(2)))
            .map(|i| {
                Rec(RunInfo {
                    run: format!("a/{}", first - i),
                    state: "finished".into(),
                    outcome: Some("failed".into()),
                    exit_code: Some(3),
                    reason: Some("exit code 3".into()),
                    started_ms: Some(ms("2026-11-23T09:00:00Z")),
                    duration_ms: Some(1500),
                    ..RunInfo::default()
                })
            })
            .collect();
        Response::Runs {
            runs,
            before: Some(first - 2),
        }
    });
    let ran = daemon.taskctl(&["runs", "a", "--since", "2h", "--limit", "3"]);
    assert_eq!(
        ran.out,
        "RUN    OUTCOME     STARTED               TOOK\n\
         a/100  failed (3)  2026-11-23 10:00:00  1.5 s\n\
         a/99   failed (3)  2026-11-23 10:00:00  1.5 s\n\
         a/98   failed (3)  2026-11-23 10:00:00  1.5 s\n"
    );
    assert_eq!(asked.load(Ordering::Relaxed), 2, "pages");
}

#[test]
fn next_of_an_expression_needs_no_daemon() {
    let nowhere = || Places::new(Some(std::path::Path::new("/nonexistent/s")), None, false);
    let line = [
        "next",
        "--cron",
        "30 2 * * *",
        "--tz",
        "Europe/Berlin",
        "--from",
        "2027-03-27T00:00:00Z",
        "-n",
        "3",
    ];
    assert_eq!(
        taskctl(nowhere(), &line).out,
        "2027-03-27T02:30:00+01:00\n2027-03-28T03:00:00+02:00\n2027-03-29T02:30:00+02:00\n"
    );
    let ran = taskctl(nowhere(), &[&["--json"], &line[..]].concat());
    let json: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(json[1]["at"], "2027-03-28T01:00:00Z");
    assert_eq!(json[1]["note"], "clocks change on 2027-03-28, from UTC+01 to UTC+02");
    assert_eq!(json[0]["note"], serde_json::Value::Null);
    let unknown = taskctl(nowhere(), &["next", "--cron", "@daily", "--tz", "Europe/Berln"]);
    assert_eq!(
        unknown.failure.expect("it failed").hint.as_deref(),
        Some("did you mean Europe/Berlin?")
    );
}

#[test]
fn next_of_tasks_is_sorted_by_time() {
    let daemon = FakeDaemon::new(|request| {
        let Request::Next { names, n } = request else {
            panic!("{request:?}")
        };
        assert_eq!((names.len(), n), (0, 2));
        let next = |name: &str, at: &[&str]| {
            Rec(TaskNext {
                name: name.into(),
                tz: None,
                at_ms: at.iter().map(|t| ms(t)).collect(),
                more: false,
            })
        };
        let tasks = vec![
            next("a", &["2026-11-23T11:00:00Z", "2026-11-23T12:00:00Z"]),
            next("b", &["2026-11-23T10:30:00Z", "2026-11-23T13:00:00Z"]),
        ];
        Response::Next { tasks, more: true }
    });
    assert_eq!(
        daemon.taskctl(&["next", "-n", "2"]).out,
        "AT                                   TASK\n\
         2026-11-23 11:30:00 +01:00  in 30 m  b\n\
         2026-11-23 12:00:00 +01:00  in 1 h   a\n"
    );
}

#[test]
fn a_daemon_of_another_version_is_named_and_still_says_how_it_is() {
    let old = Hello {
        min: 7,
        max: 8,
        caps: 0,
        version: "9.0.0".into(),
    };
    let daemon = FakeDaemon::with(old, |request| panic!("{request:?}"));
    let listed = daemon.taskctl(&["list"]);
    assert_eq!(listed.code, 6);
    assert_eq!(
        listed.failure.expect("it failed").hint.as_deref(),
        Some("upgrade taskctl to 9.0.0")
    );
    let status = daemon.taskctl(&["status", "--json"]);
    assert_eq!(status.code, 6);
    let json: serde_json::Value = serde_json::from_str(&status.out).expect("JSON");
    assert_eq!(
        (&json["pid"], &json["tasks"], &json["next"]),
        (&77.into(), &3.into(), &serde_json::Value::Null)
    );
}

#[test]
fn a_daemon_that_knows_no_users_is_not_told_of_a_task_of_one() {
    let old = Hello {
        caps: 0,
        ..Hello::ours()
    };
    let daemon = FakeDaemon::with(old, |request| match request {
        Request::Edit { patch, .. } => {
            assert_eq!(patch.process.user.0, Some(None));
            Say::All(vec![Response::Accepted(Rec::default())])
        }
        other => panic!("{other:?}"),
    });
    let mut definition = task("a").spec.0;
    definition.process.0.user.0 = Some("ann".into());
    let file = daemon.dir().join("tasks.jsonl");
    std::fs::write(&file, serde_json::to_string(&definition).expect("JSON")).expect("room");
    for line in [
        ["add", "--manual", "--user", "ann", "--", "true"].as_slice(),
        &["edit", "a", "--user", "ann"],
        &["import", file.to_str().expect("a name")],
    ] {
        let ran = daemon.taskctl(line);
        let failure = ran.failure.expect("it failed");
        assert_eq!((ran.code, failure.code), (6, "versions"), "{line:?}");
        assert!(failure.message.contains("too old for --user"), "{failure:?}");
    }
    assert_eq!(daemon.taskctl(&["edit", "a", "--user", ""]).code, 0);
}

#[test]
fn export_and_import_are_each_others_inverse() {
    let daemon = FakeDaemon::new(|request| match request {
        Request::Export { .. } => Response::Definitions {
            tasks: vec![task("a").spec, task("b").spec],
            more: false,
        },
        Request::ImportMore { tasks, lines } => {
            assert_eq!(tasks, [task("a").spec, task("b").spec]);
            assert_eq!(lines, [3, 4]);
            Response::Done(Vec::new())
        }
        Request::ImportEnd => Response::Imported(2),
        other => panic!("{other:?}"),
    });
    let exported = daemon.taskctl(&["export"]).out;
    assert!(
        exported.starts_with(r#"{"name":"a","#) && exported.contains(r#""enabled":true"#),
        "{exported}"
    );
    let file = daemon.dir().join("tasks.jsonl");
    std::fs::write(&file, format!("# a comment\n\n{exported}")).expect("room");
    assert_eq!(
        daemon.taskctl(&["import", file.to_str().expect("a name")]).out,
        "imported 2 tasks\n"
    );
}

#[test]
fn the_first_error_of_an_import_is_the_one_named() {
    let daemon = FakeDaemon::new(|request| match request {
        Request::ImportMore { lines, .. } => Response::Refused(Refusal::ImportLine {
            line: lines[0],
            refusal: Box::new(taskd_wire::refusal::LineRefusal::NameTaken { name: "a".into() }),
        }),
        other => panic!("{other:?}"),
    });
    let good = serde_json::to_string(&task("a").spec.0).expect("JSON");
    let file = daemon.dir().join("tasks.jsonl");
    let message = |content: String| {
        std::fs::write(&file, content).expect("room");
        daemon
            .taskctl(&["import", file.to_str().expect("a name")])
            .failure
            .expect("it failed")
            .message
    };
    assert_eq!(
        message(format!("\n{good}\n{{\n")),
        "line 2: there is a task a already; nothing was imported"
    );
    assert_eq!(
        message("{\n".to_owned()),
        "line 1: EOF while parsing an object, column 1; nothing was imported"
    );
}

#[test]
fn a_runner_that_is_on_its_way_is_waited_for_and_one_that_cannot_come_is_not() {
    for problem in [None, Some("it cannot be started".to_owned())] {
        let asked = Mutex::new(0);
        let runner_problem = Tail(problem.clone());
        let daemon = FakeDaemon::new(move |request| match request {
            Request::Run { .. } => {
                let mut asked = asked.lock().expect("no test holds it while it fails");
                *asked += 1;
                if *asked < 3 {
                    let reason = "no runner is attached".into();
                    return Response::Refused(Refusal::RunnerUnavailable { reason });
                }
                Response::RunsStarted(vec![Rec(RunRef {
                    run: "a/1".into(),
                    ..RunRef::default()
                })])
            }
            Request::Status => Response::Status(Box::new(Rec(Status {
                runner_problem: runner_problem.clone(),
                ..Status::default()
            }))),
            other => panic!("{other:?}"),
        });
        let ran = daemon.taskctl(&["run", "a"]);
        assert_eq!(ran.code, u8::from(problem.is_some()), "{}", ran.err);
    }
}

#[test]
fn a_daemon_that_knows_no_restart_is_older_and_says_how_it_is_restarted() {
    let daemon = FakeDaemon::with(Hello::ours(), |request| match request {
        Request::RestartDaemon => Say::AndLeave(vec![Response::Refused(Refusal::UnknownRequest)]),
        _ => panic!("{request:?}"),
    });
    let ran = daemon.taskctl(&["restart-daemon"]);
    assert_eq!(ran.code, 6);
    let failure = ran.failure.expect("it fails");
    assert!(failure.message.contains("older than this taskctl"), "{failure:?}");
    let hint = failure.hint.expect("it says what to do");
    assert!(hint.contains("systemctl restart taskd"), "{hint}");
}
