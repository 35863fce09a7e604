//! `pause` and `resume`: fire times that are skipped for a time.

use taskd_core::Timestamp;
use taskd_core::command::Command;
use taskd_core::pause::PauseScope;
use taskd_wire::client::Response;
use taskd_wire::refusal::Refusal;

use crate::clock;
use crate::refusal;
use crate::server::meant::Meant;
use crate::server::{Shared, meant, names};

/// Most bytes of a note.
const NOTE_MAX: usize = 1024;

pub(super) async fn pause(
    shared: &Shared,
    asked: Vec<String>,
    until_ms: Option<i64>,
    note: Option<String>,
) -> Result<Response, Refusal> {
    let until = until_ms.map(Timestamp::from_millis);
    if let Some(until) = until.filter(|until| *until <= clock::now()) {
        return Err(Refusal::BadField {
            field: "until".to_owned(),
            text: until.to_string(),
            at: None,
            problem: "it is in the past".to_owned(),
            cure: Some("write a later time, or leave it out to pause until `taskctl resume`".to_owned()),
        });
    }
    names::limit("bytes of a note", NOTE_MAX, note.as_ref().map_or(0, String::len))?;
    let by = names::by(shared.owner);
    decide(shared, asked, move |scopes| Command::Pause {
        scopes,
        until,
        by: by.clone(),
        note: note.clone(),
    })
    .await
}

pub(super) async fn resume(shared: &Shared, asked: Vec<String>) -> Result<Response, Refusal> {
    let by = names::by(shared.owner);
    decide(shared, asked, move |scopes| Command::Resume { scopes, by: by.clone() }).await
}

/// Has a command decided for the tasks meant, or for all.
async fn decide(
    shared: &Shared,
    asked: Vec<String>,
    command: impl Fn(Vec<PauseScope>) -> Command + Send + 'static,
) -> Result<Response, Refusal> {
    let owner = shared.owner;
    let meant: Option<Meant> = match asked.is_empty() {
        true => None,
        false => Some(meant::changed(&shared.engine, owner, asked, names::CHANGED_MAX).await?),
    };
    let named = meant.clone();
    shared
        .engine
        .change(
            move |state, _| {
                let scopes = match &meant {
                    None => vec![PauseScope::All],
                    Some(meant) => meant.still(state, owner)?.into_iter().map(PauseScope::Task).collect(),
                };
                Ok(command(scopes))
            },
            move |state, _| named.map_or_else(Vec::new, |named| names::named(state, &named.ids())),
        )
        .await
        .map_err(refusal::of_one)
        .map(Response::Done)
}
