//! `taskctl list`: tables for people, arrays for scripts, pages for both.

use serde_json::{Value, json};

use crate::harness::{World, has_keys, is_instant, run, texts};

#[test]
fn the_table_says_what_there_is_when_it_is_due_and_how_it_ended() {
    let world = World::served();
    let empty = world.ctl(&["list"]);
    assert_eq!((empty.code(), empty.stdout.as_str()), (0, ""));
    assert!(empty.stderr.contains("taskctl add"), "{empty:?}");
    world
        .ctl(&["add", "--name", "zeta", "--cron", "0 0 1 1 *", "--", "true"])
        .ok();
    world
        .ctl(&["add", "--name", "fails", "--manual", "--shell", "exit 3"])
        .ok();
    world
        .ctl(&[
            "add",
            "--name",
            "off",
            "--every",
            "1h",
            "--disabled",
            "--",
            "echo",
            "a b",
        ])
        .ok();
    assert_eq!(world.ctl(&["run", "--wait", "fails"]).code(), 3);
    let table = world.ctl(&["ls"]).ok();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("NAME "), "{table}");
    assert!(lines[1].starts_with("fails") && lines[1].contains("manual"), "{table}");
    assert!(lines[1].contains("failed") && lines[1].ends_with("exit 3"), "{table}");
    assert!(lines[2].starts_with("off ") && lines[2].contains("disabled"), "{table}");
    assert!(
        lines[2].contains("never") && lines[2].ends_with("echo 'a b'"),
        "{table}"
    );
    assert!(
        lines[3].starts_with("zeta") && lines[3].contains("-01-01 00:00:00"),
        "{table}"
    );
    assert_eq!(lines.len(), 4, "{table}");
    assert!(!table.contains('\u{1b}'), "colour where there is no terminal");
}

#[test]
fn the_array_has_its_shape_whatever_the_task() {
    let world = World::served();
    assert_eq!(world.ctl(&["list", "--json"]).json(), json!([]));
    world
        .ctl(&[
            "add",
            "--name",
            "c",
            "--cron",
            "0 9 * * *",
            "--tz",
            "Asia/Tokyo",
            "--",
            "a",
            "b",
        ])
        .ok();
    world
        .ctl(&["add", "--name", "e", "--every", "90s", "--shell", "true"])
        .ok();
    world.ctl(&["add", "--name", "i", "--in", "20m", "--", "true"]).ok();
    world.ctl(&["add", "--name", "m", "--manual", "--", "true"]).ok();
    world
        .ctl(&["add", "--name", "t", "--at", "2096-01-01T00:00:00Z", "--", "true"])
        .ok();
    world.add_gated("g", 0);
    world.run_up("g");
    assert_eq!(world.ctl(&["run", "--wait", "m"]).code(), 0);
    let tasks = world.ctl(&["list", "--json"]).json();
    assert_eq!(texts(&tasks, "name"), ["c", "e", "g", "i", "m", "t"]);
    for task in tasks.as_array().expect("an array") {
        has_keys(
            task,
            "name id owner enabled schedule action next last running held description labels paused",
        );
        has_keys(&task["schedule"], "kind expr tz");
        has_keys(&task["action"], "kind argv");
        assert!(
            task["id"].is_u64() && task["owner"].is_u64() && task["enabled"] == true,
            "{task}"
        );
        assert!(task["running"].is_array(), "{task}");
    }
    let [c, e, g, i, m, t] = tasks.as_array().expect("an array").as_slice() else {
        panic!("{tasks}");
    };
    assert_eq!(
        c["schedule"],
        json!({ "kind": "cron", "expr": "0 9 * * *", "tz": "Asia/Tokyo" })
    );
    assert_eq!(c["action"], json!({ "kind": "exec", "argv": ["a", "b"] }));
    assert_eq!(c["last"], Value::Null);
    is_instant(&c["next"]);
    assert_eq!(e["schedule"], json!({ "kind": "every", "expr": "90s", "tz": null }));
    assert_eq!(e["action"], json!({ "kind": "shell", "argv": ["true"] }));
    assert_eq!(g["running"], json!(["g/1"]));
    is_instant(&i["next"]);
    assert_eq!(m["schedule"], json!({ "kind": "manual", "expr": null, "tz": null }));
    assert_eq!(m["next"], Value::Null);
    has_keys(&m["last"], "run outcome finished_at");
    assert_eq!(
        (&m["last"]["run"], &m["last"]["outcome"]),
        (&json!("m/1"), &json!("succeeded"))
    );
    is_instant(&m["last"]["finished_at"]);
    assert_eq!(t["next"], "2096-01-01T00:00:00Z");
}

