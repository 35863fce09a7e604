//! What the tasks of the load are: what their processes do, under which policies, and how many of them there are.

use std::path::Path;

use serde_json::{Value, json};

/// Lines that each attempt writes to its standard output.
const LINES: u32 = 40;

/// After so many milliseconds an attempt that goes on for ever takes too long, and so long after that it is killed.
pub const TIMEOUT: (u64, u64) = (400, 200);

/// What each task does: says that it starts, writes its lines, says that it ends. Each word is one `write` at the end of
/// a file, so those of many processes never mix, and their order is that in which they were said. What is left behind and
/// what is deaf would stay for longer than any test waits.
pub const WORK: &str = r#"say() { echo "$1 $TASKD_RUN $TASKD_ATTEMPT ${TASKD_FIRE_TIME:--} $2" >>"$STAMPS"; }
case $1 in
stubborn) trap '' TERM ;;
replace) exec 2>/dev/null; trap 'trap "" TERM; say end 143; exit 143' TERM ;;
esac
say start -
n=0
while [ $n -lt 40 ]; do echo "$TASKD_RUN $TASKD_ATTEMPT $n"; n=$((n + 1)); done
code=0
case $1 in
fails) code=3 ;;
third) [ "$TASKD_ATTEMPT" = 3 ] || code=75 ;;
never) code=75 ;;
queue) sleep 1.3 ;;
daemon) (trap '' TERM; setsid sleep 1000 >/dev/null 2>&1 &) ;;
holder) ( (trap '' TERM; sleep 1000) & ) ;;
stubborn) sleep 1000 ;;
replace) sleep 1.2 ;;
allow) sleep 2.3 ;;
group) sleep 0.9 ;;
lock) sleep 0.6 ;;
esac
trap '' TERM
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
    /// They write their output to a file.
    File,
    /// They leave a process behind, in a session of its own.
    Daemon,
    /// They leave a process behind whose parent is gone, and which has their output open.
    Holder,
    /// They go on for ever, and do not heed TERM.
    Stubborn,
    /// They take longer than the time between two, and the next one takes their place.
    Replace,
    /// They take longer than the time between two, and so many may be side by side.
    Allow,
    /// Three tasks have a group for two.
    Group,
    /// Two tasks have a lock.
    Lock,
    /// Those with an odd number find their gate closed.
    Gated,
    /// They follow the ends of others.
    After,
}

/// What is certain of a run whose runner lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It has so many attempts, and the last ends with this code.
    Whole { attempts: u32, code: i32 },
    /// It is stopped since it takes too long.
    TimedOut,
    /// It ends with 0, or is stopped before.
    Replaced,
}

/// Some tasks of which no more than so many attempts may be live.
#[derive(Debug)]
pub struct Together {
    pub tasks: Vec<String>,
    pub most: usize,
}

impl Kind {
    pub const ALL: [Kind; 15] = [
        Kind::Plain,
        Kind::Fails,
        Kind::Third,
        Kind::Never,
        Kind::Queue,
        Kind::File,
        Kind::Daemon,
        Kind::Holder,
        Kind::Stubborn,
        Kind::Replace,
        Kind::Allow,
        Kind::Group,
        Kind::Lock,
        Kind::Gated,
        Kind::After,
    ];

