//! What clap has to say: help, versions, and errors of usage, as JSON where that was asked for.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::error::{Exit, Failure};
use crate::out::Out;

/// Prints help or an error, and gives the exit code.
pub fn explain(error: &clap::Error) -> ExitCode {
    let wants_json = std::env::args_os()
        .skip(1)
        .take_while(|word| word != "--")
        .any(|word| word == "--json");
    if wants_json && error.use_stderr() {
        return crate::report(&failure(error), true, &mut Out::stderr());
    }
    // OK because a reader that has gone needs no help.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { Exit::Usage as u8 } else { 0 })
}

/// An error of usage as one sentence and one hint.
fn failure(error: &clap::Error) -> Failure {
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
    use crate::args::Cli;
    use clap::Parser;

    fn explained(line: &str) -> Failure {
        failure(&Cli::try_parse_from(line.split(' ')).expect_err("it is wrong"))
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
    fn a_missing_argument_is_named() {
        let failure = explained("taskctl remove");
        assert!(failure.message.contains("<TASK>"), "{failure:?}");
    }
}
