//! What a run and all it starts may use together: `--memory-max`, `--cpu-max` and `--pids-max`. They hold, or nothing is
//! started.

use serde_json::{Value, json};

use crate::delegated::Delegated;
use crate::harness::{World, wait_for};
use crate::verbs::export;

const ALL: [&str; 6] = ["--memory-max", "512M", "--cpu-max", "1.5-cores", "--pids-max", "64"];

fn add(world: &World, name: &str, options: &[&str], line: &str) {
    world
        .ctl(&[&["add", "--name", name, "--manual"], options, &["--shell", line]].concat())
        .ok();
}

/// Runs a task to its end.
fn ended(world: &World, name: &str) -> Value {
    let started = world.ctl(&["run", name, "--json"]).json();
    world.finished(started["run"].as_str().expect("it was started"))
}

#[test]
fn caps_are_shown_changed_and_exported() {
    let world = World::served();
    add(&world, "a", &ALL, "true");
    let caps = || {
        let process = world.ctl(&["show", "a", "--json"]).json()["process"].clone();
        (
            process["memory_max"].clone(),
            process["cpu_max"].clone(),
            process["pids_max"].clone(),
        )
    };
    assert_eq!(caps(), (json!("512M"), json!("150%"), json!(64)));
    let shown = world.ctl(&["show", "a"]).ok();
    assert!(
        shown.contains("memory at most 512M, CPU at most 150%, processes at most 64"),
        "{shown}"
    );
    export::is_whole(&world, &[]);
    world
        .ctl(&["edit", "a", "--memory-max", "2048M", "--pids-max", ""])
        .ok();
    assert_eq!(caps(), (json!("2G"), json!("150%"), Value::Null));
    world.ctl(&["edit", "a", "--memory-max", "", "--cpu-max", ""]).ok();
    assert_eq!(caps(), (Value::Null, Value::Null, Value::Null));
    assert!(!world.ctl(&["show", "a"]).ok().contains("at most"));
}

#[test]
fn what_no_cap_can_be_is_refused_with_its_column_and_cure() {
    let world = World::served();
    for (wrong, says) in [
        (
            vec!["--memory-max", "512MB"],
            "  --memory-max 512MB\n               ^^^^^\nhint: write bytes",
        ),
        (vec!["--memory-max", "4K"], "hint: write 1M or more"),
        (
            vec!["--cpu-max", "50"],
            "  --cpu-max 50\n            ^^\nhint: write 50% of one core, or 50-cores",
        ),
        (vec!["--cpu-max", "0%"], "there is no such share"),
        (
            vec!["--pids-max", "0"],
            "hint: write a number from 1, which lets the command start nothing",
        ),
        (
            vec!["--pids-max", "-1"],
            "  --pids-max -1\n             ^^\nhint: write a number from 1 on",
        ),
    ] {
        let add = ["add", "--name", "a", "--manual"];
        let said = world
            .ctl(&[add.as_slice(), &wrong, &["--", "true"]].concat())
            .refused(2);
        assert!(said.contains(says), "{said}");
    }
    world.ctl(&["show", "a"]).refused(4);
}

#[test]
fn nothing_is_started_that_could_not_be_held_to_its_caps() {
    let mut world = World::new();
    std::fs::write(world.path("taskd.toml"), "[runner]\ncgroups = \"off\"\n").expect("a file");
    world.start();
    for (option, cap) in [("--memory-max", "64M"), ("--cpu-max", "50%"), ("--pids-max", "32")] {
        let name = option.trim_start_matches('-');
        let line = [
            "add",
            "--name",
            name,
            "--manual",
            option,
            cap,
            "--shell",
            "touch started",
        ];
        let added = world.ctl(&line);
        let told = format!("{}{}", added.stdout, added.stderr);
        assert!(told.contains(&format!("no run starts: for {option}")), "{added:?}");
        added.ok();
        let ran = world.ctl(&["run", "--wait", name]);
        assert_ne!(ran.code(), 0, "{ran:?}");
        assert!(
            ran.stderr.contains("Delegate=yes") && ran.stderr.contains(&format!("{option} ''")),
            "{ran:?}"
        );
        let run = world.run_of(&format!("{name}/1"));
        assert_eq!((&run["outcome"], &run["pid"]), (&json!("spawn-failed"), &Value::Null));
        let reason = format!("{name}, the runner has no control groups to hold it: ");
        assert!(
            run["reason"].as_str().is_some_and(|said| said.starts_with(&reason)),
            "{run}"
        );
        let edited = world.ctl(&["edit", name, option, ""]);
        assert!(!edited.stdout.contains("no run starts"), "{edited:?}");
        edited.ok();
        assert_eq!(ended(&world, name)["outcome"], "succeeded", "it is the cap alone");
    }
}

