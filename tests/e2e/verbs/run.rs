//! `taskctl run`: now, and with `--wait` as if the command were run here.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{World, has_keys, texts, wait_for};

fn add(world: &World, name: &str, line: &str) {
    world.ctl(&["add", "--name", name, "--manual", "--shell", line]).ok();
}

#[test]
fn runs_are_named_and_started() {
    let world = World::served();
    for name in ["nightly-a", "nightly-b", "other"] {
        add(&world, name, "true");
    }
    assert_eq!(world.ctl(&["run", "other"]).ok(), "started other/1\n");
    world.finished("other/1");
    let one = world.ctl(&["run", "--json", "other"]).json();
    has_keys(&one, "run trace_id");
    assert_eq!(one["run"], "other/2");
    assert_eq!(one["trace_id"].as_str().map(str::len), Some(32));
    let many = world.ctl(&["run", "--json", "nightly-*"]).json();
    assert_eq!(texts(&many, "run"), ["nightly-a/1", "nightly-b/1"]);
    let run = world.finished("nightly-b/1");
    assert_eq!(
        (&run["trigger"], &run["fire_time"]),
        (&json!("manual"), &Value::Null),
        "{run}"
    );
}

#[test]
fn wait_goes_on_when_the_task_gets_another_name() {
    let world = World::served();
    world.add_gated("a", 3);
    let waiting = world.run_wait("a");
    world.ctl(&["edit", "a", "--name", "b"]).ok();
    world.open_gate("a");
    let ran = waiting.ended();
    assert_eq!(ran.code(), 3, "{ran:?}");
}

#[test]
fn wait_ends_with_the_exit_code_of_the_command() {
    let world = World::served();
    for (name, line, code) in [
        ("fine", "exit 0", 0),
        ("three", "exit 3", 3),
        ("most", "exit 255", 255),
        ("term", "kill -TERM $$", 128 + 15),
        ("kill", "kill -KILL $$", 128 + 9),
    ] {
        add(&world, name, line);
        let ran = world.ctl(&["run", "--wait", name]);
        assert_eq!((ran.code(), ran.stdout.as_str()), (code, ""), "{ran:?}");
        assert_eq!(ran.stderr.is_empty(), code == 0, "{ran:?}");
    }
    world
        .ctl(&["add", "--name", "gone", "--manual", "--", "/no/such/program"])
        .ok();
    let ran = world.ctl(&["run", "--wait", "gone"]);
    assert_eq!(ran.code(), 127, "{ran:?}");
    assert!(
        ran.stderr.contains("gone/1") && ran.stderr.contains("No such file"),
        "{ran:?}"
    );
    assert_eq!(world.finished("gone/1")["outcome"], "spawn-failed");
    let directory = world.path("lost").display().to_string();
    std::fs::create_dir(&directory).unwrap();
    world
        .ctl(&["add", "--name", "lost", "--manual", "--cwd", &directory, "--", "true"])
        .ok();
    std::fs::remove_dir(&directory).unwrap();
    assert_eq!(world.ctl(&["run", "--wait", "lost"]).code(), 127);
    let reason = world.finished("lost/1")["reason"].to_string();
    assert!(reason.contains("director"), "{reason}");
}

#[test]
fn wait_ends_with_the_exit_code_when_nobody_reads() {
    let world = World::served();
    add(&world, "three", "seq 1 100000; exit 3");
    assert_eq!(world.ctl_unread(&["run", "--wait", "three"]).code(), 3);
    assert_eq!(world.ctl_unread(&["run", "--wait", "--json", "three"]).code(), 3);
}

#[test]
fn a_cancelled_run_is_no_success_whatever_its_command_says() {
    let world = World::served();
    let line = "trap 'exit 0' TERM; echo up; while :; do sleep 0.02; done";
    add(&world, "polite", line);
    let waiting = world.run_wait("polite");
    world.ctl(&["cancel", "polite"]).ok();
    assert_eq!(waiting.ended().code(), 1);
    assert_eq!(world.finished("polite/1")["outcome"], "cancelled");
}

#[test]
fn as_many_as_one_request_starts_can_be_waited_for() {
    let world = World::served();
    let lines: String = (0..1_100)
        .map(|n| format!("{{\"name\":\"t{n}\",\"schedule\":{{\"kind\":\"manual\"}},\"action\":{{\"kind\":\"exec\",\"argv\":[\"true\"]}}}}\n"))
        .collect();
    world.ctl_reading(&["import", "-"], &lines).ok();
    let ran = world.ctl(&["run", "--wait", "--json", "t*"]);
    let runs: Value = serde_json::from_str(&ran.stdout).expect("an array");
    assert_eq!((ran.code(), runs.as_array().map(Vec::len)), (0, Some(1_100)));
}

