//! The scheduler: what is known of tasks and runs, and what follows from it.
//!
//! # Theory of operation
//!
//! A driver owns one [`Scheduler`] and calls four families of methods, in any order, as a driver of a protocol library
//! would:
//!
//! * [`apply`](Scheduler::apply) for what a user asks, [`handle`](Scheduler::handle) for what happened;
//! * [`poll_effect`](Scheduler::poll_effect) after each of them until it is empty, doing each effect at once and in order;
//! * [`next_wakeup`](Scheduler::next_wakeup) then, to know when to come with [`Event::Tick`] at the latest. Coming too
//!   often is harmless;
//! * getters at any time.
//!
//! The state changes in one function, `evolve`, by records. A *fact* is state at once; a *decision* is once it is durable,
//! and until then what it touches is reserved. Replaying the records in the order of their tickets gives the live state.
//!
//! Five things are known of one life only, never recorded: which tickets are pending, which stops the runner may not
//! hear of yet, whether a runner is attached, what it was told, and since when this life goes. A restored scheduler
//! starts nothing until a runner is attached, since the inventory tells what an earlier life started without having
//! recorded it.

mod admission;
mod backlog;
mod booting;
mod calendars;
mod commands;
mod crowd;
mod depending;
mod driving;
mod evolve;
mod fate;
mod firing;
mod following;
mod gating;
mod graph;
mod import;
mod life;
mod naming;
mod pausing;
mod pending;
mod places;
mod pools;
mod recovery;
mod requiring;
mod retrying;
mod runs;
mod sharing;
mod table;
mod tasks;
mod trace;
mod views;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::time::Duration;

pub use self::crowd::Crowds;
pub use self::sharing::PoolView;
pub use self::views::{BusyRuns, Counts, RunView, TaskView, WaitsFor};

use self::depending::Dependencies;
use self::import::Imports;
use self::life::Life;
use self::pending::{After, Batch};
use self::pools::{Places, PoolKey};
use self::requiring::Requirements;
use self::runs::{Input, Process, Run, State};
use self::sharing::Shared;
use self::table::Table;
use self::tasks::{NameKey, Place, Schedules, Task};
use self::trace::Traces;
use crate::command::Ticket;
use crate::effect::Effect;
use crate::event::Event;
use crate::pause::{Pause, PauseScope};
use crate::record::Record;
use crate::run::RunKey;
use crate::schedule::Catalog;
use crate::snapshot::{Header, Rest, Snapshot, TaskImage};
use crate::task::{Label, Owner, TaskId, TaskName};
use crate::time::Timestamp;

/// What bounds the scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most runs that are starting, running or stopping at once; more wait.
    pub running: usize,
    /// Most runs of a task that wait to make up for a fire time.
    pub backlog: usize,
    /// The same of all tasks together.
    pub backlog_of_all: usize,
    /// Most calendars.
    pub calendars: usize,
    /// Most groups and locks of one owner with a limit that was set.
    pub pools: usize,
    /// Most tasks of uid 0.
    pub tasks_of_root: u64,
    /// Most tasks of any other uid.
    pub tasks_of_others: u64,
    /// How far the horizon is put ahead of what is due.
    pub horizon_ahead: Duration,
    /// How long before something is due the horizon is put ahead.
    pub horizon_lead: Duration,
    /// A firing that starts later than this after its fire time is a misfire.
    pub late: Duration,
    /// The furthest the clock may be set back without fire times coming again.
    pub clock_back: Duration,
    /// Between the signal that asks a run to end and KILL, where its task says nothing else.
    pub grace: Duration,
    /// Most facts in one batch: a night of missed fire times of a million tasks is many batches, so that others need not
    /// wait for all of them.
    pub batch: NonZeroUsize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            running: 512,
            backlog: 100,
            calendars: 1_000,
            pools: 1_000,
            backlog_of_all: 100_000,
            tasks_of_root: 1_000_000,
            tasks_of_others: 10_000,
            horizon_ahead: Duration::from_secs(5),
            horizon_lead: Duration::from_secs(2),
            late: Duration::from_secs(10),
            clock_back: Duration::from_secs(3 * 60 * 60),
            grace: Duration::from_secs(10),
            batch: const { NonZeroUsize::new(2_000).unwrap() },
        }
    }
}

