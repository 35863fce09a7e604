//! A stop ends all of an attempt, in time, whoever is there.

use std::fs;
use std::time::Duration;

use taskd_wire::codec::Tail;
use taskd_wire::runner::{End, Start, TimeLimits, TimeUp, ToRunner};

use crate::life::{Home, PATIENCE, is_alive, key, now, shell, wait_until};

crate::tests![
    a_stop_lets_a_run_end_by_itself,
    a_run_that_ignores_a_stop_is_killed_when_the_grace_is_over,
    a_stop_holds_when_no_daemon_is_there,
    a_run_whose_time_is_up_is_stopped_by_its_own_signal,
    whatever_the_signal_all_of_a_group_get_it_at_once_and_once,
    a_time_limit_holds_when_no_daemon_is_there,
    of_two_time_limits_the_shorter_one_counts,
    a_stopped_process_is_stopped_all_the_same,
    a_stop_at_once_after_the_start_is_not_lost,
    a_background_child_does_not_keep_a_run_alive,
    what_may_stay_stays_and_its_output_is_not_waited_for,
    what_may_stay_may_write,
    a_stop_reaches_what_has_left_the_process_group,
    the_grace_of_a_stop_holds_for_all_of_a_run,
    a_stop_reaches_what_has_cleaned_its_environment,
    what_a_run_leaves_behind_ends_with_it,
    the_end_of_a_run_harms_no_other,
    an_ordinary_end_takes_no_look_at_processes,
    an_end_is_seen_behind_one_that_is_waited_for,
    what_hides_from_its_run_ends_with_the_runner,
];

const LONG: u64 = 3_600_000;

fn stop(run: u64, grace_ms: u64) -> ToRunner {
    ToRunner::Stop {
        key: key(run),
        grace_ms,
    }
}

fn a_stop_lets_a_run_end_by_itself() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    daemon.start(shell(
        1,
        "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.01; done",
    ));
    home.first_line(key(1));
    daemon.say(&[stop(1, LONG)]);
    let ended = daemon.ended();
    assert_eq!((ended.end, ended.stopped), (End::Exited(5), true));
    assert_eq!(home.text(key(1), "stdout"), "ready\nbye\n");
    daemon.start(shell(2, "exec sleep 1000"));
    daemon.say(&[stop(99, LONG), stop(2, LONG)]);
    assert_eq!(daemon.ended().end, End::Signalled(15));
}

fn a_run_that_ignores_a_stop_is_killed_when_the_grace_is_over() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    daemon.start(shell(1, "trap '' TERM; echo ready; while :; do sleep 0.01; done"));
    home.first_line(key(1));
    let asked = now();
    daemon.say(&[stop(1, 300)]);
    let ended = daemon.ended();
    assert_eq!((ended.end, ended.stopped), (End::Signalled(9), true));
    assert!(asked.elapsed() >= Duration::from_millis(300), "the grace was kept");
    assert!(asked.elapsed() < PATIENCE / 2);
}

fn a_stop_holds_when_no_daemon_is_there() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let pid = daemon.start(shell(1, "trap '' TERM; echo ready; while :; do sleep 0.01; done"));
    home.first_line(key(1));
    daemon.say(&[stop(1, 300)]);
    drop(daemon);
    wait_until("the run is killed", || !is_alive(pid));
    wait_until("its result is on disk", || home.has_spooled());
    let (_daemon, inventory) = life.attach();
    assert_eq!(inventory.live_keys(), []);
    assert_eq!(inventory.ended.len(), 1);
    assert_eq!(
        (&inventory.ended[0].end, inventory.ended[0].stopped),
        (&End::Signalled(9), true)
    );
}

/// A start with time limits.
fn limited(start: Start, limits: TimeLimits) -> Start {
    Start {
        limits: Tail(limits),
        ..start
    }
}

fn a_run_whose_time_is_up_is_stopped_by_its_own_signal() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let line = "trap 'echo bye; exit 0' INT; trap '' TERM; echo ready; while :; do sleep 0.01; done";
    let limits = TimeLimits {
        timeout_ms: Some(300),
        grace_ms: LONG,
        signal: 2,
        ..TimeLimits::default()
    };
    let asked = now();
    daemon.start(limited(shell(1, line), limits));
    let ended = daemon.ended();
    assert!(asked.elapsed() >= Duration::from_millis(300), "its time was not up");
    assert_eq!(
        (ended.end, ended.stopped, ended.time_up.0),
        (End::Exited(0), true, Some(TimeUp::Timeout))
    );
    assert_eq!(home.text(key(1), "stdout"), "ready\nbye\n");
}

