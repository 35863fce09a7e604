//! Starts a daemon in the background and waits until it serves.
//!
//! The daemon is put into a session of its own by `taskctl detach`, which then becomes the daemon: the process id
//! stays, and no code runs between fork and exec. That it serves is learnt from the notification it would send to
//! systemd, so there is nothing to poll.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::clock;
use crate::error::{Exit, Failure};
use crate::places::SOCKET_VARIABLE;
use crate::scratch::Scratch;
use crate::watch::wait_for;

/// What a daemon is started with; what is not given is the daemon's to choose.
#[derive(Debug, Default)]
pub struct Launch {
    /// Its socket.
    pub socket: Option<PathBuf>,
    /// Its state directory.
    pub state_dir: Option<PathBuf>,
    /// The directory of its log.
    pub log_dir: Option<PathBuf>,
    /// Its configuration.
    pub config: Option<PathBuf>,
    /// Set in its environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where its stdout and stderr go.
    pub said: PathBuf,
}

/// Most of what a daemon said before it ended that is repeated.
const SAID_MAX: u64 = 2_000;

impl Launch {
    /// Starts the daemon, and gives its process when it serves: by the deadline, which is so long after the beginning.
    pub fn start(&self, limit: Duration, deadline: Instant) -> Result<Child, Failure> {
        let scratch =
            Scratch::new("taskctl-start").map_err(|error| Failure::system("make a temporary directory", &error))?;
        let notify = scratch.path().join("notify");
        let ready = UnixDatagram::bind(&notify).map_err(|error| Failure::file("listen at", &notify, &error))?;
        let said = self
            .open_said()
            .map_err(|error| Failure::file("write to", &self.said, &error))?;
        let before = said.metadata().map_or(0, |meta| meta.len());
        let mut child = self.spawn(&notify, &said)?;
        match self.await_ready(&child, &ready, limit, deadline) {
            Ok(()) => Ok(child),
            Err(failure) => {
                // OK because it may have ended by itself.
                let _ = child.kill();
                let _ = child.wait();
                Err(self.with_what_it_said(failure, before))
            }
        }
    }

    fn open_said(&self) -> io::Result<File> {
        if let Some(dir) = self.said.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&self.said)
    }

    fn spawn(&self, notify: &Path, said: &File) -> Result<Child, Failure> {
        let taskctl = std::env::current_exe().map_err(|error| Failure::system("find taskctl itself", &error))?;
        let taskd = program(&taskctl);
        let mut command = self.command(&taskctl, &taskd)?;
        let (out, err) = said
            .try_clone()
            .and_then(|out| Ok((out, said.try_clone()?)))
            .map_err(|error| Failure::file("write to", &self.said, &error))?;
        command
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .env("NOTIFY_SOCKET", notify)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|error| Failure::file("run", &taskd, &error))
    }

    /// What is to be run. The daemon outlives whoever started us, and must keep none of their files and pipes open.
    fn command(&self, taskctl: &Path, taskd: &Path) -> Result<Command, Failure> {
        let mut command = Command::new(taskctl);
        command.args(["detach", "--"]).arg(taskd).arg("--close-inherited");
        let options = [
            ("--socket", &self.socket),
            ("--state-dir", &self.state_dir),
            ("--log-dir", &self.log_dir),
            ("--config", &self.config),
        ];
        for (option, value) in options {
            if let Some(value) = value {
                let value = std::path::absolute(value).map_err(|error| Failure::file("resolve", value, &error))?;
                command.arg(option).arg(value);
            }
        }
        if self.socket.is_some() {
            command.env_remove(SOCKET_VARIABLE);
        }
        Ok(command)
    }

    fn await_ready(
        &self,
        child: &Child,
        ready: &UnixDatagram,
        limit: Duration,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())
            .map_err(|errno| Failure::system("watch the new daemon", &errno.into()))?;
        loop {
            let left = deadline.saturating_duration_since(clock::monotonic());
            if left.is_zero() {
                let message = format!(
                    "taskd did not become ready within {}",
                    crate::render::time::length(millis(limit))
                );
                return Err(Failure::new(Exit::Failed, "not-ready", message));
            }
            let told = wait_for(&[ready.as_fd(), pidfd.as_fd()], Some(left))?;
            if told[0] {
                let mut message = [0; 4096];
                let n = ready
                    .recv(&mut message)
                    .map_err(|error| Failure::system("hear from the new daemon", &error))?;
                if message[..n].split(|&b| b == b'\n').any(|line| line == b"READY=1") {
                    return Ok(());
                }
            } else if told[1] {
                return Err(Failure::new(
                    Exit::Failed,
                    "not-ready",
                    "taskd ended before it was ready",
                ));
            }
        }
    }

    fn with_what_it_said(&self, mut failure: Failure, before: u64) -> Failure {
        let mut said = String::new();
        if let Ok(mut file) = File::open(&self.said) {
            let len = file.metadata().map_or(0, |meta| meta.len());
            let from = before.max(len.saturating_sub(SAID_MAX));
            // OK because what cannot be read is not repeated.
            let _ = file
                .seek(SeekFrom::Start(from))
                .and_then(|_| file.read_to_string(&mut said));
        }
        let said = said.trim();
        if said.is_empty() {
            return failure.hint(format!("what it says goes to {}", self.said.display()));
        }
        failure.message.push_str("; it said:");
        failure.quoting(said.lines())
    }
}

/// The daemon's program: beside this one, else wherever the system finds it.
fn program(taskctl: &Path) -> PathBuf {
    let beside = taskctl.with_file_name("taskd");
    if beside.is_file() {
        beside
    } else {
        PathBuf::from("taskd")
    }
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_is_told_to_close_what_it_inherits() {
        let launch = Launch {
            state_dir: Some("/s".into()),
            ..Launch::default()
        };
        let command = launch
            .command(Path::new("taskctl"), Path::new("taskd"))
            .expect("the path is absolute");
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(
            arguments,
            ["detach", "--", "taskd", "--close-inherited", "--state-dir", "/s"]
        );
    }
}
