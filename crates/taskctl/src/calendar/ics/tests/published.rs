//! Files in the form that well-known programs write.

use jiff::civil::date;
use taskd_core::calendar::Calendar;

use super::*;

#[test]
fn public_holidays_of_google_are_days_though_they_are_marked_as_free() {
    let text = file(
        "PRODID:-//Google Inc//Google Calendar 70.9054//EN
        VERSION:2.0
        CALSCALE:GREGORIAN
        METHOD:PUBLISH
        X-WR-CALNAME:Holidays in Germany
        X-WR-TIMEZONE:UTC
        X-WR-CALDESC:Holidays and Observances in Germany
        BEGIN:VEVENT
        DTSTART;VALUE=DATE:20261225
        DTEND;VALUE=DATE:20261226
        DTSTAMP:20260803T112533Z
        UID:20261225_ad3b9s4v1gqiqvlrmqo7s3cqpg@google.com
        CLASS:PUBLIC
        CREATED:20240517T100811Z
        DESCRIPTION:Public holiday
        LAST-MODIFIED:20240517T100811Z
        SEQUENCE:0
        STATUS:CONFIRMED
        SUMMARY:Christmas Day
        TRANSP:TRANSPARENT
        END:VEVENT
        BEGIN:VEVENT
        DTSTART;VALUE=DATE:20261226
        DTEND;VALUE=DATE:20261227
        UID:20261226_7bmd0ehe1mgbbdm8q3tp2c8qkg@google.com
        SUMMARY:Second Day of Christmas
        TRANSP:TRANSPARENT
        END:VEVENT
        BEGIN:VEVENT
        DTSTART;VALUE=DATE:20230101
        DTEND;VALUE=DATE:20230102
        UID:20230101_0nbfnkbs8j3cmt8vvs7u0bq6ho@google.com
        SUMMARY:New Year's Day
        TRANSP:TRANSPARENT
        END:VEVENT",
    );
    assert_eq!(covered(&text), ["2026-12-25..2026-12-26"]);
    assert_eq!(notes(&text), ["left out: 1 event more than a year ago"]);
    // The same with the line ends of Unix, and with a byte order mark.
    let same = format!("\u{feff}{}", text.replace("\r\n", "\n"));
    assert_eq!(parse(&same), parse(&text));
}

#[test]
fn repeated_holidays_of_apple_are_written_out_for_ten_years() {
    let text = file(
        "CALSCALE:GREGORIAN
        PRODID:-//Apple Inc.//macOS 15.1//EN
        VERSION:2.0
        X-APPLE-CALENDAR-COLOR:#63DA38
        X-WR-CALNAME:US Holidays
        BEGIN:VEVENT
        CATEGORIES:Holidays
        CREATED:20230901T141005Z
        DTSTAMP:20230901T141005Z
        DTSTART;VALUE=DATE:20201126
        RRULE:FREQ=YEARLY;INTERVAL=1;BYMONTH=11;BYDAY=4TH
        SUMMARY;LANGUAGE=en:Thanksgiving
        TRANSP:TRANSPARENT
        UID:4f9c0f3f-3c6f-3bb0-9f3b-58c2a8b3b4fd
        X-APPLE-UNIVERSAL-ID:6a2f3d4c-7a31-53cf-a27e-5a0f2a3d1b7c
        BEGIN:VALARM
        ACTION:DISPLAY
        TRIGGER;VALUE=DURATION:-PT15H
        DURATION:PT10M
        END:VALARM
        END:VEVENT
        BEGIN:VEVENT
        DTSTART;VALUE=DATE:20201225
        RRULE:FREQ=YEARLY;COUNT=8
        SUMMARY:Christmas Day
        UID:9d1f1c7d-5e68-3d7b-b0f1-3e8c6f0c5b1e
        END:VEVENT",
    );
    assert_eq!(
        covered(&text),
        [
            "2025-11-27",
            "2025-12-25",
            "2026-11-26",
            "2026-12-25",
            "2027-11-25",
            "2027-12-25",
            "2028-11-23",
            "2029-11-22",
            "2030-11-28",
            "2031-11-27",
            "2032-11-25",
            "2033-11-24",
            "2034-11-23",
            "2035-11-22"
        ]
    );
    assert_eq!(
        notes(&text),
        ["what repeats is in the calendar until 2036-11-26; add the file again before then"]
    );
}

