//! From a recurrence rule to its days.
//!
//! A rule is a sequence of periods (days, weeks, months or years), each `interval` after the one before. All days of a period are
//! tried, those that every part of the rule allows are its set, and `BYSETPOS` picks from the set. Without a `COUNT`, periods
//! before the days that are asked for are not looked at.

use std::ops::ControlFlow;

use jiff::ToSpan;
use jiff::civil::{Date, Weekday};

use super::recur::{Frequency, Recurrence, index};

/// How many days may be tried for all rules of a file.
pub(super) const WORK_MAX: u64 = 8_000_000;

/// All days that may be tried have been.
pub(super) struct TooMuch;

/// What is left of the days that may be tried.
pub(super) struct Budget(pub u64);

impl Budget {
    pub fn spend(&mut self, days: u64) -> Result<(), TooMuch> {
        self.0 = self.0.checked_sub(days).ok_or(TooMuch)?;
        Ok(())
    }
}

/// Hands out the days of a rule in order, from `from` until before `until`, as long as `each` wants more. The start is always
/// among them, and counted. Tells whether the rule goes on after `until`, as far as its count says.
pub(super) fn expand(
    rule: &Recurrence,
    start: Date,
    (from, until): (Date, Date),
    budget: &mut Budget,
    mut each: impl FnMut(Date) -> ControlFlow<()>,
) -> Result<bool, TooMuch> {
    let mut left = rule.count.unwrap_or(u64::MAX);
    let mut hand_out = |date: Date| {
        left -= 1;
        let stop = date >= from && each(date).is_break();
        if stop || left == 0 {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    };
    if start < until && hand_out(start).is_break() {
        return Ok(false);
    }
    let mut number = match rule.count {
        Some(_) => 0,
        None => periods_between(rule, start, from),
    };
    let mut days = Vec::new();
    while let Some((first, last)) = period(rule, start, number).filter(|(first, _)| *first < until) {
        days.clear();
        set(rule, first, last, budget, &mut days)?;
        let picked = days.len();
        for (place, date) in days.iter().enumerate() {
            // A year has 366 days at most, so the casts fit.
            let wanted = rule.positions.is_empty() || rule.positions.picks(place as i32 + 1, picked as i32);
            if !wanted || *date <= start {
                continue;
            }
            if *date >= until {
                return Ok(true);
            }
            if hand_out(*date).is_break() {
                return Ok(false);
            }
        }
        number += rule.interval;
    }
    Ok(true)
}

/// The periods from the start that end before `from`, as a multiple of the interval.
fn periods_between(rule: &Recurrence, start: Date, from: Date) -> i64 {
    let days = i64::from((from - start).get_days()).max(0);
    let months = i64::from(from.year() - start.year()) * 12 + i64::from(from.month()) - i64::from(start.month());
    let passed = match rule.frequency {
        Frequency::Daily => days,
        Frequency::Weekly => days / 7,
        Frequency::Monthly => months,
        Frequency::Yearly => months.div_euclid(12),
    };
    passed.max(0) / rule.interval * rule.interval
}

/// The first and the last day of the period with this number, the one of the start being 0.
fn period(rule: &Recurrence, start: Date, number: i64) -> Option<(Date, Date)> {
    match rule.frequency {
        Frequency::Daily => {
            let day = start.checked_add(number.days_checked()?).ok()?;
            Some((day, day))
        }
        Frequency::Weekly => {
            let into = start.weekday().since(rule.week_start);
            let first = start
                .checked_sub(i64::from(into).days())
                .ok()?
                .checked_add(number.checked_mul(7)?.days_checked()?)
                .ok()?;
            Some((first, first.checked_add(6.days()).unwrap_or(Date::MAX)))
        }
        Frequency::Monthly => {
            let month = i64::from(start.year()) * 12 + i64::from(start.month()) - 1 + number;
            let year = i16::try_from(month.div_euclid(12)).ok()?;
            // The remainder is of a month.
            let first = Date::new(year, month.rem_euclid(12) as i8 + 1, 1).ok()?;
            Some((first, first.last_of_month()))
        }
        Frequency::Yearly => {
            let year = i16::try_from(i64::from(start.year()) + number).ok()?;
            Some((Date::new(year, 1, 1).ok()?, Date::new(year, 12, 31).ok()?))
        }
    }
}

trait Days: Sized {
    /// So many days, if a span may have so many.
    fn days_checked(self) -> Option<jiff::Span>;
}

impl Days for i64 {
    fn days_checked(self) -> Option<jiff::Span> {
        jiff::Span::new().try_days(self).ok()
    }
}

/// The days of a period that all parts of the rule allow.
fn set(rule: &Recurrence, first: Date, last: Date, budget: &mut Budget, days: &mut Vec<Date>) -> Result<(), TooMuch> {
    // A period costs something even if no day of it is tried.
    budget.spend(1)?;
    let mut date = first;
    loop {
        if rule.months.is_empty() || rule.months.has(i32::from(date.month())) {
            budget.spend(1)?;
            if allows(rule, date) {
                days.push(date);
            }
        } else if date.last_of_month() < last {
            date = date.last_of_month();
        } else {
            return Ok(());
        }
        match date.tomorrow() {
            Ok(next) if next <= last => date = next,
            _ => return Ok(()),
        }
    }
}

/// Whether all parts of a rule but those for months and positions allow a day.
fn allows(rule: &Recurrence, date: Date) -> bool {
    let (day, month_length) = (i32::from(date.day()), i32::from(date.days_in_month()));
    let (year_day, year_length) = (i32::from(date.day_of_year()), i32::from(date.days_in_year()));
    if !rule.month_days.is_empty() && !rule.month_days.picks(day, month_length) {
        return false;
    }
    if !rule.year_days.is_empty() && !rule.year_days.picks(year_day, year_length) {
        return false;
    }
    if !rule.weeks.is_empty() {
        let (week, weeks) = week_of_year(date, rule.week_start);
        if !rule.weeks.picks(week, weeks) {
            return false;
        }
    }
    if !rule.has_weekdays() {
        return true;
    }
    let (every, nth) = &rule.weekdays[index(date.weekday())];
    // Of the month, unless a year without months is asked for.
    let (place, length) = match rule.frequency {
        Frequency::Yearly if rule.months.is_empty() => (year_day, year_length),
        Frequency::Daily | Frequency::Weekly | Frequency::Monthly | Frequency::Yearly => (day, month_length),
    };
    *every || nth.has((place - 1) / 7 + 1) || nth.has(-((length - place) / 7 + 1))
}

/// The number of a day's week, and how many weeks the year of that week has. Week 1 is the first with four days in its year.
fn week_of_year(date: Date, week_start: Weekday) -> (i32, i32) {
    // The fourth day of a week is in the year the week belongs to.
    let into = i32::from(date.weekday().since(week_start));
    let fourth = i32::from(date.day_of_year()) - into + 3;
    let length = |year: i16| if Date::new(year, 2, 29).is_ok() { 366 } else { 365 };
    let own = length(date.year());
    let (fourth, length) = if fourth < 1 {
        let before = length(date.year() - 1);
        (fourth + before, before)
    } else if fourth > own {
        (fourth - own, length(date.year() + 1))
    } else {
        (fourth, own)
    };
    let week = (fourth - 1) / 7 + 1;
    (week, week + (length - fourth) / 7)
}
