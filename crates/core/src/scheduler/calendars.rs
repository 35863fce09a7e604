//! Calendars: which there are, who uses them, and which tasks they freeze.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::calendar::{CalendarName, Keep, Kept};
use crate::command::{Accepted, Refusal, Reply};
use crate::pattern::means;
use crate::record::Record;
use crate::schedule::{Catalog, Keeping, Zone};
use crate::task::{Label, TaskId, TaskName};
use crate::time::Timestamp;

use super::Scheduler;
use super::pending::{Batch, Reserved};
use super::tasks::Task;

/// The calendars there are.
#[derive(Default)]
pub(super) struct Calendars {
    kept: BTreeMap<CalendarName, Shelved>,
    /// Those that freeze tasks.
    freezing: Vec<CalendarName>,
}

struct Shelved {
    calendar: Arc<Kept>,
    /// The zone it is read in for tasks that have none; `None` where that is not known.
    zone: Option<Arc<Zone>>,
}

impl Calendars {
    pub(super) fn keep(&mut self, name: CalendarName, calendar: Arc<Kept>, catalog: &mut Catalog) {
        let zone = catalog.zones().get(&calendar.tz).ok();
        self.kept.insert(name, Shelved { calendar, zone });
        self.sort_out();
    }

    pub(super) fn remove(&mut self, name: &CalendarName) {
        self.kept.remove(name);
        self.sort_out();
    }

    /// The zones there are have changed.
    pub(super) fn read_zones(&mut self, catalog: &mut Catalog) {
        for shelved in self.kept.values_mut() {
            shelved.zone = catalog.zones().get(&shelved.calendar.tz).ok();
        }
    }

    fn sort_out(&mut self) {
        let freezing = self
            .kept
            .iter()
            .filter(|(_, shelved)| !shelved.calendar.freeze.is_empty());
        self.freezing = freezing.map(|(name, _)| name.clone()).collect();
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&CalendarName, &Arc<Kept>)> {
        self.kept.iter().map(|(name, shelved)| (name, &shelved.calendar))
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(super) fn contains(&self, name: &CalendarName) -> bool {
        self.kept.contains_key(name)
    }

    /// A calendar as it is used in a zone, or in its own.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(super) fn keeping(&self, name: &CalendarName, keep: Keep, zone: Option<&Arc<Zone>>) -> Result<Keeping, String> {
        let shelved = self
            .kept
            .get(name)
            .ok_or_else(|| format!("there is no calendar {name}"))?;
        let zone = zone.or(shelved.zone.as_ref()).cloned();
        Ok(Keeping {
            name: name.clone(),
            keep,
            calendar: Arc::clone(&shelved.calendar),
            zone: zone.ok_or_else(|| format!("the zone of calendar {name} is not known"))?,
        })
    }

    /// The calendars that freeze a task.
    pub(super) fn freezing<'a>(
        &'a self,
        task: &'a TaskName,
        labels: &'a [Label],
        zone: Option<&'a Arc<Zone>>,
    ) -> impl Iterator<Item = Result<Keeping, String>> + 'a {
        let is_meant = move |name: &&CalendarName| {
            let patterns = self.kept.get(*name).map_or(&[][..], |shelved| &shelved.calendar.freeze);
            patterns.iter().any(|pattern| means(pattern, task, labels))
        };
        let freezing = self.freezing.iter().filter(is_meant);
        freezing.map(move |name| self.keeping(name, Keep::Exclude, zone))
    }

    pub(super) fn freeze_any(&self) -> bool {
        !self.freezing.is_empty()
    }
}

impl Scheduler {
    pub(super) fn set_calendar(
        &mut self,
        now: Timestamp,
        name: CalendarName,
        calendar: Kept,
        by: &str,
    ) -> Result<Accepted, Refusal> {
        self.all_decidable()?;
        let limit = self.limits.calendars;
        if !self.schedules.shelf().contains(&name) && self.schedules.shelf().len() >= limit {
            return Err(Refusal::TooManyCalendars { limit });
        }
        self.settle_fates(now);
        let record = Record::CalendarSet {
            name,
            calendar: Arc::new(calendar),
            at: now,
            by: by.to_owned(),
        };
        Ok(self.accept(vec![record], all_reserved(), Reply::Done))
    }

    pub(super) fn remove_calendars(&mut self, now: Timestamp, names: Vec<CalendarName>) -> Result<Accepted, Refusal> {
        self.all_decidable()?;
        let names: BTreeSet<_> = names.into_iter().collect();
        if names.iter().any(|name| self.is_coming_into_use(name)) {
            return Err(Refusal::Busy);
        }
        for name in &names {
            if !self.schedules.shelf().contains(name) {
                return Err(Refusal::NoCalendar(name.clone()));
            }
            if let Some((_, task)) = self.users_of(name).next() {
                return Err(Refusal::CalendarInUse {
                    name: name.clone(),
                    task: task.name.clone(),
                });
            }
        }
        self.settle_fates(now);
        let removed = |name| Record::CalendarRemoved { name };
        let records = names.into_iter().map(removed).collect();
        Ok(self.accept(records, all_reserved(), Reply::Done))
    }

    /// Whether no decision that bears on all tasks is on its way.
    pub(super) fn all_undecided(&self) -> Result<(), Refusal> {
        match self.reserved_all {
            0 => Ok(()),
            _ => Err(Refusal::Busy),
        }
    }

    /// Whether something may be decided that bears on all tasks: what an earlier life may have started is not judged by it.
    pub(super) fn all_decidable(&self) -> Result<(), Refusal> {
        self.all_undecided()?;
        let horizon = self.life.inherited.filter(|_| self.may_have_started());
        match (horizon, self.due.first()) {
            (Some(horizon), Some((due, _))) if *due <= horizon => Err(Refusal::NoRunner),
            (Some(_) | None, Some(_) | None) => Ok(()),
        }
    }

    /// Whether a definition that uses a calendar is on its way to the store.
    fn is_coming_into_use(&self, name: &CalendarName) -> bool {
        let uses = |record: &Record| {
            let (Record::TaskAdded { definition, .. } | Record::TaskChanged { definition, .. }) = record else {
                return false;
            };
            definition.when.calendars().iter().any(|used| used.name == *name)
        };
        self.pending.values().any(|batch| match batch {
            Batch::Decision { records, .. } => records.iter().any(uses),
            Batch::Facts(_) => false,
        })
    }

    /// The tasks that use a calendar.
    fn users_of<'a>(&'a self, name: &'a CalendarName) -> impl Iterator<Item = (TaskId, &'a Task)> + 'a {
        let uses = move |task: &Task| {
            let written = task.written.as_ref();
            written.is_some_and(|when| when.calendars().iter().any(|of| of.name == *name))
        };
        self.tasks.iter().filter(move |(_, task)| uses(task))
    }

    /// Reads the schedules anew that use a calendar.
    pub(super) fn calendar_changed(&mut self, name: &CalendarName) {
        let users: Vec<_> = self.users_of(name).map(|(id, task)| (id, task.when())).collect();
        for (id, when) in users {
            self.read_anew(id, &when);
        }
    }

    /// All calendars, in the order of their names.
    pub fn calendars(&self) -> impl Iterator<Item = (&CalendarName, &Arc<Kept>)> {
        self.schedules.shelf().all()
    }
}

/// What becomes of all tasks may depend on it.
fn all_reserved() -> Reserved {
    Reserved {
        all: true,
        ..Reserved::default()
    }
}
