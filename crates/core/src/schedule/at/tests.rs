use super::super::hostile::{hostile, many};
use super::*;

fn zones() -> Zones {
    Zones::new(jiff::tz::TimeZoneDatabase::bundled())
}

fn instant(text: &str) -> Timestamp {
    Timestamp::from_jiff(text.parse().unwrap())
}

fn berlin(text: &str, now: &str) -> Result<Resolved, AtError> {
    resolve_at(text, "Europe/Berlin", instant(now), &mut zones())
}

#[test]
fn instants_are_read_in_every_usual_form() {
    // A Saturday, noon in Berlin.
    let now = "2026-11-21T11:00:00Z";
    for (text, at) in [
        ("2026-12-01T09:00:00+01:00", "2026-12-01T08:00:00Z"),
        ("2026-12-01T09:00Z", "2026-12-01T09:00:00Z"),
        ("2026-12-01T09:00[America/New_York]", "2026-12-01T14:00:00Z"),
        ("2026-12-01T09:00-05:00[America/New_York]", "2026-12-01T14:00:00Z"),
        ("2026-12-01T09:00", "2026-12-01T08:00:00Z"),
        (" 2026-12-01 09:00 ", "2026-12-01T08:00:00Z"),
        ("2026-12-01 09:00:30", "2026-12-01T08:00:30Z"),
        ("2026-12-01 09:00:30.25", "2026-12-01T08:00:30.25Z"),
        ("2026-12-01", "2026-11-30T23:00:00Z"),
        ("09:00", "2026-11-22T08:00:00Z"),
        ("12:00", "2026-11-22T11:00:00Z"),
        ("12:00:00.5", "2026-11-21T11:00:00.5Z"),
        ("9:30", "2026-11-22T08:30:00Z"),
        ("today 18:00", "2026-11-21T17:00:00Z"),
        ("today 9:00", "2026-11-21T08:00:00Z"),
        ("Tomorrow 09:00", "2026-11-22T08:00:00Z"),
        ("09:00 tomorrow", "2026-11-22T08:00:00Z"),
        ("monday 09:00", "2026-11-23T08:00:00Z"),
        ("sat 11:00", "2026-11-28T10:00:00Z"),
        ("sat 13:00", "2026-11-21T12:00:00Z"),
    ] {
        let resolved = berlin(text, now).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(
            (resolved.at, resolved.kind),
            (instant(at), Resolution::Unique),
            "{text}"
        );
    }
}

#[test]
fn skipped_and_repeated_local_times_are_resolved_and_an_offset_decides_alone() {
    let now = "2026-01-01T00:00:00Z";
    let kind = |text| {
        berlin(text, now)
            .map(|resolved| (resolved.at.to_string(), resolved.kind))
            .unwrap()
    };
    assert_eq!(
        kind("2026-03-29 02:30"),
        ("2026-03-29T01:00:00Z".to_owned(), Resolution::Gap)
    );
    assert_eq!(
        kind("2026-10-25 02:30"),
        ("2026-10-25T00:30:00Z".to_owned(), Resolution::Overlap)
    );
    assert_eq!(
        kind("2026-10-25T02:30+01:00[Europe/Berlin]"),
        ("2026-10-25T01:30:00Z".to_owned(), Resolution::Unique)
    );
    assert_eq!(
        kind("2026-10-25T02:30+01:00"),
        ("2026-10-25T01:30:00Z".to_owned(), Resolution::Unique)
    );
    // Tomorrow's time may lie in a gap too.
    let resolved = berlin("tomorrow 02:30", "2026-03-28T12:00:00Z").unwrap();
    assert_eq!(
        (resolved.at, resolved.kind),
        (instant("2026-03-29T01:00:00Z"), Resolution::Gap)
    );
}

