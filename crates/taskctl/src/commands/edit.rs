//! `taskctl edit`

use taskd_wire::client::{Request, Response};
use taskd_wire::codec::Rec;
use taskd_wire::definition::{ScheduleSpec, TaskPatch, TaskSpec};

use super::{add, definition};
use crate::args::EditArgs;
use crate::client::Client;
use crate::error::{Failure, Result, one_only};
use crate::session::Session;

/// Changes a task in place.
pub fn run(args: &EditArgs, session: &mut Session) -> Result<()> {
    one_only(&args.task)?;
    let mut patch = patch(args)?;
    let variables = definition::env(&args.env)?;
    let keeps_zone = matches!(patch.schedule, Some(ScheduleSpec::Cron { tz: None, .. }));
    let edits_env = !variables.is_empty() || !args.unset_env.is_empty();
    if patch == TaskPatch::default() && !edits_env {
        return Err(Failure::usage("nothing to change was given")
            .hint("`taskctl edit --help` shows what can be changed")
            .into());
    }
    let mut client = session.connect()?;
    if keeps_zone || edits_env {
        let present = present(&mut client, &args.task)?;
        if let (Some(ScheduleSpec::Cron { tz, .. }), ScheduleSpec::Cron { tz: zone, .. }) =
            (&mut patch.schedule, &present.schedule)
            && tz.is_none()
        {
            zone.clone_into(tz);
        }
        if edits_env {
            let mut env = present.env;
            env.retain(|var| !args.unset_env.contains(&var.name));
            for var in variables {
                definition::set(&mut env, &var.name, &var.value);
            }
            patch.env = Some(env);
        }
    }
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
    let only_zone = args.schedule.tz.is_some() && args.schedule.cron.is_none() && args.schedule.at.is_none();
    let (schedule, tz) = match (&args.schedule, only_zone) {
        (given, true) if given.every.is_none() && given.after.is_none() && !given.manual => (None, given.tz.clone()),
        (given, _) => (definition::schedule(given)?, None),
    };
    let or_none = |text: &String| (!text.is_empty()).then(|| text.clone());
    Ok(TaskPatch {
        name: args.name.clone(),
        schedule,
        action: definition::action(&args.action),
        cwd: match args.cwd.as_ref().map(or_none) {
            Some(Some(dir)) => Some(Some(definition::cwd(&dir)?)),
            other => other,
        },
        env: None,
        description: args.description.as_ref().map(or_none),
        enabled: match (args.enabled, args.disabled) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        },
        tz,
    })
}

fn present(client: &mut Client, name: &str) -> Result<TaskSpec, Failure> {
    match client.request(&Request::Show { name: name.to_owned() })? {
        Response::Task(detail) => Ok(detail.0.summary.spec),
        _ => Err(client.unexpected()),
    }
}
