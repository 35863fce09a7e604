//! `enable` and `disable`: whether fire times start runs.

use std::collections::HashMap;

use taskd_core::command::Command;
use taskd_wire::client::Response;
use taskd_wire::refusal::Refusal;

use crate::refusal;
use crate::server::{Shared, meant, names};

pub(super) async fn answer(shared: &Shared, asked: Vec<String>, enabled: bool) -> Result<Response, Refusal> {
    let _editing = shared.editing.lock().await;
    let owner = shared.owner;
    let meant = meant::changed(&shared.engine, owner, asked, names::CHANGED_MAX).await?;
    let named = shared
        .engine
        .look(move |state, _| {
            let ids = meant.still(state, owner)?;
            Ok::<_, Refusal>(
                ids.into_iter()
                    .filter_map(|id| state.task(id).map(|task| (id, task.name.to_string(), task.enabled)))
                    .collect::<Vec<_>>(),
            )
        })
        .await??;
    let done: Vec<String> = named.iter().map(|(_, name, _)| name.clone()).collect();
    let ids: Vec<_> = named
        .iter()
        .filter(|(_, _, now)| *now != enabled)
        .map(|(id, ..)| *id)
        .collect();
    if ids.is_empty() {
        return Ok(Response::Done(done));
    }
    let wanted = ids.clone();
    let mut stored: HashMap<_, _> = shared
        .readers
        .read(move |reader| reader.definitions(&wanted))
        .await?
        .into_iter()
        .collect();
    let tasks: Vec<_> = ids
        .into_iter()
        .filter_map(|id| {
            let mut definition = stored.remove(&id)?.definition;
            definition.enabled = enabled;
            Some((id, definition))
        })
        .collect();
    let names: Vec<String> = tasks.iter().map(|(_, task)| task.name.to_string()).collect();
    shared
        .engine
        .change(move |_, _| Ok(Command::SetEnabled { tasks: tasks.clone() }), |_, _| ())
        .await
        .map_err(|refused| refusal::of_several(refused, &names))?;
    Ok(Response::Done(done))
}
