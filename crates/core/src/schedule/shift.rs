//! Fire times that move to an open day.
//!
//! A fire time on a day that a calendar covers is, at the same local time, one of the nearest day in a direction that none
//! covers; with no such day within a year there is none. What two of them come to is one. The search goes from open day to
//! open day: what belongs to one are the fire times of its own and of the covered days before it, or behind it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::Schedule;
use super::at::first_shown;
use super::civil::DAY;
use super::zone::Zone;
use crate::calendar::{Direction, Kept, OPEN_DAY_REACH};
use crate::time::Timestamp;

/// Most days that are counted.
const COUNTED_MAX: usize = 4_000;
/// Most open days that one search looks at.
const DAYS_MAX: usize = 1_000;
/// Longest closure that is looked over for the open day behind it: what comes of fire times does not depend on where one asks.
const CLOSED_MAX: i64 = 50 * 366;
/// Further back than any fire time comes from to the day it moves to.
const REACH: Duration = Duration::from_secs((OPEN_DAY_REACH as u64 + 2) * DAY as u64);

/// Longer than clocks are ever set back by.
const SET_BACK_MAX: Duration = Duration::from_secs(3 * 60 * 60);

/// The unit in which instants are told apart.
const INSTANT: Duration = Duration::from_millis(1);

/// Where fire times on covered days go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shift {
    /// The calendars whose days are covered.
    pub calendars: Vec<Arc<Kept>>,
    /// To a later day, or to an earlier one.
    pub direction: Direction,
    /// The zone whose days are meant.
    pub zone: Arc<Zone>,
}

/// The fire times that are to be moved, if they are: first after, and last between.
pub(super) trait Unmoved {
    /// The first strictly later than `after`.
    fn first_after(&self, after: Timestamp) -> Option<Timestamp>;
    /// The last later than `after` and not later than `until`.
    fn last_between(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp>;
}

impl Shift {
    /// The first moved fire time strictly later than `after`.
    pub(super) fn first_after(&self, unmoved: &impl Unmoved, after: Timestamp) -> Option<Timestamp> {
        // A day earlier, where clocks were set back over midnight.
        let mut day = self.open_from(self.day(after) - 1, CLOSED_MAX)?;
        for _ in 0..DAYS_MAX {
            let entangled = Some(day + 1).filter(|next| self.begins_twice(*next) && self.is_open(*next));
            let days = std::iter::once(day).chain(entangled);
            let of_days = days.flat_map(|day| self.of_day(unmoved, day));
            let found = of_days.filter(|at| *at > after).min();
            if found.is_some() {
                return found;
            }
            day = self.day_after(unmoved, day)?;
        }
        None
    }

    /// The last moved fire time later than `after` and not later than `until`.
    pub(super) fn last_between(&self, unmoved: &impl Unmoved, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let mut day = self.open_back(self.day(until) + 1, CLOSED_MAX)?;
        for _ in 0..DAYS_MAX {
            let within = |at: &Timestamp| *at > after && *at <= until;
            let entangled = Some(day - 1).filter(|before| self.begins_twice(day) && self.is_open(*before));
            let days = std::iter::once(day).chain(entangled);
            let of_days = days.flat_map(|day| self.of_day(unmoved, day));
            let found = of_days.filter(within).max();
            if found.is_some() {
                return found;
            }
            let (first, _) = self.sources(day)?;
            let before = self.begins(first)?.minus(INSTANT);
            if before.plus(REACH) < after {
                return None;
            }
            let last = unmoved.last_between(after.minus(REACH), before)?;
            let last = self.day(last);
            let target = self.target(last).unwrap_or(last);
            day = self.open_back(target.min(day - 1), CLOSED_MAX)?;
        }
        None
    }

    /// Where a fire time goes, which is one of the unmoved; `None` where it goes nowhere.
    pub(super) fn goes_to(&self, at: Timestamp) -> Option<Timestamp> {
        let day = self.day(at);
        self.moved(at, day, self.target(day)?)
    }

