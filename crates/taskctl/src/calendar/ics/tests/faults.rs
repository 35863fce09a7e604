use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::calendar::{FILE_MAX, FaultKind};

const TYPICAL: &str = "BEGIN:VCALENDAR\r
VERSION:2.0\r
BEGIN:VTIMEZONE\r
TZID:Ours\r
BEGIN:STANDARD\r
DTSTART:16010101T030000\r
TZOFFSETFROM:+0200\r
TZOFFSETTO:+0100\r
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10\r
END:STANDARD\r
BEGIN:DAYLIGHT\r
DTSTART:16010101T020000\r
TZOFFSETFROM:+0100\r
TZOFFSETTO:+0200\r
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3\r
END:DAYLIGHT\r
END:VTIMEZONE\r
BEGIN:VEVENT\r
UID:1\r
DTSTART;TZID=\"Ours\":20261201T180000\r
DTEND;TZID=Ours:20261201T\r
 200000\r
RRULE:FREQ=MONTHLY;BYDAY=2TU,-1FR;BYSETPOS=1,-1;UNTIL=20280101T000000Z;WKST=SU\r
EXDATE;TZID=Ours:20270112T180000\r
RDATE;VALUE=PERIOD:20261205T100000Z/PT2H,20261206T100000Z/20261206T113000Z\r
END:VEVENT\r
BEGIN:VEVENT\r
UID:1\r
RECURRENCE-ID;TZID=Ours:20270129T180000\r
DTSTART;VALUE=DATE:20270130\r
DURATION:P2DT0H\r
STATUS:CONFIRMED\r
END:VEVENT\r
END:VCALENDAR\r
";

#[test]
fn a_fault_has_its_line_its_columns_and_a_cure() {
    for (lines, line, at, said) in [
        (
            "UID:1",
            2,
            (0, 12),
            "this event has no DTSTART; write the day, as in DTSTART;VALUE=DATE:20261224",
        ),
        (
            "DTSTART:20261301",
            3,
            (8, 8),
            "`20261301` is not a date; write it as 20261224",
        ),
        (
            "DTSTART:2026-12-24",
            3,
            (8, 10),
            "`2026-12-24` is not a time; write it as 20261224T120000 or 20261224T110000Z",
        ),
        (
            "DTSTART:20261224T2500",
            3,
            (8, 13),
            "`20261224T2500` is not a time; write it as 20261224T120000 or 20261224T110000Z",
        ),
        (
            "DTSTART:20261224\nDTSTART:20261225",
            4,
            (0, 16),
            "DTSTART stands here for the second time in this event; remove one of them",
        ),
        (
            "DTSTART:20261224\nDTEND:20261223",
            4,
            (0, 14),
            "the event ends before it starts; put DTEND after DTSTART",
        ),
        (
            "DTSTART:20261224T120000\nDTEND:20261224T110000",
            4,
            (0, 21),
            "the event ends before it starts; put DTEND after DTSTART",
        ),
        (
            "DTSTART:20261224\nDTEND:20261224T110000",
            4,
            (0, 21),
            "start and end are not both days or both times; write DTEND in the form of DTSTART",
        ),
        (
            "DTSTART:20261224T100000Z\nDTEND:20261224T110000",
            4,
            (0, 21),
            "start and end are not both days or both times; write DTEND in the form of DTSTART",
        ),
        (
            "DTSTART:20261224\nDTEND:20261225\nDURATION:P1D",
            5,
            (0, 12),
            "an event has DTEND or DURATION, not both; remove one of them",
        ),
        (
            "DTSTART:20261224\nDURATION:1D",
            4,
            (9, 2),
            "`1D` is not a length of time; write it as PT8H or P1D",
        ),
        (
            "DTSTART;TZID=Mars/Base:20261224T120000",
            3,
            (0, 38),
            "there is no time zone `Mars/Base`; write a name of the tz database, such as Europe/Berlin",
        ),
        (
            "DTSTART:20261224\nRRULE:FREQ=HOURLY",
            4,
            (6, 11),
            "`FREQ=HOURLY` in a recurrence rule is not understood; write the days one by one, as RDATE or as events",
        ),
        (
            "DTSTART:20261224\nRRULE:FREQ=DAILY;BYDAY=1MO",
            4,
            (6, 20),
            "`FREQ=DAILY;BYDAY=1MO` in a recurrence rule is not understood; write the days one by one, as RDATE or as events",
        ),
        (
            "DTSTART:20261224\nRRULE:FREQ=DAILY;BYHOUR=9,17",
            4,
            (6, 22),
            "`BYHOUR=9,17` in a recurrence rule is not understood; write the days one by one, as RDATE or as events",
        ),
        (
            "DTSTART:20261224\nRRULE:FREQ=YEARLY;BYMONTH=13",
            4,
            (6, 22),
            "`BYMONTH=13` in a recurrence rule is not understood; write the days one by one, as RDATE or as events",
        ),
        (
            "DTSTART:20261224\nRRULE:FREQ=DAILY;INTERVAL=0",
            4,
            (6, 21),
            "`INTERVAL=0` in a recurrence rule is not understood; write the days one by one, as RDATE or as events",
        ),
        (
            "DTSTART:20261224\nEXRULE:FREQ=DAILY",
            4,
            (0, 17),
            "a rule for exceptions (EXRULE) cannot be read; write each of these events for itself",
        ),
        (
            "UID:1\nRECURRENCE-ID;RANGE=THISANDFUTURE:20261224\nDTSTART:20261224",
            4,
            (0, 42),
            "a change of all later occurrences (RANGE=THISANDFUTURE) cannot be read; write each of these events for itself",
        ),
        (
            "DTSTART:20261224\nDURATION:P999999999D",
            3,
            (0, 16),
            "only the years until 9999 can be used",
        ),
        (
            "some text",
            3,
            (0, 9),
            "this is not a property: a line is NAME:VALUE; begin it with a blank if it continues the line before",
        ),
        (
            "DTSTART;VALUE:20261224",
            3,
            (0, 22),
            "this is not a property: a line is NAME:VALUE; begin it with a blank if it continues the line before",
        ),
    ] {
        let fault = parse(&event(lines)).expect_err(lines);
        let place = fault.place.clone().unwrap();
        assert_eq!((place.line, place.at), (line, at), "{fault}");
        assert_eq!(fault.to_string(), format!("line {line}, column {}: {said}", at.0 + 1));
    }
}

