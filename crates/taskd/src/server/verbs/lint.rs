//! `lint`: what may surprise in the schedules of a page of tasks.

use std::collections::HashMap;

use taskd_core::Timestamp;
use taskd_core::schedule::{Finding, FindingCode};
use taskd_core::scheduler::{Crowds, Scheduler};
use taskd_core::task::{Definition, TaskId};
use taskd_wire::client::{self as wire, Response, TaskFindings};
use taskd_wire::codec::{Rec, encoded_len};
use taskd_wire::refusal::Refusal;

use super::{add, list};
use crate::accept;
use crate::clock;
use crate::server::names::SCANNED_MAX;
use crate::server::{PAGE_BYTES, PAGE_MAX, Shared};

/// What only the engine knows of a task's schedule.
#[derive(Default)]
pub(super) struct Live {
    held: Option<String>,
    /// Whether it has a fire time to come, be it late.
    is_due: bool,
    crowd: Option<Finding>,
    /// Its calendars let none of its fire times start.
    kept: Option<Finding>,
}

impl Live {
    pub(super) fn of(state: &Scheduler, crowds: &mut Crowds, id: TaskId, now: Timestamp) -> Self {
        let task = state.task(id);
        Live {
            held: task.and_then(|task| task.held).map(str::to_owned),
            is_due: task.is_some_and(|task| task.next.is_some()),
            crowd: crowds.find(state, id),
            kept: add::kept_from_starting(state, id, now),
        }
    }

    /// All that was found in a task's schedule.
    pub(super) fn findings(self, shared: &Shared, definition: &Definition, now: Timestamp) -> Vec<Finding> {
        if let Some(problem) = self.held {
            let end = if problem.ends_with('?') { "" } else { "." };
            return vec![Finding::new(FindingCode::Held, format!("It is held: {problem}{end}"))];
        }
        let mut findings = accept::findings(definition, &shared.schedules, now);
        findings.retain(|finding| finding.code != FindingCode::NeverFires || !self.is_due);
        findings.extend(self.kept);
        findings.extend(self.crowd);
        findings
    }
}

pub(super) async fn answer(
    shared: &Shared,
    asked: Vec<String>,
    after: Option<String>,
    limit: u32,
) -> Result<Response, Refusal> {
    let now = clock::now();
    let (ids, more) = list::page(shared, asked, after, limit.clamp(1, PAGE_MAX) as usize).await?;
    let mut live = looked_at(shared, ids.clone(), now).await?;
    let (stored, cut) = list::definitions(shared, ids).await?;
    let mut more = more || cut;
    let (mut tasks, mut bytes) = (Vec::with_capacity(stored.len()), 0);
    for (id, task) in stored {
        let found = live
            .remove(&id)
            .unwrap_or_default()
            .findings(shared, &task.definition, now);
        let task = Rec(TaskFindings {
            name: task.definition.name.to_string(),
            findings: found.into_iter().map(|finding| Rec(said(finding))).collect(),
        });
        bytes += encoded_len(&task);
        if bytes > PAGE_BYTES && !tasks.is_empty() {
            more = true;
            break;
        }
        tasks.push(task);
    }
    Ok(Response::Findings { tasks, more })
}

/// What the engine knows of each task, asked for in parts.
async fn looked_at(shared: &Shared, ids: Vec<TaskId>, now: Timestamp) -> Result<HashMap<TaskId, Live>, Refusal> {
    let (mut live, mut crowds, mut rest) = (HashMap::with_capacity(ids.len()), Crowds::default(), ids.into_iter());
    while rest.len() > 0 {
        (live, crowds, rest) = shared
            .engine
            .look(move |state, _| {
                let until = crowds.looked_at() + SCANNED_MAX;
                while crowds.looked_at() < until
                    && let Some(id) = rest.next()
                {
                    live.insert(id, Live::of(state, &mut crowds, id, now));
                }
                (live, crowds, rest)
            })
            .await?;
    }
    Ok(live)
}

fn said(finding: Finding) -> wire::Finding {
    wire::Finding {
        code: finding.code.word().to_owned(),
        message: finding.message,
        suggestion: finding.suggestion,
    }
}
