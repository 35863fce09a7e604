//! The shapes of `--json`. Fields are only ever appended; instants are RFC 3339 in UTC; what is not known is `null`,
//! never absent.

mod attempts;
mod daemon;
mod dependencies;
mod firings;
mod overrides;

use serde::Serialize;
use taskd_wire::client::{self as wire, Accepted, LastRun, Passed, Pause, RunInfo, RunRef, TaskDetail, TaskSummary};
use taskd_wire::definition::{
    ActionSpec, BackoffSpec, CalendarUse, DstGap, DstOverlap, EnvVar, GatesSpec, MisfireSpec, OnLeftover, OutputKind,
    ProcessSpec, ScheduleSpec,
};

pub use attempts::EarlierAttempt;
pub use daemon::Daemon;
pub use dependencies::{GraphShape, Required, Upstream};
pub use firings::{Backfilled, CalendarShape, CalendarWhole, PoolShape, WhyFate};
pub use overrides::Overridden;

use crate::render::task::{every, in_delay, upstreams};
use crate::render::time::rfc3339;

/// When a task is due.
#[derive(Debug, Serialize)]
pub struct Schedule<'a> {
    kind: &'static str,
    expr: Option<String>,
    tz: Option<&'a str>,
}

impl<'a> Schedule<'a> {
    /// Of a definition; `tz` is the zone the daemon reads it in, `next_ms` its next fire time.
    pub fn of(spec: &'a ScheduleSpec, tz: Option<&'a str>, next_ms: Option<i64>) -> Self {
        let own = match spec {
            ScheduleSpec::Cron { tz, .. } | ScheduleSpec::At { tz, .. } => tz.as_deref(),
            ScheduleSpec::Manual
            | ScheduleSpec::Every { .. }
            | ScheduleSpec::In { .. }
            | ScheduleSpec::Boot
            | ScheduleSpec::After { .. } => None,
        };
        let (kind, expr) = match spec {
            ScheduleSpec::Manual => ("manual", None),
            ScheduleSpec::Cron { expr, .. } => ("cron", Some(expr.clone())),
            ScheduleSpec::Every { interval_ms, .. } => ("every", Some(every(*interval_ms))),
            ScheduleSpec::At { at, .. } => ("at", Some(instant(at, next_ms))),
            ScheduleSpec::In { delay_ms } => ("in", Some(in_delay(*delay_ms))),
            ScheduleSpec::Boot => ("boot", None),
            ScheduleSpec::After { of, any } => ("after", Some(upstreams(of, *any))),
        };
        Schedule {
            kind,
            expr,
            tz: tz.or(own),
        }
    }
}

/// The instant an `at` stands for, where it is known, else what was typed.
fn instant(at: &str, next_ms: Option<i64>) -> String {
    let typed = at.parse::<jiff::Timestamp>().map(|instant| instant.to_string()).ok();
    typed.or_else(|| next_ms.map(rfc3339)).unwrap_or_else(|| at.to_owned())
}

/// What a run does.
#[derive(Debug, Serialize)]
pub struct Action<'a> {
    kind: &'static str,
    argv: &'a [String],
}

impl<'a> Action<'a> {
    /// Of a definition. A shell line is the only element of `argv`.
    pub fn of(spec: &'a ActionSpec) -> Self {
        match spec {
            ActionSpec::Exec { argv } => Action { kind: "exec", argv },
            ActionSpec::Shell { line } => Action {
                kind: "shell",
                argv: std::slice::from_ref(line),
            },
        }
    }
}

/// The newest finished run of a task.
#[derive(Debug, Serialize)]
pub struct Last<'a> {
    run: &'a str,
    outcome: &'a str,
    finished_at: String,
}

impl<'a> Last<'a> {
    fn of(last: &'a LastRun) -> Self {
        Last {
            run: &last.run,
            outcome: &last.outcome,
            finished_at: rfc3339(last.finished_ms),
        }
    }
}

/// A task in `list`.
#[derive(Debug, Serialize)]
pub struct Task<'a> {
    name: &'a str,
    id: u64,
    owner: u32,
    enabled: bool,
    schedule: Schedule<'a>,
    action: Action<'a>,
    next: Option<String>,
    last: Option<Last<'a>>,
    running: Vec<String>,
    held: Option<&'a str>,
    description: Option<&'a str>,
    labels: &'a [String],
    paused: Option<Paused<'a>>,
}

