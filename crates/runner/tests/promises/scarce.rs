//! When something is scarce or slow the runner can still be commanded, and loses nothing.

use std::fs;
use std::io::Write as _;
use std::os::fd::OwnedFd;

use rustix::fs::OFlags;
use rustix::process::{Pid, Resource, Rlimit, Signal};
use taskd_wire::runner::{End, FromRunner, ToRunner};

use crate::kept::Mount;
use crate::life::{Daemon, Home, exec, is_alive, key, kill, shell, to_start, wait_until};

crate::tests![
    runs_leave_descriptors_to_the_runner,
    who_cannot_be_taken_in_is_taken_in_later,
    nobody_reading_the_complaints_holds_nothing_up,
    what_could_not_be_spooled_is_spooled_later,
    a_runner_starts_on_a_full_disk_and_keeps_what_was_spooled,
    what_waits_for_a_thread_that_hangs_goes_to_one_that_does_not,
    starts_that_hang_hold_up_no_end,
    who_cannot_be_looked_for_is_not_taken_for_gone,
];

fn runs_leave_descriptors_to_the_runner() {
    const COUNT: u64 = 60;
    let home = Home::new();
    let life = home.start_with(home.command_by(&["/bin/sh", "-c", r#"ulimit -n 256; exec "$0" "$@""#]));
    let (mut daemon, _) = life.attach();
    let starts: Vec<_> = (1..=COUNT)
        .map(|run| to_start(shell(run, "echo hello; exec sleep 1000")))
        .collect();
    daemon.say(&starts);
    let (mut started, mut refused) = (Vec::new(), 0);
    while started.len() + refused < starts.len() {
        match daemon.hear().expect("an answer") {
            FromRunner::Started { key, .. } => started.push(key),
            FromRunner::Ended(ended) => {
                let (errno, what) = (libc::EMFILE, "pipe".to_owned());
                assert_eq!(ended.0.end, End::SpawnFailed { errno, what });
                refused += 1;
            }
            other => panic!("{other:?} instead of an answer"),
        }
    }
    assert!(refused > 0 && started.len() > 30, "{refused} of {COUNT}");
    for key in &started {
        home.first_line(*key);
    }
    // It hears and answers, and starts more when others have ended.
    let (mut daemon, inventory) = life.attach();
    assert_eq!(inventory.live.len(), started.len());
    daemon.say(&[ToRunner::Stop {
        key: started[0],
        grace_ms: 3_600_000,
    }]);
    assert_eq!(daemon.ended().end, End::Signalled(15));
    assert_eq!(daemon.run(shell(COUNT + 1, "exit 3")).end, End::Exited(3));
}

fn limit_files(pid: u32, current: u64) {
    let pid = Pid::from_raw(pid.cast_signed());
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: Some(current),
        maximum: limit.maximum,
    };
    rustix::process::prlimit(pid, Resource::Nofile, limit).expect("it is ours");
}

fn who_cannot_be_taken_in_is_taken_in_later() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, inventory) = life.attach();
    let open = fs::read_dir(format!("/proc/{}/fd", inventory.info.pid))
        .expect("it runs")
        .count();
    limit_files(inventory.info.pid, open as u64);
    let late = std::os::unix::net::UnixStream::connect(home.socket()).expect("it listens");
    let complaints = || fs::read_to_string(home.path().join("stderr")).expect("text");
    wait_until("it has no descriptor for it", || {
        complaints().contains("cannot take in")
    });
    limit_files(inventory.info.pid, 1000);
    // Nobody else connects, and nothing else happens.
    let mut bytes = [0; 4];
    let mut late = &late;
    late.set_read_timeout(Some(crate::life::PATIENCE)).expect("a socket");
    std::io::Read::read_exact(&mut late, &mut bytes).expect("it says hello");
    assert_eq!(daemon.run(shell(1, "exit 3")).end, End::Exited(3));
}

/// A pipe that is full and that nobody reads, and its other end.
fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
    rustix::fs::fcntl_setfl(&writer, OFlags::NONBLOCK).expect("a pipe");
    let mut file = fs::File::from(writer);
    while file.write(&[b'x'; 4096]).is_ok() {}
    rustix::fs::fcntl_setfl(&file, OFlags::empty()).expect("a pipe");
    (file.into(), reader)
}

fn nobody_reading_the_complaints_holds_nothing_up() {
    let home = Home::new();
    let (writer, _reader) = full_pipe();
    let notify = home.path().join("ready");
    let ready = std::os::unix::net::UnixDatagram::bind(&notify).expect("room");
    let guard = home
        .command()
        .env("NOTIFY_SOCKET", &notify)
        .stderr(writer)
        .spawn()
        .expect("this program");
    ready.recv(&mut [0; 64]).expect("it is ready");
    let life = home.living(guard);
    let (mut daemon, _) = life.attach();
    daemon.run(shell(1, "exit 1"));
    // Something to complain about.
    fs::remove_dir(home.state_dir().join("spool")).expect("it is empty");
    drop(daemon);
    for _ in 0..3 {
        let (_daemon, inventory) = life.attach();
        assert_eq!(inventory.ended_keys(), [key(1)]);
    }
}

