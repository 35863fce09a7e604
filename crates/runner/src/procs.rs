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
    /// A handle on it, nothing if it is not there any more. An error is for want of descriptors or memory.
    pub(crate) fn open(self) -> io::Result<Option<OwnedFd>> {
        let handle = match rustix::process::pidfd_open(self.pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(Errno::SRCH) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        // Whoever has the id now is who the handle was opened for.
        let now = Process::read(self.pid)?;
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
    /// Nothing if it is not there or may not be seen. An error says nothing about that.
    pub(crate) fn read(pid: Pid) -> io::Result<Option<Self>> {
        let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        Ok(unless_out_of_sight(stat)?.and_then(|stat| Self::parse(pid, &stat)))
    }

    fn parse(pid: Pid, stat: &[u8]) -> Option<Self> {
        // One that is just being reaped has -1 for them.
        let number = |number| field(stat, number)?.parse().ok().filter(|id| *id > 0);
        let pid_in = |field| number(field).and_then(Pid::from_raw);
        // The first thread of a process may be over before the others.
        let threads: u32 = field(stat, 20)?.parse().ok()?;
        Some(Process {
            known: Known {
                pid,
                start: field(stat, 22)?.parse().ok()?,
            },
            parent: pid_in(4),
            group: pid_in(5),
            session: pid_in(6),
            is_over: matches!(field(stat, 3)?, "Z" | "X") && threads <= 1,
        })
    }

    /// All that there are. It is all or an error, so that nobody takes a part for the whole.
    pub(crate) fn all() -> io::Result<Vec<Self>> {
        let mut all = Vec::new();
        for pid in pids()? {
            all.extend(Process::read(pid)?);
        }
        Ok(all)
    }
}

/// Whether a process is gone, or will be in a moment: it was killed, and the kernel is about to take it apart.
pub(crate) fn is_ending(pid: u32) -> bool {
    /// Of the flags of a task, from the kernel's `PF_EXITING`.
    const EXITING: u64 = 4;
    const KILLED: u64 = 1 << (libc::SIGKILL - 1);

    let stat = match fs::read(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat,
        Err(error) => return matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::SRCH)),
    };
    let has = |number, bits: u64| {
        let word = field(&stat, number).and_then(|word| word.parse::<u64>().ok());
        word.is_some_and(|word| word & bits != 0)
    };
    // Its first thread is over before the others, or still has to hear of the signal.
    matches!(field(&stat, 3), Some("Z" | "X")) || has(9, EXITING) || has(31, KILLED)
}

/// Nothing where a process has ended, or is hidden from this user for good. Other errors are for want of something, and
/// whether it is there is not known then.
fn unless_out_of_sight<T>(got: io::Result<T>) -> io::Result<Option<T>> {
    match got {
        Ok(got) => Ok(Some(got)),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::SRCH | Errno::ACCESS | Errno::PERM) => Ok(None),
            Some(_) | None => Err(error),
        },
    }
}

/// One of the fields from the third on, counted as in proc(5).
fn field(stat: &[u8], number: usize) -> Option<&str> {
    // The second is a name in parentheses that may hold anything; the last parenthesis ends it.
    let after = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let fields = std::str::from_utf8(&stat[after..]).ok()?;
    fields.split_ascii_whitespace().nth(number - 3)
}

/// The ids of all processes.
pub(crate) fn pids() -> io::Result<Vec<Pid>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let number = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        pids.extend(number.and_then(Pid::from_raw));
    }
    Ok(pids)
}

/// What a process uses, and where it comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Consumer {
    pub(crate) pid: Pid,
    pub(crate) parent: Option<Pid>,
    pub(crate) group: Option<Pid>,
    pub(crate) session: Option<Pid>,
    /// CPU time, its own and that of ended children it has waited for, in microseconds.
    pub(crate) cpu_us: u64,
    /// Resident memory, in bytes.
    pub(crate) resident_bytes: u64,
}

impl Consumer {
    /// All that there are; nothing where there are more than so many.
    pub(crate) fn all(most: usize) -> io::Result<Option<Vec<Self>>> {
        let pids = pids()?;
        if pids.len() > most {
            return Ok(None);
        }
        Ok(Some(pids.into_iter().filter_map(Self::read).collect()))
    }

