//! The tasks that a request means, asked of the engine in parts, so that however many there are, others have their
//! turn in between.

use std::collections::HashSet;
use std::sync::Arc;

use taskd_core::scheduler::Scheduler;
use taskd_core::task::{Owner, TaskId, TaskName};
use taskd_wire::refusal::Refusal;

use super::names::{self, Pattern, SCANNED_MAX};
use crate::engine::Engine;

/// Names looked up before others who wait for the engine have their turn.
const LOOKED_UP: usize = 1000;

/// Tasks that were found, each once, in the order of what was asked for.
#[derive(Clone)]
pub(super) struct Meant {
    asked: Arc<[String]>,
    /// Each with the place in `asked` of what it was found by.
    found: Vec<(TaskId, usize)>,
}

impl Meant {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    /// All that were found.
    pub(super) fn ids(&self) -> Vec<TaskId> {
        self.found.iter().map(|(id, _)| *id).collect()
    }

    /// Those that are still there. A pattern may have lost some of its tasks meanwhile, a name not.
    ///
    /// # Errors
    /// [`Refusal::UnknownTask`] for a name without a task, or when none is left.
    pub(super) fn still(&self, state: &Scheduler, owner: Owner) -> Result<Vec<TaskId>, Refusal> {
        let mut ids = Vec::with_capacity(self.found.len());
        let mut lost = None;
        for (id, by) in &self.found {
            let by = &self.asked[*by];
            if state.task(*id).is_some() {
                ids.push(*id);
            } else if Pattern::new(by).is_wild() {
                lost = Some(by);
            } else {
                return Err(names::unknown(state, owner, by));
            }
        }
        match lost {
            Some(by) if ids.is_empty() => Err(names::unknown(state, owner, by)),
            _ => Ok(ids),
        }
    }
}

/// Looks for the tasks meant, and no further once there are more than `enough`.
///
/// # Errors
/// [`Refusal::UnknownTask`] for a name without a task, or a pattern without any.
pub(super) async fn tasks(engine: &Engine, owner: Owner, asked: Vec<String>, enough: usize) -> Result<Meant, Refusal> {
    let asked: Arc<[String]> = asked.into();
    let mut meant = Meant {
        asked: Arc::clone(&asked),
        found: Vec::new(),
    };
    let mut seen = HashSet::new();
    let mut place = 0;
    while place < asked.len() && meant.len() <= enough {
        if Pattern::new(&asked[place]).is_wild() {
            let mut fitting = Fitting::new(&asked[place], None);
            let mut any = false;
            while meant.len() <= enough
                && let Some(found) = fitting.some(engine, owner, usize::MAX).await?
            {
                any |= !found.is_empty();
                let new = found.into_iter().filter(|(_, id)| seen.insert(*id));
                meant.found.extend(new.map(|(_, id)| (id, place)));
            }
            if !any {
                return Err(unknown(engine, owner, &asked[place]).await);
            }
            place += 1;
        } else {
            let from = place;
            let plain = |name: &&String| !Pattern::new(name).is_wild();
            let names = asked[from..].iter().take_while(plain).take(LOOKED_UP).count();
            place += names;
            let asked = Arc::clone(&asked);
            let ids = engine.look(move |state, _| {
                let names = asked[from..from + names].iter();
                names
                    .map(|name| names::task(state, owner, name))
                    .collect::<Result<Vec<_>, _>>()
            });
            let ids = ids.await??.into_iter().zip(from..);
            meant.found.extend(ids.filter(|(id, _)| seen.insert(*id)));
        }
    }
    Ok(meant)
}

/// As [`tasks`], for a change of at most so many.
///
/// # Errors
/// As there, and [`Refusal::Limit`].
pub(super) async fn changed(engine: &Engine, owner: Owner, asked: Vec<String>, most: usize) -> Result<Meant, Refusal> {
    let meant = tasks(engine, owner, asked, most).await?;
    names::limit("tasks at once", most, meant.len())?;
    Ok(meant)
}