#[test]
fn times_are_in_the_readers_zone_with_the_tasks_beside() {
    let world = World::served();
    let noon = ["--cron", "0 12 1 1 *", "--tz", "Asia/Tokyo"];
    world
        .ctl(&[&["add", "--name", "t"], &noon[..], &["--", "true"]].concat())
        .ok();
    for verb in [&["list"][..], &["show", "t"], &["next"]] {
        let text = run(world.taskctl(verb).env("TZ", "America/New_York")).ok();
        // Noon of New Year's Day in Tokyo is the evening before in New York.
        assert!(text.contains("-12-31 22:00:00"), "{text}");
        assert!(text.contains("-01-01 12:00:00 Asia/Tokyo"), "{text}");
        let text = run(world.taskctl(verb).env("TZ", "Asia/Tokyo")).ok();
        assert!(
            text.contains("-01-01 12:00:00") && !text.contains("12:00:00 Asia/Tokyo"),
            "{text}"
        );
    }
}

#[test]
fn names_and_patterns_choose() {
    let world = World::served();
    for name in ["nightly-db", "nightly-web", "hourly", "nightly"] {
        world.ctl(&["add", "--name", name, "--manual", "--", "true"]).ok();
    }
    let names = |asked: &[&str]| texts(&world.ctl(&[&["list", "--json"], asked].concat()).json(), "name");
    assert_eq!(names(&["nightly-*"]), ["nightly-db", "nightly-web"]);
    assert_eq!(
        names(&["nightly", "hourly", "nightly*"]),
        ["hourly", "nightly", "nightly-db", "nightly-web"]
    );
    assert_eq!(names(&["?ourly"]), ["hourly"]);
    assert_eq!(names(&["*"]).len(), 4);
}

#[test]
fn what_is_not_there_is_exit_code_4_with_a_suggestion() {
    let world = World::served();
    world.ctl(&["add", "--name", "backup", "--manual", "--", "true"]).ok();
    let said = world.ctl(&["list", "bakcup"]).refused(4);
    assert!(
        said.contains("there is no task bakcup") && said.contains("did you mean backup?"),
        "{said}"
    );
    let said = world.ctl(&["list", "x*"]).refused(4);
    assert!(said.contains("no task matches x*"), "{said}");
    let ran = world.ctl(&["list", "--json", "bakcup"]);
    assert_eq!(ran.code(), 4);
    let error: Value = serde_json::from_str(&ran.stderr).expect("JSON on stderr");
    assert_eq!(
        (&error["code"], &error["hint"]),
        (&json!("unknown-task"), &json!("did you mean backup?"))
    );
}

#[test]
fn a_misspelt_verb_gets_a_suggestion() {
    let world = World::new();
    let said = world.ctl(&["lst"]).refused(2);
    assert!(said.contains("lst") && said.contains("list"), "{said}");
    let error = world.ctl(&["lst", "--json"]).error(2);
    assert_eq!(error["hint"], "did you mean list?");
}

#[test]
fn long_lists_come_in_pages_and_a_reader_that_leaves_is_no_error() {
    let world = World::served();
    let lines: String = (0..2500)
        .map(|n| format!("{{\"name\":\"t{n:04}\",\"schedule\":{{\"kind\":\"manual\"}},\"action\":{{\"kind\":\"exec\",\"argv\":[\"true\"]}}}}\n"))
        .collect();
    world.ctl_reading(&["import", "-"], &lines).ok();
    let names = texts(&world.ctl(&["list", "--json"]).json(), "name");
    assert_eq!(
        (names.len(), names[0].as_str(), names[2499].as_str()),
        (2500, "t0000", "t2499")
    );
    assert!(names.is_sorted());
    for args in [
        &["list"][..],
        &["list", "--json"],
        &["export"],
        &["next", "--cron", "* * * * * *", "-n", "9999"],
        &["--help"],
    ] {
        let ran = world.ctl_unread(args);
        assert_eq!((ran.code(), ran.stderr.as_str()), (0, ""), "{args:?}");
    }
}

#[test]
fn large_definitions_come_in_pages_of_few_and_none_is_left_out() {
    let world = World::served();
    let argument = "x".repeat(50_000);
    let lines: String = (0..60)
        .map(|n| format!("{{\"name\":\"t{n:02}\",\"schedule\":{{\"kind\":\"manual\"}},\"action\":{{\"kind\":\"exec\",\"argv\":[\"true\",\"{argument}\"]}}}}\n"))
        .collect();
    world.ctl_reading(&["import", "-"], &lines).ok();
    let names = texts(&world.ctl(&["list", "--json"]).json(), "name");
    assert_eq!(names, (0..60).map(|n| format!("t{n:02}")).collect::<Vec<_>>());
    let exported = world.ctl(&["export"]).ok();
    assert_eq!(
        (exported.lines().count(), exported.matches(&argument).count()),
        (60, 60)
    );
}

#[test]
fn without_a_daemon_it_is_exit_code_3() {
    let world = World::new();
    let said = world.ctl(&["list"]).refused(3);
    assert!(said.contains("taskctl start"), "{said}");
    assert_eq!(world.ctl(&["list", "--json"]).error(3)["code"], "no-daemon");
}
