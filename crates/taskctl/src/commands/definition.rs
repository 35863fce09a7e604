//! From what was typed to what is said: schedules, actions, environments. What can be checked without the daemon is
//! checked here, so that the answer can point at the column.

use std::path::Path;
use std::time::Duration;

use taskd_core::dependency::Upstream;
use taskd_core::requirement::Requirement;
use taskd_core::schedule::{Cron, DurationError, every_word, is_reboot_word, parse_duration, parse_interval};
use taskd_wire::definition::{
    ActionSpec, CalendarKeep, CalendarUse, DstGap, DstOverlap, EnvVar, MisfireSpec, OnLeftover, ScheduleSpec,
};

use crate::args::{ActionArgs, Gap, Leftover, Misfire, MisfireArgs, Overlap, ScheduleArgs};
use crate::error::Failure;

/// The shortest interval that may be typed. The daemon takes shorter ones from an import.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// The schedules that were typed.
pub fn schedules(args: &ScheduleArgs) -> Result<Vec<ScheduleSpec>, Failure> {
    let mut all = Vec::new();
    for expr in &args.cron {
        if is_reboot_word(expr) {
            all.push(ScheduleSpec::Boot);
            continue;
        }
        all.push(match every_of(expr)? {
            Some(interval) => every_spec(interval),
            None => {
                check_cron(expr)?;
                ScheduleSpec::Cron {
                    expr: expr.clone(),
                    tz: args.tz.clone(),
                }
            }
        });
    }
    for text in &args.every {
        let interval = parse_interval(text).map_err(|error| bad_duration("every", text, &error))?;
        if interval < INTERVAL_MIN {
            let whole = (0, text.chars().count() as u32);
            let (problem, cure) = ("the interval is too short", "write at least 1s");
            return Err(Failure::field("every", text, Some(whole), problem, Some(cure)));
        }
        all.push(every_spec(interval));
    }
    for at in &args.at {
        all.push(ScheduleSpec::At {
            at: at.clone(),
            tz: args.tz.clone(),
        });
    }
    if let Some(text) = &args.delay {
        let delay = parse_duration(text).map_err(|error| bad_duration("in", text, &error))?;
        all.push(ScheduleSpec::In {
            delay_ms: millis(delay),
        });
    }
    if args.boot {
        all.push(ScheduleSpec::Boot);
    }
    for (of, any) in [(&args.after, false), (&args.after_any, true)] {
        if !of.is_empty() {
            check_upstreams(of, any)?;
            all.push(ScheduleSpec::After { of: of.clone(), any });
        }
    }
    if args.manual {
        all.push(ScheduleSpec::Manual);
    }
    let is_cron = |spec: &ScheduleSpec| matches!(spec, ScheduleSpec::Cron { .. });
    let has_zone = |spec: &ScheduleSpec| is_cron(spec) || matches!(spec, ScheduleSpec::At { .. });
    if !all.is_empty() {
        if (args.dst_gap.is_some() || args.dst_overlap.is_some()) && !all.iter().any(is_cron) {
            return Err(no_cron());
        }
        if args.tz.is_some() && !all.iter().any(has_zone) {
            return Err(Failure::usage(
                "--tz goes with --cron or --at; other schedules need no time zone",
            ));
        }
    }
    Ok(all)
}

/// Refuses what names no task, with its column and its cure.
fn check_upstreams(of: &[String], any: bool) -> Result<(), Failure> {
    let field = if any { "after-any" } else { "after" };
    let refused = of.iter().find_map(|text| Some((text, Upstream::parse(text).err()?)));
    refused.map_or(Ok(()), |(text, error)| {
        let at = error.span().map(|span| columns((span.start, span.end)));
        Err(Failure::field(field, text, at, &error.to_string(), Some(error.cure())))
    })
}

/// The tasks that were typed whose last run must have succeeded: all that the task is to require, where any was typed.
pub fn requires(args: &ScheduleArgs) -> Result<Option<Vec<String>>, Failure> {
    let typed: Vec<String> = args.require.iter().filter(|text| !text.is_empty()).cloned().collect();
    for text in &typed {
        if let Err(error) = Requirement::parse(text) {
            let at = error.span().map(|span| columns((span.start, span.end)));
            let (problem, cure) = (error.to_string(), error.cure());
            return Err(Failure::field("require", text, at, &problem, Some(&cure)));
        }
    }
    Ok((!args.require.is_empty()).then_some(typed))
}

