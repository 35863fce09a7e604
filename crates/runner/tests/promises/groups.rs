//! Where the kernel lets the runner make control groups, nothing gets out of one, and none is left over. Where it does not
//! these have nothing to show, and say so.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use taskd_wire::runner::{End, FromRunner, ToRunner, Used, can};

use crate::life::{Daemon, Home, Life, exec, is_alive, key, kill, shell, to_start, wait_until};

crate::tests![
    each_attempt_is_in_a_group_of_its_own,
    groups_that_others_made_in_advance_are_left_alone,
    what_hides_from_a_run_ends_with_it,
    what_forks_all_the_time_ends_with_its_run,
    a_stop_reaches_what_hides,
    groups_that_a_run_makes_go_with_it,
    no_group_is_left_when_the_runner_ends,
    no_group_is_left_when_the_worker_is_killed,
    the_next_runner_ends_what_is_left_in_groups,
    all_of_the_tree_is_counted,
    what_a_run_uses_is_told_when_asked,
    without_groups_nothing_is_said_of_them,
    what_finds_its_group_gone_runs_without_one,
    whether_groups_can_be_made_is_told_as_it_changes,
];

/// A runner that makes groups, and where. Nothing where it cannot.
fn grouped(home: &Home) -> Option<(Life, Daemon, Groups)> {
    let life = home.start();
    let (mut daemon, inventory) = life.attach();
    if inventory.info.cgroups.0.is_none() {
        println!("skipped: no control groups can be made here");
        return None;
    }
    let dir = fs::read_to_string(home.state_dir().join("runner.cgroups")).expect("it says where");
    daemon.run(shell(1_000, "grep ^0:: /proc/self/cgroup"));
    let own = home.first_line(key(1_000));
    let name = own.rsplit_once('/').expect("a path").1;
    // `taskd-<state>-<life>-<number>`
    let state = name.split('-').nth(1).expect("a group of ours").to_owned();
    let dir = PathBuf::from(dir);
    Some((life, daemon, Groups { dir, state }))
}

struct Groups {
    dir: PathBuf,
    state: String,
}

impl Groups {
    fn all(&self) -> Vec<PathBuf> {
        let prefix = format!("taskd-{}-", self.state);
        let entries = fs::read_dir(&self.dir).expect("it is there");
        let paths = entries.map(|entry| entry.expect("readable").path());
        paths
            .filter(|path| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
            })
            .collect()
    }

    fn populated(&self) -> usize {
        let is_populated = |path: &PathBuf| {
            fs::read_to_string(path.join("cgroup.events")).is_ok_and(|text| text.contains("populated 1"))
        };
        self.all().iter().filter(|path| is_populated(path)).count()
    }
}

fn each_attempt_is_in_a_group_of_its_own() {
    let home = Home::new();
    let Some((_life, mut daemon, groups)) = grouped(&home) else {
        return;
    };
    for run in 1..=3 {
        daemon.start(shell(run, "grep ^0:: /proc/self/cgroup; exec sleep 1000"));
    }
    let mut own: Vec<String> = (1..=3).map(|run| home.first_line(key(run))).collect();
    own.sort();
    own.dedup();
    assert_eq!((own.len(), groups.populated()), (3, 3));
    for run in 1..=3 {
        daemon.say(&[stop(run)]);
        daemon.ended();
    }
    assert_eq!(groups.populated(), 0);
}

fn groups_that_others_made_in_advance_are_left_alone() {
    let home = Home::new();
    let Some((_life, mut daemon, groups)) = grouped(&home) else {
        return;
    };
    let numbered = |path: &PathBuf| {
        let (name, number) = path.to_str()?.rsplit_once('-')?;
        Some((number.parse::<u64>().ok()?, name.to_owned()))
    };
    let newest = groups.all().iter().filter_map(numbered).max();
    let (number, name) = newest.expect("one was needed so far");
    let made: Vec<String> = (1..=5).map(|more| format!("{name}-{}", number + more)).collect();
    made.iter().for_each(|made| fs::create_dir(made).expect("we may"));
    for run in 1..=3 {
        daemon.start(shell(run, "grep ^0:: /proc/self/cgroup; exec sleep 1000"));
    }
    let mut own: Vec<String> = (1..=3).map(|run| home.first_line(key(run))).collect();
    own.sort();
    own.dedup();
    assert_eq!((own.len(), groups.populated()), (3, 3), "{own:?}");
    let is_empty =
        |made: &String| fs::read_to_string(format!("{made}/cgroup.procs")).is_ok_and(|procs| procs.is_empty());
    assert!(made.iter().all(is_empty));
}

