//! What a command writes is kept, within bounds.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use taskd_runner::{output_path, raw_output_path};
use taskd_wire::codec::Tail;
use taskd_wire::definition::OutputKind;
use taskd_wire::runner::{End, FromRunner, Start};

use crate::life::{Home, exec, is_alive, key, shell, wait_until};

crate::tests![
    a_command_may_write_its_file_itself,
    a_command_may_write_for_nobody,
    both_streams_are_kept_byte_for_byte,
    what_is_written_last_is_not_lost,
    a_prompt_can_be_read_while_it_waits,
    a_hundred_megabytes_keep_head_and_tail,
    a_full_disk_loses_output_and_no_run,
];

/// The command writes its file itself: nobody reads on the way.
fn a_command_may_write_its_file_itself() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let mut start = shell(
        1,
        r"printf 'one\n'; printf 'err\377' >&2; printf 'two\n'; readlink /proc/self/fd/1",
    );
    start.output = Tail(OutputKind::File);
    let path = raw_output_path(&home.state_dir(), &key(1));
    let ended = daemon.run(start);
    let written = fs::read(&path).expect("there is output");
    let said = path.canonicalize().expect("it is there").display().to_string();
    assert_eq!(written, [b"one\nerr\xfftwo\n", said.as_bytes(), b"\n"].concat());
    assert_eq!((ended.output_bytes, ended.output_lost), (written.len() as u64, 0));
    let on_disk = |path: &Path| Tail(fs::metadata(path).ok().map(|found| taskd_runner::on_disk(&found)));
    assert_eq!(ended.output_kept, on_disk(&path));
    assert!(!output_path(&home.state_dir(), &key(1)).exists());
    let mode = |path: &Path| fs::metadata(path).expect("it exists").mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    // Past its cap it is cut when the command has ended.
    let mut start = shell(2, "seq -f %09.0f 1 100000");
    (start.output, start.output_max) = (Tail(OutputKind::File), 64 << 10);
    let ended = daemon.run(start);
    let path = raw_output_path(&home.state_dir(), &key(2));
    let kept = fs::read_to_string(&path).expect("text");
    assert_eq!(ended.output_kept, on_disk(&path));
    let mark = format!("\n[taskd: {} bytes of output were not kept here]\n", ended.output_lost);
    let (head, tail) = kept.split_once(&mark).expect("a mark");
    assert_eq!(ended.output_bytes, 1_000_000);
    assert_eq!((head.len() + tail.len()) as u64 + ended.output_lost, 1_000_000);
    assert!(head.starts_with("000000001\n") && tail.ends_with("\n000100000\n"));
    // Nothing is left of one that writes nothing, nor of one that cannot start.
    let (mut silent, mut missing) = (shell(3, ":"), exec(4, &["/not/there"]));
    for start in [&mut silent, &mut missing] {
        start.output = Tail(OutputKind::File);
    }
    daemon.run(silent);
    daemon.run(missing);
    for run in [3, 4] {
        assert!(!raw_output_path(&home.state_dir(), &key(run)).exists(), "{run}");
    }
}

fn a_command_may_write_for_nobody() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let mut start = shell(
        1,
        "echo gone; echo gone >&2; test /dev/null -ef /proc/self/fd/1 && exit 7",
    );
    start.output = Tail(OutputKind::Discard);
    let ended = daemon.run(start);
    assert_eq!((ended.end, ended.output_bytes), (End::Exited(7), 0));
    assert!(!home.state_dir().join("output").exists());
}

fn both_streams_are_kept_byte_for_byte() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let ended = daemon.run(shell(
        1,
        r"printf 'one\n'; printf 'err\n' >&2; printf '\377\376\n' >&2; printf 'no newline'",
    ));
    assert_eq!((ended.output_bytes, ended.output_lost), (21, 0));
    assert_eq!(home.text(key(1), "stdout"), "one\nno newline");
    let records = home.records(key(1));
    let raw: Vec<&Value> = records.iter().filter_map(|record| record.get("raw")).collect();
    assert_eq!(raw, ["//4K"]);
    assert!(home.text(key(1), "stderr").starts_with("err\n"));
    let mode = |path: &Path| fs::metadata(path).expect("it exists").mode() & 0o777;
    let path = output_path(&home.state_dir(), &key(1));
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().expect("a folder")), 0o700);
}

/// What is in the pipe when the process ends, even while another process holds it.
fn what_is_written_last_is_not_lost() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    for run in 1..=20 {
        let ended = daemon.run(shell(
            run,
            "sleep 1000 & head -c 60000 /dev/zero | tr '\\0' x; echo end",
        ));
        assert_eq!(ended.output_bytes, 60_004);
        assert!(home.text(key(run), "stdout").ends_with("xend\n"));
    }
}

/// Also when the runner is killed then.
fn a_prompt_can_be_read_while_it_waits() {
    let home = Home::new();
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let pid = daemon.start(shell(1, "printf 'name: '; exec sleep 1000"));
    wait_until("the prompt is written", || {
        let path = output_path(&home.state_dir(), &key(1));
        path.exists() && home.text(key(1), "stdout") == "name: "
    });
    assert!(is_alive(pid));
}

