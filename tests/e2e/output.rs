//! Promise: output is never lost silently and never unbounded.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use serde_json::Value;

use crate::harness::{World, wait_for};

const MIB: u64 = 1 << 20;

fn file_of(world: &World, run: &str) -> String {
    world.ctl(&["logs", "--path", run]).ok().trim_end().to_owned()
}

fn records(world: &World, run: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(file_of(world, run)).expect("the file");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}")))
        .collect()
}

/// What `taskctl logs` prints, to the byte.
fn bytes(world: &World, run: &str) -> Vec<u8> {
    let output = world.taskctl(&["logs", run]).output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

fn ran(world: &World, name: &str, line: &str) {
    world.ctl(&["add", "--name", name, "--manual", "--shell", line]).ok();
    world.ctl(&["run", "--wait", name]).ok();
}

#[test]
fn each_line_has_its_stream_and_its_time() {
    let world = World::served();
    ran(
        &world,
        "both",
        "echo one; echo two >&2; printf 'a\\tb \"q\" \\\\ \\033[1m\\n'; printf 'no end'",
    );
    let records = records(&world, "both/1");
    let of = |stream: &str| {
        let lines = records.iter().filter(|line| line["stream"] == stream);
        lines
            .map(|line| line["log"].as_str().expect("text"))
            .collect::<Vec<_>>()
    };
    assert_eq!(of("stdout"), ["one\n", "a\tb \"q\" \\ \u{1b}[1m\n", "no end"]);
    assert_eq!(of("stderr"), ["two\n"]);
    let run = world.run_of("both/1");
    for record in &records {
        let fields = record.as_object().expect("an object");
        assert_eq!(fields.keys().collect::<Vec<_>>(), ["log", "stream", "time"], "{record}");
        let time = record["time"].as_str().expect("a time");
        assert!(
            time.len() == "2026-01-01T00:00:00.000000000Z".len() && time.ends_with('Z'),
            "{time}"
        );
        let day = &run["started_at"].as_str().expect("an instant")[..10];
        assert!(
            time.starts_with(day) || run["finished_at"].as_str().is_some_and(|end| time[..10] == end[..10]),
            "{time}"
        );
    }
}

#[test]
fn bytes_that_are_no_text_come_back_as_they_were() {
    let world = World::served();
    let all: Vec<u8> = (0..=255)
        .chain(b"\n\xff\xfe half \xe2\x82\n".iter().copied())
        .chain([0xe2, 0x82])
        .collect();
    let input = world.path("bytes");
    std::fs::write(&input, &all).expect("a file");
    ran(&world, "raw", &format!("cat {}", input.display()));
    assert_eq!(bytes(&world, "raw/1"), all);
    let records = records(&world, "raw/1");
    assert!(records.iter().any(|record| record["raw"].is_string()), "{records:?}");
    assert_eq!(world.run_of("raw/1")["output_bytes"], all.len());
}

#[test]
fn long_lines_are_kept_in_parts_and_come_back_whole() {
    let mut world = World::new();
    std::fs::write(
        world.path("taskd.toml"),
        "[limits]\noutput_compress_bytes = \"1 GiB\"\n",
    )
    .expect("a file");
    world.start();
    // Characters of three bytes, so that a cut may fall into one.
    let long: String = "€".repeat(100_000) + "\nshort\n";
    let input = world.path("long");
    std::fs::write(&input, &long).expect("a file");
    ran(&world, "long", &format!("cat {}", input.display()));
    assert_eq!(bytes(&world, "long/1"), long.as_bytes());
    let records = records(&world, "long/1");
    assert!(records.len() > 10, "{} records", records.len());
    assert!(
        records.iter().all(|record| record["raw"].is_null()),
        "a character was cut"
    );
    let ended = |record: &&Value| record["log"].as_str().is_some_and(|log| log.ends_with('\n'));
    assert_eq!(records.iter().filter(ended).count(), 2);
}

/// The most memory a process ever had, in KiB.
fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .expect("its peak");
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .expect("a number")
}