fn every_spec(interval: Duration) -> ScheduleSpec {
    ScheduleSpec::Every {
        interval_ms: millis(interval),
        anchor_ms: None,
    }
}

/// By up to how much fire times are to be moved.
pub fn jitter(args: &ScheduleArgs) -> Result<Option<u64>, Failure> {
    let jitter = args.jitter.as_deref();
    let jitter = jitter.map(|text| duration("jitter", text)).transpose()?;
    Ok(jitter.map(millis))
}

/// The calendars that were typed: all that the task is to use, where any was typed.
pub fn calendars(args: &ScheduleArgs) -> Result<Option<Vec<CalendarUse>>, Failure> {
    let used = |text: &String| {
        let (name, keep) = match text.split_once('=') {
            None => (text.as_str(), CalendarKeep::Exclude),
            Some((name, "exclude")) => (name, CalendarKeep::Exclude),
            Some((name, "only")) => (name, CalendarKeep::Only),
            Some((name, "next")) => (name, CalendarKeep::Next),
            Some((name, "previous")) => (name, CalendarKeep::Previous),
            Some((name, other)) => {
                let before = u32::try_from(name.chars().count() + 1).unwrap_or(u32::MAX);
                let width = u32::try_from(other.chars().count()).unwrap_or(u32::MAX);
                let (problem, cure) = (
                    "this is no use of a calendar",
                    "write NAME, or NAME=exclude, only, next or previous",
                );
                return Err(Failure::field(
                    "calendar",
                    text,
                    Some((before, width)),
                    problem,
                    Some(cure),
                ));
            }
        };
        Ok(CalendarUse {
            name: name.to_owned(),
            keep,
        })
    };
    let typed: Result<Vec<_>, _> = args.calendar.iter().filter(|text| !text.is_empty()).map(used).collect();
    Ok((!args.calendar.is_empty()).then_some(typed?))
}

/// A text that may be taken away, which the inner `None` does.
pub fn bound(typed: Option<&str>) -> Option<Option<String>> {
    typed.map(|text| (!text.is_empty()).then(|| text.to_owned()))
}

/// The interval of `@every D`, which is another kind of schedule; nothing for a cron expression.
pub fn every_of(expr: &str) -> Result<Option<Duration>, Failure> {
    let Some(interval) = every_word(expr) else {
        return Ok(None);
    };
    let interval = interval.map_err(|error| bad_duration("cron", expr, &error))?;
    if interval < INTERVAL_MIN {
        let (problem, cure) = ("the interval is too short", "write at least 1s");
        return Err(Failure::field("cron", expr, None, problem, Some(cure)));
    }
    Ok(Some(interval))
}

/// Rules for changes of the clock go with what reads one.
pub fn no_cron() -> Failure {
    Failure::usage(
        "--dst-gap and --dst-overlap go with --cron; other schedules have no time that is skipped or comes twice",
    )
}

/// What was typed of local times that clocks skip.
pub fn gap(typed: Gap) -> DstGap {
    match typed {
        Gap::Auto => DstGap::Auto,
        Gap::Run => DstGap::Run,
        Gap::Skip => DstGap::Skip,
    }
}

/// What was typed of processes that are left.
pub fn leftover(typed: Leftover) -> OnLeftover {
    match typed {
        Leftover::Kill => OnLeftover::Kill,
        Leftover::Leave => OnLeftover::Leave,
    }
}

/// What was typed of local times that clocks show twice.
pub fn overlap(typed: Overlap) -> DstOverlap {
    match typed {
        Overlap::Auto => DstOverlap::Auto,
        Overlap::First => DstOverlap::First,
        Overlap::Second => DstOverlap::Second,
        Overlap::Both => DstOverlap::Both,
    }
}

