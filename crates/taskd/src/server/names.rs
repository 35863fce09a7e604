//! Names as users type them: tasks by name or pattern, runs as `TASK/N`.

use taskd_core::pattern::{OF_LABELS, is_pattern, means};
use taskd_core::run::RunKey;
use taskd_core::scheduler::Scheduler;
use taskd_core::task::{Label, NAME_MAX, Owner, TaskId, TaskName};
use taskd_wire::refusal::Refusal;

/// Most names looked at for a suggestion, so that a misspelt name costs the engine no scan of a million.
const NEAR_SEEN: usize = 2000;

/// Most names suggested.
const NEAR_SHOWN: usize = 3;

/// How alike a suggestion must be (Jaro–Winkler, 0 to 1).
const NEAR_ENOUGH: f64 = 0.8;

/// Most names and patterns in one request.
const NAMES_MAX: usize = 10_000;

/// Most bytes of a name, a pattern or `TASK/N`: what is longer stands for nothing that can be.
const NAME_BYTES_MAX: usize = 4 * NAME_MAX;

/// Most bytes of a misspelt name for which names like it are looked for: finding them takes time with its length.
const NEAR_BYTES_MAX: usize = 2 * NAME_MAX;

/// Most patterns in one request: each may look at every name there is.
const PATTERNS_MAX: usize = 16;

/// Most tasks or runs that one request may change: their names fit one answer.
pub(super) const CHANGED_MAX: usize = 10_000;

/// Most names looked at before others who wait for the engine have their turn.
pub(super) const SCANNED_MAX: usize = 20_000;

/// A name, or a pattern: of names, in which `*` stands for any characters and `?` for one, or behind [`OF_LABELS`] of labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern<'a>(&'a str);

impl<'a> Pattern<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Pattern(text)
    }

    /// Whether it may stand for more than one name.
    pub(super) fn is_wild(&self) -> bool {
        is_pattern(self.0)
    }

    /// What every name it stands for begins with.
    pub(super) fn literal_prefix(&self) -> &'a str {
        match self.0.starts_with(OF_LABELS) {
            true => "",
            false => &self.0[..self.0.find(['*', '?']).unwrap_or(self.0.len())],
        }
    }

    /// Whether it stands for a task.
    pub(super) fn matches(&self, name: &TaskName, labels: &[Label]) -> bool {
        means(self.0, name, labels)
    }
}

/// The names of tasks, without those that are not there.
pub(super) fn named(state: &Scheduler, ids: &[TaskId]) -> Vec<String> {
    let tasks = ids.iter().filter_map(|id| state.task(*id));
    tasks.map(|task| task.name.to_string()).collect()
}

/// Who asks, as records tell it.
pub(super) fn by(owner: Owner) -> String {
    format!("uid {}", owner.0)
}

/// Checks how many names a request holds, and how long they are.
///
/// # Errors
/// [`Refusal::Limit`]
pub(super) fn within(names: &[String]) -> Result<(), Refusal> {
    limit("names", NAMES_MAX, names.len())?;
    let longest = names.iter().map(String::len).max();
    limit("bytes of a name", NAME_BYTES_MAX, longest.unwrap_or_default())?;
    let patterns = names.iter().filter(|name| Pattern::new(name).is_wild());
    limit("patterns", PATTERNS_MAX, patterns.count())
}

/// Checks that there are at most so many of something.
///
/// # Errors
/// [`Refusal::Limit`]
pub(super) fn limit(what: &str, most: usize, actual: usize) -> Result<(), Refusal> {
    if actual <= most {
        return Ok(());
    }
    Err(Refusal::Limit {
        what: what.to_owned(),
        limit: most as u64,
        actual: actual as u64,
    })
}

/// Part of the way through the names that fit a pattern.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// Those that fit, in order.
    pub(super) found: Vec<(TaskName, TaskId)>,
    /// The last name looked at, when there are more to look at.
    pub(super) stopped_at: Option<String>,
}

