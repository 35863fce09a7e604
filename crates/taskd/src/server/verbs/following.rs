//! `cancel --downstream`: stop runs and what follows from them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use taskd_core::command::Command;
use taskd_core::run::{RunKey, TraceId};
use taskd_core::scheduler::Scheduler;
use taskd_core::task::Owner;
use taskd_store::{ReadError, Reader, RunRow};
use taskd_wire::client::Response;
use taskd_wire::refusal::Refusal;

use crate::server::{Shared, names};

pub(super) async fn cancel(shared: &Shared, asked: Vec<String>) -> Result<Response, Refusal> {
    let owner = shared.owner;
    let from = roots(shared, asked).await?;
    let cancelled = Arc::new(Mutex::new(Vec::new()));
    let named = Arc::clone(&cancelled);
    shared
        .engine
        .change(
            move |state, _| {
                let following = from.iter().flat_map(|(run, trace_id)| state.following(*run, *trace_id));
                let runs: BTreeSet<RunKey> = following.collect();
                names::limit("runs at once", names::CHANGED_MAX, runs.len())?;
                let name = |run: &RunKey| Some(format!("{}/{}", state.run(*run)?.origin.name, run.n));
                *named.lock().unwrap_or_else(PoisonError::into_inner) = runs.iter().filter_map(name).collect();
                Ok(Command::CancelFollowing {
                    from: from.clone(),
                    reason: format!("cancelled with what follows by {}", names::by(owner)),
                })
            },
            |_, _| (),
        )
        .await?;
    let cancelled = std::mem::take(&mut *cancelled.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Response::Done(cancelled))
}

/// The runs that are meant, with their trace ids.
async fn roots(shared: &Shared, asked: Vec<String>) -> Result<Vec<(RunKey, TraceId)>, Refusal> {
    let owner = shared.owner;
    let mut from = Vec::new();
    for text in asked {
        let asked = text.clone();
        let found = shared
            .engine
            .look(move |state, _| runs_meant(state, owner, &asked))
            .await??;
        let is_run = names::split_run(&text).is_some();
        for (run, live) in found {
            let known = match live {
                Some(trace_id) => Some((run, trace_id)),
                // It has ended, and history knows.
                None => {
                    let row = shared.readers.read(move |reader| ended(reader, run, is_run)).await?;
                    row.map(|row| (row.key, row.trace_id))
                }
            };
            from.push(known.ok_or_else(|| Refusal::UnknownRun { run: text.clone() })?);
        }
    }
    Ok(from)
}

/// A run in history. Where it was not asked for by its number, which may have been lost, the newest that has ended.
fn ended(reader: &Reader, run: RunKey, is_asked: bool) -> Result<Option<RunRow>, ReadError> {
    let row = reader.run(run)?;
    if row.is_some() || is_asked {
        return Ok(row);
    }
    let newest = reader.last_finished(&[run.task])?.pop().flatten();
    let newest = newest.map(|newest| RunKey { n: newest.n, ..run });
    newest.map_or(Ok(None), |newest| reader.run(newest))
}

type Found = Vec<(RunKey, Option<TraceId>)>;

/// The runs that a text means, with their trace ids where they are in progress: one run, or those in progress of a task, else its
/// newest.
fn runs_meant(state: &Scheduler, owner: Owner, text: &str) -> Result<Found, Refusal> {
    let runs = if names::split_run(text).is_some() {
        vec![names::run(state, owner, text)?]
    } else {
        let task = names::task(state, owner, text)?;
        let mut runs: Vec<RunKey> = state.runs_of(task).collect();
        let newest = state.task(task).map_or(0, |task| task.last_run);
        if runs.is_empty() && newest > 0 {
            runs.push(RunKey { task, n: newest });
        }
        runs
    };
    if runs.is_empty() {
        return Err(Refusal::NotRunning { run: text.to_owned() });
    }
    let trace = |run: RunKey| state.run(run).map(|run| run.origin.trace_id);
    Ok(runs.into_iter().map(|run| (run, trace(run))).collect())
}
