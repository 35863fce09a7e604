//! Promise: what one request may ask has a limit, and past it the answer is a refusal that has changed nothing.

use crate::harness::World;

#[test]
fn a_request_has_a_limit_of_names_and_of_patterns() {
    let world = World::served();
    world.ctl(&["add", "--name", "a", "--manual", "--", "true"]).ok();
    let names = |n: usize, name: &'static str| {
        let mut args = vec!["list"];
        args.extend(std::iter::repeat_n(name, n));
        world.ctl(&args)
    };
    names(10_000, "a").ok();
    assert!(names(10_001, "a").refused(1).contains("names"));
    names(16, "a*").ok();
    assert!(names(17, "a*").refused(1).contains("patterns"));
}

#[test]
fn a_name_has_a_limit_wherever_it_is_asked_for() {
    let world = World::served();
    let long = "x".repeat(257);
    for line in [
        "show",
        "list",
        "logs",
        "runs",
        "remove",
        "run",
        "cancel",
        "edit --manual",
    ] {
        let mut args: Vec<&str> = line.split(' ').collect();
        args.insert(1, &long);
        let said = world.ctl(&args).stderr;
        assert!(said.contains("bytes of a name"), "{line}: {said}");
    }
}

#[test]
fn more_tasks_than_one_answer_can_name_are_refused_before_anything_is_done() {
    let world = World::new();
    std::fs::write(world.path("taskd.toml"), "[limits]\ntasks_per_owner = 20_000\n").expect("a file");
    let mut world = world;
    world.start();
    let mut file = String::new();
    for n in 0..10_001 {
        file += &format!(
            "{{\"name\":\"t{n:05}\",\"schedule\":{{\"kind\":\"manual\"}},\"action\":{{\"kind\":\"shell\",\"line\":\"true\"}}}}\n"
        );
    }
    world.ctl_reading(&["import", "-"], &file).ok();
    for verb in ["remove", "disable", "run"] {
        assert!(world.ctl(&[verb, "t*"]).refused(1).contains("tasks at once"), "{verb}");
    }
    assert_eq!(world.ctl(&["status", "--json"]).json()["tasks"], 10_001);
    let removed = world.ctl(&["remove", "t0*", "--json"]).json();
    assert_eq!(removed.as_array().map(Vec::len), Some(10_000));
}
