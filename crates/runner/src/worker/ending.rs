//! From the end of an attempt's first process to its result.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData};
use rustix::process::{Pid, Signal};
use taskd_wire::runner::End;

use super::Worker;
use crate::attempt::Event;
use crate::cgroups::{Counted, Group};
use crate::ender::Unsealed;
use crate::output::Over;
use crate::sweep::{Family, Seek, Sought};
use crate::{clock, sys};

/// How long a process that nobody knows yet may hide that others have ended. To look at each of them takes long where they
/// are many, and a start that hangs is told of within this.
const HIDDEN: Duration = Duration::from_millis(30);

/// Survivors whose ends are taken in at once.
const SURVIVORS_PER_TURN: usize = 64;

/// A process that has ended, and hides from who takes in such that others have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hidden {
    by: Pid,
    /// Until when that is let be; nothing once that is over.
    pub(super) until: Option<Instant>,
}

impl Hidden {
    /// By this process, where it was seen like this before.
    fn by(pid: Pid, before: Option<Hidden>, now: Instant) -> Self {
        let until = match before.filter(|before| before.by == pid) {
            Some(before) => before.until.filter(|until| now < *until),
            None => Some(now + HIDDEN),
        };
        Hidden { by: pid, until }
    }
}

impl Worker {
    /// Takes in all processes that have ended.
    pub(super) fn reap(&mut self) {
        let hidden = self.hidden.take();
        while let Some(pid) = sys::peek_ended() {
            if self.roster.id_of_process(pid).is_none() {
                self.take_reports();
            }
            match self.roster.id_of_process(pid) {
                Some(id)
                    if self
                        .roster
                        .get_mut(id)
                        .is_some_and(|attempt| attempt.state.is_emptying()) =>
                {
                    // It is known, must not be reaped yet, and hides the others.
                    return self.reap_each();
                }
                Some(id) => self.exited(id),
                None if self.spawners.have_lost(pid) => {
                    // At once: waiting for the report of a start, as below, would hold up all ends if one hangs.
                    let _ = sys::reap(pid);
                }
                None if self.given_up.has(pid) => self.given_up.reap(pid, self.groups.as_deref()),
                None if self.given_up.is_awaited() || self.roster.iter().any(|attempt| attempt.pid.is_none()) => {
                    // Between clone and report, or about to be reaped by the thread that could not exec it. That may
                    // take as long as any start, and it hides the others.
                    return self.reap_behind(pid, hidden);
                }
                None => {
                    // Nobody's: inherited from whoever this process was before it became the runner.
                    let _ = sys::reap(pid);
                }
            }
        }
        self.reap_again = false;
    }

    /// The same where a process that nobody knows yet hides the others: mostly its report is about to come.
    fn reap_behind(&mut self, pid: Pid, before: Option<Hidden>) {
        let hidden = Hidden::by(pid, before, clock::steady());
        if hidden.until.is_none() {
            self.reap_each();
        }
        self.reap_again = true;
        self.hidden = Some(hidden);
    }

    /// The same for the first processes that are known. Others wait until nothing hides them, or until their start is
    /// reported.
    fn reap_each(&mut self) {
        self.reap_again = true;
        self.take_reports();
        self.given_up.reap_ended(self.groups.as_deref());
        for id in self.roster.ids() {
            let runs = self.roster.get_mut(id).and_then(|attempt| attempt.state.runs());
            if runs.is_some_and(sys::has_ended) {
                self.exited(id);
            }
        }
    }

    fn exited(&mut self, id: u64) {
        // What it leaves was given to the guard before its own end could be seen here.
        let alone = self.orphans.as_ref().is_some_and(|orphans| !orphans.any());
        let leave = self.roster.get_mut(id).is_some_and(|attempt| attempt.leave);
        self.step(id, Event::Exited { alone, leave });
    }

    /// Kills all that is in an attempt's control group, if it has one.
    pub(super) fn kill_group(&mut self, id: u64) {
        if let Some(group) = self.roster.get_mut(id).and_then(|attempt| attempt.group.as_ref()) {
            group.kill();
        }
    }

    /// Has what came from an attempt's first process looked for, and signalled.
    pub(super) fn seek(&mut self, id: u64, first: Pid, signal: Option<Signal>) {
        let Some(attempt) = self.roster.get_mut(id) else {
            return;
        };
        let cookie = || self.cookie.of(&attempt.origin.key).to_string();
        let group = || attempt.group.clone();
        let family = attempt
            .family
            .get_or_insert_with(|| Family::new(cookie(), first, group()));
        // Where this is called it is not reaped.
        family.recognise();
        let family = Arc::clone(family);
        let is_after = attempt.state.is_emptying();
        self.ender.seek(
            id,
            Seek {
                family,
                signal,
                is_after,
            },
        );
    }

