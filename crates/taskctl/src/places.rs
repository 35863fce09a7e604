//! Where the daemon's socket and files are, by the same rules as the daemon's own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use directories::ProjectDirs;

/// The socket of the system's daemon.
pub const SYSTEM_SOCKET: &str = "/run/taskd/taskd.sock";

/// The environment variable that names a socket.
pub const SOCKET_VARIABLE: &str = "TASKD_SOCKET";

/// Where a daemon may be reached.
#[derive(Clone, Debug)]
pub struct Places {
    named: Option<PathBuf>,
    is_root: bool,
}

impl Places {
    /// From `--socket`, the environment, and who asks. An empty variable counts as none.
    pub fn new(flag: Option<&Path>, variable: Option<OsString>, is_root: bool) -> Self {
        let variable = variable.filter(|text| !text.is_empty()).map(PathBuf::from);
        Places {
            named: flag.map(Path::to_owned).or(variable),
            is_root,
        }
    }

    /// For the process that calls.
    pub fn of_process(flag: Option<&Path>) -> Self {
        Self::new(
            flag,
            std::env::var_os(SOCKET_VARIABLE),
            rustix::process::geteuid().is_root(),
        )
    }

    /// The socket the user named, if they did.
    pub fn named(&self) -> Option<&Path> {
        self.named.as_deref()
    }

    /// The sockets to try, in order.
    pub fn sockets(&self) -> Vec<PathBuf> {
        if let Some(named) = &self.named {
            return vec![named.clone()];
        }
        let system = PathBuf::from(SYSTEM_SOCKET);
        let mut sockets: Vec<PathBuf> = user_socket().into_iter().collect();
        if self.is_root {
            sockets.insert(0, system);
        } else {
            sockets.push(system);
        }
        sockets
    }

    /// The socket of the user's own daemon.
    pub fn own(&self) -> PathBuf {
        // OK because there is always the system's.
        self.sockets()
            .into_iter()
            .next()
            .unwrap_or_else(|| PathBuf::from(SYSTEM_SOCKET))
    }

    /// Where a daemon that is started by this user puts what it says before its log is open.
    pub fn state_dir(&self) -> PathBuf {
        if self.is_root {
            return PathBuf::from("/var/lib/taskd");
        }
        user_state_dir().unwrap_or_else(std::env::temp_dir)
    }

    /// The log of a daemon with the usual paths.
    pub fn daemon_log(&self) -> PathBuf {
        if self.is_root {
            PathBuf::from("/var/log/taskd/taskd.log")
        } else {
            self.state_dir().join("log/taskd.log")
        }
    }

    /// Whether the user is root.
    pub fn is_root(&self) -> bool {
        self.is_root
    }
}

fn user_socket() -> Option<PathBuf> {
    let dirs = ProjectDirs::from("", "", "taskd")?;
    let dir = dirs.runtime_dir().or_else(|| dirs.state_dir())?;
    Some(dir.join("taskd.sock"))
}

fn user_state_dir() -> Option<PathBuf> {
    Some(ProjectDirs::from("", "", "taskd")?.state_dir()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_wins_over_the_variable_and_both_over_the_rest() {
        let flag = Path::new("/a");
        assert_eq!(
            Places::new(Some(flag), Some("/b".into()), false).sockets(),
            [PathBuf::from("/a")]
        );
        assert_eq!(
            Places::new(None, Some("/b".into()), false).sockets(),
            [PathBuf::from("/b")]
        );
    }

    #[test]
    fn root_asks_the_system_first_and_others_last() {
        let system = PathBuf::from(SYSTEM_SOCKET);
        assert_eq!(
            Places::new(None, Some("".into()), true).sockets().first(),
            Some(&system)
        );
        assert_eq!(Places::new(None, None, false).sockets().last(), Some(&system));
    }
}
