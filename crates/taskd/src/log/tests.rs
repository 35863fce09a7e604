use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::Value;

use super::*;

/// 2026-11-23T12:00:00.123Z
const NOON: i64 = 1_795_435_200_123;

fn options() -> Options {
    Options {
        config: LogConfig::default(),
        echo: Echo::Off,
        clock: || NOON,
    }
}

/// What the file holds after `events`, as JSON.
fn logged(options: Options, events: impl FnOnce(&LogHandle)) -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    let (subscriber, handle) = open(dir.path(), options).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        events(&handle);
        drop(handle);
    });
    read(&dir.path().join("taskd.log"))
}

fn read(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    text.lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

fn text_of(events: impl FnOnce()) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (subscriber, handle) = open(dir.path(), options()).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        events();
        drop(handle);
    });
    std::fs::read_to_string(dir.path().join("taskd.log")).unwrap()
}

#[derive(Debug, thiserror::Error)]
#[error("outer")]
struct Outer(#[source] std::fmt::Error);

#[test]
fn a_line_has_its_fields_flat_and_typed() {
    let text = text_of(|| {
        tracing::info!(
            task = "backup",
            run = 42_u64,
            attempt = 1,
            trace_id = %"4bf92f3577b34da6a3ce929d0e0e4736",
            outcome = "succeeded",
            duration_ms = 1500_u64,
            exit_code = Option::<i32>::None,
            signal = Some(-9),
            share = 0.5,
            adopted = true,
            "run finished"
        );
    });
    assert_eq!(
        text,
        concat!(
            r#"{"ts":"2026-11-23T12:00:00.123Z","level":"info","msg":"run finished","task":"backup","run":42,"#,
            r#""attempt":1,"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","outcome":"succeeded","duration_ms":1500,"#,
            r#""signal":-9,"share":0.5,"adopted":true}"#,
            "\n"
        )
    );
}

#[test]
fn errors_are_written_with_their_causes() {
    let error = Outer(std::fmt::Error);
    let lines = logged(options(), |_| {
        tracing::error!(error = &error as &dyn std::error::Error, shown = %error, list = ?[1, 2], "bad");
    });
    assert_eq!(lines[0]["error"], format!("outer: {}", std::fmt::Error));
    assert_eq!(
        (&lines[0]["shown"], &lines[0]["list"]),
        (&"outer".into(), &"[1, 2]".into())
    );
}

#[test]
fn what_has_no_json_number_is_a_text() {
    let lines = logged(options(), |_| {
        tracing::info!(big = u128::MAX, nan = f64::NAN, huge = u64::MAX, "numbers");
    });
    assert_eq!(lines[0]["big"], u128::MAX.to_string());
    assert_eq!(lines[0]["nan"], "NaN");
    assert_eq!(lines[0]["huge"], u64::MAX);
}

#[test]
fn a_field_cannot_hide_one_that_every_line_has() {
    let lines = logged(options(), |_| tracing::info!(ts = 1, level = "x", msg = "y", "real"));
    assert_eq!(lines[0]["msg"], "real");
    assert_eq!(lines[0]["level"], "info");
    assert_eq!((&lines[0]["ts_"], &lines[0]["msg_"]), (&1.into(), &"y".into()));
}

#[test]
fn nothing_in_the_file_moves_a_terminal_or_ends_a_line() {
    let nasty = "a\u{1b}[2J\u{9b}31m\u{7f}\r\n\t\"\\\u{202e}\u{2028}\0ü…";
    let text = text_of(|| tracing::warn!(task = nasty, "{nasty}"));
    assert_eq!(text.matches('\n').count(), 1);
    assert!(
        !text
            .trim_end()
            .contains(|c: char| c.is_control() || c == '\u{202e}' || c == '\u{2028}'),
        "{text:?}"
    );
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&line["task"], &line["msg"]),
        (&nasty.into(), &nasty.into()),
        "it is all there"
    );
}

#[test]
fn a_long_text_is_cut() {
    let long = "ü".repeat(10_000);
    let lines = logged(options(), |_| tracing::info!(value = long.as_str(), "x"));
    let value = lines[0]["value"].as_str().unwrap();
    assert!(
        value.ends_with("ü…") && value.len() == 8192 + '…'.len_utf8(),
        "{}",
        value.len()
    );
}

