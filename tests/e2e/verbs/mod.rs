//! What each verb promises: its answers, its `--json`, its refusals and its exit codes.

mod add;
mod backfill;
mod calendar;
mod cancel;
mod completions;
mod demo;
mod edit;
mod enable;
mod export;
mod import;
mod labels;
mod limits;
mod lint;
mod list;
mod logs;
mod next;
mod pause;
mod remove;
mod retries;
mod run;
mod runs;
mod show;
mod start;
mod status;
mod terms;
mod why;
