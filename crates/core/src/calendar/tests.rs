use jiff::tz::TimeZoneDatabase;

use super::*;
use crate::schedule::Zones;

fn rule(text: &str) -> Entry {
    Entry::Rule(Rule::parse(text).unwrap())
}

fn days(text: &str) -> Entry {
    Entry::Days(DaySpan::parse(text).unwrap())
}

fn range(from: &str, to: &str) -> Entry {
    Entry::Range(TimeRange::parse(from, to).unwrap())
}

fn day(text: &str) -> i64 {
    DaySpan::parse(text).unwrap().first()
}

/// All changes after `from`, in UTC, of a calendar used by a task of this zone.
fn changes(entries: impl IntoIterator<Item = Entry>, zone: &str, from: &str, count: usize) -> Vec<String> {
    let zone = Zones::new(TimeZoneDatabase::bundled()).get(zone).unwrap();
    let calendar = Calendar::new(entries).unwrap();
    let from = Timestamp::from_jiff(from.parse().unwrap());
    let next = |at: &Timestamp| calendar.change_after(&zone, *at);
    std::iter::successors(next(&from), next)
        .take(count)
        .map(|at| at.to_string())
        .collect()
}

fn covered_days(text: &str, from: &str, to: &str) -> Vec<String> {
    let calendar = Calendar::new([rule(text)]).unwrap();
    (day(from)..=day(to))
        .filter(|day| calendar.covers_day(*day))
        .map(|day| DaySpan::new(day, day).unwrap().to_string())
        .collect()
}

#[test]
fn a_rule_covers_its_days() {
    for (text, from, to, wanted) in [
        ("weekends", "2026-11-26", "2026-12-01", vec!["2026-11-28", "2026-11-29"]),
        ("wed", "2026-12-01", "2026-12-10", vec!["2026-12-02", "2026-12-09"]),
        ("1st mon", "2026-05-01", "2026-06-30", vec!["2026-05-04", "2026-06-01"]),
        (
            "last mon may",
            "2026-01-01",
            "2027-12-31",
            vec!["2026-05-25", "2027-05-31"],
        ),
        (
            "4th thu nov",
            "2026-01-01",
            "2027-12-31",
            vec!["2026-11-26", "2027-11-25"],
        ),
        ("last fri", "2026-02-01", "2026-03-31", vec!["2026-02-27", "2026-03-27"]),
        ("5th sat", "2026-01-01", "2026-06-30", vec!["2026-01-31", "2026-05-30"]),
        ("5th sun feb", "2030-01-01", "2033-12-31", vec!["2032-02-29"]),
        ("easter", "2026-01-01", "2027-12-31", vec!["2026-04-05", "2027-03-28"]),
        ("easter-2", "2026-01-01", "2027-12-31", vec!["2026-04-03", "2027-03-26"]),
        ("easter+39", "2026-01-01", "2026-12-31", vec!["2026-05-14"]),
        (
            "easter-80",
            "1970-01-01",
            "2008-12-31",
            vec!["1970-01-08", "1971-01-21"],
        ),
        ("12-25", "2026-01-01", "2027-12-31", vec!["2026-12-25", "2027-12-25"]),
        ("02-29", "2026-01-01", "2032-12-31", vec!["2028-02-29", "2032-02-29"]),
    ] {
        let mut found = covered_days(text, from, to);
        found.truncate(2);
        assert_eq!(found, wanted, "{text}");
    }
}

#[test]
fn rules_are_read_in_many_spellings_and_written_in_one() {
    for (text, written) in [
        ("Weekends", "weekends"),
        ("weekend", "weekends"),
        ("MON", "mon"),
        ("wednesdays", "wed"),
        ("Tuesday", "tue"),
        (" 1st  Mon ", "1st mon"),
        ("third Thursday of November", "3rd thu nov"),
        ("last mon of MAY", "last mon may"),
        ("easter", "easter"),
        ("Easter + 1", "easter+1"),
        ("easter -0", "easter"),
        ("easter+250", "easter+250"),
        ("02-29", "02-29"),
    ] {
        let rule = Rule::parse(text).unwrap();
        assert_eq!(rule.to_string(), written);
        assert_eq!(Rule::parse(written), Ok(rule));
    }
}

