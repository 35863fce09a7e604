//! What can be typed and what cannot.

use super::*;
use clap::CommandFactory;
use clap::error::ErrorKind;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::read(line.split_whitespace())
}

fn refused(line: &str) -> ErrorKind {
    parse(line).expect_err(line).kind()
}

#[test]
fn the_command_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_verb_has_help_with_an_example() {
    for verb in Cli::command()
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set() && verb.get_name() != "help")
    {
        let after = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(after.contains("Example"), "{} has no example", verb.get_name());
        let example = format!("\n  taskctl {}", verb.get_name());
        assert!(after.contains(&example), "{} is not in its example", verb.get_name());
        assert!(verb.get_about().is_some(), "{} has no about", verb.get_name());
    }
}

#[test]
fn no_example_is_broken_by_a_terminal_of_80_columns() {
    let command = Cli::command();
    for verb in command.get_subcommands().chain([&command]) {
        let after = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in after.lines().filter(|line| line.starts_with("  ")) {
            assert!(line.chars().count() <= 80, "{}: {line:?}", verb.get_name());
        }
    }
}

#[test]
fn the_help_of_runs_names_all_outcomes() {
    let command = Cli::command();
    let runs = command.find_subcommand("runs").expect("it is a verb");
    let outcome = runs.get_arguments().find(|arg| arg.get_id() == "outcome");
    let help = outcome.and_then(Arg::get_help).expect("it has help").to_string();
    for outcome in taskd_core::run::Outcome::ALL {
        assert!(help.contains(outcome.word()), "{outcome:?} is not in: {help}");
    }
}

#[test]
fn help_fits_a_terminal_of_110_columns() {
    let mut command = Cli::command();
    command.build();
    for verb in command.get_subcommands_mut() {
        let help = verb.render_long_help().to_string();
        for line in help.lines() {
            assert!(line.chars().count() <= 110, "{}: {line:?}", verb.get_name());
        }
    }
}

#[test]
fn a_task_needs_one_schedule_and_one_action() {
    assert_eq!(refused("taskctl add -- true"), ErrorKind::MissingRequiredArgument);
    assert_eq!(refused("taskctl add --manual"), ErrorKind::MissingRequiredArgument);
    assert_eq!(
        refused("taskctl add --manual --every 5s -- true"),
        ErrorKind::ArgumentConflict
    );
    assert_eq!(
        refused("taskctl add --manual --shell x -- true"),
        ErrorKind::ArgumentConflict
    );
    for schedule in [
        "--cron @daily",
        "--every 90s",
        "--at 2026-12-01T09:00",
        "--in 5m",
        "--manual",
    ] {
        assert!(parse(&format!("taskctl add {schedule} -- true")).is_ok(), "{schedule}");
    }
}

#[test]
fn what_follows_two_dashes_belongs_to_the_command() {
    let Verb::Add(add) = parse("taskctl add --manual -- ls --json -l -- x")
        .expect("it is right")
        .verb
    else {
        panic!()
    };
    assert_eq!(add.action.command, ["ls", "--json", "-l", "--", "x"]);
}

#[test]
fn an_expression_may_begin_with_a_dash_or_a_star() {
    let line = ["taskctl", "next", "--cron", "* * * * *"];
    assert!(Cli::read(line).is_ok());
}

#[test]
fn global_options_stand_anywhere() {
    for line in [
        "taskctl --json --socket /s list",
        "taskctl list --json --socket /s",
        "taskctl list --socket=/s --json",
    ] {
        let cli = parse(line).expect(line);
        assert!(
            cli.global.json && cli.global.socket.as_deref() == Some(std::path::Path::new("/s")),
            "{line}"
        );
    }
}

#[test]
fn options_that_exclude_each_other() {
    assert_eq!(
        refused("taskctl remove a --cancel --keep-running"),
        ErrorKind::ArgumentConflict
    );
    assert_eq!(
        refused("taskctl edit a --enabled --disabled"),
        ErrorKind::ArgumentConflict
    );
    assert_eq!(refused("taskctl next a --cron @daily"), ErrorKind::ArgumentConflict);
    assert_eq!(refused("taskctl next --tz UTC"), ErrorKind::MissingRequiredArgument);
    assert_eq!(refused("taskctl next --month --timeline"), ErrorKind::ArgumentConflict);
    assert_eq!(
        refused("taskctl next --month 2027-03 -n 3"),
        ErrorKind::ArgumentConflict
    );
    assert_eq!(refused("taskctl runs --outcome fine"), ErrorKind::InvalidValue);
    assert_eq!(refused("taskctl next -n 0"), ErrorKind::ValueValidation);
}

#[test]
fn a_number_below_zero_is_the_value_of_the_option_before_it() {
    for option in [
        "--timeout",
        "--retries",
        "--kill-signal",
        "--max-load",
        "--user",
        "--limit",
        "--keep-runs",
    ] {
        let line = format!("taskctl add --manual {option} -1 -- true");
        match parse(&line) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ValueValidation, "{line}: {error}"),
        }
    }
    for line in [
        "runs -n -1",
        "logs -n -1",
        "next -n -5",
        "group set db --limit -1",
        "list --socket -1",
    ] {
        match parse(&format!("taskctl {line}")) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ValueValidation, "{line}: {error}"),
        }
    }
    let Verb::Runs(runs) = parse("taskctl runs -n 5 --wide").expect("it is right").verb else {
        panic!()
    };
    assert_eq!((runs.limit, runs.wide), (5, true));
    assert_eq!(
        refused("taskctl add --manual --timeout --json -- true"),
        ErrorKind::InvalidValue
    );
    assert_eq!(refused("taskctl runs -1"), ErrorKind::UnknownArgument);
}
