//! `--output`, `--mask`, `--output-max`, `--keep-runs`, `--keep-for`: what a task keeps of its runs.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use serde_json::{Value, json};

use super::export;
use crate::harness::{World, wait_for};

fn add(world: &World, name: &str, options: &[&str], line: &str) {
    let named = ["add", "--name", name, "--manual"];
    world.ctl(&[&named, options, &["--shell", line]].concat()).ok();
}

fn runs(world: &World, task: &str) -> Vec<String> {
    let listed = world.ctl(&["runs", task, "--json"]).json();
    let listed = listed.as_array().expect("an array");
    listed
        .iter()
        .map(|run| run["run"].as_str().expect("a name").to_owned())
        .collect()
}

#[test]
fn an_output_has_the_cap_of_its_task() {
    let world = World::served();
    add(&world, "small", &["--output-max", "8KiB"], "seq -f %09.0f 1 5000");
    add(&world, "other", &[], "seq -f %09.0f 1 5000");
    for name in ["small", "other"] {
        world.ctl(&["run", "--wait", name]).ok();
    }
    let shown = world.ctl(&["logs", "small"]).ok();
    assert!(
        shown.starts_with("000000001\n") && shown.ends_with("000005000\n"),
        "{shown}"
    );
    assert!(shown.contains("of output was not kept here"), "{shown}");
    assert!(shown.len() < 9 * 1024, "{} bytes", shown.len());
    assert_eq!(world.ctl(&["logs", "other"]).ok().len(), 50_000);
}

#[test]
fn a_task_keeps_as_many_runs_as_it_says_and_their_output() {
    let world = World::served();
    add(&world, "few", &["--keep-runs", "2"], "echo $TASKD_RUN");
    add(&world, "other", &[], "echo $TASKD_RUN");
    for _ in 0..2 {
        world.ctl(&["run", "--wait", "few"]).ok();
        world.ctl(&["run", "--wait", "other"]).ok();
    }
    let first = world.ctl(&["logs", "few/1", "--path"]).ok();
    world.ctl(&["run", "--wait", "few"]).ok();
    wait_for("the oldest to go", || {
        (runs(&world, "few") == ["few/3", "few/2"]).then_some(())
    });
    assert!(!std::path::Path::new(first.trim_end()).exists(), "its output is there");
    assert_eq!(world.ctl(&["logs", "few/2"]).ok(), "few/2\n");
    assert_eq!(runs(&world, "other").len(), 2);
    world.ctl(&["edit", "few", "--keep-runs", "1"]).ok();
    wait_for("a change to hold at once", || {
        (runs(&world, "few") == ["few/3"]).then_some(())
    });
}

