//! What is said to runners and by them: from the core's terms to those of the wire, and back.

use std::num::NonZeroU64;
use std::time::Duration;

use rustix::process::Signal;
use taskd_core::Timestamp;
use taskd_core::event::{Begun, Live, Origin};
use taskd_core::gates::ONLY_IF_WITHIN;
use taskd_core::overrides::Overrides;
use taskd_core::policy::{Leftover, StopSignal, TimeLimits};
use taskd_core::process::{IoClass, IoPriority, Process, Stdin};
use taskd_core::run::{AttemptEnd, AttemptKey, Exit, RunKey, Stopped, TraceId, Trigger, Usage};
use taskd_core::task::{Action, Definition, TaskId, TaskName};
use taskd_wire::codec::{Rec, Tail};
use taskd_wire::definition::{ActionSpec, EnvVar};
use taskd_wire::runner::{self as wire, End, TimeUp};

use crate::config::Config;
use crate::describe;

pub(super) fn wire_key(key: AttemptKey) -> wire::AttemptKey {
    wire::AttemptKey {
        task: key.run.task.0,
        run: key.run.n,
        attempt: key.attempt,
    }
}

pub(super) fn core_key(key: wire::AttemptKey) -> AttemptKey {
    AttemptKey {
        run: RunKey {
            task: TaskId(key.task),
            n: key.run,
        },
        attempt: key.attempt,
    }
}

pub(super) fn wire_start(
    origin: &Origin,
    deadline: Option<Duration>,
    definition: &Definition,
    overrides: Option<&Overrides>,
    config: &Config,
) -> wire::Start {
    let action = overrides.map_or_else(
        || definition.action.clone(),
        |overrides| overrides.action(&definition.action),
    );
    let env = overrides.map_or_else(|| definition.env.clone(), |overrides| overrides.env(&definition.env));
    wire::Start {
        key: wire_key(origin.attempt),
        task: origin.name.to_string(),
        trigger: origin.trigger.word().to_owned(),
        fire_time_ms: origin.fire_time.map(Timestamp::as_millis),
        created_ms: origin.created_at.as_millis(),
        trace_id: origin.trace_id.0,
        action: match action {
            Action::Exec { argv } => ActionSpec::Exec { argv },
            Action::Shell { line } => ActionSpec::Shell { line },
        },
        cwd: definition.cwd.clone(),
        env: env.into_iter().map(|(name, value)| EnvVar { name, value }).collect(),
        output_max: definition
            .output
            .max_bytes
            .map_or(config.limits.output_bytes, NonZeroU64::get),
        limits: Tail(time_limits(&definition.policies.time, deadline, config.runner.grace)),
        leave: Tail(definition.policies.leftover == Leftover::Leave),
        process: Tail(Rec(process(&definition.process))),
        previous_outcome: Tail(None),
        output: Tail(describe::output_kind(definition.output.kind)),
        masks: Tail(definition.output.mask.clone()),
        gates: Tail(None),
    }
}

/// What is to be looked at before a run starts: that of its first attempt alone.
pub(super) fn gates(origin: &Origin, definition: &Definition, overrides: Option<&Overrides>) -> Option<wire::Gates> {
    let skips = overrides.is_some_and(|overrides| overrides.skip_gates);
    if skips || origin.attempt.attempt > 1 || definition.gates.none() {
        return None;
    }
    Some(wire::Gates {
        only_if: definition.gates.only_if.clone(),
        within_ms: u64::try_from(ONLY_IF_WITHIN.as_millis()).unwrap_or(u64::MAX),
        max_load: definition.gates.max_load,
        min_memory: definition.gates.min_memory.map(NonZeroU64::get),
        on_ac_power: definition.gates.on_ac_power,
    })
}

fn process(process: &Process) -> wire::Process {
    wire::Process {
        umask: process.umask,
        nice: process.nice,
        ioprio: process.io.map(io_priority),
        oom_score_adjust: process.oom_score_adjust,
        limits: process
            .limits
            .iter()
            .map(|limit| wire::ResourceLimit {
                name: limit.resource.word().to_owned(),
                soft: limit.soft,
                hard: limit.hard,
            })
            .collect(),
        no_new_privileges: process.no_new_privileges,
        clear_env: process.clear_env,
        private_tmp: process.private_tmp,
        user: Tail(process.user.clone()),
        caps: Tail(Rec(wire::Caps {
            memory_bytes: process.caps.memory,
            cpu_percent: process.caps.cpu,
            pids: process.caps.pids,
        })),
        env_files: process
            .env_files
            .iter()
            .map(|file| wire::EnvFile {
                path: file.path.clone(),
                optional: file.optional,
            })
            .collect(),
        stdin: process.stdin.as_ref().map(|stdin| match stdin {
            Stdin::Text { text } => wire::Stdin::Text(text.clone()),
            Stdin::File { path } => wire::Stdin::File(path.clone()),
        }),
    }
}

