//! The load: tasks of several kinds that are due all the time, and what their processes themselves say of it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::harness::{World, wait_for};

/// Lines that each attempt writes to its standard output.
const LINES: u32 = 40;

/// What each task does: says that it starts, writes its lines, says that it ends. Each word is one `write` at the end of
/// a file, so those of many processes never mix.
const WORK: &str = r#"say() { echo "$1 $TASKD_RUN $TASKD_ATTEMPT $TASKD_FIRE_TIME $2" >>"$STAMPS"; }
say start -
n=0
while [ $n -lt 40 ]; do echo "$TASKD_RUN $TASKD_ATTEMPT $n"; n=$((n + 1)); done
code=0
case $1 in
fails) code=3 ;;
third) [ "$TASKD_ATTEMPT" = 3 ] || code=75 ;;
never) code=75 ;;
queue) sleep 1.3 ;;
esac
say end $code
exit $code
"#;

/// What the runs of a task do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They end with 0.
    Plain,
    /// They end with 3.
    Fails,
    /// They end with 0 at their third attempt.
    Third,
    /// They fail at each of their three attempts.
    Never,
    /// They take longer than the time between two, and wait for each other.
    Queue,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Plain => "plain",
            Kind::Fails => "fails",
            Kind::Third => "third",
            Kind::Never => "never",
            Kind::Queue => "queue",
        }
    }

    /// How many attempts a run has, and the exit code of the last.
    pub fn life(self) -> (u32, i32) {
        match self {
            Kind::Plain | Kind::Queue => (1, 0),
            Kind::Fails => (1, 3),
            Kind::Third => (3, 0),
            Kind::Never => (3, 75),
        }
    }
}

/// An attempt: its run's number, its own, and the fire time. Where taskd and its runner are killed at once, a run that
/// nobody recorded may leave its number to the next.
pub type Key = (u64, u32, Timestamp);

/// What attempts said, in the order of their numbers.
pub type Attempts = BTreeMap<Key, Told>;

/// One attempt by its own words.
#[derive(Debug, Default)]
pub struct Told {
    pub starts: u32,
    pub ends: Vec<i32>,
}

/// All that the processes said.
#[derive(Debug, Default)]
pub struct Stamps {
    /// By task.
    pub tasks: HashMap<String, Attempts>,
    /// By task: whether it is a start, and the run, in the order in which it was said.
    pub order: HashMap<String, Vec<(bool, u64)>>,
}

/// The tasks.
pub struct Load {
    pub tasks: Vec<(String, Kind)>,
    /// In the environment of each of their processes.
    pub mark: String,
}

impl Load {
    /// Adds tasks that start some `rate` attempts each second.
    pub fn new(world: &World, rate: u32) -> Load {
        let stamps = world.path("stamps");
        fs::write(&stamps, "").expect("a file");
        let work = world.path("work.sh");
        fs::write(&work, WORK).expect("a file");
        let mark = stamps.display().to_string();
        // A run with retries has three attempts, one that waits takes 1.3 s.
        let (retrying, queueing) = (rate / 12, rate / 10);
        let plain = rate.saturating_sub(retrying * 3 + queueing * 10 / 13).max(1);
        let kinds = |kind: Kind, count: u32| (0..count).map(move |n| (format!("{}-{n}", kind.word()), kind));
        let tasks: Vec<_> = kinds(Kind::Plain, plain - plain / 8)
            .chain(kinds(Kind::Fails, plain / 8))
            .chain(kinds(Kind::Third, retrying - retrying / 2))
            .chain(kinds(Kind::Never, retrying / 2))
            .chain(kinds(Kind::Queue, queueing))
            .collect();
        let now = wall();
        let count = u64::try_from(tasks.len()).expect("few");
        let mut lines = String::new();
        for (n, (name, kind)) in (0..count).zip(&tasks) {
            let retries = if kind.life().0 > 1 { 2 } else { 0 };
            let mut task = json!({
                "name": name,
                "schedule": { "kind": "every", "interval_ms": 1000, "anchor_ms": now + n * 1000 / count },
                "action": { "kind": "exec", "argv": ["/bin/sh", work, kind.word()] },
                "env": [{ "name": "STAMPS", "value": stamps }],
                "retries": retries,
            });
            if retries > 0 {
                task["backoff"] = json!({ "initial_ms": 50, "max_ms": 50, "factor_percent": 100, "jitter": false });
            }
            if *kind == Kind::Queue {
                task["concurrency"] = json!("queue:3");
            }
            lines.push_str(&format!("{task}\n"));
        }
        world.ctl_reading(&["import", "-"], &lines).ok();
        Load {
            tasks,
            mark: format!("STAMPS={mark}"),
        }
    }

    /// Lets nothing become due any more, and waits until all that began is over.
    pub fn end(&self, world: &World) {
        wait_for("the tasks to be disabled", || {
            world.ctl(&["disable", "*"]).status.success().then_some(())
        });
        wait_for("all runs to end", || {
            let ran = world.ctl(&["status", "--json"]);
            let status: Value = serde_json::from_str(&ran.stdout).ok()?;
            (status["running"] == 0 && status["waiting"] == 0).then_some(())
        });
    }

    /// What was said so far.
    pub fn stamps(&self, world: &World) -> Stamps {
        let mut stamps = Stamps::default();
        for line in fs::read_to_string(world.path("stamps")).expect("stamps").lines() {
            let [what, run, attempt, fire_time, code] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("not a stamp: {line}");
            };
            let (task, n) = run.rsplit_once('/').expect("TASK/N");
            let n = n.parse().expect("a number");
            let key = (
                n,
                attempt.parse().expect("a number"),
                fire_time.parse().expect("an instant"),
            );
            let told = stamps.tasks.entry(task.to_owned()).or_default().entry(key).or_default();
            match what {
                "start" => told.starts += 1,
                "end" => told.ends.push(code.parse().expect("a code")),
                other => panic!("not a stamp: {other}"),
            }
            stamps
                .order
                .entry(task.to_owned())
                .or_default()
                .push((what == "start", n));
        }
        stamps
    }
}

/// The output of an attempt.
pub fn output(task: &str, run: u64, attempt: u32) -> String {
    (0..LINES).map(|n| format!("{task}/{run} {attempt} {n}\n")).collect()
}

/// Milliseconds since the epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "a test is a caller of the program, and has a clock of its own"
)]
fn wall() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("not so far away")
}
