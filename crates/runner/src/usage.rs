//! What attempts in progress use. Somebody has to ask for it; it is read on a thread of its own, which ends with that, so
//! that the loop never waits for it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::thread;

use rustix::process::Pid;
use taskd_wire::codec::Rec;
use taskd_wire::runner::{AttemptKey, FromRunner, Used};

use crate::cgroups::{Group, Groups};
use crate::clock;
use crate::procs::{self, Consumer};
use crate::reports::{Report, Reports};

/// Most processes that are looked at one by one. Where there are more, what takes that is unknown.
const PROCESSES_MAX: usize = 16_384;

/// Attempts in one message: it fits a frame.
const PAGE: usize = 4_096;

/// An attempt that is looked at.
#[derive(Debug)]
pub(crate) struct Looked {
    pub(crate) key: AttemptKey,
    /// Its first process.
    pub(crate) first: Pid,
    /// Its control group, if it has one.
    pub(crate) group: Option<Group>,
}

/// Looks at these attempts. [`Report::Used`] follows.
pub(crate) fn look(attempts: Vec<Looked>, groups: Option<Arc<Groups>>, reports: Arc<Reports>) -> io::Result<()> {
    let work = move || {
        let used = used(&attempts, groups.as_deref());
        let at_us = clock::steady_us();
        reports.push(Report::Used { used, at_us });
    };
    let builder = thread::Builder::new().name("looker".to_owned()).stack_size(256 * 1024);
    builder.spawn(work).map(drop)
}

/// As it is said to the daemon.
pub(crate) fn said(used: Vec<Used>, at_us: u64) -> Vec<FromRunner> {
    let mut used: Vec<Rec<Used>> = used.into_iter().map(Rec).collect();
    let mut messages = Vec::with_capacity(1);
    loop {
        let rest = used.split_off(PAGE.min(used.len()));
        let is_last = rest.is_empty();
        messages.push(FromRunner::Used { at_us, used, is_last });
        if is_last {
            return messages;
        }
        used = rest;
    }
}

fn used(attempts: &[Looked], groups: Option<&Groups>) -> Vec<Used> {
    let controllers = groups.map_or(&[][..], Groups::controllers);
    let mut left = PROCESSES_MAX;
    let ungrouped = attempts.iter().any(|attempt| attempt.group.is_none());
    // One look at all processes is enough for any number of attempts.
    let all = ungrouped.then(|| Consumer::all(PROCESSES_MAX).ok().flatten()).flatten();
    let trees = all.as_deref().map(Trees::of);
    let of = |attempt: &Looked| match (&attempt.group, &trees) {
        (Some(group), _) => in_group(attempt.key, group, controllers, &mut left),
        (None, Some(trees)) => trees.used(attempt.key, attempt.first),
        (None, None) => Used {
            key: attempt.key,
            ..Used::default()
        },
    };
    attempts.iter().map(of).collect()
}

/// What a control group counts; where none of its controllers counts memory, that of its processes.
fn in_group(key: AttemptKey, group: &Group, controllers: &[&str], left: &mut usize) -> Used {
    let pids = group.pids().ok();
    let resident = || {
        let pids = pids.as_ref()?;
        *left = left.checked_sub(pids.len())?;
        // One that has ended meanwhile has none.
        Some(pids.iter().filter_map(|pid| procs::resident_bytes(*pid)).sum())
    };
    Used {
        key,
        cpu_us: group.cpu_us(),
        memory_bytes: group.memory_bytes(controllers).or_else(resident),
        processes: pids.as_ref().map(|pids| pids.len() as u64),
    }
}

/// All processes, by where they come from.
struct Trees<'a> {
    by_pid: HashMap<Pid, &'a Consumer>,
    /// Who is below whom: by parent, process group and session.
    below: HashMap<Pid, Vec<Pid>>,
}

impl<'a> Trees<'a> {
    fn of(all: &'a [Consumer]) -> Self {
        let mut below: HashMap<Pid, Vec<Pid>> = HashMap::new();
        for one in all {
            for above in [one.parent, one.group, one.session].into_iter().flatten() {
                below.entry(above).or_default().push(one.pid);
            }
        }
        Trees {
            by_pid: all.iter().map(|one| (one.pid, one)).collect(),
            below,
        }
    }

    /// What came from this process uses, itself included, with what ended children had used.
    fn used(&self, key: AttemptKey, first: Pid) -> Used {
        let (mut found, mut next) = (HashSet::from([first]), vec![first]);
        let (mut cpu_us, mut memory_bytes, mut processes) = (0, 0, 0);
        while let Some(pid) = next.pop() {
            if let Some(one) = self.by_pid.get(&pid) {
                cpu_us += one.cpu_us;
                memory_bytes += one.resident_bytes;
                processes += 1;
            }
            let below = self.below.get(&pid).into_iter().flatten();
            next.extend(below.copied().filter(|pid| found.insert(*pid)));
        }
        Used {
            key,
            cpu_us: Some(cpu_us),
            memory_bytes: Some(memory_bytes),
            processes: Some(processes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(number: i32) -> Pid {
        Pid::from_raw(number).expect("not 0")
    }

    fn one(number: i32, parent: i32, group: i32) -> Consumer {
        Consumer {
            pid: pid(number),
            parent: Pid::from_raw(parent),
            group: Pid::from_raw(group),
            session: None,
            cpu_us: 10,
            resident_bytes: 100,
        }
    }

    #[test]
    fn a_tree_is_what_came_from_its_first_process() {
        // A child of 7, its child that left the group, one in the group that lost its parent, and two strangers.
        let all = [
            one(7, 1, 7),
            one(8, 7, 7),
            one(9, 8, 9),
            one(10, 1, 7),
            one(11, 1, 11),
            one(12, 11, 11),
        ];
        let trees = Trees::of(&all);
        let used = trees.used(AttemptKey::default(), pid(7));
        assert_eq!(
            (used.cpu_us, used.memory_bytes, used.processes),
            (Some(40), Some(400), Some(4))
        );
        let none = trees.used(AttemptKey::default(), pid(99));
        assert_eq!(none.processes, Some(0));
    }

    #[test]
    fn an_answer_comes_in_pages_that_fit_a_frame() {
        let many = vec![Used::default(); PAGE * 2 + 1];
        let messages = said(many, 5);
        let last: Vec<bool> = messages
            .iter()
            .map(|message| matches!(message, FromRunner::Used { is_last: true, .. }))
            .collect();
        assert_eq!(last, [false, false, true]);
        let full = Used {
            key: AttemptKey {
                task: u64::MAX,
                run: u64::MAX,
                attempt: u32::MAX,
            },
            cpu_us: Some(u64::MAX),
            memory_bytes: Some(u64::MAX),
            processes: Some(u64::MAX),
        };
        for message in said(vec![full; PAGE], u64::MAX) {
            assert!(taskd_wire::codec::encode(&message).is_ok());
        }
        assert_eq!(said(Vec::new(), 5).len(), 1, "nobody waits in vain");
    }
}
