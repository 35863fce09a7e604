//! Getters: the state as the driver reads it.

use std::num::NonZeroU32;
use std::ops::Bound;

use crate::calendar::CalendarUse;
use crate::dependency::{Cause, Upstreams};
use crate::event::Origin;
use crate::pause::{Pause, PauseScope};
use crate::policy::Pool;
use crate::requirement::Requirement;
use crate::run::RunKey;
use crate::schedule::{Keeping, Schedule};
use crate::task::{Label, Owner, TaskId, TaskName};
use crate::time::Timestamp;

use super::Scheduler;
use super::evolve::runs_of;
use super::pools::Standing;
use super::runs::{Run, State};
use super::tasks::Task;

/// Most tasks that are looked at for the next start.
const LOOKED_AT: usize = 100;

/// A task as it is now. A decision that is not durable yet does not show.
#[derive(Clone, Copy, Debug)]
pub struct TaskView<'a> {
    /// Its id.
    pub id: TaskId,
    /// Its owner.
    pub owner: Owner,
    /// Its name.
    pub name: &'a TaskName,
    /// Whether fire times start runs.
    pub enabled: bool,
    /// Its next fire time that is to start; none while it is disabled or held, or where a pause has no end.
    pub next: Option<Timestamp>,
    /// The last fire time dealt with.
    pub mark: Timestamp,
    /// The number of its newest run, 0 if none.
    pub last_run: u64,
    /// Its schedule; none while it is held.
    pub schedule: Option<&'a Schedule>,
    /// The calendars it uses.
    pub calendars: &'a [CalendarUse],
    /// What it is grouped by.
    pub labels: &'a [Label],
    /// Whether it is due after each boot of the machine.
    pub at_boot: bool,
    /// The tasks that it comes after.
    pub after: Option<&'a Upstreams>,
    /// The tasks whose last run must have succeeded for it to start when it is due.
    pub requires: &'a [Requirement],
    /// Why its schedule cannot be read, if it cannot: then it is never due.
    pub held: Option<&'a str>,
}

/// What a run waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// This run of its task is ahead of it.
    Run(RunKey),
    /// A place among all runs.
    Place {
        /// How many there are.
        limit: usize,
    },
    /// A gate of it to open.
    Gate {
        /// Which, and what was read last.
        reading: String,
    },
    /// Room in a group or lock.
    Room {
        /// Which.
        pool: Pool,
        /// How many runs it holds; `None` for any number.
        limit: Option<NonZeroU32>,
    },
}

/// A run that has not ended, as it is now.
#[derive(Clone, Debug)]
pub struct RunView<'a> {
    /// What it is.
    pub origin: Origin,
    /// `waiting`, `starting`, `running`, `backing-off`, `gated` or `stopping`.
    pub state: &'static str,
    /// Its process id, if it has a process.
    pub pid: Option<u32>,
    /// When its first attempt started.
    pub started_at: Option<Timestamp>,
    /// When its next attempt is due or its gate is looked at again, while it waits for that.
    pub retry_at: Option<Timestamp>,
    /// Until when its gate is looked at, while it waits for that.
    pub gate_until: Option<Timestamp>,
    /// What it waits for, while it does.
    pub waits_for: Option<WaitsFor>,
    /// Why it is being stopped, if it is.
    pub stopping: Option<&'a str>,
    /// The run whose end triggered it.
    pub cause: Option<&'a Cause>,
}

/// The runs of an owner that have not ended.
#[derive(Clone, Debug, Default)]
pub struct BusyRuns<'a> {
    /// As many as were asked for, those with a process first.
    pub runs: Vec<RunView<'a>>,
    /// How many are starting, running or stopping.
    pub running: usize,
    /// How many wait: for a place, a gate, or their next attempt.
    pub waiting: usize,
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tasks.
    pub tasks: usize,
    /// Runs that are starting, running or stopping.
    pub running: usize,
    /// Runs that wait for a place.
    pub waiting: usize,
}

