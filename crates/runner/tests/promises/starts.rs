//! A start does what it says, and how it ended is told exactly.

use std::env;
use std::fs;
use std::process::Command;

use rustix::process::Resource;
use taskd_runner::raw_output_path;
use taskd_wire::codec::{Rec, Tail};
use taskd_wire::definition::{ActionSpec, EnvVar, OutputKind};
use taskd_wire::runner::{End, Ended, FromRunner, Process, ResourceLimit, Start};

use crate::life::{Home, exec, key, shell, to_start, wait_until};

crate::tests![
    exit_codes_signals_times_and_use_are_reported,
    what_cannot_be_started_says_which_step_failed_and_where,
    what_was_left_open_is_closed_or_kept_from_children,
    the_environment_is_exactly_what_is_promised,
    a_child_gets_nothing_of_the_runner,
    without_a_directory_a_run_is_at_home,
    a_start_said_twice_is_one_start,
    a_thousand_starts_at_once_all_run,
    a_start_that_hangs_does_not_hold_up_others,
    a_start_that_hangs_does_not_hold_up_what_came_with_it,
    what_hangs_together_starts_one_by_one,
    what_lies_between_starts_that_hang_begins,
];

fn exit_codes_signals_times_and_use_are_reported() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let pid = daemon.start(shell(1, "exit 7"));
    let ended = daemon.ended();
    assert_eq!((ended.end, ended.pid, ended.stopped), (End::Exited(7), pid, false));
    assert_eq!(ended.origin.task, "job");
    assert_eq!(ended.origin.trigger, "manual");
    assert_eq!(ended.origin.created_ms, 1_700_000_000_000);

    assert_eq!(daemon.run(shell(2, "kill -9 $$")).end, End::Signalled(9));
    assert_eq!(daemon.run(shell(3, "kill -15 $$")).end, End::Signalled(15));
    assert_eq!(daemon.run(exec(4, &["true"])).end, End::Exited(0));

    let busy = daemon.run(shell(5, "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"));
    assert!(busy.user_us > 1000, "{busy:?}");
    assert!(busy.max_rss_kib > 100, "{busy:?}");
    assert!(busy.finished_ms >= busy.started_ms && busy.started_ms > 1_700_000_000_000);
    let asleep = daemon.run(shell(6, "sleep 0.2"));
    assert!(asleep.finished_ms - asleep.started_ms >= 200, "{asleep:?}");
}

fn what_cannot_be_started_says_which_step_failed_and_where() {
    const ROUND: u64 = 100;
    const ROUNDS: u64 = 20;
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let plain = home.path().join("plain");
    fs::write(&plain, "no program").expect("room");
    let plain = plain.to_str().expect("text");
    let (exec_plain, chdir_plain) = (format!("exec {plain}"), format!("chdir {plain}"));
    let at = |run, cwd: &str| Start {
        cwd: Some(cwd.into()),
        ..exec(run, &["true"])
    };
    let given = |run, process| Start {
        process: Tail(Rec(process)),
        ..exec(run, &["true"])
    };
    let limit = |name: &str| Process {
        limits: vec![ResourceLimit {
            name: name.into(),
            soft: Some(1),
            hard: None,
        }],
        ..Process::default()
    };
    let io = Process {
        ioprio: Some(7 << 13),
        ..Process::default()
    };
    let oom = Process {
        oom_score_adjust: Some(i32::MIN),
        ..Process::default()
    };
    let cases = [
        (
            exec(1, &["no-such-program-anywhere"]),
            libc::ENOENT,
            "exec no-such-program-anywhere",
        ),
        (exec(2, &["/no/such/program"]), libc::ENOENT, "exec /no/such/program"),
        (exec(3, &[plain]), libc::EACCES, &exec_plain),
        (exec(4, &["/"]), libc::EACCES, "exec /"),
        (exec(5, &[]), libc::EINVAL, "exec"),
        (exec(6, &["true", "a\0b"]), libc::EINVAL, "exec true"),
        (
            exec(7, &["/bin/true", &"x".repeat(200_000)]),
            libc::E2BIG,
            "exec /bin/true",
        ),
        (at(8, "/no/such/directory"), libc::ENOENT, "chdir /no/such/directory"),
        (at(9, plain), libc::ENOTDIR, &chdir_plain),
        (at(10, "/a\0\n"), libc::EINVAL, "chdir /a\u{fffd}\u{fffd}"),
        // Nobody may open as many files, root neither.
        (given(12, limit("nofile")), libc::EPERM, "limit nofile"),
        (given(13, limit("later")), libc::EINVAL, "limit later"),
        (given(14, io), libc::EINVAL, "ionice"),
        (given(15, oom), libc::EINVAL, "oom-score-adjust"),
    ];
    let check = |ended: &Ended| {
        let run = ended.origin.key.run;
        let case = cases.iter().find(|(start, ..)| start.key.run == run % ROUND);
        let (_, errno, what) = case.expect("it was asked for");
        let (errno, what) = (*errno, (*what).to_owned());
        assert_eq!(ended.end, End::SpawnFailed { errno, what }, "{run}");
        assert_eq!(ended.pid, 0);
        assert!(ended.started_ms > 0 && ended.finished_ms >= ended.started_ms);
    };
    for (start, ..) in &cases {
        daemon.say(&[to_start(start.clone())]);
        check(&daemon.ended());
    }
    // At the same time in one launcher, each has its own reason.
    let again = |round: u64| {
        cases.iter().map(move |(start, ..)| {
            let key = key(ROUND * round + start.key.run);
            to_start(Start { key, ..start.clone() })
        })
    };
    let all: Vec<_> = (1..=ROUNDS).flat_map(again).collect();
    daemon.say(&all);
    for _ in &all {
        check(&daemon.ended());
    }
    assert_eq!(daemon.run(exec(11, &["true"])).end, End::Exited(0), "it goes on");
}

