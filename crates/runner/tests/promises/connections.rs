//! One daemon is attached, it knows everything, and nobody else can do harm.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Signal;
use taskd_wire::frame::put_frame;
use taskd_wire::hello::{Hello, MAGIC};
use taskd_wire::runner::{End, FromRunner, Start, ToRunner};

use crate::life::{Daemon, Home, PATIENCE, exec, key, now, shell, to_start, wait_until};

crate::tests![
    a_new_daemon_takes_over_and_is_told_everything,
    of_two_daemons_at_once_each_is_told_what_is_its_own,
    a_result_is_kept_until_it_is_forgotten,
    a_large_inventory_comes_in_pages,
    strangers_and_nonsense_end_their_own_connection_alone,
    whoever_says_nothing_is_shown_out,
    a_daemon_that_does_not_read_is_dropped_and_loses_nothing,
    another_runner_is_refused,
    what_is_taken_away_from_a_living_runner_is_made_anew,
    the_socket_of_a_living_runner_is_not_taken_away,
    the_socket_is_for_its_user_alone,
];

fn a_new_daemon_takes_over_and_is_told_everything() {
    let home = Home::new();
    let life = home.start();
    let (mut first, inventory) = life.attach();
    assert_eq!((inventory.live.len(), inventory.ended.len()), (0, 0));
    let pid = first.start(Start {
        fire_time_ms: Some(77),
        trace_id: 5,
        ..shell(1, "exec sleep 1000")
    });
    first.start(shell(2, "trap '' TERM; echo ready; while :; do sleep 0.01; done"));
    home.first_line(key(2));
    first.run(shell(3, "exit 3"));
    first.say(&[ToRunner::Stop {
        key: key(2),
        grace_ms: 3_600_000,
    }]);
    // Said after the stop on the same connection: once this is answered the stop was taken in.
    first.run(shell(4, "exit 4"));

    let (mut second, inventory) = life.attach();
    assert_eq!(inventory.live_keys(), [key(1), key(2)]);
    assert_eq!(inventory.ended_keys(), [key(3), key(4)]);
    let live = inventory
        .live
        .iter()
        .find(|live| live.origin.key == key(1))
        .expect("it lives");
    assert_eq!((live.pid, live.stopping), (pid, false));
    assert_eq!((live.origin.fire_time_ms, live.origin.trace_id), (Some(77), 5));
    assert!(
        inventory
            .live
            .iter()
            .any(|live| live.origin.key == key(2) && live.stopping)
    );
    assert_eq!(inventory.info.version, env!("CARGO_PKG_VERSION"));
    assert!(first.hear().is_none(), "the first is closed");

    second.say(&[ToRunner::Stop {
        key: key(1),
        grace_ms: 3_600_000,
    }]);
    assert_eq!(second.ended().end, End::Signalled(15));
    // Attaching again on the same connection tells it all again.
    let again = second.attach();
    assert_eq!(again.live_keys(), [key(2)]);
    assert_eq!(again.ended_keys(), [key(1), key(3), key(4)]);
}

fn of_two_daemons_at_once_each_is_told_what_is_its_own() {
    let home = Home::new();
    let life = home.start();
    let (mut first, inventory) = life.attach();
    first.run(shell(1, "exit 1"));
    let runner = inventory.info.pid;
    let mut second = life.connect();
    let mut third = life.connect();
    crate::life::kill(runner, Signal::STOP);
    second.say(&[ToRunner::Attach, to_start(shell(2, "exit 2"))]);
    third.say(&[ToRunner::Attach, to_start(shell(3, "exit 3"))]);
    crate::life::kill(runner, Signal::CONT);
    let is_over = |daemon: &Daemon| {
        let mut fds = [PollFd::new(&daemon.stream, PollFlags::RDHUP)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut fds, Some(&now)).expect("a socket") > 0
    };
    wait_until("one of them is superseded", || is_over(&second) || is_over(&third));
    // What it has said is taken in, what it has asked for is not told to the other.
    let mut last = if is_over(&second) { third } else { second };
    let mut seen = last.heard_inventory();
    while seen.ended.len() < 3 {
        match last.hear().expect("the end of a run") {
            FromRunner::Ended(ended) => seen.ended.push(ended.0),
            FromRunner::Started { .. } => {}
            other => panic!("{other:?} instead of an end"),
        }
    }
    assert_eq!(seen.ended_keys(), [key(1), key(2), key(3)]);
    assert_eq!(last.run(shell(4, "exit 4")).end, End::Exited(4));
}