#[test]
fn what_is_no_rule_is_refused_with_its_place_and_a_cure() {
    let far = "this is too far from Easter; write a number from -80 to +250";
    for (text, span, said) in [
        ("", (0, 0), "nothing is written here; remove it, or write an entry"),
        ("weekend!", (0, 8), "`weekend!` is not a rule; did you mean weekends?"),
        ("fridy", (0, 5), "`fridy` is not a rule; did you mean friday?"),
        (
            "  never",
            (2, 7),
            "`never` is not a rule; write weekends, mon, `1st mon`, `last mon may`, easter, easter+1 or 12-25",
        ),
        (
            "2st mon",
            (0, 3),
            "`2st` is not 1st, 2nd, 3rd, 4th, 5th or last; did you mean 2nd?",
        ),
        (
            "1 mon",
            (0, 1),
            "`1` is not 1st, 2nd, 3rd, 4th, 5th or last; did you mean 1st?",
        ),
        ("6th mon", (0, 3), "`6th` is not 1st, 2nd, 3rd, 4th, 5th or last"),
        ("1st mnday", (4, 9), "`mnday` is not a weekday; did you mean monday?"),
        ("1st mon xyz", (8, 11), "`xyz` is not a month"),
        ("last é of septembr", (5, 6), "`é` is not a weekday"),
        (
            "last mon of septembr",
            (12, 20),
            "`septembr` is not a month; did you mean september?",
        ),
        (
            "1st mon may 2026",
            (0, 16),
            "`1st mon may 2026` is not a rule; write weekends, mon, `1st mon`, `last mon may`, easter, easter+1 or 12-25",
        ),
        ("easter+251", (0, 10), far),
        ("easter-81", (0, 9), far),
        ("easter+99999999999999999999", (0, 27), far),
        (
            "easter 1",
            (0, 8),
            "this is not a number of days from Easter; write easter+1 or easter-2",
        ),
        (
            "easter+",
            (0, 7),
            "this is not a number of days from Easter; write easter+1 or easter-2",
        ),
        (
            "02-30",
            (0, 5),
            "no year has this day; write month and day, as in 12-25",
        ),
        (
            "13-01",
            (0, 5),
            "no year has this day; write month and day, as in 12-25",
        ),
        (
            "2026-12-25",
            (0, 10),
            "this is a day of one year, not a rule; write it under `days`, or 12-25 for every year",
        ),
    ] {
        let error = Rule::parse(text).expect_err(text);
        assert_eq!((error.span, error.to_string().as_str()), (span, said), "{text}");
    }
}

#[test]
fn days_and_ranges_are_written_as_they_are_read() {
    for (text, written) in [
        ("2026-12-24", "2026-12-24"),
        (" 2026-12-24 .. 2026-12-26 ", "2026-12-24..2026-12-26"),
        ("2028-02-29..2028-02-29", "2028-02-29"),
        ("1970-01-01..9999-12-31", "1970-01-01..9999-12-31"),
    ] {
        assert_eq!(DaySpan::parse(text).unwrap().to_string(), written);
    }
    for (from, to, written) in [
        (
            "2026-12-24T12:00",
            "2026-12-27 00:00:01",
            r#"from = "2026-12-24T12:00", to = "2026-12-27T00:00:01""#,
        ),
        ("2026-12-24T12:00Z", "2026-12-24t12:00+00:00", ""),
        (
            "2026-12-24T12:00+01:00",
            "2026-12-24T12:00z",
            r#"from = "2026-12-24T11:00Z", to = "2026-12-24T12:00Z""#,
        ),
        (
            "2026-12-24T00:00-03:30",
            "2026-12-25T00:00Z",
            r#"from = "2026-12-24T03:30Z", to = "2026-12-25T00:00Z""#,
        ),
    ] {
        let found = TimeRange::parse(from, to);
        assert_eq!(found.map_or(String::new(), |range| range.to_string()), written);
    }
}

