//! The runners of the world. One is told to start what is due; beside it may be some of other programs, since an upgrade, that
//! end what they have. Each lives and dies for itself.

use std::collections::{BTreeMap, BTreeSet};

use taskd_core::event::{Event, Inventory};
use taskd_core::run::AttemptKey;

use crate::runner::{Before, Message, Runner};
use crate::world::World;

/// Most runners at a time.
const SLOTS: usize = 4;

/// All that live.
#[derive(Default)]
pub struct Runners {
    /// The one that is told to start what is due, by the daemon that is linked or was last.
    pub current: Option<Runner>,
    /// The others.
    pub beside: Vec<Runner>,
    /// Of which program the daemon is, and the runners that are started.
    pub program: u64,
    /// What those have left that are gone, for the next one.
    pub before: Vec<Before>,
}

/// What one life of the daemon takes its runners for.
#[derive(Default)]
pub struct View {
    /// What each has under way, by its instance.
    held: BTreeMap<u64, BTreeSet<AttemptKey>>,
    /// What one beside the current one had when it was lost, until that is told.
    lost: Vec<AttemptKey>,
}

impl View {
    /// All runners are attached.
    fn meet(&mut self, inventories: &[Inventory]) {
        let held = |inventory: &Inventory| {
            let live = inventory.live.iter().map(|live| live.origin.attempt);
            (inventory.instance, live.collect())
        };
        self.held = inventories.iter().map(held).collect();
    }

    /// A runner says this.
    fn hear(&mut self, instance: u64, event: &Event) {
        match (event, self.held.get_mut(&instance)) {
            (Event::RunnerAttached(_), _) => self.lost.clear(),
            (Event::Ended { origin, .. }, Some(held)) => {
                held.remove(&origin.attempt);
            }
            _ => {}
        }
    }
}

impl Runners {
    pub fn all(&self) -> impl Iterator<Item = &Runner> {
        self.beside.iter().chain(&self.current)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Runner> {
        self.beside.iter_mut().chain(&mut self.current)
    }

    /// Whether the inventory was not heard yet, before which nothing else is.
    fn is_new(&self) -> bool {
        let current = self.current.as_ref();
        current.is_some_and(|runner| matches!(runner.outbox.front(), Some(Event::RunnerAttached(_))))
    }

    /// Nobody hears what was said.
    pub fn hush(&mut self) {
        self.all_mut().for_each(|runner| runner.outbox.clear());
    }

    /// The daemon sends a message: the runners that do not have its attempt do nothing.
    pub fn send(&mut self, view: &mut View, message: &Message) {
        if let (Message::Start { origin, .. }, Some(runner)) = (message, &self.current) {
            let held = view.held.entry(runner.instance).or_default();
            held.insert(origin.attempt);
        }
        let to_all = !matches!(message, Message::Start { .. });
        let beside = self.beside.iter_mut().filter(|_| to_all);
        for runner in beside.chain(&mut self.current) {
            runner.inbox.push_back(message.clone());
        }
    }
}

impl World {
    pub fn start_runner(&mut self) {
        let runner = self.new_runner();
        self.runners.current = Some(runner);
    }

    fn new_runner(&mut self) -> Runner {
        let instance = self.dice.word();
        let program = self.runners.program;
        self.say(|| format!("runner {instance:x} of program {program} starts"));
        let before = std::mem::take(&mut self.runners.before);
        Runner::new(instance, program, std::mem::take(&mut self.spool), before)
    }

    pub fn kill_runner(&mut self) {
        let was_new = self.runners.is_new();
        let Some(runner) = self.runners.current.take() else {
            return;
        };
        self.killed(runner, was_new);
    }

    /// One of those beside the current one is killed, and what it had is lost.
    pub fn kill_one_beside(&mut self) {
        let count = self.runners.beside.len() as u64;
        if count == 0 {
            return;
        }
        let at = self.dice.below(count) as usize;
        let runner = self.runners.beside.remove(at);
        let is_new = self.runners.is_new();
        if let Some(daemon) = self.daemon.as_mut().filter(|daemon| daemon.linked) {
            let held = daemon.view.held.remove(&runner.instance).unwrap_or_default();
            daemon.view.lost.extend(held);
        }
        self.killed(runner, is_new);
    }

    /// The daemon notices that a runner is gone, and hears some of its last words after that, unless it did not yet hear the
    /// inventory.
    fn killed(&mut self, mut runner: Runner, is_new: bool) {
        let mut words = Vec::new();
        if self.is_linked() && !is_new {
            let count = (self.dice.below(4) as usize).min(runner.outbox.len());
            words.extend(runner.outbox.drain(..count));
        }
        if let Some(daemon) = &mut self.daemon {
            for word in &words {
                if let Event::Ended { origin, .. } = word {
                    daemon.view.lost.retain(|lost| *lost != origin.attempt);
                }
            }
        }
        self.dies(runner);
        self.unlink();
        if !words.is_empty() {
            let now = self.wall();
            self.tell_all(now, words);
        }
    }

    fn dies(&mut self, runner: Runner) {
        self.say(|| format!("runner {:x} is killed", runner.instance));
        let is_spooled = !self.is_linked() || self.dice.chance(500);
        // Unless it could not be written.
        if self.dice.chance(850) {
            self.runners.before.extend(runner.leaves(is_spooled));
        }
        if is_spooled {
            self.spool.extend(runner.ended);
        }
        for child in runner.children.values() {
            self.spawned.died(&child.origin);
        }
    }

