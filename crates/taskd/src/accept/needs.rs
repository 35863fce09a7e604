//! What a start needs of the system. Where that is missing now, it is told when a task is given, and not by its first run.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use taskd_core::process::EnvFile;
use taskd_core::process::caps::Caps;
use taskd_core::task::Definition;
use taskd_runner::user_home;
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
    /// It begins in the home directory of that user.
    pub(crate) at_home: bool,
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
            at_home: process.user.is_some() && definition.cwd.is_none(),
        }
    }

    /// Looks for it. That may take as long as a file system and the service behind accounts like.
    ///
    /// # Errors
    /// [`Refusal`] for the first that is known to be missing.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        self.user.map_or(Ok(()), known_user)?;
        self.user.filter(|_| self.at_home).map_or(Ok(()), has_home)?;
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

fn is_directory(cwd: &str) -> Result<(), Refusal> {
    let Some(problem) = no_directory(Path::new(cwd)) else {
        return Ok(());
    };
    let cure = "make it first, or name another working directory";
    Err(bad("cwd", cwd, problem, Some(cure)))
}

/// Whether the runs of a user can begin where they do unless told otherwise.
fn has_home(user: &str) -> Result<(), Refusal> {
    // That there is such a user was seen before; whoever has gone since has no home that could be missing.
    let Ok(home) = user_home(user) else {
        return Ok(());
    };
    if no_directory(&home).is_none() {
        return Ok(());
    }
    let problem = format!(
        "runs begin in the home directory of that account, {}, and it is not there",
        home.display()
    );
    Err(bad("user", user, problem, Some("name a working directory with --cwd")))
}

/// What is wrong with a directory. What cannot be looked at may be one: the user of the task may see more.
fn no_directory(path: &Path) -> Option<&'static str> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => None,
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
        Ok(_) => Some("this is no directory"),
        Err(_) => Some("there is no such directory"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_there_unless_that_is_known_to_be_otherwise() {
        assert_eq!(no_directory(Path::new("/")), None);
        assert_eq!(no_directory(Path::new("/dev/null")), Some("this is no directory"));
        assert_eq!(
            no_directory(Path::new("/dev/null/x")),
            Some("there is no such directory")
        );
        assert_eq!(
            no_directory(Path::new("/not/there")),
            Some("there is no such directory")
        );
    }

    #[test]
    fn a_user_whose_home_is_missing_needs_a_directory() {
        if user_home("nobody").map_or(true, |home| home.is_dir()) {
            println!("skipped: nobody has a home here");
            return;
        }
        let mut needs = Needs {
            user: Some("nobody"),
            at_home: true,
            ..Needs::default()
        };
        let refused = needs.check().expect_err("it has no home");
        let Refusal::BadField {
            field, problem, cure, ..
        } = refused
        else {
            panic!("{refused:?}");
        };
        assert!(field == "user" && problem.contains("home directory"), "{problem}");
        assert!(cure.is_some_and(|cure| cure.contains("--cwd")));
        (needs.at_home, needs.cwd) = (false, Some("/"));
        needs.check().expect("it is there");
    }
}