#[test]
fn a_hundred_megabytes_keep_head_and_tail_with_the_gap_marked_in_bounded_memory() {
    let mut world = World::new();
    std::fs::write(
        world.path("taskd.toml"),
        "[limits]\noutput_bytes = \"4 MiB\"\noutput_compress_bytes = \"1 GiB\"\n",
    )
    .expect("a file");
    world.start();
    // Lines of 100 bytes, each with its number.
    ran(&world, "flood", "seq -f %099.0f 1 1048576");
    let written = 100 * 1_048_576;
    let run = world.run_of("flood/1");
    assert_eq!(
        (&run["outcome"], &run["output_bytes"]),
        (&"succeeded".into(), &written.into()),
        "{run}"
    );
    for pid in world.processes() {
        let peak = peak_kib(pid);
        let name = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(peak < 64 * 1024, "{pid} ({name}) had {peak} KiB");
    }
    assert!(
        peak_kib(world.runner_pid()) < 24 * 1024,
        "the runner had {} KiB",
        peak_kib(world.runner_pid())
    );
    let records = records(&world, "flood/1");
    let gaps: Vec<usize> = (0..records.len()).filter(|&n| records[n]["gap"].is_object()).collect();
    let [gap] = gaps.as_slice() else {
        panic!("{} gaps", gaps.len())
    };
    assert_eq!(
        (&records[*gap]["stream"], &records[*gap]["log"]),
        (&"taskd".into(), &"".into())
    );
    let joined = |part: &[Value]| {
        part.iter()
            .map(|record| record["log"].as_str().expect("text"))
            .collect::<String>()
    };
    let (head, tail) = (joined(&records[..*gap]), joined(&records[gap + 1..]));
    let missing = records[*gap]["gap"]["bytes"].as_u64().expect("a number");
    assert_eq!(
        head.len() as u64 + missing + tail.len() as u64,
        written,
        "bytes are not accounted for"
    );
    for (kept, what) in [(&head, "head"), (&tail, "tail")] {
        let kept = kept.len() as u64;
        assert!(
            (MIB * 15 / 10..=MIB * 21 / 10).contains(&kept),
            "the {what} has {kept} bytes"
        );
    }
    let numbers = |text: &str| {
        text.lines()
            .filter(|line| line.len() == 99)
            .map(|line| line.parse::<u64>().expect("a number"))
            .collect::<Vec<_>>()
    };
    let (first, last) = (numbers(&head), numbers(&tail));
    assert!(
        first.iter().copied().eq(1..=first.len() as u64),
        "the head is not whole"
    );
    let from = 1_048_577 - last.len() as u64;
    assert!(last.iter().copied().eq(from..=1_048_576), "the tail is not whole");
    let shown = world.ctl(&["logs", "flood"]).ok();
    assert!(shown.contains("was not kept"), "the gap is not shown");
    assert_eq!(
        world.ctl(&["logs", "flood", "--tail", "1"]).ok(),
        format!("{:099}\n", 1_048_576)
    );
}

#[test]
fn following_prints_as_it_comes_and_ends_with_the_run() {
    let world = World::served();
    world.add_gated("long", 3);
    world.run_up("long");
    let mut following = world
        .taskctl(&["logs", "-f", "long"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdout = BufReader::new(following.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    assert_eq!(line, "up\n");
    assert!(
        following.try_wait().expect("a child").is_none(),
        "it ended before the run"
    );
    world.open_gate("long");
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("the rest");
    assert_eq!(rest, "over\n");
    assert_eq!(following.wait().expect("it ends").code(), Some(0));
}

#[test]
fn following_begins_before_there_is_any_output() {
    let world = World::served();
    let gate = world.path("late.gate");
    let line = format!("while [ ! -e {} ]; do sleep 0.02; done; echo late", gate.display());
    world.ctl(&["add", "--name", "late", "--manual", "--shell", &line]).ok();
    world.ctl(&["run", "late"]).ok();
    wait_for("the run to have begun", || {
        (world.run_of("late/1")["state"] == "running").then_some(())
    });
    wait_for("others to have left", || (world.connections() == 0).then_some(()));
    let following = world
        .taskctl(&["logs", "-f", "late/1"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    wait_for("it to ask", || (world.connections() > 0).then_some(()));
    world.open_gate("late");
    let output = following.wait_with_output().expect("it ends");
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(0), &b"late\n"[..])
    );
}

#[test]
fn a_background_child_that_keeps_the_pipe_open_does_not_keep_the_run_alive() {
    let world = World::served();
    ran(&world, "parent", "sleep 1000 & echo done");
    assert_eq!(bytes(&world, "parent/1"), b"done\n");
    assert_eq!(world.run_of("parent/1")["outcome"], "succeeded");
}
