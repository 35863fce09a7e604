//! `taskctl show`: all there is to know of a task.

use serde_json::{Value, json};

use crate::harness::{World, has_keys, is_instant, texts};

fn world() -> World {
    let world = World::served();
    let mut args = vec!["add", "--name", "backup", "--cron", "30 2 * * *", "--tz", "Asia/Tokyo"];
    args.extend([
        "--cwd",
        "/tmp",
        "--env",
        "LEVEL=9",
        "--description",
        "a note",
        "--",
        "tar",
        "czf",
        "a b",
    ]);
    world.ctl(&args).ok();
    world
        .ctl(&["add", "--name", "bare", "--manual", "--shell", "exit 4"])
        .ok();
    world
}

#[test]
fn one_name_gives_an_object_with_all_of_list_and_more() {
    let world = world();
    let task = world.ctl(&["show", "backup", "--json"]).json();
    has_keys(&task, "name id owner enabled schedule action next last running");
    has_keys(
        &task,
        "description cwd env created_at changed_at upcoming mark runs passed warnings",
    );
    assert_eq!(task["cwd"], "/tmp");
    assert_eq!(task["env"], json!([{ "name": "LEVEL", "value": "9" }]));
    assert_eq!(task["upcoming"].as_array().map(Vec::len), Some(3));
    is_instant(&task["upcoming"]);
    is_instant(&task["created_at"]);
    assert_eq!(task["upcoming"][0], task["next"]);
    let bare = world.ctl(&["show", "bare", "--json"]).json();
    has_keys(&bare, "cwd description next last mark");
    assert_eq!((&bare["cwd"], &bare["description"]), (&Value::Null, &Value::Null));
    assert_eq!((&bare["runs"], &bare["passed"]), (&json!(0), &json!([])));
}

#[test]
fn several_names_or_a_pattern_give_an_array_in_their_order() {
    let world = world();
    let shown = |names: &[&str]| texts(&world.ctl(&[&["show", "--json"], names].concat()).json(), "name");
    assert_eq!(shown(&["bare", "backup"]), ["bare", "backup"]);
    assert_eq!(shown(&["ba*"]), ["backup", "bare"]);
    assert_eq!(shown(&["bare", "b*", "bare"]), ["bare", "backup"]);
}

#[test]
fn people_read_every_field() {
    let world = world();
    assert_eq!(world.ctl(&["run", "--wait", "bare"]).code(), 4);
    let text = world.ctl(&["show", "backup"]).ok();
    for part in [
        "backup",
        "a note",
        "30 2 * * *",
        "Asia/Tokyo",
        "tar czf 'a b'",
        "/tmp",
        "LEVEL=9",
        "next",
        "in ",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    let text = world.ctl(&["show", "bare", "backup"]).ok();
    assert!(text.contains("bare/1 failed"), "{text}");
    assert!(text.contains("\n\ntask "), "the two are not set apart: {text}");
}

#[test]
fn what_is_not_there_is_exit_code_4_with_a_suggestion() {
    let world = world();
    let said = world.ctl(&["show", "backpu"]).refused(4);
    assert!(said.contains("did you mean backup?"), "{said}");
    assert_eq!(world.ctl(&["show", "zzz", "--json"]).error(4)["code"], "unknown-task");
    world.ctl(&["show"]).refused(2);
}
