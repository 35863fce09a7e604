//! What a child is given: program, arguments, environment, working directory, descriptors, limits.

mod batch;
mod environment;
mod error;
mod stdio;

use std::borrow::Cow;
use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Access, CWD, FileType, OFlags};
use rustix::process::{Pid, Resource, Rlimit};
use taskd_wire::definition::ActionSpec;
use taskd_wire::runner::{AttemptKey, Caps, Process, ResourceLimit, Start, Stdin};

use crate::cgroups::{Group, Groups, NotCapped, first_cap};
use crate::output::{KnownMasks, Masks, Outputs, Raw};
use crate::sweep;
use crate::sys::{self, Decimal, Failed, HasNul, Plan, RESOURCES, Settings, Step};
use crate::user::{self, NoUser};

pub(crate) use batch::{Job, Spawner, Told};
pub(crate) use error::SpawnError;
use error::{failed, refuse};

/// The variable that ties a process to the runner it came from, see [`Cookie`].
pub(crate) const COOKIE: &str = "TASKD_RUNNER";

/// Variables that children get from the runner if it has them, besides those of the account and `LC_*`.
const INHERITED: [&str; 2] = ["LANG", "TZ"];

/// What `TASKD_RUNNER` says: `<state directory>:<instance>:<task>.<run>.<attempt>`. By the first two a later runner knows
/// what an earlier one left behind, by the rest a run's own processes are known.
#[derive(Clone, Debug)]
pub(crate) struct Cookie {
    /// What tells the state directory from every other, see [`Place`](crate::place::Place).
    pub(crate) state: u64,
    pub(crate) instance: u64,
}

impl Cookie {
    pub(crate) fn of<'a>(&'a self, key: &'a AttemptKey) -> impl fmt::Display {
        CookieOf(self, key)
    }
}

struct CookieOf<'a>(&'a Cookie, &'a AttemptKey);

impl fmt::Display for CookieOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CookieOf(Cookie { state, instance }, AttemptKey { task, run, attempt }) = self;
        write!(f, "{state:016x}:{instance:016x}:{task}.{run}.{attempt}")
    }
}

/// What is the same for all children of this runner.
#[derive(Debug)]
pub(crate) struct Host {
    base: Vec<(OsString, OsString)>,
    home: PathBuf,
    cookie: Cookie,
    null: OwnedFd,
    outputs: Outputs,
    /// Where children are put, if groups can be made.
    groups: Option<Arc<Groups>>,
    masks: KnownMasks,
}

impl Host {
    /// A group for an attempt, which holds it to these caps; nothing where none can be made and there are none.
    fn group(&self, caps: &Caps) -> Result<Option<Arc<Group>>, NotCapped> {
        let free = self.groups.as_ref().and_then(|groups| Some((groups, groups.get()?)));
        let Some((groups, mut group)) = free else {
            return first_cap(caps).map_or(Ok(None), |cap| Err(NotCapped::ungrouped(cap)));
        };
        let capped = group.cap(caps, groups.controllers());
        let group = Arc::new(group);
        match capped {
            Ok(()) => Ok(Some(group)),
            Err(error) => {
                groups.give_back(group, false);
                Err(error)
            }
        }
    }

    /// Nothing is in a group that was taken.
    fn leave(&self, group: Option<Arc<Group>>) {
        if let (Some(groups), Some(group)) = (&self.groups, group) {
            groups.give_back(group, false);
        }
    }

