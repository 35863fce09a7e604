//! The world around the scheduler: a disk, a clock, users, and everything that goes wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::time::Duration;

use jiff::tz::TimeZoneDatabase;
use taskd_core::command::{Refusal, Reply, Ticket};
use taskd_core::effect::{Effect, Weight};
use taskd_core::event::Event;
use taskd_core::pause::PauseScope;
use taskd_core::record::Record;
use taskd_core::run::{Passing, RunKey, TraceId};
use taskd_core::schedule::{Catalog, Zones};
use taskd_core::scheduler::{Limits, Scheduler};
use taskd_core::task::{Definition, ImportId, TaskId};
use taskd_core::{Boot, Timestamp};

use crate::checks::Spawned;
use crate::depending;
use crate::dice::Dice;
use crate::known::Known;
use crate::requiring::{self, Ends};
use crate::runner::{Ended, Message, Runner};
use crate::runners::{Runners, View};
use crate::sharing;
use crate::users;

/// 2026-03-28, the day before the clocks of Berlin change.
const BEGIN: i64 = 1_774_656_000_000;

/// How exactly it is known when the machine was booted.
const EXACT: Duration = Duration::from_millis(20);

/// A batch of records and how far it has come.
pub struct Entry {
    pub ticket: Ticket,
    pub weight: Weight,
    pub records: Vec<Record>,
    pub stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Sent,
    OnDisk,
    /// On disk, and the scheduler knows.
    Told,
    Refused,
}

/// One life of the daemon.
pub struct Daemon {
    pub core: Scheduler,
    pub journal: Vec<Entry>,
    /// Answers that are owed.
    pub owed: BTreeMap<Ticket, Owed>,
    pub linked: bool,
    pub view: View,
    /// What this life knows to be durable.
    pub known: Known,
    /// How the last run of each task ended, as this life knows.
    pub ends: Ends,
    /// Runs whose creation this life has sent to the store.
    pub created: BTreeSet<RunKey>,
    pub closing: bool,
}

/// What a user will hear, and what it was about.
pub struct Owed {
    pub reply: Reply,
    pub wish: Wish,
}

/// What must be so once a command is answered, beyond what the answer says.
#[derive(Default)]
pub struct Wish {
    pub added: Vec<TaskId>,
    pub removed: Vec<TaskId>,
}

/// An import that has not ended, as its user knows it.
#[derive(Clone)]
pub struct Importing {
    pub import: ImportId,
    /// Tasks that are not on the disk yet.
    pub left: u64,
    pub ids: Vec<TaskId>,
}

pub struct World {
    pub dice: Dice,
    pub limits: Limits,
    pub elapsed: u64,
    pub wall_shift: i64,
    /// The boot in which the horizon on the disk was said.
    pub horizon_boot: Option<Boot>,
    /// Whether there is a calendar, as users know.
    pub has_calendar: bool,
    /// The boot of the machine.
    pub boot: u128,
    /// What earlier lives of the daemon made durable.
    pub disk: Vec<Record>,
    /// What was told of tasks and fire times while a change of a pause was on its way.
    pub before_changes: BTreeSet<(TaskId, Timestamp)>,
    /// The tasks that a decision was on its way about when a pause was decided: what an earlier one covered of them and
    /// nobody had dealt with is forgotten.
    pub undecided: BTreeMap<(PauseScope, Timestamp), BTreeSet<TaskId>>,
    /// The definitions on the disk.
    pub definitions: BTreeMap<TaskId, Definition>,
    /// The imports on the disk that have not ended: their last id and what is staged.
    pub imports: BTreeMap<ImportId, (TaskId, BTreeMap<TaskId, Definition>)>,
    pub full: bool,
    pub daemon: Option<Daemon>,
    pub runners: Runners,
    pub spool: Ended,
    pub spawned: Spawned,
    pub acked_tasks: BTreeSet<TaskId>,
    pub acked_removals: BTreeSet<TaskId>,
    pub acked_runs: BTreeSet<RunKey>,
    pub names: u64,
    pub trace: bool,
}

pub fn catalog() -> Catalog {
    static DB: OnceLock<TimeZoneDatabase> = OnceLock::new();
    Catalog::new(Zones::new(DB.get_or_init(TimeZoneDatabase::bundled).clone()))
}

