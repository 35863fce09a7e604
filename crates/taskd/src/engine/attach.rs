//! Finds the runners of the state directory, and starts one where none is of this program and that is ours to do.
//!
//! One runner is told to start what is due. It is of the program that this daemon is, where there is one or one can be
//! started: a runner of another program that has nothing is ended first, and one that has something goes on beside it until
//! that is over, in a [`Slot`] of its own. It need not know of that: it is only told of nothing more.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, PidfdFlags, Signal};
use taskd_runner::Slot;
use taskd_wire::runner::{FileId, ToRunner};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{UnixDatagram, UnixStream};

use super::link::{self, LinkError, Met, PATIENCE};
use crate::config::Cgroups;

/// Who starts runners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Keeper {
    /// This daemon, which also stops them when it ends.
    Daemon,
    /// systemd, asked by this daemon: by the unit of this name for the first slot, and its template for the others.
    Systemd(String),
    /// Somebody else. There is one at most.
    Other,
}

/// Where runners are and who starts them.
#[derive(Clone, Debug)]
pub(crate) struct Whereabouts {
    /// The socket of the one in the first slot.
    pub(crate) socket: PathBuf,
    /// The state directory they write output below.
    pub(crate) state_dir: PathBuf,
    /// Who starts one when none answers.
    pub(crate) keeper: Keeper,
    /// Whether the one that is started gives its runs control groups.
    pub(crate) cgroups: Cgroups,
    /// The program of this daemon. Where it is not known, every runner is taken for one of it.
    pub(crate) program: Option<FileId>,
}

/// The runners that were found.
pub(super) struct Attached {
    /// Is told to start what is due.
    pub(super) current: Met,
    /// Of other programs: they end what they have.
    pub(super) draining: Vec<Met>,
    /// Lives that had nothing and were ended.
    pub(super) idle: Vec<u64>,
    /// The guard of the current one, where that was started for this.
    pub(super) started: Option<Started>,
}

/// Attaches to all runners, starting one if need be and `may_start`. One that is about to end is waited for, since what it
/// is told to start would not be started.
pub(super) async fn attach(place: &Whereabouts, may_start: bool) -> Result<Attached, LinkError> {
    if place.keeper == Keeper::Daemon {
        // Left behind by a daemon that was killed while it started a runner, whether that came up or not.
        let _ = std::fs::remove_file(notify_path(place));
    }
    let mut is_told = false;
    loop {
        let mut found = Vec::new();
        let mut absent = None;
        for slot in Slot::all() {
            match UnixStream::connect(slot.socket(&place.socket)).await {
                Ok(stream) => found.push((slot, introduce(stream, place, slot).await?)),
                Err(source) => absent = absent.or(Some(source)),
            }
        }
        let Some(closing) = found.iter().position(|(_, met)| met.info.closing.0) else {
            let socket = place.socket.clone();
            return choose(place, found, may_start && place.keeper != Keeper::Other)
                .await
                .map_err(|failed| match (failed, absent) {
                    (Some(error), _) => error,
                    (None, source) => LinkError::Absent {
                        path: socket,
                        source: source.unwrap_or_else(|| io::ErrorKind::NotFound.into()),
                    },
                });
        };
        if !std::mem::replace(&mut is_told, true) {
            tracing::info!("waiting for a runner that is about to end");
        }
        found.swap_remove(closing).1.link.ended().await;
    }
}

async fn introduce(stream: UnixStream, place: &Whereabouts, slot: Slot) -> Result<Met, LinkError> {
    link::introduce(stream, &slot.socket(&place.socket), &place.state_dir).await
}

