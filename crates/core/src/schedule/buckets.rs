//! Fire times counted by buckets of time, such as the days of a month or the minutes of a day.
//!
//! Nothing is enumerated: a search finds the next bucket that has a fire time, and what is in it is counted. So a task costs as
//! much as there are buckets in which it fires, whatever number of times it does.

use std::time::Duration;

use super::{Keeping, Passed, Schedule};
use crate::time::Timestamp;

/// The unit in which instants are told apart.
const INSTANT: Duration = Duration::from_millis(1);

/// What it costs to ask a calendar, as [`Buckets::count`] measures it.
const OF_A_CALENDAR: u64 = 20;

/// Consecutive buckets of time.
#[derive(Clone, Debug)]
pub struct Buckets {
    /// At least two, ascending. A bucket between two that are equal is empty.
    bounds: Vec<Timestamp>,
}

/// The time of all buckets in which fire times count, as stretches from after one instant up to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretches(Vec<(Timestamp, Timestamp)>);

impl Buckets {
    /// Bucket n reaches from bound n to before bound n + 1. `None` for fewer than two bounds, or such as do not ascend.
    #[must_use]
    pub fn new(bounds: Vec<Timestamp>) -> Option<Self> {
        (bounds.len() >= 2 && bounds.is_sorted()).then_some(Buckets { bounds })
    }

    /// How many there are.
    #[must_use]
    pub fn number(&self) -> usize {
        self.bounds.len() - 1
    }

    /// The first instant of all.
    #[must_use]
    pub fn start(&self) -> Timestamp {
        self.bounds[0]
    }

    /// The first instant after all.
    #[must_use]
    pub fn end(&self) -> Timestamp {
        self.bounds[self.number()]
    }

    /// The time outside pauses, each of which is given as by [`Pause::span`](crate::pause::Pause::span).
    #[must_use]
    pub fn outside(&self, pauses: &[(Timestamp, Timestamp)]) -> Stretches {
        let mut pauses = pauses.to_vec();
        pauses.sort_unstable();
        let last = self.end().minus(INSTANT);
        let mut after = self.start().minus(INSTANT);
        let mut stretches = Vec::with_capacity(pauses.len() + 1);
        for (since, until) in pauses {
            // What is due at the very instant of the decision is not held up.
            if after < since.min(last) {
                stretches.push((after, since.min(last)));
            }
            after = after.max(until.minus(INSTANT));
        }
        if after < last {
            stretches.push((after, last));
        }
        Stretches(stretches)
    }

    /// The buckets in which there are fire times, in order, with what they have. `work` is what this may cost at most, in units
    /// of some 100 ns, and afterwards what is left of it; `None` where it does not suffice.
    #[must_use]
    pub fn count(&self, counting: &Counting<'_>, work: &mut u64) -> Option<Vec<(usize, Passed)>> {
        let schedule = counting.schedule;
        let (bound, mut left) = counting.most.unwrap_or((Timestamp::MAX, u64::MAX));
        let mut found: Vec<(usize, Passed)> = Vec::new();
        for (after, until) in &counting.stretches.0 {
            let mut after = *after;
            loop {
                counting.spend(work, 0)?;
                let Some(first) = schedule.next_after(after).filter(|first| first <= until) else {
                    break;
                };
                let (is_suppressed, change) = counting.suppressed(first);
                let before_change = change.minus(INSTANT);
                if is_suppressed {
                    after = before_change;
                    continue;
                }
                // The bucket whose beginning is the last one not later.
                let bucket = self.bounds.partition_point(|bound| *bound <= first) - 1;
                let mut last = self.bounds[bucket + 1].minus(INSTANT).min(*until).min(before_change);
                if first <= bound {
                    last = last.min(bound);
                } else if left == 0 {
                    return Some(found);
                }
                let Some(mut passed) = schedule.passed_from(first, last) else {
                    break;
                };
                counting.spend(work, passed.count)?;
                if first > bound {
                    if passed.count > left {
                        passed = counting.first_few(passed, left, work)?;
                    }
                    left -= passed.count;
                }
                match found.last_mut() {
                    // A pause or a calendar parts the bucket.
                    Some((same, earlier)) if *same == bucket => {
                        earlier.last = passed.last;
                        earlier.count += passed.count;
                    }
                    Some(_) | None => found.push((bucket, passed)),
                }
                after = last;
            }
        }
        Some(found)
    }
}

