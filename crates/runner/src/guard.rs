//! The guard: the process above the worker. It has nothing to do but to outlive it, so that it can make sure that
//! nothing that the worker started does. Orphans of the runs come to it, and it reaps them.

use std::env;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use crate::cgroups::{SEAT, Seat};
use crate::notify::complain;
use crate::procs::Known;
use crate::{Options, RunnerError, clock, sweep, sys};

/// The variable by which the worker knows the guard it has to die with.
pub(crate) const GUARD_PID: &str = "TASKD_GUARD_PID";

/// Who could not be looked for, for want of descriptors or memory, is looked for again after this.
const RETRY: Duration = Duration::from_millis(100);

/// Starts the worker, `/proc/self/exe runner --worker --state-dir DIR --socket PATH --slot N`, and waits for its end. When it
/// has ended, for whatever reason, everything that its children started is killed. To be called before the process has
/// any thread. Gives back the worker's exit code, or 128 and the signal that ended it.
///
/// SIGTERM and SIGINT are handed on to the worker, which then shuts down.
///
/// # Errors
/// [`RunnerError`] when the worker cannot be started.
pub fn guard(options: &Options) -> Result<ExitCode, RunnerError> {
    sys::block_signals();
    // Ends of children are not told to whoever ignores SIGCHLD.
    sys::restore_dispositions();
    // Only a name for people.
    let _ = rustix::thread::set_name(c"taskd-guard");
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|errno| RunnerError::system("adopt orphans", errno))?;
    let caught = [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT];
    let failed = |source| RunnerError::System { what: "guard", source };
    let signals = sys::signal_fd(&caught, false).map_err(failed)?;
    let state_dir = path::absolute(&options.state_dir).map_err(failed)?;
    let socket = path::absolute(&options.socket).map_err(failed)?;
    // Nothing of the file system is held busy by a guard that lives for months.
    env::set_current_dir("/").map_err(failed)?;
    // Whoever became a guard by exec may have children that are none of its business.
    let foreign = sweep::children().map_err(failed)?;
    let seat = if options.cgroups { Seat::find() } else { None };
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0(env::args_os().next().unwrap_or_else(|| "taskd".into()))
        .args(["runner", "--worker", "--state-dir"])
        .arg(state_dir)
        .arg("--socket")
        .arg(socket)
        .arg("--slot")
        .arg(options.slot.to_string())
        .env(GUARD_PID, std::process::id().to_string())
        .env_remove(SEAT)
        .stdin(Stdio::null());
    if let Some(seat) = &seat {
        command.env(SEAT, seat.to_variable());
    }
    let worker = command.spawn().map_err(failed)?;
    let worker = Pid::from_child(&worker);
    let status = attend(worker, &signals).map_err(failed)?;
    // What is killed with its group has nobody to leave behind.
    if let Some(seat) = &seat {
        seat.clear();
    }
    end_all(&signals, &foreign);
    Ok(exit_code(status))
}

/// Hands signals on and reaps orphans until the worker has ended.
fn attend(worker: Pid, signals: &OwnedFd) -> io::Result<WaitStatus> {
    loop {
        for signal in sys::read_signals(signals)? {
            match signal {
                libc::SIGCHLD => {
                    if let Some(status) = reap(worker) {
                        return Ok(status);
                    }
                }
                // It fails if the worker has just ended.
                _ => drop(rustix::process::kill_process(worker, Signal::TERM)),
            }
        }
    }
}

/// Reaps who has ended. Gives back how the worker did, if it did.
fn reap(worker: Pid) -> Option<WaitStatus> {
    let mut status = None;
    while let Ok(Some((pid, ended))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == worker {
            status = Some(ended);
        }
    }
    status
}

/// Kills until there are no children left but these, for a killed process leaves its own to this one.
fn end_all(signals: &OwnedFd, foreign: &[Known]) {
    let deadline = clock::steady() + sweep::PATIENCE;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => continue,
            Ok(None) => {}
            // There are none.
            Err(_) => return,
        }
        let left = deadline.saturating_duration_since(clock::steady());
        if left.is_zero() {
            complain(format_args!("some processes of runs cannot be killed"));
            return;
        }
        let left = match sweep::kill_descendants(foreign) {
            Ok(false) => return,
            Ok(true) => left,
            Err(_) => left.min(RETRY),
        };
        let mut fds = [PollFd::new(signals, PollFlags::IN)];
        // Whether one ended or the time did is seen above.
        let _ = rustix::event::poll(&mut fds, Timespec::try_from(left).ok().as_ref());
        let _ = sys::read_signals(signals);
    }
}

fn exit_code(status: WaitStatus) -> ExitCode {
    let code = status
        .exit_status()
        .or(status.terminating_signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