/// The state machine.
pub struct Scheduler {
    // The recorded state, changed in `evolve` only.
    header: Header,
    tasks: Table<Task>,
    runs: BTreeMap<RunKey, Run>,
    /// What is paused, or was and has not been paused again since.
    pauses: BTreeMap<PauseScope, Pause>,
    /// Runs by schedule of tasks that have a count.
    fired: BTreeMap<TaskId, u64>,
    /// What tasks are grouped by, of those that are.
    labels: BTreeMap<TaskId, Box<[Label]>>,
    /// What the runs of tasks share with those of others, of those that share anything.
    sharing: BTreeMap<TaskId, Shared>,
    imports: Imports,
    /// Who comes after whom, of those that do.
    dependencies: Dependencies,
    /// Who requires whom, of those that do, and how tasks had ended last, of those that have run.
    requirements: Requirements,
    // What follows from it.
    /// Every owner with a task, and theirs by name.
    names: BTreeMap<Owner, BTreeMap<TaskName, TaskId>>,
    problems: BTreeMap<TaskId, String>,
    due: BTreeSet<(Timestamp, TaskId)>,
    /// Tasks that are due after a boot.
    boots: BTreeSet<TaskId>,
    /// Where runs stand; the limits of groups and locks in it are recorded.
    places: Places,
    /// Runs that go on though their tasks were removed.
    alone: BTreeSet<RunKey>,
    /// Runs whose next attempt, or the next look at their gate, is due at a time.
    retries: BTreeSet<(Timestamp, RunKey)>,
    /// Runs that wait between attempts, by their deadlines. While one has a process, the runner sees to that.
    deadlines: BTreeSet<(Timestamp, RunKey)>,
    // How it is read, and bounded.
    schedules: Schedules,
    limits: Limits,
    traces: Traces,
    // This life.
    life: Life,
    durable_horizon: Timestamp,
    last_task: u64,
    last_ticket: u64,
    pending: BTreeMap<Ticket, Batch>,
    reserved_names: BTreeSet<NameKey>,
    reserved_adds: BTreeMap<Owner, u64>,
    reserved_places: usize,
    /// Decisions about all tasks on their way.
    reserved_all: usize,
    /// Runs whose stop is a fact that is not durable yet: the runner hears of it when it is.
    unrecorded_stops: BTreeSet<RunKey>,
    // What the call that is in progress has come to, in the order it leaves.
    facts: Vec<Record>,
    /// Which of these become durable together.
    glued: Vec<Range<usize>>,
    after: Vec<After>,
    outbox: VecDeque<Effect>,
    effects: VecDeque<Effect>,
}

impl Scheduler {
    /// One that knows of no task. Trace ids follow from `seed`, which should be random.
    #[must_use]
    pub fn new(catalog: Catalog, limits: Limits, seed: [u64; 2]) -> Self {
        let header = Header::default();
        Scheduler {
            header,
            tasks: Table::default(),
            runs: BTreeMap::new(),
            pauses: BTreeMap::new(),
            fired: BTreeMap::new(),
            boots: BTreeSet::new(),
            labels: BTreeMap::new(),
            sharing: BTreeMap::new(),
            imports: Imports::default(),
            dependencies: Dependencies::default(),
            requirements: Requirements::default(),
            names: BTreeMap::new(),
            problems: BTreeMap::new(),
            due: BTreeSet::new(),
            places: Places::default(),
            alone: BTreeSet::new(),
            retries: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            schedules: Schedules::new(catalog),
            limits,
            traces: Traces::new(seed),
            life: Life::default(),
            durable_horizon: header.horizon,
            last_task: header.last_task,
            last_ticket: 0,
            pending: BTreeMap::new(),
            reserved_names: BTreeSet::new(),
            reserved_adds: BTreeMap::new(),
            reserved_places: 0,
            reserved_all: 0,
            unrecorded_stops: BTreeSet::new(),
            facts: Vec::new(),
            glued: Vec::new(),
            after: Vec::new(),
            outbox: VecDeque::new(),
            effects: VecDeque::new(),
        }
    }

    /// One in the state that all these records, which are durable, lead to.
    #[must_use]
    pub fn replay(catalog: Catalog, limits: Limits, seed: [u64; 2], records: impl IntoIterator<Item = Record>) -> Self {
        let mut scheduler = Scheduler::new(catalog, limits, seed);
        for record in records {
            scheduler.evolve(&record);
        }
        scheduler.inherit(scheduler.header.horizon);
        scheduler
    }

