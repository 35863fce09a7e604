//! `taskctl lint`: what may surprise in schedules, of tasks or of an expression.

use serde_json::{Value, json};

use crate::harness::{Ran, World, has_keys, texts};

/// `lint --cron`, where there is no daemon.
fn cron(args: &[&str]) -> Ran {
    World::new().ctl(&[&["lint", "--cron"], args].concat())
}

/// What was printed with `--json`, when something was found.
#[track_caller]
fn found(ran: Ran) -> Value {
    assert_eq!((ran.code(), ran.stderr.as_str()), (1, ""), "{ran:?}");
    serde_json::from_str(&ran.stdout).expect("an array")
}

#[test]
fn an_expression_needs_no_daemon_and_its_findings_are_exit_code_1() {
    let ran = cron(&["* 2 * * *"]);
    assert_eq!(
        (ran.code(), ran.stdout.as_str(), ran.stderr.as_str()),
        (
            1,
            "every-minute: It fires in every minute of hour 2, 60 times a day.\n  try: 0 2 * * *\n",
            ""
        )
    );
    assert_eq!(
        found(cron(&["* 2 * * *", "--json"])),
        json!([{
            "task": null,
            "code": "every-minute",
            "message": "It fires in every minute of hour 2, 60 times a day.",
            "suggestion": "0 2 * * *"
        }])
    );
    let fine = cron(&["0 2 * * *"]);
    assert_eq!((fine.code(), fine.stdout.as_str()), (0, ""));
    assert!(fine.stderr.contains("nothing was found"), "{fine:?}");
    assert_eq!(cron(&["0 2 * * *", "--json"]).ok(), "[]\n");
    assert_eq!(cron(&["@every 7m", "--json"]).ok(), "[]\n");
}

#[test]
fn a_zone_has_changes_of_the_clock_and_what_never_fires_is_a_finding() {
    let codes = |args: &[&str]| texts(&found(cron(&[args, &["--json"]].concat())), "code");
    assert_eq!(
        codes(&["30 2 * * *", "--tz", "Europe/Berlin"]),
        ["dst-gap", "dst-overlap"]
    );
    assert_eq!(codes(&["0 0 30 2 *"]), ["never-fires"]);
    assert_eq!(codes(&["0 0 0 1 1 * 2001"]), ["never-fires"]);
    assert_eq!(codes(&["0 0 29 2 *"]), ["leap-years-only"]);
    assert_eq!(codes(&["* * * * * *"]), ["every-second"]);
    assert_eq!(codes(&["0 */7 * * *"]), ["uneven-step"]);
    assert_eq!(codes(&["*/90 * * * *"]), ["large-step"]);
    assert_eq!(codes(&["0 0 */2 * MON"]), ["either-day", "day-step"]);
}

#[test]
fn what_is_no_expression_is_refused_as_everywhere() {
    let said = cron(&["0 25 * * *"]).refused(2);
    assert!(said.contains("  --cron 0 25 * * *\n           ^^\n"), "{said}");
    assert_eq!(cron(&["0 25 * * *", "--json"]).error(2)["code"], "bad-field");
    cron(&["@daily", "--tz", "Europe/Berln"]).refused(2);
    cron(&["@daily", "backup"]).refused(2);
    World::new().ctl(&["lint", "--tz", "UTC"]).refused(2);
    World::new().ctl(&["lint"]).refused(3);
}

#[test]
fn tasks_are_told_in_the_order_of_their_names() {
    let world = World::served();
    let fine = world.ctl(&["lint"]);
    assert_eq!((fine.code(), fine.stdout.as_str()), (0, ""), "{fine:?}");
    for (name, expr) in [
        ("plain", "0 9 * * *"),
        ("minutes", "* 2 * * *"),
        ("bills", "0 0 31 * *"),
    ] {
        let args = ["add", "--name", name, "--cron", expr, "--tz", "UTC", "--", "true"];
        world.ctl(&args).ok();
    }
    world
        .ctl(&["add", "--name", "asked", "--every", "7m", "--", "true"])
        .ok();
    world.ctl(&["add", "--name", "manual", "--manual", "--", "true"]).ok();
    let all = found(world.ctl(&["lint", "--json"]));
    assert_eq!(texts(&all, "task"), ["bills", "minutes"]);
    assert_eq!(texts(&all, "code"), ["short-months", "every-minute"]);
    has_keys(&all[0], "task code message suggestion");
    assert_eq!(
        texts(&found(world.ctl(&["lint", "m*", "plain", "--json"])), "task"),
        ["minutes"]
    );
    let told = world.ctl(&["lint", "bills"]);
    assert_eq!(told.code(), 1);
    assert_eq!(
        told.stdout,
        "bills: short-months: It does not fire in months without a day 31; L means the last day of every month.\n  try: 0 0 L * *\n"
    );
    assert_eq!(world.ctl(&["lint", "plain", "asked", "manual", "--json"]).ok(), "[]\n");
    let said = world.ctl(&["lint", "bils"]).refused(4);
    assert!(said.contains("did you mean bills?"), "{said}");
    // What is told of a task when it is added is the same.
    let added = ["add", "--cron", "0 0 31 * *", "--tz", "UTC", "--json", "--", "true"];
    let warnings = texts(&world.ctl(&added).json()["warnings"], "");
    assert_eq!(
        warnings,
        [format!(
            "{} Try `0 0 L * *`.",
            all[0]["message"].as_str().expect("a sentence")
        )]
    );
}

/// A line of an import.
fn line(name: &str, schedule: &Value) -> String {
    json!({ "name": name, "schedule": schedule, "action": { "kind": "exec", "argv": ["true"] } }).to_string() + "\n"
}

#[test]
fn a_task_that_is_over_never_fires_again() {
    let world = World::served();
    let over = line("over", &json!({ "kind": "at", "at": "2020-01-01T00:00:00Z" }));
    world.ctl_reading(&["import", "-"], &over).ok();
    assert_eq!(texts(&found(world.ctl(&["lint", "--json"])), "code"), ["never-fires"]);
}

#[test]
fn a_crowd_is_told_over_all_pages() {
    let world = World::served();
    let of = |n: usize| json!({ "kind": "cron", "expr": format!("{} 3 1 1 *", n % 2), "tz": "UTC" });
    let lines: String = (0..2_400).map(|n| line(&format!("t{n:04}"), &of(n))).collect();
    world.ctl_reading(&["import", "-"], &lines).ok();
    let all = found(world.ctl(&["lint", "--json"]));
    let names: Vec<String> = (0..2_400).map(|n| format!("t{n:04}")).collect();
    assert_eq!(texts(&all, "task"), names);
    assert!(texts(&all, "code").iter().all(|code| code == "same-minute"));
    assert_eq!(
        all[0]["message"],
        "999 other tasks or more are due in the same minute, 03:00."
    );
    // Who looks at the first of them only has the same answer.
    let unread = world.ctl_unread(&["lint"]);
    assert_eq!((unread.code(), unread.stderr.as_str()), (1, ""));
    // A task that is not due is in no crowd.
    world.ctl(&["disable", "t00*"]).ok();
    assert_eq!(
        found(world.ctl(&["lint", "--json"])).as_array().map(Vec::len),
        Some(2_300)
    );
    assert_eq!(world.ctl(&["lint", "t0000"]).code(), 0);
}
