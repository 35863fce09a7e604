//! One control group, that of an attempt.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;
use taskd_wire::runner::Caps;

use super::caps::{self, NotCapped};
use super::files;

/// A directory below the runner's own group.
#[derive(Debug)]
pub(crate) struct Group {
    path: PathBuf,
    number: u64,
    /// What had been used in it before it was given to the attempt.
    before: Time,
    /// The cap on its memory, in bytes.
    memory_cap: Option<u64>,
    /// Since the kernel kills what is cloned into a group that was ever killed, from one that was not.
    is_spent: AtomicBool,
    /// Its files, where they stay open.
    files: Option<Files>,
}

/// What is asked of a group for each attempt. It is found once and not each time.
#[derive(Debug)]
struct Files {
    dir: Arc<OwnedFd>,
    stat: File,
    events: File,
    _procs: OwnedFd,
    _permit: Arc<()>,
}

/// Whether a process may be cloned into a group the kernel asks of this file of it, and would make it anew each time.
pub(super) fn hold_procs(dir: &Path) -> rustix::io::Result<OwnedFd> {
    let procs = dir.join("cgroup.procs");
    rustix::fs::open(&procs, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// CPU time, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Time {
    user_us: u64,
    system_us: u64,
}

/// What a group has counted for its attempt. What no controller counts is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) user_us: Option<u64>,
    pub(crate) system_us: Option<u64>,
    /// The most memory in use at once, that of cached files included, in bytes.
    pub(crate) memory_bytes: Option<u64>,
    /// Bytes read from devices, and written to them.
    pub(crate) read_bytes: Option<u64>,
    pub(crate) written_bytes: Option<u64>,
    /// The most processes and threads at once.
    pub(crate) pids: Option<u64>,
    /// The cap on its memory, in bytes, where something was killed for it.
    pub(crate) over_memory: Option<u64>,
}

/// What a group tells of who is in it, and the file that tells when that changes.
#[derive(Debug)]
pub(crate) struct Events {
    pub(crate) file: File,
    life: Life,
}

impl Events {
    /// Whether anything lives in it. What only waits to be reaped does not.
    pub(crate) fn is_populated(&self) -> bool {
        self.life.is_populated
    }
}

#[derive(Clone, Copy, Debug)]
struct Life {
    is_populated: bool,
    is_frozen: bool,
}

impl Life {
    fn read(text: &str) -> Self {
        let is_set = |name: &str| text.lines().any(|line| line.strip_prefix(name) == Some(" 1"));
        Life {
            is_populated: is_set("populated"),
            is_frozen: is_set("frozen"),
        }
    }
}

impl Group {
    pub(super) fn new(path: PathBuf, number: u64) -> Self {
        Group {
            path,
            number,
            before: Time::default(),
            memory_cap: None,
            is_spent: AtomicBool::new(false),
            files: None,
        }
    }

    /// Keeps its files open, for one that is used again and again, and the permit to do so. That costs four descriptors.
    pub(super) fn keep_open(&mut self, permit: Arc<()>) {
        let file = |name: &str| files::record(&self.path.join(name)).map(|(file, _)| file);
        self.files = self.open().ok().and_then(|dir| {
            let (stat, events) = (file("cpu.stat").ok()?, file("cgroup.events").ok()?);
            Some(Files {
                dir,
                stat,
                events,
                _procs: hold_procs(&self.path).ok()?,
                _permit: permit,
            })
        });
    }

    pub(super) fn is_kept_open(&self) -> bool {
        self.files.is_some()
    }