fn what_was_left_open_is_closed_or_kept_from_children() {
    let open = |way: &str| {
        let output = Command::new("/bin/sh")
            .args(["-c", r#"exec 5</dev/null 9</dev/null "$0" inherited "$1""#])
            .arg(env::current_exe().expect("it runs"))
            .arg(way)
            .output()
            .expect("a shell");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("numbers");
        let (own, child) = text.split_once('\n').expect("two lines");
        let has = |line: &str| ["5", "9"].map(|fd| line.split_ascii_whitespace().any(|open| open == fd));
        (has(own), has(child))
    };
    assert_eq!(open("leave"), ([true; 2], [true; 2]));
    assert_eq!(open("mark"), ([true; 2], [false; 2]));
    assert_eq!(open("close"), ([false; 2], [false; 2]));
}

fn the_environment_is_exactly_what_is_promised() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, inventory) = life.attach();
    let var = |name: &str, value: &str| EnvVar {
        name: name.into(),
        value: value.into(),
    };
    let start = Start {
        fire_time_ms: Some(1_700_000_000_125),
        trace_id: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef,
        env: vec![
            var("GREETING", "hello world"),
            var("SHELL", "/bin/false"),
            var("EMPTY", ""),
        ],
        ..exec(9, &["/usr/bin/env", "-0"])
    };
    assert_eq!(daemon.run(start).end, End::Exited(0));
    let text = home.text(key(9), "stdout");
    let mut lines: Vec<&str> = text.split_terminator('\0').collect();
    lines.sort_unstable();
    let find = |name: &str| {
        lines
            .iter()
            .find_map(|line| line.strip_prefix(name))
            .expect("it is set")
    };
    let cookie = find("TASKD_RUNNER=").to_owned();
    let trace = find("TRACEPARENT=").to_owned();
    assert_eq!(
        lines,
        [
            "EMPTY=",
            "GREETING=hello world",
            &format!("HOME={}", home.path().display()),
            "LC_TIME=C",
            "LOGNAME=tester",
            "PATH=/usr/bin:/bin",
            "SHELL=/bin/false",
            "TASKD_ATTEMPT=1",
            "TASKD_FIRE_TIME=2023-11-14T22:13:20.125Z",
            "TASKD_RUN=job/9",
            &format!("TASKD_RUNNER={cookie}"),
            "TASKD_TASK=job",
            "TASKD_TRIGGER=manual",
            &format!("TRACEPARENT={trace}"),
            "USER=tester",
        ]
    );
    let instance = format!("{:016x}", inventory.info.instance);
    assert_eq!(cookie.split(':').nth(1), Some(instance.as_str()));
    let span = trace
        .strip_prefix("00-0123456789abcdef0123456789abcdef-")
        .and_then(|rest| rest.strip_suffix("-01"))
        .expect("the trace of the run");
    assert!(span.len() == 16 && span != "0000000000000000", "{trace}");
}

