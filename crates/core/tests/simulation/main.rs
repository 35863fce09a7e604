//! The scheduler in a virtual world: years pass in milliseconds, everything goes wrong at random, and after every step
//! and at the end the promises of the design must hold. The same seed gives the same world.
//!
//! `TASKD_SIM_SEEDS=20000` runs more worlds than the default; `TASKD_SIM_SEED=7` runs one, and tells all that happens.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod checks;
mod depending;
mod dice;
mod gates;
mod known;
mod pauses;
mod reading;
mod requiring;
mod runner;
mod runners;
mod sharing;
mod users;
mod world;

use std::time::Duration;

use taskd_core::event::Event;

use crate::world::World;

/// Worlds by default.
const SEEDS: u64 = 6000;

/// Steps in one world.
const STEPS: u64 = 250;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Names the seed of a world that failed.
struct Guard(u64);

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "the world of seed {0} failed: run it again with TASKD_SIM_SEED={0}",
                self.0
            );
        }
    }
}

#[test]
fn promises_hold_whatever_goes_wrong() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text: String| text.parse::<u64>().unwrap())
    };
    if let Some(seed) = number("TASKD_SIM_SEED") {
        return live(seed, true);
    }
    let seeds = number("TASKD_SIM_SEEDS").unwrap_or(SEEDS);
    std::thread::scope(|scope| {
        for part in 0..2 {
            scope.spawn(move || {
                (0..seeds)
                    .filter(|seed| seed % 2 == part)
                    .for_each(|seed| live(seed, false))
            });
        }
    });
}

fn live(seed: u64, trace: bool) {
    let _guard = Guard(seed);
    let mut world = World::new(seed, trace);
    world.start_runner();
    world.start_daemon();
    world.link();
    let steps = STEPS / 2 + world.dice.below(STEPS);
    for _ in 0..steps {
        step(&mut world);
    }
    settle(&mut world);
}

/// One thing happens.
fn step(world: &mut World) {
    match world.dice.below(100) {
        0..12 => {
            world.commit();
        }
        12..24 => {
            world.acknowledge();
        }
        24..34 => {
            world.runner_reads();
        }
        34..44 => {
            world.runner_works();
        }
        44..54 => {
            world.hear();
        }
        54..60 => {
            world.tick();
        }
        60..72 => users::ask(world),
        72..74 => {
            world.rest();
            world.check_rest();
        }
        74..88 => pass_time(world),
        88..93 => repair(world),
        _ => go_wrong(world),
    }
}

/// Time passes: until something happens by itself, with everything quick; a moment; or long, with nobody awake.
fn pass_time(world: &mut World) {
    match world.dice.below(10) {
        0..6 => {
            for _ in 0..1 + world.dice.below(4) {
                if let Some(at) = world.next_moment() {
                    world.advance(Duration::from_millis(at.saturating_sub(world.elapsed)));
                }
                world.rest();
            }
        }
        6..9 => {
            let length = world.dice.length(Duration::from_millis(1), 20 * SECOND);
            world.advance(length);
        }
        _ => {
            let length = world.dice.length(SECOND, 200 * HOUR);
            world.say(|| format!("sleep for {length:?}"));
            world.advance(length);
            if world.dice.chance(700) {
                world.hear_clock();
            }
        }
    }
}

/// What is broken is put right.
fn repair(world: &mut World) {
    world.full = false;
    if world.runners.current.is_none() {
        world.start_runner();
    }
    if world.daemon.is_none() {
        world.start_daemon();
    }
    world.link();
}

fn go_wrong(world: &mut World) {
    match world.dice.below(16) {
        0..3 => world.crash_daemon(),
        3 => {
            // An orderly stop: every fact is durable before the end.
            let now = world.wall();
            world.tell(now, Event::Closing);
            if let Some(daemon) = &mut world.daemon {
                daemon.closing = true;
            }
            world.rest();
            world.crash_daemon();
        }
        4 => world.kill_runner(),
        5 => {
            world.say(|| "the machine goes down".to_owned());
            world.crash_daemon();
            world.kill_all_runners();
            if world.dice.chance(500) {
                world.spool.clear();
            }
            world.runners.before.clear();
            world.boot += 1;
            world.spawned.boot += 1;
            let length = world.dice.length(SECOND, 10 * HOUR);
            world.advance(length);
        }
        6 => world.unlink(),
        7 | 8 => world.full = !world.full,
        9 => step_clock(world, Duration::from_millis(1), 30 * SECOND),
        10 => step_clock(world, SECOND, 3 * HOUR),
        11 | 12 => world.upgrade(),
        13 if world.dice.chance(500) => kill_both(world),
        13 => world.kill_one_beside(),
        14 => upgrade_in_haste(world),
        _ => step_clock(world, HOUR, 48 * HOUR),
    }
}

/// An upgrade while something is started: the runner that was told ends soon after it has taken that in, maybe with the
/// daemon.
fn upgrade_in_haste(world: &mut World) {
    if let Some(at) = world.next_moment() {
        world.advance(Duration::from_millis(at.saturating_sub(world.elapsed)));
    }
    while world.tick() | world.commit() | world.acknowledge() {}
    world.upgrade();
    world.start_daemon();
    world.link();
    for _ in 0..world.dice.below(10) {
        match world.dice.below(4) {
            0 => world.commit(),
            1 => world.acknowledge(),
            2 => world.runner_works(),
            _ => world.hear(),
        };
    }
    world.kill_one_beside();
    if world.dice.chance(500) {
        world.crash_daemon();
    }
}

/// Daemon and runners are killed in one boot, around steps of the clock.
fn kill_both(world: &mut World) {
    let go_on = |world: &mut World| {
        for _ in 0..world.dice.below(8) {
            match world.dice.below(5) {
                0 => world.tick(),
                1 => world.commit(),
                2 => world.acknowledge(),
                3 => world.runner_reads(),
                _ => world.runner_works(),
            };
        }
    };
    let may_step = |world: &mut World| {
        if world.dice.chance(500) {
            step_clock(world, Duration::from_millis(1), 6 * SECOND);
        }
    };
    if let Some(at) = world.next_moment() {
        world.advance(Duration::from_millis(at.saturating_sub(world.elapsed)));
    }
    go_on(world);
    may_step(world);
    go_on(world);
    world.say(|| "both are killed".to_owned());
    world.crash_daemon();
    world.kill_all_runners();
    may_step(world);
    repair(world);
}

fn step_clock(world: &mut World, least: Duration, most: Duration) {
    let length = world.dice.length(least, most).as_millis() as i64;
    let shift = if world.dice.chance(500) { length } else { -length };
    world.say(|| format!("the clock is set by {shift} ms"));
    world.wall_shift += shift;
    world.hear_clock();
}

/// Everything works again, nothing new comes, and what is there comes to its end.
fn settle(world: &mut World) {
    world.say(|| "settle".to_owned());
    repair(world);
    world.rest();
    world.check_rest();
    users::give_up_imports(world);
    world.rest();
    users::disable_all(world);
    let is_busy = |world: &World| {
        let daemon = world.daemon.as_ref();
        world.runners.all().any(|runner| !runner.children.is_empty())
            || daemon.is_some_and(|daemon| daemon.core.active_runs().next().is_some())
    };
    while is_busy(world) {
        let at = world.next_moment().unwrap();
        world.advance(Duration::from_millis(at.saturating_sub(world.elapsed)));
        world.rest();
    }
    world.check_rest();
    world.crash_daemon();
    world.check_end();
}