    /// The first of the unmoved that goes to an instant.
    pub(super) fn comes_from(&self, unmoved: &impl Unmoved, at: Timestamp) -> Option<Timestamp> {
        let (first, last) = self.sources(self.day(at))?;
        let mut from = self.begins(first)?.minus(INSTANT);
        let ends = self.begins(last + 1)?.plus(SET_BACK_MAX);
        loop {
            from = unmoved.first_after(from).filter(|from| *from < ends)?;
            if self.goes_to(from) == Some(at) {
                return Some(from);
            }
        }
    }

    /// How many there are from one of them to another.
    pub(super) fn count(&self, unmoved: &impl Unmoved, first: Timestamp, last: Timestamp) -> u64 {
        // A set, since those of a day that clocks skip come to the first instant of the next.
        let mut all = BTreeSet::new();
        let mut day = self.open_from(self.day(first) - 1, CLOSED_MAX);
        for _ in 0..COUNTED_MAX {
            let Some(counted) = day.filter(|day| self.begins(*day).is_some_and(|begins| begins <= last)) else {
                break;
            };
            let within = |at: &Timestamp| *at >= first && *at <= last;
            all.extend(self.of_day(unmoved, counted).filter(within));
            day = self.day_after(unmoved, counted);
        }
        all.len() as u64
    }

    /// The next open day to which fire times may belong.
    fn day_after(&self, unmoved: &impl Unmoved, day: i64) -> Option<i64> {
        let (_, last) = self.sources(day)?;
        let next = unmoved.first_after(self.begins(last + 1)?.minus(INSTANT))?;
        let next = match self.target(self.day(next)) {
            Some(target) => target.max(day + 1),
            // It is none, and what follows it may be one.
            None => self.day(next),
        };
        self.open_from(next, CLOSED_MAX)
    }

    /// Whether no calendar covers a day.
    fn is_open(&self, day: i64) -> bool {
        !self.calendars.iter().any(|kept| kept.calendar.covers_day(day))
    }

    /// The first open day from one on, so far ahead at most.
    fn open_from(&self, day: i64, reach: i64) -> Option<i64> {
        (day..=day + reach).find(|day| self.is_open(*day))
    }

    /// The last open day up to one, so far back at most.
    fn open_back(&self, day: i64, reach: i64) -> Option<i64> {
        (day - reach..=day).rev().find(|day| self.is_open(*day))
    }

    /// The day that a fire time of this one belongs to.
    fn target(&self, day: i64) -> Option<i64> {
        match self.direction {
            Direction::Next => self.open_from(day, OPEN_DAY_REACH),
            Direction::Previous => self.open_back(day, OPEN_DAY_REACH),
        }
    }

    /// The first and the last day whose fire times belong to an open one.
    fn sources(&self, day: i64) -> Option<(i64, i64)> {
        let is_covered = |day: &i64| !self.is_open(*day);
        Some(match self.direction {
            Direction::Next => {
                let covered = (day - OPEN_DAY_REACH..day).rev().take_while(is_covered);
                (covered.last().unwrap_or(day), day)
            }
            Direction::Previous => {
                let covered = (day + 1..=day + OPEN_DAY_REACH).take_while(is_covered);
                (day, covered.last().unwrap_or(day))
            }
        })
    }

    /// All fire times of an open day.
    fn of_day<'a>(&'a self, unmoved: &'a impl Unmoved, day: i64) -> impl Iterator<Item = Timestamp> + 'a {
        let sources = self.sources(day).map(|(first, last)| first..=last);
        sources.into_iter().flatten().flat_map(move |source| {
            let begins = self.begins(source).map(|begins| begins.minus(INSTANT));
            let first = begins.and_then(|begins| unmoved.first_after(begins));
            let mut ends = self.begins(source + 1).unwrap_or(Timestamp::MAX);
            if self.begins_twice(source + 1) {
                ends = ends.plus(SET_BACK_MAX);
            }
            let all = std::iter::successors(first, move |at| unmoved.first_after(*at));
            let of_source = all.take_while(move |at| *at < ends);
            of_source.filter_map(move |at| self.moved(at, source, day))
        })
    }

