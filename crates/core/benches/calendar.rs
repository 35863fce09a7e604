//! What it costs to ask a calendar, small or as large as it may be.

use std::hint::black_box;
use std::sync::Arc;

use divan::Bencher;
use jiff::tz::TimeZoneDatabase;
use taskd_core::Timestamp;
use taskd_core::calendar::{Calendar, DaySpan, Direction, ENTRIES_MAX, Entry, Rule, TimeRange};
use taskd_core::schedule::{Zone, Zones};

const KINDS: [&str; 5] = ["holidays", "10,000 days", "10,000 ranges", "never", "always"];

/// 2026-03-02T10:00:17Z
const NOW: Timestamp = Timestamp::from_second(1_772_445_617);

fn main() {
    divan::main();
}

fn berlin() -> Arc<Zone> {
    Zones::new(TimeZoneDatabase::bundled())
        .get("Europe/Berlin")
        .expect("the bundled database has it")
}

fn rules(texts: &[&str]) -> Vec<Entry> {
    let rule = |text: &&str| Entry::Rule(Rule::parse(text).expect("it is a rule"));
    texts.iter().map(rule).collect()
}

fn calendar(kind: &str) -> Calendar {
    let numbers = 0..ENTRIES_MAX as i64;
    let entries: Vec<Entry> = match kind {
        "holidays" => rules(&[
            "weekends",
            "easter-2",
            "easter+1",
            "easter+39",
            "easter+50",
            "01-01",
            "05-01",
            "12-25",
            "12-26",
        ]),
        "10,000 days" => numbers
            .map(|n| Entry::Days(DaySpan::new(18_000 + 2 * n, 18_000 + 2 * n).expect("it is in range")))
            .collect(),
        "10,000 ranges" => numbers
            .map(|n| {
                let at = |hours| Timestamp::from_second((420_000 + 12 * n + hours) * 3600);
                Entry::Range(TimeRange::absolute(at(0), at(8)).expect("it is in range"))
            })
            .collect(),
        // No change within ten years: the longest search.
        "never" => vec![Entry::Days(DaySpan::new(0, 0).expect("it is in range"))],
        _ => rules(&["weekends", "mon", "tue", "wed", "thu", "fri", "easter+1"]),
    };
    Calendar::new(entries).expect("there are not too many")
}

#[divan::bench(args = KINDS)]
fn covers(bencher: Bencher, kind: &str) {
    let (calendar, zone) = (calendar(kind), berlin());
    bencher.bench(|| calendar.covers(&zone, black_box(NOW)));
}

#[divan::bench(args = KINDS)]
fn change_after(bencher: Bencher, kind: &str) {
    let (calendar, zone) = (calendar(kind), berlin());
    bencher.bench(|| calendar.change_after(&zone, black_box(NOW)));
}

#[divan::bench(args = KINDS)]
fn open_day(bencher: Bencher, kind: &str) {
    let calendar = calendar(kind);
    bencher.bench(|| calendar.open_day(black_box(20_514), Direction::Next));
}

#[divan::bench(args = KINDS)]
fn new(bencher: Bencher, kind: &str) {
    bencher.bench(|| calendar(kind));
}
