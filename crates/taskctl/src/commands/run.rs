//! `taskctl run`

use taskd_wire::client::{Overrides, Request, Response, RunInfo, RunRef};
use taskd_wire::codec::Rec;
use unicode_width::UnicodeWidthStr as _;

use super::follow::{self, Show};
use super::{definition, is_one};
use crate::args::RunArgs;
use crate::error::Result;
use crate::json;
use crate::output::printer::{Printer, Style};
use crate::render::table::Tone;
use crate::render::{one_line, process, task};
use crate::session::Session;

/// Added to the number of a signal to make an exit code, as shells do.
const SIGNAL_BASE: i32 = 128;

/// Exit code for what cannot be started, as shells have it.
const NOT_STARTED: u8 = 127;

/// What timeout(1) ends with for a command whose time was up.
const TIMED_OUT: i32 = 124;

/// Runs tasks now, and with `--wait` becomes what they become.
pub fn run(args: &RunArgs, session: &mut Session) -> Result<u8> {
    let overrides = Overrides {
        env: definition::env(&args.env)?,
        args: args.args.clone(),
        skip_gates: args.skip_gates,
    };
    let names = args.names.clone();
    // A daemon of an earlier version knows runs as they are.
    let request = if overrides == Overrides::default() {
        Request::Run { names }
    } else {
        let overrides = Rec(overrides);
        Request::RunWith { names, overrides }
    };
    let mut client = session.connect()?;
    let Response::RunsStarted(started) = client.request(&request)? else {
        return Err(client.unexpected().into());
    };
    let runs: Vec<RunRef> = started.into_iter().map(|Rec(run)| run).collect();
    let one = is_one(&args.names);
    if !args.wait {
        say_started(session, one, &runs)?;
        return Ok(0);
    }
    let names: Vec<String> = runs.into_iter().map(|run| run.run).collect();
    // The exit code is the command's, whether or not its output can be read, or somebody still reads.
    session.out.outlive_reader();
    session.err.outlive_reader();
    let style = Style {
        split: !session.json,
        ..Style::default()
    };
    let show = Show {
        printer: match names.as_slice() {
            [_] => Printer::new(style),
            names => Printer::prefixed(style, prefixes(names, session.out.colour)),
        },
        tail: None,
        // With --json, stdout is for the object that says how it ended.
        aside: session.json,
        may_lack: true,
    };
    let ended = follow::to_the_end(session, client, &names, show, |session, info, printer| {
        say_ended(session, info, printer, names.len() > 1)
    })?;
    if session.json {
        let shapes: Vec<json::Run<'_>> = ended.iter().map(json::Run::of).collect();
        match shapes.as_slice() {
            [shape] if one => session.out.json(shape)?,
            shapes => session.out.json(&shapes)?,
        }
    }
    Ok(ended.iter().map(exit_code).find(|&code| code != 0).unwrap_or(0))
}

fn say_started(session: &mut Session, one: bool, runs: &[RunRef]) -> Result<()> {
    if session.json {
        let shapes: Vec<json::Started<'_>> = runs.iter().map(json::Started::of).collect();
        return match shapes.as_slice() {
            [shape] if one => session.out.json(shape),
            shapes => session.out.json(&shapes),
        };
    }
    for run in runs {
        session.out.said(&match &run.waits_for.0 {
            Some(waits_for) => format!("{} waits for {waits_for}", run.run),
            None => format!("started {}", run.run),
        })?;
    }
    Ok(())
}

fn prefixes(names: &[String], colour: bool) -> Vec<String> {
    let names: Vec<String> = names.iter().map(|name| one_line(name)).collect();
    let width = names.iter().map(|name| name.width()).max().unwrap_or(0);
    names
        .iter()
        .map(|name| Tone::Dim.paint(&format!("{name}{:1$} | ", "", width - name.width()), colour))
        .collect()
}

/// On stderr, what an exit code alone would not tell.
fn say_ended(session: &mut Session, info: &RunInfo, printer: &Printer, always: bool) -> Result<()> {
    if session.json || (!always && info.outcome.as_deref() == Some("succeeded")) {
        return Ok(());
    }
    session.out.flush()?;
    if printer.is_in_line() && session.out.is_terminal() && session.err.is_terminal() {
        session.err.line("")?;
    }
    let (fate, _) = task::fate(info);
    match task::reason(info) {
        Some(reason) => session.remark(&format!("{} {fate}: {reason}", info.run)),
        _ => session.remark(&format!("{} {fate}", info.run)),
    }
    if let Some(cure) = process::cure(info) {
        session.err.said(&format!("hint: {cure}"))?;
    }
    Ok(())
}

/// The command's own exit code, but never 0 for a run that did not succeed: a command that is cancelled may end well.
fn exit_code(run: &RunInfo) -> u8 {
    let succeeded = run.outcome.as_deref() == Some("succeeded");
    let code = match (run.exit_code, run.signal, run.outcome.as_deref()) {
        (_, _, Some("timed-out")) => TIMED_OUT,
        (Some(0), _, _) if !succeeded => 1,
        (Some(code), _, _) => code,
        (None, Some(signal), _) => SIGNAL_BASE.saturating_add(signal),
        (None, None, Some("succeeded")) => 0,
        (None, None, Some("spawn-failed")) => NOT_STARTED.into(),
        (None, None, _) => 1,
    };
    // What does not fit is a failure all the same.
    u8::try_from(code).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_the_commands_own() {
        let run = |outcome: &str, exit_code, signal| RunInfo {
            outcome: Some(outcome.into()),
            exit_code,
            signal,
            ..RunInfo::default()
        };
        assert_eq!(exit_code(&run("succeeded", Some(0), None)), 0);
        assert_eq!(exit_code(&run("succeeded", Some(2), None)), 2);
        assert_eq!(exit_code(&run("failed", Some(3), None)), 3);
        assert_eq!(exit_code(&run("cancelled", None, Some(15))), 143);
        assert_eq!(exit_code(&run("spawn-failed", None, None)), 127);
        assert_eq!(exit_code(&run("unknown", None, None)), 1);
        assert_eq!(exit_code(&run("skipped", None, None)), 1);
        assert_eq!(exit_code(&run("cancelled", Some(0), None)), 1);
        assert_eq!(exit_code(&run("timed-out", Some(0), None)), 124);
        assert_eq!(exit_code(&run("timed-out", None, Some(15))), 124);
        assert_eq!(exit_code(&run("failed", None, Some(i32::MAX))), 1);
    }
}
