//! What a child does between clone and exec: system calls and nothing else, in the memory of its launcher, on a stack of its
//! own. Others may do the same meanwhile, in the same memory.

use std::ffi::{c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;

use super::super::plan::{LaidOut, Layout, RESOURCES, Settings};
use super::bare::{self, call};
use super::serve::fd;
use super::{Failed, Order, Step};

/// Bytes of the kernel's set of signals; some machines have twice as many.
const SIGNALS: usize = 8;

/// A number of the machine's word that the kernel is to read as zero.
const NONE: usize = 0;

/// What the child does between clone and exec.
pub(super) extern "C" fn child(order: *mut c_void) -> c_int {
    let order = order.cast::<Order>();
    // SAFETY: the order is this child's; what its slot holds beside is only read until the child has exec'ed or ended. Its
    // layout has valid strings and arrays ended as execve wants them. Every call is a bare system call.
    unsafe {
        let _ = call!(libc::SYS_setsid);
        tie(order);
        let [stdin, stdout, stderr, _] = (*order).places;
        for (number, place) in [(0, stdin), (1, stdout), (2, stderr)] {
            // What it comes from has a higher number.
            must(
                order,
                Step::Pipe,
                call!(libc::SYS_dup3, fd((*order).slot, place), number, 0),
            );
        }
        // What came for others: where this hangs, it would hold them open. Before Linux 5.9 it does.
        let _ = call!(libc::SYS_close_range, 3_u32, u32::MAX, 0);
        let Layout {
            program,
            argv,
            env,
            cwd,
            stdin,
            identity,
            settings,
        } = (*order).layout;
        raise(order, &settings);
        limit(order, &settings);
        if let Some(identity) = identity {
            become_another(order, &identity);
        }
        // What the user may not enter or read, the command of the user does not get by the rights of the runner.
        must(order, Step::Chdir, call!(libc::SYS_chdir, cwd));
        if !stdin.is_null() {
            must(order, Step::Stdin, read_from(stdin));
        }
        if settings.no_new_privileges {
            let (what, yes) = (libc::PR_SET_NO_NEW_PRIVS, 1_usize);
            must(
                order,
                Step::NoNewPrivileges,
                call!(libc::SYS_prctl, what, yes, NONE, NONE, NONE),
            );
        }
        // Zero is the empty set.
        let none = [0_u8; 2 * SIGNALS];
        let how = libc::SIG_SETMASK;
        if call!(libc::SYS_rt_sigprocmask, how, none.as_ptr(), ptr::null::<u8>(), SIGNALS).is_err() {
            let _ = call!(
                libc::SYS_rt_sigprocmask,
                how,
                none.as_ptr(),
                ptr::null::<u8>(),
                none.len()
            );
        }
        must(order, Step::Exec, call!(libc::SYS_execve, program, argv, env));
        // A program that was executed does not come back here.
        give_up(order, Step::Exec, libc::EIO)
    }
}

/// Has the child end with the worker, and ends it if that is gone already.
///
/// # Safety
/// Only to be called by [`child`], with its argument.
unsafe fn tie(order: *mut Order) {
    // SAFETY: bare system calls.
    unsafe {
        let signal = libc::SIGKILL;
        let _ = call!(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, signal, NONE, NONE, NONE);
        let parent = call!(libc::SYS_getppid);
        if parent != Ok(bare::Argument::word((*(*order).slot).setting.parent)) {
            // The worker ended before the line above could tie us to it.
            end();
        }
    }
}

/// Sets what opens a file and what needs rights, before there are limits and fewer rights.
///
/// # Safety
/// Only to be called by [`child`], with its argument.
unsafe fn raise(order: *mut Order, settings: &Settings) {
    /// The process itself, of what `ioprio_set` may be about.
    const WHO_PROCESS: c_int = 1;

    // SAFETY: bare system calls; what is written is read as far as it is there. Priorities are this process's own. The
    // adjustment is too, since the kernel leaves out who shares the memory while there is a vfork.
    unsafe {
        if let Some(adjust) = settings.oom_score_adjust {
            let path = c"/proc/self/oom_score_adj".as_ptr();
            let file = call!(
                libc::SYS_openat,
                libc::AT_FDCWD,
                path,
                libc::O_WRONLY | libc::O_CLOEXEC,
                0
            );
            let file = must(order, Step::OomScoreAdjust, file);
            let digits = adjust.as_bytes();
            let written = call!(libc::SYS_write, file, digits.as_ptr(), digits.len());
            must(order, Step::OomScoreAdjust, written);
            let _ = call!(libc::SYS_close, file);
        }
        if let Some(nice) = settings.nice {
            let (which, who) = (libc::PRIO_PROCESS, 0);
            must(order, Step::Nice, call!(libc::SYS_setpriority, which, who, nice));
        }
        if let Some(priority) = settings.ioprio {
            must(
                order,
                Step::Ionice,
                call!(libc::SYS_ioprio_set, WHO_PROCESS, 0, priority),
            );
        }
        if settings.private_tmp {
            must(order, Step::PrivateTmp, hide_tmp());
        }
    }
}

/// Puts empty directories in memory in the place of `/tmp` and `/var/tmp`, for this process and those it starts. They go
/// with the last of them. What is mounted elsewhere meanwhile is seen all the same.
///
/// # Safety
/// Only to be called in a child.
unsafe fn hide_tmp() -> Result<usize, c_int> {
    let (apart, kept) = (libc::MS_REC | libc::MS_SLAVE, libc::MS_NOSUID | libc::MS_NODEV);
    let (apart, kept) = (apart as usize, kept as usize);
    // A quarter of the memory at most, for each.
    let options = c"mode=1777,size=25%".as_ptr();
    let (kind, source) = (c"tmpfs".as_ptr(), c"taskd".as_ptr());
    let nothing = ptr::null::<c_char>();
    // SAFETY: bare system calls with texts that are always there; the namespace is this process's own after the first.
    unsafe {
        call!(libc::SYS_unshare, libc::CLONE_NEWNS)?;
        // Else others would see them too.
        call!(libc::SYS_mount, nothing, c"/".as_ptr(), nothing, apart, nothing)?;
        for place in [c"/tmp", c"/var/tmp"] {
            match call!(libc::SYS_mount, source, place.as_ptr(), kind, kept, options) {
                // Where there is no such directory there is nothing to hide.
                Ok(_) | Err(libc::ENOENT) => {}
                error => return error,
            }
        }
    }
    Ok(0)
}

/// Sets mask and limits, which a user without rights could not raise any more.
///
/// # Safety
/// Only to be called by [`child`], with its argument.
unsafe fn limit(order: *mut Order, settings: &Settings) {
    /// The process itself.
    const SELF: c_int = 0;

    // SAFETY: bare system calls on what is this process's own: mask and limits are not shared with the launcher.
    unsafe {
        if let Some(mask) = settings.umask {
            let _ = call!(libc::SYS_umask, mask);
        }
        for (place, ((_, resource), limit)) in RESOURCES.iter().zip(settings.limits).enumerate() {
            let Some((rlim_cur, rlim_max)) = limit else { continue };
            let limit = libc::rlimit64 { rlim_cur, rlim_max };
            let none = ptr::null_mut::<libc::rlimit64>();
            let set = call!(libc::SYS_prlimit64, SELF, *resource, &raw const limit, none);
            must(order, Step::Limit(place), set);
        }
    }
}

/// The system calls that take 32 bits of an id.
mod number {
    #[cfg(not(any(target_arch = "x86", target_arch = "arm")))]
    pub(super) use libc::{
        SYS_setgroups as SETGROUPS, SYS_setresgid as SETRESGID, SYS_setresuid as SETRESUID, SYS_setuid as SETUID,
    };
    #[cfg(any(target_arch = "x86", target_arch = "arm"))]
    pub(super) use libc::{
        SYS_setgroups32 as SETGROUPS, SYS_setresgid32 as SETRESGID, SYS_setresuid32 as SETRESUID,
        SYS_setuid32 as SETUID,
    };
}

/// Makes the child that of another user, for good.
///
/// The groups go first, as only root may change them; then there must be no way back. While the memory is still that of the
/// launcher, the kernel keeps the user from it: who changes ids is not to be traced.
///
/// # Safety
/// Only to be called by [`child`], with its argument.
unsafe fn become_another(order: *mut Order, identity: &LaidOut) {
    const ROOT: libc::uid_t = 0;

    let LaidOut {
        uid,
        gid,
        groups,
        count,
    } = *identity;
    // SAFETY: bare system calls: the C library's own functions would have other threads do the same. The groups are as
    // many as the count says. Ids are of this process alone.
    unsafe {
        must(order, Step::Groups, call!(number::SETGROUPS, count, groups));
        must(order, Step::Gid, call!(number::SETRESGID, gid, gid, gid));
        must(order, Step::Uid, call!(number::SETRESUID, uid, uid, uid));
        // It is so already, unless the machine lets its users look into what changes ids.
        let _ = call!(libc::SYS_prctl, libc::PR_SET_DUMPABLE, NONE, NONE, NONE, NONE);
        if uid != ROOT && call!(number::SETUID, ROOT).is_ok() {
            give_up(order, Step::DropRoot, libc::EPERM);
        }
        // The kernel has untied what became another user.
        tie(order);
    }
}

/// Opens a file in the place of what the child reads.
///
/// # Safety
/// Only to be called in a child, with a text that ends in NUL.
unsafe fn read_from(path: *const c_char) -> Result<usize, c_int> {
    // A named pipe would have us wait for somebody to write to it; the command may do that.
    let flags = libc::O_RDONLY | libc::O_NOCTTY | libc::O_NONBLOCK | libc::O_LARGEFILE;
    let mut stat = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: bare system calls on a descriptor that is this process's own; zeroed is a valid statx.
    unsafe {
        // The lowest number that is free is the one it is to have, whatever the limit of open files.
        let _ = call!(libc::SYS_close, 0);
        call!(libc::SYS_openat, libc::AT_FDCWD, path, flags, 0)?;
        let (own, kind) = (libc::AT_EMPTY_PATH, libc::STATX_TYPE);
        call!(libc::SYS_statx, 0, c"".as_ptr(), own, kind, stat.as_mut_ptr())?;
        if libc::mode_t::from(stat.assume_init_ref().stx_mode) & libc::S_IFMT == libc::S_IFDIR {
            return Err(libc::EISDIR);
        }
        call!(libc::SYS_fcntl, 0, libc::F_SETFL, 0)
    }
}

/// What a step gave; the child gives up where that is an error.
///
/// # Safety
/// Only to be called by [`child`], with its argument.
unsafe fn must(order: *mut Order, step: Step, result: Result<usize, c_int>) -> usize {
    match result {
        Ok(value) => value,
        // SAFETY: as for this function.
        Err(errno) => unsafe { give_up(order, step, errno) },
    }
}

/// Leaves an error for the worker, and ends the child.
///
/// # Safety
/// Only to be called by [`child`], with its argument.
unsafe fn give_up(order: *mut Order, step: Step, errno: c_int) -> ! {
    // SAFETY: the order is this child's.
    unsafe { (*order).failed = Some(Failed { errno, step }) };
    end()
}

/// Ends the child. No handlers run.
fn end() -> ! {
    loop {
        // SAFETY: it takes no memory, and does not come back.
        let _ = unsafe { call!(libc::SYS_exit_group, 127) };
    }
}
