//! What the verbs do, a file each.

mod add;
mod backfill;
mod calendar;
mod cancel;
mod completions;
mod definition;
mod demo;
mod detach;
mod disable;
mod edit;
mod enable;
mod export;
mod follow;
mod gates;
mod graph;
mod import;
mod kept;
mod lint;
mod list;
mod logs;
mod next;
mod pause;
mod pools;
mod process;
mod remove;
mod restart_daemon;
mod resume;
mod run;
mod runs;
mod show;
mod start;
mod status;
pub mod stop;
mod top;
mod when;
mod why;

use taskd_core::pattern::is_pattern;
use taskd_wire::client::{PoolKind, Response};

use crate::args::Verb;
use crate::client::Client;
use crate::error::{Failure, Result};
use crate::session::Session;

/// Does what was asked, and gives the exit code.
pub fn run(verb: Verb, session: &mut Session) -> Result<u8> {
    let done = match verb {
        Verb::Add(args) => add::run(&args, session),
        Verb::List(args) => list::run(&args, session),
        Verb::Show(args) => show::run(&args, session),
        Verb::Edit(args) => edit::run(&args, session),
        Verb::Remove(args) => remove::run(&args, session),
        Verb::Enable(args) => enable::run(&args, session),
        Verb::Disable(args) => disable::run(&args, session),
        Verb::Pause(args) => pause::run(&args, session),
        Verb::Resume(args) => resume::run(&args, session),
        Verb::Why(args) => return why::run(&args, session),
        Verb::Calendar(args) => calendar::run(&args, session),
        Verb::Group(args) => pools::run(PoolKind::Group, &args.verb, session),
        Verb::Lock(args) => pools::run(PoolKind::Lock, &args.verb, session),
        Verb::Backfill(args) => backfill::run(&args, session),
        Verb::Run(args) => return run::run(&args, session),
        Verb::Cancel(args) => cancel::run(&args, session),
        Verb::Logs(args) => logs::run(&args, session),
        Verb::Runs(args) => runs::run(&args, session),
        Verb::Top(args) => return top::run(&args, session),
        Verb::Next(args) => next::run(&args, session),
        Verb::Lint(args) => return lint::run(&args, session),
        Verb::Graph(args) => graph::run(&args, session),
        Verb::Status(_) => return status::run(session),
        Verb::Export(args) => export::run(&args, session),
        Verb::Import(args) => import::run(&args, session),
        Verb::Start(args) => start::run(&args, session),
        Verb::Stop(args) => stop::run(&args, session),
        Verb::RestartDaemon(args) => restart_daemon::run(&args, session),
        Verb::Demo(_) => return demo::run(session),
        Verb::Completions(args) => completions::run(&args, session),
        Verb::Detach(args) => detach::run(&args),
        Verb::Janitor(args) => demo::janitor::run(&args.dir),
    };
    done.map(|()| 0)
}

/// Whether exactly one thing was named, so that the answer is an object and not an array.
fn is_one(names: &[String]) -> bool {
    matches!(names, [name] if !is_pattern(name))
}

/// Refuses options that say how an expression is read where there is none: clap does not where tasks are named.
fn only_with_cron(options: &[(&str, bool)]) -> Result<(), Failure> {
    match options.iter().find(|(_, is_given)| *is_given) {
        None => Ok(()),
        Some((option, _)) => Err(Failure::usage(format!("{option} goes with --cron"))
            .hint("a task has its own zone and rules; `taskctl show` shows them, and --cron takes any expression")),
    }
}

/// The names in an answer that says what was done.
fn done(client: &Client, response: Response) -> Result<Vec<String>, Failure> {
    match response {
        Response::Done(names) => Ok(names),
        _ => Err(client.unexpected()),
    }
}

/// Says what was done to each: `removed a`; with `--json`, `[{"<key>": "a"}]`.
fn say_done(session: &mut Session, key: &str, what: &str, names: &[String]) -> Result<()> {
    if session.json {
        let shapes: Vec<serde_json::Value> = names.iter().map(|name| serde_json::json!({ key: name })).collect();
        return session.out.json(&shapes);
    }
    for name in names {
        session.out.said(&format!("{what} {name}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