#[test]
fn what_is_no_day_or_range_is_refused_with_its_place_and_a_cure() {
    for (text, span, said) in [
        ("2026-02-29", (0, 10), "the calendar has no such day"),
        (" 2026-02-01..2026-13-01", (13, 23), "the calendar has no such day"),
        ("1969-12-31", (0, 10), "only the years from 1970 to 9999 can be used"),
        (
            "2026-12-26..2026-12-24",
            (0, 22),
            "the end does not come after the start; write the earlier one first",
        ),
        (
            "2026-12-24T12:00",
            (0, 16),
            "this is a time, not a day; write it as one end of a range, under `ranges`",
        ),
        (
            "24.12.2026",
            (0, 10),
            "this is not a day; write 2026-12-24, or 2026-12-24..2026-12-26 for days in a row",
        ),
        (
            "2026-12-24..",
            (12, 12),
            "nothing is written here; remove it, or write an entry",
        ),
        (
            "２026-12-24",
            (0, 10),
            "this is not a day; write 2026-12-24, or 2026-12-24..2026-12-26 for days in a row",
        ),
    ] {
        let error = DaySpan::parse(text).expect_err(text);
        assert_eq!((error.span, error.to_string().as_str()), (span, said), "{text}");
    }
    let form = "this is not a time; write 2026-12-24T12:00, or 2026-12-24T12:00+01:00 for an instant";
    for (to, span, said) in [
        (
            "2026-12-24",
            (0, 10),
            "the time of day is missing; add one, as in 2026-12-24T00:00, or write whole days under `days`",
        ),
        (
            "2026-12-24T24:00",
            (11, 16),
            "no day has this time; write 00:00 to 23:59; a day ends with 00:00 of the next one",
        ),
        (
            "2026-12-24T12:00:60",
            (11, 19),
            "no day has this time; write 00:00 to 23:59; a day ends with 00:00 of the next one",
        ),
        (
            "2026-12-24T12:00:00.5",
            (11, 21),
            "times are of whole seconds; leave the fraction out",
        ),
        ("2026-12-24T12", (0, 13), form),
        ("tomorrow 09:00", (0, 14), form),
        ("noon", (0, 4), form),
        (
            "2026-12-24T12:00Z",
            (0, 17),
            "one end of the range has an offset from UTC, the other has none; write it at both ends, or at none",
        ),
        (
            "2026-12-24T12:00[Europe/Berlin]",
            (16, 31),
            "the name of a zone cannot stand here; write an offset such as +01:00, or leave it out: local times are read in the zone of the task",
        ),
        (
            "2026-12-24T12:00+1",
            (16, 18),
            "this is not an offset from UTC; write Z, or an offset such as +01:00",
        ),
        (
            "2026-12-24T11:00",
            (0, 16),
            "the end does not come after the start; write the earlier one first",
        ),
    ] {
        let error = TimeRange::parse("2026-12-24T11:00", to).expect_err(to);
        assert_eq!(error.end, RangeEnd::To);
        assert_eq!(
            (error.error.span, error.error.to_string().as_str()),
            (span, said),
            "{to}"
        );
    }
}

#[test]
fn a_covered_day_is_as_long_as_clocks_make_it() {
    let two = |entry, zone, from| changes([entry], zone, from, 2);
    // 23 hours, 25 hours.
    assert_eq!(
        two(days("2026-03-29"), "Europe/Berlin", "2026-03-01T00:00Z"),
        ["2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"]
    );
    assert_eq!(
        two(days("2026-10-25"), "Europe/Berlin", "2026-10-01T00:00Z"),
        ["2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"]
    );
    // Midnight is skipped: the day begins at 01:00.
    assert_eq!(
        two(days("2018-11-04"), "America/Sao_Paulo", "2018-11-01T00:00Z"),
        ["2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"]
    );
    // Midnight is shown twice: the clock comes to 2018-02-18 once, the last hour of the day before it twice.
    assert_eq!(
        two(days("2018-02-18"), "America/Sao_Paulo", "2018-02-17T00:00Z"),
        ["2018-02-18T03:00:00Z", "2018-02-19T03:00:00Z"]
    );
    // The clock is set back at 00:01 to 23:01 of the day before, which is left at midnight for the second time.
    assert_eq!(
        changes([days("2006-10-29")], "America/St_Johns", "2006-10-28T12:00Z", 4),
        [
            "2006-10-29T02:30:00Z",
            "2006-10-29T02:31:00Z",
            "2006-10-29T03:30:00Z",
            "2006-10-30T03:30:00Z"
        ]
    );
    // A day that a zone never had.
    assert!(changes([days("2011-12-30")], "Pacific/Apia", "2011-12-01T00:00Z", 1).is_empty());
}

#[test]
fn a_local_range_is_what_clocks_show_and_an_absolute_one_is_not() {
    assert_eq!(
        changes(
            [range("2026-10-25T02:15", "2026-10-25T02:30")],
            "Europe/Berlin",
            "2026-10-24T00:00Z",
            9
        ),
        [
            "2026-10-25T00:15:00Z",
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:15:00Z",
            "2026-10-25T01:30:00Z"
        ]
    );
    assert!(
        changes(
            [range("2026-03-29T02:15", "2026-03-29T02:45")],
            "Europe/Berlin",
            "2026-03-28T00:00Z",
            9
        )
        .is_empty()
    );
    assert_eq!(
        changes(
            [range("2026-03-29T02:15+01:00", "2026-03-29T02:45+01:00")],
            "Europe/Berlin",
            "2026-03-28T00:00Z",
            9
        ),
        ["2026-03-29T01:15:00Z", "2026-03-29T01:45:00Z"]
    );
}

#[test]
fn stretches_that_touch_are_one() {
    let entries = [
        rule("weekends"),
        days("2026-12-25"),
        range("2026-12-24T12:00", "2026-12-25T00:00"),
        range("2026-12-27T23:00Z", "2026-12-28T09:00Z"),
    ];
    assert_eq!(
        changes(entries, "Europe/Berlin", "2026-12-23T00:00Z", 3),
        ["2026-12-24T11:00:00Z", "2026-12-28T09:00:00Z", "2027-01-01T23:00:00Z"]
    );
}

