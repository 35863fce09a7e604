//! What is said to a runner, and by it.

use super::ledger::{time_limits, tree_usage};
use super::*;

pub(super) fn start() -> Start {
    Start {
        key: KEY,
        task: s("backup"),
        trigger: s("schedule"),
        fire_time_ms: Some(1_796_000_000_000),
        created_ms: 1_796_000_000_001,
        trace_id: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
        action: spec().action,
        cwd: spec().cwd,
        env: spec().env,
        output_max: 16 << 20,
        limits: Tail(time_limits()),
        leave: Tail(true),
        process: Tail(Rec(Process {
            umask: Some(0o027),
            nice: Some(-5),
            ioprio: Some(2 << 13 | 7),
            oom_score_adjust: Some(500),
            limits: vec![ResourceLimit {
                name: s("nofile"),
                soft: Some(1024),
                hard: None,
            }],
            no_new_privileges: true,
            clear_env: true,
            env_files: vec![EnvFile {
                path: s("/etc/backup.env"),
                optional: true,
            }],
            stdin: Some(Stdin::Text(s("a text"))),
            private_tmp: true,
            user: Tail(Some(s("backup"))),
            caps: Tail(Rec(Caps {
                memory_bytes: Some(512 << 20),
                cpu_percent: Some(150),
                pids: Some(64),
            })),
        })),
        previous_outcome: Tail(Some(s("failed"))),
        output: Tail(OutputKind::File),
        masks: Tail(vec![s("token=.*")]),
        gates: Tail(Some(Rec(Gates {
            only_if: Some(s("test -e /mnt/backup")),
            within_ms: 30_000,
            max_load: Some(250),
            min_memory: Some(1 << 31),
            on_ac_power: true,
        }))),
    }
}

pub fn origin() -> Origin {
    Origin {
        key: KEY,
        task: s("backup"),
        trigger: s("manual"),
        fire_time_ms: None,
        created_ms: 1_796_000_000_001,
        trace_id: u128::MAX,
    }
}

pub fn live() -> Live {
    Live {
        origin: origin(),
        pid: 4711,
        started_ms: 1_796_000_000_002,
        stopping: true,
    }
}

pub fn ended() -> Ended {
    Ended {
        origin: origin(),
        pid: 4711,
        started_ms: 1_796_000_000_002,
        finished_ms: 1_796_000_060_002,
        end: End::Exited(3),
        stopped: true,
        max_rss_kib: 2048,
        user_us: 300,
        system_us: 70_000,
        output_bytes: 1 << 33,
        output_lost: 1 << 32,
        time_up: Tail(Some(TimeUp::Deadline)),
        counted: Tail(tree_usage()),
        gate: Tail(Some(s("load 12.34 is over 4"))),
        over_memory: Tail(Some(512 << 20)),
        output_kept: Tail(Some(3 << 31)),
    }
}

pub(super) fn info() -> RunnerInfo {
    RunnerInfo {
        instance: u64::MAX,
        pid: 301,
        version: s("0.1.0"),
        started_ms: -1,
        closing: Tail(true),
        state_dir: Tail(Some(FileId {
            device: 66,
            inode: 1 << 40,
        })),
        cgroups: Tail(Some(vec![s("memory"), s("pids")])),
        program: Tail(Some(FileId { device: 66, inode: 12 })),
        can: Tail(can::OUTPUTS | can::GATES | can::CAPS | can::USAGE | can::USERS),
        before: Tail(vec![1, u64::MAX - 1]),
    }
}

pub(super) fn used() -> Used {
    Used {
        key: KEY,
        cpu_us: Some(1_500_000),
        memory_bytes: Some(64 << 20),
        processes: Some(3),
    }
}
