//! `taskctl add`: every field, every schedule, and every way to be refused.

use serde_json::{Value, json};

use crate::harness::{World, has_keys, is_instant, texts};

const SCHEDULES: [(&str, &[&str], usize); 8] = [
    ("fields5", &["--cron", "30 2 * * *", "--tz", "Europe/Berlin"], 3),
    ("fields6", &["--cron", "*/20 30 2 * * MON-FRI"], 3),
    ("fields7", &["--cron", "0 0 12 L * * 2096", "--tz", "UTC"], 3),
    ("word", &["--cron", "@daily"], 3),
    ("grid", &["--every", "1m30s"], 3),
    ("once", &["--at", "2096-02-29 12:00", "--tz", "Asia/Tokyo"], 1),
    ("soon", &["--in", "45m"], 1),
    ("asked", &["--manual"], 0),
];

#[test]
fn every_schedule_is_taken_and_the_next_three_fire_times_are_shown() {
    let world = World::served();
    for (name, schedule, fire_times) in SCHEDULES {
        let added = world
            .ctl(&[&["add", "--name", name], schedule, &["--", "true"]].concat())
            .ok();
        let mut lines = added.lines();
        assert_eq!(lines.next(), Some(format!("added {name}").as_str()), "{added}");
        assert_eq!(
            lines.filter(|line| line.contains(", in ")).count(),
            fire_times,
            "{added}"
        );
        assert_eq!(
            added.contains("never by itself, it is manual"),
            fire_times == 0,
            "{added}"
        );
        let listed = world.ctl(&["show", name, "--json"]).json();
        assert_eq!(listed["next"].is_null(), fire_times == 0, "{listed}");
    }
}

#[test]
fn the_answer_has_its_json_shape_for_every_schedule() {
    let world = World::served();
    for (name, schedule, fire_times) in SCHEDULES {
        let added = world
            .ctl(&[&["add", "--json", "--name", name], schedule, &["--", "true"]].concat())
            .json();
        has_keys(&added, "name id next");
        assert_eq!(added["name"], name);
        assert!(added["id"].is_u64(), "{added}");
        is_instant(&added["next"]);
        assert_eq!(added["next"].as_array().map(Vec::len), Some(fire_times), "{added}");
    }
    let once = world.ctl(&["show", "once", "--json"]).json();
    assert_eq!(once["next"], "2096-02-29T03:00:00Z", "a local time of Tokyo");
}

#[test]
fn every_field_is_kept_as_it_was_given() {
    let world = World::served();
    std::fs::create_dir(world.path("below")).unwrap();
    let argv = ["/bin/echo", "a b", "--flag", "", "*", "$HOME", "ä"];
    let mut args = vec!["add", "--name", "full.task_1", "--every", "1h", "--disabled"];
    args.extend(["--description", "a note; with \"signs\""]);
    args.extend([
        "--env", "A=1", "--env", "B=x=y z", "--env", "A=2", "--cwd", "below", "--",
    ]);
    args.extend(argv);
    world.ctl(&args).ok();
    let task = world.ctl(&["show", "full.task_1", "--json"]).json();
    assert_eq!(task["action"], json!({ "kind": "exec", "argv": argv }));
    assert_eq!(task["description"], "a note; with \"signs\"");
    assert_eq!(
        task["env"],
        json!([{ "name": "A", "value": "2" }, { "name": "B", "value": "x=y z" }])
    );
    assert_eq!(task["enabled"], false);
    assert_eq!(task["next"], Value::Null, "a disabled task is not due");
    // A relative directory is one below where the user stands.
    assert_eq!(task["cwd"].as_str(), world.path("below").to_str());
    assert_eq!(task["schedule"]["kind"], "every");
    world
        .ctl(&["add", "--name", "word", "--cron", "@every 90m", "--", "true"])
        .ok();
    let word = world.ctl(&["show", "word", "--json"]).json();
    assert_eq!(
        word["schedule"],
        json!({ "kind": "every", "expr": "1h30m", "tz": null })
    );
    let line =
        r#"{"name":"line","schedule":{"kind":"cron","expr":"@every 90m"},"action":{"kind":"exec","argv":["true"]}}"#;
    world
        .ctl_reading(&["import", "-"], &line.replace("line", "imported"))
        .ok();
    let imported = world.ctl(&["show", "imported", "--json"]).json();
    assert_eq!(imported["schedule"], word["schedule"]);
    let mut args = vec![
        "add",
        "--name",
        "night",
        "--cron",
        "30 2 * * *",
        "--tz",
        "Europe/Berlin",
    ];
    args.extend(["--dst-gap", "skip", "--dst-overlap", "both"]);
    args.extend(["--misfire", "once", "--misfire-within", "6h", "--", "true"]);
    world.ctl(&args).ok();
    let night = world.ctl(&["show", "night", "--json"]).json();
    assert_eq!(
        (&night["dst_gap"], &night["dst_overlap"]),
        (&json!("skip"), &json!("both"))
    );
    assert_eq!(
        (&night["misfire"], &night["misfire_within_ms"]),
        (&json!("once"), &json!(21_600_000))
    );
    let shown = world.ctl(&["show", "night"]).ok();
    for said in ["a skipped time does not run", "twice runs twice", "up to 6 h late"] {
        assert!(shown.contains(said), "{shown}");
    }
    world
        .ctl(&["add", "--name", "line", "--manual", "--shell", "echo $HOME | wc -c"])
        .ok();
    let line = world.ctl(&["show", "line", "--json"]).json();
    assert_eq!(
        line["action"],
        json!({ "kind": "shell", "argv": ["echo $HOME | wc -c"] })
    );
}

