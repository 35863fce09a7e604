//! Promise: on a full disk commands are refused with that reason, running tasks go on, and all recovers by itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{World, alive, wait_for};

/// A small file system, unmounted when dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    /// `None` when this user may not mount.
    fn mount(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).expect("a directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "tmpfs"])
            .arg(at)
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then(|| Tmpfs(at.to_owned()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: what is still open in it ends with the world.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A small file system for the state.
fn small_disk(world: &World) -> Option<Tmpfs> {
    let disk = Tmpfs::mount(&world.path("state"), "8m");
    // A promise that nobody tries is not held: who cannot mount says so.
    let known = std::env::var_os("TASKD_TEST_NO_MOUNT").is_some();
    assert!(
        disk.is_some() || known,
        "this user may not mount a file system; TASKD_TEST_NO_MOUNT=1 leaves this out"
    );
    disk
}

#[test]
fn how_a_run_ended_on_a_full_disk_outlives_an_orderly_stop() {
    let mut world = World::new();
    let Some(_disk) = small_disk(&world) else { return };
    world.start();
    world.add_gated("a", 5);
    world.ctl(&["run", "a"]).ok();
    wait_for("the run", || {
        let status = world.ctl(&["status", "--json"]).json();
        (status["running"] == 1).then_some(())
    });
    let runner = world.runner_pid();
    let ballast = world.path("state/ballast");
    fill(&ballast);
    world.open_gate("a");
    wait_for("the end, which cannot be recorded", || {
        let status = world.ctl(&["status", "--json"]).json();
        (status["running"] == 0).then_some(())
    });
    world.signal(rustix::process::Signal::TERM);
    world.wait_ended();
    // With its database closed there is a little room, into which the runner may put the result and then end.
    let kept = || {
        let spool = std::fs::read_dir(world.path("state/spool")).expect("the spool");
        spool
            .flatten()
            .any(|file| file.metadata().is_ok_and(|file| file.len() > 0))
    };
    assert!(alive(runner) || kept(), "it gave up what it alone knows");
    std::fs::remove_file(&ballast).expect("room again");
    world.start();
    let run = world.finished("a/1");
    assert_eq!(
        (&run["outcome"], &run["exit_code"]),
        (&"failed".into(), &5.into()),
        "{run}"
    );
}

#[test]
fn a_full_disk_refuses_commands_harms_no_run_and_is_left_behind() {
    let mut world = World::new();
    let Some(_disk) = small_disk(&world) else { return };
    world.start();
    let (pid, end) = (world.path("pid"), world.path("end"));
    let line = format!(
        "echo $$ >{}; while [ ! -e {} ]; do sleep 0.02; done; exit 5",
        pid.display(),
        end.display()
    );
    world.ctl(&["add", "--name", "long", "--manual", "--shell", &line]).ok();
    world.ctl(&["run", "long"]).ok();
    wait_for("the run to begin", || pid.exists().then_some(()));
    let ballast = world.path("state/ballast");
    fill(&ballast);
    let refused = wait_for("a refusal", || {
        let ran = world.ctl(&["add", "--manual", "--description", &"x".repeat(30_000), "--", "true"]);
        (!ran.status.success()).then_some(ran)
    });
    assert_eq!(refused.code(), 1);
    assert!(
        refused.stderr.contains("no room left on its disk"),
        "{}",
        refused.stderr
    );
    world.ctl(&["status"]).ok();
    std::fs::write(&end, "").expect("a file on the other disk");
    wait_for("the run to end", || {
        let status = world.ctl(&["status", "--json"]).json();
        (status["running"] == 0).then_some(())
    });
    std::fs::remove_file(&ballast).expect("room again");
    let run = world.finished("long/1");
    assert_eq!(run["exit_code"], 5, "{run}");
    wait_for("an add to be accepted", || {
        world
            .ctl(&["add", "--name", "after", "--manual", "--", "true"])
            .status
            .success()
            .then_some(())
    });
    assert_eq!(world.ctl(&["run", "--wait", "after"]).code(), 0);
}

/// Fills the disk to its last byte.
fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).expect("a file");
    for size in [1 << 20, 4096, 512, 1] {
        let block = vec![0_u8; size];
        while file.write_all(&block).is_ok() {}
    }
}
