//! Refusals of the core in the words of the wire.

use taskd_core::command::Refusal as Core;
use taskd_core::run::RunKey;
use taskd_core::scheduler::Scheduler;
use taskd_core::task::TaskName;
use taskd_wire::refusal::{LineRefusal, Refusal};

/// What the core refused. What it says of one definition among many becomes [`Refusal::ImportLine`] with the place of
/// that definition in the command, from 0; [`with_line`] or [`of_one`] makes of it what is answered.
pub(crate) fn of_core(refused: Core, state: &Scheduler) -> Refusal {
    match refused {
        // The driver keeps such a command and applies it again.
        Core::Busy => Refusal::Internal {
            what: "a busy command was not kept".to_owned(),
        },
        Core::NoTask(id) => Refusal::UnknownTask {
            name: format!("#{}", id.0),
            near: Vec::new(),
        },
        Core::NoImport(id) => Refusal::Internal {
            what: format!("import #{} is not there", id.0),
        },
        Core::NotRunning(run) => Refusal::NotRunning {
            run: run_name(state, run),
        },
        Core::NameTaken { name, index } => Refusal::ImportLine {
            line: index as u64,
            refusal: Box::new(LineRefusal::NameTaken { name: name.to_string() }),
        },
        Core::BadSchedule { index, problem } => Refusal::ImportLine {
            line: index as u64,
            refusal: Box::new(LineRefusal::BadField {
                field: "schedule".to_owned(),
                text: String::new(),
                at: None,
                problem,
                cure: None,
            }),
        },
        Core::NoUpstream { name, required, index } => Refusal::ImportLine {
            line: index as u64,
            refusal: Box::new(LineRefusal::BadField {
                field: naming(required).to_owned(),
                text: name.to_string(),
                at: None,
                problem: format!("there is no task {name}"),
                cure: Some(
                    "`taskctl list` shows which tasks there are; add it first, or in the same import".to_owned(),
                ),
            }),
        },
        Core::Cycle { path, required, index } => Refusal::ImportLine {
            line: index as u64,
            refusal: Box::new(LineRefusal::BadField {
                field: naming(required).to_owned(),
                text: String::new(),
                at: None,
                problem: format!("a task would depend on itself: {}", shown(&path)),
                cure: Some("leave one of these dependencies out".to_owned()),
            }),
        },
        Core::StillNamed { name, by, more } => Refusal::StillNamed {
            name: name.to_string(),
            by: by.iter().map(ToString::to_string).collect(),
            more: more as u64,
        },
        Core::TooManyTasks { limit } => Refusal::Limit {
            what: "tasks".to_owned(),
            limit,
            actual: limit + 1,
        },
        Core::StillRunning { name, run } => Refusal::StillRunning {
            run: format!("{name}/{}", run.n),
            name: name.to_string(),
        },
        Core::TooManyRuns { name, limit, waiting } => Refusal::Limit {
            what: match waiting {
                true => format!("runs of {name} that wait"),
                false => format!("runs of {name} in progress or waiting"),
            },
            limit: u64::from(limit),
            actual: u64::from(limit) + 1,
        },
        Core::TooManyPools { limit } => Refusal::Limit {
            what: "groups and locks with a limit".to_owned(),
            limit: limit as u64,
            actual: limit as u64 + 1,
        },
        Core::NoPool(pool) => Refusal::UnknownPool { pool: pool.to_string() },
        Core::NoCalendar(name) => Refusal::UnknownCalendar {
            name: name.to_string(),
            near: Vec::new(),
        },
        Core::CalendarInUse { name, task } => Refusal::CalendarInUse {
            name: name.to_string(),
            task: task.to_string(),
        },
        Core::TooManyCalendars { limit } => Refusal::Limit {
            what: "calendars".to_owned(),
            limit: limit as u64,
            actual: limit as u64 + 1,
        },
        Core::BacklogFull { room } => Refusal::BacklogFull { room: room as u64 },
        Core::NoRunner => Refusal::RunnerUnavailable {
            reason: "no runner is attached".to_owned(),
        },
    }
}

/// The option by which a task names another.
fn naming(required: bool) -> &'static str {
    if required { "require" } else { "after" }
}

/// A path along tasks, from each to one that comes after it or requires it. Of a long one the middle is left out.
fn shown(path: &[TaskName]) -> String {
    let names = |part: &[TaskName]| part.iter().map(ToString::to_string).collect::<Vec<_>>().join(" -> ");
    match path.len() {
        0..=20 => names(path),
        long => format!("{} -> … -> {}", names(&path[..10]), names(&path[long - 9..])),
    }
}

fn run_name(state: &Scheduler, run: RunKey) -> String {
    match state.task(run.task) {
        Some(task) => format!("{}/{}", task.name, run.n),
        None => format!("#{}/{}", run.task.0, run.n),
    }
}

/// The line of the file that a refusal is about, if it is about one.
pub(crate) fn line_of(refused: &Refusal) -> Option<u64> {
    match refused {
        Refusal::ImportLine { line, .. } => Some(*line),
        _ => None,
    }
}

/// Puts the line of the file in place of the place in the command.
pub(crate) fn with_line(refused: Refusal, lines: &[u64]) -> Refusal {
    match refused {
        Refusal::ImportLine { line: place, refusal } => Refusal::ImportLine {
            line: usize::try_from(place)
                .ok()
                .and_then(|place| lines.get(place).copied())
                .unwrap_or(0),
            refusal,
        },
        other => other,
    }
}

/// What is answered when the command held definitions of these names.
pub(crate) fn of_several(refused: Refusal, names: &[String]) -> Refusal {
    let name = match &refused {
        Refusal::ImportLine { line, .. } => usize::try_from(*line).ok().and_then(|place| names.get(place)),
        _ => None,
    };
    match (of_one(refused), name) {
        (
            Refusal::BadField {
                field,
                text,
                at,
                problem,
                cure,
            },
            Some(name),
        ) => Refusal::BadField {
            field,
            text,
            at,
            problem: format!("{name}: {problem}"),
            cure,
        },
        (other, _) => other,
    }
}

/// What is answered when the command held one definition.
pub(crate) fn of_one(refused: Refusal) -> Refusal {
    match refused {
        Refusal::ImportLine { refusal, .. } => match *refusal {
            LineRefusal::NameTaken { name } | LineRefusal::NameTwice { name, .. } => Refusal::NameTaken { name },
            LineRefusal::BadField {
                field,
                text,
                at,
                problem,
                cure,
            } => Refusal::BadField {
                field,
                text,
                at,
                problem,
                cure,
            },
            LineRefusal::Limit { what, limit, actual } => Refusal::Limit { what, limit, actual },
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_one_of_several_names_it() {
        let refused = Refusal::ImportLine {
            line: 1,
            refusal: Box::new(LineRefusal::BadField {
                field: "schedule".to_owned(),
                text: String::new(),
                at: None,
                problem: "there is no such zone".to_owned(),
                cure: None,
            }),
        };
        let names = ["one".to_owned(), "other".to_owned()];
        let Refusal::BadField { problem, .. } = of_several(refused, &names) else {
            panic!("it is about a field");
        };
        assert_eq!(problem, "other: there is no such zone");
    }
}
