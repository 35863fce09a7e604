//! Every conformance vector of `tests/vectors` is answered as stated there. Its README tells where the rows come from.
//!
//! The tz database is jiff's bundled copy: it has the 2026 changes that some rows need, whatever the system has.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::tz::TimeZoneDatabase;
use serde_json::Value;
use taskd_core::Timestamp;
use taskd_core::schedule::{
    Catalog, Cron, CronErrorKind, LocalTime, Schedule, ScheduleError, Zones, every_word, findings, local_time,
};

fn rows(file: &str) -> Vec<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/vectors")
        .join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_else(|| panic!("{key} in {row}"))
}

fn tagged(row: &Value, tag: &str) -> bool {
    row["tags"].as_array().unwrap().iter().any(|known| known == tag)
}

fn instant(text: &str) -> Timestamp {
    Timestamp::from_jiff(text.parse().unwrap_or_else(|error| panic!("{text}: {error}")))
}

fn instants(list: &Value) -> Vec<Timestamp> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|text| instant(text.as_str().unwrap()))
        .collect()
}

fn catalog() -> Catalog {
    Catalog::new(Zones::new(TimeZoneDatabase::bundled()))
}

/// The schedule a row asks for; `Ok(None)` where it is refused because it never fires, and the row says the same.
fn schedule(catalog: &mut Catalog, row: &Value) -> Result<Option<Schedule>, String> {
    let expr = text(row, "expr");
    if let Some(interval) = every_word(expr) {
        let interval = interval.map_err(|error| error.to_string())?;
        let anchor = row["from"].as_str().map_or(Timestamp::default(), instant);
        return Ok(Some(Schedule::Every { anchor, interval }));
    }
    match catalog.cron(expr, row["tz"].as_str().unwrap_or("UTC")) {
        Ok(schedule) => Ok(Some(schedule)),
        Err(ScheduleError::Cron(error))
            if matches!(error.kind, CronErrorKind::NeverFires { .. })
                && !tagged(row, "invalid")
                && instants(&row["next"]).is_empty() =>
        {
            Ok(None)
        }
        Err(error) => Err(error.to_string()),
    }
}

/// What is wrong with our answer to a row, if anything.
fn judge(catalog: &mut Catalog, row: &Value) -> Option<String> {
    let next = instants(&row["next"]);
    let over = next.is_empty() || row["exhausted"] == true;
    let asked = next.len() + usize::from(over);
    let schedule = match schedule(catalog, row) {
        Ok(Some(schedule)) => schedule,
        Ok(None) => return None,
        Err(error) => return Some(error),
    };
    let mut found = Vec::new();
    let mut at = instant(text(row, "from"));
    while let Some(next) = schedule.next_after(at).filter(|_| found.len() < asked) {
        assert!(next > at);
        found.push(next);
        at = next;
    }
    let alternatives = row["alt"].as_array().into_iter().flatten().map(instants);
    let fits = [next].into_iter().chain(alternatives).any(|wanted| wanted == found);
    if !fits {
        return Some(format!(
            "found {}",
            found.iter().map(Timestamp::to_string).collect::<Vec<_>>().join(" ")
        ));
    }
    // The same fire times, asked for as a span.
    if let (Some(first), Some(last)) = (found.first(), found.last()) {
        let passed = schedule
            .passed(instant(text(row, "from")), *last)
            .expect("there are some");
        assert_eq!(
            (passed.first, passed.last, passed.count),
            (*first, *last, found.len() as u64),
            "{row}"
        );
    }
    None
}

/// Judges every row of a file, which has so many.
fn run(file: &str, count: usize, judge: impl Fn(&mut Catalog, &Value) -> Option<String>) {
    let mut catalog = catalog();
    let mut failures = Vec::new();
    let mut tags: BTreeMap<String, usize> = BTreeMap::new();
    let rows = rows(file);
    assert_eq!(rows.len(), count, "rows of {file}");
    for row in &rows {
        for tag in row["tags"].as_array().unwrap() {
            *tags.entry(tag.to_string()).or_default() += 1;
        }
        if let Some(wrong) = judge(&mut catalog, row) {
            failures.push(format!("{wrong}\n    {row}"));
        }
    }
    println!("{file}: {} rows, {} failed; {tags:?}", rows.len(), failures.len());
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        rows.len(),
        failures[..failures.len().min(20)].join("\n")
    );
}

#[test]
fn calendar_arithmetic() {
    run("cron.jsonl", 3_997, judge);
}

#[test]
fn daylight_saving() {
    run("dst.jsonl", 1_333, judge);
}

#[test]
fn the_day_that_samoa_skipped() {
    run("dateline.jsonl", 20, judge);
}

#[test]
fn grids_of_elapsed_time() {
    run("every.jsonl", 187, judge);
}

#[test]
fn what_must_be_refused() {
    run("invalid.jsonl", 389, |catalog, row| {
        let answer = schedule(catalog, row);
        let expr = text(row, "expr");
        if let Err(error) = Cron::parse(expr) {
            let (from, to) = error.span;
            assert!(
                from <= to && to <= expr.chars().count().max(from + 1),
                "{expr:?}: {error:?}"
            );
            assert!(!error.problem().is_empty());
        }
        answer.ok().map(|_| "accepted".to_owned())
    });
}

#[test]
fn local_times() {
    run("local-time.jsonl", 534, |catalog, row| {
        let zone = catalog.zones().get(text(row, "tz")).unwrap();
        let civil = text(row, "local").parse().unwrap();
        let (kind, found) = match local_time(civil, &zone) {
            LocalTime::Unique(at) => ("unique", vec![at]),
            LocalTime::Overlap { first, second } => ("overlap", vec![first, second]),
            LocalTime::Gap { end } => {
                assert_eq!(end, instant(text(row, "gap_end")), "{row}");
                ("gap", vec![])
            }
        };
        let fits = kind == text(row, "kind") && found == instants(&row["instants"]);
        (!fits).then(|| format!("{kind} {found:?}"))
    });
}

#[test]
fn what_is_suggested_is_an_expression_and_says_less() {
    let mut catalog = catalog();
    for row in rows("dst.jsonl").into_iter().chain(rows("cron.jsonl")) {
        let Ok(Some(schedule)) = schedule(&mut catalog, &row) else {
            continue;
        };
        let now = instant(text(&row, "from"));
        for finding in findings(&schedule, text(&row, "expr"), now) {
            assert!(finding.message.ends_with(['.', '?']), "{finding}");
            let Some(better) = &finding.suggestion else { continue };
            if every_word(better).is_some_and(|interval| interval.is_ok()) {
                continue;
            }
            let better_one = catalog.cron(better, row["tz"].as_str().unwrap_or("UTC"));
            let better_one = better_one.unwrap_or_else(|error| panic!("{row}: {finding}: {error}"));
            let left = findings(&better_one, better, now);
            assert!(
                left.iter()
                    .all(|left| left.code != finding.code || left.message != finding.message),
                "{row}: {finding}"
            );
        }
    }
}