/// Makes one of those that were found the current one, or starts one. Nothing is there where the error is none.
async fn choose(
    place: &Whereabouts,
    mut found: Vec<(Slot, Met)>,
    may_start: bool,
) -> Result<Attached, Option<LinkError>> {
    let is_ours = |met: &Met| place.program.is_none() || met.info.program.0 == place.program;
    // Of several, the one that has most; of those that have nothing, the first.
    let ours = found.iter().enumerate().filter(|(_, (_, met))| is_ours(met));
    let ours = ours.min_by_key(|(_, (slot, met))| (std::cmp::Reverse(met.live.len()), *slot));
    if let Some(index) = ours.map(|(index, _)| index) {
        return Ok(with_current(found, index, Vec::new()));
    }
    if !may_start {
        let Some((_, met)) = found.first() else {
            return Err(None);
        };
        tracing::info!(
            pid = met.info.pid,
            version = met.info.version,
            "the runner is of another program and goes on, since another is not started from here"
        );
        return Ok(with_current(found, 0, Vec::new()));
    }
    let mut idle = Vec::new();
    for index in (0..found.len()).rev() {
        if found[index].1.is_idle() {
            idle.push(end_idle(found.remove(index).1).await?);
        }
    }
    let free = Slot::all().find(|slot| found.iter().all(|(taken, _)| taken != slot));
    let Some(slot) = free else {
        tracing::warn!("as many runners as there may be have something to do: one of another program goes on");
        let last = found.len() - 1;
        return Ok(with_current(found, last, idle));
    };
    match start(place, slot).await {
        Ok((current, started)) => Ok(Attached {
            current,
            draining: found.into_iter().map(|(_, met)| met).collect(),
            idle,
            started,
        }),
        Err(error) if found.is_empty() => Err(Some(error)),
        Err(error) => {
            tracing::error!(error = %error, "no runner of this program can be started: one of another goes on");
            let last = found.len() - 1;
            Ok(with_current(found, last, idle))
        }
    }
}

fn with_current(mut found: Vec<(Slot, Met)>, index: usize, idle: Vec<u64>) -> Attached {
    let (_, current) = found.remove(index);
    Attached {
        current,
        draining: found.into_iter().map(|(_, met)| met).collect(),
        idle,
        started: None,
    }
}

/// Ends a runner that has nothing, and waits until it is gone. Gives back which life that was.
async fn end_idle(mut met: Met) -> Result<u64, LinkError> {
    tracing::info!(
        pid = met.info.pid,
        version = met.info.version,
        "a runner of another program is ended, as it has nothing"
    );
    met.link.send(&ToRunner::Shutdown { grace_ms: 0 })?;
    met.link.flush()?;
    let ended = tokio::time::timeout(PATIENCE, met.link.ended()).await;
    ended.map_err(|_| LinkError::Start(io::Error::other("the one before does not end")))?;
    Ok(met.info.instance)
}

/// Starts a runner in this slot and makes its acquaintance. There is a guard where it is a child of this process.
async fn start(place: &Whereabouts, slot: Slot) -> Result<(Met, Option<Started>), LinkError> {
    let started = match &place.keeper {
        Keeper::Daemon => Some(spawn(place, slot).await?),
        Keeper::Systemd(name) => {
            let unit = unit(name, slot);
            let (told, hears) = tokio::sync::oneshot::channel();
            // Not one of the runtime's, which would wait for it when the engine ends.
            let asking = std::thread::Builder::new().name("systemctl".into());
            asking
                .spawn(move || told.send(start_unit(unit)))
                .map_err(LinkError::Start)?;
            hears.await.map_err(io::Error::other).map_err(LinkError::Start)??;
            None
        }
        Keeper::Other => None,
    };
    let path = slot.socket(&place.socket);
    let stream = UnixStream::connect(&path).await;
    let stream = stream.map_err(|source| LinkError::Absent { path, source })?;
    Ok((introduce(stream, place, slot).await?, started))
}

/// The unit of the runner in a slot.
fn unit(name: &str, slot: Slot) -> String {
    match slot {
        Slot::FIRST => format!("{name}.service"),
        slot => format!("{name}@{slot}.service"),
    }
}

