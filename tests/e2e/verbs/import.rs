//! `taskctl import`: all of a file or none, with the line of the first error.

use serde_json::json;

use crate::harness::{World, kill, run, texts};

fn line(name: &str) -> String {
    let task = json!({ "name": name, "schedule": { "kind": "manual" }, "action": { "kind": "shell", "line": "true" } });
    format!("{task}\n")
}

#[test]
fn a_file_or_the_input_is_taken_with_comments_and_blank_lines() {
    let world = World::served();
    let file = world.path("tasks.jsonl");
    std::fs::write(&file, format!("# two tasks\n\n{}\n  {}", line("a"), line("b"))).expect("a file");
    assert_eq!(
        world.ctl(&["import", file.to_str().expect("a path")]).ok(),
        "imported 2 tasks\n"
    );
    assert_eq!(
        world.ctl_reading(&["import", "-", "--json"], &line("c")).json(),
        json!({ "imported": 1 })
    );
    assert_eq!(
        world.ctl_reading(&["import", "-", "--json"], "").json(),
        json!({ "imported": 0 })
    );
    // Without an end of line, too.
    assert_eq!(
        world.ctl_reading(&["import", "-"], line("d").trim_end()).ok(),
        "imported 1 task\n"
    );
    assert_eq!(
        texts(&world.ctl(&["list", "--json"]).json(), "name"),
        ["a", "b", "c", "d"]
    );
}

#[test]
fn the_first_error_is_named_with_its_line_and_nothing_is_imported() {
    let world = World::served();
    world.ctl(&["add", "--name", "there", "--manual", "--", "true"]).ok();
    let cron = |expr: &str| {
        let task = json!({ "name": "x", "schedule": { "kind": "cron", "expr": expr }, "action": { "kind": "shell", "line": "true" } });
        format!("{task}\n")
    };
    let good = line("good");
    let cases: Vec<(String, i32, Vec<&str>)> = vec![
        (format!("{good}{{\n"), 1, vec!["line 2:", "nothing was imported"]),
        (format!("\n# x\n{good}nonsense\n"), 1, vec!["line 4:"]),
        (format!("{good}{{\"nam\":\"x\"}}\n"), 1, vec!["line 2:", "nam"]),
        (
            format!("{good}{}", cron("0 25 * * *")),
            1,
            vec!["line 2:", "0 25 * * *\n", "^^\n", "hint: "],
        ),
        (
            format!("{good}{}", cron("0 0 0 1 1 * 2001")),
            1,
            vec!["line 2:", "never fires"],
        ),
        (
            format!("{good}{}", line("there")),
            1,
            vec!["line 2:", "there is a task there already"],
        ),
        (format!("{good}{}{good}", line("other")), 1, vec!["line 3:", "line 1"]),
        (format!("{good}{}", line("no good")), 1, vec!["line 2:"]),
        (format!("{good}{}", line("")), 1, vec!["line 2:", "name"]),
        // The first error is the one named, whoever finds it.
        (format!("{good}{}{{\n", line("no good")), 1, vec!["line 2:"]),
        (format!("{good}{}{{\n", cron("61 * * * *")), 1, vec!["line 2:"]),
    ];
    for (text, code, said) in cases {
        let ran = world.ctl_reading(&["import", "-"], &text);
        assert_eq!((ran.code(), ran.stdout.as_str()), (code, ""), "{text}: {ran:?}");
        for part in said {
            assert!(ran.stderr.contains(part), "no {part:?} for\n{text}in\n{}", ran.stderr);
        }
        let error = world.ctl_reading(&["import", "-", "--json"], &text).error(code);
        assert_eq!(error["code"], "import-line", "{error}");
    }
    assert_eq!(texts(&world.ctl(&["list", "--json"]).json(), "name"), ["there"]);
}

#[test]
fn thousands_are_taken_at_once_and_an_error_on_the_last_line_undoes_all() {
    let world = World::served();
    let many: String = (0..5000).map(|n| line(&format!("t{n}"))).collect();
    let ran = world.ctl_reading(&["import", "-"], &(many.clone() + &line("t0")));
    assert!(ran.refused(1).contains("line 5001: the name t0 is on line 1 already"));
    assert_eq!(world.ctl(&["status", "--json"]).json()["tasks"], 0);
    assert_eq!(world.ctl_reading(&["import", "-"], &many).ok(), "imported 5000 tasks\n");
    assert_eq!(world.ctl(&["status", "--json"]).json()["tasks"], 5000);
}

