use std::os::unix::fs::PermissionsExt;

use clap::Parser as _;

use super::*;

/// Resolves for a command line, an environment (`A=b C=d`) and a user whose home is `/home/u`, unless it is `None`.
fn resolve(line: &str, env: &str, uid: u32, home: Option<&str>) -> Result<Paths, PathsError> {
    let args = Args::try_parse_from(format!("taskd {line}").split_whitespace()).unwrap();
    let vars: Vec<(String, OsString)> = env
        .split_whitespace()
        .map(|pair| pair.split_once('=').expect("NAME=VALUE"))
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let look = |name: &str| vars.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
    let home = home.map(PathBuf::from);
    Paths::settle(
        &args,
        &Surroundings {
            env: &look,
            uid,
            user: UserDirs {
                config: home.as_ref().map(|home| home.join(".config/taskd")),
                state: home.as_ref().map(|home| home.join(".local/state/taskd")),
                runtime: look("XDG_RUNTIME_DIR").map(|dir| Path::new(&dir).join("taskd")),
            },
            cwd: &|| Ok("/cwd".into()),
        },
    )
}

/// config, state, socket, log, runner's socket, in one line.
fn shown(paths: &Paths) -> String {
    [
        &paths.config,
        &paths.state_dir,
        &paths.socket,
        &paths.log_dir,
        &paths.runner_socket,
    ]
    .map(|path| path.display().to_string())
    .join(" ")
}

#[test]
fn the_first_that_speaks_settles_a_place() {
    const ROOT: &str =
        "/etc/taskd/taskd.toml /var/lib/taskd /run/taskd/taskd.sock /var/log/taskd /var/lib/taskd/runner.sock";
    const SYSTEMD: &str =
        "CONFIGURATION_DIRECTORY=/c:/c2 STATE_DIRECTORY=/s:/s2 RUNTIME_DIRECTORY=/r:/r2 LOGS_DIRECTORY=/l:/l2";
    let rows = [
        // arguments, environment, uid, places
        ("", "", 0, ROOT),
        ("", "HOME=/root XDG_RUNTIME_DIR=/run/user/0", 0, ROOT),
        (
            "",
            "TASKD_SOCKET= RUNTIME_DIRECTORY= STATE_DIRECTORY= LOGS_DIRECTORY= CONFIGURATION_DIRECTORY=",
            0,
            ROOT,
        ),
        (
            "",
            "XDG_RUNTIME_DIR=/run/user/7",
            7,
            "/home/u/.config/taskd/taskd.toml /home/u/.local/state/taskd /run/user/7/taskd/taskd.sock \
             /home/u/.local/state/taskd/log /home/u/.local/state/taskd/runner.sock",
        ),
        (
            "",
            "",
            7,
            "/home/u/.config/taskd/taskd.toml /home/u/.local/state/taskd /home/u/.local/state/taskd/taskd.sock \
             /home/u/.local/state/taskd/log /home/u/.local/state/taskd/runner.sock",
        ),
        ("", SYSTEMD, 0, "/c/taskd.toml /s /r/taskd.sock /l /s/runner.sock"),
        ("", SYSTEMD, 7, "/c/taskd.toml /s /r/taskd.sock /l /s/runner.sock"),
        (
            "",
            "TASKD_SOCKET=/t.sock RUNTIME_DIRECTORY=/r",
            0,
            "/etc/taskd/taskd.toml /var/lib/taskd /t.sock /var/log/taskd /var/lib/taskd/runner.sock",
        ),
        (
            "--socket /a.sock --config /a.toml --state-dir /a --log-dir /alog",
            "TASKD_SOCKET=/t.sock CONFIGURATION_DIRECTORY=/c STATE_DIRECTORY=/s RUNTIME_DIRECTORY=/r LOGS_DIRECTORY=/l",
            0,
            "/a.toml /a /a.sock /alog /a/runner.sock",
        ),
        (
            "--state-dir /a",
            "",
            0,
            "/etc/taskd/taskd.toml /a /run/taskd/taskd.sock /a/log /a/runner.sock",
        ),
        (
            "--state-dir /a",
            "LOGS_DIRECTORY=/l",
            0,
            "/etc/taskd/taskd.toml /a /run/taskd/taskd.sock /l /a/runner.sock",
        ),
        (
            "--socket s --config c --state-dir d --log-dir l",
            "",
            0,
            "/cwd/c /cwd/d /cwd/s /cwd/l /cwd/d/runner.sock",
        ),
    ];
    for (line, env, uid, places) in rows {
        let paths = resolve(line, env, uid, Some("/home/u")).unwrap();
        assert_eq!(shown(&paths), places, "taskd {line} with {env} as {uid}");
        assert_eq!(paths.config_required, line.contains("--config"), "{line}");
    }
}

