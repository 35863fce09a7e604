use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use super::*;

const NONE: Option<&str> = None;

/// A line of exactly `bytes` bytes on a day of November 2026.
fn line(day: u32, bytes: usize, tag: char) -> Vec<u8> {
    let mut line = format!(r#"{{"ts":"2026-11-{day:02}T12:00:00.000Z","msg":""#).into_bytes();
    line.resize(bytes - 3, tag as u8);
    line.extend_from_slice(b"\"}\n");
    line
}

struct Fixture {
    dir: tempfile::TempDir,
    wishes: Arc<Wishes>,
    log: Rotating,
}

impl Fixture {
    fn new(files: u32, file_bytes: u64) -> Fixture {
        Fixture::within(tempfile::tempdir().unwrap(), files, file_bytes)
    }

    fn within(dir: tempfile::TempDir, files: u32, file_bytes: u64) -> Fixture {
        let wishes = Arc::new(Wishes::new(Bounds { files, file_bytes }));
        let log = Rotating::open(dir.path().join("taskd.log"), Arc::clone(&wishes)).unwrap();
        Fixture { dir, wishes, log }
    }

    /// The same directory after a restart of the daemon.
    fn restarted(self) -> Fixture {
        let Bounds { files, file_bytes } = self.log.bounds;
        Fixture::within(self.dir, files, file_bytes)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// The tag of each line in a file, or nothing when there is no such file.
    fn tags(&self, name: &str) -> Option<String> {
        let text = fs::read(self.path(name)).ok()?;
        Some(
            text.split_inclusive(|byte| *byte == b'\n')
                .map(|line| {
                    let whole = line.starts_with(b"{") && line.ends_with(b"\"}\n");
                    if whole { line[line.len() - 4] as char } else { '?' }
                })
                .collect(),
        )
    }

    #[track_caller]
    fn expect(&self, files: &[Option<&str>]) {
        for (number, expected) in files.iter().enumerate() {
            let name = match number {
                0 => "taskd.log".to_owned(),
                number => format!("taskd.log.{number}"),
            };
            assert_eq!(self.tags(&name).as_deref(), *expected, "{name} of {:?}", self.names());
        }
    }
}

#[test]
fn a_file_is_full_when_the_next_line_does_not_fit() {
    let mut f = Fixture::new(10, 200);
    for tag in ['a', 'b', 'c'] {
        f.log.write_line(&line(23, 100, tag)).unwrap();
    }
    f.expect(&[Some("c"), Some("ab"), NONE]);
    // A line longer than any file has one to itself.
    f.log.write_line(&line(23, 500, 'd')).unwrap();
    f.log.write_line(&line(23, 100, 'e')).unwrap();
    f.expect(&[Some("e"), Some("d"), Some("c"), Some("ab"), NONE]);
}

#[test]
fn there_are_never_more_files_than_allowed() {
    for files in [1, 2, 3] {
        let mut f = Fixture::new(files, 100);
        for tag in 'a'..='h' {
            f.log.write_line(&line(23, 100, tag)).unwrap();
            assert!(f.names().len() <= files as usize, "{files}: {:?}", f.names());
        }
        let expected = [Some("h"), Some("g"), Some("f"), NONE];
        for (number, tags) in expected.iter().enumerate() {
            let kept = number < files as usize;
            let name = [".", ".1", ".2", ".3"][number].trim_end_matches('.').to_owned();
            assert_eq!(
                f.tags(&format!("taskd.log{name}")).as_deref(),
                tags.filter(|_| kept),
                "{files}: {number}"
            );
        }
    }
}

#[test]
fn each_day_has_its_file() {
    let mut f = Fixture::new(10, 10_000);
    for (day, tag) in [(22, 'a'), (22, 'b'), (23, 'c')] {
        f.log.write_line(&line(day, 100, tag)).unwrap();
    }
    f.expect(&[Some("c"), Some("ab"), NONE]);
    // The day is that of the lines, so it is known after a restart too.
    let mut f = f.restarted();
    f.log.write_line(&line(23, 100, 'd')).unwrap();
    f.expect(&[Some("cd"), Some("ab"), NONE]);
    let mut f = f.restarted();
    f.log.write_line(&line(24, 100, 'e')).unwrap();
    f.expect(&[Some("e"), Some("cd"), Some("ab"), NONE]);
}

#[test]
fn a_clock_set_back_rotates_nothing() {
    let mut f = Fixture::new(10, 10_000);
    for (day, tag) in [(23, 'a'), (21, 'b'), (21, 'c')] {
        f.log.write_line(&line(day, 100, tag)).unwrap();
    }
    f.expect(&[Some("abc"), NONE]);
    f.log.write_line(&line(22, 100, 'd')).unwrap();
    f.expect(&[Some("d"), Some("abc"), NONE]);
}

#[test]
fn a_file_taken_away_is_made_anew() {
    let mut f = Fixture::new(10, 10_000);
    f.log.write_line(&line(23, 100, 'a')).unwrap();
    fs::remove_file(f.path("taskd.log")).unwrap();
    f.log.idle();
    f.log.write_line(&line(23, 100, 'b')).unwrap();
    f.expect(&[Some("b"), NONE]);

    // As an outside rotation does it, then SIGHUP.
    fs::rename(f.path("taskd.log"), f.path("old")).unwrap();
    f.wishes.renew(f.log.bounds);
    f.log.write_line(&line(23, 100, 'c')).unwrap();
    f.expect(&[Some("c"), NONE]);
    assert_eq!(f.tags("old").as_deref(), Some("b"));

    // Within one burst of lines it is noticed at rotation, and what stands there now is not shifted away.
    f.log.bounds.file_bytes = 200;
    fs::rename(f.path("taskd.log"), f.path("older")).unwrap();
    fs::write(f.path("taskd.log"), line(23, 100, 'x')).unwrap();
    for tag in ['d', 'e'] {
        f.log.write_line(&line(23, 100, tag)).unwrap();
    }
    f.expect(&[Some("xe"), NONE]);
    assert_eq!(f.tags("older").as_deref(), Some("cd"));
}

#[test]
fn a_directory_that_comes_back_is_used_again() {
    let mut f = Fixture::new(10, 10_000);
    f.log.write_line(&line(23, 100, 'a')).unwrap();
    let dir = f.dir.path().to_owned();
    fs::remove_dir_all(&dir).unwrap();
    f.log.idle();
    assert!(f.log.write_line(&line(23, 100, 'b')).is_err());
    assert!(f.log.write_line(&line(23, 100, 'c')).is_err());
    fs::create_dir(&dir).unwrap();
    f.log.write_line(&line(23, 100, 'd')).unwrap();
    f.expect(&[Some("d"), NONE]);
}

#[test]
fn bounds_may_change_while_it_is_open() {
    let mut f = Fixture::new(5, 100);
    for tag in 'a'..='e' {
        f.log.write_line(&line(23, 100, tag)).unwrap();
    }
    fs::write(f.path("taskd.log.7.gz"), "").unwrap();
    fs::write(f.path("taskd.log.old"), "").unwrap();
    fs::write(f.path("taskd.log.08"), "").unwrap();
    fs::write(f.path("taskd-audit.log.9"), "").unwrap();
    f.wishes.renew(Bounds {
        files: 2,
        file_bytes: 250,
    });
    for tag in ['f', 'g'] {
        f.log.write_line(&line(23, 100, tag)).unwrap();
    }
    f.expect(&[Some("g"), Some("ef"), NONE]);
    assert_eq!(
        f.names(),
        [
            "taskd-audit.log.9",
            "taskd.log",
            "taskd.log.08",
            "taskd.log.1",
            "taskd.log.7.gz",
            "taskd.log.old"
        ],
        "only files of the log itself go"
    );
}

#[test]
fn only_the_owner_may_read_it() {
    let mut f = Fixture::new(3, 100);
    for tag in ['a', 'b'] {
        f.log.write_line(&line(23, 100, tag)).unwrap();
    }
    for name in f.names() {
        assert_eq!(
            fs::metadata(f.path(&name)).unwrap().permissions().mode() & 0o777,
            0o600,
            "{name}"
        );
    }
}

#[test]
fn what_is_no_file_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let wishes = || {
        Arc::new(Wishes::new(Bounds {
            files: 2,
            file_bytes: 100,
        }))
    };
    let open = |name: &str| Rotating::open(dir.path().join(name), wishes());
    std::os::unix::fs::symlink("/dev/null", dir.path().join("link")).unwrap();
    assert!(open("link").is_err());
    fs::create_dir(dir.path().join("dir")).unwrap();
    assert!(open("dir").is_err());
    rustix::fs::mknodat(
        rustix::fs::CWD,
        dir.path().join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    // Opened to read and write, a pipe opens even without a reader.
    assert!(open("pipe").is_err());
}

/// A disk with so many bytes left.
fn limited(room: &Arc<AtomicU64>) -> WriteSome {
    let room = Arc::clone(room);
    Box::new(move |file, bytes| {
        let left = room.load(Ordering::SeqCst);
        let fitting = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        if fitting == 0 {
            return Err(io::Error::from(rustix::io::Errno::NOSPC));
        }
        room.fetch_sub(fitting as u64, Ordering::SeqCst);
        file.write(&bytes[..fitting])
    })
}

#[test]
fn a_full_disk_leaves_no_part_of_a_line() {
    let mut f = Fixture::new(10, 10_000);
    let room = Arc::new(AtomicU64::new(150));
    f.log.write_some = limited(&room);
    f.log.write_line(&line(23, 100, 'a')).unwrap();
    let error = f.log.write_line(&line(23, 100, 'b')).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    f.expect(&[Some("a")]);
    room.store(1000, Ordering::SeqCst);
    f.log.write_line(&line(23, 100, 'c')).unwrap();
    f.expect(&[Some("ac")]);
}

#[test]
fn lines_of_another_writer_are_not_cut_off_with_a_part_of_ours() {
    let mut f = Fixture::new(10, 10_000);
    let path = f.path("taskd.log");
    let mut calls = 0;
    f.log.write_some = Box::new(move |file, bytes| {
        calls += 1;
        match calls {
            1 => file.write(&bytes[..50]),
            2 => {
                let mut other = OpenOptions::new().append(true).open(&path).unwrap();
                other.write_all(b"theirs\n").unwrap();
                Err(io::Error::from(rustix::io::Errno::NOSPC))
            }
            _ => file.write(bytes),
        }
    });
    assert!(f.log.write_line(&line(23, 100, 'a')).is_err());
    f.log.write_line(&line(23, 100, 'b')).unwrap();
    let text = fs::read_to_string(f.path("taskd.log")).unwrap();
    assert!(text.contains("theirs\n"), "{text}");
    assert_eq!(text.lines().filter(|line| line.ends_with("b\"}")).count(), 1, "{text}");
    let ours = line(23, 100, 'b');
    assert!(text.as_bytes().ends_with(&ours), "{text}");
}

#[test]
fn lines_written_at_once_are_where_they_would_be_one_by_one() {
    let batches: [&[(u32, usize, char)]; 6] = [
        &[(23, 100, 'a'), (23, 60, 'b'), (23, 80, 'c')],
        &[(23, 100, 'd'), (23, 100, 'e'), (23, 150, 'f'), (23, 100, 'g')],
        &[(24, 50, 'h'), (24, 50, 'i')],
        &[(24, 50, 'j'), (25, 50, 'k')],
        &[(24, 50, 'l'), (24, 50, 'm')],
        &[(25, 50, 'n')],
    ];
    let (mut together, mut each) = (Fixture::new(10, 400), Fixture::new(10, 400));
    let mut at_once = Vec::new();
    for batch in batches {
        let lines: Vec<Vec<u8>> = batch.iter().map(|(day, bytes, tag)| line(*day, *bytes, *tag)).collect();
        let written = together.log.write_at_once(&lines.concat());
        at_once.push(written > 0);
        for line in lines.concat()[written..].split_inclusive(|byte| *byte == b'\n') {
            together.log.write_line(line).unwrap();
        }
        for line in &lines {
            each.log.write_line(line).unwrap();
        }
    }
    assert_eq!(at_once, [true, false, true, false, true, true]);
    assert_eq!(together.names(), each.names());
    for name in each.names() {
        assert_eq!(together.tags(&name), each.tags(&name), "{name}");
    }
}

#[test]
fn of_lines_that_could_not_be_written_at_once_those_are_told_that_were() {
    let lines = ['a', 'b', 'c'].map(|tag| line(23, 100, tag)).concat();
    let mut f = Fixture::new(10, 10_000);
    f.log.write_some = limited(&Arc::new(AtomicU64::new(250)));
    assert_eq!(f.log.write_at_once(&lines), 0, "they were taken back");
    f.expect(&[Some("")]);
    // Not where somebody else has written meanwhile.
    let path = f.path("taskd.log");
    let mut calls = 0;
    f.log.write_some = Box::new(move |file, bytes| {
        calls += 1;
        match calls {
            1 => file.write(&bytes[..250]),
            2 => {
                let mut other = OpenOptions::new().append(true).open(&path).unwrap();
                other.write_all(b"theirs\n").unwrap();
                Err(io::Error::from(rustix::io::Errno::NOSPC))
            }
            _ => file.write(bytes),
        }
    });
    assert_eq!(f.log.write_at_once(&lines), 200);
    f.log.write_line(&lines[200..]).unwrap();
    f.expect(&[Some("ab??c")]);
}

#[test]
fn a_line_torn_by_a_crash_does_not_spoil_the_next() {
    let f = Fixture::new(10, 10_000);
    let mut torn = line(23, 100, 'a');
    torn.extend_from_slice(&line(23, 100, 'b')[..60]);
    fs::write(f.path("taskd.log"), torn).unwrap();
    let mut f = f.restarted();
    f.log.write_line(&line(23, 100, 'c')).unwrap();
    f.expect(&[Some("a?c")]);
}

#[test]
fn when_rotation_fails_lines_go_on_and_nothing_is_shifted_away() {
    let mut f = Fixture::new(3, 300);
    for tag in 'a'..='c' {
        f.log.write_line(&line(23, 100, tag)).unwrap();
    }
    // A directory that is not empty cannot be replaced by the rename.
    let blocker = f.path("taskd.log.1");
    fs::create_dir_all(blocker.join("x")).unwrap();
    let second = f.path("taskd.log.2");
    fs::create_dir_all(second.join("x")).unwrap();
    for tag in 'd'..='f' {
        f.log.write_line(&line(23, 100, tag)).unwrap();
    }
    f.expect(&[Some("abcdef")]);
    assert!(
        f.log.write_line(&line(23, 100, 'g')).is_err(),
        "at twice the size it is over"
    );
    fs::remove_dir_all(&blocker).unwrap();
    fs::remove_dir_all(&second).unwrap();
    f.log.write_line(&line(23, 100, 'h')).unwrap();
    f.expect(&[Some("h"), Some("abcdef"), NONE]);
}

/// The other half of the next test, in a mount namespace of its own with 64 KiB of disk at `$TASKD_TEST_TMPFS`.
#[test]
#[ignore = "the other half of a_real_full_disk_is_survived"]
fn on_a_small_disk() {
    let Some(dir) = std::env::var_os("TASKD_TEST_TMPFS") else {
        return;
    };
    let dir = Path::new(&dir);
    let wishes = Arc::new(Wishes::new(Bounds {
        files: 10,
        file_bytes: 1 << 20,
    }));
    let mut log = Rotating::open(dir.join("taskd.log"), wishes).unwrap();
    let mut written = 0;
    let error = loop {
        match log.write_line(&line(23, 1000, 'a')) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 1000, "the disk has no end");
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert!(written > 30, "{written}");
    let text = fs::read(dir.join("taskd.log")).unwrap();
    assert_eq!(text, line(23, 1000, 'a').repeat(written), "whole lines only");
    fs::remove_file(dir.join("ballast")).unwrap();
    log.write_line(&line(23, 1000, 'b')).unwrap();
    let text = fs::read(dir.join("taskd.log")).unwrap();
    assert_eq!(text.len(), (written + 1) * 1000);
    assert!(text.ends_with(&line(23, 1000, 'b')));
}

#[test]
fn a_real_full_disk_is_survived() {
    let dir = tempfile::tempdir().unwrap();
    let prepare = r#"mount -t tmpfs -o size=64k tmpfs "$TASKD_TEST_TMPFS" || exit 77
        head -c 16384 /dev/zero > "$TASKD_TEST_TMPFS/ballast" || exit 1
        exec "$0" --exact log::rotate::tests::on_a_small_disk --ignored"#;
    // As root, or as root of a user namespace of its own; either way the mount ends with the child.
    for space in [&["--mount"][..], &["--user", "--map-root-user", "--mount"][..]] {
        let run = std::process::Command::new("unshare")
            .args(space)
            .args(["sh", "-c", prepare])
            .arg(std::env::current_exe().unwrap())
            .env("TASKD_TEST_TMPFS", dir.path())
            .output();
        let Ok(run) = run else { continue };
        let said = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
        if run.status.success() {
            assert!(said.contains("1 passed"), "{said}");
            return;
        }
        assert!(
            run.status.code() == Some(77) || said.contains("unshare failed"),
            "{said}"
        );
    }
    // A promise that nobody tries is not held: who cannot mount says so.
    assert!(
        std::env::var_os("TASKD_TEST_NO_MOUNT").is_some(),
        "this user may not mount a file system; TASKD_TEST_NO_MOUNT=1 leaves this out"
    );
}
