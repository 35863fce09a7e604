use super::super::hostile::{hostile, many};
use super::*;

#[test]
fn lengths_are_read_in_every_usual_form() {
    for (text, millis) in [
        ("90s", 90_000),
        ("1h30m", 5_400_000),
        (" 1h 30m ", 5_400_000),
        ("1d12h", 129_600_000),
        ("1.5h", 5_400_000),
        ("2.5 minutes", 150_000),
        ("PT1H30M", 5_400_000),
        ("P1DT2H", 93_600_000),
        ("p2w", 1_209_600_000),
        ("pt0.5s", 500),
        ("500ms", 500),
        ("2 weeks", 1_209_600_000),
        ("1 Hour, 5 Min", 3_900_000),
        ("0h5m", 300_000),
        ("+5s", 5_000),
        ("0s", 0),
        ("0.0004s", 0),
        ("01m", 60_000),
    ] {
        assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
    }
}

#[test]
fn what_is_no_length_is_refused_at_its_column_with_a_cure() {
    for (text, span, message) in [
        (
            "",
            (0, 1),
            "a length of time is missing; write a number and a unit, as in 1h30m",
        ),
        ("90", (0, 2), "90 has no unit; write 90s for seconds"),
        ("0", (0, 1), "0 has no unit; write it with a unit, as in 30s"),
        ("1h30", (2, 4), "30 has no unit; write 30s for seconds"),
        ("5 m 3", (4, 5), "3 has no unit; write 3s for seconds"),
        ("-5m", (0, 1), "a length of time cannot be negative"),
        ("1h -5m", (3, 4), "a length of time cannot be negative"),
        (
            "1h 30q",
            (5, 6),
            "`q` is not a unit of time; known units are w, d, h, m, s and ms",
        ),
        (
            "5 minuets",
            (2, 9),
            "`minuets` is not a unit of time; did you mean minutes?",
        ),
        (
            "3 months",
            (2, 8),
            "`months` has no fixed length; write weeks or days, or use a cron expression",
        ),
        (
            "3M",
            (1, 2),
            "`M` has no fixed length; write weeks or days, or use a cron expression",
        ),
        (
            "P1M",
            (2, 3),
            "`M` has no fixed length; write weeks or days, or use a cron expression",
        ),
        ("P1H", (2, 3), "`H` is not a unit of time; did you mean TH?"),
        ("5us", (1, 3), "`us` is shorter than a millisecond"),
        (
            "5m1h",
            (3, 4),
            "`h` comes after a unit that is not larger; write each unit once, the largest first",
        ),
        (
            "1:30:00",
            (1, 7),
            "`:30:00` is not a unit of time; known units are w, d, h, m, s and ms",
        ),
        (
            "h",
            (0, 1),
            "`h` is not a number; write a number and a unit, as in 1h30m",
        ),
        (
            "PT",
            (2, 3),
            "a length of time is missing; write a number and a unit, as in 1h30m",
        ),
        (
            "99999999999999999999w",
            (0, 21),
            "the length is more than a thousand years",
        ),
    ] {
        let error = parse_duration(text).expect_err(text);
        assert_eq!((error.span, error.to_string().as_str()), (span, message), "{text}");
    }
    assert_eq!(
        parse_interval("0s").map_err(|error| error.kind),
        Err(DurationErrorKind::Zero)
    );
    assert!(parse_duration(&"1h".repeat(100_000)).is_err());
}

const TEXTS: &[&str] = &[
    "1h30m",
    " 1d 12h, 5 min ",
    "2.5 minutes",
    "PT1H30M0.5S",
    "p2w",
    "+500ms",
    "0.000000000001w",
    "18446744073709551615ms",
    "3 months",
    "5us",
];

proptest::proptest! {
    #![proptest_config(many())]

    #[test]
    fn what_is_written_is_read_back(millis in 0..DURATION_MAX.as_millis() as u64) {
        let length = Duration::from_millis(millis);
        proptest::prop_assert_eq!(parse_duration(&format_duration(length)), Ok(length));
    }

    #[test]
    fn any_text_is_a_length_or_an_error_in_its_bounds(text in hostile(TEXTS)) {
        for read in [parse_duration, parse_interval] {
            if let Err(error) = read(&text) {
                let (from, to) = error.span;
                proptest::prop_assert!(from <= to && to <= text.chars().count() + 1, "{text:?}: {error:?}");
                proptest::prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}

#[test]
fn lengths_are_written_short() {
    for (millis, text) in [
        (0, "0s"),
        (90_000, "1m30s"),
        (5_400_000, "1h30m"),
        (1_209_600_000, "14d"),
        (1_500, "1s500ms"),
    ] {
        assert_eq!(format_duration(Duration::from_millis(millis)), text);
    }
}
