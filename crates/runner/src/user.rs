//! The user that an attempt runs as. Accounts change, so each start looks anew.

use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};

use crate::sys::{Account, Identity, account, account_named};

/// Why nothing can be run as a user.
#[derive(Debug, thiserror::Error)]
pub enum NoUser {
    /// Neither by name nor by number.
    #[error("there is no such account")]
    NoAccount,
    /// The system could not tell.
    #[error("the accounts cannot be read: {0}")]
    Unreadable(io::Error),
    /// The system has the number for nobody at all: to become that would change nothing.
    #[error("its account has a number that is none")]
    NoNumber,
}

impl NoUser {
    /// The system's number for what is wrong.
    pub(crate) fn errno(&self) -> i32 {
        match self {
            NoUser::NoAccount => libc::ENOENT,
            NoUser::Unreadable(error) => error.raw_os_error().unwrap_or(libc::EIO),
            NoUser::NoNumber => libc::EINVAL,
        }
    }
}

/// The id of a user, by name or by number. Either has an account. It may block where the accounts are elsewhere.
///
/// # Errors
/// [`NoUser`] says why nothing can be run as it.
pub fn user_id(user: &str) -> Result<u32, NoUser> {
    Ok(find(user)?.uid)
}

/// The home directory of a user, by name or by number, in which its runs begin that name no other. It may block where the
/// accounts are elsewhere.
///
/// # Errors
/// [`NoUser`] says why nothing can be run as it.
pub fn user_home(user: &str) -> Result<PathBuf, NoUser> {
    Ok(home_of(&find(user)?).to_owned())
}

/// The home directory of an account; some have none.
pub(crate) fn home_of(account: &Account) -> &Path {
    let home = Path::new(&account.home);
    if home.as_os_str().is_empty() {
        Path::new("/")
    } else {
        home
    }
}

/// The account of a user, by name or by number.
pub(crate) fn find(user: &str) -> Result<Account, NoUser> {
    let found = match user.parse() {
        Ok(uid) => account(uid),
        Err(_) => account_named(&CString::new(user).map_err(|_| NoUser::NoAccount)?),
    };
    let account = found.map_err(NoUser::Unreadable)?.ok_or(NoUser::NoAccount)?;
    let is_none = |id: u32| id == u32::MAX;
    if is_none(account.uid) || is_none(account.gid) {
        return Err(NoUser::NoNumber);
    }
    Ok(account)
}

/// Whom a child has to become to be of this account; nothing where this process is.
pub(crate) fn identity(account: &Account) -> Result<Option<Identity>, NoUser> {
    if account.uid == rustix::process::geteuid().as_raw() {
        return Ok(None);
    }
    let groups = account.groups().map_err(NoUser::Unreadable)?;
    Ok(Some(Identity {
        uid: account.uid,
        gid: account.gid,
        groups,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_or_numbered_and_has_an_account() {
        assert_eq!(user_id("root").expect("it has one"), 0);
        assert_eq!(user_id("0").expect("it has one"), 0);
        for none in ["no-such-user-here", "4294967288", "4294967295", "ro\0ot", "", "-1"] {
            assert!(matches!(user_id(none), Err(NoUser::NoAccount)), "{none}");
        }
    }

    #[test]
    fn who_is_the_user_already_becomes_nobody_else() {
        let own = account(rustix::process::geteuid().as_raw()).expect("a system");
        if let Some(own) = own {
            assert_eq!(identity(&own).expect("a system"), None);
        }
    }
}
