//! When a task is due, as typed: expressions, zones, intervals and instants, and what becomes of fire times that are missed.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use taskd_core::Timestamp;
use taskd_core::policy::Misfire;
use taskd_core::schedule::{
    AtError, AtErrorKind, Catalog, DstRule, Finding, FindingCode, Gap, Resolution, Schedule, ScheduleError, Termed,
    UnknownZone, Zones, every_word, findings as schedule_findings, format_duration, is_reboot_word, resolve_at,
};
use taskd_core::scheduler::Limits;
use taskd_core::task::{Definition, When};
use taskd_wire::definition::{MisfireSpec, ScheduleSpec};
use taskd_wire::refusal::Refusal;

use super::{Context, bad, dependencies, terms};

/// The longest interval or delay: a hundred years.
const LENGTH_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// The shortest interval, as the command line has it.
const INTERVAL_MIN_MS: u64 = 1000;

/// Most expressions kept parsed.
const KEPT: usize = 2048;

/// Schedules as the server reads them, to check what is typed. Those read lately are kept, so that an import of many
/// tasks with few expressions reads each expression once.
pub(crate) struct Schedules {
    catalog: Catalog,
    kept: HashMap<(String, String, DstRule), Schedule>,
}

impl Schedules {
    pub(crate) fn new(zones: Zones) -> Mutex<Self> {
        Mutex::new(Schedules {
            catalog: Catalog::new(zones),
            kept: HashMap::new(),
        })
    }

    /// The tz database has changed.
    pub(crate) fn reset(&mut self) {
        self.catalog.zones().reset();
        self.kept.clear();
    }

    /// A schedule that was accepted; `None` where it cannot be read any more.
    pub(crate) fn of(&mut self, when: &When) -> Option<Schedule> {
        match when {
            When::Manual => Some(Schedule::Manual),
            When::Cron { expr, tz, dst } => self.cron(expr, tz, *dst).ok(),
            When::Every { interval_ms, anchor } => Some(Schedule::Every {
                anchor: *anchor,
                interval: Duration::from_millis(*interval_ms),
            }),
            When::At { at, .. } => Some(Schedule::At(*at)),
            When::Boot | When::After(_) => Some(Schedule::Manual),
            When::Termed(terms) => {
                let of: Option<Vec<_>> = terms.of.iter().map(|part| self.of(part)).collect();
                Some(Schedule::Termed(Arc::new(Termed {
                    of: of?,
                    offset: Duration::from_millis(terms.offset_ms),
                    start: terms.start.unwrap_or(Timestamp::MIN),
                    end: terms.end.unwrap_or(Timestamp::MAX),
                    // Fire times that they suppress are fire times; the scheduler knows what they hold.
                    keeps: Vec::new(),
                    shift: None,
                })))
            }
        }
    }

    fn cron(&mut self, expr: &str, tz: &str, dst: DstRule) -> Result<Schedule, ScheduleError> {
        let key = (expr.to_owned(), tz.to_owned(), dst);
        if let Some(found) = self.kept.get(&key) {
            return Ok(found.clone());
        }
        let schedule = self.catalog.cron_by(expr, tz, dst)?;
        if self.kept.len() >= KEPT {
            self.kept.clear();
        }
        self.kept.insert(key, schedule.clone());
        Ok(schedule)
    }
}

/// Refuses an instant that has passed while its task was on its way to be accepted: it would never fire.
///
/// # Errors
/// As [`definition`](super::definition) refuses one that has passed before.
pub(crate) fn still_to_come(definition: &Definition, accepted_at: Timestamp) -> Result<(), Refusal> {
    let last = definition.when.parts().iter().filter_map(|part| match part {
        When::At { at, text, .. } => Some((*at, text)),
        When::Cron { .. } | When::Every { .. } | When::Manual | When::Boot | When::After(_) | When::Termed(_) => None,
    });
    match last.max().filter(|_| terms::is_over(&definition.when, accepted_at)) {
        None => Ok(()),
        Some((at, text)) => {
            let error = AtError {
                kind: AtErrorKind::InThePast { at },
                span: (0, 0),
            };
            Err(bad("at", text, error.problem(), error.cure().as_deref()))
        }
    }
}

