//! The attempts in progress, and how to find one: by number, key or process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use taskd_wire::codec::Tail;
use taskd_wire::definition::OutputKind;
use taskd_wire::runner as wire;
use taskd_wire::runner::{AttemptKey, End, Ended, Live, Origin, Start, TimeUp};

use crate::attempt::{Cause, GRACE_MAX, Limit, State};
use crate::cgroups::{Counted, Group};
use crate::output::{Output, Outputs, Raw, Stream};
use crate::pipes::Pipe;
use crate::sweep::{Family, Survivor};
use crate::sys::Reaped;
use crate::underway::{Before, Underway};

/// One attempt in progress.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) origin: Origin,
    pub(crate) state: State,
    /// Which of its time limits is the shorter one.
    up: TimeUp,
    /// Asks it to end.
    pub(crate) signal: Signal,
    /// Whether what is left when it ends by itself goes on.
    pub(crate) leave: bool,
    pub(crate) pid: Option<Pid>,
    pub(crate) started_ms: i64,
    pub(crate) finished_ms: i64,
    pub(crate) end: End,
    pub(crate) reaped: Reaped,
    pub(crate) stdout: Option<Pipe>,
    pub(crate) stderr: Option<Pipe>,
    /// Taken away when the process has ended, after the counts below were read from it.
    pub(crate) output: Option<Output>,
    /// The file that it writes itself, until the process has ended.
    pub(crate) raw: Option<Raw>,
    pub(crate) output_bytes: u64,
    pub(crate) output_lost: u64,
    /// Bytes it takes on disk, where that is known.
    pub(crate) output_kept: Option<u64>,
    /// Its control group, until it is over.
    pub(crate) group: Option<Arc<Group>>,
    /// What that has counted.
    pub(crate) counted: Counted,
    /// How what comes from it is known, once that was asked for.
    pub(crate) family: Option<Arc<Family>>,
    /// What came from it and lives, watched for its end.
    pub(crate) survivor: Option<Survivor>,
    /// When [`Event::Deadline`](crate::attempt::Event::Deadline) is due.
    pub(crate) deadline: Option<Instant>,
    /// Where it is said to have begun. Taken away where something may still come of it.
    pub(crate) slot: Option<usize>,
    /// While the process is that of the command of its gate: what comes then.
    pub(crate) gating: Option<Gating>,
    /// What was read of the gate that kept it from being started.
    pub(crate) closed: Option<String>,
}

/// What comes once a gate is open.
#[derive(Debug)]
pub(crate) struct Gating {
    pub(crate) start: Box<Start>,
    /// How long the command of the gate may take.
    pub(crate) within: Duration,
    /// Whether a stop was asked for meanwhile.
    pub(crate) stopped: bool,
}

/// How long the process of a start may take.
fn limit(start: &Start) -> Limit {
    let limits = &start.limits.0;
    let within = limits.timeout_ms.into_iter().chain(limits.deadline_ms).min();
    Limit {
        within: within.map(Duration::from_millis),
        grace: Duration::from_millis(limits.grace_ms).min(GRACE_MAX),
    }
}

/// Where what the process of a start writes is put together, if that is done here.
fn output(start: &Start, outputs: &Outputs) -> Option<Output> {
    (start.output.0 == OutputKind::Lines).then(|| outputs.lines(&start.key, start.output_max))
}

impl Attempt {
    fn new(start: &Start, outputs: &Outputs) -> Self {
        let limits = &start.limits.0;
        let (timeout, deadline) = (limits.timeout_ms, limits.deadline_ms);
        let is_timeout = timeout.is_some_and(|timeout| deadline.is_none_or(|deadline| timeout <= deadline));
        Attempt {
            origin: Origin {
                key: start.key,
                task: start.task.clone(),
                trigger: start.trigger.clone(),
                fire_time_ms: start.fire_time_ms,
                created_ms: start.created_ms,
                trace_id: start.trace_id,
            },
            state: State::Spawning {
                kill_at: None,
                limit: limit(start),
            },
            up: if is_timeout { TimeUp::Timeout } else { TimeUp::Deadline },
            signal: Signal::from_named_raw(limits.signal).unwrap_or(Signal::TERM),
            leave: start.leave.0,
            pid: None,
            started_ms: 0,
            finished_ms: 0,
            end: End::default(),
            reaped: Reaped::default(),
            stdout: None,
            stderr: None,
            output: output(start, outputs),
            raw: None,
            output_bytes: 0,
            output_lost: 0,
            output_kept: None,
            group: None,
            counted: Counted::default(),
            family: None,
            survivor: None,
            deadline: None,
            slot: None,
            gating: None,
            closed: None,
        }
    }

    /// Its gate is open, and its own process is to be started.
    pub(crate) fn begin_anew(&mut self, start: &Start, outputs: &Outputs) {
        self.state = State::Spawning {
            kill_at: None,
            limit: limit(start),
        };
        self.leave = start.leave.0;
        self.output = output(start, outputs);
        (self.started_ms, self.finished_ms) = (0, 0);
        self.end = End::default();
    }

