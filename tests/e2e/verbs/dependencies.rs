//! Tasks that come after others: `--after` and `--after-any`.

use serde_json::{Value, json};

use crate::harness::{World, has_keys, wait_for};
use crate::verbs::export;

fn add(world: &World, name: &str, options: &[&str], line: &str) {
    let add = [&["add", "--name", name], options, &["--shell", line]].concat();
    world.ctl(&add).ok();
}

/// Waits until a run is there and runs.
fn running(world: &World, run: &str) {
    wait_for(&format!("{run} to run"), || {
        let runs = world.ctl(&["runs", run, "--json"]);
        let runs: Value = serde_json::from_str(&runs.stdout).ok()?;
        (runs.get(0)?["state"] == "running").then_some(())
    });
}

fn trace(run: &Value) -> &str {
    run["trace_id"].as_str().expect("a trace id")
}

#[test]
fn a_diamond_runs_from_its_first_task_to_its_last_under_one_trace_id() {
    let world = World::served();
    add(&world, "a", &["--manual"], "true");
    let line = world.gated_line("b", 0);
    add(&world, "b", &["--after", "a"], &line);
    add(&world, "c", &["--after", "a"], "true");
    add(&world, "d", &["--after", "b,c"], "echo $TASKD_TRIGGER $TRACEPARENT");
    let added = world.ctl(&["add", "--name", "e", "--after", "d", "--", "true"]).ok();
    assert!(added.contains("after d"), "{added}");
    world.ctl(&["run", "a"]).ok();
    world.finished("c/1");
    running(&world, "b/1");
    let waits = world.ctl(&["show", "d"]).ok();
    assert!(waits.contains("has ended    c/1; waits for b\n"), "{waits}");
    let shown = world.ctl(&["show", "d", "--json"]).json();
    has_keys(&shown["upstreams"][0], "task on ended");
    let ends: Vec<&Value> = shown["upstreams"]
        .as_array()
        .expect("two")
        .iter()
        .map(|of| &of["ended"])
        .collect();
    assert_eq!(ends, [&Value::Null, &json!("c/1")]);
    assert_eq!(shown["downstream"], json!(["e"]));
    world.open_gate("b");
    let runs = ["a/1", "b/1", "c/1", "d/1", "e/1"].map(|run| world.finished(run));
    for run in &runs {
        assert_eq!(run["outcome"], "succeeded", "{run}");
        assert_eq!(trace(run), trace(&runs[0]), "{run}");
    }
    let by: Vec<&Value> = runs.iter().map(|run| &run["triggered_by"]).collect();
    assert_eq!(
        by,
        [&Value::Null, &json!("a/1"), &json!("a/1"), &json!("b/1"), &json!("d/1")]
    );
    assert_eq!(runs[3]["trigger"], "dependency");
    let said = world.ctl(&["logs", "d"]).ok();
    assert!(
        said.starts_with(&format!("dependency 00-{}", trace(&runs[0]))),
        "{said}"
    );
    let listed = world.ctl(&["runs", "d"]).ok();
    assert!(listed.contains("after b/1"), "{listed}");
    let why = world.ctl(&["why", "d"]).ok();
    assert!(why.contains("Run d/1: succeeded, trigger dependency by b/1"), "{why}");
    assert_eq!(world.ctl(&["runs", "--json"]).json().as_array().map(Vec::len), Some(5));
}

#[test]
fn a_failure_has_a_branch_of_its_own() {
    let world = World::served();
    add(&world, "a", &["--manual"], "exit 3");
    add(&world, "load", &["--after", "a"], "true");
    add(&world, "alarm", &["--after-any", "a:failed,load:failed"], "true");
    add(&world, "tidy", &["--after", "a:finished"], "true");
    world.ctl(&["run", "a"]).ok();
    for run in ["alarm/1", "tidy/1"] {
        assert_eq!(world.finished(run)["triggered_by"], "a/1");
    }
    world.ctl(&["edit", "a", "--", "true"]).ok();
    world.ctl(&["run", "a"]).ok();
    assert_eq!(world.finished("load/1")["triggered_by"], "a/2");
    world.finished("tidy/2");
    let alarms = world.ctl(&["runs", "alarm", "--json"]).json();
    assert_eq!(alarms.as_array().map(Vec::len), Some(1), "{alarms}");
}

