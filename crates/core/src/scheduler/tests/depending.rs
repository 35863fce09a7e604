//! Tasks that come after others.

use std::sync::Arc;

use super::*;
use crate::dependency::{Upstream, Upstreams};
use crate::pause::PauseScope;
use crate::policy::Concurrency;
use crate::run::{TraceId, Trigger};
use crate::task::ImportId;

/// A schedule after these, as in `a:failed`; all of them.
fn after(of: &[&str]) -> When {
    When::After(upstreams(of, false))
}

fn after_any(of: &[&str]) -> When {
    When::After(upstreams(of, true))
}

fn upstreams(of: &[&str], any: bool) -> Upstreams {
    let of = of.iter().map(|text| Upstream::parse(text).unwrap()).collect();
    Upstreams { of, any }
}

fn manual(text: &str) -> Definition {
    definition(text, When::Manual)
}

fn name(text: &str) -> TaskName {
    TaskName::parse(text).unwrap()
}

/// Runs a task by hand to this exit code. Gives back its trace id.
fn run_to(rig: &mut Rig, id: TaskId, code: i32) -> TraceId {
    rig.run(id);
    let origin = started(rig, 1).remove(0);
    rig.ended(&origin, ended(Exit::Code(code)));
    origin.trace_id
}

/// So many were started since this was last asked.
fn started(rig: &mut Rig, count: usize) -> Vec<Origin> {
    let starts = rig.starts();
    assert_eq!(starts.len(), count, "{starts:?}");
    starts.iter().for_each(|origin| rig.started(origin));
    rig.effects.clear();
    starts
}

fn finish(rig: &mut Rig, origin: &Origin, code: i32) {
    rig.ended(origin, ended(Exit::Code(code)));
}

/// Why tasks that were owed a run have none, since effects were last looked at.
fn skipped(rig: &mut Rig) -> Vec<String> {
    let skipped = |record| match record {
        Record::DependencySkipped { reason, .. } => Some(reason),
        _ => None,
    };
    rig.records().into_iter().filter_map(skipped).collect()
}

#[test]
fn a_run_follows_the_end_that_it_waits_for_and_carries_its_trace_id_on() {
    let mut rig = Rig::new();
    let a = rig.add(manual("a"));
    let b = rig.add(definition("b", after(&["a"])));
    let c = rig.add(definition("c", after(&["b"])));
    rig.effects.clear();
    let trace = run_to(&mut rig, a, 0);
    let origin = started(&mut rig, 1).remove(0);
    assert_eq!((origin.attempt.run.task, origin.trigger), (b, Trigger::Dependency));
    assert_eq!((origin.trace_id, origin.fire_time), (trace, None));
    finish(&mut rig, &origin, 0);
    let origin = started(&mut rig, 1).remove(0);
    assert_eq!((origin.attempt.run.task, origin.trace_id), (c, trace), "and so on");
}

#[test]
fn each_kind_of_end_triggers_its_own() {
    let mut rig = Rig::new();
    let a = rig.add(manual("a"));
    rig.add(definition("ok", after(&["a:succeeded"])));
    rig.add(definition("bad", after(&["a:failed"])));
    rig.add(definition("any", after(&["a:finished"])));
    rig.effects.clear();
    let names = |origins: Vec<Origin>| origins.iter().map(|origin| origin.name.to_string()).collect::<Vec<_>>();
    run_to(&mut rig, a, 0);
    let first = started(&mut rig, 2);
    first.iter().for_each(|origin| finish(&mut rig, origin, 0));
    assert_eq!(names(first), ["ok", "any"]);
    rig.effects.clear();
    run_to(&mut rig, a, 1);
    let second = started(&mut rig, 2);
    second.iter().for_each(|origin| finish(&mut rig, origin, 0));
    assert_eq!(names(second), ["bad", "any"]);
    rig.effects.clear();
    // One that was cancelled ran as well.
    let run = rig.run(a);
    let origin = started(&mut rig, 1).remove(0);
    rig.apply(cancel(run)).unwrap();
    let end = AttemptEnd {
        stopped: Some(crate::run::Stopped::Asked),
        ..ended(Exit::Signal(15))
    };
    rig.ended(&origin, end);
    assert_eq!(names(started(&mut rig, 1)), ["any"]);
}