fn what_could_not_be_spooled_is_spooled_later() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    daemon.run(shell(1, "exit 1"));
    fs::remove_dir(home.state_dir().join("spool")).expect("it is empty");
    drop(daemon);
    let complaints = || fs::read_to_string(home.path().join("stderr")).expect("text");
    wait_until("it cannot", || complaints().contains("cannot write the spool"));
    fs::create_dir(home.state_dir().join("spool")).expect("room");
    // Nothing else happens.
    wait_until("it can", || home.has_spooled());
}

fn a_runner_starts_on_a_full_disk_and_keeps_what_was_spooled() {
    let home = Home::new();
    let Some(mount) = Mount::new(home.state_dir(), "size=1m,mode=700") else {
        println!("skipped: this user may not mount a file system");
        return;
    };
    let mut life = home.start();
    let (mut daemon, inventory) = life.attach();
    daemon.run(shell(1, "exit 1"));
    drop(daemon);
    wait_until("its result is on disk", || home.has_spooled());
    kill(inventory.info.pid, Signal::KILL);
    life.wait();
    fs::write(home.state_dir().join("ballast"), vec![0; 2 << 20]).expect_err("it is full");
    let life = home.start();
    let (mut daemon, inventory) = life.attach();
    assert_eq!(inventory.ended_keys(), [key(1)]);
    assert_eq!(daemon.run(shell(2, "exit 2")).end, End::Exited(2));
    daemon.say(&[ToRunner::Forget(key(1)), ToRunner::Forget(key(2))]);
    wait_until("it is forgotten", || home.spool().is_empty());
    drop((daemon, life));
    drop(mount);
}

fn who_cannot_be_looked_for_is_not_taken_for_gone() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, inventory) = life.attach();
    let worker = inventory.info.pid;
    let deaf = "setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1000; done' & wait";
    let first = daemon.start(shell(1, deaf));
    let stray = home.first_line(key(1)).parse().expect("a process id");
    let open = fs::read_dir(format!("/proc/{worker}/fd")).expect("it runs").count();
    limit_files(worker, open as u64);
    daemon.say(&[ToRunner::Stop {
        key: key(1),
        grace_ms: 3000,
    }]);
    wait_until("it has ended", || !is_alive(first));
    limit_files(worker, 1000);
    assert_eq!(daemon.ended().end, End::Signalled(15));
    wait_until("the stray is gone", || !is_alive(stray));
}

/// How many threads of a runner start children.
fn spawners(runner: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{runner}/task")).expect("it runs");
    let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    let names = tasks.map(|task| name(task.expect("it runs")));
    names.filter(|name| name.starts_with("spawner-")).count() as u64
}

/// Sees that of starts that come together, few enough for one thread, the one behind so many that hang begins. Says
/// whether that could be tried.
fn others_begin(home: &Home, daemon: &mut Daemon, run: u64, hanging: u64) -> bool {
    let mut leased = Vec::new();
    let mut starts = Vec::new();
    for run in run..run + hanging {
        let Some((file, mut start)) = home.start_that_hangs(run) else {
            println!("skipped: no leases on this file system");
            return false;
        };
        // Such a start goes alone.
        start.process.0.0.oom_score_adjust = Some(500);
        leased.push(file);
        starts.push(to_start(start));
    }
    starts.push(to_start(exec(run + hanging, &["true"])));
    daemon.say(&starts);
    assert_eq!(daemon.ended().origin.key, key(run + hanging));
    drop(leased);
    for _ in 0..hanging {
        assert!(daemon.ended().origin.key < key(run + hanging));
    }
    true
}

fn what_waits_for_a_thread_that_hangs_goes_to_one_that_does_not() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, inventory) = life.attach();
    if others_begin(&home, &mut daemon, 1, 1) {
        assert_eq!(spawners(inventory.info.pid), 2, "none was added");
    }
}

fn starts_that_hang_hold_up_no_end() {
    /// As many threads as there ever are.
    const THREADS: u64 = 16;
    let home = Home::new();
    let life = home.start();
    let (mut daemon, inventory) = life.attach();
    let deaf = "setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1000; done' & wait";
    daemon.start(shell(100, deaf));
    let stray = home.first_line(key(100)).parse().expect("a process id");
    let mut leased = Vec::new();
    for run in 1..=THREADS {
        let Some((file, mut start)) = home.start_that_hangs(run) else {
            println!("skipped: no leases on this file system");
            return;
        };
        // Such a start goes alone.
        start.process.0.0.oom_score_adjust = Some(500);
        leased.push(file);
        daemon.say(&[to_start(start)]);
    }
    wait_until("all threads are taken", || spawners(inventory.info.pid) == THREADS);
    daemon.say(&[ToRunner::Stop {
        key: key(100),
        grace_ms: 200,
    }]);
    assert_eq!(daemon.ended().origin.key, key(100));
    wait_until("the stray is gone", || !is_alive(stray));
    drop(leased);
    for _ in 1..=THREADS {
        assert_eq!(daemon.ended().end, End::Exited(0));
    }
    // No thread may be added any more.
    others_begin(&home, &mut daemon, 200, 6);
}
