//! `taskctl cancel`

use taskd_wire::client::Request;

use super::{done, say_done};
use crate::args::CancelArgs;
use crate::error::{Failure, Result};
use crate::session::Session;

/// Stops runs.
pub fn run(args: &CancelArgs, session: &mut Session) -> Result<()> {
    let mut client = session.connect()?;
    let runs = args.runs.clone();
    let request = match args.downstream {
        true => Request::CancelFollowing { runs },
        false => Request::Cancel { runs },
    };
    let response = client.request(&request).map_err(|failure| match failure.code {
        "not-running" if args.downstream => Failure {
            message: format!("{}, and nothing that follows from it is", failure.message),
            ..failure
        },
        _ => failure,
    })?;
    let runs = done(&client, response)?;
    say_done(session, "run", "stopping", &runs)
}
