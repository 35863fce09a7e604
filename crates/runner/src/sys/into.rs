//! The clone that puts a child into a control group from its first instruction. The C library has no function for it, and
//! a child with the memory of its cloner cannot return from a system call: so it is done by hand, where we know how.

use std::ffi::{c_int, c_void};

/// The kernel's structure in its second version, the first that knows control groups.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[repr(C)]
#[derive(Default)]
struct Args {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// What is cloned, and how.
pub(super) struct Into {
    /// As for clone(2), without a signal: with `CLONE_PARENT` it is that of the cloner.
    pub(super) flags: c_int,
    /// The end of its stack, aligned to 16 bytes, and the bytes it has.
    pub(super) stack: *mut c_void,
    pub(super) stack_size: usize,
    /// Where the kernel writes its process id.
    pub(super) pid: *mut libc::pid_t,
    /// What the kernel sets to 0 when it leaves the memory, if the flags say so.
    pub(super) within: *mut u32,
    /// An open directory of the control group.
    pub(super) group: c_int,
    /// What it runs, which must not return, and with what.
    pub(super) run: extern "C" fn(*mut c_void) -> c_int,
    pub(super) with: *mut c_void,
}

/// Clones a process into a control group. Gives back its id, or the negative of an error number.
///
/// # Safety
/// As for `libc::clone`: the stack is nobody else's while the process is in this memory.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) unsafe fn clone_into(into: &Into) -> c_int {
    const CLONE_INTO_CGROUP: u64 = 1 << 33;

    let args = Args {
        flags: u64::from(into.flags.cast_unsigned()) | CLONE_INTO_CGROUP,
        child_tid: into.within as u64,
        parent_tid: into.pid as u64,
        stack: into.stack.wrapping_byte_sub(into.stack_size) as u64,
        stack_size: into.stack_size as u64,
        cgroup: u64::from(into.group.cast_unsigned()),
        ..Args::default()
    };
    let result: i64;
    // SAFETY: the kernel reads the structure only. The parent comes back from the call as from any other. The child has
    // the registers of the parent and its own stack, of which it uses nothing but what it pushes, and ends in a function
    // that does not return.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") &raw const args,
            in("rsi") size_of::<Args>(),
            in("r12") into.with,
            in("r13") into.run,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x9",
            "blr x10",
            "brk 1",
            "2:",
            inlateout("x0") &raw const args => result,
            in("x1") size_of::<Args>(),
            in("x8") libc::SYS_clone3,
            in("x9") into.with,
            in("x10") into.run,
        );
    }
    // An id or an error number, both of which are small.
    result as c_int
}

/// Nobody knows how here.
///
/// # Safety
/// It does nothing.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) unsafe fn clone_into(_: &Into) -> c_int {
    -libc::ENOSYS
}
