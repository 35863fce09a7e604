//! `count`: how many fire times tasks have, by buckets of time.
//!
//! The engine only hands out schedules, in parts; they are counted on a thread where that may take its time. Tasks with the
//! same schedule are counted once.

use std::sync::Arc;
use std::time::Duration;

use taskd_core::Timestamp;
use taskd_core::pause::{Pause, PauseScope};
use taskd_core::schedule::{Buckets, Keeping, Schedule};
use taskd_core::scheduler::Scheduler;
use taskd_core::task::{Owner, TaskId, TaskName};
use taskd_wire::client::Response;
use taskd_wire::codec::Rec;
use taskd_wire::refusal::Refusal;

use self::tally::{Span, Tasks};
use super::next::zone_name;
use crate::clock;
use crate::engine::Engine;
use crate::server::names::{self, SCANNED_MAX};
use crate::server::{Shared, meant};

mod tally;

/// Most bounds of one request: the minutes of the longest day there is, which has 26 hours (Antarctica/Troll).
const BOUNDS_MAX: usize = 26 * 60 + 1;

/// The longest time that is counted at once: more than a year.
const SPAN_MAX: Duration = Duration::from_secs(400 * 86_400);

/// What one answer may cost, as [`Buckets::count`] measures it: ten seconds or so. What would take more is left out.
const WORK_MAX: u64 = 100_000_000;

/// So many tasks leave memory that is worth giving back.
const MANY: usize = 100_000;

pub(super) async fn answer(
    shared: &Shared,
    asked: Vec<String>,
    bounds_ms: Vec<i64>,
    named: bool,
) -> Result<Response, Refusal> {
    let buckets = buckets(bounds_ms)?;
    // One at a time, whoever asks: a million schedules take their memory once.
    let alone = Arc::clone(&shared.counting).lock_owned().await;
    let tasks = taken(&shared.engine, shared.owner, asked).await?;
    let counted = tokio::task::spawn_blocking(move || {
        let counted = tasks.count(&buckets, clock::now(), named, WORK_MAX);
        let were_many = tasks.len() >= MANY;
        drop(tasks);
        if were_many {
            taskd_runner::give_back_memory();
        }
        drop(alone);
        counted
    });
    let counted = counted.await.map_err(|error| Refusal::Internal {
        what: format!("counting ended early: {error}"),
    })?;
    Ok(Response::Counted(Box::new(Rec(counted))))
}

fn buckets(bounds_ms: Vec<i64>) -> Result<Buckets, Refusal> {
    names::limit("bounds of buckets", BOUNDS_MAX, bounds_ms.len())?;
    let bounds = bounds_ms.into_iter().map(Timestamp::from_millis).collect();
    let buckets = Buckets::new(bounds).ok_or_else(|| Refusal::BadField {
        field: "bounds".to_owned(),
        text: String::new(),
        at: None,
        problem: "these are no bounds of buckets".to_owned(),
        cure: Some("give two or more instants that ascend".to_owned()),
    })?;
    let days = |length: Duration| usize::try_from(length.as_secs().div_ceil(86_400)).unwrap_or(usize::MAX);
    let span = buckets.end().since(buckets.start());
    names::limit("days counted at once", days(SPAN_MAX), days(span))?;
    Ok(buckets)
}

/// What the engine knows of a task that is meant.
struct Looked {
    name: TaskName,
    /// None of one that is disabled or held.
    schedule: Option<Schedule>,
    /// Its own pause.
    pause: Option<Span>,
    /// The calendars that freeze it.
    freezing: Vec<Keeping>,
    /// How many runs it may have yet, where that is bounded.
    left: Option<u64>,
    /// Of its schedule, where it is the only one that is looked at.
    tz: Option<String>,
}

impl Looked {
    fn of(state: &Scheduler, id: TaskId, now: Timestamp, alone: bool) -> Option<Self> {
        let task = state.task(id)?;
        let is_own = |(scope, pause): &(PauseScope, &Pause)| *scope != PauseScope::All && !pause.is_over(now);
        // What freezes it and cannot be read lets nothing start.
        let freezing: Result<Vec<_>, _> = state.freezing(id).collect();
        Some(Looked {
            name: task.name.clone(),
            schedule: task.schedule.filter(|_| task.enabled && freezing.is_ok()).cloned(),
            freezing: freezing.unwrap_or_default(),
            left: state.runs_left(id),
            pause: state.pauses(id).find(is_own).map(|(_, pause)| pause.span()),
            tz: task.schedule.filter(|_| alone).and_then(zone_name),
        })
    }
}

/// The tasks meant, asked for in parts.
async fn taken(engine: &Engine, owner: Owner, asked: Vec<String>) -> Result<Tasks, Refusal> {
    let now = clock::now();
    let of_all = move |state: &Scheduler| state.pause_of_all(now).map(Pause::span);
    let mut tasks = Tasks::default();
    if asked.is_empty() {
        let parts = meant::all(engine, owner, move |state, ids| {
            let looked = ids.iter().filter_map(|id| Looked::of(state, *id, now, ids.len() == 1));
            (looked.collect::<Vec<_>>(), of_all(state))
        });
        for (looked, paused) in parts.await? {
            tasks.pause_of_all = paused;
            tasks.take(looked);
        }
        return Ok(tasks);
    }
    let ids = meant::tasks(engine, owner, asked, usize::MAX).await?.ids();
    let alone = ids.len() == 1;
    for part in ids.chunks(SCANNED_MAX) {
        let part = part.to_vec();
        let look = engine.look(move |state, _| {
            let looked = part.into_iter().filter_map(|id| Looked::of(state, id, now, alone));
            (looked.collect::<Vec<_>>(), of_all(state))
        });
        let (looked, paused) = look.await?;
        tasks.pause_of_all = paused;
        tasks.take(looked);
    }
    Ok(tasks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_look_at_the_tasks_is_a_long_one() {
        let count = 2 * SCANNED_MAX + 1;
        let state = names::tests::state_with((0..count).map(|n| format!("t{n:06}")));
        let (engine, looks) = Engine::of_state(state);
        let all = taken(&engine, Owner(7), Vec::new()).await.expect("there are some");
        assert_eq!((all.len(), looks.get()), (count, 3));
        let asked = vec!["t*".to_owned(), "t000001".to_owned()];
        let named = taken(&engine, Owner(7), asked).await.expect("there are some");
        // As many to find the names, and one for the name alone.
        assert_eq!((named.len(), looks.get()), (count, 3 + 3 + 1 + 3));
        assert!(taken(&engine, Owner(7), vec!["x*".to_owned()]).await.is_err());
    }

    #[test]
    fn buckets_are_bounded_in_number_and_in_length() {
        let minutes = |number: usize| (0..number as i64).map(|n| n * 60_000).collect::<Vec<_>>();
        let limit = |refused: Result<Buckets, Refusal>| match refused {
            Err(Refusal::Limit { what, .. }) => what,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            buckets(minutes(BOUNDS_MAX)).map(|buckets| buckets.number()),
            Ok(BOUNDS_MAX - 1)
        );
        assert_eq!(limit(buckets(minutes(BOUNDS_MAX + 1))), "bounds of buckets");
        let most = SPAN_MAX.as_millis() as i64;
        assert!(buckets(vec![0, most]).is_ok());
        assert_eq!(limit(buckets(vec![0, most + 1_000])), "days counted at once");
        assert_eq!(limit(buckets(vec![i64::MIN, i64::MAX])), "days counted at once");
        for no_bounds in [vec![], vec![5], vec![5, 4]] {
            assert!(matches!(buckets(no_bounds), Err(Refusal::BadField { .. })));
        }
    }
}
