//! Tasks that start only where the last run of others succeeded: `--require`.

use serde_json::{Value, json};

use crate::harness::{World, has_keys, is_instant, wait_for};
use crate::verbs::export;

fn add(world: &World, name: &str, options: &[&str], line: &str) {
    let add = [&["add", "--name", name], options, &["--shell", line]].concat();
    world.ctl(&add).ok();
}

/// Adds a task that is run by hand, and succeeds unless a file of this name is there.
fn add_breakable(world: &World, name: &str) {
    let file = world.path(&format!("{name}.broken"));
    add(world, name, &["--manual"], &format!("test ! -e {}", file.display()));
}

fn break_it(world: &World, name: &str) {
    std::fs::write(world.path(&format!("{name}.broken")), "").expect("the directory is there");
}

/// Waits until a fire time of a task was skipped for a reason that begins so, and gives that back whole.
fn skipped(world: &World, name: &str, reason: &str) -> String {
    wait_for(&format!("{name} to be skipped: {reason}"), || {
        let shown = world.ctl(&["show", name, "--json"]).json();
        let newest = &shown["passed"][0];
        let why = newest["reason"].as_str()?;
        (newest["outcome"] == "skipped" && why.starts_with(reason)).then(|| why.to_owned())
    })
}

fn runs(world: &World, name: &str) -> u64 {
    let shown = world.ctl(&["show", name, "--json"]).json();
    shown["runs"].as_u64().expect("a number")
}

#[test]
fn what_falls_due_is_skipped_until_what_is_required_has_succeeded() {
    let mut world = World::served();
    add_breakable(&world, "a");
    add(&world, "b", &["--every", "1s", "--require", "a"], "true");
    assert_eq!(skipped(&world, "b", "requires a: "), "requires a: it has not run");
    assert_eq!(runs(&world, "b"), 0, "a skip is no run");
    let why = world.ctl(&["why", "b"]).ok();
    assert!(why.contains("skipped\n  Requires a: it has not run.\n"), "{why}");
    assert!(
        why.contains("will be skipped as things are\n  It requires a: it has not run.\n"),
        "{why}"
    );
    world.ctl(&["run", "--wait", "a"]).ok();
    assert_eq!(world.finished("b/1")["trigger"], "schedule");
    break_it(&world, "a");
    world.ctl(&["run", "--wait", "a"]).code();
    skipped(&world, "b", "requires a: its last run failed at 20");
    let ran = runs(&world, "b");
    // The next life knows it.
    world.kill();
    world.start();
    let before = world.ctl(&["show", "b", "--json"]).json()["mark"].clone();
    wait_for("a fire time to pass", || {
        let shown = world.ctl(&["show", "b", "--json"]).json();
        (shown["mark"].as_str()? > before.as_str()?).then_some(())
    });
    skipped(&world, "b", "requires a: its last run failed at 20");
    assert_eq!(runs(&world, "b"), ran);
    // Who asks for a run gets one.
    world.ctl(&["run", "--wait", "b"]).ok();
}

#[test]
fn a_success_that_is_too_old_counts_no_more() {
    let world = World::served();
    add(&world, "a", &["--manual"], "true");
    add(&world, "b", &["--every", "1s", "--require", "a:2s"], "true");
    world.ctl(&["run", "--wait", "a"]).ok();
    world.finished("b/1");
    let reason = skipped(&world, "b", "requires a within 2s: its last run succeeded at ");
    assert!(reason.ends_with(", longer ago than that"), "{reason}");
}

#[test]
fn what_comes_after_another_may_require_a_third() {
    let world = World::served();
    add(&world, "a", &["--manual"], "true");
    add(&world, "c", &["--manual"], "true");
    add(&world, "b", &["--after", "c", "--require", "a"], "true");
    world.ctl(&["run", "c"]).ok();
    assert_eq!(
        skipped(&world, "b", "after c/1: "),
        "after c/1: requires a: it has not run"
    );
    let why = world.ctl(&["why", "b"]).ok();
    assert!(why.contains("After c/1: requires a: it has not run.\n"), "{why}");
    world.ctl(&["run", "--wait", "a"]).ok();
    world.ctl(&["run", "c"]).ok();
    assert_eq!(world.finished("b/1")["triggered_by"], "c/2");
}

