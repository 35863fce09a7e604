//! Promise: nothing acknowledged is lost, at whatever moment the daemon is killed; and one daemon owns a state.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::{World, run, wait_for};

/// How often the daemon is killed under load; `TASKD_TEST_KILLS` says otherwise.
fn kills() -> u32 {
    std::env::var("TASKD_TEST_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(200)
}

/// How many add at once.
const CLIENTS: u32 = 3;

/// Adds one task after the other, also before there is a daemon, and gives the names of those that were acknowledged.
fn adds(world: &World, prefix: &str, over: &AtomicBool, answered: &AtomicBool) -> Vec<String> {
    let mut acknowledged = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let name = format!("{prefix}-{}", acknowledged.len());
        let ran = run(&mut world.taskctl(&["add", "--name", &name, "--manual", "--", "true"]));
        if ran.status.success() {
            acknowledged.push(name);
            answered.store(true, Ordering::Relaxed);
        }
    }
    acknowledged
}

#[test]
fn no_acknowledged_task_is_lost_and_no_firing_is_doubled_when_killed_under_load() {
    let mut world = World::served();
    let stamps = world.path("stamps");
    let line = format!("echo $TASKD_RUN $TASKD_FIRE_TIME >>{}", stamps.display());
    for n in 0..8 {
        world
            .ctl(&["add", "--name", &format!("tick{n}"), "--every", "1s", "--shell", &line])
            .ok();
    }
    world.kill();
    let mut acknowledged = HashSet::new();
    for round in 0..kills() {
        world.spawn(world.taskd());
        let (over, answered) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let (world, over, answered) = (&world, &over, &answered);
                    scope.spawn(move || adds(world, &format!("r{round}-{client}"), over, answered))
                })
                .collect();
            let step = u64::from(round) * 104_729;
            let moment = if round % 2 == 0 {
                // Any moment from the first: the start, the recovery, the runner's inventory.
                step % 300_000
            } else {
                // Any moment of the work: the connections, the commits, the answers.
                wait_for("an answer", || answered.load(Ordering::Relaxed).then_some(()));
                step % 20_000
            };
            std::thread::park_timeout(Duration::from_micros(moment));
            crate::harness::kill(world.pid(), rustix::process::Signal::KILL);
            over.store(true, Ordering::Relaxed);
            for client in clients {
                acknowledged.extend(client.join().expect("no panic"));
            }
        });
        world.kill();
    }
    world.start();
    let listed = world.ctl(&["list", "--json"]).json();
    let there: HashSet<String> = listed
        .as_array()
        .expect("a list")
        .iter()
        .map(|task| task["name"].as_str().expect("a name").to_owned())
        .collect();
    let lost: Vec<&String> = acknowledged.difference(&there).collect();
    assert!(
        lost.is_empty(),
        "{} of {} acknowledged tasks are lost: {lost:?}",
        lost.len(),
        acknowledged.len()
    );
    let text = std::fs::read_to_string(&stamps).expect("stamps");
    let mut once = HashSet::new();
    for stamp in text.lines() {
        let (name, fire_time) = stamp.split_once(' ').expect("two words");
        let task = name.split('/').next().expect("a name");
        assert!(
            once.insert((task.to_owned(), fire_time.to_owned())),
            "fired twice: {stamp}"
        );
    }
    assert!(!once.is_empty());
}

#[test]
fn a_second_daemon_on_the_same_state_refuses() {
    let world = World::served();
    let ran = run(&mut world.taskd());
    assert_ne!(ran.status.code(), Some(0));
    assert!(
        ran.stderr.contains("state") && ran.stderr.contains(&world.pid().to_string()),
        "{}",
        ran.stderr
    );
    world.ctl(&["status"]).ok();
}

#[test]
fn a_damaged_store_is_refused_by_name_and_never_replaced_by_an_empty_one() {
    let mut world = World::served();
    world.ctl(&["add", "--name", "precious", "--manual", "--", "true"]).ok();
    world.signal(rustix::process::Signal::TERM);
    assert!(world.wait_ended().success());
    let store = world.path("state/store.db");
    let mut bytes = std::fs::read(&store).expect("the store");
    for byte in &mut bytes[..512] {
        *byte ^= 0x5a;
    }
    std::fs::write(&store, &bytes).expect("a damaged store");
    let ran = run(&mut world.taskd());
    assert_ne!(ran.status.code(), Some(0));
    assert!(ran.stderr.contains("store.db"), "{}", ran.stderr);
    assert_eq!(
        std::fs::read(&store).expect("the store"),
        bytes,
        "the damaged store was touched"
    );
}
