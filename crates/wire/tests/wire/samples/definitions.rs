//! Definitions, and changes of them.

use taskd_wire::codec::Rec;
use taskd_wire::definition::*;

use super::s;

pub fn spec() -> TaskSpec {
    TaskSpec {
        name: s("backup"),
        schedule: ScheduleSpec::Cron {
            expr: s("30 2 * * *"),
            tz: Some(s("Europe/Berlin")),
        },
        action: ActionSpec::Exec {
            argv: vec![s("/usr/bin/restic"), s("backup"), s("/home")],
        },
        cwd: Some(s("/var/backups")),
        env: vec![EnvVar {
            name: s("LEVEL"),
            value: s("9=ü"),
        }],
        description: Some(s("nightly")),
        enabled: true,
        misfire: MisfireSpec::Once,
        misfire_within_ms: Some(7_200_000),
        dst_gap: DstGap::Skip,
        dst_overlap: DstOverlap::Second,
        also: vec![Rec(ScheduleSpec::Boot)],
        jitter_ms: 600_000,
        start: Some(s("2026-12-01T00:00:00Z")),
        end: Some(s("2027-12-01T00:00:00Z")),
        count: Some(100),
        calendars: vec![CalendarUse {
            name: s("holidays"),
            keep: CalendarKeep::Only,
        }],
        labels: vec![s("db")],
        timeout_ms: Some(60_000),
        deadline_ms: Some(600_000),
        grace_ms: Some(5_000),
        kill_signal: Some(s("INT")),
        retries: 3,
        backoff: Some(BackoffSpec {
            initial_ms: 2_000,
            max_ms: 60_000,
            factor_percent: 150,
            jitter: true,
        }),
        retry_on: Some(vec![s("timed-out"), s("exit:75")]),
        success_codes: Some(vec![0, 2]),
        concurrency: Some("queue:4".to_owned()),
        group: Some(s("db")),
        priority: -10,
        locks: vec![s("disk")],
        output_max: Some(1 << 20),
        keep_runs: Some(50),
        keep_for_ms: Some(86_400_000),
        output: OutputKind::File,
        mask: vec![s("token=.*")],
    }
}

pub fn patch() -> TaskPatch {
    TaskPatch {
        name: Some(s("backup2")),
        schedule: Some(ScheduleSpec::Manual),
        action: Some(ActionSpec::Shell { line: s("true") }),
        cwd: Some(None),
        set_env: spec().env,
        unset_env: vec![s("OLD")],
        description: Some(Some(s("weekly"))),
        enabled: Some(false),
        tz: Some(s("UTC")),
        misfire: Some(MisfireSpec::Skip),
        misfire_within_ms: Some(60_000),
        dst_gap: Some(DstGap::Run),
        dst_overlap: Some(DstOverlap::Both),
        also: vec![Rec(ScheduleSpec::Boot)],
        jitter_ms: Some(0),
        start: Some(None),
        end: Some(Some(s("2027-12-01"))),
        count: Some(3),
        calendars: Some(spec().calendars),
        set_labels: vec![s("db")],
        unset_labels: vec![s("web")],
        timeout_ms: Some(Some(1_000)),
        deadline_ms: Some(None),
        grace_ms: Some(Some(0)),
        kill_signal: Some(Some(s("HUP"))),
        retries: Some(5),
        backoff: Some(BackoffPatch {
            bounds_ms: Some((1_000, 2_000)),
            factor_percent: Some(300),
            jitter: Some(false),
        }),
        retry_on: Some(None),
        success_codes: Some(Some(vec![3])),
        concurrency: Some(None),
        group: Some(None),
        priority: Some(7),
        locks: Some(vec![s("disk")]),
        output_max: Some(Some(8_192)),
        keep_runs: Some(None),
        keep_for_ms: Some(Some(60_000)),
        output: Some(OutputKind::Discard),
        mask: Some(vec![s("key=.*")]),
    }
}
