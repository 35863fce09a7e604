//! What is kept of a task in memory, and how its schedule is read. A million idle tasks are a design size, so what equal
//! schedules have in common is shared, and what is rare stands in tables of its own.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use crate::calendar::{CalendarName, CalendarUse, Direction, Keep, Kept};
use crate::dependency::Upstreams;
use crate::policy::{Policies, Sharing};
use crate::requirement::Requirement;
use crate::run::Outcome;
use crate::schedule::{Catalog, DstRule, Schedule, Shift, Termed};
use crate::task::{Label, Outline, Owner, TaskName, Terms, When};
use crate::time::Timestamp;

use super::calendars::Calendars;

/// Written schedules are looked through for unused ones when there are at least this many.
const SWEEP_MIN: usize = 256;

/// One task.
pub(super) struct Task {
    pub(super) name: TaskName,
    /// What a schedule was written as where its reading does not tell; shared by equal cron schedules.
    pub(super) written: Option<Arc<When>>,
    pub(super) schedule: Schedule,
    /// The last fire time dealt with.
    pub(super) mark: Timestamp,
    /// The first fire time after the mark, of a disabled task too; [`Timestamp::MAX`] for none.
    pub(super) next: Timestamp,
    pub(super) last_run: u64,
    /// How the run that ended last had ended.
    pub(super) last_outcome: Option<Outcome>,
    /// Shared by all tasks with the same.
    pub(super) policies: Arc<Policies>,
    pub(super) owner: Owner,
    pub(super) enabled: bool,
    /// A decision about it is on its way to the store, and nothing else may be decided until it is there.
    pub(super) reserved: bool,
    pub(super) place: Place,
}

/// Where a task stands to the queue of what is due. One byte for both: there may be a million tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Not in it.
    Out,
    /// In it, at `next`.
    Queued,
    /// Not in it, for its schedule cannot be read; the table of problems says why.
    Held,
    /// Held since it was put there, from where it is not taken yet.
    HeldQueued,
}

impl Place {
    pub(super) fn is_held(self) -> bool {
        matches!(self, Place::Held | Place::HeldQueued)
    }

    pub(super) fn is_queued(self) -> bool {
        matches!(self, Place::Queued | Place::HeldQueued)
    }

    pub(super) fn held(self, is: bool) -> Self {
        Place::of(is, self.is_queued())
    }

    pub(super) fn queued(self, is: bool) -> Self {
        Place::of(self.is_held(), is)
    }

    fn of(held: bool, queued: bool) -> Self {
        match (held, queued) {
            (false, false) => Place::Out,
            (false, true) => Place::Queued,
            (true, false) => Place::Held,
            (true, true) => Place::HeldQueued,
        }
    }
}

impl Task {
    /// Its next fire time, if it has one.
    pub(super) fn due(&self) -> Option<Timestamp> {
        (self.enabled && !self.place.is_held() && self.next != Timestamp::MAX).then_some(self.next)
    }

    /// Whether it is due after a boot.
    pub(super) fn at_boot(&self) -> bool {
        self.written.as_ref().is_some_and(|written| written.at_boot())
    }

    /// The tasks that it comes after.
    pub(super) fn after(&self) -> Option<&Upstreams> {
        self.written.as_ref()?.after()
    }

    /// The tasks whose last run must have succeeded for it to start when it is due.
    pub(super) fn requires(&self) -> &[Requirement] {
        self.written.as_ref().map_or(&[], |written| written.requires())
    }

    /// After how many runs by its schedule it is disabled.
    pub(super) fn count(&self) -> Option<u64> {
        self.written.as_ref()?.count().map(NonZeroU64::get)
    }

    /// Whether its fire time is a single instant.
    pub(super) fn is_once(&self) -> bool {
        let is_instant = |part: &Schedule| matches!(part, Schedule::At(_) | Schedule::Manual);
        match &self.schedule {
            Schedule::At(_) => true,
            Schedule::Termed(termed) => {
                termed.of.iter().all(is_instant) && termed.of.iter().any(|part| matches!(part, Schedule::At(_)))
            }
            Schedule::Cron { .. } | Schedule::Every { .. } | Schedule::Manual => false,
        }
    }