const OUTLOOK_ZONE: &str = "BEGIN:VTIMEZONE
    TZID:W. Europe Standard Time
    BEGIN:STANDARD
    DTSTART:16010101T030000
    TZOFFSETFROM:+0200
    TZOFFSETTO:+0100
    RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=10
    END:STANDARD
    BEGIN:DAYLIGHT
    DTSTART:16010101T020000
    TZOFFSETFROM:+0100
    TZOFFSETTO:+0200
    RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=3
    END:DAYLIGHT
    END:VTIMEZONE";

fn outlook(zone: &str) -> String {
    file(&format!(
        "METHOD:PUBLISH
        PRODID:Microsoft Exchange Server 2010
        VERSION:2.0
        X-WR-CALNAME:Kalender
        {OUTLOOK_ZONE}
        BEGIN:VEVENT
        RRULE:FREQ=WEEKLY;UNTIL=20270412T160000Z;INTERVAL=1;BYDAY=MO;WKST=MO
        EXDATE;TZID=W. Europe Standard Time:20270329T180000,20261207T180000
        UID:040000008200E00074C5B7101A82E00800000000
        SUMMARY:Wartungsfenster
        DTSTART;TZID=W. Europe Standard Time:20261130T180000
        DTEND;TZID=W. Europe Standard Time:20261130T200000
        CLASS:PUBLIC
        PRIORITY:5
        DTSTAMP:20261120T080000Z
        TRANSP:OPAQUE
        STATUS:CONFIRMED
        SEQUENCE:0
        LOCATION:
        X-MICROSOFT-CDO-APPT-SEQUENCE:0
        X-MICROSOFT-CDO-BUSYSTATUS:BUSY
        X-MICROSOFT-CDO-ALLDAYEVENT:FALSE
        END:VEVENT
        BEGIN:VEVENT
        UID:040000008200E00074C5B7101A82E00800000000
        RECURRENCE-ID;TZID=W. Europe Standard Time:20261214T180000
        SUMMARY:Wartungsfenster (verschoben)
        DTSTART;TZID=W. Europe Standard Time:20261215T210000
        DTEND;TZID=W. Europe Standard Time:20261215T213000
        X-MICROSOFT-CDO-ALLDAYEVENT:FALSE
        END:VEVENT
        BEGIN:VEVENT
        UID:040000008200E00074C5B7101A82E00800000001
        SUMMARY:Betriebsferien
        DTSTART;TZID=W. Europe Standard Time:20261224T000000
        DTEND;TZID=W. Europe Standard Time:20270102T000000
        X-MICROSOFT-CDO-ALLDAYEVENT:TRUE
        END:VEVENT"
    ))
    .replace("W. Europe Standard Time", zone)
}

