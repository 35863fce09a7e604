//! What a command reads: `--stdin`.

use std::fs;

use serde_json::json;

use crate::harness::World;
use crate::verbs::export;

fn add(world: &World, name: &str, stdin: &str) {
    world
        .ctl(&["add", "--name", name, "--manual", "--stdin", stdin, "--", "cat"])
        .ok();
}

#[test]
fn a_command_reads_a_text_each_time_from_its_beginning() {
    let world = World::served();
    // More than a pipe holds by default on some systems, and nobody has to write it while the command does not read.
    let long = "line\n".repeat(6_000);
    add(&world, "long", &long);
    assert_eq!(world.ctl(&["run", "--wait", "long"]).ok(), long);
    assert_eq!(world.ctl(&["run", "--wait", "long"]).ok(), long);
    world.ctl(&["edit", "long", "--stdin", "@@home"]).ok();
    assert_eq!(world.ctl(&["run", "--wait", "long"]).ok(), "@home");
    assert!(world.ctl(&["show", "long"]).ok().contains("@@home"));
    export::is_whole(&world, &[]);
    world.ctl(&["edit", "long", "--stdin", ""]).ok();
    assert_eq!(world.ctl(&["run", "--wait", "long"]).ok(), "");
    assert_eq!(
        world.ctl(&["show", "long", "--json"]).json()["process"]["stdin"],
        json!(null)
    );
    let most = "x".repeat(32 << 10);
    add(&world, "most", &most);
    let more = format!("{most}x");
    let said = world
        .ctl(&["add", "--name", "more", "--manual", "--stdin", &more, "--", "cat"])
        .refused(1);
    assert!(said.contains("32769 is over the limit of 32768"), "{said}");
}

#[test]
fn a_command_reads_the_file_as_it_is_then() {
    let world = World::served();
    let path = world.path("in");
    let typed = format!("@{}", path.display());
    add(&world, "f", &typed);
    let ran = world.ctl(&["run", "--wait", "f"]);
    let says = format!("spawn-failed: stdin {}: No such file", path.display());
    assert!(
        ran.stderr.contains(&says) && ran.stderr.contains("hint: make the file"),
        "{ran:?}"
    );
    fs::write(&path, "first").expect("room");
    assert_eq!(world.ctl(&["run", "--wait", "f"]).ok(), "first");
    fs::write(&path, "second").expect("room");
    assert_eq!(world.ctl(&["run", "--wait", "f"]).ok(), "second");
    let directory = format!("@{}", world.path("").display());
    world.ctl(&["edit", "f", "--stdin", &directory]).ok();
    let ran = world.ctl(&["run", "--wait", "f"]);
    assert!(ran.stderr.contains("Is a directory"), "{ran:?}");
    let said = world.ctl(&["edit", "f", "--stdin", "@"]).refused(2);
    assert!(said.contains("@@ for a text"), "{said}");
}

#[test]
fn a_named_pipe_that_nobody_writes_to_holds_up_nothing() {
    let world = World::served();
    let pipe = world.path("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a file system");
    add(&world, "p", &format!("@{}", pipe.display()));
    assert_eq!(world.ctl(&["run", "--wait", "p"]).ok(), "");
}
