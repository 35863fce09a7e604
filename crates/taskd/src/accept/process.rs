//! What the processes of a task are given.

use std::io::ErrorKind;
use std::path::Path;

use taskd_core::process::caps::{PIDS_MAX, memory_text, parse_cpu, parse_memory};
use taskd_core::process::{
    ENV_FILES_MAX, EnvFile, IoPriority, Limit, NICE, OOM_SCORE_ADJUST, Process, Resource, STDIN_MAX, Stdin, Unreadable,
    parse_umask,
};
use taskd_runner::{EnvFileError, read_env_file};
use taskd_wire::codec::Tail;
use taskd_wire::definition::{ProcessPatch, ProcessSpec};
use taskd_wire::refusal::Refusal;

use super::user::user;
use super::{bad, within};
use crate::powers::Powers;

/// What was typed of a new task.
pub(super) fn process(spec: ProcessSpec, powers: &Powers) -> Result<Process, Refusal> {
    let set = |is: bool| is.then_some(true);
    let patch = ProcessPatch {
        umask: spec.umask.map(Some),
        nice: spec.nice.map(Some),
        ionice: spec.ionice.map(Some),
        oom_score_adjust: spec.oom_score_adjust.map(Some),
        limits: spec.limits,
        no_new_privileges: set(spec.no_new_privileges),
        clear_env: set(spec.clear_env),
        env_files: Some(spec.env_files),
        stdin: spec.stdin.map(Some),
        private_tmp: set(spec.private_tmp),
        user: Tail(spec.user.0.map(Some)),
        memory_max: Tail(spec.memory_max.0.map(Some)),
        cpu_max: Tail(spec.cpu_max.0.map(Some)),
        pids_max: Tail(spec.pids_max.0.map(Some)),
    };
    patched(Process::default(), patch, powers)
}

/// What is changed of a task.
pub(super) fn patched(mut process: Process, patch: ProcessPatch, powers: &Powers) -> Result<Process, Refusal> {
    if let Some(text) = patch.umask {
        let mask = |text: String| parse_umask(&text).map_err(|error| unreadable("umask", &text, error));
        process.umask = text.map(mask).transpose()?;
    }
    if let Some(number) = patch.nice {
        process.nice = number.map(|number| nice(number, powers)).transpose()?;
    }
    if let Some(text) = patch.ionice {
        process.io = text.map(|text| io(&text, powers)).transpose()?;
    }
    if let Some(number) = patch.oom_score_adjust {
        process.oom_score_adjust = number.map(|number| oom_score_adjust(number, powers)).transpose()?;
    }
    for text in patch.limits {
        if text.is_empty() {
            process.limits.clear();
        } else if let Some(name) = text.strip_suffix('=') {
            let resource = Limit::resource(&text, name).map_err(|error| unreadable("limit", &text, error))?;
            process.unset_limit(resource);
        } else {
            process.set_limit(limit(&text, powers)?);
        }
    }
    if let Some(is) = patch.no_new_privileges {
        process.no_new_privileges = is;
    }
    if let Some(is) = patch.clear_env {
        process.clear_env = is;
    }
    if let Some(is) = patch.private_tmp {
        if is && !powers.may_mount() {
            let problem = "only root may give its processes directories that others do not see";
            let cure = "leave it out, or have the system's daemon run the task";
            return Err(bad("private-tmp", "", problem, Some(cure)));
        }
        process.private_tmp = is;
    }
    if let Some(typed) = patch.user.0 {
        process.user = typed.map(|typed| user(&typed, powers)).transpose()?;
    }
    if let Some(typed) = patch.stdin {
        process.stdin = typed.as_deref().map(stdin).transpose()?;
    }
    if let Some(paths) = patch.env_files {
        within("files of variables of a task", ENV_FILES_MAX as u64, paths.len() as u64)?;
        process.env_files = paths.iter().map(|path| env_file(path)).collect::<Result<_, _>>()?;
    }
    if let Some(text) = patch.memory_max.0 {
        let memory = |text: String| parse_memory(&text).map_err(|error| unreadable("memory-max", &text, error));
        process.caps.memory = text.map(memory).transpose()?;
    }
    if let Some(text) = patch.cpu_max.0 {
        let cpu = |text: String| parse_cpu(&text).map_err(|error| unreadable("cpu-max", &text, error));
        process.caps.cpu = text.map(cpu).transpose()?;
    }
    if let Some(number) = patch.pids_max.0 {
        process.caps.pids = number.map(pids_max).transpose()?;
    }
    if let Some(memory) = process.caps.memory
        && process.oom_score_adjust == Some(OOM_SCORE_ADJUST.0)
    {
        let problem = "what is never killed for memory cannot be held to a cap on it";
        let cure = "leave it out, or write --oom-score-adjust -999 or more";
        return Err(bad("memory-max", &memory_text(memory), problem, Some(cure)));
    }
    Ok(process)
}

