//! `taskctl why`: what became of a fire time, or what will.

use serde_json::{Value, json};

use crate::harness::{World, has_keys, instant, is_instant, wait_for};

const KEYS: &str = "at verdict run passed change down before after held";

fn add(world: &World, name: &str, every: &str) {
    world.ctl(&["add", "--name", name, "--every", every, "--", "true"]).ok();
}

fn why(world: &World, name: &str, at: &Value) -> Value {
    let told = world
        .ctl(&["why", name, at.as_str().expect("an instant"), "--json"])
        .json();
    assert_eq!(told.as_array().map(Vec::len), Some(1), "{told}");
    told[0].clone()
}

fn passed(world: &World, name: &str, outcome: &str) -> Value {
    wait_for("a span of the ledger", || {
        let shown = world.ctl(&["show", name, "--json"]).json();
        let spans = shown["passed"].as_array().expect("an array");
        spans.iter().find(|span| span["outcome"] == outcome).cloned()
    })
}

#[test]
fn a_fire_time_that_ran_names_its_run_and_one_to_come_is_planned() {
    let world = World::served();
    add(&world, "tick", "1s");
    let run = world.finished("tick/1");
    let told = why(&world, "tick", &run["fire_time"]);
    has_keys(&told, KEYS);
    assert_eq!((&told["verdict"], &told["at"]), (&json!("ran"), &run["fire_time"]));
    assert_eq!(
        (&told["run"]["run"], &told["run"]["outcome"]),
        (&json!("tick/1"), &json!("succeeded"))
    );
    is_instant(&told["after"]);
    world.ctl(&["edit", "tick", "--every", "1h"]).ok();
    let next = world.ctl(&["next", "tick", "-n", "1", "--json"]).json()[0]["at"].take();
    assert_eq!(why(&world, "tick", &next)["verdict"], "planned");
    // The schedule of then is the one that counts.
    assert_eq!(why(&world, "tick", &run["fire_time"])["verdict"], "ran");
    let both = world.ctl(&["why", "tick", "--json"]).json();
    assert_eq!(
        (&both[0]["verdict"], &both[1]["verdict"]),
        (&json!("ran"), &json!("planned")),
        "{both}"
    );
    let text = world.ctl(&["why", "tick"]).ok();
    assert!(
        text.contains("ran") && text.contains("succeeded, trigger schedule"),
        "{text}"
    );
    assert!(text.contains("will start"), "{text}");
}

#[test]
fn a_skip_names_the_run_that_was_in_the_way() {
    let world = World::served();
    let line = world.gated_line("slow", 0);
    world
        .ctl(&["add", "--name", "slow", "--every", "1s", "--shell", &line])
        .ok();
    let span = passed(&world, "slow", "skipped");
    let told = why(&world, "slow", &span["first"]);
    assert_eq!(
        (&told["verdict"], &told["passed"]["reason"]),
        (&json!("skipped"), &json!("run slow/1 is still running"))
    );
    let ran = why(&world, "slow", &world.run_of("slow/1")["fire_time"]);
    assert_eq!(
        (&ran["verdict"], &ran["run"]["state"]),
        (&json!("ran"), &json!("running"))
    );
    world.open_gate("slow");
}

#[test]
fn a_miss_tells_when_the_daemon_was_down() {
    let mut world = World::served();
    world
        .ctl(&[
            "add",
            "--name",
            "tick",
            "--every",
            "1s",
            "--misfire",
            "skip",
            "--",
            "true",
        ])
        .ok();
    let before = world.finished("tick/1")["finished_at"].take();
    world.kill();
    wait_for("twelve seconds to be over", || {
        let old = world
            .ctl(&[
                "next",
                "--cron",
                "* * * * * *",
                "--from",
                before.as_str()?,
                "-n",
                "12",
                "--tz",
                "UTC",
            ])
            .ok();
        let now = world
            .ctl(&["next", "--cron", "* * * * * *", "-n", "1", "--tz", "UTC"])
            .ok();
        (now.trim() > old.lines().last()?).then_some(())
    });
    world.start();
    let span = passed(&world, "tick", "missed");
    assert_eq!(span["reason"], "taskd was not running");
    let told = why(&world, "tick", &span["first"]);
    assert_eq!(told["verdict"], "missed");
    let down = |key: &str| instant(&told["down"][key]);
    assert!(down("from") <= instant(&span["first"]), "{told}");
    assert!(down("until") >= instant(&span["last"]), "{told}");
    let text = world
        .ctl(&["why", "tick", span["first"].as_str().expect("an instant")])
        .ok();
    assert!(
        text.contains("Taskd was not running.") && text.contains("The daemon was down from "),
        "{text}"
    );
}

