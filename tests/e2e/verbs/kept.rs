//! `--output-max`, `--keep-runs`, `--keep-for`: what a task keeps of its runs.

use serde_json::json;

use super::export;
use crate::harness::{World, wait_for};

fn add(world: &World, name: &str, options: &[&str], line: &str) {
    let named = ["add", "--name", name, "--manual"];
    world.ctl(&[&named, options, &["--shell", line]].concat()).ok();
}

fn runs(world: &World, task: &str) -> Vec<String> {
    let listed = world.ctl(&["runs", task, "--json"]).json();
    let listed = listed.as_array().expect("an array");
    listed
        .iter()
        .map(|run| run["run"].as_str().expect("a name").to_owned())
        .collect()
}

#[test]
fn an_output_has_the_cap_of_its_task() {
    let world = World::served();
    add(&world, "small", &["--output-max", "8KiB"], "seq -f %09.0f 1 5000");
    add(&world, "other", &[], "seq -f %09.0f 1 5000");
    for name in ["small", "other"] {
        world.ctl(&["run", "--wait", name]).ok();
    }
    let shown = world.ctl(&["logs", "small"]).ok();
    assert!(
        shown.starts_with("000000001\n") && shown.ends_with("000005000\n"),
        "{shown}"
    );
    assert!(shown.contains("of output was not kept here"), "{shown}");
    assert!(shown.len() < 9 * 1024, "{} bytes", shown.len());
    assert_eq!(world.ctl(&["logs", "other"]).ok().len(), 50_000);
}

#[test]
fn a_task_keeps_as_many_runs_as_it_says_and_their_output() {
    let world = World::served();
    add(&world, "few", &["--keep-runs", "2"], "echo $TASKD_RUN");
    add(&world, "other", &[], "echo $TASKD_RUN");
    for _ in 0..2 {
        world.ctl(&["run", "--wait", "few"]).ok();
        world.ctl(&["run", "--wait", "other"]).ok();
    }
    let first = world.ctl(&["logs", "few/1", "--path"]).ok();
    world.ctl(&["run", "--wait", "few"]).ok();
    wait_for("the oldest to go", || {
        (runs(&world, "few") == ["few/3", "few/2"]).then_some(())
    });
    assert!(!std::path::Path::new(first.trim_end()).exists(), "its output is there");
    assert_eq!(world.ctl(&["logs", "few/2"]).ok(), "few/2\n");
    assert_eq!(runs(&world, "other").len(), 2);
    world.ctl(&["edit", "few", "--keep-runs", "1"]).ok();
    wait_for("a change to hold at once", || {
        (runs(&world, "few") == ["few/3"]).then_some(())
    });
}

#[test]
fn what_is_kept_is_shown_changed_and_exported() {
    let world = World::served();
    let options = ["--output-max", "1MiB", "--keep-runs", "50", "--keep-for", "30d"];
    add(&world, "a", &options, "true");
    let kept = || {
        let shown = world.ctl(&["show", "a", "--json"]).json();
        ["output_max", "keep_runs", "keep_for_ms"].map(|key| shown[key].clone())
    };
    assert_eq!(kept(), [json!(1 << 20), json!(50), json!(2_592_000_000_u64)]);
    let shown = world.ctl(&["show", "a"]).ok();
    assert!(shown.contains("50 runs, for 30 d, up to 1.0 MiB of output"), "{shown}");
    export::is_whole(&world, &[]);
    world
        .ctl(&["edit", "a", "--output-max", "", "--keep-runs", "", "--keep-for", "1d"])
        .ok();
    assert_eq!(kept(), [json!(null), json!(null), json!(86_400_000)]);
    for (wrong, says) in [
        (["--output-max", "4095"], "4 KiB to 64 GiB"),
        (["--output-max", "10MB"], "this is no unit of size"),
        (["--keep-runs", "0"], "1 to 1,000,000"),
        (["--keep-runs", "x"], "this is no number"),
        (["--keep-for", "0s"], "for 1 s to 36,500 days"),
        (["--keep-for", "7"], "7 has no unit"),
    ] {
        let said = world.ctl(&[&["edit", "a"], wrong.as_slice()].concat()).refused(2);
        assert!(said.contains(says), "{said}");
    }
}