#[test]
fn what_never_ran_is_no_end() {
    let mut rig = Rig::limited(Limits {
        running: 1,
        ..Limits::default()
    });
    let busy = rig.add(manual("busy"));
    let a = rig.add(manual("a"));
    rig.add(definition("b", after(&["a:finished"])));
    rig.run(busy);
    started(&mut rig, 1);
    let waits = rig.run(a);
    rig.apply(cancel(waits)).unwrap();
    assert_eq!(rig.outcomes().len(), 1);
    assert!(rig.core.snapshot().rest.owed.is_empty());
    assert_eq!(rig.core.task(TaskId(3)).unwrap().last_run, 0);
}

#[test]
fn all_of_several_must_have_ended_since_it_was_last_triggered() {
    let mut rig = Rig::new();
    let (a, b) = (rig.add(manual("a")), rig.add(manual("b")));
    let c = rig.add(definition("c", after(&["a", "b"])));
    rig.effects.clear();
    run_to(&mut rig, a, 0);
    run_to(&mut rig, a, 0);
    assert_eq!(rig.starts(), [], "one of two, twice");
    let trace = run_to(&mut rig, b, 0);
    let origin = started(&mut rig, 1).remove(0);
    assert_eq!(
        (origin.attempt.run.task, origin.trace_id),
        (c, trace),
        "of the last that it took"
    );
    finish(&mut rig, &origin, 0);
    rig.effects.clear();
    run_to(&mut rig, b, 0);
    assert_eq!(rig.starts(), [], "what a did before is spent");
    run_to(&mut rig, a, 0);
    assert_eq!(started(&mut rig, 1).len(), 1);
}

#[test]
fn an_end_of_another_kind_takes_back_the_one_before() {
    let mut rig = Rig::new();
    let (a, b) = (rig.add(manual("a")), rig.add(manual("b")));
    rig.add(definition("c", after(&["a", "b"])));
    rig.effects.clear();
    run_to(&mut rig, a, 0);
    run_to(&mut rig, a, 1);
    run_to(&mut rig, b, 0);
    assert_eq!(rig.starts(), [], "the newest run of a failed");
    run_to(&mut rig, a, 0);
    assert_eq!(started(&mut rig, 1).len(), 1);
}

#[test]
fn any_of_several_is_enough_where_that_is_said() {
    let mut rig = Rig::new();
    let (a, b) = (rig.add(manual("a")), rig.add(manual("b")));
    rig.add(definition("c", after_any(&["a", "b:failed"])));
    rig.effects.clear();
    for (id, code, follows) in [(a, 0, true), (b, 0, false), (b, 1, true), (a, 1, false)] {
        run_to(&mut rig, id, code);
        let starts = started(&mut rig, usize::from(follows));
        starts.iter().for_each(|origin| finish(&mut rig, origin, 0));
        rig.effects.clear();
    }
}

#[test]
fn an_attempt_that_another_follows_is_no_end() {
    let mut rig = Rig::new();
    let mut retries = manual("a");
    retries.policies.retry.times = 1;
    let a = rig.add(retries);
    rig.add(definition("b", after_any(&["a:finished"])));
    rig.effects.clear();
    run_to(&mut rig, a, 1);
    assert_eq!(rig.starts(), []);
    rig.pass(10_000);
    let origin = started(&mut rig, 1).remove(0);
    assert_eq!((origin.name.as_str(), origin.attempt.attempt), ("a", 2));
    finish(&mut rig, &origin, 1);
    assert_eq!(started(&mut rig, 1)[0].name.as_str(), "b");
}