#[test]
fn who_disabled_it_and_who_paused_it_is_named() {
    let world = World::served();
    add(&world, "off", "1s");
    add(&world, "hour", "1h");
    world.finished("off/1");
    let enabled = world.finished("off/2")["fire_time"].take();
    world.ctl(&["disable", "off"]).ok();
    let later = wait_for("a fire time after that", || {
        let told = world.ctl(&["why", "off", enabled.as_str()?, "--json"]).json();
        let told = world.ctl(&["why", "off", told[0]["after"].as_str()?, "--json"]).json();
        let told = world.ctl(&["why", "off", told[0]["after"].as_str()?, "--json"]).json();
        (told[0]["verdict"] == "disabled").then(|| told[0].clone())
    });
    let to_come = world.ctl(&["why", "off", "2099-01-01T00:00:00Z"]).ok();
    assert!(to_come.contains("will not start: disabled"), "{to_come}");
    assert_eq!(later["change"]["kind"], "disabled");
    assert!(
        later["change"]["by"].as_str().is_some_and(|by| by.starts_with("uid ")),
        "{later}"
    );
    let next = world.ctl(&["next", "hour", "-n", "1", "--json"]).json()[0]["at"].take();
    world.ctl(&["pause", "hour", "--note", "moving house"]).ok();
    let told = why(&world, "hour", &next);
    assert_eq!(
        (&told["verdict"], &told["change"]["note"]),
        (&json!("paused"), &json!("moving house"))
    );
    let text = world.ctl(&["why", "hour", next.as_str().expect("an instant")]).ok();
    assert!(
        text.contains("will be skipped: paused") && text.contains("moving house"),
        "{text}"
    );
}

#[test]
fn a_time_that_is_none_names_its_neighbours_and_ends_with_4() {
    let world = World::served();
    world
        .ctl(&[
            "add",
            "--name",
            "daily",
            "--cron",
            "30 2 * * *",
            "--tz",
            "UTC",
            "--",
            "true",
        ])
        .ok();
    let text = world.ctl(&["why", "daily", "2027-03-03T12:00:00Z"]);
    assert!(text.code() == 4 && text.stdout.contains("is no fire time"), "{text:?}");
    let none = world.ctl(&["why", "daily", "2027-03-03T12:00:00Z", "--json"]);
    assert_eq!(none.code(), 4, "{none:?}");
    let told: Value = serde_json::from_str(&none.stdout).expect("JSON");
    assert_eq!(told[0]["verdict"], "no-fire-time");
    assert_eq!(told[0]["before"], "2027-03-03T02:30:00Z");
    assert_eq!(told[0]["after"], "2027-03-04T02:30:00Z");
    // Without seconds, any of that minute is meant.
    assert_eq!(
        world.ctl(&["why", "daily", "2027-03-03T02:30Z", "--json"]).json()[0]["verdict"],
        "planned"
    );
    assert_eq!(
        world.ctl(&["why", "daily", "2020-03-03T02:30Z", "--json"]).json()[0]["verdict"],
        "not-yet-added"
    );
    world.ctl(&["why", "daily", "then"]).refused(2);
    world.ctl(&["why", "dayli"]).refused(4);
}

#[test]
fn what_moves_a_fire_time_is_told() {
    let world = World::served();
    let add = |name: &str, rest: &[&str]| {
        world
            .ctl(&[&["add", "--name", name], rest, &["--", "true"]].concat())
            .ok();
    };
    world.ctl(&["calendar", "add", "wk", "--rule", "weekends"]).ok();
    add(
        "shifted",
        &["--cron", "0 6 1 * *", "--tz", "UTC", "--calendar", "wk=next"],
    );
    add("spread", &["--cron", "0 0 1 12 *", "--tz", "UTC", "--jitter", "1h"]);
    add("night", &["--cron", "30 2 * * *", "--tz", "Europe/Berlin"]);
    // 1 May 2027 is a Saturday.
    let moved = world.ctl(&["why", "shifted", "2027-05-03T06:00Z"]).ok();
    assert!(
        moved.contains("will start") && moved.contains("the schedule's 2027-05-01 06:00:00"),
        "{moved}"
    );
    let none = world.ctl(&["why", "shifted", "2027-05-01T06:00Z"]);
    assert!(
        none.code() == 4 && none.stdout.contains("it is moved to 2027-05-03 06:00:00"),
        "{none:?}"
    );
    let spread = world.ctl(&["why", "spread", "2027-12-01T00:00:00Z", "--json"]);
    let spread: Value = serde_json::from_str(&spread.stdout).expect("JSON");
    assert_eq!(
        (&spread[0]["verdict"], &spread[0]["moved_by"]),
        (&json!("no-fire-time"), &json!("its jitter"))
    );
    let at = spread[0]["moved_to"].as_str().expect("an instant");
    let there = world.ctl(&["why", "spread", at, "--json"]).json();
    assert_eq!(
        (&there[0]["verdict"], &there[0]["moved_from"]),
        (&json!("planned"), &json!("2027-12-01T00:00:00Z"))
    );
    // Each of a minute is told.
    add("often", &["--cron", "*/20 * * * * *", "--tz", "UTC"]);
    let each = world.ctl(&["why", "often", "2099-03-28T01:00Z", "--json"]).json();
    let seconds: Vec<_> = each
        .as_array()
        .expect("an array")
        .iter()
        .map(|fate| fate["at"].clone())
        .collect();
    assert_eq!(
        seconds,
        ["2099-03-28T01:00:00Z", "2099-03-28T01:00:20Z", "2099-03-28T01:00:40Z"]
    );
    let night = world.ctl(&["why", "night", "2027-03-28T01:00Z"]).ok();
    assert!(
        night.contains("Clocks in Europe/Berlin skip 2027-03-28 02:30"),
        "{night}"
    );
    let plain = world.ctl(&["why", "night", "2027-06-28T00:30Z"]).ok();
    assert!(!plain.contains("Clocks"), "{plain}");
    let said = world.ctl(&["why", "ni*"]).refused(2);
    assert!(said.contains("is a pattern"), "{said}");
}
