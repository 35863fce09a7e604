//! One value of every variant of every enum that is said, and every record with all its fields set.
//!
//! The struct literals name all fields, so that a new field does not compile until it has a value here.

use std::fmt::Debug;

use bincode::{Decode, Encode};
use taskd_wire::client::*;
use taskd_wire::codec::{CodecError, Rec, Tail, decode, encode};
use taskd_wire::definition::*;
use taskd_wire::refusal::*;
use taskd_wire::runner::*;

mod definitions;
mod ledger;
mod refusals;
mod runners;
mod runs;

mod schedules;

use definitions::patch;
pub use definitions::spec;
use ledger::{attempt_info, calendar_info, passed, pause, why};
pub use runners::{ended, live, origin};
use runners::{info, start};
pub use runs::run_info;
use schedules::{counted, findings};

/// A type whose bytes are kept.
pub trait Said: Encode + Decode<()> + Debug + PartialEq + 'static {
    const NAME: &'static str;
    fn samples() -> Vec<Self>
    where
        Self: Sized;
}

/// A sample without its type.
pub struct Sample {
    /// `Type::Variant`.
    pub name: String,
    pub bytes: Vec<u8>,
    /// Decodes as the type of the sample and gives what that encodes to.
    pub again: fn(&[u8]) -> Result<Vec<u8>, CodecError>,
}

/// All samples, of all types.
pub fn all() -> Vec<Sample> {
    let mut out = Vec::new();
    of::<Request>(&mut out);
    of::<Response>(&mut out);
    of::<ToRunner>(&mut out);
    of::<FromRunner>(&mut out);
    of::<ScheduleSpec>(&mut out);
    of::<ActionSpec>(&mut out);
    of::<WhileRunning>(&mut out);
    of::<Refusal>(&mut out);
    of::<LineRefusal>(&mut out);
    of::<End>(&mut out);
    out
}

/// How many variants each enum has, found by asking the decoder: it knows a variant, or says that it does not.
pub fn variants() -> Vec<(&'static str, u8)> {
    vec![
        count::<Request>(),
        count::<Response>(),
        count::<ToRunner>(),
        count::<FromRunner>(),
        count::<ScheduleSpec>(),
        count::<ActionSpec>(),
        count::<WhileRunning>(),
        count::<Refusal>(),
        count::<LineRefusal>(),
        count::<End>(),
    ]
}

fn of<T: Said>(out: &mut Vec<Sample>) {
    for value in T::samples() {
        let debug = format!("{value:?}");
        let variant: String = debug.chars().take_while(|c| c.is_alphanumeric()).collect();
        out.push(Sample {
            name: format!("{}::{variant}", T::NAME),
            bytes: encode(&value).unwrap(),
            again: |bytes| encode(&decode::<T>(bytes)?),
        });
    }
}

fn count<T: Said>() -> (&'static str, u8) {
    let unknown =
        |variant: &u8| matches!(decode::<T>(&[*variant]), Err(CodecError::UnknownVariant { of, .. }) if of == T::NAME);
    (T::NAME, (0..=250).find(unknown).unwrap())
}

fn s(text: &str) -> String {
    text.to_owned()
}

pub fn summary() -> TaskSummary {
    TaskSummary {
        spec: Rec(spec()),
        id: 7,
        owner: 1000,
        tz: Some(s("Europe/Berlin")),
        next_ms: Some(1_796_000_000_000),
        last: Some(Rec(LastRun {
            run: s("backup/1041"),
            outcome: s("succeeded"),
            finished_ms: 1_795_913_660_000,
        })),
        running: vec![1042],
        held: Some(s("no such zone")),
        paused: Some(Rec(pause())),
    }
}

pub fn output() -> RunOutput {
    RunOutput {
        info: Rec(run_info()),
        files: vec![s("/var/lib/taskd/output/7/1042.1.jsonl")],
        discards: Tail(true),
        removed: Tail(false),
        lost: Tail(38),
    }
}

pub fn detail() -> TaskDetail {
    TaskDetail {
        summary: Rec(summary()),
        created_ms: 1_700_000_000_000,
        changed_ms: 1_700_000_000_500,
        next_ms: vec![1_796_000_000_000, 1_796_086_400_000],
        mark_ms: Some(1_795_913_600_000),
        runs: 1042,
        passed: vec![Rec(passed())],
        warnings: vec![s("runs twice on 2026-10-25")],
        upstreams: vec![Rec(UpstreamInfo {
            task: s("extract"),
            on: s("succeeded"),
            ended: Some(s("extract/12")),
        })],
        downstream: vec![s("report")],
        requires: Tail(vec![Rec(runs::requirement())]),
        required_by: Tail(vec![s("weekly")]),
    }
}

