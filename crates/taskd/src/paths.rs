//! Where everything is. Each place is settled by the first of these that speaks: an argument, `$TASKD_SOCKET` (the
//! socket only), the directories that systemd passes, the defaults of the user.
//!
//! | what | argument | environment | root | others |
//! |---|---|---|---|---|
//! | configuration | `--config` | `$CONFIGURATION_DIRECTORY/taskd.toml` | `/etc/taskd/taskd.toml` | `~/.config/taskd/taskd.toml` |
//! | state | `--state-dir` | `$STATE_DIRECTORY` | `/var/lib/taskd` | `~/.local/state/taskd` |
//! | socket | `--socket` | `$TASKD_SOCKET`, `$RUNTIME_DIRECTORY/taskd.sock` | `/run/taskd/taskd.sock` | `$XDG_RUNTIME_DIR/taskd/taskd.sock`, else in the state |
//! | daemon log | `--log-dir` | `$LOGS_DIRECTORY` | `/var/log/taskd` | `log` in the state |
//!
//! With `--state-dir` and nothing said about the log, the log is `log` in the state for root too: a second daemon does
//! not write into the log of the first.
//!
//! Only the user whose daemon it is, and root, may connect to the socket. Beside it stands `taskd.sock.lock`, held by the
//! daemon that listens.
//!
//! The runner's socket is `runner.sock` in the state directory, which nobody else may enter and which stays when the
//! daemon stops, unlike a runtime directory under systemd. It moves beside the daemon's socket only when that path
//! would be too long for a socket. `runner.socket` in the configuration overrides both.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::args::Args;

/// The longest path of a Unix socket: `sun_path` holds 108 bytes, one of them the end.
pub const SOCKET_PATH_MAX: usize = 107;

/// Where everything is. All paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The configuration file.
    pub config: PathBuf,
    /// Whether somebody named the configuration file, so that it must exist.
    pub config_required: bool,
    /// Tasks, history, output, spool.
    pub state_dir: PathBuf,
    /// The socket that `taskctl` speaks to.
    pub socket: PathBuf,
    /// The daemon log.
    pub log_dir: PathBuf,
    /// The socket of the runner.
    pub runner_socket: PathBuf,
}

/// Why there is no place for something.
#[derive(Debug, thiserror::Error)]
pub enum PathsError {
    /// There is no home directory to put things in.
    #[error("there is no home directory for the {what}; set HOME, or give {argument}")]
    NoHome {
        /// What would be there.
        what: &'static str,
        /// The argument that settles it.
        argument: &'static str,
    },
    /// The working directory, on which a relative path rests, is unknown.
    #[error("the working directory is gone")]
    NoWorkingDirectory(#[source] io::Error),
    /// The path of a socket is longer than the system allows.
    #[error(
        "the socket path {} has {} bytes and the system allows {SOCKET_PATH_MAX}; give a shorter one with {cure}",
        path.display(), path.as_os_str().len()
    )]
    SocketTooLong {
        /// The path.
        path: PathBuf,
        /// What settles it.
        cure: &'static str,
    },
    /// A directory can neither be found nor made.
    #[error("cannot make the directory {}", path.display())]
    Unmakeable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The state directory is another user's.
    #[error("the state directory {} belongs to user {owner}, not to {uid}", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who runs this.
        uid: u32,
    },
    /// Anybody may write into the state directory, and so decide what runs.
    #[error("everybody may write into the state directory {}; use a directory of its own, or chmod o-w", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
    },
}

