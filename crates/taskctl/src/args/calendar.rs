//! `calendar`: sets of days and times that tasks keep to or keep clear of.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueHint};
use clap_complete::engine::ArgValueCompleter;

use crate::completion;

/// Calendars.
#[derive(Debug, Args)]
#[command(after_help = "\
A task uses calendars with --calendar NAME (its fire times there are skipped) or
--calendar NAME=only (those elsewhere are). What is skipped is in the ledger with
that reason, see `taskctl why`. With NAME=next or NAME=previous, fire times of a
covered day are those of the nearest day that is not covered.

Examples:
  taskctl calendar add closed --rule weekends --day 2026-12-24..2027-01-01
  taskctl calendar add holidays holidays.ics --tz Europe/Berlin
  taskctl calendar add release --day 2026-12-01 --freeze 'prod-*'
  taskctl add --cron '0 7 * * *' --calendar closed -- heat-up")]
pub struct CalendarArgs {
    /// What to do
    #[command(subcommand)]
    pub verb: CalendarVerb,
}

/// What is done with calendars.
#[derive(Debug, Subcommand)]
pub enum CalendarVerb {
    /// Set a calendar, in place of an earlier one of its name
    Add(CalendarAddArgs),
    /// List calendars
    List,
    /// Show what a calendar covers, and who uses it
    Show(CalendarShowArgs),
    /// Remove calendars that no task uses
    Remove(CalendarRemoveArgs),
}

/// Sets a calendar.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("entries").required(true).multiple(true).args(["file", "rule", "day"]),
    after_help = "\
A file is an iCalendar file (.ics), or a list in TOML:
  days = [\"2026-12-24\", \"2026-12-27..2026-12-31\"]
  ranges = [{ from = \"2026-12-24T12:00\", to = \"2026-12-25T00:00\" }]
  rules = [\"weekends\", \"easter+1\", \"1st mon sep\", \"last fri\", \"12-25\"]

Times without an offset are read in the zone of the task that asks; for one that
has none, in --tz."
)]
pub struct CalendarAddArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// A file; - for stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// A rule such as weekends, fri, '1st mon', 'last mon may', easter-2, 12-25; may be given many times
    #[arg(long, value_name = "RULE")]
    pub rule: Vec<String>,
    /// A day, or days in a row as 2026-12-24..2027-01-01; may be given many times
    #[arg(long, value_name = "DAY")]
    pub day: Vec<String>,
    /// Zone in which it is read for tasks that have none (default: the daemon's own)
    #[arg(long, value_name = "ZONE", add = ArgValueCompleter::new(completion::zones))]
    pub tz: Option<String>,
    /// Tasks that do not fire in what it covers, by name, pattern or label:WORD; may be given many times
    #[arg(long, value_name = "TASK", add = ArgValueCompleter::new(completion::tasks))]
    pub freeze: Vec<String>,
}

/// Shows a calendar.
#[derive(Debug, Args)]
pub struct CalendarShowArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// Removes calendars.
#[derive(Debug, Args)]
pub struct CalendarRemoveArgs {
    /// Their names
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}
