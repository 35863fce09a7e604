//! From what was typed to what is said: what processes are given.

use std::str::FromStr;

use taskd_wire::codec::Tail;
use taskd_wire::definition::{ProcessPatch, ProcessSpec};

use super::definition::{absolute, bound};
use crate::args::ProcessArgs;
use crate::error::Failure;

/// What was typed of a new task.
pub fn spec(args: &ProcessArgs) -> Result<ProcessSpec, Failure> {
    let patch = patch(args)?;
    Ok(ProcessSpec {
        umask: patch.umask.flatten(),
        nice: patch.nice.flatten(),
        ionice: patch.ionice.flatten(),
        oom_score_adjust: patch.oom_score_adjust.flatten(),
        limits: patch.limits,
        no_new_privileges: patch.no_new_privileges.unwrap_or_default(),
        clear_env: patch.clear_env.unwrap_or_default(),
        env_files: patch.env_files.unwrap_or_default(),
        stdin: patch.stdin.flatten(),
        private_tmp: patch.private_tmp.unwrap_or_default(),
        user: Tail(patch.user.0.flatten()),
        memory_max: Tail(patch.memory_max.0.flatten()),
        cpu_max: Tail(patch.cpu_max.0.flatten()),
        pids_max: Tail(patch.pids_max.0.flatten()),
    })
}

/// What was typed of a change.
pub fn patch(args: &ProcessArgs) -> Result<ProcessPatch, Failure> {
    Ok(ProcessPatch {
        umask: bound(args.umask.as_deref()),
        nice: number("nice", args.nice.as_deref(), SIGNED)?,
        ionice: bound(args.ionice.as_deref()),
        oom_score_adjust: number("oom-score-adjust", args.oom_score_adjust.as_deref(), SIGNED)?,
        limits: args.limit.clone(),
        no_new_privileges: args.no_new_privileges,
        clear_env: args.clear_env,
        env_files: env_files(&args.env_file)?,
        stdin: stdin(args.stdin.as_deref())?,
        private_tmp: args.private_tmp,
        user: Tail(bound(args.user.as_deref())),
        memory_max: Tail(bound(args.memory_max.as_deref())),
        cpu_max: Tail(bound(args.cpu_max.as_deref())),
        pids_max: Tail(number(
            "pids-max",
            args.pids_max.as_deref(),
            "write a number from 1 on",
        )?),
    })
}

/// What is to be read from standard input: a file from where the user stands; the inner `None` for nothing.
fn stdin(typed: Option<&str>) -> Result<Option<Option<String>>, Failure> {
    let Some(text) = typed else { return Ok(None) };
    match text.strip_prefix('@') {
        Some("") => {
            let cure = Some("write @FILE, or @@ for a text that begins with @");
            Err(Failure::field("stdin", text, None, "a file has a name", cure))
        }
        Some(path) if !path.starts_with('@') => absolute(path).map(|path| Some(Some(format!("@{path}")))),
        Some(_) | None => Ok(bound(typed)),
    }
}

/// All files of variables that were typed, as the daemon wants them: absolute, from where the user stands.
fn env_files(typed: &[String]) -> Result<Option<Vec<String>>, Failure> {
    let file = |text: &String| {
        let (sign, path) = match text.strip_prefix('-') {
            Some(path) => ("-", path),
            None => ("", text.as_str()),
        };
        if path.is_empty() {
            let problem = "a file of variables has a name";
            return Err(Failure::field("env-file", text, None, problem, Some("write -FILE")));
        }
        absolute(path).map(|path| format!("{sign}{path}"))
    };
    let files: Result<Vec<_>, _> = typed.iter().filter(|text| !text.is_empty()).map(file).collect();
    Ok((!typed.is_empty()).then_some(files?))
}

/// How a number is written that may be below 0.
const SIGNED: &str = "write digits, with - before them where it is below 0";

/// A number that may be taken away, which '' does.
fn number<N: FromStr>(field: &str, typed: Option<&str>, cure: &str) -> Result<Option<Option<N>>, Failure> {
    let read = |text: &str| {
        text.parse().map_err(|_| {
            let whole = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
            Failure::field(field, text, Some((0, whole)), "this is no number", Some(cure))
        })
    };
    typed
        .map(|text| (!text.is_empty()).then(|| read(text)).transpose())
        .transpose()
}
