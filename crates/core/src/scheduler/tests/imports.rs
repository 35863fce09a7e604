//! Imports: part by part, and there all at once.

use std::num::NonZeroU64;
use std::sync::Arc;

use super::*;
use crate::task::ImportId;

fn begin(rig: &mut Rig, count: u64) -> ImportId {
    let count = NonZeroU64::new(count).unwrap();
    match rig.apply(Command::BeginImport { owner: ME, count }).unwrap().reply {
        Reply::Importing(import) => import,
        other => panic!("{other:?}"),
    }
}

fn stage(rig: &mut Rig, import: ImportId, names: &[&str], when: &When) -> Result<Accepted, Refusal> {
    let of = |name: &&str| Arc::new(definition(name, when.clone()));
    let definitions = names.iter().map(of).collect();
    rig.apply(Command::Stage { import, definitions })
}

fn names(rig: &Rig) -> Vec<String> {
    rig.core
        .names_after(ME, None)
        .map(|(name, _)| name.to_string())
        .collect()
}

fn name(text: &str) -> TaskName {
    TaskName::parse(text).unwrap()
}

#[test]
fn staged_tasks_do_not_show_before_the_import_ends() {
    let mut rig = Rig::new();
    let import = begin(&mut rig, 3);
    stage(&mut rig, import, &["a", "b"], &When::Manual).unwrap();
    assert_eq!(rig.core.counts().tasks, 0);
    assert_eq!(names(&rig), [""; 0]);
    assert_eq!(rig.core.find(ME, &name("a")), None);
    assert!(rig.core.task(TaskId(1)).is_none());
    assert_eq!(
        rig.apply(Command::Run {
            ids: vec![TaskId(1)],
            overrides: None
        }),
        Err(Refusal::NoTask(TaskId(1)))
    );
    stage(&mut rig, import, &["c"], &When::Manual).unwrap();
    rig.apply(Command::EndImport { import }).unwrap();
    assert_eq!(rig.core.counts().tasks, 3);
    assert_eq!(names(&rig), ["a", "b", "c"]);
}

#[test]
fn a_staged_task_that_comes_due_fires_once_when_the_import_has_ended() {
    let mut rig = Rig::new();
    let import = begin(&mut rig, 1);
    stage(&mut rig, import, &["a"], &every(4_000)).unwrap();
    rig.pass(5_000);
    assert_eq!(rig.starts(), []);
    rig.apply(Command::EndImport { import }).unwrap();
    assert_eq!(rig.start().fire_time, Some(at(4_000)));
    rig.pass(6_000);
    assert_eq!(rig.starts(), []);
}

#[test]
fn a_staged_name_is_taken_until_it_goes() {
    let mut rig = Rig::new();
    let import = begin(&mut rig, 1);
    stage(&mut rig, import, &["a"], &When::Manual).unwrap();
    let add = || Command::Add {
        owner: ME,
        definitions: vec![definition("a", When::Manual)],
    };
    let taken = Err(Refusal::NameTaken {
        name: name("a"),
        index: 0,
    });
    assert_eq!(rig.apply(add()), taken);
    rig.prompt = false;
    rig.apply(Command::DropImport { import }).unwrap();
    rig.prompt = true;
    rig.store();
    rig.apply(add()).unwrap();
    assert_eq!(names(&rig), ["a"]);
}

#[test]
fn two_imports_of_the_same_names_do_not_wait_for_each_other() {
    let mut rig = Rig::new();
    let (one, other) = (begin(&mut rig, 2), begin(&mut rig, 2));
    stage(&mut rig, one, &["a"], &When::Manual).unwrap();
    stage(&mut rig, other, &["b"], &When::Manual).unwrap();
    let refused = stage(&mut rig, one, &["b"], &When::Manual);
    assert!(matches!(refused, Err(Refusal::NameTaken { .. })), "{refused:?}");
    rig.apply(Command::DropImport { import: one }).unwrap();
    stage(&mut rig, other, &["a"], &When::Manual).unwrap();
    rig.apply(Command::EndImport { import: other }).unwrap();
    assert_eq!(names(&rig), ["a", "b"]);
}

#[test]
fn an_import_ends_with_all_of_its_tasks_or_not() {
    let mut rig = Rig::new();
    let import = begin(&mut rig, 2);
    stage(&mut rig, import, &["a"], &When::Manual).unwrap();
    let incomplete = Err(Refusal::NoImport(import));
    assert_eq!(rig.apply(Command::EndImport { import }), incomplete);
    assert_eq!(
        stage(&mut rig, import, &["b", "c"], &When::Manual),
        incomplete,
        "too many"
    );
    stage(&mut rig, import, &["b"], &When::Manual).unwrap();
    rig.apply(Command::EndImport { import }).unwrap();
    assert_eq!(rig.apply(Command::EndImport { import }), incomplete, "it has ended");
}

#[test]
fn what_is_announced_counts_against_the_limit() {
    let mut rig = Rig::new();
    let most = Limits::default().tasks_of_others;
    begin(&mut rig, most - 1);
    let add = |name: &str| Command::Add {
        owner: ME,
        definitions: vec![definition(name, When::Manual)],
    };
    rig.apply(add("a")).unwrap();
    assert_eq!(rig.apply(add("b")), Err(Refusal::TooManyTasks { limit: most }));
}

#[test]
fn an_import_that_is_given_up_goes_in_small_parts() {
    let mut rig = Rig::new();
    let import = begin(&mut rig, 3_000);
    let names: Vec<String> = (0..2_500).map(|n| format!("t{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    stage(&mut rig, import, &names, &When::Manual).unwrap();
    rig.apply(Command::DropImport { import }).unwrap();
    let dropped = |record: &&Record| matches!(record, Record::ImportDropped { .. });
    let parts: Vec<Record> = rig.disk.iter().filter(dropped).cloned().collect();
    let from = |id| Record::ImportDropped {
        import,
        from: TaskId(id),
    };
    assert_eq!(parts, [from(1_501), from(501), from(1)]);
    assert_eq!(
        rig.core.snapshot().rest.header.last_task,
        3_000,
        "its ids are not given again"
    );
}