    pub fn kill_all_runners(&mut self) {
        while !self.runners.beside.is_empty() {
            self.kill_one_beside();
        }
        self.kill_runner();
    }

    /// The next daemon is of another program.
    pub fn upgrade(&mut self) {
        self.crash_daemon();
        self.runners.program = self.dice.below(3);
        self.say(|| format!("program {} is installed", self.runners.program));
    }

    fn is_linked(&self) -> bool {
        self.daemon.as_ref().is_some_and(|daemon| daemon.linked)
    }

    /// The daemon notices that its connections are gone.
    pub fn unlink(&mut self) {
        if let Some(daemon) = &mut self.daemon
            && daemon.linked
        {
            daemon.linked = false;
            let now = self.wall();
            self.tell(now, Event::RunnerLost);
        }
    }

    /// The daemon attaches to all runners, and has one of its own program be the current one.
    pub fn link(&mut self) {
        if self.is_linked() || self.daemon.is_none() {
            return;
        }
        let now = self.elapsed;
        // A runner takes in some of what the old connection sent, and drops the rest.
        for runner in self.runners.all_mut() {
            for _ in 0..self.dice.below(4) {
                runner.read(now, &mut self.dice);
            }
        }
        let Some((current, also)) = self.choose() else { return };
        let mut inventories: Vec<Inventory> = self.runners.beside.iter_mut().map(Runner::supersede).collect();
        let current = self.runners.current.insert(current);
        inventories.push(current.supersede());
        let Some(daemon) = &mut self.daemon else { return };
        daemon.view.meet(&inventories);
        daemon.linked = true;
        let beside = inventories.iter().rev().skip(1).map(|inventory| inventory.instance);
        let before = inventories.iter().flat_map(|of| of.also.clone());
        let whole = Inventory {
            instance: current.instance,
            also: also.into_iter().chain(beside).chain(before).collect(),
            begun: inventories.iter().flat_map(|of| of.begun.clone()).collect(),
            lost: daemon.view.lost.clone(),
            live: inventories.iter().flat_map(|of| of.live.clone()).collect(),
            ended: inventories.iter().flat_map(|of| of.ended.clone()).collect(),
        };
        current.outbox.push_back(Event::RunnerAttached(whole));
        self.say(|| "the daemon is connected".to_owned());
    }

    /// Takes out the current one of those that live, or a new one; with those that had nothing and were ended.
    fn choose(&mut self) -> Option<(Runner, Vec<u64>)> {
        let program = self.runners.program;
        let current = self.runners.current.take();
        let found = &mut self.runners.beside;
        found.extend(current);
        let ours = (0..found.len()).filter(|index| found[*index].program == program);
        if let Some(index) = ours.max_by_key(|index| found[*index].children.len()) {
            return Some((found.remove(index), Vec::new()));
        }
        if found.is_empty() {
            return None;
        }
        let (idle, busy): (Vec<Runner>, Vec<Runner>) = std::mem::take(found).into_iter().partition(Runner::is_idle);
        self.runners.beside = busy;
        let left = idle.iter().flat_map(|runner| runner.leaves(true));
        self.runners.before.extend(left);
        let idle = idle.iter().map(|runner| runner.instance).collect();
        let can_start = self.runners.beside.len() < SLOTS && self.dice.chance(950);
        let current = if can_start || self.runners.beside.is_empty() {
            self.new_runner()
        } else {
            self.runners.beside.pop()?
        };
        Some((current, idle))
    }

    /// The runners read a message, if they have one.
    pub fn runner_reads(&mut self) -> bool {
        let now = self.elapsed;
        let mut any = false;
        for runner in self.runners.all_mut() {
            any |= runner.read(now, &mut self.dice);
        }
        any
    }

    /// The runners spawn and reap. Tells whether they had to.
    pub fn runner_works(&mut self) -> bool {
        let (now, wall, limit) = (self.elapsed, self.wall(), self.limits.running);
        let linked = self.is_linked();
        let mut said = false;
        for runner in self.runners.beside.iter_mut().chain(&mut self.runners.current) {
            let before = runner.outbox.len();
            for origin in runner.reap(now, wall) {
                self.spawned.died(&origin);
            }
            for origin in runner.spawn(wall) {
                self.spawned.start(&origin, limit);
            }
            said |= runner.outbox.len() > before;
            if !linked {
                runner.outbox.clear();
            }
        }
        if linked && !self.runners.is_new() {
            self.runners.beside.retain(|runner| !runner.is_drained());
        }
        said
    }

    /// The daemon hears something from a runner, or some things at once.
    pub fn hear(&mut self) -> bool {
        if !self.is_linked() {
            return false;
        }
        let is_new = self.runners.is_new();
        let mut speak: Vec<&mut Runner> = self.runners.all_mut().filter(|of| !of.outbox.is_empty()).collect();
        let Some(last) = (speak.len() as u64).checked_sub(1) else {
            return false;
        };
        // The current one is the last.
        let one = if is_new { last } else { self.dice.below(last + 1) };
        let at_once = if is_new { 1 } else { 1 + self.dice.below(3) as usize };
        let runner = &mut speak[one as usize];
        let count = at_once.min(runner.outbox.len());
        let (instance, events) = (runner.instance, runner.outbox.drain(..count).collect());
        self.heard(instance, events);
        true
    }

    fn heard(&mut self, instance: u64, events: Vec<Event>) {
        if let Some(daemon) = &mut self.daemon {
            events.iter().for_each(|event| daemon.view.hear(instance, event));
        }
        let now = self.wall();
        self.tell_all(now, events);
    }
}
