//! Several schedules as one, within a window of validity and moved by a stable offset.

use std::sync::Arc;
use std::time::Duration;

use super::shift::{Shift, Union, Unmoved as _};
use super::{Passed, Schedule, Zone};
use crate::calendar::{CalendarName, Keep, Kept};
use crate::time::Timestamp;

/// Most fire times that are looked at one by one to count those that several schedules have in common. Beyond that they
/// count as often as they come.
const LOOKED_AT: u64 = 200_000;

/// How long a calendar that tells of no change is sure not to change: it looks ten years ahead.
const SURE_FOR: Duration = Duration::from_secs(3_650 * 24 * 60 * 60);

/// The unit in which instants are told apart.
const INSTANT: Duration = Duration::from_millis(1);

/// Schedules under terms.
///
/// A *slot* is an instant that one of the schedules has inside the window. The fire time of a slot is that instant moved by
/// the offset, and never as far as the next slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Termed {
    /// The schedules; a slot that several of them have is one.
    pub of: Vec<Schedule>,
    /// By how much each fire time is moved.
    pub offset: Duration,
    /// The first instant that may be a slot.
    pub start: Timestamp,
    /// The last instant that may be a slot.
    pub end: Timestamp,
    /// Where slots on covered days go, if they go elsewhere.
    pub shift: Option<Shift>,
    /// The calendars that fire times keep to or keep clear of. What one suppresses is a fire time all the same.
    pub keeps: Vec<Keeping>,
}

/// A calendar that fire times keep to or keep clear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// Its name.
    pub name: CalendarName,
    /// Which of them.
    pub keep: Keep,
    /// What it covers.
    pub calendar: Arc<Kept>,
    /// The zone it is read in.
    pub zone: Arc<Zone>,
}

impl Keeping {
    /// Why a fire time is suppressed, if it is, and the first instant at which that may be otherwise.
    #[must_use]
    pub fn fate(&self, at: Timestamp) -> (Option<String>, Timestamp) {
        let Keeping {
            name,
            keep,
            calendar,
            zone,
        } = self;
        let calendar = &calendar.calendar;
        let covered = calendar.covers(zone, at);
        let reason = match (keep, covered) {
            (Keep::Exclude, true) => Some(format!("calendar {name} excludes it")),
            (Keep::Only, false) => Some(format!("calendar {name} does not include it")),
            (Keep::Exclude, false) | (Keep::Only, true) | (Keep::Next | Keep::Previous, _) => None,
        };
        let change = calendar.change_after(zone, at);
        (reason, change.unwrap_or(at.plus(SURE_FOR)))
    }
}

impl Termed {
    /// The first fire time strictly later than `after`.
    pub(super) fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        if !self.offset.is_zero()
            && let Some(slot) = self.last_slot(after.minus(self.offset), after)
        {
            let moved = self.moved(slot);
            if moved > after {
                return Some(moved);
            }
        }
        self.slot_after(after).map(|slot| self.moved(slot))
    }

    /// The fire times from `first` on, which is one of them, and not later than `until`.
    pub(super) fn passed_from(&self, first: Timestamp, until: Timestamp) -> Option<Passed> {
        let first_slot = self.slot_of(first)?;
        let last = self.last_slot(first_slot.minus(INSTANT), until)?;
        // The last slot may be moved out of the span; the one before it cannot be, for it stays before the last.
        let last = match self.moved(last) <= until {
            true => last,
            false => self.last_slot(first_slot.minus(INSTANT), last.minus(INSTANT))?,
        };
        Some(Passed {
            first,
            last: self.moved(last),
            count: self.count(first_slot, last),
        })
    }

    /// The time that a fire time has by its schedules alone, before it is moved.
    pub(super) fn comes_from(&self, at: Timestamp) -> Option<Timestamp> {
        let slot = self.slot_of(at)?;
        match &self.shift {
            Some(shift) => shift.comes_from(&self.union(), slot),
            None => Some(slot),
        }
    }

    /// The first time that the schedules alone have between two instants, and the fire time that it is moved to.
    pub(super) fn goes_to(&self, from: Timestamp, until: Timestamp) -> Option<(Timestamp, Option<Timestamp>)> {
        let at = self
            .union()
            .first_after(from.minus(INSTANT))
            .filter(|at| *at <= until)?;
        let slot = match &self.shift {
            Some(shift) => shift.goes_to(at),
            None => Some(at),
        };
        Some((at, slot.map(|slot| self.moved(slot))))
    }

    fn moved(&self, slot: Timestamp) -> Timestamp {
        if self.offset.is_zero() {
            return slot;
        }
        let room = self
            .slot_after(slot)
            .map(|next| next.since(slot).saturating_sub(INSTANT));
        slot.plus(room.map_or(self.offset, |room| room.min(self.offset)))
    }

    /// The slot of a fire time.
    fn slot_of(&self, at: Timestamp) -> Option<Timestamp> {
        self.last_slot(at.minus(self.offset).minus(INSTANT), at)
    }

    /// The first slot strictly later than `after`.
    fn slot_after(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.shift {
            Some(shift) => shift.first_after(&self.union(), after),
            None => self.union().first_after(after),
        }
    }

    fn union(&self) -> Union<'_> {
        Union {
            of: &self.of,
            start: self.start,
            end: self.end,
        }
    }

    /// The last slot later than `after` and not later than `until`.
    fn last_slot(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        match &self.shift {
            Some(shift) => shift.last_between(&self.union(), after, until),
            None => self.union().last_between(after, until),
        }
    }

    /// How many slots there are from one to another.
    fn count(&self, first: Timestamp, last: Timestamp) -> u64 {
        let after = first.minus(INSTANT);
        if let Some(shift) = &self.shift {
            return shift.count(&self.union(), first, last);
        }
        let counted = self
            .of
            .iter()
            .filter_map(|schedule| Some((schedule, schedule.passed(after, last)?.count)));
        let mut counted: Vec<_> = counted.collect();
        // What the densest has is not looked at one by one.
        counted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let all: u64 = counted.iter().map(|(_, count)| *count).fold(0, u64::saturating_add);
        let mut left = LOOKED_AT;
        let mut twice = 0;
        for (place, (schedule, _)) in counted.iter().enumerate().skip(1) {
            let denser = &counted[..place];
            let mut at = after;
            while left > 0
                && let Some(slot) = schedule.next_after(at).filter(|slot| *slot <= last)
            {
                let before = slot.minus(INSTANT);
                twice += u64::from(denser.iter().any(|(other, _)| other.next_after(before) == Some(slot)));
                at = slot;
                left -= 1;
            }
        }
        all - twice
    }
}

