//! Promise: an orderly stop leaves nothing behind, neither a process nor a run of which nobody knows how it ended.

use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use crate::harness::{World, alive, instant, kill, wait_for};

fn spawn(mut taskd: Command) -> Child {
    taskd
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("taskd starts")
}

#[test]
fn a_stop_while_the_runner_is_being_started_leaves_no_runner() {
    for moment in ["state/store.db", "taskd.sock", "state/runner.up", "state/runner.sock"] {
        // What is there for a moment only may be missed.
        let met = (0..50).any(|_| stopped_at(moment));
        assert!(met, "{moment} was never met");
    }
}

/// Starts a daemon, stops it when a file whose name begins so is there, and waits until nothing is left. Whether that
/// file was seen before the runner was there.
fn stopped_at(moment: &str) -> bool {
    let world = World::new();
    let mut daemon = spawn(world.taskd());
    let path = world.path(moment);
    let (dir, name) = (path.parent().expect("a directory"), path.file_name().expect("a name"));
    let begins = |found: &std::ffi::OsStr| found.as_encoded_bytes().starts_with(name.as_encoded_bytes());
    let met = wait_for("the daemon to have come so far", || {
        let found: Vec<_> = std::fs::read_dir(dir).into_iter().flatten().flatten().collect();
        let there = found.iter().any(|entry| begins(&entry.file_name()));
        (there || world.path("state/runner.sock").exists()).then_some(there)
    });
    kill(daemon.id(), Signal::TERM);
    wait_for("the daemon to end", || daemon.try_wait().expect("a child"));
    wait_for("everything to end", || world.processes().is_empty().then_some(()));
    met
}

#[test]
fn what_fires_around_a_stop_is_not_unknown() {
    let mut world = World::new();
    std::fs::write(world.path("taskd.toml"), "[runner]\ngrace = \"500ms\"\n").expect("a file");
    world.start();
    // It keeps the runner stopping for as long as it may, while others become due.
    let line = "trap '' TERM; echo up; while :; do sleep 0.02; done";
    world.ctl(&["add", "--name", "deaf", "--manual", "--shell", line]).ok();
    // One after the other, so that there is always one that is due.
    let mut file = String::new();
    for n in 0..200 {
        file += &format!(
            "{{\"name\":\"often{n}\",\"schedule\":{{\"kind\":\"every\",\"interval_ms\":1000,\"anchor_ms\":{}}},\"action\":{{\"kind\":\"exec\",\"argv\":[\"true\"]}}}}\n",
            5 * n
        );
    }
    world.ctl_reading(&["import", "-"], &file).ok();
    for _ in 0..3 {
        let before = world.ctl(&["status", "--json"]).json()["started_at"].clone();
        wait_for("some runs of this life", || {
            let runs = world.ctl(&["runs", "--json"]).json();
            // The newest ones may still wait for their start.
            let runs = runs.as_array().into_iter().flatten();
            let mut started = runs.filter(|run| !run["started_at"].is_null());
            started
                .any(|run| instant(&run["started_at"]) > instant(&before))
                .then_some(())
        });
        world.run_up("deaf");
        world.signal(Signal::TERM);
        assert!(world.wait_ended().success());
        world.start();
    }
    let unknown = world.ctl(&["runs", "--outcome", "unknown", "--json"]).json();
    assert_eq!(unknown.as_array().map(Vec::len), Some(0), "{unknown}");
    for n in 0..20 {
        let shown = world.ctl(&["show", &format!("often{n}")]).ok();
        assert!(!shown.contains("unknown"), "{shown}");
    }
}

#[test]
fn who_waits_for_a_run_is_not_told_that_it_ended_when_the_daemon_does() {
    let mut world = World::served();
    let line = "trap '' TERM; echo up; while :; do sleep 0.02; done";
    world.ctl(&["add", "--name", "deaf", "--manual", "--shell", line]).ok();
    let waiting = world.run_wait("deaf");
    world.signal(Signal::INT);
    wait_for("the stop to be logged", || {
        world
            .log()
            .iter()
            .any(|line| line["msg"] == "asked to stop")
            .then_some(())
    });
    world.signal(Signal::INT);
    world.wait_ended();
    world.start();
    let ran = waiting.ended();
    let run = world.finished("deaf/1");
    // Whether the end reached the first daemon or the second, it is the run's own.
    assert_ne!(ran.code(), 0, "{ran:?}");
    let outcome = run["outcome"].as_str().expect("a word");
    assert!(ran.stderr.contains(outcome), "{ran:?} {run}");
}

#[test]
fn a_runner_is_started_in_a_state_directory_with_a_long_path() {
    let world = World::new();
    let base = world.path("").as_os_str().len();
    // The socket of the runner just fits there, and does not.
    for length in [107 - "/runner.sock".len(), 140] {
        let state = world.path(&"s".repeat(length - base));
        let given = world.taskd();
        let mut taskd = Command::new(given.get_program());
        taskd.current_dir(world.path("")).env_clear();
        for (name, value) in given.get_envs() {
            taskd.env(name, value.expect("only set"));
        }
        for arg in given.get_args() {
            let is_state = arg == world.path("state").as_os_str();
            taskd.arg(if is_state { state.as_os_str() } else { arg });
        }
        let mut daemon = spawn(taskd);
        wait_for("a runner", || {
            let ran = world.ctl(&["status", "--json"]);
            ran.stdout.contains("\"runner\":{\"pid\":").then_some(())
        });
        kill(daemon.id(), Signal::TERM);
        wait_for("the daemon to end", || daemon.try_wait().expect("a child"));
    }
}

#[test]
fn a_runner_that_ends_instead_of_serving_is_noticed_and_replaced() {
    let mut world = World::new();
    // Another runner has the lock of the state directory and listens elsewhere.
    let given = world.taskd();
    let mut other = Command::new(given.get_program());
    for (name, value) in given.get_envs() {
        other.env(name, value.expect("only set"));
    }
    other
        .arg("runner")
        .arg("--state-dir")
        .arg(world.path("state"))
        .arg("--socket")
        .arg(world.path("other.sock"));
    let mut other = spawn(other);
    wait_for("the other runner", || world.path("other.sock").exists().then_some(()));
    let mut daemon = spawn(world.taskd());
    wait_for("the failure to be logged", || {
        let log = world.log();
        let told = |line: &serde_json::Value| {
            line["error"]
                .as_str()
                .is_some_and(|text| text.contains("another runner (pid "))
        };
        log.iter().any(told).then_some(())
    });
    kill(other.id(), Signal::TERM);
    wait_for("the other runner to end", || other.try_wait().expect("a child"));
    world.wait_served();
    let runner = world.runner_pid();
    kill(daemon.id(), Signal::TERM);
    wait_for("the daemon to end", || daemon.try_wait().expect("a child"));
    wait_for("the runner to end", || (!alive(runner)).then_some(()));
}

#[test]
fn a_daemon_in_a_container_is_stopped_from_outside() {
    if std::env::var_os("TASKD_TEST_NO_MOUNT").is_some() {
        return;
    }
    let mut world = World::new();
    // The first process of a namespace, as in a container: its number is that of another one here.
    let inside = r#"exec unshare --pid --fork --mount-proc --kill-child "$0" "$@""#;
    world.spawn(world.after(inside, &world.taskd()));
    world.wait_served();
    assert_eq!(world.ctl(&["stop", "--timeout", "20s"]).ok(), "stopped taskd, pid 1\n");
    assert!(world.wait_ended().success());
}
