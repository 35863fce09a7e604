//! Nothing starts while a gate is closed, and looking at one holds up nobody.

use std::path::Path;
use std::time::Duration;

use taskd_wire::codec::{Rec, Tail};
use taskd_wire::definition::EnvVar;
use taskd_wire::runner::{End, Ended, Gates, Process, Start, Stdin, ToRunner, can};

use crate::life::{Home, is_alive, key, now, shell, to_start, wait_until};

crate::tests![
    what_an_open_gate_lets_in_runs_as_if_there_were_none,
    a_closed_gate_keeps_its_start_out_and_says_what_was_read,
    a_command_of_a_gate_is_run_as_the_one_it_is_for,
    a_command_that_takes_too_long_is_killed_with_all_it_started,
    what_is_stopped_while_its_gate_is_looked_at_never_starts,
    while_a_gate_is_looked_at_its_start_has_no_process_and_others_start,
    a_closed_gate_is_kept_in_the_spool,
];

const LONG: u64 = 60_000;

fn behind(start: Start, gates: Gates) -> Start {
    Start {
        gates: Tail(Some(Rec(gates))),
        ..start
    }
}

fn only_if(line: &str) -> Gates {
    Gates {
        only_if: Some(line.into()),
        within_ms: LONG,
        ..Gates::default()
    }
}

/// What is read is open whatever this machine does.
fn open() -> Gates {
    Gates {
        max_load: Some(u32::MAX),
        min_memory: Some(1),
        ..Gates::default()
    }
}

fn touch(path: &Path) -> String {
    format!("touch {}", path.display())
}

/// That of a start that was kept out.
#[track_caller]
fn reading(ended: &Ended) -> &str {
    let kept_out = End::SpawnFailed {
        errno: 125,
        what: "gate".into(),
    };
    assert_eq!((&ended.end, ended.pid), (&kept_out, 0), "{ended:?}");
    assert_eq!((ended.user_us, ended.max_rss_kib), (0, 0));
    ended.gate.0.as_deref().expect("it says which")
}

fn what_an_open_gate_lets_in_runs_as_if_there_were_none() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, inventory) = life.attach();
    assert_eq!(inventory.info.can.0 & can::GATES, can::GATES);
    let both = Gates {
        only_if: Some("echo to nobody; echo to nobody >&2; true".into()),
        within_ms: LONG,
        ..open()
    };
    for (run, gates) in [(1, open()), (2, only_if("exit 0")), (3, both)] {
        let ended = daemon.run(behind(shell(run, "echo ran; exit 7"), gates));
        assert_eq!((&ended.end, ended.stopped), (&End::Exited(7), false), "{ended:?}");
        assert_eq!(ended.gate.0, None);
        assert!(
            ended.pid != 0 && ended.started_ms > 0 && ended.output_bytes == 4,
            "{ended:?}"
        );
        assert_eq!(home.text(key(run), "stdout"), "ran\n");
    }
}

fn a_closed_gate_keeps_its_start_out_and_says_what_was_read() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let ran = home.path().join("ran");
    let memory = Gates {
        min_memory: Some(u64::MAX),
        only_if: Some(touch(&home.path().join("looked"))),
        ..open()
    };
    for (run, gates, says) in [
        (1, only_if("exit 3"), "only-if exited with 3"),
        (2, only_if("kill -9 $$"), "only-if was ended by signal 9"),
        (3, memory, "of memory are available, less than"),
    ] {
        let ended = daemon.run(behind(shell(run, &touch(&ran)), gates));
        assert!(reading(&ended).contains(says), "{ended:?}");
        assert!(!ended.stopped && ended.time_up.0.is_none(), "{ended:?}");
    }
    assert!(!ran.exists());
    assert!(!home.path().join("looked").exists(), "what is only read comes first");
    // The same key may be asked for again, once its end was acknowledged.
    daemon.say(&[ToRunner::Forget(key(1))]);
    let ended = daemon.run(behind(shell(1, &touch(&ran)), only_if("true")));
    assert_eq!(ended.end, End::Exited(0));
    assert!(ran.exists());
    // A command that cannot be run is no gate that is closed.
    let nowhere = Start {
        cwd: Some("/no/such/directory".into()),
        ..shell(4, "true")
    };
    let ended = daemon.run(behind(nowhere, only_if("true")));
    assert_eq!(ended.gate.0, None);
    assert!(
        matches!(&ended.end, End::SpawnFailed { what, .. } if what.starts_with("chdir")),
        "{ended:?}"
    );
}

