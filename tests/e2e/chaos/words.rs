//! What the processes of the load say of themselves.

use std::collections::{BTreeMap, HashMap};
use std::fs;

use jiff::Timestamp;

use crate::harness::World;

/// An attempt: its run's number, its own, and the fire time, where it has one. Where taskd and its runner are killed at
/// once, a run that nobody recorded may leave its number to the next.
pub type Key = (u64, u32, Option<Timestamp>);

/// What attempts said, in the order of their numbers.
pub type Attempts = BTreeMap<Key, Told>;

/// One attempt by its own words.
#[derive(Debug, Default)]
pub struct Told {
    pub starts: u32,
    pub ends: Vec<i32>,
}

/// One word.
#[derive(Debug)]
pub struct Word {
    pub task: String,
    pub attempt: Key,
    /// Whether it is the first of its attempt, or the last.
    pub is_start: bool,
}

/// All that the processes said.
#[derive(Debug, Default)]
pub struct Words {
    /// By task.
    pub tasks: HashMap<String, Attempts>,
    /// In the order in which it was said.
    pub order: Vec<Word>,
}

impl Words {
    /// What was said so far.
    pub fn of(world: &World) -> Words {
        let mut words = Words::default();
        for line in fs::read_to_string(world.path("stamps")).expect("stamps").lines() {
            let [what, run, attempt, fire_time, code] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("not a word: {line}");
            };
            let (task, n) = run.rsplit_once('/').expect("TASK/N");
            let key = (
                n.parse().expect("a number"),
                attempt.parse().expect("a number"),
                (fire_time != "-").then(|| fire_time.parse().expect("an instant")),
            );
            let told = words.tasks.entry(task.to_owned()).or_default().entry(key).or_default();
            match what {
                "start" => told.starts += 1,
                "end" => told.ends.push(code.parse().expect("a code")),
                other => panic!("not a word: {other}"),
            }
            words.order.push(Word {
                task: task.to_owned(),
                attempt: key,
                is_start: what == "start",
            });
        }
        words
    }

    /// What the attempts of a task said.
    pub fn of_task(&self, task: &str) -> &Attempts {
        const NONE: &Attempts = &Attempts::new();
        self.tasks.get(task).unwrap_or(NONE)
    }
}