#[test]
fn a_cap_holds_or_nothing_is_started() {
    let Some(delegated) = Delegated::new() else { return };
    for (controller, holds, option) in [
        ("pids", holds_processes as fn(&Delegated), ["--pids-max", "9"]),
        ("memory", holds_memory, ["--memory-max", "64M"]),
        ("cpu", holds_time, ["--cpu-max", "50%"]),
    ] {
        if delegated.controllers.iter().any(|has| has == controller) {
            holds(&delegated);
            eprintln!("{}: it holds", option[0]);
        } else {
            add(delegated.world(), controller, &option, "true");
            let run = ended(delegated.world(), controller);
            assert_eq!(run["outcome"], "spawn-failed", "{run}");
            assert!(
                run["reason"]
                    .as_str()
                    .is_some_and(|said| said.contains("have no controller")),
                "{run}"
            );
            eprintln!(
                "{}: there is no controller for it here, so nothing is started",
                option[0]
            );
        }
    }
    // The end of a run is told when the last of it has been killed, and its group goes with that.
    wait_for("no group is left", || delegated.groups().is_empty().then_some(()));
}

/// One that tries to start 200, so that it ends even where nothing holds it.
const FORKER: &str = "perl -e 'for (1..200) { my $pid = fork; if (!defined $pid) { $refused++; next } \
                      if (!$pid) { sleep 1000; exit } $made++ } print \"$made made, $refused refused\\n\"'";

fn holds_processes(delegated: &Delegated) {
    let world = delegated.world();
    add(world, "forker", &["--pids-max", "32"], FORKER);
    let run = ended(world, "forker");
    assert_eq!(
        (&run["outcome"], &run["peak_pids"]),
        (&json!("succeeded"), &json!(32)),
        "and it is counted"
    );
    let said = world.ctl(&["logs", "forker/1"]).ok();
    let made: u32 = said
        .split(' ')
        .next()
        .and_then(|made| made.parse().ok())
        .expect("a number");
    // It is one of them itself, and its shell may be one.
    assert!((29..=31).contains(&made), "{said}");
    assert_eq!(
        ended(world, "forker")["outcome"],
        "succeeded",
        "nothing of the first is in the way"
    );
    // What holds that one holds this, which would never end.
    let line = "echo up; bomb() { bomb | bomb & }; bomb; while :; do sleep 0.1; done";
    add(
        world,
        "bomb",
        &["--pids-max", "32", "--timeout", "2s", "--grace", "0s"],
        line,
    );
    let run = ended(world, "bomb");
    assert!(
        ["timed-out", "failed"].contains(&run["outcome"].as_str().expect("it has ended")),
        "{run}"
    );
    if run["outcome"] == "failed" {
        let said = world.ctl(&["logs", "bomb/1"]).ok();
        assert!(said.contains("Cannot fork"), "{said}");
    }
}

fn holds_memory(delegated: &Delegated) {
    let world = delegated.world();
    let hungry = "sleep 1000 & echo up; perl -e '$all = q(x) x (64 << 20)'; echo over";
    add(world, "hungry", &["--memory-max", "16M"], hungry);
    let run = ended(world, "hungry");
    let ended_by = (&run["outcome"], &run["signal"], &run["reason"]);
    assert_eq!(ended_by, (&json!("failed"), &json!(9), &json!("over --memory-max 16M")));
    let peak = run["memory_peak_kib"].as_u64().expect("it is counted");
    assert!((8 << 10..=16 << 10).contains(&peak), "{peak} KiB");
    assert_eq!(
        world.ctl(&["logs", "hungry/1"]).ok(),
        "up\n",
        "all of it ended, and at once"
    );
    let frugal = "head -c 1M /dev/zero | tail -c 1M | wc -c";
    add(world, "frugal", &["--memory-max", "16M"], frugal);
    assert_eq!(world.ctl(&["run", "--wait", "frugal"]).ok(), "1048576\n");
    let keeps = "perl -e '$| = 1; $all = q(x) x (8 << 20); print qq(up\n); sleep 1000'";
    add(world, "keeps", &["--memory-max", "64M"], keeps);
    world.run_up("keeps");
    let told = world.ctl(&["top", "--once", "--json", "--interval", "100ms"]).json();
    let counted = told["runs"][0]["memory_bytes"].as_u64().expect("it is counted");
    assert!((8 << 20..=64 << 20).contains(&counted), "{told}");
    world.ctl(&["cancel", "keeps"]).ok();
    world.finished("keeps/1");
    // What kills itself was not killed for that.
    add(world, "self", &["--memory-max", "16M"], "kill -9 $$");
    assert_eq!(ended(world, "self")["reason"], "signal 9");
}

fn holds_time(delegated: &Delegated) {
    let world = delegated.world();
    let options = ["--cpu-max", "20%", "--timeout", "2s", "--grace", "0s"];
    // Two, since the cap is on all of it.
    add(world, "busy", &options, "while :; do :; done & while :; do :; done");
    let run = ended(world, "busy");
    assert_eq!(run["outcome"], "timed-out");
    let of = |name: &str| run[name].as_u64().expect("it was counted");
    let (used_us, took_us) = (of("user_us") + of("system_us"), of("duration_ms") * 1000);
    assert!(used_us < took_us / 2, "{used_us} of {took_us} us");
}
