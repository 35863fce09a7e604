//! Promise: the public command line answers every conformance vector as it is stated. What `next --cron` says is what the
//! daemon does, for both ask the same schedule.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use serde_json::Value;

use crate::harness::{World, texts};

/// The release of the tz database that rows of this tag need.
const NEEDS: (&str, &str) = ("needs-tzdata-2026f", "2026f");

fn rows(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(file);
    let text = std::fs::read_to_string(path).expect("the vectors are there");
    let rows = text.lines().map(|line| serde_json::from_str(line).expect("a row"));
    rows.collect()
}

fn tagged(row: &Value, tag: &str) -> bool {
    row["tags"]
        .as_array()
        .is_some_and(|tags| tags.iter().any(|known| known == tag))
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_else(|| panic!("no {key} in {row}"))
}

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn instants(list: &Value) -> Vec<Timestamp> {
    texts(list, "").iter().map(|text| instant(text)).collect()
}

/// Whether the system's tz database is of that release or a later one; one that does not say is taken for older.
fn system_has(release: &str) -> bool {
    let zi = std::fs::read_to_string("/usr/share/zoneinfo/tzdata.zi").unwrap_or_default();
    let version = zi.lines().next().and_then(|line| line.strip_prefix("# version "));
    version.is_some_and(|version| version >= release)
}

/// Judges all rows, some at a time, and gives what is wrong.
fn judge_all(rows: &[Value], judge: impl Fn(&World, &Value) -> Option<String> + Sync) {
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 8));
    let next = AtomicUsize::new(0);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let judges: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let world = World::new();
                    let rows = std::iter::from_fn(|| rows.get(next.fetch_add(1, Ordering::Relaxed)));
                    let wrong = rows.filter_map(|row| judge(&world, row).map(|wrong| format!("{wrong}\n    {row}")));
                    wrong.collect::<Vec<_>>()
                })
            })
            .collect();
        let failures = judges.into_iter().flat_map(|judge| judge.join().expect("no panic"));
        failures.collect()
    });
    let some = failures.len().min(20);
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        rows.len(),
        failures[..some].join("\n")
    );
}

fn asked(world: &World, expr: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let mut next: Command = world.taskctl(&[&["next", "--cron", expr], more].concat());
    let output = next.output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// What is wrong with the fire times that are shown, if anything.
fn fire_times(world: &World, row: &Value) -> Option<String> {
    let next = instants(&row["next"]);
    let over = next.is_empty() || row["exhausted"] == true;
    let n = (next.len() + usize::from(over)).to_string();
    let more = ["--tz", text(row, "tz"), "--from", text(row, "from"), "-n", &n];
    let (code, shown, said) = asked(world, text(row, "expr"), &more);
    if code != Some(0) {
        return Some(format!("{code:?} {said}"));
    }
    let found: Vec<Timestamp> = shown.lines().map(instant).collect();
    let alternatives = row["alt"].as_array().into_iter().flatten().map(instants);
    let fits = [next].into_iter().chain(alternatives).any(|wanted| wanted == found);
    (!fits).then(|| format!("shown {shown:?}"))
}

#[test]
fn fire_times_are_those_of_the_vectors() {
    let (tag, release) = NEEDS;
    let is_new = system_has(release);
    let files = ["cron.jsonl", "dst.jsonl", "dateline.jsonl", "every.jsonl"];
    let mut rows: Vec<Value> = files.into_iter().flat_map(rows).collect();
    let all = rows.len();
    rows.retain(|row| is_new || !tagged(row, tag));
    if rows.len() < all {
        println!("{} rows are left out: they need tz data of {release}", all - rows.len());
    }
    judge_all(&rows, fire_times);
}

#[test]
fn what_is_invalid_is_refused() {
    judge_all(&rows("invalid.jsonl"), |world, row| {
        let (code, shown, said) = asked(world, text(row, "expr"), &[]);
        let is_refused = code == Some(2) && shown.is_empty() && said.starts_with("taskctl: ");
        (!is_refused).then(|| format!("{code:?} {shown} {said}"))
    });
}
