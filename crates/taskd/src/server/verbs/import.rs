//! `import`: many definitions, all or none.
//!
//! The lines are checked as they come. When all are there they are handed to the engine in parts, a few at a time, so
//! that neither it nor the store is ever held up, and the last word makes all of them tasks at once.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use taskd_core::command::{Command, Reply};
use taskd_core::task::{Definition, ImportId, Owner, TaskName};
use taskd_wire::client::Response;
use taskd_wire::codec::{Rec, encoded_len};
use taskd_wire::definition::TaskSpec;
use taskd_wire::refusal::{LineRefusal, Refusal};
use tokio::task::JoinSet;

use super::add;
use crate::accept::{self, Context, Needs};
use crate::clock;
use crate::engine::Engine;
use crate::refusal;
use crate::server::Shared;

/// Definitions whose import takes so much memory for a moment that it is given back after it.
const MANY: u64 = 1000;

/// Most bytes of definitions that all imports under way hold at once.
const BYTES_MAX: u64 = 512 << 20;

/// Definitions in a part: about a millisecond of the engine's time.
const PART: usize = 500;

/// Names looked for in one turn of the engine.
const LOOKED_FOR: usize = 4000;

/// Parts on their way at once, so that the engine and the store work side by side.
const PARTS: usize = 8;

/// The definitions of an import under way, with their lines.
pub(in crate::server) struct Import {
    taken: Vec<(u64, Arc<Definition>)>,
    /// The line of each name.
    names: HashMap<TaskName, u64>,
    bytes: u64,
    /// What was refused, if something was: nothing that the client sent after it counts.
    refused: Option<Refusal>,
    /// Bytes of all imports, this one included.
    all: Arc<AtomicU64>,
}

