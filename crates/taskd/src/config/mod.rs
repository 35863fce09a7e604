//! The configuration file: TOML, read whole at start and again on SIGHUP.
//!
//! Every key has a default, so the file may be empty or, at its default place, absent. A key that does not exist is an
//! error with the line, the column and the nearest key that does: a limit that is misspelt and silently not in force
//! is worse than a daemon that says so. A file that is wrong on SIGHUP leaves the old configuration in force.
//!
//! All keys take effect on SIGHUP, except `runner.socket`, `runner.start` and `runner.cgroups`, which are read once at start.
//!
//! ```toml
//! [limits]
//! definition_bytes = "64 KiB"        # one task's definition
//! arguments_bytes = "128 KiB"        # its arguments and environment
//! tasks_per_owner = 10_000
//! tasks_per_owner_root = 1_000_000
//! running = 512                      # runs in progress at once; further ones wait
//! output_bytes = "16 MiB"            # output kept of one attempt: its head and its tail
//! output_total_bytes = "2 GiB"       # output kept in all; the oldest goes first
//! output_compress_bytes = "64 KiB"   # output of a run that is over is compressed from this size on
//! history_runs = 1000                # finished runs kept of one task
//! history_days = 90                  # and for how long
//! connections = 64                   # of one user at once
//!
//! [log]
//! level = "info"                     # error, warn, info, debug, trace
//! files = 10
//! file_bytes = "16 MiB"
//!
//! [runner]
//! start = true                       # start a runner when none answers
//! grace = "10s"                      # between TERM and KILL when the daemon stops
//! cgroups = "auto"                   # a control group for each attempt where that can be had; or "off"
//! # socket = "/path/runner.sock"     # otherwise in the state directory
//! ```

mod error;
mod value;

use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use taskd_core::task::Owner;
use toml::Spanned;
use tracing_subscriber::filter::LevelFilter;

pub use self::error::{ConfigError, Fault};
use self::value::{Checker, Level, Period, Size};
use crate::{clock, log};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// The longest configuration file that is read.
const FILE_MAX: u64 = MIB;

/// The whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// What is bounded, and where the bounds are.
    pub limits: Limits,
    /// The daemon log.
    pub log: LogConfig,
    /// The runner.
    pub runner: RunnerConfig,
}

/// The bounds that a user may move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of one task's definition.
    pub definition_bytes: u64,
    /// Most bytes of a task's arguments and environment together.
    pub arguments_bytes: u64,
    /// Most tasks root may own.
    pub tasks_of_root: u64,
    /// Most tasks any other user may own.
    pub tasks_of_others: u64,
    /// Most runs in progress at once.
    pub running: usize,
    /// Most bytes of output kept of one attempt.
    pub output_bytes: u64,
    /// Most bytes of output kept in all.
    pub output_total_bytes: u64,
    /// Output of a run that is over is compressed when it has more bytes than this.
    pub output_compress_bytes: u64,
    /// Most finished runs kept of one task.
    pub history_runs: u32,
    /// Most days a finished run is kept.
    pub history_days: u32,
    /// Most connections of one user at once.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            definition_bytes: 64 * KIB,
            arguments_bytes: 128 * KIB,
            tasks_of_root: 1_000_000,
            tasks_of_others: 10_000,
            running: 512,
            output_bytes: 16 * MIB,
            output_total_bytes: 2 * GIB,
            output_compress_bytes: 64 * KIB,
            history_runs: 1000,
            history_days: 90,
            connections: 64,
        }
    }
}

impl Limits {
    /// Most tasks that `owner` may have.
    #[must_use]
    pub fn tasks_per_owner(&self, owner: Owner) -> u64 {
        if owner.0 == 0 {
            self.tasks_of_root
        } else {
            self.tasks_of_others
        }
    }
}

/// How the daemon log is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// What is written: this level and graver ones.
    pub level: LevelFilter,
    /// How many files there may be, the one being written included.
    pub files: u32,
    /// Most bytes of one file.
    pub file_bytes: u64,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            level: LevelFilter::INFO,
            files: 10,
            file_bytes: 16 * MIB,
        }
    }
}

/// How the daemon deals with its runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunnerConfig {
    /// Whether the daemon starts a runner when none answers. Otherwise it waits for one.
    pub start: bool,
    /// Between TERM and KILL when the daemon stops the runner it started.
    pub grace: Duration,
    /// Whether a runner that is started gives its runs control groups.
    pub cgroups: Cgroups,
    /// The runner's socket, when not in its default place. Absolute.
    pub socket: Option<PathBuf>,
}

/// Whether each attempt gets a control group of its own.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Cgroups {
    /// Where the runner may make some.
    Auto,
    /// Never.
    Off,
}

impl Default for RunnerConfig {
    fn default() -> RunnerConfig {
        RunnerConfig {
            start: true,
            grace: Duration::from_secs(10),
            cgroups: Cgroups::Auto,
            socket: None,
        }
    }
}