#[test]
fn an_end_while_the_daemon_is_away_triggers_once_when_it_is_back() {
    let mut world = World::served();
    world.add_gated("a", 0);
    add(&world, "b", &["--after", "a"], "true");
    let up = world.run_up("a");
    world.kill();
    world.open_gate("a");
    let pid = u32::try_from(up["pid"].as_u64().expect("a pid")).expect("a pid");
    wait_for("the run to end", || (!crate::harness::alive(pid)).then_some(()));
    world.start();
    let run = world.finished("b/1");
    assert_eq!((trace(&run), &run["triggered_by"]), (trace(&up), &json!("a/1")));
    world.kill();
    world.start();
    let runs = world.ctl(&["runs", "b", "--json"]).json();
    assert_eq!(runs.as_array().map(Vec::len), Some(1), "{runs}");
}

#[test]
fn what_is_kept_of_ends_outlives_a_crash() {
    let mut world = World::served();
    for name in ["a", "b"] {
        add(&world, name, &["--manual"], "true");
    }
    add(&world, "c", &["--after", "a,b"], "true");
    world.ctl(&["run", "--wait", "a"]).ok();
    world.kill();
    world.start();
    world.ctl(&["run", "b"]).ok();
    assert_eq!(world.finished("c/1")["triggered_by"], "b/1");
}

#[test]
fn what_keeps_it_from_starting_is_told() {
    let world = World::served();
    add(&world, "a", &["--manual"], "true");
    add(&world, "b", &["--after", "a", "--disabled"], "true");
    world.ctl(&["run", "a"]).ok();
    let passed = wait_for("the skip", || {
        let shown = world.ctl(&["show", "b", "--json"]).json();
        shown["passed"].as_array().and_then(|passed| passed.first().cloned())
    });
    assert_eq!(passed["reason"], "after a/1: it is disabled");
    let why = world.ctl(&["why", "b"]).ok();
    assert!(why.contains("skipped\n  After a/1: it is disabled.\n"), "{why}");
}

#[test]
fn a_cycle_is_refused_with_its_path_and_a_task_that_others_follow_stays() {
    let world = World::served();
    add(&world, "a", &["--manual"], "true");
    add(&world, "b", &["--after", "a"], "true");
    add(&world, "c", &["--after", "b:finished"], "true");
    let refused = world.ctl(&["edit", "a", "--after", "c", "--json"]).error(2);
    assert_eq!(refused["code"], "bad-field");
    let said = world.ctl(&["edit", "a", "--after", "c"]).refused(2);
    assert!(said.contains("would depend on itself: a -> b -> c -> a"), "{said}");
    let said = world
        .ctl(&["add", "--name", "d", "--after", "gone", "--", "true"])
        .refused(2);
    assert!(said.contains("there is no task gone"), "{said}");
    let said = world
        .ctl(&["add", "--name", "d", "--after", "a:done", "--", "true"])
        .refused(2);
    assert!(said.contains("  --after a:done\n            ^^^^\n"), "{said}");
    let said = world
        .ctl(&["add", "--name", "d", "--after", "a,a:failed", "--", "true"])
        .refused(2);
    assert!(said.contains("a is named twice"), "{said}");
    let refused = world.ctl(&["remove", "a", "--json"]).error(1);
    assert_eq!(
        (&refused["code"], &refused["message"]),
        (&json!("still-named"), &json!("b comes after a or requires it"))
    );
    world.ctl(&["edit", "b", "--name", "other"]).refused(1);
    world.ctl(&["remove", "a", "b", "c"]).ok();
}

#[test]
fn the_graph_is_drawn_with_how_each_task_stands() {
    let world = World::served();
    assert_eq!(world.ctl(&["graph"]).ok(), "");
    add(&world, "a", &["--manual"], "true");
    add(&world, "b", &["--after", "a"], "true");
    add(&world, "c", &["--after", "a"], "exit 3");
    add(&world, "d", &["--after", "b,c"], "true");
    add(&world, "alone", &["--manual"], "true");
    add(&world, "x", &["--after-any", "alone:failed"], "true");
    world.ctl(&["run", "a"]).ok();
    world.finished("b/1");
    world.finished("c/1");
    let drawn = [
        "a  succeeded (a/1)",
        "├─ b  succeeded (b/1)",
        "│  └─ d (and after c)  never run",
        "└─ c  failed (c/1)",
        "   └─ d (and after b), drawn above",
        "",
    ]
    .join("\n");
    assert_eq!(world.ctl(&["graph", "d"]).ok(), drawn);
    let all = world.ctl(&["graph"]).ok();
    assert_eq!(all, format!("{drawn}alone  never run\n└─ x (on failed)  never run\n"));
    world.ctl(&["run", "--wait", "a"]).ok();
    world.finished("c/2");
    let of_run = world.ctl(&["graph", "--run", "c/1"]).ok();
    assert!(
        of_run.contains("├─ b  succeeded (b/1)") && of_run.contains("no run under this trace"),
        "{of_run}"
    );
    let of_newest = world.ctl(&["graph", "--run", "c"]).ok();
    assert_eq!(of_newest, world.ctl(&["graph", "--run", "c/2"]).ok());
    assert_ne!(of_newest, of_run);
    let graph = world.ctl(&["graph", "x", "--json"]).json();
    has_keys(&graph, "tasks trace_id more");
    has_keys(&graph["tasks"][0], "task enabled run state any upstreams requires");
    assert_eq!(graph["tasks"].as_array().map(Vec::len), Some(2), "{graph}");
    let dot = world.ctl(&["graph", "--dot"]).ok();
    assert!(dot.starts_with("digraph tasks {\n") && dot.ends_with("}\n"), "{dot}");
    assert!(
        dot.contains("  \"alone\" -> \"x\" [label=\"failed\", style=dashed];\n"),
        "{dot}"
    );
    world.ctl(&["graph", "nobody"]).refused(4);
    world.ctl(&["graph", "--run", "a/99"]).refused(4);
    world.ctl(&["graph", "--run", "x"]).refused(4);
}

