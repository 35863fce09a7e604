//! `add`: a new task.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use taskd_core::command::{Command, Reply};
use taskd_core::process::caps::Caps;
use taskd_core::schedule::{Finding, FindingCode, Schedule};
use taskd_core::scheduler::{Crowds, Scheduler};
use taskd_core::task::{Owner, TaskId, TaskName, When};
use taskd_wire::client::{Accepted, Response};
use taskd_wire::codec::Rec;
use taskd_wire::definition::{ScheduleSpec, TaskSpec};
use taskd_wire::refusal::Refusal;

use crate::accept::{self, Context, Needs};
use crate::clock;
use crate::powers::Powers;
use crate::refusal;
use crate::server::Shared;

/// How many coming fire times are shown.
pub(super) const SHOWN: usize = 3;

pub(super) async fn answer(shared: &Shared, spec: TaskSpec) -> Result<Response, Refusal> {
    let now = clock::now();
    let unnamed = spec.name.is_empty();
    let delay = match spec.schedule {
        ScheduleSpec::In { delay_ms } => Some(Duration::from_millis(delay_ms)),
        ScheduleSpec::Manual
        | ScheduleSpec::Cron { .. }
        | ScheduleSpec::Every { .. }
        | ScheduleSpec::At { .. }
        | ScheduleSpec::Boot
        | ScheduleSpec::After { .. } => None,
    };
    let definition = accept::definition(spec, &context(shared, now))?;
    are_met(Needs::of(&definition)).await?;
    let findings = accept::findings(&definition, &shared.schedules, now);
    let contradictions = accept::contradictions(&definition);
    let (owner, tz, caps) = (shared.owner, accept::zone_of(&definition), definition.process.caps);
    let accepted = shared
        .engine
        .change(
            move |state, accepted_at| {
                let mut definition = definition.clone();
                if let (Some(delay), When::At { at, .. }) = (delay, &mut definition.when) {
                    *at = accepted_at.plus(delay);
                }
                accept::still_to_come(&definition, accepted_at)?;
                if unnamed {
                    definition.name = free_name(state, owner, &definition.name);
                    accept::draw_offset(&mut definition, owner);
                }
                Ok(Command::Add {
                    owner,
                    definitions: vec![definition],
                })
            },
            move |state, reply| match reply {
                Reply::Added(ids) => ids.first().and_then(|id| accepted(state, *id, now, findings)),
                Reply::Done | Reply::Importing(_) | Reply::Runs(_) => None,
            },
        )
        .await
        .map_err(refusal::of_one)?;
    let Some(mut accepted) = accepted else {
        return Err(Refusal::Internal {
            what: "an accepted task is not there".to_owned(),
        });
    };
    accepted.tz = tz;
    accepted.warnings.extend(contradictions);
    accepted.warnings.extend(uncapped(shared, caps).await?);
    Ok(Response::Accepted(Rec(accepted)))
}

/// Whether a start has what it needs, as far as that is known now.
pub(super) async fn are_met(needs: Needs<'_>) -> Result<(), Refusal> {
    if needs == Needs::default() {
        return Ok(());
    }
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let (files, user, cwd) = (needs.env_files.to_vec(), owned(needs.user), owned(needs.cwd));
    let at_home = needs.at_home;
    let checking = tokio::task::spawn_blocking(move || {
        let needs = Needs {
            env_files: &files,
            user: user.as_deref(),
            cwd: cwd.as_deref(),
            at_home,
        };
        needs.check()
    });
    // It does not panic, and the runtime is there as long as we are.
    checking.await.unwrap_or(Ok(()))
}

/// Why the runs of a task with these caps could not start as things are.
pub(super) async fn uncapped(shared: &Shared, caps: Caps) -> Result<Option<String>, Refusal> {
    if caps == Caps::default() {
        return Ok(None);
    }
    let engine = &shared.engine;
    engine
        .look(move |_, condition| accept::uncapped(&caps, condition))
        .await
}

/// What definitions are accepted by.
pub(super) fn context(shared: &Shared, now: taskd_core::Timestamp) -> Context<'_> {
    Context {
        now,
        schedules: &shared.schedules,
        local_zone: Arc::clone(&shared.local_zone.lock().unwrap_or_else(PoisonError::into_inner)),
        limits: shared.limits.borrow().clone(),
        past: false,
        owner: shared.owner,
        powers: Powers::own(),
    }
}

