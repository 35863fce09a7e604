//! The life of a launcher, in a process of its own: system calls and nothing else.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::Ordering;

use super::super::into::{Into, clone_into};
use super::bare::IS_KNOWN;
use super::child::child;
use super::{CHILD_STACK, CLOSE_MAX, FDS, Failed, GONE, NAME, NONE, Order, Setting, Slot, Step, WITHIN, stage};

/// The life of a launcher: requests until the worker has ended.
pub(super) extern "C" fn launch(slot: *mut c_void) -> c_int {
    let slot = slot.cast::<Slot>();
    // SAFETY: the slot is this launcher's, and the worker leaves it alone from its request to the answer, but for orders that
    // by their stages are not this launcher's, or are over. Each child has the stack of its order, and no order is given
    // again before its child has exec'ed or ended. A copy has its own memory, so its stack may be where ours is. What is
    // cloned runs functions of this module that keep to what their arguments point at. The rest are bare system calls on
    // what is valid here.
    unsafe {
        settle(slot);
        loop {
            let Some(fds) = receive() else {
                libc::_exit(0);
            };
            (*slot).fds = fds;
            let mut number = 0;
            while number < (*slot).count {
                let order = Slot::order(slot, number);
                let stage = &raw const (*order).stage;
                let taken = (*stage).compare_exchange(stage::WAITS, stage::BEGUN, Ordering::AcqRel, Ordering::Relaxed);
                if taken.is_ok() {
                    let copies = !(*slot).copy.is_null();
                    let result = if copies {
                        copy(slot, order)
                    } else {
                        clone(slot, order, number)
                    };
                    if result < 0 {
                        (*order).failed = Some(last_error(Step::Clone));
                    }
                    if result < 0 || copies {
                        (*stage).store(stage::OVER, Ordering::Release);
                    }
                }
                number += 1;
            }
            // Children have theirs, and who reads from a pipe is not to wait for what hangs.
            if !close_others() {
                for fd in fds {
                    if fd >= 0 {
                        libc::close(fd);
                    }
                }
            }
            // The last first: when it is over most others are, and need not be waited for. Who has asked sees by the kernel's
            // words that they are.
            let mut number = (*slot).count;
            while number > 0 {
                number -= 1;
                let order = Slot::order(slot, number);
                let stage = &raw const (*order).stage;
                if (*stage).load(Ordering::Relaxed) == stage::BEGUN {
                    outlast(order);
                    (*stage).store(stage::OVER, Ordering::Release);
                }
            }
            let byte = 0_u8;
            if libc::send(0, (&raw const byte).cast(), 1, libc::MSG_NOSIGNAL) != 1 {
                libc::_exit(0);
            }
        }
    }
}

/// Clones a launcher for another slot. Gives back its process id; what is negative says that there is none, and errno why.
///
/// # Safety
/// Only to be called by [`launch`], with its argument and an order of that.
unsafe fn copy(slot: *mut Slot, order: *mut Order) -> c_int {
    // SAFETY: as in `launch`.
    unsafe {
        let copy = (*slot).copy;
        (*copy).socket = fd(slot, 0);
        let flags = libc::CLONE_PARENT | libc::CLONE_PARENT_SETTID | libc::SIGCHLD;
        libc::clone(launch, (*slot).setting.stack, flags, copy.cast(), &raw mut (*order).pid)
    }
}

/// Clones the child of an order, of which this is the number. Gives back its process id; what is negative says that there is
/// none, and errno why.
///
/// # Safety
/// Only to be called by [`launch`], with its argument and an order of that.
unsafe fn clone(slot: *mut Slot, order: *mut Order, number: usize) -> c_int {
    // SAFETY: as in `launch`.
    unsafe {
        let told = libc::CLONE_PARENT_SETTID | libc::CLONE_CHILD_CLEARTID;
        let mut flags = libc::CLONE_PARENT | libc::CLONE_VM | told;
        // Where the errors of children would be mixed up, and where the kernel wants it, see `child`; such a start is alone.
        if !IS_KNOWN || (*order).layout.settings.is_shared() {
            flags |= libc::CLONE_VFORK;
        }
        let stack = (*slot)
            .setting
            .child_stacks
            .wrapping_byte_add((number + 1) * CHILD_STACK);
        let (pid, within) = (&raw mut (*order).pid, (*order).within.as_ptr());
        let [.., place] = (*order).places;
        if place == NONE {
            let nothing = ptr::null_mut::<c_void>();
            return libc::clone(child, stack, flags | libc::SIGCHLD, order.cast(), pid, nothing, within);
        }
        let group = fd(slot, place);
        if group < 0 {
            // It did not come: there are as many open as there may be.
            *libc::__errno_location() = libc::EMFILE;
            return -1;
        }
        let result = clone_into(&Into {
            flags,
            stack,
            stack_size: CHILD_STACK,
            pid,
            within,
            group,
            run: child,
            with: order.cast(),
        });
        if result < 0 {
            *libc::__errno_location() = -result;
        }
        result
    }
}

/// Waits until the child of an order has exec'ed or ended.
///
/// # Safety
/// Only to be called by [`launch`], with an order whose child was cloned.
unsafe fn outlast(order: *mut Order) {
    let forever = ptr::null::<libc::timespec>();
    // SAFETY: the number is there as long as the slot; the kernel is the only one that changes it.
    unsafe {
        let within = &raw const (*order).within;
        while (*within).load(Ordering::Acquire) != GONE {
            libc::syscall(libc::SYS_futex, within, libc::FUTEX_WAIT, WITHIN, forever);
        }
    }
}

/// The descriptor of this number of the request; -1 for none.
///
/// # Safety
/// Only to be called in a launcher or its child, with its slot.
pub(super) unsafe fn fd(slot: *mut Slot, number: u8) -> c_int {
    if usize::from(number) >= FDS {
        return -1;
    }
    // SAFETY: there is such a number. Not by an index, which could panic where nothing may.
    unsafe {
        *(&raw const (*slot).fds)
            .cast::<c_int>()
            .wrapping_add(usize::from(number))
    }
}

/// Makes a launcher of what was forked: tied to the worker, without what the worker has open. 0, 1 and 2 are all its
/// socket, so that what it receives gets other numbers, and its child has none of it as soon as it has its own.
///
/// # Safety
/// Only to be called by [`launch`], with its argument.
unsafe fn settle(slot: *mut Slot) {
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
        if !close_others() {
            // Children have nothing of what is beyond, for all is close-on-exec.
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

/// Closes all but what a launcher has itself. Says whether that could be done: before Linux 5.9 it cannot.
///
/// # Safety
/// Only to be called in a launcher.
unsafe fn close_others() -> bool {
    let (first, last): (libc::c_ulong, libc::c_ulong) = (3, libc::c_uint::MAX as libc::c_ulong);
    let none: libc::c_ulong = 0;
    // SAFETY: a bare system call.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, none) == 0 }
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
    let mut control = [0_u64; 4 + FDS / 2];
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