#[test]
fn a_search_ends_after_ten_years() {
    let from = "2026-01-01T00:00Z";
    assert_eq!(changes([days("2035-12-31")], "UTC", from, 1), ["2035-12-31T00:00:00Z"]);
    assert!(changes([days("2036-01-03")], "UTC", from, 1).is_empty());
    let week = ["mon", "tue", "wed", "thu", "fri", "weekends"].map(rule);
    assert!(changes(week, "America/New_York", from, 1).is_empty());
    assert!(changes([range("2026-01-01T00:00", "2040-01-01T00:00")], "UTC", from, 1).is_empty());
}

#[test]
fn the_open_day_is_the_nearest_that_is_not_covered_whole() {
    let calendar = Calendar::new([
        rule("weekends"),
        days("2026-12-25"),
        range("2026-12-24T12:00", "2026-12-25T00:00"),
        range("2026-12-28T00:00", "2026-12-29T00:00"),
    ])
    .unwrap();
    let open = |from, direction| calendar.open_day(day(from), direction).unwrap();
    assert_eq!(open("2026-12-25", Direction::Next), day("2026-12-29"));
    assert_eq!(open("2026-12-28", Direction::Previous), day("2026-12-24"));
    assert_eq!(open("2026-12-24", Direction::Next), day("2026-12-24"));
    let shut = Calendar::new([days("2026-01-01..2027-12-31")]).unwrap();
    assert_eq!(shut.open_day(day("2026-12-30"), Direction::Next), None);
    assert_eq!(
        shut.open_day(day("2026-12-31"), Direction::Next),
        Some(day("2028-01-01"))
    );
    assert_eq!(
        shut.open_day(day("2027-01-01"), Direction::Previous),
        Some(day("2025-12-31"))
    );
    assert_eq!(shut.open_day(day("2027-01-02"), Direction::Previous), None);
}

#[test]
fn entries_are_bounded() {
    let entries = |count: i64| (0..count).map(|n| Entry::Days(DaySpan::new(2 * n, 2 * n).unwrap()));
    assert_eq!(Calendar::new([]), Err(CalendarError::Empty));
    assert_eq!(Calendar::new(entries(10_000)).unwrap().days().count(), 10_000);
    assert_eq!(
        Calendar::new(entries(10_001)),
        Err(CalendarError::TooMany { entries: 10_001 })
    );
}

#[test]
fn the_largest_calendar_is_under_a_mebibyte_as_json() {
    let second = |n: i64| Timestamp::from_second(1_000_000_007 + 3 * n);
    let ranges = (0..10_000).map(|n| {
        Entry::Range(TimeRange::absolute(second(n), second(n).plus(std::time::Duration::from_secs(1))).unwrap())
    });
    let json = serde_json::to_string(&Calendar::new(ranges).unwrap()).unwrap();
    assert!((590_000..1 << 20).contains(&json.len()), "{}", json.len());
}

#[test]
fn json_is_texts_in_one_order() {
    let calendar = Calendar::new([
        rule("easter+1"),
        rule("weekends"),
        days("2026-12-26"),
        days("2026-12-24..2026-12-25"),
        rule("weekend"),
        range("2026-12-24T12:00+01:00", "2026-12-24T14:00+01:00"),
        range("2026-12-24T12:00", "2026-12-24T14:00"),
    ])
    .unwrap();
    let json = r#"{"days":["2026-12-24..2026-12-26"],"ranges":[{"from":"2026-12-24T12:00","to":"2026-12-24T14:00"},{"from":"2026-12-24T11:00Z","to":"2026-12-24T13:00Z"}],"rules":["weekends","easter+1"]}"#;
    assert_eq!(serde_json::to_string(&calendar).unwrap(), json);
    assert_eq!(serde_json::from_str::<Calendar>(json).unwrap(), calendar);
    assert_eq!(
        calendar.to_string(),
        r#"days = [
    "2026-12-24..2026-12-26",
]
ranges = [
    { from = "2026-12-24T12:00", to = "2026-12-24T14:00" },
    { from = "2026-12-24T11:00Z", to = "2026-12-24T13:00Z" },
]
rules = [
    "weekends",
    "easter+1",
]
"#
    );
    for bad in [
        "{}",
        r#"{"days":[]}"#,
        r#"{"day":["2026-12-24"]}"#,
        r#"{"rules":["weekly"]}"#,
        r#"{"ranges":[{"from":"2026-12-24T12:00"}]}"#,
    ] {
        assert!(serde_json::from_str::<Calendar>(bad).is_err(), "{bad}");
    }
}