/// A page of the tasks meant: in the order of their names, those after `after`, and whether more follow.
///
/// # Errors
/// As [`tasks`]; a pattern need fit nothing once a page has been read.
pub(super) async fn page(
    engine: &Engine,
    owner: Owner,
    asked: Vec<String>,
    after: Option<String>,
    limit: usize,
) -> Result<(Vec<TaskId>, bool), Refusal> {
    let (patterns, plain): (Vec<_>, Vec<_>) = asked.into_iter().partition(|text| Pattern::new(text).is_wild());
    let mut page = Vec::new();
    let mut plain = plain.into_iter().peekable();
    while plain.peek().is_some() {
        let names: Vec<String> = plain.by_ref().take(LOOKED_UP).collect();
        let found = engine.look(move |state, _| {
            let named = |name: &String| names::task(state, owner, name).map(|id| (state.task(id), id));
            names
                .iter()
                .map(named)
                .filter_map(|found| match found {
                    Ok((task, id)) => task.map(|task| Ok((task.name.clone(), id))),
                    Err(refusal) => Some(Err(refusal)),
                })
                .collect::<Result<Vec<_>, _>>()
        });
        let found = found.await??.into_iter();
        page.extend(found.filter(|(name, _)| after.as_deref().is_none_or(|after| name.as_str() > after)));
    }
    for pattern in patterns {
        let mut fitting = Fitting::new(&pattern, after.clone());
        let before = page.len();
        // One more than a page holds tells whether more follow.
        while page.len() - before <= limit
            && let Some(found) = fitting.some(engine, owner, limit + 1).await?
        {
            page.extend(found);
        }
        if after.is_none() && page.len() == before {
            return Err(unknown(engine, owner, &pattern).await);
        }
    }
    page.sort_unstable();
    page.dedup();
    let more = page.len() > limit;
    Ok((page.into_iter().take(limit).map(|(_, id)| id).collect(), more))
}

/// Whether any task fits a pattern.
///
/// # Errors
/// [`Refusal::UnknownTask`] when none does.
pub(super) async fn any(engine: &Engine, owner: Owner, pattern: &str) -> Result<(), Refusal> {
    let mut fitting = Fitting::new(pattern, None);
    while let Some(found) = fitting.some(engine, owner, 1).await? {
        if !found.is_empty() {
            return Ok(());
        }
    }
    Err(unknown(engine, owner, pattern).await)
}

/// What there is to say of all tasks of an owner, in the order of their names and in parts.
///
/// # Errors
/// When the engine is stopping.
pub(super) async fn all<T: Send + 'static>(
    engine: &Engine,
    owner: Owner,
    say: impl Fn(&Scheduler, &[TaskId]) -> T + Clone + Send + 'static,
) -> Result<Vec<T>, Refusal> {
    let (mut said, mut after) = (Vec::new(), None::<TaskName>);
    loop {
        let say = say.clone();
        let look = engine.look(move |state, _| {
            let rest = state.names_after(owner, after.as_ref().map(TaskName::as_str));
            let (names, ids): (Vec<_>, Vec<_>) = rest.take(SCANNED_MAX).unzip();
            let last = names.last().map(|name| TaskName::clone(name));
            (say(state, &ids), last.filter(|_| ids.len() == SCANNED_MAX))
        });
        let (part, last) = look.await?;
        said.push(part);
        after = last;
        if after.is_none() {
            return Ok(said);
        }
    }
}

async fn unknown(engine: &Engine, owner: Owner, name: &str) -> Refusal {
    let name = name.to_owned();
    let refusal = engine.look(move |state, _| names::unknown(state, owner, &name)).await;
    refusal.unwrap_or_else(|stopping| stopping)
}

/// The way through the names that fit a pattern.
struct Fitting {
    pattern: Arc<str>,
    /// The name it goes on after.
    after: Option<String>,
    over: bool,
}

impl Fitting {
    fn new(pattern: &str, after: Option<String>) -> Self {
        Fitting {
            pattern: pattern.into(),
            after,
            over: false,
        }
    }