    /// One in the state that was loaded from tables; the tables give what replay of all their records would.
    #[must_use]
    pub fn restore(
        catalog: Catalog,
        limits: Limits,
        seed: [u64; 2],
        tasks: impl Iterator<Item = TaskImage>,
        rest: Rest,
    ) -> Self {
        let Rest {
            header,
            runs,
            pauses,
            calendars,
            fired,
            pools,
            latches,
            owed,
        } = rest;
        let mut scheduler = Scheduler::new(catalog, limits, seed);
        scheduler.header = header;
        scheduler.inherit(header.horizon);
        scheduler.last_task = header.last_task;
        for (name, calendar) in calendars {
            scheduler.schedules.keep_calendar(name, calendar);
        }
        scheduler.restore_tasks(tasks);
        scheduler.pauses = pauses.into_iter().collect();
        scheduler.fired = fired.into_iter().collect();
        for (owner, pool, limit) in pools {
            scheduler.places.set(PoolKey { owner, pool }, Some(limit));
        }
        for (key, mut run) in runs.into_iter().map(Run::of_image) {
            if run.keeps.is_none() {
                run.shares = scheduler.shares_of(key.task);
            }
            scheduler.runs.insert(key, run);
        }
        for (task, end, on) in latches {
            scheduler.latch(task, end, on);
        }
        for (task, cause, trace_id) in owed {
            scheduler.dependencies.owe(task, cause, trace_id);
        }
        let keys = scheduler.runs.keys().copied();
        scheduler.alone = keys.filter(|key| !scheduler.tasks.contains(key.task)).collect();
        let rest = |(key, run): (&RunKey, &Run)| run.state.rests_until().map(|until| (until, *key));
        scheduler.retries = scheduler.runs.iter().filter_map(rest).collect();
        let tasks: BTreeSet<_> = scheduler.runs.keys().map(|key| key.task).collect();
        for task in tasks {
            scheduler.line_up(task);
        }
        scheduler
    }

    fn inherit(&mut self, horizon: Timestamp) {
        self.durable_horizon = horizon;
        self.life.inherited = (horizon > Timestamp::MIN).then_some(horizon);
    }

