//! Users: they add, change, run and cancel at random, and hold the daemon to what it answered.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use taskd_core::calendar::{Calendar, CalendarUse, Entry, Keep, Kept, Rule, TimeRange};
use taskd_core::command::{Command, Refusal, WhileRunning};
use taskd_core::gates::Gates;
use taskd_core::pause::PauseScope;
use taskd_core::policy::{
    Backoff, Concurrency, History, Misfire, OutputPolicy, Policies, Pool, Retry, RetryOn, Sharing, TimeLimits,
};
use taskd_core::process::Process;
use taskd_core::run::{RunKey, TraceId};
use taskd_core::schedule::{DstRule, Gap, Overlap};
use taskd_core::task::{Action, Definition, ImportId, Owner, TaskId, TaskName, Terms, When};

use crate::depending;
use crate::gates;
use crate::requiring;
use crate::world::{Importing, Wish, World};

pub const OWNER: Owner = Owner(1000);
const ME: &str = "uid 1000";

/// A user asks for something.
pub fn ask(world: &mut World) {
    let ids: Vec<TaskId> = world.definitions.keys().copied().collect();
    let few = ids.len() < 3;
    let some = world.dice.pick(&ids).copied();
    match (world.dice.below(30), some) {
        (29, _) => limit(world),
        (28, _) => calendar(world),
        (27, Some(id)) => backfill(world, id),
        (23..27, _) => pause(world, some),
        (20..23, _) => import(world),
        (0..2, _) | (_, None) => add(world),
        (2..7, _) if few => add(world),
        (2..5, Some(id)) => edit(world, id),
        (5..9, Some(id)) => set_enabled(world, id),
        (9..11, Some(id)) => remove(world, id),
        (11..16, Some(id)) => answered(world.apply(
            Command::Run {
                ids: vec![id],
                overrides: None,
            },
            Wish::default(),
        )),
        (_, Some(_)) => cancel(world),
    }
}

/// Disables every task that is enabled.
pub fn disable_all(world: &mut World) {
    let enabled = |world: &World| {
        let all = world.definitions.iter();
        all.filter(|(_, definition)| definition.enabled)
            .map(|(id, _)| *id)
            .collect::<Vec<_>>()
    };
    while let Some(id) = enabled(world).first() {
        set_enabled(world, *id);
        world.rest();
    }
}

fn answered(result: Result<(), Refusal>) {
    match result {
        Ok(())
        | Err(
            Refusal::Busy
            | Refusal::NoTask(_)
            | Refusal::NotRunning(_)
            | Refusal::NameTaken { .. }
            | Refusal::NoImport(_)
            | Refusal::TooManyTasks { .. }
            | Refusal::StillRunning { .. }
            | Refusal::TooManyRuns { .. }
            | Refusal::TooManyPools { .. }
            | Refusal::NoPool(_)
            | Refusal::BacklogFull { .. }
            | Refusal::NoCalendar(_)
            | Refusal::CalendarInUse { .. }
            | Refusal::TooManyCalendars { .. }
            | Refusal::NoUpstream { .. }
            | Refusal::Cycle { .. }
            | Refusal::StillNamed { .. }
            | Refusal::NoRunner,
        ) => {}
        // The calendar may have gone since they saw it.
        Err(Refusal::BadSchedule { problem, .. }) if problem == "there is no calendar closed" => {}
        Err(refusal @ Refusal::BadSchedule { .. }) => panic!("{refusal}"),
    }
}

fn add(world: &mut World) {
    let count = 1 + world.dice.below(2);
    let definitions = (0..count).map(|_| definition(world)).collect();
    let owner = OWNER;
    answered(world.apply(Command::Add { owner, definitions }, Wish::default()));
}

const IMPORT_MAX: u64 = 3;

/// What ids the tasks of an import have at most.
pub fn ids(import: ImportId) -> impl Iterator<Item = TaskId> {
    (import.0..import.0 + IMPORT_MAX).map(TaskId)
}

