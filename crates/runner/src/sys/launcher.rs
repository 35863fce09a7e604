//! Launchers: the processes that clone the children, so that the worker need not.
//!
//! A child shares the memory of who cloned it until the exec, and the kernel counts that as the child's own: its
//! largest resident size is never below that of its cloner. So who clones must be small. The *first* launcher is
//! forked when the worker has nothing yet, and does nothing but copy itself; each thread that starts children has such
//! a copy, made when it first needs one and again when it was lost. When the first is lost too, the next is forked
//! from the worker as it is then, and what is counted for small commands is too much from then on.
//!
//! Children and copies are cloned with `CLONE_PARENT`: they are children of the worker, not of a launcher. What ties
//! them to the worker is the thread that forked the first launcher, which must live as long as the process.
//!
//! **Requests.** Worker and launchers share memory, a [`Slot`] each. The worker writes there what is to be done and
//! sends one byte with descriptors over a socket; the launcher does it, leaves there what came of it and sends one
//! byte back. Only one of them touches the slot at a time. The kernel itself writes the process id there before the
//! new process runs, so the worker knows what was cloned even if the launcher is killed before it can answer.
//!
//! **Inside a launcher** are system calls and nothing else: it may have been forked while other threads held locks, so
//! it neither allocates nor locks nor panics.

mod child;
mod orphan;

use std::ffi::{CStr, c_int, c_void};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg, socketpair,
};
use rustix::process::Pid;

use super::into::{Into, clone_into};
use super::plan::{Layout, Plan};
use super::reap;
use child::child;
use orphan::{Orphan, await_orphan};

/// What a launcher is called, for people, and to tell whether its child has executed its program.
const NAME: &CStr = c"taskd-launcher";

/// Bytes of memory for the strings of a start. The kernel takes no more with the usual limit of the stack.
const ROOM: usize = 2 << 20;

/// A launcher that has read more bytes of strings than this is replaced, since it has become as much larger.
const ROOM_KEPT: usize = 256 << 10;

/// Bytes of a stack. A few thin wrappers and execve need some hundred.
const STACK: usize = 64 << 10;

/// Descriptors of a request at most.
const FDS: usize = 4;

/// The highest descriptor that is closed one by one where the kernel cannot close all at once.
const CLOSE_MAX: libc::rlim_t = 1 << 16;

/// The descriptors that become 0, 1 and 2 of a child, and where it is put.
pub(crate) struct Place<'fd> {
    pub(crate) stdin: BorrowedFd<'fd>,
    pub(crate) stdout: BorrowedFd<'fd>,
    pub(crate) stderr: BorrowedFd<'fd>,
    /// The control group that it is in from its first instruction.
    pub(crate) group: Option<BorrowedFd<'fd>>,
}

/// A step of starting a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Getting a launcher to do it.
    Launcher,
    Pipe,
    /// Opening what the child reads.
    Stdin,
    Clone,
    OomScoreAdjust,
    Nice,
    Ionice,
    PrivateTmp,
    Chdir,
    /// Setting the limit at this place in [`RESOURCES`](super::RESOURCES).
    Limit(usize),
    NoNewPrivileges,
    Exec,
    /// Making the file that it writes.
    Output,
}

/// A step that failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failed {
    pub(crate) errno: i32,
    pub(crate) step: Step,
}

/// Why there is no child.
#[derive(Debug)]
pub(crate) enum NotStarted {
    /// A step failed, and no process is left of it.
    Failed(Failed),
    /// The launcher was lost over it. This process was cloned: it may do anything, is to be killed and then reaped.
    Unfinished(Pid),
}

impl From<Failed> for NotStarted {
    fn from(failed: Failed) -> Self {
        NotStarted::Failed(failed)
    }
}

/// What a launcher has to know once and for all.
#[derive(Clone, Copy)]
struct Setting {
    /// The worker.
    parent: libc::pid_t,
    /// The limit of open files, for launchers and children.
    files: libc::rlimit,
    /// Where a launcher begins to run: the end of a stack, which each has for itself.
    stack: *mut c_void,
    /// Where a child does, in the memory of its launcher.
    child_stack: *mut c_void,
}