#[test]
fn without_a_name_one_is_made_from_the_command() {
    let world = World::served();
    let name = |args: &[&str]| {
        let added = world.ctl(&[&["add", "--json", "--manual"], args].concat()).json();
        added["name"].as_str().expect("a name").to_owned()
    };
    assert_eq!(name(&["--", "/usr/bin/echo", "hi"]), "echo");
    assert_eq!(name(&["--", "echo"]), "echo-2");
    assert_eq!(name(&["--", "echo"]), "echo-3");
    assert_eq!(name(&["--shell", "tar czf /tmp/x.tgz /etc"]), "tar");
    assert_eq!(name(&["--", "./my script!"]), "my-script-");
    assert_eq!(name(&["--shell", "((1))"]), "1--");
    assert_eq!(name(&["--shell", "[ -e x ]"]), "task");
}

#[test]
fn a_coming_change_of_the_clock_is_told() {
    let world = World::served();
    let added = world.ctl(&[
        "add",
        "--name",
        "night",
        "--cron",
        "30 2 * * *",
        "--tz",
        "Europe/Berlin",
        "--",
        "true",
    ]);
    assert!(added.ok().contains("note: Clocks in Europe/Berlin"));
    let either = world
        .ctl(&["add", "--json", "--cron", "0 0 1 * MON", "--tz", "UTC", "--", "true"])
        .json();
    let warnings = texts(&either["warnings"], "");
    assert!(warnings.iter().any(|text| text.contains("either")), "{either}");
}

