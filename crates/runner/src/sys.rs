//! The only unsafe code of the runner: what the safe crates do not offer. Signal masks and dispositions, what is open,
//! waiting with a look first, the account of a user, and in [`launcher`] the clone that starts a child.
//!
//! Each unsafe block says what it relies on. Nothing here decides anything.
#![expect(unsafe_code, reason = "system calls that no safe crate offers; see each block")]

mod into;
mod launcher;
mod plan;

use std::ffi::{CStr, OsString, c_char, c_int, c_void};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::ptr;

use rustix::process::Pid;

pub(crate) use launcher::{Failed, Launcher, Launchers, NotStarted, Place, Step};
pub(crate) use plan::{CStrings, Decimal, HasNul, Plan, RESOURCES, Settings};

/// Signals that say "this very thread is broken"; blocking them would only make the death less clear.
const FAULTS: [c_int; 7] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGTRAP,
    libc::SIGSYS,
    libc::SIGABRT,
];

/// Blocks every signal but faults in this thread and the threads it starts.
pub(crate) fn block_signals() {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initialises the set before anything reads it; the other calls get valid pointers, and none
    // of them fails for signals that exist.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        for signal in FAULTS {
            libc::sigdelset(set.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, set.as_ptr(), ptr::null_mut());
    }
}

/// Undoes what was inherited: a signal that whoever started this process ignored (`nohup`, a shell's background jobs,
/// the C library's way of spawning) gets its default disposition back, because children inherit what is ignored.
/// SIGPIPE stays ignored here and is put right in each child.
pub(crate) fn restore_dispositions() {
    /// The kernel's own structure, which begins with the handler. Longer than any machine's.
    type Disposition = [usize; 16];
    /// Bytes of the kernel's set of signals.
    const SET: usize = 8;

    for signal in (1..=libc::SIGRTMAX()).filter(|signal| *signal != libc::SIGPIPE) {
        let mut now: Disposition = [0; 16];
        let default: Disposition = [libc::SIG_DFL; 16];
        // SAFETY: not by the library's function, which does not touch the signals it keeps for itself. The kernel
        // reads and writes less than the arrays hold, and zero is its default disposition without flags and mask.
        unsafe {
            let none = ptr::null::<Disposition>();
            let nowhere = ptr::null_mut::<Disposition>();
            if libc::syscall(libc::SYS_rt_sigaction, signal, none, &raw mut now, SET) == 0 && now[0] == libc::SIG_IGN {
                libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, nowhere, SET);
            }
        }
    }
}

/// Marks all descriptors from 3 up as close-on-exec, which keeps from the programs that this process starts what
/// whoever started it left open. For a process that may need some of it itself; [`close_inherited`] is for others.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn close_inherited_on_exec() -> io::Result<()> {
    for number in beyond_stdio()? {
        // SAFETY: it changes a flag of a descriptor, whoever has it, or fails where there is none.
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

/// Closes all descriptors from 3 up: what whoever started this process left open in it, a pipe for instance whose
/// reader waits for its end.
///
/// Only for the beginning of `main`, before the program has opened anything or started a thread: it does not ask whose
/// a descriptor is.
///
/// # Errors
/// When the kernel is older than 5.9 or does not let us, and `/proc` cannot be read either.
pub fn close_inherited() -> io::Result<()> {
    let (first, last, flags): (libc::c_ulong, libc::c_ulong, libc::c_ulong) = (3, u32::MAX.into(), 0);
    // SAFETY: it takes no pointers, and by the contract above nobody in this process has any of the descriptors.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) } == 0 {
        return Ok(());
    }
    for number in beyond_stdio()? {
        // SAFETY: as above. That of the directory is closed already; with one thread nobody can have got its number.
        unsafe { libc::close(number) };
    }
    Ok(())
}

/// The descriptors from 3 up, and the number of one that was only open to find them.
fn beyond_stdio() -> io::Result<Vec<c_int>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let number = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(number @ 3..) = number {
            numbers.push(number);
        }
    }
    Ok(numbers)
}

/// Keeps these signals from this thread and from those it starts, and gives a descriptor on which they can be read. They
/// outlast an exec: what was not read waits for the program that this process becomes, if it holds them too.
///
/// # Errors
/// When no descriptor is left.
pub fn hold_signals(signals: &[c_int]) -> io::Result<OwnedFd> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is initialised by sigemptyset; the pointers are valid, and the call does not fail for signals that
    // exist.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut());
    }
    signal_fd(signals, true)
}

