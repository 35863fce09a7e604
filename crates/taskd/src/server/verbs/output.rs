//! `output`: where the output of a run is.

use taskd_core::run::RunKey;
use taskd_runner::output_path;
use taskd_wire::client::{Response, RunInfo, RunOutput};
use taskd_wire::codec::Rec;
use taskd_wire::refusal::Refusal;
use taskd_wire::runner::AttemptKey;

use super::{runs, watch};
use crate::server::{Shared, names};

pub(super) async fn answer(shared: &Shared, target: String) -> Result<Response, Refusal> {
    let run = match names::split_run(&target) {
        Some(_) => runs::key_of(shared, &target).await?,
        None => newest(shared, &target).await?,
    };
    let info = watch::info(shared, run)
        .await?
        .ok_or_else(|| Refusal::UnknownRun { run: target.clone() })?;
    Ok(Response::Output(Rec(of(shared, run, info))))
}

/// A run with its files.
pub(super) fn of(shared: &Shared, run: RunKey, info: RunInfo) -> RunOutput {
    let files = (1..=info.attempts.max(1))
        .map(|attempt| {
            let key = AttemptKey {
                task: run.task.0,
                run: run.n,
                attempt,
            };
            output_path(&shared.state_dir, &key).display().to_string()
        })
        .collect();
    RunOutput { info: Rec(info), files }
}

/// The newest run of a task that started.
async fn newest(shared: &Shared, name: &str) -> Result<RunKey, Refusal> {
    let (owner, asked) = (shared.owner, name.to_owned());
    let found = shared
        .engine
        .look(move |state, _| names::task(state, owner, &asked))
        .await?;
    let task = match found {
        Ok(task) => task,
        Err(refusal) => runs::removed(shared, owner, name).await?.ok_or(refusal)?,
    };
    let live = shared.engine.look(move |state, _| state.runs_of(task).max()).await?;
    if let Some(run) = live {
        return Ok(run);
    }
    shared
        .readers
        .read(move |reader| reader.newest_started(task))
        .await?
        .ok_or_else(|| Refusal::UnknownRun { run: name.to_owned() })
}
