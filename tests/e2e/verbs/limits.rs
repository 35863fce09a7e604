//! Time limits of runs and how they end: `--timeout`, `--deadline`, `--grace`, `--kill-signal` and `--on-leftover`.

use serde_json::{Value, json};

use crate::harness::{World, alive, now, wait_for};
use crate::verbs::export;

fn add(world: &World, name: &str, limits: &[&str], line: &str) {
    world
        .ctl(&[&["add", "--name", name, "--manual"], limits, &["--shell", line]].concat())
        .ok();
}

fn ended(run: &Value) -> (&Value, &Value, &Value) {
    (&run["outcome"], &run["reason"], &run["signal"])
}

#[test]
fn a_run_whose_time_is_up_is_stopped_and_says_so() {
    let world = World::served();
    add(&world, "long", &["--timeout", "300ms"], "echo begun; exec sleep 1000");
    let ran = world.ctl(&["run", "--wait", "long"]);
    assert_eq!((ran.code(), ran.stdout.as_str()), (124, "begun\n"));
    assert!(ran.stderr.contains("its timeout was over"), "{ran:?}");
    let run = world.run_of("long/1");
    assert_eq!(
        ended(&run),
        (&json!("timed-out"), &json!("its timeout was over"), &json!(15))
    );
    add(&world, "late", &["--deadline", "300ms"], "exec sleep 1000");
    world.ctl(&["run", "late"]).ok();
    let run = world.finished("late/1");
    assert_eq!(ended(&run).1, &json!("its deadline was over"));
    add(&world, "short", &["--timeout", "1h", "--deadline", "1h"], "exit 3");
    assert_eq!(world.ctl(&["run", "--wait", "short"]).code(), 3);
    let listed = world.ctl(&["runs", "--outcome", "timed-out", "--json"]).json();
    assert_eq!(listed.as_array().map(Vec::len), Some(2));
}

#[test]
fn a_deadline_ends_what_waits_between_its_attempts() {
    let world = World::served();
    let late = [
        "--lock",
        "l",
        "--retries",
        "9",
        "--backoff",
        "500ms..500ms",
        "--deadline",
        "1s",
    ];
    add(&world, "late", &late, "exit 1");
    let line = world.gated_line("holder", 0);
    add(&world, "holder", &["--lock", "l"], &line);
    world.ctl(&["run", "late"]).ok();
    wait_for("its next attempt to be waited for", || {
        let said = world.ctl(&["runs", "late"]).ok();
        said.contains("waits for its next attempt, ").then_some(())
    });
    world.run_up("holder");
    let run = world.finished("late/1");
    let reason = json!("its deadline was over before its next attempt");
    assert_eq!(ended(&run), (&json!("timed-out"), &reason, &json!(null)));
    assert_eq!(world.run_of("holder/1")["state"], "running", "nobody waited for that");
}

#[test]
fn it_is_asked_by_its_own_signal_and_has_its_own_grace() {
    let world = World::served();
    let line = "trap 'echo bye; exit 0' INT; trap '' TERM; echo up; while :; do sleep 0.01; done";
    add(&world, "polite", &["--kill-signal", "sigint"], line);
    world.run_up("polite");
    world.ctl(&["cancel", "polite/1"]).ok();
    assert_eq!(world.finished("polite/1")["outcome"], "cancelled");
    assert_eq!(world.ctl(&["logs", "polite/1"]).ok(), "up\nbye\n");
    let deaf = "trap '' TERM; while :; do sleep 0.01; done";
    add(&world, "deaf", &["--timeout", "200ms", "--grace", "0s"], deaf);
    let asked = now();
    world.ctl(&["run", "deaf"]).ok();
    assert_eq!(world.finished("deaf/1")["signal"], 9);
    assert!(
        asked.elapsed() < std::time::Duration::from_secs(8),
        "it had more than its grace"
    );
}