    /// When it is due, as accepted.
    pub(super) fn when(&self) -> When {
        match (&self.written, &self.schedule) {
            (Some(written), _) => When::clone(written),
            (None, Schedule::Every { anchor, interval }) => When::Every {
                interval_ms: u64::try_from(interval.as_millis()).unwrap_or(u64::MAX),
                anchor: *anchor,
            },
            // The others are always written; what is left is manual.
            (None, Schedule::Manual | Schedule::Cron { .. } | Schedule::At(_) | Schedule::Termed(_)) => When::Manual,
        }
    }

    /// The part of its definition that decisions need; labels and what is shared stand in tables of their own.
    pub(super) fn outline(&self, labels: &[Label], sharing: Sharing) -> Outline {
        Outline {
            name: self.name.clone(),
            when: self.when(),
            labels: labels.to_vec(),
            enabled: self.enabled,
            policies: *self.policies,
            sharing,
        }
    }
}

/// A schedule as read. With a problem, `schedule` is manual: what cannot be read is never due.
pub(super) struct Reading {
    pub(super) written: Option<Arc<When>>,
    pub(super) schedule: Schedule,
    pub(super) problem: Option<String>,
}

/// Reads schedules; equal cron schedules are read once.
pub(super) struct Schedules {
    catalog: Catalog,
    calendars: Calendars,
    crons: HashMap<Arc<When>, Schedule>,
    sweep_at: usize,
    policies: HashSet<Arc<Policies>>,
    sweep_policies_at: usize,
}

impl Schedules {
    pub(super) fn new(catalog: Catalog) -> Self {
        Schedules {
            catalog,
            calendars: Calendars::default(),
            crons: HashMap::new(),
            sweep_at: SWEEP_MIN,
            policies: HashSet::new(),
            sweep_policies_at: SWEEP_MIN,
        }
    }

    /// Policies in memory that tasks with the same share.
    pub(super) fn policies(&mut self, policies: &Policies) -> Arc<Policies> {
        if let Some(known) = self.policies.get(policies) {
            return Arc::clone(known);
        }
        if self.policies.len() >= self.sweep_policies_at {
            self.policies.retain(|known| Arc::strong_count(known) > 1);
            self.sweep_policies_at = (self.policies.len() * 2).max(SWEEP_MIN);
        }
        let shared = Arc::new(*policies);
        self.policies.insert(Arc::clone(&shared));
        shared
    }

    /// The tz database has changed: nothing read before holds.
    pub(super) fn reset(&mut self) {
        self.catalog.zones().reset();
        self.crons.clear();
        self.calendars.read_zones(&mut self.catalog);
    }

    pub(super) fn keep_calendar(&mut self, name: CalendarName, calendar: Arc<Kept>) {
        self.calendars.keep(name, calendar, &mut self.catalog);
    }

    pub(super) fn remove_calendar(&mut self, name: &CalendarName) {
        self.calendars.remove(name);
    }

    pub(super) fn shelf(&self) -> &Calendars {
        &self.calendars
    }

    /// All calendars, in the order of their names.
    pub(super) fn calendars(&self) -> Vec<(CalendarName, Arc<Kept>)> {
        let all = self.calendars.all();
        all.map(|(name, calendar)| (name.clone(), Arc::clone(calendar)))
            .collect()
    }

    pub(super) fn read(&mut self, when: &When) -> Reading {
        let read = |schedule| Reading {
            written: None,
            schedule,
            problem: None,
        };
        match when {
            When::Manual => read(Schedule::Manual),
            When::Every { interval_ms: 0, .. } => Reading {
                written: Some(Arc::new(when.clone())),
                schedule: Schedule::Manual,
                problem: Some("its interval is zero".to_owned()),
            },
            When::Every { interval_ms, anchor } => read(Schedule::Every {
                anchor: *anchor,
                interval: Duration::from_millis(*interval_ms),
            }),
            When::At { at, .. } => Reading {
                written: Some(Arc::new(when.clone())),
                schedule: Schedule::At(*at),
                problem: None,
            },
            When::Cron { expr, tz, dst } => self.read_cron(when, expr, tz, *dst),
            // It is told when the machine has booted, or when runs of others have ended.
            When::Boot | When::After(_) => Reading {
                written: Some(Arc::new(when.clone())),
                schedule: Schedule::Manual,
                problem: None,
            },
            When::Termed(terms) => self.read_termed(when, terms),
        }
    }

