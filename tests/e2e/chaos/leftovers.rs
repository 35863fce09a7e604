//! What must be gone afterwards: processes, control groups, open pipes, files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{World, wait_for};

/// How many pipes a process has open.
pub fn open_pipes(pid: u32) -> usize {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).expect("its files");
    // One may be closed meanwhile.
    files
        .flatten()
        .filter_map(|file| fs::read_link(file.path()).ok())
        .filter(|target| target.to_string_lossy().starts_with("pipe:"))
        .count()
}

/// No process that was started by a run, or by what it left behind, is there.
pub fn no_process_has(mark: &str) {
    wait_for("what runs have left behind to be gone", || {
        World::processes_with(mark).is_empty().then_some(())
    });
}

/// Nothing of the world is there but its directory.
pub fn no_process_is_left(world: &World) {
    wait_for("all processes to be gone", || {
        world.processes().is_empty().then_some(())
    });
}

/// No control group of the state directory's runners is there.
pub fn no_group_is_left(world: &World) {
    let Ok(id) = fs::read_to_string(world.path("state/runner.id")) else {
        return;
    };
    let mut found = Vec::new();
    let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc");
    for mount in mounts.lines().filter(|line| line.split(' ').nth(2) == Some("cgroup2")) {
        let root = mount.split(' ').nth(1).expect("a mount point");
        groups_with(Path::new(root), id.trim(), &mut found);
    }
    assert!(found.is_empty(), "left over: {found:?}");
}

fn groups_with(dir: &Path, id: &str, found: &mut Vec<PathBuf>) {
    // Others make and remove groups meanwhile.
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
    {
        if entry.file_name().to_string_lossy().contains(id) {
            found.push(entry.path());
        }
        groups_with(&entry.path(), id, found);
    }
}

/// The names of all files of the state but the output of runs.
pub fn state_files(world: &World) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let state = world.path("state");
    files(&state, &state, &mut names);
    names.retain(|name| !name.starts_with("output/"));
    names
}

fn files(root: &Path, dir: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir)
        .expect("a directory")
        .map(|entry| entry.expect("a file"))
    {
        let path = entry.path();
        if path.is_dir() {
            files(root, &path, names);
        } else {
            let name = path.strip_prefix(root).expect("below it");
            names.insert(name.display().to_string());
        }
    }
}
