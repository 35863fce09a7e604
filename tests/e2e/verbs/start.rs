//! `taskctl start` and `taskctl stop`: a daemon of the user's own, in the background.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::harness::{Ran, World, alive, has_keys, wait_for};

fn start(world: &World, more: &[&str]) -> Ran {
    std::fs::write(world.path("taskd.toml"), "").expect("a file");
    let (state, log, config) = (world.path("state"), world.path("log"), world.path("taskd.toml"));
    let places = [
        "start",
        "--state-dir",
        state.to_str().expect("a path"),
        "--log-dir",
        log.to_str().expect("a path"),
        "--config",
        config.to_str().expect("a path"),
    ];
    world.ctl(&[&places, more].concat())
}

fn pid(value: &Value) -> u32 {
    u32::try_from(value["pid"].as_u64().expect("a process")).expect("a process id")
}

#[test]
fn start_gives_a_daemon_that_serves_and_stop_ends_it() {
    let world = World::new();
    let started = start(&world, &["--json"]).json();
    has_keys(&started, "pid socket already");
    assert_eq!(started["already"], false);
    let status = world.ctl(&["status", "--json"]).json();
    assert_eq!(status["pid"], started["pid"]);
    let again = start(&world, &[]).ok();
    assert!(
        again.contains("running already") && again.contains(&pid(&started).to_string()),
        "{again}"
    );
    assert_eq!(start(&world, &["--json"]).json()["already"], true);
    let daemon = pid(&started);
    let session = std::fs::read_to_string(format!("/proc/{daemon}/stat")).expect("a process");
    let session = session.rsplit_once(") ").expect("a name").1.split(' ').nth(3);
    assert_eq!(
        session,
        Some(daemon.to_string().as_str()),
        "it has no session of its own"
    );
    assert_eq!(
        std::fs::read_link(format!("/proc/{daemon}/cwd")).expect("a process"),
        std::path::Path::new("/")
    );
    let runner = world.runner_pid();
    let stopped = world.ctl(&["stop", "--json"]).json();
    assert_eq!((pid(&stopped), &stopped["running"]), (daemon, &json!(0)), "{stopped}");
    assert!(!alive(daemon) && !world.socket().exists());
    wait_for("the runner to end", || (!alive(runner)).then_some(()));
    let said = world.ctl(&["stop"]).refused(3);
    assert!(said.contains("no daemon answers"), "{said}");
}

#[test]
fn nobody_else_can_read_or_talk() {
    let world = World::new();
    start(&world, &[]).ok();
    world.ctl(&["add", "--name", "a", "--manual", "--", "echo", "x"]).ok();
    world.ctl(&["run", "--wait", "a"]).ok();
    for private in [
        "state",
        "log",
        "taskd.sock",
        "state/store.db",
        "state/runner.sock",
        "state/output",
        "log/taskd.log",
    ] {
        let mode = std::fs::metadata(world.path(private))
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{private} has mode {mode:o}");
    }
}

#[test]
fn what_was_added_is_there_after_a_stop_and_a_start() {
    let world = World::new();
    start(&world, &[]).ok();
    world.add_gated("g", 0);
    world.run_up("g");
    let stopped = world.ctl(&["stop"]).ok();
    assert!(stopped.contains("1 run in progress: stopped with it"), "{stopped}");
    start(&world, &[]).ok();
    assert_eq!(world.finished("g/1")["outcome"], "cancelled");
    assert_eq!(world.ctl(&["list", "--json"]).json()[0]["name"], "g");
}

#[test]
fn a_daemon_that_cannot_start_says_why() {
    let world = World::new();
    start(&world, &[]).ok();
    world.ctl(&["stop"]).ok();
    let wrong = world.path("wrong.toml");
    std::fs::write(&wrong, "[limits]\nrunnig = 1\n").expect("a file");
    let state = world.path("state");
    let said = world
        .ctl(&[
            "start",
            "--state-dir",
            state.to_str().expect("a path"),
            "--config",
            wrong.to_str().expect("a path"),
        ])
        .refused(1);
    assert!(said.contains("wrong.toml") && said.contains("running"), "{said}");
    world.ctl(&["start", "--timeout", "soon"]).refused(2);
    world.ctl(&["status"]).refused(3);
}
