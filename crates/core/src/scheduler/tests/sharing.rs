//! What runs share with those of other tasks: groups, priorities and locks.

use std::num::NonZeroU32;

use super::*;
use crate::policy::{Concurrency, Pool};
use crate::scheduler::{PoolView, WaitsFor};

fn name(text: &str) -> TaskName {
    TaskName::parse(text).unwrap()
}

/// A manual task, any number of whose runs go side by side.
fn sharing(text: &str, group: Option<&str>, priority: i16, locks: &[&str]) -> Definition {
    Definition {
        sharing: Sharing {
            group: group.map(name),
            priority,
            locks: locks.iter().map(|lock| name(lock)).collect(),
        },
        policies: Policies {
            concurrency: Concurrency::Allow { at_once: None },
            ..Policies::default()
        },
        ..definition(text, When::Manual)
    }
}

fn set(rig: &mut Rig, pool: Pool, limit: u32) -> Result<Accepted, Refusal> {
    rig.apply(Command::SetPools {
        owner: ME,
        pools: vec![pool],
        limit: NonZeroU32::new(limit),
        by: "uid 1000".to_owned(),
    })
}

fn group(text: &str) -> Pool {
    Pool::Group(name(text))
}

/// The tasks that were started since, with the numbers of their runs.
fn started(rig: &mut Rig) -> Vec<Origin> {
    let starts = rig.starts();
    starts.iter().for_each(|origin| rig.started(origin));
    starts
}

fn names(origins: &[Origin]) -> Vec<&str> {
    origins.iter().map(|origin| origin.name.as_str()).collect()
}

fn succeed(rig: &mut Rig, origin: &Origin) {
    rig.ended(origin, ended(Exit::Code(0)));
}

#[test]
fn no_more_runs_of_a_group_go_at_once_than_its_limit_and_the_highest_priority_goes_first() {
    let mut rig = Rig::new();
    set(&mut rig, group("db"), 2).unwrap();
    let tasks = [("a", 0), ("b", 0), ("c", 0), ("d", 10), ("e", -5), ("f", 10)];
    for (text, priority) in tasks {
        let id = rig.add(sharing(text, Some("db"), priority, &[]));
        rig.run(id);
    }
    let first = started(&mut rig);
    assert_eq!(names(&first), ["a", "b"]);
    let other = rig.add(sharing("other", None, 0, &[]));
    rig.run(other);
    assert_eq!(names(&started(&mut rig)), ["other"], "the limit is the group's alone");
    let view = PoolView {
        pool: group("db"),
        limit: NonZeroU32::new(2),
        is_set: true,
        tasks: 6,
        running: 2,
        waiting: 4,
    };
    assert_eq!(rig.core.pools(ME), [view]);
    let mut running = first;
    for next in ["d", "f", "c", "e"] {
        let origin = running.remove(0);
        succeed(&mut rig, &origin);
        let new = started(&mut rig);
        assert_eq!(names(&new), [next]);
        running.extend(new);
    }
}

#[test]
fn a_limit_that_is_raised_or_taken_back_lets_those_go_that_wait_and_one_that_is_lowered_stops_nothing() {
    let mut rig = Rig::new();
    set(&mut rig, group("db"), 1).unwrap();
    let id = rig.add(sharing("a", Some("db"), 0, &[]));
    for _ in 0..6 {
        rig.run(id);
    }
    assert_eq!(started(&mut rig).len(), 1);
    set(&mut rig, group("db"), 3).unwrap();
    let two = started(&mut rig);
    assert_eq!(two.len(), 2);
    set(&mut rig, group("db"), 1).unwrap();
    two.iter().for_each(|origin| succeed(&mut rig, origin));
    assert_eq!((rig.stops().len(), rig.core.counts().running), (0, 1));
    set(&mut rig, group("db"), 0).unwrap();
    assert_eq!(started(&mut rig).len(), 3);
    assert_eq!(set(&mut rig, group("db"), 0), Err(Refusal::NoPool(group("db"))));
}

