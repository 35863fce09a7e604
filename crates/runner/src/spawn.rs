//! What a child is given: program, arguments, environment, working directory, descriptors, limits.

use std::borrow::Cow;
use std::collections::HashSet;
use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{Access, CWD, FileType, OFlags};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Resource, Rlimit};
use taskd_wire::definition::{ActionSpec, OutputKind};
use taskd_wire::runner::{AttemptKey, Start};

use crate::clock;
use crate::output::{Raw, raw_output_path};
use crate::sweep;
use crate::sys::{self, CStrings, Failed, HasNul, Launcher, NotStarted, Plan, Stdio, Step};

/// The variable that ties a process to the runner it came from, see [`Cookie`].
pub(crate) const COOKIE: &str = "TASKD_RUNNER";

/// The search path of children when the runner itself has none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables that children get from the runner if it has them, besides those of the account and `LC_*`.
const INHERITED: [&str; 2] = ["LANG", "TZ"];

/// Names that the runner itself sets; a task cannot.
const OWN: [&str; 7] = [
    COOKIE,
    "TASKD_TASK",
    "TASKD_RUN",
    "TASKD_ATTEMPT",
    "TASKD_FIRE_TIME",
    "TASKD_TRIGGER",
    "TRACEPARENT",
];

/// What `TASKD_RUNNER` says: `<state directory>:<instance>:<task>.<run>.<attempt>`. By the first two a later runner knows
/// what an earlier one left behind, by the rest a run's own processes are known.
#[derive(Clone, Debug)]
pub(crate) struct Cookie {
    /// What tells the state directory from every other, see [`Place`](crate::place::Place).
    pub(crate) state: u64,
    pub(crate) instance: u64,
}

impl Cookie {
    pub(crate) fn of(&self, key: &AttemptKey) -> String {
        let Cookie { state, instance } = self;
        let AttemptKey { task, run, attempt } = key;
        format!("{state:016x}:{instance:016x}:{task}.{run}.{attempt}")
    }
}

/// What is the same for all children of this runner.
#[derive(Debug)]
pub(crate) struct Host {
    base: Vec<(OsString, OsString)>,
    home: PathBuf,
    cookie: Cookie,
    null: OwnedFd,
    state_dir: PathBuf,
}

impl Host {
    /// Reads this process's own circumstances, and raises its limit of open files: every run takes up to three.
    pub(crate) fn new(cookie: Cookie, state_dir: &Path) -> io::Result<Self> {
        let account = sys::account(rustix::process::geteuid().as_raw());
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
                known("PATH", None).unwrap_or_else(|| OsString::from(PATH)),
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
            state_dir: state_dir.to_owned(),
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

/// Longer names of what failed are cut, in characters.
const WHAT_MAX: usize = 200;

/// A child that could not be started.
#[derive(Debug)]
pub(crate) struct SpawnError {
    pub(crate) errno: i32,
    /// The step that failed and the file it is about, as in [`taskd_wire::runner::End::SpawnFailed`].
    pub(crate) what: String,
}

impl SpawnError {
    /// The path is for people to read on one line: cut, and without characters that would do something.
    fn new(failed: Failed, path: &[u8]) -> Self {
        let Failed { errno, step } = failed;
        let step = match step {
            Step::Launcher => "launcher",
            Step::Pipe => "pipe",
            Step::Clone => "clone",
            Step::Chdir => "chdir",
            Step::Exec => "exec",
            Step::Output => "output",
        };
        let mut what = step.to_owned();
        if !path.is_empty() {
            what.push(' ');
            let path = String::from_utf8_lossy(path);
            let room = WHAT_MAX - what.len();
            let kept = if path.chars().nth(room).is_some() {
                room - 1
            } else {
                room
            };
            let harmless = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
            what.extend(path.chars().take(kept).map(harmless));
            if kept < room {
                what.push('…');
            }
        }
        SpawnError { errno, what }
    }
}

/// A child, and our side of what it writes.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pid: Pid,
    pub(crate) sink: Sink,
}

/// Our side of what a child writes.
#[derive(Debug)]
pub(crate) enum Sink {
    /// Our ends of its pipes.
    Pipes { stdout: File, stderr: File },
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

/// Starts children, one after the other, with memory that is used again.
pub(crate) struct Spawner<'a> {
    host: &'a Host,
    plan: Plan,
    launcher: Launcher<'a>,
}

impl<'a> Spawner<'a> {
    pub(crate) fn new(host: &'a Host, launcher: Launcher<'a>) -> Self {
        Spawner {
            host,
            plan: Plan::default(),
            launcher,
        }
    }

