//! The program `taskctl`: see the crate `taskd-cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    taskd_cli::main()
}
