//! What the tests share: a store in a directory of its own, and records to put into it.

use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use taskd_core::calendar::{Calendar, CalendarUse, DaySpan, Entry, Keep, Kept, Rule};
use taskd_core::dependency::{Upstream, Upstreams};
use taskd_core::gates::{Closed, Gates};
use taskd_core::overrides::Overrides;
use taskd_core::policy::{History, Misfire, OutputPolicy, Policies, Sharing};
use taskd_core::process::caps::Caps;
use taskd_core::process::{EnvFile, IoPriority, Limit, Process, Stdin};
use taskd_core::record::Record;
use taskd_core::requirement::Requirement;
use taskd_core::run::{AttemptEnd, AttemptKey, Exit, Outcome, RunKey, TraceId, Trigger, Usage};
use taskd_core::schedule::{DstRule, Gap, Overlap};
use taskd_core::snapshot::Snapshot;
use taskd_core::task::{Action, Definition, Owner, TaskId, TaskName, Terms, When};
use taskd_core::time::Timestamp;
use taskd_store::{Batch, CommitError, OpenError, Opened, Options, Store, Writer};

/// Long enough for any machine; a test that waits so long has failed.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub fn open(dir: &Path) -> Opened {
    Store::open(Options::new(dir)).expect("the store opens")
}

/// Opens a store and reads all that decisions need.
pub fn load(options: Options) -> Result<(Store, Snapshot), OpenError> {
    let Opened { store, mut tasks, rest } = Store::open(options)?;
    let snapshot = Snapshot {
        tasks: tasks.by_ref().collect(),
        rest,
    };
    tasks.finish()?;
    Ok((store, snapshot))
}

/// Hands a decision over and does not wait.
pub fn hand_over(writer: &Writer, records: Vec<Record>, done: impl FnOnce(Result<(), CommitError>) + Send + 'static) {
    writer.commit(Batch {
        records,
        epoch: 0,
        fact: false,
        done: Box::new(move |result| done(result.map_err(|refused| refused.error))),
    });
}

/// Commits and waits for the answer.
pub fn commit(writer: &Writer, records: Vec<Record>) -> Result<(), CommitError> {
    let (sender, answer) = channel();
    hand_over(writer, records, move |result| {
        sender.send(result).expect("the test waits")
    });
    answer.recv_timeout(DEADLINE).expect("the batch is answered")
}

/// Waits until something holds.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = started() + DEADLINE;
    while !holds() {
        assert!(started() < end, "{what}: not within {DEADLINE:?}");
        std::thread::yield_now();
    }
}

#[expect(clippy::disallowed_methods, reason = "a deadline of a test, not a time of the store")]
pub fn started() -> std::time::Instant {
    std::time::Instant::now()
}

pub fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

pub fn key(task: u64, n: u64) -> RunKey {
    RunKey { task: TaskId(task), n }
}

pub fn name(text: &str) -> TaskName {
    TaskName::parse(text).expect("a name of a test is right")
}

pub fn definition(text: &str) -> Definition {
    Definition {
        name: name(text),
        when: When::Cron {
            expr: "*/5 * * * *".to_owned(),
            tz: "Europe/Berlin".to_owned(),
            dst: DstRule::default(),
        },
        action: Action::Exec {
            argv: vec!["/usr/bin/backup".to_owned(), "--target".to_owned(), text.to_owned()],
        },
        cwd: Some("/var/lib/backup".to_owned()),
        env: vec![("LEVEL".to_owned(), "3".to_owned())],
        description: None,
        labels: Vec::new(),
        sharing: Sharing::default(),
        enabled: true,
        policies: Policies::default(),
        process: Process::default(),
        output: OutputPolicy::default(),
        history: History::default(),
        gates: Gates::default(),
    }
}

/// What runs share with others, different for each variant.
pub fn sharing(variant: u32) -> Sharing {
    Sharing {
        group: variant.is_multiple_of(2).then(|| name("db")),
        priority: i16::try_from(variant % 7).expect("it is small") - 3,
        locks: (0..variant % 3).map(|n| name(&format!("lock-{n}"))).collect(),
    }
}

/// A definition whose runs share something with others.
pub fn sharing_task(text: &str, variant: u32) -> Definition {
    Definition {
        sharing: sharing(variant),
        ..definition(text)
    }
}

/// A definition whose schedule says more than there was room for in the first versions of the schema.
pub fn with_options(text: &str) -> Definition {
    let mut task = definition(text);
    task.when = When::Cron {
        expr: "30 2 * * *".to_owned(),
        tz: "Europe/Berlin".to_owned(),
        dst: DstRule {
            gap: Gap::Skip,
            overlap: Overlap::Both,
        },
    };
    task.policies.misfire = Misfire::Skip;
    task
}

