use super::*;

fn ended(run: u64, end: End) -> Ended {
    Ended {
        origin: Origin {
            key: AttemptKey {
                task: 1,
                run,
                attempt: 1,
            },
            task: "backup".into(),
            trigger: "schedule".into(),
            fire_time_ms: Some(-5),
            created_ms: 7,
            trace_id: u128::MAX - 1,
        },
        pid: 12,
        started_ms: 13,
        finished_ms: 14,
        end,
        stopped: true,
        time_up: Tail(Some(TimeUp::Deadline)),
        gate: Tail(Some("load 5 is over 4".into())),
        max_rss_kib: 15,
        user_us: 16,
        system_us: 17,
        output_bytes: 18,
        output_lost: 19,
        counted: Tail(TreeUsage {
            memory_peak_kib: Some(20),
            read_bytes: Some(21),
            written_bytes: Some(22),
            peak_pids: Some(23),
        }),
        over_memory: Tail(Some(24)),
        output_kept: Tail(Some(25)),
    }
}

fn spool_files(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory)
        .expect("it exists")
        .map(|entry| entry.expect("readable").path())
        .collect()
}

#[test]
fn a_later_life_takes_over_every_field() {
    let directory = tempfile::tempdir().expect("room");
    let all = [
        ended(1, End::Exited(3)),
        ended(2, End::Signalled(9)),
        ended(
            3,
            End::SpawnFailed {
                errno: 2,
                what: "exec".into(),
            },
        ),
    ];
    let mut first = Results::open(directory.path(), 1).expect("opens");
    for result in &all {
        first.keep(result.clone(), None);
    }
    first.spool().expect("room");
    drop(first);
    let mut second = Results::open(directory.path(), 2).expect("opens");
    assert!(second.iter().eq(&all));
    let earlier = directory.path().join("0000000000000001.jsonl");
    assert_eq!(
        spool_files(directory.path()),
        std::slice::from_ref(&earlier),
        "it takes no more room"
    );
    // It goes with the last of its results, whatever else is kept.
    second.keep(ended(4, End::Exited(0)), None);
    second.spool().expect("room");
    for result in &all {
        assert!(earlier.exists());
        second.forget(&result.origin.key);
    }
    assert_eq!(
        spool_files(directory.path()),
        [directory.path().join("0000000000000002.jsonl")]
    );
}

#[test]
fn a_result_that_two_lives_spooled_is_one() {
    let directory = tempfile::tempdir().expect("room");
    for instance in 1..=2 {
        let mut results = Results::open(&directory.path().join(instance.to_string()), instance).expect("opens");
        results.keep(ended(1, End::Exited(0)), None);
        results.spool().expect("room");
        let name = format!("{instance:016x}.jsonl");
        let from = directory.path().join(instance.to_string()).join(&name);
        fs::rename(from, directory.path().join(name)).expect("room");
        fs::remove_dir(directory.path().join(instance.to_string())).expect("it is empty");
    }
    let mut results = Results::open(directory.path(), 3).expect("opens");
    assert_eq!(results.iter().count(), 1);
    assert_eq!(spool_files(directory.path()).len(), 1);
    results.forget(&ended(1, End::Exited(0)).origin.key);
    assert!(spool_files(directory.path()).is_empty());
}

#[test]
fn what_names_no_attempt_or_no_end_is_no_result() {
    let directory = tempfile::tempdir().expect("room");
    let path = directory.path().join("0000000000000001.jsonl");
    let lines = [
        "{}",
        r#"{"task_id":1,"run":1,"attempt":1}"#,
        r#"{"run":1,"attempt":1,"end":{"exited":0}}"#,
    ];
    fs::write(&path, lines.join("\n") + "\n").expect("room");
    let results = Results::open(directory.path(), 2).expect("opens");
    assert!(results.is_empty(), "{results:?}");
    assert_eq!(spool_files(directory.path()), [path.with_extension("broken")]);
    let least = r#"{"task_id":1,"run":1,"attempt":1,"end":{"exited":3}}"#;
    fs::write(&path, format!("{least}\n")).expect("room");
    let results = Results::open(directory.path(), 2).expect("opens");
    assert!(results.iter().all(|ended| ended.end == End::Exited(3)));
    assert_eq!(results.iter().count(), 1);
}

#[test]
fn the_spool_goes_when_all_is_forgotten() {
    let directory = tempfile::tempdir().expect("room");
    let mut results = Results::open(directory.path(), 1).expect("opens");
    results.keep(ended(1, End::Exited(0)), None);
    assert!(spool_files(directory.path()).is_empty(), "a daemon is there");
    results.keep(ended(2, End::Exited(0)), None);
    results.spool().expect("room");
    results.keep(ended(3, End::Exited(0)), None);
    for run in 1..=2 {
        assert_eq!(spool_files(directory.path()).len(), 1);
        results.forget(&ended(run, End::Exited(0)).origin.key);
    }
    assert!(spool_files(directory.path()).is_empty());
    assert!(!results.is_empty(), "the third is still kept");
}

#[test]
fn a_torn_last_line_is_left_out_and_damage_is_kept_aside() {
    let directory = tempfile::tempdir().expect("room");
    let mut first = Results::open(directory.path(), 1).expect("opens");
    first.keep(ended(1, End::Exited(0)), None);
    first.spool().expect("room");
    let path = directory.path().join("0000000000000001.jsonl");
    let whole = fs::read(&path).expect("readable");
    fs::write(&path, [&whole[..], &whole[..whole.len() / 2]].concat()).expect("room");
    let mut second = Results::open(directory.path(), 2).expect("opens");
    assert_eq!(second.iter().count(), 1);
    second.forget(&ended(1, End::Exited(0)).origin.key);
    assert!(spool_files(directory.path()).is_empty());
    fs::write(&path, [b"no result\n", &whole[..]].concat()).expect("room");
    let mut third = Results::open(directory.path(), 3).expect("opens");
    assert_eq!(third.iter().count(), 1);
    assert!(path.exists(), "its result is only there");
    third.forget(&ended(1, End::Exited(0)).origin.key);
    assert_eq!(spool_files(directory.path()), [path.with_extension("broken")]);
}

#[test]
fn a_slot_is_free_once_the_result_is_acknowledged_or_was_a_look_alone() {
    let directory = tempfile::tempdir().expect("room");
    let mut results = Results::open(directory.path(), 1).expect("room");
    let ran = |run| Ended {
        gate: Tail(None),
        ..ended(run, End::Exited(0))
    };
    for run in 1..=3 {
        results.keep(ran(run), Some(run as usize));
    }
    results.spool().expect("room");
    results.sync().expect("room");
    assert_eq!(results.freed().count(), 0);
    results.forget(&ran(2).origin.key);
    assert_eq!(results.freed().collect::<Vec<_>>(), [2]);
    results.keep(ended(4, End::Exited(0)), Some(4));
    assert_eq!(results.freed().collect::<Vec<_>>(), [4]);
    for run in [1, 4] {
        results.forget_look(&ran(run).origin.key);
    }
    let left: Vec<_> = results.iter().map(|ended| ended.origin.key.run).collect();
    assert_eq!(left, [1, 3], "what was no look stays");
}
