//! `taskctl edit`: any field, in place, and a run in progress is not touched.

use serde_json::{Value, json};

use crate::harness::{World, alive, has_keys, is_instant, texts};

fn shown(world: &World, name: &str) -> Value {
    world.ctl(&["show", name, "--json"]).json()
}

fn world() -> World {
    let world = World::served();
    let mut args = vec!["add", "--name", "a", "--cron", "30 2 * * *", "--tz", "Asia/Tokyo"];
    args.extend([
        "--cwd",
        "/tmp",
        "--env",
        "A=1",
        "--env",
        "B=2",
        "--description",
        "old",
        "--",
        "true",
    ]);
    world.ctl(&args).ok();
    world
}

#[test]
fn edits_at_one_time_do_not_undo_each_other() {
    let world = world();
    let edits: Vec<_> = (0..20)
        .map(|n| {
            let variable = format!("V{n}=1");
            let mut args = vec!["edit", "a", "--env", &variable];
            if n == 10 {
                args.extend(["--unset-env", "A", "--tz", "UTC"]);
            } else if n > 10 {
                args.extend(["--cron", "0 4 * * *"]);
            }
            world.taskctl(&args).spawn().expect("it starts")
        })
        .collect();
    for mut edit in edits {
        assert!(edit.wait().expect("it ends").success());
    }
    let after = shown(&world, "a");
    let names: std::collections::BTreeSet<_> = texts(&after["env"], "name").into_iter().collect();
    let expected = (0..20).map(|n| format!("V{n}")).chain(["B".to_owned()]);
    assert_eq!(names, expected.collect());
    assert_eq!(after["schedule"]["tz"], "UTC");
}

#[test]
fn each_field_is_changed_and_the_others_stay() {
    let world = world();
    let mut expected = shown(&world, "a");
    let mut edit = |args: &[&str], field: &str, value: Value| {
        let said = world.ctl(&[&["edit", "a"], args].concat()).ok();
        assert!(said.starts_with("changed a\n"), "{said}");
        let mut now = shown(&world, "a");
        assert_eq!(now[field], value, "{args:?}");
        expected[field] = value;
        for moved in ["changed_at", "next", "upcoming", "mark", "warnings"] {
            expected[moved] = now[moved].take();
            now[moved] = expected[moved].clone();
        }
        assert_eq!(now, expected, "{args:?} changed something else");
    };
    let cron = |expr: &str, tz: &str| json!({ "kind": "cron", "expr": expr, "tz": tz });
    // The zone stays with a new expression, and the expression with a new zone.
    edit(&["--cron", "0 4 * * *"], "schedule", cron("0 4 * * *", "Asia/Tokyo"));
    edit(&["--tz", "UTC"], "schedule", cron("0 4 * * *", "UTC"));
    edit(
        &["--cron", "0 5 * * *", "--tz", "Europe/Berlin"],
        "schedule",
        cron("0 5 * * *", "Europe/Berlin"),
    );
    // So do the rules for changes of the clock.
    edit(&["--dst-gap", "skip"], "dst_gap", json!("skip"));
    edit(&["--dst-overlap", "second"], "dst_overlap", json!("second"));
    edit(&["--cron", "0 6 * * *"], "schedule", cron("0 6 * * *", "Europe/Berlin"));
    edit(&["--tz", "UTC"], "schedule", cron("0 6 * * *", "UTC"));
    edit(&["--dst-gap", "auto"], "dst_gap", json!("auto"));
    edit(&["--dst-overlap", "auto"], "dst_overlap", json!("auto"));
    edit(&["--misfire-within", "5h"], "misfire_within_ms", json!(18_000_000));
    edit(
        &["--every", "5m"],
        "schedule",
        json!({ "kind": "every", "expr": "5m", "tz": null }),
    );
    edit(
        &["--manual"],
        "schedule",
        json!({ "kind": "manual", "expr": null, "tz": null }),
    );
    edit(
        &["--", "echo", "x"],
        "action",
        json!({ "kind": "exec", "argv": ["echo", "x"] }),
    );
    edit(
        &["--shell", "echo y"],
        "action",
        json!({ "kind": "shell", "argv": ["echo y"] }),
    );
    edit(&["--cwd", "/var/tmp"], "cwd", json!("/var/tmp"));
    edit(&["--cwd", ""], "cwd", Value::Null);
    edit(&["--description", "new"], "description", json!("new"));
    edit(&["--description", ""], "description", Value::Null);
    let var = |name: &str, value: &str| json!({ "name": name, "value": value });
    edit(
        &["--env", "B=3", "--env", "C=4"],
        "env",
        json!([var("A", "1"), var("B", "3"), var("C", "4")]),
    );
    edit(&["--unset-env", "A", "--unset-env", "C"], "env", json!([var("B", "3")]));
    edit(&["--disabled"], "enabled", json!(false));
    edit(&["--enabled"], "enabled", json!(true));
}