fn pids_max(number: u32) -> Result<u32, Refusal> {
    if (1..=PIDS_MAX).contains(&number) {
        return Ok(number);
    }
    let cure = format!("write a number from 1, which lets the command start nothing, to {PIDS_MAX}");
    let problem = "so many processes can be held to by no cap";
    Err(bad("pids-max", &number.to_string(), problem, Some(&cure)))
}

pub(super) fn unreadable(field: &str, text: &str, error: Unreadable) -> Refusal {
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let (from, to) = error.span;
    Refusal::BadField {
        field: field.to_owned(),
        text: text.to_owned(),
        at: Some((narrow(from), narrow(to.saturating_sub(from)))),
        problem: error.problem.to_owned(),
        cure: Some(error.cure),
    }
}

fn stdin(typed: &str) -> Result<Stdin, Refusal> {
    let Some(stdin) = Stdin::parse(typed) else {
        let problem = "the path of a file to read must be absolute";
        let cure = "begin it with @/, or write @@ for a text that begins with @";
        return Err(bad("stdin", typed, problem, Some(cure)));
    };
    if let Stdin::Text { text } = &stdin {
        within(
            "bytes of --stdin; a file may have more, as @FILE,",
            STDIN_MAX as u64,
            text.len() as u64,
        )?;
    }
    Ok(stdin)
}

fn env_file(text: &str) -> Result<EnvFile, Refusal> {
    EnvFile::parse(text).ok_or_else(|| {
        let problem = "the path of a file of variables must be absolute";
        bad(
            "env-file",
            text,
            problem,
            Some("begin it with /, or with -/ if it need not be there"),
        )
    })
}

/// Reads files of variables, as a start will do, so that it is known whether they can be. It may block.
pub(crate) fn read_env_files(files: &[EnvFile]) -> Result<(), Refusal> {
    for file in files {
        match read_env_file(Path::new(&file.path)) {
            Ok(_) => {}
            Err(error) if file.optional && error.is_absence() => {}
            Err(error) => {
                let cure = match error {
                    EnvFileError::Unreadable(ref io) if io.kind() == ErrorKind::NotFound => {
                        Some("write - before the path of a file that need not be there")
                    }
                    EnvFileError::Unreadable(_) | EnvFileError::NoFile => {
                        Some("name a file that the daemon's user may read")
                    }
                    EnvFileError::TooLong => None,
                    EnvFileError::Line { .. } => Some("write a variable as NAME=VALUE, a line each"),
                };
                return Err(bad("env-file", &file.path, error.to_string(), cure));
            }
        }
    }
    Ok(())
}

fn nice(number: i32, powers: &Powers) -> Result<i32, Refusal> {
    let (least, most) = NICE;
    if !(least..=most).contains(&number) {
        let (problem, cure) = (
            "there is no such priority",
            "write a number from -20, which comes first, to 19",
        );
        return Err(bad("nice", &number.to_string(), problem, Some(cure)));
    }
    if number < powers.nice_min() {
        let problem = "only root may have its processes come before those of others";
        let cure = format!(
            "write {} or more, or have the system's daemon run the task",
            powers.nice_min()
        );
        return Err(bad("nice", &number.to_string(), problem, Some(&cure)));
    }
    Ok(number)
}

fn io(text: &str, powers: &Powers) -> Result<IoPriority, Refusal> {
    let io = IoPriority::parse(text).map_err(|error| unreadable("ionice", text, error))?;
    if !powers.may_have_io(io) {
        let problem = "only root may have its processes come before all others";
        let cure = "write best-effort:0, which comes first of the rest";
        return Err(bad("ionice", text, problem, Some(cure)));
    }
    Ok(io)
}

fn oom_score_adjust(number: i32, powers: &Powers) -> Result<i32, Refusal> {
    let (least, most) = OOM_SCORE_ADJUST;
    let text = number.to_string();
    if !(least..=most).contains(&number) {
        let cure = "write a number from -1000, which keeps it from being killed, to 1000";
        return Err(bad(
            "oom-score-adjust",
            &text,
            "there is no such adjustment",
            Some(cure),
        ));
    }
    if number < powers.oom_min() {
        let problem = "only root may have others killed before its processes";
        let cure = format!("write {} or more", powers.oom_min());
        return Err(bad("oom-score-adjust", &text, problem, Some(&cure)));
    }
    Ok(number)
}