#[test]
fn what_follows_from_a_run_is_cancelled_with_it() {
    let mut world = World::served();
    add(&world, "a", &["--manual"], "true");
    let line = world.gated_line("b", 0);
    add(&world, "b", &["--after", "a"], &line);
    add(&world, "c", &["--after", "b:finished"], "true");
    world.ctl(&["cancel", "a", "--downstream"]).refused(1);
    world.ctl(&["run", "a"]).ok();
    running(&world, "b/1");
    let stopped = world.ctl(&["cancel", "a/1", "--downstream", "--json"]).json();
    assert_eq!(stopped, json!([{ "run": "b/1" }]));
    let run = world.finished("b/1");
    assert_eq!(run["outcome"], "cancelled");
    assert!(
        run["reason"]
            .as_str()
            .is_some_and(|reason| reason.starts_with("cancelled with what follows by uid")),
        "{run}"
    );
    world.kill();
    world.start();
    assert_eq!(world.ctl(&["show", "c", "--json"]).json()["runs"], 0);
    let said = world.ctl(&["cancel", "a/1", "--downstream"]).refused(1);
    assert!(
        said.contains("a/1 is not running, and nothing that follows from it is"),
        "{said}"
    );
    world.ctl(&["cancel", "a/9", "--downstream"]).refused(4);
    // A cancellation of the run alone is an end like another.
    world.ctl(&["run", "b"]).ok();
    running(&world, "b/2");
    world.ctl(&["cancel", "b"]).ok();
    assert_eq!(world.finished("c/1")["triggered_by"], "b/2");
}

#[test]
fn it_is_shown_changed_and_exported() {
    let world = World::served();
    for name in ["a", "b"] {
        add(&world, name, &["--manual"], "true");
    }
    add(&world, "z", &["--after", "a,b:failed"], "true");
    assert!(world.ctl(&["list", "z"]).ok().contains("after a, b:failed"));
    let schedule = || world.ctl(&["list", "z", "--json"]).json()[0]["schedule"].clone();
    assert_eq!(schedule(), json!({"kind": "after", "expr": "a, b:failed", "tz": null}));
    world.ctl(&["edit", "z", "--after-any", "a", "--after-any", "b"]).ok();
    assert_eq!(schedule()["expr"], "any of a, b");
    let said = world.ctl(&["why", "z"]).ok();
    assert_eq!(said, "z has had no fire time, and comes after any of a, b\n");
    // The one that comes after others is the first in the file, and the others have yet to come.
    let exported = world.ctl(&["export"]).ok();
    let mut lines: Vec<&str> = exported.lines().collect();
    lines.reverse();
    let other = World::served();
    assert_eq!(
        other.ctl_reading(&["import", "-"], &lines.join("\n")).ok(),
        "imported 3 tasks\n"
    );
    assert_eq!(other.ctl(&["export"]).ok(), exported);
    export::is_whole(&world, &[]);
    let gone = other.ctl_reading(
        &["import", "-"],
        &lines[0].replace("\"z\"", "\"y\"").replace("\"b\"", "\"x\""),
    );
    let said = gone.refused(1);
    assert!(said.contains("line 1: after x: there is no task x"), "{said}");
    world.ctl(&["edit", "z", "--manual"]).ok();
    world.ctl(&["remove", "a"]).ok();
}
