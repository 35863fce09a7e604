//! `taskctl next`: coming fire times, of tasks or of an expression.

use serde_json::{Value, json};

use crate::harness::{World, has_keys, is_instant, texts};

#[test]
fn tasks_are_sorted_by_time() {
    let world = World::served();
    let none = world.ctl(&["next"]);
    assert_eq!((none.code(), none.stdout.as_str()), (0, ""), "{none:?}");
    assert_eq!(world.ctl(&["next", "--json"]).json(), json!([]));
    for (name, schedule) in [
        ("late", ["--at", "2097-01-01T00:00:00Z"]),
        ("early", ["--at", "2096-01-01T00:00:00Z"]),
        ("daily", ["--cron", "0 9 * * *"]),
    ] {
        world
            .ctl(&["add", "--name", name, schedule[0], schedule[1], "--", "true"])
            .ok();
    }
    world.ctl(&["add", "--name", "asked", "--manual", "--", "true"]).ok();
    let next = world.ctl(&["next", "--json"]).json();
    assert_eq!(texts(&next, "task"), ["daily", "early", "late"]);
    for fire_time in next.as_array().expect("an array") {
        has_keys(fire_time, "task at local note");
        is_instant(&fire_time["at"]);
    }
    assert_eq!(
        next[1],
        json!({ "task": "early", "at": "2096-01-01T00:00:00Z", "local": "2096-01-01T00:00:00+00:00", "note": null })
    );
    assert_eq!(
        texts(&world.ctl(&["next", "-n", "2", "--json"]).json(), "task"),
        ["daily", "daily"]
    );
    let of_two = world.ctl(&["next", "daily", "l*", "-n", "2", "--json"]).json();
    assert_eq!(texts(&of_two, "task"), ["daily", "daily", "late"]);
    assert_eq!(
        world.ctl(&["next", "daily", "--json"]).json().as_array().map(Vec::len),
        Some(5)
    );
    let table = world.ctl(&["next"]).ok();
    assert!(
        table.starts_with("AT ") && table.contains("2096-01-01 00:00:00 +00:00"),
        "{table}"
    );
}

#[test]
fn what_is_not_there_is_exit_code_4_with_a_suggestion() {
    let world = World::served();
    world
        .ctl(&["add", "--name", "backup", "--every", "1h", "--", "true"])
        .ok();
    let said = world.ctl(&["next", "bakup"]).refused(4);
    assert!(said.contains("did you mean backup?"), "{said}");
    World::new().ctl(&["next"]).refused(3);
}

/// `next --cron`, where there is no daemon.
fn cron(args: &[&str]) -> crate::harness::Ran {
    World::new().ctl(&[&["next", "--cron"], args].concat())
}

#[test]
fn an_expression_needs_no_daemon_and_gives_an_instant_a_line() {
    assert_eq!(
        cron(&[
            "0 9 * * MON-FRI",
            "--tz",
            "America/New_York",
            "--from",
            "2026-03-06T00:00:00Z",
            "-n",
            "3"
        ])
        .ok(),
        "2026-03-06T09:00:00-05:00\n2026-03-09T09:00:00-04:00\n2026-03-10T09:00:00-04:00\n"
    );
    assert_eq!(cron(&["* * * * *"]).ok().lines().count(), 5);
    assert_eq!(cron(&["*/7 * * * * *", "-n", "20000"]).ok().lines().count(), 20_000);
    // Without a zone it is the reader's, which is UTC here; seconds and years are told from each other by their number.
    assert_eq!(
        cron(&["30 0 0 29 2 *", "--from", "2097-01-01T00:00:00Z", "-n", "1"]).ok(),
        "2104-02-29T00:00:30+00:00\n"
    );
    assert_eq!(
        cron(&["0 0 0 1 1 * 2050-2051", "--from", "2026-01-01T00:00:00Z"])
            .ok()
            .lines()
            .count(),
        2
    );
    assert_eq!(
        cron(&["@daily", "--from", "2026-01-01", "-n", "1"]).ok(),
        "2026-01-02T00:00:00+00:00\n"
    );
}

