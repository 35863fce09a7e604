//! What must hold, at every step and at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use taskd_core::Timestamp;
use taskd_core::effect::Weight;
use taskd_core::event::Origin;
use taskd_core::pause::PauseScope;
use taskd_core::policy::{Concurrency, Misfire, Pool, QUEUE};
use taskd_core::record::Record;
use taskd_core::run::{Outcome, Passing, RunKey, TraceId, Trigger};
use taskd_core::schedule::Schedule;
use taskd_core::scheduler::{Limits, Scheduler};
use taskd_core::snapshot::Stage as RunStage;
use taskd_core::task::{ImportId, TaskId, When};

use crate::depending;
use crate::gates::{self, Gates};
use crate::pauses::History;
use crate::reading::read;
use crate::users::RETRIES;
use crate::world::{Daemon, Stage, World, catalog};

/// What the runners of all lives really did.
#[derive(Default)]
pub struct Spawned {
    /// How often the fire times of a task began anew: another schedule, or a clock set back far.
    epochs: BTreeMap<TaskId, u32>,
    whens: BTreeMap<TaskId, When>,
    firings: BTreeMap<(TaskId, u32, Timestamp), (RunKey, u128)>,
    /// The newest attempt of each run, by its trace id.
    runs: BTreeMap<(RunKey, u128), u32>,
    live: BTreeMap<RunKey, TraceId>,
    /// How many of its task might go side by side when a run was given its place.
    at_once: BTreeMap<RunKey, usize>,
    /// The groups and locks it took a part of then, with how many they held.
    pools: BTreeMap<RunKey, Vec<(Pool, usize)>>,
    pub gates: Gates,
    /// Tasks that had their run for a boot.
    booted: BTreeSet<(TaskId, u128)>,
    /// How often the machine has booted, and how often when a run was created, by its trace id.
    pub boot: u128,
    boots: BTreeMap<u128, u128>,
    horizon: Timestamp,
    /// Whether the horizon was ever drawn back far.
    set_back: bool,
    /// The epoch in which a run was created, by its trace id.
    created: BTreeMap<u128, u32>,
    /// The runs that were created before each pause, by their trace ids: where the clock was set back, for instants in it.
    pub before: BTreeMap<(PauseScope, Timestamp), BTreeSet<u128>>,
}

impl Spawned {
    /// A record leaves the scheduler.
    pub fn emitted(&mut self, record: &Record) {
        self.gates.emitted(record);
        if let Record::Horizon { until, boot: _ } = record {
            // Drawn back so far, it says that the clock was set back by more than the bound.
            if self.horizon.since(*until) > Limits::default().clock_back {
                self.whens
                    .keys()
                    .for_each(|task| *self.epochs.entry(*task).or_default() += 1);
                self.set_back = true;
            }
            self.horizon = *until;
        }
        if let Record::Paused { scope, at, .. } | Record::PauseBegins { scope, since: at } = record {
            let before = self.created.keys().copied().collect();
            self.before.insert((*scope, *at), before);
        }
        if let Record::MarkReset { task, .. } = record {
            *self.epochs.entry(*task).or_default() += 1;
        }
        if let Record::RunCreated { run, trace_id, .. } = record {
            let epoch = self.epochs.get(&run.task).copied().unwrap_or(0);
            self.created.entry(trace_id.0).or_insert(epoch);
            self.boots.entry(trace_id.0).or_insert(self.boot);
        }
    }

    /// Whether a run with this trace id was created before, in an earlier life as well.
    pub fn has_seen(&self, trace_id: TraceId) -> bool {
        self.created.contains_key(&trace_id.0)
    }

    /// A record is on disk.
    pub fn durable(&mut self, record: &Record) {
        if let Record::TaskAdded { id, definition, .. } | Record::TaskChanged { id, definition, .. } = record {
            let before = self.whens.insert(*id, definition.when.clone());
            if before.is_some_and(|before| before != definition.when) {
                *self.epochs.entry(*id).or_default() += 1;
            }
        }
    }