/// Goes on with an import under way, or begins one.
fn import(world: &mut World) {
    let (owner, wish) = (OWNER, Wish::default());
    let imports = world.importing();
    let Some(Importing { import, left, ids }) = world.dice.pick(&imports).cloned() else {
        let count = NonZeroU64::MIN.saturating_add(world.dice.below(IMPORT_MAX));
        return answered(world.apply(Command::BeginImport { owner, count }, wish));
    };
    match world.dice.below(10) {
        0 => answered(world.apply(Command::DropImport { import }, wish)),
        1.. if left == 0 => {
            let wish = Wish { added: ids, ..wish };
            answered(world.apply(Command::EndImport { import }, wish));
        }
        _ => {
            let part = 1 + world.dice.below(left + 1).min(left.saturating_sub(1));
            let definitions = (0..part).map(|_| Arc::new(definition(world))).collect();
            answered(world.apply(Command::Stage { import, definitions }, wish));
        }
    }
}

/// Gives up what imports are still under way.
pub fn give_up_imports(world: &mut World) {
    for Importing { import, .. } in world.importing() {
        answered(world.apply(Command::DropImport { import }, Wish::default()));
    }
}

fn edit(world: &mut World, id: TaskId) {
    let mut new = definition(world);
    let old = world.definitions[&id].clone();
    if world.dice.chance(500) {
        new.when = old.when;
    }
    if world.dice.chance(500) {
        new.enabled = old.enabled;
    }
    if world.dice.chance(700) {
        new.name = old.name;
    }
    let (definition, by) = (Box::new(new), ME.to_owned());
    answered(world.apply(Command::Edit { id, definition, by }, Wish::default()));
}

fn set_enabled(world: &mut World, id: TaskId) {
    let command = Command::SetEnabled {
        ids: vec![id],
        enabled: !world.definitions[&id].enabled,
        by: ME.to_owned(),
    };
    answered(world.apply(command, Wish::default()));
}

/// Asks for runs of a span that is over, or not quite.
fn backfill(world: &mut World, id: TaskId) {
    let second = Duration::from_secs(1);
    let until = world.wall().plus(Duration::from_secs(5));
    let from = until.minus(world.dice.length(second, 3600 * second));
    answered(world.apply(Command::Backfill { id, from, until }, Wish::default()));
}

/// The calendar there may be.
fn calendar_name() -> TaskName {
    TaskName::parse("closed").unwrap()
}

/// Sets the calendar, or removes it.
fn calendar(world: &mut World) {
    let command = if world.dice.chance(200) {
        Command::RemoveCalendars {
            names: vec![calendar_name()],
        }
    } else {
        let weekday = *world
            .dice
            .pick(&["weekends", "mon", "tue", "wed", "thu", "fri"])
            .unwrap();
        let range = TimeRange::parse("2026-03-28T10:00", "2026-04-02T11:30").unwrap();
        let entries = [Entry::Rule(Rule::parse(weekday).unwrap()), Entry::Range(range)];
        let freeze = world
            .dice
            .chance(300)
            .then(|| *world.dice.pick(&["*1*", "label:night"]).unwrap());
        Command::SetCalendar {
            name: calendar_name(),
            calendar: Box::new(Kept {
                calendar: Calendar::new(entries).unwrap(),
                tz: "Europe/Berlin".to_owned(),
                freeze: freeze.into_iter().map(str::to_owned).collect(),
            }),
            by: ME.to_owned(),
        }
    };
    answered(world.apply(command, Wish::default()));
}

fn name(text: &str) -> TaskName {
    TaskName::parse(text).unwrap()
}

/// Sets the limit of a group or lock, or takes it back.
fn limit(world: &mut World) {
    let pools = [Pool::Group(name("g")), Pool::Group(name("h")), Pool::Lock(name("l"))];
    let command = Command::SetPools {
        owner: OWNER,
        pools: vec![world.dice.pick(&pools).unwrap().clone()],
        limit: NonZeroU32::new(world.dice.below(4) as u32),
        by: ME.to_owned(),
    };
    answered(world.apply(command, Wish::default()));
}