impl Import {
    /// One that has taken in nothing; `all` counts the bytes of every import.
    pub(in crate::server) fn new(all: &Arc<AtomicU64>) -> Self {
        Import {
            taken: Vec::new(),
            names: HashMap::new(),
            bytes: 0,
            refused: None,
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

    /// Takes in a definition; a name may come once.
    fn push(&mut self, line: u64, definition: Definition) -> Result<(), Refusal> {
        if let Some(earlier) = self.names.insert(definition.name.clone(), line) {
            return Err(Refusal::ImportLine {
                line,
                refusal: Box::new(LineRefusal::NameTwice {
                    name: definition.name.to_string(),
                    line: earlier,
                }),
            });
        }
        self.taken.push((line, Arc::new(definition)));
        Ok(())
    }

    /// All of it; what is left has taken in nothing.
    fn take(&mut self) -> Import {
        let empty = Import::new(&self.all);
        std::mem::replace(self, empty)
    }
}

impl Drop for Import {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Takes in more definitions. After a refusal the import takes in nothing more and is refused as a whole: a client may
/// have sent the rest before it could read of that.
pub(super) fn more(
    shared: &Shared,
    import: &mut Import,
    tasks: Vec<Rec<TaskSpec>>,
    lines: Vec<u64>,
) -> Result<Response, Refusal> {
    if let Some(refused) = &import.refused {
        return Err(refused.clone());
    }
    let result = take_in(shared, import, tasks, lines);
    if let Err(refused) = &result {
        // Its room is given back at once.
        drop(import.take());
        import.refused = Some(refused.clone());
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
            Ok(definition) if (import.taken.len() as u64) < limit => import.push(line, definition)?,
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
    let mut import = import.take();
    if let Some(refused) = import.refused.take() {
        return Err(refused);
    }
    let Some(count) = NonZeroU64::new(import.taken.len() as u64) else {
        return Ok(Response::Imported(0));
    };
    let (engine, owner, staging) = (shared.engine.clone(), shared.owner, Arc::clone(&shared.staging));
    // It comes to its end also when the client leaves.
    let accepted = tokio::spawn(async move {
        // Before others must wait for this one: a file system may take as long as it likes.
        let import = prepared(import).await?;
        let _alone = staging.lock_owned().await;
        accept_all(engine, owner, import, count).await
    });
    let accepted = accepted.await;
    accepted.unwrap_or_else(|error| {
        Err(Refusal::Internal {
            what: format!("an import ended early: {error}"),
        })
    })?;
    if count.get() >= MANY {
        // However that ends, the tasks are imported.
        let _ = tokio::task::spawn_blocking(taskd_runner::give_back_memory).await;
    }
    Ok(Response::Imported(count.get()))
}

/// The import, once what the starts of its tasks need was looked for.
async fn prepared(import: Import) -> Result<Import, Refusal> {
    let looked = tokio::task::spawn_blocking(move || are_met(&import).map(|()| import));
    looked.await.unwrap_or_else(|error| {
        Err(Refusal::Internal {
            what: format!("an import was not looked through: {error}"),
        })
    })
}

async fn accept_all(engine: Engine, owner: Owner, mut import: Import, count: NonZeroU64) -> Result<(), Refusal> {
    import.names = HashMap::new();
    check_free(&engine, owner, &import).await?;
    // In the order of names, so that each page of their index is written once.
    let sorted = tokio::task::spawn_blocking(move || {
        import.taken.sort_unstable_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        import
    });
    let import = sorted.await.map_err(|error| Refusal::Internal {
        what: format!("an import was not sorted: {error}"),
    })?;
    let begin = move |_: &_, _| Ok(Command::BeginImport { owner, count });
    let begun = engine.change(begin, |_, reply| match reply {
        Reply::Importing(id) => Some(*id),
        Reply::Added(_) | Reply::Done | Reply::Runs(_) => None,
    });
    let Some(id) = begun.await? else {
        return Err(Refusal::Internal {
            what: "an import began without a name".to_owned(),
        });
    };
    let accepted = match stage_all(&engine, id, &import).await {
        Ok(()) => {
            let end = move |_: &_, _| Ok(Command::EndImport { import: id });
            let ended = engine.change(end, |_, _| ()).await;
            // What tasks name of each other is checked when all are there.
            ended.map_err(|refused| {
                let lines: Vec<u64> = import.taken.iter().map(|(line, _)| *line).collect();
                refusal::with_line(refused, &lines)
            })
        }
        refused => refused,
    };
    if accepted.is_err() {
        let give_up = move |_: &_, _| Ok(Command::DropImport { import: id });
        // An engine that has ended leaves it to the next life.
        let _ = engine.change(give_up, |_, _| ()).await;
    }
    accepted
}

/// Looks for names that are taken, in the order of the lines and before anything is written.
///
/// # Errors
/// [`Refusal::ImportLine`] of the first.
async fn check_free(engine: &Engine, owner: Owner, import: &Import) -> Result<(), Refusal> {
    for part in import.taken.chunks(LOOKED_FOR) {
        let names: Vec<(u64, TaskName)> = part
            .iter()
            .map(|(line, definition)| (*line, definition.name.clone()))
            .collect();
        let taken = engine.look(move |state, _| names.into_iter().find(|(_, name)| state.find(owner, name).is_some()));
        if let Some((line, name)) = taken.await? {
            return Err(Refusal::ImportLine {
                line,
                refusal: Box::new(LineRefusal::NameTaken { name: name.to_string() }),
            });
        }
    }
    Ok(())
}

/// Looks for what the starts of its tasks need, in the order of the lines; what many need once.
///
/// # Errors
/// [`Refusal::ImportLine`] of the first that is known to lack something.
fn are_met(import: &Import) -> Result<(), Refusal> {
    let mut met = HashSet::from([Needs::default()]);
    for (line, definition) in &import.taken {
        let needs = Needs::of(definition);
        if met.insert(needs) {
            needs.check().map_err(|refused| at_line(*line, refused))?;
        }
    }
    Ok(())
}

/// Stages every part, and waits until all of them are durable.
///
/// # Errors
/// That of a line which is refused, the first of those that are. A name that was taken since it was looked for is one.
async fn stage_all(engine: &Engine, id: ImportId, import: &Import) -> Result<(), Refusal> {
    let mut parts = JoinSet::new();
    let mut refused = None;
    for part in import.taken.chunks(PART) {
        if parts.len() == PARTS
            && let Some(staged) = parts.join_next().await
        {
            note(staged, &mut refused);
        }
        if refused.is_some() {
            break;
        }
        let (lines, definitions) = part.iter().cloned().unzip();
        parts.spawn(stage(engine.clone(), id, lines, definitions));
    }
    while let Some(staged) = parts.join_next().await {
        note(staged, &mut refused);
    }
    refused.map_or(Ok(()), Err)
}

/// Keeps the refusal of the first line.
fn note(staged: Result<Result<(), Refusal>, tokio::task::JoinError>, refused: &mut Option<Refusal>) {
    let staged = staged.unwrap_or_else(|error| {
        Err(Refusal::Internal {
            what: format!("a part of an import ended early: {error}"),
        })
    });
    // One that names no line comes last.
    let line = |refusal: &Refusal| refusal::line_of(refusal).unwrap_or(u64::MAX);
    if let Err(new) = staged
        && refused.as_ref().is_none_or(|old| line(&new) < line(old))
    {
        *refused = Some(new);
    }
}

async fn stage(
    engine: Engine,
    import: ImportId,
    lines: Vec<u64>,
    definitions: Vec<Arc<Definition>>,
) -> Result<(), Refusal> {
    let build = move |_: &_, _| {
        Ok(Command::Stage {
            import,
            definitions: definitions.clone(),
        })
    };
    let staged = engine.change(build, |_, _| ()).await;
    staged.map_err(|refused| refusal::with_line(refused, &lines))
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
