//! Control groups: where the kernel lets a runner make some, each attempt has one of its own. Whatever a process does, it
//! stays there with all that comes from it, so all of it is found, killed in one stroke and accounted for.
//!
//! The [`guard`](crate::guard()) looks for the place ([`Seat`]): below its own group, wherever that is, as `/proc` tells.
//! Where it is alone there and has controllers to hand on, it moves to a group `runner` beside those of the attempts, for
//! only leaves may hold processes then. Where it may make no groups, attempts have none, and nothing is said: their
//! process groups, sessions, marks and parents have to do.
//!
//! The groups of a runner are called `taskd-<state>-<life>-<number>`: by the first the next runner of the same state
//! directory knows what is left of an earlier one, by the second a guard knows those of its own worker. A group that
//! counts nothing but time is used again for another attempt, since making and removing one takes longer than a start.

mod caps;
mod files;
mod group;

use std::collections::{HashMap, VecDeque};
use std::env;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::process::Resource;

use crate::notify::complain;
use crate::place::random;
use crate::reports::lock;

pub(crate) use caps::{NotCapped, first as first_cap};
pub(crate) use files::{clear, clear_life};
pub(crate) use group::{Counted, Group};

/// The variable by which a worker knows its [`Seat`].
pub(crate) const SEAT: &str = "TASKD_GUARD_CGROUPS";

/// What a group may count, if the runner can hand it on to the groups of its attempts.
const CONTROLLERS: [&str; 4] = ["cpu", "io", "memory", "pids"];

/// Unused groups that are kept.
const KEPT: usize = 512;

/// Groups whose files stay open while they are used again, at most. The others are for bursts.
const KEPT_OPEN: u64 = 256;

/// Descriptors that such a group takes.
const FILES_EACH: u64 = 4;

/// The part of all descriptors that may be open which these groups take.
const FILES_SHARE: u64 = 32;

/// Groups whose end is taken in at once.
const PER_TURN: usize = 64;

/// Where groups can be made, and whose they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    dir: PathBuf,
    /// Drawn by the guard, so that it knows what its own worker has left.
    life: u64,
}

impl Seat {
    /// Looks for a place, as a process that has started nothing yet. Nothing where no groups can be made.
    pub(crate) fn find() -> Option<Self> {
        let dir = files::own()?;
        let life = random().ok()?;
        let probe = dir.join(format!("taskd-{life:016x}"));
        fs::create_dir(&probe).ok()?;
        let can_kill = File::options().write(true).open(probe.join("cgroup.kill")).is_ok();
        fs::remove_dir(&probe).ok()?;
        if !can_kill {
            return None;
        }
        files::hand_on(&dir, &CONTROLLERS);
        Some(Seat { dir, life })
    }

    /// Where.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What [`Seat::said`] reads.
    pub(crate) fn to_variable(&self) -> String {
        format!("{:016x}:{}", self.life, self.dir.display())
    }

    fn parse(variable: &str) -> Option<Self> {
        let (life, dir) = variable.split_once(':')?;
        Some(Seat {
            dir: dir.into(),
            life: u64::from_str_radix(life, 16).ok()?,
        })
    }

    /// The one that the guard has found.
    pub(crate) fn said() -> Option<Self> {
        Self::parse(&env::var(SEAT).ok()?)
    }

    /// Kills and removes what the worker has left, now that it has ended.
    pub(crate) fn clear(&self) {
        clear_life(&self.dir, self.life);
    }
}

/// The groups of a runner.
#[derive(Debug)]
pub(crate) struct Groups {
    seat: Seat,
    state: u64,
    /// Which controllers they have.
    controllers: Vec<&'static str>,
    /// Whether runs can be started in one.
    works: AtomicBool,
    /// Whether the last that was wanted could be made.
    is_made: AtomicBool,
    /// What each group has whose files stay open.
    permit: Arc<()>,
    list: Mutex<List>,
    /// Watches those that are to be removed.
    leaving: OwnedFd,
    /// Who clones into a group must be let into that which it has in common with its own, as the kernel asks each time by
    /// this file.
    _shared: Option<OwnedFd>,
}

