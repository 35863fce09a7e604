//! Retries: `--retries`, `--backoff`, `--retry-on` and `--success-codes`.

use serde_json::{Value, json};

use crate::harness::{World, instant, wait_for};
use crate::verbs::export;

fn add(world: &World, name: &str, retry: &[&str], line: &str) {
    world
        .ctl(&[&["add", "--name", name, "--manual"], retry, &["--shell", line]].concat())
        .ok();
}

#[test]
fn attempts_follow_until_one_succeeds_and_each_knows_its_number() {
    let world = World::served();
    let line = "echo attempt $TASKD_ATTEMPT; test $TASKD_ATTEMPT = 3";
    add(&world, "third", &["--retries", "5", "--backoff", "10ms..20ms"], line);
    let ran = world.ctl(&["run", "--wait", "third"]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    assert_eq!(ran.stdout, "attempt 1\nattempt 2\nattempt 3\n");
    let run = world.run_of("third/1");
    assert_eq!(
        (&run["outcome"], &run["attempts"], &run["retry_at"]),
        (&json!("succeeded"), &json!(3), &json!(null))
    );
    assert_eq!(world.ctl(&["logs", "third/1"]).ok(), ran.stdout);
    // What each has used is told where the run is named.
    let named = &world.ctl(&["runs", "third/1", "--json"]).json()[0];
    let earlier = named["earlier_attempts"].as_array().expect("a list");
    let told: Vec<_> = earlier
        .iter()
        .map(|attempt| (&attempt["attempt"], &attempt["outcome"], &attempt["exit_code"]))
        .collect();
    let failed = json!("failed");
    assert_eq!(told, [(&json!(1), &failed, &json!(1)), (&json!(2), &failed, &json!(1))]);
    for attempt in earlier.iter().chain([named]) {
        for used in ["max_rss_kib", "user_us", "system_us", "output_bytes", "read_bytes"] {
            assert!(attempt[used].is_u64(), "{used} of {attempt}");
        }
        for counted in ["memory_peak_kib", "written_bytes", "peak_pids"] {
            assert!(attempt.get(counted).is_some(), "{counted} of {attempt}");
        }
    }
    let unnamed = &world.ctl(&["runs", "third", "--json"]).json()[0];
    assert_eq!(unnamed["earlier_attempts"], json!(null));
    let wide = world.ctl(&["runs", "third/1", "--wide"]).ok();
    assert!(
        wide.contains("\n  attempt 1") && wide.contains("\n  attempt 2"),
        "{wide}"
    );
    let log = world.log();
    let ended = log
        .iter()
        .filter(|line| line["msg"] == "attempt ended, another one follows");
    let told: Vec<(&Value, &Value)> = ended.map(|line| (&line["attempt"], &line["outcome"])).collect();
    assert_eq!(told, [(&json!(1), &json!("failed")), (&json!(2), &json!("failed"))]);
}

#[test]
fn a_run_that_is_stopped_between_two_attempts_tells_of_the_one_it_had() {
    let world = World::served();
    add(
        &world,
        "slow",
        &["--retries", "3", "--backoff", "1h..1h"],
        "echo out; exit 3",
    );
    world.ctl(&["run", "slow"]).ok();
    let named = || world.ctl(&["runs", "slow/1", "--json"]).json()[0].clone();
    // The state is told before it is on disk, and attempts are told from there.
    wait_for("the first attempt to be over", || {
        let run = named();
        (run["state"] == "backing-off" && run["earlier_attempts"] != json!([])).then_some(())
    });
    let tells = || {
        let run = named();
        let of = &run["earlier_attempts"][0];
        assert_eq!(
            (&run["attempts"], &of["attempt"], &of["exit_code"]),
            (&json!(1), &json!(1), &json!(3)),
            "{run}"
        );
        assert!(of["max_rss_kib"].is_u64(), "{run}");
    };
    tells();
    world.ctl(&["cancel", "slow/1"]).ok();
    assert_eq!(world.finished("slow/1")["outcome"], "cancelled");
    tells();
    let wide = world.ctl(&["runs", "slow/1", "--wide"]).ok();
    assert!(wide.contains("\n  attempt 1"), "{wide}");
    let told = |message: &str| wait_for(message, || world.log().into_iter().find(|line| line["msg"] == message));
    assert_eq!(told("run finished")["attempt"], 1);
    assert_eq!(
        told("run is being stopped")["trace_id"],
        told("run finished")["trace_id"]
    );
}

#[test]
fn no_more_attempts_are_made_than_are_allowed_and_only_after_what_was_chosen() {
    let world = World::served();
    add(&world, "few", &["--retries", "2", "--backoff", "10ms..10ms"], "exit 3");
    assert_eq!(world.ctl(&["run", "--wait", "few"]).code(), 3);
    let run = world.run_of("few/1");
    assert_eq!((&run["outcome"], &run["attempts"]), (&json!("failed"), &json!(3)));
    let on = [
        "--retries",
        "9",
        "--backoff",
        "10ms..10ms",
        "--retry-on",
        "exit:75,spawn-failed",
    ];
    add(&world, "picky", &on, "exit $((76 - TASKD_ATTEMPT))");
    assert_eq!(world.ctl(&["run", "--wait", "picky"]).code(), 74);
    assert_eq!(world.run_of("picky/1")["attempts"], 2);
    world
        .ctl(
            &[
                &["add", "--name", "none", "--manual"],
                on.as_slice(),
                &["--", "/no/such/program"],
            ]
            .concat(),
        )
        .ok();
    world.ctl(&["run", "none"]).ok();
    let run = world.finished("none/1");
    assert_eq!(
        (&run["outcome"], &run["attempts"]),
        (&json!("spawn-failed"), &json!(10))
    );
    add(&world, "grep", &["--success-codes", "0,1", "--retries", "3"], "exit 1");
    assert_eq!(
        world.ctl(&["run", "--wait", "grep"]).code(),
        1,
        "the command's own code"
    );
    let run = world.run_of("grep/1");
    assert_eq!((&run["outcome"], &run["attempts"]), (&json!("succeeded"), &json!(1)));
}

#[test]
fn a_pending_attempt_outlives_the_daemon_and_starts_when_it_is_due() {
    let mut world = World::served();
    add(
        &world,
        "late",
        &["--retries", "1", "--backoff", "2s..2s"],
        "test $TASKD_ATTEMPT = 2",
    );
    world.ctl(&["run", "late"]).ok();
    let waiting = wait_for("it waits for its next attempt", || {
        let run = world.run_of("late/1");
        (run["state"] == "backing-off").then_some(run)
    });
    let due = instant(&waiting["retry_at"]);
    assert_eq!(waiting["attempts"], 1);
    let refused = world.ctl(&["run", "late"]).refused(1);
    assert!(refused.contains("late/1"), "{refused}");
    world.kill();
    world.start();
    let run = world.finished("late/1");
    assert_eq!((&run["outcome"], &run["attempts"]), (&json!("succeeded"), &json!(2)));
    assert!(instant(&run["finished_at"]) >= due, "{run}");
}

#[test]
fn a_run_between_two_attempts_can_be_cancelled() {
    let world = World::served();
    add(&world, "never", &["--retries", "3", "--backoff", "1h..1h"], "exit 1");
    world.ctl(&["run", "never"]).ok();
    wait_for("it waits for its next attempt", || {
        (world.run_of("never/1")["state"] == "backing-off").then_some(())
    });
    world.ctl(&["cancel", "never/1"]).ok();
    let run = world.finished("never/1");
    assert_eq!((&run["outcome"], &run["attempts"]), (&json!("cancelled"), &json!(1)));
}

#[test]
fn a_timeout_is_of_an_attempt_and_a_deadline_of_the_run() {
    let world = World::served();
    let retry = ["--retries", "1", "--backoff", "10ms..10ms", "--timeout", "200ms"];
    add(&world, "slow", &retry, "exec sleep 1000");
    assert_eq!(world.ctl(&["run", "--wait", "slow"]).code(), 124);
    assert_eq!(world.run_of("slow/1")["attempts"], 2);
    let retry = ["--retries", "1000", "--backoff", "50ms..50ms", "--deadline", "500ms"];
    add(&world, "bounded", &retry, "exit 1");
    world.ctl(&["run", "bounded"]).ok();
    let run = world.finished("bounded/1");
    let attempts = run["attempts"].as_u64().expect("a number");
    assert!((1..=11).contains(&attempts), "{run}");
}

#[test]
fn retries_are_shown_changed_and_exported() {
    let world = World::served();
    let retry = [
        "--retries",
        "5",
        "--backoff",
        "2s..1m",
        "--backoff-factor",
        "1.5",
        "--backoff-jitter",
    ];
    let more = ["--retry-on", "timed-out,exit:75", "--success-codes", "0,2"];
    add(&world, "a", &[retry.as_slice(), &more].concat(), "true");
    let shown = || world.ctl(&["show", "a", "--json"]).json();
    assert_eq!(
        (
            &shown()["retries"],
            &shown()["backoff"],
            &shown()["retry_on"],
            &shown()["success_codes"]
        ),
        (
            &json!(5),
            &json!({ "initial_ms": 2_000, "max_ms": 60_000, "factor_percent": 150, "jitter": true }),
            &json!(["timed-out", "exit:75"]),
            &json!([0, 2])
        )
    );
    let text = world.ctl(&["show", "a"]).ok();
    assert!(
        text.contains("up to 5, after a random part of 2 s to 1 m, times 1.5; on timed-out, exit:75"),
        "{text}"
    );
    export::is_whole(&world, &[]);
    world
        .ctl(&[
            "edit",
            "a",
            "--backoff",
            "3s..1m",
            "--retry-on",
            "",
            "--success-codes",
            "",
        ])
        .ok();
    assert_eq!(shown()["backoff"]["initial_ms"], 3_000);
    assert_eq!(
        (&shown()["retry_on"], &shown()["success_codes"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(shown()["backoff"]["jitter"], true, "it stays");
    for (wrong, says) in [
        (["--backoff", "5m..1s"], "shorter than the first"),
        (["--backoff", "1s..x"], "--backoff 1s..x\n                ^"),
        (["--backoff-factor", "0.5"], "from 1 to 100"),
        (["--retries", "1001"], "1000 times at most"),
        (["--retry-on", "faild"], "write failed, timed-out"),
        (["--success-codes", "x"], "this is no exit code"),
        (["--success-codes", "300"], "between 0 and 255"),
    ] {
        let said = world.ctl(&[&["edit", "a"], wrong.as_slice()].concat()).refused(2);
        assert!(said.contains(says), "{said}");
    }
}
