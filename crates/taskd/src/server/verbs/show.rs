//! `show`: all of one task.

use std::num::NonZeroU64;

use taskd_core::Timestamp;
use taskd_core::dependency::Upstream;
use taskd_core::requirement::Requirement;
use taskd_core::schedule::{Finding, FindingCode};
use taskd_core::scheduler::{Crowds, Scheduler, TaskView};
use taskd_core::task::TaskId;
use taskd_wire::client::{RequirementInfo, Response, TaskDetail, UpstreamInfo};
use taskd_wire::codec::{Rec, Tail};
use taskd_wire::refusal::Refusal;

use super::{add, lint, list};
use crate::accept;
use crate::clock;
use crate::describe;
use crate::server::{Shared, names};

/// Most tasks that are named as coming after one, or requiring it.
const DOWNSTREAM_SHOWN: usize = 100;

/// How many ledger entries are shown.
const PASSED_SHOWN: usize = 10;

/// What a task hangs together with.
struct Around {
    upstreams: Vec<Rec<UpstreamInfo>>,
    downstream: Vec<String>,
    requires: Vec<Rec<RequirementInfo>>,
    required_by: Vec<String>,
}

pub(super) async fn answer(shared: &Shared, name: String) -> Result<Response, Refusal> {
    let (owner, now, asked) = (shared.owner, clock::now(), name.clone());
    let (id, live, next_ms, mark, runs, (found, remark), around) = shared
        .engine
        .look(move |state, _| {
            let id = names::task(state, owner, &asked)?;
            let gone = || names::unknown(state, owner, &asked);
            let task = state.task(id).ok_or_else(gone)?;
            let live = list::live_task(state, id, now).ok_or_else(gone)?;
            let found = lint::Live::of(state, &mut Crowds::default(), id, now);
            let found = (found, accept::remark(task.schedule));
            let next_ms = add::coming(state, id, now, add::SHOWN);
            let around = Around {
                upstreams: upstreams(state, &task),
                downstream: named(state, state.downstream(id)),
                requires: requires(state, &task, now),
                required_by: named(state, state.requiring(id)),
            };
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
    let contradictions = accept::contradictions(&stored.definition);
    // The summary has it.
    findings.retain(|finding| finding.code != FindingCode::Held);
    let Around {
        upstreams,
        downstream,
        requires,
        required_by,
    } = around;
    Ok(Response::Task(Box::new(Rec(TaskDetail {
        summary,
        created_ms: stored.created_at.as_millis(),
        changed_ms: stored.changed_at.as_millis(),
        next_ms,
        mark_ms: (mark != Timestamp::MIN).then_some(mark.as_millis()),
        runs,
        passed,
        warnings: findings
            .iter()
            .map(Finding::to_string)
            .chain(remark)
            .chain(contradictions)
            .collect(),
        upstreams,
        downstream,
        requires: Tail(requires),
        required_by: Tail(required_by),
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

/// The tasks that one requires, and how their last runs ended.
pub(super) fn requires(state: &Scheduler, task: &TaskView<'_>, now: Timestamp) -> Vec<Rec<RequirementInfo>> {
    let unmet: Vec<(&Requirement, String)> = state.unmet(task.id, now).collect();
    let info = |required: &Requirement| {
        let last = state.find(task.owner, &required.task).and_then(|id| state.last_end(id));
        let unmet = unmet.iter().find(|(of, _)| *of == required);
        Rec(RequirementInfo {
            task: required.task.to_string(),
            within_ms: required.within_ms.map(NonZeroU64::get),
            outcome: last.map(|last| last.outcome.word().to_owned()),
            ended_ms: last.map(|last| last.at.as_millis()),
            unmet: unmet.map(|(_, why)| why.clone()),
        })
    };
    task.requires.iter().map(info).collect()
}

/// The names of tasks, the first hundred of them in their order.
fn named(state: &Scheduler, ids: impl Iterator<Item = TaskId>) -> Vec<String> {
    let names = ids.filter_map(|id| Some(state.task(id)?.name.to_string()));
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names.truncate(DOWNSTREAM_SHOWN);
    names
}
