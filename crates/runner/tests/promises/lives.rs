//! However a runner ends, nothing of it is left behind but its results.

use std::fs;

use rustix::process::Signal;
use taskd_wire::runner::{End, FromRunner, ToRunner};

use crate::life::{Daemon, Home, is_alive, key, kill, kill_both, shell, to_start, wait_until};

crate::tests![
    results_survive_the_death_of_the_runner,
    a_killed_worker_leaves_no_orphan,
    a_killed_guard_takes_everything_with_it,
    what_guard_and_worker_leave_is_swept_by_the_next,
    who_has_the_mark_of_a_run_that_ended_is_spared_by_the_next,
    a_shutdown_stops_all_and_hands_over_the_results,
    what_is_not_acknowledged_at_a_shutdown_is_on_disk,
    a_signal_is_a_shutdown,
    a_shutdown_says_first_that_it_begins,
    a_shutdown_does_not_wait_for_a_start_that_hangs,
    a_start_that_was_given_up_leaves_nothing,
    a_start_that_was_given_up_hides_no_end,
    who_ignores_sigchld_starts_a_runner_that_ends,
    what_was_there_before_the_runner_is_none_of_its_business,
    another_directory_of_the_same_name_is_another,
    a_copy_of_the_directory_is_another,
    nothing_of_the_file_system_is_held_busy,
];

fn results_survive_the_death_of_the_runner() {
    let home = Home::new();
    let mut life = home.start();
    let (mut daemon, inventory) = life.attach();
    daemon.run(shell(1, "echo hello; exit 1"));
    daemon.start(shell(2, "while [ ! -e go ]; do sleep 0.01; done; exit 2"));
    daemon.start(shell(3, "exec sleep 1000"));
    assert!(home.spool().is_empty(), "the daemon is there");
    drop(daemon);
    wait_until("the first result is on disk", || home.has_spooled());
    fs::write(home.path().join("go"), "").expect("room");
    let spooled = || fs::read_to_string(&home.spool()[0]).expect("readable").lines().count();
    wait_until("the second result is on disk", || spooled() == 2);
    kill(inventory.info.pid, Signal::KILL);
    life.wait();

    let mut instance = inventory.info.instance;
    for _ in 0..2 {
        let mut life = home.start();
        let (_daemon, inventory) = life.attach();
        assert_ne!(instance, inventory.info.instance, "another life");
        instance = inventory.info.instance;
        assert_eq!(inventory.live_keys(), []);
        assert_eq!(inventory.ended_keys(), [key(1), key(2)]);
        let ends: Vec<_> = inventory.ended.iter().map(|ended| ended.end.clone()).collect();
        assert_eq!(ends, [End::Exited(1), End::Exited(2)]);
        assert_eq!(inventory.ended[0].output_bytes, 6);
        kill(life.guard_pid(), Signal::KILL);
        life.wait();
    }
    let life = home.start();
    let (mut daemon, _) = life.attach();
    daemon.say(&[ToRunner::Forget(key(1)), ToRunner::Forget(key(2))]);
    wait_until("the spool is gone", || home.spool().is_empty());
}

/// Starts a run of processes in the group, out of it, and without parents. Gives back all process ids.
pub fn start_family(home: &Home, daemon: &mut Daemon) -> Vec<u32> {
    let line = "echo $$; sleep 1000 & echo $!; setsid sh -c 'echo $$; exec sleep 1000' & \
                (setsid sh -c 'echo $$; (exec sleep 1000) & echo $!; exec sleep 1000' &); wait";
    daemon.start(shell(1, line));
    let path = taskd_runner::output_path(&home.state_dir(), &key(1));
    let lines = || {
        if path.exists() {
            home.text(key(1), "stdout")
        } else {
            String::new()
        }
    };
    wait_until("all have told their process ids", || lines().lines().count() == 5);
    lines()
        .lines()
        .map(|line| line.parse().expect("a process id"))
        .collect()
}

fn a_killed_worker_leaves_no_orphan() {
    let home = Home::new();
    let mut life = home.start();
    let (mut daemon, inventory) = life.attach();
    let family = start_family(&home, &mut daemon);
    kill(inventory.info.pid, Signal::KILL);
    assert_eq!(life.wait().code(), Some(128 + 9));
    for pid in family {
        assert!(!is_alive(pid), "gone before the guard");
    }
}

