//! The engine's side of the runner: what it says becomes events, what the core wants of it becomes messages.

use std::num::NonZeroU64;
use std::time::Duration;

use rustix::process::Signal;
use taskd_core::Timestamp;
use taskd_core::event::{Event, Inventory, Live, Origin};
use taskd_core::policy::{Leftover, StopSignal, TimeLimits};
use taskd_core::process::{IoClass, IoPriority, Process, Stdin};
use taskd_core::run::{AttemptEnd, AttemptKey, Exit, Outcome, RunKey, Stopped, TraceId, Trigger, Usage};
use taskd_core::task::{Action, Definition, TaskId, TaskName};
use taskd_wire::codec::{Rec, Tail};
use taskd_wire::definition::{ActionSpec, EnvVar};
use taskd_wire::runner::{self as wire, End, FromRunner, TimeUp, ToRunner};

use super::Driver;
use super::link::{self, Attached, Link, LinkError, Started};
use super::stop::Stop;
use crate::clock;
use crate::config::Config;
use crate::describe;

/// The first wait before another try to attach.
pub(super) const PATIENCE_FIRST: Duration = Duration::from_millis(50);

/// The longest wait before another try to attach.
const PATIENCE_LAST: Duration = Duration::from_secs(5);

/// Bytes of messages after which they are sent without waiting for more.
const SEND_AT: usize = 32 * 1024;

/// Waits for the runner to say something; for ever without one.
pub(super) async fn said(link: &mut Option<Link>) -> Result<Vec<FromRunner>, LinkError> {
    match link {
        Some(link) => link.progress().await,
        None => std::future::pending().await,
    }
}

