//! `run --wait` and `logs -f` against a daemon that answers as it is told.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;

use jiff::tz::TimeZone;
use taskd_core::Timestamp;
use taskd_wire::client::{Request, Response, RunInfo, RunOutput, RunRef};
use taskd_wire::codec::Rec;
use taskd_wire::hello::Hello;

use crate::args::Cli;
use crate::out::Out;
use crate::session::Session;
use crate::testing::{FakeDaemon, Ran, Say};

fn info(state: &str, outcome: Option<&str>) -> RunInfo {
    RunInfo {
        run: "a/1".into(),
        task: "a".into(),
        state: state.into(),
        outcome: outcome.map(Into::into),
        exit_code: outcome.map(|_| 3),
        attempts: 1,
        ..RunInfo::default()
    }
}

fn output_line(log: &str, stream: &str) -> String {
    format!("{{\"log\":\"{log}\\n\",\"stream\":\"{stream}\",\"time\":\"2026-11-23T10:00:00Z\"}}\n")
}

fn started() -> Say {
    Say::All(vec![Response::RunsStarted(vec![Rec(RunRef {
        run: "a/1".into(),
        trace_id: "t".into(),
        ..RunRef::default()
    })])])
}

fn update(info: RunInfo, files: &[&Path]) -> Response {
    Response::Update(Box::new(Rec(RunOutput {
        info: Rec(info),
        files: files.iter().map(|file| file.display().to_string()).collect(),
        ..RunOutput::default()
    })))
}

/// A run that nobody asked for.
fn other() -> RunInfo {
    RunInfo {
        run: "b/7".into(),
        ..info("running", None)
    }
}

/// When a daemon leaves once.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leaves {
    Never,
    /// As soon as the run is started.
    AfterTheStart,
    /// When it has told of the run.
    AfterAnUpdate,
}

/// A daemon with a run `a/1` that wrote a line to each stream and exits with 3. It is asked for nothing else meanwhile.
fn daemon_with_a_run(leaves: Leaves) -> FakeDaemon {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(
        file.path(),
        output_line("out", "stdout") + &output_line("err", "stderr"),
    )
    .expect("room");
    let left = Mutex::new(leaves != Leaves::AfterAnUpdate);
    FakeDaemon::with(Hello::ours(), move |request| match request {
        Request::Run { .. } => match started() {
            Say::All(said) if leaves == Leaves::AfterTheStart => Say::AndLeave(said),
            said => said,
        },
        Request::Output { .. } => Say::All(vec![Response::Output(Rec(RunOutput {
            info: Rec(info("running", None)),
            files: vec![file.path().display().to_string()],
            ..RunOutput::default()
        }))]),
        Request::Watch { .. } => {
            let running = update(info("running", None), &[file.path()]);
            if !std::mem::replace(&mut *left.lock().expect("no test holds it while it fails"), true) {
                return Say::AndLeave(vec![running]);
            }
            let ended = update(info("finished", Some("failed")), &[file.path()]);
            Say::All(vec![running, ended, Response::WatchEnd])
        }
        other => panic!("{other:?}"),
    })
}

#[test]
fn run_wait_is_as_if_the_command_were_run_here() {
    let Ran { code, out, err, .. } = daemon_with_a_run(Leaves::Never).taskctl(&["run", "a", "--wait"]);
    assert_eq!((code, out.as_str()), (3, "out\n"));
    assert_eq!(err, "err\ntaskctl: a/1 failed (3)\n");
}

#[test]
fn run_wait_outlives_the_daemon() {
    // More than once, since it may be noticed at the next question or only after it.
    for leaves in [Leaves::AfterTheStart, Leaves::AfterAnUpdate].repeat(10) {
        let Ran { code, out, err, .. } = daemon_with_a_run(leaves).taskctl(&["run", "a", "--wait"]);
        assert_eq!((code, out.as_str()), (3, "out\n"), "{leaves:?}: {err}");
        assert!(err.contains("the daemon is back"), "{err}");
    }
}

#[test]
fn with_json_nothing_is_remarked() {
    let ran = daemon_with_a_run(Leaves::AfterAnUpdate).taskctl(&["run", "a", "--wait", "--json"]);
    assert_eq!((ran.code, ran.err.as_str()), (3, "out\nerr\n"));
}

#[test]
fn a_remark_does_not_stand_behind_half_a_line_on_a_terminal() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), output_line("half", "stdout").replace("\\n", "")).expect("room");
    let daemon = FakeDaemon::with(Hello::ours(), move |request| match request {
        Request::Run { .. } => started(),
        Request::Watch { .. } => {
            let ended = update(info("finished", Some("failed")), &[file.path()]);
            Say::All(vec![ended, Response::WatchEnd])
        }
        other => panic!("{other:?}"),
    });
    let line = ["run", "a", "--wait"];
    let ran = daemon.taskctl_at(80, &line);
    assert_eq!(
        (ran.out.as_str(), ran.err.as_str()),
        ("half", "\ntaskctl: a/1 failed (3)\n")
    );
    assert_eq!(daemon.taskctl(&line).err, "taskctl: a/1 failed (3)\n");
}

