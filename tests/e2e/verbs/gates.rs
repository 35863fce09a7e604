//! What must hold before a run starts: `--only-if`, `--max-load`, `--min-memory`, `--on-ac-power` and `--gate-wait`.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{World, instant, wait_for};
use crate::verbs::export;

/// More memory than any machine has.
const TOO_MUCH: &str = "1000T";

fn add(world: &World, name: &str, gates: &[&str], line: &str) {
    world
        .ctl(&[&["add", "--name", name, "--manual"], gates, &["--shell", line]].concat())
        .ok();
}

/// The run, once it waits for its gate.
fn waits(world: &World, run: &str) -> Value {
    wait_for(&format!("{run} to wait for its gate"), || {
        let told = world.run_of(run);
        (told["state"] == "gated").then_some(told)
    })
}

#[test]
fn a_run_whose_gate_is_closed_is_skipped_and_says_what_was_read() {
    let world = World::served();
    let (sign, ran) = (world.path("sign"), world.path("ran"));
    let (test, touch) = (
        format!("test -e {}", sign.display()),
        format!("touch {}", ran.display()),
    );
    add(&world, "if", &["--only-if", &test, "--retries", "5"], &touch);
    let waited = world.ctl(&["run", "--wait", "if"]);
    assert_eq!((waited.code(), waited.stdout.as_str()), (1, ""), "{waited:?}");
    assert!(
        waited.stderr.contains("if/1 skipped: only-if exited with 1") && waited.stderr.contains("--skip-gates"),
        "{waited:?}"
    );
    let run = world.run_of("if/1");
    assert_eq!(
        (&run["outcome"], &run["reason"], &run["started_at"], &run["attempts"]),
        (
            &json!("skipped"),
            &json!("only-if exited with 1"),
            &json!(null),
            &json!(1)
        ),
        "{run}"
    );
    let skipped = world.ctl(&["runs", "--outcome", "skipped"]).ok();
    assert!(skipped.contains("only-if exited with 1"), "{skipped}");
    add(&world, "memory", &["--min-memory", TOO_MUCH], &touch);
    let waited = world.ctl(&["run", "--wait", "memory"]);
    assert!(
        waited
            .stderr
            .contains("of memory are available, less than 1024000.0 GiB"),
        "{waited:?}"
    );
    assert!(!ran.exists());
    // It is run all the same where that is asked for.
    world.ctl(&["run", "--wait", "if", "--skip-gates"]).ok();
    assert!(ran.exists());
    let given = &world.run_of("if/2")["overrides"];
    assert_eq!(*given, json!({"env": [], "more_env": 0, "args": 0, "skip_gates": true}));
    fs::remove_file(&ran).expect("it is there");
    fs::write(&sign, "").expect("room");
    world.ctl(&["run", "--wait", "if"]).ok();
    assert!(ran.exists());
    add(
        &world,
        "open",
        &["--max-load", "10000", "--min-memory", "1M", "--on-ac-power=false"],
        "echo fine",
    );
    assert_eq!(world.ctl(&["run", "--wait", "open"]).ok(), "fine\n");
}

#[test]
fn a_run_waits_for_its_gate_and_starts_when_it_opens_over_a_crash_of_the_daemon() {
    let mut world = World::served();
    let sign = world.path("sign");
    let test = format!("test -e {}", sign.display());
    add(&world, "w", &["--only-if", &test, "--gate-wait", "1h"], "echo $1");
    world.ctl(&["run", "w", "--", "given"]).ok();
    let told = waits(&world, "w/1");
    assert_eq!(told["waits_for"], "its gate: only-if exited with 1");
    let until = told["gate_until"].clone();
    assert!(instant(&until) > instant(&told["retry_at"]), "{told}");
    let shown = world.ctl(&["runs", "w"]).ok();
    assert!(
        shown.contains("gated") && shown.contains("waits for its gate: only-if exited with 1"),
        "{shown}"
    );
    let refused = world.ctl(&["run", "w"]).refused(1);
    assert!(refused.contains("w/1"), "{refused}");
    world.kill();
    world.start();
    assert_eq!(waits(&world, "w/1")["gate_until"], until);
    fs::write(&sign, "").expect("room");
    let run = world.finished("w/1");
    assert_eq!(
        (&run["outcome"], &run["attempts"]),
        (&json!("succeeded"), &json!(1)),
        "{run}"
    );
    assert_eq!(world.ctl(&["logs", "w/1"]).ok(), "given\n");
    world.wait_logged("run waits for its gate");
    // Told once, however often it was looked at.
    let told = world
        .log()
        .iter()
        .filter(|line| line["msg"] == "run waits for its gate")
        .count();
    assert_eq!(told, 1);
}

