use std::ops::ControlFlow;

use jiff::ToSpan;
use jiff::civil::Date;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::calendar::ics::expand::{Budget, WORK_MAX, expand};
use crate::calendar::ics::lines::{Line, Property};
use crate::calendar::ics::recur::Recurrence;
use crate::calendar::ics::value::When;

fn property(text: &str) -> Property {
    let line = Line {
        number: 1,
        text: format!("RRULE:{text}"),
    };
    line.property().unwrap()
}

/// The first days of a rule from a day on, which need not be its start.
fn days_from(rule: &str, start: Date, from: Date, count: usize) -> Vec<Date> {
    let rule = Recurrence::parse(&property(rule), &When::Date(start)).unwrap_or_else(|fault| panic!("{fault}"));
    let mut days = Vec::new();
    let until = from.checked_add(40.years()).unwrap();
    let result = expand(&rule, start, (from, until), &mut Budget(WORK_MAX), |date| {
        days.push(date);
        if days.len() < count {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    assert!(result.is_ok());
    days
}

fn days(rule: &str, start: &str, count: usize) -> String {
    let start: Date = start.parse().unwrap();
    let days = days_from(rule, start, start, count);
    days.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn rules_mean_what_the_standard_says_by_its_examples() {
    for (rule, start, wanted) in [
        ("FREQ=DAILY;COUNT=3", "1997-09-02", "1997-09-02 1997-09-03 1997-09-04"),
        (
            "FREQ=DAILY;INTERVAL=10;COUNT=5",
            "1997-09-02",
            "1997-09-02 1997-09-12 1997-09-22 1997-10-02",
        ),
        (
            "FREQ=WEEKLY;INTERVAL=2;WKST=SU",
            "1997-09-02",
            "1997-09-02 1997-09-16 1997-09-30 1997-10-14",
        ),
        (
            "FREQ=WEEKLY;INTERVAL=2;COUNT=8;WKST=SU;BYDAY=TU,TH",
            "1997-09-02",
            "1997-09-02 1997-09-04 1997-09-16 1997-09-18",
        ),
        (
            "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO",
            "1997-08-05",
            "1997-08-05 1997-08-10 1997-08-19 1997-08-24",
        ),
        (
            "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU",
            "1997-08-05",
            "1997-08-05 1997-08-17 1997-08-19 1997-08-31",
        ),
        (
            "FREQ=MONTHLY;COUNT=10;BYDAY=1FR",
            "1997-09-05",
            "1997-09-05 1997-10-03 1997-11-07 1997-12-05",
        ),
        (
            "FREQ=MONTHLY;INTERVAL=2;COUNT=10;BYDAY=1SU,-1SU",
            "1997-09-07",
            "1997-09-07 1997-09-28 1997-11-02 1997-11-30",
        ),
        (
            "FREQ=MONTHLY;BYMONTHDAY=-3",
            "1997-09-28",
            "1997-09-28 1997-10-29 1997-11-28 1997-12-29",
        ),
        (
            "FREQ=MONTHLY;COUNT=10;BYMONTHDAY=1,-1",
            "1997-09-30",
            "1997-09-30 1997-10-01 1997-10-31 1997-11-01",
        ),
        (
            "FREQ=MONTHLY",
            "2027-01-31",
            "2027-01-31 2027-03-31 2027-05-31 2027-07-31",
        ),
        (
            "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13",
            "1998-02-13",
            "1998-02-13 1998-03-13 1998-11-13 1999-08-13",
        ),
        (
            "FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3",
            "1997-09-04",
            "1997-09-04 1997-10-07 1997-11-06",
        ),
        (
            "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2",
            "1997-09-29",
            "1997-09-29 1997-10-30 1997-11-27 1997-12-30",
        ),
        (
            "FREQ=MONTHLY;BYDAY=SA;BYMONTHDAY=7,8,9,10,11,12,13",
            "1997-09-13",
            "1997-09-13 1997-10-11 1997-11-08 1997-12-13",
        ),
        (
            "FREQ=YEARLY;COUNT=10;BYMONTH=6,7",
            "1997-06-10",
            "1997-06-10 1997-07-10 1998-06-10 1998-07-10",
        ),
        (
            "FREQ=YEARLY;INTERVAL=3;COUNT=10;BYYEARDAY=1,100,200",
            "1997-01-01",
            "1997-01-01 1997-04-10 1997-07-19 2000-01-01",
        ),
        (
            "FREQ=YEARLY;BYDAY=20MO",
            "1997-05-19",
            "1997-05-19 1998-05-18 1999-05-17 2000-05-15",
        ),
        (
            "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO",
            "1997-05-12",
            "1997-05-12 1998-05-11 1999-05-17 2000-05-15",
        ),
        (
            "FREQ=YEARLY;BYWEEKNO=20",
            "1997-05-12",
            "1997-05-12 1998-05-11 1999-05-17 2000-05-15",
        ),
        (
            "FREQ=YEARLY;BYWEEKNO=-1;BYDAY=WE",
            "2026-12-30",
            "2026-12-30 2027-12-29 2028-12-27 2029-12-26",
        ),
        (
            "FREQ=YEARLY;BYMONTH=3;BYDAY=TH",
            "1997-03-13",
            "1997-03-13 1997-03-20 1997-03-27 1998-03-05",
        ),
        (
            "FREQ=YEARLY",
            "2024-02-29",
            "2024-02-29 2028-02-29 2032-02-29 2036-02-29",
        ),
        (
            "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8",
            "1996-11-05",
            "1996-11-05 2000-11-07 2004-11-02 2008-11-04",
        ),
        // The start counts, even if the rule does not name it.
        (
            "FREQ=WEEKLY;COUNT=3;BYDAY=MO",
            "1997-09-02",
            "1997-09-02 1997-09-08 1997-09-15",
        ),
        (
            "freq=weekly;byday=mo;byhour=0",
            "1997-09-01",
            "1997-09-01 1997-09-08 1997-09-15 1997-09-22",
        ),
        (
            "FREQ=MONTHLY;BYDAY=3MO,SU",
            "2027-02-07",
            "2027-02-07 2027-02-14 2027-02-15 2027-02-21",
        ),
    ] {
        assert_eq!(days(rule, start, 4), wanted, "{rule}");
    }
}

#[test]
fn an_end_belongs_to_the_rule() {
    for (start, until, count) in [
        ("DTSTART;VALUE=DATE:20261201", "20261205", 5),
        ("DTSTART;VALUE=DATE:20261201", "20261205T000000Z", 5),
        ("DTSTART;TZID=Europe/Berlin:20261201T180000", "20261205T170000Z", 5),
        ("DTSTART;TZID=Europe/Berlin:20261201T180000", "20261205T165959Z", 4),
        ("DTSTART;TZID=Europe/Berlin:20261201T180000", "20261205", 5),
        ("DTSTART:20261201T180000", "20261205T180000", 5),
        ("DTSTART:20261201T180000", "20261205T175959", 4),
    ] {
        let duration = if start.contains("VALUE") { "P1D" } else { "PT1H" };
        let text = event(&format!("{start}\nDURATION:{duration}\nRRULE:FREQ=DAILY;UNTIL={until}"));
        let calendar = parse(&text).unwrap().calendar;
        let days: i64 = calendar.days().map(|span| span.last() - span.first() + 1).sum();
        assert_eq!(days as usize + calendar.ranges().count(), count, "{start} {until}");
        assert!(notes(&text).is_empty());
    }
}

#[test]
fn dates_are_added_and_taken_away() {
    let day = "DTSTART;VALUE=DATE:20261201\nRRULE:FREQ=DAILY;COUNT=6\n";
    for (lines, wanted) in [
        (
            "EXDATE;VALUE=DATE:20261202,20261204",
            vec!["2026-12-01", "2026-12-03", "2026-12-05..2026-12-06"],
        ),
        // As Outlook writes it.
        ("EXDATE:20261202T000000", vec!["2026-12-01", "2026-12-03..2026-12-06"]),
        (
            "EXDATE;VALUE=DATE:20261202\nEXDATE;VALUE=DATE:20261201",
            vec!["2026-12-03..2026-12-06"],
        ),
        (
            "RDATE;VALUE=DATE:20261208,20261210\nEXDATE;VALUE=DATE:20261210",
            vec!["2026-12-01..2026-12-06", "2026-12-08"],
        ),
    ] {
        assert_eq!(covered(&event(&format!("{day}{lines}"))), wanted, "{lines}");
    }
    let times = event(
        "DTSTART;TZID=Europe/Berlin:20261201T180000
        DURATION:PT1H
        RRULE:FREQ=DAILY;COUNT=4
        EXDATE;VALUE=DATE:20261201
        EXDATE:20261202T170000Z
        EXDATE:20261203T170001Z
        EXDATE:20261204T180000
        RDATE;VALUE=PERIOD:20261205T100000Z/PT2H,20261206T100000Z/20261206T113000Z",
    );
    assert_eq!(
        covered(&times),
        [
            r#"from = "2026-12-03T17:00Z", to = "2026-12-03T18:00Z""#,
            r#"from = "2026-12-05T10:00Z", to = "2026-12-05T12:00Z""#,
            r#"from = "2026-12-06T10:00Z", to = "2026-12-06T11:30Z""#,
        ]
    );
}

#[test]
fn an_occurrence_is_replaced_or_cancelled_by_the_event_that_stands_for_it() {
    let text = file(
        "BEGIN:VEVENT
        UID:b
        RECURRENCE-ID;VALUE=DATE:20261203
        DTSTART;VALUE=DATE:20261213
        END:VEVENT
        BEGIN:VEVENT
        UID:a
        DTSTART;VALUE=DATE:20261201
        RRULE:FREQ=DAILY;COUNT=4
        END:VEVENT
        BEGIN:VEVENT
        UID:a
        RECURRENCE-ID;VALUE=DATE:20261202
        DTSTART;VALUE=DATE:20261212
        END:VEVENT
        BEGIN:VEVENT
        UID:a
        RECURRENCE-ID;VALUE=DATE:20261201
        SUMMARY:On the same day as before
        DTSTART;VALUE=DATE:20261201
        END:VEVENT
        BEGIN:VEVENT
        UID:a
        RECURRENCE-ID;VALUE=DATE:20261204
        DTSTART;VALUE=DATE:20261204
        STATUS:CANCELLED
        END:VEVENT",
    );
    assert_eq!(covered(&text), ["2026-12-01", "2026-12-03", "2026-12-12..2026-12-13"]);
}

#[test]
fn what_began_before_the_window_and_reaches_into_it_is_there() {
    let text = event("DTSTART;VALUE=DATE:20200101\nDURATION:P700D\nRRULE:FREQ=YEARLY;INTERVAL=2;UNTIL=20241231");
    assert_eq!(covered(&text), ["2024-01-01..2025-11-30"]);
    let gone = event("DTSTART;VALUE=DATE:20200101\nDURATION:P690D\nRRULE:FREQ=YEARLY;INTERVAL=2;UNTIL=20241231");
    assert!(parse(&gone).is_err());
}

#[test]
fn the_earliest_entries_are_kept_where_there_are_too_many() {
    let hour = |hour: usize| {
        format!("BEGIN:VEVENT\nDTSTART:20261201T{hour:02}0000\nDURATION:PT30M\nRRULE:FREQ=DAILY\nEND:VEVENT\n")
    };
    let text = file(&(0..24).map(hour).collect::<String>());
    let reading = parse(&text).unwrap();
    assert_eq!(reading.calendar.ranges().count(), 10_000);
    // 24 a day: 3,648 days until the end of the window, and 416 days and 16 hours in the calendar.
    let cut = "left out: 77552 entries from 2028-01-21 on, as there are too many";
    assert_eq!(reading.notes.last().map(ToString::to_string).as_deref(), Some(cut));
}

fn rules() -> impl Strategy<Value = String> {
    let frequency = select(vec!["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]);
    let list = |values: Vec<i32>| {
        let length = values.len().min(4);
        proptest::option::of(subsequence(values, 1..=length))
    };
    let weekdays = proptest::option::of(subsequence(vec!["MO", "TU", "WE", "TH", "FR", "SA", "SU"], 1..4));
    let start = select(vec!["MO", "SU", "WE"]);
    (
        frequency,
        prop_oneof![1_u32..4, 1_u32..40],
        list((1..=12).collect()),
        list(vec![1, 8, 13, 28, 29, 30, 31, -1, -5, -31]),
        weekdays,
        start,
    )
        .prop_map(|(frequency, interval, months, days, weekdays, start)| {
            let mut rule = format!("FREQ={frequency};INTERVAL={interval};WKST={start}");
            let numbers = |values: Vec<i32>| values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            if let Some(months) = months {
                rule += &format!(";BYMONTH={}", numbers(months));
            }
            if let Some(days) = days {
                rule += &format!(";BYMONTHDAY={}", numbers(days));
            }
            if let Some(weekdays) = weekdays {
                rule += &format!(";BYDAY={}", weekdays.join(","));
            }
            rule
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn periods_that_are_skipped_are_those_that_do_not_matter(rule in rules(), start in 0_i64..20_000, later in 0_i64..15_000) {
        let start = Date::constant(1970, 1, 1).checked_add(start.days()).unwrap();
        let from = start.checked_add(later.days()).unwrap();
        // With a count, every period is looked at.
        let counted = days_from(&format!("{rule};COUNT=1000000"), start, from, 20);
        prop_assert_eq!(days_from(&rule, start, from, 20), counted, "{} from {} at {}", rule, start, from);
    }
}
