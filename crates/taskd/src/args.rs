//! The arguments of `taskd`, as typed. What they mean together with the environment is settled in [`crate::paths`].

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use taskd_runner::Slot;

const AFTER_HELP: &str = "\
Examples:
  taskd
      Serve with the defaults: root's under /etc, /var/lib, /run and /var/log, another user's under the home directory
  taskd --state-dir /srv/jobs --socket /srv/jobs/taskd.sock
      Serve a second, separate set of tasks; reach it with taskctl --socket /srv/jobs/taskd.sock
  taskd --check-config --config ./taskd.toml
      Say what is wrong with a configuration, and start nothing

Signals: TERM and INT stop in order, HUP reads the configuration again and reopens the log.";

/// The scheduler daemon: keeps tasks, and starts them when they are due.
#[derive(Clone, Debug, Parser, PartialEq, Eq)]
#[command(name = "taskd", version, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub struct Args {
    /// Read this configuration file, which must exist
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Listen on this Unix socket [env: TASKD_SOCKET]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Keep tasks, history and output here
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Keep the daemon log here
    #[arg(long, value_name = "DIR")]
    pub log_dir: Option<PathBuf>,
    /// Neither start nor stop a runner: something else does, such as taskd-runner.service
    #[arg(long)]
    pub external_runner: bool,
    /// Have systemd start runners, as NAME.service and its template NAME@.service; they outlive this daemon
    #[arg(long, value_name = "NAME", conflicts_with = "external_runner")]
    pub runner_unit: Option<String>,
    /// Close what the caller left open beside standard input, output and error
    #[arg(long, hide = true)]
    pub close_inherited: bool,
    /// Check the configuration, say where everything would be, and end
    #[arg(long)]
    pub check_config: bool,
    /// Be another program, in the same file.
    #[command(subcommand)]
    pub part: Option<Part>,
}

/// The programs beside the daemon that live in the same file.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Part {
    /// Hold the processes of runs, so that they outlive the daemon
    #[command(hide = true)]
    Runner(RunnerArgs),
}

/// The arguments of `taskd runner`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct RunnerArgs {
    /// Be the process that does the work, below the one that guards it
    #[arg(long, hide = true)]
    pub worker: bool,
    /// The daemon's state directory
    #[arg(long, value_name = "DIR")]
    pub state_dir: PathBuf,
    /// Listen for the daemon on this Unix socket
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
    /// Be one of several runners of the state directory, each with a number and files of its own
    #[arg(long, value_name = "N", default_value_t = Slot::FIRST)]
    pub slot: Slot,
    /// Give no run a control group of its own, even where that can be done
    #[arg(long)]
    pub no_cgroups: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn nothing_need_be_said() {
        let args = parse("taskd").unwrap();
        assert_eq!((&args.config, &args.socket, &args.part), (&None, &None, &None));
        assert!(!args.external_runner && !args.check_config);
    }

    #[test]
    fn the_runner_needs_its_places() {
        let args = parse("taskd runner --worker --state-dir /s --socket /s/r").unwrap();
        assert_eq!(
            args.part,
            Some(Part::Runner(RunnerArgs {
                worker: true,
                state_dir: "/s".into(),
                socket: "/s/r".into(),
                slot: Slot::FIRST,
                no_cgroups: false,
            }))
        );
        assert!(parse("taskd runner --state-dir /s").is_err());
        assert!(parse("taskd --state-dir /x runner --state-dir /s --socket /s/r").is_err());
    }

    #[test]
    fn the_help_shows_examples_and_hides_the_runner() {
        let help = Args::command().render_long_help().to_string();
        assert!(help.contains("Examples:") && help.contains("TASKD_SOCKET"), "{help}");
        assert!(!help.contains("runner [") && !help.contains("Commands:"), "{help}");
    }
}
