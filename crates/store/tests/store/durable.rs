//! What is answered is on the disk: the system calls of a store are written down, and the order of them is what is held.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;

use taskd_core::run::Outcome;
use taskd_store::{CommitError, Kind, Limits, Options, Writer};
use tempfile::TempDir;

use crate::scene::{DEADLINE, added, hand_over, load, wait_until, whole_run};

const STATE: &str = "TASKD_STORE_TEST_STATE";
const TRACE: &str = "TASKD_TRACE";
const FAIL: &str = "TASKD_TRACE_FAIL";

/// Writes a line among the system calls.
fn say(line: &str) {
    let mut trace = OpenOptions::new()
        .append(true)
        .open(std::env::var_os(TRACE).unwrap())
        .unwrap();
    trace.write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Commits, and says so on the writer's thread, before anything else can happen there.
fn commit_id(writer: &Writer, id: u64) -> Result<(), CommitError> {
    let mut records = vec![added(id, &format!("task-{id}"), 1)];
    let ms = 1_000 + i64::try_from(id).unwrap();
    records.extend(whole_run(1, id, ms, Outcome::Succeeded, 9));
    let (sender, answer) = channel();
    hand_over(writer, records, move |result| {
        say(if result.is_ok() { "answered" } else { "refused" });
        sender.send(result).unwrap();
    });
    answer.recv_timeout(DEADLINE).unwrap()
}

#[test]
#[ignore = "a child: its system calls are written down"]
fn commits() {
    let Some(state) = std::env::var_os(STATE) else { return };
    let (store, _) = load(Options::new(&state)).unwrap();
    say("opened");
    for id in 1..=30 {
        commit_id(&store.writer(), id).unwrap();
    }
}

#[test]
#[ignore = "a child: its log cannot be synced for a while"]
fn meets_a_failure() {
    let Some(state) = std::env::var_os(STATE) else { return };
    let mut options = Options::new(&state);
    options.limits = Limits {
        history_runs: 2,
        ..Limits::default()
    };
    let (store, _) = load(options).unwrap();
    let reader = store.reader().unwrap();
    for id in 1..=5 {
        commit_id(&store.writer(), id).unwrap();
    }
    // What is pruned is not synced by itself.
    wait_until("the oldest goes", || {
        reader.run(crate::scene::key(1, 3)).unwrap().is_none()
    });
    let fail = std::env::var_os(FAIL).unwrap();
    fs::write(&fail, "").unwrap();
    for _ in 0..2 {
        assert_eq!(commit_id(&store.writer(), 6).unwrap_err().kind, Kind::Io);
    }
    fs::remove_file(&fail).unwrap();
    say("mended");
    commit_id(&store.writer(), 6).unwrap();
}

/// The lines that a child of this test program wrote, and the directory that it wrote to.
fn trace(child: &str, state: &str) -> (TempDir, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let library = dir.path().join("trace.so");
    // Whatever built SQLite builds this too.
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store/trace.c"))
        .arg("-ldl")
        .status()
        .unwrap();
    assert!(built.success());
    let trace = dir.path().join("trace");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", child, "--ignored", "--nocapture"])
        .current_dir(dir.path())
        .env("LD_PRELOAD", &library)
        .env(STATE, state)
        .env(TRACE, &trace)
        .env(FAIL, dir.path().join("fail"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    let lines = fs::read_to_string(trace).unwrap().lines().map(str::to_owned).collect();
    (dir, lines)
}

/// A line about a file.
fn line(what: &str, path: &Path) -> String {
    format!("{what} {}", path.display())
}

fn position(lines: &[String], line: &str) -> usize {
    let found = lines.iter().position(|found| found == line);
    found.unwrap_or_else(|| panic!("{line:?} is not in {lines:#?}"))
}

#[test]
fn a_new_store_is_on_the_disk_with_its_names_before_it_is_opened() {
    // A path as it may be given, and one of directories that are all to be made.
    for state in ["state", "a/b/state"] {
        let (dir, lines) = trace("durable::commits", state);
        let lines = &lines[..position(&lines, "opened")];
        let dir = dir.path().canonicalize().unwrap().join(state);
        let made = |path: &Path, what: &str| {
            let then = &lines[position(lines, &line(what, path))..];
            position(then, &line("sync", path.parent().unwrap()));
        };
        for made_dir in dir.ancestors().take(Path::new(state).iter().count()) {
            made(made_dir, "create");
        }
        let given = PathBuf::from(state);
        // The mark tells that there was a database, so it comes after that holds.
        let marked = position(lines, &line("create", &given.join("store.exists")));
        let renamed = position(lines, &line("rename", &given.join("store.db")));
        position(&lines[renamed..marked], &line("sync", &dir));
        position(&lines[marked..], &line("sync", &dir));
        let new = dir.join("store.db.new");
        let written = lines[..renamed]
            .iter()
            .rposition(|found| *found == line("write", &new))
            .unwrap();
        position(&lines[written..renamed], &line("sync", &new));
    }
}

#[test]
fn what_is_answered_was_synced_before() {
    let (dir, lines) = trace("durable::commits", "state");
    let state = dir.path().canonicalize().unwrap().join("state");
    let log = state.join("store.db-wal");
    let opened = position(&lines, "opened");
    // The log is made anew at opening, and its name must hold too.
    let made = lines
        .iter()
        .rposition(|found| found.starts_with("create") && found.ends_with("store.db-wal"));
    let answered = position(&lines, "answered");
    position(&lines[made.unwrap()..answered], &line("sync", &state));
    let mut answers = 0;
    let mut written = None;
    for (at, found) in lines.iter().enumerate().skip(opened) {
        if *found == line("write", &log) {
            written = Some(at);
        } else if found == "answered" {
            answers += 1;
            let written = written.take().expect("each answer is for something written");
            position(&lines[written..at], &line("sync", &log));
        }
    }
    assert_eq!(answers, 30);
}

/// What was in the log when a sync of it failed may be on the disk or not, and no later sync says which.
#[test]
fn after_a_failed_sync_the_log_begins_anew_before_the_next_answer() {
    let (dir, lines) = trace("durable::meets_a_failure", "state");
    let state = dir.path().canonicalize().unwrap().join("state");
    let refused = lines.iter().filter(|found| *found == "refused").count();
    assert_eq!(refused, 2);
    let lines = &lines[position(&lines, "mended")..];
    let lines = &lines[..position(lines, "answered")];
    let kept = position(lines, &line("sync", &state.join("store.db")));
    position(&lines[kept..], &line("cut", &state.join("store.db-wal")));
}
