//! Promise: versions upgrade one after the other. A daemon and a runner of an earlier version, played by the bytes that they
//! said, work with the runner and the daemon of this one. None of it goes through the crate that makes the bytes today.

mod frozen;

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use crate::harness::{DEADLINE, World, alive, wait_for};
use frozen::{Ended, Heard, Live, Told};

const GOLDEN: &str = include_str!("older/protocol-1.txt");

/// What an earlier version said under this name.
fn said(name: &str) -> Vec<u8> {
    let line = GOLDEN
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let hex = line.unwrap_or_else(|| panic!("nothing was kept of {name}"));
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"))
        .collect()
}

/// One side of a conversation with a program of this version.
struct Peer {
    stream: UnixStream,
    heard: Vec<u8>,
}

impl Peer {
    /// Both say hello.
    fn greet(stream: UnixStream) -> Peer {
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        let mut peer = Peer {
            stream,
            heard: Vec::new(),
        };
        peer.say("hello");
        while !frozen::take_hello(&mut peer.heard) {
            assert!(peer.hear_more(), "it hung up before its hello");
        }
        peer
    }

    fn connect(socket: &Path) -> Peer {
        let stream = wait_for("the runner", || UnixStream::connect(socket).ok());
        let mut peer = Peer::greet(stream);
        peer.say("daemon-attach");
        peer
    }

    fn say(&mut self, name: &str) {
        self.stream.write_all(&said(name)).expect("it reads");
    }

    fn hear_more(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let length = self.stream.read(&mut bytes).unwrap_or(0);
        self.heard.extend_from_slice(&bytes[..length]);
        length > 0
    }

    /// The next message, without its frame.
    fn hear(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(message) = frozen::take_frame(&mut self.heard) {
                return Some(message);
            }
            if !self.hear_more() {
                return None;
            }
        }
    }

    fn of_runner(&mut self) -> Heard {
        frozen::of_runner(&self.hear().expect("the runner is there"))
    }

    fn of_daemon(&mut self) -> Told {
        frozen::of_daemon(&self.hear().expect("the daemon is there"))
    }

    /// The whole inventory.
    fn inventory(&mut self) -> (Vec<Live>, Vec<Ended>) {
        let (mut all_live, mut all_ended) = (Vec::new(), Vec::new());
        loop {
            match self.of_runner() {
                Heard::Inventory { live, ended } => {
                    all_live.extend(live);
                    all_ended.extend(ended);
                }
                Heard::InventoryEnd { pid, version } => {
                    assert!(pid > 0 && !version.is_empty());
                    return (all_live, all_ended);
                }
                other => panic!("before the inventory: {other:?}"),
            }
        }
    }
}

fn runner(world: &World) -> (Child, std::path::PathBuf) {
    let socket = world.path("state/runner.sock");
    let given = world.taskd();
    let mut runner = Command::new(given.get_program());
    for (name, value) in given.get_envs() {
        runner.env(name, value.expect("only set"));
    }
    runner.arg("runner").arg("--state-dir").arg(world.path("state"));
    let runner = runner.arg("--socket").arg(&socket).stdin(Stdio::null()).spawn();
    (runner.expect("it starts"), socket)
}

#[test]
fn a_runner_works_for_a_daemon_of_an_earlier_version() {
    let world = World::new();
    let (mut runner, socket) = runner(&world);
    let mut daemon = Peer::connect(&socket);
    assert_eq!(daemon.inventory(), (vec![], vec![]));
    daemon.say("daemon-start");
    let Heard::Started { key, pid } = daemon.of_runner() else {
        panic!("it did not start")
    };
    assert!(key == (1, 1, 1) && pid > 0);
    let Heard::Ended(ended) = daemon.of_runner() else {
        panic!("it did not end")
    };
    let expected = Ended {
        key: (1, 1, 1),
        task: "job".to_owned(),
        pid,
        exited: Some(7),
        stopped: false,
    };
    assert_eq!(ended, expected);
    let output = std::fs::read_to_string(world.path("state/output/1/1.1.jsonl")).expect("there was some");
    assert!(output.contains("older job/1"), "{output}");
    // Nothing was acknowledged: the next one is told again. Then it is, and another begins and is stopped.
    drop(daemon);
    let mut daemon = Peer::connect(&socket);
    assert_eq!(daemon.inventory(), (vec![], vec![expected]));
    daemon.say("daemon-forget");
    daemon.say("daemon-start-long");
    assert!(matches!(daemon.of_runner(), Heard::Started { key: (2, 1, 1), .. }));
    drop(daemon);
    let mut daemon = Peer::connect(&socket);
    let (live, ended) = daemon.inventory();
    let [Live { key: (2, 1, 1), pid }] = live.as_slice() else {
        panic!("{live:?}")
    };
    assert!(alive(*pid) && ended.is_empty(), "{ended:?}");
    daemon.say("daemon-stop-long");
    let Heard::Ended(ended) = daemon.of_runner() else {
        panic!("it did not end")
    };
    assert!(
        ended.key == (2, 1, 1) && ended.stopped && ended.exited.is_none(),
        "{ended:?}"
    );
    daemon.say("daemon-forget-long");
    daemon.say("daemon-shutdown");
    while daemon.hear().is_some() {}
    let status = wait_for("the runner to end", || runner.try_wait().expect("a child"));
    assert!(status.success());
}

#[test]
fn a_daemon_works_with_a_runner_of_an_earlier_version() {
    let mut world = World::new();
    std::fs::create_dir(world.path("state")).expect("a directory");
    let listener = UnixListener::bind(world.path("state/runner.sock")).expect("a socket");
    let accept = || {
        let (stream, _) = listener.accept().expect("the daemon connects");
        let mut runner = Peer::greet(stream);
        assert!(matches!(runner.of_daemon(), Told::Attach));
        runner
    };
    let taskd = || {
        let mut taskd = world.taskd();
        taskd.arg("--external-runner");
        taskd
    };
    let first = taskd();
    let second = taskd();
    world.spawn(first);
    let mut runner = accept();
    runner.say("runner-inventory-end");
    world.wait_served();
    assert_eq!(world.runner_pid(), 4710);
    world.ctl(&["add", "--name", "job", "--manual", "--", "true"]).ok();
    world.ctl(&["run", "job"]).ok();
    let Told::Start { key, task, argv } = runner.of_daemon() else {
        panic!("it is told to start nothing")
    };
    assert_eq!((key, task.as_str(), argv), ((1, 1, 1), "job", vec!["true".to_owned()]));
    runner.say("runner-started");
    wait_for("the start to be recorded", || {
        (world.run_of("job/1")["state"] == "running").then_some(())
    });
    // The daemon is killed, and the next one finds the run in the inventory.
    world.kill();
    drop(runner);
    world.spawn(second);
    let mut runner = accept();
    runner.say("runner-inventory-live");
    runner.say("runner-inventory-end");
    world.wait_served();
    assert_eq!(world.run_of("job/1")["state"], "running");
    world.ctl(&["cancel", "job"]).ok();
    assert!(matches!(runner.of_daemon(), Told::Stop { key: (1, 1, 1), .. }));
    runner.say("runner-ended");
    assert_eq!(world.finished("job/1")["exit_code"], 3);
    assert!(matches!(runner.of_daemon(), Told::Forget { key: (1, 1, 1) }));
    world.signal(Signal::TERM);
    assert!(world.wait_ended().success());
}
