//! `taskctl next --timeline`: which hours and minutes of a day are crowded.

use std::cmp::Reverse;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use taskd_core::Timestamp;
use taskd_wire::client::Bucket;

use super::bounds::{self, Minute, day_of};
use super::counted::{Counts, counts};
use super::month::{YEARS, written};
use crate::args::NextArgs;
use crate::error::{Failure, Result};
use crate::json;
use crate::render::counted as so_many;
use crate::render::table::{Column, Table};
use crate::render::time::rfc3339;
use crate::render::timeline::{Hour, lines};
use crate::session::Session;

/// How many of the most crowded minutes are shown.
const CROWDED: usize = 5;

/// Most minutes that are shown in which tasks fire together.
const TOGETHER: usize = 10;

struct Frame {
    day: Date,
    minutes: Vec<Minute>,
}

/// Shows a day.
pub fn run(typed: Option<&str>, args: &NextArgs, session: &mut Session) -> Result<()> {
    let typed = typed.map(day).transpose()?;
    let now = session.now();
    let frame = |zone: &TimeZone| {
        let day = typed.unwrap_or_else(|| day_of(zone, now));
        let refused = |problem: &str| {
            let text = day.to_string();
            let name = zone.iana_name().unwrap_or("your time zone");
            Failure::field(
                "timeline",
                &text,
                None,
                &format!("{problem} in {name}"),
                Some("ask for another day"),
            )
        };
        let (minutes, end) = bounds::minutes(zone, day).ok_or_else(|| refused("this day has more than 26 hours"))?;
        if minutes.is_empty() {
            return Err(refused("clocks skip this day"));
        }
        let bounds = minutes.iter().map(|minute| minute.at).chain([end]).collect();
        Ok((Frame { day, minutes }, bounds))
    };
    let counts = counts(args, true, frame, session)?;
    let hours = hours(&counts);
    if session.json {
        return print_json(&counts, &hours, session);
    }
    print(&counts, &hours, session)
}

fn print(counts: &Counts<Frame>, hours: &[(Timestamp, Hour)], session: &mut Session) -> Result<()> {
    let out = &mut session.out;
    let day = counts.frame.day.strftime("%Y-%m-%d, %A");
    out.said(&format!("{day}, {}", counts.zone_name()))?;
    let hours: Vec<Hour> = hours.iter().map(|(_, hour)| *hour).collect();
    for line in lines(&hours, out.width, out.unicode) {
        out.line(&line)?;
    }
    out.line(&so_many(counts.total(), "fire time"))?;
    for remark in counts.remarks() {
        out.line(&remark)?;
    }
    let crowded = crowded(counts);
    if !crowded.is_empty() {
        out.line("\nthe most crowded minutes:")?;
        let mut table = Table::new(&[
            Column::fixed("AT"),
            Column::number("FIRE TIMES"),
            Column::flexible("TASKS"),
        ]);
        for n in crowded {
            let bucket = &counts.buckets[n];
            table.row(
                vec![
                    at(counts, n).into(),
                    bucket.count.to_string().into(),
                    names(bucket).into(),
                ],
                out,
            )?;
        }
        table.end(out)?;
    }
    if counts.tasks.is_none_or(|tasks| tasks < 2) {
        return Ok(());
    }
    let together = together(counts);
    if together.is_empty() {
        return out.line("\nno two tasks fire in the same minute");
    }
    out.line(&format!(
        "\ntasks fire together in {}:",
        so_many(together.len() as u64, "minute")
    ))?;
    let mut table = Table::new(&[Column::fixed("AT"), Column::flexible("TASKS")]);
    for n in together.iter().take(TOGETHER) {
        table.row(vec![at(counts, *n).into(), names(&counts.buckets[*n]).into()], out)?;
    }
    table.end(out)?;
    match together.len().saturating_sub(TOGETHER) {
        0 => Ok(()),
        more => out.line(&format!("and {more} more; with --json there are all")),
    }
}

