//! What one run is given beside what its task says. Nothing is decided by it: it goes with the run to its start.

use serde::{Deserialize, Serialize};

use crate::task::Action;

/// What was asked for one run, all its attempts included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overrides {
    /// Variables, before those of the same name of its task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<(String, String)>,
    /// Arguments behind those of its task; the parameters `$1`, `$2`, … of a shell line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Whether it starts whatever the gates of its task say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_gates: bool,
}

impl Overrides {
    /// Whether nothing was asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Overrides::default()
    }

    /// What is executed in place of what the task executes.
    #[must_use]
    pub fn action(&self, of_task: &Action) -> Action {
        if self.args.is_empty() {
            return of_task.clone();
        }
        let mut argv = match of_task {
            Action::Exec { argv } => argv.clone(),
            // The word behind the line is what the shell calls itself.
            Action::Shell { line } => ["/bin/sh", "-c", line, "sh"].map(str::to_owned).into(),
        };
        argv.extend_from_slice(&self.args);
        Action::Exec { argv }
    }

    /// The variables in place of those of the task.
    #[must_use]
    pub fn env(&self, of_task: &[(String, String)]) -> Vec<(String, String)> {
        let is_kept = |(name, _): &&(String, String)| !self.env.iter().any(|(other, _)| other == name);
        of_task.iter().filter(is_kept).chain(&self.env).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(of: &[&str]) -> Vec<String> {
        of.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn arguments_come_behind_those_of_the_task_and_are_parameters_of_a_shell_line() {
        let overrides = Overrides {
            args: texts(&["-v", "a b"]),
            ..Overrides::default()
        };
        let exec = Action::Exec {
            argv: texts(&["backup", "--all"]),
        };
        let shell = Action::Shell {
            line: "echo \"$2\"".into(),
        };
        let argv = |action: &Action| match overrides.action(action) {
            Action::Exec { argv } => argv,
            Action::Shell { line } => vec![line],
        };
        assert_eq!(argv(&exec), ["backup", "--all", "-v", "a b"]);
        assert_eq!(argv(&shell), ["/bin/sh", "-c", "echo \"$2\"", "sh", "-v", "a b"]);
        assert_eq!(Overrides::default().action(&shell), shell);
    }

    #[test]
    fn a_variable_takes_the_place_of_that_of_the_task() {
        let var = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let overrides = Overrides {
            env: vec![var("B", "3"), var("C", "4")],
            ..Overrides::default()
        };
        assert_eq!(
            overrides.env(&[var("A", "1"), var("B", "2")]),
            [var("A", "1"), var("B", "3"), var("C", "4")]
        );
    }
}
