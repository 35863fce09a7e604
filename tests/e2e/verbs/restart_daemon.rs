//! `taskctl restart-daemon`: the daemon becomes what is installed, and what runs goes on.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::each_second::every_second_fires_once;
use crate::harness::{World, alive, copy_program, has_keys, kill, wait_for};

fn identity(path: impl AsRef<Path>) -> (u64, u64) {
    let found = std::fs::metadata(path).expect("it is there");
    (found.dev(), found.ino())
}

/// The file that a process executes.
fn program_of(pid: u32) -> (u64, u64) {
    identity(format!("/proc/{pid}/exe"))
}

fn started_at(world: &World) -> Value {
    world.ctl(&["status", "--json"]).json()["started_at"].take()
}

#[test]
fn runs_go_on_and_the_process_stays() {
    let mut world = World::served();
    world.add_gated("long", 7);
    let waiting = world.run_wait("long");
    let (pid, runner, before) = (world.pid(), world.runner_pid(), started_at(&world));
    let said = world.ctl(&["restart-daemon", "--json"]).json();
    has_keys(&said, "pid version_before version running");
    assert_eq!((&said["pid"], &said["running"]), (&json!(pid), &json!(1)), "{said}");
    assert_ne!(started_at(&world), before, "it is the same life");
    world.wait_served();
    assert_eq!(world.runner_pid(), runner, "another runner was started");
    // And right again.
    let said = world.ctl(&["restart-daemon"]).ok();
    assert!(
        said.starts_with("restarted taskd ") && said.ends_with(&format!(", pid {pid}, 1 run goes on\n")),
        "{said}"
    );
    world.wait_served();
    world.open_gate("long");
    let run = world.finished("long/1");
    assert_eq!(
        (&run["outcome"], &run["exit_code"]),
        (&json!("failed"), &json!(7)),
        "{run}"
    );
    assert_eq!(world.ctl(&["logs", "long/1"]).ok(), "up\nover\n");
    // Who waited for it was told by the last of the three lives.
    assert_eq!(waiting.ended().code(), 7);
    assert_eq!(world.ctl(&["runs", "--json"]).json().as_array().map(Vec::len), Some(1));
    // What its runner was to the first life it is to the last.
    world.signal(Signal::TERM);
    assert!(world.wait_ended().success());
    wait_for("everything to end", || world.processes().is_empty().then_some(()));
}

#[test]
fn what_is_installed_then_is_taken() {
    let mut world = World::new();
    let installed = world.install();
    let older = identity(&installed);
    world.spawn(world.taskd_at(&installed));
    world.wait_served();
    assert_eq!(program_of(world.pid()), older);
    let newer = identity(world.install());
    world.ctl(&["restart-daemon"]).ok();
    assert_eq!(program_of(world.pid()), newer);
}

#[test]
fn a_daemon_called_by_a_link_becomes_what_the_link_leads_to_then() {
    let mut world = World::new();
    let (installed, link) = (world.install(), world.path("taskd"));
    let versions = [world.path("bin/1"), world.path("bin/2")];
    std::fs::rename(&installed, &versions[0]).expect("the same directory");
    std::fs::rename(world.install(), &versions[1]).expect("the same directory");
    std::os::unix::fs::symlink(&versions[0], &link).expect("a link");
    world.spawn(world.taskd_at(&link));
    world.wait_served();
    assert_eq!(program_of(world.pid()), identity(&versions[0]));
    std::fs::remove_file(&link).expect("it is there");
    std::os::unix::fs::symlink(&versions[1], &link).expect("a link");
    world.ctl(&["restart-daemon"]).ok();
    assert_eq!(program_of(world.pid()), identity(&versions[1]));
}