#[test]
fn what_keeps_it_from_starting_is_recorded() {
    let mut rig = Rig::new();
    let a = rig.add(manual("a"));
    let b = rig.add(definition("b", after(&["a"])));
    rig.effects.clear();
    run_to(&mut rig, a, 0);
    started(&mut rig, 1);
    run_to(&mut rig, a, 0);
    assert_eq!(skipped(&mut rig), ["after a/2: run b/1 is still running"]);
    rig.apply(switch(&[b], false)).unwrap();
    rig.effects.clear();
    run_to(&mut rig, a, 0);
    assert_eq!(skipped(&mut rig), ["after a/3: it is disabled"]);
    rig.apply(switch(&[b], true)).unwrap();
    rig.apply(Command::Pause {
        scopes: vec![PauseScope::Task(b)],
        until: None,
        by: "uid 1000".to_owned(),
        note: None,
    })
    .unwrap();
    rig.effects.clear();
    rig.go(1);
    run_to(&mut rig, a, 0);
    let [reason] = &skipped(&mut rig)[..] else {
        panic!("one")
    };
    assert!(
        reason.starts_with("after a/4: ") && reason.contains("paused"),
        "{reason}"
    );
    assert!(rig.core.snapshot().rest.owed.is_empty());
}

#[test]
fn a_queue_holds_what_is_triggered_too() {
    let mut rig = Rig::new();
    let a = rig.add(manual("a"));
    let mut queued = definition("b", after(&["a"]));
    queued.policies.concurrency = Concurrency::parse("queue:1").unwrap();
    rig.add(queued);
    rig.effects.clear();
    run_to(&mut rig, a, 0);
    let first = started(&mut rig, 1).remove(0);
    run_to(&mut rig, a, 0);
    run_to(&mut rig, a, 0);
    assert_eq!(
        skipped(&mut rig),
        ["after a/3: another run of it waits, and no more may"]
    );
    finish(&mut rig, &first, 0);
    assert_eq!(started(&mut rig, 1)[0].attempt.run.n, 2);
}

#[test]
fn what_is_owed_outlives_a_crash_and_comes_once() {
    let mut rig = Rig::new();
    let a = rig.add(manual("a"));
    let b = rig.add(definition("b", after(&["a"])));
    rig.run(a);
    let first = started(&mut rig, 1).remove(0);
    // The end becomes durable and no more: the run that follows was on its way.
    rig.prompt = false;
    finish(&mut rig, &first, 0);
    let sent = rig.batches.clone().into_iter().flat_map(|(_, records)| records);
    let end = sent.take_while(|record| !matches!(record, Record::RunCreated { .. }));
    rig.disk.extend(end);
    let mut next = rig.restart();
    assert_eq!(next.core.snapshot().rest.owed.len(), 1);
    next.attach(1, Vec::new());
    let origin = started(&mut next, 1).remove(0);
    assert_eq!((origin.attempt.run.task, origin.trace_id), (b, first.trace_id));
    let mut third = next.restart();
    third.attach(1, vec![live(&origin)]);
    assert_eq!(third.starts(), []);
    assert_eq!(third.core.task(b).unwrap().last_run, 1);
}

#[test]
fn several_ends_that_a_runner_kept_each_have_their_run() {
    let mut rig = Rig::new();
    let parallel = |definition: Definition| Definition {
        policies: Policies {
            concurrency: Concurrency::Allow { at_once: None },
            ..Policies::default()
        },
        ..definition
    };
    let a = rig.add(parallel(manual("a")));
    rig.add(parallel(definition("b", after(&["a"]))));
    rig.run(a);
    rig.run(a);
    let origins = started(&mut rig, 2);
    let mut next = rig.restart();
    let ended = origins.iter().map(|origin| (origin.clone(), ended(Exit::Code(0))));
    next.attach_with(1, Vec::new(), ended.collect());
    let traces: Vec<TraceId> = started(&mut next, 2).iter().map(|origin| origin.trace_id).collect();
    assert_eq!(traces, [origins[0].trace_id, origins[1].trace_id]);
}

