//! What the store and the core hold, in the words of the wire.

use std::num::NonZeroU64;

use taskd_core::Timestamp;
use taskd_core::calendar::Keep;
use taskd_core::dependency::Cause;
use taskd_core::event::Origin;
use taskd_core::gates::{format_load, format_size};
use taskd_core::pause::{Pause, PauseScope};
use taskd_core::policy::{Backoff, Codes, Concurrency, Leftover, Misfire, OutputKind, Policies, RetryOn, StopSignal};
use taskd_core::process::Process;
use taskd_core::process::caps::{cpu_text, memory_text};
use taskd_core::run::Outcome;
use taskd_core::schedule::{Gap, Overlap};
use taskd_core::scheduler::{RunView, WaitsFor};
use taskd_core::task::{Action, Definition, TaskName, Terms, When};
use taskd_store::{AttemptRow, Overridden, RunRow, Span};
use taskd_wire::client::{self, AttemptInfo, RunInfo};
use taskd_wire::codec::{Rec, Tail};
use taskd_wire::definition::{
    self, ActionSpec, BackoffSpec, CalendarKeep, CalendarUse, DstGap, DstOverlap, EnvVar, GatesSpec, MisfireSpec,
    OnLeftover, ProcessSpec, ScheduleSpec, TaskSpec,
};

/// A definition as it may be said again: importing it gives the same task.
pub(crate) fn spec(definition: Definition) -> TaskSpec {
    let dst = definition.when.parts().iter().find_map(|part| match part {
        When::Cron { dst, .. } => Some(*dst),
        When::Manual | When::Every { .. } | When::At { .. } | When::Boot | When::After(_) | When::Termed(_) => None,
    });
    let dst = dst.unwrap_or_default();
    let terms = match &definition.when {
        When::Termed(terms) => Some(Terms::clone(terms)),
        When::Manual | When::Cron { .. } | When::Every { .. } | When::At { .. } | When::Boot | When::After(_) => None,
    };
    let mut parts = definition.when.parts().iter().map(schedule);
    let first = parts.next().unwrap_or_default();
    let also = parts.map(Rec).collect();
    let (misfire, misfire_within_ms) = misfire(definition.policies.misfire);
    let Policies {
        concurrency,
        misfire: _,
        time,
        retry,
        success,
        leftover,
        gate_wait_ms,
    } = definition.policies;
    let (backoff, on) = (retry.backoff, retry.on);
    TaskSpec {
        name: definition.name.to_string(),
        schedule: first,
        also,
        jitter_ms: terms.as_ref().map_or(0, |terms| terms.jitter_ms),
        start: terms.as_ref().and_then(|terms| terms.start).map(|at| at.to_string()),
        end: terms.as_ref().and_then(|terms| terms.end).map(|at| at.to_string()),
        calendars: terms
            .as_ref()
            .map_or(&[][..], |terms| &terms.calendars)
            .iter()
            .map(|used| CalendarUse {
                name: used.name.to_string(),
                keep: match used.keep {
                    Keep::Exclude => CalendarKeep::Exclude,
                    Keep::Only => CalendarKeep::Only,
                    Keep::Next => CalendarKeep::Next,
                    Keep::Previous => CalendarKeep::Previous,
                },
            })
            .collect(),
        count: terms.as_ref().and_then(|terms| terms.count).map(NonZeroU64::get),
        action: match definition.action {
            Action::Exec { argv } => ActionSpec::Exec { argv },
            Action::Shell { line } => ActionSpec::Shell { line },
        },
        cwd: definition.cwd,
        env: definition
            .env
            .into_iter()
            .map(|(name, value)| EnvVar { name, value })
            .collect(),
        description: definition.description,
        labels: definition.labels.iter().map(ToString::to_string).collect(),
        timeout_ms: time.timeout_ms.map(NonZeroU64::get),
        deadline_ms: time.deadline_ms.map(NonZeroU64::get),
        grace_ms: time.grace_ms,
        kill_signal: (time.signal != StopSignal::default()).then(|| time.signal.word().to_owned()),
        retries: definition.policies.retry.times,
        backoff: (backoff != Backoff::default()).then_some(BackoffSpec {
            initial_ms: backoff.initial_ms.get(),
            max_ms: backoff.max_ms.get(),
            factor_percent: backoff.factor_percent,
            jitter: backoff.jitter,
        }),
        retry_on: (on != RetryOn::default()).then(|| retry_on(&on)),
        concurrency: (concurrency != Concurrency::default()).then(|| concurrency.to_string()),
        group: definition.sharing.group.as_ref().map(ToString::to_string),
        priority: definition.sharing.priority,
        locks: definition.sharing.locks.iter().map(ToString::to_string).collect(),
        output: output_kind(definition.output.kind),
        mask: definition.output.mask,
        output_max: definition.output.max_bytes.map(NonZeroU64::get),
        keep_runs: definition.history.runs.map(NonZeroU64::get),
        keep_for_ms: definition.history.for_ms.map(NonZeroU64::get),
        success_codes: (success != Codes::SUCCESS).then(|| success.iter().map(u32::from).collect()),
        on_leftover: match leftover {
            Leftover::Kill => OnLeftover::Kill,
            Leftover::Leave => OnLeftover::Leave,
        },
        process: Rec(process(&definition.process)),
        gates: Rec(GatesSpec {
            only_if: definition.gates.only_if,
            max_load: definition.gates.max_load.map(format_load),
            min_memory: definition.gates.min_memory.map(format_size),
            on_ac_power: definition.gates.on_ac_power,
            gate_wait_ms: gate_wait_ms.map(NonZeroU64::get),
        }),
        requires: Tail(definition.when.requires().iter().map(ToString::to_string).collect()),
        enabled: definition.enabled,
        misfire,
        misfire_within_ms,
        dst_gap: match dst.gap {
            Gap::Auto => DstGap::Auto,
            Gap::Run => DstGap::Run,
            Gap::Skip => DstGap::Skip,
        },
        dst_overlap: match dst.overlap {
            Overlap::Auto => DstOverlap::Auto,
            Overlap::First => DstOverlap::First,
            Overlap::Second => DstOverlap::Second,
            Overlap::Both => DstOverlap::Both,
        },
    }
}