impl Scheduler {
    /// A task. Here and in all that follows, one that is staged does not show.
    #[must_use]
    pub fn task(&self, id: TaskId) -> Option<TaskView<'_>> {
        let task: &Task = self.tasks.get(id).filter(|_| !self.imports.holds(id))?;
        Some(TaskView {
            id,
            owner: task.owner,
            name: &task.name,
            enabled: task.enabled,
            next: self.next_owed(id, task),
            mark: task.mark,
            last_run: task.last_run,
            calendars: task.written.as_ref().map_or(&[], |written| written.calendars()),
            labels: self.labels_of(id),
            at_boot: task.at_boot(),
            after: task.after(),
            requires: task.requires(),
            schedule: (!task.place.is_held()).then_some(&task.schedule),
            held: self.problems.get(&id).map(String::as_str),
        })
    }

    /// The fire times of a task that are to start, as far as is known now: one that is overdue, and those to come; none while
    /// it is disabled or held, and no more than it may have.
    pub fn coming(&self, id: TaskId, now: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
        let task = self.tasks.get(id).filter(|task| task.due().is_some());
        let next = task.and_then(|task| self.next_owed(id, task));
        let mut last = task.map_or(now, |task| task.mark.max(now));
        let later = std::iter::from_fn(move || {
            last = self.first_owed(id, task?, last)?;
            Some(last)
        });
        let left = self
            .runs_left(id)
            .map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        next.filter(|next| *next <= now).into_iter().chain(later).take(left)
    }

    /// How many runs by its schedule a task may have yet, where that is bounded.
    #[must_use]
    pub fn runs_left(&self, id: TaskId) -> Option<u64> {
        let count = self.tasks.get(id)?.count()?;
        Some(count.saturating_sub(self.fired.get(&id).copied().unwrap_or(0)))
    }

    /// The calendars that freeze a task, or why one that does cannot be read.
    pub fn freezing(&self, id: TaskId) -> impl Iterator<Item = Result<Keeping, String>> + '_ {
        let freezing = move |task| self.freezing_of(id, task);
        self.tasks.get(id).into_iter().flat_map(freezing)
    }

    /// The ends that a task keeps of those it comes after, until it has all that it waits for.
    pub fn kept_ends(&self, id: TaskId) -> impl Iterator<Item = RunKey> + '_ {
        self.dependencies.latches_of(id)
    }

    /// The tasks of an owner that come after others or require them; one that names several may be told several times.
    pub fn dependents(&self, owner: Owner) -> impl Iterator<Item = TaskId> + '_ {
        let all = self.dependencies.downstream.all(owner);
        let all = all.chain(self.requirements.requiring.all(owner));
        all.filter(|id| !self.imports.holds(*id))
    }

    /// The tasks that come after another, in the order of their ids.
    pub fn downstream(&self, id: TaskId) -> impl Iterator<Item = TaskId> + '_ {
        let theirs = self
            .tasks
            .get(id)
            .map(|task| self.dependencies.downstream.by(task.owner, &task.name));
        theirs.into_iter().flatten().filter(|id| !self.imports.holds(*id))
    }

    /// What a task is grouped by.
    #[must_use]
    pub fn labels_of(&self, id: TaskId) -> &[Label] {
        self.labels.get(&id).map_or(&[], |labels| labels)
    }

    fn next_owed(&self, id: TaskId, task: &Task) -> Option<Timestamp> {
        let due = task.due()?;
        match self.is_free(id, task) {
            true => Some(due),
            false => self.first_owed(id, task, task.mark),
        }
    }

    /// All pauses that bear on a task, its own first; those that are over may be among them.
    pub fn pauses(&self, id: TaskId) -> impl Iterator<Item = (PauseScope, &Pause)> {
        self.pauses_of(id)
    }

    /// Why a fire time of a task that is to come will be skipped, as far as is known now.
    #[must_use]
    pub fn suppressed(&self, id: TaskId, at: Timestamp) -> Option<String> {
        self.suppression(id, self.tasks.get(id)?, at)
    }

    /// The pause that holds up a task at an instant, if one does: its own before that of all.
    #[must_use]
    pub fn pause_of(&self, id: TaskId, now: Timestamp) -> Option<(PauseScope, &Pause)> {
        self.pauses_of(id).find(|(_, pause)| !pause.is_over(now))
    }

    /// The pause of all tasks at an instant, if there is one.
    #[must_use]
    pub fn pause_of_all(&self, now: Timestamp) -> Option<&Pause> {
        self.pauses.get(&PauseScope::All).filter(|pause| !pause.is_over(now))
    }

    /// The id of an owner's task.
    #[must_use]
    pub fn find(&self, owner: Owner, name: &TaskName) -> Option<TaskId> {
        let id = self.names.get(&owner)?.get(name).copied();
        id.filter(|id| !self.imports.holds(*id))
    }

    /// An owner's tasks in the order of their names, from the first that comes after `after`, which need be no name.
    pub fn names_after<'a>(
        &'a self,
        owner: Owner,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&'a TaskName, TaskId)> + use<'a> {
        let from = (Bound::Excluded(after.unwrap_or("")), Bound::Unbounded);
        let theirs = self.names.get(&owner).map(|theirs| theirs.range::<str, _>(from));
        let named = theirs.into_iter().flatten().map(|(name, id)| (name, *id));
        named.filter(|(_, id)| !self.imports.holds(*id))
    }

    /// The tasks of an owner that are due soonest, at most `n`. One with a change on its way to the store is not among
    /// them.
    #[must_use]
    pub fn soonest(&self, owner: Owner, n: usize) -> Vec<TaskId> {
        let is_theirs = |id: &TaskId| self.tasks.get(*id).is_some_and(|task| task.owner == owner);
        self.due_shown().map(|(_, id)| id).filter(is_theirs).take(n).collect()
    }

    /// A run that has not ended.
    #[must_use]
    pub fn run(&self, key: RunKey) -> Option<RunView<'_>> {
        self.runs.get(&key).map(|run| self.view(key, run))
    }

    /// The runs of a task that have not ended.
    pub fn runs_of(&self, task: TaskId) -> impl Iterator<Item = RunKey> + '_ {
        self.runs.range(runs_of(task)).map(|(key, _)| *key)
    }

    /// The run of this number that goes on though its task, which had this name, was removed.
    #[must_use]
    pub fn alone(&self, name: &str, n: u64) -> Option<RunKey> {
        let is_it = |key: &&RunKey| key.n == n && self.runs.get(key).is_some_and(|run| run.name.as_str() == name);
        self.alone.iter().find(is_it).copied()
    }

    /// All runs that have not ended.
    pub fn active_runs(&self) -> impl Iterator<Item = RunView<'_>> + '_ {
        self.runs.iter().map(|(key, run)| self.view(*key, run))
    }

    /// The runs of an owner's tasks that have not ended, at most so many of them.
    #[must_use]
    pub fn busy_runs(&self, owner: Owner, most: usize) -> BusyRuns<'_> {
        // Whose a run is that goes on without its task is not kept: a daemon answers one owner, and root.
        let is_theirs = |key: &RunKey| self.tasks.get(key.task).is_none_or(|task| task.owner == owner);
        // Only those that are given are looked at closely, for there may be very many.
        let (waiting, running): (Vec<_>, Vec<_>) = self
            .runs
            .iter()
            .filter(|(key, _)| is_theirs(key))
            .partition(|(_, run)| run.state.waits());
        let given = running.iter().chain(&waiting).take(most);
        BusyRuns {
            runs: given.map(|(key, run)| self.view(**key, run)).collect(),
            running: running.len(),
            waiting: waiting.len(),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            tasks: self.tasks.len() - usize::try_from(self.imports.staged()).unwrap_or(0),
            running: self.occupied(),
            waiting: self.places.waiting(),
        }
    }

    /// The earliest instant at which a task is due, paused or not.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.due_shown().next().map(|(at, _)| at)
    }

    /// The earliest fire time of all tasks that is to start, as far as the tasks that are due soonest tell.
    #[must_use]
    pub fn next_start(&self) -> Option<Timestamp> {
        let soonest = self.due_shown().take(LOOKED_AT);
        let starts = soonest.filter_map(|(_, id)| self.next_owed(id, self.tasks.get(id)?));
        starts.min()
    }

    fn due_shown(&self) -> impl Iterator<Item = (Timestamp, TaskId)> + '_ {
        self.due.iter().copied().filter(|(_, id)| !self.imports.holds(*id))
    }

    /// Firings up to here may start: the horizon that is durable. [`Timestamp::MIN`] before there is one.
    #[must_use]
    pub fn horizon(&self) -> Timestamp {
        self.durable_horizon
    }

    /// Whether a runner is attached.
    #[must_use]
    pub fn runner_attached(&self) -> bool {
        self.life.attached
    }

    fn view<'a>(&'a self, key: RunKey, run: &'a Run) -> RunView<'a> {
        let process = run.state.process();
        let is_gated = matches!(run.state, State::Gated { .. });
        let gate = run.gate.as_ref().filter(|_| is_gated);
        RunView {
            origin: run.origin(key),
            state: run.state.word(),
            pid: process.map(|process| process.pid),
            started_at: run.started_at,
            retry_at: run.state.rests_until(),
            gate_until: gate.map(|gate| gate.gives_up),
            waits_for: match gate {
                Some(gate) => Some(WaitsFor::Gate {
                    reading: gate.reading.clone(),
                }),
                None => self.waits_for(key, &run.standing),
            },
            stopping: run.state.stopping(),
            cause: run.cause.as_ref(),
        }
    }

    fn waits_for(&self, key: RunKey, standing: &Standing) -> Option<WaitsFor> {
        match standing {
            Standing::Apart | Standing::Holds => None,
            Standing::LinedUp => {
                let goes = |run: &&Run| run.standing != Standing::LinedUp;
                let mut runs = self.runs.range(runs_of(key.task)).filter(|(_, run)| goes(run));
                runs.next().map(|(ahead, _)| WaitsFor::Run(*ahead))
            }
            Standing::Ready => Some(WaitsFor::Place {
                limit: self.limits.running,
            }),
            Standing::Blocked(pool) => Some(WaitsFor::Room {
                pool: pool.pool.clone(),
                limit: self.places.limit(pool),
            }),
        }
    }
}
