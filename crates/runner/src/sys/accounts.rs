//! What the system's database of accounts has of a user. A look may take as long as the service behind it.

use std::ffi::{CStr, CString, OsString, c_char, c_int};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStringExt as _;
use std::ptr;

/// Bytes of an entry's texts for which there is room at first, and at most.
const ROOM: (usize, usize) = (16 << 10, 1 << 20);

/// Groups of a user for which there is room at first, and at most, which is what the kernel takes.
const GROUPS: (usize, usize) = (64, 1 << 16);

/// What the system knows of a user.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) name: OsString,
    pub(crate) uid: u32,
    /// Its first group.
    pub(crate) gid: u32,
    pub(crate) home: OsString,
    pub(crate) shell: OsString,
}

/// The account of a user id, if it has one.
pub(crate) fn account(uid: u32) -> io::Result<Option<Account>> {
    // SAFETY: `look_up` gives pointers that are valid for the call, with the length of the buffer.
    look_up(|entry, buffer, length, found| unsafe { libc::getpwuid_r(uid, entry, buffer, length, found) })
}

/// The account of this name, if there is one.
pub(crate) fn account_named(name: &CStr) -> io::Result<Option<Account>> {
    // SAFETY: as above, and the name ends in NUL.
    look_up(|entry, buffer, length, found| unsafe { libc::getpwnam_r(name.as_ptr(), entry, buffer, length, found) })
}

fn look_up(
    ask: impl Fn(*mut libc::passwd, *mut c_char, usize, *mut *mut libc::passwd) -> c_int,
) -> io::Result<Option<Account>> {
    let (mut length, most) = ROOM;
    loop {
        let mut buffer = vec![0_u8; length];
        let mut entry = MaybeUninit::<libc::passwd>::zeroed();
        let mut found = ptr::null_mut();
        let result = ask(
            entry.as_mut_ptr(),
            buffer.as_mut_ptr().cast::<c_char>(),
            buffer.len(),
            &raw mut found,
        );
        match result {
            0 if found.is_null() => return Ok(None),
            // SAFETY: on success it points at `entry`, whose strings lie in `buffer`.
            0 => return Ok(Some(unsafe { Account::of(&*found) })),
            libc::EINTR => {}
            libc::ERANGE if length < most => length *= 2,
            // As getpwnam(3) has it, some services say so of an account that is not there.
            libc::ENOENT | libc::ESRCH | libc::EBADF | libc::EPERM => return Ok(None),
            errno => return Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

impl Account {
    /// Copies an entry.
    ///
    /// # Safety
    /// Its strings are null or end in NUL.
    unsafe fn of(entry: &libc::passwd) -> Self {
        let own = |text: *const c_char| {
            let bytes = if text.is_null() {
                Vec::new()
            } else {
                // SAFETY: as the caller says.
                unsafe { CStr::from_ptr(text) }.to_bytes().to_vec()
            };
            OsString::from_vec(bytes)
        };
        Account {
            name: own(entry.pw_name),
            uid: entry.pw_uid,
            gid: entry.pw_gid,
            home: own(entry.pw_dir),
            shell: own(entry.pw_shell),
        }
    }

    /// All groups it is in, the first one included.
    pub(crate) fn groups(&self) -> io::Result<Vec<libc::gid_t>> {
        let name =
            CString::new(self.name.as_encoded_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        let (mut room, most) = GROUPS;
        loop {
            let mut groups: Vec<libc::gid_t> = vec![0; room];
            let mut count = c_int::try_from(room).unwrap_or(c_int::MAX);
            // SAFETY: the name ends in NUL, and no more is written than the count says there is room for.
            let result = unsafe { libc::getgrouplist(name.as_ptr(), self.gid, groups.as_mut_ptr(), &raw mut count) };
            if result >= 0 {
                groups.truncate(usize::try_from(count).unwrap_or(0));
                return Ok(groups);
            }
            if room >= most {
                return Err(io::Error::from_raw_os_error(libc::E2BIG));
            }
            room *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_name_and_by_number() {
        let root = account_named(c"root").expect("a system").expect("it has one");
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(root.groups().expect("a system").first(), Some(&0));
        let same = account(0).expect("a system").expect("it has one");
        assert_eq!((same.name, same.home, same.shell), (root.name, root.home, root.shell));
        assert!(account_named(c"no-such-user-here").expect("a system").is_none());
        assert!(account(u32::MAX - 7).expect("a system").is_none());
    }
}
