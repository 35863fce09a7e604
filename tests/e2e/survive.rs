//! Promise: a run belongs to the runner. Neither the end of the daemon nor of the runner loses or doubles anything.

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{World, alive, instant, kill, texts, wait_for, wall};

/// A shell line that writes its process id, then a line each time the file grows, until it is told to end.
fn long(world: &World) -> String {
    let (pid, end) = (world.path("long.pid"), world.path("long.end"));
    format!(
        "echo $$ >{}; echo before; while [ ! -e {} ]; do sleep 0.02; done; echo after; exit 7",
        pid.display(),
        end.display()
    )
}

fn start_long(world: &World) -> u32 {
    world
        .ctl(&["add", "--name", "long", "--manual", "--shell", &long(world)])
        .ok();
    world.ctl(&["run", "long"]).ok();
    wait_for("the long run to have begun", || {
        std::fs::read_to_string(world.path("long.pid"))
            .ok()?
            .trim()
            .parse()
            .ok()
    })
}

#[test]
fn a_run_goes_on_when_the_daemon_is_killed_and_is_recorded_by_the_next() {
    let mut world = World::served();
    let pid = start_long(&world);
    let runner = world.runner_pid();
    world.kill();
    assert!(alive(pid), "the run ended with the daemon");
    world.start();
    assert_eq!(world.runner_pid(), runner, "another runner was started");
    let during = world.ctl(&["runs", "long", "--json"]).json();
    assert_eq!(during[0]["state"], "running", "{during}");
    std::fs::write(world.path("long.end"), "").expect("a file");
    let run = world.finished("long/1");
    assert_eq!(
        (&run["outcome"], &run["exit_code"]),
        (&Value::from("failed"), &Value::from(7)),
        "{run}"
    );
    assert_eq!(world.ctl(&["logs", "long/1"]).ok(), "before\nafter\n");
    assert_eq!(world.ctl(&["runs", "--json"]).json().as_array().map(Vec::len), Some(1));
}

#[test]
fn sockets_and_locks_that_somebody_removes_are_made_anew() {
    let mut world = World::served();
    let pid = start_long(&world);
    let runner = world.runner_pid();
    for name in ["state/runner.sock", "state/runner.lock"] {
        std::fs::remove_file(world.path(name)).expect("it is there");
        wait_for(name, || world.path(name).exists().then_some(()));
    }
    std::fs::remove_file(world.socket()).expect("it is there");
    wait_for("the socket of the daemon", || world.socket().exists().then_some(()));
    assert_eq!(world.runner_pid(), runner);
    world.kill();
    world.start();
    assert_eq!(world.runner_pid(), runner, "another runner was started");
    assert!(alive(pid));
    std::fs::write(world.path("long.end"), "").expect("a file");
    assert_eq!(world.finished("long/1")["exit_code"], 7);
}

#[test]
fn a_run_that_ends_while_the_daemon_is_away_is_recorded_on_its_return() {
    let mut world = World::served();
    let pid = start_long(&world);
    world.kill();
    std::fs::write(world.path("long.end"), "").expect("a file");
    wait_for("the run to end", || (!alive(pid)).then_some(()));
    world.start();
    let run = world.finished("long/1");
    assert_eq!(run["exit_code"], 7, "{run}");
    assert!(run["duration_ms"].is_u64(), "{run}");
    assert_eq!(world.ctl(&["logs", "long"]).ok(), "before\nafter\n");
}

#[test]
fn runs_end_with_a_killed_runner_and_are_recorded_as_unknown() {
    let world = World::served();
    let pid = start_long(&world);
    let runner = world.runner_pid();
    kill(runner, Signal::KILL);
    let run = world.finished("long/1");
    assert_eq!(run["outcome"], "unknown", "{run}");
    assert!(
        run["reason"].as_str().is_some_and(|reason| reason.contains("runner")),
        "{run}"
    );
    wait_for("the run to end", || (!alive(pid)).then_some(()));
    wait_for("a new runner", || {
        let status = world.ctl(&["status", "--json"]).json();
        status["runner"]["pid"].as_u64().filter(|pid| *pid != u64::from(runner))
    });
    world.ctl(&["add", "--name", "next", "--manual", "--", "true"]).ok();
    assert_eq!(world.ctl(&["run", "--wait", "next"]).code(), 0);
}

