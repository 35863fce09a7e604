//! `runs`: a page of runs, newest first.

use std::collections::HashMap;

use taskd_core::Timestamp;
use taskd_core::run::{Outcome, RunKey};
use taskd_core::scheduler::Scheduler;
use taskd_core::task::{Owner, TaskId, TaskName};
use taskd_store::{Cursor, RunQuery, RunRow, Select};
use taskd_wire::client::{Response, RunFilter, RunInfo};
use taskd_wire::codec::Rec;
use taskd_wire::refusal::Refusal;

use crate::describe::{self, LiveRun};
use crate::server::{PAGE_MAX, Shared, meant, names};

/// Earlier attempts told in one answer, so that it fits a frame.
const EARLIER_MAX: usize = 2_000;

pub(super) async fn answer(
    shared: &Shared,
    filter: RunFilter,
    before: Option<u64>,
    limit: u32,
) -> Result<Response, Refusal> {
    let outcomes = filter
        .outcomes
        .iter()
        .map(|word| Outcome::from_word(word).ok_or_else(|| bad_outcome(word)))
        .collect::<Result<Vec<_>, _>>()?;
    let (mut tasks, mut runs) = (Vec::new(), Vec::new());
    for target in &filter.targets {
        match names::split_run(target) {
            Some(_) => runs.push(key_of(shared, target).await?),
            None => tasks.extend(history_of(shared, target).await?),
        }
    }
    let select = match (filter.targets.is_empty(), runs.is_empty()) {
        (true, _) => Select::All,
        (false, true) => Select::Tasks(tasks),
        (false, false) if tasks.is_empty() => Select::Runs(runs),
        (false, false) => return Err(mixed(&filter.targets)),
    };
    let by_name = matches!(select, Select::Runs(_));
    let query = RunQuery {
        owner: Some(shared.owner),
        select,
        outcomes,
        since: filter.since_ms.map(Timestamp::from_millis),
    };
    let limit = limit.clamp(1, PAGE_MAX) as usize;
    let before = before.map(Cursor::from_bits);
    let (rows, earlier, before) = shared
        .readers
        .read(move |reader| {
            let (rows, before) = reader.runs(&query, before, limit)?;
            let mut left = EARLIER_MAX;
            let mut earlier = Vec::with_capacity(rows.len());
            for row in &rows {
                let attempts = if by_name {
                    reader.earlier_attempts(row.key, left)?
                } else {
                    Vec::new()
                };
                left -= attempts.len();
                earlier.push(attempts);
            }
            Ok((rows, earlier, before))
        })
        .await?;
    let mut runs = with_live(shared, rows).await?;
    for (run, earlier) in runs.iter_mut().zip(earlier) {
        run.earlier = earlier.into_iter().map(describe::attempt).map(Rec).collect();
    }
    Ok(Response::Runs {
        runs: runs.into_iter().map(Rec).collect(),
        before: before.map(Cursor::to_bits),
    })
}

/// Joins rows with what is known of those in progress.
pub(super) async fn with_live(shared: &Shared, rows: Vec<RunRow>) -> Result<Vec<RunInfo>, Refusal> {
    let open: Vec<RunKey> = rows
        .iter()
        .filter(|row| row.finished_at.is_none())
        .map(|row| row.key)
        .collect();
    let mut live = if open.is_empty() {
        HashMap::new()
    } else {
        shared.engine.look(move |state, _| live_runs(state, open)).await?
    };
    Ok(rows
        .into_iter()
        .map(|row| {
            let live = live.remove(&row.key);
            describe::run(row, live)
        })
        .collect())
}

fn live_runs(state: &Scheduler, runs: Vec<RunKey>) -> HashMap<RunKey, LiveRun> {
    runs.into_iter()
        .filter_map(|run| Some((run, LiveRun::of(&state.run(run)?))))
        .collect()
}

/// The tasks whose history a name means: those that are there, else the one of that name removed last.
async fn history_of(shared: &Shared, name: &str) -> Result<Vec<TaskId>, Refusal> {
    let owner = shared.owner;
    match meant::tasks(&shared.engine, owner, vec![name.to_owned()], usize::MAX).await {
        Ok(meant) => Ok(meant.ids()),
        Err(refusal) => removed(shared, owner, name).await?.map(|id| vec![id]).ok_or(refusal),
    }
}

pub(super) async fn removed(shared: &Shared, owner: Owner, name: &str) -> Result<Option<TaskId>, Refusal> {
    let Ok(name) = TaskName::parse(name) else {
        return Ok(None);
    };
    shared
        .readers
        .read(move |reader| reader.resolve_removed(owner, &name))
        .await
}

fn mixed(targets: &[String]) -> Refusal {
    Refusal::BadField {
        field: "target".to_owned(),
        text: targets.join(" "),
        at: None,
        problem: "tasks and single runs cannot be asked for together".to_owned(),
        cure: Some("ask for the tasks first, then for the runs".to_owned()),
    }
}

/// The run that `TASK/N` means, of a task that is there or was.
///
/// # Errors
/// [`Refusal::UnknownTask`] or [`Refusal::UnknownRun`].
pub(super) async fn key_of(shared: &Shared, text: &str) -> Result<RunKey, Refusal> {
    let (owner, asked) = (shared.owner, text.to_owned());
    let found = shared
        .engine
        .look(move |state, _| names::run(state, owner, &asked))
        .await?;
    let Some((name, n)) = names::split_run(text) else {
        return found;
    };
    if let Ok(run) = found
        && is_known(shared, run).await?
    {
        return Ok(run);
    }
    // It may be of one that was removed, and whose name is another's by now.
    match (removed(shared, owner, name).await?, found) {
        (Some(task), Err(_)) => Ok(RunKey { task, n }),
        (Some(task), Ok(run)) => {
            let earlier = RunKey { task, n };
            Ok(if is_known(shared, earlier).await? { earlier } else { run })
        }
        (None, found) => found,
    }
}

async fn is_known(shared: &Shared, run: RunKey) -> Result<bool, Refusal> {
    let row = shared.readers.read(move |reader| reader.run(run)).await?;
    Ok(row.is_some())
}

fn bad_outcome(word: &str) -> Refusal {
    let all: Vec<&str> = Outcome::ALL.iter().map(|outcome| outcome.word()).collect();
    Refusal::BadField {
        field: "outcome".to_owned(),
        text: word.to_owned(),
        at: None,
        problem: "there is no such outcome".to_owned(),
        cure: Some(format!("use one of {}", all.join(", "))),
    }
}