/// What becomes of missed fire times, and within how many milliseconds.
pub fn misfire(args: &MisfireArgs) -> Result<(Option<MisfireSpec>, Option<u64>), Failure> {
    let kind = args.misfire.map(|typed| match typed {
        Misfire::Once => MisfireSpec::Once,
        Misfire::Skip => MisfireSpec::Skip,
        Misfire::All => MisfireSpec::All,
    });
    let within = args.misfire_within.as_deref();
    let within = within.map(|text| duration("misfire-within", text)).transpose()?;
    Ok((kind, within.map(millis)))
}

/// A time limit that was typed; the inner `None` takes it away.
pub fn limit(field: &str, typed: Option<&str>) -> Result<Option<Option<u64>>, Failure> {
    let millis_of = |text: &str| duration(field, text).map(millis);
    typed
        .map(|text| (!text.is_empty()).then(|| millis_of(text)).transpose())
        .transpose()
}

/// The wait before the first retry, and the longest: `1s..5m`.
pub fn backoff(typed: Option<&str>) -> Result<Option<(u64, u64)>, Failure> {
    let Some(text) = typed else { return Ok(None) };
    let (initial, max) = text.split_once("..").unwrap_or((text, text));
    let bound = |part: &str, before: usize| {
        parse_duration(part).map(millis).map_err(|error| {
            let (column, width) = columns(error.span);
            let before = u32::try_from(before).unwrap_or(u32::MAX);
            let at = Some((before.saturating_add(column), width));
            Failure::field("backoff", text, at, &error.problem(), error.cure().as_deref())
        })
    };
    let initial_ms = bound(initial, 0)?;
    Ok(Some((
        initial_ms,
        bound(max, text.chars().count() - max.chars().count())?,
    )))
}

/// Exit codes that were typed; the inner `None` for the default, as '' gives it.
pub fn codes(typed: &[String]) -> Result<Option<Option<Vec<u32>>>, Failure> {
    if typed.is_empty() {
        return Ok(None);
    }
    if typed.iter().all(String::is_empty) {
        return Ok(Some(None));
    }
    let mut codes = Vec::new();
    for (place, text) in typed.iter().enumerate() {
        let Ok(code) = text.trim().parse() else {
            let before: usize = typed[..place].iter().map(|text| text.chars().count() + 1).sum();
            let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
            let at = (number(before), number(text.chars().count().max(1)));
            let (problem, cure) = ("this is no exit code", Some("write codes as 0,2"));
            return Err(Failure::field(
                "success-codes",
                &typed.join(","),
                Some(at),
                problem,
                cure,
            ));
        };
        codes.push(code);
    }
    Ok(Some(Some(codes)))
}

/// After what another attempt follows; the inner `None` for the default, as '' gives it.
pub fn retry_on(typed: &[String]) -> Option<Option<Vec<String>>> {
    let is_default = typed.iter().all(String::is_empty);
    (!typed.is_empty()).then(|| (!is_default).then(|| typed.to_vec()))
}

/// All locks that runs are to hold, where any was typed; '' is for none.
pub fn locks(typed: &[String]) -> Option<Vec<String>> {
    let locks = typed.iter().filter(|text| !text.is_empty()).cloned();
    (!typed.is_empty()).then(|| locks.collect())
}

/// Refuses what is no cron expression, with its column and its cure.
pub fn check_cron(expr: &str) -> Result<Cron, Failure> {
    Cron::parse(expr).map_err(|error| {
        Failure::field(
            "cron",
            expr,
            Some(columns(error.span)),
            &error.problem(),
            error.cure().as_deref(),
        )
    })
}

/// The length of time an option gives.
pub fn duration(field: &str, text: &str) -> Result<Duration, Failure> {
    parse_duration(text).map_err(|error| bad_duration(field, text, &error))
}

fn bad_duration(field: &str, text: &str, error: &DurationError) -> Failure {
    Failure::field(
        field,
        text,
        Some(columns(error.span)),
        &error.problem(),
        error.cure().as_deref(),
    )
}

