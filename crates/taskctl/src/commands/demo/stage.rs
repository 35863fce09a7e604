//! The daemon of a demo and its tasks: started, asked, killed, started again.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use taskd_wire::client::{Request, Response, RunFilter, RunInfo, RunOutput};
use taskd_wire::codec::Rec;
use taskd_wire::definition::{ActionSpec, EnvVar, ScheduleSpec, TaskSpec};

use super::MARK;
use super::screen::Screen;
use crate::client::Client;
use crate::clock;
use crate::commands::stop;
use crate::error::{Exit, Failure, Result};
use crate::launch::Launch;
use crate::output::lines::{Lines, Piece};
use crate::output::record::Record;
use crate::places::Places;
use crate::render::table::Tone;
use crate::render::task;

/// Exit code of the task that fails.
pub const BROKEN: i32 = 3;

/// The signal that cannot be caught.
const SIGKILL: i32 = 9;

/// A daemon takes less than this to start, and to stop.
const LIMIT: Duration = Duration::from_secs(20);

/// Most runs of a demo.
const RUNS: u32 = 200;

/// A line of the long run.
pub fn step(step: u32, of: u32) -> String {
    format!("step {step} of {of}")
}

/// The tasks of a demo.
pub fn tasks(steps: u32) -> Vec<TaskSpec> {
    let task = |name: &str, schedule, line: String| TaskSpec {
        name: name.to_owned(),
        schedule,
        action: ActionSpec::Shell { line },
        enabled: true,
        ..TaskSpec::default()
    };
    let every = |s: u64| ScheduleSpec::Every {
        interval_ms: s * 1000,
        anchor_ms: None,
    };
    let cron = ScheduleSpec::Cron {
        expr: "*/2 * * * * *".to_owned(),
        tz: None,
    };
    vec![
        task("tick", cron, "echo \"tick, it is $(date +%T)\"".to_owned()),
        task("pulse", every(3), "echo \"run $TASKD_RUN of my interval\"".to_owned()),
        task(
            "broken",
            every(5),
            format!("echo 'cannot reach the database' >&2; exit {BROKEN}"),
        ),
        task(
            "long",
            ScheduleSpec::Manual,
            format!("i=0; while [ $i -lt {steps} ]; do i=$((i+1)); echo \"step $i of {steps}\"; sleep 1; done"),
        ),
    ]
}

/// What one would type to add a task.
pub fn typed(spec: &TaskSpec) -> String {
    let schedule = match &spec.schedule {
        ScheduleSpec::Cron { expr, .. } => format!("--cron '{expr}'"),
        ScheduleSpec::Every { interval_ms, .. } => format!("--every {}", task::every(*interval_ms)),
        ScheduleSpec::At { at, .. } => format!("--at '{at}'"),
        ScheduleSpec::In { delay_ms } => format!("--in {}", task::in_delay(*delay_ms)),
        ScheduleSpec::Manual => "--manual".to_owned(),
        ScheduleSpec::Boot => "--boot".to_owned(),
        ScheduleSpec::After { of, any: false } => format!("--after {}", of.join(",")),
        ScheduleSpec::After { of, any: true } => format!("--after-any {}", of.join(",")),
    };
    let line = ActionSpec::Exec {
        argv: vec![task::action(&spec.action)],
    };
    format!(
        "taskctl add --name {} {schedule} --shell {}",
        spec.name,
        task::action(&line)
    )
}

/// A run as it is shown.
#[derive(Default)]
struct Shown {
    files: Vec<PathBuf>,
    lines: Vec<Lines>,
    count: usize,
    ended: bool,
}

/// A daemon in a directory.
pub struct Stage {
    launch: Launch,
    places: Places,
    mark: String,
    daemon: Option<Child>,
    client: Option<Client>,
    started_ms: i64,
    shown: BTreeMap<String, Shown>,
}

