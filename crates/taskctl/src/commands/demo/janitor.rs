//! Clears a demo away, in a process of its own that outlives it: when the pipe from the demo closes, however that
//! comes, every process that carries the demo's directory in its environment is killed, and the directory removed.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, geteuid, pidfd_open, pidfd_send_signal, setsid};

use super::{MARK, PREFIX};
use crate::clock;
use crate::error::{Exit, Failure, Result};
use crate::watch::wait_for;

/// How long they may take to end in order.
const ORDERLY: Duration = Duration::from_secs(3);

/// How long processes may take to die.
const PATIENCE: Duration = Duration::from_secs(10);

/// The other end of a janitor.
pub struct Janitor(Child);

impl Janitor {
    /// Starts one, for this directory.
    pub fn hire(dir: &Path) -> Result<Self, Failure> {
        let taskctl = std::env::current_exe().map_err(|error| Failure::system("find taskctl itself", &error))?;
        let child = Command::new(taskctl)
            .arg("janitor")
            .arg(dir)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Failure::system("start the process that clears away", &error))?;
        Ok(Janitor(child))
    }

    /// Lets it clear away; whether nothing is left.
    pub fn dismiss(mut self) -> bool {
        drop(self.0.stdin.take());
        self.0.wait().is_ok_and(|status| status.success())
    }
}

/// Waits for the demo to end, and clears it away.
pub fn run(dir: &Path) -> Result<()> {
    if !is_of_a_demo(dir) {
        return Err(Failure::usage(format!("{} is not the directory of a demo", dir.display())).into());
    }
    // OK to go on when this fails: then we are out of the terminal's reach already.
    let _ = setsid();
    let mut rest = Vec::new();
    // OK because an error ends the pipe as well.
    let _ = std::io::stdin().read_to_end(&mut rest);
    // What has time for it takes away what it made elsewhere, as control groups.
    let ending = signal_all(dir, Signal::TERM);
    let deadline = clock::monotonic() + ORDERLY;
    for process in ending {
        wait_for(
            &[process.as_fd()],
            Some(deadline.saturating_duration_since(clock::monotonic())),
        )?;
    }
    let deadline = clock::monotonic() + PATIENCE;
    // Twice in a row, for a process may be born while the list is read.
    let mut quiet = 0;
    while quiet < 2 {
        let dying = signal_all(dir, Signal::KILL);
        quiet = if dying.is_empty() { quiet + 1 } else { 0 };
        for process in dying {
            wait_for(
                &[process.as_fd()],
                Some(deadline.saturating_duration_since(clock::monotonic())),
            )?;
        }
        if clock::monotonic() >= deadline {
            return Err(Failure::new(Exit::Failed, "demo", "a process of the demo does not die").into());
        }
    }
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Failure::file("remove", dir, &error).into()),
        _ => Ok(()),
    }
}

/// What this process may clear away: a directory that [`Scratch`](crate::scratch::Scratch) made for a demo of this user.
fn is_of_a_demo(dir: &Path) -> bool {
    let named = dir
        .file_name()
        .is_some_and(|name| name.as_bytes().starts_with(PREFIX.as_bytes()));
    let owned = fs::symlink_metadata(dir).is_ok_and(|meta| meta.is_dir() && meta.uid() == geteuid().as_raw());
    dir.is_absolute() && dir.components().count() > 2 && named && owned
}

/// Signals what belongs to the demo, and gives what is to be waited for.
fn signal_all(dir: &Path, signal: Signal) -> Vec<OwnedFd> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let ours = i32::try_from(std::process::id()).unwrap_or(0);
    let mut dying = Vec::new();
    for process in processes.flatten() {
        let name = process.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if pid == ours || !belongs(&process.path(), dir) {
            continue;
        }
        let Some(Ok(process_fd)) = Pid::from_raw(pid).map(|pid| pidfd_open(pid, PidfdFlags::empty())) else {
            continue;
        };
        // Asked again, for the number may have become another's before it was held.
        if belongs(&process.path(), dir) && pidfd_send_signal(&process_fd, signal).is_ok() {
            dying.push(process_fd);
        }
    }
    dying
}

fn belongs(process: &Path, dir: &Path) -> bool {
    let mark = [MARK.as_bytes(), b"=", dir.as_os_str().as_bytes()].concat();
    let environment = fs::read(process.join("environ")).unwrap_or_default();
    environment.split(|&b| b == 0).any(|variable| variable == mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_of_demos_are_cleared_away() {
        for dir in ["/", "/tmp", "/tmp/taskctl-demo-none", "taskctl-demo-x", "/etc"] {
            assert!(!is_of_a_demo(Path::new(dir)), "{dir}");
        }
    }

    #[test]
    fn processes_of_a_demo_are_found_and_others_are_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut child = Command::new("sleep")
            .arg("60")
            .env(MARK, dir.path())
            .spawn()
            .expect("sleep is there");
        let process = format!("/proc/{}", child.id());
        // The environment of a process can be read a moment after it was made.
        let deadline = clock::monotonic() + PATIENCE;
        while !belongs(Path::new(&process), dir.path()) {
            assert!(clock::monotonic() < deadline, "it is not found");
            std::thread::yield_now();
        }
        assert!(!belongs(Path::new(&process), Path::new("/tmp/taskctl-demo-none")));
        let dying = signal_all(dir.path(), Signal::KILL);
        assert_eq!(dying.len(), 1);
        assert_eq!(
            wait_for(&[dying[0].as_fd()], Some(PATIENCE)).expect("it can be polled"),
            [true]
        );
        child.wait().expect("it is ours");
    }
}
