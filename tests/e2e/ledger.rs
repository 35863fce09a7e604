//! Promise: every fire time is accounted for. It ran, or it was skipped or missed, and why is recorded.

use serde_json::{Value, json};

use crate::harness::{World, has_keys, is_instant, wait_for, wall};

fn passed(world: &World, name: &str) -> Vec<Value> {
    let shown = world.ctl(&["show", name, "--json"]).json();
    shown["passed"].as_array().expect("an array").clone()
}

#[test]
fn a_fire_time_during_a_run_is_skipped_and_the_skip_is_recorded() {
    let world = World::served();
    let line = world.gated_line("tick", 0);
    world
        .ctl(&["add", "--name", "tick", "--every", "1s", "--shell", &line])
        .ok();
    let skips = wait_for("two skips", || {
        let passed = passed(&world, "tick");
        let count: u64 = passed.iter().filter_map(|span| span["count"].as_u64()).sum();
        (count >= 2).then_some(passed)
    });
    for skip in &skips {
        has_keys(skip, "outcome first last count reason");
        assert_eq!(
            (&skip["outcome"], &skip["reason"]),
            (&json!("skipped"), &json!("run tick/1 is still running")),
            "{skip}"
        );
        is_instant(&skip["first"]);
        is_instant(&skip["last"]);
    }
    assert_eq!(
        world.ctl(&["runs", "tick", "--json"]).json().as_array().map(Vec::len),
        Some(1)
    );
    let text = world.ctl(&["show", "tick"]).ok();
    assert!(
        text.contains("skipped") && text.contains("run tick/1 is still running"),
        "{text}"
    );
    world.open_gate("tick");
    assert_eq!(world.finished("tick/1")["outcome"], "succeeded");
    // The next one runs again.
    assert_eq!(world.finished("tick/2")["trigger"], "schedule");
}

#[test]
fn a_disabled_task_owes_nothing() {
    let world = World::served();
    world
        .ctl(&["add", "--name", "off", "--every", "1s", "--disabled", "--", "true"])
        .ok();
    world
        .ctl(&["add", "--name", "clock", "--every", "1s", "--", "true"])
        .ok();
    world.finished("clock/2");
    world.ctl(&["enable", "off"]).ok();
    let first = world.finished("off/1");
    assert_eq!(first["trigger"], "schedule", "{first}");
    let enabled = world.ctl(&["show", "off", "--json"]).json()["changed_at"].take();
    let second = |at: &Value| at.as_str().expect("an instant")[..19].to_owned();
    assert!(
        second(&first["fire_time"]) >= second(&enabled),
        "{first} is for a time before {enabled}"
    );
    assert_eq!(passed(&world, "off"), [json!(null); 0]);
}

#[test]
fn of_what_was_missed_the_latest_is_run_once_and_the_rest_is_recorded() {
    let mut world = World::served();
    let due = wall() + 8_000;
    let minute = json!({
        "name": "minute", "action": { "kind": "shell", "line": "echo $TASKD_TRIGGER" },
        "schedule": { "kind": "every", "interval_ms": 60_000, "anchor_ms": due - 60_000 },
    });
    world.ctl_reading(&["import", "-"], &format!("{minute}\n")).ok();
    world.ctl(&["add", "--name", "once", "--in", "8s", "--", "true"]).ok();
    world
        .ctl(&["add", "--name", "off", "--every", "1s", "--disabled", "--", "true"])
        .ok();
    world
        .ctl(&["add", "--name", "second", "--every", "1s", "--", "true"])
        .ok();
    let before = world.ctl(&["show", "minute", "once", "--json"]).json();
    world.kill();
    // A firing within ten seconds of its time is not a misfire but a late start.
    wait_for("the clock to be past that", || (wall() > due + 10_500).then_some(()));
    world.start();
    for (n, name) in ["minute", "once"].into_iter().enumerate() {
        let run = world.finished(&format!("{name}/1"));
        assert_eq!(
            (&run["trigger"], &run["outcome"]),
            (&json!("catch-up"), &json!("succeeded")),
            "{run}"
        );
        assert_eq!(run["fire_time"], before[n]["next"], "{run}");
        assert!(run["lateness_ms"].as_i64().is_some_and(|ms| ms > 10_000), "{run}");
    }
    assert_eq!(world.ctl(&["logs", "minute/1"]).ok(), "catch-up\n");
    let missed = passed(&world, "second");
    let away: Vec<&Value> = missed.iter().filter(|span| span["outcome"] == "missed").collect();
    let count: u64 = away.iter().filter_map(|span| span["count"].as_u64()).sum();
    assert!((9..=30).contains(&count), "{missed:?}");
    for span in away {
        assert_eq!(span["reason"], "taskd was not running", "{span}");
    }
    for owed_nothing in ["off", "minute", "once"] {
        assert_eq!(passed(&world, owed_nothing), [json!(null); 0], "{owed_nothing}");
    }
    assert_eq!(world.ctl(&["runs", "off", "--json"]).json(), json!([]));
    let minute = world.ctl(&["runs", "minute", "--json"]).json();
    assert_eq!(
        minute.as_array().map(Vec::len),
        Some(1),
        "it ran more than once: {minute}"
    );
}
