//! `run`: a run of each task now.

use taskd_core::command::{Command, Reply};
use taskd_wire::client::{Response, RunRef};
use taskd_wire::codec::Rec;
use taskd_wire::refusal::Refusal;

use crate::server::{Shared, meant};

/// Most runs started by one request: with their trace ids they fit one answer.
pub(super) const RUNS_MAX: usize = 8_000;

pub(super) async fn answer(shared: &Shared, asked: Vec<String>) -> Result<Response, Refusal> {
    let owner = shared.owner;
    let meant = meant::changed(&shared.engine, owner, asked, RUNS_MAX).await?;
    let runs = shared
        .engine
        .change(
            move |state, _| {
                Ok(Command::Run {
                    ids: meant.still(state, owner)?,
                })
            },
            |state, reply| match reply {
                Reply::Runs(runs) => runs
                    .iter()
                    .map(|(run, trace_id)| {
                        let name = state.task(run.task).map(|task| task.name.to_string());
                        Rec(RunRef {
                            run: format!("{}/{}", name.unwrap_or_default(), run.n),
                            trace_id: trace_id.to_string(),
                        })
                    })
                    .collect(),
                Reply::Added(_) | Reply::Importing(_) | Reply::Done => Vec::new(),
            },
        )
        .await?;
    Ok(Response::RunsStarted(runs))
}
