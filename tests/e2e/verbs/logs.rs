//! `taskctl logs`: what a run wrote, and where it is. See `output` for the bytes themselves.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::harness::{World, has_keys, texts, wait_for};

/// `a` has run twice, then `b` once.
fn world() -> World {
    let world = World::served();
    let line = "for i in 1 2 3; do echo $TASKD_RUN $i; done; echo end >&2";
    for name in ["a", "b"] {
        world.ctl(&["add", "--name", name, "--manual", "--shell", line]).ok();
    }
    for name in ["a", "a", "b"] {
        world.ctl(&["run", "--wait", name]).ok();
    }
    world
}

#[test]
fn a_task_stands_for_its_newest_run_and_nothing_for_the_newest_of_all() {
    let world = world();
    let said = |run: &str| format!("{run} 1\n{run} 2\n{run} 3\nend\n");
    let sorted = |text: String| {
        // The two streams are two pipes: lines of one may come a little before those of the other.
        let (end, rest): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| *line == "end");
        format!("{}\n{}\n", rest.join("\n"), end.join("\n"))
    };
    assert_eq!(sorted(world.ctl(&["logs", "a/1"]).ok()), said("a/1"));
    assert_eq!(sorted(world.ctl(&["logs", "a"]).ok()), said("a/2"));
    assert_eq!(sorted(world.ctl(&["logs"]).ok()), said("b/1"));
    let since = world.ctl(&["logs", "a", "--since", "1h"]).ok();
    assert!(since.contains("a/1 1\n") && since.contains("a/2 3\n"), "{since}");
    assert_eq!(since.lines().count(), 8, "{since}");
}

#[test]
fn a_run_without_output_has_none_and_no_file() {
    let world = World::served();
    world.ctl(&["add", "--name", "quiet", "--manual", "--", "true"]).ok();
    let said = world.ctl(&["logs"]).refused(4);
    assert!(said.contains("nothing has run yet"), "{said}");
    world.ctl(&["logs", "quiet"]).refused(4);
    world.ctl(&["run", "--wait", "quiet"]).ok();
    assert_eq!(world.ctl(&["logs", "quiet"]).ok(), "");
    assert_eq!(world.ctl(&["logs", "-f", "quiet"]).ok(), "");
    let ran = world.ctl(&["logs", "--path", "quiet"]);
    assert!(
        ran.stderr
            .contains("quiet/1 has written nothing: the file is not there"),
        "{ran:?}"
    );
    let path = ran.ok();
    assert!(!std::path::Path::new(path.trim_end()).exists(), "{path}");
}

#[test]
fn the_last_lines_and_those_since_a_time() {
    let world = World::served();
    let line = format!("for i in 1 2 3 4; do echo $i; done; {}", world.gated_line("g", 0));
    world.ctl(&["add", "--name", "g", "--manual", "--shell", &line]).ok();
    world.run_up("g");
    assert_eq!(world.ctl(&["logs", "g", "--tail", "2"]).ok(), "4\nup\n");
    assert_eq!(world.ctl(&["logs", "g", "-n", "0"]).ok(), "");
    assert_eq!(world.ctl(&["logs", "g", "-n", "99"]).ok(), "1\n2\n3\n4\nup\n");
    world.open_gate("g");
    world.finished("g/1");
    let lines = world.ctl(&["logs", "g", "--json"]).ok();
    let last: Value = serde_json::from_str(lines.lines().last().expect("a line")).expect("JSON");
    let since = last["time"].as_str().expect("a time");
    assert_eq!(world.ctl(&["logs", "g/1", "--since", since]).ok(), "over\n");
    assert_eq!(world.ctl(&["logs", "g/1", "--since", "2096-01-01"]).ok(), "");
    world.ctl(&["logs", "g", "--tail", "x"]).refused(2);
    world.ctl(&["logs", "g", "--since", "nonsense"]).refused(2);
}

#[test]
fn timestamps_begin_each_line() {
    let world = world();
    let text = world.ctl(&["logs", "a", "--timestamps"]).ok();
    for line in text.lines() {
        let (time, rest) = line.split_once(' ').expect("a time, then the line");
        assert!(time.len() > 20 && time.contains('T'), "{line}");
        assert!(rest == "end" || rest.starts_with("a/2 "), "{line}");
    }
    assert_eq!(text.lines().count(), 4, "{text}");
}

