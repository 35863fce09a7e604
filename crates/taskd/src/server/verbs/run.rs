//! `run`: a run of each task now.

use std::sync::Arc;

use taskd_core::command::{Command, Reply};
use taskd_core::overrides::Overrides;
use taskd_core::scheduler::RunView;
use taskd_core::task::TaskId;
use taskd_wire::client::{self as wire, Response, RunRef};
use taskd_wire::codec::{Rec, Tail};
use taskd_wire::refusal::Refusal;

use crate::accept;
use crate::describe;
use crate::server::{Shared, meant};

/// Most runs started by one request: with their trace ids they fit one answer.
pub(super) const RUNS_MAX: usize = 8_000;

/// Definitions read at once, to see what their runs can be given.
const READ: usize = 100;

pub(super) async fn answer(shared: &Shared, asked: Vec<String>, typed: wire::Overrides) -> Result<Response, Refusal> {
    let overrides = accept::overrides(typed)?;
    let owner = shared.owner;
    let meant = meant::changed(&shared.engine, owner, asked, RUNS_MAX).await?;
    let overrides = (!overrides.is_empty()).then(|| Arc::new(overrides));
    if let Some(overrides) = &overrides {
        can_be_given(shared, meant.ids(), overrides).await?;
    }
    let runs = shared
        .engine
        .change(
            move |state, _| {
                Ok(Command::Run {
                    ids: meant.still(state, owner)?,
                    overrides: overrides.clone(),
                })
            },
            |state, reply| match reply {
                Reply::Runs(runs) => runs
                    .iter()
                    .map(|(run, trace_id)| {
                        let name = state.task(run.task).map(|task| task.name.to_string());
                        let waits = |view: RunView<'_>| Some(describe::waits(&view.origin.name, &view.waits_for?));
                        Rec(RunRef {
                            run: format!("{}/{}", name.unwrap_or_default(), run.n),
                            trace_id: trace_id.to_string(),
                            waits_for: Tail(state.run(*run).and_then(waits)),
                        })
                    })
                    .collect(),
                Reply::Added(_) | Reply::Importing(_) | Reply::Done => Vec::new(),
            },
        )
        .await?;
    Ok(Response::RunsStarted(runs))
}

/// Whether each of these tasks, as it is, leaves room for what its run is to be given.
async fn can_be_given(shared: &Shared, ids: Vec<TaskId>, overrides: &Arc<Overrides>) -> Result<(), Refusal> {
    let limit = shared.limits.borrow().arguments_bytes;
    for some in ids.chunks(READ) {
        let some = some.to_vec();
        let stored = shared.readers.read(move |reader| reader.definitions(&some)).await?;
        for (_, task) in stored {
            accept::fit(overrides, &task.definition, limit)?;
        }
    }
    Ok(())
}
