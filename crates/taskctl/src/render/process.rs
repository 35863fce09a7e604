//! What processes are given, in words, and what to do when it cannot be.

use rustix::io::Errno;
use taskd_wire::client::RunInfo;
use taskd_wire::definition::ProcessSpec;

/// What was chosen; nothing where nothing was.
pub fn given(spec: &ProcessSpec) -> Option<String> {
    let chosen = [
        spec.user.0.as_ref().map(|user| format!("user {user}")),
        spec.umask.as_ref().map(|mask| format!("umask {mask}")),
        spec.nice.map(|nice| format!("nice {nice}")),
        spec.ionice.as_ref().map(|io| format!("I/O {io}")),
        spec.oom_score_adjust.map(|adjust| format!("OOM score {adjust:+}")),
        (!spec.limits.is_empty()).then(|| format!("limits {}", spec.limits.join(" "))),
        spec.no_new_privileges.then(|| "no new privileges".to_owned()),
        spec.private_tmp.then(|| "its own /tmp".to_owned()),
        spec.memory_max.0.as_ref().map(|size| format!("memory at most {size}")),
        spec.cpu_max.0.as_ref().map(|share| format!("CPU at most {share}")),
        spec.pids_max.0.map(|pids| format!("processes at most {pids}")),
        spec.clear_env.then(|| "no variables but its own".to_owned()),
    ];
    let chosen: Vec<String> = chosen.into_iter().flatten().collect();
    (!chosen.is_empty()).then(|| chosen.join(", "))
}

/// What to do about a run that could not be started; nothing where nobody knows.
pub fn cure(run: &RunInfo) -> Option<String> {
    if run.outcome.as_deref() == Some("skipped") {
        return Some(format!(
            "`taskctl run {0} --skip-gates` runs it all the same, and `taskctl edit {0} --gate-wait D` has runs wait",
            run.task
        ));
    }
    if run.outcome.as_deref() != Some("spawn-failed") {
        return None;
    }
    let reason = run.reason.as_deref()?;
    let step = reason.split([' ', ':', ',']).next()?;
    let errno = errno(reason);
    let task = &run.task;
    Some(match step {
        "chdir" if errno == Some(Errno::NOENT) && is_in_tmp(reason) => format!(
            "make the directory, or choose another with `taskctl edit {task} --cwd DIR`; a task with --private-tmp finds \
             nothing in /tmp when a run begins"
        ),
        "chdir" => format!(
            "make the directory, or let its user enter it, or choose another with `taskctl edit {task} --cwd DIR`"
        ),
        "env-file" if errno == Some(Errno::NOENT) => {
            format!("make the file, or do without: `taskctl edit {task} --env-file ''`, or FILE with - before it")
        }
        "env-file" => format!("mend the file, or do without: `taskctl edit {task} --env-file ''`"),
        "exec" => match errno? {
            Errno::NOENT => format!(
                "see that the program is there, in the PATH of the task if its name has no /, and that what its first line \
                 names after #! is there; `taskctl edit {task} -- COMMAND` changes the command"
            ),
            Errno::ACCESS => {
                "let its user execute the program, with `chmod +x`, and enter the directories above it".to_owned()
            }
            Errno::NOEXEC => {
                "begin a script with what it is for, such as #!/bin/sh; a program must be one for this machine"
                    .to_owned()
            }
            _ => return None,
        },
        "gates" => "the daemon starts a new runner when the old one has ended, which it does once nothing runs: \
                     `taskctl stop`, then `taskctl start`"
            .to_owned(),
        "stdin" => format!(
            "make the file, or let its user read it, or choose what is read with `taskctl edit {task} --stdin TEXT|@FILE`"
        ),
        "limit" => format!(
            "the runner may not go above its own hard limit; change it with `taskctl edit {task} --limit NAME=SOFT`"
        ),
        "user" => format!("make the account, or choose another user with `taskctl edit {task} --user NAME`"),
        "setgroups" | "setresgid" | "setresuid" | "drop-root" => format!(
            "the runner may not run commands as another user; have the system's daemon run the task, or do without: \
             `taskctl edit {task} --user ''`"
        ),
        "nice" | "ionice" | "oom-score-adjust" => {
            format!("the runner has not the rights for it; `taskctl edit {task} --{step} ''` does without")
        }
        "no-new-privileges" | "private-tmp" => {
            format!("the system does not let the runner; `taskctl edit {task} --{step} false` does without")
        }
        "memory-max" | "cpu-max" | "pids-max" => format!(
            "run the runner as a service of its own with Delegate=yes (`taskctl status` says what it has), or do without: \
             `taskctl edit {task} --{step} ''`"
        ),
        _ => return None,
    })
}