#[test]
fn run_wait_tells_how_it_ended_where_its_output_cannot_be_read() {
    let directory = tempfile::tempdir().expect("room");
    let path = directory.path().to_owned();
    let daemon = FakeDaemon::with(Hello::ours(), move |request| match request {
        Request::Run { .. } => started(),
        Request::Output { .. } | Request::Watch { .. } => {
            let running = update(info("running", None), &[&path]);
            let ended = update(info("finished", Some("failed")), &[&path]);
            Say::All(vec![running, ended, Response::WatchEnd])
        }
        other => panic!("{other:?}"),
    });
    let ran = daemon.taskctl(&["run", "a", "--wait"]);
    assert_eq!((ran.code, ran.out.as_str()), (3, ""));
    let said = format!("taskctl: cannot read {}", directory.path().display());
    assert!(
        ran.err.starts_with(&said) && ran.err.ends_with("taskctl: a/1 failed (3)\n"),
        "{}",
        ran.err
    );
}

/// A disk without room.
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn run_wait_fails_where_output_cannot_be_written() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), output_line("out", "stdout").repeat(20_000)).expect("room");
    let daemon = FakeDaemon::with(Hello::ours(), move |request| match request {
        Request::Run { .. } => started(),
        Request::Output { .. } | Request::Watch { .. } => {
            let ended = update(info("finished", Some("succeeded")), &[file.path()]);
            Say::All(vec![ended, Response::WatchEnd])
        }
        other => panic!("{other:?}"),
    });
    let cli = Cli::read(["taskctl", "run", "a", "--wait"]).expect("it is right");
    let now = || Timestamp::from_millis(0);
    let (out, err) = (Out::to(Full), Out::to(io::sink()));
    let mut session = Session::of_test(cli.global.json, daemon.places(), out, err, now, TimeZone::UTC);
    let ran = crate::commands::run(cli.verb, &mut session);
    assert!(ran.is_err(), "{ran:?}");
}

#[test]
fn run_wait_json_is_how_it_ended() {
    let ran = daemon_with_a_run(Leaves::Never).taskctl(&["run", "a", "--wait", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(
        (ran.code, &json["outcome"], &json["exit_code"]),
        (3, &"failed".into(), &3.into())
    );
    assert_eq!(ran.err, "out\nerr\n");
}

#[test]
fn logs_follow_to_the_end_of_the_run() {
    let daemon = daemon_with_a_run(Leaves::Never);
    assert_eq!(daemon.taskctl(&["logs", "-f", "a"]).out, "out\nerr\n");
    assert_eq!(daemon.taskctl(&["logs", "a/1", "--tail", "1"]).out, "err\n");
    assert_eq!(
        daemon.taskctl(&["logs", "a", "--json"]).out,
        output_line("out", "stdout") + &output_line("err", "stderr")
    );
    assert_eq!(
        daemon.taskctl(&["logs", "a", "-t"]).out,
        "2026-11-23T11:00:00.000+01:00 out\n2026-11-23T11:00:00.000+01:00 err\n"
    );
}

#[test]
fn a_daemon_that_ends_the_watch_before_the_run_does_not_keep_to_the_protocol() {
    let watched = |said: fn() -> Vec<Response>| {
        let daemon = FakeDaemon::with(Hello::ours(), move |request| match request {
            Request::Run { .. } => started(),
            Request::Watch { .. } => Say::All(said()),
            other => panic!("{other:?}"),
        });
        let ran = daemon.taskctl(&["run", "a", "--wait"]);
        (ran.code, ran.failure.expect("it failed").code)
    };
    let protocol = (1, "protocol");
    assert_eq!(watched(|| vec![Response::WatchEnd]), protocol);
    assert_eq!(
        watched(|| vec![update(info("running", None), &[]), Response::WatchEnd]),
        protocol
    );
    assert_eq!(
        watched(|| vec![update(other(), &[])]),
        protocol,
        "a run nobody asked for"
    );
}

#[test]
fn a_pattern_is_refused_for_output_with_and_without_an_instant() {
    let daemon = FakeDaemon::new(|request| panic!("{request:?}"));
    for line in [&["logs", "a*"][..], &["logs", "a*", "--since", "1h"]] {
        assert_eq!(daemon.taskctl(line).code, 2, "{line:?}");
    }
}
