//! Promise: each firing of many tasks that are due at one instant, again and again, has its run. `tests/speed` does it for as
//! many as one likes, and shows what it costs.

use std::collections::HashSet;
use std::fs;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::harness::{World, wait_for, wall};

/// A number that the caller may set.
fn set(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{name} is no number"))
    })
}

/// CPU time, in nanoseconds.
#[derive(Clone, Copy)]
struct Cpu {
    daemon: u64,
    runner: u64,
    /// That of the runner's launchers, which clone the commands.
    launchers: u64,
}

impl Cpu {
    fn of(world: &World) -> Cpu {
        let runner = world.runner_pid();
        Cpu {
            daemon: used(world.pid()),
            runner: used(runner),
            launchers: launchers(runner).into_iter().map(used).sum(),
        }
    }
}

/// What a process has used, with all its threads.
fn used(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten();
    let times = threads.filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok());
    times
        .map(|text| text.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or(0))
        .sum()
}

/// The children of a runner that clone the others.
pub fn launchers(runner: u32) -> Vec<u32> {
    let lists = fs::read_dir(format!("/proc/{runner}/task")).expect("it runs").flatten();
    let lists = lists.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    let pids: String = lists.collect();
    let is_one = |pid: &u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name == "taskd-launcher\n"
    };
    pids.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .filter(is_one)
        .collect()
}

#[test]
fn every_firing_of_many_tasks_runs_once() {
    let (tasks, seconds) = (set("TASKD_TEST_SPEED_TASKS", 30), set("TASKD_TEST_SPEED_SECONDS", 2));
    let runs = tasks * seconds;
    println!("{tasks} tasks due each second, {seconds} s; CPU in ms for each run");
    println!(
        "{:8} {:>8} {:>8} {:>8} {:>10}",
        "output", "runs", "taskd", "runner", "launchers"
    );
    // They stay until the end: some file systems are slow to make files where many were removed just before.
    let mut worlds = Vec::new();
    for output in ["lines", "file", "discard"] {
        let mut world = World::served();
        // Time for as many definitions.
        let start = wall() / 1000 * 1000 + 4_000 + tasks;
        let definition = |number: u64| {
            let task = json!({
                "name": format!("task-{number}"),
                "schedule": { "kind": "cron", "expr": "* * * * * *", "tz": "UTC" },
                "action": { "kind": "exec", "argv": ["/bin/echo", "hello"] },
                "start": Timestamp::from_millisecond(start.cast_signed()).expect("near").to_string(),
                "count": seconds,
                "concurrency": "allow",
                "output": output,
            });
            format!("{task}\n")
        };
        let definitions: String = (0..tasks).map(definition).collect();
        world.ctl_reading(&["import", "-"], &definitions).ok();
        let before = Cpu::of(&world);
        for second in 0..=seconds + 1 {
            let due = start + second * 1000;
            wait_for("the next second", || (wall() >= due).then_some(()));
        }
        // A task that has fired as often as it is to is disabled.
        let is_over = |ran: &Value| ran["running"] == 0 && ran["waiting"] == 0;
        wait_for("all runs to end", || {
            is_over(&world.ctl(&["status", "--json"]).json()).then_some(())
        });
        let after = Cpu::of(&world);
        let each = |of: fn(Cpu) -> u64| (of(after) - of(before)) as f64 / 1e6 / runs as f64;
        println!(
            "{output:8} {runs:8} {:8.3} {:8.3} {:10.3}",
            each(|cpu| cpu.daemon),
            each(|cpu| cpu.runner),
            each(|cpu| cpu.launchers)
        );
        let ran = world.ctl(&["runs", "--limit", "0", "--json"]).json();
        let ran = ran.as_array().expect("runs");
        let fired: HashSet<String> = ran
            .iter()
            .map(|run| format!("{} {}", run["task"], run["fire_time"]))
            .collect();
        let well = ran.iter().filter(|run| run["outcome"] == "succeeded").count();
        assert_eq!([fired.len(), ran.len(), well], [runs as usize; 3]);
        world.ctl(&["stop"]).ok();
        world.wait_ended();
        worlds.push(world);
    }
}
