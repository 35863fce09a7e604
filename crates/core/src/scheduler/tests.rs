//! Scenarios, one promise each. The simulation in `tests/simulation` looks for what nobody thought of.

mod backlog;
mod calendars;
mod clock;
mod commands;
mod concurrency;
mod depending;
mod firing;
mod gating;
mod imports;
mod lateness;
mod losing;
mod pausing;
mod recovery;
mod requiring;
mod retrying;
mod sharing;
mod terms;
mod together;

use std::time::Duration;

use jiff::tz::TimeZoneDatabase;

use super::{Limits, Scheduler};
use crate::command::{Accepted, Command, Refusal, Reply, Ticket, WhileRunning};
use crate::effect::{Effect, Notice, Weight};
use crate::event::{Begun, Event, Inventory, Live, Origin};
use crate::gates::Gates;
use crate::policy::{History, Misfire, OutputPolicy, Policies, Sharing};
use crate::process::Process;
use crate::record::Record;
use crate::run::{AttemptEnd, AttemptKey, Exit, Outcome, Passing, RunKey, Usage};
use crate::schedule::{Catalog, DstRule, Gap, Zones};
use crate::task::{Action, Definition, Owner, TaskId, TaskName, When};
use crate::time::{Boot, Timestamp};

const ME: Owner = Owner(1000);
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

/// So many milliseconds after the tests begin.
fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + ms as i64)
}

fn catalog() -> Catalog {
    Catalog::new(Zones::new(TimeZoneDatabase::bundled()))
}

fn every(ms: u64) -> When {
    When::Every {
        interval_ms: ms,
        anchor: at(0),
    }
}

fn once(ms: u64) -> When {
    When::At {
        at: at(ms),
        text: "then".to_owned(),
        tz: None,
    }
}

/// A boot by this id, at the beginning of time.
fn booted(id: u128) -> Event {
    Event::Booted(Boot { id, at: at(0) })
}

fn definition(name: &str, when: When) -> Definition {
    Definition {
        name: TaskName::parse(name).unwrap(),
        when,
        action: Action::Shell {
            line: "true".to_owned(),
        },
        cwd: None,
        env: Vec::new(),
        description: None,
        labels: Vec::new(),
        sharing: Sharing::default(),
        enabled: true,
        policies: Policies::default(),
        process: Process::default(),
        output: OutputPolicy::default(),
        history: History::default(),
        gates: Gates::default(),
    }
}

fn ended(exit: Exit) -> AttemptEnd {
    AttemptEnd {
        started_at: at(0),
        pid: 7,
        finished_at: at(0),
        exit,
        stopped: None,
        usage: Usage::default(),
    }
}

/// A scheduler, the time, and what it did since that was last looked at.
struct Rig {
    core: Scheduler,
    now: Timestamp,
    /// Whether the store takes what it is given, at once.
    prompt: bool,
    sent: Vec<(Ticket, Weight)>,
    effects: Vec<Effect>,
    /// Everything that became durable.
    disk: Vec<Record>,
    batches: Vec<(Ticket, Vec<Record>)>,
}

impl Rig {
    fn bare(limits: Limits) -> Self {
        Rig::of(Scheduler::new(catalog(), limits, [1, 2]))
    }

    fn of(core: Scheduler) -> Self {
        Rig {
            core,
            now: at(0),
            prompt: true,
            sent: Vec::new(),
            effects: Vec::new(),
            disk: Vec::new(),
            batches: Vec::new(),
        }
    }

    /// One with a runner.
    fn new() -> Self {
        Rig::limited(Limits::default())
    }

    fn limited(limits: Limits) -> Self {
        let mut rig = Rig::bare(limits);
        rig.attach(1, Vec::new());
        rig.effects.clear();
        rig
    }

    /// The next life, from what is durable.
    fn restart(&self) -> Self {
        let image = Scheduler::replay(catalog(), Limits::default(), [3, 4], self.disk.clone()).snapshot();
        let (tasks, rest) = (image.tasks.into_iter(), image.rest);
        let core = Scheduler::restore(catalog(), Limits::default(), [5, 6], tasks, rest);
        let mut rig = Rig::of(core);
        rig.now = self.now;
        rig.disk = self.disk.clone();
        rig
    }

    fn tell(&mut self, event: Event) {
        self.core.handle(self.now, event);
        self.pump();
    }

    fn pump(&mut self) {
        while let Some(effect) = self.core.poll_effect() {
            if let Effect::Record {
                ticket,
                records,
                weight,
            } = &effect
            {
                self.sent.push((*ticket, *weight));
                self.batches.push((*ticket, records.clone()));
            }
            self.effects.push(effect);
        }
        if self.prompt && !self.sent.is_empty() {
            self.store();
        }
    }

    /// Everything sent becomes durable.
    fn store(&mut self) {
        while !self.sent.is_empty() {
            let (ticket, _) = self.sent.remove(0);
            let (_, records) = self.batches.remove(0);
            self.disk.extend(records);
            self.core.handle(self.now, Event::Durable(ticket));
            let prompt = std::mem::replace(&mut self.prompt, false);
            self.pump();
            self.prompt = prompt;
        }
    }

    /// Everything sent that may be refused is.
    fn refuse(&mut self) {
        for (ticket, weight) in std::mem::take(&mut self.sent) {
            assert_eq!(weight, Weight::Decision);
            self.batches.clear();
            self.tell(Event::Refused(ticket));
        }
    }

    fn go(&mut self, ms: u64) {
        self.now = at(ms);
        self.tell(Event::Tick);
    }

    /// Lets time pass from wakeup to wakeup.
    fn pass(&mut self, until_ms: u64) {
        while let Some(wakeup) = self.core.next_wakeup().filter(|wakeup| *wakeup <= at(until_ms)) {
            self.now = self.now.max(wakeup);
            self.tell(Event::Tick);
        }
        self.go(until_ms);
    }