/// Has systemd start a unit, and waits until it says that it serves.
fn start_unit(unit: String) -> Result<(), LinkError> {
    let mut systemctl = Command::new("systemctl");
    // Set for the services of a user's own manager.
    if std::env::var_os("MANAGERPID").is_some() {
        systemctl.arg("--user");
    }
    let output = systemctl.arg("start").arg(&unit).stdin(Stdio::null()).output();
    let problem = match output {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    Err(LinkError::Unit { unit, problem })
}

/// The guard of a runner that was just started. Unless it is kept, the runner ends: nobody would know that it is there.
pub(super) struct Started(Option<Child>);

impl Started {
    /// Keeps it running.
    pub(super) fn keep(mut self) -> Child {
        self.0.take().expect("it is taken only here and when dropped")
    }

    /// Waits until it has ended.
    async fn ended(&mut self) -> io::Result<ExitStatus> {
        let guard = self.0.as_mut().expect("it is taken only when kept and when dropped");
        let handle = rustix::process::pidfd_open(Pid::from_child(guard), PidfdFlags::empty())?;
        #[expect(
            deprecated,
            reason = "an owned descriptor that nobody replaces; the successor is an unsafe function"
        )]
        let handle = AsyncFd::with_interest(handle, Interest::READABLE)?;
        // It is readable once, when the process has ended.
        let _ended = handle.readable().await?;
        guard.wait()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let Some(mut guard) = self.0.take() else { return };
        // Not reaped, so the id is its own.
        if matches!(guard.try_wait(), Ok(None)) {
            let _ = rustix::process::kill_process(Pid::from_child(&guard), Signal::TERM);
            reap(guard);
        }
    }
}

/// Takes the exit status of a process when it ends, on a thread of its own, so that no zombie stays.
pub(super) fn reap(mut process: Child) {
    let reaper = std::thread::Builder::new().name("reaper".into());
    if let Err(error) = reaper.spawn(move || process.wait()) {
        tracing::warn!(error = %error, "no thread could be made to reap the runner");
    }
}

/// Where a runner that is started says that it is ready: beside its socket and with a name no longer than usual there, so
/// that it is not too long for a socket.
fn notify_path(place: &Whereabouts) -> PathBuf {
    place.socket.with_extension("up")
}

/// Starts a runner of our own and waits until it says that it serves.
async fn spawn(place: &Whereabouts, slot: Slot) -> Result<Started, LinkError> {
    let notify_path = notify_path(place);
    let ready = UnixDatagram::bind(&notify_path).map_err(LinkError::Start)?;
    let spawned = Command::new("/proc/self/exe")
        .arg0("taskd")
        .arg("runner")
        .arg("--state-dir")
        .arg(&place.state_dir)
        .arg("--socket")
        .arg(slot.socket(&place.socket))
        .arg("--slot")
        .arg(slot.to_string())
        .args(match place.cgroups {
            Cgroups::Auto => None,
            Cgroups::Off => Some("--no-cgroups"),
        })
        .env("NOTIFY_SOCKET", &notify_path)
        .env_remove("WATCHDOG_USEC")
        .env_remove("WATCHDOG_PID")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        // Its own group, so that a Ctrl-C meant for the daemon does not reach it.
        .process_group(0)
        .spawn();
    let outcome = match spawned {
        Ok(child) => wait_ready(&ready, Started(Some(child))).await,
        Err(error) => Err(LinkError::Start(error)),
    };
    // Only a name; nobody else uses it.
    let _ = std::fs::remove_file(&notify_path);
    outcome
}

async fn wait_ready(ready: &UnixDatagram, mut started: Started) -> Result<Started, LinkError> {
    let mut problem = None;
    let said = tokio::time::timeout(PATIENCE, async {
        tokio::select! {
            // First, for one that is ready and ends at once was ready, and one that cannot begin says why.
            biased;
            result = said_ready(ready, &mut problem) => result.map(|()| None),
            status = started.ended() => status.map(Some),
        }
    });
    match said.await {
        Ok(Ok(None)) => Ok(started),
        Ok(Ok(Some(status))) => Err(problem.map_or(LinkError::Ended(status), LinkError::Refused)),
        Ok(Err(error)) => Err(LinkError::Io(error)),
        Err(_) => Err(LinkError::NotReady),
    }
}

/// Waits until a runner says that it is ready. What it says of how it is meanwhile is kept: sd_notify(3).
async fn said_ready(ready: &UnixDatagram, status: &mut Option<String>) -> io::Result<()> {
    let mut message = [0_u8; 512];
    loop {
        let length = ready.recv(&mut message).await?;
        for line in message[..length].split(|byte| *byte == b'\n') {
            if line == b"READY=1" {
                return Ok(());
            }
            if let Some(said) = line.strip_prefix(b"STATUS=") {
                *status = Some(String::from_utf8_lossy(said).into_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_has_a_unit_of_its_own() {
        let names: Vec<String> = Slot::all().take(2).map(|slot| unit("taskd-runner", slot)).collect();
        assert_eq!(names, ["taskd-runner.service", "taskd-runner@2.service"]);
    }
}
