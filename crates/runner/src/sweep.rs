//! Finding processes by where they come from, and ending them.
//!
//! Every child has the [cookie](crate::spawn::Cookie) in its environment and hands it on to its own children, so it
//! tells where a process comes from even when it has left its process group and session. Where the cookie was taken
//! away or may not be read, because the process runs as another user, its group, its session and its parents tell.
//! Processes are signalled through a pidfd that is known to be the one that was looked at, so that never another one is
//! hit that was given the same process id in between.

mod family;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};

pub(crate) use family::Family;

use crate::cgroups::Group;
use crate::clock;
use crate::notify::complain;
use crate::procs::{self, Children, Known, Process, Variable};
use crate::spawn::{COOKIE, Cookie};
use crate::underway::{Known as Attempt, Underway};

/// How long to wait for processes to be gone that were killed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A process may fork while others are looked at, so it is looked again until nothing new is found, so often at most.
const ROUNDS: usize = 8;

/// How long it is looked again for what is in the middle of an exec, which takes a moment unless the file is far away.
const EXEC_PATIENCE: Duration = Duration::from_secs(1);

/// How long between two such looks.
const EXEC_PAUSE: Duration = Duration::from_millis(1);

/// Ends what an earlier runner of the same slot left behind, by what it says in the file `live`, and waits until it is gone.
/// `own` are processes of this runner.
pub(crate) fn leftovers(cookie: &Cookie, left: (Underway, Option<Vec<Attempt>>), own: Vec<Pid>) -> Underway {
    let (mut underway, earlier) = left;
    let is_left: Box<dyn Fn(&str) -> bool> = match earlier {
        Some(earlier) => {
            let cookie_of = |(instance, key)| Cookie { instance, ..*cookie }.of(&key).to_string();
            let cookies: HashSet<String> = earlier.into_iter().map(cookie_of).collect();
            if cookies.is_empty() {
                underway.forget_earlier();
                return underway;
            }
            Box::new(move |found| cookies.contains(found))
        }
        None => {
            let ours = format!("{:016x}:", cookie.state);
            let living = format!("{ours}{:016x}:", cookie.instance);
            Box::new(move |found| found.starts_with(&ours) && !found.starts_with(&living))
        }
    };
    let has_mark = |pid| match Variable::of(pid, COOKIE) {
        Ok(Variable::Is(found)) => is_left(&found),
        Ok(Variable::None | Variable::NotYet) | Err(_) => false,
    };
    // This runner may have been started from a run of an earlier one.
    let mut spared = ancestors();
    spared.extend(own);
    let deadline = clock::steady() + PATIENCE;
    let mut ended = 0;
    loop {
        // At its beginning the runner wants for nothing.
        let pids = procs::pids().unwrap_or_default().into_iter();
        let found: Vec<OwnedFd> = pids
            .filter(|pid| !spared.contains(pid))
            .filter_map(|pid| {
                // Opened before the look at the environment, so it is what was looked at or over.
                let process = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
                has_mark(pid).then_some(process)
            })
            .collect();
        if found.is_empty() {
            underway.forget_earlier();
            break;
        }
        if clock::steady() >= deadline {
            break;
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
    if ended > 0 {
        complain(format_args!(
            "ended {ended} processes that an earlier runner left behind"
        ));
    }
    underway
}

/// What is wanted of the processes of an attempt.
#[derive(Debug)]
pub(crate) struct Seek {
    pub(crate) family: Arc<Family>,
    /// What to send them; unless it is KILL, only to those that are not in the group.
    pub(crate) signal: Option<Signal>,
    /// Whether the first process has ended.
    pub(crate) is_after: bool,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Sought {
    /// What was sent.
    pub(crate) signal: Option<Signal>,
    /// Whether the first process had ended before.
    pub(crate) is_after: bool,
    /// Whether nothing else lives, or it was killed.
    pub(crate) is_gone: bool,
    /// What lives, by a handle that tells when it does not any more.
    pub(crate) one: Option<Survivor>,
}

/// What is watched for its end.
#[derive(Debug)]
pub(crate) enum Survivor {
    /// A process.
    Process(OwnedFd),
    /// All that is in a control group: the file that tells when that is nobody.
    Group(File),
}

impl Survivor {
    /// What happens to the handle at the end.
    pub(crate) fn flags(&self) -> EventFlags {
        match self {
            Survivor::Process(_) => EventFlags::IN,
            Survivor::Group(_) => EventFlags::PRI,
        }
    }
}

impl AsFd for Survivor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Survivor::Process(handle) => handle.as_fd(),
            Survivor::Group(events) => events.as_fd(),
        }
    }
}

