//! Promise: zones are those of the tz database as it is now, and a task whose zone is gone never runs by another.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{World, wait_for};

/// Puts a zone in the place of another, as a package manager does: beside it, and renamed over it.
fn install(world: &World, zone: &str) {
    let dir = world.path("zoneinfo/Test");
    std::fs::copy(Path::new("/usr/share/zoneinfo").join(zone), dir.join("Here.new")).expect("tzdata is there");
    std::fs::rename(dir.join("Here.new"), dir.join("Here")).expect("the same directory");
}

fn task(world: &World) -> Value {
    world.ctl(&["show", "daily", "--json"]).json()
}

#[test]
fn a_zone_that_changes_counts_at_once_and_one_that_is_gone_holds_its_tasks() {
    let mut world = World::new();
    std::fs::create_dir_all(world.path("zoneinfo/Test")).expect("a directory");
    install(&world, "Asia/Tokyo");
    let mut taskd = world.taskd();
    taskd.env("TZDIR", world.path("zoneinfo"));
    world.spawn(taskd);
    world.wait_served();
    world
        .ctl(&[
            "add",
            "--name",
            "daily",
            "--cron",
            "0 12 * * *",
            "--tz",
            "Test/Here",
            "--",
            "true",
        ])
        .ok();
    let hour = |task: &Value| task["next"].as_str().map(|at| at[11..16].to_owned());
    assert_eq!(hour(&task(&world)).as_deref(), Some("03:00"));
    install(&world, "Asia/Kolkata");
    wait_for("the other rules to count", || {
        (hour(&task(&world)).as_deref() == Some("06:30")).then_some(())
    });
    std::fs::remove_file(world.path("zoneinfo/Test/Here")).expect("it is there");
    let held = wait_for("the task to be held", || {
        let task = task(&world);
        task["held"].as_str().is_some().then_some(task)
    });
    assert_eq!(held["next"], json!(null), "it would run in UTC: {held}");
    let why = world.ctl(&["why", "daily", "2099-01-01T12:00Z", "--json"]).json()[0]["verdict"].take();
    assert_eq!(why, "held");
    install(&world, "Asia/Tokyo");
    wait_for("it to be there again", || {
        (hour(&task(&world)).as_deref() == Some("03:00")).then_some(())
    });
    let log = world.ctl(&["logs", "--daemon"]).ok();
    assert!(log.contains("the tz database has changed"), "{log}");
}