#[derive(Debug, Default)]
struct List {
    /// The number of the newest group.
    last: u64,
    /// Those whose files are open are at the back, where the next is taken.
    free: VecDeque<Group>,
    /// Those that are to be removed once nothing lives in them, by their numbers.
    leaving: HashMap<u64, (Group, File)>,
}

impl Groups {
    /// Ends what earlier runners of a slot left in their groups. The file `known` says where these were; now they would be
    /// in `now`.
    pub(crate) fn clear_earlier(state: u64, known: &Path, now: Option<&Path>) -> Option<PathBuf> {
        let theirs = format!("taskd-{state:016x}-");
        let earlier = fs::read_to_string(known).ok().map(PathBuf::from);
        // An earlier one may have been elsewhere.
        let elsewhere = earlier.as_deref().filter(|earlier| Some(*earlier) != now);
        for dir in elsewhere.into_iter().chain(now) {
            clear(dir, |name| name.starts_with(&theirs));
        }
        earlier
    }

    /// Begins to make groups, after it has ended what earlier runners of the same slot left in theirs, and kept where they
    /// are in the file `known`. Nothing where there is no seat.
    pub(crate) fn take(seat: Option<Seat>, state: u64, known: &Path) -> Option<Arc<Self>> {
        let earlier = Self::clear_earlier(state, known, seat.as_ref().map(|seat| seat.dir.as_path()));
        let seat = seat?;
        if earlier.as_ref() != Some(&seat.dir)
            && let Err(error) = fs::write(known, seat.dir.as_os_str().as_encoded_bytes())
        {
            complain(format_args!(
                "cannot keep {}, so the next runner will look for groups in its own place only: {error}",
                known.display()
            ));
        }
        let leaving = epoll::create(CreateFlags::CLOEXEC).ok()?;
        let enabled = fs::read_to_string(seat.dir.join("cgroup.subtree_control")).unwrap_or_default();
        let is_enabled = |name: &&str| enabled.split_whitespace().any(|enabled| enabled == *name);
        Some(Arc::new(Groups {
            controllers: CONTROLLERS.into_iter().filter(is_enabled).collect(),
            state,
            works: AtomicBool::new(true),
            is_made: AtomicBool::new(true),
            permit: Arc::default(),
            list: Mutex::default(),
            leaving,
            _shared: group::hold_procs(&seat.dir).ok(),
            seat,
        }))
    }

    /// An empty group; nothing where none can be made.
    pub(crate) fn get(&self) -> Option<Group> {
        if !self.works.load(Ordering::Relaxed) {
            return None;
        }
        let mut list = lock(&self.list);
        if let Some(group) = list.free.pop_back() {
            return Some(group);
        }
        drop(list);
        loop {
            let number = self.next_number();
            let Seat { dir, life } = &self.seat;
            let path = dir.join(format!("taskd-{:016x}-{life:016x}-{number}", self.state));
            match fs::create_dir(&path) {
                Ok(()) => {
                    if !self.is_made.swap(true, Ordering::Relaxed) {
                        complain(format_args!("runs get control groups again"));
                    }
                    let mut group = Group::new(path, number);
                    if let Some(permit) = self.may_keep_open() {
                        group.keep_open(permit);
                    }
                    return Some(group);
                }
                // Who may write here has made it. It is not ours, and goes with what this life leaves.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                // There may be too many just now (cgroups(7), `cgroup.max.descendants`).
                Err(error) => {
                    if self.is_made.swap(false, Ordering::Relaxed) {
                        complain(format_args!(
                            "runs get no control groups: cannot make {}: {error}",
                            path.display()
                        ));
                    }
                    return None;
                }
            }
        }
    }

    fn next_number(&self) -> u64 {
        let mut list = lock(&self.list);
        list.last += 1;
        list.last
    }

