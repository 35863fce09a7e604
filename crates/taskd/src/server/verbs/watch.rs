//! `watch`: told of runs until each has ended.

use taskd_core::run::RunKey;
use taskd_wire::client::{Response, RunInfo};
use taskd_wire::codec::Rec;
use taskd_wire::refusal::Refusal;
use tokio::sync::mpsc::UnboundedReceiver;

use super::{output, run, runs};
use crate::describe::{self, LiveRun};
use crate::engine::Told;
use crate::server::{Shared, names};

/// Most runs watched by one connection: whatever one request starts, one watch can follow.
const RUNS_MAX: usize = run::RUNS_MAX;

/// Begins to watch.
///
/// # Errors
/// When a run is not known.
pub(in crate::server) async fn begin(shared: &Shared, asked: &[String]) -> Result<UnboundedReceiver<Told>, Refusal> {
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

/// What is told of a run that has changed; nothing, if that is not known yet and will be told of later: a run may be
/// ending whose start is not in the store.
///
/// # Errors
/// When the store cannot be read, or the run is over and not in the store any more.
pub(in crate::server) async fn update(shared: &Shared, told: Told) -> Result<Option<Response>, Refusal> {
    let Told { run, over } = told;
    // Of one that is over the store tells all, also when the engine has ended.
    let known = if over {
        kept(shared, run, None).await?
    } else {
        info(shared, run).await?
    };
    match known {
        Some(info) => Ok(Some(Response::Update(Box::new(Rec(output::of(shared, run, info)))))),
        None if over => Err(Refusal::UnknownRun {
            run: format!("#{}/{}", run.task.0, run.n),
        }),
        None => Ok(None),
    }
}

/// What is known of a run: what is live first, since the store may not have it yet.
pub(super) async fn info(shared: &Shared, run: RunKey) -> Result<Option<RunInfo>, Refusal> {
    let live = shared
        .engine
        .look(move |state, _| state.run(run).map(|view| LiveRun::of(&view)))
        .await?;
    kept(shared, run, live).await
}

/// What the store knows of a run, with what is live.
async fn kept(shared: &Shared, run: RunKey, live: Option<LiveRun>) -> Result<Option<RunInfo>, Refusal> {
    let row = shared.readers.read(move |reader| reader.run(run)).await?;
    Ok(match (row, live) {
        (Some(row), live) => Some(describe::run(row, live)),
        (None, Some(live)) => Some(describe::unrecorded(live)),
        (None, None) => None,
    })
}
