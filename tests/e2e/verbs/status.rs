//! `taskctl status`: how the daemon is.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use crate::delegated::mounted;
use crate::harness::{World, has_keys, is_instant, kill, run, wait_for};

#[test]
fn the_object_has_its_shape_and_tells_the_truth() {
    let mut world = World::served();
    let status = world.ctl(&["status", "--json"]).json();
    has_keys(
        &status,
        "version protocol pid started_at tasks running waiting next runner store",
    );
    has_keys(&status["runner"], "pid version");
    has_keys(&status["store"], "bytes horizon");
    assert_eq!((&status["pid"], &status["protocol"]), (&json!(world.pid()), &json!(1)));
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["runner"]["version"], env!("CARGO_PKG_VERSION"));
    is_instant(&status["started_at"]);
    assert_eq!(
        (&status["tasks"], &status["running"], &status["next"]),
        (&json!(0), &json!(0), &Value::Null)
    );
    assert!(
        status["store"]["bytes"].as_u64().is_some_and(|bytes| bytes > 0),
        "{status}"
    );
    world.add_gated("g", 0);
    world.run_up("g");
    world
        .ctl(&["add", "--name", "t", "--at", "2096-01-01T00:00:00Z", "--", "true"])
        .ok();
    let status = world.ctl(&["status", "--json"]).json();
    assert_eq!((&status["tasks"], &status["running"]), (&json!(2), &json!(1)));
    assert_eq!(status["next"], "2096-01-01T00:00:00Z");
    let runner = status["runner"]["pid"].clone();
    world.kill();
    world.start();
    let status = world.ctl(&["status", "--json"]).json();
    assert_eq!((&status["runner"]["pid"], &status["running"]), (&runner, &json!(1)));
}

#[test]
fn who_keeps_a_runner_from_the_state_directory_is_named() {
    let world = World::served();
    let runner = world.runner_pid();
    // Until the test has the lock of the runner.
    world.signal(Signal::STOP);
    kill(runner, Signal::KILL);
    let lock = std::fs::File::open(world.path("state/runner.lock")).expect("it is there");
    wait_for("the lock", || lock.try_lock().ok());
    world.signal(Signal::CONT);
    let problem = format!("another runner (pid {}) works in", std::process::id());
    let said = wait_for("the reason", || {
        let status = world.ctl(&["status", "--json"]).json();
        let problem = status["runner_problem"].as_str()?.to_owned();
        status["runner"].is_null().then_some(problem)
    });
    assert!(said.contains(&problem), "{said}");
    let text = world.ctl(&["status"]).ok();
    assert!(
        text.contains("so nothing can be started: ") && text.contains(&problem),
        "{text}"
    );
    drop(lock);
    let status = wait_for("another runner", || {
        let status = world.ctl(&["status", "--json"]).json();
        status["runner"].is_object().then_some(status)
    });
    assert!(status["runner_problem"].is_null(), "{status}");
}

/// A control group without limits but those that a test sets. It goes with this.
struct Apart(PathBuf);

impl Apart {
    fn new() -> std::io::Result<Self> {
        let dir = mounted()?.join(format!("taskd-status-{}", std::process::id()));
        std::fs::create_dir(&dir)?;
        Ok(Apart(dir))
    }

    fn most_below(&self, most: &str) {
        std::fs::write(self.0.join("cgroup.max.descendants"), most).expect("it is ours");
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            wait_for("it to be empty", || std::fs::remove_dir(&self.0).ok());
        }
    }
}

#[test]
fn whether_attempts_have_control_groups_is_told_as_it_changes() {
    let apart = match Apart::new() {
        Ok(apart) => apart,
        Err(error) => return eprintln!("not tried: no control group can be had here: {error}"),
    };
    let mut world = World::new();
    let line = format!("echo $$ > {}", apart.0.join("cgroup.procs").display());
    world.spawn(world.after(&line, &world.taskd()));
    world.wait_served();
    let cgroups = |world: &World| world.ctl(&["status", "--json"]).json()["runner"]["cgroups"].is_array();
    if !cgroups(&world) {
        return eprintln!("not tried: the kernel cannot end what is in a control group");
    }
    // More at once than have groups that are kept.
    for n in 0..20 {
        world
            .ctl(&["add", "--name", &format!("t{n}"), "--manual", "--shell", "sleep 0.3"])
            .ok();
    }
    for (most, has) in [("0", false), ("max", true)] {
        apart.most_below(most);
        world.ctl(&["run", "--wait", "t*"]).ok();
        wait_for("what is told of groups", || (cgroups(&world) == has).then_some(()));
    }
    drop(world);
}

#[test]
fn that_a_signal_has_stopped_the_daemon_is_said() {
    let world = World::served();
    world.signal(Signal::STOP);
    let said = world.ctl(&["stop", "--timeout", "100ms"]).refused(3);
    world.signal(Signal::CONT);
    let cure = format!("kill -CONT {}", world.pid());
    assert!(said.contains("does not answer") && said.contains(&cure), "{said}");
}

#[test]
fn people_read_where_everything_is() {
    let world = World::served();
    let text = world.ctl(&["status"]).ok();
    for part in [
        world.pid().to_string(),
        world.runner_pid().to_string(),
        world.socket().display().to_string(),
        world.path("state").display().to_string(),
        world.path("log/taskd.log").display().to_string(),
        // Whether of its own or not.
        "control group".to_owned(),
        "nothing is due".to_owned(),
    ] {
        assert!(text.contains(&part), "no {part} in\n{text}");
    }
}