#[test]
fn the_target_is_told_where_debugging() {
    let mut options = options();
    options.config.level = LevelFilter::DEBUG;
    let lines = logged(options, |_| {
        tracing::debug!("deep");
        tracing::info!("not so deep");
        tracing::trace!("too deep");
    });
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["target"], module_path!());
    assert_eq!(lines[1].get("target"), None);
}

#[test]
fn the_level_may_change_while_it_runs() {
    let lines = logged(options(), |handle| {
        let say = || tracing::debug!("detail");
        say();
        let mut options = options();
        options.config.level = LevelFilter::DEBUG;
        handle.reload(options.clone());
        say();
        options.config.level = LevelFilter::ERROR;
        handle.reload(options.clone());
        say();
        tracing::warn!("unheard");
        tracing::error!("heard");
    });
    let said: Vec<&str> = lines.iter().filter_map(|line| line["msg"].as_str()).collect();
    assert_eq!(said, ["detail", "heard"]);
}

#[test]
fn what_was_said_before_the_end_is_written() {
    const LINES: u64 = 20_000;
    let lines = logged(options(), |handle| {
        for n in 0..LINES {
            tracing::info!(n, "line");
        }
        assert_eq!(handle.lost(), 0);
    });
    let numbers: Vec<u64> = lines.iter().filter_map(|line| line["n"].as_u64()).collect();
    assert_eq!(numbers, (0..LINES).collect::<Vec<u64>>());
}

#[test]
fn flush_waits_for_what_was_said() {
    let dir = tempfile::tempdir().unwrap();
    let (subscriber, handle) = open(dir.path(), options()).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        for n in 0..100 {
            tracing::info!(n, "line");
            assert!(handle.account.wait(Duration::from_secs(60)));
            assert_eq!(read(handle.path()).len(), n + 1);
        }
    });
}

#[test]
fn a_new_day_begins_a_new_file_and_sighup_finds_a_lost_one() {
    static NOW: AtomicI64 = AtomicI64::new(NOON);
    let dir = tempfile::tempdir().unwrap();
    let mut timed = options();
    timed.clock = || NOW.load(Ordering::SeqCst);
    let (subscriber, handle) = open(dir.path(), timed).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!("first day");
        NOW.fetch_add(24 * 3600 * 1000, Ordering::SeqCst);
        tracing::info!("second day");
        assert!(handle.account.wait(Duration::from_secs(60)));
        assert_eq!(read(&dir.path().join("taskd.log.1"))[0]["msg"], "first day");
        assert_eq!(read(handle.path())[0]["ts"], "2026-11-24T12:00:00.123Z");

        std::fs::rename(handle.path(), dir.path().join("moved")).unwrap();
        handle.reload(options());
        tracing::info!("after the move");
        assert!(handle.account.wait(Duration::from_secs(60)));
        assert_eq!(read(handle.path())[0]["msg"], "after the move");
    });
}

#[test]
fn loss_on_a_full_disk_is_counted_and_told() {
    // Without its directory the log has no room either.
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("log");
    std::fs::create_dir(&dir).unwrap();
    let (subscriber, handle) = open(&dir, options()).unwrap();
    let flush = || assert!(handle.account.wait(Duration::from_secs(60)));
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!("kept");
        flush();
        std::fs::remove_dir_all(&dir).unwrap();
        handle.reload(options());
        for _ in 0..3 {
            tracing::info!("lost");
        }
        flush();
        assert_eq!(handle.lost(), 3);
        std::fs::create_dir(&dir).unwrap();
        tracing::info!("kept again");
        flush();
    });
    let lines = read(handle.path());
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(
        (&lines[0]["msg"], &lines[0]["level"], &lines[0]["lost"]),
        (&"lines of this log were lost".into(), &"warn".into(), &3.into())
    );
    assert_eq!(lines[0]["ts"], "2026-11-23T12:00:00.123Z");
    assert!(
        lines[0]["error"].as_str().unwrap().contains("No such file"),
        "{lines:?}"
    );
    assert_eq!(lines[1]["msg"], "kept again");
    assert_eq!(handle.lost(), 3, "they stay lost");
}

#[test]
fn a_log_that_cannot_be_written_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let Err(error) = open(&dir.path().join("absent"), options()) else {
        panic!("it opened");
    };
    assert!(error.to_string().contains("absent/taskd.log"), "{error}");
}
