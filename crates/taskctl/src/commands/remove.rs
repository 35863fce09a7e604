//! `taskctl remove`

use taskd_wire::client::{Request, WhileRunning};
use taskd_wire::refusal::Refusal;

use super::{done, say_done};
use crate::args::RemoveArgs;
use crate::error::{Failure, Result};
use crate::session::Session;

/// Removes tasks, all or none.
pub fn run(args: &RemoveArgs, session: &mut Session) -> Result<()> {
    let running = match (args.cancel, args.keep_running) {
        (true, _) => WhileRunning::Cancel,
        (_, true) => WhileRunning::Keep,
        _ => WhileRunning::Refuse,
    };
    let mut client = session.connect()?;
    let response = client
        .request(&Request::Remove {
            names: args.names.clone(),
            running,
        })
        .map_err(with_ways_out)?;
    let names = done(&client, response)?;
    say_done(session, "name", "removed", &names)
}

/// What may be done about a run in progress is something else here than for other verbs.
fn with_ways_out(failure: Failure) -> Failure {
    let still_running = Refusal::StillRunning {
        name: String::new(),
        run: String::new(),
    };
    if failure.code == still_running.code() {
        return failure.hint("nothing was removed; --cancel stops the run, --keep-running lets it end by itself");
    }
    failure
}
