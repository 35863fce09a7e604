//! Promise: whatever the runner does, and whoever it is, no result that reached the daemon is lost, and nothing goes to
//! whom it does not concern. The runner is played by the test.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use taskd_wire::codec::{Rec, Tail, decode};
use taskd_wire::frame::{FrameReader, Payload, put_message, read_payload};
use taskd_wire::hello::{Hello, HelloReader};
use taskd_wire::runner::{AttemptKey, End, Ended, FileId, FromRunner, Origin, RunnerInfo, Start, ToRunner, can};

use crate::harness::{DEADLINE, World, kill, now, wait_for};

/// The runner's socket, listened at by the test.
struct Stage {
    listener: UnixListener,
    state_dir: PathBuf,
    /// It is of the program that the daemon is, so that it is not replaced.
    program: FileId,
}

impl Stage {
    /// Takes the place of the runner that a daemon of this world would start.
    fn new(world: &World) -> Stage {
        use std::os::unix::fs::DirBuilderExt as _;
        let state_dir = world.path("state");
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&state_dir)
            .expect("a directory");
        Stage {
            listener: UnixListener::bind(state_dir.join("runner.sock")).expect("a socket"),
            state_dir,
            program: file_id(env!("CARGO_BIN_EXE_taskd").as_ref()),
        }
    }

    fn info(&self, instance: u64) -> RunnerInfo {
        RunnerInfo {
            instance,
            pid: std::process::id(),
            version: "0".to_owned(),
            started_ms: 0,
            closing: Tail(false),
            state_dir: Tail(Some(file_id(&self.state_dir))),
            cgroups: Tail(None),
            program: Tail(Some(self.program)),
            can: Tail(0),
            before: Tail(Vec::new()),
        }
    }

    /// Lets the daemon connect, and hears it attach. Nothing if it hangs up before.
    fn met(&self) -> Option<Daemon> {
        let (mut stream, _) = self.listener.accept().expect("the daemon connects");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        let _ = stream.write_all(&Hello::ours().encode());
        let mut hello = HelloReader::new();
        while hello.next().expect("a hello").is_none() {
            let mut bytes = [0; 256];
            match stream.read(&mut bytes) {
                Ok(length) if length > 0 => hello.push(&bytes[..length]),
                _ => return None,
            }
        }
        let mut frames = FrameReader::new();
        frames.push(&hello.into_rest());
        let mut daemon = Daemon { stream, frames };
        matches!(daemon.hear()?, ToRunner::Attach).then_some(daemon)
    }

    /// The same, and tells it that there is nothing.
    fn attached(&self, instance: u64) -> Daemon {
        let mut daemon = self.met().expect("it attaches");
        daemon.say(&[FromRunner::InventoryEnd(Rec(self.info(instance)))]);
        daemon
    }
}

fn file_id(path: &Path) -> FileId {
    let found = std::fs::metadata(path).expect("it is there");
    FileId {
        device: found.dev(),
        inode: found.ino(),
    }
}

/// The daemon as its runner sees it.
struct Daemon {
    stream: UnixStream,
    frames: FrameReader,
}

impl Daemon {
    fn say(&mut self, messages: &[FromRunner]) {
        let mut bytes = Vec::new();
        for message in messages {
            put_message(&mut bytes, message).expect("it fits");
        }
        self.stream.write_all(&bytes).expect("it reads");
    }

