//! `group` and `lock`: how many runs of several tasks may go at once.

use clap::{Args, Subcommand};

/// Groups.
#[derive(Debug, Args)]
#[command(after_help = "\
A task is in a group with --group NAME. Of the runs of a group no more go at once
than its limit; the others wait, those with the highest --priority first. Without
a limit any number goes.

Examples:
  taskctl group set db --limit 2
  taskctl add --cron @hourly --group db --priority 10 -- vacuum
  taskctl group list")]
pub struct GroupArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: PoolVerb,
}

/// Locks.
#[derive(Debug, Args)]
#[command(after_help = "\
A run of a task with --lock NAME holds that lock, and waits until it is free. A
lock is held by one run at a time, or by as many as its limit says.

Examples:
  taskctl add --cron @daily --lock disk -- backup
  taskctl add --cron @weekly --lock disk -- scrub
  taskctl lock set disk --limit 2
  taskctl lock list")]
pub struct LockArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: PoolVerb,
}

/// What is done with groups and locks.
#[derive(Debug, Subcommand)]
pub enum PoolVerb {
    /// Set how many runs it holds at once
    Set(PoolSetArgs),
    /// List them, with what runs and what waits
    List,
    /// Take back what was set
    Remove(PoolRemoveArgs),
}

/// Sets limits.
#[derive(Debug, Args)]
pub struct PoolSetArgs {
    /// Their names
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// How many runs go at once; those in progress go on
    #[arg(long, value_name = "N")]
    pub limit: u32,
}

/// Takes limits back.
#[derive(Debug, Args)]
pub struct PoolRemoveArgs {
    /// Their names
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}
