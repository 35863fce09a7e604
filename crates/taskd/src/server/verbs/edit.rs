//! `edit`: fields of a task, in place.

use taskd_core::command::Command;
use taskd_wire::client::Response;
use taskd_wire::codec::Rec;
use taskd_wire::definition::TaskPatch;
use taskd_wire::refusal::Refusal;

use super::add;
use crate::accept::{self, Needs};
use crate::clock;
use crate::refusal;
use crate::server::{Shared, names};

pub(super) async fn answer(shared: &Shared, name: String, patch: TaskPatch) -> Result<Response, Refusal> {
    let _editing = shared.editing.lock().await;
    let (owner, asked) = (shared.owner, name.clone());
    let id = shared
        .engine
        .look(move |state, _| names::task(state, owner, &asked))
        .await??;
    let stored = shared.readers.read(move |reader| reader.definition(id)).await?;
    let Some(stored) = stored else {
        return Err(Refusal::UnknownTask { name, near: Vec::new() });
    };
    let now = clock::now();
    let enabled = patch.enabled;
    let is_other = patch.schedule.is_some() || patch.tz.is_some();
    let (names_files, names_user) = (patch.process.env_files.is_some(), patch.process.user.0.is_some());
    let names_cwd = patch.cwd.is_some();
    let definition = accept::patched(stored.definition, patch, &add::context(shared, now))?;
    let all = Needs::of(&definition);
    // What it had already is not what is asked for now.
    let at_home = all.at_home && (names_user || names_cwd);
    let named = Needs {
        env_files: if names_files { all.env_files } else { &[] },
        user: all.user.filter(|_| names_user || at_home),
        cwd: all.cwd.filter(|_| names_cwd),
        at_home,
    };
    add::are_met(named).await?;
    let findings = accept::findings(&definition, &shared.schedules, now);
    let contradictions = accept::contradictions(&definition);
    let (tz, caps) = (accept::zone_of(&definition), definition.process.caps);
    let accepted = shared
        .engine
        .change(
            move |state, accepted_at| {
                let mut definition = definition.clone();
                if is_other {
                    accept::still_to_come(&definition, accepted_at)?;
                }
                // It may have been enabled or disabled since its definition was read.
                if let (None, Some(task)) = (enabled, state.task(id)) {
                    definition.enabled = task.enabled;
                }
                Ok(Command::Edit {
                    id,
                    definition: Box::new(definition),
                    by: names::by(owner),
                })
            },
            move |state, _| add::accepted(state, id, now, findings),
        )
        .await
        .map_err(refusal::of_one)?;
    let Some(mut accepted) = accepted else {
        return Err(Refusal::UnknownTask { name, near: Vec::new() });
    };
    accepted.tz = tz;
    accepted.warnings.extend(contradictions);
    accepted.warnings.extend(add::uncapped(shared, caps).await?);
    Ok(Response::Accepted(Rec(accepted)))
}
