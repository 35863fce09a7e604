//! What users ask.

use super::*;
use crate::command::WhileRunning;
use crate::run::Stopped;

fn add_all(rig: &mut Rig, names: &[&str]) -> Result<Accepted, Refusal> {
    let definitions = names.iter().map(|name| definition(name, When::Manual)).collect();
    rig.apply(Command::Add { owner: ME, definitions })
}

fn remove(ids: &[TaskId], running: WhileRunning) -> Command {
    Command::Remove {
        ids: ids.to_vec(),
        running,
        reason: "its task was removed".to_owned(),
    }
}

#[test]
fn a_decision_is_no_state_before_it_is_durable() {
    let mut rig = Rig::new();
    rig.prompt = false;
    let accepted = add_all(&mut rig, &["a"]).unwrap();
    assert_eq!(accepted.ticket, Some(rig.sent[0].0));
    assert_eq!(rig.core.counts().tasks, 0);
    assert_eq!(add_all(&mut rig, &["a"]), Err(Refusal::Busy), "the name is reserved");
    rig.refuse();
    assert_eq!(rig.core.counts().tasks, 0);
    let Ok(Accepted {
        reply: Reply::Added(ids),
        ..
    }) = add_all(&mut rig, &["a"])
    else {
        panic!("the name is free again");
    };
    assert_eq!(ids, [TaskId(2)], "the id of a refused task is not given again");
    rig.store();
    assert_eq!(rig.core.find(ME, &TaskName::parse("a").unwrap()), Some(TaskId(2)));
}

#[test]
fn a_task_named_twice_is_run_once() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", When::Manual));
    rig.apply(Command::Run {
        ids: vec![id, id],
        overrides: None,
    })
    .unwrap();
    assert_eq!(rig.starts().len(), 1);
}