#[test]
fn a_zone_that_is_described_oddly_is_refused() {
    let said = "line 20, column 1: the description of the time zone `Ours` is not understood; add the line X-LIC-LOCATION with a \
                name of the tz database to its VTIMEZONE";
    for (part, other) in [
        ("BYMONTH=10", "BYMONTH=9,10"),
        ("BYDAY=-1SU", "BYDAY=-2SU"),
        ("BYDAY=-1SU", "BYDAY=SU"),
        ("RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3", "RDATE:20270328T020000"),
        ("TZOFFSETTO:+0100", "TZOFFSETTO:0100"),
        ("TZOFFSETTO:+0100", "TZOFFSETTO:+9900"),
        ("TZOFFSETTO:+0100", "X-LIC-LOCATION:Europe/Berlin"),
    ] {
        let fault = parse(&TYPICAL.replacen(part, other, 1)).expect_err(other);
        assert_eq!(fault.to_string(), said, "{other}");
    }
}

#[test]
fn what_is_no_whole_calendar_is_refused() {
    for (text, said) in [
        (
            "BEGIN:VCALENDAR\nBEGIN:VEVENT\nEND:VCALENDAR",
            "line 3, column 1: END:VCALENDAR stands where END:VEVENT should; write END:VEVENT",
        ),
        (
            "BEGIN:VCALENDAR\nEND:VCALENDAR\nEND:VEVENT",
            "line 3, column 1: this stands outside of a calendar; remove it, or put BEGIN:VCALENDAR before it",
        ),
        (
            "BEGIN:VCALENDAR\nEND:VCALENDAR\nUID:1",
            "line 3, column 1: this stands outside of a calendar; remove it, or put BEGIN:VCALENDAR before it",
        ),
        (
            "BEGIN:VCALENDAR\nEND:VCALENDAR\n",
            "the file has no event that is not over; look for the calendar of this year",
        ),
        (
            "BEGIN:VCALENDAR\n",
            "line 1, column 1: the file ends inside of VCALENDAR, which begins here; the file was cut off: get it again",
        ),
        (
            "<!DOCTYPE html>",
            "this is a web page, not a calendar; download the .ics file that the page links to",
        ),
    ] {
        assert_eq!(parse(text).expect_err(text).to_string(), said);
    }
    let long = vec![b' '; FILE_MAX + 1];
    assert_eq!(read(&long, NOW, &database).unwrap_err().kind, FaultKind::TooLong);
    assert_eq!(
        read(b"\xff\xfeB\0", NOW, &database).unwrap_err().kind,
        FaultKind::NotUtf8
    );
}