/// What its processes are given, as it may be said again.
fn process(process: &Process) -> ProcessSpec {
    ProcessSpec {
        umask: process.umask.map(|mask| format!("{mask:03o}")),
        nice: process.nice,
        ionice: process.io.map(|io| io.to_string()),
        oom_score_adjust: process.oom_score_adjust,
        limits: process.limits.iter().map(ToString::to_string).collect(),
        no_new_privileges: process.no_new_privileges,
        clear_env: process.clear_env,
        env_files: process.env_files.iter().map(ToString::to_string).collect(),
        stdin: process.stdin.as_ref().map(ToString::to_string),
        private_tmp: process.private_tmp,
        user: Tail(process.user.clone()),
        memory_max: Tail(process.caps.memory.map(memory_text)),
        cpu_max: Tail(process.caps.cpu.map(cpu_text)),
        pids_max: Tail(process.caps.pids),
    }
}

/// One schedule as it may be said again.
fn schedule(when: &When) -> ScheduleSpec {
    match when {
        // Terms do not stand within terms.
        When::Manual | When::Termed(_) => ScheduleSpec::Manual,
        When::Cron { expr, tz, dst: _ } => ScheduleSpec::Cron {
            expr: expr.clone(),
            tz: Some(tz.clone()),
        },
        When::Every { interval_ms, anchor } => ScheduleSpec::Every {
            interval_ms: *interval_ms,
            anchor_ms: Some(anchor.as_millis()),
        },
        When::At { at, text: _, tz } => ScheduleSpec::At {
            at: at.to_string(),
            tz: tz.clone(),
        },
        When::Boot => ScheduleSpec::Boot,
        When::After(upstreams) => ScheduleSpec::After {
            of: upstreams.of.iter().map(ToString::to_string).collect(),
            any: upstreams.any,
        },
    }
}

/// The other way round: what was said of skipped local times.
pub(crate) fn gap(said: DstGap) -> Gap {
    match said {
        DstGap::Auto => Gap::Auto,
        DstGap::Run => Gap::Run,
        DstGap::Skip => Gap::Skip,
    }
}

/// The other way round: what was said of repeated local times.
pub(crate) fn overlap(said: DstOverlap) -> Overlap {
    match said {
        DstOverlap::Auto => Overlap::Auto,
        DstOverlap::First => Overlap::First,
        DstOverlap::Second => Overlap::Second,
        DstOverlap::Both => Overlap::Both,
    }
}

/// Who writes the output of runs.
pub(crate) fn output_kind(kind: OutputKind) -> definition::OutputKind {
    match kind {
        OutputKind::Lines => definition::OutputKind::Lines,
        OutputKind::File => definition::OutputKind::File,
        OutputKind::Discard => definition::OutputKind::Discard,
    }
}

