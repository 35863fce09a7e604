//! `restart-daemon`: the daemon becomes the program that is installed now.

use std::sync::Arc;

use taskd_wire::client::{Response, Restarting};
use taskd_wire::codec::Rec;
use taskd_wire::refusal::Refusal;

use crate::server::Shared;

pub(super) async fn answer(shared: &Shared) -> Result<Response, Refusal> {
    let _alone = shared.trying.lock().await;
    if shared.engine.look(|_, condition| condition.stopping).await? {
        return Err(Refusal::Stopping);
    }
    let program = Arc::clone(&shared.program);
    // It starts processes and waits for them.
    let checked = tokio::task::spawn_blocking(move || program.check()).await;
    let version = match checked {
        Ok(Ok(version)) => version,
        Ok(Err(unfit)) => {
            tracing::warn!(error = %unfit, program = %shared.program.path().display(), "no restart");
            return Err(Refusal::CannotRestart {
                program: shared.program.path().display().to_string(),
                reason: unfit.to_string(),
            });
        }
        Err(error) => {
            return Err(Refusal::Internal {
                what: error.to_string(),
            });
        }
    };
    shared.engine.restart().await?;
    tracing::info!(version, "asked to restart");
    Ok(Response::Restarting(Rec(Restarting {
        pid: std::process::id(),
        version,
    })))
}
