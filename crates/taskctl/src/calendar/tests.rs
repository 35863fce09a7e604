use super::*;

fn parse(text: &str) -> Result<Calendar, Fault> {
    let reading = read(text.as_bytes(), Timestamp::from_second(1_795_651_200), &|_| None)?;
    assert!(reading.notes.is_empty());
    Ok(reading.calendar)
}

const LIST: &str = r#"# Company holidays
days = ["2026-12-24", '2026-12-27..2026-12-31', 2027-01-01]
rules = ["weekends", "Easter + 1", "easter-2", "1st mon", "last mon may", "4th thu nov", "12-25"]

[[ranges]]
from = "2026-12-24T12:00"
to = 2026-12-27T00:00:00

[[ranges]]
from = "2026-12-24T12:00+01:00"
to = 2026-12-24 13:00:00Z
"#;

#[test]
fn a_list_is_read_and_printed_in_one_form() {
    let calendar = parse(LIST).unwrap();
    assert_eq!(
        calendar.to_string(),
        r#"days = [
    "2026-12-24",
    "2026-12-27..2027-01-01",
]
ranges = [
    { from = "2026-12-24T12:00", to = "2026-12-27T00:00" },
    { from = "2026-12-24T11:00Z", to = "2026-12-24T13:00Z" },
]
rules = [
    "weekends",
    "1st mon",
    "4th thu nov",
    "last mon may",
    "easter-2",
    "easter+1",
    "12-25",
]
"#
    );
    assert_eq!(parse(&calendar.to_string()), Ok(calendar.clone()));
    assert_eq!(parse(&format!("\u{feff}{}", LIST.replace('\n', "\r\n"))), Ok(calendar));
}

#[test]
fn a_fault_in_a_list_has_its_place_and_a_cure() {
    for (text, said) in [
        (
            "",
            "a calendar needs at least one day, range or rule; write `days`, `ranges` or `rules`, as in `days = [\"2026-12-24\"]`",
        ),
        (
            "rules = []\n\n",
            "a calendar needs at least one day, range or rule; write `days`, `ranges` or `rules`, as in `days = [\"2026-12-24\"]`",
        ),
        (
            "day = []",
            "line 1, column 1: there is no key `day` here; the keys here are days, ranges, rules",
        ),
        (
            "ranges = [\n  { from = \"2026-12-24T12:00\", until = 1 }\n]",
            "line 2, column 32: there is no key `until` here; the keys here are from, to",
        ),
        (
            "days = [\n  \"2026-12-24\",\n  \"2026-02-30\",\n]",
            "line 3, column 4: the calendar has no such day",
        ),
        (
            "days = ['2026-12-24..2026-02-30']",
            "line 1, column 22: the calendar has no such day",
        ),
        (
            "# é\nrules = [\"é\", \"1st mon\"]",
            "line 2, column 11: `é` is not a rule; write weekends, mon, `1st mon`, `last mon may`, easter, easter+1 or 12-25",
        ),
        (
            "rules = [\"weekends\", \"last mnday may\"]",
            "line 1, column 28: `mnday` is not a weekday; did you mean monday?",
        ),
        (
            "rules = [\"\\u0031st mnday\"]",
            "line 1, column 10: `mnday` is not a weekday; did you mean monday?",
        ),
        (
            "days = [2026-12-24T12:00:00]",
            "line 1, column 9: this is a time, not a day; write it as one end of a range, under `ranges`",
        ),
        (
            "days = [20261224]",
            "line 1, column 9: invalid type: integer `20261224`, expected a day or a time such as \"2026-12-24\"",
        ),
        (
            "ranges = [{ from = \"2026-12-24T12:00\", to = \"2026-12-24T12:00Z\" }]",
            "line 1, column 46: one end of the range has an offset from UTC, the other has none; write it at both ends, or at none",
        ),
        (
            "ranges = [{ from = 2026-12-24, to = 2026-12-25 }]",
            "line 1, column 20: the time of day is missing; add one, as in 2026-12-24T00:00, or write whole days under `days`",
        ),
    ] {
        assert_eq!(parse(text).expect_err(text).to_string(), said);
    }
    let fault = parse("days = [\"2026-12-24\"\nrules = 1").unwrap_err();
    assert!(matches!(fault.kind, FaultKind::Toml { .. }), "{fault}");
    assert_eq!(fault.place.map(|place| place.line), Some(2));
}

#[test]
fn what_is_no_list_is_refused() {
    let refused = |bytes: &[u8]| read(bytes, Timestamp::from_second(0), &|_| None).unwrap_err();
    let fault = refused(b"days = []\n# \xfc\n");
    assert_eq!(
        (fault.kind, fault.place.map(|place| (place.line, place.at))),
        (FaultKind::NotUtf8, Some((2, (2, 1))))
    );
    let many: String = (0..10_001).map(|_| "\"mon\",").collect();
    assert_eq!(
        refused(format!("rules = [{many}]").as_bytes()).to_string(),
        "a calendar has at most 10000 entries, this one has 10001; write days in a row as one entry, as in 2026-12-24..2026-12-26"
    );
    for hostile in [
        "[".repeat(1 << 20),
        format!("days = {}", "[".repeat(1 << 20)),
        "a.".repeat(1 << 20),
        "\"".repeat(1 << 20),
    ] {
        assert!(matches!(refused(hostile.as_bytes()).kind, FaultKind::Toml { .. }));
    }
}