    /// The permit for a group to keep its files open, if it may.
    fn may_keep_open(&self) -> Option<Arc<()>> {
        let files = rustix::process::getrlimit(Resource::Nofile).current;
        let most = kept_open(files.unwrap_or(u64::MAX));
        // Two threads may take the last one, which does no harm.
        let is_left = (Arc::strong_count(&self.permit) as u64) <= most;
        (is_left && self.controllers.is_empty()).then(|| Arc::clone(&self.permit))
    }

    /// Takes a group back whose attempt is over. What lives in it is killed, unless it is to be left alone; then the group
    /// stays until that has ended.
    pub(crate) fn give_back(&self, group: Arc<Group>, leave: bool) {
        // Who still has it may yet kill what is in it.
        let (group, is_ours) = match Arc::try_unwrap(group) {
            Ok(group) => (group, true),
            Err(group) => (group.same(), false),
        };
        if is_ours && self.controllers.is_empty() && group.is_clean() {
            let mut list = lock(&self.list);
            if list.free.len() < KEPT {
                if group.is_kept_open() {
                    list.free.push_back(group);
                } else {
                    list.free.push_front(group);
                }
                return;
            }
        }
        if !leave {
            group.kill();
        }
        self.remove(group);
    }

    fn remove(&self, group: Group) {
        loop {
            let Some(events) = group.events() else {
                // It is gone.
                return;
            };
            if events.is_populated() {
                let number = group.number();
                let mut list = lock(&self.list);
                // Where it cannot be watched, the guard or the next runner removes it.
                if epoll::add(&self.leaving, &events.file, EventData::new_u64(number), EventFlags::PRI).is_ok() {
                    list.leaving.insert(number, (group, events.file));
                }
                return;
            }
            if group.remove() {
                return;
            }
            // Somebody has just come in, or may not be told from those who are just going.
            if group.events().is_none_or(|events| !events.is_populated()) {
                return;
            }
        }
    }

    /// Removes those in which nothing lives any more.
    pub(crate) fn take_left(&self) {
        let mut events = Vec::with_capacity(PER_TURN);
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // An error is an interruption; they are still readable then.
        let _ = epoll::wait(&self.leaving, spare_capacity(&mut events), Some(&now));
        for event in events {
            let left = lock(&self.list).leaving.remove(&event.data.u64());
            if let Some((group, file)) = left {
                let _ = epoll::delete(&self.leaving, &file);
                self.remove(group);
            }
        }
    }

    /// Makes no more groups, since they cannot be used.
    pub(crate) fn give_up(&self, why: std::fmt::Arguments<'_>) {
        if self.works.swap(false, Ordering::Relaxed) {
            complain(format_args!("runs get no control groups any more: {why}"));
        }
    }

    /// What they have.
    pub(crate) fn controllers(&self) -> &[&'static str] {
        &self.controllers
    }

    /// Whether attempts get groups, as far as was seen.
    pub(crate) fn work(&self) -> bool {
        self.works.load(Ordering::Relaxed) && self.is_made.load(Ordering::Relaxed)
    }

    /// What they count besides time; nothing where attempts have none.
    pub(crate) fn said(&self) -> Option<Vec<String>> {
        let controllers = || self.controllers.iter().map(|name| (*name).to_owned());
        self.work().then(|| controllers().collect())
    }
}

/// How many groups keep their files open under this limit of open files.
fn kept_open(files: u64) -> u64 {
    (files / FILES_SHARE / FILES_EACH).min(KEPT_OPEN)
}

/// How many descriptors groups keep under this limit of open files.
pub(crate) fn files_kept(files: u64) -> u64 {
    kept_open(files) * FILES_EACH
}

impl AsFd for Groups {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.leaving.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_told_from_guard_to_worker() {
        let seat = Seat {
            dir: "/sys/fs/cgroup/a:b".into(),
            life: 77,
        };
        assert_eq!(Seat::parse(&seat.to_variable()), Some(seat));
        assert_eq!(Seat::parse("/sys/fs/cgroup"), None);
    }
}
