//! From what a user typed to a definition that holds: every field is checked, everything relative becomes an instant.

mod contradictions;
mod dependencies;
mod gates;
mod limits;
mod needs;
mod output;
mod overrides;
mod process;
mod retries;
mod schedule;
mod terms;
mod user;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use taskd_core::Timestamp;
use taskd_core::policy::{Concurrency, LOCKS_MAX, Leftover, Misfire, PRIORITY_MAX, Policies, PoolName, Sharing};
use taskd_core::schedule::{DstRule, Schedule};
use taskd_core::task::{Action, Definition, LABELS_MAX, Label, NAME_MAX, NameError, Owner, TaskName, Terms, When};
use taskd_wire::codec::Rec;
use taskd_wire::definition::{ActionSpec, EnvVar, OnLeftover, ScheduleSpec, TaskPatch, TaskSpec};
use taskd_wire::refusal::Refusal;

use crate::config::Limits;
use crate::describe;
use crate::powers::Powers;

pub(crate) use contradictions::contradictions;
pub(crate) use needs::{Needs, uncapped};
pub(crate) use overrides::{fit, overrides};
use process::read_env_files;
pub(crate) use schedule::{Schedules, findings, known_zone, still_to_come, zone_of};
use schedule::{by_rule, in_zone, misfire, not_limited, rule_of};
use terms::Typed;
pub(crate) use terms::{draw_offset, remark};
use user::known_user;

/// What a definition is accepted by.
pub(crate) struct Context<'a> {
    pub(crate) now: Timestamp,
    pub(crate) schedules: &'a Mutex<Schedules>,
    /// The zone of a schedule that names none.
    pub(crate) local_zone: Arc<str>,
    pub(crate) limits: Limits,
    /// Whether an instant may have passed already: such a task never fires, but its definition is kept.
    pub(crate) past: bool,
    /// Whose task it is.
    pub(crate) owner: Owner,
    /// What the daemon may give its runs.
    pub(crate) powers: Powers,
}

impl Context<'_> {
    /// A schedule as it is read; `None` where it cannot be.
    fn reading(&self, when: &When) -> Option<Schedule> {
        let mut schedules = self.schedules.lock().unwrap_or_else(PoisonError::into_inner);
        schedules.of(when)
    }
}

/// Checks what was typed. An empty name is made from the command.
///
/// # Errors
/// The first field that does not hold, and what to do.
pub(crate) fn definition(spec: TaskSpec, context: &Context<'_>) -> Result<Definition, Refusal> {
    within(
        "definition",
        context.limits.definition_bytes,
        describe::spec_bytes(&spec) as u64,
    )?;
    let leftover = leftover(spec.on_leftover);
    let (output, history) = (output::output(&spec, leftover)?, output::history(&spec)?);
    let action = action(spec.action)?;
    let env = environment(spec.env)?;
    within(
        "arguments",
        context.limits.arguments_bytes,
        arguments_bytes(&action, &env),
    )?;
    let name = if spec.name.is_empty() {
        name_of(&action)
    } else {
        name(&spec.name)?
    };
    let dst = DstRule {
        gap: describe::gap(spec.dst_gap),
        overlap: describe::overlap(spec.dst_overlap),
    };
    let parts = by_rule(terms::schedules(spec.schedule, spec.also, context)?, dst, context)?;
    if spec.count == Some(0) {
        let problem = "a task that never runs needs no schedule";
        return Err(bad("count", "0", problem, Some("write 1 or more, or leave it out")));
    }
    let typed = Typed {
        jitter_ms: Some(spec.jitter_ms),
        start: Some(spec.start),
        end: Some(spec.end),
        count: spec.count,
        calendars: Some(spec.calendars),
        requires: Some(spec.requires.0),
    };
    let when = terms::terms(parts, None, typed, context)?;
    let misfire = misfire(spec.misfire, spec.misfire_within_ms)?;
    not_limited(&when, misfire)?;
    let (gates, gate_wait_ms) = gates::gates(spec.gates.0)?;
    let mut definition = Definition {
        name,
        when,
        cwd: spec.cwd.map(directory).transpose()?,
        description: spec.description,
        labels: labels(Vec::new(), spec.labels, &[])?,
        enabled: spec.enabled,
        policies: Policies {
            misfire,
            time: limits::time(spec.timeout_ms, spec.deadline_ms, spec.grace_ms, spec.kill_signal)?,
            retry: retries::retry(spec.retries, spec.backoff, spec.retry_on.as_deref())?,
            success: retries::codes("success-codes", spec.success_codes.as_deref())?,
            concurrency: concurrency(spec.concurrency.as_deref())?,
            leftover,
            gate_wait_ms,
        },
        sharing: Sharing {
            group: spec.group.as_deref().map(|group| word("group", group)).transpose()?,
            priority: priority(spec.priority)?,
            locks: locks(&spec.locks)?,
        },
        process: process::process(spec.process.0, &context.powers)?,
        output,
        history,
        gates,
        action,
        env,
    };
    draw_offset(&mut definition, context.owner);
    Ok(definition)
}