fn stop(run: u64) -> ToRunner {
    let grace_ms = 300;
    ToRunner::Stop {
        key: key(run),
        grace_ms,
    }
}

/// Rids itself of group, session, mark and parent, and does this.
fn hidden(line: &str) -> String {
    format!("env -i setsid sh -c 'echo $$ > pid; {line}' & until [ -s pid ]; do /bin/sleep 0.01; done; cat pid; rm pid")
}

fn what_hides_from_a_run_ends_with_it() {
    let home = Home::new();
    let Some((_life, mut daemon, groups)) = grouped(&home) else {
        return;
    };
    for run in 1..=10 {
        let ended = daemon.run(shell(run, &format!("{}; exit 3", hidden("exec /bin/sleep 1000"))));
        assert_eq!((ended.end, ended.stopped), (End::Exited(3), false));
        let pid = home.first_line(key(run)).parse().expect("a process id");
        assert!(!is_alive(pid), "it was gone before the end was told");
    }
    assert_eq!(groups.populated(), 0);
}

fn what_forks_all_the_time_ends_with_its_run() {
    let home = Home::new();
    let Some((_life, mut daemon, groups)) = grouped(&home) else {
        return;
    };
    // Each is over before it can be looked at, and another one is there by then.
    fs::write(home.path().join("comet"), "setsid sh comet &\n").expect("room");
    for run in 1..=3 {
        let line = "for n in 1 2 3 4 5; do env -i sh comet; done; /bin/sleep 0.05; exit 4";
        assert_eq!(daemon.run(shell(run, line)).end, End::Exited(4));
        assert_eq!(groups.populated(), 0);
    }
}

fn a_stop_reaches_what_hides() {
    let home = Home::new();
    let Some((_life, mut daemon, groups)) = grouped(&home) else {
        return;
    };
    let line = hidden("trap \"echo asked > asked; exit\" TERM; while :; do /bin/sleep 0.01; done");
    daemon.start(shell(1, &format!("{line}; exec sleep 1000")));
    let pid = home.first_line(key(1)).parse().expect("a process id");
    daemon.say(&[stop(1)]);
    assert_eq!(daemon.ended().end, End::Signalled(15));
    assert!(home.path().join("asked").exists(), "it was asked before it was killed");
    assert!(!is_alive(pid));
    daemon.start(shell(
        2,
        &format!(
            "{}; exec sleep 1000",
            hidden("trap \"\" TERM; while :; do /bin/sleep 0.01; done")
        ),
    ));
    let pid = home.first_line(key(2)).parse().expect("a process id");
    daemon.say(&[stop(2)]);
    assert_eq!(daemon.ended().end, End::Signalled(15));
    assert!(!is_alive(pid), "it does not listen");
    assert_eq!(groups.populated(), 0);
}

fn groups_that_a_run_makes_go_with_it() {
    let home = Home::new();
    let Some((_life, mut daemon, groups)) = grouped(&home) else {
        return;
    };
    let line = format!(
        "own=$(sed -n s/^0:://p /proc/self/cgroup); own={}/${{own##*/}}; mkdir -p $own/a/b; echo $own; \
         sh -c 'echo $$ > '$own'/a/b/cgroup.procs; sleep 1000 & :'",
        groups.dir.display()
    );
    daemon.run(shell(1, &line));
    let own = home.first_line(key(1));
    wait_until("its group is gone", || fs::metadata(&own).is_err());
    assert_eq!(groups.populated(), 0);
}

fn no_group_is_left_when_the_runner_ends() {
    let home = Home::new();
    let Some((mut life, mut daemon, groups)) = grouped(&home) else {
        return;
    };
    daemon.start(shell(
        1,
        &format!("{}; exec sleep 1000", hidden("exec /bin/sleep 1000")),
    ));
    home.first_line(key(1));
    daemon.say(&[ToRunner::Shutdown { grace_ms: 100 }]);
    drop(daemon);
    life.wait();
    assert_eq!(groups.all(), Vec::<PathBuf>::new());
}