    /// A fire time of one day as one of another, if it is of that day.
    fn moved(&self, at: Timestamp, from: i64, to: i64) -> Option<Timestamp> {
        if self.day(at) != from {
            return None;
        }
        if from == to {
            return Some(at);
        }
        let local = at.as_second() + i64::from(self.zone.offset_at(at)) + (to - from) * DAY;
        let millis = at.as_millis().rem_euclid(1000);
        Some(Timestamp::from_millis(
            first_shown(local, &self.zone).saturating_mul(1000) + millis,
        ))
    }

    /// Whether clocks are set back over the midnight that a day begins with, after it was shown: in Newfoundland they once
    /// went from 00:01 to 23:01.
    fn begins_twice(&self, day: i64) -> bool {
        self.begins(day)
            .is_some_and(|begins| self.zone.offset_at(begins.plus(SET_BACK_MAX)) < self.zone.offset_at(begins))
    }

    /// The day that clocks show at an instant.
    fn day(&self, at: Timestamp) -> i64 {
        (at.as_second() + i64::from(self.zone.offset_at(at))).div_euclid(DAY)
    }

    /// The first instant of a day.
    fn begins(&self, day: i64) -> Option<Timestamp> {
        let second = first_shown(day.checked_mul(DAY)?, &self.zone);
        Some(Timestamp::from_second(second))
    }
}

/// Several schedules as one, within bounds.
pub(super) struct Union<'a> {
    pub(super) of: &'a [Schedule],
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
}

impl Unmoved for Union<'_> {
    fn first_after(&self, after: Timestamp) -> Option<Timestamp> {
        let after = after.max(self.start.minus(INSTANT));
        let next = self.of.iter().filter_map(|schedule| schedule.next_after(after)).min();
        next.filter(|slot| *slot <= self.end)
    }

    fn last_between(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let (after, until) = (after.max(self.start.minus(INSTANT)), until.min(self.end));
        let passed = self.of.iter().filter_map(|schedule| schedule.passed(after, until));
        passed.map(|passed| passed.last).max()
    }
}

#[cfg(test)]
mod tests {

    use jiff::tz::TimeZoneDatabase;
    use proptest::prelude::*;

    use super::*;
    use crate::calendar::{Calendar, DaySpan, Entry, Rule};
    use crate::schedule::{Catalog, Zones};

    fn shift(rules: &[&str], days: &[(i64, i64)], direction: Direction, tz: &str) -> Shift {
        let rules = rules.iter().map(|rule| Entry::Rule(Rule::parse(rule).unwrap()));
        let days = days.iter().map(|(a, b)| Entry::Days(DaySpan::new(*a, *b).unwrap()));
        Shift {
            calendars: vec![Arc::new(Kept {
                calendar: Calendar::new(rules.chain(days)).unwrap(),
                tz: tz.to_owned(),
                freeze: Vec::new(),
            })],
            direction,
            zone: Zones::new(TimeZoneDatabase::bundled()).get(tz).unwrap(),
        }
    }

    fn cron(expr: &str, tz: &str) -> [Schedule; 1] {
        let mut catalog = Catalog::new(Zones::new(TimeZoneDatabase::bundled()));
        [catalog.cron(expr, tz).unwrap()]
    }