/// Looks for names that fit a pattern after `after`: at most `most`, and through a bounded number of names.
pub(super) fn scan(state: &Scheduler, owner: Owner, pattern: &str, after: Option<&str>, most: usize) -> Scan {
    let pattern = Pattern::new(pattern);
    let prefix = pattern.literal_prefix();
    let mut scan = Scan {
        found: Vec::new(),
        stopped_at: None,
    };
    let candidates: Box<dyn Iterator<Item = _>> = match after {
        Some(after) if after >= prefix => Box::new(
            state
                .names_after(owner, Some(after))
                .take_while(|(name, _)| name.as_str().starts_with(prefix)),
        ),
        _ => Box::new(with_prefix(state, owner, prefix)),
    };
    for (looked_at, (name, id)) in candidates.enumerate() {
        if pattern.matches(name, state.labels_of(id)) {
            scan.found.push((name.clone(), id));
        }
        if looked_at + 1 == SCANNED_MAX || scan.found.len() == most {
            scan.stopped_at = Some(name.to_string());
            break;
        }
    }
    scan
}

/// The task of this name.
///
/// # Errors
/// [`Refusal::UnknownTask`], with names like it.
pub(super) fn task(state: &Scheduler, owner: Owner, name: &str) -> Result<TaskId, Refusal> {
    TaskName::parse(name)
        .ok()
        .and_then(|name| state.find(owner, &name))
        .ok_or_else(|| unknown(state, owner, name))
}

/// Names of an owner that begin with `prefix`, in order.
pub(super) fn with_prefix<'a>(
    state: &'a Scheduler,
    owner: Owner,
    prefix: &'a str,
) -> impl Iterator<Item = (&'a TaskName, TaskId)> + 'a {
    let own = (!prefix.is_empty())
        .then(|| TaskName::parse(prefix).ok())
        .flatten()
        .and_then(|name| state.find(owner, &name).map(|id| (name, id)))
        .and_then(|(_, id)| state.task(id).map(|task| (task.name, id)));
    let after = (!prefix.is_empty()).then_some(prefix);
    own.into_iter().chain(
        state
            .names_after(owner, after)
            .take_while(move |(name, _)| name.as_str().starts_with(prefix)),
    )
}

/// A run as `TASK/N`: also one that goes on though its task was removed, and whose name another may have by now.
///
/// # Errors
/// [`Refusal::UnknownRun`] when it is not of that form, [`Refusal::UnknownTask`] when there is no such task.
pub(super) fn run(state: &Scheduler, owner: Owner, text: &str) -> Result<RunKey, Refusal> {
    let (name, n) = split_run(text).ok_or_else(|| Refusal::UnknownRun { run: text.to_owned() })?;
    let named = task(state, owner, name).map(|task| RunKey { task, n });
    match &named {
        Ok(run) if state.run(*run).is_some() => named,
        Ok(_) | Err(_) => state.alone(name, n).map_or(named, Ok),
    }
}

/// The two parts of `TASK/N`.
pub(super) fn split_run(text: &str) -> Option<(&str, u64)> {
    let (name, n) = text.rsplit_once('/')?;
    let digits = !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit());
    Some((name, n.parse().ok().filter(|n| digits && *n > 0)?))
}

/// The refusal for a name without a task.
pub(super) fn unknown(state: &Scheduler, owner: Owner, name: &str) -> Refusal {
    let first: String = name.chars().take(1).filter(char::is_ascii_alphanumeric).collect();
    let candidates = with_prefix(state, owner, &first).map(|(candidate, _)| candidate.as_str());
    Refusal::UnknownTask {
        name: name.to_owned(),
        near: near(name, candidates),
    }
}