/// A calendar that differs with `variant`.
pub fn calendar(variant: u32) -> Kept {
    let day = DaySpan::new(20_000, 20_000 + i64::from(variant % 9)).expect("they are in order");
    let rule = Rule::parse("weekends").expect("it is one");
    Kept {
        calendar: Calendar::new([Entry::Days(day), Entry::Rule(rule)]).expect("it has entries"),
        tz: "Europe/Berlin".to_owned(),
        freeze: (0..variant % 3).map(|n| format!("prod-{n}-*")).collect(),
    }
}

/// A definition of a task that comes after others.
pub fn after(text: &str, variant: u32) -> Definition {
    let upstream = |text: &str| Upstream::parse(text).expect("it is one");
    let mut task = with_options(text);
    task.when = When::After(Upstreams {
        of: vec![upstream("task-1"), upstream("task-2:failed")],
        any: variant.is_multiple_of(2),
    });
    if variant.is_multiple_of(3) {
        task.when = When::Termed(Box::new(Terms {
            count: NonZeroU64::new(7),
            ..Terms::of_all(vec![When::Boot, task.when])
        }));
    }
    task
}

/// A task that requires others.
pub fn requiring(text: &str, variant: u32) -> Definition {
    let mut task = definition(text);
    let requirement = |of: u32| Requirement {
        task: name(&format!("task-{of}")),
        within_ms: NonZeroU64::new(u64::from(of % 3) * 3_600_000),
    };
    task.when = When::Termed(Box::new(Terms {
        requires: (1..=1 + variant % 3).map(requirement).collect(),
        ..Terms::of(task.when)
    }));
    task
}

/// A definition of several schedules under all terms but what is required.
pub fn with_terms(text: &str) -> Definition {
    let mut task = with_options(text);
    let every = When::Every {
        interval_ms: 90_000,
        anchor: at(7),
    };
    task.when = When::Termed(Box::new(Terms {
        of: vec![task.when, When::Boot, every],
        jitter_ms: 60_000,
        offset_ms: 41_000,
        start: Some(at(1_000)),
        end: Some(at(9_000_000)),
        count: NonZeroU64::new(5),
        calendars: vec![CalendarUse {
            name: name("calendar-1"),
            keep: Keep::Only,
        }],
        requires: Vec::new(),
    }));
    task.policies.misfire = Misfire::All {
        within_ms: NonZeroU64::new(7_200_000),
    };
    task.labels = vec![name("db"), name("nightly")];
    task
}

/// All that processes are given.
fn process(variant: u32) -> Process {
    let mut process = Process {
        umask: Some(variant % 0o1000),
        nice: Some(-3),
        io: IoPriority::parse("best-effort:7").ok(),
        oom_score_adjust: Some(-1000),
        no_new_privileges: true,
        clear_env: true,
        env_files: vec![EnvFile::parse("-/etc/backup.env").expect("it is absolute")],
        stdin: Stdin::parse("@@ü\0"),
        private_tmp: true,
        ..Process::default()
    };
    // The tasks of the golden files are of a time before there were these.
    if variant >= 20 {
        process.user = Some("www-data".into());
        process.caps = Caps {
            memory: Some(512 << 20),
            cpu: Some(150),
            pids: Some(variant % 99 + 1),
        };
    }
    process.set_limit(Limit::parse("nofile=1:unlimited").expect("it is one"));
    process
}

/// A definition that differs with `variant` in all that can differ.
pub fn varied(text: &str, variant: u32) -> Definition {
    if variant % 20 == 13 {
        return sharing_task(text, variant);
    }
    if variant % 20 == 16 {
        return requiring(text, variant);
    }
    if variant % 20 == 17 {
        return after(text, variant);
    }
    if variant % 20 == 18 {
        return with_terms(text);
    }
    if variant % 10 == 9 {
        return with_options(text);
    }
    let mut task = definition(text);
    // The golden files are of lower ones.
    if variant > 8 && variant.is_multiple_of(2) {
        task.process = process(variant);
    }
    task.enabled = !variant.is_multiple_of(3);
    task.when = match variant % 5 {
        0 => When::Manual,
        1 => When::Every {
            interval_ms: u64::from(variant) + 1,
            anchor: at(i64::from(variant)),
        },
        2 => When::At {
            at: at(i64::from(variant) * 1000),
            text: "tomorrow 10:00".to_owned(),
            tz: variant.is_multiple_of(2).then(|| "America/New_York".to_owned()),
        },
        _ => task.when,
    };
    if variant % 4 == 1 {
        task.policies.misfire = Misfire::Once {
            within_ms: u64::from(variant)
                .try_into()
                .expect("it is one more than a multiple of 4"),
        };
        task.action = Action::Shell {
            line: format!("echo 'ä\n{variant}' | wc"),
        };
        task.cwd = None;
        task.env.clear();
        task.description = Some("Größe\u{0}\u{1f600}".to_owned());
    }
    task
}

