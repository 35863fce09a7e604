//! Tasks: what a definition holds, and the part of it that decisions need.

use std::fmt;
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::calendar::CalendarUse;
use crate::dependency::Upstreams;
use crate::gates::Gates;
use crate::policy::{History, OutputPolicy, Policies, Sharing};
use crate::process::Process;
use crate::requirement::Requirement;
use crate::schedule::DstRule;
use crate::time::Timestamp;

/// Most characters of a task's name.
pub const NAME_MAX: usize = 64;

/// A task's number, never used again after it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub u64);

/// An import, named by the id of its first task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImportId(pub u64);

/// The Unix user on whose behalf a task exists and runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Owner(pub u32);

/// A task's name: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`, unique per owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskName(std::sync::Arc<str>);

/// A word that tasks are grouped by; it is written as a name is.
pub type Label = TaskName;

/// Most labels of one task.
pub const LABELS_MAX: usize = 32;

/// Why a text is no task name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It has no characters.
    #[error("a name needs at least one character")]
    Empty,
    /// It has more than [`NAME_MAX`] characters.
    #[error("a name has at most {NAME_MAX} characters, this one has {0}")]
    TooLong(usize),
    /// This character cannot stand at this column.
    #[error(
        "{character:?} cannot stand here: a name is made of letters, digits, '.', '_' and '-', and begins with a letter or digit"
    )]
    BadCharacter {
        /// The character.
        character: char,
        /// Its column, in characters from 0.
        column: usize,
    },
}

impl TaskName {
    /// Checks a text.
    ///
    /// # Errors
    /// [`NameError`] says what is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        for (column, character) in text.chars().enumerate() {
            let first = character.is_ascii_alphanumeric();
            if !(first || column > 0 && matches!(character, '.' | '_' | '-')) {
                return Err(NameError::BadCharacter { character, column });
            }
        }
        if text.len() > NAME_MAX {
            return Err(NameError::TooLong(text.len()));
        }
        Ok(TaskName(text.into()))
    }

    /// The same name in memory of its own, where a clone would share that of the original.
    #[must_use]
    pub fn detached(&self) -> Self {
        TaskName(self.as_str().into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Names are found and ordered as texts are.
impl std::borrow::Borrow<str> for TaskName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for TaskName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        TaskName::parse(&text)
    }
}

impl From<TaskName> for String {
    fn from(name: TaskName) -> String {
        name.as_str().to_owned()
    }
}

/// When a task is due, as accepted: everything that was relative is an instant now.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum When {
    /// Only when asked for.
    Manual,
    /// A cron expression in a zone of the tz database.
    Cron {
        /// The expression as typed.
        expr: String,
        /// The zone's name.
        tz: String,
        /// What happens to local times that clocks skip or show twice.
        #[serde(default)]
        dst: DstRule,
    },
    /// Every `interval_ms` from `anchor`.
    Every {
        /// Milliseconds, at least 1.
        interval_ms: u64,
        /// The instant of acceptance.
        anchor: Timestamp,
    },
    /// Once.
    At {
        /// The instant.
        at: Timestamp,
        /// What was typed, for people.
        text: String,
        /// The zone what was typed was read in.
        tz: Option<String>,
    },
    /// Once after each boot of the machine.
    Boot,
    /// When runs of other tasks have ended.
    After(Upstreams),
    /// What other kinds say, under terms.
    Termed(Box<Terms>),
}

/// Several schedules as one, and what bounds and moves their fire times.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Terms {
    /// The schedules, at least one; none of them is manual or has terms.
    pub of: Vec<When>,
    /// By up to how much fire times are moved.
    #[serde(default)]
    pub jitter_ms: u64,
    /// By how much they are; once drawn it stays, whatever name the task is given.
    #[serde(default)]
    pub offset_ms: u64,
    /// The first instant that may be a fire time, before it is moved.
    #[serde(default)]
    pub start: Option<Timestamp>,
    /// The last instant that may be a fire time, before it is moved.
    #[serde(default)]
    pub end: Option<Timestamp>,
    /// After so many runs by its schedule the task is disabled.
    #[serde(default)]
    pub count: Option<NonZeroU64>,
    /// The calendars it keeps to or keeps clear of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calendars: Vec<CalendarUse>,
    /// The tasks whose last run must have succeeded for it to start when it is due, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Requirement>,
}

impl Terms {
    /// No terms yet.
    #[must_use]
    pub fn of(when: When) -> Self {
        Terms {
            of: vec![when],
            jitter_ms: 0,
            offset_ms: 0,
            start: None,
            end: None,
            count: None,
            calendars: Vec::new(),
            requires: Vec::new(),
        }
    }

    /// Several schedules, and no terms yet.
    #[must_use]
    pub fn of_all(of: Vec<When>) -> Self {
        Terms {
            of,
            ..Terms::of(When::Manual)
        }
    }

