//! `cancel`: stop runs.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use taskd_core::command::Command;
use taskd_core::run::RunKey;
use taskd_core::scheduler::Scheduler;
use taskd_core::task::Owner;
use taskd_wire::client::Response;
use taskd_wire::refusal::Refusal;

use crate::server::{Shared, names};

pub(super) async fn answer(shared: &Shared, asked: Vec<String>) -> Result<Response, Refusal> {
    let owner = shared.owner;
    let cancelled = Arc::new(Mutex::new(Vec::new()));
    let named = Arc::clone(&cancelled);
    shared
        .engine
        .change(
            move |state, _| {
                let (mut runs, mut texts) = (Vec::new(), Vec::new());
                let mut seen = HashSet::new();
                for text in &asked {
                    for run in meant(state, owner, text)? {
                        if seen.insert(run) {
                            runs.push(run);
                            let name = state.run(run).map(|view| view.origin.name.to_string());
                            texts.push(format!("{}/{}", name.unwrap_or_default(), run.n));
                        }
                    }
                }
                names::limit("runs at once", names::CHANGED_MAX, runs.len())?;
                *named.lock().unwrap_or_else(PoisonError::into_inner) = texts;
                Ok(Command::Cancel {
                    runs,
                    reason: format!("cancelled by uid {}", owner.0),
                })
            },
            |_, _| (),
        )
        .await?;
    let cancelled = std::mem::take(&mut *cancelled.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Response::Done(cancelled))
}

/// The runs in progress that a text means: one run, or those of the tasks it names.
fn meant(state: &Scheduler, owner: Owner, text: &str) -> Result<Vec<RunKey>, Refusal> {
    if let Some(parts) = names::split_run(text) {
        let found = names::run(state, owner, text);
        if let Ok(run) = found
            && state.run(run).is_some()
        {
            return Ok(vec![run]);
        }
        // A run of a task that was removed is found by its own name, which another task may have by now.
        let (name, n) = parts;
        let kept = state.active_runs().map(|run| run.origin).find(|origin| {
            origin.attempt.run.n == n && origin.name.as_str() == name && state.task(origin.attempt.run.task).is_none()
        });
        return match (kept, found) {
            (Some(origin), _) => Ok(vec![origin.attempt.run]),
            (None, Ok(run)) if state.task(run.task).is_some_and(|task| n > task.last_run) => {
                Err(Refusal::UnknownRun { run: text.to_owned() })
            }
            (None, Ok(_)) => Err(Refusal::NotRunning { run: text.to_owned() }),
            (None, Err(refusal)) => Err(refusal),
        };
    }
    let mut runs = Vec::new();
    for id in names::tasks(state, owner, &[text.to_owned()])? {
        runs.extend(state.runs_of(id));
    }
    if runs.is_empty() {
        return Err(Refusal::NotRunning { run: text.to_owned() });
    }
    Ok(runs)
}