fn a_killed_guard_takes_everything_with_it() {
    let home = Home::new();
    let mut life = home.start();
    let (mut daemon, inventory) = life.attach();
    let pid = daemon.start(shell(1, "exec sleep 1000"));
    kill(life.guard_pid(), Signal::KILL);
    life.wait();
    wait_until("the worker is gone", || !is_alive(inventory.info.pid));
    wait_until("the child is gone", || !is_alive(pid));
    // Its control groups, if there were any, are the next one's to remove.
    drop(home.start());
}

fn what_guard_and_worker_leave_is_swept_by_the_next() {
    // Whether or not the next one is told what there was.
    let live = |home: &Home| home.state_dir().join("runner.live");
    let is_told = |_: &Home| {};
    let has_no_file = |home: &Home| fs::remove_file(live(home)).expect("it is there");
    let has_an_empty_one = |home: &Home| fs::write(live(home), "").expect("room");
    let all: [&dyn Fn(&Home); 3] = [&is_told, &has_no_file, &has_an_empty_one];
    for next in all {
        let home = Home::new();
        let life = home.start();
        let (mut daemon, inventory) = life.attach();
        let family = start_family(&home, &mut daemon);
        kill_both(life, inventory.info.pid);
        assert!(family.iter().any(|pid| is_alive(*pid)), "something is left to sweep");
        next(&home);
        // A runner of another directory does not mind them.
        let other = Home::new();
        other.start().attach();
        assert!(family.iter().any(|pid| is_alive(*pid)), "they are not the other's");
        let life = home.start();
        for pid in family {
            assert!(!is_alive(pid), "gone before the next is ready");
        }
        let (_daemon, inventory) = life.attach();
        assert_eq!((inventory.live.len(), inventory.ended.len()), (0, 0));
    }
}

fn who_has_the_mark_of_a_run_that_ended_is_spared_by_the_next() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, inventory) = life.attach();
    daemon.run(shell(2, "echo $TASKD_RUNNER"));
    let family = start_family(&home, &mut daemon);
    kill_both(life, inventory.info.pid);
    // As at(1) does, which keeps the environment of whoever asks for something.
    let mut other = std::process::Command::new("sleep")
        .arg("1000")
        .env("TASKD_RUNNER", home.first_line(key(2)))
        .spawn()
        .expect("a system");
    home.start().attach();
    assert!(!family.iter().any(|pid| is_alive(*pid)), "the others are swept");
    assert!(is_alive(other.id()));
    other.kill().expect("it is there");
    other.wait().expect("a child");
}

fn a_shutdown_stops_all_and_hands_over_the_results() {
    let home = Home::new();
    let mut life = home.start();
    let (mut daemon, _) = life.attach();
    daemon.start(shell(1, "exec sleep 1000"));
    daemon.start(shell(2, "trap '' TERM; echo ready; while :; do sleep 0.01; done"));
    home.first_line(key(2));
    daemon.say(&[ToRunner::Shutdown { grace_ms: 200 }]);
    let mut ends = Vec::new();
    while let Some(message) = daemon.hear() {
        if let FromRunner::Ended(ended) = message {
            assert!(ended.0.stopped);
            daemon.say(&[ToRunner::Forget(ended.0.origin.key)]);
            ends.push((ended.0.origin.key, ended.0.end));
        }
    }
    assert_eq!(ends, [(key(1), End::Signalled(15)), (key(2), End::Signalled(9))]);
    assert_eq!(life.wait().code(), Some(0));
    assert!(home.spool().is_empty(), "all was acknowledged");
    assert!(!home.socket().exists());
}