/// Who lives, at one time.
struct Table {
    processes: Vec<Process>,
    /// Of those whose parents do not tell where they come from.
    cookies: HashMap<Pid, String>,
    /// Whether some of them may yet turn out to have one.
    is_unsure: bool,
    /// Whether some of them could not be looked at for want of something.
    is_partial: bool,
}

/// Where the processes of this runner are.
#[derive(Debug)]
pub(crate) struct Search {
    /// The guard, which all of them are below.
    guard: Option<Pid>,
    orphans: Option<Orphans>,
}

impl Search {
    pub(crate) fn below(guard: Option<Pid>) -> Self {
        let orphans = guard.and_then(Orphans::of);
        Search { guard, orphans }
    }

    /// Does what is wanted of all of these, in the same order.
    pub(crate) fn seek(&self, seeks: &[Seek]) -> Vec<Sought> {
        let mut sought: Vec<Sought> = seeks
            .iter()
            .map(|seek| Sought {
                signal: seek.signal,
                is_after: seek.is_after,
                is_gone: true,
                one: None,
            })
            .collect();
        let orphans = self.orphans.as_ref().and_then(Orphans::cookies);
        let is_wanted = |seek: &Seek| {
            seek.family.is_populated() || !orphans.as_ref().is_some_and(|orphans| seek.is_none_of(orphans))
        };
        let wanted: Vec<usize> = (0..seeks.len()).filter(|index| is_wanted(&seeks[*index])).collect();
        for seek in seeks.iter().filter(|seek| seek.signal == Some(Signal::KILL)) {
            if let Some(group) = &seek.family.group {
                group.kill();
            }
        }
        let mut done: Vec<Vec<Known>> = vec![Vec::new(); seeks.len()];
        let unsure_until = clock::steady() + EXEC_PATIENCE;
        let mut rounds = 0;
        // Those of which some may have been passed over for want of something.
        let mut missed = vec![false; seeks.len()];
        while !wanted.is_empty() && rounds < ROUNDS {
            let Ok(table) = self.look() else {
                missed.fill(true);
                if clock::steady() < unsure_until {
                    thread::sleep(EXEC_PAUSE);
                    continue;
                }
                break;
            };
            missed.fill(table.is_partial);
            // Who was asked to end, or has just ended, may have forked since it was looked at.
            let mut is_new = false;
            for index in wanted.iter().copied() {
                let (seek, done, sought) = (&seeks[index], &mut done[index], &mut sought[index]);
                sought.is_gone = true;
                for member in seek.family.members(&table) {
                    if done.contains(&member) {
                        sought.is_gone = false;
                        continue;
                    }
                    match member.open() {
                        Ok(Some(handle)) => {
                            is_new |= seek.send(&member, &handle);
                            done.push(member);
                            sought.is_gone = false;
                            sought.one = Some(Survivor::Process(handle));
                        }
                        Ok(None) => is_new = true,
                        Err(_) => missed[index] = true,
                    }
                }
            }
            if (table.is_unsure || missed.contains(&true)) && clock::steady() < unsure_until {
                thread::sleep(EXEC_PAUSE);
            } else if is_new {
                rounds += 1;
            } else {
                break;
            }
        }
        for index in wanted {
            let is_killed = seeks[index].signal == Some(Signal::KILL);
            sought[index].is_gone = !missed[index] && (is_killed || sought[index].is_gone);
            // What is in a group is waited for: it tells when it has ended.
            let group = seeks[index].family.group.as_ref();
            if let Some(events) = group
                .and_then(|group| group.events())
                .filter(|events| events.is_populated())
            {
                sought[index].is_gone = false;
                sought[index].one = Some(Survivor::Group(events.file));
            }
        }
        sought
    }

