//! `taskctl remove`: all or none, and never a run by accident.

use serde_json::json;

use crate::harness::{World, alive, texts, wait_for};

fn names(world: &World) -> Vec<String> {
    texts(&world.ctl(&["list", "--json"]).json(), "name")
}

fn process(run: &serde_json::Value) -> u32 {
    u32::try_from(run["pid"].as_u64().expect("a process")).expect("a process id")
}

#[test]
fn names_and_patterns_are_removed_together() {
    let world = World::served();
    for name in ["a", "b", "c", "nightly-1", "nightly-2", "kept"] {
        world.ctl(&["add", "--name", name, "--manual", "--", "true"]).ok();
    }
    assert_eq!(world.ctl(&["remove", "a", "b"]).ok(), "removed a\nremoved b\n");
    let removed = world.ctl(&["rm", "--json", "nightly-*", "c", "c"]).json();
    assert_eq!(
        removed,
        json!([{ "name": "nightly-1" }, { "name": "nightly-2" }, { "name": "c" }])
    );
    assert_eq!(names(&world), ["kept"]);
}

#[test]
fn one_unknown_name_and_nothing_is_removed() {
    let world = World::served();
    for name in ["backup", "other"] {
        world.ctl(&["add", "--name", name, "--manual", "--", "true"]).ok();
    }
    let said = world.ctl(&["remove", "other", "bakup"]).refused(4);
    assert!(said.contains("did you mean backup?"), "{said}");
    world.ctl(&["remove", "other", "x*"]).refused(4);
    assert_eq!(
        world.ctl(&["remove", "--json", "nope"]).error(4)["code"],
        "unknown-task"
    );
    assert_eq!(names(&world), ["backup", "other"]);
    world.ctl(&["remove"]).refused(2);
}

#[test]
fn a_task_that_is_running_is_refused_with_the_ways_out() {
    let world = World::served();
    world.ctl(&["add", "--name", "idle", "--manual", "--", "true"]).ok();
    world.add_gated("busy", 0);
    let run = world.run_up("busy");
    let said = world.ctl(&["remove", "idle", "busy"]).refused(1);
    assert!(
        said.contains("busy/1") && said.contains("--cancel") && said.contains("--keep-running"),
        "{said}"
    );
    assert_eq!(world.ctl(&["remove", "--json", "*"]).error(1)["code"], "still-running");
    assert_eq!(names(&world), ["busy", "idle"]);
    assert!(alive(process(&run)));
    world.ctl(&["remove", "busy", "--cancel", "--keep-running"]).refused(2);
}

#[test]
fn cancel_stops_the_run_and_its_history_can_still_be_read() {
    let world = World::served();
    world.add_gated("busy", 0);
    let pid = process(&world.run_up("busy"));
    world.ctl(&["remove", "busy", "--cancel"]).ok();
    assert_eq!(names(&world), [""; 0]);
    wait_for("the run to end", || (!alive(pid)).then_some(()));
    let run = world.finished("busy/1");
    assert_eq!(run["outcome"], "cancelled", "{run}");
    assert!(
        run["reason"].as_str().is_some_and(|reason| reason.contains("removed")),
        "{run}"
    );
}

#[test]
fn a_run_whose_task_is_gone_has_its_own_grace() {
    let mut world = World::served();
    for (name, grace) in [("short", "0s"), ("long", "1h")] {
        let line = "trap 'echo asked; [ $TASKD_TASK = short ] || exit 0' TERM; echo up; while :; do sleep 0.02; done";
        world
            .ctl(&["add", "--name", name, "--manual", "--grace", grace, "--shell", line])
            .ok();
        world.run_up(name);
    }
    world.ctl(&["remove", "short", "long", "--keep-running"]).ok();
    world.kill();
    world.start();
    world.ctl(&["cancel", "short/1", "long/1"]).ok();
    assert_eq!(world.finished("short/1")["signal"], 9);
    assert_eq!(world.finished("long/1")["exit_code"], 0);
}

#[test]
fn keep_running_lets_the_run_end_by_itself() {
    let world = World::served();
    world.add_gated("busy", 5);
    let pid = process(&world.run_up("busy"));
    world.ctl(&["remove", "busy", "--keep-running"]).ok();
    assert_eq!(names(&world), [""; 0]);
    assert!(alive(pid), "the run ended with its task");
    // A new task of the same name is another task, and counts its runs behind that, so that each can be named.
    world.ctl(&["add", "--name", "busy", "--manual", "--", "true"]).ok();
    assert_eq!(world.ctl(&["run", "--wait", "busy"]).code(), 0);
    assert_eq!(world.run_of("busy/2")["outcome"], "succeeded");
    assert_eq!(world.run_of("busy/1")["state"], "running");
    assert_eq!(world.ctl(&["logs", "busy/1"]).ok(), "up\n");
    let top = world.ctl(&["top", "--json", "--once"]).json();
    assert_eq!(top["runs"][0]["run"], "busy/1", "{top}");
    world.ctl(&["cancel", "busy/2"]).refused(1);
    world.ctl(&["remove", "busy"]).ok();
    world.open_gate("busy");
    wait_for("the run to end", || (!alive(pid)).then_some(()));
    wait_for("its end to be recorded", || {
        let runs = world.ctl(&["runs", "--json"]).json();
        (runs[1]["exit_code"] == 5).then_some(())
    });
}
