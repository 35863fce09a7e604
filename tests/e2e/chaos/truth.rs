//! What must be true afterwards: what taskd recorded is held against what the processes said themselves.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde_json::Value;

use super::load::{Attempts, Key, Kind, Load, Stamps, output};
use crate::harness::{World, instant};

/// What may be true of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fates {
    /// The runner lived: each run is known to its end.
    Known,
    /// Runners were killed too: a run may have ended with one, and then its fate is unknown.
    Lost,
}

/// What is recorded of a task, by the number of its run.
type Recorded = BTreeMap<u64, Value>;

fn recorded(world: &World, task: &str) -> Recorded {
    let runs = world.ctl(&["runs", task, "--limit", "0", "--json"]).json();
    let runs = runs.as_array().expect("a list").iter().cloned();
    runs.map(|run| {
        let name = run["run"].as_str().expect("a run").to_owned();
        (name.rsplit_once('/').expect("TASK/N").1.parse().expect("a number"), run)
    })
    .collect()
}

/// What an attempt of a recorded run is known by.
fn key(n: u64, attempt: u32, run: &Value) -> Key {
    (n, attempt, instant(&run["fire_time"]))
}

/// Holds all that is recorded against all that was said.
pub fn check(world: &World, load: &Load, fates: Fates) {
    let stamps = load.stamps(world);
    let (mut attempts, mut passed) = (0, 0);
    for (task, kind) in &load.tasks {
        let none = Attempts::new();
        let told = stamps.tasks.get(task).unwrap_or(&none);
        let recorded = recorded(world, task);
        attempts += told.len();
        no_firing_twice(task, told);
        match fates {
            Fates::Known => {
                each_run_is_whole(task, *kind, told, &recorded);
                each_output_is_whole(world, task, told);
            }
            Fates::Lost => no_outcome_is_false(task, told, &recorded),
        }
        if *kind == Kind::Queue {
            one_after_the_other(task, &stamps, fates);
        }
        passed += each_fire_time_has_a_verdict(world, task, told, &recorded);
    }
    println!(
        "{} tasks, {attempts} attempts, {passed} fire times passed over",
        load.tasks.len()
    );
    assert!(attempts > 0, "nothing ran");
}

fn no_firing_twice(task: &str, told: &Attempts) {
    let mut by_fire_time: HashMap<Timestamp, u64> = HashMap::new();
    for ((run, attempt, fire_time), told) in told {
        assert_eq!(told.starts, 1, "{task}/{run}, attempt {attempt}, started: {told:?}");
        let first = *by_fire_time.entry(*fire_time).or_insert(*run);
        assert_eq!(first, *run, "{task}: the firing of {fire_time} has two runs");
    }
}

fn each_run_is_whole(task: &str, kind: Kind, told: &Attempts, recorded: &Recorded) {
    let (attempts, code) = kind.life();
    for (n, run) in recorded {
        if run["outcome"] == "missed" {
            assert!(!told.contains_key(&key(*n, 1, run)), "it ran: {run}");
            continue;
        }
        let outcome = if code == 0 { "succeeded" } else { "failed" };
        assert_eq!(
            (&run["outcome"], &run["attempts"], &run["exit_code"]),
            (&outcome.into(), &attempts.into(), &code.into()),
            "{run}"
        );
        for attempt in 1..=attempts {
            let told = told.get(&key(*n, attempt, run));
            let told = told.unwrap_or_else(|| panic!("attempt {attempt} never ran: {run}"));
            assert_eq!(told.ends.len(), 1, "attempt {attempt} was harmed: {run}");
        }
    }
    for (n, attempt, fire_time) in told.keys() {
        let run = recorded.get(n);
        assert!(
            run.is_some_and(|run| instant(&run["fire_time"]) == *fire_time) && *attempt <= attempts,
            "{task}/{n}, attempt {attempt}, is not recorded"
        );
    }
}

