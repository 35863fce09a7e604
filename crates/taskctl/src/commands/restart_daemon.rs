//! `taskctl restart-daemon`

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use serde_json::json;
use taskd_wire::basic::{Answer, Ask};
use taskd_wire::client::{Request, Response};

use super::definition;
use super::stop::{DAEMON, watch_process};
use crate::args::RestartDaemonArgs;
use crate::client::{Client, Patience, is_lost, is_silent};
use crate::clock;
use crate::error::{Exit, Failure, Result};
use crate::places::Places;
use crate::render::counted;
use crate::render::time::length;
use crate::session::Session;
use crate::watch::wait_for;

/// How long to wait before it is knocked again at a socket that is not there.
const KNOCK_AGAIN: Duration = Duration::from_millis(20);

/// Has the daemon begin anew, and waits until it serves.
pub fn run(args: &RestartDaemonArgs, session: &mut Session) -> Result<()> {
    let limit = definition::duration("timeout", &args.timeout)?;
    let deadline = clock::monotonic() + limit;
    let mut client = Client::connect_with(&session.places, Patience::Until(deadline))?;
    let before = client.version().to_owned();
    let process = restart(&mut client)?;
    // It closes the connection once nobody reaches it by its socket any more: who answers there after is its next life.
    loop {
        match client.fill() {
            Ok(true) => {}
            Ok(false) => break,
            Err(failure) if is_lost(&failure) && !is_silent(&failure) => break,
            Err(failure) => return Err(failure.into()),
        }
    }
    let socket = Places::new(Some(client.socket()), None, session.places.is_root());
    let mut client = await_next(&socket, process.as_ref(), limit, deadline)?;
    let Answer::StatusBrief { pid, running, .. } = client.basic(Ask::StatusBrief)? else {
        return Err(client.unexpected().into());
    };
    let version = client.version();
    if session.json {
        let shape = json!({ "pid": pid, "version_before": before, "version": version, "running": running });
        return session.out.json(&shape);
    }
    let what = if before == version {
        format!("restarted taskd {version}")
    } else {
        format!("taskd {before} → {version}")
    };
    let goes = if running == 1 { "goes" } else { "go" };
    session
        .out
        .said(&format!("{what}, pid {pid}, {} {goes} on", counted(running, "run")))
}

/// Tells it to. Gives a handle on its process, which stays the same, where it can be seen.
fn restart(client: &mut Client) -> Result<Option<OwnedFd>, Failure> {
    match client.request(&Request::RestartDaemon) {
        Ok(Response::Restarting(restarting)) => Ok(watch_process(restarting.0.pid, DAEMON)),
        Ok(_) => Err(client.unexpected()),
        Err(failure) if failure.exit == Exit::Versions => Err(failure.hint(
            "upgrade taskd, and restart it this once by `systemctl restart taskd`; one started by hand by `taskctl stop`, \
             which ends its runs, and `taskctl start`",
        )),
        Err(failure) => Err(failure),
    }
}

fn await_next(
    socket: &Places,
    process: Option<&OwnedFd>,
    limit: Duration,
    deadline: Instant,
) -> Result<Client, Failure> {
    loop {
        match Client::connect_with(socket, Patience::Until(deadline)) {
            Err(failure) if is_lost(&failure) && !is_silent(&failure) && clock::monotonic() < deadline => {}
            Err(failure) if is_lost(&failure) => {
                let ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
                let message = format!("taskd has not come back within {}", length(ms));
                return Err(Failure::new(Exit::Failed, "timeout", message));
            }
            connected => return connected,
        }
        let ended = process.map(AsFd::as_fd);
        if wait_for(ended.as_slice(), Some(KNOCK_AGAIN))?.contains(&true) {
            return Err(
                Failure::new(Exit::NoDaemon, "ended", "taskd has ended instead of coming back").hint(
                    "its log says why: `taskctl logs --daemon`; what runs goes on, and is taken in by the next daemon",
                ),
            );
        }
    }
}
