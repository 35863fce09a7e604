//! What runs of several tasks share: `--group`, `--priority`, `--lock`, `taskctl group` and `taskctl lock`.

use serde_json::{Value, json};

use crate::harness::{World, has_keys, instant, wait_for};
use crate::verbs::export;

fn add(world: &World, name: &str, options: &[&str]) {
    let line = world.gated_line(name, 0);
    let add = [&["add", "--name", name, "--manual"], options, &["--shell", &line]].concat();
    world.ctl(&add).ok();
}

fn state(world: &World, run: &str, state: &str) -> Value {
    wait_for(&format!("{run} to be {state}"), || {
        let run = world.run_of(run);
        (run["state"] == state).then_some(run)
    })
}

#[test]
fn a_group_has_its_limit_and_the_highest_priority_goes_first_over_a_crash() {
    let mut world = World::served();
    assert_eq!(
        world.ctl(&["group", "set", "db", "--limit", "1"]).ok(),
        "set group db\n"
    );
    add(&world, "first", &["--group", "db"]);
    add(&world, "low", &["--group", "db"]);
    add(&world, "high", &["--group", "db", "--priority", "10"]);
    assert_eq!(world.ctl(&["run", "first"]).ok(), "started first/1\n");
    assert_eq!(
        world.ctl(&["run", "low"]).ok(),
        "low/1 waits for group db, which holds 1\n"
    );
    let high = world.ctl(&["run", "high", "--json"]).json();
    assert_eq!(high["waits_for"], "group db, which holds 1");
    state(&world, "first/1", "running");
    let low = state(&world, "low/1", "waiting");
    assert_eq!(low["waits_for"], "group db, which holds 1");
    let runs = world.ctl(&["runs"]).ok();
    assert!(runs.contains("waits for group db, which holds 1"), "{runs}");
    let listed = world.ctl(&["group", "list"]).ok();
    assert_eq!(listed, "db: limit 1; 1 running, 2 waiting; 3 tasks\n");
    world.kill();
    world.start();
    state(&world, "low/1", "waiting");
    for task in ["high", "low", "first"] {
        world.open_gate(task);
    }
    let [first, high, low] = ["first/1", "high/1", "low/1"].map(|run| world.finished(run));
    let (began, ended) = (
        |run: &Value| instant(&run["started_at"]),
        |run: &Value| instant(&run["finished_at"]),
    );
    assert!(
        began(&high) >= ended(&first) && began(&low) >= ended(&high),
        "{first}\n{high}\n{low}"
    );
}

#[test]
fn a_lock_is_held_by_one_run_until_it_ends_though_its_task_is_edited() {
    let mut world = World::served();
    add(&world, "a", &["--lock", "disk"]);
    add(&world, "b", &["--lock", "disk", "--lock", "net"]);
    world.ctl(&["run", "a"]).ok();
    state(&world, "a/1", "running");
    world.ctl(&["edit", "a", "--lock", ""]).ok();
    world.kill();
    world.start();
    world.ctl(&["run", "b"]).ok();
    assert_eq!(state(&world, "b/1", "waiting")["waits_for"], "lock disk, which holds 1");
    world.open_gate("a");
    state(&world, "b/1", "running");
    let locks = world.ctl(&["lock", "list", "--json"]).json();
    has_keys(&locks[0], "name limit is_set tasks running waiting");
    let told = |lock: &Value| (lock["name"].clone(), lock["running"].clone());
    let locks = locks.as_array().expect("a list");
    let told: Vec<_> = locks.iter().map(told).collect();
    assert_eq!(told, [(json!("disk"), json!(1)), (json!("net"), json!(1))]);
    world.open_gate("b");
    assert_eq!(world.finished("b/1")["outcome"], "succeeded");
}

#[test]
fn limits_are_set_taken_back_and_refused() {
    let world = World::served();
    world.ctl(&["group", "set", "a", "b", "--limit", "2"]).ok();
    let listed = "a: limit 2; 0 running, 0 waiting; 0 tasks\nb: limit 2; 0 running, 0 waiting; 0 tasks\n";
    assert_eq!(world.ctl(&["group", "list"]).ok(), listed);
    assert_eq!(world.ctl(&["lock", "list"]).ok(), "");
    world.ctl(&["group", "remove", "a"]).ok();
    assert_eq!(
        world.ctl(&["group", "remove", "a", "--json"]).error(4)["code"],
        "unknown-pool"
    );
    assert!(
        world
            .ctl(&["group", "set", "a", "--limit", "0"])
            .refused(2)
            .contains("from 1 to")
    );
    assert!(
        world
            .ctl(&["lock", "set", "a/b", "--limit", "1"])
            .refused(2)
            .contains('^')
    );
    let wrong = ["add", "--manual", "--priority", "1001", "--", "true"];
    assert!(world.ctl(&wrong).refused(2).contains("from -1000 to 1000"));
}

#[test]
fn what_is_shared_is_shown_changed_and_exported() {
    let world = World::served();
    add(
        &world,
        "t",
        &["--group", "db", "--priority", "-3", "--lock", "net", "--lock", "disk"],
    );
    let shown = || {
        let shown = world.ctl(&["show", "t", "--json"]).json();
        json!([shown["group"], shown["priority"], shown["locks"]])
    };
    assert_eq!(shown(), json!(["db", -3, ["disk", "net"]]));
    let text = world.ctl(&["show", "t"]).ok();
    for row in ["group        db", "priority     -3", "locks        disk, net"] {
        assert!(text.contains(row), "{text}");
    }
    export::is_whole(&world, &[]);
    world
        .ctl(&["edit", "t", "--group", "", "--priority", "0", "--lock", ""])
        .ok();
    assert_eq!(shown(), json!([null, 0, []]));
}
