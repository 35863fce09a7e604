//! `taskctl cancel`: TERM to the whole group, KILL after the grace, and the truth in the record.

use serde_json::json;

use crate::harness::{World, alive, wait_for};

/// A world in which a run that does not heed TERM is killed soon.
fn impatient() -> World {
    let mut world = World::new();
    std::fs::write(world.path("taskd.toml"), "[runner]\ngrace = \"300ms\"\n").expect("a file");
    world.start();
    world
}

#[test]
fn a_run_or_a_task_is_stopped_with_its_whole_group() {
    let world = World::served();
    let pids = world.path("pids");
    let line = format!("sleep 1000 & echo $! >{}; echo up; wait", pids.display());
    for name in ["a", "b"] {
        world.ctl(&["add", "--name", name, "--manual", "--shell", &line]).ok();
        world.run_up(name);
    }
    let child: u32 = std::fs::read_to_string(&pids)
        .expect("pids")
        .trim()
        .parse()
        .expect("a pid");
    assert_eq!(world.ctl(&["cancel", "a/1"]).ok(), "stopping a/1\n");
    assert_eq!(world.ctl(&["cancel", "--json", "b"]).json(), json!([{ "run": "b/1" }]));
    for name in ["a/1", "b/1"] {
        let run = world.finished(name);
        assert_eq!(
            (&run["outcome"], &run["signal"]),
            (&json!("cancelled"), &json!(15)),
            "{run}"
        );
        assert!(
            run["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains("cancelled by")),
            "{run}"
        );
    }
    wait_for("the child of the child to end", || (!alive(child)).then_some(()));
}

#[test]
fn a_run_that_heeds_term_says_its_last_words() {
    let world = World::served();
    let line = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.02; done";
    world
        .ctl(&["add", "--name", "polite", "--manual", "--shell", line])
        .ok();
    world.run_up("polite");
    world.ctl(&["cancel", "polite"]).ok();
    let run = world.finished("polite/1");
    assert_eq!(run["outcome"], "cancelled", "{run}");
    let said = world.ctl(&["logs", "polite"]).ok();
    // The shell may remark that its `sleep` was terminated too.
    assert!(said.starts_with("up\n") && said.contains("bye\n"), "{said}");
}

#[test]
fn a_run_that_does_not_is_killed_after_the_grace() {
    let world = impatient();
    let line = "trap '' TERM; echo up; while :; do sleep 0.02; done";
    world.ctl(&["add", "--name", "deaf", "--manual", "--shell", line]).ok();
    world.run_up("deaf");
    world.ctl(&["cancel", "deaf/1"]).ok();
    let run = world.finished("deaf/1");
    assert_eq!(
        (&run["outcome"], &run["signal"]),
        (&json!("cancelled"), &json!(9)),
        "{run}"
    );
}

#[test]
fn the_grace_is_kept_by_the_runner_when_the_daemon_is_away() {
    let mut world = impatient();
    let line = "trap '' TERM; echo up; while :; do sleep 0.02; done";
    world.ctl(&["add", "--name", "deaf", "--manual", "--shell", line]).ok();
    let run = world.run_up("deaf");
    let pid = u32::try_from(run["pid"].as_u64().expect("a process")).expect("a process id");
    world.ctl(&["cancel", "deaf/1"]).ok();
    world.kill();
    wait_for("the run to end", || (!alive(pid)).then_some(()));
    world.start();
    let run = world.finished("deaf/1");
    assert_eq!(
        (&run["outcome"], &run["signal"]),
        (&json!("cancelled"), &json!(9)),
        "{run}"
    );
}

#[test]
fn whoever_waits_is_told() {
    let world = World::served();
    world.add_gated("long", 0);
    let child = world
        .taskctl(&["run", "--wait", "long"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    wait_for("the run to be up", || {
        world.ctl(&["logs", "long"]).stdout.contains("up").then_some(())
    });
    world.ctl(&["cancel", "long"]).ok();
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(128 + 15));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("long/1 cancelled"),
        "{output:?}"
    );
}

#[test]
fn what_is_over_or_was_never_there_is_told_apart() {
    let world = World::served();
    world.ctl(&["add", "--name", "done", "--manual", "--", "true"]).ok();
    world.ctl(&["run", "--wait", "done"]).ok();
    let said = world.ctl(&["cancel", "done/1"]).refused(1);
    assert!(said.contains("done/1 is not running"), "{said}");
    assert_eq!(world.ctl(&["cancel", "--json", "done"]).error(1)["code"], "not-running");
    world.ctl(&["cancel", "done/99"]).refused(4);
    let said = world.ctl(&["cancel", "doen/1"]).refused(4);
    assert!(said.contains("did you mean done?"), "{said}");
    assert_eq!(world.ctl(&["cancel", "--json", "x*"]).error(4)["code"], "unknown-task");
    world.ctl(&["cancel"]).refused(2);
    // One that cannot be stopped, and none is.
    world.add_gated("busy", 0);
    world.run_up("busy");
    world.ctl(&["cancel", "busy", "done"]).refused(1);
    assert_eq!(world.run_of("busy/1")["state"], "running");
}

#[test]
fn a_run_that_outlives_its_task_is_cancelled_by_its_name_though_another_task_has_it() {
    let world = World::served();
    world.add_gated("kept", 0);
    world.run_up("kept");
    world.ctl(&["remove", "kept", "--keep-running"]).ok();
    world.ctl(&["add", "--name", "kept", "--manual", "--", "true"]).ok();
    assert!(world.ctl(&["cancel", "kept/1"]).ok().contains("kept/1"));
    wait_for("the run to end", || {
        (world.ctl(&["status", "--json"]).json()["running"] == 0).then_some(())
    });
}
