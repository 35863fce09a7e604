//! `taskctl backfill`

use taskd_core::scheduler::Limits;
use taskd_wire::client::{Request, Response};

use super::when;
use crate::args::BackfillArgs;
use crate::error::{Failure, Result, one_only};
use crate::json;
use crate::out::JsonArray;
use crate::session::Session;

/// Makes up for fire times of the past.
pub fn run(args: &BackfillArgs, session: &mut Session) -> Result<()> {
    one_only(&args.task)?;
    let from_ms = when::past("from", &args.from, session)?;
    let (to_ms, _) = when::window("to", &args.to, session)?;
    if to_ms < from_ms {
        let cure = Some("write a time that is not before --from");
        return Err(Failure::field("to", &args.to, None, "it is before the beginning", cure).into());
    }
    let mut client = session.connect()?;
    let request = Request::Backfill {
        name: args.task.clone(),
        from_ms,
        until_ms: to_ms,
        dry_run: args.dry_run,
    };
    let Response::Backfill(runs) = client.request(&request)? else {
        return Err(client.unexpected().into());
    };
    if session.json {
        let mut array = JsonArray::default();
        for run in &runs {
            array.element(&mut session.out, &json::Backfilled::of(run))?;
        }
        return array.close(&mut session.out);
    }
    if runs.is_empty() {
        return session
            .out
            .said(&format!("{} has no fire time in that span", args.task));
    }
    // One more than may wait is told where there are more.
    let most = Limits::default().backlog;
    if args.dry_run && runs.len() > most {
        session.remark(&format!(
            "there are more than the {most} that may wait: without --dry-run it is refused; choose a shorter span"
        ));
    }
    let times = session.times();
    for run in &runs {
        let at = times.full(run.at_ms);
        match &run.run {
            Some(run) => session.out.said(&format!("{run} for {at}"))?,
            None => session.out.line(&at)?,
        }
    }
    Ok(())
}
