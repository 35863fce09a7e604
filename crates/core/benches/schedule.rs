//! What it costs to read an expression, to find a fire time, and to refuse hostile input.

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

use divan::Bencher;
use jiff::tz::TimeZoneDatabase;
use taskd_core::Timestamp;
use taskd_core::schedule::{Catalog, Cron, DstRule, EXPRESSION_MAX, Schedule, Zone, Zones, findings};

const TYPICAL: [&str; 12] = [
    "* * * * *",
    "*/5 * * * *",
    "0 * * * *",
    "30 2 * * *",
    "0 9-17 * * MON-FRI",
    "0 0 1 * *",
    "0 0 L * *",
    "0 0 15W * *",
    "0 0 29 2 *",
    "0 0 * * FRI#2",
    "0 0 29 2 +MON",
    "*/10 * * * * *",
];

fn main() {
    divan::main();
}

fn new_york() -> Arc<Zone> {
    Zones::new(TimeZoneDatabase::bundled())
        .get("America/New_York")
        .expect("the bundled database has it")
}

/// 2026-03-02T10:00:17Z
const NOW: Timestamp = Timestamp::from_second(1_772_445_617);

#[divan::bench(args = TYPICAL)]
fn parse_and_first(bencher: Bencher, expr: &str) {
    let zone = new_york();
    bencher.bench(|| Cron::parse(black_box(expr)).map(|cron| cron.next_after(&zone, NOW)));
}

#[divan::bench(args = TYPICAL)]
fn next(bencher: Bencher, expr: &str) {
    let (zone, cron) = (new_york(), Cron::parse(expr).expect("it is in the dialect"));
    bencher.bench(|| black_box(&cron).next_after(&zone, black_box(NOW)));
}

#[divan::bench]
fn next_in_a_far_year(bencher: Bencher) {
    let (zone, cron) = (new_york(), Cron::parse("30 2 * * *").expect("it is in the dialect"));
    bencher.bench(|| cron.next_after(&zone, black_box(Timestamp::from_second(6_000_000_000))));
}

#[divan::bench]
fn next_that_only_ever_falls_into_a_gap(bencher: Bencher) {
    let (zone, cron) = (
        new_york(),
        Cron::parse("*/30 2 8-14 3 +SUN").expect("it is in the dialect"),
    );
    bencher.bench(|| cron.next_after(&zone, black_box(NOW)));
}

#[divan::bench(args = [64 * 1024, 1024, 500])]
fn refuse_commas(bencher: Bencher, length: usize) {
    let text = ",".repeat(length);
    bencher.bench(|| Cron::parse(black_box(&text)).is_err());
}

#[divan::bench(args = ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 0 30 2 * 1970-5000", "0 0 * * L"])]
fn refuse_what_never_fires(bencher: Bencher, expr: &str) {
    bencher.bench(|| Cron::parse(black_box(expr)).is_err());
}

#[divan::bench]
fn longest_expression(bencher: Bencher) {
    let text = format!("{} * * * *", ["0-59/1"; 145].join(","));
    bencher.bench(|| Cron::parse(black_box(&text)).is_ok());
}

/// An expression that is in the dialect and made to be slow, and what makes it so.
struct Hostile(&'static str, String);

impl fmt::Display for Hostile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Lists as long as an expression may be, and days that seldom or never come.
fn hostile() -> Vec<Hostile> {
    let list = |item: &str, before: &str, after: &str| {
        let room = EXPRESSION_MAX - before.len() - after.len();
        let items = vec![item; (room + 1) / (item.len() + 1)];
        format!("{before}{}{after}", items.join(","))
    };
    let all = [
        ("years", list("1970-5000", "0 0 0 29 2 +MON ", "")),
        ("years by steps", list("1970-5000/2", "0 0 0 29 2 +MON#5 ", "")),
        ("days", list("1-31", "0 0 ", " * +MON#5")),
        ("nearest weekdays", list("31W", "0 0 ", " 2,4,6 +MON#5")),
        ("last days", list("L,LW", "0 0 ", " 2 +MON#5")),
        ("weekdays", list("MON#5", "0 0 29 2 +", "")),
        ("a leap day or its fifth Monday", "0 0 29 2 MON#5".to_owned()),
        ("a leap day that is a Monday", "0 0 29 2 +MON#5".to_owned()),
        ("one far year", "0 0 0 29 2 +MON 4996".to_owned()),
        ("no such year", "0 0 0 29 2 +MON 4900-4995".to_owned()),
        ("in a gap only", "*/30 2 8-14 3 +SUN".to_owned()),
        (
            "in a gap only, of leap years",
            "0 */30 2 8-14 3 +SUN 1972-5000/4".to_owned(),
        ),
        (
            "in a gap only, of far years",
            "0 */30 2 8-14 3 +SUN 3000-5000".to_owned(),
        ),
    ];
    all.map(|(what, expr)| Hostile(what, expr)).into()
}

/// Bounded whatever is asked for.
#[divan::bench(args = hostile())]
fn all_of_a_hostile_expression(bencher: Bencher, Hostile(_, expr): &Hostile) {
    let zone = new_york();
    bencher.bench(|| {
        Cron::parse(black_box(expr)).map(|cron| {
            let (cron, zone, rule) = (Arc::new(cron), Arc::clone(&zone), DstRule::default());
            findings(&Schedule::Cron { cron, zone, rule }, expr, NOW)
        })
    });
}

/// One after the other, over the changes of the clock of a year or so: what each of a thousand costs.
#[divan::bench(args = ["* * * * *", "*/5 * * * *", "0 * * * *", "0 9-17 * * MON-FRI", "30 2 * * *"])]
fn next_of_a_thousand(bencher: Bencher, expr: &str) {
    let (zone, cron) = (new_york(), Cron::parse(expr).expect("it is in the dialect"));
    bencher
        .counter(1_000_u32)
        .bench(|| (0..1_000).try_fold(black_box(NOW), |at, _| cron.next_after(&zone, at)));
}

#[divan::bench]
fn intern(bencher: Bencher) {
    let mut catalog = Catalog::new(Zones::new(TimeZoneDatabase::bundled()));
    let _used = catalog.cron("30 2 * * *", "Europe/Berlin");
    bencher.bench_local(move || catalog.cron(black_box("30 2 * * *"), "Europe/Berlin"));
}

#[divan::bench]
fn read_a_zone(bencher: Bencher) {
    let mut zones = Zones::new(TimeZoneDatabase::bundled());
    bencher.bench_local(move || {
        zones.reset();
        zones.get("America/New_York")
    });
}

fn schedule(expr: &str) -> Schedule {
    Catalog::new(Zones::new(TimeZoneDatabase::bundled()))
        .cron(expr, "America/New_York")
        .expect("it is in the dialect")
}

#[divan::bench]
fn what_passed_in_years_of_seconds(bencher: Bencher) {
    let schedule = schedule("* * * * * *");
    bencher.bench(|| schedule.passed(NOW, black_box(Timestamp::from_second(4_000_000_000))));
}

#[divan::bench]
fn all_findings(bencher: Bencher) {
    let expr = "*/7 2 */2 * MON";
    let schedule = schedule(expr);
    bencher.bench(|| findings(&schedule, black_box(expr), black_box(NOW)));
}
