//! `taskctl edit`

use taskd_wire::client::{Request, Response};
use taskd_wire::codec::{Rec, Tail};
use taskd_wire::definition::{BackoffPatch, TaskPatch};

use super::{add, definition, gates, kept, process};
use crate::args::{EditArgs, RetryArgs};
use crate::error::{Failure, Result, one_only};
use crate::session::Session;

/// Changes a task in place.
pub fn run(args: &EditArgs, session: &mut Session) -> Result<()> {
    one_only(&args.task)?;
    let patch = patch(args)?;
    if patch == TaskPatch::default() {
        return Err(Failure::usage("nothing to change was given")
            .hint("`taskctl edit --help` shows what can be changed")
            .into());
    }
    let mut client = session.connect()?;
    let request = Request::Edit {
        name: args.task.clone(),
        patch: Rec(patch),
    };
    let Response::Accepted(Rec(accepted)) = client.request(&request)? else {
        return Err(client.unexpected().into());
    };
    add::say(session, "changed", &accepted)
}

fn patch(args: &EditArgs) -> Result<TaskPatch, Failure> {
    let mut schedules = definition::schedules(&args.schedule)?.into_iter();
    let schedule = schedules.next();
    let tz = args.schedule.tz.clone().filter(|_| schedule.is_none());
    let (misfire, misfire_within_ms) = definition::misfire(&args.misfire)?;
    let or_none = |text: &String| (!text.is_empty()).then(|| text.clone());
    Ok(TaskPatch {
        name: args.name.clone(),
        schedule,
        action: definition::action(&args.action),
        cwd: match args.cwd.as_ref().map(or_none) {
            Some(Some(dir)) => Some(Some(definition::cwd(&dir)?)),
            other => other,
        },
        set_env: definition::env(&args.env)?,
        unset_env: args.unset_env.clone(),
        description: args.description.as_ref().map(or_none),
        enabled: match (args.enabled, args.disabled) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        },
        tz,
        misfire,
        misfire_within_ms,
        dst_gap: args.schedule.dst_gap.map(definition::gap),
        dst_overlap: args.schedule.dst_overlap.map(definition::overlap),
        also: schedules.map(Rec).collect(),
        jitter_ms: definition::jitter(&args.schedule)?,
        start: definition::bound(args.schedule.start.as_deref()),
        end: definition::bound(args.schedule.end.as_deref()),
        count: args.schedule.count,
        requires: Tail(definition::requires(&args.schedule)?),
        calendars: definition::calendars(&args.schedule)?,
        set_labels: args.label.clone(),
        unset_labels: args.unset_label.clone(),
        timeout_ms: definition::limit("timeout", args.limits.timeout.as_deref())?,
        deadline_ms: definition::limit("deadline", args.limits.deadline.as_deref())?,
        grace_ms: definition::limit("grace", args.limits.grace.as_deref())?,
        kill_signal: definition::bound(args.limits.kill_signal.as_deref()),
        retries: args.retry.retries,
        backoff: backoff(&args.retry)?,
        retry_on: definition::retry_on(&args.retry.retry_on),
        success_codes: definition::codes(&args.retry.success_codes)?,
        group: definition::bound(args.sharing.group.as_deref()),
        priority: args.sharing.priority,
        locks: definition::locks(&args.sharing.lock),
        concurrency: definition::bound(args.sharing.concurrency.as_deref()),
        on_leftover: args.limits.on_leftover.map(definition::leftover),
        process: Rec(process::patch(&args.process)?),
        output: args.keep.output.map(kept::output),
        mask: kept::masks(&args.keep.mask),
        output_max: kept::size("output-max", args.keep.output_max.as_deref())?,
        keep_runs: kept::number("keep-runs", args.keep.keep_runs.as_deref())?,
        keep_for_ms: definition::limit("keep-for", args.keep.keep_for.as_deref())?,
        gates: Rec(gates::patch(&args.gates)?),
    })
}

fn backoff(args: &RetryArgs) -> Result<Option<BackoffPatch>, Failure> {
    let patch = BackoffPatch {
        bounds_ms: definition::backoff(args.backoff.as_deref())?,
        factor_percent: args.backoff_factor,
        jitter: args.backoff_jitter,
    };
    Ok((patch != BackoffPatch::default()).then_some(patch))
}