/// What worker and launcher share. In the worker it is one thread's, the first slot that of who holds the lock of
/// [`Launchers::first`]; from a request to its answer it is the launcher's.
#[repr(C)]
struct Slot {
    setting: Setting,
    /// The launcher's end of the socket, when it begins.
    socket: c_int,
    /// The slot for a copy of the launcher; null if the request is for a child.
    copy: *mut Slot,
    /// What the child is to execute, in `room`.
    layout: Layout,
    /// The descriptors that came with the request.
    fds: [c_int; FDS],
    /// The process that was cloned, 0 before that.
    pid: libc::pid_t,
    /// The step that failed, if one did.
    failed: Option<Failed>,
    room: [u8; ROOM],
}

/// All launchers of this process, and the memory shared with them.
pub(crate) struct Launchers {
    /// The first launcher's, then those of the threads. They are there until the process ends.
    slots: *mut Slot,
    /// How many there are.
    count: usize,
    /// How many of them are somebody's.
    taken: AtomicUsize,
    /// Our end of the first launcher's socket, unless it was lost. Who holds this lock has the first slot.
    first: Mutex<Option<OwnedFd>>,
    /// Those that were not yet reaped.
    pids: Mutex<Vec<Pid>>,
    setting: Setting,
}

// SAFETY: a slot is used by whose it is and nobody else, see there; the other pointers are not followed in this process.
unsafe impl Send for Launchers {}
// SAFETY: as above.
unsafe impl Sync for Launchers {}

impl Launchers {
    /// Forks the first launcher. There can be as many others as `threads`.
    ///
    /// To be called as early as possible, by the main thread while it is the only one, with all signals blocked and
    /// all descriptors close-on-exec. The limit of open files is for children what it is now.
    pub(crate) fn start(threads: usize) -> io::Result<Self> {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let limit = |value: Option<u64>| value.unwrap_or(libc::RLIM_INFINITY);
        // Nobody's stack in this process: each launcher gets its own copy of this memory.
        let stacks = map(2 * STACK, libc::MAP_PRIVATE)?;
        let setting = Setting {
            parent: rustix::process::getpid().as_raw_nonzero().get(),
            files: libc::rlimit {
                rlim_cur: limit(files.current),
                rlim_max: limit(files.maximum),
            },
            stack: stacks.wrapping_byte_add(STACK),
            child_stack: stacks.wrapping_byte_add(2 * STACK),
        };
        let count = threads + 1;
        let launchers = Launchers {
            slots: map(count * size_of::<Slot>(), libc::MAP_SHARED)?.cast(),
            count,
            taken: AtomicUsize::new(0),
            first: Mutex::default(),
            pids: Mutex::default(),
            setting,
        };
        // The first slot.
        launchers.take_slot();
        *lock(&launchers.first) = Some(launchers.fork()?);
        Ok(launchers)
    }

