//! `group set`, `list` and `remove`, and the same of `lock`: how many runs of several tasks may go at once.

use std::num::NonZeroU32;

use taskd_core::command::Command;
use taskd_core::policy::{POOL_MAX, Pool};
use taskd_core::scheduler::PoolView;
use taskd_core::task::TaskName;
use taskd_wire::client::{PoolInfo, PoolKind, Response};
use taskd_wire::codec::Rec;
use taskd_wire::refusal::Refusal;

use crate::accept;
use crate::server::{Shared, names};

/// Most groups or locks that are set at once.
const SET_MAX: usize = 100;

pub(super) async fn set(
    shared: &Shared,
    kind: PoolKind,
    asked: Vec<String>,
    limit: Option<u32>,
) -> Result<Response, Refusal> {
    names::limit("names at once", SET_MAX, asked.len())?;
    let limit = limit.map(checked).transpose()?;
    let parsed = |name: &String| {
        TaskName::parse(name)
            .map(|parsed| pool(kind, parsed))
            .map_err(|error| accept::unnamed("NAME", name, &error))
    };
    let pools = asked.iter().map(parsed).collect::<Result<Vec<_>, _>>()?;
    let owner = shared.owner;
    shared
        .engine
        .change(
            move |_, _| {
                Ok(Command::SetPools {
                    owner,
                    pools: pools.clone(),
                    limit,
                    by: names::by(owner),
                })
            },
            |_, _| (),
        )
        .await?;
    Ok(Response::Done(asked))
}

fn checked(limit: u32) -> Result<NonZeroU32, Refusal> {
    let checked = NonZeroU32::new(limit).filter(|limit| limit.get() <= POOL_MAX);
    checked.ok_or_else(|| {
        let problem = format!("it holds from 1 to {POOL_MAX} runs");
        accept::bad(
            "limit",
            &limit.to_string(),
            problem,
            Some("to hold its tasks up, use pause"),
        )
    })
}

fn pool(kind: PoolKind, name: TaskName) -> Pool {
    match kind {
        PoolKind::Group => Pool::Group(name),
        PoolKind::Lock => Pool::Lock(name),
    }
}

pub(super) async fn list(shared: &Shared, kind: PoolKind) -> Result<Response, Refusal> {
    let owner = shared.owner;
    let views = shared.engine.look(move |state, _| state.pools(owner)).await?;
    let is_meant = |view: &PoolView| match view.pool {
        Pool::Group(_) => kind == PoolKind::Group,
        Pool::Lock(_) => kind == PoolKind::Lock,
    };
    let infos = views.into_iter().filter(is_meant).map(|view| {
        Rec(PoolInfo {
            name: view.pool.name().to_string(),
            limit: view.limit.map(NonZeroU32::get),
            is_set: view.is_set,
            tasks: view.tasks as u64,
            running: view.running as u64,
            waiting: view.waiting as u64,
        })
    });
    Ok(Response::Pools(infos.collect()))
}
