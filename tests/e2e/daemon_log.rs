//! Promise: every run leaves start and finish lines in the daemon log, complete on an orderly exit, without secrets.

use rustix::process::Signal;

use crate::harness::World;

#[test]
fn a_run_leaves_start_and_finish_lines_and_no_value_of_its_environment_or_arguments() {
    let mut world = World::served();
    let secret = "hunter2hunter2";
    world
        .ctl(&[
            "add",
            "--name",
            "quiet",
            "--manual",
            "--env",
            &format!("TOKEN={secret}"),
            "--shell",
            &format!(": {secret}; exit 3"),
        ])
        .ok();
    assert_eq!(world.ctl(&["run", "--wait", "quiet"]).code(), 3);
    // Of what cannot be started only the program is named.
    let program = world.path("no-such-program").display().to_string();
    let argument = format!("--token={secret}");
    let add = ["add", "--name", "absent", "--manual", "--env", &argument[2..], "--"];
    world.ctl(&[&add[..], &[&program, &argument]].concat()).ok();
    assert_ne!(world.ctl(&["run", "--wait", "absent"]).code(), 0);
    world.signal(Signal::TERM);
    assert!(world.wait_ended().success());
    let log = world.log();
    let of_run = |msg: &str| {
        log.iter()
            .find(|line| line["msg"] == msg && line["task"] == "quiet")
            .unwrap_or_else(|| panic!("no line {msg:?} in {log:#?}"))
    };
    let (started, finished) = (of_run("run started"), of_run("run finished"));
    for line in [started, finished] {
        assert_eq!(line["run"], 1, "{line}");
        assert_eq!(line["attempt"], 1, "{line}");
        assert_eq!(line["trace_id"].as_str().map(str::len), Some(32), "{line}");
        assert_eq!(line["level"], "info", "{line}");
        assert!(line["ts"].is_string(), "{line}");
    }
    assert_eq!(started["trace_id"], finished["trace_id"]);
    assert_eq!(finished["outcome"], "failed");
    assert_eq!(finished["exit_code"], 3);
    assert!(finished["duration_ms"].is_u64(), "{finished}");
    assert_eq!(log.last().expect("lines")["msg"], "taskd ends");
    let text = std::fs::read_to_string(world.path("log/taskd.log")).expect("the log");
    assert!(text.contains("no-such-program"), "{text}");
    assert!(!text.contains(secret), "a secret is in the log");
}

#[test]
fn two_daemons_do_not_write_one_log() {
    let world = World::served();
    let ended = std::process::Command::new(world.taskd().get_program())
        .arg("--socket")
        .arg(world.path("other.sock"))
        .arg("--state-dir")
        .arg(world.path("other"))
        .arg("--log-dir")
        .arg(world.path("log"))
        .output()
        .expect("taskd starts");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(
        said.contains("another taskd writes its log in") && said.contains("--log-dir"),
        "{said}"
    );
}
