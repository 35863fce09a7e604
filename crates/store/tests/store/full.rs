//! A full disk refuses what is new, loses nothing, and needs nothing but room to go on.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use taskd_core::record::Record;
use taskd_core::task::{ImportId, Owner, TaskId};
use taskd_store::{CommitError, Kind, Options, Writer};

use crate::scene::{added, commit, load};

/// What a file system hands out at once.
const BLOCK: u64 = 4096;
const DIR: &str = "TASKD_STORE_TEST_FULL_DIR";
/// What the shell ends with when it may not mount.
const NOT_PERMITTED: i32 = 77;

#[test]
#[ignore = "a child: its directory is a small file system"]
fn commits() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let dir = Path::new(&dir);
    let (store, _) = load(Options::new(dir.join("state"))).unwrap();
    let writer = store.writer();
    let mut held = 0;
    commit_next(&writer, &mut held).unwrap();

    for _ in 0..3 {
        // What others write takes all the room there is.
        let ballast = dir.join("ballast");
        assert!(fill(&ballast) > 0);
        let error = (0..10_000)
            .find_map(|_| commit_next(&writer, &mut held).err())
            .expect("the disk is full");
        assert_eq!(error.kind, Kind::Full, "{error}");
        assert!(error.text.contains("store.db"), "{error}");
        // A second refusal, a large one, and reading all the while.
        let large: Vec<Record> = (0..20_000)
            .map(|id| added(held + 1 + id, &format!("large-{id}"), 1))
            .collect();
        assert_eq!(commit(&writer, large).unwrap_err().kind, Kind::Full);
        let reader = store.reader().unwrap();
        assert_eq!(reader.check().unwrap(), Vec::<String>::new());
        assert_eq!(reader.definition(TaskId(held + 1)).unwrap(), None);

        fs::remove_file(&ballast).unwrap();
        commit_next(&writer, &mut held).expect("there is room again");
    }
    store.close().unwrap();
    let (_store, snapshot) = load(Options::new(dir.join("state"))).unwrap();
    assert_eq!(snapshot.tasks.len() as u64, held);
}

#[test]
#[ignore = "a child: its directory is a small file system"]
fn first_starts() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let dir = Path::new(&dir);
    let (state, ballast) = (dir.join("state"), dir.join("ballast"));
    let mut refused = 0;
    for free in 0.. {
        let blocks = fill(&ballast);
        let file = fs::OpenOptions::new().write(true).open(&ballast).unwrap();
        file.set_len(blocks.saturating_sub(free) * BLOCK).unwrap();
        drop(file);
        let first = load(Options::new(&state)).map(drop);
        fs::remove_file(&ballast).unwrap();
        match first {
            Ok(()) => break,
            Err(_) => refused += 1,
        }
        // Whatever it was cut off at, room is all it takes.
        load(Options::new(&state)).unwrap_or_else(|error| panic!("{free} blocks at the first start: {error}"));
        fs::remove_dir_all(&state).unwrap();
    }
    assert!(refused > 10, "{refused}");
}

#[test]
#[ignore = "a child: its directory is a small file system"]
fn leftovers() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let dir = Path::new(&dir);
    let (state, ballast) = (dir.join("state"), dir.join("ballast"));
    let (store, _) = load(Options::new(&state)).unwrap();
    let begun = Record::ImportBegun {
        import: ImportId(2),
        last: TaskId(2_000),
        owner: Owner(0),
    };
    let mut records = vec![added(1, "before", 1), begun];
    records.extend((2..=1_000).map(|id| added(id, &format!("task-{id}"), 1)));
    commit(&store.writer(), records).unwrap();
    store.close().unwrap();
    // It opens with hardly any room, with what is a task; and removes the rest when there is some.
    let blocks = fill(&ballast);
    let file = fs::OpenOptions::new().write(true).open(&ballast).unwrap();
    file.set_len((blocks - 12) * BLOCK).unwrap();
    drop(file);
    let (store, snapshot) = load(Options::new(&state)).unwrap();
    assert_eq!(snapshot.tasks.len(), 1);
    let refused = commit(&store.writer(), vec![added(2_001, "task-2", 1)]).unwrap_err();
    assert_eq!(refused.kind, Kind::Full, "{refused}");
    fs::remove_file(&ballast).unwrap();
    commit(&store.writer(), vec![added(2_001, "task-2", 1)]).expect("its name is free");
    assert_eq!(store.reader().unwrap().check().unwrap(), Vec::<String>::new());
    store.close().unwrap();
    let (_store, snapshot) = load(Options::new(&state)).unwrap();
    assert_eq!(snapshot.tasks.len(), 2);
}

/// Takes all the room there is, and tells how many blocks that was.
fn fill(ballast: &Path) -> u64 {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(ballast).unwrap();
    (0..).find(|_| file.write_all(&[0; BLOCK as usize]).is_err()).unwrap()
}

fn commit_next(writer: &Writer, held: &mut u64) -> Result<(), CommitError> {
    let id = *held + 1;
    commit(writer, vec![added(id, &format!("task-{id}"), 1)])?;
    *held = id;
    Ok(())
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    on_a_small_disk("full::commits", "4m");
}

#[test]
fn a_first_start_on_a_full_disk_is_begun_again_when_there_is_room() {
    on_a_small_disk("full::first_starts", "2m");
}

#[test]
fn an_unfinished_import_keeps_no_daemon_from_starting_on_a_full_disk() {
    on_a_small_disk("full::leftovers", "4m");
}

fn on_a_small_disk(child: &str, size: &str) {
    let dir = tempfile::tempdir().unwrap();
    let script = format!("mount -t tmpfs -o size={size} tmpfs \"$0\" || exit {NOT_PERMITTED}; exec \"$@\"");
    // As root, or as root of a user namespace of its own; either way the mount ends with the child.
    for space in [&["--mount"][..], &["--user", "--map-root-user", "--mount"][..]] {
        let output = Command::new("unshare")
            .args(space)
            .args(["sh", "-c", &script])
            .arg(dir.path())
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", child, "--ignored", "--nocapture"])
            .env(DIR, dir.path())
            .output();
        let Ok(output) = output else { continue };
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            assert!(text.contains("1 passed"), "{text}");
            return;
        }
        if output.status.code() != Some(NOT_PERMITTED) && !text.contains("unshare failed") {
            panic!("{text}");
        }
    }
    // A promise that nobody tries is not held: who cannot mount says so.
    assert!(
        std::env::var_os("TASKD_TEST_NO_MOUNT").is_some(),
        "this user may not mount a file system; TASKD_TEST_NO_MOUNT=1 leaves this out"
    );
}
