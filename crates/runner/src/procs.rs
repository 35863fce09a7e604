//! What `/proc` tells of processes.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

/// Environments are as long as the system allows, normally at most 2 MiB.
const ENVIRON_MAX: u64 = 8 * 1024 * 1024;

/// A process, told from a later one with the same id by when it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) pid: Pid,
    start: u64,
}

impl Known {
    /// A handle on it, nothing if it is not there any more. An error is for want of descriptors.
    pub(crate) fn open(self) -> io::Result<Option<OwnedFd>> {
        let handle = match rustix::process::pidfd_open(self.pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(Errno::SRCH) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        // Whoever has the id now is who the handle was opened for.
        let now = Process::read(self.pid);
        Ok(now.is_some_and(|now| now.known == self).then_some(handle))
    }
}

/// What is to be known of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pub(crate) known: Known,
    /// Nothing where the parent is outside of what can be seen.
    pub(crate) parent: Option<Pid>,
    pub(crate) group: Option<Pid>,
    pub(crate) session: Option<Pid>,
    /// Whether it has ended and only waits to be reaped.
    pub(crate) is_over: bool,
}

impl Process {
    pub(crate) fn read(pid: Pid) -> Option<Self> {
        let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        // The name in parentheses may hold anything; the last parenthesis ends it. The state follows, which is the
        // third of the fields as proc(5) counts them.
        let after = stat.iter().rposition(|byte| *byte == b')')? + 1;
        let fields: Vec<&str> = std::str::from_utf8(&stat[after..])
            .ok()?
            .split_ascii_whitespace()
            .collect();
        let field = |number: usize| fields.get(number - 3).copied();
        let pid_in = |number| field(number)?.parse().ok().and_then(Pid::from_raw);
        // The first thread of a process may be over before the others.
        let threads: u32 = field(20)?.parse().ok()?;
        Some(Process {
            known: Known {
                pid,
                start: field(22)?.parse().ok()?,
            },
            parent: pid_in(4),
            group: pid_in(5),
            session: pid_in(6),
            is_over: matches!(field(3)?, "Z" | "X") && threads <= 1,
        })
    }

    /// All that there are.
    pub(crate) fn all() -> Vec<Self> {
        pids().filter_map(Process::read).collect()
    }
}

/// The ids of all processes.
pub(crate) fn pids() -> impl Iterator<Item = Pid> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
}

/// What a process has in its environment under this name. Nothing if it has not, or may not be looked at.
pub(crate) fn variable(pid: Pid, name: &str) -> Option<String> {
    let mut environment = Vec::new();
    File::open(format!("/proc/{}/environ", pid.as_raw_nonzero()))
        .ok()?
        .take(ENVIRON_MAX)
        .read_to_end(&mut environment)
        .ok()?;
    let value = |entry: &[u8]| {
        let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        String::from_utf8(value.to_vec()).ok()
    };
    environment.split(|byte| *byte == 0).find_map(value)
}

/// The children of a process with one thread, as the kernel lists them.
#[derive(Debug)]
pub(crate) struct Children(File);

impl Children {
    /// Nothing where the kernel was built without such lists.
    pub(crate) fn of(pid: Pid) -> Option<Self> {
        let pid = pid.as_raw_nonzero();
        File::open(format!("/proc/{pid}/task/{pid}/children"))
            .ok()
            .map(Children)
    }

    /// Those that there are now. While some end others may be left out, but never all behind one that is listed.
    pub(crate) fn now(&self) -> io::Result<Vec<Pid>> {
        let mut list = Vec::new();
        let mut part = [0; 4096];
        loop {
            match self.0.read_at(&mut part, list.len() as u64)? {
                0 => break,
                length => list.extend_from_slice(&part[..length]),
            }
        }
        let text = String::from_utf8_lossy(&list);
        Ok(text
            .split_ascii_whitespace()
            .filter_map(|pid| pid.parse().ok().and_then(Pid::from_raw))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself() {
        let pid = rustix::process::getpid();
        let process = Process::read(pid).expect("it is there");
        assert_eq!(process.parent, rustix::process::getppid());
        assert_eq!(process.group, Some(rustix::process::getpgrp()));
        assert_eq!(process.session, rustix::process::getsid(None).ok());
        assert!(!process.is_over);
        assert!(process.known.open().expect("a handle").is_some());
        let earlier = Known {
            start: process.known.start - 1,
            ..process.known
        };
        assert!(earlier.open().expect("no handle").is_none(), "another one had the id");
    }
}
