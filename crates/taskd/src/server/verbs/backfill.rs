//! `backfill`: runs for fire times of the past.

use std::time::Duration;

use taskd_core::Timestamp;
use taskd_core::command::{Command, Reply};
use taskd_core::run::RunKey;
use taskd_core::scheduler::Scheduler;
use taskd_wire::client::{Backfilled, Response};
use taskd_wire::codec::Rec;
use taskd_wire::refusal::Refusal;

use crate::clock;
use crate::server::{Shared, names};

/// Most fire times that are told of when only asked about.
const TOLD_MAX: usize = 1_000;

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
        let until = until.min(clock::now());
        return shared
            .engine
            .look(move |state, _| {
                let id = names::task(state, owner, &name)?;
                let task = state.task(id).ok_or_else(|| names::unknown(state, owner, &name))?;
                let next = |at: &Timestamp| task.schedule?.next_after(*at).filter(|next| *next <= until);
                let first = next(&from.minus(Duration::from_millis(1)));
                let told = std::iter::successors(first, next).take(TOLD_MAX).map(|at| {
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
                    id: names::task(state, owner, &asked)?,
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

fn backfilled(state: &Scheduler, run: RunKey) -> Option<Rec<Backfilled>> {
    let view = state.run(run)?;
    Some(Rec(Backfilled {
        at_ms: view.origin.fire_time?.as_millis(),
        run: Some(format!("{}/{}", view.origin.name, run.n)),
    }))
}
