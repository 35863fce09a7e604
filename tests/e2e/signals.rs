//! Signals: TERM and INT stop in order, HUP reads the configuration anew, a second INT ends at once.

use rustix::process::Signal;

use crate::harness::{World, alive, wait_for};

#[test]
fn term_stops_the_runs_of_its_own_runner_with_grace_and_leaves_nothing() {
    let mut world = World::served();
    let said = world.path("said");
    let line = format!(
        "trap 'echo ended >{}; exit 0' TERM; echo up; while :; do sleep 0.02; done",
        said.display()
    );
    world
        .ctl(&["add", "--name", "trapped", "--manual", "--shell", &line])
        .ok();
    world.ctl(&["run", "trapped"]).ok();
    wait_for("the run's output", || {
        world.ctl(&["logs", "trapped"]).stdout.contains("up").then_some(())
    });
    let runner = world.runner_pid();
    world.signal(Signal::TERM);
    assert!(world.wait_ended().success());
    assert_eq!(std::fs::read_to_string(&said).expect("the trap ran"), "ended\n");
    wait_for("the runner to end", || (!alive(runner)).then_some(()));
    assert!(!world.socket().exists(), "the socket was left behind");
    world.start();
    let ended = world.finished("trapped/1");
    assert_eq!(ended["outcome"], "cancelled", "{ended}");
}

#[test]
fn who_follows_a_run_is_told_how_a_stop_ended_it() {
    let mut world = World::served();
    world
        .ctl(&["add", "--name", "long", "--manual", "--shell", "echo up; sleep 1000"])
        .ok();
    let waiting = world.run_wait("long");
    world.signal(Signal::TERM);
    assert!(world.wait_ended().success());
    let ran = waiting.ended();
    assert!(
        ran.stderr.contains("cancelled") && !ran.stderr.contains("went away"),
        "{ran:?}"
    );
}

#[test]
fn int_stops_as_term_does() {
    let mut world = World::served();
    world.signal(Signal::INT);
    assert!(world.wait_ended().success());
}

#[test]
fn a_second_int_ends_at_once() {
    let mut world = World::new();
    // Longer than any test waits.
    std::fs::write(world.path("taskd.toml"), "[runner]\ngrace = \"1h\"\n").expect("a file");
    world.start();
    let pid = world.path("deaf.pid");
    let line = format!(
        "trap '' TERM; echo $$ >{}; echo up; while :; do sleep 0.02; done",
        pid.display()
    );
    world.ctl(&["add", "--name", "deaf", "--manual", "--shell", &line]).ok();
    world.run_up("deaf");
    let deaf: u32 = std::fs::read_to_string(pid)
        .expect("it wrote it")
        .trim()
        .parse()
        .expect("a process id");
    let runner = world.runner_pid();
    world.signal(Signal::INT);
    world.wait_logged("asked to stop");
    assert!(alive(deaf), "it was given no grace");
    world.signal(Signal::INT);
    world.wait_ended();
    wait_for("the run to end", || (!alive(deaf)).then_some(()));
    wait_for("the runner to end", || (!alive(runner)).then_some(()));
}

#[test]
fn hup_before_the_daemon_serves_does_not_end_it() {
    let mut world = World::new();
    let config = world.path("taskd.toml");
    let made = std::process::Command::new("mkfifo").arg(&config).status();
    assert!(made.expect("mkfifo is there").success());
    world.spawn(world.taskd());
    // The daemon waits for somebody who writes its configuration; this waits for it.
    let mut writer = std::fs::OpenOptions::new().write(true).open(&config).expect("a pipe");
    std::fs::write(world.path("next.toml"), "[limits]\ndefinition_bytes = \"4 KiB\"\n").expect("a file");
    std::fs::rename(world.path("next.toml"), &config).expect("the pipe is replaced");
    world.signal(Signal::HUP);
    std::io::Write::write_all(&mut writer, b"[limits]\nrunning = 7\n").expect("it reads");
    drop(writer);
    world.wait_served();
    // It is heeded when it can be.
    wait_for("the new limit", || {
        let ran = world.ctl(&["add", "--manual", "--", "echo", &"x".repeat(5000)]);
        (!ran.status.success()).then_some(())
    });
}

#[test]
fn hup_changes_how_much_history_is_kept() {
    let world = World::served();
    world.ctl(&["add", "--name", "a", "--manual", "--", "true"]).ok();
    std::fs::write(world.path("taskd.toml"), "[limits]\nhistory_runs = 2\n").expect("a file");
    world.signal(Signal::HUP);
    // Until the new limit is in force each run is one more.
    wait_for("two runs kept", || {
        world.ctl(&["run", "--wait", "a"]).ok();
        let runs = world.ctl(&["runs", "a", "--json"]).json();
        let newest = runs[0]["run"].as_str().and_then(|run| run.strip_prefix("a/"));
        let newest: usize = newest.and_then(|n| n.parse().ok()).expect("a run");
        (newest > 3 && runs.as_array().map(Vec::len) == Some(2)).then_some(())
    });
}

#[test]
fn hup_reads_the_configuration_anew_and_keeps_the_old_one_when_it_is_wrong() {
    let mut world = World::served();
    std::fs::write(world.path("taskd.toml"), "[limits]\ndefinition_bytes = \"4 KiB\"\n").expect("a file");
    world.signal(Signal::HUP);
    let refused = wait_for("the new limit", || {
        let ran = world.ctl(&["add", "--manual", "--", "echo", &"x".repeat(5000)]);
        (!ran.status.success()).then_some(ran)
    });
    assert!(refused.stderr.contains("definition"), "{refused:?}");
    std::fs::write(world.path("taskd.toml"), "[limits]\ndefinitoin_bytes = 1\n").expect("a file");
    world.signal(Signal::HUP);
    wait_for("the refusal in the log", || {
        world
            .log()
            .iter()
            .any(|line| {
                line["error"]
                    .as_str()
                    .is_some_and(|text| text.contains("definition_bytes"))
            })
            .then_some(())
    });
    world.ctl(&["status"]).ok();
    world.signal(Signal::TERM);
    assert!(world.wait_ended().success());
}
