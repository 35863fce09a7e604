//! What a command finds: its environment, its directory, its descriptors; and what nobody else finds of it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::harness::{World, run, wait_for};

/// The environment a run printed with `env -0`, by name.
fn environment(world: &World, file: &str) -> BTreeMap<String, String> {
    let text = wait_for("the environment to be written", || {
        std::fs::read_to_string(world.path(file))
            .ok()
            .filter(|text| text.ends_with("\0."))
    });
    text.split('\0')
        .filter_map(|var| var.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn print_environment(world: &World, file: &str) -> String {
    let path = world.path(file);
    format!("(env -0; printf .) >{0}.new; mv {0}.new {0}", path.display())
}

#[test]
fn a_run_for_a_fire_time_knows_what_it_is() {
    let world = World::served();
    let line = print_environment(&world, "env");
    world
        .ctl(&[
            "add",
            "--name",
            "tick",
            "--in",
            "1s",
            "--env",
            "OWN=a b",
            "--env",
            "PATH=/usr/bin:/bin",
            "--shell",
            &line,
        ])
        .ok();
    let env = environment(&world, "env");
    let run = world.finished("tick/1");
    let get = |name: &str| env.get(name).map(String::as_str);
    assert_eq!(get("TASKD_TASK"), Some("tick"));
    assert_eq!(get("TASKD_RUN"), Some("tick/1"));
    assert_eq!(get("TASKD_ATTEMPT"), Some("1"));
    assert_eq!(get("TASKD_TRIGGER"), Some("schedule"));
    assert_eq!(get("TASKD_TRIGGER"), run["trigger"].as_str());
    // The one is written with all three digits of the milliseconds, the other without zeros at the end.
    let instant = |text: Option<&str>| text.map(|text| text.trim_end_matches('Z').trim_end_matches('0').to_owned());
    assert_eq!(instant(get("TASKD_FIRE_TIME")), instant(run["fire_time"].as_str()));
    assert_eq!((get("OWN"), get("PATH")), (Some("a b"), Some("/usr/bin:/bin")));
    let parent: Vec<&str> = get("TRACEPARENT").expect("it is set").split('-').collect();
    let [version, trace, span, flags] = parent.as_slice() else {
        panic!("{parent:?}");
    };
    assert_eq!(
        (*version, *trace, *flags),
        ("00", run["trace_id"].as_str().expect("an id"), "01")
    );
    assert!(span.len() == 16 && span.chars().any(|c| c != '0'), "{parent:?}");
}

#[test]
fn a_manual_run_has_no_fire_time_and_nothing_of_the_daemons_own_environment() {
    let world = World::served();
    let line = print_environment(&world, "env");
    world
        .ctl(&["add", "--name", "asked", "--manual", "--shell", &line])
        .ok();
    world.ctl(&["run", "--wait", "asked"]).ok();
    let env = environment(&world, "env");
    assert_eq!(env.get("TASKD_TRIGGER").map(String::as_str), Some("manual"));
    assert_eq!(env.get("HOME").map(Path::new), world.path("x").parent());
    let expected = [
        "HOME",
        "LOGNAME",
        "PATH",
        "PWD",
        "SHELL",
        "TASKD_ATTEMPT",
        "TASKD_RUN",
        "TASKD_RUNNER",
        "TASKD_TASK",
        "TASKD_TRIGGER",
        "TRACEPARENT",
        "TZ",
        "USER",
    ];
    let names: Vec<&str> = env
        .keys()
        .map(String::as_str)
        .filter(|name| !["_", "SHLVL", "OLDPWD", "LANG"].contains(name))
        .collect();
    assert_eq!(names, expected);
}

#[test]
fn the_directory_is_the_home_of_the_owner_unless_another_is_given() {
    let world = World::served();
    world.ctl(&["add", "--name", "home", "--manual", "--", "pwd"]).ok();
    world
        .ctl(&["add", "--name", "there", "--manual", "--cwd", "/usr", "--", "pwd"])
        .ok();
    let home = std::fs::canonicalize(world.path("")).expect("a directory");
    assert_eq!(
        world.ctl(&["run", "--wait", "home"]).ok().trim_end(),
        home.to_str().expect("a path")
    );
    assert_eq!(world.ctl(&["run", "--wait", "there"]).ok(), "/usr\n");
}

fn process(run: &Value) -> String {
    format!("/proc/{}", run["pid"].as_u64().expect("a process"))
}

#[test]
fn a_child_has_three_descriptors_a_session_of_its_own_and_no_signal_blocked() {
    let world = World::served();
    // Not a shell, which blocks signals for a moment each time it forks; and two, whose pipes are not for each other.
    let running = |name: &str| {
        world
            .ctl(&["add", "--name", name, "--manual", "--", "sleep", "1000"])
            .ok();
        world.ctl(&["run", name]).ok();
        wait_for("the run to have begun", || {
            Some(world.run_of(&format!("{name}/1"))).filter(|run| run["pid"].is_u64())
        })
    };
    running("other");
    let proc = process(&running("one"));
    let mut fds: Vec<String> = std::fs::read_dir(format!("{proc}/fd"))
        .expect("a process")
        .map(|entry| {
            entry
                .expect("a descriptor")
                .file_name()
                .into_string()
                .expect("a number")
        })
        .collect();
    fds.sort();
    assert_eq!(fds, ["0", "1", "2"]);
    let open = |fd: u32| std::fs::read_link(format!("{proc}/fd/{fd}")).expect("a descriptor");
    assert_eq!(open(0), Path::new("/dev/null"));
    assert!(open(1).to_string_lossy().starts_with("pipe:"), "{:?}", open(1));
    assert_ne!(open(1), open(2), "the streams cannot be told apart");
    let stat = std::fs::read_to_string(format!("{proc}/stat")).expect("a process");
    let fields: Vec<&str> = stat.rsplit_once(") ").expect("a name").1.split(' ').collect();
    let pid = proc.trim_start_matches("/proc/");
    assert_eq!((fields[2], fields[3]), (pid, pid), "group and session");
    let status = std::fs::read_to_string(format!("{proc}/status")).expect("a process");
    let mask = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).expect("a mask");
        u64::from_str_radix(line.rsplit('\t').next().expect("a number"), 16).expect("hexadecimal")
    };
    assert_eq!((mask("SigBlk:"), mask("SigIgn:")), (0, 0));
}

