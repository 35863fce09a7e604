//! The program `taskd`: see the crate `taskd-daemon`.

use std::process::ExitCode;

fn main() -> ExitCode {
    taskd_daemon::main()
}
