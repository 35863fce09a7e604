//! Tasks that are due in the same minute as many others, though each could as well be due in another one.
//!
//! Only the due queue is looked at, an hour of it at a time and a bounded number of entries in each minute, so that a
//! look costs as much with a million tasks as with some thousands.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::schedule::{Finding, Schedule, same_minute};
use crate::task::{TaskId, When};
use crate::time::Timestamp;

use super::Scheduler;

/// From so many others on, it is told.
const CROWD: usize = 5;

/// Most tasks of one minute that are counted.
const COUNTED_MAX: usize = 1_000;

/// Most tasks of a minute that are looked at to compare it with others of its hour.
const COMPARED_MAX: usize = 100;

const MINUTE: i64 = 60;

/// Looks for crowds, one task after the other. What was seen is kept: a look at many tasks goes over each hour once.
#[derive(Default)]
pub struct Crowds {
    /// By their first seconds.
    hours: HashMap<i64, Hour>,
    /// By their first seconds: how many are due in a minute, as far as was counted.
    minutes: HashMap<i64, usize>,
    looked_at: usize,
}

/// How many tasks are due in each minute of an hour, as far as was counted, and how many were advised to be.
struct Hour([usize; 60]);

impl Crowds {
    /// How many entries of the due queue were looked at so far, which is what this has cost.
    #[must_use]
    pub fn looked_at(&self) -> usize {
        self.looked_at
    }

    /// What is to be said of a task, if many others are due in the minute of its next fire time. Tasks that fire by the clock
    /// on the wall, and not at times of day, are due together by nature.
    pub fn find(&mut self, state: &Scheduler, id: TaskId) -> Option<Finding> {
        let task = state
            .tasks
            .get(id)
            .filter(|task| task.place.is_queued() && !state.imports.holds(id))?;
        let (Schedule::Cron { cron, zone, .. }, Some(When::Cron { expr, .. })) =
            (&task.schedule, task.written.as_deref())
        else {
            return None;
        };
        if !cron.is_fixed() {
            return None;
        }
        let minute = task.next.as_second().div_euclid(MINUTE) * MINUTE;
        let others = self.due_in_minute(state, minute).saturating_sub(1);
        if others < CROWD {
            return None;
        }
        let local = task.next.as_second() + i64::from(zone.offset_at(task.next));
        let own = usize::try_from(local.div_euclid(MINUTE).rem_euclid(60)).unwrap_or(0);
        let start = minute - own as i64 * MINUTE;
        let quiet = self.quiet_minute(state, start, own);
        let is_all = others + 1 < COUNTED_MAX;
        Some(same_minute(expr, others, is_all, local, quiet))
    }

    fn due_in_minute(&mut self, state: &Scheduler, minute: i64) -> usize {
        if let Some(count) = self.minutes.get(&minute) {
            return *count;
        }
        let count = state.due_within(seconds(minute, minute + MINUTE), COUNTED_MAX);
        self.looked_at += count;
        self.minutes.insert(minute, count);
        count
    }

    /// A minute of the hour in which fewer tasks are due than in this one, with as few as there are, and then the nearest.
    /// Who is told of it is counted there, so that not all of a crowd are sent to the same.
    fn quiet_minute(&mut self, state: &Scheduler, start: i64, own: usize) -> Option<u32> {
        let looked_at = &mut self.looked_at;
        let Hour(due) = self.hours.entry(start).or_insert_with(|| {
            Hour(std::array::from_fn(|minute| {
                let minute = start + minute as i64 * MINUTE;
                let count = state.due_within(seconds(minute, minute + MINUTE), COMPARED_MAX);
                *looked_at += count + 1;
                count
            }))
        });
        let best = (0..60).min_by_key(|minute| (due[*minute], minute.abs_diff(own)))?;
        if due[best] >= due[own] {
            return None;
        }
        due[best] += 1;
        u32::try_from(best).ok()
    }
}

/// All instants from one second to before another.
fn seconds(from: i64, until: i64) -> RangeInclusive<Timestamp> {
    Timestamp::from_second(from)..=Timestamp::from_second(until).minus(Duration::from_millis(1))
}

impl Scheduler {
    /// How many tasks are due in a span of time, and no further than to `most`.
    fn due_within(&self, span: RangeInclusive<Timestamp>, most: usize) -> usize {
        let (from, until) = span.into_inner();
        let within = self.due.range((from, TaskId(0))..=(until, TaskId(u64::MAX)));
        within.take(most).filter(|(_, id)| !self.imports.holds(*id)).count()
    }
}

#[cfg(test)]
mod tests;