    /// Reads this process's own circumstances, and raises its limit of open files: every run takes up to three.
    pub(crate) fn new(cookie: Cookie, outputs: Outputs, groups: Option<Arc<Groups>>) -> io::Result<Self> {
        // One that cannot be looked up leaves what the environment says.
        let account = sys::account(rustix::process::geteuid().as_raw()).ok().flatten();
        let known = |name: &str, fallback: Option<OsString>| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .or(fallback.filter(|value| !value.is_empty()))
        };
        let name = account.as_ref().map(|account| account.name.clone());
        let home =
            known("HOME", account.as_ref().map(|account| account.home.clone())).unwrap_or_else(|| OsString::from("/"));
        let shell = known("SHELL", account.map(|account| account.shell)).unwrap_or_else(|| OsString::from("/bin/sh"));
        let mut base = vec![
            (
                OsString::from("PATH"),
                known("PATH", None).unwrap_or_else(|| OsString::from(environment::PATH)),
            ),
            (OsString::from("HOME"), home.clone()),
            (OsString::from("SHELL"), shell),
        ];
        for variable in ["USER", "LOGNAME"] {
            if let Some(name) = known(variable, name.clone()) {
                base.push((OsString::from(variable), name));
            }
        }
        base.extend(env::vars_os().filter(|(name, _)| {
            INHERITED.iter().any(|inherited| name == inherited) || name.as_bytes().starts_with(b"LC_")
        }));
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, 0.into())?;
        raise_file_limit();
        Ok(Host {
            base,
            home: PathBuf::from(home),
            cookie,
            null,
            outputs,
            groups,
            masks: KnownMasks::default(),
        })
    }
}

/// Raises the soft limit to the hard one. Children have what it was from their launcher.
fn raise_file_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // The system allows this to everybody.
    let _ = rustix::process::setrlimit(Resource::Nofile, raised);
}

/// A child, and our side of what it writes.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pid: Pid,
    pub(crate) sink: Sink,
    /// The control group that it is in.
    pub(crate) group: Option<Arc<Group>>,
}

/// Our side of what a child writes.
#[derive(Debug)]
pub(crate) enum Sink {
    /// Our ends of its pipes.
    Pipes {
        stdout: File,
        stderr: File,
        /// What is hidden of what comes.
        masks: Option<Arc<Masks>>,
    },
    /// The file that it writes itself.
    File(Raw),
    /// It writes for nobody.
    Null,
}

impl Sink {
    /// Nobody takes in what the child wrote.
    pub(crate) fn discard(self) {
        match self {
            Sink::File(raw) => raw.discard(),
            Sink::Pipes { .. } | Sink::Null => {}
        }
    }
}

/// Kills a child and all that came from it, and reaps it.
fn end(pid: Pid, cookie: String, group: Option<Arc<Group>>) {
    sweep::kill_family(cookie, pid, group);
    // An error could only be that somebody else reaped it, which nobody does.
    let _ = sys::reap(pid);
}

fn prepare(plan: &mut Plan, host: &Host, start: &Start) -> Result<(), SpawnError> {
    let user = start.process.0.user.0.as_deref();
    let no_user = |error: NoUser| SpawnError::user(user.unwrap_or_default(), &error);
    let account = user.map(user::find).transpose().map_err(no_user)?;
    plan.identity = account.as_ref().map_or(Ok(None), user::identity).map_err(no_user)?;
    let home = account.as_ref().map_or(host.home.as_path(), user::home_of);
    let cwd = start.cwd.as_deref().map_or(home, Path::new);
    let c_string = |path: &OsStr| CString::new(path.as_bytes()).map_err(|_| HasNul);
    let path = |path: &OsStr, step| {
        c_string(path).map_err(|HasNul| {
            let errno = libc::EINVAL;
            SpawnError::new(Failed { errno, step }, path.as_bytes())
        })
    };
    plan.cwd = path(cwd.as_os_str(), Step::Chdir)?;
    plan.stdin = match &start.process.0.stdin {
        Some(Stdin::File(file)) => Some(path(OsStr::new(file), Step::Stdin)?),
        Some(Stdin::Text(_)) | None => None,
    };
    plan.settings = settings(&start.process.0)?;
    let base = environment::base(host, start, account.as_ref());
    let given = environment::given(start)?;
    environment::put(&mut plan.env, host, start, &base, &given)?;
    plan.argv.clear();
    let program = match &start.action {
        ActionSpec::Exec { argv } => {
            let name = argv.first().ok_or_else(|| refuse(libc::EINVAL, ""))?;
            for argument in argv {
                let pushed = plan.argv.push(&[argument.as_bytes()]);
                pushed.map_err(|HasNul| refuse(libc::EINVAL, name))?;
            }
            find_program(name, environment::search_path(&base, &given), cwd)?
        }
        ActionSpec::Shell { line } => {
            for argument in ["sh", "-c", line] {
                plan.argv.push(&[argument.as_bytes()])?;
            }
            Cow::Borrowed(Path::new("/bin/sh"))
        }
    };
    plan.program = c_string(program.as_os_str())?;
    Ok(())
}

