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

#[test]
fn a_month_of_an_expression_needs_no_daemon() {
    let month = ["30 2 * * *", "--tz", "Europe/Berlin", "--month", "2027-03"];
    assert_eq!(
        cron(&month).ok(),
        "\
March 2027, Europe/Berlin
Mon        Tue        Wed        Thu        Fri        Sat        Sun
 1  02:30   2  02:30   3  02:30   4  02:30   5  02:30   6  02:30   7  02:30
 8  02:30   9  02:30  10  02:30  11  02:30  12  02:30  13  02:30  14  02:30
15  02:30  16  02:30  17  02:30  18  02:30  19  02:30  20  02:30  21  02:30
22  02:30  23  02:30  24  02:30  25  02:30  26  02:30  27  02:30  28* 03:00
29  02:30  30  02:30  31  02:30
31 fire times
* clocks change on 2027-03-28, from UTC+01 to UTC+02
  Clocks in Europe/Berlin skip 2027-03-28 02:30 (02:00 to 03:00): it fires at 03:00 instead.
"
    );
    let days = cron(&[&month[..], &["--json"]].concat()).json();
    assert_eq!(days.as_array().map(Vec::len), Some(31));
    has_keys(&days[0], "day count first last note");
    assert_eq!(
        days[26],
        json!({
            "day": "2027-03-27", "count": 1, "note": null,
            "first": "2027-03-27T02:30:00+01:00", "last": "2027-03-27T02:30:00+01:00"
        })
    );
    let note = days[27]["note"].as_str().expect("a note");
    assert!(
        note.contains("clocks change") && note.ends_with("it fires at 03:00 instead."),
        "{note}"
    );
    let skipped = cron(&[&month[..], &["--dst-gap", "skip"]].concat()).ok();
    assert!(
        skipped.contains("28* ·\n") && skipped.contains("30 fire times"),
        "{skipped}"
    );
    assert!(skipped.ends_with("it does not fire then.\n"), "{skipped}");
    let autumn = cron(&[
        "30 2 * * *",
        "--tz",
        "Europe/Berlin",
        "--month",
        "2027-10",
        "--dst-overlap",
        "both",
    ])
    .ok();
    assert!(
        autumn.contains("31* 2\n") && autumn.ends_with("it fires both times.\n"),
        "{autumn}"
    );
    // What is dense is counted all the same, and what never fires has a month of nothing.
    let dense = cron(&["* * * * * *", "--month", "2028-02"]).ok();
    assert!(
        dense.contains("29  86k") && dense.contains("\n2505600 fire times\n"),
        "{dense}"
    );
    let none = cron(&["0 0 30 2 *", "--month", "2027-02"]);
    assert!(
        none.stdout.ends_with("0 fire times\n") && none.stderr.contains("taskctl: "),
        "{none:?}"
    );
    // Without a month it is this one.
    assert_eq!(cron(&["@daily", "--month"]).ok().matches("00:00").count() / 28, 1);
}

#[test]
fn a_day_of_an_expression_shows_its_hours() {
    let day = ["*/15 2,9 * * *", "--tz", "Europe/Berlin", "--timeline", "2027-10-31"];
    let shown = cron(&day).ok();
    assert!(
        shown.starts_with(
            "\
2027-10-31, Sunday, Europe/Berlin
00 01 02 02 03 04 05 06 07 08 09 10 11 12 13 14 15 16 17 18 19 20 21 22 23
      ██ ██                   ██
      4  4                    4
12 fire times
* clocks change on 2027-10-31, from UTC+02 to UTC+01
"
        ),
        "{shown}"
    );
    assert!(shown.ends_with("\nthe most crowded minutes:\nAT            FIRE TIMES\n02:00 UTC+02           1\n02:15 UTC+02           1\n02:30 UTC+02           1\n02:45 UTC+02           1\n02:00 UTC+01           1\n"), "{shown}");
    let json = cron(&[&day[..], &["--json"]].concat()).json();
    has_keys(&json, "day zone hours minutes note");
    assert_eq!(
        (&json["day"], &json["zone"]),
        (&json!("2027-10-31"), &json!("Europe/Berlin"))
    );
    assert_eq!(json["hours"].as_array().map(Vec::len), Some(25));
    assert_eq!(
        json["hours"][3],
        json!({ "hour": 2, "count": 4, "at": "2027-10-31T01:00:00Z" })
    );
    assert_eq!(json["minutes"].as_array().map(Vec::len), Some(5));
    assert_eq!(
        json["minutes"][0],
        json!({ "at": "2027-10-31T00:00:00Z", "count": 1, "tasks": [], "more": 0 })
    );
    let spring = cron(&[
        "* * * * *",
        "--tz",
        "Europe/Berlin",
        "--timeline",
        "2027-03-28",
        "--json",
    ])
    .json();
    assert_eq!(spring["hours"].as_array().map(Vec::len), Some(23));
    assert_eq!(
        cron(&["@hourly", "--timeline"]).ok().lines().nth(2),
        Some(&*["██"; 24].join(" "))
    );
    let world = World::new();
    let mut ascii = world.taskctl(&["next", "--cron", "@hourly", "--timeline"]);
    let ascii = crate::harness::run(ascii.env("LC_ALL", "C")).ok();
    assert_eq!(ascii.lines().nth(2), Some(&*["##"; 24].join(" ")));
}

