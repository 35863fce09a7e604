//! A task that is due each second, and what must hold of it whatever is done to the daemon meanwhile.

use serde_json::{Value, json};

use crate::harness::{World, wait_for};

/// Has a task fire each second, whose runs end with this shell text, while this is done to the world four times. Each
/// firing must have one run that succeeds, and none may be passed over.
pub fn every_second_fires_once(world: &mut World, work: &str, mut disturb: impl FnMut(&mut World)) {
    let stamps = world.path("stamps");
    let line = format!("echo $TASKD_FIRE_TIME >>{}{work}", stamps.display());
    let schedule = ["--every", "1s", "--misfire", "all", "--shell", &line];
    world.ctl(&[&["add", "--name", "tick"], &schedule[..]].concat()).ok();
    let read = || std::fs::read_to_string(&stamps).unwrap_or_default();
    let fires_again = || {
        let seen = read().lines().count();
        wait_for("another firing", || (read().lines().count() > seen).then_some(()));
    };
    for _ in 0..4 {
        fires_again();
        disturb(world);
    }
    fires_again();
    world.ctl(&["disable", "tick"]).ok();
    wait_for("all runs to end", || {
        (world.ctl(&["status", "--json"]).json()["running"] == 0).then_some(())
    });
    let text = read();
    let mut once: Vec<&str> = text.lines().collect();
    let all = once.len();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), all, "a firing ran twice: {text}");
    let passed = world.ctl(&["show", "tick", "--json"]).json()["passed"].take();
    assert_eq!(passed, json!([]), "a firing was passed over");
    let ended = world.ctl(&["runs", "tick", "--limit", "0", "--json"]).json();
    let ended = ended.as_array().expect("runs");
    assert_eq!(ended.len(), all, "each that ran is recorded");
    let all_well = ended.iter().all(|run: &Value| run["outcome"] == "succeeded");
    assert!(all_well, "{ended:?}");
}