#[test]
fn a_lock_is_held_by_one_run_of_any_task_and_who_waits_says_for_what() {
    let mut rig = Rig::new();
    let first = rig.add(sharing("a", None, 0, &["disk"]));
    let second = rig.add(sharing("b", None, 0, &["disk", "net"]));
    rig.run(first);
    let waiting = rig.run(second);
    let holder = started(&mut rig).remove(0);
    let waits_for = rig.core.run(waiting).unwrap().waits_for;
    let disk = Pool::Lock(name("disk"));
    let limit = NonZeroU32::new(1);
    assert_eq!(
        waits_for,
        Some(WaitsFor::Room {
            pool: disk.clone(),
            limit
        })
    );
    // What it has not got it does not hold.
    let third = rig.add(sharing("c", None, 0, &["net"]));
    rig.run(third);
    assert_eq!(names(&started(&mut rig)), ["c"]);
    succeed(&mut rig, &holder);
    assert_eq!(started(&mut rig), []);
    let net = Pool::Lock(name("net"));
    let waits_for = rig.core.run(waiting).unwrap().waits_for;
    assert_eq!(
        waits_for,
        Some(WaitsFor::Room {
            pool: net.clone(),
            limit
        })
    );
    // Meanwhile another one may have what is free.
    let fourth = rig.add(sharing("d", None, 0, &["disk"]));
    rig.run(fourth);
    assert_eq!(names(&started(&mut rig)), ["d"]);
    set(&mut rig, net, 2).unwrap();
    set(&mut rig, disk, 2).unwrap();
    assert_eq!(names(&started(&mut rig)), ["b"]);
}

#[test]
fn a_run_keeps_what_it_took_whatever_becomes_of_its_task() {
    for removed in [false, true] {
        let mut rig = Rig::new();
        let first = rig.add(sharing("a", None, 0, &["disk"]));
        let second = rig.add(sharing("b", None, 0, &["disk"]));
        rig.run(first);
        let holder = started(&mut rig).remove(0);
        let command = if removed {
            Command::Remove {
                ids: vec![first],
                running: WhileRunning::Keep,
                reason: "removed".to_owned(),
            }
        } else {
            Command::Edit {
                id: first,
                definition: Box::new(sharing("a", None, 0, &[])),
                by: "uid 1000".to_owned(),
            }
        };
        rig.apply(command).unwrap();
        let waiting = rig.run(second);
        assert_eq!(started(&mut rig), []);
        // The next life knows as well.
        let mut rig = rig.restart();
        let live = Live {
            origin: holder.clone(),
            pid: 7,
            started_at: rig.now,
            stopping: false,
        };
        rig.attach(1, vec![live]);
        assert_eq!(
            (started(&mut rig), rig.core.run(waiting).unwrap().state),
            (vec![], "waiting")
        );
        succeed(&mut rig, &holder);
        assert_eq!(names(&started(&mut rig)), ["b"]);
    }
}

#[test]
fn between_two_attempts_a_lock_is_free() {
    let mut rig = Rig::new();
    let mut tried = sharing("a", None, 0, &["disk"]);
    tried.policies.retry.times = 1;
    let first = rig.add(tried);
    let second = rig.add(sharing("b", None, 0, &["disk"]));
    rig.run(first);
    let holder = started(&mut rig).remove(0);
    rig.run(second);
    rig.ended(&holder, ended(Exit::Code(1)));
    let other = started(&mut rig);
    assert_eq!(names(&other), ["b"]);
    rig.go(5_000);
    assert_eq!(started(&mut rig), []);
    succeed(&mut rig, &other[0]);
    assert_eq!(names(&started(&mut rig)), ["a"]);
}

#[test]
fn firings_and_runs_by_hand_wait_for_the_same() {
    let mut rig = Rig::new();
    let mut due = sharing("a", None, 0, &["disk"]);
    due.when = every(1_000);
    rig.add(due);
    let id = rig.add(sharing("b", None, 1, &["disk"]));
    rig.pass(1_000);
    let first = started(&mut rig);
    assert_eq!(names(&first), ["a"]);
    rig.pass(2_000);
    rig.run(id);
    succeed(&mut rig, &first[0]);
    assert_eq!(names(&started(&mut rig)), ["b"]);
}

#[test]
fn owners_do_not_share() {
    let mut rig = Rig::new();
    let id = rig.add(sharing("a", None, 0, &["disk"]));
    rig.run(id);
    let definitions = vec![sharing("a", None, 0, &["disk"])];
    let owner = Owner(1001);
    let Reply::Added(ids) = rig.apply(Command::Add { owner, definitions }).unwrap().reply else {
        panic!("it is added");
    };
    rig.run(ids[0]);
    assert_eq!(started(&mut rig).len(), 2);
}

#[test]
fn of_what_is_due_at_one_instant_the_highest_priority_goes_first() {
    let mut rig = Rig::new();
    for (text, priority) in [("a", 0), ("b", 10), ("c", 5)] {
        let mut due = sharing(text, None, priority, &["disk"]);
        due.when = every(60_000);
        rig.add(due);
    }
    rig.pass(60_000);
    let mut order = Vec::new();
    while let Some(origin) = started(&mut rig).pop() {
        succeed(&mut rig, &origin);
        order.push(origin.name.to_string());
    }
    assert_eq!(order, ["b", "c", "a"]);
}

