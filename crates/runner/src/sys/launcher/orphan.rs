//! A child whose launcher was lost over its start. It goes on by itself: unless something holds it up it executes its
//! program, and is a run like any other then.

use std::fs;
use std::thread;
use std::time::Duration;

use rustix::process::Pid;

use super::NAME;
use crate::clock;

/// How long it may take to get there. It takes no millisecond unless it hangs, in a file system for instance.
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

/// Waits until it is known how far a child has come, but not for long.
pub(super) fn await_orphan(pid: Pid) -> Orphan {
    let until = clock::steady() + PATIENCE;
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

/// What a line of `/proc/PID/stat` says. A process has the name of who cloned it until it executes something.
fn look(stat: &[u8]) -> Option<Orphan> {
    let begin = stat.iter().position(|byte| *byte == b'(')?;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    if stat.get(begin + 1..end)? != NAME.to_bytes() {
        return Some(Orphan::Executed);
    }
    Some(match stat.get(end + 2)? {
        b'Z' | b'X' => Orphan::Ended,
        _ => Orphan::Hangs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_a_child_has_come_is_seen_by_its_name_and_state() {
        let of = |stat: &str| look(stat.as_bytes());
        assert_eq!(of("7 (taskd-launcher) D 1 7 7"), Some(Orphan::Hangs));
        assert_eq!(of("7 (taskd-launcher) Z 1 7 7"), Some(Orphan::Ended));
        assert_eq!(of("7 (true) Z 1 7 7"), Some(Orphan::Executed));
        assert_eq!(of("7 (a) Z (b) R 1 7 7"), Some(Orphan::Executed));
        assert_eq!(of(""), None);
    }
}
