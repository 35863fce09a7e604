//! Promise: an upgrade touches no run. A runner of another program that has nothing is replaced, one that has something
//! ends that beside a new one, and `status` shows both.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::each_second::every_second_fires_once;
use crate::harness::{World, alive, has_keys, kill, wait_for};
use crate::speed::launchers;

/// The runners that `status` shows.
fn runners(world: &World) -> Vec<Value> {
    let mut status = world.ctl(&["status", "--json"]).json();
    let Value::Array(runners) = status["runners"].take() else {
        panic!("no runners: {status}")
    };
    runners
}

fn pid(runner: &Value) -> u32 {
    u32::try_from(runner["pid"].as_u64().expect("a process")).expect("a process id")
}

/// A daemon of a program that is installed in this world.
fn installed() -> World {
    let mut world = World::new();
    let program = world.install();
    world.spawn(world.taskd_at(&program));
    world.wait_served();
    world
}

/// Installs another program and has the daemon become it.
fn upgrade(world: &mut World) {
    let _ = world.install();
    world.ctl(&["restart-daemon"]).ok();
    world.wait_served();
}

/// Kills the daemon and starts what is installed.
fn kill_and_start(world: &mut World) {
    world.kill();
    world.spawn(world.taskd_at(&world.path("bin/taskd")));
    world.wait_served();
}

/// Waits until only one runner is left, and gives its process id.
fn sole_runner(world: &World) -> u32 {
    wait_for("one runner", || match runners(world).as_slice() {
        [runner] => Some(pid(runner)),
        _ => None,
    })
}

#[test]
fn an_idle_runner_is_replaced() {
    let mut world = installed();
    world.ctl(&["add", "--name", "a", "--manual", "--", "true"]).ok();
    assert_eq!(world.ctl(&["run", "--wait", "a"]).code(), 0);
    let older = world.runner_pid();
    // The same program: the same runner.
    world.ctl(&["restart-daemon"]).ok();
    world.wait_served();
    assert_eq!(world.runner_pid(), older);
    upgrade(&mut world);
    let newer = sole_runner(&world);
    assert_ne!(newer, older);
    wait_for("the older one to end", || (!alive(older)).then_some(()));
    assert_eq!(world.ctl(&["run", "--wait", "a"]).code(), 0);
    // Whoever comes before the next runner is there waits for it.
    let _ = world.install();
    world.ctl(&["restart-daemon"]).ok();
    assert_eq!(world.ctl(&["run", "--wait", "a"]).code(), 0);
    wait_for("the older one to end", || (!alive(newer)).then_some(()));
    assert!(
        world.path("state/runner.sock").exists(),
        "the place of the first is taken again"
    );
    let runs = world.ctl(&["runs", "a", "--json"]).json();
    assert!(
        runs.as_array()
            .is_some_and(|runs| runs.iter().all(|run| run["outcome"] == "succeeded")),
        "{runs}"
    );
}

#[test]
fn a_busy_runner_drains_beside_the_next_and_status_shows_both() {
    let mut world = installed();
    world.add_gated("long", 7);
    world.run_up("long");
    let older = world.runner_pid();
    upgrade(&mut world);
    world.add_gated("next", 3);
    world.run_up("next");
    let both = runners(&world);
    for runner in &both {
        has_keys(runner, "pid version running draining");
    }
    let shown: Vec<_> = both
        .iter()
        .map(|runner| (&runner["draining"], &runner["running"]))
        .collect();
    assert_eq!(
        shown,
        [(&json!(false), &json!(1)), (&json!(true), &json!(1))],
        "{both:?}"
    );
    assert_eq!(pid(&both[1]), older);
    assert_eq!(world.runner_pid(), pid(&both[0]));
    let text = world.ctl(&["status"]).ok();
    assert!(
        text.contains(&format!("pid {older}, ")) && text.contains("1 running, draining"),
        "{text}"
    );
    // A restart of the daemon, however it comes about, finds both again.
    kill_and_start(&mut world);
    assert_eq!(runners(&world), both);
    world.ctl(&["restart-daemon"]).ok();
    world.wait_served();
    assert_eq!(runners(&world), both);
    // Each is told what concerns its own.
    world.ctl(&["cancel", "next"]).ok();
    assert_eq!(world.finished("next/1")["outcome"], "cancelled");
    world.open_gate("long");
    let run = world.finished("long/1");
    assert_eq!(
        (&run["outcome"], &run["exit_code"]),
        (&json!("failed"), &json!(7)),
        "{run}"
    );
    assert_eq!(world.ctl(&["logs", "long/1"]).ok(), "up\nover\n");
    assert_eq!(sole_runner(&world), pid(&both[0]));
    wait_for("the older one to end", || (!alive(older)).then_some(()));
    // What is left of its place is left for good.
    world.kill();
    world.spawn(world.taskd_at(&world.path("bin/taskd")));
    world.wait_served();
    assert_eq!(sole_runner(&world), pid(&both[0]));
}

