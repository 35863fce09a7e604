//! `taskctl enable`

use taskd_wire::client::Request;

use super::{done, say_done};
use crate::args::EnableArgs;
use crate::error::Result;
use crate::session::Session;

/// Enables tasks.
pub fn run(args: &EnableArgs, session: &mut Session) -> Result<()> {
    let mut client = session.connect()?;
    let response = client.request(&Request::Enable {
        names: args.names.clone(),
    })?;
    let names = done(&client, response)?;
    say_done(session, "name", "enabled", &names)
}