/// The system's number for what is wrong, which stands at the end of a reason.
fn errno(reason: &str) -> Option<Errno> {
    let (_, number) = reason.trim_end_matches(')').rsplit_once("(os error ")?;
    number.parse().ok().map(Errno::from_raw_os_error)
}

/// Whether what could not be entered is in a directory that `--private-tmp` replaces.
fn is_in_tmp(reason: &str) -> bool {
    ["chdir /tmp/", "chdir /var/tmp/"]
        .iter()
        .any(|place| reason.starts_with(place))
}

#[cfg(test)]
mod tests {
    use taskd_wire::codec::Tail;

    use super::*;

    #[test]
    fn what_was_chosen_reads_as_it_may_be_typed() {
        assert_eq!(given(&ProcessSpec::default()), None);
        let spec = ProcessSpec {
            umask: Some("027".into()),
            nice: Some(-5),
            ionice: Some("idle".into()),
            oom_score_adjust: Some(500),
            limits: vec!["as=1".into(), "nofile=2:3".into()],
            no_new_privileges: true,
            clear_env: true,
            private_tmp: true,
            user: Tail(Some("ann".into())),
            memory_max: Tail(Some("512M".into())),
            cpu_max: Tail(Some("150%".into())),
            pids_max: Tail(Some(64)),
            ..ProcessSpec::default()
        };
        assert_eq!(
            given(&spec).as_deref(),
            Some(
                "user ann, umask 027, nice -5, I/O idle, OOM score +500, limits as=1 nofile=2:3, no new privileges, its own /tmp, memory at most 512M, CPU at most 150%, processes at most 64, no variables but its own"
            )
        );
    }

    #[test]
    fn what_failed_has_a_cure_where_there_is_one() {
        let run = |outcome: &str, reason: &str| RunInfo {
            task: "a".into(),
            outcome: Some(outcome.into()),
            reason: Some(reason.into()),
            ..RunInfo::default()
        };
        let of = |reason: &str| cure(&run("spawn-failed", reason)).unwrap_or_default();
        assert!(of("limit nofile: Operation not permitted (os error 1)").contains("--limit"));
        assert!(of("nice: Permission denied (os error 13)").contains("taskctl edit a --nice ''"));
        assert!(of("chdir /x: No such file or directory (os error 2)").contains("--cwd"));
        assert!(of("user ann, there is no such account: x (os error 2)").contains("edit a --user NAME"));
        for step in ["setgroups", "setresgid", "setresuid", "drop-root"] {
            let cure = of(&format!("{step} ann: Operation not permitted (os error 1)"));
            assert!(cure.contains("edit a --user ''"), "{step}: {cure}");
        }
        assert_eq!(of("users, of which the runner knows nothing: restart it: x"), "");
        assert!(of("pids-max 8, the runner has no controller pids: x (os error 95)").contains("Delegate=yes"));
        assert!(of("memory-max 1G, the runner makes no control groups: x").contains("edit a --memory-max ''"));
        assert_eq!(of("launcher: Input/output error (os error 5)"), "");
        assert_eq!(cure(&run("failed", "nice: x")), None);
    }

    #[test]
    fn a_cure_is_for_what_is_wrong_with_a_file() {
        let of = |reason: &str| {
            let run = RunInfo {
                task: "a".into(),
                outcome: Some("spawn-failed".into()),
                reason: Some(reason.into()),
                ..RunInfo::default()
            };
            cure(&run).unwrap_or_default()
        };
        assert!(of("env-file /x: No such file or directory (os error 2)").contains("FILE with - before it"));
        for bad in [
            "line 2 has no =: Invalid argument (os error 22)",
            "it has more than 5 bytes: x (os error 27)",
        ] {
            let cure = of(&format!("env-file /x, {bad}"));
            assert!(
                cure.starts_with("mend the file") && !cure.contains("before it"),
                "{bad}: {cure}"
            );
        }
        let absent = of("exec /x: No such file or directory (os error 2)");
        assert!(absent.contains("PATH") && absent.contains("#!"), "{absent}");
        assert!(of("exec /x: Permission denied (os error 13)").contains("chmod +x"));
        assert!(of("exec /x: Exec format error (os error 8)").contains("#!/bin/sh"));
        assert_eq!(of("exec: Argument list too long (os error 7)"), "");
        for (dir, named) in [
            ("/tmp/x", true),
            ("/var/tmp/x", true),
            ("/tmpx", false),
            ("/srv/tmp/x", false),
        ] {
            let cure = of(&format!("chdir {dir}: No such file or directory (os error 2)"));
            assert!(cure.contains("--cwd DIR"), "{cure}");
            assert_eq!(cure.contains("--private-tmp"), named, "{dir}: {cure}");
        }
        assert!(!of("chdir /tmp/x: Permission denied (os error 13)").contains("--private-tmp"));
    }
}
