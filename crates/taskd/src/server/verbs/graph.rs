//! `graph`: which tasks come after which or require them, with how each of them stands.

use std::collections::{BTreeMap, BTreeSet};

use taskd_core::Timestamp;
use taskd_core::run::{RunKey, TraceId};
use taskd_core::scheduler::Scheduler;
use taskd_core::task::{Owner, TaskId};
use taskd_store::Reader;
use taskd_wire::client::{Graph, GraphTask, Response};
use taskd_wire::codec::{Rec, Tail};
use taskd_wire::refusal::Refusal;

use super::{output, show};
use crate::clock;
use crate::server::{Shared, names};

/// Most tasks of one graph: an answer holds them however long their names are.
const TASKS_MAX: usize = 1_000;

/// Most lines between the tasks of one graph.
const LINES_MAX: usize = 4_000;

/// A task of the graph as the scheduler knows it.
struct Live {
    id: TaskId,
    task: GraphTask,
    /// Its runs in progress: number, trace id and state.
    runs: Vec<(u64, TraceId, &'static str)>,
}

pub(super) async fn answer(shared: &Shared, task: Option<String>, run: Option<String>) -> Result<Response, Refusal> {
    let (owner, now) = (shared.owner, clock::now());
    let of_run = match &run {
        Some(run) => Some(traced(shared, run.clone()).await?),
        None => None,
    };
    let trace_id = of_run.map(|(_, trace_id)| trace_id);
    let (tasks, more) = shared
        .engine
        .look(move |state, _| {
            let about = match (&task, of_run) {
                (Some(name), _) => Some(names::task(state, owner, name)?),
                (None, Some((run, _))) => Some(run.task),
                (None, None) => None,
            };
            let (ids, more) = match about {
                Some(id) => around(state, id),
                None => all(state, owner),
            };
            Ok::<_, Refusal>((
                ids.into_iter()
                    .filter_map(|id| live(state, id, now))
                    .collect::<Vec<_>>(),
                more,
            ))
        })
        .await??;
    let tasks = shared
        .readers
        .read(move |reader| with_runs(reader, tasks, trace_id))
        .await?;
    Ok(Response::Graph(Box::new(Rec(Graph {
        tasks: tasks.into_iter().map(Rec).collect(),
        trace_id: trace_id.map(|trace_id| trace_id.to_string()),
        more,
    }))))
}

/// A run and its trace id, of one in progress or in the past; of a task, the newest.
async fn traced(shared: &Shared, text: String) -> Result<(RunKey, TraceId), Refusal> {
    let (owner, asked) = (shared.owner, text.clone());
    let run = match names::split_run(&text) {
        Some(_) => {
            shared
                .engine
                .look(move |state, _| names::run(state, owner, &asked))
                .await??
        }
        None => output::newest(shared, &text).await?,
    };
    let live = shared
        .engine
        .look(move |state, _| state.run(run).map(|run| run.origin.trace_id))
        .await?;
    if let Some(trace_id) = live {
        return Ok((run, trace_id));
    }
    let row = shared.readers.read(move |reader| reader.run(run)).await?;
    let row = row.ok_or(Refusal::UnknownRun { run: text })?;
    Ok((run, row.trace_id))
}

/// The tasks that a task hangs together with, the nearest first, and whether there are more.
fn around(state: &Scheduler, id: TaskId) -> (BTreeSet<TaskId>, bool) {
    let mut found = BTreeSet::from([id]);
    let (mut rest, mut lines) = (std::collections::VecDeque::from([id]), 0);
    while let Some(id) = rest.pop_front() {
        let upstreams = upstreams(state, id);
        let later = state.downstream(id).chain(state.requiring(id));
        for other in upstreams.into_iter().chain(later) {
            lines += 1;
            if found.contains(&other) {
                continue;
            }
            if found.len() == TASKS_MAX || lines > 2 * LINES_MAX {
                return (found, true);
            }
            found.insert(other);
            rest.push_back(other);
        }
    }
    (found, false)
}

/// All tasks of an owner that come after others or require them, with those, as many as one answer holds.
fn all(state: &Scheduler, owner: Owner) -> (BTreeSet<TaskId>, bool) {
    let (mut found, mut lines) = (BTreeSet::new(), 0);
    for id in state.dependents(owner) {
        let upstreams = upstreams(state, id);
        lines += upstreams.len();
        if found.len() + upstreams.len() >= TASKS_MAX || lines > LINES_MAX {
            return (found, true);
        }
        found.extend(upstreams);
        found.insert(id);
    }
    (found, false)
}

/// Those that a task comes after or requires.
fn upstreams(state: &Scheduler, id: TaskId) -> Vec<TaskId> {
    let Some(task) = state.task(id) else {
        return Vec::new();
    };
    let of = task.after.map_or(&[][..], |upstreams| &upstreams.of);
    let after = of.iter().map(|upstream| &upstream.task);
    let required = task.requires.iter().map(|required| &required.task);
    after
        .chain(required)
        .filter_map(|name| state.find(task.owner, name))
        .collect()
}

fn live(state: &Scheduler, id: TaskId, now: Timestamp) -> Option<Live> {
    let task = state.task(id)?;
    let runs = state.runs_of(id).filter_map(|run| {
        let view = state.run(run)?;
        Some((run.n, view.origin.trace_id, view.state))
    });
    Some(Live {
        id,
        task: GraphTask {
            task: task.name.to_string(),
            upstreams: show::upstreams(state, &task),
            any: task.after.is_some_and(|upstreams| upstreams.any),
            enabled: task.enabled,
            requires: Tail(show::requires(state, &task, now)),
            ..GraphTask::default()
        },
        runs: runs.collect(),
    })
}

/// Says of each task how its newest run stands: the newest in progress, else the one that ended last; of a trace id, its newest
/// under that.
fn with_runs(
    reader: &Reader,
    tasks: Vec<Live>,
    trace_id: Option<TraceId>,
) -> Result<Vec<GraphTask>, taskd_store::ReadError> {
    let ids: Vec<TaskId> = tasks.iter().map(|live| live.id).collect();
    let mut ended: BTreeMap<TaskId, (u64, String)> = BTreeMap::new();
    match trace_id {
        Some(trace_id) => {
            for id in &ids {
                if let Some(row) = reader.newest_of_trace(*id, trace_id)? {
                    let state = row.outcome.map_or(row.state.word(), |outcome| outcome.word());
                    ended.insert(*id, (row.key.n, state.to_owned()));
                }
            }
        }
        None => {
            for (id, last) in ids.iter().zip(reader.last_finished(&ids)?) {
                ended.extend(last.map(|last| (*id, (last.n, last.outcome.word().to_owned()))));
            }
        }
    }
    let told = tasks.into_iter().map(|Live { id, mut task, runs }| {
        let of_trace = |(_, of, _): &&(u64, TraceId, &'static str)| trace_id.is_none_or(|trace_id| *of == trace_id);
        let live = runs.iter().rfind(of_trace);
        let live = live.map(|(n, _, state)| (*n, (*state).to_owned()));
        if let Some((n, state)) = live.or_else(|| ended.remove(&id)) {
            task.run = Some(format!("{}/{n}", task.task));
            task.state = Some(state);
        }
        task
    });
    Ok(told.collect())
}
