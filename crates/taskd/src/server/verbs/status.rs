//! `status`: how the daemon is.

use std::fs;

use taskd_core::Timestamp;
use taskd_core::pause::PauseScope;
use taskd_wire::client::{Response, RunnerStatus, Status};
use taskd_wire::codec::{Rec, Tail};
use taskd_wire::hello::PROTOCOL_MAX;
use taskd_wire::refusal::Refusal;

use crate::clock;
use crate::describe;
use crate::engine::Seen;
use crate::server::Shared;

pub(super) async fn answer(shared: &Shared) -> Result<Response, Refusal> {
    let now = clock::now();
    let status = shared
        .engine
        .look(move |state, condition| {
            let counts = state.counts();
            let current = condition.runner.iter().map(|seen| runner(seen, false));
            let beside = condition.draining.iter().map(|seen| runner(seen, true));
            Status {
                tasks: counts.tasks as u64,
                running: counts.running as u64,
                waiting: counts.waiting as u64,
                next_ms: state.next_start().map(Timestamp::as_millis),
                runner_pid: condition.runner.as_ref().map(|seen| seen.pid),
                runner_version: condition.runner.as_ref().map(|seen| seen.version.clone()),
                runners: Tail(current.chain(beside).collect()),
                runner_problem: Tail(condition.runner_problem.clone()),
                cgroups: condition.cgroups.clone(),
                horizon_ms: Some(state.horizon())
                    .filter(|at| *at != Timestamp::MIN)
                    .map(Timestamp::as_millis),
                store_error: condition.store_error.clone(),
                paused: state
                    .pause_of_all(now)
                    .map(|pause| Rec(describe::pause(PauseScope::All, pause))),
                ..Status::default()
            }
        })
        .await?;
    let mut runners = status.runners.0;
    for Rec(runner) in &mut runners {
        runner.stopped = Tail(is_stopped(runner.pid));
    }
    Ok(Response::Status(Box::new(Rec(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL_MAX,
        pid: std::process::id(),
        started_ms: shared.started_at.as_millis(),
        store_bytes: shared.readers.size_bytes(),
        log: shared.log.path().display().to_string(),
        state_dir: shared.state_dir.display().to_string(),
        log_lost: shared.log.lost(),
        runners: Tail(runners),
        ..status
    }))))
}

fn runner(seen: &Seen, draining: bool) -> Rec<RunnerStatus> {
    Rec(RunnerStatus {
        pid: seen.pid,
        version: seen.version.clone(),
        running: seen.running as u64,
        draining,
        stopped: Tail(false),
    })
}

/// Whether a signal has stopped a process, or a tracer. Where it cannot be seen, it is not known to be.
fn is_stopped(pid: u32) -> bool {
    // The name in parentheses may hold anything, a parenthesis too; what follows it is the state, see proc_pid_stat(5).
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
    state.is_some_and(|state| state.starts_with(['T', 't']))
}