    /// A launcher for a thread, as many as were asked for. There is no process yet.
    pub(crate) fn for_thread(&self) -> Option<Launcher<'_>> {
        Some(Launcher {
            launchers: self,
            slot: self.take_slot()?,
            socket: None,
        })
    }

    /// The processes, but for those that were reaped.
    pub(crate) fn pids(&self) -> Vec<Pid> {
        lock(&self.pids).clone()
    }

    /// Whether this child, which has ended, was a launcher. It is none any more then.
    pub(crate) fn has_lost(&self, pid: Pid) -> bool {
        let mut pids = lock(&self.pids);
        let before = pids.len();
        pids.retain(|launcher| *launcher != pid);
        pids.len() < before
    }

    fn take_slot(&self) -> Option<*mut Slot> {
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        if number >= self.count {
            return None;
        }
        let slot = self.slots.wrapping_add(number);
        // SAFETY: it is in the memory that was mapped for them, and by the count nobody else has it.
        unsafe { (*slot).setting = self.setting };
        Some(slot)
    }

    /// Forks a first launcher from this process. Gives back our end of its socket.
    fn fork(&self) -> io::Result<OwnedFd> {
        let slot = self.slots;
        let (ours, theirs) = pair()?;
        // SAFETY: the slot is ours, as nobody can have asked the first launcher before it is there, or since it was
        // lost. The process gets a copy of this memory and runs `launch`, which relies on nothing that other threads
        // may just have changed in it, on a stack that nobody in this process uses.
        let pid = unsafe {
            (*slot).socket = theirs.as_raw_fd();
            libc::clone(launch, self.setting.stack, libc::SIGCHLD, slot.cast())
        };
        let Some(pid) = Pid::from_raw(pid).filter(|_| pid > 0) else {
            return Err(io::Error::last_os_error());
        };
        lock(&self.pids).push(pid);
        Ok(ours)
    }

    /// Has the first launcher make a copy of itself that serves `slot`. Gives back our end of its socket.
    fn copy(&self, slot: *mut Slot) -> Result<OwnedFd, Failed> {
        let failed = |errno: i32| Failed {
            errno,
            step: Step::Launcher,
        };
        let (ours, theirs) = pair().map_err(|errno| failed(errno.raw_os_error()))?;
        let mut first = lock(&self.first);
        // That it was lost shows when it is asked.
        for _ in 0..2 {
            let socket = match first.take() {
                Some(socket) => socket,
                None => self
                    .fork()
                    .map_err(|error| failed(error.raw_os_error().unwrap_or(libc::EIO)))?,
            };
            // SAFETY: with the lock the first slot is ours, and its launcher waits.
            unsafe { (*self.slots).copy = slot };
            let answer = ask(&socket, self.slots, &[theirs.as_fd()]);
            match answer {
                Answer::Done(_) | Answer::Failed(..) => *first = Some(socket),
                Answer::Lost(_) => {}
            }
            match answer {
                // A copy is whole also if its original was lost.
                Answer::Done(pid) | Answer::Lost(Some(pid)) => {
                    lock(&self.pids).push(pid);
                    return Ok(ours);
                }
                Answer::Failed(Failed { errno, .. }, _) => return Err(failed(errno)),
                Answer::Lost(None) => {}
            }
        }
        Err(failed(libc::EIO))
    }
}

/// What starts the children of one thread. The process behind it comes when it is needed.
pub(crate) struct Launcher<'a> {
    launchers: &'a Launchers,
    slot: *mut Slot,
    /// Our end of the socket of the process, if there is one.
    socket: Option<OwnedFd>,
}

impl Launcher<'_> {
    /// Starts a child and waits until it has exec'ed. It is a child of this process, leads a new session and process
    /// group, has no signal blocked, SIGPIPE at its default, no descriptors but those of `place`, and dies with the
    /// thread that forked the launchers.
    pub(crate) fn start(&mut self, plan: &Plan, place: &Place<'_>) -> Result<Pid, NotStarted> {
        // SAFETY: the slot is this thread's, and no launcher uses it before it is asked below.
        let room = unsafe { slice::from_raw_parts_mut((&raw mut (*self.slot).room).cast::<u8>(), ROOM) };
        let (layout, length) = plan.lay_out(room).ok_or(Failed {
            errno: libc::E2BIG,
            step: Step::Exec,
        })?;
        // SAFETY: as above.
        unsafe { (*self.slot).layout = layout };
        let fds = [Some(place.stdin), Some(place.stdout), Some(place.stderr), place.group];
        let mut sent = [place.stdin; FDS];
        let count = fds
            .into_iter()
            .flatten()
            .zip(&mut sent)
            .map(|(fd, to)| *to = fd)
            .count();
        // One that was lost since the last start shows when it is asked. Nothing has begun then, so another can do it.
        for _ in 0..2 {
            let socket = match self.socket.take() {
                Some(socket) => socket,
                None => self.launchers.copy(self.slot)?,
            };
            match ask(&socket, self.slot, &sent[..count]) {
                Answer::Done(pid) => {
                    // Without its socket it ends.
                    self.socket = (length <= ROOM_KEPT).then_some(socket);
                    return Ok(pid);
                }
                Answer::Failed(failed, child) => {
                    self.socket = (length <= ROOM_KEPT).then_some(socket);
                    if let Some(pid) = child {
                        // It has ended. An error could only be that somebody else reaped it, which nobody does.
                        let _ = reap(pid);
                    }
                    return Err(failed.into());
                }
                // Its slot stays as it is until this is known: the child reads there.
                Answer::Lost(Some(pid)) => match await_orphan(pid) {
                    Orphan::Executed => return Ok(pid),
                    Orphan::Ended => {
                        let failed = self.failed().ok_or(NotStarted::Unfinished(pid))?;
                        // As above.
                        let _ = reap(pid);
                        return Err(failed.into());
                    }
                    Orphan::Hangs => return Err(NotStarted::Unfinished(pid)),
                },
                Answer::Lost(None) => {}
            }
        }
        Err(NotStarted::Failed(Failed {
            errno: libc::EIO,
            step: Step::Launcher,
        }))
    }
}

