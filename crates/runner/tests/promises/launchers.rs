//! Children are started by launchers: what they use is their own, and a launcher may be lost.

use std::fs;

use rustix::process::{Pid, Signal};
use taskd_wire::definition::EnvVar;
use taskd_wire::runner::{End, Ended, FromRunner, Start, ToRunner};

use crate::life::{Home, exec, is_alive, key, kill, shell, to_start, wait_until};

crate::tests![
    the_memory_of_a_command_is_its_own,
    a_command_may_be_as_long_as_the_system_allows,
    launchers_have_nothing_open_and_end_with_the_worker,
    a_lost_launcher_harms_no_run_and_no_start,
    the_end_of_a_launcher_does_not_hide_that_of_a_run,
    a_start_whose_launcher_is_lost_leaves_nothing,
    starts_that_hang_together_end_with_their_launcher,
    a_start_that_is_killed_with_its_launcher_is_tried_again,
    losses_amid_starts_leave_nothing_unknown,
    a_launcher_is_not_taken_for_a_leftover,
    what_may_have_little_open_starts_as_many,
];

/// The largest resident size of a launcher and of `true`, KiB, with some room: for the stacks of children, and for what comes of
/// a file with a page of it, which is up to the system.
const SMALL: u64 = 2800;

/// A process as `/proc` shows it.
struct Process {
    pid: u32,
    name: String,
    session: u32,
    started: u64,
}

/// The children of a process, oldest first.
fn children(parent: u32) -> Vec<Process> {
    let mut found: Vec<Process> = fs::read_dir("/proc")
        .expect("a system")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let (before, after) = stat.rsplit_once(") ")?;
            // State, parent, group, session; the start is the 22nd of all fields.
            let fields: Vec<&str> = after.split_ascii_whitespace().collect();
            (fields[1].parse() == Ok(parent)).then(|| Process {
                pid,
                name: before.split_once('(').expect("a name").1.to_owned(),
                session: fields[3].parse().expect("a number"),
                started: fields[19].parse().expect("a number"),
            })
        })
        .collect();
    found.sort_by_key(|process| (process.started, process.pid));
    found
}

/// The launchers of a worker, the first of them first.
fn launchers(worker: u32) -> Vec<u32> {
    children(worker)
        .into_iter()
        .filter(|process| process.name == "taskd-launcher" && process.session != process.pid)
        .map(|process| process.pid)
        .collect()
}

/// The children of a worker that are not through with their exec: they lead a session and still have their launcher's name.
fn hanging(worker: u32) -> Vec<u32> {
    children(worker)
        .into_iter()
        .filter(|process| process.name == "taskd-launcher" && process.session == process.pid)
        .map(|process| process.pid)
        .collect()
}

/// Kills processes and waits until their parent has taken note.
fn kill_all(pids: &[u32]) {
    for pid in pids {
        let pid = Pid::from_raw(pid.cast_signed()).expect("a process id");
        // After a large start it gives its room back, by ending.
        match rustix::process::kill_process(pid, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => panic!("{pid:?} cannot be killed: {error}"),
        }
    }
    for pid in pids {
        wait_until("it is reaped", || fs::metadata(format!("/proc/{pid}")).is_err());
    }
}

/// The resident size of a process, KiB.
fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.expect("a size").parse().expect("a number")
}

/// What a process has open, by numbers.
fn open_in(pid: u32) -> Vec<(String, String)> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    let mut open: Vec<_> = open
        .filter_map(|entry| {
            let path = entry.expect("readable").path();
            let number = path.file_name()?.to_str()?.to_owned();
            // It may just have been closed.
            Some((number, fs::read_link(&path).ok()?.to_str()?.to_owned()))
        })
        .collect();
    open.sort();
    open
}

#[track_caller]
fn assert_small(ended: &Ended) {
    assert_eq!(ended.end, End::Exited(0));
    assert!((1..SMALL).contains(&ended.max_rss_kib), "{} KiB", ended.max_rss_kib);
}