/// A descriptor on which these signals can be read; they must be blocked.
pub(crate) fn signal_fd(signals: &[c_int], nonblocking: bool) -> io::Result<OwnedFd> {
    let flags = libc::SFD_CLOEXEC | if nonblocking { libc::SFD_NONBLOCK } else { 0 };
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is initialised by sigemptyset; the descriptor that signalfd returns is new and owned by nobody.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        let fd = libc::signalfd(-1, set.as_ptr(), flags);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// The signals waiting on a descriptor of [`hold_signals`]; none where there are none.
///
/// # Errors
/// When it is no such descriptor.
pub fn read_signals(fd: &OwnedFd) -> io::Result<Vec<c_int>> {
    const RECORD: usize = size_of::<libc::signalfd_siginfo>();
    let mut buffer = [0_u8; RECORD * 8];
    match rustix::io::read(fd, &mut buffer) {
        Ok(length) => Ok(buffer[..length]
            .chunks_exact(RECORD)
            .filter_map(|record| record.first_chunk::<4>())
            // `ssi_signo` is the first field.
            .map(|number| u32::from_ne_bytes(*number).cast_signed())
            .collect()),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// A child that has ended, left as it is: while it is not reaped its process id, and with it the id of its process
/// group, cannot be given to anybody else. Of several it may always be the same one.
pub(crate) fn peek_ended() -> Option<Pid> {
    peek(libc::P_ALL, 0)
}

/// Whether this child has ended and is not reaped.
pub(crate) fn has_ended(pid: Pid) -> bool {
    peek(libc::P_PID, pid.as_raw_nonzero().get().cast_unsigned()).is_some()
}

fn peek(kind: libc::idtype_t, id: libc::id_t) -> Option<Pid> {
    // SAFETY: zeroed is a valid siginfo_t, the call fills it or leaves it, and si_pid is valid for what waitid fills
    // in and zero in a zeroed one.
    let pid = unsafe {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        if libc::waitid(kind, id, info.as_mut_ptr(), flags) != 0 {
            return None;
        }
        info.assume_init_ref().si_pid()
    };
    Pid::from_raw(pid)
}

/// How a reaped process ended and what it used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reaped {
    /// The exit code, unless a signal ended it.
    pub(crate) code: i32,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
    /// Largest resident size of the process and of those that it waited for, in KiB. Not less than that of the
    /// [`launcher`] that cloned it, about 1,000.
    pub(crate) max_rss_kib: u64,
    pub(crate) user_us: u64,
    pub(crate) system_us: u64,
    /// Bytes read from devices, and written to them.
    pub(crate) read_bytes: u64,
    pub(crate) written_bytes: u64,
}

/// Reaps a child, waiting for its end.
pub(crate) fn reap(pid: Pid) -> io::Result<Reaped> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are valid for the call, and zeroed is a valid rusage.
    let usage = unsafe {
        loop {
            let got = libc::wait4(pid.as_raw_nonzero().get(), &raw mut status, 0, usage.as_mut_ptr());
            if got > 0 {
                break usage.assume_init();
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    };
    let micros = |time: libc::timeval| {
        u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_usec).unwrap_or(0)
    };
    // Counted in blocks of this size, whatever the device has.
    let bytes = |blocks: libc::c_long| u64::try_from(blocks).unwrap_or(0).saturating_mul(512);
    Ok(Reaped {
        code: libc::WEXITSTATUS(status),
        signal: libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)),
        max_rss_kib: u64::try_from(usage.ru_maxrss).unwrap_or(0),
        user_us: micros(usage.ru_utime),
        system_us: micros(usage.ru_stime),
        read_bytes: bytes(usage.ru_inblock),
        written_bytes: bytes(usage.ru_oublock),
    })
}

/// The user id on the other side of a Unix socket, as the kernel saw it when the connection was made.
pub(crate) fn peer_uid(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut credentials = libc::ucred {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };
    let mut length = libc::socklen_t::try_from(size_of::<libc::ucred>()).unwrap_or(0);
    // SAFETY: the pointers are valid for the length given.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast::<c_void>(),
            &raw mut length,
        )
    };
    if result == 0 {
        Ok(credentials.uid)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Where `byte` is first in `bytes`.
pub(crate) fn find(byte: u8, bytes: &[u8]) -> Option<usize> {
    // SAFETY: memchr reads at most the length given and returns null or a pointer into `bytes`.
    unsafe {
        let start = bytes.as_ptr().cast::<c_void>();
        let found = libc::memchr(start, c_int::from(byte), bytes.len());
        (!found.is_null()).then(|| found.offset_from_unsigned(start))
    }
}

/// What the system knows of a user.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) name: OsString,
    pub(crate) home: OsString,
    pub(crate) shell: OsString,
}

/// The account of a user id, if it has one.
pub(crate) fn account(uid: u32) -> Option<Account> {
    let mut buffer = vec![0_u8; 16 * 1024];
    let mut entry = MaybeUninit::<libc::passwd>::zeroed();
    let mut found = ptr::null_mut();
    // SAFETY: all pointers are valid and the length is the buffer's. On success `found` points at `entry`, whose
    // strings lie in `buffer` and end in NUL; both outlive the copies made here.
    unsafe {
        let result = libc::getpwuid_r(
            uid,
            entry.as_mut_ptr(),
            buffer.as_mut_ptr().cast::<c_char>(),
            buffer.len(),
            &raw mut found,
        );
        if result != 0 || found.is_null() {
            return None;
        }
        let own = |text: *const c_char| {
            let bytes = if text.is_null() {
                Vec::new()
            } else {
                CStr::from_ptr(text).to_bytes().to_vec()
            };
            OsString::from_vec(bytes)
        };
        let entry = &*found;
        Some(Account {
            name: own(entry.pw_name),
            home: own(entry.pw_dir),
            shell: own(entry.pw_shell),
        })
    }
}

/// Gives memory that was freed back to the system. For after work that took much more than is usual; it takes some
/// milliseconds for each 100 MiB, in which other threads may have to wait for memory.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointers, may be called from any thread, and touches only what is free.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_is_found_and_stdio_is_left_out() {
        let file = fs::File::open("/dev/null").expect("a system");
        let numbers = beyond_stdio().expect("a system");
        assert!(numbers.contains(&file.as_raw_fd()), "{numbers:?}");
        assert!(numbers.iter().all(|number| *number > 2), "{numbers:?}");
    }
}
