//! `taskctl calendar`: sets of days and times that tasks keep to or keep clear of.

use serde_json::{Value, json};

use crate::harness::{World, has_keys, is_instant, wait_for};

fn shown(world: &World, name: &str) -> Value {
    world.ctl(&["calendar", "show", name, "--json"]).json()
}

fn next(world: &World, name: &str, n: &str) -> Vec<String> {
    let told = world.ctl(&["next", name, "-n", n, "--json"]).json();
    let at = |entry: &Value| entry["at"].as_str().expect("an instant").to_owned();
    told.as_array().expect("an array").iter().map(at).collect()
}

#[test]
fn a_calendar_is_made_of_rules_and_days_and_files() {
    let world = World::served();
    let said = world
        .ctl(&[
            "calendar",
            "add",
            "closed",
            "--rule",
            "weekends",
            "--rule",
            "12-25",
            "--day",
            "2099-05-04..2099-05-06",
        ])
        .ok();
    assert_eq!(said, "set calendar closed\n");
    let whole = shown(&world, "closed");
    has_keys(
        &whole,
        "name tz freeze days ranges rules tasks changed_at by covers users",
    );
    is_instant(&whole["changed_at"]);
    assert_eq!(
        whole["covers"],
        json!({ "days": ["2099-05-04..2099-05-06"], "rules": ["weekends", "12-25"] })
    );
    let list = "days = [\"2099-03-01\"]\nranges = [{ from = \"2099-03-02T10:00\", to = \"2099-03-02T12:00\" }]\n";
    world
        .ctl_reading(&["calendar", "add", "list", "-", "--tz", "Europe/Berlin"], list)
        .ok();
    let whole = shown(&world, "list");
    assert_eq!(
        (&whole["days"], &whole["ranges"], &whole["tz"]),
        (&json!(1), &json!(1), &json!("Europe/Berlin"))
    );
    let file = world.path("holidays.ics");
    let lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//x//y//EN",
        "BEGIN:VEVENT",
        "UID:1",
        "DTSTAMP:20260101T000000Z",
        "DTSTART;VALUE=DATE:20270101",
        "DTEND;VALUE=DATE:20270102",
        "RRULE:FREQ=YEARLY",
        "SUMMARY:New Year",
        "END:VEVENT",
        "END:VCALENDAR",
        "",
    ];
    std::fs::write(&file, lines.join("\r\n")).expect("a file");
    let text = file.display().to_string();
    world.ctl(&["calendar", "add", "ics", &text]).ok();
    assert!(
        shown(&world, "ics")["covers"]["days"]
            .as_array()
            .is_some_and(|days| days.len() >= 9)
    );
    let names: Vec<Value> = world
        .ctl(&["calendar", "list", "--json"])
        .json()
        .as_array()
        .expect("an array")
        .iter()
        .map(|calendar| calendar["name"].clone())
        .collect();
    assert_eq!(names, ["closed", "ics", "list"]);
    assert!(
        world
            .ctl(&["calendar", "list"])
            .ok()
            .contains("closed: weekends, 12-25, 3 days; used by 0 tasks")
    );
    assert!(
        world
            .ctl(&["calendar", "show", "closed"])
            .ok()
            .contains("2099-05-04..2099-05-06")
    );
    // In its place.
    world.ctl(&["calendar", "add", "closed", "--rule", "fri"]).ok();
    assert_eq!(shown(&world, "closed")["covers"], json!({ "rules": ["fri"] }));
    assert_eq!(
        world.ctl(&["calendar", "remove", "list", "ics"]).ok(),
        "removed calendar list\nremoved calendar ics\n"
    );
}

#[test]
fn a_task_keeps_clear_of_it_or_to_it_and_survives_a_restart() {
    let mut world = World::served();
    world.ctl(&["calendar", "add", "closed", "--rule", "weekends"]).ok();
    let add = [
        "add",
        "--cron",
        "0 9 * * *",
        "--tz",
        "UTC",
        "--start",
        "2099-05-01T00:00Z",
    ];
    world
        .ctl(&[&add[..], &["--name", "clear", "--calendar", "closed", "--", "true"]].concat())
        .ok();
    world
        .ctl(
            &[
                &add[..],
                &["--name", "keeps", "--calendar", "closed=only", "--", "true"],
            ]
            .concat(),
        )
        .ok();
    let (clear, keeps) = (
        ["2099-05-01T09:00:00Z", "2099-05-04T09:00:00Z", "2099-05-05T09:00:00Z"],
        ["2099-05-02T09:00:00Z", "2099-05-03T09:00:00Z", "2099-05-09T09:00:00Z"],
    );
    assert_eq!(
        (next(&world, "clear", "3"), next(&world, "keeps", "3")),
        (clear.map(String::from).into(), keeps.map(String::from).into())
    );
    world.kill();
    world.start();
    assert_eq!(next(&world, "clear", "3"), clear);
    assert!(world.ctl(&["show", "clear"]).ok().contains("keeps clear of closed"));
    let why = world.ctl(&["why", "clear", "2099-05-02T09:00Z", "--json"]).json()[0].take();
    assert_eq!(
        (&why["verdict"], &why["reason"]),
        (&json!("suppressed"), &json!("calendar closed excludes it"))
    );
    assert_eq!(shown(&world, "closed")["users"], json!(["clear", "keeps"]));
    let said = world.ctl(&["calendar", "remove", "closed"]).refused(1);
    assert!(said.contains("task clear uses calendar closed"), "{said}");
    // Exported and imported, it is the same.
    let copy = world.ctl(&["export", "clear"]).ok().replace("\"clear\"", "\"copy\"");
    world.ctl_reading(&["import", "-"], &copy).ok();
    assert_eq!(next(&world, "copy", "3"), clear);
    world.ctl(&["edit", "clear", "--calendar", ""]).ok();
    assert_eq!(next(&world, "clear", "2")[1], "2099-05-02T09:00:00Z");
}