    pub fn start(&mut self, origin: &Origin, limit: usize) {
        let run = origin.attempt.run;
        let attempt = origin.attempt.attempt;
        self.gates.started(run);
        if origin.trigger == Trigger::Boot && attempt == 1 {
            // It may have waited for longer than its boot lasted.
            let boot = self.boots[&origin.trace_id.0];
            assert!(
                self.booted.insert((run.task, boot)),
                "{run:?} is the second of its task for one boot"
            );
        }
        // Where the clock was set back far they may come anew.
        let of_run = (run, 0)..=(run, u128::MAX);
        let other = self
            .runs
            .range(of_run)
            .find(|((_, trace), _)| *trace != origin.trace_id.0);
        assert!(other.is_none() || self.set_back, "the number of {run:?} is given twice");
        let started = self.runs.entry((run, origin.trace_id.0)).or_default();
        // Some cannot be started.
        assert!(attempt > *started, "{run:?} starts an attempt twice");
        assert!(attempt <= 1 + RETRIES, "{run:?} has more attempts than any task allows");
        *started = attempt;
        if let Some(at) = origin.fire_time.filter(|_| origin.trigger != Trigger::Backfill) {
            let epoch = self
                .created
                .get(&origin.trace_id.0)
                .copied()
                .expect("it is created before it starts");
            let this = (run, origin.trace_id.0);
            let earlier = self.firings.insert((run.task, epoch, at), this);
            assert!(
                earlier.is_none_or(|earlier| earlier == this),
                "the firing of {:?} at {at} started twice, now as {run:?}",
                run.task
            );
        }
        self.live.insert(run, origin.trace_id);
        let beside: Vec<&RunKey> = self.live.keys().filter(|live| live.task == run.task).collect();
        let most = beside.iter().map(|run| self.at_once[run]).max();
        assert!(
            Some(beside.len()) <= most,
            "{run:?} started while others of its task are live: {beside:?}"
        );
        for (pool, _) in &self.pools[&run] {
            let holding = self.live.keys().filter_map(|live| {
                let mut held = self.pools[live].iter();
                held.find(|(held, _)| held == pool).map(|(_, limit)| *limit)
            });
            let (holding, most) = (holding.clone().count(), holding.max());
            assert!(Some(holding) <= most, "{holding} live runs hold {pool}, {most:?} may");
        }
        assert!(
            self.live.len() <= limit,
            "{} processes live, {limit} may",
            self.live.len()
        );
    }

    /// A run gets its place.
    pub fn admitted(&mut self, run: RunKey, policy: Concurrency, pools: Vec<(Pool, usize)>) {
        self.pools.insert(run, pools);
        let at_once = policy.at_once().map_or(usize::MAX, |most| most.get() as usize);
        self.at_once.insert(run, at_once);
    }

    pub fn died(&mut self, origin: &Origin) {
        if self.live.get(&origin.attempt.run) == Some(&origin.trace_id) {
            self.live.remove(&origin.attempt.run);
        }
    }
}

impl World {
    /// Replaying what the store has, with facts that are on their way, gives the live state.
    pub fn check_equal(&self, daemon: &Daemon) {
        let own = daemon
            .journal
            .iter()
            .filter(|entry| match entry.weight {
                Weight::Fact => true,
                Weight::Decision => entry.stage == Stage::Told,
            })
            .flat_map(|entry| entry.records.iter());
        let records = self.disk.iter().chain(own).cloned();
        let replayed = Scheduler::replay(catalog(), self.limits.clone(), [1, 1], records);
        let (live, replayed) = (daemon.core.snapshot(), replayed.snapshot());
        assert_eq!(
            live, replayed,
            "the live state (left) is not what its records say (right)"
        );
    }

