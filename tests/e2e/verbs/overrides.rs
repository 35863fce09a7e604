//! What is given to one run: `run TASK --env K=V -- EXTRA`.

use serde_json::json;

use crate::harness::{World, wait_for};

#[test]
fn a_run_is_given_variables_and_arguments_and_the_task_stays_as_it_is() {
    let world = World::served();
    let line = r#"echo "$0 $# [$1] [$2] $A $B""#;
    world
        .ctl(&["add", "--name", "line", "--manual", "--env", "A=1", "--shell", line])
        .ok();
    world
        .ctl(&["add", "--name", "argv", "--manual", "--", "printf", "<%s>", "first"])
        .ok();
    let given = world.ctl(&[
        "run", "--wait", "line", "--env", "B=b", "--env", "A=2", "--", "one", "t w o",
    ]);
    assert_eq!(given.ok(), "sh 2 [one] [t w o] 2 b\n");
    assert_eq!(world.ctl(&["run", "-w", "line"]).ok(), "sh 0 [] [] 1 \n");
    let given = world.ctl(&["run", "--wait", "argv", "--", "--wait", "-- $HOME", ""]);
    assert_eq!(given.ok(), "<first><--wait><-- $HOME><>");
    let many = world.ctl(&["run", "--wait", "line", "argv", "--", "x"]).ok();
    assert!(many.contains("sh 1 [x]") && many.contains("<first><x>"), "{many}");
    assert_eq!(
        world.run_of("line/1")["overrides"],
        json!({"env": ["B", "A"], "more_env": 0, "args": 2, "skip_gates": false})
    );
    assert_eq!(world.run_of("line/2")["overrides"], json!(null));
    let wide = world.ctl(&["runs", "line", "--wide"]).ok();
    assert!(wide.contains("B, A, 2 arguments"), "{wide}");
}

#[test]
fn a_waiting_run_and_its_retries_keep_what_they_were_given_over_a_crash_of_the_daemon() {
    let mut world = World::served();
    let gate = world.path("q.gate");
    let line = format!(
        "echo up; while [ ! -e {} ]; do sleep 0.02; done; echo $SECRET $1 $TASKD_ATTEMPT; test $TASKD_ATTEMPT = ${{2:-1}}",
        gate.display()
    );
    let retries = ["--retries", "3", "--backoff", "10ms..10ms", "--concurrency", "queue"];
    world
        .ctl(&[&["add", "--name", "q", "--manual"], &retries[..], &["--shell", &line]].concat())
        .ok();
    world.run_up("q");
    world
        .ctl(&["run", "q", "--env", "SECRET=xyzzy", "--", "argument-7", "3"])
        .ok();
    assert_eq!(world.run_of("q/2")["state"], "waiting");
    world.kill();
    world.start();
    world.open_gate("q");
    assert_eq!(world.finished("q/2")["attempts"], 3);
    let said = world.ctl(&["logs", "q/2"]).ok();
    assert!(said.ends_with("up\nxyzzy argument-7 3\n"), "{said}");
    assert!(said.contains("xyzzy argument-7 1\n"), "{said}");
    // The log of the daemon has neither a value nor an argument.
    wait_for("the log to tell of its end", || {
        let log = world.log();
        log.iter()
            .any(|line| line["msg"] == "run finished" && line["run"] == 2)
            .then_some(())
    });
    let log = format!("{:?}", world.log());
    assert!(!log.contains("xyzzy") && !log.contains("argument-7"), "{log}");
    let told = world.ctl(&["runs", "--json"]).ok() + &world.ctl(&["runs", "--wide"]).ok();
    assert!(!told.contains("xyzzy") && !told.contains("argument-7"), "{told}");
}

#[test]
fn what_no_run_can_be_given_is_refused_and_nothing_is_started() {
    let world = World::served();
    let most = "x".repeat(60 << 10);
    world.ctl(&["add", "--name", "t", "--manual", "--", "echo", &most]).ok();
    let refused = |args: &[&str], code: i32, says: &str| {
        let said = world.ctl(&[&["run", "t"], args].concat()).refused(code);
        assert!(said.contains(says), "{said}");
    };
    refused(&["--env", "TASKD_RUN=1"], 2, "set by taskd");
    refused(&["--env", "TRACEPARENT=1"], 2, "hint: choose another name");
    refused(&["--env", "A"], 2, "NAME=VALUE");
    let more = "y".repeat(69 << 10);
    refused(&["--", &more], 1, "hint: put what is long into a file");
    let half = format!("A={}", "y".repeat(40 << 10));
    refused(
        &["--env", &half, "--", &more[..30 << 10]],
        1,
        "at most 131072 can be given",
    );
    let error = world.ctl(&["run", "t", "--json", "--", &more]).error(1);
    assert_eq!(error["code"], "limit", "{error}");
    assert_eq!(world.ctl(&["runs", "--json"]).json(), json!([]));
    assert_eq!(
        world.ctl(&["run", "--wait", "t", "--", &most]).ok().len(),
        2 * most.len() + 2
    );
}