fn each_output_is_whole(world: &World, task: &str, told: &Attempts) {
    let all: String = told
        .keys()
        .map(|(run, attempt, _)| output(task, *run, *attempt))
        .collect();
    let logs = world.ctl(&["logs", task, "--since", "1d"]).ok();
    if logs != all {
        let differ = logs.lines().zip(all.lines()).find(|(there, wanted)| there != wanted);
        let (there, wanted) = (logs.lines().count(), all.lines().count());
        panic!("{task}: {there} lines of output and not {wanted}; the first that differ are {differ:?}");
    }
}

fn no_outcome_is_false(task: &str, told: &Attempts, recorded: &Recorded) {
    for (n, run) in recorded {
        let outcome = run["outcome"]
            .as_str()
            .unwrap_or_else(|| panic!("it never ended: {run}"));
        let attempts = u32::try_from(run["attempts"].as_u64().expect("a number")).expect("few");
        let last = told.get(&key(*n, attempts, run));
        let said = last.and_then(|told| told.ends.first());
        match outcome {
            "succeeded" => assert_eq!(said, Some(&0), "{run}"),
            // A child has the environment of who starts it until it is itself, and may be killed in its place.
            "failed" if run["signal"] == 9 => assert_eq!(said, None, "{run}"),
            "failed" => assert_eq!(
                said.map(|code| Value::from(*code)),
                Some(run["exit_code"].clone()),
                "{run}"
            ),
            "unknown" => {}
            // What was to start it was killed too.
            "missed" | "spawn-failed" => assert!(last.is_none(), "it ran: {run}"),
            other => panic!("nobody ended it so ({other}): {run}"),
        }
    }
    for ((n, attempt, _), told) in told {
        assert!(told.ends.len() <= 1, "{task}/{n}, attempt {attempt}: {told:?}");
    }
}

/// At most one of a task runs at a time, and in the order of their fire times.
fn one_after_the_other(task: &str, stamps: &Stamps, fates: Fates) {
    let mut last = 0;
    let mut live = None;
    for (start, run) in stamps.order.get(task).into_iter().flatten() {
        if *start {
            let is_next = *run > last || (fates == Fates::Lost && *run == last);
            assert!(is_next, "{task}/{run} started after {task}/{last}");
            // One that ended with its runner says nothing.
            assert!(
                live.is_none() || fates == Fates::Lost,
                "{task}/{run} started beside {live:?}"
            );
            (last, live) = (*run, Some(*run));
        } else {
            assert_eq!(live.take(), Some(*run), "{task}/{run} ended beside another");
        }
    }
}

/// Between the first and the last of the fire times, each has one run, or a place in the ledger. Gives how many the
/// latter are.
fn each_fire_time_has_a_verdict(world: &World, task: &str, told: &Attempts, recorded: &Recorded) -> usize {
    let mut runs: HashMap<i64, &Value> = HashMap::new();
    for run in recorded.values() {
        let second = runs.insert(instant(&run["fire_time"]).as_millisecond(), run);
        assert!(second.is_none(), "two runs of one fire time: {run} and {second:?}");
    }
    let ran: Vec<i64> = told.keys().map(|(.., fire_time)| fire_time.as_millisecond()).collect();
    let times = || runs.keys().chain(&ran).copied();
    let (Some(first), Some(last)) = (times().min(), times().max()) else {
        return 0;
    };
    let mut passed = 0;
    for at in (first..=last).step_by(1000) {
        if runs.contains_key(&at) {
            continue;
        }
        passed += 1;
        let time = Timestamp::from_millisecond(at)
            .expect("an instant of today")
            .to_string();
        let fate = world.ctl(&["why", task, &time, "--json"]).json()[0].take();
        let verdict = fate["verdict"].as_str().unwrap_or_else(|| panic!("no verdict: {fate}"));
        let allowed: &[&str] = if ran.contains(&at) {
            &["unknown"]
        } else {
            &["skipped", "missed", "unknown"]
        };
        assert!(allowed.contains(&verdict), "{task} at {time}: {fate}");
    }
    passed
}