/// Waits until the next try to attach is to begin; for ever when none is.
pub(super) async fn attach_due(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Driver {
    /// Tries to attach to a runner, after a while.
    pub(super) fn attach_after(&mut self, wait: Duration) {
        self.attach_at = Some(tokio::time::Instant::from_std(clock::monotonic()) + wait);
    }

    /// Tries to attach to a runner.
    pub(super) fn attach(&mut self) {
        self.attach_at = None;
        self.attaches = true;
        let (place, attaching) = (self.place.clone(), self.attaching.clone());
        tokio::spawn(async move {
            // The engine may have ended; then nobody needs a runner, and one that was just started ends.
            let _ = attaching.send(link::attach(&place).await);
        });
    }

    pub(super) fn runner_attached(&mut self, result: Result<(Attached, Option<Started>), LinkError>) {
        self.attaches = false;
        match result {
            Ok((attached, started)) => {
                if let Some(started) = started {
                    self.reap_guard();
                    self.guard = Some(started.keep());
                }
                self.patience = PATIENCE_FIRST;
                let Attached {
                    link,
                    info,
                    live,
                    ended,
                } = attached;
                tracing::info!(
                    pid = info.pid,
                    version = info.version,
                    live = live.len(),
                    ended = ended.len(),
                    started = self.guard.is_some(),
                    "a runner is attached"
                );
                self.link = Some(link);
                self.condition.runner = Some((info.pid, info.version));
                self.condition.cgroups = info.cgroups.0;
                self.condition.can = info.can.0;
                let inventory = Inventory {
                    instance: info.instance,
                    live: live.into_iter().filter_map(core_live).collect(),
                    ended: ended.into_iter().filter_map(core_ended).collect(),
                };
                self.core.handle(clock::now(), Event::RunnerAttached(inventory));
                self.core.handle(clock::now(), Event::Tick);
                self.is_ready();
            }
            Err(error) => {
                if matches!(self.stop, Stop::No) {
                    tracing::warn!(error = %error, "no runner is attached");
                    let wait = self.patience;
                    self.patience = (wait * 2).min(PATIENCE_LAST);
                    self.attach_after(wait);
                }
            }
        }
    }

    pub(super) fn runner_said(&mut self, said: Result<Vec<FromRunner>, LinkError>) {
        let messages = match said {
            Ok(messages) => messages,
            Err(error) => return self.runner_lost(&error),
        };
        self.take_in(messages);
    }

    fn take_in(&mut self, messages: Vec<FromRunner>) {
        let now = clock::now();
        for message in messages {
            match message {
                FromRunner::Started { key, pid, at_ms } => self.core.handle(
                    now,
                    Event::Started {
                        attempt: core_key(key),
                        pid,
                        at: Timestamp::from_millis(at_ms),
                    },
                ),
                FromRunner::Ended(ended) => {
                    if let Some((origin, end)) = core_ended(ended.0) {
                        self.core.handle(now, Event::Ended { origin, end });
                    }
                }
                FromRunner::Used { at_us, used, is_last } => self.usage_said(at_us, used, is_last),
                FromRunner::InventoryEnd(info) if info.0.closing.0 => {
                    // It goes on telling of its runs until it is gone; what is due meanwhile waits for the next.
                    tracing::info!("the runner is about to end");
                    self.condition.runner = None;
                    self.condition.cgroups = None;
                    self.condition.can = 0;
                    self.core.handle(now, Event::RunnerLost);
                }
                FromRunner::Inventory { .. } | FromRunner::InventoryEnd(_) => {
                    tracing::warn!("the runner sent a second inventory, which is ignored");
                }
            }
        }
    }

    fn runner_lost(&mut self, error: &LinkError) {
        if let Some(link) = self.link.take() {
            self.take_in(link.last_words());
        }
        self.condition.runner = None;
        self.condition.cgroups = None;
        self.condition.can = 0;
        self.usage_lost();
        match self.stop {
            Stop::No => {
                tracing::warn!(error = %error, "the runner is gone");
                self.core.handle(clock::now(), Event::RunnerLost);
                self.attach_after(Duration::ZERO);
            }
            Stop::Settling { .. } | Stop::Draining { .. } | Stop::Ending { .. } => {
                self.core.handle(clock::now(), Event::RunnerLost);
                self.end();
            }
        }
        self.reap_guard();
    }

    /// Takes the exit status of a guard that has ended, so that no zombie stays.
    fn reap_guard(&mut self) {
        if let Some(guard) = self.guard.take() {
            // It ends within moments of its worker.
            link::reap(guard);
        }
    }

    /// Sends the runner a message, if there is one.
    pub(super) fn tell_runner(&mut self, message: &ToRunner) {
        let Some(link) = &mut self.link else { return };
        if let Err(error) = link.send(message) {
            self.runner_lost(&error);
        }
    }

    pub(super) fn flush_runner(&mut self) {
        let Some(link) = &mut self.link else { return };
        if let Err(error) = link.flush() {
            self.runner_lost(&error);
        }
    }

    /// Has the runner start an attempt.
    pub(super) fn start(&mut self, origin: Origin, deadline: Option<Duration>, previous: Option<Outcome>) {
        let definition = match self.startable(origin.attempt.run.task) {
            Ok(definition) => definition,
            Err(problem) => return self.cannot_start(origin, &problem),
        };
        let start = wire::Start {
            previous_outcome: Tail(previous.map(|outcome| outcome.word().to_owned())),
            ..wire_start(&origin, deadline, &definition, &self.config)
        };
        self.tell_runner(&ToRunner::Start(Box::new(Rec(start))));
        if self.link.as_ref().is_some_and(|link| link.waiting() >= SEND_AT) {
            self.flush_runner();
        }
    }
}

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

fn wire_start(origin: &Origin, deadline: Option<Duration>, definition: &Definition, config: &Config) -> wire::Start {
    wire::Start {
        key: wire_key(origin.attempt),
        task: origin.name.to_string(),
        trigger: origin.trigger.word().to_owned(),
        fire_time_ms: origin.fire_time.map(Timestamp::as_millis),
        created_ms: origin.created_at.as_millis(),
        trace_id: origin.trace_id.0,
        action: match &definition.action {
            Action::Exec { argv } => ActionSpec::Exec { argv: argv.clone() },
            Action::Shell { line } => ActionSpec::Shell { line: line.clone() },
        },
        cwd: definition.cwd.clone(),
        env: definition
            .env
            .iter()
            .map(|(name, value)| EnvVar {
                name: name.clone(),
                value: value.clone(),
            })
            .collect(),
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
    }
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

fn core_live(live: wire::Live) -> Option<Live> {
    Some(Live {
        origin: core_origin(live.origin)?,
        pid: live.pid,
        started_at: Timestamp::from_millis(live.started_ms),
        stopping: live.stopping,
    })
}

fn core_ended(ended: wire::Ended) -> Option<(Origin, AttemptEnd)> {
    let end = AttemptEnd {
        started_at: Timestamp::from_millis(ended.started_ms),
        pid: ended.pid,
        finished_at: Timestamp::from_millis(ended.finished_ms),
        exit: match ended.end {
            End::Exited(code) => Exit::Code(code),
            End::Signalled(signal) => match ended.over_memory.0 {
                Some(cap) => Exit::OverMemory { cap },
                None => Exit::Signal(signal),
            },
            End::SpawnFailed { errno, what } => Exit::SpawnFailed { errno, what },
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
            memory_peak_kib: ended.counted.0.memory_peak_kib,
            read_bytes: ended.counted.0.read_bytes,
            written_bytes: ended.counted.0.written_bytes,
            peak_pids: ended.counted.0.peak_pids,
        },
    };
    Some((core_origin(ended.origin)?, end))
}
