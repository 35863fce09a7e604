//! A runner under test, and a daemon that speaks with it.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::Value;
use taskd_runner::output_path;
use taskd_wire::codec::{Rec, decode};
use taskd_wire::definition::ActionSpec;
use taskd_wire::frame::{FrameReader, Payload, put_message, read_payload};
use taskd_wire::hello::{Hello, HelloReader, agree};
use taskd_wire::runner::{AttemptKey, Ended, FromRunner, Live, Origin, RunnerInfo, Start, ToRunner};
use tempfile::TempDir;

/// Longer than anything here takes, however busy the machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

#[expect(clippy::disallowed_methods, reason = "tests measure what really happens")]
pub fn now() -> Instant {
    Instant::now()
}

/// Waits until something is so.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = now() + PATIENCE;
    while !is_so() {
        assert!(now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Does it again when a signal came in between: the end of a child that was only just started interrupts other threads.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Whether a process is there and not only waiting to be reaped.
pub fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" Z")))
}

pub fn kill(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process id");
    rustix::process::kill_process(pid, signal).expect("it is there");
}

/// Makes whoever opens the file wait until the lease is given back. Not every file system can.
#[expect(unsafe_code, reason = "no safe crate takes leases")]
fn take_lease(file: &File) -> bool {
    /// The kernel's number for it, on every machine.
    const F_SETSIG: libc::c_int = 10;

    // SAFETY: both only set what concerns this file. The signal that says that somebody waits is one that is ignored.
    unsafe {
        libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG) == 0
            && libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) == 0
    }
}

/// A directory for runners to live in, one after the other.
pub struct Home {
    directory: TempDir,
}

impl Home {
    pub fn new() -> Self {
        Home {
            directory: tempfile::tempdir().expect("room"),
        }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn state_dir(&self) -> PathBuf {
        self.path().join("state")
    }

    pub fn socket(&self) -> PathBuf {
        self.path().join("runner.sock")
    }

    pub fn spool(&self) -> Vec<PathBuf> {
        fs::read_dir(self.state_dir().join("spool"))
            .expect("it exists")
            .map(|entry| entry.expect("readable").path())
            .collect()
    }

    /// Whether a result is in the spool, whole. The file is there before what is in it.
    pub fn has_spooled(&self) -> bool {
        self.spool()
            .iter()
            .any(|file| fs::read(file).is_ok_and(|bytes| bytes.ends_with(b"\n")))
    }

    /// The command that starts a runner here, with an environment that is the same everywhere.
    pub fn command(&self) -> Command {
        self.command_in(&self.state_dir())
    }

    /// The same, with another state directory.
    pub fn command_in(&self, state_dir: &Path) -> Command {
        self.given_to(Command::new("/proc/self/exe"), state_dir)
    }

    /// A command that starts a runner here, after what comes first.
    pub fn command_by(&self, wrapper: &[&str]) -> Command {
        let mut command = Command::new(wrapper[0]);
        command
            .args(&wrapper[1..])
            .arg(std::env::current_exe().expect("it runs"));
        self.given_to(command, &self.state_dir())
    }

    fn given_to(&self, mut command: Command, state_dir: &Path) -> Command {
        command
            .args(["runner", "--state-dir"])
            .arg(state_dir)
            .arg("--socket")
            .arg(self.socket())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.path())
            .env("USER", "tester")
            .env("LOGNAME", "tester")
            .env("SHELL", "/bin/sh")
            .env("LC_TIME", "C")
            .env("SECRET", "not for runs")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    /// Starts a runner and waits until it is ready.
    pub fn start(&self) -> Life {
        self.start_with(self.command())
    }

    /// Starts a runner by this command and waits until it is ready.
    pub fn start_with(&self, mut command: Command) -> Life {
        let notify = self.path().join("notify");
        let _ = fs::remove_file(&notify);
        let ready = UnixDatagram::bind(&notify).expect("room");
        ready.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let errors = File::options()
            .create(true)
            .append(true)
            .open(self.path().join("stderr"))
            .expect("room");
        let guard = command
            .env("NOTIFY_SOCKET", &notify)
            .stderr(errors)
            .spawn()
            .expect("this program");
        let mut message = [0; 64];
        let length = uninterrupted(|| ready.recv(&mut message)).expect("the runner is ready in time");
        assert_eq!(&message[..length], b"READY=1");
        self.living(guard)
    }

    /// A runner that was started here by other means.
    pub fn living(&self, guard: Child) -> Life {
        Life {
            guard,
            socket: self.socket(),
        }
    }

    /// A start whose exec waits until the file is dropped. Nothing where that cannot be had.
    pub fn start_that_hangs(&self, run: u64) -> Option<(File, Start)> {
        self.start_that_hangs_before(run, "")
    }

    /// The same, of a script that then does this.
    pub fn start_that_hangs_before(&self, run: u64, line: &str) -> Option<(File, Start)> {
        let path = self.path().join(format!("program-{run}"));
        fs::write(&path, format!("#!/bin/sh\n{line}\n")).expect("room");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("it is ours");
        let file = File::open(&path).expect("it is there");
        let start = exec(run, &[path.to_str().expect("text")]);
        take_lease(&file).then_some((file, start))
    }

    /// The records of an attempt's output.
    pub fn records(&self, key: AttemptKey) -> Vec<Value> {
        let path = output_path(&self.state_dir(), &key);
        let text = fs::read_to_string(path).expect("there is output");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("each line is JSON"))
            .collect()
    }

