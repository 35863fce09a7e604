//! What a launcher is asked, and what it answers: the worker's side.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg, socketpair,
};
use rustix::process::Pid;

use super::super::reap;
use super::orphan::{Orphan, await_orphan, orphans_until};
use super::{FDS, Failed, GONE, Launcher, NotStarted, PATIENCE, PATIENCE_MAX, ROOM_KEPT, Slot, Step, WITHIN, stage};

/// What a launcher was asked for. Until it has answered, or has ended, the slot is the launcher's, but for the orders that
/// [`withdraw`](Self::withdraw) tells of.
pub(crate) struct Request<'s, 'a> {
    launcher: &'s mut Launcher<'a>,
    /// Our end of the socket of the process; taken when this is over.
    socket: Option<OwnedFd>,
    /// The orders of which it was not told what came of them.
    left: Vec<usize>,
    /// Bytes of the slot's room that they take.
    length: usize,
    /// How long to wait before those that are over are taken in.
    patience: Duration,
    heard: Heard,
}

impl<'s, 'a> Request<'s, 'a> {
    /// So many orders that were sent over this socket.
    pub(super) fn new(launcher: &'s mut Launcher<'a>, socket: OwnedFd, count: usize, length: usize) -> Self {
        Request {
            launcher,
            socket: Some(socket),
            left: (0..count).collect(),
            length,
            patience: PATIENCE,
            heard: Heard::Nothing,
        }
    }

    /// Whether one that takes long could hold up others: more than one is left.
    pub(crate) fn has_several(&self) -> bool {
        self.left.len() > 1
    }

    /// Waits for the answer, but not for long, and longer each time. Gives back whether there is nothing more to wait for: all
    /// is done, or the launcher was lost.
    pub(crate) fn is_done_soon(&mut self) -> bool {
        self.hear(Some(self.patience));
        self.patience = PATIENCE_MAX.min(2 * self.patience);
        self.heard != Heard::Nothing
    }

    /// Takes back what has not begun, which never will. Gives back what came of these and of those that are over, by their
    /// numbers, the last one first.
    pub(crate) fn withdraw(&mut self) -> Vec<(usize, Result<Pid, NotStarted>)> {
        let mut told = Vec::new();
        let slot = self.launcher.slot;
        self.left.retain(|number| {
            // SAFETY: there is such an order. Its stage is shared as an atomic; the rest of it is ours once that is moved
            // on from here, or the order is over.
            let taken = unsafe {
                let stage = &(*Slot::order(slot, *number)).stage;
                stage.compare_exchange(stage::WAITS, stage::WITHDRAWN, Ordering::AcqRel, Ordering::Acquire)
            };
            if taken.is_ok() {
                told.push((*number, Err(NotStarted::NotBegun { lost: false })));
                return false;
            }
            // SAFETY: as above.
            let is_over = unsafe { is_over(slot, *number) };
            if is_over {
                // SAFETY: as above.
                told.push((*number, unsafe { came(slot, *number, None) }));
            }
            !is_over
        });
        told.reverse();
        told
    }

    /// What came of those that are left, by their numbers. Waits for it.
    pub(crate) fn answers(mut self) -> Vec<(usize, Result<Pid, NotStarted>)> {
        self.hear(None);
        let slot = self.launcher.slot;
        let left = std::mem::take(&mut self.left).into_iter();
        // SAFETY: the launcher has answered or has ended, so the slot is ours until this is dropped.
        let lost = (self.heard == Heard::Lost).then(orphans_until);
        left.map(|number| (number, unsafe { came(slot, number, lost) }))
            .collect()
    }

    fn hear(&mut self, patience: Option<Duration>) {
        if let (Heard::Nothing, Some(socket)) = (self.heard, &self.socket) {
            self.heard = hear(socket, patience);
        }
    }
}

impl Drop for Request<'_, '_> {
    fn drop(&mut self) {
        // Nobody else may use the slot before that.
        self.hear(None);
        let keeps = self.heard == Heard::Answer && self.length <= ROOM_KEPT;
        // Without its socket it ends.
        self.launcher.socket = self.socket.take().filter(|_| keeps);
    }
}

/// What came of an order. Where its launcher was lost its child is waited for until then: that it has left the memory need not
/// mean that it executes its program, as the kernel may kill all that are in one memory.
///
/// # Safety
/// As for [`answer`].
unsafe fn came(slot: *mut Slot, number: usize, lost: Option<Instant>) -> Result<Pid, NotStarted> {
    // SAFETY: as above.
    match unsafe { answer(slot, number) } {
        Answer::Done(pid) if lost.is_none() => Ok(pid),
        Answer::Failed(failed, child) => {
            if let Some(pid) = child {
                // It has ended. An error could only be that somebody else reaped it, which nobody does.
                let _ = reap(pid);
            }
            Err(failed.into())
        }
        Answer::NotBegun => Err(NotStarted::NotBegun { lost: true }),
        Answer::Done(pid) | Answer::Lost(pid) => match await_orphan(pid, lost.unwrap_or_else(orphans_until)) {
            Orphan::Executed => Ok(pid),
            Orphan::Ended => {
                // As above.
                let _ = reap(pid);
                // SAFETY: there is such an order, and both launcher and child have ended.
                let failed = unsafe { (*Slot::order(slot, number)).failed };
                // What was killed has executed nothing.
                Err(failed.map_or(NotStarted::NotBegun { lost: true }, NotStarted::from))
            }
            Orphan::Hangs => Err(NotStarted::Unfinished(pid)),
        },
    }
}

