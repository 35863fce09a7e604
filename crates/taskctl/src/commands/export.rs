//! `taskctl export`

use taskd_wire::client::{Request, Response};
use taskd_wire::codec::Rec;

use crate::args::ExportArgs;
use crate::client::pages;
use crate::error::{Error, Result};
use crate::session::Session;

/// Definitions asked for at once.
const PAGE: u32 = 1_000;

/// Prints definitions, one JSON object a line.
pub fn run(args: &ExportArgs, session: &mut Session) -> Result<()> {
    let mut client = session.connect()?;
    let ask = |after| Request::Export {
        names: args.names.clone(),
        after,
        limit: PAGE,
    };
    pages(&mut client, ask, |client, response| {
        let Response::Definitions { tasks, more } = response else {
            return Err(Error::from(client.unexpected()));
        };
        for Rec(task) in &tasks {
            session.out.json(task)?;
        }
        Ok(tasks.last().map(|task| task.0.name.clone()).filter(|_| more))
    })
}