/// What becomes of a new run while others are in progress.
fn concurrency(typed: Option<&str>) -> Result<Concurrency, Refusal> {
    typed.map_or(Ok(Concurrency::default()), |text| {
        Concurrency::parse(text).map_err(|error| Refusal::BadField {
            field: "concurrency".to_owned(),
            text: text.to_owned(),
            at: error.span().map(|span| (narrow(span.start), narrow(span.len()))),
            problem: error.to_string(),
            cure: Some(error.cure().to_owned()),
        })
    })
}

fn leftover(typed: OnLeftover) -> Leftover {
    match typed {
        OnLeftover::Kill => Leftover::Kill,
        OnLeftover::Leave => Leftover::Leave,
    }
}

/// Checks a change of a definition.
///
/// # Errors
/// The first field that does not hold, and what to do.
pub(crate) fn patched(old: Definition, patch: TaskPatch, context: &Context<'_>) -> Result<Definition, Refusal> {
    let mut new = old;
    new.policies.time = limits::patched(new.policies.time, &patch)?;
    new.policies.retry = retries::patched(new.policies.retry, &patch)?;
    if let Some(typed) = patch.on_leftover {
        new.policies.leftover = leftover(typed);
    }
    new.output = output::patched(new.output, &patch, new.policies.leftover)?;
    new.history = output::patched_history(new.history, &patch)?;
    if let Some(codes) = &patch.success_codes {
        new.policies.success = retries::codes("success-codes", codes.as_deref())?;
    }
    if let Some(typed) = &patch.concurrency {
        new.policies.concurrency = concurrency(typed.as_deref())?;
    }
    if let Some(group) = patch.group {
        new.sharing.group = group.as_deref().map(|group| word("group", group)).transpose()?;
    }
    if let Some(typed) = patch.priority {
        new.sharing.priority = priority(typed)?;
    }
    if let Some(typed) = patch.locks {
        new.sharing.locks = locks(&typed)?;
    }
    new.process = process::patched(new.process, patch.process.0, &context.powers)?;
    (new.gates, new.policies.gate_wait_ms) = gates::patched((new.gates, new.policies.gate_wait_ms), patch.gates.0)?;
    if let Some(text) = patch.name {
        new.name = name(&text)?;
    }
    let standing = match &new.when {
        When::Termed(terms) => Some(Terms::clone(terms)),
        When::Manual | When::Cron { .. } | When::Every { .. } | When::At { .. } | When::Boot | When::After(_) => None,
    };
    let present = rule_of(&new.when);
    let mut parts = new.when.parts().to_vec();
    match (patch.schedule, patch.tz) {
        (Some(mut first), _) => {
            let mut also = patch.also;
            let present = parts.iter().find_map(terms::zone);
            for spec in std::iter::once(&mut first).chain(also.iter_mut().map(|Rec(spec)| spec)) {
                if let (ScheduleSpec::Cron { tz: tz @ None, .. }, Some(present)) = (spec, &present) {
                    *tz = Some(present.clone());
                }
            }
            parts = terms::schedules(first, also, context)?;
        }
        (None, Some(tz)) => parts = in_zone(parts, &tz, context)?,
        (None, None) => {}
    }
    // A schedule without local times has no use for a rule about them, and none of its own was typed then.
    let is_cron = |part: &When| matches!(part, When::Cron { .. });
    let present = Some(present).filter(|_| parts.iter().any(is_cron)).unwrap_or_default();
    let dst = DstRule {
        gap: patch.dst_gap.map_or(present.gap, describe::gap),
        overlap: patch.dst_overlap.map_or(present.overlap, describe::overlap),
    };
    let parts = by_rule(parts, dst, context)?;
    let is_spread_anew = patch.jitter_ms.is_some();
    let typed = Typed {
        jitter_ms: patch.jitter_ms,
        start: patch.start,
        end: patch.end,
        count: patch.count,
        calendars: patch.calendars,
        requires: patch.requires.0,
    };
    new.when = terms::terms(parts, standing.as_ref(), typed, context)?;
    if is_spread_anew {
        draw_offset(&mut new, context.owner);
    }
    if patch.misfire.is_some() || patch.misfire_within_ms.is_some() {
        let (present, within) = describe::misfire(new.policies.misfire);
        let kind = patch.misfire.unwrap_or(present);
        // What bounds one does not bound the other by default.
        let kept = within.filter(|_| kind == present);
        new.policies.misfire = misfire(kind, patch.misfire_within_ms.or(kept))?;
    } else if new.policies.misfire != Misfire::Skip && matches!(new.when, When::At { .. }) {
        // The limit was that of the schedule before.
        new.policies.misfire = Misfire::default();
    }
    not_limited(&new.when, new.policies.misfire)?;
    if let Some(spec) = patch.action {
        new.action = action(spec)?;
    }
    if let Some(cwd) = patch.cwd {
        new.cwd = cwd.map(directory).transpose()?;
    }
    if !patch.unset_env.is_empty() || !patch.set_env.is_empty() {
        let unset: HashSet<String> = patch.unset_env.into_iter().collect();
        let kept = new.env.into_iter().filter(|(name, _)| !unset.contains(name));
        let kept = kept.map(|(name, value)| EnvVar { name, value });
        new.env = environment(kept.chain(patch.set_env).collect())?;
    }
    if let Some(description) = patch.description {
        new.description = description;
    }
    new.labels = labels(new.labels, patch.set_labels, &patch.unset_labels)?;
    if let Some(enabled) = patch.enabled {
        new.enabled = enabled;
    }
    let bytes = describe::spec_bytes(&describe::spec(new.clone())) as u64;
    within("definition", context.limits.definition_bytes, bytes)?;
    within(
        "arguments",
        context.limits.arguments_bytes,
        arguments_bytes(&new.action, &new.env),
    )?;
    Ok(new)
}

