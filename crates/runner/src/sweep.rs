//! Finding processes by what they carry or whose children they are, and ending them.
//!
//! Every child has the [cookie](crate::spawn::Cookie) in its environment and hands it on to its own children, so it
//! tells where a process comes from even when it has left its process group and session. Processes are signalled
//! through a pidfd that was opened *before* the look at the environment, so that never another one is hit that was
//! given the same process id in between. Only what this user may read is found, and only that may be signalled.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::clock;
use crate::spawn::{COOKIE, Cookie};

/// How long to wait for processes to be gone that were killed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Environments are as long as the system allows, normally at most 2 MiB.
const ENVIRON_MAX: u64 = 8 * 1024 * 1024;

/// Ends what earlier runners of the same state directory left behind, and waits until it is gone. Gives back how many
/// there were. `own` are processes of this runner.
pub(crate) fn leftovers(cookie: &Cookie, own: Vec<Pid>) -> usize {
    let ours = format!("{COOKIE}={:016x}:", cookie.state);
    let living = format!("{ours}{:016x}:", cookie.instance);
    // This runner may have been started from a run of an earlier one.
    let mut spared = ancestors();
    spared.extend(own);
    let deadline = clock::steady() + PATIENCE;
    let mut ended = 0;
    loop {
        let found: Vec<OwnedFd> = processes()
            .filter(|pid| !spared.contains(pid))
            .filter_map(|pid| {
                open_if(pid, |entry| {
                    entry.starts_with(ours.as_bytes()) && !entry.starts_with(living.as_bytes())
                })
            })
            .collect();
        if found.is_empty() || clock::steady() >= deadline {
            return ended;
        }
        for process in &found {
            // It may have ended by itself, and what cannot be signalled is counted out by the deadline.
            let _ = rustix::process::pidfd_send_signal(process, Signal::KILL);
        }
        for process in &found {
            if wait_gone(process, deadline.saturating_duration_since(clock::steady())) {
                ended += 1;
            }
        }
    }
}

/// Signals every process of an attempt that is not in the process group of its first process. Repeats until it finds
/// no new one, since a process may fork while others are looked at.
pub(crate) fn signal_strays(cookie: &str, group: Pid, signal: Signal) {
    const ROUNDS: usize = 8;
    let wanted = format!("{COOKIE}={cookie}");
    let mut done = Vec::new();
    for _ in 0..ROUNDS {
        let before = done.len();
        for pid in processes() {
            if done.contains(&pid) {
                continue;
            }
            if let Some(process) = open_if(pid, |entry| entry == wanted.as_bytes())
                // Who is in the group was signalled with it, and may take a second TERM for impatience.
                && rustix::process::getpgid(Some(pid)).is_ok_and(|of| of != group)
            {
                // It may have ended by itself.
                let _ = rustix::process::pidfd_send_signal(&process, signal);
                done.push(pid);
            }
        }
        if done.len() == before {
            return;
        }
    }
}

/// Kills all children of this process, and theirs.
pub(crate) fn kill_descendants() {
    let table: Vec<(Pid, Pid)> = processes().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut doomed = vec![rustix::process::getpid()];
    let mut next = 0;
    while let Some(above) = doomed.get(next).copied() {
        doomed.extend(table.iter().filter(|(_, parent)| *parent == above).map(|(pid, _)| *pid));
        next += 1;
    }
    for pid in doomed.into_iter().skip(1) {
        // An orphan of this process stays a zombie until this process reaps it, so its id is its own.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

fn processes() -> impl Iterator<Item = Pid> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
}

/// A handle on the process if an entry of its environment is `wanted`.
fn open_if(pid: Pid, wanted: impl Fn(&[u8]) -> bool) -> Option<OwnedFd> {
    let process = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
    let mut environment = Vec::new();
    File::open(format!("/proc/{}/environ", pid.as_raw_nonzero()))
        .ok()?
        .take(ENVIRON_MAX)
        .read_to_end(&mut environment)
        .ok()?;
    environment.split(|byte| *byte == 0).any(wanted).then_some(process)
}

fn wait_gone(process: &OwnedFd, patience: Duration) -> bool {
    let timeout = Timespec::try_from(patience).ok();
    let mut fds = [PollFd::new(process, PollFlags::IN)];
    rustix::event::poll(&mut fds, timeout.as_ref()).is_ok_and(|ready| ready > 0)
}

fn parent(pid: Pid) -> Option<Pid> {
    let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name in parentheses may hold anything; the last parenthesis ends it. State and parent follow.
    let after = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let fields = std::str::from_utf8(&stat[after..]).ok()?;
    Pid::from_raw(fields.split_ascii_whitespace().nth(1)?.parse().ok()?)
}

/// This process, its parent, and so on.
fn ancestors() -> Vec<Pid> {
    let mut line = vec![rustix::process::getpid()];
    while let Some(above) = line.last().copied().and_then(parent) {
        line.push(above);
    }
    line
}