fn the_memory_of_a_command_is_its_own() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, inventory) = life.attach();
    // Results that nobody acknowledges are held by the worker.
    for run in 1..=16 {
        let large = Start {
            task: "x".repeat(400_000),
            ..exec(run, &["true"])
        };
        daemon.run(large);
    }
    let held = resident_kib(inventory.info.pid);
    assert!(held > 2 * SMALL, "the worker has {held} KiB");
    // Both threads need new launchers, which are made only now.
    kill_all(&launchers(inventory.info.pid)[1..]);
    for run in 21..=30 {
        assert_small(&daemon.run(exec(run, &["/bin/true"])));
    }
    let large = daemon.run(shell(40, "head -c 60M /dev/zero | tail -c 50M > /dev/null"));
    assert!(
        (50_000..60_000).contains(&large.max_rss_kib),
        "{} KiB",
        large.max_rss_kib
    );
    assert_small(&daemon.run(exec(41, &["/bin/true"])));
}

fn a_command_may_be_as_long_as_the_system_allows() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let variables = 9;
    let value = "v".repeat(100 << 10);
    let env = (0..variables)
        .map(|number| EnvVar {
            name: format!("LARGE_{number}"),
            value: value.clone(),
        })
        .collect();
    let start = Start {
        env,
        ..shell(1, "env | grep ^LARGE_ | tr -d '\\n' | wc -c")
    };
    assert_eq!(daemon.run(start).end, End::Exited(0));
    let expected = variables * ("LARGE_0=".len() + value.len());
    assert_eq!(home.first_line(key(1)), expected.to_string());

    // Two bytes and a pointer each.
    let of = |count: usize| [vec!["/bin/true"], vec!["a"; count]].concat();
    assert_eq!(daemon.run(exec(2, &of(100_000))).end, End::Exited(0));
    let what = "exec /bin/true".to_owned();
    let errno = libc::E2BIG;
    let too_long = daemon.run(exec(3, &of(300_000)));
    assert_eq!(too_long.end, End::SpawnFailed { errno, what });
    assert_small(&daemon.run(exec(4, &["/bin/true"])));
}

fn launchers_have_nothing_open_and_end_with_the_worker() {
    let home = Home::new();
    let mut life = home.start();
    let (mut daemon, inventory) = life.attach();
    let worker = inventory.info.pid;
    // The first of them, and one for each thread. What one starts looks like one for a moment, and not twice.
    let mut found = Vec::new();
    wait_until("all are there", || {
        let before = std::mem::replace(&mut found, launchers(worker));
        found.len() == 3 && found == before
    });
    daemon.run(exec(1, &["true"]));
    let launchers = found;
    for pid in &launchers {
        let open = open_in(*pid);
        let numbers: Vec<_> = open.iter().map(|(number, _)| number.as_str()).collect();
        assert_eq!(numbers, ["0", "1", "2"]);
        for (_, target) in open {
            assert!(target.starts_with("socket:"), "{target:?}");
        }
        let cwd = fs::read_link(format!("/proc/{pid}/cwd")).expect("it runs");
        assert_eq!(cwd.to_str(), Some("/"));
    }
    kill(worker, Signal::KILL);
    life.wait();
    for pid in launchers {
        assert!(!is_alive(pid), "it is gone before the guard");
    }
}

fn a_lost_launcher_harms_no_run_and_no_start() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, inventory) = life.attach();
    let worker = inventory.info.pid;
    let sleeper = daemon.start(shell(1, "exec sleep 1000"));
    for run in 2..=9 {
        assert_small(&daemon.run(exec(run, &["/bin/true"])));
    }
    let before = launchers(worker);
    kill_all(&before[1..]);
    for run in 10..=19 {
        assert_small(&daemon.run(exec(run, &["/bin/true"])));
    }
    assert!(launchers(worker).len() > 1, "there are new ones");
    assert_eq!(launchers(worker)[0], before[0]);

    kill_all(&launchers(worker));
    for run in 20..=29 {
        assert_eq!(daemon.run(exec(run, &["/bin/true"])).end, End::Exited(0));
    }
    // The first alone: only who needs another launcher needs it.
    kill_all(&launchers(worker)[..1]);
    kill_all(&launchers(worker));
    assert_eq!(daemon.run(exec(30, &["/bin/true"])).end, End::Exited(0));

    assert!(is_alive(sleeper));
    let (key, grace_ms) = (key(1), 60_000);
    daemon.say(&[ToRunner::Stop { key, grace_ms }]);
    assert_eq!(daemon.ended().end, End::Signalled(15));
}

