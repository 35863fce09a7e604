use super::super::hostile::{hostile, many};
use super::super::zone::Zones;
use super::*;

fn error(expr: &str) -> CronError {
    Cron::parse(expr).expect_err(expr)
}

/// The field, the columns and the cure of an error.
fn place(expr: &str) -> (Option<CronField>, &str, Option<String>) {
    let error = error(expr);
    (error.field, &expr[error.span.0..error.span.1], error.cure())
}

#[test]
fn a_compiled_expression_is_small() {
    assert!(size_of::<Cron>() <= 48, "{}", size_of::<Cron>());
}

#[test]
fn an_error_has_its_field_its_columns_and_its_cure() {
    use CronField::*;
    let cases: [(&str, Option<CronField>, &str, &str); 40] = [
        ("60 * * * *", Some(Minute), "60", "write 0"),
        ("* 24 * * *", Some(Hour), "24", "write 0"),
        ("  0   25 * * *", Some(Hour), "25", "write a number from 0 to 23"),
        ("0 0 0 * *", Some(DayOfMonth), "0", "the first day is 1"),
        ("0 0 * 13 *", Some(Month), "13", "write a number from 1 to 12"),
        ("0 0 * * 8", Some(DayOfWeek), "8", "write a number from 0 to 7"),
        ("61 0 0 * * *", Some(Second), "61", "write a number from 0 to 59"),
        (
            "0 0 0 * * * 1969",
            Some(Year),
            "1969",
            "write a number from 1970 to 5000",
        ),
        (
            "MON * * * *",
            Some(Minute),
            "MON",
            "the day of week is the fifth of five fields, or the sixth if seconds come first",
        ),
        (
            "0 0 * * jan",
            Some(DayOfWeek),
            "jan",
            "the month is the field before the day of week",
        ),
        ("0 0 * * Monday", Some(DayOfWeek), "Monday", "write MON"),
        ("0 0 * * MOM", Some(DayOfWeek), "MOM", "did you mean MON?"),
        ("0 0 * FOO *", Some(Month), "FOO", "write 1 to 12 or JAN to DEC"),
        ("0,,5 * * * *", Some(Minute), "", "remove the comma, or write a value"),
        ("5/15 * * * *", Some(Minute), "5/15", "write 5-59/15"),
        ("/15 * * * *", Some(Minute), "/15", "write */15"),
        ("*/0 * * * *", Some(Minute), "0", "write a step of 1 or more"),
        ("*/x * * * *", Some(Minute), "x", "write a number after `/`, as in */5"),
        ("0 22-2 * * *", Some(Hour), "22-2", "write 22-23,0-2"),
        ("0 23-0 * * *", Some(Hour), "23-0", "write 23,0"),
        ("0 0 * * FRI-MON", Some(DayOfWeek), "FRI-MON", "write 5-6,0-1"),
        ("0 0 * * SAT-SUN", Some(DayOfWeek), "SAT-SUN", "write 6-7"),
        ("0 0 * NOV-FEB *", Some(Month), "NOV-FEB", "write 11-12,1-2"),
        ("0 0 5- * *", Some(DayOfMonth), "5-", "write both, as in 1-5"),
        (
            "0 0 L-3 * *",
            Some(DayOfMonth),
            "L-3",
            "use L for the last day or LW for the last weekday",
        ),
        (
            "0 0 1-5W * *",
            Some(DayOfMonth),
            "1-5W",
            "list the days one by one, separated by commas",
        ),
        (
            "0 0 L/2 * *",
            Some(DayOfMonth),
            "L",
            "list the days one by one, separated by commas",
        ),
        (
            "0 0 W * *",
            Some(DayOfMonth),
            "W",
            "write 15W for the weekday nearest to the 15th",
        ),
        (
            "0 L * * *",
            Some(Hour),
            "L",
            "L and LW belong in the day of month field",
        ),
        (
            "0 0 * * L",
            Some(DayOfWeek),
            "L",
            "write 5L for the last Friday of the month; the last day is L in the day of month field",
        ),
        ("0 0 * * 5#L", Some(DayOfWeek), "5#L", "write 5L"),
        (
            "0 0 * * 5#6",
            Some(DayOfWeek),
            "5#6",
            "write MON#1 for the first Monday of the month",
        ),
        ("? * * * *", Some(Minute), "?", "write `*`"),
        ("0 0 ?,1 * *", Some(DayOfMonth), "?", "write `?` or `*` alone"),
        (
            "+5 * * * *",
            Some(Minute),
            "+5",
            "`+` stands before the day of week, to require both day fields",
        ),
        (
            "H * * * *",
            Some(Minute),
            "H",
            "write a number, such as 17, and another for each task",
        ),
        (
            "1;2 * * * *",
            Some(Minute),
            ";",
            "separate the items of a list with `,`",
        ),
        (
            "0 0 * *",
            None,
            "0 0 * *",
            "write minute, hour, day of month, month and day of week, as in `30 2 * * MON-FRI`",
        ),
        ("@dayly", None, "@dayly", "did you mean @daily?"),
        ("@every 5m", None, "@every", "use --every '5m'"),
    ];
    for (expr, field, part, cure) in cases {
        let (found_field, found_part, found_cure) = place(expr);
        assert_eq!(
            (found_field, found_cure.as_deref()),
            (field, Some(cure)),
            "{expr}: {}",
            error(expr)
        );
        // A missing item has the column where it is missing.
        assert!(found_part == part || part.is_empty(), "{expr}: {found_part}");
    }
}