/// What is counted.
pub struct Counting<'a> {
    /// The fire times of this schedule that its calendars do not suppress,
    pub schedule: &'a Schedule,
    /// within these stretches,
    pub stretches: &'a Stretches,
    /// which none of these calendars suppresses,
    pub freezing: &'a [Keeping],
    /// and after that instant so many at most.
    pub most: Option<(Timestamp, u64)>,
}

impl<'a> Counting<'a> {
    /// All fire times within stretches that the calendars of the schedule do not suppress.
    #[must_use]
    pub fn all(schedule: &'a Schedule, stretches: &'a Stretches) -> Self {
        Counting {
            schedule,
            stretches,
            freezing: &[],
            most: None,
        }
    }

    /// The first `few` of fire times that are more.
    fn first_few(&self, all: Passed, few: u64, work: &mut u64) -> Option<Passed> {
        // By halves: the first instant up to which there are too many, and one up to which there are not.
        let mut found = Passed::single(all.first);
        let (mut fits, mut too_late) = (all.first.as_millis(), all.last.as_millis());
        while too_late - fits > 1 && found.count < few {
            let middle = fits + (too_late - fits) / 2;
            let passed = self.schedule.passed_from(all.first, Timestamp::from_millis(middle))?;
            self.spend(work, passed.count)?;
            if passed.count > few {
                too_late = middle;
            } else {
                fits = middle;
                found = passed;
            }
        }
        Some(found)
    }

    /// Whether a calendar suppresses a fire time, and the first instant at which that may be otherwise.
    fn suppressed(&self, at: Timestamp) -> (bool, Timestamp) {
        let keeping = self.schedule.keeps().iter().chain(self.freezing);
        let fates = keeping.map(|keeping| keeping.fate(at));
        fates.fold((false, Timestamp::MAX), |(is_suppressed, until), (reason, change)| {
            (is_suppressed || reason.is_some(), until.min(change))
        })
    }