fn the_end_of_a_launcher_does_not_hide_that_of_a_run() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, inventory) = life.attach();
    daemon.start(shell(1, "while [ ! -e go ]; do sleep 0.01; done"));
    let Some((_file, start)) = home.start_that_hangs(2) else {
        println!("skipped: no leases on this file system");
        return;
    };
    daemon.say(&[to_start(start)]);
    let worker = inventory.info.pid;
    wait_until("it hangs", || !hanging(worker).is_empty());
    kill_all(&launchers(worker)[..1]);
    fs::write(home.path().join("go"), "").expect("room");
    let ended = daemon.ended();
    assert_eq!((ended.origin.key, ended.end), (key(1), End::Exited(0)));
}

fn a_start_whose_launcher_is_lost_leaves_nothing() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, inventory) = life.attach();
    let worker = inventory.info.pid;
    let Some((file, start)) = home.start_that_hangs(1) else {
        println!("skipped: no leases on this file system");
        return;
    };
    daemon.say(&[to_start(start)]);
    wait_until("it hangs", || !hanging(worker).is_empty());
    let [child] = hanging(worker)[..] else {
        panic!("one hangs")
    };
    for launcher in launchers(worker) {
        // Of those that came with it nobody would see the ends of their pipes.
        wait_until("nothing but its socket is open", || open_in(launcher).len() == 3);
    }
    kill_all(&launchers(worker)[1..]);
    let ended = daemon.ended();
    let (errno, what) = (libc::EIO, "launcher".to_owned());
    assert_eq!(ended.end, End::SpawnFailed { errno, what });
    assert!(
        fs::metadata(format!("/proc/{child}")).is_err(),
        "it was reaped before that is said"
    );
    drop(file);
    assert_small(&daemon.run(exec(2, &["/bin/true"])));
}

fn starts_that_hang_together_end_with_their_launcher() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, inventory) = life.attach();
    let worker = inventory.info.pid;
    let all: Option<Vec<_>> = (1..=4).map(|run| home.start_that_hangs(run)).collect();
    let Some(all) = all else {
        println!("skipped: no leases on this file system");
        return;
    };
    let (leased, starts): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    // Each of two threads takes two of them.
    daemon.say(&starts.into_iter().map(to_start).collect::<Vec<_>>());
    wait_until("all hang, with nothing open that is another's", || {
        let all = hanging(worker);
        all.len() == 4 && all.iter().all(|pid| open_in(*pid).len() == 3)
    });
    kill_all(&launchers(worker)[1..]);
    for _ in 1..=4 {
        let (errno, what) = (libc::EIO, "launcher".to_owned());
        assert_eq!(daemon.ended().end, End::SpawnFailed { errno, what });
    }
    drop(leased);
    assert_small(&daemon.run(exec(5, &["/bin/true"])));
}

fn a_start_that_is_killed_with_its_launcher_is_tried_again() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, inventory) = life.attach();
    let worker = inventory.info.pid;
    let Some((file, start)) = home.start_that_hangs(1) else {
        println!("skipped: no leases on this file system");
        return;
    };
    daemon.say(&[to_start(start)]);
    wait_until("it hangs", || !hanging(worker).is_empty());
    let [child] = hanging(worker)[..] else {
        panic!("one hangs")
    };
    // The launcher has no time to answer, as where the kernel kills both at once.
    let launchers = launchers(worker);
    for launcher in &launchers[1..] {
        kill(*launcher, Signal::STOP);
    }
    kill(child, Signal::KILL);
    wait_until("it has ended", || {
        let stat = fs::read_to_string(format!("/proc/{child}/stat"));
        stat.map_or(true, |stat| stat.contains(") Z "))
    });
    kill_all(&launchers[1..]);
    drop(file);
    assert_eq!(daemon.ended().end, End::Exited(0));
}

