//! `taskctl detach`: the way from a terminal to the background. See [`crate::launch`].

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::args::DetachArgs;
use crate::error::{Failure, Result};

/// Leaves the session of the terminal and becomes the program; comes back only if that fails.
pub fn run(args: &DetachArgs) -> Result<()> {
    // OK to go on when this fails: then we lead a session already.
    let _ = rustix::process::setsid();
    let [program, rest @ ..] = args.command.as_slice() else {
        return Err(Failure::usage("no program was given").into());
    };
    let error = Command::new(program).args(rest).exec();
    Err(Failure::file("run", Path::new(program), &error).into())
}