fn within(what: &str, limit: u64, actual: u64) -> Result<(), Refusal> {
    if actual <= limit {
        return Ok(());
    }
    Err(Refusal::Limit {
        what: what.to_owned(),
        limit,
        actual,
    })
}

pub(crate) fn bad(field: &str, text: &str, problem: impl Into<String>, cure: Option<&str>) -> Refusal {
    Refusal::BadField {
        field: field.to_owned(),
        text: text.to_owned(),
        at: None,
        problem: problem.into(),
        cure: cure.map(str::to_owned),
    }
}

fn name(text: &str) -> Result<TaskName, Refusal> {
    word("name", text)
}

fn narrow(column: usize) -> u32 {
    u32::try_from(column).unwrap_or(u32::MAX)
}

/// A name, or what is written as one is.
fn word(field: &str, text: &str) -> Result<TaskName, Refusal> {
    TaskName::parse(text).map_err(|error| unnamed(field, text, &error))
}

/// What is no name, and where.
pub(crate) fn unnamed(field: &str, text: &str, error: &NameError) -> Refusal {
    Refusal::BadField {
        field: field.to_owned(),
        text: text.to_owned(),
        at: match error {
            NameError::BadCharacter { column, .. } => Some((narrow(*column), 1)),
            NameError::Empty | NameError::TooLong(_) => None,
        },
        problem: error.to_string(),
        cure: None,
    }
}

/// The locks that each run of a task holds.
fn locks(typed: &[String]) -> Result<Vec<PoolName>, Refusal> {
    let locks = typed
        .iter()
        .map(|text| word("lock", text))
        .collect::<Result<BTreeSet<_>, _>>()?;
    within("locks of a task", LOCKS_MAX as u64, locks.len() as u64)?;
    Ok(locks.into_iter().collect())
}