/// What is typed, the exit code, and what is said about it.
const REFUSED: &[(&[&str], i32, &[&str])] = &[
    (
        &["--cron", "0 25 * * *", "--", "true"],
        2,
        &["  --cron 0 25 * * *\n           ^^\n", "hint: "],
    ),
    (
        &["--cron", "0 0 30 2 *", "--", "true"],
        2,
        &["--cron 0 0 30 2 *\n", "^"],
    ),
    (&["--cron", "* * * *", "--", "true"], 2, &["--cron * * * *\n", "hint: "]),
    (&["--cron", "0 9 * * MONDAY", "--", "true"], 2, &["^^^^^^\n", "MON"]),
    (&["--cron", "0 0 0 1 1 * 2001", "--", "true"], 2, &["never fires"]),
    (
        &["--cron", "0 9 * * *", "--tz", "Europe/Berln", "--", "true"],
        2,
        &["--tz", "did you mean Europe/Berlin?"],
    ),
    (&["--every", "10x", "--", "true"], 2, &["  --every 10x\n", "^"]),
    (
        &["--cron", "@every 10x", "--", "true"],
        2,
        &["  --cron @every 10x\n", "^"],
    ),
    (
        &["--cron", "@every 10m", "--tz", "UTC", "--", "true"],
        2,
        &["need no time zone"],
    ),
    (
        &["--every", "10ms", "--", "true"],
        2,
        &["  --every 10ms\n          ^^^^\n", "at least 1s"],
    ),
    (
        &["--every", "1m", "--tz", "UTC", "--", "true"],
        2,
        &["--tz goes with --cron or --at"],
    ),
    (
        &["--every", "1m", "--dst-gap", "run", "--", "true"],
        2,
        &["--dst-gap and --dst-overlap go with --cron"],
    ),
    (
        &["--cron", "0 9 * * *", "--dst-overlap", "last", "--", "true"],
        2,
        &["--dst-overlap", "first", "second", "both"],
    ),
    (
        &[
            "--every",
            "1m",
            "--misfire",
            "skip",
            "--misfire-within",
            "2h",
            "--",
            "true",
        ],
        2,
        &["--misfire-within 2h", "--misfire once"],
    ),
    (
        &["--in", "1m", "--misfire-within", "2h", "--", "true"],
        2,
        &["run however late", "--misfire skip"],
    ),
    (
        &["--every", "1m", "--misfire-within", "10s", "--", "true"],
        2,
        &["up to ten seconds late is no misfire", "more than 10s"],
    ),
    (
        &["--every", "1m", "--misfire-within", "0s", "--", "true"],
        2,
        &["--misfire-within"],
    ),
    (
        &["--at", "2001-01-01 00:00", "--", "true"],
        2,
        &["--at 2001-01-01 00:00", "in the past", "hint: "],
    ),
    (
        &["--at", "half past nine", "--", "true"],
        2,
        &["--at half past nine", "not a time", "hint: "],
    ),
    (&["--in", "0s", "--", "true"], 2, &["--in"]),
    (
        &["--manual", "--name", "a b", "--", "true"],
        2,
        &["  --name a b\n          ^\n"],
    ),
    (&["--manual", "--name", "-a", "--", "true"], 2, &["'-a'"]),
    (
        &["--manual", "--env", "NOVALUE", "--", "true"],
        2,
        &["--env NOVALUE\n", "NAME=VALUE"],
    ),
    (
        &["--manual", "--env", "TASKD_RUN=x", "--", "true"],
        2,
        &["--env", "set by taskd"],
    ),
    (&["--manual", "--shell", "  "], 2, &["the shell line is empty"]),
    (&["--manual", "--", ""], 2, &["there is no command to run", "hint: "]),
    (&["--manual"], 2, &["--shell", "Usage"]),
    (
        &["--manual", "--shell", "true", "--", "true"],
        2,
        &["cannot be used with"],
    ),
    (&["--", "true"], 2, &["--cron", "--every", "--manual"]),
    (
        &["--manual", "--every", "1m", "--", "true"],
        2,
        &["cannot be used with"],
    ),
    (&["--crn", "* * * * *", "--", "true"], 2, &["--crn", "--cron"]),
    (&["--manual", "true"], 2, &["-- <COMMAND>"]),
];

#[test]
fn refusals_point_at_the_place_and_say_what_to_do_and_nothing_is_added() {
    let world = World::served();
    for (args, code, said) in REFUSED {
        let ran = world.ctl(&[&["add"], *args].concat());
        assert_eq!((ran.code(), ran.stdout.as_str()), (*code, ""), "{args:?}: {ran:?}");
        for part in *said {
            assert!(ran.stderr.contains(part), "{args:?}: no {part:?} in\n{}", ran.stderr);
        }
        let error = world.ctl(&[&["add", "--json"], *args].concat()).error(*code);
        assert!(
            error["message"].as_str().is_some_and(|text| !text.is_empty()),
            "{error}"
        );
    }
    assert_eq!(world.ctl(&["list", "--json"]).json(), json!([]));
}