fn limit(text: &str, powers: &Powers) -> Result<Limit, Refusal> {
    let limit = Limit::parse(text).map_err(|error| unreadable("limit", text, error))?;
    if let Some(most) = powers.less_than(&limit) {
        let name = limit.resource;
        let problem = format!("the daemon may give its runs {most} of {name} at most");
        let whose = match name {
            Resource::Nofile => "; the daemon's own limit, and fs.nr_open, bound it",
            _ => "; the daemon's own limit bounds it",
        };
        let cure = format!("write {name}={most} or less{whose}");
        return Err(bad("limit", text, problem, Some(&cure)));
    }
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(set: impl FnOnce(&mut ProcessSpec)) -> ProcessSpec {
        let mut spec = ProcessSpec::default();
        set(&mut spec);
        spec
    }

    fn refused(spec: ProcessSpec, powers: &Powers) -> (String, String) {
        match process(spec, powers) {
            Err(Refusal::BadField { field, cure, .. }) => (field, cure.unwrap_or_default()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_nobody_can_have_is_refused_with_the_cure() {
        let all = Powers::all();
        for (spec, field, says) in [
            (spec(|spec| spec.umask = Some("99".into())), "umask", "027"),
            (spec(|spec| spec.nice = Some(20)), "nice", "to 19"),
            (spec(|spec| spec.nice = Some(-21)), "nice", "-20"),
            (
                spec(|spec| spec.ionice = Some("idel".into())),
                "ionice",
                "did you mean idle?",
            ),
            (
                spec(|spec| spec.oom_score_adjust = Some(1001)),
                "oom-score-adjust",
                "1000",
            ),
            (
                spec(|spec| spec.limits = vec!["nofiel=5".into()]),
                "limit",
                "did you mean nofile?",
            ),
            (
                spec(|spec| spec.limits = vec!["nofile=unlimited".into()]),
                "limit",
                "fs.nr_open",
            ),
        ] {
            let (of, cure) = refused(spec, &all);
            assert!(of == field && cure.contains(says), "{of}: {cure}");
        }
        for (spec, field, says) in [
            (spec(|spec| spec.memory_max.0 = Some("1K".into())), "memory-max", "1M"),
            (
                spec(|spec| spec.cpu_max.0 = Some("2".into())),
                "cpu-max",
                "2% of one core, or 2-cores",
            ),
            (spec(|spec| spec.pids_max.0 = Some(0)), "pids-max", "from 1"),
            (
                spec(|spec| spec.pids_max.0 = Some(PIDS_MAX + 1)),
                "pids-max",
                "to 4194304",
            ),
            (
                spec(|spec| (spec.memory_max.0, spec.oom_score_adjust) = (Some("1G".into()), Some(-1000))),
                "memory-max",
                "-999",
            ),
        ] {
            let (of, cure) = refused(spec, &all);
            assert!(of == field && cure.contains(says), "{of}: {cure}");
        }
        let most = spec(|spec| {
            (spec.nice, spec.oom_score_adjust) = (Some(-20), Some(-1000));
            (spec.ionice, spec.limits) = (Some("realtime".into()), vec!["nofile=1M".into(), "nproc=2M".into()]);
        });
        assert!(process(most, &all).is_ok());
    }

    #[test]
    fn what_needs_rights_that_the_daemon_has_not_is_refused() {
        let none = Powers::none();
        for (spec, field) in [
            (spec(|spec| spec.nice = Some(-1)), "nice"),
            (spec(|spec| spec.ionice = Some("realtime:7".into())), "ionice"),
            (spec(|spec| spec.oom_score_adjust = Some(-1)), "oom-score-adjust"),
            (spec(|spec| spec.private_tmp = true), "private-tmp"),
            (spec(|spec| spec.limits = vec!["nofile=1:4097".into()]), "limit"),
            (spec(|spec| spec.limits = vec!["nproc=unlimited".into()]), "limit"),
        ] {
            assert_eq!(refused(spec, &none).0, field);
        }
        let least = spec(|spec| {
            (spec.nice, spec.oom_score_adjust) = (Some(0), Some(0));
            (spec.ionice, spec.limits) = (Some("idle".into()), vec!["nofile=4K".into(), "stack=unlimited".into()]);
        });
        assert!(process(least, &none).is_ok());
    }

    #[test]
    fn a_change_leaves_the_rest_as_it_is() {
        let before = spec(|spec| {
            (spec.nice, spec.umask) = (Some(5), Some("077".into()));
            (spec.limits, spec.no_new_privileges) = (vec!["core=0".into(), "nofile=9".into()], true);
        });
        let before = process(before, &Powers::all()).expect("it is right");
        let patch = ProcessPatch {
            nice: Some(None),
            limits: vec!["core=".into(), "nofile=10".into()],
            ..ProcessPatch::default()
        };
        let after = patched(before.clone(), patch, &Powers::all()).expect("it is right");
        let limit = Limit::parse("nofile=10").expect("it is one");
        assert_eq!(
            after,
            Process {
                nice: None,
                limits: vec![limit],
                ..before
            }
        );
        let patch = ProcessPatch {
            limits: vec![String::new()],
            ..ProcessPatch::default()
        };
        let none = patched(after, patch, &Powers::all()).expect("it is right");
        assert!(none.limits.is_empty() && none.no_new_privileges);
    }
}