/// A pause that is not over.
#[derive(Debug, Serialize)]
pub struct Paused<'a> {
    all: bool,
    since: String,
    until: Option<String>,
    by: &'a str,
    note: Option<&'a str>,
}

impl<'a> Paused<'a> {
    fn of(pause: &'a Pause) -> Self {
        Paused {
            all: pause.all,
            since: rfc3339(pause.since_ms),
            until: pause.until_ms.map(rfc3339),
            by: &pause.by,
            note: pause.note.as_deref(),
        }
    }
}

impl<'a> Task<'a> {
    /// Of a summary.
    pub fn of(task: &'a TaskSummary) -> Self {
        let spec = &task.spec;
        Task {
            name: &spec.name,
            id: task.id,
            owner: task.owner,
            enabled: spec.enabled,
            schedule: Schedule::of(&spec.schedule, task.tz.as_deref(), task.next_ms),
            action: Action::of(&spec.action),
            next: task.next_ms.map(rfc3339),
            last: task.last.as_deref().map(Last::of),
            running: task.running.iter().map(|n| format!("{}/{n}", spec.name)).collect(),
            held: task.held.as_deref(),
            description: spec.description.as_deref(),
            labels: &spec.labels,
            paused: task.paused.as_deref().map(Paused::of),
        }
    }
}

/// A task in `show`: all of `list`, and more.
#[derive(Debug, Serialize)]
pub struct Detail<'a> {
    #[serde(flatten)]
    task: Task<'a>,
    cwd: Option<&'a str>,
    env: &'a [EnvVar],
    created_at: String,
    changed_at: String,
    upcoming: Vec<String>,
    mark: Option<String>,
    runs: u64,
    passed: Vec<PassedSpan<'a>>,
    warnings: &'a [String],
    misfire: MisfireSpec,
    misfire_within_ms: Option<u64>,
    dst_gap: DstGap,
    dst_overlap: DstOverlap,
    also: Vec<Schedule<'a>>,
    jitter_ms: u64,
    start: Option<&'a str>,
    end: Option<&'a str>,
    count: Option<u64>,
    calendars: &'a [CalendarUse],
    timeout_ms: Option<u64>,
    deadline_ms: Option<u64>,
    grace_ms: Option<u64>,
    kill_signal: Option<&'a str>,
    retries: u32,
    backoff: Option<BackoffSpec>,
    retry_on: Option<&'a [String]>,
    success_codes: Option<&'a [u32]>,
    concurrency: &'a str,
    group: Option<&'a str>,
    priority: i16,
    locks: &'a [String],
    on_leftover: OnLeftover,
    process: &'a ProcessSpec,
    output_max: Option<u64>,
    keep_runs: Option<u64>,
    keep_for_ms: Option<u64>,
    output: OutputKind,
    mask: &'a [String],
    upstreams: Vec<Upstream<'a>>,
    downstream: &'a [String],
    gates: &'a GatesSpec,
    requires: Vec<Required<'a>>,
    required_by: &'a [String],
}

