//! What a child does between clone and exec: system calls and nothing else, in the memory of its launcher.

use std::ffi::{c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;

use super::super::plan::{LaidOut, Layout, RESOURCES, Settings};
use super::serve::{fd, last_error};
use super::{Order, Slot, Step};

/// What the child does between clone and exec. It runs in the memory of the launcher, which waits.
pub(super) extern "C" fn child(slot: *mut c_void) -> c_int {
    let slot = slot.cast::<Slot>();
    // SAFETY: the slot is the launcher's; its layout has valid strings and arrays ended as execve wants them. Every
    // call is a bare system call or a wrapper that only sets errno, which is the waiting launcher's.
    unsafe {
        libc::setsid();
        tie(slot);
        let order = order(slot);
        let [stdin, stdout, stderr, _] = (*order).places;
        for (number, place) in [(0, stdin), (1, stdout), (2, stderr)] {
            if libc::dup2(fd(slot, place), number) < 0 {
                give_up(slot, Step::Pipe);
            }
        }
        let Layout {
            program,
            argv,
            env,
            cwd,
            stdin,
            identity,
            settings,
        } = (*order).layout;
        raise(slot, &settings);
        limit(slot, &settings);
        if let Some(identity) = identity {
            become_another(slot, &identity);
        }
        // What the user may not enter or read, the command of the user does not get by the rights of the runner.
        if libc::chdir(cwd) != 0 {
            give_up(slot, Step::Chdir);
        }
        if !stdin.is_null() && !read_from(stdin) {
            give_up(slot, Step::Stdin);
        }
        let (yes, none): (libc::c_ulong, libc::c_ulong) = (1, 0);
        if settings.no_new_privileges && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, yes, none, none, none) != 0 {
            give_up(slot, Step::NoNewPrivileges);
        }
        let mut none = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
        libc::execve(program, argv, env);
        give_up(slot, Step::Exec);
    }
}

/// What it was cloned for.
///
/// # Safety
/// Only to be called by [`child`], with its argument.
unsafe fn order(slot: *mut Slot) -> *mut Order {
    // SAFETY: the launcher has set it before it cloned this child, and waits, or has ended.
    unsafe { Slot::order(slot, (*slot).current) }
}

/// Has the child end with the worker, and ends it if that is gone already.
///
/// # Safety
/// Only to be called by [`child`], with its argument.
unsafe fn tie(slot: *mut Slot) {
    // SAFETY: bare system calls.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::getppid() != (*slot).setting.parent {
            // The worker ended before the line above could tie us to it.
            libc::_exit(127);
        }
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

/// Sets mask and limits, which a user without rights could not raise any more.
///
/// # Safety
/// Only to be called by [`child`], with its argument.
unsafe fn limit(slot: *mut Slot, settings: &Settings) {
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
unsafe fn become_another(slot: *mut Slot, identity: &LaidOut) {
    const ROOT: libc::uid_t = 0;

    let LaidOut {
        uid,
        gid,
        groups,
        count,
    } = *identity;
    let none: libc::c_ulong = 0;
    // SAFETY: bare system calls: the C library's own functions would have other threads do the same, and there are none
    // in this memory but who waits for us. The groups are as many as the count says. Ids are of this process alone.
    unsafe {
        if libc::syscall(number::SETGROUPS, count, groups) != 0 {
            give_up(slot, Step::Groups);
        }
        if libc::syscall(number::SETRESGID, gid, gid, gid) != 0 {
            give_up(slot, Step::Gid);
        }
        if libc::syscall(number::SETRESUID, uid, uid, uid) != 0 {
            give_up(slot, Step::Uid);
        }
        // It is so already, unless the machine lets its users look into what changes ids.
        libc::prctl(libc::PR_SET_DUMPABLE, none, none, none, none);
        if uid != ROOT && libc::syscall(number::SETUID, ROOT) == 0 {
            *libc::__errno_location() = libc::EPERM;
            give_up(slot, Step::DropRoot);
        }
        // The kernel has untied what became another user.
        tie(slot);
    }
}

/// Opens a file in the place of what the child reads. Gives back whether that succeeded.
///
/// # Safety
/// Only to be called in a child, with a text that ends in NUL.
unsafe fn read_from(path: *const c_char) -> bool {
    // A named pipe would have us wait for somebody to write to it; the command may do that.
    let flags = libc::O_RDONLY | libc::O_NOCTTY | libc::O_NONBLOCK | libc::O_LARGEFILE;
    let mut stat = MaybeUninit::<libc::stat64>::zeroed();
    // SAFETY: bare system calls on a descriptor that is this process's own; zeroed is a valid stat.
    unsafe {
        // The lowest number that is free is the one it is to have, whatever the limit of open files.
        libc::close(0);
        if libc::open(path, flags) != 0 || libc::fstat64(0, stat.as_mut_ptr()) != 0 {
            return false;
        }
        if stat.assume_init_ref().st_mode & libc::S_IFMT == libc::S_IFDIR {
            *libc::__errno_location() = libc::EISDIR;
            return false;
        }
        libc::fcntl(0, libc::F_SETFL, 0) == 0
    }
}

/// Leaves the error of the last call for the launcher and the worker, and ends the child.
///
/// # Safety
/// Only to be called by [`child`], with its argument.
unsafe fn give_up(slot: *mut Slot, step: Step) -> ! {
    // SAFETY: as in `child`; _exit runs no handlers.
    unsafe {
        (*order(slot)).failed = Some(last_error(step));
        libc::_exit(127)
    }
}
