//! `taskctl pause`

use taskd_wire::client::Request;

use super::{done, say_done, when};
use crate::args::PauseArgs;
use crate::error::Result;
use crate::session::Session;

/// Pauses tasks, or all.
pub fn run(args: &PauseArgs, session: &mut Session) -> Result<()> {
    let until = args.until.as_deref();
    let until_ms = until.map(|text| when::coming("until", text, session)).transpose()?;
    let mut client = session.connect()?;
    let response = client.request(&Request::Pause {
        names: args.names.clone(),
        until_ms,
        note: args.note.clone(),
    })?;
    let names = done(&client, response)?;
    if session.json {
        return say_done(session, "name", "paused", &names);
    }
    let times = session.times();
    let until = until_ms.map(|ms| format!(" until {}, {}", times.full(ms), times.relative(ms)));
    let until = until.unwrap_or_default();
    if args.all {
        return session.out.said(&format!("paused all tasks{until}"));
    }
    for name in &names {
        session.out.said(&format!("paused {name}{until}"))?;
    }
    Ok(())
}
