//! `import`: many definitions, all or none.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use taskd_core::command::{Command, Reply};
use taskd_core::task::{Definition, TaskName};
use taskd_wire::client::Response;
use taskd_wire::codec::{Rec, encoded_len};
use taskd_wire::definition::TaskSpec;
use taskd_wire::refusal::{LineRefusal, Refusal};

use super::add;
use crate::accept::{self, Context};
use crate::clock;
use crate::refusal;
use crate::server::Shared;

/// Definitions whose import takes so much memory for a moment that it is given back after it.
const MANY: u64 = 1000;

/// Most bytes of definitions that all imports under way hold at once.
const BYTES_MAX: u64 = 512 << 20;

/// The definitions of an import under way, with their lines.
pub(in crate::server) struct Import {
    taken: Vec<(u64, Definition)>,
    bytes: u64,
    /// Bytes of all imports, this one included.
    all: Arc<AtomicU64>,
}

impl Import {
    /// One that has taken in nothing; `all` counts the bytes of every import.
    pub(in crate::server) fn new(all: &Arc<AtomicU64>) -> Self {
        Import {
            taken: Vec::new(),
            bytes: 0,
            all: Arc::clone(all),
        }
    }

    /// Makes room for so many bytes more.
    fn reserve(&mut self, bytes: u64) -> Result<(), Refusal> {
        let before = self.all.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        if before + bytes > BYTES_MAX {
            return Err(Refusal::Limit {
                what: "import".to_owned(),
                limit: BYTES_MAX,
                actual: before + bytes,
            });
        }
        Ok(())
    }

    /// All that was taken in; nothing is left.
    fn take(&mut self) -> Vec<(u64, Definition)> {
        self.all.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
        std::mem::take(&mut self.taken)
    }
}

impl Drop for Import {
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// Takes in more definitions. A refusal ends the import.
pub(super) fn more(
    shared: &Shared,
    import: &mut Import,
    tasks: Vec<Rec<TaskSpec>>,
    lines: Vec<u64>,
) -> Result<Response, Refusal> {
    let result = take_in(shared, import, tasks, lines);
    if result.is_err() {
        drop(import.take());
    }
    result
}

fn take_in(
    shared: &Shared,
    import: &mut Import,
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
        import.reserve(encoded_len(&spec) as u64)?;
        let accepted = if spec.name.is_empty() {
            Err(nameless())
        } else {
            accept::definition(spec, &context)
        };
        match accepted {
            Ok(definition) if (import.taken.len() as u64) < limit => import.taken.push((line, definition)),
            Ok(_) => {
                return Err(Refusal::Limit {
                    what: "tasks".to_owned(),
                    limit,
                    actual: import.taken.len() as u64 + 1,
                });
            }
            Err(refused) => return Err(at_line(line, refused)),
        }
    }
    Ok(Response::Done(Vec::new()))
}

/// Accepts all that was taken in.
pub(super) async fn end(shared: &Shared, import: &mut Import) -> Result<Response, Refusal> {
    let taken = import.take();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_under_way_are_bounded_together_and_give_their_room_back() {
        let all = Arc::default();
        let (mut one, mut other) = (Import::new(&all), Import::new(&all));
        assert!(one.reserve(BYTES_MAX - 1).is_ok());
        assert!(other.reserve(1).is_ok());
        assert!(other.reserve(1).is_err());
        drop(other);
        assert!(one.reserve(1).is_ok());
        drop(one.take());
        assert_eq!(all.load(Ordering::Relaxed), 0);
    }
}
