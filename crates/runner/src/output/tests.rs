use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde_json::Value;

use super::*;

struct Written {
    directory: tempfile::TempDir,
    output: Option<Output>,
    batch: Vec<u8>,
}

impl Written {
    fn new(max: u64) -> Self {
        let directory = tempfile::tempdir().expect("room");
        let output = Some(Output::new(
            directory.path().join("output/1/1.1.jsonl"),
            max,
            Earlier::default(),
        ));
        Written {
            directory,
            output,
            batch: Vec::new(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("output/1/1.1.jsonl")
    }

    fn feed(&mut self, stream: Stream, bytes: &[u8]) {
        let output = self.output.as_mut().expect("not ended");
        output.feed(stream, bytes, &mut self.batch);
    }

    fn out(&mut self, bytes: &[u8]) {
        self.feed(Stream::Stdout, bytes);
    }

    /// Ends it and gives back bytes written and bytes lost.
    fn end(&mut self) -> (u64, u64) {
        let mut output = self.output.take().expect("not ended");
        let seal = output.end(&mut self.batch);
        let counts = (output.bytes(), output.lost());
        let kept = if seal { output.seal().kept } else { output.kept() };
        let found = fs::metadata(self.path()).map_or(0, |found| on_disk(&found));
        assert_eq!(kept, Some(found));
        counts
    }

    fn records(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path()).expect("there is a file");
        assert!(text.ends_with('\n'));
        text.lines()
            .map(|line| serde_json::from_str(line).expect("each line is JSON"))
            .collect()
    }

    /// `log` and stream of each record.
    fn logs(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        self.records()
            .iter()
            .map(|record| (text(&record["log"]), text(&record["stream"])))
            .collect()
    }
}

fn log(text: &str, stream: &str) -> (String, String) {
    (text.to_owned(), stream.to_owned())
}

/// The bytes before the gap, the gap, the bytes after it.
fn split_at_gap(records: &[Value]) -> (String, u64, String) {
    let at = records
        .iter()
        .position(|record| record["stream"] == "taskd")
        .expect("a gap");
    let join = |records: &[Value]| {
        records
            .iter()
            .map(|record| record["log"].as_str().expect("text"))
            .collect::<String>()
    };
    let gap = records[at]["gap"]["bytes"].as_u64().expect("a number");
    (join(&records[..at]), gap, join(&records[at + 1..]))
}

#[test]
fn the_beginning_of_a_line_is_written_when_its_rest_does_not_come() {
    let mut written = Written::new(1 << 20);
    let mut batch = Vec::new();
    let output = written.output.as_mut().expect("not ended");
    assert!(
        output.feed(Stream::Stdout, b"name: ", &mut batch),
        "it is to be flushed"
    );
    assert!(!output.feed(
        Stream::Stderr,
        "50 % \u{20ac}".as_bytes().split_last().expect("some").1,
        &mut batch
    ));
    output.flush(&mut batch);
    // A character is not cut, and what was written is not written again.
    output.flush(&mut batch);
    let logs = [log("name: ", "stdout"), log("50 % ", "stderr")];
    assert_eq!(written.logs(), logs);
    let output = written.output.as_mut().expect("not ended");
    assert!(
        !output.feed(Stream::Stderr, b"\xac\n", &mut batch),
        "nothing is held back"
    );
    written.out(b"me\n");
    let rest = [log("\u{20ac}\n", "stderr"), log("me\n", "stdout")];
    assert_eq!(written.logs()[2..], rest);
}

#[test]
fn a_silent_command_has_no_file() {
    let mut written = Written::new(1000);
    assert_eq!(written.end(), (0, 0));
    assert!(!written.directory.path().join("output").exists());
}

#[test]
fn lines_are_records_and_what_has_no_newline_is_a_part() {
    let mut written = Written::new(1000);
    written.out(b"one\ntw");
    written.feed(Stream::Stderr, b"err\n\n");
    written.out(b"o\nthree");
    assert_eq!(written.end(), (18, 0));
    assert_eq!(
        written.logs(),
        [
            log("one\n", "stdout"),
            log("err\n", "stderr"),
            log("\n", "stderr"),
            log("two\n", "stdout"),
            log("three", "stdout"),
        ]
    );
    let time = written.records()[0]["time"].as_str().expect("text").to_owned();
    assert!(time.parse::<jiff::Timestamp>().is_ok() && time.len() == 30, "{time}");
    let mode = |path: PathBuf| fs::metadata(path).expect("it exists").mode() & 0o777;
    assert_eq!(mode(written.path()), 0o600);
    assert_eq!(mode(written.directory.path().join("output/1")), 0o700);
}

#[test]
fn control_characters_quotes_and_backslashes_come_back() {
    let mut written = Written::new(1000);
    let text = "\u{0}\u{1}\u{1f}\t\r\"\\/\u{7f}é😀\u{2028}\n";
    written.out(text.as_bytes());
    written.end();
    assert_eq!(written.logs(), [log(text, "stdout")]);
}

#[test]
fn bytes_that_are_no_text_are_kept_exactly() {
    for (bytes, base64) in [
        (&b"\xff\n"[..], "/wo="),
        (b"a\xfeb\n", "Yf5iCg=="),
        (b"\x80\x81\n", "gIEK"),
    ] {
        let mut written = Written::new(1000);
        written.out(bytes);
        written.end();
        let record = &written.records()[0];
        assert_eq!(record["raw"], base64);
        assert_eq!(record["log"], String::from_utf8_lossy(bytes).as_ref());
    }
}

#[test]
fn long_lines_are_cut_between_characters() {
    let mut written = Written::new(1 << 20);
    let line = format!("a{}\n", "é".repeat(20_000));
    for chunk in line.as_bytes().chunks(1000) {
        written.out(chunk);
    }
    written.end();
    let logs = written.logs();
    assert!(written.records().iter().all(|record| record.get("raw").is_none()));
    assert!(logs.iter().all(|(log, _)| log.len() <= lines::RECORD_MAX));
    assert_eq!(logs.len(), 3);
    assert_eq!(logs.into_iter().map(|(log, _)| log).collect::<String>(), line);
}

#[test]
fn what_fits_the_cap_is_kept_whole() {
    let mut written = Written::new(400);
    let text = "0123456789012345678901234567890123456\n".repeat(10);
    written.out(text.as_bytes());
    assert_eq!(written.end(), (380, 0));
    assert_eq!(
        written.logs().len(),
        11,
        "the line across the middle of the cap is in two parts"
    );
    assert_eq!(written.logs().into_iter().map(|(log, _)| log).collect::<String>(), text);
}

#[test]
fn past_the_cap_head_and_tail_are_exact_and_the_gap_says_the_rest() {
    for max in [1000_u64, 10_000, 300_000] {
        let mut written = Written::new(max);
        let mut all = String::new();
        for number in 0..40_000 {
            let line = format!("this is the line with the number {number}\n");
            all.push_str(&line);
        }
        for chunk in all.as_bytes().chunks(4099) {
            written.out(chunk);
        }
        let (bytes, lost) = written.end();
        assert_eq!(bytes, all.len() as u64);
        let (head, gap, tail) = split_at_gap(&written.records());
        assert_eq!(head.len() as u64, max / 2);
        assert!(all.starts_with(&head) && all.ends_with(&tail));
        assert!(tail.len() as u64 <= max / 2, "{max}: tail {}", tail.len());
        assert!(tail.len() as u64 > max / 2 * 9 / 10 - 64, "{max}: tail {}", tail.len());
        assert!(tail.starts_with("this is the line"), "whole lines");
        assert_eq!(gap, lost);
        assert_eq!(head.len() as u64 + gap + tail.len() as u64, bytes);
        assert!(!written.path().with_extension("jsonl.tmp").exists());
    }
}

#[test]
fn the_disk_is_bounded_while_the_command_runs() {
    const MAX: u64 = 1 << 20;
    let mut written = Written::new(MAX);
    // Empty lines are the worst: 66 bytes of JSON each.
    for chunk in [&[b'\n'; 65536][..], &[b'x'; 65536]].repeat(12) {
        written.out(chunk);
        let used = fs::metadata(written.path()).expect("it exists").blocks() * 512;
        assert!(used < 6 * MAX, "{used} bytes on disk");
    }
    let (bytes, lost) = written.end();
    assert_eq!(bytes, 24 * 65536);
    let kept = fs::metadata(written.path()).expect("it exists");
    assert!(kept.len() < 5 * MAX && lost > bytes - MAX);
}

#[test]
fn without_holes_the_file_is_copied_and_says_the_same() {
    const MAX: u64 = 1 << 20;
    let mut written = Written::new(MAX);
    let output = written.output.take().expect("not ended");
    let keeper = output.keeper.without_holes();
    written.output = Some(Output { keeper, ..output });
    let mut all = String::new();
    for number in 0..80_000 {
        all.push_str(&format!("this is the line with the number {number}\n"));
    }
    let mut is_marked = false;
    for chunk in all.as_bytes().chunks(65536) {
        written.out(chunk);
        let text = fs::read(written.path()).expect("it exists");
        assert!(text.len() as u64 <= 6 * MAX, "{} bytes on disk", text.len());
        is_marked |= text.windows(7).any(|window| window == b"\"taskd\"");
    }
    assert!(is_marked, "the gap is marked while the command runs");
    let (bytes, lost) = written.end();
    let (head, gap, tail) = split_at_gap(&written.records());
    assert!(all.starts_with(&head) && all.ends_with(&tail));
    assert_eq!((head.len() as u64, gap), (MAX / 2, lost));
    assert_eq!(head.len() as u64 + gap + tail.len() as u64, bytes);
}

#[test]
fn a_cap_of_nothing_leaves_a_gap() {
    let mut written = Written::new(0);
    written.out(b"hello\nworld");
    assert_eq!(written.end(), (11, 11));
    assert_eq!(split_at_gap(&written.records()), (String::new(), 11, String::new()));
}

#[test]
fn what_cannot_be_written_is_counted_and_marked_when_it_can_be_again() {
    let mut written = Written::new(1000);
    // A file where the directory should be: as good as a full disk.
    let blocker = written.directory.path().join("output");
    fs::write(&blocker, "").expect("room");
    written.out(b"lost\n");
    written.out(b"lost too\n");
    fs::remove_file(&blocker).expect("it exists");
    written.out(b"kept\n");
    assert_eq!(written.end(), (19, 14));
    let (before, gap, after) = split_at_gap(&written.records());
    assert_eq!((before.as_str(), gap, after.as_str()), ("", 14, "kept\n"));
}

#[test]
fn what_is_counted_of_masked_output_is_what_is_written() {
    let masks = Masks::compile(&["[0-9]".to_owned()]).expect("it is right");
    let mut written = Written::new(8192);
    written.output.as_mut().expect("not ended").hide(Arc::new(masks));
    for _ in 0..1000 {
        written.out(b"1a1a1a1a1a1a1a1a\n");
    }
    written.out(b"1");
    let (bytes, lost) = written.end();
    let kept: usize = written.logs().iter().map(|(log, _)| log.len()).sum();
    assert_eq!(bytes, 1000 * (8 * 4 + 1) + 3);
    assert_eq!(bytes - lost, kept as u64);
}

#[test]
fn what_an_attempt_of_the_same_number_left_under_other_names_is_gone() {
    let mut written = Written::new(1024);
    let other = written.path().with_extension("out.zst");
    fs::create_dir_all(other.parent().expect("a directory")).expect("room");
    fs::write(&other, "old").expect("room");
    written.out(b"line\n");
    assert!(!other.exists());
    written.end();
    assert_eq!(written.logs().len(), 1);
}
