//! What keeps fire times from starting, and what became of them.

use serde::Serialize;
use taskd_core::calendar::Calendar;
use taskd_wire::client::{self as wire, Fate};

use super::{PassedSpan, Run, rfc3339};

/// A fire time of the past that is made up for, in `backfill`.
#[derive(Debug, Serialize)]
pub struct Backfilled<'a> {
    at: String,
    run: Option<&'a str>,
}

impl<'a> Backfilled<'a> {
    /// Of what the daemon tells.
    pub fn of(backfilled: &'a wire::Backfilled) -> Self {
        Backfilled {
            at: rfc3339(backfilled.at_ms),
            run: backfilled.run.as_deref(),
        }
    }
}

/// A group or lock in a list.
#[derive(Debug, Serialize)]
pub struct PoolShape<'a> {
    name: &'a str,
    limit: Option<u32>,
    is_set: bool,
    tasks: u64,
    running: u64,
    waiting: u64,
}

impl<'a> PoolShape<'a> {
    /// Of what the daemon tells.
    pub fn of(info: &'a wire::PoolInfo) -> Self {
        PoolShape {
            name: &info.name,
            limit: info.limit,
            is_set: info.is_set,
            tasks: info.tasks,
            running: info.running,
            waiting: info.waiting,
        }
    }
}

/// A calendar in `calendar list`.
#[derive(Debug, Serialize)]
pub struct CalendarShape<'a> {
    name: &'a str,
    tz: &'a str,
    freeze: &'a [String],
    days: u64,
    ranges: u64,
    rules: &'a [String],
    tasks: u64,
    changed_at: Option<String>,
    by: Option<&'a str>,
}

impl<'a> CalendarShape<'a> {
    /// Of what the daemon tells.
    pub fn of(info: &'a wire::CalendarInfo) -> Self {
        CalendarShape {
            name: &info.name,
            tz: &info.tz,
            freeze: &info.freeze,
            days: info.days,
            ranges: info.ranges,
            rules: &info.rules,
            tasks: info.tasks,
            changed_at: info.changed_ms.map(rfc3339),
            by: info.by.as_deref(),
        }
    }
}

/// A calendar in `calendar show`: all of `list`, and more.
#[derive(Debug, Serialize)]
pub struct CalendarWhole<'a> {
    #[serde(flatten)]
    info: CalendarShape<'a>,
    covers: &'a Calendar,
    users: &'a [String],
}

impl<'a> CalendarWhole<'a> {
    /// Of what the daemon tells.
    pub fn of(info: &'a wire::CalendarInfo, covers: &'a Calendar, users: &'a [String]) -> Self {
        CalendarWhole {
            info: CalendarShape::of(info),
            covers,
            users,
        }
    }
}

/// What became of a fire time, in `why`.
#[derive(Debug, Serialize)]
pub struct WhyFate<'a> {
    at: String,
    verdict: &'a str,
    run: Option<Run<'a>>,
    passed: Option<PassedSpan<'a>>,
    change: Option<WhyChange<'a>>,
    down: Option<Down>,
    before: Option<String>,
    after: Option<String>,
    held: Option<&'a str>,
    reason: Option<&'a str>,
    moved_from: Option<String>,
    moved_to: Option<String>,
    moved_by: Option<&'a str>,
    clock: Option<&'a str>,
}

impl<'a> WhyFate<'a> {
    /// Of what the daemon tells.
    pub fn of(fate: &'a Fate) -> Self {
        WhyFate {
            at: rfc3339(fate.at_ms),
            verdict: &fate.verdict,
            run: fate.run.as_deref().map(|run| Run::of(run)),
            passed: fate.passed.as_deref().map(|passed| PassedSpan::of(passed)),
            change: fate.change.as_deref().map(|change| WhyChange {
                kind: &change.kind,
                at: rfc3339(change.at_ms),
                until: change.until_ms.map(rfc3339),
                by: change.by.as_deref(),
                note: change.note.as_deref(),
            }),
            down: fate.down_ms.map(|(from, until)| Down {
                from: rfc3339(from),
                until: rfc3339(until),
            }),
            before: fate.before_ms.map(rfc3339),
            after: fate.after_ms.map(rfc3339),
            held: fate.held.as_deref(),
            reason: fate.reason.as_deref(),
            moved_from: fate.moved_from_ms.map(rfc3339),
            moved_to: fate.moved_to_ms.map(rfc3339),
            moved_by: fate.moved_by.as_deref(),
            clock: fate.clock.as_deref(),
        }
    }
}

/// What somebody changed.
#[derive(Debug, Serialize)]
pub struct WhyChange<'a> {
    kind: &'a str,
    at: String,
    until: Option<String>,
    by: Option<&'a str>,
    note: Option<&'a str>,
}

/// When the daemon was down.
#[derive(Debug, Serialize)]
pub struct Down {
    from: String,
    until: String,
}
