//! The command line of taskd.
//!
//! # Theory of operation
//!
//! A call passes through three stages, and each has a room:
//!
//! 1. `args` says what can be typed, and its help; clap reads it.
//! 2. `commands`, a file for each verb, turns what was typed into a request of the [wire](taskd_wire), and the answer
//!    into output. What can be judged without the daemon (a cron expression, a length of time) is judged by
//!    [core](taskd_core) first, so that an error can point at the column.
//! 3. `render` shows it to people and `json` to scripts. Sentences for what the daemon refused are made in `error`.
//!
//! Beside them: `client` is one connection to the daemon, found by `places`; `watch` follows runs to their end, over
//! restarts of the daemon; `output` reads what runs wrote, from files that grow, have holes and are replaced; `launch`
//! starts a daemon; `completion` completes names in shells; `calendar` reads calendars from files.
//!
//! There is no runtime and no thread: a call asks one question, or waits in `poll` for the two or three things that it
//! follows. Nothing is read before it is needed, for most calls are over in a millisecond.
//!
//! # Promises
//!
//! - Exit codes: 0 done; 1 refused or failed; 2 usage; 3 no daemon; 4 not found; 5 not allowed; 6 versions do not fit.
//!   `run --wait` ends with the exit code of the command, `lint` with 1 when it found something.
//! - With `--json`, stdout is JSON, and stderr has nothing but errors as `{code, message, hint}`. Shapes only grow. A
//!   list that fails on its way leaves its array open, so that a part of it is not taken for the whole.
//! - A reader that goes away is no error. Text from elsewhere never steers the terminal, but for the output of runs,
//!   which is printed byte for byte.

mod args;
mod calendar;
mod client;
mod clock;
mod commands;
mod completion;
mod error;
mod json;
mod launch;
mod out;
mod output;
mod places;
mod render;
mod scratch;
mod session;
#[cfg(test)]
mod testing;
mod usage;
mod watch;
mod zones;

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::CompleteEnv;

use crate::args::Cli;
use crate::error::{Error, Failure};
use crate::out::Out;
use crate::places::Places;
use crate::session::Session;

/// What can be typed, for the manual pages.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Does what the command line of this process says.
#[must_use]
pub fn main() -> ExitCode {
    if std::env::var_os(completion::VARIABLE).is_some() {
        let here = std::env::current_dir().ok();
        let completed = CompleteEnv::with_factory(Cli::command).try_complete(std::env::args_os(), here.as_deref());
        match completed {
            Ok(true) => return ExitCode::SUCCESS,
            Ok(false) => {}
            Err(error) => return usage::explain(&error),
        }
    }
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return usage::explain(&usage::in_plain_words(error, std::env::args_os())),
    };
    let places = Places::of_process(cli.global.socket.as_deref());
    let mut session = Session::of_process(cli.global.json, places);
    let done = commands::run(cli.verb, &mut session);
    // What was printed before something went wrong is still worth reading, by whoever still reads.
    let flushed = session.out.flush().and_then(|()| session.err.flush());
    match (done, flushed) {
        (Err(Error::Failure(failure)), _) | (Ok(_), Err(Error::Failure(failure))) => {
            report(&failure, session.json, &mut session.err)
        }
        (Err(Error::ReaderGone), _) => ExitCode::SUCCESS,
        // The exit code is that of the verb, read or not.
        (Ok(code), Ok(()) | Err(Error::ReaderGone)) => ExitCode::from(code),
    }
}

/// Says why something was not done.
fn report(failure: &Failure, json: bool, err: &mut Out) -> ExitCode {
    let text = if json {
        failure.json() + "\n"
    } else {
        failure.human(err.colour)
    };
    // OK because there is nowhere left to complain.
    let _ = err.text(&text).and_then(|()| err.flush());
    ExitCode::from(failure.exit as u8)
}
