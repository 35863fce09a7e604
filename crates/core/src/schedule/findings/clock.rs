//! Coming changes of the clock that move, drop or repeat a fire time.

use super::{Finding, FindingCode};
use crate::schedule::Schedule;
use crate::schedule::civil::{DAY, display_local, display_time};
use crate::schedule::cron::Cron;
use crate::schedule::walk::{DstRule, Overlap, fires_after_gap};
use crate::schedule::zone::{Segment, Zone};
use crate::time::Timestamp;

/// How far ahead changes of the clock are looked for: thirteen months.
const AHEAD: i64 = 396 * DAY;
/// Most changes of the clock that are looked at.
const CHANGES_MAX: usize = 16;

/// A change of the clock that moves, drops or repeats fire times of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockChange {
    /// The instant of the change.
    pub at: Timestamp,
    /// What it does to the schedule.
    pub finding: Finding,
    /// Whether the schedule goes by the clock on the wall in every hour, so that it surprises nobody.
    pub is_hourly: bool,
}

/// What the changes of the clock from one instant on and before another do to a schedule, in order. At most 16 are looked
/// at of each of its zones.
#[must_use]
pub fn clock_changes(schedule: &Schedule, from: Timestamp, until: Timestamp) -> Vec<ClockChange> {
    match schedule {
        Schedule::Cron { cron, zone, rule } => {
            let mut changes = Vec::new();
            let mut segment = zone.segment(from.as_second().saturating_sub(1));
            for _ in 0..CHANGES_MAX {
                if segment.end >= until.as_second() {
                    break;
                }
                segment = zone.segment(segment.end);
                changes.extend(of_segment(cron, zone, *rule, &segment).map(|finding| ClockChange {
                    at: Timestamp::from_second(segment.start),
                    finding,
                    is_hourly: is_hourly(cron),
                }));
            }
            changes
        }
        Schedule::Termed(termed) => {
            let (from, until) = (from.max(termed.start), until.min(termed.end));
            let mut changes: Vec<ClockChange> = Vec::new();
            for change in termed.of.iter().flat_map(|part| clock_changes(part, from, until)) {
                if !changes.contains(&change) {
                    changes.push(change);
                }
            }
            changes.sort_by_key(|change| change.at);
            changes
        }
        Schedule::Every { .. } | Schedule::At(_) | Schedule::Manual => Vec::new(),
    }
}

/// Fire times in every hour have neighbours everywhere: a change of the clock surprises nobody.
fn is_hourly(cron: &Cron) -> bool {
    cron.hour_mask() == (1 << 24) - 1 && !cron.is_fixed()
}

/// What the change of the clock does with which a segment begins.
fn of_segment(cron: &Cron, zone: &Zone, rule: DstRule, segment: &Segment) -> Option<Finding> {
    if segment.opens() > segment.reached {
        gap(cron, zone, rule, segment)
    } else {
        overlap(cron, zone, rule, segment)
    }
}

pub(super) fn changes(cron: &Cron, zone: &Zone, rule: DstRule, now: Timestamp, findings: &mut Vec<Finding>) {
    if is_hourly(cron) {
        return;
    }
    let now = now.as_second();
    let mut segment = zone.segment(now);
    let (mut has_gap, mut has_overlap) = (false, false);
    for _ in 0..CHANGES_MAX {
        if segment.end == i64::MAX || segment.end - now > AHEAD || has_gap && has_overlap {
            return;
        }
        segment = zone.segment(segment.end);
        let known = if segment.opens() > segment.reached {
            &mut has_gap
        } else {
            &mut has_overlap
        };
        let finding = of_segment(cron, zone, rule, &segment).filter(|_| !std::mem::replace(known, true));
        findings.extend(finding);
    }
}

fn gap(cron: &Cron, zone: &Zone, rule: DstRule, segment: &Segment) -> Option<Finding> {
    if !fires_after_gap(cron, segment) {
        return None;
    }
    let skipped = cron.next_local(segment.reached)?;
    let fate = if rule.runs_gap(cron) {
        format!("it fires at {} instead", display_time(segment.opens()))
    } else {
        "it does not fire then".to_owned()
    };
    let message = format!(
        "Clocks in {} skip {} ({} to {}): {fate}.",
        zone.name(),
        display_local(skipped),
        display_time(segment.reached),
        display_time(segment.opens())
    );
    Some(Finding::new(FindingCode::DstGap, message))
}

fn overlap(cron: &Cron, zone: &Zone, rule: DstRule, segment: &Segment) -> Option<Finding> {
    let repeated = cron
        .next_local(segment.opens())
        .filter(|local| *local < segment.reached)?;
    let fate = match rule.passes(cron) {
        Overlap::First => "it fires the first time only",
        Overlap::Second => "it fires the second time only",
        Overlap::Auto | Overlap::Both => "it fires both times",
    };
    let message = format!(
        "Clocks in {} show {} twice (back from {} to {}): {fate}.",
        zone.name(),
        display_local(repeated),
        display_time(segment.reached),
        display_time(segment.opens())
    );
    Some(Finding::new(FindingCode::DstOverlap, message))
}
