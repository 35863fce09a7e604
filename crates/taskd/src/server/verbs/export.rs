//! `export`: a page of definitions in the order of their names.

use taskd_wire::client::Response;
use taskd_wire::codec::Rec;
use taskd_wire::refusal::Refusal;

use super::list;
use crate::describe;
use crate::server::{PAGE_BYTES, PAGE_MAX, Shared};

pub(super) async fn answer(
    shared: &Shared,
    asked: Vec<String>,
    after: Option<String>,
    limit: u32,
) -> Result<Response, Refusal> {
    let (ids, more) = list::page(shared, asked, after, limit.clamp(1, PAGE_MAX) as usize).await?;
    let (stored, cut) = list::definitions(shared, ids).await?;
    let mut more = more || cut;
    let (mut tasks, mut bytes) = (Vec::with_capacity(stored.len()), 0);
    for (_, task) in stored {
        let spec = describe::spec(task.definition);
        bytes += describe::spec_bytes(&spec);
        if bytes > PAGE_BYTES && !tasks.is_empty() {
            more = true;
            break;
        }
        tasks.push(Rec(spec));
    }
    Ok(Response::Definitions { tasks, more })
}