/// Column and length from the columns of begin and end.
pub fn columns((from, to): (usize, usize)) -> (u32, u32) {
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (narrow(from), narrow(to.saturating_sub(from)))
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

/// The action that was typed, if one was.
pub fn action(args: &ActionArgs) -> Option<ActionSpec> {
    match &args.shell {
        Some(line) => Some(ActionSpec::Shell { line: line.clone() }),
        None if args.command.is_empty() => None,
        None => Some(ActionSpec::Exec {
            argv: args.command.clone(),
        }),
    }
}

/// The variables that were typed.
pub fn env(typed: &[String]) -> Result<Vec<EnvVar>, Failure> {
    let mut env: Vec<EnvVar> = Vec::new();
    for text in typed {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => set(&mut env, name, value),
            _ => {
                let problem = "a variable is written NAME=VALUE";
                return Err(Failure::field("env", text, Some((0, 1)), problem, None));
            }
        }
    }
    Ok(env)
}

/// Sets a variable, in its place if it is there already.
fn set(env: &mut Vec<EnvVar>, name: &str, value: &str) {
    match env.iter_mut().find(|var| var.name == name) {
        Some(var) => value.clone_into(&mut var.value),
        None => env.push(EnvVar {
            name: name.to_owned(),
            value: value.to_owned(),
        }),
    }
}

/// A directory as the daemon wants it: absolute, from where the user stands.
pub fn cwd(typed: &str) -> Result<String, Failure> {
    if typed.is_empty() {
        let problem = "a directory has a name";
        let cure = "leave --cwd out for the owner's home, or write . for the directory you are in";
        return Err(Failure::field("cwd", typed, None, problem, Some(cure)));
    }
    absolute(typed)
}

/// A path as the daemon wants it.
pub fn absolute(typed: &str) -> Result<String, Failure> {
    let path =
        std::path::absolute(Path::new(typed)).map_err(|error| Failure::file("resolve", Path::new(typed), &error))?;
    path.into_os_string()
        .into_string()
        .map_err(|path| Failure::usage(format!("the path {} is not written in UTF-8", path.to_string_lossy())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(args: &ScheduleArgs) -> String {
        schedules(args).expect_err("it is wrong").human(false)
    }

    #[test]
    fn a_bad_expression_is_pointed_at_before_anything_is_sent() {
        let args = ScheduleArgs {
            cron: vec!["0 25 * * *".into()],
            ..ScheduleArgs::default()
        };
        let text = failure(&args);
        assert!(text.contains("\n  --cron 0 25 * * *\n           ^^\nhint: "), "{text}");
    }

    #[test]
    fn lengths_are_read_and_pointed_at() {
        let every = |text: &str| ScheduleArgs {
            every: vec![text.into()],
            ..ScheduleArgs::default()
        };
        assert_eq!(
            schedules(&every("1m30s")).expect("it is right"),
            [ScheduleSpec::Every {
                interval_ms: 90_000,
                anchor_ms: None
            }]
        );
        assert_eq!(
            failure(&every("10ms")),
            "taskctl: the interval is too short\n  --every 10ms\n          ^^^^\nhint: write at least 1s\n"
        );
        assert_eq!(
            failure(&every("90")),
            "taskctl: 90 has no unit\n  --every 90\n          ^^\nhint: write 90s for seconds\n"
        );
        assert!(
            failure(&every("5x")).contains("--every 5x\n"),
            "{}",
            failure(&every("5x"))
        );
    }

    #[test]
    fn a_zone_needs_a_schedule_that_has_local_times() {
        let args = ScheduleArgs {
            every: vec!["1m".into()],
            tz: Some("UTC".into()),
            ..ScheduleArgs::default()
        };
        assert!(failure(&args).contains("--tz goes with --cron or --at"));
    }

    #[test]
    fn a_directory_without_a_name_is_refused_here() {
        let failure = cwd("").expect_err("it has no name");
        assert_eq!(failure.exit, crate::error::Exit::Usage);
        assert!(failure.hint.is_some_and(|hint| hint.contains("home")));
    }

    #[test]
    fn the_last_of_a_variable_given_twice_counts() {
        let env = env(&["A=1".into(), "B==x".into(), "A=2".into()]).expect("they are right");
        let text: Vec<String> = env.iter().map(|var| format!("{}={}", var.name, var.value)).collect();
        assert_eq!(text, ["A=2", "B==x"]);
        assert!(super::env(&["=x".into()]).is_err() && super::env(&["A".into()]).is_err());
    }
}
