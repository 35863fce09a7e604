//! What follows: for each end of a run that a task comes after it has one run, and it has no other.

use std::collections::BTreeMap;

use serde_json::Value;

use super::kinds::Kind;
use super::truth::Recorded;

/// Holds the runs of a task that comes after others against those of these, by their names.
pub fn check(task: &str, runs: &Recorded, all: &BTreeMap<String, Recorded>) {
    let mut owed: BTreeMap<&str, &Value> = BTreeMap::new();
    for (upstream, on) in Kind::UPSTREAMS {
        let ends = all[upstream].values().filter(|run| is_followed(run, on));
        owed.extend(ends.map(|run| (run["run"].as_str().expect("a run"), &run["trace_id"])));
    }
    for run in runs.values() {
        let cause = run["triggered_by"]
            .as_str()
            .unwrap_or_else(|| panic!("of no end: {run}"));
        let trace_id = owed.remove(cause);
        assert_eq!(
            Some(&run["trace_id"]),
            trace_id,
            "of no end of {cause}, or of one twice: {run}"
        );
    }
    assert!(owed.is_empty(), "{task} had no run after {:?}", owed.keys());
}

fn is_followed(run: &Value, on: &str) -> bool {
    let outcome = run["outcome"].as_str().expect("it ended");
    match on {
        "succeeded" => outcome == "succeeded",
        "failed" => ["failed", "timed-out", "spawn-failed"].contains(&outcome),
        "finished" => !["skipped", "missed"].contains(&outcome),
        other => panic!("no run ends {other}"),
    }
}
