//! A world of its own for each test: a temporary directory, a real `taskd` in it, and `taskctl` with nothing of the
//! caller's environment. Dropping it ends every process that was started in it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

/// How long a condition may take to come true on a machine that is busy.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `condition` gives something.
///
/// # Panics
/// When it does not within [`DEADLINE`].
#[track_caller]
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The time by a clock that is never set.
#[expect(clippy::disallowed_methods, reason = "a deadline of the tests themselves")]
pub fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since the epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "a test is a caller of the program, and has a clock of its own"
)]
pub fn wall() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("not so far away")
}

/// What a `taskctl` printed and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// A `taskctl run --wait` that follows its run.
#[derive(Debug)]
pub struct Waiting {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Waiting {
    /// Waits for its end. What it printed is that from the second line on.
    #[must_use]
    pub fn ended(self) -> Ran {
        let Waiting { child, mut stdout } = self;
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).expect("text");
        let output = child.wait_with_output().expect("it ends");
        Ran {
            status: output.status,
            stdout: rest,
            stderr: String::from_utf8(output.stderr).expect("text"),
        }
    }
}

impl Ran {
    /// Its exit code.
    #[track_caller]
    pub fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| panic!("it ended by signal {:?}: {self:?}", self.status.signal()))
    }

    /// Its standard output, when it ended well.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code(), 0, "{self:?}");
        self.stdout
    }

    /// Its standard error, when it ended with this code.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn refused(self, code: i32) -> String {
        assert_eq!(self.code(), code, "{self:?}");
        self.stderr
    }

    /// Its error as `--json` has it: code, message and hint, and nothing on standard output.
    #[track_caller]
    pub fn error(self, code: i32) -> Value {
        assert_eq!(self.code(), code, "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        let error: Value = serde_json::from_str(&self.stderr).unwrap_or_else(|error| panic!("{error} in {self:?}"));
        has_keys(&error, "code message hint");
        error
    }

    /// Its standard output as JSON, when it ended well.
    #[track_caller]
    pub fn json(self) -> Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }
}

/// A temporary directory, the daemon that may run in it, and all that it starts.
pub struct World {
    dir: TempDir,
    daemon: Option<Child>,
    /// Set in every process of this world, so that none is forgotten.
    mark: String,
}

