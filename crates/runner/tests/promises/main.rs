//! What the runner promises, with real processes. Each test starts a runner of its own in a directory of its own.
//!
//! This program is both the tests and the runner: called as `runner [--worker] --state-dir DIR --socket PATH [--no-cgroups]` it
//! is
//! what `taskd` is when called so. Called as `inherited WAY` it says what is open in it and in a child.

mod begun;
mod connections;
mod ends;
mod gates;
mod groups;
mod harness;
mod kept;
mod launchers;
mod life;
mod lives;
mod scarce;
mod starts;
mod users;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::process::{Command, ExitCode};

use taskd_runner::{Options, RunnerError, Slot, close_inherited, close_inherited_on_exec, guard, worker};

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
        Some((first, rest)) if first == "inherited" => inherited(rest),
        _ => harness::run(&[
            &starts::TESTS,
            &users::TESTS,
            &kept::TESTS,
            &ends::TESTS,
            &gates::TESTS,
            &groups::TESTS,
            &connections::TESTS,
            &lives::TESTS,
            &begun::TESTS,
            &scarce::TESTS,
            &launchers::TESTS,
        ]),
    }
}

fn inherited(arguments: &[OsString]) -> ExitCode {
    match arguments.first().and_then(|way| way.to_str()) {
        Some("close") => close_inherited().expect("a system"),
        Some("mark") => close_inherited_on_exec().expect("a system"),
        _ => {}
    }
    for entry in fs::read_dir("/proc/self/fd").expect("a system") {
        let name = entry.expect("a system").file_name();
        print!("{} ", name.to_str().expect("a number"));
    }
    println!();
    let listed = Command::new("ls").arg("/proc/self/fd").status().expect("ls");
    ExitCode::from(u8::from(!listed.success()))
}

fn run(arguments: &[OsString]) -> Result<ExitCode, RunnerError> {
    let (is_worker, rest) = match arguments.split_first() {
        Some((first, rest)) if first == "--worker" => (true, rest),
        _ => (false, arguments),
    };
    let (cgroups, places) = match rest.split_last() {
        Some((last, places)) if last == "--no-cgroups" => (false, places),
        _ => (true, rest),
    };
    let (slot, places) = match places {
        [places @ .., name, number] if name == "--slot" => (number.to_str().expect("a number").parse(), places),
        places => (Ok(Slot::FIRST), places),
    };
    let [_, state_dir, _, socket] = places else {
        panic!("runner [--worker] --state-dir DIR --socket PATH [--slot N] [--no-cgroups], not {arguments:?}");
    };
    let options = Options {
        state_dir: state_dir.into(),
        socket: socket.into(),
        slot: slot.expect("a slot"),
        cgroups,
    };
    if is_worker { worker(&options) } else { guard(&options) }
}