fn no_group_is_left_when_the_worker_is_killed() {
    let home = Home::new();
    let Some((mut life, mut daemon, groups)) = grouped(&home) else {
        return;
    };
    let (again, inventory) = life.attach();
    drop(std::mem::replace(&mut daemon, again));
    daemon.start(shell(
        1,
        &format!("{}; exec sleep 1000", hidden("exec /bin/sleep 1000")),
    ));
    let pid = home.first_line(key(1)).parse().expect("a process id");
    kill(inventory.info.pid, Signal::KILL);
    life.wait();
    assert!(!is_alive(pid));
    assert_eq!(groups.all(), Vec::<PathBuf>::new());
}

fn the_next_runner_ends_what_is_left_in_groups() {
    let home = Home::new();
    let Some((mut life, mut daemon, groups)) = grouped(&home) else {
        return;
    };
    let (again, inventory) = life.attach();
    drop(std::mem::replace(&mut daemon, again));
    daemon.start(shell(
        1,
        &format!("{}; exec sleep 1000", hidden("exec /bin/sleep 1000")),
    ));
    let pid = home.first_line(key(1)).parse().expect("a process id");
    kill(life.guard_pid(), Signal::KILL);
    life.wait();
    wait_until("the worker is gone", || !is_alive(inventory.info.pid));
    assert!(is_alive(pid), "nobody is there to end it");
    let left = groups.all();
    assert!(!left.is_empty());
    let mut life = home.start_with({
        // Also one that makes no groups itself.
        let mut command = home.command();
        command.arg("--no-cgroups");
        command
    });
    assert!(!is_alive(pid), "gone before it serves");
    assert_eq!(groups.all(), Vec::<PathBuf>::new());
    kill(life.guard_pid(), Signal::TERM);
    life.wait();
}

fn all_of_the_tree_is_counted() {
    let home = Home::new();
    let Some((_life, mut daemon, _)) = grouped(&home) else {
        return;
    };
    // The one that works has no parent that would wait for it.
    let line = "(setsid sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; : > done' &); \
                until [ -e done ]; do sleep 0.01; done; rm done";
    let ended = daemon.run(shell(1, line));
    let busy = ended.user_us + ended.system_us;
    assert!(busy > 50_000, "{busy} us");
    // What one has used is not counted for the next one in the same group.
    for run in 2..=4 {
        let ended = daemon.run(shell(run, "exit 0"));
        assert!(ended.user_us + ended.system_us < busy / 2, "{ended:?}");
    }
}

