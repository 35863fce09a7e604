//! `taskctl resume`

use taskd_wire::client::Request;

use super::{done, say_done};
use crate::args::ResumeArgs;
use crate::error::Result;
use crate::session::Session;

/// Ends pauses.
pub fn run(args: &ResumeArgs, session: &mut Session) -> Result<()> {
    let mut client = session.connect()?;
    let response = client.request(&Request::Resume {
        names: args.names.clone(),
    })?;
    let names = done(&client, response)?;
    if args.all && !session.json {
        return session.out.said("resumed all tasks");
    }
    say_done(session, "name", "resumed", &names)
}