    /// What must hold when everything under way has come to rest.
    pub fn check_rest(&self) {
        let Some(daemon) = &self.daemon else { return };
        self.check_equal(daemon);
        let image = daemon.core.snapshot();
        if daemon.linked && !daemon.closing && !self.full {
            gates::rests(&daemon.core, self.wall());
        }
        let mut backlogs: BTreeMap<TaskId, usize> = BTreeMap::new();
        for run in daemon.core.active_runs().filter(|run| run.state == "waiting") {
            if matches!(run.origin.trigger, Trigger::CatchUp | Trigger::Backfill) {
                *backlogs.entry(run.origin.attempt.run.task).or_default() += 1;
            }
        }
        let longest = backlogs.values().max().copied().unwrap_or(0);
        // What stands for all that were missed, under another policy, waits as well.
        let most = self.limits.backlog + QUEUE.get() as usize;
        assert!(longest <= most, "a backlog of {longest} runs");
        let enabled = || image.tasks.iter().filter(|task| task.outline.enabled);
        let soonest = enabled()
            .filter_map(|task| read(&task.outline.when).next_after(task.mark))
            .min();
        assert_eq!(daemon.core.next_due(), soonest, "a task is not in the due queue");
        let linked = daemon.linked && !daemon.closing && !self.full;
        if linked && let Some(next) = soonest {
            assert!(next > self.wall(), "{next} passed and was not dealt with");
            let unread: usize = self.runners.all().map(|runner| runner.ended.len()).sum();
            assert_eq!(unread, 0, "a runner may not forget what is recorded");
            assert!(daemon.core.next_wakeup().is_some(), "nothing will wake for {next}");
        }
        for run in image.rest.runs.iter().filter(|run| linked && run.stopping.is_none()) {
            let policies = image.tasks.iter().find(|task| task.id == run.key.task);
            let deadline = policies.and_then(|task| task.outline.policies.time.deadline_ms);
            let waits = matches!(
                run.stage,
                RunStage::Waiting | RunStage::BackingOff { .. } | RunStage::Gated { .. }
            );
            if let Some((began, deadline)) = run.started_at.zip(deadline).filter(|_| waits) {
                let ends = began.plus(Duration::from_millis(deadline.get()));
                assert!(ends > self.wall(), "{:?} outlives its deadline", run.key);
            }
        }
        for task in enabled() {
            let schedule = read(&task.outline.when);
            let mut parts = task.outline.when.parts().iter();
            let instant = parts.all(|part| matches!(part, When::At { .. } | When::Boot | When::After(_)));
            // What an earlier life may have started is dealt with up to its horizon.
            let Limits {
                clock_back,
                horizon_ahead,
                ..
            } = Limits::default();
            let far = task.mark > self.wall().plus(clock_back + horizon_ahead);
            assert!(instant || !far, "the mark of {:?} is far ahead", task.id);
            let view = daemon.core.task(task.id).expect("it is in the snapshot");
            let next = schedule.next_after(task.mark);
            if image.rest.pauses.is_empty() && image.rest.calendars.is_empty() {
                assert_eq!(view.next, next, "{:?} waits for the wrong time", task.id);
            } else {
                assert!(
                    view.next.is_none() || view.next >= next,
                    "{:?} starts before it is due",
                    task.id
                );
            }
        }
    }

    /// What must hold in the end, of all that was ever made durable. Nothing is under way, no task enabled.
    pub fn check_end(&self) {
        let (mut ledger, mut runs) = (BTreeMap::new(), BTreeMap::new());
        let (mut removed, mut imports) = (BTreeSet::new(), BTreeMap::new());
        let mut pauses = History::default();
        for record in &self.disk {
            staging(record, &mut imports, &mut ledger);
            pauses.check(record, &self.before_changes, &self.undecided, &self.spawned.before);
            account(record, &mut ledger, &mut runs, &mut removed);
        }
        depending::check(&self.disk);
        assert!(imports.is_empty(), "an import never ended: {imports:?}");
        for (task, account) in &ledger {
            assert!(!account.enabled, "{task:?} is still enabled");
        }
        for task in &self.acked_tasks {
            let there = ledger.contains_key(task) || removed.contains(task);
            assert!(there, "{task:?} was acknowledged and is lost");
        }
        for task in &self.acked_removals {
            assert!(
                removed.contains(task),
                "{task:?} was acknowledged as removed and is there"
            );
        }
        for (run, (_, outcome)) in &runs {
            assert!(outcome.is_some(), "{run:?} has no outcome");
        }
        for run in &self.acked_runs {
            assert!(runs.contains_key(run), "{run:?} was acknowledged and is lost");
        }
        for (run, (trace, outcome)) in &runs {
            let ran = self.spawned.runs.contains_key(&(*run, *trace));
            let told = matches!(outcome, Some(Outcome::Succeeded | Outcome::Failed));
            assert!(ran || !told, "{run:?} is {outcome:?} and never had a process");
            assert!(
                !ran || *outcome != Some(Outcome::Skipped),
                "{run:?} was skipped and had a process"
            );
        }
        if self.spawned.set_back {
            // What had started by the old reckoning and was not recorded may be dealt with anew.
            return;
        }
        for ((task, _, at), (run, trace)) in &self.spawned.firings {
            let recorded = runs.get(run).is_some_and(|(recorded, _)| recorded == trace);
            let unknown = self.disk.iter().any(|record| match record {
                Record::Passed {
                    task: of,
                    first,
                    last,
                    passing,
                    ..
                } => of == task && *passing == Passing::Unknown && first <= at && at <= last,
                Record::MarkReset { task: of, .. } => of == task,
                _ => false,
            });
            assert!(
                recorded || unknown,
                "{run:?} ran for {at}, and the ledger says otherwise"
            );
        }
    }
}

/// The fire times of one task, as far as they are accounted for.
struct Account {
    schedule: Schedule,
    when: When,
    enabled: bool,
    misfire: Misfire,
    /// Every fire time up to here has exactly one record.
    mark: Timestamp,
    last_run: u64,
    /// Runs by its schedule since it was enabled, or its count changed.
    fired: u64,
}

