//! Labels: words that tasks are grouped by, and what `label:WORD` stands for.

use serde_json::json;

use crate::harness::{World, texts};
use crate::verbs::export;

fn add(world: &World, name: &str, labels: &[&str]) {
    let labels: Vec<&str> = labels.iter().flat_map(|label| ["--label", *label]).collect();
    let rest = [&["add", "--name", name, "--manual"], labels.as_slice(), &["--", "true"]];
    world.ctl(&rest.concat()).ok();
}

fn listed(world: &World, asked: &[&str]) -> Vec<String> {
    let answer = world.ctl(&[&["list", "--json"], asked].concat()).json();
    texts(&answer, "name")
}

#[test]
fn a_label_stands_for_all_that_have_it() {
    let world = World::served();
    add(&world, "backup", &["night", "db", "db"]);
    add(&world, "dump", &["db"]);
    add(&world, "mail", &[]);
    assert_eq!(listed(&world, &["label:db"]), ["backup", "dump"]);
    assert_eq!(listed(&world, &["label:n*", "mail"]), ["backup", "mail"]);
    let shown = world.ctl(&["show", "backup", "--json"]).json();
    assert_eq!(shown["labels"], json!(["db", "night"]));
    let shown = world.ctl(&["show", "backup"]).ok();
    assert!(shown.contains("db, night"), "{shown}");
    world.ctl(&["run", "label:db"]).ok();
    world.finished("backup/1");
    world.finished("dump/1");
    world.ctl(&["pause", "label:night"]).ok();
    assert!(world.ctl(&["show", "backup", "--json"]).json()["paused"].is_object());
    let said = world.ctl(&["run", "label:web"]).refused(4);
    assert!(said.contains("no task matches label:web"), "{said}");
    world.ctl(&["remove", "label:db"]).ok();
    assert_eq!(listed(&world, &[]), ["mail"]);
}

#[test]
fn labels_are_given_and_taken_away_one_by_one() {
    let world = World::served();
    add(&world, "a", &["one", "two"]);
    world
        .ctl(&[
            "edit",
            "a",
            "--label",
            "three",
            "--unset-label",
            "one",
            "--unset-label",
            "none",
        ])
        .ok();
    let labels = || world.ctl(&["show", "a", "--json"]).json()["labels"].clone();
    assert_eq!(labels(), json!(["three", "two"]));
    world.ctl(&["edit", "a", "--description", "as it was"]).ok();
    assert_eq!(labels(), json!(["three", "two"]));
    export::is_whole(&world, &["label:two"]);
}

#[test]
fn labels_outlive_the_daemon() {
    let mut world = World::served();
    add(&world, "a", &["db"]);
    world.kill();
    world.start();
    assert_eq!(listed(&world, &["label:db"]), ["a"]);
}

#[test]
fn what_is_no_label_is_pointed_at() {
    let world = World::served();
    let add = |label: &str| world.ctl(&["add", "--manual", "--label", label, "--", "true"]);
    let said = add("a b").refused(2);
    assert!(said.contains("--label a b\n           ^"), "{said}");
    add("").refused(2);
    add(&"x".repeat(65)).refused(2);
    let many: Vec<String> = (0..33).map(|n| format!("--label=l{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let said = world
        .ctl(&[&["add", "--manual"], many.as_slice(), &["--", "true"]].concat())
        .refused(1);
    assert!(said.contains("labels of a task") && said.contains("32"), "{said}");
    let freeze = |pattern: &str| world.ctl(&["calendar", "add", "x", "--day", "2099-01-01", "--freeze", pattern]);
    let said = freeze("lable:db").refused(2);
    assert!(said.contains("--freeze lable:db\n                ^"), "{said}");
    freeze("label:").refused(2);
    freeze("").refused(2);
}
