//! A runner with a life of its own. It does what it is told in order, keeps every result until it may forget it, and gives
//! back what a start said of its run.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use taskd_core::Timestamp;
use taskd_core::event::{Begun, Event, Inventory, Live, Origin};
use taskd_core::run::{AttemptEnd, AttemptKey, Exit, Stopped, Usage};

use crate::dice::Dice;

/// What the daemon sent.
#[derive(Clone, Debug)]
pub enum Message {
    Start {
        origin: Origin,
        /// Whether there are gates to look at.
        gated: bool,
    },
    Stop(AttemptKey, Duration),
    Forget(AttemptKey),
}

/// One child. Times without a name of their own are of the monotonic clock, in milliseconds.
pub struct Child {
    pub origin: Origin,
    /// `None` while it is being spawned.
    pub process: Option<(u32, Timestamp)>,
    pub ends: u64,
    pub exit: Exit,
    pub stopping: bool,
    /// The time limit it will have been stopped for, if it is.
    time_up: Option<Stopped>,
}

pub type Ended = BTreeMap<AttemptKey, (Origin, AttemptEnd)>;

/// What a life of a runner had begun, of which nobody was told the end, or nobody may know.
#[derive(Clone)]
pub struct Before {
    pub instance: u64,
    begun: Vec<Begun>,
}

/// One life of a runner.
pub struct Runner {
    pub instance: u64,
    /// Of earlier lives, until something begins.
    before: Vec<Before>,
    pub program: u64,
    pub children: BTreeMap<AttemptKey, Child>,
    pub ended: Ended,
    /// What is sent and not yet read.
    pub inbox: VecDeque<Message>,
    /// What is said and not yet read by the daemon that is connected.
    pub outbox: VecDeque<Event>,
    next_pid: u32,
}

impl Runner {
    pub fn new(instance: u64, program: u64, spool: Ended, before: Vec<Before>) -> Self {
        Runner {
            instance,
            before,
            program,
            children: BTreeMap::new(),
            ended: spool,
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            next_pid: 100,
        }
    }

    /// What it leaves to the next life, beside its spool.
    pub fn leaves(&self, is_spooled: bool) -> Vec<Before> {
        let ended = self.ended.values().filter(|_| !is_spooled).map(|(origin, _)| origin);
        let begun = self.children.values().map(|child| &child.origin).chain(ended);
        let begun = begun.map(|origin| Begun {
            attempt: origin.attempt,
            trigger: origin.trigger,
            fire_time: origin.fire_time,
            created_at: origin.created_at,
            trace_id: origin.trace_id,
        });
        let own = Before {
            instance: self.instance,
            begun: begun.collect(),
        };
        self.before.iter().cloned().chain([own]).collect()
    }

    /// Whether nothing of it is of use to anybody.
    pub fn is_idle(&self) -> bool {
        self.children.is_empty() && self.ended.is_empty()
    }

    /// Whether it has nothing, and nothing is on its way to or from it.
    pub fn is_drained(&self) -> bool {
        self.is_idle() && self.inbox.is_empty() && self.outbox.is_empty()
    }

    /// A new connection: what the old one sent is dropped, and the inventory is the first thing said.
    pub fn supersede(&mut self) -> Inventory {
        self.inbox.clear();
        self.outbox.clear();
        let live = self.children.values().map(|child| Live {
            origin: child.origin.clone(),
            pid: child.process.map_or(0, |(pid, _)| pid),
            started_at: child.process.map_or(child.origin.created_at, |(_, at)| at),
            stopping: child.stopping,
        });
        let unknown = self.before.iter().flat_map(|before| &before.begun);
        let unknown = unknown.filter(|begun| !self.ended.contains_key(&begun.attempt));
        Inventory {
            instance: self.instance,
            also: self.before.iter().map(|before| before.instance).collect(),
            begun: unknown.cloned().collect(),
            live: live.collect(),
            ended: self.ended.values().cloned().collect(),
            ..Inventory::default()
        }
    }

