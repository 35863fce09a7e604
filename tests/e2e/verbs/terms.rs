//! Several schedules, `--boot`, `--jitter`, `--start`, `--end` and `--count` of `taskctl add` and `edit`.

use serde_json::{Value, json};

use crate::harness::{World, wait_for};

fn next(world: &World, name: &str, n: &str) -> Vec<String> {
    let told = world.ctl(&["next", name, "-n", n, "--json"]).json();
    let at = |entry: &Value| entry["at"].as_str().expect("an instant").to_owned();
    told.as_array().expect("an array").iter().map(at).collect()
}

fn shown(world: &World, name: &str) -> Value {
    world.ctl(&["show", name, "--json"]).json()
}

#[test]
fn several_schedules_are_one_task() {
    let world = World::served();
    let add = [
        "add",
        "--name",
        "both",
        "--tz",
        "UTC",
        "--cron",
        "0 9 1 1 *",
        "--cron",
        "0 9,10 1 1 *",
    ];
    let add = [&add[..], &["--at", "2099-01-01T09:30", "--", "true"]].concat();
    world.ctl(&add).ok();
    let times = next(&world, "both", "300");
    let in_2099: Vec<&str> = times.iter().filter_map(|at| at.strip_prefix("2099-01-01T")).collect();
    assert_eq!(
        in_2099,
        ["09:00:00Z", "09:30:00Z", "10:00:00Z"],
        "what two of them have is one"
    );
    let task = shown(&world, "both");
    assert_eq!(
        task["schedule"],
        json!({ "kind": "cron", "expr": "0 9 1 1 *", "tz": "UTC" })
    );
    assert_eq!(task["also"][1]["kind"], "at");
    assert!(
        world
            .ctl(&["show", "both"])
            .ok()
            .contains("0 9 1 1 *; 0 9,10 1 1 *; at 2099-01-01T09:30:00Z")
    );
    // What is exported is the same task.
    let exported = world.ctl(&["export", "both"]).ok();
    let copy = exported.replace("\"both\"", "\"copy\"");
    world.ctl_reading(&["import", "-"], &copy).ok();
    assert_eq!(next(&world, "copy", "300"), times);
    // A new schedule takes the place of all.
    world.ctl(&["edit", "both", "--cron", "0 8 1 1 *"]).ok();
    let task = shown(&world, "both");
    assert_eq!((&task["also"], &task["schedule"]["tz"]), (&json!([]), &json!("UTC")));
}

