//! How often an expression matches in a span of local time: its matching days times its times of day, without a search for
//! each.

use super::Cron;
use crate::schedule::civil::{DAY, date_from_days, days_from_date, previous_bit};

/// The matching local times of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::schedule) struct Matches {
    /// At least one.
    pub count: u64,
    /// The last of them, in seconds.
    pub last: i64,
}

impl Cron {
    /// How many times of day it names: so often it fires at most on a day without a change of the clock.
    #[must_use]
    pub fn times_of_day(&self) -> u64 {
        let of = |mask: u64| u64::from(mask.count_ones());
        of(self.seconds) * of(self.minutes) * of(u64::from(self.hours))
    }

    /// The matching local seconds from `from` on and before `until`, or `None` if there are none. Each month is looked at once.
    pub(in crate::schedule) fn matches_between(&self, from: i64, until: i64) -> Option<Matches> {
        if from >= until {
            return None;
        }
        let (first_day, from) = (from.div_euclid(DAY), from.rem_euclid(DAY) as u32);
        let (last_day, until) = (until.div_euclid(DAY), until.rem_euclid(DAY) as u32);
        let (days, latest) = self.days_between(first_day, last_day);
        let on_last = self.times_before(until) * u64::from(self.matches_day(last_day));
        let too_early = self.times_before(from) * u64::from(self.matches_day(first_day));
        let count = days * self.times_before(DAY as u32) + on_last - too_early;
        if count == 0 {
            return None;
        }
        let (day, until) = if on_last > 0 {
            (last_day, until)
        } else {
            (latest?, DAY as u32)
        };
        let last = day * DAY + i64::from(self.last_time_before(until)?);
        Some(Matches { count, last })
    }

    /// How many days match from day `from` on and before day `until`, and the last of them.
    fn days_between(&self, from: i64, until: i64) -> (u64, Option<i64>) {
        if from >= until {
            return (0, None);
        }
        let (mut count, mut latest) = (0, None);
        let (first, last) = (date_from_days(from), date_from_days(until - 1));
        let mut next = self.next_year(first.0);
        while let Some(year) = next.filter(|year| *year <= last.0) {
            let from_month = if year == first.0 { first.1 } else { 1 };
            let to_month = if year == last.0 { last.1 } else { 12 };
            let mut months = u32::from(self.months) & bits(from_month, to_month);
            while months != 0 {
                let month = months.trailing_zeros();
                months &= months - 1;
                let from_day = if (year, month) == (first.0, first.1) {
                    first.2
                } else {
                    1
                };
                let to_day = if (year, month) == (last.0, last.1) { last.2 } else { 31 };
                let days = self.days_of(year, month) & bits(from_day, to_day);
                if let Some(day) = days.checked_ilog2() {
                    count += u64::from(days.count_ones());
                    latest = Some((year, month, day));
                }
            }
            next = self.next_year(year + 1);
        }
        (count, latest.map(|(year, month, day)| days_from_date(year, month, day)))
    }

    fn matches_day(&self, day: i64) -> bool {
        let (year, month, day) = date_from_days(day);
        self.next_year(year) == Some(year) && self.months >> month & 1 == 1 && self.days_of(year, month) >> day & 1 == 1
    }

    /// How many matching seconds a day has before this one.
    fn times_before(&self, until: u32) -> u64 {
        let (hour, minute, second) = (until / 3600, until / 60 % 60, until % 60);
        let hours = u64::from(self.hours);
        let below = |mask: u64, bit: u32| u64::from((mask & ((1 << bit) - 1)).count_ones());
        let (minutes, seconds) = (below(self.minutes, 60), below(self.seconds, 60));
        let in_minute = (self.minutes >> minute & 1) * below(self.seconds, second);
        let in_hour = (hours >> hour & 1) * (below(self.minutes, minute) * seconds + in_minute);
        below(hours, hour) * minutes * seconds + in_hour
    }

    /// The last matching second of a day before this one.
    fn last_time_before(&self, until: u32) -> Option<u32> {
        let (hour, minute, second) = (until / 3600, until / 60 % 60, until % 60);
        let hours = u64::from(self.hours);
        let last_second = self.seconds.checked_ilog2()?;
        if hours >> hour & 1 == 1 {
            if self.minutes >> minute & 1 == 1
                && let Some(second) = previous_bit(self.seconds, second)
            {
                return Some(hour * 3600 + minute * 60 + second);
            }
            if let Some(minute) = previous_bit(self.minutes, minute) {
                return Some(hour * 3600 + minute * 60 + last_second);
            }
        }
        let hour = previous_bit(hours, hour)?;
        Some(hour * 3600 + self.minutes.checked_ilog2()? * 60 + last_second)
    }
}

/// The bits from one to another of at most 31.
fn bits(from: u32, to: u32) -> u32 {
    u32::MAX << from & u32::MAX >> (31 - to)
}