fn print_json(counts: &Counts<Frame>, hours: &[(Timestamp, Hour)], session: &mut Session) -> Result<()> {
    let minutes = &counts.frame.minutes;
    let mut told = crowded(counts);
    told.extend(together(counts));
    told.sort_unstable();
    told.dedup();
    let hours = hours.iter().map(|(at, hour)| json::Hour {
        hour: hour.hour,
        count: hour.count,
        at: rfc3339(at.as_millis()),
    });
    let told = told.into_iter().map(|n| json::Minute {
        at: rfc3339(minutes[n].at.as_millis()),
        count: counts.buckets[n].count,
        tasks: &counts.buckets[n].names,
        more: more(&counts.buckets[n]),
    });
    let shape = json::Timeline {
        day: counts.frame.day.to_string(),
        zone: counts.zone.iana_name(),
        hours: hours.collect(),
        minutes: told.collect(),
        note: counts.note(Timestamp::MIN, Timestamp::MAX),
    };
    session.out.json(&shape)
}

/// The hours of the day as clocks show them, with when they begin: one that is shown twice is two.
fn hours(counts: &Counts<Frame>) -> Vec<(Timestamp, Hour)> {
    let minutes = &counts.frame.minutes;
    let mut hours: Vec<(Timestamp, Hour)> = Vec::with_capacity(26);
    let mut offset = None;
    for (minute, bucket) in minutes.iter().zip(&counts.buckets) {
        let goes_on =
            |hour: &&mut (Timestamp, Hour)| hour.1.hour == minute.time.hour() && offset == Some(minute.offset);
        match hours.last_mut().filter(goes_on) {
            Some((_, hour)) => hour.count = hour.count.saturating_add(bucket.count),
            None => {
                let (hour, count) = (minute.time.hour(), bucket.count);
                hours.push((minute.at, Hour { hour, count }));
            }
        }
        offset = Some(minute.offset);
    }
    hours
}

/// The minutes with the most fire times, most first.
fn crowded<F>(counts: &Counts<F>) -> Vec<usize> {
    let mut minutes: Vec<usize> = (0..counts.buckets.len())
        .filter(|n| counts.buckets[*n].count > 0)
        .collect();
    minutes.sort_by_key(|n| Reverse(counts.buckets[*n].count));
    minutes.truncate(CROWDED);
    minutes
}

/// The minutes in which more than one task fires.
fn together<F>(counts: &Counts<F>) -> Vec<usize> {
    (0..counts.buckets.len())
        .filter(|n| counts.buckets[*n].tasks > 1)
        .collect()
}

/// The time of a minute; with its offset where clocks change that day.
fn at(counts: &Counts<Frame>, n: usize) -> String {
    let minute = counts.frame.minutes[n];
    let time = minute.time.strftime("%H:%M");
    match counts.changes.is_empty() {
        true => time.to_string(),
        false => format!("{time} UTC{}", minute.offset),
    }
}

/// How many more tasks there are than are named.
fn more(bucket: &Bucket) -> u64 {
    match bucket.names.len() {
        0 => 0,
        named => bucket.tasks.saturating_sub(named as u64),
    }
}

fn names(bucket: &Bucket) -> String {
    let names = bucket.names.join(", ");
    match more(bucket) {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}

/// Reads `2027-03-28`.
fn day(text: &str) -> Result<Date, Failure> {
    let date = written(text, "dddd-dd-dd").then(|| text.parse::<Date>().ok()).flatten();
    date.filter(|date| YEARS.contains(&date.year())).ok_or_else(|| {
        let whole = Some((0, text.chars().count() as u32));
        let problem = format!("this is no day of the years {} to {}", YEARS.start(), YEARS.end());
        let cure = "write YYYY-MM-DD, such as 2027-03-28; names of tasks stand before --timeline";
        Failure::field("timeline", text, whole, &problem, Some(cure))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_a_year_a_month_and_a_day() {
        assert_eq!(day("2028-02-29").ok(), Some(jiff::civil::date(2028, 2, 29)));
        for no_day in ["2027-02-29", "2027-2-3", "2027-03", "backup", "9999-01-01", "20270328"] {
            assert_eq!(
                day(no_day).err().map(|failure| failure.code),
                Some("bad-field"),
                "{no_day}"
            );
        }
    }
}