impl Launcher<'_> {
    /// The step at which a child that has ended says that it failed.
    fn failed(&self) -> Option<Failed> {
        // SAFETY: the slot is this thread's, and both launcher and child have ended.
        unsafe { (*self.slot).failed }
    }
}

/// What came of a request.
enum Answer {
    /// This process was cloned and is on its way.
    Done(Pid),
    /// A step failed; the process, if it came so far, has ended.
    Failed(Failed, Option<Pid>),
    /// The launcher has ended, after it cloned this process, if it came so far.
    Lost(Option<Pid>),
}

/// Has the launcher behind `socket` do what its slot says, and waits for it.
///
/// The slot must be the caller's, and that of this launcher.
fn ask(socket: &OwnedFd, slot: *mut Slot, fds: &[BorrowedFd<'_>]) -> Answer {
    // SAFETY: the launcher waits for a request and so does not touch the slot.
    unsafe {
        (*slot).pid = 0;
        (*slot).failed = None;
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    // There is room for them.
    let _ = control.push(SendAncillaryMessage::ScmRights(fds));
    match retry_on_intr(|| sendmsg(socket, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)) {
        Ok(_) => {}
        Err(Errno::PIPE | Errno::CONNRESET) => return Answer::Lost(None),
        Err(errno) => {
            let (errno, step) = (errno.raw_os_error(), Step::Launcher);
            return Answer::Failed(Failed { errno, step }, None);
        }
    }
    // An error says that it has ended too, before it read the request.
    let answered = retry_on_intr(|| rustix::io::read(socket, &mut [0_u8])).is_ok_and(|length| length > 0);
    // SAFETY: the launcher has answered or has ended; either way it no longer touches the slot. What it and the kernel
    // have written is seen, since the compiler cannot know what the calls above do to memory.
    let (pid, failed) = unsafe { (Pid::from_raw((*slot).pid), (*slot).failed) };
    match (answered, failed, pid) {
        (false, _, _) => Answer::Lost(pid),
        (true, None, Some(pid)) => Answer::Done(pid),
        (true, Some(failed), _) => Answer::Failed(failed, pid),
        // Not possible: clone fails or gives a process.
        (true, None, None) => Answer::Lost(None),
    }
}

fn pair() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
}

/// Memory, all zero, that takes no room before it is used.
fn map(bytes: usize, sharing: c_int) -> io::Result<*mut c_void> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | sharing;
    // SAFETY: it is new memory, which nobody uses yet.
    unsafe {
        let memory = libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0);
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // Only to keep launchers small; an error says that there are no huge pages.
        libc::madvise(memory, bytes, libc::MADV_NOHUGEPAGE);
        Ok(memory)
    }
}

/// A panic elsewhere leaves what is locked here as whole as it was.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The life of a launcher: requests until the worker has ended.
extern "C" fn launch(slot: *mut c_void) -> c_int {
    let slot = slot.cast::<Slot>();
    // SAFETY: the slot is this launcher's, and the worker leaves it alone from its request to the answer. With
    // CLONE_VFORK this thread does not run again before the child has exec'ed or ended, so nobody else uses the child's
    // stack. A copy has its own memory, so its stack may be where ours is. What is cloned runs functions of this module
    // that keep to what their slot points at. The rest are bare system calls on what is valid here.
    unsafe {
        settle(slot);
        loop {
            let Some(fds) = receive() else {
                libc::_exit(0);
            };
            (*slot).fds = fds;
            let Setting { stack, child_stack, .. } = (*slot).setting;
            let common = libc::CLONE_PARENT | libc::CLONE_PARENT_SETTID | libc::SIGCHLD;
            let vfork = libc::CLONE_VM | libc::CLONE_VFORK;
            let pid = &raw mut (*slot).pid;
            let copy = (*slot).copy;
            let [.., group] = fds;
            let cloned = if copy.is_null() && group >= 0 {
                let result = clone_into(&Into {
                    flags: common & !libc::SIGCHLD | vfork,
                    stack: child_stack,
                    stack_size: STACK,
                    pid,
                    group,
                    run: child,
                    with: slot.cast(),
                });
                if result < 0 {
                    *libc::__errno_location() = -result;
                }
                result
            } else if copy.is_null() {
                libc::clone(child, child_stack, common | vfork, slot.cast(), pid)
            } else {
                (*copy).socket = fds[0];
                libc::clone(launch, stack, common, copy.cast(), pid)
            };
            if cloned < 0 {
                (*slot).failed = Some(last_error(Step::Clone));
            }
            for fd in fds {
                libc::close(fd);
            }
            let byte = 0_u8;
            if libc::send(0, (&raw const byte).cast(), 1, libc::MSG_NOSIGNAL) != 1 {
                libc::_exit(0);
            }
        }
    }
}