#[test]
fn nothing_runs_unknown_to_us_when_both_are_killed() {
    let mut world = World::served();
    let pid = start_long(&world);
    let runner = world.runner_pid();
    world.kill();
    kill(runner, Signal::KILL);
    wait_for("the run to end", || (!alive(pid)).then_some(()));
    world.start();
    let run = world.finished("long/1");
    assert_eq!(run["outcome"], "unknown", "{run}");
    // It was found missing, and ended at some time before that.
    assert_eq!(run["duration_ms"], serde_json::Value::Null, "{run}");
}

#[test]
fn what_falls_due_after_both_were_killed_is_made_up_for() {
    let mut world = World::served();
    let added = world
        .ctl(&["add", "--name", "soon", "--in", "4s", "--json", "--", "true"])
        .json();
    let due = instant(&added["next"][0]);
    // From then on it may have started, as far as the store knows.
    wait_for("the horizon to be put ahead", || {
        let status = world.ctl(&["status", "--json"]).json();
        let horizon = &status["store"]["horizon"];
        (horizon.is_string() && instant(horizon) >= due).then_some(())
    });
    let runner = world.runner_pid();
    world.kill();
    kill(runner, Signal::KILL);
    wait_for("it to fall due", || {
        (wall().cast_signed() > due.as_millisecond()).then_some(())
    });
    world.start();
    assert_eq!(world.finished("soon/1")["outcome"], "succeeded");
}

#[test]
fn what_a_daemon_left_that_was_killed_while_it_started_a_runner_is_cleared_away() {
    let mut world = World::served();
    let left = world.path("state/runner.up");
    for both in [false, true] {
        let runner = world.runner_pid();
        world.kill();
        if both {
            kill(runner, Signal::KILL);
            wait_for("the runner to end", || world.processes().is_empty().then_some(()));
        }
        std::fs::write(&left, "").expect("a file");
        world.start();
        assert!(!left.exists(), "it is there still");
    }
}

#[test]
fn every_second_fires_once_across_kills_of_the_daemon() {
    let mut world = World::served();
    let stamps = world.path("stamps");
    let line = format!("echo $TASKD_FIRE_TIME >>{}", stamps.display());
    world
        .ctl(&["add", "--name", "tick", "--every", "1s", "--shell", &line])
        .ok();
    let count = |world: &World| {
        std::fs::read_to_string(world.path("stamps"))
            .unwrap_or_default()
            .lines()
            .count()
    };
    for _ in 0..4 {
        let seen = count(&world);
        wait_for("another firing", || (count(&world) > seen).then_some(()));
        world.kill();
        world.start();
    }
    let seen = count(&world);
    wait_for("another firing", || (count(&world) > seen + 1).then_some(()));
    let text = std::fs::read_to_string(&stamps).expect("stamps");
    let mut once: Vec<&str> = text.lines().collect();
    let all = once.len();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), all, "a firing ran twice: {text}");
    // Between the first and the last, each second has a run or a place in the ledger.
    world.ctl(&["disable", "tick"]).ok();
    let runs = world.ctl(&["runs", "tick", "--limit", "1000", "--json"]).json();
    let mut seconds: Vec<u32> = texts(&runs, "fire_time").iter().map(|at| second_of_day(at)).collect();
    let passed = world.ctl(&["show", "tick", "--json"]).json()["passed"].take();
    for (first, last) in texts(&passed, "first").iter().zip(texts(&passed, "last")) {
        let (mut at, last) = (second_of_day(first), second_of_day(&last));
        seconds.push(at);
        while at != last {
            at = (at + 1) % DAY;
            seconds.push(at);
        }
    }
    let first = second_of_day(once.first().expect("it fired"));
    let mut since: Vec<u32> = seconds.iter().map(|at| (at + DAY - first) % DAY).collect();
    since.sort_unstable();
    let whole: Vec<u32> = (0..u32::try_from(since.len()).expect("few")).collect();
    assert_eq!(since, whole, "seconds since {first}, of {runs} and {passed}");
}

const DAY: u32 = 24 * 60 * 60;

/// The second of the day that an instant in UTC is in.
fn second_of_day(at: &str) -> u32 {
    let part = |from: usize| at[from..from + 2].parse::<u32>().expect("two digits");
    (part(11) * 60 + part(14)) * 60 + part(17)
}
