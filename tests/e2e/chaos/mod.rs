//! Promise: at whatever moment taskd or its runner is killed, no firing is doubled, what is recorded is true, and nothing
//! is left over.
//!
//! `tests/chaos` runs these for as long as one likes.

mod following;
mod kinds;
mod leftovers;
mod load;
mod together;
mod truth;
mod words;

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use self::load::Load;
use self::truth::Fates;
use crate::harness::{World, kill};

/// A number that the caller may set.
fn set(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{name} is no number"))
    })
}

/// Numbers that look random, the same ones each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        // Knuth's, of MMIX.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Has all be kept that is recorded of so many kills, and the next runner go without control groups or not.
fn configure(world: &World, cgroups: &str) {
    let limits = "[limits]\nhistory_runs = 100_000\noutput_total_bytes = \"64 GiB\"\n";
    let text = format!("{limits}[runner]\ncgroups = \"{cgroups}\"\n");
    fs::write(world.path("taskd.toml"), text).expect("a file");
}

/// A world and its load.
fn loaded() -> (World, Load) {
    let mut world = World::new();
    configure(&world, "auto");
    world.start();
    let load = Load::new(&world, set("TASKD_TEST_RATE", 60));
    (world, load)
}

#[test]
fn no_run_is_harmed_and_no_firing_doubled_however_often_taskd_is_killed() {
    let (mut world, load) = loaded();
    let mut dice = Dice(1);
    let runner = world.runner_pid();
    for _ in 0..set("TASKD_TEST_CHAOS_KILLS", 12) {
        // From the first moment of a life to well into its work.
        let longest = if dice.below(3) == 0 { 50_000 } else { 1_500_000 };
        std::thread::park_timeout(Duration::from_micros(dice.below(longest)));
        world.kill();
        world.spawn(world.taskd());
    }
    world.wait_served();
    assert_eq!(world.runner_pid(), runner, "another runner was started");
    load.end(&world);
    leftovers::no_process_has(&load.mark);
    truth::check(&world, &load, Fates::Known);
}

#[test]
fn what_is_recorded_is_true_and_nothing_is_left_when_taskd_and_runners_are_killed() {
    let mut calm = World::served();
    calm.ctl(&["add", "--name", "one", "--manual", "--", "true"]).ok();
    assert_eq!(calm.ctl(&["run", "--wait", "one"]).code(), 0);
    let pipes = |world: &World| {
        (
            leftovers::open_pipes(world.pid()),
            leftovers::open_pipes(world.runner_pid()),
        )
    };
    let calm_pipes = pipes(&calm);
    calm.ctl(&["stop"]).ok();
    calm.wait_ended();

    let (mut world, load) = loaded();
    let mut dice = Dice(2);
    for _ in 0..set("TASKD_TEST_CHAOS_KILLS", 12) {
        std::thread::park_timeout(Duration::from_micros(dice.below(1_500_000)));
        let daemon = world.pid();
        let runners: Vec<u32> = world.processes().into_iter().filter(|pid| *pid != daemon).collect();
        let chosen = dice.below(4);
        if chosen > 0 && !runners.is_empty() {
            let last = u64::try_from(runners.len()).expect("few");
            let one = usize::try_from(dice.below(last)).expect("few");
            kill(runners[one], Signal::KILL);
        }
        if chosen < 2 {
            world.kill();
            configure(&world, if dice.below(2) == 0 { "auto" } else { "off" });
            world.spawn(world.taskd());
        }
    }
    world.wait_served();
    load.end(&world);
    leftovers::no_process_has(&load.mark);
    assert_eq!(pipes(&world), calm_pipes, "pipes of taskd and of its runner");
    truth::check(&world, &load, Fates::Lost);
    world.ctl(&["stop"]).ok();
    world.wait_ended();
    leftovers::no_process_is_left(&world);
    leftovers::no_group_is_left(&world);
    assert_eq!(leftovers::state_files(&world), leftovers::state_files(&calm));
}
