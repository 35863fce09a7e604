//! What the runner promises, with real processes. Each test starts a runner of its own in a directory of its own.
//!
//! This program is both the tests and the runner: called as `runner [--worker] --state-dir DIR --socket PATH` it is
//! what `taskd` is when called so.

mod connections;
mod ends;
mod harness;
mod kept;
mod life;
mod lives;
mod starts;

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use taskd_runner::{Options, RunnerError, guard, worker};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    match arguments.split_first() {
        Some((first, rest)) if first == "runner" => match run(rest) {
            Ok(code) => code,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        },
        _ => harness::run(&[
            &starts::TESTS,
            &kept::TESTS,
            &ends::TESTS,
            &connections::TESTS,
            &lives::TESTS,
        ]),
    }
}

fn run(arguments: &[OsString]) -> Result<ExitCode, RunnerError> {
    let (is_worker, rest) = match arguments.split_first() {
        Some((first, rest)) if first == "--worker" => (true, rest),
        _ => (false, arguments),
    };
    let [_, state_dir, _, socket] = rest else {
        panic!("runner [--worker] --state-dir DIR --socket PATH, not {arguments:?}");
    };
    let options = Options {
        state_dir: state_dir.into(),
        socket: socket.into(),
    };
    if is_worker { worker(&options) } else { guard(&options) }
}