fn whatever_the_signal_all_of_a_group_get_it_at_once_and_once() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    for (run, signal) in [(1, libc::SIGTERM), (2, libc::SIGUSR1), (3, libc::SIGHUP)] {
        let told = home.path().join(format!("told-{run}"));
        let name = told.display();
        let child = format!("trap 'echo one >>{name}' TERM USR1 HUP; echo 1; while :; do sleep 0.01; done");
        // Were the children told first, the shell would be over before its own signal.
        let line = format!(
            "trap 'while [ \"$(wc -l <{name})\" -lt 2 ]; do sleep 0.01; done; kill -9 $a $b; echo got; exit 7' \
             TERM USR1 HUP; touch {name}; ({child}) & a=$!; ({child}) & b=$!; wait; wait"
        );
        let limits = TimeLimits {
            grace_ms: LONG,
            signal,
            ..TimeLimits::default()
        };
        daemon.start(limited(shell(run, &line), limits));
        wait_until("both children are up", || pids(&home, run).len() == 2);
        daemon.say(&[stop(run, LONG)]);
        let ended = daemon.ended();
        assert_eq!(ended.end, End::Exited(7), "{ended:?}");
        assert_eq!(home.text(key(run), "stdout"), "1\n1\ngot\n");
        let told = fs::read_to_string(told).expect("it is there");
        assert_eq!(told, "one\none\n", "signal {signal}");
    }
}

fn a_time_limit_holds_when_no_daemon_is_there() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let limits = TimeLimits {
        deadline_ms: Some(500),
        grace_ms: 300,
        ..TimeLimits::default()
    };
    let line = "trap '' TERM; (setsid sleep 1000 &) ; echo ready; while :; do sleep 0.01; done";
    let pid = daemon.start(limited(shell(1, line), limits));
    drop(daemon);
    wait_until("the run is killed", || !is_alive(pid));
    wait_until("its result is on disk", || home.has_spooled());
    let (_daemon, inventory) = life.attach();
    let ended = &inventory.ended[0];
    assert_eq!(
        (&ended.end, ended.time_up.0),
        (&End::Signalled(9), Some(TimeUp::Deadline))
    );
}

fn of_two_time_limits_the_shorter_one_counts() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    for (run, timeout_ms, deadline_ms, up) in [
        (1, Some(200), Some(LONG), Some(TimeUp::Timeout)),
        (2, Some(LONG), Some(200), Some(TimeUp::Deadline)),
        (3, Some(u64::MAX), None, None),
    ] {
        let limits = TimeLimits {
            timeout_ms,
            deadline_ms,
            ..TimeLimits::default()
        };
        let line = if up.is_some() { "exec sleep 1000" } else { "exit 3" };
        daemon.start(limited(shell(run, line), limits));
        let ended = daemon.ended();
        assert_eq!((ended.stopped, ended.time_up.0), (up.is_some(), up));
    }
}

fn a_stopped_process_is_stopped_all_the_same() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let pid = daemon.start(shell(1, "kill -STOP $$; sleep 1000"));
    wait_until("it has stopped itself", || {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") T "))
    });
    daemon.say(&[stop(1, LONG)]);
    assert_eq!(daemon.ended().end, End::Signalled(15));
}

fn a_stop_at_once_after_the_start_is_not_lost() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    for run in 1..=50 {
        daemon.say(&[crate::life::to_start(shell(run, "exec sleep 1000")), stop(run, LONG)]);
    }
    for _ in 1..=50 {
        let ended = daemon.ended();
        assert_eq!((ended.end, ended.stopped), (End::Signalled(15), true));
    }
}

fn a_background_child_does_not_keep_a_run_alive() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let ended = daemon.run(shell(1, "(trap '' TERM HUP; while :; do sleep 1000; done) & echo $!"));
    assert_eq!(ended.end, End::Exited(0));
    let child = home.first_line(key(1)).parse().expect("a process id");
    wait_until("the background child is gone", || !is_alive(child));
}