#[test]
fn a_run_that_waits_for_a_place_alone_is_not_overtaken_by_a_firing() {
    let mut rig = Rig::limited(Limits {
        running: 2,
        ..Limits::default()
    });
    let holder = rig.add(sharing("r", None, 0, &["l"]));
    let waiting = rig.add(sharing("h", None, 10, &["l"]));
    let other = rig.add(definition("s", When::Manual));
    for id in [holder, waiting, other] {
        rig.run(id);
    }
    let running = started(&mut rig);
    assert_eq!(names(&running), ["r", "s"]);
    rig.add(definition("f", every(60_000)));
    rig.pass(59_999);
    rig.now = at(60_000);
    rig.effects.clear();
    succeed(&mut rig, &running[0]);
    assert_eq!(names(&started(&mut rig)), ["h"]);
}

#[test]
fn a_run_takes_no_lock_that_its_task_is_given_while_it_runs() {
    let mut rig = Rig::new();
    let first = rig.add(sharing("a", None, 0, &["l"]));
    let second = rig.add(sharing("b", None, 0, &[]));
    rig.run(first);
    rig.run(second);
    started(&mut rig);
    rig.apply(Command::Edit {
        id: second,
        definition: Box::new(sharing("b", None, 0, &["l"])),
        by: "uid 1000".to_owned(),
    })
    .unwrap();
    let view = rig.core.pools(ME).remove(0);
    assert_eq!((view.tasks, view.running), (2, 1));
}

#[test]
fn a_limit_counts_while_it_is_on_its_way_and_one_that_is_there_may_change() {
    let mut rig = Rig::limited(Limits {
        pools: 1,
        ..Limits::default()
    });
    rig.prompt = false;
    set(&mut rig, group("a"), 1).unwrap();
    assert_eq!(set(&mut rig, group("b"), 1), Err(Refusal::TooManyPools { limit: 1 }));
    rig.store();
    set(&mut rig, group("a"), 2).unwrap();
}

#[test]
fn behind_a_run_that_is_being_decided_about_others_go() {
    let mut rig = Rig::new();
    let ids: Vec<TaskId> = ["r", "a", "z"]
        .into_iter()
        .map(|text| rig.add(sharing(text, None, 0, &["l"])))
        .collect();
    for id in &ids {
        rig.run(*id);
    }
    let holder = started(&mut rig).remove(0);
    rig.prompt = false;
    rig.apply(Command::Edit {
        id: ids[1],
        definition: Box::new(sharing("a", None, 0, &["l", "m"])),
        by: "uid 1000".to_owned(),
    })
    .unwrap();
    succeed(&mut rig, &holder);
    rig.store();
    assert_eq!(names(&started(&mut rig)), ["z"]);
}

#[test]
fn staged_tasks_show_in_no_list() {
    let mut rig = Rig::new();
    let begin = Command::BeginImport {
        owner: ME,
        count: std::num::NonZeroU64::MIN,
    };
    let Reply::Importing(import) = rig.apply(begin).unwrap().reply else {
        panic!("it begins");
    };
    let definitions = vec![std::sync::Arc::new(sharing("a", Some("g"), 0, &["l"]))];
    rig.apply(Command::Stage { import, definitions }).unwrap();
    assert_eq!(rig.core.pools(ME), []);
    rig.apply(Command::EndImport { import }).unwrap();
    assert_eq!(rig.core.pools(ME).len(), 2);
}

#[test]
fn a_run_that_waits_when_its_task_is_removed_ends_and_waits_no_longer() {
    let mut rig = Rig::new();
    let mut tried = sharing("a", None, 0, &["l"]);
    tried.policies.retry.times = 1;
    let first = rig.add(tried);
    let second = rig.add(sharing("b", None, 0, &["l"]));
    let run = rig.run(first);
    let holder = started(&mut rig).remove(0);
    rig.run(second);
    rig.prompt = false;
    rig.apply(Command::Remove {
        ids: vec![first],
        running: WhileRunning::Keep,
        reason: "removed".to_owned(),
    })
    .unwrap();
    rig.ended(&holder, ended(Exit::Code(1)));
    rig.go(5_000);
    assert_eq!(rig.core.run(run).unwrap().state, "waiting");
    rig.effects.clear();
    rig.store();
    let reason = Some("its task was removed before its next attempt".to_owned());
    assert_eq!(rig.outcomes(), [(run, Outcome::Cancelled, reason)]);
    assert_eq!(rig.core.counts().running, 1);
}