/// What is told of the attempts in progress.
fn looked_at(daemon: &mut Daemon) -> Vec<Used> {
    daemon.say(&[ToRunner::Look]);
    let mut all = Vec::new();
    loop {
        match daemon.hear().expect("it answers") {
            FromRunner::Used { used, is_last, .. } => {
                all.extend(used.into_iter().map(|used| used.0));
                if is_last {
                    return all;
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

fn what_a_run_uses_is_told_when_asked() {
    // With groups, where there can be some, and without.
    for option in [None, Some("--no-cgroups")] {
        let home = Home::new();
        let mut command = home.command();
        command.args(option);
        let life = home.start_with(command);
        let (mut daemon, inventory) = life.attach();
        assert_ne!(inventory.info.can.0 & can::USAGE, 0);
        assert_eq!(looked_at(&mut daemon), [], "nothing is in progress");
        // What one has used is not counted for the next one in the same group.
        let work = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        daemon.run(shell(1, work));
        daemon.start(shell(2, "sleep 1000 & echo up; wait"));
        daemon.start(shell(3, &format!("{work}; echo up; exec sleep 1000")));
        for run in 2..=3 {
            home.first_line(key(run));
        }
        let mut used = Vec::new();
        wait_until("who is in the middle of an exec has hardly any memory", || {
            used = looked_at(&mut daemon);
            used.iter()
                .all(|used| used.memory_bytes.is_some_and(|bytes| bytes > 50_000))
        });
        used.sort_by_key(|used| used.key);
        let [idle, busy] = used.as_slice() else {
            panic!("{used:?}");
        };
        assert_eq!((idle.key, busy.key), (key(2), key(3)));
        assert_eq!((idle.processes, busy.processes), (Some(2), Some(1)));
        let (least, most) = (idle.cpu_us.expect("it is known"), busy.cpu_us.expect("it is known"));
        assert!(most > 20_000 && least < most / 2, "{used:?}");
        // Nobody is told who has not asked.
        let (mut second, _) = life.attach();
        second.say(&[stop(2)]);
        assert_eq!(second.ended().origin.key, key(2));
    }
}

fn without_groups_nothing_is_said_of_them() {
    let home = Home::new();
    let mut command = home.command();
    command.arg("--no-cgroups");
    let life = home.start_with(command);
    let (mut daemon, inventory) = life.attach();
    assert_eq!(inventory.info.cgroups.0, None);
    daemon.run(shell(1, "grep -c taskd- /proc/self/cgroup"));
    assert_eq!(home.text(key(1), "stdout"), "0\n");
    assert!(!home.state_dir().join("runner.cgroups").exists());
}

fn what_finds_its_group_gone_runs_without_one() {
    const COUNT: u64 = 40;
    let home = Home::new();
    let Some((_life, mut daemon, groups)) = grouped(&home) else {
        return;
    };
    let all = |daemon: &mut Daemon, first: u64, argv: &[&str]| {
        let starts: Vec<_> = (first..first + COUNT).map(|run| to_start(exec(run, argv))).collect();
        daemon.say(&starts);
    };
    // So many at once have as many groups, which are kept for others.
    all(&mut daemon, 1, &["sleep", "0.3"]);
    (0..COUNT).for_each(|_| assert_eq!(daemon.ended().end, End::Exited(0)));
    let gone = groups
        .all()
        .iter()
        .filter(|group| fs::remove_dir(group).is_ok())
        .count();
    assert!(gone > 10, "{gone} groups");
    let Some((file, hangs)) = home.start_that_hangs(100) else {
        println!("skipped: no leases on this file system");
        return;
    };
    // One that hangs holds up none of them.
    daemon.say(&[to_start(hangs)]);
    all(&mut daemon, 101, &["true"]);
    (0..COUNT).for_each(|_| assert_eq!(daemon.ended().end, End::Exited(0)));
    drop(file);
    let ended = daemon.ended();
    assert_eq!((ended.origin.key, ended.end), (key(100), End::Exited(0)));
}

/// A control group for a runner of its own, of which nobody else takes notice. It goes with this.
struct Apart(PathBuf);

impl Drop for Apart {
    fn drop(&mut self) {
        wait_until("nothing is left in it", || fs::remove_dir(&self.0).is_ok());
    }
}

fn whether_groups_can_be_made_is_told_as_it_changes() {
    let home = Home::new();
    let Some((_life, _daemon, groups)) = grouped(&home) else {
        return;
    };
    let apart = Apart(groups.dir.join(format!("test-{}", groups.state)));
    fs::create_dir(&apart.0).expect("the runner can make some as well");
    let other = Home::new();
    let line = format!("echo $$ >{}/cgroup.procs && exec \"$@\"", apart.0.display());
    let life = other.start_with(other.command_by(&["sh", "-c", &line, "sh"]));
    let (mut daemon, inventory) = life.attach();
    assert!(inventory.info.cgroups.0.is_some());
    // More at once than there are groups of such as have ended, and what is told of groups until all are over.
    let told = |daemon: &mut Daemon, first: u64| {
        const COUNT: u64 = 40;
        let starts: Vec<_> = (first..first + COUNT)
            .map(|run| to_start(exec(run, &["sleep", "0.3"])))
            .collect();
        daemon.say(&starts);
        let (mut ended, mut told) = (0, Vec::new());
        while ended < COUNT {
            match daemon.hear().expect("it is there") {
                FromRunner::Ended(_) => ended += 1,
                FromRunner::InventoryEnd(info) => told.push(info.0.cgroups.0.is_some()),
                _ => {}
            }
        }
        told
    };
    let most = apart.0.join("cgroup.max.descendants");
    fs::write(&most, "0").expect("it is ours");
    assert_eq!(told(&mut daemon, 1), [false]);
    let (mut daemon, inventory) = life.attach();
    assert_eq!(inventory.info.cgroups.0, None);
    fs::write(&most, "max").expect("it is ours");
    assert_eq!(told(&mut daemon, 101), [true]);
    drop((daemon, life));
}
