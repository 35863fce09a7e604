//! What must be true afterwards: what taskd recorded is held against what the processes said themselves.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde_json::Value;

use super::kinds::{Kind, Life, TIMEOUT, output};
use super::load::Load;
use super::words::{Attempts, Key, Told, Words};
use super::{following, together};
use crate::harness::{World, instant};

/// What may be true of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fates {
    /// The runner lived: each run is known to its end.
    Known,
    /// Runners were killed too: a run may have ended with one, and then its fate is unknown.
    Lost,
}

/// So many milliseconds late a machine that is busy may be, which is less than the grace of a task that has none of its own.
const BUSY_MS: u64 = 9_000;

/// What a run whose gate is closed has for its reason.
const GATE_CLOSED: &str = "only-if exited with 1";

/// What is recorded of a task, by the number of its run.
pub type Recorded = BTreeMap<u64, Value>;

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
    (n, attempt, fire_time(run))
}

/// A run that follows another has none.
fn fire_time(run: &Value) -> Option<Timestamp> {
    (!run["fire_time"].is_null()).then(|| instant(&run["fire_time"]))
}

/// Holds all that is recorded against all that was said.
pub fn check(world: &World, load: &Load, fates: Fates) {
    let words = Words::of(world);
    let all: BTreeMap<String, Recorded> = load
        .tasks
        .iter()
        .map(|(task, _)| (task.clone(), recorded(world, task)))
        .collect();
    let (mut attempts, mut passed) = (0, 0);
    for (task, kind) in &load.tasks {
        let (told, recorded) = (words.of_task(task), &all[task]);
        attempts += told.len();
        no_firing_twice(task, told);
        match fates {
            Fates::Known => {
                each_run_is_true(task, *kind, told, recorded);
                each_output_is_whole(world, task, *kind, told);
            }
            Fates::Lost => no_outcome_is_false(task, *kind, told, recorded),
        }
        if *kind == Kind::After {
            following::check(task, recorded, &all);
        } else {
            passed += each_fire_time_has_a_verdict(world, task, told, recorded);
        }
    }
    together::check(load, &words, fates);
    println!(
        "{} tasks, {attempts} attempts, {passed} fire times passed over",
        load.tasks.len()
    );
}

fn no_firing_twice(task: &str, told: &Attempts) {
    let mut by_fire_time: HashMap<Timestamp, u64> = HashMap::new();
    for ((run, attempt, fire_time), told) in told {
        assert_eq!(told.starts, 1, "{task}/{run}, attempt {attempt}, started: {told:?}");
        let Some(fire_time) = *fire_time else { continue };
        let first = *by_fire_time.entry(fire_time).or_insert(*run);
        assert_eq!(first, *run, "{task}: the firing of {fire_time} has two runs");
    }
}

fn each_run_is_true(task: &str, kind: Kind, told: &Attempts, recorded: &Recorded) {
    for (n, run) in recorded {
        let first = told.get(&key(*n, 1, run));
        if run["outcome"] == "missed" {
            assert!(first.is_none(), "it ran: {run}");
        } else if kind.finds_gate_closed(*n) {
            is_turned_away(run, first);
        } else {
            match kind.life() {
                Life::Whole { attempts, code } => is_whole(*n, attempts, code, told, run),
                Life::TimedOut => is_timed_out(run, first),
                Life::Replaced => is_replaced_or_whole(run, first),
            }
        }
    }
    for (n, attempt, fired) in told.keys() {
        let run = recorded.get(n).filter(|run| fire_time(run) == *fired);
        assert!(
            run.is_some_and(|run| run["attempts"].as_u64() >= Some((*attempt).into())),
            "{task}/{n}, attempt {attempt}, is not recorded: {run:?}"
        );
    }
}

fn is_whole(n: u64, attempts: u32, code: i32, told: &Attempts, run: &Value) {
    let outcome = if code == 0 { "succeeded" } else { "failed" };
    assert_eq!(
        (&run["outcome"], &run["attempts"], &run["exit_code"]),
        (&outcome.into(), &attempts.into(), &code.into()),
        "{run}"
    );
    for attempt in 1..=attempts {
        let told = told.get(&key(n, attempt, run));
        let told = told.unwrap_or_else(|| panic!("attempt {attempt} never ran: {run}"));
        assert_eq!(told.ends.len(), 1, "attempt {attempt} was harmed: {run}");
    }
}

