//! `enable` and `disable`: whether fire times start runs.

use taskd_core::command::Command;
use taskd_wire::client::Response;
use taskd_wire::refusal::Refusal;

use crate::refusal;
use crate::server::{Shared, meant, names};

pub(super) async fn answer(shared: &Shared, asked: Vec<String>, enabled: bool) -> Result<Response, Refusal> {
    let owner = shared.owner;
    let meant = meant::changed(&shared.engine, owner, asked, names::CHANGED_MAX).await?;
    let found = meant.clone();
    let done = shared
        .engine
        .look(move |state, _| {
            let ids = found.still(state, owner)?;
            Ok::<_, Refusal>(names::named(state, &ids))
        })
        .await??;
    let names = done.clone();
    shared
        .engine
        .change(
            move |state, _| {
                Ok(Command::SetEnabled {
                    ids: meant.still(state, owner)?,
                    enabled,
                    by: names::by(owner),
                })
            },
            |_, _| (),
        )
        .await
        .map_err(|refused| refusal::of_several(refused, &names))?;
    Ok(Response::Done(done))
}