impl Stage {
    /// In this directory, with nothing started.
    pub fn new(dir: &Path) -> Self {
        let socket = dir.join("taskd.sock");
        Stage {
            launch: Launch {
                socket: Some(socket.clone()),
                state_dir: Some(dir.join("state")),
                log_dir: Some(dir.join("log")),
                config: None,
                env: vec![(MARK.into(), dir.into())],
                said: dir.join("taskd.err"),
            },
            places: Places::new(Some(&socket), None, false),
            mark: dir.display().to_string(),
            daemon: None,
            client: None,
            started_ms: 0,
            shown: BTreeMap::new(),
        }
    }

    /// Starts the daemon.
    pub fn start(&mut self) -> Result<()> {
        self.daemon = Some(self.launch.start(LIMIT, clock::monotonic() + LIMIT)?);
        self.client = Some(Client::connect(&self.places)?);
        match self.ask(&Request::Status)? {
            Response::Status(status) => self.started_ms = status.0.started_ms,
            _ => return Err(self.unexpected().into()),
        }
        Ok(())
    }

    /// Process id of the daemon.
    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().map_or(0, Child::id)
    }

    /// When the daemon started.
    pub fn started_ms(&self) -> i64 {
        self.started_ms
    }

    /// Kills the daemon; whether that is what it died of.
    pub fn kill(&mut self) -> Result<bool> {
        self.client = None;
        let Some(mut daemon) = self.daemon.take() else {
            return Ok(false);
        };
        let died = daemon
            .kill()
            .and_then(|()| daemon.wait())
            .map_err(|error| Failure::system("kill the daemon", &error))?;
        Ok(died.signal() == Some(SIGKILL))
    }

    /// Stops the daemon in good order, and gives its process id.
    pub fn stop(&mut self) -> Result<u32> {
        let pid = self.pid();
        if let Some(mut client) = self.client.take() {
            stop::stop(&mut client, LIMIT, clock::monotonic() + LIMIT)?;
        }
        if let Some(mut daemon) = self.daemon.take() {
            let ended = daemon
                .wait()
                .map_err(|error| Failure::system("wait for the daemon", &error))?;
            if !ended.success() {
                return Err(Failure::new(
                    Exit::Failed,
                    "demo",
                    format!("taskd did not stop in good order: {ended}"),
                )
                .into());
            }
        }
        Ok(pid)
    }

    /// Adds a task.
    pub fn add(&mut self, mut spec: TaskSpec) -> Result<()> {
        spec.env.push(EnvVar {
            name: MARK.to_owned(),
            value: self.mark.clone(),
        });
        spec.cwd = Some("/".to_owned());
        match self.ask(&Request::Add(Rec(spec)))? {
            Response::Accepted(_) => Ok(()),
            _ => Err(self.unexpected().into()),
        }
    }

    /// Starts a run, and gives its name.
    pub fn run(&mut self, task: &str) -> Result<String> {
        match self.ask(&Request::Run {
            names: vec![task.to_owned()],
        })? {
            Response::RunsStarted(mut runs) if runs.len() == 1 => Ok(runs.remove(0).0.run),
            _ => Err(self.unexpected().into()),
        }
    }

    /// All runs, newest first.
    pub fn runs(&mut self) -> Result<Vec<RunInfo>> {
        self.runs_of(Vec::new())
    }

    /// One run.
    pub fn find(&mut self, run: &str) -> Result<RunInfo> {
        let found = self.runs_of(vec![run.to_owned()])?.into_iter().next();
        found.ok_or_else(|| {
            Failure::new(Exit::Failed, "demo", format!("the daemon does not know {run} any more")).into()
        })
    }

    fn runs_of(&mut self, targets: Vec<String>) -> Result<Vec<RunInfo>> {
        let filter = Rec(RunFilter {
            targets,
            ..RunFilter::default()
        });
        match self.ask(&Request::Runs {
            filter,
            before: None,
            limit: RUNS,
        })? {
            Response::Runs { runs, .. } => Ok(runs.into_iter().map(|Rec(run)| run).collect()),
            _ => Err(self.unexpected().into()),
        }
    }

    /// How many lines of a run were shown.
    pub fn lines_of(&self, run: &str) -> usize {
        self.shown.get(run).map_or(0, |shown| shown.count)
    }

    /// The lines that a run wrote, read anew.
    pub fn output_of(&mut self, run: &str) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for path in self.files_of(run)? {
            let file = Lines::open(&path);
            let read = file.and_then(|mut file| {
                file.read(|piece| {
                    if let Piece::Line(line) = piece {
                        lines.extend(Record::read(line).map(|record| record.log.trim_end().to_owned()));
                    }
                    Ok::<(), std::io::Error>(())
                })
            });
            read.map_err(|error| Failure::file("read", &path, &error))?;
        }
        Ok(lines)
    }

    fn files_of(&mut self, run: &str) -> Result<Vec<PathBuf>> {
        match self.ask(&Request::Output { target: run.to_owned() })? {
            Response::Output(Rec(RunOutput { files, .. })) => Ok(files.into_iter().map(PathBuf::from).collect()),
            _ => Err(self.unexpected().into()),
        }
    }

    /// Shows what has come since the last look: lines, and runs that ended. Files are read whether or not a daemon is
    /// there.
    pub fn look(&mut self, screen: &mut Screen<'_>) -> Result<()> {
        let mut runs = if self.client.is_some() {
            self.runs()?
        } else {
            Vec::new()
        };
        runs.reverse();
        for run in runs.iter().filter(|run| run.attempts > 0) {
            if self
                .shown
                .get(&run.run)
                .is_none_or(|shown| shown.files.len() < run.attempts as usize)
            {
                let files = self.files_of(&run.run)?;
                self.shown.entry(run.run.clone()).or_default().files = files;
            }
        }
        for (name, shown) in &mut self.shown {
            shown.show(name, screen)?;
        }
        for run in runs {
            let Some(shown) = self.shown.get_mut(&run.run) else {
                continue;
            };
            if run.outcome.is_none() || shown.ended {
                continue;
            }
            shown.ended = true;
            if run.outcome.as_deref() != Some("succeeded") {
                let (fate, tone) = task::fate(&run);
                let at = run
                    .finished_ms
                    .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
                screen.output(at, &run.run, &fate, tone)?;
            }
        }
        Ok(())
    }

    fn ask(&mut self, request: &Request) -> Result<Response, Failure> {
        match &mut self.client {
            Some(client) => client.request(request),
            None => Err(Failure::new(
                Exit::NoDaemon,
                "no-daemon",
                "the daemon of the demo is not there",
            )),
        }
    }

    fn unexpected(&self) -> Failure {
        Failure::new(
            Exit::Failed,
            "protocol",
            "the daemon gave an answer to another question",
        )
    }
}