#[test]
fn a_user_without_home_must_say_where() {
    let error = resolve("", "", 7, None).unwrap_err().to_string();
    assert!(error.contains("give --config"), "{error}");
    let error = resolve("--config /c", "", 7, None).unwrap_err().to_string();
    assert!(error.contains("give --state-dir"), "{error}");
    assert!(resolve("--config /c --state-dir /s", "", 7, None).is_ok());
    assert!(resolve("", "", 0, None).is_ok(), "root's places need no home");
}

#[test]
fn a_socket_path_may_have_107_bytes() {
    let path = |length: usize| format!("/{}", "x".repeat(length - 1));
    assert!(resolve(&format!("--socket {}", path(107)), "", 0, None).is_ok());
    let error = resolve(&format!("--socket {}", path(108)), "", 0, None)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("has 108 bytes and the system allows 107") && error.contains("--socket"),
        "{error}"
    );
}

#[test]
fn the_runners_socket_moves_only_when_it_must() {
    // `/runner.sock` has 12 bytes.
    let state = |length: usize| format!("--state-dir /{} --socket /run/a.sock", "x".repeat(length - 1));
    let paths = resolve(&state(95), "", 0, None).unwrap();
    assert_eq!(paths.runner_socket, paths.state_dir.join("runner.sock"));
    let paths = resolve(&state(96), "", 0, None).unwrap();
    assert_eq!(paths.runner_socket, Path::new("/run/a.runner.sock"));

    let configured = paths
        .clone()
        .with_runner_socket(Some(Path::new("/run/else.sock")))
        .unwrap();
    assert_eq!(configured.runner_socket, Path::new("/run/else.sock"));
    assert_eq!(paths.clone().with_runner_socket(None).unwrap(), paths);
    let long = format!("/{}", "x".repeat(107));
    assert!(paths.with_runner_socket(Some(Path::new(&long))).is_err());
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn directories_are_made_with_their_final_mode() {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths {
        config: "/none".into(),
        config_required: false,
        state_dir: dir.path().join("var/state"),
        socket: dir.path().join("run/taskd/taskd.sock"),
        log_dir: dir.path().join("log"),
        runner_socket: dir.path().join("var/state/runner.sock"),
    };
    paths.create().unwrap();
    paths.create().unwrap();
    assert_eq!(mode(&paths.state_dir), 0o700);
    assert_eq!(mode(&paths.log_dir), 0o700);
    assert_eq!(mode(&dir.path().join("run/taskd")), 0o700);
}

#[test]
fn a_state_directory_open_to_others_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let uid = rustix::process::geteuid().as_raw();
    let open = |mode: u32| {
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(mode)).unwrap();
        trusted(dir.path(), uid)
    };
    assert!(open(0o755).is_ok() && open(0o700).is_ok());
    assert!(matches!(open(0o707), Err(PathsError::Open { .. })));
    assert!(matches!(open(0o770), Err(PathsError::Open { .. })), "to a group");
    assert!(matches!(open(0o1777), Err(PathsError::Open { .. })), "such as /tmp");
    open(0o700).unwrap();
    assert!(matches!(trusted(dir.path(), uid + 1), Err(PathsError::Foreign { .. })));
    if uid == 0 {
        std::os::unix::fs::chown(dir.path(), Some(12345), None).unwrap();
        let refused = trusted(dir.path(), uid);
        assert!(
            matches!(refused, Err(PathsError::Foreign { .. })),
            "root would run what that user wants"
        );
    }
}

#[test]
fn what_stands_in_the_way_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = make(&file.join("below"), 0o700).unwrap_err();
    assert!(error.to_string().contains("file/below"), "{error}");
}

#[test]
fn a_working_directory_that_is_gone_matters_only_to_relative_paths() {
    let settle = |args: &str| {
        Paths::settle(
            &Args::try_parse_from(format!("taskd {args}").split_whitespace()).unwrap(),
            &Surroundings {
                env: &|_| None,
                uid: 0,
                user: UserDirs::default(),
                cwd: &|| Err(io::ErrorKind::NotFound.into()),
            },
        )
    };
    assert!(settle("--state-dir /a --socket /s").is_ok());
    for relative in ["--state-dir a", "--socket s", "--log-dir l", "--config c"] {
        assert!(
            matches!(settle(relative), Err(PathsError::NoWorkingDirectory(_))),
            "{relative}"
        );
    }
}
