//! Coming changes of the clock that move, drop or repeat a fire time.

use super::{Finding, FindingCode};
use crate::schedule::civil::{DAY, display_local, display_time};
use crate::schedule::cron::Cron;
use crate::schedule::walk::{DstRule, Overlap, fires_after_gap};
use crate::schedule::zone::{Segment, Zone};
use crate::time::Timestamp;

/// How far ahead changes of the clock are looked for: thirteen months.
const AHEAD: i64 = 396 * DAY;
/// Most changes of the clock that are looked at.
const CHANGES_MAX: usize = 16;

pub(super) fn changes(cron: &Cron, zone: &Zone, rule: DstRule, now: Timestamp, findings: &mut Vec<Finding>) {
    // Fire times in every hour have neighbours everywhere: a change of the clock surprises nobody.
    let hourly = cron.hour_mask() == (1 << 24) - 1 && !cron.is_fixed();
    if hourly {
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
        let finding = if segment.opens() > segment.reached {
            gap(cron, zone, rule, &segment).filter(|_| !std::mem::replace(&mut has_gap, true))
        } else {
            overlap(cron, zone, rule, &segment).filter(|_| !std::mem::replace(&mut has_overlap, true))
        };
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
