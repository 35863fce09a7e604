//! `taskctl top`: what runs and what waits, with what it uses; on a terminal, in a pipe, and as JSON.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::fs::OFlags;
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::{Value, json};

use crate::harness::{World, has_keys, kill, wait_for};

/// A pseudo terminal with a `taskctl top` on it.
struct Terminal {
    ours: File,
    theirs: OwnedFd,
    child: Child,
    /// All that was written to it.
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn with(world: &World, args: &[&str]) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pseudo terminal");
        grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("it is ours");
        let name = ptsname(&ours, Vec::new()).expect("it has a name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let theirs = rustix::fs::open(&name, flags, rustix::fs::Mode::empty()).expect("a terminal");
        let top = world.taskctl(args);
        // So that it is the controlling terminal, whose Ctrl-C is a signal.
        let mut command = Command::new("setsid");
        command
            .args(["--ctty", "--wait"])
            .arg(top.get_program())
            .args(top.get_args());
        for (name, value) in top.get_envs() {
            command.env(name, value.expect("only set"));
        }
        let end = || Stdio::from(theirs.try_clone().expect("a descriptor"));
        let child = command
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("it starts");
        let terminal = Terminal {
            ours: File::from(ours),
            theirs,
            child,
            screen: Arc::default(),
        };
        terminal.resize(80, 24);
        let (mut reader, screen) = (
            terminal.ours.try_clone().expect("a descriptor"),
            Arc::clone(&terminal.screen),
        );
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut bytes) {
                screen
                    .lock()
                    .expect("nobody panics with it")
                    .extend_from_slice(&bytes[..length]);
            }
        });
        terminal
    }

    fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize {
            ws_col: columns,
            ws_row: rows,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&self.ours, size).expect("a terminal");
    }

    fn all(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().expect("nobody panics with it")).into_owned()
    }

    /// The frame that was drawn last, and whole.
    fn frame(&self) -> String {
        let all = self.all();
        let mut frames = all.rsplit("\x1b[H\x1b[J");
        let (_, whole) = (frames.next(), frames.next());
        whole.unwrap_or_default().to_owned()
    }

    #[track_caller]
    fn shows(&self, what: &str) {
        wait_for(&format!("{what} on the screen"), || {
            self.frame().contains(what).then_some(())
        });
    }

    fn press(&mut self, keys: &str) {
        self.ours.write_all(keys.as_bytes()).expect("a terminal");
    }

    /// Waits for its end, and for the terminal to be as it was.
    #[track_caller]
    fn ends_restored(mut self, code: i32) {
        let status = wait_for("its end", || self.child.try_wait().expect("a child"));
        assert_eq!(status.code(), Some(code));
        wait_for("the screen from before", || {
            self.all().ends_with("\x1b[?25h\x1b[?1049l").then_some(())
        });
        let modes = tcgetattr(&self.theirs).expect("a terminal").local_modes;
        assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO), "{modes:?}");
    }

    fn taskctl_pid(&self) -> u32 {
        let setsid = self.child.id();
        let children = format!("/proc/{setsid}/task/{setsid}/children");
        // It forks only where it has to.
        let child = std::fs::read_to_string(children).unwrap_or_default();
        child.trim().parse().unwrap_or(setsid)
    }
}

/// One that works all the time, and one that sleeps.
fn busy(world: &World) {
    world
        .ctl(&[
            "add",
            "--name",
            "busy",
            "--manual",
            "--shell",
            "echo up; while :; do :; done",
        ])
        .ok();
    world
        .ctl(&["add", "--name", "idle", "--manual", "--shell", "echo up; sleep 1000"])
        .ok();
    world.run_up("busy");
    world.run_up("idle");
}

#[test]
fn a_screen_is_drawn_until_q_and_the_terminal_is_as_it_was() {
    let world = World::served();
    busy(&world);
    let mut terminal = Terminal::with(&world, &["top", "--interval", "200ms"]);
    terminal.shows("2 running, 0 waiting");
    assert!(terminal.all().starts_with("\x1b[?1049h\x1b[?25l"));
    let modes = tcgetattr(&terminal.theirs).expect("a terminal").local_modes;
    assert!(!modes.intersects(LocalModes::ICANON | LocalModes::ECHO));
    wait_for("who works most comes first", || {
        let frame = terminal.frame();
        let (busy, idle) = (frame.find("busy/1")?, frame.find("idle/1")?);
        (busy < idle && frame.contains("  0.0%")).then_some(())
    });
    terminal.press("x");
    terminal.resize(30, 5);
    terminal.shows("and 1 more");
    for line in terminal.frame().lines() {
        let text = line
            .replace("\x1b[1m", "")
            .replace("\x1b[2m", "")
            .replace("\x1b[36m", "")
            .replace("\x1b[0m", "");
        assert!(text.trim_end().chars().count() <= 30, "{line:?}");
    }
    terminal.press("q");
    terminal.ends_restored(0);
}