    /// Takes what a search costs, or what it costs to count so many.
    fn spend(&self, work: &mut u64, counted: u64) -> Option<()> {
        let cost = match self.schedule {
            Schedule::Every { .. } | Schedule::At(_) | Schedule::Manual => 1,
            Schedule::Cron { .. } => 4,
            Schedule::Termed(termed) => {
                let parts = termed.of.len() as u64;
                // What several schedules have in common is looked for one by one.
                let looked_at = if parts > 1 { counted } else { 0 };
                // Days are looked at one by one where they move.
                let days = if termed.shift.is_some() { 16 } else { 1 };
                parts.saturating_mul(looked_at.saturating_add(16)).saturating_mul(days)
            }
        };
        let calendars = (self.schedule.keeps().len() + self.freezing.len()) as u64;
        let left = work.checked_sub(cost.saturating_add(calendars * OF_A_CALENDAR));
        *work = left.unwrap_or(0);
        left.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::tz::TimeZoneDatabase;
    use proptest::prelude::*;

    use super::*;
    use crate::calendar::{Calendar, Entry, Keep, Kept, TimeRange};
    use crate::schedule::{Catalog, DstRule, Termed, Zones};
    use crate::task::TaskName;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second)
    }

    fn cron(expr: &str) -> Schedule {
        let mut catalog = Catalog::new(Zones::new(TimeZoneDatabase::bundled()));
        catalog.cron_by(expr, "Europe/Berlin", DstRule::default()).unwrap()
    }

    fn termed(of: Vec<Schedule>, offset: u64) -> Schedule {
        Schedule::Termed(Arc::new(Termed {
            keeps: Vec::new(),
            shift: None,
            of,
            offset: Duration::from_secs(offset),
            start: Timestamp::MIN,
            end: Timestamp::MAX,
        }))
    }

    fn every(anchor: i64, ms: u64) -> Schedule {
        Schedule::Every {
            anchor: Timestamp::from_millis(anchor),
            interval: Duration::from_millis(ms),
        }
    }

    /// What is counted, found by looking at each fire time.
    fn enumerated(
        schedule: &Schedule,
        bounds: &[Timestamp],
        pauses: &[(Timestamp, Timestamp)],
    ) -> Vec<(usize, Passed)> {
        let mut found: Vec<(usize, Passed)> = Vec::new();
        for (bucket, ends) in bounds.windows(2).enumerate() {
            let mut after = ends[0].minus(INSTANT);
            while let Some(next) = schedule.next_after(after).filter(|next| *next < ends[1]) {
                after = next;
                if pauses.iter().any(|(since, until)| *since < next && next < *until) {
                    continue;
                }
                match found.last_mut() {
                    Some((same, passed)) if *same == bucket => {
                        passed.last = next;
                        passed.count += 1;
                    }
                    _ => found.push((bucket, Passed::single(next))),
                }
            }
        }
        found
    }

    fn counted(schedule: &Schedule, bounds: &[Timestamp], pauses: &[(Timestamp, Timestamp)]) -> Vec<(usize, Passed)> {
        let buckets = Buckets::new(bounds.to_vec()).unwrap();
        let stretches = buckets.outside(pauses);
        let counting = Counting::all(schedule, &stretches);
        buckets.count(&counting, &mut u64::MAX.clone()).unwrap()
    }

    #[test]
    fn bounds_ascend_and_are_two_at_least() {
        assert!(Buckets::new(vec![]).is_none() && Buckets::new(vec![at(1)]).is_none());
        assert!(Buckets::new(vec![at(2), at(1)]).is_none());
        let none = Buckets::new(vec![at(1), at(1)]).unwrap();
        assert_eq!((none.number(), none.outside(&[])), (1, Stretches(Vec::new())));
    }

    #[test]
    fn a_bucket_has_its_first_instant_and_not_that_of_the_next() {
        let bounds = [at(0), at(60), at(60), at(120)];
        let minutes = counted(&every(0, 60_000), &bounds, &[]);
        assert_eq!(minutes, [(0, Passed::single(at(0))), (2, Passed::single(at(60)))]);
    }

    #[test]
    fn what_is_due_as_a_pause_begins_or_ends_counts() {
        let bounds = [at(0), at(600)];
        let minutes = counted(
            &every(0, 60_000),
            &bounds,
            &[(at(60), at(240)), (at(540), Timestamp::MAX)],
        );
        let expected = Passed {
            first: at(0),
            last: at(540),
            count: 8,
        };
        assert_eq!(minutes, [(0, expected)]);
        assert_eq!(counted(&every(0, 60_000), &bounds, &[(at(-1), Timestamp::MAX)]), []);
    }

    #[test]
    fn what_a_calendar_suppresses_does_not_count() {
        let range = TimeRange::absolute(at(150), at(330)).unwrap();
        let calendar = Kept {
            calendar: Calendar::new([Entry::Range(range)]).unwrap(),
            tz: "UTC".to_owned(),
            freeze: Vec::new(),
        };
        let zone = Zones::new(TimeZoneDatabase::bundled()).get("UTC").unwrap();
        let keeping = |keep| Keeping {
            name: TaskName::parse("closed").unwrap(),
            keep,
            calendar: Arc::new(calendar.clone()),
            zone: Arc::clone(&zone),
        };
        let under = |keep| {
            Schedule::Termed(Arc::new(Termed {
                of: vec![every(0, 60_000)],
                offset: Duration::ZERO,
                start: Timestamp::MIN,
                end: Timestamp::MAX,
                shift: None,
                keeps: vec![keeping(keep)],
            }))
        };
        let bounds = [at(0), at(301), at(601)];
        let counts = |keep| {
            counted(&under(keep), &bounds, &[])
                .iter()
                .map(|(_, passed)| passed.count)
                .collect::<Vec<_>>()
        };
        assert_eq!(counts(Keep::Exclude), [3, 5], "0, 60 and 120; 360 to 600");
        assert_eq!(counts(Keep::Only), [3], "180, 240 and 300");
        let buckets = Buckets::new(bounds.to_vec()).unwrap();
        let (minutes, all) = (every(0, 60_000), buckets.outside(&[]));
        let frozen = Counting {
            freezing: &[keeping(Keep::Exclude)],
            ..Counting::all(&minutes, &all)
        };
        let found = buckets.count(&frozen, &mut u64::MAX.clone()).unwrap();
        assert_eq!(found.iter().map(|(_, passed)| passed.count).collect::<Vec<_>>(), [3, 5]);
    }

    #[test]
    fn of_what_is_to_come_so_many_count_and_all_that_has_been() {
        let buckets = Buckets::new(vec![at(0), at(301), at(601), at(901)]).unwrap();
        let (minutes, all) = (every(0, 60_000), buckets.outside(&[]));
        let most = |most| {
            let counting = Counting {
                most: Some((at(120), most)),
                ..Counting::all(&minutes, &all)
            };
            let found = buckets.count(&counting, &mut u64::MAX.clone()).unwrap();
            let told = |(bucket, passed): &(usize, Passed)| (*bucket, passed.last.as_second(), passed.count);
            found.iter().map(told).collect::<Vec<_>>()
        };
        assert_eq!(most(0), [(0, 120, 3)]);
        assert_eq!(most(2), [(0, 240, 5)]);
        assert_eq!(most(5), [(0, 300, 6), (1, 420, 2)]);
        assert_eq!(most(100), [(0, 300, 6), (1, 600, 5), (2, 900, 5)]);
        // However many they are, they are not gone through one by one.
        let year = Buckets::new(vec![at(0), at(400 * 86_400)]).unwrap();
        let (seconds, all) = (termed(vec![cron("* * * * * *")], 1), year.outside(&[]));
        let counting = Counting {
            most: Some((at(-1), 30_000_000)),
            ..Counting::all(&seconds, &all)
        };
        let mut work = 10_000;
        let found = year.count(&counting, &mut work).unwrap();
        assert_eq!(
            (found[0].1.count, found[0].1.last),
            (30_000_000, at(30_000_000).minus(INSTANT))
        );
        let mut little = 200;
        assert_eq!(
            (year.count(&counting, &mut little), little),
            (None, 0),
            "what was spent is gone"
        );
    }

    #[test]
    fn work_is_bounded_at_what_is_allowed() {
        let bounds: Vec<_> = (0..=10).map(|n| at(60 * n)).collect();
        let buckets = Buckets::new(bounds).unwrap();
        let all = buckets.outside(&[]);
        // Ten searches and ten counts, and a search that finds no more.
        let mut work = 21;
        assert!(
            buckets
                .count(&Counting::all(&every(0, 1_000), &all), &mut work)
                .is_some()
        );
        assert_eq!(work, 0);
        assert_eq!(buckets.count(&Counting::all(&every(0, 1_000), &all), &mut 20), None);
        // Of several schedules what they have in common is looked for one by one.
        let both = termed(vec![every(0, 1_000), every(0, 2_000)], 0);
        assert_eq!(buckets.count(&Counting::all(&both, &all), &mut 1_000), None);
        assert!(buckets.count(&Counting::all(&both, &all), &mut 2_000).is_some());
    }

    proptest! {
        #[test]
        fn what_is_counted_is_what_is_enumerated(
            kind in 0_usize..8,
            from in prop::sample::select(vec![1_774_660_000_i64, 1_792_880_000, 1_782_000_000]),
            lengths in prop::collection::vec(0_i64..9_000, 1..30),
            pauses in prop::collection::vec((0_i64..90_000, 0_i64..20_000), 0..3),
        ) {
            let schedule = match kind {
                0 => cron("*/7 * * * *"),
                1 => cron("30 2 * * *"),
                2 => cron("*/20 30 */2 * * *"),
                3 => every(from * 1000 + 123, 61_001),
                4 => Schedule::At(at(from + 30_000)),
                5 => termed(vec![cron("30 2 * * *"), cron("*/30 * * * *"), every(0, 7_000_000)], 59),
                6 => termed(vec![cron("0 * * * *")], 5_000),
                _ => Schedule::Manual,
            };
            let bounds: Vec<_> = std::iter::once(0)
                .chain(lengths.into_iter().scan(0, |sum, length| { *sum += length; Some(*sum) }))
                .map(|second| at(from + second))
                .collect();
            let pauses: Vec<_> = pauses.into_iter().map(|(since, length)| (at(from + since), at(from + since + length))).collect();
            prop_assert_eq!(counted(&schedule, &bounds, &pauses), enumerated(&schedule, &bounds, &pauses));
        }
    }
}
