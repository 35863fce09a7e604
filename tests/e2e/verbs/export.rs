//! `taskctl export`: definitions as JSON lines, which `import` takes back whole.

use serde_json::{Value, json};

use crate::harness::World;

/// What is exported, of tasks that are asked for, makes the same tasks elsewhere.
pub fn is_whole(world: &World, asked: &[&str]) {
    let exported = world.ctl(&[&["export"], asked].concat()).ok();
    let other = World::served();
    other.ctl_reading(&["import", "-"], &exported).ok();
    assert_eq!(other.ctl(&["export"]).ok(), exported);
}

#[test]
fn what_is_exported_is_imported_the_same() {
    let world = World::served();
    let tasks: [&[&str]; 7] = [
        &[
            "--name",
            "c",
            "--cron",
            "30 2 * * *",
            "--tz",
            "Europe/Berlin",
            "--dst-overlap",
            "second",
            "--misfire",
            "skip",
            "--",
            "a",
            "b c",
            "",
        ],
        &[
            "--name",
            "e",
            "--every",
            "90s",
            "--disabled",
            "--shell",
            "echo \"quoted\" | cat",
        ],
        &["--name", "i", "--in", "30d", "--cwd", "/tmp", "--", "true"],
        &[
            "--name",
            "t",
            "--at",
            "2096-01-01 12:00",
            "--tz",
            "Asia/Tokyo",
            "--",
            "true",
        ],
        &[
            "--name",
            "m",
            "--manual",
            "--description",
            "ä note",
            "--env",
            "A=1",
            "--env",
            "B=",
            "--",
            "true",
        ],
        &["--name", "s", "--cron", "*/5 * * * * *", "--", "true"],
        &["--name", "w", "--cron", "@hourly", "--", "true"],
    ];
    for task in tasks {
        world.ctl(&[&["add"], task].concat()).ok();
    }
    let exported = world.ctl(&["export"]).ok();
    let names: Vec<Value> = exported
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a definition a line")["name"].take())
        .collect();
    assert_eq!(names, ["c", "e", "i", "m", "s", "t", "w"]);
    let other = World::served();
    assert_eq!(
        other.ctl_reading(&["import", "-"], &exported).ok(),
        "imported 7 tasks\n"
    );
    assert_eq!(other.ctl(&["export"]).ok(), exported);
    let next = |world: &World| {
        world
            .ctl(&["list", "--json"])
            .json()
            .as_array()
            .expect("an array")
            .iter()
            .map(|task| task["next"].clone())
            .collect::<Vec<_>>()
    };
    let (here, there) = (next(&world), next(&other));
    // The interval keeps its grid, the delay its instant, and the rest the clock on the wall.
    for task in [0, 1, 2, 3, 5, 6] {
        assert_eq!(here[task], there[task], "task {task}");
    }
}

#[test]
fn names_and_patterns_choose() {
    let world = World::served();
    for name in ["b", "a-1", "a-2"] {
        world.ctl(&["add", "--name", name, "--manual", "--", "true"]).ok();
    }
    let lines = |args: &[&str]| world.ctl(&[&["export"], args].concat()).ok().lines().count();
    assert_eq!(
        (
            lines(&[]),
            lines(&["a-*"]),
            lines(&["a-*", "b"]),
            lines(&["--json", "b"])
        ),
        (3, 2, 3, 1)
    );
    let said = world.ctl(&["export", "c"]).refused(4);
    assert!(said.contains("there is no task c"), "{said}");
    World::new().ctl(&["export"]).refused(3);
}

#[test]
fn a_definition_is_written_in_full() {
    let world = World::served();
    world.ctl(&["add", "--name", "a", "--manual", "--", "true"]).ok();
    let exported: Value = serde_json::from_str(&world.ctl(&["export", "a"]).ok()).expect("one definition");
    assert_eq!(
        exported,
        json!({
            "name": "a", "schedule": { "kind": "manual" }, "action": { "kind": "exec", "argv": ["true"] },
            "cwd": null, "env": [], "description": null, "enabled": true,
            "misfire": "once", "misfire_within_ms": 3_600_000, "dst_gap": "auto", "dst_overlap": "auto",
            "also": [], "jitter_ms": 0, "start": null, "end": null, "count": null, "calendars": [], "labels": [],
            "timeout_ms": null, "deadline_ms": null, "grace_ms": null, "kill_signal": null,
            "retries": 0, "backoff": null, "retry_on": null, "success_codes": null, "concurrency": null,
            "group": null, "priority": 0, "locks": [], "on_leftover": "kill",
            "process": {
                "umask": null, "nice": null, "ionice": null, "oom_score_adjust": null, "limits": [],
                "no_new_privileges": false, "clear_env": false, "env_files": [], "stdin": null,
                "private_tmp": false, "user": null, "memory_max": null, "cpu_max": null, "pids_max": null
            },
            "output_max": null, "keep_runs": null, "keep_for_ms": null, "output": "lines", "mask": [],
            "gates": {
                "only_if": null, "max_load": null, "min_memory": null, "on_ac_power": false, "gate_wait_ms": null
            },
            "requires": []
        })
    );
}