fn what_is_not_acknowledged_at_a_shutdown_is_on_disk() {
    let home = Home::new();
    let mut life = home.start();
    let (mut daemon, _) = life.attach();
    daemon.run(shell(1, "exit 1"));
    daemon.say(&[ToRunner::Shutdown { grace_ms: 200 }]);
    // A start that crosses that is not taken, and that is said: its fate is known.
    daemon.say(&[crate::life::to_start(shell(2, "exit 2"))]);
    let late = daemon.ended();
    assert_eq!(late.origin.key, key(2));
    assert!(
        matches!(
            late.end,
            End::SpawnFailed {
                errno: libc::ESHUTDOWN,
                ..
            }
        ),
        "{:?}",
        late.end
    );
    assert!(daemon.hear().is_none());
    assert_eq!(life.wait().code(), Some(0));
    let life = home.start();
    assert_eq!(life.attach().1.ended_keys(), [key(1), key(2)]);
}

fn a_signal_is_a_shutdown() {
    for to_worker in [false, true] {
        let home = Home::new();
        let mut life = home.start();
        let (mut daemon, inventory) = life.attach();
        let pid = daemon.start(shell(1, "exec sleep 1000"));
        drop(daemon);
        let target = if to_worker {
            inventory.info.pid
        } else {
            life.guard_pid()
        };
        kill(target, Signal::TERM);
        assert_eq!(life.wait().code(), Some(0));
        assert!(!is_alive(pid));
        let life = home.start();
        let (_daemon, inventory) = life.attach();
        assert_eq!(inventory.ended.len(), 1);
        assert_eq!(inventory.ended[0].end, End::Signalled(15));
    }
}

fn a_shutdown_says_first_that_it_begins() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, inventory) = life.attach();
    assert!(!inventory.info.closing.0);
    daemon.start(shell(1, "trap '' TERM; echo ready; while :; do sleep 0.01; done"));
    home.first_line(key(1));
    daemon.say(&[ToRunner::Shutdown { grace_ms: 3_600_000 }]);
    match daemon.hear() {
        Some(FromRunner::InventoryEnd(info)) => assert!(info.0.closing.0),
        other => panic!("{other:?} instead of that"),
    }
    let (mut daemon, inventory) = life.attach();
    assert!(inventory.info.closing.0, "a new daemon is told as well");
    daemon.say(&[ToRunner::Shutdown { grace_ms: 0 }]);
    assert_eq!(daemon.ended().end, End::Signalled(9));
}

fn a_shutdown_does_not_wait_for_a_start_that_hangs() {
    let home = Home::new();
    let mut life = home.start();
    let (mut daemon, _) = life.attach();
    let Some((_file, start)) = home.start_that_hangs(1) else {
        println!("skipped: no leases on this file system");
        return;
    };
    daemon.say(&[to_start(start)]);
    // Said behind it on the same connection: the start was taken in.
    daemon.run(shell(2, "exit 0"));
    daemon.say(&[ToRunner::Shutdown { grace_ms: 100 }]);
    let ended = daemon.ended();
    let (errno, what) = (libc::ECANCELED, "start".to_owned());
    assert_eq!(ended.end, End::SpawnFailed { errno, what });
    assert!(ended.stopped);
    drop(daemon);
    assert_eq!(life.wait().code(), Some(0));
}

fn a_start_that_was_given_up_leaves_nothing() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, inventory) = life.attach();
    let Some((file, start)) = home.start_that_hangs_before(1, "exec sleep 1000") else {
        println!("skipped: no leases on this file system");
        return;
    };
    let stop = ToRunner::Stop {
        key: key(1),
        grace_ms: 100,
    };
    daemon.say(&[to_start(start), stop]);
    let ended = daemon.ended();
    assert!(
        matches!(ended.end, End::SpawnFailed { .. }) && ended.stopped,
        "{ended:?}"
    );
    drop(file);
    wait_until("its child is gone", || leaders_below(inventory.info.pid) == 0);
    assert_eq!(daemon.run(shell(2, "exit 2")).end, End::Exited(2));
}

/// How many children lead a session, as all but launchers do, also such as are not reaped.
fn leaders_below(worker: u32) -> usize {
    let leads = |pid: &str| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(3))
            .is_some_and(|session| session == pid)
    };
    let children = fs::read_dir(format!("/proc/{worker}/task"))
        .expect("it runs")
        .map(|task| fs::read_to_string(task.expect("it runs").path().join("children")).expect("it runs"));
    let children: String = children.collect();
    children.split_ascii_whitespace().filter(|pid| leads(pid)).count()
}

