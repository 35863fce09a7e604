//! What a runner had begun that is killed with its guard is told by the next, and what it had not is known as well.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use taskd_wire::codec::{Rec, Tail};
use taskd_wire::runner::{AttemptKey, Gates, Start, ToRunner};

use crate::life::{Daemon, Home, Inventory, is_alive, key, kill, kill_both, shell, wait_until};
use crate::lives::start_family;

crate::tests![
    what_guard_and_worker_had_begun_is_told_by_the_next,
    what_was_acknowledged_is_told_no_more,
    what_had_begun_is_told_where_its_result_is_lost,
    what_had_begun_is_told_where_its_result_went_to_another_slot,
    a_gate_that_was_closed_before_hides_no_beginning,
    a_life_that_never_served_is_none_to_tell_of,
    what_another_slot_left_is_seen_to_while_its_runner_is_taken_apart,
];

fn begun(inventory: &Inventory) -> Vec<AttemptKey> {
    let mut keys: Vec<_> = inventory.begun.iter().map(|origin| origin.key).collect();
    keys.sort();
    keys
}

/// Starts these while no daemon is there, and has their results spooled.
fn spool(home: &Home, mut daemon: Daemon, runs: &[u64]) {
    for run in runs {
        daemon.start(shell(*run, "while [ ! -e go ]; do sleep 0.01; done"));
    }
    drop(daemon);
    fs::write(home.path().join("go"), "").expect("room");
    let is_there = |run: &u64| {
        let line = format!("\"run\":{run},");
        let has_it = |path| fs::read_to_string(path).is_ok_and(|text| text.contains(&line) && text.ends_with('\n'));
        home.spool().into_iter().any(has_it)
    };
    wait_until("the results are on disk", || runs.iter().all(is_there));
}

fn in_slot(home: &Home, slot: &str) -> Command {
    let mut command = home.command();
    command.args(["--slot", slot]);
    command
}

fn what_guard_and_worker_had_begun_is_told_by_the_next() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, first) = life.attach();
    assert_eq!(first.info.before.0, [0; 0]);
    // One that is acknowledged, one that is not, and one that has not ended.
    daemon.run(shell(1, "true"));
    daemon.say(&[ToRunner::Forget(key(1))]);
    daemon.run(shell(2, "true"));
    let mut third = shell(3, "exec sleep 1000");
    (third.fire_time_ms, third.trace_id) = (Some(-7), 77);
    daemon.start(third);
    kill_both(life, first.info.pid);
    // Whoever comes tells it, until something begins.
    let life = home.start();
    let (_daemon, second) = life.attach();
    assert_eq!(second.info.before.0, [first.info.instance]);
    assert_eq!(begun(&second), [key(2), key(3)]);
    let origin = second
        .begun
        .iter()
        .find(|origin| origin.key == key(3))
        .expect("it is there");
    assert_eq!((origin.fire_time_ms, origin.trace_id), (Some(-7), 77));
    assert_eq!(origin.trigger, "manual");
    kill_both(life, second.info.pid);
    let life = home.start();
    let (mut daemon, third) = life.attach();
    assert_eq!(third.info.before.0, [second.info.instance, first.info.instance]);
    assert_eq!(begun(&third), [key(2), key(3)]);
    daemon.run(shell(4, "true"));
    // Attached until both are gone: else the result would go to the spool, and be known.
    let (_daemon, again) = life.attach();
    assert_eq!(again.info.before.0, [0; 0]);
    kill_both(life, third.info.pid);
    let life = home.start();
    let (_daemon, fourth) = life.attach();
    assert_eq!(fourth.info.before.0, [third.info.instance]);
    assert_eq!(begun(&fourth), [key(4)]);
    // What is in the spool is known.
    let (mut daemon, _) = life.attach();
    daemon.start(shell(5, "while [ ! -e go ]; do sleep 0.01; done"));
    drop(daemon);
    fs::write(home.path().join("go"), "").expect("room");
    wait_until("the result is on disk", || home.has_spooled());
    kill_both(life, fourth.info.pid);
    let (_daemon, fifth) = home.start().attach();
    assert_eq!((begun(&fifth), fifth.ended_keys()), (Vec::new(), vec![key(5)]));
}

fn what_was_acknowledged_is_told_no_more() {
    let home = Home::new();
    let life = home.start();
    let (daemon, first) = life.attach();
    spool(&home, daemon, &[1, 2]);
    kill_both(life, first.info.pid);
    let life = home.start();
    let (mut daemon, second) = life.attach();
    assert_eq!((begun(&second), second.ended_keys()), (vec![], vec![key(1), key(2)]));
    daemon.say(&[ToRunner::Forget(key(1))]);
    let (_daemon, again) = life.attach();
    assert_eq!((begun(&again), again.ended_keys()), (vec![], vec![key(2)]));
    kill_both(life, second.info.pid);
    // The file of results holds both as long as it is needed for one.
    let (_daemon, third) = home.start().attach();
    assert_eq!(third.info.before.0, [second.info.instance, first.info.instance]);
    assert_eq!(begun(&third), []);
}