#[test]
fn a_name_that_is_taken_is_refused_and_its_task_stays_as_it_is() {
    let world = World::served();
    world.ctl(&["add", "--name", "a", "--manual", "--", "true"]).ok();
    let error = world
        .ctl(&["add", "--json", "--name", "a", "--manual", "--", "false"])
        .error(1);
    assert_eq!(error["code"], "name-taken");
    assert!(
        error["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("taskctl edit a")),
        "{error}"
    );
    assert_eq!(
        world.ctl(&["show", "a", "--json"]).json()["action"]["argv"],
        json!(["true"])
    );
}

#[test]
fn a_definition_over_the_limit_is_refused_at_the_edge() {
    let mut world = World::new();
    std::fs::write(
        world.path("taskd.toml"),
        "[limits]\ndefinition_bytes = \"4 KiB\"\ntasks_per_owner = 2\ntasks_per_owner_root = 2\n",
    )
    .expect("a file");
    world.start();
    let add = |description: &str| world.ctl(&["add", "--json", "--manual", "--description", description, "--", "true"]);
    let error = add(&"x".repeat(4097)).error(1);
    assert_eq!(error["code"], "limit");
    assert!(
        error["message"].as_str().is_some_and(|text| text.contains("4096")),
        "{error}"
    );
    add(&"x".repeat(3000)).ok();
    add("").ok();
    let error = add("").error(1);
    assert!(
        error["message"].as_str().is_some_and(|text| text.contains("2 tasks")),
        "{error}"
    );
}

#[test]
fn without_a_daemon_it_is_told_how_to_start_one() {
    let world = World::new();
    let said = world.ctl(&["add", "--manual", "--", "true"]).refused(3);
    assert!(
        said.contains("taskctl start") && said.contains(&world.socket().display().to_string()),
        "{said}"
    );
    let error = world.ctl(&["add", "--json", "--manual", "--", "true"]).error(3);
    assert_eq!(error["code"], "no-daemon");
    // What is wrong in itself is told without one.
    world.ctl(&["add", "--cron", "61 * * * *", "--", "true"]).refused(2);
}

#[test]
fn a_local_time_that_comes_never_or_twice_is_told() {
    let world = World::served();
    let at = |name: &str, text: &str| {
        let args = [
            "add",
            "--name",
            name,
            "--at",
            text,
            "--tz",
            "Europe/Berlin",
            "--",
            "true",
        ];
        world.ctl(&args).ok()
    };
    assert!(
        at("gap", "2099-03-29T02:30").contains("Clocks in Europe/Berlin skip"),
        "the clock goes forward that night"
    );
    assert!(
        at("twice", "2099-10-25T02:30").contains("twice"),
        "the clock goes back that night"
    );
    assert!(!at("plain", "2099-10-26T02:30").contains("note"));
}

#[test]
fn a_crowd_in_the_same_minute_is_told_with_a_minute_that_is_free() {
    let world = World::served();
    let add = |name: &str| {
        let args = [
            "add",
            "--name",
            name,
            "--cron",
            "0 3 1 1 *",
            "--tz",
            "UTC",
            "--json",
            "--",
            "true",
        ];
        texts(&world.ctl(&args).json()["warnings"], "")
    };
    for n in 0..5 {
        let warnings = add(&format!("t{n}"));
        assert!(warnings.is_empty(), "{n} others are no crowd: {warnings:?}");
    }
    let crowd = ["5 other tasks are due in the same minute, 03:00. Try `1 3 1 1 *`."];
    assert_eq!(add("sixth"), crowd);
    assert_eq!(
        texts(&world.ctl(&["show", "t0", "--json"]).json()["warnings"], ""),
        crowd
    );
    let moved = world.ctl(&["edit", "sixth", "--cron", "1 3 1 1 *", "--json"]).json();
    assert!(texts(&moved["warnings"], "").is_empty(), "{moved}");
    assert!(texts(&world.ctl(&["show", "t0", "--json"]).json()["warnings"], "").is_empty());
}

#[test]
fn a_working_directory_that_is_not_there_is_refused() {
    let world = World::served();
    let file = world.path("file").display().to_string();
    std::fs::write(&file, "").unwrap();
    world.ctl(&["add", "--name", "t", "--manual", "--", "true"]).ok();
    for (cwd, problem) in [
        ("/no/such/dir", "there is no such directory"),
        (file.as_str(), "this is no directory"),
    ] {
        let added = ["add", "--name", "u", "--manual", "--cwd", cwd, "--", "true"];
        let said = world.ctl(&added).refused(2);
        assert!(said.contains(problem) && said.contains("make it first"), "{said}");
        let said = world.ctl(&["edit", "t", "--cwd", cwd]).refused(2);
        assert!(said.contains(problem), "{said}");
        let line = format!(
            r#"{{"name":"u","cwd":"{cwd}","schedule":{{"kind":"manual"}},"action":{{"kind":"exec","argv":["true"]}}}}"#
        );
        let lines = format!("{}\n{line}\n", line.replace(cwd, "/").replace("\"u\"", "\"v\""));
        let said = world.ctl_reading(&["import", "-"], &lines).refused(1);
        assert!(said.contains("line 2") && said.contains(problem), "{said}");
    }
    assert_eq!(world.ctl(&["list", "--json"]).json().as_array().map(Vec::len), Some(1));
    // A process with a /tmp of its own would not see what is there.
    world.ctl(&["edit", "t", "--cwd", "/"]).ok();
}
