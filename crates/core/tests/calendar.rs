//! Calendars against a slow oracle that shares no code with them: entries asked one by one, with jiff's dates, while a clock is
//! stepped.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::sync::{Arc, LazyLock};

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp as Instant, ToSpan};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use taskd_core::Timestamp;
use taskd_core::calendar::{Calendar, DaySpan, Direction, Entry, LOOK_AHEAD_DAYS, Rule, TimeRange};
use taskd_core::schedule::{Zone, Zones};

static DB: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);
static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
    DB.available()
        .map(|name| name.as_str().to_owned())
        .filter(|name| name != "Etc/Unknown")
        .collect()
});
const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];

/// An entry as the oracle knows it.
#[derive(Clone, Debug)]
enum Known {
    Days(Date, Date),
    Local(DateTime, DateTime),
    Absolute(Instant, Instant),
    Weekends,
    Weekday(i8),
    /// The number is 0 for the last.
    Nth(i8, i8, Option<i8>),
    Easter(i16),
    Yearly(i8, i8),
}

impl Known {
    fn entry(&self) -> Entry {
        let weekday = |day: i8| WEEKDAYS[day as usize];
        let rule = |text: String| Entry::Rule(text.parse::<Rule>().unwrap());
        match self {
            Known::Days(first, last) => Entry::Days(format!("{first}..{last}").parse().unwrap()),
            Known::Local(from, to) => Entry::Range(TimeRange::local(*from, *to).unwrap()),
            Known::Absolute(from, to) => Entry::Range(TimeRange::parse(&from.to_string(), &to.to_string()).unwrap()),
            Known::Weekends => rule("weekends".to_owned()),
            Known::Weekday(day) => rule(weekday(*day).to_owned()),
            Known::Nth(nth, day, month) => {
                let nth = ["last", "1st", "2nd", "3rd", "4th", "5th"][*nth as usize];
                let month = month.map_or("", |month| MONTHS[month as usize - 1]);
                rule(format!("{nth} {} {month}", weekday(*day)))
            }
            Known::Easter(offset) => rule(format!("easter{offset:+}")),
            Known::Yearly(month, day) => rule(format!("{month:02}-{day:02}")),
        }
    }

    fn covers_date(&self, date: Date) -> bool {
        let is = |day: i8| date.weekday().to_monday_zero_offset() == day;
        match self {
            Known::Days(first, last) => (*first..=*last).contains(&date),
            Known::Local(from, to) => *from <= date.at(0, 0, 0, 0) && date.tomorrow().unwrap().at(0, 0, 0, 0) <= *to,
            Known::Absolute(..) => false,
            Known::Weekends => matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday),
            Known::Weekday(day) => is(*day),
            Known::Nth(nth, day, month) => {
                let nth = if *nth == 0 { -1 } else { *nth };
                let weekday = Weekday::from_monday_zero_offset(*day).unwrap();
                month.is_none_or(|month| month == date.month())
                    && date.nth_weekday_of_month(nth, weekday).is_ok_and(|found| found == date)
            }
            Known::Easter(offset) => date
                .checked_sub(i64::from(*offset).days())
                .is_ok_and(|sunday| sunday == easter(date.year())),
            Known::Yearly(month, day) => (date.month(), date.day()) == (*month, *day),
        }
    }

    fn covers(&self, at: Instant, local: DateTime) -> bool {
        match self {
            Known::Local(from, to) => (*from..*to).contains(&local),
            Known::Absolute(from, to) => (*from..*to).contains(&at),
            _ => self.covers_date(local.date()),
        }
    }
}