    pub(crate) fn pipe(&mut self, stream: Stream) -> &mut Option<Pipe> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    fn pid_number(&self) -> u32 {
        self.pid.map_or(0, |pid| pid.as_raw_nonzero().get().cast_unsigned())
    }

    /// As the daemon is told. While its gate is looked at it has no process of its own.
    pub(crate) fn live(&self) -> Live {
        let own = self.gating.is_none();
        Live {
            origin: self.origin.clone(),
            pid: if own { self.pid_number() } else { 0 },
            started_ms: if own { self.started_ms } else { 0 },
            stopping: self.state.stopping().is_some(),
        }
    }

    /// Its result. `stopped` is why it had been told to end before it did.
    pub(crate) fn into_ended(self, stopped: Option<Cause>) -> Ended {
        let started = self.pid.is_some();
        // A child that was killed for it alone, with what it has done since, is its own affair.
        let killed = stopped.is_none() && self.end == End::Signalled(libc::SIGKILL);
        let over_memory = self.counted.over_memory.filter(|_| killed);
        Ended {
            pid: self.pid_number(),
            origin: self.origin,
            started_ms: self.started_ms,
            finished_ms: self.finished_ms,
            end: self.end,
            stopped: stopped.is_some(),
            time_up: Tail((stopped == Some(Cause::TimeUp)).then_some(self.up)),
            max_rss_kib: self.reaped.max_rss_kib,
            user_us: self.counted.user_us.unwrap_or(self.reaped.user_us),
            system_us: self.counted.system_us.unwrap_or(self.reaped.system_us),
            output_bytes: self.output_bytes,
            output_lost: self.output_lost,
            output_kept: Tail(self.output_kept),
            over_memory: Tail(over_memory),
            // What waited for its children knows what they moved.
            counted: Tail(wire::TreeUsage {
                memory_peak_kib: self.counted.memory_bytes.map(|bytes| bytes / 1024),
                read_bytes: started.then(|| self.counted.read_bytes.unwrap_or(self.reaped.read_bytes)),
                written_bytes: started.then(|| self.counted.written_bytes.unwrap_or(self.reaped.written_bytes)),
                peak_pids: self.counted.pids,
            }),
            gate: Tail(self.closed),
        }
    }
}

/// All attempts in progress. Numbers are never used twice, so a late word about an attempt that is over hits nothing.
#[derive(Debug)]
pub(crate) struct Roster {
    attempts: HashMap<u64, Attempt>,
    by_key: HashMap<AttemptKey, u64>,
    by_pid: HashMap<Pid, u64>,
    next: u64,
    underway: Underway,
}

impl Roster {
    pub(crate) fn new(underway: Underway) -> Self {
        Roster {
            attempts: HashMap::new(),
            by_key: HashMap::new(),
            by_pid: HashMap::new(),
            next: 0,
            underway,
        }
    }

    /// Adds an attempt, which is to be [kept](Self::keep_underway) before there is a process.
    pub(crate) fn add(&mut self, start: &Start, outputs: &Outputs) -> u64 {
        let id = self.next;
        self.next += 1;
        let mut attempt = Attempt::new(start, outputs);
        attempt.slot = Some(self.underway.begin(&attempt.origin));
        self.attempts.insert(id, attempt);
        self.by_key.insert(start.key, id);
        id
    }

    /// Sees to it that the next life knows what is under way.
    pub(crate) fn keep_underway(&mut self) {
        self.underway.keep();
    }

    pub(crate) fn has_process(&mut self, id: u64, pid: Pid) {
        self.by_pid.insert(pid, id);
    }

    /// The process was reaped: from now on its id may be somebody else's.
    pub(crate) fn lost_process(&mut self, pid: Pid) {
        self.by_pid.remove(&pid);
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<Attempt> {
        let attempt = self.attempts.remove(&id)?;
        self.by_key.remove(&attempt.origin.key);
        if let Some(slot) = attempt.slot {
            self.underway.end(slot);
        }
        Some(attempt)
    }

    /// What is under way is this life's from now on.
    pub(crate) fn claim(&mut self) {
        self.underway.claim();
    }

    /// The daemon has the end of an attempt, of an earlier life perhaps.
    pub(crate) fn forget(&mut self, key: &AttemptKey) {
        self.underway.forget(key);
    }

    /// The next life need not know any more what was in these slots.
    pub(crate) fn free(&mut self, slots: impl IntoIterator<Item = usize>) {
        slots.into_iter().for_each(|slot| self.underway.free(slot));
    }

    /// What earlier lives had begun, until something begins.
    pub(crate) fn before(&self) -> &[Before] {
        self.underway.before()
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Attempt> {
        self.attempts.get_mut(&id)
    }

    pub(crate) fn id_of(&self, key: &AttemptKey) -> Option<u64> {
        self.by_key.get(key).copied()
    }

    pub(crate) fn id_of_process(&self, pid: Pid) -> Option<u64> {
        self.by_pid.get(&pid).copied()
    }

    pub(crate) fn ids(&self) -> Vec<u64> {
        self.attempts.keys().copied().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.attempts.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.values()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }
}