#[test]
fn a_run_of_a_runner_that_drains_can_be_cancelled_and_a_stop_ends_all() {
    let mut world = installed();
    world.add_gated("first", 0);
    world.add_gated("second", 0);
    world.run_up("first");
    world.run_up("second");
    upgrade(&mut world);
    world.add_gated("third", 0);
    world.run_up("third");
    world.ctl(&["cancel", "first"]).ok();
    assert_eq!(world.finished("first/1")["outcome"], "cancelled");
    assert_eq!(runners(&world).len(), 2);
    world.signal(Signal::TERM);
    assert!(world.wait_ended().success());
    wait_for("everything to end", || world.processes().is_empty().then_some(()));
    world.start();
    for run in ["second/1", "third/1"] {
        assert_eq!(world.finished(run)["outcome"], "cancelled", "{run}");
    }
}

#[test]
fn three_versions_live_beside_each_other() {
    let mut world = installed();
    for name in ["one", "two", "three"] {
        world.add_gated(name, 5);
        world.run_up(name);
        if name != "three" {
            upgrade(&mut world);
        }
    }
    let shown = runners(&world);
    let draining: Vec<_> = shown.iter().map(|runner| &runner["draining"]).collect();
    assert_eq!(draining, [false, true, true], "{shown:?}");
    for name in ["two", "one", "three"] {
        world.open_gate(name);
        assert_eq!(world.finished(&format!("{name}/1"))["exit_code"], 5);
    }
    assert_eq!(sole_runner(&world), pid(&shown[0]));
}

#[test]
fn a_run_that_ends_while_no_daemon_is_there_is_taken_from_the_runner_that_drains() {
    let mut world = installed();
    world.add_gated("long", 7);
    world.run_up("long");
    let older = world.runner_pid();
    upgrade(&mut world);
    assert_eq!(runners(&world).len(), 2);
    world.kill();
    world.open_gate("long");
    // It keeps the result on disk, for whoever comes.
    wait_for("the result", || {
        let mut spool = std::fs::read_dir(world.path("state/spool")).expect("it is there");
        spool.next().map(|_| ())
    });
    world.spawn(world.taskd_at(&world.path("bin/taskd")));
    world.wait_served();
    assert_eq!(world.finished("long/1")["exit_code"], 7);
    wait_for("the older one to end", || (!alive(older)).then_some(()));
    assert_eq!(runners(&world).len(), 1);
}

#[test]
fn runs_lost_with_a_runner_that_drains_are_unknown_and_the_others_go_on() {
    let mut world = installed();
    world.add_gated("lost", 0);
    world.run_up("lost");
    let older = world.runner_pid();
    upgrade(&mut world);
    world.add_gated("kept", 7);
    world.run_up("kept");
    let newer = world.runner_pid();
    kill(older, Signal::KILL);
    assert_eq!(world.finished("lost/1")["outcome"], "unknown");
    assert_eq!(sole_runner(&world), newer);
    world.open_gate("kept");
    assert_eq!(world.finished("kept/1")["exit_code"], 7);
    world.ctl(&["add", "--name", "next", "--manual", "--", "true"]).ok();
    assert_eq!(world.ctl(&["run", "--wait", "next"]).code(), 0);
}