/// The names that are most like one that stands for nothing, of the first that there are.
pub(super) fn near<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Vec<String> {
    let looked_for = if name.len() <= NEAR_BYTES_MAX { NEAR_SEEN } else { 0 };
    let likeness = |candidate: &str| strsim::jaro_winkler(name, candidate);
    let mut near: Vec<(f64, &str)> = candidates
        .take(looked_for)
        .map(|candidate| (likeness(candidate), candidate))
        .filter(|(likeness, _)| *likeness >= NEAR_ENOUGH)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    let shown = near.into_iter().take(NEAR_SHOWN);
    shown.map(|(_, candidate)| candidate.to_owned()).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use taskd_core::Timestamp;
    use taskd_core::record::Record;
    use taskd_core::schedule::{Catalog, Zones};
    use taskd_core::scheduler::Limits;

    use super::*;
    use crate::testing::manual;

    /// Tasks of these names, of owner 7; those that end with 7 have a label.
    pub(in crate::server) fn state_with(names: impl Iterator<Item = String>) -> Scheduler {
        let records = names.zip(1..).map(|(name, id)| {
            let mut definition = manual(&name);
            if name.ends_with('7') {
                definition.labels = vec![TaskName::parse("seventh").unwrap()];
            }
            Record::TaskAdded {
                id: TaskId(id),
                owner: Owner(7),
                at: Timestamp::from_millis(0),
                definition: std::sync::Arc::new(definition),
            }
        });
        let catalog = Catalog::new(Zones::new(jiff::tz::db().clone()));
        Scheduler::replay(catalog, Limits::default(), [1, 2], records)
    }

    #[test]
    fn a_scan_in_parts_finds_what_one_look_would() {
        let state = state_with((0..3 * SCANNED_MAX).map(|n| format!("t{n:06}")));
        for (pattern, page) in [
            ("*7777*", 5),
            ("t*", SCANNED_MAX),
            ("t0000??", 7),
            ("label:seventh", 1000),
            ("label:eighth", 10),
            ("*x", 3),
            ("t000001*", 100),
        ] {
            let whole = state.names_after(Owner(7), None);
            let whole: Vec<TaskId> = whole
                .filter(|(name, id)| Pattern::new(pattern).matches(name, state.labels_of(*id)))
                .map(|(_, id)| id)
                .collect();
            let (mut found, mut after) = (Vec::new(), None::<String>);
            loop {
                let scan = scan(&state, Owner(7), pattern, after.as_deref(), page);
                assert!(scan.found.len() <= page);
                found.extend(scan.found.into_iter().map(|(_, id)| id));
                after = scan.stopped_at;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found, whole, "{pattern}");
            assert_eq!(
                found.is_empty(),
                pattern == "label:eighth" || pattern == "*x",
                "{pattern}"
            );
        }
    }

    #[test]
    fn a_text_too_long_to_be_a_name_is_refused_and_resembles_nothing() {
        let state = state_with((0..NEAR_SEEN).map(|n| format!("t{n:06}")));
        let limit = |refused: Result<(), Refusal>| match refused {
            Err(Refusal::Limit { what, .. }) => what,
            other => panic!("{other:?}"),
        };
        assert!(within(&["*".repeat(NAME_BYTES_MAX)]).is_ok());
        assert_eq!(limit(within(&["*".repeat(NAME_BYTES_MAX + 1)])), "bytes of a name");
        let near = |bytes: usize| {
            let Refusal::UnknownTask { near, .. } = unknown(&state, Owner(7), &format!("t{}", "0".repeat(bytes - 1)))
            else {
                panic!("another refusal");
            };
            near.len()
        };
        assert_eq!(near(8), NEAR_SHOWN);
        assert_eq!(near(NEAR_BYTES_MAX + 1), 0);
    }

    #[test]
    fn a_run_is_a_name_and_a_number() {
        assert_eq!(split_run("backup/12"), Some(("backup", 12)));
        for bad in [
            "backup",
            "backup/",
            "backup/0",
            "backup/-1",
            "backup/+1",
            "backup/1x",
            "/",
        ] {
            assert_eq!(split_run(bad), None, "{bad}");
        }
    }
}