/// What the runs of a task share.
fn sharing(world: &mut World) -> Sharing {
    let mut one_of = |names: &[&str], chance| {
        let name = name(world.dice.pick(names).unwrap());
        world.dice.chance(chance).then_some(name)
    };
    let group = one_of(&["g", "h"], 400);
    let locks = [one_of(&["l"], 300), one_of(&["m", "n"], 200)];
    Sharing {
        group,
        priority: world.dice.below(3) as i16,
        locks: locks.into_iter().flatten().collect(),
    }
}

/// Pauses a task or all, or ends that.
fn pause(world: &mut World, some: Option<TaskId>) {
    let scope = match some.filter(|_| world.dice.chance(800)) {
        Some(id) => PauseScope::Task(id),
        None => PauseScope::All,
    };
    let (scopes, by) = (vec![scope], ME.to_owned());
    let command = if world.dice.chance(400) {
        Command::Resume { scopes, by }
    } else {
        let length = world.dice.length(Duration::from_secs(1), Duration::from_secs(5 * 3600));
        Command::Pause {
            scopes,
            until: world.dice.chance(900).then(|| world.wall().plus(length)),
            by,
            note: None,
        }
    };
    answered(world.apply(command, Wish::default()));
}

fn remove(world: &mut World, id: TaskId) {
    let running = match world.dice.below(3) {
        0 => WhileRunning::Refuse,
        1 => WhileRunning::Cancel,
        _ => WhileRunning::Keep,
    };
    let command = Command::Remove {
        ids: vec![id],
        running,
        reason: "its task was removed".to_owned(),
    };
    let wish = Wish {
        removed: vec![id],
        ..Wish::default()
    };
    answered(world.apply(command, wish));
}

fn cancel(world: &mut World) {
    let Some(daemon) = &world.daemon else { return };
    let runs: Vec<_> = daemon.core.active_runs().map(|run| run.origin.attempt.run).collect();
    if let Some(run) = world.dice.pick(&runs).copied() {
        let reason = "cancelled by a user".to_owned();
        if world.dice.chance(300) {
            let trace_id = runs_trace(world, run);
            let from = vec![(run, trace_id)];
            return answered(world.apply(Command::CancelFollowing { from, reason }, Wish::default()));
        }
        let runs = vec![run];
        answered(world.apply(Command::Cancel { runs, reason }, Wish::default()));
    }
}

fn runs_trace(world: &World, run: RunKey) -> TraceId {
    let core = &world.daemon.as_ref().expect("it has told of the run").core;
    core.run(run).expect("it is in progress").origin.trace_id
}

/// Most retries of a task.
pub const RETRIES: u32 = 3;

