//! A command that is to run as another user has what that user has and nothing of the runner's rights, and ends as any other.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;

use rustix::process::{Gid, Signal, Uid};
use taskd_wire::codec::{Rec, Tail};
use taskd_wire::runner::{End, EnvFile, Process, ResourceLimit, Start, Stdin, ToRunner, can};
use tempfile::TempDir;

use crate::life::{Home, is_alive, key, kill, shell, wait_until};

crate::tests![
    a_command_is_its_user_in_all_that_tells_of_one,
    what_its_user_may_not_have_a_command_does_not_get,
    what_a_command_makes_and_where_it_writes_is_its_users,
    what_needs_rights_is_set_before_they_are_gone,
    a_user_that_is_not_there_fails_the_start,
    who_may_not_become_another_starts_nothing,
    a_stop_and_an_end_reach_what_another_user_left,
    a_command_of_another_user_dies_with_its_worker,
    who_is_the_user_already_needs_no_rights,
];

const NOBODY: u32 = 65_534;

/// Whether another user can be become and has an account.
fn can_become() -> bool {
    let can = rustix::process::geteuid().is_root() && id("-u").as_deref() == Some("65534");
    if !can {
        println!("skipped: only root can become another user, and nobody must be one");
    }
    can
}

/// What the system itself says of nobody.
fn id(what: &str) -> Option<String> {
    let output = Command::new("id").args([what, "nobody"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn given(run: u64, line: &str, process: Process) -> Start {
    Start {
        cwd: Some("/".into()),
        process: Tail(Rec(process)),
        ..shell(run, line)
    }
}

fn nobody() -> Process {
    Process {
        user: Tail(Some("nobody".into())),
        ..Process::default()
    }
}

fn failed(end: End) -> (i32, String) {
    match end {
        End::SpawnFailed { errno, what } => (errno, what),
        other => panic!("{other:?}"),
    }
}

/// A directory that is nobody's.
fn room() -> TempDir {
    let room = tempfile::tempdir().expect("room");
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    rustix::fs::chown(room.path(), Some(uid), Some(gid)).expect("it is ours");
    room
}

fn a_command_is_its_user_in_all_that_tells_of_one() {
    if !can_become() {
        return;
    }
    let home = Home::new();
    // Groups of the runner's that are not to be left with anybody else.
    let life = home.start_with(home.command_by(&["setpriv", "--groups", "0,4,27"]));
    let (mut daemon, inventory) = life.attach();
    assert_eq!(inventory.info.can.0 & can::USERS, can::USERS);
    let line = "id -u; id -ru; id -g; id -rg; id -G; echo $HOME $USER $LOGNAME $SHELL $LC_TIME; \
                grep -E '^(CapEff|CapPrm|CapAmb)' /proc/self/status | cut -f 2";
    let entry = Command::new("getent")
        .args(["passwd", "nobody"])
        .output()
        .expect("it is there");
    let entry = String::from_utf8(entry.stdout).expect("text");
    let fields: Vec<&str> = entry.trim().split(':').collect();
    let (uid, gid, groups) = (id("-u"), id("-g"), id("-G"));
    let [uid, gid, groups] = [uid, gid, groups].map(|text| text.expect("it has an account"));
    let none = "0000000000000000";
    let (its_home, its_shell) = (fields[5], fields[6]);
    let expected = format!(
        "{uid}\n{uid}\n{gid}\n{gid}\n{groups}\n{its_home} nobody nobody {its_shell} C\n{none}\n{none}\n{none}\n"
    );
    for (run, user) in [(1, "nobody"), (2, "65534")] {
        let process = Process {
            user: Tail(Some(user.into())),
            ..Process::default()
        };
        assert_eq!(daemon.run(given(run, line, process)).end, End::Exited(0));
        assert_eq!(home.text(key(run), "stdout"), expected, "{user}");
    }
    // The one after it, by the same launcher, is the runner's again.
    assert_eq!(daemon.run(shell(3, "id -u; echo $USER; pwd")).end, End::Exited(0));
    let own = fs::canonicalize(home.path()).expect("it is there");
    assert_eq!(home.text(key(3), "stdout"), format!("0\ntester\n{}\n", own.display()));
    // Without a directory it is at its own home, which this one may not have.
    let at_home = Start {
        cwd: None,
        ..given(4, "pwd", nobody())
    };
    match daemon.run(at_home).end {
        End::Exited(0) => assert_eq!(home.text(key(4), "stdout"), format!("{its_home}\n")),
        end => assert_eq!(failed(end), (libc::ENOENT, format!("chdir {its_home}"))),
    }
}

fn what_its_user_may_not_have_a_command_does_not_get() {
    if !can_become() {
        return;
    }
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let open = tempfile::tempdir().expect("room");
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let file = |name: &str, mode: u32| {
        let path = open.path().join(name);
        fs::write(&path, "A=1\n").expect("room");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
        path.to_str().expect("text").to_owned()
    };
    let (secret, public) = (file("secret", 0o600), file("public", 0o644));
    let closed = open.path().join("closed");
    fs::create_dir(&closed).expect("room");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("it is ours");
    let closed = closed.to_str().expect("text");

    let ended = daemon.run(given(1, &format!("cat {secret}"), nobody()));
    assert_eq!(ended.end, End::Exited(1));
    assert!(home.text(key(1), "stderr").contains("Permission denied"));
    let reading = |run, path: &str| {
        let stdin = Some(Stdin::File(path.to_owned()));
        given(run, "cat", Process { stdin, ..nobody() })
    };
    let denied = |what: String| (libc::EACCES, what);
    assert_eq!(
        failed(daemon.run(reading(2, &secret)).end),
        denied(format!("stdin {secret}"))
    );
    assert_eq!(daemon.run(reading(3, &public)).end, End::Exited(0));
    assert_eq!(home.text(key(3), "stdout"), "A=1\n");
    let at_closed = Start {
        cwd: Some(closed.to_owned()),
        ..given(4, "true", nobody())
    };
    assert_eq!(failed(daemon.run(at_closed).end), denied(format!("chdir {closed}")));
    // Files of variables are the runner's to read, and so may be kept from the user.
    let env_files = vec![EnvFile {
        path: secret,
        optional: false,
    }];
    let with_variables = given(5, "echo $A", Process { env_files, ..nobody() });
    assert_eq!(daemon.run(with_variables).end, End::Exited(0));
    assert_eq!(home.text(key(5), "stdout"), "1\n");
    // A text is nobody's secret, and a command may open what it reads once more.
    let stdin = Some(Stdin::Text("text".into()));
    let text = given(6, "cat /dev/stdin", Process { stdin, ..nobody() });
    assert_eq!(daemon.run(text).end, End::Exited(0));
    assert_eq!(home.text(key(6), "stdout"), "text");
}

fn what_a_command_makes_and_where_it_writes_is_its_users() {
    if !can_become() {
        return;
    }
    let (home, room) = (Home::new(), room());
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let line = "echo made > made; echo one > /dev/stdout; echo two > /dev/stderr";
    let start = Start {
        cwd: room.path().to_str().map(str::to_owned),
        ..given(1, line, nobody())
    };
    assert_eq!(daemon.run(start).end, End::Exited(0));
    let made = fs::metadata(room.path().join("made")).expect("it was made");
    assert_eq!((made.uid(), made.mode() & 0o7777), (NOBODY, 0o644));
    assert_eq!(
        (home.text(key(1), "stdout"), home.text(key(1), "stderr")),
        ("one\n".to_owned(), "two\n".to_owned())
    );
    let output = fs::metadata(taskd_runner::output_path(&home.state_dir(), &key(1))).expect("there is output");
    assert_eq!(output.uid(), 0, "what it wrote is kept by the runner");
}

fn what_needs_rights_is_set_before_they_are_gone() {
    if !can_become() {
        return;
    }
    let home = Home::new();
    let life = home.start();
    let (mut daemon, inventory) = life.attach();
    let input = tempfile::NamedTempFile::new().expect("room");
    fs::set_permissions(input.path(), fs::Permissions::from_mode(0o644)).expect("it is ours");
    let settings = Process {
        nice: Some(-5),
        oom_score_adjust: Some(500),
        umask: Some(0o027),
        // The loader takes the last one; those with which a child is made are beyond.
        limits: vec![ResourceLimit {
            name: "nofile".into(),
            soft: Some(4),
            hard: Some(64),
        }],
        stdin: Some(Stdin::File(input.path().to_str().expect("text").into())),
        no_new_privileges: true,
        ..nobody()
    };
    let line = "ulimit -n 64; id -u; cut -d ' ' -f 19 /proc/self/stat; cat /proc/self/oom_score_adj; umask; ulimit -Hn; \
                grep NoNewPrivs /proc/self/status";
    for run in [1, 2] {
        assert_eq!(daemon.run(given(run, line, settings.clone())).end, End::Exited(0));
        assert_eq!(
            home.text(key(run), "stdout"),
            "65534\n-5\n500\n0027\n64\nNoNewPrivs:\t1\n"
        );
    }
    // The launcher they came from may still do for others what takes rights.
    let own = Process {
        oom_score_adjust: Some(7),
        ..Process::default()
    };
    assert_eq!(
        daemon.run(given(3, "cat /proc/self/oom_score_adj", own)).end,
        End::Exited(0)
    );
    assert_eq!(home.text(key(3), "stdout"), "7\n");
    let of_runner = fs::read_to_string(format!("/proc/{}/oom_score_adj", inventory.info.pid)).expect("it runs");
    for run in 4..12 {
        daemon.run(shell(run, "cat /proc/self/oom_score_adj"));
        assert_eq!(home.text(key(run), "stdout"), of_runner, "it is none of the launcher's");
    }
}

fn a_user_that_is_not_there_fails_the_start() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let users = ["no-such-user-here", "4294967288", "4294967295"];
    for (run, user) in (1..).zip(users) {
        let process = Process {
            user: Tail(Some(user.into())),
            ..Process::default()
        };
        let what = format!("user {user}, there is no such account");
        assert_eq!(
            failed(daemon.run(given(run, "true", process)).end),
            (libc::ENOENT, what)
        );
    }
    assert_eq!(daemon.run(shell(9, "true")).end, End::Exited(0), "it goes on");
}

fn who_may_not_become_another_starts_nothing() {
    if !can_become() {
        return;
    }
    let without: [(&str, &[&str]); 3] = [
        ("setgroups nobody", &["--bounding-set=-setgid"]),
        ("setresuid nobody", &["--bounding-set=-setuid"]),
        // The rights stay when the user goes, so root could come back.
        ("drop-root nobody", &["--securebits=+no_setuid_fixup"]),
    ];
    for (what, options) in without {
        let home = Home::new();
        let life = home.start_with(home.command_by(&[&["setpriv"], options].concat()));
        let (mut daemon, _) = life.attach();
        let made = home.path().join("made");
        let line = format!("echo > {}", made.display());
        let ended = daemon.run(given(1, &line, nobody()));
        assert_eq!(failed(ended.end), (libc::EPERM, what.to_owned()));
        assert!(!made.exists());
    }
}

fn a_stop_and_an_end_reach_what_another_user_left() {
    if !can_become() {
        return;
    }
    for groups in [true, false] {
        let (home, room) = (Home::new(), room());
        let mut command = home.command();
        if !groups {
            command.arg("--no-cgroups");
        }
        let life = home.start_with(command);
        let (mut daemon, _) = life.attach();
        let at = |run, line: &str| Start {
            cwd: room.path().to_str().map(str::to_owned),
            ..given(run, line, nobody())
        };
        // Its first process ends; what has a session of its own and no parent is known by its mark.
        let line = "(setsid sh -c 'echo $$ > escaped; exec sleep 1000' &); until [ -s escaped ]; do sleep 0.01; done";
        assert_eq!(daemon.run(at(1, line)).end, End::Exited(0));
        let escaped = fs::read_to_string(room.path().join("escaped")).expect("it was made");
        let escaped = escaped.trim().parse().expect("a process id");
        wait_until("it is gone", || !is_alive(escaped));
        // A stop is heard by all of it, and what is deaf is killed.
        let line = "trap 'echo heard; exit 5' TERM; \
                    (setsid sh -c 'trap \"\" TERM; echo $$ > deaf; while :; do sleep 1000; done' &); \
                    until [ -s deaf ]; do sleep 0.01; done; echo ready; while :; do sleep 0.01; done";
        daemon.start(at(2, line));
        assert_eq!(home.first_line(key(2)), "ready");
        let deaf = fs::read_to_string(room.path().join("deaf")).expect("it was made");
        let deaf = deaf.trim().parse().expect("a process id");
        daemon.say(&[ToRunner::Stop {
            key: key(2),
            grace_ms: 200,
        }]);
        let ended = daemon.ended();
        assert_eq!((ended.end, ended.stopped), (End::Exited(5), true));
        wait_until("the deaf one is gone", || !is_alive(deaf));
        assert_eq!(home.text(key(2), "stdout"), "ready\nheard\n");
    }
}

fn a_command_of_another_user_dies_with_its_worker() {
    if !can_become() {
        return;
    }
    let home = Home::new();
    let mut command = home.command();
    command.arg("--no-cgroups");
    let life = home.start_with(command);
    let (mut daemon, inventory) = life.attach();
    let pid = daemon.start(given(1, "echo up; exec sleep 1000", nobody()));
    home.first_line(key(1));
    // The guard, which would end it too, does nothing for now.
    kill(life.guard_pid(), Signal::STOP);
    kill(inventory.info.pid, Signal::KILL);
    wait_until("it is gone", || !is_alive(pid));
    kill(life.guard_pid(), Signal::CONT);
}

fn who_is_the_user_already_needs_no_rights() {
    if !can_become() {
        return;
    }
    let home = Home::new();
    // As root, but without the right to become anybody.
    let life = home.start_with(home.command_by(&["setpriv", "--bounding-set=-setuid,-setgid"]));
    let (mut daemon, _) = life.attach();
    let process = Process {
        user: Tail(Some("root".into())),
        ..Process::default()
    };
    assert_eq!(daemon.run(given(1, "id -u; echo $USER", process)).end, End::Exited(0));
    assert_eq!(home.text(key(1), "stdout"), "0\nroot\n");
}