/// The name of a zone as the tz database spells it.
///
/// # Errors
/// When it has none of that name.
pub(crate) fn known_zone(schedules: &Mutex<Schedules>, tz: &str) -> Result<String, Refusal> {
    let mut schedules = schedules.lock().unwrap_or_else(PoisonError::into_inner);
    let zone = schedules
        .catalog
        .zones()
        .get(tz)
        .map_err(|unknown| bad_zone(&unknown))?;
    Ok(zone.name().to_owned())
}

/// The zone a definition's schedule is read in.
pub(crate) fn zone_of(definition: &Definition) -> Option<String> {
    terms::zone(&definition.when)
}

/// What a user would want to hear of a definition's schedule.
pub(crate) fn findings(definition: &Definition, schedules: &Mutex<Schedules>, now: Timestamp) -> Vec<Finding> {
    let mut schedules = schedules.lock().unwrap_or_else(PoisonError::into_inner);
    let when = &definition.when;
    let parts = when.parts();
    let mut findings: Vec<Finding> = Vec::new();
    for finding in parts.iter().flat_map(|part| findings_of(part, &mut schedules, now)) {
        // Of several schedules one may be over; whether all are is asked of them together.
        let is_over = finding.code == FindingCode::NeverFires && matches!(when, When::Termed(_));
        if !is_over && !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    if matches!(when, When::Termed(_)) && !when.by_event() {
        findings.extend(schedules.of(when).and_then(|all| Finding::of_over(&all, now)));
    }
    findings
}

fn findings_of(when: &When, schedules: &mut Schedules, now: Timestamp) -> Vec<Finding> {
    // A zone that has vanished since is told of elsewhere.
    match when {
        When::Cron { expr, tz, dst } => schedules
            .cron(expr, tz, *dst)
            .map(|schedule| schedule_findings(&schedule, expr, now))
            .unwrap_or_default(),
        When::At { at, text, tz } => {
            let mut findings = schedule_findings(&Schedule::At(*at), text, now);
            if let Some(tz) = tz
                && findings.is_empty()
                && let Ok(resolved) = resolve_at(text, tz, now, schedules.catalog.zones())
                // What was typed relative to the day is another instant by now.
                && resolved.at == *at
            {
                findings.extend(local_time_finding(text, tz, resolved.kind));
            }
            findings
        }
        When::Manual | When::Every { .. } | When::Boot | When::After(_) | When::Termed(_) => Vec::new(),
    }
}

/// What had to be decided about a local time that comes never or twice.
fn local_time_finding(text: &str, tz: &str, kind: Resolution) -> Option<Finding> {
    let (code, message) = match kind {
        Resolution::Unique => return None,
        Resolution::Gap => (
            FindingCode::DstGap,
            format!("Clocks in {tz} skip {text}: the first instant after that is taken."),
        ),
        Resolution::Overlap => (
            FindingCode::DstOverlap,
            format!("Clocks in {tz} show {text} twice: the first time is taken."),
        ),
    };
    Some(Finding::new(code, message))
}

pub(super) fn when(spec: ScheduleSpec, context: &Context<'_>) -> Result<When, Refusal> {
    match spec {
        ScheduleSpec::Manual => Ok(When::Manual),
        ScheduleSpec::Boot => Ok(When::Boot),
        ScheduleSpec::After { of, any } => dependencies::after(&of, any),
        ScheduleSpec::Cron { expr, .. } if is_reboot_word(&expr) => Ok(When::Boot),
        ScheduleSpec::Cron { expr, tz } => match every_word(&expr) {
            None => cron(expr, tz, DstRule::default(), context),
            Some(Ok(interval)) => every(u64::try_from(interval.as_millis()).unwrap_or(u64::MAX), None, context),
            Some(Err(error)) => Err(Refusal::BadField {
                field: "cron".to_owned(),
                text: shown(&expr),
                at: columns(error.span),
                problem: error.problem(),
                cure: error.cure(),
            }),
        },
        ScheduleSpec::Every { interval_ms, anchor_ms } => every(interval_ms, anchor_ms, context),
        ScheduleSpec::At { at, tz } => instant(&at, tz, context),
        ScheduleSpec::In { delay_ms } => {
            length("in", delay_ms)?;
            let delay = Duration::from_millis(delay_ms);
            Ok(When::At {
                at: context.now.plus(delay),
                text: format!("{DELAY}{}", format_duration(delay)),
                tz: None,
            })
        }
    }
}

fn every(interval_ms: u64, anchor_ms: Option<i64>, context: &Context<'_>) -> Result<When, Refusal> {
    length("every", interval_ms)?;
    if interval_ms < INTERVAL_MIN_MS {
        let text = format_duration(Duration::from_millis(interval_ms));
        let problem = "the interval is too short";
        return Err(bad("every", &text, problem, Some("write at least 1s")));
    }
    Ok(When::Every {
        interval_ms,
        anchor: anchor_ms.map_or(context.now, Timestamp::from_millis),
    })
}

pub(super) fn length(field: &str, ms: u64) -> Result<NonZeroU64, Refusal> {
    let text = format_duration(Duration::from_millis(ms));
    let Some(length) = NonZeroU64::new(ms) else {
        return Err(bad(
            field,
            &text,
            "it must be longer than nothing",
            Some("write 90s, 15m or 1d12h"),
        ));
    };
    if Duration::from_millis(ms) > LENGTH_MAX {
        return Err(bad(field, &text, "it is longer than a hundred years", None));
    }
    Ok(length)
}

fn cron(expr: String, tz: Option<String>, dst: DstRule, context: &Context<'_>) -> Result<When, Refusal> {
    let tz = tz.unwrap_or_else(|| context.local_zone.to_string());
    let schedule = context
        .schedules
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .cron(&expr, &tz, dst)
        .map_err(|error| match error {
            ScheduleError::Cron(error) => Refusal::BadField {
                field: "cron".to_owned(),
                text: shown(&expr),
                at: columns(error.span),
                problem: error.problem(),
                cure: error.cure(),
            },
            ScheduleError::Zone(unknown) => bad_zone(&unknown),
        })?;
    if schedule.next_after(context.now).is_none() {
        let problem = "it never fires from now on";
        return Err(bad("cron", &expr, problem, Some("choose a year that is to come")));
    }
    Ok(When::Cron { expr, tz, dst })
}

/// As much of a text as a refusal repeats.
fn shown(text: &str) -> String {
    text.chars().take(256).collect()
}

/// A span of columns as first column and length; `None` when it marks nothing.
fn columns((start, end): (usize, usize)) -> Option<(u32, u32)> {
    let length = u32::try_from(end.checked_sub(start)?)
        .ok()
        .filter(|length| *length > 0)?;
    Some((u32::try_from(start).ok()?, length))
}

fn bad_zone(unknown: &UnknownZone) -> Refusal {
    Refusal::BadField {
        field: "tz".to_owned(),
        text: shown(&unknown.name),
        at: None,
        problem: "the tz database has no such zone".to_owned(),
        cure: Some(match &unknown.near {
            Some(near) => format!("did you mean {near}?"),
            None => "write a name such as Europe/Berlin or UTC".to_owned(),
        }),
    }
}

/// An instant that bounds others, and may have passed.
pub(super) fn moment(field: &str, text: &str, tz: Option<String>, context: &Context<'_>) -> Result<Timestamp, Refusal> {
    let mut schedules = context.schedules.lock().unwrap_or_else(PoisonError::into_inner);
    let local = tz.as_deref().unwrap_or(&context.local_zone);
    let resolved = resolve_at(text, local, context.now, schedules.catalog.zones());
    resolved.map(|resolved| resolved.at).map_err(|error| Refusal::BadField {
        field: field.to_owned(),
        text: shown(text),
        at: columns(error.span),
        problem: error.problem(),
        cure: error.cure(),
    })
}

fn instant(text: &str, tz: Option<String>, context: &Context<'_>) -> Result<When, Refusal> {
    let mut schedules = context.schedules.lock().unwrap_or_else(PoisonError::into_inner);
    let zones = schedules.catalog.zones();
    // One that was named is kept even where an offset in the text decides alone: times are shown in it.
    let named = match &tz {
        Some(tz) => Some(zones.get(tz).map_err(|unknown| bad_zone(&unknown))?),
        None => None,
    };
    let local = tz.as_deref().unwrap_or(&context.local_zone);
    let resolved = resolve_at(text, local, context.now, zones)
        .and_then(|resolved| {
            if context.past {
                Ok(resolved)
            } else {
                resolved.later_than(context.now)
            }
        })
        .map_err(|error| Refusal::BadField {
            field: "at".to_owned(),
            text: shown(text),
            at: columns(error.span),
            problem: error.problem(),
            cure: error.cure(),
        })?;
    Ok(When::At {
        at: resolved.at,
        text: text.to_owned(),
        tz: resolved.zone.or(named).map(|zone| zone.name().to_owned()),
    })
}

/// Begins the text of an instant that was given as a delay.
const DELAY: &str = "in ";

fn is_delay(text: &str) -> bool {
    text.starts_with(DELAY)
}

/// What a schedule says of skipped and repeated local times.
pub(super) fn rule_of(when: &When) -> DstRule {
    let rule = when.parts().iter().find_map(|part| match part {
        When::Cron { dst, .. } => Some(*dst),
        When::Manual | When::Every { .. } | When::At { .. } | When::Boot | When::After(_) | When::Termed(_) => None,
    });
    rule.unwrap_or_default()
}

/// The same schedules with this rule for skipped and repeated local times.
pub(super) fn by_rule(parts: Vec<When>, rule: DstRule, context: &Context<'_>) -> Result<Vec<When>, Refusal> {
    let is_cron = |part: &When| matches!(part, When::Cron { .. });
    if rule != DstRule::default() && !parts.iter().any(is_cron) {
        let problem = "only the times of a cron expression are skipped or come twice";
        let field = if rule.gap == Gap::Auto {
            "dst-overlap"
        } else {
            "dst-gap"
        };
        return Err(bad(field, "", problem, Some("give a --cron with it, or leave it out")));
    }
    let ruled = |part| match part {
        When::Cron { expr, tz, dst } if dst != rule => cron(expr, Some(tz), rule, context),
        When::Cron { .. }
        | When::Manual
        | When::Every { .. }
        | When::At { .. }
        | When::Boot
        | When::After(_)
        | When::Termed(_) => Ok(part),
    };
    parts.into_iter().map(ruled).collect()
}

pub(super) fn misfire(kind: MisfireSpec, within_ms: Option<u64>) -> Result<Misfire, Refusal> {
    match (kind, within_ms) {
        (MisfireSpec::Once, None) => Ok(Misfire::default()),
        (MisfireSpec::Once, Some(within_ms)) => Ok(Misfire::Once {
            within_ms: late_enough(within_ms)?,
        }),
        (MisfireSpec::All, None) => Ok(Misfire::All { within_ms: None }),
        (MisfireSpec::All, Some(within_ms)) => Ok(Misfire::All {
            within_ms: Some(late_enough(within_ms)?),
        }),
        (MisfireSpec::Skip, None) => Ok(Misfire::Skip),
        (MisfireSpec::Skip, Some(ms)) => {
            let text = format_duration(Duration::from_millis(ms));
            let problem = "a missed fire time that is not run has no time limit";
            Err(bad(
                "misfire-within",
                &text,
                problem,
                Some("leave it out, or write --misfire once"),
            ))
        }
    }
}

/// Refuses what is no misfire.
fn late_enough(within_ms: u64) -> Result<NonZeroU64, Refusal> {
    let within_ms = length("misfire-within", within_ms)?;
    let within = Duration::from_millis(within_ms.get());
    if within <= Limits::default().late {
        let problem = "a start that is up to ten seconds late is no misfire";
        let cure = "write more than 10s, or --misfire skip";
        return Err(bad("misfire-within", &format_duration(within), problem, Some(cure)));
    }
    Ok(within_ms)
}

/// An instant is not one of many: without it the task would never run, so it is run however late.
pub(super) fn not_limited(when: &When, misfire: Misfire) -> Result<(), Refusal> {
    match (when, misfire) {
        (
            When::At { .. },
            Misfire::Once { within_ms }
            | Misfire::All {
                within_ms: Some(within_ms),
            },
        ) if misfire != Misfire::default() => {
            let text = format_duration(Duration::from_millis(within_ms.get()));
            let problem = "a single instant that was missed is run however late";
            Err(bad(
                "misfire-within",
                &text,
                problem,
                Some("leave it out, or write --misfire skip"),
            ))
        }
        (
            When::At { .. }
            | When::Cron { .. }
            | When::Every { .. }
            | When::Manual
            | When::Boot
            | When::After(_)
            | When::Termed(_),
            Misfire::Once { .. } | Misfire::Skip | Misfire::All { .. },
        ) => Ok(()),
    }
}

/// The same schedules in another zone, those that have one.
pub(super) fn in_zone(parts: Vec<When>, tz: &str, context: &Context<'_>) -> Result<Vec<When>, Refusal> {
    let has_zone = |part: &When| match part {
        When::Cron { .. } => true,
        When::At { text, .. } => !is_delay(text),
        When::Manual | When::Every { .. } | When::Boot | When::After(_) | When::Termed(_) => false,
    };
    if !parts.iter().any(has_zone) {
        let problem = "the schedule of this task has no time zone";
        return Err(bad("tz", tz, problem, Some("give a --cron or --at with it")));
    }
    let moved = |part| match part {
        When::Cron { expr, dst, .. } => cron(expr, Some(tz.to_owned()), dst, context),
        When::At { text, .. } if !is_delay(&text) => instant(&text, Some(tz.to_owned()), context),
        When::At { .. } | When::Manual | When::Every { .. } | When::Boot | When::After(_) | When::Termed(_) => Ok(part),
    };
    parts.into_iter().map(moved).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_that_passes_on_the_way_is_refused() {
        let mut once = crate::testing::manual("once");
        let at = Timestamp::from_millis(1_000_000);
        once.when = When::At {
            at,
            text: "today 00:16:40".to_owned(),
            tz: None,
        };
        let before = at.minus(Duration::from_millis(1));
        assert_eq!(still_to_come(&once, before), Ok(()));
        let refused = still_to_come(&once, at).expect_err("it is over");
        let Refusal::BadField {
            field, text, problem, ..
        } = refused
        else {
            panic!("{refused:?}")
        };
        assert_eq!((field.as_str(), text.as_str()), ("at", "today 00:16:40"));
        assert!(problem.contains("in the past"), "{problem}");
    }

    #[test]
    fn a_finding_is_of_the_instant_that_was_accepted() {
        let schedules = Schedules::new(Zones::new(jiff::tz::db().clone()));
        let instant = |text: &str| Timestamp::from_jiff(text.parse().expect("an instant"));
        // In Berlin the clock skips 02:30 on 2027-03-28.
        let typed_on = |day: &str, at: &str| {
            let mut once = crate::testing::manual("once");
            once.when = When::At {
                at: instant(at),
                text: "tomorrow 02:30".to_owned(),
                tz: Some("Europe/Berlin".to_owned()),
            };
            let findings = findings(&once, &schedules, instant(day)).into_iter();
            findings.map(|finding| finding.code).collect::<Vec<_>>()
        };
        let skipped = typed_on("2027-03-27T12:00:00Z", "2027-03-28T01:00:00Z");
        assert_eq!(skipped, [FindingCode::DstGap]);
        // It was typed a day before, and means the night before.
        assert_eq!(typed_on("2027-03-27T00:00:00Z", "2027-03-27T01:30:00Z"), []);
        assert_eq!(
            typed_on("2027-03-28T12:00:00Z", "2027-03-28T01:00:00Z"),
            [FindingCode::NeverFires]
        );
    }
}