    /// Nothing when it has hung up.
    fn hear(&mut self) -> Option<ToRunner> {
        let mut bytes = [0; 65536];
        loop {
            if let Some(payload) = self.frames.next().expect("frames") {
                let Payload::Message(message) = read_payload(&payload).expect("a payload") else {
                    panic!("protocol 0 is not for runners");
                };
                return Some(decode(message).expect("a message"));
            }
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(length) => self.frames.push(&bytes[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("the daemon says nothing: {error}"),
            }
        }
    }

    /// A user adds `job` and runs it; it is told to start that.
    fn job(&mut self, world: &World) -> Start {
        world.ctl(&["add", "--name", "job", "--manual", "--", "true"]).ok();
        world.ctl(&["run", "job"]).ok();
        self.start()
    }

    /// Waits until it is told to start something.
    fn start(&mut self) -> Start {
        loop {
            match self.hear().expect("the daemon is there") {
                ToRunner::Start(start) => return start.0,
                ToRunner::Attach
                | ToRunner::Stop { .. }
                | ToRunner::Forget(_)
                | ToRunner::Look
                | ToRunner::Shutdown { .. } => {}
            }
        }
    }

    /// The runner ends. Until the daemon has seen that, it says nothing of a start.
    #[track_caller]
    fn hangs_up_without_a_start(&mut self) {
        self.stream.shutdown(std::net::Shutdown::Write).expect("a socket");
        while let Some(message) = self.hear() {
            assert!(!matches!(message, ToRunner::Start(_)), "{message:?}");
        }
    }
}

fn ended(start: &Start, code: i32) -> FromRunner {
    FromRunner::Ended(Box::new(Rec(Ended {
        origin: Origin {
            key: start.key,
            task: start.task.clone(),
            trigger: start.trigger.clone(),
            fire_time_ms: start.fire_time_ms,
            created_ms: start.created_ms,
            trace_id: start.trace_id,
        },
        pid: 1,
        started_ms: start.created_ms,
        finished_ms: start.created_ms,
        end: End::Exited(code),
        ..Ended::default()
    })))
}

fn daemon(world: &World) -> Child {
    let mut taskd = world.taskd();
    let taskd = taskd.stdout(Stdio::null()).stderr(Stdio::null());
    taskd.spawn().expect("taskd starts")
}

fn end(mut daemon: Child) {
    kill(daemon.id(), Signal::KILL);
    daemon.wait().expect("it ends");
}

fn log_has(world: &World, part: &str) -> usize {
    let text = std::fs::read_to_string(world.path("log/taskd.log")).unwrap_or_default();
    text.matches(part).count()
}

#[test]
fn a_runner_that_knows_of_no_gates_is_told_to_start_nothing_that_has_any() {
    let world = World::new();
    let stage = Stage::new(&world);
    let taskd = daemon(&world);
    let mut old = stage.attached(1);
    world
        .ctl(&[
            "add",
            "--name",
            "gated",
            "--manual",
            "--on-ac-power",
            "--gate-wait",
            "1h",
            "--",
            "true",
        ])
        .ok();
    let waited = world.ctl(&["run", "--wait", "gated"]);
    assert!(
        waited
            .stderr
            .contains("gated/1 spawn-failed: gates, which a runner of an earlier version knows nothing of")
            && waited.stderr.contains("hint: "),
        "{waited:?}"
    );
    world.ctl(&["run", "gated", "--skip-gates"]).ok();
    let start = old.start();
    assert_eq!((start.key.run, &start.gates), (2, &Tail(None)));
    old.say(&[ended(&start, 0)]);
    // One that knows of them is told what to look at, and how it turned out is heard.
    drop(old);
    let mut new = stage.met().expect("it attaches");
    let info = RunnerInfo {
        can: Tail(can::GATES),
        ..stage.info(2)
    };
    new.say(&[FromRunner::InventoryEnd(Rec(info))]);
    world.finished("gated/2");
    world.ctl(&["run", "gated"]).ok();
    let start = new.start();
    let gates = start.gates.0.as_ref().expect("it has some");
    assert!(
        gates.on_ac_power && gates.only_if.is_none() && gates.max_load.is_none(),
        "{gates:?}"
    );
    end(taskd);
}

#[test]
fn a_result_that_comes_right_behind_the_inventory_is_taken_in() {
    let world = World::new();
    let stage = Stage::new(&world);
    let taskd = daemon(&world);
    let mut first = stage.attached(1);
    let start = first.job(&world);
    drop(first);
    // All in one piece, and then not another word.
    let mut second = stage.met().expect("it attaches");
    second.say(&[
        FromRunner::Inventory {
            live: vec![Rec(taskd_wire::runner::Live {
                origin: Origin {
                    key: start.key,
                    task: start.task.clone(),
                    trigger: start.trigger.clone(),
                    created_ms: start.created_ms,
                    trace_id: start.trace_id,
                    ..Origin::default()
                },
                pid: 1,
                started_ms: start.created_ms,
                stopping: false,
            })],
            ended: Vec::new(),
        },
        FromRunner::InventoryEnd(Rec(stage.info(1))),
        ended(&start, 3),
    ]);
    assert_eq!(world.finished("job/1")["exit_code"], Value::from(3));
    drop(second);
    end(taskd);
}

#[test]
fn what_a_runner_says_before_it_dies_is_taken_in_though_it_cannot_be_answered() {
    let world = World::new();
    let stage = Stage::new(&world);
    let taskd = daemon(&world);
    let mut first = stage.attached(1);
    let start = first.job(&world);
    // More is on its way to the runner than its socket takes, since it does not read any more.
    let value = format!("FILL={}", "x".repeat(60_000));
    for n in 0..20 {
        let name = format!("large{n}");
        world
            .ctl(&["add", "--name", &name, "--manual", "--env", &value, "--", "true"])
            .ok();
        world.ctl(&["run", &name]).ok();
    }
    // The daemon sees the end and the break at the same time.
    kill(taskd.id(), Signal::STOP);
    first.say(&[ended(&start, 3)]);
    drop(first);
    kill(taskd.id(), Signal::CONT);
    let second = stage.attached(2);
    assert_eq!(world.finished("job/1")["exit_code"], Value::from(3));
    assert_eq!(
        world.finished("large19/1")["outcome"],
        "unknown",
        "another runner does not know it"
    );
    drop(second);
    end(taskd);
}

#[test]
fn a_runner_that_is_about_to_end_is_not_told_to_start_anything() {
    let world = World::new();
    let stage = Stage::new(&world);
    let taskd = daemon(&world);
    let closing = |instance| {
        FromRunner::InventoryEnd(Rec(RunnerInfo {
            closing: Tail(true),
            ..stage.info(instance)
        }))
    };
    let mut first = stage.attached(1);
    let begun = first.job(&world);
    let added = now();
    world
        .ctl(&["add", "--name", "often", "--every", "1s", "--", "true"])
        .ok();
    first.say(&[closing(1)]);
    wait_for("it is taken in", || {
        (log_has(&world, "the runner is about to end") == 1).then_some(())
    });
    // It is still heard.
    first.say(&[ended(&begun, 3)]);
    assert_eq!(world.finished("job/1")["exit_code"], Value::from(3));
    let forgotten = |daemon: &mut Daemon, key: AttemptKey| match daemon.hear() {
        Some(ToRunner::Forget(forgotten)) => forgotten == key,
        _ => false,
    };
    assert!(forgotten(&mut first, begun.key), "it is answered");
    wait_for("a fire time to pass", || {
        (added.elapsed() > Duration::from_millis(1100)).then_some(())
    });
    first.hangs_up_without_a_start();
    // The next one is about to end as well: it is waited for, and told nothing.
    let mut second = stage.met().expect("it attaches");
    second.say(&[closing(2)]);
    second.hangs_up_without_a_start();
    let mut third = stage.attached(3);
    assert_eq!(third.start().task, "often", "and it was due");
    end(taskd);
}

#[test]
fn a_stop_reaches_a_runner_whose_connection_is_broken() {
    let world = World::new();
    let stage = Stage::new(&world);
    let mut taskd = daemon(&world);
    // It waits longer after each failure; long enough after these for the stop to come in between.
    for failures in 1..=6 {
        drop(stage.met());
        wait_for("the daemon to see it", || {
            (log_has(&world, "no runner is attached") == failures).then_some(())
        });
    }
    kill(taskd.id(), Signal::TERM);
    let mut last = stage.attached(1);
    loop {
        match last.hear().expect("it is told to end") {
            ToRunner::Shutdown { .. } => break,
            ToRunner::Attach | ToRunner::Start(_) | ToRunner::Stop { .. } | ToRunner::Forget(_) | ToRunner::Look => {}
        }
    }
    drop(last);
    assert!(taskd.wait().expect("a child").success());
}

#[test]
fn a_runner_that_knows_no_caps_is_not_told_to_start_what_has_some() {
    let world = World::new();
    let stage = Stage::new(&world);
    let taskd = daemon(&world);
    let mut daemon = stage.attached(1);
    let add = ["add", "--name", "capped", "--manual", "--pids-max", "8", "--", "true"];
    world.ctl(&add).ok();
    world.ctl(&["run", "capped"]).ok();
    let run = world.finished("capped/1");
    assert_eq!(run["outcome"], "spawn-failed");
    let reason = run["reason"].as_str().expect("it says why");
    assert!(
        reason.starts_with("pids-max, the runner is of an earlier version"),
        "{reason}"
    );
    let start = daemon.job(&world);
    assert_eq!(start.task, "job", "the first that it hears of");
    drop(daemon);
    end(taskd);
}

#[test]
fn a_runner_is_asked_what_runs_use_only_while_somebody_looks_and_if_it_knows() {
    // One of an earlier version would hang up on what it does not know.
    for (knows, looks) in [(0, true), (can::USAGE, false)] {
        let world = World::new();
        let stage = Stage::new(&world);
        let taskd = daemon(&world);
        let mut daemon = stage.met().expect("it attaches");
        let info = RunnerInfo {
            can: Tail(knows),
            ..stage.info(1)
        };
        daemon.say(&[FromRunner::InventoryEnd(Rec(info))]);
        let job = daemon.job(&world);
        daemon.say(&[FromRunner::Started {
            key: job.key,
            pid: 7,
            at_ms: 1_000,
        }]);
        wait_for("it runs", || (world.run_of("job/1")["pid"] == 7).then_some(()));
        if looks {
            let told = world.ctl(&["top", "--once", "--json", "--interval", "100ms"]).json();
            let run = &told["runs"][0];
            assert_eq!((&run["run"], &run["pid"]), (&"job/1".into(), &7.into()));
            assert!(run["cpu_us"].is_null() && run["memory_bytes"].is_null(), "{run}");
        }
        daemon.say(&[ended(&job, 0)]);
        let next = daemon.hear();
        assert!(matches!(next, Some(ToRunner::Forget(_))), "{next:?}");
        drop(daemon);
        end(taskd);
    }
}

#[test]
fn a_runner_of_another_state_directory_is_not_told_anything() {
    let world = World::new();
    let stage = Stage::new(&world);
    let taskd = daemon(&world);
    let mut daemon = stage.met().expect("it attaches");
    daemon.say(&[FromRunner::InventoryEnd(Rec(RunnerInfo {
        state_dir: Tail(Some(FileId { device: 1, inode: 1 })),
        ..stage.info(1)
    }))]);
    assert!(daemon.hear().is_none(), "it hangs up");
    wait_for("the reason in the log", || {
        (log_has(&world, "works in another state directory") > 0).then_some(())
    });
    end(taskd);
}

#[test]
fn a_runner_of_another_user_is_not_told_anything() {
    const NOBODY: u32 = 65_534;
    let world = World::new();
    let Some(listener) = listening_as(NOBODY, &world) else {
        eprintln!("skipped: only root can take the place of another user");
        return;
    };
    let taskd = daemon(&world);
    let (mut stream, _) = listener.accept().expect("the daemon connects");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    assert_eq!(stream.read(&mut [0; 64]).expect("a socket"), 0, "not even hello");
    wait_for("the reason in the log", || {
        (log_has(&world, "belongs to user 65534") > 0).then_some(())
    });
    end(taskd);
}

/// A runner's socket whose listener is another user, by what the kernel tells of it.
fn listening_as(uid: u32, world: &World) -> Option<UnixListener> {
    let Stage { listener, .. } = Stage::new(world);
    // Only a thread that ends with this becomes the other user.
    let again = std::thread::spawn(move || {
        let other = rustix::process::Uid::from_raw(uid);
        let none = None::<rustix::process::Uid>;
        rustix::thread::set_thread_res_uid(none, Some(other), none).ok()?;
        // Its user is who listens at it last.
        rustix::net::listen(&listener, 16).ok()?;
        Some(listener)
    });
    again.join().expect("no panic")
}

#[test]
fn nothing_that_is_to_be_hidden_is_told_to_a_runner_that_cannot_hide_it() {
    let world = World::new();
    let stage = Stage::new(&world);
    let taskd = daemon(&world);
    let mut older = stage.attached(1);
    for (name, options) in [("masked", ["--mask", "key"]), ("dropped", ["--output", "discard"])] {
        let add = ["add", "--name", name, "--manual", options[0], options[1], "--", "true"];
        world.ctl(&add).ok();
        world.ctl(&["run", name]).ok();
        let run = world.finished(&format!("{name}/1"));
        assert_eq!(run["outcome"], "spawn-failed", "{run}");
        assert!(
            run["reason"].as_str().expect("a reason").contains("restart it"),
            "{run}"
        );
    }
    // What is not hidden is started, and it is the first thing that it is told to start.
    let add = ["add", "--name", "file", "--manual", "--output", "file", "--", "true"];
    world.ctl(&add).ok();
    world.ctl(&["run", "file"]).ok();
    assert_eq!(older.start().task, "file");
    drop(older);
    let (mut info, mut newer) = (stage.info(2), stage.met().expect("it attaches"));
    info.can = Tail(can::OUTPUTS);
    newer.say(&[FromRunner::InventoryEnd(Rec(info))]);
    world.ctl(&["run", "masked"]).ok();
    assert_eq!(newer.start().masks.0, ["key"]);
    end(taskd);
}

#[test]
fn nothing_of_another_user_is_told_to_a_runner_that_knows_no_users() {
    let world = World::new();
    let stage = Stage::new(&world);
    let taskd = daemon(&world);
    let mut older = stage.attached(1);
    let own = rustix::process::geteuid().as_raw().to_string();
    for (name, options) in [("user", ["--user", &own]), ("plain", ["--umask", "027"])] {
        let add = ["add", "--name", name, "--manual", options[0], options[1], "--", "true"];
        world.ctl(&add).ok();
        world.ctl(&["run", name]).ok();
    }
    let run = world.finished("user/1");
    assert_eq!(run["outcome"], "spawn-failed", "{run}");
    assert!(
        run["reason"].as_str().expect("a reason").contains("restart it"),
        "{run}"
    );
    // It is the first thing that it is told to start.
    assert_eq!(older.start().task, "plain");
    drop(older);
    let (mut info, mut newer) = (stage.info(2), stage.met().expect("it attaches"));
    info.can = Tail(can::USERS);
    newer.say(&[FromRunner::InventoryEnd(Rec(info))]);
    world.ctl(&["run", "user"]).ok();
    assert_eq!(newer.start().process.0.user.0, Some(own));
    end(taskd);
}