    /// Whether a single schedule would say the same.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        let Terms {
            of,
            jitter_ms,
            offset_ms: _,
            start,
            end,
            count,
            calendars,
            requires,
        } = self;
        let is_bound = start.is_some() || end.is_some() || count.is_some();
        of.len() == 1 && *jitter_ms == 0 && !is_bound && calendars.is_empty() && requires.is_empty()
    }
}

impl When {
    /// The single schedules it is made of.
    #[must_use]
    pub fn parts(&self) -> &[When] {
        match self {
            When::Termed(terms) => &terms.of,
            When::Manual | When::Cron { .. } | When::Every { .. } | When::At { .. } | When::Boot | When::After(_) => {
                std::slice::from_ref(self)
            }
        }
    }

    /// Whether it is due after each boot, maybe among other times.
    #[must_use]
    pub fn at_boot(&self) -> bool {
        self.parts().contains(&When::Boot)
    }

    /// Whether something other than the clock may trigger it as well: a boot, or the ends of other runs.
    #[must_use]
    pub fn by_event(&self) -> bool {
        self.at_boot() || self.after().is_some()
    }

    /// The tasks that it comes after, if it comes after any, maybe among other times.
    #[must_use]
    pub fn after(&self) -> Option<&Upstreams> {
        self.parts().iter().find_map(|part| match part {
            When::After(upstreams) => Some(upstreams),
            When::Manual | When::Cron { .. } | When::Every { .. } | When::At { .. } | When::Boot | When::Termed(_) => {
                None
            }
        })
    }

    /// The calendars it keeps to or keeps clear of.
    #[must_use]
    pub fn calendars(&self) -> &[CalendarUse] {
        match self {
            When::Termed(terms) => &terms.calendars,
            When::Manual | When::Cron { .. } | When::Every { .. } | When::At { .. } | When::Boot | When::After(_) => {
                &[]
            }
        }
    }

    /// The tasks whose last run must have succeeded for it to start when it is due.
    #[must_use]
    pub fn requires(&self) -> &[Requirement] {
        match self {
            When::Termed(terms) => &terms.requires,
            When::Manual | When::Cron { .. } | When::Every { .. } | When::At { .. } | When::Boot | When::After(_) => {
                &[]
            }
        }
    }

    /// The names of all tasks that it names: those that it comes after, then those that it requires.
    pub fn named(&self) -> impl Iterator<Item = &TaskName> {
        let after = self.after().into_iter().flat_map(|upstreams| &upstreams.of);
        let required = self.requires().iter().map(|requirement| &requirement.task);
        after.map(|upstream| &upstream.task).chain(required)
    }

    /// After how many runs the task is disabled.
    #[must_use]
    pub fn count(&self) -> Option<NonZeroU64> {
        match self {
            When::Termed(terms) => terms.count,
            When::Manual | When::Cron { .. } | When::Every { .. } | When::At { .. } | When::Boot | When::After(_) => {
                None
            }
        }
    }
}

/// What a run does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Action {
    /// A program and its arguments, without a shell.
    Exec {
        /// The program, then its arguments; never empty.
        argv: Vec<String>,
    },
    /// A line for `/bin/sh -c`.
    Shell {
        /// The line.
        line: String,
    },
}

/// All that is known of a task by definition, as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// Its name.
    pub name: TaskName,
    /// When it is due.
    pub when: When,
    /// What a run does.
    pub action: Action,
    /// Working directory, absolute; `None` is the owner's home.
    #[serde(default)]
    pub cwd: Option<String>,
    /// The task's own environment, in the order given.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// A note for people.
    #[serde(default)]
    pub description: Option<String>,
    /// What it is grouped by, in order, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
    /// Whether fire times start runs.
    pub enabled: bool,
    /// What happens when things do not go as planned.
    #[serde(default)]
    pub policies: Policies,
    /// What its runs share with those of other tasks.
    #[serde(default, skip_serializing_if = "Sharing::is_default")]
    pub sharing: Sharing,
    /// What its processes are given.
    #[serde(default)]
    pub process: Process,
    /// What becomes of the output of its runs.
    #[serde(default, skip_serializing_if = "OutputPolicy::is_default")]
    pub output: OutputPolicy,
    /// How much is kept of its history.
    #[serde(default, skip_serializing_if = "History::is_default")]
    pub history: History,
    /// What must hold before its runs start.
    #[serde(default, skip_serializing_if = "Gates::none")]
    pub gates: Gates,
}

/// The part of a definition that decisions need, kept in memory for every task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Its name.
    pub name: TaskName,
    /// When it is due.
    pub when: When,
    /// What it is grouped by.
    pub labels: Vec<Label>,
    /// Whether fire times start runs.
    pub enabled: bool,
    /// What happens when things do not go as planned.
    pub policies: Policies,
    /// What its runs share with those of other tasks.
    pub sharing: Sharing,
}

impl Definition {
    /// The part that decisions need.
    #[must_use]
    pub fn outline(&self) -> Outline {
        Outline {
            name: self.name.clone(),
            when: self.when.clone(),
            labels: self.labels.clone(),
            enabled: self.enabled,
            policies: self.policies,
            sharing: self.sharing.clone(),
        }
    }
}
