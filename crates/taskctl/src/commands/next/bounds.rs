//! Days of a month and minutes of a day as instants of a zone, and the changes of its clocks.

use jiff::Timestamp as Instant;
use jiff::civil::{Date, Time};
use jiff::tz::{Offset, TimeZone};
use taskd_core::Timestamp;

/// Most minutes of a day that is shown: those of the longest there is today, with 26 hours (Antarctica/Troll). Alaska once
/// had one of 48.
pub const MINUTES_MAX: usize = 26 * 60;

/// Most changes of the clock that are told of.
const CHANGES_MAX: usize = 16;

/// A minute of a day; one that a change of the clock breaks off is shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minute {
    /// When it begins.
    pub at: Timestamp,
    /// What the clock shows.
    pub time: Time,
    /// By which offset.
    pub offset: Offset,
}

/// The first instants of the days of a month, and that of the next month. A day that clocks skip begins with the next.
pub fn days(zone: &TimeZone, month: Date) -> Vec<Timestamp> {
    let day = |n: i8| month.checked_add(jiff::Span::new().days(n)).unwrap_or(Date::MAX);
    (0..=month.days_in_month()).map(|n| beginning(zone, day(n))).collect()
}

/// The minutes of a day, and when it ends. There are none in a day that clocks skip; `None` where there are too many.
pub fn minutes(zone: &TimeZone, day: Date) -> Option<(Vec<Minute>, Timestamp)> {
    let (start, end) = (
        beginning(zone, day),
        beginning(zone, day.tomorrow().unwrap_or(Date::MAX)),
    );
    let changes = changes(zone, start, end);
    let mut minutes = Vec::with_capacity(24 * 60);
    let mut at = start.as_second();
    while at < end.as_second() {
        if minutes.len() == MINUTES_MAX {
            return None;
        }
        let (offset, time) = clock(zone, Timestamp::from_second(at));
        let whole = at + 60 - i64::from(time.second());
        minutes.push(Minute {
            at: Timestamp::from_second(at),
            time,
            offset,
        });
        let change = changes
            .iter()
            .map(|change| change.at.as_second())
            .find(|change| *change > at);
        at = change.map_or(whole, |change| change.min(whole));
    }
    Some((minutes, end))
}

/// What the clock of a zone shows.
pub fn clock(zone: &TimeZone, at: Timestamp) -> (Offset, Time) {
    let at = at.to_jiff();
    let offset = zone.to_offset(at);
    (offset, offset.to_datetime(at).time())
}

/// The day of an instant.
pub fn day_of(zone: &TimeZone, at: Timestamp) -> Date {
    let at = at.to_jiff();
    zone.to_offset(at).to_datetime(at).date()
}

fn beginning(zone: &TimeZone, day: Date) -> Timestamp {
    // OK to clamp: months and days are accepted only in years that every zone can show.
    let zoned = day.to_zoned(zone.clone()).map(|zoned| zoned.timestamp());
    Timestamp::from_jiff(zoned.unwrap_or(Instant::MAX))
}

/// A change of the clocks of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The first instant with the new offset.
    pub at: Timestamp,
    /// The day, as clocks show it then.
    pub on: Date,
    old: Offset,
    new: Offset,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Change { on, old, new, .. } = self;
        write!(f, "clocks change on {on}, from UTC{old} to UTC{new}")
    }
}

/// The changes of a zone's offset from one instant on and before another.
pub fn changes(zone: &TimeZone, from: Timestamp, until: Timestamp) -> Vec<Change> {
    let before = Timestamp::from_second(from.as_second() - 1).to_jiff();
    let mut old = zone.to_offset(before);
    let mut changes = Vec::new();
    for transition in zone.following(before).take(CHANGES_MAX) {
        let at = Timestamp::from_jiff(transition.timestamp());
        if at >= until {
            break;
        }
        let new = transition.offset();
        if new != old {
            let on = day_of(zone, at);
            changes.push(Change { at, on, old, new });
            old = new;
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).expect("a zone of every system")
    }

    fn count(name: &str, day: Date) -> Option<usize> {
        minutes(&zone(name), day).map(|(minutes, _)| minutes.len())
    }

    #[test]
    fn a_day_has_the_minutes_that_clocks_show() {
        assert_eq!(count("Europe/Berlin", date(2027, 3, 27)), Some(24 * 60));
        assert_eq!(count("Europe/Berlin", date(2027, 3, 28)), Some(23 * 60));
        assert_eq!(count("Europe/Berlin", date(2027, 10, 31)), Some(25 * 60));
        assert_eq!(count("Australia/Lord_Howe", date(2027, 4, 4)), Some(24 * 60 + 30));
        assert_eq!(count("Asia/Kathmandu", date(2027, 4, 4)), Some(24 * 60));
        assert_eq!(count("Antarctica/Troll", date(2023, 10, 29)), Some(MINUTES_MAX));
        assert_eq!(count("Pacific/Apia", date(2011, 12, 30)), Some(0));
        assert_eq!(count("America/Juneau", date(1867, 10, 19)), None);
    }

    #[test]
    fn a_minute_begins_where_the_clock_says_so() {
        // Local mean time was 53 minutes and 28 seconds ahead; the change leaves a part of a minute.
        let (minutes, end) = minutes(&zone("Europe/Berlin"), date(1893, 4, 1)).expect("it is short");
        assert_eq!(minutes.last().expect("it has some").time.to_string(), "23:59:00");
        assert!(
            minutes
                .iter()
                .all(|minute| minute.time.second() == 0 || minute.at == minutes[0].at)
        );
        assert!(minutes.windows(2).all(|two| two[0].at < two[1].at) && minutes[0].at < end);
    }

    #[test]
    fn a_month_has_its_days_and_a_skipped_one_no_time() {
        let berlin = days(&zone("Europe/Berlin"), date(2027, 3, 1));
        assert_eq!(berlin.len(), 32);
        let hours = |n: usize| berlin[n + 1].since(berlin[n]).as_secs() / 3600;
        assert_eq!((hours(26), hours(27), hours(28)), (24, 23, 24));
        assert_eq!(days(&zone("UTC"), date(2028, 2, 1)).len(), 30, "a leap year");
        let apia = days(&zone("Pacific/Apia"), date(2011, 12, 1));
        assert_eq!(apia[29], apia[30], "the thirtieth");
        assert!(apia.is_sorted());
    }

    #[test]
    fn changes_are_told_with_their_day() {
        let berlin = zone("Europe/Berlin");
        let days = days(&berlin, date(2027, 3, 1));
        let [change] = changes(&berlin, days[0], days[31])[..] else {
            panic!("one change");
        };
        assert_eq!(change.to_string(), "clocks change on 2027-03-28, from UTC+01 to UTC+02");
        assert_eq!(changes(&berlin, change.at, days[31]), [change]);
        assert_eq!(changes(&berlin, days[0], change.at), []);
    }
}