#[test]
fn what_is_no_instant_is_refused_with_a_reason() {
    let now = "2026-11-21T11:00:00Z";
    for (text, problem, span) in [
        (" ", "a time is missing", (0, 0)),
        ("soon", "this is not a time", (0, 0)),
        ("tomorrow", "the time of day is missing", (0, 0)),
        ("25:00", "no day has this time", (0, 0)),
        ("2026-02-30T09:00", "the calendar has no such day", (0, 10)),
        (" 2026-13-01", "the calendar has no such day", (1, 11)),
        ("2026-12-01 24:00", "no day has this time", (11, 16)),
        (
            "1799-12-31T00:00Z",
            "only times from the year 1800 until 9999-12-30T22:00Z can be used",
            (0, 0),
        ),
        (
            "9999-12-31T23:59",
            "only times from the year 1800 until 9999-12-30T22:00Z can be used",
            (0, 0),
        ),
        (
            "9999-12-30T22:00:01Z",
            "only times from the year 1800 until 9999-12-30T22:00Z can be used",
            (0, 0),
        ),
        (
            "2026-12-01T09:00+02:00[Europe/Berlin]",
            "the offset is +02:00, but Europe/Berlin has +01:00 then",
            (0, 0),
        ),
        (
            "2026-12-01T09:00[Europe/Berln]",
            "there is no time zone \"Europe/Berln\"; did you mean Europe/Berlin?",
            (17, 29),
        ),
    ] {
        let error = berlin(text, now).expect_err(text);
        assert_eq!((error.problem().as_str(), error.span), (problem, span), "{text}");
    }
    let past = berlin("2026-11-21T12:00", now)
        .unwrap()
        .later_than(instant(now))
        .unwrap_err();
    assert_eq!(past.kind, AtErrorKind::InThePast { at: instant(now) });
    assert!(resolve_at(&"9".repeat(1 << 16), "UTC", instant(now), &mut zones()).is_err());
}

#[test]
fn strange_moments_to_ask_have_an_answer() {
    for now in [Timestamp::MIN, Timestamp::MAX] {
        for text in ["09:00", "tomorrow 09:00", "mon 09:00"] {
            let _ = resolve_at(text, "Europe/Berlin", now, &mut zones());
        }
    }
}

#[test]
fn a_text_that_only_looks_like_a_time_is_refused_as_none() {
    for text in [
        "2026-01-01€x75",
        "2026-01-01\u{3000}x75",
        "2026-01-01−x75",
        "2026-01-01😀75:00",
        "2026-01-01x75:75",
        "2026-01-1€",
        "10-13-2026",
        "monday 9:00:00.:",
        "9:00:00.00:",
        "9:00:00.",
    ] {
        let error = berlin(text, "2026-11-21T11:00:00Z").expect_err(text);
        assert_eq!((error.kind, error.span), (AtErrorKind::NotATime, (0, 0)), "{text}");
    }
}

const TEXTS: &[&str] = &[
    "2026-12-01T09:00:00+01:00",
    "2026-12-01T09:00-05:00[America/New_York]",
    " 2026-12-01 09:00:30.25 ",
    "2026-12-01T75:00",
    "2026-12-01 24:75",
    "2026-13-31",
    "9:00:00.999",
    "monday 9:00:00.5",
    "12:00:00.25 tomorrow",
    "today 23:59",
];

proptest::proptest! {
    #![proptest_config(many())]

    #[test]
    fn any_text_is_an_instant_or_an_error_in_its_bounds(text in hostile(TEXTS), now in 0_i64..4_102_444_800_000) {
        match resolve_at(&text, "Europe/Berlin", Timestamp::from_millis(now), &mut zones()) {
            Ok(resolved) => proptest::prop_assert!((0..253_402_300_800_000).contains(&resolved.at.as_millis()), "{text:?}: {resolved:?}"),
            Err(error) => {
                let (from, to) = error.span;
                proptest::prop_assert!(from <= to && to <= text.chars().count(), "{text:?}: {error:?}");
                proptest::prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}

proptest::proptest! {
    #[test]
    fn any_name_is_a_zone_or_unknown(name in hostile(&["Europe/Berlin", "right/UTC", "Etc/GMT+5", "../localtime", "EST5EDT"])) {
        if let Err(unknown) = zones().get(&name) {
            proptest::prop_assert!(name.starts_with(&unknown.name));
        }
    }
}
