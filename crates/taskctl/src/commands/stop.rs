//! `taskctl stop`

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::json;
use taskd_wire::basic::{Answer, Ask};
use taskd_wire::client::{Request, Response};

use super::definition;
use crate::args::StopArgs;
use crate::client::{Client, Patience, is_silent};
use crate::clock;
use crate::error::{Exit, Failure, Result};
use crate::render::counted;
use crate::render::time::length;
use crate::session::Session;
use crate::watch::wait_for;

/// What the processes of a daemon are called, and those of a runner.
pub const DAEMON: &[&str] = &["taskd"];
const RUNNER: &[&str] = &["taskd-guard", "taskd-runner"];

/// How a daemon ended.
pub struct Stopped {
    /// Its process id.
    pub pid: u32,
    /// Runs that were in progress.
    pub running: u64,
    /// Whether its runner goes on, and the runs with it; unknown where the daemon could not be asked.
    pub runner_stays: Option<bool>,
}

/// Stops the daemon and waits until it is gone.
pub fn run(args: &StopArgs, session: &mut Session) -> Result<()> {
    let limit = definition::duration("timeout", &args.timeout)?;
    let deadline = clock::monotonic() + limit;
    let mut client = Client::connect_with(&session.places, Patience::Until(deadline))?;
    let stopped = stop(&mut client, limit, deadline)?;
    if session.json {
        let Stopped {
            pid,
            running,
            runner_stays,
        } = stopped;
        return session
            .out
            .json(&json!({ "pid": pid, "running": running, "runs_go_on": runner_stays }));
    }
    session.out.line(&format!("stopped taskd, pid {}", stopped.pid))?;
    let runs = counted(stopped.running, "run");
    match (stopped.running, stopped.runner_stays) {
        // It is not this daemon's to end, or has something to tell for which the disk has no room.
        (0, Some(true)) => session
            .out
            .line("the runner is still there, and the next daemon takes it in"),
        (0, _) => Ok(()),
        (_, Some(true)) => session.out.line(&format!(
            "{runs} in progress: the runner is still there and keeps what they come to"
        )),
        (_, Some(false)) => session.out.line(&format!("{runs} in progress: stopped with it")),
        (_, None) => session
            .out
            .line(&format!("{runs} in progress when it was told to stop")),
    }
}

/// Stops a daemon of any version, and waits until it is gone: until the deadline, which is so long after the beginning.
pub fn stop(client: &mut Client, limit: Duration, deadline: Instant) -> Result<Stopped, Failure> {
    client.set_patience(Patience::Until(deadline))?;
    let runner = runner(client)?;
    let Answer::StatusBrief { pid, running, .. } = client.basic(Ask::StatusBrief)? else {
        return Err(no_answer());
    };
    // Taken before it is told to stop, so that it is this process whose end is awaited.
    let process = watch_process(pid, DAEMON);
    match client.basic(Ask::Stop)? {
        Answer::Stopping => {}
        Answer::Unsupported => {
            return Err(Failure::new(
                Exit::NotAllowed,
                "not-allowed",
                "you may not stop this daemon",
            ));
        }
        _ => return Err(no_answer()),
    }
    loop {
        let left = deadline.saturating_duration_since(clock::monotonic());
        if left.is_zero() {
            let ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            let message = format!("taskd, pid {pid}, is stopping, and not gone after {}", length(ms));
            return Err(Failure::new(Exit::Failed, "timeout", message));
        }
        // Without its process, the end of the connection must do.
        let fd = process.as_ref().map_or_else(|| client.fd(), AsFd::as_fd);
        if wait_for(&[fd], Some(left))?[0] && (process.is_some() || !client.fill()?) {
            break;
        }
    }
    let runner_stays = runner.map(|runner| !has_ended(runner.as_fd()));
    Ok(Stopped {
        pid,
        running,
        runner_stays,
    })
}

/// A process that the daemon told of. Where it counts its processes otherwise, in a container, the number may be another's
/// here: nothing then.
pub fn watch_process(pid: u32, names: &[&str]) -> Option<OwnedFd> {
    let process = pidfd_open(Pid::from_raw(i32::try_from(pid).ok()?)?, PidfdFlags::empty()).ok()?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    names.contains(&name.trim_end()).then_some(process)
}

/// The runner's process, where the daemon can be asked for it.
fn runner(client: &mut Client) -> Result<Option<OwnedFd>, Failure> {
    if client.protocol().is_err() {
        return Ok(None);
    }
    match client.request(&Request::Status) {
        Ok(Response::Status(status)) => Ok(status.0.runner_pid.and_then(|pid| watch_process(pid, RUNNER))),
        // The connection is closed with this answer: nothing more can be asked.
        Err(failure) if failure.exit == Exit::NotAllowed || is_silent(&failure) => Err(failure),
        Ok(_) | Err(_) => Ok(None),
    }
}

fn has_ended(process: BorrowedFd<'_>) -> bool {
    wait_for(&[process], Some(Duration::ZERO)).is_ok_and(|ready| ready[0])
}

fn no_answer() -> Failure {
    Failure::new(Exit::Failed, "protocol", "the daemon did not say that it is stopping")
}
