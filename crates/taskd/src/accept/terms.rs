//! Several schedules as one task, and what bounds and moves their fire times.

use std::num::NonZeroU64;
use std::time::Duration;

use taskd_core::Timestamp;
use taskd_core::calendar;
use taskd_core::schedule::{Schedule, format_duration, jitter_offset};
use taskd_core::task::{Definition, Owner, TaskName, Terms, When};
use taskd_wire::codec::Rec;
use taskd_wire::definition::{CalendarKeep, CalendarUse, ScheduleSpec};
use taskd_wire::refusal::Refusal;

use super::schedule::{length, moment, when};
use super::{Context, bad, dependencies, within};

/// Most schedules of one task.
const SCHEDULES_MAX: u64 = 16;

/// Most times of day of schedules whose fire times move to other days: each day is searched one by one.
const MOVED_MAX: u64 = 24;

/// Most calendars that one task uses.
const CALENDARS_MAX: u64 = 16;

/// What was typed of terms; `None` leaves a term as it is.
#[derive(Default)]
pub(super) struct Typed {
    pub(super) jitter_ms: Option<u64>,
    pub(super) start: Option<Option<String>>,
    pub(super) end: Option<Option<String>>,
    pub(super) count: Option<u64>,
    pub(super) calendars: Option<Vec<CalendarUse>>,
    pub(super) requires: Option<Vec<String>>,
}

/// All schedules that were typed.
pub(super) fn schedules(
    first: ScheduleSpec,
    also: Vec<Rec<ScheduleSpec>>,
    context: &Context<'_>,
) -> Result<Vec<When>, Refusal> {
    within("schedules of a task", SCHEDULES_MAX, also.len() as u64 + 1)?;
    let all: Vec<When> = std::iter::once(first)
        .chain(also.into_iter().map(|Rec(spec)| spec))
        .map(|spec| when(spec, context))
        .collect::<Result<_, _>>()?;
    if all.len() > 1 && all.contains(&When::Manual) {
        let problem = "a task that has fire times can be run by hand too";
        return Err(bad("manual", "", problem, Some("leave it out")));
    }
    if all.iter().filter(|part| part.after().is_some()).count() > 1 {
        let problem = "the tasks that it comes after are named in two lists";
        return Err(bad("after", "", problem, Some("name all of them in one")));
    }
    Ok(all)
}

/// Puts schedules under terms: those that stand, and those that were typed.
pub(super) fn terms(
    of: Vec<When>,
    standing: Option<&Terms>,
    typed: Typed,
    context: &Context<'_>,
) -> Result<When, Refusal> {
    let mut terms = Terms {
        of,
        jitter_ms: standing.map_or(0, |terms| terms.jitter_ms),
        offset_ms: standing.map_or(0, |terms| terms.offset_ms),
        start: standing.and_then(|terms| terms.start),
        end: standing.and_then(|terms| terms.end),
        count: standing.and_then(|terms| terms.count),
        calendars: standing.map_or_else(Vec::new, |terms| terms.calendars.clone()),
        requires: standing.map_or_else(Vec::new, |terms| terms.requires.clone()),
    };
    let Typed {
        jitter_ms,
        start,
        end,
        count,
        calendars,
        requires,
    } = typed;
    if let Some(requires) = requires {
        terms.requires = dependencies::requires(&requires)?;
    }
    if let Some(calendars) = calendars {
        within("calendars of a task", CALENDARS_MAX, calendars.len() as u64)?;
        terms.calendars = calendars.into_iter().map(used).collect::<Result<_, _>>()?;
    }
    if let Some(jitter_ms) = jitter_ms {
        terms.jitter_ms = match jitter_ms {
            0 => 0,
            more => length("jitter", more)?.get(),
        };
    }
    let zone = terms.of.iter().find_map(zone);
    if let Some(start) = start {
        terms.start = start
            .map(|text| moment("start", &text, zone.clone(), context))
            .transpose()?;
    }
    if let Some(end) = end {
        terms.end = end.map(|text| moment("end", &text, zone, context)).transpose()?;
    }
    if let Some(count) = count {
        terms.count = NonZeroU64::new(count);
    }
    if terms.is_plain() {
        // There is one: that makes it plain.
        return Ok(terms.of.swap_remove(0));
    }
    fitting(&terms, context)?;
    Ok(When::Termed(Box::new(terms)))
}