fn a_result_is_kept_until_it_is_forgotten() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    daemon.run(shell(1, "exit 1"));
    daemon.run(shell(2, "exit 2"));
    for _ in 0..2 {
        let (_daemon, inventory) = life.attach();
        assert_eq!(inventory.ended_keys(), [key(1), key(2)]);
    }
    let (mut daemon, _) = life.attach();
    daemon.say(&[ToRunner::Forget(key(1)), ToRunner::Forget(key(99))]);
    assert_eq!(daemon.attach().ended_keys(), [key(2)]);
    // Forgotten is unknown: the same key may start again.
    assert_eq!(daemon.run(shell(1, "exit 9")).end, End::Exited(9));
}

fn a_large_inventory_comes_in_pages() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    // Too long for a child, so these fail; what counts is that the results are large.
    let large = |run| Start {
        task: "x".repeat(400_000),
        ..exec(run, &["true"])
    };
    for run in 1..=12 {
        let ended = daemon.run(large(run));
        assert!(matches!(ended.end, End::SpawnFailed { errno: libc::E2BIG, .. }));
    }
    let (_daemon, inventory) = life.attach();
    assert_eq!(inventory.ended.len(), 12);
}

/// Waits until the runner has closed the connection.
fn is_closed(mut stream: &UnixStream) -> bool {
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

fn strangers_and_nonsense_end_their_own_connection_alone() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    daemon.start(shell(1, "exec sleep 1000"));
    let connect = || UnixStream::connect(home.socket()).expect("it listens");
    let hello = Hello::ours().encode();
    let with_hello = |bytes: &[u8]| [&hello, bytes].concat();
    let mut future = Hello::ours();
    (future.min, future.max) = (900, 999);
    let mut start_first = hello.clone();
    taskd_wire::frame::put_message(&mut start_first, &to_start(shell(66, "exit 0"))).expect("it fits");
    let mut garbage_message = hello.clone();
    put_frame(&mut garbage_message, &[1, 250, 251, 252]).expect("it fits");
    let mut basic = hello.clone();
    put_frame(&mut basic, &[0, 1]).expect("it fits");
    let mut nonsense_attached = hello.clone();
    taskd_wire::frame::put_message(
        &mut nonsense_attached,
        &ToRunner::Stop {
            key: key(1),
            grace_ms: 0,
        },
    )
    .expect("it fits");
    for (what, bytes) in [
        ("not our hello", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("a hello that never ends", [&MAGIC[..], &[0xFF; 4096]].concat()),
        ("a protocol to come", future.encode()),
        ("an endless frame", with_hello(&[0xFF; 64])),
        ("an empty frame", with_hello(&[0; 4])),
        ("a message that is none", garbage_message),
        ("protocol 0", basic),
        ("a start without attaching", start_first),
        ("a stop without attaching", nonsense_attached),
    ] {
        let mut stream = connect();
        // It may be closed before all is written.
        let _ = stream.write_all(&bytes);
        assert!(is_closed(&stream), "{what}");
    }
    // These hold on to their connections: half a hello, half a frame, nothing.
    let mut half_hello = connect();
    half_hello.write_all(&hello[..7]).expect("it reads");
    let mut half_frame = connect();
    half_frame.write_all(&with_hello(&[200, 0, 0, 0, 1])).expect("it reads");
    let silent: Vec<_> = (0..100).map(|_| connect()).collect();

    assert_eq!(
        daemon.run(shell(2, "exit 2")).end,
        End::Exited(2),
        "the daemon is heard"
    );
    let (_daemon, inventory) = life.attach();
    assert_eq!(inventory.live_keys(), [key(1)]);
    assert_eq!(inventory.ended_keys(), [key(2)]);
    drop(silent);
}

fn whoever_says_nothing_is_shown_out() {
    let home = Home::new();
    let life = home.start();
    let began = now();
    let silent = UnixStream::connect(home.socket()).expect("it listens");
    let greeted = life.connect();
    assert!(is_closed(&silent));
    assert!(is_closed(&greeted.stream), "a hello alone is not enough");
    assert!(began.elapsed().as_millis() >= 4900, "they had their time");
}

fn a_daemon_that_does_not_read_is_dropped_and_loses_nothing() {
    const COUNT: u64 = 40;
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let large = |run| Start {
        task: "x".repeat(400_000),
        ..exec(run, &["true"])
    };
    for run in 0..COUNT {
        let mut bytes = Vec::new();
        taskd_wire::frame::put_message(&mut bytes, &to_start(large(run))).expect("it fits");
        if daemon.stream.write_all(&bytes).is_err() {
            break;
        }
    }
    wait_until("the runner trusts the disk more", || home.has_spooled());
    // All that was sent to it before is there to be read, then the end.
    let mut heard = 0;
    while daemon.hear().is_some() {
        heard += 1;
    }
    assert!(heard < COUNT, "it was dropped");
    let (_daemon, inventory) = life.attach();
    assert!(inventory.ended.len() as u64 + inventory.live.len() as u64 > heard);
}

fn another_runner_is_refused() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, inventory) = life.attach();
    let second = home.command().output().expect("this program");
    assert_eq!(second.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&second.stderr).into_owned();
    let first = format!("another runner (pid {}) works in", inventory.info.pid);
    assert!(complaint.contains(&first), "{complaint}");
    assert_eq!(daemon.run(shell(1, "exit 6")).end, End::Exited(6), "the first goes on");
    life.attach();
}

