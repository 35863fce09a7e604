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
//! **Requests.** Worker and launchers share memory, a [`Slot`] each. The worker writes there what is to be done, some
//! [orders](Order), and sends one byte with descriptors over a socket; the launcher clones one child after the other, waits
//! until each has executed its program or ended, and sends one byte back. Only one of them touches the slot at a time, but
//! for the orders, whose stages say whose each is: a start may hang, in the exec of a file whose server is away, and then
//! the worker takes in the others, and takes back what was not cloned. The kernel itself writes the process id there before
//! the new process runs, so the worker knows what was cloned even if the launcher is killed before it can answer; and when
//! the process leaves the launcher's memory, that.
//!
//! **Inside a launcher** ([`serve`]) are system calls and nothing else: it may have been forked while other threads held
//! locks, so it neither allocates nor locks nor panics. That holds for its children too, until they are programs of their
//! own; several of them are in its memory at once, each with a stack and an order of its own.

mod bare;
mod child;
mod orphan;
mod request;
mod serve;

use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::Pid;

use super::plan::{Layout, Plan};
use request::{Answer, Heard, Request, Unsent, answer, hear, pair, send};
use serve::launch;

/// What a launcher is called, for people.
const NAME: &CStr = c"taskd-launcher";

/// Starts that are asked for together at most.
const ORDERS: usize = 32;

/// Bytes of strings from which on no other start is added to a request.
const ROOM_TOGETHER: usize = 64 << 10;

/// Bytes of memory for the strings of a request. The kernel takes no more for a start with the usual limit of the stack.
const ROOM: usize = ROOM_TOGETHER + (2 << 20);

/// How long a request may take before what is over is taken in, and what has not begun is taken back. A start takes no
/// millisecond unless what it needs is far away, or others run.
const PATIENCE: Duration = Duration::from_millis(20);

/// The longest that is waited before it is looked again for what is over, while several take long.
const PATIENCE_MAX: Duration = Duration::from_secs(1);

/// A launcher that has read more bytes of strings than this is replaced, since it has become as much larger.
const ROOM_KEPT: usize = 256 << 10;

/// Bytes of a stack. A few thin wrappers need some hundred.
const STACK: usize = 64 << 10;

/// Bytes of the stack of a child before its exec.
const CHILD_STACK: usize = 16 << 10;

/// Descriptors of a start: those of a [`Place`].
const PLACES: usize = 4;

/// Descriptors of a request at most.
const FDS: usize = ORDERS * PLACES;

/// Descriptors that a launcher has itself, with one that its child opens.
const FILES_OWN: libc::rlim_t = 4;

/// The number of the descriptor that a start does not have.
const NONE: u8 = u8::MAX;

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
    /// Setting the limit at this place in [`RESOURCES`](super::RESOURCES).
    Limit(usize),
    /// Becoming another user: its groups, then the first of them, then itself.
    Groups,
    Gid,
    Uid,
    /// Seeing to it that there is no way back to root.
    DropRoot,
    Chdir,
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
#[derive(Clone, Copy, Debug)]
pub(crate) enum NotStarted {
    /// A step failed, and no process is left of it.
    Failed(Failed),
    /// The launcher was lost over it. This process was cloned: it may do anything, is to be killed and then reaped.
    Unfinished(Pid),
    /// Nothing has begun: one before it took long, or the launcher was lost. It may be tried again.
    NotBegun {
        /// Whether it was lost.
        lost: bool,
    },
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
    /// Where the stacks of children are, one for each order, in the memory of their launcher.
    child_stacks: *mut c_void,
}

impl Setting {
    /// How many starts may be asked for together: a launcher has no more descriptors open than the limit lets it.
    fn orders_max(&self) -> usize {
        let free = self.files.rlim_cur.saturating_sub(FILES_OWN);
        usize::try_from(free).map_or(ORDERS, |free| (free / PLACES).clamp(1, ORDERS))
    }
}

/// What worker and launcher share. In the worker it is one thread's, the first slot that of who holds the lock of
/// [`Launchers::first`]; from a request to its answer it is the launcher's, but for orders that are over or
/// were taken back.
#[repr(C)]
struct Slot {
    setting: Setting,
    /// The launcher's end of the socket, when it begins.
    socket: c_int,
    /// The slot for a copy of the launcher; null if the request is for children.
    copy: *mut Slot,
    /// How many of the orders are meant.
    count: usize,
    /// One for each child; a copy has the first.
    orders: [Order; ORDERS],
    /// The descriptors that came with the request.
    fds: [c_int; FDS],
    room: [u8; ROOM],
}

/// A child that is to be started.
#[repr(C)]
struct Order {
    /// Where it is.
    slot: *mut Slot,
    /// What it is to execute, in the room of the slot.
    layout: Layout,
    /// Which of the descriptors become its 0, 1 and 2, and which is its control group; [`NONE`] for none.
    places: [u8; PLACES],
    /// One of those of [`stage`].
    stage: AtomicU32,
    /// [`WITHIN`] until the process that was cloned has left the memory of its launcher, because it executes its program or
    /// has ended; [`GONE`] then. The kernel sets it, and wakes who waits for it.
    within: AtomicU32,
    /// The process that was cloned, 0 before that.
    pid: libc::pid_t,
    /// The step that failed, if one did.
    failed: Option<Failed>,
}

/// A child is, or will be, in the memory of its launcher.
const WITHIN: u32 = 1;

/// It is there no more. The kernel's number.
const GONE: u32 = 0;

