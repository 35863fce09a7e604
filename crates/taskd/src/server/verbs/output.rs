//! `output`: where the output of a run is.

use std::path::Path;

use taskd_core::policy::OutputKind;
use taskd_core::run::RunKey;
use taskd_runner::{find_output, output_path, raw_output_path};
use taskd_wire::client::{Response, RunInfo, RunOutput};
use taskd_wire::codec::{Rec, Tail};
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
    let (mut output, state_dir) = (of(shared, run, info), shared.state_dir.clone());
    let output = shared
        .readers
        .read(move |reader| {
            let kind = reader.definition(run.task)?.map(|task| task.definition.output.kind);
            if !find(&mut output, run, kind, &state_dir)
                && let Some(row) = reader.run(run)?
            {
                let usage = row.usage.unwrap_or_default();
                let is_lost = usage.output_lost == usage.output_bytes;
                output.removed = Tail(row.output_removed);
                output.lost = Tail(if is_lost { usage.output_lost } else { 0 });
            }
            Ok(output)
        })
        .await?;
    Ok(Response::Output(Rec(output)))
}

/// Takes in where the files are that there are. It asks the disk for each. Whether there are any.
fn find(output: &mut RunOutput, run: RunKey, kind: Option<OutputKind>, state_dir: &Path) -> bool {
    let mut any = false;
    for (file, key) in output.files.iter_mut().zip(keys(run)) {
        let found = find_output(state_dir, &key).map(|(path, _)| path);
        any |= found.is_some();
        let named = match (found, kind) {
            (Some(path), _) => path,
            (None, Some(OutputKind::File)) => raw_output_path(state_dir, &key),
            (None, Some(OutputKind::Lines | OutputKind::Discard) | None) => continue,
        };
        *file = named.display().to_string();
    }
    output.discards = Tail(!any && kind == Some(OutputKind::Discard));
    any
}

/// The attempts of a run.
fn keys(run: RunKey) -> impl Iterator<Item = AttemptKey> {
    (1..).map(move |attempt| AttemptKey {
        task: run.task.0,
        run: run.n,
        attempt,
    })
}

/// A run with its files, as they are called where its output is lines. Whoever follows it looks beside them too.
pub(super) fn of(shared: &Shared, run: RunKey, info: RunInfo) -> RunOutput {
    let attempts = usize::try_from(info.attempts.max(1)).unwrap_or(usize::MAX);
    let files = keys(run)
        .take(attempts)
        .map(|key| output_path(&shared.state_dir, &key).display().to_string())
        .collect();
    RunOutput {
        info: Rec(info),
        files,
        discards: Tail(false),
        removed: Tail(false),
        lost: Tail(0),
    }
}

/// The newest run of a task that started.
pub(super) async fn newest(shared: &Shared, name: &str) -> Result<RunKey, Refusal> {
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