/// Makes a launcher of what was forked: tied to the worker, without what the worker has open. 0, 1 and 2 are all its
/// socket, so that what it receives gets other numbers, and its child has none of it as soon as it has its own.
///
/// # Safety
/// Only to be called by [`launch`], with its argument.
unsafe fn settle(slot: *mut Slot) {
    let none: libc::c_ulong = 0;
    // SAFETY: bare system calls; the descriptors are this process's own copies, and nobody uses any but the socket.
    unsafe {
        let Setting { parent, files, .. } = (*slot).setting;
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::getppid() != parent {
            // The worker ended before the line above could tie us to it.
            libc::_exit(0);
        }
        // For the children; a launcher itself never gets one.
        let default = MaybeUninit::<libc::sigaction>::zeroed();
        libc::sigaction(libc::SIGPIPE, default.as_ptr(), ptr::null_mut());
        libc::prctl(libc::PR_SET_NAME, NAME.as_ptr());
        let socket = (*slot).socket;
        for number in 0..3 {
            if number != socket && libc::dup3(socket, number, libc::O_CLOEXEC) < 0 {
                libc::_exit(1);
            }
        }
        let (first, last): (libc::c_ulong, libc::c_ulong) = (3, libc::c_uint::MAX as libc::c_ulong);
        if libc::syscall(libc::SYS_close_range, first, last, none) != 0 {
            // Before Linux 5.9. Children have nothing of what is beyond, for all is close-on-exec.
            let mut limit = MaybeUninit::<libc::rlimit>::zeroed();
            libc::getrlimit(libc::RLIMIT_NOFILE, limit.as_mut_ptr());
            let end = limit.assume_init_ref().rlim_cur.min(CLOSE_MAX);
            let mut number = 3;
            while number < end {
                libc::close(number as c_int);
                number += 1;
            }
        }
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const files);
        // No directory is held busy.
        libc::chdir(c"/".as_ptr());
    }
}

/// Waits for a request. Gives back its descriptors, -1 for those that did not come; nothing when the worker has ended.
///
/// # Safety
/// Only to be called by [`launch`], when it has a socket.
unsafe fn receive() -> Option<[c_int; FDS]> {
    let mut byte = 0_u8;
    let mut part = libc::iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    // More than the header and the descriptors take, and aligned for them.
    let mut control = [0_u64; 8];
    let mut message = MaybeUninit::<libc::msghdr>::zeroed();
    let mut fds = [-1; FDS];
    // SAFETY: a zeroed msghdr is valid, and what it is made to point at outlives the calls. The kernel fills in whole
    // headers only, and the descriptors behind one are read as far as its length says.
    unsafe {
        let message = message.assume_init_mut();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = size_of_val(&control) as _;
        loop {
            let length = libc::recvmsg(0, message, libc::MSG_CMSG_CLOEXEC);
            if length > 0 {
                break;
            }
            if length == 0 || *libc::__errno_location() != libc::EINTR {
                return None;
            }
        }
        let header = libc::CMSG_FIRSTHDR(message);
        if !header.is_null() && (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
            let mut from = libc::CMSG_DATA(header);
            let end = header.cast::<u8>().wrapping_add((*header).cmsg_len as usize);
            for fd in &mut fds {
                let next = from.wrapping_add(size_of::<c_int>());
                if next > end {
                    break;
                }
                *fd = from.cast::<c_int>().read_unaligned();
                from = next;
            }
        }
    }
    Some(fds)
}

fn last_error(step: Step) -> Failed {
    // SAFETY: the library's own, always valid.
    let errno = unsafe { *libc::__errno_location() };
    Failed { errno, step }
}
