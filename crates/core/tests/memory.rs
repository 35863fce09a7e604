//! Idle tasks are cheap. The only test of its process, so that nothing else moves the numbers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::collections::HashSet;
use std::sync::Arc;

use jiff::tz::TimeZoneDatabase;
use taskd_core::Timestamp;
use taskd_core::command::{Command, Reply};
use taskd_core::event::{Event, Inventory};
use taskd_core::gates::Gates;
use taskd_core::policy::{History, OutputPolicy, Policies, Sharing};
use taskd_core::process::Process;
use taskd_core::requirement::LastEnd;
use taskd_core::run::Outcome;
use taskd_core::schedule::{Catalog, DstRule, Schedule, Zones};
use taskd_core::scheduler::{Limits, Scheduler};
use taskd_core::snapshot::{Header, Rest, TaskImage};
use taskd_core::task::{Action, Definition, Outline, Owner, TaskId, TaskName, When};

const TASKS: u64 = 100_000;

/// Bytes that one idle task may cost.
const EACH: u64 = 250;

/// Cron expressions that differ: the others share what was parsed.
const EXPRESSIONS: usize = 1_000;

/// Resident bytes that belong to nobody else.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages = |n| statm.split(' ').nth(n).unwrap().parse::<u64>().unwrap();
    (pages(1) - pages(2)) * 4096
}

fn catalog() -> Catalog {
    Catalog::new(Zones::new(TimeZoneDatabase::bundled()))
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000)
}

fn expression(n: u64) -> String {
    let n = n % EXPRESSIONS as u64;
    format!("{} {} * * *", n % 60, n / 60)
}

/// How many parsed expressions the tasks of a scheduler have, shared by those that are equal.
fn parsed(core: &Scheduler) -> usize {
    let schedules = (1..=TASKS).filter_map(|n| core.task(TaskId(n)).and_then(|task| task.schedule));
    let crons = schedules.filter_map(|schedule| match schedule {
        Schedule::Cron { cron, .. } => Some(Arc::as_ptr(cron)),
        Schedule::Every { .. } | Schedule::At(_) | Schedule::Termed(_) | Schedule::Manual => None,
    });
    crons.collect::<HashSet<_>>().len()
}

/// Half of them by the clock, half by elapsed time.
fn when(n: u64) -> When {
    if n.is_multiple_of(2) {
        When::Cron {
            expr: expression(n / 2),
            tz: "Europe/Berlin".to_owned(),
            dst: DstRule::default(),
        }
    } else {
        When::Every {
            interval_ms: 3_600_000 + n,
            anchor: now(),
        }
    }
}

fn name(n: u64) -> TaskName {
    TaskName::parse(&format!("task-{n:06}")).unwrap()
}

/// Tasks that have run.
fn restored() -> Scheduler {
    let rest = Rest {
        header: Header {
            last_task: TASKS,
            ..Header::default()
        },
        ..Rest::default()
    };
    let images = (1..=TASKS).map(|n| TaskImage {
        id: TaskId(n),
        owner: Owner(0),
        outline: Outline {
            name: name(n),
            when: when(n),
            labels: Vec::new(),
            sharing: Sharing::default(),
            enabled: true,
            policies: Policies::default(),
        },
        mark: now(),
        last_run: 1,
        last_outcome: Some(Outcome::Succeeded),
        last_end: Some(LastEnd {
            outcome: Outcome::Succeeded,
            at: now(),
        }),
    });
    Scheduler::restore(catalog(), Limits::default(), [1, 2], images, rest)
}

fn added() -> Scheduler {
    let mut core = Scheduler::new(catalog(), Limits::default(), [1, 2]);
    core.handle(now(), Event::RunnerAttached(Inventory::default()));
    for n in 1..=TASKS {
        let definition = Definition {
            name: name(n),
            when: when(n),
            action: Action::Shell {
                line: "true".to_owned(),
            },
            cwd: None,
            env: Vec::new(),
            description: None,
            labels: Vec::new(),
            sharing: Sharing::default(),
            enabled: true,
            policies: Policies::default(),
            process: Process::default(),
            output: OutputPolicy::default(),
            history: History::default(),
            gates: Gates::default(),
        };
        let definitions = vec![definition];
        let owner = Owner(0);
        let accepted = core.apply(now(), Command::Add { owner, definitions }).unwrap();
        assert_eq!(accepted.reply, Reply::Added(vec![TaskId(n)]));
        core.handle(now(), Event::Durable(accepted.ticket.unwrap()));
        while core.poll_effect().is_some() {}
    }
    core
}

#[test]
fn an_idle_task_costs_little() {
    let (before, restored) = (resident(), restored());
    let grown = (resident() - before) / TASKS;
    println!("{grown} bytes for each task that was restored");
    assert!(grown <= EACH, "{grown} bytes for each task that was restored");
    let (before, added) = (resident(), added());
    let grown = (resident() - before) / TASKS;
    println!("{grown} bytes for each task that was added");
    assert!(grown <= EACH, "{grown} bytes for each task that was added");
    assert_eq!((parsed(&restored), parsed(&added)), (EXPRESSIONS, EXPRESSIONS));
    assert_eq!(added.counts().tasks + restored.counts().tasks, 2 * TASKS as usize);
}
