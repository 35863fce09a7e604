//! Schedules in groups of equal ones, and what is counted of them.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use taskd_core::Timestamp;
use taskd_core::calendar::CalendarName;
use taskd_core::schedule::{Buckets, Counting, DstRule, Keeping, Passed, Schedule, clock_changes};
use taskd_core::task::TaskName;
use taskd_wire::client::{Bucket, ClockChange, Counted};
use taskd_wire::codec::Rec;

use super::Looked;

/// Most names told of a bucket: with all of them an answer stays below a frame.
pub(super) const NAMED: usize = 5;

/// Most changes of the clock in one answer.
pub(super) const CLOCK_MAX: usize = 8;

/// What it takes to put a change of the clock into words, as [`Buckets::count`] measures it.
const WORDS: u64 = 20;

/// A pause: the instants that it lies between.
pub(super) type Span = (Timestamp, Timestamp);

/// The tasks that are meant, those with the same schedule and pause together.
#[derive(Default)]
pub(super) struct Tasks {
    meant: u64,
    idle: u64,
    tz: Option<String>,
    pub(super) pause_of_all: Option<Span>,
    /// Of those that count, in the order in which they are named.
    names: Vec<TaskName>,
    /// For each of them the next of its group; itself for the last.
    next: Vec<u32>,
    groups: Vec<Group>,
    known: HashMap<Key, u32>,
}

struct Group {
    schedule: Schedule,
    pause: Option<Span>,
    freezing: Vec<Keeping>,
    left: Option<u64>,
    first: u32,
    last: u32,
    number: u64,
}

/// What tasks have in common that count as one: the schedule, the pause, and the calendars that freeze them. One that may
/// have so many runs only has a schedule of its own.
type Key = (Kind, Option<Span>, Vec<CalendarName>);

/// What schedules have in common that have the same fire times. What is shared is told by its address, which stays its own
/// as long as a group has it.
#[derive(PartialEq, Eq, Hash)]
enum Kind {
    Cron(usize, usize, DstRule),
    /// The place of the grid, and its interval, in milliseconds.
    Every(i128, u128),
    At(Timestamp),
    Termed(usize),
}

impl Kind {
    fn of(schedule: &Schedule) -> Option<Self> {
        Some(match schedule {
            Schedule::Cron { cron, zone, rule } => {
                Kind::Cron(Arc::as_ptr(cron).addr(), Arc::as_ptr(zone).addr(), *rule)
            }
            Schedule::Every { anchor, interval } => {
                let length = interval.as_millis().max(1);
                let place = i128::from(anchor.as_millis()).rem_euclid(i128::try_from(length).unwrap_or(i128::MAX));
                Kind::Every(place, length)
            }
            Schedule::At(at) => Kind::At(*at),
            Schedule::Termed(termed) => Kind::Termed(Arc::as_ptr(termed).addr()),
            Schedule::Manual => return None,
        })
    }
}

/// What was counted of a bucket.
#[derive(Clone, Default)]
struct Tally {
    passed: Option<Passed>,
    tasks: u64,
    /// The first few of these.
    named: Vec<u32>,
}

impl Tally {
    fn add(&mut self, passed: Passed, times: u64) {
        let all = self.passed.get_or_insert(Passed { count: 0, ..passed });
        all.first = all.first.min(passed.first);
        all.last = all.last.max(passed.last);
        all.count = all.count.saturating_add(passed.count.saturating_mul(times));
        self.tasks += times;
    }

    fn name(&mut self, task: u32) {
        if self.named.len() < NAMED || self.named.last().is_some_and(|last| task < *last) {
            let place = self.named.partition_point(|other| *other < task);
            self.named.insert(place, task);
            self.named.truncate(NAMED);
        }
    }
}

