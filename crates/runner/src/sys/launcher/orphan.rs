//! A child whose launcher was lost over its start. It goes on by itself: unless something holds it up it executes its
//! program, and is a run like any other then.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::clock;

/// How long it may take to get there, for all of a request. It takes no millisecond unless it hangs, in a file system for instance.
const PATIENCE: Duration = Duration::from_secs(1);
/// Nobody tells of it, now that the launcher is gone, so one looks.
const PAUSE: Duration = Duration::from_millis(1);

/// How far it has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Orphan {
    /// Its program runs, or has run.
    Executed,
    /// It has ended before that, and is to be reaped.
    Ended,
    /// It is on its way still.
    Hangs,
}

/// Until when what is left of a request has to get there.
pub(super) fn orphans_until() -> Instant {
    clock::steady() + PATIENCE
}

/// Waits until it is known how far a child has come, but not for longer than that.
pub(super) fn await_orphan(pid: Pid, until: Instant) -> Orphan {
    loop {
        let seen = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero()))
            .ok()
            .and_then(|stat| look(&stat));
        match seen {
            Some(Orphan::Hangs) | None if clock::steady() < until => thread::sleep(PAUSE),
            Some(orphan) => return orphan,
            None => return Orphan::Hangs,
        }
    }
}

/// What a line of `/proc/PID/stat` says; see proc(5). The kernel's flags tell whether it has executed anything, also when it
/// has ended; its name would not, as a program may have any.
fn look(stat: &[u8]) -> Option<Orphan> {
    /// The place of the flags behind the state.
    const FLAGS: usize = 6;
    /// `PF_FORKNOEXEC`.
    const NOT_EXECUTED: u32 = 0x40;

    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(stat.get(end + 1..)?).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    let flags: u32 = fields.nth(FLAGS - 1)?.parse().ok()?;
    if flags & NOT_EXECUTED == 0 {
        return Some(Orphan::Executed);
    }
    Some(match state {
        "Z" | "X" => Orphan::Ended,
        _ => Orphan::Hangs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_a_child_has_come_is_seen_by_its_flags_and_state() {
        let of = |stat: &str| look(stat.as_bytes());
        assert_eq!(of("7 (taskd-launcher) D 1 7 7 0 -1 4194368 0"), Some(Orphan::Hangs));
        assert_eq!(of("7 (taskd-launcher) Z 1 7 7 0 -1 4194372 0"), Some(Orphan::Ended));
        assert_eq!(of("7 (taskd-launcher) Z 1 7 7 0 -1 4194308 0"), Some(Orphan::Executed));
        assert_eq!(of("7 (a) Z (b) R 1 7 7 0 -1 4194304 0"), Some(Orphan::Executed));
        assert_eq!(of("7 (true) Z 1 7"), None);
        assert_eq!(of(""), None);
    }

    #[test]
    fn what_was_executed_is_known_when_it_has_ended() {
        let mut child = std::process::Command::new("true").spawn().expect("a system");
        let pid = Pid::from_child(&child);
        let deadline = clock::steady() + Duration::from_secs(60);
        while !crate::sys::has_ended(pid) && clock::steady() < deadline {
            thread::yield_now();
        }
        assert_eq!(await_orphan(pid, deadline), Orphan::Executed);
        child.wait().expect("a child");
    }
}