/// The directories of a user, by the XDG rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserDirs {
    /// `~/.config/taskd`
    pub config: Option<PathBuf>,
    /// `~/.local/state/taskd`
    pub state: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR/taskd`
    pub runtime: Option<PathBuf>,
}

impl UserDirs {
    /// Those of the user who runs this.
    #[must_use]
    pub fn of_process() -> UserDirs {
        match directories::ProjectDirs::from("", "", "taskd") {
            Some(dirs) => UserDirs {
                config: Some(dirs.config_dir().to_owned()),
                state: dirs.state_dir().map(Path::to_owned),
                runtime: dirs.runtime_dir().map(Path::to_owned),
            },
            None => UserDirs::default(),
        }
    }
}

/// What the places depend on, beside the arguments.
pub struct Surroundings<'a> {
    /// Looks up a variable of the environment.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// The user who runs this.
    pub uid: u32,
    /// That user's directories.
    pub user: UserDirs,
    /// Finds the working directory. It is asked for only where a path is relative, since it may be gone.
    pub cwd: &'a dyn Fn() -> io::Result<PathBuf>,
}

impl Surroundings<'_> {
    fn var(&self, name: &str) -> Option<PathBuf> {
        (self.env)(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// The first of the directories that systemd passes in a variable.
    fn passed(&self, name: &str) -> Option<PathBuf> {
        let value = (self.env)(name)?;
        let first = value.as_bytes().split(|byte| *byte == b':').next()?;
        (!first.is_empty()).then(|| PathBuf::from(std::ffi::OsStr::from_bytes(first)))
    }
}

impl Paths {
    /// Settles the places for this process.
    ///
    /// # Errors
    /// [`PathsError`] when something has no place.
    pub fn resolve(args: &Args) -> Result<Paths, PathsError> {
        Paths::settle(
            args,
            &Surroundings {
                env: &|name| std::env::var_os(name),
                uid: rustix::process::geteuid().as_raw(),
                user: UserDirs::of_process(),
                cwd: &std::env::current_dir,
            },
        )
    }

    /// Settles the places. Touches nothing.
    ///
    /// # Errors
    /// [`PathsError`] when something has no place.
    pub fn settle(args: &Args, around: &Surroundings<'_>) -> Result<Paths, PathsError> {
        let root = around.uid == 0;
        let absolute = |path: PathBuf| {
            if path.is_absolute() {
                return Ok(path);
            }
            let cwd = (around.cwd)().map_err(PathsError::NoWorkingDirectory)?;
            Ok(cwd.join(path))
        };
        let config = args
            .config
            .clone()
            .or_else(|| {
                around
                    .passed("CONFIGURATION_DIRECTORY")
                    .map(|dir| dir.join("taskd.toml"))
            })
            .or_else(|| root.then(|| "/etc/taskd/taskd.toml".into()))
            .or_else(|| around.user.config.as_ref().map(|dir| dir.join("taskd.toml")))
            .ok_or(PathsError::NoHome {
                what: "configuration",
                argument: "--config",
            })?;
        let state_dir = args
            .state_dir
            .clone()
            .or_else(|| around.passed("STATE_DIRECTORY"))
            .or_else(|| root.then(|| "/var/lib/taskd".into()))
            .or_else(|| around.user.state.clone())
            .ok_or(PathsError::NoHome {
                what: "state",
                argument: "--state-dir",
            })
            .and_then(absolute)?;
        let named_socket = args.socket.clone().or_else(|| around.var("TASKD_SOCKET"));
        let passed_socket = || around.passed("RUNTIME_DIRECTORY").map(|dir| dir.join("taskd.sock"));
        let socket = match named_socket.or_else(passed_socket) {
            Some(socket) => socket,
            None if root => "/run/taskd/taskd.sock".into(),
            None => {
                let dir = around.user.runtime.clone().unwrap_or_else(|| state_dir.clone());
                dir.join("taskd.sock")
            }
        };
        let log_dir = args
            .log_dir
            .clone()
            .or_else(|| around.passed("LOGS_DIRECTORY"))
            .or_else(|| (root && args.state_dir.is_none()).then(|| "/var/log/taskd".into()))
            .unwrap_or_else(|| state_dir.join("log"));
        let socket = fitting(absolute(socket)?, "--socket or TASKD_SOCKET")?;
        let runner_socket = runner_socket(&state_dir, &socket)?;
        Ok(Paths {
            config: absolute(config)?,
            config_required: args.config.is_some(),
            log_dir: absolute(log_dir)?,
            state_dir,
            socket,
            runner_socket,
        })
    }

    /// The same with the runner's socket where the configuration says, if it does.
    ///
    /// # Errors
    /// [`PathsError::SocketTooLong`]
    pub fn with_runner_socket(self, configured: Option<&Path>) -> Result<Paths, PathsError> {
        match configured {
            Some(path) => Ok(Paths {
                runner_socket: fitting(path.to_owned(), "runner.socket in the configuration")?,
                ..self
            }),
            None => Ok(self),
        }
    }

    /// Makes the directories that do not exist, each with its final mode, and refuses a state directory that others
    /// could put tasks into.
    ///
    /// # Errors
    /// [`PathsError`] when one cannot be made or is not to be trusted.
    pub fn create(&self) -> Result<(), PathsError> {
        make(&self.state_dir, 0o700)?;
        make(&self.log_dir, 0o700)?;
        if let Some(dir) = self.socket.parent() {
            make(dir, 0o700)?;
        }
        if let Some(dir) = self.runner_socket.parent() {
            make(dir, 0o700)?;
        }
        trusted(&self.state_dir, rustix::process::geteuid().as_raw())
    }
}

fn fitting(path: PathBuf, cure: &'static str) -> Result<PathBuf, PathsError> {
    if path.as_os_str().len() > SOCKET_PATH_MAX {
        return Err(PathsError::SocketTooLong { path, cure });
    }
    Ok(path)
}

fn runner_socket(state_dir: &Path, socket: &Path) -> Result<PathBuf, PathsError> {
    let inside = state_dir.join("runner.sock");
    if inside.as_os_str().len() <= SOCKET_PATH_MAX {
        return Ok(inside);
    }
    // Named after the daemon's socket, as a directory may hold the sockets of several daemons.
    fitting(
        socket.with_extension("runner.sock"),
        "runner.socket in the configuration, or a shorter --state-dir",
    )
}

fn make(path: &Path, mode: u32) -> Result<(), PathsError> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|source| PathsError::Unmakeable {
            path: path.to_owned(),
            source,
        })
}

fn trusted(state_dir: &Path, uid: u32) -> Result<(), PathsError> {
    let path = state_dir.to_owned();
    let found = match std::fs::metadata(&path) {
        Ok(found) => found,
        Err(source) => return Err(PathsError::Unmakeable { path, source }),
    };
    // Root too: what another user may put there would run as root.
    if found.uid() != uid {
        return Err(PathsError::Foreign {
            path,
            owner: found.uid(),
            uid,
        });
    }
    if found.mode() & 0o022 != 0 {
        return Err(PathsError::Open { path });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