    pub(super) fn take_sought(&mut self, id: u64, sought: Sought) {
        if sought.signal.is_some_and(|signal| signal != Signal::KILL) {
            self.step(id, Event::OthersTold);
        }
        let Some(attempt) = self.roster.get_mut(id) else {
            return;
        };
        if !sought.is_after || !attempt.state.is_emptying() {
            return;
        }
        if sought.is_gone {
            return self.step(id, Event::Gone);
        }
        // Without one that can be watched the deadline ends the wait.
        if attempt.survivor.is_none()
            && let Some(one) = sought.one
            && epoll::add(&self.survivors, &one, EventData::new_u64(id), one.flags()).is_ok()
        {
            attempt.survivor = Some(one);
        }
    }

    /// Looks again where one that was watched has ended.
    pub(super) fn take_survivors(&mut self) {
        let mut events = Vec::with_capacity(SURVIVORS_PER_TURN);
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // An error is an interruption; they are still readable then.
        let _ = epoll::wait(&self.survivors, spare_capacity(&mut events), Some(&now));
        for event in events {
            let id = event.data.u64();
            self.forget_survivor(id);
            if let Some(first) = self.roster.get_mut(id).and_then(|attempt| attempt.pid) {
                self.seek(id, first, None);
            }
        }
    }

    fn forget_survivor(&mut self, id: u64) {
        if let Some(survivor) = self.roster.get_mut(id).and_then(|attempt| attempt.survivor.take()) {
            // Closing alone is not enough if something that was just forked has a copy.
            let _ = epoll::delete(&self.survivors, &survivor);
        }
    }

    /// Reads what an attempt's process wrote last, and reaps it.
    pub(super) fn collect(&mut self, id: u64, pid: Pid) {
        self.forget_survivor(id);
        let Some(attempt) = self.roster.get_mut(id) else {
            return;
        };
        let leave = attempt.leave && attempt.state.stopping().is_none();
        let seal = self.pipes.finish(attempt, leave);
        let reaped = sys::reap(pid);
        // It may have hidden others that have ended.
        self.reap_again = true;
        attempt.finished_ms = clock::wall_ms();
        // An error would mean that somebody else reaped our child; there is no end to report then but this.
        attempt.reaped = reaped.unwrap_or_default();
        attempt.end = match attempt.reaped.signal {
            Some(signal) => End::Signalled(signal),
            None => End::Exited(attempt.reaped.code),
        };
        attempt.family = None;
        if let (Some(groups), Some(group)) = (&self.groups, attempt.group.take()) {
            let (group, counted) = count(group, groups.controllers());
            attempt.counted = counted;
            groups.give_back(group, leave);
        }
        let mut unsealed = None;
        if let Some(output) = attempt.output.take() {
            (attempt.output_bytes, attempt.output_lost) = (output.bytes(), output.lost());
            attempt.output_kept = output.kept();
            unsealed = seal.then(|| Unsealed::Lines(Box::new(output)));
        }
        if let Some(raw) = attempt.raw.take() {
            self.looks.remove(&(raw.look_at, id));
            let Over { bytes, lost, kept, cut } = raw.end();
            (attempt.output_bytes, attempt.output_lost) = (bytes, lost);
            attempt.output_kept = kept;
            unsealed = cut.map(Unsealed::Raw);
        }
        self.roster.lost_process(pid);
        match unsealed {
            Some(output) => self.ender.seal(id, output),
            None => self.step(id, Event::Finished),
        }
    }

    /// A start took longer than a stop would wait for it. If a thread has it and comes back with a child, that is killed.
    pub(super) fn give_up(&mut self, id: u64) {
        self.hand_over();
        if !self.spawners.withdraw(id) {
            self.given_up.await_report(id);
        }
        if let Some(attempt) = self.roster.get_mut(id) {
            attempt.end = End::SpawnFailed {
                errno: libc::ECANCELED,
                what: "start".to_owned(),
            };
            attempt.finished_ms = clock::wall_ms();
            attempt.started_ms = attempt.finished_ms;
            // Something may still come of it, so for the next life it is under way.
            attempt.slot = None;
        }
    }
}

/// What a group has counted. Only who has it alone uses it again, and needs to know from where to count then.
fn count(group: Arc<Group>, controllers: &[&str]) -> (Arc<Group>, Counted) {
    match Arc::try_unwrap(group) {
        Ok(mut group) => {
            let counted = group.count(controllers);
            (Arc::new(group), counted)
        }
        Err(group) => {
            let counted = group.same().count(controllers);
            (group, counted)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_hides_others_is_let_be_for_a_while_and_then_no_more() {
        let begin = clock::steady();
        let [one, other] = [7, 8].map(|pid| Pid::from_raw(pid).expect("not zero"));
        let mut hidden = Hidden::by(one, None, begin);
        for _ in 0..2 {
            hidden = Hidden::by(one, Some(hidden), begin + HIDDEN / 2);
            assert_eq!(hidden.until, Some(begin + HIDDEN));
        }
        for passed in [HIDDEN, HIDDEN * 3] {
            hidden = Hidden::by(one, Some(hidden), begin + passed);
            assert_eq!(hidden.until, None);
        }
        hidden = Hidden::by(other, Some(hidden), begin);
        assert_eq!(hidden.until, Some(begin + HIDDEN));
    }
}
