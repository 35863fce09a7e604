//! `remove`: tasks, all or none.

use std::sync::{Arc, Mutex, PoisonError};

use taskd_core::command::{Command, WhileRunning as Core};
use taskd_wire::client::{Response, WhileRunning};
use taskd_wire::refusal::Refusal;

use crate::server::{Shared, meant, names};

pub(super) async fn answer(shared: &Shared, asked: Vec<String>, running: WhileRunning) -> Result<Response, Refusal> {
    let owner = shared.owner;
    let meant = meant::changed(&shared.engine, owner, asked, names::CHANGED_MAX).await?;
    let removed = Arc::new(Mutex::new(Vec::new()));
    let named = Arc::clone(&removed);
    shared
        .engine
        .change(
            move |state, _| {
                let ids = meant.still(state, owner)?;
                *named.lock().unwrap_or_else(PoisonError::into_inner) = ids
                    .iter()
                    .filter_map(|id| state.task(*id).map(|task| task.name.to_string()))
                    .collect();
                Ok(Command::Remove {
                    ids,
                    running: match running {
                        WhileRunning::Refuse => Core::Refuse,
                        WhileRunning::Cancel => Core::Cancel,
                        WhileRunning::Keep => Core::Keep,
                    },
                    reason: format!("its task was removed by {}", names::by(owner)),
                })
            },
            |_, _| (),
        )
        .await?;
    let removed = std::mem::take(&mut *removed.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Response::Done(removed))
}