#[test]
fn a_window_bounds_fire_times_and_can_be_taken_away() {
    let world = World::served();
    let window = ["--start", "2099-03-01T00:00", "--end", "2099-03-03T02:30"];
    let add = ["add", "--name", "w", "--cron", "30 2 * * *", "--tz", "UTC"];
    world.ctl(&[&add[..], &window, &["--", "true"]].concat()).ok();
    let times = next(&world, "w", "9");
    assert_eq!(
        times,
        ["2099-03-01T02:30:00Z", "2099-03-02T02:30:00Z", "2099-03-03T02:30:00Z"]
    );
    assert!(
        world
            .ctl(&["show", "w"])
            .ok()
            .contains("from 2099-03-01T00:00:00Z until 2099-03-03T02:30:00Z")
    );
    world.ctl(&["edit", "w", "--start", "", "--end", ""]).ok();
    let task = shown(&world, "w");
    assert_eq!((&task["start"], &task["end"]), (&json!(null), &json!(null)));
    assert!(next(&world, "w", "1")[0] < times[0]);
    for (wrong, says) in [
        (&["--end", "2020-01-01T00:00"][..], "it is in the past"),
        (
            &["--start", "2099-02-01T00:00", "--end", "2099-01-01T00:00"],
            "it is before the start",
        ),
        (
            &["--start", "2099-01-01T03:00", "--end", "2099-01-01T04:00"],
            "has no fire time",
        ),
        (&["--start", "someday"], "--start someday"),
    ] {
        let said = world.ctl(&[&["edit", "w"], wrong].concat()).refused(2);
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn an_offset_is_stable_spread_and_told() {
    let world = World::served();
    for name in ["a", "b", "c"] {
        let add = [
            "add",
            "--name",
            name,
            "--cron",
            "0 3 * * *",
            "--tz",
            "UTC",
            "--jitter",
            "1h",
            "--",
            "true",
        ];
        let said = world.ctl(&add).ok();
        assert!(said.contains("Each fire time is moved by "), "{said}");
    }
    let all: Vec<Vec<String>> = ["a", "b", "c"].iter().map(|name| next(&world, name, "3")).collect();
    let time_of_day = |at: &String| at[11..].to_owned();
    for times in &all {
        assert!(times.iter().all(|at| at[11..13] == *"03"), "{times:?}");
        assert!(
            times.iter().all(|at| time_of_day(at) == time_of_day(&times[0])),
            "{times:?}"
        );
    }
    assert!(all[0] != all[1] && all[1] != all[2], "{all:?}");
    // Whatever it is named, it stays.
    world.ctl(&["edit", "a", "--name", "z"]).ok();
    assert_eq!(next(&world, "z", "3"), all[0]);
    world.ctl(&["edit", "z", "--jitter", "0s"]).ok();
    assert!(next(&world, "z", "1")[0].ends_with("T03:00:00Z"));
    assert_eq!(shown(&world, "z")["jitter_ms"], 0);
}

#[test]
fn after_so_many_runs_a_task_is_disabled() {
    let world = World::served();
    world
        .ctl(&["add", "--name", "few", "--every", "1s", "--count", "2", "--", "true"])
        .ok();
    world.finished("few/2");
    let task = shown(&world, "few");
    assert_eq!(
        (&task["enabled"], &task["runs"], &task["count"]),
        (&json!(false), &json!(2), &json!(2))
    );
    world.ctl(&["enable", "few"]).ok();
    world.finished("few/4");
    assert_eq!(shown(&world, "few")["enabled"], false, "it is counted anew");
    let told = wait_for("a fire time after that", || {
        let last = world.run_of("few/4")["fire_time"].as_str()?.to_owned();
        let after = world.ctl(&["why", "few", &last, "--json"]).json()[0]["after"]
            .as_str()?
            .to_owned();
        let told = world.ctl(&["why", "few", &after, "--json"]).json()[0].take();
        (told["verdict"] == "disabled").then_some(told)
    });
    assert_eq!(told["change"]["by"], "its count of 2");
    world.ctl(&["edit", "few", "--count", "0", "--enabled"]).ok();
    world.finished("few/7");
    assert_eq!(shown(&world, "few")["enabled"], true);
}

#[test]
fn a_boot_is_not_a_restart_of_the_daemon() {
    let mut world = World::served();
    let said = world.ctl(&["add", "--name", "up", "--boot", "--", "true"]).ok();
    assert!(said.contains("added up"), "{said}");
    world
        .ctl(&["add", "--name", "clock", "--every", "1s", "--", "true"])
        .ok();
    assert_eq!(shown(&world, "up")["schedule"]["kind"], "boot");
    // As cron spells it.
    world
        .ctl(&["add", "--name", "cron", "--cron", "@reboot", "--", "true"])
        .ok();
    assert_eq!(shown(&world, "cron")["schedule"]["kind"], "boot");
    world.kill();
    world.start();
    world.finished("clock/2");
    assert_eq!(
        world.ctl(&["runs", "up", "--json"]).json(),
        json!([]),
        "the machine has not booted"
    );
}

/// A daemon in the boot of this number.
fn start_in_boot(world: &mut World, boot: u32) {
    let id = world.path("boot_id");
    std::fs::write(&id, format!("00000000-0000-4000-8000-{boot:012}\n")).expect("a file");
    let covered = "/proc/sys/kernel/random/boot_id";
    let taskd = world.after(&format!("mount --bind '{}' {covered}", id.display()), &world.taskd());
    let taskd = world.after("exec unshare --mount \"$0\" \"$@\"", &taskd);
    world.spawn(taskd);
    world.wait_served();
}

#[test]
fn each_boot_of_the_machine_has_one_run() {
    if std::env::var_os("TASKD_TEST_NO_MOUNT").is_some() {
        return;
    }
    let mut world = World::new();
    start_in_boot(&mut world, 1);
    world
        .ctl(&["add", "--name", "up", "--boot", "--", "sh", "-c", "echo $TASKD_TRIGGER"])
        .ok();
    world
        .ctl(&["add", "--name", "off", "--boot", "--disabled", "--", "true"])
        .ok();
    world.kill();
    start_in_boot(&mut world, 2);
    let run = world.finished("up/1");
    assert_eq!((&run["trigger"], &run["fire_time"]), (&json!("boot"), &json!(null)));
    assert_eq!(world.ctl(&["logs", "up/1"]).ok(), "boot\n");
    world.kill();
    start_in_boot(&mut world, 2);
    world
        .ctl(&["add", "--name", "clock", "--every", "1s", "--", "true"])
        .ok();
    world.finished("clock/1");
    assert_eq!(
        world.ctl(&["runs", "up", "--json"]).json().as_array().map(Vec::len),
        Some(1)
    );
    world.kill();
    start_in_boot(&mut world, 3);
    assert_eq!(world.finished("up/2")["trigger"], "boot");
    world.ctl(&["pause", "up"]).ok();
    world.kill();
    start_in_boot(&mut world, 4);
    let span = wait_for("a boot that is skipped", || {
        world.ctl(&["show", "up", "--json"]).json()["passed"]
            .as_array()?
            .first()
            .cloned()
    });
    assert_eq!((&span["outcome"], &span["count"]), (&json!("skipped"), &json!(1)));
    let why = world.ctl(&["why", "up"]).ok();
    assert!(why.contains("Run up/2: succeeded, trigger boot"), "{why}");
    assert!(why.contains("After a boot: the task was paused by"), "{why}");
    assert_eq!(world.ctl(&["runs", "off", "--json"]).json(), json!([]));
}

#[test]
fn terms_that_say_nothing_are_refused() {
    let world = World::served();
    for (wrong, says) in [
        (&["--manual", "--jitter", "1m"][..], "no fire time"),
        (&["--manual", "--count", "3"], "no fire time"),
        (
            &["--boot", "--jitter", "1m"],
            "a boot of the machine or the end of another run is none",
        ),
        (
            &["--after", "a", "--start", "2027-01-01"],
            "the end of another run is none",
        ),
        (&["--manual", "--boot"], "cannot be used with"),
        (&["--every", "1m", "--count", "x"], "invalid value"),
        (&["--every", "1m", "--jitter", "5"], "5 has no unit"),
    ] {
        let said = world.ctl(&[&["add"], wrong, &["--", "true"]].concat()).refused(2);
        assert!(said.contains(says), "{said}");
    }
    let many: Vec<&str> = (0..17).flat_map(|_| ["--every", "1h"]).collect();
    let said = world.ctl(&[&["add"], &many[..], &["--", "true"]].concat()).refused(1);
    assert!(said.contains("schedules of a task"), "{said}");
    assert_eq!(world.ctl(&["list", "--json"]).json(), json!([]));
}
