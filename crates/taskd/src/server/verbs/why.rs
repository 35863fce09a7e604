//! `why`: what became of a fire time, or what will.

use std::sync::PoisonError;
use std::time::Duration;

use taskd_core::Timestamp;
use taskd_core::run::Trigger;
use taskd_core::schedule::Schedule;
use taskd_core::scheduler::Scheduler;
use taskd_core::task::{TaskId, When};
use taskd_store::{Change, Lifetime, Reader, RunQuery, RunRow, Select, Span, StoredTask};
use taskd_wire::client::{Fate, Response, RunInfo, Why};
use taskd_wire::codec::Rec;
use taskd_wire::refusal::Refusal;

use crate::accept;
use crate::clock;
use crate::describe::{self, LiveRun};
use crate::server::{Shared, names};
use crate::why::{self, Facts};

/// Most fire times of the time that was asked about that are told one by one: those of a minute.
const EACH_MAX: usize = 60;

/// Most runs that are looked through for one after a boot or the end of another run.
const EVENTS_LOOKED_AT: usize = 1_000;

/// The unit in which instants are told apart.
const INSTANT: Duration = Duration::from_millis(1);

/// What the scheduler knows.
struct Live {
    id: TaskId,
    enabled: bool,
    held: Option<String>,
    mark: Timestamp,
    /// As it is read now; none while it is held.
    schedule: Option<Schedule>,
    next: Option<Timestamp>,
    pauses: Vec<(taskd_core::pause::PauseScope, taskd_core::pause::Pause)>,
    runs: Vec<(u64, LiveRun)>,
}

/// What the store knows of a window.
struct Kept {
    run: Option<RunInfo>,
    span: Option<Span>,
}

pub(super) async fn answer(shared: &Shared, name: String, window_ms: Option<(i64, i64)>) -> Result<Response, Refusal> {
    let (owner, asked) = (shared.owner, name.clone());
    let live = shared
        .engine
        .look(move |state, _| {
            let id = names::task(state, owner, &asked)?;
            let task = state.task(id).ok_or_else(|| names::unknown(state, owner, &asked))?;
            Ok::<_, Refusal>(Live {
                id,
                enabled: task.enabled,
                held: task.held.map(str::to_owned),
                mark: task.mark,
                schedule: task.schedule.cloned(),
                next: task.schedule.and_then(|schedule| schedule.next_after(task.mark)),
                pauses: state.pauses(id).map(|(scope, pause)| (scope, pause.clone())).collect(),
                runs: state
                    .runs_of(id)
                    .filter_map(|run| Some((run.n, LiveRun::of(&state.run(run)?))))
                    .collect(),
            })
        })
        .await??;
    let now = clock::now();
    let (id, asked) = (
        live.id,
        window_ms.map(|(from, until)| (Timestamp::from_millis(from), Timestamp::from_millis(until))),
    );
    let next = live.next;
    let (stored, changes, lives, windows) = shared
        .readers
        .read(move |reader| {
            let windows = match asked {
                Some(asked) => vec![asked],
                None => newest(reader, id)?.into_iter().chain(next).map(|at| (at, at)).collect(),
            };
            Ok((reader.definition(id)?, reader.changes(id)?, reader.lives()?, windows))
        })
        .await?;
    let Some(stored) = stored else {
        return Err(Refusal::UnknownTask { name, near: Vec::new() });
    };
    // Each of several in the time that was asked about.
    let windows = match asked {
        Some((from, until)) => {
            let schedule = schedule_of(shared, &live, &stored, &changes, from);
            let next = |at: &Timestamp| schedule.as_ref()?.next_after(*at).filter(|next| *next <= until);
            let all = std::iter::successors(next(&from.minus(INSTANT)), next).take(EACH_MAX);
            let each: Vec<_> = all.map(|at| (at, at)).collect();
            if each.len() > 1 { each } else { windows }
        }
        None => windows,
    };
    let mut fates: Vec<Rec<Fate>> = Vec::new();
    let (at_boot, after) = (stored.definition.when.at_boot(), stored.definition.when.after());
    let by_event = at_boot || after.is_some();
    if let Some(run) = event_run(shared, id, window_ms).await?.filter(|_| by_event) {
        fates.push(Rec(Fate {
            at_ms: run.created_ms,
            verdict: "ran".to_owned(),
            run: Some(Box::new(Rec(run))),
            ..Fate::default()
        }));
    }
    for window in windows {
        let mut fate = fate(shared, now, window, &live, &stored, &changes, &lives).await?;
        if fate.verdict == "planned" {
            let at = Timestamp::from_millis(fate.at_ms);
            fate.reason = shared.engine.look(move |state, _| state.suppressed(id, at)).await?;
            if fate.reason.is_some() {
                "suppressed".clone_into(&mut fate.verdict);
            } else {
                fate.reason = shared.engine.look(move |state, _| held_back(state, id, at)).await?;
            }
        }
        fates.push(Rec(fate));
    }
    Ok(Response::Why(Box::new(Rec(Why {
        name: stored.definition.name.to_string(),
        tz: accept::zone_of(&stored.definition),
        fates,
        at_boot,
        after: after.map(ToString::to_string),
    }))))
}

