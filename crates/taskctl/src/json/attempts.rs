//! What is told of the attempts of a run.

use serde::Serialize;
use taskd_wire::client::AttemptInfo;

use super::rfc3339;

/// An attempt that was followed by another.
#[derive(Debug, Serialize)]
pub struct EarlierAttempt<'a> {
    attempt: u32,
    started_at: Option<String>,
    finished_at: String,
    outcome: &'a str,
    reason: Option<&'a str>,
    exit_code: Option<i32>,
    signal: Option<i32>,
    pid: Option<u32>,
    max_rss_kib: Option<u64>,
    user_us: Option<u64>,
    system_us: Option<u64>,
    output_bytes: Option<u64>,
    memory_peak_kib: Option<u64>,
    read_bytes: Option<u64>,
    written_bytes: Option<u64>,
    peak_pids: Option<u64>,
}

impl<'a> EarlierAttempt<'a> {
    /// Of what the daemon tells.
    pub fn of(attempt: &'a AttemptInfo) -> Self {
        EarlierAttempt {
            attempt: attempt.attempt,
            started_at: attempt.started_ms.map(rfc3339),
            finished_at: rfc3339(attempt.finished_ms),
            outcome: &attempt.outcome,
            reason: attempt.reason.as_deref(),
            exit_code: attempt.exit_code,
            signal: attempt.signal,
            pid: attempt.pid,
            max_rss_kib: attempt.max_rss_kib,
            user_us: attempt.user_us,
            system_us: attempt.system_us,
            output_bytes: attempt.output_bytes,
            memory_peak_kib: attempt.memory_peak_kib,
            read_bytes: attempt.read_bytes,
            written_bytes: attempt.written_bytes,
            peak_pids: attempt.peak_pids,
        }
    }
}