fn losses_amid_starts_leave_nothing_unknown() {
    const COUNT: u64 = 300;
    let home = Home::new();
    let life = home.start();
    let (mut daemon, inventory) = life.attach();
    let worker = inventory.info.pid;
    // Each is there until it is told to end, so that one that nobody knows would be found.
    let line = "while [ ! -e go ]; do sleep 0.1; done";
    let starts: Vec<_> = (0..COUNT).map(|run| to_start(shell(run, line))).collect();
    daemon.say(&starts);
    let mut started = Vec::new();
    let mut answers = 0;
    while answers < COUNT {
        match daemon.hear().expect("an answer") {
            FromRunner::Started { pid, .. } => {
                started.push(pid);
                answers += 1;
            }
            FromRunner::Ended(ended) if ended.0.end == End::Signalled(9) => {
                // A child that did not lead a session yet was taken for a launcher below.
                started.retain(|pid| *pid != ended.0.pid);
            }
            FromRunner::Ended(ended) => {
                let (errno, what) = (libc::EIO, "launcher".to_owned());
                assert_eq!(ended.0.end, End::SpawnFailed { errno, what });
                answers += 1;
            }
            other => panic!("{other:?} instead of an answer"),
        }
        if answers % 5 == 0 {
            for pid in launchers(worker) {
                let pid = Pid::from_raw(pid.cast_signed()).expect("a process id");
                // It may just have ended.
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
    }
    kill_all(&launchers(worker));
    let unknown = || {
        children(worker)
            .into_iter()
            .find(|process| !started.contains(&process.pid))
    };
    wait_until("only runs are left", || unknown().is_none());
    fs::write(home.path().join("go"), "").expect("room");
    for _ in 0..started.len() {
        let ended = daemon.ended();
        assert!(matches!(ended.end, End::Exited(0) | End::Signalled(9)), "{ended:?}");
    }
}

fn a_launcher_is_not_taken_for_a_leftover() {
    let home = Home::new();
    let mut life = home.start();
    let (mut daemon, inventory) = life.attach();
    daemon.start(shell(1, "echo $TASKD_RUNNER; exec sleep 1000"));
    let cookie = home.first_line(key(1));
    kill(inventory.info.pid, Signal::KILL);
    life.wait();
    // As if this one were started from that run.
    let mut command = home.command();
    command.env("TASKD_RUNNER", cookie);
    let life = home.start_with(command);
    let (_daemon, inventory) = life.attach();
    wait_until("it has its name", || !launchers(inventory.info.pid).is_empty());
    let errors = fs::read_to_string(home.path().join("stderr")).expect("text");
    assert_eq!(errors, "", "nothing was swept");
}

fn what_may_have_little_open_starts_as_many() {
    const COUNT: u64 = 300;
    let home = Home::new();
    // The limit that launchers and children have; the worker takes what it may.
    let life = home.start_with(home.command_by(&["/bin/sh", "-c", r#"ulimit -S -n 10; exec "$0" "$@""#]));
    let (mut daemon, _) = life.attach();
    // Where groups can be made, it has one of its own.
    let line = "echo; ulimit -S -n; grep -c /taskd- /proc/self/cgroup; :";
    let alone = daemon.run(shell(COUNT + 1, line));
    let said = home.text(alone.origin.key, "stdout");
    assert!(said.starts_with("\n10\n"), "{said:?}");
    let starts: Vec<_> = (1..=COUNT).map(|run| to_start(shell(run, line))).collect();
    daemon.say(&starts);
    for _ in 0..COUNT {
        let ended = daemon.ended();
        assert_eq!(ended.end, End::Exited(0));
        assert_eq!(home.text(ended.origin.key, "stdout"), said);
    }
}