    fn look(&self) -> io::Result<Table> {
        let mut processes = Process::all()?;
        processes.retain(|process| !process.is_over);
        let (mut is_unsure, mut is_partial) = (false, false);
        let mut cookies = HashMap::new();
        for process in self.strangers(&processes) {
            match Variable::of(process.pid, COOKIE) {
                Ok(Variable::Is(cookie)) => drop(cookies.insert(process.pid, cookie)),
                Ok(Variable::None) => {}
                Ok(Variable::NotYet) => is_unsure = true,
                Err(_) => is_partial = true,
            }
        }
        Ok(Table {
            processes,
            cookies,
            is_unsure,
            is_partial,
        })
    }

    /// Those that may come from this runner and are not below the first process of an attempt.
    fn strangers(&self, processes: &[Process]) -> Vec<Known> {
        let Some(guard) = self.guard else {
            return processes.iter().map(|process| process.known).collect();
        };
        let worker = rustix::process::getpid();
        let orphans = processes
            .iter()
            .filter(|process| process.parent == Some(guard) && process.known.pid != worker)
            .map(|process| process.known);
        descendants(orphans.collect(), processes)
    }
}

impl Seek {
    /// Whether all orphans are of other attempts. When the first process has ended, all that is left of it is below one.
    fn is_none_of(&self, orphans: &[(Process, Variable)]) -> bool {
        let first = Some(self.family.first);
        let is_foreign = |(process, cookie): &(Process, Variable)| {
            process.group != first
                && process.session != first
                && match cookie {
                    Variable::Is(cookie) => *cookie != self.family.cookie,
                    Variable::None | Variable::NotYet => false,
                }
        };
        self.is_after && orphans.iter().all(is_foreign)
    }

    /// Sends the signal, if it is for this one.
    fn send(&self, member: &Known, handle: &OwnedFd) -> bool {
        let Some(signal) = self.signal else {
            return false;
        };
        let asks = signal != Signal::KILL;
        // Who is in the group is asked with it, all at once, and may take a second signal for impatience. Not looked up with
        // getpgid(2), which answers 0 for a group outside of the PID namespace.
        let is_in_group = |now: Process| now.group == Some(self.family.first);
        if asks && matches!(Process::read(member.pid), Ok(Some(now)) if is_in_group(now)) {
            return false;
        }
        // They fail if it has just ended by itself, or is another user's.
        let _ = rustix::process::pidfd_send_signal(handle, signal);
        if asks {
            // A stopped process would not notice.
            let _ = rustix::process::pidfd_send_signal(handle, Signal::CONT);
        }
        true
    }
}

/// Kills what came from a process that is not reaped, itself included.
pub(crate) fn kill_family(cookie: String, first: Pid, group: Option<Arc<Group>>) {
    let _ = rustix::process::kill_process(first, Signal::KILL);
    let family = Family::new(cookie, first, group);
    family.recognise();
    let seek = Seek {
        family,
        signal: Some(Signal::KILL),
        is_after: false,
    };
    Search::below(None).seek(&[seek]);
}

/// What runs left behind: the guard adopts it.
#[derive(Debug)]
pub(crate) struct Orphans {
    children: Children,
    guard: Pid,
    worker: Pid,
    /// Children that the guard had before it was one.
    foreign: Vec<Known>,
}