#[test]
fn path_says_where_the_file_is_and_json_gives_its_lines() {
    let world = world();
    let path = world.ctl(&["logs", "--path", "a"]).ok();
    let path = path.trim_end();
    assert!(
        path.starts_with(world.path("state").to_str().expect("a path")),
        "{path}"
    );
    let file = std::fs::read_to_string(path).expect("the file");
    let lines = world.ctl(&["logs", "a", "--json"]).ok();
    assert_eq!(lines, file);
    for line in lines.lines() {
        has_keys(&serde_json::from_str(line).expect("JSON"), "log stream time");
    }
    assert_eq!(texts(&world.ctl(&["logs", "--path", "a", "--json"]).json(), ""), [path]);
    world.ctl(&["logs", "--path", "-f", "a"]).refused(2);
}

#[test]
fn output_that_somebody_has_removed_is_told_of() {
    let world = world();
    let path = world.ctl(&["logs", "--path", "a"]).ok();
    std::fs::remove_file(path.trim_end()).expect("it is there");
    let said = world.ctl(&["logs", "a"]).refused(1);
    let message = format!("the output of a/2 is gone: {}", path.trim_end());
    assert!(said.contains(&message), "{said}");
    assert_eq!(world.ctl(&["logs", "--json", "a/2"]).error(1)["code"], "output-gone");
    let said = world.ctl(&["logs", "--path", "a"]);
    assert!(said.stderr.contains(&message), "{}", said.stderr);
    assert_eq!(
        world.ctl(&["logs", "a/1"]).ok().lines().count(),
        4,
        "that of another is there"
    );
}

#[test]
fn what_is_not_there_is_exit_code_4_with_a_suggestion() {
    let world = world();
    world.ctl(&["add", "--name", "backup", "--manual", "--", "true"]).ok();
    let said = world.ctl(&["logs", "bakcup"]).refused(4);
    assert!(said.contains("did you mean backup?"), "{said}");
    let said = world.ctl(&["logs", "a/9"]).refused(4);
    assert!(said.contains("a/9") && said.contains("taskctl runs a"), "{said}");
    assert_eq!(world.ctl(&["logs", "--json", "a/9"]).error(4)["code"], "unknown-run");
    World::new().ctl(&["logs", "a"]).refused(3);
}

#[test]
fn the_log_of_the_daemon_is_read_by_people_and_scripts() {
    let world = world();
    world.finished("b/1");
    wait_for("the run to be in the log", || {
        world
            .ctl(&["logs", "--daemon"])
            .stdout
            .contains("run finished")
            .then_some(())
    });
    let path = world.ctl(&["logs", "--daemon", "--path"]).ok();
    assert_eq!(path.trim_end(), world.path("log/taskd.log").to_str().expect("a path"));
    let lines = world.ctl(&["logs", "--daemon", "--json"]).ok();
    for line in lines.lines() {
        has_keys(&serde_json::from_str(line).expect("JSON"), "ts level msg");
    }
    assert_eq!(world.ctl(&["logs", "--daemon", "--tail", "1"]).ok().lines().count(), 1);
    assert_eq!(world.ctl(&["logs", "--daemon", "--since", "2096-01-01"]).ok(), "");
    world.ctl(&["logs", "--daemon", "a"]).refused(2);
}

#[test]
fn the_log_of_the_daemon_can_be_followed() {
    let world = World::served();
    let mut following = world
        .taskctl(&["logs", "--daemon", "-f", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(following.stdout.take().expect("a pipe")).lines();
    lines.next().expect("a first line").expect("text");
    world.ctl(&["add", "--name", "a", "--manual", "--", "true"]).ok();
    world.ctl(&["run", "--wait", "a"]).ok();
    let seen = lines.any(|line| line.expect("text").contains("\"run finished\""));
    assert!(seen, "it ended before the run was in it");
    following.kill().expect("it goes on");
    following.wait().expect("it ends");
}
