//! Tasks and runs in words.

use std::borrow::Cow;

use std::time::Duration;

use taskd_core::schedule::format_duration;
use taskd_wire::client::{Pause, RequirementInfo, RunInfo, TaskSummary, UpstreamInfo};
use taskd_wire::codec::Rec;
use taskd_wire::definition::{
    ActionSpec, BackoffSpec, CalendarKeep, DstGap, DstOverlap, MisfireSpec, OnLeftover, OutputKind, ScheduleSpec,
    TaskSpec,
};

use super::table::Tone;
use super::time::{Times, length, took};
use super::{bytes, counted, signal};

/// An interval as it may be typed: in the one unit that needs no other, else as core writes it.
pub fn every(interval_ms: u64) -> String {
    let text = format_duration(Duration::from_millis(interval_ms));
    let parts = text.matches(|c: char| c.is_ascii_alphabetic() && c != 's').count();
    // 90s is how people say 1m30s.
    if parts > 0 && interval_ms.is_multiple_of(1000) && interval_ms < 600_000 && !interval_ms.is_multiple_of(60_000) {
        return format!("{}s", interval_ms / 1000);
    }
    text
}

/// A delay as it may be typed.
pub fn in_delay(delay_ms: u64) -> String {
    format_duration(Duration::from_millis(delay_ms))
}

/// A schedule in a few words.
pub fn schedule(spec: &ScheduleSpec) -> String {
    match spec {
        ScheduleSpec::Manual => "manual".to_owned(),
        ScheduleSpec::Cron { expr, .. } => expr.clone(),
        ScheduleSpec::Every { interval_ms, .. } => format!("every {}", every(*interval_ms)),
        ScheduleSpec::At { at, .. } => format!("at {at}"),
        ScheduleSpec::In { delay_ms } => format!("in {}", in_delay(*delay_ms)),
        ScheduleSpec::Boot => "at boot".to_owned(),
        ScheduleSpec::After { of, any } => format!("after {}", upstreams(of, *any)),
    }
}

/// The tasks that one comes after.
pub fn upstreams(of: &[String], any: bool) -> String {
    let any = if any && of.len() > 1 { "any of " } else { "" };
    format!("{any}{}", of.join(", "))
}

/// What a task has of the ends that it waits for; nothing where it has none.
pub fn kept_ends(upstreams: &[Rec<UpstreamInfo>]) -> Option<String> {
    let ended: Vec<&str> = upstreams
        .iter()
        .filter_map(|upstream| upstream.ended.as_deref())
        .collect();
    let missing = upstreams.iter().filter(|upstream| upstream.ended.is_none());
    let missing: Vec<&str> = missing.map(|upstream| upstream.task.as_str()).collect();
    (!ended.is_empty()).then(|| format!("{}; waits for {}", ended.join(", "), missing.join(", ")))
}

/// A task that another requires, and whether that holds.
pub fn required(required: &RequirementInfo, times: &Times) -> String {
    let within = required.within_ms.map(|ms| format!(" within {}", in_delay(ms)));
    let last = match (&required.outcome, required.ended_ms) {
        (Some(outcome), Some(ended_ms)) => format!("{outcome} {}", times.relative(ended_ms)),
        (Some(_) | None, _) => "has not run".to_owned(),
    };
    let unmet = if required.unmet.is_some() {
        ", does not hold"
    } else {
        ""
    };
    format!("{}{}: {last}{unmet}", required.task, within.unwrap_or_default())
}

/// What kind of text that is.
pub fn required_tone(required: &RequirementInfo) -> Tone {
    match required.unmet {
        None => Tone::Good,
        Some(_) => Tone::Bad,
    }
}

/// All schedules of a task in a few words.
pub fn schedules(spec: &TaskSpec) -> String {
    let all = std::iter::once(&spec.schedule).chain(spec.also.iter().map(|spec| &spec.0));
    all.map(schedule).collect::<Vec<_>>().join("; ")
}