/// The Sunday after the first full moon of the church from March 21 on, with the moon's age by Lilius and Clavius (1582).
fn easter(year: i16) -> Date {
    let year = i32::from(year);
    let century = year / 100 + 1;
    let (solar, lunar) = (3 * century / 4 - 12, (8 * century + 5) / 25 - 5);
    let golden = year % 19 + 1;
    let mut epact = (11 * golden + 20 + lunar - solar).rem_euclid(30);
    if epact == 24 || epact == 25 && golden > 11 {
        epact += 1;
    }
    let moon = if epact > 23 { 74 - epact } else { 44 - epact };
    let march = Date::new(year as i16, 3, 1).unwrap();
    let full = march.checked_add(i64::from(moon - 1).days()).unwrap();
    full.nth_weekday(1, Weekday::Sunday).unwrap()
}

fn calendar(entries: &[Known]) -> Calendar {
    Calendar::new(entries.iter().map(Known::entry)).unwrap()
}

fn oracle(entries: &[Known], tz: &TimeZone, at: Instant) -> bool {
    let local = tz.to_datetime(at);
    entries.iter().any(|entry| entry.covers(at, local))
}

fn zone(name: &str) -> Arc<Zone> {
    Zones::new(DB.clone()).get(name).unwrap()
}

/// A zone and one of its changes, at a time when offsets were of whole minutes.
fn change() -> impl Strategy<Value = (String, TimeZone, Instant)> {
    let (from, until): (Instant, Instant) = (
        "1973-01-01T00:00Z".parse().unwrap(),
        "2110-01-01T00:00Z".parse().unwrap(),
    );
    (select(NAMES.as_slice()), any::<Index>()).prop_filter_map("a zone that changes", move |(name, index)| {
        let tz = DB.get(&name).ok()?;
        let changes: Vec<Instant> = tz
            .following(from)
            .map(|change| change.timestamp())
            .take_while(|change| *change < until)
            .collect();
        (!changes.is_empty()).then(|| (name, tz, *index.get(&changes)))
    })
}

fn rules() -> impl Strategy<Value = Known> {
    prop_oneof![
        2 => Just(Known::Weekends),
        2 => (0_i8..7).prop_map(Known::Weekday),
        3 => (0_i8..6, 0_i8..7, proptest::option::of(1_i8..=12)).prop_map(|(nth, day, month)| Known::Nth(nth, day, month)),
        1 => (-80_i16..=250).prop_map(Known::Easter),
        1 => (1_i8..=12, 1_i8..=31).prop_filter_map("a day", |(month, day)| {
            Date::new(2000, month, day).is_ok().then_some(Known::Yearly(month, day))
        }),
    ]
}

/// Entries within `reach` minutes of an instant, of whole `unit`s of seconds, and some rules.
fn near(reach: i64, unit: i64) -> impl Strategy<Value = Vec<NearKnown>> {
    let days = (-3_i64..3, 0_i64..2).prop_map(|(from, length)| NearKnown::Days(from, length));
    let span = move || (-reach..reach, 1..reach);
    let local = span().prop_map(move |(from, length)| NearKnown::Local(from * unit, length * unit));
    let absolute = span().prop_map(move |(from, length)| NearKnown::Absolute(from * unit, length * unit));
    let entry = prop_oneof![2 => days, 3 => local, 2 => absolute, 2 => rules().prop_map(NearKnown::Rule)];
    proptest::collection::vec(entry, 1..6)
}

/// An entry by its distance from an instant.
#[derive(Clone, Debug)]
enum NearKnown {
    Days(i64, i64),
    Local(i64, i64),
    Absolute(i64, i64),
    Rule(Known),
}

fn placed(entries: Vec<NearKnown>, tz: &TimeZone, at: Instant) -> Vec<Known> {
    let local = tz.to_datetime(at);
    let place = |entry| match entry {
        NearKnown::Days(from, length) => {
            let first = local.date().checked_add(from.days()).unwrap();
            Known::Days(first, first.checked_add(length.days()).unwrap())
        }
        NearKnown::Local(from, length) => {
            let from = local.checked_add(SignedDuration::from_secs(from)).unwrap();
            Known::Local(from, from.checked_add(SignedDuration::from_secs(length)).unwrap())
        }
        NearKnown::Absolute(from, length) => {
            let from = at.checked_add(SignedDuration::from_secs(from)).unwrap();
            Known::Absolute(from, from.checked_add(SignedDuration::from_secs(length)).unwrap())
        }
        NearKnown::Rule(rule) => rule,
    };
    entries.into_iter().map(place).collect()
}

