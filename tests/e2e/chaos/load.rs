//! The load: tasks of all kinds that are due all the time.

use std::fs;

use serde_json::Value;

use super::kinds::{Kind, Together, WORK};
use super::words::Words;
use crate::harness::{World, wait_for, wall};

/// The tasks.
pub struct Load {
    pub tasks: Vec<(String, Kind)>,
    pub together: Vec<Together>,
    /// In the environment of each of their processes.
    pub mark: String,
}

impl Load {
    /// Adds tasks that start some `rate` attempts each second.
    pub fn new(world: &World, rate: u32) -> Load {
        let stamps = world.path("stamps");
        fs::write(&stamps, "").expect("a file");
        let work = world.path("work.sh");
        fs::write(&work, WORK).expect("a file");
        let numbered: Vec<(Kind, u32)> = Kind::ALL
            .into_iter()
            .flat_map(|kind| (0..kind.count(rate)).map(move |n| (kind, n)))
            .collect();
        let now = wall();
        let count = u64::try_from(numbered.len()).expect("few");
        let mut lines = String::new();
        for (place, (kind, n)) in (0..count).zip(&numbered) {
            let task = kind.definition(*n, now + place * 1000 / count, &work, &stamps);
            lines.push_str(&format!("{task}\n"));
        }
        for group in Kind::groups(rate) {
            world.ctl(&["group", "set", &group, "--limit", "2"]).ok();
        }
        world.ctl_reading(&["import", "-"], &lines).ok();
        Load {
            tasks: numbered.iter().map(|(kind, n)| (kind.task(*n), *kind)).collect(),
            together: Kind::ALL.into_iter().flat_map(|kind| kind.together(rate)).collect(),
            mark: format!("STAMPS={}", stamps.display()),
        }
    }

    /// Lets nothing become due any more, once each task has run, and waits until all that began is over, with what follows
    /// from it.
    pub fn end(&self, world: &World) {
        wait_for("each task to have run", || {
            let words = Words::of(world);
            let has_run = |(task, _): &(String, Kind)| words.tasks.contains_key(task);
            self.tasks.iter().all(has_run).then_some(())
        });
        let due = self.tasks.iter().filter(|(_, kind)| *kind != Kind::After);
        let due: Vec<&str> = due.map(|(task, _)| task.as_str()).collect();
        wait_for("the tasks to be disabled", || {
            world
                .ctl(&[&["disable"], &due[..]].concat())
                .status
                .success()
                .then_some(())
        });
        wait_for("all runs to end", || {
            let ran = world.ctl(&["status", "--json"]);
            let status: Value = serde_json::from_str(&ran.stdout).ok()?;
            (status["running"] == 0 && status["waiting"] == 0).then_some(())
        });
    }
}