impl<'a> Detail<'a> {
    /// Of what the daemon tells.
    pub fn of(detail: &'a TaskDetail) -> Self {
        Detail {
            task: Task::of(&detail.summary),
            cwd: detail.summary.spec.cwd.as_deref(),
            env: &detail.summary.spec.env,
            created_at: rfc3339(detail.created_ms),
            changed_at: rfc3339(detail.changed_ms),
            upcoming: detail.next_ms.iter().copied().map(rfc3339).collect(),
            mark: detail.mark_ms.map(rfc3339),
            runs: detail.runs,
            passed: detail.passed.iter().map(|passed| PassedSpan::of(passed)).collect(),
            warnings: &detail.warnings,
            misfire: detail.summary.spec.misfire,
            misfire_within_ms: detail.summary.spec.misfire_within_ms,
            dst_gap: detail.summary.spec.dst_gap,
            dst_overlap: detail.summary.spec.dst_overlap,
            also: detail
                .summary
                .spec
                .also
                .iter()
                .map(|spec| Schedule::of(spec, None, None))
                .collect(),
            jitter_ms: detail.summary.spec.jitter_ms,
            start: detail.summary.spec.start.as_deref(),
            end: detail.summary.spec.end.as_deref(),
            count: detail.summary.spec.count,
            calendars: &detail.summary.spec.calendars,
            timeout_ms: detail.summary.spec.timeout_ms,
            deadline_ms: detail.summary.spec.deadline_ms,
            grace_ms: detail.summary.spec.grace_ms,
            kill_signal: detail.summary.spec.kill_signal.as_deref(),
            retries: detail.summary.spec.retries,
            backoff: detail.summary.spec.backoff,
            retry_on: detail.summary.spec.retry_on.as_deref(),
            success_codes: detail.summary.spec.success_codes.as_deref(),
            concurrency: detail.summary.spec.concurrency.as_deref().unwrap_or("forbid"),
            group: detail.summary.spec.group.as_deref(),
            priority: detail.summary.spec.priority,
            locks: &detail.summary.spec.locks,
            on_leftover: detail.summary.spec.on_leftover,
            process: &detail.summary.spec.process,
            output_max: detail.summary.spec.output_max,
            keep_runs: detail.summary.spec.keep_runs,
            keep_for_ms: detail.summary.spec.keep_for_ms,
            output: detail.summary.spec.output,
            mask: &detail.summary.spec.mask,
            upstreams: detail.upstreams.iter().map(|upstream| Upstream::of(upstream)).collect(),
            downstream: &detail.downstream,
            gates: &detail.summary.spec.gates,
            requires: Required::all(&detail.requires.0),
            required_by: &detail.required_by.0,
        }
    }
}

/// Fire times that passed without a run.
#[derive(Debug, Serialize)]
pub struct PassedSpan<'a> {
    outcome: &'a str,
    first: String,
    last: String,
    count: u64,
    reason: &'a str,
}

impl<'a> PassedSpan<'a> {
    fn of(passed: &'a Passed) -> Self {
        PassedSpan {
            outcome: &passed.outcome,
            first: rfc3339(passed.first_ms),
            last: rfc3339(passed.last_ms),
            count: passed.count,
            reason: &passed.reason,
        }
    }
}

/// The answer to `add` and `edit`.
#[derive(Debug, Serialize)]
pub struct Added<'a> {
    name: &'a str,
    id: u64,
    next: Vec<String>,
    tz: Option<&'a str>,
    warnings: &'a [String],
}

impl<'a> Added<'a> {
    /// Of what the daemon tells.
    pub fn of(accepted: &'a Accepted) -> Self {
        Added {
            name: &accepted.name,
            id: accepted.id,
            next: accepted.next_ms.iter().copied().map(rfc3339).collect(),
            tz: accepted.tz.as_deref(),
            warnings: &accepted.warnings,
        }
    }
}

/// A run in `runs`.
#[derive(Debug, Serialize)]
pub struct Run<'a> {
    run: &'a str,
    task: &'a str,
    trigger: &'a str,
    fire_time: Option<String>,
    started_at: Option<String>,
    finished_at: Option<String>,
    state: &'a str,
    outcome: Option<&'a str>,
    exit_code: Option<i32>,
    signal: Option<i32>,
    attempts: u32,
    trace_id: &'a str,
    duration_ms: Option<u64>,
    lateness_ms: Option<i64>,
    reason: Option<&'a str>,
    retry_at: Option<String>,
    waits_for: Option<&'a str>,
    created_at: String,
    pid: Option<u32>,
    max_rss_kib: Option<u64>,
    user_us: Option<u64>,
    system_us: Option<u64>,
    output_bytes: Option<u64>,
    memory_peak_kib: Option<u64>,
    read_bytes: Option<u64>,
    written_bytes: Option<u64>,
    peak_pids: Option<u64>,
    /// Attempts that were followed by another; `null` where runs were not asked for by their names.
    earlier_attempts: Option<Vec<EarlierAttempt<'a>>>,
    triggered_by: Option<&'a str>,
    /// What it was given beside what its task says.
    overrides: Option<Overridden<'a>>,
    /// Until when it waits for its gate.
    gate_until: Option<String>,
}

