use super::*;

const BOOT: Option<u128> = Some(9);

fn origin(run: u64) -> Origin {
    Origin {
        key: AttemptKey {
            task: u64::MAX - 1,
            run,
            attempt: u32::MAX,
        },
        task: String::new(),
        trigger: TRIGGERS[run as usize % TRIGGERS.len()].to_owned(),
        fire_time_ms: (!run.is_multiple_of(3)).then_some(-5 - run.cast_signed()),
        created_ms: i64::MAX - run.cast_signed(),
        trace_id: u128::MAX - u128::from(run),
    }
}

fn key(run: u64) -> AttemptKey {
    origin(run).key
}

fn sorted<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort();
    all
}

/// As a life does that works in it.
fn open(path: PathBuf, instance: u64, boot: Option<u128>) -> (Underway, Option<Vec<Known>>) {
    let (mut underway, earlier) = Underway::open(path, instance, boot);
    underway.claim();
    (underway, earlier)
}

fn of(instance: u64, begun: &[u64]) -> Before {
    Before {
        instance,
        begun: begun.iter().map(|run| (key(*run), origin(*run))).collect(),
    }
}

#[test]
fn the_next_life_knows_what_was_under_way() {
    let directory = tempfile::tempdir().expect("room");
    let open = |instance| open(directory.path().join("runner.live"), instance, BOOT);
    let (mut first, earlier) = open(1);
    assert_eq!(earlier, None, "nobody was there");
    let slots = [1, 2, 3].map(|run| first.begin(&origin(run)));
    first.keep();
    first.end(slots[1]);
    first.keep();
    let (mut second, earlier) = open(2);
    assert_eq!(earlier, Some(vec![(1, key(1)), (1, key(3))]), "one has ended");
    // As long as they are not known to be gone, they stay.
    second.begin(&origin(4));
    second.begin(&origin(5));
    second.keep();
    let (mut third, earlier) = open(3);
    let known = vec![(1, key(1)), (1, key(3)), (2, key(4)), (2, key(5))];
    assert_eq!(earlier.map(sorted), Some(known));
    third.forget_earlier();
    let last = third.begin(&origin(6));
    third.keep();
    assert_eq!(open(4).1, Some(vec![(3, key(6))]));
    third.end(last);
    third.keep();
    assert_eq!(open(5).1, Some(Vec::new()));
}

#[test]
fn a_life_that_ends_before_it_claims_is_none() {
    let directory = tempfile::tempdir().expect("room");
    let path = directory.path().join("runner.live");
    for _ in 0..2 {
        let (_, earlier) = Underway::open(path.clone(), 1, BOOT);
        assert_eq!(earlier, None, "nobody has seen to what was left");
    }
    // As one is left that could not be cut.
    std::fs::write(&path, [0; 2 * SLOT]).expect("room");
    assert_eq!(Underway::open(path.clone(), 1, BOOT).1, None);
    let mut first = open(path.clone(), 1, BOOT).0;
    first.begin(&origin(1));
    first.keep();
    for _ in 0..2 {
        let (underway, earlier) = Underway::open(path.clone(), 2, BOOT);
        assert_eq!(earlier, Some(vec![(1, key(1))]));
        assert_eq!(underway.before(), [of(1, &[1])]);
    }
}

#[test]
fn what_lives_had_begun_is_told_until_something_begins() {
    let directory = tempfile::tempdir().expect("room");
    let open = |instance| open(directory.path().join("runner.live"), instance, BOOT).0;
    let mut first = open(1);
    assert_eq!(first.before(), []);
    let slots = [1, 2, 3].map(|run| first.begin(&origin(run)));
    first.end(slots[0]);
    first.end(slots[1]);
    first.free(slots[1]);
    first.keep();
    // Those that come after and begin nothing leave it as it is.
    let mut second = open(2);
    assert_eq!(second.before(), [of(1, &[1, 3])]);
    second.forget_earlier();
    second.keep();
    let mut third = open(3);
    assert_eq!(third.before(), [of(2, &[]), of(1, &[1, 3])]);
    third.forget_earlier();
    third.begin(&origin(4));
    assert_eq!(third.before(), []);
    third.keep();
    assert_eq!(open(4).before(), [of(3, &[4])]);
    for life in 5..20 {
        let before = open(life).before().to_vec();
        assert!(before.len() <= LIVES && before[0] == of(life - 1, &[]), "{before:?}");
    }
}

#[test]
fn in_another_boot_nothing_is_known_to_be_all() {
    let directory = tempfile::tempdir().expect("room");
    let open = |instance, boot| open(directory.path().join("runner.live"), instance, boot);
    let mut first = open(1, BOOT).0;
    first.begin(&origin(1));
    first.keep();
    let (second, earlier) = open(2, Some(10));
    assert_eq!((second.before(), earlier), (&[][..], Some(vec![(1, key(1))])));
    for boot in [None, None] {
        let (mut unknown, _) = open(3, boot);
        assert_eq!(unknown.before(), []);
        unknown.begin(&origin(2));
        unknown.keep();
    }
}

