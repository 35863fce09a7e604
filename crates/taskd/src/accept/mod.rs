//! From what a user typed to a definition that holds: every field is checked, everything relative becomes an instant.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use taskd_core::Timestamp;
use taskd_core::policy::{Misfire, Policies};
use taskd_core::schedule::{
    Catalog, DstRule, Gap, Resolution, Schedule, ScheduleError, UnknownZone, Zones, format_duration,
    remarks as schedule_remarks, resolve_at,
};
use taskd_core::task::{Action, Definition, NAME_MAX, NameError, TaskName, When};
use taskd_wire::definition::{ActionSpec, EnvVar, MisfireSpec, ScheduleSpec, TaskPatch, TaskSpec};
use taskd_wire::refusal::Refusal;

use crate::config::Limits;
use crate::describe;

/// The longest interval or delay: a hundred years.
const LENGTH_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// The shortest interval, as the command line has it.
const INTERVAL_MIN_MS: u64 = 1000;

/// Most expressions kept parsed.
const KEPT: usize = 2048;

/// Schedules as the server reads them, to check what is typed. Those read lately are kept, so that an import of many
/// tasks with few expressions reads each expression once.
pub(crate) struct Schedules {
    catalog: Catalog,
    kept: HashMap<(String, String, DstRule), Schedule>,
}

impl Schedules {
    pub(crate) fn new(zones: Zones) -> Mutex<Self> {
        Mutex::new(Schedules {
            catalog: Catalog::new(zones),
            kept: HashMap::new(),
        })
    }

    /// The tz database has changed.
    pub(crate) fn reset(&mut self) {
        self.catalog.zones().reset();
        self.kept.clear();
    }

    fn cron(&mut self, expr: &str, tz: &str, dst: DstRule) -> Result<Schedule, ScheduleError> {
        let key = (expr.to_owned(), tz.to_owned(), dst);
        if let Some(found) = self.kept.get(&key) {
            return Ok(found.clone());
        }
        let schedule = self.catalog.cron_by(expr, tz, dst)?;
        if self.kept.len() >= KEPT {
            self.kept.clear();
        }
        self.kept.insert(key, schedule.clone());
        Ok(schedule)
    }
}

/// What a definition is accepted by.
pub(crate) struct Context<'a> {
    pub(crate) now: Timestamp,
    pub(crate) schedules: &'a Mutex<Schedules>,
    /// The zone of a schedule that names none.
    pub(crate) local_zone: Arc<str>,
    pub(crate) limits: Limits,
    /// Whether an instant may have passed already: such a task never fires, but its definition is kept.
    pub(crate) past: bool,
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
    let when = by_rule(when(spec.schedule, context)?, dst, context)?;
    let misfire = misfire(spec.misfire, spec.misfire_within_ms)?;
    not_limited(&when, misfire)?;
    Ok(Definition {
        name,
        when,
        cwd: spec.cwd.map(directory).transpose()?,
        description: spec.description,
        enabled: spec.enabled,
        policies: Policies {
            misfire,
            ..Policies::default()
        },
        action,
        env,
    })
}

