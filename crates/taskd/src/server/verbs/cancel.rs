//! `cancel`: stop runs.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use taskd_core::command::Command;
use taskd_core::run::RunKey;
use taskd_core::scheduler::Scheduler;
use taskd_core::task::Owner;
use taskd_wire::client::Response;
use taskd_wire::refusal::Refusal;

use crate::server::names::{self, Pattern};
use crate::server::{Shared, meant};

pub(super) async fn answer(shared: &Shared, asked: Vec<String>) -> Result<Response, Refusal> {
    let owner = shared.owner;
    let cancelled = Arc::new(Mutex::new(Vec::new()));
    let named = Arc::clone(&cancelled);
    let done = shared
        .engine
        .change(
            move |state, _| {
                let (mut runs, mut texts) = (Vec::new(), Vec::new());
                let mut seen = HashSet::new();
                for text in &asked {
                    for run in runs_meant(state, owner, text)? {
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
                    reason: format!("cancelled by {}", names::by(owner)),
                })
            },
            |_, _| (),
        )
        .await;
    if let Err(Refusal::NotRunning { run: text }) = &done
        && Pattern::new(text).is_wild()
    {
        meant::any(&shared.engine, owner, text).await?;
    }
    done?;
    let cancelled = std::mem::take(&mut *cancelled.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Response::Done(cancelled))
}

/// The runs in progress that a text means: one run, or those of the tasks it names.
fn runs_meant(state: &Scheduler, owner: Owner, text: &str) -> Result<Vec<RunKey>, Refusal> {
    let not_running = || Refusal::NotRunning { run: text.to_owned() };
    if names::split_run(text).is_some() {
        let run = names::run(state, owner, text)?;
        return match state.task(run.task) {
            _ if state.run(run).is_some() => Ok(vec![run]),
            Some(task) if run.n > task.last_run => Err(Refusal::UnknownRun { run: text.to_owned() }),
            Some(_) | None => Err(not_running()),
        };
    }
    let pattern = Pattern::new(text);
    let runs: Vec<RunKey> = if pattern.is_wild() {
        // What runs is bounded, unlike the names that may fit.
        let is_theirs = |run: &RunKey| {
            let task = state.task(run.task);
            task.is_some_and(|task| task.owner == owner && pattern.matches(task.name, task.labels))
        };
        state
            .active_runs()
            .map(|run| run.origin.attempt.run)
            .filter(is_theirs)
            .collect()
    } else {
        state.runs_of(names::task(state, owner, text)?).collect()
    };
    if runs.is_empty() {
        return Err(not_running());
    }
    Ok(runs)
}