impl Account {
    fn settled(&self, id: TaskId, until: Timestamp) {
        if self.enabled
            && let Some(next) = self.schedule.next_after(self.mark)
        {
            assert!(
                next > until,
                "{id:?} was due at {next}, before {until}, and nothing tells what became of that"
            );
        }
    }

    fn next(&self, id: TaskId, at: Timestamp) {
        assert!(self.enabled, "{id:?} fires at {at} and is disabled");
        let next = self.schedule.next_after(self.mark);
        assert_eq!(
            next,
            Some(at),
            "the next fire time of {id:?} is not the one that is recorded"
        );
    }
}

/// Nothing happens to the tasks of an import before it has ended, and nothing stays of one that is dropped.
fn staging(record: &Record, imports: &mut BTreeMap<ImportId, TaskId>, ledger: &mut BTreeMap<TaskId, Account>) {
    let staged = |id: &TaskId| {
        let before = imports.range(..=ImportId(id.0)).next_back();
        before.is_some_and(|(_, last)| id <= last)
    };
    match record {
        Record::ImportBegun { import, last, .. } => {
            assert!(imports.insert(*import, *last).is_none(), "{import:?} begins twice");
        }
        Record::ImportEnded { import } => {
            let last = imports.remove(import).expect("only what began ends");
            let all = ledger.range(TaskId(import.0)..=last).count() as u64;
            assert_eq!(all, last.0 + 1 - import.0, "{import:?} ended without all of its tasks");
        }
        Record::ImportDropped { import, from } => {
            let last = imports.get_mut(import).expect("only what began is dropped");
            ledger.retain(|id, _| id < from || id > last);
            *last = TaskId(from.0 - 1);
            if from.0 == import.0 {
                imports.remove(import);
            }
        }
        Record::RunCreated { run, .. } => assert!(!staged(&run.task), "{run:?} is of a staged task"),
        Record::TaskChanged { id, .. }
        | Record::TaskSwitched { id, .. }
        | Record::TaskRemoved { id, .. }
        | Record::Passed { task: id, .. } => {
            assert!(!staged(id), "{record:?} is of a staged task");
        }
        Record::TaskAdded { .. }
        | Record::Horizon { .. }
        | Record::RunnerAttached { .. }
        | Record::RunAdmitted { .. }
        | Record::AttemptStarted { .. }
        | Record::AttemptEnded { .. }
        | Record::RetryDue { .. }
        | Record::GateClosed { .. }
        | Record::RunStopping { .. }
        | Record::RunFinished { .. }
        | Record::MarkReset { .. }
        | Record::Fired { .. }
        | Record::CalendarSet { .. }
        | Record::PoolSet { .. }
        | Record::RunKeeps { .. }
        | Record::CalendarRemoved { .. }
        | Record::Booted { .. }
        | Record::NumbersLost { .. }
        | Record::BootSkipped { .. }
        | Record::RunMuted { .. }
        | Record::Latched { .. }
        | Record::Unlatched { .. }
        | Record::Owed { .. }
        | Record::DependencySkipped { .. }
        | Record::PauseBegins { .. }
        | Record::Paused { .. }
        | Record::Resumed { .. }
        | Record::LifeBegan { .. }
        | Record::LifeEnded { .. } => {}
    }
}

