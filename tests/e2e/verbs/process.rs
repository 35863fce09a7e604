//! What processes are given: `--umask`, `--nice`, `--ionice`, `--oom-score-adjust`, `--limit`, `--no-new-privileges`
//! and `--private-tmp`.

use serde_json::{Value, json};

use crate::harness::World;
use crate::verbs::export;

/// All of them, as anybody may have them.
const ALL: [&str; 12] = [
    "--umask",
    "027",
    "--nice",
    "7",
    "--ionice",
    "best-effort:6",
    "--oom-score-adjust",
    "900",
    "--limit",
    "nofile=64:128",
    "--limit",
    "core=0",
];

fn add(world: &World, name: &str, options: &[&str], line: &str) {
    world
        .ctl(&[&["add", "--name", name, "--manual"], options, &["--shell", line]].concat())
        .ok();
}

#[test]
fn a_command_has_what_its_task_gives_it() {
    let world = World::served();
    let line = "umask; ulimit -Sn; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj; \
                cut -d ' ' -f 19 /proc/self/stat; ionice -p $$; grep NoNewPrivs /proc/self/status";
    add(
        &world,
        "given",
        &[ALL.as_slice(), &["--no-new-privileges"]].concat(),
        line,
    );
    assert_eq!(
        world.ctl(&["run", "--wait", "given"]).ok(),
        "0027\n64\n128\n0\n900\n7\nbest-effort: prio 6\nNoNewPrivs:\t1\n"
    );
    add(
        &world,
        "plain",
        &[],
        "cut -d ' ' -f 19 /proc/self/stat; grep NoNewPrivs /proc/self/status",
    );
    let plain = world.ctl(&["run", "--wait", "plain"]).ok();
    // The tests themselves may have another priority.
    let own = std::fs::read_to_string("/proc/self/stat").expect("it is there");
    let (_, fields) = own.rsplit_once(')').expect("it has a name");
    let nice = fields.split_whitespace().nth(16).expect("it has as many");
    let expected = format!("{nice}\nNoNewPrivs:\t0\n");
    assert_eq!(plain, expected, "what one child is given another is not");
}

#[test]
fn what_is_given_is_shown_changed_and_exported() {
    let world = World::served();
    add(
        &world,
        "a",
        &[ALL.as_slice(), &["--no-new-privileges"]].concat(),
        "true",
    );
    let process = || world.ctl(&["show", "a", "--json"]).json()["process"].clone();
    assert_eq!(
        process(),
        json!({
            "umask": "027", "nice": 7, "ionice": "best-effort:6", "oom_score_adjust": 900,
            "limits": ["core=0", "nofile=64:128"], "no_new_privileges": true, "clear_env": false, "env_files": [],
            "stdin": null, "private_tmp": false, "user": null, "memory_max": null, "cpu_max": null, "pids_max": null
        })
    );
    let shown = world.ctl(&["show", "a"]).ok();
    assert!(
        shown.contains("umask 027, nice 7, I/O best-effort:6, OOM score +900, limits core=0 nofile=64:128, no new"),
        "{shown}"
    );
    export::is_whole(&world, &[]);
    world
        .ctl(&["edit", "a", "--nice", "", "--limit", "core=", "--limit", "stack=8M"])
        .ok();
    let changed = process();
    assert_eq!((&changed["nice"], &changed["umask"]), (&Value::Null, &json!("027")));
    assert_eq!(changed["limits"], json!(["nofile=64:128", "stack=8388608"]));
    let none = ["--umask", "", "--ionice", "", "--oom-score-adjust", "", "--limit", ""];
    world
        .ctl(&[&["edit", "a"], none.as_slice(), &["--no-new-privileges", "false"]].concat())
        .ok();
    assert!(!world.ctl(&["show", "a"]).ok().contains("process"));
}

#[test]
fn what_cannot_be_given_is_refused_with_its_column_and_cure() {
    let world = World::served();
    for (wrong, says) in [
        (
            ["--umask", "99"],
            "  --umask 99\n          ^^\nhint: write three octal digits",
        ),
        (["--nice", "x"], "  --nice x\n         ^\nhint: write digits"),
        (["--nice", "20"], "--nice 20: there is no such priority"),
        (["--ionice", "idel"], "hint: did you mean idle?"),
        (
            ["--oom-score-adjust", "-1001"],
            "--oom-score-adjust -1001: there is no such adjustment",
        ),
        (
            ["--limit", "nofiel=9"],
            "  --limit nofiel=9\n          ^^^^^^\nhint: did you mean nofile?",
        ),
        (["--limit", "nofile=9:8"], "  --limit nofile=9:8\n                 ^^^"),
        (["--limit", "nofile=unlimited"], "hint: write nofile="),
    ] {
        let add = ["add", "--name", "a", "--manual"];
        let said = world
            .ctl(&[add.as_slice(), &wrong, &["--", "true"]].concat())
            .refused(2);
        assert!(said.contains(says), "{said}");
    }
    world.ctl(&["show", "a"]).refused(4);
}

#[test]
fn a_command_may_have_its_own_tmp() {
    let world = World::served();
    let may = || {
        let status = std::fs::read_to_string("/proc/self/status").expect("a system");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))
            .expect("it has rights");
        u64::from_str_radix(line.trim(), 16).expect("hexadecimal") >> 21 & 1 == 1
    };
    let add = ["add", "--name", "t", "--manual", "--cwd", "/", "--private-tmp"];
    let line = "ls -A /tmp /var/tmp; : >/tmp/left; stat -c %a /tmp; : >/var/tmp/left && ls /tmp /var/tmp";
    let add = [add.as_slice(), &["--shell", line]].concat();
    if !may() {
        let said = world.ctl(&add).refused(2);
        assert!(said.contains("--private-tmp: only root may"), "{said}");
        return;
    }
    world.ctl(&add).ok();
    let fresh = "/tmp:\n\n/var/tmp:\n1777\n/tmp:\nleft\n\n/var/tmp:\nleft\n";
    for _ in 0..2 {
        assert_eq!(world.ctl(&["run", "--wait", "t"]).ok(), fresh);
    }
    let mounts = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("a process");
    for pid in [std::process::id(), world.pid(), world.runner_pid()] {
        assert!(!mounts(pid).contains(" taskd "), "others see it");
    }
    assert!(world.ctl(&["show", "t"]).ok().contains("its own /tmp"));
    export::is_whole(&world, &[]);
    world
        .ctl(&[
            "edit",
            "t",
            "--private-tmp",
            "false",
            "--cwd",
            "/",
            "--shell",
            "ls -d /tmp",
        ])
        .ok();
    assert_eq!(
        world.ctl(&["show", "t", "--json"]).json()["process"]["private_tmp"],
        false
    );
}