impl Shown {
    fn show(&mut self, run: &str, screen: &mut Screen<'_>) -> Result<()> {
        while let Some(path) = self.files.get(self.lines.len()) {
            match Lines::open(path) {
                Ok(lines) => self.lines.push(lines),
                // It has written nothing so far.
                Err(_) => break,
            }
        }
        let Shown { lines, count, .. } = self;
        for file in lines {
            let path = file.path().to_owned();
            let mut shown: Result<()> = Ok(());
            let read = file.read::<std::io::Error>(|piece| {
                if let (Piece::Line(line), true) = (piece, shown.is_ok())
                    && let Some(record) = Record::read(line)
                {
                    let tone = if record.stream == "stderr" {
                        Tone::Bad
                    } else {
                        Tone::Plain
                    };
                    *count += 1;
                    shown = screen.output(record.instant(), run, record.log.trim_end(), tone);
                }
                Ok(())
            });
            read.map_err(|error| Failure::file("read", &path, &error))?;
            shown?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_as_typed_is_what_is_added() {
        let shown: Vec<String> = tasks(12).iter().map(typed).collect();
        assert_eq!(
            shown[0],
            "taskctl add --name tick --cron '*/2 * * * * *' --shell 'echo \"tick, it is $(date +%T)\"'"
        );
        assert!(
            shown[2].ends_with("--every 5s --shell 'echo '\\''cannot reach the database'\\'' >&2; exit 3'"),
            "{}",
            shown[2]
        );
        assert!(shown[3].starts_with("taskctl add --name long --manual --shell "));
    }
}