#[test]
fn another_schedule_and_an_enabling_forget_what_had_ended() {
    let mut rig = Rig::new();
    let (a, b) = (rig.add(manual("a")), rig.add(manual("b")));
    let c = rig.add(definition("c", after(&["a", "b"])));
    rig.effects.clear();
    run_to(&mut rig, a, 0);
    rig.apply(edit(c, definition("c", after(&["a", "b:finished"]))))
        .unwrap();
    run_to(&mut rig, b, 0);
    assert!(rig.starts().is_empty());
    rig.apply(switch(&[c], false)).unwrap();
    rig.apply(switch(&[c], true)).unwrap();
    run_to(&mut rig, a, 0);
    assert!(rig.starts().is_empty(), "b had ended before it was enabled");
    assert_eq!(rig.core.snapshot().rest.latches.len(), 1);
    // Another note is no other schedule.
    let mut noted = definition("c", after(&["a", "b:finished"]));
    noted.description = Some("a note".to_owned());
    rig.apply(edit(c, noted)).unwrap();
    assert_eq!(rig.core.snapshot().rest.latches.len(), 1);
}

#[test]
fn a_decision_on_its_way_holds_what_is_owed_up() {
    let mut rig = Rig::new();
    let a = rig.add(manual("a"));
    let b = rig.add(definition("b", after(&["a"])));
    rig.run(a);
    let origin = started(&mut rig, 1).remove(0);
    rig.prompt = false;
    rig.apply(edit(b, manual("b"))).unwrap();
    finish(&mut rig, &origin, 0);
    rig.prompt = true;
    rig.store();
    assert!(rig.core.snapshot().rest.owed.is_empty());
    let origin = started(&mut rig, 1).remove(0);
    assert_eq!(origin.attempt.run.task, b, "it was owed when a ended");
}

#[test]
fn what_ends_while_another_schedule_is_on_its_way_is_kept_for_neither() {
    let mut rig = Rig::new();
    let (a, _) = (rig.add(manual("a")), rig.add(manual("b")));
    let c = rig.add(definition("c", after(&["a", "b"])));
    rig.run(a);
    let origin = started(&mut rig, 1).remove(0);
    rig.prompt = false;
    rig.apply(edit(c, definition("c", after(&["a:failed", "b"])))).unwrap();
    finish(&mut rig, &origin, 0);
    assert_eq!(rig.core.snapshot().rest.latches.len(), 1, "the edit is not durable yet");
    rig.prompt = true;
    rig.store();
    assert_eq!(rig.core.snapshot().rest.latches, []);
    let replayed = Scheduler::replay(catalog(), Limits::default(), [3, 4], rig.disk.clone());
    assert_eq!(replayed.snapshot(), rig.core.snapshot());
}

/// Cancels a run with all that follows from it.
fn cancel_following(rig: &mut Rig, origin: &Origin) -> Result<Accepted, Refusal> {
    rig.apply(Command::CancelFollowing {
        from: vec![(origin.attempt.run, origin.trace_id)],
        reason: "cancelled by uid 1000".to_owned(),
    })
}

#[test]
fn what_follows_from_a_run_is_cancelled_with_it_and_nothing_follows_from_that() {
    let mut rig = Rig::new();
    let a = rig.add(manual("a"));
    rig.add(definition("b", after(&["a"])));
    rig.add(definition("c", after(&["a"])));
    rig.add(definition("d", after_any(&["b:finished", "c:finished"])));
    let other = rig.add(manual("other"));
    rig.run(other);
    started(&mut rig, 1);
    rig.run(a);
    let first = started(&mut rig, 1).remove(0);
    finish(&mut rig, &first, 0);
    let both = started(&mut rig, 2);
    cancel_following(&mut rig, &first).unwrap();
    assert_eq!(rig.stops().len(), 2, "what follows of it, and not the other");
    // One ends as if it had not heard of that.
    finish(&mut rig, &both[0], 0);
    let mut next = rig.restart();
    next.attach(1, vec![live(&both[1])]);
    next.effects.clear();
    let end = AttemptEnd {
        stopped: Some(crate::run::Stopped::Asked),
        ..ended(Exit::Signal(15))
    };
    next.ended(&both[1], end);
    assert_eq!(next.starts(), []);
    assert_eq!(next.core.task(TaskId(4)).unwrap().last_run, 0, "d was not triggered");
    let again = cancel_following(&mut next, &first).unwrap_err();
    assert_eq!(again, Refusal::NotRunning(first.attempt.run));
}

