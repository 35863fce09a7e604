//! The Gregorian calendar in plain integers: days are counted from 1970-01-01, local seconds from its midnight.

/// The months in full, January first.
pub(crate) const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// The weekdays in full, as [`weekday`] counts them.
pub(crate) const WEEKDAYS: [&str; 7] = [
    "sunday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
];

/// Seconds of a civil day.
pub(crate) const DAY: i64 = 86_400;

/// Days from 1970-01-01 to the given date. Years are shifted to begin in March, so that the leap day is the last of them.
pub(crate) const fn days_from_date(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month as i64 + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day as i64 - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The date so many days after 1970-01-01, as year, month and day.
pub(crate) const fn date_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    } as u32;
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// How many days the month has.
pub(crate) const fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The weekday of a day, 0 = Sunday.
pub(crate) const fn weekday(days: i64) -> u32 {
    (days + 4).rem_euclid(7) as u32
}

/// The lowest bit set at or above `from`.
pub(crate) const fn next_bit(mask: u64, from: u32) -> Option<u32> {
    if from >= 64 || mask >> from == 0 {
        return None;
    }
    Some(from + (mask >> from).trailing_zeros())
}

/// The highest bit set below `until`, which is at most 63.
pub(super) const fn previous_bit(mask: u64, until: u32) -> Option<u32> {
    (mask & ((1 << until) - 1)).checked_ilog2()
}

/// `2026-03-29 02:30` or, with seconds that are not zero, `2026-03-29 02:30:15`.
pub(super) fn display_local(local: i64) -> String {
    let (year, month, day) = date_from_days(local.div_euclid(DAY));
    format!("{year:04}-{month:02}-{day:02} {}", display_time(local))
}

/// The time of day of a local second: `02:30` or `02:30:15`.
pub(crate) fn display_time(local: i64) -> String {
    let second = local.rem_euclid(DAY);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    if second == 0 {
        format!("{hour:02}:{minute:02}")
    } else {
        format!("{hour:02}:{minute:02}:{second:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_days_agree_with_jiff_over_four_centuries() {
        let start = jiff::civil::date(1969, 1, 1);
        let mut date = start;
        while date.year() < 2370 {
            let days = i64::from((date - jiff::civil::date(1970, 1, 1)).get_days());
            let (year, month, day) = (i64::from(date.year()), date.month() as u32, date.day() as u32);
            assert_eq!(days_from_date(year, month, day), days);
            assert_eq!(date_from_days(days), (year, month, day));
            assert_eq!(days_in_month(year, month), date.days_in_month() as u32);
            assert_eq!(weekday(days), date.weekday().to_sunday_zero_offset() as u32);
            date = date.tomorrow().unwrap();
        }
    }
}