/// What bounds and moves fire times, line by line.
pub fn terms(spec: &TaskSpec) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if spec.jitter_ms > 0 {
        lines.push(("spread", format!("over {}", in_delay(spec.jitter_ms))));
    }
    let valid = match (&spec.start, &spec.end) {
        (None, None) => None,
        (Some(start), None) => Some(format!("from {start}")),
        (None, Some(end)) => Some(format!("until {end}")),
        (Some(start), Some(end)) => Some(format!("from {start} until {end}")),
    };
    lines.extend(valid.map(|valid| ("valid", valid)));
    for used in &spec.calendars {
        let text = match used.keep {
            CalendarKeep::Exclude => format!("keeps clear of {}", used.name),
            CalendarKeep::Only => format!("keeps to {}", used.name),
            CalendarKeep::Next => format!("moves from {} to the next day", used.name),
            CalendarKeep::Previous => format!("moves from {} to the day before", used.name),
        };
        lines.push(("calendar", text));
    }
    if let Some(count) = spec.count {
        lines.push(("count", format!("disabled after {}", counted(count, "run"))));
    }
    lines
}

/// What was chosen of local times that clocks skip or show twice; nothing where nothing was.
pub fn dst(spec: &TaskSpec) -> Option<String> {
    let gap = match spec.dst_gap {
        DstGap::Auto => None,
        DstGap::Run => Some("a skipped time runs right after the gap"),
        DstGap::Skip => Some("a skipped time does not run"),
    };
    let overlap = match spec.dst_overlap {
        DstOverlap::Auto => None,
        DstOverlap::First => Some("of a time that comes twice the first runs"),
        DstOverlap::Second => Some("of a time that comes twice the second runs"),
        DstOverlap::Both => Some("a time that comes twice runs twice"),
    };
    let chosen: Vec<&str> = gap.into_iter().chain(overlap).collect();
    (!chosen.is_empty()).then(|| chosen.join("; "))
}

/// What becomes of fire times that passed without a start; nothing of a task that has none.
pub fn misfire(spec: &TaskSpec) -> Option<String> {
    let is_one = match spec.schedule {
        _ if !spec.also.is_empty() => false,
        ScheduleSpec::Manual | ScheduleSpec::Boot | ScheduleSpec::After { .. } => return None,
        ScheduleSpec::At { .. } | ScheduleSpec::In { .. } => true,
        ScheduleSpec::Cron { .. } | ScheduleSpec::Every { .. } => false,
    };
    Some(match (spec.misfire, spec.misfire_within_ms) {
        (MisfireSpec::Skip, _) => "it is not run".to_owned(),
        (MisfireSpec::Once | MisfireSpec::All, _) if is_one => "it is run however late".to_owned(),
        (MisfireSpec::All, None) => "all are run, in order".to_owned(),
        (MisfireSpec::All, Some(ms)) => format!("all are run, in order, up to {} late", length(ms)),
        (MisfireSpec::Once, None) => "the latest fire time is run".to_owned(),
        (MisfireSpec::Once, Some(ms)) => format!("the latest fire time is run, up to {} late", length(ms)),
    })
}

/// How long its runs may take, and how they are stopped; nothing where nothing was chosen.
pub fn limits(spec: &TaskSpec) -> Option<String> {
    let chosen = [
        spec.timeout_ms.map(|ms| format!("{} an attempt", length(ms))),
        spec.deadline_ms.map(|ms| format!("{} a run", length(ms))),
        spec.grace_ms.map(|ms| format!("grace {}", length(ms))),
        spec.kill_signal.as_ref().map(|signal| format!("stopped by {signal}")),
        (spec.on_leftover == OnLeftover::Leave).then(|| "what is left goes on".to_owned()),
    ];
    let chosen: Vec<String> = chosen.into_iter().flatten().collect();
    (!chosen.is_empty()).then(|| chosen.join(", "))
}

/// Whether another attempt follows one that did not succeed, and what a success is; nothing where nothing was chosen.
pub fn retries(spec: &TaskSpec) -> Option<String> {
    let mut chosen = Vec::new();
    if spec.retries > 0 {
        let backoff = spec.backoff.unwrap_or(BackoffSpec {
            initial_ms: 1_000,
            max_ms: 300_000,
            factor_percent: 200,
            jitter: false,
        });
        let part = if backoff.jitter { "a random part of " } else { "" };
        chosen.push(format!(
            "up to {}, after {part}{} to {}, times {}",
            spec.retries,
            length(backoff.initial_ms),
            length(backoff.max_ms),
            f64::from(backoff.factor_percent) / 100.0
        ));
        if let Some(on) = &spec.retry_on {
            chosen.push(format!("on {}", on.join(", ")));
        }
    }
    if let Some(codes) = &spec.success_codes {
        let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
        chosen.push(format!("exit code {} is a success", codes.join(" or ")));
    }
    (!chosen.is_empty()).then(|| chosen.join("; "))
}

