//! What this process is, by the path under which its successor will be found, and how it becomes that: by an exec, so that
//! the process id stays, for whoever watches the daemon by it, and its children with it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::Access;
use rustix::process::{Pid, PidfdFlags, Signal};
use taskd_wire::runner::FileId;

/// How long a program may take to say its version, or what it thinks of a configuration.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most of what it says that is read, in bytes.
const SAID_MAX: u64 = 4096;

/// The file that this process executes, whatever has become of its name.
const SELF: &str = "/proc/self/exe";

/// What this process is.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    path: PathBuf,
    args: Vec<OsString>,
    file: Option<FileId>,
}

/// Why a program cannot take the place of this one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    /// It is not there, or cannot be executed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("it is no taskd: asked for its version it says {0:?}")]
    Stranger(String),
    /// It does not begin with what this daemon began with.
    #[error("it refuses how this daemon was started: {0}")]
    Refuses(String),
    /// It does not answer.
    #[error("it does not end within {} s when asked for its version", PATIENCE.as_secs())]
    Silent,
}

impl Program {
    /// Of this process. To be asked at its beginning, while its file still has its name.
    ///
    /// # Errors
    /// When the system does not tell.
    pub(crate) fn of_this_process() -> io::Result<Self> {
        let args: Vec<OsString> = std::env::args_os().collect();
        let called = args
            .first()
            .and_then(|name| find(name, std::env::var_os("PATH").as_deref()));
        // A link stays one, so that what it leads to later is taken.
        let path = match called.filter(|path| is_same(path, Path::new(SELF))) {
            Some(path) => path,
            None => std::env::current_exe()?,
        };
        let file = identity(Path::new(SELF));
        Ok(Program { path, args, file })
    }

    /// Where its successor is looked for.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file that this process executes.
    pub(crate) fn file(&self) -> Option<FileId> {
        self.file
    }

    /// Whether what is at the path now can take the place of this process: its version if so. Takes as long as that takes
    /// to start twice.
    ///
    /// # Errors
    /// [`Unfit`].
    pub(crate) fn check(&self) -> Result<String, Unfit> {
        rustix::fs::access(&self.path, Access::EXEC_OK).map_err(io::Error::from)?;
        let said = ask(Command::new(&self.path).arg("--version"))?;
        let version = said.out.trim().strip_prefix("taskd ").filter(|_| said.is_well);
        let version = version.ok_or_else(|| Unfit::Stranger(said.out.trim().to_owned()))?;
        let begins = ask(Command::new(&self.path)
            .args(self.args.iter().skip(1))
            .arg("--check-config"))?;
        if !begins.is_well {
            let reason = begins.err.trim();
            return Err(Unfit::Refuses(
                reason.strip_prefix("taskd: ").unwrap_or(reason).to_owned(),
            ));
        }
        Ok(version.to_owned())
    }

    /// Becomes what is at the path now, with the same arguments and environment, or else what this is anew. Comes back only
    /// where that fails too.
    pub(crate) fn begin_anew(&self) -> io::Error {
        let exec = |path: &Path| {
            let mut command = Command::new(path);
            command.args(self.args.iter().skip(1));
            if let Some(name) = self.args.first() {
                command.arg0(name);
            }
            command.exec()
        };
        let error = exec(&self.path);
        tracing::error!(error = %error, program = %self.path.display(), "it cannot be executed; this version begins anew");
        exec(Path::new(SELF))
    }
}

/// The file that is meant by a name that a program was called by.
fn find(name: &OsStr, path: Option<&OsStr>) -> Option<PathBuf> {
    if name.as_encoded_bytes().contains(&b'/') {
        return std::path::absolute(name).ok();
    }
    let places = std::env::split_paths(path?);
    places.map(|place| place.join(name)).find(|path| path.is_file())
}

fn is_same(one: &Path, other: &Path) -> bool {
    identity(one).is_some_and(|one| Some(one) == identity(other))
}

fn identity(path: &Path) -> Option<FileId> {
    let found = fs::metadata(path).ok()?;
    Some(FileId {
        device: found.dev(),
        inode: found.ino(),
    })
}

/// What a program said, and whether it ended well.
struct Said {
    is_well: bool,
    out: String,
    err: String,
}