/// After what another attempt follows, in words.
fn retry_on(on: &RetryOn) -> Vec<String> {
    let words = [
        (on.failed, "failed"),
        (on.timed_out, "timed-out"),
        (on.spawn_failed, "spawn-failed"),
        (on.unknown, "unknown"),
    ];
    let words = words.into_iter().filter(|(is, _)| *is).map(|(_, word)| word.to_owned());
    words
        .chain(on.codes.iter().map(|code| format!("exit:{code}")))
        .collect()
}

/// What a run waits for, in words.
pub(crate) fn waits(task: &TaskName, waits_for: &WaitsFor) -> String {
    match waits_for {
        WaitsFor::Run(ahead) => format!("run {task}/{}", ahead.n),
        WaitsFor::Gate { reading } => format!("its gate: {reading}"),
        WaitsFor::Place { limit } => format!("a place among all runs, of which {limit} may go at once"),
        WaitsFor::Room { pool, limit } => {
            let limit = limit.map_or_else(String::new, |limit| format!(", which holds {limit}"));
            format!("{pool}{limit}")
        }
    }
}

/// What becomes of missed fire times, and within how many milliseconds.
pub(crate) fn misfire(policy: Misfire) -> (MisfireSpec, Option<u64>) {
    match policy {
        Misfire::Skip => (MisfireSpec::Skip, None),
        Misfire::Once { within_ms } => (MisfireSpec::Once, Some(within_ms.get())),
        Misfire::All { within_ms } => (MisfireSpec::All, within_ms.map(NonZeroU64::get)),
    }
}

/// A pause that is not over.
pub(crate) fn pause(scope: PauseScope, pause: &Pause) -> client::Pause {
    client::Pause {
        all: scope == PauseScope::All,
        since_ms: pause.since.as_millis(),
        until_ms: pause.until.map(Timestamp::as_millis),
        by: pause.by.clone(),
        note: pause.note.clone(),
    }
}

/// Fire times that passed without a run.
pub(crate) fn passed(span: Span) -> client::Passed {
    client::Passed {
        outcome: span.passing.word().to_owned(),
        first_ms: span.first.as_millis(),
        last_ms: span.last.as_millis(),
        count: span.count,
        reason: span.reason,
    }
}

/// About how many bytes a definition has in a message: a little more than that.
pub(crate) fn spec_bytes(spec: &TaskSpec) -> usize {
    taskd_wire::codec::encoded_len(spec) + 16
}

/// What is known of a run in progress.
#[derive(Clone)]
pub(crate) struct LiveRun {
    origin: Origin,
    state: &'static str,
    pid: Option<u32>,
    started_at: Option<Timestamp>,
    retry_at: Option<Timestamp>,
    gate_until: Option<Timestamp>,
    waits_for: Option<WaitsFor>,
    cause: Option<Cause>,
}

impl LiveRun {
    /// How many attempts have begun.
    fn attempts(&self) -> u32 {
        let at = self.origin.attempt.attempt;
        // The one it is at has a process, or is being given one.
        let has_begun = self.pid.is_some() || at == 1 && self.started_at.is_some();
        if has_begun { at } else { at - 1 }
    }

    /// The fire time it is for.
    pub(crate) fn fire_time(&self) -> Option<Timestamp> {
        self.origin.fire_time
    }

    /// Of the core's view.
    pub(crate) fn of(view: &RunView<'_>) -> Self {
        LiveRun {
            origin: view.origin.clone(),
            state: view.state,
            pid: view.pid,
            started_at: view.started_at,
            retry_at: view.retry_at,
            gate_until: view.gate_until,
            waits_for: view.waits_for.clone(),
            cause: view.cause.cloned(),
        }
    }
}

