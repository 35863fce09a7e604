//! `taskctl backfill` and `--misfire all`: fire times of the past, run one after the other.

use serde_json::{Value, json};

use crate::harness::{World, has_keys, instant, now, wait_for};

fn runs(world: &World, name: &str) -> Vec<Value> {
    let runs = world.ctl(&["runs", name, "--json"]).json();
    let mut runs = runs.as_array().expect("an array").clone();
    runs.reverse();
    runs
}

#[test]
fn each_fire_time_of_the_span_has_its_run_in_order() {
    let world = World::served();
    let line = "echo $TASKD_TRIGGER $TASKD_FIRE_TIME";
    world
        .ctl(&[
            "add",
            "--name",
            "daily",
            "--cron",
            "0 3 * * *",
            "--tz",
            "UTC",
            "--shell",
            line,
        ])
        .ok();
    let span = ["--from", "2026-03-01T00:00Z", "--to", "2026-03-05T03:00Z"];
    let told = world
        .ctl(&[&["backfill", "daily", "--dry-run", "--json"], &span[..]].concat())
        .json();
    let days: Vec<String> = (1..=5).map(|day| format!("2026-03-0{day}T03:00:00Z")).collect();
    let at = |entry: &Value| entry["at"].as_str().map(str::to_owned);
    let told_days: Vec<_> = told.as_array().expect("an array").iter().filter_map(at).collect();
    assert_eq!(told_days, days, "both ends belong to it");
    assert!(runs(&world, "daily").is_empty(), "it was only asked about");
    let before = world.ctl(&["show", "daily", "--json"]).json()["mark"].take();
    let created = world
        .ctl(&[&["backfill", "daily", "--json"], &span[..]].concat())
        .json();
    has_keys(&created[0], "at run");
    assert_eq!(created[4]["run"], "daily/5");
    for (n, day) in (1..).zip(&days) {
        let run = world.finished(&format!("daily/{n}"));
        assert_eq!((&run["trigger"], &run["fire_time"]), (&json!("backfill"), &json!(day)));
        let said = world.ctl(&["logs", &format!("daily/{n}")]).ok();
        assert_eq!(said.split_whitespace().next(), Some("backfill"));
        assert!(said.contains(&day[..19]), "{said}");
    }
    let runs = runs(&world, "daily");
    for pair in runs.windows(2) {
        let time = |run: &Value, key: &str| instant(&run[key]);
        assert!(
            time(&pair[0], "finished_at") <= time(&pair[1], "started_at"),
            "{pair:?}"
        );
    }
    assert_eq!(
        world.ctl(&["show", "daily", "--json"]).json()["mark"],
        before,
        "nothing is forgotten for that"
    );
}

#[test]
fn what_waits_is_seen_and_cancelled_and_lets_live_firings_pass() {
    let world = World::served();
    let line = world.gated_line("tick", 0);
    world
        .ctl(&["add", "--name", "tick", "--every", "1h", "--shell", &line])
        .ok();
    world
        .ctl(&[
            "backfill",
            "tick",
            "--from",
            "2026-03-01T00:00Z",
            "--to",
            "2026-03-01T05:00Z",
        ])
        .ok();
    wait_for("the first of them to run", || {
        (world.run_of("tick/1")["state"] == "running").then_some(())
    });
    let states: Vec<Value> = runs(&world, "tick").iter().map(|run| run["state"].clone()).collect();
    assert!(
        states.len() >= 5 && states[1..].iter().all(|state| state == "waiting"),
        "{states:?}"
    );
    // A live firing waits for the one in progress, and goes before the others.
    world.ctl(&["edit", "tick", "--every", "1s"]).ok();
    let live = wait_for("a live firing", || {
        runs(&world, "tick")
            .into_iter()
            .find(|run| run["trigger"] == "schedule")
    });
    assert_eq!(live["state"], "waiting");
    world.ctl(&["edit", "tick", "--manual"]).ok();
    world.open_gate("tick");
    let live = world.finished(live["run"].as_str().expect("a name"));
    let second = world.finished("tick/2");
    assert!(
        instant(&live["started_at"]) <= instant(&second["started_at"]),
        "{live} after {second}"
    );
}

#[test]
fn a_task_stands_for_all_its_runs_when_they_are_cancelled() {
    let world = World::served();
    let line = world.gated_line("slow", 0);
    world
        .ctl(&["add", "--name", "slow", "--every", "1h", "--shell", &line])
        .ok();
    world
        .ctl(&[
            "backfill",
            "slow",
            "--from",
            "2026-03-01T00:00Z",
            "--to",
            "2026-03-01T05:00Z",
        ])
        .ok();
    world.ctl(&["cancel", "slow"]).ok();
    for run in runs(&world, "slow") {
        let run = world.finished(run["run"].as_str().expect("a name"));
        assert_eq!(run["outcome"], "cancelled", "{run}");
    }
}

#[test]
fn all_that_were_missed_are_run_and_survive_a_restart() {
    let mut world = World::served();
    let line = world.gated_line("tick", 0);
    world
        .ctl(&[
            "add",
            "--name",
            "tick",
            "--every",
            "2s",
            "--misfire",
            "all",
            "--shell",
            &line,
        ])
        .ok();
    assert!(world.ctl(&["show", "tick"]).ok().contains("all are run, in order"));
    wait_for("the first", || {
        (runs(&world, "tick").first()?["state"] == "running").then_some(())
    });
    world.kill();
    let since = now();
    wait_for("fourteen seconds to be over", || {
        (since.elapsed().as_secs() >= 14).then_some(())
    });
    world.start();
    let waiting = wait_for("runs that wait", || {
        let waiting: Vec<Value> = runs(&world, "tick")
            .into_iter()
            .filter(|run| run["trigger"] == "catch-up")
            .collect();
        (waiting.len() >= 4).then_some(waiting)
    });
    world.ctl(&["edit", "tick", "--manual"]).ok();
    world.kill();
    world.start();
    world.open_gate("tick");
    let mut before = String::new();
    for run in waiting {
        let run = world.finished(run["run"].as_str().expect("a name"));
        assert_eq!(run["outcome"], "succeeded", "{run}");
        let fire_time = run["fire_time"].as_str().expect("it has one").to_owned();
        assert!(before < fire_time, "{run} is out of order");
        before = fire_time;
    }
}

#[test]
fn a_span_is_right_and_within_bounds() {
    let world = World::served();
    world
        .ctl(&["add", "--name", "minute", "--cron", "* * * * *", "--", "true"])
        .ok();
    let said = world
        .ctl(&["backfill", "minute", "--from", "3h", "--to", "1h"])
        .refused(1);
    assert!(said.contains("there is room for, which is 100"), "{said}");
    let said = world
        .ctl(&["backfill", "minute", "--from", "1h", "--to", "3h"])
        .refused(2);
    assert!(said.contains("before the beginning"), "{said}");
    world.ctl(&["backfill", "minute", "--from", "1h"]).refused(2);
    world
        .ctl(&["backfill", "minut", "--from", "1h", "--to", "0s"])
        .refused(4);
    world.ctl(&["add", "--name", "once", "--manual", "--", "true"]).ok();
    let said = world.ctl(&["backfill", "once", "--from", "1m", "--to", "0s"]).ok();
    assert_eq!(said, "once has no fire time in that span\n");
    assert!(runs(&world, "minute").is_empty());
}