fn what_is_taken_away_from_a_living_runner_is_made_anew() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, inventory) = life.attach();
    daemon.start(shell(1, "exec sleep 1000"));
    let lock = home.state_dir().join("runner.lock");
    for path in [home.socket(), lock.clone(), home.socket(), lock.clone()] {
        let inode = || fs::metadata(&path).map(|found| found.ino()).ok();
        let before = inode();
        fs::rename(&path, home.path().join("taken")).expect("it is there");
        wait_until("it is there again", || inode().is_some_and(|now| Some(now) != before));
    }
    let second = home.command().output().expect("this program");
    assert_eq!(second.status.code(), Some(1), "it would work beside the first");
    let mode = fs::metadata(home.socket()).expect("it exists").mode() & 0o777;
    assert_eq!(mode, 0o600);
    drop(daemon);
    let (_daemon, again) = life.attach();
    assert_eq!(again.info.instance, inventory.info.instance);
    assert_eq!(again.live_keys(), [key(1)]);
}

fn the_socket_of_a_living_runner_is_not_taken_away() {
    let home = Home::new();
    let life = home.start();
    let other = home.command_in(&home.path().join("other")).output().expect("it runs");
    assert_eq!(other.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(complaint.contains("cannot listen at"), "{complaint}");
    life.attach();
}

fn the_socket_is_for_its_user_alone() {
    let home = Home::new();
    fs::write(home.socket(), "not a socket").expect("room");
    let refused = home.command().output().expect("this program");
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(fs::read(home.socket()).expect("it is still there"), b"not a socket");
    fs::remove_file(home.socket()).expect("it is there");

    let mut life = home.start();
    let mode = |path| fs::metadata(path).expect("it exists").mode() & 0o777;
    assert_eq!(mode(home.socket()), 0o600);
    assert_eq!(mode(home.state_dir()), 0o700);
    assert_eq!(mode(home.state_dir().join("spool")), 0o700);
    // What a dead runner leaves is replaced.
    crate::life::kill(life.guard_pid(), rustix::process::Signal::KILL);
    life.wait();
    assert!(home.socket().exists());
    let life = home.start();
    life.attach();
}
