//! What is refused.

use super::*;

impl Said for Refusal {
    const NAME: &'static str = "Refusal";
    fn samples() -> Vec<Self> {
        vec![
            Refusal::UnknownTask {
                name: s("bakcup"),
                near: vec![s("backup")],
            },
            Refusal::UnknownRun { run: s("backup/9") },
            Refusal::NameTaken { name: s("backup") },
            Refusal::BadField {
                field: s("cron"),
                text: s("99 * * * *"),
                at: Some((0, 2)),
                problem: s("minute is over 59"),
                cure: Some(s("0 to 59")),
            },
            Refusal::Limit {
                what: s("definition"),
                limit: 65_536,
                actual: 70_000,
            },
            Refusal::StillRunning {
                name: s("backup"),
                run: s("backup/1042"),
            },
            Refusal::NotRunning { run: s("backup/1041") },
            Refusal::ImportLine {
                line: 12,
                refusal: Box::new(LineRefusal::NameTaken { name: s("backup") }),
            },
            Refusal::StoreUnavailable {
                reason: s("No space left on device"),
            },
            Refusal::RunnerUnavailable {
                reason: s("Connection refused"),
            },
            Refusal::Stopping,
            Refusal::UnknownRequest,
            Refusal::NotAllowed { what: s("stop") },
            Refusal::Internal { what: s("fault") },
            Refusal::BacklogFull { room: 58 },
            Refusal::UnknownCalendar {
                name: s("holiday"),
                near: vec![s("holidays")],
            },
            Refusal::CalendarInUse {
                name: s("holidays"),
                task: s("backup"),
            },
            Refusal::UnknownPool { pool: s("group db") },
            Refusal::CannotRestart {
                program: s("/usr/bin/taskd"),
                reason: s("it cannot be executed"),
            },
            Refusal::StillNamed {
                name: s("extract"),
                by: vec![s("load"), s("report")],
                more: 7,
            },
        ]
    }
}

impl Said for LineRefusal {
    const NAME: &'static str = "LineRefusal";
    fn samples() -> Vec<Self> {
        vec![
            LineRefusal::NameTaken { name: s("backup") },
            LineRefusal::NameTwice {
                name: s("backup"),
                line: 3,
            },
            LineRefusal::BadField {
                field: s("tz"),
                text: s("Mars/Base"),
                at: None,
                problem: s("no such zone"),
                cure: None,
            },
            LineRefusal::Limit {
                what: s("arguments"),
                limit: 131_072,
                actual: 131_073,
            },
        ]
    }
}
