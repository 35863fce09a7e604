//! What the loop waits for, and when it would rather not.
//!
//! A start must not be late, so the loop is there for a daemon at once. All else can wait for a moment, and many a second
//! are taken in together: a run costs a wake then, and not one for its start, one for its process and one for its end.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use super::Worker;
use super::closing::Closing;
use crate::attempt::KILL_PATIENCE;
use crate::clock;

/// Who speaks: the listener and the connections.
const TALK: u64 = u64::MAX;

/// Events taken in at once.
const EVENTS: usize = 64;

/// So long wakes are counted.
const SPAN: Duration = Duration::from_millis(50);

/// So many in that time are many: four hundred a second, or a third of that where breaths are taken already.
const MANY: u32 = 20;

/// How long all but a daemon waits when there are many, and something comes through pipes: who writes waits with it.
const BREATH: Duration = Duration::from_millis(2);

/// The same where nothing has come for as long as wakes are counted.
const LONG_BREATH: Duration = Duration::from_millis(5);

/// How long what is said to a daemon waits then, at most, so that it is not woken for each word.
const PAUSE: Duration = Duration::from_millis(10);

/// Whether there is so much to do that it is done together.
#[derive(Debug)]
struct Pace {
    is_busy: bool,
    since: Instant,
    wakes: u32,
    /// The last wake.
    now: Instant,
    spoke: Instant,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Pace {
            is_busy: false,
            since: now,
            wakes: 0,
            now,
            spoke: now,
        }
    }

    /// The loop was woken. After a breath that counts for as many wakes as there might have been meanwhile.
    fn woken(&mut self, now: Instant, breath: Duration) {
        self.now = now;
        if now.saturating_duration_since(self.since) >= SPAN {
            self.is_busy = self.wakes >= MANY && now.saturating_duration_since(self.since) < 2 * SPAN;
            self.since = now;
            self.wakes = 0;
        }
        self.wakes += 1 + u32::try_from(breath.as_micros() / (SPAN / MANY).as_micros()).unwrap_or(MANY);
        self.is_busy |= self.wakes >= MANY;
    }

    /// When what was said is to leave; nothing if at once.
    fn speaks_at(&self, now: Instant) -> Option<Instant> {
        let at = self.spoke + PAUSE;
        (self.is_busy && at > now).then_some(at)
    }
}

/// The descriptors that are waited for.
pub(super) struct Waiting {
    all: OwnedFd,
    talk: OwnedFd,
    events: Vec<epoll::Event>,
    pace: Pace,
    /// When something came through pipes last.
    flowed: Option<Instant>,
    /// There is likely to be as much again at once.
    flows: bool,
    /// The breath that the last wait took.
    last: Duration,
}

impl Waiting {
    pub(super) fn new(now: Instant) -> rustix::io::Result<Self> {
        let waiting = Waiting {
            all: epoll::create(CreateFlags::CLOEXEC)?,
            talk: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(EVENTS),
            pace: Pace::new(now),
            flowed: None,
            flows: false,
            last: Duration::ZERO,
        };
        let data = EventData::new_u64(TALK);
        epoll::add(&waiting.all, &waiting.talk, data, EventFlags::IN)?;
        Ok(waiting)
    }

    /// Where the server has what it listens to.
    pub(super) fn talk(&self) -> &OwnedFd {
        &self.talk
    }

    /// Waits for a descriptor of the runner's own, known by a number.
    pub(super) fn add(&self, fd: BorrowedFd<'_>, number: u64) -> rustix::io::Result<()> {
        epoll::add(&self.all, fd, EventData::new_u64(number), EventFlags::IN)
    }

    /// Waits for so long at most. The numbers of what is ready then are in `ready`.
    pub(super) fn wait(&mut self, limit: Option<Duration>, ready: &mut Vec<u64>) -> io::Result<()> {
        ready.clear();
        let nothing = Some(Duration::ZERO);
        let breath = self.breath();
        let breath = limit.map_or(breath, |limit| limit.min(breath));
        let heard = !breath.is_zero() && take(&self.talk, Some(breath), &mut self.events, ready)?;
        self.last = if heard { Duration::ZERO } else { breath };
        let rest = if heard {
            nothing
        } else {
            limit.map(|limit| limit.saturating_sub(breath))
        };
        take(&self.all, rest, &mut self.events, ready)?;
        let before = ready.len();
        ready.retain(|number| *number != TALK);
        if ready.len() < before && !heard {
            take(&self.talk, nothing, &mut self.events, ready)?;
        }
        Ok(())
    }

    /// The breath that the next wait is to take.
    fn breath(&self) -> Duration {
        let is_still = self
            .flowed
            .is_none_or(|at| self.pace.now.saturating_duration_since(at) >= SPAN);
        match (self.pace.is_busy, self.flows) {
            (false, _) | (_, true) => Duration::ZERO,
            (true, false) if is_still => LONG_BREATH,
            (true, false) => BREATH,
        }
    }

    /// Something came through pipes, or nothing; and there is likely to be as much again at once.
    pub(super) fn set_flow(&mut self, is_any: bool, flows: bool) {
        if is_any {
            self.flowed = Some(self.pace.now);
        }
        self.flows = flows;
    }

    /// The wait is over.
    pub(super) fn woken(&mut self, now: Instant) {
        self.pace.woken(now, self.last);
    }