/// What is answered of an accepted task, with what was found in its schedule.
pub(super) fn accepted(
    state: &Scheduler,
    id: TaskId,
    now: taskd_core::Timestamp,
    mut findings: Vec<Finding>,
) -> Option<Accepted> {
    let task = state.task(id)?;
    findings.extend(Crowds::default().find(state, id));
    findings.extend(kept_from_starting(state, id, now));
    let idle = idle(state, id, now);
    let held_back = state
        .unmet(id, now)
        .map(|(_, why)| format!("As it is now, what falls due is skipped: it {why}."));
    Some(Accepted {
        name: task.name.to_string(),
        id: id.0,
        next_ms: coming(state, id, now, SHOWN),
        tz: None,
        warnings: findings
            .iter()
            .map(Finding::to_string)
            .chain(accept::remark(task.schedule))
            .chain(held_back)
            .collect(),
        idle,
    })
}

/// Why a task has no fire time to come that starts, where it has none.
fn idle(state: &Scheduler, id: TaskId, now: taskd_core::Timestamp) -> Option<String> {
    let task = state.task(id).filter(|task| task.next.is_none())?;
    let pause = || state.pauses(id).find(|(_, pause)| !pause.is_over(now));
    let to_come = || task.schedule.is_some_and(|schedule| schedule.next_after(now).is_some());
    Some(if !task.enabled {
        "it is disabled".to_owned()
    } else if let Some(held) = task.held {
        format!("it is held: {held}")
    } else if let Some((scope, pause)) = pause().filter(|_| to_come()) {
        pause.reason(scope)
    } else if to_come() {
        "its calendars let none start, as far as was looked ahead".to_owned()
    } else if task.at_boot {
        "at the next boot".to_owned()
    } else if let Some(upstreams) = task.after {
        format!("after {upstreams}")
    } else if matches!(task.schedule, Some(Schedule::Manual)) {
        "it is manual".to_owned()
    } else {
        "all its times are over".to_owned()
    })
}

/// A finding for a task whose calendars let none of its fire times start.
pub(super) fn kept_from_starting(state: &Scheduler, id: TaskId, now: taskd_core::Timestamp) -> Option<Finding> {
    let task = state.task(id).filter(|task| task.enabled && task.next.is_none())?;
    let is_paused = state.pauses(id).any(|(_, pause)| !pause.is_over(now));
    let to_come = task.schedule?.next_after(now)?;
    let message = format!(
        "It never starts, as far as was looked ahead: {}.",
        state.suppressed(id, to_come)?
    );
    (!is_paused).then(|| Finding::new(FindingCode::NeverFires, message))
}

/// The coming fire times of a task that are to start, at most `n`; none while it is disabled or held. What is due just
/// now is the first of them.
pub(super) fn coming(state: &Scheduler, id: TaskId, now: taskd_core::Timestamp, n: usize) -> Vec<i64> {
    let coming = state.coming(id, now).take(n);
    coming.map(taskd_core::Timestamp::as_millis).collect()
}

/// `base`, or `base-2`, `base-3`, … Found in few steps however many there are, so that the number may not be the
/// lowest free one.
fn free_name(state: &Scheduler, owner: Owner, base: &TaskName) -> TaskName {
    let numbered = |n: u64| {
        let end = format!("-{n}");
        let keep = base.as_str().len().min(taskd_core::task::NAME_MAX - end.len());
        TaskName::parse(&format!("{}{end}", &base.as_str()[..keep])).unwrap_or_else(|_| base.clone())
    };
    if state.find(owner, base).is_none() {
        return base.clone();
    }
    let free = |n: u64| state.find(owner, &numbered(n)).is_none();
    let (mut taken, mut open) = (1, 2);
    while !free(open) && open < u64::MAX / 2 {
        (taken, open) = (open, open * 2);
    }
    while open - taken > 1 {
        let middle = taken + (open - taken) / 2;
        if free(middle) { open = middle } else { taken = middle }
    }
    numbered(open)
}
