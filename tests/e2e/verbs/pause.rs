//! `taskctl pause` and `taskctl resume`: fire times that are skipped for a time.

use serde_json::{Value, json};

use crate::harness::{World, has_keys, instant, is_instant, wait_for};

fn add(world: &World, name: &str, every: &str) {
    world.ctl(&["add", "--name", name, "--every", every, "--", "true"]).ok();
}

fn skipped(world: &World, name: &str) -> Vec<Value> {
    let shown = world.ctl(&["show", name, "--json"]).json();
    shown["passed"].as_array().expect("an array").clone()
}

#[test]
fn paused_fire_times_are_skipped_with_the_reason_and_the_pause_ends_by_itself() {
    let world = World::served();
    add(&world, "tick", "1s");
    world.finished("tick/1");
    let said = world
        .ctl(&["pause", "tick", "--until", "4s", "--note", "moving house"])
        .ok();
    assert!(said.starts_with("paused tick until 20"), "{said}");
    let paused = world.ctl(&["list", "--json"]).json()[0]["paused"].take();
    has_keys(&paused, "all since until by note");
    is_instant(&paused["until"]);
    assert_eq!(
        (&paused["all"], &paused["note"]),
        (&json!(false), &json!("moving house"))
    );
    let shown = world.ctl(&["show", "tick"]).ok();
    assert!(shown.contains("moving house"), "{shown}");
    let after = wait_for("a fire time that was skipped, and a run after that", || {
        let skipped = skipped(&world, "tick").pop()?;
        let newest = world.ctl(&["runs", "tick", "--limit", "1", "--json"]).json()[0].take();
        let (run, last) = (
            newest["fire_time"].as_str()?.to_owned(),
            skipped["last"].as_str()?.to_owned(),
        );
        (run > last).then_some((skipped, newest))
    });
    let (skipped, newest) = after;
    assert_eq!(skipped["outcome"], "skipped");
    let reason = skipped["reason"].as_str().expect("a reason");
    assert!(
        reason.starts_with("the task was paused by uid ") && reason.ends_with(": moving house"),
        "{reason}"
    );
    assert_eq!(newest["trigger"], "schedule", "nothing is caught up: {newest}");
    assert!(
        instant(&newest["fire_time"]) >= instant(&paused["until"]),
        "{newest} is in the pause {paused}"
    );
    assert_eq!(world.ctl(&["list", "--json"]).json()[0]["paused"], json!(null));
}

#[test]
fn a_pause_survives_a_restart_and_is_ended_by_resume() {
    let mut world = World::served();
    add(&world, "tick", "1s");
    world.ctl(&["pause", "tick"]).ok();
    world.kill();
    world.start();
    let list = world.ctl(&["list"]).ok();
    assert!(list.contains("paused"), "{list}");
    wait_for("a fire time that is skipped in the new life", || {
        skipped(&world, "tick").pop()
    });
    assert_eq!(
        world.ctl(&["next", "tick", "--json"]).json(),
        json!([]),
        "nobody knows when it ends"
    );
    assert_eq!(
        world.ctl(&["resume", "tick", "--json"]).json(),
        json!([{ "name": "tick" }])
    );
    world.finished("tick/1");
    // Twice is as good as once.
    assert_eq!(world.ctl(&["resume", "tick"]).ok(), "resumed tick\n");
}

#[test]
fn a_pause_of_all_is_one_of_tasks_to_come_and_manual_runs_go_on() {
    let world = World::served();
    assert_eq!(
        world.ctl(&["pause", "--all", "--note", "maintenance"]).ok(),
        "paused all tasks\n"
    );
    add(&world, "tick", "1s");
    let task = world.ctl(&["list", "--json"]).json()[0].take();
    assert_eq!(
        (&task["paused"]["all"], &task["next"]),
        (&json!(true), &json!(null)),
        "{task}"
    );
    assert_eq!(world.ctl(&["status", "--json"]).json()["paused"]["note"], "maintenance");
    assert!(world.ctl(&["status"]).ok().contains("all tasks until `taskctl resume`"));
    assert_eq!(world.ctl(&["run", "--wait", "tick"]).code(), 0);
    let reason = wait_for("a fire time that is skipped", || skipped(&world, "tick").pop())["reason"].take();
    assert!(
        reason
            .as_str()
            .is_some_and(|reason| reason.starts_with("all tasks were paused by uid ")),
        "{reason}"
    );
    assert_eq!(world.ctl(&["resume", "--all"]).ok(), "resumed all tasks\n");
    assert_eq!(world.finished("tick/2")["trigger"], "schedule");
}

#[test]
fn what_is_asked_for_is_said_and_is_to_come() {
    let world = World::served();
    add(&world, "a", "1h");
    world.ctl(&["pause"]).refused(2);
    world.ctl(&["resume"]).refused(2);
    world.ctl(&["pause", "a", "--all"]).refused(2);
    let said = world.ctl(&["pause", "a", "--until", "2020-01-01T00:00"]).refused(2);
    assert!(said.contains("it is in the past"), "{said}");
    let said = world.ctl(&["pause", "a", "--until", "soon"]).refused(2);
    assert!(said.contains("--until soon"), "{said}");
    let said = world.ctl(&["pause", "a", "b"]).refused(4);
    assert!(said.contains("b"), "{said}");
    let long = "x".repeat(1025);
    world.ctl(&["pause", "a", "--note", &long]).refused(1);
    assert_eq!(
        world.ctl(&["list", "--json"]).json()[0]["paused"],
        json!(null),
        "nothing was changed"
    );
}