    /// When what was said is to leave; nothing if at once.
    pub(super) fn speaks_at(&self, now: Instant) -> Option<Instant> {
        self.pace.speaks_at(now)
    }

    /// What was said has left.
    pub(super) fn spoke(&mut self, now: Instant) {
        self.pace.spoke = now;
    }
}

impl Worker {
    /// Sends the daemon what was said, unless that can wait.
    pub(super) fn speak(&mut self) {
        let now = clock::steady();
        let ends = !matches!(self.closing, Closing::No);
        if !self.server.is_flushed() && (ends || self.waiting.speaks_at(now).is_none()) {
            self.server.flush(self.waiting.talk(), &mut self.received);
            self.waiting.spoke(now);
        }
    }

    /// How long nothing can happen by itself.
    pub(super) fn limit(&mut self) -> Option<Duration> {
        let now = clock::steady();
        let closed = match self.closing {
            Closing::No => None,
            Closing::Stopping => self.is_stuck().then_some(self.killed + KILL_PATIENCE),
            Closing::Lingering(until) => (!self.spool_fails).then_some(until),
        };
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        let hanging = self.spawners.relieve(now);
        let (expiry, flush) = (self.server.next_expiry(), self.pipes.next_flush());
        let look = self.looks.first().map(|(at, _)| *at);
        let speaks = self
            .server
            .may_flush()
            .then(|| self.waiting.speaks_at(now).unwrap_or(now));
        let hidden = self.hidden.and_then(|hidden| hidden.until);
        [
            deadline,
            expiry,
            closed,
            hanging,
            self.retry_at,
            flush,
            look,
            speaks,
            hidden,
        ]
        .into_iter()
        .flatten()
        .min()
        .map(|earliest| earliest.saturating_duration_since(now))
    }
}

/// Puts what is ready behind the others. Says whether anything is.
fn take(
    epoll: &OwnedFd,
    limit: Option<Duration>,
    events: &mut Vec<epoll::Event>,
    ready: &mut Vec<u64>,
) -> io::Result<bool> {
    // epoll counts milliseconds; waking up early would only mean to wait once more.
    let timeout = limit.map(|limit| {
        let ms = i64::try_from(limit.as_micros().div_ceil(1000)).unwrap_or(i64::MAX);
        let ms = ms.min(3_600_000);
        Timespec {
            tv_sec: ms / 1000,
            tv_nsec: ms % 1000 * 1_000_000,
        }
    });
    events.clear();
    match epoll::wait(epoll, spare_capacity(events), timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    ready.extend(events.iter().map(|event| event.data.u64()));
    Ok(!events.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Duration = Duration::ZERO;

    #[test]
    fn many_wakes_are_many_until_they_are_few() {
        let begin = clock::steady();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let mut pace = Pace::new(begin);
        for ms in 0..200 {
            pace.woken(at(ms * 3), NONE);
            assert!(!pace.is_busy, "{ms}: a third of a wake each millisecond is few");
        }
        let begin = at(600);
        let at = |ms: u64| begin + Duration::from_millis(ms);
        for ms in 0..200 {
            pace.woken(at(ms), NONE);
            assert!(pace.is_busy || ms < 50, "{ms}");
        }
        // One that comes after a silence finds nobody busy, and so do those that follow slowly.
        for ms in [300, 310, 320] {
            pace.woken(at(ms), NONE);
            assert!(!pace.is_busy, "{ms}");
        }
    }

    #[test]
    fn breaths_do_not_make_many_wakes_few() {
        for breath in [BREATH, LONG_BREATH] {
            let begin = clock::steady();
            let mut pace = Pace::new(begin);
            (0..MANY).for_each(|_| pace.woken(begin, NONE));
            // Each is a little longer than it was to be.
            let breaths = |count: u32| begin + (breath + Duration::from_micros(300)) * count;
            let mut count = 0;
            while breaths(count) < begin + SPAN * 20 {
                count += 1;
                pace.woken(breaths(count), breath);
                assert!(pace.is_busy, "{count} of {breath:?}");
            }
            // Where there is nothing to do after one, the next wake is long after.
            pace.woken(breaths(count) + SPAN * 2, breath);
            assert!(!pace.is_busy);
        }
    }

    #[test]
    fn who_writes_is_waited_for_no_longer_than_must_be() {
        let begin = clock::steady();
        let mut waiting = Waiting::new(begin).expect("a system");
        assert_eq!(waiting.breath(), NONE, "there is little to do");
        (0..MANY).for_each(|_| waiting.woken(begin));
        assert_eq!(waiting.breath(), LONG_BREATH);
        waiting.set_flow(true, true);
        assert_eq!(waiting.breath(), NONE);
        waiting.set_flow(true, false);
        assert_eq!(waiting.breath(), BREATH);
        // Something else has woken it since.
        waiting.woken(begin + SPAN - Duration::from_millis(1));
        waiting.set_flow(false, false);
        assert_eq!(waiting.breath(), BREATH);
        waiting.woken(begin + SPAN);
        assert_eq!(waiting.breath(), LONG_BREATH);
    }

    #[test]
    fn words_wait_only_where_there_are_many() {
        let begin = clock::steady();
        let mut pace = Pace::new(begin);
        assert_eq!(pace.speaks_at(begin), None);
        (0..MANY).for_each(|_| pace.woken(begin, NONE));
        assert_eq!(pace.speaks_at(begin), Some(begin + PAUSE));
        assert_eq!(pace.speaks_at(begin + PAUSE), None);
    }
}
