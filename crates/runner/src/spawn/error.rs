//! Why a child could not be started.

use std::os::unix::ffi::OsStrExt as _;

use crate::cgroups::NotCapped;
use crate::env_file::EnvFileError;
use crate::gates::Unread;
use crate::sys::{Failed, HasNul, Step};
use crate::user::NoUser;

/// Longer names of what failed are cut, in characters.
const WHAT_MAX: usize = 200;

/// A child that could not be started.
#[derive(Debug)]
pub(crate) struct SpawnError {
    pub(crate) errno: i32,
    /// The step that failed and the file it is about, as in [`taskd_wire::runner::End::SpawnFailed`].
    pub(crate) what: String,
}

impl SpawnError {
    /// About a cap.
    pub(super) fn cap(not_capped: &NotCapped) -> Self {
        let what = format!("{}, {not_capped}", not_capped.cap);
        let errno = not_capped.errno;
        SpawnError { errno, what }
    }

    /// About a file of variables, of which the path may be long.
    pub(super) fn env_file(path: &str, error: &EnvFileError) -> Self {
        let (errno, why) = match error {
            // The system's own words follow from its number.
            EnvFileError::Unreadable(_) => (error.errno(), String::new()),
            EnvFileError::NoFile | EnvFileError::TooLong | EnvFileError::Line { .. } => {
                (error.errno(), format!(", {error}"))
            }
        };
        let what = said("env-file", path.as_bytes(), &why);
        SpawnError { errno, what }
    }

    /// About a user, whose name may be long.
    pub(super) fn user(user: &str, error: &NoUser) -> Self {
        let why = match error {
            // As for a file of variables.
            NoUser::Unreadable(_) => String::new(),
            NoUser::NoAccount | NoUser::NoNumber => format!(", {error}"),
        };
        let (errno, what) = (error.errno(), said("user", user.as_bytes(), &why));
        SpawnError { errno, what }
    }

    /// The path, or the name of a limit or user, is for people to read on one line: cut, and without characters that would do something.
    pub(super) fn new(failed: Failed, path: &[u8]) -> Self {
        let Failed { errno, step } = failed;
        let step = match step {
            Step::Launcher => "launcher",
            Step::Pipe => "pipe",
            Step::Stdin => "stdin",
            Step::Clone => "clone",
            Step::OomScoreAdjust => "oom-score-adjust",
            Step::Nice => "nice",
            Step::Ionice => "ionice",
            Step::PrivateTmp => "private-tmp",
            Step::Limit(_) => "limit",
            Step::Groups => "setgroups",
            Step::Gid => "setresgid",
            Step::Uid => "setresuid",
            Step::DropRoot => "drop-root",
            Step::Chdir => "chdir",
            Step::NoNewPrivileges => "no-new-privileges",
            Step::Exec => "exec",
            Step::Output => "output",
        };
        let what = said(step, path, "");
        SpawnError { errno, what }
    }
}

/// A step, what it is about and what is to be said of that. The middle is cut, so that all of it is short.
fn said(step: &str, path: &[u8], why: &str) -> String {
    let mut what = step.to_owned();
    if !path.is_empty() {
        what.push(' ');
        let path = String::from_utf8_lossy(path);
        let room = WHAT_MAX.saturating_sub(what.len() + why.chars().count());
        let is_cut = path.chars().nth(room).is_some();
        let kept = if is_cut { room.saturating_sub(1) } else { room };
        let harmless = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        what.extend(path.chars().take(kept).map(harmless));
        if is_cut {
            what.push('…');
        }
    }
    what + why
}

impl From<Unread> for SpawnError {
    fn from(unread: Unread) -> Self {
        let Unread { path, errno } = unread;
        let what = said("gate", path.as_os_str().as_bytes(), "");
        SpawnError { errno, what }
    }
}

/// An error of a system call.
pub(super) fn failed(errno: rustix::io::Errno, step: Step) -> SpawnError {
    let errno = errno.raw_os_error();
    SpawnError::new(Failed { errno, step }, b"")
}

/// An error that is found before there is a child. `program` is empty where it is not about that.
pub(super) fn refuse(errno: i32, program: &str) -> SpawnError {
    let step = Step::Exec;
    SpawnError::new(Failed { errno, step }, program.as_bytes())
}

impl From<HasNul> for SpawnError {
    fn from(_: HasNul) -> Self {
        refuse(libc::EINVAL, "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_short_and_on_one_line() {
        let what = |path: &[u8]| {
            let (errno, step) = (libc::ENOENT, Step::Exec);
            SpawnError::new(Failed { errno, step }, path).what
        };
        assert_eq!(what(b""), "exec");
        assert_eq!(
            what(b"/a b/\n\x1b[1m\0\xff"),
            "exec /a b/\u{fffd}\u{fffd}[1m\u{fffd}\u{fffd}"
        );
        let fits = "ü".repeat(WHAT_MAX - 5);
        assert_eq!(what(fits.as_bytes()), format!("exec {fits}"));
        let cut = what("ü".repeat(WHAT_MAX - 4).as_bytes());
        assert_eq!(cut, format!("exec {}…", "ü".repeat(WHAT_MAX - 6)));
        assert_eq!(cut.chars().count(), WHAT_MAX);
    }
}
