//! What is said of fire times without a run, of limits and of what was used.

use super::*;

pub(super) fn passed() -> Passed {
    Passed {
        outcome: s("missed"),
        first_ms: 1_795_000_000_000,
        last_ms: 1_795_000_120_000,
        count: 3,
        reason: s("the machine was asleep"),
    }
}

pub(super) fn pause() -> Pause {
    Pause {
        all: true,
        since_ms: 1_795_000_000_000,
        until_ms: Some(1_796_000_000_000),
        by: s("uid 1000"),
        note: Some(s("moving house")),
    }
}

fn fate() -> Fate {
    Fate {
        at_ms: 1_796_000_000_000,
        verdict: s("missed"),
        run: Some(Box::new(Rec(run_info()))),
        passed: Some(Box::new(Rec(passed()))),
        change: Some(Box::new(Rec(Change {
            kind: s("disabled"),
            at_ms: 1_795_000_000_000,
            until_ms: Some(1_796_000_000_000),
            by: Some(s("uid 1000")),
            note: Some(s("moving house")),
        }))),
        down_ms: Some((1_795_000_000_000, 1_796_000_000_000)),
        before_ms: Some(1_795_913_600_000),
        after_ms: Some(1_796_086_400_000),
        held: Some(s("no such zone")),
        reason: Some(s("calendar holidays excludes it")),
        moved_from_ms: Some(1_795_999_000_000),
        moved_to_ms: Some(1_796_086_400_000),
        moved_by: Some(s("its jitter")),
        clock: Some(s("Clocks in Europe/Berlin skip it.")),
    }
}

pub(super) fn why() -> Why {
    Why {
        name: s("backup"),
        tz: Some(s("Europe/Berlin")),
        fates: vec![Rec(fate()), Rec(Fate::default())],
        at_boot: true,
        after: Some(s("extract, clean:failed")),
    }
}

pub(super) fn calendar_info() -> CalendarInfo {
    CalendarInfo {
        name: s("holidays"),
        tz: s("Europe/Berlin"),
        freeze: vec![s("prod-*")],
        days: 12,
        ranges: 1,
        rules: vec![s("weekends")],
        tasks: 3,
        changed_ms: Some(1_795_000_000_000),
        by: Some(s("uid 1000")),
    }
}

pub fn attempt_info() -> AttemptInfo {
    AttemptInfo {
        attempt: 1,
        started_ms: Some(1_796_000_000_002),
        finished_ms: 1_796_000_000_003,
        outcome: s("failed"),
        reason: Some(s("exit code 3")),
        exit_code: Some(3),
        signal: None,
        pid: Some(4710),
        max_rss_kib: Some(1024),
        memory_peak_kib: Some(2048),
        user_us: Some(300),
        system_us: Some(70),
        read_bytes: Some(512),
        written_bytes: Some(1024),
        peak_pids: None,
        output_bytes: Some(12),
    }
}

pub(super) fn tree_usage() -> TreeUsage {
    TreeUsage {
        memory_peak_kib: Some(4096),
        read_bytes: Some(1 << 20),
        written_bytes: None,
        peak_pids: Some(7),
    }
}

pub(super) fn time_limits() -> TimeLimits {
    TimeLimits {
        timeout_ms: Some(60_000),
        deadline_ms: Some(600_000),
        grace_ms: 5_000,
        signal: 2,
    }
}