fn is_turned_away(run: &Value, told: Option<&Told>) {
    assert_eq!(
        (&run["outcome"], &run["reason"], &run["started_at"]),
        (&"skipped".into(), &GATE_CLOSED.into(), &Value::Null),
        "{run}"
    );
    assert!(told.is_none(), "it ran: {run}");
}

fn is_timed_out(run: &Value, told: Option<&Told>) {
    assert_eq!(run["outcome"], "timed-out", "{run}");
    let took = run["duration_ms"].as_u64().expect("it started");
    assert!(took >= TIMEOUT.0 && took < TIMEOUT.0 + TIMEOUT.1 + BUSY_MS, "{run}");
    // One that has said nothing may not have come so far as not to heed TERM.
    if let Some(told) = told {
        assert_eq!((run["signal"].as_u64(), told.ends.len()), (Some(9), 0), "{run}");
    }
}

fn is_replaced_or_whole(run: &Value, told: Option<&Told>) {
    match (run["outcome"].as_str(), told) {
        (Some("cancelled"), told) => {
            let reason = run["reason"].as_str().expect("a reason");
            assert!(reason.starts_with("replaced by run"), "{run}");
            // One that has said nothing heeds TERM as any other, or never started.
            if let Some(told) = told {
                assert_eq!(told.ends, Vec::from_iter(code(run)), "{run}");
            }
        }
        (Some("succeeded"), Some(told)) => assert_eq!(told.ends, [0], "{run}"),
        (outcome, told) => panic!("{outcome:?} is false, it said {told:?}: {run}"),
    }
}

fn code(run: &Value) -> Option<i32> {
    let code = run["exit_code"].as_i64()?;
    Some(i32::try_from(code).expect("a code"))
}

fn each_output_is_whole(world: &World, task: &str, kind: Kind, told: &Attempts) {
    let wanted = |(run, attempt, _): &Key| output(task, *run, *attempt);
    let logs = world.ctl(&["logs", task, "--since", "1d"]).ok();
    let all: String = if kind.is_cut() {
        told.keys().map(|key| cut(&wanted(key), &logs)).collect()
    } else {
        told.keys().map(wanted).collect()
    };
    if logs != all {
        let differ = logs.lines().zip(all.lines()).find(|(there, wanted)| there != wanted);
        let (there, wanted) = (logs.lines().count(), all.lines().count());
        panic!("{task}: {there} lines of output and not {wanted}; the first that differ are {differ:?}");
    }
}

/// As much of the lines of an attempt as there is, from the first on.
fn cut(wanted: &str, logs: &str) -> String {
    let is_there = |line: &&str| logs.contains(line);
    wanted.split_inclusive('\n').take_while(is_there).collect()
}

fn no_outcome_is_false(task: &str, kind: Kind, told: &Attempts, recorded: &Recorded) {
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
            "failed" => assert_eq!(said.copied(), code(run), "{run}"),
            "timed-out" if kind.life() == Life::TimedOut => is_timed_out(run, last),
            "cancelled" if kind.life() == Life::Replaced => {
                // It may have ended with its runner, after it was to end.
                assert!(said.is_none() || said.copied() == code(run), "{run}");
            }
            "skipped" if kind == Kind::Gated => {
                // What looks at the gate may be killed as well.
                assert!(kind.finds_gate_closed(*n) || run["reason"] != GATE_CLOSED, "{run}");
                assert!(last.is_none(), "it ran: {run}");
            }
            "unknown" => {}
            // What was to start it was killed too.
            "missed" | "spawn-failed" => assert!(last.is_none(), "it ran: {run}"),
            other => panic!("nobody ended it so ({other}): {run}"),
        }
    }
    for ((n, attempt, _), told) in told {
        assert!(told.ends.len() <= 1, "{task}/{n}, attempt {attempt}: {told:?}");
        assert!(!kind.finds_gate_closed(*n), "{task}/{n} ran though its gate was closed");
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
    let ran = told.keys().filter_map(|(.., fire_time)| *fire_time);
    let ran: Vec<i64> = ran.map(Timestamp::as_millisecond).collect();
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
