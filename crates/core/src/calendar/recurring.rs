//! Rules as bit masks: which days of a month they cover.

use crate::schedule::civil::{date_from_days, days_from_date, days_in_month, next_bit, weekday};

use super::rule::{Kind, Nth, Rule};

/// Days of the week, bit 0 = Sunday.
type Week = u8;
/// Days of a month, bit 0 = the first.
type Days = u32;

/// What a set of rules covers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Recurring {
    weekdays: Week,
    /// By month and [`Nth`].
    nth: [[Week; 6]; 12],
    yearly: [Days; 12],
    /// Distances from Easter, sorted.
    easter: Vec<i16>,
}

impl Recurring {
    pub fn new(rules: &[Rule]) -> Self {
        let mut all = Recurring::default();
        for rule in rules {
            match rule.0 {
                Kind::Weekends => all.weekdays |= 1 | 1 << 6,
                Kind::Weekday(day) => all.weekdays |= day.bit(),
                Kind::Nth { nth, weekday, month } => {
                    let months = match month {
                        Some(month) => month - 1..month,
                        None => 0..12,
                    };
                    for month in months {
                        all.nth[usize::from(month)][nth.index()] |= weekday.bit();
                    }
                }
                Kind::Easter { offset } => all.easter.push(offset),
                Kind::Yearly { month, day } => all.yearly[usize::from(month) - 1] |= 1 << (day - 1),
            }
        }
        all.easter.sort_unstable();
        all
    }

    /// Whether a day is covered.
    pub fn covers(&self, day: i64) -> bool {
        let (year, month, of_month) = date_from_days(day);
        self.month(year, month) >> (of_month - 1) & 1 == 1
    }

    /// The first day from `from` on, and before `until`, that is covered, or that is not if `covered` is false.
    pub fn next(&self, from: i64, until: i64, covered: bool) -> Option<i64> {
        let (mut year, mut month, of_month) = date_from_days(from);
        let mut skipped = of_month - 1;
        let mut first = from - i64::from(skipped);
        while first < until {
            let mask = self.month(year, month);
            let wanted = if covered { mask } else { !mask & all_days(year, month) };
            if let Some(bit) = next_bit(u64::from(wanted), skipped) {
                return Some(first + i64::from(bit)).filter(|day| *day < until);
            }
            first += i64::from(days_in_month(year, month));
            skipped = 0;
            (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
        }
        None
    }

    /// The covered days of a month.
    fn month(&self, year: i64, month: u32) -> Days {
        let first = days_from_date(year, month, 1);
        let length = days_in_month(year, month);
        let opening = weekday(first);
        let index = month as usize - 1;
        let mut days = self.yearly[index];
        let nth = &self.nth[index];
        // Of the fifth week, all that does not fit into the month falls off in the end.
        for (week, weekdays) in (0..5).zip(nth) {
            days |= starting_on(opening, self.weekdays | *weekdays) << (7 * week);
        }
        let last_week = length - 7;
        let opening = weekday(first + i64::from(last_week));
        days |= starting_on(opening, nth[Nth::Last.index()]) << last_week;
        if !self.easter.is_empty() {
            let sunday = easter(year);
            let from = self
                .easter
                .partition_point(|offset| sunday + i64::from(*offset) < first);
            for offset in &self.easter[from..] {
                let of_month = sunday + i64::from(*offset) - first;
                if of_month >= i64::from(length) {
                    break;
                }
                days |= 1 << of_month;
            }
        }
        days & all_days(year, month)
    }
}

fn all_days(year: i64, month: u32) -> Days {
    Days::MAX >> (32 - days_in_month(year, month))
}

/// The days of a week that begins with the weekday `opening`: bit 0 is that day.
fn starting_on(opening: u32, weekdays: Week) -> Days {
    let twice = Days::from(weekdays) << 7 | Days::from(weekdays);
    twice >> opening & 0x7f
}

/// Easter Sunday of the Gregorian calendar, in days since 1970-01-01.
///
/// The algorithm is the anonymous one in Nature of 1876-04-20, as J. Meeus gives it in Astronomical Algorithms (1991), chapter 8.
pub(super) const fn easter(year: i64) -> i64 {
    let golden = year.rem_euclid(19);
    let (century, of_century) = (year.div_euclid(100), year.rem_euclid(100));
    let (leaps, common) = (century.div_euclid(4), century.rem_euclid(4));
    let lunar_correction = (century - (century + 8).div_euclid(25) + 1).div_euclid(3);
    let epact = (19 * golden + century - leaps - lunar_correction + 15).rem_euclid(30);
    let to_sunday = (32 + 2 * common + 2 * (of_century / 4) - epact - of_century % 4).rem_euclid(7);
    let late = (golden + 11 * epact + 22 * to_sunday) / 451;
    let from_march = epact + to_sunday - 7 * late + 114;
    days_from_date(year, (from_march / 31) as u32, (from_march % 31) as u32 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D. E. Knuth, The Art of Computer Programming, volume 1, section 1.3.2, exercise 14.
    fn knuth(year: i64) -> i64 {
        let golden = year % 19 + 1;
        let century = year / 100 + 1;
        let solar = 3 * century / 4 - 12;
        let lunar = (8 * century + 5) / 25 - 5;
        let sunday = 5 * year / 4 - solar - 10;
        let mut epact = (11 * golden + 20 + lunar - solar).rem_euclid(30);
        if epact == 25 && golden > 11 || epact == 24 {
            epact += 1;
        }
        let mut full_moon = 44 - epact;
        if full_moon < 21 {
            full_moon += 30;
        }
        full_moon += 7 - (sunday + full_moon) % 7;
        days_from_date(year, 3, 1) + full_moon - 1
    }

    #[test]
    fn easter_is_that_of_the_tables_and_of_another_algorithm() {
        for (year, month, day) in [
            (1818, 3, 22),
            (1943, 4, 25),
            (1961, 4, 2),
            (2008, 3, 23),
            (2024, 3, 31),
            (2025, 4, 20),
            (2026, 4, 5),
            (2038, 4, 25),
            (2049, 4, 18),
        ] {
            assert_eq!(easter(year), days_from_date(year, month, day), "{year}");
        }
        for year in 1583..=9999 {
            assert_eq!(easter(year), knuth(year), "{year}");
        }
    }

    #[test]
    fn a_distance_from_easter_stays_in_its_year() {
        for year in 1970..=9999 {
            let (first, last) = (Rule::EASTER_OFFSETS.start(), Rule::EASTER_OFFSETS.end());
            for offset in [*first, *last] {
                assert_eq!(date_from_days(easter(year) + i64::from(offset)).0, year, "{offset}");
            }
        }
    }
}