impl<'a> Run<'a> {
    /// Of what the daemon tells.
    pub fn of(run: &'a RunInfo) -> Self {
        Run {
            run: &run.run,
            task: &run.task,
            trigger: &run.trigger,
            fire_time: run.fire_time_ms.map(rfc3339),
            started_at: run.started_ms.map(rfc3339),
            finished_at: run.finished_ms.map(rfc3339),
            state: &run.state,
            outcome: run.outcome.as_deref(),
            exit_code: run.exit_code,
            signal: run.signal,
            attempts: run.attempts,
            trace_id: &run.trace_id,
            duration_ms: run.duration_ms,
            lateness_ms: run.lateness_ms,
            reason: run.reason.as_deref(),
            retry_at: run.retry_ms.map(rfc3339),
            waits_for: run.waits_for.as_deref(),
            created_at: rfc3339(run.created_ms),
            pid: run.pid,
            max_rss_kib: run.max_rss_kib,
            user_us: run.user_us,
            system_us: run.system_us,
            output_bytes: run.output_bytes,
            memory_peak_kib: run.memory_peak_kib,
            read_bytes: run.read_bytes,
            written_bytes: run.written_bytes,
            peak_pids: run.peak_pids,
            earlier_attempts: (!run.earlier.is_empty() || run.attempts <= 1)
                .then(|| run.earlier.iter().map(|attempt| EarlierAttempt::of(attempt)).collect()),
            triggered_by: run.triggered_by.as_deref(),
            overrides: run.overrides.0.as_deref().map(Overridden::of),
            gate_until: run.gate_until_ms.0.map(rfc3339),
        }
    }
}

/// A run that was started.
#[derive(Debug, Serialize)]
pub struct Started<'a> {
    run: &'a str,
    trace_id: &'a str,
    /// `null` where it has begun.
    waits_for: Option<&'a str>,
}

impl<'a> Started<'a> {
    /// Of what the daemon tells.
    pub fn of(run: &'a RunRef) -> Self {
        Started {
            run: &run.run,
            trace_id: &run.trace_id,
            waits_for: run.waits_for.0.as_deref(),
        }
    }
}

/// A coming fire time in `next`.
#[derive(Debug, Serialize)]
pub struct Next<'a> {
    /// The task; none for an expression.
    pub task: Option<&'a str>,
    /// The instant, UTC.
    pub at: String,
    /// The same in the schedule's zone.
    pub local: String,
    /// What is special about it.
    pub note: Option<String>,
}

/// A day in `next --month`.
#[derive(Debug, Serialize)]
pub struct Day {
    /// The day, in the zone that is shown.
    pub day: String,
    /// How many fire times it has.
    pub count: u64,
    /// The first, with the offset of the zone.
    pub first: Option<String>,
    /// The last.
    pub last: Option<String>,
    /// What changes of the clock do on it.
    pub note: Option<String>,
}

/// The answer to `next --timeline`.
#[derive(Debug, Serialize)]
pub struct Timeline<'a> {
    /// The day.
    pub day: String,
    /// The zone whose day it is; none where the reader's has no name.
    pub zone: Option<&'a str>,
    /// Its hours as clocks show them.
    pub hours: Vec<Hour>,
    /// Its most crowded minutes, and those in which tasks fire together.
    pub minutes: Vec<Minute<'a>>,
    /// What changes of the clock do on it.
    pub note: Option<String>,
}

/// An hour of a day.
#[derive(Debug, Serialize)]
pub struct Hour {
    /// 0 to 23; one that clocks show twice is there twice.
    pub hour: i8,
    /// How many fire times it has.
    pub count: u64,
    /// When it begins.
    pub at: String,
}

/// A minute of a day.
#[derive(Debug, Serialize)]
pub struct Minute<'a> {
    /// When it begins.
    pub at: String,
    /// How many fire times it has.
    pub count: u64,
    /// The first few tasks that fire in it.
    pub tasks: &'a [String],
    /// How many more tasks do.
    pub more: u64,
}

/// A finding in `lint`.
#[derive(Debug, Serialize)]
pub struct Finding<'a> {
    task: Option<&'a str>,
    code: &'a str,
    message: &'a str,
    suggestion: Option<&'a str>,
}

impl<'a> Finding<'a> {
    /// Of a task; none for an expression.
    pub fn of(task: Option<&'a str>, finding: &'a wire::Finding) -> Self {
        Finding {
            task,
            code: &finding.code,
            message: &finding.message,
            suggestion: finding.suggestion.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests;
