//! The shape of `status`.

use serde::Serialize;
use taskd_wire::client::{RunnerStatus, Status};

use super::Paused;
use crate::render::time::rfc3339;

/// The runner in `status`.
#[derive(Debug, Serialize)]
pub struct Runner<'a> {
    pid: u32,
    version: Option<&'a str>,
    /// The controllers of the control group that each attempt has; `null` where they have none.
    cgroups: Option<&'a [String]>,
}

/// One of the runners in `status`.
#[derive(Debug, Serialize)]
pub struct EachRunner<'a> {
    pid: u32,
    version: &'a str,
    running: u64,
    draining: bool,
    stopped: bool,
}

/// The store in `status`.
#[derive(Debug, Serialize)]
pub struct Store<'a> {
    bytes: u64,
    horizon: Option<String>,
    error: Option<&'a str>,
}

/// The answer to `status`.
#[derive(Debug, Serialize)]
pub struct Daemon<'a> {
    version: &'a str,
    protocol: u16,
    pid: u32,
    started_at: String,
    tasks: u64,
    running: u64,
    waiting: Option<u64>,
    next: Option<String>,
    runner: Option<Runner<'a>>,
    store: Option<Store<'a>>,
    socket: &'a str,
    log: Option<&'a str>,
    state_dir: Option<&'a str>,
    log_lost: Option<u64>,
    paused: Option<Paused<'a>>,
    /// `null` where the daemon does not tell them apart.
    runners: Option<Vec<EachRunner<'a>>>,
    /// Why there is none, once that is known.
    runner_problem: Option<&'a str>,
}

impl<'a> EachRunner<'a> {
    fn of(runner: &'a RunnerStatus) -> Self {
        let RunnerStatus {
            pid,
            version,
            running,
            draining,
            stopped,
        } = runner;
        EachRunner {
            pid: *pid,
            version,
            running: *running,
            draining: *draining,
            stopped: stopped.0,
        }
    }
}

impl<'a> Daemon<'a> {
    /// Of a daemon that speaks our protocol.
    pub fn of(status: &'a Status, socket: &'a str) -> Self {
        Daemon {
            version: &status.version,
            protocol: status.protocol,
            pid: status.pid,
            started_at: rfc3339(status.started_ms),
            tasks: status.tasks,
            running: status.running,
            waiting: Some(status.waiting),
            next: status.next_ms.map(rfc3339),
            runner: status.runner_pid.map(|pid| Runner {
                pid,
                version: status.runner_version.as_deref(),
                cgroups: status.cgroups.as_deref(),
            }),
            store: Some(Store {
                bytes: status.store_bytes,
                horizon: status.horizon_ms.map(rfc3339),
                error: status.store_error.as_deref(),
            }),
            socket,
            log: Some(&status.log),
            state_dir: Some(&status.state_dir),
            log_lost: Some(status.log_lost),
            paused: status.paused.as_deref().map(Paused::of),
            runners: Some(status.runners.0.iter().map(|runner| EachRunner::of(runner)).collect()),
            runner_problem: status.runner_problem.0.as_deref(),
        }
    }

    /// Of one that speaks protocol 0 only.
    pub fn brief(version: &'a str, socket: &'a str, pid: u32, started_ms: i64, tasks: u64, running: u64) -> Self {
        Daemon {
            version,
            protocol: 0,
            pid,
            started_at: rfc3339(started_ms),
            tasks,
            running,
            waiting: None,
            next: None,
            runner: None,
            store: None,
            socket,
            log: None,
            state_dir: None,
            log_lost: None,
            paused: None,
            runners: None,
            runner_problem: None,
        }
    }
}
