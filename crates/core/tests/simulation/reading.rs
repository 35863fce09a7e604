//! Schedules of the simulated tasks, as the checks read them anew.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use taskd_core::Timestamp;
use taskd_core::schedule::{Schedule, Termed};
use taskd_core::task::When;

use crate::world::catalog;

/// Reads when a task is due.
pub fn read(when: &When) -> Schedule {
    thread_local! {
        /// Every expression is read once: that is most of the work otherwise.
        static READ: RefCell<HashMap<When, Schedule>> = RefCell::default();
    }
    match when {
        When::Manual => Schedule::Manual,
        When::Every { interval_ms, anchor } => Schedule::Every {
            anchor: *anchor,
            interval: Duration::from_millis(*interval_ms),
        },
        When::At { at, .. } => Schedule::At(*at),
        When::Cron { expr, tz, dst } => READ.with_borrow_mut(|read| {
            let parsed = || {
                catalog()
                    .cron_by(expr, tz, *dst)
                    .expect("the simulation writes good expressions")
            };
            read.entry(when.clone()).or_insert_with(parsed).clone()
        }),
        When::Boot | When::After(_) => Schedule::Manual,
        When::Termed(terms) => Schedule::Termed(Arc::new(Termed {
            of: terms.of.iter().map(read).collect(),
            offset: Duration::from_millis(terms.offset_ms),
            start: terms.start.unwrap_or(Timestamp::MIN),
            end: terms.end.unwrap_or(Timestamp::MAX),
            // What they suppress is a fire time all the same.
            keeps: Vec::new(),
            shift: None,
        })),
    }
}
