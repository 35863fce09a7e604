//! Recurrence rules as they are written (RFC 5545, section 3.3.10).

use jiff::civil::{Date, Weekday};

use super::super::fault::{Fault, FaultKind, brief};
use super::lines::Property;
use super::value::{self, When};

/// How often the days of a rule are picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frequency {
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

/// Numbers that are counted from the start or, when negative, from the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers(Vec<i32>);

impl Numbers {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn has(&self, number: i32) -> bool {
        self.0.binary_search(&number).is_ok()
    }

    /// The number, if there is but one.
    pub fn only(&self) -> Option<i32> {
        match self.0.as_slice() {
            [number] => Some(*number),
            _ => None,
        }
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the `nth` of `all` is meant, from either end.
    pub fn picks(&self, nth: i32, all: i32) -> bool {
        self.has(nth) || self.has(nth - all - 1)
    }

    pub fn insert(&mut self, number: i32) {
        if let Err(place) = self.0.binary_search(&number) {
            self.0.insert(place, number);
        }
    }
}

/// A recurrence rule.
#[derive(Clone, Debug)]
pub(super) struct Recurrence {
    pub frequency: Frequency,
    /// At least 1.
    pub interval: i64,
    pub count: Option<u64>,
    pub until: Option<When>,
    pub months: Numbers,
    pub weeks: Numbers,
    pub year_days: Numbers,
    pub month_days: Numbers,
    /// By weekday from Monday: whether every one of them, and which ones of the month or year.
    pub weekdays: [(bool, Numbers); 7],
    pub positions: Numbers,
    pub week_start: Weekday,
}

impl Recurrence {
    /// Whether some weekdays are asked for.
    pub fn has_weekdays(&self) -> bool {
        self.weekdays.iter().any(|(every, nth)| *every || !nth.is_empty())
    }

    /// Reads a rule. `BYHOUR`, `BYMINUTE` and `BYSECOND` are read where they repeat what the start says already.
    pub fn parse(property: &Property, start: &When) -> Result<Recurrence, Fault> {
        let mut rule = Recurrence {
            frequency: Frequency::Daily,
            interval: 1,
            count: None,
            until: None,
            months: Numbers::default(),
            weeks: Numbers::default(),
            year_days: Numbers::default(),
            month_days: Numbers::default(),
            weekdays: Default::default(),
            positions: Numbers::default(),
            week_start: Weekday::Monday,
        };
        let time = start.time();
        let mut frequent = false;
        for part in property.value().split(';').filter(|part| !part.trim().is_empty()) {
            let bad = || property.fault(FaultKind::BadRule { part: brief(part) });
            let (name, text) = part.trim().split_once('=').ok_or_else(bad)?;
            let text = text.trim();
            let read = match name.to_ascii_uppercase().as_str() {
                "FREQ" => frequency(text).map(|frequency| {
                    frequent = true;
                    rule.frequency = frequency;
                }),
                "INTERVAL" => positive(text).map(|interval| rule.interval = i64::from(interval)),
                "COUNT" => positive(text).map(|count| rule.count = Some(u64::from(count))),
                "UNTIL" => {
                    rule.until = Some(value::plain(property, text)?);
                    Some(())
                }
                "BYMONTH" => numbers(text, 12, false, &mut rule.months),
                "BYWEEKNO" => numbers(text, 53, true, &mut rule.weeks),
                "BYYEARDAY" => numbers(text, 366, true, &mut rule.year_days),
                "BYMONTHDAY" => numbers(text, 31, true, &mut rule.month_days),
                "BYSETPOS" => numbers(text, 366, true, &mut rule.positions),
                "BYDAY" => weekdays(text, &mut rule.weekdays),
                "WKST" => weekday(text).map(|day| rule.week_start = day),
                "BYHOUR" => same(text, time.hour()),
                "BYMINUTE" => same(text, time.minute()),
                "BYSECOND" => same(text, time.second()),
                _ => None,
            };
            read.ok_or_else(bad)?;
        }
        // Which of the weekdays of a day or a week is nothing that can be said.
        let numbered = rule.weekdays.iter().any(|(_, nth)| !nth.is_empty());
        let short = matches!(rule.frequency, Frequency::Daily | Frequency::Weekly);
        if !frequent || numbered && (short || !rule.weeks.is_empty()) {
            let part = brief(property.value());
            return Err(property.fault(FaultKind::BadRule { part }));
        }
        rule.complete(start.date());
        Ok(rule)
    }

    /// What a rule does not say, its start does.
    fn complete(&mut self, start: Date) {
        let no_days = self.month_days.is_empty() && self.year_days.is_empty() && !self.has_weekdays();
        let (month, day) = (i32::from(start.month()), i32::from(start.day()));
        match self.frequency {
            Frequency::Yearly if no_days && self.weeks.is_empty() => {
                if self.months.is_empty() {
                    self.months.insert(month);
                }
                self.month_days.insert(day);
            }
            Frequency::Monthly if no_days => self.month_days.insert(day),
            Frequency::Weekly | Frequency::Yearly if no_days => self.weekdays[index(start.weekday())].0 = true,
            Frequency::Daily | Frequency::Weekly | Frequency::Monthly | Frequency::Yearly => {}
        }
    }
}

/// From Monday, 0.
pub(super) fn index(day: Weekday) -> usize {
    usize::from(day.to_monday_zero_offset().unsigned_abs())
}

fn frequency(text: &str) -> Option<Frequency> {
    match text.to_ascii_uppercase().as_str() {
        "DAILY" => Some(Frequency::Daily),
        "WEEKLY" => Some(Frequency::Weekly),
        "MONTHLY" => Some(Frequency::Monthly),
        "YEARLY" => Some(Frequency::Yearly),
        _ => None,
    }
}

fn positive(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| plain && *number > 0)
}

/// A list of numbers up to `most`, and down to as much below zero.
fn numbers(text: &str, most: i32, negative: bool, into: &mut Numbers) -> Option<()> {
    for item in text.split(',') {
        let number: i32 = item.trim().parse().ok()?;
        let least = if negative { -most } else { 1 };
        if number == 0 || !(least..=most).contains(&number) {
            return None;
        }
        into.insert(number);
    }
    Some(())
}

/// `MO,WE`, `2TU`, `-1FR`.
fn weekdays(text: &str, into: &mut [(bool, Numbers); 7]) -> Option<()> {
    for item in text.split(',') {
        let item = item.trim();
        let (number, name) = item.split_at_checked(item.len().checked_sub(2)?)?;
        let (every, nth) = &mut into[index(weekday(name)?)];
        if number.is_empty() {
            *every = true;
        } else {
            numbers(number, 53, true, nth)?;
        }
    }
    Some(())
}

fn weekday(text: &str) -> Option<Weekday> {
    let names = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];
    let index = names.iter().position(|name| name.eq_ignore_ascii_case(text))?;
    Weekday::from_monday_zero_offset(i8::try_from(index).ok()?).ok()
}

fn same(text: &str, value: i8) -> Option<()> {
    (text.parse() == Ok(value)).then_some(())
}