    /// Starts what cannot be executed, so that the first start is as quick as any other: its launcher is there then, and
    /// what it takes was used once.
    pub(crate) fn warm_up(&mut self) {
        let null = self.host.null.as_fd();
        let (stdin, stdout, stderr) = (null, null, null);
        // The program of an empty plan has no name.
        let _ = self.launcher.start(&Plan::default(), &Stdio { stdin, stdout, stderr });
    }

    /// Starts a child, see [`Launcher::start`].
    pub(crate) fn spawn(&mut self, start: &Start) -> Result<Child, SpawnError> {
        prepare(&mut self.plan, self.host, start)?;
        match start.output.0 {
            OutputKind::Lines => {
                let (stdout, stdout_end) = pipe()?;
                let (stderr, stderr_end) = pipe()?;
                let pid = self.launch(start, stdout_end.as_fd(), stderr_end.as_fd())?;
                let sink = Sink::Pipes { stdout, stderr };
                Ok(Child { pid, sink })
            }
            OutputKind::File => {
                let raw = self.raw(start)?;
                match self.launch(start, raw.file().as_fd(), raw.file().as_fd()) {
                    Ok(pid) => Ok(Child {
                        pid,
                        sink: Sink::File(raw),
                    }),
                    Err(error) => {
                        raw.discard();
                        Err(error)
                    }
                }
            }
            OutputKind::Discard => {
                let null = self.host.null.as_fd();
                let pid = self.launch(start, null, null)?;
                let sink = Sink::Null;
                Ok(Child { pid, sink })
            }
        }
    }

    /// The file that a child is to write.
    fn raw(&self, start: &Start) -> Result<Raw, SpawnError> {
        let path = raw_output_path(&self.host.state_dir, &start.key);
        Raw::create(path.clone(), start.output_max, clock::steady()).map_err(|error| {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            let step = Step::Output;
            SpawnError::new(Failed { errno, step }, path.as_os_str().as_bytes())
        })
    }

