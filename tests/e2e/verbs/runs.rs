//! `taskctl runs`: the history, newest first.

use serde_json::{Value, json};

use crate::harness::{World, has_keys, is_instant, texts};

/// What every run has, known or not.
pub const KEYS: &str = "run task trigger fire_time started_at finished_at state outcome exit_code signal attempts \
                        trace_id duration_ms lateness_ms reason";

/// `ok` has run twice, `bad` once in between.
fn world() -> World {
    let world = World::served();
    world
        .ctl(&["add", "--name", "ok", "--manual", "--shell", "echo 12345"])
        .ok();
    world
        .ctl(&["add", "--name", "bad", "--manual", "--shell", "exit 3"])
        .ok();
    for (name, code) in [("ok", 0), ("bad", 3), ("ok", 0)] {
        assert_eq!(world.ctl(&["run", "--wait", name]).code(), code);
    }
    world
}

fn names(world: &World, args: &[&str]) -> Vec<String> {
    texts(&world.ctl(&[&["runs", "--json"], args].concat()).json(), "run")
}

#[test]
fn runs_come_newest_first_and_can_be_chosen() {
    let world = world();
    assert_eq!(names(&world, &[]), ["ok/2", "bad/1", "ok/1"]);
    assert_eq!(names(&world, &["ok"]), ["ok/2", "ok/1"]);
    assert_eq!(names(&world, &["ok", "b*"]), ["ok/2", "bad/1", "ok/1"]);
    assert_eq!(names(&world, &["ok/1"]), ["ok/1"]);
    assert_eq!(names(&world, &["--outcome", "failed"]), ["bad/1"]);
    assert_eq!(
        names(&world, &["--outcome", "failed,succeeded", "--limit", "2"]),
        ["ok/2", "bad/1"]
    );
    assert_eq!(names(&world, &["ok", "-n", "1"]), ["ok/2"]);
    assert_eq!(names(&world, &["--limit", "0"]).len(), 3);
    assert_eq!(names(&world, &["--since", "1h"]).len(), 3);
    assert_eq!(names(&world, &["--since", "2096-01-01"]), [""; 0]);
    let first = world.run_of("ok/1");
    let second = world.run_of("bad/1");
    let since = second["created_at"].as_str().expect("an instant");
    assert_ne!(first["created_at"], since);
    assert_eq!(names(&world, &["--since", since]), ["ok/2", "bad/1"]);
}

#[test]
fn a_run_has_its_shape_from_begin_to_end() {
    let world = world();
    let run = world.run_of("bad/1");
    has_keys(&run, KEYS);
    assert_eq!(
        (
            &run["task"],
            &run["trigger"],
            &run["state"],
            &run["outcome"],
            &run["exit_code"]
        ),
        (
            &json!("bad"),
            &json!("manual"),
            &json!("finished"),
            &json!("failed"),
            &json!(3)
        ),
        "{run}"
    );
    assert_eq!(
        (&run["signal"], &run["fire_time"], &run["lateness_ms"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(run["attempts"], 1);
    is_instant(&run["started_at"]);
    is_instant(&run["finished_at"]);
    assert!(run["duration_ms"].is_u64(), "{run}");
    assert_eq!(run["trace_id"].as_str().map(str::len), Some(32));
    assert!(run["max_rss_kib"].as_u64().is_some_and(|kib| kib > 0), "{run}");
    assert!(run["user_us"].is_u64() && run["system_us"].is_u64(), "{run}");
    assert_eq!(world.run_of("ok/1")["output_bytes"], 6);
    world.add_gated("long", 0);
    let run = world.run_up("long");
    has_keys(&run, KEYS);
    assert_eq!(run["state"], "running");
    for unknown in ["finished_at", "outcome", "exit_code", "signal", "duration_ms", "reason"] {
        assert_eq!(run[unknown], Value::Null, "{unknown} of {run}");
    }
    assert!(run["pid"].is_u64(), "{run}");
}

#[test]
fn a_run_for_a_fire_time_says_which_and_how_late() {
    let world = World::served();
    world
        .ctl(&["add", "--name", "tick", "--cron", "* * * * * *", "--", "true"])
        .ok();
    let run = world.finished("tick/1");
    assert_eq!(run["trigger"], "schedule", "{run}");
    is_instant(&run["fire_time"]);
    let lateness = run["lateness_ms"].as_i64().expect("a number");
    assert!((0..5_000).contains(&lateness), "{run}");
}

#[test]
fn people_read_a_table() {
    let world = world();
    let table = world.ctl(&["runs"]).ok();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("RUN ") && lines.len() == 4, "{table}");
    assert!(
        lines[2].starts_with("bad/1") && lines[2].contains("failed (3)"),
        "{table}"
    );
    let wide = world.ctl(&["runs", "--wide", "bad"]).ok();
    assert!(
        wide.contains("TRACE") && wide.contains(world.run_of("bad/1")["trace_id"].as_str().expect("an id")),
        "{wide}"
    );
    let none = world.ctl(&["runs", "--outcome", "unknown"]);
    assert_eq!((none.code(), none.stdout.as_str()), (0, ""), "{none:?}");
    assert!(none.stderr.contains("no runs"), "{none:?}");
    assert_eq!(world.ctl(&["runs", "--json", "--outcome", "unknown"]).json(), json!([]));
}

#[test]
fn the_history_of_a_removed_task_can_be_read() {
    let world = world();
    world.ctl(&["remove", "ok"]).ok();
    assert_eq!(names(&world, &["ok"]), ["ok/2", "ok/1"]);
    assert_eq!(world.ctl(&["logs", "ok/1"]).ok(), "12345\n");
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let world = world();
    let said = world.ctl(&["runs", "okk"]).refused(4);
    assert!(said.contains("there is no task okk"), "{said}");
    let said = world.ctl(&["runs", "--outcome", "faild"]).refused(2);
    assert!(said.contains("failed"), "{said}");
    let said = world.ctl(&["runs", "--since", "yesterdy"]).refused(2);
    assert!(said.contains("--since yesterdy\n") && said.contains('^'), "{said}");
    world.ctl(&["runs", "--limit", "x"]).refused(2);
    World::new().ctl(&["runs"]).refused(3);
}