fn what_may_stay_may_write() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let done = home.path().join("done");
    let line = format!(
        "(while [ ! -e go ]; do sleep 0.01; done; head -c 1M /dev/zero && echo x >&2 && echo >{}) & echo end",
        done.display()
    );
    let start = Start {
        leave: Tail(true),
        ..shell(1, &line)
    };
    let ended = daemon.run(start);
    assert_eq!((ended.end, ended.output_bytes), (End::Exited(0), 4));
    fs::write(home.path().join("go"), "").expect("room");
    // It is more than a pipe holds.
    wait_until("all of it was taken in", || done.exists());
    assert_eq!(home.text(key(1), "stdout"), "end\n");
}

fn what_may_stay_stays_and_its_output_is_not_waited_for() {
    for cgroups in [true, false] {
        let home = Home::new();
        let mut command = home.command();
        if !cgroups {
            command.arg("--no-cgroups");
        }
        let mut life = home.start_with(command);
        let (mut daemon, _) = life.attach();
        let start = Start {
            leave: Tail(true),
            ..shell(
                1,
                "(trap '' TERM HUP; sleep 1000) & echo $!; setsid sleep 1000 & echo $!; exit 3",
            )
        };
        let ended = daemon.run(start);
        assert_eq!((ended.end, ended.stopped), (End::Exited(3), false));
        let left = pids(&home, 1);
        assert_eq!(left.len(), 2);
        // An end that is not left alone takes nobody else with it.
        let ended = daemon.run(shell(2, "setsid sleep 1000 & echo $!"));
        assert_eq!(ended.end, End::Exited(0));
        let other = pids(&home, 2)[0];
        wait_until("it is gone", || !is_alive(other));
        assert!(left.iter().all(|pid| is_alive(*pid)), "they may stay");
        daemon.say(&[
            ToRunner::Forget(key(1)),
            ToRunner::Forget(key(2)),
            ToRunner::Shutdown { grace_ms: 0 },
        ]);
        assert_eq!(life.wait().code(), Some(0));
        assert!(left.iter().all(|pid| !is_alive(*pid)), "no longer than the runner");
    }
}

fn a_stop_reaches_what_has_left_the_process_group() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    // One that dies of TERM, one that does not, one whose parent is gone.
    let line = "setsid sh -c 'echo $$; exec sleep 1000' & \
                setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1000; done' & \
                (setsid sh -c 'echo $$; exec sleep 1000' & ) ; \
                while :; do sleep 0.01; done";
    daemon.start(shell(1, line));
    wait_until("all have told their process ids", || pids(&home, 1).len() == 3);
    let asked = now();
    daemon.say(&[stop(1, 500)]);
    let ended = daemon.ended();
    assert_eq!((ended.end, ended.stopped), (End::Signalled(15), true));
    assert!(
        asked.elapsed() >= Duration::from_millis(500),
        "the deaf one had its grace"
    );
    for pid in pids(&home, 1) {
        wait_until("it is gone", || !is_alive(pid));
    }
}

/// The numbers that a run has written to stdout, most often process ids.
fn pids(home: &Home, run: u64) -> Vec<u32> {
    let path = taskd_runner::output_path(&home.state_dir(), &key(run));
    if !path.exists() {
        return Vec::new();
    }
    home.text(key(run), "stdout")
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect()
}

fn the_grace_of_a_stop_holds_for_all_of_a_run() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    // The first process dies of TERM at once; what it waited for has something to put in order.
    let server = "trap \"echo asked; until [ -e go ]; do sleep 0.01; done; echo clean; exit 0\" TERM; \
                  echo up; while :; do sleep 0.01; done";
    for (run, session) in [(1, ""), (2, "setsid -w ")] {
        let _ = fs::remove_file(home.path().join("go"));
        let pid = daemon.start(shell(run, &format!("{session}sh -c '{server}'; echo after")));
        home.first_line(key(run));
        daemon.say(&[stop(run, LONG)]);
        wait_until("it is asked to end", || home.text(key(run), "stdout").contains("asked"));
        wait_until("the first process has ended", || !is_alive(pid));
        let (again, inventory) = life.attach();
        daemon = again;
        assert_eq!(inventory.live_keys(), [key(run)], "the run is not over");
        assert!(inventory.live[0].stopping);
        fs::write(home.path().join("go"), "").expect("room");
        let ended = daemon.ended();
        assert_eq!((ended.end, ended.stopped), (End::Signalled(15), true));
        assert!(
            home.text(key(run), "stdout").ends_with("clean\n"),
            "{}",
            home.text(key(run), "stdout")
        );
        assert!(!home.text(key(run), "stdout").contains("after"));
    }
}