#[test]
fn what_cannot_be_required_is_refused() {
    let world = World::served();
    add(&world, "a", &["--manual"], "true");
    add(&world, "b", &["--after", "a"], "true");
    let refused = |options: &[&str]| {
        let add = [&["add", "--name", "d"], options, &["--", "true"]].concat();
        world.ctl(&add).refused(2)
    };
    let said = refused(&["--every", "1h", "--require", "gone"]);
    assert!(
        said.contains("--require gone: there is no task gone") && said.contains("taskctl list"),
        "{said}"
    );
    let said = refused(&["--every", "1h", "--require", "d:1h"]);
    assert!(
        said.contains("--require: a task would depend on itself: d -> d"),
        "{said}"
    );
    let said = refused(&["--every", "1h", "--require", "a,b,a:2h"]);
    assert!(said.contains("a is named twice"), "{said}");
    let said = refused(&["--manual", "--require", "a"]);
    assert!(
        said.contains("only run when asked for") && said.contains("give it a schedule"),
        "{said}"
    );
    let said = refused(&["--every", "1h", "--require", "a:2x"]);
    assert!(said.contains("  --require a:2x\n"), "{said}");
    assert!(said.contains("^"), "{said}");
    let said = refused(&["--every", "1h", "--require", "a b"]);
    assert!(said.contains("  --require a b\n             ^\n"), "{said}");
    // Along what others come after and what they require.
    add(&world, "c", &["--every", "1h", "--require", "b"], "true");
    let edit = ["edit", "a", "--every", "1h", "--require", "c:1d"];
    let said = world.ctl(&edit).refused(2);
    assert!(
        said.contains("a task would depend on itself: a -> b -> c -> a"),
        "{said}"
    );
    let removed = world.ctl(&["remove", "b", "--json"]).error(1);
    assert_eq!(
        (&removed["code"], &removed["message"]),
        (&json!("still-named"), &json!("c comes after b or requires it"))
    );
    world.ctl(&["edit", "b", "--name", "other"]).refused(1);
    world.ctl(&["remove", "b", "c"]).ok();
}

#[test]
fn it_is_shown_changed_drawn_and_exported() {
    let world = World::served();
    add(&world, "a", &["--manual"], "true");
    add(&world, "b", &["--manual"], "true");
    world.ctl(&["run", "--wait", "b"]).ok();
    let options = ["--every", "1h", "--require", "a", "--require", "b:1d2h"];
    let add = [&["add", "--name", "z"], &options[..], &["--", "true"]].concat();
    let added = world.ctl(&add).ok();
    let remark = "As it is now, what falls due is skipped: it requires a: it has not run.\n";
    assert!(added.contains(remark) && !added.contains("requires b"), "{added}");
    let shown = world.ctl(&["show", "z"]).ok();
    assert!(
        shown.contains("requires     a: has not run, does not hold\n"),
        "{shown}"
    );
    assert!(shown.contains("requires     b within 1d2h: succeeded "), "{shown}");
    let detail = world.ctl(&["show", "z", "--json"]).json();
    let requires = detail["requires"].as_array().expect("a list");
    requires
        .iter()
        .for_each(|of| has_keys(of, "task within_ms outcome ended_at holds reason"));
    let holds: Vec<Value> = requires
        .iter()
        .map(|of| json!([of["task"], of["within_ms"], of["holds"]]))
        .collect();
    assert_eq!(holds, [json!(["a", null, false]), json!(["b", 93_600_000, true])]);
    is_instant(&requires[1]["ended_at"]);
    assert_eq!(world.ctl(&["show", "b", "--json"]).json()["required_by"], json!(["z"]));
    assert!(world.ctl(&["show", "b"]).ok().contains("required by  z\n"));
    let drawn = world.ctl(&["graph"]).ok();
    assert!(
        drawn.contains("└┈ z (requires a [does not hold], it within 1d2h)  never run")
            || drawn.contains("└┈ z (requires it [does not hold], b within 1d2h)  never run"),
        "{drawn}"
    );
    let dot = world.ctl(&["graph", "a", "--dot"]).ok();
    assert!(
        dot.contains("  \"a\" -> \"z\" [label=\"requires\", style=dotted];\n"),
        "{dot}"
    );
    let graph = world.ctl(&["graph", "a", "--json"]).json();
    assert_eq!(graph["tasks"].as_array().map(Vec::len), Some(3), "{graph}");
    // A task that is imported before what it requires is one with it.
    let exported = world.ctl(&["export"]).ok();
    let mut lines: Vec<&str> = exported.lines().collect();
    lines.reverse();
    let other = World::served();
    other.ctl_reading(&["import", "-"], &lines.join("\n")).ok();
    assert_eq!(other.ctl(&["export"]).ok(), exported);
    export::is_whole(&world, &[]);
    let gone = other.ctl_reading(
        &["import", "-"],
        &lines[0].replace("\"z\"", "\"y\"").replace("\"a\"", "\"x\""),
    );
    let said = gone.refused(1);
    assert!(said.contains("line 1: require x: there is no task x"), "{said}");
    // What else is changed leaves it, and so does another schedule.
    let requires = || {
        world.ctl(&["show", "z", "--json"]).json()["requires"]
            .as_array()
            .map(Vec::len)
    };
    world.ctl(&["edit", "z", "--cron", "@daily", "--timeout", "1m"]).ok();
    assert_eq!(requires(), Some(2));
    let said = world.ctl(&["edit", "z", "--manual"]).refused(2);
    assert!(said.contains("--require"), "{said}");
    world.ctl(&["edit", "z", "--require", "a:1h"]).ok();
    assert_eq!(requires(), Some(1));
    world.ctl(&["edit", "z", "--require", ""]).ok();
    assert_eq!(requires(), Some(0));
    world.ctl(&["remove", "a"]).ok();
}