    /// Nothing if it is not there or may not be seen.
    fn read(pid: Pid) -> Option<Self> {
        let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        let Process {
            parent, group, session, ..
        } = Process::parse(pid, &stat)?;
        let number = |number| field(&stat, number)?.parse::<u64>().ok();
        let ticks: u64 = (14..=17).filter_map(number).sum();
        Some(Consumer {
            pid,
            parent,
            group,
            session,
            cpu_us: ticks.saturating_mul(1_000_000 / rustix::param::clock_ticks_per_second().max(1)),
            resident_bytes: pages(number(24)?),
        })
    }
}

/// The resident memory of a process, in bytes. Nothing if it is not there or may not be seen.
pub(crate) fn resident_bytes(pid: Pid) -> Option<u64> {
    let sizes = fs::read_to_string(format!("/proc/{}/statm", pid.as_raw_nonzero())).ok()?;
    sizes.split(' ').nth(1)?.parse().ok().map(pages)
}

fn pages(number: u64) -> u64 {
    number.saturating_mul(rustix::param::page_size() as u64)
}

/// What a process has in its environment under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Variable {
    /// This.
    Is(String),
    /// Nothing, or it may not be looked at.
    None,
    /// It is in the middle of an exec and has no environment yet.
    NotYet,
}

impl Variable {
    /// An error is for want of descriptors or memory.
    pub(crate) fn of(pid: Pid, name: &str) -> io::Result<Self> {
        let path = |file| format!("/proc/{}/{file}", pid.as_raw_nonzero());
        let read = || -> io::Result<Option<Vec<u8>>> {
            let Some(file) = unless_out_of_sight(File::open(path("environ")))? else {
                return Ok(None);
            };
            let mut environment = Vec::new();
            match file.take(ENVIRON_MAX).read_to_end(&mut environment) {
                Ok(_) => Ok(Some(environment)),
                Err(error) if error.kind() == io::ErrorKind::OutOfMemory => Err(error),
                // It has taken away its own.
                Err(_) => Ok(None),
            }
        };
        let value = |entry: &[u8]| {
            let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            String::from_utf8(value.to_vec()).ok()
        };
        // One without its end was cut short.
        let whole = |entry: &'_ [u8]| entry.strip_suffix(b"\0").and_then(value);
        let find = |environment: Vec<u8>| environment.split_inclusive(|byte| *byte == 0).find_map(whole);
        // Where code and environment end in memory. The code ends at 0 until an exec has done its part, of which the
        // environment is an earlier one; the environment ends elsewhere after each exec.
        let ends = || {
            let stat = fs::read(path("stat")).ok()?;
            let end = |number| field(&stat, number)?.parse::<u64>().ok();
            Some((end(27).filter(|code| *code > 0)?, end(51)?))
        };
        let Some(environment) = read()? else {
            return Ok(Variable::None);
        };
        if let Some(found) = find(environment) {
            return Ok(Variable::Is(found));
        }
        // An exec in the middle of the look cuts it short, so what is missing is missing only if there was none.
        let before = ends();
        let Some(environment) = read()? else {
            return Ok(Variable::None);
        };
        if let Some(found) = find(environment) {
            return Ok(Variable::Is(found));
        }
        if before.is_none() || ends() != before {
            return Ok(Variable::NotYet);
        }
        Ok(Variable::None)
    }
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
        /// No entry is as long: the kernel gives whole ones, as many as there is room for.
        const ENTRY: usize = 16;

