//! What a start needs of the system. Where that is missing now, it is told when a task is given, and not by its first run.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use taskd_core::process::EnvFile;
use taskd_core::process::caps::Caps;
use taskd_core::task::Definition;
use taskd_wire::refusal::Refusal;

use super::{bad, known_user, read_env_files};
use crate::engine::Condition;

/// Where a process with a `/tmp` of its own sees nothing that is there.
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];

/// What is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Needs<'a> {
    /// Files of variables.
    pub(crate) env_files: &'a [EnvFile],
    /// The user that it becomes.
    pub(crate) user: Option<&'a str>,
    /// Its working directory.
    pub(crate) cwd: Option<&'a str>,
}

impl<'a> Needs<'a> {
    /// All that a task needs.
    pub(crate) fn of(definition: &'a Definition) -> Self {
        let process = &definition.process;
        let is_hidden = |cwd: &str| process.private_tmp && TEMPORARY.iter().any(|tmp| Path::new(cwd).starts_with(tmp));
        Needs {
            env_files: &process.env_files,
            user: process.user.as_deref(),
            cwd: definition.cwd.as_deref().filter(|cwd| !is_hidden(cwd)),
        }
    }

    /// Looks for it. That may take as long as a file system and the service behind accounts like.
    ///
    /// # Errors
    /// [`Refusal`] for the first that is known to be missing.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        self.user.map_or(Ok(()), known_user)?;
        self.cwd.map_or(Ok(()), is_directory)?;
        read_env_files(self.env_files)
    }
}

/// Why the runs of a task with these caps could not start as things are: its runner cannot hold them to one.
pub(crate) fn uncapped(caps: &Caps, condition: &Condition) -> Option<String> {
    condition.runner.as_ref()?;
    let controllers = condition.cgroups.as_deref().unwrap_or_default();
    let has = |controller: &str| controllers.iter().any(|it| it == controller);
    let asked = [
        ("--memory-max", "memory", caps.memory.is_some()),
        ("--cpu-max", "cpu", caps.cpu.is_some()),
        ("--pids-max", "pids", caps.pids.is_some()),
    ];
    let (option, controller, _) = asked
        .into_iter()
        .find(|(_, controller, is_asked)| *is_asked && !has(controller))?;
    Some(format!(
        "As it is now, no run starts: for {option} the runner lacks control groups with the controller {controller}; \
         `taskctl status` tells what it has."
    ))
}

/// What cannot be looked at may be one: the user of the task may see more.
fn is_directory(cwd: &str) -> Result<(), Refusal> {
    let problem = match fs::metadata(cwd) {
        Ok(found) if found.is_dir() => return Ok(()),
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        Ok(_) => "this is no directory",
        Err(_) => "there is no such directory",
    };
    let cure = "make it first, or name another working directory";
    Err(bad("cwd", cwd, problem, Some(cure)))
}
