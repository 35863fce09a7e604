//! `taskctl import`: all of a file or none, with the line of the first error.

use serde_json::json;

use crate::harness::{World, texts};

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
