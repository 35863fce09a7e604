//! `taskctl next --month`: how many fire times each day of a month has.

use jiff::civil::Date;
use taskd_core::Timestamp;

use super::bounds::{self, clock, day_of};
use super::counted::{Counts, counts};
use crate::args::NextArgs;
use crate::error::{Failure, Result};
use crate::json;
use crate::out::JsonArray;
use crate::render::counted as so_many;
use crate::render::month::{Day, lines};
use crate::render::time::rfc3339_in;
use crate::session::Session;

/// The years of which every zone can show every day, and the core has fire times.
pub const YEARS: std::ops::RangeInclusive<i16> = 1800..=9998;

/// Shows a month.
pub fn run(typed: Option<&str>, args: &NextArgs, session: &mut Session) -> Result<()> {
    let typed = typed.map(month).transpose()?;
    let now = session.now();
    let frame = |zone: &_| {
        let month = typed.unwrap_or_else(|| day_of(zone, now).first_of_month());
        let bounds = bounds::days(zone, month);
        Ok(((month, bounds.clone()), bounds))
    };
    let counts = counts(args, false, frame, session)?;
    if session.json {
        return print_json(&counts, session);
    }
    let (month, _) = counts.frame;
    let today = day_of(&counts.zone, now);
    let days: Vec<Day> = counts
        .buckets
        .iter()
        .zip(0..)
        .map(|(bucket, n)| {
            let date = day(month, n);
            let only = bucket.first_ms.filter(|_| bucket.count == 1);
            Day {
                date,
                count: bucket.count,
                time: only.map(|ms| clock(&counts.zone, Timestamp::from_millis(ms)).1),
                is_marked: counts.changes.iter().any(|change| change.on == date),
                is_today: date == today,
            }
        })
        .collect();
    let out = &mut session.out;
    let head = format!("{}, {}", month.strftime("%B %Y"), counts.zone_name());
    out.said(&head)?;
    for line in lines(&days, out.width, out.unicode, out.colour) {
        out.line(&line)?;
    }
    out.line(&so_many(counts.total(), "fire time"))?;
    for remark in counts.remarks() {
        out.line(&remark)?;
    }
    Ok(())
}

fn print_json(counts: &Counts<(Date, Vec<Timestamp>)>, session: &mut Session) -> Result<()> {
    let (month, bounds) = &counts.frame;
    let mut array = JsonArray::default();
    for ((bucket, ends), n) in counts.buckets.iter().zip(bounds.windows(2)).zip(0..) {
        let shape = json::Day {
            day: day(*month, n).to_string(),
            count: bucket.count,
            first: bucket.first_ms.map(|ms| rfc3339_in(ms, &counts.zone)),
            last: bucket.last_ms.map(|ms| rfc3339_in(ms, &counts.zone)),
            note: counts.note(ends[0], ends[1]),
        };
        array.element(&mut session.out, &shape)?;
    }
    array.close(&mut session.out)
}

fn day(month: Date, n: i32) -> Date {
    // OK because the month has that day, and years that are shown end before jiff's do.
    month.checked_add(jiff::Span::new().days(n)).unwrap_or(month)
}

/// Reads `2027-03`.
fn month(text: &str) -> Result<Date, Failure> {
    let date = written(text, "dddd-dd")
        .then(|| format!("{text}-01").parse::<Date>().ok())
        .flatten();
    date.filter(|date| YEARS.contains(&date.year())).ok_or_else(|| {
        let whole = Some((0, text.chars().count() as u32));
        let cure = "write YYYY-MM, such as 2027-03; names of tasks stand before --month";
        Failure::field(
            "month",
            text,
            whole,
            &format!("this is no month of the years {} to {}", YEARS.start(), YEARS.end()),
            Some(cure),
        )
    })
}

/// Whether a text is written like a pattern, in which `d` stands for a digit.
pub fn written(text: &str, pattern: &str) -> bool {
    let fits = |(c, p): (u8, u8)| if p == b'd' { c.is_ascii_digit() } else { c == p };
    text.len() == pattern.len() && text.bytes().zip(pattern.bytes()).all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_a_year_and_a_month() {
        let date = |y, m| Ok(jiff::civil::date(y, m, 1));
        let read = |text: &str| month(text).map_err(|failure| failure.code);
        assert_eq!(read("2027-03"), date(2027, 3));
        assert_eq!((read("1800-01"), read("9998-12")), (date(1800, 1), date(9998, 12)));
        for no_month in [
            "1799-12",
            "9999-01",
            "2027-13",
            "2027-3",
            "2027-03-01",
            "202703",
            "backup",
            "",
            "२०२७",
        ] {
            assert_eq!(read(no_month), Err("bad-field"), "{no_month}");
        }
    }
}