    fn launch(&mut self, start: &Start, stdout: BorrowedFd<'_>, stderr: BorrowedFd<'_>) -> Result<Pid, SpawnError> {
        let stdin = self.host.null.as_fd();
        let failed = match self.launcher.start(&self.plan, &Stdio { stdin, stdout, stderr }) {
            Ok(pid) => return Ok(pid),
            Err(NotStarted::Failed(failed)) => failed,
            Err(NotStarted::Unfinished(pid)) => {
                // Nobody knows how far it has come, so it is not to be told from one that never started.
                end(pid, self.host.cookie.of(&start.key));
                let (errno, step) = (libc::EIO, Step::Launcher);
                Failed { errno, step }
            }
        };
        let path = match failed.step {
            Step::Launcher | Step::Pipe | Step::Clone | Step::Output => c"",
            Step::Chdir => self.plan.cwd.as_c_str(),
            Step::Exec => self.plan.program.as_c_str(),
        };
        Err(SpawnError::new(failed, path.to_bytes()))
    }
}

/// Kills a child and all that came from it, and reaps it.
fn end(pid: Pid, cookie: String) {
    sweep::kill_family(cookie, pid);
    // An error could only be that somebody else reaped it, which nobody does.
    let _ = sys::reap(pid);
}

/// A pipe: our end, which does not block, and the child's.
fn pipe() -> Result<(File, OwnedFd), SpawnError> {
    let failed = |errno: rustix::io::Errno| {
        let (errno, step) = (errno.raw_os_error(), Step::Pipe);
        SpawnError::new(Failed { errno, step }, b"")
    };
    let (ours, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
    rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK).map_err(failed)?;
    Ok((File::from(ours), theirs))
}

/// An error that is found before there is a child. `program` is empty where it is not about that.
fn refuse(errno: i32, program: &str) -> SpawnError {
    let step = Step::Exec;
    SpawnError::new(Failed { errno, step }, program.as_bytes())
}

impl From<HasNul> for SpawnError {
    fn from(_: HasNul) -> Self {
        refuse(libc::EINVAL, "")
    }
}

fn prepare(plan: &mut Plan, host: &Host, start: &Start) -> Result<(), SpawnError> {
    let cwd = start.cwd.as_deref().map_or(host.home.as_path(), Path::new);
    let c_string = |path: &OsStr| CString::new(path.as_bytes()).map_err(|_| HasNul);
    plan.cwd = c_string(cwd.as_os_str()).map_err(|HasNul| {
        let (errno, step) = (libc::EINVAL, Step::Chdir);
        SpawnError::new(Failed { errno, step }, cwd.as_os_str().as_bytes())
    })?;
    put_env(&mut plan.env, host, start)?;
    plan.argv.clear();
    let program = match &start.action {
        ActionSpec::Exec { argv } => {
            let name = argv.first().ok_or_else(|| refuse(libc::EINVAL, ""))?;
            for argument in argv {
                let pushed = plan.argv.push(&[argument.as_bytes()]);
                pushed.map_err(|HasNul| refuse(libc::EINVAL, name))?;
            }
            find_program(name, search_path(host, start), cwd)?
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

/// Base, then the task's own, then what the runner says of the run.
fn put_env(env: &mut CStrings, host: &Host, start: &Start) -> Result<(), SpawnError> {
    env.clear();
    let own = |name: &str| OWN.contains(&name);
    let given_names: HashSet<&str> = start.env.iter().map(|given| given.name.as_str()).collect();
    for (name, value) in &host.base {
        if !name.to_str().is_some_and(|name| given_names.contains(name)) {
            env.push(&[name.as_bytes(), b"=", value.as_bytes()])?;
        }
    }
    // The last of a name counts.
    let mut said = HashSet::new();
    let last = start.env.iter().rev().filter(|given| said.insert(given.name.as_str()));
    for given in last.collect::<Vec<_>>().into_iter().rev() {
        if given.name.is_empty() || given.name.contains('=') {
            return Err(refuse(libc::EINVAL, ""));
        }
        if !own(&given.name) {
            env.push(&[given.name.as_bytes(), b"=", given.value.as_bytes()])?;
        }
    }
    let AttemptKey { run, attempt, .. } = start.key;
    let mut say = |name: &str, value: &str| env.push(&[name.as_bytes(), b"=", value.as_bytes()]);
    say(COOKIE, &host.cookie.of(&start.key))?;
    say("TASKD_TASK", &start.task)?;
    say("TASKD_RUN", &format!("{}/{run}", start.task))?;
    say("TASKD_ATTEMPT", &attempt.to_string())?;
    if let Some(at) = start.fire_time_ms.and_then(instant) {
        say("TASKD_FIRE_TIME", &at)?;
    }
    say("TASKD_TRIGGER", &start.trigger)?;
    let span = span_id(host.cookie.instance, &start.key);
    say("TRACEPARENT", &format!("00-{:032x}-{span:016x}-01", start.trace_id))?;
    Ok(())
}

/// RFC 3339 in UTC, with as many digits of the second as it has, as everywhere else.
fn instant(ms: i64) -> Option<String> {
    Some(Timestamp::from_millisecond(ms).ok()?.to_string())
}

/// An id for the span of an attempt: never zero, another for each attempt and each life of a runner.
fn span_id(instance: u64, key: &AttemptKey) -> u64 {
    // The mixing step of splitmix64.
    let mix = |mut word: u64| {
        word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    };
    let id = mix(mix(mix(instance ^ key.task) ^ key.run) ^ u64::from(key.attempt));
    id.max(1)
}

/// The search path that the child will have.
fn search_path<'a>(host: &'a Host, start: &'a Start) -> &'a OsStr {
    let given = start.env.iter().rev().find(|given| given.name == "PATH");
    let base = || host.base.iter().find(|(name, _)| name == "PATH");
    match given {
        Some(given) => OsStr::new(&given.value),
        None => base().map_or(OsStr::new(PATH), |(_, value)| value),
    }
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
    use taskd_wire::definition::EnvVar;

    fn host() -> Host {
        Host {
            base: vec![
                ("PATH".into(), "/usr/bin:/bin".into()),
                ("HOME".into(), "/home/me".into()),
            ],
            home: "/home/me".into(),
            cookie: Cookie { state: 1, instance: 7 },
            null: File::open("/dev/null").expect("a system").into(),
            state_dir: "/nowhere".into(),
        }
    }

    fn start(env: &[(&str, &str)]) -> Start {
        Start {
            key: AttemptKey {
                task: 3,
                run: 42,
                attempt: 2,
            },
            task: "backup".into(),
            trigger: "schedule".into(),
            fire_time_ms: Some(1_700_000_000_000),
            trace_id: 0xabc,
            action: ActionSpec::Exec {
                argv: vec!["sh".into()],
            },
            env: env
                .iter()
                .map(|(name, value)| EnvVar {
                    name: (*name).into(),
                    value: (*value).into(),
                })
                .collect(),
            ..Start::default()
        }
    }

    fn env_of(start: &Start) -> Vec<String> {
        let mut strings = CStrings::default();
        put_env(&mut strings, &host(), start).expect("valid");
        strings
            .iter()
            .map(|entry| String::from_utf8_lossy(entry).into_owned())
            .collect()
    }

    #[test]
    fn the_environment_is_base_then_task_then_run() {
        let span = span_id(7, &start(&[]).key);
        assert_eq!(
            env_of(&start(&[
                ("HOME", "/elsewhere"),
                ("A", "1"),
                ("A", "2"),
                ("TASKD_RUN", "fake")
            ])),
            [
                "PATH=/usr/bin:/bin".to_owned(),
                "HOME=/elsewhere".to_owned(),
                "A=2".to_owned(),
                "TASKD_RUNNER=0000000000000001:0000000000000007:3.42.2".to_owned(),
                "TASKD_TASK=backup".to_owned(),
                "TASKD_RUN=backup/42".to_owned(),
                "TASKD_ATTEMPT=2".to_owned(),
                "TASKD_FIRE_TIME=2023-11-14T22:13:20Z".to_owned(),
                "TASKD_TRIGGER=schedule".to_owned(),
                format!("TRACEPARENT=00-00000000000000000000000000000abc-{span:016x}-01"),
            ]
        );
    }

    #[test]
    fn a_fire_time_has_as_many_digits_as_it_needs() {
        assert_eq!(instant(1_700_000_000_250).as_deref(), Some("2023-11-14T22:13:20.25Z"));
        assert_eq!(instant(0).as_deref(), Some("1970-01-01T00:00:00Z"));
        let mut manual = start(&[]);
        manual.fire_time_ms = None;
        assert!(!env_of(&manual).iter().any(|entry| entry.starts_with("TASKD_FIRE_TIME")));
    }

    #[test]
    fn names_and_values_that_cannot_be_said_are_refused() {
        for bad in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "x\0y")] {
            let refused = put_env(&mut CStrings::default(), &host(), &start(&[bad]));
            assert_eq!(refused.expect_err("refused").errno, libc::EINVAL, "{bad:?}");
        }
    }

    #[test]
    fn what_failed_is_short_and_on_one_line() {
        let what = |path: &[u8]| {
            let (errno, step) = (libc::ENOENT, Step::Exec);
            SpawnError::new(Failed { errno, step }, path).what
        };
        assert_eq!(what(b""), "exec");
        assert_eq!(
            what(b"/a b/\n\x1b[1m\0\xff"),
            "exec /a b/\u{fffd}\u{fffd}[1m\u{fffd}\u{fffd}"
        );
        let fits = "ü".repeat(WHAT_MAX - 5);
        assert_eq!(what(fits.as_bytes()), format!("exec {fits}"));
        let cut = what("ü".repeat(WHAT_MAX - 4).as_bytes());
        assert_eq!(cut, format!("exec {}…", "ü".repeat(WHAT_MAX - 6)));
        assert_eq!(cut.chars().count(), WHAT_MAX);
    }

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