fn priority(typed: i16) -> Result<i16, Refusal> {
    if (-PRIORITY_MAX..=PRIORITY_MAX).contains(&typed) {
        return Ok(typed);
    }
    let problem = format!("a priority is a number from -{PRIORITY_MAX} to {PRIORITY_MAX}");
    Err(bad("priority", &typed.to_string(), problem, None))
}

/// The labels of a task that is given some and loses others.
fn labels(present: Vec<Label>, given: Vec<String>, lost: &[String]) -> Result<Vec<Label>, Refusal> {
    let mut all: BTreeSet<Label> = present.into_iter().collect();
    all.retain(|label| !lost.iter().any(|lost| lost == label.as_str()));
    for text in given {
        all.insert(word("label", &text)?);
    }
    within("labels of a task", LABELS_MAX as u64, all.len() as u64)?;
    Ok(all.into_iter().collect())
}

/// A name made from the command: its last path component, or the first word of a shell line.
fn name_of(action: &Action) -> TaskName {
    let program = match action {
        Action::Exec { argv } => argv.first().map_or("", String::as_str),
        Action::Shell { line } => line.split_whitespace().next().unwrap_or(""),
    };
    let last = program.rsplit('/').find(|part| !part.is_empty()).unwrap_or("");
    let fit: String = last
        .chars()
        .map(|character| {
            if character.is_ascii_alphanumeric() || "._-".contains(character) {
                character
            } else {
                '-'
            }
        })
        .skip_while(|character| !character.is_ascii_alphanumeric())
        .take(NAME_MAX)
        .collect();
    TaskName::parse(&fit)
        .or_else(|_| TaskName::parse("task"))
        .expect("`task` is a name")
}

fn action(spec: ActionSpec) -> Result<Action, Refusal> {
    match spec {
        ActionSpec::Exec { argv } => {
            if argv.first().is_none_or(String::is_empty) {
                let cure = "put the command behind --, as in `-- /usr/bin/backup --all`, or give --shell LINE";
                return Err(bad("command", "", "there is no command to run", Some(cure)));
            }
            if let Some(text) = argv.iter().find(|text| text.contains('\0')) {
                return Err(bad("command", text, "an argument cannot hold a NUL character", None));
            }
            Ok(Action::Exec { argv })
        }
        ActionSpec::Shell { line } => {
            if line.trim().is_empty() {
                return Err(bad("command", &line, "the shell line is empty", None));
            }
            if line.contains('\0') {
                return Err(bad("command", &line, "a shell line cannot hold a NUL character", None));
            }
            Ok(Action::Shell { line })
        }
    }
}

fn environment(vars: Vec<EnvVar>) -> Result<Vec<(String, String)>, Refusal> {
    let mut env: Vec<(String, String)> = Vec::with_capacity(vars.len());
    let mut places: HashMap<String, usize> = HashMap::new();
    for EnvVar { name, value } in vars {
        if name.is_empty() || name.contains(['=', '\0']) {
            let cure = "write it as NAME=VALUE";
            return Err(bad("env", &name, "this cannot be the name of a variable", Some(cure)));
        }
        if value.contains('\0') {
            return Err(bad("env", &name, "its value cannot hold a NUL character", None));
        }
        if name.starts_with("TASKD_") || name == "TRACEPARENT" {
            let problem = "variables of this name are set by taskd for every run";
            return Err(bad("env", &name, problem, Some("choose another name")));
        }
        // The last one counts, as in a shell.
        match places.get(&name) {
            Some(place) => env[*place].1 = value,
            None => {
                places.insert(name.clone(), env.len());
                env.push((name, value));
            }
        }
    }
    Ok(env)
}

fn directory(path: String) -> Result<String, Refusal> {
    if path.starts_with('/') && !path.contains('\0') {
        return Ok(path);
    }
    Err(bad(
        "cwd",
        &path,
        "the working directory must be an absolute path",
        Some("begin it with /"),
    ))
}

fn arguments_bytes(action: &Action, env: &[(String, String)]) -> u64 {
    let action = match action {
        Action::Exec { argv } => argv.iter().map(|text| text.len() + 1).sum::<usize>(),
        Action::Shell { line } => line.len() + 1,
    };
    let env: usize = env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    (action + env) as u64
}