/// As `ioprio_set` takes it: the class above 13 bits of level.
fn io_priority(io: IoPriority) -> i32 {
    let class = match io.class {
        IoClass::Realtime => 1,
        IoClass::BestEffort => 2,
        IoClass::Idle => 3,
    };
    class << 13 | i32::from(io.level)
}

fn time_limits(limits: &TimeLimits, deadline: Option<Duration>, grace: Duration) -> wire::TimeLimits {
    let millis = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    wire::TimeLimits {
        timeout_ms: limits.timeout_ms.map(NonZeroU64::get),
        deadline_ms: deadline.map(millis),
        grace_ms: millis(limits.grace().unwrap_or(grace)),
        signal: signal_number(limits.signal),
    }
}

/// The number of a signal on this machine.
fn signal_number(signal: StopSignal) -> i32 {
    match signal {
        StopSignal::Hup => Signal::HUP,
        StopSignal::Int => Signal::INT,
        StopSignal::Quit => Signal::QUIT,
        StopSignal::Abrt => Signal::ABORT,
        StopSignal::Usr1 => Signal::USR1,
        StopSignal::Usr2 => Signal::USR2,
        StopSignal::Alrm => Signal::ALARM,
        StopSignal::Term => Signal::TERM,
        StopSignal::Winch => Signal::WINCH,
    }
    .as_raw()
}

/// `None`, said in the log, when a runner of another version names a trigger or task this daemon cannot know.
fn core_origin(origin: wire::Origin) -> Option<Origin> {
    let known = TaskName::parse(&origin.task)
        .ok()
        .zip(Trigger::from_word(&origin.trigger));
    let Some((name, trigger)) = known else {
        tracing::error!(
            task = origin.task,
            trigger = origin.trigger,
            "the runner names a run that cannot be"
        );
        return None;
    };
    Some(Origin {
        attempt: core_key(origin.key),
        name,
        trigger,
        fire_time: origin.fire_time_ms.map(Timestamp::from_millis),
        created_at: Timestamp::from_millis(origin.created_ms),
        trace_id: TraceId(origin.trace_id),
    })
}

pub(super) fn core_live(live: wire::Live) -> Option<Live> {
    Some(Live {
        origin: core_origin(live.origin)?,
        pid: live.pid,
        started_at: Timestamp::from_millis(live.started_ms),
        stopping: live.stopping,
    })
}

/// Nothing where its trigger is not known.
pub(super) fn core_begun(origin: wire::Origin) -> Option<Begun> {
    Some(Begun {
        attempt: core_key(origin.key),
        trigger: Trigger::from_word(&origin.trigger)?,
        fire_time: origin.fire_time_ms.map(Timestamp::from_millis),
        created_at: Timestamp::from_millis(origin.created_ms),
        trace_id: TraceId(origin.trace_id),
    })
}

pub(super) fn core_ended(ended: wire::Ended) -> Option<(Origin, AttemptEnd)> {
    let end = AttemptEnd {
        started_at: Timestamp::from_millis(ended.started_ms),
        pid: ended.pid,
        finished_at: Timestamp::from_millis(ended.finished_ms),
        exit: match (ended.gate.0, ended.end) {
            (Some(reading), _) => Exit::GateClosed { reading },
            (None, End::Exited(code)) => Exit::Code(code),
            (None, End::Signalled(signal)) => match ended.over_memory.0 {
                Some(cap) => Exit::OverMemory { cap },
                None => Exit::Signal(signal),
            },
            (None, End::SpawnFailed { errno, what }) => Exit::SpawnFailed { errno, what },
        },
        stopped: match ended.time_up.0 {
            Some(TimeUp::Timeout) => Some(Stopped::Timeout),
            Some(TimeUp::Deadline) => Some(Stopped::Deadline),
            None => ended.stopped.then_some(Stopped::Asked),
        },
        usage: Usage {
            max_rss_kib: ended.max_rss_kib,
            user_us: ended.user_us,
            system_us: ended.system_us,
            output_bytes: ended.output_bytes,
            output_lost: ended.output_lost,
            output_kept: ended.output_kept.0,
            memory_peak_kib: ended.counted.0.memory_peak_kib,
            read_bytes: ended.counted.0.read_bytes,
            written_bytes: ended.counted.0.written_bytes,
            peak_pids: ended.counted.0.peak_pids,
        },
    };
    Some((core_origin(ended.origin)?, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_can_keep_every_trigger_for_the_next_life() {
        for trigger in Trigger::ALL {
            assert!(wire::TRIGGERS.contains(&trigger.word()), "{}", trigger.word());
            let origin = wire::Origin {
                trigger: trigger.word().to_owned(),
                ..wire::Origin::default()
            };
            assert_eq!(core_begun(origin).map(|begun| begun.trigger), Some(*trigger));
        }
        assert_eq!(core_begun(wire::Origin::default()), None, "one that it could not keep");
    }
}