    /// The same group, which somebody else has too.
    pub(crate) fn same(&self) -> Self {
        Group {
            path: self.path.clone(),
            number: self.number,
            before: self.before,
            memory_cap: self.memory_cap,
            is_spent: AtomicBool::new(true),
            files: None,
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Holds what is in it to these caps, by the controllers that it has. To be called before anything is.
    pub(crate) fn cap(&mut self, caps: &Caps, controllers: &[&str]) -> Result<(), NotCapped> {
        self.memory_cap = caps.memory_bytes;
        caps::set(&self.path, caps, controllers)
    }

    /// A handle by which a process can be cloned into it.
    pub(crate) fn open(&self) -> rustix::io::Result<Arc<OwnedFd>> {
        if let Some(files) = &self.files {
            return Ok(Arc::clone(&files.dir));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(&self.path, flags, Mode::empty()).map(Arc::new)
    }

    /// Kills all that is in it, also what is just being forked.
    pub(crate) fn kill(&self) {
        self.is_spent.store(true, Ordering::Relaxed);
        files::kill(&self.path);
    }

    /// Who is in it. Nothing where that cannot be read.
    pub(crate) fn pids(&self) -> io::Result<Vec<Pid>> {
        let mut pids = Vec::new();
        for dir in files::below(&self.path) {
            match fs::read_to_string(dir.join("cgroup.procs")) {
                // Who is outside of the PID namespace has the number 0.
                Ok(list) => pids.extend(list.lines().filter_map(|pid| Pid::from_raw(pid.parse().ok()?))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // What holds threads only has its processes elsewhere; see cgroups(7).
                Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(pids)
    }

    /// Nothing when it is not there any more.
    pub(crate) fn events(&self) -> Option<Events> {
        let (file, text) = files::record(&self.path.join("cgroup.events")).ok()?;
        let life = Life::read(&text);
        Some(Events { file, life })
    }

    /// Nothing when it is not there any more.
    fn life(&self) -> Option<Life> {
        match &self.files {
            Some(files) => Some(Life::read(&files::again(&files.events).ok()?)),
            None => self.events().map(|events| events.life),
        }
    }

    /// Whether anything lives in it.
    pub(crate) fn is_populated(&self) -> bool {
        self.life().is_some_and(|life| life.is_populated)
    }

    /// Whether it is as if it were new: empty, with no groups below it, and never killed.
    pub(super) fn is_clean(&self) -> bool {
        let is_spent = self.is_spent.load(Ordering::Relaxed);
        !is_spent && self.is_leaf() && self.life().is_some_and(|life| !life.is_populated && !life.is_frozen)
    }

    fn is_leaf(&self) -> bool {
        // A directory's own two names, and one from each below it.
        match &self.files {
            Some(files) => rustix::fs::fstat(&files.dir).is_ok_and(|dir| dir.st_nlink <= 2),
            None => fs::metadata(&self.path).is_ok_and(|dir| dir.nlink() <= 2),
        }
    }

    /// What its processor time is, as the kernel tells it.
    fn stat(&self) -> io::Result<String> {
        match &self.files {
            Some(files) => files::again(&files.stat),
            None => files::record(&self.path.join("cpu.stat")).map(|(_, stat)| stat),
        }
    }

    /// Removes it with all below. Says whether it is gone.
    pub(super) fn remove(&self) -> bool {
        files::remove(&self.path)
    }

    /// The CPU time used in it since it was given to the attempt, in microseconds.
    pub(crate) fn cpu_us(&self) -> Option<u64> {
        let stat = self.stat().ok()?;
        let of = |name: &str| files::value(&stat, name).unwrap_or(0);
        let before = self.before.user_us + self.before.system_us;
        Some((of("user_usec") + of("system_usec")).saturating_sub(before))
    }

    /// The memory in use in it, in bytes, if one of its controllers counts that.
    pub(crate) fn memory_bytes(&self, controllers: &[&str]) -> Option<u64> {
        let is_counted = controllers.contains(&"memory");
        let text = is_counted.then(|| fs::read_to_string(self.path.join("memory.current")).ok());
        text.flatten()?.trim_end().parse().ok()
    }

    /// What it has counted since it was last asked.
    pub(crate) fn count(&mut self, controllers: &[&str]) -> Counted {
        let read = |name: &str| fs::read_to_string(self.path.join(name)).ok();
        // What is not there need not be looked for.
        let of = |controller: &str, name: &str| controllers.contains(&controller).then(|| read(name)).flatten();
        let number = |text: String| text.trim_end().parse().ok();
        let time = self.stat().ok().map(|stat| Time {
            user_us: files::value(&stat, "user_usec").unwrap_or(0),
            system_us: files::value(&stat, "system_usec").unwrap_or(0),
        });
        let moved = of("io", "io.stat").map(|stat| (files::sum(&stat, "rbytes="), files::sum(&stat, "wbytes=")));
        let killed = || read("memory.events").is_some_and(|events| caps::killed_for_memory(&events));
        let before = self.before;
        let counted = Counted {
            user_us: time.map(|time| time.user_us.saturating_sub(before.user_us)),
            system_us: time.map(|time| time.system_us.saturating_sub(before.system_us)),
            memory_bytes: of("memory", "memory.peak").and_then(number),
            read_bytes: moved.map(|(read, _)| read),
            written_bytes: moved.map(|(_, written)| written),
            pids: of("pids", "pids.peak").and_then(number),
            over_memory: self.memory_cap.filter(|_| killed()),
        };
        self.before = time.unwrap_or(before);
        counted
    }
}