    /// The next few, at most `most`, which may be none though more follow; `None` at the end.
    async fn some(
        &mut self,
        engine: &Engine,
        owner: Owner,
        most: usize,
    ) -> Result<Option<Vec<(TaskName, TaskId)>>, Refusal> {
        if self.over {
            return Ok(None);
        }
        let (pattern, after) = (Arc::clone(&self.pattern), self.after.take());
        let scan = engine
            .look(move |state, _| names::scan(state, owner, &pattern, after.as_deref(), most))
            .await?;
        self.over = scan.stopped_at.is_none();
        self.after = scan.stopped_at;
        Ok(Some(scan.found))
    }
}

#[cfg(test)]
mod tests {
    use super::super::names::tests::state_with;
    use super::*;

    const OWNER: Owner = Owner(7);

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    async fn named(engine: &Engine, ids: Vec<TaskId>) -> Vec<String> {
        let name = |state: &Scheduler, id| state.task(id).map(|task| task.name.to_string());
        let names = move |state: &Scheduler, _: &_| ids.into_iter().filter_map(|id| name(state, id)).collect();
        engine.look(names).await.expect("the engine is there")
    }

    #[tokio::test]
    async fn pages_of_several_patterns_are_those_of_their_union() {
        let (engine, _) = Engine::of_state(state_with((0..500).map(|n| format!("t{n:03}"))));
        let asked = texts(&["*7*", "t499", "t01?", "*77"]);
        let whole: Vec<String> = (0..500)
            .map(|n| format!("t{n:03}"))
            .filter(|name| name.contains('7') || name == "t499" || name.starts_with("t01"))
            .collect();
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let (ids, more) = page(&engine, OWNER, asked.clone(), after, 7)
                .await
                .expect("they are known");
            assert!(ids.len() <= 7);
            found.extend(named(&engine, ids).await);
            after = found.last().cloned();
            if !more {
                break;
            }
        }
        assert_eq!(found, whole);
    }

    #[tokio::test]
    async fn no_look_at_the_names_is_a_long_one() {
        let count = 3 * names::SCANNED_MAX;
        let (engine, looks) = Engine::of_state(state_with((0..count).map(|n| format!("t{n:06}"))));
        let asked = texts(&["*x0*", "*y0*", "*z0*", "t000001"]);
        assert!(
            page(&engine, OWNER, asked.clone(), Some("a".to_owned()), 10)
                .await
                .is_ok()
        );
        assert!(looks.get() >= 9, "{} looks", looks.get());
        assert!(tasks(&engine, OWNER, asked, 10).await.is_err());
        assert!(looks.get() >= 12, "{} looks", looks.get());
        let before = looks.get();
        let refused = changed(&engine, OWNER, texts(&["*"]), 10).await.err();
        assert!(matches!(refused, Some(Refusal::Limit { limit: 10, .. })), "{refused:?}");
        assert_eq!(looks.get() - before, 1, "it looked on with more than enough");
    }

    #[tokio::test]
    async fn a_name_whose_task_is_gone_is_refused_and_a_pattern_keeps_the_rest() {
        let (engine, _) = Engine::of_state(state_with((0..3).map(|n| format!("t{n}"))));
        let found = tasks(&engine, OWNER, texts(&["t*"]), 10).await.expect("they are known");
        let named = tasks(&engine, OWNER, texts(&["t0", "t2"]), 10)
            .await
            .expect("they are known");
        let fewer = state_with((0..2).map(|n| format!("t{n}")));
        assert_eq!(found.still(&fewer, OWNER).map(|ids| ids.len()), Ok(2));
        assert!(matches!(named.still(&fewer, OWNER), Err(Refusal::UnknownTask { name, .. }) if name == "t2"));
        let none = state_with(std::iter::empty());
        assert!(matches!(found.still(&none, OWNER), Err(Refusal::UnknownTask { name, .. }) if name == "t*"));
    }
}