#[test]
fn what_says_how_an_expression_is_read_is_not_taken_for_tasks() {
    let world = World::served();
    world.ctl(&["add", "--name", "a", "--every", "1h", "--", "true"]).ok();
    for option in [["--from", "2027-03-27"], ["--tz", "Mars/X"], ["--dst-gap", "skip"]] {
        let said = world.ctl(&[&["next", "a"], option.as_slice()].concat()).refused(2);
        assert!(said.contains(&format!("{} goes with --cron", option[0])), "{said}");
    }
    world.ctl(&["lint", "a", "--tz", "UTC"]).refused(2);
}

#[test]
fn a_month_or_day_that_is_none_is_pointed_at() {
    let said = cron(&["@daily", "--month", "2027-13"]).refused(2);
    assert!(said.contains("  --month 2027-13\n          ^^^^^^^\n"), "{said}");
    let said = World::new().ctl(&["next", "--month", "backup"]).refused(2);
    assert!(said.contains("names of tasks stand before --month"), "{said}");
    let said = cron(&["@daily", "--timeline", "2027-02-29"]).refused(2);
    assert!(said.contains("  --timeline 2027-02-29\n"), "{said}");
    let said = cron(&["@daily", "--tz", "Pacific/Apia", "--timeline", "2011-12-30"]).refused(2);
    assert!(said.contains("clocks skip this day"), "{said}");
    for line in [
        &["next", "--month", "--timeline"][..],
        &["next", "--month", "-n", "3"],
        &["next", "--cron", "@daily", "--timeline", "--from", "2027-01-01"],
    ] {
        World::new().ctl(line).refused(2);
    }
    World::new().ctl(&["next", "--month"]).refused(3);
}

#[test]
fn the_months_of_tasks_are_summed_and_that_of_one_is_in_its_zone() {
    let world = World::served();
    let nothing = world.ctl(&["next", "--month", "2027-03"]).ok();
    assert!(
        nothing.starts_with("March 2027, UTC\n") && nothing.ends_with("\n0 fire times\n"),
        "{nothing}"
    );
    let add = |name: &str, schedule: &[&str]| {
        world
            .ctl(&[&["add", "--name", name], schedule, &["--", "true"]].concat())
            .ok();
    };
    add("night", &["--cron", "30 2 * * *", "--tz", "Europe/Berlin"]);
    add("tokyo", &["--cron", "0 6 * * *", "--tz", "Asia/Tokyo"]);
    add("hours", &["--every", "6h"]);
    add("once", &["--at", "2027-03-10T12:00:00Z"]);
    add("asked", &["--manual"]);
    add("off", &["--cron", "* * * * *", "--disabled"]);
    let counts = |args: &[&str]| -> Vec<u64> {
        let ran = world.ctl(&[&["next"], args, &["--month", "2027-03", "--json"]].concat());
        let days = ran.json();
        let days = days.as_array().expect("an array").iter();
        days.map(|day| day["count"].as_u64().expect("a number")).collect()
    };
    let all = counts(&[]);
    let mut expected = vec![1 + 1 + 4; 31];
    expected[9] += 1;
    // Tokyo's morning is the evening before, and the night of the first of April is in March.
    assert_eq!(all, expected);
    assert_eq!(counts(&["night", "tokyo"]), vec![2; 31]);
    assert_eq!(counts(&["off", "asked"]), vec![0; 31]);
    let said = world.ctl(&["next", "--month", "2027-03"]);
    assert!(
        said.stderr.contains("1 task is disabled or held and not counted"),
        "{said:?}"
    );
    assert!(
        said.stdout
            .contains("\n  night: Clocks in Europe/Berlin skip 2027-03-28 02:30"),
        "{said:?}"
    );
    assert!(
        !said.stdout.contains("* clocks change"),
        "they do not where the reader is: {said:?}"
    );
    let alone = world.ctl(&["next", "tok*", "--month", "2027-03", "--json"]).json();
    assert_eq!(alone[0]["first"], "2027-03-01T06:00:00+09:00");
    let alone = world.ctl(&["next", "night", "--month", "2027-03"]).ok();
    assert!(
        alone.starts_with("March 2027, Europe/Berlin\n") && alone.contains("28* 03:00"),
        "{alone}"
    );
    assert!(alone.contains("\n  Clocks in"), "its name need not be told: {alone}");
    let said = world.ctl(&["next", "nigt", "--month"]).refused(4);
    assert!(said.contains("did you mean night?"), "{said}");
}

