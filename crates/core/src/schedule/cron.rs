//! The compiled form of a cron expression: bit masks, searched in civil time.

use std::sync::LazyLock;

use croner::parser::CronParser;

use super::civil::{DAY, date_from_days, days_from_date, days_in_month, next_bit, weekday};
use super::dialect::{self, Reading};
use super::error::{CronError, CronErrorKind, CronField};
use super::walk::{self, DstRule};
use super::zone::Zone;
use crate::time::Timestamp;

// croner's bits for the modifiers of a value.
const PLAIN_BIT: u8 = 1;
const FIRST_NTH_BIT: u8 = 1 << 1;
const LAST_BIT: u8 = 1 << 6;
const NEAREST_BIT: u8 = 1 << 7;

/// The calendar repeats after this many years, weekdays included: what does not happen in them never does.
const CYCLE: i64 = 400;
const YEAR_MIN: i64 = CronField::Year.bounds().0 as i64;
const YEAR_MAX: i64 = 9999;
const YEAR_WORDS: usize = (CronField::Year.bounds().1 as usize - YEAR_MIN as usize) / 64 + 1;

static PARSER: LazyLock<CronParser> = LazyLock::new(CronParser::new);

/// A cron expression, ready to be searched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cron {
    seconds: u64,
    minutes: u64,
    hours: u32,
    days: u32,
    /// Days whose nearest weekday is meant (`15W`).
    nearest: u32,
    months: u16,
    weekdays: u8,
    /// Weekdays that are meant only the n-th time in a month (`1#2`).
    nth: [u8; 5],
    /// Weekdays that are meant only the last time in a month (`5L`).
    last: u8,
    flags: u8,
    /// The years from 1970 on, one bit each, unless all are meant.
    years: Option<Box<[u64; YEAR_WORDS]>>,
}

const LAST_DAY: u8 = 1;
const LAST_WEEKDAY: u8 = 1 << 1;
const ANY_DAY: u8 = 1 << 2;
const ANY_WEEKDAY: u8 = 1 << 3;
const BOTH: u8 = 1 << 4;
const FIXED: u8 = 1 << 5;

impl Cron {
    /// Reads an expression of five fields, of six with seconds first, or of seven with the year last; or one of the words
    /// `@yearly @annually @monthly @weekly @daily @midnight @hourly`.
    ///
    /// # Errors
    /// [`CronError`] says what is wrong, where, and how to put it right.
    pub fn parse(expr: &str) -> Result<Cron, CronError> {
        let reading = dialect::read(expr)?;
        let refuse = |kind| CronError {
            kind,
            field: None,
            span: (0, expr.chars().count()),
        };
        let parsed = PARSER.parse(&reading.plain).map_err(|error| {
            refuse(CronErrorKind::Parser {
                message: error.to_string(),
            })
        })?;
        let cron = Cron::compile(&parsed.pattern, &reading);
        if cron.next_local(days_from_date(YEAR_MIN, 1, 1) * DAY).is_none() {
            let missing_day = if cron.flags & ANY_WEEKDAY != 0 && cron.flags & (LAST_DAY | LAST_WEEKDAY) == 0 {
                missing_day(cron.days | cron.nearest, cron.months)
            } else {
                None
            };
            return Err(CronError {
                span: reading.days_span,
                ..refuse(CronErrorKind::NeverFires { missing_day })
            });
        }
        Ok(cron)
    }

    fn compile(pattern: &croner::CronPattern, reading: &Reading) -> Cron {
        let bits = |values: Vec<u16>| values.into_iter().fold(0_u64, |bits, value| bits | 1 << value);
        // The casts keep all bits: croner bounds hours by 23, days by 31, months by 12; weekday 7 it has made 0.
        let weekdays = |bit| bits(pattern.days_of_week.get_set_values(bit)) as u8;
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let years = reading.years.then(|| {
            let mut years = Box::new([0; YEAR_WORDS]);
            for year in pattern.years.values() {
                if let Some(index) = usize::from(year).checked_sub(YEAR_MIN as usize) {
                    years[index / 64] |= 1 << (index % 64);
                }
            }
            years
        });
        Cron {
            seconds: bits(pattern.seconds.values()),
            minutes: bits(pattern.minutes.values()),
            hours: bits(pattern.hours.values()) as u32,
            days: bits(pattern.days.get_set_values(PLAIN_BIT)) as u32,
            nearest: bits(pattern.days.get_set_values(NEAREST_BIT)) as u32,
            months: bits(pattern.months.values()) as u16,
            weekdays: weekdays(PLAIN_BIT),
            nth: std::array::from_fn(|n| weekdays(FIRST_NTH_BIT << n)),
            last: weekdays(LAST_BIT),
            // croner keeps `L,LW` as if it were `LW`, so these two come from our own reading.
            flags: flag(reading.last_day, LAST_DAY)
                | flag(reading.last_weekday, LAST_WEEKDAY)
                | flag(pattern.is_dom_wildcard(), ANY_DAY)
                | flag(pattern.is_dow_wildcard(), ANY_WEEKDAY)
                | flag(pattern.matches_dom_and_dow(), BOTH)
                | flag(reading.fixed, FIXED),
            years,
        }
    }