impl Config {
    /// Reads the file at `path`. An absent file means the defaults, unless it is `required`: somebody who names a file
    /// wants that one.
    ///
    /// # Errors
    /// [`ConfigError`] when it cannot be read or something in it is wrong.
    pub fn load(path: &Path, required: bool) -> Result<Config, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound && !required => return Ok(Config::default()),
            Err(error) => return Err(unreadable(error)),
        };
        let mut text = String::new();
        file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
        if text.len() as u64 > FILE_MAX {
            return Err(ConfigError::TooLong {
                path: path.to_owned(),
                limit: FILE_MAX,
            });
        }
        Config::parse(&text).map_err(|fault| ConfigError::Wrong {
            path: path.to_owned(),
            fault: Box::new(fault),
        })
    }

    /// The bounds that the store keeps.
    #[must_use]
    pub fn store_limits(&self) -> taskd_store::Limits {
        taskd_store::Limits {
            history_runs: u64::from(self.limits.history_runs),
            history_age: Duration::from_secs(u64::from(self.limits.history_days) * 24 * 60 * 60),
            output_bytes: self.limits.output_total_bytes,
        }
    }

    /// How the daemon log is to be kept, with the clock of this program.
    #[must_use]
    pub fn log_options(&self) -> log::Options {
        log::Options {
            config: self.log.clone(),
            echo: log::Echo::from_env(),
            clock: || clock::now().as_millis(),
        }
    }

    /// Makes the configuration of a file's text.
    ///
    /// # Errors
    /// [`Fault`] says where it is wrong and why.
    pub fn parse(text: &str) -> Result<Config, Fault> {
        let typed: Typed = toml::from_str(text).map_err(|error| Fault::of_toml(text, &error))?;
        typed.meant(&Checker { text })
    }
}

/// The file as typed: any key may be absent, and each value knows where it stands.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Typed {
    limits: TypedLimits,
    log: TypedLog,
    runner: TypedRunner,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TypedLimits {
    definition_bytes: Option<Spanned<Size>>,
    arguments_bytes: Option<Spanned<Size>>,
    tasks_per_owner_root: Option<Spanned<i64>>,
    tasks_per_owner: Option<Spanned<i64>>,
    running: Option<Spanned<i64>>,
    output_bytes: Option<Spanned<Size>>,
    output_total_bytes: Option<Spanned<Size>>,
    output_compress_bytes: Option<Spanned<Size>>,
    history_runs: Option<Spanned<i64>>,
    history_days: Option<Spanned<i64>>,
    connections: Option<Spanned<i64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TypedLog {
    level: Option<Level>,
    files: Option<Spanned<i64>>,
    file_bytes: Option<Spanned<Size>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TypedRunner {
    start: Option<bool>,
    grace: Option<Spanned<Period>>,
    cgroups: Option<Cgroups>,
    socket: Option<Spanned<PathBuf>>,
}

impl Typed {
    /// Checks every range and fills in the defaults.
    fn meant(self, check: &Checker<'_>) -> Result<Config, Fault> {
        let Config { limits, log, runner } = Config::default();
        let typed = self.limits;
        let limits = Limits {
            // A definition and its arguments must pass in one frame of 1 MiB together.
            definition_bytes: check.bytes(
                "limits.definition_bytes",
                typed.definition_bytes,
                limits.definition_bytes,
                KIB..=384 * KIB,
            )?,
            arguments_bytes: check.bytes(
                "limits.arguments_bytes",
                typed.arguments_bytes,
                limits.arguments_bytes,
                KIB..=384 * KIB,
            )?,
            tasks_of_root: check.count(
                "limits.tasks_per_owner_root",
                typed.tasks_per_owner_root,
                limits.tasks_of_root,
                1..=10_000_000,
            )?,
            tasks_of_others: check.count(
                "limits.tasks_per_owner",
                typed.tasks_per_owner,
                limits.tasks_of_others,
                1..=10_000_000,
            )?,
            running: check.count("limits.running", typed.running, limits.running, 1..=32_768)?,
            output_bytes: check.bytes(
                "limits.output_bytes",
                typed.output_bytes,
                limits.output_bytes,
                4 * KIB..=64 * GIB,
            )?,
            output_total_bytes: check.bytes(
                "limits.output_total_bytes",
                typed.output_total_bytes,
                limits.output_total_bytes,
                4 * KIB..=64 * 1024 * GIB,
            )?,
            output_compress_bytes: check.bytes(
                "limits.output_compress_bytes",
                typed.output_compress_bytes,
                limits.output_compress_bytes,
                4 * KIB..=64 * 1024 * GIB,
            )?,
            history_runs: check.count(
                "limits.history_runs",
                typed.history_runs,
                limits.history_runs,
                1..=1_000_000,
            )?,
            history_days: check.count(
                "limits.history_days",
                typed.history_days,
                limits.history_days,
                1..=36_500,
            )?,
            connections: check.count("limits.connections", typed.connections, limits.connections, 1..=4096)?,
        };
        let log = LogConfig {
            level: self.log.level.map_or(log.level, |level| level.0),
            files: check.count("log.files", self.log.files, log.files, 1..=1000)?,
            file_bytes: check.bytes("log.file_bytes", self.log.file_bytes, log.file_bytes, 4 * KIB..=4 * GIB)?,
        };
        let runner = RunnerConfig {
            start: self.runner.start.unwrap_or(runner.start),
            grace: check.period(
                "runner.grace",
                self.runner.grace,
                runner.grace,
                Duration::ZERO..=Duration::from_secs(3600),
            )?,
            cgroups: self.runner.cgroups.unwrap_or(runner.cgroups),
            socket: check.absolute("runner.socket", self.runner.socket)?,
        };
        Ok(Config { limits, log, runner })
    }
}

#[cfg(test)]
mod tests;