fn ask(command: &mut Command) -> Result<Said, Unfit> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // It is not the one that the service manager waits for.
        .env_remove("NOTIFY_SOCKET")
        .process_group(0)
        .spawn()?;
    let has_ended = wait(&child);
    // With what it has started. It may be gone already; while it is not reaped, its group is no other.
    let _ = rustix::process::kill_process_group(Pid::from_child(&child), Signal::KILL);
    let status = child.wait()?;
    if !has_ended? {
        return Err(Unfit::Silent);
    }
    Ok(Said {
        is_well: status.success(),
        out: read(
            child
                .stdout
                .take()
                .map(|pipe| File::from(std::os::fd::OwnedFd::from(pipe))),
        ),
        err: read(
            child
                .stderr
                .take()
                .map(|pipe| File::from(std::os::fd::OwnedFd::from(pipe))),
        ),
    })
}

/// Whether it has ended in time.
fn wait(child: &Child) -> io::Result<bool> {
    let process = rustix::process::pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let patience = Timespec::try_from(PATIENCE).ok();
    let mut fds = [PollFd::new(&process, PollFlags::IN)];
    Ok(rustix::event::poll(&mut fds, patience.as_ref())? > 0)
}

/// What is in a pipe. Who else may hold it open is not waited for.
fn read(pipe: Option<File>) -> String {
    let mut said = Vec::new();
    if let Some(pipe) = pipe
        && rustix::io::ioctl_fionbio(&pipe, true).is_ok()
    {
        // It ends at the latest with an error for what is not there, and what came before that is kept.
        let _ = pipe.take(SAID_MAX).read_to_end(&mut said);
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A program that is this script.
    fn script(dir: &Path, text: &str, mode: u32) -> Program {
        let (written, path) = (dir.join("written"), dir.join("taskd"));
        fs::write(&written, format!("#!/bin/sh\n{text}\n")).expect("room");
        // By another process: children that other tests start at this moment hold what was written here open for a while,
        // and nobody could execute it.
        let copied = Command::new("cp").arg(&written).arg(&path).status();
        assert!(copied.expect("cp is there").success());
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its own");
        Program {
            path,
            args: ["taskd", "--state-dir", "/s"].map(OsString::from).to_vec(),
            file: None,
        }
    }

    #[test]
    fn only_a_taskd_that_takes_these_arguments_is_fit() {
        let dir = tempfile::tempdir().expect("a directory");
        let good = r#"case "$*" in --version) echo taskd 9.8.7;; "--state-dir /s --check-config") ;; *) exit 1;; esac"#;
        assert_eq!(script(dir.path(), good, 0o700).check().expect("it is fit"), "9.8.7");
        let error = |text, mode| script(dir.path(), text, mode).check().expect_err("unfit").to_string();
        // Root may execute what somebody may.
        assert!(error(good, 0o600).contains("ermission denied"));
        assert!(error("echo true 9.4", 0o700).contains("no taskd"));
        assert!(error("echo taskd 9.8.7; exit 3", 0o700).contains("no taskd"));
        let older =
            r#"case "$*" in --version) echo taskd 0.0.1;; *) echo "taskd: unknown key \`x\`" >&2; exit 1;; esac"#;
        assert_eq!(
            error(older, 0o700),
            "it refuses how this daemon was started: unknown key `x`"
        );
        fs::remove_file(dir.path().join("taskd")).expect("it is there");
        let gone = Program {
            path: dir.path().join("taskd"),
            args: Vec::new(),
            file: None,
        };
        assert!(matches!(gone.check(), Err(Unfit::Io(error)) if error.kind() == io::ErrorKind::NotFound));
    }

    #[test]
    fn nothing_is_left_of_a_program_that_was_asked() {
        let dir = tempfile::tempdir().expect("a directory");
        let left = dir.path().join("left");
        let text = format!("sleep 1000 & echo $! > {}; echo true 9.4", left.display());
        assert!(script(dir.path(), &text, 0o700).check().is_err());
        let pid = fs::read_to_string(&left).expect("it was started");
        let status = format!("/proc/{}/stat", pid.trim());
        let deadline = crate::clock::monotonic() + std::time::Duration::from_secs(30);
        // Nobody here reaps it.
        let is_there = || fs::read_to_string(&status).is_ok_and(|stat| !stat.contains(") Z "));
        while is_there() && crate::clock::monotonic() < deadline {
            std::thread::yield_now();
        }
        assert!(!is_there());
    }

    #[test]
    fn a_program_is_found_by_what_it_was_called() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = script(dir.path(), "", 0o700).path;
        let places = std::env::join_paths([Path::new("/nowhere"), dir.path()]).expect("no colon");
        assert_eq!(find(OsStr::new("taskd"), Some(&places)), Some(path.clone()));
        assert_eq!(find(path.as_os_str(), None), Some(path));
        assert_eq!(find(OsStr::new("taskd"), Some(OsStr::new("/nowhere"))), None);
        assert!(Program::of_this_process().expect("a system").path().is_absolute());
    }
}