/// The changes that a stepped clock sees after `from` and not after `until`.
fn stepped(entries: &[Known], tz: &TimeZone, from: Instant, until: Instant, step: SignedDuration) -> Vec<Instant> {
    let mut covered = oracle(entries, tz, from);
    let mut changes = Vec::new();
    let mut at = from + step;
    while at <= until {
        if oracle(entries, tz, at) != covered {
            covered = !covered;
            changes.push(at);
        }
        at += step;
    }
    changes
}

fn searched(calendar: &Calendar, zone: &Zone, from: Instant, until: Instant) -> Vec<Instant> {
    let next = |at: &Timestamp| calendar.change_after(zone, *at).filter(|next| next.to_jiff() <= until);
    std::iter::successors(next(&Timestamp::from_jiff(from)), next)
        .map(Timestamp::to_jiff)
        .collect()
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(192))]

    #[test]
    fn around_a_change_of_offset_a_calendar_changes_as_a_stepped_clock_sees_it((name, tz, change) in change(), entries in near(3000, 60)) {
        let entries = placed(entries, &tz, change);
        let (from, until) = (change - 60.hours(), change + 50.hours());
        let wanted = stepped(&entries, &tz, from, until, SignedDuration::from_mins(1));
        prop_assert_eq!(searched(&calendar(&entries), &zone(&name), from, until), wanted, "{:?} in {} around {}", entries, name, change);
    }

    #[test]
    fn seconds_and_parts_of_them_are_exact((name, tz, change) in change(), entries in near(1800, 1), millis in 0_i64..1000) {
        let entries = placed(entries, &tz, change);
        let (from, until) = (change - 45.minutes(), change + 45.minutes());
        let wanted = stepped(&entries, &tz, from, until, SignedDuration::from_secs(1));
        let (calendar, zone) = (calendar(&entries), zone(&name));
        prop_assert_eq!(&searched(&calendar, &zone, from, until), &wanted, "{:?} in {} around {}", entries, name, change);
        for at in wanted {
            let before = at.as_millisecond() - 1000 + millis;
            prop_assert_eq!(calendar.change_after(&zone, Timestamp::from_millis(before)), Some(Timestamp::from_jiff(at)));
            let covered = calendar.covers(&zone, Timestamp::from_millis(before));
            prop_assert_ne!(calendar.covers(&zone, Timestamp::from_jiff(at)), covered);
        }
    }
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn over_years_a_calendar_changes_as_its_days_are_tried_one_by_one(
        entries in proptest::collection::vec(rules(), 1..8),
        spans in proptest::collection::vec((0_i64..40_000, 0_i64..400), 0..4),
        name in select(NAMES.as_slice()),
        start in 0_i64..35_000,
    ) {
        let mut entries = entries;
        let date = |day: i64| Date::constant(1970, 1, 1).checked_add(day.days()).unwrap();
        entries.extend(spans.iter().map(|(first, length)| Known::Days(date(*first), date(first + length))));
        let (calendar, zone, tz) = (calendar(&entries), zone(&name), DB.get(&name).unwrap());
        let noon = |date: Date| date.at(12, 0, 0, 0).to_zoned(tz.clone()).unwrap().timestamp();
        let covered = |day: i64| entries.iter().any(|entry| entry.covers_date(date(day)));
        let at = noon(date(start));
        prop_assert_eq!(calendar.covers(&zone, Timestamp::from_jiff(at)), oracle(&entries, &tz, at));
        // A day that a zone does not have shifts what noon means: only its neighbours are asked then.
        let change = (start + 1..start + LOOK_AHEAD_DAYS - 2)
            .find(|day| covered(*day) != covered(start) && tz.to_datetime(noon(date(*day))).date() == date(*day));
        match (change, calendar.change_after(&zone, Timestamp::from_jiff(at))) {
            (Some(day), Some(found)) => {
                let wanted = date(day).to_zoned(tz.clone()).unwrap().timestamp();
                prop_assert_eq!(found.to_jiff(), wanted, "{:?} in {} from {}", entries, name, date(start));
            }
            (None, None) => {}
            // The end of the look-ahead is counted from noon.
            (None, Some(found)) => prop_assert!(found.since(Timestamp::from_jiff(at)).as_secs() > 86_400 * 3_650),
            (Some(day), None) => prop_assert!(false, "{:?} in {}: {} is not found", entries, name, date(day)),
        }
    }

    #[test]
    fn the_open_day_is_what_trying_days_finds(
        entries in proptest::collection::vec(rules(), 1..4),
        spans in proptest::collection::vec((0_i64..400, 0_i64..300), 0..3),
        start in 400_i64..800,
        direction in select(vec![Direction::Next, Direction::Previous]),
    ) {
        let date = |day: i64| Date::constant(1970, 1, 1).checked_add(day.days()).unwrap();
        let mut entries = entries;
        entries.extend(spans.iter().map(|(from, length)| Known::Days(date(start - 200 + from), date(start - 200 + from + length))));
        entries.push(Known::Local(date(start).at(0, 0, 0, 0), date(start + 2).at(23, 0, 0, 0)));
        let step = if direction == Direction::Next { 1 } else { -1 };
        let wanted = (0..=366).map(|n| start + step * n).find(|day| !entries.iter().any(|entry| entry.covers_date(date(*day))));
        let found = calendar(&entries).open_day(start, direction);
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn a_calendar_is_what_was_stored_of_it((name, tz, change) in change(), entries in near(100_000, 1)) {
        let entries = placed(entries, &tz, change);
        let calendar = calendar(&entries);
        let json = serde_json::to_string(&calendar).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Calendar>(&json).unwrap(), &calendar, "{} {}", name, json);
        let again = Calendar::new(entries.iter().rev().chain(&entries).map(Known::entry)).unwrap();
        prop_assert_eq!(again, calendar);
    }

    #[test]
    fn strange_instants_have_an_answer(entries in proptest::collection::vec(rules(), 1..8), name in select(NAMES.as_slice()), millis in any::<i64>(), day in any::<i32>()) {
        let (calendar, zone) = (calendar(&entries), zone(&name));
        for at in [Timestamp::from_millis(millis), Timestamp::MIN, Timestamp::MAX, Timestamp::from_second(i64::from(day) * 86_400)] {
            if let Some(change) = calendar.change_after(&zone, at) {
                prop_assert!(change > at);
                prop_assert_ne!(calendar.covers(&zone, change), calendar.covers(&zone, at));
            }
        }
        for day in [i64::MIN, i64::from(day), i64::MAX] {
            let _ = (calendar.covers_day(day), calendar.open_day(day, Direction::Next), calendar.open_day(day, Direction::Previous));
        }
    }

    #[test]
    fn any_text_is_an_entry_or_an_error_in_its_bounds(text in "[0-9a-z+: .TZ\u{e9}-]{0,24}|\\PC{0,40}|(1st|last|6th) [a-z]{2,9} (of )?[a-z]{2,9}|20[0-9]{2}-[01][0-9]-[0-3][0-9]([T.]{0,2}[0-9:+Z]{0,12})") {
        let length = text.chars().count();
        let errors = [Rule::parse(&text).err(), DaySpan::parse(&text).err(), TimeRange::parse(&text, &text).err().map(|error| error.error)];
        for error in errors.into_iter().flatten() {
            prop_assert!(error.span.0 <= error.span.1 && error.span.1 <= length, "{text:?}: {error:?}");
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