fn a_command_of_a_gate_is_run_as_the_one_it_is_for() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let said = home.path().join("said");
    let line = format!(
        "{{ pwd; umask; echo $LEVEL $TASKD_TASK $TASKD_ATTEMPT; cat; }} > {}",
        said.display()
    );
    let start = Start {
        cwd: Some("/tmp".into()),
        env: vec![EnvVar {
            name: "LEVEL".into(),
            value: "9".into(),
        }],
        process: Tail(Rec(Process {
            umask: Some(0o027),
            stdin: Some(Stdin::Text("for the command alone".into())),
            ..Process::default()
        })),
        ..shell(1, "cat")
    };
    assert_eq!(daemon.run(behind(start, only_if(&line))).end, End::Exited(0));
    let said = std::fs::read_to_string(said).expect("it ran");
    assert_eq!(said, "/tmp\n0027\n9 job 1\n");
    assert_eq!(home.text(key(1), "stdout"), "for the command alone");
}

fn a_command_that_takes_too_long_is_killed_with_all_it_started() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let (ran, pids) = (home.path().join("ran"), home.path().join("pids"));
    let line = format!(
        "trap '' TERM; setsid sleep 1000 & echo $! > {0}; echo $$ >> {0}; wait; sleep 1000",
        pids.display()
    );
    let gates = Gates {
        within_ms: 700,
        ..only_if(&line)
    };
    let ended = daemon.run(behind(shell(1, &touch(&ran)), gates));
    assert_eq!(reading(&ended), "only-if took longer than 0.7 s");
    assert!(!ended.stopped && ended.time_up.0.is_none(), "{ended:?}");
    assert!(!ran.exists());
    let pids = std::fs::read_to_string(pids).expect("it began");
    for pid in pids.lines().map(|pid| pid.parse().expect("a number")) {
        wait_until("what the gate started is gone", || !is_alive(pid));
    }
}

fn what_is_stopped_while_its_gate_is_looked_at_never_starts() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let ran = home.path().join("ran");
    // That it ends well when it is asked to end opens nothing.
    for (run, on_term) in [(1, "exit 0"), (2, "")] {
        let up = home.path().join(format!("up-{run}"));
        let line = format!("trap '{on_term}' TERM; {}; while :; do sleep 0.02; done", touch(&up));
        daemon.say(&[to_start(behind(shell(run, &touch(&ran)), only_if(&line)))]);
        wait_until("the gate is looked at", || up.exists());
        let grace_ms = if run == 1 { LONG } else { 50 };
        daemon.say(&[ToRunner::Stop {
            key: key(run),
            grace_ms,
        }]);
        let ended = daemon.ended();
        assert_eq!(reading(&ended), "its gate was not looked at to the end");
        assert!(ended.stopped, "{ended:?}");
    }
    assert!(!ran.exists());
}

fn while_a_gate_is_looked_at_its_start_has_no_process_and_others_start() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let (up, go) = (home.path().join("up"), home.path().join("go"));
    let line = format!("{}; while [ ! -e {} ]; do sleep 0.02; done", touch(&up), go.display());
    let asked = now();
    let gated: Vec<ToRunner> = (1..=20)
        .map(|run| to_start(behind(shell(run, "exit 5"), only_if(&line))))
        .collect();
    daemon.say(&gated);
    wait_until("a gate is looked at", || up.exists());
    assert_eq!(daemon.run(shell(50, "exit 6")).end, End::Exited(6));
    assert!(
        asked.elapsed() < Duration::from_secs(20),
        "it waited for the gates of others"
    );
    let (mut daemon, inventory) = life.attach();
    assert_eq!(inventory.live.len(), 20);
    assert!(inventory.live.iter().all(|live| live.pid == 0 && !live.stopping));
    std::fs::write(go, "").expect("room");
    for _ in 1..=20 {
        let ended = daemon.ended();
        assert_eq!(ended.end, End::Exited(5), "{ended:?}");
    }
}

fn a_closed_gate_is_kept_in_the_spool() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let up = home.path().join("up");
    let line = format!("{}; sleep 0.3; exit 9", touch(&up));
    daemon.say(&[to_start(behind(shell(1, "true"), only_if(&line)))]);
    wait_until("the gate is looked at", || up.exists());
    drop(daemon);
    wait_until("its result is on disk", || home.has_spooled());
    drop(life);
    let life = home.start();
    let (_daemon, inventory) = life.attach();
    let [ended] = inventory.ended.as_slice() else {
        panic!("{inventory:?}")
    };
    assert_eq!(reading(ended), "only-if exited with 9");
}