#[test]
fn secrets_are_in_no_command_line_and_in_no_log_of_ours() {
    let world = World::served();
    let secret = "hunter2hunter2";
    let (env, line) = (format!("TOKEN={secret}"), world.gated_line("s", 0));
    world
        .ctl(&[
            "add",
            "--name",
            "s",
            "--manual",
            "--env",
            &env,
            "--shell",
            &format!(": {secret}; {line}"),
        ])
        .ok();
    let own = process(&world.run_up("s"));
    let contains = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
    for pid in world.processes() {
        for file in ["cmdline", "environ", "comm"] {
            let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            assert!(
                !contains(&bytes),
                "{file} of {pid}: {}",
                String::from_utf8_lossy(&bytes)
            );
        }
    }
    assert!(
        contains(&std::fs::read(format!("{own}/environ")).expect("a process")),
        "the command itself must know it"
    );
    assert!(!contains(&std::fs::read(world.path("log/taskd.log")).expect("the log")));
    assert!(!contains(
        &std::fs::read(world.path("taskd.err")).expect("what the daemon said")
    ));
}

#[test]
fn a_daemon_in_the_background_has_no_file_that_its_starter_left_open() {
    let world = World::new();
    let left = world.path("left-open");
    let places: Vec<String> = ["state", "log", "taskd.toml"]
        .map(|name| world.path(name).display().to_string())
        .into();
    std::fs::write(world.path("taskd.toml"), "").expect("a file");
    let args = [
        "start",
        "--state-dir",
        &places[0],
        "--log-dir",
        &places[1],
        "--config",
        &places[2],
    ];
    let line = format!("exec 9>{}", left.display());
    run(&mut world.after(&line, &world.taskctl(&args))).ok();
    let status = world.ctl(&["status", "--json"]).json();
    for pid in [&status["pid"], &status["runner"]["pid"]] {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a process");
        for file in files.flatten() {
            // One may be closed meanwhile.
            let target = std::fs::read_link(file.path()).unwrap_or_default();
            assert_ne!(target, left, "{pid} has it");
        }
    }
    world.ctl(&["stop"]).ok();
}
