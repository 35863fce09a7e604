//! What clap has to say: help, versions, and errors of usage, as JSON where that was asked for.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::args::Cli;
use crate::error::{Exit, Failure};
use crate::out::Out;
use crate::render::one_line;

/// What clap has to say of these arguments, the name of the program first, with nothing in it that could write lines of
/// its own or steer a terminal, and with no advice that leads nowhere.
pub fn in_plain_words(error: clap::Error, args: impl Iterator<Item = OsString>) -> clap::Error {
    let mut error = in_one_line(error, args);
    // As in `--timeout -5s`, for which clap advises the place behind `--`, where it is no value of the option.
    let is_number =
        |argument: &str| argument.starts_with('-') && argument[1..].starts_with(|c: char| c.is_ascii_digit());
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg)
        && is_number(argument)
    {
        let advice = "the value of an option that begins with - is written behind =, as in --option=-1".into();
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![advice]));
    }
    error
}

/// The same without control characters. What is wrong with the arguments is wrong with them without such characters too,
/// so clap is asked again.
fn in_one_line(error: clap::Error, args: impl Iterator<Item = OsString>) -> clap::Error {
    let mut differs = false;
    let plain: Vec<OsString> = args
        .map(|argument| match argument.to_str().map(one_line) {
            Some(shown) if argument != *shown => {
                differs = true;
                shown.into()
            }
            Some(_) | None => argument,
        })
        .collect();
    if !differs || !error.use_stderr() {
        return error;
    }
    Cli::read(plain).err().unwrap_or_else(|| {
        let kind = error.kind();
        clap::Error::raw(kind, "an argument has a control character in it\n")
    })
}

/// Prints help or an error, and gives the exit code.
pub fn explain(error: &clap::Error) -> ExitCode {
    let wants_json = std::env::args_os()
        .skip(1)
        .take_while(|word| word != "--")
        .any(|word| word == "--json");
    if !error.use_stderr() {
        return match error.print() {
            // A reader that has gone needs no help.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => crate::report(
                &Failure::system("write the output", &error),
                wants_json,
                &mut Out::stderr(),
            ),
            Ok(()) | Err(_) => ExitCode::SUCCESS,
        };
    }
    let mut err = Out::stderr();
    match error.kind() {
        _ if wants_json => crate::report(&failure(error), true, &mut err),
        ErrorKind::InvalidUtf8 => crate::report(&not_text(std::env::args_os()), false, &mut err),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // OK for the same reason.
            let _ = error.print();
            ExitCode::from(Exit::Usage as u8)
        }
        _ => {
            let styled = error.render();
            let text = if err.colour {
                styled.ansi().to_string()
            } else {
                styled.to_string()
            };
            // OK for the same reason.
            let _ = err.text(&in_our_name(&text)).and_then(|()| err.flush());
            ExitCode::from(Exit::Usage as u8)
        }
    }
}

/// What clap says begins as all that this program says.
fn in_our_name(text: &str) -> String {
    text.replacen("error:", "taskctl:", 1)
}

/// The first argument that is no text.
fn not_text(args: impl Iterator<Item = OsString>) -> Failure {
    let argument = args
        .filter(|argument| argument.to_str().is_none())
        .map(|argument| one_line(&argument.to_string_lossy()));
    let argument = argument.take(1).collect::<String>();
    Failure::usage(format!("the argument {argument} is not written in UTF-8"))
        .hint("put such a name into a script, and have the task run that")
}

/// An error of usage as one sentence and one hint.
fn failure(error: &clap::Error) -> Failure {
    if error.kind() == ErrorKind::InvalidUtf8 {
        return not_text(std::env::args_os());
    }
    let text = error.to_string();
    let sentence: Vec<&str> = text
        .lines()
        .take_while(|line| !line.trim().is_empty())
        .map(str::trim)
        .collect();
    let sentence = sentence.join(" ");
    let sentence = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "a verb is missing",
        _ => sentence.strip_prefix("error: ").unwrap_or(&sentence),
    };
    let near = [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedValue,
    ]
    .into_iter()
    .find_map(|kind| match error.get(kind)? {
        ContextValue::String(near) => Some(near.clone()),
        // The one most like it stands last.
        ContextValue::Strings(near) => near.last().cloned(),
        _ => None,
    });
    let hint = near.map_or_else(
        || "`taskctl --help` shows how it is used".to_owned(),
        |near| format!("did you mean {near}?"),
    );
    Failure::usage(sentence).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(line: &str) -> Failure {
        failure(&Cli::read(line.split(' ')).expect_err("it is wrong"))
    }

    #[test]
    fn a_misspelt_flag_or_verb_gets_a_suggestion() {
        let flag = explained("taskctl add --crn x -- true");
        assert_eq!((flag.exit, flag.code), (Exit::Usage, "usage"));
        assert_eq!(flag.message, "unexpected argument '--crn' found");
        assert_eq!(flag.hint.as_deref(), Some("did you mean --cron?"));
        assert_eq!(explained("taskctl lst").hint.as_deref(), Some("did you mean list?"));
    }

    #[test]
    fn an_error_begins_with_our_name() {
        let error = Cli::read(["taskctl", "lst"]).expect_err("it is wrong");
        let text = in_our_name(&error.render().to_string());
        assert!(text.starts_with("taskctl: unrecognized subcommand 'lst'"), "{text}");
    }

    #[test]
    fn an_argument_that_is_no_text_is_named() {
        use std::os::unix::ffi::OsStringExt as _;
        let args = ["taskctl".into(), OsString::from_vec(b"caf\xe9".to_vec())];
        let failure = not_text(args.into_iter());
        assert_eq!(failure.message, "the argument caf\u{fffd} is not written in UTF-8");
        assert!(failure.hint.is_some());
    }

    #[test]
    fn an_argument_of_several_lines_writes_none_of_its_own() {
        for line in [
            ["taskctl", "runs", "--outcome", "x\nhint: fine"],
            ["taskctl", "runs", "--limit", "1\nhint: fine"],
            ["taskctl", "list", "a", "--x\nhint: fine\u{1b}"],
            ["taskctl", "group", "set\nhint: fine", "a"],
        ] {
            let error = Cli::read(line).expect_err("it is wrong");
            let plain = in_plain_words(error, line.iter().map(OsString::from));
            let text = plain.render().to_string();
            assert!(text.contains("\\nhint: fine"), "{text}");
            assert!(!text.contains("\nhint") && !text.contains('\u{1b}'), "{text}");
        }
    }

    #[test]
    fn a_length_below_zero_is_told_where_it_may_stand() {
        let line = ["taskctl", "add", "--manual", "--timeout", "-5s", "--", "true"];
        let error = in_plain_words(
            Cli::read(line).expect_err("it is wrong"),
            line.iter().map(OsString::from),
        );
        let text = error.render().to_string();
        assert!(
            text.contains("tip: the value of an option that begins with -"),
            "{text}"
        );
        assert!(!text.contains("'-- -5'"), "{text}");
        assert!(Cli::read(["taskctl", "add", "--manual", "--timeout=-5s", "--", "true"]).is_ok());
    }

    #[test]
    fn a_missing_argument_is_named() {
        let failure = explained("taskctl remove");
        assert!(failure.message.contains("<TASK>"), "{failure:?}");
    }
}