/// Why a task would not start at an instant for what it requires, unless that changes until then.
fn held_back(state: &Scheduler, id: TaskId, at: Timestamp) -> Option<String> {
    let (_, why) = state.unmet(id, at).next()?;
    Some(format!("it {why}"))
}

/// The newest run for a boot of the machine or after the end of another, within the window if there is one.
async fn event_run(shared: &Shared, id: TaskId, window: Option<(i64, i64)>) -> Result<Option<RunInfo>, Refusal> {
    let newest = shared
        .readers
        .read(move |reader| {
            let query = RunQuery {
                select: Select::Tasks(vec![id]),
                ..RunQuery::default()
            };
            reader.runs(&query, None, EVENTS_LOOKED_AT)
        })
        .await?;
    let is_meant = |run: &RunRow| {
        let at = run.created_at.as_millis();
        let by_event = matches!(run.trigger, Trigger::Boot | Trigger::Dependency);
        by_event && window.is_none_or(|(from, until)| from <= at && at <= until)
    };
    let found = newest.0.into_iter().find(is_meant);
    Ok(found.map(|row| describe::run(row, None)))
}

/// The newest fire time that the ledger has.
fn newest(reader: &Reader, id: TaskId) -> Result<Option<Timestamp>, taskd_store::ReadError> {
    let run = reader.run_for(id, Timestamp::MIN, Timestamp::MAX)?;
    let ran = run.and_then(|run| run.fire_time);
    let passed = reader.passed(id, 1)?.pop().map(|span| span.last);
    Ok(ran.max(passed))
}

async fn fate(
    shared: &Shared,
    now: Timestamp,
    window: (Timestamp, Timestamp),
    live: &Live,
    stored: &StoredTask,
    changes: &[Change],
    lives: &[Lifetime],
) -> Result<Fate, Refusal> {
    let schedule = schedule_of(shared, live, stored, changes, window.0);
    // Of several fire times in the window, the first is meant.
    let first = schedule
        .as_ref()
        .and_then(|schedule| schedule.next_after(window.0.minus(INSTANT)));
    let window = first.filter(|at| *at <= window.1).map_or(window, |at| (at, at));
    let id = live.id;
    let kept = shared
        .readers
        .read(move |reader| {
            let run = reader.run_for(id, window.0, window.1)?;
            Ok(Kept {
                run: run.map(|row| describe::run(row, None)),
                span: reader.passed_over(id, window.0, window.1)?,
            })
        })
        .await?;
    // One that is under way is told as it is now; its record may still be on its way.
    let in_window = |run: &&(u64, LiveRun)| {
        let at = run.1.fire_time();
        at.is_some_and(|at| window.0 <= at && at <= window.1)
    };
    let under_way = live.runs.iter().find(in_window);
    let run = match under_way {
        Some((_, run)) => Some(describe::unrecorded(run.clone())),
        None => kept.run,
    };
    Ok(why::fate(Facts {
        now,
        window,
        added_at: stored.created_at,
        schedule,
        enabled: live.enabled,
        held: live.held.clone(),
        mark: live.mark,
        changes: changes.to_vec(),
        pauses: live.pauses.clone(),
        lives: lives.to_vec(),
        run,
        span: kept.span,
    }))
}

/// The schedule that a task had at an instant; `None` where it cannot be read.
fn schedule_of(
    shared: &Shared,
    live: &Live,
    stored: &StoredTask,
    changes: &[Change],
    at: Timestamp,
) -> Option<Schedule> {
    match why::schedule_at(changes, at) {
        Some(earlier) => read(shared, earlier),
        // The scheduler knows the calendars as well, where it is not held.
        None => live.schedule.clone().or_else(|| read(shared, &stored.definition.when)),
    }
}

/// A schedule as it is read now; `None` where it cannot be.
fn read(shared: &Shared, when: &When) -> Option<Schedule> {
    let mut schedules = shared.schedules.lock().unwrap_or_else(PoisonError::into_inner);
    schedules.of(when)
}