#[test]
fn what_follows_and_has_outlived_its_task_is_cancelled_as_well() {
    let mut rig = Rig::new();
    let a = rig.add(manual("a"));
    let b = rig.add(definition("b", after(&["a"])));
    let c = rig.add(definition("c", after(&["b:finished"])));
    rig.add(definition("d", after(&["a"])));
    rig.run(a);
    let first = started(&mut rig, 1).remove(0);
    finish(&mut rig, &first, 0);
    let [of_b, of_d] = &started(&mut rig, 2)[..] else {
        panic!("two follow")
    };
    finish(&mut rig, of_b, 0);
    let of_c = started(&mut rig, 1).remove(0);
    rig.apply(Command::Remove {
        ids: vec![c, b],
        running: WhileRunning::Keep,
        reason: "removed".to_owned(),
    })
    .unwrap();
    rig.effects.clear();
    cancel_following(&mut rig, of_d).unwrap();
    assert_eq!(rig.stops(), [of_d.attempt], "what is beside it does not follow");
    rig.effects.clear();
    cancel_following(&mut rig, of_b).unwrap();
    assert_eq!(rig.stops(), [of_c.attempt]);
}

#[test]
fn only_what_comes_after_its_task_follows_from_a_run() {
    let mut rig = Rig::new();
    let a = rig.add(manual("a"));
    rig.add(definition("b", after(&["a"])));
    rig.add(definition("c", after(&["a"])));
    rig.run(a);
    let first = started(&mut rig, 1).remove(0);
    finish(&mut rig, &first, 0);
    let both = started(&mut rig, 2);
    cancel_following(&mut rig, &both[0]).unwrap();
    assert_eq!(rig.stops(), [both[0].attempt], "c is beside b, not after it");
}

#[test]
fn an_end_that_comes_before_its_cancellation_is_durable_triggers_nothing() {
    let mut rig = Rig::new();
    let (a, x) = (rig.add(manual("a")), rig.add(manual("x")));
    rig.add(definition("b", after(&["a"])));
    rig.add(definition("c", after(&["a", "x"])));
    rig.run(a);
    let first = started(&mut rig, 1).remove(0);
    rig.prompt = false;
    cancel_following(&mut rig, &first).unwrap();
    finish(&mut rig, &first, 0);
    rig.prompt = true;
    rig.store();
    assert_eq!(
        skipped(&mut rig),
        ["after a/1: that run was cancelled with all that follows"]
    );
    let rest = rig.core.snapshot().rest;
    assert!(rest.owed.is_empty() && rest.latches.is_empty(), "{rest:?}");
    let _ = x;
}

#[test]
fn a_cycle_is_refused_with_its_path() {
    let mut rig = Rig::new();
    let a = rig.add(manual("a"));
    rig.add(definition("b", after(&["a"])));
    rig.add(definition("c", after(&["b"])));
    let refused = rig
        .apply(edit(a, definition("a", after_any(&["c:failed"]))))
        .unwrap_err();
    let path = ["a", "b", "c", "a"].map(name).to_vec();
    assert_eq!(
        refused,
        Refusal::Cycle {
            path,
            required: false,
            index: 0
        }
    );
    let refused = rig.apply(edit(a, definition("a", after(&["a"])))).unwrap_err();
    let path = vec![name("a"), name("a")];
    assert_eq!(
        refused,
        Refusal::Cycle {
            path,
            required: false,
            index: 0
        }
    );
    // Of several at once.
    let definitions = vec![
        manual("x"),
        definition("y", after(&["z"])),
        definition("z", after(&["x", "y"])),
    ];
    let refused = rig.apply(Command::Add { owner: ME, definitions }).unwrap_err();
    assert!(matches!(refused, Refusal::Cycle { path, .. } if path.len() == 3));
}