/// How far an order has come. Whoever moves it on from [`WAITS`](stage::WAITS) has it.
mod stage {
    /// Nobody has touched it.
    pub(super) const WAITS: u32 = 0;
    /// The launcher clones its process, or has done so.
    pub(super) const BEGUN: u32 = 1;
    /// The launcher has nothing more to do with it, whatever came of it.
    pub(super) const OVER: u32 = 2;
    /// The worker has taken it back.
    pub(super) const WITHDRAWN: u32 = 3;
}

impl Slot {
    /// The order of this number, of which there are [`ORDERS`].
    ///
    /// # Safety
    /// The slot is one that was mapped.
    unsafe fn order(slot: *mut Slot, number: usize) -> *mut Order {
        // SAFETY: only an address is made. Not by an index, which could panic where nothing may.
        unsafe { (&raw mut (*slot).orders).cast::<Order>().wrapping_add(number) }
    }
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
        let stacks = map(STACK + ORDERS * CHILD_STACK, libc::MAP_PRIVATE)?;
        let setting = Setting {
            parent: rustix::process::getpid().as_raw_nonzero().get(),
            files: libc::rlimit {
                rlim_cur: limit(files.current),
                rlim_max: limit(files.maximum),
            },
            stack: stacks.wrapping_byte_add(STACK),
            child_stacks: stacks.wrapping_byte_add(STACK),
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
            count: 0,
            length: 0,
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
            match send(&socket, self.slots, 1, &[theirs.as_fd()]) {
                Ok(()) => {}
                Err(Unsent::Lost) => continue,
                Err(Unsent::Failed(failed)) => {
                    *first = Some(socket);
                    return Err(failed);
                }
            }
            if hear(&socket, None) == Heard::Answer {
                *first = Some(socket);
            }
            // SAFETY: it has answered or has ended, and there is a first order.
            match unsafe { answer(self.slots, 0) } {
                // A copy is whole also if its original was lost.
                Answer::Done(pid) | Answer::Lost(pid) => {
                    lock(&self.pids).push(pid);
                    return Ok(ours);
                }
                Answer::Failed(Failed { errno, .. }, _) => return Err(failed(errno)),
                Answer::NotBegun => {}
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
    /// Starts that were added for the next request.
    count: usize,
    /// Bytes of the slot's room that they take.
    length: usize,
}

impl<'a> Launcher<'a> {
    /// Whether another start may be added to the next request.
    pub(crate) fn has_room(&self) -> bool {
        self.count < self.launchers.setting.orders_max() && self.length <= ROOM_TOGETHER
    }

    /// Adds a start to the next request, where [there is room](Self::has_room).
    pub(crate) fn add(&mut self, plan: &Plan) -> Result<(), Failed> {
        if self.count >= ORDERS {
            let (errno, step) = (libc::ENOBUFS, Step::Launcher);
            return Err(Failed { errno, step });
        }
        // SAFETY: the slot is this thread's, and no launcher uses it before it is asked. What was laid out has less than
        // all of the room, and is not touched.
        let room = unsafe {
            let begin = (&raw mut (*self.slot).room).cast::<u8>().add(self.length);
            slice::from_raw_parts_mut(begin, ROOM - self.length)
        };
        let (layout, length) = plan.lay_out(room).ok_or(Failed {
            errno: libc::E2BIG,
            step: Step::Exec,
        })?;
        // SAFETY: as above, and there is such an order.
        unsafe { (*Slot::order(self.slot, self.count)).layout = layout };
        self.count += 1;
        self.length += length;
        Ok(())
    }

    /// Asks for what was added, of which these are the places in the same order.
    ///
    /// A child is one of this process, leads a new session and process group, has no signal blocked, SIGPIPE at its
    /// default, no descriptors but those of its place, and dies with the thread that forked the launchers.
    pub(crate) fn ask<'s>(&'s mut self, places: &[Place<'_>]) -> Result<Request<'s, 'a>, NotStarted> {
        let (count, length) = (self.count.min(places.len()), self.length);
        (self.count, self.length) = (0, 0);
        let mut fds = Vec::with_capacity(FDS);
        for (number, place) in places.iter().enumerate().take(count) {
            // SAFETY: the slot is this thread's, and no launcher uses it before it is asked below.
            unsafe { (*Slot::order(self.slot, number)).places = place.in_request(&mut fds) };
        }
        // One that was lost since the last request shows when it is asked. Nothing has begun then, so another can do it.
        for _ in 0..2 {
            let socket = match self.socket.take() {
                Some(socket) => socket,
                None => self.launchers.copy(self.slot)?,
            };
            match send(&socket, self.slot, count, &fds) {
                Ok(()) => {
                    return Ok(Request::new(self, socket, count, length));
                }
                Err(Unsent::Lost) => {}
                Err(Unsent::Failed(failed)) => {
                    self.socket = Some(socket);
                    return Err(failed.into());
                }
            }
        }
        Err(NotStarted::NotBegun { lost: true })
    }
}

impl<'fd> Place<'fd> {
    /// Its descriptors by their numbers in a request, to which they are added unless they are there.
    fn in_request(&self, fds: &mut Vec<BorrowedFd<'fd>>) -> [u8; PLACES] {
        [Some(self.stdin), Some(self.stdout), Some(self.stderr), self.group].map(|fd| {
            let Some(fd) = fd else { return NONE };
            let known = fds.iter().position(|known| known.as_raw_fd() == fd.as_raw_fd());
            let number = known.unwrap_or_else(|| {
                fds.push(fd);
                fds.len() - 1
            });
            // There are far fewer: a few for each order.
            u8::try_from(number).unwrap_or(NONE)
        })
    }
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
