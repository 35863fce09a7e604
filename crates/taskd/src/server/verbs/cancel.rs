//! `cancel`: stop runs.

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
                let mut runs = Vec::new();
                let mut texts = Vec::new();
                for text in &asked {
                    for run in meant(state, owner, text)? {
                        if !runs.contains(&run) {
                            runs.push(run);
                            let name = state.run(run).map(|view| view.origin.name.to_string());
                            texts.push(format!("{}/{}", name.unwrap_or_default(), run.n));
                        }
                    }
                }
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
    if names::split_run(text).is_some() {
        // A run of a task that was removed is found by its own name.
        let run = match names::run(state, owner, text) {
            Ok(run) => run,
            Err(refusal) => state
                .active_runs()
                .find(|run| format!("{}/{}", run.origin.name, run.origin.attempt.run.n) == *text)
                .map(|run| run.origin.attempt.run)
                .ok_or(refusal)?,
        };
        return match state.run(run) {
            Some(_) => Ok(vec![run]),
            None => Err(Refusal::NotRunning { run: text.to_owned() }),
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