    /// Takes in one message, if there is one.
    pub fn read(&mut self, now: u64, dice: &mut Dice) -> bool {
        match self.inbox.pop_front() {
            None => return false,
            Some(Message::Start { origin, gated }) => {
                let key = origin.attempt;
                if !self.children.contains_key(&key) && !self.ended.contains_key(&key) {
                    self.before.clear();
                    self.children.insert(key, child(origin, gated, now, dice));
                }
            }
            Some(Message::Stop(key, grace)) => {
                if let Some(child) = self.children.get_mut(&key)
                    && !child.stopping
                {
                    child.stopping = true;
                    let obeys = dice.length(Duration::from_millis(1), grace * 2).min(grace);
                    child.ends = child.ends.min(now + obeys.as_millis() as u64);
                    let is_gated = matches!(child.exit, Exit::GateClosed { .. });
                    let by_itself = obeys < grace && dice.chance(500);
                    if !is_gated {
                        child.exit = match by_itself {
                            true => Exit::Code(0),
                            false => Exit::Signal(if obeys < grace { 15 } else { 9 }),
                        };
                    }
                }
            }
            Some(Message::Forget(key)) => {
                self.ended.remove(&key);
            }
        }
        true
    }

    /// Spawns what is to be spawned, and tells which.
    pub fn spawn(&mut self, wall: Timestamp) -> Vec<Origin> {
        let mut spawned = Vec::new();
        for (key, child) in &mut self.children {
            if child.process.is_none() && !matches!(child.exit, Exit::SpawnFailed { .. } | Exit::GateClosed { .. }) {
                let pid = self.next_pid;
                self.next_pid += 1;
                child.process = Some((pid, wall));
                let attempt = *key;
                self.outbox.push_back(Event::Started { attempt, pid, at: wall });
                spawned.push(child.origin.clone());
            }
        }
        spawned
    }

    /// Ends what has come to its end, and tells which.
    pub fn reap(&mut self, now: u64, wall: Timestamp) -> Vec<Origin> {
        let mut gone = Vec::new();
        let over = |child: &Child| match child.process {
            Some(_) => child.ends <= now,
            None => match child.exit {
                Exit::SpawnFailed { .. } => true,
                Exit::GateClosed { .. } => child.ends <= now,
                Exit::Code(_) | Exit::Signal(_) | Exit::OverMemory { .. } => false,
            },
        };
        let keys: Vec<_> = self
            .children
            .iter()
            .filter(|(_, child)| over(child))
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            if let Some(child) = self.children.remove(&key) {
                gone.push(child.origin.clone());
                let end = AttemptEnd {
                    started_at: child.process.map_or(wall, |(_, at)| at),
                    pid: child.process.map_or(0, |(pid, _)| pid),
                    finished_at: wall,
                    exit: child.exit,
                    stopped: child.stopping.then_some(Stopped::Asked).or(child.time_up),
                    usage: Usage::default(),
                };
                self.ended.insert(key, (child.origin.clone(), end.clone()));
                self.outbox.push_back(Event::Ended {
                    origin: child.origin,
                    end,
                });
            }
        }
        gone
    }

    /// When the next child ends.
    pub fn next_end(&self) -> Option<u64> {
        self.children.values().map(|child| child.ends).min()
    }
}

fn child(origin: Origin, gated: bool, now: u64, dice: &mut Dice) -> Child {
    // A closed gate is told at once or after a while; one that is open takes no time.
    let closed = gated && dice.chance(700);
    let exit = match dice.below(10) {
        _ if closed => Exit::GateClosed {
            reading: "it runs on battery".to_owned(),
        },
        0 => Exit::SpawnFailed {
            errno: 2,
            what: "exec".to_owned(),
        },
        1 => Exit::Signal(11),
        2 => Exit::Code(3),
        _ => Exit::Code(0),
    };
    let most = Duration::from_secs(if closed { 30 } else { 4 * 60 * 60 });
    Child {
        origin,
        process: None,
        ends: now + dice.length(Duration::from_millis(1), most).as_millis() as u64,
        time_up: dice.chance(50).then_some(Stopped::Timeout),
        exit,
        stopping: false,
    }
}
