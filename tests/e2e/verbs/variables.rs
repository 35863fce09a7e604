//! The variables of runs: `--env-file`, `--clear-env`, `TASKD_PREVIOUS_OUTCOME`.

use std::fs;

use serde_json::json;

use crate::harness::World;
use crate::verbs::export;

fn add(world: &World, name: &str, options: &[&str], line: &str) {
    world
        .ctl(&[&["add", "--name", name, "--manual"], options, &["--shell", line]].concat())
        .ok();
}

fn file(world: &World, name: &str, text: &str) -> String {
    let path = world.path(name);
    fs::write(&path, text).expect("room");
    path.to_str().expect("text").to_owned()
}

#[test]
fn a_file_of_variables_is_read_at_each_start() {
    let world = World::served();
    let first = file(&world, "first.env", "A=first\nB=first\nLANG=first\n");
    let second = file(&world, "second.env", "# later\nB='two\nlines'\nC=second");
    let options = ["--env-file", &first, "--env-file", &second, "--env", "C=own"];
    add(&world, "a", &options, "printf '%s,' \"$A\" \"$B\" \"$C\" \"$LANG\"");
    assert_eq!(world.ctl(&["run", "--wait", "a"]).ok(), "first,two\nlines,own,first,");
    file(&world, "first.env", "A=changed");
    assert!(world.ctl(&["run", "--wait", "a"]).ok().starts_with("changed,two\n"));
    export::is_whole(&world, &[]);
    let shown = world.ctl(&["show", "a", "--json"]).json();
    assert_eq!(shown["process"]["env_files"], json!([first, second]));
    assert!(world.ctl(&["show", "a"]).ok().contains(&second));
    world.ctl(&["edit", "a", "--env-file", ""]).ok();
    assert_eq!(
        world.ctl(&["show", "a", "--json"]).json()["process"]["env_files"],
        json!([])
    );
}

#[test]
fn a_file_that_cannot_be_read_is_refused_and_later_fails_the_start() {
    let world = World::served();
    let good = file(&world, "good.env", "A=1");
    let wrong = file(&world, "wrong.env", "A=1\nhunter2hunter2");
    let absent = world.path("absent.env").display().to_string();
    let directory = world.path("").display().to_string();
    for (path, says) in [
        (&absent, "No such file"),
        (&directory, "no regular file"),
        (&wrong, "line 2 has no ="),
    ] {
        let options = ["add", "--name", "b", "--manual", "--env-file", path, "--", "true"];
        let said = world.ctl(&options).refused(2);
        assert!(
            said.contains(says) && said.contains(path.as_str()) && said.contains("hint: "),
            "{said}"
        );
        let said = world.ctl(&["edit", "b", "--env-file", path]).refused(4);
        assert!(said.contains("no task b"), "{said}");
    }
    add(
        &world,
        "b",
        &["--env-file", &good, "--env-file", &format!("-{absent}")],
        "true",
    );
    world.ctl(&["run", "--wait", "b"]).ok();
    fs::copy(&wrong, &good).expect("room");
    let ran = world.ctl(&["run", "--wait", "b"]);
    assert_eq!(ran.code(), 127);
    let says = format!("spawn-failed: env-file {good}, line 2 has no =");
    assert!(
        ran.stderr.contains(&says) && ran.stderr.contains("hint: mend the file"),
        "{ran:?}"
    );
    fs::remove_file(&good).expect("it is there");
    let ran = world.ctl(&["run", "--wait", "b"]);
    assert!(
        ran.stderr.contains(&format!("env-file {good}: No such file")),
        "{ran:?}"
    );
    for log in ["log/taskd.log", "taskd.err"] {
        let text = fs::read_to_string(world.path(log)).expect("a log");
        assert!(!text.contains("hunter2"), "{log}");
    }
}

#[test]
fn a_cleared_environment_has_nothing_of_the_runner() {
    let world = World::served();
    let own = file(&world, "own.env", "FROM_FILE=1");
    let options = ["--clear-env", "--env", "OWN=1", "--env-file", &own];
    world
        .ctl(&[&["add", "--name", "c", "--manual"], options.as_slice(), &["--", "env"]].concat())
        .ok();
    let out = world.ctl(&["run", "--wait", "c"]).ok();
    let mut names: Vec<&str> = out
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .collect();
    names.sort_unstable();
    let expected = [
        "FROM_FILE",
        "OWN",
        "TASKD_ATTEMPT",
        "TASKD_RUN",
        "TASKD_RUNNER",
        "TASKD_TASK",
        "TASKD_TRIGGER",
    ];
    assert_eq!(names, [expected.as_slice(), &["TRACEPARENT"]].concat());
    assert_eq!(world.ctl(&["show", "c", "--json"]).json()["process"]["clear_env"], true);
    world.ctl(&["edit", "c", "--clear-env", "false"]).ok();
    assert!(world.ctl(&["run", "--wait", "c"]).ok().contains("\nHOME="));
}

#[test]
fn a_run_knows_how_the_one_before_it_ended() {
    let mut world = World::served();
    let line = "echo ${TASKD_PREVIOUS_OUTCOME-none}; test -n \"$TASKD_PREVIOUS_OUTCOME\"";
    add(&world, "d", &["--retries", "1", "--backoff", "1ms"], line);
    let first = world.ctl(&["run", "--wait", "d"]);
    assert_eq!(
        (first.code(), first.stdout.as_str()),
        (1, "none\nnone\n"),
        "an attempt is no run"
    );
    world.kill();
    world.start();
    let told = |world: &World| world.ctl(&["run", "--wait", "d"]).ok();
    assert_eq!(told(&world), "failed\n");
    assert_eq!(told(&world), "succeeded\n");
}