    fn read_termed(&mut self, when: &When, terms: &Terms) -> Reading {
        let (mut of, mut problem) = (Vec::with_capacity(terms.of.len()), None);
        for part in &terms.of {
            // Terms do not stand within terms; whatever wrote that, it is not followed without end.
            let reading = match part {
                When::Termed(_) => self.read(&When::Manual),
                When::Manual
                | When::Cron { .. }
                | When::Every { .. }
                | When::At { .. }
                | When::Boot
                | When::After(_) => self.read(part),
            };
            problem = problem.or(reading.problem);
            of.push(reading.schedule);
        }
        let zone = of.iter().find_map(Schedule::zone).cloned();
        let mut keeps = Vec::with_capacity(terms.calendars.len());
        let mut shift: Option<Shift> = None;
        for CalendarUse { name, keep } in &terms.calendars {
            let keeping = match self.calendars.keeping(name, *keep, zone.as_ref()) {
                Ok(keeping) => keeping,
                Err(why) => {
                    problem = problem.or(Some(why));
                    continue;
                }
            };
            let direction = match keep {
                Keep::Exclude | Keep::Only => {
                    keeps.push(keeping);
                    continue;
                }
                Keep::Next => Direction::Next,
                Keep::Previous => Direction::Previous,
            };
            match &mut shift {
                Some(shift) => shift.calendars.push(keeping.calendar),
                None => {
                    shift = Some(Shift {
                        calendars: vec![keeping.calendar],
                        direction,
                        zone: keeping.zone,
                    });
                }
            }
        }
        let schedule = match problem {
            Some(_) => Schedule::Manual,
            None => Schedule::Termed(Arc::new(Termed {
                of,
                offset: Duration::from_millis(terms.offset_ms),
                start: terms.start.unwrap_or(Timestamp::MIN),
                end: terms.end.unwrap_or(Timestamp::MAX),
                shift,
                keeps,
            })),
        };
        Reading {
            written: Some(Arc::new(when.clone())),
            schedule,
            problem,
        }
    }

    fn read_cron(&mut self, when: &When, expr: &str, tz: &str, dst: DstRule) -> Reading {
        if let Some((written, schedule)) = self.crons.get_key_value(when) {
            return Reading {
                written: Some(Arc::clone(written)),
                schedule: schedule.clone(),
                problem: None,
            };
        }
        let written = Arc::new(when.clone());
        let (schedule, problem) = match self.catalog.cron_by(expr, tz, dst) {
            Ok(schedule) => {
                self.sweep();
                self.crons.insert(Arc::clone(&written), schedule.clone());
                (schedule, None)
            }
            Err(error) => (Schedule::Manual, Some(error.to_string())),
        };
        Reading {
            written: Some(written),
            schedule,
            problem,
        }
    }

    /// Forgets what no task uses any more, now and then.
    fn sweep(&mut self) {
        if self.crons.len() >= self.sweep_at {
            self.crons.retain(|written, _| Arc::strong_count(written) > 1);
            self.sweep_at = (self.crons.len() * 2).max(SWEEP_MIN);
        }
    }
}

/// Names are unique per owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NameKey {
    pub(super) owner: Owner,
    pub(super) name: TaskName,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_is_not_read_again_however_much_there_is() {
        let zones = crate::schedule::Zones::new(jiff::tz::TimeZoneDatabase::bundled());
        let mut schedules = Schedules::new(Catalog::new(zones));
        let when = |n: usize| When::Cron {
            expr: format!("{} {} * * *", n % 60, n / 60 % 24),
            tz: "UTC".to_owned(),
            dst: DstRule::default(),
        };
        let mut read = |n| schedules.read(&when(n)).written.expect("cron is always written");
        let kept: Vec<Arc<When>> = (0..4 * SWEEP_MIN).map(&mut read).collect();
        for (n, kept) in kept.iter().enumerate() {
            assert!(Arc::ptr_eq(kept, &read(n)), "expression {n} was read twice");
        }
    }

    #[test]
    fn a_task_stays_small() {
        assert!(size_of::<Task>() <= 96, "{} bytes", size_of::<Task>());
    }
}
