//! The children of a process that has become another program by an exec: they are still its own, and it knows none of them.

use std::os::fd::OwnedFd;
use std::thread;

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, WaitOptions};

use crate::notify::complain;
use crate::procs::Children;
use crate::sweep;

/// Reaps, each when it ends and on a thread of its own, the children that this process has had before it became this
/// program. To be called before it has any other. A runner that outlives its daemon's exec is one.
pub fn reap_inherited() {
    let now = Children::of(rustix::process::getpid()).and_then(|children| children.now().ok());
    let found = now.unwrap_or_else(|| {
        let found = sweep::children().unwrap_or_default();
        found.into_iter().map(|child| child.pid).collect()
    });
    let handle = |pid| Some((pid, rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?));
    let mut children: Vec<(Pid, OwnedFd)> = found.into_iter().filter_map(handle).collect();
    if children.is_empty() {
        return;
    }
    let reaper = thread::Builder::new().name("inherited".to_owned());
    let spawned = reaper.spawn(move || {
        while !children.is_empty() {
            wait(&children);
            // It has ended, or somebody else reaps it, who must not.
            children.retain(|(pid, _)| matches!(rustix::process::waitpid(Some(*pid), WaitOptions::NOHANG), Ok(None)));
        }
    });
    if let Err(error) = spawned {
        complain(format_args!(
            "no thread could be made to reap inherited processes: {error}"
        ));
    }
}

/// Until one of them has ended.
fn wait(children: &[(Pid, OwnedFd)]) {
    let mut fds: Vec<PollFd<'_>> = children
        .iter()
        .map(|(_, process)| PollFd::new(process, PollFlags::IN))
        .collect();
    // An error is an interruption, after which it is called again.
    let _ = rustix::event::poll(&mut fds, None);
}
