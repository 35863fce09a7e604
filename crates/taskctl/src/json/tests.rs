//! The shapes as scripts see them: these texts are promises, and only ever grow.

use super::*;
use taskd_wire::client::Status;
use taskd_wire::codec::Rec;
use taskd_wire::definition::TaskSpec;

fn shown(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("our shapes are always JSON")
}

fn summary() -> TaskSummary {
    TaskSummary {
        spec: Rec(TaskSpec {
            name: "backup".into(),
            schedule: ScheduleSpec::Cron {
                expr: "0 2 * * *".into(),
                tz: None,
            },
            action: ActionSpec::Exec {
                argv: vec!["backup".into(), "--all".into()],
            },
            enabled: true,
            ..TaskSpec::default()
        }),
        id: 7,
        owner: 1000,
        tz: Some("Europe/Berlin".into()),
        next_ms: Some(0),
        last: Some(Rec(LastRun {
            run: "backup/41".into(),
            outcome: "failed".into(),
            finished_ms: 1,
        })),
        running: vec![42],
        held: None,
        paused: Some(Rec(Pause {
            all: false,
            since_ms: 0,
            until_ms: None,
            by: "uid 7".into(),
            note: None,
        })),
    }
}

#[test]
fn list() {
    assert_eq!(
        shown(&Task::of(&summary())),
        concat!(
            r#"{"name":"backup","id":7,"owner":1000,"enabled":true,"#,
            r#""schedule":{"kind":"cron","expr":"0 2 * * *","tz":"Europe/Berlin"},"#,
            r#""action":{"kind":"exec","argv":["backup","--all"]},"next":"1970-01-01T00:00:00Z","#,
            r#""last":{"run":"backup/41","outcome":"failed","finished_at":"1970-01-01T00:00:00.001Z"},"#,
            r#""running":["backup/42"],"held":null,"description":null,"labels":[],"#,
            r#""paused":{"all":false,"since":"1970-01-01T00:00:00Z","until":null,"by":"uid 7","note":null}}"#
        )
    );
}

