//! The variables of a child.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use jiff::Timestamp;
use taskd_wire::definition::EnvVar;
use taskd_wire::runner::{AttemptKey, EnvFile, Start};

use super::{COOKIE, Host, SpawnError, refuse};
use crate::env_file::read_env_file;
use crate::sys::{Account, CStrings};
use crate::user::home_of;

/// The search path of children when the runner itself has none.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Names that the runner itself sets; a task cannot.
const OWN: [&str; 8] = [
    COOKIE,
    "TASKD_TASK",
    "TASKD_RUN",
    "TASKD_ATTEMPT",
    "TASKD_FIRE_TIME",
    "TASKD_TRIGGER",
    "TASKD_PREVIOUS_OUTCOME",
    "TRACEPARENT",
];

/// The variables of the task: those of its files, then its own.
pub(super) fn given(start: &Start) -> Result<Cow<'_, [EnvVar]>, SpawnError> {
    if start.process.0.env_files.is_empty() {
        return Ok(Cow::Borrowed(&start.env));
    }
    let mut vars = Vec::new();
    for EnvFile { path, optional } in &start.process.0.env_files {
        match read_env_file(Path::new(path)) {
            Ok(read) => vars.extend(read),
            Err(error) if *optional && error.is_absence() => {}
            Err(error) => return Err(SpawnError::env_file(path, &error)),
        }
    }
    vars.extend_from_slice(&start.env);
    Ok(Cow::Owned(vars))
}

/// The variables that a child has from the runner: name and value.
pub(super) type Base<'a> = Cow<'a, [(OsString, OsString)]>;

/// What the runner has for all, unless the task wants none of it; of an account what tells of that.
pub(super) fn base<'a>(host: &'a Host, start: &Start, account: Option<&Account>) -> Base<'a> {
    let Some(account) = account.filter(|_| !start.process.0.clear_env) else {
        return Cow::Borrowed(if start.process.0.clear_env { &[] } else { &host.base });
    };
    let shell = if account.shell.is_empty() {
        OsStr::new("/bin/sh")
    } else {
        &account.shell
    };
    let own = [
        ("HOME", home_of(account).as_os_str()),
        ("SHELL", shell),
        ("USER", &account.name),
        ("LOGNAME", &account.name),
    ];
    let is_own = |name: &OsStr| own.iter().any(|(own, _)| name == *own);
    let others = host.base.iter().filter(|(name, _)| !is_own(name)).cloned();
    let own = own
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Cow::Owned(others.chain(own).collect())
}

/// Base, then the variables of the task, then what the runner says of the run.
pub(super) fn put(
    env: &mut CStrings,
    host: &Host,
    start: &Start,
    base: &[(OsString, OsString)],
    given: &[EnvVar],
) -> Result<(), SpawnError> {
    env.clear();
    let own = |name: &str| OWN.contains(&name);
    let given_names: HashSet<&str> = given.iter().map(|given| given.name.as_str()).collect();
    for (name, value) in base {
        if !name.to_str().is_some_and(|name| given_names.contains(name)) {
            env.push(&[name.as_bytes(), b"=", value.as_bytes()])?;
        }
    }
    // The last of a name counts.
    let mut said = HashSet::new();
    let last = given.iter().rev().filter(|given| said.insert(given.name.as_str()));
    for given in last.collect::<Vec<_>>().into_iter().rev() {
        if given.name.is_empty() || given.name.contains('=') {
            return Err(refuse(libc::EINVAL, ""));
        }
        if !own(&given.name) {
            env.push(&[given.name.as_bytes(), b"=", given.value.as_bytes()])?;
        }
    }
    let AttemptKey { run, attempt, .. } = start.key;
    env.push_variable(COOKIE, host.cookie.of(&start.key))?;
    env.push_variable("TASKD_TASK", &start.task)?;
    env.push_variable("TASKD_RUN", format_args!("{}/{run}", start.task))?;
    env.push_variable("TASKD_ATTEMPT", attempt)?;
    if let Some(at) = start.fire_time_ms.and_then(instant) {
        env.push_variable("TASKD_FIRE_TIME", at)?;
    }
    env.push_variable("TASKD_TRIGGER", &start.trigger)?;
    if let Some(outcome) = &start.previous_outcome.0 {
        env.push_variable("TASKD_PREVIOUS_OUTCOME", outcome)?;
    }
    let span = span_id(host.cookie.instance, &start.key);
    env.push_variable("TRACEPARENT", format_args!("00-{:032x}-{span:016x}-01", start.trace_id))?;
    Ok(())
}