    /// Builds the ordered tables at once, from sorted rows: a million insertions one by one would take seconds.
    fn restore_tasks(&mut self, images: impl Iterator<Item = TaskImage>) {
        let expected = images.size_hint().0;
        let (mut names, mut due) = (Vec::with_capacity(expected), Vec::with_capacity(expected));
        for image in images {
            let reading = self.schedules.read(&image.outline.when);
            if let Some(end) = image.last_end {
                self.requirements.ended(image.id, end);
            }
            self.label(image.id, &image.outline.labels);
            self.share(image.id, image.owner, &image.outline.sharing);
            let mut task = Task {
                name: image.outline.name,
                written: reading.written,
                next: reading.schedule.next_after(image.mark).unwrap_or(Timestamp::MAX),
                schedule: reading.schedule,
                mark: image.mark,
                last_run: image.last_run,
                last_outcome: image.last_outcome,
                policies: self.schedules.policies(&image.outline.policies),
                owner: image.owner,
                enabled: image.outline.enabled,
                reserved: false,
                place: Place::Out.held(reading.problem.is_some()),
            };
            if let Some(problem) = reading.problem {
                self.problems.insert(image.id, problem);
            }
            if task.at_boot() {
                self.boots.insert(image.id);
            }
            if let Some(next) = task.due() {
                task.place = task.place.queued(true);
                due.push((next, image.id));
            }
            names.push((task.owner, first_letters(&task.name), task.name.clone(), image.id));
            self.tasks.insert(image.id, task);
            self.link(image.id);
        }
        due.sort_unstable();
        self.due = due.into_iter().collect();
        names.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then_with(|| a.2.cmp(&b.2)));
        let mut names = names.into_iter().peekable();
        while let Some((owner, ..)) = names.peek() {
            let owner = *owner;
            let theirs = std::iter::from_fn(|| names.next_if(|(of, ..)| *of == owner));
            let theirs = theirs.map(|(_, _, name, id)| (name, id)).collect();
            self.names.insert(owner, theirs);
        }
    }

    /// The recorded state, with facts that are not durable yet and without decisions that are not, nor staged tasks.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            tasks: self
                .tasks
                .iter()
                .filter(|(id, _)| !self.imports.holds(*id))
                .map(|(id, task)| TaskImage {
                    id,
                    owner: task.owner,
                    outline: task.outline(self.labels_of(id), self.sharing_of(id)),
                    mark: task.mark,
                    last_run: task.last_run,
                    last_outcome: task.last_outcome,
                    last_end: self.requirements.last(id),
                })
                .collect(),
            rest: Rest {
                header: self.header,
                runs: self.runs.iter().map(|(key, run)| run.image(*key)).collect(),
                pauses: self
                    .pauses
                    .iter()
                    .map(|(scope, pause)| (*scope, pause.clone()))
                    .collect(),
                calendars: self.schedules.calendars(),
                pools: self.limits_of_pools().collect(),
                fired: self.fired.iter().map(|(id, count)| (*id, *count)).collect(),
                latches: self.dependencies.latches().collect(),
                owed: self.dependencies.owed().collect(),
            },
        }
    }

    /// Works by other limits from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Timestamp, event: Event) {
        self.handle_all(now, [event]);
    }

    /// Takes in what has happened by now, in order. What follows from all of it is found out once, and the facts leave
    /// together.
    pub fn handle_all(&mut self, now: Timestamp, events: impl IntoIterator<Item = Event>) {
        self.wake(now);
        for event in events {
            self.take_in(now, event);
            // Before the next end, for which there may be room only then.
            if self.owes_any() {
                self.settle(now);
            }
        }
        self.settle(now);
        self.flush();
    }

    fn take_in(&mut self, now: Timestamp, event: Event) {
        match event {
            Event::Tick => {}
            Event::Durable(ticket) => self.durable(now, ticket),
            Event::Refused(ticket) => self.refused(now, ticket),
            Event::RunnerAttached(inventory) => self.attach(now, inventory),
            Event::RunnerLost => self.lose_runner(now),
            Event::Started { attempt, pid, at } => {
                let process = Process {
                    attempt: attempt.attempt,
                    pid,
                    started_at: at,
                };
                self.started(now, attempt.run, process, Input::Started);
                self.settle_attempt(attempt);
            }
            Event::Ended { origin, end } => {
                let attempt = origin.attempt;
                self.ended(now, origin, end);
                self.settle_attempt(attempt);
            }
            Event::ClockStepped => {
                self.clamp_all_marks(now);
                self.clamp_retries(now);
            }
            Event::Booted(boot) => self.booted(now, boot),
            Event::ZonesChanged => self.read_all_anew(now),
            Event::Closing => self.close(now),
        }
    }

    /// When [`Event::Tick`] should come at the latest; `None` when nothing is due, or what is due waits for another
    /// event.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        if self.life.closing {
            return None;
        }
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        let deadline = deadline.filter(|_| self.life.runner.is_some());
        if !self.life.attached {
            return deadline;
        }
        let first = self.due.first().map(|(at, _)| *at);
        let may_fire = self.may_fire() && !self.life.behind;
        let startable = first.filter(|at| *at <= self.durable_horizon && may_fire);
        let beyond = self.first_beyond_horizon().map(|at| at.minus(self.limits.horizon_lead));
        let retry = self.retries.first().map(|(at, _)| *at);
        [startable, beyond, retry, deadline].into_iter().flatten().min()
    }

    /// The next thing to be done.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// What a life does before anything else.
    fn wake(&mut self, now: Timestamp) {
        if self.life.hear(now) {
            self.begin_pauses_anew(now);
        }
        if self.life.since.is_some() {
            return;
        }
        self.life.since = Some(now);
        self.life.alone_since = Some(now);
        self.fact(Record::LifeBegan { at: now });
        self.clamp_all_marks(now);
        let held: Vec<_> = self.problems.keys().copied().collect();
        for id in held {
            self.notice_held(id);
        }
        // Their cancellation was decided, and they have no process.
        let halted: Vec<_> = self
            .runs
            .iter()
            .filter(|(_, run)| {
                matches!(
                    run.state,
                    State::Stopping {
                        of: runs::Halted::Waiting,
                        ..
                    }
                )
            })
            .map(|(key, _)| *key)
            .collect();
        for run in halted {
            self.drive(now, run, Input::StopDecided);
        }
    }

    /// Does what is due, at the end of every call.
    fn settle(&mut self, now: Timestamp) {
        if self.life.closing {
            return;
        }
        if self.life.runner.is_some() {
            self.end_overdue(now);
        }
        if self.life.attached {
            self.fire_due(now);
            self.fire_boot(now);
            self.fire_dependent(now);
            self.retry_due(now);
            self.admit(now);
            self.extend_horizon(now);
        }
    }

    /// The daemon is about to end: what is due from now on is left to its next life, which need not ask whether this one
    /// may have started it.
    fn close(&mut self, now: Timestamp) {
        self.settle(now);
        self.life.closing = true;
        self.fact(Record::LifeEnded { at: now });
        // Without a runner, what an earlier life may have started is still to be asked for.
        if self.life.runner.is_none() {
            return;
        }
        // What is due and was not dealt with was not started, though the horizon says that it may have been.
        let undealt = self.tasks.iter().filter_map(|(_, task)| task.due()).min();
        let until = undealt.map_or(now, |at| now.min(at.minus(firing::INSTANT)));
        // Nor was any of a task that is held, whose fire times nobody knows.
        let held = self.problems.keys().filter_map(|id| self.tasks.get(*id));
        let until = held.map(|task| task.mark).min().map_or(until, |mark| until.min(mark));
        if self.header.horizon > until {
            self.draw_horizon_back(now, until);
        }
    }

    /// Whether an earlier life may have started what no record tells of: until the first runner was asked.
    fn may_have_started(&self) -> bool {
        self.life.inherited.is_some() && self.life.runner.is_none()
    }
}

/// The first characters of a name: most comparisons of names are settled by them, without a look at the text.
fn first_letters(name: &TaskName) -> u128 {
    let mut bytes = [0; 16];
    for (byte, letter) in bytes.iter_mut().zip(name.as_str().bytes()) {
        *byte = letter;
    }
    u128::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests;