fn a_child_gets_nothing_of_the_runner() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    // Other runs, so that the runner has descriptors that could leak.
    for run in 1..=3 {
        daemon.start(shell(run, "echo hello; exec sleep 1000"));
        home.first_line(key(run));
    }
    let pid = daemon.start(shell(4, "exec sleep 1000"));
    // What it opens itself while it is made ready it closes again.
    wait_until("it has nothing open but its own three", || {
        let mut fds: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd"))
            .expect("it runs")
            .map(|entry| entry.expect("readable").file_name())
            .collect();
        fds.sort();
        fds == ["0", "1", "2"]
    });
    let stdin = fs::read_link(format!("/proc/{pid}/fd/0")).expect("it runs");
    assert_eq!(stdin.to_str(), Some("/dev/null"));
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    for set in ["SigPnd", "SigBlk", "SigIgn"] {
        let none = format!("{set}:\t0000000000000000");
        assert!(status.lines().any(|line| line == none), "{status}");
    }
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).expect("a process");
    assert_eq!(rustix::process::getsid(Some(pid)), Ok(pid));
    assert_eq!(rustix::process::getpgid(Some(pid)), Ok(pid));
    let limits = fs::read_to_string(format!("/proc/{}/limits", pid.as_raw_nonzero())).expect("it runs");
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .expect("a limit");
    let ours = rustix::process::getrlimit(Resource::Nofile).current.expect("a limit");
    assert_eq!(files.split_ascii_whitespace().nth(3), Some(ours.to_string().as_str()));
}

fn without_a_directory_a_run_is_at_home() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    daemon.run(exec(1, &["pwd"]));
    let at_home = fs::canonicalize(home.path()).expect("it exists");
    assert_eq!(home.text(key(1), "stdout").trim_end(), at_home.to_str().expect("text"));
    daemon.run(Start {
        cwd: Some("/usr".into()),
        ..exec(2, &["./bin/env", "pwd"])
    });
    assert_eq!(home.text(key(2), "stdout"), "/usr\n");
}

fn a_start_said_twice_is_one_start() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let start = || to_start(shell(1, "echo once; while [ ! -e go ]; do sleep 0.01; done"));
    daemon.say(&[start(), start()]);
    home.first_line(key(1));
    daemon.say(&[start()]);
    fs::write(home.path().join("go"), "").expect("room");
    daemon.ended();
    // The result is kept, so it is still known.
    daemon.say(&[start(), to_start(shell(2, "exit 2"))]);
    assert_eq!(daemon.ended().origin.key, key(2));
    assert_eq!(home.text(key(1), "stdout"), "once\n");
}

fn a_thousand_starts_at_once_all_run() {
    const COUNT: u64 = 1000;
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let starts: Vec<_> = (0..COUNT).map(|run| to_start(exec(run, &["/bin/true"]))).collect();
    daemon.say(&starts);
    let mut ended: Vec<u64> = (0..COUNT)
        .map(|_| {
            let ended = daemon.ended();
            assert_eq!(ended.end, End::Exited(0));
            ended.origin.key.run
        })
        .collect();
    ended.sort_unstable();
    assert!(ended.into_iter().eq(0..COUNT));
    assert!(!home.state_dir().join("output").exists(), "there was no output");
}

fn a_start_that_hangs_does_not_hold_up_others() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let mut leased = Vec::new();
    for run in 1..=3 {
        let Some((file, start)) = home.start_that_hangs(run) else {
            println!("skipped: no leases on this file system");
            return;
        };
        leased.push(file);
        daemon.say(&[to_start(start)]);
    }
    assert_eq!(daemon.run(exec(4, &["true"])).end, End::Exited(0));
    let (mut daemon, inventory) = life.attach();
    assert_eq!(inventory.live_keys(), [key(1), key(2), key(3)]);
    assert!(inventory.live.iter().all(|live| live.pid == 0), "{inventory:?}");
    drop(leased);
    for _ in 1..=3 {
        assert_eq!(daemon.ended().end, End::Exited(0));
    }
}