#[test]
fn names_are_unique_per_owner_and_all_or_none_are_added() {
    let mut rig = Rig::new();
    add_all(&mut rig, &["a"]).unwrap();
    let taken = |name: &str, index| {
        Err(Refusal::NameTaken {
            name: TaskName::parse(name).unwrap(),
            index,
        })
    };
    assert_eq!(add_all(&mut rig, &["b", "a"]), taken("a", 1));
    assert_eq!(add_all(&mut rig, &["c", "b", "c"]), taken("c", 2));
    assert_eq!(rig.core.counts().tasks, 1);
    let definitions = vec![definition("a", When::Manual)];
    rig.apply(Command::Add {
        owner: Owner(1001),
        definitions,
    })
    .unwrap();
    let b = rig.add(definition("b", When::Manual));
    assert_eq!(rig.apply(edit(b, definition("a", When::Manual))), taken("a", 0));
    rig.apply(edit(b, definition("z", When::Manual))).unwrap();
    let names = |owner| {
        rig.core
            .names_after(owner, None)
            .map(|(name, _)| name.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(ME), ["a", "z"]);
    assert_eq!(names(Owner(1001)), ["a"]);
    assert_eq!(rig.core.names_after(ME, Some("a")).count(), 1);
    assert_eq!(
        rig.core.names_after(ME, Some("a!")).count(),
        1,
        "any text bounds a page"
    );
}

#[test]
fn an_owner_may_have_so_many_tasks() {
    let limits = Limits {
        tasks_of_others: 2,
        tasks_of_root: 3,
        ..Limits::default()
    };
    let mut rig = Rig::limited(limits);
    assert_eq!(
        add_all(&mut rig, &["a", "b", "c"]),
        Err(Refusal::TooManyTasks { limit: 2 })
    );
    rig.prompt = false;
    add_all(&mut rig, &["a", "b"]).unwrap();
    assert_eq!(
        add_all(&mut rig, &["c"]),
        Err(Refusal::TooManyTasks { limit: 2 }),
        "those on their way count"
    );
    rig.store();
    assert_eq!(add_all(&mut rig, &["c"]), Err(Refusal::TooManyTasks { limit: 2 }));
    rig.prompt = true;
    rig.apply(remove(&[TaskId(1)], WhileRunning::Refuse)).unwrap();
    add_all(&mut rig, &["c"]).unwrap();
    let definitions = ["a", "b", "c"].map(|name| definition(name, When::Manual)).to_vec();
    let owner = Owner(0);
    rig.apply(Command::Add { owner, definitions }).unwrap();
}

#[test]
fn a_schedule_that_cannot_be_read_is_refused() {
    let mut rig = Rig::new();
    let bad = [
        When::Cron {
            expr: "0 0 31 2 *".to_owned(),
            tz: "UTC".to_owned(),
            dst: DstRule::default(),
        },
        When::Cron {
            expr: "* * * * *".to_owned(),
            tz: "Mars/Olympus".to_owned(),
            dst: DstRule::default(),
        },
        every(0),
    ];
    for when in bad {
        let definitions = vec![definition("a", When::Manual), definition("b", when)];
        let refused = rig.apply(Command::Add { owner: ME, definitions });
        assert!(
            matches!(refused, Err(Refusal::BadSchedule { index: 1, .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn a_manual_run_starts_when_it_is_durable() {
    let mut rig = Rig::new();
    let mut quiet = definition("a", every(MINUTE));
    quiet.enabled = false;
    let id = rig.add(quiet);
    rig.effects.clear();
    rig.prompt = false;
    let run = rig.run(id);
    assert_eq!(rig.starts(), []);
    assert_eq!(
        rig.apply(Command::Run {
            ids: vec![id],
            overrides: None
        }),
        Err(Refusal::Busy)
    );
    rig.store();
    let origin = rig.start();
    assert_eq!((origin.attempt.run, origin.fire_time), (run, None));
    let name = TaskName::parse("a").unwrap();
    assert_eq!(
        rig.apply(Command::Run {
            ids: vec![id],
            overrides: None
        }),
        Err(Refusal::StillRunning { name, run })
    );
    rig.prompt = true;
    rig.ended(&origin, ended(Exit::Code(3)));
    assert_eq!(rig.outcomes(), [(run, Outcome::Failed, Some("exit code 3".to_owned()))]);
}

#[test]
fn a_manual_run_without_a_runner_is_refused() {
    let mut rig = Rig::bare(Limits::default());
    let id = rig.add(definition("a", When::Manual));
    assert_eq!(
        rig.apply(Command::Run {
            ids: vec![id],
            overrides: None
        }),
        Err(Refusal::NoRunner)
    );
}

#[test]
fn an_acknowledged_run_whose_runner_goes_is_started_by_the_next() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", When::Manual));
    rig.prompt = false;
    let run = rig.run(id);
    rig.tell(Event::RunnerLost);
    rig.prompt = true;
    rig.store();
    assert_eq!(rig.starts(), []);
    rig.attach(2, Vec::new());
    assert_eq!(rig.start().attempt.run, run, "no runner was ever told of it");
}

#[test]
fn a_cancelled_run_ends_when_its_process_does() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", When::Manual));
    let run = rig.run(id);
    let origin = rig.start();
    rig.started(&origin);
    rig.prompt = false;
    rig.apply(cancel(run)).unwrap();
    assert_eq!(rig.stops(), [], "the decision is not durable");
    rig.store();
    assert_eq!(rig.stops(), [origin.attempt]);
    assert_eq!(rig.core.run(run).unwrap().state, "stopping");
    let again = rig.apply(cancel(run)).unwrap();
    assert_eq!(again.ticket, None, "there is nothing to decide");
    let mut end = ended(Exit::Signal(15));
    end.stopped = Some(Stopped::Asked);
    rig.ended(&origin, end);
    let why = Some("cancelled by uid 1000".to_owned());
    assert_eq!(rig.outcomes(), [(run, Outcome::Cancelled, why)]);
    assert_eq!(rig.apply(cancel(run)), Err(Refusal::NotRunning(run)));
}

#[test]
fn a_run_that_ended_before_the_signal_came_has_its_own_outcome() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", When::Manual));
    let run = rig.run(id);
    let origin = rig.start();
    rig.apply(cancel(run)).unwrap();
    rig.effects.clear();
    rig.ended(&origin, ended(Exit::Code(0)));
    assert_eq!(rig.outcomes(), [(run, Outcome::Succeeded, None)]);
}

#[test]
fn a_waiting_run_is_cancelled_at_once() {
    let limits = Limits {
        running: 1,
        ..Limits::default()
    };
    let mut rig = Rig::limited(limits);
    let [a, b] = ["a", "b"].map(|name| rig.add(definition(name, When::Manual)));
    rig.run(a);
    let waiting = rig.run(b);
    rig.effects.clear();
    rig.apply(cancel(waiting)).unwrap();
    let why = Some("cancelled by uid 1000".to_owned());
    assert_eq!(rig.outcomes(), [(waiting, Outcome::Cancelled, why)]);
}

#[test]
fn disabling_ends_what_is_owed_and_enabling_owes_nothing() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", every(MINUTE)));
    rig.tell(Event::RunnerLost);
    rig.go(3 * MINUTE + 1000);
    rig.effects.clear();
    rig.apply(switch(&[id], false)).unwrap();
    let why = "the task was disabled before it could start".to_owned();
    assert_eq!(rig.passed(), [(Passing::Missed, MINUTE, 3 * MINUTE, 3, why)]);
    assert_eq!(rig.core.task(id).unwrap().next, None);
    rig.attach(1, Vec::new());
    rig.go(10 * MINUTE);
    rig.apply(switch(&[id], true)).unwrap();
    rig.go(10 * MINUTE + 1);
    assert_eq!(rig.starts(), []);
    assert_eq!(rig.core.next_due(), Some(at(11 * MINUTE)));
}

#[test]
fn enabling_twice_decides_once() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", every(MINUTE)));
    assert_eq!(rig.apply(switch(&[id], true)).unwrap().ticket, None);
}

#[test]
fn a_change_of_other_fields_forgets_no_fire_time() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", every(MINUTE)));
    rig.tell(Event::RunnerLost);
    rig.go(MINUTE + 1000);
    rig.apply(edit(id, definition("b", every(MINUTE)))).unwrap();
    rig.attach(1, Vec::new());
    assert_eq!(rig.start().fire_time, Some(at(MINUTE)));
}

#[test]
fn another_schedule_owes_nothing_of_the_past() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", every(MINUTE)));
    rig.go(MINUTE / 2);
    rig.apply(edit(id, definition("a", every(MINUTE / 4)))).unwrap();
    assert_eq!(rig.core.next_due(), Some(at(MINUTE * 3 / 4)));
}