    /// What an attempt wrote to a stream.
    pub fn text(&self, key: AttemptKey, stream: &str) -> String {
        self.records(key)
            .iter()
            .filter(|record| record["stream"] == stream)
            .map(|record| record["log"].as_str().expect("text"))
            .collect()
    }

    /// Waits until an attempt has written a whole line to stdout, and gives back what it has written.
    pub fn first_line(&self, key: AttemptKey) -> String {
        let path = output_path(&self.state_dir(), &key);
        wait_until("there is a line", || {
            fs::read(&path).is_ok_and(|text| text.ends_with(b"\n"))
        });
        self.text(key, "stdout").lines().next().unwrap_or_default().to_owned()
    }
}

/// A running runner. It ends with this.
pub struct Life {
    guard: Child,
    socket: PathBuf,
}

impl Life {
    pub fn guard_pid(&self) -> u32 {
        self.guard.id()
    }

    pub fn connect(&self) -> Daemon {
        Daemon::connect(&self.socket)
    }

    pub fn attach(&self) -> (Daemon, Inventory) {
        let mut daemon = self.connect();
        let inventory = daemon.attach();
        (daemon, inventory)
    }

    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the guard ends", || {
            status = self.guard.try_wait().expect("it is ours");
            status.is_some()
        });
        status.expect("waited for")
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Ok(None) = self.guard.try_wait() {
            // Without its worker the guard ends everything else and then itself.
            let guard = self.guard.id();
            let children = fs::read_to_string(format!("/proc/{guard}/task/{guard}/children"));
            for pid in children.unwrap_or_default().split_ascii_whitespace() {
                if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
                    let _ = rustix::process::kill_process(pid, Signal::KILL);
                }
            }
            let deadline = now() + PATIENCE;
            while matches!(self.guard.try_wait(), Ok(None)) && now() < deadline {
                thread::sleep(Duration::from_millis(2));
            }
            // It has ended, or is broken.
            let _ = self.guard.kill();
            let _ = self.guard.wait();
        }
    }
}

/// What a runner says when a daemon attaches.
#[derive(Debug, Default)]
pub struct Inventory {
    pub live: Vec<Live>,
    pub ended: Vec<Ended>,
    /// What lives before had begun, of which nobody knows the end.
    pub begun: Vec<Origin>,
    pub info: RunnerInfo,
}

impl Inventory {
    pub fn live_keys(&self) -> Vec<AttemptKey> {
        let mut keys: Vec<_> = self.live.iter().map(|live| live.origin.key).collect();
        keys.sort();
        keys
    }

    pub fn ended_keys(&self) -> Vec<AttemptKey> {
        let mut keys: Vec<_> = self.ended.iter().map(|ended| ended.origin.key).collect();
        keys.sort();
        keys
    }
}

/// The daemon's side of a connection.
pub struct Daemon {
    pub stream: UnixStream,
    frames: FrameReader,
}

