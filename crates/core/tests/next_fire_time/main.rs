//! The search for fire times against slow oracles that share no code with it: clocks that are stepped, dates that are tried one by
//! one, and croner's own search.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod all_zones;
mod expression;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp as Instant, ToSpan};
use proptest::prelude::*;
use proptest::sample::select;
use taskd_core::Timestamp;
use taskd_core::schedule::{Cron, CronErrorKind, DstRule, EXPRESSION_MAX, Gap, Overlap, Passed, Schedule, Zone, Zones};

use self::expression::{Expression, Item, expression};

static DB: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);
static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
    DB.available()
        .map(|name| name.as_str().to_owned())
        .filter(|name| name != "Etc/Unknown")
        .collect()
});

/// A change of a clock, after clocks began to show whole minutes of offset.
fn change() -> impl Strategy<Value = (String, TimeZone, Instant)> {
    let from: Instant = "1973-01-01T00:00Z".parse().unwrap();
    let until: Instant = "2110-01-01T00:00Z".parse().unwrap();
    (select(NAMES.as_slice()), any::<prop::sample::Index>()).prop_filter_map(
        "a zone that changes",
        move |(name, index)| {
            let tz = DB.get(&name).ok()?;
            let changes: Vec<Instant> = tz
                .following(from)
                .map(|change| change.timestamp())
                .take_while(|change| *change < until)
                .collect();
            (!changes.is_empty()).then(|| (name, tz, *index.get(&changes)))
        },
    )
}

/// Most fire times that are searched one by one to see how many there are.
const SEARCHES: usize = 1000;

/// As likely a few seconds as years, up to 2^`bits` seconds.
fn span(bits: u32) -> impl Strategy<Value = Duration> {
    (0..bits, 0.5..1.0).prop_map(|(bits, part)| Duration::from_secs(2 << bits).mul_f64(part))
}

fn zone(name: &str) -> Arc<Zone> {
    Zones::new(DB.clone()).get(name).unwrap()
}

/// Steps a clock and writes down when the expression fires, by the wording of the rule for daylight saving.
fn stepped(
    expression: &Expression,
    tz: &TimeZone,
    from: Instant,
    until: Instant,
    step: SignedDuration,
) -> Vec<Instant> {
    let fixed = expression.is_fixed();
    let (mut fired, mut reached) = (Vec::new(), None::<DateTime>);
    let mut at = from;
    while at <= until {
        let local = tz.to_datetime(at);
        let mut fires = expression.matches(local);
        if fixed && let Some(reached) = reached {
            let mut skipped = reached + step;
            while skipped < local {
                fires |= expression.matches(skipped);
                skipped += step;
            }
            fires &= local > reached;
        }
        if fires {
            fired.push(at);
        }
        reached = Some(reached.map_or(local, |reached| reached.max(local)));
        at += step;
    }
    fired
}

fn fire_times(cron: &Cron, zone: &Zone, after: Instant, until: Instant) -> Vec<Instant> {
    let mut fired = Vec::new();
    let mut at = Timestamp::from_jiff(after);
    while let Some(next) = cron.next_after(zone, at).filter(|next| next.to_jiff() <= until) {
        assert!(next > at, "fire times increase");
        fired.push(next.to_jiff());
        at = next;
    }
    fired
}