/// A stable offset of up to `jitter` for a task of a user: the same whenever and wherever it is asked for, and spread evenly
/// over tasks.
#[must_use]
pub fn jitter_offset(owner: u32, name: &str, jitter: Duration) -> Duration {
    // FNV-1a, then the finalizer of SplitMix64, since names that differ in their last letter only shall be far apart.
    let bytes = owner.to_le_bytes().into_iter().chain(name.bytes());
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    let choices = u64::try_from(jitter.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
    let chosen = (u128::from(hash) * u128::from(choices)) >> 64;
    Duration::from_millis(u64::try_from(chosen).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZoneDatabase;
    use proptest::prelude::*;

    use super::*;
    use crate::schedule::{Catalog, Zones};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second)
    }

    fn every(second: u64) -> Schedule {
        Schedule::Every {
            anchor: at(0),
            interval: Duration::from_secs(second),
        }
    }

    fn cron(expr: &str) -> Schedule {
        let mut catalog = Catalog::new(Zones::new(TimeZoneDatabase::bundled()));
        catalog.cron(expr, "Europe/Berlin").unwrap()
    }

    fn termed(of: Vec<Schedule>, offset: u64) -> Termed {
        Termed {
            of,
            offset: Duration::from_secs(offset),
            start: Timestamp::MIN,
            end: Timestamp::MAX,
            keeps: Vec::new(),
            shift: None,
        }
    }

    fn passed(termed: &Termed, after: Timestamp, until: Timestamp) -> Option<Passed> {
        Schedule::Termed(std::sync::Arc::new(termed.clone())).passed(after, until)
    }

    /// All fire times of a span, one by one.
    fn walked(termed: &Termed, after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
        let next = |at: &Timestamp| termed.next_after(*at).filter(|next| *next <= until);
        std::iter::successors(next(&after), next).collect()
    }

    #[test]
    fn what_several_have_in_common_is_one_fire_time() {
        let both = termed(vec![every(60), every(90)], 0);
        let times: Vec<_> = walked(&both, at(0), at(360)).iter().map(|at| at.as_second()).collect();
        assert_eq!(times, [60, 90, 120, 180, 240, 270, 300, 360]);
        assert_eq!(passed(&both, at(0), at(360)).unwrap().count, 8);
    }

    #[test]
    fn a_window_has_both_of_its_ends() {
        let mut minutes = termed(vec![every(60)], 0);
        (minutes.start, minutes.end) = (at(120), at(240));
        assert_eq!(walked(&minutes, at(-1000), at(1000)), [at(120), at(180), at(240)]);
        let passed = passed(&minutes, Timestamp::MIN, Timestamp::MAX).unwrap();
        assert_eq!((passed.first, passed.last, passed.count), (at(120), at(240), 3));
        assert_eq!(minutes.next_after(at(240)), None);
    }

    #[test]
    fn an_offset_moves_each_and_none_into_the_next_slot() {
        let hours = termed(vec![cron("0 * * * *")], 600);
        assert_eq!(hours.next_after(at(0)), Some(at(600)), "the slot before is not over");
        assert_eq!(hours.next_after(at(600)), Some(at(4200)));
        let minutes = termed(vec![every(60)], 600);
        let last = Timestamp::from_millis(119_999);
        assert_eq!(minutes.next_after(Timestamp::from_millis(59_999)), Some(last));
        assert_eq!(minutes.next_after(last), Some(Timestamp::from_millis(179_999)));
    }

    #[test]
    fn a_fire_time_and_the_time_it_comes_from_tell_each_other() {
        let hours = Schedule::Termed(std::sync::Arc::new(termed(vec![cron("0 * * * *")], 600)));
        assert_eq!(hours.comes_from(at(4200)), Some(at(3600)));
        assert_eq!(hours.goes_to(at(3600), at(3659)), Some((at(3600), Some(at(4200)))));
        assert_eq!(hours.goes_to(at(3601), at(3659)), None);
        assert_eq!(hours.moved_by().as_deref(), Some("its jitter"));
        let plain = Schedule::Termed(std::sync::Arc::new(termed(vec![cron("0 * * * *")], 0)));
        assert_eq!((plain.comes_from(at(3600)), plain.moved_by()), (None, None));
        assert_eq!(plain.goes_to(at(3600), at(3600)), None);
    }

    #[test]
    fn the_offset_is_the_same_for_ever_and_spread() {
        let hour = Duration::from_secs(3600);
        assert_eq!(jitter_offset(1000, "backup", Duration::ZERO), Duration::ZERO);
        assert_eq!(jitter_offset(1000, "backup", hour), jitter_offset(1000, "backup", hour));
        assert_eq!(
            jitter_offset(1000, "backup", hour).as_millis(),
            81_950,
            "stored ones rely on it"
        );
        let mut tenths = [0; 10];
        for n in 0..10_000 {
            let offset = jitter_offset(0, &format!("task-{n}"), hour);
            assert!(offset <= hour);
            tenths[(offset.as_millis() * 10 / 3_600_001) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (900..1100).contains(count)), "{tenths:?}");
    }

    #[test]
    fn counting_of_dense_ones_is_bounded() {
        let seconds = termed(vec![cron("* * * * * *"), cron("*/2 * * * * *"), every(1)], 0);
        let year = passed(&seconds, at(0), at(366 * 86_400)).unwrap();
        assert!(year.count >= 366 * 86_400, "{}", year.count);
        assert_eq!(
            passed(&seconds, at(0), at(86_400)).unwrap().count,
            86_400,
            "a day is exact"
        );
    }

    proptest! {
        #[test]
        fn what_passed_is_what_a_walk_finds(
            parts in prop::collection::vec(0_usize..6, 1..4),
            offset in prop::sample::select(vec![0_u64, 1, 59, 61, 3000, 5000]),
            window in any::<Option<(u32, u32)>>(),
            from in 1_774_000_000_i64..1_775_000_000,
            length in 0_i64..40_000,
        ) {
            let part = |n: &usize| match n {
                0 => every(7),
                1 => every(3600),
                2 => cron("*/5 * * * *"),
                3 => cron("30 2 * * *"),
                4 => Schedule::At(at(from + length / 2)),
                _ => cron("0 * * * *"),
            };
            let mut termed = termed(parts.iter().map(part).collect(), offset);
            if let Some((a, b)) = window {
                let inside = |n: u32| at(from - 5_000 + i64::from(n % 50_000));
                (termed.start, termed.end) = (inside(a).min(inside(b)), inside(a).max(inside(b)));
            }
            let (after, until) = (at(from), at(from + length));
            let walk = walked(&termed, after, until);
            let passed = passed(&termed, after, until);
            prop_assert!(walk.is_sorted_by(|a, b| a < b));
            prop_assert_eq!(passed.map(|passed| passed.count), (!walk.is_empty()).then_some(walk.len() as u64));
            prop_assert_eq!(passed.map(|passed| (passed.first, passed.last)), walk.first().copied().zip(walk.last().copied()));
            // It is a set: what comes next never depends on where the search begins.
            if let Some(last) = walk.last() {
                prop_assert_eq!(termed.next_after(last.minus(INSTANT)), Some(*last));
            }
        }
    }
}