/// Checks a change of a definition.
///
/// # Errors
/// The first field that does not hold, and what to do.
pub(crate) fn patched(old: Definition, patch: TaskPatch, context: &Context<'_>) -> Result<Definition, Refusal> {
    let mut new = old;
    if let Some(text) = patch.name {
        new.name = name(&text)?;
    }
    match (patch.schedule, patch.tz) {
        (Some(mut schedule), _) => {
            let present = rule_of(&new.when);
            if let (ScheduleSpec::Cron { tz, .. }, When::Cron { tz: present, .. }) = (&mut schedule, &new.when) {
                tz.get_or_insert_with(|| present.clone());
            }
            new.when = when(schedule, context)?;
            if let When::Cron { dst, .. } = &mut new.when {
                *dst = present;
            }
        }
        (None, Some(tz)) => new.when = in_zone(new.when, tz, context)?,
        (None, None) => {}
    }
    let present = rule_of(&new.when);
    let dst = DstRule {
        gap: patch.dst_gap.map_or(present.gap, describe::gap),
        overlap: patch.dst_overlap.map_or(present.overlap, describe::overlap),
    };
    new.when = by_rule(new.when, dst, context)?;
    if patch.misfire.is_some() || patch.misfire_within_ms.is_some() {
        let (present, within) = describe::misfire(new.policies.misfire);
        let kind = patch.misfire.unwrap_or(present);
        let kept = within.filter(|_| kind == MisfireSpec::Once);
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

/// The zone a definition's schedule is read in.
pub(crate) fn zone_of(definition: &Definition) -> Option<String> {
    match &definition.when {
        When::Cron { tz, .. } => Some(tz.clone()),
        When::At { tz, .. } => tz.clone(),
        When::Manual | When::Every { .. } => None,
    }
}

/// What a user would want to hear of a definition's schedule.
pub(crate) fn remarks(definition: &Definition, schedules: &Mutex<Schedules>, now: Timestamp) -> Vec<String> {
    let mut schedules = schedules.lock().unwrap_or_else(PoisonError::into_inner);
    // A zone that has vanished since is told of elsewhere.
    match &definition.when {
        When::Cron { expr, tz, dst } => schedules
            .cron(expr, tz, *dst)
            .map(|schedule| schedule_remarks(&schedule, now))
            .unwrap_or_default(),
        When::At { text, tz: Some(tz), .. } => resolve_at(text, tz, now, schedules.catalog.zones())
            .ok()
            .and_then(|resolved| local_time_remark(text, tz, resolved.kind))
            .into_iter()
            .collect(),
        When::At { tz: None, .. } | When::Manual | When::Every { .. } => Vec::new(),
    }
}

/// What had to be decided about a local time that comes never or twice.
fn local_time_remark(text: &str, tz: &str, kind: Resolution) -> Option<String> {
    match kind {
        Resolution::Unique => None,
        Resolution::Gap => Some(format!(
            "in {tz} the clock skips {text}: the first instant after that is taken"
        )),
        Resolution::Overlap => Some(format!("in {tz} the clock shows {text} twice: the first time is taken")),
    }
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

fn bad(field: &str, text: &str, problem: impl Into<String>, cure: Option<&str>) -> Refusal {
    Refusal::BadField {
        field: field.to_owned(),
        text: text.to_owned(),
        at: None,
        problem: problem.into(),
        cure: cure.map(str::to_owned),
    }
}

fn name(text: &str) -> Result<TaskName, Refusal> {
    TaskName::parse(text).map_err(|error| Refusal::BadField {
        field: "name".to_owned(),
        text: text.to_owned(),
        at: match error {
            NameError::BadCharacter { column, .. } => Some((u32::try_from(column).unwrap_or(u32::MAX), 1)),
            NameError::Empty | NameError::TooLong(_) => None,
        },
        problem: error.to_string(),
        cure: None,
    })
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

fn when(spec: ScheduleSpec, context: &Context<'_>) -> Result<When, Refusal> {
    match spec {
        ScheduleSpec::Manual => Ok(When::Manual),
        ScheduleSpec::Cron { expr, tz } => cron(expr, tz, DstRule::default(), context),
        ScheduleSpec::Every { interval_ms, anchor_ms } => {
            length("every", interval_ms)?;
            if interval_ms < INTERVAL_MIN_MS {
                let text = format_duration(Duration::from_millis(interval_ms));
                return Err(bad(
                    "every",
                    &text,
                    "the interval is too short",
                    Some("write at least 1s"),
                ));
            }
            Ok(When::Every {
                interval_ms,
                anchor: anchor_ms.map_or(context.now, Timestamp::from_millis),
            })
        }
        ScheduleSpec::At { at, tz } => instant(&at, tz, context),
        ScheduleSpec::In { delay_ms } => {
            length("in", delay_ms)?;
            let delay = Duration::from_millis(delay_ms);
            Ok(When::At {
                at: context.now.plus(delay),
                text: format!("{DELAY}{}", format_duration(delay)),
                tz: None,
            })
        }
    }
}

fn length(field: &str, ms: u64) -> Result<NonZeroU64, Refusal> {
    let text = format_duration(Duration::from_millis(ms));
    let Some(length) = NonZeroU64::new(ms) else {
        return Err(bad(
            field,
            &text,
            "it must be longer than nothing",
            Some("write 90s, 15m or 1d12h"),
        ));
    };
    if Duration::from_millis(ms) > LENGTH_MAX {
        return Err(bad(field, &text, "it is longer than a hundred years", None));
    }
    Ok(length)
}

fn cron(expr: String, tz: Option<String>, dst: DstRule, context: &Context<'_>) -> Result<When, Refusal> {
    let tz = tz.unwrap_or_else(|| context.local_zone.to_string());
    let schedule = context
        .schedules
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .cron(&expr, &tz, dst)
        .map_err(|error| match error {
            ScheduleError::Cron(error) => Refusal::BadField {
                field: "cron".to_owned(),
                text: shown(&expr),
                at: columns(error.span),
                problem: error.problem(),
                cure: error.cure(),
            },
            ScheduleError::Zone(unknown) => bad_zone(&unknown),
        })?;
    if schedule.next_after(context.now).is_none() {
        let problem = "it never fires from now on";
        return Err(bad("cron", &expr, problem, Some("choose a year that is to come")));
    }
    Ok(When::Cron { expr, tz, dst })
}

/// As much of a text as a refusal repeats.
fn shown(text: &str) -> String {
    text.chars().take(256).collect()
}

/// A span of columns as first column and length; `None` when it marks nothing.
fn columns((start, end): (usize, usize)) -> Option<(u32, u32)> {
    let length = u32::try_from(end.checked_sub(start)?)
        .ok()
        .filter(|length| *length > 0)?;
    Some((u32::try_from(start).ok()?, length))
}

fn bad_zone(unknown: &UnknownZone) -> Refusal {
    Refusal::BadField {
        field: "tz".to_owned(),
        text: shown(&unknown.name),
        at: None,
        problem: "the tz database has no such zone".to_owned(),
        cure: Some(match &unknown.near {
            Some(near) => format!("did you mean {near}?"),
            None => "write a name such as Europe/Berlin or UTC".to_owned(),
        }),
    }
}

fn instant(text: &str, tz: Option<String>, context: &Context<'_>) -> Result<When, Refusal> {
    let mut schedules = context.schedules.lock().unwrap_or_else(PoisonError::into_inner);
    let zones = schedules.catalog.zones();
    // One that was named is kept even where an offset in the text decides alone: times are shown in it.
    let named = match &tz {
        Some(tz) => Some(zones.get(tz).map_err(|unknown| bad_zone(&unknown))?),
        None => None,
    };
    let local = tz.as_deref().unwrap_or(&context.local_zone);
    let resolved = resolve_at(text, local, context.now, zones)
        .and_then(|resolved| {
            if context.past {
                Ok(resolved)
            } else {
                resolved.later_than(context.now)
            }
        })
        .map_err(|error| Refusal::BadField {
            field: "at".to_owned(),
            text: shown(text),
            at: columns(error.span),
            problem: error.problem(),
            cure: error.cure(),
        })?;
    Ok(When::At {
        at: resolved.at,
        text: text.to_owned(),
        tz: resolved.zone.or(named).map(|zone| zone.name().to_owned()),
    })
}

/// Begins the text of an instant that was given as a delay.
const DELAY: &str = "in ";

fn is_delay(text: &str) -> bool {
    text.starts_with(DELAY)
}

/// What a schedule says of skipped and repeated local times.
fn rule_of(when: &When) -> DstRule {
    match when {
        When::Cron { dst, .. } => *dst,
        When::Manual | When::Every { .. } | When::At { .. } => DstRule::default(),
    }
}

/// The same schedule with this rule for skipped and repeated local times.
fn by_rule(when: When, rule: DstRule, context: &Context<'_>) -> Result<When, Refusal> {
    match when {
        When::Cron { expr, tz, dst } if dst != rule => cron(expr, Some(tz), rule, context),
        When::Manual | When::Every { .. } | When::At { .. } if rule != DstRule::default() => {
            let problem = "only the times of a cron expression are skipped or come twice";
            let field = if rule.gap == Gap::Auto {
                "dst-overlap"
            } else {
                "dst-gap"
            };
            Err(bad(field, "", problem, Some("give a --cron with it, or leave it out")))
        }
        When::Cron { .. } | When::Manual | When::Every { .. } | When::At { .. } => Ok(when),
    }
}

fn misfire(kind: MisfireSpec, within_ms: Option<u64>) -> Result<Misfire, Refusal> {
    match (kind, within_ms) {
        (MisfireSpec::Once, None) => Ok(Misfire::default()),
        (MisfireSpec::Once, Some(within_ms)) => {
            let within_ms = length("misfire-within", within_ms)?;
            Ok(Misfire::Once { within_ms })
        }
        (MisfireSpec::Skip, None) => Ok(Misfire::Skip),
        (MisfireSpec::Skip, Some(ms)) => {
            let text = format_duration(Duration::from_millis(ms));
            let problem = "a missed fire time that is not run has no time limit";
            Err(bad(
                "misfire-within",
                &text,
                problem,
                Some("leave it out, or write --misfire once"),
            ))
        }
    }
}

/// An instant is not one of many: without it the task would never run, so it is run however late.
fn not_limited(when: &When, misfire: Misfire) -> Result<(), Refusal> {
    match (when, misfire) {
        (When::At { .. }, Misfire::Once { within_ms }) if misfire != Misfire::default() => {
            let text = format_duration(Duration::from_millis(within_ms.get()));
            let problem = "a single instant that was missed is run however late";
            Err(bad(
                "misfire-within",
                &text,
                problem,
                Some("leave it out, or write --misfire skip"),
            ))
        }
        (
            When::At { .. } | When::Cron { .. } | When::Every { .. } | When::Manual,
            Misfire::Once { .. } | Misfire::Skip,
        ) => Ok(()),
    }
}

fn in_zone(when: When, tz: String, context: &Context<'_>) -> Result<When, Refusal> {
    match when {
        When::Cron { expr, dst, .. } => cron(expr, Some(tz), dst, context),
        When::At { text, .. } if !is_delay(&text) => instant(&text, Some(tz), context),
        When::At { .. } | When::Manual | When::Every { .. } => {
            let problem = "the schedule of this task has no time zone";
            Err(bad("tz", &tz, problem, Some("give a --cron or --at with it")))
        }
    }
}
