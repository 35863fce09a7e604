//! Who belongs to an attempt.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, OnceLock};

use rustix::process::Pid;

use super::Table;
use crate::cgroups::Group;
use crate::procs::{Known, Process};
use crate::reports::lock;

/// How the processes of an attempt are known.
#[derive(Debug)]
pub(crate) struct Family {
    pub(super) cookie: String,
    /// The control group that all of them are in, but for what was put into another one.
    pub(super) group: Option<Arc<Group>>,
    /// The first process, whose id is that of its process group and session.
    pub(super) first: Pid,
    /// The same, told from a later one: it may be reaped while it is looked for the others.
    pub(super) first_known: OnceLock<Known>,
    /// Those found so far. What has left group and session without a cookie is known by its parents, and by this when
    /// they have ended.
    known: Mutex<Vec<Known>>,
}

impl Family {
    pub(crate) fn new(cookie: String, first: Pid, group: Option<Arc<Group>>) -> Arc<Self> {
        Arc::new(Family {
            cookie,
            first,
            group,
            first_known: OnceLock::new(),
            known: Mutex::default(),
        })
    }

    /// Makes sure that the first process is told from others. To be called while it is not reaped. If it fails for want
    /// of something only cookies tell, until it does not.
    pub(crate) fn recognise(&self) {
        if self.first_known.get().is_none()
            && let Ok(Some(process)) = Process::read(self.first)
        {
            // Two would say the same.
            let _ = self.first_known.set(process.known);
        }
    }

    /// Whether the id of the first process is its own, as it is until it is reaped.
    fn has_its_id(&self) -> bool {
        let Some(first) = self.first_known.get() else {
            return false;
        };
        Process::read(self.first).is_ok_and(|now| now.is_some_and(|now| now.known == *first))
    }

    /// Whether something lives in its control group, the first process included.
    pub(super) fn is_populated(&self) -> bool {
        self.group.as_ref().is_some_and(|group| group.is_populated())
    }

    /// Its living processes but the first.
    pub(super) fn members(&self, table: &Table) -> Vec<Known> {
        let known = lock(&self.known).clone();
        // Where it cannot be read the others tell, and the group is known not to be empty.
        let in_group = self.group.as_ref().and_then(|group| group.pids().ok());
        let in_group: HashSet<Pid> = in_group.into_iter().flatten().collect();
        // Looked at after the table was read, so it was its own in all of it. Once it is not, it may be the group of
        // others.
        let has_its_id = self.has_its_id();
        let is_near = |process: &Process| {
            process.group == Some(self.first)
                || process.session == Some(self.first)
                || process.parent == Some(self.first)
        };
        let is_one = |process: &Process| {
            (has_its_id && is_near(process))
                || in_group.contains(&process.known.pid)
                || known.contains(&process.known)
                || table.cookies.get(&process.known.pid) == Some(&self.cookie)
        };
        let (mut members, mut others): (Vec<&Process>, Vec<&Process>) = table
            .processes
            .iter()
            .filter(|process| !has_its_id || process.known.pid != self.first)
            .partition(|process| is_one(process));
        let mut next = 0;
        while let Some(above) = members.get(next).map(|member| Some(member.known.pid)) {
            let (children, rest) = others.into_iter().partition(|process| process.parent == above);
            members.extend::<Vec<_>>(children);
            others = rest;
            next += 1;
        }
        let members: Vec<Known> = members.iter().map(|member| member.known).collect();
        lock(&self.known).clone_from(&members);
        members
    }
}
