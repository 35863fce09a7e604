//! Starts that were given up while a thread had them: what still comes of them is killed and reaped.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rustix::process::{Pid, Signal};

use crate::cgroups::{Group, Groups};
use crate::spawn::Child;
use crate::spawner::Spawners;
use crate::sys;

#[derive(Debug, Default)]
pub(super) struct GivenUp {
    /// Those whose report is still to come, by the loop's numbers. Until then an unknown child may be theirs and is not
    /// reaped.
    awaited: HashSet<u64>,
    /// Processes that came of them, not reaped yet.
    children: HashMap<Pid, Option<Arc<Group>>>,
}

impl GivenUp {
    pub(super) fn await_report(&mut self, id: u64) {
        self.awaited.insert(id);
    }

    pub(super) fn is_awaited(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// A thread may have put one back into the queue, from which it is taken then.
    pub(super) fn withdraw(&mut self, spawners: &Spawners) {
        self.awaited.retain(|id| !spawners.withdraw(*id));
    }

    /// One has come back with a child.
    pub(super) fn came_back(&mut self, id: u64, child: Child) {
        self.awaited.remove(&id);
        // Nobody reaps an unknown child while a report is awaited, so its id is its own.
        let _ = rustix::process::kill_process_group(child.pid, Signal::KILL);
        if let Some(group) = &child.group {
            group.kill();
        }
        child.sink.discard();
        self.children.insert(child.pid, child.group);
    }

    /// This start has failed, whether given up or not.
    pub(super) fn failed(&mut self, id: u64) {
        self.awaited.remove(&id);
    }

    pub(super) fn has(&self, pid: Pid) -> bool {
        self.children.contains_key(&pid)
    }

    /// Reaps one of them, which has ended. An error would mean that somebody else did.
    pub(super) fn reap(&mut self, pid: Pid, groups: Option<&Groups>) {
        let _ = sys::reap(pid);
        let group = self.children.remove(&pid).flatten();
        if let (Some(groups), Some(group)) = (groups, group) {
            groups.give_back(group, false);
        }
    }

    /// Reaps all of them that have ended.
    pub(super) fn reap_ended(&mut self, groups: Option<&Groups>) {
        while let Some(pid) = self.children.keys().copied().find(|pid| sys::has_ended(*pid)) {
            self.reap(pid, groups);
        }
    }
}