/// A run as its row tells, with what is live where it has not ended.
pub(crate) fn run(row: RunRow, live: Option<LiveRun>) -> RunInfo {
    let mut info = RunInfo {
        run: format!("{}/{}", row.name, row.key.n),
        task: row.name.to_string(),
        trigger: row.trigger.word().to_owned(),
        fire_time_ms: row.fire_time.map(Timestamp::as_millis),
        created_ms: row.created_at.as_millis(),
        started_ms: row.started_at.map(Timestamp::as_millis),
        finished_ms: row.finished_at.map(Timestamp::as_millis),
        state: row.state.word().to_owned(),
        outcome: row.outcome.map(|outcome| outcome.word().to_owned()),
        exit_code: row.exit_code,
        signal: row.signal,
        attempts: row.attempt,
        retry_ms: row.retry_at.map(Timestamp::as_millis),
        trace_id: row.trace_id.to_string(),
        reason: row.reason,
        waits_for: None,
        pid: None,
        max_rss_kib: row.usage.map(|usage| usage.max_rss_kib),
        user_us: row.usage.map(|usage| usage.user_us),
        system_us: row.usage.map(|usage| usage.system_us),
        output_bytes: row.usage.map(|usage| usage.output_bytes),
        memory_peak_kib: row.usage.and_then(|usage| usage.memory_peak_kib),
        read_bytes: row.usage.and_then(|usage| usage.read_bytes),
        written_bytes: row.usage.and_then(|usage| usage.written_bytes),
        peak_pids: row.usage.and_then(|usage| usage.peak_pids),
        earlier: Vec::new(),
        triggered_by: row.cause.map(|cause| cause.to_string()),
        overrides: Tail(row.overrides.map(overridden).map(Rec)),
        gate_until_ms: Tail(None),
        duration_ms: None,
        lateness_ms: None,
    };
    if row.finished_at.is_none()
        && let Some(live) = live
    {
        info.state = live.state.to_owned();
        info.pid = live.pid;
        info.started_ms = live.started_at.map(Timestamp::as_millis).or(info.started_ms);
        info.attempts = info.attempts.max(live.attempts());
        info.retry_ms = live.retry_at.map(Timestamp::as_millis);
        info.gate_until_ms = Tail(live.gate_until.map(Timestamp::as_millis));
        info.waits_for = live.waits_for.map(|waits_for| waits(&live.origin.name, &waits_for));
    }
    with_lengths(info)
}

/// Most bytes of names of variables that are told of a run: a page of runs fits a frame.
const NAMES_TOLD: usize = 512;

/// What a run was given, without values.
fn overridden(overrides: Overridden) -> client::Overridden {
    let mut told = client::Overridden {
        args: overrides.arguments() as u64,
        skip_gates: overrides.skip_gates,
        ..client::Overridden::default()
    };
    let mut bytes = 0;
    for name in overrides.names() {
        bytes += name.len();
        if bytes <= NAMES_TOLD {
            told.env.push(name.to_owned());
        } else {
            told.more_env += 1;
        }
    }
    told
}

/// An attempt that was followed by another.
pub(crate) fn attempt(row: AttemptRow) -> AttemptInfo {
    AttemptInfo {
        attempt: row.attempt,
        started_ms: row.started_at.map(Timestamp::as_millis),
        finished_ms: row.finished_at.as_millis(),
        outcome: row.outcome.word().to_owned(),
        reason: row.reason,
        exit_code: row.exit_code,
        signal: row.signal,
        pid: row.pid,
        max_rss_kib: row.usage.map(|usage| usage.max_rss_kib),
        memory_peak_kib: row.usage.and_then(|usage| usage.memory_peak_kib),
        user_us: row.usage.map(|usage| usage.user_us),
        system_us: row.usage.map(|usage| usage.system_us),
        read_bytes: row.usage.and_then(|usage| usage.read_bytes),
        written_bytes: row.usage.and_then(|usage| usage.written_bytes),
        peak_pids: row.usage.and_then(|usage| usage.peak_pids),
        output_bytes: row.usage.map(|usage| usage.output_bytes),
    }
}

/// A run whose record is not in the store yet.
pub(crate) fn unrecorded(live: LiveRun) -> RunInfo {
    let name = live.origin.name.to_string();
    with_lengths(RunInfo {
        run: format!("{name}/{}", live.origin.attempt.run.n),
        task: name,
        trigger: live.origin.trigger.word().to_owned(),
        fire_time_ms: live.origin.fire_time.map(Timestamp::as_millis),
        created_ms: live.origin.created_at.as_millis(),
        started_ms: live.started_at.map(Timestamp::as_millis),
        state: live.state.to_owned(),
        attempts: live.attempts(),
        retry_ms: live.retry_at.map(Timestamp::as_millis),
        gate_until_ms: Tail(live.gate_until.map(Timestamp::as_millis)),
        waits_for: live
            .waits_for
            .as_ref()
            .map(|waits_for| waits(&live.origin.name, waits_for)),
        trace_id: live.origin.trace_id.to_string(),
        pid: live.pid,
        triggered_by: live.cause.map(|cause| cause.to_string()),
        ..RunInfo::default()
    })
}

fn with_lengths(mut info: RunInfo) -> RunInfo {
    // When one whose fate is unknown ended is unknown as well: it was found missing at the time that is recorded.
    let known = info.outcome.as_deref() != Some(Outcome::Unknown.word());
    info.duration_ms = info
        .started_ms
        .zip(info.finished_ms)
        .filter(|_| known)
        .map(|(start, end)| u64::try_from(end - start).unwrap_or(0));
    info.lateness_ms = info.started_ms.zip(info.fire_time_ms).map(|(start, due)| start - due);
    info
}