#[test]
fn runs_that_wait_for_a_place_are_counted() {
    let mut world = World::new();
    std::fs::write(world.path("taskd.toml"), "[limits]\nrunning = 1\n").expect("a file");
    world.start();
    for name in ["a", "b"] {
        world.add_gated(name, 0);
    }
    world.run_up("a");
    world.ctl(&["run", "b"]).ok();
    let status = world.ctl(&["status", "--json"]).json();
    assert_eq!(status["waiting"], 1, "{status}");
    assert_eq!(world.run_of("b/1")["state"], "waiting");
    world.open_gate("b");
    world.open_gate("a");
    assert_eq!(world.finished("b/1")["outcome"], "succeeded");
}

#[test]
fn the_socket_comes_from_the_flag_before_the_environment() {
    let world = World::served();
    let nowhere = world.path("nowhere.sock");
    let nowhere = nowhere.to_str().expect("a path");
    let said = world.ctl(&["status", "--socket", nowhere]).refused(3);
    assert!(said.contains(nowhere) && said.contains("taskctl start"), "{said}");
    let socket = world.socket();
    let mut command = world.taskctl(&["--socket", socket.to_str().expect("a path"), "status"]);
    run(command.env("TASKD_SOCKET", nowhere)).ok();
    assert_eq!(World::new().ctl(&["status", "--json"]).error(3)["code"], "no-daemon");
}

/// As another user, if this one may become another: only root may.
fn as_nobody(world: &World, args: &[&str]) -> Option<std::process::Command> {
    let mut command = world.taskctl(args);
    command.current_dir("/").uid(65534).gid(65534);
    rustix::process::geteuid().is_root().then_some(command)
}

#[test]
fn the_daemon_of_another_user_is_exit_code_5() {
    let world = World::served();
    let Some(mut behind_closed_doors) = as_nobody(&world, &["status", "--json"]) else {
        println!("skipped: only root can ask as somebody else");
        return;
    };
    let error = run(&mut behind_closed_doors).error(5);
    assert_eq!(error["code"], "not-allowed", "{error}");
    // Where others may connect they are refused all the same.
    let open =
        |path: &str, mode| std::fs::set_permissions(world.path(path), Permissions::from_mode(mode)).expect("ours");
    open("", 0o755);
    open("taskd.sock", 0o666);
    for args in [&["list"][..], &["stop"], &["add", "--manual", "--", "true"]] {
        let mut command = as_nobody(&world, args).expect("root");
        let said = run(&mut command).refused(5);
        assert!(
            said.contains("another user") || said.contains("may not"),
            "{args:?}: {said}"
        );
    }
    world.ctl(&["status"]).ok();
}

#[test]
fn help_shows_an_example_for_every_verb() {
    let world = World::new();
    let help = world.ctl(&["--help"]).ok();
    let verbs = [
        "add",
        "list",
        "show",
        "edit",
        "remove",
        "enable",
        "disable",
        "run",
        "cancel",
        "logs",
        "runs",
        "next",
        "lint",
        "status",
        "export",
        "import",
        "start",
        "stop",
        "demo",
        "completions",
    ];
    for verb in verbs {
        assert!(
            help.lines().any(|line| line.trim_start().starts_with(verb)),
            "no {verb} in\n{help}"
        );
        for asked in [&[verb, "--help"][..], &["help", verb]] {
            let help = world.ctl(asked).ok();
            assert!(
                help.contains("Example") && help.contains(&format!("taskctl {verb}")),
                "{help}"
            );
            assert!(help.contains("--json"), "{help}");
        }
    }
    assert!(world.ctl(&["--version"]).ok().contains(env!("CARGO_PKG_VERSION")));
    assert_eq!(world.ctl(&[]).code(), 2);
}

#[test]
fn status_says_whether_attempts_have_control_groups() {
    let mut world = World::served();
    let status = world.ctl(&["status", "--json"]).json();
    let own = world.ctl(&["status"]).ok();
    if status["runner"]["cgroups"].is_array() {
        assert!(own.contains("each attempt in a control group of its own"), "{own}");
    } else {
        assert!(own.contains("it may make no control groups"), "{own}");
    }
    world.ctl(&["stop"]).ok();
    std::fs::write(world.path("taskd.toml"), "[runner]\ncgroups = \"off\"\n").expect("a file");
    world.start();
    let status = world.ctl(&["status", "--json"]).json();
    assert_eq!(status["runner"]["cgroups"], json!(null));
    assert!(world.ctl(&["status"]).ok().contains("held by process groups"));
}

#[test]
fn a_runner_that_was_stopped_is_told_of() {
    let world = World::served();
    let runner = || world.ctl(&["status", "--json"]).json()["runners"][0].clone();
    assert_eq!(runner()["stopped"], false);
    let pid = runner()["pid"].as_i64().expect("a number");
    let signal = |signal: Signal| {
        let pid = Pid::from_raw(i32::try_from(pid).unwrap()).expect("a process");
        rustix::process::kill_process(pid, signal).expect("it lives");
    };
    signal(Signal::STOP);
    wait_for("it to stop", || (runner()["stopped"] == true).then_some(()));
    let said = world.ctl(&["status"]).ok();
    assert!(
        said.contains(&format!("{pid} is stopped")) && said.contains(&format!("kill -CONT {pid}")),
        "{said}"
    );
    signal(Signal::CONT);
    wait_for("it to go on", || (runner()["stopped"] == false).then_some(()));
    assert!(!world.ctl(&["status"]).ok().contains("is stopped"));
}