/// What came of an order, as it says itself.
pub(super) enum Answer {
    /// This process was cloned and is on its way.
    Done(Pid),
    /// A step failed; the process, if it came so far, has ended.
    Failed(Failed, Option<Pid>),
    /// Nothing was cloned, and nothing will be.
    NotBegun,
    /// The launcher has ended after it cloned this process, which may read and write its order still.
    Lost(Pid),
}

/// Whether nobody has anything more to do with an order: neither its launcher nor a child in the memory of that.
///
/// # Safety
/// There is such an order.
unsafe fn is_over(slot: *mut Slot, number: usize) -> bool {
    // SAFETY: both are shared as atomics. What a child has written there it has written before it left, and the kernel lets
    // nobody see first that it has.
    unsafe {
        let order = Slot::order(slot, number);
        (*order).stage.load(Ordering::Acquire) == stage::OVER || (*order).within.load(Ordering::Acquire) == GONE
    }
}

/// What an order says.
///
/// # Safety
/// There is such an order, and its launcher has done it, or has ended.
pub(super) unsafe fn answer(slot: *mut Slot, number: usize) -> Answer {
    // SAFETY: by the above only a child whose launcher was lost may still write there, and of that nothing is read but what
    // the kernel wrote before the child began. What launcher and kernel have written is seen by the stage, or by the system
    // call that told of the launcher's end.
    unsafe {
        let order = Slot::order(slot, number);
        let pid = Pid::from_raw((*order).pid);
        let failed = || (*order).failed;
        match (is_over(slot, number), pid) {
            (true, pid) => match (failed(), pid) {
                (Some(failed), _) => Answer::Failed(failed, pid),
                (None, Some(pid)) => Answer::Done(pid),
                // Not possible: clone fails or gives a process.
                (None, None) => Answer::NotBegun,
            },
            (false, Some(pid)) => Answer::Lost(pid),
            (false, None) => Answer::NotBegun,
        }
    }
}

/// Why a request was not sent.
pub(super) enum Unsent {
    /// The launcher has ended.
    Lost,
    Failed(Failed),
}

/// Asks the launcher behind `socket` for what its slot says, so many orders.
///
/// The slot must be the caller's, and that of this launcher.
pub(super) fn send(socket: &OwnedFd, slot: *mut Slot, count: usize, fds: &[BorrowedFd<'_>]) -> Result<(), Unsent> {
    // SAFETY: the launcher waits for a request and so does not touch the slot; there are such orders.
    unsafe {
        (*slot).count = count;
        for number in 0..count {
            let order = Slot::order(slot, number);
            (*order).slot = slot;
            (*order).stage = AtomicU32::new(stage::WAITS);
            (*order).within = AtomicU32::new(WITHIN);
            (*order).pid = 0;
            (*order).failed = None;
        }
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    // There is room for them.
    let _ = control.push(SendAncillaryMessage::ScmRights(fds));
    match retry_on_intr(|| sendmsg(socket, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)) {
        Ok(_) => Ok(()),
        Err(Errno::PIPE | Errno::CONNRESET) => Err(Unsent::Lost),
        Err(errno) => {
            let (errno, step) = (errno.raw_os_error(), Step::Launcher);
            Err(Unsent::Failed(Failed { errno, step }))
        }
    }
}

/// What was heard of a launcher that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Nothing,
    /// It has done what it was asked for, and waits.
    Answer,
    /// It has ended.
    Lost,
}

/// Waits for the answer of a launcher: until it comes, or for so long.
pub(super) fn hear(socket: &OwnedFd, patience: Option<Duration>) -> Heard {
    loop {
        match retry_on_intr(|| rustix::io::read(socket, &mut [0_u8])) {
            Ok(1..) => return Heard::Answer,
            Err(Errno::AGAIN) => {
                let left = patience.map(|patience| patience.saturating_sub(PATIENCE));
                if left.is_some_and(|left| left.is_zero()) {
                    return Heard::Nothing;
                }
                let timeout = left.and_then(|left| Timespec::try_from(left).ok());
                // An error is an interruption, or leaves it to the next read.
                if poll(&mut [PollFd::new(socket, PollFlags::IN)], timeout.as_ref()) == Ok(0) {
                    return Heard::Nothing;
                }
            }
            // An error says that it has ended too, before it read the request.
            Ok(0) | Err(_) => return Heard::Lost,
        }
    }
}

/// The socket between worker and launcher: our end, from which nothing is read for long, and the other.
pub(super) fn pair() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&ours, Timeout::Recv, Some(PATIENCE))?;
    Ok((ours, theirs))
}