fn status() -> Status {
    Status {
        version: s("0.1.0"),
        protocol: 1,
        pid: 300,
        started_ms: 1_790_000_000_000,
        tasks: 1_000_000,
        running: 12,
        waiting: 1,
        next_ms: Some(1_796_000_000_000),
        runner_pid: Some(301),
        runner_version: Some(s("0.1.0")),
        store_bytes: 65_536,
        horizon_ms: Some(1_796_000_005_000),
        store_error: Some(s("No space left on device")),
        log: s("/var/log/taskd/taskd.log"),
        state_dir: s("/var/lib/taskd"),
        log_lost: 5,
        paused: Some(Rec(pause())),
        cgroups: Some(vec![s("memory")]),
        runners: Tail(vec![Rec(RunnerStatus {
            pid: 301,
            version: s("0.1.0"),
            running: 12,
            draining: true,
            stopped: Tail(true),
        })]),
        runner_problem: Tail(Some(s("no runner answers"))),
    }
}

pub const KEY: AttemptKey = AttemptKey {
    task: 7,
    run: 1042,
    attempt: 2,
};

impl Said for Request {
    const NAME: &'static str = "Request";
    fn samples() -> Vec<Self> {
        let names = || vec![s("back*"), s("sync")];
        vec![
            Request::Add(Rec(spec())),
            Request::Edit {
                name: s("backup"),
                patch: Rec(patch()),
            },
            Request::Remove {
                names: names(),
                running: WhileRunning::Cancel,
            },
            Request::Enable { names: names() },
            Request::Disable { names: names() },
            Request::Run { names: names() },
            Request::Cancel {
                runs: vec![s("backup/1042"), s("sync")],
            },
            Request::List {
                names: names(),
                after: Some(s("backup")),
                limit: 1000,
            },
            Request::Show { name: s("backup") },
            Request::Runs {
                filter: Rec(RunFilter {
                    targets: vec![s("backup/1042")],
                    outcomes: vec![s("failed")],
                    since_ms: Some(1_795_000_000_000),
                }),
                before: Some(99),
                limit: 50,
            },
            Request::Next { names: names(), n: 5 },
            Request::Status,
            Request::Output {
                target: s("backup/1042"),
            },
            Request::Watch {
                runs: vec![s("backup/1042")],
            },
            Request::Export {
                names: names(),
                after: None,
                limit: 300,
            },
            Request::ImportMore {
                tasks: vec![Rec(spec()), Rec(TaskSpec::default())],
                lines: vec![1, 300],
            },
            Request::ImportEnd,
            Request::Pause {
                names: names(),
                until_ms: Some(1_796_000_000_000),
                note: Some(s("moving house")),
            },
            Request::Resume { names: names() },
            Request::Why {
                name: s("backup"),
                from_ms: Some(1_796_000_000_000),
                until_ms: Some(1_796_000_059_999),
            },
            Request::Lint {
                names: names(),
                after: Some(s("backup")),
                limit: 1000,
            },
            Request::Backfill {
                name: s("backup"),
                from_ms: -1,
                until_ms: 1_796_000_000_000,
                dry_run: true,
            },
            Request::CalendarAdd {
                name: s("holidays"),
                body: s("{\"rules\":[\"weekends\"]}"),
                tz: Some(s("Europe/Berlin")),
                freeze: vec![s("prod-*")],
            },
            Request::CalendarList,
            Request::CalendarShow { name: s("holidays") },
            Request::CalendarRemove {
                names: vec![s("holidays")],
            },
            Request::Count {
                names: names(),
                bounds_ms: vec![1_796_000_000_000, 1_796_086_400_000],
                named: true,
            },
            Request::PoolSet {
                kind: PoolKind::Group,
                names: vec![s("db")],
                limit: Some(2),
            },
            Request::PoolList { kind: PoolKind::Lock },
            Request::RestartDaemon,
            Request::CancelFollowing {
                runs: vec![s("extract/12")],
            },
            Request::Graph {
                task: Some(s("load")),
                run: Some(s("extract/12")),
            },
            Request::RunWith {
                names: names(),
                overrides: Rec(Overrides {
                    env: vec![EnvVar {
                        name: s("LEVEL"),
                        value: s("3"),
                    }],
                    args: vec![s("--all")],
                    skip_gates: true,
                }),
            },
            Request::Top,
        ]
    }
}

