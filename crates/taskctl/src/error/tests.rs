//! Sentences, carets and codes.

use super::*;
use taskd_wire::hello::{Hello, agree};

fn human(refusal: Refusal) -> String {
    Failure::from(refusal).human(false)
}

#[test]
fn the_caret_stands_under_the_column() {
    let refusal = Refusal::BadField {
        field: "cron".into(),
        text: "0 25 * * *".into(),
        at: Some((2, 2)),
        problem: "25 is out of range: the hour field goes from 0 to 23".into(),
        cure: Some("write a number from 0 to 23".into()),
    };
    assert_eq!(
        human(refusal),
        "taskctl: 25 is out of range: the hour field goes from 0 to 23\n  \
         --cron 0 25 * * *\n           \
         ^^\n\
         hint: write a number from 0 to 23\n"
    );
}

#[test]
fn a_column_counts_characters_and_stays_in_sight() {
    let excerpt = Excerpt {
        label: "--cron".into(),
        text: "ä\u{1b} x".into(),
        at: (3, 1),
    };
    assert_eq!(excerpt.render("", ""), "  --cron ä\u{fffd} x\n            ^\n");

    let long = Excerpt {
        label: "l".into(),
        text: "a".repeat(500),
        at: (300, 400),
    };
    let shown = long.render("", "");
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], format!("  l …{}…", "a".repeat(100)));
    assert_eq!(
        lines[1],
        format!("{}{}", " ".repeat(2 + 1 + 1 + 1 + 50), "^".repeat(50))
    );

    let at_end = Excerpt {
        label: "l".into(),
        text: "ab".into(),
        at: (2, 0),
    };
    assert_eq!(at_end.render("", ""), "  l ab\n      ^\n");

    let wide = Excerpt {
        label: "日\u{1b}".into(),
        text: "日本語".into(),
        at: (1, 2),
    };
    assert_eq!(wide.render("", ""), "  日\u{fffd} 日本語\n        ^^^^\n");
}

#[test]
fn a_column_far_behind_the_end_points_at_the_end() {
    for text in ["ab".to_owned(), "a".repeat(500)] {
        let excerpt = Excerpt {
            label: "l".into(),
            text,
            at: (u32::MAX as usize, u32::MAX as usize),
        };
        let shown = excerpt.render("", "");
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[1].chars().count() <= lines[0].chars().count() + 1, "{shown}");
        assert!(lines[1].ends_with('^'), "{shown}");
    }
}

#[test]
fn a_misspelt_name_gets_a_suggestion_and_its_own_exit_code() {
    let failure = Failure::from(Refusal::UnknownTask {
        name: "bakcup".into(),
        near: vec!["backup".into(), "backup2".into()],
    });
    assert_eq!(failure.exit, Exit::NotFound);
    assert_eq!(
        failure.human(false),
        "taskctl: there is no task bakcup\nhint: did you mean backup or backup2?\n"
    );
    let pattern = human(Refusal::UnknownTask {
        name: "x-*".into(),
        near: vec![],
    });
    assert_eq!(
        pattern,
        "taskctl: no task matches x-*\nhint: `taskctl list` shows the tasks there are\n"
    );
}

#[test]
fn too_many_at_once_gets_a_way_on() {
    let refused = |what: &str| {
        Failure::from(Refusal::Limit {
            what: what.into(),
            limit: 10_000,
            actual: 10_001,
        })
    };
    assert!(
        refused("tasks at once")
            .hint
            .is_some_and(|hint| hint.contains("several steps"))
    );
    assert_eq!(refused("definition").hint, None);
}

#[test]
fn json_has_code_message_and_hint_always() {
    let failure = Failure::from(Refusal::NotRunning { run: "a/1".into() });
    assert_eq!(
        failure.json(),
        r#"{"code":"not-running","message":"a/1 is not running","hint":null}"#
    );
}

#[test]
fn an_import_names_the_line() {
    let refusal = Refusal::ImportLine {
        line: 7,
        refusal: Box::new(LineRefusal::NameTwice {
            name: "a".into(),
            line: 3,
        }),
    };
    assert_eq!(
        human(refusal),
        "taskctl: line 7: the name a is on line 3 already; nothing was imported\n"
    );
}

#[test]
fn a_mismatch_says_which_side_to_upgrade() {
    let hello = |min, max, version: &str| Hello {
        min,
        max,
        caps: 0,
        version: version.into(),
    };
    let older = Failure::from(agree(&hello(2, 3, "0.9.0"), &hello(1, 1, "0.1.0")).expect_err("ranges do not meet"));
    assert_eq!(older.exit, Exit::Versions);
    assert!(
        older
            .human(false)
            .contains("taskctl speaks 2 to 3, taskd 1\nhint: upgrade taskd to 0.9.0"),
        "{older:?}"
    );
    let newer = Failure::from(agree(&hello(1, 1, "0.1.0"), &hello(2, 3, "0.9.0")).expect_err("ranges do not meet"));
    assert_eq!(newer.hint.as_deref(), Some("upgrade taskctl to 0.9.0"));
}

#[test]
fn text_from_elsewhere_cannot_steer_the_terminal() {
    let text = human(Refusal::NotRunning {
        run: "a\u{1b}]0;x\u{7}".into(),
    });
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn a_name_of_several_lines_cannot_say_a_hint_of_its_own() {
    let name = "x\nhint: all is well\r";
    let text = human(Refusal::UnknownTask {
        name: name.into(),
        near: vec![name.into()],
    });
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(
        text.starts_with("taskctl: there is no task x\\nhint: all is well\u{fffd}\nhint: did you mean"),
        "{text}"
    );
}

#[test]
fn what_is_quoted_is_indented_and_steers_nothing() {
    let failure = Failure::usage("it said:").quoting(["a\u{1b}", "hint: b"]).hint("c");
    assert_eq!(
        failure.human(false),
        "taskctl: it said:\n  a\u{fffd}\n  hint: b\nhint: c\n"
    );
    assert!(
        failure.json().contains(r"it said:\n  a\u001b\n  hint: b"),
        "{}",
        failure.json()
    );
}

#[test]
fn a_long_text_is_not_said_again_whole() {
    let failure = Failure::field("mask", &"x".repeat(5000), None, "it is too long", None);
    let said = format!("--mask {}…: it is too long", "x".repeat(199));
    assert_eq!(failure.message, said);
}

#[test]
fn system_errors_lose_their_number() {
    assert_eq!(said(&io::Error::from_raw_os_error(2)), "No such file or directory");
}