#[test]
fn what_it_suppresses_is_in_the_ledger() {
    let world = World::served();
    world
        .ctl(&["calendar", "add", "always", "--day", "1970-01-01..9999-12-31"])
        .ok();
    world
        .ctl(&[
            "add",
            "--name",
            "tick",
            "--every",
            "1s",
            "--calendar",
            "always",
            "--",
            "true",
        ])
        .ok();
    let span = wait_for("two that are skipped", || {
        let shown = world.ctl(&["show", "tick", "--json"]).json();
        let span = shown["passed"][0].clone();
        (span["count"].as_u64()? >= 2).then_some(span)
    });
    assert_eq!(
        (&span["outcome"], &span["reason"]),
        (&json!("skipped"), &json!("calendar always excludes it"))
    );
    assert_eq!(world.ctl(&["runs", "tick", "--json"]).json(), json!([]));
    // It counts at once.
    world.ctl(&["calendar", "add", "always", "--day", "1970-01-01"]).ok();
    assert_eq!(world.finished("tick/1")["outcome"], "succeeded");
}

#[test]
fn fire_times_move_to_the_nearest_open_day() {
    let world = World::served();
    world.ctl(&["calendar", "add", "closed", "--rule", "weekends"]).ok();
    // 15 August 2099 is a Saturday, 15 November a Sunday.
    let add = [
        "add",
        "--cron",
        "0 9 15 8,11 *",
        "--tz",
        "UTC",
        "--start",
        "2099-01-01T00:00Z",
    ];
    world
        .ctl(
            &[
                &add[..],
                &["--name", "later", "--calendar", "closed=next", "--", "true"],
            ]
            .concat(),
        )
        .ok();
    world
        .ctl(
            &[
                &add[..],
                &["--name", "earlier", "--calendar", "closed=previous", "--", "true"],
            ]
            .concat(),
        )
        .ok();
    assert_eq!(
        next(&world, "later", "2"),
        ["2099-08-17T09:00:00Z", "2099-11-16T09:00:00Z"]
    );
    assert_eq!(
        next(&world, "earlier", "2"),
        ["2099-08-14T09:00:00Z", "2099-11-13T09:00:00Z"]
    );
    let verdict = |at: &str| world.ctl(&["why", "later", at, "--json"]);
    assert_eq!(verdict("2099-08-17T09:00Z").json()[0]["verdict"], "planned");
    assert_eq!(verdict("2099-08-15T09:00Z").code(), 4, "it is none any more");
    assert!(
        world
            .ctl(&["show", "later"])
            .ok()
            .contains("moves from closed to the next day")
    );
    for (wrong, says) in [
        (
            &["--every", "1h", "--calendar", "closed=next"][..],
            "have a day that they could be moved from",
        ),
        (
            &["--cron", "*/30 * * * *", "--calendar", "closed=next"],
            "more often than each hour",
        ),
        (
            &[
                "--cron",
                "0 9 1 * *",
                "--cron",
                "* * * 25 12 *",
                "--calendar",
                "closed=next",
            ],
            "more often than each hour",
        ),
        (
            &[
                "--cron",
                "0 9 * * *",
                "--calendar",
                "closed=next",
                "--calendar",
                "closed=previous",
            ],
            "and not both",
        ),
    ] {
        let said = world.ctl(&[&["add"], wrong, &["--", "true"]].concat()).refused(2);
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn a_calendar_freezes_tasks_by_name_and_by_label() {
    let world = World::served();
    world
        .ctl(&["add", "--name", "prod-a", "--every", "1s", "--", "true"])
        .ok();
    world
        .ctl(&["add", "--name", "b", "--label", "db", "--every", "1s", "--", "true"])
        .ok();
    world
        .ctl(&["add", "--name", "test-a", "--every", "1s", "--", "true"])
        .ok();
    world.finished("prod-a/1");
    world
        .ctl(&[
            "calendar",
            "add",
            "release",
            "--day",
            "1970-01-01..9999-12-31",
            "--freeze",
            "prod-*",
            "--freeze",
            "label:db",
        ])
        .ok();
    let span = wait_for("one that is skipped", || {
        let shown = world.ctl(&["show", "prod-a", "--json"]).json();
        shown["passed"]
            .as_array()?
            .iter()
            .find(|span| span["reason"] == "calendar release freezes it")
            .cloned()
    });
    assert_eq!(span["outcome"], "skipped");
    assert_eq!(world.ctl(&["next", "prod-a", "--json"]).json(), json!([]));
    assert_eq!(world.ctl(&["next", "b", "--json"]).json(), json!([]));
    assert!(!next(&world, "test-a", "1").is_empty());
    world.ctl(&["calendar", "remove", "release"]).ok();
    assert!(!next(&world, "prod-a", "1").is_empty());
}

#[test]
fn what_is_wrong_is_pointed_at() {
    let world = World::served();
    let said = world
        .ctl(&["calendar", "add", "x", "--rule", "weekend days"])
        .refused(2);
    assert!(said.contains("--rule weekend days"), "{said}");
    let said = world.ctl(&["calendar", "add", "a b", "--rule", "weekends"]).refused(2);
    assert!(said.contains("  NAME a b\n        ^"), "{said}");
    let said = world.ctl(&["calendar", "add", "x", "--day", "2026-02-30"]).refused(2);
    assert!(said.contains("2026-02-30"), "{said}");
    let said = world
        .ctl_reading(&["calendar", "add", "x", "-"], "days = [\"2026-13-01\"]\n")
        .refused(2);
    assert!(said.contains("line 1") && said.contains('^'), "{said}");
    world.ctl(&["calendar", "add", "x"]).refused(2);
    world.ctl(&["calendar", "add", "x y", "--rule", "weekends"]).refused(2);
    let said = world
        .ctl(&["calendar", "add", "x", "--rule", "weekends", "--tz", "Mars"])
        .refused(2);
    assert!(said.contains("Mars"), "{said}");
    world.ctl(&["calendar", "add", "holidays", "--rule", "weekends"]).ok();
    let said = world.ctl(&["calendar", "show", "holidys"]).refused(4);
    assert!(said.contains("did you mean holidays?"), "{said}");
    world.ctl(&["calendar", "remove", "holidays", "none"]).refused(4);
    let said = world
        .ctl(&["add", "--every", "1h", "--calendar", "none", "--", "true"])
        .refused(2);
    assert!(said.contains("there is no calendar none"), "{said}");
    let said = world
        .ctl(&["add", "--every", "1h", "--calendar", "holidays=maybe", "--", "true"])
        .refused(2);
    assert!(said.contains("this is no use of a calendar"), "{said}");
    world
        .ctl(&["add", "--manual", "--calendar", "holidays", "--", "true"])
        .refused(2);
    assert_eq!(world.ctl(&["list", "--json"]).json(), json!([]));
}

#[test]
fn what_is_frozen_and_what_has_no_run_left_does_not_count() {
    let world = World::served();
    let add = |name: &str, rest: &[&str]| {
        world
            .ctl(
                &[
                    &["add", "--name", name, "--cron", "0 12 * * *", "--tz", "UTC"],
                    rest,
                    &["--", "true"],
                ]
                .concat(),
            )
            .ok();
    };
    add("frozen", &["--label", "db"]);
    add("few", &["--start", "2098-03-03", "--count", "4"]);
    world
        .ctl(&[
            "calendar",
            "add",
            "release",
            "--day",
            "2098-03-01..2098-03-10",
            "--freeze",
            "label:db",
        ])
        .ok();
    let counts = |name: &str| -> Vec<u64> {
        let days = world.ctl(&["next", name, "--month", "2098-03", "--json"]).json();
        let days = days.as_array().expect("an array").iter();
        days.map(|day| day["count"].as_u64().expect("a number")).collect()
    };
    assert_eq!(counts("frozen"), [[0; 10].as_slice(), &[1; 21]].concat());
    assert_eq!(counts("few"), [[0; 2].as_slice(), &[1; 4], &[0; 25]].concat());
    let next = world.ctl(&["next", "few", "-n", "10", "--json"]).json();
    assert_eq!(next.as_array().map(Vec::len), Some(4));
}

#[test]
fn what_its_calendars_never_let_start_is_said() {
    let world = World::served();
    world.ctl(&["calendar", "add", "wk", "--rule", "weekends"]).ok();
    let added = world
        .ctl(&[
            "add",
            "--name",
            "never",
            "--cron",
            "0 6 * * SAT",
            "--calendar",
            "wk",
            "--",
            "true",
        ])
        .ok();
    assert!(
        added.contains("never by itself, its calendars let none start") && added.contains("calendar wk excludes it"),
        "{added}"
    );
    let lint = world.ctl(&["lint", "never", "--json"]);
    assert_eq!(lint.code(), 1, "{lint:?}");
    let found: serde_json::Value = serde_json::from_str(&lint.stdout).expect("JSON");
    assert_eq!(found[0]["code"], "never-fires");
    let disabled = world
        .ctl(&[
            "add",
            "--name",
            "off",
            "--cron",
            "0 6 * * SAT",
            "--disabled",
            "--",
            "true",
        ])
        .ok();
    assert!(disabled.contains("never by itself, it is disabled"), "{disabled}");
    let boot = world.ctl(&["add", "--name", "up", "--boot", "--", "true"]).ok();
    assert!(boot.contains("  next: at the next boot\n"), "{boot}");
}