impl Daemon {
    fn connect(socket: &Path) -> Self {
        let mut stream = UnixStream::connect(socket).expect("the runner listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.write_all(&Hello::ours().encode()).expect("it reads");
        let mut hello = HelloReader::new();
        let theirs = loop {
            let mut bytes = [0; 256];
            let length = uninterrupted(|| stream.read(&mut bytes)).expect("it says hello");
            assert!(length > 0, "it says hello before it closes");
            hello.push(&bytes[..length]);
            if let Some(theirs) = hello.next().expect("a hello") {
                break theirs;
            }
        };
        assert_eq!(agree(&Hello::ours(), &theirs), Ok(1));
        let mut frames = FrameReader::new();
        frames.push(&hello.into_rest());
        Daemon { stream, frames }
    }

    pub fn say(&mut self, messages: &[ToRunner]) {
        let mut bytes = Vec::new();
        for message in messages {
            put_message(&mut bytes, message).expect("it fits");
        }
        self.stream.write_all(&bytes).expect("it reads");
    }

    /// The next message, or `None` when the runner has closed the connection.
    pub fn hear(&mut self) -> Option<FromRunner> {
        let mut bytes = [0; 65536];
        loop {
            if let Some(payload) = self.frames.next().expect("frames") {
                let Payload::Message(message) = read_payload(&payload).expect("a payload") else {
                    panic!("protocol 0 is not for runners");
                };
                return Some(decode(message).expect("a message"));
            }
            match uninterrupted(|| self.stream.read(&mut bytes)) {
                Ok(0) => return None,
                Ok(length) => self.frames.push(&bytes[..length]),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("the runner says nothing: {error}"),
            }
        }
    }

    pub fn attach(&mut self) -> Inventory {
        self.say(&[ToRunner::Attach]);
        self.heard_inventory()
    }

    /// The inventory, which was asked for.
    pub fn heard_inventory(&mut self) -> Inventory {
        let mut inventory = Inventory::default();
        loop {
            match self.hear().expect("an inventory") {
                FromRunner::Inventory { live, ended } => {
                    inventory.live.extend(live.into_iter().map(|live| live.0));
                    inventory.ended.extend(ended.into_iter().map(|ended| ended.0));
                }
                FromRunner::Begun(begun) => inventory.begun.extend(begun.into_iter().map(|origin| origin.0)),
                FromRunner::InventoryEnd(info) => {
                    inventory.info = info.0;
                    return inventory;
                }
                event => panic!("{event:?} before the inventory is whole"),
            }
        }
    }

    /// Starts an attempt and waits until it has started. Gives back its process id.
    pub fn start(&mut self, start: Start) -> u32 {
        let key = start.key;
        self.say(&[to_start(start)]);
        match self.hear().expect("an answer") {
            FromRunner::Started { key: started, pid, .. } if started == key => pid,
            other => panic!("{other:?} instead of a start"),
        }
    }

    /// Waits for the next end, past what has started meanwhile.
    pub fn ended(&mut self) -> Ended {
        loop {
            match self.hear().expect("the runner lives") {
                FromRunner::Ended(ended) => return ended.0,
                FromRunner::Started { .. } => {}
                FromRunner::InventoryEnd(info) if info.0.closing.0 => {}
                other => panic!("{other:?} instead of an end"),
            }
        }
    }

    /// Starts an attempt and waits for its end.
    pub fn run(&mut self, start: Start) -> Ended {
        let key = start.key;
        self.say(&[to_start(start)]);
        let ended = self.ended();
        assert_eq!(ended.origin.key, key);
        ended
    }
}

pub fn to_start(start: Start) -> ToRunner {
    ToRunner::Start(Box::new(Rec(start)))
}

pub fn key(run: u64) -> AttemptKey {
    AttemptKey {
        task: 1,
        run,
        attempt: 1,
    }
}

/// A start of a line for the shell.
pub fn shell(run: u64, line: &str) -> Start {
    Start {
        key: key(run),
        task: "job".into(),
        trigger: "manual".into(),
        created_ms: 1_700_000_000_000,
        action: ActionSpec::Shell { line: line.into() },
        output_max: 16 << 20,
        ..Start::default()
    }
}

/// A start of a program.
pub fn exec(run: u64, argv: &[&str]) -> Start {
    let argv = argv.iter().map(|&argument| argument.to_owned()).collect();
    Start {
        action: ActionSpec::Exec { argv },
        ..shell(run, "")
    }
}

/// Kills guard and worker, so that nothing of theirs is cleared away.
pub fn kill_both(mut life: Life, worker: u32) {
    kill(life.guard_pid(), Signal::KILL);
    // It may have followed the guard by itself.
    let worker_pid = rustix::process::Pid::from_raw(worker.cast_signed()).expect("a process id");
    let _ = rustix::process::kill_process(worker_pid, Signal::KILL);
    life.wait();
    wait_until("the worker is gone", || !is_alive(worker));
}