#[test]
fn wait_gives_each_stream_to_its_own() {
    let world = World::served();
    add(&world, "both", "echo to out; echo to err >&2; printf 'no end'; exit 1");
    let ran = world.ctl(&["run", "-w", "both"]);
    assert_eq!((ran.code(), ran.stdout.as_str()), (1, "to out\nno end"));
    assert!(
        ran.stderr.starts_with("to err\n") && ran.stderr.contains("both/1 failed (1)"),
        "{ran:?}"
    );
}

#[test]
fn wait_with_json_ends_with_the_run_as_an_object() {
    let world = World::served();
    add(&world, "a", "echo said; exit 3");
    add(&world, "b", "exit 0");
    let ran = world.ctl(&["run", "--wait", "--json", "a"]);
    assert_eq!(ran.code(), 3, "{ran:?}");
    let run: Value = serde_json::from_str(&ran.stdout).expect("an object");
    has_keys(&run, super::runs::KEYS);
    assert_eq!(
        (&run["run"], &run["outcome"], &run["exit_code"]),
        (&json!("a/1"), &json!("failed"), &json!(3))
    );
    let ran = world.ctl(&["run", "--wait", "--json", "b", "a"]);
    assert_eq!(ran.code(), 3, "{ran:?}");
    let runs: Value = serde_json::from_str(&ran.stdout).expect("an array");
    assert_eq!(texts(&runs, "run"), ["b/1", "a/2"]);
}

#[test]
fn wait_for_several_prefixes_their_lines_and_ends_with_the_first_failure() {
    let world = World::served();
    add(&world, "a", "echo of a");
    add(&world, "bb", "echo of b; exit 4");
    add(&world, "c", "exit 5");
    let ran = world.ctl(&["run", "--wait", "a", "bb", "c"]);
    assert_eq!(ran.code(), 4, "{ran:?}");
    let mut lines: Vec<&str> = ran.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["a/1  | of a", "bb/1 | of b"], "{ran:?}");
}

#[test]
fn wait_shows_output_while_the_command_runs_and_outlives_a_killed_daemon() {
    let mut world = World::served();
    world.add_gated("long", 9);
    let mut waiting = world
        .taskctl(&["run", "--wait", "long"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdout = BufReader::new(waiting.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    assert_eq!(line, "up\n");
    assert_eq!(world.run_of("long/1")["state"], "running");
    world.kill();
    world.open_gate("long");
    line.clear();
    stdout.read_line(&mut line).expect("a line");
    assert_eq!(line, "over\n", "while no daemon is there");
    world.start();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("the rest");
    assert_eq!(rest, "");
    let output = waiting.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(9));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("the daemon is back"), "{said}");
}

#[test]
fn the_run_goes_on_when_whoever_waits_is_gone() {
    let world = World::served();
    world.add_gated("long", 0);
    let mut waiting = world
        .taskctl(&["run", "--wait", "long"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    wait_for("the run to be up", || {
        world.ctl(&["logs", "long"]).stdout.contains("up").then_some(())
    });
    waiting.kill().expect("it is there");
    waiting.wait().expect("it ends");
    world.open_gate("long");
    assert_eq!(world.finished("long/1")["outcome"], "succeeded");
}

#[test]
fn a_task_that_is_running_is_refused_and_nothing_is_started() {
    let world = World::served();
    world.add_gated("busy", 0);
    add(&world, "idle", "true");
    world.run_up("busy");
    let said = world.ctl(&["run", "idle", "busy"]).refused(1);
    assert!(said.contains("busy/1") && said.contains("hint: "), "{said}");
    assert_eq!(world.ctl(&["run", "--json", "busy"]).error(1)["code"], "still-running");
    assert_eq!(world.ctl(&["runs", "idle", "--json"]).json(), json!([]));
}

#[test]
fn what_is_not_there_is_exit_code_4_and_nothing_is_started() {
    let world = World::served();
    add(&world, "backup", "true");
    let said = world.ctl(&["run", "backup", "bakcup"]).refused(4);
    assert!(said.contains("did you mean backup?"), "{said}");
    assert_eq!(
        world.ctl(&["run", "--json", "--wait", "x*"]).error(4)["code"],
        "unknown-task"
    );
    assert_eq!(world.ctl(&["runs", "--json"]).json(), json!([]));
    world.ctl(&["run"]).refused(2);
    let said = world.ctl(&["run", "--wiat", "backup"]).refused(2);
    assert!(said.contains("--wait"), "{said}");
    World::new().ctl(&["run", "--wait", "a"]).refused(3);
}
