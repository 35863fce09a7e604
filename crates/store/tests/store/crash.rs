//! A daemon that is killed at any moment has lost nothing that was acknowledged, and left nothing half done.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;

use taskd_core::run::Outcome;
use taskd_store::{Limits, Options};

use crate::scene::{DEADLINE, added, hand_over, load, wait_until, whole_run};

const KILLS: u64 = 100;
const DIR: &str = "TASKD_STORE_TEST_DIR";
const IN_FLIGHT: u64 = 4;

fn options(dir: &Path) -> Options {
    let mut options = Options::new(dir.join("state"));
    // Pruning is at work too.
    options.limits = Limits {
        history_runs: 20,
        ..Limits::default()
    };
    options
}

fn acknowledged(dir: &Path) -> u64 {
    fs::metadata(dir.join("acknowledged")).map_or(0, |file| file.len())
}

#[test]
#[ignore = "the child of the test below; it commits until it is killed"]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let dir = Path::new(&dir);
    let (store, snapshot) = load(options(dir)).unwrap();
    let writer = store.writer();
    let mut acknowledged = OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.join("acknowledged"))
        .unwrap();
    let (sender, answers) = channel();
    let mut next = snapshot.rest.header.last_task;
    let mut waiting = 0;
    loop {
        while waiting < IN_FLIGHT {
            next += 1;
            waiting += 1;
            let mut records = vec![added(next, &format!("task-{next}"), 1)];
            records.extend(whole_run(
                1,
                next,
                1_000 + i64::try_from(next).unwrap(),
                Outcome::Succeeded,
                9,
            ));
            let sender = sender.clone();
            hand_over(&writer, records, move |result| sender.send(result).unwrap());
        }
        answers.recv_timeout(DEADLINE).unwrap().unwrap();
        waiting -= 1;
        // One byte for each; what is written to a file outlives the process.
        acknowledged.write_all(b".").unwrap();
    }
}

fn spawn(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--ignored"])
        .env(DIR, dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    for kill in 0..KILLS {
        let before = acknowledged(dir.path());
        let mut child = spawn(dir.path());
        let enough = before + kill % 13;
        wait_until("the child commits", || {
            acknowledged(dir.path()) >= enough || child.try_wait().unwrap().is_some()
        });
        assert!(child.try_wait().unwrap().is_none(), "the child failed by itself");
        child.kill().unwrap();
        child.wait().unwrap();

        let acknowledged = acknowledged(dir.path());
        let (store, snapshot) = load(options(dir.path())).unwrap();
        let held = snapshot.tasks.len() as u64;
        assert!(held >= acknowledged, "{held} of {acknowledged} acknowledged are there");
        assert!(
            held <= acknowledged + IN_FLIGHT,
            "{held} are there, {acknowledged} acknowledged"
        );
        assert!(
            snapshot.tasks.iter().zip(1..).all(|(task, id)| task.id.0 == id),
            "a hole"
        );
        assert!(snapshot.rest.runs.is_empty(), "a batch is there in part");
        assert_eq!(snapshot.tasks.first().map_or(0, |task| task.last_run), held);
        // What was committed and not answered counts from here on.
        let missing = usize::try_from(held - acknowledged).unwrap();
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(dir.path().join("acknowledged"))
            .unwrap();
        file.write_all(&vec![b'.'; missing]).unwrap();
        if kill.is_multiple_of(10) {
            assert_eq!(store.reader().unwrap().check().unwrap(), Vec::<String>::new());
            store.close().unwrap();
        }
    }
    assert!(acknowledged(dir.path()) > 100);
}