    /// The first fire time strictly later than `after`, by the default rule for daylight saving.
    #[must_use]
    pub fn next_after(&self, zone: &Zone, after: Timestamp) -> Option<Timestamp> {
        self.next_after_by(zone, DstRule::default(), after)
    }

    /// The first fire time strictly later than `after`, by the given rule for daylight saving.
    #[must_use]
    pub fn next_after_by(&self, zone: &Zone, rule: DstRule, after: Timestamp) -> Option<Timestamp> {
        walk::next_after(self, zone, rule, after.as_second()).map(Timestamp::from_second)
    }

    /// Whether the expression names times of day: none of its second, minute and hour fields begins with `*`.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        self.flags & FIXED != 0
    }

    /// Whether both day fields are restricted, and a day that matches either of them is meant.
    pub(super) fn either_day(&self) -> bool {
        self.flags & (ANY_DAY | ANY_WEEKDAY | BOTH) == 0
    }

    pub(super) fn second_mask(&self) -> u64 {
        self.seconds
    }

    pub(super) fn minute_mask(&self) -> u64 {
        self.minutes
    }

    pub(super) fn hour_mask(&self) -> u32 {
        self.hours
    }

    /// The earliest day of a month that is meant, if only plain days of the month decide.
    pub(super) fn first_plain_day(&self) -> Option<u32> {
        let only_days = self.flags & ANY_WEEKDAY != 0 || self.flags & BOTH != 0;
        let plain = only_days && self.flags & (ANY_DAY | LAST_DAY | LAST_WEEKDAY) == 0 && self.nearest == 0;
        plain.then_some(self.days.trailing_zeros())
    }

    /// Whether February is the only month meant.
    pub(super) fn only_february(&self) -> bool {
        self.months == 1 << 2
    }

    /// Whether some month that is meant has no such day.
    pub(super) fn skips_months(&self, first_day: u32) -> bool {
        (1..=12).any(|month| self.months >> month & 1 == 1 && days_in_month(2001, month) < first_day)
    }

    /// The first matching local second at or after `from`.
    ///
    /// Bounded: a calendar of 400 years is searched, or the years of the year field.
    pub(super) fn next_local(&self, from: i64) -> Option<i64> {
        let (first_year, first_month, first_day) = date_from_days(from.div_euclid(DAY));
        let (mut year, mut month, mut day) = (first_year, first_month, first_day);
        let mut time = self.time_of_day(from.rem_euclid(DAY) as u32);
        if time.is_none() {
            day += 1;
        }
        let last_year = first_year.saturating_add(CYCLE).min(YEAR_MAX);
        loop {
            let wanted = self.next_year(year)?;
            if wanted > last_year && self.years.is_none() || wanted > YEAR_MAX {
                return None;
            }
            if wanted != year {
                (year, month, day) = (wanted, 1, 1);
            }
            while let Some(wanted) = next_bit(u64::from(self.months), month) {
                if wanted != month {
                    (month, day) = (wanted, 1);
                }
                if let Some(found) = next_bit(u64::from(self.days_of(year, month)), day) {
                    if (year, month, found) != (first_year, first_month, first_day) {
                        time = None;
                    }
                    let time = time.unwrap_or_else(|| self.first_time());
                    return Some(days_from_date(year, month, found) * DAY + i64::from(time));
                }
                (month, day) = (month + 1, 1);
            }
            (year, month, day) = (year + 1, 1, 1);
        }
    }

    /// The first matching year at or after this one.
    fn next_year(&self, year: i64) -> Option<i64> {
        let Some(years) = &self.years else {
            return Some(year);
        };
        let index = usize::try_from((year - YEAR_MIN).max(0)).ok()?;
        let mut from = (index % 64) as u32;
        for (word, bits) in years.iter().enumerate().skip(index / 64) {
            if let Some(bit) = next_bit(*bits, from) {
                return Some(YEAR_MIN + word as i64 * 64 + i64::from(bit));
            }
            from = 0;
        }
        None
    }

    /// The first matching second of a day.
    fn first_time(&self) -> u32 {
        self.hours.trailing_zeros() * 3600 + self.minutes.trailing_zeros() * 60 + self.seconds.trailing_zeros()
    }

    /// The first matching second of a day at or after this one.
    fn time_of_day(&self, from: u32) -> Option<u32> {
        let (hour, minute, second) = (from / 3600, from / 60 % 60, from % 60);
        let (hours, first_second) = (u64::from(self.hours), self.seconds.trailing_zeros());
        if hours >> hour & 1 == 1 {
            if self.minutes >> minute & 1 == 1
                && let Some(second) = next_bit(self.seconds, second)
            {
                return Some(hour * 3600 + minute * 60 + second);
            }
            if let Some(minute) = next_bit(self.minutes, minute + 1) {
                return Some(hour * 3600 + minute * 60 + first_second);
            }
        }
        let hour = next_bit(hours, hour + 1)?;
        Some(hour * 3600 + self.minutes.trailing_zeros() * 60 + first_second)
    }

    /// The matching days of a month, bit 1 for the first.
    fn days_of(&self, year: i64, month: u32) -> u32 {
        let length = days_in_month(year, month);
        let all = (((1_u64 << length) - 1) << 1) as u32;
        match (self.flags & ANY_DAY != 0, self.flags & ANY_WEEKDAY != 0) {
            (true, true) => all,
            (false, true) => all & self.by_day(year, month, length),
            (true, false) => all & self.by_weekday(year, month, length),
            (false, false) => {
                let (by_day, by_weekday) = (self.by_day(year, month, length), self.by_weekday(year, month, length));
                all & if self.flags & BOTH != 0 {
                    by_day & by_weekday
                } else {
                    by_day | by_weekday
                }
            }
        }
    }

    fn by_day(&self, year: i64, month: u32, length: u32) -> u32 {
        let mut days = self.days;
        if self.flags & LAST_DAY != 0 {
            days |= 1 << length;
        }
        if self.nearest == 0 && self.flags & LAST_WEEKDAY == 0 {
            return days;
        }
        let before_first = weekday(days_from_date(year, month, 1)) + 6;
        if self.flags & LAST_WEEKDAY != 0 {
            days |= 1
                << match (before_first + length) % 7 {
                    6 => length - 1,
                    0 => length - 2,
                    _ => length,
                };
        }
        let mut nearest = self.nearest;
        while nearest != 0 {
            let day = nearest.trailing_zeros();
            nearest &= nearest - 1;
            if day > length {
                continue;
            }
            // The nearest weekday never leaves the month.
            days |= 1
                << match (before_first + day) % 7 {
                    6 if day == 1 => 3,
                    6 => day - 1,
                    0 if day == length => day - 2,
                    0 => day + 1,
                    _ => day,
                };
        }
        days
    }

    fn by_weekday(&self, year: i64, month: u32, length: u32) -> u32 {
        let first = weekday(days_from_date(year, month, 1));
        let mut days = 0_u32;
        for weekday in 0..7 {
            let once = 1 + (weekday + 7 - first) % 7;
            let weekly = (0x1020_4081_u64 << once) as u32;
            if self.weekdays >> weekday & 1 == 1 {
                days |= weekly;
            }
            for (n, which) in self.nth.iter().enumerate() {
                let day = once + 7 * n as u32;
                if which >> weekday & 1 == 1 && day <= length {
                    days |= 1 << day;
                }
            }
            if self.last >> weekday & 1 == 1 {
                days |= 1 << (once + (length - once) / 7 * 7);
            }
        }
        days
    }
}

/// Which day of which months there never is, if that is why an expression never fires: the day and the months' most days.
fn missing_day(days: u32, months: u16) -> Option<(u32, u32)> {
    let first = (days != 0).then(|| days.trailing_zeros())?;
    let longest = (1..=12)
        .filter(|month| months >> month & 1 == 1)
        .map(|month| days_in_month(2000, month))
        .max()?;
    (first > longest).then_some((first, longest))
}

mod count;

#[cfg(test)]
mod tests;
