//! Boots of the machine: what is due once after each.

use crate::record::Record;
use crate::run::{Passing, RunKey, Trigger};
use crate::schedule::Passed;
use crate::time::{Boot, Timestamp};

use super::Scheduler;

impl Scheduler {
    /// Hears of the boot of the machine, or when it was by the clock as that was set.
    pub(super) fn booted(&mut self, now: Timestamp, boot: Boot) {
        self.life.boot = Some(boot);
        self.life.booted = Some(boot.id).filter(|_| self.header.boot != Some(boot.id));
        // Before that it stands for what an earlier life started.
        if self.life.runner.is_some() {
            self.affirm_horizon(now);
        }
    }

    /// Gives tasks their run for a boot of the machine, or records why they have none. They start once that is durable: nothing
    /// says before that they may have.
    pub(super) fn fire_boot(&mut self, now: Timestamp) {
        let Some(boot) = self.life.booted.filter(|_| self.may_fire()) else {
            return;
        };
        // What fell due before it goes first.
        if self.life.behind || self.due.first().is_some_and(|(due, _)| *due <= now) {
            return;
        }
        // What is being decided about a task may be that it shall not start.
        let is_reserved = |id: &_| self.tasks.get(*id).is_some_and(|task| task.reserved);
        if self.boots.iter().any(is_reserved) {
            return;
        }
        self.life.booted = None;
        // A crash that left a part of it would have the rest again.
        let glued = self.facts.len();
        for id in self.boots.clone() {
            let Some(task) = self.tasks.get(id) else { continue };
            if !task.enabled || self.imports.holds(id) {
                continue;
            }
            let replaced = match self.unclocked(now, id, task, Trigger::Boot) {
                Ok(replaced) => replaced,
                Err(why) => {
                    let reason = format!("after a boot: {why}");
                    self.notice_span(id, Passed::single(now), Passing::Skipped, reason.clone());
                    self.fact(Record::BootSkipped {
                        task: id,
                        at: now,
                        reason,
                    });
                    continue;
                }
            };
            let run = RunKey {
                task: id,
                n: task.last_run + 1,
            };
            self.replace(now, id, &replaced);
            let trace_id = self.traces.draw();
            self.fact(Record::RunCreated {
                run,
                trigger: Trigger::Boot,
                fire_time: None,
                at: now,
                trace_id,
                waiting: true,
                cause: None,
                overrides: None,
            });
            self.notice_created(run, true);
            self.count_firing(now, id);
        }
        self.fact(Record::Booted { boot });
        self.glue(glued);
    }
}