pub fn added(id: u64, text: &str, ms: i64) -> Record {
    added_for(id, 0, ms, definition(text))
}

pub fn added_for(id: u64, owner: u32, ms: i64, definition: Definition) -> Record {
    Record::TaskAdded {
        id: TaskId(id),
        owner: Owner(owner),
        at: at(ms),
        definition: Arc::new(definition),
    }
}

pub fn created(task: u64, n: u64, ms: i64) -> Record {
    Record::RunCreated {
        run: key(task, n),
        trigger: Trigger::Schedule,
        fire_time: Some(at(ms)),
        at: at(ms),
        trace_id: TraceId(u128::from(n) << 64 | u128::from(task)),
        waiting: false,
        cause: None,
        overrides: None,
    }
}

/// A run that was turned away by its gate, or called off before it began.
pub fn never_ran(task: u64, n: u64, ms: i64, outcome: Outcome) -> [Record; 2] {
    let finished = Record::RunFinished {
        run: key(task, n),
        at: at(ms + 1),
        outcome,
        reason: None,
        end: None,
    };
    [created(task, n, ms), finished]
}

/// What a run may be given.
pub fn overrides(value: u32) -> Overrides {
    Overrides {
        env: vec![("LEVEL".to_owned(), format!("secret-{value}"))],
        args: (0..value % 3).map(|n| format!("arg {n}")).collect(),
        skip_gates: value.is_multiple_of(2),
    }
}

/// A run that waits and is given something.
pub fn created_with(task: u64, n: u64, ms: i64, overrides: Overrides) -> Record {
    match created(task, n, ms) {
        Record::RunCreated {
            run,
            trigger: _,
            fire_time: _,
            at,
            trace_id,
            waiting: _,
            cause,
            overrides: _,
        } => Record::RunCreated {
            run,
            trigger: Trigger::Manual,
            fire_time: None,
            at,
            trace_id,
            waiting: true,
            cause,
            overrides: Some(Arc::new(overrides)),
        },
        other => other,
    }
}

/// A task with gates.
pub fn gated(text: &str) -> Definition {
    let mut gated = definition(text);
    gated.policies.gate_wait_ms = NonZeroU64::new(600_000);
    gated.gates = Gates {
        only_if: Some("test -e /gate".to_owned()),
        max_load: Some(250),
        min_memory: NonZeroU64::new(1 << 30),
        on_ac_power: true,
    };
    gated
}

/// A gate of a run is closed.
pub fn closed(run: RunKey, ms: i64, value: u32) -> Record {
    Record::GateClosed {
        run,
        at: at(ms),
        gate: Closed {
            looks: value,
            reading: format!("load {value} is over 4"),
            gives_up: at(ms + i64::from(value)),
        },
        look_at: at(ms + i64::from(value % 100)),
    }
}

pub fn run_started(task: u64, n: u64, ms: i64) -> Record {
    Record::AttemptStarted {
        attempt: AttemptKey {
            run: key(task, n),
            attempt: 1,
        },
        pid: 4711,
        at: at(ms),
    }
}

pub fn finished(task: u64, n: u64, ms: i64, outcome: Outcome, output: u64) -> Record {
    Record::RunFinished {
        run: key(task, n),
        at: at(ms),
        outcome,
        reason: (outcome != Outcome::Succeeded).then(|| "exit code 3".to_owned()),
        end: Some(AttemptEnd {
            started_at: at(ms - 5),
            pid: 4711,
            finished_at: at(ms),
            exit: Exit::Code(if outcome == Outcome::Succeeded { 0 } else { 3 }),
            stopped: None,
            usage: Usage {
                max_rss_kib: 2048,
                user_us: 10,
                system_us: 20,
                output_bytes: output + 7,
                output_lost: 7,
                output_kept: None,
                memory_peak_kib: Some(4096),
                read_bytes: Some(1 << 40),
                written_bytes: None,
                peak_pids: Some(3),
            },
        }),
    }
}

/// A whole run in one batch.
pub fn whole_run(task: u64, n: u64, ms: i64, outcome: Outcome, output: u64) -> Vec<Record> {
    vec![
        created(task, n, ms),
        run_started(task, n, ms),
        finished(task, n, ms, outcome, output),
    ]
}
