//! What a child does between clone and exec: system calls and nothing else, in the memory of its launcher.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;

use super::super::plan::{Layout, RESOURCES, Settings};
use super::{Slot, Step, last_error};

/// What the child does between clone and exec. It runs in the memory of the launcher, which waits.
pub(super) extern "C" fn child(slot: *mut c_void) -> c_int {
    let slot = slot.cast::<Slot>();
    // SAFETY: the slot is the launcher's; its layout has valid strings and arrays ended as execve wants them. Every
    // call is a bare system call or a wrapper that only sets errno, which is the waiting launcher's.
    unsafe {
        libc::setsid();
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::getppid() != (*slot).setting.parent {
            // The worker ended before the line above could tie us to it.
            libc::_exit(127);
        }
        let [stdin, stdout, stderr, _] = (*slot).fds;
        for (number, fd) in [(0, stdin), (1, stdout), (2, stderr)] {
            if libc::dup2(fd, number) < 0 {
                give_up(slot, Step::Pipe);
            }
        }
        let Layout {
            program,
            argv,
            env,
            cwd,
            settings,
        } = (*slot).layout;
        raise(slot, &settings);
        if libc::chdir(cwd) != 0 {
            give_up(slot, Step::Chdir);
        }
        lower(slot, &settings);
        let mut none = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
        libc::execve(program, argv, env);
        give_up(slot, Step::Exec);
    }
}

/// Sets what opens a file and what needs rights, before there are limits and fewer rights.
///
/// # Safety
/// Only to be called by [`child`], with its argument.
unsafe fn raise(slot: *mut Slot, settings: &Settings) {
    /// The process itself, of what `ioprio_set` may be about.
    const WHO_PROCESS: c_int = 1;

    // SAFETY: bare system calls; what is written is read as far as it is there. Priorities are this process's own. The
    // adjustment is too, since the kernel leaves out who shares the memory while there is a vfork.
    unsafe {
        if let Some(adjust) = settings.oom_score_adjust {
            let file = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            let digits = adjust.as_bytes();
            if file < 0 || libc::write(file, digits.as_ptr().cast(), digits.len()) < 0 {
                give_up(slot, Step::OomScoreAdjust);
            }
            libc::close(file);
        }
        if let Some(nice) = settings.nice
            && libc::setpriority(libc::PRIO_PROCESS, 0, nice) != 0
        {
            give_up(slot, Step::Nice);
        }
        if let Some(priority) = settings.ioprio
            && libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, priority) != 0
        {
            give_up(slot, Step::Ionice);
        }
        if settings.private_tmp && !hide_tmp() {
            give_up(slot, Step::PrivateTmp);
        }
    }
}

/// Puts empty directories in memory in the place of `/tmp` and `/var/tmp`, for this process and those it starts. They go
/// with the last of them. What is mounted elsewhere meanwhile is seen all the same. Gives back whether all of it succeeded.
///
/// # Safety
/// Only to be called in a child.
unsafe fn hide_tmp() -> bool {
    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    // A quarter of the memory at most, for each.
    let options = c"mode=1777,size=25%".as_ptr();
    let (kind, source) = (c"tmpfs".as_ptr(), c"taskd".as_ptr());
    let nothing = ptr::null();
    // SAFETY: bare system calls with texts that are always there; the namespace is this process's own after the first.
    unsafe {
        if libc::unshare(libc::CLONE_NEWNS) != 0 {
            return false;
        }
        // Else others would see them too.
        if libc::mount(
            nothing,
            c"/".as_ptr(),
            nothing,
            libc::MS_REC | libc::MS_SLAVE,
            ptr::null(),
        ) != 0
        {
            return false;
        }
        for place in [c"/tmp", c"/var/tmp"] {
            let is_mounted = libc::mount(source, place.as_ptr(), kind, flags, options.cast()) == 0;
            // Where there is no such directory there is nothing to hide.
            if !is_mounted && *libc::__errno_location() != libc::ENOENT {
                return false;
            }
        }
    }
    true
}

/// Sets what takes away from the child.
///
/// # Safety
/// Only to be called by [`child`], with its argument.
unsafe fn lower(slot: *mut Slot, settings: &Settings) {
    let (yes, none): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // SAFETY: bare system calls on what is this process's own: mask and limits are not shared with the launcher.
    unsafe {
        if let Some(mask) = settings.umask {
            libc::umask(mask);
        }
        for (place, ((_, resource), limit)) in RESOURCES.iter().zip(settings.limits).enumerate() {
            let Some((rlim_cur, rlim_max)) = limit else { continue };
            let limit = libc::rlimit { rlim_cur, rlim_max };
            if libc::setrlimit(*resource as _, &raw const limit) != 0 {
                give_up(slot, Step::Limit(place));
            }
        }
        if settings.no_new_privileges && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, yes, none, none, none) != 0 {
            give_up(slot, Step::NoNewPrivileges);
        }
    }
}

/// Leaves the error of the last call for the launcher and the worker, and ends the child.
///
/// # Safety
/// Only to be called by [`child`], with its argument.
unsafe fn give_up(slot: *mut Slot, step: Step) -> ! {
    // SAFETY: as in `child`; _exit runs no handlers.
    unsafe {
        (*slot).failed = Some(last_error(step));
        libc::_exit(127)
    }
}
