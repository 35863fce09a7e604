//! What this daemon may give the processes of tasks. Its runner has the same rights, as it is started by the same user or by
//! the same service manager; where that is not so, a start fails and says what could not be set.

use std::fs;

use rustix::process::{Resource as System, getpriority_process, getrlimit};
use taskd_core::process::{IoClass, IoPriority, Limit, Resource};
use taskd_runner::user_id;

/// Rights of a process that matter here, by their numbers in `capabilities(7)`.
const KILL: u32 = 5;
const SETGID: u32 = 6;
const SETUID: u32 = 7;
const SYS_ADMIN: u32 = 21;
const SYS_NICE: u32 = 23;
const SYS_RESOURCE: u32 = 24;

/// What a process may do. What could not be found out is allowed: the start will tell.
#[derive(Clone, Debug)]
pub(crate) struct Powers {
    /// Its user.
    uid: u32,
    /// Its effective capabilities, a bit each.
    capabilities: u64,
    /// Its own limits; `None` is unlimited.
    hard: fn(Resource) -> Option<u64>,
    /// Its own priority for the processor.
    nice: i32,
    /// Its own OOM score adjustment.
    oom_score_adjust: i32,
    /// The most files that anybody may have open.
    files_max: Option<u64>,
}

impl Powers {
    /// Those of this process.
    pub(crate) fn own() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Powers {
            uid: rustix::process::geteuid().as_raw(),
            capabilities: capabilities(&text("/proc/self/status")).unwrap_or(u64::MAX),
            hard: |resource| getrlimit(system(resource)).maximum,
            nice: getpriority_process(None).unwrap_or(0),
            oom_score_adjust: text("/proc/self/oom_score_adj").trim().parse().unwrap_or(i32::MIN),
            files_max: text("/proc/sys/fs/nr_open").trim().parse().ok(),
        }
    }

    fn has(&self, capability: u32) -> bool {
        self.capabilities >> capability & 1 == 1
    }

    /// The lowest `nice` it may give.
    pub(crate) fn nice_min(&self) -> i32 {
        if self.has(SYS_NICE) {
            return i32::MIN;
        }
        let allowed = (self.hard)(Resource::Nice).map_or(i32::MIN, |limit| 20 - i32::try_from(limit).unwrap_or(40));
        allowed.min(self.nice)
    }

    /// Whether it may give this priority for disks.
    pub(crate) fn may_have_io(&self, io: IoPriority) -> bool {
        match io.class {
            IoClass::Realtime => self.has(SYS_NICE) || self.has(SYS_ADMIN),
            IoClass::BestEffort | IoClass::Idle => true,
        }
    }

    /// Whether it may run something as this user, and end it. For one without rights that is itself alone, and the account is
    /// looked up.
    pub(crate) fn may_become(&self, user: &str) -> bool {
        let may = self.uid == 0 && [KILL, SETGID, SETUID].into_iter().all(|right| self.has(right));
        may || user.parse() == Ok(self.uid) || user_id(user).is_ok_and(|uid| uid == self.uid)
    }

    /// Whether it may give directories that others do not see.
    pub(crate) fn may_mount(&self) -> bool {
        self.has(SYS_ADMIN)
    }

    /// The lowest OOM score adjustment it may give for certain; one above 0 that is lower than its own it may be able to.
    pub(crate) fn oom_min(&self) -> i32 {
        if self.has(SYS_RESOURCE) {
            i32::MIN
        } else {
            self.oom_score_adjust.min(0)
        }
    }

    /// The most it may give of a resource, if that is less than this limit.
    pub(crate) fn less_than(&self, limit: &Limit) -> Option<u64> {
        let own = (self.hard)(limit.resource).filter(|_| !self.has(SYS_RESOURCE));
        let of_all = self.files_max.filter(|_| limit.resource == Resource::Nofile);
        let most = own.into_iter().chain(of_all).min()?;
        limit.hard.is_none_or(|hard| hard > most).then_some(most)
    }
}

/// The effective capabilities that `/proc/PID/status` tells.
fn capabilities(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn system(resource: Resource) -> System {
    match resource {
        Resource::As => System::As,
        Resource::Core => System::Core,
        Resource::Cpu => System::Cpu,
        Resource::Data => System::Data,
        Resource::Fsize => System::Fsize,
        Resource::Locks => System::Locks,
        Resource::Memlock => System::Memlock,
        Resource::Msgqueue => System::Msgqueue,
        Resource::Nice => System::Nice,
        Resource::Nofile => System::Nofile,
        Resource::Nproc => System::Nproc,
        Resource::Rss => System::Rss,
        Resource::Rtprio => System::Rtprio,
        Resource::Rttime => System::Rttime,
        Resource::Sigpending => System::Sigpending,
        Resource::Stack => System::Stack,
    }
}

#[cfg(test)]
impl Powers {
    /// Those of user 1000 without any rights, who has 4096 files and no more than the given `nice` and adjustment.
    pub(crate) fn none() -> Self {
        Powers {
            uid: 1000,
            capabilities: 0,
            hard: |resource| match resource {
                Resource::Nofile => Some(4096),
                Resource::Nice => Some(0),
                Resource::Stack => None,
                _ => Some(1 << 20),
            },
            nice: 0,
            oom_score_adjust: 100,
            files_max: Some(1 << 20),
        }
    }

    /// Those of root.
    pub(crate) fn all() -> Self {
        Powers {
            uid: 0,
            capabilities: u64::MAX,
            ..Powers::none()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_read_as_the_system_writes_them() {
        assert_eq!(
            capabilities("Name:\tx\nCapEff:\t0000000001a00000\n"),
            Some(1 << 21 | 1 << 23 | 1 << 24)
        );
        assert_eq!(capabilities("Name:\tx\n"), None);
        let own = Powers::own();
        assert!(own.files_max.is_some() && own.oom_score_adjust > i32::MIN, "{own:?}");
    }
}