impl Said for Response {
    const NAME: &'static str = "Response";
    fn samples() -> Vec<Self> {
        vec![
            Response::Refused(Refusal::Stopping),
            Response::Accepted(Rec(Accepted {
                name: s("backup"),
                id: 7,
                next_ms: vec![1_796_000_000_000],
                tz: Some(s("Europe/Berlin")),
                warnings: vec![s("runs twice on 2026-10-25")],
                idle: Some(s("it is disabled")),
            })),
            Response::Done(vec![s("backup"), s("sync/3")]),
            Response::RunsStarted(vec![Rec(RunRef {
                run: s("backup/1043"),
                trace_id: run_info().trace_id,
                waits_for: Tail(Some(s("run backup/1042"))),
            })]),
            Response::Tasks {
                tasks: vec![Rec(summary()), Rec(TaskSummary::default())],
                more: true,
            },
            Response::Task(Box::new(Rec(detail()))),
            Response::Runs {
                runs: vec![Rec(run_info()), Rec(RunInfo::default())],
                before: Some(98),
            },
            Response::Next {
                tasks: vec![Rec(TaskNext {
                    name: s("backup"),
                    tz: Some(s("Europe/Berlin")),
                    at_ms: vec![1_796_000_000_000, 1_796_086_400_000],
                    more: true,
                })],
                more: false,
            },
            Response::Status(Box::new(Rec(status()))),
            Response::Output(Rec(output())),
            Response::Update(Box::new(Rec(output()))),
            Response::WatchEnd,
            Response::Definitions {
                tasks: vec![Rec(spec())],
                more: false,
            },
            Response::Imported(100_000),
            Response::Why(Box::new(Rec(why()))),
            Response::Findings {
                tasks: vec![Rec(findings()), Rec(TaskFindings::default())],
                more: true,
            },
            Response::Backfill(vec![Rec(Backfilled {
                at_ms: 1_796_000_000_000,
                run: Some(s("backup/7")),
            })]),
            Response::Calendars(vec![Rec(calendar_info()), Rec(CalendarInfo::default())]),
            Response::Calendar(Box::new(Rec(CalendarDetail {
                info: Rec(calendar_info()),
                body: s("{\"rules\":[\"weekends\"]}"),
                users: vec![s("backup")],
            }))),
            Response::Counted(Box::new(Rec(counted()))),
            Response::Pools(schedules::pools()),
            Response::Restarting(Rec(Restarting {
                pid: 300,
                version: s("0.2.0"),
            })),
            Response::Graph(Box::new(Rec(Graph {
                tasks: vec![Rec(GraphTask {
                    task: s("load"),
                    upstreams: detail().upstreams,
                    any: true,
                    enabled: true,
                    run: Some(s("load/7")),
                    state: Some(s("running")),
                    requires: detail().requires,
                })],
                trace_id: Some(s("4bf92f3577b34da6a3ce929d0e0e4736")),
                more: true,
            }))),
            Response::Top(Box::new(Rec(runs::top()))),
        ]
    }
}

impl Said for ToRunner {
    const NAME: &'static str = "ToRunner";
    fn samples() -> Vec<Self> {
        vec![
            ToRunner::Attach,
            ToRunner::Start(Box::new(Rec(start()))),
            ToRunner::Stop {
                key: KEY,
                grace_ms: 10_000,
            },
            ToRunner::Forget(KEY),
            ToRunner::Shutdown { grace_ms: 10_000 },
            ToRunner::Look,
        ]
    }
}

impl Said for FromRunner {
    const NAME: &'static str = "FromRunner";
    fn samples() -> Vec<Self> {
        vec![
            FromRunner::Inventory {
                live: vec![Rec(live()), Rec(Live::default())],
                ended: vec![Rec(ended()), Rec(Ended::default())],
            },
            FromRunner::InventoryEnd(Rec(info())),
            FromRunner::Started {
                key: KEY,
                pid: 4711,
                at_ms: 1_796_000_000_002,
            },
            FromRunner::Ended(Box::new(Rec(ended()))),
            FromRunner::Used {
                at_us: 1 << 40,
                used: vec![Rec(runners::used()), Rec(Used::default())],
                is_last: true,
            },
            FromRunner::Begun(vec![Rec(origin()), Rec(origin())]),
        ]
    }
}

impl Said for ScheduleSpec {
    const NAME: &'static str = "ScheduleSpec";
    fn samples() -> Vec<Self> {
        vec![
            ScheduleSpec::Manual,
            spec().schedule,
            ScheduleSpec::Every {
                interval_ms: 90_000,
                anchor_ms: Some(-1),
            },
            ScheduleSpec::At {
                at: s("2026-12-01T09:00"),
                tz: None,
            },
            ScheduleSpec::In { delay_ms: 600_000 },
            ScheduleSpec::Boot,
            ScheduleSpec::After {
                of: vec![s("extract"), s("clean:failed")],
                any: true,
            },
        ]
    }
}

impl Said for ActionSpec {
    const NAME: &'static str = "ActionSpec";
    fn samples() -> Vec<Self> {
        vec![
            spec().action,
            ActionSpec::Shell {
                line: s("make && make install"),
            },
        ]
    }
}

impl Said for WhileRunning {
    const NAME: &'static str = "WhileRunning";
    fn samples() -> Vec<Self> {
        vec![WhileRunning::Refuse, WhileRunning::Cancel, WhileRunning::Keep]
    }
}

impl Said for End {
    const NAME: &'static str = "End";
    fn samples() -> Vec<Self> {
        vec![
            End::Exited(255),
            End::Signalled(9),
            End::SpawnFailed {
                errno: 2,
                what: s("exec"),
            },
        ]
    }
}