#[test]
fn a_signal_leaves_the_terminal_as_it_was() {
    let world = World::served();
    let mut terminal = Terminal::with(&world, &["top", "--interval", "200ms"]);
    terminal.shows("0 running");
    terminal.press("\x03");
    terminal.ends_restored(130);
    let terminal = Terminal::with(&world, &["top", "--interval", "1h"]);
    wait_for("it is on the screen", || {
        terminal.all().contains("0 running").then_some(())
    });
    kill(terminal.taskctl_pid(), Signal::TERM);
    terminal.ends_restored(143);
}

#[test]
fn a_restart_of_the_daemon_is_said_and_outlived() {
    let mut world = World::served();
    busy(&world);
    let mut terminal = Terminal::with(&world, &["top", "--interval", "200ms"]);
    terminal.shows("2 running");
    world.kill();
    terminal.shows("the daemon is away");
    assert!(
        terminal.frame().contains("busy/1"),
        "what was there before is still seen"
    );
    world.start();
    wait_for("it is back", || {
        let frame = terminal.frame();
        (frame.contains("2 running") && !frame.contains("away")).then_some(())
    });
    terminal.press("q");
    terminal.ends_restored(0);
}

#[test]
fn json_is_streamed_with_what_runs_use() {
    let world = World::served();
    busy(&world);
    world
        .ctl(&[
            "add",
            "--name",
            "second",
            "--manual",
            "--lock",
            "l",
            "--shell",
            "echo up; sleep 1000",
        ])
        .ok();
    world
        .ctl(&["add", "--name", "waiter", "--manual", "--lock", "l", "--", "true"])
        .ok();
    world.run_up("second");
    world.ctl(&["run", "waiter"]).ok();
    let mut top = world.taskctl(&["top", "--json", "--interval", "300ms"]);
    let mut child = top
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next = || -> Value {
        let line = lines.next().expect("one more").expect("text");
        serde_json::from_str(&line).expect("an object a line")
    };
    let is_it = |moment: &Value| {
        let run = |name: &str| {
            moment["runs"]
                .as_array()
                .and_then(|runs| runs.iter().find(|run| run["run"] == name).cloned())
        };
        let (busy, idle, waiter) = (run("busy/1")?, run("idle/1")?, run("waiter/1")?);
        let cpu = |run: &Value| run["cpu_percent"].as_f64();
        let is_busy = cpu(&busy)? > 5.0 && cpu(&idle)? < 1.0 && moment["runs"][0]["run"] == "busy/1";
        is_busy.then_some((busy, idle, waiter))
    };
    let (busy, idle, waiter) = wait_for("who works is told from who sleeps", || is_it(&next()));
    has_keys(
        &busy,
        "run state attempt pid started_at elapsed_ms cpu_percent cpu_us memory_bytes processes waits_for retry_at",
    );
    assert!(
        busy["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 100_000),
        "{busy}"
    );
    assert_eq!((&busy["processes"], &idle["processes"]), (&json!(1), &json!(2)));
    assert_eq!(
        (&waiter["state"], &waiter["waits_for"], &waiter["pid"]),
        (&json!("waiting"), &json!("lock l, which holds 1"), &Value::Null)
    );
    let moment = next();
    has_keys(&moment, "at connected running waiting runs more");
    assert_eq!(
        (&moment["running"], &moment["waiting"], &moment["connected"]),
        (&json!(3), &json!(1), &json!(true))
    );
    // Its reader goes.
    drop(lines);
    let status = wait_for("its end", || child.try_wait().expect("a child"));
    assert!(status.success(), "{status}");
    let mut said = String::new();
    child
        .stderr
        .take()
        .expect("a pipe")
        .read_to_string(&mut said)
        .expect("text");
    assert_eq!(said, "", "it is quiet about that");
}

#[test]
fn in_a_pipe_it_is_told_once() {
    let world = World::served();
    busy(&world);
    let told = world.ctl(&["top"]).ok();
    assert!(told.starts_with("2 running, 0 waiting\nRUN     STATE"), "{told}");
    assert_eq!(told.lines().count(), 4, "{told}");
    assert!(!told.contains('\x1b'), "{told:?}");
    let once = world.ctl(&["top", "--once", "--json", "--interval", "100ms"]).json();
    assert_eq!(once["running"], 2);
    let said = world.ctl(&["top", "--interval", "1ms"]).refused(2);
    assert!(said.contains("hint: write 100ms or more"), "{said}");
    let nobody = World::new();
    nobody.ctl(&["top"]).refused(3);
}

#[test]
fn processes_without_a_group_are_counted_as_well() {
    let mut world = World::new();
    std::fs::write(world.path("taskd.toml"), "[runner]\ncgroups = \"off\"\n").expect("a file");
    world.start();
    let line = "echo up; (while :; do :; done) & wait";
    world.ctl(&["add", "--name", "tree", "--manual", "--shell", line]).ok();
    world.run_up("tree");
    let run = wait_for("its child is counted", || {
        let told = world.ctl(&["top", "--once", "--json", "--interval", "300ms"]).json();
        let run = told["runs"][0].clone();
        (run["cpu_percent"].as_f64()? > 5.0).then_some(run)
    });
    assert_eq!(run["processes"], 2, "{run}");
    assert!(
        run["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 100_000),
        "{run}"
    );
}