#[test]
fn a_wait_ends_when_it_was_said_to_or_by_a_cancellation() {
    let world = World::served();
    add(
        &world,
        "short",
        &["--min-memory", TOO_MUCH, "--gate-wait", "1500ms"],
        "true",
    );
    world.ctl(&["run", "short"]).ok();
    let until = instant(&waits(&world, "short/1")["gate_until"]);
    let run = world.finished("short/1");
    assert_eq!(run["outcome"], "skipped", "{run}");
    assert!(instant(&run["finished_at"]) >= until, "it waited to the end");
    add(&world, "long", &["--min-memory", TOO_MUCH, "--gate-wait", "1h"], "true");
    world.ctl(&["run", "long"]).ok();
    waits(&world, "long/1");
    world.ctl(&["cancel", "long"]).ok();
    assert_eq!(world.finished("long/1")["outcome"], "cancelled");
    // What the gate itself does is stopped as well, and nothing comes after it.
    let (up, ran) = (world.path("up"), world.path("ran"));
    let line = format!(
        "trap 'exit 0' TERM; touch {}; while :; do sleep 0.02; done",
        up.display()
    );
    add(
        &world,
        "busy",
        &["--only-if", &line],
        &format!("touch {}", ran.display()),
    );
    world.ctl(&["run", "busy"]).ok();
    wait_for("the gate to be looked at", || up.exists().then_some(()));
    world.ctl(&["cancel", "busy"]).ok();
    assert_eq!(world.finished("busy/1")["outcome"], "cancelled");
    assert!(!ran.exists());
}

#[test]
fn a_firing_that_is_turned_away_is_a_skip_in_the_ledger() {
    let world = World::served();
    world
        .ctl(&[
            "add",
            "--name",
            "tick",
            "--in",
            "100ms",
            "--only-if",
            "exit 7",
            "--",
            "true",
        ])
        .ok();
    let run = world.finished("tick/1");
    assert_eq!(
        (&run["outcome"], &run["trigger"]),
        (&json!("skipped"), &json!("schedule")),
        "{run}"
    );
    let at = run["fire_time"].as_str().expect("it has one").to_owned();
    let told = &world.ctl(&["why", "tick", &at, "--json"]).json()[0];
    assert_eq!(told["verdict"], "skipped", "{told}");
    let said = world.ctl(&["why", "tick", &at]).ok();
    assert!(said.contains("Only-if exited with 7"), "{said}");
}

#[test]
fn gates_are_shown_changed_and_taken_away() {
    let world = World::served();
    let all = [
        "--only-if",
        "test -e /mnt",
        "--max-load",
        "2.50",
        "--min-memory",
        "2048M",
        "--on-ac-power",
        "--gate-wait",
        "10m",
    ];
    add(&world, "g", &all, "true");
    let shown = world.ctl(&["show", "g"]).ok();
    let says = "load at most 2.5, 2G of memory, not on battery, only if test -e /mnt; waits 10m for them";
    assert!(shown.contains(says), "{shown}");
    let gates = |world: &World| world.ctl(&["show", "g", "--json"]).json()["gates"].clone();
    assert_eq!(
        gates(&world),
        json!({"only_if": "test -e /mnt", "max_load": "2.5", "min_memory": "2G", "on_ac_power": true, "gate_wait_ms": 600_000})
    );
    export::is_whole(&world, &[]);
    world
        .ctl(&[
            "edit",
            "g",
            "--only-if",
            "",
            "--max-load",
            "4",
            "--on-ac-power",
            "false",
            "--gate-wait",
            "",
        ])
        .ok();
    assert_eq!(
        gates(&world),
        json!({"only_if": null, "max_load": "4", "min_memory": "2G", "on_ac_power": false, "gate_wait_ms": null})
    );
    world.ctl(&["edit", "g", "--max-load", "", "--min-memory", ""]).ok();
    assert!(!world.ctl(&["show", "g"]).ok().contains("gates"));
}

#[test]
fn what_is_no_gate_is_refused() {
    let world = World::served();
    let refused = |gates: &[&str], says: &str| {
        let args = [&["add", "--name", "x", "--manual"], gates, &["--", "true"]].concat();
        let said = world.ctl(&args).refused(2);
        assert!(said.contains(says), "{said}");
    };
    refused(&["--max-load", "much"], "hint: write a number up to 10000");
    refused(&["--min-memory", "2GB"], "hint: write a number above 0");
    refused(&["--only-if", " "], "an empty line tells nothing");
    refused(&["--gate-wait", "5m"], "there is no gate to wait for");
    refused(&["--gate-wait", "soon", "--on-ac-power"], "--gate-wait");
    refused(&["--gate-wait", "40d", "--on-ac-power"], "hint: write at most 30d");
    assert_eq!(world.ctl(&["list", "--json"]).json(), json!([]));
}