#[test]
fn a_night_without_half_past_two_and_one_with_two_of_them() {
    let berlin = |from| cron(&["30 2 * * *", "--tz", "Europe/Berlin", "--from", from, "-n", "2"]).ok();
    assert_eq!(
        berlin("2027-03-27T12:00:00Z"),
        "2027-03-28T03:00:00+02:00\n2027-03-29T02:30:00+02:00\n"
    );
    assert_eq!(
        berlin("2027-10-30T12:00:00Z"),
        "2027-10-31T02:30:00+02:00\n2027-11-01T02:30:00+01:00\n"
    );
}

#[test]
fn a_zone_without_a_name_is_told_of() {
    let world = World::new();
    let asked = |zone: &str| {
        let mut taskctl = world.taskctl(&[
            "next",
            "--cron",
            "0 9 * * *",
            "--from",
            "2026-01-01T00:00:00Z",
            "-n",
            "1",
        ]);
        let ran = crate::harness::run(taskctl.env("TZ", zone));
        (ran.stderr.contains("no name in the tz database"), ran.ok())
    };
    assert_eq!(
        asked("EST5EDT4,M3.2.0,M11.1.0"),
        (true, "2026-01-01T09:00:00+00:00\n".to_owned())
    );
    assert_eq!(asked("Asia/Tokyo"), (false, "2026-01-02T09:00:00+09:00\n".to_owned()));
}

#[test]
fn a_grid_of_elapsed_time_can_be_spelled_as_an_expression() {
    let from = ["--from", "2026-10-25T00:30:00Z", "--tz", "Europe/Berlin", "-n", "2"];
    let grid = |expr| cron(&[&[expr], &from[..]].concat());
    let hours = "2026-10-25T02:30:00+01:00\n2026-10-25T03:30:00+01:00\n";
    assert_eq!(grid("@every 1h").ok(), hours, "whatever the clock shows");
    assert_eq!(grid(" @EVERY 0h60m").ok(), hours);
    let said = grid("@every 5x").refused(2);
    assert!(said.contains("  --cron @every 5x\n                 ^\n"), "{said}");
    assert!(grid("@every").refused(2).contains("hint: "));
    assert!(grid("@every 10ms").refused(2).contains("at least 1s"));
    assert!(grid("@everyday").refused(2).contains("--cron @everyday"));
}

#[test]
fn what_becomes_of_skipped_and_repeated_times_can_be_chosen() {
    let days = |from: &str, rule: &[&str]| {
        let args = ["30 2 * * *", "--tz", "Europe/Berlin", "--from", from, "-n", "2"];
        cron(&[&args, rule].concat()).ok()
    };
    let spring = "2027-03-27T12:00:00Z";
    let skipped = "2027-03-29T02:30:00+02:00\n2027-03-30T02:30:00+02:00\n";
    assert_eq!(days(spring, &["--dst-gap", "skip"]), skipped);
    let run = "2027-03-28T03:00:00+02:00\n2027-03-29T02:30:00+02:00\n";
    assert_eq!(days(spring, &["--dst-gap", "run"]), run);
    let autumn = "2027-10-30T12:00:00Z";
    for (which, expected) in [
        ("first", "2027-10-31T02:30:00+02:00\n2027-11-01T02:30:00+01:00\n"),
        ("second", "2027-10-31T02:30:00+01:00\n2027-11-01T02:30:00+01:00\n"),
        ("both", "2027-10-31T02:30:00+02:00\n2027-10-31T02:30:00+01:00\n"),
    ] {
        assert_eq!(days(autumn, &["--dst-overlap", which]), expected, "{which}");
    }
}

