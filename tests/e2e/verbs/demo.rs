//! `taskctl demo`, as far as it can be tried in a few seconds: however it ends, nothing is left behind. The whole of it
//! is run by the test of the README.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};

use rustix::process::Signal;

use crate::harness::{World, kill, wait_for};

/// Starts a demo, and gives it with its directory and its reader once its daemon serves.
fn begun(world: &World) -> (Child, PathBuf, BufReader<ChildStdout>) {
    let mut demo = world
        .taskctl(&["demo"])
        .env("TMPDIR", world.path(""))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut reader = BufReader::new(demo.stdout.take().expect("a pipe"));
    let mut dir = None;
    for line in reader.by_ref().lines().map_while(Result::ok) {
        let word = |word: &str| {
            word.contains("/taskctl-demo")
                .then(|| PathBuf::from(word.trim_end_matches(['.', ','])))
        };
        dir = dir.or_else(|| line.split(' ').find_map(word));
        if line.contains("taskctl run long") {
            break;
        }
    }
    (demo, dir.expect("it says where it is"), reader)
}

fn leaves_nothing(world: &World, dir: &Path) {
    wait_for("its directory to be gone", || (!dir.exists()).then_some(()));
    wait_for("its processes to be gone", || {
        world.processes().is_empty().then_some(())
    });
    // Runs have nothing else of its environment.
    let mark = format!("TASKCTL_DEMO={}", dir.display());
    wait_for("its runs to be gone", || {
        World::processes_with(&mark).is_empty().then_some(())
    });
}

#[test]
fn a_demo_that_is_killed_leaves_nothing() {
    let world = World::new();
    let (mut demo, dir, _reader) = begun(&world);
    assert!(dir.exists(), "{}", dir.display());
    demo.kill().expect("it is there");
    demo.wait().expect("it ends");
    leaves_nothing(&world, &dir);
}

#[test]
fn a_demo_that_is_interrupted_leaves_nothing_and_does_not_claim_success() {
    let world = World::new();
    let (mut demo, dir, _reader) = begun(&world);
    // Not INT, which is ignored by whatever a shell has put into the background.
    kill(demo.id(), Signal::TERM);
    assert!(!demo.wait().expect("it ends").success());
    leaves_nothing(&world, &dir);
}

#[test]
fn a_demo_whose_reader_leaves_ends_and_does_not_claim_success() {
    let world = World::new();
    let (mut demo, dir, reader) = begun(&world);
    drop(reader);
    assert_eq!(demo.wait().expect("it ends").code(), Some(1));
    leaves_nothing(&world, &dir);
}