/// What becomes of a new run while others are in progress, where that was chosen.
pub fn concurrency(spec: &TaskSpec) -> Option<String> {
    spec.concurrency.clone()
}

/// What is kept of its runs; nothing where nothing was chosen.
pub fn kept(spec: &TaskSpec) -> Option<String> {
    let chosen = [
        spec.keep_runs.map(|runs| counted(runs, "run")),
        spec.keep_for_ms.map(|ms| format!("for {}", length(ms))),
        spec.output_max.map(|max| format!("up to {} of output", bytes(max))),
        match spec.output {
            OutputKind::Lines => None,
            OutputKind::File => Some("output as a file".to_owned()),
            OutputKind::Discard => Some("no output".to_owned()),
        },
    ];
    let chosen: Vec<String> = chosen.into_iter().flatten().collect();
    (!chosen.is_empty()).then(|| chosen.join(", "))
}

/// An action as it might be typed into a shell.
pub fn action(spec: &ActionSpec) -> String {
    match spec {
        ActionSpec::Shell { line } => line.clone(),
        ActionSpec::Exec { argv } => argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    }
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// What a task is doing: running, held, disabled, paused, or nothing to remark.
pub fn state(task: &TaskSummary) -> (&'static str, Tone) {
    let runs = !task.running.is_empty();
    match (task.held.is_some(), task.spec.enabled, task.paused.is_some()) {
        (true, _, _) if runs => ("running, held", Tone::Bad),
        (true, _, _) => ("held", Tone::Bad),
        (false, false, _) if runs => ("running, disabled", Tone::Live),
        (false, false, _) => ("disabled", Tone::Dim),
        (false, true, true) if runs => ("running, paused", Tone::Live),
        (false, true, true) => ("paused", Tone::Dim),
        (false, true, false) if runs => ("running", Tone::Live),
        (false, true, false) => ("", Tone::Plain),
    }
}

/// A pause in words: `all tasks until 2026-11-24 18:00:00, by uid 1000: moving house`.
pub fn pause(pause: &Pause, times: &Times) -> String {
    let all = if pause.all { "all tasks " } else { "" };
    let until = match pause.until_ms {
        Some(ms) => format!("until {}, {}", times.full(ms), times.relative(ms)),
        None => "until `taskctl resume`".to_owned(),
    };
    let note = pause.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
    format!("{all}{until}, by {}{note}", pause.by)
}

/// How a run ended, or how far it is: `succeeded`, `failed (3)`, `failed (SIGKILL)`, `running`.
pub fn fate(run: &RunInfo) -> (String, Tone) {
    let Some(outcome) = &run.outcome else {
        return (run.state.clone(), Tone::of(&run.state));
    };
    let tone = Tone::of(outcome);
    let text = match (outcome.as_str(), run.exit_code, run.signal) {
        ("failed", Some(code), _) => format!("failed ({code})"),
        ("failed", None, Some(number)) => format!("failed ({})", signal(number)),
        _ => outcome.clone(),
    };
    (text, tone)
}

/// Why a run ended so, where its fate does not say it already.
pub fn reason(run: &RunInfo) -> Option<Cow<'_, str>> {
    if let Some(waits_for) = &run.waits_for {
        return Some(format!("waits for {waits_for}").into());
    }
    let said = match (run.exit_code, run.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(number)) => format!("signal {number}"),
        (None, None) => String::new(),
    };
    let reason = run.reason.as_deref().filter(|reason| *reason != said)?;
    // The number of an error of the system tells people nothing.
    reason.split(" (os error").next().map(Cow::Borrowed)
}