#[test]
fn unknowns_are_null() {
    let task = TaskSummary {
        spec: Rec(TaskSpec {
            name: "a".into(),
            ..TaskSpec::default()
        }),
        ..TaskSummary::default()
    };
    let text = shown(&Task::of(&task));
    assert!(
        text.contains(r#""schedule":{"kind":"manual","expr":null,"tz":null}"#),
        "{text}"
    );
    assert!(text.contains(r#""next":null,"last":null,"running":[]"#), "{text}");
    let run = RunInfo {
        run: "a/1".into(),
        task: "a".into(),
        state: "waiting".into(),
        ..RunInfo::default()
    };
    let text = shown(&Run::of(&run));
    assert!(
        text.contains(r#""fire_time":null,"started_at":null,"finished_at":null,"state":"waiting","outcome":null"#),
        "{text}"
    );
}

#[test]
fn schedules_and_actions_of_every_kind() {
    let schedule = |spec: ScheduleSpec| shown(&Schedule::of(&spec, None, None));
    assert_eq!(
        schedule(ScheduleSpec::Every {
            interval_ms: 90_000,
            anchor_ms: None
        }),
        r#"{"kind":"every","expr":"90s","tz":null}"#
    );
    assert_eq!(
        schedule(ScheduleSpec::At {
            at: "2026-12-01T09:00".into(),
            tz: Some("UTC".into())
        }),
        r#"{"kind":"at","expr":"2026-12-01T09:00","tz":"UTC"}"#
    );
    assert_eq!(
        schedule(ScheduleSpec::In { delay_ms: 1_200_000 }),
        r#"{"kind":"in","expr":"20m","tz":null}"#
    );
    assert_eq!(
        shown(&Action::of(&ActionSpec::Shell { line: "a | b".into() })),
        r#"{"kind":"shell","argv":["a | b"]}"#
    );
}

#[test]
fn runs() {
    let run = RunInfo {
        run: "a/1".into(),
        task: "a".into(),
        trigger: "schedule".into(),
        fire_time_ms: Some(1000),
        created_ms: 1001,
        started_ms: Some(1002),
        finished_ms: Some(3002),
        state: "finished".into(),
        outcome: Some("failed".into()),
        exit_code: Some(3),
        attempts: 1,
        trace_id: "0123".into(),
        duration_ms: Some(2000),
        lateness_ms: Some(2),
        reason: Some("exit code 3".into()),
        ..RunInfo::default()
    };
    assert!(
        shown(&Run::of(&run)).starts_with(concat!(
            r#"{"run":"a/1","task":"a","trigger":"schedule","fire_time":"1970-01-01T00:00:01Z","#,
            r#""started_at":"1970-01-01T00:00:01.002Z","finished_at":"1970-01-01T00:00:03.002Z","state":"finished","#,
            r#""outcome":"failed","exit_code":3,"signal":null,"attempts":1,"trace_id":"0123","duration_ms":2000,"#,
            r#""lateness_ms":2,"reason":"exit code 3","#
        )),
        "{}",
        shown(&Run::of(&run))
    );
}

#[test]
fn show_is_list_and_more() {
    let detail = TaskDetail {
        summary: Rec(summary()),
        runs: 42,
        ..TaskDetail::default()
    };
    let text = shown(&Detail::of(&detail));
    let list = shown(&Task::of(&detail.summary));
    assert!(text.starts_with(list.trim_end_matches('}')), "{text}");
    assert!(
        text.contains(r#""cwd":null,"env":[],"created_at":"#) && text.contains(r#""runs":42"#),
        "{text}"
    );
}

#[test]
fn status_and_added() {
    let status = Status {
        version: "0.1.0".into(),
        protocol: 1,
        pid: 5,
        runner_pid: Some(6),
        ..Status::default()
    };
    let text = shown(&Daemon::of(&status, "/s"));
    assert!(
        text.starts_with(concat!(
            r#"{"version":"0.1.0","protocol":1,"pid":5,"started_at":"1970-01-01T00:00:00Z","tasks":0,"running":0,"#,
            r#""waiting":0,"next":null,"runner":{"pid":6,"version":null,"cgroups":null},"store":{"bytes":0,"horizon":null,"#
        )),
        "{text}"
    );
    let added = Accepted {
        name: "a".into(),
        id: 1,
        next_ms: vec![0],
        ..Accepted::default()
    };
    assert!(shown(&Added::of(&added)).starts_with(r#"{"name":"a","id":1,"next":["1970-01-01T00:00:00Z"]"#));
}

#[test]
fn months_and_days_of_next() {
    let day = Day {
        day: "2027-03-28".into(),
        count: 1,
        first: Some("2027-03-28T03:00:00+02:00".into()),
        last: None,
        note: None,
    };
    assert_eq!(
        shown(&day),
        r#"{"day":"2027-03-28","count":1,"first":"2027-03-28T03:00:00+02:00","last":null,"note":null}"#
    );
    let tasks = ["backup".to_owned()];
    let timeline = Timeline {
        day: "2027-03-28".into(),
        zone: Some("Europe/Berlin"),
        hours: vec![Hour {
            hour: 3,
            count: 2,
            at: "2027-03-28T01:00:00Z".into(),
        }],
        minutes: vec![Minute {
            at: "2027-03-28T01:00:00Z".into(),
            count: 2,
            tasks: &tasks,
            more: 1,
        }],
        note: None,
    };
    assert_eq!(
        shown(&timeline),
        concat!(
            r#"{"day":"2027-03-28","zone":"Europe/Berlin","hours":[{"hour":3,"count":2,"at":"2027-03-28T01:00:00Z"}],"#,
            r#""minutes":[{"at":"2027-03-28T01:00:00Z","count":2,"tasks":["backup"],"more":1}],"note":null}"#
        )
    );
}
