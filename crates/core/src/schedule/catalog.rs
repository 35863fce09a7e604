//! One compiled form for all tasks with the same expression.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use super::Schedule;
use super::cron::Cron;
use super::error::CronError;
use super::walk::DstRule;
use super::zone::{UnknownZone, Zones};

/// The catalog looks for unused entries when it has grown to at least this many.
const SWEEP_MIN: usize = 256;

/// Why an expression and a zone make no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// The expression is wrong.
    #[error(transparent)]
    Cron(#[from] CronError),
    /// The zone is not known.
    #[error(transparent)]
    Zone(#[from] UnknownZone),
}

/// Makes cron schedules, and shares what equal ones have in common.
///
/// Entries that no schedule uses any more are forgotten as the catalog grows.
#[derive(Debug)]
pub struct Catalog {
    zones: Zones,
    crons: HashMap<Box<str>, Weak<Cron>>,
    sweep_at: usize,
}

impl Catalog {
    /// A catalog that takes its zones from this registry.
    #[must_use]
    pub fn new(zones: Zones) -> Self {
        Catalog {
            zones,
            crons: HashMap::new(),
            sweep_at: SWEEP_MIN,
        }
    }

    /// The schedule of a cron expression in a zone, with the default rule for daylight saving.
    ///
    /// # Errors
    /// [`ScheduleError`] says whether the expression or the zone is at fault.
    pub fn cron(&mut self, expr: &str, tz: &str) -> Result<Schedule, ScheduleError> {
        self.cron_by(expr, tz, DstRule::default())
    }

    /// The schedule of a cron expression in a zone, with a rule of its own for daylight saving.
    ///
    /// # Errors
    /// [`ScheduleError`] says whether the expression or the zone is at fault.
    pub fn cron_by(&mut self, expr: &str, tz: &str, rule: DstRule) -> Result<Schedule, ScheduleError> {
        let cron = match self.crons.get(expr).and_then(Weak::upgrade) {
            Some(cron) => cron,
            None => self.compile(expr)?,
        };
        Ok(Schedule::Cron {
            cron,
            zone: self.zones.get(tz)?,
            rule,
        })
    }

    /// The zones, to resolve names and local times.
    pub fn zones(&mut self) -> &mut Zones {
        &mut self.zones
    }

    /// How many expressions are kept, in use or not yet forgotten.
    #[must_use]
    pub fn len(&self) -> usize {
        self.crons.len()
    }

    /// Whether no expression is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.crons.is_empty()
    }

    fn compile(&mut self, expr: &str) -> Result<Arc<Cron>, CronError> {
        let cron = Arc::new(Cron::parse(expr)?);
        if self.crons.len() >= self.sweep_at {
            self.crons.retain(|_, cron| cron.strong_count() > 0);
            self.sweep_at = (self.crons.len() * 2).max(SWEEP_MIN);
        }
        self.crons.insert(expr.into(), Arc::downgrade(&cron));
        Ok(cron)
    }
}