#[test]
fn what_becomes_of_missed_fire_times_goes_with_the_schedule() {
    let world = world();
    let policy = |args: &[&str]| {
        world.ctl(&[&["edit", "a"], args].concat()).ok();
        let now = shown(&world, "a");
        (now["misfire"].clone(), now["misfire_within_ms"].clone())
    };
    assert_eq!(policy(&["--misfire-within", "5h"]), (json!("once"), json!(18_000_000)));
    assert_eq!(policy(&["--misfire", "once"]), (json!("once"), json!(18_000_000)));
    assert_eq!(policy(&["--misfire", "skip"]), (json!("skip"), Value::Null));
    assert_eq!(policy(&["--misfire", "once"]), (json!("once"), json!(3_600_000)));
    policy(&["--misfire-within", "5h"]);
    // A single instant has no limit, nor local times that come twice.
    policy(&["--dst-gap", "run"]);
    assert_eq!(policy(&["--at", "2096-01-01"]), (json!("once"), json!(3_600_000)));
    assert_eq!(shown(&world, "a")["dst_gap"], "auto");
    assert_eq!(policy(&["--misfire", "skip"]), (json!("skip"), Value::Null));
}

#[test]
fn times_are_shown_again_and_a_new_name_keeps_id_and_history() {
    let world = world();
    assert_eq!(world.ctl(&["run", "--wait", "a"]).code(), 0);
    let before = shown(&world, "a");
    let edited = world
        .ctl(&[
            "edit",
            "a",
            "--json",
            "--name",
            "b",
            "--at",
            "2096-01-01 00:00",
            "--tz",
            "UTC",
        ])
        .json();
    has_keys(&edited, "name id next");
    assert_eq!((&edited["name"], &edited["id"]), (&json!("b"), &before["id"]));
    assert_eq!(edited["next"], json!(["2096-01-01T00:00:00Z"]));
    is_instant(&edited["next"]);
    world.ctl(&["show", "a"]).refused(4);
    assert_eq!(
        world.ctl(&["runs", "b", "--json"]).json().as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(world.ctl(&["run", "b", "--json"]).json()["run"], "b/2");
    world.ctl(&["add", "--name", "a", "--manual", "--", "true"]).ok();
}

#[test]
fn a_run_in_progress_is_untouched() {
    let world = World::served();
    world.add_gated("long", 7);
    let before = world.run_up("long");
    let pid = u32::try_from(before["pid"].as_u64().expect("a process")).expect("a process id");
    world
        .ctl(&[
            "edit", "long", "--every", "1h", "--cwd", "/", "--env", "X=1", "--", "false",
        ])
        .ok();
    assert!(alive(pid), "the run ended");
    let during = world.run_of("long/1");
    assert_eq!((&during["state"], &during["pid"]), (&json!("running"), &before["pid"]));
    world.open_gate("long");
    let run = world.finished("long/1");
    assert_eq!((&run["exit_code"], &run["attempts"]), (&json!(7), &json!(1)), "{run}");
    assert_eq!(world.ctl(&["logs", "long/1"]).ok(), "up\nover\n");
    assert_eq!(
        world.ctl(&["run", "--wait", "long"]).code(),
        1,
        "the new command runs next"
    );
}

#[test]
fn refusals_leave_the_task_as_it_was() {
    let world = world();
    world.ctl(&["add", "--name", "taken", "--manual", "--", "true"]).ok();
    world.ctl(&["add", "--name", "soon", "--in", "9h", "--", "true"]).ok();
    let before = shown(&world, "a");
    let refused: &[(&[&str], i32, &str)] = &[
        (&["a"], 2, "nothing to change"),
        (
            &["a", "--cron", "0 25 * * *"],
            2,
            "  --cron 0 25 * * *\n           ^^\n",
        ),
        (&["a", "--tz", "Asia/Tokio"], 2, "did you mean Asia/Tokyo?"),
        (&["a", "--name", "taken"], 1, "there is a task taken already"),
        (&["a", "--name", "no good"], 2, "  --name no good\n           ^\n"),
        (&["a", "--at", "2001-01-01"], 2, "--at"),
        (&["a", "--env", "X"], 2, "NAME=VALUE"),
        (&["a", "--every", "1m", "--manual"], 2, "cannot be used with"),
        (&["a", "--enabled", "--disabled"], 2, "cannot be used with"),
        (&["a", "--descripton", "x"], 2, "--description"),
        (&["soon", "--tz", "UTC"], 2, "has no time zone"),
        (&["soon", "--dst-gap", "skip"], 2, "give a --cron with it"),
        (&["soon", "--misfire-within", "2h"], 2, "run however late"),
        (
            &["a", "--misfire", "skip", "--misfire-within", "2h"],
            2,
            "--misfire once",
        ),
        (&["a", "--misfire-within", "5x"], 2, "  --misfire-within 5x\n"),
        (&["takne", "--manual"], 4, "did you mean taken?"),
    ];
    for (args, code, said) in refused {
        let text = world.ctl(&[&["edit"], *args].concat()).refused(*code);
        assert!(text.contains(said), "{args:?}: {text}");
        world.ctl(&[&["edit", "--json"], *args].concat()).error(*code);
    }
    assert_eq!(shown(&world, "a"), before);
}