fn definition(world: &mut World) -> Definition {
    world.names += 1;
    let name = if world.dice.chance(900) {
        format!("task-{}", world.names)
    } else {
        "shared".to_owned()
    };
    let second = Duration::from_secs(1);
    let when = match world.dice.below(10) {
        0 => When::Boot,
        1 | 2 => When::Termed(Box::new(terms(world))),
        3 | 4 => match (depending::after(world), world.dice.chance(300)) {
            (after, false) => after,
            (after, true) => When::Termed(Box::new(Terms {
                requires: requiring::some(world),
                ..Terms::of(after)
            })),
        },
        _ => single(world),
    };
    let within = world.dice.length(second, 24 * 3600 * second);
    Definition {
        name: TaskName::parse(&name).unwrap(),
        when,
        action: Action::Shell {
            line: "true".to_owned(),
        },
        cwd: None,
        env: Vec::new(),
        description: None,
        labels: Vec::from_iter(world.dice.chance(200).then(|| TaskName::parse("night").unwrap())),
        enabled: world.dice.chance(850),
        sharing: sharing(world),
        policies: Policies {
            concurrency: match world.dice.below(10) {
                0..2 => Concurrency::Allow {
                    at_once: NonZeroU32::new(world.dice.below(4) as u32),
                },
                2..4 => Concurrency::Queue {
                    waiting: NonZeroU32::MIN.saturating_add(world.dice.below(3) as u32),
                },
                4..6 => Concurrency::Replace,
                _ => Concurrency::Forbid,
            },
            misfire: match world.dice.below(10) {
                0 | 1 => Misfire::Skip,
                2 => Misfire::All { within_ms: None },
                3 => Misfire::All {
                    within_ms: NonZeroU64::new(within.as_millis() as u64),
                },
                _ => Misfire::Once {
                    within_ms: (within.as_millis() as u64).try_into().unwrap(),
                },
            },
            retry: Retry {
                times: world.dice.below(u64::from(RETRIES) + 1) as u32,
                backoff: Backoff {
                    jitter: world.dice.chance(500),
                    ..Backoff::default()
                },
                on: RetryOn {
                    unknown: world.dice.chance(100),
                    spawn_failed: world.dice.chance(300),
                    ..RetryOn::default()
                },
            },
            time: TimeLimits {
                deadline_ms: NonZeroU64::new(world.dice.below(10_000_000)).filter(|_| world.dice.chance(300)),
                ..TimeLimits::default()
            },
            gate_wait_ms: match world.dice.below(3) {
                0 => None,
                _ => {
                    let wait = world.dice.length(Duration::from_millis(1), gates::WAIT_MAX).as_millis();
                    NonZeroU64::new(wait as u64)
                }
            },
            ..Policies::default()
        },
        process: Process::default(),
        output: OutputPolicy::default(),
        history: History::default(),
        gates: Gates {
            on_ac_power: world.dice.chance(200),
            ..Gates::default()
        },
    }
}

/// A schedule of one kind.
fn single(world: &mut World) -> When {
    let second = Duration::from_secs(1);
    match world.dice.below(12) {
        0 => When::Manual,
        1 | 2 => {
            let length = world.dice.length(second, 10 * 3600 * second);
            When::At {
                at: world.wall().plus(length),
                text: "once".to_owned(),
                tz: None,
            }
        }
        3..6 => {
            let exprs = ["* * * * *", "*/5 * * * *", "0 * * * *", "30 2 * * *", "15 */3 * * *"];
            When::Cron {
                expr: (*world.dice.pick(&exprs).unwrap()).to_owned(),
                tz: if world.dice.chance(500) { "UTC" } else { "Europe/Berlin" }.to_owned(),
                dst: DstRule {
                    gap: *world.dice.pick(&[Gap::Auto, Gap::Run, Gap::Skip]).unwrap(),
                    overlap: *world
                        .dice
                        .pick(&[Overlap::Auto, Overlap::First, Overlap::Second, Overlap::Both])
                        .unwrap(),
                },
            }
        }
        _ => {
            let interval = world.dice.length(second, 24 * 3600 * second);
            When::Every {
                interval_ms: interval.as_millis() as u64,
                anchor: world.wall(),
            }
        }
    }
}

/// Some schedules under some terms.
fn terms(world: &mut World) -> Terms {
    let count = 1 + world.dice.below(2);
    let mut parts = || match single(world) {
        When::Manual => When::Boot,
        part => part,
    };
    let of = (0..count).map(|_| parts()).collect();
    let second = Duration::from_secs(1);
    let jitter = match world.dice.chance(500) {
        true => world.dice.length(second, 3600 * second).as_millis() as u64,
        false => 0,
    };
    let mut instant = |chance| {
        let length = world.dice.length(second, 100 * 3600 * second);
        world.dice.chance(chance).then(|| world.wall().plus(length))
    };
    Terms {
        of,
        jitter_ms: jitter,
        offset_ms: jitter / 2,
        start: instant(300),
        end: instant(300),
        calendars: match world.has_calendar && world.dice.chance(500) {
            true => vec![CalendarUse {
                name: calendar_name(),
                keep: *world.dice.pick(&[Keep::Exclude, Keep::Only]).unwrap(),
            }],
            false => Vec::new(),
        },
        count: world
            .dice
            .chance(300)
            .then(|| NonZeroU64::MIN.saturating_add(world.dice.below(4))),
        requires: match world.dice.chance(500) {
            true => requiring::some(world),
            false => Vec::new(),
        },
    }
}