#[test]
fn two_edits_at_once_close_no_cycle() {
    let mut rig = Rig::new();
    let (a, b) = (rig.add(manual("a")), rig.add(manual("b")));
    rig.prompt = false;
    rig.apply(edit(a, definition("a", after(&["b"])))).unwrap();
    let second = edit(b, definition("b", after(&["a"])));
    assert_eq!(rig.apply(second.clone()).unwrap_err(), Refusal::Busy);
    rig.store();
    assert!(matches!(rig.apply(second).unwrap_err(), Refusal::Cycle { .. }));
}

#[test]
fn what_is_named_is_there_and_stays() {
    let mut rig = Rig::new();
    let definitions = vec![definition("b", after(&["a"]))];
    let add = Command::Add { owner: ME, definitions };
    let gone = Refusal::NoUpstream {
        name: name("a"),
        required: false,
        index: 0,
    };
    assert_eq!(rig.apply(add.clone()).unwrap_err(), gone);
    let a = rig.add(manual("a"));
    rig.apply(add).unwrap();
    let remove = |ids: &[TaskId]| Command::Remove {
        ids: ids.to_vec(),
        running: WhileRunning::Refuse,
        reason: "removed".to_owned(),
    };
    let named = Refusal::StillNamed {
        name: name("a"),
        by: vec![name("b")],
        more: 0,
    };
    assert_eq!(rig.apply(remove(&[a])).unwrap_err(), named);
    assert_eq!(
        rig.apply(edit(a, manual("other"))).unwrap_err(),
        named,
        "nor may it change"
    );
    let b = TaskId(a.0 + 1);
    rig.apply(remove(&[a, b])).unwrap();
    // While one that names it is on its way, too.
    let a = rig.add(manual("a"));
    rig.prompt = false;
    let definitions = vec![definition("b", after(&["a"]))];
    rig.apply(Command::Add { owner: ME, definitions }).unwrap();
    assert_eq!(rig.apply(remove(&[a])).unwrap_err(), Refusal::Busy);
    rig.store();
    assert_eq!(rig.apply(remove(&[a])).unwrap_err(), named);
}

#[test]
fn the_tasks_of_an_import_name_each_other_in_any_order() {
    let mut rig = Rig::new();
    let import = |rig: &mut Rig, parts: Vec<Definition>| {
        let count = std::num::NonZeroU64::new(parts.len() as u64).unwrap();
        let accepted = rig.apply(Command::BeginImport { owner: ME, count }).unwrap();
        let Reply::Importing(import) = accepted.reply else {
            panic!("{accepted:?}")
        };
        for part in parts {
            let definitions = vec![Arc::new(part)];
            rig.apply(Command::Stage { import, definitions }).unwrap();
        }
        (import, rig.apply(Command::EndImport { import }))
    };
    let (first, ended) = import(&mut rig, vec![definition("b", after(&["a"])), manual("a")]);
    ended.unwrap();
    rig.effects.clear();
    run_to(&mut rig, TaskId(first.0 + 1), 0);
    assert_eq!(started(&mut rig, 1)[0].name.as_str(), "b");
    let drop = |rig: &mut Rig, import: ImportId| rig.apply(Command::DropImport { import }).unwrap();
    let (second, ended) = import(&mut rig, vec![manual("c"), definition("d", after(&["gone"]))]);
    let gone = Refusal::NoUpstream {
        name: name("gone"),
        required: false,
        index: 1,
    };
    assert_eq!(ended.unwrap_err(), gone);
    drop(&mut rig, second);
    let cycle = vec![definition("c", after(&["d"])), definition("d", after(&["c"]))];
    let (_, ended) = import(&mut rig, cycle);
    assert!(matches!(ended.unwrap_err(), Refusal::Cycle { .. }));
}

#[test]
fn a_long_chain_is_followed_without_recursion() {
    let mut rig = Rig::new();
    let mut definitions = vec![manual("t0")];
    definitions.extend((1..9_000).map(|n| definition(&format!("t{n}"), after(&[&format!("t{}", n - 1)]))));
    rig.apply(Command::Add { owner: ME, definitions }).unwrap();
    let refused = rig
        .apply(edit(TaskId(1), definition("t0", after(&["t8999"]))))
        .unwrap_err();
    assert!(matches!(refused, Refusal::Cycle { path, .. } if path.len() == 9_001));
}