#[test]
fn meetings_of_outlook_are_in_the_zone_that_windows_means() {
    let text = outlook("W. Europe Standard Time");
    let covered = covered(&text);
    let from = |at: usize| covered[at].split('"').nth(1).unwrap();
    assert_eq!(covered[0], "2026-12-24..2027-01-01");
    assert_eq!(covered[1], r#"from = "2026-11-30T17:00Z", to = "2026-11-30T19:00Z""#);
    assert_eq!(covered[2], r#"from = "2026-12-15T20:00Z", to = "2026-12-15T20:30Z""#);
    assert_eq!(from(3), "2026-12-21T17:00Z");
    // 18 o'clock before and after clocks are set, without the day that is excepted.
    assert_eq!((from(15), from(16)), ("2027-03-15T17:00Z", "2027-03-22T17:00Z"));
    assert_eq!(
        covered[17..],
        [
            r#"from = "2027-04-05T16:00Z", to = "2027-04-05T18:00Z""#,
            r#"from = "2027-04-12T16:00Z", to = "2027-04-12T18:00Z""#
        ]
    );
}

#[test]
fn a_zone_is_known_by_any_of_its_names_or_by_its_rules() {
    let wanted = parse(&outlook("W. Europe Standard Time"));
    for name in [
        "Europe/Berlin",
        "/freeassociation.sourceforge.net/Europe/Berlin",
        "/mozilla.org/20070129_1/Europe/Berlin",
        "Customized Time Zone",
        "(UTC+01:00) Amsterdam\\, Berlin\\, Bern\\, Rome",
    ] {
        let quoted = outlook(name).replace(&format!("TZID={name}"), &format!("TZID=\"{name}\""));
        assert_eq!(parse(&quoted), wanted, "{name}");
    }
    let located = outlook("Ours").replace("TZID:Ours", "TZID:Ours\r\nX-LIC-LOCATION:America/New_York");
    assert!(covered(&located).contains(&r#"from = "2026-11-30T23:00Z", to = "2026-12-01T01:00Z""#.to_owned()));
}

#[test]
fn a_zone_may_be_described_by_the_days_of_a_week_of_a_month_or_without_daylight_saving() {
    let zone = |rules: &str| {
        let text = format!(
            "BEGIN:VTIMEZONE\nTZID:Ours\n{rules}\nEND:VTIMEZONE\nBEGIN:VEVENT\nDTSTART;TZID=Ours:20270310T120000\nDURATION:PT1H\nRDATE;TZID=Ours:20270315T120000\nEND:VEVENT"
        );
        covered(&file(&text))
            .iter()
            .map(|range| range[8..25].to_owned())
            .collect::<Vec<_>>()
    };
    let new_york = "BEGIN:DAYLIGHT
        DTSTART:20070311T020000
        RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=SU;BYMONTHDAY=8,9,10,11,12,13,14
        TZOFFSETFROM:-0500
        TZOFFSETTO:-0400
        END:DAYLIGHT
        BEGIN:DAYLIGHT
        DTSTART:19870405T020000
        RRULE:FREQ=YEARLY;BYMONTH=4;BYDAY=1SU;UNTIL=20060402T070000Z
        TZOFFSETFROM:-0500
        TZOFFSETTO:-0300
        END:DAYLIGHT
        BEGIN:STANDARD
        DTSTART:20071104T020000
        RRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=1SU
        TZOFFSETFROM:-0400
        TZOFFSETTO:-0500
        END:STANDARD";
    assert_eq!(zone(new_york), ["2027-03-10T17:00Z", "2027-03-15T16:00Z"]);
    let kathmandu = "BEGIN:STANDARD\nDTSTART:16010101T000000\nTZOFFSETFROM:+0545\nTZOFFSETTO:+0545\nEND:STANDARD";
    assert_eq!(zone(kathmandu), ["2027-03-10T06:15Z", "2027-03-15T06:15Z"]);
}

#[test]
fn folded_lines_are_one_even_inside_of_a_character() {
    let text = event("UID:1\nSUMMARY:Weihnachtsf€iertag\nDTSTART;VALUE=DATE:20261225");
    let mut bytes = Vec::new();
    for line in text.split_inclusive("\r\n") {
        let (body, end) = line.split_at(line.len() - 2);
        for (index, chunk) in body.as_bytes().chunks(5).enumerate() {
            bytes.extend_from_slice(if index == 0 { b"" } else { b"\r\n\t" });
            bytes.extend_from_slice(chunk);
        }
        bytes.extend_from_slice(end.as_bytes());
    }
    // The opening is what tells the kind of the file.
    let bytes = [b"BEGIN:VCALENDAR".as_slice(), &bytes["BEGIN:VCALENDAR".len() + 6..]].concat();
    let calendar = read(&bytes, NOW, &database).unwrap().calendar;
    let christmas = Calendar::new([taskd_core::calendar::Entry::Days(
        taskd_core::calendar::DaySpan::of_dates(date(2026, 12, 25), date(2026, 12, 25)).unwrap(),
    )]);
    assert_eq!(Ok(calendar), christmas);
    // Some programs leave the lines of a long text unfolded but for a blank, or with blank lines between.
    let text =
        event("DESCRIPTION:one\n\n  two\n\n\tthree\nDTSTART;VALUE=DATE:20261225").replace("\r\n two", "\r\n  two");
    assert!(parse(&text).is_err());
    let text = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDESCRIPTION:one\n\n two\n\n\tthree\nDTSTART:20261225\nEND:VEVENT\nEND:VCALENDAR";
    assert_eq!(covered(text), ["2026-12-25"]);
}

#[test]
fn ends_are_dates_times_or_lengths() {
    for (lines, wanted) in [
        ("DTSTART;VALUE=DATE:20261224", "2026-12-24"),
        (
            "DTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20261227",
            "2026-12-24..2026-12-26",
        ),
        ("DTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20261224", "2026-12-24"),
        ("DTSTART;VALUE=DATE:20261224\nDURATION:P2D", "2026-12-24..2026-12-25"),
        ("DTSTART;VALUE=DATE:20261224\nDURATION:P1W", "2026-12-24..2026-12-30"),
        (
            "DTSTART;VALUE=DATE:19691224\nDTEND;VALUE=DATE:20261202",
            "1970-01-01..2026-12-01",
        ),
        (
            "DTSTART:20261224T120000\nDTEND:20261224T140000",
            r#"from = "2026-12-24T12:00", to = "2026-12-24T14:00""#,
        ),
        (
            "DTSTART:20261224T120000Z\nDURATION:PT1H30M",
            r#"from = "2026-12-24T12:00Z", to = "2026-12-24T13:30Z""#,
        ),
        (
            "DTSTART;TZID=Europe/Berlin:20261224T120000\nDTEND;TZID=America/New_York:20261224T080000",
            r#"from = "2026-12-24T11:00Z", to = "2026-12-24T13:00Z""#,
        ),
        // A day is one of the calendar, 24 hours are not: clocks are set on 2027-03-28.
        (
            "DTSTART;TZID=Europe/Berlin:20270327T120000\nDURATION:P1D",
            r#"from = "2027-03-27T11:00Z", to = "2027-03-28T10:00Z""#,
        ),
        (
            "DTSTART;TZID=Europe/Berlin:20270327T120000\nDURATION:PT24H",
            r#"from = "2027-03-27T11:00Z", to = "2027-03-28T11:00Z""#,
        ),
        // A start that clocks skip is read with the offset before.
        (
            "DTSTART;TZID=Europe/Berlin:20270328T023000\nDURATION:PT1H",
            r#"from = "2027-03-28T01:30Z", to = "2027-03-28T02:30Z""#,
        ),
    ] {
        assert_eq!(covered(&event(lines)), [wanted], "{lines}");
    }
}

#[test]
fn only_what_is_over_is_told_to_be_past() {
    let there = "BEGIN:VEVENT\nDTSTART:20261204\nEND:VEVENT";
    let told = |lines: &str| notes(&file(&format!("{there}\nBEGIN:VEVENT\n{lines}\nEND:VEVENT")));
    let past = ["left out: 1 event more than a year ago"];
    let repeats = ["what repeats is in the calendar until 2036-11-26; add the file again before then"];
    let none: [&str; 0] = [];
    assert_eq!(told("DTSTART:20251124"), past);
    assert_eq!(told("DTSTART:20251125"), none);
    assert_eq!(told("DTSTART:20200101\nRRULE:FREQ=YEARLY;UNTIL=20250101"), past);
    assert_eq!(told("DTSTART:20200101T100000\nRRULE:FREQ=YEARLY;UNTIL=20250101"), past);
    assert_eq!(told("DTSTART:20261201\nEXDATE:20261201"), none);
    assert_eq!(told("DTSTART:20400101\nRRULE:FREQ=YEARLY"), repeats);
    assert_eq!(told("DTSTART:20261101\nRRULE:FREQ=YEARLY;COUNT=11"), none);
    assert_eq!(told("DTSTART:20261101\nRRULE:FREQ=YEARLY;COUNT=12"), repeats);
    assert_eq!(told("DTSTART:20261101\nRRULE:FREQ=YEARLY;UNTIL=20361101"), none);
    // An event far ahead is one entry, however far.
    assert_eq!(told("DTSTART:20900101"), none);
}

#[test]
fn what_does_not_count_is_told() {
    let text = file(
        "BEGIN:VTODO
        SUMMARY:Not an event
        DUE:nonsense
        END:VTODO
        BEGIN:VEVENT
        DTSTART:20261201T100000
        DURATION:PT1H
        TRANSP:TRANSPARENT
        END:VEVENT
        BEGIN:VEVENT
        DTSTART:20261202T100000
        END:VEVENT
        BEGIN:VEVENT
        DTSTART;VALUE=DATE:20261203
        STATUS:CANCELLED
        END:VEVENT
        BEGIN:VEVENT
        DTSTART;VALUE=DATE:20261204
        STATUS:TENTATIVE
        END:VEVENT",
    );
    assert_eq!(covered(&text), ["2026-12-04"]);
    assert_eq!(
        notes(&text),
        [
            "left out: 1 event that was cancelled",
            "left out: 1 event marked as free time",
            "left out: 1 event without a length",
            "left out: 1 entry that is no event",
        ]
    );
}
