//! Several runs of one task: `--concurrency`.

use serde_json::{Value, json};

use crate::harness::{World, wait_for};
use crate::verbs::export;

/// A manual task that goes on until its gate is opened.
fn add(world: &World, name: &str, policy: &str) {
    let line = world.gated_line(name, 0);
    let add = [
        "add",
        "--name",
        name,
        "--manual",
        "--concurrency",
        policy,
        "--shell",
        &line,
    ];
    world.ctl(&add).ok();
}

/// Waits until so many of its runs run, and so many wait.
fn counted(world: &World, running: u64, waiting: u64) {
    wait_for("the runs", || {
        let status = world.ctl(&["status", "--json"]).json();
        (status["running"] == running && status["waiting"] == waiting).then_some(())
    });
}

fn outcome(run: &Value) -> (&Value, &Value) {
    (&run["outcome"], &run["reason"])
}

#[test]
fn runs_go_one_after_the_other_over_a_crash_of_the_daemon() {
    let mut world = World::served();
    add(&world, "q", "queue:1");
    for _ in 0..2 {
        world.ctl(&["run", "q"]).ok();
    }
    counted(&world, 1, 1);
    let refused = world.ctl(&["run", "q"]);
    assert_eq!(refused.code(), 1);
    assert!(
        refused
            .stderr
            .contains("2 is over the limit of 1 for runs of q that wait"),
        "{}",
        refused.stderr
    );
    world.kill();
    world.start();
    counted(&world, 1, 1);
    world.open_gate("q");
    let (first, second) = (world.finished("q/1"), world.finished("q/2"));
    for run in [&first, &second] {
        assert_eq!(run["outcome"], "succeeded", "{run}");
    }
    let instant = |run: &Value, field: &str| crate::harness::instant(&run[field]);
    assert!(instant(&second, "started_at") >= instant(&first, "finished_at"));
}

#[test]
fn the_newest_run_replaces_the_others_and_never_runs_beside_them() {
    let world = World::served();
    add(&world, "r", "replace");
    for _ in 0..3 {
        world.ctl(&["run", "r"]).ok();
    }
    let last = wait_for("the last one to run", || {
        let run = world.run_of("r/3");
        (run["state"] == "running").then_some(run)
    });
    let earlier: Vec<Value> = ["r/1", "r/2"].map(|run| world.finished(run)).into();
    assert_eq!(
        outcome(&earlier[0]),
        (&json!("cancelled"), &json!("replaced by run r/2"))
    );
    assert_eq!(
        outcome(&earlier[1]),
        (&json!("cancelled"), &json!("replaced by run r/3"))
    );
    let began = crate::harness::instant(&last["started_at"]);
    let ended = |run: &Value| crate::harness::instant(&run["finished_at"]);
    assert!(
        earlier.iter().all(|run| ended(run) <= began),
        "{earlier:?}, then {last}"
    );
    world.open_gate("r");
    assert_eq!(world.finished("r/3")["outcome"], "succeeded");
}

#[test]
fn side_by_side_go_as_many_as_may_and_firings_beyond_are_in_the_ledger() {
    let world = World::served();
    let line = world.gated_line("s", 0);
    let add = [
        "add",
        "--name",
        "s",
        "--every",
        "1s",
        "--concurrency",
        "allow:2",
        "--shell",
        &line,
    ];
    world.ctl(&add).ok();
    let skipped = wait_for("a skip", || {
        let shown = world.ctl(&["show", "s", "--json"]).json();
        shown["passed"].as_array().and_then(|passed| passed.first().cloned())
    });
    assert_eq!(skipped["reason"], "2 runs of it are in progress, and no more may be");
    counted(&world, 2, 0);
    world.ctl(&["disable", "s"]).ok();
    world.open_gate("s");
    assert_eq!(world.finished("s/2")["outcome"], "succeeded");
}

#[test]
fn the_policy_is_shown_changed_and_exported_and_what_is_none_is_pointed_at() {
    let world = World::served();
    add(&world, "t", "allow:3");
    let shown = || world.ctl(&["show", "t", "--json"]).json()["concurrency"].clone();
    assert_eq!(shown(), "allow:3");
    assert!(world.ctl(&["show", "t"]).ok().contains("concurrency  allow:3"));
    world.ctl(&["edit", "t", "--concurrency", "queue"]).ok();
    assert_eq!(shown(), "queue");
    export::is_whole(&world, &[]);
    world.ctl(&["edit", "t", "--concurrency", ""]).ok();
    assert_eq!(shown(), "forbid");
    let refused = world.ctl(&["edit", "t", "--concurrency", "queue:0"]);
    assert_eq!(refused.code(), 2);
    assert!(
        refused.stderr.contains("queue:0\n") && refused.stderr.contains("      ^"),
        "{}",
        refused.stderr
    );
}
