//! What keeps fire times from starting, known ahead: pauses and calendars. Fire times that share a fate are dealt with as one.

use std::time::Duration;

use crate::pause::{Pause, PauseScope};
use crate::schedule::{Keeping, Passed};
use crate::task::TaskId;
use crate::time::Timestamp;

use super::Scheduler;
use super::firing::INSTANT;
use super::tasks::Task;

/// Most spans that are looked through for a fire time that will start.
const SPANS_MAX: usize = 500;
/// How far ahead one is looked for: leap days come eight years apart, and on a weekday of their own in twenty-eight.
const LOOKED_AHEAD: Duration = Duration::from_secs(60 * 366 * 24 * 60 * 60);

/// So many stretches are told apart however long ago they were, and those of this long ago.
const STRETCHES_MAX: usize = 200;
const TOLD_APART: Duration = Duration::from_secs(60 * 24 * 60 * 60);

/// Fire times that follow each other and share a fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) passed: Passed,
    /// Why they do not start; `None` where they are owed.
    pub(super) suppressed: Option<String>,
}

impl Stretch {
    /// One fire time that is owed.
    pub(super) fn single(at: Timestamp) -> Self {
        Stretch {
            passed: Passed::single(at),
            suppressed: None,
        }
    }
}

/// What becomes of fire times from one instant on.
struct Fate {
    suppressed: Option<String>,
    /// It holds up to here, this instant included.
    until: Timestamp,
}

impl Fate {
    /// A reason holds until an instant, as what there is no reason for.
    fn bound(&mut self, reason: Option<String>, change: Timestamp) {
        self.suppressed = self.suppressed.take().or(reason);
        self.until = self.until.min(change.minus(INSTANT));
    }
}

impl Scheduler {
    /// The fire times of a task later than `after` and not later than `until`, in order.
    pub(super) fn stretches<'a>(
        &'a self,
        id: TaskId,
        task: &'a Task,
        after: Timestamp,
        until: Timestamp,
    ) -> impl Iterator<Item = Stretch> + 'a {
        let mut mark = after;
        let mut found = 0;
        std::iter::from_fn(move || {
            let first = task.schedule.next_after(mark).filter(|first| *first <= until)?;
            found += 1;
            let long_ago = until.minus(TOLD_APART);
            if found > STRETCHES_MAX && first <= long_ago {
                // A clock that was decades off must not make a record of each weekend.
                let passed = task.schedule.passed(mark, long_ago)?;
                mark = passed.last;
                return Some(Stretch {
                    passed,
                    suppressed: None,
                });
            }
            let fate = self.fate(id, task, first);
            let passed = task.schedule.passed(mark, fate.until.min(until))?;
            mark = passed.last;
            Some(Stretch {
                passed,
                suppressed: fate.suppressed,
            })
        })
    }

    /// The first fire time of a task after this instant that is to start, as far as is known now.
    pub(super) fn first_owed(&self, id: TaskId, task: &Task, after: Timestamp) -> Option<Timestamp> {
        let mut mark = after;
        // What comes later than that has no date.
        let last = Timestamp::from_jiff(jiff::Timestamp::MAX);
        let last = last.min(task.schedule.next_after(after)?.plus(LOOKED_AHEAD));
        for _ in 0..SPANS_MAX {
            let at = task.schedule.next_after(mark).filter(|at| *at <= last)?;
            let fate = self.fate(id, task, at);
            if fate.suppressed.is_none() {
                return Some(at);
            }
            mark = fate.until;
        }
        None
    }

    /// Why a fire time does not start, if that is known ahead.
    pub(super) fn suppression(&self, id: TaskId, task: &Task, at: Timestamp) -> Option<String> {
        self.fate(id, task, at).suppressed
    }

    /// Whether nothing can keep a fire time of a task from starting, as far as is known ahead.
    pub(super) fn is_free(&self, id: TaskId, task: &Task) -> bool {
        let is_kept = !task.schedule.keeps().is_empty() || self.schedules.shelf().freeze_any();
        !is_kept && self.pauses_of(id).next().is_none()
    }

    fn fate(&self, id: TaskId, task: &Task, at: Timestamp) -> Fate {
        let mut fate = Fate {
            suppressed: None,
            until: Timestamp::MAX,
        };
        for (scope, pause) in self.pauses_of(id) {
            if at <= pause.since {
                fate.until = fate.until.min(pause.since);
            } else if !pause.is_over(at) {
                fate.suppressed.get_or_insert_with(|| pause.reason(scope));
                let last = pause.until.map_or(Timestamp::MAX, |until| until.minus(INSTANT));
                fate.until = fate.until.min(last);
            }
        }
        if fate.suppressed.is_none() {
            self.keep_to_calendars(id, task, at, &mut fate);
        }
        fate
    }

    fn keep_to_calendars(&self, id: TaskId, task: &Task, at: Timestamp, fate: &mut Fate) {
        let (reason, change) = task.schedule.suppressed(at);
        fate.bound(reason, change);
        for freezing in self.freezing_of(id, task) {
            match freezing {
                Ok(freezing) => {
                    let (reason, change) = freezing.fate(at);
                    let reason = reason.map(|_| format!("calendar {} freezes it", freezing.name));
                    fate.bound(reason, change);
                }
                // What cannot be read freezes, rather than let a task run that should not.
                Err(why) => {
                    fate.suppressed.get_or_insert(why);
                }
            }
        }
    }

    /// The calendars that freeze a task, or why one that does cannot be read.
    pub(super) fn freezing_of<'a>(
        &'a self,
        id: TaskId,
        task: &'a Task,
    ) -> impl Iterator<Item = Result<Keeping, String>> + 'a {
        let shelf = self.schedules.shelf();
        shelf.freezing(&task.name, self.labels_of(id), task.schedule.zone())
    }

    /// The pauses that bear on a task, its own first.
    pub(super) fn pauses_of(&self, id: TaskId) -> impl Iterator<Item = (PauseScope, &Pause)> {
        let scopes = [PauseScope::Task(id), PauseScope::All];
        scopes
            .into_iter()
            .filter_map(|scope| Some((scope, self.pauses.get(&scope)?)))
    }
}