#[test]
fn hostile_files_are_refused_in_bounded_time() {
    let deep = "BEGIN:VCALENDAR\r\n".to_owned() + &"BEGIN:VEVENT\r\n".repeat(200_000);
    assert_eq!(parse(&deep).unwrap_err().kind, FaultKind::TooDeep);
    // Rules that match nothing, rules that have to be counted through, and very many of both.
    let never =
        "BEGIN:VEVENT\nDTSTART:16010101\nRRULE:FREQ=DAILY;COUNT=9;BYMONTHDAY=31;BYMONTH=2\nEND:VEVENT\n".repeat(10_000);
    assert_eq!(parse(&file(&never)).unwrap_err().kind, FaultKind::TooMuch);
    let often = "BEGIN:VEVENT\nDTSTART:16010101\nRRULE:FREQ=DAILY;COUNT=4000000000\nEND:VEVENT\n".repeat(10_000);
    assert_eq!(parse(&file(&often)).unwrap_err().kind, FaultKind::TooMuch);
    // Zones that describe themselves by themselves.
    let knot = TYPICAL
        .replace("DTSTART:16010101", "DTSTART;TZID=Ours:16010101")
        .replace("RRULE:FREQ=YEARLY", "RRULE;TZID=Ours:UNTIL=20990101T000000;FREQ=YEARLY");
    assert!(parse(&knot).is_ok());
    let endless = TYPICAL.replace(
        "RDATE;",
        &format!("EXDATE:{}20261224\r\nRDATE;", "20261224,".repeat(100_000)),
    );
    assert!(parse(&endless).is_ok());
    let list = TYPICAL.replace("BYSETPOS=1,-1", &format!("BYSETPOS=1{}", ",-1".repeat(500_000)));
    assert!(parse(&list).is_ok());
}

#[test]
fn a_file_that_was_cut_off_is_refused_wherever_it_was() {
    assert!(parse(TYPICAL).is_ok());
    let whole = TYPICAL.trim_end().len();
    for end in 0..whole {
        assert!(parse(&TYPICAL[..end]).is_err(), "{end}");
    }
}

/// Lines that mean something, in an order that may not.
const LINES: [&str; 24] = [
    "BEGIN:VCALENDAR",
    "END:VCALENDAR",
    "BEGIN:VEVENT",
    "END:VEVENT",
    "BEGIN:VTIMEZONE",
    "END:VTIMEZONE",
    "BEGIN:STANDARD",
    "END:STANDARD",
    "BEGIN:DAYLIGHT",
    "END:DAYLIGHT",
    "TZID:Ours",
    "TZOFFSETTO:+2600",
    "TZOFFSETFROM:-9999",
    "DTSTART:00000101",
    "DTSTART;TZID=Ours:99991231T235959",
    "DTEND:99991231T235960Z",
    "DURATION:P999999999W",
    "RRULE:FREQ=YEARLY;BYWEEKNO=53,-53;BYDAY=MO",
    "RRULE:FREQ=WEEKLY;INTERVAL=4294967295;COUNT=4294967295",
    "RRULE:FREQ=MONTHLY;BYDAY=-53SU,53MO;BYSETPOS=-366",
    "EXDATE:00010101,",
    "RDATE;VALUE=PERIOD:20261224T000000/PT999999999H",
    "RECURRENCE-ID:99991231",
    "UID:1",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_a_calendar_or_a_fault(changes in prop::collection::vec((any::<Index>(), any::<Index>(), 0_u8..4, any::<u8>()), 1..6)) {
        let mut bytes = TYPICAL.as_bytes().to_vec();
        let lines: Vec<&[u8]> = TYPICAL.as_bytes().split_inclusive(|byte| *byte == b'\n').collect();
        for (place, other, kind, byte) in changes {
            let at = place.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => { bytes.remove(at); }
                _ => { bytes.splice(at..at, other.get(&lines).iter().copied()); }
            }
        }
        if let Err(fault) = read(&bytes, NOW, &database) {
            prop_assert!(!fault.to_string().is_empty());
            if let Some(place) = fault.place {
                prop_assert!(place.line >= 1 && place.line <= bytes.len());
            }
        }
    }

    #[test]
    fn any_lines_are_a_calendar_or_a_fault(lines in prop::collection::vec(select(&LINES[..]), 0..12), rule in "FREQ=(DAILY|WEEKLY|MONTHLY|YEARLY)(;(INTERVAL|COUNT|BYMONTH|BYMONTHDAY|BYYEARDAY|BYWEEKNO|BYSETPOS)=-?[0-9]{1,10}){0,3}", start in "[0-9]{4}(0[1-9]|1[0-2])(0[1-9]|[12][0-9])") {
        let text = lines.join("\n");
        let _ = parse(&format!("BEGIN:VCALENDAR\n{text}"));
        let _ = parse(&event(&text));
        let _ = parse(&event(&format!("DTSTART:{start}\nRRULE:{rule}\n{text}")));
    }
}
