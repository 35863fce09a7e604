//! `calendar add`, `list`, `show` and `remove`: sets of days and times that tasks keep to or keep clear of.

use std::collections::HashMap;
use std::sync::PoisonError;

use taskd_core::calendar::{Calendar, CalendarName, Kept};
use taskd_core::command::Command;
use taskd_core::pattern;
use taskd_core::scheduler::Scheduler;
use taskd_core::task::{TaskId, TaskName};
use taskd_wire::client::{CalendarDetail, CalendarInfo, Response};
use taskd_wire::codec::Rec;
use taskd_wire::refusal::Refusal;

use crate::accept;
use crate::server::{Shared, meant, names};

/// Most patterns of tasks that one calendar freezes, and most bytes of each.
const FREEZE_MAX: usize = 64;
const FREEZE_BYTES_MAX: usize = 256;

/// Most calendars that are removed at once.
const REMOVED_MAX: usize = 100;

/// Most tasks named as users of a calendar.
const USERS_SHOWN: usize = 100;

pub(super) async fn add(
    shared: &Shared,
    name: String,
    body: String,
    tz: Option<String>,
    freeze: Vec<String>,
) -> Result<Response, Refusal> {
    let owner = shared.owner;
    let parsed = calendar_name(&name)?;
    let calendar: Calendar =
        serde_json::from_str(&body).map_err(|error| accept::bad("calendar", &name, error.to_string(), None))?;
    names::limit("patterns to freeze", FREEZE_MAX, freeze.len())?;
    for pattern in &freeze {
        names::limit("bytes of a pattern", FREEZE_BYTES_MAX, pattern.len())?;
        pattern::check(pattern).map_err(|error| accept::unnamed("freeze", pattern, &error))?;
    }
    let local = || {
        shared
            .local_zone
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .to_string()
    };
    let kept = Kept {
        calendar,
        tz: accept::known_zone(&shared.schedules, &tz.unwrap_or_else(local))?,
        freeze,
    };
    shared
        .engine
        .change(
            move |_, _| {
                Ok(Command::SetCalendar {
                    name: parsed.clone(),
                    calendar: Box::new(kept.clone()),
                    by: names::by(owner),
                })
            },
            |_, _| (),
        )
        .await?;
    Ok(Response::Done(vec![name]))
}

pub(super) async fn list(shared: &Shared) -> Result<Response, Refusal> {
    let owner = shared.owner;
    let counted = meant::all(&shared.engine, owner, |state, ids| {
        let mut users: HashMap<CalendarName, u64> = HashMap::new();
        for used in ids.iter().flat_map(|id| uses(state, *id)) {
            *users.entry(used.clone()).or_default() += 1;
        }
        users
    });
    let counted = counted.await?;
    let mut infos = shared
        .engine
        .look(move |state, _| {
            let users = |name| counted.iter().filter_map(|part| part.get(name)).sum();
            let calendars = state.calendars();
            calendars
                .map(|(name, kept)| info(name, kept, users(name)))
                .collect::<Vec<_>>()
        })
        .await?;
    let set = shared.readers.read(|reader| reader.calendars_set()).await?;
    for (name, at, by) in set {
        if let Some(info) = infos.iter_mut().find(|info| info.name == name) {
            (info.changed_ms, info.by) = (Some(at.as_millis()), Some(by));
        }
    }
    Ok(Response::Calendars(infos.into_iter().map(Rec).collect()))
}

pub(super) async fn show(shared: &Shared, name: String) -> Result<Response, Refusal> {
    let (owner, asked) = (shared.owner, name.clone());
    let mut detail = shared
        .engine
        .look(move |state, _| {
            let found = state.calendars().find(|(name, _)| name.as_str() == asked);
            let (name, kept) = found.ok_or_else(|| unknown(state, &asked))?;
            let body = serde_json::to_string(&kept.calendar).map_err(|error| Refusal::Internal {
                what: format!("a calendar is no JSON: {error}"),
            })?;
            Ok::<_, Refusal>(CalendarDetail {
                info: Rec(info(name, kept, 0)),
                body,
                users: Vec::new(),
            })
        })
        .await??;
    let wanted = name.clone();
    let users = meant::all(&shared.engine, owner, move |state, ids| {
        let is_user = |id: &&TaskId| uses(state, **id).any(|used| used.as_str() == wanted);
        let users: Vec<TaskId> = ids.iter().filter(is_user).copied().collect();
        let shown = names::named(state, &users[..users.len().min(USERS_SHOWN)]);
        (users.len() as u64, shown)
    });
    for (number, shown) in users.await? {
        detail.info.0.tasks += number;
        detail.users.extend(shown);
    }
    detail.users.truncate(USERS_SHOWN);
    let set = shared.readers.read(|reader| reader.calendars_set()).await?;
    if let Some((_, at, by)) = set.into_iter().find(|(of, ..)| *of == name) {
        (detail.info.0.changed_ms, detail.info.0.by) = (Some(at.as_millis()), Some(by));
    }
    Ok(Response::Calendar(Box::new(Rec(detail))))
}

pub(super) async fn remove(shared: &Shared, asked: Vec<String>) -> Result<Response, Refusal> {
    names::limit("calendars at once", REMOVED_MAX, asked.len())?;
    let wanted = asked.clone();
    shared
        .engine
        .change(
            move |state, _| {
                let known = |name: &String| {
                    let name = calendar_name(name)?;
                    let is_there = state.calendars().any(|(of, _)| *of == name);
                    is_there
                        .then_some(name.clone())
                        .ok_or_else(|| unknown(state, name.as_str()))
                };
                Ok(Command::RemoveCalendars {
                    names: wanted.iter().map(known).collect::<Result<_, _>>()?,
                })
            },
            |_, _| (),
        )
        .await?;
    Ok(Response::Done(asked))
}

fn calendar_name(name: &str) -> Result<CalendarName, Refusal> {
    TaskName::parse(name).map_err(|error| accept::unnamed("NAME", name, &error))
}

/// The calendars that a task uses.
fn uses(state: &Scheduler, id: TaskId) -> impl Iterator<Item = &CalendarName> {
    let used = state.task(id).map_or(&[][..], |task| task.calendars);
    used.iter().map(|used| &used.name)
}

fn info(name: &CalendarName, kept: &Kept, tasks: u64) -> CalendarInfo {
    CalendarInfo {
        name: name.to_string(),
        tz: kept.tz.clone(),
        freeze: kept.freeze.clone(),
        days: kept.calendar.days().map(|span| span.length()).sum(),
        ranges: kept.calendar.ranges().count() as u64,
        rules: kept.calendar.rules().iter().map(ToString::to_string).collect(),
        tasks,
        changed_ms: None,
        by: None,
    }
}

fn unknown(state: &Scheduler, name: &str) -> Refusal {
    let all = state.calendars().map(|(name, _)| name.as_str());
    Refusal::UnknownCalendar {
        name: name.to_owned(),
        near: names::near(name, all),
    }
}