fn account(
    record: &Record,
    ledger: &mut BTreeMap<TaskId, Account>,
    runs: &mut BTreeMap<RunKey, (u128, Option<Outcome>)>,
    removed: &mut BTreeSet<TaskId>,
) {
    match record {
        Record::TaskAdded { id, at, definition, .. } => {
            let account = Account {
                schedule: read(&definition.when),
                when: definition.when.clone(),
                enabled: definition.enabled,
                misfire: definition.policies.misfire,
                mark: *at,
                last_run: 0,
                fired: 0,
            };
            assert!(
                ledger.insert(*id, account).is_none() && !removed.contains(id),
                "{id:?} was added twice"
            );
        }
        Record::TaskChanged {
            id,
            at,
            definition,
            mark,
            by: _,
        } => {
            let account = ledger.get_mut(id).expect("only a task that is there is changed");
            if account.when != definition.when || !definition.enabled {
                account.settled(*id, *at);
            }
            if account.enabled && definition.enabled && account.when == definition.when {
                assert_eq!(*mark, None, "{id:?} forgets fire times though its schedule stays");
            }
            if !account.enabled && definition.enabled || account.when.count() != definition.when.count() {
                account.fired = 0;
            }
            account.schedule = read(&definition.when);
            account.when = definition.when.clone();
            account.enabled = definition.enabled;
            account.misfire = definition.policies.misfire;
            account.mark = mark.unwrap_or(account.mark);
        }
        Record::TaskSwitched {
            id, at, enabled, mark, ..
        } => {
            let account = ledger.get_mut(id).expect("only a task that is there is switched");
            if !enabled {
                account.settled(*id, *at);
            }
            assert!(account.enabled != *enabled, "{id:?} is switched to what it was");
            if *enabled {
                account.fired = 0;
            } else if let Some(most) = account.when.count() {
                assert!(account.fired <= most.get());
            }
            account.enabled = *enabled;
            account.mark = mark.unwrap_or(account.mark);
        }
        Record::TaskRemoved { id, at } => {
            let account = ledger.remove(id).expect("only a task that is there is removed");
            account.settled(*id, *at);
            removed.insert(*id);
        }
        Record::RunCreated {
            run,
            fire_time,
            trace_id,
            trigger,
            ..
        } => {
            let account = ledger.get_mut(&run.task).expect("a run is of a task that is there");
            assert!(
                *trigger != Trigger::CatchUp || account.misfire != Misfire::Skip,
                "{run:?} is for a fire time that was to be skipped"
            );
            // Numbers of runs that were lost with their runner, unrecorded, may be left out.
            assert!(
                account.last_run < run.n,
                "the runs of {:?} are not counted up",
                run.task
            );
            account.last_run = run.n;
            if let Some(at) = fire_time.filter(|_| *trigger != Trigger::Backfill) {
                account.next(run.task, at);
                account.mark = at;
            }
            assert!(
                runs.insert(*run, (trace_id.0, None)).is_none(),
                "{run:?} is created twice"
            );
        }
        Record::AttemptEnded { attempt, outcome, .. } => {
            let open = runs.get(&attempt.run).is_some_and(|(_, ended)| ended.is_none());
            assert!(open, "{attempt:?} ends and its run was not in progress");
            assert!(
                !matches!(outcome, Outcome::Succeeded | Outcome::Cancelled),
                "another attempt follows one that {outcome}"
            );
        }
        Record::RunFinished { run, outcome, .. } => {
            let open = runs.get_mut(run).filter(|(_, ended)| ended.is_none());
            let (_, ended) = open.unwrap_or_else(|| panic!("{run:?} ends and was not in progress"));
            *ended = Some(*outcome);
        }
        Record::Passed {
            task,
            first,
            last,
            count,
            ..
        } => {
            let account = ledger.get_mut(task).expect("fire times are of a task that is there");
            account.next(*task, *first);
            let passed = account
                .schedule
                .passed(account.mark, *last)
                .expect("its first is a fire time");
            assert_eq!(
                (passed.first, passed.last, passed.count),
                (*first, *last, *count),
                "{record:?}"
            );
            account.mark = *last;
        }
        Record::NumbersLost { task, last } => {
            let account = ledger.get_mut(task).expect("runs are of a task that is there");
            assert!(account.last_run < *last, "no number of {task:?} is lost");
            account.last_run = *last;
        }
        Record::Fired { task, count } => {
            let account = ledger.get_mut(task).expect("runs are of a task that is there");
            account.fired += 1;
            assert_eq!(
                account.fired, *count,
                "the runs of {task:?} by its schedule are miscounted"
            );
            let most = account.when.count().expect("it has one");
            assert!(*count <= most.get(), "{task:?} fires more often than it may");
        }
        Record::MarkReset { task, mark } => {
            let account = ledger.get_mut(task).expect("a mark is of a task that is there");
            let back = account.mark.since(*mark);
            assert!(
                back > Limits::default().clock_back,
                "the mark of {task:?} is set back by {back:?}"
            );
            account.mark = *mark;
        }
        Record::Horizon { .. }
        | Record::RunnerAttached { .. }
        | Record::RunAdmitted { .. }
        | Record::AttemptStarted { .. }
        | Record::RetryDue { .. }
        | Record::GateClosed { .. }
        | Record::RunStopping { .. }
        | Record::ImportBegun { .. }
        | Record::ImportEnded { .. }
        | Record::ImportDropped { .. }
        | Record::CalendarSet { .. }
        | Record::PoolSet { .. }
        | Record::RunKeeps { .. }
        | Record::CalendarRemoved { .. }
        | Record::Booted { .. }
        | Record::BootSkipped { .. }
        | Record::RunMuted { .. }
        | Record::Latched { .. }
        | Record::Unlatched { .. }
        | Record::Owed { .. }
        | Record::DependencySkipped { .. }
        | Record::PauseBegins { .. }
        | Record::Paused { .. }
        | Record::Resumed { .. }
        | Record::LifeBegan { .. }
        | Record::LifeEnded { .. } => {}
    }
}