#[test]
fn what_one_of_another_slot_says_goes_with_what_was_there_before() {
    let directory = tempfile::tempdir().expect("room");
    let paths = ["runner.live", "runner.2.live"].map(|name| directory.path().join(name));
    let lock = directory.path().join("lock");
    std::fs::write(&lock, "").expect("room");
    let open = |slot: usize, instance| open(paths[slot].clone(), instance, BOOT).0;
    for slot in [0, 1] {
        let mut one = open(slot, slot as u64 + 1);
        for run in [1, 2] {
            one.begin(&origin(10 * slot as u64 + run));
        }
        one.keep();
    }
    let mut own = open(0, 7);
    let there = || Underway::open(paths[1].clone(), 7, BOOT).0;
    let before = there().before().to_vec();
    assert_eq!(
        before,
        [of(2, &[11, 12])],
        "who only looks is none of those that worked there"
    );
    own.inherit(there(), lock.clone());
    assert_eq!(own.before(), [of(1, &[1, 2]), of(2, &[11, 12])]);
    assert_eq!(sorted(own.earlier().copied().collect()), [1, 2, 11, 12].map(key));
    // What the daemon has is not told again, by this life or the next.
    own.forget(&key(2));
    own.forget(&key(11));
    own.keep();
    assert_eq!(own.before(), [of(1, &[1]), of(2, &[12])]);
    assert_eq!(open(0, 8).before(), [of(7, &[]), of(1, &[1])]);
    // Not in the other file: somebody may work there by now.
    let mut beside = open(1, 9);
    beside.begin(&origin(50));
    beside.keep();
    own.forget(&key(12));
    own.begin(&origin(3));
    own.keep();
    assert!(own.before().is_empty());
    assert_eq!(there().before(), [of(9, &[50])]);
    // It goes where nobody does, nor is about to.
    for is_held in [true, false] {
        let held = is_held.then(|| place::held(&lock).expect("nobody has it"));
        let mut next = open(0, 10);
        next.inherit(there(), lock.clone());
        next.begin(&origin(4));
        assert_eq!(paths[1].exists(), is_held);
        drop(held);
    }
}

#[test]
fn what_an_earlier_version_has_left_is_known_and_not_taken_for_all() {
    let directory = tempfile::tempdir().expect("room");
    let path = directory.path().join("runner.live");
    let mut bytes = Vec::new();
    for (run, taken) in [(1_u64, 1_u64), (2, 0), (3, 1)] {
        for number in [7, u64::MAX - 1, run, u64::from(u32::MAX) << 32 | taken] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }
    std::fs::write(&path, bytes).expect("room");
    let known = Some(vec![(7, key(1)), (7, key(3))]);
    for instance in [1, 2] {
        let (underway, earlier) = open(path.clone(), instance, BOOT);
        assert_eq!(earlier, known);
        assert!(underway.before().iter().all(|before| before.instance != 7));
    }
}

#[test]
fn whatever_begins_and_ends_is_kept_as_it_is_then() {
    let directory = tempfile::tempdir().expect("room");
    let (path, copy) = (directory.path().join("runner.live"), directory.path().join("copy"));
    let (mut underway, _) = Underway::open(path.clone(), 1, BOOT);
    let mut taken: Vec<(usize, u64)> = Vec::new();
    for run in 0..200 {
        // Some end between the others, in another order than they began.
        for _ in 0..run % 4 {
            let some = (run as usize * 7) % taken.len().max(1);
            if some < taken.len() {
                underway.free(taken.swap_remove(some).0);
            }
        }
        (0..3).for_each(|number| {
            let run = run * 3 + number;
            taken.push((underway.begin(&origin(run)), run));
        });
        underway.keep();
        std::fs::copy(&path, &copy).expect("room");
        let (found, known) = Underway::open(copy.clone(), 2, BOOT);
        let expected = sorted(taken.iter().map(|(_, run)| (1, key(*run))).collect());
        assert_eq!(known.map(sorted), Some(expected));
        assert!(
            found.before()[0]
                .begun
                .iter()
                .all(|(of, found)| *of == found.key && *found == origin(of.run))
        );
    }
}

#[test]
fn what_cannot_be_kept_is_not_half_known() {
    let directory = tempfile::tempdir().expect("room");
    let path = directory.path().join("runner.live");
    // A file that takes nothing, as on a full disk.
    std::os::unix::fs::symlink("/dev/full", &path).expect("room");
    let (mut underway, earlier) = Underway::open(path.clone(), 1, BOOT);
    assert_eq!(earlier, None, "it is not followed");
    assert!(!path.exists());
    let slot = underway.begin(&origin(1));
    underway.keep();
    underway.end(slot);
    underway.keep();
    let (mut underway, _) = Underway::open(path.clone(), 1, BOOT);
    underway.file = Some(OpenOptions::new().write(true).open("/dev/full").expect("a system"));
    underway.begin(&origin(1));
    underway.keep();
    assert!(!path.exists());
    // Even where it cannot be removed.
    let mut underway = open(path.clone(), 1, BOOT).0;
    underway.begin(&origin(1));
    underway.keep();
    underway.path = directory.path().join("another");
    underway.give_up(&io::ErrorKind::StorageFull.into());
    let (underway, earlier) = open(path, 2, BOOT);
    assert_eq!((underway.before(), earlier), (&[][..], None));
}