#[test]
fn a_limit_holds_while_the_daemon_is_away() {
    let mut world = World::served();
    add(&world, "long", &["--timeout", "1s"], "echo up; exec sleep 1000");
    let pid = world.run_up("long")["pid"].as_u64().expect("a process id");
    world.kill();
    crate::harness::wait_for("its process is gone", || {
        (!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    });
    world.start();
    assert_eq!(world.finished("long/1")["outcome"], "timed-out");
}

#[test]
fn limits_are_shown_changed_and_exported() {
    let world = World::served();
    add(
        &world,
        "a",
        &[
            "--timeout",
            "90s",
            "--deadline",
            "2h",
            "--grace",
            "1m",
            "--kill-signal",
            "HUP",
        ],
        "true",
    );
    let limits = || {
        let shown = world.ctl(&["show", "a", "--json"]).json();
        ["timeout_ms", "deadline_ms", "grace_ms", "kill_signal"].map(|key| shown[key].clone())
    };
    assert_eq!(limits(), [json!(90_000), json!(7_200_000), json!(60_000), json!("HUP")]);
    let shown = world.ctl(&["show", "a"]).ok();
    assert!(
        shown.contains("1 m 30 s an attempt, 2 h a run, grace 1 m, stopped by HUP"),
        "{shown}"
    );
    export::is_whole(&world, &[]);
    world
        .ctl(&[
            "edit",
            "a",
            "--timeout",
            "",
            "--grace",
            "",
            "--kill-signal",
            "",
            "--deadline",
            "1h",
        ])
        .ok();
    assert_eq!(limits(), [json!(null), json!(3_600_000), json!(null), json!(null)]);
    for (wrong, says) in [
        (["--timeout", "0s"], "--timeout 0s: a run that may take no time"),
        (["--deadline", "5"], "5 has no unit"),
        (["--grace", "2d"], "write at most 24h"),
        (["--kill-signal", "KILL"], "--grace 0s"),
        (["--kill-signal", "TREM"], "TERM"),
    ] {
        let said = world.ctl(&[&["edit", "a"], wrong.as_slice()].concat()).refused(2);
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn what_is_left_goes_on_where_that_was_chosen_and_ends_with_a_stop_or_the_runner() {
    let world = World::served();
    let line = "setsid sh -c 'echo $$ > left; exec sleep 1000' & until [ -s left ]; do sleep 0.01; done; cat left";
    let cwd = world.path("").display().to_string();
    add(&world, "a", &["--on-leftover", "leave", "--cwd", &cwd], line);
    let left = |run: &str| -> u32 { world.ctl(&["logs", run]).ok().trim().parse().expect("a process id") };
    assert_eq!(world.ctl(&["run", "--wait", "a"]).code(), 0);
    let first = left("a/1");
    assert!(alive(first), "it goes on");
    let shown = |key: &str| world.ctl(&["show", "a", "--json"]).json()[key].clone();
    assert_eq!(shown("on_leftover"), json!("leave"));
    assert!(world.ctl(&["show", "a"]).ok().contains("what is left goes on"));
    export::is_whole(&world, &[]);
    // Others end with their runs all the same.
    std::fs::remove_file(world.path("left")).expect("it is there");
    world.ctl(&["edit", "a", "--on-leftover", "kill"]).ok();
    assert_eq!(shown("on_leftover"), json!("kill"));
    assert_eq!(world.ctl(&["run", "--wait", "a"]).code(), 0);
    let second = left("a/2");
    wait_for("it is killed", || (!alive(second)).then_some(()));
    assert!(alive(first));
    // A stop spares nobody.
    std::fs::remove_file(world.path("left")).expect("it is there");
    add(
        &world,
        "b",
        &[
            "--on-leftover",
            "leave",
            "--timeout",
            "300ms",
            "--grace",
            "0s",
            "--cwd",
            &cwd,
        ],
        &format!("{line}; sleep 1000"),
    );
    assert_eq!(world.ctl(&["run", "--wait", "b"]).code(), 124);
    let third = left("b/1");
    wait_for("it is killed", || (!alive(third)).then_some(()));
    world.ctl(&["stop"]).ok();
    wait_for("what was left ends with the runner", || (!alive(first)).then_some(()));
}
