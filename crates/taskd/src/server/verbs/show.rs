//! `show`: all of one task.

use taskd_core::Timestamp;
use taskd_core::dependency::Upstream;
use taskd_core::schedule::{Finding, FindingCode};
use taskd_core::scheduler::{Crowds, Scheduler, TaskView};
use taskd_core::task::TaskId;
use taskd_wire::client::{Response, TaskDetail, UpstreamInfo};
use taskd_wire::codec::Rec;
use taskd_wire::refusal::Refusal;

use super::{add, lint, list};
use crate::accept;
use crate::clock;
use crate::describe;
use crate::server::{Shared, names};

/// Most tasks that are named as coming after one.
const DOWNSTREAM_SHOWN: usize = 100;

/// How many ledger entries are shown.
const PASSED_SHOWN: usize = 10;

pub(super) async fn answer(shared: &Shared, name: String) -> Result<Response, Refusal> {
    let (owner, now, asked) = (shared.owner, clock::now(), name.clone());
    let (id, live, next_ms, mark, runs, (found, remark), (upstreams, downstream)) = shared
        .engine
        .look(move |state, _| {
            let id = names::task(state, owner, &asked)?;
            let gone = || names::unknown(state, owner, &asked);
            let task = state.task(id).ok_or_else(gone)?;
            let live = list::live_task(state, id, now).ok_or_else(gone)?;
            let found = lint::Live::of(state, &mut Crowds::default(), id, now);
            let found = (found, accept::remark(task.schedule));
            let next_ms = add::coming(state, id, now, add::SHOWN);
            let around = (upstreams(state, &task), downstream(state, id));
            Ok::<_, Refusal>((id, live, next_ms, task.mark, task.last_run, found, around))
        })
        .await??;
    let (stored, passed) = shared
        .readers
        .read(move |reader| Ok((reader.definition(id)?, reader.passed(id, PASSED_SHOWN)?)))
        .await?;
    let (mut summaries, _) = list::summaries(shared, vec![live]).await?;
    let (Some(stored), Some(summary)) = (stored, summaries.pop()) else {
        return Err(Refusal::UnknownTask { name, near: Vec::new() });
    };
    let passed = passed.into_iter().map(|span| Rec(describe::passed(span))).collect();
    let mut findings = found.findings(shared, &stored.definition, now);
    // The summary has it.
    findings.retain(|finding| finding.code != FindingCode::Held);
    Ok(Response::Task(Box::new(Rec(TaskDetail {
        summary,
        created_ms: stored.created_at.as_millis(),
        changed_ms: stored.changed_at.as_millis(),
        next_ms,
        mark_ms: (mark != Timestamp::MIN).then_some(mark.as_millis()),
        runs,
        passed,
        warnings: findings.iter().map(Finding::to_string).chain(remark).collect(),
        upstreams,
        downstream,
    }))))
}

/// The tasks that one comes after, and what it has of their ends.
pub(super) fn upstreams(state: &Scheduler, task: &TaskView<'_>) -> Vec<Rec<UpstreamInfo>> {
    let of = task.after.map_or(&[][..], |upstreams| &upstreams.of);
    let info = |upstream: &Upstream| {
        let id = state.find(task.owner, &upstream.task);
        let ended = state.kept_ends(task.id).find(|end| Some(end.task) == id);
        Rec(UpstreamInfo {
            task: upstream.task.to_string(),
            on: upstream.on.word().to_owned(),
            ended: ended.map(|end| format!("{}/{}", upstream.task, end.n)),
        })
    };
    of.iter().map(info).collect()
}

/// The names of tasks that come after one.
fn downstream(state: &Scheduler, id: TaskId) -> Vec<String> {
    let names = state
        .downstream(id)
        .filter_map(|id| Some(state.task(id)?.name.to_string()));
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names.truncate(DOWNSTREAM_SHOWN);
    names
}
