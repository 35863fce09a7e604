//! `list`: a page of tasks in the order of their names.

use std::collections::HashMap;

use taskd_core::Timestamp;
use taskd_core::scheduler::Scheduler;
use taskd_core::task::TaskId;
use taskd_store::{LastFinished, StoredTask};
use taskd_wire::client::{LastRun, Pause, Response, TaskSummary};
use taskd_wire::codec::Rec;
use taskd_wire::refusal::Refusal;

use crate::clock;
use crate::describe;
use crate::server::{PAGE_BYTES, PAGE_MAX, Shared, meant};

/// The live part of one task.
pub(super) struct LiveTask {
    id: TaskId,
    next: Option<Timestamp>,
    running: Vec<u64>,
    held: Option<String>,
    paused: Option<Rec<Pause>>,
}

pub(super) async fn answer(
    shared: &Shared,
    asked: Vec<String>,
    after: Option<String>,
    limit: u32,
) -> Result<Response, Refusal> {
    let (ids, more) = page(shared, asked, after, limit.clamp(1, PAGE_MAX) as usize).await?;
    let now = clock::now();
    let live = shared
        .engine
        .look(move |state, _| ids.into_iter().filter_map(|id| live_task(state, id, now)).collect())
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
/// As [`meant::tasks`] for names that stand for none.
pub(super) async fn page(
    shared: &Shared,
    asked: Vec<String>,
    after: Option<String>,
    limit: usize,
) -> Result<(Vec<TaskId>, bool), Refusal> {
    let owner = shared.owner;
    if !asked.is_empty() {
        return meant::page(&shared.engine, owner, asked, after, limit).await;
    }
    shared
        .engine
        .look(move |state, _| {
            let mut rest = state.names_after(owner, after.as_deref());
            let ids = rest.by_ref().take(limit).map(|(_, id)| id).collect();
            (ids, rest.next().is_some())
        })
        .await
}

/// What the store keeps of the tasks of a page, in the order of names, and whether it was cut short where it grows too long.
pub(super) async fn definitions(
    shared: &Shared,
    ids: Vec<TaskId>,
) -> Result<(Vec<(TaskId, StoredTask)>, bool), Refusal> {
    let (mut stored, cut) = shared
        .readers
        .read(move |reader| reader.first_definitions(&ids, PAGE_BYTES))
        .await?;
    stored.sort_by(|(_, a), (_, b)| a.definition.name.cmp(&b.definition.name));
    Ok((stored, cut))
}

pub(super) fn live_task(state: &Scheduler, id: TaskId, now: Timestamp) -> Option<LiveTask> {
    let task = state.task(id)?;
    Some(LiveTask {
        id,
        next: task.next,
        running: state.runs_of(id).map(|run| run.n).collect(),
        held: task.held.map(str::to_owned),
        paused: state
            .pause_of(id, now)
            .map(|(scope, pause)| Rec(describe::pause(scope, pause))),
    })
}

/// Joins the live part with what the store keeps; cut short where an answer would grow too long.
pub(super) async fn summaries(shared: &Shared, live: Vec<LiveTask>) -> Result<(Vec<Rec<TaskSummary>>, bool), Refusal> {
    let ids: Vec<TaskId> = live.iter().map(|task| task.id).collect();
    let (mut stored, mut last, cut) = shared
        .readers
        .read(move |reader| {
            // No more is read than goes into an answer.
            let (stored, cut) = reader.first_definitions(&ids, PAGE_BYTES)?;
            let stored: HashMap<TaskId, StoredTask> = stored.into_iter().collect();
            let last: HashMap<TaskId, LastFinished> = ids
                .iter()
                .copied()
                .zip(reader.last_finished(&ids)?)
                .filter_map(|(id, last)| Some((id, last?)))
                .collect();
            Ok((stored, last, cut))
        })
        .await?;
    let (mut summaries, mut bytes) = (Vec::with_capacity(live.len()), 0);
    for task in live {
        // Left for the next answer, or removed between the two readings.
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
    Ok((summaries, cut))
}

fn summary(task: LiveTask, stored: StoredTask, last: &mut HashMap<TaskId, LastFinished>) -> TaskSummary {
    let tz = crate::accept::zone_of(&stored.definition);
    let last = last.remove(&task.id).map(|last| {
        Rec(LastRun {
            run: format!("{}/{}", stored.definition.name, last.n),
            outcome: last.outcome.word().to_owned(),
            finished_ms: last.finished_at.as_millis(),
        })
    });
    TaskSummary {
        spec: Rec(describe::spec(stored.definition)),
        id: task.id.0,
        owner: stored.owner.0,
        tz,
        next_ms: task.next.map(Timestamp::as_millis),
        last,
        running: task.running,
        held: task.held,
        paused: task.paused,
    }
}