    fn union(of: &[Schedule]) -> Union<'_> {
        Union {
            of,
            start: Timestamp::MIN,
            end: Timestamp::MAX,
        }
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::from_jiff(text.parse().unwrap())
    }

    fn next(shift: &Shift, of: &[Schedule], after: &str, n: usize) -> Vec<String> {
        let of = union(of);
        let first = shift.first_after(&of, at(after));
        let all = std::iter::successors(first, |at| shift.first_after(&of, *at));
        all.take(n).map(|at| at.to_string()).collect()
    }

    #[test]
    fn the_fifteenth_on_a_weekend_is_paid_on_the_next_or_the_last_working_day() {
        // 15 August 2026 is a Saturday, 15 November a Sunday.
        let salary = cron("0 9 15 * *", "UTC");
        let later = shift(&["weekends"], &[], Direction::Next, "UTC");
        let expected = ["2026-07-15T09:00:00Z", "2026-08-17T09:00:00Z", "2026-09-15T09:00:00Z"];
        assert_eq!(next(&later, &salary, "2026-07-01T00:00:00Z", 3), expected);
        let earlier = shift(&["weekends"], &[], Direction::Previous, "UTC");
        let expected = ["2026-07-15T09:00:00Z", "2026-08-14T09:00:00Z", "2026-09-15T09:00:00Z"];
        assert_eq!(next(&earlier, &salary, "2026-07-01T00:00:00Z", 3), expected);
    }

    #[test]
    fn where_a_time_goes_and_where_it_comes_from() {
        let daily = cron("0 9 * * *", "UTC");
        let later = shift(&["weekends"], &[], Direction::Next, "UTC");
        let (saturday, monday) = (at("2026-08-15T09:00:00Z"), at("2026-08-17T09:00:00Z"));
        assert_eq!(later.goes_to(saturday), Some(monday));
        assert_eq!(later.goes_to(monday), Some(monday));
        assert_eq!(
            later.comes_from(&union(&daily), monday),
            Some(saturday),
            "the first of several"
        );
        let never = shift(&[], &[(0, 2_900_000)], Direction::Next, "UTC");
        assert_eq!(never.goes_to(saturday), None);
    }

    #[test]
    fn what_comes_to_the_same_instant_is_one() {
        let daily = cron("0 9 * * *", "UTC");
        let later = shift(&["weekends"], &[], Direction::Next, "UTC");
        let expected = ["2026-08-14T09:00:00Z", "2026-08-17T09:00:00Z", "2026-08-18T09:00:00Z"];
        assert_eq!(next(&later, &daily, "2026-08-14T00:00:00Z", 3), expected);
    }

    #[test]
    fn a_time_that_is_skipped_where_it_moves_to_is_the_first_after_the_gap() {
        // In Berlin clocks skip 02:30 on Sunday, 28 March 2027.
        let night = cron("30 2 27 3 *", "Europe/Berlin");
        let saturday = at("2027-03-27T12:00:00Z").as_second().div_euclid(DAY);
        let later = shift(&[], &[(saturday, saturday)], Direction::Next, "Europe/Berlin");
        assert_eq!(
            next(&later, &night, "2027-01-01T00:00:00Z", 1),
            ["2027-03-28T01:00:00Z"]
        );
    }

    #[test]
    fn what_moves_to_a_day_that_clocks_skip_is_one() {
        // In Samoa Friday, 30 December 2011 never was.
        let of = cron("15 */6 * * *", "Pacific/Apia");
        let earlier = shift(&["weekends"], &[], Direction::Previous, "Pacific/Apia");
        let times = next(&earlier, &of, "2011-12-30T09:00:00Z", 3);
        let expected = ["2011-12-30T10:00:00Z", "2012-01-01T10:15:00Z", "2012-01-01T16:15:00Z"];
        assert_eq!(times, expected);
        assert_eq!(earlier.count(&union(&of), at(&times[0]), at(&times[2])), 3);
    }

    #[test]
    fn a_day_that_begins_twice_hides_none_of_the_day_before() {
        // In Newfoundland, at 00:01 on Sunday, 6 November 2011, clocks went back to 23:01.
        let of = cron("*/20 * * * *", "America/St_Johns");
        let later = shift(&[], &[(0, 0)], Direction::Next, "America/St_Johns");
        let times = next(&later, &of, "2011-11-06T02:05:00Z", 4);
        let expected = ["2011-11-06T02:10:00Z", "2011-11-06T02:30:00Z", "2011-11-06T02:50:00Z"];
        assert_eq!(times[..3], expected);
        assert_eq!(later.count(&union(&of), at(&times[0]), at(&times[3])), 4);
        assert_eq!(
            later.last_between(&union(&of), at(&times[0]), at(&times[3])),
            Some(at(&times[3]))
        );
    }

    #[test]
    fn a_closure_of_more_than_a_year_is_no_end() {
        let closure = |from: &str, to: &str| {
            let day = |text: &str| at(text).as_second().div_euclid(DAY);
            (day(from), day(to))
        };
        let daily = cron("0 9 * * *", "UTC");
        let days = [closure("2027-01-01T00:00:00Z", "2028-06-30T00:00:00Z")];
        let later = shift(&[], &days, Direction::Next, "UTC");
        let expected = ["2028-07-01T09:00:00Z", "2028-07-02T09:00:00Z"];
        for after in ["2026-12-31T09:00:00Z", "2027-06-01T00:00:00Z", "2028-06-30T10:00:00Z"] {
            assert_eq!(next(&later, &daily, after, 2), expected, "{after}");
        }
        let until = at("2028-02-01T00:00:00Z");
        let last = later.last_between(&union(&daily), at("2026-12-25T00:00:00Z"), until);
        assert_eq!(last, Some(at("2026-12-31T09:00:00Z")));
        let earlier = shift(&[], &days, Direction::Previous, "UTC");
        assert_eq!(
            next(&earlier, &daily, "2027-01-15T00:00:00Z", 1),
            ["2028-07-01T09:00:00Z"]
        );
    }

    #[test]
    fn without_an_open_day_there_is_none() {
        let daily = cron("0 9 * * *", "UTC");
        let never = shift(&[], &[(0, 2_900_000)], Direction::Next, "UTC");
        assert_eq!(next(&never, &daily, "2026-08-14T00:00:00Z", 1), [""; 0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn it_is_what_moving_each_of_them_gives(
            expr in prop::sample::select(vec!["0 9 * * *", "30 2 1,15 * *", "15 */6 * * *", "0 0 31 * *", "59 23 * * FRI", "20 * * * *"]),
            tz in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/Sao_Paulo", "America/St_Johns", "Pacific/Apia"]),
            previous in any::<bool>(),
            spans in prop::collection::vec((0_i64..400, 0_i64..9), 0..20),
            weekends in any::<bool>(),
            closure in prop::option::of((0_i64..400, 300_i64..900)),
            from in 0_i64..300 * DAY,
        ) {
            let first_day = 15_200; // 2011-08
            let direction = if previous { Direction::Previous } else { Direction::Next };
            let mut days: Vec<_> = spans.iter().map(|(day, length)| (first_day + day, first_day + day + length)).collect();
            days.push((0, 0));
            days.extend(closure.map(|(day, length)| (first_day + day, first_day + day + length)));
            let rules: &[&str] = if weekends { &["weekends"] } else { &[] };
            let shift = shift(rules, &days, direction, tz);
            let of = cron(expr, tz);
            let union = union(&of);
            let (after, until) = (
                Timestamp::from_second(first_day * DAY + from),
                Timestamp::from_second((first_day + 400) * DAY),
            );
            // Each by itself, from long before to long after.
            let mut all = BTreeSet::new();
            let mut unmoved = after.minus(REACH);
            while let Some(next) = union.first_after(unmoved).filter(|next| *next <= until.plus(REACH)) {
                let day = shift.day(next);
                if let Some(to) = shift.target(day) {
                    all.extend(shift.moved(next, day, to));
                }
                unmoved = next;
            }
            let expected: Vec<_> = all.range(after.plus(INSTANT)..=until).copied().collect();
            let first = shift.first_after(&union, after);
            let found: Vec<_> = std::iter::successors(first, |at| shift.first_after(&union, *at))
                .take_while(|at| *at <= until)
                .collect();
            prop_assert_eq!(&found, &expected);
            prop_assert_eq!(shift.last_between(&union, after, until), expected.last().copied());
            if let [first, .., last] = expected.as_slice() {
                prop_assert_eq!(shift.count(&union, *first, *last), expected.len() as u64);
            }
            if let [.., before, last] = expected.as_slice() {
                prop_assert_eq!(shift.last_between(&union, after, last.minus(INSTANT)), Some(*before));
            }
        }
    }
}
