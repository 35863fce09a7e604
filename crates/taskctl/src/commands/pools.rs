//! `taskctl group` and `taskctl lock`

use taskd_wire::client::{PoolInfo, PoolKind, Request, Response};

use super::{done, say_done};
use crate::args::PoolVerb;
use crate::error::Result;
use crate::json;
use crate::out::JsonArray;
use crate::render::{counted, one_line};
use crate::session::Session;

/// Does what is asked of groups or locks.
pub fn run(kind: PoolKind, verb: &PoolVerb, session: &mut Session) -> Result<()> {
    match verb {
        PoolVerb::Set(args) => set(kind, &args.names, Some(args.limit), session),
        PoolVerb::List => list(kind, session),
        PoolVerb::Remove(args) => set(kind, &args.names, None, session),
    }
}

fn set(kind: PoolKind, names: &[String], limit: Option<u32>, session: &mut Session) -> Result<()> {
    let mut client = session.connect()?;
    let names = names.to_vec();
    let response = client.request(&Request::PoolSet { kind, names, limit })?;
    let names = done(&client, response)?;
    let verb = if limit.is_some() {
        "set"
    } else {
        "took back the limit of"
    };
    say_done(session, "name", &format!("{verb} {}", kind.word()), &names)
}

fn list(kind: PoolKind, session: &mut Session) -> Result<()> {
    let mut client = session.connect()?;
    let Response::Pools(pools) = client.request(&Request::PoolList { kind })? else {
        return Err(client.unexpected().into());
    };
    if session.json {
        let mut array = JsonArray::default();
        for pool in &pools {
            array.element(&mut session.out, &json::PoolShape::of(pool))?;
        }
        return array.close(&mut session.out);
    }
    for pool in &pools {
        session.out.line(&one_line(&summary(pool)))?;
    }
    Ok(())
}

/// How it is, in a line.
fn summary(pool: &PoolInfo) -> String {
    let PoolInfo {
        name,
        limit,
        is_set: _,
        tasks,
        running,
        waiting,
    } = pool;
    let limit = limit.map_or_else(|| "no limit".to_owned(), |limit| format!("limit {limit}"));
    format!(
        "{name}: {limit}; {running} running, {waiting} waiting; {}",
        counted(*tasks, "task")
    )
}
