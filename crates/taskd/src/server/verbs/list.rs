//! `list`: a page of tasks in the order of their names.

use std::collections::HashMap;

use taskd_core::Timestamp;
use taskd_core::scheduler::Scheduler;
use taskd_core::task::TaskId;
use taskd_store::{LastFinished, StoredTask};
use taskd_wire::client::{LastRun, Response, TaskSummary};
use taskd_wire::codec::Rec;
use taskd_wire::refusal::Refusal;

use crate::describe;
use crate::server::names::{self, Pattern};
use crate::server::{PAGE_BYTES, PAGE_MAX, Shared};

/// The live part of one task.
pub(super) struct LiveTask {
    id: TaskId,
    next: Option<Timestamp>,
    running: Vec<u64>,
    held: Option<String>,
}

pub(super) async fn answer(
    shared: &Shared,
    asked: Vec<String>,
    after: Option<String>,
    limit: u32,
) -> Result<Response, Refusal> {
    let (ids, more) = page(shared, asked, after, limit.clamp(1, PAGE_MAX) as usize).await?;
    let live = shared
        .engine
        .look(move |state, _| ids.into_iter().filter_map(|id| live_task(state, id)).collect())
        .await?;
    let (tasks, cut) = summaries(shared, live).await?;
    Ok(Response::Tasks {
        tasks,
        more: more || cut,
    })
}

/// Ids of a page in the order of names, and whether more follow.
///
/// # Errors
/// As [`names::tasks`] for names that stand for none.
pub(super) async fn page(
    shared: &Shared,
    asked: Vec<String>,
    after: Option<String>,
    limit: usize,
) -> Result<(Vec<TaskId>, bool), Refusal> {
    let owner = shared.owner;
    match <[String; 1]>::try_from(asked) {
        Ok([one]) if Pattern::new(&one).is_wild() => fitting(shared, one, after, limit).await,
        Ok(one) => several(shared, one.to_vec(), after, limit).await,
        Err(asked) if asked.is_empty() => {
            shared
                .engine
                .look(move |state, _| {
                    let mut rest = state.names_after(owner, after.as_deref());
                    let ids = rest.by_ref().take(limit).map(|(_, id)| id).collect();
                    (ids, rest.next().is_some())
                })
                .await
        }
        Err(asked) => several(shared, asked, after, limit).await,
    }
}

/// A page of the names that fit a pattern. The engine is asked for a part of them at a time, so that among a million
/// names it is not held up.
async fn fitting(
    shared: &Shared,
    pattern: String,
    after: Option<String>,
    limit: usize,
) -> Result<(Vec<TaskId>, bool), Refusal> {
    let owner = shared.owner;
    let first = after.is_none();
    let (mut ids, mut from) = (Vec::new(), after);
    loop {
        let (asked, left) = (pattern.clone(), limit - ids.len());
        let scan = shared
            .engine
            .look(move |state, _| names::scan(state, owner, &asked, from.as_deref(), left))
            .await?;
        ids.extend(scan.found);
        if scan.more || scan.stopped_at.is_none() {
            if first && ids.is_empty() {
                let unknown = move |state: &Scheduler, _: &_| names::unknown(state, owner, &pattern);
                return Err(shared.engine.look(unknown).await?);
            }
            return Ok((ids, scan.more));
        }
        from = scan.stopped_at;
    }
}

async fn several(
    shared: &Shared,
    asked: Vec<String>,
    after: Option<String>,
    limit: usize,
) -> Result<(Vec<TaskId>, bool), Refusal> {
    let owner = shared.owner;
    shared
        .engine
        .look(move |state, _| {
            let mut named: Vec<_> = names::tasks(state, owner, &asked)?
                .into_iter()
                .filter_map(|id| state.task(id).map(|task| (task.name, id)))
                .filter(|(name, _)| after.as_deref().is_none_or(|after| name.as_str() > after))
                .collect();
            named.sort();
            let more = named.len() > limit;
            Ok((named.into_iter().take(limit).map(|(_, id)| id).collect(), more))
        })
        .await?
}

pub(super) fn live_task(state: &Scheduler, id: TaskId) -> Option<LiveTask> {
    let task = state.task(id)?;
    Some(LiveTask {
        id,
        next: task.next,
        running: state.runs_of(id).map(|run| run.n).collect(),
        held: task.held.map(str::to_owned),
    })
}

/// Joins the live part with what the store keeps; cut short where an answer would grow too long.
pub(super) async fn summaries(shared: &Shared, live: Vec<LiveTask>) -> Result<(Vec<Rec<TaskSummary>>, bool), Refusal> {
    let ids: Vec<TaskId> = live.iter().map(|task| task.id).collect();
    let (mut stored, mut last) = shared
        .readers
        .read(move |reader| {
            let stored: HashMap<TaskId, StoredTask> = reader.definitions(&ids)?.into_iter().collect();
            let last: HashMap<TaskId, LastFinished> = ids
                .iter()
                .copied()
                .zip(reader.last_finished(&ids)?)
                .filter_map(|(id, last)| Some((id, last?)))
                .collect();
            Ok((stored, last))
        })
        .await?;
    let (mut summaries, mut bytes) = (Vec::with_capacity(live.len()), 0);
    for task in live {
        // Removed between the two readings.
        let Some(stored) = stored.remove(&task.id) else {
            continue;
        };
        let summary = summary(task, stored, &mut last);
        bytes += describe::spec_bytes(&summary.spec) + 128;
        if bytes > PAGE_BYTES && !summaries.is_empty() {
            return Ok((summaries, true));
        }
        summaries.push(Rec(summary));
    }
    Ok((summaries, false))
}

fn summary(task: LiveTask, stored: StoredTask, last: &mut HashMap<TaskId, LastFinished>) -> TaskSummary {
    let tz = crate::accept::zone_of(&stored.definition);
    let last = last.remove(&task.id).map(|last| LastRun {
        run: format!("{}/{}", stored.definition.name, last.n),
        outcome: last.outcome.word().to_owned(),
        finished_ms: last.finished_at.as_millis(),
    });
    TaskSummary {
        spec: describe::spec(stored.definition),
        id: task.id.0,
        owner: stored.owner.0,
        tz,
        next_ms: task.next.map(Timestamp::as_millis),
        last,
        running: task.running,
        held: task.held,
    }
}
