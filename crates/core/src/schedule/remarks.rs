//! What a person should know about a schedule that is accepted: surprises, not errors.

use super::Schedule;
use super::civil::{DAY, display_local, display_time};
use super::cron::Cron;
use super::walk::{DstRule, Overlap, fires_after_gap};
use super::zone::{Segment, Zone};
use crate::time::Timestamp;

/// How far ahead changes of the clock are looked for: thirteen months.
const AHEAD: i64 = 396 * DAY;
/// Most changes of the clock that are looked at.
const CHANGES_MAX: usize = 16;

/// Sentences about what may surprise in a schedule: coming changes of the clock that move, drop or repeat a fire time, and
/// parts of the expression that mean something else than they seem to. The work is bounded.
#[must_use]
pub fn remarks(schedule: &Schedule, now: Timestamp) -> Vec<String> {
    let mut remarks = Vec::new();
    let (cron, zone, rule) = match schedule {
        Schedule::Cron { cron, zone, rule } => (cron, zone, rule),
        Schedule::Termed(termed) => {
            for remark in termed.of.iter().flat_map(|part| self::remarks(part, now)) {
                if !remarks.contains(&remark) {
                    remarks.push(remark);
                }
            }
            return remarks;
        }
        Schedule::Every { .. } | Schedule::At(_) | Schedule::Manual => return remarks,
    };
    days(cron, &mut remarks);
    steps(cron, &mut remarks);
    clock_changes(cron, zone, *rule, now, &mut remarks);
    remarks
}

fn days(cron: &Cron, remarks: &mut Vec<String>) {
    if cron.either_day() {
        let (day_step, weekday_step) = cron.day_steps();
        let stepped = match (day_step, weekday_step) {
            (true, true) => {
                "; a field that begins with `*/` is a restriction too, which cron programs take differently"
            }
            (true, false) => {
                "; `*/` in the day of month field is a restriction too, which cron programs take differently"
            }
            (false, true) => {
                "; `*/` in the day of week field is a restriction too, which cron programs take differently"
            }
            (false, false) => "",
        };
        remarks.push(format!(
            "It fires on days that match either the day of month or the day of week; put `+` before the day of week to require both{stepped}."
        ));
    }
    let Some(first) = cron.first_plain_day() else {
        return;
    };
    if first == 29 && cron.only_february() {
        remarks.push("It fires in leap years only.".to_owned());
    } else if first > 28 && cron.skips_months(first) {
        remarks.push(format!(
            "It does not fire in months without a day {first}; L means the last day of every month."
        ));
    }
}

fn steps(cron: &Cron, remarks: &mut Vec<String>) {
    for (mask, length, unit, next) in [
        (cron.second_mask(), 60, "second", "minute"),
        (cron.minute_mask(), 60, "minute", "hour"),
        (u64::from(cron.hour_mask()), 24, "hour", "day"),
    ] {
        if let Some((step, rest)) = uneven_step(mask, length) {
            let s = if rest == 1 { "" } else { "s" };
            remarks.push(format!(
                "The step of {step} {unit}s does not divide the {next}: it begins anew with each {next}, after {rest} {unit}{s}."
            ));
        }
    }
}

/// The step and the rest of a field like `*/7`: values from 0 in equal steps over the whole length, with a shorter step at the end.
fn uneven_step(mask: u64, length: u32) -> Option<(u32, u32)> {
    if mask & 1 == 0 || mask.count_ones() < 2 {
        return None;
    }
    let step = (mask & !1).trailing_zeros();
    let whole = (0..length)
        .step_by(step as usize)
        .fold(0_u64, |bits, value| bits | 1 << value);
    let rest = length % step;
    (mask == whole && rest != 0).then_some((step, rest))
}

fn clock_changes(cron: &Cron, zone: &Zone, rule: DstRule, now: Timestamp, remarks: &mut Vec<String>) {
    // Fire times in every hour have neighbours everywhere: a change of the clock surprises nobody.
    let hourly = cron.hour_mask() == (1 << 24) - 1 && !cron.is_fixed();
    if hourly {
        return;
    }
    let now = now.as_second();
    let mut segment = zone.segment(now);
    let (mut gap, mut overlap) = (false, false);
    for _ in 0..CHANGES_MAX {
        if segment.end == i64::MAX || segment.end - now > AHEAD || gap && overlap {
            return;
        }
        segment = zone.segment(segment.end);
        let remark = if segment.opens() > segment.reached {
            gap_remark(cron, zone, rule, &segment).filter(|_| !std::mem::replace(&mut gap, true))
        } else {
            overlap_remark(cron, zone, rule, &segment).filter(|_| !std::mem::replace(&mut overlap, true))
        };
        remarks.extend(remark);
    }
}

fn gap_remark(cron: &Cron, zone: &Zone, rule: DstRule, segment: &Segment) -> Option<String> {
    if !fires_after_gap(cron, segment) {
        return None;
    }
    let skipped = cron.next_local(segment.reached)?;
    let fate = if rule.runs_gap(cron) {
        format!("it fires at {} instead", display_time(segment.opens()))
    } else {
        "it does not fire then".to_owned()
    };
    Some(format!(
        "Clocks in {} skip {} ({} to {}): {fate}.",
        zone.name(),
        display_local(skipped),
        display_time(segment.reached),
        display_time(segment.opens())
    ))
}

fn overlap_remark(cron: &Cron, zone: &Zone, rule: DstRule, segment: &Segment) -> Option<String> {
    let repeated = cron
        .next_local(segment.opens())
        .filter(|local| *local < segment.reached)?;
    let fate = match rule.passes(cron) {
        Overlap::First => "it fires the first time only",
        Overlap::Second => "it fires the second time only",
        Overlap::Auto | Overlap::Both => "it fires both times",
    };
    Some(format!(
        "Clocks in {} show {} twice (back from {} to {}): {fate}.",
        zone.name(),
        display_local(repeated),
        display_time(segment.reached),
        display_time(segment.opens())
    ))
}

#[cfg(test)]
mod tests;
