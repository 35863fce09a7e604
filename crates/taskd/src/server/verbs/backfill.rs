//! `backfill`: runs for fire times of the past.

use taskd_core::Timestamp;
use taskd_core::command::{Command, Reply};
use taskd_core::run::RunKey;
use taskd_core::scheduler::Scheduler;
use taskd_core::task::{Owner, TaskId};
use taskd_wire::client::{Backfilled, Response};
use taskd_wire::codec::Rec;
use taskd_wire::refusal::Refusal;

use crate::accept;
use crate::clock;
use crate::server::{Shared, names};

pub(super) async fn answer(
    shared: &Shared,
    name: String,
    from_ms: i64,
    until_ms: i64,
    dry_run: bool,
) -> Result<Response, Refusal> {
    let (from, until) = (Timestamp::from_millis(from_ms), Timestamp::from_millis(until_ms));
    let owner = shared.owner;
    if dry_run {
        return shared
            .engine
            .look(move |state, _| {
                let id = meant(state, owner, &name)?;
                let told = state.backfillable(id, clock::now(), from, until).into_iter().map(|at| {
                    Rec(Backfilled {
                        at_ms: at.as_millis(),
                        run: None,
                    })
                });
                Ok(Response::Backfill(told.collect()))
            })
            .await?;
    }
    let asked = name.clone();
    shared
        .engine
        .change(
            move |state, _| {
                Ok(Command::Backfill {
                    id: meant(state, owner, &asked)?,
                    from,
                    until,
                })
            },
            |state, reply| match reply {
                Reply::Runs(runs) => runs.iter().filter_map(|(run, _)| backfilled(state, *run)).collect(),
                Reply::Done | Reply::Added(_) | Reply::Importing(_) => Vec::new(),
            },
        )
        .await
        .map(Response::Backfill)
}

/// A task whose fire times are known.
fn meant(state: &Scheduler, owner: Owner, name: &str) -> Result<TaskId, Refusal> {
    let id = names::task(state, owner, name)?;
    match state.task(id).and_then(|task| task.held) {
        None => Ok(id),
        Some(held) => {
            let problem = format!("it is held, and nobody knows its fire times: {held}");
            Err(accept::bad("task", name, problem, None))
        }
    }
}

fn backfilled(state: &Scheduler, run: RunKey) -> Option<Rec<Backfilled>> {
    let view = state.run(run)?;
    Some(Rec(Backfilled {
        at_ms: view.origin.fire_time?.as_millis(),
        run: Some(format!("{}/{}", view.origin.name, run.n)),
    }))
}