fn a_start_that_was_given_up_hides_no_end() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, inventory) = life.attach();
    let starts = [1, 2].map(|run| home.start_that_hangs_before(run, "exec sleep 1000"));
    let [Some((given_up, first)), Some((hangs, second))] = starts else {
        println!("skipped: no leases on this file system");
        return;
    };
    let stop = ToRunner::Stop {
        key: key(1),
        grace_ms: 0,
    };
    daemon.say(&[to_start(first), to_start(second), stop]);
    assert_eq!(daemon.ended().origin.key, key(1));
    wait_until("both are held", || leaders_below(inventory.info.pid) == 2);
    drop(given_up);
    wait_until("its child is gone", || leaders_below(inventory.info.pid) == 1);
    assert_eq!(daemon.run(shell(3, "exit 3")).end, End::Exited(3));
    let (_daemon, inventory) = life.attach();
    let pids: Vec<_> = inventory.live.iter().map(|live| live.pid).collect();
    assert_eq!(pids, [0], "the other hangs still: no lease was broken meanwhile");
    drop(hangs);
}

fn who_ignores_sigchld_starts_a_runner_that_ends() {
    let home = Home::new();
    let mut life = home.start_with(home.command_by(&["/usr/bin/env", "--ignore-signal=CHLD"]));
    let (mut daemon, _) = life.attach();
    assert_eq!(daemon.run(shell(1, "exit 3")).end, End::Exited(3));
    daemon.say(&[ToRunner::Forget(key(1)), ToRunner::Shutdown { grace_ms: 0 }]);
    assert_eq!(life.wait().code(), Some(0));
}

fn what_was_there_before_the_runner_is_none_of_its_business() {
    let home = Home::new();
    // As the first program of a container does.
    let script = "sleep 1000 & echo $! >$HOME/helper; exec \"$@\"";
    let mut life = home.start_with(home.command_by(&["/bin/sh", "-c", script, "sh"]));
    let told = fs::read_to_string(home.path().join("helper")).expect("text");
    let helper: u32 = told.trim().parse().expect("a process id");
    let (mut daemon, _) = life.attach();
    let orphan = "(setsid sleep 1000 & echo $!)";
    daemon.run(shell(1, orphan));
    let pid: u32 = home.first_line(key(1)).parse().expect("a process id");
    wait_until("what a run leaves is still found", || !is_alive(pid));
    daemon.say(&[ToRunner::Forget(key(1)), ToRunner::Shutdown { grace_ms: 0 }]);
    assert_eq!(life.wait().code(), Some(0));
    assert!(is_alive(helper));
    kill(helper, Signal::KILL);
}

fn another_directory_of_the_same_name_is_another() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let pid = daemon.start(shell(1, "exec sleep 1000"));
    // As in another container.
    fs::rename(home.state_dir(), home.path().join("elsewhere")).expect("room");
    fs::rename(home.socket(), home.path().join("elsewhere.sock")).expect("room");
    let second = home.start();
    second.attach();
    assert!(is_alive(pid), "it is not the other's");
    drop(second);
    assert!(is_alive(pid));
    assert!(daemon.attach().live_keys() == [key(1)]);
}

fn a_copy_of_the_directory_is_another() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let pid = daemon.start(shell(1, "exec sleep 1000"));
    let other = Home::new();
    fs::create_dir(other.state_dir()).expect("room");
    fs::copy(home.state_dir().join("runner.id"), other.state_dir().join("runner.id")).expect("room");
    other.start().attach();
    assert!(is_alive(pid), "it is not the other's");
}

fn nothing_of_the_file_system_is_held_busy() {
    let home = Home::new();
    let mut command = std::process::Command::new("/proc/self/exe");
    command
        .args(["runner", "--state-dir", "state", "--socket", "runner.sock"])
        .current_dir(home.path())
        .stdout(std::process::Stdio::null());
    let life = home.start_with(command);
    let (_daemon, inventory) = life.attach();
    for pid in [life.guard_pid(), inventory.info.pid] {
        let at = fs::read_link(format!("/proc/{pid}/cwd")).expect("it runs");
        assert_eq!(at.to_str(), Some("/"));
    }
}
