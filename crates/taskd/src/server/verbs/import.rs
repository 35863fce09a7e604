//! `import`: many definitions, all or none.

use std::collections::HashMap;

use taskd_core::command::{Command, Reply};
use taskd_core::task::{Definition, TaskName};
use taskd_wire::client::Response;
use taskd_wire::codec::Rec;
use taskd_wire::definition::TaskSpec;
use taskd_wire::refusal::{LineRefusal, Refusal};

use super::add;
use crate::accept::{self, Context};
use crate::clock;
use crate::refusal;
use crate::server::Shared;

/// Definitions whose import takes so much memory for a moment that it is given back after it.
const MANY: u64 = 1000;

/// Takes in more definitions.
pub(super) fn more(
    shared: &Shared,
    taken: &mut Vec<(u64, Definition)>,
    tasks: Vec<Rec<TaskSpec>>,
    lines: Vec<u64>,
) -> Result<Response, Refusal> {
    let context = Context {
        past: true,
        ..add::context(shared, clock::now())
    };
    let limit = context.limits.tasks_per_owner(shared.owner);
    for (index, Rec(spec)) in tasks.into_iter().enumerate() {
        let line = lines.get(index).copied().unwrap_or(0);
        let accepted = if spec.name.is_empty() {
            Err(nameless())
        } else {
            accept::definition(spec, &context)
        };
        match accepted {
            Ok(definition) if (taken.len() as u64) < limit => taken.push((line, definition)),
            Ok(_) => {
                let actual = taken.len() as u64 + 1;
                *taken = Vec::new();
                return Err(Refusal::Limit {
                    what: "tasks".to_owned(),
                    limit,
                    actual,
                });
            }
            Err(refused) => {
                *taken = Vec::new();
                return Err(at_line(line, refused));
            }
        }
    }
    Ok(Response::Done(Vec::new()))
}

/// Accepts all that was taken in.
pub(super) async fn end(shared: &Shared, taken: &mut Vec<(u64, Definition)>) -> Result<Response, Refusal> {
    let taken = std::mem::take(taken);
    twice(&taken)?;
    let (lines, definitions): (Vec<u64>, Vec<Definition>) = taken.into_iter().unzip();
    if definitions.is_empty() {
        return Ok(Response::Imported(0));
    }
    let command = Command::Add {
        owner: shared.owner,
        definitions,
    };
    let imported = shared
        .engine
        .change_alone(command, |_, reply| match reply {
            Reply::Added(ids) => ids.len() as u64,
            Reply::Done | Reply::Runs(_) => 0,
        })
        .await
        .map_err(|refused| refusal::with_line(refused, &lines))?;
    if imported >= MANY {
        // However that ends, the tasks are imported.
        let _ = tokio::task::spawn_blocking(taskd_runner::give_back_memory).await;
    }
    Ok(Response::Imported(imported))
}

fn twice(taken: &[(u64, Definition)]) -> Result<(), Refusal> {
    let mut seen: HashMap<&TaskName, u64> = HashMap::with_capacity(taken.len());
    for (line, definition) in taken {
        if let Some(earlier) = seen.insert(&definition.name, *line) {
            return Err(Refusal::ImportLine {
                line: *line,
                refusal: Box::new(LineRefusal::NameTwice {
                    name: definition.name.to_string(),
                    line: earlier,
                }),
            });
        }
    }
    Ok(())
}

fn nameless() -> Refusal {
    Refusal::BadField {
        field: "name".to_owned(),
        text: String::new(),
        at: None,
        problem: "a definition to import needs a name".to_owned(),
        cure: Some("write \"name\": \"…\" into the line".to_owned()),
    }
}

fn at_line(line: u64, refused: Refusal) -> Refusal {
    match refused {
        Refusal::BadField {
            field,
            text,
            at,
            problem,
            cure,
        } => Refusal::ImportLine {
            line,
            refusal: Box::new(LineRefusal::BadField {
                field,
                text,
                at,
                problem,
                cure,
            }),
        },
        Refusal::Limit { what, limit, actual } => Refusal::ImportLine {
            line,
            refusal: Box::new(LineRefusal::Limit { what, limit, actual }),
        },
        other => other,
    }
}