    /// What the names of its tasks begin with.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Plain => "plain",
            Kind::Fails => "fails",
            Kind::Third => "third",
            Kind::Never => "never",
            Kind::Queue => "queue",
            Kind::File => "file",
            Kind::Daemon => "daemon",
            Kind::Holder => "holder",
            Kind::Stubborn => "stubborn",
            Kind::Replace => "replace",
            Kind::Allow => "allow",
            Kind::Group => "group",
            Kind::Lock => "lock",
            Kind::Gated => "gated",
            Kind::After => "after",
        }
    }

    /// The name of one of its tasks.
    pub fn task(self, n: u32) -> String {
        format!("{}-{n}", self.word())
    }

    /// How many tasks there are of it, so that some `rate` attempts start each second.
    pub fn count(self, rate: u32) -> u32 {
        let few = (rate / 40).max(1);
        match self {
            Kind::Third => (rate / 12).div_ceil(2).max(1),
            Kind::Never => rate / 24,
            Kind::Queue => rate / 10,
            Kind::File | Kind::Daemon | Kind::Holder | Kind::Stubborn | Kind::Replace | Kind::Allow => few,
            Kind::Gated | Kind::After => few,
            Kind::Group => few.div_ceil(2) * 3,
            Kind::Lock => few.div_ceil(2) * 2,
            Kind::Fails => Self::simple(rate) / 8 + 1,
            Kind::Plain => (Self::simple(rate) - Self::simple(rate) / 8).max(1),
        }
    }

    /// How many tasks take what the others leave of the rate.
    fn simple(rate: u32) -> u32 {
        let of_others = Self::ALL
            .iter()
            .filter(|kind| !matches!(kind, Kind::Plain | Kind::Fails));
        // In tenths.
        let starts: u32 = of_others.map(|kind| kind.count(rate) * kind.starts()).sum();
        rate.saturating_sub(starts / 10)
    }

    /// How many tenths of an attempt of one of its tasks start each second.
    fn starts(self) -> u32 {
        match self {
            Kind::Third | Kind::Never => 30,
            Kind::After => 25,
            Kind::Plain
            | Kind::Fails
            | Kind::File
            | Kind::Daemon
            | Kind::Holder
            | Kind::Stubborn
            | Kind::Replace
            | Kind::Gated => 10,
            Kind::Queue | Kind::Allow | Kind::Lock => 8,
            Kind::Group => 7,
        }
    }

    /// What is certain of a run, but for one that [finds its gate closed](Self::finds_gate_closed).
    pub fn life(self) -> Life {
        let (attempts, code) = match self {
            Kind::Stubborn => return Life::TimedOut,
            Kind::Replace => return Life::Replaced,
            Kind::Fails => (1, 3),
            Kind::Third => (3, 0),
            Kind::Never => (3, 75),
            Kind::Plain
            | Kind::Queue
            | Kind::File
            | Kind::Daemon
            | Kind::Holder
            | Kind::Allow
            | Kind::Group
            | Kind::Lock
            | Kind::Gated
            | Kind::After => (1, 0),
        };
        Life::Whole { attempts, code }
    }

    /// Whether the gate of a run is closed.
    pub fn finds_gate_closed(self, run: u64) -> bool {
        self == Kind::Gated && run % 2 == 1
    }

    /// Whether a run may be stopped before it has said all.
    pub fn is_cut(self) -> bool {
        matches!(self.life(), Life::TimedOut | Life::Replaced)
    }

    /// Its tasks, by how many of their attempts may be live.
    pub fn together(self, rate: u32) -> Vec<Together> {
        let tasks: Vec<String> = (0..self.count(rate)).map(|n| self.task(n)).collect();
        let (of, most) = match self {
            Kind::Group => (3, 2),
            Kind::Lock => (2, 1),
            Kind::Allow => (1, 2),
            Kind::Plain
            | Kind::Fails
            | Kind::Third
            | Kind::Never
            | Kind::Queue
            | Kind::File
            | Kind::Daemon
            | Kind::Holder
            | Kind::Stubborn
            | Kind::Replace
            | Kind::Gated
            | Kind::After => (1, 1),
        };
        let together = tasks.chunks(of).map(|tasks| Together {
            tasks: tasks.to_vec(),
            most,
        });
        together.collect()
    }

    /// The definition of one of its tasks, due each second from this time on, in milliseconds since the epoch.
    pub fn definition(self, n: u32, from: u64, work: &Path, stamps: &Path) -> Value {
        let mut task = json!({
            "name": self.task(n),
            "schedule": { "kind": "every", "interval_ms": 1000, "anchor_ms": from },
            "action": { "kind": "exec", "argv": ["/bin/sh", work, self.word()] },
            "env": [{ "name": "STAMPS", "value": stamps }],
        });
        match self {
            Kind::Plain | Kind::Fails | Kind::Daemon | Kind::Holder => {}
            Kind::Third | Kind::Never => {
                task["retries"] = json!(2);
                task["backoff"] = json!({ "initial_ms": 50, "max_ms": 50, "factor_percent": 100, "jitter": false });
            }
            Kind::Queue => task["concurrency"] = json!("queue:3"),
            Kind::File => task["output"] = json!("file"),
            Kind::Stubborn => {
                (task["timeout_ms"], task["grace_ms"]) = (json!(TIMEOUT.0), json!(TIMEOUT.1));
            }
            Kind::Replace => task["concurrency"] = json!("replace"),
            Kind::Allow => task["concurrency"] = json!("allow:2"),
            Kind::Group => task["group"] = json!(Self::group(n / 3)),
            Kind::Lock => task["locks"] = json!([format!("lock-{}", n / 2)]),
            Kind::Gated => task["gates"] = json!({ "only_if": "[ $((${TASKD_RUN##*/} % 2)) = 0 ]" }),
            Kind::After => {
                let of: Vec<String> = Self::UPSTREAMS.iter().map(|(of, on)| format!("{of}:{on}")).collect();
                task["schedule"] = json!({ "kind": "after", "of": of, "any": true });
                task["concurrency"] = json!("queue:16");
            }
        }
        task
    }

    /// The group of the tasks that share this part of its limit.
    fn group(n: u32) -> String {
        format!("group-{n}")
    }

    /// The groups, each with its limit.
    pub fn groups(rate: u32) -> Vec<String> {
        (0..Kind::Group.count(rate) / 3).map(Self::group).collect()
    }

    /// The tasks that those of [`Kind::After`] follow, and which of their ends.
    pub const UPSTREAMS: [(&str, &str); 3] = [("third-0", "succeeded"), ("fails-0", "failed"), ("gated-0", "finished")];
}

/// The output of an attempt.
pub fn output(task: &str, run: u64, attempt: u32) -> String {
    (0..LINES).map(|n| format!("{task}/{run} {attempt} {n}\n")).collect()
}
