//! System calls without the C library, which keeps the error of the last one for the thread: the children of a launcher are
//! one thread to it, since they share its memory, and several of them make calls at the same time.

use std::ffi::{c_int, c_long};

/// Whether this machine's calls are known. Where they are not they go by the library, and there must be one child at a time.
pub(super) const IS_KNOWN: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// The most arguments of a system call.
const ARGUMENTS: usize = 6;

/// Error numbers are less than this, and results that are as negative are none.
const ERRNO_END: isize = 4096;

/// What a system call takes.
pub(super) trait Argument {
    /// It, as it goes into a register.
    fn word(self) -> usize;
}

impl Argument for c_int {
    fn word(self) -> usize {
        // With its sign, as C would widen it.
        (self as isize).cast_unsigned()
    }
}

impl Argument for u32 {
    fn word(self) -> usize {
        self as usize
    }
}

impl Argument for usize {
    fn word(self) -> usize {
        self
    }
}

impl<T> Argument for *const T {
    fn word(self) -> usize {
        self.expose_provenance()
    }
}

impl<T> Argument for *mut T {
    fn word(self) -> usize {
        self.expose_provenance()
    }
}

/// Makes the system call of a number with up to six arguments, by [`system_call`].
macro_rules! call {
    ($number:expr $(, $argument:expr)*) => {
        bare::call!(@six $number, $($argument,)* 0_usize, 0_usize, 0_usize, 0_usize, 0_usize, 0_usize)
    };
    (@six $number:expr, $a:expr, $b:expr, $c:expr, $d:expr, $e:expr, $f:expr $(, 0_usize)*) => {{
        use bare::Argument as _;
        bare::system_call($number, [$a.word(), $b.word(), $c.word(), $d.word(), $e.word(), $f.word()])
    }};
}
pub(super) use call;

/// Makes a system call. Gives back its result, or the number of an error.
///
/// # Safety
/// As for the call.
pub(super) unsafe fn system_call(number: c_long, arguments: [usize; ARGUMENTS]) -> Result<usize, c_int> {
    // SAFETY: as for this function.
    let result = unsafe { make(number, arguments) };
    if result < 0 && result > -ERRNO_END {
        // Less than `ERRNO_END`.
        return Err(-result as c_int);
    }
    Ok(result.cast_unsigned())
}

/// Makes a system call. Gives back its result, or the negative of an error number.
///
/// # Safety
/// As for the call.
#[cfg(target_arch = "x86_64")]
unsafe fn make(number: c_long, [a, b, c, d, e, f]: [usize; ARGUMENTS]) -> isize {
    let result;
    // SAFETY: as for this function; the kernel changes these registers only.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            in("r8") e,
            in("r9") f,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Makes a system call. Gives back its result, or the negative of an error number.
///
/// # Safety
/// As for the call.
#[cfg(target_arch = "aarch64")]
unsafe fn make(number: c_long, [a, b, c, d, e, f]: [usize; ARGUMENTS]) -> isize {
    let result;
    // SAFETY: as for this function; the kernel changes these registers only.
    unsafe {
        std::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a => result,
            in("x1") b,
            in("x2") c,
            in("x3") d,
            in("x4") e,
            in("x5") f,
            options(nostack),
        );
    }
    result
}

/// Makes a system call. Gives back its result, or the negative of an error number.
///
/// # Safety
/// As for the call.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn make(number: c_long, [a, b, c, d, e, f]: [usize; ARGUMENTS]) -> isize {
    // SAFETY: as for this function; the library's own place for errors is always valid.
    unsafe {
        let result = libc::syscall(number, a, b, c, d, e, f);
        if result == -1 {
            return -(*libc::__errno_location() as isize);
        }
        result as isize
    }
}

#[cfg(test)]
mod tests {
    use super::super::bare;

    #[test]
    fn a_call_gives_its_result_or_its_error() {
        let text = b"text";
        // SAFETY: what is read is as long as is said, and a descriptor that is made is closed; the rest takes no memory.
        unsafe {
            let own = call!(libc::SYS_getpid).expect("there is one");
            assert_eq!(Ok(std::process::id()), u32::try_from(own));
            assert_eq!(call!(libc::SYS_close, -1), Err(libc::EBADF));
            let file = call!(
                libc::SYS_openat,
                libc::AT_FDCWD,
                c"/dev/null".as_ptr(),
                libc::O_WRONLY,
                0
            )
            .expect("a device");
            assert_eq!(call!(libc::SYS_write, file, text.as_ptr(), text.len()), Ok(text.len()));
            assert_eq!(call!(libc::SYS_close, file), Ok(0));
            assert_eq!(
                call!(
                    libc::SYS_openat,
                    libc::AT_FDCWD,
                    c"/nowhere/at/all".as_ptr(),
                    libc::O_RDONLY,
                    0
                ),
                Err(libc::ENOENT)
            );
        }
    }
}