fn a_start_that_hangs_does_not_hold_up_what_came_with_it() {
    const COUNT: u64 = 64;
    const HANGS: [u64; 2] = [20, 43];
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let mut leased = Vec::new();
    let mut starts = Vec::new();
    for run in 1..=COUNT {
        let (mut start, line) = (shell(run, ""), format!("echo {run}; exit {}", run % 7));
        if HANGS.contains(&run) {
            let Some((file, hangs)) = home.start_that_hangs_before(run, &line) else {
                println!("skipped: no leases on this file system");
                return;
            };
            leased.push(file);
            start = hangs;
        } else {
            start.action = ActionSpec::Shell { line };
        }
        start.output = Tail(match run % 3 {
            0 => OutputKind::File,
            1 => OutputKind::Lines,
            _ => OutputKind::Discard,
        });
        starts.push(to_start(start));
    }
    // All at once, so that threads take several together.
    daemon.say(&starts);
    let check = |ended: &Ended| {
        let run = ended.origin.key.run;
        assert_eq!(ended.end, End::Exited((run % 7).try_into().expect("small")));
        match run % 3 {
            0 => {
                let written = fs::read_to_string(raw_output_path(&home.state_dir(), &key(run)));
                assert_eq!(written.expect("there is output"), format!("{run}\n"));
            }
            1 => assert_eq!(home.text(key(run), "stdout"), format!("{run}\n")),
            _ => assert_eq!(ended.output_bytes, 0),
        }
        run
    };
    let mut runs: Vec<u64> = (HANGS.len() as u64..COUNT).map(|_| check(&daemon.ended())).collect();
    drop(leased);
    let mut hung = HANGS.map(|_| check(&daemon.ended()));
    hung.sort_unstable();
    assert_eq!(hung, HANGS);
    runs.extend(hung);
    runs.sort_unstable();
    assert_eq!(runs, (1..=COUNT).collect::<Vec<_>>(), "each once");
}

fn what_hangs_together_starts_one_by_one() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let hanging: Option<Vec<_>> = (1..=4).map(|run| home.start_that_hangs(run)).collect();
    let Some(hanging) = hanging else {
        println!("skipped: no leases on this file system");
        return;
    };
    let (leased, starts): (Vec<_>, Vec<_>) = hanging.into_iter().unzip();
    let mut leased: Vec<_> = leased.into_iter().map(Some).collect();
    // One thread takes all of them.
    daemon.say(&starts.into_iter().map(to_start).collect::<Vec<_>>());
    for number in [1, 3, 0, 2] {
        leased[number] = None;
        assert_eq!(daemon.ended().origin.key, key(number as u64 + 1));
    }
}

fn what_lies_between_starts_that_hang_begins() {
    const LAST: u64 = 10;
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    // So many that both threads take some.
    for round in 0..12 {
        let run = |number: u64| 2 * LAST * round + number;
        let hanging = [1, LAST].map(|number| home.start_that_hangs(run(number)));
        let [Some((one, first)), Some((other, last))] = hanging else {
            println!("skipped: no leases on this file system");
            return;
        };
        let between = (2..LAST).map(|number| exec(run(number), &["sleep", "1000"]));
        let starts: Vec<_> = [first].into_iter().chain(between).chain([last]).map(to_start).collect();
        daemon.say(&starts);
        let mut started = Vec::new();
        while (started.len() as u64) < LAST - 2 {
            match daemon.hear().expect("the runner lives") {
                FromRunner::Started { key, .. } if key.run >= run(0) => started.push(key),
                // What has hung in the last round.
                FromRunner::Started { .. } | FromRunner::Ended(_) => {}
                other => panic!("{other:?} instead of a start"),
            }
        }
        started.sort();
        assert!(started.into_iter().eq((2..LAST).map(|number| key(run(number)))));
        drop((one, other));
    }
}