fn a_stop_reaches_what_has_cleaned_its_environment() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let line = "env -i setsid sh -c 'trap \"\" TERM; echo $$; while :; do /bin/sleep 1000; done' & wait";
    daemon.start(shell(1, line));
    home.first_line(key(1));
    daemon.say(&[stop(1, 300)]);
    assert_eq!(daemon.ended().end, End::Signalled(15));
    for pid in pids(&home, 1) {
        wait_until("it is gone", || !is_alive(pid));
    }
}

fn what_a_run_leaves_behind_ends_with_it() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    for run in 1..=30 {
        let ended = daemon.run(shell(run, "setsid sleep 1000 & echo $!; sleep 1000 & echo $!; exit 3"));
        assert_eq!((ended.end, ended.stopped), (End::Exited(3), false));
        let left = pids(&home, run);
        assert_eq!(left.len(), 2);
        for pid in left {
            // It was killed before the end was told, and takes a moment to die.
            wait_until("it is gone", || !is_alive(pid));
        }
    }
}

fn the_end_of_a_run_harms_no_other() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    // One with an orphan, so that others cannot be known to have left nothing without a look.
    daemon.start(shell(1, "(setsid sh -c 'echo $$; exec sleep 1000' &); exec sleep 1000"));
    home.first_line(key(1));
    for run in 2..=20 {
        daemon.run(shell(run, "setsid sleep 1000 & echo $!"));
    }
    let orphan = pids(&home, 1)[0];
    assert!(is_alive(orphan));
    daemon.say(&[stop(1, LONG)]);
    daemon.ended();
    wait_until("it is gone", || !is_alive(orphan));
}

fn an_ordinary_end_takes_no_look_at_processes() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, inventory) = life.attach();
    // How often the thread that looks has been waited for: it never sleeps but for want of work.
    let find = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", inventory.info.pid)).expect("it runs");
        tasks
            .map(|task| fs::read_to_string(task.expect("it runs").path().join("status")).expect("it runs"))
            .find(|status| status.starts_with("Name:\tender\n"))
    };
    // A thread gives itself its name when it first runs, which may be a while.
    wait_until("the thread has its name", || find().is_some());
    let looks = || -> u64 {
        let status = find().expect("a thread");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.expect("a count").trim().parse().expect("a number")
    };
    daemon.run(shell(1, "exit 0"));
    let before = looks();
    for run in 2..=50 {
        daemon.run(shell(run, "sleep 0 | cat; (exit 3); sleep 0"));
    }
    assert_eq!(looks(), before);
    daemon.run(shell(60, "sleep 1000 &"));
    wait_until("it has looked: this one left something", || looks() > before);
}

fn an_end_is_seen_behind_one_that_is_waited_for() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let deaf = "setsid -w sh -c 'trap \"\" TERM; echo up; while :; do sleep 0.01; done'; echo after";
    let pid = daemon.start(shell(1, deaf));
    home.first_line(key(1));
    daemon.start(shell(2, "until [ -e go ]; do sleep 0.01; done; exit 2"));
    daemon.say(&[stop(1, LONG)]);
    wait_until("the first process has ended", || !is_alive(pid));
    fs::write(home.path().join("go"), "").expect("room");
    let ended = daemon.ended();
    assert_eq!((ended.origin.key, ended.end), (key(2), End::Exited(2)));
    for run in 3..=5 {
        assert_eq!(daemon.run(shell(run, "exit 4")).end, End::Exited(4));
    }
    daemon.say(&[stop(1, 0)]);
    assert_eq!(daemon.ended().end, End::Signalled(15));
}

/// The limit of what can be known without a control group: no cookie, no session, no parent of the run.
fn what_hides_from_its_run_ends_with_the_runner() {
    let home = Home::new();
    let mut command = home.command();
    command.arg("--no-cgroups");
    let mut life = home.start_with(command);
    let (mut daemon, _) = life.attach();
    daemon.run(shell(
        1,
        "env -i setsid sh -c 'echo $$ > pid; exec /bin/sleep 1000' & until [ -s pid ]; do sleep 0.01; done; cat pid",
    ));
    let pid = home.first_line(key(1)).parse().expect("a process id");
    assert!(is_alive(pid), "it has left the run");
    daemon.say(&[ToRunner::Forget(key(1)), ToRunner::Shutdown { grace_ms: LONG }]);
    assert_eq!(life.wait().code(), Some(0));
    assert!(!is_alive(pid), "it was gone before the guard");
}