impl World {
    /// A world without a daemon.
    #[must_use]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("taskd-test")
            .tempdir()
            .expect("a temporary directory");
        let mark = format!("TASKD_TEST_WORLD={}", dir.path().display());
        World {
            dir,
            daemon: None,
            mark,
        }
    }

    /// A world with a daemon that serves.
    #[must_use]
    pub fn served() -> Self {
        let mut world = World::new();
        world.start();
        world
    }

    /// A path in the world.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where the daemon listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path("taskd.sock")
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let (name, value) = self.mark.split_once('=').expect("the mark is NAME=VALUE");
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.dir.path())
            .env("TZ", "UTC")
            .env(name, value)
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    /// A `taskd` for this world, not yet started.
    #[must_use]
    pub fn taskd(&self) -> Command {
        self.taskd_at(Path::new(env!("CARGO_BIN_EXE_taskd")))
    }

    /// The same, of a program elsewhere.
    #[must_use]
    pub fn taskd_at(&self, program: &Path) -> Command {
        let mut command = self.command(program);
        command
            .arg("--config")
            .arg(self.path("taskd.toml"))
            .arg("--socket")
            .arg(self.socket())
            .arg("--state-dir")
            .arg(self.path("state"))
            .arg("--log-dir")
            .arg(self.path("log"));
        if !self.path("taskd.toml").exists() {
            std::fs::write(self.path("taskd.toml"), "").expect("a configuration file");
        }
        command
    }

    /// Installs a program of this world's own: a copy of `taskd`, so that it is another file than any before it.
    #[must_use]
    pub fn install(&self) -> PathBuf {
        let (path, fresh) = (self.path("bin/taskd"), self.path("bin/fresh"));
        std::fs::create_dir_all(self.path("bin")).expect("a directory");
        copy_program(env!("CARGO_BIN_EXE_taskd"), &fresh);
        std::fs::rename(&fresh, &path).expect("the same directory");
        path
    }

    /// Starts the daemon and waits until it serves and has a runner.
    #[track_caller]
    pub fn start(&mut self) {
        self.spawn(self.taskd());
        self.wait_served();
    }

    /// Starts a daemon and waits for nothing.
    #[track_caller]
    pub fn spawn(&mut self, mut taskd: Command) {
        let stderr = std::fs::File::create(self.path("taskd.err")).expect("a file");
        let child = taskd
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("taskd starts");
        self.daemon = Some(child);
    }

    /// A command of this world that a shell starts after this line.
    #[must_use]
    pub fn after(&self, line: &str, command: &Command) -> Command {
        let mut shell = self.command("/bin/sh");
        shell.arg("-c").arg(format!("{line}; exec \"$0\" \"$@\""));
        shell.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            shell.env(name, value.expect("only set"));
        }
        shell
    }

    /// Waits until the daemon serves and has a runner.
    #[track_caller]
    pub fn wait_served(&mut self) {
        let start = now();
        loop {
            let ran = self.ctl(&["status", "--json"]);
            if ran.status.success() {
                let status: Value = serde_json::from_str(&ran.stdout).expect("status is JSON");
                if status["runner"]["pid"].is_u64() {
                    return;
                }
            }
            let ended = self
                .daemon
                .as_mut()
                .and_then(|child| child.try_wait().expect("a child"));
            if ended.is_some() || start.elapsed() > DEADLINE {
                let said = std::fs::read_to_string(self.path("taskd.err")).unwrap_or_default();
                panic!("taskd does not serve ({ended:?}): {said}\n{ran:?}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The daemon's process id.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("a daemon was started").id()
    }

    /// The runner's process id.
    #[track_caller]
    pub fn runner_pid(&self) -> u32 {
        let status = self.ctl(&["status", "--json"]).json();
        u32::try_from(status["runner"]["pid"].as_u64().expect("a runner is attached")).expect("a process id")
    }

    /// Kills the daemon without a word.
    #[track_caller]
    pub fn kill(&mut self) {
        let mut child = self.daemon.take().expect("a daemon was started");
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }

    /// Sends the daemon a signal.
    #[track_caller]
    pub fn signal(&self, signal: rustix::process::Signal) {
        kill(self.pid(), signal);
    }

    /// Waits for the daemon to end.
    #[track_caller]
    pub fn wait_ended(&mut self) -> ExitStatus {
        let mut child = self.daemon.take().expect("a daemon was started");
        wait_for("the daemon to end", || child.try_wait().expect("a child"))
    }

    /// A `taskctl` that talks to this world's daemon, not yet started.
    #[must_use]
    pub fn taskctl(&self, args: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_taskctl"));
        command.env("TASKD_SOCKET", self.socket()).args(args);
        command
    }

    /// Runs `taskctl` to its end.
    #[track_caller]
    pub fn ctl(&self, args: &[&str]) -> Ran {
        run(&mut self.taskctl(args))
    }

    /// Runs `taskctl` to its end, with this on its standard input.
    #[track_caller]
    pub fn ctl_reading(&self, args: &[&str], input: &str) -> Ran {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let input = input.to_owned();
        let feeder = std::thread::spawn(move || {
            // It may end before it has read all.
            let _ = writer.write_all(input.as_bytes());
        });
        let mut command = self.taskctl(args);
        let ran = run(command.stdin(reader));
        drop(command);
        feeder.join().expect("no panic");
        ran
    }

    /// Runs `taskctl` with a standard output that nobody reads any more.
    #[track_caller]
    pub fn ctl_unread(&self, args: &[&str]) -> Ran {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = self.taskctl(args).stdout(writer).output().expect("it ends");
        Ran {
            status: output.status,
            stdout: String::new(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Adds a manual task whose run says `up`, then nothing until [`open_gate`](Self::open_gate), then `over`, and ends
    /// with this exit code.
    #[track_caller]
    pub fn add_gated(&self, name: &str, code: i32) {
        let line = self.gated_line(name, code);
        self.ctl(&["add", "--name", name, "--manual", "--shell", &line]).ok();
    }

    /// The shell line of [`add_gated`](Self::add_gated).
    #[must_use]
    pub fn gated_line(&self, name: &str, code: i32) -> String {
        let gate = self.path(&format!("{name}.gate"));
        format!(
            "echo up; while [ ! -e {} ]; do sleep 0.02; done; echo over; exit {code}",
            gate.display()
        )
    }

    /// Runs a task that says "up" first, and gives back who waits for it once that has come through.
    #[must_use]
    pub fn run_wait(&self, task: &str) -> Waiting {
        let mut child = self
            .taskctl(&["run", "--wait", task])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut up = String::new();
        stdout.read_line(&mut up).expect("a line");
        assert_eq!(up, "up\n");
        Waiting { child, stdout }
    }

    /// Lets the runs of a gated task end.
    #[track_caller]
    pub fn open_gate(&self, name: &str) {
        std::fs::write(self.path(&format!("{name}.gate")), "").expect("a file");
    }

    /// Runs a task and gives its run once it has said `up`.
    #[track_caller]
    pub fn run_up(&self, name: &str) -> Value {
        let started = self.ctl(&["run", name, "--json"]).json();
        let run = started["run"].as_str().expect("a run was started").to_owned();
        wait_for(&format!("{run} to be up"), || {
            self.ctl(&["logs", &run]).stdout.contains("up").then_some(())
        });
        self.run_of(&run)
    }

    /// What `runs --json` says of a run.
    #[track_caller]
    pub fn run_of(&self, run: &str) -> Value {
        self.ctl(&["runs", run, "--json"]).json()[0].take()
    }

    /// Waits until the daemon log has a line with this message.
    #[track_caller]
    pub fn wait_logged(&self, msg: &str) {
        let is_it = |line: &Value| line["msg"] == msg;
        wait_for(&format!("{msg:?} in the log"), || {
            self.log().iter().any(is_it).then_some(())
        });
    }

    /// How many connections the daemon's socket has.
    #[must_use]
    pub fn connections(&self) -> usize {
        let sockets = std::fs::read_to_string("/proc/net/unix").expect("/proc");
        let path = self.socket().display().to_string();
        // Connected ones have state 03, the one that listens 01.
        let connected = |line: &&str| line.split_whitespace().nth(5) == Some("03") && line.ends_with(&path);
        sockets.lines().filter(connected).count()
    }

    /// The daemon log, each line parsed.
    #[must_use]
    pub fn log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("log/taskd.log")).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}")))
            .collect()
    }

    /// The run, once it has ended.
    #[track_caller]
    pub fn finished(&self, run: &str) -> Value {
        wait_for(&format!("{run} to end"), || {
            let runs = self.ctl(&["runs", run, "--json"]).json();
            runs.get(0).filter(|run| !run["outcome"].is_null()).cloned()
        })
    }

    /// Processes of this world, by the mark in their environment.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        Self::processes_with(&self.mark)
    }

    /// Processes with this in their environment, such as `NAME=VALUE`.
    #[must_use]
    pub fn processes_with(mark: &str) -> Vec<u32> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            if environ.split(|byte| *byte == 0).any(|var| var == mark.as_bytes()) {
                found.push(pid);
            }
        }
        found
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            // It may have ended by itself.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        // The guard of a killed worker ends all that is left, and then itself; children carry the runner's mark, not this
        // world's, and end with the runner.
        for pid in self.processes() {
            let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            if environ
                .split(|byte| *byte == 0)
                .any(|var| var.starts_with(b"TASKD_GUARD_PID="))
            {
                kill(pid, rustix::process::Signal::KILL);
            }
        }
        let deadline = now() + Duration::from_secs(5);
        while !self.processes().is_empty() && now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        for pid in self.processes() {
            kill(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Checks that an object has all of these keys, whatever their values.
#[track_caller]
pub fn has_keys(object: &Value, keys: &str) {
    let fields = object.as_object().unwrap_or_else(|| panic!("not an object: {object}"));
    for key in keys.split(' ') {
        assert!(fields.contains_key(key), "no {key} in {object}");
    }
}

/// The instant that a value tells. Their texts are not in order, since zeros at the end are left out.
#[track_caller]
pub fn instant(value: &Value) -> Timestamp {
    let text = value.as_str().unwrap_or_else(|| panic!("no instant: {value}"));
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Checks that a value is an instant in UTC as RFC 3339 has it, or one of a list of them.
#[track_caller]
pub fn is_instant(value: &Value) {
    if let Some(values) = value.as_array() {
        return values.iter().for_each(is_instant);
    }
    let text = value.as_str().unwrap_or_else(|| panic!("no instant: {value}"));
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .take(19)
        .collect();
    assert!(
        shape == "0000-00-00T00:00:00" && text.ends_with('Z'),
        "no instant: {text}"
    );
}

/// The strings of an array, or of one field of its objects.
#[track_caller]
pub fn texts(array: &Value, field: &str) -> Vec<String> {
    let values = array.as_array().unwrap_or_else(|| panic!("no array: {array}"));
    let text = |value: &Value| {
        let value = if field.is_empty() { value } else { &value[field] };
        value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
    };
    values.iter().map(text).collect()
}

/// Copies a program. By another process, since children of this one that other tests start at this moment would hold a
/// file that was written here open for a while, and nobody could execute it.
#[track_caller]
pub fn copy_program(from: impl AsRef<Path>, to: &Path) {
    let copied = Command::new("cp").arg(from.as_ref()).arg(to).status();
    assert!(copied.expect("cp is there").success());
}

/// Runs a command to its end.
#[track_caller]
pub fn run(command: &mut Command) -> Ran {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stderr = child.stderr.take().expect("a pipe");
    let errors = std::thread::spawn(move || {
        let mut text = Vec::new();
        // What was read before a failure is shown.
        let _ = stderr.read_to_end(&mut text);
        text
    });
    let mut stdout = Vec::new();
    child
        .stdout
        .take()
        .expect("a pipe")
        .read_to_end(&mut stdout)
        .expect("its output");
    let status = child.wait().expect("it ends");
    Ran {
        status,
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&errors.join().expect("no panic")).into_owned(),
    }
}

/// Sends a process a signal, if it is there.
pub fn kill(pid: u32, signal: rustix::process::Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        // It may have ended by itself.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Whether a process is there and no zombie.
#[must_use]
pub fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some(Some('Z' | 'X')))
}