/// RFC 3339 in UTC, with as many digits of the second as it has, as everywhere else.
fn instant(ms: i64) -> Option<impl fmt::Display> {
    Timestamp::from_millisecond(ms).ok()
}

/// An id for the span of an attempt: never zero, another for each attempt and each life of a runner.
fn span_id(instance: u64, key: &AttemptKey) -> u64 {
    // The mixing step of splitmix64.
    let mix = |mut word: u64| {
        word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    };
    let id = mix(mix(mix(instance ^ key.task) ^ key.run) ^ u64::from(key.attempt));
    id.max(1)
}

/// The search path that the child will have, or that its own name is looked up in where it has none.
pub(super) fn search_path<'a>(base: &'a [(OsString, OsString)], given: &'a [EnvVar]) -> &'a OsStr {
    let own = given.iter().rev().find(|given| given.name == "PATH");
    let base = || base.iter().find(|(name, _)| name == "PATH");
    match own {
        Some(own) => OsStr::new(&own.value),
        None => base().map_or(OsStr::new(PATH), |(_, value)| value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::KnownMasks;
    use crate::output::Outputs;
    use crate::spawn::Cookie;
    use std::fs::File;
    use taskd_wire::definition::ActionSpec;

    fn host() -> Host {
        Host {
            base: vec![
                ("PATH".into(), "/usr/bin:/bin".into()),
                ("HOME".into(), "/home/me".into()),
            ],
            home: "/home/me".into(),
            cookie: Cookie { state: 1, instance: 7 },
            null: File::open("/dev/null").expect("a system").into(),
            outputs: Outputs::in_dir("/nowhere".into()),
            groups: None,
            masks: KnownMasks::default(),
        }
    }

    fn start(env: &[(&str, &str)]) -> Start {
        Start {
            key: AttemptKey {
                task: 3,
                run: 42,
                attempt: 2,
            },
            task: "backup".into(),
            trigger: "schedule".into(),
            fire_time_ms: Some(1_700_000_000_000),
            trace_id: 0xabc,
            action: ActionSpec::Exec {
                argv: vec!["sh".into()],
            },
            env: env
                .iter()
                .map(|(name, value)| EnvVar {
                    name: (*name).into(),
                    value: (*value).into(),
                })
                .collect(),
            ..Start::default()
        }
    }

    fn env_of(start: &Start) -> Vec<String> {
        let mut strings = CStrings::default();
        let (host, given) = (host(), given(start).expect("no files"));
        put(&mut strings, &host, start, &base(&host, start, None), &given).expect("valid");
        strings
            .iter()
            .map(|entry| String::from_utf8_lossy(entry).into_owned())
            .collect()
    }

    #[test]
    fn the_environment_is_base_then_task_then_run() {
        let span = span_id(7, &start(&[]).key);
        assert_eq!(
            env_of(&start(&[
                ("HOME", "/elsewhere"),
                ("A", "1"),
                ("A", "2"),
                ("TASKD_RUN", "fake")
            ])),
            [
                "PATH=/usr/bin:/bin".to_owned(),
                "HOME=/elsewhere".to_owned(),
                "A=2".to_owned(),
                "TASKD_RUNNER=0000000000000001:0000000000000007:3.42.2".to_owned(),
                "TASKD_TASK=backup".to_owned(),
                "TASKD_RUN=backup/42".to_owned(),
                "TASKD_ATTEMPT=2".to_owned(),
                "TASKD_FIRE_TIME=2023-11-14T22:13:20Z".to_owned(),
                "TASKD_TRIGGER=schedule".to_owned(),
                format!("TRACEPARENT=00-00000000000000000000000000000abc-{span:016x}-01"),
            ]
        );
    }

    #[test]
    fn a_fire_time_has_as_many_digits_as_it_needs() {
        let said = |ms| instant(ms).map(|at| at.to_string());
        assert_eq!(said(1_700_000_000_250).as_deref(), Some("2023-11-14T22:13:20.25Z"));
        assert_eq!(said(0).as_deref(), Some("1970-01-01T00:00:00Z"));
        let mut manual = start(&[]);
        manual.fire_time_ms = None;
        assert!(!env_of(&manual).iter().any(|entry| entry.starts_with("TASKD_FIRE_TIME")));
    }

    #[test]
    fn names_and_values_that_cannot_be_said_are_refused() {
        for bad in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "x\0y")] {
            let refused = {
                let start = start(&[bad]);
                put(&mut CStrings::default(), &host(), &start, &[], &start.env)
            };
            assert_eq!(refused.expect_err("refused").errno, libc::EINVAL, "{bad:?}");
        }
    }

    #[test]
    fn a_file_stands_between_base_and_task_and_is_read_anew() {
        let directory = tempfile::tempdir().expect("room");
        let path = directory.path().join("env");
        let file = |optional| EnvFile {
            path: path.to_str().expect("text").to_owned(),
            optional,
        };
        let mut start = start(&[("A", "task")]);
        start.process.0.0.env_files = vec![file(false)];
        let absent = given(&start).expect_err("it is not there");
        assert_eq!(
            (absent.errno, absent.what),
            (libc::ENOENT, format!("env-file {}", path.display()))
        );
        std::fs::write(&path, "A=file\nB=1\nPATH=/p").expect("room");
        let entries = env_of(&start);
        assert_eq!(entries[..4], ["HOME=/home/me", "B=1", "PATH=/p", "A=task"]);
        let vars = given(&start).expect("a file");
        assert_eq!(search_path(&host().base, &vars), "/p");
        std::fs::write(&path, "B=2\nsecret").expect("room");
        let wrong = given(&start).expect_err("a line is wrong");
        let what = format!("env-file {}, line 2 has no =", path.display());
        assert_eq!((wrong.errno, wrong.what), (libc::EINVAL, what));
        std::fs::remove_file(&path).expect("it is there");
        start.process.0.0.env_files = vec![file(true)];
        assert!(env_of(&start).contains(&"A=task".to_owned()));
    }

    #[test]
    fn a_cleared_environment_has_what_the_task_and_the_run_say() {
        let mut start = start(&[("A", "1")]);
        start.process.0.0.clear_env = true;
        start.previous_outcome.0 = Some("failed".to_owned());
        let entries = env_of(&start);
        let is_said = |entry: &String| entry.starts_with("TASKD_") || entry.starts_with("TRACEPARENT=");
        assert_eq!(entries[0], "A=1");
        assert!(entries[1..].iter().all(is_said), "{entries:?}");
        assert!(entries.contains(&"TASKD_PREVIOUS_OUTCOME=failed".to_owned()));
        assert_eq!(search_path(&base(&host(), &start, None), &start.env), PATH);
    }

    #[test]
    fn another_user_has_its_own_home_shell_and_name() {
        let account = |home: &str, shell: &str| Account {
            name: "ann".into(),
            uid: 1000,
            gid: 1000,
            home: home.into(),
            shell: shell.into(),
        };
        let variables = |account: &Account, start: &Start| -> Vec<String> {
            let host = host();
            let base = base(&host, start, Some(account));
            let text = |text: &OsString| text.to_str().expect("text").to_owned();
            base.iter()
                .map(|(name, value)| format!("{}={}", text(name), text(value)))
                .collect()
        };
        let mut start = start(&[]);
        let own = ["HOME=/home/ann", "SHELL=/bin/zsh", "USER=ann", "LOGNAME=ann"];
        assert_eq!(
            variables(&account("/home/ann", "/bin/zsh"), &start),
            [["PATH=/usr/bin:/bin"].as_slice(), &own].concat()
        );
        let none = variables(&account("", ""), &start);
        assert_eq!(none[1..3], ["HOME=/", "SHELL=/bin/sh"]);
        start.process.0.0.clear_env = true;
        assert!(variables(&account("/home/ann", "/bin/zsh"), &start).is_empty());
    }
}