#[test]
fn a_program_that_is_unfit_is_refused_and_the_daemon_goes_on() {
    let mut world = World::new();
    let installed = world.install();
    world.spawn(world.taskd_at(&installed));
    world.wait_served();
    let before = started_at(&world);
    let refused = |why: &str| {
        let said = world.ctl(&["restart-daemon"]).refused(1);
        assert!(said.contains("goes on as it is") && said.contains(why), "{said}");
        assert_eq!(started_at(&world), before, "it did not go on");
    };
    std::fs::set_permissions(&installed, std::fs::Permissions::from_mode(0o600)).expect("its own");
    refused("Permission denied");
    // Another program, and a file that is none.
    std::fs::remove_file(&installed).expect("it is there");
    refused("No such file");
    copy_program("/bin/true", &installed);
    refused("no taskd");
    std::fs::write(world.path("half"), "\u{7f}ELF").expect("room");
    copy_program(world.path("half"), &installed);
    refused("format error");
    std::fs::remove_file(&installed).expect("it is there");
    let _ = world.install();
    std::fs::write(world.path("taskd.toml"), "[limits]\nrunnning = 7\n").expect("a file");
    refused("running");
    std::fs::write(world.path("taskd.toml"), "").expect("a file");
    world.ctl(&["restart-daemon"]).ok();
    assert_ne!(started_at(&world), before);
    world.ctl(&["add", "--name", "next", "--manual", "--", "true"]).ok();
    world.wait_served();
    assert_eq!(world.ctl(&["run", "--wait", "next"]).code(), 0);
}

#[test]
fn a_stop_during_a_restart_is_not_lost() {
    // At every stage that can be told from outside, and at some that cannot.
    let stages: [fn(&World) -> bool; 4] = [
        |_| true,
        |world| world.log().iter().any(|line| line["msg"] == "asked to restart"),
        |world| !world.socket().exists(),
        |world| world.log().iter().any(|line| line["msg"] == "taskd begins anew"),
    ];
    for stage in stages {
        let mut world = World::served();
        world.add_gated("long", 0);
        world.run_up("long");
        let mut restarting = world
            .taskctl(&["restart-daemon"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("it starts");
        // It may be over before it was looked at.
        wait_for("the stage", || {
            (stage(&world) || restarting.try_wait().expect("a child").is_some()).then_some(())
        });
        world.signal(Signal::TERM);
        assert!(world.wait_ended().success());
        restarting.wait().expect("it ends");
        wait_for("everything to end", || world.processes().is_empty().then_some(()));
        world.start();
        assert_eq!(world.finished("long/1")["outcome"], "cancelled");
    }
}

#[test]
fn a_reload_during_a_restart_ends_nothing() {
    let world = World::served();
    for _ in 0..5 {
        let mut restarting = world
            .taskctl(&["restart-daemon"])
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("it starts");
        while restarting.try_wait().expect("a child").is_none() {
            world.signal(Signal::HUP);
        }
        assert!(restarting.wait().expect("it has ended").success());
        assert!(alive(world.pid()));
    }
}

#[test]
fn a_runner_of_an_earlier_life_leaves_no_zombie() {
    let mut world = World::served();
    world.ctl(&["restart-daemon"]).ok();
    world.wait_served();
    let runner = world.runner_pid();
    kill(runner, Signal::KILL);
    wait_for("another runner", || {
        let status = world.ctl(&["status", "--json"]).json();
        status["runner"]["pid"].as_u64().filter(|pid| *pid != u64::from(runner))
    });
    let pid = world.pid();
    wait_for("the guard of the first to be reaped", || {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("a process");
        let zombies = children
            .split_whitespace()
            .filter(|child| !alive(child.parse().expect("a number")));
        (zombies.count() == 0).then_some(())
    });
}

#[test]
fn every_second_fires_once_across_restarts() {
    every_second_fires_once(&mut World::served(), "", |world| {
        world.ctl(&["restart-daemon"]).ok();
        world.wait_served();
    });
}

#[test]
fn the_first_process_of_a_container_restarts_as_such() {
    if std::env::var_os("TASKD_TEST_NO_MOUNT").is_some() {
        return;
    }
    let mut world = World::new();
    let inside = r#"exec unshare --pid --fork --mount-proc --kill-child "$0" "$@""#;
    world.spawn(world.after(inside, &world.taskd()));
    world.wait_served();
    world.add_gated("long", 7);
    world.run_up("long");
    let said = world.ctl(&["restart-daemon"]).ok();
    assert!(said.contains(", pid 1, 1 run goes on"), "{said}");
    world.wait_served();
    world.open_gate("long");
    assert_eq!(world.finished("long/1")["exit_code"], 7);
    assert_eq!(world.ctl(&["stop", "--timeout", "20s"]).ok(), "stopped taskd, pid 1\n");
    assert!(world.wait_ended().success());
}
