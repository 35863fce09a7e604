//! `taskctl disable`

use taskd_wire::client::Request;

use super::{done, say_done};
use crate::args::DisableArgs;
use crate::error::Result;
use crate::session::Session;

/// Disables tasks.
pub fn run(args: &DisableArgs, session: &mut Session) -> Result<()> {
    let mut client = session.connect()?;
    let response = client.request(&Request::Disable {
        names: args.names.clone(),
    })?;
    let names = done(&client, response)?;
    say_done(session, "name", "disabled", &names)
}