#[test]
fn what_is_kept_is_shown_changed_and_exported() {
    let world = World::served();
    let options = ["--output-max", "1MiB", "--keep-runs", "50", "--keep-for", "30d"];
    add(&world, "a", &options, "true");
    let kept = || {
        let shown = world.ctl(&["show", "a", "--json"]).json();
        ["output_max", "keep_runs", "keep_for_ms"].map(|key| shown[key].clone())
    };
    assert_eq!(kept(), [json!(1 << 20), json!(50), json!(2_592_000_000_u64)]);
    let shown = world.ctl(&["show", "a"]).ok();
    assert!(shown.contains("50 runs, for 30 d, up to 1.0 MiB of output"), "{shown}");
    export::is_whole(&world, &[]);
    world
        .ctl(&["edit", "a", "--output-max", "", "--keep-runs", "", "--keep-for", "1d"])
        .ok();
    assert_eq!(kept(), [json!(null), json!(null), json!(86_400_000)]);
    for (wrong, says) in [
        (["--output-max", "4095"], "4 KiB to 64 GiB"),
        (["--output-max", "10MB"], "this is no unit of size"),
        (["--keep-runs", "0"], "1 to 1,000,000"),
        (["--keep-runs", "x"], "this is no number"),
        (["--keep-for", "0s"], "for 1 s to 36,500 days"),
        (["--keep-for", "7"], "7 has no unit"),
    ] {
        let said = world.ctl(&[&["edit", "a"], wrong.as_slice()].concat()).refused(2);
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn a_command_may_write_its_output_into_a_file_itself() {
    let world = World::served();
    let line = r"printf 'one\377\n'; echo two >&2";
    add(&world, "raw", &["--output", "file"], line);
    let waited = world.taskctl(&["run", "--wait", "raw"]).output().expect("it ends");
    assert!(
        waited.status.success() && waited.stdout == b"one\xff\ntwo\n",
        "{waited:?}"
    );
    let path = world.ctl(&["logs", "raw", "--path"]).ok();
    assert!(path.trim_end().ends_with("/1.1.out"), "{path}");
    assert_eq!(std::fs::read(path.trim_end()).expect("it is there"), b"one\xff\ntwo\n");
    let shown = world.taskctl(&["logs", "raw"]).output().expect("it ends");
    assert_eq!(shown.stdout, b"one\xff\ntwo\n");
    assert_eq!(world.ctl(&["logs", "raw", "--tail", "1"]).ok(), "two\n");
    assert_eq!(world.ctl(&["logs", "raw/1", "--since", "2096-01-01"]).ok(), "");
    assert_eq!(world.ctl(&["logs", "raw", "--since", "1h", "-n", "1"]).ok(), "two\n");
    let lines: Vec<Value> = world
        .ctl(&["logs", "raw", "--json"])
        .ok()
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(
        lines,
        [
            json!({"log": "one\u{fffd}\n", "stream": null, "time": null, "raw": "b25l/wo="}),
            json!({"log": "two\n", "stream": null, "time": null})
        ]
    );
    let said = world.ctl(&["logs", "raw", "--timestamps"]).refused(2);
    assert!(
        said.contains("has no times") && said.contains("--output lines"),
        "{said}"
    );
    assert_eq!(world.run_of("raw/1")["output_bytes"], 9);
    // What was kept in another way before is still found.
    world.ctl(&["edit", "raw", "--output", "lines"]).ok();
    world.ctl(&["run", "--wait", "raw"]).ok();
    assert_eq!(world.ctl(&["logs", "raw/1", "--tail", "1"]).ok(), "two\n");
    assert!(world.ctl(&["logs", "raw/2", "--path"]).ok().ends_with("/2.1.jsonl\n"));
}

#[test]
fn nothing_may_go_on_that_writes_into_a_file_which_is_complete() {
    let world = World::served();
    let add = ["add", "--name", "f", "--manual"];
    let both = ["--output", "file", "--on-leftover", "leave", "--", "true"];
    let said = world.ctl(&[&add, both.as_slice()].concat()).refused(2);
    assert!(
        said.contains("which is complete then") && said.contains("--on-leftover kill"),
        "{said}"
    );
    for (name, before, after) in [
        ("a", ["--output", "file"], ["--on-leftover", "leave"]),
        ("b", ["--on-leftover", "leave"], ["--output", "file"]),
    ] {
        let one = ["add", "--name", name, "--manual", before[0], before[1], "--", "true"];
        world.ctl(&one).ok();
        world.ctl(&["edit", name, after[0], after[1]]).refused(2);
    }
    world
        .ctl(&["edit", "a", "--output", "lines", "--on-leftover", "leave"])
        .ok();
    world
        .ctl(&["edit", "b", "--output", "file", "--on-leftover", "kill"])
        .ok();
}

#[test]
fn a_file_that_a_run_writes_itself_can_be_followed() {
    let world = World::served();
    let line = world.gated_line("g", 0);
    add(&world, "g", &["--output", "file", "--output-max", "64KiB"], &line);
    world.ctl(&["run", "g"]).ok();
    let mut following = world
        .taskctl(&["logs", "-f", "g/1"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdout = BufReader::new(following.stdout.take().expect("a pipe"));
    let mut first = String::new();
    stdout.read_line(&mut first).expect("a line");
    assert_eq!(first, "up\n");
    world.open_gate("g");
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("the rest");
    assert_eq!(rest, "over\n");
    assert!(following.wait().expect("it ends").success());
}

#[test]
fn the_file_of_a_run_is_cut_at_its_end_and_pruned_with_it() {
    let world = World::served();
    let options = ["--output", "file", "--output-max", "8KiB", "--keep-runs", "1"];
    add(&world, "big", &options, "seq -f %09.0f 1 5000");
    world.ctl(&["run", "--wait", "big"]).ok();
    let shown = world.ctl(&["logs", "big"]).ok();
    assert!(
        shown.starts_with("000000001\n") && shown.ends_with("000005000\n") && shown.len() < 9_000,
        "{shown}"
    );
    assert!(shown.contains("bytes of output were not kept here]\n"), "{shown}");
    assert_eq!(world.run_of("big/1")["output_bytes"], 50_000);
    let first = world.ctl(&["logs", "big/1", "--path"]).ok();
    world.ctl(&["run", "--wait", "big"]).ok();
    wait_for("it to go with its run", || {
        (!std::path::Path::new(first.trim_end()).exists()).then_some(())
    });
}

#[test]
fn a_task_may_discard_its_output() {
    let world = World::served();
    add(
        &world,
        "loud",
        &["--output", "discard"],
        "echo out; echo err >&2; exit 3",
    );
    let waited = world.ctl(&["run", "--wait", "loud"]);
    assert_eq!((waited.code(), waited.stdout.as_str()), (3, ""));
    let logs = world.ctl(&["logs", "loud"]);
    assert!(
        logs.stderr
            .contains("nothing is kept of loud/1: its task discards its output"),
        "{logs:?}"
    );
    assert_eq!(logs.ok(), "");
    let path = world.ctl(&["logs", "loud", "--path"]);
    assert!(path.stderr.contains("its task discards its output"), "{path:?}");
    assert!(!std::path::Path::new(path.ok().trim_end()).exists());
    let shown = world.ctl(&["show", "loud"]).ok();
    assert!(shown.contains("no output"), "{shown}");
    world.ctl(&["edit", "loud", "--output", "file"]).ok();
    assert_eq!(world.ctl(&["show", "loud", "--json"]).json()["output"], "file");
    export::is_whole(&world, &[]);
}

#[test]
fn what_is_masked_is_never_written_anywhere_but_in_the_definition() {
    let world = World::served();
    let line = r"printf 'a tok'; sleep 0.3; printf 'en=hunt'; sleep 0.3; printf 'er2 b\n'; echo key-1234 >&2; printf token=hunter3";
    let options = ["--mask", r"token=\S+", "--mask", "key-[0-9]+"];
    add(&world, "m", &options, line);
    let waited = world.ctl(&["run", "--wait", "m"]);
    assert_eq!(
        (waited.stdout.as_str(), waited.stderr.as_str()),
        ("a *** b\n***", "***\n")
    );
    let path = world.ctl(&["logs", "m", "--path"]).ok();
    let file = std::fs::read_to_string(path.trim_end()).expect("text");
    for secret in ["hunt", "1234", "token"] {
        assert!(!file.contains(secret), "{file}");
    }
    let log = world.ctl(&["logs", "--daemon", "--json"]).ok();
    assert!(!log.contains("token") && !log.contains("key-"), "{log}");
    let shown = world.ctl(&["show", "m"]).ok();
    assert!(
        shown.contains(r"masks        token=\S+") && shown.contains("key-[0-9]+"),
        "{shown}"
    );
    assert_eq!(
        world.ctl(&["show", "m", "--json"]).json()["mask"],
        json!([r"token=\S+", "key-[0-9]+"])
    );
    export::is_whole(&world, &[]);
    let said = world.ctl(&["edit", "m", "--output", "file"]).refused(2);
    assert!(
        said.contains("nothing can be masked") && said.contains("--mask ''"),
        "{said}"
    );
    world.ctl(&["edit", "m", "--output", "file", "--mask", ""]).ok();
    assert_eq!(world.ctl(&["show", "m", "--json"]).json()["mask"], json!([]));
}

#[test]
fn a_mask_that_cannot_be_used_is_refused_and_pointed_at() {
    let world = World::served();
    let refused = |mask: &str| {
        let masked = ["add", "--name", "m", "--manual", "--mask", mask, "--", "true"];
        world.ctl(&masked).refused(2)
    };
    let said = refused("token=(");
    assert!(
        said.contains("unclosed group\n  --mask token=(\n               ^\nhint: "),
        "{said}"
    );
    assert!(refused("x*").contains("it would match everywhere"));
    assert!(refused(r"(\w{100}){100}").contains("grows too large"));
    assert!(refused(&"x".repeat(1025)).contains("at most 1024 bytes"));
    assert!(refused(r"(?s)BEGIN.*END").contains("one line at a time"));
    let with_file = [
        "add", "--name", "m", "--manual", "--output", "file", "--mask", "x", "--", "true",
    ];
    let said = world.ctl(&with_file).refused(2);
    assert!(said.contains("nothing can be masked in a file"), "{said}");
    let many: Vec<&str> = (0..17).flat_map(|_| ["--mask", "x"]).collect();
    let said = world
        .ctl(&[&["add", "--manual"], many.as_slice(), &["--", "true"]].concat())
        .refused(2);
    assert!(said.contains("at most 16 masks"), "{said}");
}

#[test]
fn large_output_of_runs_that_are_over_is_compressed_and_read_as_before() {
    let world = World::served();
    let line = "seq -f 'the number %09.0f' 1 20000";
    add(&world, "lines", &[], line);
    add(&world, "raw", &["--output", "file"], line);
    add(&world, "small", &[], "seq 1 100");
    let text: String = (1..=20_000).map(|n| format!("the number {n:09}\n")).collect();
    for (name, ending) in [("lines", ".jsonl"), ("raw", ".out")] {
        assert_eq!(world.ctl(&["run", "--wait", name]).ok(), text);
        let path = wait_for("it to be compressed", || {
            let path = world.ctl(&["logs", name, "--path"]).ok().trim_end().to_owned();
            path.ends_with(&format!("{ending}.zst")).then_some(path)
        });
        wait_for("the other to be gone", || {
            (!std::path::Path::new(path.trim_end_matches(".zst")).exists()).then_some(())
        });
        let size = std::fs::metadata(&path).expect("it is there").len();
        assert!(size < text.len() as u64 / 4, "{size}");
        assert_eq!(world.ctl(&["logs", name]).ok(), text);
        assert_eq!(world.ctl(&["logs", "-f", name]).ok(), text);
        assert_eq!(world.ctl(&["logs", name, "-n", "1"]).ok(), "the number 000020000\n");
        assert_eq!(world.ctl(&["logs", name, "--since", "2096-01-01"]).ok(), "");
        // A line that is written slowly may come in two parts.
        let objects = world.ctl(&["logs", name, "--json"]).ok();
        let parts = objects.lines().map(|line| {
            let object: Value = serde_json::from_str(line).expect("an object");
            object["log"].as_str().expect("a text").to_owned()
        });
        assert_eq!(parts.collect::<String>(), text);
    }
    world.ctl(&["logs", "raw", "--timestamps"]).refused(2);
    assert!(
        world
            .ctl(&["logs", "lines", "-t", "-n", "1"])
            .ok()
            .ends_with(" the number 000020000\n")
    );
    world.ctl(&["run", "--wait", "small"]).ok();
    assert!(world.ctl(&["logs", "small", "--path"]).ok().ends_with(".jsonl\n"));
}

#[test]
fn large_output_of_a_run_that_is_stopped_between_two_attempts_is_compressed() {
    let world = World::served();
    let line = "yes 'a line like all the others' | head -c 300000; exit 3";
    let retry = ["--retries", "3", "--backoff", "1h..1h", "--output", "file"];
    world
        .ctl(&[&["add", "--name", "big", "--manual"], &retry[..], &["--shell", line]].concat())
        .ok();
    world.ctl(&["run", "big"]).ok();
    wait_for("the second attempt to be awaited", || {
        (world.run_of("big/1")["state"] == "backing-off").then_some(())
    });
    world.ctl(&["cancel", "big/1"]).ok();
    wait_for("it to be compressed", || {
        let path = world.ctl(&["logs", "--path", "big/1"]).ok();
        path.contains(".out.zst").then_some(())
    });
}

#[test]
fn what_an_earlier_daemon_left_is_compressed_and_the_bound_of_all_output_counts_what_is_on_disk() {
    let mut world = World::new();
    let config = |world: &World, compress: &str, total: &str| {
        let text = format!("[limits]\noutput_compress_bytes = \"{compress}\"\noutput_total_bytes = \"{total}\"\n");
        std::fs::write(world.path("taskd.toml"), text).expect("a file");
    };
    let paths = |world: &World| {
        (1..=4)
            .map(|n| world.ctl(&["logs", &format!("big/{n}"), "--path"]).ok())
            .collect()
    };
    config(&world, "1 TiB", "1 GiB");
    world.start();
    // Some 2 MiB of lines each, which become a tenth of that.
    add(&world, "big", &[], "seq -f 'the number %09.0f' 1 20000");
    for _ in 0..4 {
        world.ctl(&["run", "--wait", "big"]).ok();
    }
    let before: Vec<String> = paths(&world);
    assert!(before.iter().all(|path| path.ends_with(".jsonl\n")), "{before:?}");
    world.kill();
    config(&world, "64 KiB", "1 GiB");
    world.start();
    wait_for("all to be compressed", || {
        let after: Vec<String> = paths(&world);
        after.iter().all(|path| path.ends_with(".zst\n")).then_some(())
    });
    // By what they had they are too much, by what they have they are not.
    world.kill();
    config(&world, "64 KiB", "2 MiB");
    world.start();
    add(&world, "small", &["--keep-runs", "1"], "echo $TASKD_RUN");
    for _ in 0..2 {
        world.ctl(&["run", "--wait", "small"]).ok();
    }
    wait_for("the store to have pruned", || {
        (runs(&world, "small") == ["small/2"]).then_some(())
    });
    assert_eq!(world.ctl(&["logs", "big/4", "-n", "1"]).ok(), "the number 000020000\n");
    assert_eq!(world.ctl(&["logs", "big/2", "-n", "1"]).ok(), "the number 000020000\n");
}

#[test]
fn output_that_could_not_be_kept_is_missed_aloud() {
    let world = World::served();
    add(&world, "loud", &[], "echo out");
    // Where its directory would be made.
    let output = world.path("state/output");
    std::fs::create_dir_all(&output).unwrap();
    std::fs::write(output.join("1"), "").unwrap();
    world.ctl(&["run", "--wait", "loud"]).ok();
    for args in [&["logs", "loud"][..], &["logs", "loud", "--path"]] {
        let logs = world.ctl(args);
        let said = "loud/1 wrote 4 B, of which nothing could be kept on the disk";
        assert!(logs.stderr.contains(said), "{logs:?}");
        logs.ok();
    }
    let log = world.ctl(&["logs", "--daemon"]).ok();
    assert!(log.contains("nothing of the output of a run could be written"), "{log}");
}

#[test]
fn what_a_command_puts_in_the_place_of_its_output_is_not_followed() {
    let world = World::served();
    let place = |way: &str| format!("echo out; f=$(readlink /proc/$$/fd/1); rm $f; {way}");
    for (name, way) in [("link", "ln -s /etc/passwd $f"), ("pipe", "mkfifo $f")] {
        add(&world, name, &["--output", "file"], &place(way));
        world.ctl(&["run", name]).ok();
        let run = wait_for("its end", || {
            Some(world.run_of(name)).filter(|run| !run["outcome"].is_null())
        });
        assert_eq!(run["outcome"], "succeeded");
        let logs = world.ctl(&["logs", name]);
        assert_eq!(logs.stdout, "", "{logs:?}");
        assert_ne!(logs.code(), 0, "{logs:?}");
    }
}