impl Tasks {
    /// How many count.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Takes in the next ones.
    pub(super) fn take(&mut self, looked: Vec<Looked>) {
        for task in looked {
            self.meant += 1;
            self.tz = task.tz;
            let Some(schedule) = task.schedule else {
                self.idle += 1;
                continue;
            };
            // OK to narrow: an owner has a million tasks at most.
            let index = self.names.len() as u32;
            self.names.push(task.name);
            self.next.push(index);
            let Some(kind) = Kind::of(&schedule) else { continue };
            let freezing = task.freezing.iter().map(|keeping| keeping.name.clone()).collect();
            let key = (kind, task.pause, freezing);
            let group = *self.known.entry(key).or_insert(self.groups.len() as u32) as usize;
            match self.groups.get_mut(group) {
                Some(group) => {
                    self.next[group.last as usize] = index;
                    group.last = index;
                    group.number += 1;
                }
                None => self.groups.push(Group {
                    schedule,
                    pause: task.pause,
                    freezing: task.freezing,
                    left: task.left,
                    first: index,
                    last: index,
                    number: 1,
                }),
            }
        }
    }

    /// Counts, with so much work at most, and the largest groups first, so that few tasks are left out.
    pub(super) fn count(&self, buckets: &Buckets, now: Timestamp, named: bool, mut work: u64) -> Counted {
        let mut groups: Vec<&Group> = self.groups.iter().collect();
        groups.sort_by_key(|group| Reverse(group.number));
        let whole = buckets.outside(&[]);
        let (mut tallies, mut clock) = (vec![Tally::default(); buckets.number()], Clock::default());
        let (mut left_out, mut paused) = (0, 0);
        for group in groups {
            let pauses: Vec<Span> = group.pause.into_iter().chain(self.pause_of_all).collect();
            let stretches = buckets.outside(&pauses);
            paused += if stretches == whole { 0 } else { group.number };
            let counting = Counting {
                schedule: &group.schedule,
                stretches: &stretches,
                freezing: &group.freezing,
                most: group.left.map(|left| (now, left)),
            };
            let Some(found) = buckets.count(&counting, &mut work) else {
                left_out += group.number;
                continue;
            };
            for (bucket, passed) in found {
                let tally = &mut tallies[bucket];
                tally.add(passed, group.number);
                if named {
                    self.members(group).take(NAMED).for_each(|task| tally.name(task));
                }
            }
            for change in clock_changes(&group.schedule, buckets.start(), buckets.end()) {
                work = work.saturating_sub(WORDS);
                if self.meant == 1 || !change.is_hourly {
                    clock.add(change.at, change.finding.message, group);
                }
            }
        }
        let (clock, clock_more) = clock.told(&self.names);
        Counted {
            tasks: self.meant,
            tz: self.tz.clone().filter(|_| self.meant == 1),
            idle: self.idle,
            paused,
            left_out,
            buckets: tallies.into_iter().map(|tally| Rec(self.told(tally))).collect(),
            clock,
            clock_more,
        }
    }

    fn members(&self, group: &Group) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(group.first), |task| {
            let next = self.next[*task as usize];
            (next != *task).then_some(next)
        })
    }

    fn told(&self, tally: Tally) -> Bucket {
        Bucket {
            count: tally.passed.map_or(0, |passed| passed.count),
            first_ms: tally.passed.map(|passed| passed.first.as_millis()),
            last_ms: tally.passed.map(|passed| passed.last.as_millis()),
            tasks: tally.tasks,
            names: tally
                .named
                .into_iter()
                .map(|task| self.names[task as usize].to_string())
                .collect(),
        }
    }
}

/// What is to be said of changes of the clock: of whom first, and of how many.
#[derive(Default)]
struct Clock(HashMap<(Timestamp, String), (u32, u64)>);

impl Clock {
    fn add(&mut self, at: Timestamp, message: String, group: &Group) {
        let (first, number) = self.0.entry((at, message)).or_insert((group.first, 0));
        *first = (*first).min(group.first);
        *number += group.number;
    }

    fn told(self, names: &[TaskName]) -> (Vec<Rec<ClockChange>>, u64) {
        let mut all: Vec<_> = self.0.into_iter().collect();
        all.sort_by(|(a, (first_a, _)), (b, (first_b, _))| (a.0, first_a, &a.1).cmp(&(b.0, first_b, &b.1)));
        let more = all.len().saturating_sub(CLOCK_MAX) as u64;
        let told = all.into_iter().take(CLOCK_MAX);
        let told = told.map(|((at, message), (first, number))| {
            Rec(ClockChange {
                at_ms: at.as_millis(),
                task: names[first as usize].to_string(),
                others: number - 1,
                message,
            })
        });
        (told.collect(), more)
    }
}

#[cfg(test)]
mod tests;