#[test]
fn a_removed_task_leaves_its_run_as_asked() {
    for (running, stopped) in [
        (WhileRunning::Refuse, None),
        (WhileRunning::Cancel, Some(1)),
        (WhileRunning::Keep, Some(0)),
    ] {
        let mut rig = Rig::new();
        let id = rig.add(definition("a", When::Manual));
        let run = rig.run(id);
        let origin = rig.start();
        let result = rig.apply(remove(&[id], running));
        let Some(stopped) = stopped else {
            let name = TaskName::parse("a").unwrap();
            assert_eq!(result, Err(Refusal::StillRunning { name, run }));
            continue;
        };
        assert_eq!(rig.stops().len(), stopped, "{running:?}");
        assert!(rig.core.task(id).is_none());
        assert_eq!(rig.core.run(run).unwrap().origin.name.as_str(), "a");
        rig.ended(&origin, ended(Exit::Code(0)));
        assert_eq!(rig.outcomes(), [(run, Outcome::Succeeded, None)]);
        assert_eq!(rig.apply(remove(&[id], running)), Err(Refusal::NoTask(id)));
    }
}

#[test]
fn a_waiting_run_goes_with_its_task() {
    let limits = Limits {
        running: 1,
        ..Limits::default()
    };
    let mut rig = Rig::limited(limits);
    let [a, b] = ["a", "b"].map(|name| rig.add(definition(name, When::Manual)));
    rig.run(a);
    let waiting = rig.run(b);
    rig.effects.clear();
    rig.apply(remove(&[b], WhileRunning::Keep)).unwrap();
    let why = Some("its task was removed".to_owned());
    assert_eq!(rig.outcomes(), [(waiting, Outcome::Cancelled, why)]);
}

#[test]
fn a_run_goes_by_the_name_its_task_has_now() {
    let mut rig = Rig::new();
    let id = rig.add(definition("a", When::Manual));
    let run = rig.run(id);
    rig.apply(edit(id, definition("b", When::Manual))).unwrap();
    assert_eq!(rig.core.run(run).unwrap().origin.name.as_str(), "b");
}