        let mut list = Vec::new();
        let mut part = [0; 4096];
        loop {
            let length = self.0.read_at(&mut part, list.len() as u64)?;
            list.extend_from_slice(&part[..length]);
            if part.len() - length >= ENTRY {
                break;
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
    use std::os::unix::process::CommandExt as _;

    use super::*;

    #[test]
    fn a_process_knows_itself() {
        let pid = rustix::process::getpid();
        let process = Process::read(pid).expect("room").expect("it is there");
        assert_eq!(process.parent, rustix::process::getppid());
        assert!(!process.is_over);
        assert!(process.known.open().expect("a handle").is_some());
        let earlier = Known {
            start: process.known.start - 1,
            ..process.known
        };
        assert!(earlier.open().expect("no handle").is_none(), "another one had the id");
    }

    #[test]
    fn a_child_is_in_its_group_and_in_the_session_of_its_parent() {
        let mut child = std::process::Command::new("sleep");
        let mut child = child.arg("1000").process_group(0).spawn().expect("a system");
        let pid = Pid::from_child(&child);
        let read = |pid| Process::read(pid).expect("room").expect("it is there");
        let (process, own) = (read(pid), read(rustix::process::getpid()));
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        assert_eq!(process.parent, Some(own.known.pid));
        assert_eq!(process.group, Some(pid));
        assert_eq!(process.session, own.session);
    }

    #[test]
    fn a_list_of_children_is_whole_also_where_it_is_long() {
        let thread = rustix::thread::gettid().as_raw_nonzero();
        let children = Children(File::open(format!("/proc/self/task/{thread}/children")).expect("a list"));
        assert_eq!(children.now().expect("a list"), []);
        // With numbers of four digits or more it does not fit into one read.
        let mut started: Vec<std::process::Child> = Vec::new();
        let mut lists = Vec::new();
        for most in [1, 2, 900] {
            let new = (started.len()..most).map(|_| std::process::Command::new("sleep").arg("1000").spawn());
            let new: Vec<_> = new.map(|child| child.expect("a system")).collect();
            started.extend(new);
            let known: Vec<Pid> = started.iter().map(Pid::from_child).collect();
            lists.push((children.now(), known));
        }
        for mut child in started {
            child.kill().expect("it is ours");
            child.wait().expect("it is ours");
        }
        for (listed, known) in lists {
            assert_eq!(listed.expect("a list"), known);
        }
    }

    #[test]
    fn what_is_outside_of_the_namespace_has_no_id() {
        let process = Process::parse(
            rustix::process::getpid(),
            b"7 (a) b) S 0 0 0 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 99",
        );
        let process = process.expect("it can be read");
        assert_eq!((process.parent, process.group, process.session), (None, None, None));
    }

    #[test]
    fn an_empty_environment_is_none_and_not_one_to_come() {
        // Not spawned without an environment: until it has got through its exec it may have the memory of this process,
        // and so this environment.
        for (args, expected) in [
            (
                &["-i", "PATH=/bin", "sleep", "1000"][..],
                Variable::Is("/bin".to_owned()),
            ),
            (&["-i", "sleep", "1000"], Variable::None),
        ] {
            let mut child = std::process::Command::new("env").args(args).spawn().expect("a system");
            let pid = Pid::from_child(&child);
            let deadline = crate::clock::steady() + std::time::Duration::from_secs(60);
            let mut found = Variable::of(pid, "PATH").expect("room");
            while found != expected && crate::clock::steady() < deadline {
                std::thread::yield_now();
                found = Variable::of(pid, "PATH").expect("room");
            }
            assert_eq!(found, expected);
            assert_eq!(Variable::of(pid, "PAT").expect("room"), Variable::None);
            child.kill().expect("it is there");
            child.wait().expect("a child");
        }
    }

    #[test]
    fn an_exec_in_the_middle_of_the_look_hides_nothing() {
        // It takes a while to read all of it.
        let long = (0..12).map(|n| (format!("A{n:02}"), "x".repeat(100_000)));
        let long: Vec<(String, String)> = long.collect();
        for _ in 0..50 {
            // It has the variable before the exec and after it.
            let mut child = std::process::Command::new("env")
                .args(["-i", "MARK=1", "sleep", "1000"])
                .env_clear()
                .envs(long.iter().map(|(name, value)| (name, value)))
                .env("MARK", "1")
                .env("PATH", "/usr/bin:/bin")
                .spawn()
                .expect("a system");
            let pid = Pid::from_child(&child);
            for _ in 0..40 {
                let found = Variable::of(pid, "MARK").expect("room");
                assert!(
                    found == Variable::NotYet || found == Variable::Is("1".to_owned()),
                    "{found:?}"
                );
            }
            child.kill().expect("it is there");
            child.wait().expect("a child");
        }
    }
}