fn what_had_begun_is_told_where_its_result_is_lost() {
    let zeros = |path: &Path| fs::write(path, [0; 300]).expect("room");
    let nothing = |path: &Path| fs::write(path, "").expect("room");
    let no_file = |path: &Path| fs::remove_file(path).expect("it is there");
    let damages: [&dyn Fn(&Path); 3] = [&zeros, &nothing, &no_file];
    for damage in damages {
        let home = Home::new();
        let life = home.start();
        let (daemon, first) = life.attach();
        spool(&home, daemon, &[1, 2]);
        kill_both(life, first.info.pid);
        damage(&home.spool()[0]);
        let (_daemon, second) = home.start().attach();
        assert_eq!(second.info.before.0, [first.info.instance]);
        assert_eq!((begun(&second), second.ended_keys()), (vec![key(1), key(2)], vec![]));
    }
}

fn what_had_begun_is_told_where_its_result_went_to_another_slot() {
    let home = Home::new();
    let life = home.start();
    let (daemon, first) = life.attach();
    spool(&home, daemon, &[1]);
    kill_both(life, first.info.pid);
    // Its heir begins nothing.
    let life = home.start_with(in_slot(&home, "2"));
    let (_daemon, second) = life.attach();
    assert_eq!((begun(&second), second.ended_keys()), (vec![], vec![key(1)]));
    kill_both(life, second.info.pid);
    // Somebody keeps the next one from what is there.
    let lock = fs::File::open(home.state_dir().join("runner.2.lock")).expect("it is there");
    let kept = || rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok();
    wait_until("the lock is free", kept);
    let (_daemon, third) = home.start().attach();
    assert_eq!(third.info.before.0, [first.info.instance]);
    assert_eq!((begun(&third), third.ended_keys()), (vec![key(1)], vec![]));
}

fn a_gate_that_was_closed_before_hides_no_beginning() {
    let behind = |line: &str| {
        let gates = Gates {
            only_if: Some(line.into()),
            within_ms: 60_000,
            ..Gates::default()
        };
        Start {
            gates: Tail(Some(Rec(gates))),
            ..shell(1, "exec sleep 1000")
        }
    };
    for is_looked_at_again in [true, false] {
        let home = Home::new();
        let life = home.start();
        let (mut daemon, first) = life.attach();
        assert!(daemon.run(behind("false")).gate.0.is_some());
        // With another result in the same file, which stays.
        spool(&home, daemon, &[2]);
        let (mut daemon, _) = life.attach();
        if is_looked_at_again {
            daemon.say(&[ToRunner::Forget(key(1))]);
            daemon.start(behind("true"));
        }
        kill_both(life, first.info.pid);
        let (_daemon, second) = home.start().attach();
        let (looked_at, ended) = if is_looked_at_again {
            (vec![key(1)], vec![key(2)])
        } else {
            (vec![], vec![key(1), key(2)])
        };
        assert_eq!((begun(&second), second.ended_keys()), (looked_at, ended));
    }
}

fn a_life_that_never_served_is_none_to_tell_of() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, first) = life.attach();
    daemon.start(shell(1, "exec sleep 1000"));
    kill_both(life, first.info.pid);
    // Something is in the way.
    let spool = home.state_dir().join("spool");
    fs::remove_dir(&spool).expect("it is empty");
    fs::write(&spool, "").expect("room");
    for _ in 0..6 {
        let status = home.command().stderr(Stdio::null()).status().expect("this program");
        assert!(!status.success());
    }
    fs::remove_file(&spool).expect("it is there");
    let (_daemon, next) = home.start().attach();
    assert_eq!(next.info.before.0, [first.info.instance]);
    assert_eq!(begun(&next), [key(1)]);
}

fn what_another_slot_left_is_seen_to_while_its_runner_is_taken_apart() {
    // A worker holds its lock for a while after it has ended, mostly too short to be met.
    for _ in 0..12 {
        let home = Home::new();
        let life = home.start_with(in_slot(&home, "2"));
        let (mut daemon, first) = life.attach();
        let family = start_family(&home, &mut daemon);
        kill(life.guard_pid(), Signal::KILL);
        kill(first.info.pid, Signal::KILL);
        let (_daemon, next) = home.start().attach();
        assert_eq!(next.info.before.0, [first.info.instance]);
        assert_eq!(begun(&next), [key(1)]);
        assert!(!family.iter().any(|pid| is_alive(*pid)), "the next one has swept");
    }
}