impl World {
    pub fn new(seed: u64, trace: bool) -> Self {
        let mut dice = Dice::new(seed);
        let limits = Limits {
            backlog: 1 + dice.below(8) as usize,
            backlog_of_all: 1 + dice.below(20) as usize,
            running: 1 + dice.below(4) as usize,
            tasks_of_others: 6,
            batch: NonZeroUsize::MIN.saturating_add(dice.below(4) as usize),
            ..Limits::default()
        };
        World {
            dice,
            limits,
            elapsed: 0,
            wall_shift: 0,
            horizon_boot: None,
            has_calendar: false,
            boot: 1,
            disk: Vec::new(),
            before_changes: BTreeSet::new(),
            undecided: BTreeMap::new(),
            definitions: BTreeMap::new(),
            imports: BTreeMap::new(),
            full: false,
            daemon: None,
            runners: Runners::default(),
            spool: Ended::new(),
            spawned: Spawned::default(),
            acked_tasks: BTreeSet::new(),
            acked_removals: BTreeSet::new(),
            acked_runs: BTreeSet::new(),
            names: 0,
            trace,
        }
    }

    pub fn wall(&self) -> Timestamp {
        Timestamp::from_millis(BEGIN + self.elapsed as i64 + self.wall_shift)
    }

    pub fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{} {}", self.wall(), what());
        }
    }

    // The daemon and its disk.

    pub fn start_daemon(&mut self) {
        // The store drops what an earlier life left unfinished.
        for (import, _) in std::mem::take(&mut self.imports) {
            let from = TaskId(import.0);
            self.disk.push(Record::ImportDropped { import, from });
        }
        let seed = [self.dice.word(), self.dice.word()];
        let replayed = Scheduler::replay(catalog(), self.limits.clone(), seed, self.disk.iter().cloned());
        let core = if self.dice.chance(500) {
            replayed
        } else {
            let image = replayed.snapshot();
            let (tasks, rest) = (image.tasks.clone().into_iter(), image.rest.clone());
            let restored = Scheduler::restore(catalog(), self.limits.clone(), seed, tasks, rest);
            assert_eq!(
                restored.snapshot(),
                image,
                "a restored scheduler differs from the replayed one"
            );
            restored
        };
        self.say(|| "daemon starts".to_owned());
        let (mut known, mut ends) = (Known::default(), Ends::default());
        for record in &self.disk {
            known.learn(record);
            ends.learn(record);
        }
        self.daemon = Some(Daemon {
            core,
            journal: Vec::new(),
            owed: BTreeMap::new(),
            linked: false,
            view: View::default(),
            known,
            ends,
            created: BTreeSet::new(),
            closing: false,
        });
        self.hear_clock();
    }

    /// The daemon looks at the clock anew.
    pub fn hear_clock(&mut self) {
        self.tell_all(self.wall(), vec![Event::Booted(self.booted()), Event::ClockStepped]);
    }

    fn booted(&self) -> Boot {
        Boot {
            id: self.boot,
            at: Timestamp::from_millis(BEGIN + self.wall_shift),
        }
    }

    /// The daemon is gone; what of its batches was on disk stays, and the runner may still read what was sent.
    pub fn crash_daemon(&mut self) {
        let Some(daemon) = self.daemon.take() else { return };
        self.say(|| "daemon ends".to_owned());
        self.check_equal(&daemon);
        for entry in daemon.journal {
            if matches!(entry.stage, Stage::OnDisk | Stage::Told) {
                self.disk.extend(entry.records);
            }
        }
        self.runners.hush();
    }

    /// Gives the scheduler an event and does what it wants.
    pub fn tell(&mut self, now: Timestamp, event: Event) {
        self.tell_all(now, vec![event]);
    }

    /// The same of what happened together.
    pub fn tell_all(&mut self, now: Timestamp, events: Vec<Event>) {
        if let Some(daemon) = &mut self.daemon {
            if self.trace {
                eprintln!("{} -> {events:?}", self.elapsed);
            }
            daemon.core.handle_all(now, events);
            self.pump();
        }
    }

    pub fn pump(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        while let Some(effect) = daemon.core.poll_effect() {
            if self.trace {
                eprintln!("{} <- {effect:?}", self.elapsed);
            }
            daemon.known.check(&effect, &daemon.created);
            let mut send = |message| {
                if daemon.linked {
                    self.runners.send(&mut daemon.view, &message);
                }
            };
            match effect {
                Effect::Record {
                    ticket,
                    records,
                    weight,
                } => {
                    let last = daemon.journal.last().map(|entry| entry.ticket);
                    assert!(last < Some(ticket), "tickets count up");
                    assert!(!records.is_empty(), "an empty batch");
                    let under_way = daemon
                        .journal
                        .iter()
                        .filter(|entry| matches!(entry.stage, Stage::Sent | Stage::OnDisk))
                        .flat_map(|entry| &entry.records);
                    for record in &records {
                        if let Record::Paused { scope, at, .. } = record {
                            let ended = under_way.clone().filter_map(|record| match record {
                                Record::ImportEnded { import } => Some(users::ids(*import)),
                                _ => None,
                            });
                            let touched = under_way.clone().filter_map(|record| match record {
                                Record::TaskAdded { id, .. }
                                | Record::TaskChanged { id, .. }
                                | Record::TaskSwitched { id, .. }
                                | Record::TaskRemoved { id, .. } => Some(*id),
                                Record::Paused { scope, .. } | Record::Resumed { scope, .. } => match scope {
                                    PauseScope::Task(id) => Some(*id),
                                    PauseScope::All => None,
                                },
                                Record::RunCreated { run, .. } | Record::RunStopping { run, .. } => Some(run.task),
                                _ => None,
                            });
                            // Two may be decided at one instant.
                            let undecided = self.undecided.entry((*scope, *at)).or_default();
                            undecided.extend(touched.chain(ended.flatten()));
                        }
                    }
                    let changes = daemon.journal.iter().any(|entry| {
                        let is_under_way = matches!(entry.stage, Stage::Sent | Stage::OnDisk);
                        is_under_way
                            && entry
                                .records
                                .iter()
                                .any(|record| matches!(record, Record::Paused { .. } | Record::Resumed { .. }))
                    });
                    depending::emitted(&daemon, &records);
                    let now = self.wall();
                    requiring::emitted(&mut daemon, &self.spawned, now, &records);
                    for record in &records {
                        if let Record::Passed { task, first, .. } = record
                            && changes
                        {
                            self.before_changes.insert((*task, *first));
                        }
                        if let Record::Passed {
                            task,
                            last,
                            passing: Passing::Unknown,
                            ..
                        } = record
                            && self.horizon_boot.is_some_and(|said| {
                                let boot = self.booted();
                                said.id == boot.id && said.at <= boot.at
                            })
                        {
                            // The clock was not set back since.
                            assert!(
                                *last <= now.plus(EXACT),
                                "{task:?} at {last} has yet to come, and is told as unknown"
                            );
                        }
                        self.spawned.emitted(record);
                        sharing::emitted(&daemon, &mut self.spawned, record);
                        if let Record::RunCreated { run, .. } = record {
                            daemon.created.insert(*run);
                        }
                    }
                    daemon.journal.push(Entry {
                        ticket,
                        weight,
                        records,
                        stage: Stage::Sent,
                    });
                }
                Effect::Start { origin, .. } => {
                    let definition = self.definitions.get(&origin.attempt.run.task);
                    let has_gates = definition.is_some_and(|definition| definition.gates.any());
                    let gated = has_gates && origin.attempt.attempt == 1;
                    send(Message::Start { origin, gated });
                }
                Effect::Stop { attempt, grace } => send(Message::Stop(attempt, grace)),
                Effect::Forget(attempt) => send(Message::Forget(attempt)),
                Effect::Prepare(_) | Effect::Notice(_) => {}
            }
        }
        self.daemon = Some(daemon);
    }

    /// Writes the next batch, or refuses a decision. Tells whether anything was done.
    pub fn commit(&mut self) -> bool {
        let refuse = self.full || self.dice.chance(5);
        let Some(daemon) = &mut self.daemon else { return false };
        let mut sent = daemon.journal.iter_mut().filter(|entry| entry.stage == Stage::Sent);
        if !refuse {
            let Some(entry) = sent.next() else { return false };
            entry.stage = Stage::OnDisk;
            for record in &entry.records {
                self.spawned.durable(record);
                match record {
                    Record::Horizon { boot, .. } => self.horizon_boot = *boot,
                    Record::TaskAdded { id, definition, .. } | Record::TaskChanged { id, definition, .. } => {
                        let mut imports = self.imports.range_mut(..=ImportId(id.0));
                        let staged = imports.next_back().filter(|(_, (last, _))| id <= last);
                        let place = staged.map_or(&mut self.definitions, |(_, (_, staged))| staged);
                        place.insert(*id, Definition::clone(definition));
                    }
                    Record::ImportBegun { import, last, .. } => {
                        self.imports.insert(*import, (*last, BTreeMap::new()));
                    }
                    Record::ImportEnded { import } => {
                        let (_, staged) = self.imports.remove(import).expect("it began");
                        self.definitions.extend(staged);
                    }
                    Record::ImportDropped { import, from } => {
                        let (last, staged) = self.imports.get_mut(import).expect("it began");
                        staged.retain(|id, _| id < from);
                        *last = TaskId(from.0 - 1);
                        if from.0 == import.0 {
                            self.imports.remove(import);
                        }
                    }
                    Record::CalendarSet { .. } => self.has_calendar = true,
                    Record::CalendarRemoved { .. } => self.has_calendar = false,
                    Record::TaskSwitched { id, enabled, .. } => {
                        if let Some(definition) = self.definitions.get_mut(id) {
                            definition.enabled = *enabled;
                        }
                    }
                    Record::TaskRemoved { id, .. } => {
                        self.definitions.remove(id);
                    }
                    _ => {}
                }
            }
            return true;
        }
        let Some(entry) = sent.find(|entry| entry.weight == Weight::Decision) else {
            return !self.full;
        };
        entry.stage = Stage::Refused;
        let ticket = entry.ticket;
        daemon.owed.remove(&ticket);
        let now = self.wall();
        self.tell(now, Event::Refused(ticket));
        true
    }

    /// Tells the scheduler of the next batch on disk, and the user who waits for it.
    pub fn acknowledge(&mut self) -> bool {
        let Some(daemon) = &mut self.daemon else { return false };
        let Some(entry) = daemon.journal.iter_mut().find(|entry| entry.stage == Stage::OnDisk) else {
            return false;
        };
        entry.stage = Stage::Told;
        entry.records.iter().for_each(|record| daemon.known.learn(record));
        let ticket = entry.ticket;
        let owed = daemon.owed.remove(&ticket);
        let now = self.wall();
        self.tell(now, Event::Durable(ticket));
        if let Some(owed) = owed {
            self.answered(owed);
        }
        true
    }

    pub fn answered(&mut self, owed: Owed) {
        self.acked_tasks.extend(owed.wish.added);
        match owed.reply {
            Reply::Added(ids) => self.acked_tasks.extend(ids),
            Reply::Runs(runs) => self
                .acked_runs
                .extend(runs.iter().map(|(run, _): &(RunKey, TraceId)| *run)),
            Reply::Done => self.acked_removals.extend(owed.wish.removed),
            Reply::Importing(_) => {}
        }
    }

    // Time.

    /// When something happens by itself, at the monotonic clock.
    pub fn next_moment(&self) -> Option<u64> {
        let wakeup = self
            .daemon
            .as_ref()
            .and_then(|daemon| daemon.core.next_wakeup())
            .map(|at| self.elapsed + at.since(self.wall()).as_millis() as u64);
        let end = self.runners.all().filter_map(Runner::next_end).min();
        [wakeup, end].into_iter().flatten().min()
    }

    pub fn advance(&mut self, length: Duration) {
        self.elapsed += length.as_millis() as u64;
    }

    /// The timer of the daemon.
    pub fn tick(&mut self) -> bool {
        let now = self.wall();
        let due = |daemon: &Daemon| daemon.core.next_wakeup().is_some_and(|at| at <= now);
        if !self.daemon.as_ref().is_some_and(due) {
            return false;
        }
        self.tell(now, Event::Tick);
        // What was due is done, or waits for something else than the time.
        let again = self.daemon.as_ref().is_some_and(due);
        assert!(!again, "a tick at {now} left something due that waits for nothing");
        true
    }

    /// Lets everything that is under way come to rest, without time passing.
    pub fn rest(&mut self) {
        let mut turns = 0;
        while self.commit() | self.acknowledge() | self.runner_reads() | self.runner_works() | self.hear() | self.tick()
        {
            turns += 1;
            assert!(turns < 10_000, "the world does not come to rest");
        }
    }

    /// The imports under way. One that lost a part to a full disk has tasks left for ever.
    pub fn importing(&self) -> Vec<Importing> {
        let imports = self.imports.iter();
        imports
            .map(|(import, (last, staged))| Importing {
                import: *import,
                left: last.0 + 1 - import.0 - staged.len() as u64,
                ids: staged.keys().copied().collect(),
            })
            .collect()
    }

    /// A command of a user, with its answer.
    pub fn apply(&mut self, command: taskd_core::command::Command, wish: Wish) -> Result<(), Refusal> {
        let now = self.wall();
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        if self.trace {
            eprintln!("{} -> {command:?}", self.elapsed);
        }
        let before = daemon.core.snapshot();
        let accepted = daemon.core.apply(now, command);
        self.pump();
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        match accepted {
            Ok(accepted) => {
                let owed = Owed {
                    reply: accepted.reply,
                    wish,
                };
                match accepted.ticket {
                    Some(ticket) => {
                        daemon.owed.insert(ticket, owed);
                    }
                    None => self.answered(owed),
                }
                Ok(())
            }
            Err(refusal) => {
                let sent = daemon.journal.last().map(|entry| entry.weight);
                let after = daemon.core.snapshot();
                // What was due came first; that apart, nothing has changed.
                assert!(
                    before == after || sent == Some(Weight::Fact),
                    "a refused command changed something"
                );
                self.say(|| format!("refused: {refusal}"));
                Err(refusal)
            }
        }
    }
}
