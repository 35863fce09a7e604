//! A part of the tree of control groups with its controllers, given to a runner as a service manager would: only so can its
//! groups have some. It takes root, and a system whose controllers are in version 2 of control groups.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{World, wait_for};

/// Set where all controllers are there, so that a test which needs one fails in place of doing without.
const DEMANDED: &str = "TASKD_TEST_CONTROLLERS";

/// A world whose runner is in a control group of its own. It goes with this.
pub struct Delegated {
    /// Gone before the group is.
    world: Option<World>,
    dir: PathBuf,
    /// The controllers of the groups of its attempts.
    pub controllers: Vec<String>,
}

impl Delegated {
    /// Nothing, said on standard error, where it cannot be had.
    pub fn new() -> Option<Self> {
        match Self::make() {
            Ok(delegated) => Some(delegated),
            Err(error) => {
                assert!(std::env::var_os(DEMANDED).is_none(), "no control groups: {error}");
                eprintln!("not tried: no control groups with controllers can be had here: {error}");
                None
            }
        }
    }

    fn make() -> io::Result<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let top = mounted()?;
        let wanted = fs::read_to_string(top.join("cgroup.controllers"))?;
        let wanted: Vec<&str> = wanted
            .split_whitespace()
            .filter(|name| ["cpu", "memory", "pids"].contains(name))
            .collect();
        if wanted.is_empty() {
            return Err(io::Error::other("none of cpu, memory and pids is in version 2"));
        }
        // What others have switched on stays so; nobody loses anything by one that is.
        for name in wanted {
            fs::write(top.join("cgroup.subtree_control"), format!("+{name}"))?;
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = top.join(format!("taskd-test-{}-{number}", std::process::id()));
        fs::create_dir(&dir)?;
        let mut delegated = Delegated {
            world: None,
            dir,
            controllers: Vec::new(),
        };
        delegated.begin();
        Ok(delegated)
    }

    fn begin(&mut self) {
        let mut world = World::new();
        let mut runner = world.taskd();
        let (state, socket) = (world.path("state"), world.path("state/runner.sock"));
        runner = {
            let mut command = std::process::Command::new(runner.get_program());
            command
                .arg("runner")
                .arg("--state-dir")
                .arg(state)
                .arg("--socket")
                .arg(&socket);
            command
        };
        let line = format!("echo $$ > {}", self.dir.join("cgroup.procs").display());
        let mut runner = world
            .after(&line, &runner)
            .stdout(Stdio::null())
            .spawn()
            .expect("a shell");
        // It ends with the world, and is reaped then.
        std::thread::spawn(move || runner.wait());
        wait_for("the runner to listen", || socket.exists().then_some(()));
        world.start();
        let status = world.ctl(&["status", "--json"]).json();
        self.controllers = serde_json::from_value(status["runner"]["cgroups"].clone()).expect("it makes groups");
        self.world = Some(world);
    }

    /// The world.
    pub fn world(&self) -> &World {
        self.world.as_ref().expect("it is there until this goes")
    }

    /// The groups of attempts that are there.
    pub fn groups(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.dir).expect("it is there").flatten();
        let groups = entries.map(|entry| entry.path());
        groups
            .filter(|path| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with("taskd-"))
            })
            .collect()
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        self.world = None;
        // Whatever has got out of the hands of its runner.
        let _ = fs::write(self.dir.join("cgroup.kill"), "1");
        let gone = || {
            for below in self.groups() {
                let _ = fs::remove_dir(below);
            }
            let _ = fs::remove_dir(self.dir.join("runner"));
            fs::remove_dir(&self.dir).is_ok().then_some(())
        };
        // A second panic would say less than the first.
        if !std::thread::panicking() {
            wait_for("the control group to go", gone);
        } else {
            let _ = gone();
        }
    }
}

/// Where version 2 of control groups is mounted, all of it.
pub fn mounted() -> io::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "));
    let place = mount.and_then(|line| line.split(' ').nth(4));
    place
        .map(|place| Path::new(place).to_owned())
        .ok_or_else(|| io::Error::other("there is no version 2 of them"))
}
