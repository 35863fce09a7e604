//! What is said of runs.

use super::*;

pub fn requirement() -> RequirementInfo {
    RequirementInfo {
        task: s("snapshot"),
        within_ms: Some(93_600_000),
        outcome: Some(s("succeeded")),
        ended_ms: Some(1_796_000_000_000),
        unmet: Some(s("it is too old")),
    }
}

pub fn run_info() -> RunInfo {
    RunInfo {
        waits_for: Some(s("lock disk")),
        run: s("backup/1042"),
        task: s("backup"),
        trigger: s("schedule"),
        fire_time_ms: Some(1_796_000_000_000),
        created_ms: 1_796_000_000_001,
        started_ms: Some(1_796_000_000_002),
        finished_ms: Some(1_796_000_060_002),
        state: s("finished"),
        outcome: Some(s("failed")),
        exit_code: Some(3),
        signal: Some(15),
        attempts: 2,
        trace_id: s("4bf92f3577b34da6a3ce929d0e0e4736"),
        duration_ms: Some(60_000),
        lateness_ms: Some(-2),
        retry_ms: Some(1_796_000_000_000),
        reason: Some(s("timeout")),
        pid: Some(4711),
        max_rss_kib: Some(2048),
        user_us: Some(300),
        system_us: Some(70_000),
        output_bytes: Some(1 << 33),
        memory_peak_kib: Some(4096),
        read_bytes: Some(1 << 20),
        written_bytes: None,
        peak_pids: Some(7),
        earlier: vec![Rec(attempt_info())],
        triggered_by: Some(s("extract/12")),
        overrides: Tail(Some(Rec(Overridden {
            env: vec![s("LEVEL")],
            more_env: 3,
            args: 2,
            skip_gates: true,
        }))),
        gate_until_ms: Tail(Some(1_796_000_600_000)),
    }
}

pub(super) fn top() -> Top {
    Top {
        at_ms: 1_796_000_000_000,
        measured_us: Some(1 << 40),
        running: 1,
        waiting: 1,
        runs: vec![
            Rec(TopRun {
                run: s("backup/1042"),
                state: s("running"),
                attempt: 2,
                pid: Some(4711),
                created_ms: 1_796_000_000_000,
                started_ms: Some(1_796_000_000_002),
                retry_ms: Some(1_796_000_060_000),
                waits_for: Some(s("lock disk")),
                usage: Some(Rec(LiveUsage {
                    cpu_us: Some(1_500_000),
                    memory_bytes: Some(64 << 20),
                    processes: Some(3),
                })),
            }),
            Rec(TopRun::default()),
        ],
    }
}