#[test]
fn columns_are_characters_where_the_text_is_not_ascii() {
    let error = error("0 0 * * ¹");
    assert_eq!(
        (error.kind, error.field, error.span),
        (
            CronErrorKind::BadCharacter { character: '¹' },
            Some(CronField::DayOfWeek),
            (8, 9)
        )
    );
    // A no-break space is no blank.
    let error = super::tests::error("0 0\u{a0}* * *");
    assert_eq!(
        (error.span, error.cure()),
        ((3, 4), Some("separate fields with plain spaces".to_owned()))
    );
}

#[test]
fn what_can_never_fire_is_refused() {
    for (expr, missing_day) in [
        ("0 0 30 2 *", Some((30, 29))),
        ("0 0 31 2,4,6,9,11 *", Some((31, 30))),
        ("0 0 30W 2 ?", Some((30, 29))),
        ("0 0 30 2 +MON", None),
        ("0 0 0 29 2 * 2025-2027", None),
    ] {
        let error = error(expr);
        assert_eq!(error.kind, CronErrorKind::NeverFires { missing_day }, "{expr}");
    }
    // These are rare, but they happen.
    for expr in ["0 0 29 2 +MON", "0 0 30 2 MON", "0 0 0 29 2 * 2028", "0 0 0 1 1 * 1999"] {
        Cron::parse(expr).expect(expr);
    }
}

#[test]
fn spellings_of_the_same_schedule_compile_alike() {
    for (a, b) in [
        ("@yearly", "0 0 1 JAN ?"),
        ("@Midnight", "@daily"),
        ("0 0 * * SUN", "0 0 * * 7"),
        ("\t0 0  * * 5L\n", "0 0 * * FRIL"),
        ("0 0 l * *", "0 0 L * *"),
        ("*/10 * * * *", "0 */10 * * * *"),
        ("*/99999999999 * * * *", "*/60 * * * *"),
        ("0 0 0 1 1 * */2", "0 0 0 1 1 * 1970-5000/2"),
    ] {
        assert_eq!(Cron::parse(a), Cron::parse(b), "{a} and {b}");
    }
    assert_ne!(Cron::parse("0 0 L,LW * *"), Cron::parse("0 0 LW * *"));
}

#[test]
fn names_are_read_in_their_field_only_and_ranges_of_them_are_not_stretched() {
    // croner alone reads `SUN-SUN` as all days and `5SUN` as 50.
    assert_eq!(Cron::parse("0 0 * * SUN-SUN").map(|cron| cron.weekdays), Ok(1));
    assert!(Cron::parse("5SUN * * * *").is_err());
    assert!(Cron::parse("0 0 * * 0SUN").is_err());
}

#[test]
fn the_nearest_weekday_stays_in_its_month() {
    let zone = Zones::new(jiff::tz::TimeZoneDatabase::bundled()).get("UTC").unwrap();
    let next = |expr: &str, after: &str| {
        let after = Timestamp::from_jiff(after.parse().unwrap());
        Cron::parse(expr).unwrap().next_after(&zone, after).unwrap().to_string()
    };
    // The first is a Saturday, the last a Sunday, and the 29th of February a Sunday.
    assert_eq!(next("0 0 1W 8 *", "2026-07-31T00:00Z"), "2026-08-03T00:00:00Z");
    assert_eq!(next("0 0 31W 5 *", "2026-05-01T00:00Z"), "2026-05-29T00:00:00Z");
    assert_eq!(next("0 0 29W 2 *", "2032-01-01T00:00Z"), "2032-02-27T00:00:00Z");
    assert_eq!(next("0 0 L,LW 5 *", "2026-05-30T00:00Z"), "2026-05-31T00:00:00Z");
}

#[test]
fn an_expression_that_only_ever_falls_into_a_gap_has_no_fire_time_and_costs_no_time() {
    let zone = Zones::new(jiff::tz::TimeZoneDatabase::bundled())
        .get("America/New_York")
        .unwrap();
    let cron = Cron::parse("*/30 2 8-14 3 +SUN").unwrap();
    assert_eq!(cron.next_after(&zone, Timestamp::from_second(1_800_000_000)), None);
}

const TEXTS: &[&str] = &[
    "*/5 0-23/2 1,15 JAN-JUN MON-FRI",
    "0 0 L,LW * +5L",
    "0 0 15W 2 ?",
    "30 0 0 29 2 * 2028-2400/4",
    "0 0 * * MON#2,7",
    "\t59 23 31 12 7\n",
    "@midnight",
    "@every 5m",
    "H 24 0 13 8",
];

proptest::proptest! {
    #![proptest_config(many())]

    #[test]
    fn any_text_fires_or_is_an_error_in_its_bounds(text in hostile(TEXTS)) {
        match Cron::parse(&text) {
            Ok(cron) => proptest::prop_assert!(cron.next_local(days_from_date(YEAR_MIN, 1, 1) * DAY).is_some()),
            Err(error) => {
                let (from, to) = error.span;
                proptest::prop_assert!(from <= to && to <= text.chars().count() + 1, "{text:?}: {error:?}");
                proptest::prop_assert!(!matches!(error.kind, CronErrorKind::Parser { .. }), "{text:?}: {error}");
                proptest::prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