/// What is set between clone and exec.
fn settings(process: &Process) -> Result<Settings, SpawnError> {
    let mut settings = Settings {
        umask: process.umask,
        nice: process.nice,
        ioprio: process.ioprio,
        oom_score_adjust: process.oom_score_adjust.map(Decimal::new),
        no_new_privileges: process.no_new_privileges,
        private_tmp: process.private_tmp,
        ..Settings::default()
    };
    for ResourceLimit { name, soft, hard } in &process.limits {
        let place = RESOURCES.iter().position(|(known, _)| known == name);
        let place = place.and_then(|place| settings.limits.get_mut(place)).ok_or_else(|| {
            // A later daemon may know one that this runner does not.
            let (errno, step) = (libc::EINVAL, Step::Limit(RESOURCES.len()));
            SpawnError::new(Failed { errno, step }, name.as_bytes())
        })?;
        *place = Some((soft.unwrap_or(libc::RLIM_INFINITY), hard.unwrap_or(libc::RLIM_INFINITY)));
    }
    Ok(settings)
}

/// The file that a command name means: with a slash itself, else the first executable file of the search path.
/// Where one is found that may not be executed and no other, that is the error.
fn find_program<'a>(name: &'a str, path: &OsStr, cwd: &Path) -> Result<Cow<'a, Path>, SpawnError> {
    if name.contains('/') {
        return Ok(Cow::Borrowed(Path::new(name)));
    }
    if name.is_empty() {
        return Err(refuse(libc::ENOENT, name));
    }
    let mut error = libc::ENOENT;
    for directory in env::split_paths(path) {
        // An empty or relative entry means a place below the child's working directory.
        let candidate = cwd.join(directory).join(name);
        match rustix::fs::accessat(CWD, &candidate, Access::EXEC_OK, rustix::fs::AtFlags::empty()) {
            Ok(()) => {
                let is_file =
                    rustix::fs::stat(&candidate).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file());
                if is_file {
                    return Ok(Cow::Owned(candidate));
                }
            }
            Err(rustix::io::Errno::ACCESS) => error = libc::EACCES,
            Err(_) => {}
        }
    }
    Err(refuse(error, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_searched_in_the_childs_own_path() {
        let directory = tempfile::tempdir().expect("room");
        let plain = directory.path().join("plain");
        std::fs::write(&plain, "").expect("room");
        std::fs::create_dir(directory.path().join("folder")).expect("room");
        let path = directory.path().as_os_str();
        let missing = find_program("nothing", path, Path::new("/"));
        assert_eq!(missing.expect_err("none").errno, libc::ENOENT);
        let refused = find_program("plain", path, Path::new("/"));
        assert_eq!(refused.expect_err("mode").errno, libc::EACCES);
        let folder = find_program("folder", path, Path::new("/"));
        assert_eq!(folder.expect_err("no file").errno, libc::ENOENT);
        let relative = find_program("sh", OsStr::new("bin"), Path::new("/"));
        assert_eq!(relative.expect("found"), Path::new("/bin/sh"));
        let verbatim = find_program("./x", path, Path::new("/"));
        assert_eq!(verbatim.expect("as it is"), Path::new("./x"));
    }
}