#[test]
fn a_new_runner_beside_one_that_drains_leaves_that_and_its_runs_alone() {
    let mut world = installed();
    world.add_gated("long", 7);
    world.run_up("long");
    upgrade(&mut world);
    let (newer, older) = (world.runner_pid(), pid(&runners(&world)[1]));
    world.add_gated("doomed", 0);
    world.run_up("doomed");
    // With both of its processes, so that the next one has to look for what is left behind.
    kill(newer, Signal::KILL);
    assert_eq!(world.finished("doomed/1")["outcome"], "unknown");
    wait_for("another runner", || {
        let shown = runners(&world);
        (shown.len() == 2 && pid(&shown[0]) != newer).then_some(())
    });
    assert_eq!(pid(&runners(&world)[1]), older);
    world.open_gate("long");
    assert_eq!(world.finished("long/1")["exit_code"], 7);
    assert_eq!(world.ctl(&["logs", "long/1"]).ok(), "up\nover\n");
}

#[test]
fn what_both_killed_runners_left_is_seen_to_by_the_next() {
    let mut world = installed();
    world.add_gated("long", 7);
    world.run_up("long");
    upgrade(&mut world);
    assert!(world.path("state/runner.2").exists());
    // The result of a runner in the second place, which nobody takes any more.
    world.add_gated("second", 5);
    world.run_up("second");
    let [newer, older] = runners(&world).iter().map(pid).collect::<Vec<_>>()[..] else {
        panic!("two runners")
    };
    world.kill();
    world.open_gate("second");
    wait_for("the result", || {
        let spool = std::fs::read_dir(world.path("state/spool.2")).expect("it is there");
        // The file is there before the line is.
        let mut lines = spool.flatten().filter_map(|file| std::fs::read(file.path()).ok());
        lines.any(|lines| lines.ends_with(b"\n")).then_some(())
    });
    kill(newer, Signal::KILL);
    kill(older, Signal::KILL);
    wait_for("all of them to end", || world.processes().is_empty().then_some(()));
    world.spawn(world.taskd_at(&world.path("bin/taskd")));
    world.wait_served();
    assert_eq!(world.finished("second/1")["exit_code"], 5);
    assert_eq!(world.finished("long/1")["outcome"], "unknown");
}

#[test]
fn what_a_draining_runner_had_is_unknown_where_it_is_killed_with_the_newer_and_only_that_is_told_of() {
    let mut world = installed();
    world.add_gated("older", 0);
    world.run_up("older");
    // Its start is under way until the end of the runner.
    for launcher in launchers(world.runner_pid()) {
        kill(launcher, Signal::STOP);
    }
    world.add_gated("hangs", 0);
    world.ctl(&["run", "hangs"]).ok();
    upgrade(&mut world);
    world.add_gated("newer", 0);
    world.run_up("newer");
    let [newer, older] = runners(&world).iter().map(pid).collect::<Vec<_>>()[..] else {
        panic!("two runners")
    };
    // It sees both go at once, and then hears what the newer one had begun.
    kill(world.pid(), Signal::STOP);
    std::fs::remove_file(world.path("state/runner.live")).expect("the older one's");
    kill(newer, Signal::KILL);
    kill(older, Signal::KILL);
    wait_for("both to end", || (!alive(newer) && !alive(older)).then_some(()));
    kill(world.pid(), Signal::CONT);
    for task in ["older", "hangs", "newer"] {
        assert_eq!(world.finished(&format!("{task}/1"))["outcome"], "unknown", "{task}");
    }
}

#[test]
fn every_second_fires_once_across_upgrades() {
    every_second_fires_once(&mut installed(), "; sleep 0.4", upgrade);
}
