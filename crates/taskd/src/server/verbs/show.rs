//! `show`: all of one task.

use taskd_core::Timestamp;
use taskd_core::schedule::{Finding, FindingCode};
use taskd_core::scheduler::Crowds;
use taskd_wire::client::{Response, TaskDetail};
use taskd_wire::codec::Rec;
use taskd_wire::refusal::Refusal;

use super::{add, lint, list};
use crate::accept;
use crate::clock;
use crate::describe;
use crate::server::{Shared, names};

/// How many ledger entries are shown.
const PASSED_SHOWN: usize = 10;

pub(super) async fn answer(shared: &Shared, name: String) -> Result<Response, Refusal> {
    let (owner, now, asked) = (shared.owner, clock::now(), name.clone());
    let (id, live, next_ms, mark, runs, (found, remark)) = shared
        .engine
        .look(move |state, _| {
            let id = names::task(state, owner, &asked)?;
            let gone = || names::unknown(state, owner, &asked);
            let task = state.task(id).ok_or_else(gone)?;
            let live = list::live_task(state, id, now).ok_or_else(gone)?;
            let found = lint::Live::of(state, &mut Crowds::default(), id, now);
            let found = (found, accept::remark(task.schedule));
            let next_ms = add::coming(state, id, now, add::SHOWN);
            Ok::<_, Refusal>((id, live, next_ms, task.mark, task.last_run, found))
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
    }))))
}