#[test]
fn fire_times_in_a_pause_do_not_count() {
    let world = World::served();
    for name in ["a", "b"] {
        world
            .ctl(&[
                "add",
                "--name",
                name,
                "--cron",
                "0 9 * * *",
                "--tz",
                "UTC",
                "--",
                "true",
            ])
            .ok();
    }
    let month = || world.ctl(&["next", "--month", "2090-01", "--json"]);
    let count = |ran: crate::harness::Ran, day: usize| ran.json()[day]["count"].as_u64();
    assert_eq!(count(month(), 4), Some(2));
    world.ctl(&["pause", "a", "--until", "2090-01-05T09:00:00Z"]).ok();
    assert_eq!((count(month(), 3), count(month(), 4)), (Some(1), Some(2)));
    let said = world.ctl(&["next", "--month", "2090-01"]).stderr;
    assert!(
        said.contains("1 task is paused; fire times in a pause are not counted"),
        "{said}"
    );
    world.ctl(&["pause", "--all"]).ok();
    assert_eq!(count(month(), 30), Some(0));
    world.ctl(&["resume", "--all"]).ok();
    world.ctl(&["resume", "a"]).ok();
    assert_eq!(count(month(), 3), Some(2));
}

#[test]
fn a_day_of_tasks_tells_which_fire_together() {
    let world = World::served();
    for (name, expr) in [
        ("backup", "30 2 * * *"),
        ("sync", "*/30 * * * *"),
        ("report", "0 9 * * *"),
        ("noon", "1 12 * * *"),
    ] {
        world
            .ctl(&["add", "--name", name, "--cron", expr, "--tz", "UTC", "--", "true"])
            .ok();
    }
    let day = |args: &[&str]| {
        world
            .ctl(&[&["next"], args, &["--timeline", "2027-06-01"]].concat())
            .ok()
    };
    let shown = day(&[]);
    assert!(shown.contains("\n51 fire times\n"), "{shown}");
    assert!(
        shown.contains("\nAT     FIRE TIMES  TASKS\n02:30           2  backup, sync\n09:00           2  report, sync\n00:00           1  sync\n"),
        "{shown}"
    );
    let end = "\ntasks fire together in 2 minutes:\nAT     TASKS\n02:30  backup, sync\n09:00  report, sync\n";
    assert!(shown.ends_with(end), "{shown}");
    assert!(day(&["backup", "report"]).ends_with("\nno two tasks fire in the same minute\n"));
    assert!(!day(&["sync"]).contains("together"));
    let json = world.ctl(&["next", "--timeline", "2027-06-01", "--json"]).json();
    assert_eq!(json["minutes"].as_array().map(Vec::len), Some(5));
    assert_eq!(
        json["minutes"][3],
        json!({ "at": "2027-06-01T02:30:00Z", "count": 2, "tasks": ["backup", "sync"], "more": 0 })
    );
}

#[test]
fn a_crowd_is_counted_and_named_in_part() {
    let world = World::served();
    let line = |n: usize| {
        let schedule = json!({ "kind": "cron", "expr": format!("{} 9 * * *", n % 30), "tz": "UTC" });
        json!({ "name": format!("t{n:05}"), "schedule": schedule, "action": { "kind": "exec", "argv": ["true"] } })
            .to_string()
            + "\n"
    };
    // More than one look at the engine takes.
    let lines: String = (0..21_000).map(line).collect();
    world.ctl_reading(&["import", "-"], &lines).ok();
    let json = world.ctl(&["next", "--timeline", "2027-06-01", "--json"]).json();
    assert_eq!(json["hours"][9]["count"], 21_000);
    assert_eq!(json["minutes"].as_array().map(Vec::len), Some(30));
    assert_eq!(
        json["minutes"][1],
        json!({
            "at": "2027-06-01T09:01:00Z", "count": 700, "more": 695,
            "tasks": ["t00001", "t00031", "t00061", "t00091", "t00121"]
        })
    );
    let shown = world.ctl(&["next", "t0*", "--timeline", "2027-06-01"]).ok();
    assert!(
        shown.contains("\n10000 fire times\n") && shown.contains("and 20 more; with --json there are all\n"),
        "{shown}"
    );
}