#[test]
fn an_import_that_was_acknowledged_survives_a_kill() {
    let mut world = World::served();
    world.ctl_reading(&["import", "-"], &(line("a") + &line("b"))).ok();
    world.kill();
    world.start();
    assert_eq!(texts(&world.ctl(&["list", "--json"]).json(), "name"), ["a", "b"]);
}

#[test]
fn a_kill_at_any_moment_leaves_all_of_an_import_or_nothing() {
    const TASKS: usize = 3_000;
    let mut world = World::served();
    let file = world.path("tasks.jsonl");
    for round in 0..12_u64 {
        let text: String = (0..TASKS).map(|n| line(&format!("r{round}-{n}"))).collect();
        std::fs::write(&file, text).expect("a file");
        let mut import = world.taskctl(&["import", file.to_str().expect("a path")]);
        // The moment moves through what an import takes: reading, staging in parts, the last word.
        let moment = std::time::Duration::from_millis(round * 40);
        let daemon = world.pid();
        let killer = std::thread::spawn(move || {
            std::thread::park_timeout(moment);
            kill(daemon, rustix::process::Signal::KILL);
        });
        let ran = run(&mut import);
        killer.join().expect("no panic");
        world.kill();
        world.start();
        let listed = world.ctl(&["list", &format!("r{round}-*"), "--json"]);
        let there = if listed.code() == 4 {
            0
        } else {
            listed.json().as_array().expect("a list").len()
        };
        if ran.code() == 0 {
            assert_eq!(there, TASKS, "round {round}: it was acknowledged");
        } else {
            assert!(there == 0 || there == TASKS, "round {round}: {there} of {TASKS}");
        }
        if there == 0 {
            let again = world.ctl(&["import", file.to_str().expect("a path")]).ok();
            assert_eq!(
                again,
                format!("imported {TASKS} tasks\n"),
                "round {round}: its names are free"
            );
        }
    }
}

#[test]
fn two_imports_of_one_file_end_and_one_of_them_holds() {
    const TASKS: usize = 3_000;
    let world = World::served();
    let file = world.path("tasks.jsonl");
    let text: String = (0..TASKS).map(|n| line(&format!("t{n}"))).collect();
    std::fs::write(&file, text).expect("a file");
    let import = || {
        let mut command = world.taskctl(&["import", file.to_str().expect("a path")]);
        std::thread::spawn(move || run(&mut command))
    };
    let both = [import(), import()].map(|import| import.join().expect("no panic"));
    let done = both.iter().filter(|ran| ran.code() == 0).count();
    let there = world.ctl(&["status", "--json"]).json()["tasks"].clone();
    assert_eq!((done, there), (1, json!(TASKS)), "{both:?}");
    for ran in &both {
        let second = ran.stderr.contains("there is a task t0 already");
        assert!(ran.code() == 0 || second, "{ran:?}");
    }
}

#[test]
fn what_falls_due_while_a_large_import_is_taken_in_is_not_held_up() {
    let mut world = World::new();
    std::fs::write(world.path("taskd.toml"), "[limits]\ntasks_per_owner = 100000\n").expect("a file");
    world.start();
    world
        .ctl(&["add", "--name", "tick", "--every", "1s", "--", "true"])
        .ok();
    let text: String = (0..60_000).map(|n| line(&format!("t{n}"))).collect();
    world.ctl_reading(&["import", "-"], &text).ok();
    // A firing more than ten seconds late is a catch-up, one that was passed over is in `show`.
    let shown = world.ctl(&["show", "tick", "--json"]).json();
    assert_eq!(shown["passed"], json!([]), "{shown}");
    for run in world
        .ctl(&["runs", "tick", "--json"])
        .json()
        .as_array()
        .expect("a list")
    {
        assert_eq!(run["trigger"], "schedule", "{run}");
    }
}

#[test]
fn what_cannot_be_read_is_told() {
    let world = World::served();
    let said = world.ctl(&["import", "/no/such/file"]).refused(1);
    assert!(
        said.contains("/no/such/file") && said.contains("No such file"),
        "{said}"
    );
    assert_eq!(world.ctl(&["import", "--json", "/no/such/file"]).error(1)["code"], "io");
    world.ctl(&["import"]).refused(2);
    World::new().ctl_reading(&["import", "-"], &line("a")).refused(3);
}

#[test]
fn an_interval_that_add_refuses_is_refused_here_too() {
    let world = World::served();
    let task = json!({
        "name": "storm",
        "schedule": { "kind": "every", "interval_ms": 1 },
        "action": { "kind": "exec", "argv": ["true"] },
    });
    let ran = world.ctl_reading(&["import", "-"], &format!("{task}\n"));
    assert!(ran.refused(1).contains("at least 1s"));
}
