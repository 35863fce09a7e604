//! `status`, `start`, `stop`, `restart-daemon`, `demo`, `completions`: verbs about the programs themselves.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

/// Says how the daemon is.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taskctl status
  taskctl status --json | jq .running")]
pub struct StatusArgs {}

/// Starts a daemon.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taskctl start
  taskctl start --timeout 5s
  taskctl --socket /tmp/t/taskd.sock start --state-dir /tmp/t/state

Under systemd, use `systemctl --user enable --now taskd` instead: then it also starts at boot.")]
pub struct StartArgs {
    /// State directory of the daemon, where tasks and history are kept
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub state_dir: Option<PathBuf>,
    /// Directory of the daemon's log
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub log_dir: Option<PathBuf>,
    /// Configuration file of the daemon
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// How long to wait until it serves
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub timeout: String,
}

/// Stops the daemon.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  taskctl stop")]
pub struct StopArgs {
    /// How long to wait until it is gone
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub timeout: String,
}

/// Restarts the daemon.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taskctl restart-daemon
  taskctl restart-daemon --json | jq -r .version")]
pub struct RestartDaemonArgs {
    /// How long to wait until it serves again
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub timeout: String,
}

/// Runs the demonstration.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  taskctl demo")]
pub struct DemoArgs {}

/// Prints a completion script.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taskctl completions bash > ~/.local/share/bash-completion/completions/taskctl
  taskctl completions zsh > ~/.zfunc/_taskctl
  taskctl completions fish > ~/.config/fish/completions/taskctl.fish

Names of tasks and runs are completed by asking the daemon.")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// A shell with completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU Bash.
    Bash,
    /// Z shell.
    Zsh,
    /// The friendly interactive shell.
    Fish,
}

/// Starts a program in a session of its own.
#[derive(Debug, Args)]
pub struct DetachArgs {
    /// The program and its arguments.
    #[arg(last = true, required = true, num_args = 1..)]
    pub command: Vec<OsString>,
}

/// Clears away a demo.
#[derive(Debug, Args)]
pub struct JanitorArgs {
    /// The demo's directory.
    pub dir: PathBuf,
}
