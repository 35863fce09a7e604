//! `watch`: told of runs until each has ended.

use taskd_core::run::RunKey;
use taskd_wire::client::{Response, RunInfo};
use taskd_wire::codec::Rec;
use taskd_wire::refusal::Refusal;
use tokio::sync::mpsc::UnboundedReceiver;

use super::runs;
use crate::describe::{self, LiveRun};
use crate::server::{Shared, names};

/// Most runs watched by one connection.
const RUNS_MAX: usize = 1000;

/// Begins to watch.
///
/// # Errors
/// When a run is not known.
pub(in crate::server) async fn begin(shared: &Shared, asked: &[String]) -> Result<UnboundedReceiver<RunKey>, Refusal> {
    if asked.len() > RUNS_MAX {
        return Err(Refusal::Limit {
            what: "watched runs".to_owned(),
            limit: RUNS_MAX as u64,
            actual: asked.len() as u64,
        });
    }
    names::within(asked)?;
    let mut keys = Vec::with_capacity(asked.len());
    for text in asked {
        let key = runs::key_of(shared, text).await?;
        if info(shared, key).await?.is_none() {
            return Err(Refusal::UnknownRun { run: text.clone() });
        }
        keys.push(key);
    }
    shared.engine.watch(keys).await
}

/// What is told of a run that has changed.
///
/// # Errors
/// When the store cannot be read.
pub(in crate::server) async fn update(shared: &Shared, run: RunKey) -> Result<Response, Refusal> {
    let info = info(shared, run).await?.ok_or_else(|| Refusal::UnknownRun {
        run: format!("{}", run.n),
    })?;
    Ok(Response::Update(Box::new(Rec(info))))
}

/// What is known of a run: what is live first, since the store may not have it yet.
pub(super) async fn info(shared: &Shared, run: RunKey) -> Result<Option<RunInfo>, Refusal> {
    let live = shared
        .engine
        .look(move |state, _| state.run(run).map(|view| LiveRun::of(&view)))
        .await?;
    let row = shared.readers.read(move |reader| reader.run(run)).await?;
    Ok(match (row, live) {
        (Some(row), live) => Some(describe::run(row, live)),
        (None, Some(live)) => Some(describe::unrecorded(live)),
        (None, None) => None,
    })
}