#[test]
fn json_has_the_instant_in_utc_and_in_the_zone() {
    let next = cron(&[
        "30 2 * * *",
        "--tz",
        "Europe/Berlin",
        "--from",
        "2027-03-27T00:00:00Z",
        "-n",
        "2",
        "--json",
    ])
    .json();
    let [before, after] = next.as_array().expect("an array").as_slice() else {
        panic!("{next}");
    };
    has_keys(before, "at local note");
    assert_eq!(
        (&before["at"], &before["local"], &before["note"]),
        (
            &json!("2027-03-27T01:30:00Z"),
            &json!("2027-03-27T02:30:00+01:00"),
            &Value::Null
        )
    );
    assert_eq!(after["at"], "2027-03-28T01:00:00Z");
    assert!(
        after["note"].as_str().is_some_and(|note| note.contains("2027-03-28")),
        "{after}"
    );
}

#[test]
fn an_expression_that_does_not_fire_any_more_or_never_does_gives_nothing_and_says_so() {
    for expr in ["0 0 0 1 1 * 2001", "0 0 30 2 *"] {
        let ran = cron(&[expr]);
        assert_eq!((ran.code(), ran.stdout.as_str()), (0, ""), "{ran:?}");
        assert!(!ran.stderr.is_empty(), "nothing is said");
        let ran = cron(&[expr, "--json"]);
        assert_eq!((ran.code(), ran.stdout.as_str()), (0, "[]\n"), "{ran:?}");
    }
}

#[test]
fn the_last_days_that_can_be_shown_are_the_last() {
    let last = cron(&["0 22 * * *", "--tz", "UTC", "--from", "9999-12-29T00:00:00Z", "-n", "5"]).ok();
    assert_eq!(last, "9999-12-29T22:00:00+00:00\n9999-12-30T22:00:00+00:00\n");
}

#[test]
fn that_there_are_more_tasks_than_one_answer_holds_is_said() {
    let world = World::served();
    let lines: String = (0..1_001)
        .map(|n| format!("{{\"name\":\"t{n}\",\"schedule\":{{\"kind\":\"cron\",\"expr\":\"0 9 * * *\"}},\"action\":{{\"kind\":\"exec\",\"argv\":[\"true\"]}}}}\n"))
        .collect();
    world.ctl_reading(&["import", "-"], &lines).ok();
    let ran = world.ctl(&["next", "--json"]);
    let next: Value = serde_json::from_str(&ran.stdout).expect("an array");
    assert_eq!((ran.code(), next.as_array().map(Vec::len)), (0, Some(1_000)));
    assert!(ran.stderr.contains("cut-short"), "{}", ran.stderr);
    // The soonest ten are the soonest ten, and the only task asked for has all that was asked for.
    assert_eq!(world.ctl(&["next", "-n", "10", "--json"]).stderr, "");
    assert_eq!(world.ctl(&["next", "t1", "-n", "1000", "--json"]).stderr, "");
    assert!(
        world
            .ctl(&["next", "t1", "-n", "1001"])
            .stderr
            .contains("there are more")
    );
}

#[test]
fn a_malformed_expression_is_pointed_at() {
    for (expr, part) in [
        ("0 25 * * *", "  --cron 0 25 * * *\n           ^^\n"),
        ("* * * *", "^"),
        ("0 9 * * MONN", "    ^^^^\n"),
        ("@dayly", "@daily"),
        ("", "--cron"),
    ] {
        let ran = cron(&[expr]);
        assert!(matches!(ran.code(), 1 | 2) && ran.stdout.is_empty(), "{ran:?}");
        assert!(ran.stderr.contains(part), "{expr:?}: {}", ran.stderr);
        let error = cron(&[expr, "--json"]);
        assert_eq!(error.code(), ran.code());
        error.error(ran.code());
    }
    let said = cron(&["@daily", "--tz", "Europe/Berln"]).refused(2);
    assert!(said.contains("did you mean Europe/Berlin?"), "{said}");
    let said = cron(&["@daily", "--from", "tomorrowish"]).refused(2);
    assert!(said.contains("--from tomorrowish\n"), "{said}");
    cron(&["@daily", "-n", "0"]).refused(2);
    cron(&["@daily", "task"]).refused(2);
}