    fn apply(&mut self, command: Command) -> Result<Accepted, Refusal> {
        let result = self.core.apply(self.now, command);
        self.pump();
        result
    }

    fn add(&mut self, definition: Definition) -> TaskId {
        let definitions = vec![definition];
        let accepted = self.apply(Command::Add { owner: ME, definitions }).unwrap();
        match accepted.reply {
            Reply::Added(ids) => ids[0],
            other => panic!("{other:?}"),
        }
    }

    fn run(&mut self, id: TaskId) -> RunKey {
        match self
            .apply(Command::Run {
                ids: vec![id],
                overrides: None,
            })
            .unwrap()
            .reply
        {
            Reply::Runs(runs) => runs[0].0,
            other => panic!("{other:?}"),
        }
    }

    fn attach(&mut self, instance: u64, live: Vec<Live>) {
        self.attach_with(instance, live, Vec::new());
    }

    fn attach_with(&mut self, instance: u64, live: Vec<Live>, ended: Vec<(Origin, AttemptEnd)>) {
        self.tell(Event::RunnerAttached(Inventory {
            instance,
            live,
            ended,
            ..Inventory::default()
        }));
    }

    fn started(&mut self, origin: &Origin) {
        let attempt = origin.attempt;
        let at = self.now;
        self.tell(Event::Started { attempt, pid: 7, at });
    }

    fn ended(&mut self, origin: &Origin, end: AttemptEnd) {
        let origin = origin.clone();
        self.tell(Event::Ended { origin, end });
    }

    /// What was started since this was last asked, or anything else.
    fn starts(&mut self) -> Vec<Origin> {
        let starts = |effect| match effect {
            Effect::Start { origin, .. } => Some(origin),
            _ => None,
        };
        std::mem::take(&mut self.effects)
            .into_iter()
            .filter_map(starts)
            .collect()
    }

    fn start(&mut self) -> Origin {
        let mut starts = self.starts();
        assert_eq!(starts.len(), 1, "{starts:?}");
        starts.remove(0)
    }

    fn stops(&mut self) -> Vec<AttemptKey> {
        let stops = |effect| match effect {
            Effect::Stop { attempt, .. } => Some(attempt),
            _ => None,
        };
        std::mem::take(&mut self.effects)
            .into_iter()
            .filter_map(stops)
            .collect()
    }

    fn forgotten(&mut self) -> Vec<AttemptKey> {
        let forgotten = |effect| match effect {
            Effect::Forget(attempt) => Some(attempt),
            _ => None,
        };
        std::mem::take(&mut self.effects)
            .into_iter()
            .filter_map(forgotten)
            .collect()
    }

    fn notices(&mut self) -> Vec<Notice> {
        let notices = |effect| match effect {
            Effect::Notice(notice) => Some(notice),
            _ => None,
        };
        std::mem::take(&mut self.effects)
            .into_iter()
            .filter_map(notices)
            .collect()
    }

    /// Records sent since effects were last looked at.
    fn records(&mut self) -> Vec<Record> {
        let records = |effect| match effect {
            Effect::Record { records, .. } => Some(records),
            _ => None,
        };
        std::mem::take(&mut self.effects)
            .into_iter()
            .filter_map(records)
            .flatten()
            .collect()
    }

    /// What passed without a run: what became of it, first, last, count, and why.
    fn passed(&mut self) -> Vec<(Passing, u64, u64, u64, String)> {
        let ms = |at: Timestamp| (at.as_millis() - super::tests::at(0).as_millis()) as u64;
        let passed = |record| match record {
            Record::Passed {
                first,
                last,
                count,
                passing,
                reason,
                ..
            } => Some((passing, ms(first), ms(last), count, reason)),
            _ => None,
        };
        self.records().into_iter().filter_map(passed).collect()
    }

    /// The outcomes recorded since.
    fn outcomes(&mut self) -> Vec<(RunKey, Outcome, Option<String>)> {
        let finished = |record| match record {
            Record::RunFinished {
                run, outcome, reason, ..
            } => Some((run, outcome, reason)),
            _ => None,
        };
        self.records().into_iter().filter_map(finished).collect()
    }
}

fn live(origin: &Origin) -> Live {
    Live {
        origin: origin.clone(),
        pid: 7,
        started_at: at(0),
        stopping: false,
    }
}

/// An end at the time of the rig.
fn fail(rig: &mut Rig, origin: &Origin, exit: Exit) {
    let end = AttemptEnd {
        started_at: rig.now,
        finished_at: rig.now,
        ..ended(exit)
    };
    rig.ended(origin, end);
}

/// Removes a task whose runs go on.
fn remove_keeping(id: TaskId) -> Command {
    Command::Remove {
        ids: vec![id],
        running: WhileRunning::Keep,
        reason: "its task was removed".to_owned(),
    }
}

fn edit(id: TaskId, definition: Definition) -> Command {
    Command::Edit {
        id,
        definition: Box::new(definition),
        by: "uid 1000".to_owned(),
    }
}

fn switch(ids: &[TaskId], enabled: bool) -> Command {
    Command::SetEnabled {
        ids: ids.to_vec(),
        enabled,
        by: "uid 1000".to_owned(),
    }
}

fn cancel(run: RunKey) -> Command {
    Command::Cancel {
        runs: vec![run],
        reason: "cancelled by uid 1000".to_owned(),
    }
}

fn within(hours: u64) -> Policies {
    Policies {
        misfire: Misfire::Once {
            within_ms: (hours * HOUR).try_into().unwrap(),
        },
        ..Policies::default()
    }
}