/// The compiled expression, unless it can never fire.
fn compiled(expression: &Expression) -> Option<Cron> {
    match Cron::parse(&expression.text()) {
        Ok(cron) => Some(cron),
        Err(error) => {
            assert!(
                matches!(error.kind, CronErrorKind::NeverFires { .. }),
                "{}: {error}",
                expression.text()
            );
            None
        }
    }
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(160))]

    #[test]
    fn around_a_change_the_fire_times_are_those_of_a_stepped_clock((name, tz, change) in change(), expression in expression(false)) {
        let Some(cron) = compiled(&expression) else { return Ok(()) };
        let (from, until) = (change - 40.hours(), change + 30.hours());
        // The search asks for times after `from`, the clock begins with it.
        let stepped: Vec<Instant> =
            stepped(&expression, &tz, from, until, SignedDuration::from_mins(1)).into_iter().filter(|at| *at > from).collect();
        prop_assert_eq!(fire_times(&cron, &zone(&name), from, until), stepped, "{} in {} around {}", expression.text(), name, change);
    }
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn seconds_are_found_around_a_change((name, tz, change) in change(), expression in expression(true)) {
        let mut expression = expression;
        // The window is short, so all its days are meant.
        (expression.days, expression.weekdays) = (None, None);
        let Some(cron) = compiled(&expression) else { return Ok(()) };
        let (from, until) = (change - 100.minutes(), change + 100.minutes());
        let stepped: Vec<Instant> =
            stepped(&expression, &tz, from, until, SignedDuration::from_secs(1)).into_iter().filter(|at| *at > from).collect();
        prop_assert_eq!(fire_times(&cron, &zone(&name), from, until), stepped, "{} in {} around {}", expression.text(), name, change);
    }
}

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn away_from_changes_the_next_fire_time_is_that_of_a_calendar_and_of_croner(
        expression in prop_oneof![expression(false), expression(true)],
        second in 0_i64..4_102_444_800,
    ) {
        let text = expression.text();
        let Some(cron) = compiled(&expression) else { return Ok(()) };
        let utc = zone("UTC");
        let after = Timestamp::from_second(second);
        let found = cron.next_after(&utc, after).expect("it fires within a calendar of 400 years");
        let civil = TimeZone::UTC.to_datetime(found.to_jiff());
        prop_assert!(expression.matches(civil), "{} at {}", text, civil);
        let start = TimeZone::UTC.to_datetime(after.to_jiff());
        let mut date = start.date().tomorrow().unwrap();
        let mut tried = 0;
        while date < civil.date() && tried < 3000 {
            prop_assert!(!expression.date_matches(date), "{} missed {}", text, date);
            date = date.tomorrow().unwrap();
            tried += 1;
        }
        // croner takes `L,LW` for `LW`.
        let both_last = expression.days.as_ref().is_some_and(|items| {
            items.iter().any(|item| matches!(item, Item::LastDay)) && items.iter().any(|item| matches!(item, Item::LastWeekday))
        });
        if !both_last {
            let croner = text.parse::<croner::Cron>().expect("croner reads the dialect");
            prop_assert_eq!(croner.find_next_occurrence(&start, false).unwrap(), civil, "{} after {}", text, start);
        }
    }

    #[test]
    fn fire_times_are_one_set_whatever_was_asked_before(
        (name, _, change) in change(),
        expression in prop_oneof![3 => expression(false), 1 => expression(true)],
        gap in select(vec![Gap::Auto, Gap::Run, Gap::Skip]),
        overlap in select(vec![Overlap::Auto, Overlap::First, Overlap::Second, Overlap::Both]),
        lead in 0_i64..200_000,
        part in 0.0..1.0,
    ) {
        let Some(cron) = compiled(&expression) else { return Ok(()) };
        let (zone, rule) = (zone(&name), DstRule { gap, overlap });
        let mut after = Timestamp::from_second(change.as_second() - lead);
        for _ in 0..10 {
            let Some(next) = cron.next_after_by(&zone, rule, after) else { break };
            prop_assert!(next > after);
            let between = after.as_millis() + ((next.as_millis() - after.as_millis() - 1) as f64 * part) as i64;
            prop_assert_eq!(cron.next_after_by(&zone, rule, Timestamp::from_millis(between)), Some(next));
            prop_assert_eq!(cron.next_after_by(&zone, rule, Timestamp::from_millis(next.as_millis() - 1)), Some(next));
            after = next;
        }
    }

    #[test]
    fn what_passed_is_what_the_search_finds_one_by_one(
        (name, _, change) in change(),
        expression in prop_oneof![2 => expression(false), 1 => expression(true)],
        years in select(vec!["*", "*", "*/2", "1990-2200/3"]),
        gap in select(vec![Gap::Auto, Gap::Run, Gap::Skip]),
        overlap in select(vec![Overlap::Auto, Overlap::First, Overlap::Second, Overlap::Both]),
        (lead, length) in (span(29), span(31)),
    ) {
        let text = match expression.second {
            Some(_) => format!("{} {years}", expression.text()),
            None => expression.text(),
        };
        let Ok(cron) = Cron::parse(&text) else { return Ok(()) };
        let schedule = Schedule::Cron { cron: Arc::new(cron), zone: zone(&name), rule: DstRule { gap, overlap } };
        let after = Timestamp::from_jiff(change).minus(lead);
        let until = after.plus(length);
        let times: Vec<Timestamp> = std::iter::successors(schedule.next_after(after), |at| schedule.next_after(*at))
            .take_while(|at| *at <= until)
            .take(SEARCHES)
            .collect();
        let all = schedule.passed(after, until);
        for end in [times.len() / 2, times.len()] {
            let (passed, rest) = times.split_at(end);
            let until = match rest.first() {
                Some(next) => next.minus(Duration::from_millis(1)),
                None if end == SEARCHES => times[end - 1],
                None => until,
            };
            let wanted = passed.first().zip(passed.last()).map(|(first, last)| Passed {
                first: *first,
                last: *last,
                count: passed.len() as u64,
            });
            prop_assert_eq!(schedule.passed(after, until), wanted, "{} in {} from {} until {}", text, name, after, until);
        }
        if let (Some(last), Some(all)) = (times.last(), all) {
            // What is too much for a search: the parts make up the whole.
            let rest = schedule.passed(*last, until);
            prop_assert_eq!(all.count, times.len() as u64 + rest.map_or(0, |rest| rest.count), "{} in {} from {} until {}", text, name, after, until);
            prop_assert_eq!(all.last, rest.map_or(*last, |rest| rest.last));
            let before = all.last.minus(Duration::from_millis(1));
            prop_assert_eq!(schedule.next_after(before), Some(all.last), "{} in {} from {} until {}", text, name, after, until);
            prop_assert!(schedule.next_after(all.last).is_none_or(|next| next > until), "{} in {} from {} until {}", text, name, after, until);
        }
    }

    #[test]
    fn any_text_is_an_expression_or_an_error_in_its_bounds(text in "[0-9*/,LW#+?MONJAd@ \u{e9}-]{0,24}|\\PC{0,40}") {
        if let Err(error) = Cron::parse(&text) {
            prop_assert!(!matches!(error.kind, CronErrorKind::Parser { .. }), "{text:?}: {error}");
            let (from, to) = error.span;
            prop_assert!(from <= to && to <= text.chars().count() + 1, "{text:?}: {error:?}");
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn far_years_and_strange_instants_have_an_answer(name in select(NAMES.as_slice()), expression in expression(false), millis in any::<i64>(), year in 2095_i64..9990) {
        let Some(cron) = compiled(&expression) else { return Ok(()) };
        let zone = zone(&name);
        for after in [Timestamp::from_millis(millis), Timestamp::MIN, Timestamp::MAX, Timestamp::from_second((year - 1970) * 31_556_952)] {
            if let Some(next) = cron.next_after(&zone, after) {
                prop_assert!(next > after);
            }
        }
    }
}

#[test]
fn hostile_expressions_are_refused() {
    for text in [
        ",".repeat(64 * 1024),
        ", * * * *".to_owned(),
        "*".repeat(EXPRESSION_MAX + 1),
        "@".repeat(500),
        "0-59,".repeat(200),
    ] {
        assert!(Cron::parse(&text).is_err());
    }
    let longest = format!("{} * * * *", ["0-59/1"; 145].join(","));
    assert!(longest.len() <= EXPRESSION_MAX);
    assert_eq!(Cron::parse(&longest), Cron::parse("0-59 * * * *"));
}