/// What one that has not ended waits for; else the same as [`reason`].
pub fn remark<'a>(run: &'a RunInfo, times: &Times) -> Option<Cow<'a, str>> {
    let is_between = run.outcome.is_none() && run.waits_for.is_none();
    match run.retry_ms.filter(|_| is_between) {
        Some(at) => Some(format!("waits for its next attempt, {}", times.relative(at)).into()),
        None => reason(run),
    }
}

/// What a run was given beside what its task says: names of variables, and how many arguments.
pub fn given(run: &RunInfo) -> String {
    let Some(given) = &run.overrides.0 else {
        return String::new();
    };
    let more = (given.more_env > 0).then(|| format!("{} more", given.more_env));
    let args = (given.args > 0).then(|| counted(given.args, "argument"));
    let gates = given.skip_gates.then(|| "no gates".to_owned());
    let said: Vec<String> = given.env.iter().cloned().chain(more).chain(args).chain(gates).collect();
    said.join(", ")
}

/// How long a run took, or has taken so far.
pub fn taken(run: &RunInfo, now_ms: i64) -> String {
    match (run.duration_ms, run.started_ms) {
        (Some(ms), _) => took(ms),
        (None, Some(start)) if run.outcome.is_none() => {
            format!(
                "{} so far",
                length(u64::try_from(now_ms.saturating_sub(start)).unwrap_or(0))
            )
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_read_as_people_say_them() {
        let shown = [1_000, 90_000, 60_000, 1_500, 5_400_000, 300_000, 86_400_000].map(every);
        assert_eq!(shown, ["1s", "90s", "1m", "1s500ms", "1h30m", "5m", "1d"]);
    }

    #[test]
    fn commands_are_quoted_where_a_shell_would_need_it() {
        let exec = |words: &[&str]| ActionSpec::Exec {
            argv: words.iter().map(|&w| w.into()).collect(),
        };
        assert_eq!(
            action(&exec(&["echo", "a b", "it's", "", "--x=1"])),
            r"echo 'a b' 'it'\''s' '' --x=1"
        );
    }

    #[test]
    fn a_fate_names_code_or_signal() {
        let run = |outcome: &str, exit_code, signal| RunInfo {
            outcome: Some(outcome.into()),
            exit_code,
            signal,
            ..RunInfo::default()
        };
        assert_eq!(fate(&run("failed", Some(3), None)).0, "failed (3)");
        assert_eq!(fate(&run("failed", None, Some(9))).0, "failed (SIGKILL)");
        assert_eq!(fate(&run("succeeded", Some(0), None)), ("succeeded".into(), Tone::Good));
        let running = RunInfo {
            state: "running".into(),
            ..RunInfo::default()
        };
        assert_eq!(fate(&running), ("running".into(), Tone::Live));
    }

    #[test]
    fn a_task_whose_run_goes_on_says_what_keeps_the_next_from_starting() {
        let mut task = TaskSummary {
            running: vec![1],
            ..TaskSummary::default()
        };
        assert_eq!(state(&task).0, "running, disabled");
        task.spec.0.enabled = true;
        assert_eq!(state(&task).0, "running");
        task.paused = Some(Rec(Pause::default()));
        assert_eq!(state(&task).0, "running, paused");
        task.held = Some("its zone is gone".into());
        assert_eq!(state(&task).0, "running, held");
        task.running.clear();
        assert_eq!(state(&task).0, "held");
    }

    #[test]
    fn a_run_between_two_attempts_says_when_the_next_one_is() {
        let times = Times::new(taskd_core::Timestamp::from_millis(0), jiff::tz::TimeZone::UTC);
        let mut run = RunInfo {
            retry_ms: Some(42_000),
            ..RunInfo::default()
        };
        assert_eq!(remark(&run, &times), Some("waits for its next attempt, in 42 s".into()));
        run.waits_for = Some("its gate".into());
        assert_eq!(remark(&run, &times), Some("waits for its gate".into()));
    }

    #[test]
    fn a_reason_is_given_without_the_number_of_the_error() {
        let run = RunInfo {
            reason: Some("exec /x: No such file or directory (os error 2)".into()),
            ..RunInfo::default()
        };
        assert_eq!(reason(&run), Some("exec /x: No such file or directory".into()));
    }
}
