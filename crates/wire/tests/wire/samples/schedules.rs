//! What is said of schedules.

use super::*;

pub(super) fn findings() -> TaskFindings {
    TaskFindings {
        name: s("backup"),
        findings: vec![Rec(Finding {
            code: s("every-minute"),
            message: s("It fires in every minute of hour 2."),
            suggestion: Some(s("0 2 * * *")),
        })],
    }
}

pub(super) fn counted() -> Counted {
    Counted {
        tasks: 3,
        tz: Some(s("Europe/Berlin")),
        idle: 1,
        paused: 1,
        left_out: 1_000_000,
        buckets: vec![
            Rec(Bucket {
                count: 1440,
                first_ms: Some(1_796_000_000_000),
                last_ms: Some(1_796_086_340_000),
                tasks: 2,
                names: vec![s("backup"), s("sync")],
            }),
            Rec(Bucket::default()),
        ],
        clock: vec![Rec(ClockChange {
            at_ms: 1_806_195_600_000,
            task: s("backup"),
            others: 4,
            message: s("Clocks skip 02:30: it fires at 03:00 instead."),
        })],
        clock_more: 2,
    }
}

pub fn pools() -> Vec<Rec<PoolInfo>> {
    let db = PoolInfo {
        name: "db".to_owned(),
        limit: Some(2),
        is_set: true,
        tasks: 5,
        running: 2,
        waiting: 1,
    };
    vec![Rec(db), Rec(PoolInfo::default())]
}
