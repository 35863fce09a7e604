//! `taskctl enable` and `taskctl disable`: whether fire times start runs.

use serde_json::{Value, json};

use crate::harness::{World, is_instant};

#[test]
fn a_disabled_task_has_no_next_fire_time_until_it_is_enabled() {
    let world = World::served();
    for name in ["a", "b", "nightly"] {
        world.ctl(&["add", "--name", name, "--every", "1h", "--", "true"]).ok();
    }
    assert_eq!(
        world.ctl(&["disable", "a", "night*"]).ok(),
        "disabled a\ndisabled nightly\n"
    );
    let tasks = world.ctl(&["list", "--json"]).json();
    let state = |n: usize| (tasks[n]["enabled"].clone(), tasks[n]["next"].is_null());
    assert_eq!(
        [state(0), state(1), state(2)],
        [(json!(false), true), (json!(true), false), (json!(false), true)]
    );
    assert_eq!(world.ctl(&["next", "a", "--json"]).json(), json!([]));
    // Twice is as good as once.
    assert_eq!(world.ctl(&["disable", "--json", "a"]).json(), json!([{ "name": "a" }]));
    let enabled = world.ctl(&["enable", "--json", "*"]).json();
    assert_eq!(
        enabled,
        json!([{ "name": "a" }, { "name": "b" }, { "name": "nightly" }])
    );
    for task in world.ctl(&["list", "--json"]).json().as_array().expect("an array") {
        assert_eq!(task["enabled"], true, "{task}");
        is_instant(&task["next"]);
    }
    assert_eq!(world.ctl(&["enable", "b"]).ok(), "enabled b\n");
}

#[test]
fn a_disabled_task_can_be_run_and_a_run_in_progress_goes_on() {
    let world = World::served();
    world.add_gated("g", 0);
    world.run_up("g");
    world.ctl(&["disable", "g"]).ok();
    assert_eq!(world.run_of("g/1")["state"], "running");
    world.open_gate("g");
    assert_eq!(world.finished("g/1")["outcome"], "succeeded");
    assert_eq!(world.ctl(&["run", "--wait", "g"]).code(), 0);
}

#[test]
fn one_unknown_name_and_nothing_is_changed() {
    let world = World::served();
    world
        .ctl(&["add", "--name", "backup", "--every", "1h", "--", "true"])
        .ok();
    for verb in ["enable", "disable"] {
        let said = world.ctl(&[verb, "backup", "backpu"]).refused(4);
        assert!(said.contains("did you mean backup?"), "{said}");
        assert_eq!(world.ctl(&[verb, "--json", "x?"]).error(4)["code"], "unknown-task");
        world.ctl(&[verb]).refused(2);
        let error = World::new().ctl(&[verb, "--json", "a"]).error(3);
        assert_ne!(error["hint"], Value::Null, "{error}");
    }
    assert_eq!(world.ctl(&["list", "--json"]).json()[0]["enabled"], true);
}