impl Orphans {
    /// Of this guard, by its worker, before anything runs. Nothing where that cannot be known.
    pub(crate) fn of(guard: Pid) -> Option<Self> {
        let children = Children::of(guard)?;
        let worker = rustix::process::getpid();
        let others = children.now().ok()?.into_iter().filter(|child| *child != worker);
        let foreign = others.filter_map(|child| Some(Process::read(child).ok()??.known));
        Some(Orphans {
            foreign: foreign.collect(),
            children,
            guard,
            worker,
        })
    }

    fn is_orphan(&self, child: Pid) -> bool {
        let is_it = |foreign: &Known| {
            foreign.pid == child && Process::read(child).is_ok_and(|now| now.is_none_or(|now| now.known == *foreign))
        };
        child != self.worker && !self.foreign.iter().any(is_it)
    }

    /// Whether there are any, also such as have ended and are not reaped.
    pub(crate) fn any(&self) -> bool {
        !self
            .children
            .now()
            .is_ok_and(|children| !children.into_iter().any(|child| self.is_orphan(child)))
    }

    /// Those that live, with their cookies. Nothing if they cannot be known for certain.
    fn cookies(&self) -> Option<Vec<(Process, Variable)>> {
        let children = self.children.now().ok()?;
        let mut found = Vec::new();
        for child in children.into_iter().filter(|child| self.is_orphan(*child)) {
            // If one is gone, the list may have left out others.
            let process = Process::read(child).ok()?;
            let process = process.filter(|process| process.parent == Some(self.guard))?;
            if !process.is_over {
                found.push((process, Variable::of(child, COOKIE).ok()?));
            }
        }
        Some(found)
    }
}

/// The children of this process.
///
/// # Errors
/// When they cannot be looked for, for want of descriptors or memory.
pub(crate) fn children() -> io::Result<Vec<Known>> {
    let this = Some(rustix::process::getpid());
    let children = Process::all()?.into_iter().filter(|process| process.parent == this);
    Ok(children.map(|child| child.known).collect())
}

/// Kills all children of this process but these, and theirs. Gives back whether there were any.
///
/// # Errors
/// When they cannot be looked for, for want of descriptors or memory.
pub(crate) fn kill_descendants(foreign: &[Known]) -> io::Result<bool> {
    let processes = Process::all()?;
    let this = Some(rustix::process::getpid());
    let children = processes.iter().filter(|process| process.parent == this);
    let ours = children
        .map(|child| child.known)
        .filter(|child| !foreign.contains(child));
    let all = descendants(ours.collect(), &processes);
    for doomed in &all {
        // Without a descriptor it has its turn when others have ended; it may have ended by itself.
        if let Ok(Some(handle)) = doomed.open() {
            let _ = rustix::process::pidfd_send_signal(&handle, Signal::KILL);
        }
    }
    Ok(!all.is_empty())
}

/// These, their children, theirs, and so on.
fn descendants(mut found: Vec<Known>, processes: &[Process]) -> Vec<Known> {
    let mut below: HashMap<Pid, Vec<Known>> = HashMap::new();
    for process in processes {
        if let Some(parent) = process.parent {
            below.entry(parent).or_default().push(process.known);
        }
    }
    let mut next = 0;
    while let Some(above) = found.get(next).copied() {
        found.extend(below.remove(&above.pid).unwrap_or_default());
        next += 1;
    }
    found
}

fn wait_gone(process: &OwnedFd, patience: Duration) -> bool {
    let timeout = Timespec::try_from(patience).ok();
    let mut fds = [PollFd::new(process, PollFlags::IN)];
    rustix::event::poll(&mut fds, timeout.as_ref()).is_ok_and(|ready| ready > 0)
}

/// This process, its parent, and so on.
fn ancestors() -> Vec<Pid> {
    let mut line = vec![rustix::process::getpid()];
    while let Some(above) = line.last().and_then(|pid| Process::read(*pid).ok()??.parent) {
        line.push(above);
    }
    line
}

#[cfg(test)]
mod tests;