/// Refuses terms that say nothing of their schedules, or leave no fire time.
fn fitting(terms: &Terms, context: &Context<'_>) -> Result<(), Refusal> {
    let named = [
        ("jitter", terms.jitter_ms > 0),
        ("start", terms.start.is_some()),
        ("end", terms.end.is_some()),
        ("count", terms.count.is_some()),
        ("calendar", !terms.calendars.is_empty()),
        ("require", !terms.requires.is_empty()),
    ];
    let term = named
        .iter()
        .find(|(_, is_said)| *is_said)
        .map_or("schedule", |(term, _)| term);
    if terms.of.contains(&When::Manual) {
        let problem = "a task that is only run when asked for has no fire time that this could bear on";
        return Err(bad(term, "", problem, Some("give it a schedule, or leave this out")));
    }
    let is_by_clock = |part: &When| !part.by_event();
    let is_of_all = matches!(term, "count" | "require" | "schedule");
    if !is_of_all && !terms.of.iter().any(is_by_clock) {
        let problem = "it bears on times of the clock, and a boot of the machine or the end of another run is none";
        return Err(bad(term, "", problem, Some("leave it out")));
    }
    if let (Some(start), Some(end)) = (terms.start, terms.end)
        && end < start
    {
        let problem = format!("it is before the start, {start}");
        return Err(bad("end", &end.to_string(), problem, Some("write a later time")));
    }
    if let Some(end) = terms.end.filter(|end| *end <= context.now && !context.past) {
        return Err(bad(
            "end",
            &end.to_string(),
            "it is in the past",
            Some("write a later time"),
        ));
    }
    shifting(terms, context)?;
    let next = context.reading(&When::Termed(Box::new(terms.clone())));
    let never = next.is_some_and(|schedule| schedule.next_after(context.now).is_none());
    if never && !context.past && !terms.of.iter().any(When::by_event) {
        let problem = "between its start and its end the schedule has no fire time";
        let field = if terms.end.is_some() { "end" } else { "start" };
        return Err(bad(
            field,
            "",
            problem,
            Some("`taskctl next --cron` shows when there are any"),
        ));
    }
    Ok(())
}

/// Refuses to move fire times to other days where that says nothing, or would be too much.
fn shifting(terms: &Terms, context: &Context<'_>) -> Result<(), Refusal> {
    let moved: Vec<_> = terms
        .calendars
        .iter()
        .filter(|used| matches!(used.keep, calendar::Keep::Next | calendar::Keep::Previous))
        .collect();
    let Some(first) = moved.first() else { return Ok(()) };
    let name = first.name.as_str();
    if moved.iter().any(|used| used.keep != first.keep) {
        let problem = "fire times cannot be moved to a later and to an earlier day";
        return Err(bad(
            "calendar",
            name,
            problem,
            Some("write next or previous, and not both"),
        ));
    }
    if terms.of.iter().any(|part| zone(part).is_none()) {
        let problem = "only the times of --cron and --at have a day that they could be moved from";
        return Err(bad("calendar", name, problem, Some("give --cron or --at with it")));
    }
    let schedule = context.reading(&When::Termed(Box::new(Terms::of_all(terms.of.clone()))));
    let times = schedule.and_then(|schedule| schedule.times_of_day());
    if times.is_some_and(|times| times > MOVED_MAX) {
        let problem = "what fires more often than each hour cannot be moved to another day";
        return Err(bad(
            "calendar",
            name,
            problem,
            Some("write exclude or only, or a schedule that fires less often"),
        ));
    }
    Ok(())
}

/// The use of a calendar that was typed.
fn used(typed: CalendarUse) -> Result<calendar::CalendarUse, Refusal> {
    let CalendarUse { name, keep } = typed;
    Ok(calendar::CalendarUse {
        name: TaskName::parse(&name).map_err(|error| bad("calendar", &name, error.to_string(), None))?,
        keep: match keep {
            CalendarKeep::Exclude => calendar::Keep::Exclude,
            CalendarKeep::Only => calendar::Keep::Only,
            CalendarKeep::Next => calendar::Keep::Next,
            CalendarKeep::Previous => calendar::Keep::Previous,
        },
    })
}

/// The zone of a schedule that has one.
pub(super) fn zone(when: &When) -> Option<String> {
    match when {
        When::Cron { tz, .. } => Some(tz.clone()),
        When::At { tz, .. } => tz.clone(),
        When::Termed(_) => when.parts().iter().find_map(zone),
        When::Manual | When::Every { .. } | When::Boot | When::After(_) => None,
    }
}

/// Draws the offset of a task by its name, where one is wanted and none was drawn.
pub(crate) fn draw_offset(definition: &mut Definition, owner: Owner) {
    if let When::Termed(terms) = &mut definition.when {
        let jitter = Duration::from_millis(terms.jitter_ms);
        let offset = jitter_offset(owner.0, definition.name.as_str(), jitter);
        terms.offset_ms = u64::try_from(offset.as_millis()).unwrap_or(u64::MAX);
    }
}

/// What a user would want to hear of terms.
pub(crate) fn remark(schedule: Option<&Schedule>) -> Option<String> {
    match schedule? {
        Schedule::Termed(termed) if !termed.offset.is_zero() => Some(format!(
            "Each fire time is moved by {}, or up to just before the next where that is sooner.",
            format_duration(termed.offset)
        )),
        Schedule::Termed(_) | Schedule::Cron { .. } | Schedule::Every { .. } | Schedule::At(_) | Schedule::Manual => {
            None
        }
    }
}

/// Whether all that a task waits for are instants that have passed.
pub(super) fn is_over(when: &When, now: Timestamp) -> bool {
    when.parts()
        .iter()
        .all(|part| matches!(part, When::At { at, .. } if *at <= now))
}