fn a_hundred_megabytes_keep_head_and_tail() {
    const MAX: u64 = 4 << 20;
    const FIRST: u128 = 100_000_000_000_000_000_000_000_000_000;
    const LINES: u128 = 3_300_000;
    let home = Home::new();
    let life = home.start();
    let (mut daemon, inventory) = life.attach();
    let last = FIRST + LINES - 1;
    let start = Start {
        output_max: MAX,
        ..shell(1, &format!("exec seq {FIRST} {last}"))
    };
    let pid = daemon.start(start);
    let path = output_path(&home.state_dir(), &key(1));
    let mut most = 0;
    wait_until("it has ended", || {
        let used = fs::metadata(&path).map_or(0, |file| file.blocks() * 512);
        most = most.max(used);
        !is_alive(pid)
    });
    let ended = daemon.ended();
    assert_eq!(ended.end, End::Exited(0));
    assert_eq!(u128::from(ended.output_bytes), LINES * 31);
    // A line of 31 bytes is a record of 100; a third more for what is not yet given up.
    assert!(most < MAX * 100 / 31 * 4 / 3, "{most} bytes on disk at once");

    let records = home.records(key(1));
    let gap_at = records
        .iter()
        .position(|record| record["stream"] == "taskd")
        .expect("a gap");
    let text = |records: &[Value]| -> String {
        records
            .iter()
            .map(|record| record["log"].as_str().expect("text"))
            .collect()
    };
    let (head, tail) = (text(&records[..gap_at]), text(&records[gap_at + 1..]));
    // To the byte, but for what a short record, the beginning of a line that came late, counts more than its bytes.
    let short = MAX / 2 - head.len() as u64;
    assert!(short < 1024, "{short} bytes of the head are not used");
    for (number, line) in head.split_inclusive('\n').enumerate() {
        let whole = format!("{}\n", FIRST + number as u128);
        assert!(whole.starts_with(line), "{line}");
    }
    let missing = records[gap_at]["gap"]["bytes"].as_u64().expect("a number");
    assert_eq!(missing, ended.output_lost);
    assert_eq!(head.len() as u64 + missing + tail.len() as u64, ended.output_bytes);
    assert!(tail.len() as u64 > MAX / 2 * 9 / 10);
    for (back, line) in tail.lines().rev().enumerate() {
        assert_eq!(line, (last - back as u128).to_string());
    }

    let status = fs::read_to_string(format!("/proc/{}/status", inventory.info.pid)).expect("it runs");
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("memory");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(peak < 32 * 1024, "{peak} KiB of memory");
}

/// A small file system of its own, unmounted in the end.
pub struct Mount(PathBuf);

impl Mount {
    pub fn new(at: PathBuf, size: &str) -> Option<Self> {
        fs::create_dir_all(&at).expect("room");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", size, "tmpfs"])
            .arg(&at)
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Mount(at))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn a_full_disk_loses_output_and_no_run() {
    let home = Home::new();
    let Some(mount) = Mount::new(home.state_dir().join("output"), "size=1m") else {
        println!("skipped: this user may not mount a file system");
        return;
    };
    let ballast = mount.0.join("ballast");
    fs::write(&ballast, vec![0; 600 * 1024]).expect("room for it");
    let life = home.start();
    let (mut daemon, _) = life.attach();
    let line = "a line of the output that is not very short";
    let write = |count: u32| format!("i=0; while [ $i -lt {count} ]; do echo {line} $i; i=$((i+1)); done");
    let script = format!(
        "{}; : > full; while [ ! -e go ]; do sleep 0.01; done; {}; exit 3",
        write(20_000),
        write(10)
    );
    daemon.start(shell(1, &script));
    wait_until("it has written too much", || home.path().join("full").exists());
    // Everything it wrote is in the file, lost, or in the pipe; what is in the pipe is kept if there is room by then.
    fs::remove_file(&ballast).expect("it is there");
    fs::write(home.path().join("go"), "").expect("room");
    let ended = daemon.ended();
    assert_eq!(ended.end, End::Exited(3));
    let records = home.records(key(1));
    let gaps: u64 = records
        .iter()
        .filter_map(|record| record["gap"]["bytes"].as_u64())
        .sum();
    assert!(gaps > 0, "a gap is marked");
    assert_eq!(gaps, ended.output_lost);
    let text = home.text(key(1), "stdout");
    assert_eq!(text.len() as u64 + gaps, ended.output_bytes);
    assert!(
        text.starts_with(&format!("{line} 0\n{line} 1\n")),
        "the beginning is there"
    );
    assert!(text.ends_with(&format!("{line} 8\n{line} 9\n")), "and the end");

    // Even the first byte of another run has no place, and it runs all the same.
    fs::write(&ballast, vec![0; 1024 * 1024]).expect_err("it is full now");
    let ended = daemon.run(shell(2, "echo unheard; exit 4"));
    assert_eq!(
        (ended.end, ended.output_bytes, ended.output_lost),
        (End::Exited(4), 8, 8)
    );
    assert!(matches!(daemon_is_well(&mut daemon), Some(FromRunner::Started { .. })));
    drop(life);
    drop(mount);
}

fn daemon_is_well(daemon: &mut crate::life::Daemon) -> Option<FromRunner> {
    daemon.say(&[crate::life::to_start(shell(9, "exit 0"))]);
    daemon.hear()
}
