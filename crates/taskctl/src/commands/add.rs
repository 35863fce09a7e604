//! `taskctl add`

use taskd_core::policy::Backoff;
use taskd_wire::client::{Accepted, Request, Response};
use taskd_wire::codec::{Rec, Tail};
use taskd_wire::definition::{BackoffSpec, TaskSpec};

use super::{definition, gates, kept, process};
use crate::args::{AddArgs, RetryArgs};
use crate::error::{Failure, Result};
use crate::json;
use crate::session::Session;

/// Adds a task.
pub fn run(args: &AddArgs, session: &mut Session) -> Result<()> {
    let spec = spec(args)?;
    let mut client = session.connect()?;
    let Response::Accepted(Rec(accepted)) = client.request(&Request::Add(Rec(spec)))? else {
        return Err(client.unexpected().into());
    };
    say(session, "added", &accepted)
}

fn spec(args: &AddArgs) -> Result<TaskSpec, Failure> {
    let (misfire, misfire_within_ms) = definition::misfire(&args.misfire)?;
    let mut schedules = definition::schedules(&args.schedule)?.into_iter();
    // OK because clap requires one of each group; the defaults are what the daemon would refuse.
    Ok(TaskSpec {
        name: args.name.clone().unwrap_or_default(),
        schedule: schedules.next().unwrap_or_default(),
        also: schedules.map(Rec).collect(),
        jitter_ms: definition::jitter(&args.schedule)?.unwrap_or_default(),
        start: definition::bound(args.schedule.start.as_deref()).flatten(),
        end: definition::bound(args.schedule.end.as_deref()).flatten(),
        calendars: definition::calendars(&args.schedule)?.unwrap_or_default(),
        requires: Tail(definition::requires(&args.schedule)?.unwrap_or_default()),
        count: args.schedule.count.filter(|count| *count > 0),
        action: definition::action(&args.action).unwrap_or_default(),
        cwd: args.cwd.as_deref().map(definition::cwd).transpose()?,
        env: definition::env(&args.env)?,
        description: args.description.clone(),
        labels: args.label.clone(),
        timeout_ms: definition::limit("timeout", args.limits.timeout.as_deref())?.flatten(),
        deadline_ms: definition::limit("deadline", args.limits.deadline.as_deref())?.flatten(),
        grace_ms: definition::limit("grace", args.limits.grace.as_deref())?.flatten(),
        kill_signal: definition::bound(args.limits.kill_signal.as_deref()).flatten(),
        retries: args.retry.retries.unwrap_or_default(),
        backoff: backoff(&args.retry)?,
        retry_on: definition::retry_on(&args.retry.retry_on).flatten(),
        success_codes: definition::codes(&args.retry.success_codes)?.flatten(),
        concurrency: definition::bound(args.sharing.concurrency.as_deref()).flatten(),
        group: definition::bound(args.sharing.group.as_deref()).flatten(),
        priority: args.sharing.priority.unwrap_or_default(),
        locks: definition::locks(&args.sharing.lock).unwrap_or_default(),
        on_leftover: args.limits.on_leftover.map(definition::leftover).unwrap_or_default(),
        process: Rec(process::spec(&args.process)?),
        output: args.keep.output.map(kept::output).unwrap_or_default(),
        mask: kept::masks(&args.keep.mask).unwrap_or_default(),
        output_max: kept::size("output-max", args.keep.output_max.as_deref())?.flatten(),
        keep_runs: kept::number("keep-runs", args.keep.keep_runs.as_deref())?.flatten(),
        keep_for_ms: definition::limit("keep-for", args.keep.keep_for.as_deref())?.flatten(),
        gates: Rec(gates::spec(&args.gates)?),
        enabled: !args.disabled,
        misfire: misfire.unwrap_or_default(),
        misfire_within_ms,
        dst_gap: args.schedule.dst_gap.map(definition::gap).unwrap_or_default(),
        dst_overlap: args.schedule.dst_overlap.map(definition::overlap).unwrap_or_default(),
    })
}

/// The backoff that was typed, with what is the default of the rest.
fn backoff(args: &RetryArgs) -> Result<Option<BackoffSpec>, Failure> {
    let bounds = definition::backoff(args.backoff.as_deref())?;
    let (factor, jitter) = (args.backoff_factor, args.backoff_jitter);
    if bounds.is_none() && factor.is_none() && jitter.is_none() {
        return Ok(None);
    }
    let default = Backoff::default();
    let (initial_ms, max_ms) = bounds.unwrap_or((default.initial_ms.get(), default.max_ms.get()));
    Ok(Some(BackoffSpec {
        initial_ms,
        max_ms,
        factor_percent: factor.unwrap_or(default.factor_percent),
        jitter: jitter.unwrap_or(default.jitter),
    }))
}

/// Says what was accepted, and when it is due.
pub fn say(session: &mut Session, verb: &str, accepted: &Accepted) -> Result<()> {
    if session.json {
        return session.out.json(&json::Added::of(accepted));
    }
    session.out.said(&format!("{verb} {}", accepted.name))?;
    let times = session.times();
    let mut head = "next:";
    for &at in &accepted.next_ms {
        let beside = times.beside(at, accepted.tz.as_deref());
        session
            .out
            .said(&format!("  {head} {}{beside}, {}", times.full(at), times.relative(at)))?;
        head = "     ";
    }
    if accepted.next_ms.is_empty() {
        let idle = accepted.idle.as_deref().unwrap_or("nobody knows when");
        session.out.said(&match idle {
            "at the next boot" => format!("  next: {idle}"),
            idle => format!(
                "  next: never by itself, {idle}; `taskctl run {}` runs it",
                accepted.name
            ),
        })?;
    }
    for warning in &accepted.warnings {
        session.out.said(&format!("  note: {warning}"))?;
    }
    Ok(())
}
