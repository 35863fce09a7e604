//! `top`: the runs in progress and those that wait, with what they use.

use std::sync::Arc;
use std::time::Duration;

use taskd_core::Timestamp;
use taskd_core::scheduler::RunView;
use taskd_wire::client::{Response, Top, TopRun};
use taskd_wire::codec::Rec;
use taskd_wire::refusal::Refusal;

use crate::engine::Sample;
use crate::server::Shared;
use crate::{clock, describe};

/// Runs in one answer, so that it fits a frame.
const RUNS_MAX: usize = 1_000;

/// How long the runner may take to tell. Without it the answer says what there is.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn answer(shared: &Shared) -> Result<Response, Refusal> {
    let owner = shared.owner;
    let asked = tokio::time::timeout(PATIENCE, shared.engine.usage()).await;
    let sample = asked.unwrap_or(Ok(None))?;
    let top = shared
        .engine
        .look(move |state, _| {
            let busy = state.busy_runs(owner, RUNS_MAX);
            Top {
                at_ms: clock::now().as_millis(),
                measured_us: sample.as_ref().map(|sample| sample.at_us),
                running: busy.running as u64,
                waiting: busy.waiting as u64,
                runs: busy.runs.iter().map(|run| Rec(told(run, sample.as_ref()))).collect(),
            }
        })
        .await?;
    Ok(Response::Top(Box::new(Rec(top))))
}

fn told(run: &RunView<'_>, sample: Option<&Arc<Sample>>) -> TopRun {
    let origin = &run.origin;
    TopRun {
        run: format!("{}/{}", origin.name, origin.attempt.run.n),
        state: run.state.to_owned(),
        attempt: origin.attempt.attempt,
        pid: run.pid,
        created_ms: origin.created_at.as_millis(),
        started_ms: run.started_at.map(Timestamp::as_millis),
        retry_ms: run.retry_at.map(Timestamp::as_millis),
        waits_for: run
            .waits_for
            .as_ref()
            .map(|waits_for| describe::waits(&origin.name, waits_for)),
        usage: sample
            .and_then(|sample| sample.used.get(&origin.attempt))
            .copied()
            .map(Rec),
    }
}
